"""What it checks
  Packets dropped between two looks because a CPU's input queue was full: the second column of
  /proc/net/softnet_stat, without those that the flow limit took. The file is the whole machine's; the interface that
  lost the packet counts it as rx_dropped, and a veth that sent it as tx_dropped: whose loss it is, is read there.

Why it matters
  What is received over veth, tap, loopback, tunnels and RPS passes a queue of net.core.netdev_max_backlog packets for
  each CPU. When it is full the packet is gone. Nothing but rx_dropped counts it, among unknown protocols and STP, which
  people learn to overlook, while TCP retransmits and datagrams are missing.

Confirm
  cat /proc/net/softnet_stat, twice: the second column, hexadecimal, grows; the 13th is the CPU's number
  ip -s link, twice: "dropped" of the interface grows as well
  sysctl net.core.netdev_max_backlog net.core.netdev_budget

Fix
  sysctl -w net.core.netdev_max_backlog=10000 (the default is 1000): room for bursts, for the whole machine, at once; it
  costs at most some megabytes a CPU. Where one CPU alone drops, spread the work: RPS
  (/sys/class/net/IFNAME/queues/rx-N/rps_cpus), more queues, or irqbalance.

Not flagged
  Drops of the past: only what came between the looks counts. Drops by the flow limit: see flow-limit-drops. CPUs that
  came or went meanwhile: rows are joined by the CPU's number, never by their position. time_squeeze, which loses
  nothing. With --interval 0 this is not evaluated.

References
  net/core/dev.c enqueue_to_backlog(), skb_flow_limit(); net/core/net-procfs.c softnet_seq_show();
  Documentation/admin-guide/sysctl/net.rst netdev_max_backlog
"""

from collections.abc import Iterator

from netdiag.index.view import Deltas, HostView
from netdiag.model.counters import SoftnetCpu
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Stats64
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.softnet import moves

RULE = Rule(
    id="softnet-backlog-drop",
    title="packets are dropped because a CPU's input queue is full",
    severity="critical",
    reads=("deltas", "sysctls"),
    explains=("tcp-retrans-high",),
)

SHARE = 0.001
"""Part of the processed packets from which on it is critical; below, or with less than MANY a second, a warning."""
MANY = 10.0


def check(view: HostView) -> Iterator[Draft]:
    moved = moves(view.deltas)
    lost = {cpu: move.dropped - move.flow_limited for cpu, move in moved.items() if move.dropped > move.flow_limited}
    if not lost:
        return
    total, processed = sum(lost.values()), sum(moved[cpu].processed for cpu in lost)
    dropped_at = _dropped_at(view.deltas)
    elsewhere = dropped_at == [] and view.sysctl("net.core.netdev_max_backlog") is None
    heavy = total >= SHARE * processed and total >= MANY * view.deltas.seconds
    limit = view.sysctl("net.core.netdev_max_backlog")
    cpus = ", ".join(str(cpu) for cpu in sorted(lost))
    yield RULE.found(
        subject=subject("host"),
        severity="critical" if heavy else "warning",
        confidence="possible" if elsewhere else "certain",
        message=f"{total} packets were dropped in {view.deltas.seconds:.1f} s because the input queue of CPU {cpus} "
        f"was full (netdev_max_backlog){': in another network namespace of this machine' if elsewhere else ''}",
        evidence=[
            ("dropped between two looks", total, "/proc/net/softnet_stat column 2"),
            ("processed by those CPUs meanwhile", processed, "/proc/net/softnet_stat column 1"),
            *(("dropped meanwhile", moved, f"RTM_GETLINK {name} IFLA_STATS64") for name, moved in dropped_at or ()),
            *([("queue of each CPU", limit, "/proc/sys/net/core/netdev_max_backlog")] if limit else []),
        ],
        confirm=["cat /proc/net/softnet_stat"],
        fix="sysctl -w net.core.netdev_max_backlog=10000  # in the initial namespace; if one CPU "
        "alone drops, spread its work (RPS)",
    )


def _dropped_at(deltas: Deltas) -> list[tuple[str, int]] | None:
    """Interfaces of this namespace whose rx_dropped or tx_dropped grew, by how much; the worst first, at most three.

    None: no interface stands in both samples.
    """
    before = {(row.ifindex, row.ifname): row.stats for row in deltas.first.links}
    grown = {
        row.ifname: max(0, row.stats.rx_dropped - was.rx_dropped) + max(0, row.stats.tx_dropped - was.tx_dropped)
        for row in deltas.second.links
        if (was := before.get((row.ifindex, row.ifname))) is not None
    }
    if not grown:
        return None
    return sorted(((name, by) for name, by in grown.items() if by), key=lambda each: (-each[1], each[0]))[:3]


def _host(
    before: dict[int, tuple[int, int, int]],
    after: dict[int, tuple[int, int, int]],
    at: Stats64 | None = None,
    was: Stats64 = Stats64(),  # noqa: B008
) -> HostBuilder:
    """CPU to processed, dropped, flow limit; `at`: eth0 in the second sample, `was`: in the first."""
    host = HostBuilder().link("eth0")
    links = [(host.link_counters("eth0", stats=stats),) for stats in (was, at)] if at else []
    samples = [
        {
            "softnet": tuple(
                SoftnetCpu(cpu=cpu, processed=p, dropped=d, time_squeeze=9, flow_limit_count=f)
                for cpu, (p, d, f) in rows.items()
            ),
            "links": links[which] if links else (),
        }
        for which, rows in enumerate((before, after))
    ]
    return host.counters(before=samples[0], after=samples[1])


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    yield _case(
        "queue overflows",
        "the plain fault",
        _host({0: (1000, 5, 0), 1: (10, 0, 0)}, {0: (9000, 105, 0), 1: (20, 0, 0)}),
        1,
        severity="critical",
        subject=subject("host"),
        says=("100 packets", "CPU 0"),
    )
    yield _case("a few", "lost, but few", _host({0: (0, 0, 0)}, {0: (9000, 9, 0)}), 1, severity="warning")
    yield _case("ten", "from here on it is many", _host({0: (0, 0, 0)}, {0: (10000, 10, 0)}), 1, severity="critical")
    yield _case("many of very many", "a small part", _host({0: (0, 0, 0)}, {0: (90000, 12, 0)}), 1, severity="warning")
    flood = {0: (1000, 5, 0)}, {0: (9000, 105, 0)}
    for name, why, at in (
        ("received here", "the veth on which they came counts them", Stats64(rx_dropped=100)),
        ("sent from here", "veth: the sender's end counts what the other end could not queue", Stats64(tx_dropped=3)),
    ):
        yield _case(name, why, _host(*flood, at), 1, severity="critical", confidence="certain", says=("eth0",))
    yield _case(
        "a neighbour's flood",
        "the file is the whole machine's, and nothing was dropped on this namespace's interfaces",
        _host(*flood, Stats64(rx_packets=9)),
        1,
        severity="info",
        says=("another network namespace",),
    )
    for name, before in (("rx", Stats64(rx_dropped=7)), ("tx", Stats64(tx_dropped=7))):
        yield _case(
            f"{name} went back",
            "eth0 counts anew",
            _host(*flood, Stats64(), before),
            1,
            severity="info",
            says=("another",),
        )
    yield _case(
        "the initial namespace",
        "it has the setting: the machine loses packets, wherever",
        _host(*flood, Stats64(rx_packets=9)).sysctl("net.core.netdev_max_backlog", 1000),
        1,
        severity="critical",
    )
    yield _case("the past", "what was lost last week is over", _host({0: (9, 7000, 0)}, {0: (99, 7000, 0)}))
    yield _case("flow limit", "dropped and counted by both columns", _host({0: (9, 0, 0)}, {0: (99, 50, 50)}))
    yield _case("flow limit and queue", "both", _host({0: (9, 0, 0)}, {0: (99, 51, 50)}), 1, says=("1 packets",))
    yield _case(
        "a CPU came online",
        "the row of CPU 1 moved down by one: joined by number nothing was lost",
        _host({0: (9, 0, 0), 2: (9, 700, 0)}, {0: (9, 0, 0), 1: (0, 0, 0), 2: (9, 700, 0)}),
    )
    yield _case("counters went back", "the CPU was offline in between", _host({0: (900, 70, 0)}, {0: (9, 1, 0)}))
    yield _case(
        "a new CPU", "its count from before is not known", _host({0: (9, 0, 0)}, {0: (9, 0, 0), 1: (9, 700, 0)})
    )
