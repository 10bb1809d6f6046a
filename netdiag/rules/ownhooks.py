"""What the filters make of packets that come in for this host and of those that it sends, over all hooks on the way.
Pure; nothing can fail.
"""

from dataclasses import replace

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import HookVerdict
from netdiag.index.view import HostView
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.nameservers import DNS_PORT

SYN = 2


def comes_in(view: HostView, packet: Packet) -> HookVerdict:
    """What becomes of a packet that comes in for this host."""
    at_card = view.netfilter.hook("ingress", packet)
    if at_card.passes == "no":
        return at_card
    before = view.netfilter.hook("prerouting", at_card.packet)
    return before if before.passes == "no" else view.netfilter.hook("input", before.packet)


def goes_out(view: HostView, packet: Packet) -> HookVerdict:
    """What becomes of a packet that this host sends."""
    made = view.netfilter.hook("output", packet)
    after = made if made.passes == "no" else view.netfilter.hook("postrouting", made.packet)
    return after if after.passes == "no" else view.netfilter.hook("egress", after.packet)


def names_dns(view: HostView, question: Packet) -> bool:
    """Whether the filters that stop a question by UDP know nameservers: port 53 may be called by TCP, and the next port
    not."""
    calls = (replace(question, proto=IPPROTO_TCP, dport=DNS_PORT + more, tcp_flags=SYN) for more in (0, 1))
    asked, beside = (goes_out(view, one).passes for one in calls)
    return asked != "no" and beside == "no"
