"""Packets from host to host over made hosts: through WireGuard, over links, to taps, and what stops them."""

from __future__ import annotations

from typing import Any

import pytest

from netdiag.fleet.load import Fleet, FleetRefused
from netdiag.fleet.way import fleet_path
from netdiag.index.fleet import FleetView
from netdiag.model.fleetpath import FleetPathReport
from netdiag.model.snapshot import Tables
from netdiag.model.walk import PathPacket
from netdiag.path.fleetwalk import FleetWays
from netdiag.path.trail import Packet
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fleet import builder, finished, inner, mesh, peered
from tests.rules.test_fleet_examples import view_of


def walked(hosts: dict[str, Tables], start: str, to: str, **fields: Any) -> FleetPathReport:
    said = PathPacket(family="inet6" if ":" in to else "inet", dst=to, **fields)
    return fleet_path(Fleet(view_of(hosts).hosts, ()), start, said)


def test_through_wireguard_and_back() -> None:
    report = walked(mesh("abc"), "fra-a", inner("b"))
    assert report.verdict == "delivered" and report.where == "fra-b" and report.symmetric
    assert [(hop.host, hop.iif, hop.dev) for hop in report.hops] == [("fra-a", None, "wg0"), ("fra-b", "wg0", None)]
    assert "wg0 of fra-b" in report.hops[0].onward and report.mtu == 1420
    assert report.answer is not None and report.answer.verdict == "delivered" and report.answer.where == "fra-a"


def test_the_narrower_end_limits() -> None:
    hosts = mesh("ab") | {"fra-b": finished("b", peered(builder("b", mtu=1300), "a"))}
    report = walked(hosts, "fra-a", inner("b"))
    assert report.answer is not None and report.answer.mtu == 1300 and "fra-b" in str(report.answer.mtu_reason)


@pytest.mark.parametrize(
    ("far", "reason"),
    [
        (lambda: finished("b", builder("b")), "no peer with the key"),
        (lambda: finished("b", peered(builder("b"), "a"), port=5000), "listens on port 5000"),
        (
            lambda: finished("b", peered(builder("b"), "a", allowed_ips=("10.64.0.99/32",))),
            "no peer of wg0 has 10.64.0.1",
        ),
        (
            lambda: finished(
                "b",
                peered(peered(builder("b"), "a", allowed_ips=("10.64.0.99/32",)), "c", allowed_ips=("10.64.0.1/32",)),
            ),
            "from another peer only",
        ),
    ],
)
def test_what_the_far_end_does_not_take(far: Any, reason: str) -> None:
    report = walked(mesh("abc") | {"fra-b": far()}, "fra-a", inner("b"))
    assert report.verdict == "dropped" and reason in report.reason and report.answer is None


def test_a_peer_that_does_not_answer() -> None:
    hosts = mesh("ab", age=900.0, persistent_keepalive=25)
    report = walked(hosts, "fra-a", inner("b"))
    assert report.verdict == "dropped" and "does not answer the handshakes" in report.reason


def test_a_peer_that_was_not_collected() -> None:
    hosts = mesh("ab")
    del hosts["fra-b"]
    report = walked(hosts, "fra-a", inner("b"))
    assert report.verdict == "sent" and "no collected host" in report.reason


def router(*, forwards: int = 1, rp: int = 0, loops: bool = False) -> dict[str, Tables]:
    """a -- r -- b, each link a network of its own; r sends 10.9.0.0/16 to b, which may forward it to r again."""
    a = HostBuilder().link("eth0", address="02:00:00:00:00:0a").address("eth0", "10.0.1.2/24")
    a.neighbour("10.0.1.1", dev="eth0", lladdr="02:00:00:00:00:01").route("default", via="10.0.1.1", dev="eth0")
    r = HostBuilder()
    for number, name in ((1, "0a"), (2, "0b")):
        r.link(f"eth{number}", address=f"02:00:00:00:00:0{number}", inet_conf={"forwarding": forwards, "rp_filter": rp})
        r.address(f"eth{number}", f"10.0.{number}.1/24")
        r.neighbour(f"10.0.{number}.2", dev=f"eth{number}", lladdr=f"02:00:00:00:00:{name}")
    r.route("10.9.0.0/16", via="10.0.2.2", dev="eth2")
    b = HostBuilder().link("eth0", address="02:00:00:00:00:0b", inet_conf={"forwarding": int(loops)})
    b.address("eth0", "10.0.2.2/24")
    b.neighbour("10.0.2.1", dev="eth0", lladdr="02:00:00:00:00:02").route("default", via="10.0.2.1", dev="eth0")
    b.link("tap0", kind="tun", inet_conf={"forwarding": 1}).route("10.7.0.9/32", dev="tap0")
    return {"a": a.build(), "r": r.build(), "b": b.build()}


def test_over_links_with_the_router_between() -> None:
    report = walked(router(), "a", "10.0.2.2")
    assert report.verdict == "delivered" and [hop.host for hop in report.hops] == ["a", "r", "b"] and report.symmetric
    report = walked(router(forwards=0), "a", "10.0.2.2")
    assert report.verdict == "dropped" and report.where == "r" and "does not forward" in report.reason


def test_from_a_guest_behind_a_tap() -> None:
    report = walked(router(), "10.7.0.9", "10.0.1.2", src="10.7.0.9")
    assert report.start == "b" and report.hops[0].iif == "tap0"
    with pytest.raises(FleetRefused, match="no host of the fleet"):
        walked(router(), "192.0.2.250", "10.0.1.2")


def test_a_loop_ends() -> None:
    report = walked(router(loops=True), "a", "10.9.0.1")
    assert report.verdict == "dropped" and "routing loop" in report.reason, report.reason
    assert [hop.host for hop in report.hops] == ["a", "r", "b", "r"]


def test_the_answer_is_unknown_to_a_router_that_did_not_see_the_packet() -> None:
    ways = FleetWays(FleetView(hosts=view_of(router()).hosts))
    there = ways.go("a", Packet(family="inet", dst="10.0.2.2", ip_proto=6, sport=40000, dport=22))
    assert set(there.passed) == {"a", "r", "b"}
    back = ways.back(there)
    assert back is not None and back.verdict == "delivered"
