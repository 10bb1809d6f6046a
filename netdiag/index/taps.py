"""Each tun and tap device with its holders and with what points to it: routes, neighbours, proxy entries.

A device is found by its name and by the namespace that it lives in (the open file tells); where the file could not be
asked, a holder of the same namespace counts, and one of another namespace only if nobody else holds that name. The
kernel's own sign is the carrier: netif_carrier_on() when the first queue is attached, off when the last one goes
(drivers/net/tun.c, tun_attach() and __tun_detach()); only TUNSETCARRIER says otherwise.

Vectorised over routes and neighbours. Pure; nothing can fail.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netdiag.model.distinct import among, runs
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY, NUD_NOARP, Neighbours
from netdiag.model.route import RTN_UNICAST, Routes
from netdiag.model.tap import TapHolder, Taps

KERNEL = 2
"""RTPROT_KERNEL."""


def is_tun(link: Link) -> bool:
    """A tun or a tap."""
    return link.kind == "tun"


def is_tap(link: Link) -> bool:
    """A tap: what virtual machines have."""
    return link.kind == "tun" and link.info.get("type") == "tap"


def holders_by_name(taps: Taps) -> dict[str, list[TapHolder]]:
    """Processes with a device open, by its name; of namespaces there may be several with one name."""
    found: dict[str, list[TapHolder]] = {}
    for holder in taps.holders:
        if holder.ifname is not None:
            found.setdefault(holder.ifname, []).append(holder)
    return found


def holders_of(taps: Taps, link: Link, by_name: dict[str, list[TapHolder]] | None = None) -> tuple[TapHolder, ...]:
    """Processes with the device open, of any namespace. ``by_name``: of holders_by_name(), where many links ask."""
    named = (holders_by_name(taps) if by_name is None else by_name).get(link.ifname, [])
    sure = [holder for holder in named if taps.netns is not None and holder.device_netns == taps.netns]
    unasked = [holder for holder in named if holder.device_netns is None or taps.netns is None]
    here = [holder for holder in unasked if taps.netns is None or holder.netns in (None, taps.netns)]
    found = sure + here
    return tuple(found or (unasked if link.carrier else ()))


def unattached(taps: Taps) -> tuple[TapHolder, ...]:
    """Processes of the namespace with /dev/net/tun open and no device behind it."""
    return tuple(holder for holder in taps.holders if holder.ifname is None and holder.netns in (None, taps.netns))


@dataclass(frozen=True, kw_only=True)
class Pointers:
    """What of a namespace's tables names one interface: positions in these tables, nothing is copied."""

    routes: tuple[int, ...] = ()
    """Unicast IPv4 routes, those of the kernel included."""
    routes6: tuple[int, ...] = ()
    """Unicast IPv6 routes, without fe80::/64."""
    neighbours: tuple[int, ...] = ()
    """Neighbours; proxy entries and those that need no resolution (multicast) left out."""
    proxies: tuple[int, ...] = ()
    """Proxy entries: addresses for which this host answers on the interface."""


def pointers(indexes: Iterable[int], routes: Routes, routes6: Routes, neighbours: Neighbours) -> dict[int, Pointers]:
    """What points to each of these interfaces, by ifindex; members of multipath routes count."""
    wanted = sorted(set(indexes))
    found4, found6 = _routes(routes, wanted), _routes(routes6, wanted)
    proxy = (neighbours.flags & NTF_PROXY) != 0
    near = _grouped(neighbours.ifindex, np.flatnonzero(~proxy & (neighbours.state != NUD_NOARP)), wanted)
    answered = _grouped(neighbours.ifindex, np.flatnonzero(proxy), wanted)
    return {
        index: Pointers(
            routes=found4.get(index, ()),
            routes6=found6.get(index, ()),
            neighbours=near.get(index, ()),
            proxies=answered.get(index, ()),
        )
        for index in wanted
    }


def _routes(routes: Routes, wanted: list[int]) -> dict[int, tuple[int, ...]]:
    rows = np.asarray(routes.type == RTN_UNICAST)
    if routes.family == "inet6":
        rows &= ~((routes.dst[:, 0] == 0xFE) & (routes.dst[:, 1] & 0xC0 == 0x80))
    found = _grouped(routes.oif, np.flatnonzero(rows), wanted)
    several = [number for number, extra in enumerate(routes.extras) if extra.multipath]
    if several:
        for position in np.flatnonzero(rows & among(routes.extra, several)).tolist():
            for oif in {hop.oif for hop in routes.extras[int(routes.extra[position])].multipath} & set(wanted):
                if position not in found.get(oif, ()):
                    found[oif] = (*found.get(oif, ()), position)
    return found


def _grouped(
    column: "np.ndarray[tuple[int], np.dtype[np.int32]]",
    rows: "np.ndarray[tuple[int], np.dtype[np.intp]]",
    wanted: list[int],
) -> dict[int, tuple[int, ...]]:
    if not wanted or not len(rows):
        return {}
    rows = rows[among(column[rows], wanted)]
    order = rows[np.argsort(column[rows], kind="stable")]
    indexes, begin = runs(column[order])
    parts = np.split(order, begin[1:]) if len(indexes) else []
    return {index: tuple(part.tolist()) for index, part in zip(indexes.tolist(), parts, strict=True)}
