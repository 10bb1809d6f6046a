"""What it checks
  A program on an interface or cgroup of this host is attached by a bpf_link that only one process keeps: the link is
  pinned nowhere. It names the process.

Why it matters
  The attachment ends in the moment in which that process ends, is restarted or killed for memory; packets then pass
  without the program until the new process has attached again. Nothing is wrong now: this is worth knowing before a
  restart, and when somebody asks where a program went.

Confirm
  bpftool link show id LINK
  ls -l /proc/PID/fd

Fix
  Let the agent pin its links (bpf_link__pin(), bpftool link pin id LINK PATH): the attachment then stays until the
  pin is removed, also when the agent is meant to take it away.

Not flagged
  This is never more than information: that an attachment ends with its agent is what many want. Pinned links, links
  held by several processes, programs attached without a link. Hosts where pins or processes could not be read.

References
  kernel/bpf/syscall.c bpf_link_put(); libbpf bpf_link__pin(); bpftool-link(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfPin
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import where
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, tcx
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bpf-link-owner-dead",
    title="an eBPF attachment ends with the one process that holds it",
    severity="info",
    reads=("links", "bpf"),
)


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    if {"pins", "holders", "links"} & set(table.unread):
        return
    pinned = {pin.id for pin in table.pins if pin.kind == "link"}
    holders: dict[int | None, set[tuple[int, str]]] = {}
    for holder in table.holders:
        if holder.kind == "link":
            holders.setdefault(holder.id, set()).add((holder.pid, holder.comm))
    programs = {one.id: one for one in table.programs}
    for row in table.attachments:
        who = holders.get(row.link_id, set())
        link = view.link(row.ifindex)
        if len(who) != 1 or row.link_id in pinned or (link is None and row.hook != "cgroup"):
            continue
        ((pid, comm),) = who
        one = programs.get(row.prog_id)
        name = (one.function or one.name) if one else str(row.prog_id)
        place = f"{where(row)} of {link.ifname}" if link else f"{row.attach_type} of {row.cgroup}"
        yield RULE.found(
            subject=subject(
                "bpf-attachment", ifname=link.ifname if link else None, hook=row.attach_type or row.hook, name=name
            ),
            message=f"{name} ({place}) is attached by a link that only {comm} (process {pid}) holds: it goes with it",
            evidence=[
                (f"link {row.link_id} held by", f"{comm} ({pid})", f"/proc/{pid}/fdinfo link_id"),
                (f"link {row.link_id} pinned", "nowhere", "bpffs"),
            ],
            confirm=[f"bpftool link show id {row.link_id}", f"ls -l /proc/{pid}/fd"],
            fix=f"bpftool link pin id {row.link_id} /sys/fs/bpf/NAME  # if it is to outlive {comm}",
            touches=[subject("link", ifname=link.ifname)] if link else [],
        )


def _host(*pids: int) -> HostBuilder:
    host = HostBuilder().link("eth0").bpf(programs=[program(1)])
    tcx(host, "eth0", 1, link_id=3)
    return host.bpf(holders=[BpfHolder(pid=pid, comm="agent", kind="link", id=3) for pid in pids])


def examples() -> Iterator[Example]:
    yield Example(
        name="one holder",
        why="it goes with it",
        tables=_host(77).build(),
        fires=1,
        subject=subject("bpf-attachment", ifname="eth0", name="policy"),
        severity="info",
        says=("only agent (process 77) holds",),
    )
    yield Example(name="two holders", why="one may go", tables=_host(77, 78).build())
    yield Example(name="no holder in sight", why="another namespace's process, or the kernel", tables=_host().build())
    pin = _host(77).bpf(pins=[BpfPin(path="/sys/fs/bpf/l", kind="link", id=3)])
    yield Example(name="pinned", why="it stays", tables=pin.build())
    yield Example(name="pins not read", why="nobody knows", tables=_host(77).bpf(unread=["pins"]).build())
    other = _host(77).bpf(pins=[BpfPin(path="/sys/fs/bpf/p", kind="prog", id=3)])
    yield Example(name="a program pinned under its number", why="ids are numbered apart", tables=other.build(), fires=1)
    held = [BpfHolder(pid=77, comm="agent", kind="link", id=3)]
    far = BpfAttachment(hook="tcx", ifindex=99, direction="ingress", prog_id=1, link_id=3)
    away = HostBuilder().bpf(programs=[program(1)], holders=held, attachments=[far]).build()
    yield Example(name="in another namespace", why="that one's matter", tables=away)
    group = BpfAttachment(hook="cgroup", attach_type="cgroup_sock_ops", cgroup="/sys/fs/cgroup", prog_id=1, link_id=3)
    made = HostBuilder().bpf(programs=[program(1)], holders=held, attachments=[group]).build()
    yield Example(name="of a cgroup", why="the same", tables=made, fires=1)
    plain = HostBuilder().link("eth0").bpf(programs=[program(1)], holders=held)
    yield Example(name="without a link", why="its filter keeps it", tables=tc(plain, "eth0", 1).build())
