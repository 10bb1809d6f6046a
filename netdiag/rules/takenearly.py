"""Whether eBPF or the packet filter may take what arrives for an announced address before the kernel routes it. Pure;
nothing can fail.

XDP sends packets on by TX and REDIRECT, tc by REDIRECT, or keeps them (STOLEN, QUEUED, TRAP) (include/uapi/linux/bpf.h,
pkt_cls.h). A program that returns constants and none of these leaves them to the kernel. Only interfaces count on whose
subnet a neighbour of an established BGP session is, and what lies under them: what the neighbours send comes in there.
Where a neighbour is further away, every interface counts.
"""

import ipaddress
from collections.abc import Iterator
from functools import cached_property

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.nft import NftTable
from netdiag.rules.bgpsessions import on_subnet, sessions

TAKES = {"xdp": {3, 4}, "tc": {4, 5, 7, 8}, "tcx": {7}}
"""Verdicts after which the kernel does not route the packet, though it is not dropped."""
NATS = {"dnat", "snat"}
"""Kinds of nat: what comes back to an address that packets leave with is sent on as well."""
TRANSLATES = {"redir", "tproxy", "fwd", "target"}
"""Expressions of nftables; a target of iptables may be any of them."""


def steering(view: HostView) -> bool:
    """Whether some program on the way in may take packets."""
    facing = _facing(view)
    known = {row.ifindex for row in view.bpf.attachments if row.hook == "xdp"}
    if any(link.xdp is not None and link.ifindex not in known for link in view.links if _counts(facing, link.ifindex)):
        return True
    return any(_counts(facing, row.ifindex) and _takes(view, row) for row in view.bpf.attachments)


class Translations:
    """What the packet filter names where it sends packets elsewhere or delivers them (DNAT, REDIRECT, TPROXY, SNAT). A
    table that only accepts or counts takes nothing in. Read once, when first asked, for however many addresses."""

    def __init__(self, view: HostView) -> None:
        self._view = view

    def names(self, net: str) -> bool:
        """Whether the address is among them, or one of the prefix (as far as whole octets tell)."""
        network = ipaddress.ip_network(net)
        named = network.network_address.packed[: network.prefixlen // 8].hex()
        return any(named in octets for octets in self._octets)

    @cached_property
    def _octets(self) -> frozenset[str]:
        """Every value and key of such tables, in hexadecimal."""
        tables = (*self._view.nft.tables, *self._view.nft.legacy)
        return frozenset(octets for table in tables if _translates(table) for octets in _values(table) if octets)


def _translates(table: NftTable) -> bool:
    steps = (one for chain in table.chains for rule in chain.rules for one in rule.expressions)
    return any(one.key in NATS or one.name in TRANSLATES for one in steps)


def _values(table: NftTable) -> Iterator[str | None]:
    for chain in table.chains:
        for rule in chain.rules:
            for step in rule.expressions:
                yield from (step.value, step.value_max)
    for one in table.sets:
        for element in one.elements:
            yield from (element.key, element.key_end, element.value)


def _counts(facing: set[int] | None, ifindex: int | None) -> bool:
    return ifindex is not None and (facing is None or ifindex in facing)


def _facing(view: HostView) -> set[int] | None:
    """Interfaces towards the neighbours; None where that is not known of one of them."""
    found: set[int] = set()
    for session in sessions(view):
        if not session.up:
            continue
        near = [link for name in on_subnet(view, session) if (link := view.stack.by_name.get(name)) is not None]
        if not near:
            return None
        found |= {layer.link.ifindex for link in near for layer in view.stack.egress_stack(link.ifindex)}
        found |= {link.ifindex for link in near}
    return found


def _takes(view: HostView, row: BpfAttachment) -> bool:
    if row.hook not in TAKES or (row.hook != "xdp" and row.direction != "ingress"):
        return False
    one = view.bpf.program(row.prog_id)
    return one is None or one.verdicts is None or bool(TAKES[row.hook] & set(one.verdicts))
