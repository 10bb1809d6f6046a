"""Examples of wg-listen-port-firewalled: one family closed, another port open, the doors of peers that came. Pure."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build_nft import high_port, iifname, l4proto, port, rule, verdict
from netdiag.rules.build_wireguard import WireguardBuilder, wg_host, wg_input
from netdiag.rules.shape import Example


def half_closed_cases(case: Any) -> Iterator[Example]:
    """A filter for one family, on a host with both."""

    def both() -> WireguardBuilder:
        built = wg_host()
        built.address("eth0", "2001:db8::1/64")
        return built

    ssh, served = rule(port(6, 22), verdict("accept")), both()
    says = ("IPv4 is what the filter is for",)
    no4 = wg_input(ssh, family="ip")
    yield case("closed for IPv4, IPv6 has no filter", "nobody opened it", both(), no4, 1, severity="warning", says=says)
    served.nft(wg_input(rule(port(17, 51820), verdict("accept")), family="ip6"))
    yield case("closed for IPv4, opened for IPv6", "it is served there", served, no4)
    named6 = wg_input(rule(port(17, 51820), verdict("drop")), policy="accept", family="ip6")
    for peer, place in (("198.51.100.9", "the policy of ip filter input"), ("2001:db8:9::9", "ip6 filter input")):
        twice = wg_host(endpoint=peer, age=200)
        twice.address("eth0", "2001:db8::1/64").nft(named6)
        why = "the filter by which the peer comes is opened"
        yield case(
            f"closed for both, {peer}", why, twice, no4, 1, says=(f"stopped by {place}",) if "." in peer else (place,)
        )
    for age, names, fires in (
        (9.0, ("2001:db8:9::9",), 0),
        (None, ("2001:db8:9::9",), 1),
        (9.0, ("198.51.100.9",), 1),
        (9.0, ("2001:db8:9::9", "198.51.100.9"), 1),
    ):
        met = both()
        met.route("default", via="2001:db8::9", dev="eth0").route("default", via="192.0.2.9", dev="eth0")
        for letter, name in zip("bc", names, strict=False):
            met.wg_peer("wg0", letter, endpoint=name, age=age)
        done = f"{' and '.join(names)} {'shook hands' if age else 'never came'}"
        yield case(f"closed for IPv4, {done}", "peers come by IPv6 alone, or they do not", met, no4, fires)
    cards_ = both().link("eth1").address("eth1", "203.0.113.1/24")
    let = wg_input(ssh, rule(iifname("eth0"), verdict("accept")), family="ip")
    yield case("closed for IPv4 on one of two cards", "by the other one they come", cards_, let)
    yield case("IPv6 shut altogether", "nobody uses it", both(), wg_input(family="ip6"))


def met_cases(case: Any) -> Iterator[Example]:
    """A gateway that lets in anything from its own network; strangers come by eth0, where the port is closed."""

    def gateway(by: str = "198.51.100.9", *, age: float | None = 20, **peer: Any) -> WireguardBuilder:
        host = wg_host(endpoint=by, age=age, **peer).wg_peer("wg0", "b", endpoint=None)
        host.link("lan0").address("lan0", "10.7.0.1/24").route("default", via="192.0.2.9", dev="eth0")
        return host

    inside = wg_input(rule(iifname("lan0"), verdict("accept")))
    told: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("those that did came in where it is closed",)}
    yield case("closed where a peer came in", "who else comes is a stranger too", gateway(), inside, **told)
    for name, why, host in (
        ("it is called from here", "who comes is not known", gateway(persistent_keepalive=25)),
        ("it was not heard lately", "where it is now is not known", gateway(age=200)),
        ("it never came", "somebody wrote its endpoint", gateway(age=None)),
        ("it came by the inside", "so do the others", gateway("10.7.0.9")),
    ):
        yield case(f"closed outside, {name}", why, host, inside)
    both = gateway().wg_peer("wg0", "c", endpoint="10.7.0.9", age=20)
    yield case("closed outside, one came by each", "the others may come by the inside", both, inside)
    opened = wg_input(rule(iifname("eth0"), port(17, 51820), verdict("accept")))
    yield case("open where a peer came in", "as it should be", gateway(), opened)


def beside_cases(case: Any) -> Iterator[Example]:
    """Another port is open, as if the device were there."""
    for name, port_, fires, other in (
        ("the last digit is another", 51998, 1, wg_host),
        ("the usual port", 51820, 1, wg_host),
        ("a far one", 4789, 0, wg_host),
        ("another device has it", 51820, 0, lambda **peer: wg_host(**peer).wireguard("wg1", listen_port=51820)),
        ("a daemon has it", 51820, 0, lambda **peer: wg_host(**peer).socket(src="0.0.0.0", sport=51820, protocol=17)),
    ):
        known, let = (
            other(at=51999, endpoint="198.51.100.1", age=30),
            wg_input(rule(port(17, port_), verdict("accept"))),
        )
        says = (f"port {port_} is open instead, on which nothing listens",) if fires else ()
        yield case(f"peers known, open beside: {name}", "it was opened for the device", known, let, fires, says=says)
    span = wg_input(rule(l4proto(17), high_port(51900), verdict("accept")), rule(port(17, 51820), verdict("accept")))
    wide = wg_host(at=51895, endpoint="198.51.100.1", age=30)
    yield case("peers known, high ports open", "no port of a device", wide, span)
