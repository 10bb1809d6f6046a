"""What it checks
  Interfaces that are alike (the same kind, names that differ in their number only) have a program of one name at one
  hook, but not of one build: on some the tag (the hash of the instructions) is that of an older program.

Why it matters
  A loader that was stopped half-way, or that only sees to new interfaces, leaves the old program on the others. Their
  traffic is treated by yesterday's policy: what works behind one tap fails behind the next, and the configuration
  looks the same for both.

Confirm
  bpftool net show
  bpftool prog show id ID

Fix
  Let the loader attach its program again on the interfaces with the old build; that replaces one program by another
  in one step and loses no packet. Maps that the loader makes anew begin empty.

Not flagged
  One build everywhere, however often it was loaded. Interfaces of different kinds or names. A newer build on fewer
  interfaces than the older one: that is how a new version is tried; told as info. A build of its own on each of three
  or more interfaces: the loader writes constants of the interface into the program. Programs of Cilium (cil_...),
  whose loader is known to do so: two uplinks have two builds. Names that the kernel may have cut at 15 bytes: told
  as info.

References
  kernel/bpf/core.c bpf_prog_calc_tag(), https://github.com/cilium/cilium/issues/18344
"""

from collections import Counter
from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import Placed, family_of, placed, reading, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, xdp
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-version-skew-across-ifaces",
    title="alike interfaces run different builds of one eBPF program",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
)
OWN_BUILDS = 3
"""From so many interfaces with a build of its own each, these are taken for constants of the interface."""
BUILT_FOR_ONE = ("cil_",)
"""Names of loaders that write the interface's index and addresses into each program: every one has a build of its own,
and whichever was loaded last is no newer version."""
SHOWN = 4
"""Interfaces that are named in the message."""

Key = tuple[str, str | None, str, str | None, str]


def groups(view: HostView) -> Iterator[dict[str, Placed]]:
    """By interface, the programs of one name at one hook of alike interfaces.

    An interface that has two builds itself is left out: that is another fault.
    """
    found: dict[Key, list[Placed]] = {}
    for one in placed(view):
        if one.name.startswith(BUILT_FOR_ONE):
            continue
        hook = one.at.hook.removesuffix("x")  # tcx does the work of tc
        key = (family_of(one.link.ifname), one.link.kind, hook, one.at.direction, one.name)
        found.setdefault(key, []).append(one)
    for members in found.values():
        tags: dict[str, set[str]] = {}
        for one in members:
            tags.setdefault(one.link.ifname, set()).add(one.tag)
        yield {one.link.ifname: one for one in members if len(tags[one.link.ifname]) == 1}


def split(group: dict[str, Placed]) -> tuple[list[Placed], list[Placed], bool] | None:
    """Those with an older build, those with the newest, and whether the new one is only being tried."""
    builds = Counter(one.tag for one in group.values())
    if len(builds) < 2 or len(builds) == len(group) >= OWN_BUILDS:
        return None
    newest = max(group.values(), key=lambda one: (one.loaded_at or 0.0, builds[one.tag], one.tag)).tag
    old = [one for one in group.values() if one.tag != newest]
    return old, [one for one in group.values() if one.tag == newest], builds[newest] < len(old)


def check(view: HostView) -> Iterator[Draft]:
    for group in groups(view):
        found = split(group)
        if found is None:
            continue
        old, new, trial = found
        first, other = old[0], new[0]
        named = ", ".join(one.link.ifname for one in old[:SHOWN]) + (" ..." if len(old) > SHOWN else "")
        yield RULE.found(
            subject=subject("bpf-program", name=first.name, ifname=first.link.ifname, direction=first.at.direction),
            message=f"{len(old)} of {len(group)} alike interfaces ({named}) run an older build of {first.name}: "
            f"tag {first.tag} on {first.link.ifname}, {other.tag} on {other.link.ifname}",
            evidence=[
                (
                    f"{one.link.ifname} {where(one.at)} program {one.at.prog_id}",
                    f"tag {one.tag}",
                    reading(one.at, one.link.ifname),
                )
                for one in (first, other)
            ],
            confirm=[
                f"bpftool net show dev {quoted(first.link.ifname)}",
                f"bpftool prog show id {first.at.prog_id}",
                f"bpftool prog show id {other.at.prog_id}",
            ],
            fix=f"attach program {other.at.prog_id} on {named} too, as its loader does",
            confidence="likely" if first.whole and not trial else "possible",
            touches=[
                subject("bpf-program", name=first.name),
                *(subject("link", ifname=one.link.ifname) for one in old),
            ],
        )


OLD, NEW = 1, 2


def _taps(*builds: int, name: str = "policy", kind: str = "tun") -> HostBuilder:
    """tap0, tap1 ... with these programs on ingress; program 2 is the newer one."""
    host = HostBuilder()
    host.bpf(programs=[program(number, name, f"{number:016x}") for number in sorted(set(builds))])
    for number, build in enumerate(builds):
        tc(host.link(f"tap{number}", kind=kind), f"tap{number}", build)
    return host


def examples() -> Iterator[Example]:
    about = subject("bpf-program", name="policy", ifname="tap0", direction="ingress")
    yield Example(
        name="two taps, two builds",
        why="the plain fault; the older one is named",
        tables=_taps(OLD, NEW).build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="likely",
        says=("1 of 2 alike interfaces (tap0)", f"tag {1:016x} on tap0, {2:016x} on tap1"),
    )
    yield Example(
        name="two taps, the second one old",
        why="the age decides, not the order",
        tables=_taps(NEW, OLD).build(),
        fires=1,
        subject=about | {"ifname": "tap1"},
    )
    yield Example(
        name="one of three left behind",
        why="the loader missed one",
        tables=_taps(NEW, OLD, NEW).build(),
        fires=1,
        subject=about | {"ifname": "tap1"},
        severity="warning",
    )
    yield Example(
        name="two old and two new",
        why="half-way is no trial",
        tables=_taps(OLD, NEW, OLD, NEW).build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="one of three is newer",
        why="this is how a new version is tried",
        tables=_taps(OLD, NEW, OLD).build(),
        fires=1,
        severity="info",
    )
    yield Example(
        name="by XDP, one native and one generic",
        why="the mode makes no other program",
        tables=xdp(
            xdp(
                HostBuilder()
                .link("v0", kind="veth")
                .link("v1", kind="veth")
                .bpf(programs=[program(1, type="xdp"), program(2, tag="bb" * 8, type="xdp")]),
                "v0",
                1,
            ),
            "v1",
            2,
            "generic",
        ).build(),
        fires=1,
        subject=subject("bpf-program", name="policy", ifname="v0"),
    )
    yield Example(
        name="a name of fifteen bytes",
        why="it may have been cut",
        tables=_taps(OLD, NEW, name="handle_ingress_").build(),
        fires=1,
        severity="info",
    )
    yield Example(
        name="three taps of three builds, and a fourth like the first",
        why="a build that two share is no constant of an interface",
        tables=_taps(1, 2, 3, 1).build(),
        fires=1,
    )
    yield from _silent_examples()


def _silent_examples() -> Iterator[Example]:
    same = _taps(1, 1, 1)
    yield Example(name="one program everywhere", why="no skew", tables=same.build())
    loaded = HostBuilder().bpf(programs=[program(1), program(2)])
    tc(loaded.link("tap0", kind="tun"), "tap0", 1)
    yield Example(
        name="one build loaded twice",
        why="ids differ, instructions do not",
        tables=tc(loaded.link("tap1", kind="tun"), "tap1", 2).build(),
    )
    yield Example(
        name="three taps of three builds",
        why="each has constants of its own written into it",
        tables=_taps(1, 2, 3).build(),
    )
    yield Example(
        name="two uplinks of a Cilium node",
        why="its loader writes the index and the addresses of the device into each",
        tables=_taps(OLD, NEW, name="cil_to_netdev").build(),
    )
    yield Example(
        name="three Cilium uplinks, two of them alike",
        why="the same, and two devices may need the same constants",
        tables=_taps(OLD, NEW, NEW, name="cil_to_host").build(),
    )
    other = HostBuilder().bpf(programs=[program(1), program(2, tag="bb" * 8)])
    tc(other.link("tap0", kind="tun"), "tap0", 1)
    yield Example(
        name="an interface of another name",
        why="an uplink's policy is not a tap's",
        tables=tc(other.link("eth0"), "eth0", 2).build(),
    )
    kinds = HostBuilder().bpf(programs=[program(1), program(2, tag="bb" * 8)])
    tc(kinds.link("p0", kind="tun"), "p0", 1)
    yield Example(
        name="an interface of another kind",
        why="a program may be built for devices without a MAC header",
        tables=tc(kinds.link("p1", kind="veth"), "p1", 2).build(),
    )
    names = HostBuilder().bpf(programs=[program(1), program(2, "nat", "bb" * 8)])
    tc(names.link("tap0", kind="tun"), "tap0", 1)
    yield Example(
        name="another program",
        why="each tap may have its own",
        tables=tc(names.link("tap1", kind="tun"), "tap1", 2).build(),
    )
    sides = HostBuilder().bpf(programs=[program(1), program(2, tag="bb" * 8)])
    tc(sides.link("tap0", kind="tun"), "tap0", 1)
    yield Example(
        name="ingress here and egress there",
        why="the programs of the two sides differ",
        tables=tc(sides.link("tap1", kind="tun"), "tap1", 2, direction="egress").build(),
    )
    both = _taps(OLD, NEW)
    yield Example(
        name="a tap that has both builds",
        why="that is bpf-tc-duplicate-version",
        tables=tc(both, "tap0", 2, priority=2).build(),
    )
    third = tc(tc(_taps(NEW, NEW), "tap0", NEW).link("tap2", kind="tun"), "tap2", NEW)
    third.bpf(programs=[program(OLD, "policy", f"{OLD:016x}")])
    yield Example(
        name="a third tap that has both builds, the old one last",
        why="that is bpf-tc-duplicate-version",
        tables=tc(third, "tap2", OLD, priority=2).build(),
    )
