"""What it checks
  Within a role of four or more hosts: which attribute (kernel, sysctl, MTU, offload, qdisc, eBPF program and its build,
  BIRD's version and filters, policy rules) a few hosts have differently from their siblings. As a warning where the
  hosts on which a rule raises an alarm are those with the attribute, beyond chance: Fisher's exact test, corrected for
  every look that was taken, below 5 percent. Without a symptom it is information, the rarest first.

Why it matters
  "Eight of eight hosts with stale handshakes run 6.8.2, three of 612 without do": the one fact that turns a list of
  alarms into a cause, and that nobody sees host by host.

Confirm
  netdiag fleet check --by ATTRIBUTE DIR    (counts of sick and healthy hosts for each value)

Fix
  Stop the roll-out, or bring the attribute of these hosts in line with their siblings; on one host first.

Not flagged
  Attributes of a role, or of which each region has one value (and more than one host). Values that nearly every host
  has for itself; counts and what is sized by memory. A roll-out at half: nobody is odd then. A symptom whose hosts do
  not go with any attribute.

References
  R. A. Fisher, The Design of Experiments (1935), chapter II; netdiag/rules/fleetodds.py
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.fleet import FleetView, across
from netdiag.model.finding import Draft, Subject, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.fleetodds import Separation, Split, separations, splits
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="fleet-odd-one-out",
    title="an attribute sets hosts apart from their siblings",
    severity="warning",
    confidence="likely",
    reads=("links", "sysctls"),
    explains=("*",),
    scope="fleet",
)
TOLD = 10
"""Differences without a symptom that are told."""
MOST_NAMED = 4


def check(view: FleetView) -> Iterator[Draft]:
    found = splits(view)
    told = separations(view, found)
    for row in told:
        yield _separates(view, row)
    spoken = {row.split.hosts for row in told}
    rest = [split for split in found if split.rare and split.hosts not in spoken]
    for split in rest[:TOLD]:
        yield _differs(split)


def _about(split: Split) -> Subject:
    name, value, _ = split.attributes[0]
    return across(split.hosts, subject("host", attribute=name, value=value))


def _what(split: Split) -> str:
    told = [f"{name} {value} (not {usual})" for name, value, usual in split.attributes[:2]]
    more = f" and {len(split.attributes) - 2} more" if len(split.attributes) > 2 else ""
    return _short("; ".join(told)) + more


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."


def _separates(view: FleetView, row: Separation) -> Draft:
    split = row.split
    without = len(split.siblings) - len(split.hosts)
    return RULE.found(
        subject=_about(split),
        message=f"{row.both} of {row.sick} {split.role} hosts with {', '.join(row.rules[:3])} have {_what(split)}, and "
        f"of the {without} siblings without it {row.sick - row.both} are sick (p = {row.chance:.2g})",
        evidence=[
            (f"hosts with {name}", f"{value}: {_listed(split.hosts)}", f"siblings have {usual}")
            for name, value, usual in split.attributes[:3]
        ]
        + [("chance", f"{row.chance:.2g}", f"Fisher's exact test, one-sided, corrected for {row.looks} looks")],
        confirm=[_command(split)],
        fix="bring it in line with the siblings on one of these hosts, look whether it recovers, then on the others",
        breaks=[
            about
            for rule in row.rules
            for name, things in view.symptoms[rule].items()
            if name in split.hosts
            for about in things
        ],
    )


def _differs(split: Split) -> Draft:
    names = _listed(split.hosts)
    return RULE.found(
        subject=_about(split),
        severity="info",
        message=f"{names} {'differs' if len(split.hosts) == 1 else 'differ'} from {len(split.siblings - split.hosts)} "
        f"siblings of role {split.role}: {_what(split)}",
        evidence=[(name, value, f"siblings have {usual}") for name, value, usual in split.attributes[:MOST_NAMED]],
        confirm=[_command(split)],
        fix="bring it in line with the siblings, or leave it where it is meant",
    )


def _command(split: Split) -> str:
    name, _, _ = split.attributes[0]
    if name.startswith("sysctl "):
        return name.replace("sysctl ", "sysctl ", 1)
    return {"kernel": "uname -r", "policy rules": "ip rule show", "bird version": "birdc show status"}.get(
        name, "ip -d link show"
    )


def _listed(hosts: frozenset[str]) -> str:
    names = sorted(hosts)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def examples() -> Iterator[FleetExample]:
    def fleet(count: int, odd: frozenset[int], *, key: str = "net.ipv4.tcp_sack", role: str = "worker") -> Any:
        found = {}
        for number in range(count):
            host = HostBuilder().link("eth0").address("eth0", f"192.0.2.{number + 1}/24")
            host.route("default", via="192.0.2.254", dev="eth0").sysctl(key, 0 if number in odd else 1)
            found[f"{('fra', 'ams', 'sin')[number % 3]}-{role}{number}"] = host.build()
        return found

    def named(hosts: Any, numbers: frozenset[int]) -> frozenset[str]:
        return frozenset(name for name in hosts if int(name.partition("worker")[2] or -1) in numbers)

    few = frozenset((1, 2, 3, 4))
    hosts = fleet(24, few)
    yield FleetExample(
        name="goes with the symptom",
        why="four of four",
        hosts=hosts,
        symptoms={"tcp-retrans-high": named(hosts, few)},
        fires=1,
        severity="warning",
    )
    others = frozenset((9, 10, 11, 12))
    yield FleetExample(
        name="the symptom is elsewhere",
        why="told, as information",
        hosts=hosts,
        symptoms={"tcp-retrans-high": named(hosts, others)},
        fires=1,
        severity="info",
    )
    yield FleetExample(
        name="no symptom", why="two hosts of two regions", hosts=fleet(12, frozenset((1, 2))), fires=1, severity="info"
    )
    yield FleetExample(name="half way", why="a roll-out", hosts=fleet(12, frozenset(range(6))))
    yield FleetExample(name="all alike", why="nobody is odd", hosts=fleet(12, frozenset()))
    yield FleetExample(name="too few", why="three siblings", hosts=fleet(3, frozenset((1,))))
    region = frozenset(number for number in range(12) if number % 3 == 1)
    yield FleetExample(name="a region's own", why="ams has its value", hosts=fleet(12, region))
    roles = fleet(6, frozenset()) | fleet(6, frozenset(range(6)), role="edge")
    yield FleetExample(name="a role's own", why="edges have theirs", hosts=roles)
    apart = {}
    for number, (name, tables) in enumerate(fleet(8, frozenset()).items()):
        values = tables.sysctls.values | {"net.ipv4.route.gc_thresh": str(number)}
        apart[name] = replace(tables, sysctls=type(tables.sysctls)(values=values))
    yield FleetExample(name="each its own", why="no two hosts share it", hosts=apart)
