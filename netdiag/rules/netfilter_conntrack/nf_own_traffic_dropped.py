"""What it checks
  The host's own filter stops what the host itself lives by: a BGP session that can be opened from neither side (TCP
  port 179 to and from the neighbour), WireGuard's packets with an endpoint that is in use, or all questions to all
  nameservers. The ruleset is asked with those very packets, on their way out and back.

Why it matters
  The daemons say no more than that nobody answers: a session in Connect or with an expired hold timer, a peer without
  handshakes. The neighbour, the cable and the far end are looked at first, and are well. Typical: a security agent's
  or a blocklist's table that drops, beside the host's own that accepts; a new default policy without the line.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  nft add rule ... counter, or nft monitor trace    (where the packets end)

Fix
  Let the packets through in that chain, ahead of what stops them, and in the file or program that it comes from. An
  accept in another chain does not help: each chain of a hook decides for itself.

Not flagged
  A single session whose hold timer has expired: bgp-hold-timer-expired speaks first, and names the rule. The packets
  of BFD: bgp-bfd-down names what stops them. A session or
  peer that can still begin from one side. Filters that may let the packets through (a set, a mark, a socket's owner
  that is not known). Sessions that are switched off or wait for others, peers without an endpoint or not in use. A port
  that is closed for everybody: see wg-listen-port-firewalled. A nameserver that is closed beside one that is open;
  nameservers on this host. A list of what may leave (one for all, or a chain an interface), with nothing about
  nameservers in it (TCP port 53 counts, where the next port is closed): the host may do without names on purpose and
  its resolv.conf be a leftover; info, until a program is seen waiting for an answer.

References
  net/netfilter/core.c nf_hook_slow(), nft(8) "CHAINS"; RFC 4271 section 8.2.1; RFC 5881
  section 4, RFC 5883 section 5
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.finding import SEVERITY_RANK, Draft, Severity
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    chain,
    daddr,
    high_port,
    iifname,
    l4proto,
    meta,
    oifname,
    plain,
    port,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from netdiag.rules.build_talks import (
    ACCEPT,
    DROP,
    at_hook,
    bgp_host,
    by_direction,
    by_way,
    wg_host,
)
from netdiag.rules.nameservers import DNS_PORT
from netdiag.rules.nftplaces import by_default, chain_subject, fact, is_blanket, list_chain, place_words
from netdiag.rules.nftspecimen import below, hooks_of
from netdiag.rules.ownhooks import goes_out, names_dns
from netdiag.rules.owntalks import MOST, Talk, opened, questions, stop, talks
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="nf-own-traffic-dropped",
    title="the host's own filter drops what it lives by",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "nft"),
    consults=("bird", "wireguard", "resolver", "sockets"),
    explains=(
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
        "wg-never-handshaked",
        "wg-handshake-stale",
        "wg-listen-port-firewalled",
        "dns-*",
    ),
)
OTHERS = {"inet": "203.0.113.253", "inet6": "2001:db8:ffff::fd"}
"""Addresses that no filter names."""


def check(view: HostView) -> Iterator[Draft]:
    if not view.netfilter.tables:
        return
    found: dict[tuple[str, str, str, int | None], list[tuple[Talk, Possible]]] = {}
    stopped = [(talk, stop(view, talk)) for talk in islice(talks(view), MOST)]
    unanswered = [(talk, stop(view, talk)) for talk in questions(view)]
    mute = all(at is not None and _unlisted(view, talk, at) for talk, at in unanswered) and not _waits(view)
    mute = mute and not any(names_dns(view, talk.out) for talk, _ in unanswered)
    if all(blocker is not None for _, blocker in unanswered):
        stopped += unanswered
    for talk, blocker in stopped:
        if blocker is not None:
            at = blocker.at
            key = at.table.family, at.table.name, at.chain.name, at.rule.handle if at.rule else None
            found.setdefault(key, []).append((talk, blocker))
    for rows in found.values():
        yield _draft(rows, sure=not mute or any(talk.out.dport != DNS_PORT for talk, _ in rows))


def _unlisted(view: HostView, talk: Talk, blocker: Possible) -> bool:
    """Whether a list of what may leave does not name it: nobody closed it. What leads to the place where it ends may
    name an interface (a list for each zone): then the port beside, and another address, end there as well."""
    table, at = blocker.at.table, blocker.at.chain
    ways = [way for base in table.chains if base.base for under, way in below(table, base) if under is at]
    beside = (replace(talk.out, dport=DNS_PORT + 1), replace(talk.out, daddr=OTHERS[talk.out.family]))
    ends = (goes_out(view, one).blocker for one in beside)
    named = any(not is_blanket(step.rule) for way in ways for step in way)
    named = named and not all(end is not None and end.at == blocker.at for end in ends)
    return hooks_of(table, at) <= {"output", "postrouting"} and by_default(blocker.at) and not named


def _waits(view: HostView) -> bool:
    """Whether a program has asked a nameserver and waits: its socket is connected to the port."""
    if not view.read_whole("sockets"):
        return False
    table = view.sockets
    return bool(((table.dport == DNS_PORT) & (table.protocol == IPPROTO_UDP)).any())


def _draft(rows: list[tuple[Talk, Possible]], *, sure: bool) -> Draft:
    (talk, blocker), at = rows[0], rows[0][1].at
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    told = len(rows) == 1 and talk.lost
    suffers = [thing for each, _ in rows for thing in each.suffers]
    worst: Severity = min((each.severity for each, _ in rows), key=SEVERITY_RANK.__getitem__)
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} stops {talk.words}{more}" + talk.end,
        evidence=[
            fact(blocker),
            *(("cannot pass", each.words, "NFT_MSG_GETRULE, with the packets of both sides") for each, _ in rows[:3]),
        ],
        confirm=[list_chain(at.table, at.chain)],
        fix=opened(talk, blocker),
        severity=worst,
        confidence=None if sure else "possible",
        touches=suffers if told else [thing for each, _ in rows if not each.lost for thing in each.suffers],
        breaks=[] if told else suffers,
    )


def examples() -> Iterator[Example]:
    known = rule(state("established", "related"), ACCEPT)
    both = rule(port(IPPROTO_TCP, BGP_PORT), DROP), rule(port(IPPROTO_TCP, BGP_PORT, source=True), DROP)
    bad: dict[str, Any] = {"fires": 1, "severity": "critical"}

    def case(name: str, why: str, host: Any, *tables: Any, **more: Any) -> Example:
        host.nft(*tables)
        return Example(name=name, why=why, tables=host.build(), **more)

    line = "nft 'insert rule inet filter"
    lines = (f"{line} input tcp sport 179 accept; insert rule inet filter input tcp dport 179 accept'",)
    shut = at_hook("input", *both)
    yield case("the port is dropped both ways", "the plain fault", bgp_host(), shut, says=lines, **bad)
    yield case("a session that still stands", "its hold timer runs", bgp_host(True), at_hook("input", *both), **bad)
    six = bgp_host(neighbor_address="2001:db8::9")
    yield case("IPv6", "the same", six, at_hook("input", *both), **bad)
    yield case("on the way out", "an agent's table", bgp_host(), at_hook("output", *both), **bad)
    yield case("one way only", "the other side can call", bgp_host(), at_hook("output", both[0]))
    yield case("the listener alone", "we call", bgp_host(), at_hook("input", both[0]))
    strict = at_hook("input", known, policy="drop")
    yield case("a policy that knows answers", "we call", bgp_host(), strict)
    yield case("a policy that knows nobody", "answers are dropped as well", bgp_host(), at_hook("input", policy="drop"),
               **bad)  # fmt: skip
    marked = at_hook("input", rule(meta("skuid", (0).to_bytes(4, "little")), ACCEPT), *both)
    yield case("for some user's packets", "not known whose", bgp_host(), marked)
    other = at_hook(
        "input",
        rule(iifname("eth1"), port(IPPROTO_TCP, BGP_PORT), DROP),
        rule(iifname("eth1"), port(IPPROTO_TCP, BGP_PORT, source=True), DROP),
    )
    yield case("on another interface", "not the neighbour's", bgp_host(), other)
    off = bgp_host(True, state="down", bgp_state="Down", info="")
    yield case("switched off", "drained", off, at_hook("input", *both))
    yield case("waits", "the other side calls, and need not", bgp_host(bgp_state="Passive"), at_hook("input", *both))
    yield case("no filter", "nothing to ask", bgp_host())

    closed = rule(port(IPPROTO_UDP, 51820), DROP)
    yield case("WireGuard on the way out", "an agent's table", wg_host(), at_hook("output", closed), **bad)
    never = wg_host(age=None, tx_bytes=148)
    yield case("never answered", "it was tried", never, at_hook("output", closed), **bad)
    idle = wg_host(age=None)
    yield case("never tried", "nobody wants to go there", idle, at_hook("output", closed))
    old = wg_host(age=9000.0, tx_bytes=148)
    yield case("not in use", "its keys are dead", old, at_hook("output", closed))
    yield case("the listen port", "wg-listen-port-firewalled", wg_host(), at_hook("input", closed))
    answers = at_hook("output", known, closed)
    yield case("answers pass", "the peer can begin", wg_host(), answers)
    banned = at_hook("prerouting", rule(saddr("192.0.2.9/32"), DROP), name="bans")
    yield case("the peer is on a list of bans", "not the port, this one", wg_host(), banned, **bad)

    def asks(*servers: str) -> HostBuilder:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").resolver(*servers)
        return host.route("default", via="192.0.2.1", dev="eth0")

    dns = at_hook("output", rule(port(IPPROTO_UDP, 53), DROP))
    lines = (f"{line} output udp dport 53 accept'",)
    yield case("nameservers on the way out", "an agent's table", asks("198.51.100.53"), dns, says=lines, **bad)
    unread: dict[str, Any] = {"late": ("resolver",), "unjudged": True}
    yield case("nameservers that were not read", "nobody knows them", asks("198.51.100.53"), dns, **unread)
    by_bus = asks("198.51.100.53").resolver("198.51.100.53", hosts=("files", "resolve", "dns"))
    yield case("names by systemd-resolved", "no program asks these", by_bus, dns)
    rejected = at_hook("output", rule(plain("target", key="REJECT"), compat=True))
    guess: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    yield case("a last REJECT of iptables", "a policy in other words", asks("198.51.100.53"), rejected, **guess)
    yield from _below(case, asks, guess, bad)
    mystery = rule(plain("target", key="X"))
    yield case("a target not known here", "it may let all pass", asks("198.51.100.53"), at_hook("output", mystery))
    behind = at_hook("output", mystery, rule(port(IPPROTO_UDP, 53), DROP))
    yield case("and a drop behind it", "it may accept before", asks("198.51.100.53"), behind)
    late = at_hook("input", rule(port(IPPROTO_UDP, 53, source=True), DROP))
    yield case("their answers", "the same", asks("198.51.100.53"), late, **bad)
    ssh = rule(port(IPPROTO_TCP, 22), ACCEPT)
    few = at_hook("input", ssh, rule(port(IPPROTO_UDP, 51820), ACCEPT), policy="drop")
    yield case("answers, where services are open", "no answer comes to their ports", asks("198.51.100.53"), few, **bad)
    calls = at_hook("input", ssh, policy="drop")
    yield case("BGP's answers, likewise", "no answer comes to that port", bgp_host(), calls, **bad)
    low = rule(l4proto(IPPROTO_TCP), high_port(1024), ACCEPT)
    yield case("high ports are open", "answers come to those", bgp_host(), at_hook("input", low, policy="drop"))
    near = rule(l4proto(IPPROTO_TCP), high_port(42200), ACCEPT)
    yield case("only some high ports", "a call may come from those", bgp_host(), at_hook("input", near, policy="drop"))
    far = rule(l4proto(IPPROTO_TCP), high_port(52000), ACCEPT)
    seldom = at_hook("input", far, policy="drop")
    yield case("few high ports", "most calls come from others", bgp_host().sysctl("net.ipv4.ip_local_port_range", "x"),
               seldom, **bad)  # fmt: skip
    moved = bgp_host().sysctl("net.ipv4.ip_local_port_range", "50000 59000")
    yield case("the ports that it calls from", "as its own setting says", moved, seldom)
    leaves = at_hook("output", rule(port(IPPROTO_TCP, 443), ACCEPT), policy="drop")
    yield case("not on the list of what may leave", "it may do without", asks("198.51.100.53"), leaves, **guess)
    for what, more, fires in (("port 53 alone", 53, bad), ("any port", None, guess)):
        calls = rule(port(IPPROTO_TCP, more), ACCEPT) if more else rule(l4proto(IPPROTO_TCP), ACCEPT)
        named = at_hook("output", calls, policy="drop")
        yield case(f"by TCP, {what}", "are nameservers on the list?", asks("198.51.100.53"), named, **fires)
    waiting = asks("198.51.100.53").socket(protocol=17, dport=53)
    yield case("a program waits for the answer", "it does not do without", waiting, leaves, **bad)
    deaf: dict[str, Any] = {"late": ("sockets",), "unjudged": True, **guess}
    yield case("sockets that were not read", "nobody knows who waits", asks("198.51.100.53"), leaves, **deaf)
    web = asks("198.51.100.53").socket(dport=53, state=1).socket(protocol=17, dport=443)
    yield case("sockets of others", "nobody waits for an answer", web, leaves, **guess)
    closed_too = at_hook("output", rule(port(IPPROTO_UDP, 53), DROP), policy="drop")
    yield case("named on the list", "somebody closed it", asks("198.51.100.53"), closed_too, **bad)
    nothing = at_hook("input", policy="drop")
    yield case("no answer to anything", "that is no list", asks("198.51.100.53"), nothing, **bad)
    lists = at_hook("output", policy="drop")
    yield case("the tunnel is not on the list either", "it is in use", wg_host().resolver("192.0.2.9"), lists, **bad)
    one = at_hook("output", rule(daddr("198.51.100.53/32"), DROP))
    for servers in (("198.51.100.53", "198.51.100.54"), ("198.51.100.54", "198.51.100.53")):
        yield case(f"one of two, {servers[0]} first", "the other is asked", asks(*servers), one)
    yield case("a stub here", "it may ask by TLS", asks("127.0.0.53"), dns)
    yield case("a server here", "on the host's own address", asks("192.0.2.2"), dns)
    yield from by_direction()
    yield from by_way()
    twice = wg_host().wg_peer("wg0", "b", endpoint="192.0.2.8", age=20.0)
    yield case("two peers", "one rule, one finding", twice, at_hook("output", closed), says=("and 1 more",), **bad)


def _below(case: Any, asks: Any, guess: dict[str, Any], bad: dict[str, Any]) -> Iterator[Example]:
    """What stops questions or answers stands in a chain below."""
    last, jump = chain("last", rule(plain("reject"))), verdict("jump", "last")
    for name, hook, conditions, more in (
        ("a last REJECT below", "output", (), guess),
        ("closed below, by the jump", "output", port(IPPROTO_UDP, 53), bad),
        ("closed below, by the nameserver", "output", daddr("198.51.100.53"), bad),
        ("a last REJECT of a zone", "output", oifname("eth0"), guess),
        ("answers closed below", "input", port(IPPROTO_UDP, 53, source=True), bad | {"says": ("udp sport 53 accept",)}),
    ):
        ruleset = table(chain("base", rule(conditions, jump), hook=hook), last)
        yield case(name, "a jump is part of the chain", asks("198.51.100.53"), ruleset, **more)
