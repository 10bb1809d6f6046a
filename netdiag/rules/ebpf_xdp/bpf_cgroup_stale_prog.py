"""What it checks
  A program that decides over the sockets or packets of a cgroup's processes (connect, bind, sendmsg, packets in and
  out, socket options) and that nobody looks after any more: attached without a link, so that it stays for ever; no pin,
  no process that has it or one of its maps open.

Why it matters
  It is what a removed or crashed agent leaves behind. connect() goes on to be refused or rewritten by rules that
  nobody can change: the maps that hold them have no name and no owner. It survives until the cgroup goes or the machine
  restarts.

Confirm
  bpftool cgroup tree
  bpftool prog show id PROGRAM

Fix
  bpftool cgroup detach CGROUP HOOK id PROGRAM takes it away at once, for all processes of that cgroup and those below.
  Start the agent again instead, if it is meant to run: most of them replace what they find.

Not flagged
  systemd's own programs (sd_*). What binds the sockets of a VRF's processes to it, which ip vrf exec leaves in a cgroup
  of that VRF's name and has no map to be looked after, while the VRF is there. Filters of devices, which container
  runtimes attach and leave. Programs that a pin, a link or a process keeps, and those of which a map is pinned or held.
  Not judged: hosts where pins or processes could not be read, and from a container cgroups with processes of others.

References
  kernel/bpf/cgroup.c __cgroup_bpf_attach(); bpftool-cgroup(8); BPF_PROG_ATTACH in bpf(2); ip-vrf(8)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfLink, BpfPin, BpfProgram
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.rules.bpfplaces import of_systemd
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-cgroup-stale-prog",
    title="a program of a cgroup has no owner any more",
    severity="warning",
    confidence="likely",
    reads=("bpf", "links"),
    consults=("namespaces",),
)
TYPES = ("cgroup_skb", "cgroup_sock", "cgroup_sock_addr", "cgroup_sockopt", "sock_ops")


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    table = view.bpf
    programs = {one.id: one for one in table.programs if one.type in TYPES}
    rows = [row for row in table.attachments if row.link_id is None and row.prog_id in programs]
    rows = [row for row in rows if not of_systemd(programs[row.prog_id])]
    if rows and {"pins", "holders", "links"} & set(table.unread):
        yield Unjudged(reason="pins or the files of processes were not read whole: an owner may be among them")
        return
    kept = {(pin.kind, pin.id) for pin in table.pins} | {(holder.kind, holder.id) for holder in table.holders}
    linked = {link.prog_id for link in table.links}
    told: set[tuple[int, str | None]] = set()
    unseen = False
    for row in rows:
        one = programs[row.prog_id]
        owned = ("prog", one.id) in kept or any(("map", number) in kept for number in one.map_ids)
        vrf = _binds_to_vrf(view, one, row.cgroup or "")
        if owned or one.id in linked or vrf or (one.id, row.cgroup) in told:
            continue
        told.add((one.id, row.cgroup))
        if vrf is None:
            yield Unjudged(reason="the namespaces were not read whole: a VRF of another one may be its owner")
            continue
        if row.cgroup_hidden:
            unseen = True
            continue
        name, hook = one.function or one.name, HOOKS.get(row.attach_type or "", row.attach_type)
        yield RULE.found(
            subject=subject("bpf-attachment", hook=row.attach_type, cgroup=row.cgroup, name=name),
            message=f"{one.type} program {name} (id {one.id}) is attached to cgroup {row.cgroup} at {row.attach_type}, "
            "and no process, pin or link keeps it or its maps: its owner is gone",
            evidence=[
                (f"{row.attach_type} of {row.cgroup}", f"program {one.id} without a link", "BPF_PROG_QUERY"),
                ("processes that hold it", "none", "/proc/PID/fdinfo"),
                ("pins", "none", "bpffs"),
            ],
            confirm=["bpftool cgroup tree", f"bpftool prog show id {one.id}"],
            fix=f"bpftool cgroup detach {quoted(row.cgroup or '')} {hook} id {one.id}",
        )
    if unseen:
        yield Unjudged(reason="another PID namespace hides processes of a cgroup: an owner may be among them")


def _binds_to_vrf(view: HostView, one: BpfProgram, cgroup: str) -> bool | None:
    """Whether it is what ip vrf exec attaches, once for each cgroup that it was called from: CGROUP/vrf/VRF, and
    CGROUP/NETNS/vrf/VRF for a network namespace with a name, whose VRFs are not seen from here. None: not known."""
    if one.type != "cgroup_sock" or one.map_ids:
        return False
    if any(link.kind == "vrf" and cgroup.endswith(f"/vrf/{link.ifname}") for link in view.links):
        return True
    called = cgroup.rpartition("/vrf/")[0]
    spaces = view.namespaces.namespaces
    if any(called.endswith(f"/{name}") for space in spaces if not space.own for name in space.names):
        return True
    return False if not called or view.read_whole("namespaces") else None


HOOKS = {"cgroup_inet_ingress": "ingress", "cgroup_inet_egress": "egress", "cgroup_sock_ops": "sock_ops"} | {
    f"cgroup_inet{n}_{what}": f"{what}{n}"
    for n in (4, 6)
    for what in ("bind", "connect", "post_bind", "getpeername", "getsockname")
}
HOOKS |= {f"cgroup_udp{n}_{what}": f"{what}{n}" for n in (4, 6) for what in ("sendmsg", "recvmsg")}
HOOKS |= {f"cgroup_inet_{what}": what for what in ("sock_create", "sock_release")}
HOOKS |= {f"cgroup_{what}": what for what in ("getsockopt", "setsockopt")}
"""As bpftool-cgroup(8) spells them, back to version 5."""


def _host(
    kind: str = "cgroup_sock_addr", name: str = "policy", maps: tuple[int, ...] = (7,), **fields: Any
) -> HostBuilder:
    hook = "cgroup_inet4_connect" if kind == "cgroup_sock_addr" else "cgroup_inet_egress"
    row: dict[str, Any] = {
        "hook": "cgroup",
        "prog_id": 1,
        "attach_type": hook,
        "cgroup": "/sys/fs/cgroup",
        "cgroup_id": 1,
    }
    host = HostBuilder().bpf(programs=[program(1, name, type=kind, map_ids=maps)])
    return host.bpf(attachments=[BpfAttachment(**(row | fields))])


def examples() -> Iterator[Example]:
    about = subject("bpf-attachment", cgroup="/sys/fs/cgroup", name="policy")
    yield Example(
        name="connect() decided by nobody's program",
        why="the plain fault",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="warning",
        says=("bpftool cgroup detach /sys/fs/cgroup connect4 id 1",),
    )
    yield Example(
        name="packets",
        why="the same",
        tables=_host("cgroup_skb").build(),
        fires=1,
        says=("/sys/fs/cgroup egress id 1",),
    )
    yield Example(name="by a link", why="the link's owner keeps it", tables=_host(link_id=9).build())
    for kind, number in (("prog", 1), ("map", 7)):
        held = _host().bpf(holders=[BpfHolder(pid=9, comm="agent", kind=kind, id=number)])  # type: ignore[arg-type]
        yield Example(name=f"a process holds the {kind}", why="its agent lives", tables=held.build())
        pinned = _host().bpf(pins=[BpfPin(path="/sys/fs/bpf/x", kind=kind, id=number)])  # type: ignore[arg-type]
        yield Example(name=f"the {kind} is pinned", why="somebody meant it to stay", tables=pinned.build())
    yield Example(name="systemd", why="its own", tables=_host("cgroup_skb", "sd_fw_egress").build())
    yield Example(name="devices", why="runtimes leave them", tables=_host("cgroup_device").build())
    others = _host(cgroup_hidden=True).build()
    yield Example(name="processes of another PID namespace", why="/proc tells nothing", tables=others, unjudged=True)
    unread = _host().bpf(unread=["holders"])
    yield Example(name="holders not read", why="an owner may be there", tables=unread.build(), unjudged=True)
    idle = HostBuilder().bpf(unread=["holders"]).build()
    yield Example(name="holders not read, none attached", why="nothing is open", tables=idle)
    linked = _host().bpf(links=[BpfLink(id=9, type="cgroup", prog_id=1)])
    yield Example(name="another link to it", why="that link's owner keeps it", tables=linked.build())
    ingress = _host("cgroup_skb", attach_type="cgroup_inet_ingress").build().bpf.attachments
    twice = _host("cgroup_skb").bpf(attachments=ingress)
    yield Example(name="both ways", why="one program of one cgroup is told once", tables=twice.build(), fires=1)
    for name, why, vrf, kind, maps, fires in (
        ("ip vrf exec", "it writes a number into sockets, and has done", "blue", "cgroup_sock", (), 0),
        ("ip vrf exec of a VRF that is gone", "it binds to nothing", "red", "cgroup_sock", (), 1),
        ("another kind in a VRF's cgroup", "a filter that nobody can change", "blue", "cgroup_skb", (), 1),
        ("a VRF's cgroup, with a map", "somebody ought to fill it", "blue", "cgroup_sock", (7,), 1),
    ):
        host = _host(kind, "", maps, cgroup="/sys/fs/cgroup/user.slice/vrf/blue").link(vrf, kind="vrf")
        yield Example(name=name, why=why, tables=host.build(), fires=fires)
    for name, own, fires in (("red", False, 0), ("rd", False, 1), ("red", True, 1)):
        host = _host("cgroup_sock", "", (), cgroup="/sys/fs/cgroup/user.slice/red/vrf/blue")
        host.namespace(7, names=(name,), own=own)
        why = "that VRF is not seen from here"
        yield Example(name=f"ip vrf exec in {name}, own: {own}", why=why, tables=host.build(), fires=fires)
    late: dict[str, Any] = {"late": ("namespaces",), "why": "a VRF of another namespace may be meant"}
    unseen = _host("cgroup_sock", "", (), cgroup="/sys/fs/cgroup/user.slice/red/vrf/blue").build()
    yield Example(name="ip vrf exec, namespaces not read", tables=unseen, unjudged=True, **late)
    plain = _host("cgroup_sock", "", (), cgroup="/sys/fs/cgroup/user.slice").build()
    yield Example(name="no VRF's cgroup, namespaces not read", tables=plain, fires=1, **late)
    other = _host("cgroup_sock", "", (), cgroup="/sys/fs/cgroup/vrf/br0").link("br0", kind="bridge")
    yield Example(name="a cgroup of a bridge's name", why="no VRF", tables=other.build(), fires=1)
