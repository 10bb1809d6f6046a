"""Traffic control: queueing disciplines, classes and filters, looked at twice.

Source: one RTM_GETQDISC dump, RTM_GETTCLASS for each interface whose qdisc has classes that somebody made, and
RTM_GETTFILTER for each place that can have filters (net/sched/sch_api.c, cls_api.c). Needs no privilege and loads
nothing. Partial where a message could not be decoded, or where more places than PLACES would have to be asked. eBPF
programs among the filters are read by the bpf collector.
"""

import msgspec

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.model.tc import Qdisc, Tc, TcClass, TcCounters, TcFilter
from netdiag.sources.netlink import tc, tcfilters
from netdiag.sources.netlink.messages import DumpRequest, DumpResult
from netdiag.sources.protocol import Source, Unreadable

PLACES = 10_000
"""Interfaces with classes, and places with filters, that are asked one by one; each costs some 50 us."""


class Reading:
    """One look, and what went wrong in it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.malformed = 0
        self.results: list[DumpResult] = []
        self.left_out = 0

    def qdiscs(self) -> list[Qdisc]:
        """Every qdisc. Raises Unreadable."""
        sink = tc.QdiscSink()
        self.results.append(self.source.dump(tc.qdiscs(), sink))
        self.malformed += sink.malformed
        return sink.rows

    def classes(self, qdiscs: list[Qdisc]) -> list[TcClass]:
        """Classes of the interfaces that have some."""
        rows: list[TcClass] = []
        interfaces = sorted({row.ifindex for row in qdiscs if row.kind in tc.SHAPERS})
        self.left_out += max(0, len(interfaces) - PLACES)
        for ifindex in interfaces[:PLACES]:
            sink = tc.ClassSink()
            if self._ask(tc.classes(ifindex), sink):
                rows += sink.rows
        return rows

    def filters(self, qdiscs: list[Qdisc]) -> list[TcFilter]:
        """Filters of every place; a shared block is read once."""
        rows: list[TcFilter] = []
        blocks: dict[int, list[TcFilter]] = {}
        places = tc.places(qdiscs)
        self.left_out += max(0, len(places) - PLACES)
        for place in places[:PLACES]:
            found = blocks.get(place.block) if place.block is not None else None
            if found is None:
                sink = tc.FilterSink(place=place)
                found = sink.rows if self._ask(tcfilters.filters(place), sink) else []
                if place.block is not None:
                    blocks[place.block] = found
            rows += [msgspec.structs.replace(row, ifindex=place.ifindex, parent=place.parent) for row in found]
        return rows

    def _ask(self, request: DumpRequest, sink: tc.ClassSink | tc.FilterSink) -> bool:
        try:
            self.results.append(self.source.dump(request, sink))
        except Unreadable as refusal:
            if refusal.why == "absent":  # an interface that has gone meanwhile
                return False
            raise
        self.malformed += sink.malformed
        return True


def counters_of(qdiscs: list[Qdisc], classes: list[TcClass]) -> tuple[TcCounters, ...]:
    """What moves; a queue that does not exist (noqueue) has nothing that could."""
    rows = [(row, False) for row in qdiscs if row.kind != "noqueue"] + [(row, True) for row in classes]
    return tuple(
        TcCounters(
            ifindex=row.ifindex, kind=row.kind, handle=row.handle, parent=row.parent, of_class=of_class, stats=row.stats
        )
        for row, of_class in rows
    )


def collect(source: Source, options: Options) -> Collected:
    """Everything, and unless ``options.interval`` is 0 the statistics once more."""
    reading = Reading(source)
    started = source.clock("boottime")
    qdiscs = reading.qdiscs()
    classes, filters = reading.classes(qdiscs), reading.filters(qdiscs)
    seconds = None
    second: tuple[TcCounters, ...] = ()
    if options.interval > 0:
        source.wait(options.interval)
        seconds = source.clock("boottime") - started
        again = reading.qdiscs()
        second = counters_of(again, reading.classes(again))
    table = Tc(qdiscs=tuple(qdiscs), classes=tuple(classes), filters=tuple(filters), seconds=seconds, second=second)
    status, detail = verdict_of(reading.results, reading.malformed)
    if reading.left_out:
        status, detail = "partial", f"{reading.left_out} interfaces or filter places beyond {PLACES} were not asked"
    return Collected(
        tables={"qdiscs": table}, rows=len(qdiscs) + len(classes) + len(filters), status=status, detail=detail
    )
