"""A packet's way over a fleet as a report: where it starts, what each host does with it, and with the answer.

Raises FleetRefused for a start that is not in the fleet, or is on several hosts.
"""

from typing import NamedTuple

from netdiag.fleet.load import Fleet, FleetRefused
from netdiag.index.fleet import FleetView
from netdiag.model.fleetpath import FleetHop, FleetPathReport, FleetWay
from netdiag.model.protocols import PROTOCOLS
from netdiag.model.walk import PathPacket
from netdiag.path.fleetwalk import FleetEnd, FleetWays
from netdiag.path.trail import Packet


class Start(NamedTuple):
    """Where a packet begins."""

    host: str
    src: str | None
    iif: int
    """Index of the tap of the guest that sends it; 0: the host itself."""


def start_of(ways: FleetWays, said: str, family: str) -> Start:
    """A host by name, or the one that has an address, itself or as a guest's. Raises FleetRefused."""
    hosts = {host.name: host for host in ways.view.hosts}
    if said in hosts:
        return Start(said, None, 0)
    owners = sorted({(owner.name, link.ifname) for owner, link in ways.owners.get(said, [])})
    if len({name for name, _ in owners}) > 1:
        raise FleetRefused(
            f"{said} is on several hosts ({', '.join(name for name, _ in owners)}): name one with --from"
        )
    if owners:
        return Start(owners[0][0], said, 0)
    behind = [(name, index) for name in hosts if (index := _guest(ways, name, said))]
    if len(behind) == 1:
        return Start(behind[0][0], said, behind[0][1])
    if behind:
        raise FleetRefused(f"{said} is behind a tap of several hosts: {', '.join(name for name, _ in behind)}")
    raise FleetRefused(f"{said} is no host of the fleet, and no address of one or of its guests")


def _guest(ways: FleetWays, name: str, address: str) -> int:
    """Index of the tap to which a host routes an address; 0: none."""
    host = ways.ready(name)
    packet = Packet(family="inet6" if ":" in address else "inet", dst=address)
    try:
        answer = host.routing.lookup(packet.query())
    except ValueError:
        return 0
    if answer.errno or len(answer.hops) != 1 or answer.hops[0].gateway is not None:
        return 0
    link = host.stack.by_index.get(answer.hops[0].oif)
    guest = link is not None and link.kind == "tun" and host.wireguard(link.ifindex) is None
    return link.ifindex if link is not None and guest else 0


def fleet_path(fleet: Fleet, start: str, said: PathPacket, *, df: bool = True) -> FleetPathReport:
    """Walk a packet from ``start`` and its answer back. Raises FleetRefused."""
    ways = FleetWays(FleetView(hosts=fleet.hosts))
    begin = start_of(ways, start, said.family)
    proto = "icmpv6" if said.proto == "icmp" and said.family == "inet6" else said.proto
    packet = Packet(
        family=said.family,
        dst=said.dst,
        src=said.src or begin.src,
        iif=begin.iif,
        mark=said.mark,
        uid=said.uid,
        tos=said.tos,
        ip_proto=PROTOCOLS[proto] if proto else None,
        sport=said.sport,
        dport=said.dport,
        size=said.size,
        df=df,
    )
    there = ways.go(begin.host, packet)
    back = ways.back(there)
    return FleetPathReport(
        packet=said,
        start=begin.host,
        verdict=there.verdict,
        reason=there.reason,
        where=there.host,
        mtu=there.limit.mtu if there.limit else None,
        mtu_reason=there.limit.reason if there.limit else None,
        hops=_hops(there),
        symmetric=_symmetric(there, back),
        answer=_way(back) if back is not None else None,
    )


def _hops(end: FleetEnd) -> tuple[FleetHop, ...]:
    return tuple(
        FleetHop(
            host=stage.host,
            iif=stage.iif,
            verdict=stage.end.verdict,
            reason=stage.end.reason,
            dev=stage.end.dev,
            via=stage.end.via,
            onward=stage.onward,
            steps=stage.steps,
        )
        for stage in end.stages
    )


def _way(end: FleetEnd) -> FleetWay:
    return FleetWay(
        verdict=end.verdict,
        reason=end.reason,
        where=end.host,
        mtu=end.limit.mtu if end.limit else None,
        mtu_reason=end.limit.reason if end.limit else None,
        hops=_hops(end),
    )


def _symmetric(there: FleetEnd, back: FleetEnd | None) -> bool | None:
    """Whether the answer crosses the same links the other way round."""
    if back is None or back.verdict not in ("delivered", "dropped", "refused"):
        return None
    went = [
        (stage.host, stage.iif, None if stage.end.verdict == "delivered" else stage.end.dev) for stage in there.stages
    ]
    came = [
        (stage.host, None if stage.end.verdict == "delivered" else stage.end.dev, stage.iif) for stage in back.stages
    ]
    if back.verdict != "delivered":
        return None if came == list(reversed(went))[: len(came)] else False
    return came == list(reversed(went))
