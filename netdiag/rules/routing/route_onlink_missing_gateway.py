"""What it checks
  A route has a gateway that no subnet, host route or other route without gateway of its interface holds, and the
  route is not marked onlink. All tables that policy rules lead to, both families, multipath routes, nexthop objects,
  IPv6 gateways of IPv4 routes.

Why it matters
  The kernel asks whether a gateway is attached when a route is added, and never again. When the subnet's address or
  its connected route goes away while another address keeps the interface alive, the route stays and goes on working:
  the neighbour is resolved on the interface as before. But nobody can add it again: after the next restart of the
  interface, the daemon or the host, adding it fails with "Nexthop has invalid gateway" (IPv6: "No route to host") and
  the traffic has no way. A gateway that checks the sender's subnet may already stop answering ARP.

Confirm
  ip route show PREFIX table TABLE
  ip route show table all dev IFNAME
  ip -br address show dev IFNAME

Fix
  Give the interface its subnet back (ip address add ADDRESS/LENGTH dev IFNAME), which is what the route was made
  for. Where the address is still there, its connected route was deleted: ip route add PREFIX dev IFNAME proto kernel
  scope link src ADDRESS, and the other hosts of the subnet are reached again as well. Where the gateway is meant to
  lie outside every subnet, say so: ip route replace PREFIX via GATEWAY dev IFNAME onlink. None of them interrupts what
  flows.

Not flagged
  Routes marked onlink. Gateways with a host route of their own on the interface, as clouds have it (ip route add
  GATEWAY dev IFNAME scope link), in whichever table. Link-local IPv6 gateways. Point-to-point interfaces and
  others without ARP (tun, WireGuard): they have nothing to resolve. A gateway that is an address of this host. Hops
  that the kernel marks as dead, and tables that no rule leads to.

References
  net/ipv4/fib_semantics.c fib_check_nh_v4_gw(), net/ipv6/route.c ip6_route_check_nh(), ip-route(8) onlink
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import Way, ways
from netdiag.model.address import IFA_F_NOPREFIXROUTE
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.link import IFF_BROADCAST, IFF_LOWER_UP, IFF_NOARP, IFF_POINTOPOINT, IFF_UP
from netdiag.model.route import RTNH_F_DEAD, Route, address_text
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="route-onlink-missing-gateway",
    title="a gateway lies in no subnet of its interface",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops"),
    explains=("neigh-gateway-failed",),
    family="each",
)

LINK_LOCAL = ipaddress.ip_network("fe80::/10")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Place = tuple[int, str]
"""ifindex and gateway."""


def by_gateway(view: HostView, family: str) -> dict[Place, list[Way]]:
    """The ways of one family whose gateway has to be attached to be accepted."""
    routes = view.routes(family)
    found: dict[Place, list[Way]] = {}
    for way in ways(routes, view.nexthops, among(routes.table, list(reachable_tables(view.rules, view.links, family)))):
        link, gateway = view.link(way.hop.oif), way.hop.gateway
        if gateway is None or link is None or way.onlink or way.dead:
            continue
        if link.noarp or link.flags & IFF_POINTOPOINT:
            continue
        found.setdefault((way.hop.oif, gateway), []).append(way)
    return found


def attached(view: HostView, family: str, indexes: Iterable[int]) -> dict[int, list[Network]]:
    """The prefixes that lie on each interface: of routes without gateway, in any table."""
    routes = view.routes(family)
    chosen = (routes.oif == 0) | among(routes.oif, list(indexes))
    chosen &= ~(routes.gateway.any(axis=1) if routes.gateway.ndim > 1 else routes.gateway != 0)
    found: dict[int, list[Network]] = {}
    for way in ways(routes, view.nexthops, chosen):
        if way.hop.gateway is None:
            prefixes = (f"{address_text(routes.dst[at])}/{routes.dst_len[at]}" for at in way.positions.tolist())
            found.setdefault(way.hop.oif, []).extend(ipaddress.ip_network(prefix, False) for prefix in prefixes)
    return found


def holds(networks: Iterable[Network], gateway: str) -> bool:
    """Whether one of the prefixes holds the gateway."""
    address = ipaddress.ip_address(gateway)
    return any(address in network for network in networks)


def check(view: HostView) -> Iterator[Draft]:
    found = {family: by_gateway(view, family) for family in ("inet", "inet6")}
    indexes = {ifindex for places in found.values() for ifindex, _ in places}
    if not indexes:
        return
    prefixes = {family: attached(view, family, indexes) for family in found}
    for family, places in found.items():
        for (ifindex, gateway), through in places.items():
            version = "inet6" if ":" in gateway else "inet"
            if ipaddress.ip_address(gateway) in LINK_LOCAL:
                continue
            if holds(prefixes[version].get(ifindex, ()), gateway) or view.local.is_local(version, gateway):
                continue
            yield draft(view, family, gateway, view.ifname(ifindex), through)


def draft(view: HostView, family: str, gateway: str, ifname: str, through: list[Way]) -> Draft:
    """The finding about one gateway."""
    routes = view.routes(family)
    shortest = [int(way.positions[np.argmin(routes.dst_len[way.positions])]) for way in through]
    route = routes.row(min(shortest, key=lambda at: (int(routes.dst_len[at]), int(routes.table[at]) != 254, at)))
    count = sum(len(way.positions) for way in through)
    more = f" and {count - 1} more route{'s' if count > 2 else ''}" if count > 1 else ""
    shown = "default" if route.default else route.dst
    version, dash = ("IPv4", "") if family == "inet" else ("IPv6", "-6 ")
    name = f"the {version} default route" if route.default else f"the route to {route.dst}"
    name += "" if route.table == 254 else f" of table {route.table}"
    source = f"RTM_GETROUTE {route.dst} table {route.table}"
    link, own = subject("link", ifname=ifname), own_subnet(view, gateway, ifname)
    lies = f"which no subnet of {ifname} holds"
    if own is not None:
        lies = f"and the connected route of its own subnet there, {own.network}, is gone"
    return RULE.found(
        subject=subject("route", dst=route.dst, table=route.table, ifname=ifname),
        message=f"{name}{more} {'use' if more else 'uses'} gateway {gateway} on {ifname}, {lies}: "
        "it works until it has to be added again, which the kernel will refuse",
        evidence=[
            ("gateway", f"{gateway} dev {ifname}", f"{source} RTA_GATEWAY"),
            ("onlink", "no", f"{source} RTNH_F_ONLINK"),
            (f"addresses of {ifname}", own_addresses(view, ifname), "RTM_GETADDR"),
        ],
        confirm=[
            f"ip {dash}route show {shown} table {route.table}",
            f"ip -br address show dev {quoted(ifname)}",
        ],
        fix=fix(route, gateway, ifname, dash) if own is None else connected(view, own, ifname),
        touches=[link, subject("neighbour", dst=gateway, ifname=ifname)],
        breaks=[subject("neighbour", dst=gateway, ifname=ifname)],
    )


def own_addresses(view: HostView, ifname: str) -> str:
    """Text of an interface's addresses."""
    rows = [row for row in view.addresses if view.ifname(row.ifindex) == ifname]
    return ", ".join(f"{row.local}/{row.prefixlen}" for row in rows) or "none"


def own_subnet(view: HostView, gateway: str, ifname: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    """An address of the interface in whose subnet the gateway is, and that ought to have made a connected route."""
    for row in view.addresses:
        if view.ifname(row.ifindex) != ifname or row.flags & IFA_F_NOPREFIXROUTE or row.peer is not None:
            continue
        own = ipaddress.ip_interface(f"{row.local}/{row.prefixlen}")
        if ipaddress.ip_address(gateway) in own.network:
            return own
    return None


def connected(view: HostView, own: ipaddress.IPv4Interface | ipaddress.IPv6Interface, ifname: str) -> str:
    """The command for the connected route of an address, in the table of the interface's VRF."""
    index = next(row.ifindex for row in view.links if row.ifname == ifname)
    vrf = view.stack.vrf(index)
    table = f" table {vrf.info.get('table')}" if vrf is not None else ""
    if own.version == 6:
        return f"ip -6 route add {own.network} dev {quoted(ifname)} proto kernel metric 256{table}"
    return f"ip route add {own.network} dev {quoted(ifname)} proto kernel scope link src {own.ip}{table}"


def fix(route: Route, gateway: str, ifname: str, dash: str) -> str:
    """Vouch for the gateway, or give the subnet back."""
    back = f"give {quoted(ifname)} the subnet of {gateway} back"
    if len(route.hops) > 1 or route.nh_id is not None:
        return f"ip address add ADDRESS/LENGTH dev {quoted(ifname)}  # {back}"
    via = f"via {'inet6 ' if route.family == 'inet' and ':' in gateway else ''}{gateway}"
    words = [
        f"ip {dash}route replace",
        "default" if route.default else route.dst,
        via,
        f"dev {quoted(ifname)}",
        "onlink",
    ]
    words += [f"table {route.table}"] if route.table != 254 else []
    words += [f"metric {route.priority}"] if route.priority else []
    words += [f"src {route.prefsrc}"] if route.prefsrc else []
    return f"{' '.join(words)}  # or {back}"


def examples() -> Iterator[Example]:
    yield from fault_examples()
    yield from attached_examples()
    yield from examples6()


ABOUT = subject("route", dst="0.0.0.0/0", table=254, ifname="eth0")


def stray(dst: str = "default", **fields: Any) -> HostBuilder:
    """A host that lost the subnet of its gateway and kept another address."""
    link = fields.pop("link", {})
    built = HostBuilder().link("eth0", **link).address("eth0", "198.51.100.7/32")
    return built.route(dst, **({"via": "192.0.2.1", "dev": "eth0"} | fields))


def fires(name: str, why: str, built: HostBuilder, *says: str, **about: Any) -> Example:
    return Example(
        name=name,
        why=why,
        tables=built.build(),
        fires=1,
        subject=ABOUT | about,
        severity="warning",
        confidence="certain",
        says=says,
    )


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def fault_examples() -> Iterator[Example]:
    says = (
        "the IPv4 default route uses gateway 192.0.2.1 on eth0",
        "addresses of eth0 198.51.100.7/32",
        "ip route replace default via 192.0.2.1 dev eth0 onlink  #",
    )
    yield fires("subnet gone", "the plain fault: its address was removed, another one was left", stray(), *says)

    def bare(built: HostBuilder, *addresses: str) -> HostBuilder:
        for address in addresses:
            built.address("eth0", address)
        for family, table in built._routes.items():
            built._routes[family] = [row for row in table if row.protocol != 2 or row.type != "unicast"]
        return built

    gone = "the connected route of its own subnet there, 192.0.2.0/24, is gone"
    again = "ip route add 192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2"
    deleted = bare(stray(), "198.51.100.8/24", "192.0.2.2/24")
    yield fires("connected route deleted", "the address is there, its route is not", deleted, gone, again)
    red = HostBuilder().link("red", kind="vrf", info={"table": 10}).link("eth0", master="red").rule(1000, l3mdev=True)
    red.route("default", via="192.0.2.1", dev="eth0", table=10)
    yield fires(
        "deleted in a VRF", "it belongs into its table", bare(red, "192.0.2.2/24"), f"{again} table 10", table=10
    )
    peer = bare(stray().address("eth0", "192.0.2.2/24", peer="192.0.2.9"))
    yield fires("far end of an address with a peer", "its prefix is the peer's", peer, "which no subnet of eth0 holds")
    beside = stray().address("eth0", "192.0.3.2/24").link("eth1").address("eth1", "192.0.2.2/24")
    none = "which no subnet of eth0 holds"
    yield fires("subnet on another interface", "the kernel asks for the route's own interface", beside, none)
    half = stray().address("eth0", "192.0.2.130/25")
    yield fires("subnet too small", "192.0.2.128/25 does not hold 192.0.2.1", half)
    custom = stray(table=100).rule(100, table=100, src="198.51.100.7", src_len=32)
    yield fires(
        "policy table",
        "source routing has gateways of its own",
        custom,
        "default route of table 100",
        "onlink table 100",
        table=100,
    )
    twin = custom.route("default", via="192.0.2.1", dev="eth0")
    yield fires("two tables", "main is named first", twin, "default route and 1 more route use gateway")
    yield silence("table without a rule", "no packet looks into it", stray(table=100))
    twice = stray().route("10.0.0.0/8", via="192.0.2.1", dev="eth0")
    yield fires("two routes", "one gateway is one finding, named by its shortest prefix", twice, "and 1 more route use")
    twice.route("11.0.0.0/8", via="192.0.2.1", dev="eth0")
    yield fires("three routes", "the message counts them", twice, "and 2 more routes use")
    legs = HostBuilder().link("eth0").link("eth1").address("eth1", "198.51.100.2/24").address("eth0", "203.0.113.7/32")
    hops = [legs.hop("eth0", "192.0.2.1"), legs.hop("eth1", "198.51.100.1")]
    give = "ip address add ADDRESS/LENGTH dev eth0  # give eth0 the subnet of 192.0.2.1 back"
    yield fires(
        "leg of a multipath route", "each leg is asked for", legs.route("default", hops=hops, family="inet"), give
    )
    objects = HostBuilder().link("eth0").nexthop(7, gateway="192.0.2.1", oif="eth0")
    yield fires(
        "nexthop object",
        "the object was accepted once, too",
        objects.route("default", nh_id=7, family="inet"),
        give,
        "eth0 none",
    )
    behind = stray().route("192.0.2.0/24", via="198.51.100.7", dev="eth0")
    yield fires("a way to the gateway over a gateway", "an attached gateway must not be behind another", behind)
    null = stray(type="blackhole")
    yield silence("blackhole", "a route that drops needs no gateway", null)


def attached_examples() -> Iterator[Example]:
    yield silence("subnet there", "every plain host", stray().address("eth0", "192.0.2.2/24"))
    yield silence("last address of the subnet", "the border of the prefix", stray().address("eth0", "192.0.2.2/30"))
    yield silence("onlink", "somebody vouches for the gateway", stray(onlink=True))
    cloud = stray().route("192.0.2.1/32", dev="eth0", scope=253)
    yield silence("host route to the gateway", "clouds give a /32 and this", cloud)
    other = stray().route("192.0.2.1/32", dev="eth0", scope=253, table=200)
    yield silence("host route in another table", "the kernel looks into the route's table and then by the rules", other)
    bare = (
        stray().address("eth0", "192.0.2.2/24", flags=IFA_F_NOPREFIXROUTE).route("192.0.2.0/24", dev="eth0", protocol=4)
    )
    yield silence("subnet route by hand", "noprefixroute, and a daemon's own route", bare)
    wide = stray().route("192.0.0.0/16", hops=[HostBuilder().link("eth0").hop("eth0")])
    yield silence("subnet route of several legs", "legs without gateway are attached as well", wide)
    tunnel = {"flags": IFF_UP | IFF_LOWER_UP | IFF_POINTOPOINT | IFF_NOARP, "kind": "tun"}
    yield silence("tunnel", "nothing is resolved on it", stray(link=tunnel))
    noarp = stray(link={"flags": IFF_UP | IFF_LOWER_UP | IFF_BROADCAST | IFF_NOARP})
    yield silence("without ARP", "the same for any interface without ARP", noarp)
    ppp = stray(link={"flags": IFF_UP | IFF_LOWER_UP | IFF_POINTOPOINT})
    yield silence("point to point", "there is only one other end", ppp)
    yield silence("own address as gateway", "an old way to write an interface route", stray(via="198.51.100.7"))
    yield silence("an interface that went meanwhile", "its routes went with it", stray().vanished("eth0"))
    yield silence("dead hop", "the kernel does not use it", stray(flags=RTNH_F_DEAD))
    peer = HostBuilder().link("eth0").route("10.0.0.2/32", dev="eth0", scope=253, protocol=2)
    yield silence("peer address", "the far end has a host route", peer.route("default", via="10.0.0.2", dev="eth0"))
    yield silence("no gateway", "a device route needs none", stray(via=None, family="inet"))


def examples6() -> Iterator[Example]:
    def v6(gateway: str, **fields: Any) -> HostBuilder:
        built = HostBuilder().link("eth0").address("eth0", "fe80::2/64").address("eth0", "2001:db8:7::7/128")
        return built.route("default", via=gateway, dev="eth0", **fields)

    yield fires(
        "IPv6",
        "a global gateway whose prefix is gone",
        v6("2001:db8::1"),
        "the IPv6 default route",
        "via 2001:db8::1 dev eth0 onlink metric 1024",
        dst="::/0",
    )
    yield silence("IPv6, subnet there", "every plain host", v6("2001:db8::1").address("eth0", "2001:db8::2/64"))
    yield silence("IPv6, link-local", "always attached, also where fe80::/64 was flushed", v6("febf::1"))
    lost = v6("2001:db8::1").address("eth0", "2001:db8::2/64", flags=IFA_F_NOPREFIXROUTE)
    yield fires("IPv6, no connected route meant", "noprefixroute", lost, "which no subnet of eth0 holds", dst="::/0")
    yield fires("IPv6, beyond link-local", "fec0:: is the first address that is not", v6("fec0::1"), dst="::/0")
    yield silence("IPv6, onlink", "somebody vouches for it", v6("2001:db8::1", onlink=True))
    via = HostBuilder().link("eth0").address("eth0", "fe80::2/64").route("10.0.0.0/8", via="2001:db8::1", dev="eth0")
    yield fires(
        "IPv6 gateway of an IPv4 route",
        "it is attached or not by the IPv6 routes",
        via,
        "via inet6 2001:db8::1 dev",
        dst="10.0.0.0/8",
    )
    both = via.address("eth0", "2001:db8::2/64")
    yield silence("IPv6 gateway of an IPv4 route, subnet there", "its IPv6 subnet counts", both)
