"""Read one table as netdiag's collector does, in this namespace, and print what it cost: the bench's own subject.

    python -m tests.bench.read routes            the collector, alone, in this process
    python -m tests.bench.read --nothing routes  the same imports and no reading: what has to be taken off
    python -m tests.bench.read --lists bpf       programs, maps and links only, as ``bpftool prog``, ``map``, ``link``

Prints ``user= system= wall= rss_kib= rows=`` like floor.c; the costs are those between import and end.
"""

import gc
import importlib
import resource
import sys
import time

from netdiag.collectors import Options
from netdiag.sources.live import LiveSource


def main(arguments: list[str]) -> None:
    """Collect the table named last; with ``--nothing`` only get ready to."""
    collector = importlib.import_module(f"netdiag.collectors.{arguments[-1]}")
    gc.disable()  # as in a collector's child
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    rows = 0
    if arguments[-2:] == ["--lists", "sockets"]:
        rows = len(collector.Reader(LiveSource()).everything())
    elif "--lists" in arguments:
        rows = sum(len(LiveSource().fetch("bpf", key)) for key in ("programs", "maps", "links"))
    elif "--nothing" not in arguments:
        rows = collector.collect(LiveSource(), Options(interval=0)).rows
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"user={after.ru_utime - before.ru_utime:.3f} system={after.ru_stime - before.ru_stime:.3f} wall={wall:.3f} "
        f"rss_kib={after.ru_maxrss} rows={rows}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
