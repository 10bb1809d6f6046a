"""What it checks
  A host with an address on a network has no default route of that family in any table that policy rules lead to, and
  something shows that it is meant to reach further:
  - packets were refused for want of a route while netdiag looked (OutNoRoutes, without those of IPv6 for which the
    neighbour table had no room; InNoRoutes of what it forwards);
  - the same at any time since the namespace was made, where it has no route by any gateway and no tunnel at all;
  - a tunnel whose far end has no route, or endpoints of WireGuard in several networks, none of which has one, or in
    one, where no nameserver has one either;
  - a TCP connection under way (or in TIME_WAIT), a connected UDP socket, or a tracked connection that was answered, to
    where no route of any table leads; or a TCP connection, or a guest's, whose very packets no rule leads anywhere;
  - 0.0.0.0/1 without 128.0.0.0/1 (or ::/1 without 8000::/1): two routes that together stand for a default route;
  - a nexthop object with a gateway that no route uses any more, or a default route in a table that no rule leads to;
  - [[route]] of the intent names one of table main, or there was one at the time of the baseline, in a table that has
    none now; where some packets still have one, in a table for all; also where what is there now refuses.

Why it matters
  The host reaches its own subnets and nothing else: senders get "Network is unreachable", what it forwards is
  answered with ICMP network unreachable. A default route goes with its interface, with its nexthop object (which the
  kernel deletes when the carrier is lost), with a DHCP lease, or with a daemon that cleans up foreign routes; an
  interface that comes back does not bring a static one back.

Confirm
  ip route show default
  ip route get ADDRESS, with an address beyond the host's own subnets
  nstat -asz IpOutNoRoutes IpExtInNoRoutes Ip6OutNoRoutes Ip6InNoRoutes

Fix
  ip route add default via GATEWAY dev IFNAME, with the gateway of the network; then make whoever configures the host
  add it (ifupdown, netplan, DHCP, BIRD). It opens the way out for everything on the host and behind it: see that
  the firewall and NAT are what they were.

Not flagged
  A missing default route is no fault by itself, and from outside two hosts can look the same: one that lost it a moment
  ago and has sent nothing since, and one that was never meant to leave its subnets (a container on an internal network,
  a storage network, a lab). Without one of the signs above netdiag says nothing; state it in the intent, or compare
  with a baseline, to be told in any case. Silent as well: a default route of any policy table in use (one for some
  sources or interfaces alone, unless packets are refused now, or a tunnel has no way; one for some marks alone, unless
  a tunnel has no way, one for all is meant, or the other family has these marks and one for all); 0.0.0.0/1 with
  128.0.0.0/1, and 2000::/3; a default route that refuses (unreachable, blackhole, prohibit), where neither intent nor
  baseline knows another: somebody says that there is no way out; a hundred and more routes by gateways: a BGP router
  has its table (with fewer, of which a routing daemon made some, only what is lost now counts, as a warning: a far
  router may have taken it back); a connection that has ended, or one of UDP, from an address that this host has no
  more, or to multicast; what was tracked or has ended, into a single private network: that may have had a route of its
  own, gone with its bridge or tunnel; tracked TCP connections of which nothing was seen for five minutes, which are
  kept for days; hosts without an address of the family, or only on tunnels; one family where the other one has a
  default route, unless both have addresses on that interface (resolvers try both families and count a refusal). What
  was refused in the past on a host with tunnels (taps of guests are none): their daemons send before the network is up.

References
  net/ipv4/route.c ip_error(), IPSTATS_MIB_OUTNOROUTES in net/ipv4/udp.c and net/ipv6/ip6_output.c, RFC 4293,
  net/ipv4/nexthop.c nexthop_flush_dev(), net/ipv4/fib_frontend.c fib_disable_ip()
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import SEVERITY_RANK, Draft, Subject, subject
from netdiag.model.link import IFF_LOWER_UP, IFF_NOARP, IFF_POINTOPOINT, IFF_UP
from netdiag.model.neighbour import NTF_ROUTER
from netdiag.model.nexthop import NexthopMember
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_waysmeant import (
    connection_examples,
    fires,
    flow_examples,
    full_table_examples,
    host,
    marked_examples,
    peer_examples,
    refused_examples,
    silence,
    stranded_examples,
    taken_back_examples,
)
from netdiag.rules.routewords import ip_command
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysmeant import BEYOND, FORWARDED, OUT, Sign, beside_learned, signs, wanted
from netdiag.rules.waysout import (
    NULL_METRIC,
    ROUTER,
    Uplink,
    default_oifs,
    gateways,
    leads_out,
    likely_gateway,
    main_for_one_family,
    policy_defaults,
    refusing_default,
    uplinks,
)

RULE = Rule(
    id="route-default-missing",
    title="the host has no default route, and needs one",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls", "counters"),
    consults=("sockets", "conntrack", "conntrack_state", "wireguard", "resolver", "baseline", "intent.route"),
    explains=(
        "route-expected-missing",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "dns-*",
        "ip-in-noroutes",
        "wg-*",
    ),
    family="each",
)

NAMES = {"inet": ("IPv4", "0.0.0.0/0"), "inet6": ("IPv6", "::/0")}


@dataclass(frozen=True, kw_only=True)
class Missing:
    """One family without a default route, and why it needs one."""

    family: str
    uplink: Uplink
    signs: list[Sign]
    """The weightiest first; never empty."""
    aside: bool = False
    """There is one for packets from some sources or interfaces."""
    refusing: Route | None = None
    """The one that refuses all, in the place of one that is meant."""


def check(view: HostView) -> Iterator[Draft]:
    ways_out = {family: default_oifs(view, family, of_all=True) for family in ("inet", "inet6")}
    asked = (missing(view, "inet", ways_out), missing(view, "inet6", ways_out))
    found = sorted((each for each in asked if each), key=lambda each: weight(each.signs[0]))
    if found:
        yield draft(view, found)


def missing(view: HostView, family: str, ways_out: dict[str, set[int] | None]) -> Missing | None:
    """What `family` misses, if something shows that it needs a default route.

    `ways_out`: by family, the interfaces that the default routes for all packets go out by; None: there is no such.
    """
    other = "inet6" if family == "inet" else "inet"
    halved = ways_out[family] is not None and main_for_one_family(view, family, other)
    marked = ways_out[family] is not None and default_oifs(view, family, of_all=True, marked=False) is None
    refusing = refusing_default(view, family) if ways_out[family] == set() else None
    if (ways_out[family] is not None and not (marked or refusing)) or main_is_out_of_reach(view, family):
        return None
    up = uplinks(view, family)
    count, learned = gateways(view, family, marked=not marked)
    if not up or count >= ROUTER:
        return None
    elsewhere = ways_out[other]
    shared = [uplink for uplink in up if elsewhere is None or leads_out(uplink, elsewhere)]
    every = signs(view, family, counters=bool(shared) and (halved or not marked), lonely=not count)
    every = every if refusing is None else wanted(view, family)
    aside = default_oifs(view, family) is not None and refusing is None
    told = beside_learned(every) if learned else every
    told = (sign for sign in told if not aside or halved or sign.now)
    counted = sorted(told, key=weight)
    first = (shared or up)[0]
    return Missing(family=family, uplink=first, signs=counted, aside=aside, refusing=refusing) if counted else None


def weight(sign: Sign) -> int:
    """The weightiest is the least."""
    return SEVERITY_RANK[sign.severity]


def main_is_out_of_reach(view: HostView, family: str) -> bool:
    """Table main has a default route, and no rule takes it: rule-main-missing says so."""
    routes = view.routes(family)
    own = (routes.table == RT_TABLE_MAIN) & (routes.dst_len == 0) & (routes.type == RTN_UNICAST)
    return bool(own.any())


def draft(view: HostView, found: list[Missing]) -> Draft:
    """The finding: one for the host, named by the family that needs it more."""
    first = found[0]
    family, link, own = first.family, first.uplink.link, first.uplink.address
    network = f"{own.local}/{own.prefixlen}"
    version, dst = NAMES[family]
    state = "" if link.up else ", which is down"
    state = ", which has no carrier" if link.up and not link.lower_up else state
    both = f"; no {NAMES[found[1].family][0]} one either" if len(found) > 1 else ""
    ip, sign = ip_command(family), first.signs[0]
    rest = " for what no policy rule leads elsewhere" if first.aside else ""
    gateway = next((s.gateway for s in first.signs if s.gateway), None) or likely_gateway(view, family, first.uplink)
    add = f"{ip} route add default via {gateway or 'GATEWAY'} dev {quoted(link.ifname)}"
    if (null := first.refusing) is not None:
        rest = f" but one that refuses all ({null.type})"
        add = f"{ip} route del {null.type} default table {null.table} metric {null.priority} && {add}"
    outside = (at for at in BEYOND[family] if not view.lookup(Query(family=family, dst=at)).ok)
    made = RULE.found(
        subject=subject("route", dst=dst, table=RT_TABLE_MAIN),
        severity=sign.severity,
        message=f"no {version} default route{rest}, and {sign.text} (uplink {link.ifname}, {network}{state}){both}",
        evidence=[
            (f"{version} default route", null.type if null else "none", f"RTM_GETROUTE {dst}"),
            *(each.fact for each in first.signs[:2]),
        ],
        confirm=[
            f"{ip} route get {next(outside, BEYOND[family][0])}",
            f"nstat -asz {OUT[family]} {FORWARDED[family]}".replace(".", ""),
        ],
        fix=sign.fix or (add if gateway else f"{add}  # GATEWAY: the router of {network}"),
        touches=[about for missing in found for about in objects(missing)],
        breaks=[
            *(subject("route", dst=NAMES[missing.family][1], table=RT_TABLE_MAIN) for missing in found[1:]),
            *(about for missing in found for about in policy_defaults(view, missing.family)),
        ],
    )
    return msgspec.structs.replace(made, family=None) if len(found) > 1 else made


def objects(missing: Missing) -> Iterator[Subject]:
    """What the fault sits on."""
    dst, ifname = NAMES[missing.family][1], missing.uplink.link.ifname
    yield subject("link", ifname=ifname)
    yield subject("route", dst=dst, table=RT_TABLE_MAIN)
    yield subject("route", dst=dst, table=RT_TABLE_MAIN, ifname=ifname)


def examples() -> Iterator[Example]:
    yield from refused_examples()
    yield from other_sign_examples()
    yield from connection_examples()
    yield from flow_examples()
    yield from (*peer_examples(), *stranded_examples())
    yield from taken_back_examples()
    yield from full_table_examples()
    yield from silent_examples()
    yield from family_examples()


def other_sign_examples() -> Iterator[Example]:
    far = host().link("vx0", kind="vxlan", info={"remote": "198.51.100.9"})
    yield fires("tunnel cut off", "its far end was meant to be reached", far, "critical", "vx0 has no route")
    yield silence("tunnel down", "nobody uses it", host().link("vx0", up=False, info={"remote": "198.51.100.9"}))
    yield silence("tunnel on the segment", "its far end is attached", host().link("vx0", info={"remote": "192.0.2.9"}))
    six = host().link("vx0", info={"remote": "2001:db8::9"})
    any6 = host().address("eth0", "2001:db8::2/64").link("vx0", info={"remote": "::"})
    yield silence("tunnel to anywhere over IPv6", "the same", any6)
    yield silence("tunnel over IPv6", "it needs no IPv4 route", six)
    yield silence(
        "tunnel to anywhere", "the far end is given by its table", host().link("gre0", info={"remote": "0.0.0.0"})
    )
    left = host().nexthop(7, family="inet", gateway="192.0.2.1", oif="eth0")
    yield fires("nexthop object left", "its route was deleted", left, "warning", "nexthop object 7 via 192.0.2.1")
    far = host().nexthop(7, family="inet6", gateway="fe80::1", oif="eth0")
    yield silence("nexthop object of the other family", "no IPv4 route used it", far)
    used = left.route("203.0.113.0/24", via="192.0.2.1", dev="eth0", nh_id=7)
    yield silence("nexthop object in use", "its route is there", used)
    member = host().nexthop(7, gateway="192.0.2.1", oif="eth0").nexthop(9, group=(NexthopMember(id=7),))
    yield silence("nexthop object in a group", "the group is there for something", member)
    fdb = host().nexthop(7, gateway="198.51.100.9", fdb=True)
    yield silence("nexthop object of a bridge table", "VXLAN uses it, not a route", fdb)
    lost = host().route("default", via="192.0.2.1", dev="eth0", table=100)
    rule = ("table 100", "ip rule add lookup 100")
    yield fires("table without a rule", "the default route is there, its rule is not", lost, "warning", *rule)
    aside = host().route("default", via="192.0.2.1", dev="eth0", table=100).rule(9, table=100, suppress_prefixlength=0)
    yield silence("table whose default route is not wanted", "a rule leads there", aside)
    tried = host(0, 1).route("default", via="192.0.2.1", dev="eth0", table=100)
    tried.rule(9, table=100, suppress_prefixlength=0)
    yield fires("table whose default route is not wanted, refused now", "IPv4 takes none of it", tried, "warning")
    part = host().route("10.0.0.0/8", via="192.0.2.1", dev="eth0", table=100)
    yield silence("table without a rule, without default route", "no default route was meant", part)
    null = host().route("default", type="unreachable", family="inet", table=100)
    yield silence("table without a rule, refusing", "no way out either", null)
    ruled = lost.rule(100, src="192.0.2.7", src_len=32, table=100)
    yield silence("table with a rule", "policy routing gives some packets a way out", ruled)
    says = "no IPv4 default route for what no policy rule leads elsewhere, and 1 packet was"
    one: dict[str, Any] = {"src": "192.0.2.7", "src_len": 32}
    chosen: tuple[dict[str, Any], ...] = (one, {"iif": "tap0"}, {"fwmark": 7}, one | {"invert": True})
    for number, selector in enumerate(chosen):
        busy = host(3, 4).route("default", via="192.0.2.1", dev="eth0", table=100).rule(100, table=100, **selector)
        if number < 2:
            yield fires(f"table for {selector}", "all others are refused now", busy, "warning", says)
        else:
            yield silence(f"table for {selector}", "a VPN client marks what goes by it, or nearly all do", busy)
    yield from marked_examples()
    lame = host(3).route("default", via="192.0.2.1", dev="eth0", table=100).rule(100, table=100, **chosen[0])
    lame.nexthop(7, family="inet", gateway="192.0.2.1", oif="eth0")
    yield silence("table for some, refused before, an object left", "who knows when", lame)
    lame.link("vx0", kind="vxlan", info={"remote": "198.51.100.9"})
    yield fires("table for some, a tunnel cut off", "it is not one of them", lame, "critical", "vx0 has no route")
    main = host(0, 1).without_rule(32766).route("default", via="192.0.2.1", dev="eth0")
    yield silence("no rule for main", "rule-main-missing speaks of that", main)
    apart = host(0, 1).without_rule(32766).rule(32766, table=254, suppress_prefixlength=0)
    yield fires("default routes of main not wanted", "nor is there another", apart, "critical")


def silent_examples() -> Iterator[Example]:
    def with_route(dst: str = "default", **fields: Any) -> HostBuilder:
        return host(5, 6).route(dst, **({"via": "192.0.2.1", "dev": "eth0"} | fields))

    yield silence("default route", "every plain host", with_route())
    yield silence(
        "two halves",
        "VPN clients write 0.0.0.0/1 and 128.0.0.0/1",
        with_route("0.0.0.0/1").route("128.0.0.0/1", dev="eth0"),
    )
    lost = "ip route add 128.0.0.0/1 via 192.0.2.1 dev eth0 table 254"
    says = ("0.0.0.0/1 is there without 128.0.0.0/1", lost)
    yield fires("one half", "the other half is missing", with_route("0.0.0.0/1"), "critical", *says)
    quiet = host().route("128.0.0.0/1", dev="eth0")
    yield fires("the other half, nothing sent", "nobody means half of it", quiet, "critical", "route add 0.0.0.0/1 dev")
    six = host().address("eth0", "2001:db8::2/64").route("8000::/1", via="2001:db8::1", dev="eth0")
    yield fires("one half of IPv6", "the same", six, "critical", "ip -6 route add ::/1 via 2001:db8::1", six=True)
    quarter = host().route("0.0.0.0/2", via="192.0.2.1", dev="eth0")
    yield silence("a quarter", "that may be all that is wanted", quarter)
    null = host().route("0.0.0.0/1", type="blackhole", family="inet")
    yield silence("one half refused", "somebody says that there is no way", null)
    apart = host().route("0.0.0.0/1", via="192.0.2.1", dev="eth0", table=100)
    yield silence("one half in a table without a rule", "no packet takes it either", apart)
    split = with_route("0.0.0.0/1").route("128.0.0.0/1", dev="eth0", table=100)
    yield fires("the other half without a rule", "no packet takes it", split, "critical")
    taps = HostBuilder().link("tap0", kind="tun", info={"type": "tap"}).address("tap0", "10.0.0.1/30").link("eth0")
    taps = taps.address("eth0", "192.0.2.2/24").counters(
        before={"snmp": {OUT["inet"]: 1}}, after={"snmp": {OUT["inet"]: 1}}
    )
    yield fires("guests beside the uplink", "the way out is not theirs", taps, "warning", "uplink eth0")
    inner = with_route("10.0.0.0/8", type="blackhole", via=None, dev=None)
    yield fires("a prefix refused", "that says nothing about the rest", inner, "critical")
    apart = with_route(type="blackhole", via=None, dev=None, family="inet", table=100)
    yield fires("refusal without a rule", "no packet meets it", apart, "critical")
    spare = host(5, 6, up=False).link("eth1").address("eth1", "198.51.100.2/24")
    went = host(5, 6).link("eth1").address("eth1", "198.51.100.2/24").vanished("eth1")
    yield fires("an interface that went meanwhile", "its address is no way out", went, "critical", "uplink eth0")
    yield fires(
        "two interfaces, one down", "the one that is up is named", spare, "critical", "(uplink eth1, 198.51.100.2/24)"
    )
    for kind in ("unreachable", "blackhole", "prohibit"):
        null = with_route(type=kind, via=None, dev=None, family="inet")
        yield silence(f"{kind} default route", "somebody says that there is no way out", null)
    thrown = with_route(type="throw", via=None, dev=None, family="inet")
    yield fires("throw default route", "it only sends on to the next rule", thrown, "critical")
    learned = with_route("203.0.113.0/24", protocol=12)
    yield fires("some routes of BIRD's, refused now", "a few routes are no table of all networks", learned, "warning")
    before = host(5).route("203.0.113.0/24", via="192.0.2.1", dev="eth0", protocol=12)
    yield silence("some routes of BIRD's, refused before", "what a far router took back meanwhile", before)
    before.nexthop(7, family="inet", gateway="192.0.2.1", oif="eth0")
    yield silence("some routes of BIRD's, an object left", "whoever made it", before)
    many = host(5, 6)
    for number in range(ROUTER - 1):
        many.route(f"10.0.{number}.0/24", via="192.0.2.1", dev="eth0")
    yield fires("99 routes", "not yet a table of its own", many, "warning")
    yield silence("100 routes", "a router's table", many.route("10.1.0.0/24", via="192.0.2.1", dev="eth0"))

    def trying(built: HostBuilder) -> HostBuilder:
        return built.counters(before={"snmp": {OUT["inet"]: 5}}, after={"snmp": {OUT["inet"]: 6}})

    bare = trying(HostBuilder().link("eth0"))
    yield silence("no address", "a bridge port, a host without the family, a namespace with lo", bare)
    zero = trying(HostBuilder().link("eth0").address("eth0", "169.254.7.7/16"))
    yield silence("link-local address", "no network but the link", zero)
    inner = trying(HostBuilder().link("eth0").address("eth0", "192.0.2.2/24", scope=253))
    yield silence("address of scope link", "said to be for the link only", inner)
    looped = trying(HostBuilder().address("lo", "203.0.113.7/32"))
    yield silence("address on lo", "an anycast address, no network", looped)
    for flag in (IFF_NOARP, IFF_POINTOPOINT):
        tunnel = HostBuilder().link("wg0", flags=IFF_UP | IFF_LOWER_UP | flag).address("wg0", "10.0.0.2/24")
        yield silence(f"tunnel only, flag {flag:#x}", "a namespace behind a tunnel", trying(tunnel))


def family_examples() -> Iterator[Example]:
    def two(
        counter: str, *, v4: str | None = None, v6: str | None = None, address: str = "2001:db8::2/64"
    ) -> HostBuilder:
        """Addresses of both families on eth0; the default routes given go out by these interfaces."""
        built = host(2, None, counter).address("eth0", address).link("eth1").address("eth1", "fe80::2/64")
        if v4:
            built.route("default", dev=v4, family="inet")
        return built.route("default", dev=v6, family="inet6") if v6 else built

    yield fires("IPv4 gone, IPv6 there", "both have addresses on the uplink", two(OUT["inet"], v6="eth0"), "warning")
    yield silence("IPv4 for inside only", "IPv6 is the way out, elsewhere", two(OUT["inet"], v6="eth1"))
    yield fires("IPv6 gone, IPv4 there", "the same the other way", two(OUT["inet6"], v4="eth0"), "warning", six=True)
    second = two(OUT["inet6"], v4="eth1").address("eth1", "2001:db8:1::2/64")
    yield fires("IPv6 gone, on two", "named where IPv4 goes out", second, "warning", "(uplink eth1", six=True)
    cut_off = two(OUT["inet6"], v4="eth1").link("vx0", kind="vxlan", info={"remote": "2001:db8:9::9"})
    says = ("vx0 has no route", "(uplink eth0")
    yield fires("IPv6 for inside, a tunnel's far end", "it was to be reached", cut_off, "critical", *says, six=True)
    local = two(OUT["inet6"], v4="eth0", address="fd00::2/64")
    yield silence("IPv6 for inside only", "unique-local addresses need no way out", local)
    neither = two(OUT["inet6"], address="fd00::2/64")
    yield fires(
        "IPv6 refused, no default route at all", "there is no other family to use", neither, "warning", six=True
    )
    cut = {OUT["inet"]: 1, OUT["inet6"]: 1}
    lost = two(OUT["inet"]).counters(before={"snmp": cut}, after={"snmp": cut})
    yield fires("both gone", "one host is one finding", lost, "warning", "no IPv4 default", "no IPv6 one either")
    now = cut | {OUT["inet6"]: 2}
    worse = two(OUT["inet"]).counters(before={"snmp": cut}, after={"snmp": now})
    yield fires(
        "both gone, IPv6 needed now", "it is named by what is lost", worse, "critical", "no IPv6 default", six=True
    )
    quiet = two(OUT["inet"], v4="eth0")
    yield silence("IPv6 never tried", "a host with addresses for its own segment", quiet)
    old = two(OUT["inet6"], v4="eth1").route("default", type="unreachable", family="inet6", priority=NULL_METRIC)
    yield silence("IPv4 elsewhere", "the kernel's own null route says nothing", old)
    null = two(OUT["inet6"]).route("default", type="unreachable", family="inet6", priority=NULL_METRIC)
    yield fires("IPv6, the kernel's own null route", "older kernels show it", null, "warning", six=True)
    wide = two(OUT["inet6"]).route("2000::/3", dev="eth0")
    yield silence("IPv6, 2000::/3", "all that is routed today", wide)
    far = two(OUT["inet6"]).route("2000::/3", dev="eth0", table=100)
    yield fires("IPv6, 2000::/3 without a rule", "no packet takes it", far, "warning", six=True)
    known = two(OUT["inet6"]).neighbour("fe80::1", dev="eth0", flags=NTF_ROUTER).neighbour("fe80::7", dev="eth0")
    add = "ip -6 route add default via fe80::1 dev eth0"
    yield fires("IPv6, router known", "the fix names the neighbour that says so", known, "warning", add, six=True)
    part = two(OUT["inet6"]).route("4000::/3", dev="eth0")
    yield fires("IPv6, another /3", "not what is routed", part, "warning", six=True)
    kept = two(OUT["inet6"]).without_rule(32766, family="inet6").route("default", dev="eth0", family="inet6", table=9)
    kept.rule(32766, family="inet6", table=9, suppress_prefixlength=0)
    yield silence("IPv6, suppressed", "IPv6 uses what was suppressed, where nothing else is found", kept)
