"""Rules that are said never to get a packet, against random packets on random hosts.

netdiag.index.policy decides as the kernel does (test_kernel_agreement.py); so it is asked whether any packet comes as
far as such a rule and matches it. Left out is what passes an earlier table by because it is bound to another interface.
"""

import ipaddress
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest

from netdiag.index.fib import Fib
from netdiag.index.links import LinkStack
from netdiag.index.policy import Routing
from netdiag.index.shadow import Shadows, same_packets
from netdiag.model.policyrule import PolicyRule
from netdiag.model.snapshot import Tables
from tests.index.packets import Packets
from tests.index.test_kernel_agreement import build
from tests.index.topology import Topology
from tests.lab import Lab

PACKETS = 600
VARIANTS = 6


def crowded(tables: Tables, seed: int) -> Tables:
    """The same host with more rules: each rule again with a selector less, or with one more, anywhere in the list."""
    random = Random(seed)
    rules = [rule for rule in tables.rules if rule.priority]
    routed = {"inet": Fib(tables.routes).tables(), "inet6": Fib(tables.routes6).tables()}
    extra: list[PolicyRule] = []
    for rule in rules:
        changed: dict[str, Any] = {"priority": random.randrange(1, 40000)}
        given = [name for name in ("src", "dst", "fwmark", "iif", "oif", "ip_proto") if getattr(rule, name)]
        if given and random.random() < 0.7:
            name = random.choice(given)
            changed |= {name: None} | ({f"{name}_len": 0} if name in ("src", "dst") else {})
            changed |= {"fwmask": None} if name == "fwmark" else {}
        if not rule.fwmark and random.random() < 0.4:
            changed |= {"fwmark": random.randrange(1, 4), "fwmask": random.choice((0xFFFFFFFF, 1, 3))}
        if rule.action == "lookup" and rule.table is not None:
            changed |= {"table": random.choice(routed[rule.family] or (254,))}
        extra.append(msgspec.structs.replace(rule, **changed))
    ordered = sorted([*tables.rules, *extra], key=lambda rule: (rule.family, rule.priority))
    return replace(tables, rules=tuple(ordered))


def examine(seed: int) -> tuple[int, list[str]]:
    """How many rules were said to be shadowed, and the packets that speak against it."""
    topology = Topology(seed)
    base = build(topology)
    count, found = 0, []
    for variant in range(VARIANTS):
        tables = crowded(base, seed * 1000 + variant)
        stack = LinkStack(tables.links)
        fibs = {"inet": Fib(tables.routes), "inet6": Fib(tables.routes6)}
        dead = [shadow for fib in fibs.values() for shadow in Shadows(tables.rules, fib, stack).find()]
        count += len(dead)
        if not dead:
            continue
        routing, stream = Routing(tables, fibs, stack), Packets(topology, tables, seed)
        for _ in range(PACKETS):
            answer = routing.lookup(stream.one())
            matched = [step.rule for step in answer.steps if step.matched]
            dst = ipaddress.ip_address(answer.query.dst)
            loose = answer.query.oif is None and not (dst.is_link_local or dst.is_loopback)
            found += [
                f"{answer.query}: {shadow}"
                for shadow in dead
                if any(rule is shadow.rule for rule in matched) and (loose or shadow.rule.oif is not None)
            ]
    return count, found


@pytest.mark.lab
@pytest.mark.parametrize("seed", range(4))
def test_no_packet_comes_to_a_shadowed_rule(seed: int) -> None:
    with Lab() as lab:
        count, found = lab.host("a").call(lambda: examine(seed), timeout=120)
    assert not found, f"{len(found)}\n" + "\n".join(found[:5])
    assert count > 0


def test_same_packets() -> None:
    rule = PolicyRule(family="inet", priority=1, table=5, fwmark=1)
    assert same_packets(rule, PolicyRule(family="inet", priority=9, table=7, fwmark=1, fwmask=0xFFFFFFFF))
    assert not same_packets(rule, PolicyRule(family="inet", priority=9, table=7, fwmark=1, fwmask=1))
    assert not same_packets(rule, PolicyRule(family="inet", priority=9, table=7, fwmark=1, invert=True))
    assert not same_packets(rule, PolicyRule(family="inet", priority=9, table=7))
