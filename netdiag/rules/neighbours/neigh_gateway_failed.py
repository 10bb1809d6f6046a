"""What it checks
  The gateway of a route in use does not answer ARP or neighbour solicitation: its neighbour entry is FAILED, or
  INCOMPLETE for a second or more; or nobody asks, because ARP is off on an Ethernet link (NOARP). In use means: a rule
  leads to the table, and the kernel takes the route for its prefix. Gateways of both families, of multipath routes, of
  nexthop objects, and IPv6 gateways of IPv4 routes.

Why it matters
  The route stands there as if all were well, and everything that follows it ends at this host: packets wait in the
  entry's queue and are dropped when resolution fails, senders hear "no route to host" three seconds later. Where the
  interface has no carrier, that is the cause and the message says so.
  Traffic is not lost everywhere. A failed leg of a multipath route is left out by IPv4 with
  net.ipv4.fib_multipath_use_neigh=1, by IPv6 on a host that does not forward, by both where the legs are a nexthop
  group (but for a resilient one). On a host that does not forward, IPv4 takes the one of several default routes of
  one metric whose gateway answers, and IPv6 another metric of the same prefix, never a shorter prefix. Then this is a
  warning: what stands by is in use.

Confirm
  ip -s neigh show GATEWAY dev IFNAME
  ip route show PREFIX table TABLE
  tcpdump -ni IFNAME arp or icmp6, while something is sent

Fix
  Bring the gateway back on that segment: its power, its address, the cable, the switch port, the VLAN. Or take the
  route away or give it another gateway. "ip neigh flush" only makes the kernel ask again at once.

Not flagged
  A neighbour that failed and is no gateway: somebody asked for an address that is not there. A gateway without an
  entry: nobody has asked yet, or it was flushed with the carrier. An entry that became INCOMPLETE less than a second
  ago and was just made: the answer may be under way. Proxy entries. Gateways of routes that the kernel does not take:
  a worse metric, a dead hop, a table that no rule leads to. A failure that is more than an hour old, with nothing
  sent since, is told as a possibility only: the gateway may be back.

References
  net/core/neighbour.c __neigh_event_send() neigh_timer_handler(), net/ipv4/fib_semantics.c fib_detect_death()
  fib_good_nh(), net/ipv6/route.c rt6_check_neigh() fib6_select_path(), RFC 4861 section 7.3
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import Way, rivals, taken, ways
from netdiag.model.distinct import among
from netdiag.model.finding import CONFIDENCE_RANK, SEVERITY_RANK, Confidence, Draft, Severity, Subject, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY, NTF_ROUTER, Neighbour
from netdiag.model.nexthop import NexthopMember
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, RTNH_F_ONLINK, Route, RouteHop
from netdiag.rules.build import HostBuilder
from netdiag.rules.gatewaycases import unasked
from netdiag.rules.routewords import ip_command
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.silentneighbours import Key, failing

RULE = Rule(
    id="neigh-gateway-failed",
    title="the gateway of a route in use does not answer ARP or ND",
    severity="critical",
    reads=("links", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=("bgp-*", "wg-*", "bird-*", "dns-*", "tcp-*", "neigh-incomplete-storm", "neigh-app-*"),
    family="each",
)

RECENT, OLD = 60.0, 3600.0
"""Seconds since the last attempt: up to RECENT loss is certain, beyond OLD it is no more than possible."""
LOOKED_AT = 64
"""Routes of one gateway that are tried for being taken, the shortest prefixes first."""

LOSSES = ("all", "share", "none")
UNASKED = "noarp"


@dataclass(frozen=True, kw_only=True)
class Use:
    """A route through a gateway that does not answer."""

    way: Way
    route: Route
    """The route with the shortest prefix."""
    loss: str
    """What of its traffic is lost, see LOSSES."""


def loss(view: HostView, family: str, way: Way, position: int, silent: dict[Key, Neighbour]) -> str:
    """What becomes of the traffic of the route at ``position``: see the page."""

    def answers(leg: RouteHop) -> bool:
        return not leg.flags & RTNH_F_DEAD and (leg.oif, leg.gateway) not in silent

    routes = view.routes(family)
    if any(answers(leg) for leg in way.legs):
        return "none" if avoids(view, family, int(routes.nh_id[position])) else "share"
    if forwards(view, family) or (family == "inet" and routes.dst_len[position]):
        return "all"
    for other in rivals(view.fib(family), position).after:
        same = routes.priority[other] == routes.priority[position]
        if (same or family == "inet6") and any(answers(leg) for leg in routes.row(other).hops):
            return "none"
    return "all"


def forwards(view: HostView, family: str) -> bool:
    """Whether the host is a router for this family: it then takes a route without regard to its neighbour."""
    name = "net.ipv4.ip_forward" if family == "inet" else "net.ipv6.conf.all.forwarding"
    return view.sysctl_int(name) != 0


def avoids(view: HostView, family: str, nh_id: int) -> bool:
    """Whether a leg that does not answer is left out while another one does."""
    if nh_id:
        return not any(nexthop.resilient for nexthop in view.nexthops if nexthop.id == nh_id)
    if family == "inet":
        return view.sysctl_int("net.ipv4.fib_multipath_use_neigh") == 1
    return not forwards(view, family)


def uses(view: HostView, silent: dict[Key, Neighbour]) -> Iterator[tuple[Key, Use]]:
    """Every way in use through a gateway that does not answer, by gateway."""
    indexes = np.array(sorted({ifindex for ifindex, _ in silent}), np.int32)
    for family in ("inet", "inet6"):
        routes, fib = view.routes(family), view.fib(family)
        tables = list(reachable_tables(view.rules, view.links, family))
        chosen = among(routes.table, tables) & ((routes.oif == 0) | among(routes.oif, indexes))
        for way in ways(routes, view.nexthops, chosen):
            key = (way.hop.oif, way.hop.gateway)
            if key not in silent or way.dead:
                continue
            order = np.argsort(routes.dst_len[way.positions], kind="stable")[:LOOKED_AT]
            for position in way.positions[order].tolist():
                if taken(fib, position):
                    lost = loss(view, family, way, position, silent)
                    yield key, Use(way=way, route=routes.row(position), loss=lost)
                    break


def weight(neighbour: Neighbour, found: list[Use]) -> tuple[Severity, Confidence]:
    """How bad, and how sure: by what is lost, and by how long ago the gateway was last asked."""
    age = 0.0 if neighbour.state == UNASKED else neighbour.updated or 0.0
    if age > OLD:
        return "info", "possible"
    lost = any(use.loss != "none" for use in found)
    if age > RECENT:
        return ("warning" if lost else "info"), "likely"
    return ("critical" if lost else "warning"), "certain"


def named(route: Route) -> str:
    """``the IPv4 default route``, ``192.0.2.0/24 of table 100``."""
    version = "IPv4" if route.family == "inet" else "IPv6"
    text = f"the {version} default route" if route.default else route.dst
    return text if route.table == 254 else f"{text} of table {route.table}"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A gateway that does not answer, with what goes through it, the worst first."""

    neighbour: Neighbour
    found: list[Use]

    @property
    def weight(self) -> tuple[Severity, Confidence]:
        """See ``weight()``."""
        return weight(self.neighbour, self.found)

    @property
    def rank(self) -> tuple[int, int, bool, str, str]:
        """The weightiest first; equals by what stays the same from night to night."""
        severity, confidence = self.weight
        ranks = SEVERITY_RANK[severity], CONFIDENCE_RANK[confidence]
        return *ranks, not self.found[0].route.default, self.neighbour.family, self.neighbour.dst


def sentence(gateways: list[Gateway], link: Link | None, ifname: str) -> str:
    """The message, about the first gateway and the names of the others."""
    neighbour, worst = gateways[0].neighbour, gateways[0].found[0]
    count = sum(len(use.way.positions) for use in gateways[0].found)
    more = f" and {count - 1} more route{'s' if count > 2 else ''}" if count > 1 else ""
    asked = "ARP" if neighbour.family == "inet" else "neighbour solicitation"
    legs = worst.way.legs
    share = 100 * sum(leg.weight for leg in legs if leg.gateway == neighbour.dst) // sum(leg.weight for leg in legs)
    fate = {
        "all": "what goes that way is lost",
        "share": f"about {share} % of its flows are lost",
        "none": "traffic goes by another gateway",
    }[worst.loss]
    others = "".join(f"; nor does {gateway.neighbour.dst}" for gateway in gateways[1:4])
    others += f" and {len(gateways) - 4} more" if len(gateways) > 4 else ""
    carrier = link is not None and link.up and not link.lower_up
    off, words = neighbour.state == UNASKED, f"does not answer {asked} ({neighbour.state})"
    return (
        f"gateway {neighbour.dst} on {ifname} "
        f"{f'is not asked for, because ARP is off on {ifname}' if off else words}: {named(worst.route)}{more} "
        f"use{'' if count > 1 else 's'} it, {fate}{others}"
        + (f"; {ifname} has no carrier, look there first" if carrier else "")
    )


def check(view: HostView) -> Iterator[Draft]:
    silent = failing(view)
    if not silent:
        return
    found: dict[Key, list[Use]] = {}
    for key, use in uses(view, silent):
        found.setdefault(key, []).append(use)
    by_link: dict[int, list[Gateway]] = {}
    for key, through in found.items():
        through.sort(key=lambda use: (LOSSES.index(use.loss), not use.route.default))
        by_link.setdefault(key[0], []).append(Gateway(neighbour=silent[key], found=through))
    for ifindex, gateways in by_link.items():
        yield draft(view, ifindex, sorted(gateways, key=lambda gateway: gateway.rank))


def draft(view: HostView, ifindex: int, gateways: list[Gateway]) -> Draft:
    """The finding about one segment, named by its weightiest gateway."""
    ifname, neighbour, route = view.ifname(ifindex), gateways[0].neighbour, gateways[0].found[0].route
    severity, confidence = gateways[0].weight
    rows = [use.route for gateway in gateways for use in gateway.found]
    routes = [subject("route", dst=row.dst, table=row.table, ifname=ifname) for row in rows]
    entries = [subject("neighbour", dst=gateway.neighbour.dst, ifname=ifname) for gateway in gateways]
    source = f"RTM_GETNEIGH {neighbour.dst} dev {ifname}"
    return RULE.found(
        subject=entries[0],
        severity=severity,
        confidence=confidence,
        message=sentence(gateways, view.link(ifindex), ifname),
        evidence=[
            ("neighbour state", neighbour.state, f"{source} NDM_STATE"),
            ("seconds in that state", neighbour.updated, f"{source} NDA_CACHEINFO"),
            ("route", f"{route.dst} table {route.table}", f"RTM_GETROUTE {route.dst} RTA_GATEWAY"),
        ],
        confirm=[
            f"ip -s neigh show {neighbour.dst} dev {quoted(ifname)}",
            f"{ip_command(route.family)} route show {route.dst} table {route.table}",
        ],
        fix=f"ip link set dev {quoted(ifname)} arp on"
        if neighbour.state == UNASKED
        else f"ip neigh flush to {neighbour.dst} dev {quoted(ifname)}  # once it is back on {ifname}: "
        "look at the gateway, its address, the cable, the VLAN",
        touches=[subject("link", ifname=ifname), *routes, *entries],
        breaks=[*routes, *entries],
    )


def examples() -> Iterator[Example]:
    yield from unasked()
    yield from plain_examples()
    yield from age_examples()
    yield from several_way_examples()
    yield from other_place_examples()


def host(**fields: float | str | None) -> HostBuilder:
    """One uplink whose IPv4 gateway has the given neighbour entry."""
    built = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    entry = {"state": "failed", "updated": 2.0, "confirmed": 90.0} | fields
    return built.neighbour("192.0.2.1", dev="eth0", **entry)  # type: ignore[arg-type]


def host6(**fields: float | str | None) -> HostBuilder:
    """The same for IPv6, with two uplinks."""
    built = HostBuilder().link("eth0").link("eth1").address("eth0", "2001:db8::2/64").address("eth1", "fe80::2/64")
    entry = {"state": "failed", "updated": 2.0, "confirmed": 90.0} | fields
    return built.neighbour("fe80::1", dev="eth0", **entry)  # type: ignore[arg-type]


ABOUT = subject("neighbour", dst="192.0.2.1", ifname="eth0")
ABOUT6 = subject("neighbour", dst="fe80::1", ifname="eth0")


def fires(
    name: str, why: str, built: HostBuilder, severity: Severity = "critical", *says: str, about: Subject = ABOUT
) -> Example:
    return Example(name=name, why=why, tables=built.build(), fires=1, subject=about, severity=severity, says=says)


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def plain_examples() -> Iterator[Example]:
    says = "gateway 192.0.2.1 on eth0 does not answer ARP (failed): the IPv4 default route uses it, what goes that way"
    yield fires("failed", "the plain fault: the gateway's address is gone", host(), "critical", says)
    yield fires("flagged", "a flag says nothing about reachability", host(flags=NTF_ROUTER))
    nd = host6().route("default", via="fe80::1", dev="eth0")
    says = "does not answer neighbour solicitation (failed): the IPv6 default route uses it"
    yield fires("IPv6 link-local gateway", "the same over ND", nd, "critical", says, about=ABOUT6)
    for state in ("reachable", "stale", "delay", "probe", "permanent", "noarp"):
        yield silence(state, "the kernel has an address to send to", host(state=state))
    stray = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    yield silence("no entry", "nobody has asked yet: that proves nothing", stray)
    stray.neighbour("192.0.2.77", dev="eth0", state="failed")
    yield silence("failed, no gateway", "somebody asked for an address that is not there: a normal probe", stray)
    yield silence("proxy entry", "an entry that answers for others has no state", host(flags=NTF_PROXY))


def age_examples() -> Iterator[Example]:
    young = host(state="incomplete", updated=0.99, confirmed=60.99)
    yield silence("just asked", "a host that boots asks its gateway for the first time", young)
    second = host(state="incomplete", updated=1.0, confirmed=60.0)
    yield fires("unanswered for a second", "one retransmission is unanswered", second)
    again = host(state="incomplete", updated=0.1, confirmed=61.0)
    yield fires("asked again and again", "a new attempt, but the entry is older than that: it failed before", again)
    unknown = host(state="incomplete", updated=0.1, confirmed=None)
    yield silence("just asked, age not told", "without the age of the entry it may be the first attempt", unknown)
    yield fires("age not told", "without it, it counts as now", host(updated=None))
    yield fires("failed a minute ago", "still asked for within the minute", host(updated=60.0))
    yield fires("failed over a minute ago", "nothing was sent since: it may be back", host(updated=60.1), "warning")
    yield fires("failed an hour ago", "just within what is worth a warning", host(updated=3600.0), "warning")
    yield fires("failed long ago", "no more than a possibility", host(updated=3600.1), "info")
    for at, sure in ((60.0, "certain"), (60.1, "likely")):
        tables, name = host(updated=at).build(), f"how sure after {at} s"
        yield Example(name=name, why="it may be back", tables=tables, fires=1, confidence=sure)  # type: ignore[arg-type]
    idle = host(updated=60.1).link("eth1").address("eth1", "198.51.100.2/24")
    idle.route("default", via="198.51.100.1", dev="eth1")
    yield fires("the first of two, over a minute ago", "nothing is lost by it", idle, "info")


def several_way_examples() -> Iterator[Example]:
    def multipath(use_neigh: int, weight: int = 1, flags: int = 0) -> HostBuilder:
        built = HostBuilder().link("eth0").link("eth1").sysctl("net.ipv4.fib_multipath_use_neigh", use_neigh)
        legs = [built.hop("eth0", "192.0.2.1", weight=weight), built.hop("eth1", "198.51.100.1", flags=flags)]
        built.route("default", hops=legs, family="inet")
        return built.neighbour("192.0.2.1", dev="eth0", state="failed").neighbour("198.51.100.1", dev="eth1")

    yield fires("one leg of two", "half of the flows are hashed to it", multipath(0), "critical", "about 50 %")
    yield fires("one leg of two, avoided", "fib_multipath_use_neigh leaves it out", multipath(1), "warning")
    yield fires("three shares of four", "by weight", multipath(0, weight=3), "critical", "about 75 %")
    yield fires("other leg onlink", "other flags do not matter", multipath(1, flags=RTNH_F_ONLINK), "warning")
    cut = multipath(1, flags=RTNH_F_DEAD)
    yield fires("one leg of two, the other dead", "there is no leg to avoid it by", cut)
    both = multipath(1).neighbour("198.51.100.1", dev="eth1", state="failed")
    yield Example(
        name="both legs", why="there is nothing to avoid it by", tables=both.build(), fires=2, severity="critical"
    )
    tie = host().link("eth1").address("eth1", "198.51.100.2/24").route("default", via="198.51.100.1", dev="eth1")
    yield fires("first of two default routes of one metric", "the kernel takes the one that answers", tie, "warning")
    tie.sysctl("net.ipv4.ip_forward", 1)
    yield fires("the same on a router", "what it forwards takes the first, answer or not", tie)
    worse = host().link("eth1").address("eth1", "198.51.100.2/24")
    worse.route("default", via="198.51.100.1", dev="eth1", priority=100)
    yield fires("better of two metrics", "IPv4 never changes over to another metric", worse)
    second = HostBuilder().link("eth0").link("eth1").neighbour("192.0.2.1", dev="eth0", state="failed")
    second.route("10.0.0.0/8", via="192.0.2.1", dev="eth0").route("10.0.0.0/8", via="198.51.100.1", dev="eth1")
    yield fires("first of two equal routes of a prefix", "the kernel chooses among default routes only", second)
    router = host().address("eth0", "2001:db8::2/64").route("default", via="fe80::1", dev="eth0")
    router.neighbour("fe80::1", dev="eth0", state="failed")
    yield fires(
        "both families",
        "a router that is gone is one finding",
        router,
        "critical",
        "uses it, what goes that way is lost; nor does fe80::1",
    )
    dead = host().link("eth1").route("default", via="198.51.100.1", dev="eth1", flags=RTNH_F_DEAD | RTNH_F_LINKDOWN)
    yield fires("first of two, the other dead", "there is nothing to fall back to", dead)
    third = host().route("10.0.0.0/8", via="192.0.2.1", dev="eth0").link("eth1")
    third.route("10.0.0.0/8", via="198.51.100.1", dev="eth1").without_routes(table=253)
    yield fires(
        "default and a second prefix",
        "one gateway is one finding",
        third,
        "critical",
        "default route and 1 more route use it",
    )
    third.route("172.16.0.0/12", via="192.0.2.1", dev="eth0", priority=1)
    yield fires("default and two more", "the message counts them", third, "critical", "and 2 more routes use it")
    crowd = host()
    for number in range(2, 7):
        gone = f"192.0.2.{number}"
        crowd.route(f"10.{number}.0.0/16", via=gone, dev="eth0").neighbour(gone, dev="eth0", state="failed")
    said = "nor does 192.0.2.2; nor does 192.0.2.3; nor does 192.0.2.4 and 2 more"
    yield fires("six gateways of a segment", "one segment is one finding", crowd, "critical", said)

    def group(*, resilient: bool) -> HostBuilder:
        built = host(state="reachable").link("eth1").sysctl("net.ipv4.ip_forward", 1)
        built.nexthop(1, gateway="192.0.2.1", oif="eth0").nexthop(2, gateway="198.51.100.1", oif="eth1")
        built.nexthop(9, group=(NexthopMember(id=1), NexthopMember(id=2)), resilient=resilient)
        hops = [built.hop("eth0", "192.0.2.1"), built.hop("eth1", "198.51.100.1")]
        built.nexthop(8, resilient=not resilient).route("203.0.113.0/24", hops=hops, nh_id=9)
        return built.neighbour("198.51.100.1", dev="eth1", state="failed")

    other = subject("neighbour", dst="198.51.100.1", ifname="eth1")
    yield fires(
        "leg of a nexthop group", "groups leave it out by themselves", group(resilient=False), "warning", about=other
    )
    yield fires("leg of a resilient group", "its buckets stay with it", group(resilient=True), about=other)

    def metrics(forwarding: int, second: str = "default") -> HostBuilder:
        built = host6().route("default", via="fe80::1", dev="eth0", priority=10)
        built.route(second, via="fe80::9", dev="eth1", priority=20).neighbour("fe80::9", dev="eth1")
        return built.sysctl("net.ipv6.conf.all.forwarding", forwarding)

    yield fires(
        "IPv6, a second metric", "a host takes the route whose gateway answers", metrics(0), "warning", about=ABOUT6
    )
    yield fires("IPv6 router, a second metric", "a router does not look at its neighbours", metrics(1), about=ABOUT6)
    failed = metrics(0).neighbour("fe80::9", dev="eth1", state="failed")
    yield fires("IPv6, the second metric failed too", "nothing answers", failed, about=ABOUT6)
    inner = host6().route("2001:db8:9::/48", via="fe80::1", dev="eth0", priority=10)
    inner.route("2001:db8:9::/48", via="fe80::9", dev="eth1", priority=20)
    yield fires("IPv6, a second metric of a prefix", "not of default routes only", inner, "warning", about=ABOUT6)
    longer = host6().route("2001:db8:9::/48", via="fe80::1", dev="eth0").route("default", via="fe80::9", dev="eth1")
    yield fires("IPv6, a shorter prefix is left", "the kernel never falls back to it", longer, about=ABOUT6)

    def ecmp(forwarding: int) -> HostBuilder:
        built = host6()
        built.route("default", hops=[built.hop("eth0", "fe80::1"), built.hop("eth1", "fe80::9")], family="inet6")
        return built.sysctl("net.ipv6.conf.all.forwarding", forwarding)

    yield fires("IPv6 leg, host", "a host leaves it out", ecmp(0), "warning", about=ABOUT6)
    yield fires("IPv6 leg, router", "a router goes on hashing to it", ecmp(1), about=ABOUT6)


def other_place_examples() -> Iterator[Example]:
    shadowed = host(state="reachable").link("eth1").route("default", via="198.51.100.1", dev="eth1", priority=100)
    shadowed.neighbour("198.51.100.1", dev="eth1", state="failed")
    yield silence("stand-by gateway", "its route has the worse metric: nothing is sent there", shadowed)
    promoted = HostBuilder().link("eth0").link("eth1").neighbour("198.51.100.1", dev="eth1", state="failed")
    promoted.route("default", via="192.0.2.1", dev="eth0", flags=RTNH_F_DEAD | RTNH_F_LINKDOWN)
    promoted.route("default", via="198.51.100.1", dev="eth1", priority=100)
    about = subject("neighbour", dst="198.51.100.1", ifname="eth1")
    yield fires("stand-by gateway in use", "the better route is dead: this one is taken", promoted, about=about)
    hidden = host(state="reachable").route("default", via="192.0.2.9", dev="eth0", table=100)
    hidden.neighbour("192.0.2.9", dev="eth0", state="failed")
    yield silence("table without a rule", "no packet ever looks into it", hidden)
    ruled = hidden.rule(100, src="192.0.2.2", src_len=32, table=100)
    about = subject("neighbour", dst="192.0.2.9", ifname="eth0")
    yield fires(
        "table with a rule", "source routing has its own gateway", ruled, "critical", "of table 100", about=about
    )
    dead = HostBuilder().link("eth0", carrier=False).neighbour("192.0.2.1", dev="eth0", state="failed")
    dead.route("default", via="192.0.2.1", dev="eth0", flags=RTNH_F_DEAD | RTNH_F_LINKDOWN)
    yield silence("dead hop", "the kernel does not use it: another rule speaks of the link", dead)
    elsewhere = host(state="reachable").link("eth1").neighbour("192.0.2.1", dev="eth1", state="failed")
    yield silence("same address on another interface", "the route does not go there", elsewhere)
    via6 = host6().route("203.0.113.0/24", via="fe80::1", dev="eth0")
    yield fires("IPv6 gateway of an IPv4 route", "RTA_VIA: ND resolves it", via6, about=ABOUT6)
    objects = HostBuilder().link("eth0").nexthop(7, family="inet", gateway="192.0.2.1", oif="eth0")
    objects.route("default", nh_id=7, family="inet").neighbour("192.0.2.1", dev="eth0", state="failed")
    yield fires("nexthop object", "the route names the object only (nexthop_compat_mode=0)", objects)
    black = HostBuilder().link("eth0").neighbour("192.0.2.1", dev="eth0", state="failed")
    black.route("default", via="192.0.2.1", dev="eth0", type="blackhole", family="inet")
    yield silence("blackhole", "a route that drops has no gateway to ask", black)
    cut = HostBuilder().link("eth0", carrier=False).neighbour("192.0.2.1", dev="eth0", state="failed")
    cut.route("default", via="192.0.2.1", dev="eth0", flags=RTNH_F_LINKDOWN)
    yield fires("no carrier", "the message names the link as the cause", cut, "critical", "eth0 has no carrier")
