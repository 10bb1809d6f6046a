"""What it checks
  A hash map (hash, percpu_hash, hash_of_maps, devmap_hash, sockhash) of a program that is attached here, or that an
  attached one calls (prog_array), has as many entries as it may have, or more than nine tenths of them. Or a full map
  that a bpffs of this host names, and no program attached here uses: whoever fills it is refused. That is a warning for
  hash and percpu_hash with a round number of places (a power of two, or tens), which is a limit, and else an info: a
  map that was made for what is in it has any number.

Why it matters
  A full hash map refuses every new key with E2BIG. What that does the program decides: mostly new flows are not
  tracked, not translated or dropped, while those that are in the map go on. It looks like a fault that hits only some.

Confirm
  bpftool map show id MAP
  bpftool map dump id MAP | tail -n1

Fix
  Find out who should take old entries away and does not (a collector of garbage that died, a flood of new keys), and
  load the program again with a larger max_entries: a map cannot grow. A reload empties the map unless it is pinned
  and copied, and established flows are then new ones.

Not flagged
  LRU maps, which are full by design and push the oldest entry out. Arrays, whose slots always exist, and LPM tries,
  which hold configuration. Maps that programs cannot write (BPF_F_RDONLY_PROG) or nobody can (frozen): they are as
  large as what was put in. Maps of fewer than 16 entries, told as info where an attached program uses them. Maps of
  programs that are attached nowhere, unless they are full and pinned: what fills them is not seen. Maps with more
  entries than are counted: there the rule says "not evaluated".

References
  kernel/bpf/hashtab.c alloc_htab_elem() "-E2BIG"; include/uapi/linux/bpf.h
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfMap, BpfMapEntry, BpfPin
from netdiag.model.finding import Confidence, Draft, Severity, Unjudged, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-map-full",
    title="an eBPF map is full and refuses new entries",
    severity="critical",
    confidence="likely",
    reads=("links", "bpf"),
)
TYPES = ("hash", "percpu_hash", "hash_of_maps", "devmap_hash", "sockhash")
RDONLY_PROG = 0x80
LIMITED = ("hash", "percpu_hash")
"""What flows and clients are kept in; the others hold devices, sockets and maps, which are known beforehand."""
SMALL = 16
NEARLY = 0.9


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    table = view.bpf
    running = table.running(row.prog_id for row in table.attachments)
    users = {number: one for one in table.programs if one.id in running for number in one.map_ids}
    pins = {pin.id: pin.path for pin in reversed(table.pins) if pin.kind == "map"}
    for one in table.maps:
        user = users.get(one.id)
        if (
            (user is None and one.id not in pins)
            or one.type not in TYPES
            or one.flags & RDONLY_PROG
            or one.frozen
            or one.max_entries < 2
        ):
            continue
        if one.entries is None or one.entries_more:
            if user is not None and one.max_entries >= SMALL:
                yield Unjudged(reason=f"map {one.name or one.id}: its entries were not counted to the end")
            continue
        if user is not None and one.entries > NEARLY * one.max_entries:
            yield _finding(one, user.function or user.name, one.entries)
        elif user is None and one.entries >= one.max_entries >= SMALL:
            yield _unused(one, pins[one.id], one.entries)


def _finding(one: BpfMap, name: str, count: int) -> Draft:
    full = count >= one.max_entries
    small = one.max_entries < SMALL
    state = "is full: new entries are refused (E2BIG)" if full else "is nearly full"
    return RULE.found(
        subject=subject("bpf-map", name=one.name, program=name),
        message=f"{one.type} {one.name} (map {one.id}) of {name} {state}, {count} of {one.max_entries} entries",
        evidence=[
            (f"map {one.id} entries", count, "BPF_MAP_GET_NEXT_KEY"),
            (f"map {one.id} max_entries", one.max_entries, "BPF_OBJ_GET_INFO_BY_FD"),
        ],
        confirm=[f"bpftool map show id {one.id}", f"bpftool map dump id {one.id} | tail -n1"],
        fix=f"bpftool map dump id {one.id}  # find what is stale in it; then load {name} with a larger max_entries",
        severity="critical" if full else "warning",
        confidence="possible" if small else "likely",
    )


def _limited(one: BpfMap) -> bool:
    """Whether somebody thought of a limit when the map was made, and not of what was to be put in."""
    return one.type in LIMITED and (one.max_entries & (one.max_entries - 1) == 0 or one.max_entries % 10 == 0)


def _unused(one: BpfMap, path: str, count: int) -> Draft:
    """A full map that is named in a bpffs, and that no packet of this host asks for."""
    limited = _limited(one)
    return RULE.found(
        subject=subject("bpf-map", name=one.name, program=path),
        message=f"{one.type} {one.name or one.id} at {path} is full, {count} of {one.max_entries} entries: whoever "
        "adds to it is refused (E2BIG); no program that is attached here uses it",
        evidence=[
            (f"map {one.id} entries", count, "BPF_MAP_GET_NEXT_KEY"),
            (f"map {one.id} max_entries", one.max_entries, "BPF_OBJ_GET_INFO_BY_FD"),
        ],
        confirm=[f"bpftool map show pinned {quoted(path)}", f"bpftool map dump pinned {quoted(path)} | tail -n1"],
        fix=f"bpftool map dump pinned {quoted(path)}  # find what is stale in it; or make it anew, larger",
        severity="warning" if limited else "info",
        confidence="likely" if limited else "possible",
    )


def _host(entries: int | None, most: int = 100, kind: str = "hash", **fields: Any) -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "nat", map_ids=(5,))])
    host.bpf(maps=[BpfMap(id=5, type=kind, name="flows", max_entries=most, entries=entries, **fields)])
    return tc(host, "tap0", 1)


def examples() -> Iterator[Example]:
    about = subject("bpf-map", name="flows", program="nat")
    for kind in TYPES:
        yield Example(
            name=f"full {kind}",
            why="it refuses",
            tables=_host(100, kind=kind).build(),
            fires=1,
            subject=about,
            severity="critical",
            confidence="likely",
            says=("is full: new entries are refused",),
        )
    yield Example(name="one left", why="nearly", tables=_host(99).build(), fires=1, severity="warning")
    yield Example(name="over nine tenths", why="the limit", tables=_host(91).build(), fires=1, severity="warning")
    yield Example(name="nine tenths", why="room for a while", tables=_host(90).build())
    yield Example(
        name="sixteen of sixteen", why="large enough", tables=_host(16, 16).build(), fires=1, severity="critical"
    )
    yield Example(
        name="fifteen of fifteen", why="made for what is in it", tables=_host(15, 15).build(), fires=1, severity="info"
    )
    yield Example(name="one of one", why="a setting", tables=_host(1, 1).build())
    for kind in ("lru_hash", "lru_percpu_hash", "array", "percpu_array", "lpm_trie"):
        yield Example(name=f"full {kind}", why="by design", tables=_host(100, kind=kind).build())
    yield Example(
        name="read-only for programs", why="as large as its content", tables=_host(100, flags=RDONLY_PROG).build()
    )
    yield Example(name="frozen", why="nobody adds", tables=_host(100, frozen=True).build())
    yield Example(name="not counted", why="nobody knows", tables=_host(None).build(), unjudged=True)
    more = _host(1024, 50_000, entries_more=True)
    yield Example(name="more than was counted", why="nobody knows", tables=more.build(), unjudged=True)
    away = HostBuilder().bpf(programs=[program(1, map_ids=(5,))])
    away.bpf(maps=[BpfMap(id=5, type="hash", name="flows", max_entries=100, entries=100)])
    yield Example(name="attached nowhere", why="no packet asks for it", tables=away.build())
    pinned: tuple[tuple[str, str, int | None, int, Severity | None], ...] = (
        ("pinned", "hash", 16, 16, "warning"),
        ("pinned, tens", "hash", 1000, 1000, "warning"),
        ("pinned, a CPU each", "percpu_hash", 4096, 4096, "warning"),
        ("pinned, made for what is in it", "hash", 37, 37, "info"),
        ("pinned, one less than round", "hash", 127, 127, "info"),
        ("pinned, devices", "devmap_hash", 16, 16, "info"),
        ("pinned, nine tenths", "hash", 95, 100, None),
        ("pinned, small", "hash", 15, 15, None),
        ("pinned, LRU", "lru_hash", 16, 16, None),
        ("pinned, not counted", "hash", None, 16, None),
    )
    for name, kind, entries, most, severity in pinned:
        one = BpfMap(id=5, type=kind, name="flows", max_entries=most, entries=entries)
        host = HostBuilder().bpf(maps=[one], pins=[BpfPin(path="/sys/fs/bpf/flows", kind="map", id=5)])
        why = "its owner may add to it" if severity else "nobody is refused, or it is not known"
        sure: Confidence | None = {"warning": "likely", "info": "possible", None: None}[severity]
        fires = int(severity is not None)
        yield Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity, confidence=sure)
    host = away.bpf(pins=[BpfPin(path="/sys/fs/bpf/nat", kind="prog", id=5)])
    yield Example(name="a program of that number is pinned", why="not the map", tables=host.build())
    called = HostBuilder().link("tap0", kind="tun")
    called.bpf(programs=[program(1, "nat", map_ids=(5,)), program(2, "entry", map_ids=(6,))])
    called.bpf(maps=[BpfMap(id=5, type="hash", name="flows", max_entries=100, entries=100)])
    called.bpf(maps=[BpfMap(id=6, type="prog_array", name="calls", max_entries=4)])
    yield Example(name="beside an array", why="nobody calls it", tables=tc(called, "tap0", 2).build())
    called.bpf(entries=[BpfMapEntry(map_id=6, key=0, prog_id=1)])
    yield Example(name="of a called program", why="packets come to it", tables=called.build(), fires=1)
    yield Example(name="two of two", why="no setting, and small", tables=_host(2, 2).build(), fires=1, severity="info")
    yield Example(name="a small one, not counted", why="it would only be mentioned", tables=_host(None, 15).build())
    sixteen = _host(None, 16).build()
    yield Example(name="sixteen, not counted", why="large enough", tables=sixteen, unjudged=True)
    flagged = _host(100, flags=1).build()
    yield Example(name="not allocated beforehand", why="BPF_F_NO_PREALLOC", tables=flagged, fires=1)
    whole = [program(2, "nat_of_somebody", function="nat_of_somebody_else", map_ids=(6,))]
    host = _host(1).bpf(programs=whole)
    host.bpf(maps=[BpfMap(id=6, type="hash", name="flows", max_entries=100, entries=100)])
    about = subject("bpf-map", program="nat_of_somebody_else")
    yield Example(
        name="its user's whole name", why="as told", tables=tc(host, "tap0", 2).build(), fires=1, subject=about
    )
