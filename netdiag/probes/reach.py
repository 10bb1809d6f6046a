"""Does somebody answer, how often and how fast: ICMP echo, TCP to a port, UDP to a port.

A refused connection is an answer: the host is there, and nobody listens. UDP that is neither answered nor refused says
nothing: most services keep silent on a byte they do not understand.
"""

import errno
import os
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median

from netdiag.model.probe import Destination, ReachResult, Verdict
from netdiag.probes.sockets import Answer, Probe, Unsent

REFUSED = errno.ECONNREFUSED
NO_LINGER = struct.pack("ii", 1, 0)
"""Close with RST, so that the other side keeps nothing."""


def judged(to: Destination, proto: str, port: int | None, answers: Sequence[Answer]) -> ReachResult:
    """What the answers say. Pure."""
    heard = [answer for answer in answers if answer.reply or answer.error == REFUSED]
    refused = sum(answer.error == REFUSED for answer in answers)
    failed = Counter(_error(answer) for answer in answers if answer.error is not None and answer.error != REFUSED)
    times = sorted(answer.took * 1000 for answer in heard)
    verdict, says = _verdict(to, proto, port, answers, len(heard), refused, failed)
    return ReachResult(
        destination=to,
        verdict=verdict,
        says=says,
        proto=proto,
        port=port,
        sent=len(answers),
        answered=len(heard),
        rtt_ms=(round(times[0], 3), round(median(times), 3), round(times[-1], 3)) if times else None,
        errors=tuple(f"{text} ({count})" for text, count in failed.most_common()),
    )


def _error(answer: Answer) -> str:
    words = os.strerror(answer.error or 0).lower()
    return f"{words}, says {answer.by}" if answer.by and not answer.local else words


def _verdict(  # noqa: PLR0917
    to: Destination,
    proto: str,
    port: int | None,
    answers: Sequence[Answer],
    heard: int,
    refused: int,
    failed: Counter[str],
) -> tuple[Verdict, str]:
    who = f"{to.address} port {port}" if port is not None else to.address
    if not answers:
        return "unknown", f"nothing was sent to {who}"
    if heard == len(answers):
        if refused == heard and proto != "icmp":
            return "degraded", f"{to.address} is there, and nobody listens on {proto} port {port}"
        return "ok", f"{who} answers"
    if heard:
        return "degraded", f"{who} answers {heard} of {len(answers)}: {(len(answers) - heard) / len(answers):.0%} lost"
    if failed:
        return "failed", f"{who} cannot be reached: {failed.most_common(1)[0][0]}"
    if proto == "udp":
        return "unknown", f"{who} says nothing, as most UDP services do; a firewall would look the same"
    return "failed", f"{who} does not answer"


def run(
    to: Destination,
    *,
    proto: str,
    port: int | None,
    count: int,
    timeout: float,
    pause: float,
    source: str | None = None,
) -> ReachResult:
    """Send ``count`` packets. Raises NotPermitted, Unsent."""
    answers = []
    for number in range(count):
        if number:
            time.sleep(pause)
        if proto == "tcp":
            answers.append(_connected(to, port or 0, timeout, source))
        else:
            with Probe(to, proto=proto, source=source) as probe:
                answers.append(probe.ask(timeout, size=None if proto == "icmp" else _one_byte(to), port=port or 0))
    return judged(to, proto, port, answers)


def _one_byte(to: Destination) -> int:
    return 29 if to.family == "inet" else 49


def _connected(to: Destination, port: int, timeout: float, source: str | None) -> Answer:
    family = socket.AF_INET6 if to.family == "inet6" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        began = time.monotonic()
        try:
            if source is not None:
                tcp.bind((source, 0))
            code = tcp.connect_ex((to.address, port))
        except OSError as error:
            raise Unsent(f"{to.address}: {(error.strerror or str(error)).lower()}") from error
        if code == errno.EINPROGRESS:
            poller = select.poll()
            poller.register(tcp, select.POLLOUT)
            if not poller.poll(timeout * 1000):
                return Answer(took=timeout)
            code = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        took = time.monotonic() - began
        if code == 0:
            return Answer(took=took, by=to.address, reply=True)
        return Answer(took=took, error=code, by=to.address if code == REFUSED else None)
