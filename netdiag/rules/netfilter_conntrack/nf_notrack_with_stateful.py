"""What it checks
  A rule takes packets out of connection tracking (notrack), and the answers to them, or the packets themselves, come to
  a filter that lets in only what is established: not tracked is not established, so it is dropped.

Why it matters
  Notrack is put on DNS, WireGuard or a load balancer's port to save tracking. Questions go out untracked, nothing is
  remembered, and the answers are dropped as unknown: the service works for clients that come in by a port that is open
  and fails for everything that the host itself asks. Half a pair of rules (only prerouting, only output) does the same.

Confirm
  nft -a list chain FAMILY TABLE CHAIN     (both)
  conntrack -L -p PROTO --dport PORT       (nothing: it is not tracked)

Fix
  nft insert rule FAMILY TABLE CHAIN ct state untracked PROTO sport PORT accept in the filter, or take the notrack rule
  back: nft delete rule ... handle N. Accepting by port is stateless: anybody may send from that port.

Not flagged
  Filters that accept untracked packets, or the port itself, both ways; answers of nameservers are asked for where those
  come in. Notrack for ports that the filter drops in any state: it is closed on purpose. Rules that take everything of
  an interface out of tracking, but where all of it that is forwarded is dropped for it.

References
  nft(8) "CT STATEMENT", notrack; net/netfilter/nf_conntrack_core.c nf_conntrack_in() (IP_CT_UNTRACKED)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.nftpacket import Packet
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place, Possible
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.index.xtmatch import target
from netdiag.model.finding import Draft
from netdiag.model.nft import NftElement, NftRule, NftSet, NftTable
from netdiag.model.protocols import BGP_PORT, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, PROTOCOL_NAMES
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    CT_DIRECTION,
    DPORT,
    L4PROTO,
    Expressions,
    chain,
    iifname,
    l4proto,
    looked_up,
    oifname,
    plain,
    plain_set,
    port,
    rule,
    saddr,
    same,
    state,
    table,
    verdict,
)
from netdiag.rules.forwardgate import forwarding
from netdiag.rules.localports import callers
from netdiag.rules.nameservers import DNS_PORT
from netdiag.rules.nameservers import asked as asked_servers
from netdiag.rules.nftplaces import chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.nftspecimen import Meant, below, meant
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="nf-notrack-with-stateful",
    title="packets are not tracked, and a stateful filter drops them",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "sysctls", "nft"),
    consults=("resolver", "routes", "rules", "nexthops", "neighbours", "bird"),
    explains=("bgp-hold-timer-expired", "bgp-not-established"),
)
HOOKS = ("prerouting", "output")
MOST_LINKS = 6
MOST_FORWARDING = 4
PORTED = (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP)


def check(view: HostView) -> Iterator[Draft]:
    names = [link.ifname for link in view.links if link.up and not link.loopback][:MOST_LINKS]
    families = tuple(sorted({row.family for row in view.addresses if row.scope == 0})) or ("inet",)
    for at, hook, asked in _notracks(view):
        ported = bool({"sport", "dport"} & set(asked.fields))
        if not ported and "iif" not in asked.fields:
            continue
        for packet in asked.packets(families, **_caller(view, hook, asked.fields)):
            stop = _stop(view, hook, packet, _by(view, hook, packet) or names) if ported else None
            stop = stop or _stop_between(view, hook, packet, names)
            if stop is None and packet.proto is None:
                stop = _stop_between(view, hook, replace(packet, proto=IPPROTO_TCP), names)
            if stop is not None:
                yield _finding(view, at, hook, packet, stop)
                break


def _notracks(view: HostView) -> Iterator[tuple[Place, str, Meant]]:
    """Rules that leave packets untracked, in base chains and what these lead to; their hook, and what they are for."""
    for one in view.netfilter.tables:
        for base in one.chains:
            if base.hook in HOOKS and not one.dormant:
                for inside, way in below(one, base):
                    for each in inside.rules:
                        if _is_notrack(each):
                            yield Place(one, inside, each), base.hook, meant(one, each, way=way)


def _is_notrack(one: NftRule) -> bool:
    """Whether it says notrack; iptables' CT target may also set a zone or a helper."""
    return any(e.name == "notrack" or target(e, "inet").notrack for e in one.expressions)


def _caller(view: HostView, hook: str, fields: dict[str, Any]) -> dict[str, int]:
    """The port that a question is sent from: its answer comes there, and not where a service listens."""
    if hook == "output":
        return {"sport": callers(view)[0]} if "dport" in fields else {}
    return {"dport": callers(view)[0]} if "sport" in fields else {}


def _by(view: HostView, hook: str, packet: Packet) -> list[str]:
    """Interfaces by which nameservers answer, where the rule is about their answers and the nameservers are known."""
    answers = packet.dport == DNS_PORT if hook == "output" else packet.sport == DNS_PORT
    if not answers or not all(view.read_whole(name) for name in RULE.consults):
        return []
    asks = [one for one in asked_servers(view) if (":" in one) == (packet.family == "inet6")]
    ways = [view.lookup(Query(family=packet.family, dst=one.partition("%")[0])) for one in asks]
    # (To a nameserver on this host no packet leaves: there is no way, and nobody knows whom it asks.)
    return list(dict.fromkeys(view.ifname(hop.oif) for way in ways for hop in way.hops))


def _stop(view: HostView, hook: str, packet: Packet, names: list[str]) -> Possible | None:
    """What drops the answers to what leaves untracked, or what comes in untracked, on every interface."""
    if hook == "output":
        leaves = replace(packet, iif="", oif=packet.oif or (names or [""])[0])
        if view.netfilter.hook("output", leaves).packet.ct_state not in ("untracked", None):
            return None  # something before the rule takes it out of the chain
        packet = replace(packet, iif=packet.oif, sport=packet.dport, dport=packet.sport)
        packet = replace(packet, saddr=packet.daddr, daddr=packet.saddr)
    stops = []
    for name in [packet.iif] if packet.iif else names:
        comes = replace(packet, iif=name, oif="", ct_state="new", daddr_type="local", ct_reply=None)
        before = view.netfilter.hook("prerouting", comes)
        if before.passes == "no" or (hook == "prerouting" and before.packet.ct_state != "untracked"):
            return None
        # An answer to what was never tracked is a connection of its own; in prerouting it may be untracked as well.
        found = view.netfilter.hook("input", before.packet)
        tracked = view.netfilter.hook("input", replace(comes, ct_state="established", ct_reply=True))
        if found.passes != "no" or tracked.passes != "yes":
            return None
        stops.append(found.blocker)
    return stops[0] if stops else None


def _stop_between(view: HostView, hook: str, packet: Packet, names: list[str]) -> Possible | None:
    """What drops the packets that this host forwards and does not track, between any two interfaces that do."""
    forwards = {link.ifname for link in view.links if forwarding(view, link, packet.family)}
    known: dict[str, Any] = {"oif": "", "ct_state": "new", "daddr_type": "unicast", "ct_reply": None}
    comes = [replace(packet, iif=name, **known) for name in names if name in forwards and hook == "prerouting"]
    after = [view.netfilter.hook("prerouting", one).packet for one in comes]
    stops = []
    for before in [one for one in after if one.ct_state == "untracked"][:MOST_FORWARDING]:
        for oif in [name for name in names if name != before.iif][:MOST_FORWARDING]:
            found = view.netfilter.hook("forward", replace(before, oif=oif))
            tracked = view.netfilter.hook("forward", replace(before, oif=oif, ct_state="established"))
            if found.passes != "no" or tracked.passes != "yes":
                return None
            stops.append(found.blocker)
    return stops[0] if stops else None


def _finding(view: HostView, at: Place, hook: str, packet: Packet, stop: Possible) -> Draft:
    assert at.rule is not None
    text = rule_text(at.table, at.rule)
    out = hook == "output"
    to, since = ("sport", "dport") if out else ("dport", "sport")
    asked = packet.dport is not None and (out or packet.sport is None)
    key, number = (to, packet.dport) if asked else (since, packet.sport)
    proto = PROTOCOL_NAMES[packet.proto if packet.proto in PORTED else IPPROTO_UDP]
    what = "the answers to it are" if out else "what comes is"
    nft = [f"ct state {{ new, untracked }} {proto} {key} {number} accept"]
    xt = [f"-p {proto} --{key} {number} -j ACCEPT"]
    if number is None:
        nft, xt = ["ct state untracked accept"], ["-m conntrack --ctstate UNTRACKED -j ACCEPT"]
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{chain_name(at.table, at.chain)} leaves `{text}` untracked, and {place_words(stop.at)} drops it:"
        f" {what} not established",
        evidence=[
            (f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"),
            fact(stop),
        ],
        confirm=[list_chain(at.table, at.chain), list_chain(stop.at.table, stop.at.chain)],
        fix=inserts(stop.at.table, stop.at.chain.name, nft, xt),
        touches=[chain_subject(stop.at.table, stop.at.chain)],
        breaks=[one.subject for one in sessions(view)] if BGP_PORT in (packet.dport, packet.sport) else [],
    )


def _host(*tables: Any) -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").nft(*tables)


def _raw(hook: str, *conditions: Any) -> Any:
    return table(chain(hook, rule(*conditions, plain("notrack")), hook=hook, priority="raw"), name="raw")


def _filter(*rules: Any, policy: str = "drop", family: str = "inet") -> Any:
    lo = rule(iifname("lo"), verdict("accept"))
    first = rule(state("established", "related"), verdict("accept"))
    return table(chain("input", lo, first, *rules, hook="input", policy=policy), name="filter", family=family)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, *tables: Any, fires: int = 0, says: tuple[str, ...] = ()) -> Example:
        return Example(name=name, why=why, tables=_host(*tables).build(), fires=fires, says=says)

    question, answer = port(17, 53), port(17, 53, source=True)
    opens = ("udp sport 53 accept",)
    yield case("questions untracked", "the answers look new", _raw("output", question), _filter(), fires=1, says=opens)
    gives = _raw("output", answer)
    opens = ("udp dport 53 accept",)
    yield case("answers leave untracked", "what they answer comes to the port", gives, _filter(), fires=1, says=opens)
    opens = ("udp sport 53 accept",)
    come = _raw("prerouting", answer)
    yield case("answers untracked", "they are not established", come, _filter(), fires=1, says=opens)
    own = _raw("prerouting", port(17, 51820))
    opens = ("udp dport 51820 accept",)
    yield case("a port for both ways", "WireGuard's answers come to it", own, _filter(), fires=1, says=opens)
    untracked = rule(state("untracked"), verdict("accept"))
    yield case("untracked accepted", "as it must be", come, _filter(untracked))
    opened = _filter(rule(answer, verdict("accept")))
    yield case("port accepted", "without state", _raw("output", question), opened)
    known = rule(saddr("192.0.2.53/32"), answer, verdict("accept"))
    service = _filter(rule(port(17, 51820), verdict("accept")))
    for raw in (_raw("output", question), come):
        name = f"a service's port is open, {raw.chains[0].name}"
        opens = ("udp sport 53 accept",)
        yield case(name, "no answer comes to it", raw, service, fires=1, says=opens)
    yield case("port accepted from some", "they may be all that are asked", _raw("output", question), _filter(known))
    yield case("no filter", "nothing is dropped", _raw("output", question), _filter(policy="accept"))
    closed = table(chain("input", hook="input", policy="drop"), name="filter")
    yield case("closed in any state", "tracking would not help", _raw("output", question), closed)
    direction = rule(state("established"), (CT_DIRECTION, same("01")), verdict("accept"))
    reply = table(chain("input", direction, hook="input", policy="drop"))
    yield case("only answers pass", "by their direction", _raw("output", question), reply, fires=1)
    yield case("whole interface", "nobody knows what runs there", _raw("prerouting", iifname("eth0")), _filter())
    but = table(
        chain("pre", rule(looked_up("p", DPORT, invert=True), plain("notrack")), hook="prerouting", priority=-300),
        sets=(plain_set("p", "0035"),),
    )
    yield case("all but a port", "nobody knows what is left", but, _filter())
    named = msgspec.structs.replace(come, name="old", flags=("dormant",))
    says = ("inet raw prerouting leaves",)
    yield case("one switched off beside one that is on", "that one does it", named, come, _filter(), fires=1, says=says)
    lets = table(chain("pre", rule(answer, plain("counter")), rule(answer, plain("notrack")), hook="prerouting",
                       priority="raw"), name="raw")  # fmt: skip
    yield case("counted before", "the other rule does it", lets, _filter(), fires=1, says=("notrack` untracked",))
    drops = table(chain("pre", rule(answer, verdict("drop")), hook="prerouting", priority="mangle"), name="first")
    yield case("dropped before the filter", "the filter has no part", _raw("output", question), drops, _filter())
    yield case("no notrack", "a plain stateful filter", _filter())
    yield case("switched off", "a dormant table", msgspec.structs.replace(come, flags=("dormant",)), _filter())
    unused = table(chain("spare", rule(answer, plain("notrack"))), name="raw")
    yield case("a chain that nobody calls", "no packet gets there", unused, _filter())
    yield from _below(case, answer, come)
    for name, bits, fires in (("notrack", "0100", 1), ("a helper or a zone", "0000", 0)):
        xt = table(
            chain("PREROUTING", rule(answer, plain("target", key="CT", value=bits)), hook="prerouting", priority=-300)
        )
        yield case(f"iptables -j CT with {name}", "the target does several things", xt, _filter(), fires=fires)
    yield from _by_interface(question, answer)
    yield from _forwarded()


def _below(case: Any, answer: Expressions, come: NftTable) -> Iterator[Example]:
    """The rule is not in the base chain itself."""

    def raw(*conditions: Any, first: tuple[Any, ...] = (), hook: str = "prerouting") -> Any:
        inner = chain("inner", *first, rule(answer, plain("notrack")))
        return table(chain("pre", *(rule(*c) for c in conditions), hook=hook, priority="raw"), inner, name="raw")

    jump = verdict("jump", "inner")
    says = ("inet raw inner leaves", "udp sport 53 accept")
    yield case("in a chain below", "a jump is part of the chain", raw((jump,)), _filter(), fires=1, says=says)
    by_map = msgspec.structs.replace(
        raw(((L4PROTO, *plain("lookup", sreg=0, set="m", flags=("verdict",))),)),
        sets=(NftSet(name="m", handle=1, key_len=1, elements=(NftElement(key="11", verdict="jump", chain="inner"),)),),
    )
    yield case("in a chain below, by a map", "each protocol has its chain", by_map, _filter(), fires=1, says=says)
    narrow = raw((iifname("eth0"), jump))
    yield case("in a chain below, of one interface", "the jump asks for it", narrow, _filter(), fires=1)
    let = raw((jump,), first=(rule(verdict("return")),))
    yield case("in a chain below, behind a return", "no packet gets there", let, _filter())
    first = table(
        chain("pre", rule(verdict("accept")), *come.chains[0].rules, hook="prerouting", priority="raw"), name="raw"
    )
    yield case("behind an accept", "no packet gets there", first, _filter())
    out = table(
        chain("out", rule(verdict("accept")), rule(answer, plain("notrack")), hook="output", priority="raw"), name="raw"
    )
    yield case("behind an accept, output", "no packet gets there", out, _filter())
    yield case("in a chain below that nobody calls", "no packet gets there", raw(), _filter())


def _by_interface(question: Expressions, answer: Expressions) -> Iterator[Example]:
    def case(name: str, why: str, *tables: Any, fires: int = 1, **link: Any) -> Example:
        host = _host(*tables).link("eth1", **link).address("eth0", "2001:db8::1/64")
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    one = rule(iifname("eth1"), verdict("accept"))
    asks = _raw("output", question)
    yield case("open on another interface", "answers may come by it", asks, _filter(one), fires=0)
    yield case("open where nothing comes", "eth1 is down", asks, _filter(one), up=False)
    narrow = _raw("output", oifname("eth0"), question)
    yield case("asks by one interface", "the answers come by it, and there it is closed", narrow, _filter(one))
    second = _raw("output", oifname("eth1"), question)
    yield case("asks by the second interface", "the answers come by it", second, _filter())
    come = _raw("prerouting", iifname("eth0"), answer)
    yield case("answers by one interface", "the open one gets none", come, _filter(one))
    both = _filter(rule(iifname("eth1"), verdict("accept")), rule(iifname("wg0"), verdict("accept")))
    for name, why, servers, fires in (
        ("the nameserver answers where it is closed", "that others are open helps nobody", ("192.0.2.53",), 1),
        ("the nameserver answers where it is open", "by the tunnel", ("10.0.0.53",), 0),
        ("two nameservers", "one is heard", ("192.0.2.53", "10.0.0.53"), 0),
        ("a nameserver over IPv6", "it is closed there, too", ("2001:db8::53",), 1),
        ("a nameserver here", "nobody knows whom it asks", ("127.0.0.53",), 0),
        ("a nameserver here and one outside", "that one is never heard", ("127.0.0.53", "192.0.2.53"), 1),
    ):
        for asks_ in (_raw("output", question), _raw("prerouting", answer)):
            host = _host(asks_, both).link("eth1").link("wg0").address("wg0", "10.0.0.1/24").resolver(*servers)
            host.address("eth0", "2001:db8::1/64")
            yield Example(name=f"{asks_.chains[0].name}: {name}", why=why, tables=host.build(), fires=fires)
    served = _host(_raw("prerouting", question), both).link("eth1").link("wg0").resolver("192.0.2.53")
    yield Example(name="a nameserver's clients", why="they come by the open ones", tables=served.build())
    unread = _host(_raw("output", question), both).link("eth1").link("wg0").resolver("192.0.2.53").build()
    yield Example(
        name="the resolver was not read", why="nobody knows", tables=unread, late=("resolver",), unjudged=True
    )
    six, open6 = _filter(family="ip6"), table(chain("input", hook="input"), family="ip6", name="open")
    yield case("IPv6 only", "the filter of IPv6 is the closed one", _raw("prerouting", answer), six)
    tables = (_raw("prerouting", answer), _filter(family="ip6"))
    alone = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").nft(*tables, open6)
    yield Example(name="no IPv6", why="no address to answer to", tables=alone.build())


def _forwarded() -> Iterator[Example]:
    def case(name: str, why: str, *rules: Any, fires: int = 0, forwarding: int = 1, by: Expressions = ()) -> Example:
        host = _host(_raw("prerouting", by, port(6, 8080)), table(chain("fwd", *rules, hook="forward"), name="filter"))
        host.link("eth0", inet_conf={"forwarding": forwarding}).link("tap0", inet_conf={"forwarding": forwarding})
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    passes = rule(state("established", "related"), verdict("accept"))
    stops = rule(state("untracked", "invalid"), verdict("drop"))
    yield case("forwarded, untracked", "the filter drops what is not tracked", passes, stops, fires=1)
    yield case("forwarded, accepted", "the port is open without state", rule(port(6, 8080), verdict("accept")), stops)
    yield case("forwarded one way", "tap0 may", passes, rule(iifname("tap0"), verdict("accept")), stops)
    yield case("not a router", "nothing is forwarded", passes, stops, forwarding=0)
    yield case("closed to all", "established ones too", rule(verdict("drop")))
    yield case("forwarded from one side", "only eth0 is not tracked", passes, stops, fires=1, by=iifname("eth0"))
    back = (rule(iifname(name), oifname(name), verdict("accept")) for name in ("eth0", "tap0"))
    pattern = table(chain("pre", rule(iifname("tap*"), plain("notrack")), hook="prerouting", priority=-300), name="raw")
    filter_ = table(chain("fwd", passes, stops, hook="forward"), name="filter")
    for name, why, ruleset, fires in (
        ("a whole interface", "all that comes from it is dropped", _raw("prerouting", iifname("tap7")), 1),
        ("interfaces by their first letters", "the same", pattern, 1),
        ("another interface", "nothing comes by it", _raw("prerouting", iifname("tap8")), 0),
        ("everything", "no interface, no port", _raw("prerouting"), 0),
        ("what leaves by an interface", "it is made here", _raw("output", oifname("tap7")), 0),
    ):
        host = _host(ruleset, filter_).link("eth0", inet_conf={"forwarding": 1})
        host.link("tap7", inet_conf={"forwarding": 1})
        says = ("ct state untracked accept",) if fires else ()
        yield Example(name=f"{name} untracked, forwarded", why=why, tables=host.build(), fires=fires, says=says)
    only = table(chain("fwd", passes, rule(l4proto(6), verdict("drop")), hook="forward"), name="filter")
    pings = table(chain("fwd", rule(l4proto(1), verdict("accept")), passes, stops, hook="forward"), name="filter")
    for name, rules in (
        ("all TCP", pings),
        ("TCP alone", only),
        ("none of it", table(chain("fwd", hook="forward"), name="filter")),
    ):
        host = _host(_raw("prerouting", iifname("tap7")), rules).link("eth0", inet_conf={"forwarding": 1})
        host.link("tap7", inet_conf={"forwarding": 1})
        fires = int(name != "none of it")
        yield Example(name=f"a whole interface, {name} dropped", why="pings pass", tables=host.build(), fires=fires)
    yield case("back where it came from", "that alone passes", passes, *back, stops, fires=1)
    known = rule(saddr("192.0.2.53/32"), verdict("accept"))
    yield case("forwarded from some", "they may be all that come", passes, known, stops)
    for name, on, fires in (("IPv6 forwarded", 1, 1), ("IPv6 not forwarded", 0, 0)):
        drops = table(chain("fwd", passes, stops, hook="forward"), name="filter", family="ip6")
        host = _host(_raw("prerouting", port(6, 8080)), drops).sysctl("net.ipv6.conf.all.forwarding", on)
        host.link("tap0").address("tap0", "2001:db8::1/64")
        yield Example(name=name, why="as all.forwarding says", tables=host.build(), fires=fires)
    question = _raw("output", port(6, 8080))
    drops = table(chain("fwd", passes, stops, hook="forward"), name="filter")
    for name, why, rulesets, fires in (
        ("own packets", "what is forwarded was not made here", [question], 0),
        (
            "own packets and those of others",
            "of the two rules one is to blame",
            [question, _raw("prerouting", port(6, 8080))],
            1,
        ),
    ):
        router = _host(*rulesets, drops).link("eth0", inet_conf={"forwarding": 1})
        router.link("tap0", inet_conf={"forwarding": 1})
        yield Example(name=name, why=why, tables=router.build(), fires=fires)
