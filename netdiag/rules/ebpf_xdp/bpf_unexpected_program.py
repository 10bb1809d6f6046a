"""What it checks
  A program at a network hook of an interface (XDP, tc, tcx, netkit) or of the whole namespace (sk_lookup,
  flow_dissector) whose name was at none at the time of the baseline;
  or, by [[bpf]] of the intent, another program than those named at a hook of an interface that the intent speaks about
  (at another hook of such an interface: information, for the intent need not list everything).

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
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfPin, BpfProgram
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.intent import IntendedProgram
from netdiag.rules.bpfplaces import Placed, hook_of, named, placed, reading, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, xdp
from netdiag.rules.expected import since, untold
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-unexpected-program",
    title="a program that was not there before sits in the way of packets",
    severity="warning",
    confidence="likely",
    reads=("bpf", "links"),
    consults=("intent.bpf", "baseline"),
    explains=("bpf-xdp-generic-fallback", "bpf-tc-duplicate-version", "bpf-tc-terminal-shadow", "bpf-tcx-before-tc"),
)

OF_NAMESPACE = ("sk_lookup", "flow_dissector")
"""Hooks of a network namespace as a whole."""


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from untold(view, "bpf")
    old, told = view.baseline, view.intent.bpf
    wanted = {want.name for want in told or ()}
    strange: dict[str, list[Placed]] = {}
    beside: dict[str, list[Placed]] = {}
    why = "another one than the intent names"
    if old is not None and old.read_whole("bpf"):
        known = {row.name for row in placed(old)}
        why = f"at no hook {since(old)}"
        for row in placed(view):
            if row.name not in known and not any(named(row.name, want) for want in wanted):
                strange.setdefault(row.name, []).append(row)
    elif told is not None:
        for row in placed(view):
            hooks = _spoken_of(told, row)
            if hooks and not any(named(row.name, want) for want in wanted):
                (strange if hook_of(row.at) in hooks else beside).setdefault(row.name, []).append(row)
    for name, rows in strange.items():
        yield _draft(view, name, rows, why)
    if old is not None and old.read_whole("bpf"):
        yield from _of_the_namespace(view, old, wanted)
    for name, rows in beside.items():
        if name not in strange:
            yield _draft(view, name, rows, "where the intent names other hooks alone", sure=False)


def _of_the_namespace(view: HostView, old: HostView, wanted: set[str]) -> Iterator[Draft]:
    """Programs that choose sockets for what comes in, or dissect it, for the whole namespace."""
    before, said = {name for _, _, name in _steering(old)}, set[str]()
    for row, one, name in _steering(view):
        if name in before or name in said or any(named(name, want) for want in wanted):
            continue
        said.add(name)
        holders = sorted({f"{h.comm}[{h.pid}]" for h in view.bpf.holders if (h.kind, h.id) == ("prog", one.id)})
        yield RULE.found(
            subject=subject("bpf-program", name=name),
            message=f"the program {name} sits at {row.hook} of this namespace, at no hook {since(old)}"
            + (f"; held by {', '.join(holders[:2])}" if holders else ""),
            evidence=[
                (f"{name} at {row.hook}", f"prog {one.id}", "BPF_PROG_QUERY"),
                ("meant or known", "no", f"at no hook {since(old)}"),
                ("held by", ", ".join(holders[:3]) or "nothing but its hook", "/proc/*/fdinfo"),
            ],
            confirm=[f"bpftool prog show id {one.id}", "bpftool net show"],
            fix=f"stop what owns {name} ({', '.join(holders[:1]) or 'nobody'}), or name it in the intent",
        )


def _steering(view: HostView) -> Iterator[tuple[BpfAttachment, BpfProgram, str]]:
    for row in view.bpf.attachments:
        one = view.bpf.program(row.prog_id) if row.hook in OF_NAMESPACE else None
        if one is not None and (one.function or one.name):
            yield row, one, one.function or one.name or ""


def _spoken_of(told: tuple[IntendedProgram, ...], row: Placed) -> set[str]:
    """The hooks of the interface for which the intent names programs."""
    return {want.hook for want in told if fnmatchcase(row.link.ifname, want.ifname or "")}


def _draft(view: HostView, name: str, rows: list[Placed], why: str, *, sure: bool = True) -> Draft:
    first = rows[0]
    ids = {row.at.prog_id for row in rows}
    holders = sorted({f"{h.comm}[{h.pid}]" for h in view.bpf.holders if h.kind == "prog" and h.id in ids})
    pins = sorted({pin.path for pin in view.bpf.pins if pin.kind == "prog" and pin.id in ids})
    names = sorted({row.link.ifname for row in rows})
    counted = view.bpf.program(first.at.prog_id)
    ran = counted.run_count if counted is not None else None
    spent = f"{ran} runs, {counted.run_time_ns or 0} ns" if counted is not None else ""
    evidence = [
        (f"{name} on {first.link.ifname}", where(first.at), reading(first.at, first.link.ifname)),
        ("meant or known", "no", why),
        ("held by", ", ".join([*holders[:3], *pins[:3]]) or "nothing but its hook", "/proc/*/fdinfo, bpffs"),
    ]
    runs = [("run", spent, "BPF_OBJ_GET_INFO_BY_FD")] if ran is not None else []
    places = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return RULE.found(
        subject=subject("bpf-program", name=name),
        confidence=None if sure else "possible",
        message=f"the program {name} sits at {where(first.at)} of {places}, {why}"
        + (f"; held by {', '.join(holders[:2])}" if holders else ""),
        evidence=[*evidence, *runs],
        confirm=[f"bpftool net show dev {quoted(first.link.ifname)}", f"bpftool prog show tag {first.tag}"],
        fix=f"stop what owns {name} ({', '.join([*holders[:1], *pins[:1]]) or 'nobody'}), or name it in the intent",
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
    owners = xdp(_host(), "eth1", 2).bpf(
        holders=[
            BpfHolder(pid=5, comm="mapper", kind="map", id=2),
            BpfHolder(pid=6, comm="other", kind="prog", id=1),
            BpfHolder(pid=7, comm="agent", kind="prog", id=2),
        ],
        pins=[
            BpfPin(path="/sys/fs/bpf/map", kind="map", id=2),
            BpfPin(path="/sys/fs/bpf/other", kind="prog", id=1),
            BpfPin(path="/sys/fs/bpf/spy", kind="prog", id=2),
        ],
    )
    says = ("held by agent[7]", "(agent[7], /sys/fs/bpf/spy)")
    yield case("by XDP, held and pinned", "ids of maps are others", owners, fires=1, says=says)
    yield case("a new build", "an upgrade", tc(_host(), "eth0", 3))
    yield case("on another interface", "the usual program of a new tap", tc(_host(), "eth1", 1))
    want = (IntendedProgram(hook="tc-ingress", ifname="eth*", name="policy"),)
    named = tc(tc(_host(), "eth0", 1), "eth0", 2, priority=2)
    yield case("beside the one of the intent", "that hook is spoken of", named.intend(bpf=want), baseline=None, fires=1)
    other = tc(_host(), "eth0", 2, direction="egress").intend(bpf=want)
    weak: dict[str, Any] = {"baseline": None, "fires": 1, "severity": "info", "says": ("names other hooks alone",)}
    yield case("at a hook of which the intent says nothing", "it may not list everything", other, **weak)
    two = tc(tc(_host(), "eth0", 2, direction="egress"), "eth0", 2, priority=2).intend(bpf=want)
    sure: dict[str, Any] = weak | {"severity": "warning", "says": ("another one than the intent names",)}
    yield case("at such a hook, and beside the one of the intent", "told once", two, **sure)
    spy = (IntendedProgram(hook="tc-ingress", ifname="eth*", name="spy"),)
    yield case("new and named", "the intent knows it", tc(_host(), "eth0", 2).intend(bpf=spy))
    yield case("nothing to go by", "no intent, no baseline", both, baseline=None, unjudged=True)
    elsewhere = tc(_host().link("tap0"), "tap0", 2).intend(bpf=want)
    yield case("where no glob leads", "the intent speaks of cards alone", elsewhere, baseline=None)
    cgroup = (IntendedProgram(hook="tc-ingress", ifname=None, name="policy"),)
    yield case("no interface named", "it speaks of none", tc(_host(), "eth0", 2).intend(bpf=cgroup), baseline=None)
    for cut, fires in (("policy_of_guest", 0), ("policy_of_gues", 1)):
        long = (IntendedProgram(hook="tc-ingress", ifname="eth*", name="policy_of_guests"),)
        new = HostBuilder().link("eth0").bpf(programs=[program(1, cut)]).intend(bpf=long)
        for old in (None, before):
            since_then = "since the baseline" if old else "of the intent alone"
            why = "fifteen bytes of a name are kept"
            yield case(
                f"{cut}, {since_then}", why, tc(new, "eth0", 1) if old is None else new, fires=fires, baseline=old
            )
    netkit = BpfAttachment(hook="netkit", prog_id=2, ifindex=2, attach_type="netkit_primary")
    ends = (IntendedProgram(hook="netkit-primary", ifname="eth*", name="policy"),)
    yield case(
        "netkit", "its ends are hooks", _host().bpf(attachments=[netkit]).intend(bpf=ends), baseline=None, fires=1
    )
    row: dict[str, Any] = {"direction": "ingress", "priority": 1}
    unread = BpfAttachment(hook="tc", prog_id=9, ifindex=2, name="spy.o:[tc]", tag="dd" * 8, **row)
    yield case("a program that may not be read", "tc tells its name", _host().bpf(attachments=[unread]), fires=1)
    steer = BpfAttachment(hook="sk_lookup", prog_id=2, attach_type="sk_lookup", netns=7)
    holder = BpfHolder(pid=9, comm="steerd", kind="prog", id=2)
    new = tc(_host(), "eth0", 1).bpf(attachments=[steer, steer], holders=[holder])
    held_by: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("sk_lookup of this namespace", "steerd[9]")}
    yield case("at the namespace's sk_lookup", "it gives calls to other sockets", new, **held_by)
    there = _host().bpf(attachments=[steer]).build()
    yield case("at sk_lookup as before", "it was there", _host().bpf(attachments=[steer]), baseline=there)
    meant = IntendedProgram(hook="tc-ingress", ifname="eth*", name="spy")
    yield case("at sk_lookup and named", "it is meant", _host().bpf(attachments=[steer]).intend(bpf=(meant,)))
    group = BpfAttachment(hook="cgroup", prog_id=2, attach_type="cgroup_inet_ingress", cgroup="/sys/fs/cgroup/x")
    yield case("at a cgroup", "services bring theirs", _host().bpf(attachments=[group]))
    for name, one in (
        ("without a tag", BpfAttachment(hook="tc", prog_id=9, ifindex=2, name="spy.o:[tc]", **row)),
        ("without a name", BpfAttachment(hook="tc", prog_id=9, ifindex=2, tag="dd" * 8, **row)),
        ("in another namespace", BpfAttachment(hook="tc", prog_id=2, ifindex=99, **row)),
    ):
        yield case(f"one {name}", "nothing to tell it by", _host().bpf(attachments=[one]))
    whole = HostBuilder().link("eth0").bpf(programs=[program(4, "spy_of_somebody", function="spy_of_somebody_else")])
    about = subject("bpf-program", name="spy_of_somebody_else")
    yield case("its whole name", "type information keeps it", tc(whole, "eth0", 4), fires=1, subject=about)
    yield case("then not read", "nobody knows what was there", tc(_host(), "eth0", 2), late_then=("bpf",))
