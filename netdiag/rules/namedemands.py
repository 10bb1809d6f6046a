"""The nameservers that this host asks, as whom it sends to: demands (rules/demands.py). Pure; nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import subject
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import Demand
from netdiag.rules.nameservers import BROAD, DNS_PORT, asked, asks_dns, is_loopback
from netdiag.rules.shape import Example


def asked_for_names(view: HostView) -> Iterator[Demand]:
    """Those of /etc/resolv.conf, on other hosts, but for those by a route for whole networks: they may be inherited.
    The first is asked all the time. None where the file was not read or nobody asks them."""
    if not view.read_whole("resolver") or not asks_dns(view):
        return
    for number, address in enumerate(asked(view)):
        family = "inet6" if ":" in address else "inet"
        query = Query(family=family, dst=address, ip_proto=IPPROTO_UDP, dport=DNS_PORT)
        if is_loopback(address) or "%" in address or (view.lookup(query).prefixlen or 0) < BROAD[family]:
            continue
        yield Demand(
            query=query,
            words="a nameserver of this host",
            kind="nameserver",
            busy=not number,
            suffers=(subject("prefix", prefix=address),),
        )


def refused_names() -> Iterator[Example]:
    """For route-blackhole-unexpected: whom this host asks for names."""

    def case(name: str, why: str, fires: int = 0, *servers: str, hole: str = "10.30.4.0/24", **more: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.9", dev="eth0")
        host.address("eth0", "2001:db8::2/64").route("default", via="2001:db8::9", dev="eth0")
        host.route(hole, type="blackhole", family="inet6" if ":" in hole else "inet")
        host.resolver(*(servers or ("10.30.4.53",)))
        told: dict[str, Any] = {"severity": "critical"} if fires else {}
        name = f"a nameserver: {name}"
        return Example(name=name, why=why, tables=host.build(), fires=fires, **(told | more))

    words = ("refuses 10.30.4.53, a nameserver of this host",)
    yield case("in the network that is refused", "no name can be looked up", 1, says=words)
    yield case("of IPv6", "the same", 1, "2001:db8:53::53", hole="2001:db8:53::/48")
    yield case("in another network", "a null route hits nobody", 0, "10.30.5.53")
    yield case("alone", "dns-nameserver-unroutable says it", hole="10.30.4.53/32")
    yield case("in whole networks", "it may be inherited", hole="10.0.0.0/15")
    yield case("in whole networks of IPv6", "the same", 0, "2001:db8:53::53", hole="2001:db8::/31")
    yield case("the second", "the first one answers", 1, "10.30.5.53", "10.30.4.53", severity="info")
    yield case("here", "nothing is sent", 0, "127.0.0.53")
