"""What the rules about taps share: the taps of a namespace with their holders and what points to them, and words.

A tap counts as held where a process has it open, or where the kernel shows a carrier: a process of another PID
namespace is not seen. Routes are those that somebody put there: what the kernel makes of an address (proto kernel) is
no sign of a guest.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from netdiag.index.packet import Query
from netdiag.index.taps import KERNEL, Pointers, holders_by_name, holders_of, is_tap, pointers
from netdiag.index.view import HostView
from netdiag.model.finding import Subject, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.model.route import Route
from netdiag.model.tap import TapHolder
from netdiag.rules.shape import quoted

READS = ("links", "taps", "addresses", "routes", "neighbours")
LIVE_STATES = frozenset({"reachable", "stale", "delay", "probe", "permanent"})
"""States of a neighbour that has a hardware address to send to."""
LOOKED_AT = 64
"""Routes or neighbours of one tap that are made readable."""


@dataclass(frozen=True, kw_only=True)
class GuestTap:
    """One tap and what a rule wants to know of it."""

    link: Link
    holders: tuple[TapHolder, ...]
    points: Pointers
    routes: tuple[Route, ...]
    """Routes of both families that somebody put there, at most LOOKED_AT of each family."""
    connected: bool
    """There is a route that the kernel made of an address, link-local ones not counted, nor those to the host's own
    single address there, which it makes of IPv6."""
    neighbours: tuple[Neighbour, ...]
    """Neighbours with a hardware address; link-local ones too."""
    free: bool
    """It is routed: in no bridge, Open vSwitch or other master; a VRF has tables of its own and changes nothing."""

    def lives(self, row: Neighbour) -> bool:
        """Whether a neighbour of this tap shows that somebody has its address here: it was heard, or it was written
        down with the hardware address that was heard here, or with the only one that anything here says."""
        if row.state != "permanent":
            return True
        heard = {each.lladdr for each in self.neighbours if each.state != "permanent"}
        return row.lladdr in heard if heard else len({each.lladdr for each in self.neighbours}) == 1

    @property
    def held(self) -> bool:
        """Some process is behind it."""
        return bool(self.holders) or bool(self.link.carrier)

    @property
    def holder(self) -> str:
        """``firecracker (pid 12)``, or ``a process`` that is not seen."""
        if not self.holders and self.link.kind == "veth":
            return f"namespace id {self.link.link_netnsid}"
        if not self.holders:
            return "a process that is not seen from here"
        first = self.holders[0]
        return f"{first.vmm or first.comm or 'a process'} (pid {first.pid})"

    @property
    def about(self) -> Subject:
        """Subject of a finding."""
        return subject("tap", ifname=self.link.ifname)

    @property
    def objects(self) -> tuple[Subject, ...]:
        """What a fault of the tap touches."""
        return (self.about, subject("link", ifname=self.link.ifname))


def link_local(address: str) -> bool:
    """fe80::/10 or 169.254.0.0/16; of a prefix, its address."""
    return address.startswith(("169.254.", "fe8", "fe9", "fea", "feb"))


def guest_taps(view: HostView, *, cables: bool = False) -> list[GuestTap]:
    """Every tap, by name; ``cables``: and every veth whose other end is in another namespace."""
    far = [link for link in view.links if cables and link.kind == "veth" and link.link_netnsid is not None]
    links = sorted((*(link for link in view.links if is_tap(link)), *far), key=lambda link: link.ifname)
    if not links:
        return []
    found = pointers([link.ifindex for link in links], view.routes("inet"), view.routes("inet6"), view.neighbours)
    holders = holders_by_name(view.taps)
    return [_tap(view, link, found[link.ifindex], holders) for link in links]


def _tap(view: HostView, link: Link, points: Pointers, holders: dict[str, list[TapHolder]]) -> GuestTap:
    rows = view.route_rows("inet", points.routes[:LOOKED_AT]) + view.route_rows("inet6", points.routes6[:LOOKED_AT])
    own = {f"{row.local}/128" for row in view.addresses if row.ifindex == link.ifindex and not row.peer}
    near = [row for row in view.neighbours.rows(list(points.neighbours[:LOOKED_AT])) if row.state in LIVE_STATES]
    return GuestTap(
        link=link,
        holders=holders_of(view.taps, link, holders),
        points=points,
        routes=tuple(route for route in rows if route.protocol != KERNEL),
        connected=any(route.protocol == KERNEL and route.dst not in own for route in rows),
        neighbours=tuple(near),
        free=link.master is None or view.stack.vrf(link.ifindex) is not None,
    )


def leads_to(view: HostView, address: str) -> tuple[int, ...]:
    """Indexes of the interfaces by which the host reaches an address; empty where there is no route."""
    looked = view.lookup(Query(family="inet6" if ":" in address else "inet", dst=address))
    return tuple(hop.oif for hop in looked.hops)


def pid_words(tap: GuestTap) -> Iterator[tuple[str, object, str]]:
    """Evidence about the holders."""
    for holder in tap.holders[:2]:
        source = f"/proc/{holder.pid}/fdinfo iff:"
        yield f"process that holds {tap.link.ifname}", f"{holder.comm} (pid {holder.pid})", source


def holders_command(ifname: str) -> str:
    """Stock command that names the processes with the device open. (The first grep's own status says that a process
    ended meanwhile, whatever it found.)"""
    line = quoted("iff:\t" + ifname)
    return f"grep -lsxF -- {line} /proc/[0-9]*/fdinfo/* | grep . || echo nobody holds {quoted(ifname)}"
