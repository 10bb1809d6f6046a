"""What it checks
  A program at a network hook of an interface (XDP, tc, tcx, netkit) whose name was at none at the time of the baseline;
  or, by [[bpf]] of the intent, another program than those named at a hook of an interface that the intent speaks about.

Why it matters
  Every packet of the interface runs through it. An observability agent, a debugging session that nobody ended or an
  intruder can slow a host down, drop or copy its traffic, and nothing in ip, ss or nft shows it.

Confirm
  bpftool net show dev IFNAME
  bpftool prog show name NAME

Fix
  Find who holds it (the finding names processes and pins), then stop that agent or detach the program; or name it in
  the intent, or take a new baseline.

Not flagged
  Another build of a name that was there; names that were on other interfaces then, as on new taps; programs that trace
  and those of cgroups and sockets. Without a baseline or a [[bpf]] section the rule is not evaluated.

References
  bpftool-net(8), bpftool-prog(8)
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfHolder
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.intent import IntendedProgram
from netdiag.rules.bpfplaces import Placed, placed, program, reading, tc, where, xdp
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since, untold
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-unexpected-program",
    title="a program that was not there before sits in the way of packets",
    severity="warning",
    confidence="likely",
    reads=("bpf", "links"),
    consults=("intent.bpf", "baseline"),
    explains=("bpf-xdp-generic-fallback", "bpf-tc-duplicate-version"),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from untold(view, "bpf")
    old, told = view.baseline, view.intent.bpf
    named = {want.name for want in told or ()}
    strange: dict[str, list[Placed]] = {}
    why = "another one than the intent names"
    if old is not None and old.read_whole("bpf"):
        known = {row.name for row in placed(old)} | named
        why = f"at no hook {since(old)}"
        for row in placed(view):
            if row.name not in known and not any(want.startswith(row.name) for want in named if not row.whole):
                strange.setdefault(row.name, []).append(row)
    elif told is not None:
        for row in placed(view):
            if _spoken_of(told, row) and not any(want == row.name or want.startswith(row.name) for want in named):
                strange.setdefault(row.name, []).append(row)
    for name, rows in strange.items():
        yield _draft(view, name, rows, why)


def _spoken_of(told: tuple[IntendedProgram, ...], row: Placed) -> bool:
    hook = f"tc-{row.at.direction}" if row.at.hook in ("tc", "tcx") else (row.at.attach_type or row.at.hook)
    return any(
        want.hook == hook.replace("_", "-") and want.ifname is not None and fnmatchcase(row.link.ifname, want.ifname)
        for want in told
    )


def _draft(view: HostView, name: str, rows: list[Placed], why: str) -> Draft:
    first = rows[0]
    ids = {row.at.prog_id for row in rows}
    holders = sorted({f"{h.comm}[{h.pid}]" for h in view.bpf.holders if h.kind == "prog" and h.id in ids})
    pins = sorted({pin.path for pin in view.bpf.pins if pin.kind == "prog" and pin.id in ids})
    names = sorted({row.link.ifname for row in rows})
    counted = view.bpf.program(first.at.prog_id)
    evidence: list[tuple[str, object, str]] = [
        (f"{name} on {first.link.ifname}", where(first.at), reading(first.at, first.link.ifname)),
        ("meant or known", "no", why),
        ("held by", ", ".join([*holders[:3], *pins[:3]]) or "nothing but its hook", "/proc/*/fdinfo, bpffs"),
    ]
    if counted is not None and counted.run_count is not None:
        spent = f"{counted.run_count} runs, {counted.run_time_ns or 0} ns"
        evidence.append(("run", spent, "BPF_OBJ_GET_INFO_BY_FD"))
    places = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return RULE.found(
        subject=subject("bpf-program", name=name),
        message=f"the program {name} sits at {where(first.at)} of {places}, {why}"
        + (f"; held by {', '.join(holders[:2])}" if holders else ""),
        evidence=evidence,
        confirm=[f"bpftool net show dev {quoted(first.link.ifname)}", f"bpftool prog show tag {first.tag}"],
        fix=f"stop what owns {name} ({', '.join([*holders[:1], *pins[:1]]) or 'nobody'}), or name it in the intent",
        breaks=[subject("link", ifname=ifname) for ifname in names[:16]],
    )


def _host() -> HostBuilder:
    programs = [program(1, "policy"), program(2, "spy", tag="bb" * 8), program(3, "policy", tag="cc" * 8)]
    return HostBuilder().link("eth0").link("eth1").bpf(programs=programs)


def examples() -> Iterator[Example]:
    before = tc(_host(), "eth0", 1).build()

    def case(name: str, why: str, host: HostBuilder, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), **({"baseline": before} | more))

    about = subject("bpf-program", name="spy")
    both = tc(tc(tc(_host(), "eth0", 1), "eth0", 2, priority=2), "eth1", 2)
    yield case("on two interfaces", "one stranger, one finding", both, fires=1, subject=about, severity="warning")
    held = xdp(_host(), "eth1", 2).bpf(holders=[BpfHolder(pid=7, comm="agent", kind="prog", id=2)])
    yield case("by XDP, held", "its owner is told", held, fires=1, says=("agent[7]",))
    yield case("a new build", "an upgrade", tc(_host(), "eth0", 3))
    yield case("on another interface", "the usual program of a new tap", tc(_host(), "eth1", 1))
    want = (IntendedProgram(hook="tc-ingress", ifname="eth*", name="policy"),)
    named = tc(tc(_host(), "eth0", 1), "eth0", 2, priority=2)
    yield case("beside the one of the intent", "that hook is spoken of", named.intend(bpf=want), baseline=None, fires=1)
    other = tc(_host(), "eth0", 2, direction="egress").intend(bpf=want)
    yield case("where the intent says nothing", "it does not list everything", other, baseline=None)
    spy = (IntendedProgram(hook="tc-ingress", ifname="eth*", name="spy"),)
    yield case("new and named", "the intent knows it", tc(_host(), "eth0", 2).intend(bpf=spy))
    yield case("nothing to go by", "no intent, no baseline", both, baseline=None, unjudged=True)
