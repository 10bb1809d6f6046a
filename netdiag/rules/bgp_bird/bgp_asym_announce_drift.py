"""What it checks
  A prefix that all other hosts of a role in a region or, where there are too few, of the role (at least two others)
  send to their BGP sessions is sent to none by one of them.

Why it matters
  The edge that forgot the prefix gets no traffic for it: users near it are served from far away, the others carry its
  share. Seen from the edge itself nothing is wrong.

Confirm
  birdc show route export SESSION           (on this host and on a sibling)

Fix
  Bring back what makes the prefix on that host: the static route, the address on lo, the health check that withdrew it,
  or the filter. Traffic moves to it as soon as it is announced.

Not flagged
  Drained hosts: sessions switched off, or told by intent (with GRACEFUL_SHUTDOWN the prefix is still sent). Hosts
  without an established session. Prefixes that fewer than all siblings send: they are not the role's. Lists
  that BIRD was not asked for whole.

References
  bird.conf(5) export; RFC 8326 (GRACEFUL_SHUTDOWN)
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.fleetbgp import announced
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="bgp-asym-announce-drift",
    title="one host of a role does not announce what its siblings do",
    severity="warning",
    confidence="likely",
    reads=("bird", "bird_routes"),
    explains=("bgp-export-zero",),
    scope="fleet",
)
SIBLINGS = 2


def _announced(host: FleetHost) -> set[str] | None:
    """Prefixes that its established sessions are sent; None where there is no session or no whole list."""
    up = any(p.bgp_state == "Established" for d in host.tables.bird.daemons for p in d.protocols)
    return announced(host.tables) if up else None


def check(view: FleetView) -> Iterator[Draft]:
    groups: dict[tuple[str, ...], list[tuple[FleetHost, set[str]]]] = defaultdict(list)
    for host in view.reading("bird", "bird_routes"):
        sent = None if host.drained else _announced(host)
        if sent is not None:
            groups[host.labels.get("role", ""), host.labels.get("region", "")].append((host, sent))
    wide: dict[str, list[tuple[FleetHost, set[str]]]] = defaultdict(list)
    for (role, _), rows in groups.items():
        wide[role] += rows
    for key, rows in sorted(groups.items()):
        siblings = rows if len(rows) > SIBLINGS else wide[key[0]]
        for host, sent in rows:
            others = [theirs for other, theirs in siblings if other is not host]
            if len(others) < SIBLINGS:
                continue
            missing = sorted(set.intersection(*others) - sent)
            if missing:
                names = [other.name for other, _ in siblings if other is not host]
                yield _finding(host, missing, names)


def _finding(host: FleetHost, missing: list[str], names: list[str]) -> Draft:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return RULE.found(
        subject=across((host.name,), subject("prefix", prefix=missing[0])),
        message=f"{host.name} announces {missing[0]}{more} to nobody, while all of its {len(names)} siblings do",
        evidence=[
            ("prefixes that it lacks", ", ".join(missing[:5]), "show route export of its established sessions"),
            ("siblings that announce them", ", ".join(sorted(names)[:5]), "the same on them"),
        ],
        confirm=[f"birdc 'show route for {missing[0]} all'"],
        fix=f"bring the route for {missing[0]} back into BIRD on {host.name}, or drain it",
        breaks=[on(host.name, subject("prefix", prefix=prefix)) for prefix in missing],
    )


def examples() -> Iterator[FleetExample]:
    numbers = itertools.count(1)

    def edge(*nets: str, state: str = "up", whole: bool = True) -> Any:
        host = (
            BirdHost()
            .daemon(router_id=f"10.0.0.{next(numbers)}")
            .protocol(
                "up1", "BGP", state=state, bgp_state="Established" if state == "up" else "Down", neighbor_as=65002
            )
        )
        routes = tuple(BirdRoute(net=net) for net in nets) if whole else None
        return host.exports("up1", routes=routes, count=len(nets)).build()

    def case(name: str, why: str, fires: int = 0, **edges: Any) -> FleetExample:
        return FleetExample(name=name, why=why, hosts={f"fra-edge{k[1:]}": v for k, v in edges.items()}, fires=fires)

    two = ("203.0.113.0/24", "198.51.100.0/24")
    yield case("one forgot", "two of three announce both", 1, e1=edge(*two), e2=edge(*two), e3=edge(two[0]))
    yield case("all alike", "as it must be", e1=edge(*two), e2=edge(*two), e3=edge(*two))
    yield case("two only", "who of them is right?", e1=edge(*two), e2=edge(two[0]))
    yield case("drained", "its session is switched off", e1=edge(*two), e2=edge(*two), e3=edge(state="down"))
    yield case("not told whole", "too many to be read", e1=edge(*two), e2=edge(*two), e3=edge(whole=False))
    yield case("of its own", "one more than the others", e1=edge(two[0]), e2=edge(two[0]), e3=edge(*two))
    far = {f"ams-edge{number}": edge(*two) for number in (1, 2)}
    near = {"fra-edge1": edge(*two), "fra-edge2": edge(two[0])}
    yield FleetExample(name="two in each region", why="then the role's of all regions count", hosts=far | near, fires=1)
