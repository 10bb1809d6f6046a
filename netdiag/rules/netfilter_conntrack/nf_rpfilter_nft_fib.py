"""What it checks
  A rule of nftables or iptables drops packets whose source has no route back by the interface that they came in by (fib
  saddr . iif oif missing; -m rpfilter --invert), without looking at their mark, and by this host's own routes that hits
  what must arrive: the encrypted packets of a WireGuard device, which leave by a mark (fwmark) without which their way
  back is the tunnel itself; or, as a warning, the answers to what a rule sends by an interface, and what comes for the
  address of an uplink whose table no rule leads to.

Why it matters
  The packets are dropped before WireGuard or any program sees them, while rp_filter is 0 and nothing is counted as
  reverse path. firewalld's IPv6_rpfilter does it for IPv6 alone: the tunnel works over IPv4 and is dead over IPv6.

Confirm
  nft -a list chain FAMILY TABLE CHAIN, or iptables-save -c
  ip route get ENDPOINT; ip route get ENDPOINT mark MARK
  ip route get SOURCE from ADDRESS

Fix
  Put the mark into the question: fib saddr . mark . iif oif missing (rpfilter --validmark), and give the packets of
  the endpoint the mark (ct mark restored in prerouting, or meta mark set by udp sport PORT). Or accept them before the
  rule: nft insert rule FAMILY TABLE CHAIN iifname UPLINK udp sport PORT accept. firewalld: IPv6_rpfilter=loose. Or make
  the ways symmetric: ip rule add from ADDRESS lookup TABLE, so that answers leave by the uplink that was asked.

Not flagged
  Reverse path filters on an edge that is symmetric: the rule alone is a decision. Rules with the mark, or for other
  interfaces. Tunnels whose endpoint is reached by the same interface without the mark. Ways over another interface that
  only a standby route speaks for, or none, as of a second card that others reach: info where the rule has counted
  packets; whether others chose that way or lied about their source is not seen from here. Filters behind a rule that
  may accept such packets.

References
  nft(8) "FIB EXPRESSIONS"; iptables-extensions(8) rpfilter; net/ipv4/netfilter/nft_fib_ipv4.c, ipt_rpfilter.c,
  net/ipv6/netfilter/nft_fib_ipv6.c; firewalld issue 603
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.nft import NftExpression
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.arrivals import MOST_LINKS, Arrivals, Dropped, overruled
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    CT_DIRECTION,
    iifname,
    plain,
    port,
    same,
    state,
)
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.nftplaces import chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.rpfiltercases import asymmetric_examples, before, fib
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, devices, peer_subject, query_to

RULE = Rule(
    id="nf-rpfilter-nft-fib",
    title="a reverse path filter of the firewall drops what must arrive",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "nft"),
    consults=("wireguard",),
    explains=("wg-never-handshaked", "wg-handshake-stale"),
)
HOOKS = ("prerouting", "input")


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    steps = (e for one in view.netfilter.tables for at in one.chains for row in at.rules for e in row.expressions)
    if not any(_is_filter(step) for step in steps):
        return  # a host with a thousand peers need not look up their ways
    if view.unknown("wireguard"):
        yield Unjudged(reason="wireguard: not read")
    said: set[tuple[str, str, str]] = set()
    for drops, draft in (*_tunnels(view), *_uplinks(view)):
        key = (drops.at.table.family, drops.at.table.name, drops.at.chain.name)
        if key not in said:
            said.add(key)
            yield draft


def _is_filter(step: NftExpression) -> bool:
    """Whether an expression may ask for the way back."""
    return _asks_the_way_back(step.flags, step.key) or (step.name == "match" and step.key == "rpfilter")


def _asks_the_way_back(flags: tuple[str, ...], result: str | None) -> bool:
    """Whether a fib expression asks if the source is behind the interface, without the mark."""
    return result == "oif" and "saddr" in flags and "iif" in flags and "mark" not in flags


def _not_found(flags: tuple[str, ...], result: str, packet: Packet) -> bytes | None:
    """The answer to the question for the way back where there is none."""
    return bytes(4) if _asks_the_way_back(flags, result) else None


def _blocked(view: HostView, packet: Packet) -> Possible | None:
    """What drops the packet for certain, and would not if its way back were found."""
    for hook in HOOKS:
        found = view.netfilter.hook(hook, replace(packet, fib=_not_found))
        there = view.netfilter.hook(hook, packet)
        if found.passes == "no" and there.passes != "no":
            return found.blocker
    return None


def _tunnels(view: HostView) -> Iterator[tuple[Possible, Draft]]:
    """Filters that drop what comes from an endpoint, and the finding."""
    for device, link in devices(view):
        for peer in device.peers if link.up else ():
            query = query_to(device, peer)
            if query is None:
                continue
            hops = view.lookup(query).hops
            stops = [stop for hop in hops if (stop := _stopped(view, device, query, hop.oif))]
            if stops and len(stops) == len(hops):
                yield stops[0], _finding(view, device, peer, stops[0], hops[0].oif)


def _uplinks(view: HostView) -> Iterator[tuple[Possible, Draft]]:
    """Filters that drop what must arrive on an interface by the routes over it."""
    links = [link for link in view.links if link.lower_up and not link.loopback and link.master is None]
    tunnels = {device.fwmark for device, _ in devices(view) if device.fwmark}
    for family in ("inet", "inet6"):
        arrivals = Arrivals(view, links, family)
        onward = arrivals.leading_on()
        asked = [link for link in links if link.ifindex in onward][:MOST_LINKS]
        beside = [link for link in links if link.ifindex not in onward and not link.noarp][:MOST_LINKS]
        lost = [one for link in asked for one in arrivals.expected(link)]
        lost += [one for link in beside if onward for one in arrivals.beside(link)]
        for dropped in sorted(lost, key=lambda one: one.standby):
            if dropped.mark in tunnels:
                continue  # WireGuard's own packets, by the way to each endpoint
            link = dropped.link
            packet = Packet(
                family=family,
                iif=link.ifname,
                iifindex=link.ifindex,
                saddr=dropped.source,
                daddr=dropped.address,
                proto=6,  # filters of IPv6 let neighbour discovery pass before they ask
                ct_state=None,
                ct_reply=None,
                ct_mark=None,
                dnatted=None,
                daddr_type="local",
            )
            stop = _blocked(view, packet)
            if stop is not None and (not dropped.standby or _counted(stop)):
                yield stop, _asymmetric(view, dropped, stop)


def _counted(stop: Possible) -> int:
    """Packets that the rule's counter has counted, behind the question for the way back."""
    steps = stop.at.rule.expressions if stop.at.rule is not None else ()
    asked = next((at for at, step in enumerate(steps) if _is_filter(step)), len(steps))
    return max((step.packets or 0 for step in steps[asked:] if step.name == "counter"), default=0)


def _stopped(view: HostView, device: WireguardDevice, query: Query, oif: int) -> Possible | None:
    """What drops the endpoint's answers for certain, and would not if their way back were found."""
    family, uplink = query.family, view.ifname(oif)
    back = view.lookup(Query(family=family, dst=query.dst))
    if oif in {hop.oif for one in (back, *back.alternatives) for hop in one.hops}:
        return None

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
    return _blocked(view, packet)


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


def _asymmetric(view: HostView, dropped: Dropped, stop: Possible) -> Draft:
    """Packets that come in by one interface and are answered by another."""
    at, link = stop.at, dropped.link
    hops = ", ".join(sorted({view.ifname(hop.oif) for hop in dropped.way.hops if hop.oif}))
    back = f"leaves by {hops}" if hops else f"does not exist ({dropped.way.error})"
    version = "-6 " if ":" in dropped.source else ""
    nft, xt = f"iifname {quoted(link.ifname)} accept", f"-i {quoted(link.ifname)} -j ACCEPT"
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} drops packets to {dropped.address} from sources such as {dropped.source} on "
        f"{link.ifname}: their way back {back}; {dropped.why}",
        severity="info" if dropped.standby else "warning",
        confidence="possible" if dropped.standby else None,
        evidence=[
            fact(stop),
            *([("packets counted by the rule", _counted(stop), "NFT_MSG_GETRULE counter")] if _counted(stop) else []),
            (f"way back to {dropped.source}", hops or dropped.way.error, "policy rules and tables as read"),
        ],
        confirm=[list_chain(at.table, at.chain), f"ip {version}route get {dropped.source} from {dropped.address}"],
        fix=inserts(at.table, at.chain.name, [nft], [xt]),
        touches=[subject("link", ifname=link.ifname), *overruled(view, dropped)],
        breaks=[subject("address", address=dropped.address, ifname=link.ifname)],
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


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: WireguardBuilder, ruleset: Any, fires: int = 0) -> Example:
        host.nft(*[ruleset] if ruleset else [])
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    plain_rule, number = fib("saddr", "iif"), fib("saddr", "iif", present=False)
    yield case("tunnel for everything", "its endpoint's unmarked way back is the tunnel", _host(), plain_rule, 1)
    yield case("asked for the number", "0 is: not found", _host(), number, 1)
    other = fib("saddr", "iif", present=False, op="neq")
    yield case("drops what is found", "the other way round, and not found passes", _host(), other)
    yield case("mark in the question", "as it must be", _host(), fib("saddr", "mark", "iif"))
    yield case("asked without the interface", "a way back there is", _host(), fib("saddr"))
    yield case("asked for the destination", "it is this host's", _host(), fib("daddr", "iif"))
    kind = fib("saddr", "iif", key="type", present=False)
    yield case("asked for the type", "it is not known here", _host(), kind)
    yield case(
        "other interface", "the uplink is not filtered", _host(), fib("saddr", "iif", conditions=[iifname("lan0")])
    )
    some = fib("saddr", "iif", conditions=[plain("limit")])
    yield case("a limited drop", "the next one passes", _host(), some)
    yield case("symmetric host", "the rule is a decision", _host(mark=0), plain_rule)
    yield case("accepted before", "the filter never asks", _host(), before(iifname("eth0")))
    yield case("the port accepted before", "likewise", _host(), before(port(17, 51820)))
    yield case("answers accepted before", "likewise", _host(), before(state("established"), (CT_DIRECTION, same("01"))))
    yield case("dropped before", "not by the filter", _host(), before(iifname("eth0"), word="drop"))
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
    yield case("several ways with the mark", "by whichever the answers come, none leads back", both, plain_rule, 1)
    several = _two_cards()
    several.address("eth0", "2001:db8::2/64").address("eth1", "2001:db8:1::2/64")
    ways = [several.hop("eth0", "2001:db8::1"), several.hop("eth1", "2001:db8:1::1")]
    several.route("2001:db8:ffff::/48", hops=ways, table=100)
    several.rule(100, family="inet6", table=100, fwmark=7, fwmask=0xFFFFFFFF)
    several.wireguard("wg0", fwmark=7).wg_peer("wg0", "a", endpoint="2001:db8:ffff::1")
    yield case("IPv6, several ways with the mark", "the same", several, plain_rule, 1)
    several.route("2001:db8:ffff::/48", via="2001:db8::1", dev="eth0")
    yield case("one of several ways leads back", "answers may come by that one", several, None)
    yield from asymmetric_examples()
    dark = HostBuilder().link("eth0").nft(plain_rule).build()
    late = ("wireguard",)
    yield Example(name="WireGuard not read", why="not judged, and not clean", tables=dark, late=late, unjudged=True)
    yield Example(name="no WireGuard", why="nothing to judge", tables=dark, absent=late)
