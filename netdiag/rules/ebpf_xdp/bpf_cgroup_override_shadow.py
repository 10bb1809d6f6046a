"""What it checks
  A cgroup has a program at a hook where a cgroup above it has one too, and the upper program does not run for the lower
  cgroup's processes: it was attached so that it can be overridden, and the lower one took its place.

Why it matters
  A policy for the whole machine (who may connect where, which packets are counted) has a hole: the services of that
  cgroup are under another program and under that alone. Nobody is told; the attachment above is still listed.

Confirm
  bpftool cgroup tree
  bpftool cgroup show CGROUP effective

Fix
  Attach the upper program so that both run: bpftool cgroup attach CGROUP HOOK id PROGRAM multi, after detaching what
  is there without "multi". Processes are without that program for the moment between.

Not flagged
  Programs attached with "multi", which run one after the other. systemd's own (sd_*): IPAddressDeny= and DeviceAllow=
  override by design. Two attachments of one program, by name and instructions: info, as long as neither instance has
  maps of its own, in which the policy would stand. Hosts where what runs could not be read.

References
  kernel/bpf/cgroup.c compute_effective_progs(), BPF_F_ALLOW_OVERRIDE and BPF_F_ALLOW_MULTI in
  include/uapi/linux/bpf.h; systemd.resource-control(5)
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import msgspec

from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfAttachment, BpfCgroup, BpfMap, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import of_systemd
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tcx
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-cgroup-override-shadow",
    title="a cgroup's program keeps the one above it from running",
    severity="warning",
    confidence="likely",
    reads=("bpf",),
)


def effective(table: Bpf, cgroup: str, attach_type: str) -> tuple[int, ...] | None:
    """What runs for a cgroup's processes; None where it was not told."""
    told = {row.cgroup: row.effective for row in table.cgroups if row.attach_type == attach_type}
    for folder in (PurePosixPath(cgroup), *PurePosixPath(cgroup).parents):
        if str(folder) in told:
            return told[str(folder)]
    return None


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    programs = {one.id: one for one in table.programs}
    own: dict[tuple[str, str], list[BpfAttachment]] = {}
    for row in table.attachments:
        if row.cgroup and not of_systemd(programs.get(row.prog_id)):
            own.setdefault((row.attach_type or "", row.cgroup), []).append(row)
    for (attach_type, cgroup), rows in own.items():
        runs = effective(table, cgroup, attach_type)
        if runs is None:
            continue
        for folder in PurePosixPath(cgroup).parents:
            for upper in own.get((attach_type, str(folder)), ()):
                above, below = programs.get(upper.prog_id), programs.get(rows[0].prog_id)
                again = runs.count(upper.prog_id) - sum(row.prog_id == upper.prog_id for row in rows)
                if above is None or again > 0:
                    continue
                name = above.function or above.name
                other = (below.function or below.name) if below else str(rows[0].prog_id)
                twins = [one for number in runs if (one := programs.get(number)) and _same(one, above)]
                harmless = bool(twins) and not _apart(table, above, twins)
                if twins:
                    other = "an instance of the same program" + ("" if harmless else ", with maps of its own,")
                yield RULE.found(
                    subject=subject("bpf-attachment", hook=attach_type, cgroup=cgroup, name=name),
                    message=f"{name} of cgroup {folder} does not run for {cgroup}: {other} took its place at "
                    f"{attach_type}" + (", and does the same" if harmless else ""),
                    severity="info" if harmless else None,
                    confidence="possible" if harmless else None,
                    evidence=[
                        (f"{attach_type} of {folder}", f"{name} {' '.join(upper.flags)}".strip(), "BPF_PROG_QUERY"),
                        (f"runs for {cgroup}", " ".join(map(str, runs)), "BPF_PROG_QUERY BPF_F_QUERY_EFFECTIVE"),
                    ],
                    confirm=["bpftool cgroup tree", f"bpftool cgroup show {quoted(cgroup)} effective"],
                    fix=f"bpftool cgroup attach {quoted(str(folder))} {attach_type} id {above.id} multi"
                    "  # after detaching both; then attach the lower one with multi too",
                )


def _same(one: BpfProgram, other: BpfProgram) -> bool:
    """Whether they are of one build: name and instructions."""
    return (one.tag, one.name) == (other.tag, other.name)


def _apart(table: Bpf, one: BpfProgram, twins: list[BpfProgram]) -> bool:
    """Whether none of the instances shares a map of data with the program, which has some; what a compiler makes of
    constants (``.rodata``) is no such map."""

    def data(each: BpfProgram) -> set[int]:
        return {number for number in each.map_ids if "." not in names.get(number, ".")}

    names = {row.id: row.name for row in table.maps}
    return bool(data(one)) and not any(data(one) & data(twin) for twin in twins)


def _host(*flags: str, runs: tuple[int, ...] = (2,), names: tuple[str, str] = ("policy", "agent")) -> HostBuilder:
    host = HostBuilder()
    host.bpf(
        programs=[program(1, names[0], "aa" * 8, type="cgroup_skb"), program(2, names[1], "bb" * 8, type="cgroup_skb")]
    )
    hook = "cgroup_inet_egress"
    for number, (folder, its) in enumerate((("/sys/fs/cgroup", ("override",)), ("/sys/fs/cgroup/app", flags)), 1):
        row = BpfAttachment(hook="cgroup", prog_id=number, attach_type=hook, cgroup=folder, cgroup_id=number, flags=its)
        host.bpf(attachments=[row])
    top = BpfCgroup(cgroup="/sys/fs/cgroup", cgroup_id=1, attach_type=hook, effective=(1,))
    return host.bpf(
        cgroups=[top, BpfCgroup(cgroup="/sys/fs/cgroup/app", cgroup_id=2, attach_type=hook, effective=runs)]
    )


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", cgroup="/sys/fs/cgroup/app", name="policy")
    for flags in ((), ("override",)):
        yield Example(
            name=f"overridden, {flags or 'no flag'}",
            why="the upper program has a hole",
            tables=_host(*flags).build(),
            fires=1,
            subject=about,
            severity="warning",
            says=("policy of cgroup /sys/fs/cgroup does not run for /sys/fs/cgroup/app",),
        )
    yield Example(name="both run", why="multi", tables=_host("multi", runs=(1, 2)).build())
    yield Example(name="both run, told so", why="the kernel says it", tables=_host(runs=(1, 2)).build())
    yield Example(name="systemd below", why="by design", tables=_host(names=("policy", "sd_fw_egress")).build())
    yield Example(name="systemd above", why="by design", tables=_host(names=("sd_fw_egress", "agent")).build())
    unknown = _host()
    unknown = HostBuilder().bpf(programs=[program(1)], attachments=unknown.build().bpf.attachments)
    yield Example(name="not told what runs", why="nobody knows", tables=unknown.build())
    device = tcx(_host().link("eth0"), "eth0", 1).build()
    yield Example(name="beside a card's", why="another hook", tables=device, fires=1)
    yield from _twins()
    named = _host(runs=(3,)).bpf(programs=[program(3, "agent", "aa" * 8)]).build()
    yield Example(name="the same instructions, another name", why="maps make the difference", tables=named, fires=1)
    unread = _host(runs=(2, 9)).build()
    yield Example(name="another one runs too", why="it could not be read", tables=unread, fires=1)
    other = BpfCgroup(cgroup="/sys/fs/cgroup/app", cgroup_id=2, attach_type="cgroup_inet_ingress", effective=(1, 2))
    yield Example(
        name="both run for what comes in", why="another hook", tables=_host().bpf(cgroups=[other]).build(), fires=1
    )
    whole = _host().build().bpf
    lower = HostBuilder().bpf(programs=whole.programs[1:], attachments=whole.attachments, cgroups=whole.cgroups)
    yield Example(name="the upper one is not read", why="nobody knows its tag", tables=lower.build())


def _twins() -> Iterator[Example]:
    """The same build above and below."""

    def case(name: str, why: str, severity: Any, *, maps: tuple[int, ...] = (), upper: tuple[int, ...] = ()) -> Example:
        host = _host().build().bpf
        made = HostBuilder().bpf(attachments=host.attachments, cgroups=host.cgroups)
        made.bpf(programs=[program(1, map_ids=upper), program(2, map_ids=maps)])
        made.bpf(maps=[BpfMap(id=7, type="hash", name="allowed"), BpfMap(id=8, type="hash", name="allowed")])
        made.bpf(maps=[BpfMap(id=9, type="array", name="policy.rodata"), BpfMap(id=10, type="array", name="p.rodata")])
        return Example(name=name, why=why, tables=made.build(), fires=1, severity=severity)

    yield case("the same build below", "loaded twice", "info")
    yield case("with maps of its own", "the policy stands in them", "warning", maps=(8,), upper=(7,))
    yield case("with the same map", "one policy", "info", maps=(7,), upper=(7,))
    yield case("with constants of its own", "the compiler made them", "info", maps=(10,), upper=(9,))
    yield case("the lower one with a map more", "what stood above is missed", "warning", maps=(8, 10), upper=(7, 9))
    whole = _host().build().bpf
    lower = msgspec.structs.replace(whole.attachments[1], prog_id=1)
    for runs, fires in (((1,), 1), ((1, 1), 0)):
        rows = tuple(msgspec.structs.replace(row, effective=runs) for row in whole.cgroups)
        host = HostBuilder().bpf(programs=whole.programs, attachments=[whole.attachments[0], lower], cgroups=rows)
        yield Example(name=f"one program twice, {runs} run", why="by its id", tables=host.build(), fires=fires)
