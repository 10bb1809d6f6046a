"""What it checks
  A route that this host is meant to have is not there: [[route]] of the intent names it, or it was there at the time
  of the baseline, made by hand or by a script (proto boot or static).

Why it matters
  Static routes vanish when their interface goes down, when their nexthop object is deleted, or when a daemon that
  thinks the table its own is restarted; nothing brings them back. What they carried takes a wider route or none.

Confirm
  ip route show PREFIX table TABLE
  ip route get ADDRESS

Fix
  ip route add PREFIX via GATEWAY dev IFNAME table TABLE. It acts at once on all packets to that prefix.

Not flagged
  A route that is there with other attributes than the intent leaves open. Against a baseline: routes of daemons, of
  DHCP and of router advertisements, which come and go; the kernel's own, which follow the addresses; routes over
  interfaces that are gone; a prefix that now has another route in that table; routes over nexthop objects that are
  gone (see nexthop-object-delete-removed-routes); a single address that was refused or dropped (fail2ban, a victim of
  an attack): such bans end; single addresses over a VPN's tun, no WireGuard of ours, in a table of its own that leads
  there still: the VPN's daemon adds and takes them with its peers (Tailscale's table 52). Without a [[route]] section
  and without a baseline it is not evaluated.

References
  net/ipv4/fib_frontend.c fib_disable_ip(); ip-route(8)
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.local import Network
from netdiag.index.policy import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, Subject, Unjudged, subject
from netdiag.model.intent import IntendedRoute
from netdiag.model.route import RT_TABLE_MAIN, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since, untold
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="route-expected-missing",
    title="a route that this host is meant to have is not there",
    severity="critical",
    reads=("routes", "links", "rules", "sysctls"),
    consults=("intent.route", "baseline", "nexthops", "wireguard"),
    explains=(
        "rule-references-empty-table",
        "bgp-*",
        "bgp-export-zero",
        "bgp-anycast-missing-announce",
        "wg-*",
        "dns-*",
        "asym-*",
    ),
    family="each",
)
BY_HAND = (3, 4)
"""RTPROT_BOOT, RTPROT_STATIC."""
DROPS = ("blackhole", "unreachable", "prohibit", "throw")
"""Types of routes that carry nothing, so that nothing is lost with them."""
MOST = 64
"""So many prefixes of tunnels are told to belong to it."""
NAMED = 3
"""So many routes that vanished are told one by one."""


def _like(view: HostView, want: IntendedRoute, row: Route) -> bool:
    """Whether the route is as the intent says, in all that it says."""
    if row.dst != want.dst:
        return False
    if any(
        wanted not in (None, there)
        for wanted, there in ((want.type, row.type), (want.metric, row.priority), (want.prefsrc, row.prefsrc))
    ):
        return False
    gateways, devices = {hop.gateway for hop in row.hops}, {view.ifname(hop.oif) for hop in row.hops}
    return (want.gateway is None or want.gateway in gateways) and (want.dev is None or want.dev in devices)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from untold(view, "route")
    said = set()
    for want in view.intent.route or ():
        rows = view.route_rows(want.family, view.fib(want.family).routes_covering(want.table, want.dst))
        if any(_like(view, want, row) for row in rows):
            continue
        said.add((want.table, want.dst))
        other = next((row for row in rows if row.dst == want.dst), None)
        words = [want.type] if want.type not in (None, "unicast") else []
        words += [want.dst] + (["via", want.gateway] if want.gateway else [])
        words += ["dev", quoted(want.dev)] if want.dev else []
        words += ["src", want.prefsrc] if want.prefsrc else []
        words += ["metric", str(want.metric)] if want.metric is not None else []
        yield _draft(
            view,
            (want.family, want.table, want.dst),
            " ".join(map(str, words)),
            "intent [[route]]",
            other=other,
            dev=want.dev,
        )
    if view.baseline is not None:
        gone = [row for row in _vanished(view.baseline, view) if (row.table, row.dst) not in said]
        yield from _gone(view, view.baseline, gone)


def _vanished(old: HostView, new: HostView) -> Iterator[Route]:
    """Routes made by hand that are gone since the baseline, over interfaces that are still here."""
    for family in ("inet", "inet6"):
        routes = old.routes(family)
        for row in old.route_rows(family, np.flatnonzero(among(routes.protocol, BY_HAND)).tolist()):
            names = [old.ifname(hop.oif) for hop in row.hops]
            covering = new.route_rows(family, new.fib(family).routes_covering(row.table, row.dst))
            if any(other.dst == row.dst for other in covering) or any(n not in new.stack.by_name for n in names):
                continue
            if _passes(new, row, names):
                continue
            if row.nh_id is not None and not (new.read_whole("nexthops") and row.nh_id in {n.id for n in new.nexthops}):
                continue
            yield row


def _passes(new: HostView, row: Route, names: list[str]) -> bool:
    """Whether it is a single address's route of a kind that programs add and take away by themselves."""
    if not row.dst.endswith("/32" if row.family == "inet" else "/128"):
        return False
    if row.type in DROPS:
        return True
    link = new.stack.by_name[names[0]] if len(names) == 1 and row.hops[0].gateway is None else None
    if link is None or link.info.get("type") != "tun" or row.table == RT_TABLE_MAIN:
        return False
    if link.ifname in {device.ifname for device in new.wireguard.devices}:
        return False  # its peers say what belongs there
    if new.unknown("wireguard"):
        return False
    routes = new.routes(row.family)
    return bool(((routes.table == row.table) & (routes.oif == link.ifindex)).any())


def _gone(view: HostView, old: HostView, rows: list[Route]) -> Iterator[Draft]:
    groups: dict[tuple[str, int], list[Route]] = {}
    for row in rows:
        groups.setdefault((row.family, row.table), []).append(row)
    for (family, table), lost in groups.items():
        told = lost if len(lost) <= NAMED else lost[:1]
        for row in told:
            hop = row.hops[0] if row.hops else None
            dev = old.ifname(hop.oif) if hop else None
            words = f"{row.type} {row.dst}" if row.type != "unicast" else row.dst
            words += f" via {hop.gateway}" if hop and hop.gateway else ""
            words += f" dev {quoted(old.ifname(hop.oif))}" if hop else ""
            more = len(lost) - 1 if told is not lost else 0
            yield _draft(view, (family, table, row.dst), words, f"RTM_GETROUTE, {since(old)}", more=more, dev=dev)


def _draft(
    view: HostView,
    at: tuple[str, int, str],
    words: str,
    source: str,
    *,
    other: Route | None = None,
    more: int = 0,
    dev: str | None = None,
) -> Draft:
    family, table, dst = at
    lost = not all(view.lookup(Query(family=family, dst=address)).ok for address in specimens(dst))
    drops = words.partition(" ")[0] in DROPS
    ip = ip_command(family)
    effect = "nothing else takes its packets" if lost else "its packets take another route"
    if other is not None:
        effect = "there is one to that prefix, but another one"
    rest = f" and {more} other{'s' if more > 1 else ''}" if more else ""
    blank = "" if drops or {"via", "dev"} & set(words.split()) else " via GATEWAY"
    objects = [subject("route", dst=dst, table=table)]
    for link in view.links if len(view.links) < 64 else ():
        objects.append(subject("route", dst=dst, table=table, ifname=link.ifname))
    return RULE.found(
        subject=subject("route", dst=dst, table=table),
        severity="critical" if lost and not drops else "warning",
        message=f"the route {words} of table {table_word(table)}{rest} is missing: {effect}",
        evidence=[
            ("meant to be there", words, source),
            (f"routes to {dst} in table {table_word(table)}", 1 if other else 0, "RTM_GETROUTE RTA_DST RTA_TABLE"),
        ],
        confirm=[f"{ip} route show table {table}", f"{ip} route get {specimens(dst)[0]}"],
        fix=f"{ip} route {'replace' if other else 'add'} {words}{blank} table {table}",
        touches=[subject("link", ifname=dev)] if dev else [],
        breaks=[*objects, *_tables(view, family, table), *_into_tunnels(view, dst)],
    )


def _into_tunnels(view: HostView, dst: str) -> list[Subject]:
    """The ways to what WireGuard's peers are allowed, where the route would lead there: never a default route."""
    net = ipaddress.ip_network(dst)
    allowed = {prefix for device in view.wireguard.devices for peer in device.peers for prefix in peer.allowed_ips}
    inside = [ipaddress.ip_network(prefix) for prefix in allowed] if net.prefixlen else []
    held = [one for one in inside if one.version == net.version and _covers(net, one)]
    return [subject("route", dst=str(one), table=RT_TABLE_MAIN) for one in sorted(held, key=str)[:MOST]]


def _covers(net: Network, one: Network) -> bool:
    return one.prefixlen >= net.prefixlen and one.network_address in net


def _tables(view: HostView, family: str, table: int) -> list[Subject]:
    """Rules that lead to a table that is now empty."""
    if len(view.fib(family).positions(table)):
        return []
    return [
        subject("rule", priority=rule.priority, family=family)
        for rule in view.rules
        if rule.family == family and rule.table == table
    ]


def _host() -> HostBuilder:
    return HostBuilder().link("eth0").link("eth1").address("eth0", "192.0.2.2/24").address("eth1", "198.51.100.2/24")


DEFAULT = IntendedRoute(family="inet", dst="0.0.0.0/0")


def _case(name: str, why: str, host: HostBuilder, *wanted: IntendedRoute, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.intend(route=wanted).build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("route", dst="0.0.0.0/0", table=254)
    told: dict[str, Any] = {"fires": 1, "subject": about}
    yield _case("no default route", "everything beyond is out of reach", _host(), DEFAULT, severity="critical", **told)
    there = _host().route("default", via="192.0.2.1", dev="eth0")
    yield _case("there", "as it should be", there, DEFAULT)
    half = IntendedRoute(family="inet", dst="10.0.0.0/8", gateway="192.0.2.9")
    wide = _host().route("default", via="192.0.2.1", dev="eth0")
    yield _case("a wider one is there", "packets go astray, not nowhere", wide, half, fires=1, severity="warning")
    other = _host().route("10.0.0.0/8", via="192.0.2.1", dev="eth0")
    yield _case("another gateway", "there, and not as it should be", other, half, fires=1, severity="warning")
    right = _host().route("10.0.0.0/8", hops=[_host().hop("eth0", "192.0.2.9"), _host().hop("eth1", "198.51.100.1")])
    yield _case("one of several gateways", "any next hop will do", right, half)
    table = IntendedRoute(family="inet", dst="0.0.0.0/0", table=100)
    yield _case("in another table", "each table is its own", there, table, fires=1, severity="warning")
    six = IntendedRoute(family="inet6", dst="::/0")
    yield _case("of the other family", "IPv4's does not help", there, six, fires=1, severity="critical")
    device = IntendedRoute(family="inet", dst="10.0.0.0/8", dev="eth1")
    yield _case("another interface", "there, and not as it should be", other, device, fires=1, severity="warning")
    yield Example(name="no section", why="nothing was told", tables=_host().build(), unjudged=True)
    yield from _meant()
    yield from _since()


def _meant() -> Iterator[Example]:
    """Every attribute that the intent can name."""
    net: dict[str, Any] = {"family": "inet", "dst": "10.0.0.0/8"}
    host = _host().route("default", via="192.0.2.1", dev="eth0")
    whole = IntendedRoute(**net, gateway="192.0.2.9", dev="eth0", metric=50, prefsrc="192.0.2.2", type="unicast")
    words = "the route 10.0.0.0/8 via 192.0.2.9 dev eth0 src 192.0.2.2 metric 50 of table main is missing: its packets"
    yield _case("with all that it has", "a wider one takes its packets", host, whole, fires=1, says=(words,))

    def there(**fields: Any) -> HostBuilder:
        given: dict[str, Any] = {"priority": 50} | fields
        return _host().route("10.0.0.0/8", via="192.0.2.9", dev="eth0", **given)

    yield _case("all of it there", "as it should be", there(prefsrc="192.0.2.2"), whole)
    other = {"fires": 1, "severity": "warning", "says": ("there is one to that prefix",)}
    yield _case("another source", "replies leave with the wrong one", there(), whole, **other)
    yield _case("another metric", "it may lose", there(prefsrc="192.0.2.2", priority=60), whole, **other)
    refuses = _host().route("10.0.0.0/8", type="unreachable")
    yield _case("refused", "there is one, and it lets nobody through", refuses, whole, fires=1, severity="critical")
    trap = IntendedRoute(**net, type="blackhole")
    yield _case("no trap", "nothing is lost with what drops", _host(), trap, fires=1, severity="warning")
    yield _case("traffic past the trap", "it leaks", host, trap, fires=1, says=("the route blackhole 10.0.0.0/8 of",))
    yield _case("a trap", "as it should be", _host().route("10.0.0.0/8", type="blackhole"), trap)


def _since() -> Iterator[Example]:
    def case(name: str, why: str, before: HostBuilder, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=_host().build(), baseline=before.build(), **expected)

    static = _host().route("10.0.0.0/8", via="192.0.2.9", dev="eth0")
    yield case("gone since", "nothing covers it", static, fires=1, severity="critical")
    words = ("the route 10.0.0.0/8 dev eth0 of",)
    yield case("gone, without a gateway", "on the link", _host().route("10.0.0.0/8", dev="eth0"), fires=1, says=words)
    trap = _host().route("10.0.0.0/8", type="blackhole", protocol=4)
    yield case("a trap is gone", "nothing is lost", trap, fires=1, severity="warning", says=("route blackhole 10",))
    want = IntendedRoute(family="inet", dst="10.0.0.0/8", gateway="192.0.2.9")
    meant = _host().intend(route=(want,)).build()
    yield Example(name="twice told", why="one fault, one finding", tables=meant, baseline=static.build(), fires=1)
    yield case("of a daemon", "they come and go", _host().route("10.0.0.0/8", via="192.0.2.9", dev="eth0", protocol=12))
    guest = _host().link("tap0").route("10.0.0.0/8", dev="tap0")
    yield case("of a guest that left", "its interface is gone too", guest)
    over = _host().nexthop(7, oif="eth0").route("10.0.0.0/8", via="192.0.2.9", dev="eth0", nh_id=7)
    yield case("over a nexthop object", "another rule speaks", over)
    kept = _host().nexthop(7, oif="eth0").build()
    yield Example(name="its object is here", why="the route alone is gone", tables=kept, baseline=over.build(), fires=1)
    late: dict[str, Any] = {"late": ("nexthops",), "tables": kept, "baseline": over.build()}
    yield Example(name="objects not read", why="whether it is gone is not known", unjudged=True, **late)
    ban = _host().route("198.51.100.7/32", type="unreachable", protocol=3)
    yield case("a ban that ended", "of one address, as fail2ban makes and takes it", ban)

    def tailnet(*peers: int, kind: str = "tun", table: int = 52) -> HostBuilder:
        made = _host().link("ts0", kind="tun", info={"type": kind}).route("10.77.0.0/16", dev="ts0", table=table)
        for peer in peers:
            made.route(f"100.90.1.{peer}/32", dev="ts0", table=table)
        return made

    for name, why, then, now, fires in (
        ("a peer of a tailnet that left", "its daemon took the route", tailnet(2, 3), tailnet(3), 0),
        ("of a guest's tap", "nobody but us makes that", tailnet(2, 3, kind="tap"), tailnet(3, kind="tap"), 1),
        ("over a tun, of main", "somebody wrote it there", tailnet(2, table=254), tailnet(table=254), 1),
        ("all over a tun", "nothing leads there", tailnet(2), _host().link("ts0", kind="tun", info={"type": "tun"}), 2),
    ):
        yield Example(name=name, why=why, tables=now.build(), baseline=then.build(), fires=fires)
    late = {"late": ("wireguard",), "tables": tailnet(3).build(), "baseline": tailnet(2, 3).build()}
    yield Example(name="of a tailnet, or of a mesh", why="whose the tun is was not read", fires=1, **late)
    many = _host()
    for third in range(4):
        many.route(f"10.{third}.0.0/16", via="192.0.2.9", dev="eth0")
    yield case("four", "one cause, one finding", many, fires=1, says=("and 3 others is missing",))
    three = _host()
    for third in range(3):
        three.route(f"10.{third}.0.0/16", via="192.0.2.9", dev="eth0")
    first = IntendedRoute(family="inet", dst="10.0.0.0/16")
    half = _host().intend(route=(first,)).build()
    yield Example(name="one named", why="the others by themselves", tables=half, baseline=many.build(), fires=4)
    yield case("three", "told one by one", three, fires=3, says=("dev eth0 of table main is missing",))
