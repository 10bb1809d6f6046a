"""What it checks
  An LRU map of an attached program, or of one that it calls, is full (of a small one each CPU keeps entries free, up to
  half in all), and half or more of its keys were replaced while netdiag looked.

Why it matters
  A full LRU map throws out an old entry for each new one. When the entries live shorter than the flows, live
  connections lose their state in the map: they are translated anew, sent to another backend, or dropped as unknown.

Confirm
  bpftool map dump id MAP | tail -n1       (the count stands at the limit)
  bpftool map dump id MAP | head -n4       (twice: other keys)

Fix
  Load the program with a larger max_entries, and see who makes so many new keys. A reload empties the map unless it is
  pinned and copied.

Not flagged
  A full LRU map whose entries stay: that is what it is for. Maps below half of their size. Fewer than 16 keys. Maps of
  more than 1024 entries are not counted to the end, and are not judged. A scan from outside does the same: this says
  that entries are lost, not who is to blame. With one sample, or with more than ten seconds between the two: nothing is
  said.

References
  kernel/bpf/bpf_lru_list.c; kernel/bpf/hashtab.c; Documentation/bpf/map_hash.rst
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfMap, BpfTurnover
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bpf-lru-thrash",
    title="a full LRU map throws out entries that are in use",
    severity="warning",
    confidence="likely",
    reads=("bpf",),
)
FEW = 16
"""Keys below which a share says nothing."""
LONG = 10.0
"""Seconds between the looks after which entries may well be others."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    running = table.running(row.prog_id for row in table.attachments)
    users = {number: one for one in table.programs if one.id in running for number in one.map_ids}
    maps = {one.id: one for one in table.maps}
    for row in table.turnover:
        one, user = maps.get(row.map_id), users.get(row.map_id)
        if one is None or user is None or row.looked < FEW or row.left * 2 > row.looked or row.seconds > LONG:
            continue
        yield RULE.found(
            subject=subject("bpf-map", name=one.name, program=user.function or user.name),
            message=f"{one.type} {one.name} (map {one.id}) of {user.function or user.name} is full, and"
            f" {row.looked - row.left} of {row.looked} of its keys were replaced within {row.seconds:.1f} s",
            evidence=[
                (f"map {one.id} entries", f"{one.entries} of {one.max_entries}", "BPF_MAP_GET_NEXT_KEY"),
                ("keys that stayed", f"{row.left} of {row.looked}", "BPF_MAP_GET_NEXT_KEY, twice"),
            ],
            confirm=[f"bpftool map show id {one.id}", f"bpftool map dump id {one.id} | tail -n1"],
            fix=f"# load {user.function or user.name} with a larger max_entries than {one.max_entries}",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int = 0, *, attached: bool = True, **row: Any) -> Example:
        host = HostBuilder().link("eth0").bpf(programs=[program(1, "nat", map_ids=(5,))])
        host.bpf(maps=[BpfMap(id=5, type="lru_hash", name="flows", max_entries=64, entries=60)])
        looks: dict[str, Any] = {"map_id": 5, "looked": 60, "left": 30, "seconds": 1.0}
        host.bpf(turnover=[BpfTurnover(**(looks | row))])
        host = tc(host, "eth0", 1) if attached else host
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("half are new", "the plain fault", 1)
    yield case("less than half", "it breathes", left=31)
    yield case("all are new", "nothing stays", 1, left=0)
    yield case("all stayed", "full, and as it is meant to be", left=60)
    yield case("few keys", "a toy", looked=15, left=0)
    yield case("sixteen keys", "enough to tell", 1, looked=16, left=0)
    yield case("long between the looks", "flows end", seconds=11.0)
    yield case("attached nowhere", "nobody's packets", attached=False)
    yield case("map is gone", "it was unloaded meanwhile", map_id=6)
    yield case("ten seconds", "the longest that is taken for one look", 1, seconds=10.0)
    unread = HostBuilder().link("eth0").bpf(programs=[program(1, "nat", map_ids=(5,))])
    unread.bpf(turnover=[BpfTurnover(map_id=5, looked=60, left=30, seconds=1.0)])
    yield Example(name="map not read", why="its name is not known", tables=tc(unread, "eth0", 1).build())
