"""What it checks
  A tc or tcx program that is reached by every packet of an interface that is up, and that returns nothing but "shot":
  from its instructions, it drops whatever comes by.

Why it matters
  Nothing leaves (or arrives) on that interface. Programs that send get no error on the way in, ENOBUFS or nothing on
  the way out; tcpdump shows packets that arrive and not those that leave. Mostly it is the safe default of an agent
  that died before it put its policy in place.

Confirm
  tc -s filter show dev IFNAME egress
  bpftool prog dump xlated id PROGRAM

Fix
  tc filter del dev IFNAME egress pref N handle H bpf takes it away: everything passes from then on, without any policy.
  Or start the agent that should replace it.

Not flagged
  Programs with any other verdict, or of which the verdict is computed. Filters behind one that ends every packet's way.
  Filters of one protocol. Interfaces that are down. A program that drops everything on purpose, as a quarantine, looks
  exactly like the fault: suppress it.

References
  net/sched/cls_bpf.c; net/core/dev.c sch_handle_egress(), SKB_DROP_REASON_TC_EGRESS, SKB_DROP_REASON_TC_INGRESS
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import detached, reading, where
from netdiag.rules.bpfverdicts import ends, places
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-verdict-shot",
    title="a program drops every packet of an interface",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    explains=(
        "neigh-gateway-failed",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "wg-handshake-stale",
        "wg-never-handshaked",
        "qdisc-drops",
    ),
)
SHOT = (2,)


def check(view: HostView) -> Iterator[Draft]:
    programs = {one.id: one for one in view.bpf.programs}
    for place in places(view):
        if not place.link.up or place.link.loopback:
            continue
        for row in (*place.tcx, *place.tc):
            if ends(row, programs.get(row.prog_id)) is None:
                continue
            one = programs[row.prog_id]
            if one.verdicts != SHOT:
                break
            ifname, name = place.link.ifname, one.function or one.name
            yield RULE.found(
                subject=subject("bpf-attachment", ifname=ifname, hook=f"{row.hook}-{place.direction}", name=name),
                message=f"{name} ({where(row)} of {ifname}) drops every packet: it returns nothing but shot (2)",
                evidence=[
                    (f"{name} (program {one.id}) returns", "shot (2)", "BPF_OBJ_GET_INFO_BY_FD xlated"),
                    (f"{name} is attached", where(row), reading(row, ifname)),
                ],
                confirm=[
                    f"tc -s filter show dev {quoted(ifname)} {place.direction}"
                    if row.hook == "tc"
                    else "bpftool link show",
                    f"bpftool prog dump xlated id {one.id}",
                ],
                fix=detached(row, ifname),
                touches=[subject("link", ifname=ifname)],
                breaks=[subject("link", ifname=ifname)],
            )
            break


def _host(verdicts: tuple[int, ...] | None, *, hook: str = "tc", up: bool = True) -> HostBuilder:
    host = HostBuilder().link("eth0", up=up).bpf(programs=[program(1, "wall", verdicts=verdicts)])
    return tc(host, "eth0", 1, direction="egress") if hook == "tc" else tcx(host, "eth0", 1, "egress", link_id=5)


def examples() -> Iterator[Example]:
    for hook, fix in (
        ("tc", "tc filter del dev eth0 egress pref 1 handle 0x1 bpf"),
        ("tcx", "bpftool link detach id 5"),
    ):
        yield Example(
            name=f"shot by {hook}",
            why="nothing leaves",
            tables=_host(SHOT, hook=hook).build(),
            fires=1,
            subject=subject("bpf-attachment", ifname="eth0", hook=f"{hook}-egress", name="wall"),
            severity="warning",
            says=(fix,),
        )
    yield Example(name="shot or ok", why="a policy", tables=_host((0, 2)).build())
    yield Example(name="ok", why="all passes", tables=_host((0,)).build())
    yield Example(name="computed", why="a policy", tables=_host(None).build())
    yield Example(name="down", why="nothing passes anyhow", tables=_host(SHOT, up=False).build())
    behind = _host((0,)).bpf(programs=[program(2, "old", verdicts=SHOT)])
    yield Example(
        name="behind one that ends",
        why="it never runs",
        tables=tc(behind, "eth0", 2, priority=2, position=1, direction="egress").build(),
    )
    lo = HostBuilder().bpf(programs=[program(1, "wall", verdicts=SHOT)])
    yield Example(name="on loopback", why="somebody's test", tables=tc(lo, "lo", 1).build())
    index = HostBuilder().link("eth0").bpf(programs=[program(1, "wall", verdicts=SHOT)])
    yield Example(name="without direct action", why="a class", tables=tc(index, "eth0", 1, direct_action=False).build())
