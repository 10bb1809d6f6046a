"""What decides about a packet that was seen being dropped: the walk of such a packet, by this host's tables.

``netdiag trace`` tells at which place of the kernel it ended; the walk knows which rule, route or setting stands there.
Pure; nothing can fail.
"""

import msgspec

from netdiag.model.protocols import PROTOCOLS
from netdiag.model.trace import TraceEvent, TraceReport
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk

DECIDED = frozenset(
    {
        "NETFILTER_DROP", "IP_RPFILTER", "IP_OUTNOROUTES", "IP_INNOROUTES", "IP_INADDRERRORS", "IP_LOCAL_SOURCE",
        "IP_INVALID_SOURCE", "IP_LOCALNET", "IP_INVALID_DEST", "PKT_TOO_BIG", "NEIGH_FAILED", "NOT_SPECIFIED",
    }
)  # fmt: skip
"""Drop reasons behind which there is something that a walk can name."""
MOST = 20
"""Walks of one report."""


def wanted(report: TraceReport) -> bool:
    """Whether there is anything in it that a walk could explain."""
    return any(row.what == "dropped" and row.reason in DECIDED and row.sample is not None for row in report.rows)


def explained(report: TraceReport, host: PathHost) -> TraceReport:
    """The report, with what decides about the samples of its first rows."""
    rows = list(report.rows)
    for number, row in enumerate(rows[:MOST]):
        if row.what == "dropped" and row.reason in DECIDED and row.sample is not None and row.netns == report.netns:
            said = decides(row.sample, host)
            rows[number] = msgspec.structs.replace(row, decided_by=said)
    return msgspec.structs.replace(report, rows=tuple(rows))


def decides(event: TraceEvent, host: PathHost) -> str | None:
    """Why this host does not let such a packet through; None where its tables would."""
    if event.family is None or event.dst is None:
        return None
    told = _walked(event, host)
    if told.verdict in ("dropped", "refused"):
        return told.reason
    unknown = told.verdict == "unknown" and event.reason == "NETFILTER_DROP"
    return f"cannot be known from here: {told.reason}" if unknown else None


def _walked(event: TraceEvent, host: PathHost) -> PathReport:
    own = event.src is not None and host.index.local.is_local(event.family or "inet", event.src)
    iif = event.iif if event.iif in host.stack.by_index and not own else None
    begins = event.proto != "tcp" or (event.flags is not None and "S" in event.flags and "A" not in event.flags)
    packet = Packet(
        family=event.family or "inet",
        dst=event.dst or "",
        src=event.src,
        iif=iif or 0,
        mark=event.mark,
        ip_proto=PROTOCOLS.get(event.proto or ""),
        sport=event.sport,
        dport=event.dport,
        ct="new" if begins else None,
    )
    return walk(host, packet, PathPacket(family=packet.family, dst=packet.dst, src=packet.src))
