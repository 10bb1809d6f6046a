"""Examples of rule-main-missing: what other tables, and rules for some packets alone, make of a main table without its
rule."""

from collections.abc import Iterator
from typing import Any

from netdiag.model.finding import subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example

PRIORITY = 32766


def _host(built: Any = None) -> Any:
    host = (built or HostBuilder()).link("eth0").link("eth1").address("eth0", "10.0.0.1/24")
    host.address("eth0", "2001:db8::1/64").route("default", via="10.0.0.2", dev="eth0")
    return host.route("default", via="2001:db8::2", dev="eth0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def for_some() -> Iterator[Example]:
    """Of the rules for main only those for some packets are left."""
    left: tuple[tuple[str, dict[str, Any]], ...] = (
        ("a mark (Tailscale)", {"fwmark": 0x80000, "fwmask": 0xFF0000}),
        ("one owner", {"uid_start": 1000, "uid_end": 1000}),
        ("one destination", {"dst": "10.0.0.0", "dst_len": 8}),
        ("one port", {"ip_proto": 17, "dport_start": 53, "dport_end": 53}),
    )

    def host(built: Any = None, family: str = "inet", **selector: Any) -> Any:
        made = _host(built).without_rule(PRIORITY, family=family)
        return made.rule(5210, table=254, family=family, **(selector or left[0][1]))

    def session(**fields: Any) -> BirdHost:
        return BirdHost().bgp("up1", **({"neighbor_address": "203.0.113.9"} | fields))

    loud: dict[str, Any] = {"fires": 1, "severity": "critical"}
    for name, selector in left:
        made = host(session(), **selector)
        words = ("takes none to 203.0.113.9, the neighbour of BGP session up1",)
        yield Example(
            name=f"main for {name}, and a session", why="it has no route", tables=made.build(), **loud, says=words
        )
        yield _case(f"main for {name} alone", "a design: nobody is known to lack a route", host(**selector))
    six = host(session(neighbor_address="2001:db8:9::9"), family="inet6")
    about = subject("rule", priority=PRIORITY, family="inet6")
    yield Example(name="main for a mark, IPv6 session", why="likewise", tables=six.build(), **loud, subject=about)
    other = host(session(neighbor_address="2001:db8:9::9"))
    yield _case("main for a mark, session of the other family", "that one has its rule", other)
    near = host(session(), dst="203.0.113.0", dst_len=24)
    yield _case("main for the session's network", "it has its route", near)
    wired = WireguardBuilder().wireguard("wg0", fwmark=0x80000)
    wired.wg_peer("wg0", "a", age=30, endpoint="203.0.113.9")
    yield _case("main for the mark of WireGuard", "its packets take it", host(wired))
    plain = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=30, endpoint="203.0.113.9")
    yield _case("main for a mark, WireGuard without it", "its packets have no route", host(plain), 1)
    idle = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=9000, endpoint="203.0.113.9")
    yield _case("main for a mark, WireGuard at rest", "nobody uses it", host(idle))
    call: dict[str, Any] = {"src": "10.0.0.1", "sport": 40000, "dst": "203.0.113.9", "dport": 443, "state": 1}
    yield _case("main for a mark, a connection", "it was there before", host().socket(**call), 1)
    yield _case("main for a mark, a marked connection", "it has its route", host().socket(mark=0x80000, **call))
    yield _case(
        "main for a mark, a neighbour", "its answers may have the mark", host().neighbour("10.0.0.9", dev="eth0")
    )
    shut = host(session()).rule(5250, action="unreachable")
    yield _case("main for a mark, the rest refused", "somebody refuses it", shut)
    spare = host(session()).rule(5250, table=50).route("default", via="10.0.0.9", dev="eth0", table=50)
    yield _case("main for a mark, another table for the rest", "it has a route", spare)
    bare = BirdHost().bgp("up1", neighbor_address="203.0.113.9").link("eth0").address("eth0", "10.0.0.1/24")
    bare.without_rule(PRIORITY).rule(5210, table=254, fwmark=1)
    yield _case("main for a mark, without a default route", "main would not carry it", bare)


def replaced() -> Iterator[Example]:
    """Other tables answer in place of main."""
    whole = _host().without_rule(32766).rule(100, table=50)
    whole.route("default", via="10.0.0.2", dev="eth0", table=50).route("10.0.0.0/24", dev="eth0", table=50)
    yield _case("a custom table that holds everything", "main is replaced route for route", whole)
    inner = HostBuilder().link("eth0").address("eth0", "198.51.100.9/24").without_rule(32766).rule(100, table=50)
    inner.route("default", via="198.51.100.1", dev="eth0").route("default", via="198.51.100.1", dev="eth0", table=50)
    yield _case(
        "a custom table on a public subnet",
        "addresses on the link are none of the default route's",
        inner.route("198.51.100.0/24", dev="eth0", table=50),
    )
    other = _host().address("eth1", "10.1.0.1/24").without_rule(32766).rule(100, table=50)
    other.route("default", via="10.1.0.2", dev="eth1", table=50).route("10.0.0.0/24", dev="eth0", table=50)
    yield Example(
        name="a custom table with another way out",
        why="it may be meant; nothing is lost, so it is worth knowing only",
        tables=other.route("10.1.0.0/24", dev="eth1", table=50).build(),
        fires=1,
        severity="info",
    )
    gateway = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").without_rule(32766).rule(100, table=50)
    yield Example(
        name="a link's subnet by way of its gateway",
        why="a detour, but over the same link",
        tables=gateway.route("default", via="10.0.0.2", dev="eth0", table=50).build(),
        fires=1,
        severity="info",
    )
    for name, dst, via in (("gateway", "10.9.0.0/16", "10.1.0.2"), ("device", "default", None)):
        detour = HostBuilder().link("eth0").link("eth1").without_rule(32766).rule(100, table=50)
        detour.route(dst, via=via, dev="eth1", family="inet")
        yield Example(
            name=f"another way than main's {name}",
            why="no subnet of an own link is led astray",
            tables=detour.route("default", via="10.0.0.2", dev="eth0", table=50).build(),
            fires=1,
            severity="info",
        )
    astray = _host().address("eth1", "10.1.0.1/24").without_rule(32766).rule(100, table=50)
    yield Example(
        name="a custom table that has forgotten a link",
        why="10.1.0.0/24 is on eth1, and its packets now leave by eth0",
        tables=astray.route("default", via="10.0.0.2", dev="eth0", table=50).build(),
        fires=1,
        subject=subject("rule", priority=PRIORITY, family="inet"),
        severity="warning",
        confidence="likely",
    )
    refused = _host().without_rule(32766).rule(32765, action="unreachable")
    yield _case("a refusal instead of main", "a rule that refuses was put there by somebody", refused)
    vrf = HostBuilder().link("eth0").link("blue", kind="vrf", info={"table": 10}).address("eth0", "10.0.0.1/24")
    vrf.rule(1000, l3mdev=True).without_rule(32766)
    yield _case("VRF design", "what main still has are connected routes", vrf)
    routed = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").rule(1000, l3mdev=True).without_rule(32766)
    yield _case(
        "VRF design with a gateway in main",
        "somebody routes by it",
        routed.route("10.9.0.0/16", via="10.0.0.2", dev="eth0"),
        1,
    )
    point = HostBuilder().link("ppp0").rule(1000, l3mdev=True).without_rule(32766)
    yield _case(
        "VRF design with a default route over a device",
        "it needs no gateway",
        point.route("default", dev="ppp0", family="inet"),
        1,
    )
    managed = vrf.route("default", via="10.0.0.2", dev="eth0")
    yield _case("VRF design with a default route in main", "the interface outside the VRFs is cut off", managed, 1)
