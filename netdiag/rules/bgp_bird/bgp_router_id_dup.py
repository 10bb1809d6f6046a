"""What it checks
  BIRD on two hosts has the same router id, and both speak BGP with the same neighbour AS or within one AS.

Why it matters
  Of two sessions with one router id a neighbour of another AS may keep only one; within an AS routes of the other are
  taken for one's own and dropped (ORIGINATOR_ID), and a session between the two never comes up. It comes from cloned
  images and from ids that are taken from an anycast address.

Confirm
  birdc show status                         (on both hosts)

Fix
  Set router id to an address of the host's own in bird.conf, then birdc configure. BIRD restarts its sessions when the
  id changes: do it on a drained host.

Not flagged
  Hosts whose sessions have no AS in common. Several daemons of one host. Daemons without a BGP session.

References
  RFC 4271 section 6.8, RFC 6286, RFC 4456 section 8
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.bird import BirdDaemon
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="bgp-router-id-dup",
    title="two BGP speakers have one router id",
    severity="warning",
    reads=("bird",),
    explains=("bgp-not-established", "bgp-import-zero"),
    scope="fleet",
    own_cause=True,
)


def check(view: FleetView) -> Iterator[Draft]:
    by_id: dict[str, list[tuple[FleetHost, BirdDaemon]]] = defaultdict(list)
    for host in view.reading("bird"):
        for daemon in host.tables.bird.daemons:
            if daemon.router_id:
                by_id[daemon.router_id].append((host, daemon))
    for identity, speakers in sorted(by_id.items()):
        names = sorted({host.name for host, _ in speakers})
        shared = _shared(speakers)
        if not shared:
            continue
        yield RULE.found(
            subject=across(names, subject("bird-protocol", router_id=identity)),
            message=f"{' and '.join(names[:3])} speak BGP with AS {shared[0]} by one router id, {identity}",
            evidence=[
                (f"router id on {host.name}", identity, f"{daemon.socket} show status") for host, daemon in speakers[:3]
            ],
            confirm=["birdc show status"],
            fix=f"router id ADDRESS; in bird.conf of {names[-1]}, then birdc configure",
            breaks=[
                on(host.name, subject("bgp-session", name=protocol.name))
                for host, daemon in speakers
                for protocol in daemon.protocols
                if protocol.proto == "BGP"
            ],
        )


def _shared(speakers: list[tuple[FleetHost, BirdDaemon]]) -> list[int]:
    """AS numbers that sessions of several of the hosts have as their neighbour's or within."""
    seen: dict[int, set[str]] = defaultdict(set)
    for host, daemon in speakers:
        for protocol in daemon.protocols:
            if protocol.neighbor_as:
                seen[protocol.neighbor_as].add(host.name)
    return sorted(number for number, names in seen.items() if len(names) > 1)


def examples() -> Iterator[FleetExample]:
    def host(identity: str, neighbor_as: int = 65002, **fields: Any) -> Any:
        speaker = BirdHost().daemon(router_id=identity)
        return speaker.protocol("up1", "BGP", **({"neighbor_as": neighbor_as, "local_as": 65001} | fields)).build()

    def case(name: str, why: str, a: Any, b: Any, fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts={"fra-edge1": a, "fra-edge2": b}, fires=fires)

    yield case("cloned", "both to one neighbour AS", host("10.0.0.1"), host("10.0.0.1"), 1)
    yield case("of their own", "as it must be", host("10.0.0.1"), host("10.0.0.2"))
    yield case("no AS in common", "nobody sees both", host("10.0.0.1"), host("10.0.0.1", 65003))
    static = BirdHost().daemon(router_id="10.0.0.1").protocol("static1", "Static").build()
    yield case("no BGP", "its id is seen by nobody", host("10.0.0.1"), static)
    unknown: dict[str, Any] = {"neighbor_as": None}
    yield case("AS not told", "nobody need see both", host("10.0.0.1", **unknown), host("10.0.0.1", **unknown))
    yield case("ids not told", "they need not be one", host(""), host(""))
