"""The three questions put to the running kernel, in a namespace where packets are dropped, lost and sent again.

Traffic is made whenever the session looks at its clock, and the clock runs out when enough was heard.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from netdiag.model.trace import TraceEvent, TraceReport
from netdiag.trace import Unavailable
from netdiag.trace.events import Wanted
from netdiag.trace.session import own_namespace, watch
from tests.lab import Host, Lab

pytestmark = pytest.mark.lab
SECONDS = 8.0
CLOSED, FILTERED = 5556, 5555


@dataclass
class Watched:
    """A session's clock and ears."""

    send: Callable[[], None]
    enough: Callable[[list[TraceEvent]], bool]
    events: list[TraceEvent] = field(default_factory=list)

    def clock(self) -> float:
        if self.enough(self.events):
            return time.monotonic() + 2 * SECONDS
        self.send()
        return time.monotonic()

    def report(self, question: str, wanted: Wanted) -> TraceReport:
        return watch(question, wanted, SECONDS, self.clock, self.events.append)


def datagrams(*ports: int) -> Callable[[], None]:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in ports:
                sender.sendto(b"x", ("127.0.0.1", port))

    return send


def drops() -> TraceReport:
    def enough(events: list[TraceEvent]) -> bool:
        return {CLOSED, FILTERED} <= {event.dport for event in events}

    wanted = Wanted(netns=own_namespace(), family="inet", protocol=17)
    return Watched(datagrams(CLOSED, FILTERED), enough).report("drops", wanted)


def packets() -> TraceReport:
    def enough(events: list[TraceEvent]) -> bool:
        return any(event.what == "dropped" for event in events)

    return Watched(datagrams(CLOSED), enough).report("packet", Wanted(netns=own_namespace(), port=CLOSED))


def retransmits() -> TraceReport:
    """A connection to a port whose SYNs are filtered: it is sent again after a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        with suppress(BlockingIOError):
            caller.connect(("127.0.0.1", FILTERED))
        return Watched(lambda: None, lambda events: bool(events)).report("retransmits", Wanted(netns=own_namespace()))


def refused() -> str:
    os.setuid(65534)
    try:
        watch("drops", Wanted(), 0.1, time.monotonic)
    except Unavailable as error:
        return str(error)
    return ""


def host_of(lab: Lab) -> Host:
    host = lab.host("a")
    rules = f"udp dport {FILTERED} drop\ntcp dport {FILTERED} drop"
    lab.nft(host, f"table inet f {{\nchain i {{ type filter hook input priority 0; policy accept;\n{rules}\n}}\n}}")
    return host


def test_what_the_kernel_tells() -> None:
    with Lab() as lab:
        host = host_of(lab)
        told = host.call(drops, timeout=30)
        seen = {row.reason: row for row in told.rows}
        assert {"NO_SOCKET", "NETFILTER_DROP"} <= set(seen), told.rows
        assert seen["NO_SOCKET"].packets >= 1 and seen["NO_SOCKET"].ifname == "lo"
        assert "udp" in (seen["NO_SOCKET"].location or "")
        assert {event.netns for event in told.events} == {told.netns}
        assert told.packets == sum(row.packets for row in told.rows)

        way = [event.what for event in host.call(packets, timeout=30).events]
        assert way[: way.index("dropped") + 1][-4:] == ["queued", "sending", "received", "dropped"], way

        again = host.call(retransmits, timeout=30).events[0]
        assert (again.dst, again.dport, again.state) == ("127.0.0.1", FILTERED, "syn-sent")
        assert again.reason == "loss" and (again.retransmits or 0) >= 1


def test_as_a_command() -> None:
    with Lab() as lab:
        host = lab.host("a")
        assert host.call(refused, timeout=30) == "denied: it needs CAP_BPF and CAP_PERFMON, or root"
        code, out, err = host.netdiag("trace", "retransmits", "192.0.2.1", "--for", "0.2")
        assert (code, out.splitlines()[0]) == (0, "0 packets sent again in this namespace in 0.2 s"), err
        assert host.netdiag("trace", "packet")[::2] == (64, "netdiag: say which packets: ADDR, --port or --dev\n")
