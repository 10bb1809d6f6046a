"""What it checks
  At least 256 neighbour entries of one interface wait for an answer or got none within the last half minute, some of
  them wait at this very moment, and it goes on while netdiag looks: the kernel made new entries, or gave up others
  (who sends to the same addresses again and again needs no new ones).

Why it matters
  Somebody sends to address after address of a subnet in which nobody has them: a scan that comes in from outside and
  is forwarded into an empty subnet, or a program here that tries them all. Each costs three broadcasts and an entry;
  when the table (gc_thresh3, one for the whole kernel) is full, neighbours that do exist cannot be resolved either.

Confirm
  ip -4 -s neigh show dev IFNAME nud incomplete | wc -l
  ip -s ntable show name arp_cache      (allocs or res_failed moves)
  tcpdump -ni IFNAME arp

Fix
  Find the sender (tcpdump on the other interfaces, by destination), and stop or filter it. Where the subnet is large
  and few addresses of it are in use: an unreachable route for the unused part (ip route add unreachable PREFIX) answers
  at once and makes no entries. Entries that are there go by themselves.

Not flagged
  Less than 256: a sweep of a /24 by a monitor or a scanner of the owner. Entries that failed longer ago. The five
  minutes after boot, when everybody looks for everybody: an info.

References
  net/core/neighbour.c __neigh_event_send(), neigh_timer_handler(); RFC 6583
"""

from collections.abc import Iterator

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY, NUD_FAILED, NUD_INCOMPLETE, Neighbour
from netdiag.model.sysctl import NeighTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="neigh-incomplete-storm",
    title="somebody asks for one absent neighbour after another",
    severity="warning",
    confidence="likely",
    reads=("links", "neighbours", "deltas"),
    explains=("neigh-gc-thresh-overflow",),
)
MANY = 256
"""Absent neighbours of one interface: more than a /24 has."""
SOME = 32
"""Of these, how many wait still."""
RECENT = 30.0
"""Seconds since the kernel gave one up."""
MORE = 16
"""Entries that the kernel made or gave up between the looks: the sender goes on."""
YOUNG = 300.0
"""Seconds since boot in which a host looks for its neighbours."""
TABLES = {"inet": "arp_cache", "inet6": "ndisc_cache"}


def check(view: HostView) -> Iterator[Draft]:
    table = view.neighbours
    for family, number in (("inet", 2), ("inet6", 10)):
        if max(_moved(view, family, "allocs"), _moved(view, family, "res_failed")) < MORE:
            continue
        asked = (table.family == number) & (table.flags & NTF_PROXY == 0)
        waiting = asked & (table.state == NUD_INCOMPLETE)
        failed = asked & (table.state == NUD_FAILED) & (np.nan_to_num(table.updated, nan=1e9) <= RECENT)
        for index in distinct(table.ifindex[waiting]).tolist():
            here = table.ifindex == index
            now, lately = int(np.count_nonzero(waiting & here)), int(np.count_nonzero(failed & here))
            link = view.link(index)
            if link is not None and now + lately >= MANY and now >= SOME:
                example = table.row(int(np.flatnonzero(waiting & here)[0]))
                yield _draft(view, link, now, lately, example)


def _moved(view: HostView, family: str, counter: str) -> int:
    """How far a counter of the table went between the looks; of the whole machine."""
    looks = (view.deltas.first, view.deltas.second)
    before, after = (
        next((getattr(row, counter) for row in look.neigh_tables if row.name == TABLES[family]), None) for look in looks
    )
    return max(0, after - before) if before is not None and after is not None else 0


def _draft(view: HostView, link: Link, now: int, lately: int, example: Neighbour) -> Draft:
    family = example.family
    version, name = "-4" if family == "inet" else "-6", TABLES[family]
    young = view.meta.uptime is not None and view.meta.uptime < YOUNG
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{now} neighbours on {link.ifname} are being asked for and {lately} did not answer a moment ago"
        f" ({example.dst} and the like): somebody sends to addresses that nobody has",
        severity="info" if young else "warning",
        evidence=[
            (f"incomplete neighbours on {link.ifname}", now, "RTM_GETNEIGH NDA_STATE"),
            (f"failed in the last {RECENT:.0f} s", lately, "RTM_GETNEIGH NDA_CACHEINFO"),
            ("entries made between the looks", _moved(view, family, "allocs"), f"RTM_GETNEIGHTBL {name} NDTA_STATS"),
            ("entries given up between the looks", _moved(view, family, "res_failed"), f"{name} ndts_res_failed"),
        ],
        confirm=[
            f"ip {version} -s neigh show dev {quoted(link.ifname)} nud incomplete | head",
            f"ip -s ntable show name {name}",
        ],
        fix=f"tcpdump -c 20 -ni {quoted(link.ifname)} {'arp' if family == 'inet' else 'icmp6'}"
        "  # who is asked for; then find who sends there",
        touches=[subject("host")],
        breaks=[subject("host")],
    )


def _host(
    waiting: int, failed: int = 0, *, age: float = 5.0, made: int = 16, gave_up: int = 0, dev: str = "eth0"
) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/16").link("eth1")
    for number in range(waiting + failed):
        state = "incomplete" if number < waiting else "failed"
        at = dev if number % 2 else "eth0"
        host.neighbour(f"10.0.{number // 250}.{number % 250 + 2}", dev=at, state=state, updated=age)
    tables = [({"neigh_tables": (_table(50 + new, 70 + lost),)}) for new, lost in ((0, 0), (made, gave_up))]
    return host.counters(before=tables[0], after=tables[1])


def _table(allocs: int, res_failed: int | None = None) -> NeighTable:
    return NeighTable(name="arp_cache", family="inet", allocs=allocs, res_failed=res_failed)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity="warning" if fires else None)

    yield case("storm", "the plain fault", _host(256), 1)
    yield case("a /24", "the owner's own sweep", _host(255))
    yield case("half of them given up", "the sender is slower than the kernel", _host(128, 128), 1)
    yield case("most given up", "the sender's buffer is full until they are", _host(32, 224), 1)
    yield case("nearly all given up", "it is over", _host(31, 225))
    yield case("given up long ago", "an old sweep", _host(128, 200, age=31.0))
    yield case("given up just now", "the sender goes on", _host(128, 128, age=30.0), 1)
    yield case("few new ones", "the sender has ended", _host(256, made=15))
    yield case("the same ones again", "entries that failed wait anew", _host(256, made=0, gave_up=16), 1)
    yield case("few given up again", "the sender has ended", _host(256, made=0, gave_up=15))
    yield case("counter set back", "another machine", _host(256, made=-3))
    yield case("over two interfaces", "each has its own subnet", _host(400, dev="eth1"))
    for name, before, after in (
        ("before", {}, {"neigh_tables": (_table(99),)}),
        ("after", {"neigh_tables": (_table(9),)}, {}),
    ):
        untold = _host(256).counters(before=before, after=after)
        yield case(f"entries not counted {name}", "nobody knows whether it goes on", untold)
    six = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64")
    for number in range(256):
        six.neighbour(f"2001:db8::{number + 2:x}", dev="eth0", state="incomplete", updated=5.0)
    first, last = (NeighTable(name="ndisc_cache", family="inet6", allocs=allocs) for allocs in (50, 66))
    six.counters(before={"neigh_tables": (first,)}, after={"neigh_tables": (last,)})
    yield case("IPv6", "a scan of a /64", six, 1)
