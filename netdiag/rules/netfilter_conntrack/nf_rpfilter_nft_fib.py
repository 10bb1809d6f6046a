"""What it checks
  An nftables rule drops packets whose source has no route back by the interface that they came in by (fib saddr . iif
  oif missing), without looking at their mark, and by this host's own routes that hits the encrypted packets of a
  WireGuard device: they leave by a mark (fwmark), and without the mark their way back is the tunnel itself.

Why it matters
  The answers of the tunnel's endpoint are dropped before WireGuard sees them, while rp_filter is 0 and nothing is
  counted as reverse path. firewalld's IPv6_rpfilter does it for IPv6 alone: the tunnel works over IPv4 and is dead over
  IPv6.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  ip route get ENDPOINT; ip route get ENDPOINT mark MARK

Fix
  Put the mark into the question: fib saddr . mark . iif oif missing, and give the packets of the endpoint the mark
  (ct mark restored in prerouting, or meta mark set by udp sport PORT). Or accept them before the rule: nft insert rule
  FAMILY TABLE CHAIN iifname UPLINK udp sport PORT accept. firewalld: IPv6_rpfilter=loose.

Not flagged
  Reverse path filters on an edge that is symmetric: the rule alone is a decision. Rules with the mark, or for other
  interfaces. Tunnels whose endpoint is reached by the same interface without the mark.

References
  nft(8) "FIB EXPRESSIONS"; net/ipv4/netfilter/nft_fib_ipv4.c, net/ipv6/netfilter/nft_fib_ipv6.c; firewalld issue 603
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.nft import NftExpression
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_nft import CT_DIRECTION, chain, iifname, port, rule, same, state, table, verdict
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.nftplaces import chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, devices, peer_subject, query_to

RULE = Rule(
    id="nf-rpfilter-nft-fib",
    title="a reverse path filter of nftables drops a tunnel's own packets",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "wireguard", "nft"),
    explains=("wg-never-handshaked", "wg-handshake-stale"),
)
HOOKS = ("prerouting", "input")


def check(view: HostView) -> Iterator[Draft]:
    steps = (e for one in view.nft.tables for at in one.chains for row in at.rules for e in row.expressions)
    if not any(step.name == "fib" and _asks_the_way_back(step.flags, step.key) for step in steps):
        return  # a host with a thousand peers need not look up their ways
    said: set[tuple[str, str, str]] = set()
    for device, link in devices(view):
        for peer in device.peers if link.up else ():
            query = query_to(device, peer)
            if query is None or not (answer := view.lookup(query)).ok or answer.oif is None:
                continue
            stop = _stopped(view, device, query, answer.oif)
            if stop is None:
                continue
            key = (stop.at.table.family, stop.at.table.name, stop.at.chain.name)
            if key not in said:
                said.add(key)
                yield _finding(view, device, peer, stop, answer.oif)


def _asks_the_way_back(flags: tuple[str, ...], result: str | None) -> bool:
    """Whether a fib expression asks if the source is behind the interface, without the mark."""
    return result == "oif" and "saddr" in flags and "iif" in flags and "mark" not in flags


def _stopped(view: HostView, device: WireguardDevice, query: Query, oif: int) -> Possible | None:
    """What drops the endpoint's answers for certain, and would not if their way back were found."""
    family, uplink = query.family, view.ifname(oif)
    back = view.lookup(Query(family=family, dst=query.dst))
    if oif in {hop.oif for one in (back, *back.alternatives) for hop in one.hops}:
        return None

    def asked(flags: tuple[str, ...], result: str, packet: Packet) -> bytes | None:
        """The fib expression, for the unmarked packet."""
        return bytes(4) if _asks_the_way_back(flags, result) else None

    packet = Packet(
        family=family,
        iif=uplink,
        iifindex=oif,
        saddr=query.dst,
        proto=17,
        sport=query.dport,
        dport=device.listen_port,
        ct_state="established",
        ct_reply=True,
        daddr_type="local",
    )
    for hook in HOOKS:
        found = view.netfilter.hook(hook, replace(packet, fib=asked))
        there = view.netfilter.hook(hook, packet)
        if found.passes == "no" and there.passes != "no":
            return found.blocker
    return None


def _finding(view: HostView, device: WireguardDevice, peer: WireguardPeer, stop: Possible, oif: int) -> Draft:
    at, uplink, port = stop.at, view.ifname(oif), peer.endpoint_port
    version = "-6 " if peer.endpoint and ":" in peer.endpoint else ""
    nft = [f"iifname {quoted(uplink)} udp sport {port} accept"]
    xt = [f"-i {quoted(uplink)} -p udp --sport {port} -j ACCEPT"]
    mark = f"{device.fwmark:#x}"
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} drops what comes from {peer.endpoint} on {uplink}: without the mark {mark} the way"
        f" back to the endpoint of {device.ifname} is not {uplink}",
        evidence=[
            fact(stop),
            (f"fwmark of {device.ifname}", mark, "WGDEVICE_A_FWMARK"),
            (f"way to {peer.endpoint} with the mark", uplink, "policy routing of this host"),
        ],
        confirm=[list_chain(at.table, at.chain), f"ip {version}route get {peer.endpoint}"],
        fix=inserts(at.table, at.chain.name, nft, xt),
        touches=[device_subject(device)],
        breaks=[device_subject(device), *(peer_subject(device, one) for one in device.peers)],
    )


def _host(*, mark: int = 0xCA6C) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    host.wireguard("wg0", fwmark=mark).wg_peer("wg0", "a", endpoint="2001:db8:ffff::1", allowed_ips=("::/0",))
    host.address("wg0", "fd00::2/64")
    if mark:
        host.route("default", dev="wg0", family="inet6", table=51820)
        host.rule(32764, family="inet6", table=254, suppress_prefixlength=0)
        host.rule(32765, family="inet6", table=51820, fwmark=mark, fwmask=0xFFFFFFFF, invert=True)
    return host


def _two_cards() -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24").link("eth1").address("eth1", "192.0.3.2/24")
    return host


def _fib(*flags: str, conditions: Any = (), key: str = "oif", present: bool = True, op: str = "eq") -> Any:
    asked = NftExpression(name="fib", key=key, dreg=0, flags=(*flags, "present") if present else flags)
    one = rule(*conditions, (asked, same("00" if present else "00000000", op)), verdict("drop"))
    return table(chain("pre", one, hook="prerouting", priority="mangle"), name="fw")


def _before(*conditions: Any, word: str = "accept") -> Any:
    """A rule before the filter."""
    first = rule(*conditions, verdict(word))
    return table(
        chain("pre", first, *_fib("saddr", "iif").chains[0].rules, hook="prerouting", priority=-150), name="fw"
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: WireguardBuilder, ruleset: Any, fires: int = 0) -> Example:
        host.nft(*[ruleset] if ruleset else [])
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    plain_rule, number = _fib("saddr", "iif"), _fib("saddr", "iif", present=False)
    yield case("tunnel for everything", "its endpoint's unmarked way back is the tunnel", _host(), plain_rule, 1)
    yield case("asked for the number", "0 is: not found", _host(), number, 1)
    other = _fib("saddr", "iif", present=False, op="neq")
    yield case("drops what is found", "the other way round, and not found passes", _host(), other)
    yield case("mark in the question", "as it must be", _host(), _fib("saddr", "mark", "iif"))
    yield case("asked without the interface", "a way back there is", _host(), _fib("saddr"))
    yield case("asked for the destination", "it is this host's", _host(), _fib("daddr", "iif"))
    kind = _fib("saddr", "iif", key="type", present=False)
    yield case("asked for the type", "it is not known here", _host(), kind)
    yield case(
        "other interface", "the uplink is not filtered", _host(), _fib("saddr", "iif", conditions=[iifname("lan0")])
    )
    yield case("symmetric host", "the rule is a decision", _host(mark=0), plain_rule)
    yield case("accepted before", "the filter never asks", _host(), _before(iifname("eth0")))
    yield case("the port accepted before", "likewise", _host(), _before(port(17, 51820)))
    yield case(
        "answers accepted before", "likewise", _host(), _before(state("established"), (CT_DIRECTION, same("01")))
    )
    yield case("dropped before", "not by the filter", _host(), _before(iifname("eth0"), word="drop"))
    second = _host()
    second.wg_peer("wg0", "b", endpoint="2001:db8:ffff::2", allowed_ips=("fd00::3/128",))
    yield case("two peers", "one filter, told once", second, plain_rule, 1)
    waits = _host()
    waits.wg_peer("wg0", "b", endpoint=None, allowed_ips=("fd00::3/128",))
    yield case("a peer that has not come yet", "its endpoint is not known", waits, plain_rule, 1)
    lost = _host()
    lost.route("2001:db8:ffff::/64", dev="lo", type="unreachable")
    yield case("an endpoint without a way", "another fault", lost, plain_rule)
    split = _two_cards()
    split.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", table=100).rule(
        100, table=100, fwmark=7, fwmask=-1 % 2**32
    )
    split.wireguard("wg0", fwmark=7).wg_peer("wg0", "a", endpoint="198.51.100.1")
    yield case("no way without the mark", "nothing is found", split, plain_rule, 1)
    hops = [split.hop("eth0", "192.0.2.1"), split.hop("eth1", "192.0.3.1")]
    split.route("default", hops=hops)
    yield case("several ways without the mark", "the uplink is one of them", split, None)
    lost = _host()
    lost.route("default", dev="lo", family="inet6", type="unreachable", table=7)
    lost.rule(100, family="inet6", table=7, fwmark=0xCA6C, fwmask=0xFFFFFFFF)
    yield case("no way with the mark", "another fault", lost, plain_rule)
    both = _two_cards()
    both.route("default", hops=hops, table=100).rule(100, table=100, fwmark=7, fwmask=0xFFFFFFFF)
    both.wireguard("wg0", fwmark=7).wg_peer("wg0", "a", endpoint="198.51.100.1")
    yield case("several ways with the mark", "nobody knows by which the answers come", both, plain_rule)
