"""What it checks
  Two different programs stand at one hook of an interface, tc with direct action or tcx, and the first one ends the way
  of every packet that would come to the second: from its instructions, it returns nothing but final verdicts (ok, shot,
  stolen, redirect, trap; for tcx anything but "next"). The second program never runs.

Why it matters
  Loaders attach and report success; the policy, NAT or accounting of the second program is simply not done. "ok" looks
  harmless and is final: to let the next one see the packet a program must return TC_ACT_UNSPEC (-1) or TCX_NEXT.

Confirm
  tc filter show dev IFNAME ingress
  bpftool prog dump xlated id FIRST
  bpftool prog show id SECOND (run_cnt stands still while that of the first one rises, with statistics on)

Fix
  Let the first program return -1 for what it does not want to decide, or give the second one a lower preference, so
  that it runs first. Either changes what happens to every packet of this hook from the moment of the attachment.

Not flagged
  A program that ends at the last place. One that returns "next" for some packets, or of which the verdict is computed.
  A filter for one protocol before one for another or for all. Two builds of one program (bpf-tc-duplicate-version), or
  copies of it. A filter of another chain. Programs of tc behind those of tcx (bpf-tcx-before-tc).

References
  net/sched/cls_bpf.c cls_bpf_exec_opcode(); include/net/tcx.h tcx_run(); include/uapi/linux/pkt_cls.h
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import reading, where
from netdiag.rules.bpfverdicts import ends, places
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-tc-terminal-shadow",
    title="an eBPF program ends every packet's way before another one that never runs",
    severity="warning",
    reads=("links", "bpf"),
)


def check(view: HostView) -> Iterator[Draft]:
    programs = {one.id: one for one in view.bpf.programs}
    for place in places(view):
        for rows in (place.tcx, place.tc):
            for number, row in enumerate(rows[:-1]):
                found = _shadowed(row, rows[number + 1 :], programs)
                if found is None:
                    continue
                verdict, at = found
                if at is not None:
                    first, second = programs[row.prog_id], programs.get(at.prog_id)
                    name = title(second) if second else at.name or f"program {at.prog_id}"
                    ifname = place.link.ifname
                    yield RULE.found(
                        subject=subject(
                            "bpf-attachment", ifname=ifname, hook=f"{row.hook}-{place.direction}", name=name
                        ),
                        message=f"{name} ({where(at)} of {ifname}) never runs: {title(first)} before it ({where(row)}) "
                        f"always returns {verdict}",
                        evidence=[
                            (f"{title(first)} (program {first.id}) returns", verdict, "BPF_OBJ_GET_INFO_BY_FD xlated"),
                            (f"{name} comes after it", where(at), reading(at, ifname)),
                        ],
                        confirm=[
                            f"tc filter show dev {quoted(ifname)} {place.direction}"
                            if row.hook == "tc"
                            else "bpftool link show",
                            f"bpftool prog dump xlated id {first.id}",
                        ],
                        fix=f"let {quoted(title(first))} return -1 (TC_ACT_UNSPEC, TCX_NEXT) for what it does not "
                        f"decide, or attach {quoted(name)} before it",
                        touches=[subject("bpf-program", name=title(first))],
                    )
                break


def _shadowed(
    row: BpfAttachment, behind: list[BpfAttachment], programs: dict[int, BpfProgram]
) -> tuple[str, BpfAttachment | None] | None:
    """The verdict of a program that ends the way of all that comes to a filter behind it, and the first such filter; no
    filter where another build of the program comes before, for bpf-tc-duplicate-version speaks. None: all goes on."""
    one = programs.get(row.prog_id)
    for at in behind:
        verdict, other = ends(row, one, at.protocol), programs.get(at.prog_id)
        if verdict is None or one is None:
            continue
        if other is None or title(other) != title(one):
            return verdict, at
        if other.tag != one.tag:
            return verdict, None
    return None


def title(one: BpfProgram) -> str:
    """Name of a program."""
    return one.function or one.name


def _host(
    *verdicts: tuple[int, ...] | None, names: tuple[str, ...] = ("gate", "policy"), hook: str = "tc"
) -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun")
    for number, (verdict, name) in enumerate(zip(verdicts, names, strict=True), 1):
        host.bpf(programs=[program(number, name, f"{number:02x}" * 8, verdicts=verdict)])
        if hook == "tc":
            tc(host, "tap0", number, priority=number, position=number - 1)
        else:
            tcx(host, "tap0", number, position=number - 1)
    return host


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", ifname="tap0", hook="tc-ingress", name="policy")
    for verdict, words in ((0, "ok (0)"), (2, "shot (2)"), (7, "redirect (7)")):
        yield Example(
            name=f"always {words}",
            why="the second one never sees a packet",
            tables=_host((verdict,), None).build(),
            fires=1,
            subject=about,
            severity="warning",
            says=(f"always returns {words}",),
        )
    yield Example(name="ok or shot", why="both are final", tables=_host((0, 2), (-1,)).build(), fires=1)
    yield Example(
        name="three, the second one ends",
        why="the first lets packets on",
        tables=_host((-1,), (0,), None, names=("count", "gate", "policy")).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="tcx",
        why="the same by links",
        tables=_host((0,), None, hook="tcx").build(),
        fires=1,
        subject=subject("bpf-attachment", ifname="tap0", hook="tcx-ingress"),
    )
    yield Example(name="next", why="the second one runs", tables=_host((-1,), (0,)).build())
    yield Example(name="next for some", why="the second one sees the others", tables=_host((-1, 2), (0,)).build())
    yield Example(name="computed", why="nobody knows from outside", tables=_host(None, (0,)).build())
    yield Example(name="pipe", why="no verdict: it goes on", tables=_host((3,), (0,)).build())
    yield Example(name="the last one", why="its place is the end", tables=_host((0,), names=("gate",)).build())
    twice = _host((0,), (0,), names=("gate", "gate"))
    yield Example(name="two builds of one", why="bpf-tc-duplicate-version says it", tables=twice.build())
    host = (
        HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "gate", verdicts=(0,)), program(2, "policy")])
    )
    one = tc(tc(host, "tap0", 1, protocol=0x0800), "tap0", 2, priority=2, position=1)
    yield Example(name="for IPv4 only", why="the rest goes on", tables=one.build())
    for second, fires in ((0x0800, 1), (0x86DD, 0), (3, 0)):
        host = HostBuilder().link("tap0", kind="tun")
        host.bpf(programs=[program(1, "gate", verdicts=(0,)), program(2, "policy")])
        both = tc(tc(host, "tap0", 1, protocol=0x0800), "tap0", 2, protocol=second, priority=2, position=1)
        name = f"for IPv4 only, before one for {second:#x}"
        yield Example(name=name, why="what comes to the second one", tables=both.build(), fires=fires)
    copy = HostBuilder().link("tap0", kind="tun")
    copy.bpf(programs=[program(1, "gate", verdicts=(0,)), program(2, "policy", "bb" * 8)])
    for number, which in enumerate((1, 1, 2)):
        tc(copy, "tap0", which, priority=number + 1, position=number)
    yield Example(
        name="a copy and another", why="the other one never runs", tables=copy.build(), fires=1, subject=about
    )
    host = (
        HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "gate", verdicts=(0,)), program(2, "policy")])
    )
    one = tc(tc(host, "tap0", 1, direct_action=False), "tap0", 2, priority=2, position=1)
    yield Example(name="without direct action", why="the return value is a class", tables=one.build())
    host = (
        HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "gate", verdicts=(0,)), program(2, "policy")])
    )
    one = tc(tc(host, "tap0", 1), "tap0", 2, direction="egress")
    yield Example(name="the other direction", why="another hook", tables=one.build())
    for number, word in ((4, "stolen"), (8, "trap")):
        says = (f"always returns {word} ({number})",)
        yield Example(name=f"always {word}", why="final", tables=_host((number,), None).build(), fires=1, says=says)
    builds = _host((0,), (0,), None, names=("gate", "gate", "policy"))
    yield Example(name="two builds and another", why="the other build stands between", tables=builds.build())
    programs = [program(1, "gate", verdicts=(0,)), program(2, "policy")]
    full = [program(1, "gate_of_somebod", verdicts=(0,), function="gate_of_somebody"), program(2, "gate_of_somebod")]
    own: dict[str, Any]
    other: dict[str, Any]
    for name, why, known, own, other, fires in (
        ("the second is not read", "it never runs", programs[:1], {}, {"name": "p.o:[tc]"}, 1),
        ("the first is not read", "nobody knows what it returns", programs[1:], {}, {}, 0),
        ("whole names", "the first fifteen bytes are the same", full, {}, {}, 1),
        ("an action", "it is asked by a filter that may not match", programs, {"action": True}, {}, 0),
        ("a chain that is only jumped to", "the first chain decides", programs, {"chain": 5}, {"chain": 5}, 0),
        ("a shared block", "no direction is told", programs, {"direction": None}, {"direction": None}, 0),
        ("at clsact", "the handle of ingress", programs, {"parent": 0xFFFFFFF2}, {"parent": 0xFFFFFFF2}, 1),
        ("at a qdisc of its own", "it sorts into classes", programs, {"parent": 0x10000}, {"parent": 0x10000}, 0),
        ("just below clsact", "no such handle", programs, {"parent": 0xFFFFFFF1}, {"parent": 0xFFFFFFF1}, 0),
    ):
        host = HostBuilder().link("tap0", kind="tun").bpf(programs=known)
        made = tc(tc(host, "tap0", 1, **own), "tap0", 2, priority=2, position=1, **other).build()
        yield Example(name=name, why=why, tables=made, fires=fires)
    drop = (
        HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "wall", verdicts=(2,)), program(2, "policy")])
    )
    beside = tc(xdp(drop, "tap0", 1), "tap0", 2, position=1).build()
    yield Example(name="behind XDP", why="2 is pass there", tables=beside)
    far = [BpfAttachment(hook="tcx", prog_id=n, ifindex=99, direction="ingress", position=n) for n in (1, 2)]
    away = HostBuilder().bpf(programs=programs, attachments=far).build()
    yield Example(name="in another namespace", why="its order is not known here", tables=away)
