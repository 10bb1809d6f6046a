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
  override by design. Two attachments of one program, by name and instructions. Hosts where what runs could not be
  read.

References
  kernel/bpf/cgroup.c compute_effective_progs(), BPF_F_ALLOW_OVERRIDE and BPF_F_ALLOW_MULTI in
  include/uapi/linux/bpf.h; systemd.resource-control(5)
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfAttachment, BpfCgroup
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
        same = {(one.tag, one.name) for number in runs if (one := programs.get(number)) is not None}
        for folder in PurePosixPath(cgroup).parents:
            for upper in own.get((attach_type, str(folder)), ()):
                above, below = programs.get(upper.prog_id), programs.get(rows[0].prog_id)
                if above is None or (above.tag, above.name) in same:
                    continue
                name = above.function or above.name
                other = (below.function or below.name) if below else str(rows[0].prog_id)
                yield RULE.found(
                    subject=subject("bpf-attachment", hook=attach_type, cgroup=cgroup, name=name),
                    message=f"{name} of cgroup {folder} does not run for {cgroup}: {other} took its place at "
                    f"{attach_type}",
                    evidence=[
                        (f"{attach_type} of {folder}", f"{name} {' '.join(upper.flags)}".strip(), "BPF_PROG_QUERY"),
                        (f"runs for {cgroup}", other, "BPF_PROG_QUERY BPF_F_QUERY_EFFECTIVE"),
                    ],
                    confirm=["bpftool cgroup tree", f"bpftool cgroup show {quoted(cgroup)} effective"],
                    fix=f"bpftool cgroup attach {quoted(str(folder))} {attach_type} id {above.id} multi"
                    "  # after detaching both; then attach the lower one with multi too",
                )


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
    twin = _host(runs=(3,)).bpf(programs=[program(3, "policy", "aa" * 8)]).build()
    yield Example(name="the same build below", why="loaded twice", tables=twin)
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
