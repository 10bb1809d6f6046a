"""The packet's way: what this host does with one packet, step by step, told from its tables without sending anything.

``walk.walk(host, packet, said)`` is the question, ``model.walk.PathReport`` the answer. The routing decision itself is
netdiag.index.policy's; here is what lies around it, each part in a file of its own: ``arrive`` what a packet meets on
its way in, ``decide`` the rules and the route as steps, ``depart`` and ``multipath`` the next hop, ``firewall`` and
``bpf`` the rules and programs on the way, ``devices`` the stack of interfaces below, ``wireguard`` what encrypts it,
``sizes`` how long it may be, ``traced`` what decides about a packet that was seen being dropped.

Pure: a snapshot goes in, steps come out. What was not read is a step that says so, and where it would decide, the
verdict is ``unknown``. ValueError for an address that is none.
"""
