"""What it checks
  A policy rule that refuses packets (unreachable, prohibit, blackhole) stands in front of the rule that would route
  them: a later rule with a table of its own matches no packet but those refused, and its table has routes for them;
  or it is for the packets of a network that only the interface leads to from which this one refuses them (a warning).
  Also: what this host demonstrably sends (to the neighbour of a BGP session, a WireGuard endpoint with the device's
  mark, a tunnel's far end, a guest, by its own prefix what a living WireGuard peer carries, a connection that a
  program marked) ends at such a rule although a table behind it has the way. A rule refuses the whole subnet of an
  own interface by its "to", with live neighbours on it. A rule refuses by its "from", "iif" or both, and nothing
  else, all that a network of guests sends beyond a host that forwards for them. A rule refuses everything, or all
  that this host begins ("not from NETWORK": a source that is still open is in none; "iif lo"), nothing before it
  leads anywhere, and main, or a table behind it for all packets, has the default route: not even a tunnel could get
  out.

Why it matters
  Marked or selected traffic dies with EHOSTUNREACH, EACCES or in silence, although "ip route show table" shows its
  routes. Rules are tried by their number; a kill switch that got the lower number than the lookup that it should
  guard, or one that was left over, stops everything.

Confirm
  ip rule show
  ip route get ADDRESS mark MARK      (the rule's error)

Fix
  Give the rule that refuses a higher number than the lookup: ip rule add pref NUMBER ..., then ip rule del of the old
  one. Until the first lookup fails, nothing is refused then. Ask first whether it is a kill switch that is on. A rule
  that refuses everything: delete it, what it held back leaves at once.

Not flagged
  A rule that refuses behind the lookup that it guards. One that refuses only a part of the later rule's packets. Kill
  switches in front of the tables main and default (VPN clients, Tailscale's 5250): told as info where nobody in use
  is refused and no earlier rule looks the same packets up. A single neighbour or a part of a subnet that a rule names.
  A later rule whose table is empty. Rules that cannot match. IPv6 refused as a whole on a host that has IPv4: VPN
  clients shut it like that.

References
  net/core/fib_rules.c fib_rules_lookup(), net/ipv4/fib_rules.c fib4_rule_action(), net/ipv6/fib6_rules.c, ip-rule(8)
"""

from collections.abc import Iterable, Iterator
from typing import Any

from netdiag.index.guests import GuestSide
from netdiag.index.reach import can_match, selects
from netdiag.index.shadow import REFUSALS, Shadows, same_packets
from netdiag.index.view import HostView
from netdiag.index.ways import usable
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.neighbour import Neighbour
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.deadrules import decided_otherwise
from netdiag.rules.demands import CONSULTS, READS, Demand, demands, inner
from netdiag.rules.dialled import marked, refused_marked
from netdiag.rules.innercases import refused_by_rule, refused_where_it_comes_in
from netdiag.rules.lastcases import last_resort_refused
from netdiag.rules.routewords import (
    LAST_TABLES,
    delete_rule,
    ip_command,
    packet_words,
    rule_aside,
    rule_subject,
    rule_words,
    table_word,
    way_words,
)
from netdiag.rules.shape import Example, Rule
from netdiag.rules.shutin import isolating, refused_inward, shut_in

RULE = Rule(
    id="rule-terminal-unreachable",
    title="a policy rule refuses packets that a later one would route",
    severity="critical",
    confidence="likely",
    reads=READS,
    consults=(*CONSULTS, "sockets"),
    explains=("bgp-*", "wg-*", "rule-shadowed", "src-addr-selection-wrong"),
    family="each",
)
KINDS = ("bgp", "wireguard", "tunnel", "guest")


def check(view: HostView) -> Iterator[Draft]:
    refusing = [rule for rule in view.rules if rule.action in REFUSALS and can_match(rule)]
    if not refusing:
        return
    cut_off: set[str] = set()
    for family in ("inet", "inet6"):  # IPv6 is shut on purpose, unless IPv4 is as well
        for rule in refusing:
            row = isolating(view, rule) if rule.family == family and (cut_off or family == "inet") else None
            if row is not None:
                cut_off.add(family)
                yield _shutting(view, rule, row)
    for family in ("inet", "inet6"):
        for shadow in Shadows(view.rules, view.fib(family), view.stack).find():
            row = decided_otherwise(view, shadow) if shadow.by.action in REFUSALS else None
            if row is not None:
                yield _shadowing(view, shadow.by, shadow.rule, row)
    for rule in refusing:
        behind = refused_inward(view, rule)
        if behind is not None:
            yield _shadowing(view, rule, *behind, inward=True)
    for demand in demands(view):
        wanted, refused = demand.kind in KINDS and demand.busy, _refused(view, demand)
        if refused is not None and (wanted or _covers(refused[0], demand, refused[1])):
            yield _demanded(view, refused[0], demand, refused[1])
    for demand in inner(view):
        refused = _refused(view, demand)
        if refused is not None and refused[1].oif == demand.ifindex and _aimed(refused[0], refused[1]):
            yield _demanded(view, refused[0], demand, refused[1])
    for demand in marked(view):
        refused = _refused(view, demand)
        if refused is not None and refused[0].fwmark and not _guards(view, refused[0]):
            yield _demanded(view, refused[0], demand, refused[1])
    for rule in refusing:
        held = shut_in(view, rule)
        if held is not None:
            yield _shutting_in(view, rule, *held)
    for rule in refusing:  # of a rule that was told before, this is not told
        if not rule.invert and not _guards(view, rule):
            yield _draft(view, rule, "info", "that may be meant (a kill switch)")


def _shutting(view: HostView, rule: PolicyRule, row: Route) -> Draft:
    version = "IPv4" if rule.family == "inet" else "IPv6"
    table, way = table_word(row.table), way_words(view, row)
    words = f"and that is all {version} that {'this host begins' if selects(rule) else 'leaves this host'}: nothing "
    words += f"before it leads anywhere, and {table} with its default route {way} is not asked"
    links = [subject("link", ifname=view.ifname(hop.oif)) for hop in row.hops if hop.oif]
    evidence = [(f"default route of {table}, never used", way, "RTM_GETROUTE")]
    wired = [subject("wireguard-interface", ifname=device.ifname) for device in view.wireguard.devices]
    breaks = [subject("host"), subject("route", dst=row.dst, table=row.table), *links, *wired]
    return _draft(view, rule, "critical", words, evidence=evidence, breaks=breaks, fix=delete_rule(rule))


def _shutting_in(view: HostView, rule: PolicyRule, side: GuestSide, near: Neighbour) -> Draft:
    name = side.link.ifname
    words = f"all that the guests behind {name} send beyond this host, though it forwards for them"
    evidence = [
        (f"guests behind {name}", side.prefix, "RTM_GETROUTE, RTM_GETADDR"),
        (f"neighbour {near.dst} dev {name}", near.state, "RTM_GETNEIGH NDA_DST ndm_state"),
    ]
    breaks = [subject("link", ifname=name)]
    return _draft(view, rule, "warning", words, evidence=evidence, breaks=breaks, fix=delete_rule(rule))


def _guards(view: HostView, rule: PolicyRule) -> bool:
    """Whether an earlier rule looks the same packets up: then it refuses what has no route."""
    earlier = (other for other in view.rules if other.family == rule.family and other.priority <= rule.priority)
    return any(other.action == "lookup" and same_packets(other, rule) for other in earlier)


def _refused(view: HostView, demand: Demand) -> tuple[PolicyRule, Route] | None:
    """The rule that refuses somebody in use, and the route that would take the packets: that of the rules behind it,
    or one of main."""
    answer, family = view.lookup(demand.query), demand.query.family
    if answer.rule is None or answer.rule.action not in REFUSALS:
        return None
    behind = view.lookup_behind(demand.query, answer.rule)
    if behind.route is not None and behind.type == "unicast" and usable(view.routes(family), behind.route):
        return answer.rule, view.routes(family).row(behind.route)
    for group in view.fib(family).candidates(254, demand.query.dst):
        for position in group.positions:
            if usable(view.routes(family), position):
                return answer.rule, view.routes(family).row(position)
    return None


def _covers(rule: PolicyRule, demand: Demand, behind: Route) -> bool:
    """Whether the rule names the neighbour's whole subnet, or more, by its "to"."""
    connected = behind.oif == demand.ifindex and behind.gateway is None
    return connected and not rule.invert and 0 < rule.dst_len <= int(behind.dst.partition("/")[2])


def _aimed(rule: PolicyRule, behind: Route) -> bool:
    """Whether the rule names the route's prefix, or a part of it, and nothing else: a guard of all or of some sources
    may be meant."""
    bits, single = int(behind.dst.partition("/")[2]), 32 if rule.family == "inet" else 128
    return not rule.invert and max(bits, 1) <= rule.dst_len < single and not selects(rule, by_dst=False)


def _shadowing(view: HostView, rule: PolicyRule, dead: PolicyRule, row: Route, *, inward: bool = False) -> Draft:
    never = "never gets a packet" + (f" of that network, which is behind {rule.iif} alone," if inward else ",")
    words = f"so that rule {dead.priority} ({rule_words(dead)}) {never} though table "
    words += f"{table_word(dead.table)} has {row.dst} {way_words(view, row)}"
    evidence = [
        (f"rule {dead.priority}", rule_words(dead), "RTM_GETRULE"),
        (f"{row.dst} in table {table_word(dead.table)}, never used", way_words(view, row), "RTM_GETROUTE"),
    ]
    severity: Severity = "warning" if inward else "critical"
    return _draft(view, rule, severity, words, evidence=evidence, breaks=[rule_subject(dead)])


def _demanded(view: HostView, rule: PolicyRule, demand: Demand, behind: Route) -> Draft:
    words = f"also those to {demand.query.dst}, {demand.words}, which {behind.dst} {way_words(view, behind)} would take"
    mark = f" mark {demand.query.mark:#x}" if demand.query.mark else ""
    evidence = [(f"route to {demand.query.dst}{mark}", rule.action, "RTM_GETRULE FRA_ACTION, policy rules")]
    severity: Severity = "critical" if demand.busy else "warning"
    breaks = [*demand.suffers, subject("route", dst=behind.dst, table=behind.table)]
    fix = delete_rule(rule) if behind.table in LAST_TABLES else ""
    return _draft(view, rule, severity, words, evidence=evidence, breaks=breaks, demand=demand, fix=fix)


def _draft(
    view: HostView,
    rule: PolicyRule,
    severity: Severity,
    words: str,
    *,
    evidence: Iterable[tuple[str, str, str]] = (),
    breaks: Iterable[Subject] = (),
    demand: Demand | None = None,
    fix: str = "",
) -> Draft:
    ip, text = ip_command(rule.family), rule_words(rule)
    asked = demand.query if demand else None
    question = f"{ip} route get {asked.dst}" + (f" mark {asked.mark:#x}" if asked.mark else "") if asked else None
    return RULE.found(
        subject=rule_subject(rule, view.rules),
        message=f"rule {rule.priority} ({text}) refuses its packets, {words}",
        severity=severity,
        confidence="possible" if severity == "info" else None,
        evidence=[(f"rule {rule.priority}", text, "RTM_GETRULE FRA_ACTION"), *evidence],
        confirm=[f"{ip} rule show", *([question + packet_words(rule)] if question else [])],
        fix=fix or rule_aside(view, rule),
        breaks=breaks,
    )


def _host(host: Any = None) -> Any:
    host = (host or HostBuilder()).link("eth0").link("eth1").address("eth0", "10.0.0.1/24")
    host.address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    host.route("default", via="10.1.0.2", dev="eth1", table=60)
    return host.address("eth1", "2001:db8::1/64").route("default", via="2001:db8::2", dev="eth1", table=60)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    about = subject("rule", priority=100, family="inet")
    for verb in ("unreachable", "prohibit", "blackhole"):
        host = _host().rule(100, action=verb, fwmark=1).rule(200, fwmark=1, table=60)
        yield _case(verb, "the lookup comes too late", host, subject=about, **crit)
    six = _host().rule(100, action="unreachable", fwmark=1, family="inet6")
    yield _case("IPv6", "the same", six.rule(200, fwmark=1, table=60, family="inet6"), **crit)
    src = _host().rule(100, action="prohibit", src="10.8.0.0", src_len=16)
    src.rule(200, src="10.8.1.0", src_len=24, table=60)
    yield _case("a wider source", "it takes the narrower one's packets", src, **crit)
    part = _host().rule(100, action="prohibit", src="10.8.1.0", src_len=24)
    part.rule(200, src="10.8.0.0", src_len=16, table=60)
    yield _case("a part of it", "one network of several is shut out on purpose", part, **info)
    guard = _host().rule(100, fwmark=1, table=60).rule(200, action="unreachable", fwmark=1)
    yield _case("kill switch behind its lookup", "it refuses what has no route", guard)
    empty = _host().rule(100, action="unreachable", fwmark=1).rule(200, fwmark=1, table=61)
    yield _case("empty table", "the lookup would find nothing", empty, **info)
    front = _host().rule(100, action="unreachable", fwmark=1)
    yield _case("in front of main", "nobody says that it is not meant", front, confidence="possible", **info)
    beside = (
        _host()
        .rule(50, src="10.1.0.1", src_len=32, action="goto", goto=32766)
        .rule(100, action="unreachable", fwmark=1)
    )
    yield _case("beside a jump", "that refuses nothing", beside, **info)
    mates = _host().rule(100, fwmark=1, table=60).rule(100, action="unreachable", fwmark=1)
    yield _case("of one priority with its lookup", "equals are tried as they were made", mates)
    other = _host().rule(50, fwmark=1, table=60, family="inet6").rule(100, action="unreachable", fwmark=1)
    yield _case("behind a lookup of IPv6", "each family has rules of its own", other, **info)
    last = _host().rule(40000, action="unreachable")
    yield _case("at the very end", "it refuses what has no route", last)
    lost = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").neighbour("10.9.9.9", dev="eth0")
    lost = lost.link("gre1", kind="gre", type=778, info={"remote": "198.51.100.9"})
    yield _case(
        "beside a far end without a route", "no rule refuses it", lost.rule(100, action="unreachable", fwmark=1), **info
    )
    ban = _host().neighbour("10.0.0.9", dev="eth0").rule(100, action="prohibit", dst="10.0.0.9", dst_len=32)
    yield _case("a neighbour", "a ban looks like that", ban, **info)
    far = _host().neighbour("10.9.0.9", dev="eth0").rule(100, action="prohibit", dst="10.9.0.0", dst_len=16)
    routed = far.route("10.9.0.0/16", via="10.0.0.2", dev="eth0")
    yield _case("a network behind a router", "a neighbour of it is nothing against that", routed, **info)
    card = _host().neighbour("10.1.0.9", dev="eth0").rule(100, action="prohibit", dst="10.1.0.0", dst_len=24)
    yield _case("the subnet of another card", "that neighbour is not in it", card, **info)
    half = _host().neighbour("10.0.0.9", dev="eth0").rule(100, action="prohibit", dst="0.0.0.0", dst_len=1)
    yield _case("half of all, a subnet with it", "somebody lives there", half, **crit)
    other = (
        _host().neighbour("10.0.0.9", dev="eth0").rule(100, action="prohibit", dst="10.1.0.0", dst_len=24, invert=True)
    )
    yield _case("all but one subnet", "VPN clients do that", other)
    idle = _host(WireguardBuilder()).wireguard("wg0").wg_peer("wg0", "a", age=9000.0, endpoint="198.51.100.2")
    out = idle.rule(100, action="prohibit", dst="198.51.100.2", dst_len=32)
    yield _case("a peer of long ago", "nothing is sent there", out, **info)
    shut = _host().rule(100, action="unreachable")
    whole = subject("rule", priority=100, family="inet")
    says = ("that is all IPv4 that leaves this host", "via 10.0.0.2 dev eth0 is not asked", "rule del pref 100")
    yield _case("everything", "not even a tunnel gets out", shut, subject=whole, says=says, **crit)
    yield from _shut()
    yield _case(
        "not marked",
        "VPN clients refuse what is not theirs",
        _host().rule(100, action="prohibit", fwmark=51820, invert=True),
    )
    gone = _host().rule(100, action="unreachable", iif="tun9", iif_detached=True).rule(200, iif="tun9", table=60)
    yield _case("no such interface", "neither can match", gone)
    scale = _host().rule(5210, fwmark=0x80000, fwmask=0xFF0000, table=254)
    scale.rule(5250, fwmark=0x80000, fwmask=0xFF0000, action="unreachable").rule(5270, table=52)
    yield _case("Tailscale", "its rules as it makes them", scale.route("100.64.0.2/32", dev="eth1", table=52))
    for mark, count, why in ((1, 1, "its packets carry the mark"), (2, 1, "another mark: info")):
        wg = _host(WireguardBuilder()).wireguard("wg0", fwmark=mark).wg_peer("wg0", "a", age=20.0)
        more = crit if mark == 1 else info
        yield _case(
            f"WireGuard with mark {mark}",
            why,
            wg.rule(100, action="unreachable", fwmark=1),
            **(more | {"fires": count}),
        )
    for state, more in (("up", crit), ("down", info)):
        bgp = _host(BirdHost().bgp("up1", state=state, info="", neighbor_address="10.0.0.2"))
        near = bgp.rule(100, action="unreachable", dst="10.0.0.0", dst_len=30)
        yield _case(f"BGP session {state}", "its neighbour is refused", near, **more)
    yield from _own_subnets()
    yield from refused_where_it_comes_in()
    yield from _shut_in_examples()
    far = _host(BirdHost().bgp("up1", neighbor_address="10.70.0.9")).without_rule(32766)
    far.rule(100, action="prohibit", dst="10.64.0.0", dst_len=10).rule(200, dst="10.70.0.0", dst_len=15, table=60)
    yield _case("a neighbour that another table leads to", "main is not the only one", far, **crit)
    out = _host(BirdHost().bgp("up1", neighbor_address="10.0.0.2")).rule(50, dst="10.0.0.0", dst_len=24, table=254)
    yield _case("an exception before it", "the neighbour is let out", out.rule(100, action="unreachable"))


def _shut() -> Iterator[Example]:
    def shut(host: HostBuilder | None = None, family: str = "inet", **more: Any) -> HostBuilder:
        built: HostBuilder = (host or _host()).rule(100, action="unreachable", family=family, **more)
        return built

    both = _host().route("default", via="2001:db8::2", dev="eth1")
    yield _case("IPv6 alone", "nothing of it is to leave beside a VPN", shut(both, "inet6"))
    both = _host().route("default", via="2001:db8::2", dev="eth1")
    yield _case("both families", "the host is cut off", shut(shut(both), "inet6"), 2, severity="critical")
    for name, more in (("lo", {"iif": "lo"}), ("not", {"src": "10.66.0.0", "src_len": 16, "invert": True})):
        yield _case(f"all that this host begins: {name}", "it gets EACCES", shut(**more), 1, says=("this host begins",))
    lan = _host().rule(90, table=254, suppress_prefixlength=0)
    yield _case("everything but the LAN", "a kill switch that leaves the neighbours", shut(lan))
    past = _host().rule(90, action="goto", goto=32766, fwmark=1)
    yield _case("after a goto", "some packets take another way", shut(past))
    yield _case("after VRFs", "they have their tables", shut(_host().rule(90, l3mdev=True)))
    yield _case("after a table with nothing in it", "that helps nobody", shut(_host().rule(90, fwmark=1, table=61)), 1)
    bare = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24")
    yield _case("without a default route", "there is no way out to lose", shut(bare))
    far = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("10.9.0.0/16", via="10.0.0.2", dev="eth0")
    yield _case("with a route to one network", "a way out for a few", shut(far))
    dead = bare.route("default", type="unreachable", family="inet")
    yield _case("a default route that refuses too", "nothing is to leave", shut(dead))
    gone = _host().without_rule(32766)
    yield _case("without a rule for main", "rule-main-missing speaks", shut(gone))
    yield from last_resort_refused()


def _shut_in_examples() -> Iterator[Example]:
    """Guests on a bridge, and a rule for what comes from them."""

    def held(
        src: str = "10.88.0.0", length: int = 24, *, forwarding: int = 1, state: str = "stale", **more: Any
    ) -> HostBuilder:
        host = _host().link("br0", kind="bridge", inet_conf={"forwarding": forwarding}).address("br0", "10.88.0.1/24")
        host.link("veth1", kind="veth", master="br0", link_netnsid=0)
        host.neighbour("10.88.0.5", dev="br0", state=state)
        built: HostBuilder = host.rule(100, action="prohibit", src=src, src_len=length, **more)
        return built

    says = ("all that the guests behind br0 send", "ip rule del pref 100 from 10.88.0.0/24 prohibit")
    warn: dict[str, Any] = {"fires": 1, "severity": "warning"}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    yield _case("a network of guests", "it was left behind", held(), says=says, **warn)
    yield _case("a net around the guests", "the same", held("10.88.0.0", 16), **warn)
    yield _case("half of the guests", "some are shut in", held("10.88.0.0", 25), **info)
    yield _case("guests of a host that does not forward", "they stay inside anyway", held(forwarding=0), **info)
    yield _case("guests that were never there", "an empty network", held(state="failed"), **info)
    yield _case("a network of guests, by their interface", "the same", held(iif="br0"), **warn)
    door = held("0.0.0.0", 0, iif="br0")
    yield _case("what comes in from guests", "the same by their interface", door, **warn)
    led = door.rule(50, src="10.88.0.0", src_len=24, table=60)
    yield _case("what comes in from guests, whose network has a way", "a kill switch behind a VPN", led, **info)
    back = held("0.0.0.0", 0, iif="br0").rule(50, iif="br0", table=60)
    yield _case("what comes in from guests, after a lookup", "a kill switch behind a VPN", back)
    beside = held("0.0.0.0", 0, iif="br0").rule(50, iif="eth1", table=60)
    yield _case("what comes in from guests, beside others", "a table for another interface", beside, **warn)
    yield _case("what comes in by the uplink", "none of the guests'", held("0.0.0.0", 0, iif="eth0"), **info)
    yield _case("some of what comes in from guests", "both must hold", held("10.88.0.0", 25, iif="br0"), **info)
    yield _case("guests' marked packets", "a part of them", held(fwmark=7), **info)
    yield _case("guests, to one network", "they are kept out of it", held(dst="10.1.0.0", dst_len=24), **info)
    vpn = held().rule(50, src="10.88.0.0", src_len=16, table=60)
    yield _case("guests with a way of their own", "a kill switch behind a VPN", vpn, **info)
    net: dict[str, Any] = {"src": "10.99.0.0", "src_len": 24, "table": 60}
    dead: dict[str, Any] = {"state": "failed"}
    for name, why, host, severity in (
        ("another network", "it is not theirs", held("10.99.0.0"), "info"),
        ("guests whose interface has a way", "behind a VPN", held().rule(50, iif="br0", table=60), "info"),
        ("guests, with host bits", "the kernel keeps them", held("10.88.0.7"), "warning"),
        ("guests' neighbour, on the card", "not there", held(**dead).neighbour("10.88.0.9", dev="eth0"), "info"),
        ("guests' link, another network", "not theirs", held(**dead).neighbour("10.77.0.9", dev="br0"), "info"),
        ("guests, others have a way", "they do not", held().rule(50, **net), "warning"),
        ("guests, a few have a way", "that may do", held().rule(50, src="10.88.0.9", src_len=25, table=60), "info"),
        ("guests, all but others have a way", "they are among them", held().rule(50, invert=True, **net), "info"),
    ):
        yield _case(f"shut in: {name}", why, host, 1, severity=severity)
    yield _case("shut in: all but the guests", "they are spared, the host is not", held(invert=True), **crit)
    lan = held().rule(50, table=254, suppress_prefixlength=0)
    yield _case("guests that may talk to the LAN", "a kill switch", lan, **info)
    six = (
        _host().link("br0", kind="bridge").address("br0", "2001:db8:88::1/64").sysctl("net.ipv6.conf.all.forwarding", 1)
    )
    six.link("veth1", kind="veth", master="br0", link_netnsid=0).neighbour("2001:db8:88::5", dev="br0")
    six.rule(100, action="blackhole", src="2001:db8:88::", src_len=64, family="inet6")
    yield _case("a network of guests, IPv6", "the same", six, **warn)
    still = six.sysctl("net.ipv6.conf.all.forwarding", 0)
    yield _case("guests of a host that does not forward IPv6", "they stay inside anyway", still, **info)


def _own_subnets() -> Iterator[Example]:
    def refused(dst: str, length: int, state: str = "reachable", *, six: bool = False, **more: Any) -> HostBuilder:
        host = _host().neighbour("2001:db8::9" if six else "10.0.0.9", dev="eth1" if six else "eth0", state=state)
        family = "inet6" if six else "inet"
        built: HostBuilder = host.rule(100, action="blackhole", dst=dst, dst_len=length, family=family, **more)
        return built

    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    yield _case("an own subnet", "its neighbours were there just now", refused("10.0.0.0", 24), **crit)
    yield _case("an own subnet of IPv6", "the same", refused("2001:db8::", 64, six=True), **crit)
    yield _case("a net around it", "null routes for private space, too wide", refused("10.0.0.0", 8), **crit)
    old = refused("10.0.0.0", 24, "stale")
    yield _case("neighbours that were there once", "less sure", old, 1, severity="warning")
    yield _case("half of it", "somebody is shut out", refused("10.0.0.0", 25), 1, severity="info")
    yield _case("one neighbour", "a ban", refused("10.0.0.9", 32), 1, severity="info")
    yield _case("another net", "bogons", refused("172.16.0.0", 12), 1, severity="info")
    let = _host().rule(90, fwmark=1, table=60).neighbour("10.0.0.9", dev="eth0").rule(100, action="unreachable")
    yield _case("everything but marked packets", "a kill switch that is on", let)
    marked = refused("10.0.0.0", 24, fwmark=1)
    yield _case("an own subnet for marked packets", "a customer is kept out of it", marked, 1, severity="info")
    yield from refused_by_rule()
    yield from refused_marked()
