"""What it checks
  A rule accepts certain traffic (a port, an interface, a connection's state), and another base chain of the same hook,
  mostly of another table, drops or rejects every packet of that kind.

Why it matters
  In nftables accept ends only the base chain that it stands in; the packet goes on to the next base chain of the hook.
  Drop ends everything. So an accept in a table of one's own opens nothing that firewalld, Docker, ufw or another table
  closes, whatever the priorities are: "the rule is there, its counter rises, and nothing arrives".

Confirm
  nft -a list chain FAMILY TABLE CHAIN     (of both chains)
  nft list hooks                           (newer nft: the chains of each hook in the order in which they run)

Fix
  Accept the traffic in the chain that drops it as well: nft insert rule FAMILY TABLE CHAIN ... accept. Or set a mark
  where it is accepted and let the other chain accept that mark; or keep one chain for the hook. A rule put into a table
  that a program owns (firewalld, Docker) goes when the program reloads: use its own configuration.

Not flagged
  Traffic that the other chain may let through: netdiag asks it with a packet that has what the rule asks for and
  everything else open. Rules that accept by the source alone: exceptions from a list of bans look so. Chains of nat
  and route, accepts in prerouting and postrouting, which mean "no more rewriting here". Dormant tables.

References
  nft(8) "VERDICT STATEMENTS" (accept); net/netfilter/nf_tables_core.c nft_do_chain(); net/netfilter/core.c
  nf_hook_slow()
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place, Possible
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.nft import Nft, NftChain, NftRule, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    chain,
    daddr,
    iifname,
    in_set,
    plain,
    port,
    port_set,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from netdiag.rules.nftplaces import chain_name, chain_subject, fact, list_chain, place_words
from netdiag.rules.nftspecimen import meant
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nf-accept-does-not-win",
    title="what one chain accepts, another chain of the same hook drops",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "nft"),
    explains=("nf-forward-drop-policy", "wg-listen-port-firewalled"),
)
HOOKS = ("input", "forward", "output")
MOST_LINKS = 6
MOST, FEWEST, WORK = 300, 20, 150_000
"""Rules tried for one hook: fewer where each try has to walk a long ruleset."""
SPECIFIC = {"dport", "iif", "oif", "ct_state", "proto", "daddr", "icmp_type"}
"""Fields of which a rule must ask at least one."""


@dataclass(frozen=True)
class Beaten:
    """A rule whose accept does not help."""

    at: Place
    stop: Possible


def check(view: HostView) -> Iterator[Draft]:
    families = tuple(sorted({row.family for row in view.addresses if row.scope == 0})) or ("inet",)
    names = [link.ifname for link in view.links if link.up and not link.loopback][:MOST_LINKS]
    whole = view.netfilter
    said: set[tuple[str, ...]] = set()
    for hook in HOOKS:
        beaten = [one for family in families for one in _beaten(whole, hook, family, names)]
        for first in beaten:
            key = (*_key(first.at), *_key(first.stop.at))
            if key not in said:
                said.add(key)
                same = {
                    one.at.rule.handle for one in beaten if one.at.rule and (*_key(one.at), *_key(one.stop.at)) == key
                }
                yield _finding(hook, first, len(same))


def _key(at: Place) -> tuple[str, str, str]:
    return at.table.family, at.table.name, at.chain.name


def _beaten(whole: Netfilter, hook: str, family: str, names: list[str]) -> Iterator[Beaten]:
    base = [(t, c) for t, c in whole.base_chains(hook, family) if c.type == "filter"]
    if len(base) < 2:
        return
    size = sum(len(c.rules) for t in whole.tables for c in t.chains)
    left = max(FEWEST, min(MOST, WORK // max(size, 1)))
    for table_, chain_ in base:
        others = [one for one in base if one[1] is not chain_]
        if not any(_drops(t, c) for t, c in others):
            continue
        alone = Netfilter(Nft(tables=(_only(table_, chain_),)))
        for inside, accepting in _accepting(table_, chain_):
            left -= 1
            if left < 0:
                return
            asked = meant(table_, accepting)
            if not SPECIFIC & set(asked.fields):
                continue
            known: dict[str, Any] = {"oif": ""} if hook == "input" else {"iif": ""} if hook == "output" else {}
            for packet in asked.packets((family,), **known):
                stops = [_stop(alone, whole, hook, one) for one in _everywhere(packet, names)]
                if stops and stops[0] is not None and all(stops):
                    yield Beaten(Place(table_, inside, accepting), stops[0])


def _everywhere(packet: Packet, names: list[str]) -> list[Packet]:
    """The packet on each interface, where the rule does not say which: loopback is accepted nearly everywhere."""
    found = [packet] if packet.iif is not None else [replace(packet, iif=name) for name in names]
    return [each for one in found for each in ([one] if one.oif is not None else [replace(one, oif=n) for n in names])]


def _stop(alone: Netfilter, whole: Netfilter, hook: str, packet: Packet) -> Possible | None:
    """What stops a packet for certain that the rule's own chain accepts for certain."""
    if alone.hook(hook, packet).passes != "yes":
        return None
    found = whole.hook(hook, packet)
    return found.blocker if found.passes == "no" and found.blocker and found.blocker.certain else None


def _only(one: NftTable, base: NftChain) -> NftTable:
    """The table without its other base chains."""
    return msgspec.structs.replace(one, chains=tuple(c for c in one.chains if c is base or not c.base))


def _drops(one: NftTable, base: NftChain) -> bool:
    """Whether the chain, or the table's others, can stop anything."""
    stops = any(
        e.name == "reject" or e.verdict == "drop" or (e.name == "target" and e.key == "REJECT")
        for c in one.chains
        if c is base or not c.base
        for r in c.rules
        for e in r.expressions
    )
    return base.policy == "drop" or stops


def _accepting(one: NftTable, base: NftChain) -> Iterator[tuple[NftChain, NftRule]]:
    for inside in one.chains:
        if inside is base or not inside.base:
            for each in inside.rules:
                if each.expressions and each.expressions[-1].verdict == "accept":
                    yield inside, each


def _finding(hook: str, first: Beaten, count: int) -> Draft:
    at, stop = first.at, first.stop
    assert at.rule is not None
    more = f" (and {count - 1} more rules)" if count > 1 else ""
    text = rule_text(at.table, at.rule)
    where = f"{stop.at.table.family} {quoted(stop.at.table.name)} {quoted(stop.at.chain.name)}"
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{chain_name(at.table, at.chain)} accepts `{text}`{more}, but {place_words(stop.at)} drops it at the"
        f" same hook ({hook}): an accept ends its own chain only",
        evidence=[
            (f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"),
            fact(stop),
        ],
        confirm=[list_chain(at.table, at.chain), list_chain(stop.at.table, stop.at.chain)],
        fix=f"accept the same in {chain_name(stop.at.table, stop.at.chain)}"
        if stop.at.table.legacy
        else f"nft {quoted(f'insert rule {where} {text}')}",
        breaks=[chain_subject(stop.at.table, stop.at.chain)],
    )


def _host() -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")


def _own(*rules: NftRule, priority: int = -10) -> NftTable:
    return table(chain("mine", *rules, hook="input", priority=priority), name="own")


def _firewall(*rules: NftRule, hook: str = "input", **fields: Any) -> NftTable:
    first = rule(state("established", "related"), verdict("accept"))
    return table(chain("in", first, *rules, hook=hook, policy="drop"), name="fw", **fields)


def examples() -> Iterator[Example]:
    web = rule(port(6, 8080), verdict("accept"))
    about = {"kind": "nft-chain", "family": "inet", "table": "own", "chain": "mine"}

    def case(name: str, why: str, *tables: NftTable, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=_host().nft(*tables).build(), fires=fires, **more)

    yield case("earlier accept", "the plain fault", _own(web), _firewall(), fires=1, subject=about, severity="warning")
    yield case("later accept", "drop ends everything before it is asked", _own(web, priority=10), _firewall(), fires=1)
    yield case("ip and inet", "the families share the hook", _own(web), _firewall(family="ip"), fires=1)
    reject = table(
        chain("in", rule(port(6, 22), verdict("accept")), rule(plain("reject", number=2)), hook="input"),
        name="firewalld",
    )
    yield case("firewalld", "it rejects by a last rule", _own(web), reject, fires=1)
    bridge = rule(iifname("lxdbr0"), port(17, 67), verdict("accept"))
    yield case("a bridge's DHCP", "LXD's own table beside a firewall", _own(bridge), _firewall(), fires=1)
    two = _own(web, rule(port(6, 8081), verdict("accept")))
    yield case("two rules, one fault", "told once for the pair of chains", two, _firewall(), fires=1)
    yield case("both accept", "as it must be", _own(web), _firewall(web))
    named = _firewall(rule(in_set(6, "open"), verdict("accept")), sets=(port_set("open", 22, 8080),))
    yield case("accepted by a set", "what counts is the verdict", _own(web), named)
    hidden = _firewall(rule(plain("xyz"), verdict("accept")))
    unknown = _firewall(rule(plain("osf", opaque=True), verdict("accept")))
    yield case("may be accepted", "an expression that is not understood may match", _own(web), unknown)
    yield case("expression without a say", "it matches: everything is accepted", _own(web), hidden)
    friend = rule(saddr("198.51.100.7/32"), verdict("accept"))
    yield case("exception from bans", "accept means: not banned", _own(friend), _firewall())
    lo = _firewall(rule(iifname("lo"), verdict("accept")))
    yield case("loopback is accepted", "that helps nobody outside", _own(web), lo, fires=1)
    inside = _firewall(rule(iifname("eth0"), verdict("accept")))
    yield case("accepted on one interface", "closed on the others is a decision", _own(web), inside)
    yield case("one chain", "nothing can contradict it", _firewall(web))
    yield case("dormant", "it is switched off", _own(web), _firewall(dormant=True))
    forward = _firewall(hook="forward")
    yield case("another hook", "input and forward are apart", _own(web), forward)
    six = rule(daddr("2001:db8::/32"), verdict("accept"))
    yield case("no address of the family", "IPv6 rules on a host without IPv6", _own(six), _firewall())
