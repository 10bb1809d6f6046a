"""Examples of prefixes that are announced as a whole. Pure; nothing can fail."""

from collections.abc import Callable, Iterator
from typing import Any

from netdiag.model.bird import BirdRoute
from netdiag.model.link import Xdp
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import chain, daddr, nat, rule, table
from netdiag.rules.shape import Example


def aggregate_examples(_case: Callable[..., Example]) -> Iterator[Example]:
    """A prefix that is announced and of which nothing is here; ``_case`` makes an example of a host."""

    def host(
        net: str = "203.0.113.0/24",
        rtbh: tuple[str, ...] | None = (),
        asn: int = 65002,
        inner: bool = False,
        **link: Any,
    ) -> Any:
        made = BirdHost().bgp("up1", neighbor_as=asn).protocol("s1", "Static")
        if inner:
            made.bgp("rr", neighbor_as=65001)
            made.exports("rr", routes=(BirdRoute(net=net, type="blackhole", protocol="s1", best=True),), rtbh=rtbh)
        made.exports("up1", routes=(BirdRoute(net=net, type="blackhole", protocol="s1", best=True),), rtbh=rtbh)
        made.link("eth0", **link).address("eth0", "192.0.2.2/24").address("eth0", "2001:db8:1::2/64")
        made.route("default", via="2001:db8:1::1", dev="eth0")
        return made.route("default", via="192.0.2.1", dev="eth0")

    def case(name: str, why: str, made: Any, *says: str) -> Example:
        severity: Any = "warning" if says else None
        sure: Any = "likely" if says else None
        fires = 1 if says else 0
        return _case(f"aggregate, {name}", why, made, fires, severity=severity, confidence=sure, says=says)

    yield case("nothing of it here", "it goes round", host(), "what comes for it goes out again by eth0")
    for more, fires in ((2, 3), (3, 1)):
        routes = [BirdRoute(net=f"203.0.{n}.0/24", type="blackhole", protocol="s1", best=True) for n in range(more)]
        many = host().exports("up1", routes=tuple(routes), rtbh=())
        about: dict[str, Any] = {"kind": "prefix"} if fires > 1 else {"kind": "bird-protocol", "name": "s1"}
        why = "one protocol is one cause"
        yield _case(f"{more} more aggregates", why, many, fires, severity="warning", subject=about)
    yield case("nothing of it here, IPv6", "the same", host("2001:db8:9::/48"), "goes out again by eth0")
    lost = host().without_routes(table=254, family="inet")
    yield case("nothing at all here", "no route", lost, "what comes for it is refused")
    yield case("an address of it", "that is what it is for", host().address("lo", "203.0.113.7/32"))
    yield case("an address beside it", "of another", host().address("lo", "203.0.112.7/32"), "out again")
    yield case("a route to a part", "to those behind", host().route("203.0.113.64/26", via="192.0.2.9", dev="eth0"))
    yield case("a wider route", "to those behind", host().route("203.0.112.0/22", via="192.0.2.9", dev="eth0"))
    kept = host().route("203.0.112.0/22", type="blackhole")
    yield case("a wider blackhole", "nothing goes round", kept)
    yield case("half of what the Internet takes", "it waits for guests", host("203.0.113.0/25"))
    yield case("half of that of IPv6", "the same", host("2001:db8:8::/49"))
    half = host().bgp("up2", neighbor_as=65003)
    half.exports("up2", routes=(BirdRoute(net="203.0.113.0/24", type="blackhole", protocol="s1"),), rtbh=None)
    yield case("communities told of one session", "that one is no RTBH", half, "is announced to up1, and")
    for net, part in (("203.0.113.0/24", "203.0.113.64/26"), ("2001:db8:9::/48", "2001:db8:9:1::/64")):
        held = host(net).route(net, type="blackhole")
        told: dict[str, Any] = {"severity": "info", "confidence": "possible"}
        words = ("no address and no route of it but the blackhole: what comes for it is dropped",)
        yield _case(f"the blackhole alone, {net}", "it may be held", held, 1, says=words, **told)
        held.route(part, type="unreachable")
        yield _case(f"the blackhole, and a part that is refused, {net}", "somebody divides it", held)
    living = host().route("203.0.113.0/24", type="blackhole").address("lo", "203.0.113.7/32")
    yield case("the blackhole, and an address of it", "an aggregate", living)
    guest = host().route("203.0.113.0/24", type="blackhole").route("203.0.113.9/32", via="192.0.2.9", dev="eth0")
    yield case("the blackhole, and a route to a part", "an aggregate", guest)
    yield case("private", "a block that waits for guests", host("10.7.0.0/24"))
    yield case("unique local", "the same", host("fd00:7::/64"))
    yield case("all", "a default route for others", host("0.0.0.0/0"))
    yield case("a worker's share", "it waits for guests", host("203.0.113.64/26"))
    yield case("a worker's share of IPv6", "the same", host("2001:db8:9:1::/64"))
    yield case("told inside the AS", "a reflector gives it to the edges", host(asn=65001))
    yield case("told inside the AS and outside", "what comes in goes round", host(inner=True), "to up1, and")
    yield case("communities not told", "it may be RTBH", host(rtbh=None))
    yield case("XDP", "a program may take the packets", host(xdp=Xdp(mode="native")))
    proxy = host().route("default", dev="lo", type="local", table=100, family="inet").rule(50, fwmark=1, table=100)
    yield case("TPROXY", "marked packets are delivered", proxy)
    for named, says in (("203.0.113.9/32", ()), ("203.0.112.9/32", ("out again",))):
        to = table(chain("pre", rule(daddr(named), nat("dnat", "10.0.0.2")), hook="prerouting", type="nat"))
        yield case(f"{named} translated", "who takes it in", host().nft(to), *says)
