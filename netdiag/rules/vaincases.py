"""Examples of nf-accept-does-not-win: the hosts they are made of, firewalls that trust an interface, and packets that
are dropped before the hook. Pure."""

from collections.abc import Iterator
from struct import pack
from typing import Any

import msgspec

from netdiag.model.nft import NftExpression, NftRule, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    IPV4,
    chain,
    daddr,
    iifname,
    in_set,
    l4proto,
    nat,
    port,
    port_set,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from netdiag.rules.shape import Example


def lone_host() -> HostBuilder:
    """A host with one interface."""
    return HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")


def own_table(*rules: NftRule, priority: int = -10, hook: str = "input", **fields: Any) -> NftTable:
    """A table of one's own, whose chain has these rules."""
    return table(chain("mine", *rules, hook=hook, priority=priority), name="own", **fields)


def firewall(*rules: NftRule, hook: str = "input", **fields: Any) -> NftTable:
    """A firewall that drops all but these rules' traffic."""
    first = rule(state("established", "related"), verdict("accept"))
    return table(chain("in", first, *rules, hook=hook, policy="drop"), name="fw", **fields)


def trusting(web: NftRule) -> Iterator[Example]:
    """A firewall that lets anything in on wg0."""

    def case(name: str, why: str, *more: NftRule, fires: int = 0, host: Any = None, **sock: Any) -> Example:
        base = host or lone_host().route("default", via="192.0.2.1", dev="eth0")
        base.link("wg0", kind="wireguard").socket(**({"src": "0.0.0.0", "sport": 8080} | sock))
        tables = base.nft(own_table(web), firewall(rule(iifname("wg0"), verdict("accept")), *more)).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    yield case("trusts the tunnel", "the port is closed to the world, and a service waits there", fires=1)
    yield case("trusts the tunnel, own address", "the same", fires=1, src="192.0.2.2")
    yield case("trusts the tunnel, nobody listens", "it may be a decision", sport=80)
    yield case("trusts the tunnel, on loopback", "nobody from outside can ask it", src="127.0.0.1")
    yield case("trusts the tunnel, no way to the world", "which is which?", host=lone_host())
    uplink, inner = rule(iifname("eth0"), verdict("accept")), lone_host().link("eth1")
    inner.route("default", via="192.0.2.1", dev="eth0")
    yield case("trusts the uplink too", "eth1 alone is closed", uplink, host=inner)
    pair = lone_host().link("eth1").address("eth1", "192.0.3.2/24")
    pair.route("default", hops=[pair.hop("eth0", "192.0.2.1"), pair.hop("eth1", "192.0.3.1")])
    yield case("trusts one of two uplinks", "the world comes in by it", uplink, host=pair)
    far = lone_host().link("eth9", up=False).route("default", via="10.0.0.1", dev="eth9", table=7)
    yield case("trusts the tunnel, a way in another table", "the world is not there", host=far)
    last = lone_host().route("default", via="192.0.2.1", dev="eth0", table=7).rule(33000, table=7)
    yield case("trusts the tunnel, the way out is in the last table", "all packets are led there", fires=1, host=last)
    part, some = lone_host().link("eth1"), rule(iifname("eth1"), port(6, 8080), verdict("accept"))
    part.route("default", via="192.0.2.1", dev="eth0")
    yield case("trusts the tunnel, and the port elsewhere", "closed here is a decision", some, host=part)
    router = lone_host().route("default", via="192.0.2.1", dev="eth0").link("wg0").socket(src="0.0.0.0", sport=8080)
    router.nft(own_table(web, hook="forward"), firewall(rule(iifname("wg0"), verdict("accept")), hook="forward"))
    yield Example(name="forwards for the tunnel", why="what is forwarded is no service here", tables=router.build())
    asks = port(6, 8443)
    one, others = "10.1.0.5/32", ("10.1.0.0/24", "192.0.2.9/32", "10.9.0.5/32")
    cases = (
        (one, asks, None, 1),
        (one, (), None, 0),
        (one, asks, "DOCKER", 0),
        *((to, asks, None, 0) for to in others),
    )
    for to, asked, below, fires in cases:
        guests = lone_host().route("default", via="192.0.2.1", dev="eth0").link("br0", kind="bridge")
        guests.address("br0", "10.1.0.1/24")
        accepts = rule(daddr(to), asked, verdict("accept"))
        published = own_table(accepts, hook="forward")
        if below:
            jump = chain("mine", rule(verdict("jump", below)), hook="forward", priority=-10)
            published = table(jump, chain(below, accepts), name="own")
        guests.nft(published, firewall(rule(iifname("br0"), verdict("accept")), hook="forward"))
        name, why = (
            f"publishes {'a port' if asked else 'all'} of {to} in {below}",
            "one host behind this one, or what else is it for?",
        )
        yield Example(name=name, why=why, tables=guests.build(), fires=fires)


def of_two_families(web: NftRule) -> Iterator[Example]:
    """An accept for both families on a host of both, and what the firewall lets in of IPv4."""
    for name, why, known, fires in (
        ("from a network", "who may come was decided", (IPV4, saddr("10.0.0.0/8"), port(6, 8080)), 0),
        ("all of it", "IPv6 was forgotten", (IPV4, port(6, 8080)), 1),
        ("another port of a network", "this one is open to nobody", (IPV4, saddr("10.0.0.0/8"), port(6, 80)), 1),
    ):
        host = (
            lone_host().address("eth0", "2001:db8::2/64").nft(own_table(web), firewall(rule(*known, verdict("accept"))))
        )
        yield Example(name=f"lets in IPv4: {name}", why=why, tables=host.build(), fires=fires)
    asked = rule(saddr("2001:db8::/32"), port(6, 8080), verdict("accept"))
    some = firewall(rule(IPV4, saddr("10.0.0.0/8"), port(6, 8080), verdict("accept")))
    host = lone_host().address("eth0", "2001:db8::2/64").nft(own_table(asked), some)
    yield Example(name="an accept for IPv6 alone", why="IPv4 says nothing of it", tables=host.build(), fires=1)


def by_iptables() -> Iterator[Example]:
    """An accept of iptables, whose ports stand in extensions (struct xt_tcp, xt_udp, xt_multiport_v1)."""

    def xt(key: str, *numbers: int, invert: bool = False, **more: Any) -> NftExpression:
        if key == "multiport":
            ports = (numbers + (0,) * 15)[:15]
            info = pack("=BB15H15BB", more.get("which", 1), len(numbers), *ports, *(0,) * 15, invert)
        else:
            info = pack("=HHHHBBBB", 0, 65535, numbers[0], numbers[-1], *(0,) * 3, 2 * invert)
            info = info if key == "tcp" else info[:8] + info[-1:]
        return NftExpression(name="match", key=key, number=1, value=info.hex())

    for name, why, proto, asked, fires in (
        ("a port of TCP", "the plain fault", 6, xt("tcp", 8080), 1),
        ("a range of ports", "its first one", 6, xt("tcp", 8080, 8090), 1),
        ("a port of UDP", "the same", 17, xt("udp", 8080), 1),
        ("any port", "nothing that could be in vain", 6, xt("tcp", 0, 65535), 0),
        ("all ports but one", "which one is meant?", 6, xt("tcp", 8080, invert=True), 0),
        ("some ports", "the first one", 6, xt("multiport", 8080, 8081), 1),
        ("a port of either side", "which one is meant?", 6, xt("multiport", 8080, which=2), 0),
        ("a struct that is cut", "it is not known", 6, NftExpression(name="match", key="tcp", value="00"), 0),
    ):
        mine = chain("INPUT", rule(l4proto(proto), (asked,), verdict("accept")), hook="input", priority=0)
        known = firewall(rule(port(6, 22), verdict("accept")), rule(port(17, 22), verdict("accept")))
        old = msgspec.structs.replace(table(mine, name="filter", family="ip"), flags=("legacy",))
        tables = lone_host().nft(known, legacy=(old,)).build()
        yield Example(name=f"iptables accepts {name}", why=why, tables=tables, fires=fires)


def before(web: NftRule) -> Iterator[Example]:
    """Port 8080, which an input chain accepts, is dropped at prerouting or at the interface."""

    def case(name: str, why: str, *dropped: NftRule, fires: int = 0, hook: str = "prerouting", **more: Any) -> Example:
        host = lone_host().link("eth1").link("eth9", up=False)
        if more.pop("served", True):
            host.socket(src=more.pop("src", "0.0.0.0"), sport=8080)
        family, devices = more.pop("family", "inet"), more.pop("devices", ())
        first = chain("early", *dropped, hook=hook, priority=-300)
        first = msgspec.structs.replace(first, devices=devices)
        sets = more.pop("sets", ())
        host.nft(firewall(web), table(first, name="raw", family=family, sets=sets), *more.pop("beside", ()))
        return Example(name=f"before the hook, {name}", why=why, tables=host.build(), fires=fires, **more)

    drop = rule(port(6, 8080), verdict("drop"))
    about = {"kind": "nft-chain", "family": "inet", "table": "fw", "chain": "in"}
    says = ("drops it at prerouting already",)
    told: dict[str, Any] = {"fires": 1, "severity": "warning", "subject": about}
    yield case("at prerouting", "input is never asked", drop, says=says, **told)
    yield case(
        "on one interface", "that one is closed on purpose", rule(iifname("eth0"), port(6, 8080), verdict("drop"))
    )
    both = host_of_two(web)
    yield Example(name="before the hook, two ports", why="one fault", tables=both.build(), fires=1,
                  says=("(and 1 more rules), but",))  # fmt: skip
    each = [rule(iifname(name), port(6, 8080), verdict("drop")) for name in ("eth0", "eth1")]
    yield case("on each interface", "there is no other way in", *each, says=says, **told)
    yield case("nobody listens", "it may be a decision", drop, served=False)
    yield case("on loopback alone", "nobody from outside can ask it", drop, src="127.0.0.1")
    yield case("another port", "it is not accepted", rule(port(6, 80), verdict("drop")))
    yield case("from some sources", "a list of bans", rule(saddr("10.0.0.0/8"), port(6, 8080), verdict("drop")))
    ports = port_set("shut", 22, 8080)
    yield case("by a set", "the same", rule(in_set(6, "shut"), verdict("drop")), sets=(ports,), **told)
    sent = rule(port(6, 80), nat("dnat", "192.0.2.2", 8080))
    nats = table(chain("pre", sent, hook="prerouting", type="nat"), name="nat")
    yield case("the port is translated to", "only who asks for the other port is to have it", drop, beside=(nats,))
    for devices, fires in ((("eth0",), 0), (("eth0", "eth1"), 1)):
        more: dict[str, Any] = told | {"says": ("drops it at ingress already",)} if fires else {}
        name = f"at ingress of {len(devices)} of 2"
        yield case(name, "the interface drops it", drop, hook="ingress", family="netdev", devices=devices, **more)


def host_of_two(web: NftRule) -> HostBuilder:
    """A host that accepts two ports at input and drops them at prerouting."""
    host = lone_host().socket(src="0.0.0.0", sport=8080).socket(src="0.0.0.0", sport=8443)
    drops = [rule(port(6, number), verdict("drop")) for number in (8080, 8443)]
    early = table(chain("early", *drops, hook="prerouting", priority=-300), name="raw")
    return host.nft(firewall(web, rule(port(6, 8443), verdict("accept"))), early)
