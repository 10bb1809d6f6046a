"""The tables of every other namespace that can be reached: only where ``--all-netns`` asks for it.

One child enters one namespace after the other. Links, addresses, routes, rules, neighbours and nexthops of all come
from one sweep (netdiag.sources.netnssweep) and are decoded together; settings, counters, WireGuard and filters on taps
are asked in a second round, second samples of the counters in a third. Needs CAP_SYS_ADMIN. What the whole machine
shares (softnet, the neighbour tables' limits, eBPF, BIRD's sockets, userspace WireGuard) is not read again. A namespace
that cannot be entered, or is gone by then, is left out and named in the detail: partial.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from netdiag.collectors import Collected, Options, counters, sysctls, wireguard
from netdiag.collectors.links import read_links
from netdiag.collectors.taps import with_filters
from netdiag.model.counters import Counters, CounterSample
from netdiag.model.coverage import Coverage, Status
from netdiag.model.namespace import Namespace
from netdiag.model.netnsstate import NetnsRows, NetnsState
from netdiag.model.sysctl import Sysctls
from netdiag.model.tap import Taps
from netdiag.model.wireguard import Wireguard, WireguardDevice
from netdiag.sources.namespaces import Reply
from netdiag.sources.netlink.spaces import Space, Sweep, decoded
from netdiag.sources.netnssweep import DUMPS
from netdiag.sources.protocol import Source, Unreadable
from netdiag.sources.taps import Reply as TapsReply

PARTS = {
    "links": ("links",),
    "addresses": ("addresses",),
    "routes": ("routes", "routes6"),
    "rules": ("rules", "rules6"),
    "neighbours": ("neighbours", "proxies"),
    "nexthops": ("nexthops",),
}
"""Collectors that the sweep stands for, with their dumps."""


@dataclass(frozen=True)
class Holders:
    """Processes with taps of any namespace, why there may be more, and WireGuard daemons by namespace."""

    taps: Taps
    trouble: str
    daemons: dict[int, WireguardDevice] = field(default_factory=dict)


def reachable(source: Source) -> list[Namespace]:
    """Every namespace but our own. Raises Unreadable."""
    try:
        reply = msgspec.json.decode(source.fetch("namespaces", "all"), type=Reply)
    except msgspec.MsgspecError as error:
        raise Unreadable("failed", f"namespaces: {error}") from error
    return [row for row in reply.namespaces.namespaces if not row.own]


def swept(source: Source, rows: list[Namespace]) -> Sweep:
    """The core tables of these namespaces. Raises Unreadable."""
    lines = [f"{row.inode} {row.path}" for row in rows]
    raw = source.fetch("namespaces", "\n".join(["tables " + " ".join(DUMPS), *lines]))
    try:
        return decoded(raw)
    except ValueError as error:
        raise Unreadable("failed", str(error)) from error


def held(source: Source, spaces: list[Space]) -> Holders:
    """Processes behind the taps of all namespaces, from one walk."""
    names = sorted({link.ifname for space in spaces for link in space.links if link.kind == "tun"})
    if not names:
        return Holders(Taps(), "")
    try:
        reply = msgspec.json.decode(source.fetch("taps", "\n".join(["holders", *names])), type=TapsReply)
    except (Unreadable, msgspec.MsgspecError) as error:
        return Holders(Taps(), str(error))
    return Holders(Taps(holders=reply.holders, wishes=reply.wishes), reply.trouble)


def core_coverage(space: Space) -> list[Coverage]:
    """How the sweep fared in one namespace."""
    found = []
    for collector, dumps in PARTS.items():
        broken = [name for name in dumps if name in space.swept.broken]
        status: Status = "inconsistent" if broken else "partial" if space.malformed else "ok"
        detail = f"changed while reading: {', '.join(broken)}" if broken else ""
        found.append(Coverage(collector=collector, status=status, detail=detail))
    return found


def own_holders(holders: Holders, space: Space) -> tuple[Taps, Coverage]:
    """Those of one namespace."""
    names = {link.ifname for link in space.links if link.kind == "tun"}
    inode = space.swept.inode
    if not names:
        return Taps(netns=inode), Coverage(collector="taps", status="ok")
    mine = tuple(row for row in holders.taps.holders if inode in (row.netns, row.device_netns))
    wishes = tuple(row for row in holders.taps.wishes if row.netns == inode and row.ifname in names)
    status: Status = "partial" if holders.trouble else "ok"
    return Taps(holders=mine, wishes=wishes, netns=inode), Coverage(
        collector="taps", status=status, detail=holders.trouble
    )


def sample(source: Source) -> CounterSample:
    """Counters of the namespace, without those that the machine has only once."""
    return msgspec.structs.replace(counters.read_sample(source), softnet=(), neigh_tables=())


def served(source: Source, spaces: list[Space]) -> dict[int, WireguardDevice]:
    """By namespace, the device of a daemon whose interface stands there; none where another one has that name too."""
    found: dict[int, WireguardDevice] = {}
    try:
        paths = wireguard.sockets(source)
        own = {link.ifname for link in read_links(source, stats=False)[0]} if paths else set()
    except Unreadable:
        return found
    for ifname, path in paths:
        ends = [(space, link) for space in spaces for link in space.links if link.ifname == ifname]
        if len(ends) == 1 and ifname not in own and ends[0][1].kind == "tun":
            space, link = ends[0]
            for device in wireguard.read_userspace(source, [(ifname, path)], {ifname: link}, []):
                found[space.swept.inode] = device
    return found


def tunnels_of(
    source: Source, space: Space, daemon: WireguardDevice | None, troubles: list[Unreadable]
) -> list[WireguardDevice]:
    """The namespace's WireGuard devices. A socket stays in the namespace that a device was made in: where nothing else
    could carry its packets, they leave by that one."""
    own = [link for link in space.links if link.kind == "wireguard"]
    found = wireguard.read_kernel(source, own, troubles) + ([daemon] if daemon else [])
    names = {device.ifname for device in found}
    carriers = [link for link in space.links if link.up and not link.loopback and link.ifname not in names]
    return [msgspec.structs.replace(device, elsewhere=not carriers) for device in found]


def completed(source: Source, row: Namespace, space: Space, holders: Holders, options: Options) -> NetnsState:
    """The second round: what is asked inside. Parts that cannot be had are named in the coverage."""
    coverage = core_coverage(space)
    taps, line = own_holders(holders, space)
    settings, tunnels, counted = Sysctls(), Wireguard(), Counters(first=CounterSample(at=0.0))
    try:
        inside = source.inside(row.inode, row.path or "")
        taps = msgspec.structs.replace(
            taps, filtered=with_filters(inside, {link.ifindex for link in space.links if link.kind == "tun"})
        )
        coverage.append(line)
        settings = sysctls.collect(inside, options).tables["sysctls"]
        coverage.append(Coverage(collector="sysctls", status="ok", rows=len(settings.values)))
        counted = Counters(first=sample(inside))
        coverage.append(Coverage(collector="counters", status="ok"))
        troubles: list[Unreadable] = []
        devices = tunnels_of(inside, space, holders.daemons.get(row.inode), troubles)
        if devices:
            tunnels = Wireguard(devices=tuple(devices), at=inside.clock("realtime"))
        status: Status = "failed" if troubles else "ok" if tunnels.devices else "absent"
        detail = troubles[0].detail if troubles else "" if tunnels.devices else "no WireGuard device"
        coverage.append(Coverage(collector="wireguard", status=status, detail=detail))
    except Unreadable as refusal:
        done = {each.collector for each in coverage}
        coverage += [
            Coverage(collector=name, status=refusal.why, detail=refusal.detail)
            for name in ("taps", "sysctls", "counters", "wireguard")
            if name not in done
        ]
    return NetnsState(
        inode=row.inode,
        name=row.names[0] if row.names else None,
        path=row.path,
        coverage=tuple(coverage),
        rows=NetnsRows(**space.rows),
        links=space.links,
        addresses=space.addresses,
        rules=space.rules,
        nexthops=space.nexthops,
        sysctls=settings,
        wireguard=tunnels,
        taps=taps,
        counters=counted,
    )


def second_samples(source: Source, states: list[NetnsState], since: float, options: Options) -> list[NetnsState]:
    """Counters once more, ``options.interval`` seconds after the first of them."""
    source.wait(max(0.0, options.interval - (source.clock("monotonic") - since)))
    found = []
    for state in states:
        second = None
        with suppress(Unreadable):  # it is gone: one sample remains
            second = sample(source.inside(state.inode, state.path or ""))
        moved = Counters(first=state.counters.first, second=second)
        found.append(msgspec.structs.replace(state, counters=moved))
    return found


def collect(source: Source, options: Options) -> Collected:
    """Every other namespace. Raises Unreadable: absent where there is none."""
    found = reachable(source)
    rows = {row.inode: row for row in found if row.path is not None}
    if not rows:
        raise Unreadable("denied" if found else "absent", "no other namespace can be entered")
    tables = swept(source, list(rows.values()))
    holders = replace(held(source, tables.spaces), daemons=served(source, tables.spaces))
    since = source.clock("monotonic")
    states = [completed(source, rows[space.swept.inode], space, holders, options) for space in tables.spaces]
    if options.interval > 0:
        states = second_samples(source, states, since, options)
    missed = len(found) - len(states)
    return Collected(
        tables={
            "netns": tuple(states),
            "netns_routes": tables.routes,
            "netns_routes6": tables.routes6,
            "netns_neighbours": tables.neighbours,
        },
        rows=len(states),
        status="partial" if missed else "ok",
        detail=f"{missed} of {len(found)} namespaces could not be read" if missed else "",
    )
