"""--all-netns : each namespace with its own tables, findings and commands; what vanishes costs itself."""

import io
import json
from typing import Any, cast

import pytest

from netdiag.collect import Options, collect
from netdiag.collectors import all_netns
from netdiag.engine import judge
from netdiag.index.spaces import of_namespace, snapshots
from netdiag.model.link import IFF_LOOPBACK, IFF_UP, Link
from netdiag.model.namespace import Namespace
from netdiag.model.wireguard import WireguardDevice
from netdiag.render.json import render_json
from netdiag.snapshotfile import read_snapshot, snapshot_octets
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink.spaces import Space
from netdiag.sources.netnssweep import Swept
from netdiag.sources.protocol import Source
from tests.lab import Host, Lab


def world(lab: Lab) -> Host:
    """A worker with a container behind a veth whose MTU is wrong, and a namespace with a tap that nobody holds."""
    host = lab.host("worker1")
    host.sh(
        """ip netns add c1; ip netns add vm1; ip netns add empty
        ip link add x0 mtu 9000 type veth peer name x1 netns c1; ip link set x0 up; ip addr add 192.0.2.1/30 dev x0
        ip -n c1 link set x1 up; ip -n c1 addr add 192.0.2.2/30 dev x1; ip -n c1 route add default via 192.0.2.1
        ip -n vm1 tuntap add tap0 mode tap; ip -n vm1 link set tap0 up; ip -n vm1 route add 10.1.0.5/32 dev tap0
        ip -n vm1 -6 route add 2001:db8::5/128 dev tap0; ip -n vm1 neigh add 10.1.0.9 lladdr 2:0:0:0:0:9 dev tap0"""
    )
    return host


def snapshot_of(host: Host, **options: Any) -> Any:
    """A snapshot through its file, for it must survive that."""

    def inside() -> bytes:
        return snapshot_octets(collect(LiveSource(), Options(all_netns=True, **{"interval": 0.0} | options)))

    return read_snapshot(io.BytesIO(host.call(inside)))


def test_each_has_its_own_tables_and_findings(lab: Lab) -> None:
    host = world(lab)
    report = host.report("--all-netns")
    found = {(row["rule"], row["netns"]) for row in report["findings"] if row["severity"] != "info"}
    assert found == {("link-mtu-peer-mismatch", None), ("tap-no-owner-fd", "vm1")}
    (tap,) = [row for row in report["findings"] if row["netns"] == "vm1"]
    assert tap["confirm"][0] == "ip netns exec vm1 ip -details link show dev tap0"
    for command in tap["confirm"]:
        assert host.run("sh", "-c", command, check=False).stdout.strip()
    assert tap["fix"].startswith("ip netns exec vm1 ip link delete dev tap0  #")
    assert not {row["rule"] for row in host.report()["findings"]} & {"tap-no-owner-fd"}
    gaps = {(row["rule"], row["netns"]) for row in report["not_evaluated"]}
    assert ("carrier-flap", "c1") in gaps
    assert not any(rule.startswith(("bpf-", "bgp-", "neigh-gc")) and netns for rule, netns in gaps)


def test_a_snapshot_says_the_same(lab: Lab) -> None:
    host = world(lab)
    snapshot = snapshot_of(host)
    live = {row["id"] for row in host.report("--all-netns")["findings"]}
    assert {row["id"] for row in json.loads(render_json(judge(snapshot)))["findings"]} == live
    vm1 = of_namespace(snapshot, "vm1")
    assert vm1 is not None
    assert [route.dst for route in vm1.tables.routes.rows() if route.table == 254] == ["10.1.0.5/32"]
    assert "2001:db8::5/128" in {route.dst for route in vm1.tables.routes6.rows()}
    assert {row.dst for row in vm1.tables.neighbours.rows()} >= {"10.1.0.9"}
    assert [link.ifname for link in vm1.tables.links] == ["lo", "tap0"]
    assert len(vm1.tables.rules) == 5
    assert of_namespace(snapshot, "nowhere") is None


def test_tables_agree_with_iproute2(lab: Lab) -> None:
    host = world(lab)
    for state, own in snapshots(snapshot_of(host)):
        if state.name is None:
            continue
        shown = json.loads(host.run("ip", "-4", "-n", state.name, "-j", "route", "show", "table", "all").stdout or "[]")
        assert len(shown) == len(own.tables.routes)
        links = json.loads(host.run("ip", "-n", state.name, "-j", "link").stdout)
        assert {link["ifname"] for link in links} == {link.ifname for link in own.tables.links}
        addresses = json.loads(host.run("ip", "-n", state.name, "-j", "addr").stdout)
        assert sum(len(link["addr_info"]) for link in addresses) == len(own.tables.addresses)


def test_two_samples_in_each(lab: Lab) -> None:
    host = world(lab)
    snapshot = snapshot_of(host, interval=0.1)
    assert all(state.counters.second is not None for state in snapshot.tables.netns)
    assert all(not state.counters.first.softnet for state in snapshot.tables.netns)


def test_what_vanishes_meanwhile_costs_only_itself(lab: Lab) -> None:
    host = world(lab)

    def inside() -> Any:
        source = LiveSource()
        rows = all_netns.reachable(source)
        gone = Namespace(inode=1, path="/run/netns/gone")
        other = Namespace(inode=2, path="/run/netns/c1")  # another namespace has that name by now
        swept = all_netns.swept(source, [gone, other, *rows])
        states = [
            all_netns.completed(source, gone, space, all_netns.held(source, swept.spaces), Options(interval=0))
            for space in swept.spaces[:1]
        ]
        return len(rows), len(swept.spaces), {row.status for row in states[0].coverage}

    rows, spaces, statuses = host.call(inside)
    assert spaces == rows == 3
    assert "absent" in statuses


def test_views_of_another_namespace(lab: Lab) -> None:
    host = world(lab)
    code, out, _ = host.netdiag("show", "taps", "--netns", "vm1", "--json")
    assert code == 0
    assert [row["ifname"] for row in json.loads(out)] == ["tap0"]
    assert host.netdiag("show", "links", "--netns", "vm2")[0] == 64
    code, _, said = host.netdiag("show", "bird", "--netns", "vm1")
    assert code in (3, 64)
    assert said


class Daemons:
    """A host's own interface wg0, and sockets of daemons for wg0, wg1 and wg2."""

    def listdir(self, path: str) -> tuple[str, ...]:
        return ("wg0.sock", "wg1.sock", "wg2.sock", "readme")


def test_a_daemon_is_of_the_one_namespace_with_a_tun_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the host has that name itself, nor where two namespaces have it, nor where it is something else."""

    def answer(source: object, paths: list[tuple[str, str]], by_name: dict[str, Link], _: object) -> list[Any]:
        return [WireguardDevice(ifname=name, ifindex=by_name[name].ifindex) for name, _ in paths]

    def space(inode: int, *names: str, kind: str = "tun") -> Space:
        links = (Link(ifindex=7, ifname=name, kind=kind) for name in names)
        return Space(Swept(inode=inode), links=tuple(links))

    monkeypatch.setattr(all_netns, "read_links", lambda source, stats: ([Link(ifindex=2, ifname="wg0")], None))
    monkeypatch.setattr(all_netns.wireguard, "read_userspace", answer)
    source = cast(Source, Daemons())
    one, other = space(11, "wg1", "wg0"), space(12, "wg2")
    assert {at: row.ifname for at, row in all_netns.served(source, [one, other]).items()} == {11: "wg1", 12: "wg2"}
    assert not all_netns.served(source, [space(11, "wg1"), space(12, "wg1"), space(13, "wg2", kind="veth")])


def test_a_device_alone_in_its_namespace_has_its_socket_elsewhere() -> None:
    """Loopback and what is down carry nothing."""
    device = WireguardDevice(ifname="wg1", ifindex=7)
    own = Link(ifindex=7, ifname="wg1", kind="tun", flags=IFF_UP)
    lo, off = Link(ifindex=1, ifname="lo", flags=IFF_UP | IFF_LOOPBACK), Link(ifindex=8, ifname="eth0")
    source = cast(Source, Daemons())
    for links, elsewhere in (((own, lo, off), True), ((own, Link(ifindex=8, ifname="eth0", flags=IFF_UP)), False)):
        space = Space(Swept(inode=11), links=links)
        (found,) = all_netns.tunnels_of(source, space, device, [])
        assert found.elsewhere is elsewhere
