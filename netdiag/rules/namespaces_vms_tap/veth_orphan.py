"""What it checks
  One end of a veth pair that leads nowhere: it is in no bridge, has no address and no route, and its other end is in a
  namespace in which no process lives and that has no name (or that cannot be found at all).

Why it matters
  Container engines that die between the steps of a tear-down leave these behind. Each costs two interfaces, and names
  and addresses that the next container may want; thousands make every listing of interfaces slow.

Confirm
  ip -details link show dev IFNAME             (link-netnsid)
  lsns -t net

Fix
  ip link delete dev IFNAME: the other end goes with it.

Not flagged
  Ends in a bridge or VRF, with an address of their own, with routes, or with filters that may redirect. Ends whose
  namespace has a name or processes: it is used, or a pool that waits. Where not all processes could be looked into,
  this is not evaluated, nor where it is not known which have filters. Ends whose other end is in this namespace.

References
  drivers/net/veth.c; ip-netns(8); https://github.com/hashicorp/nomad/issues/6385
"""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.index.taps import pointers
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.tc import Qdisc, Tc
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="veth-orphan",
    title="a veth whose container is gone was left behind",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "neighbours", "namespaces"),
    consults=("bpf", "qdiscs", "baseline"),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    ends = [
        link for link in view.links if link.kind == "veth" and link.link_netnsid is not None and link.master is None
    ]
    if not ends:
        return
    found = pointers([link.ifindex for link in ends], view.routes("inet"), view.routes("inet6"), view.neighbours)
    addressed = {row.ifindex for row in view.addresses if not row.local.startswith("fe80:")}
    filtered = {row.ifindex for row in view.bpf.attachments}
    filtered |= {row.ifindex for row in view.qdiscs.qdiscs if row.kind in ("clsact", "ingress")}
    for link in ends:
        points = found[link.ifindex]
        if link.ifindex in addressed | filtered or points.routes or points.routes6 or points.proxies:
            continue
        inode = next((row.inode for row in view.netns_ids if row.netnsid == link.link_netnsid), None)
        why = _nowhere(view, inode)
        if why and (view.unknown("bpf") or view.unknown("qdiscs")):
            yield Unjudged(reason=f"bpf, qdiscs: not read whole, and a program may use {link.ifname}")
            return
        if why:
            name = link.ifname
            yield RULE.found(
                subject=subject("link", ifname=name),
                severity="warning" if "not" not in why else "info",
                message=f"{name} leads nowhere: no bridge, address or route uses it, and its other end is in {why}",
                evidence=(
                    (f"{name} link-netnsid", link.link_netnsid, f"RTM_GETLINK {name} IFLA_LINK_NETNSID"),
                    ("that namespace", why, "RTM_GETNSID, /proc/*/ns/net, /run/netns"),
                ),
                confirm=(f"ip -details link show dev {quoted(name)}", "lsns -t net"),
                fix=f"ip link delete dev {quoted(name)}",
                touches=(subject("netns", inode=inode),),
            )


def _nowhere(view: HostView, inode: int | None) -> str:
    """What is wrong with the namespace of the other end; empty: it is in use, or waits."""
    row = next((each for each in view.namespaces.namespaces if each.inode == inode), None)
    if row is None:
        return "a namespace that is not found by name, process or descriptor"
    if row.held_by == "fd":
        return f"a nameless namespace without processes, held open by {row.holders[0].comm}"
    return ""


def _end(**namespace: object) -> HostBuilder:
    host = HostBuilder().link("eth0").link("veth0", kind="veth", link_netnsid=3, link=2)
    return host.namespace(1000, netnsid=3, **namespace) if namespace else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    from netdiag.model.namespace import NamespaceHolder

    held = {"holders": (NamespaceHolder(pid=7, comm="python3", fd=3),)}
    yield _case("nameless namespace", "a descriptor keeps it", _end(**held), 1, severity="warning")
    yield _case("namespace that is not found", "nothing that is seen keeps it", _end(), 1, severity="info")
    yield _case("named", "a pool that waits", _end(names=("pool1",)))
    yield _case("running", "a container lives there", _end(processes=2))
    bridged = _end().link("br0", kind="bridge").link("veth0", kind="veth", link_netnsid=3, link=2, master=4)
    yield _case("in a bridge", "it is used", bridged)
    yield _case("with an address", "it is used", _end().address("veth0", "10.0.0.1/30"))
    yield _case("with an address that makes no subnet", "it is used", _end().address("veth0", "10.0.0.1/32"))
    local = _end(**held).address("veth0", "fe80::1/64")
    yield _case("with a link-local address", "every interface has one", local, 1, severity="warning")
    yield _case("with a route of IPv6", "a container behind it", _end(**held).route("2001:db8::5/128", dev="veth0"))
    proxy = _end(**held).neighbour("10.1.0.5", dev="veth0", flags=NTF_PROXY)
    yield _case("with a proxy entry", "this host answers for what is behind", proxy)
    yield _case("a macvlan", "no cable", HostBuilder().link("mv0", kind="macvlan", link_netnsid=3, link=2))
    pool = HostBuilder().link("eth0").link("veth0", kind="veth", link_netnsid=3, link=2)
    pool.namespace(900, netnsid=1, names=("pool1",)).namespace(1000, netnsid=3, **held)
    yield _case("beside a pool", "that is another namespace", pool, 1, severity="warning")
    for kind, fires in (("clsact", 0), ("ingress", 0), ("noqueue", 1)):
        tables = _end(**held).build()
        tables = replace(tables, qdiscs=Tc(qdiscs=(Qdisc(ifindex=3, kind=kind, handle=0, parent=0),)))
        yield Example(name=f"with {kind}", why="filters there may redirect", tables=tables, fires=fires)
    yield _case("with a route", "a container behind it", _end().route("10.1.0.5/32", dev="veth0"))
    yield _case("redirected", "eBPF takes its frames", _end().bpf(attachments=_attached()))
    for table in ("bpf", "qdiscs"):
        yield _case(f"{table} not read", "filters may redirect", _end(**held), late=(table,), unjudged=True)
    yield _case("both ends here", "a pair within the namespace", HostBuilder().link("v0", kind="veth", link=3))


def _attached() -> tuple[object, ...]:
    from netdiag.model.bpf import BpfAttachment

    return (BpfAttachment(hook="tc", prog_id=1, position=0, attach_type="tcx", direction="ingress", ifindex=3),)
