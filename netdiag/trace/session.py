"""One question, watched for a while and summed up: load, attach, listen, count, detach.

Bounded in time, in events told and in kinds counted. Raises Unavailable where it cannot be watched here.
"""

import os
from collections.abc import Callable
from importlib.resources import files

from netdiag.model.trace import TraceEvent, TraceReport, TraceRow
from netdiag.trace import Unavailable
from netdiag.trace.events import COUNT, INDEX, KEY, TOLD, Decoder, Wanted
from netdiag.trace.libbpf import Loaded
from netdiag.trace.reasons import BTF, MEANINGS, Names, of_this_kernel

TICK = 0.2
"""Seconds between two looks at the clock."""
MOST_ROWS = 200

Key = tuple[str, str | None, str | None, int | None, int]
"""What, reason, location, namespace, ifindex."""


def own_namespace() -> int:
    """Inode of the network namespace that this process is in."""
    return os.stat("/proc/self/ns/net").st_ino


def watch(
    question: str,
    wanted: Wanted,
    seconds: float,
    clock: Callable[[], float],
    heard: Callable[[TraceEvent], None] = lambda event: None,
) -> TraceReport:
    """Watch for so long, or until interrupted; ``heard`` gets each event that is told, as it comes.

    ``clock`` is monotonic, in seconds.
    """
    if not os.path.exists(BTF):
        raise Unavailable(f"this kernel does not describe itself: there is no {BTF} (CONFIG_DEBUG_INFO_BTF)")
    octets = files("netdiag.trace").joinpath("objects", f"{question}.bpf.o").read_bytes()
    names = of_this_kernel()
    decoder, events = Decoder(question, names), list[TraceEvent]()

    def each(record: bytes) -> None:
        event = decoder.event(record)
        if event is not None:
            events.append(event)
            heard(event)

    loaded = Loaded(octets)
    try:
        loaded.update("wanted", wanted.octets())
        loaded.listen("events", each)
        missing = loaded.attach()
        began, interrupted = clock(), False
        try:
            while (left := began + seconds - clock()) > 0:
                loaded.poll(min(TICK, left))
        except KeyboardInterrupt:
            interrupted = True  # what was seen until now is what there is
        loaded.detach()
        loaded.poll(0)
        told = loaded.entries("told", INDEX, TOLD)
        rows = _rows(loaded, decoder, names, events)
    finally:
        loaded.close()
    packets, lost, _ = told[0][1] if told else (0, 0, 0)
    return TraceReport(
        question=question,
        seconds=round(min(clock() - began, seconds), 3),
        interrupted=interrupted,
        netns=wanted.netns,
        packets=packets,
        untold=lost,
        missing=tuple(missing),
        rows=rows,
        events=tuple(events),
    )


def _rows(loaded: Loaded, decoder: Decoder, names: Names, events: list[TraceEvent]) -> tuple[TraceRow, ...]:
    """The counts, with a sample of each, the most first."""
    samples: dict[Key, TraceEvent] = {}
    for event in events:
        samples.setdefault((event.what, event.reason, event.location, event.netns, event.ifindex or 0), event)
    found = []
    for (location, reason, netns, ifindex, kind), (packets, length) in loaded.entries("counts", KEY, COUNT):
        what, why, where = decoder.what(kind), decoder.reason(reason, kind), names.function(location)
        sample = samples.get((what, why, where, netns or None, ifindex))
        known = next((one.ifname for one in events if (one.ifindex, one.netns) == (ifindex, netns or None)), None)
        found.append(
            TraceRow(
                what=what,
                reason=why,
                location=where,
                ifname=known or (f"if{ifindex}" if ifindex else None),
                netns=netns or None,
                packets=packets,
                bytes=length,
                meaning=MEANINGS.get(why or ""),
                sample=sample,
            )
        )
    order = sorted(found, key=lambda row: (-row.packets, row.what, row.reason or "", row.location or ""))
    return tuple(order[:MOST_ROWS])
