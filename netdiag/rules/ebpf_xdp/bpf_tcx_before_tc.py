"""What it checks
  A tcx program always ends a packet's way at its hook (it returns pass, drop or redirect, never "next"), and tc filters
  stand at the same hook of the same interface: eBPF programs of clsact, or flower, u32 and the like. Or it lets some
  packets pass that way, and hands on others, or its verdict is computed (an info).

Why it matters
  tcx runs before tc. The filters are still listed by "tc filter show", their counters stand still, and what they did,
  shaping marks, redirects and drops, is not done any more. It happens when one agent moves to tcx (Linux 6.6) and the
  other one does not.

Confirm
  bpftool net show dev IFNAME
  tc -s filter show dev IFNAME ingress

Fix
  Let the tcx program return TCX_NEXT (-1) for packets that it does not decide, or move the filters to tcx as well,
  where the order can be said. What the filters do will be done again from that moment on.

Not flagged
  A tcx program that returns "next" for all packets but those that it drops. As more than a note: one that lets others
  pass, or whose verdict is computed: what it decides may be all that it is meant to. Filters at the other direction, or
  of a queueing discipline other than clsact. A clsact without filters.

References
  net/core/dev.c sch_handle_ingress() sch_handle_egress(); include/net/tcx.h; commit e420bed02507 (Linux 6.6)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.model.snapshot import Tables
from netdiag.model.tc import Tc, TcFilter
from netdiag.rules.bpfverdicts import TCX_ENDS, Place, ends, places
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-tcx-before-tc",
    title="a tcx program keeps every packet from the tc filters behind it",
    severity="warning",
    reads=("links", "bpf"),
    consults=("qdiscs",),
)
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}


def check(view: HostView) -> Iterator[Draft]:
    programs = {one.id: one for one in view.bpf.programs}
    for place in places(view):
        parent = PARENTS[place.direction]
        plain = [
            row
            for row in view.qdiscs.filters
            if row.ifindex == place.link.ifindex and row.parent == parent and not row.chain
        ]
        if not (place.tc or plain):
            continue
        behind = [f"bpf pref {row.priority}" for row in place.tc] + [f"{row.kind} pref {row.priority}" for row in plain]
        behind = list(dict.fromkeys(behind))  # u32 has a row for its table as well
        found = [(row, programs[row.prog_id]) for row in place.tcx if row.prog_id in programs]
        last = next(((one, words) for row, one in found if (words := ends(row, one)) is not None), None)
        part = next((one for _, one in found if _keeps_some(one)), None)
        if last is not None:
            yield _draft(place, *last, behind, always=True)
        elif part is not None:
            words = ", ".join(map(str, part.verdicts)) if part.verdicts else "a computed verdict"
            yield _draft(place, part, words, behind, always=False)


def _keeps_some(program: BpfProgram) -> bool:
    """Whether packets may pass without being handed on."""
    return not program.verdicts or any(TCX_ENDS.get(verdict) in ("pass", "redirect") for verdict in program.verdicts)


def _draft(place: Place, first: BpfProgram, verdict: str, behind: list[str], *, always: bool) -> Draft:
    ifname, name = place.link.ifname, first.function or first.name
    filters = f"the tc filters behind it ({', '.join(behind[:3])})"
    effect = f"always returns {verdict}: {filters} never see a packet"
    fix = f"let {quoted(name)} return -1 (TCX_NEXT) for what it does not decide, or move the filters to tcx"
    if not always:
        effect = f"returns {verdict}: {filters} see only what it hands on"
    return RULE.found(
        subject=subject("bpf-attachment", ifname=ifname, hook=f"tc-{place.direction}"),
        message=f"tcx program {name} on {ifname} {place.direction} {effect}",
        confidence="certain" if always else "possible",
        evidence=[
            (f"{name} (program {first.id}) returns", verdict, "BPF_OBJ_GET_INFO_BY_FD xlated"),
            ("tc filters at the same hook", len(behind), f"RTM_GETTFILTER {ifname} {place.direction}"),
        ],
        confirm=[
            f"tc -s filter show dev {quoted(ifname)} {place.direction}",
            f"bpftool prog dump xlated id {first.id}",
        ],
        fix=fix,
        touches=[subject("link", ifname=ifname), subject("bpf-program", name=name)],
    )


def _host(verdicts: tuple[int, ...] | None, *, legacy: bool = True, **at: Any) -> HostBuilder:
    host = HostBuilder().link("eth0")
    host.bpf(programs=[program(1, "agent", verdicts=verdicts), program(2, "policy")])
    tcx(host, "eth0", 1)
    return tc(host, "eth0", 2, **at) if legacy else host


def _flower(tables: Tables, parent: int, **fields: Any) -> Tables:
    known: dict[str, Any] = {"ifindex": 2, "kind": "flower", "handle": 1, "priority": 49152, "protocol": 0x0800}
    row = TcFilter(parent=parent, **(known | fields))
    return replace(tables, qdiscs=Tc(filters=(row,)))


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", ifname="eth0", hook="tc-ingress")
    for verdict in (0, 2, 7):
        yield Example(
            name=f"tcx returns {verdict}",
            why="final",
            tables=_host((verdict,)).build(),
            fires=1,
            subject=about,
            severity="warning",
            says=("(bpf pref 1) never see a packet",),
        )
    yield Example(
        name="flower",
        why="a filter that is no program",
        tables=_flower(_host((0,), legacy=False).build(), PARENTS["ingress"]),
        fires=1,
        says=("(flower pref 49152)",),
    )
    yield Example(name="next", why="tc sees all", tables=_host((-1,)).build())
    yield Example(name="next or drop", why="tc sees the rest", tables=_host((-1, 2)).build())
    for name, verdicts in (("computed", None), ("next or pass", (-1, 0)), ("next or redirect", (7, -1))):
        some = _host(verdicts).build()
        yield Example(name=name, why="that may be all it is meant to decide", tables=some, fires=1, severity="info")
    bare = _host((-1, 0), legacy=False).build()
    yield Example(name="next or pass, no filter", why="nothing stands behind", tables=bare)
    yield Example(name="another verdict", why="tcx makes it next", tables=_host((3,)).build())
    yield Example(name="the other way", why="egress has its own", tables=_host((0,), direction="egress").build())
    yield Example(name="no filter", why="nothing stands behind", tables=_host((0,), legacy=False).build())
    away = _flower(_host((0,), legacy=False).build(), PARENTS["egress"])
    yield Example(name="flower on egress", why="another hook", tables=away)
    for name, fields in (("on another interface", {"ifindex": 3}), ("in another chain", {"chain": 5})):
        other = _flower(_host((0,), legacy=False).build(), PARENTS["ingress"], **fields)
        yield Example(name=f"flower {name}", why="no packet of this one comes to it", tables=other)
    host = HostBuilder().link("eth0").bpf(programs=[program(1, "agent", verdicts=(0,))])
    out = _flower(tcx(host, "eth0", 1, "egress").build(), PARENTS["egress"])
    yield Example(name="both on egress", why="the same on the way out", tables=out, fires=1)
