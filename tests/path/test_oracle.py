"""The walk against ``ip route get``, for every flag: source, mark, uid, tos, protocol, ports, interfaces.

Random policy rules and tables as in tests/index; the kernel is asked by RTM_GETROUTE, as ``ip route get`` does.
"""

from typing import Any

import pytest

from netdiag.index.packet import Query
from netdiag.index.view import HostIndex
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk
from tests.index.kernel import Told, ask
from tests.index.packets import Packets
from tests.index.test_kernel_agreement import build
from tests.index.topology import Topology
from tests.lab import Lab

PACKETS = 250
SEEDS = (3, 11)


def walked(host: PathHost, query: Query) -> PathReport:
    def index(name: str | int | None) -> int:
        link = host.stack.by_name.get(name) if isinstance(name, str) else None
        return link.ifindex if link is not None else int(name or 0)

    packet = Packet(
        family=query.family,
        dst=query.dst,
        src=query.src,
        iif=index(query.iif),
        oif=0 if query.iif else index(query.oif),
        mark=query.mark,
        uid=query.uid,
        tos=query.tos,
        ip_proto=query.ip_proto,
        sport=query.sport,
        dport=query.dport,
    )
    return walk(host, packet, PathPacket(family=query.family, dst=query.dst))


def differs(host: PathHost, query: Query, told: Told, report: PathReport) -> str:
    """What the kernel says otherwise; empty for nothing that can be compared."""
    if report.verdict == "unknown" or any("asked again" in step.why for step in report.steps):
        return ""  # a socket may ask twice, ip route get asks once
    if told.errno:
        return "" if report.verdict in ("refused", "dropped") else f"the kernel refuses with {told.errno}"
    device = host.ifname(told.oif or 0)
    if report.verdict in ("sent", "forwarded"):
        ways = {(way.dev, way.via) for way in report.possible} or {(report.dev, report.via)}
        return "" if (device, told.gateway) in ways else f"by {device} via {told.gateway}"
    if report.verdict == "delivered":
        return "" if told.type in ("local", "anycast", "broadcast") else f"it is {told.type}"
    by_route = {"blackhole", "unreachable", "prohibit"} & {report.route_type}
    return f"by {device} via {told.gateway}, not {report.verdict}" if by_route or "no route" in report.reason else ""


def examine(seed: int) -> dict[str, Any]:
    topology = Topology(seed)
    tables = build(topology)
    stream = Packets(topology, tables, seed)
    queries = [stream.one() for _ in range(PACKETS)]
    host = PathHost(HostIndex(tables))
    indexes = {link.ifname: link.ifindex for link in tables.links}
    found, verdicts = [], []
    for query, (resolved, _) in zip(queries, ask(queries, indexes), strict=True):
        report = walked(host, query)
        verdicts.append(report.verdict)
        why = differs(host, query, resolved, report)
        if why:
            steps = [(step.object, step.decision, step.why) for step in report.steps]
            found.append(f"NETDIAG_SEED={seed} {query}: kernel {why}; walk {report.verdict} {report.reason} {steps}")
    return {"found": found, "verdicts": verdicts}


@pytest.mark.lab
@pytest.mark.parametrize("seed", SEEDS)
def test_the_walk_goes_where_the_kernel_says(seed: int) -> None:
    with Lab() as lab:
        result = lab.host("a").call(lambda: examine(seed), timeout=60)
    assert not result["found"], f"{len(result['found'])} of {PACKETS}\n" + "\n".join(result["found"][:4])
    assert {"sent", "refused", "delivered"} <= set(result["verdicts"])
