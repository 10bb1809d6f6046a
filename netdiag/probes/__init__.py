"""Packets that are sent because somebody asked: what path MTU there is, who answers, which way, whether a tunnel lives.

``plan`` says beforehand what will be sent, how many, to whom and how long at most; it is pure. ``sockets`` sends, with
plain sockets: raw ICMP needs root, UDP and TCP do not. ``mtu``, ``reach``, ``trace`` and ``wireguard`` ask one question
each: a pure part that chooses the next packet and judges what came back, and a loop that sends it. Nothing here is run
by check, collect or any rule.
"""
