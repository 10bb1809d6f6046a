"""Examples of hosts that refuse what a WireGuard peer carries, by a rule and by a route, or guests where they come in.

Nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example


def _peer(allowed: str, age: float, **route: Any) -> WireguardBuilder:
    """A tunnel with a route for the prefix of its one peer, which shook hands so many seconds ago."""
    host = WireguardBuilder().wireguard("wg0")
    host.link("eth0").address("eth0", "192.0.2.2/24")
    host.wg_peer("wg0", "a", age=age, endpoint="192.0.2.9", allowed_ips=(allowed,))
    host.route(allowed, **({"dev": "wg0"} | route)).route("default", via="192.0.2.1", dev="eth0")
    return host


def refused_by_rule() -> Iterator[Example]:
    """For rule-terminal-unreachable."""
    mesh: dict[str, Any] = {"dst": "10.80.12.0", "dst_len": 24}
    cases: tuple[tuple[str, Any, float, dict[str, Any]], ...] = (
        ("it names the peer's prefix", "critical", 20, mesh),
        ("it names half of it", "critical", 20, mesh | {"dst_len": 25}),
        ("the peer is dead", "info", 900, mesh),
        ("it names one address", "info", 20, mesh | {"dst": "10.80.12.1", "dst_len": 32}),
        ("it names more than the tunnel has", "info", 20, mesh | {"dst": "10.80.0.0", "dst_len": 16}),
        ("it is for one source", "info", 20, mesh | {"src": "10.9.0.9", "src_len": 32}),
    )
    for why, severity, age, rule in cases:
        tables = _peer("10.80.12.0/24", age).rule(40, action="unreachable", **rule).build()
        yield Example(name=f"a peer's prefix: {why}", why=why, tables=tables, fires=1, severity=severity)
    yield from _refused_by_other_lengths()
    yield from _refused_beside()


def _refused_by_other_lengths() -> Iterator[Example]:
    """The widest prefixes that count as a peer's own, and the narrowest rules that are no ban of one address."""
    cases: tuple[tuple[str, str, int, Any], ...] = (
        ("10.80.0.0/16", "10.80.0.0", 16, "critical"),
        ("10.80.0.0/15", "10.80.0.0", 15, "info"),
        ("10.80.12.0/24", "10.80.12.0", 31, "critical"),
        ("2001:db8::/32", "2001:db8::", 32, "critical"),
        ("2001:db8::/31", "2001:db8::", 31, "info"),
        ("2001:db8:8::/48", "2001:db8:8::", 127, "critical"),
        ("2001:db8:8::/48", "2001:db8:8::1", 128, "info"),
    )
    for allowed, dst, length, severity in cases:
        family = "inet6" if ":" in dst else "inet"
        tables = _peer(allowed, 20).rule(40, action="unreachable", dst=dst, dst_len=length, family=family).build()
        name = f"of {allowed} {dst}/{length} is refused"
        yield Example(name=name, why="is it the peer's own?", tables=tables, fires=1, severity=severity)


def _refused_beside() -> Iterator[Example]:
    """Rules that are not for the peer's prefix alone, and prefixes that the tunnel does not get."""
    mesh: dict[str, Any] = {"dst": "10.80.12.0", "dst_len": 24}
    led = _peer("10.80.12.0/24", 20, dev="eth0", via="192.0.2.1")
    half = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=20, allowed_ips=("10.80.12.0/24",))
    half.route("default", dev="wg0", family="inet")
    whole = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=20, allowed_ips=("10.80.12.0/24",))
    whole.route("default", dev="wg0", family="inet").link("eth0").address("eth0", "192.0.2.1/24")
    whole.rule(30, table=254, dst="192.0.2.0", dst_len=24)
    spared = _peer("10.80.12.0/24", 20).rule(30, table=254, dst="192.0.2.0", dst_len=24)
    gone = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=20, allowed_ips=("10.80.12.0/24",))
    gone.link("eth0").address("eth0", "192.0.2.1/24").link("eth1").address("eth1", "198.51.100.1/24")
    both = [gone.hop("eth0", "192.0.2.9"), gone.hop("eth1", "198.51.100.9")]
    gone.elsewhere("wg0").route("10.80.12.0/24", hops=both)
    for why, severity, host, rule in (
        ("its device is in another namespace, main has two ways", "info", gone, mesh),
        ("main sends it elsewhere", "info", led, mesh),
        ("it is for what this host itself sends", "info", _peer("10.80.12.0/24", 20), mesh | {"iif": "lo"}),
        ("half of all, and the tunnel has the default route", "critical", half, {"dst": "0.0.0.0", "dst_len": 1}),
        ("all but the LAN, a kill switch", None, whole, {}),
        ("all but the LAN and another net", None, spared, mesh | {"dst": "10.99.0.0", "invert": True}),
        ("the peer was there 300 s ago", "info", _peer("10.80.12.0/24", 300), mesh),
    ):
        tables = host.rule(40, action="unreachable", **rule).build()
        told: dict[str, Any] = {"fires": 1, "severity": severity} if severity else {}
        yield Example(name=f"beside a peer's prefix: {why}", why=why, tables=tables, **told)


def refused_where_it_comes_in() -> Iterator[Example]:
    """For rule-terminal-unreachable: a network of guests with a table of its own."""
    at_door: dict[str, Any] = {"iif": "veth0"}
    own: dict[str, Any] = {"src": "10.66.0.0", "src_len": 16}
    cases: tuple[tuple[str, str, dict[str, Any], dict[str, Any], Any], ...] = (
        ("plain", "nobody else is of that network", at_door, {}, "warning"),
        ("and from it", "the same", at_door | own, {}, "warning"),
        ("from another", "it is spared", at_door | own | {"src": "10.67.0.0"}, {}, "info"),
        ("where others come in", "the network is elsewhere", {"iif": "eth1"}, {}, "info"),
        ("a network that is not here", "its door is not known", at_door, {"src": "10.99.0.0"}, "info"),
        ("no table for it", "the lookup would find nothing", at_door, {"table": 61}, "info"),
        ("a part of it", "one of several is shut out on purpose", at_door, {"door": "veth1"}, "info"),
    )
    for name, why, rule, more, severity in cases:
        host = HostBuilder().link("eth1").link("veth0").link("veth1").address("veth0", "10.66.1.1/24")
        host.address("eth1", "10.1.0.1/24").route("default", via="10.1.0.2", dev="eth1", table=60)
        if "door" in more:
            host.address(more["door"], "10.66.2.1/24")
        host.rule(100, action="prohibit", **rule)
        host.rule(200, src=more.get("src", "10.66.0.0"), src_len=16, table=more.get("table", 60))
        says = ("of that network, which is behind veth0 alone, though table 60 has",) if severity == "warning" else ()
        yield Example(
            name=f"where it comes in: {name}", why=why, tables=host.build(), fires=1, severity=severity, says=says
        )
    yield from _other_lookups()
    bridge = HostBuilder().link("br0", kind="bridge", inet_conf={"forwarding": 1}).address("br0", "10.88.0.1/24")
    bridge.link("veth1", kind="veth", master="br0", link_netnsid=0).neighbour("10.88.0.5", dev="br0")
    why = "there is no way out to lose"
    yield Example(name="all, guests too", why=why, tables=bridge.rule(100, action="prohibit").build())


def _other_lookups() -> Iterator[Example]:
    """What the two rules are for beside the network and its door."""
    own: dict[str, Any] = {"src": "10.66.0.0", "src_len": 16}
    six: dict[str, Any] = {"src": "2001:db8:66::", "src_len": 48, "family": "inet6"}
    cases: tuple[tuple[str, str, dict[str, Any], dict[str, Any], Any], ...] = (
        ("this host has one of its addresses on lo", "nobody else has it", {}, own, "warning"),
        ("host bits behind it", "the kernel keeps them", {}, own | {"src": "10.66.0.7"}, "warning"),
        ("host bits before it", "the kernel keeps them", own | {"src": "10.66.0.7"}, own, "warning"),
        ("marked packets", "the others have the way", {"fwmark": 1}, own, "info"),
        ("all but that door", "it is spared", {"invert": True}, own, None),
        ("the later one is of IPv6", "each family has rules of its own", {}, six, "info"),
        ("the later one asks main", "a kill switch looks like that", {}, own | {"table": 254}, "info"),
        ("the later one is for all others", "it has packets", {}, own | {"invert": True}, "info"),
        ("the later one is for all", "it has packets", {}, {}, "info"),
        ("the later one has a door of its own", "what comes in there", {}, own | {"iif": "eth1"}, "info"),
    )
    for name, why, before, behind, severity in cases:
        host = HostBuilder().link("eth1").link("veth0").address("veth0", "10.66.1.1/24")
        host.address("eth1", "10.1.0.1/24").route("default", via="10.1.0.2", dev="eth1", table=60)
        host.address("veth0", "2001:db8:66:1::1/64").route("default", via="fe80::1", dev="eth1", table=60)
        host.address("lo", "10.66.9.9/32")
        host.rule(100, **({"action": "prohibit", "iif": "veth0"} | before)).rule(200, **({"table": 60} | behind))
        told: dict[str, Any] = {"fires": 1, "severity": severity} if severity else {}
        yield Example(name=f"what comes in: {name}", why=why, tables=host.build(), **told)


def refused_by_route() -> Iterator[Example]:
    """For route-blackhole-unexpected."""
    cases: tuple[tuple[str, str, float, Any], ...] = (
        ("10.80.12.0/25", "10.80.12.0/24", 20, "critical"),
        ("10.80.12.0/25", "10.80.12.0/24", 900, "info"),
        ("10.80.12.128/25", "10.80.12.0/24", 20, "info"),
        ("10.80.12.1/32", "10.80.12.0/24", 20, "info"),
        ("10.80.0.0/17", "10.0.0.0/8", 20, "info"),
    )
    for dst, allowed, age, severity in cases:
        tables = _peer(allowed, age).route(dst, type="blackhole", family="inet").build()
        name = f"{dst} in {allowed}, shaken hands {age:.0f} s ago"
        yield Example(name=name, why="is it in use?", tables=tables, fires=1, severity=severity)
    before: tuple[tuple[str, str, dict[str, Any], float, Any], ...] = (
        ("the peer's prefix", "10.80.12.0/24", {}, 20, "critical"),
        ("half of it", "10.80.12.0/25", {}, 20, "critical"),
        ("more than the tunnel has", "10.80.0.0/16", {}, 20, None),
        ("everything", "0.0.0.0/0", {}, 20, None),
        ("the prefix for some packets", "10.80.12.0/24", {"fwmark": 7, "invert": True}, 20, None),
        ("the prefix of a dead peer", "10.80.12.0/24", {}, 900, None),
    )
    for name, dst, rule, age, severity in before:
        host = _peer("10.80.12.0/24", age).rule(40, table=90, **rule).route(dst, type="prohibit", table=90)
        fires = 1 if severity else 0
        why = "main has it, and is not asked"
        yield Example(name=f"a table before main: {name}", why=why, tables=host.build(), fires=fires, severity=severity)
