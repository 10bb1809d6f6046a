"""What it checks
  Two default routes of one table have the same metric (and the same TOS) and leave by different gateways, and no
  metric below them is in use. For IPv6: two default routes that stand side by side with one metric and one router
  preference on different interfaces, one of them at least not from a router advertisement.

Why it matters
  Nothing that somebody wrote decides between them. IPv4 keeps both in the order in which they were added: what this
  host forwards takes the first, what it sends takes the first whose gateway answers ARP, and remembers that. So
  the way out, the source address and the public address change after a restart, or when a neighbour entry times out.
  IPv6 tries them in the order in which they were added.

Confirm
  ip route show default table TABLE
  ip route get ADDRESS, before and after: ip neigh flush dev IFNAME

Fix
  ip route add default via GATEWAY dev IFNAME metric METRIC, with a metric of its own for what shall stand by, then
  delete its twin. Flows that had gone that way change over, and TCP connections with its source address break. Then
  change what wrote the route (ifupdown, DHCP client, netplan), or it comes back.

Not flagged
  One route with several next hops: that is ECMP, on purpose. IPv6 makes such a route by itself out of a second
  "ip -6 route append default via ..." of the same metric, so a hand-made IPv6 route over two interfaces with equal
  weights is told as a possibility only, unless one of the two has unique local addresses alone (fc00::/7). Default
  routes of different metrics, TOS or tables. Two routes by the same gateway that differ in their source address or
  protocol. Default routes that all come from router advertisements: two routers, or two uplinks, between which the
  router preference decides. A tie below a better route.

References
  net/ipv4/fib_semantics.c fib_select_default() fib_detect_death(), net/ipv4/fib_trie.c fib_find_alias(),
  net/ipv6/route.c find_rr_leaf(), net/ipv6/ip6_fib.c fib6_add_rt2node(), RFC 4191
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from typing import Any, NamedTuple

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, RTNH_F_ONLINK, Route, RouteExtra, RouteHop
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="route-default-duplicate-tie",
    title="two default routes have the same metric",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops"),
)

UNIQUE_LOCAL = ip_network("fc00::/7")
RTPROT_BOOT, RTPROT_STATIC, RTPROT_RA = 3, 4, 9
PREFERENCE = {1: 0, 0: 1, 3: 2}
"""Router preference of RFC 4191 as RTA_PREF has it (high 1, medium 0, low 3): the order in which it is preferred."""


@dataclass(frozen=True, kw_only=True)
class Default:
    """One default route and where it leads."""

    row: Route
    hops: tuple[RouteHop, ...]


def default_routes(view: HostView, family: str) -> Iterator[list[Default]]:
    """The unicast default routes, one list for each table and TOS, best metric first, equals as dumped."""
    routes = view.routes(family)
    tables = list(reachable_tables(view.rules, view.links, family))
    chosen = (routes.dst_len == 0) & among(routes.table, tables)
    hops = {at: way.legs for way in ways(routes, view.nexthops, chosen) for at in way.positions.tolist()}
    groups: dict[tuple[int, int], list[Default]] = {}
    for at in sorted(hops, key=lambda at: (int(routes.priority[at]), at)):
        row = routes.row(at)
        groups.setdefault((row.table, row.tos), []).append(Default(row=row, hops=hops[at]))
    yield from groups.values()


def tied(group: list[Default]) -> list[Default]:
    """The routes in use, or next in line, between which nothing decides; each way out once, the first one first."""
    alive = [member for member in group if any(not hop.flags & RTNH_F_DEAD for hop in member.hops)]
    best = (alive or group)[0].row.priority
    members = [member for member in group if member.row.priority == best]
    ranks = [PREFERENCE.get(member.row.extra.pref if member.row.extra else 0, 1) for member in members]
    outs: dict[frozenset[tuple[int, str | None]], Default] = {}
    for member, rank in zip(members, ranks, strict=True):
        if rank == min(ranks):
            outs.setdefault(frozenset((hop.oif, hop.gateway) for hop in member.hops), member)
    return list(outs.values())


def way_out(view: HostView, hops: tuple[RouteHop, ...]) -> str:
    """``via 192.0.2.1 dev eth0``."""
    return " and ".join((f"via {hop.gateway} " if hop.gateway else "") + f"dev {view.ifname(hop.oif)}" for hop in hops)


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        for group in default_routes(view, family):
            members = tied(group)
            if len(members) > 1 and (family == "inet" or side_by_side(members)):
                yield tie(view, members)
            elif family == "inet6" and made_by_append(members[0]):
                yield possible(view, members[0])


def side_by_side(members: list[Default]) -> bool:
    """IPv6: routes over different interfaces, not all of them advertised by routers."""
    interfaces = {hop.oif for member in members for hop in member.hops}
    return len(interfaces) > 1 and any(member.row.protocol != RTPROT_RA for member in members)


def made_by_append(member: Default) -> bool:
    """IPv6: a multipath route as two single ones of one metric turn into, by hand."""
    by_hand = member.row.protocol in (RTPROT_BOOT, RTPROT_STATIC) and member.row.nh_id is None
    return by_hand and len({hop.oif for hop in member.hops}) > 1 and len({hop.weight for hop in member.hops}) == 1


def tie(view: HostView, members: list[Default]) -> Draft:
    """The finding."""
    first = members[0].row
    version, dash = ("IPv4", "") if first.family == "inet" else ("IPv6", "-6 ")
    where = "" if first.table == 254 else f" of table {first.table}"
    outs = [way_out(view, member.hops) for member in members]
    names = sorted({view.ifname(hop.oif) for member in members for hop in member.hops})
    return RULE.found(
        subject=subject("route", dst=first.dst, table=first.table),
        message=f"{len(members)} {version} default routes{where} have metric {first.priority}: {', '.join(outs)}; the "
        "order in which they were added decides",
        evidence=[
            (
                f"default {out}",
                f"{out} metric {first.priority}",
                f"RTM_GETROUTE {first.dst} table {first.table} RTA_PRIORITY",
            )
            for out in outs
        ],
        confirm=[f"ip {dash}route show default table {first.table}"],
        fix=fix(view, members, dash),
        touches=objects(first, names),
    )


def fix(view: HostView, members: list[Default], dash: str) -> str:
    """Another metric for all but the one that is in use now; what routers advertise is left as it is."""
    kept = next((member for member in members if member.row.protocol == RTPROT_RA), members[0])
    commands = []
    for member in members:
        row, hops = member.row, member.hops
        if member is kept:
            continue
        table = "" if row.table == 254 else f" table {row.table}"
        old, new = f"metric {row.priority}{table}", f"metric {row.priority + 100 * len(members)}{table}"
        if len(hops) == 1:
            source = f" src {row.prefsrc}" if row.prefsrc else ""
            onlink = " onlink" if hops[0].flags & RTNH_F_ONLINK else ""
            via = f"via {'inet6 ' if other_family(row, hops[0]) else ''}{hops[0].gateway} " if hops[0].gateway else ""
            way = f"{via}dev {quoted(view.ifname(hops[0].oif))}"
            commands.append(
                f"ip {dash}route add default {way} {new}{source}{onlink} && ip {dash}route del default {way} {old}"
            )
        else:
            commands.append(f"ip {dash}route del default {old}  # and add it again with {new}")
    return "; ".join(commands)


def other_family(row: Route, hop: RouteHop) -> bool:
    """An IPv4 route with an IPv6 gateway."""
    return row.family == "inet" and ":" in (hop.gateway or "")


def possible(view: HostView, member: Default) -> Draft:
    """The IPv6 multipath route that may be an accident."""
    row, hops = member.row, member.hops
    names = sorted({view.ifname(hop.oif) for hop in hops})
    unfit = local_only(view, names)
    said = f"the IPv6 default route of metric {row.priority} spreads flows over {' and '.join(names)}: IPv6 makes "
    said += "one such route of two default routes with the same metric, meant or not"
    facts = [("next hops", way_out(view, hops), f"RTM_GETROUTE {row.dst} table {row.table} RTA_MULTIPATH")]
    if unfit is not None:
        said += f"; {unfit.ifname} has only {unfit.local}, which nobody beyond answers"
        facts.append((f"IPv6 addresses of {unfit.ifname}", unfit.local, f"RTM_GETADDR {unfit.ifname} IFA_LOCAL"))
    return RULE.found(
        subject=subject("route", dst=row.dst, table=row.table),
        confidence="possible" if unfit is None else "likely",
        message=said,
        evidence=facts,
        confirm=[f"ip -6 route show default table {row.table}"],
        fix=f"ip -6 route del default dev {quoted(names[1])} table {row.table}  # if {names[1]} shall only stand by: "
        "add it again with a higher metric",
        touches=objects(row, names),
    )


class Unfit(NamedTuple):
    """An interface of a way out whose own addresses are good for this site alone."""

    ifname: str
    local: str


def local_only(view: HostView, names: list[str]) -> Unfit | None:
    """One of the interfaces has unique local addresses (RFC 4193) alone, another one a global one: what leaves by the
    first bears an address to which no answer comes (RFC 6724 rule 5: an address of the interface it leaves by)."""
    found: dict[str, list[IPv6Address]] = {}
    for row in view.addresses:
        name = view.ifname(row.ifindex)
        if row.family == "inet6" and row.scope == 0 and name in names:
            found.setdefault(name, []).append(IPv6Address(row.local))
    local = {name: rows for name, rows in found.items() if all(one in UNIQUE_LOCAL for one in rows)}
    if not local or len(local) == len(found):
        return None
    name = sorted(local)[0]
    return Unfit(name, str(local[name][0]))


def objects(row: Route, names: list[str]) -> list[Subject]:
    """The route on each of its interfaces, and these."""
    routes = [subject("route", dst=row.dst, table=row.table, ifname=name) for name in names]
    return [*routes, *(subject("link", ifname=name) for name in names)]


def examples() -> Iterator[Example]:
    yield from examples4()
    yield from examples6()


def uplinks() -> HostBuilder:
    """Two uplinks, and no default route yet."""
    built = HostBuilder().link("eth0").link("eth1").address("eth0", "192.0.2.2/24").address("eth1", "198.51.100.2/24")
    return built.address("eth0", "2001:db8::2/64").address("eth1", "2001:db8:1::2/64")


ABOUT = subject("route", dst="0.0.0.0/0", table=254)
ABOUT6 = subject("route", dst="::/0", table=254)


def two(built: HostBuilder | None = None, **second: Any) -> HostBuilder:
    """IPv4 default routes of metric 0 by either uplink; ``second`` changes the second one."""
    fields = {"via": "198.51.100.1", "dev": "eth1"} | second
    return (built or uplinks()).route("default", via="192.0.2.1", dev="eth0").route("0.0.0.0/0", **fields)


def fires(name: str, why: str, built: HostBuilder, about: Subject = ABOUT, *says: str) -> Example:
    return Example(
        name=name,
        why=why,
        tables=built.build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="certain",
        says=says,
    )


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def examples4() -> Iterator[Example]:
    says = "2 IPv4 default routes have metric 0: via 192.0.2.1 dev eth0, via 198.51.100.1 dev eth1; "
    new = "ip route add default via 198.51.100.1 dev eth1 metric 200 && ip route del default via 198.51.100.1 dev eth1"
    yield fires("two uplinks, one metric", "the plain fault: two scripts each added one", two(), ABOUT, says, new)
    yield silence("two metrics", "one more is enough to decide", two(priority=1))
    yield silence("two TOS", "a TOS route is for marked traffic only", two(tos=8))
    yield silence(
        "two tables", "each has its own rule", two(table=100).rule(100, src="198.51.100.2", src_len=32, table=100)
    )
    lone = uplinks().route("default", via="192.0.2.1", dev="eth0", priority=100)
    yield silence("one default route", "nothing to choose between", lone)
    yield fires(
        "two gateways of one interface", "the gateway decides the way as well", two(via="192.0.2.9", dev="eth0")
    )
    twin = two(via="192.0.2.1", dev="eth0", prefsrc="192.0.2.3", protocol=4)
    yield silence("same gateway twice", "only the source differs: the way out is the same", twin)
    yield fires("device routes", "two tunnels without gateways", two(via=None, family="inet"))
    below = two().route("default", via="192.0.2.7", dev="eth0", priority=50)
    yield fires("a third with a worse metric", "it does not come into play", below)
    hidden = uplinks().route("default", via="192.0.2.7", dev="eth0", priority=50)
    hidden.route("default", via="192.0.2.1", dev="eth0", priority=100)
    hidden.route("default", via="198.51.100.1", dev="eth1", priority=100)
    yield silence("a tie below a better route", "it is not in use", hidden)
    idle = uplinks().route("default", via="192.0.2.7", dev="eth0", priority=50, flags=RTNH_F_LINKDOWN)
    idle.route("default", via="192.0.2.1", dev="eth0", priority=100)
    idle.route("default", via="198.51.100.1", dev="eth1", priority=100)
    yield silence("a tie below a route without carrier", "that route is still in use", idle)
    cut = uplinks().route("default", via="192.0.2.1", dev="eth0", flags=RTNH_F_DEAD)
    cut.route("default", via="198.51.100.1", dev="eth1", flags=RTNH_F_DEAD)
    yield fires("both dead", "it will be a tie when they come back", cut)
    promoted = uplinks().route("default", via="192.0.2.7", dev="eth0", priority=50, flags=RTNH_F_DEAD)
    promoted.route("default", via="192.0.2.1", dev="eth0", priority=100)
    promoted.route("default", via="198.51.100.1", dev="eth1", priority=100)
    yield fires("a tie below a dead route", "it is in use", promoted)
    kept = two(prefsrc="198.51.100.2", onlink=True)
    new = "metric 200 src 198.51.100.2 onlink && ip route del"
    yield fires("source and onlink", "the fix keeps them", kept, ABOUT, new)
    mixed = two(via="fe80::9", family="inet")
    yield fires("IPv6 gateway", "the fix names the family", mixed, ABOUT, "via inet6 fe80::9 dev eth1 metric 200")
    ecmp = uplinks()
    ecmp.route("default", hops=[ecmp.hop("eth0", "192.0.2.1"), ecmp.hop("eth1", "198.51.100.1")], family="inet")
    yield silence("ECMP", "one route with two next hops is on purpose", ecmp)
    group = uplinks().nexthop(1, gateway="192.0.2.1", oif="eth0").nexthop(2, gateway="198.51.100.1", oif="eth1")
    group.route("default", nh_id=1, family="inet").route("default", nh_id=2, family="inet")
    yield fires("nexthop objects", "routes that only name their objects tie as well", group)
    lost = two(uplinks(), table=100).route("default", via="192.0.2.1", dev="eth0", table=100)
    yield silence("table without a rule", "no packet looks into it", lost)
    about = subject("route", dst="0.0.0.0/0", table=100)
    ruled = lost.rule(100, src="198.51.100.2", src_len=32, table=100)
    yield fires(
        "table with a rule",
        "policy tables tie as well",
        ruled,
        about,
        "routes of table 100 have",
        "metric 200 table 100 &&",
    )
    null = two(type="unreachable", via=None, dev=None, family="inet")
    yield silence("unreachable twin", "the kernel never gets to it", null)


def examples6() -> Iterator[Example]:
    def pair(**second: Any) -> HostBuilder:
        fields = {"dev": "eth1", "family": "inet6"} | second
        return uplinks().route("default", via="fe80::1", dev="eth0").route("default", **fields)

    yield fires("IPv6, tunnel beside a gateway", "a route without gateway is no leg of ECMP", pair(), ABOUT6)
    ra: dict[str, Any] = {"via": "fe80::9", "protocol": RTPROT_RA, "expires": 1800}
    yield fires(
        "IPv6, router advertisement beside a static route",
        "both have metric 1024",
        pair(**ra),
        ABOUT6,
        "add default via fe80::1 dev eth0",
    )
    yield silence("IPv6, two metrics", "the metric decides", pair(priority=1025))
    for pref in (1, 3):
        told = pair(**ra, extra=RouteExtra(pref=pref))
        yield silence(f"IPv6, router preference {pref}", "it is not medium: the preference decides", told)
    yield silence("IPv6, two gateways of one interface", "two routers of one segment", pair(**(ra | {"dev": "eth0"})))
    both = uplinks().route("default", dev="eth1", **ra).route("default", via="fe80::1", dev="eth0", protocol=RTPROT_RA)
    yield silence("IPv6, two routers advertise", "an HA pair, or two uplinks that configure themselves", both)

    def ecmp(weight: int = 1, on: HostBuilder | None = None, **fields: Any) -> HostBuilder:
        built = on or uplinks()
        hops = [built.hop("eth0", "fe80::1"), built.hop("eth1", "fe80::9", weight=weight)]
        return built.route("default", hops=hops, family="inet6", **fields)

    yield Example(
        name="IPv6, appended",
        why="append made ECMP of it, or somebody meant ECMP: both look alike",
        tables=ecmp().build(),
        fires=1,
        subject=ABOUT6,
        severity="info",
        confidence="possible",
    )
    static = ecmp(protocol=RTPROT_STATIC)
    yield Example(
        name="IPv6, appended, static", why="the same by ifupdown", tables=static.build(), fires=1, severity="info"
    )
    pairs: tuple[tuple[str, str, Severity], ...] = (
        ("2001:db8::2/64", "fd00::2/64", "warning"),
        ("2001:db8::2/64", "2001:db8:1::2/64", "info"),
        ("fd00:1::2/64", "fd00::2/64", "info"),
    )
    for one, other, severity in pairs:
        two = HostBuilder().link("eth0").link("eth1").address("eth0", one).address("eth1", other)
        addressed = ecmp(on=two.address("eth1", "fe80::2/64")).build()
        sure, says = ("likely", ("eth1 has only fd00::2,",)) if severity == "warning" else ("possible", ())
        name, why = f"IPv6, appended, {one} beside {other}", "what leaves by eth1 bears its own address"
        weight: dict[str, Any] = {"severity": severity, "confidence": sure, "says": says}
        yield Example(name=name, why=why, tables=addressed, fires=1, **weight)
    two = HostBuilder().link("eth0").link("eth1").address("eth0", "fd00::2/64").address("lo", "2001:db8::7/128")
    bare = ecmp(on=two).build()
    yield Example(name="IPv6, appended, unnumbered", why="both take lo's", tables=bare, fires=1, severity="info")
    yield silence("IPv6 ECMP with weights", "weights are written by somebody who means ECMP", ecmp(weight=2))
    yield silence("IPv6 ECMP of a routing daemon", "it computed the paths", ecmp(protocol=12))
    yield silence("IPv6 ECMP over a nexthop group", "a group is made on purpose", ecmp(nh_id=7))
