"""What it checks
  A tc filter that was there at the time of the baseline has been replaced by another program at the very same place:
  the same interface, direction, chain, priority and handle. The old program is nowhere on that interface any more.

Why it matters
  Two tools both think that handle 1 of priority 1 is theirs: "tc filter replace" throws the other one's program out
  without a word. Its accounting, policy or load balancing is gone, and the loser puts it back at its next start.

Confirm
  tc filter show dev IFNAME ingress (or egress)
  bpftool net show dev IFNAME

Fix
  Give each tool a priority (pref) of its own, or attach by tcx, where several programs share a hook. Then start the
  tool whose program is gone.

Not flagged
  Another build of the same program (an upgrade), by the program's name or by the name that its owner gave the filter.
  Interfaces that were made anew. A program that only moved to another place. Without a baseline: not evaluated.

References
  net/sched/cls_bpf.c cls_bpf_change(); tc-bpf(8)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import Placed, placed, reading, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-tc-same-handle-clobber",
    title="a tool has replaced another tool's tc program",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf", "baseline"),
    explains=("bpf-unexpected-program", "bpf-expected-missing-on-iface"),
)
Place = tuple[str, str | None, int | None, int | None, int | None]


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None:
        return
    now: dict[Place, Placed] = {}
    names: dict[str, set[str]] = {}
    for row in placed(view):
        names.setdefault(row.link.ifname, set()).add(row.name)
        if row.at.hook == "tc":
            now[_place(row)] = row
    for before in placed(old):
        after = now.get(_place(before)) if before.at.hook == "tc" else None
        if after is None or before.name in names.get(before.link.ifname, ()):
            continue
        if same_link(old, view, before.link.ifname) is None or _one_owner(before, after):
            continue
        yield _draft(view, before, after, since(old))


def _place(row: Placed) -> Place:
    return row.link.ifname, row.at.direction, row.at.chain, row.at.priority, row.at.handle


def _one_owner(before: Placed, after: Placed) -> bool:
    """Whether who attached them called both the same, its object file for instance: a new release with new names."""
    given = [(row.at.name or "").partition(":")[0] for row in (before, after)]
    return given[0] == given[1] and given[0].endswith(".o")


def _draft(view: HostView, before: Placed, after: Placed, ago: str) -> Draft:
    ifname, at = after.link.ifname, where(after.at)
    return RULE.found(
        subject=subject("bpf-attachment", ifname=ifname, hook=f"tc-{after.at.direction}", name=before.name),
        message=f"{before.name} at {at} handle {after.at.handle or 0:#x} of {ifname} was replaced by {after.name} {ago}"
        " and runs nowhere on that interface any more",
        evidence=[
            (f"{at} of {ifname} then", before.name, "the baseline"),
            (f"{at} of {ifname} now", after.name, reading(after.at, ifname)),
        ],
        confirm=[f"tc filter show dev {quoted(ifname)} {after.at.direction}"],
        fix=f"start what owns {before.name}, with a priority of its own",
        breaks=[subject("bpf-program", name=after.name), subject("link", ifname=ifname)],
    )


def _host() -> HostBuilder:
    programs = [program(1, "policy"), program(2, "meter", tag="bb" * 8), program(3, "policy", tag="cc" * 8)]
    return HostBuilder().link("eth0").link("eth1").bpf(programs=programs)


def examples() -> Iterator[Example]:
    before = tc(_host(), "eth0", 1).build()

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, **({"baseline": before} | more))

    yield case("replaced", "the plain fault", tc(_host(), "eth0", 2), 1, severity="warning", says=("by meter",))
    yield case("a new build", "an upgrade", tc(_host(), "eth0", 3))
    yield case("unchanged", "nothing happened", tc(_host(), "eth0", 1))
    yield case("another priority", "both are there", tc(tc(_host(), "eth0", 1), "eth0", 2, priority=2))
    yield case("moved", "it runs at another place", tc(tc(_host(), "eth0", 2), "eth0", 1, priority=2))
    yield case("other direction", "another hook", tc(_host(), "eth0", 2, direction="egress"))
    yield case("other handle", "not the same place", tc(_host(), "eth0", 2, handle=2))
    yield case("other chain", "nor this", tc(_host(), "eth0", 2, chain=5))
    yield case("other interface", "nor this", tc(_host(), "eth1", 2))
    named = tc(_host(), "eth0", 1, name="agent.o:[tc]").build()
    same = tc(_host(), "eth0", 2, name="agent.o:[tc/v2]")
    yield case("renamed by its owner", "the same object file", same, baseline=named)
    other = tc(_host(), "eth0", 2, name="other.o:[tc]")
    yield case("another object file", "another owner", other, 1, baseline=named)
    yield case("no baseline", "nothing to compare with", tc(_host(), "eth0", 2), baseline=None, unjudged=True)
    words = [tc(_host(), "eth0", number, name="ingress") for number in (1, 2)]
    yield case("a word of both", "no object file of one owner", words[1], 1, baseline=words[0].build())
    programs = _host().build().bpf.programs
    guest = tc(HostBuilder().link("tap0", kind="tun").bpf(programs=programs), "tap0", 1).build()
    anew = HostBuilder().link("eth0").link("tap0", kind="tun").bpf(programs=programs)
    yield case("a guest's, made anew", "another guest's", tc(anew, "tap0", 2), baseline=guest)
