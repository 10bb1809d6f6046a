"""The verdict on a roll-out: do the hosts with the new value of an attribute do worse than those with the old ones?

PROCEED: enough hosts have it, and no more of them are sick than chance allows. HOLD: they are sick beyond chance, all
together or by one rule. UNKNOWN: too few hosts on one side, or more are sick and it may be chance. A host is sick where
a rule raises an alarm on it by itself. Pure.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import cast

from netdiag.index.attributes import attributes, fisher
from netdiag.index.fleet import FleetHost
from netdiag.model.finding import Finding
from netdiag.model.fleetreport import Canary, CanaryVerdict, ValueCount

LEAST = 3
"""Hosts on either side from which on anything is said."""
CHANCE = 0.05
_NUMBERS = re.compile(r"\d+|[A-Za-z]+")


def newest(value: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts versions as people count them: 6.8.10 after 6.8.9."""
    return tuple((1, int(word)) if word.isdigit() else (0, word) for word in _NUMBERS.findall(value))


def known(hosts: Iterable[FleetHost]) -> list[str]:
    """Names of the attributes and labels that some host has."""
    return sorted({name for host in hosts for name in (*attributes(host), *host.labels)})


def canary(hosts: Iterable[FleetHost], findings: Iterable[Finding], by: str) -> Canary:
    """The verdict for an attribute: a label, or one of index.attributes; ``NAME=VALUE`` says which value is new."""
    name, _, wanted = by.partition("=")
    groups: dict[str, set[str]] = defaultdict(set)
    unread = 0
    for host in hosts:
        value = host.labels.get(name) or attributes(host).get(name)
        unread += value is None
        if value is not None:
            groups[value].add(host.name)
    sick: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        names = cast(list[str], finding.subject.get("hosts", []))
        if finding.severity != "info" and finding.suppressed is None and len(names) == 1:
            sick[finding.rule].add(names[0])
    ill = set().union(*sick.values())
    order = sorted(groups, key=newest, reverse=True)
    values = tuple(ValueCount(value=x, hosts=len(groups[x]), sick=len(groups[x] & ill)) for x in order)
    new = wanted if wanted in groups else None if wanted or len(order) < 2 else order[0]
    verdict, reason = _judged(groups, sick, ill, new)
    return Canary(by=name, verdict=verdict, reason=reason, canary=new, values=values, unread=unread)


def _judged(
    groups: dict[str, set[str]], sick: dict[str, set[str]], ill: set[str], new: str | None
) -> tuple[CanaryVerdict, str]:
    if new is None:
        return "UNKNOWN", "all hosts have one value" if len(groups) == 1 else "no host has such a value"
    having, rest = groups[new], set().union(*(hosts for value, hosts in groups.items() if value != new))
    total = len(having) + len(rest)
    counts = f"{len(having & ill)} of {len(having)} hosts with {new} are sick, {len(rest & ill)} of {len(rest)} without"
    if min(len(having), len(rest)) < LEAST:
        return "UNKNOWN", f"too few hosts to compare: {counts}"
    chance = fisher(len(having & ill), len((having | rest) & ill), len(having), total)
    for rule, hosts in sorted(sick.items()):
        both, all_ = len(hosts & having), len(hosts & (having | rest))
        alone = min(1.0, fisher(both, all_, len(having), total) * len(sick))
        if both > 1 and alone < CHANCE:
            said = f"{rule} on {both} of {len(having)} hosts with {new}, on {all_ - both} of {len(rest)} without"
            return "HOLD", f"{said} (p = {alone:.2g})"
    if chance < CHANCE and having & ill:
        return "HOLD", f"{counts} (p = {chance:.2g})"
    if len(having & ill) * len(rest) > len(rest & ill) * len(having):
        return "UNKNOWN", f"more are sick, and it may be chance: {counts} (p = {chance:.2g})"
    return "PROCEED", counts
