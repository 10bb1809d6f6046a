"""The routes that BIRD wants elsewhere: in each kernel table, and at each BGP session that is up; each up to a cap.

Beside them all routes of type unreachable, with the attributes that tell whether they are meant.

Source: ``show route export PROTOCOL`` (with ``all`` for BGP, and for what the kernel refused),
``show route all where dest = RTD_UNREACHABLE`` and ``show static`` on the control sockets, see netdiag.collectors.bird
for what that needs. Absent where no daemon listens. Partial where a list was longer than the cap, so that only its
count is known, or where a daemon stopped answering. This is a table of its own so that a host with full tables still
has all its sessions judged.
"""

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.collectors.bird import paths
from netdiag.model.bird import BirdProtocol, DaemonRoutes, RouteList, SentRoute, UnresolvedRoute
from netdiag.sources.bird import protocols, replies, unresolved
from netdiag.sources.protocol import Source, Unreadable

UNREACHABLE = "show route all where dest = RTD_UNREACHABLE"
DEFAULT = ("master", "master4", "master6")
TABLES_CAP = 16
"""Tables beside those that are asked by name."""
Rtbh = dict[str, tuple[str, ...]]
ROUTE_CAP = 20_000
"""Routes of one list; a table beyond that is compared by count. 100,000 routes are about 8 MB of text."""

ATTRIBUTES_CAP = 1000
"""Routes of a session whose attributes are read: what a host announces itself, not a table that it hands on."""


def quoted(name: str) -> str:
    """A protocol's name in a command: with ``.``, ``:`` or ``-`` it needs quotes."""
    return name if name.replace("_", "").isalnum() else f"'{name}'"


def exported(protocol: BirdProtocol) -> int | None:
    """How many routes a protocol says that it is given; None where it does not say (it is down)."""
    counts = [channel.exported for channel in protocol.channels if channel.exported is not None]
    return sum(counts) if counts else None


def read_exports(source: Source, path: str, found: tuple[BirdProtocol, ...]) -> tuple[tuple[RouteList, ...], list[str]]:
    """What goes to each kernel table and to each BGP session that is up; a list beyond the cap only by its count."""
    wanted = [p for p in found if p.proto in ("Kernel", "BGP") and p.state == "up"]
    asked = [p for p in wanted if (exported(p) or 0) <= ROUTE_CAP]
    commands = {f"show route export {quoted(p.name)}": p for p in asked}
    troubles = [
        f"{path}: {p.name} exports {exported(p)} routes, more than {ROUTE_CAP}: only their number is known"
        for p in wanted
        if p not in asked
    ]
    said: dict[str, list[str]] = {}
    if commands:
        try:
            raw = source.fetch("bird", "\n".join((path, *commands)))
            said = replies.split(raw)
            troubles += [f"{path}: {reason}"] if (reason := replies.broken(raw)) else []
        except Unreadable as trouble:
            troubles.append(trouble.detail)
    lists = []
    for protocol in wanted:
        lines = said.get(f"show route export {quoted(protocol.name)}")
        refusal = replies.refused(lines) if lines is not None else None
        if refusal:
            troubles.append(f"{path}: routes exported to {protocol.name}: {refusal}")
        routes = None if lines is None or refusal else replies.routes(lines)
        lists.append(RouteList(protocol=protocol.name, routes=routes, count=exported(protocol)))
    return tuple(lists), troubles


def read_unresolved(source: Source, path: str, found: tuple[BirdProtocol, ...]) -> tuple[UnresolvedRoute, ...] | None:
    """Routes of type unreachable with their attributes, and which static routes are recursive; None where the daemon
    does not tell (it may not know the words). Without a word about tables BIRD answers for its default ones alone: the
    others of the kernel's protocols are asked by name."""
    statics = [f"show static {quoted(p.name)}" for p in found if p.proto == "Static" and p.state == "up"]
    try:
        raw = source.fetch("bird", "\n".join((path, UNREACHABLE, *statics)))
    except Unreadable:
        return None
    said = replies.split(raw)
    lines = said.get(UNREACHABLE)
    if lines is None or replies.refused(lines) or replies.broken(raw):
        return None
    recursive = {net: hop for command in statics for net, hop in unresolved.recursive(said.get(command, [])).items()}
    known = list(unresolved.routes(lines, recursive))
    kernels = [channel.table for row in found if row.proto == "Kernel" for channel in row.channels if channel.table]
    named = [f"{UNREACHABLE} table {table}" for table in dict.fromkeys(kernels) if table not in DEFAULT][:TABLES_CAP]
    try:
        more = replies.split(source.fetch("bird", "\n".join((path, *named)))) if named else {}
    except Unreadable:
        return None
    for command in named:
        if replies.refused(more.get(command, [])):
            return None
        there = {(row.net, row.protocol) for row in known}
        others = unresolved.routes(more.get(command, []), recursive)
        known += [row for row in others if (row.net, row.protocol) not in there]
    return tuple(known)


def read_attributes(
    source: Source, path: str, lists: tuple[RouteList, ...], found: tuple[BirdProtocol, ...]
) -> dict[str, tuple[SentRoute, ...]]:
    """By BGP session what it is sent, with attributes; without those that are sent much, or that BIRD does not tell."""
    sessions = {p.name for p in found if p.proto == "BGP"}
    asked = {
        f"show route export {quoted(one.protocol)} all": one.protocol
        for one in lists
        if one.protocol in sessions and 0 < len(one.routes or ()) <= ATTRIBUTES_CAP
    }
    nothing: dict[str, tuple[SentRoute, ...]] = {
        one.protocol: () for one in lists if one.protocol in sessions and one.routes == ()
    }
    if not asked:
        return nothing
    try:
        raw = source.fetch("bird", "\n".join((path, *asked)))
    except Unreadable:
        return nothing
    said = {} if replies.broken(raw) else replies.split(raw)
    return nothing | {
        asked[command]: unresolved.sent(lines)
        for command, lines in said.items()
        if command in asked and not replies.refused(lines)
    }


def with_sources(source: Source, path: str, lists: tuple[RouteList, ...]) -> tuple[RouteList, ...]:
    """The lists; of those of which the kernel refused something each route with the source that a filter gives it."""
    asked = {
        f"show route export {quoted(one.protocol)} all where defined(krt_prefsrc)": one.protocol
        for one in lists
        if any(route.refused for route in one.routes or ())
    }
    try:
        raw = source.fetch("bird", "\n".join((path, *asked))) if asked else b""
    except Unreadable:
        return lists
    said = {asked[command]: unresolved.prefsrcs(lines) for command, lines in replies.split(raw).items()}
    return tuple(
        msgspec.structs.replace(
            one, routes=tuple(msgspec.structs.replace(r, prefsrc=given.get(r.net)) for r in one.routes or ())
        )
        if (given := said.get(one.protocol))
        else one
        for one in lists
    )


def null_routed(source: Source, path: str, lists: tuple[RouteList, ...], found: tuple[BirdProtocol, ...]) -> Rtbh:
    """By BGP session, the blackholes that it announces with a blackhole community; without those not told."""
    sessions = {p.name for p in found if p.proto == "BGP"}
    asked = {
        f"show route export {quoted(one.protocol)} all where dest = RTD_BLACKHOLE": one.protocol
        for one in lists
        if one.protocol in sessions and any(route.type == "blackhole" for route in one.routes or ())
    }
    if not asked:
        return {}
    try:
        raw = source.fetch("bird", "\n".join((path, *asked)))
    except Unreadable:
        return {}
    said = {} if replies.broken(raw) else replies.split(raw)
    return {
        asked[command]: tuple(
            net for net, given in unresolved.communities(lines).items() if any(c.endswith(":666") for c in given)
        )
        for command, lines in said.items()
        if command in asked and not replies.refused(lines)
    }


def collect(source: Source, options: Options) -> Collected:
    """The lists of every daemon that answers."""
    found: list[DaemonRoutes] = []
    troubles: list[str] = []
    refused: Unreadable | None = None
    for path in paths(options):
        try:
            said = replies.split(source.fetch("bird", f"{path}\nshow protocols all"))
        except Unreadable as trouble:
            if trouble.why != "absent":
                refused = refused or trouble
                troubles.append(trouble.detail)
            continue
        lists, missed = read_exports(source, path, protocols.protocols(said.get("show protocols all", [])))
        running = protocols.protocols(said.get("show protocols all", []))
        known = read_unresolved(source, path, running)
        rtbh = null_routed(source, path, lists, running)
        told = read_attributes(source, path, lists, running)
        lists = tuple(
            msgspec.structs.replace(one, rtbh=rtbh.get(one.protocol), sent=told.get(one.protocol))
            for one in with_sources(source, path, lists)
        )
        found.append(DaemonRoutes(socket=path, exports=lists, unresolved=known))
        troubles += missed
    if not found:
        raise refused or Unreadable("absent", "no control socket with a daemon behind it")
    return Collected(
        tables={"bird_routes": tuple(found)},
        rows=sum(len(one.routes or ()) for daemon in found for one in daemon.exports),
        status="partial" if troubles else "ok",
        detail="; ".join(troubles),
    )
