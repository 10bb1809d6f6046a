"""The way to a destination, hop by hop: packets whose TTL ends early, and who says so.

``notes`` and ``judged`` are pure. What a hop is asked is not what it would do with traffic: silence of a router in the
middle is common and no fault. Hints, never proofs: the answer's TTL tells how far the way back is (routers start at 64,
128 or 255), an address that stands at two TTLs is a loop or a translation, an end that answers from another address
than the one asked has been translated.
"""

import errno
import time
from collections.abc import Sequence

from netdiag.model.probe import Destination, Hop, TraceResult, Verdict
from netdiag.probes.sockets import Answer, Probe

FIRST_PORT = 33434
"""As traceroute(8); nobody listens there."""
STARTS = (64, 128, 255)
SILENT_LIMIT = 5
"""Silent hops in a row after which it is given up."""
DETOUR = 3
"""Hops by which the way back may be longer or shorter and nobody is told."""


def back(ttl: int | None) -> int | None:
    """How many hops the answer came, from the TTL that is left."""
    if ttl is None or not 0 < ttl <= 255:
        return None
    return next(start for start in STARTS if ttl <= start) - ttl + 1


def ended(answers: Sequence[Answer], to: Destination) -> bool:
    """Whether this hop is the end: the destination, or whoever answers for it, or a refusal on the way."""
    return any(answer.reply or (answer.error is not None and not answer.exceeded) for answer in answers)


def hop(ttl: int, answers: Sequence[Answer], earlier: Sequence[Hop], to: Destination) -> Hop:
    """One row. Pure."""
    heard = [answer for answer in answers if not answer.lost]
    who = tuple(dict.fromkeys(str(answer.by) for answer in heard if answer.by is not None))
    returns = [found for answer in heard if (found := back(answer.ttl)) is not None]
    shortest = min(returns, default=None)
    return Hop(
        ttl=ttl,
        by=who,
        sent=len(answers),
        answered=len(heard),
        rtt_ms=round(min(answer.took for answer in heard) * 1000, 3) if heard else None,
        back=shortest,
        mtu=next((answer.mtu for answer in heard if answer.mtu is not None), None),
        notes=tuple(_notes(ttl, answers, earlier, to, who, shortest)),
    )


def _notes(  # noqa: PLR0917
    ttl: int,
    answers: Sequence[Answer],
    earlier: Sequence[Hop],
    to: Destination,
    who: Sequence[str],
    returns: int | None,
) -> list[str]:
    notes = []
    if len(who) > 1:
        notes.append("several ways")
    before = next((row.ttl for row in earlier if set(row.by) & set(who)), None)
    if before is not None and not ended(answers, to):
        notes.append(f"stands at TTL {before} already: a loop, or an address translated")
    if returns is not None and abs(returns - ttl) > DETOUR:
        notes.append(f"the answer came over about {returns} hops: another way back")
    for answer in answers:
        if answer.error is not None and not answer.exceeded:
            said = _said(answer, to)
            if said and said not in notes:
                notes.append(said)
    return notes


def _said(answer: Answer, to: Destination) -> str:
    if answer.error == errno.EMSGSIZE:
        return f"too big, {answer.mtu} bytes fit"
    if answer.error == errno.ECONNREFUSED:
        return "" if answer.by == to.address.partition("%")[0] else f"answers for {to.address}: an address translated"
    words = {
        errno.EHOSTUNREACH: "host unreachable",
        errno.ENETUNREACH: "network unreachable",
        errno.EACCES: "prohibited by a filter",
    }
    return words.get(answer.error or 0, errno.errorcode.get(answer.error or 0, "error"))


def judged(to: Destination, proto: str, hops: Sequence[Hop], last: Sequence[Answer]) -> TraceResult:
    """What the way says. Pure."""
    verdict, says = _verdict(to, hops, last)
    return TraceResult(destination=to, verdict=verdict, says=says, proto=proto, hops=tuple(hops))


def _verdict(to: Destination, hops: Sequence[Hop], last: Sequence[Answer]) -> tuple[Verdict, str]:
    if any(answer.reply or answer.error == errno.ECONNREFUSED for answer in last):
        return "ok", f"{to.address} is {len(hops)} hop{'' if len(hops) == 1 else 's'} away"
    refusal = next((answer for answer in last if answer.error is not None and not answer.exceeded), None)
    if refusal is not None:
        where = f"{refusal.by} says" if refusal.by and not refusal.local else "this host says"
        return "failed", f"it ends at TTL {len(hops)}: {where} {_said(refusal, to)}"
    heard = [row for row in hops if row.by]
    if not heard:
        return "failed", f"nobody on the way to {to.address} answers"
    loop = next((row for row in heard if any("a loop" in note for note in row.notes)), None)
    if loop is not None and sum(set(row.by) == set(loop.by) for row in heard) > 2:
        return "failed", f"packets to {to.address} go round in circles at {', '.join(loop.by)}"
    return "failed", f"the last that answers is {', '.join(heard[-1].by)}, at TTL {heard[-1].ttl}; nothing after it"


def run(
    to: Destination,
    *,
    proto: str,
    count: int,
    hops: int,
    timeout: float,
    pause: float,
    size: int | None = None,
    source: str | None = None,
) -> TraceResult:
    """Send ``count`` packets to each hop until the destination answers. Raises NotPermitted, Unsent."""
    rows: list[Hop] = []
    answers: list[Answer] = []
    silent = 0
    with Probe(to, proto=proto, source=source) as probe:
        for ttl in range(1, hops + 1):
            answers = []
            for _ in range(count):
                answers.append(probe.ask(timeout, ttl=ttl, port=FIRST_PORT + ttl - 1, size=size))
                time.sleep(pause)
            rows.append(hop(ttl, answers, rows, to))
            silent = 0 if rows[-1].by else silent + 1
            if ended(answers, to) or silent >= SILENT_LIMIT:
                break
    return judged(to, proto, rows, answers)
