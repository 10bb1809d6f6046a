"""What it checks
  No policy rule of the family looks up the main table (254), or none does without setting its default route aside
  (suppress_prefixlength), or one that does is jumped over by a "goto" for all packets, while main holds routes; judged
  by asking for destinations of these routes. Also: the only rules for main that are left are for packets from certain
  addresses ("from"), so that a socket that has not chosen its address yet, which is nearly every one, finds no route;
  or for what comes in by certain interfaces ("iif"); or for other packets, such as those with a mark, and somebody in
  use (a BGP neighbour, a WireGuard endpoint, a tunnel's far end, a connection) has no route, though main has one.

Why it matters
  Almost everything writes its routes to main: ip route, DHCP, router advertisements, most daemons. Without the rule
  these routes stand in "ip route show" and are never looked at: packets fail with ENETUNREACH, new routes are refused
  with "Nexthop has invalid gateway". The kernel makes rule 32766 once; "ip rule flush" and daemons that flush foreign
  rules delete it, and nothing brings it back. IPv6 asks its rules only once one of its own was added in the
  namespace (seen on 6.18): until then a deleted rule does no harm yet, and the first one that is added brings it about.

Confirm
  ip rule show
  ip route show table main
  ip route get DESTINATION      ("Network is unreachable", though main has the route)

Fix
  ip rule add pref 32766 lookup main (ip -6 rule ... for IPv6). Takes effect at once; traffic that meanwhile went
  another way moves back to main's routes. Rules that a daemon flushed may be more than this one: look for them too. A
  goto that leads past it: ip rule del pref NUMBER.

Not flagged
  A main table that is empty (a namespace that needs no routes), or holds only link-local ones. Rules for main with
  other selectors than "from" and "iif", where nobody in use lacks a route: some packets use main by design. Hosts where
  other tables have a route for all that main has (a custom table that holds everything): where they decide otherwise it
  is info, and a warning only where packets for a subnet of an own link leave by another link. VRF designs (a rule with
  l3mdev) in which main holds connected routes only. A rule that refuses everything in front of main: see
  rule-terminal-unreachable.

References
  net/ipv4/fib_rules.c fib_default_rules_init(); net/ipv6/fib6_rules.c fib6_rules_net_init(); net/core/fib_rules.c
  fib_rules_lookup() (goto); https://github.com/systemd/systemd/issues/41350; ip-rule(8)
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netdiag.index.policy import Lookup, Query
from netdiag.index.reach import can_match, selects
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.index.ways import usable
from netdiag.model.finding import Draft, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import Demand, demands
from netdiag.rules.dialled import dialled
from netdiag.rules.maincases import for_some, replaced
from netdiag.rules.routewords import ip_command, route_subject, rule_words, way_words
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="rule-main-missing",
    title="no policy rule looks up the main table",
    severity="critical",
    reads=("links", "routes", "rules", "sysctls"),
    consults=("addresses", "neighbours", "bird", "wireguard", "sockets"),
    explains=(
        "route-default-missing",
        "asym-rpfilter-strict-drop",
        "nf-rpfilter-nft-fib",
        "bgp-nexthop-unreachable",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "dns-nameserver-unroutable",
        "wg-allowedips-without-route",
        "wg-endpoint-unroutable",
        "wg-handshake-stale",
        "wg-never-handshaked",
    ),
    family="each",
)
MOST_ASKED = 24
MOST_MARKS = 8
KINDS = ("bgp", "wireguard", "tunnel", "connection")
"""Whom packets of this host's own go to, without a neighbour's: what it answers may have a mark."""
PRIORITY = 32766


class Loss(NamedTuple):
    """A route of main that a packet does not get to."""

    row: Route
    address: str
    mark: int
    answer: Lookup


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        yield from _judge(view, family, [rule for rule in view.rules if rule.family == family])


def _judge(view: HostView, family: str, rules: list[PolicyRule]) -> Iterator[Draft]:
    readers = [rule for rule in rules if rule.table == RT_TABLE_MAIN and can_match(rule)]
    jumps = [rule for rule in rules if not selects(rule)]
    over = [jump for jump in jumps if any(_jumped(jump, reader, rules) for reader in readers)]
    reached = [reader for reader in readers if not any(_jumped(jump, reader, rules) for jump in over)]
    narrow = bool(reached) and all((rule.src_len or rule.iif) and not rule.invert for rule in reached)
    asked = None
    if not narrow and any(rule.suppress_prefixlength is None for rule in reached):
        some = all(selects(rule) and not rule.invert for rule in reached)
        asked = _cut_off(view, family) if some else None
        if asked is None:
            return
    hidden = _hidden_routes(view, family)
    if any(rule.l3mdev for rule in rules):
        hidden = [row for row in hidden if row.default or any(hop.gateway for hop in row.hops)]
    losses = [loss for row in hidden if (loss := _loss(view, rules, row)) is not None]
    lost = [loss for loss in losses if not loss.answer.ok]
    if lost:
        how = f"rule {reached[0].priority} sets it aside" if reached else "no rule leads to it"
        if narrow:
            whose = "whose source is still open" if reached[0].src_len else "that this host itself sends"
            how = f"rule {reached[0].priority}: {rule_words(reached[0])}, takes no packet {whose}"
        if asked is not None:
            how = (
                f"rule {reached[0].priority}: {rule_words(reached[0])}, takes none to {asked.query.dst}, {asked.words}"
            )
        yield _draft(view, family, lost, f"a goto in rule {over[0].priority} leads past it" if over else how, over)
    elif losses and not narrow and asked is None:
        yield _differs(view, family, next((loss for loss in losses if _astray(loss)), losses[0]))


def _cut_off(view: HostView, family: str) -> Demand | None:
    """Somebody in use to whom no rule leads, though main has a route that would carry the packets."""
    routes, fib = view.routes(family), view.fib(family)
    for demand in (*demands(view), *dialled(view)):
        if (
            demand.query.family != family
            or demand.kind not in KINDS
            or not (demand.busy or demand.kind == "connection")
        ):
            continue
        answer = view.lookup(demand.query)
        groups = fib.candidates(RT_TABLE_MAIN, demand.query.dst) if answer.rule is None and not answer.ok else ()
        if any(usable(routes, position) for group in groups for position in group.positions):
            return demand
    return None


def _jumped(jump: PolicyRule, reader: PolicyRule, rules: list[PolicyRule]) -> bool:
    """Whether an unconditional goto leads past the reader."""
    target = next((at for at, rule in enumerate(rules) if rule.priority == jump.goto), 0)
    return rules.index(jump) < rules.index(reader) < target


def _hidden_routes(view: HostView, family: str) -> list[Route]:
    """Routes of main that perhaps no rule gets at: a few, default routes first."""
    routes = view.routes(family)
    positions = view.fib(family).positions(RT_TABLE_MAIN)
    positions = positions[routes.type[positions] == RTN_UNICAST]
    if routes.dst.ndim == 2:
        first, second = routes.dst[positions, 0], routes.dst[positions, 1]
        positions = positions[~((first == 0xFF) | ((first == 0xFE) & (second & 0xC0 == 0x80)))]
    shortest = positions[np.argsort(routes.dst_len[positions], kind="stable")]
    return view.route_rows(family, shortest[:MOST_ASKED].tolist())


def _loss(view: HostView, rules: list[PolicyRule], row: Route) -> Loss | None:
    """The worst answer to a packet for this route: no route at all, else another way; None where nothing is lost."""
    marks = [0, *sorted({rule.fwmark for rule in rules if rule.fwmark})][:MOST_MARKS]
    different: Loss | None = None
    length = int(row.dst.rpartition("/")[2])
    for address in specimens(row.dst):
        longest = next(view.fib(row.family).candidates(RT_TABLE_MAIN, address), None)
        assert longest is not None  # the row itself holds it
        for mark in marks if longest.length == length else ():
            answer = view.lookup(Query(family=row.family, dst=address, mark=mark))
            if answer.rule is None:
                return Loss(row, address, mark, answer)
            ways = {(hop.oif, hop.gateway) for hop in answer.hops}
            if answer.type == "unicast" and not ways & {(hop.oif, hop.gateway) for hop in row.hops}:
                different = different or Loss(row, address, mark, answer)
    return different


def _draft(view: HostView, family: str, lost: list[Loss], how: str, jumps: list[PolicyRule]) -> Draft:
    ip, name, first, number = ip_command(family), "IPv4" if family == "inet" else "IPv6", lost[0], len(lost)
    what = "default route" if first.row.default else f"route {first.row.dst}"
    more = " and others" if number > 1 else ""
    links = sorted({view.ifname(hop.oif) for loss in lost for hop in loss.row.hops if hop.oif})
    mark = f" mark {first.mark:#x}" if first.mark else ""
    rules = [rule for rule in view.rules if rule.family == family]
    fix = f"{ip} rule add pref {PRIORITY} lookup main"
    if jumps:
        fix = f"{ip} rule del pref {jumps[0].priority} {rule_words(jumps[0])}"
    return RULE.found(
        subject=subject("rule", priority=PRIORITY, family=family),
        message=f"the {name} main table is not looked up ({how}): its {what}{more} cannot be used, "
        f"packets{mark and f' with{mark}'} to {first.address} fail with {first.answer.error}",
        evidence=[
            (f"{name} rules", ", ".join(f"{rule.priority}: {rule_words(rule)}" for rule in rules[:6]), "RTM_GETRULE"),
            (f"{first.row.dst} in table main", way_words(view, first.row), "RTM_GETROUTE"),
            (f"route to {first.address}{mark}", first.answer.error, "policy rules as listed"),
        ],
        confirm=[f"{ip} rule show", f"{ip} route show table main", f"{ip} route get {first.address}{mark}"],
        fix=fix,
        touches=[subject("link", ifname=ifname) for ifname in links],
        breaks=[
            subject("host"),
            *(subject("link", ifname=ifname) for ifname in links),
            *(route_subject(view, loss.row) for loss in lost[:4]),
            *(subject("route", dst=loss.row.dst, table=RT_TABLE_MAIN) for loss in lost if loss.row.default),
        ],
    )


def _astray(loss: Loss) -> bool:
    """Whether packets for a subnet of our own link leave by another link."""
    hops = loss.row.hops
    direct = all(hop.gateway is None for hop in hops) and not loss.row.default
    return direct and not {hop.oif for hop in hops} & {hop.oif for hop in loss.answer.hops}


def _differs(view: HostView, family: str, loss: Loss) -> Draft:
    ip, name = ip_command(family), "IPv4" if family == "inet" else "IPv6"
    return RULE.found(
        subject=subject("rule", priority=PRIORITY, family=family),
        message=f"no {name} rule looks up the main table; its route {loss.row.dst} is not used, table "
        f"{loss.answer.table} answers for {loss.address} instead",
        severity="warning",
        confidence="likely" if _astray(loss) else "possible",
        evidence=[
            (f"{loss.row.dst} in table main", way_words(view, loss.row), "RTM_GETROUTE"),
            (f"route to {loss.address}", f"table {loss.answer.table}", "policy rules"),
        ],
        confirm=[f"{ip} rule show", f"{ip} route get {loss.address}"],
        fix=f"{ip} rule add pref {PRIORITY} lookup main  # unless the other tables replace main on purpose",
    )


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    return host.route("default", via="10.0.0.2", dev="eth0").route("default", via="2001:db8::2", dev="eth0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    about = subject("rule", priority=PRIORITY, family="inet")
    gone = _host().without_rule(32766)
    yield Example(
        name="rule deleted", why="the plain fault", tables=gone.build(), fires=1, subject=about, severity="critical"
    )
    flushed = _host().without_rule(32766).without_rule(32767).without_rule(32766, family="inet6")
    yield Example(
        name="rules flushed",
        why="ip rule flush leaves table local only, in both families",
        tables=flushed.build(),
        fires=2,
        severity="critical",
    )
    yield _case("as the kernel makes it", "the ordinary host", _host())
    six = _host().without_rule(32766, family="inet6")
    yield Example(
        name="IPv6 only",
        why="each family has its own rule",
        tables=six.build(),
        fires=1,
        subject=subject("rule", priority=PRIORITY, family="inet6"),
        severity="critical",
    )
    connected = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").without_rule(32766)
    yield Example(
        name="connected routes only",
        why="neighbours on the link are unreachable without main too",
        tables=connected.build(),
        fires=1,
        severity="critical",
    )
    moved = _host().without_rule(32766).rule(500, table=254)
    yield _case("main at another priority", "what counts is that it is looked up", moved)
    narrow = _host().without_rule(32766).rule(500, table=254, fwmark=1)
    yield _case("main for marked packets", "a design: the others shall not use it", narrow)
    source = _host().without_rule(32766).rule(32766, table=254, src="10.0.0.0", src_len=8)
    yield Example(
        name="main for packets from some addresses",
        why="a socket without an address finds no route, and so gets none",
        tables=source.build(),
        fires=1,
        subject=about,
        severity="critical",
        says=("rule 32766: from 10.0.0.0/8 lookup main, takes no packet", "packets to 198.51.100.1 fail"),
    )
    for iif, fires in (("eth0", 1), ("lo", 0)):  # what the host sends comes from lo
        only = _host().without_rule(32766).rule(32766, table=254, iif=iif)
        yield _case(f"main for what comes in by {iif}", "is the host's own among it?", only, fires)
    twice = _host().without_rule(32766).rule(500, table=254, src="10.0.0.1", src_len=32)
    yield _case("one of two rules for main is for all", "the others come by that", twice.rule(600, table=254))
    yield _case("one of two rules for main is for a mark", "a design", twice.rule(600, table=254, fwmark=1))
    shut = _host().without_rule(32766).rule(500, table=254, src="10.9.0.0", src_len=16, invert=True)
    yield _case("main not for one network", "all the others use it", shut)
    spare = _host().without_rule(32766).rule(500, table=254, src="10.0.0.1", src_len=32).rule(600, table=50)
    spare.route("default", via="10.0.0.9", dev="eth0", table=50)
    yield _case("main for one address, another table for the rest", "source routing", spare)
    wide = _host().without_rule(32766)
    wide.rule(500, table=254, src="10.9.0.0", src_len=16, invert=True, suppress_prefixlength=0)
    yield Example(
        name="main's default set aside for all but one network",
        why="the rest has nothing at all",
        tables=wide.build(),
        fires=1,
        says=("rule 500 sets it aside",),
    )
    aside = _host().without_rule(32766).rule(500, table=254, src="10.0.0.1", src_len=32, suppress_prefixlength=0)
    yield _case("main's default set aside for one address", "the rest has nothing at all", aside, 1)
    detached = _host().without_rule(32766).rule(500, table=254, iif="ppp0", iif_detached=True)
    yield Example(
        name="main for an interface that is gone",
        why="that rule matches nothing",
        tables=detached.build(),
        fires=1,
        severity="critical",
    )
    yield from _empty()
    yield from _vpn()
    yield from _jumps()
    yield from replaced()
    yield from for_some()


def _empty() -> Iterator[Example]:
    yield _case(
        "namespace with only lo",
        "main is empty, so nothing is lost",
        HostBuilder().without_rule(32766).without_rule(32766, family="inet6"),
    )
    local = HostBuilder().link("eth0").address("eth0", "fe80::1/64").route("ff00::/8", dev="eth0")
    yield _case(
        "link-local only",
        "every interface has these, they carry no traffic of its own",
        local.without_rule(32766, family="inet6"),
    )
    global_unicast = HostBuilder().link("eth0").address("eth0", "fec0::1/64")
    yield _case(
        "just above link-local",
        "fec0::/10 is an ordinary prefix",
        global_unicast.without_rule(32766, family="inet6"),
        1,
    )
    yield _case(
        "other link-local addresses",
        "fe80::/10 reaches to febf::",
        HostBuilder().link("eth0").address("eth0", "febf::1/64", scope=253).without_rule(32766, family="inet6"),
    )
    yield _case(
        "a prefix with a byte like link-local",
        "2a80::/16 is an ordinary prefix",
        HostBuilder().link("eth0").address("eth0", "2a80::1/64").without_rule(32766, family="inet6"),
        1,
    )
    refused = HostBuilder().route("default", type="unreachable", family="inet").without_rule(32766)
    yield _case("main refuses only", "nothing worked before either", refused)


def _vpn() -> Iterator[Example]:
    def quick() -> HostBuilder:
        host = _host().link("wg0").route("default", dev="wg0", table=51820)
        host.rule(32764, table=254, suppress_prefixlength=0)
        return host.rule(32765, table=51820, fwmark=51820, invert=True)

    yield _case("wg-quick", "rule 32766 is there for the tunnel's own packets", quick())
    yield Example(
        name="wg-quick without rule 32766",
        why="what main is looked up for sets its default route aside: the marked packets of the tunnel are lost",
        tables=quick().without_rule(32766).build(),
        fires=1,
        severity="critical",
    )
    longer = _host().route("10.2.0.0/16", via="10.0.0.2", dev="eth0").without_routes(table=1).without_rule(32766)
    longer.rule(100, table=254, suppress_prefixlength=16).rule(200, table=50).route(
        "default", via="10.0.0.2", dev="eth0", table=50
    )
    yield _case("prefixes up to 16 set aside", "table 50 sends them the same way: nothing is lost", longer)


def _jumps() -> Iterator[Example]:
    both = _host().rule(90, action="goto", goto=95).rule(95, action="nop")
    yield Example(
        name="two gotos",
        why="the one that leads past main is to blame",
        tables=both.rule(100, action="goto", goto=40000).rule(40000, action="nop").build(),
        fires=1,
        says=("a goto in rule 100", "rule del pref 100"),
    )
    past = _host().rule(100, action="goto", goto=40000).rule(40000, action="nop")
    yield Example(
        name="goto leads past main",
        why="the rule is there and never asked",
        tables=past.build(),
        fires=1,
        severity="critical",
    )
    some = _host().rule(100, action="goto", goto=40000, fwmark=1).rule(40000, action="nop")
    yield _case("goto for marked packets", "a design: the others use main", some)
    before = _host().rule(100, action="goto", goto=200).rule(200, action="nop")
    yield _case("goto ends before main", "main is asked next", before)
    target = _host().rule(100, action="goto", goto=32766)
    yield _case("goto leads to main", "a jump continues at its target", target)
    unresolved = _host().rule(100, action="goto", goto=50000, goto_unresolved=True)
    yield _case("goto without a target", "the kernel skips such a rule", unresolved)
    switch = _host().rule(100, action="unreachable")
    yield _case("kill switch", "the rule for main is there, what refuses is on purpose", switch)
