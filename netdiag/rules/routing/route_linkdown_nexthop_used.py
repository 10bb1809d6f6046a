"""What it checks
  The kernel sends traffic out of an interface without carrier: a next hop marked linkdown, of the route that it takes
  for its prefix, in a table that a policy rule leads to, while ignore_routes_with_linkdown is off. It is reported
  where another next hop, a route of a worse metric or one of a shorter prefix could carry that traffic; where it is
  the default route or has a gateway: then nothing says that the silence is meant; and where this host demonstrably
  sends there (the neighbour of a BGP session, a living WireGuard peer, a tunnel's far end, a connection that waits).

Why it matters
  An interface that lost its carrier keeps its routes as long as it is up, and Linux goes on using them: the packets
  are lost on the spot, although the way that stands by would work. Of a multipath route it is the share of the flows
  that the hash gives to that leg.
  An IPv6 host that does not forward notices after three seconds, by the neighbour entry, and takes another leg or
  another metric of the prefix until that entry ages out: a warning then.

Confirm
  ip route show PREFIX table TABLE
  ip -br link show dev IFNAME
  ip route get ADDRESS

Fix
  Bring the carrier back. To have the kernel change over by itself:
  sysctl -w net.ipv4.conf.IFNAME.ignore_routes_with_linkdown=1 (IPv6: net.ipv6.conf.IFNAME...; IPv4 also heeds "all",
  IPv6 copies "all" to every interface when it is written). While the carrier is gone, every route through IFNAME is
  then passed over, also that of its own subnet.
  A multipath route is not spread anew by that setting, not even where the hop is then shown as dead: the hash is
  computed when a route is made and when the carrier changes. Replace the route by one over the living legs.

Not flagged
  Hops shown as "dead linkdown": the kernel leaves them out. Subnets of bridges without running ports, of taps without
  a machine, of veths without a container (docker0, virbr0) and of cards that are not plugged in: nobody is known there
  to talk to, and no second route of the same prefix says otherwise. Routes that the kernel does not take. Routes over
  nexthop objects: the kernel deletes an object with the carrier, and its routes with it, so a default route may be
  missing instead.

References
  net/ipv4/fib_semantics.c fib_sync_down_dev() fib_rebalance(), net/ipv4/fib_trie.c fib_lookup_good_nhc(),
  net/ipv6/route.c find_match() rt6_multipath_rebalance(), net/ipv4/nexthop.c nexthop_flush_dev(),
  Documentation/networking/ip-sysctl.rst ignore_routes_with_linkdown
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from netdiag.index.guests import switched
from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import Mask, Way, rivals, taken, usable, ways
from netdiag.model.distinct import among
from netdiag.model.finding import SEVERITY_RANK, Draft, Severity, subject
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN, RTNH_F_ONLINK, Route, RouteHop, Routes
from netdiag.rules.build import HostBuilder
from netdiag.rules.darkdemands import CONSULTS, dark_examples, wanted
from netdiag.rules.routewords import ip_command
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import led_on

RULE = Rule(
    id="route-linkdown-nexthop-used",
    title="traffic goes out of an interface without carrier",
    severity="critical",
    reads=("links", "routes", "rules", "nexthops", "sysctls"),
    consults=CONSULTS,
    explains=("neigh-gateway-failed", "neigh-incomplete-storm", "bgp-*", "wg-*", "dns-*", "tcp-*"),
)

NO_CARRIER = RTNH_F_DEAD | RTNH_F_LINKDOWN
IDLE_KINDS = ("bridge", "tun")
"""Interfaces that have no carrier as long as nobody is behind them (IFF_TUN and IFF_TAP are both kind ``tun``)."""
LOOKED_AT = 64
"""Routes of one way that are judged, the shortest prefixes first."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """One route that loses its traffic."""

    way: Way
    route: Route
    left: Route | None
    """The route that could carry it."""
    legs: tuple[RouteHop, ...] = ()
    """Its own next hops with a carrier."""
    whom: str | None = None
    """Somebody in use whom it leads to, where nothing else tells that it is missed."""

    @property
    def rank(self) -> tuple[int, str, int]:
        """Of equal weight, the shortest prefix tells most."""
        return int(self.route.dst.partition("/")[2]), self.route.family, self.route.table


def judged(view: HostView, family: str, way: Way, position: int, whom: str | None) -> Use | None:
    """Whether the route at ``position`` loses its traffic, and what is left for it. ``whom``: who is behind it."""
    routes, fib, link = view.routes(family), view.fib(family), view.link(way.hop.oif)
    if link is None or not taken(fib, position):
        return None  # (with an interface that went meanwhile its routes did)
    route = routes.row(position)
    alive = tuple(leg for leg in way.legs if not leg.flags & NO_CARRIER)
    if alive:
        return Use(way=way, route=route, left=None, legs=alive)
    others = rivals(fib, position)
    same = [other for other in others.after if usable(routes, other, unusable=NO_CARRIER)]
    if same:
        return Use(way=way, route=route, left=routes.row(same[0]))
    idle = way.hop.gateway is None or (link.kind in IDLE_KINDS and not switched(view.stack, link))
    if idle and not route.default:
        return Use(way=way, route=route, left=None, whom=whom) if whom else None
    later = led_on(view, route)
    shorter = [*others.shorter, *([] if later is None else [later])]
    shorter = [other for other in shorter if usable(routes, other, unusable=NO_CARRIER)]
    return Use(way=way, route=route, left=routes.row(shorter[0]) if shorter else None)


def uses(view: HostView, family: str) -> Iterator[Use]:
    """Every way without carrier that is in use, with its most telling route."""
    routes = view.routes(family)
    dark = (routes.flags & NO_CARRIER) == RTNH_F_LINKDOWN
    dark |= np.array([any(is_down(hop) for hop in extra.multipath) for extra in routes.extras] + [False])[routes.extra]
    if not dark.any():
        return
    whom = wanted(view, family)
    dark &= among(routes.table, list(reachable_tables(view.rules, view.links, family))) & ~on_every_link(routes)
    for way in ways(routes, view.nexthops, dark):
        if not is_down(way.hop):
            continue
        order = np.argsort(routes.dst_len[way.positions], kind="stable")[:LOOKED_AT]
        found = [judged(view, family, way, at, whom.get(at)) for at in way.positions[order].tolist()]
        told = sorted((use for use in found if use is not None), key=lambda use: told_first(view, use))
        yield from told[:1]


def told_first(view: HostView, use: Use) -> tuple[int, tuple[int, str, int]]:
    """The order in which uses are told."""
    return SEVERITY_RANK[weight(view, use)], use.rank


def on_every_link(routes: Routes) -> Mask:
    """Link-local and multicast prefixes: every interface has them, and none stands in for another."""
    if routes.family == "inet6":
        first, second = routes.dst[:, 0], routes.dst[:, 1]
        own: Mask = (first == 0xFF) | (first == 0xFE) & (second & 0xC0 == 0x80)
    else:
        own = (routes.dst >> 16 == 0xA9FE) | (routes.dst >> 28 == 0xE)
    return own


def is_down(hop: RouteHop) -> bool:
    """Without carrier, and used all the same."""
    return hop.flags & NO_CARRIER == RTNH_F_LINKDOWN


def weight(view: HostView, use: Use) -> Severity:
    """How bad: see the page."""
    notices = use.route.family == "inet6" and view.sysctl_int("net.ipv6.conf.all.forwarding") == 0
    same_prefix = bool(use.legs) or (use.left is not None and use.left.dst == use.route.dst)
    if same_prefix:
        return "warning" if notices else "critical"
    return "critical" if use.left is not None or use.route.default else "warning"


def way_text(view: HostView, family: str, hop: RouteHop) -> str:
    """``via 192.0.2.1 dev eth0``, as ``ip route`` takes it."""
    word = "inet6 " if family == "inet" and ":" in (hop.gateway or "") else ""
    return (f"via {word}{hop.gateway} " if hop.gateway else "") + f"dev {quoted(view.ifname(hop.oif))}"


def named(route: Route) -> str:
    """``the IPv4 default route``, ``the route to 192.0.2.0/24 of table 100``."""
    version = "IPv4" if route.family == "inet" else "IPv6"
    text = f"the {version} default route" if route.default else f"the route to {route.dst}"
    return text if route.table == 254 else f"{text} of table {route.table}"


def sentence(view: HostView, found: list[Use], ifname: str) -> str:
    """The message, about the first use and the number of the others."""
    use = found[0]
    count = sum(len(each.way.positions) for each in found) - 1
    more = f" (and {count} more route{'s' if count > 1 else ''})" if count else ""
    if use.legs:
        total = sum(leg.weight for leg in use.way.legs)
        share = f"about {100 * use.way.hop.weight // total} % of the flows of {named(use.route)}{more} go"
        living = ", ".join(view.ifname(leg.oif) for leg in use.legs)
        return f"{share} out of {ifname}, which has no carrier, instead of {living}"
    text = f"{named(use.route)}{more} goes out of {ifname}, which has no carrier"
    if use.whom is not None:
        return f"{text}: nothing else is for {use.whom}"
    if use.left is None:
        return f"{text}, and nothing else in its table could carry it"
    hops = use.left.hops
    other = "the default route of" if use.left.default else f"{use.left.dst}"
    out = f" by {view.ifname(hops[0].oif)}" if hops else ""
    return f"{text}, although {other} metric {use.left.priority}{out} could carry it"


def fix(view: HostView, found: list[Use], ifname: str) -> str:
    """What to do about all of them."""
    commands = []
    for use in found:
        command = new_legs(view, use) if use.legs else setting(use, ifname) if use.left is not None else None
        if command is not None and command not in commands:
            commands.append(command)
    if not commands:
        return f"bring the carrier of {ifname} back: the cable, the module, the other end; nothing else can carry this"
    return f"{' && '.join(commands)}  # and bring the carrier of {ifname} back"


def new_legs(view: HostView, use: Use) -> str:
    """The route again, over the legs that have a carrier."""
    route = use.route
    hops = [way_text(view, route.family, leg) for leg in use.legs]
    if len(hops) > 1:
        hops = [f"nexthop {hop} weight {leg.weight}" for hop, leg in zip(hops, use.legs, strict=True)]
    table = "" if route.table == 254 else f" table {route.table}"
    metric = f" metric {route.priority}" if route.priority else ""
    return f"{ip_command(route.family)} route replace {route.dst}{table}{metric} {' '.join(hops)}"


def setting(use: Use, ifname: str) -> str:
    """The setting that makes the kernel pass the interface's routes over."""
    name = f"net/{'ipv4' if use.route.family == 'inet' else 'ipv6'}/conf/{ifname}/ignore_routes_with_linkdown"
    return f"sysctl -w {quoted(name if '.' in ifname else name.replace('/', '.'))}=1"


def check(view: HostView) -> Iterator[Draft]:
    by_link: dict[int, list[Use]] = {}
    for family in ("inet", "inet6"):
        for use in uses(view, family):
            by_link.setdefault(use.way.hop.oif, []).append(use)
    for oif, found in by_link.items():
        found.sort(key=lambda use: told_first(view, use))
        yield draft(view, view.ifname(oif), found)


def draft(view: HostView, ifname: str, found: list[Use]) -> Draft:
    """The finding about one interface, named by the route that tells most."""
    use, route = found[0], found[0].route
    link = subject("link", ifname=ifname)
    gateways = sorted({each.way.hop.gateway for each in found if each.way.hop.gateway})
    routes = [subject("route", dst=each.route.dst, table=each.route.table, ifname=ifname) for each in found]
    hop = way_text(view, route.family, use.way.hop)
    return RULE.found(
        subject=routes[0],
        severity=weight(view, use),
        message=sentence(view, found, ifname),
        evidence=[
            ("next hop", f"{hop} linkdown", f"RTM_GETROUTE {route.dst} table {route.table} RTNH_F_LINKDOWN"),
            (f"{ifname} carrier", "no", f"RTM_GETLINK {ifname} IFLA_CARRIER"),
        ],
        confirm=[
            f"{ip_command(route.family)} route show {route.dst} table {route.table}",
            f"ip -br link show dev {quoted(ifname)}",
        ],
        fix=fix(view, found, ifname),
        touches=[link, *routes],
        breaks=[link, *routes, *(subject("neighbour", dst=gateway, ifname=ifname) for gateway in gateways)],
    )


def examples() -> Iterator[Example]:
    yield from single_examples()
    yield from idle_examples()
    yield from multipath_examples()
    yield from dark_examples()
    yield from examples6()


def uplinks(**first: Any) -> HostBuilder:
    """Two uplinks, the first one without carrier."""
    built = HostBuilder().link("eth0", carrier=False, **first).link("eth1")
    return built.address("eth0", "192.0.2.2/24").address("eth1", "198.51.100.2/24")


def down(dst: str = "default", **fields: Any) -> HostBuilder:
    """A route by the first uplink."""
    flags = fields.pop("flags", RTNH_F_LINKDOWN)
    link = fields.pop("link", {})
    return uplinks(**link).route(dst, **({"via": "192.0.2.1", "dev": "eth0", "flags": flags} | fields))


def spare(built: HostBuilder, dst: str = "default", **fields: Any) -> HostBuilder:
    """A second route by the living uplink."""
    defaults: dict[str, Any] = {"via": "198.51.100.1", "dev": "eth1", "priority": 100}
    return built.route(dst, **(defaults | fields))


def fires(
    name: str, why: str, built: HostBuilder, severity: Severity = "critical", *says: str, **about: str | int
) -> Example:
    keys: dict[str, Any] = {"dst": "0.0.0.0/0", "table": 254, "ifname": "eth0"} | about
    row = subject("route", **keys)
    return Example(name=name, why=why, tables=built.build(), fires=1, subject=row, severity=severity, says=says)


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def single_examples() -> Iterator[Example]:
    setting4 = "sysctl -w net.ipv4.conf.eth0.ignore_routes_with_linkdown=1  # and"
    text = "out of eth0, which has no carrier, although the default route of metric 100 by eth1 could"
    yield fires(
        "default route, another stands by",
        "the plain fault: IPv4 never changes over",
        spare(down()),
        "critical",
        setting4,
        text,
    )
    yield fires(
        "default route, nothing else",
        "a host cut off by its cable",
        down(),
        "critical",
        "nothing else in its table",
        "bring the carrier",
    )
    yield silence("carrier there", "nothing is wrong", spare(down(flags=0)))
    dead = RTNH_F_LINKDOWN | RTNH_F_DEAD
    flagged = spare(down(flags=RTNH_F_LINKDOWN | RTNH_F_ONLINK))
    yield fires("onlink", "other flags do not matter", flagged)
    yield silence("ignored", "ignore_routes_with_linkdown is on: the kernel marks it dead", spare(down(flags=dead)))
    yield silence("stand-by without carrier", "the worse metric is not in use", spare(down(priority=200)))
    tie = spare(down(), priority=0)
    yield fires("same metric", "the second of equals could carry it", tie)
    worse = spare(down(), flags=RTNH_F_LINKDOWN)
    none = "nothing else in its table could carry it"
    yield fires("the other without carrier too", "nothing is left, and one finding a way out", worse, "critical", none)
    null = down().route("default", type="blackhole", family="inet", priority=100)
    yield fires("only a blackhole is left", "that carries nothing", null, "critical", none)
    inner = spare(down("10.0.0.0/8"), priority=0)
    yield fires("a prefix, the default route is left", "a shorter prefix could carry it", inner, dst="10.0.0.0/8")
    last = spare(down("10.0.0.0/8"), table=90).rule(33000, table=90)
    yield fires("a prefix, the last table is left", "it could carry it", last, dst="10.0.0.0/8")
    lost = down("10.0.0.0/8")
    yield fires("a prefix, nothing is left", "lost all the same", lost, "warning", dst="10.0.0.0/8")
    shut = down("10.0.0.0/8").route("default", type="unreachable", family="inet")
    yield fires("a prefix, all else is refused", "that carries nothing", shut, "warning", none, dst="10.0.0.0/8")
    yield silence("an interface that went meanwhile", "its routes went with it", down().vanished("eth0"))
    metrics = {"protocol": 2, "priority": 256, "via": None}
    twins = down("fe80::/64", **metrics).route("fe80::/64", dev="eth1", protocol=2, priority=256)
    yield silence("link-local prefix", "every interface has fe80::/64, and needs its own", twins)
    edge = down("febf::/64", **metrics).route("febf::/64", dev="eth1", protocol=2, priority=256)
    yield silence("last link-local prefix", "fe80::/10 ends there", edge)
    beyond = down("fec0::/64", **metrics).route("fec0::/64", dev="eth1", protocol=2, priority=256)
    beyond.sysctl("net.ipv6.conf.all.forwarding", 1)
    yield fires("subnet of two interfaces", "the other one could carry it", beyond, dst="fec0::/64")
    for prefix in ("ff00::/8", "169.254.0.0/16", "224.0.0.0/4"):
        every = down(prefix, via=None).route(prefix, dev="eth1", priority=2000)
        yield silence(f"{prefix} on both", "no interface stands in for another", every)
    for prefix in ("169.253.0.0/16", "223.0.0.0/8", "3f80::/16"):
        unicast = down(prefix, via=None).route(prefix, dev="eth1", priority=2000)
        unicast.sysctl("net.ipv6.conf.all.forwarding", 1)
        yield fires(f"{prefix} on both", "an ordinary prefix", unicast, dst=prefix)
    outer = down("10.0.0.0/8").route("10.1.0.0/16", via="192.0.2.1", dev="eth0", flags=RTNH_F_LINKDOWN)
    outer.route("10.1.0.0/16", via="198.51.100.1", dev="eth1", priority=9)
    yield fires("a longer prefix could be saved", "what is worse is told first", outer, dst="10.1.0.0/16")
    hidden = spare(down(table=100), table=100)
    yield silence("table without a rule", "no packet looks into it", hidden)
    ruled = hidden.rule(100, src="192.0.2.2", src_len=32, table=100)
    yield fires(
        "table with a rule", "policy routing has the same fault", ruled, "critical", "of table 100 goes", table=100
    )
    both = spare(down()).route("10.0.0.0/8", via="192.0.2.9", dev="eth0", flags=RTNH_F_LINKDOWN)
    both.route("default", via="fe80::1", dev="eth0", flags=RTNH_F_LINKDOWN)
    yield fires(
        "several routes by one interface",
        "one interface is one finding, of both families",
        both,
        "critical",
        "(and 2 more routes)",
    )


def idle_examples() -> Iterator[Example]:
    bridge = {"kind": "bridge"}
    docker = HostBuilder().link("eth0").link("docker0", carrier=False, kind="bridge")
    docker.route("172.17.0.0/16", dev="docker0", scope=253, protocol=2, flags=RTNH_F_LINKDOWN)
    docker.route("default", via="192.0.2.1", dev="eth0")
    yield silence("docker0", "a bridge without containers, and the default route is no way to them", docker)
    guest = spare(down("10.0.0.0/8", link=bridge), priority=0)
    yield silence("gateway behind an empty bridge", "the router guest is not running", guest)
    wire = spare(down("10.0.0.0/8", link=bridge), priority=0).link("eth9", carrier=False, master="eth0")
    yield fires("gateway behind a bridge with a card", "its cable is out", wire, dst="10.0.0.0/8")
    tap = spare(down("10.0.0.0/8", link={"kind": "tun"}), priority=0)
    yield silence("gateway behind a tap", "the machine is not running", tap)
    veth = spare(down("10.9.0.7/32", via=None, link={"kind": "veth"}), priority=0)
    yield silence("route to a container", "it is not running", veth)
    yield fires("default route by a bridge", "an uplink can be a bridge", spare(down(link=bridge)))
    backup = spare(down("10.0.0.0/8", via=None, link=bridge), "10.0.0.0/8")
    yield fires("a second route of the prefix", "somebody wrote what shall happen then", backup, dst="10.0.0.0/8")
    yield fires("default route without gateway", "a tunnel without carrier", down(via=None, family="inet"))


def multipath_examples() -> Iterator[Example]:
    def ecmp(first: int, second: int = 0, weight: int = 1, **fields: Any) -> HostBuilder:
        built = uplinks()
        hops = [
            built.hop("eth0", "192.0.2.1", flags=first, weight=weight),
            built.hop("eth1", "198.51.100.1", flags=second),
        ]
        return built.route("10.0.0.0/8", hops=hops, **fields)

    new = "ip route replace 10.0.0.0/8 via 198.51.100.1 dev eth1"
    yield fires(
        "one leg of two", "half of the flows", ecmp(RTNH_F_LINKDOWN), "critical", "about 50 %", new, dst="10.0.0.0/8"
    )
    loaded = ecmp(RTNH_F_LINKDOWN, RTNH_F_ONLINK, 3, priority=7, table=100).rule(100, table=100)
    new = "ip route replace 10.0.0.0/8 table 100 metric 7 via 198.51.100.1 dev eth1"
    yield fires(
        "leg with three of four", "by weight", loaded, "critical", "about 75 %", new, dst="10.0.0.0/8", table=100
    )
    three = ecmp(RTNH_F_LINKDOWN)
    hops = [
        three.hop("eth0", flags=RTNH_F_LINKDOWN),
        three.hop("eth1", "198.51.100.1"),
        three.hop("eth1", "fe80::1", weight=2),
    ]
    three.route("172.16.0.0/12", hops=hops).without_routes(table=99)
    new = "nexthop via 198.51.100.1 dev eth1 weight 1 nexthop via inet6 fe80::1 dev eth1 weight 2"
    yield fires("two legs left", "the fix keeps both", three, "critical", "(and 1 more route)", new, dst="10.0.0.0/8")
    yield silence("one leg, ignored", "the kernel marks it dead", ecmp(RTNH_F_LINKDOWN | RTNH_F_DEAD))
    yield silence("both alive", "nothing is wrong", ecmp(0))
    cut = ecmp(RTNH_F_LINKDOWN, RTNH_F_DEAD)
    yield fires("the other leg dead", "no leg has a carrier", cut, "warning", dst="10.0.0.0/8")
    unnamed = uplinks().nexthop(7, gateway="192.0.2.1", oif="eth0", flags=RTNH_F_LINKDOWN)
    unnamed.route("10.0.0.0/8", nh_id=7)
    yield fires("nexthop object", "named only, added after the carrier went", unnamed, "warning", dst="10.0.0.0/8")


def examples6() -> Iterator[Example]:
    def metrics(forwarding: int, second: str = "default") -> HostBuilder:
        built = (
            HostBuilder().link("eth0", carrier=False).link("eth1").sysctl("net.ipv6.conf.all.forwarding", forwarding)
        )
        built.route(second if second != "default" else "default", via="fe80::1", dev="eth0", flags=RTNH_F_LINKDOWN)
        return built.route("default", via="fe80::9", dev="eth1", priority=2048)

    setting6 = "sysctl -w net.ipv6.conf.eth0.ignore_routes_with_linkdown=1"
    yield fires("IPv6 router", "a router does not look at neighbours", metrics(1), "critical", setting6, dst="::/0")
    yield fires("IPv6 host", "a host notices, seconds later", metrics(0), "warning", dst="::/0")
    longer = metrics(0, "2001:db8:9::/48")
    yield fires("IPv6 host, shorter prefix", "it never falls back to that", longer, dst="2001:db8:9::/48")
    legs = HostBuilder().link("eth0", carrier=False).link("eth1").sysctl("net.ipv6.conf.all.forwarding", 1)
    hops = [legs.hop("eth0", "fe80::1", flags=RTNH_F_LINKDOWN), legs.hop("eth1", "fe80::9")]
    yield fires(
        "IPv6 leg", "the hash goes on giving it flows", legs.route("default", hops=hops, family="inet6"), dst="::/0"
    )
