"""A trace as text: a line for each event, then what was seen, summed up. Nothing can fail."""

from netdiag.model.trace import TraceEvent, TraceReport, TraceRow
from netdiag.render.escape import visible
from netdiag.render.pen import Line, Pen, join

MOST_ROWS = 25


def render_event(event: TraceEvent, *, color: bool, width: int) -> str:
    """One line."""
    pen = Pen(color=color, width=width)
    words = [f"{event.at:9.6f}", event.what]
    words += [f"#{event.packet}"] if event.packet is not None and event.what != "dropped" else []
    words += [visible(event.reason)] if event.reason else []
    words += [f"dev {visible(event.ifname)}"] if event.ifname else []
    words += [_packet(event), f"length {event.length}"]
    words += [f"mark {event.mark:#x}"] if event.mark else []
    if event.state is not None:
        words += [event.state, f"cwnd {event.cwnd}", f"srtt {(event.srtt_us or 0) / 1000:.1f} ms"]
    words += [f"at {visible(event.location)}"] if event.location else []
    return join([pen.line(" ".join(words))])


def _packet(event: TraceEvent) -> str:
    if event.src is None or event.dst is None:
        return f"ethertype {event.ethertype:#06x}" if event.ethertype else "no IP packet"
    flags = f" [{event.flags}]" if event.flags else ""
    return f"{event.proto} {_end(event.src, event.sport)} > {_end(event.dst, event.dport)}{flags}"


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def render_summary(report: TraceReport, *, color: bool, width: int) -> str:
    """What was seen, the most first."""
    pen = Pen(color=color, width=width)
    seen = {"drops": "dropped", "retransmits": "sent again"}.get(report.question, "seen")
    where = "in every namespace" if report.netns is None else "in this namespace"
    lines = [pen.line((f"{report.packets} packets {seen} {where} in {report.seconds:g} s", "bold"))]
    for row in report.rows[:MOST_ROWS]:
        lines += _row(row, pen)
    if len(report.rows) > MOST_ROWS:
        lines.append(pen.line(f"  and {len(report.rows) - MOST_ROWS} more kinds (--json)"))
    if report.untold:
        lines.append(pen.line((f"  {report.untold} of them were counted, but not told (--events)", "dim")))
    if report.missing:
        lines.append(pen.line((f"  this kernel does not tell of: {', '.join(report.missing)}", "dim")))
    return join(lines)


def _row(row: TraceRow, pen: Pen) -> list[Line]:
    words = [row.what if row.reason is None else visible(row.reason)]
    words += [f"dev {visible(row.ifname)}"] if row.ifname else []
    words += [f"at {visible(row.location)}"] if row.location else []
    lines = [pen.line(f"{row.packets:8} ", (" ".join(words), "bold"))]
    if row.meaning:
        lines += pen.prose(row.meaning, "         ")
    if row.sample is not None:
        lines += pen.prose(f"such as {visible(_packet(row.sample))}", "         ")
    if row.decided_by:
        lines += pen.prose(f"decided by: {visible(row.decided_by)}", "         ")
    return lines
