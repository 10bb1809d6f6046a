"""A packet's way over many hosts as text, the answer beside it. Nothing can fail; every foreign string is escaped."""

from collections.abc import Iterator

from netdiag.model.fleetpath import FleetHop, FleetPathReport
from netdiag.render.escape import visible
from netdiag.render.path import COLOURS, _packet, _steps
from netdiag.render.pen import Line, Pen, join


def render_fleet_path(report: FleetPathReport, *, color: bool, width: int, explain: bool = False) -> str:
    """The whole walk. ``explain``: also the steps on each host."""
    return join(list(_lines(report, Pen(color=color, width=width), explain)))


def _lines(report: FleetPathReport, pen: Pen, explain: bool) -> Iterator[Line]:
    yield pen.line((f"{visible(_packet(report.packet))} from {visible(report.start)}", "bold"))
    back = report.answer.hops if report.answer is not None else ()
    if back and not explain and pen.width >= 100:
        yield from _beside(report.hops, back, pen)
    else:
        for hop in report.hops:
            yield from _hop(hop, pen, explain)
        if report.answer is not None:
            yield pen.line(("the answer", "bold"))
            for hop in back:
                yield from _hop(hop, pen, explain)
    if report.mtu is not None:
        yield from pen.prose(
            f"{report.mtu} bytes fit: {visible(report.mtu_reason or '')}", "  largest  ", "           "
        )
    if report.answer is not None:
        note = {False: "  by another way", True: "  by the same way"}.get(report.symmetric, "")  # type: ignore[arg-type]
        verdict = report.answer.verdict
        yield pen.line("return:  ", (verdict, COLOURS.get(verdict, "ok")), f" on {visible(report.answer.where)}{note}")
        if COLOURS.get(verdict):
            yield from pen.prose(visible(report.answer.reason), "  ")
    yield pen.line("verdict: ", (report.verdict, COLOURS.get(report.verdict, "ok")), f" on {visible(report.where)}")
    if COLOURS.get(report.verdict) or report.verdict == "sent":
        yield from pen.prose(visible(report.reason), "  ")


def _word(hop: FleetHop) -> str:
    into = f"{hop.iif} > " if hop.iif else ""
    out = f" > {hop.dev}" if hop.dev and hop.verdict != "delivered" else ""
    end = "" if hop.verdict in ("sent", "forwarded") else f" [{hop.verdict}]"
    return visible(f"{into}{hop.host}{out}{end}")


def _hop(hop: FleetHop, pen: Pen, explain: bool) -> Iterator[Line]:
    yield pen.line("  ", (_word(hop), "bold" if COLOURS.get(hop.verdict) else ""))
    if explain:
        yield from _steps(hop.steps, pen, explain=False)
    if hop.onward:
        yield from pen.prose(visible(hop.onward), "      ", "      ")


def _beside(there: tuple[FleetHop, ...], back: tuple[FleetHop, ...], pen: Pen) -> Iterator[Line]:
    """Both ways side by side, the answer from its end upwards, so that one line is one host."""
    half = (pen.width - 3) // 2
    other = list(reversed(back))
    yield pen.line((f"  {'there':<{half}}back (read upwards)", "dim"))
    for number in range(max(len(there), len(other))):
        left = _word(there[number]) if number < len(there) else ""
        right = _word(other[number]) if number < len(other) else ""
        yield pen.line(f"  {left[:half]:<{half}}{right[:half]}")
