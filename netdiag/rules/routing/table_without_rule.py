"""What it checks
  A routing table of a number of its own holds routes that would carry packets, and no policy rule of that family leads
  to the table: none names it, or a goto for all packets leads past every one that does. For the tables of VRFs: there
  is no l3mdev rule either.

Why it matters
  Nothing looks at the table. Traffic that had its own way (by source address, mark, interface) takes the main table's:
  the wrong uplink with the wrong source, past the tunnel, or nowhere. In a VRF it is looked up in main, where none of
  the VRF's prefixes is: nothing gets in or out (critical). Rules get lost where routes do not: a restart of
  systemd-networkd flushes foreign rules, "ip rule flush" deletes them, a script made them for one family only.

Confirm
  ip rule show
  ip route show table TABLE

Fix
  Make the rule again, for example ip rule add pref NUMBER from ADDRESS lookup TABLE. Packets that it selects move to
  the table's way at once. See who deletes rules (ManageForeignRoutingPolicyRules= of networkd). Where a goto leads
  past the rule: ip rule del of the goto.

Not flagged
  The tables main, default and local; tables of VRFs, as long as an l3mdev rule leads to them all. Tables that hold only
  throw, blackhole, unreachable or prohibit routes. A table whose routes all lead over dead next hops. Tables that a
  routing daemon fills (BIRD, FRR ...), for a looking glass or for later use: told as info; a warning where nothing of
  it is in a table that is looked at, and this host has no other way to what it holds: then it is its only table, gone
  astray; or where the daemon fills another table with the same prefixes by another way, and that one has a rule for
  some packets (a table an uplink). A table that had its routes and no rule at the time of the baseline too, or of which
  the intent names routes and no rule, is told as info: somebody knows it. A table that some rule names, even one that
  cannot match now, or one that a goto for some packets leads to, while another leads the rest past it.

References
  net/core/fib_rules.c, ip-rule(8), Documentation/networking/vrf.rst, networkd.conf(5)
  ManageForeignRoutingPolicyRules=
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.reach import jumped_over, reachable_tables, selects
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.index.ways import usable
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import IntendedRoute, IntendedRule
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RTN_LOCAL, RTN_UNICAST, RTPROT_NAMES, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since
from netdiag.rules.routewords import ip_command, rule_words, way_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="table-without-rule",
    title="a routing table has routes and no policy rule leads to it",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules"),
    consults=("sysctls", "baseline", "intent.route", "intent.rule"),
    explains=(
        "route-default-missing",
        "dns-nameserver-unroutable",
        "asym-rpfilter-strict-drop",
        "nf-rpfilter-nft-fib",
        "src-addr-selection-wrong",
        "bgp-*",
        "wg-[!f]*",
    ),
    family="each",
)
OWN = (0, 253, 254, 255)
DAEMONS = (8, 10, 11, 12, 42, 99, 186, 187, 188, 189, 192)
"""RTPROT_* of routing daemons (include/uapi/linux/rtnetlink.h)."""
CONNECTED = 2
"""RTPROT_KERNEL."""
LOOKED_AT = 64


def carrying(view: HostView, family: str, table: int) -> list[Route]:
    """Some routes of the table that would take packets, the shortest prefix first."""
    routes, positions = view.routes(family), view.fib(family).positions(table)
    order = positions[np.argsort(routes.dst_len[positions], kind="stable")][:LOOKED_AT]
    chosen = [at for at in order.tolist() if routes.type[at] == RTN_LOCAL or usable(routes, at)]
    return [row for row in view.route_rows(family, chosen) if not _by_itself(row)]


def _by_itself(row: Route) -> bool:
    """Routes that the kernel makes for an interface, wherever that is: fe80::/64, multicast, and their like."""
    return row.dst.startswith(("fe80:", "ff")) or (row.protocol == CONNECTED and row.type == "local")


def rule_for(view: HostView, family: str, table: int, rows: list[Route]) -> str:
    """A guess at the rule: that of the other family where it names no address, else the source of the table's link, or
    where the table has no default route, what it has a route for."""
    twin = next((rule for rule in view.rules if rule.family != family and rule.table == table), None)
    ip = ip_command(family)
    if twin is not None and not twin.src_len and not twin.dst_len:
        return f"{ip} rule add pref {twin.priority} {rule_words(twin)}"
    if rows and not any(row.default for row in rows):
        meant = [row.dst for row in rows if row.protocol != CONNECTED] or [row.dst for row in rows]
        return f"{ip} rule add to {meant[0]} lookup {table}" + ("  # and for the others" if len(meant) > 1 else "")
    oifs = {hop.oif for row in rows for hop in row.hops}
    for address in view.addresses:
        if address.family == family and address.ifindex in oifs and address.scope == 0:
            return f"{ip} rule add from {address.local} lookup {table}"
    return f"{ip} rule add fwmark {table} lookup {table}  # or what else selected its packets"


class Unled(NamedTuple):
    """A table that no rule names, and some routes of it that would carry packets."""

    table: int
    rows: list[Route]


def unled(view: HostView, family: str) -> Iterator[Unled]:
    """Every such table of the family that somebody filled by hand: daemons fill some for later use."""
    named = {rule.table for rule in view.rules if rule.family == family}
    for table in view.fib(family).tables():
        if table not in OWN and table not in named and table not in {link.info.get("table") for link in view.links}:
            rows = carrying(view, family, table)
            if any(row.protocol not in DAEMONS for row in rows):
                yield Unled(table, rows)


def check(view: HostView) -> Iterator[Draft]:
    vrfs = {link.info.get("table"): link.ifname for link in view.links}
    for family in ("inet", "inet6"):
        rules = [rule for rule in view.rules if rule.family == family]
        passed = jumped_over(rules, family)
        named = {rule.table for rule in rules if rule not in passed}
        l3mdev = any(rule.l3mdev for rule in rules)
        if not rules:
            continue
        cut_off: dict[str, Route] = {}
        for table in view.fib(family).tables():
            if table in OWN or table in named or (table in vrfs and l3mdev):
                continue
            rows = carrying(view, family, table)
            if rows and table in vrfs:
                cut_off[vrfs[table]] = rows[0]
            elif rows:
                jump = next((by for rule, by in passed.items() if rule.table == table), None)
                yield _draft(view, family, table, rows, jump)
        if cut_off:
            yield _vrf_draft(family, cut_off)


def _astray(view: HostView, family: str, table: int, rows: list[Route]) -> bool:
    """Whether the daemon has no route in any table that is looked at, and there is no other way to these."""
    if not view.read_whole("sysctls"):
        return False
    routes, used = view.routes(family), reachable_tables(view.rules, view.links, family)
    elsewhere = among(routes.protocol, DAEMONS) & among(routes.table, list(used)) & (routes.type == RTN_UNICAST)
    lost = [row for row in rows if not view.lookup(Query(family=family, dst=specimens(row.dst)[0])).ok]
    return not elsewhere.any() and bool(lost)


def _mate(view: HostView, family: str, table: int, rows: list[Route]) -> PolicyRule | None:
    """The rule of another table that a daemon fills with the same prefixes by another gateway or interface, for some
    packets: one table an uplink, each with its rule, and this one has lost its own."""
    mine = {row.dst: row.hops for row in rows}
    for rule in view.rules:
        if rule.family != family or rule.table in (*OWN, table, None) or not selects(rule):
            continue
        theirs = carrying(view, family, rule.table or 0)
        if any(row.protocol in DAEMONS and row.dst in mine and row.hops != mine[row.dst] for row in theirs):
            return rule
    return None


def _known(view: HostView, family: str, table: int) -> str:
    """What says that the table is filled for later use: it had its routes and no rule at the time of the baseline too,
    or the intent names a route of it and no rule; empty: nothing does."""
    old, intent = view.baseline, view.intent
    whole = old is not None and old.read_whole("routes") and old.read_whole("rules")
    if old is not None and whole and len(old.fib(family).positions(table)):
        led = any(rule.table == table for rule in old.rules)
        return "" if led else f"it was so at the time of {since(old)[6:]}"
    meant = any(row.family == family and row.table == table for row in intent.route or ())
    ruled = any(row.table == table for row in intent.rule or ())
    return "the intent names its routes, and no rule for it" if meant and not ruled else ""


def _draft(view: HostView, family: str, table: int, rows: list[Route], jump: PolicyRule | None) -> Draft:
    row, ip = rows[0], ip_command(family)
    known = _known(view, family, table) if jump is None else ""
    fed = jump is None and all(one.protocol in DAEMONS for one in rows)
    astray = fed and _astray(view, family, table, rows)
    mate = _mate(view, family, table, rows) if fed and not astray else None
    guess = bool(known) or (fed and not astray and mate is None)
    twins: list[PolicyRule] = [rule for rule in view.rules if rule.table == table and rule.family != family]
    other = f"; IPv{'4' if family == 'inet6' else '6'} has rule {twins[0].priority} for it" if twins else ""
    way = f"no {ip} rule leads to it" if jump is None else f"the goto of {ip} rule {jump.priority} leads past its rule"
    links = sorted({view.ifname(hop.oif) for one in rows for hop in one.hops if hop.oif})
    return RULE.found(
        subject=subject("route", dst=row.dst, table=table),
        message=f"table {table} has {row.dst} {way_words(view, row)}, and {way}{other}"
        + (f"; nothing of {RTPROT_NAMES.get(row.protocol, row.protocol)} is in a table in use" if astray else "")
        + (f"; {known}" if known else "")
        + (f"; table {mate.table}, filled like it by another way, has rule {mate.priority}" if mate else ""),
        severity="info" if guess and (known or not twins) else "warning",
        confidence="possible" if guess and (known or not twins) else None,
        evidence=[
            (f"routes in table {table}", len(view.fib(family).positions(table)), "RTM_GETROUTE RTA_TABLE"),
            (f"made by {RTPROT_NAMES.get(row.protocol, row.protocol)}", row.dst, "RTM_GETROUTE rtm_protocol"),
            (f"rules for table {table} that packets come to", 0, "RTM_GETRULE FRA_TABLE, FRA_GOTO"),
        ],
        confirm=[f"{ip} rule show", f"{ip} route show table {table}"],
        fix=f"{ip} rule del pref {jump.priority} {rule_words(jump)}" if jump else rule_for(view, family, table, rows),
        touches=[subject("link", ifname=name) for name in links],
        breaks=[
            *(subject("route", dst=one.dst, table=254) for one in rows[:4]),
            *(subject("route", dst=one.dst, table=254, ifname=name) for one in rows[:4] for name in links),
        ],
    )


def _vrf_draft(family: str, cut_off: dict[str, Route]) -> Draft:
    """One for all VRFs: one rule is for them all."""
    ip, (first, row) = ip_command(family), next(iter(cut_off.items()))
    more = f" and of {len(cut_off) - 1} more" if len(cut_off) > 1 else ""
    return RULE.found(
        subject=subject("route", dst=row.dst, table=row.table),
        message=f"the table of VRF {first} ({row.table}){more} has routes, and {ip} rule shows no l3mdev rule: what"
        " is in a VRF is looked up in main",
        severity="critical",
        evidence=[
            (f"{first} has table", row.table, f"RTM_GETLINK {first} IFLA_VRF_TABLE"),
            (f"in table {row.table}", row.dst, "RTM_GETROUTE RTA_TABLE"),
            ("l3mdev rules", 0, "RTM_GETRULE FRA_L3MDEV"),
        ],
        confirm=[f"{ip} rule show", f"{ip} route show vrf {quoted(first)}"],
        fix=f"{ip} rule add pref 1000 l3mdev",
        touches=[subject("link", ifname=name) for name in cut_off],
        breaks=[subject("link", ifname=name) for name in cut_off],
    )


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
    host.address("eth1", "2001:db8:1::1/64").route("default", via="10.0.0.2", dev="eth0")
    return host


def _own(**fields: Any) -> HostBuilder:
    given: dict[str, Any] = {"via": "10.1.0.2", "dev": "eth1", "table": 100}
    return _host().route("default", **(given | fields))


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def _known_ones() -> Iterator[Example]:
    """Tables that somebody knows of."""
    ruled = _own().rule(100, src="10.1.0.1", src_len=32, table=100)
    told = "and no ip rule leads to it; it was so at the time of the baseline of "
    for name, old, severity, says in (
        ("without a rule then too", _own(), "info", (told,)),
        ("with its rule then", ruled, "warning", ()),
        ("not there then", _host(), "warning", ()),
    ):
        yield replace(
            _case(f"table {name}", "a baseline", _own(), 1, severity=severity, says=says), baseline=old.build()
        )
    route = IntendedRoute(family="inet", dst="0.0.0.0/0", table=100)
    for name, rules, severity in (
        ("a route of it", None, "info"),
        ("a route of it, and a rule", (IntendedRule(family="inet", priority=100, table=100),), "warning"),
        ("a rule of another", (IntendedRule(family="inet", priority=100, table=7),), "info"),
    ):
        meant = _own().intend(route=(route,), rule=rules)
        yield _case(f"the intent names {name}", "somebody knows it", meant, 1, severity=severity)


def examples() -> Iterator[Example]:
    warn: dict[str, Any] = {"fires": 1, "severity": "warning"}
    yield _case("the rule is gone", "the plain fault", _own(), says=("ip rule add from 10.1.0.1 lookup 100",), **warn)
    narrow = _host().route("10.60.0.0/16", via="10.1.0.2", dev="eth1", table=100)
    led = ("ip rule add to 10.60.0.0/16 lookup 100",)
    yield _case("a table for one network", "it is for what goes there", narrow, says=led, **warn)
    six = (
        _own(via="2001:db8:1::2").rule(100, fwmark=1, table=100).route("default", via="10.1.0.2", dev="eth1", table=100)
    )
    yield _case("one family only", "the other family's rule does not help", six, says=("IPv4 has rule 100",), **warn)
    yield _case(
        "other family's table", "the same number, and nothing in it", _host().rule(9, table=100, family="inet6")
    )
    yield _case("with its rule", "the ordinary case", _own().rule(100, src="10.1.0.1", src_len=32, table=100))
    yield from _known_ones()
    late = _own().rule(40000, fwmark=1, table=100)
    yield _case("a rule that gets no packet", "rule-shadowed speaks", late)
    jump = _own().rule(50, action="goto", goto=200).rule(200, action="nop").rule(100, iif="tap1", table=100)
    says = ("the goto of ip rule 50 leads past its rule", "ip rule del pref 50 from all goto 200")
    yield _case("a goto past its rule", "no packet comes to that rule", jump, says=says, **warn)
    ours = _own(protocol=12).rule(50, action="goto", goto=200).rule(200, action="nop").rule(100, fwmark=1, table=100)
    yield _case("a goto past the rule of a daemon's table", "the rule shows that it was used", ours, **warn)
    first = _own().rule(50, action="goto", goto=200).rule(200, action="nop").rule(100, iif="tap1", table=7)
    first.rule(300, action="goto", goto=400).rule(400, action="nop").rule(350, iif="tap1", table=100)
    third = ("the goto of ip rule 300 leads past its rule",)
    yield _case("two gotos past rules", "each leads past one table's", first, says=third, **warn)
    upto = _own().rule(50, action="goto", goto=100).rule(100, iif="tap1", table=100)
    yield _case("a goto to its rule", "packets go on there", upto)
    some = _own().rule(50, action="goto", goto=200, fwmark=1).rule(200, action="nop").rule(100, iif="tap1", table=100)
    yield _case("a goto for some packets", "the others come to the rule", some)
    into = _own().rule(40, action="goto", goto=100, fwmark=1).rule(50, action="goto", goto=200).rule(200, action="nop")
    yield _case(
        "a goto into what another leads past", "the marked ones go on there", into.rule(100, fwmark=1, table=100)
    )
    beyond = _own().rule(40, action="goto", goto=150, fwmark=1).rule(50, action="goto", goto=200)
    beyond.rule(200, action="nop").rule(150, action="nop").rule(100, fwmark=1, table=100)
    yield _case("a goto to behind it", "the marked ones are past it too", beyond, **warn)
    gone = _own().rule(40, action="goto", goto=100, iif="tun9", iif_detached=True).rule(50, action="goto", goto=200)
    gone.rule(200, action="nop").rule(100, fwmark=1, table=100)
    yield _case("a goto for an interface that is gone", "nothing comes in there", gone, **warn)
    open_ = _own().rule(50, action="goto", goto=300, goto_unresolved=True).rule(100, iif="tap1", table=100)
    yield _case("a goto to nowhere", "the kernel passes on", open_)
    again = upto.rule(100, fwmark=2, table=100).rule(60, action="goto", goto=300).rule(300, action="nop")
    yield _case("a goto that another goto leads past", "nobody takes it", again)
    second = jump.rule(300, fwmark=3, table=100)
    yield _case("a goto past one of its rules", "the other one is met", second)
    never = _own().rule(50, action="goto", goto=200, invert=True).rule(200, action="nop").rule(100, iif="a", table=100)
    yield _case("a goto for no packet", "not of all is none", never)
    idle = _own().rule(100, iif="tun9", iif_detached=True, table=100)
    yield _case("a rule for an interface that is gone", "somebody means it", idle)
    fed = _own(protocol=12)
    yield _case("a daemon's table", "a looking glass, or for later use", fed, 1, severity="info")
    for name, why, fields, rule, severity in (
        ("beside one for the other uplink", "a table an uplink", {}, {"src": "10.0.0.1", "src_len": 32}, "warning"),
        (
            "beside a copy with a rule",
            "it would decide the same",
            {"via": "10.1.0.2", "dev": "eth1"},
            {"iif": "a"},
            "info",
        ),
        ("beside one for other prefixes", "another purpose", {"dst": "10.7.0.0/16"}, {"iif": "a"}, "info"),
        ("beside one for all packets", "that stands for main", {}, {}, "info"),
        ("beside an operator's", "not filled like it", {"protocol": 3}, {"iif": "a"}, "info"),
        ("beside main with a mark", "that is not an uplink's", {"table": 254}, {"fwmark": 9, "table": 254}, "info"),
    ):
        given: dict[str, Any] = {"dst": "default", "via": "10.0.0.2", "dev": "eth0", "protocol": 12} | fields
        mated = (
            _own(protocol=12).route(given.pop("dst"), **({"table": 200} | given)).rule(200, **({"table": 200} | rule))
        )
        yield _case(f"a daemon's table {name}", why, mated, 1, severity=severity)
    alone = HostBuilder().link("eth1").address("eth1", "10.1.0.1/24").rule(32766, table=254)
    astray = alone.route("198.51.100.0/24", via="10.1.0.2", dev="eth1", table=200, protocol=12)
    yield _case(
        "all that BIRD has", "no other way there", astray, says=("nothing of bird is in a table in use",), **warn
    )
    dark: dict[str, Any] = {"late": ("sysctls",), "severity": "info", "unjudged": True}
    yield _case("all that BIRD has, settings not read", "other ways are not known", astray, 1, **dark)
    both = _own(protocol=12).route("198.51.100.0/24", via="10.0.0.2", dev="eth0", protocol=12)
    yield _case("a daemon with routes in main too", "this one is for something else", both, 1, severity="info")
    elsewhere = HostBuilder().link("eth1").address("eth1", "10.1.0.1/24")
    for net, table in (("198.51.100.0/24", 200), ("203.0.113.0/24", 254)):
        elsewhere.route(net, via="10.1.0.2", dev="eth1", table=table, protocol=12)
    yield _case("a daemon with other routes in main", "it is not astray", elsewhere, 1, severity="info")
    twin = _own(via="2001:db8:1::2", protocol=12).rule(100, fwmark=1, table=100)
    twin.route("default", via="2001:db8:1::9", dev="eth1")
    yield _case("a daemon's table that IPv4 uses", "both were meant", twin, **warn)
    left = _host().link("eth2").route("fe80::/64", dev="eth1", table=100, protocol=2)
    left.route("ff00::/8", dev="eth1", table=100, type="multicast", protocol=2)
    left.route("10.1.0.1/32", dev="eth1", table=101, type="local", protocol=2)
    yield _case("what the kernel makes for a VRF's port", "the VRF itself was not seen", left)
    subnet = _host().route("10.1.0.0/24", dev="eth1", table=100, protocol=2, scope=253)
    yield _case("a subnet alone", "an address was made with its routes there", subnet, **warn)
    bare = _own().without_rule(0, family="inet6").without_rule(32766, family="inet6")
    bare.route("default", via="2001:db8:1::2", dev="eth1", table=100)
    about = subject("route", dst="0.0.0.0/0", table=100)
    yield _case("a kernel without rules of IPv6", "it knows no tables", bare, subject=about, **warn)
    yield _case("main without its rule", "rule-main-missing speaks", _host().without_rule(32766))

    def vrfs(*names: str) -> HostBuilder:
        host = _host()
        for number, name in enumerate(names, 100):
            host.link(name, kind="vrf", info={"table": number})
            host.route("10.1.0.0/24", dev="eth1", table=number, protocol=2)
        return host

    yield _case("VRFs", "reached by their interfaces", vrfs("red", "blue").rule(1000, l3mdev=True))
    yield _case("a table beside a VRF", "no VRF looks into it", _own().rule(1000, l3mdev=True), **warn)
    empty = _host().link("red", kind="vrf", info={"table": 100})
    yield _case("a VRF with nothing to lose", "its ports are down", empty.route("10.1.0.0/24", type="throw", table=100))
    lost: dict[str, Any] = {"fires": 1, "severity": "critical"}
    yield _case("a VRF without l3mdev", "its packets ask main", vrfs("red"), says=("of VRF red (100) has",), **lost)
    two = vrfs("red", "blue")
    yield _case("two of them", "one rule for all", two, says=("red (100) and of 1 more", "pref 1000 l3mdev"), **lost)
    six = vrfs("red").rule(1000, l3mdev=True, family="inet6")
    yield _case("a rule of the other family", "each has its own", six, **lost)
    by_hand = vrfs("red").rule(100, iif="red", table=100)
    yield _case("a VRF with rules of its own", "as before Linux 4.8", by_hand)
    for kind in ("throw", "blackhole", "unreachable"):
        refusing = _host().route("10.9.0.0/16", type=kind, table=100)
        yield _case(f"only {kind}", "it carries nothing", refusing)
    dead = _host().route("default", via="10.1.0.2", dev="eth1", table=100, flags=0x11)
    yield _case("dead next hops", "it carries nothing now", dead)
    tproxy = _host().route("default", dev="lo", type="local", table=2004, family="inet")
    yield _case("TPROXY without its rule", "the proxy gets no packet", tproxy, **warn)
