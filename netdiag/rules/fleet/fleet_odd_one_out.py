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

from collections.abc import Iterable, Iterator

from netdiag.index.fleet import FleetView, across
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.snapshot import Tables
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


def _fleet(
    count: int,
    odd: Iterable[int] | dict[int, int],
    *,
    role: str = "worker",
    regions: tuple[str, ...] = ("fra", "ams", "sin"),
    **more: dict[int, int],
) -> dict[str, Tables]:
    """Hosts that have 1 for TCP SACK but those that are odd; ``more`` gives further settings of net.ipv4 likewise."""
    found = {}
    values = odd if isinstance(odd, dict) else dict.fromkeys(odd, 0)
    for number in range(count):
        host = HostBuilder().link("eth0").address("eth0", f"192.0.2.{number + 1}/24")
        host.route("default", via="192.0.2.254", dev="eth0").sysctl("net.ipv4.tcp_sack", values.get(number, 1))
        for key, set_ in more.items():
            if set_.get(number, 1) >= 0:
                host.sysctl(f"net.ipv4.{key}", set_.get(number, 1))
        found[f"{regions[number % len(regions)]}-{role}{number}"] = host.build()
    return found


def _named(hosts: Iterable[str], numbers: Iterable[int], role: str = "worker") -> frozenset[str]:
    wanted = set(numbers)
    return frozenset(name for name in hosts if int(name.partition(role)[2] or -1) in wanted)


def examples() -> Iterator[FleetExample]:
    few, four = frozenset((1, 2, 3, 4)), frozenset((9, 10, 11, 12))
    hosts = _fleet(24, few)
    told: tuple[tuple[str, str, dict[str, Tables], Iterable[int], Severity], ...] = (
        ("goes with the symptom", "four of four", hosts, few, "warning"),
        ("the symptom is elsewhere", "told, as information", hosts, four, "info"),
        ("half of the sick", "the other half has its own reason", hosts, (1, 2, 3, 4, 5, 6, 7, 8), "warning"),
        ("less than half of the sick", "it is not what they share", hosts, range(1, 10), "info"),
        ("half of those with it", "the others may have no traffic", _fleet(24, range(8)), range(4), "warning"),
        ("most have it", "a roll-out that is nearly through", _fleet(24, range(16)), range(16), "warning"),
    )
    for name, why, of, sick, severity in told:
        symptoms = {"tcp-retrans-high": _named(of, sick)}
        yield FleetExample(name=name, why=why, hosts=of, symptoms=symptoms, fires=1, severity=severity)
    nine = _fleet(24, range(9))
    less = {"tcp-retrans-high": _named(nine, range(4))}
    yield FleetExample(name="less than half of those with it", why="nobody is odd then", hosts=nine, symptoms=less)
    yield from _without_symptom()
    yield from _beyond_chance()
    yield from _two_attributes()
    yield from _meant()


def _without_symptom() -> Iterator[FleetExample]:
    told: tuple[tuple[str, str, dict[str, Tables], int], ...] = (
        ("no symptom", "two hosts of two regions", _fleet(12, (1, 2)), 1),
        ("a quarter", "that is few enough", _fleet(12, (0, 1, 2)), 1),
        ("one of four", "the fewest siblings that there can be", _fleet(4, (1,)), 1),
        ("three values", "each of the two rare ones", _fleet(8, {1: 0, 2: 2}), 2),
        ("four values of twelve hosts", "too many to be a setting", _fleet(12, {1: 0, 2: 2, 3: 3}), 0),
        ("four values of sixteen hosts", "each of the three rare ones", _fleet(16, {1: 0, 2: 2, 3: 3}), 3),
        ("half way", "a roll-out", _fleet(12, range(6)), 0),
        ("all alike", "nobody is odd", _fleet(12, ()), 0),
        ("too few", "three siblings", _fleet(3, (1,)), 0),
    )
    for name, why, hosts, fires in told:
        yield FleetExample(name=name, why=why, hosts=hosts, fires=fires, severity="info" if fires else None)


def _beyond_chance() -> Iterator[FleetExample]:
    """Two sick hosts of twelve have it: 1 of 66 by chance, twice looked at; four times is too often."""
    hosts = _fleet(12, (1, 2)) | _fleet(6, (), role="edge")
    both = {"tcp-retrans-high": _named(hosts, (1, 2))}
    other = both | {"icmp-rate-limited": _named(hosts, (1, 2), role="edge")}
    yield FleetExample(
        name="another role is sick as well",
        why="whatever is with edges is no look at workers",
        hosts=hosts,
        symptoms=other,
        fires=1,
        severity="warning",
    )
    second = both | {"icmp-rate-limited": _named(hosts, (5, 6))}
    yield FleetExample(
        name="a second symptom",
        why="who looks more often finds more by chance",
        hosts=hosts,
        symptoms=second,
        fires=1,
        severity="info",
    )


def _two_attributes() -> Iterator[FleetExample]:
    for name, sick, about in (
        ("the rarer fits better", range(1, 5), "sack"),
        ("the wider fits better", range(1, 7), "ecn"),
    ):
        hosts = _fleet(24, range(1, 5), tcp_ecn=dict.fromkeys(range(1, 7), 2))
        yield FleetExample(
            name=name,
            why="one cause for one symptom, the other attribute is told as information",
            hosts=hosts,
            symptoms={"tcp-retrans-high": _named(hosts, sick)},
            fires=2,
            subject=subject("host", attribute=f"sysctl net.ipv4.tcp_{about}"),
            severity="warning",
        )
    some = _fleet(24, range(1, 5), tcp_ecn=dict.fromkeys(range(1, 5), 2) | {20: -1})
    yield FleetExample(
        name="the same hosts by a setting that one sibling lacks",
        why="they have been spoken of",
        hosts=some,
        symptoms={"tcp-retrans-high": _named(some, range(1, 5))},
        fires=1,
        severity="warning",
    )


def _meant() -> Iterator[FleetExample]:
    five = ("fra", "ams", "sin", "zrh", "lon")
    yield FleetExample(name="a region's own", why="ams has its value", hosts=_fleet(10, (1, 6), regions=five))
    one = _fleet(7, (6,), regions=("fra", "ams", "fra", "ams", "fra", "ams", "sin"))
    yield FleetExample(
        name="the only host of its region", why="nothing says that it is the region's", hosts=one, fires=1
    )
    roles = _fleet(6, ()) | _fleet(6, range(6), role="edge")
    yield FleetExample(name="a role's own", why="edges have theirs", hosts=roles)
    own = _fleet(8, (), tcp_fack={number: number for number in range(8)})
    yield FleetExample(name="each its own", why="no two hosts share it", hosts=own)
