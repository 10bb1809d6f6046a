"""What it checks
  The host's own filter stops what the host itself lives by: a BGP session that can be opened from neither side (TCP
  port 179 to and from the neighbour), the packets of its BFD one way or the other (UDP port 3784, 4784 for multihop)
  while BFD is down and the session stands, WireGuard's packets with an endpoint that is in use, or all questions to all
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
  A session or peer that can still begin from one side. Filters that may let the packets through (a set, a mark, a
  socket's owner that is not known). Sessions that are switched off or wait for others, peers without an endpoint or
  not in use. A port that is closed for everybody: see wg-listen-port-firewalled. A nameserver that is closed beside one
  that is open; nameservers on this host. A list of what may leave, with nothing about nameservers in it: the host may
  do without names on purpose and its resolv.conf be a leftover; info, until a program is seen waiting for an answer.

References
  net/netfilter/core.c nf_hook_slow(), nft(8) "CHAINS"; RFC 4271 section 8.2.1; RFC 5881
  section 4, RFC 5883 section 5
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import HookVerdict, Possible
from netdiag.index.policy import Lookup, Query
from netdiag.index.view import HostView
from netdiag.model.finding import SEVERITY_RANK, Draft, Severity, Subject, subject
from netdiag.rules.bgpsessions import sessions, way
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import (
    chain,
    daddr,
    high_port,
    iifname,
    l4proto,
    meta,
    plain,
    port,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.localports import callers
from netdiag.rules.nameservers import DNS_PORT, asked, asks_dns, is_loopback
from netdiag.rules.nftplaces import by_default, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.wireguardpeers import device_subject, endpoint_word, peer_subject, query_to
from netdiag.rules.wireguardways import alive, sending

RULE = Rule(
    id="nf-own-traffic-dropped",
    title="the host's own filter drops what it lives by",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "nft"),
    consults=("bird", "wireguard", "resolver", "sockets"),
    explains=(
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "wg-never-handshaked",
        "wg-handshake-stale",
        "dns-*",
    ),
)
TCP, UDP, BGP, SYN = 6, 17, 179, 2
BFD, BFD_MULTIHOP = 3784, 4784
MOST = 128
"""Conversations that are asked about."""
WORDS = {TCP: "tcp", UDP: "udp"}


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A conversation of this host with one other; ports as seen from here, None: any."""

    words: str
    out: Packet
    """Its first packet, sent by this host."""
    local_port: int | None
    """Where the other side calls; None: it never does."""
    suffers: tuple[Subject, ...]
    end: str = ": neither side can begin"
    """What follows from it."""
    severity: Severity = "critical"
    apart: bool = False
    """Each side sends for itself to the same port: what stops one way is enough."""

    def first_in(self, iif: str) -> Packet:
        """The first packet where the other side calls."""
        return replace(self.reply(iif), sport=self._far_caller(), dport=self.local_port, ct_state="new", ct_reply=False)

    def reply(self, iif: str, port: int | None = None) -> Packet:
        """The answer to ``out``, to the port that it was sent from."""
        out = self.out
        turned = replace(out, saddr=out.daddr, daddr=None, sport=out.dport, dport=out.sport or port, tcp_flags=None)
        return replace(turned, iif=iif, oif="", ct_state="established", ct_reply=True, daddr_type="local")

    def answer_out(self) -> Packet:
        """This host's answer to ``first_in``."""
        answer = replace(self.out, sport=self.local_port, dport=self._far_caller(), tcp_flags=None)
        return replace(answer, ct_state="established", ct_reply=True)

    def _far_caller(self) -> int | None:
        return self.out.dport if self.out.proto == UDP else None


def talks(view: HostView) -> Iterator[Talk]:
    """BGP sessions that should stand and WireGuard endpoints in use, with a way to them."""
    if view.read_whole("bird"):
        for session in sessions(view):
            answer, address = way(view, session), session.protocol.neighbor_address
            if address is None or session.switched_off or session.waits:
                continue
            number = session.protocol.other.get("Neighbor port", str(BGP))
            port_ = int(number) if number.isdigit() else None
            packet = _packet(view, answer, TCP)
            if packet is not None:
                yield Talk(
                    words=f"BGP session {session.name} with {address}",
                    out=replace(packet, dport=port_, tcp_flags=SYN),
                    local_port=BGP,
                    suffers=(session.subject,),
                )
            bfd, packet = session.bfd(), _packet(view, answer, UDP)
            # where it took the session down, bgp-bfd-down says so
            if session.up and bfd is not None and bfd.state in ("Down", "Init") and packet is not None:
                heard = BFD_MULTIHOP if "multihop" in (session.protocol.session or "") else BFD
                yield Talk(
                    words=f"BFD of session {session.name} with {address}",
                    out=replace(packet, dport=heard),
                    local_port=heard,
                    suffers=(session.subject,),
                    end=": BFD cannot come up",
                    severity="warning",
                    apart=True,
                )
    if not view.read_whole("wireguard"):
        return
    for device, _ in alive(view):
        for peer in device.peers:
            query = query_to(device, peer)
            wanted = sending(peer, view.wireguard.at) or (peer.latest_handshake is None and peer.tx_bytes > 0)
            packet = _packet(view, view.lookup(query), UDP) if query is not None and wanted else None
            if packet is not None:
                yield Talk(
                    words=f"{device.ifname}'s packets to {endpoint_word(peer)}",
                    out=replace(
                        packet, sport=device.listen_port, dport=peer.endpoint_port, mark=device.fwmark or 0, uid=0
                    ),
                    local_port=device.listen_port,
                    suffers=(peer_subject(device, peer), device_subject(device)),
                )


def questions(view: HostView) -> list[Talk]:
    """To the nameservers that are not on this host; none where there is no way to one of them."""
    if not view.read_whole("resolver") or not asks_dns(view):
        return []
    found = []
    for address in asked(view):
        host, family = address.partition("%")[0], "inet6" if ":" in address else "inet"
        packet = None
        if not is_loopback(address) and not view.local.owners(host):
            packet = _packet(view, view.lookup(Query(family=family, dst=host, ip_proto=UDP, dport=DNS_PORT)), UDP)
        if packet is None:
            return []
        suffers = (subject("prefix", prefix=address),)
        out = replace(packet, dport=DNS_PORT)
        words, end = f"questions to nameserver {address}", ": no name can be looked up"
        found.append(Talk(words=words, out=out, local_port=None, suffers=suffers, end=end))
    return found


def _packet(view: HostView, answer: Lookup | None, proto: int) -> Packet | None:
    if answer is None or answer.type != "unicast" or len(answer.hops) != 1:
        return None
    return Packet(
        family=answer.query.family,
        daddr=answer.query.dst,
        proto=proto,
        oif=view.ifname(answer.hops[0].oif),
        daddr_type="unicast",
    )


def _in(view: HostView, packet: Packet) -> HookVerdict:
    """What becomes of a packet that comes in for this host."""
    at_card = view.netfilter.hook("ingress", packet)
    if at_card.passes == "no":
        return at_card
    before = view.netfilter.hook("prerouting", at_card.packet)
    return before if before.passes == "no" else view.netfilter.hook("input", before.packet)


def _out(view: HostView, packet: Packet) -> HookVerdict:
    """What becomes of a packet that this host sends."""
    made = view.netfilter.hook("output", packet)
    after = made if made.passes == "no" else view.netfilter.hook("postrouting", made.packet)
    return after if after.passes == "no" else view.netfilter.hook("egress", after.packet)


def stop(view: HostView, talk: Talk) -> Possible | None:
    """What stops a conversation that neither side can begin."""
    oif = talk.out.oif or ""
    outwards = _out(view, talk.out)
    if talk.apart:
        way_in = _in(view, replace(talk.first_in(oif), sport=None))
        return next((each.blocker for each in (way_in, outwards) if each.passes == "no"), None)
    for port_ in callers(view):  # that a service's port is open helps no answer
        calls = outwards if outwards.passes == "no" else _in(view, talk.reply(oif, port_))
        if calls.passes != "no" or "untracked" in (outwards.packet.ct_state, calls.packet.ct_state):
            return None  # nf-notrack-with-stateful speaks about answers that are not known
    if talk.local_port is None:
        return calls.blocker
    first = talk.first_in(oif)
    inwards = _in(view, first)
    called = inwards if inwards.passes == "no" else _out(view, talk.answer_out())
    closed = talk.out.proto == UDP and outwards.passes != "no" and _in(view, replace(first, saddr=None)).passes == "no"
    return None if called.passes != "no" or closed else calls.blocker


def check(view: HostView) -> Iterator[Draft]:
    if not view.netfilter.tables:
        return
    found: dict[tuple[str, str, str, int | None], list[tuple[Talk, Possible]]] = {}
    stopped = [(talk, stop(view, talk)) for talk in islice(talks(view), MOST)]
    unanswered = [(talk, stop(view, talk)) for talk in questions(view)]
    mute = all(blocker is not None and _unlisted(blocker) for _, blocker in unanswered) and not _waits(view)
    if all(blocker is not None for _, blocker in unanswered):
        stopped += unanswered
    for talk, blocker in stopped:
        if blocker is not None:
            at = blocker.at
            key = at.table.family, at.table.name, at.chain.name, at.rule.handle if at.rule else None
            found.setdefault(key, []).append((talk, blocker))
    for rows in found.values():
        yield _draft(rows, sure=not mute or any(talk.out.dport != DNS_PORT for talk, _ in rows))


def _unlisted(blocker: Possible) -> bool:
    """Whether a list of what may leave does not name it: nobody closed it."""
    return blocker.at.chain.hook in ("output", "postrouting") and by_default(blocker.at)


def _waits(view: HostView) -> bool:
    """Whether a program has asked a nameserver and waits: its socket is connected to the port."""
    if not view.read_whole("sockets"):
        return False
    table = view.sockets
    return bool(((table.dport == DNS_PORT) & (table.protocol == UDP)).any())


def _draft(rows: list[tuple[Talk, Possible]], *, sure: bool) -> Draft:
    (talk, blocker), at = rows[0], rows[0][1].at
    word, more = WORDS[talk.out.proto or 0], f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    inwards = at.chain.hook in ("input", "prerouting", "ingress")
    ports = [f"{word} {'s' if inwards and not talk.apart else 'd'}port {talk.out.dport}"]
    if talk.local_port is not None and not talk.apart:
        ports.append(f"{word} {'d' if inwards else 's'}port {talk.local_port}")
    flags = [f"-p {word} --{one.split()[1]} {one.split()[2]} -j ACCEPT" for one in ports]
    worst: Severity = min((each.severity for each, _ in rows), key=SEVERITY_RANK.__getitem__)
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} stops {talk.words}{more}" + talk.end,
        evidence=[
            fact(blocker),
            *(("cannot pass", each.words, "NFT_MSG_GETRULE, with the packets of both sides") for each, _ in rows[:3]),
        ],
        confirm=[list_chain(at.table, at.chain)],
        fix=inserts(at.table, at.chain.name, [f"{one} accept" for one in ports], flags),
        severity=worst if sure else "info",
        confidence=None if sure else "possible",
        touches=[thing for each, _ in rows for thing in each.suffers],
        breaks=[thing for each, _ in rows for thing in each.suffers],
    )


def _session(up: bool = False, **fields: Any) -> BirdHost:
    host = BirdHost()
    made = host.bgp("up1", **fields) if up else host.bgp_down("up1", **fields)
    made.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    return host


def _mesh(age: float | None = 20.0, **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24")
    return host.wireguard("wg0").wg_peer("wg0", "a", endpoint="192.0.2.9", age=age, **peer)


DROP, ACCEPT = verdict("drop"), verdict("accept")


def _filter(hook: str, *rules: Any, policy: str = "accept", **fields: Any) -> Any:
    return table(chain(hook, *rules, hook=hook, policy=policy), **fields)


def examples() -> Iterator[Example]:
    known = rule(state("established", "related"), ACCEPT)
    both = rule(port(TCP, BGP), DROP), rule(port(TCP, BGP, source=True), DROP)
    bad: dict[str, Any] = {"fires": 1, "severity": "critical"}

    def case(name: str, why: str, host: Any, *tables: Any, **more: Any) -> Example:
        host.nft(*tables)
        return Example(name=name, why=why, tables=host.build(), **more)

    for hook, source, number, session, severity in (
        ("input", False, 3784, "external AS4", "warning"),
        ("output", False, 3784, "external AS4", "warning"),
        ("input", False, 4784, "external multihop AS4", "warning"),
        ("input", True, 3784, "external AS4", None),  # the port that it is sent from is another
        ("input", False, 4784, "external AS4", None),
        ("input", False, 3784, "external multihop AS4", None),
    ):
        for is_, up in (("Down", True), ("Init", True), ("Down", False), ("Up", True), ("AdminDown", True)):
            host = _session(up, session=session).bfd(state=is_)
            loud = severity if is_ in ("Down", "Init") and up else None
            told: dict[str, Any] = {"fires": 1, "severity": loud} if loud else {}
            name = f"BFD {is_}, BGP {'up' if up else 'down'}, {session}, {hook} {number} {source}"
            closed = _filter(hook, rule(port(UDP, number, source=source), DROP))
            yield case(name, "each side sends to that port", host, closed, **told)
    words = {"says": ("BFD of session up1", f"udp dport {BFD} accept"), "fires": 1, "severity": "warning"}
    closed = _filter("input", rule(port(UDP, BFD), DROP))
    yield case("what BFD lacks", "one port, one way", _session(True).bfd(state="Down"), closed, **words)
    yield case("the port is dropped both ways", "the plain fault", _session(), _filter("input", *both), **bad)
    yield case("a session that still stands", "its hold timer runs", _session(True), _filter("input", *both), **bad)
    six = _session(neighbor_address="2001:db8::9")
    yield case("IPv6", "the same", six, _filter("input", *both), **bad)
    yield case("on the way out", "an agent's table", _session(), _filter("output", *both), **bad)
    yield case("one way only", "the other side can call", _session(), _filter("output", both[0]))
    yield case("the listener alone", "we call", _session(), _filter("input", both[0]))
    strict = _filter("input", known, policy="drop")
    yield case("a policy that knows answers", "we call", _session(), strict)
    yield case("a policy that knows nobody", "answers are dropped as well", _session(), _filter("input", policy="drop"),
               **bad)  # fmt: skip
    marked = _filter("input", rule(meta("skuid", (0).to_bytes(4, "little")), ACCEPT), *both)
    yield case("for some user's packets", "not known whose", _session(), marked)
    other = _filter(
        "input", rule(iifname("eth1"), port(TCP, BGP), DROP), rule(iifname("eth1"), port(TCP, BGP, source=True), DROP)
    )
    yield case("on another interface", "not the neighbour's", _session(), other)
    off = _session(True, state="down", bgp_state="Down", info="")
    yield case("switched off", "drained", off, _filter("input", *both))
    yield case("waits", "the other side calls, and need not", _session(bgp_state="Passive"), _filter("input", *both))
    yield case("no filter", "nothing to ask", _session())

    closed = rule(port(UDP, 51820), DROP)
    yield case("WireGuard on the way out", "an agent's table", _mesh(), _filter("output", closed), **bad)
    never = _mesh(age=None, tx_bytes=148)
    yield case("never answered", "it was tried", never, _filter("output", closed), **bad)
    idle = _mesh(age=None)
    yield case("never tried", "nobody wants to go there", idle, _filter("output", closed))
    old = _mesh(age=9000.0)
    yield case("not in use", "its keys are dead", old, _filter("output", closed))
    yield case("the listen port", "wg-listen-port-firewalled", _mesh(), _filter("input", closed))
    answers = _filter("output", known, closed)
    yield case("answers pass", "the peer can begin", _mesh(), answers)
    banned = _filter("prerouting", rule(saddr("192.0.2.9/32"), DROP), name="bans")
    yield case("the peer is on a list of bans", "not the port, this one", _mesh(), banned, **bad)

    def asks(*servers: str) -> HostBuilder:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").resolver(*servers)
        return host.route("default", via="192.0.2.1", dev="eth0")

    dns = _filter("output", rule(port(UDP, 53), DROP))
    mystery = rule(plain("target", key="X"))
    yield case("a target not known here", "it may let all pass", asks("198.51.100.53"), _filter("output", mystery))
    behind = _filter("output", mystery, rule(port(UDP, 53), DROP))
    yield case("and a drop behind it", "it may accept before", asks("198.51.100.53"), behind)
    late = _filter("input", rule(port(UDP, 53, source=True), DROP))
    yield case("their answers", "the same", asks("198.51.100.53"), late, **bad)
    ssh = rule(port(TCP, 22), ACCEPT)
    few = _filter("input", ssh, rule(port(UDP, 51820), ACCEPT), policy="drop")
    yield case("answers, where services are open", "no answer comes to their ports", asks("198.51.100.53"), few, **bad)
    calls = _filter("input", ssh, policy="drop")
    yield case("BGP's answers, likewise", "no answer comes to that port", _session(), calls, **bad)
    low = rule(l4proto(TCP), high_port(1024), ACCEPT)
    yield case("high ports are open", "answers come to those", _session(), _filter("input", low, policy="drop"))
    near = rule(l4proto(TCP), high_port(42200), ACCEPT)
    yield case("only some high ports", "a call may come from those", _session(), _filter("input", near, policy="drop"))
    far = rule(l4proto(TCP), high_port(52000), ACCEPT)
    seldom = _filter("input", far, policy="drop")
    yield case("few high ports", "most calls come from others", _session().sysctl("net.ipv4.ip_local_port_range", "x"),
               seldom, **bad)  # fmt: skip
    moved = _session().sysctl("net.ipv4.ip_local_port_range", "50000 59000")
    yield case("the ports that it calls from", "as its own setting says", moved, seldom)
    leaves = _filter("output", rule(port(TCP, 443), ACCEPT), policy="drop")
    guess: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    yield case("not on the list of what may leave", "it may do without", asks("198.51.100.53"), leaves, **guess)
    waiting = asks("198.51.100.53").socket(protocol=17, dport=53)
    yield case("a program waits for the answer", "it does not do without", waiting, leaves, **bad)
    web = asks("198.51.100.53").socket(dport=53, state=1).socket(protocol=17, dport=443)
    yield case("sockets of others", "nobody waits for an answer", web, leaves, **guess)
    closed_too = _filter("output", rule(port(UDP, 53), DROP), policy="drop")
    yield case("named on the list", "somebody closed it", asks("198.51.100.53"), closed_too, **bad)
    nothing = _filter("input", policy="drop")
    yield case("no answer to anything", "that is no list", asks("198.51.100.53"), nothing, **bad)
    lists = _filter("output", policy="drop")
    yield case("the tunnel is not on the list either", "it is in use", _mesh().resolver("192.0.2.9"), lists, **bad)
    one = _filter("output", rule(daddr("198.51.100.53/32"), DROP))
    yield case("one of two", "the other is asked", asks("198.51.100.53", "198.51.100.54"), one)
    yield case("a stub here", "it may ask by TLS", asks("127.0.0.53"), dns)
    twice = _mesh().wg_peer("wg0", "b", endpoint="192.0.2.8", age=20.0)
    yield case("two peers", "one rule, one finding", twice, _filter("output", closed), says=("and 1 more",), **bad)
