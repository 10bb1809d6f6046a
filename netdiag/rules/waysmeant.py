"""What shows that a default route was meant: packets without a route, tunnels cut off, what was left behind.

Used by rules that ask whether a default route is missing; netdiag.rules.waysout says whether there is one. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np

from netdiag.index.policy import Lookup, Query
from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Severity
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST, RTPROT_NAMES
from netdiag.model.sockets import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT
from netdiag.rules.guestcalls import called
from netdiag.rules.lostways import covered, ended, sent_by, stranded
from netdiag.rules.nameservers import asked, asks_dns, is_loopback
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import quoted
from netdiag.rules.sockettables import plain
from netdiag.rules.waysout import ROUTING_DAEMONS, for_some
from netdiag.rules.wireguardpeers import query_to
from netdiag.rules.wireguardways import alive

TUNNELS = (
    "wireguard",
    "tun",
    "vxlan",
    "geneve",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "ipip",
    "sit",
    "ip6tnl",
    "bareudp",
)
"""Kinds of interface whose other side, a daemon or the kernel, sends by itself and tries again. (Not the process
behind a tap: what a guest sends is forwarded, and counts elsewhere.)"""
ENDING = (FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING, TIME_WAIT)
BEYOND = {
    "inet": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
    "inet6": ("2001:db8::1", "2001:db8:ffff::1", "3fff::1"),
}
"""Addresses to try a lookup with: documentation prefixes, and one of a range that is no longer used."""
PRIVATE4 = tuple(IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
PRIVATE6 = IPv6Network("fc00::/7")
MOST = 1000
"""Connections that are looked at, and far ends of tracked ones."""
AT_ONCE = 10
"""Two counters are not read at one instant: a tenth of what moves meanwhile may stand in one and not in the other."""
DEFAULTS = {"inet": "0.0.0.0/0", "inet6": "::/0"}
OUT = {"inet": "Ip.OutNoRoutes", "inet6": "Ip6OutNoRoutes"}
FORWARDED = {"inet": "IpExt.InNoRoutes", "inet6": "Ip6InNoRoutes"}
"""Packets of others, refused by a host that forwards (ip_error() of net/ipv4/route.c)."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Why a default route must have been meant."""

    severity: Severity
    text: str
    """Second half of the message."""
    fact: tuple[str, object, str]
    gateway: str | None = None
    """The way out, where the sign names it; else None."""
    fix: str | None = None
    """Where adding a route is not the fix."""
    now: bool = False
    """Packets are lost at this moment, whatever the host was meant to be."""
    meant: bool = False
    """Somebody said so, or it was there by somebody's hand: no far router can have taken it back."""
    past: bool = False
    """It tells of a way that there was, of which nobody may miss anything."""


def signs(view: HostView, family: str, *, counters: bool, lonely: bool) -> Iterator[Sign]:
    """Every sign, the weightiest first. ``counters``: refused packets count; ``lonely``: no route by any gateway."""
    yield from cut_tunnels(view, family)
    yield from cut_peers(view, family)
    yield from cut_connections(view, family)
    yield from cut_flows(view, family)
    yield from cut_guests(view, family)
    if counters:
        yield from refused(view, family, lonely=lonely)
    yield from lone_halves(view, family)
    yield from left_objects(view, family)
    yield from left_tables(view, family)
    yield from wanted(view, family)


def wanted(view: HostView, family: str) -> Iterator[Sign]:
    """What intent and baseline say, whatever was put in its place."""
    yield from told(view, family)
    yield from taken_back(view, family)


def beside_learned(every: Iterable[Sign]) -> Iterator[Sign]:
    """Those that count where a routing daemon made some routes: what has none may be what a far router took back."""
    for sign in every:
        if (sign.severity == "critical" or sign.now) and not sign.past:
            yield sign if sign.meant else replace(sign, severity="warning")


def cut_tunnels(view: HostView, family: str) -> Iterator[Sign]:
    """Tunnels with a far end to which there is no route."""
    for link in view.links:
        remote = link.info.get("remote")
        if not link.up or not isinstance(remote, str) or (":" in remote) != (family == "inet6"):
            continue
        lost = nowhere(view.lookup(Query(family=family, dst=remote)))
        if lost and not ip_address(remote).is_unspecified:
            fact = (f"{link.ifname} remote", remote, f"RTM_GETLINK {link.ifname} IFLA_INFO_DATA")
            text = f"tunnel {link.ifname} has no route to its far end {remote}"
            yield Sign(severity="critical", text=text, fact=fact, now=True)


def nowhere(answer: Lookup) -> bool:
    """Whether no route was found; a policy rule that refuses gives the same error (fib4_rule_action())."""
    return answer.error == "ENETUNREACH" and answer.rule is None


def cut_peers(view: HostView, family: str) -> Iterator[Sign]:
    """Endpoints of WireGuard in several networks, or one and the nameservers elsewhere, to none of which there is a
    route."""
    lost: dict[object, str] = {}
    for device, _ in alive(view):
        for peer in device.peers:
            query = query_to(device, peer)
            if query is None or query.family != family:
                continue
            answer = view.lookup(query)
            if not nowhere(answer):
                if answer.hops and answer.hops[0].gateway is not None:
                    return
                continue
            lost.setdefault(_network(query.dst), query.dst)
    servers = _cut_servers(view, family)
    if len(lost) == 1 and servers and not lost.keys() & {_network(one) for one in servers}:
        text = (
            f"WireGuard has no route to its peer at {min(lost.values())}, nor the resolver to nameserver {servers[0]}"
        )
        yield Sign(severity="critical", text=text, fact=("no route to nameserver", servers[0], "/etc/resolv.conf"))
    if len(lost) > 1:
        text = f"WireGuard has no route to any of {len(lost)} networks of peers"
        yield Sign(severity="critical", text=text, fact=("no route to", min(lost.values()), "WGPEER_A_ENDPOINT"))


def _network(address: str) -> IPv4Network | IPv6Network:
    """What one site has, as a rule."""
    return ip_network(f"{address}/{48 if ':' in address else 24}", strict=False)


def _cut_servers(view: HostView, family: str) -> list[str]:
    """The nameservers that are asked, where no route leads to any of them and all are of the family."""
    if not view.read_whole("resolver") or not asks_dns(view):
        return []
    servers = [server for server in asked(view) if not is_loopback(server)]
    cut = all(
        (":" in server) == (family == "inet6")
        and "%" not in server
        and nowhere(view.lookup(Query(family=family, dst=server)))
        for server in servers
    )
    return servers if cut else []


def cut_connections(view: HostView, family: str) -> Iterator[Sign]:
    """A connection to where no route of any table leads (or none of those that rules lead its packets to): there was
    one when it began. One of TCP that is established is
    losing its packets; one that is ending or has just ended (TIME_WAIT lasts a minute), or a connected UDP socket, only
    tells that there was one, and counts where its own address is still here."""
    table, fib = view.sockets, view.fib(family)
    lost = dict[IPv4Network | IPv6Network, Sign]()
    open_ = (table.protocol == IPPROTO_TCP) & (table.state == ESTABLISHED) & (table.ifindex == 0)
    ending = (table.protocol == IPPROTO_TCP) & among(table.state, ENDING)
    once = (ending | (table.protocol == IPPROTO_UDP) & (table.state == ESTABLISHED)) & (table.ifindex == 0)
    for position in (*np.flatnonzero(open_)[:MOST].tolist(), *np.flatnonzero(once)[:MOST].tolist()):
        row = table.row(position)
        far = plain(row.dst)
        if (far.version == 4) != (family == "inet") or far.is_link_local:
            continue
        near = plain(row.src)
        spared = covered(fib, str(far))
        if spared and not (open_[position] and stranded(view, sent_by(row, family, str(near), str(far)))):
            continue
        if open_[position]:
            fact = ("connection", f"to {far} port {row.dport}, established", "SOCK_DIAG tcp")
            text = f"the connection to {far} that is under way has no route"
            yield Sign(severity="critical", text=text, fact=fact, now=spared)
            return
        if not view.local.owners(str(near)) or far.is_multicast or str(far) == "255.255.255.255":
            continue  # (those need no route where the socket names its interface)
        netid = row.netid
        fact = ("connection", f"from {near} to {far} port {row.dport}, {row.state}", f"SOCK_DIAG {netid}")
        text = f"there was a way to {far} when {netid} port {row.sport} was connected to it"
        lost.setdefault(network(far), Sign(severity="warning", text=text, fact=fact, past=True))
        if telling(lost):
            yield next(iter(lost.values()))
            return


def network(address: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network:
    """The network that an address is likely in."""
    return ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False)


def telling(lost: dict[IPv4Network | IPv6Network, Sign]) -> bool:
    """Whether ways that are gone tell of a default route: into the world, or into several networks. Into one private
    network there may have been a route of its own, that went with its bridge or tunnel."""
    return len(lost) > 1 or any(not private(net) for net in lost)


def private(net: IPv4Network | IPv6Network) -> bool:
    """RFC 1918, RFC 6598, RFC 4193."""
    if isinstance(net, IPv6Network):
        return net.subnet_of(PRIVATE6)
    return any(net.subnet_of(of) for of in PRIVATE4)


def cut_guests(view: HostView, family: str) -> Iterator[Sign]:
    """Whom guests have connections to, where no rule leads their packets anywhere."""
    lost = dict[IPv4Network | IPv6Network, Sign]()
    for demand in called(view):
        far, near = demand.query.dst, demand.query.src
        if demand.query.family != family or not stranded(view, demand.query):
            continue
        fact = ("tracked connection", f"{near} to {far}, answered", "CTNETLINK CTA_STATUS")
        text = f"the connection of guest {near} behind {demand.query.iif} to {far} has no route"
        sign = Sign(severity="critical", text=text, fact=fact, now=True, past=True)
        lost.setdefault(network(ip_address(far)), sign)
        if telling(lost):
            yield next(iter(lost.values()))
            return


def cut_flows(view: HostView, family: str) -> Iterator[Sign]:
    """A tracked connection that was answered, between an address that this host still has on a network and one to
    which no route of any table leads: there was one when the answer came."""
    table, fib = view.conntrack, view.fib(family)
    own = {row.local for row in view.addresses if not row.scope}
    packed = [np.frombuffer(ip_address(address).packed.ljust(16, b"\0"), np.uint8) for address in own]
    answered = (table.family == (2 if family == "inet" else 10)) & (table.status & IPS_SEEN_REPLY != 0) & ~ended(view)
    lost = dict[IPv4Network | IPv6Network, Sign]()
    for near, far in (("reply_dst", "reply_src"), ("orig_dst", "orig_src"), ("reply_src", "orig_src")):
        mine = np.zeros(len(table), np.bool_)
        for raw in packed:
            mine |= (getattr(table, near) == raw).all(axis=1)
        rows = np.flatnonzero(mine & answered)
        _, first = np.unique(getattr(table, far)[rows], axis=0, return_index=True)
        for position in sorted(rows[first].tolist())[:MOST]:
            entry = table.row(position)
            away = entry.reply_src if far == "reply_src" else entry.orig_src
            known = ip_address(away).is_link_local or covered(fib, away)
            if not known:
                fact = ("tracked connection", f"{entry.orig_src} to {entry.orig_dst}, answered", "CTNETLINK CTA_STATUS")
                text = f"the connection with {away} that was answered has no route"
                lost.setdefault(network(ip_address(away)), Sign(severity="critical", text=text, fact=fact, past=True))
            if telling(lost):
                yield next(iter(lost.values()))
                return


def refused(view: HostView, family: str, *, lonely: bool) -> Iterator[Sign]:
    """Packets refused for want of a route: now, or (only where nothing else can have sent them) at any time."""
    moved, full = view.moved(OUT[family]) or 0, nobody_could_be_asked(view, family)
    now = _beyond(moved, max(0, full[1] - full[0])) + (view.moved(FORWARDED[family]) or 0)
    total = _beyond(view.latest.snmp.get(OUT[family], 0), full[1])
    source = "/proc/net/snmp, /proc/net/netstat" if family == "inet" else "/proc/net/snmp6"
    if now:
        seconds = view.latest.at - view.counters.at
        text = f"{now} packet{'s were' if now > 1 else ' was'} refused for want of a route within {seconds:.1f} s"
        fact = ("OutNoRoutes and InNoRoutes", f"+{now}", f"{source} {OUT[family]} {FORWARDED[family]}")
        yield Sign(severity="critical" if lonely else "warning", text=text, fact=fact, now=True)
    elif (
        total > 0
        and lonely
        and not any(link.up and link.kind in TUNNELS and link.info.get("type") != "tap" for link in view.links)
    ):
        text = f"{total} packet{'s have' if total > 1 else ' has'} been refused for want of a route"
        fact = ("OutNoRoutes", str(total), f"{source.partition(',')[0]} {OUT[family]}")
        yield Sign(severity="warning", text=text, fact=fact)


def _beyond(packets: int, no_room: int) -> int:
    """How many of the packets had no route, and not only no room for the neighbour."""
    rest = max(0, packets - no_room)
    return 0 if rest * AT_ONCE <= no_room else rest


def nobody_could_be_asked(view: HostView, family: str) -> tuple[int, int]:
    """How many neighbours the kernel had no room for, at both looks: IPv6 counts each as a packet without a route
    (ip6_finish_output2() of net/ipv6/ip6_output.c)."""
    if family == "inet":
        return 0, 0
    samples = (view.counters.neigh_tables, view.latest.neigh_tables)
    first, second = (sum(t.table_fulls or 0 for t in tables if t.family == family) for tables in samples)
    return first, second


def lone_halves(view: HostView, family: str) -> Iterator[Sign]:
    """0.0.0.0/1 without 128.0.0.0/1, or the reverse: one of the two routes that stand for a default one is lost."""
    routes = view.routes(family)
    tables = list(reachable_tables(view.rules, view.links, family))
    for row in view.route_rows(
        family, np.flatnonzero((routes.dst_len == 1) & (routes.type == RTN_UNICAST) & among(routes.table, tables))
    ):
        low, high = ("0.0.0.0/1", "128.0.0.0/1") if family == "inet" else ("::/1", "8000::/1")
        other = high if row.dst == low else low
        gateway = row.hops[0].gateway if row.hops else None
        way = (f"via {gateway} " if gateway else "") + f"dev {quoted(view.ifname(row.oif or 0))}"
        yield Sign(
            severity="critical",
            text=f"{row.dst} is there without {other}: half of all addresses cannot be reached",
            fact=(f"{row.dst} in table {table_word(row.table)}", "without its other half", "RTM_GETROUTE RTA_DST"),
            gateway=gateway,
            fix=f"{ip_command(family)} route add {other} {way} table {row.table}",
        )


def left_objects(view: HostView, family: str) -> Iterator[Sign]:
    """Nexthop objects that lost their routes."""
    used = {int(number) for each in ("inet", "inet6") for number in distinct(view.routes(each).nh_id)}
    used |= {member.id for nexthop in view.nexthops for member in nexthop.group}
    for nexthop in view.nexthops:
        gateway = nexthop.gateway
        if nexthop.id not in used and gateway and not nexthop.fdb and (":" in gateway) == (family == "inet6"):
            yield Sign(
                severity="warning",
                text=f"no route uses nexthop object {nexthop.id} via {gateway} any more",
                fact=(f"nexthop {nexthop.id}", f"via {gateway}", "RTM_GETNEXTHOP NHA_GATEWAY"),
                gateway=gateway,
            )


def left_tables(view: HostView, family: str) -> Iterator[Sign]:
    """Default routes in tables that no rule leads to; of table main another rule speaks (rule-main-missing)."""
    routes = view.routes(family)
    reachable = list(reachable_tables(view.rules, view.links, family))
    stranded = (routes.dst_len == 0) & (routes.type == RTN_UNICAST) & ~among(routes.table, [*reachable, RT_TABLE_MAIN])
    for table in distinct(routes.table[stranded]).tolist():
        yield Sign(
            severity="warning",
            text=f"the one of table {table_word(table)} is out of reach: no policy rule leads there",
            fact=(f"default route of table {table}", "no rule", "RTM_GETROUTE RTA_TABLE, RTM_GETRULE FRA_TABLE"),
            fix=f"{ip_command(family)} rule add lookup {table}  # with the selector that the rule had",
        )


def told(view: HostView, family: str) -> Iterator[Sign]:
    """A default route of main that the intent names: of other tables, which some packets alone may be led to,
    route-expected-missing speaks."""
    for want in view.intent.route or ():
        if (want.family, want.dst, want.table) != (family, DEFAULTS[family], RT_TABLE_MAIN):
            continue
        if want.type not in (None, "unicast"):
            continue
        way = (f" via {want.gateway}" if want.gateway else "") + (f" dev {want.dev}" if want.dev else "")
        yield Sign(
            severity="critical",
            text=f"the intent names one{way}",
            fact=("default route that is meant", f"{want.dst}{way}", "intent [[route]]"),
            gateway=want.gateway,
            now=True,
            meant=True,
        )


def taken_back(view: HostView, family: str) -> Iterator[Sign]:
    """A default route of the baseline, in a table that rules led to and that has none now. Where some packets still
    have one, of a table that all were led to."""
    old = view.baseline
    if old is None or view.meta.drained or not (old.read_whole("routes") and old.read_whole("rules")):
        return
    routes = old.routes(family)
    chosen = (routes.dst_len == 0) & (routes.type == RTN_UNICAST)
    led = set(reachable_tables(old.rules, old.links, family))
    today = view.routes(family)
    there = today.table[(today.dst_len == 0) & (today.type == RTN_UNICAST)]
    kept = led & set(distinct(there).tolist())
    if kept:
        led = set(reachable_tables([rule for rule in old.rules if not for_some(rule)], old.links, family)) - kept
    chosen &= among(routes.table, list(led))
    for row in old.route_rows(family, np.flatnonzero(chosen)[:1].tolist()):
        by_daemon = row.protocol in ROUTING_DAEMONS
        via = next((hop.gateway for hop in row.hops if hop.gateway), None)
        maker = RTPROT_NAMES.get(row.protocol, str(row.protocol))
        way = f"via {via}" if via else f"dev {old.ifname(row.oif or 0)}"
        yield Sign(
            severity="critical",
            text=f"there was one {way} (proto {maker}) at the time of the baseline of {old.meta.taken_at}",
            fact=("default route then", f"{way} proto {maker}", "RTM_GETROUTE, baseline"),
            gateway=via,
            fix=f"see why {maker} has none any more: which neighbour gave it, and what the import filter does with it"
            if by_daemon
            else None,
            now=True,
            meant=not by_daemon,
        )
