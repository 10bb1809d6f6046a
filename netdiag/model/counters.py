"""Counters, in one or two samples: what moves tells more than what has moved since boot.

From /proc/net/{snmp,snmp6,netstat,softnet_stat,sockstat,dev} (all relative to the reader's namespace) and the link
statistics of RTM_GETLINK. Totals are never judged: rules ask ``Deltas``.
"""

import msgspec

from netdiag.model.link import LinkCounters
from netdiag.model.sysctl import NeighTable


class SoftnetCpu(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/net/softnet_stat (net/core/net-procfs.c); counts since boot, of the whole machine."""

    cpu: int
    processed: int
    dropped: int
    time_squeeze: int
    received_rps: int = 0
    flow_limit_count: int = 0
    backlog: int | None = None


class CounterSample(msgspec.Struct, frozen=True, kw_only=True):
    """All counters at one moment."""

    at: float
    """Seconds of CLOCK_BOOTTIME, so that a step of the wall clock does not bend a rate."""
    snmp: dict[str, int] = {}
    """``Ip.InReceives``, ``Tcp.RetransSegs``, ``TcpExt.ListenDrops``, ``Ip6InReceives`` ...: MIB name, dot, counter;
    the IPv6 ones have no dot, as /proc/net/snmp6 spells them. ``rt_cache.in_martian_src`` counts for the whole machine:
    packets and ARP requests whose source was refused. ``rt6_stats.dst_entries`` is a level: IPv6 routing entries."""
    softnet: tuple[SoftnetCpu, ...] = ()
    sockstat: dict[str, int] = {}
    """``TCP.inuse``, ``TCP.mem`` (pages) ..."""
    links: tuple[LinkCounters, ...] = ()
    neigh_tables: tuple[NeighTable, ...] = ()


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """The first sample and, unless ``--interval 0``, a second one."""

    first: CounterSample
    second: CounterSample | None = None
