"""What it checks
  A prefix that all other hosts of a role in a region or, where there are too few, of the role (at least two others)
  send to their BGP sessions is sent to none by one of them. And, as info, a prefix that all of a role in a region
  send to one neighbouring AS, but not with the same AS path, communities and MED; or that one sends elsewhere only.

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
  that BIRD was not asked for whole. A prepend or community on one host can be meant, and nothing on the hosts tells: it
  is info.

References
  bird.conf(5) export; RFC 8326 (GRACEFUL_SHUTDOWN)
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.bird import BirdRoute, SentRoute
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


class Attributes(NamedTuple):
    """How a prefix is sent."""

    as_path: tuple[str, ...]
    communities: tuple[str, ...]
    med: int | None

    @property
    def words(self) -> str:
        """``with AS path 65001 65001 and community 65010:80``."""
        said = [f"AS path {' '.join(self.as_path)}"] if self.as_path else []
        said += [f"communities {' '.join(self.communities)}"] if self.communities else []
        said += [f"MED {self.med}"] if self.med is not None else []
        return f"with {', '.join(said)}" if said else "plain"


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
    for _, rows in sorted(groups.items()):
        yield from _differences(rows)


def _differences(rows: list[tuple[FleetHost, set[str]]]) -> Iterator[Draft]:
    """Prefixes that siblings send to one AS with different attributes."""
    values: dict[tuple[int, str], dict[str, frozenset[Attributes]]] = defaultdict(dict)
    for host, _ in rows:
        for place, told in _attributes(host).items():
            values[place][host.name] = frozenset(told)
    for (number, net), by_host in sorted(values.items()):
        counts = Counter(by_host.values()).most_common()
        if len(counts) < 2:
            continue
        usual = counts[0][0] if counts[0][1] > counts[1][1] else None
        odd = sorted(name for name, told in by_host.items() if told != usual)
        yield _different(net, number, odd, by_host, usual)


def _attributes(host: FleetHost) -> dict[tuple[int, str], set[Attributes]]:
    """By neighbouring AS and prefix how the host sends it there; an empty set: not at all."""
    up = {
        p.name: p.neighbor_as
        for daemon in host.tables.bird.daemons
        for p in daemon.protocols
        if p.bgp_state == "Established" and p.neighbor_as not in (None, p.local_as)
    }
    lists = [row for daemon in host.tables.bird_routes for row in daemon.exports if row.sent is not None]
    every = {route.net for row in lists for route in row.sent or ()}
    found: dict[tuple[int, str], set[Attributes]] = {}
    for row in lists:
        number = up.get(row.protocol)
        if number is None:
            continue
        for net in every:  # what is sent elsewhere only is sent there not at all
            found.setdefault((number, net), set())
        for route in row.sent or ():
            found[number, route.net].add(Attributes(route.as_path, route.communities, route.med))
    return found


def _different(
    net: str,
    number: int,
    odd: list[str],
    by_host: dict[str, frozenset[Attributes]],
    usual: frozenset[Attributes] | None,
) -> Draft:
    others = f"its siblings {_words(usual)}" if usual is not None else "nobody of them as the others"
    named = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
    return RULE.found(
        subject=across(odd, subject("prefix", prefix=net)),
        severity="info",
        confidence="certain",
        message=f"{named} {'sends' if len(odd) == 1 else 'send'} {net} to AS{number} "
        + (f"{_words(by_host[odd[0]])}, " if usual is not None else "each in its own way, ")
        + others,
        evidence=[(f"sent by {name}", _words(told), "show route export ... all") for name, told in by_host.items()][:5],
        confirm=[f"birdc 'show route for {net} all'"],
        fix="if it is not meant: make the export filters of these hosts alike",
    )


def _words(values: frozenset[Attributes]) -> str:
    return " and ".join(sorted(one.words for one in values)) or "not at all"


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
    yield from _attribute_examples()
    far = {f"ams-edge{number}": edge(*two) for number in (1, 2)}
    near = {"fra-edge1": edge(*two), "fra-edge2": edge(two[0])}
    yield FleetExample(name="two in each region", why="then the role's of all regions count", hosts=far | near, fires=1)


def _attribute_examples() -> Iterator[FleetExample]:
    net = "203.0.113.0/24"

    def edge(neighbor_as: int = 65002, *, told: bool = True, up: bool = True, **attributes: Any) -> Any:
        host = BirdHost().bgp("up1", neighbor_as=neighbor_as, **({} if up else {"bgp_state": "Active"}))
        sent = (SentRoute(net=net, **attributes),) if told else None
        return host.exports("up1", routes=(BirdRoute(net=net),), count=1, sent=sent).build()

    def case(name: str, why: str, *edges: Any, fires: int = 0, **more: Any) -> FleetExample:
        hosts = {f"fra-edge{number}": one for number, one in enumerate(edges, 1)}
        told: dict[str, Any] = {"severity": "info"} if fires else {}
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires, **told, **more)

    longer: dict[str, Any]
    tagged: dict[str, Any]
    longer, tagged = {"as_path": ("65001", "65001")}, {"communities": ("65535:65281",)}
    first = across(("fra-edge1",), subject("prefix", prefix=net))
    for name, odd in (("prepended", longer), ("a community", tagged), ("a MED", {"med": 50})):
        yield case(name, "the others send it plain", edge(**odd), edge(), edge(), fires=1, subject=first)
    yield case("plain", "the others prepend", edge(), edge(**longer), edge(**longer), fires=1, subject=first)
    both = across(("fra-edge1", "fra-edge2"), subject("prefix", prefix=net))
    yield case("of two one", "either may be meant", edge(**longer), edge(), fires=1, subject=both)
    yield case("all prepend", "their region is not liked", edge(**longer), edge(**longer), edge(**longer))
    yield case("to another AS", "it is another agreement", edge(65003, **longer), edge(), edge())
    yield case("to a sister", "within the AS", edge(65001, **longer), edge(65001), edge(65001))
    yield case("not told", "an old BIRD", edge(told=False, **longer), edge(), edge())
    yield case("down", "what it would send", edge(up=False, **longer), edge(), edge())
    silent = BirdHost().bgp("up1", neighbor_as=65002).exports("up1", routes=(), count=0, sent=())
    silent.bgp("ibgp", neighbor_as=65001).exports("ibgp", routes=(BirdRoute(net=net),), sent=(SentRoute(net=net),))
    yield case("to its sister only", "the filter to the world lost it", silent.build(), edge(), fires=1, subject=both)
    plain = (SentRoute(net=net),)
    for name, up, sent in (("down", {"bgp_state": "Active"}, (SentRoute(net=net, med=50),)), ("not told", {}, None)):
        host = BirdHost().bgp("up1", neighbor_as=65002, **up).exports("up1", routes=(BirdRoute(net=net),), sent=sent)
        host.bgp("ibgp", neighbor_as=65001).exports("ibgp", routes=(BirdRoute(net=net),), sent=plain)
        yield case(f"{name}, beside a sister", "its own session stands", host.build(), edge(), edge())
    here, there = edge(**longer), edge()
    apart = {"fra-edge1": here, "fra-edge2": here, "ams-edge1": there, "ams-edge2": there}
    yield FleetExample(name="another region", why="each may be liked otherwise", hosts=apart)
