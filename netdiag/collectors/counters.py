"""Protocol, backlog and link counters, twice: what moved in between is what rules may judge.

Source: /proc/net/{snmp,snmp6,netstat,softnet_stat,sockstat,sockstat6,stat/rt_cache,rt6_stats} (net/ipv4/proc.c,
net/ipv6/proc.c, net/ipv4/route.c, net/ipv6/route.c, net/core/net-procfs.c), RTM_GETLINK statistics and
RTM_GETNEIGHTBL. Needs no privilege. A file that is missing (no IPv6) leaves its counters out; unreadable as a whole
only where /proc/net/snmp is.
"""

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.collectors.neigh_tables import read_neigh_tables
from netdiag.model.counters import Counters, CounterSample, SoftnetCpu
from netdiag.model.link import LinkCounters
from netdiag.sources.protocol import Source, Unreadable

FILES = ("snmp", "snmp6", "netstat", "softnet_stat", "sockstat", "sockstat6")
ROUTING = "/proc/self/net/stat/rt_cache"
ROUTING6 = "/proc/self/net/rt6_stats"


def parse_paired(text: str) -> dict[str, int]:
    """/proc/net/snmp and netstat: a line of names, then a line of values, each begun by the MIB's name."""
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        mib, _, rest = names.partition(":")
        other, _, numbers = values.partition(":")
        if mib != other:
            continue  # the two lines do not belong together: leave both out rather than mix them
        for name, number in zip(rest.split(), numbers.split(), strict=False):
            if number.lstrip("-").isdigit():
                counters[f"{mib}.{name}"] = int(number)
    return counters


def parse_plain(text: str) -> dict[str, int]:
    """/proc/net/snmp6: a name and a value a line."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_lnstat(name: str, text: str) -> dict[str, int]:
    """/proc/net/stat/rt_cache: a line of names, then a line of hexadecimal values a CPU; ``rt_cache.in_martian_src``.

    Whole machine, all namespaces together (net/ipv4/route.c rt_cpu_seq_show()).
    """
    heads, *lines = text.splitlines() or [""]
    counters: dict[str, int] = {}
    for line in lines:
        for column, word in zip(heads.split(), line.split(), strict=False):
            key = f"{name}.{column}"
            counters[key] = counters.get(key, 0) + int(word, 16)
    return {key: count for key, count in counters.items() if key == "rt_cache.in_martian_src"}


def parse_sockstat(text: str) -> dict[str, int]:
    """/proc/net/sockstat: ``TCP: inuse 5 orphan 0 ...`` becomes ``TCP.inuse``; ``mem`` is in pages."""
    counters: dict[str, int] = {}
    for line in text.splitlines():
        group, _, rest = line.partition(":")
        words = rest.split()
        for name, number in zip(words[::2], words[1::2], strict=False):
            if number.isdigit():
                counters[f"{group}.{name}"] = int(number)
    return counters


def parse_softnet(text: str) -> tuple[SoftnetCpu, ...]:
    """/proc/net/softnet_stat: hexadecimal columns, one line a CPU that is online (softnet_seq_show)."""
    rows = []
    for number, line in enumerate(text.splitlines()):
        columns = [int(word, 16) for word in line.split()]
        if len(columns) < 3:
            continue
        wide = columns + [0] * (13 - len(columns))
        rows.append(
            SoftnetCpu(
                # The CPU's number stands in the 13th column since Linux 5.14; before, offline CPUs shift the count.
                cpu=wide[12] if len(columns) > 12 else number,
                processed=wide[0],
                dropped=wide[1],
                time_squeeze=wide[2],
                received_rps=wide[9],
                flow_limit_count=wide[10],
                backlog=wide[11] if len(columns) > 11 else None,
            )
        )
    return tuple(rows)


def parse_rt6_stats(text: str) -> dict[str, int]:
    """/proc/net/rt6_stats: seven hexadecimal numbers; the sixth is how many routing entries there are, and no counter
    (net/ipv6/route.c rt6_stats_seq_show())."""
    words = text.split()
    try:
        return {"rt6_stats.dst_entries": int(words[5], 16)} if len(words) == 7 else {}
    except ValueError:
        return {}


def _text(source: Source, path: str) -> str:
    try:
        return source.read(path).decode("ascii", "replace")
    except Unreadable:
        return ""


def read_sample(source: Source, *, links_first: bool = False) -> CounterSample:
    """All counters now, those of the interfaces after the others or before them. Raises Unreadable where /proc/net/snmp
    cannot be read."""
    at = source.clock("boottime")
    early = read_links(source) if links_first else None
    found = source.read_many([f"/proc/self/net/{name}" for name in FILES])
    if "/proc/self/net/snmp" not in found:
        source.read("/proc/self/net/snmp")  # raises, with the reason
    texts = {path.rpartition("/")[2]: raw.decode("ascii", "replace") for path, raw in found.items()}
    links, _ = early or read_links(source)
    counters = tuple(
        LinkCounters(
            ifindex=link.ifindex,
            ifname=link.ifname,
            address=link.address,
            inet6_received=link.inet6_received,
            icmp6_sent=link.icmp6_sent,
            carrier_up_count=link.carrier_up_count,
            carrier_down_count=link.carrier_down_count,
            stats=link.stats,
        )
        for link in links
    )
    try:
        neigh_tables, _, _ = read_neigh_tables(source)
    except Unreadable:
        neigh_tables = ()
    return CounterSample(
        at=at,
        snmp=parse_paired(texts.get("snmp", ""))
        | parse_paired(texts.get("netstat", ""))
        | parse_plain(texts.get("snmp6", ""))
        | parse_lnstat("rt_cache", _text(source, ROUTING))
        | parse_rt6_stats(_text(source, ROUTING6)),
        softnet=parse_softnet(texts.get("softnet_stat", "")),
        sockstat=parse_sockstat(texts.get("sockstat", "")) | parse_sockstat(texts.get("sockstat6", "")),
        links=counters,
        neigh_tables=neigh_tables,
    )


def collect(source: Source, options: Options) -> Collected:
    """One sample, or two that are ``options.interval`` seconds apart.

    What the interfaces received is looked at first of all and last of all: whatever happened to a packet between the
    looks at the other counters, it is among those, however long a busy host takes for one look.
    """
    first = read_sample(source, links_first=True)
    second = None
    if options.interval > 0:
        source.wait(options.interval)
        second = read_sample(source)
    return Collected(tables={"counters": Counters(first=first, second=second)}, rows=len(first.snmp) + len(first.links))
