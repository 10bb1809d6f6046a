"""Which source address the kernel gives an IPv6 packet whose sender did not choose one (RFC 6724).

Mirrors ipv6_dev_get_saddr(), __ipv6_dev_get_saddr() and ipv6_get_saddr_eval() of net/ipv6/addrconf.c and the default
policy table of net/ipv6/addrlabel.c. Addresses are taken in the order of the dump, which is that of the interface's
list, and interfaces in the order of theirs; the first of equals wins. What few expect: all interfaces' addresses are
candidates, unless the destination is link-local or multicast.

Not known here: labels that ``ip addrlabel`` changed, and preferences of single sockets (IPV6_ADDR_PREFERENCES). Pure;
ValueError for a destination that is no IPv6 address.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network

from netdiag.index.links import LinkStack
from netdiag.model.address import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_HOMEADDRESS,
    IFA_F_OPTIMISTIC,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    Address,
)
from netdiag.model.link import Link

LABELS = tuple(
    (IPv6Network(prefix), label)
    for prefix, label in (
        ("::1/128", 0),
        ("::ffff:0:0/96", 4),
        ("::/96", 3),
        ("2001::/32", 6),
        ("2001:10::/28", 7),
        ("2002::/16", 2),
        ("fc00::/7", 5),
        ("::/0", 1),
    )
)
"""Longest prefix first."""
ORCHID = IPv6Network("2001:10::/28")
RULES = (
    "rule 1: the chosen one is the destination itself",
    "rule 2: its scope fits worse",
    "rule 3: it is deprecated",
    "rule 4: it is no home address",
    "rule 5: it is on another interface",
    "rule 6: its label differs from the destination's",
    "rule 7: temporary addresses are preferred otherwise",
    "only one of the two is an ORCHID (RFC 4843)",
    "rule 8: it shares a shorter prefix with the destination",
    "it is optimistic (RFC 4429)",
)
"""Why an address loses, in the order of Sources6._score()."""
LINK_LOCAL, SITE_LOCAL, GLOBAL = 2, 5, 14
"""Scopes of RFC 4291."""


def scope(address: IPv6Address) -> int:
    """__ipv6_addr_src_scope(): of multicast the one in the address; loopback counts as link-local."""
    if address.is_multicast:
        return address.packed[1] & 0xF
    if address.is_link_local or address.is_loopback:
        return LINK_LOCAL
    return SITE_LOCAL if address.is_site_local else GLOBAL


def label(address: IPv6Address) -> int:
    """Label of the default policy table."""
    return next(number for network, number in LABELS if address in network)


def common(one: IPv6Address, other: IPv6Address) -> int:
    """Bits that two addresses share from the left."""
    return 128 - (int(one) ^ int(other)).bit_length()


class Sources6:
    """The IPv6 addresses of one namespace as sources."""

    def __init__(self, addresses: Iterable[Address], stack: LinkStack) -> None:
        self._stack = stack
        self._by_index: dict[int, list[Address]] = {}
        for row in addresses:
            if row.family == "inet6":
                self._by_index.setdefault(row.ifindex, []).append(row)

    def select(self, ifindex: int, dst: str) -> str | None:
        """The source for a packet that leaves by this interface; None where there is none."""
        target = IPv6Address(dst)
        best: Address | None = None
        for row in self._candidates(ifindex, target):
            if best is None or self._score(row, ifindex, target) > self._score(best, ifindex, target):
                best = row
        return best.local if best is not None else None

    def lost(self, ifindex: int, dst: str) -> list[tuple[str, str]]:
        """The addresses that were not chosen, each with the first rule of RFC 6724 section 5 by which it lost."""
        target, chosen = IPv6Address(dst), self.select(ifindex, dst)
        rows = list(self._candidates(ifindex, target))
        best = next((self._score(row, ifindex, target) for row in rows if row.local == chosen), None)
        if best is None:
            return []
        found = []
        for row in rows:
            score = self._score(row, ifindex, target)
            worse = next(
                (number for number, (one, other) in enumerate(zip(score, best, strict=True)) if one < other), None
            )
            if row.local != chosen:
                found.append((row.local, "an equal, and behind it" if worse is None else RULES[worse]))
        return found

    def _candidates(self, ifindex: int, dst: IPv6Address) -> Iterator[Address]:
        out = self._stack.by_index.get(ifindex)
        own = out is not None and bool(out.inet6_conf.get("use_oif_addrs_only"))
        if out is not None and (dst.is_multicast or scope(dst) <= LINK_LOCAL or own):
            yield from self._usable(out)
            return
        vrf = self._stack.vrf(ifindex)
        first = [link for link in (out, vrf) if link is not None and vrf is not None]
        for link in dict.fromkeys([link.ifindex for link in (*first, *self._stack.links)]):
            if self._stack.vrf(link) == vrf:
                yield from self._usable(self._stack.by_index[link])

    def _usable(self, link: Link) -> Iterator[Address]:
        for row in self._by_index.get(link.ifindex, ()):
            waiting = row.flags & IFA_F_TENTATIVE and not row.flags & IFA_F_OPTIMISTIC
            if not waiting and not row.flags & IFA_F_DADFAILED:
                yield row

    def _score(self, row: Address, ifindex: int, dst: IPv6Address) -> tuple[int, ...]:
        """What is compared, in the order of ipv6_get_saddr_eval(); the larger is the better."""
        address = IPv6Address(row.local)
        own, wanted = scope(address), scope(dst)
        link = self._stack.by_index.get(row.ifindex)
        temporary = bool(row.flags & IFA_F_SECONDARY)
        private = link is not None and link.inet6_conf.get("use_tempaddr", 0) >= 2
        orchid = (address in ORCHID) == (dst in ORCHID)
        return (
            int(address == dst),
            -own if own >= wanted else own - 128,
            int(not row.flags & (IFA_F_DEPRECATED | IFA_F_OPTIMISTIC)),
            int(bool(row.flags & IFA_F_HOMEADDRESS)),
            int(not ifindex or row.ifindex == ifindex),
            int(label(address) == label(dst)),
            int(temporary == private),
            int(orchid),
            min(common(address, dst), row.prefixlen),
            int(not row.flags & IFA_F_OPTIMISTIC),
        )
