"""What it checks
  The filter drops, for certain and whatever the source, ICMP without which IP does not work: neighbour discovery of
  IPv6 at input or output, "packet too big" (ICMPv6 type 2) and "fragmentation needed" (ICMP type 3 code 4) at input or
  forward, and at output of a host that forwards. On every interface; neighbour discovery also where it passes on some,
  but on none by which the default route of IPv6 leads.

Why it matters
  Without neighbour solicitations and advertisements nobody on the link finds this host, nor does it find anybody, its
  gateway among them: IPv6 is dead once the entries have aged. Without "too big" a sender never learns that a tunnel on
  the way is smaller: small pages load, big ones hang, ssh works until the first long output.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  ip -6 neigh show
  tracepath -n DESTINATION          (from a client: the path MTU that it learns)

Fix
  nft insert rule FAMILY TABLE CHAIN meta l4proto ipv6-icmp accept for IPv6 (RFC 4890 says which types at least), and
  ct state related accept for the errors that belong to connections of this host or behind it. Both open little: errors
  are checked against the connection that they speak of.

Not flagged
  Filters that drop all of a family, or let nothing of it out, or in: it is switched off (on a host that forwards it
  only where what passes through is dropped as well). Interfaces that lead to no gateway of the default route, while
  it passes on others. Hosts and interfaces without an IPv6 address other than
  link-local ones. Echo requests that are not answered. Errors that belong to no connection. A limit of the rate.

References
  RFC 4890; RFC 4861; RFC 8201 section 4; RFC 1191; net/netfilter/nf_conntrack_proto_icmpv6.c (neighbour discovery is
  never tracked)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NUD_FAILED, NUD_INCOMPLETE
from netdiag.model.nft import NftExpression, NftRule
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    Expressions,
    chain,
    icmp,
    iifname,
    l4proto,
    oifname,
    plain,
    port,
    rule,
    same,
    state,
    table,
    verdict,
)
from netdiag.rules.nftplaces import chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unscoped import default_ways

RULE = Rule(
    id="nf-icmp-blocked",
    title="ICMP that IP cannot do without is dropped",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "nft"),
    consults=("neighbours",),
    explains=("neigh-gateway-failed", "ip-fragfails"),
)
UNANSWERED = NUD_FAILED | NUD_INCOMPLETE


@dataclass(frozen=True)
class Need:
    """A kind of ICMP that must pass."""

    name: str
    packet: Packet
    hooks: tuple[str, ...]
    severity: Severity
    nft: str
    xt: str


def _needs() -> tuple[Need, ...]:
    six = Packet(family="inet6", proto=58, iif=None, oif=None, mark=None, ct_mark=None, dnatted=None)
    solicit: dict[str, Any] = {"ct_state": "untracked", "icmp_code": 0, "daddr_type": None}
    nd = "meta l4proto ipv6-icmp accept"
    xt6 = "-p ipv6-icmp -j ACCEPT"
    four: dict[str, Any] = {"family": "inet", "proto": 1, "icmp_type": 3, "icmp_code": 4, "ct_state": "related"}
    related, xt4 = "ct state related accept", "-m conntrack --ctstate RELATED -j ACCEPT"
    ends, every = ("input", "output"), ("input", "forward", "output")
    return (
        Need("neighbour solicitations", replace(six, icmp_type=135, **solicit), ends, "critical", nd, xt6),
        Need("neighbour advertisements", replace(six, icmp_type=136, **solicit), ends, "critical", nd, xt6),
        Need("packet too big", replace(six, icmp_type=2, ct_state="related"), every, "warning", related, xt4),
        Need("fragmentation needed", replace(six, **four), every, "warning", related, xt4),
    )


def check(view: HostView) -> Iterator[Draft]:
    said: set[tuple[str, str, str]] = set()
    for need in _needs():
        family, discovery = need.packet.family, need.severity == "critical"
        for hook in need.hooks:
            links = _links(view, family)
            # Errors about packets that are too long come from those on the way; discovery is everybody's.
            if (hook == "forward" or (hook == "output" and not discovery)) and not _forwards(view, family):
                continue
            stops = [stop for link in links if (stop := _stop(view, hook, need.packet, link))]
            some = len(stops) < len(links)
            if some and discovery:  # guests' interfaces may be open; the way out lives by its gateway's answers
                links = [link for link in links if link.ifindex in default_ways(view, family)]
                stops = [stop for link in links if (stop := _stop(view, hook, need.packet, link))]
            if len(stops) < len(links) or _off(view, hook, family, links):
                continue
            stop = stops[0]
            key = (stop.at.table.family, stop.at.table.name, stop.at.chain.name)
            if key not in said:
                said.add(key)
                unanswered = list(_unanswered(view, links)) if discovery else []
                yield _finding(need, hook, stop, links, unanswered, some=some)


def _unanswered(view: HostView, links: list[Link]) -> Iterator[Subject]:
    """IPv6 neighbours that this host looks for in vain."""
    if view.read_whole("neighbours"):
        table, having = view.neighbours, [link.ifindex for link in links]
        for row in table.rows(np.flatnonzero((table.state & UNANSWERED != 0) & among(table.ifindex, having))):
            if row.family == "inet6":
                yield subject("neighbour", dst=row.dst, ifname=view.ifname(row.ifindex))


def _links(view: HostView, family: str) -> list[Link]:
    having = {row.ifindex for row in view.addresses if row.family == family and row.scope == 0}
    return [link for link in view.links if link.up and not link.loopback and link.ifindex in having][:6]


def _forwards(view: HostView, family: str) -> bool:
    name = "net.ipv4.ip_forward" if family == "inet" else "net.ipv6.conf.all.forwarding"
    return view.sysctl_int(name) == 1


def _stop(view: HostView, hook: str, packet: Packet, link: Link) -> Possible | None:
    found = view.netfilter.hook(hook, _at(hook, packet, link))
    return found.blocker if found.passes == "no" else None


def _at(hook: str, packet: Packet, link: Link) -> Packet:
    """The packet at a hook: input has no way out, output no way in."""
    if hook == "output":
        return replace(packet, iif="", oif=link.ifname, ct_reply=None)
    return replace(packet, iif=link.ifname, oif="" if hook == "input" else None)


def _off(view: HostView, hook: str, family: str, links: list[Link]) -> bool:
    """Whether the family is switched off: nothing passes here, or at this host's other end and through it."""
    other = {"input": "output", "output": "input"}.get(hook)
    ends = [other, "forward"] if _forwards(view, family) else [other]
    return _closed(view, hook, family, links) or all(end and _closed(view, end, family, links) for end in ends)


def _closed(view: HostView, hook: str, family: str, links: list[Link]) -> bool:
    """Whether nothing of the family passes at all, not even what is established."""
    known: dict[str, Any] = {"family": family, "mark": None, "ct_mark": None, "ct_state": "established"}
    kinds = [_at(hook, Packet(proto=proto, **known), link) for link in links for proto in (6, 17)]
    return all(view.netfilter.hook(hook, packet).passes == "no" for packet in kinds)


def _finding(
    need: Need, hook: str, stop: Possible, links: list[Link], unanswered: list[Subject], *, some: bool
) -> Draft:
    """``some``: it passes on other interfaces."""
    at, names = stop.at, ", ".join(link.ifname for link in links)
    where = f"on {names}, where the default route leads" if some else f"on every interface ({names})"
    own = [subject("host")] if hook == "output" and not unanswered and need.severity != "critical" else []
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} drops {need.name} at {hook} ({'ICMPv6' if need.packet.proto == 58 else 'ICMP'} type"
        f" {need.packet.icmp_type}), {where}",
        evidence=[fact(stop), ("asked", need.name, f"hook {hook}, ct state {need.packet.ct_state}")],
        confirm=[list_chain(at.table, at.chain)],
        fix=inserts(at.table, at.chain.name, [need.nft], [need.xt]),
        severity=need.severity,
        breaks=[*unanswered, *own],  # what this host says of packets that are too long
    )


def _host(*tables: Any, forward: int = 0) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
    host.sysctl("net.ipv4.ip_forward", forward).sysctl("net.ipv6.conf.all.forwarding", forward)
    return host.nft(*tables)


def _chain(*rules: Any, policy: str = "drop", hook: str = "input", family: str = "inet") -> Any:
    return table(chain(hook, *rules, hook=hook, policy=policy), name="fw", family=family)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0, severity: Severity | None = None) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity)

    known = rule(state("established", "related"), verdict("accept"))
    ssh = rule(port(6, 22), verdict("accept"))
    six, four = rule(l4proto(58), verdict("accept")), rule(l4proto(1), verdict("accept"))
    forgotten = _host(_chain(known, ssh))
    yield case("neighbour discovery forgotten", "untracked, so not established", forgotten, 1, "critical")
    blocked = _host(_chain(rule(l4proto(58), verdict("drop")), policy="accept"))
    yield case("ICMPv6 dropped", "by name", blocked, 1, "critical")
    only = rule(state("established"), verdict("accept"))
    errors = _host(_chain(only, ssh, rule(icmp(58, 135), verdict("accept")), rule(icmp(58, 136), verdict("accept"))))
    yield case("errors dropped", "established without related", errors, 1, "warning")
    routed = _host(_chain(rule(icmp(1, 3), verdict("drop")), hook="forward", policy="accept"), forward=1)
    yield case("fragmentation needed, forwarded", "the sender behind never learns it", routed, 1, "warning")
    yield case("accepted", "as it must be", _host(_chain(known, ssh, six, four)))
    limited = rule(l4proto(58), plain("limit", number=100), verdict("accept"))
    yield case("limited", "some pass", _host(_chain(known, ssh, limited, four)))
    yield case("family switched off", "a drop of everything", _host(_chain(family="ip6")))
    plain_v4 = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").nft(_chain(known, ssh))
    yield case("no IPv6", "only link-local addresses", plain_v4)
    inside = rule(iifname("eth0"), verdict("accept"))
    yield case("accepted on the interface", "it passes", _host(_chain(known, inside)))
    echo = _host(_chain(rule(icmp(1, 8), verdict("drop")), policy="accept"))
    yield case("no echo", "a taste", echo)
    yield from _kinds()
    yield from _places(known, six)


def _code(number: int) -> Expressions:
    """``icmp code 4``; the type stands before it."""
    return NftExpression(name="payload", key="transport", dreg=0, offset=1, length=1), same(f"{number:02x}")


def _kinds() -> Iterator[Example]:
    """Which messages pass."""
    stateful, nd = state("established"), (icmp(58, 135), icmp(58, 136))

    def case(name: str, why: str, *passing: Expressions, fires: int = 0, severity: Severity | None = None) -> Example:
        accepted = [rule(each, verdict("accept")) for each in (stateful, *passing)]
        host = _host(_chain(*accepted), forward=1)
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity)

    asks, says, big, long, related = *nd, icmp(58, 2), icmp(1, 3), state("related")
    yield case("by type", "each by name", asks, says, big, long)
    yield case("by type and code", "each has one code", (*asks, *_code(0)), (*says, *_code(0)), related)
    yield case("advertisements dropped", "this host finds nobody", asks, related, fires=1, severity="critical")
    yield case("solicitations dropped", "nobody finds this host", says, related, fires=1, severity="critical")
    for name, proto in (("TCP", 6), ("UDP", 17)):
        some = [rule(*one, verdict("accept")) for one in ((l4proto(proto), stateful), *((each,) for each in nd))]
        why = "the host lives from it, so the rest is not closed on purpose"
        yield Example(
            name=f"only {name} passes", why=why, tables=_host(_chain(*some)).build(), fires=1, severity="warning"
        )
    needed = rule(icmp(1, 3), _code(4), verdict("accept"))
    narrow = _host(_chain(needed, rule(icmp(1, 3), verdict("drop")), policy="accept"))
    yield Example(name="the one code accepted", why="the other unreachables are not needed", tables=narrow.build())


def _places(known: NftRule, six: NftRule) -> Iterator[Example]:
    """On which interfaces, at which hook."""

    def case(name: str, why: str, host: HostBuilder, *tables: Any, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.nft(*tables).build(), fires=fires)

    def two(**fields: Any) -> HostBuilder:
        return _host().link("eth1", **fields).address("eth1", "2001:db8:1::1/64")

    first = _chain(known, rule(iifname("eth0"), verdict("accept")))
    yield case("passes on one of two", "the other one is a decision", two(), first)
    inner = _chain(known, rule(iifname("eth1"), verdict("accept")))
    for dev, fires in (("eth0", 1), ("eth1", 0)):
        routed = two().route("default", via="2001:db8::9" if dev == "eth0" else "2001:db8:1::9", dev=dev)
        yield case(f"passes on eth1, {dev} is the way out", "its gateway is not found", routed, inner, fires=fires)
    both = two().route("default", via="2001:db8::9", dev="eth0").route("default", via="2001:db8:1::9", dev="eth1")
    yield case("passes on one of two ways out", "the other one is a decision", both, inner)
    shut = _chain(rule(iifname("eth1"), verdict("accept")))

    def lone() -> HostBuilder:
        return two().route("default", via="2001:db8::9", dev="eth0")

    yield case("the way out is closed for all", "it is switched off", lone(), shut)
    typed = [rule(icmp(*kind), verdict("accept")) for kind in ((58, 135), (58, 136), (1, 3))]
    large = _chain(rule(state("established"), verdict("accept")), *typed, rule(iifname("eth1"), verdict("accept")))
    yield case("errors pass on the inner side alone", "that may be meant", lone(), large)
    large = _chain(known, six, rule(iifname("eth1"), verdict("accept")))
    yield case("all pass on the inner side, ICMPv6 everywhere", "the rule for all takes them", lone(), large)
    second = _chain(known, rule(iifname("eth1"), verdict("accept")))
    yield case("passes where nothing comes", "eth1 is down", two(up=False), second, fires=1)
    lo = _chain(known, rule(iifname("lo"), verdict("accept")))
    service = _host().address("lo", "2001:db8:5::1/128")
    yield case("passes on loopback", "a service address there is asked for elsewhere", service, lo, fires=1)
    bare = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "fe80::1/64")
    yield case("a link-local address alone", "IPv6 is not used", bare, _chain(known))
    drops = _chain(rule(icmp(1, 3), verdict("drop")), hook="forward", policy="accept")
    yield case("not a router", "nothing is forwarded", _host(), drops)
    four_only = _host().sysctl("net.ipv4.ip_forward", 1)
    yield case("a router of IPv4", "IPv6 has a setting of its own", four_only, drops, fires=1)
    for kind, forward, fires in ((icmp(1, 3), 0, 0), (icmp(1, 3), 1, 1), (icmp(58, 135), 0, 1)):
        sent = _chain(rule(kind, verdict("drop")), hook="output", policy="accept")
        why = "errors are sent by those on the way, solicitations by everybody"
        yield case(f"sent by a router: {forward}, {fires}", why, _host(forward=forward), sent, fires=fires)
    some = _chain(known, rule(oifname("eth1"), six.expressions), hook="forward")
    yield case("forwarded to some", "that may be all that is meant", _host(forward=1), some)
    out = rule(oifname("eth1"), state("established"), verdict("accept"))
    narrow = _chain(out, hook="forward")
    yield case("answers forwarded to some", "it lives, so it is not closed", _host(forward=1), narrow, fires=1)
    shared = _chain(known, rule(oifname("eth0"), verdict("accept")))
    yield case("one chain for all hooks", "what comes in has no way out", _host(), shared, fires=1)
    dhcp, nothing = _chain(rule(port(17, 68), verdict("accept"))), _chain(hook="output")
    for name, why, forward, more, fires in (
        ("a kill switch but for DHCP", "nothing goes out", 0, [nothing], 0),
        ("the same, others' packets pass", "they need this host as a neighbour", 1, [nothing], 1),
        ("the same, others' packets are dropped", "IPv6 is off", 1, [nothing, _chain(hook="forward")], 0),
        ("DHCP alone may come in, all may go out", "this host asks and hears nothing", 0, [], 1),
    ):
        yield case(name, why, _host(forward=forward), dhcp, *more, fires=fires)
    inner = _chain(rule(oifname("eth0"), state("established"), verdict("accept")))
    yield case("closed but for what goes out", "nothing comes in at all", _host(), inner)
