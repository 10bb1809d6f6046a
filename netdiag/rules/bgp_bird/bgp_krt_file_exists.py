"""What it checks
  BIRD wants a route in the kernel, and cannot put it there because a route of the same prefix, table and metric is
  there already, made by somebody else ("Netlink: File exists" in its log).

Why it matters
  The kernel refuses a second route with the same key. BIRD tries again at every scan and logs it; packets go where the
  foreign route leads, whatever BIRD decides.

Confirm
  ip route show PREFIX
  birdc show route export KERNEL
  journalctl -u bird -n 20

Fix
  ip route del PREFIX metric METRIC proto PROTOCOL of the foreign route, then birdc reload out KERNEL. Between the two
  the prefix has no route for a moment. To keep both, give one of them another metric.

Not flagged
  A foreign route of another metric: both stand, see bird-route-metric-loses-to-static. One that leads the same way as
  BIRD's. Connected routes. Prefixes that stand in as many other tables as there are kernel protocols for them. Prefixes
  that are not there at all: see bird-route-not-in-fib. Right after a restart BIRD may meet its own former routes: those
  are of proto bird.

References
  nl_add_rte() in sysdep/linux/netlink.c of BIRD; net/ipv4/fib_trie.c fib_table_insert() (EEXIST)
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute, RouteList
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTPROT_NAMES, Route
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.routewords import ip_command, way_words
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-krt-file-exists",
    title="a foreign route keeps BIRD's out of the kernel",
    severity="warning",
    confidence="likely",
    reads=("bird", "bird_routes", "links", "routes"),
)
BIRD, KERNEL = 12, 2
DEFAULT_METRIC = 32
LOOKED_AT = 64
"""Routes of a list by which its table is recognised."""


def metric_of(view: HostView, family: str) -> int:
    """The metric that BIRD's routes have here: the commonest one."""
    routes = view.routes(family)
    values, counts = np.unique(routes.priority[routes.protocol == BIRD], return_counts=True)
    return int(values[counts.argmax()]) if len(values) else DEFAULT_METRIC


def stands_in(view: HostView, family: str, table: int, net: str) -> bool:
    """Whether BIRD has a route of that very prefix in the table."""
    routes, length = view.routes(family), int(net.partition("/")[2])
    covering = view.fib(family).routes_covering(table, net).tolist()
    return any(int(routes.protocol[at]) == BIRD and int(routes.dst_len[at]) == length for at in covering)


def installed(view: HostView, row: Route) -> int:
    """In how many tables BIRD has a route of that prefix: its kernel protocols need not be for main."""
    return sum(stands_in(view, row.family, table, row.dst) for table in view.fib(row.family).tables())


def foreign(view: HostView, family: str) -> dict[str, list[Route]]:
    """Routes of others with BIRD's metric, in main and in tables that hold routes of BIRD, by prefix."""
    routes = view.routes(family)
    here = among(routes.table, [254, *distinct(routes.table[routes.protocol == BIRD]).tolist()])
    chosen = here & (routes.priority == metric_of(view, family)) & ~among(routes.protocol, (BIRD, KERNEL))
    found: dict[str, list[Route]] = {}
    for row in view.route_rows(family, np.flatnonzero(chosen)[:4096].tolist()) if chosen.any() else []:
        found.setdefault(row.dst, []).append(row)
    return found


def feeds(view: HostView, listed: RouteList, row: Route) -> bool:
    """Whether the route's table can be the one that a Kernel protocol feeds: as much of the list is there as in main.
    BIRD does not tell the table."""
    others = [
        one.net for one in (listed.routes or ())[:LOOKED_AT] if one.net != row.dst and family_of(one.net) == row.family
    ]
    counts = [sum(stands_in(view, row.family, table, net) for net in others) for table in (row.table, 254)]
    return row.table == 254 or counts[0] >= max(counts[1], 1)


def family_of(net: str) -> str:
    """``inet`` or ``inet6``."""
    return "inet6" if ":" in net else "inet"


def same_way(view: HostView, row: Route, wanted: BirdRoute) -> bool:
    """Whether both lead the same way, or to nowhere by the same type."""
    return {hop.gateway for hop in row.hops} == set(wanted.via) and row.type == wanted.type


def check(view: HostView) -> Iterator[Draft]:
    kernels = {
        (d.socket, p.name) for d in view.bird.daemons for p in d.protocols if p.proto == "Kernel" and p.state == "up"
    }
    there = foreign(view, "inet") | foreign(view, "inet6")
    if not there:
        return
    into = [(d, one) for d in view.bird_routes for one in d.exports if (d.socket, one.protocol) in kernels]
    asked = Counter(
        net for _, one in into for net in {wanted.net for wanted in one.routes or () if wanted.net in there}
    )
    told: set[tuple[str, int]] = set()
    for daemon, listed in into:
        for wanted in listed.routes or ():
            for row in there.get(wanted.net, ()):
                if not wanted.best or wanted.protocol == listed.protocol or same_way(view, row, wanted):
                    continue
                if (row.dst, row.table) in told or installed(view, row) >= asked[wanted.net]:
                    continue
                if feeds(view, listed, row):
                    told.add((row.dst, row.table))
                    yield _draft(view, daemon.socket, listed.protocol, (row, wanted))


def _draft(view: HostView, socket: str, kernel: str, pair: tuple[Route, BirdRoute]) -> Draft:
    row, wanted = pair
    ip, maker = ip_command(row.family), RTPROT_NAMES.get(row.protocol, str(row.protocol))
    way = f"via {', '.join(wanted.via)}" if wanted.via else wanted.type
    return RULE.found(
        subject=subject("route", dst=row.dst, table=row.table),
        message=f"BIRD cannot install {wanted.net} {way}: a route of {maker} with the same metric {row.priority} is "
        f"there ({way_words(view, row)})",
        evidence=[
            (f"route {row.dst}", f"proto {maker} metric {row.priority}", "RTM_GETROUTE rtm_protocol RTA_PRIORITY"),
            (f"best route of BIRD from {wanted.protocol}", way, f"birdc show route export {kernel}"),
        ],
        confirm=[
            f"{ip} route show {row.dst} table {row.table}",
            birdc(socket, f"show route export {bird_name(kernel)}"),
        ],
        fix=f"{ip} route del {row.dst} table {row.table} metric {row.priority} proto {row.protocol} && "
        + birdc(socket, f"reload out {bird_name(kernel)}"),
    )


NET = "198.51.100.0/24"


def _case(name: str, why: str, **more: Any) -> Example:
    expected = {key: more.pop(key) for key in ("fires", "severity", "subject") if key in more}
    own, best, net = more.pop("own", ""), more.pop("best", True), more.pop("net", NET)
    via = "2001:db8::9" if ":" in net else "192.0.2.9"
    wanted = BirdRoute(net=net, protocol="up1", best=best, via=(via,), dev=("eth0",))
    wanted = msgspec.structs.replace(wanted, **more.pop("wanted", {}))
    host: Any = BirdHost().bgp("up1").protocol("k4", "Kernel", state=more.pop("state", "up"))
    mate, main = more.pop("mate", ""), more.pop("main", ())
    mates = dict.fromkeys((*((mate,) if mate else ()), *main))
    more_routes = tuple(msgspec.structs.replace(wanted, net=one) for one in mates)
    host.exports(more.pop("listed", "k4"), routes=(wanted, *more_routes))
    if more.pop("second", False):
        host.protocol("k100", "Kernel", state="up").exports("k100", routes=(wanted, *more_routes))
    host.link("eth0").address("eth0", "192.0.2.5/24").address("eth0", "2001:db8::5/64")
    if own:
        host.route(own, via=via, dev="eth0", priority=32, protocol=12, table=more.pop("into", 254))
    if mate:
        host.route(mate, via=via, dev="eth0", priority=32, protocol=12, table=more["table"])
    for one in main:
        host.route(one, via=via, dev="eth0", priority=32, protocol=12)
    given: dict[str, Any] = {"via": "2001:db8::7" if ":" in net else "192.0.2.7", "dev": "eth0", "priority": 32}
    host.route(net, **(given | more))
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("route", dst=NET, table=254)
    yield _case("same metric", "the plain fault", fires=1, severity="warning", subject=about)
    yield _case("IPv6", "the same", net="2001:db8:9::/48", fires=1)
    for metric in (31, 33):
        yield _case(f"metric {metric}", "both can stand", priority=metric)
    six = "2001:db8:9::/48"
    yield _case("BIRD's own is there", "the kernel joins them to one of two ways", own=six, net=six, protocol=4)
    yield _case("BIRD's own is in another table", "its kernel protocol is for that one", own=NET, into=100)
    yield _case("BIRD's wider one is in another table", "this one is not", own="198.51.0.0/16", into=100, fires=1)
    both = "one is for main, and fails"
    yield _case("two kernel protocols, one route", both, own=NET, into=100, second=True, fires=1)
    yield _case("BIRD's wider one is there", "this one is not", own="198.51.0.0/16", fires=1)
    yield _case("to the neighbours only", "nobody installs it", listed="up1", wanted={"protocol": "s1"})
    yield _case("kernel protocol switched off", "BIRD installs nothing now", state="down")
    yield _case("learnt from the kernel", "it is that very route", wanted={"protocol": "k4"})
    yield _case("of another prefix", "nothing is in its way", wanted={"net": "203.0.113.0/24"})
    nowhere: dict[str, Any] = {"wanted": {"via": (), "dev": (), "type": "blackhole"}, "via": None, "dev": None}
    yield _case("both to nowhere", "nothing goes wrong", type="blackhole", **nowhere)
    yield _case("to nowhere and an error", "the sender is told", type="unreachable", fires=1, **nowhere)
    yield _case("same way", "nothing goes wrong", via="192.0.2.9")
    yield _case("of BIRD", "its own", protocol=12)
    yield _case("not the best", "BIRD does not want it", best=False)
    yield _case("another table", "not where BIRD puts it", table=77)
    for inside, why, fires in (("203.0.113.0/24", "BIRD feeds that table", 1), ("", "BIRD feeds main", 0)):
        yield _case(f"in table 100, beside {inside or 'nothing'}", why, table=100, mate=inside, fires=fires)
    one, other = "203.0.113.0/24", "203.0.114.0/24"
    fed: dict[str, Any] = {"table": 100, "own": NET, "second": True, "fires": 1}
    yield _case("in table 100 of two that are fed alike", "main has it", mate=one, main=(one,), **fed)
    yield _case("in table 100, and BIRD's is not in main", "main has more of the list", table=100, mate=one,
                main=(one, other))  # fmt: skip
    yield _case("in table 100, beside what is not in the list", "another feeds it", table=100, own=one, into=100)
