"""What it checks
  A rule accepts certain traffic (a port, an interface, a connection's state), and another base chain of the same hook,
  mostly of another table, drops or rejects every packet of that kind, except on interfaces where it lets anything in.
  Or a port on which something listens is accepted at input, and dropped at prerouting or ingress of every interface.

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
  everything else open. Where that is so for one family, a rule for both is not held against the other. Interfaces that
  are not there, and loopback where packets are forwarded: none comes by it. Where the other chain lets anything in on
  some interfaces: that it is closed on the rest may be a decision, unless all ways to the world are closed and
  something listens on that port, or the rule is for a port of one host behind this one (not an engine's: Docker accepts
  whatever is published, and who may come is for the firewall to say).
  Rules that accept by the source alone: exceptions from a list of bans look so. Chains of nat and route, accepts in
  prerouting and postrouting, which mean "no more rewriting here". Dormant tables.

References
  nft(8) "VERDICT STATEMENTS" (accept); net/netfilter/nf_tables_core.c nft_do_chain(); net/netfilter/core.c
  nf_hook_slow()
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Place
from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.distinct import among
from netdiag.model.finding import Draft
from netdiag.model.nft import NftElement, NftExpression, NftRule, NftSet, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    CT_MARK,
    CT_STATE,
    DADDR,
    DPORT,
    IIFNAME,
    IPV4,
    L4PROTO,
    SPORT,
    Expressions,
    chain,
    daddr,
    differs,
    high_port,
    icmp,
    iifname,
    in_set,
    l4proto,
    looked_up,
    mark,
    meta,
    oifname,
    plain,
    plain_set,
    port,
    port_set,
    protocol,
    rule,
    saddr,
    same,
    state,
    table,
    verdict,
)
from netdiag.rules.localports import listeners
from netdiag.rules.nftplaces import chain_name, chain_subject, fact, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.vainaccepts import Beaten, beaten, beaten_before
from netdiag.rules.vaincases import before, by_iptables, of_two_families, trusting
from netdiag.rules.vaincases import firewall as _firewall
from netdiag.rules.vaincases import lone_host as _host
from netdiag.rules.vaincases import own_table as _own
from netdiag.rules.waysout import common_tables

RULE = Rule(
    id="nf-accept-does-not-win",
    title="what one chain accepts, another chain of the same hook drops",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "nft"),
    consults=("sockets", "routes", "rules"),
    explains=("nf-forward-drop-policy", "wg-listen-port-firewalled"),
)
HOOKS = ("input", "forward", "output")
ENGINES = re.compile(r"DOCKER|CNI-|NETAVARK|PODMAN|KUBE-|cali-|CILIUM_|LIBVIRT_|LXC|lxd|incus|fwd\.")
"""How chains begin that an engine fills for its guests (the last: of LXD's and Incus' own tables)."""
COUNTED = re.compile(r"\bcounter packets \d+ bytes \d+ ")
MOST_LINKS = 6
MOST_ACCEPTS = 4
"""So many rules are written out in the fix."""


def check(view: HostView) -> Iterator[Draft]:
    families = tuple(sorted({row.family for row in view.addresses if row.scope == 0})) or ("inet",)
    names = [link.ifname for link in view.links if link.up and not link.loopback][:MOST_LINKS]
    whole = view.netfilter
    said: set[tuple[str, ...]] = set()
    found: list[tuple[str, list[Beaten]]] = []
    for hook in HOOKS:
        each = ((family, [other for other in families if other != family]) for family in families)
        every = (one for of, others in each for one in beaten(whole, hook, of, names, view.links, others=others))
        found.append((hook, [one for one in every if _meant(view, one, hook)]))
    early = (one for family in families for one in beaten_before(whole, family, names, view.links))
    found.append(("input", [one for one in early if _served(view, one)]))
    for hook, lost in found:
        for first in lost:
            key = (*_key(first.at), *_key(first.stop.at))
            if key not in said:
                said.add(key)
                same = [one for one in lost if (*_key(one.at), *_key(one.stop.at)) == key]
                yield _finding(hook, first, list({one.at.rule: None for one in same if one.at.rule}))


def _meant(view: HostView, one: Beaten, hook: str) -> bool:
    """Whether somebody wants the traffic: where some interfaces are trusted with anything, that the others are closed
    may be a decision, unless the way out to the world is among the closed ones, and a service listens on that port, or
    the rule publishes a port of one host behind this one."""
    if not one.trusted:
        return True
    routes = view.routes(one.packet.family)
    tables = list(common_tables(view, one.packet.family))
    rows = view.route_rows(one.packet.family, np.flatnonzero((routes.dst_len == 0) & among(routes.table, tables)))
    outward = {view.ifname(hop.oif) for row in rows for hop in row.hops}
    served = _served(view, one)
    if hook == "forward":
        if ENGINES.match(one.at.chain.name):
            return False  # whatever is published is accepted there: nobody said that the world is to have it
        inner = [row for row in view.addresses if view.ifname(row.ifindex) not in outward]
        served = one.packet.dport is not None and any(_within(one.packet.daddr, row) for row in inner)
    return served and bool(outward) and not outward & set(one.trusted)


def _served(view: HostView, one: Beaten) -> bool:
    """Whether something listens on the port for others than this host."""
    bound, own = listeners(view), {row.local for row in view.addresses if row.scope == 0}
    return any(one.packet.dport in bound.get(address, ()) for address in ("", *own))


def _within(address: str | None, own: Address) -> bool:
    """Whether it is one address, of the subnet of an address of this host."""
    asked = ipaddress.ip_network(address or "::/0", strict=False)
    subnet = ipaddress.ip_network(f"{own.local}/{own.prefixlen}", strict=False)
    return asked.num_addresses == 1 and asked.network_address in subnet


def _key(at: Place) -> tuple[str, str, str]:
    return at.table.family, at.table.name, at.chain.name


def _fix(first: Beaten, rules: list[NftRule], here: bool) -> str:
    """The accepts, at the head of the chain that drops; a set belongs to its table, and is no help there."""
    stop = first.stop.at
    texts = [COUNTED.sub("", rule_text(first.at.table, each)) for each in rules[:MOST_ACCEPTS]]
    if not here or stop.table.legacy or any("@" in text or "xt match" in text for text in texts):
        return f"accept the same in {chain_name(stop.table, stop.chain)}"
    where = f"{stop.table.family} {quoted(stop.table.name)} {quoted(stop.chain.name)}"
    more = f"  # and the {len(rules) - MOST_ACCEPTS} others" if len(rules) > MOST_ACCEPTS else ""
    return f"nft {quoted('; '.join(f'insert rule {where} {text}' for text in texts))}{more}"


def _finding(hook: str, first: Beaten, rules: list[NftRule]) -> Draft:
    at, stop, count = first.at, first.stop, len(rules)
    assert at.rule is not None
    more = f" (and {count - 1} more rules)" if count > 1 else ""
    text = rule_text(at.table, at.rule)
    here = stop.at.chain.hook in (hook, None)
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{chain_name(at.table, at.chain)} accepts `{text}`{more}, but {place_words(stop.at)} drops it at "
        + (f"the same hook ({hook}): an accept ends its own chain only" if here else f"{stop.at.chain.hook} already"),
        evidence=[
            (f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"),
            fact(stop),
        ],
        confirm=[list_chain(at.table, at.chain), list_chain(stop.at.table, stop.at.chain)],
        fix=_fix(first, rules, here),
        breaks=[chain_subject(stop.at.table, stop.at.chain)],
        touches=[chain_subject(stop.at.table, stop.at.chain)],
    )


def examples() -> Iterator[Example]:
    web = rule(port(6, 8080), verdict("accept"))
    about = {"kind": "nft-chain", "family": "inet", "table": "own", "chain": "mine"}

    def case(name: str, why: str, *tables: NftTable, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=_host().nft(*tables).build(), fires=fires, **more)

    yield case("earlier accept", "the plain fault", _own(web), _firewall(), fires=1, subject=about, severity="warning")
    yield case("later accept", "drop ends everything before it is asked", _own(web, priority=10), _firewall(), fires=1)
    seen = rule(port(6, 8080), plain("counter", packets=2, octets=120), verdict("accept"))
    counted = ("tcp dport 8080 counter packets 2", "nft 'insert rule inet fw in tcp dport 8080 accept'")
    yield case("an accept that counts", "the fix takes no count along", _own(seen), _firewall(), fires=1, says=counted)
    yield case("ip and inet", "the families share the hook", _own(web), _firewall(family="ip"), fires=1)
    reject = table(
        chain("in", rule(port(6, 22), verdict("accept")), rule(plain("reject", number=2)), hook="input"),
        name="firewalld",
    )
    yield case("firewalld", "it rejects by a last rule", _own(web), reject, fires=1)
    bridge = rule(iifname("lxdbr0"), port(17, 67), verdict("accept"))
    dhcp = _host().link("lxdbr0", kind="bridge").nft(_own(bridge), _firewall()).build()
    yield Example(name="a bridge's DHCP", why="LXD's own table beside a firewall", tables=dhcp, fires=1)
    yield case("a bridge that is not there", "no packet comes by it", _own(bridge), _firewall())
    closed = _firewall(hook="forward")
    for name, fires in (("lo", 0), ("lo*", 0), ("eth0", 1), ("eth*", 1)):
        through = _own(rule(iifname(name), verdict("accept")), hook="forward")
        yield case(f"{name} may be forwarded", "nothing is forwarded from loopback", through, closed, fires=fires)
    local = _own(rule(iifname("lo"), port(6, 8080), verdict("accept")))
    yield case("lo for this host", "its own connections come by it", local, _firewall(), fires=1)
    two = _own(web, rule(port(6, 8081), verdict("accept")))
    each = ("insert rule inet fw in tcp dport 8080 accept; insert rule inet fw in tcp dport 8081 accept'",)
    yield case("two rules, one fault", "told once for the pair of chains", two, _firewall(), fires=1, says=each)
    five = _own(*(rule(port(6, number), verdict("accept")) for number in range(8080, 8085)))
    rest = ("tcp dport 8083 accept'  # and the 1 others", "(and 4 more rules)")
    yield case("five rules", "the fix can still be read", five, _firewall(), fires=1, says=rest)
    yield case("both accept", "as it must be", _own(web), _firewall(web))
    named = _firewall(rule(in_set(6, "open"), verdict("accept")), sets=(port_set("open", 22, 8080),))
    yield case("accepted by a set", "what counts is the verdict", _own(web), named)
    ports = port_set("open", 22, 8080, 8081)
    several = _own(rule(in_set(6, "open"), verdict("accept")), sets=(ports,))
    known = _firewall(rule(port(6, 22), verdict("accept")))
    yield case(
        "one of a set's ports", "the first one passes", several, known, fires=1, says=("accept the same in inet fw in",)
    )
    wide = _firewall(rule(in_set(6, "open"), verdict("accept")), sets=(ports,))
    yield case("all of a set's ports", "each passes", several, wide)
    for count, fires in ((8, 1), (9, 0)):
        many = port_set("open", *range(8000, 8000 + count))
        most = port_set("known", *range(8000, 7999 + count))
        first, second = rule(in_set(6, "open"), verdict("accept")), rule(in_set(6, "known"), verdict("accept"))
        tables = _own(first, sets=(many,)), _firewall(second, sets=(most,))
        yield case(f"the last of {count} ports", "eight are tried", *tables, fires=fires)
    hidden = _firewall(rule(plain("xyz"), verdict("accept")))
    unknown = _firewall(rule(plain("osf", opaque=True), verdict("accept")))
    yield case("may be accepted", "an expression that is not understood may match", _own(web), unknown)
    yield case("expression without a say", "it matches: everything is accepted", _own(web), hidden)
    friend = rule(saddr("198.51.100.7/32"), verdict("accept"))
    yield case("exception from bans", "accept means: not banned", _own(friend), _firewall())
    for source, fires in (("198.51.100.7/32", 1), ("198.51.100.8/32", 0)):
        banned = table(chain("in", rule(saddr(source), verdict("drop")), hook="input"), name="bans")
        yield case(f"let in, and {source} is banned", "it was named twice", _own(friend), banned, fires=fires)
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
    yield from _chains(web)
    yield from _links(web)
    yield from _asked()


def _chains(web: NftRule) -> Iterator[Example]:
    """Which chains are compared, and what in them stops."""

    def case(name: str, why: str, *tables: NftTable, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=_host().nft(*tables).build(), fires=fires, **more)

    other = rule(port(6, 8081), verdict("accept"))
    third = rule(port(6, 8082), verdict("accept"))
    fourth = rule(port(6, 8083), verdict("accept"))
    thrice = (
        _own(web, other, fourth),
        table(chain("theirs", web, third, hook="input", priority=-5), name="other"),
    )
    why = "each says how many of its own rules are in vain"
    yield case("two chains in vain", why, *thrice, _firewall(), fires=2, says=("(and 1 more rules)",))
    inner = table(
        chain("mine", rule(verdict("jump", "open")), hook="input", priority=-10, policy="drop"),
        chain("open", web),
        chain("through", other, hook="forward"),
        name="own",
    )
    yield case("accepted in a chain below", "a jump is part of the chain", inner, _firewall(), fires=1, says=("8080",))
    zones = NftElement(key=b"eth0".ljust(16, b"\0").hex(), verdict="jump", chain="zone")
    maps = (
        NftSet(name="zones", handle=1, key_len=16, elements=(zones,)),
        NftSet(name="ports", handle=2, key_len=2, elements=(NftElement(key="1f90", verdict="accept"),)),
    )
    mapped = table(
        chain("mine", rule((IIFNAME, *plain("lookup", sreg=0, set="zones", flags=("verdict",)))), hook="input"),
        chain("zone", rule(l4proto(6), (DPORT, *plain("lookup", sreg=0, set="ports", flags=("verdict",))))),
        chain("unused", other),
        name="own",
        sets=maps,
    )
    yield case("accepted by a map", "a zone for each interface, a map of ports", mapped, _firewall(), fires=1)
    taken = _firewall(rule(iifname("eth0"), port(6, 8080), verdict("accept")))
    yield case("accepted by a map, and here", "the same door is open", mapped, taken)
    apart = table(
        chain("mine", rule(verdict("jump", "open")), hook="forward"),
        chain("open", web),
        chain("later", hook="input"),
        name="own",
    )
    yield case("accepted below another hook", "no packet to this host gets there", apart, _firewall())
    parts = table(chain("mine", web, hook="forward", policy="drop"), chain("later", hook="input"), name="own")
    yield case("accepted for another hook", "the forward chain's accept is not the input's", parts, _firewall())
    beside = table(chain("mine", web, hook="input", priority=-10), chain("in", hook="input", policy="drop"), name="own")
    yield case("two chains of one table", "accept ends the chain, not the table", beside, fires=1)
    bans = _firewall(rule(saddr("198.51.100.0/24"), verdict("drop")))
    yield case("bans before the policy", "the policy stops the rest", _own(web), bans, fires=1, says=("policy",))
    drops = table(chain("in", rule(port(6, 8080), verdict("drop")), hook="input"), name="fw")
    yield case("dropped by a rule", "whatever the policy is", _own(web), drops, fires=1)
    below = table(
        chain("in", rule(verdict("jump", "end")), hook="input"), chain("end", rule(plain("reject", number=2)))
    )
    yield case("rejected in a chain below", "as firewalld's zones end", _own(web), below, fires=1)
    old = table(chain("INPUT", rule(plain("target", key="REJECT")), hook="input"), family="ip", name="filter")
    yield case("REJECT of iptables", "it is a target of xtables", _own(web), old, fires=1)
    nat = table(chain("mine", web, hook="output", type="nat", priority=-100), name="own")
    yield case("accepted in nat", "it means: not rewritten", nat, _firewall(hook="output"))
    bare = table(chain("a", hook="input"), name="own"), table(chain("b", hook="input", policy="drop"), name="fw")
    yield case("chains without rules", "nothing is accepted", *bare)
    counted = _own(rule(port(6, 8080), plain("counter")), rule())
    yield case("counted only", "a rule without a verdict lets on", counted, _firewall())


def _links(web: NftRule) -> Iterator[Example]:
    """On which interfaces, at which hook."""

    def case(name: str, why: str, host: HostBuilder, *tables: NftTable, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.nft(*tables).build(), fires=fires)

    spare = _firewall(rule(iifname("eth1"), verdict("accept")))
    yield case("open where nothing comes", "eth1 is down", _host().link("eth1", up=False), _own(web), spare, fires=1)
    two, inside = _host().link("eth1"), _firewall(rule(iifname("eth0"), verdict("accept")))
    yield case("open on one of two", "closed on the other is a decision", two, _own(web), inside)
    yield from trusting(web)
    yield from of_two_families(web)
    yield from by_iptables()
    yield from before(web)
    yield case("no interface up", "nothing comes at all", HostBuilder().link("eth0", up=False), _own(web), _firewall())
    common = chain("common", rule(iifname("eth0"), verdict("accept")), rule(oifname("eth0"), verdict("accept")))
    ends = [chain(hook, rule(verdict("jump", "common")), hook=hook, policy="drop") for hook in ("input", "output")]
    web_out = chain("mine_out", web, hook="output", priority=-10)
    both = table(chain("mine", web, hook="input", priority=-10), web_out, name="own")
    shared = table(common, *ends, name="fw")
    yield case("one chain for both ways", "the way in has no way out: it passes by eth0 alone", _host(), both, shared)
    narrow = table(chain("common", *common.rules[:1]), *ends, name="fw")
    yield case("open for what comes in", "what goes out came in by nothing", _host(), both, narrow, fires=1)
    wide = table(chain("common", *common.rules[1:]), *ends, name="fw")
    yield case("open for what goes out", "what comes in has no way out", _host(), both, wide, fires=1)
    router = _host().link("eth1").address("eth1", "10.0.0.1/24")
    out = _own(rule(oifname("eth1"), verdict("accept")), hook="forward")
    some = _firewall(rule(oifname("eth0"), verdict("accept")), hook="forward")
    yield case("forwarded to one interface", "the other one is open, this is not", router, out, some, fires=1)
    dual = _host().address("eth0", "2001:db8::2/64")
    six = rule(daddr("2001:db8::2/128"), port(17, 443), verdict("accept"))
    yield case("IPv6", "its own address and port", dual, _own(six), _firewall(family="ip6"), fires=1)


PORT_MAP = (
    DPORT,
    NftExpression(name="lookup", sreg=0, dreg=0, set="m"),
    NftExpression(name="meta", key="mark", sreg=0),
)
MSS = (
    NftExpression(name="exthdr", key="tcpopt", number=2, dreg=0, offset=2, length=2),
    NftExpression(name="cmp", op="eq", sreg=0, value="05b4"),
)
FRAGMENT = (
    NftExpression(name="exthdr", number=44, dreg=0, offset=2, length=2),
    NftExpression(name="bitwise", op="mask", sreg=0, dreg=0, length=2, mask="fff8", xor="0000"),
    NftExpression(name="cmp", op="eq", sreg=0, value="0050"),
)


def _asked() -> Iterator[Example]:
    """What a rule may ask of a packet: between two closed chains only the packet that it means shows the fault."""
    closed = table(chain("in", hook="input", policy="drop"), name="fw")

    def case(name: str, *asked: Expressions, sets: tuple[NftSet, ...] = (), fires: int = 1) -> Example:
        mine = chain("mine", rule(*asked, verdict("accept")), hook="input", priority=-10, policy="drop")
        host = _host().address("eth0", "2001:db8::2/64").nft(table(mine, name="own", sets=sets), closed)
        why = "two closed chains, one of which has an exception"
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("asks for an interface", iifname("eth0"))
    yield case("asks for interfaces by their first letters", iifname("eth*"))
    yield case("asks for interfaces by their first letter", iifname("e*"))
    yield case("asks for interfaces that are not there", iifname("tap*"), fires=0)
    yield case("asks for an interface as iptables-nft does", meta("iifname", b"eth0\0"))
    yield case("asks for one that is not there as iptables-nft does", meta("iifname", b"eth\0"), fires=0)
    yield case("asks for a state", state("related"))
    yield case("asks for a state by a set", looked_up("s", CT_STATE), sets=(plain_set("s", "04000000"),))
    yield case("asks for a mark", mark(0x102), port(6, 80))
    yield case("asks for bits of a mark", meta("mark", b"\2\0\0\0", mask=b"\xff\0\0\0"), port(6, 80))
    yield case("asks for a destination", daddr("192.0.2.2/32"))
    yield case("asks for a network", daddr("192.0.2.0/24"))
    yield case("asks for a ping", icmp(1, 8))
    yield case("asks for an IPv6 ping", icmp(58, 128))
    yield case("asks for the protocol of IP", protocol(47))
    yield case("asks for high ports", l4proto(17), high_port(1024))
    pair = looked_up("p", IIFNAME, msgspec.structs.replace(DPORT, dreg=4))
    key4 = b"eth0".ljust(16, b"\0").hex() + "1f900000"
    yield case("asks for interface and port", l4proto(6), pair, sets=(plain_set("p", key4, fields=(16, 2)),))
    three = looked_up("t", DADDR, msgspec.structs.replace(L4PROTO, dreg=1), msgspec.structs.replace(DPORT, dreg=2))
    key = "c0000202" + "06000000" + "1f900000"
    yield case("asks for address, protocol, port", IPV4, three, sets=(plain_set("t", key, fields=(4, 1, 2)),))
    yield case("asks for a port by a map", l4proto(6), PORT_MAP, sets=(plain_set("m", "1f90", "1f91"),))
    again = (*pair, *looked_up("q", SPORT))
    both = (plain_set("p", key4, fields=(16, 2)), plain_set("q", "0035"))
    yield case("asks for interface and port, then for a source port", l4proto(6), again, sets=both)
    yield case("asks for any state but one", (CT_STATE, differs("02000000")), port(6, 80))
    yield case("asks for none of these states", state("established", "related", op="eq"), port(6, 80))
    yield case("asks for an option of TCP", port(6, 80), MSS, fires=0)
    yield case("asks for a fragment", port(17, 80), FRAGMENT, fires=0)
    yield case("asks for a connection's mark", iifname("eth0"), (CT_MARK, same("01000000")), fires=0)
    yield case("asks for none of a set", looked_up("p", DPORT, invert=True), sets=(plain_set("p", "1f90"),), fires=0)
    yield case("asks for a set that is empty", l4proto(6), looked_up("p", DPORT), sets=(plain_set("p"),), fires=0)
    yield case("asks for a set that is not there", l4proto(6), looked_up("p", DPORT), fires=0)
    yield case("asks for a set that holds all", looked_up("p", DPORT), sets=(plain_set("p", ""),), fires=0)
