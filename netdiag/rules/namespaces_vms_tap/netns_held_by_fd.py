"""What it checks
  A network namespace has no name, no mount and no process: it lives on because some process holds a file descriptor
  of it.

Why it matters
  The namespace was deleted, and is still there: its addresses go on answering, its interfaces cannot be made anew
  under the same name at the other end of their cables, and nobody sees it with "ip netns". It goes when the holder
  closes the descriptor or ends.

Confirm
  readlink /proc/PID/fd/FD
  nsenter --net=/proc/PID/fd/FD ip -br address

Fix
  Restart the process that holds it, or have it close the descriptor; the namespace is destroyed at once, with all its
  interfaces. Look into it first: nsenter --net=/proc/PID/fd/FD.

Not flagged
  Namespaces held by agents whose work that is (container engines, CNI and Kubernetes agents, systemd). A namespace
  with nothing but the loopback interface is an info: it does no harm.

References
  fs/nsfs.c; namespaces(7); https://github.com/moby/moby/issues/41136
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.namespace import NamespaceHolder
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="netns-held-by-fd",
    title="a deleted network namespace is kept alive by a file descriptor",
    severity="warning",
    confidence="likely",
    reads=("namespaces",),
    machine_wide=True,
    explains=("veth-orphan", "veth-leg-orphan-peer-gone"),
)
AGENTS = tuple(
    """dockerd containerd podman conmon crio kubelet cilium-agent calico multus flanneld ovs-vswitchd systemd kube-proxy
    nomad libvirtd lxd incusd runc crun netavark aardvark weaver""".split()  # noqa: SIM905 - a list of words
)
"""What the names of processes start with that keep namespaces open for a living."""


def check(view: HostView) -> Iterator[Draft]:
    for row in view.namespaces.namespaces:
        if row.held_by != "fd" or any(holder.comm.startswith(agent[:15]) for holder in row.holders for agent in AGENTS):
            continue
        holder = row.holders[0]
        full = row.links is not None and row.links > 1
        path = f"/proc/{holder.pid}/fd/{holder.fd}"
        inside = f"{row.links} interfaces are in it" if full else "it is empty"
        yield RULE.found(
            subject=subject("netns", comm=holder.comm, names=len(row.holders)),
            severity="warning" if full else "info",
            message=f"a network namespace without name and process is held open by {holder.comm} (pid {holder.pid}): "
            f"{inside}",
            evidence=(
                ("held by", f"{holder.comm}, descriptor {holder.fd}", path),
                ("namespace", f"net:[{row.inode}]", path),
                ("interfaces in it", "not known" if row.links is None else row.links, "RTM_GETLINK inside it"),
            ),
            confirm=(f"stat -L -c %i {path}", f"nsenter --net={path} ip -br address"),
            fix=f"kill {holder.pid}  # ends {quoted(holder.comm)}, and the namespace with it: restart what that was",
            breaks=(subject("netns", inode=row.inode),),
        )


def _held(comm: str, links: int | None = 3, **fields: object) -> HostBuilder:
    holder = NamespaceHolder(pid=77, comm=comm, fd=5)
    return HostBuilder().namespace(1000, links=links, **({"holders": (holder,)} | fields))


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    yield _case("with interfaces", "its addresses still answer", _held("python3"), 1, severity="warning")
    yield _case("empty", "harmless", _held("python3", links=1), 1, severity="info")
    yield _case("not entered", "what is in it is not known", _held("python3", links=None), 1, severity="info")
    yield _case("an agent", "that is its work", _held("containerd"))
    yield _case("named", "it was not deleted", _held("python3", names=("a",)))
    yield _case("lived in", "a process is there", _held("python3", processes=1))
    yield _case("one interface beside lo", "a cable is enough", _held("python3", links=2), 1, severity="warning")
