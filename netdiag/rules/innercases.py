"""Examples of hosts that refuse what a WireGuard peer carries: by a rule, and by a route. Nothing can fail."""

from collections.abc import Iterator
from typing import Any

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
