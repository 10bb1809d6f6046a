"""A packet's way as text: one line a step, the decisive ones marked, the verdict last. Nothing can fail."""

from netdiag.model.walk import PathPacket, PathReport, PathStep
from netdiag.render.escape import visible
from netdiag.render.pen import Line, Pen, join

COLOURS = {"dropped": "critical", "refused": "critical", "unknown": "warning"}
MOST_MISSES = 8
"""Rules in a row that did not match, more are only counted."""


def render_path(report: PathReport, *, color: bool, width: int, explain: bool = False) -> str:
    """The whole walk. ``explain``: also why the alternatives lost."""
    pen = Pen(color=color, width=width)
    lines = [pen.line((visible(_packet(report.packet)), "bold"))]
    lines += _steps(report.steps, pen, explain)
    lines += [pen.line(f"  possible: dev {visible(way.dev)}{_via(way.via)}") for way in report.possible]
    if report.mtu is not None:
        lines += pen.prose(f"{report.mtu} bytes fit: {visible(report.mtu_reason or '')}", "  largest  ", "           ")
    if report.answer is not None:
        answer = report.answer
        lines.append(pen.line(("the way back", "bold")))
        lines += _steps(answer.steps, pen, explain)
        note = " (asymmetric: it leaves by another interface)" if answer.asymmetric else ""
        lines.append(pen.line("  return: ", (answer.verdict, COLOURS.get(answer.verdict, "ok")), note))
        if COLOURS.get(answer.verdict):
            lines += pen.prose(visible(answer.reason), "  ")
    lines.append(pen.line(*_verdict(report)))
    return join(lines)


def _packet(packet: PathPacket) -> str:
    words = [f"{packet.proto or 'packet'} to {packet.dst}"]
    words += [f"dport {packet.dport}"] if packet.dport is not None else []
    words += [f"from {packet.src}"] if packet.src else []
    words += [f"sport {packet.sport}"] if packet.sport is not None else []
    words += [f"iif {packet.iif}"] if packet.iif else []
    words += [f"mark {packet.mark:#x}"] if packet.mark else []
    words += [f"uid {packet.uid}"] if packet.uid is not None else []
    words += [f"tos {packet.tos:#x}"] if packet.tos else []
    words += [f"size {packet.size}"] if packet.size is not None else []
    return " ".join(words)


def _via(via: str | None) -> str:
    return f" via {visible(via)}" if via else ""


def _missed(step: PathStep) -> bool:
    return step.layer == "rule" and step.decision.startswith("not matched")


def _steps(steps: tuple[PathStep, ...], pen: Pen, explain: bool) -> list[Line]:
    lines, misses = [], 0
    for step in steps:
        misses = misses + 1 if _missed(step) else 0
        if misses > MOST_MISSES and not explain:
            continue
        lines.append(_step(step, pen))
        if misses == MOST_MISSES and not explain:
            lines.append(pen.line(("    ... further rules that do not match (--explain)", "dim")))
        if explain:
            for lost in step.lost:
                lines.append(pen.line("    ", "  " * step.depth, (f"not taken: {visible(lost)}", "dim")))
    return lines


def _step(step: PathStep, pen: Pen) -> Line:
    lead = f"{'*' if step.decisive else ' '} {'  ' * step.depth}{step.layer:<9} "
    said = f" -> {visible(step.decision)}"
    why = f" ({visible(step.why)})" if step.why else ""
    return pen.line((lead, "bold" if step.decisive else "dim"), visible(step.object), said, (why, "dim"))


def _verdict(report: PathReport) -> list[str | tuple[str, str]]:
    verdict = (report.verdict, COLOURS.get(report.verdict, "ok"))
    where = f" on {visible(report.dev)}" if report.dev else " by one of several next hops" if report.possible else ""
    if report.verdict == "sent":
        return ["verdict: ", verdict, f"{where}{_via(report.via)}"]
    if report.verdict == "forwarded":
        return ["verdict: ", verdict, f"{' to ' + visible(report.via) if report.via else ''}{where}"]
    if report.verdict == "unknown":
        return ["verdict: ", verdict, f": cannot know from here, because {visible(report.reason)}"]
    return ["verdict: ", verdict, f": {visible(report.reason)}"]
