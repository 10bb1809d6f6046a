"""Examples of routes that refuse a connection that this host opened, or a guest on its bridge. Nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
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
