"""Examples of routes that refuse a connection that this host opened, or a guest on its bridge. Nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example


def _calls(dst: str = "198.51.100.9", hole: str = "198.51.100.0/24", **fields: Any) -> HostBuilder:
    """A connection to a web server behind the default route, in front of which a route refuses."""
    six = ":" in dst and "." not in dst
    host = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64" if six else "192.0.2.2/24")
    host.route("default", via="2001:db8::2" if six else "192.0.2.1", dev="eth0", priority=100)
    host.route(hole, type="blackhole", family="inet6" if ":" in hole else "inet")
    given = {"state": 1, "sport": 40001, "dport": 443, "wqueue": 90, "comm": "curl"} | fields
    return host.socket(**({"src": "2001:db8::1" if six else "192.0.2.2", "dst": dst} | given))


def refused_dialled() -> Iterator[Example]:
    """For route-blackhole-unexpected: who was called by this host, and who called it."""

    def case(name: str, why: str, host: HostBuilder, severity: Any = "critical", **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=int(bool(severity)), severity=severity, **more)

    words = ("198.51.100.9, curl's connection to 198.51.100.9:443",)
    yield case("a connection of this host", "bytes wait for an answer", _calls(), says=words)
    yield case("one of an unknown program", "the same", _calls(comm=None), says=("a connection to",))
    yield case("of IPv6", "the same", _calls("2001:db8:9::9", "2001:db8:9::/48"))
    yield case(
        "of IPv4, by a socket of IPv6", "the same", _calls("::ffff:198.51.100.9", family=10, src="::ffff:192.0.2.2")
    )
    yield case("being opened", "no answer so far", _calls(state=2))
    yield case("an idle connection", "it breaks with the next byte", _calls(wqueue=0), "warning")
    called = _calls(sport=443, dport=40001).socket(sport=443)
    yield case("somebody who called this host", "an attacker whom somebody shut out", called, None)
    yield case("a connection that ended", "nobody sends any more", _calls(state=6), None)
    yield case("by UDP", "any may have sent there once", _calls(protocol=17), None)
    yield case("elsewhere", "its route works", _calls("203.0.113.9"), None)
    for dst, hole in (("127.0.0.9", "127.0.0.0/24"), ("fe80::9", "fe80::/96")):
        yield case(f"to {dst}", "no route is asked", _calls(dst, hole), None)


def refused_bridged() -> Iterator[Example]:
    """For route-blackhole-unexpected: one address on a bridge."""

    def host(state: str = "reachable", dst: str = "10.88.0.12", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").link("br0", kind="bridge")
        second: dict[str, Any] = {"kind": "veth", "master": "br0", "link_netnsid": 2} | fields
        made.link("v1", kind="veth", master="br0", link_netnsid=1).link("v2", **second)
        made.address("br0", "10.88.0.1/24").address("br0", "2001:db8:88::1/64")
        six = ":" in dst
        made.route(f"{dst}/{128 if six else 32}", type="blackhole", family="inet6" if six else "inet")
        return made.neighbour(dst, dev="br0", state=state)

    for name, why, made, severity in (
        ("a guest on a bridge", "this host is its gateway", host(), "critical"),
        ("a guest of IPv6", "the same", host(dst="2001:db8:88::12"), "critical"),
        ("a guest that was there", "less sure", host("stale"), "warning"),
        ("a bridge with a card", "whoever is on that link may be shut out", host(kind=None, link_netnsid=None), "info"),
    ):
        yield Example(name=name, why=why, tables=made.build(), fires=1, severity=severity)  # type: ignore[arg-type]


def kill_switches() -> Iterator[Example]:
    """For route-blackhole-unexpected: a default route that refuses, in front of one that works."""

    def host(built: Any = None, family: str = "inet") -> Any:
        made = (built or HostBuilder()).link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
        made.route("default", via="10.0.0.2", dev="eth0", priority=100).route("default", via="2001:db8::2", dev="eth0")
        return made.route("default", type="unreachable", family=family, priority=10)

    def case(name: str, made: Any, severity: Any) -> Example:
        why = "a VPN shuts the way beside it" if severity == "info" else "no tunnel carries everything"
        return Example(name=f"a kill switch? {name}", why=why, tables=made.build(), fires=1, severity=severity)

    yield case("beside a tun", host().link("vpn0", kind="tun", info={"type": "tun"}), "info")
    yield case("beside a guest's tap", host().link("vpn0", kind="tun", info={"type": "tap"}), "warning")
    yield case("beside WireGuard that was not read", host().link("vpn0", kind="wireguard"), "info")
    for prefix, severity in (("0.0.0.0/0", "info"), ("128.0.0.0/1", "info"), ("10.9.0.0/16", "warning")):
        mesh = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint=None, allowed_ips=(prefix,))
        yield case(f"beside WireGuard for {prefix}", host(mesh), severity)
    yield case("of IPv6", host(family="inet6"), "info")
