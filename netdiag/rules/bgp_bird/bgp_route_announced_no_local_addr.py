"""What it checks
  A single address (/32, /128) is announced by BGP from a static route of BIRD that leads nowhere (blackhole,
  unreachable, prohibit, or by lo), and this host neither has the address, nor a local route for it, nor a route that
  would forward it. (With an interface that is down an IPv6 address loses its local route, if it stays at all; an IPv4
  address is answered for wherever it is.) Or a shorter prefix, of public addresses, of which this host has no address
  and no route to any part, no wider one but the default, and not even the blackhole: what comes for it goes out again
  by the default route (a warning).

Why it matters
  That is how anycast services are announced: a static route brings the prefix into BGP, the address on lo receives the
  traffic. Without the address the kernel takes the blackhole: clients are drawn here and dropped in silence, while
  another site would have served them.

Confirm
  birdc show route export NAME
  ip route get ADDRESS      ("Invalid argument": the blackhole)
  ip -br address show dev lo

Fix
  ip address add ADDRESS/32 dev lo gives the service its address back. Until then withdraw: birdc disable PROTOCOL of
  the static route; the traffic moves to the other sites.

Not flagged
  Addresses on any interface (of IPv6: that is up), that the packet filter names in a table that translates (DNAT,
  TPROXY), in a local route (AnyIP), or behind a route of any table that policy rules lead to, but for one that leads to
  lo: its packets come back in until their TTL is over. Announcements with a blackhole community (RTBH): the neighbour
  is asked to drop. Shorter prefixes: aggregates, where anything of them is here (where nothing is, but the blackhole,
  it is told: a prefix may be held until it is used); blocks of private addresses and those longer than /24 (IPv6: /48),
  which wait for guests; and what is told inside the AS alone: a route reflector gives the edges what they announce.
  Hosts with eBPF programs on the way in that may take the packets before the kernel looks them up (XDP or tc whose
  verdicts are not known to be others than TX and REDIRECT), or whose programs or packet filter were not read: told as a
  possibility, and so where BIRD does not tell the communities; a warning where such a host has another address that it
  announces in the same way, for then that is how it takes them in. Of shorter prefixes nothing is told there. Recursive
  routes that BIRD cannot resolve (bgp-exports-unreachable-route). Drained hosts announce nothing.

References
  RFC 4786, RFC 7999; net/ipv4/route.c ip_route_input_slow()
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.packet import Query
from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import usable
from netdiag.model.bird import BirdRoute, RouteList, SentRoute, UnresolvedRoute
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Xdp
from netdiag.model.route import (
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTNH_F_DEAD,
    Routes,
)
from netdiag.rules.aggregatecases import aggregate_examples
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_bpf import program, tc, tcx, xdp
from netdiag.rules.build_nft import chain, daddr, nat, plain, rule, table, verdict
from netdiag.rules.givenroutes import private
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.takenearly import Translations, steering

RULE = Rule(
    id="bgp-route-announced-no-local-addr",
    title="an address is announced that this host drops packets for",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("bird_routes", "bpf", "nft"),
    explains=("bgp-announced-service-down",),
)
MOST = 512
NAMED = 3
"""So many shorter prefixes of one protocol are told one by one; more are told together."""


def received(view: HostView, address: str) -> bool:
    """Whether the host delivers or forwards packets for the address, by some table that rules lead to."""
    family = "inet6" if ":" in address else "inet"
    if any(family == "inet" or (at := view.link(row.ifindex)) is None or at.up for row in view.local.owners(address)):
        return True  # with an interface that goes down the local routes of IPv6 go, those of IPv4 stay
    fib = view.fib(family)
    for number in reachable_tables(view.rules, view.links, family):
        for group in fib.candidates(number, address):
            if group.length == 0 and int(fib.routes.type[group.positions[0]]) != RTN_LOCAL:
                break
            fates = [_fate(view, fib.routes, at) for at in group.positions]
            first = next((fate for fate in fates if fate is not None), None)
            if first:
                return True
            if first is not None:
                break  # the kernel takes the blackhole, and asks no shorter prefix and no higher metric
    return False


def _fate(view: HostView, routes: Routes, at: int) -> bool | None:
    """Whether packets that take the route get to somebody; None where the kernel goes on to the next one."""
    kind = int(routes.type[at])
    if kind in (RTN_LOCAL, RTN_UNICAST):
        return kind == RTN_LOCAL or _forwards(view, routes, at) or None
    return None if kind == RTN_THROW else False


def _forwards(view: HostView, routes: Routes, at: int) -> bool:
    """Whether packets that take the route go to somebody. Out by a loopback interface they come in again at once, as
    often as their TTL allows: the prefix route of an IPv6 address on lo, which can outlive the address. The kernel
    takes the first route of the prefix over lo away with it, and a blackhole of IPv6 is one as well."""
    if not usable(routes, at):
        return False
    hops = view.route_rows(routes.family, [at])[0].hops
    return any((link := view.stack.by_index.get(hop.oif)) is None or not link.loopback for hop in hops)


def announced(view: HostView) -> dict[tuple[str, str, str], list[str]]:
    """Prefixes from static routes that lead nowhere, by socket, protocol and prefix; the sessions that hear them."""
    kinds = {(daemon.socket, row.name): row for daemon in view.bird.daemons for row in daemon.protocols}
    recursive = {each.socket: {(one.table, one.net) for one in each.unresolved or ()} for each in view.bird_routes}
    found: dict[tuple[str, str, str], list[str]] = {}
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            session = kinds.get((daemon.socket, listed.protocol))
            if session is None or session.proto != "BGP" or session.state != "up":
                continue
            for route in listed.routes or ():
                origin = kinds.get((daemon.socket, route.protocol or ""))
                static = origin is not None and origin.proto == "Static"
                if not static or not nowhere(view, route) or asked_to_drop(listed, route):
                    continue
                if (route.table, route.net) in recursive.get(daemon.socket, ()):
                    continue  # bgp-exports-unreachable-route speaks
                key = (daemon.socket, route.protocol or "", route.net)
                if len(found) < MOST or key in found:
                    kept = listed.rtbh if route.type == "blackhole" else listed.sent
                    known = kept is not None or route.type == "unicast"  # by lo: nobody is asked to drop that
                    found.setdefault(key, []).append(listed.protocol + ("" if known else "?"))
    return found


def nowhere(view: HostView, route: BirdRoute) -> bool:
    """Whether a static route only makes the prefix known: it refuses, or leads to lo."""
    if route.type in ("blackhole", "unreachable", "prohibit"):
        return True
    links = [view.stack.by_name.get(name) for name in route.dev]
    return bool(links) and not route.via and all(link is not None and link.loopback for link in links)


def asked_to_drop(listed: RouteList, route: BirdRoute) -> bool:
    """Whether the neighbour is told a blackhole community with it."""
    told = [word for one in listed.sent or () if one.net == route.net for word in one.communities]
    return route.net in (listed.rtbh or ()) or any(word.endswith(":666") for word in told)


REFUSALS = (RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT)
LONGEST = {"inet": 24, "inet6": 48}
"""Bits of the longest prefix that the Internet takes; what is longer is one host's share of it."""


def single(net: str) -> bool:
    """Whether a prefix is one address."""
    return net.endswith("/128" if ":" in net else "/32")


def empty(view: HostView, net: str) -> str | None:
    """What becomes of packets for a prefix of public addresses that the Internet takes, where the host has no address
    and no route of any part of it, and no wider one but the default: ``round``, or ``held`` where it refuses the whole
    prefix. None: something of it is here."""
    network = ipaddress.ip_network(net)
    family = "inet6" if ":" in net else "inet"
    if network.prefixlen > LONGEST[family]:
        return None
    first = str(network.network_address)
    if private(net) or received(view, first):
        return None
    if any(ipaddress.ip_address(row.local) in network for row in view.addresses):
        return None
    fib, routes, positions = view.fib(family), view.routes(family), set[int]()
    for number in reachable_tables(view.rules, view.links, family):
        positions.update(int(at) for at in fib.routes_within(number, net))
        positions.update(at for group in fib.candidates(number, first) if group.length for at in group.positions)
    own = [int(routes.dst_len[at]) == network.prefixlen and int(routes.type[at]) in REFUSALS for at in positions]
    return None if not all(own) else "held" if own else "round"


def _aggregates_of(view: HostView, told: tuple[str, str, tuple[str, ...], str], nets: list[str]) -> Iterator[Draft]:
    """``told``: the daemon's socket, the static protocol, the sessions, and what becomes of the packets. Many of one
    protocol are one finding."""
    socket, origin, names, fate = told
    held = " but the blackhole" if fate == "held" else ""
    for group in [nets] if len(nets) > NAMED else [[net] for net in nets]:
        net, more = group[0], len(group) - 1
        first = net.partition("/")[0]
        way = view.lookup(Query(family="inet6" if ":" in net else "inet", dst=first))
        goes = (
            "is dropped"
            if held
            else f"goes out again by {view.ifname(way.oif)}"
            if way.ok and way.oif
            else "is refused"
        )
        yield RULE.found(
            subject=subject("bird-protocol", name=origin, socket=socket) if more else subject("prefix", prefix=net),
            message=f"{net}{f' and {more} more of {origin} are' if more else ' is'} announced to "
            f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}, and this host has no address and no route of "
            f"{'them' if more else 'it'}{held}: what comes for {net if more else 'it'} {goes}",
            severity="info" if held else "warning",
            confidence="possible" if held else "likely",
            evidence=[
                (f"announced by {origin}", net, f"birdc show route export {names[0]}"),
                (f"addresses in {net}", 0, "RTM_GETADDR IFA_LOCAL"),
                (f"routes in {net}, or wider ones but the default", 0, "RTM_GETROUTE"),
            ],
            confirm=[birdc(socket, f"show route export {bird_name(names[0])}"), f"ip route get {first}"],
            fix=f"{birdc(socket, f'disable {bird_name(origin)}')}  # or give its routes to the kernel, and the host "
            f"what the {'prefixes are' if more else 'prefix is'} for",
        )


def check(view: HostView) -> Iterator[Draft]:
    every = announced(view)
    found = {key: told for key, told in every.items() if single(key[2])}
    abroad = {
        daemon.socket: {row.name for row in daemon.protocols if row.neighbor_as != row.local_as}
        for daemon in view.bird.daemons
    }
    taken, unseen = steering(view), view.unknown("bpf") or view.unknown("nft")
    named = Translations(view)
    if not taken and not unseen:
        bare: dict[tuple[str, str, tuple[str, ...], str], list[str]] = {}
        for (socket, origin, net), told in every.items():  # one whose communities are not told bears a "?"
            names = tuple(name for name in told if name in abroad.get(socket, ()))
            fate = empty(view, net) if names and not single(net) else None
            if fate is not None and not named.names(net):
                bare.setdefault((socket, origin, names, fate), []).append(net)
        for about, nets in bare.items():
            yield from _aggregates_of(view, about, nets)
    here = {net: received(view, net.partition("/")[0]) for _, _, net in found}
    for (socket, origin, net), told in found.items():
        if here[net] or named.names(net.partition("/")[0]):
            continue
        unsure = unseen or (taken and not any(here.values())) or any(name.endswith("?") for name in told)
        yield _single(
            view, (socket, origin, [name.removesuffix("?") for name in told]), net, taken=taken, unsure=unsure
        )


def _single(view: HostView, told: tuple[str, str, list[str]], net: str, *, taken: bool, unsure: bool) -> Draft:
    """``told``: the daemon's socket, the static protocol, the sessions."""
    (socket, origin, names), address = told, net.partition("/")[0]
    down = next((view.ifname(row.ifindex) for row in view.local.owners(address)), None)
    lack = f"has it on {down}, which is down, and no" if down else "has neither the address nor a"
    return RULE.found(
        subject=subject("prefix", prefix=net),
        message=f"{net} is announced to {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}, and this host "
        f"{lack} route for it: packets for it are dropped",
        severity="warning" if taken else None,
        confidence="possible" if unsure else "likely" if taken else None,
        evidence=[
            (f"announced by {origin}", net, f"birdc show route export {names[0]}"),
            (f"interfaces that are up with {address}", 0, "RTM_GETADDR IFA_LOCAL, RTM_GETLINK IFF_UP"),
            (f"local or unicast routes for {address}", 0, "RTM_GETROUTE"),
        ],
        confirm=[
            birdc(socket, f"show route export {bird_name(names[0])}"),
            f"ip route get {address}",
            f"ip -br address show dev {quoted(down) if down else 'lo'}",
        ],
        fix=(f"ip link set dev {quoted(down)} up" if down else f"ip address add {net} dev lo")
        + f"  # or withdraw it: {birdc(socket, f'disable {bird_name(origin)}')}",
        touches=[subject("link", ifname=down)] if down else [],
        breaks=[subject("address", address=address)],
    )


NET = "203.0.113.7/32"


def _host(net: str = NET, *, type: str = "blackhole", rtbh: tuple[str, ...] | None = (), **more: Any) -> Any:
    host = BirdHost().bgp("up1", state=more.get("state", "up")).protocol("s1", more.get("proto", "Static"))
    listed = BirdRoute(net=net, type=type, protocol="s1", best=True, dev=more.get("dev", ()))
    host.exports("up1", routes=(listed,), rtbh=rtbh, sent=more.get("sent", ()))
    host.link("eth0", **more.get("link", {})).address("eth0", "192.0.2.2/24")
    return host.route(net, type="blackhole", protocol=12, priority=32)


def _case(name: str, why: str, host: Any, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "certain"}
    yield _case("the address is gone", "the plain fault", _host(), subject=subject("prefix", prefix=NET), **crit)
    yield _case("IPv6", "the same", _host("2001:db8::7/128"), **crit)
    yield _case("on lo", "the ordinary case", _host().address("lo", NET))
    anyip = _host().route("203.0.113.0/24", dev="lo", table=255, type="local")
    yield _case("AnyIP", "a local route", anyip)
    fwd = _host().route("203.0.113.0/28", via="192.0.2.9", dev="eth0", table=77).rule(50, table=77)
    yield _case("forwarded by another table", "to the servers behind", fwd)
    default = _host().route("default", via="192.0.2.1", dev="eth0")
    yield _case("a default route", "that would send it back", default, **crit)
    led = _host().route("default", via="192.0.2.1", dev="eth0", table=77).rule(50, table=77)
    yield _case("a default route of another table", "the same", led, **crit)
    dead = _host("2001:db8::7/128").route("2001:db8::7/128", via="fe80::1", dev="eth0", priority=8, flags=RTNH_F_DEAD)
    dead.route("2001:db8::/64", via="fe80::9", dev="eth0")
    yield _case("a dead route before the blackhole", "the blackhole is next, not a shorter prefix", dead, **crit)
    onto = _host("2001:db8::7/128").route("2001:db8::7/128", dev="lo", priority=8)
    yield _case("a route over lo before the blackhole", "the packets go round on lo", onto, **crit)
    looped = _host("2001:db8::7/128").route("2001:db8::7/128", dev="lo", protocol=2, priority=256)
    yield _case("its prefix route outlived it", "the packets go round on lo", looped, **crit)
    behind = _host("2001:db8::7/128").link("tap0").route("2001:db8::7/128", dev="tap0", priority=1024)
    yield _case("a route behind the blackhole", "its metric is higher: it is not asked", behind, **crit)
    before = _host("2001:db8::7/128").link("tap0").route("2001:db8::7/128", dev="tap0", priority=8)
    yield _case("a route before the blackhole", "to a guest", before)
    wider = _host().route("203.0.113.0/28", via="192.0.2.9", dev="eth0")
    yield _case("a wider one in the blackhole's table", "the longest prefix is taken", wider, **crit)
    tproxy = _host().route("default", dev="lo", type="local", table=100, family="inet").rule(50, fwmark=1, table=100)
    yield _case("TPROXY", "marked packets are delivered", tproxy)
    yield _case("RTBH", "the neighbour is asked to drop", _host(rtbh=(NET,)))
    yield _case("communities not told", "it may be RTBH", _host(rtbh=None), 1, severity="info")
    yield _case("XDP", "a program may take the packets", _host(link={"xdp": Xdp(mode="native")}), 1, severity="info")
    for unread in ("bpf", "nft"):
        dark: dict[str, Any] = {"severity": "info", "late": (unread,), "unjudged": True}
        yield _case(f"{unread} not read", "it may take the packets", _host(), 1, **dark)
    yield _case("aggregate", "how they are originated", _host("203.0.113.0/24").address("lo", NET))
    yield from aggregate_examples(_case)
    yield _case("learnt", "not ours", _host(proto="BGP"))
    yield _case("session down", "nobody hears it", _host(state="start"))
    gone = _host(proto="BGP")
    gone.exports("old", routes=(BirdRoute(net=NET, type="blackhole", protocol="s1", best=True),))
    yield _case("to a session that is gone", "the configuration was read anew between", gone)
    kernel = BirdHost().protocol("k4", "Kernel").protocol("s1", "Static")
    kernel.exports("k4", routes=(BirdRoute(net=NET, type="blackhole", protocol="s1", best=True),))
    yield _case("to the kernel only", "nobody else hears it", kernel)
    bare = BirdHost().bgp("up1").exports("up1", routes=(BirdRoute(net=NET, type="blackhole", best=True),))
    yield _case("origin not told", "it may be learnt", bare)
    yield _case("with a next hop", "bird-route-not-in-fib speaks", _host(type="unicast"))
    for kind, dev in (("unreachable", ()), ("prohibit", ()), ("unicast", ("lo",))):
        made = _host(type=kind, dev=dev)
        yield _case(f"{kind} {' '.join(dev)}", "a way to write it", made, **crit)
        yield _case(f"{kind}, on lo", "the ordinary case", _host(type=kind, dev=dev).address("lo", NET))
        drop = (SentRoute(net=NET, communities=("65002:666",)),)
        yield _case(f"{kind}, RTBH", "the neighbour drops", _host(type=kind, dev=dev, sent=drop))
        untold = _host(type=kind, dev=dev, sent=None, rtbh=None)
        weight = "critical" if kind == "unicast" else "info"
        yield _case(f"{kind}, attributes not told", "a refusal may be RTBH", untold, 1, severity=weight)
    guest = _host(type="unicast", dev=("eth0",))
    yield _case("unicast by eth0", "to a guest", guest)
    lost = _host(type="unreachable")
    lost.unresolved(UnresolvedRoute(net=NET, protocol="s1", best=True, recursive=True))
    yield _case("recursive and not resolved", "bgp-exports-unreachable-route speaks", lost)
    six = "2001:db8::7/128"
    for net, up, fires in ((NET, False, 0), (NET, True, 0), (six, False, 1), (six, True, 0)):
        dummy = _host(net)
        dummy.link("dummy0", kind="dummy", up=up).address("dummy0", net)
        says = ("has it on dummy0, which is down", "ip link set dev dummy0 up") if fires else ()
        yield _case(
            f"{net} on an interface that is {'up' if up else 'down'}",
            "IPv6 loses its local route",
            dummy,
            fires,
            says=says,
        )
    for kind, verdicts, severity in (
        ("xdp", (2,), "critical"),
        ("xdp", (1, 2), "critical"),
        ("xdp", (2, 3), "info"),
        ("xdp", (2, 4), "info"),
        ("xdp", None, "info"),
        ("tc", (-1,), "critical"),
        ("tc", (-1, 7), "info"),
        ("tc", (-1, 4), "info"),
        ("tc", (-1, 5), "info"),
        ("tc", (-1, 8), "info"),
        ("tc egress", (-1, 7), "critical"),
        ("tcx", (-1,), "critical"),
        ("tcx", (-1, 7), "info"),
        ("xdp unread, and tc", (-1,), "info"),
        ("xdp unread elsewhere, and tc", (-1,), "critical"),
        ("elsewhere", None, "critical"),
    ):
        hook = {"xdp": Xdp(mode="native")}
        host = _host(link=hook if kind in ("xdp", "xdp unread, and tc") else {})
        host.link("eth9", **(hook if kind == "xdp unread elsewhere, and tc" else {}))
        host.bpf(programs=[program(1, "front", verdicts=verdicts)])
        if kind == "xdp":
            xdp(host, "eth0", 1)
        elif kind == "tcx":
            tcx(host, "eth0", 1)
        else:
            direction = "egress" if kind == "tc egress" else "ingress"
            tc(host, "eth9" if kind == "elsewhere" else "eth0", 1, direction=direction)
        yield _case(f"{kind} that returns {verdicts}", "may it take the packets?", host, 1, severity=severity)
    mate = BirdRoute(net="203.0.113.8/32", type="blackhole", protocol="s1", best=True)
    for owner, fires, severity in (("203.0.113.8/32", 1, "warning"), ("203.0.113.9/32", 2, "info")):
        both = _host(link={"xdp": Xdp(mode="native")}).exports("up1", routes=(mate,), rtbh=()).address("lo", owner)
        sure = "likely" if severity == "warning" else "possible"
        told: dict[str, Any] = {"severity": severity, "confidence": sure}
        yield _case(f"XDP, {owner} is on lo", "how its like is taken in", both, fires, **told)
    for given, fires in ((nat("dnat", "10.0.0.2"), 0), (plain("redir"), 0), (verdict("accept"), 1)):
        words = rule(daddr("203.0.113.7/32"), given)
        named = _host().nft(table(chain("pre", words, hook="prerouting", type="nat" if not fires else "filter")))
        yield _case(f"named by a rule, {given[-1].name}", "who takes it in", named, fires)
    other = table(chain("pre", rule(daddr("203.0.113.8/32"), nat("dnat", "10.0.0.2")), hook="prerouting", type="nat"))
    yield _case("another one translated", "it is not this one", _host().nft(other), 1)
