"""Examples of hosts that refuse what a WireGuard peer carries, by a rule and by a route, or guests where they come in.

Nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example


def _peer(allowed: str, age: float) -> WireguardBuilder:
    """A tunnel with a route for the prefix of its one peer, which shook hands so many seconds ago."""
    host = WireguardBuilder().wireguard("wg0")
    host.link("eth0").address("eth0", "192.0.2.2/24")
    host.wg_peer("wg0", "a", age=age, endpoint="192.0.2.9", allowed_ips=(allowed,))
    host.route(allowed, dev="wg0").route("default", via="192.0.2.1", dev="eth0")
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
