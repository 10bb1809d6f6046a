"""Hosts whose uplink is private, for the examples about the source of what goes to the Internet. Nothing can fail."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.model.sockets import SYN_SENT
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example


def beside() -> Iterator[Example]:
    """A private and a public address on the uplink itself."""

    def two(public: str = "203.0.113.7/32", **route: Any) -> HostBuilder:
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.5/24").address("eth0", public)
        given: dict[str, Any] = {"dev": "eth0", "via": "192.0.2.1", "onlink": True}
        return host.route("default", **(given | route))

    first = ("the source 10.0.0.5 of eth0", "it is the first of eth0", "via 192.0.2.1", "src 203.0.113.7")
    for name, why, host, says in (
        ("the private one first", "the gateway is in no subnet of eth0", two(), first),
        ("the private one named", "the gateway is among the public", two(prefsrc="10.0.0.5"), ("the route names it",)),
    ):
        yield Example(name=name, why=why, tables=host.build(), fires=1, confidence="likely", says=says)
    for name, why, host in (
        ("a gateway in the public subnet", "the kernel takes the address beside it", two("192.0.2.9/24")),
        ("a private gateway", "it translates, and the public one is a service's", two(via="10.0.0.1")),
        ("no gateway", "who is there cannot be said", two(via=None)),
    ):
        yield Example(name=f"two addresses, {name}", why=why, tables=host.build())
    for via, fires in (("2001:db8::1", 1), ("fe80::1", 0)):
        six = HostBuilder().link("eth0").address("eth0", "fd00::5/64").address("eth0", "2001:db8::5/64")
        six.route("default", dev="eth0", via=via, prefsrc="fd00::5")
        why = "a link-local router may translate"
        yield Example(name=f"ULA named, by {via}", why=why, tables=six.build(), fires=fires)


def by_private() -> Iterator[Example]:
    """A private uplink by a private gateway, the public address on lo."""

    def one(src: str | None = None, *calls: tuple[str, int], by: str = "10.0.0.1") -> HostBuilder:
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.5/24").address("lo", "203.0.113.7/32")
        for dst, state in calls:
            host.socket(state=state, src="10.0.0.5", dst=dst, sport=40000, dport=443)
        return host.route("default", dev="eth0", via=by, prefsrc=src)

    far, near = ("198.51.100.7", SYN_SENT), ("10.7.7.7", 1)
    lost, may = {"severity": "critical", "confidence": "likely"}, {"severity": "info"}
    for name, host, expected in (
        ("quiet", one(), may),
        ("one that does not answer", one(None, far), may),
        ("two that do not answer", one(None, far, ("8.8.8.8", SYN_SENT), near), lost),
        ("one of two answered", one(None, far, ("8.8.8.8", SYN_SENT), ("1.1.1.1", 1)), may),
    ):
        why = "a router may translate"
        yield Example(name=f"private uplink, {name}", why=why, tables=host.build(), fires=1, **expected)  # type: ignore[arg-type]
    for calls, fires in (((), 0), ((far, ("8.8.8.8", SYN_SENT)), 1)):
        told = BirdHost().bgp("up1", channels=(channel(exported=3),)).build()
        tables = replace(one(None, *calls).build(), bird=told.bird)
        name = f"private uplink, BGP announces, {len(calls)} that do not answer"
        yield Example(name=name, why="an anycast service", tables=tables, fires=fires)
    yield Example(name="private uplink, public source named", why="as it should be", tables=one("203.0.113.7").build())


def edge(
    *, src: str | None = None, uplink: str | None = None, public: str | None = "203.0.113.7/24", wg: str = "10.8.0.1/24"
) -> HostBuilder:
    """An uplink without an address, the public one on a bridge that was made after the tunnel; the default route
    perhaps with a source."""
    host = HostBuilder().link("eth0").link("wg0", kind="wireguard", type=65534).address("wg0", wg)
    if uplink:
        host.address("eth0", uplink)
    if public:
        host.link("br0", kind="bridge").address("br0", public)
    return host.route("default", dev="eth0", via="192.0.2.1", onlink=True, prefsrc=src)


def better() -> Iterator[Example]:
    """Which public address should be named instead."""

    def case(name: str, why: str, host: HostBuilder, better: str) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=1, says=(f"this host is {better} to the world",))

    every = edge(src="10.8.0.1").address("lo", "203.0.113.9/32")
    yield case("lo's is better than a bridge's", "it is always there", every, "203.0.113.9")
    own = edge(src="10.8.0.1").address("lo", "203.0.113.9/32").address("eth0", "192.0.2.9/24")
    yield case("the uplink's is best", "it is the kernel's choice", own, "192.0.2.9")
    gone = edge(src="10.8.0.1", public=None).link("br9", kind="bridge").address("br9", "198.51.100.9/24")
    gone.address("lo", "203.0.113.9/32").vanished("br9")
    yield case("one of an interface that is gone", "lo's is better", gone, "203.0.113.9")
