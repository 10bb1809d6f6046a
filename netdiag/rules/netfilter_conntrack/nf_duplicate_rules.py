"""What it checks
  A chain has the same rule many times: the same expressions, word for word, counters and comments aside.

Why it matters
  A program adds its rule at every start and never takes it away. Each packet is compared with all of them; after some
  weeks there are thousands and the CPU goes into the chain. Taking the rule away once then changes nothing, because
  the next copy does the same.

Confirm
  nft list chain FAMILY TABLE CHAIN | sort | uniq -cd

Fix
  Delete the copies by their handles (nft -a list chain ...), and make the program check before it adds (nft flush of a
  chain of its own, iptables -C). Deleting a copy changes nothing for the packets as long as one is left.

Not flagged
  Up to nine equal rules are an info, two are nothing. Rules with a limit, a quota, a last, a connection count, a random
  number or a set that they fill: repeating those does something. Dormant tables.

References
  nft(8); iptables(8) -C
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from netdiag.index.nfttext import rule_text
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.nft import NftElement, NftExpression, NftRule, NftSet, NftTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, in_set, plain, rule, saddr, table, verdict
from netdiag.rules.nftplaces import chain_name, chain_subject, list_chain
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="nf-duplicate-rules",
    title="a chain has the same rule many times",
    severity="warning",
    reads=("nft",),
)
SOME, MANY = 3, 10
"""Copies from which on it is told, and told as a warning."""
STATEFUL = frozenset({"limit", "quota", "last", "connlimit", "numgen", "dynset", "hash", "objref", "queue"})
MATCHES = frozenset(
    {"limit", "hashlimit", "quota", "quota2", "statistic", "connlimit", "recent", "nth", "random", "time"}
)
"""Extensions of iptables whose answer depends on more than the packet."""


def _key(at: NftTable, one: NftRule) -> tuple[NftExpression, ...] | None:
    """What makes two rules equal; None for rules that may be repeated on purpose. The sets that are written inside
    rules have a name each: what is in them counts."""
    parts = []
    for step in one.expressions:
        if step.name in STATEFUL or (step.name == "match" and step.key in MATCHES):
            return None
        if step.name != "counter":
            parts.append(msgspec.structs.replace(step, packets=None, octets=None, set=_set(at, step.set)))
    return tuple(parts) or None


def _set(at: NftTable, name: str | None) -> str | None:
    """The name of a set, or the content of one that is part of the rule."""
    known = at.set(name) if name is not None else None
    if known is None or "anonymous" not in known.flags or not known.complete:
        return name
    return _words(known.elements).decode()


def check(view: HostView) -> Iterator[Draft]:
    for one in (*view.nft.tables, *view.nft.legacy):
        for at in () if one.dormant else one.chains:
            if len(at.rules) < SOME:
                continue
            keys = [(_words(key), row) for row in at.rules if (key := _key(one, row)) is not None]
            counted = Counter(words for words, _ in keys)
            if not counted:
                continue
            words, most = max(counted.items(), key=lambda pair: pair[1])
            if most < SOME:
                continue
            first = next(row for text, row in keys if text == words)
            extra = sum(count - 1 for count in counted.values())
            name = chain_name(one, at)
            yield RULE.found(
                subject=chain_subject(one, at),
                message=f"{name} has the rule `{rule_text(one, first)}` {most} times; {extra} of its {len(at.rules)}"
                " rules are copies",
                severity="warning" if most >= MANY else "info",
                evidence=[
                    (f"rule {first.handle} of {name}", rule_text(one, first), "NFT_MSG_GETRULE"),
                    ("copies", most, f"NFT_MSG_GETRULE {name}"),
                ],
                confirm=[list_chain(one, at)],
                fix="# delete the copies by their handles, after a look at what adds the rule",
            )


def _words(key: tuple[NftExpression, ...] | tuple[NftElement, ...]) -> bytes:
    return msgspec.json.encode(key)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, *rules: Any, fires: int = 0, severity: Any = None, **fields: Any) -> Example:
        at = table(chain("c", *rules, hook="input"), **fields)
        return Example(name=name, why=why, tables=HostBuilder().nft(at).build(), fires=fires, severity=severity)

    def drop(source: str, **counted: int) -> NftRule:
        return rule(saddr(source), plain("counter", **counted), verdict("drop"))

    same = drop("192.0.2.0/24")
    yield case("ten copies", "the plain fault", *[same] * MANY, fires=1, severity="warning")
    yield case("nine copies", "not yet a burden", *[same] * (MANY - 1), fires=1, severity="info")
    yield case("three copies", "the smallest number told", *[same] * SOME, fires=1, severity="info")
    yield case("two copies", "happens to everybody", same, same, drop("192.0.3.0/24"))
    counted = [drop("192.0.2.0/24", packets=number) for number in range(MANY)]
    yield case("counters differ", "they say nothing about the rule", *counted, fires=1, severity="warning")
    noted = [rule(saddr("192.0.2.0/24"), verdict("drop"), comment=f"run {number}") for number in range(MANY)]
    yield case("comments differ", "nor do these", *noted, fires=1, severity="warning")
    others = [drop(f"192.0.{number}.0/24") for number in range(40)]
    yield case("forty sources", "each rule is another", *others)
    limited = rule(iifname("eth0"), plain("limit", number=10, code=1), verdict("accept"))
    yield case("limits", "ten of them let ten times as much pass", *[limited] * MANY)
    xt = rule(plain("match", key="hashlimit"), verdict("accept"), compat=True)
    yield case("limits of iptables", "the same", *[xt] * MANY)
    jumps = rule(plain("match", key="comment"), verdict("jump", "other"), compat=True)
    yield case("jumps of iptables", "a program that never looks", *[jumps] * MANY, fires=1, severity="warning")
    yield case("dormant", "not in force", *[same] * MANY, dormant=True)
    yield case("counters alone", "rules that do nothing but count", *[rule(plain("counter"))] * MANY)
    hours = NftExpression(name="meta", key="time", dreg=0), NftExpression(name="cmp", op="gt", sreg=0, value="00")
    timed = rule(hours, verdict("drop"))
    yield case("copies that ask for the time", "all the same at any time", *[timed] * MANY, fires=1, severity="warning")

    def ports(number: int, *keys: str) -> NftSet:
        elements = tuple(NftElement(key=key) for key in keys)
        return NftSet(name=f"__set{number}", handle=number, flags=("anonymous", "constant"), elements=elements)

    listed = [rule(in_set(6, f"__set{number}"), verdict("accept")) for number in range(MANY)]
    alike = tuple(ports(number, "0050", "01bb") for number in range(MANY))
    yield case("copies with sets of their own", "each copy has one", *listed, sets=alike, fires=1, severity="warning")
    apart = tuple(ports(number, f"{number:04x}", "01bb") for number in range(MANY))
    yield case("sets that differ", "each rule is another", *listed, sets=apart)
    part = tuple(msgspec.structs.replace(one, complete=False) for one in alike)
    yield case("sets that were read in part", "nobody knows", *listed, sets=part)
    named = rule(in_set(6, "web"), verdict("accept"))
    web = (msgspec.structs.replace(alike[0], name="web", flags=()),)
    yield case("copies with one set", "it is the same", *[named] * SOME, sets=web, fires=1, severity="info")
