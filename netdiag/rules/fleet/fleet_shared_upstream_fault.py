"""What it checks
  BGP sessions of two or more hosts that share an upstream are down, all that go to it, while what does not go to it is
  up: one neighbour address, else one neighbour AS in a region, else one neighbour AS, else everything of a region. Or
  the interfaces to such a neighbour lost their carrier twice or more, on two or more hosts, since the snapshot before.

Why it matters
  Each host reports its own dead session and none is at fault. Restarting BIRD host after host costs time; the router,
  the circuit or the provider that they share is the thing to look at.

Confirm
  birdc show protocols                      (on these hosts: the same neighbour is down)
  mtr -rwc 5 NEIGHBOUR                      (from two of them)

Fix
  Mend or call the upstream; drain what announces by it alone until it is back. Nothing is to be done on each host.

Not flagged
  A single host. Sessions that are switched off, passive, or start just now: a roll-out of BIRD goes one host after the
  other. Sessions refused for their configuration (AS, password, limits, router id). Sessions to another host of the
  fleet, or through WireGuard: the mesh rules speak. One bounce of a carrier: a restart.

References
  RFC 4271 section 8; netdiag/rules/fleetbgp.py
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from netdiag.index.fleet import FleetHost, FleetView, across
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import Wireguard, WireguardDevice, WireguardPeer
from netdiag.rules.bgpsessions import limit_closed
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.fleetbgp import HostSession, contains, host_sessions
from netdiag.rules.shape import FleetExample, Rule, quoted

RULE = Rule(
    id="fleet-shared-upstream-fault",
    title="an upstream that several hosts share is gone",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses"),
    explains=(
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
        "bgp-import-zero",
        "bgp-prefix-announced-nowhere",
        "carrier-flap",
        "fleet-region-cut",
        "fleet-host-cut",
        "neigh-gateway-failed",
    ),
    scope="fleet",
)
OWN_FAULTS = ("Bad ", "Unsupported", "Peer de-configured", "OPEN message error")
BOUNCES = 2


@dataclass(frozen=True)
class Upstream:
    """Something that sessions of several hosts go to; the smaller ones come first."""

    size: int
    word: str
    sessions: tuple[HostSession, ...]

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts."""
        return sorted({row.host.name for row in self.sessions})


def _judged(view: FleetView) -> Iterator[HostSession]:
    """External sessions that should be up and are not somebody else's matter."""
    owned = {row.local for host in view.hosts for row in host.tables.addresses}
    for row in host_sessions(view):
        session, protocol = row.session, row.session.protocol
        near = protocol.neighbor_address
        if near is None or near in owned or session.switched_off or session.waits:
            continue
        peers = [peer for device in row.host.tables.wireguard.devices for peer in device.peers]
        if not any(contains(net, near) for peer in peers for net in peer.allowed_ips if not net.endswith("/0")):
            yield row


def _down(row: HostSession) -> bool:
    session = row.session
    if session.up or limit_closed(session) or session.starting():
        return False
    return not any(word in session.error for word in OWN_FAULTS)


def _upstreams(rows: list[HostSession]) -> Iterator[Upstream]:
    """Everything that sessions can share."""
    groups: dict[tuple[int, str], list[HostSession]] = defaultdict(list)
    for row in rows:
        region, protocol = row.host.labels.get("region", ""), row.session.protocol
        as_word = f"AS{protocol.neighbor_as}" if protocol.neighbor_as is not None else "an unknown AS"
        groups[0, f"{protocol.neighbor_address} {as_word}" + (f" in {region}" if region else "")].append(row)
        if protocol.neighbor_as is not None:
            groups[2, as_word].append(row)
        if region:
            groups[1, f"{as_word} in {region}"].append(row)
            groups[3, f"region {region}"].append(row)
    for (size, word), sharing in sorted(groups.items()):
        if len({row.host.name for row in sharing}) >= 2:
            yield Upstream(size, word, tuple(sharing))


def check(view: FleetView) -> Iterator[Draft]:
    rows = list(_judged(view))
    left = {id(row) for row in rows if _down(row)}
    dead = [one for one in _upstreams(rows) if all(id(row) in left for row in one.sessions)]
    while left:
        best = max(dead, key=lambda one: (sum(id(row) in left for row in one.sessions), -one.size), default=None)
        if best is None or sum(id(row) in left for row in best.sessions) < 2:
            break
        yield _gone(best, rows)
        left -= {id(row) for row in best.sessions}
    yield from _bouncing([row for row in rows if row.session.up])


def _gone(upstream: Upstream, rows: list[HostSession]) -> Draft:
    first = upstream.sessions[0]
    calm = [row for row in rows if row.session.up]
    errors = sorted({row.session.error for row in upstream.sessions if row.session.error})
    return RULE.found(
        subject=across(upstream.hosts, subject("bgp-session", neighbour=upstream.word)),
        message=f"upstream {upstream.word} is gone: all {len(upstream.sessions)} sessions to it are down, on "
        f"{_named(upstream.hosts)}; {len(calm)} other session{'' if len(calm) == 1 else 's'} of the fleet "
        f"{'is' if len(calm) == 1 else 'are'} up",
        evidence=[
            ("sessions to it that are down", len(upstream.sessions), "show protocols all"),
            ("last errors", ", ".join(errors[:3]) or "none", "show protocols all, Last error"),
            ("other sessions that are up", len(calm), "show protocols all"),
        ],
        confirm=[first.session.confirm, f"mtr -rwc 5 {first.session.protocol.neighbor_address}"],
        fix=f"look at {upstream.word}: the router, its ports, the circuit; nothing is to be done on each host",
        breaks=_broken(upstream.sessions),
    )


def _broken(sessions: tuple[HostSession, ...]) -> list[Any]:
    regions = {row.host.labels.get("region", "") for row in sessions} - {""}
    names = sorted({row.host.name for row in sessions})
    found = [thing for row in sessions for thing in row.needs]
    return [*found, *(subject("region", name=x) for x in regions), *(subject("host", name=x) for x in names)]


def _bounces(host: FleetHost, ifname: str) -> int:
    """How often an interface lost its carrier since the snapshot before."""
    if host.previous is None or host.previous.meta.boot_id != host.snapshot.meta.boot_id:
        return 0
    before = {link.ifindex: link for link in host.previous.tables.links}
    for now in host.tables.links:
        was = before.get(now.ifindex)
        if now.ifname == ifname and was is not None:
            return (now.carrier_down_count or 0) - (was.carrier_down_count or 0)
    return 0


def _bouncing(rows: list[HostSession]) -> Iterator[Draft]:
    """Upstreams that are there again and whose cables bounced on all of their hosts."""
    counts = {id(row): _bounces(row.host, row.ifname) if row.ifname else 0 for row in rows}
    calm = {row.host.name for row in rows if not counts[id(row)]}
    told: set[str] = set()
    for upstream in _upstreams(rows):
        if any(counts[id(row)] < BOUNCES for row in upstream.sessions) or told & set(upstream.hosts):
            continue
        told |= set(upstream.hosts)
        first = upstream.sessions[0]
        yield RULE.found(
            subject=across(upstream.hosts, subject("bgp-session", neighbour=upstream.word)),
            severity="warning",
            message=f"the cables to upstream {upstream.word} bounce on {_named(upstream.hosts)}, and on "
            f"{len(calm - set(upstream.hosts))} other hosts with BGP none does",
            evidence=[
                (
                    f"{row.ifname} of {row.host.name} lost its carrier",
                    f"{counts[id(row)]} times",
                    "IFLA_CARRIER_DOWN_COUNT, against the snapshot before",
                )
                for row in upstream.sessions[:3]
            ],
            confirm=[f"ip -s -d link show dev {quoted(str(first.ifname))}", first.session.confirm],
            fix=f"look at {upstream.word}: the router and its ports; nothing is to be done on each host",
            breaks=_broken(upstream.sessions),
        )


def _named(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def examples() -> Iterator[FleetExample]:
    def edge(address: str, *up: str, down: tuple[str, ...] = (), error: str = "Hold timer expired", **more: Any) -> Any:
        host = BirdHost().daemon(router_id=address.partition("/")[0])
        for name in up:
            near, number = name.split("/")
            host.bgp(f"to_{number}", neighbor_address=near, neighbor_as=int(number))
        for name in down:
            near, number = name.split("/")
            host.bgp_down(f"to_{number}", error, neighbor_address=near, neighbor_as=int(number), **more)
        host.link("eth0", carrier_down_count=0).address("eth0", address)
        return host.build()

    def case(name: str, why: str, fires: int = 0, **hosts: Any) -> FleetExample:
        named = {key.replace("_", "-"): value for key, value in hosts.items()}
        return FleetExample(name=name, why=why, hosts=named, fires=fires)

    one, two = "192.0.2.1/24", "192.0.2.2/24"
    router, other = "192.0.2.254/65010", "192.0.2.253/65020"
    ams = edge("198.51.100.1/24", "198.51.100.254/65010")
    yield case(
        "one router",
        "both sessions to it are down, the others are up",
        1,
        fra_edge1=edge(one, other, down=(router,)),
        fra_edge2=edge(two, other, down=(router,)),
        ams_edge1=ams,
    )
    yield case(
        "one AS, two circuits",
        "each has its own neighbour address",
        1,
        fra_edge1=edge(one, other, down=("192.0.2.254/65010",)),
        fra_edge2=edge(two, other, down=("192.0.2.252/65010",)),
        ams_edge1=ams,
    )
    both = {f"fra_edge{n}": edge(a, down=(router, other)) for n, a in ((1, one), (2, two))}
    yield case("the whole region", "one finding, not one for each AS", 1, **both, ams_edge1=ams)
    yield case("a single host", "it may be its own", fra_edge1=edge(one, down=(router,)), fra_edge2=edge(two, router))
    off = {f"fra_edge{n}": edge(a, other, down=(router,), error="", state="down") for n, a in ((1, one), (2, two))}
    yield case("switched off", "somebody drained them", **off)
    bad = {
        f"fra_edge{n}": edge(a, other, down=(router,), error="BGP Error: Bad peer AS") for n, a in ((1, one), (2, two))
    }
    yield case("configured wrong", "a roll-out of a typo", **bad)
    begins = {f"fra_edge{n}": edge(a, down=(router,), error="", since="11:59:58.000") for n, a in ((1, one), (2, two))}
    yield case("starting", "BIRD was restarted two seconds ago", **begins)
    member = edge("192.0.2.254/24", "192.0.2.9/65030")
    pair = {f"fra_edge{n}": edge(a, other, down=(router,)) for n, a in ((1, one), (2, two))}
    yield case("a host of the fleet", "its own rules speak", **pair, fra_rr1=member)
    calm = {f"fra-edge{n}": edge(a, router) for n, a in ((1, one), (2, two))}
    yield FleetExample(name="in order", why="all is up", hosts=calm)
    up, third = edge("192.0.2.3/24", router), {f"fra_edge{n}": edge(a, down=(router,)) for n, a in ((1, one), (2, two))}
    yield case("one of three reaches it", "it is not gone", **third, fra_edge3=up)
    yield case(
        "one AS, two regions",
        "a host each: they share nothing smaller",
        1,
        fra_edge1=edge(one, other, down=("192.0.2.254/65010",)),
        ams_edge1=edge("198.51.100.1/24", "198.51.100.253/65020", down=("198.51.100.254/65010",)),
    )
    twice = edge(one, down=("192.0.2.254/65010", "192.0.2.252/65010"))
    yield case("two sessions of one host", "it may be its own", fra_edge1=twice, fra_edge2=edge(two, other))
    last = edge("198.51.100.2/24", down=("198.51.100.253/65020",))
    begun = edge("198.51.100.1/24", down=("198.51.100.254/65010",))
    yield case("one more in a region", "it was spoken of, and what is left is one", 1, **third, ams_edge1=begun,
               ams_edge2=last)  # fmt: skip
    yield from _whose_matter()
    yield from _bounced(calm)


def _whose_matter() -> Iterator[FleetExample]:
    """Two hosts whose one session is down, which is or is not somebody else's matter."""
    peer = WireguardPeer(public_key="x", endpoint="203.0.113.9", endpoint_port=51820)
    cases: tuple[tuple[str, str, dict[str, Any], tuple[str, ...], int], ...] = (
        ("closed by a limit", "it was received", {"error": "BGP Error: Route limit exceeded"}, (), 0),
        ("closed by a limit of the neighbour's", "it was sent",
         {"error": "Received: Maximum number of prefixes reached"}, (), 0),
        ("shut down over there", "for all of its neighbours", {"error": "Received: Administrative shutdown"}, (), 1),
        ("refused for the AS", "by the neighbour", {"error": "Received: Bad peer AS"}, (), 0),
        ("passive", "the other side calls", {"bgp_state": "Passive"}, (), 0),
        ("a range of neighbours", "no neighbour is known", {"neighbor_address": None}, (), 0),
        ("through WireGuard", "the mesh rules speak", {}, ("10.64.0.0/16", "192.0.2.254/32"), 0),
        ("beside a VPN to the Internet", "a default takes everything and says nothing", {}, ("0.0.0.0/0",), 1),
        ("beside a mesh of IPv6", "it holds no IPv4 address", {}, ("::c000:0/100", "fd00::/8"), 1),
    )  # fmt: skip
    for name, why, fields, allowed, fires in cases:
        hosts = {}
        for number in (1, 2):
            more: dict[str, Any] = {"neighbor_address": "192.0.2.254", "neighbor_as": 65010} | fields
            host = (
                BirdHost()
                .daemon(last_reconfiguration=None, router_id=f"192.0.2.{number}")
                .bgp_down("up", more.pop("error", "Hold timer expired"), **more)
            )
            tables = host.link("eth0").address("eth0", f"192.0.2.{number}/24").build()
            device = WireguardDevice(ifname="wg0", peers=(msgspec.structs.replace(peer, allowed_ips=allowed),))
            hosts[f"fra-edge{number}"] = replace(tables, wireguard=Wireguard(devices=(device,)))
        yield FleetExample(name=name, why=why, hosts=hosts, fires=fires)


def _bounced(calm: dict[str, Tables]) -> Iterator[FleetExample]:
    def edges(count: int, *, down: str = "", ifindex: int = 2, **more: Any) -> dict[str, Tables]:
        found = {}
        for number in (1, 2):
            fields: dict[str, Any] = {"neighbor_address": "192.0.2.254", "neighbor_as": 65010} | more
            host = BirdHost().daemon(router_id=f"192.0.2.{number}")
            host.bgp_down("up", down, **fields) if down else host.bgp("up", **fields)
            host.link("eth0", carrier_down_count=count, ifindex=ifindex).address("eth0", f"192.0.2.{number}/24")
            found[f"fra-edge{number}"] = host.build()
        return found

    near: dict[str, Any] = {"neighbor_address": "fe80::1", "neighbor_ifname": "eth0"}
    gone: dict[str, Any] = {"neighbor_address": "fe80::1", "neighbor_ifname": "eth9"}
    cases: tuple[tuple[str, str, dict[str, Tables], dict[str, Tables], int], ...] = (
        ("bounced once", "a restart", edges(1), calm, 0),
        ("bounced twice", "no restart does that", edges(2), calm, 1),
        ("bounced twice, a link-local neighbour", "its interface is named", edges(2, **near), calm, 1),
        ("an interface that is not there", "BIRD was read before it went", edges(2, **gone), calm, 0),
        ("a new interface", "its counter is another one", edges(2, ifindex=9), calm, 0),
        ("bounced, and refused for its AS", "that is not the cable", edges(2, down="BGP Error: Bad peer AS"), calm, 0),
        ("seen for the first time", "nothing to compare with", edges(2), {}, 0),
    )
    for name, why, now, earlier, fires in cases:
        severity: Severity | None = "warning" if fires else None
        yield FleetExample(name=name, why=why, hosts=now, earlier=earlier, fires=fires, severity=severity)
