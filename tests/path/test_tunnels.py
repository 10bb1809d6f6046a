"""Tunnels, and what was once foretold wrongly, on small hosts."""

from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from tests.path.test_walk import asked, uplink


def tunnel(endpoint: str | None = "198.51.100.9", *, underlay: int = 1500, **fields: Any) -> WireguardBuilder:
    """wg0 with one peer for 10.9.0.0/24, over eth0."""
    host = WireguardBuilder()
    host.link("eth0", mtu=underlay).address("eth0", "192.0.2.2/24").neighbour("192.0.2.1", dev="eth0")
    host.route("default", via="192.0.2.1", dev="eth0")
    host.wireguard("wg0", **fields).address("wg0", "10.9.0.1/24")
    return host.wg_peer("wg0", "b", endpoint=endpoint, age=5, allowed_ips=("10.9.0.0/24", "10.9.0.7/32"))


def test_wireguard_carries_to_the_peer_and_its_underlay_binds() -> None:
    report = asked(tunnel(underlay=1400), "10.9.0.2")
    assert (report.verdict, report.dev, report.mtu) == ("sent", "wg0", 1340)
    assert report.mtu_reason == "under wg0: eth0 has mtu 1400"
    assert asked(tunnel(), "10.9.0.2").mtu == 1420
    outer = [step for step in report.steps if step.depth == 1]
    assert outer[-1].object == "eth0"
    cut = asked(tunnel(underlay=1400), "10.9.0.2", size=1400)
    assert cut.verdict == "sent"
    assert [step.decision for step in cut.steps if step.decision.startswith("fragmented")] == ["fragmented into 2"]


def test_wireguard_refuses_what_no_peer_may_have() -> None:
    host = tunnel().route("10.10.0.0/24", dev="wg0")
    assert asked(host, "10.10.0.1").verdict == "refused"
    assert asked(tunnel(userspace=True).route("10.10.0.0/24", dev="wg0"), "10.10.0.1").verdict == "dropped"
    assert "does not know the endpoint" in asked(tunnel(None), "10.9.0.2").reason
    assert asked(tunnel(), "192.0.2.2", iif="wg0", src="10.10.0.1").verdict == "dropped"


def test_an_endpoint_behind_its_own_tunnel_is_a_loop() -> None:
    report = asked(tunnel("10.9.0.7"), "10.9.0.2")
    assert report.verdict == "dropped"
    assert "loop: what wg0 sends leads into wg0 again" in report.reason


def test_the_underlay_has_rules_of_its_own() -> None:
    host = tunnel(fwmark=51820).rule(10, fwmark=51820, fwmask=0xFFFFFFFF, action="unreachable")
    report = asked(host, "10.9.0.2")
    assert report.verdict == "dropped"
    assert report.reason == "under wg0: rule 10: from all fwmark 0xca6c unreachable"


def vxlan(**info: Any) -> HostBuilder:
    host = uplink().link("vx0", kind="vxlan", info={"id": 42, "port": 4789, "local": "192.0.2.2"} | info)
    return host.address("vx0", "10.11.0.1/24").neighbour("10.11.0.2", dev="vx0")


def test_a_vxlan_asks_for_its_way_with_the_mark_of_the_inner_packet() -> None:
    host = vxlan(remote="198.51.100.9").rule(
        10, fwmark=7, fwmask=0xFFFFFFFF, action="blackhole", dst="198.51.100.0", dst_len=24
    )
    assert asked(host, "10.11.0.2").verdict == "sent"
    assert asked(host, "10.11.0.2").mtu == 1450
    assert asked(host, "10.11.0.2", mark=7).verdict == "dropped"


def test_a_vxlan_without_a_far_end_drops() -> None:
    assert asked(vxlan(), "10.11.0.2").verdict == "dropped"


def two_ways() -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1")
    for family, one, two in (("inet", "192.0.2", "198.51.100"), ("inet6", "2001:db8:1", "2001:db8:2")):
        sep = "." if family == "inet" else "::"
        length = 24 if family == "inet" else 64
        for device, net in (("eth0", one), ("eth1", two)):
            host.address(device, f"{net}{sep}2/{length}").neighbour(f"{net}{sep}1", dev=device)
    return host


def test_ipv6_asks_again_with_a_source_after_an_error() -> None:
    """ip6_dst_lookup_tail(): the rule that refuses packets without that source is passed on the second try."""
    host = two_ways().route("default", via="2001:db8:1::1", dev="eth0")
    host.rule(10, family="inet6", src="2001:db8:1::2", src_len=128, invert=True, action="blackhole")
    report = asked(host, "2001:db8:f::1")
    assert (report.verdict, report.src) == ("sent", "2001:db8:1::2")


def test_a_tcp_socket_asks_again_with_the_source_that_it_got() -> None:
    """ip_route_connect(): a rule by source holds for it although none was given; for a datagram it does not."""
    host = two_ways().route("default", via="192.0.2.1", dev="eth0")
    host.route("default", via="198.51.100.1", dev="eth1", table=100).rule(10, src="192.0.2.2", src_len=32, table=100)
    assert asked(host, "203.0.113.1", ip_proto=17).dev == "eth0"
    report = asked(host, "203.0.113.1", ip_proto=6)
    assert (report.dev, report.src) == ("eth1", "192.0.2.2")


def test_siblings_of_a_multipath_route_are_all_possible() -> None:
    host = two_ways()
    host.route("default", hops=[host.hop("eth0", "192.0.2.1"), host.hop("eth1", "198.51.100.1")])
    report = asked(host, "203.0.113.1")
    assert (report.verdict, report.dev, [way.dev for way in report.possible]) == ("sent", None, ["eth0", "eth1"])
    host.neighbour("198.51.100.1", dev="eth1", state="failed")
    assert asked(host, "203.0.113.1").verdict == "unknown"
