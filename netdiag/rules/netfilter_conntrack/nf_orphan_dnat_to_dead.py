"""What it checks
  A rule rewrites the destination of packets to an address that nobody can have: there is no route to it, its interface
  is down or has no carrier, its bridge has no ports, it does not answer ARP or neighbour discovery, it lies among this
  host's guests and none of them has it, or it is private (RFC 1918) and would leave by an uplink with public addresses.

Why it matters
  The port on this host is taken by a guest that is gone: connections time out, and a new allocation of the same port
  that is listed behind the old rule gets no packet at all.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  ip route get ADDRESS
  ip neigh show to ADDRESS

Fix
  nft delete rule FAMILY TABLE CHAIN handle N, after a look at who owns the table: a program that still runs puts the
  rule back. Connections that are open go on to the old address until conntrack -D --dst-nat ADDRESS.

Not flagged
  Targets that this host knows nothing bad of: on another host behind a gateway, on a link where no neighbour was asked
  yet. The host's own addresses. Dormant tables. Rules of CNI's portmap (cni-portmap-stale). An allocation that is just
  starting looks the same for some seconds: look twice.

References
  net/netfilter/nft_nat.c; nft(8) "NAT STATEMENTS"
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Subject
from netdiag.model.nft import NftElement, NftExpression, NftSet
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import DPORT, chain, l4proto, nat, port, rule, table
from netdiag.rules.deadtargets import dead_targets, finding
from netdiag.rules.shape import Example, Rule
from netdiag.rules.translations import READS

RULE = Rule(
    id="nf-orphan-dnat-to-dead",
    title="a rule sends packets to an address that nobody has",
    severity="warning",
    confidence="likely",
    reads=READS,
)


def check(view: HostView) -> Iterator[Draft]:
    for one, why, count in dead_targets(view, cni=False):
        yield finding(RULE, one, why, count)


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
    host.tap("tap0").route("10.0.0.2/32", dev="tap0")
    return host


def _dnat(address: str, *, name: str = "prerouting", family: str = "inet", **fields: Any) -> Any:
    one = rule(port(6, 8080), nat("dnat", address, 80))
    return table(
        chain(name, one, hook="prerouting", priority="dstnat", type="nat"), name="nat", family=family, **fields
    )


def examples() -> Iterator[Example]:
    about: Subject = {"kind": "nft-chain", "family": "inet", "table": "nat", "chain": "prerouting"}

    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, subject=about if fires else None)

    def bridged(**fields: Any) -> HostBuilder:
        return _host().link("br0", kind="bridge", **fields).address("br0", "10.1.0.1/24")

    dead = _dnat("10.1.0.5")
    yield case("among the guests", "its sibling is there, its own route is gone", _host().nft(_dnat("10.0.0.9")), 1)
    yield case("bridge without ports", "nobody is on it", bridged().nft(dead), 1)
    yield case("no carrier", "the last port went", bridged(carrier=False).nft(dead), 1)
    port1 = bridged().tap("tap9", master="br0").neighbour("10.1.0.5", dev="br0", state="failed").nft(dead)
    yield case("no answer", "the address was asked for", port1, 1)
    refused = _host().route("10.1.0.0/24", type="unreachable").nft(dead)
    yield case("unreachable", "a route says so", refused, 1)
    six = _host().route("2001:db8:5::/64", type="blackhole").nft(_dnat("2001:db8:5::5"))
    yield case("IPv6", "the same", six, 1)
    busy = bridged().tap("tap9", master="br0").neighbour("10.1.0.7", dev="br0", state="stale").nft(dead)
    yield case("every guest is somebody else", "as many neighbours as ports", busy, 1)
    two = bridged().tap("tap8", master="br0").tap("tap9", master="br0")
    two.neighbour("10.1.0.7", dev="br0", state="stale").nft(dead)
    yield case("a guest is left", "the second port may have it", two)
    lost = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    yield case("private, to the Internet", "nobody out there routes it", lost.nft(dead), 1)
    inside = HostBuilder().link("eth0").address("eth0", "172.16.0.2/24").route("default", via="172.16.0.1", dev="eth0")
    yield case("private, inside", "the gateway may know the way", inside.nft(_dnat("10.1.0.5")))
    alone = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").nft(dead)
    yield case("no route", "not even a default one", alone, 1)
    twice = bridged().nft(table(chain("prerouting", *[rule(nat("dnat", f"10.1.0.{n}")) for n in (5, 6)],
                                      hook="prerouting", priority="dstnat", type="nat"), name="nat"))  # fmt: skip
    yield case("two in a chain", "told once", twice, 1)
    yield case("alive", "the guest is there", _host().nft(_dnat("10.0.0.2")))
    yield case("another host", "behind the gateway, not among the guests", _host().nft(_dnat("203.0.113.9")))
    yield case("never asked", "no neighbour entry proves nothing", bridged().tap("tap9", master="br0").nft(dead))
    yield case("own address", "a redirect in other words", _host().nft(_dnat("192.0.2.2")))
    yield case("dormant", "not in force", _host().nft(_dnat("10.0.0.9", dormant=True)))
    yield case("portmap of CNI", "cni-portmap-stale speaks", bridged().nft(_dnat("10.1.0.5", name="CNI-DN-1234")))
    yield from _maps()


def _maps() -> Iterator[Example]:
    """Targets that a map gives by the port: the entry of the dead one is named, and taken out."""
    by_port = (NftExpression(name="lookup", sreg=0, dreg=0, set="be"), nat("dnat", "0.0.0.0")[1])
    for name, flags, words in (
        ("a map", ("map",), ("sends be { 8081 } to 10.0.0.9", "delete element inet nat be { 8081 }")),
        ("a map in the rule", ("map", "anonymous"), ("sends { 8081 } to 10.0.0.9", "nft delete rule inet nat pre")),
    ):
        held = tuple(NftElement(key=key, value=to) for key, to in (("1f90", "0a000002"), ("1f91", "0a000009")))
        backends = NftSet(name="be", handle=1, key_type=13, key_len=2, flags=flags, elements=held)
        one = rule(l4proto(6), (DPORT, *by_port))
        pre = chain("pre", one, hook="prerouting", priority="dstnat", type="nat")
        host = _host().nft(table(pre, name="nat", sets=(backends,)))
        why = "one of its two targets is gone"
        yield Example(name=name, why=why, tables=host.build(), fires=1, says=words)
