"""Examples of nf-rpfilter-nft-fib: filters that ask for the way back, and hosts with two uplinks on which they drop."""

from collections.abc import Iterator
from typing import Any

import msgspec

from netdiag.model.finding import subject
from netdiag.model.nft import NftExpression
from netdiag.rules.arrivals import MOST_LINKS
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, l4proto, plain, rule, same, state, table, verdict
from netdiag.rules.shape import Example


def fib(*flags: str, conditions: Any = (), key: str = "oif", present: bool = True, op: str = "eq") -> Any:
    """A filter that drops what its question finds, or does not find."""
    asked = NftExpression(name="fib", key=key, dreg=0, flags=(*flags, "present") if present else flags)
    one = rule(*conditions, (asked, same("00" if present else "00000000", op)), verdict("drop"))
    return table(chain("pre", one, hook="prerouting", priority="mangle"), name="fw")


def before(*conditions: Any, word: str = "accept") -> Any:
    """A rule before the filter."""
    first = rule(*conditions, verdict(word))
    return table(chain("pre", first, *fib("saddr", "iif").chains[0].rules, hook="prerouting", priority=-150), name="fw")


def _uplink(word: str = "marked", taps: int = 0, **fields: Any) -> HostBuilder:
    """Two uplinks, the default route by eth0; table 101 has that of eth1, and a rule leads there."""
    host = HostBuilder().link("eth0")
    for number in range(taps):
        host.tap(f"tap{number}")
    host.link("eth1", **fields)
    host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    host.route("default", via="10.1.0.2", dev="eth1", table=101)
    if word == "marked":
        host.rule(100, table=101, fwmark=1, fwmask=0xFFFFFFFF)
    if word == "by address":
        host.rule(100, table=101, src="10.1.0.1", src_len=32)
    return host


def _xt(flags: int, word: str = "drop") -> Any:
    """``iptables -t raw -A PREROUTING -m rpfilter ... -j DROP``."""
    asked = plain("match", key="rpfilter", value=flags.to_bytes(1, "little").hex())
    one = chain("PREROUTING", rule(asked, verdict(word), compat=True), hook="prerouting", priority="raw")
    return table(one, family="ip", name="raw")


def asymmetric_examples() -> Iterator[Example]:
    """Of hosts with two uplinks, or two cards."""

    def case(name: str, why: str, ruleset: Any, host: HostBuilder | None = None, fires: int = 0) -> Example:
        tables = (host or _uplink()).nft(ruleset).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    drops = fib("saddr", "iif")
    yield Example(
        name="answers to marked packets",
        why="they come back unmarked, and the unmarked way leaves by eth0",
        tables=_uplink().nft(drops).build(),
        fires=1,
        subject=subject("nft-chain", family="inet", table="fw", chain="pre"),
        severity="warning",
        says=("on eth1: their way back leaves by eth0; rule 100 (from all fwmark 0x1 lookup 101) sends by it",),
    )
    yield case("iptables, what has no way back", "the same", _xt(8), fires=1)
    legacy = msgspec.structs.replace(_xt(8), flags=("legacy",))
    yield Example(name="iptables-legacy", why="nft does not show it", tables=_uplink().nft(legacy=(legacy,)).build(),
                  fires=1)  # fmt: skip
    yield case("iptables, loose", "a way back there is", _xt(8 | 1))
    yield case("iptables, with the mark", "it may be restored", _xt(8 | 2))
    yield case("iptables, what has a way back", "is dropped by another idea", _xt(0))
    yield case("iptables, accepts what has one", "it drops nothing", _xt(0, "accept"))
    yield case("a table that no rule leads to", "the second uplink's address", drops, _uplink(""), 1)
    yield case("a rule for the address", "symmetric", drops, _uplink("by address"))
    yield case("many guests", "only links that lead on are asked", drops, _uplink("", taps=MOST_LINKS), 1)
    drop = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").address("lo", "203.0.113.7/32")
    drop.route("default", via="10.0.0.2", dev="eth0").route("default", dev="lo", table=101)
    drop.rule(100, table=101, fwmark=1)
    yield case("sent to loopback to get rid of it", "no answer comes from there", drops, drop)
    yield case("a standby route", "it is not used", drops, _uplink("").rule(40000, table=101))
    yield case("some are accepted before", "who knows", before(state("established")))
    yield case("of an interface in a bridge", "no packet of IP", drops, _uplink(master=1))
    yield case("of an interface without carrier", "no packet", drops, _uplink(carrier=False))
    yield case("with the mark in the question", "it may be restored", fib("saddr", "mark", "iif"))
    yield case("IPv6, answers to marked packets", "the unmarked way leaves by eth0", drops, _six(), 1)
    second = _six().route("default", via="2001:db8:1::2", dev="eth1", priority=2000)
    yield case("IPv6, a standby by that uplink", "it is not taken, and so not found", drops, second, 1)
    best = _six().route("default", via="2001:db8:1::2", dev="eth1", priority=500)
    counted = _standby(9)
    yield case("IPv6, likewise without the rule", "whoever sends by it is not known", drops, _standby_host())
    yield Example(name="IPv6, a standby, and packets counted", why="somebody sends by it, or lies", fires=1,
                  tables=_standby_host().nft(counted).build(), severity="info", confidence="possible")  # fmt: skip
    yield case("IPv6, a standby, none counted", "nobody sends by it", _standby(0), _standby_host())
    yield case("IPv6, a standby, all packets counted", "not those that it drops", _standby(9, first=True),
               _standby_host())  # fmt: skip
    both = _standby_host().link("eth2").address("eth2", "2001:db8:2::1/64")
    both.route("default", via="2001:db8:2::2", dev="eth2", table=102)
    yield Example(name="IPv6, a standby, and a table without a rule", why="the worse is told", fires=1,
                  tables=both.nft(counted).build(), severity="warning")  # fmt: skip
    yield case("IPv6, the better one by that uplink", "it is found", drops, best)
    for proto, fires in ((58, 1), (6, 0)):
        yield case(f"IPv6, protocol {proto} passes before", "is it all?", before(l4proto(proto)), _six(), fires)
    yield case("IPv6, with the mark", "it may be restored", fib("saddr", "mark", "iif"), _six())
    yield case("IPv6, a rule for the address", "symmetric", drops, _six(src="2001:db8:1::1", src_len=128))
    yield from _second_card_examples()


def _second_card_examples() -> Iterator[Example]:
    """A card that others reach, and over which no route leads on."""

    def case(name: str, why: str, host: HostBuilder, packets: int = 9, fires: int = 0) -> Example:
        told: dict[str, Any] = {"severity": "info", "confidence": "possible"} if fires else {}
        says = ("on eth1: their way back leaves by eth0; no route leads on by eth1",) if fires else ()
        tables = host.nft(_standby(packets)).build()
        return Example(name=f"a second card: {name}", why=why, tables=tables, fires=fires, says=says, **told)

    def host(prefix: str = "10.1.0.1/24", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").link("eth1", **fields).address("eth0", "10.0.0.1/24").address("eth1", prefix)
        return made.route("default", via="10.0.0.2", dev="eth0")

    yield case("packets counted", "others come by it, or lie", host(), fires=1)
    yield case("none counted", "nobody comes by it", host(), 0)
    yield case("a link-local address alone", "nobody beyond reaches it", host("fe80::1/64"))
    yield case("a tunnel's", "it takes in whom it knows", host(flags=0x1 | 0x80))
    alone = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
    yield case("no way out at all", "where would they come from", alone)


def _standby(packets: int, *, first: bool = False) -> Any:
    """A filter of IPv6 with a counter behind the question, or before it."""
    plain_table = fib("saddr", "iif")
    counter = NftExpression(name="counter", packets=packets)
    one = plain_table.chains[0].rules[0]
    steps = (counter, *one.expressions) if first else (*one.expressions[:-1], counter, one.expressions[-1])
    told = msgspec.structs.replace(one, expressions=steps)
    return table(chain("pre", told, hook="prerouting", priority="mangle"), name="fw")


def _standby_host() -> HostBuilder:
    """Two uplinks, the second one's default route is of a higher metric."""
    host = HostBuilder().link("eth0").link("eth1")
    host.address("eth0", "2001:db8::1/64").address("eth1", "2001:db8:1::1/64")
    host.route("default", via="2001:db8::2", dev="eth0", priority=100)
    return host.route("default", via="2001:db8:1::2", dev="eth1", priority=200)


def _six(**rule: Any) -> HostBuilder:
    """Two uplinks of IPv6, as of IPv4 above."""
    host = HostBuilder().link("eth0").link("eth1")
    host.address("eth0", "2001:db8::1/64").address("eth1", "2001:db8:1::1/64")
    host.route("default", via="2001:db8::2", dev="eth0")
    host.route("default", via="2001:db8:1::2", dev="eth1", table=101)
    return host.rule(100, family="inet6", table=101, **(rule or {"fwmark": 1, "fwmask": 0xFFFFFFFF}))
