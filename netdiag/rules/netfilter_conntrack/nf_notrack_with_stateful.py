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
  Filters that accept untracked packets, or the port itself, both ways. Notrack for ports that the filter drops in any
  state: it is closed on purpose. Rules that take everything of an interface out of tracking.

References
  nft(8) "CT STATEMENT", notrack; net/netfilter/nf_conntrack_core.c nf_conntrack_in() (IP_CT_UNTRACKED)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place, Possible
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.nft import NftRule
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, plain, port, rule, state, table, verdict
from netdiag.rules.nftplaces import chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.nftspecimen import meant
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="nf-notrack-with-stateful",
    title="packets are not tracked, and a stateful filter drops them",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "nft"),
)
HOOKS = ("prerouting", "output")
MOST_LINKS = 6
MOST_FORWARDING = 4
WORDS = {6: "tcp", 17: "udp", 132: "sctp"}


def check(view: HostView) -> Iterator[Draft]:
    names = [link.ifname for link in view.links if link.up and not link.loopback][:MOST_LINKS]
    families = {row.family for row in view.addresses if row.scope == 0} or {"inet"}
    for at in _notracks(view):
        assert at.rule is not None
        asked = meant(at.table, at.rule)
        if at.chain.hook is None or not {"sport", "dport"} & set(asked.fields):
            continue
        for packet in asked.packets(tuple(sorted(families))):
            stop = _stop(view, at.chain.hook, packet, names) or _stop_between(view, at.chain.hook, packet, names)
            if stop is not None:
                yield _finding(at, packet, stop)
                break


def _notracks(view: HostView) -> Iterator[Place]:
    for one in view.netfilter.tables:
        for each in one.chains:
            if each.hook in HOOKS and not one.dormant:
                for inside in each.rules:
                    if _is_notrack(inside):
                        yield Place(one, each, inside)


def _is_notrack(one: NftRule) -> bool:
    return any(e.name == "notrack" or (e.name == "target" and e.key in ("CT", "NOTRACK")) for e in one.expressions)


def _stop(view: HostView, hook: str, packet: Packet, names: list[str]) -> Possible | None:
    """What drops the answers to what leaves untracked, or what comes in untracked, on every interface."""
    if hook == "output":
        packet = replace(packet, saddr=packet.daddr, daddr=packet.saddr, sport=packet.dport, dport=packet.sport)
    stops = []
    for name in [packet.iif] if packet.iif and hook == "prerouting" else names:
        comes = replace(packet, iif=name, oif="", ct_state="new", daddr_type="local", ct_reply=None)
        before = view.netfilter.hook("prerouting", comes)
        if before.passes == "no":
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
    forwards = {link.ifname for link in view.links if link.inet_conf.get("forwarding")}
    stops = []
    for iif in [name for name in names if name in forwards and packet.iif in ("", None, name)][:MOST_FORWARDING]:
        for oif in [name for name in names if name != iif][:MOST_FORWARDING] if hook == "prerouting" else []:
            comes = replace(packet, iif=iif, oif="", ct_state="new", daddr_type="unicast", ct_reply=None)
            before = replace(view.netfilter.hook("prerouting", comes).packet, oif=oif)
            found = view.netfilter.hook("forward", before)
            tracked = view.netfilter.hook("forward", replace(before, ct_state="established", ct_reply=True))
            if found.passes != "no" or tracked.passes != "yes":
                return None
            stops.append(found.blocker)
    return stops[0] if stops else None


def _finding(at: Place, packet: Packet, stop: Possible) -> Draft:
    assert at.rule is not None
    text = rule_text(at.table, at.rule)
    out = at.chain.hook == "output"
    key, number = ("sport", packet.dport or packet.sport) if out else ("dport", packet.dport)
    if not out and packet.dport is None:
        key, number = "sport", packet.sport
    proto = WORDS.get(packet.proto or 17, "udp")
    what = "the answers to it are" if out else "what comes is"
    nft = [f"ct state {{ new, untracked }} {proto} {key} {number} accept"]
    xt = [f"-p {proto} --{key} {number} -j ACCEPT"]
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
    )


def _host(*tables: Any) -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").nft(*tables)


def _raw(hook: str, *conditions: Any) -> Any:
    return table(chain(hook, rule(*conditions, plain("notrack")), hook=hook, priority="raw"), name="raw")


def _filter(*rules: Any, policy: str = "drop") -> Any:
    lo = rule(iifname("lo"), verdict("accept"))
    first = rule(state("established", "related"), verdict("accept"))
    return table(chain("input", lo, first, *rules, hook="input", policy=policy), name="filter")


def examples() -> Iterator[Example]:
    def case(name: str, why: str, *tables: Any, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=_host(*tables).build(), fires=fires)

    question, answer = port(17, 53), port(17, 53, source=True)
    yield case("questions untracked", "the answers look new", _raw("output", question), _filter(), fires=1)
    yield case("answers untracked", "they are not established", _raw("prerouting", answer), _filter(), fires=1)
    untracked = rule(state("untracked"), verdict("accept"))
    yield case("untracked accepted", "as it must be", _raw("prerouting", answer), _filter(untracked))
    opened = _filter(rule(answer, verdict("accept")))
    yield case("port accepted", "without state", _raw("output", question), opened)
    yield case("no filter", "nothing is dropped", _raw("output", question), _filter(policy="accept"))
    closed = table(chain("input", hook="input", policy="drop"), name="filter")
    yield case("closed in any state", "tracking would not help", _raw("output", question), closed)
    yield case("whole interface", "nobody knows what runs there", _raw("prerouting", iifname("eth0")), _filter())
    yield case("no notrack", "a plain stateful filter", _filter())
    yield from _forwarded()


def _forwarded() -> Iterator[Example]:
    def case(name: str, why: str, *rules: Any, fires: int = 0, forwarding: int = 1, hook: str = "forward") -> Example:
        host = _host(_raw("prerouting", port(6, 8080)), table(chain("fwd", *rules, hook=hook), name="filter"))
        host.link("eth0", inet_conf={"forwarding": forwarding}).link("tap0", inet_conf={"forwarding": forwarding})
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    passes = rule(state("established", "related"), verdict("accept"))
    stops = rule(state("untracked", "invalid"), verdict("drop"))
    yield case("forwarded, untracked", "the filter drops what is not tracked", passes, stops, fires=1)
    yield case("forwarded, accepted", "the port is open without state", rule(port(6, 8080), verdict("accept")), stops)
    yield case("forwarded one way", "tap0 may", passes, rule(iifname("tap0"), verdict("accept")), stops)
    yield case("not a router", "nothing is forwarded", passes, stops, forwarding=0)
    yield case("closed to all", "established ones too", rule(verdict("drop")))
