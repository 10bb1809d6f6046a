"""The walk as a report: what becomes of a packet, and of its answer on the way back. Pure.

ValueError for an address that is none or not of the packet's family.
"""

import msgspec

from netdiag.model.walk import PathPacket, PathReport, PathReturn, PathStep
from netdiag.path import arrive
from netdiag.path.host import PathHost
from netdiag.path.trail import End, Packet, Trail
from netdiag.path.walker import Walker


def walk(host: PathHost, packet: Packet, said: PathPacket) -> PathReport:
    """What this host does with the packet, and with its answer. ``said``: the packet as it was asked about."""
    trail = Trail()
    end = Walker(host).go(packet, trail)
    return PathReport(
        packet=said,
        verdict=end.verdict,
        reason=end.reason,
        dev=end.dev,
        via=end.via,
        src=end.src or packet.src,
        table=end.table,
        route_type=end.route_type,
        mtu=end.mtu,
        mtu_reason=end.mtu_reason,
        possible=end.possible,
        steps=_marked(trail.steps, end),
        answer=_way_back(host, packet, end),
    )


def _marked(steps: list[PathStep], end: End) -> tuple[PathStep, ...]:
    """The steps with only that one marked that decides: where the packet ends early, the last one that says so."""
    decisive = [number for number, step in enumerate(steps) if step.decisive and (step.depth == 0 or end.lost)]
    kept = {decisive[-1]} if end.lost and decisive else set(decisive)
    return tuple(
        step if step.decisive == (number in kept) else msgspec.structs.replace(step, decisive=number in kept)
        for number, step in enumerate(steps)
    )


def _way_back(host: PathHost, packet: Packet, end: End) -> PathReturn | None:
    """The answer, by the interface that the packet left by; None where nothing can come back."""
    if end.verdict not in ("sent", "forwarded") or not end.oif or end.left is None or arrive.many(packet.dst):
        return None
    source = end.left.src
    if source is None:
        return None
    trail = Trail()
    back = Walker(host).go(end.left.answer(end.oif, source), trail)
    asymmetric = None if back.verdict == "unknown" else bool(packet.iif and back.oif != packet.iif)
    return PathReturn(
        verdict=back.verdict,
        reason=back.reason,
        dev=back.dev,
        via=back.via,
        asymmetric=asymmetric,
        steps=_marked(trail.steps, back),
    )
