"""What it checks
  Two different builds of one program stand on one side of one interface: the same name, another tag (the hash of the
  instructions), for the same protocol. By tc filters of different priority, by tcx, or one by each.

Why it matters
  The loader attached its new program and did not take away the old one: another priority, another handle, or tcx
  where the old version used tc. Both run, or the first one ends the way and the new one never sees a packet. Either
  way the old policy still decides: packets that the new rules allow are dropped, and what was closed stays open.

Confirm
  tc filter show dev IFNAME ingress
  bpftool prog show id ID

Fix
  Detach the stale one: tc filter del dev IFNAME ingress pref PRIORITY handle HANDLE bpf (several may share the
  priority), or bpftool link detach id ID for tcx. From that moment only the other program decides; look first which of
  the two the loader means to keep.

Not flagged
  One program at two priorities (the same tag). Programs for different protocols or in different chains. The two sides
  of an interface. Programs of different names. Names that the kernel has cut at 15 bytes and that may differ further
  on, and programs that two processes of different names keep open (two agents may call theirs alike): told as info.
  While a loader changes programs one after the other, both stand there for a moment: look again.

References
  net/sched/cls_bpf.c cls_bpf_classify(), net/core/dev.c sch_handle_ingress(), kernel/bpf/core.c bpf_prog_calc_tag(),
  https://github.com/cilium/cilium/issues/44194
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfHolder
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import Placed, detached, placed, reading, where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-tc-duplicate-version",
    title="an old and a new build of one eBPF program run on the same interface",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    explains=("bpf-version-skew-across-ifaces", "bpf-tcx-before-tc"),
)
ALL = 3
"""ETH_P_ALL."""


def meet(one: Placed, other: Placed) -> bool:
    """Whether there are packets that can meet both."""
    a, b = one.at, other.at
    protocols = {a.protocol or ALL, b.protocol or ALL}
    return (a.chain or 0) == (b.chain or 0) and (len(protocols) == 1 or ALL in protocols)


def sides(view: HostView) -> Iterator[list[Placed]]:
    """Programs of one name on one side of one interface."""
    found: dict[tuple[int, str | None, str], list[Placed]] = {}
    for one in placed(view):
        if one.at.hook != "xdp":
            found.setdefault((one.link.ifindex, one.at.direction, one.name), []).append(one)
    yield from found.values()


def pair(group: list[Placed]) -> tuple[Placed, Placed] | None:
    """The oldest and the newest of those that differ and meet the same packets."""
    by_age = sorted(group, key=lambda one: (one.loaded_at or 0.0, one.at.prog_id))
    for old in by_age:
        for new in reversed(by_age):
            if old.tag != new.tag and meet(old, new):
                return old, new
    return None


def _owners(view: HostView, one: Placed) -> set[str]:
    """Names of the processes that keep the program, or its link, open."""
    kept = {("prog", one.at.prog_id), ("link", one.at.link_id)}
    return {holder.comm for holder in view.bpf.holders if (holder.kind, holder.id) in kept}


def of_one(view: HostView, old: Placed, new: Placed) -> bool:
    """Whether the two may be builds of one program: not where each is kept by a living process of another name."""
    first, second = _owners(view, old), _owners(view, new)
    return not first or not second or bool(first & second)


def check(view: HostView) -> Iterator[Draft]:
    for group in sides(view):
        found = pair(group)
        if found is None:
            continue
        old, new = found
        ifname, side = old.link.ifname, old.at.direction
        yield RULE.found(
            subject=subject("bpf-attachment", name=old.name, ifname=ifname, direction=side),
            message=f"{ifname} {side} has two builds of {old.name}: program {old.at.prog_id} (tag {old.tag}, "
            f"{where(old.at)}) and {new.at.prog_id} (tag {new.tag}, {where(new.at)})",
            evidence=[
                (f"{where(one.at)} program {one.at.prog_id}", f"tag {one.tag}", reading(one.at, ifname))
                for one in (old, new)
            ],
            confirm=[
                *(["bpftool link show"] if any(one.at.link_id is not None for one in found) else []),
                f"tc filter show dev {quoted(ifname)} {side}",
                f"bpftool prog show id {old.at.prog_id}",
                f"bpftool prog show id {new.at.prog_id}",
            ],
            fix=f"{detached(old.at, ifname)}  # the one that was loaded first",
            confidence="likely" if old.whole and of_one(view, old, new) else "possible",
            breaks=[subject("link", ifname=ifname), subject("bpf-program", name=old.name)],
            touches=[subject("link", ifname=ifname), subject("bpf-program", name=old.name)],
        )


def _two(second_tag: str = "bb" * 8, name: str = "policy", second: str | None = None) -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun")
    return host.bpf(programs=[program(1, name), program(2, second or name, second_tag)])


def _on(host: HostBuilder, **fields: object) -> HostBuilder:
    """Both on ingress, the second with these fields."""
    return tc(tc(host, "tap0", 1), "tap0", 2, **({"priority": 2} | fields))  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", name="policy", ifname="tap0", direction="ingress")
    yield Example(
        name="two builds at priorities 1 and 2",
        why="the plain fault: the loader left the old filter behind",
        tables=_on(_two()).build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="likely",
        says=("pref 1 handle 0x1 bpf  # the one that was loaded first",),
    )
    yield Example(
        name="two builds with one priority and two handles",
        why="filters of one priority all run, too",
        tables=_on(_two(), priority=1, handle=2).build(),
        fires=1,
        subject=about,
        says=("tc filter del dev tap0 ingress pref 1 handle 0x1 bpf",),
    )
    yield Example(
        name="old build by tc and new one by tcx",
        why="tcx runs first, then tc: an upgrade that changed the way of attaching",
        tables=tcx(tc(_two(), "tap0", 1), "tap0", 2, link_id=7).build(),
        fires=1,
        subject=about,
        says=("tc filter del dev tap0 ingress pref 1",),
    )
    yield Example(
        name="two builds by tcx, the older by link",
        why="a link is detached by its id",
        tables=tcx(tcx(_two(), "tap0", 1, link_id=7), "tap0", 2).build(),
        fires=1,
        says=("bpftool link detach id 7",),
    )
    yield Example(
        name="on egress",
        why="both sides are looked at",
        tables=tc(tc(_two(), "tap0", 1, direction="egress"), "tap0", 2, priority=2, direction="egress").build(),
        fires=1,
        subject=about | {"direction": "egress"},
    )
    yield Example(
        name="one for IPv6 and one for everything",
        why="IPv6 packets meet both",
        tables=_on(_two(), protocol=0x86DD).build(),
        fires=1,
    )
    yield Example(
        name="programs that may not be read",
        why="tc tells tag and name to everybody",
        tables=tc(
            tc(HostBuilder().link("tap0", kind="tun"), "tap0", 1, name="p.o:[tc]", tag="aa" * 8),
            "tap0",
            2,
            priority=2,
            name="p.o:[tc]",
            tag="bb" * 8,
        ).build(),
        fires=1,
    )
    yield Example(
        name="a name of fifteen bytes without type information",
        why="the kernel has cut it: these may be two programs",
        tables=_on(_two(name="handle_ingress_")).build(),
        fires=1,
        severity="info",
    )
    name = "handle_ingress_of_guests"
    long = HostBuilder().link("tap0", kind="tun")
    long.bpf(programs=[program(n, name[:15], tag * 8, function=name) for n, tag in ((1, "aa"), (2, "bb"))])
    yield Example(
        name="a long name with type information",
        why="BTF has it whole",
        tables=_on(long).build(),
        fires=1,
        severity="warning",
        confidence="likely",
    )
    for name, first, second, severity in (
        ("two agents, each with its own", "cilium-agent", "telemetry", "info"),
        ("two processes of one agent", "agent", "agent", "warning"),
        ("one agent that runs", "agent", None, "warning"),
    ):
        kept = tcx(tcx(_two(), "tap0", 1, link_id=7), "tap0", 2, link_id=8)
        kept.bpf(holders=[BpfHolder(pid=20, comm=first, kind="link", id=7)])
        if second:
            kept.bpf(holders=[BpfHolder(pid=21, comm=second, kind="prog", id=2)])
        tables = kept.build()
        yield Example(name=name, why="who runs tells", tables=tables, fires=1, severity=severity)  # type: ignore[arg-type]
    yield from _silent_examples()


def _silent_examples() -> Iterator[Example]:
    yield Example(name="one program at two priorities", why="on purpose", tables=_on(_two("aa" * 8)).build())
    yield Example(name="two programs", why="a chain of different programs", tables=_on(_two(second="nat")).build())
    yield Example(
        name="one for IPv4 and one for IPv6",
        why="no packet meets both: one function built twice, for each protocol",
        tables=tc(tc(_two(), "tap0", 1, protocol=0x0800), "tap0", 2, priority=2, protocol=0x86DD).build(),
    )
    yield Example(
        name="another chain",
        why="it is only jumped to",
        tables=_on(_two(), chain=1).build(),
    )
    yield Example(
        name="ingress and egress",
        why="one name for the programs of both sides is usual",
        tables=_on(_two(), direction="egress").build(),
    )
    yield Example(
        name="two interfaces",
        why="that is another rule's matter",
        tables=tc(tc(_two().link("tap1", kind="tun"), "tap0", 1), "tap1", 2).build(),
    )
    yield Example(
        name="XDP and tc",
        why="one name at both hooks is usual, and the two are different programs",
        tables=tc(xdp(_two(), "tap0", 1), "tap0", 2).build(),
    )
    yield Example(
        name="programs without names",
        why="nothing tells that they are one",
        tables=_on(HostBuilder().link("tap0").bpf(programs=[program(1, ""), program(2, "", "bb" * 8)])).build(),
    )
    yield Example(
        name="an interface that has gone",
        why="its filters went with it while everything was read",
        tables=HostBuilder()
        .bpf(**{name: getattr(_on(_two()).build().bpf, name) for name in ("programs", "attachments")})
        .build(),
    )
    yield from _protocols()


def _protocols() -> Iterator[Example]:
    """tcx asks for no protocol: it meets them all."""
    six = 0x86DD
    chained = tc(tc(_two(), "tap0", 1, chain=4), "tap0", 2, chain=4, handle=2)
    words = ("tc filter del dev tap0 ingress chain 4 pref 1 handle 0x1 bpf",)
    yield Example(name="both in a chain", why="who jumps there meets both", tables=chained.build(), fires=1, says=words)
    block = tc(tc(_two(), "tap0", 1, block=7), "tap0", 2, block=7, handle=2)
    words = ("tc filter del block 7 pref 1 handle 0x1 bpf",)
    yield Example(name="in a shared block", why="of several interfaces", tables=block.build(), fires=1, says=words)
    by_tc, by_tcx = ("tc filter del dev tap0 ingress pref 1",), ("bpftool net detach tcx_ingress dev tap0",)
    later = tcx(tc(_two(), "tap0", 1, protocol=six), "tap0", 2).build()
    yield Example(name="IPv6 by tc, then all by tcx", why="IPv6 packets meet both", tables=later, fires=1, says=by_tc)
    first = tc(tcx(_two(), "tap0", 1), "tap0", 2, protocol=six).build()
    yield Example(name="all by tcx, then IPv6 by tc", why="IPv6 packets meet both", tables=first, fires=1, says=by_tcx)
    both = tc(tc(_two(), "tap0", 1, protocol=six), "tap0", 2, priority=2, protocol=six).build()
    yield Example(name="both for IPv6", why="IPv6 packets meet both", tables=both, fires=1)
