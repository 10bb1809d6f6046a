"""Connection tracking of this namespace: its limits and settings, how full it is, and what it counted, twice.

Source: /proc/sys/net/netfilter, /proc/net/stat/nf_conntrack and nf_conntrack_expect (net/netfilter/
nf_conntrack_standalone.c). Needs no privilege. Absent where nf_conntrack is not loaded; nothing here loads it.
"""

from netdiag.collectors import Collected, Options
from netdiag.model.conntrack import ConntrackState
from netdiag.sources.protocol import Source, Unreadable

SETTINGS = "/proc/sys/net/netfilter"
PREFIX = "nf_conntrack_"
STATISTICS = "/proc/self/net/stat/nf_conntrack"


def parse_statistics(text: str) -> dict[str, int]:
    """/proc/net/stat/nf_conntrack: a line of names, then a line of hexadecimal numbers for each CPU; the sums."""
    lines = [line.split() for line in text.splitlines()]
    names = lines[0] if lines else []
    sums = dict.fromkeys(names, 0)
    for row in lines[1:]:
        for name, word in zip(names, row, strict=False):
            sums[name] += int(word, 16)
    sums.pop("entries", None)  # the same number on every line, and no counter
    return sums


def _statistics(source: Source) -> dict[str, int]:
    try:
        return parse_statistics(source.read(STATISTICS).decode("ascii", "replace"))
    except (Unreadable, ValueError):
        return {}


def read_settings(source: Source) -> dict[str, int]:
    """net.netfilter.nf_conntrack_* that are one number. Raises Unreadable where there are none."""
    names = [name for name in source.listdir(SETTINGS) if name.startswith(PREFIX)]
    found: dict[str, int] = {}
    for path, raw in source.read_many([f"{SETTINGS}/{name}" for name in names]).items():
        word = raw.decode("ascii", "replace").strip()
        if word.isdigit():
            found[path.rpartition(PREFIX)[2]] = int(word)
    if "count" not in found:
        raise Unreadable("absent", "nf_conntrack is not loaded")
    return found


def collect(source: Source, options: Options) -> Collected:
    """Settings and counters, and unless ``options.interval`` is 0 the counters once more."""
    settings = read_settings(source)
    at, first = source.clock("boottime"), _statistics(source)
    try:
        waiting = source.read("/proc/self/net/nf_conntrack_expect").count(b"\n")
    except Unreadable:
        waiting = 0
    second_at: float | None = None
    second: dict[str, int] = {}
    if options.interval > 0:
        source.wait(options.interval)
        second_at, second = source.clock("boottime"), _statistics(source)
    state = ConntrackState(
        count=settings.pop("count"),
        max=settings.pop("max", 0),
        buckets=settings.pop("buckets", 0),
        expectations=waiting,
        settings=settings,
        at=at,
        second_at=second_at,
        first=first,
        second=second,
    )
    return Collected(tables={"conntrack_state": state}, rows=1)
