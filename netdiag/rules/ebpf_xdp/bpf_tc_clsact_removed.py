"""What it checks
  All tc programs (clsact and tcx) of an interface are gone since the baseline, though the interface is still there; or
  a guest's interface was made anew without them, and all others of its kind and, but for a number, its name have them.

Why it matters
  "tc qdisc del dev IFNAME clsact" takes every filter of both directions with it, whoever attached them; so does a
  network manager that sets up queueing anew. Policy, load balancing and accounting end at once and without a word: the
  agents that attached the programs do not look again.

Confirm
  tc qdisc show dev IFNAME
  bpftool net show dev IFNAME

Fix
  Restart the agents that own the programs, so that they attach them again. In the long run: tcx links (Linux 6.6),
  which no qdisc takes along.

Not flagged
  Programs that moved from clsact to tcx or back. Programs with successors of other names on each side: an upgrade;
  where another program stands on one side alone, and nothing is left of those of both, the clsact was made anew. One
  direction or one program of several: see bpf-expected-missing-on-iface. Interfaces that are gone, or of guests that
  were made anew: within the last seconds (an address of theirs tells), or where not all others, at least two, have the
  programs. Without a baseline the rule is not evaluated.

References
  net/sched/sch_ingress.c clsact_destroy(); tc-bpf(8)
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import family_of, placed
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.expected import just_made, same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-tc-clsact-removed",
    title="all tc programs of an interface are gone",
    severity="warning",
    reads=("bpf", "links", "addresses", "baseline"),
    explains=(
        "bpf-expected-missing-on-iface",
        "bpf-prog-pinned-unattached",
        "bpf-version-skew-across-ifaces",
        "bpf-tc-same-handle-clobber",
        "bpf-unexpected-program",
    ),
)


SIBLINGS = 2
"""So many others of a kind show that all of them are treated alike."""


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None:
        return
    now, used = _standing(view), {row.ifindex for row in view.bpf.attachments if row.hook in ("tc", "tcx")}
    for ifname, sides in _standing(old).items():
        link, here = same_link(old, view, ifname), now.get(ifname, {})
        like = [] if link is not None else _siblings(old, view, ifname, now)
        link = view.stack.by_name[ifname] if like else link
        busy = link is not None and link.ifindex in used
        if link is None or (busy and not _swept(sides, here)):
            continue
        words = f"; it was made anew, and {like[0]} and {len(like) - 1} more of its kind have them" if like else ""
        programs = [text for side in sides.values() for text in side.values()]
        yield RULE.found(
            subject=subject("link", ifname=ifname),
            message=f"all tc programs of {ifname} are gone {since(old)}: {', '.join(programs[:4])}{words}",
            confidence="likely" if like else None,
            evidence=[
                ("tc programs then", ", ".join(programs[:8]), f"RTM_GETTFILTER {ifname}, {since(old)}"),
                (
                    "tc programs now",
                    ", ".join(text for side in here.values() for text in side.values()) or 0,
                    f"RTM_GETTFILTER {ifname}, BPF_PROG_QUERY",
                ),
            ],
            confirm=[f"tc qdisc show dev {quoted(ifname)}", f"bpftool net show dev {quoted(ifname)}"],
            fix=f"restart the agents that attach {', '.join(sorted({name.split()[0] for name in programs})[:4])}",
        )


def _siblings(old: HostView, view: HostView, ifname: str, now: Mapping[str, dict[str, dict[str, str]]]) -> list[str]:
    """Interfaces of the name and kind of one that was made anew, all of which have what it had, where that is two or
    more of them and it has been there for a while: one agent treats all of them alike, and missed it."""
    before, link = old.stack.by_name.get(ifname), view.stack.by_name.get(ifname)
    if before is None or link is None or before.kind != link.kind or not link.lower_up:
        return []
    if just_made(view, link) or not any(row.ifindex == link.ifindex for row in view.addresses):
        return []
    alike = [
        other.ifname
        for other in view.links
        if other.kind == link.kind and family_of(other.ifname) == family_of(ifname) and other.lower_up
    ]
    had = _names(_standing(old)[ifname])
    others = [name for name in alike if name != ifname]
    return others if len(others) >= SIBLINGS and all(had <= _names(now.get(name, {})) for name in others) else []


def _names(sides: Mapping[str, dict[str, str]]) -> set[tuple[str, str]]:
    return {(direction, name) for direction, side in sides.items() for name in side}


def _standing(view: HostView) -> dict[str, dict[str, dict[str, str]]]:
    """By interface and direction the programs of tc and tcx: name, and words for it."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in placed(view):
        if row.at.hook in ("tc", "tcx"):
            side = found.setdefault(row.link.ifname, {}).setdefault(row.at.direction or "", {})
            side[row.name] = f"{row.name} ({row.at.hook} {row.at.direction})"
    return found


def _swept(then: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> bool:
    """Whether nothing is left of what stood on both sides, and one side is bare: who came since made the clsact anew.
    An upgrade has a successor for each side."""
    names = {name for side in then.values() for name in side} & {name for side in now.values() for name in side}
    return bool(now) and not names and len(then) > 1 and any(not now.get(direction) for direction in then)


def _host(*programs: int, **link: Any) -> HostBuilder:
    host = HostBuilder().link("eth0", **link).bpf(programs=[program(1, "policy"), program(2, "count", tag="bb" * 8)])
    for number in programs:
        tc(host, "eth0", number, priority=number)
    return host


def examples() -> Iterator[Example]:
    before = _host(1, 2).build()

    def case(name: str, why: str, host: HostBuilder, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), **({"baseline": before} | more))

    about = subject("link", ifname="eth0")
    yield case("gone", "nobody attached them again", _host(), fires=1, subject=about, severity="warning")
    yield case("one of two is left", "not all at once", _host(2))
    yield case("moved to tcx", "the same work by another hook", tcx(_host(), "eth0", 1))
    guest = tc(HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1)]), "tap0", 1).build()
    anew = HostBuilder().link("eth0").link("tap0", kind="tun")
    wg: dict[str, Any] = {"kind": "tun", "info": {"type": "tun"}}
    tunnel = tc(HostBuilder().link("wg0", **wg).bpf(programs=[program(1)]), "wg0", 1).build()
    restarted = HostBuilder().link("eth0").link("wg0", **wg)
    yield case("of a tunnel whose daemon restarted", "the same work, without them", restarted, baseline=tunnel, fires=1)
    yield case("a guest's, made anew", "another guest's", anew, baseline=guest)
    yield from _made_anew(case)
    yield case("the interface is gone", "so are its programs", HostBuilder().link("eth1"))
    yield case("none then", "nothing to lose", _host(), baseline=_host().build())
    both = tc(_host(1), "eth0", 2, direction="egress").build()
    other = program(3, "monitor", tag="cc" * 8)
    for name, why, host, fires in (
        ("made anew by another", "its program is on one side alone", tc(_host().bpf(programs=[other]), "eth0", 3), 1),
        ("replaced on both sides", "an upgrade", tc(tc(_host().bpf(programs=[other]), "eth0", 3), "eth0", 3,
                                                   direction="egress"), 0),
        ("made anew, and one of them attached again", "not all at once", _host(1), 0),
    ):  # fmt: skip
        yield case(name, why, host, baseline=both, fires=fires)
    single = tc(_host().bpf(programs=[other]), "eth0", 3)
    yield case("one side, replaced", "an upgrade", single, baseline=_host(1).build())
    unread = HostBuilder().link("eth0").bpf(attachments=[BpfAttachment(hook="tc", prog_id=9, ifindex=2)])
    yield case("a program of which nothing was read", "it may be one of them", unread, baseline=both)
    kept = xdp(_host(), "eth0", 1)
    yield case("XDP is left", "another hook", kept, fires=1)


def _made_anew(case: Callable[..., Example]) -> Iterator[Example]:
    """One of several guests' interfaces that is another one than at the time of the baseline."""

    def host(
        *with_it: str, names: tuple[str, ...] = ("tap0", "tap1", "tap2"), age: float | None = 60.0, **first: Any
    ) -> HostBuilder:
        made = HostBuilder().link("eth0").bpf(programs=[program(1, "policy"), program(2, "other", tag="bb" * 8)])
        for number, name in enumerate(names):
            more: dict[str, Any] = {"ifindex": 50} | first if not number else {}
            made.link(name, **({"kind": "veth"} | more))
        for name in with_it:
            tc(made, name, 1)
        return made if age is None else made.address("tap0", "fe80::1/64", created=100_000.0 - age)

    three = ("tap0", "tap1", "tap2")
    before = host(*three, ifindex=3).build()
    says = ("it was made anew, and tap1 and 1 more of its kind have them",)
    told: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely", "says": says}
    yield case(
        "a guest's made anew, its siblings have them", "one agent for all", host(*three[1:]), baseline=before, **told
    )
    for name, why, now in (
        ("its one sibling has them", "one is no rule", host("tap1", names=("tap0", "tap1"))),
        ("a sibling has another beside", "it is treated alike", tc(host(*three[0:]), "tap2", 2)),
        ("it has them", "the agent came by", host(*three)),
        ("it is down", "it is not in use", host(*three[1:], up=False)),
        ("of another kind", "it is something else", host(*three[1:], kind="tun")),
        ("made a moment ago", "the agent is on its way", host(*three[1:], age=9.0)),
        ("when is not told", "the agent may be on its way", host(*three[1:], age=None)),
        ("the others are others'", "names that are not alike", host("up1", "ge2", names=("tap0", "up1", "ge2"))),
    ):
        yield case(f"a guest's made anew, {name}", why, now, baseline=before)
