"""What it checks
  The kernel's table of ARP or ND neighbours is full: it refused an entry while netdiag looked, or the entries of this
  namespace that count towards the limit (gc_thresh3) come to nine tenths of it. There is one table a family for the
  whole kernel, shared by all namespaces and containers.

Why it matters
  For an address without an entry no packet can be sent: the kernel logs "neighbour: arp_cache: neighbor table
  overflow!", senders get ENOBUFS, forwarded packets are dropped, while addresses that already have an entry go on
  working. Hosts with many guests, peers on one large segment or busy scanners meet it first. Between gc_thresh2 and
  gc_thresh3 the kernel throws out what has not changed for five seconds, and has to resolve it anew.

Confirm
  ip -4 neigh show nud all | wc -l, in each namespace (ip -6 for ND)
  ip ntable show name arp_cache (ndisc_cache for ND)
  dmesg | grep "table overflow"

Fix
  sysctl -w net.ipv4.neigh.default.gc_thresh3=4096 net.ipv4.neigh.default.gc_thresh2=2048, in the initial namespace:
  the settings do not exist in others (net.ipv6... for ND). It takes effect at once and costs about 0.5 KiB of kernel
  memory an entry. And see who makes so many neighbours: a segment that is too large, or a scan.

Not flagged
  Entries that do not count: PERMANENT ones and those marked extern_learn. A table that is full of entries which the
  kernel throws out whenever it needs room: FAILED, NOARP. (NOARP entries, multicast addresses among them, do
  count, whatever is said about them; but they never stand in the way.) The kernel's total of entries alone: it has
  PERMANENT ones in it, of all namespaces, and is above gc_thresh3 on healthy hosts. An overflow in the past.

References
  net/core/neighbour.c neigh_alloc() neigh_forced_gc() neigh_update_gc_list() neightbl_fill_info(),
  Documentation/networking/ip-sysctl.rst neigh/default/gc_thresh3
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.neighbour import (
    NTF_EXT_LEARNED,
    NTF_OFFLOADED,
    NTF_PROXY,
    NTF_ROUTER,
    NUD_DELAY,
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
)
from netdiag.model.sysctl import NeighTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="neigh-gc-thresh-overflow",
    title="the kernel's neighbour table is full",
    severity="critical",
    reads=("links", "neighbours", "neigh_tables", "counters"),
    explains=("neigh-incomplete-storm", "neigh-gateway-failed"),
)

NEAR = 0.9
"""Share of gc_thresh3 from which on the table counts as nearly full."""
SETTLED = 5.0
"""Seconds without change after which forced collection may take an entry (neigh_forced_gc())."""
TIMED = NUD_INCOMPLETE | NUD_REACHABLE | NUD_DELAY | NUD_PROBE
"""States with a timer running, which holds the entry (NUD_IN_TIMER of include/net/neighbour.h)."""
FAMILIES = {"inet": 2, "inet6": 10}


@dataclass(frozen=True, kw_only=True)
class Fill:
    """How full one family's table is, as far as this namespace shows."""

    counted: int
    """Entries here that count and are not thrown out at once."""
    held: int
    """Those of them that forced collection must leave alone."""
    ifname: str | None
    """The interface with most of them."""
    on_it: int


def fill(view: HostView, family: str) -> Fill:
    """Count this namespace's entries of one family."""
    rows = view.neighbours
    mine = (rows.family == FAMILIES[family]) & (rows.flags & (NTF_PROXY | NTF_EXT_LEARNED) == 0)
    counted = mine & (rows.state & (NUD_PERMANENT | NUD_NOARP | NUD_FAILED) == 0)
    held = counted & ((rows.state & TIMED != 0) | (rows.updated < SETTLED))
    indexes, sizes = np.unique(rows.ifindex[counted], return_counts=True)
    most = int(np.argmax(sizes)) if len(sizes) else None
    return Fill(
        counted=size(counted),
        held=size(held),
        ifname=None if most is None else view.ifname(int(indexes[most])),
        on_it=0 if most is None else int(sizes[most]),
    )


def size(mask: npt.NDArray[np.bool_]) -> int:
    """How many are true."""
    return int(np.count_nonzero(mask))


def refused(view: HostView, name: str) -> int:
    """How many entries the kernel refused between the two samples; 0 where that cannot be told."""
    before, after = ({t.name: t.table_fulls for t in sample.neigh_tables} for sample in (view.counters, view.latest))
    first, second = before.get(name), after.get(name)
    return 0 if first is None or second is None else max(0, second - first)


def judged(table: NeighTable, found: Fill, lost: int) -> tuple[Severity, Confidence, str] | None:
    """How bad, how sure, and the message; None where all is well."""
    asked = "ARP" if table.family == "inet" else "ND"
    limit = f" of {table.thresh3}" if table.thresh3 else ""
    if lost:
        times = f"{lost} new entr{'y' if lost == 1 else 'ies'}"
        return "critical", "certain", f"the kernel's {asked} table is full: it refused {times} while netdiag looked"
    if not table.thresh3 or found.counted < NEAR * table.thresh3:
        return None
    where = f", {found.on_it} of them on {found.ifname}" if found.ifname else ""
    text = f"{found.counted}{limit} entries of the kernel's {asked} table are taken by this namespace{where}"
    if found.held >= NEAR * table.thresh3:
        return "critical", "likely", f"{text}, and the kernel can throw none of them out to make room"
    return "warning", "certain", f"{text}; the next ones push out what is in use"


def check(view: HostView) -> Iterator[Draft]:
    for table in view.neigh_tables:
        found = fill(view, table.family)
        lost = refused(view, table.name)
        judgement = judged(table, found, lost)
        if judgement is None:
            continue
        severity, confidence, message = judgement
        version = "ipv4" if table.family == "inet" else "ipv6"
        prefix = f"net.{version}.neigh.default.gc_thresh"
        room = max(4 * (table.thresh3 or 1024), 4096)
        source = f"RTM_GETNEIGHTBL {table.name}"
        interface = [subject("link", ifname=found.ifname)] if found.ifname else []
        yield RULE.found(
            subject=subject("sysctl", name=f"{prefix}3"),
            severity=severity,
            confidence=confidence,
            message=message,
            evidence=[
                ("refused between the samples", lost, f"{source} NDTA_STATS ndts_table_fulls"),
                ("gc_thresh3", table.thresh3, f"{source} NDTA_THRESH3"),
                ("entries of this namespace that count", found.counted, "RTM_GETNEIGH NDA_CACHEINFO"),
            ],
            confirm=[
                f"ip -{version[-1]} neigh show nud all{f' dev {quoted(found.ifname)}' if found.ifname else ''} | wc -l",
                f"ip ntable show name {table.name} | head -n 2",
            ],
            fix=f"sysctl -w {prefix}3={room} {prefix}2={room // 2}  # in the initial namespace",
            touches=[*interface, subject("host")],
            breaks=interface,
        )


def examples() -> Iterator[Example]:
    yield from refused_examples()
    yield from count_examples()


ABOUT = subject("sysctl", name="net.ipv4.neigh.default.gc_thresh3")
LIMIT = 20


def filled(count: int, **fields: object) -> HostBuilder:
    """A host with so many neighbours, in a kernel whose limit is 20."""
    entry = {"state": "reachable", "updated": 60.0} | fields
    built = HostBuilder().link("eth0").link("eth1").neigh_table(entries=count, thresh2=10, thresh3=LIMIT, table_fulls=7)
    for number in range(count):
        built.neighbour(f"192.0.2.{number + 1}", dev="eth0", **entry)  # type: ignore[arg-type]
    return built


def samples(before: int | None, after: int | None, **fields: object) -> HostBuilder:
    """The same with two samples of the counter of refused entries."""

    def sample(fulls: int | None) -> dict[str, object]:
        return {"neigh_tables": (NeighTable(name="arp_cache", family="inet", table_fulls=fulls),)}

    return filled(3, **fields).counters(before=sample(before), after=sample(after))


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def fires(name: str, why: str, built: HostBuilder, severity: Severity, confidence: Confidence) -> Example:
    return Example(
        name=name, why=why, tables=built.build(), fires=1, subject=ABOUT, severity=severity, confidence=confidence
    )


def refused_examples() -> Iterator[Example]:
    yield fires(
        "one entry refused", "another namespace may have filled the table", samples(7, 8), "critical", "certain"
    )
    yield silence("overflow in the past", "the counter stands still", samples(7, 7))
    yield silence("counter went back", "another kernel, or a reset", samples(7, 6))
    yield silence("counter not told", "that proves nothing", samples(None, 8))
    yield silence("counter no longer told", "nor does that", samples(7, None))
    nd = HostBuilder().neigh_table(name="ndisc_cache", family="inet6", thresh3=LIMIT)

    def sample(fulls: int) -> dict[str, object]:
        return {"neigh_tables": (NeighTable(name="ndisc_cache", family="inet6", table_fulls=fulls),)}

    yield Example(
        name="IPv6",
        why="ND has a table of its own",
        tables=nd.counters(before=sample(0), after=sample(1)).build(),
        fires=1,
        subject=subject("sysctl", name="net.ipv6.neigh.default.gc_thresh3"),
        severity="critical",
    )


def count_examples() -> Iterator[Example]:
    yield fires("nearly full of live entries", "nine tenths, and nothing can go", filled(18), "critical", "likely")
    yield silence("one less", "below nine tenths", filled(17))
    stale = filled(18, state="stale")
    yield fires("nearly full of old entries", "they make room, and are missed", stale, "warning", "certain")
    young = filled(18, state="stale", updated=4.9)
    yield fires("old state, changed just now", "collection leaves them for five seconds", young, "critical", "likely")
    aged = filled(18, state="stale", updated=5.0)
    yield fires("changed five seconds ago", "collection may take them", aged, "warning", "certain")
    mixed = filled(18, state="stale")
    for number in range(18):
        mixed.neighbour(f"198.51.100.{number + 1}", dev="eth1", state="permanent", updated=1.0)
    yield fires(
        "old entries beside new ones that do not count", "only the old are in the way", mixed, "warning", "certain"
    )
    marked = filled(18, flags=NTF_ROUTER | NTF_OFFLOADED)
    yield fires("other flags", "only extern_learn and proxy entries do not count", marked, "critical", "likely")
    for state in ("incomplete", "delay", "probe"):
        yield fires(state, "a timer holds the entry", filled(18, state=state), "critical", "likely")
    yield silence("permanent", "not counted by the kernel", filled(30, state="permanent"))
    yield silence("learnt elsewhere", "not counted by the kernel", filled(30, flags=NTF_EXT_LEARNED))
    yield silence("proxy entries", "another table", filled(30, flags=NTF_PROXY))
    yield silence("noarp", "thrown out whenever room is needed", filled(30, state="noarp"))
    yield silence("failed", "thrown out whenever room is needed", filled(30, state="failed"))
    total = HostBuilder().neigh_table(entries=50000, thresh3=LIMIT)
    yield silence("a great total", "another namespace has permanent entries", total)
    unlimited = HostBuilder().link("eth0").neigh_table(thresh3=None).neighbour("192.0.2.1", dev="eth0")
    yield silence("limit not told", "nothing to compare with", unlimited)
    other = filled(9).link("eth2")
    for number in range(9):
        other.neighbour(f"2001:db8::{number + 1}", dev="eth2")
    six = HostBuilder().link("eth0").neigh_table(name="ndisc_cache", family="inet6", thresh3=LIMIT)
    for number in range(18):
        six.neighbour(f"2001:db8::{number + 1}", dev="eth0")
    says = ("18 of 20 entries of the kernel's ND table", "18 of them on eth0")
    about = subject("sysctl", name="net.ipv6.neigh.default.gc_thresh3")
    yield Example(name="IPv6 full", why="counted by itself", tables=six.build(), fires=1, subject=about, says=says)
    yield silence("half of it IPv6", "each family has its own table", other)
