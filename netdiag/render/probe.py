"""Plans and results of probes, as text and as ``netdiag.probe/1``. Every foreign string passes ``escape``. Nothing can
fail."""

from collections.abc import Iterator

import msgspec

from netdiag.model.probe import MtuResult, Plan, ProbeReport, ReachResult, Result, TraceResult, WireguardResult
from netdiag.render.escape import json_text, visible

NAMED = 8
"""Destinations that a plan names."""


def plan_text(plan: Plan) -> str:
    """One sentence: what, how many, to whom, how long."""
    names = [
        row.address if row.address == row.name else f"{row.name} ({row.address})" for row in plan.destinations[:NAMED]
    ]
    more = len(plan.destinations) - len(names)
    to = visible(", ".join(names)) + (f" and {more} more" if more else "")
    return (
        f"sends {visible(plan.what)} to {to}: at most {plan.packets}, {plan.rate:g} a second, "
        f"within {plan.seconds:g} seconds\n"
    )


def result_text(result: Result) -> str:
    """The sentence of a result, and what is behind it."""
    lines = [f"{result.verdict.upper():9} {visible(result.says)}", *(f"  {visible(line)}" for line in _details(result))]
    return "\n".join(lines) + "\n"


def _details(result: Result) -> Iterator[str]:
    if isinstance(result, MtuResult):
        local, cached = _number(result.interface_mtu), _number(result.cached)
        yield f"interface {local}, kernel's path MTU {cached}; {result.sent} packets sent"
        for told in result.told:
            yield f"{told.by or 'somebody'}: too big, {told.mtu} bytes fit"
        if result.vanished is not None:
            yield f"{result.vanished} bytes and more vanish"
    elif isinstance(result, ReachResult):
        times = ""
        if result.rtt_ms is not None:
            least, middle, most = result.rtt_ms
            times = f"; least {least:g}, middle {middle:g}, most {most:g} ms"
        yield f"{result.answered} of {result.sent} answered{times}"
        yield from result.errors
    elif isinstance(result, TraceResult):
        for hop in result.hops:
            who = ", ".join(hop.by) or "*"
            time = f"  {hop.rtt_ms:g} ms" if hop.rtt_ms is not None else ""
            lost = f"  {hop.sent - hop.answered} of {hop.sent} lost" if 0 < hop.answered < hop.sent else ""
            notes = f"  ({'; '.join(hop.notes)})" if hop.notes else ""
            yield f"{hop.ttl:2}  {who}{time}{lost}{notes}"
    elif isinstance(result, WireguardResult):
        age = f"{result.handshake_age:g} s old" if result.handshake_age is not None else "never"
        moved = f"{result.sent_bytes} bytes out, {result.received_bytes} back"
        yield f"to {result.destination.address}; {moved}; handshake {age}"


def _number(value: int | None) -> str:
    return "not told" if value is None else str(value)


def probe_json(report: ProbeReport) -> str:
    """The whole report."""
    return json_text(msgspec.json.format(msgspec.json.encode(report), indent=1).decode()) + "\n"
