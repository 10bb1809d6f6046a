"""What it checks
  A program that is attached here, or one that it calls, uses a prog_array without a single entry, and nothing keeps
  that map: no pin, and no process that has it open. Or something keeps it, and a program of the same kind that was
  loaded together with the attached one is attached nowhere and called by nobody: its entry was taken out; or a map of
  that name, of a program of that name, had entries at the time of the baseline.

Why it matters
  A prog_array is emptied when the last pin and the last open descriptor of it go, although the program that uses it
  stays attached. From then on every tail call misses: the entry program goes on behind the call, mostly with its
  default verdict, and everything that the called programs did (policy, NAT, counting) is silently not done. Nobody
  can fill the map again by name.

Confirm
  bpftool map dump id MAP
  bpftool prog show id PROGRAM

Fix
  Load and attach again with a loader that pins the map or stays, for example
  bpftool prog load OBJECT PATH pinmaps FOLDER. Packets are handled as before once the programs are in the map.

Not flagged
  A map with some empty slots: they are for options. An empty one that is pinned or that a process has open, without a
  program that waits for its call, and of which no baseline shows that it had any: its loader may fill it when there is
  something to call; told as info. Maps of programs that are neither attached here nor called by such. Maps that were
  not read to the end.

References
  kernel/bpf/syscall.c bpf_map_put_uref(), kernel/bpf/arraymap.c prog_array_map_clear(),
  https://github.com/cilium/cilium/issues/16561
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfHolder, BpfMap, BpfMapEntry, BpfPin, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import filled_before, referred, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-progarray-cleared",
    title="the tail calls of an attached eBPF program lead nowhere",
    severity="critical",
    reads=("links", "bpf"),
    consults=("baseline",),
)


TOGETHER = 2.0
"""Seconds within which one loader loads the programs of one object."""


def waiting(table: Bpf, user: BpfProgram) -> str | None:
    """A program that came with this one, for the same hook, and to which nothing leads."""
    pinned = {row.id for row in table.pins if row.kind == "prog"}
    kept = (pinned | {row.id for row in table.holders if row.kind == "prog"}) - referred(table) - {user.id}
    for one in table.programs:
        if one.id in kept and one.type == user.type and abs(one.loaded_at - user.loaded_at) < TOGETHER:
            return one.function or one.name
    return None


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    names: dict[int | None, str] = {link.ifindex: link.ifname for link in view.links}
    filled = {entry.map_id for entry in table.entries}
    kept = {pin.id for pin in table.pins if pin.kind == "map"}
    kept |= {holder.id for holder in table.holders if holder.kind == "map"}
    empty = {
        one.id: one
        for one in table.maps
        if one.type == "prog_array" and one.id in table.entries_read and one.id not in filled
    }
    programs = {one.id: one for one in table.programs}
    told: set[tuple[int, int]] = set()
    for row in table.attachments if empty else ():
        running = [programs[number] for number in sorted(table.running([row.prog_id])) if number in programs]
        pairs = [(each, number) for each in running for number in each.map_ids]
        for user, map_id in pairs:
            one = empty.get(map_id)
            if one is None or (user.id, map_id) in told:
                continue
            told.add((user.id, map_id))
            name = user.function or user.name
            ifname = names.get(row.ifindex)
            place = f"{where(row)} of {ifname}" if ifname else row.hook
            left = waiting(table, user) if map_id in kept else None
            sure, before = map_id not in kept, filled_before(view, one, user)
            complete = not {"pins", "holders"} & set(table.unread)
            yield RULE.found(
                subject=subject("bpf-map", name=one.name, program=name, ifname=ifname),
                message=f"all {one.max_entries} slots of prog_array {one.name} (map {map_id}) are empty: tail calls of "
                f"{name} (program {user.id}, {place}) do nothing"
                + (f", and {left}, which was loaded with it, is called by nobody" if left else "")
                + (f"; {before}" if before else ""),
                evidence=[
                    (f"map {map_id} {one.name} entries", 0, "BPF_MAP_LOOKUP_ELEM"),
                    (f"map {map_id} pins and holders", "some" if not sure else "none", "bpffs, /proc/PID/fdinfo"),
                    (f"program {user.id} {name} maps", ",".join(map(str, user.map_ids)), "BPF_OBJ_GET_INFO_BY_FD"),
                ],
                confirm=[f"bpftool map dump id {map_id}", f"bpftool prog show id {user.id}"],
                fix="load and attach again with a loader that pins the map: bpftool prog load OBJECT "
                f"/sys/fs/bpf/{quoted(name)} pinmaps /sys/fs/bpf/{quoted(name)}_maps",
                confidence="certain" if sure and complete else "likely" if sure or left or before else "possible",
                touches=[subject("link", ifname=ifname)] if ifname else [],
            )


def _host(*, slots: tuple[int, ...] = (), read: bool = True, name: str = "entry") -> HostBuilder:
    """An entry program on a tap, and its prog_array."""
    host = HostBuilder().link("tap0", kind="tun")
    host.bpf(
        programs=[program(1, name, map_ids=(5,)), program(2, "called")],
        maps=[BpfMap(id=5, type="prog_array", name="calls", max_entries=4)],
        entries=[BpfMapEntry(map_id=5, key=slot, prog_id=2) for slot in slots],
        entries_read=[5] if read else [],
    )
    return host


def examples() -> Iterator[Example]:
    about = subject("bpf-map", name="calls", program="entry", ifname="tap0")
    yield Example(
        name="entry program attached, loader gone, no pin",
        why="the plain fault",
        tables=tc(_host(), "tap0", 1).build(),
        fires=1,
        subject=about,
        severity="critical",
        confidence="certain",
    )
    yield Example(
        name="attached twice",
        why="one map is told once",
        tables=tc(tc(_host(), "tap0", 1), "tap0", 1, priority=2).build(),
        fires=1,
    )
    yield Example(
        name="not all processes could be looked into",
        why="somebody may still hold it",
        tables=tc(_host().bpf(unread=["holders"]), "tap0", 1).build(),
        fires=1,
        confidence="likely",
    )
    yield Example(
        name="empty and pinned",
        why="its loader may fill it later",
        tables=tc(_host().bpf(pins=[BpfPin(path="/sys/fs/bpf/calls", kind="map", id=5)]), "tap0", 1).build(),
        fires=1,
        severity="info",
    )
    pinned = [BpfPin(path="/sys/fs/bpf/m", kind="map", id=5), BpfPin(path="/sys/fs/bpf/p", kind="prog", id=3)]
    for seconds, kind, loud in ((61.0, "sched_cls", True), (62.0, "sched_cls", False), (61.0, "xdp", False)):
        mate = program(3, "nat", loaded_at=seconds, type=kind, function="nat_whole_name")
        yield Example(
            name=f"a {kind} program of {seconds:.0f} s that nobody calls",
            why="it was loaded to be called" if loud else "it has another purpose",
            tables=tc(_host().bpf(pins=pinned, programs=[mate]), "tap0", 1).build(),
            fires=1,
            severity="critical" if loud else "info",
            says=("and nat_whole_name, which was loaded with it",) if loud else (),
        )
    mate = program(3, "nat", loaded_at=61.0)
    for name, rows, severity in (
        ("held by a process", {"holders": [BpfHolder(pid=9, comm="agent", kind="prog", id=3)]}, "critical"),
        ("no map of its number, held", {"holders": [BpfHolder(pid=9, comm="agent", kind="map", id=3)]}, "info"),
        ("no map of its number, pinned", {"pins": [BpfPin(path="/sys/fs/bpf/n", kind="map", id=3)]}, "info"),
    ):
        host = _host().bpf(pins=pinned[:1], programs=[mate]).bpf(**rows)
        told: dict[str, Any] = {"fires": 1, "severity": severity}
        yield Example(name=f"its mate is {name}", why="kept to be called", tables=tc(host, "tap0", 1).build(), **told)
    busy = tc(tc(_host().bpf(pins=pinned, programs=[program(3, "nat", loaded_at=60.0)]), "tap0", 1), "tap0", 3).build()
    yield Example(name="its mate is attached", why="no call misses", tables=busy, fires=1, severity="info")
    yield Example(
        name="empty and held by a process",
        why="that process may fill it",
        tables=tc(_host().bpf(holders=[BpfHolder(pid=9, comm="agent", kind="map", id=5)]), "tap0", 1).build(),
        fires=1,
        severity="info",
    )
    yield Example(
        name="a program pinned under the map's number",
        why="ids of programs and maps are numbered apart",
        tables=tc(_host().bpf(pins=[BpfPin(path="/sys/fs/bpf/p", kind="prog", id=5)]), "tap0", 1).build(),
        fires=1,
        severity="critical",
    )
    yield Example(name="one slot in use", why="the rest are options", tables=tc(_host(slots=(3,)), "tap0", 1).build())
    yield Example(name="not attached", why="no packet meets it", tables=_host().build())
    yield Example(
        name="another program is attached",
        why="it does not use the map",
        tables=tc(_host(), "tap0", 2).build(),
    )
    yield Example(name="entries not read", why="not known to be empty", tables=tc(_host(read=False), "tap0", 1).build())
    devices = BpfMap(id=5, type="devmap", name="calls", max_entries=4)
    host = HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "entry", map_ids=(5,))], maps=[devices])
    yield Example(
        name="an empty devmap",
        why="it has nothing to call, and empties by itself when its interfaces go",
        tables=tc(host.bpf(entries_read=[5]), "tap0", 1).build(),
    )
    two = tc(tc(_host(), "tap0", 1).link("tap1", kind="tun"), "tap1", 1).build()
    yield Example(name="attached on two taps", why="one map is told once", tables=two, fires=1)
    other = tc(_host().bpf(holders=[BpfHolder(pid=9, comm="agent", kind="prog", id=5)]), "tap0", 1).build()
    why = "ids are numbered apart"
    yield Example(name="a program held under the map's number", why=why, tables=other, fires=1, severity="critical")
    yield from _since()
    nested = HostBuilder().link("tap0", kind="tun")
    nested.bpf(programs=[program(1, "entry", map_ids=(5,)), program(2, "policy", map_ids=(6,))])
    maps = [BpfMap(id=number, type="prog_array", name=f"calls{number}", max_entries=4) for number in (5, 6)]
    nested.bpf(maps=maps, entries=[BpfMapEntry(map_id=5, key=0, prog_id=2)], entries_read=[5, 6])
    about = subject("bpf-map", name="calls6", program="policy", ifname="tap0")
    tables = tc(nested, "tap0", 1).build()
    yield Example(
        name="of a program that is called", why="the second call misses", tables=tables, fires=1, subject=about
    )
    unread = tc(_host(), "tap0", 9).build()
    yield Example(name="a program that is not read", why="its maps are not known", tables=unread)


def _since() -> Iterator[Example]:
    """A map that is kept, and what was in it."""
    kept = {"holders": [BpfHolder(pid=9, comm="agent", kind="map", id=5)]}
    now = tc(_host().bpf(**kept), "tap0", 1).build()
    before = {
        "had some": (tc(_host(slots=(0, 1)), "tap0", 1), "critical"),
        "had none": (tc(_host(), "tap0", 1), "info"),
        "was another program's": (_host(slots=(0, 1), name="other"), "info"),
    }
    for name, (then, severity) in before.items():
        says = ("it had 2 at the time of the baseline",) if severity == "critical" else ()
        told: dict[str, Any] = {"fires": 1, "severity": severity, "says": says}
        yield Example(name=f"held, and {name}", why="what went", tables=now, baseline=then.build(), **told)
    late: dict[str, Any] = {"late_then": ("bpf",), "fires": 1, "severity": "info"}
    had = before["had some"][0].build()
    yield Example(name="held, then not read", why="nobody knows", tables=now, baseline=had, **late)
