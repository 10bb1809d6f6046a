"""Connection tracking of this namespace: how full, what it counted, and its entries as columns.

Source: /proc/sys/net/netfilter, /proc/net/stat/nf_conntrack (net/netfilter/nf_conntrack_standalone.c), twice for the
counters; a dump of ctnetlink for the entries, which needs CAP_NET_ADMIN. Absent where nf_conntrack is not loaded; the
entries are asked for only where nf_conntrack_netlink is there already, because asking would load it. Partial where the
entries could not be read, or were more than netdiag keeps.
"""

from netdiag.collectors import Collected, Options
from netdiag.collectors.nft import has_module
from netdiag.model.conntrack import Conntrack, ConntrackState
from netdiag.model.coverage import Status
from netdiag.sources.netlink import conntrack
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


def _entries(source: Source) -> tuple[Conntrack, tuple[str, ...], Status, str]:
    if not has_module(source, "nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK"):
        return Conntrack.empty(), (), "partial", "entries: nf_conntrack_netlink is not loaded"
    sink = conntrack.ConntrackColumns()
    try:
        source.dump(conntrack.request(), sink)
    except Unreadable as trouble:
        return Conntrack.empty(), (), "partial", f"entries: {trouble.why}: {trouble.detail}"
    table = sink.finish()
    if sink.malformed:
        return table, tuple(sink.helpers), "partial", f"{sink.malformed} entries could not be decoded"
    detail = f"more than {conntrack.LIMIT} entries" if sink.more else ""
    return table, tuple(sink.helpers), "partial" if sink.more else "ok", detail


def collect(source: Source, options: Options) -> Collected:
    """Settings and counters, entries, and unless ``options.interval`` is 0 the counters once more."""
    settings = read_settings(source)
    at, first = source.clock("boottime"), _statistics(source)
    table, helpers, status, detail = _entries(source)
    try:
        waiting = source.read("/proc/self/net/nf_conntrack_expect").count(b"\n")
    except Unreadable:
        waiting = 0
    second_at, second = None, {}
    if options.interval > 0:
        source.wait(options.interval)
        second_at, second = source.clock("boottime"), _statistics(source)
    state = ConntrackState(
        count=settings.pop("count"),
        max=settings.pop("max", 0),
        buckets=settings.pop("buckets", 0),
        expectations=waiting,
        helpers=helpers,
        settings=settings,
        at=at,
        second_at=second_at,
        first=first,
        second=second,
    )
    return Collected(
        tables={"conntrack": table, "conntrack_state": state}, rows=len(table), status=status, detail=detail
    )
