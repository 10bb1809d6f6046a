"""What it checks
  A pin in bpffs keeps an XDP, tc or cgroup program that is attached nowhere in sight: no hook, no link, no prog_array
  and no process refers to it.

Why it matters
  Memory that nobody uses, and false confidence: the file suggests that a policy is in force, and it is not. Often it
  is what an upgrade or a crashed loader left behind.

Confirm
  bpftool prog show pinned PATH
  bpftool net show

Fix
  rm PATH, if nothing is meant to attach it; the program goes with its last name. That cannot be undone but by loading
  it again.

Not flagged
  Programs that are called through a prog_array or held by a process. Types that are not attached to devices or
  cgroups (struct_ops, iterators, replacements, sockets). A host where attachments could not all be read. This is
  never more than info: a template that is attached to each new tap looks the same, and so does a program whose
  interface is in another network namespace.

References
  kernel/bpf/inode.c, bpftool-prog(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfHolder, BpfLink, BpfMapEntry, BpfPin, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import referred
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-prog-pinned-unattached",
    title="a pinned eBPF program is attached nowhere",
    severity="info",
    confidence="possible",
    reads=("links", "bpf"),
)
ATTACHED_BY_TYPE = ("xdp", "sched_cls", "cgroup_skb", "cgroup_sock", "cgroup_sock_addr")
NEEDED = {"programs", "links", "tc", "tcx", "cgroups", "entries"}
"""Without one of these nobody knows what is attached."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    if NEEDED & set(table.unread):
        return
    used = referred(table) | {row.id for row in table.holders if row.kind == "prog"}
    programs: dict[int, BpfProgram] = {one.id: one for one in table.programs if one.type in ATTACHED_BY_TYPE}
    told: set[int] = set()
    for pin in sorted(table.pins, key=lambda pin: pin.path):
        one = programs.get(pin.id)
        if pin.kind != "prog" or one is None or pin.id in used or pin.id in told:
            continue
        told.add(pin.id)
        name = one.function or one.name
        yield RULE.found(
            subject=subject("bpf-program", name=name, path=pin.path),
            message=f"{pin.path} keeps {one.type} program {name} (id {one.id}), which is attached nowhere in sight",
            evidence=[
                (f"program {one.id} pinned", pin.path, "BPF_OBJ_GET"),
                (f"program {one.id} attached", "nowhere", "RTM_GETLINK, RTM_GETTFILTER, BPF_PROG_QUERY, bpf links"),
            ],
            confirm=[f"bpftool prog show pinned {quoted(pin.path)}", "bpftool net show"],
            fix=f"rm {quoted(pin.path)}  # if nothing is meant to attach it",
        )


def _host(kind: str = "xdp") -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun").bpf(programs=[program(3, type=kind)])
    return host.bpf(pins=[BpfPin(path="/sys/fs/bpf/policy", kind="prog", id=3)])


def examples() -> Iterator[Example]:
    about = subject("bpf-program", name="policy", path="/sys/fs/bpf/policy")
    for kind in ATTACHED_BY_TYPE:
        yield Example(
            name=f"pinned {kind} program",
            why="nothing runs it",
            tables=_host(kind).build(),
            fires=1,
            subject=about,
            severity="info",
        )
    twice = _host().bpf(pins=[BpfPin(path="/sys/fs/bpf/other", kind="prog", id=3)])
    first = about | {"path": "/sys/fs/bpf/other"}
    yield Example(name="pinned twice", why="told once, by the first name", tables=twice.build(), fires=1, subject=first)
    held = _host().bpf(holders=[BpfHolder(pid=1, comm="a", kind="map", id=3)])
    yield Example(name="a map of that number is held", why="ids are numbered apart", tables=held.build(), fires=1)
    yield Example(name="attached", why="it is in use", tables=tc(_host("sched_cls"), "tap0", 3).build())
    yield Example(
        name="attached by a link elsewhere",
        why="the link may be on an interface of another namespace",
        tables=_host().bpf(links=[BpfLink(id=1, type="xdp", prog_id=3, ifindex=77)]).build(),
    )
    yield Example(
        name="called through a prog_array",
        why="a tail call's target is never attached",
        tables=_host().bpf(entries=[BpfMapEntry(map_id=9, key=0, prog_id=3)]).build(),
    )
    yield Example(
        name="held by a process",
        why="its owner stands by to attach it",
        tables=_host().bpf(holders=[BpfHolder(pid=1, comm="a", kind="prog", id=3)]).build(),
    )
    for kind in ("struct_ops", "tracing", "ext", "socket_filter"):
        yield Example(name=f"pinned {kind}", why="not attached to devices", tables=_host(kind).build())
    yield Example(
        name="a pinned map of that number",
        why="maps are not attached",
        tables=HostBuilder()
        .bpf(programs=[program(3, type="xdp")], pins=[BpfPin(path="/sys/fs/bpf/m", kind="map", id=3)])
        .build(),
    )
    for part in sorted(NEEDED):
        yield Example(name=f"{part} not read", why="it may be attached", tables=_host().bpf(unread=[part]).build())
    yield Example(name="holders not read", why="that is usual", tables=_host().bpf(unread=["holders"]).build(), fires=1)
