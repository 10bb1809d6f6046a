"""What it checks
  The CNI plugin host-local has given out more addresses of a network than there are containers: for some, no process
  runs in a control group of that container, or in a namespace of its name, and there are fewer namespaces with
  processes, and fewer cables to other namespaces, than addresses; or fewer cables on the bridge in whose subnet the
  addresses are.

Why it matters
  The plugin frees an address only when the runtime asks it to. After a crash, a reboot or a forced removal the files
  stay, and one day a new container fails with "no IP addresses available in range set", although few run.

Confirm
  ls /var/lib/cni/networks/NETWORK             (or below the dataDir of the network's configuration)
  cat /var/lib/cni/networks/NETWORK/ADDRESS    (the container that it was given to)
  lsns -t net

Fix
  Remove the file of an address whose container is gone: rm /var/lib/cni/networks/NETWORK/ADDRESS. The address can then
  be given out again at once, so be sure that nobody uses it. Newer runtimes do it by themselves (CNI GC).

Not flagged
  Addresses of containers that run, or of which there is a namespace with processes for each, or the carrier of a veth
  whose other end is in another namespace (a bridge's port, or without a subnet of its own). Both families of one
  container. Where namespaces could not be looked into, this is not evaluated.

References
  https://www.cni.dev/plugins/current/ipam/host-local/; https://github.com/containerd/cri/issues/948
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.cni import Cni, CniAllocation
from netdiag.model.finding import Draft, subject
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="cni-ipam-leak",
    title="addresses are kept for containers that are gone",
    severity="warning",
    confidence="likely",
    reads=("cni", "namespaces"),
    consults=("links", "addresses"),
    machine_wide=True,
)


def check(view: HostView) -> Iterator[Draft]:
    busy = sum(1 for row in view.namespaces.namespaces if not row.own and row.held_by == "process")
    alive = max(busy, _cables(view))
    homes = " ".join(
        name for row in view.namespaces.namespaces if row.processes for name in (*row.names, *row.mounts)
    )  # Nomad names a namespace after the container
    networks: dict[tuple[str, str, bool], list[CniAllocation]] = {}
    for row in view.cni.allocations:
        networks.setdefault((row.network, row.folder, ":" in row.address), []).append(row)
    for (network, place, _), rows in sorted(networks.items()):
        gone = [row for row in rows if not row.running and row.container_id not in homes]
        ports = _ports(view, rows)
        leaked = min(len(gone), len(rows) - (alive if ports is None else min(alive, ports)))
        if leaked <= 0:
            continue
        folder, first = f"{place}/{network}", gone[0]
        sure = leaked == len(gone)
        remove = f"rm {quoted(f'{folder}/{first.address}')}"
        look = f"cat {quoted(f'{folder}/{first.address}')}; echo"
        yield RULE.found(
            subject=subject("prefix", network=network),
            message=f"{'' if sure else 'at least '}{leaked} of {len(rows)} addresses of the CNI network {network} are "
            f"kept for containers that are gone, such as {first.address}",
            evidence=(
                ("addresses given out", len(rows), folder),
                ("without a process of that container", len(gone), "/proc/*/cgroup"),
                ("namespaces with processes", busy, "/proc/*/ns/net"),
            ),
            confirm=(f"ls {quoted(folder)}", look, "lsns -t net"),
            fix=remove if sure else f"{look}  # look whose it is, then remove the file",
        )


def _ports(view: HostView, rows: list[CniAllocation]) -> int | None:
    """Ports with a carrier of the bridge in whose subnet all these addresses are: no more of its containers live. None:
    there is no such bridge, or it has other ports than cables."""
    if not (view.read_whole("links") and view.read_whole("addresses")):
        return None
    asked = [ipaddress.ip_address(row.address) for row in rows]
    for own in view.addresses:
        link = view.link(own.ifindex)
        network = ipaddress.ip_network(f"{own.local}/{own.prefixlen}", strict=False)
        if link is None or link.kind != "bridge" or not all(one in network for one in asked):
            continue
        ports = view.stack.ports(link.ifindex)
        return sum(bool(port.carrier) for port in ports) if all(faces_guest(port) for port in ports) else None
    return None


def _cables(view: HostView) -> int:
    """Cables to single containers: with a carrier, from a bridge or without a subnet of their own."""
    if not (view.read_whole("links") and view.read_whole("addresses")):
        return 0
    wide = {row.ifindex for row in view.addresses if row.prefixlen < (32 if row.family == "inet" else 64)}
    cables = [link for link in view.links if faces_guest(link) and link.carrier]
    return sum(link.master is not None or link.ifindex not in wide for link in cables)


def _given(*addresses: str, running: int = 0, alive: int = 0, network: str = "pods") -> HostBuilder:
    rows = tuple(
        CniAllocation(network=network, address=address, container_id=f"c{number}", running=number < running)
        for number, address in enumerate(addresses)
    )
    host = _Cni(rows)
    for number in range(alive):
        host.namespace(1000 + number, processes=2)
    return host


class _Cni(HostBuilder):
    """A host with addresses of host-local."""

    def __init__(self, rows: tuple[CniAllocation, ...]) -> None:
        super().__init__()
        self.rows = rows

    def tables(self) -> Tables:
        return replace(self.build(), cni=Cni(allocations=self.rows))


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    assert isinstance(host, _Cni)
    return Example(name=name, why=why, tables=host.tables(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("prefix", network="pods")
    away = _given("10.1.0.2")
    assert isinstance(away, _Cni)
    away.rows = tuple(msgspec.structs.replace(row, folder="/run/ipam") for row in away.rows)
    yield _case("a folder of its own", "its configuration says so", away, 1, says=("rm /run/ipam/pods/10.1.0.2",))
    yield _case("nothing runs", "after a reboot", _given("10.1.0.2"), 1, subject=about, says=("rm /var/lib/cni",))
    part = _given("10.1.0.2", "10.1.0.3", "10.1.0.4", running=2, alive=2)
    yield _case("one of three", "the others run", part, 1, says=("10.1.0.4",))
    unknown = _given("10.1.0.2", "10.1.0.3", "10.1.0.4", alive=2)
    yield _case("control groups tell nothing", "which one is not known", unknown, 1, says=("at least 1",))
    nomad = _given("10.1.0.2", "10.1.0.3").namespace(1000, names=("c0",), processes=1)
    says = ("10.1.0.3", "rm /var/lib/cni")
    yield _case("one has a namespace of its name", "the other is gone", nomad, 1, says=says)
    named = _given("10.1.0.2", "10.1.0.3").namespace(1000, names=("c0",)).namespace(1001, processes=1)
    yield _case("a namespace of its name is empty", "it is not known whose lives", named, 1, says=("at least 1",))
    six = _given("fd00::2", "fd00::3", alive=1)
    yield _case("IPv6", "the same", six, 1)
    yield _case("all run", "the healthy node", _given("10.1.0.2", "10.1.0.3", running=2, alive=2))
    yield _case("all have a namespace", "a runtime without control groups", _given("10.1.0.2", "10.1.0.3", alive=2))
    yield _case("two families", "one container has both", _given("10.1.0.2", "fd00::2", alive=1))
    yield _case("nothing given out", "an idle node", _given())
    both = _given("10.1.0.2", "fd00::2")
    yield _case("both families", "one network, one finding", both, 1, subject=about)
    empty = _given("10.1.0.2").namespace(1000, names=("pool1",))
    yield _case("a namespace without processes", "no container lives there", empty, 1, subject=about)
    cables: tuple[tuple[str, dict[str, Any], int], ...] = (
        ("on a bridge", {"master": "cni0"}, 0),
        ("routed", {}, 0),
        ("without a carrier", {"carrier": False}, 1),
        ("within this namespace", {"link_netnsid": None}, 1),
        ("of netkit", {"kind": "netkit"}, 0),
        ("of another kind", {"kind": "tun"}, 1),
    )
    for name, cable, fires in cables:
        host = _given("10.1.0.2").link("cni0", kind="bridge")
        fields: dict[str, Any] = {"kind": "veth", "link_netnsid": 0} | cable
        host.link("v1", **fields)
        yield _case(f"a cable {name}", "a container without processes of its own", host, fires)
    for own, kind, count, fires in (
        ("10.1.0.1/24", "veth", 1, 1),
        ("10.1.0.1/24", "veth", 2, 0),
        ("10.2.0.1/24", "veth", 1, 0),
        ("10.1.0.1/24", None, 1, 0),
    ):
        busy = _given("10.1.0.2", "10.1.0.3", running=1, alive=5).link("cni0", kind="bridge").address("cni0", own)
        for number in range(count):
            busy.link(f"v{number}", kind=kind, link_netnsid=number if kind else None, master="cni0")
        about_it = f"two of {own}, five namespaces and {count} ports of kind {kind} of {own}"
        yield _case(about_it, "other containers are none of that bridge", busy, fires)
    wide = (("192.0.2.2/24", 1), ("192.0.2.2/31", 1), ("2001:db8::2/48", 1), ("2001:db8::2/63", 1))
    for prefix, fires in (*wide, ("192.0.2.2/32", 0), ("fe80::2/64", 0)):
        host = _given("10.1.0.2").link("eth0", kind="veth", link_netnsid=0).address("eth0", prefix)
        yield _case(f"a cable with {prefix}", "a subnet makes it a way out", host, fires)
    blind = _given("10.1.0.2").link("v1", kind="veth", link_netnsid=0)
    for table in ("links", "addresses"):
        yield _case(f"{table} not read", "namespaces alone tell", blind, 1, late=(table,))
    port = _given("10.1.0.2").link("cni0", kind="bridge")
    port.link("v1", kind="veth", link_netnsid=0, master="cni0").address("v1", "192.0.2.2/24")
    yield _case("a port with an address", "the bridge takes what comes in", port)
