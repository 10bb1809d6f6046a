"""What it checks
  A service address (/32 or /128 on lo or a dummy) that two or more hosts with BGP have, or a prefix that the intents of
  two or more say they announce, is in no export of any host, also not inside a wider prefix.

Why it matters
  Every edge by itself may be in order: drained, or waiting for a health check. Together they have taken the service off
  the net, and no host can see that it was the last.

Confirm
  birdc show route export SESSION           (on each of these hosts)
  ip -br address show dev lo

Fix
  Undrain one edge: birdc enable SESSION, or bring back the route that the prefix comes from. Traffic comes to it at
  once: choose one that can bear it.

Not flagged
  Addresses that no host has any more: the service is retired. Prefixes of hosts that are all told to be drained (labels
  of the intent). Private addresses that nobody announced before and no intent names: not every loopback is for BGP.
  Addresses of one host alone. Where an export was not told whole the rule says so instead.

References
  RFC 4786 (anycast); RFC 8326 (graceful shutdown)
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.intent import IntendedAnnouncement
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.fleetbgp import HostSession, announced, covered, host_sessions
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="bgp-prefix-announced-nowhere",
    title="a served prefix is announced by no host",
    severity="critical",
    confidence="likely",
    reads=("bird", "bird_routes", "links", "addresses"),
    explains=("bgp-anycast-missing-announce", "bgp-export-zero", "bgp-announced-service-down"),
    scope="fleet",
)
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "169.254.0.0/16")
)


def _services(host: FleetHost) -> Iterator[str]:
    """Single addresses of global scope on loopback and dummy interfaces."""
    plain = {link.ifindex for link in host.tables.links if link.loopback or link.kind == "dummy"}
    for row in host.tables.addresses:
        if row.ifindex in plain and row.scope == 0 and row.prefixlen == (128 if ":" in row.local else 32):
            yield f"{row.local}/{row.prefixlen}"


def _public(prefix: str) -> bool:
    network = ipaddress.ip_network(prefix, strict=False)
    return not any(network.version == wide.version and network.subnet_of(wide) for wide in PRIVATE)  # type: ignore[arg-type]


def check(view: FleetView) -> Iterator[Draft | Unjudged]:
    sessions: dict[str, list[HostSession]] = defaultdict(list)
    for row in host_sessions(view):
        sessions[row.host.name].append(row)
    hosts = [host for host in view.reading(*RULE.reads) if sessions[host.name]]
    holders: dict[str, list[FleetHost]] = defaultdict(list)
    meant: set[str] = set()
    for host in hosts:
        told = {row.prefix for row in host.tables.intent.announce or ()}
        meant |= told
        for prefix in told | set(_services(host)):
            holders[prefix].append(host)
    own = frozenset(row.local for host in view.hosts for row in host.tables.addresses)
    sent = {host.name: announced(host.tables, own) for host in hosts}
    out = set[str]().union(*(nets for nets in sent.values() if nets is not None))
    before = set[str]().union(*((announced(host.previous.tables) or set()) for host in hosts if host.previous))
    silent: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for prefix, having in sorted(holders.items()):
        known = prefix in meant or covered(prefix, before)
        if len(having) < 2 or all(host.snapshot.meta.drained for host in having):
            continue
        if (not known and not _public(prefix)) or covered(prefix, out):
            continue
        unread = sorted(name for name, nets in sent.items() if nets is None)
        if unread:
            yield Unjudged(reason=f"{prefix}: what {', '.join(unread[:5])} announces was not told whole")
            continue
        silent[tuple(sorted(host.name for host in having))].append(prefix)
    for names, prefixes in sorted(silent.items()):
        yield _finding(names, prefixes, [row for name in names for row in sessions[name]])


def _finding(names: tuple[str, ...], prefixes: list[str], sessions: list[HostSession]) -> Draft:
    off = sorted({row.host.name for row in sessions if row.session.switched_off})
    down = sorted({row.host.name for row in sessions if not row.session.up} - set(off))
    why = "BGP is switched off" if off else "BGP is down" if down else "BGP is up"
    more = f" and {len(prefixes) - 1} more" if len(prefixes) > 1 else ""
    first = sessions[0].session
    return RULE.found(
        subject=across(names, subject("prefix", prefix=prefixes[0])),
        message=f"{prefixes[0]}{more} is announced by no host: {', '.join(names[:4])}"
        f"{f' and {len(names) - 4} more' if len(names) > 4 else ''} {'have' if len(names) > 1 else 'has'} it, and "
        f"{why} on {len(off or down) or len(names)} of them",
        evidence=[
            ("prefixes", ", ".join(prefixes[:5]), "RTM_GETADDR, or [[announce]] of the intent"),
            ("sessions established on these hosts", sum(row.session.up for row in sessions), "show protocols all"),
            ("sessions switched off on these hosts", ", ".join(off[:5]) or "none", "show protocols all"),
        ],
        confirm=[first.command("show protocols"), f"birdc show route for {prefixes[0].partition('/')[0]} all"],
        fix=first.command(f"enable {first.name}")
        + f"  # on {names[0]}, or on another of them; one edge that can bear it is enough",
        touches=[row.subject for row in sessions],
        breaks=[on(name, subject("prefix", prefix=prefix)) for name in names for prefix in prefixes],
    )


def examples() -> Iterator[FleetExample]:
    def edge(
        *addresses: str,
        sends: tuple[str, ...] = (),
        state: str = "up",
        whole: bool = True,
        listed: bool = True,
        proto: str = "BGP",
        on_: str = "lo",
        kind: str | None = None,
    ) -> Any:
        up = state == "up"
        host = BirdHost().daemon().protocol("up1", proto, state=state, bgp_state="Established" if up else "Down")
        if up and listed:
            routes = tuple(BirdRoute(net=net) for net in sends) if whole else None
            host.exports("up1", routes=routes, count=len(sends))
        if on_ != "lo":
            host.link(on_, kind=kind)
        for address in addresses:
            host.address(on_, address if "/" in address else f"{address}/{128 if ':' in address else 32}")
        return host.build()

    def case(name: str, why: str, *edges: Any, **more: Any) -> FleetExample:
        hosts = {f"fra-edge{number}": one for number, one in enumerate(edges, 1)}
        return FleetExample(name=name, why=why, hosts=hosts, **more)

    service, net = "203.0.113.7", "203.0.113.7/32"
    off = edge(service, state="down")
    yield case("all drained", "each was right, all together are not", off, off, fires=1)
    yield case("up and silent", "the route behind it is gone everywhere", edge(service), edge(service), fires=1)
    yield case("one announces it", "one is enough", off, edge(service, sends=(net,)))
    yield case("inside an aggregate", "the wider prefix attracts it", edge(service), edge(sends=("203.0.113.0/24",)))
    yield case(
        "only the default", "a default route is no announcement", off, edge(service, sends=("0.0.0.0/0",)), fires=1
    )
    yield case("retired", "nobody has it", edge(state="down"), edge(state="down"))
    yield case("of one host alone", "its own loopback", edge(service), edge())
    yield case("private", "nobody said that it is for BGP", edge("10.9.9.9"), edge("10.9.9.9"))
    ours = BirdHost().daemon().bgp("to_2", neighbor_address="192.0.2.2").exports("to_2", routes=(BirdRoute(net=net),))
    ours.bgp_down("up1", state="down").link("eth0").address("eth0", "192.0.2.1/24").address("lo", net)
    other = BirdHost().daemon().bgp_down("up1", state="down").link("eth0").address("eth0", "192.0.2.2/24")
    inside = other.address("lo", net).build()
    yield case("to each other only", "nobody outside hears it", ours.build(), inside, fires=1)
    two = edge(service, "203.0.113.8", state="down")
    yield case("two services", "one cause", two, two, fires=1)
    meant = BirdHost().daemon().protocol("up1", "BGP", state="down", bgp_state="Down")
    wide = meant.intend(announce=(IntendedAnnouncement(prefix="10.9.0.0/16"),)).build()
    yield case("meant", "the intent of both names it", wide, wide, fires=1)
    yield case("of one host, by intent", "that host's own rules speak", wide, edge())
    yield case("not told whole", "it may be among the rest", off, edge(service, whole=False), unjudged=True)
    told = {f"fra-edge{number}": {"drained": "true"} for number in (1, 2)}
    yield case("told that all are drained", "so it is meant", off, off, labels=told)
    yield FleetExample(
        name="private, announced last night",
        why="it was for BGP",
        hosts={"fra-edge1": edge("10.9.9.9", state="down"), "fra-edge2": edge("10.9.9.9", state="down")},
        earlier={"fra-edge1": edge("10.9.9.9", sends=("10.9.9.9/32",))},
        fires=1,
    )
    for name, why, address, fields, fires in (
        ("on dummy interfaces", "as good as lo", service, {"on_": "dummy0", "kind": "dummy"}, 1),
        ("on cards", "an address of a point to point link", service, {"on_": "eth0"}, 0),
        ("a network on lo", "no single address", "203.0.113.7/29", {}, 0),
        ("IPv6", "the same", "2001:db8::7", {}, 1),
        ("hosts without BGP", "who announces it is not known", service, {"proto": "OSPF"}, 0),
    ):
        one = edge(address, state="down", **fields)  # type: ignore[arg-type]
        yield case(name, why, one, one, fires=fires)
    yield case("one not told whole, another announces it", "one is enough", edge(service, whole=False),
               edge(service, sends=(net,)))  # fmt: skip
    yield case("a list that did not come", "it may be in it", off, edge(service, listed=False), unjudged=True)
    yield case("others are announced", "not this one", off, edge(service, sends=("198.51.100.0/24",)), fires=1)
    yield FleetExample(
        name="private, and last night's list was not whole",
        why="nobody knows whether it was for BGP",
        hosts={"fra-edge1": edge("10.9.9.9", state="down"), "fra-edge2": edge("10.9.9.9", state="down")},
        earlier={"fra-edge1": edge("10.9.9.9", whole=False)},
    )
