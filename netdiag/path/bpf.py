"""Which BPF programs a packet meets on a device, in their order, and with ``--run-bpf`` what they do with it.

On the way in: XDP, then tcx, then clsact. On the way out: tcx, then clsact. netkit has its own two. The first that
gives a verdict ends it (net/core/dev.c sch_handle_ingress()). Without being run a program may do anything: it is named
and the walk goes on as if it let the packet pass. A run does not tell where a program redirects to: that is known
where its instructions, or the only entry of its devmap, leave no choice. Pure; nothing can fail.
"""

from dataclasses import replace
from typing import NamedTuple

from netdiag.model.bpf import BpfAttachment
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.walk import Fate
from netdiag.path import frames
from netdiag.path.host import Aim, PathHost, Ran
from netdiag.path.trail import Packet, Trail

_ORDER = ("xdp", "tcx", "tc", "netkit")
NEXT = -1
MOST_CGROUPS = 4
"""Programs of cgroups that are named: a host with systemd can have one for each service."""
PASS: dict[bool, tuple[int, ...]] = {True: (2,), False: (0, 3)}
"""XDP_PASS; TC_ACT_OK and TC_ACT_PIPE."""
WORDS: dict[bool, dict[int, str]] = {
    True: {0: "aborts it", 1: "drops it", 2: "lets it pass", 3: "sends it back", 4: "redirects it"},
    False: {-1: "no verdict", 0: "lets it pass", 2: "drops it", 3: "lets it pass", 4: "steals it", 7: "redirects it"},
}
DROPS: dict[bool, tuple[int, ...]] = {True: (0, 1), False: (2,)}
BACK = 3
"""XDP_TX."""
REDIRECT = {True: 4, False: 7}
"""XDP_REDIRECT and TC_ACT_REDIRECT."""


class Turned(NamedTuple):
    """Where a program sent the packet instead of letting it go on."""

    link: Link
    how: str
    """``egress``, ``ingress``, ``peer``, ``neigh``, or ``xdp``: out by the driver, past all that is before it."""
    lladdr: str | None
    reason: str


class Met(NamedTuple):
    """The packet behind the programs; ``fate`` or ``turned`` is set where one ended its way."""

    packet: Packet
    fate: Fate | None = None
    reason: str = ""
    turned: Turned | None = None


def met(host: PathHost, link: Link, direction: str) -> list[BpfAttachment]:
    """The programs on a device in one direction, in the order in which they run."""
    rows = [
        row
        for row in host.tables.bpf.attachments
        if row.ifindex == link.ifindex
        and row.hook in _ORDER
        and (row.direction == direction or (row.hook == "xdp" and direction == "ingress"))
    ]
    return sorted(rows, key=lambda row: (_ORDER.index(row.hook), row.priority or 0, row.position))


class _Place(NamedTuple):
    """A device, and the hardware addresses of a frame there: source and destination."""

    link: Link
    source: str | None
    destination: str | None


def ingress(host: PathHost, link: Link, packet: Packet, trail: Trail) -> Met:
    """The programs that a packet meets where it arrives."""
    return _meet(host, _Place(link, None, link.address), "ingress", packet, trail)


def egress(host: PathHost, link: Link, packet: Packet, trail: Trail, lladdr: str | None) -> Met:
    """The programs that a packet meets where it leaves, to a neighbour with this hardware address."""
    return _meet(host, _Place(link, link.address, lladdr), "egress", packet, trail)


def _meet(host: PathHost, place: _Place, direction: str, packet: Packet, trail: Trail) -> Met:
    """Name the programs that a packet meets, and run them where that was asked for."""
    link = place.link
    rows = met(host, link, direction)
    if not rows and link.xdp is not None and direction == "ingress":
        thing = f"xdp {link.xdp.mode} on {link.ifname}: program {link.xdp.prog_id}"
        trail.add("bpf", "runs", thing, why="what it decides is not known: --run-bpf runs it on such a packet")
    done = ""
    for row in rows:
        if done and not (row.hook != "xdp" and done == "xdp"):
            continue
        told = _one(host, row, place, packet, trail)
        if told.fate is not None or told.turned is not None:
            return told
        if told.reason:
            done = "xdp" if row.hook == "xdp" else "tc"
        packet = told.packet
    return Met(packet)


def _one(host: PathHost, row: BpfAttachment, place: _Place, packet: Packet, trail: Trail) -> Met:
    link = place.link
    thing = f"{_hook(row)} on {link.ifname}: {name(host, row)}"
    if host.run_bpf is None or row.direct_action is False or packet.src is None:
        why = "what it decides is not known"
        why += ": --run-bpf runs it on such a packet" if host.run_bpf is None else ", and it cannot be run on its own"
        trail.add("bpf", "runs", thing, why=why)
        return Met(packet)
    before = frames.frame(packet, place.source, place.destination)
    ran = host.run_bpf(row, before, link.ifindex, packet.mark)
    if ran.trouble:
        trail.add("bpf", "runs", thing, why=f"what it decides is not known: {ran.trouble}")
        return Met(packet)
    xdp = row.hook == "xdp"
    word = WORDS[xdp].get(ran.returned, f"returns {ran.returned}")
    if ran.returned in DROPS[xdp]:
        why = f"BPF program {name(host, row)} ({_hook(row)} on {link.ifname}) {word}"
        trail.add("bpf", "dropped", thing, decisive=True, why=word)
        return Met(packet, "dropped", why)
    after = frames.changed(packet, before, ran.frame)
    if after is not None and ran.mark is not None:
        after = _marked(after, ran.mark)
    if after is not None and (ran.returned == REDIRECT[xdp] or (xdp and ran.returned == BACK)):
        why = _difference(packet, after, frames.notes(before, ran.frame))
        return _redirected(host, _Redirect(row, link, why), after, ran, trail)
    if ran.returned not in PASS[xdp] and not (ran.returned == NEXT and not xdp):
        why = f"BPF program {name(host, row)} ({_hook(row)} on {link.ifname}) {word}: where to is not told"
        trail.add("bpf", "unknown", thing, decisive=True, why=word)
        return Met(packet, "unknown", why)
    if after is None:
        trail.add("bpf", "unknown", thing, decisive=True, why="it makes another kind of packet of it")
        return Met(packet, "unknown", f"BPF program {name(host, row)} makes another kind of packet of it")
    trail.add("bpf", word, thing, why=_difference(packet, after, frames.notes(before, ran.frame)))
    return Met(after, None, "" if ran.returned == NEXT else word)


def _difference(before: Packet, after: Packet, notes: list[str]) -> str:
    """What a program changed, in a phrase; empty for nothing."""
    if before == after and not notes:
        return ""
    names = ("src", "dst", "sport", "dport", "mark", "tos", "size")
    changed = [
        f"{name} {_shown(name, getattr(before, name))} > {_shown(name, getattr(after, name))}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
    return f"it changes {', '.join([*changed, *notes])}: it is then {after.text()} mark {after.mark:#x}"


def _shown(name: str, value: object) -> str:
    return f"{value:#x}" if name == "mark" else str(value)


class _Redirect(NamedTuple):
    """Who redirects, where, and what was changed before."""

    row: BpfAttachment
    link: Link
    changes: str


def _redirected(host: PathHost, by: _Redirect, packet: Packet, ran: Ran, trail: Trail) -> Met:
    """Where the packet goes on from a redirect, if there is only one place."""
    row, link, xdp = by.row, by.link, by.row.hook == "xdp"
    program = f"BPF program {name(host, row)} ({_hook(row)} on {link.ifname})"
    thing = f"{_hook(row)} on {link.ifname}: {name(host, row)}"
    if xdp and ran.returned == BACK:
        places = [Aim("egress", link.ifindex)]
    else:
        places = _places(host, row, ran.aims or (Aim("egress", None),))
    known = [(aim, host.stack.by_index[aim.number]) for aim in places if aim.number in host.stack.by_index]
    names = ", ".join(f"{there.ifname} ({aim.how})" for aim, there in known)
    if len(places) != 1 or not known:
        where = f"one of {names}" if known and len(known) == len(places) else "where to is not told"
        trail.add("bpf", "unknown", thing, decisive=True, why=f"redirects it: {where}")
        return Met(packet, "unknown", f"{program} redirects it: {where}")
    (aim, there), frame = known[0], ran.frame
    word = "sends it back" if xdp and ran.returned == BACK else f"redirects it to {there.ifname}"
    how = "xdp" if xdp else aim.how
    trail.add("bpf", f"{word} ({how})", thing, decisive=True, why=by.changes)
    lladdr = frame[:6].hex(":") if len(frame) >= frames.ETHERNET and any(frame[:6]) else None
    return Met(packet, turned=Turned(there, how, None if how == "neigh" else lladdr, f"{program} {word}"))


def _places(host: PathHost, row: BpfAttachment, aims: tuple[Aim, ...]) -> list[Aim]:
    """The interfaces among what a program can redirect to; a map stands for its entries."""
    program = host.tables.bpf.program(row.prog_id)
    maps = set(program.map_ids) if program is not None else set()
    places: set[Aim] = set()
    for aim in aims:
        if aim.how != "map":
            places.add(aim)
            continue
        entries = [one for one in host.tables.bpf.entries if one.map_id in maps and one.ifindex is not None]
        chosen = [one for one in entries if aim.number in (None, one.key)]
        places |= {Aim("egress", one.ifindex) for one in chosen} or {Aim("egress", None)}
    return sorted(places, key=str)


def _marked(packet: Packet, mark: int) -> Packet:
    return replace(packet, mark=mark)


def cgroups(host: PathHost, packet: Packet, out: bool, trail: Trail) -> None:
    """Name the programs of cgroups that may see it: which they are depends on the cgroup of the program at its end."""
    four = packet.family == "inet"
    kinds = {"cgroup_inet_egress"} if out else {"cgroup_inet_ingress"}
    if out and packet.ip_proto in (None, IPPROTO_UDP):
        kinds.add("cgroup_udp4_sendmsg" if four else "cgroup_udp6_sendmsg")
    if out and packet.ip_proto in (None, IPPROTO_TCP, IPPROTO_UDP):
        kinds.add("cgroup_inet4_connect" if four else "cgroup_inet6_connect")
    seen: set[tuple[int, str | None]] = set()
    for row in host.tables.bpf.attachments:
        if row.hook == "cgroup" and row.attach_type in kinds and (row.prog_id, row.cgroup) not in seen:
            seen.add((row.prog_id, row.cgroup))
            if len(seen) > MOST_CGROUPS:
                trail.add("bpf", "may run", "further programs of cgroups", why="netdiag show bpf lists them")
                return
            why = "for sockets of that cgroup; what it decides is not known"
            trail.add("bpf", "may run", f"{row.attach_type} of {row.cgroup or '/'}: {name(host, row)}", why=why)


def name(host: PathHost, row: BpfAttachment) -> str:
    """The program's name, as far as it is known."""
    program = host.tables.bpf.program(row.prog_id)
    called = (program.function or program.name) if program is not None else row.name
    return f"{called} (id {row.prog_id})" if called else f"program {row.prog_id}"


def _hook(row: BpfAttachment) -> str:
    return f"xdp {row.mode or ''}".strip() if row.hook == "xdp" else f"{row.hook} {row.direction}"
