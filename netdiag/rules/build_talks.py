"""Hosts with conversations of their own (BGP, WireGuard) and filters, for the examples of nf-own-traffic-dropped; and
those about directions and ways. Pure; nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.model.nft import NftExpression
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import (
    CT_DIRECTION,
    chain,
    iifname,
    l4proto,
    mark,
    meta,
    plain,
    port,
    rule,
    saddr,
    same,
    state,
    table,
    verdict,
)
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example

DROP, ACCEPT = verdict("drop"), verdict("accept")


def bgp_host(up: bool = False, **fields: Any) -> BirdHost:
    """A BGP session that is down (or ``up``), and the link to its neighbour."""
    host = BirdHost()
    made = host.bgp("up1", **fields) if up else host.bgp_down("up1", **fields)
    made.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    return host


def wg_host(age: float | None = 20.0, **peer: Any) -> WireguardBuilder:
    """A WireGuard tunnel with one peer."""
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24")
    return host.wireguard("wg0").wg_peer("wg0", "a", endpoint="192.0.2.9", age=age, **peer)


def at_hook(hook: str, *rules: Any, policy: str = "accept", **fields: Any) -> Any:
    """A table with one chain at a hook."""
    return table(chain(hook, *rules, hook=hook, policy=policy), **fields)


def by_direction() -> Iterator[Example]:
    """Rules that go by the direction of a connection, its owner, mark or state."""

    def case(name: str, why: str, host: Any, *tables: Any, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.nft(*tables).build(), fires=fires)

    answers = rule((CT_DIRECTION, same("01")), ACCEPT)
    calls, listens = rule(port(IPPROTO_TCP, BGP_PORT), DROP), rule(port(IPPROTO_TCP, BGP_PORT, source=True), DROP)
    back = at_hook("input", answers, policy="drop")
    yield case("answers, by their direction", "we call", bgp_host(), back)
    out = at_hook("output", calls, name="out")
    yield case("answers only, and no call", "they may not call in", bgp_host(), back, out, fires=1)
    both = at_hook("output", answers, calls, listens)
    yield case("our answers, by their direction", "they call", bgp_host(), both)
    seldom = at_hook("input", rule(port(IPPROTO_TCP, BGP_PORT, source=True), plain("limit"), DROP), calls)
    yield case("some answers are dropped", "the next one passes", bgp_host(), seldom)
    begins = (
        *l4proto(IPPROTO_TCP),
        NftExpression(name="payload", key="transport", dreg=0, offset=13, length=1),
        same("02"),
    )
    first = at_hook("output", rule(begins, DROP)), at_hook("input", rule(begins, DROP), name="in")
    yield case("no connection begins", "neither here nor there", bgp_host(), *first, fires=1)
    known = at_hook("input", rule(state("established"), ACCEPT), policy="drop")
    free = table(chain("raw", rule(plain("notrack")), hook="prerouting", priority="raw"), name="raw")
    yield case("answers that are not tracked", "nf-notrack-with-stateful speaks", bgp_host(), known, free)
    heard = rule(port(IPPROTO_UDP, 51820), state("established"), ACCEPT)
    peer = at_hook("input", heard, rule(saddr("192.0.2.9/32"), DROP))
    yield case("a peer's answers to our port", "we begin", wg_host(), peer)
    closed = rule(port(IPPROTO_UDP, 51820), DROP)
    ends = at_hook("output", closed), at_hook("input", closed, name="in")
    yield case("WireGuard both ways", "nobody can begin", wg_host(), *ends, fires=1)
    own = rule(mark(0), meta("skuid", bytes(4)), port(IPPROTO_UDP, 51820), DROP)
    yield case("WireGuard, as the kernel sends it", "no mark, no user", wg_host(), at_hook("output", own), fires=1)


def by_way() -> Iterator[Example]:
    """Conversations whose way is not known, or ends on this host."""
    shut = at_hook("input", policy="drop")
    far: dict[str, Any] = {"neighbor_address": "198.51.100.9", "session": "external multihop AS4"}
    some = at_hook("input", rule(iifname("eth1"), ACCEPT), policy="drop")
    for ruleset, fires in ((shut, 1), (some, 0)):
        host = bgp_host(**far)
        host.link("eth1").address("eth1", "203.0.113.2/24")
        host.route("198.51.100.0/24", hops=[host.hop("eth0", "192.0.2.1"), host.hop("eth1", "203.0.113.1")])
        why = "whichever the answers come by"
        name = f"a neighbour by two ways, {'both' if fires else 'one of them'} closed"
        yield Example(name=name, why=why, tables=host.nft(ruleset).build(), fires=fires)
    here = bgp_host(neighbor_address="192.0.2.2").nft(shut)
    yield Example(name="a session with itself", why="nothing leaves", tables=here.build())
    ranged = bgp_host(neighbor_address=None).nft(shut)
    yield Example(name="a session with a range", why="whoever calls", tables=ranged.build())
    called = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint=None, persistent_keepalive=25).nft(shut)
    yield Example(name="a peer without an endpoint", why="it called once", tables=called.build())
