"""Chains of real rules over hosts made of tables: one root with four under it, where the lab would need minutes.

An edge that speaks BGP through a WireGuard tunnel: the cable, the gateway behind it, the tunnel's peer, the session
through the tunnel, and what the session brought.
"""

from netdiag.engine import judge
from netdiag.model.finding import Finding
from netdiag.model.intent import IntendedPeer, IntendedRoute, IntendedWireguard
from netdiag.model.link import Stats64
from netdiag.model.snapshot import Meta, Snapshot
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder, key
from tests.rules.test_examples import complete_coverage

META = Meta(netdiag="test", name="x", kernel="6.8.0", netns="1", taken_at="2026-01-01T00:00:00Z", uptime=1e5)
EXPIRED = "BGP Error: Hold timer expired"


class Edge(BirdHost, WireguardBuilder):
    """A host with both daemons."""


def edge(*, carrier: bool = True, gateway: str = "reachable", age: float = 20.0, error: str = "") -> Edge:
    """eth0 --- gateway --- Internet --- mate, and wg0 to the mate, through which the session goes."""
    host, flags = Edge(), {} if carrier else {"flags": 16}  # RTNH_F_LINKDOWN
    host.link("eth0", carrier=carrier).address("eth0", "192.0.2.10/24")
    host.route("default", via="192.0.2.1", dev="eth0", **flags)
    host.neighbour("192.0.2.1", dev="eth0", state=gateway)
    host.wireguard("wg0").address("wg0", "10.64.0.10/24")
    host.wg_peer(
        "wg0",
        "m",
        endpoint="198.51.100.11",
        allowed_ips=("10.64.0.11/32", "10.80.0.0/16"),
        age=age,
        persistent_keepalive=25,
        tx_bytes=9_000,
        rx_bytes=9_000,
    )
    host.protocol("kernel4", "Kernel")
    if error:
        host.bgp_down("mesh", error, neighbor_address="10.64.0.11")
    else:
        host.bgp("mesh", neighbor_address="10.64.0.11").route("10.80.0.0/16", via="10.64.0.11", dev="wg0", protocol=12)
    return host


def chain(host: Edge) -> list[str]:
    """The rules of the alarms, each followed by what it explains, with ``>`` for each step down."""
    report = judge(Snapshot(meta=META, tables=host.build(), coverage=complete_coverage()))
    alarms = {found.id: found for found in report.findings if found.severity != "info"}

    def depth(found: Finding) -> int:
        return 0 if found.explained_by is None else 1 + depth(alarms[found.explained_by])

    return [f"{'>' * depth(found)}{found.rule}" for found in alarms.values()]


def test_the_edge_is_well() -> None:
    assert chain(edge()) == []


def test_a_cable_takes_gateway_tunnel_and_session_along() -> None:
    assert chain(edge(carrier=False, gateway="failed", age=900.0, error=EXPIRED)) == [
        "route-linkdown-nexthop-used",
        ">neigh-gateway-failed",
        ">>wg-handshake-stale",
        ">>>bgp-hold-timer-expired",
        ">>>>bgp-not-established",
    ]


def test_a_gateway_takes_tunnel_and_session_along() -> None:
    assert chain(edge(gateway="failed", age=900.0, error=EXPIRED)) == [
        "neigh-gateway-failed",
        ">wg-handshake-stale",
        ">>bgp-hold-timer-expired",
        ">>>bgp-not-established",
    ]


def test_a_peer_takes_the_session_along_before_the_routes_are_missed() -> None:
    assert chain(edge(age=900.0, error=EXPIRED)) == [
        "wg-handshake-stale",
        ">bgp-hold-timer-expired",
        ">>bgp-not-established",
    ]


def test_a_peer_that_is_missing_takes_its_session_along_and_no_other_peer() -> None:
    below = [">wg-route-without-allowedips", ">>bgp-not-established"]
    for other, beside in ((True, ["wg-endpoint-unroutable"]), (False, [])):
        host = Edge().link("eth0").address("eth0", "192.0.2.10/24").route("default", via="192.0.2.1", dev="eth0")
        host.wireguard("wg0").address("wg0", "10.64.0.10/24")
        if other:  # its endpoint is this host itself: that has nothing to do with the one that is missing
            host.wg_peer("wg0", "o", endpoint="192.0.2.10", allowed_ips=("10.64.0.12/32",), persistent_keepalive=25)
        host.bgp_down("mesh", "", bgp_state="Connect", neighbor_address="10.64.0.11")
        meant = [IntendedPeer(public_key=key("m"), allowed_ips=("10.64.0.0/28",))]
        meant += [IntendedPeer(public_key=key("o"), allowed_ips=("10.64.0.12/32",))] if other else []
        host.intend(wireguard=(IntendedWireguard(ifname="wg0", peer=tuple(meant)),))
        assert sorted(chain(host)) == sorted(["wg-desired-vs-kernel-drift", *below, *beside])


def test_a_session_that_is_refused_is_a_cause_of_its_own() -> None:
    assert chain(edge(error="Received: Bad peer AS"))[0] == "bgp-bad-as"


def test_two_tunnels_in_a_circle_are_one_cause() -> None:
    host = Edge().link("eth0").address("eth0", "192.0.2.10/24").wireguard("wg0").wireguard("wg1")
    host.wg_peer("wg0", "a", endpoint="198.51.100.9", allowed_ips=("203.0.113.0/24",), age=20)
    host.wg_peer("wg1", "b", endpoint="203.0.113.9", allowed_ips=("198.51.100.0/24",), age=20)
    host.route("198.51.100.0/24", dev="wg1").route("203.0.113.0/24", dev="wg0")
    assert chain(host)[:2] == ["wg-endpoint-via-own-tunnel", ">wg-endpoint-via-own-tunnel"]


def test_a_daemon_that_hangs_takes_its_sockets_along() -> None:
    host = Edge().link("eth0").address("eth0", "192.0.2.10/24")
    host.control_socket(hangs=True, detail="bird: no whole answer before the deadline")
    held = {"rqueue": 10, "later": 1, "later_rqueue": 10, "received": 100, "later_received": 100}
    about = {"src": "192.0.2.10", "sport": 179, "dst": "192.0.2.1", "dport": 5000, "state": 1, "comm": "bird"}
    host.socket(**about, **held, process="T", later_last_data_recv=9, snd_wnd=1000)
    host.counters(before={}, after={})
    assert chain(host) == ["bgp-daemon-dead", ">tcp-rcvq-stuck"]


def test_a_rule_that_hides_main_takes_the_endpoint_along() -> None:
    host = edge().sysctl("net.ipv4.ip_forward", 1).tap("tap0", inet_conf={"forwarding": 1})
    host.route("10.1.0.2/32", dev="tap0").route("default", dev="wg0", table=51).rule(100, table=51)
    found = chain(host)
    assert found[0] == "rule-shadowed"
    assert ">wg-endpoint-via-own-tunnel" in found


def two_cards() -> Edge:
    """eth0 with the default route, eth1 with a gateway of its own."""
    host = Edge()
    host.link("eth0").address("eth0", "192.0.2.10/24").route("default", via="192.0.2.1", dev="eth0")
    host.link("eth1", inet_conf={"rp_filter": 1}).address("eth1", "10.20.0.10/24")
    return host


def dropped(host: Edge, count: int) -> Edge:
    """The reverse path filter dropped so many packets while as many came in by eth1."""
    counter, link = "TcpExt.IPReversePathFilter", host.link_counters
    before = {"snmp": {counter: 1}, "links": tuple(link(name, stats=Stats64()) for name in ("eth0", "eth1"))}
    moved = Stats64(rx_packets=count)
    after = {"snmp": {counter: 1 + count}, "links": (link("eth0", stats=Stats64()), link("eth1", stats=moved))}
    host.counters(before=before, after=after)
    return host


def test_a_rule_with_the_wrong_number_stands_above_the_table_that_it_was_meant_for() -> None:
    host = two_cards()
    host.route("default", via="10.20.0.1", dev="eth1", table=100).rule(100, iif="eth1", table=1000)
    wrong = ["rule-references-empty-table", ">table-without-rule", ">>asym-rpfilter-strict-drop"]
    assert chain(host) == wrong
    host.rule(101, iif="eth0", table=1001)
    assert "table-without-rule" in chain(host), "which of the two was meant for it cannot be said"


def test_an_mtu_that_takes_ipv6_away_stands_above_the_table_that_it_emptied() -> None:
    host = Edge().link("eth0").address("eth0", "192.0.2.10/24").address("eth0", "2001:db8::10/64")
    host.route("default", via="2001:db8::1", dev="eth0")
    host.link("eth1", mtu=1200, inet6_conf={}).address("eth1", "10.20.0.10/24")
    host.route("default", via="192.0.2.1", dev="eth0")
    host.route("default", via="10.20.0.1", dev="eth1", priority=200)
    host.route("default", via="10.20.0.1", dev="eth1", table=120)
    for family in ("inet", "inet6"):
        host.rule(900, table=120, fwmark=0x20, family=family)
    assert chain(host) == ["mtu-too-low-disables-ipv6", ">rule-references-empty-table"]


def test_a_route_that_lost_stands_above_the_filter_that_drops_what_it_brings() -> None:
    host = two_cards()
    host.route("198.51.100.0/24", via="10.20.0.1", dev="eth1", priority=32, protocol=12)
    host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0")
    found = chain(dropped(host, 5))
    assert found.index(">asym-rpfilter-strict-drop") == found.index("bird-route-metric-loses-to-static") + 2


def test_a_route_that_was_moved_into_a_tunnel_stands_above_the_filter() -> None:
    host = two_cards()
    host.wireguard("wg0").address("wg0", "10.99.0.1/24").wg_peer("wg0", "m", age=20.0, allowed_ips=("10.99.0.2/32",))
    host.route("198.51.100.2/32", dev="wg0")
    assert chain(dropped(host, 5)) == ["wg-route-without-allowedips", ">asym-rpfilter-strict-drop"]


def test_a_machine_that_is_gone_stands_above_its_tap() -> None:
    host = Edge().link("eth0").tap("tap0", holder=None, carrier_up_count=1).route("10.1.0.5/32", dev="tap0")
    assert chain(host) == ["tap-orphan-dead-vm", ">tap-no-owner-fd"]


def test_a_machine_that_never_came_takes_the_gateway_along_that_it_is() -> None:
    host = Edge().link("eth0").tap("tap0", holder=None, carrier_up_count=0).address("tap0", "172.16.0.1/24")
    host.route("10.77.0.0/24", via="172.16.0.2", dev="tap0").neighbour("172.16.0.2", dev="tap0", state="failed")
    assert chain(host) == ["tap-no-owner-fd", ">neigh-gateway-failed"]


def test_a_table_that_nobody_asks_takes_the_tunnel_along() -> None:
    host = edge().address("eth0", "2001:db8::10/64").without_rule(32766)
    found = chain(host)
    assert found[0] == "rule-main-missing"
    assert "wg-allowedips-without-route" not in found


def test_a_route_that_is_meant_to_be_there_stands_above_the_tunnel_that_misses_it() -> None:
    for prefix, dst in (("10.90.0.0/16", "10.90.0.0/16"), ("10.90.7.0/24", "10.90.0.0/16")):
        host = edge()
        host.wireguard("wg1").address("wg1", "10.65.0.1/24")
        host.wg_peer("wg1", "n", allowed_ips=("10.65.0.2/32", prefix), age=20.0, tx_bytes=9_000, rx_bytes=9_000)
        host.intend(route=(IntendedRoute(family="inet", dst=dst, dev="wg1"),))
        assert chain(host) == ["route-expected-missing", ">wg-allowedips-without-route"]


def test_a_default_route_that_is_meant_stands_above_the_nameserver_behind_it() -> None:
    host = Edge().link("eth0").address("eth0", "192.0.2.10/24").address("eth0", "2001:db8::10/64")
    host.route("default", via="2001:db8::1", dev="eth0").resolver("198.51.100.53")
    assert chain(host) == ["dns-nameserver-unroutable"]
    host.intend(route=(IntendedRoute(family="inet", dst="0.0.0.0/0"),))
    assert chain(host) == ["route-default-missing", ">route-expected-missing", ">>dns-nameserver-unroutable"]


def test_two_cards_of_one_segment_and_subnet_have_one_fault() -> None:
    host = Edge()
    for number, name in enumerate(("eth0", "eth1"), 1):
        host.link(name).address(name, f"10.1.0.{number}/24").neighbour("10.1.0.9", dev=name)
    assert chain(host) == ["arp-flux", ">overlap-subnet-two-ifaces"]
    apart = Edge()
    for number, name in enumerate(("eth0", "eth1"), 1):
        apart.link(name).address(name, f"10.1.0.{number}/24")
    assert chain(apart) == ["overlap-subnet-two-ifaces", ">arp-flux"], "that they are one segment is a guess"


def test_a_length_that_misses_the_gateway_stands_above_the_routes_by_it() -> None:
    for own, gateway in (("192.0.2.10/29", "192.0.2.1"), ("2001:db8::10/128", "2001:db8::1")):
        host = Edge()
        host.link("eth0").address("eth0", own).route("default", via=gateway, dev="eth0")
        assert chain(host) == ["addr-wrong-prefixlen", ">route-onlink-missing-gateway"]


def test_a_length_that_took_the_routes_along_stands_above_the_table_that_is_empty() -> None:
    host = Edge()
    host.link("eth0").address("eth0", "192.0.2.10/24").route("default", via="192.0.2.1", dev="eth0")
    host.link("eth1").address("eth1", "10.30.0.10/32").neighbour("10.30.0.1", dev="eth1")
    host.rule(100, src="10.30.0.10", src_len=32, table=300)
    assert chain(host) == ["addr-wrong-prefixlen", ">rule-references-empty-table"]


def test_the_default_route_of_all_stands_above_that_of_some() -> None:
    host = Edge()
    host.link("eth0").address("eth0", "192.0.2.10/24").rule(100, src="192.0.2.10", src_len=32, table=300)
    host.intend(route=tuple(IntendedRoute(family="inet", dst="0.0.0.0/0", table=table) for table in (254, 300)))
    found = chain(host)
    assert found[0] == "route-default-missing"
    assert found.count(">route-expected-missing") == len(host.build().intent.route or ()) == len(found) - 2
    host.route("default", via="192.0.2.1", dev="eth0")
    assert chain(host)[0] == "route-expected-missing"
