"""Which interface lies over, under, in or opposite which: the stack that a packet meets on its way out.

Built from RTM_GETLINK rows alone: IFLA_MASTER joins ports to their bridge, bond or VRF, IFLA_LINK names the lower
device (VLAN, macvlan, VXLAN ...) or the other end of a veth pair, IFLA_LINK_NETNSID says that this one lives in another
namespace (net/core/rtnetlink.c, rtnl_fill_ifinfo()). An index in another namespace is never looked up in this one.

Pure, and safe on rows that cannot be true: a ring of masters or lower devices ends where it closes.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from netdiag.model.link import Link, PeerLink

PAIRED = frozenset({"veth", "netkit"})
"""Kinds whose IFLA_LINK is the other end of a cable, not a device below."""

VXLAN_OVERHEAD_V4, VXLAN_OVERHEAD_V6 = 50, 70
"""Bytes: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 or IPv6 40 (RFC 7348; drivers/net/vxlan/vxlan_core.c)."""
_OVERHEAD = {"vlan": 0, "macvlan": 0, "macvtap": 0, "ipvlan": 0, "ipvtap": 0, "macsec": 32, "ipip": 20, "sit": 20}
"""Bytes that a kind puts before the packet; the VLAN tag is not counted in an Ethernet MTU (net/8021q/vlan_dev.c)."""


class Layer(NamedTuple):
    """One interface of a stack."""

    link: Link
    relation: str
    """``self``; ``lower``: IFLA_LINK of the layer above it; ``port``: it belongs to the layer above it."""
    depth: int
    """0 is the interface that was asked for."""


class LinkStack:
    """The interfaces of one namespace and how they lie upon each other."""

    def __init__(self, links: Iterable[Link], peer_links: Iterable[PeerLink] = ()) -> None:
        self.links = tuple(links)
        self.by_index: dict[int, Link] = {link.ifindex: link for link in self.links}
        self.by_name: dict[str, Link] = {alternative: link for link in self.links for alternative in link.altnames}
        """By name, and by alternative name where no interface bears it as its own."""
        self.by_name |= {link.ifname: link for link in self.links}
        self._far_ends = {peer.ifindex: peer.peer for peer in peer_links}

    @cached_property
    def _ports(self) -> dict[int, list[Link]]:
        ports: dict[int, list[Link]] = {}
        for link in self.links:
            if link.master is not None:
                ports.setdefault(link.master, []).append(link)
        return ports

    @cached_property
    def _over(self) -> dict[int, list[Link]]:
        over: dict[int, list[Link]] = {}
        for link in self.links:
            lower = self.lower(link.ifindex)
            if lower is not None:
                over.setdefault(lower.ifindex, []).append(link)
        return over

    def ports(self, ifindex: int) -> tuple[Link, ...]:
        """Interfaces whose master this one is, by name: ports of a bridge, legs of a bond, members of a VRF."""
        return tuple(sorted(self._ports.get(ifindex, ()), key=lambda link: link.ifname))

    def master(self, ifindex: int) -> Link | None:
        """The bridge, bond or VRF that owns this interface."""
        link = self.by_index.get(ifindex)
        return self.by_index.get(link.master) if link is not None and link.master is not None else None

    def vrf(self, ifindex: int) -> Link | None:
        """The VRF that an interface is or belongs to (l3mdev_master_ifindex_rcu() in net/l3mdev/l3mdev.c)."""
        link = self.by_index.get(ifindex)
        if link is not None and link.kind != "vrf":
            link = self.master(ifindex)
        return link if link is not None and link.kind == "vrf" else None

    def lower(self, ifindex: int) -> Link | None:
        """The device below (VLAN's parent, VXLAN's underlay ...); None where there is none in this namespace."""
        link = self.by_index.get(ifindex)
        if link is None or link.link is None or link.link_netnsid is not None:
            return None
        return None if link.kind in PAIRED or link.link == ifindex else self.by_index.get(link.link)

    def uppers(self, ifindex: int) -> tuple[Link, ...]:
        """What lies directly upon this interface: its master, and devices whose lower device it is."""
        master = self.master(ifindex)
        return ((master,) if master else ()) + tuple(self._over.get(ifindex, ()))

    def veth_peer(self, ifindex: int) -> Link | None:
        """The other end of a veth pair, in this namespace or in one that netdiag could ask; else None."""
        link = self.by_index.get(ifindex)
        if link is None or link.kind not in PAIRED:
            return None
        if link.link is None or link.link_netnsid is not None:
            return self._far_ends.get(ifindex)
        return self.by_index.get(link.link)

    def egress_stack(self, ifindex: int) -> tuple[Layer, ...]:
        """The interface and everything that a packet sent by it can pass on its way out, from the top down.

        A bridge or bond has all its ports below it: which one a frame takes is not decided here. Empty for an index
        that does not exist.
        """
        return tuple(self._descend(ifindex, "self", 0, set()))

    def _descend(self, ifindex: int, relation: str, depth: int, seen: set[int]) -> Iterator[Layer]:
        link = self.by_index.get(ifindex)
        if link is None or ifindex in seen:
            return
        seen.add(ifindex)
        yield Layer(link, relation, depth)
        lower = self.lower(ifindex)
        if lower is not None:
            yield from self._descend(lower.ifindex, "lower", depth + 1, seen)
        if link.kind != "vrf":  # members of a VRF do not carry its packets: the route names one of them
            for port in self._ports.get(ifindex, ()):
                yield from self._descend(port.ifindex, "port", depth + 1, seen)

    def path_mtu(self, ifindex: int) -> int | None:
        """Bytes of the largest IP packet that fits through the interface and all that is known to lie under it.

        The smallest of its own MTU, of its ports' and of what its lower device leaves after encapsulation; kinds whose
        overhead is not known here count with their own MTU. None for an index that does not exist.
        """
        return self._narrowest(ifindex, {})

    def _narrowest(self, ifindex: int, known: dict[int, int]) -> int | None:
        link = self.by_index.get(ifindex)
        if link is None or ifindex in known:
            return known.get(ifindex)
        known[ifindex] = link.mtu  # what a ring of devices finds when it comes back here
        sizes = [link.mtu]
        lower, overhead = self.lower(ifindex), encapsulation_overhead(link)
        if lower is not None and overhead is not None:
            sizes.append((self._narrowest(lower.ifindex, known) or lower.mtu) - overhead)
        if link.kind != "vrf":
            sizes += [self._narrowest(port.ifindex, known) or port.mtu for port in self.ports(ifindex)]
        known[ifindex] = min(sizes)
        return known[ifindex]


def encapsulation_overhead(link: Link) -> int | None:
    """Bytes that the interface puts around an IP packet before it hands it to its lower device; None: not known."""
    if link.kind == "vxlan":
        ends = [str(value) for key, value in link.info.items() if key.startswith(("remote", "group", "local"))]
        return VXLAN_OVERHEAD_V6 if any(":" in end for end in ends) else VXLAN_OVERHEAD_V4
    return _OVERHEAD.get(link.kind or "")
