"""What it checks
  A policy rule with a table of its own never decides anything: an earlier rule matches at least the same packets and
  always answers, because its table has a default route (or another route for every destination that is left). Also: a
  rule for all packets stands in front of the main table and sends away what a host route of main would bring to a guest
  behind a tap or a cable; or it, or a rule by the destination alone, sends away what main would bring to neighbours in
  a network of guests.

Why it matters
  The table looks right, "ip route show table" shows its routes, and yet no packet is ever routed by it: the traffic
  takes the earlier rule's way, over the wrong uplink or past the tunnel. Only sockets bound to another interface
  still come by the rule. Typical: a rule with a number above 32766, behind the main table and its default route.

Confirm
  ip rule show
  ip route show table TABLE      (of the earlier rule: it has a route for everything)
  ip route get DESTINATION mark MARK      (names the earlier rule's table)

Fix
  Give the rule a lower number than the one in front of it: ip rule add pref NUMBER ..., then ip rule del of the old
  one. In that order no packet is without a rule. New packets take the table's own way at once, also those of
  connections that are open: their source address and NAT may not fit the other uplink.

Not flagged
  An earlier rule with suppress_prefixlength or suppress_ifgroup, whose results can be set aside; one whose table
  lacks a default route, or has a throw route, or only routes over dead next hops: a later rule is then the fallback.
  A goto that leads around the earlier rule. Packets bound to another interface (oif) than the earlier route's. "not",
  but for "not fwmark" (wg-quick) in front of a rule for an own address, where the firewall marks nothing.
  Rules for the tables main, default and local: a catch-all in front of them replaces them on purpose, as long as no
  guest loses its packets; one to whom the other table has a host route has moved. A rule that
  refuses (unreachable ...): behind the lookup that it guards it is right, in front of it see
  rule-terminal-unreachable. A table that is empty; one that would decide the same is information.

References
  net/core/fib_rules.c fib_rules_lookup() and fib_rule_match(); net/ipv4/fib_rules.c fib4_rule_suppress();
  net/ipv6/fib6_rules.c fib6_rule_action(); ip-rule(8)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Query
from netdiag.index.shadow import REFUSALS, Shadows, same_packets
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route, RouteExtra
from netdiag.rules.build import HostBuilder
from netdiag.rules.deadrules import common_part, decided_alike, decided_otherwise
from netdiag.rules.demands import CONSULTS, READS
from netdiag.rules.lastcases import last_resort_dead
from netdiag.rules.routewords import ip_command, rule_subject, rule_words, table_word, way_words
from netdiag.rules.sentaway import SentAway, guest_examples, sent_away
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unmarked import unmarked, unmarked_examples

RULE = Rule(
    id="rule-shadowed",
    title="a policy rule never gets a packet, because an earlier one takes them all",
    severity="critical",
    reads=READS,
    consults=(*CONSULTS, "nft"),
    explains=("asym-rpfilter-*", "src-addr-*", "tap-route-missing", "wg-endpoint-via-*", "wg-fwmark-*"),
)
MOST_NAMED = 4


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        behind: dict[PolicyRule, list[tuple[PolicyRule, Route]]] = {}
        alike: dict[PolicyRule, list[tuple[PolicyRule, Route]]] = {}
        for shadow in (*Shadows(view.rules, view.fib(family), view.stack).find(), *unmarked(view, family)):
            if shadow.by.action in REFUSALS:
                continue  # rule-terminal-unreachable
            row = decided_otherwise(view, shadow)
            if row is not None:
                behind.setdefault(shadow.by, []).append((shadow.rule, row))
            elif not shadow.by.invert and (row := decided_alike(view, shadow)) is not None:
                alike.setdefault(shadow.by, []).append((shadow.rule, row))
        for taker, dead in (alike | behind).items():
            yield _draft(view, taker, dead, idle=taker not in behind)
    for rule, guests in sent_away(view).items():
        yield _of_guests(view, rule, guests)


def _of_guests(view: HostView, rule: PolicyRule, guests: list[SentAway]) -> Draft:
    (demand, taken, row), ip = guests[0], ip_command(rule.family)
    address, more = demand.query.dst, f" and {len(guests) - 1} more" if len(guests) > 1 else ""
    suffering = [thing for each in guests for thing in each.demand.suffers]
    return RULE.found(
        subject=rule_subject(rule, view.rules),
        message=f"rule {rule.priority} ({rule_words(rule)}) takes the packets to {address}, {demand.words}{more}: they "
        f"leave {way_words(view, taken)}, and main with {row.dst} {way_words(view, row)} is not asked",
        severity="critical",
        evidence=[
            (f"rule {rule.priority}", rule_words(rule), "RTM_GETRULE"),
            (f"route to {address}", way_words(view, taken), "RTM_GETROUTE, policy rules"),
            (f"{row.dst} in table main, never used", way_words(view, row), "RTM_GETROUTE"),
        ],
        confirm=[f"{ip} rule show", f"{ip} route get {address}"],
        fix=f"{ip} rule del pref {rule.priority} {rule_words(rule)}  # or give it the selector that it lacks",
        touches=suffering,
        breaks=[*suffering, *(subject("tap", ifname=thing["ifname"]) for thing in suffering)],
    )


def _draft(view: HostView, taker: PolicyRule, dead: list[tuple[PolicyRule, Route]], *, idle: bool) -> Draft:
    """``idle``: its table would lead the same way at this moment."""
    (rule, row), ip = dead[0], ip_command(taker.family)
    others = ", ".join(str(other.priority) for other, _ in dead[1:MOST_NAMED])
    more = f" (nor do {others}{' ...' if len(dead) > MOST_NAMED else ''})" if others else ""
    answer = f"table {table_word(taker.table)} has a route for all of them"
    answer += f"; table {table_word(rule.table)} would lead the same way at this moment" if idle else ""
    gets = "gets no packet without the mark" if taker.invert else "never gets a packet"
    links = sorted({view.ifname(hop.oif) for _, kept in dead for hop in kept.hops if hop.oif})
    asked = _question(view, rule, row)
    return RULE.found(
        subject=rule_subject(rule, view.rules),
        message=f"rule {rule.priority} ({rule_words(rule)}) {gets}{more}: "
        f"rule {taker.priority} ({rule_words(taker)}) comes first and {answer}",
        severity="warning",
        # the second of two for the same packets may be meant as a standby
        confidence="possible" if idle else "likely" if same_packets(rule, taker) else None,
        evidence=[
            (f"rule {taker.priority}", rule_words(taker), "RTM_GETRULE"),
            (f"rule {rule.priority}", rule_words(rule), "RTM_GETRULE"),
            (f"{row.dst} in table {table_word(rule.table)}, never used", way_words(view, row), "RTM_GETROUTE"),
        ],
        confirm=[
            f"{ip} rule show",
            f"{ip} route show table {taker.table}",
            *([asked] if asked else []),
        ],
        fix=_reorder(view, rule, taker),
        touches=[rule_subject(taker), *(subject("link", ifname=ifname) for ifname in links)],
        breaks=[
            *(rule_subject(other) for other, _ in dead[1:]),
            *(subject("link", ifname=ifname) for ifname in links),
        ],
    )


def _question(view: HostView, rule: PolicyRule, row: Route) -> str | None:
    """An ``ip route get`` that the rule should answer; None where the host itself sends no such packet."""
    if rule.src_len or rule.iif is not None or rule.invert:
        return None
    address = specimens(common_part(rule, row.dst) or row.dst)[0]
    if view.lookup(Query(family=rule.family, dst=address, mark=rule.fwmark or 0)).type is None:
        return None
    return f"{ip_command(rule.family)} route get {address}" + (f" mark {rule.fwmark:#x}" if rule.fwmark else "")


def _reorder(view: HostView, rule: PolicyRule, taker: PolicyRule) -> str:
    ip, words = ip_command(rule.family), rule_words(rule)
    used = {other.priority for other in view.rules if other.family == rule.family}
    free = next((number for number in range(taker.priority - 1, 0, -1) if number not in used), None)
    if free is None:
        return f"{ip} rule add pref {rule.priority + 1} {rule_words(taker)} && {ip} rule del pref {taker.priority}"
    return f"{ip} rule add pref {free} {words} && {ip} rule del pref {rule.priority} {words}"


def _host() -> HostBuilder:
    """Two uplinks; table 50 sends everything over the first, table 60 over the second."""
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
    host.address("eth0", "2001:db8::1/64").address("eth1", "2001:db8:1::1/64")
    host.route("default", via="10.0.0.2", dev="eth0", table=50).route("default", via="10.1.0.2", dev="eth1", table=60)
    host.route("default", via="2001:db8::2", dev="eth0", table=50)
    return host.route("default", via="2001:db8:1::2", dev="eth1", table=60)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, *, idle: bool = False) -> Example:
    told: dict[str, Any] = {"severity": "info", "confidence": "possible", "says": ("would lead the same way",)}
    return Example(name=name, why=why, tables=host.build(), fires=fires or idle, **(told if idle else {}))


def examples() -> Iterator[Example]:
    yield from _examples()
    yield from last_resort_dead()


def _examples() -> Iterator[Example]:
    about = subject("rule", priority=200, family="inet")
    marked: dict[str, Any] = {"table": 60, "fwmark": 1}
    yield Example(
        name="catch-all in front",
        why="the plain fault: marked packets never see table 60",
        tables=_host().rule(100, table=50).rule(200, **marked).build(),
        fires=1,
        subject=about,
        severity="warning",
    )
    behind = _host().rule(300, table=50).rule(200, **marked)
    yield _case("catch-all behind", "the right order of the same two rules", behind)
    yield Example(
        name="IPv6",
        why="the rules of IPv6 are a list of their own",
        tables=_host().rule(100, table=50, family="inet6").rule(200, family="inet6", **marked).build(),
        fires=1,
        subject=subject("rule", priority=200, family="inet6"),
    )
    other = _host().rule(100, table=50, family="inet6").rule(200, **marked)
    yield _case("the other family", "a rule of IPv6 takes no IPv4 packet", other)
    yield Example(
        name="behind the main table",
        why="a rule above 32766 where main has a default route",
        tables=_host().route("default", via="10.0.0.2", dev="eth0").rule(40000, **marked).build(),
        fires=1,
        subject=subject("rule", priority=40000, family="inet"),
    )
    strange = _host().rule(40000, **marked)
    yield _case("behind a main table without a default route", "what main does not know comes to the rule", strange)
    yield Example(
        name="equal priority",
        why="the kernel puts a new rule behind its equals",
        tables=_host().rule(200, table=50).rule(200, **marked).build(),
        fires=1,
        subject=about,
    )
    several = _host().rule(100, table=50)
    for priority in range(200, 210):
        several.rule(priority, table=60, fwmark=priority)
    yield Example(
        name="ten rules behind one",
        why="one cause is one finding",
        tables=several.build(),
        fires=1,
        subject=about,
        severity="warning",
    )
    yield _case(
        "everything in two halves",
        "0.0.0.0/1 and 128.0.0.0/1 are a default route by another name",
        _halves("128.0.0.0/1").rule(100, table=70).rule(200, **marked),
        1,
    )
    half = _halves("128.0.0.0/2").rule(100, table=70).rule(200, **marked)
    yield _case("one half only", "the other half of the world comes to the rule", half)
    before = _host().rule(100, action="unreachable", fwmark=1).rule(200, **marked)
    yield _case("refused before", "it takes everything as well: rule-terminal-unreachable speaks", before)
    yield from _selector_examples(marked)
    yield from _table_examples(marked)


def _halves(second: str) -> HostBuilder:
    host = _host().route("0.0.0.0/1", via="10.0.0.2", dev="eth0", table=70)
    return host.route(second, via="10.0.0.2", dev="eth0", table=70)


def _selector_examples(marked: dict[str, Any]) -> Iterator[Example]:
    def pair(name: str, why: str, taker: dict[str, Any], rule: dict[str, Any], fires: int) -> Example:
        tables = _host().rule(100, **({"table": 50} | taker)).rule(200, **({"table": 60} | rule)).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    ten: dict[str, Any]
    ten_one: dict[str, Any]
    ten, ten_one = {"src": "10.0.0.0", "src_len": 8}, {"src": "10.1.0.0", "src_len": 16}
    yield pair("source inside", "10.1.0.0/16 lies in 10.0.0.0/8", {**ten}, {**ten_one}, 1)
    yield pair("source outside", "the wider rule comes second", {**ten_one}, {**ten}, 0)
    start = {"src": "10.0.0.0", "src_len": 16}
    yield pair("source outside, same start", "10.0.0.0/8 is wider than 10.0.0.0/16", {**start}, {**ten}, 0)
    yield pair("source beside", "11.0.0.0/8 is another prefix", {**ten}, {"src": "11.0.0.0", "src_len": 8}, 0)
    yield pair("same source twice", "the second can be a standby, but it is never asked", {**ten}, {**ten}, 1)
    for name, second, confidence in (("the same", ten, "likely"), ("a part of the same", ten_one, "certain")):
        tables = _host().rule(100, table=50, **ten).rule(200, table=60, **second).build()
        yield Example(name=f"how sure: {name}", why="a standby", tables=tables, fires=1, confidence=confidence)  # type: ignore[arg-type]
    to, to_one = {"dst": "10.0.0.0", "dst_len": 8}, {"dst": "10.1.0.0", "dst_len": 16}
    yield pair("destination inside", "every such packet is taken", {**to}, {**to_one}, 1)
    yield pair("destination outside", "other destinations come to the rule", {**to_one}, {**to}, 0)
    yield pair(
        "mask covers", "0x1/0x1 matches all odd marks, 0x3 among them", {"fwmark": 1, "fwmask": 1}, {"fwmark": 3}, 1
    )
    yield pair("mask differs", "0x2 is even", {"fwmark": 1, "fwmask": 1}, {"fwmark": 2}, 0)
    yield pair(
        "mask too wide",
        "0x1/0x1 leaves bits open that 0x1/0xff fixes",
        {"fwmark": 1, "fwmask": 255},
        {"fwmark": 1, "fwmask": 1},
        0,
    )
    yield pair("mark 0 under a mask", "the kernel does not send a mark of 0", {"fwmask": 255}, {"fwmark": 1}, 0)
    yield pair("mark 0 covers", "0x100 has none of the bits of 0xff", {"fwmask": 255}, {"fwmark": 256}, 1)
    yield pair("iif", "only packets from eth0 are taken", {"iif": "eth0"}, {"fwmark": 1}, 0)
    yield pair("same iif", "all packets from eth0 are taken", {"iif": "eth0"}, {"iif": "eth0", "fwmark": 1}, 1)
    yield pair(
        "iif gone",
        "a rule for an interface that is gone takes nothing",
        {"iif": "e9", "iif_detached": True},
        {"iif": "e9"},
        0,
    )
    yield pair("dead rule's iif gone", "it waits for its interface", {}, {"iif": "e9", "iif_detached": True}, 0)
    yield pair("other oif", "a socket bound to eth1 does not fit the default route over eth0", {}, {"oif": "eth1"}, 0)
    yield pair("same oif", "a socket bound to eth0 does", {}, {"oif": "eth0", "table": 60}, 1)
    yield pair("not", "a mark that is not 1 comes to the rule", {"fwmark": 1, "invert": True}, {"fwmark": 1}, 0)
    but = {"dst": "10.0.0.0", "dst_len": 8, "invert": True}
    yield pair("not to a destination, behind a catch-all", "the rest never comes to it", {}, but, 1)
    yield pair("not, behind a catch-all", "wg-quick's rule behind everything", {}, {"fwmark": 1, "invert": True}, 1)
    yield pair(
        "not, to a destination",
        "it means all but that destination",
        {"dst": "10.0.0.0", "dst_len": 8},
        {"dst": "10.0.0.0", "dst_len": 8, "invert": True},
        0,
    )
    yield pair("unknown selector", "it may match less than it seems to", {"unknown": 1}, {"fwmark": 1}, 0)
    yield pair("tos", "packets of another TOS come to the rule", {"tos": 16}, {"fwmark": 1}, 0)
    yield pair("uidrange", "packets of other users come to the rule", {"uid_start": 1, "uid_end": 9}, {"fwmark": 1}, 0)
    yield pair("ipproto", "TCP only", {"ip_proto": 6}, {"fwmark": 1}, 0)
    yield pair("port", "one port only", {"dport_start": 53, "dport_end": 53}, {"fwmark": 1}, 0)
    yield pair(
        "suppress_prefixlength", "the default route is set aside", {"suppress_prefixlength": 0}, {"fwmark": 1}, 0
    )
    yield pair("suppress_ifgroup", "the result may be set aside", {"suppress_ifgroup": 1}, {"fwmark": 1}, 0)
    yield pair("l3mdev", "it matches packets of a VRF only", {"table": None, "l3mdev": True}, {"fwmark": 1}, 0)
    yield pair("nop", "it answers nothing", {"table": None, "action": "nop"}, {"fwmark": 1}, 0)
    yield pair(
        "kill switch",
        "a refusal behind the lookup that it guards",
        {"fwmark": 1},
        {"table": None, "action": "unreachable", "fwmark": 1},
        0,
    )
    astray = _host().rule(50, action="goto", goto=999, goto_unresolved=True).rule(100, table=50).rule(200, **marked)
    yield _case("goto to nowhere", "the kernel skips it", astray, 1)
    around = _host().rule(50, action="goto", goto=200, fwmark=1).rule(100, table=50).rule(200, **marked)
    yield _case("goto leads around", "marked packets jump over rule 100", around)
    later = _host().rule(50, action="goto", goto=100, fwmark=1).rule(100, table=50).rule(200, **marked)
    yield _case("goto leads to it", "the jump ends at the catch-all", later, 1)
    beyond = _host().rule(50, action="goto", goto=300, fwmark=1).rule(100, table=50).rule(200, **marked)
    yield _case("goto leads past both", "no jump ends between the two", beyond.rule(300, action="nop"), 1)


def _objects(mine: int, marked: dict[str, Any], *, onlink: bool = False) -> HostBuilder:
    """Tables over nexthop objects whose hops the dump does not expand (net.ipv4.nexthop_compat_mode = 0)."""
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").rule(100, table=50).rule(200, **marked)
    if onlink:
        host.route("default", via="192.0.2.1", dev="eth0", table=50, onlink=True)
    else:
        host.route("default", family="inet", nh_id=7, table=50)
    return host.route("default", family="inet", nh_id=mine, table=60)


def _table_examples(marked: dict[str, Any]) -> Iterator[Example]:
    yield _case("nexthop objects", "7 is not 8", _objects(8, marked), 1)
    yield _case("same nexthop object", "the decision is the same", _objects(7, marked))
    yield _case("onlink gateway", "a flag of the hop, not of its death", _objects(8, marked, onlink=True), 1)
    specific = HostBuilder().link("eth0").link("eth1").rule(100, table=50, family="inet6")
    specific.route("default", via="2001:db8::2", dev="eth0", table=50, extra=RouteExtra(src="2001:db8::", src_len=48))
    specific.route("default", via="2001:db8:1::2", dev="eth1", table=60).rule(200, family="inet6", **marked)
    yield _case("default route for one source prefix", "packets from elsewhere find nothing in it", specific)
    inner = _host().route("10.0.0.0/8", via="10.0.0.2", dev="eth0", table=80).rule(100, table=80)
    yield _case(
        "not to a destination, behind a table for it",
        "all other destinations come to the rule",
        inner.rule(200, table=60, dst="10.0.0.0", dst_len=8, invert=True),
    )
    thrown = _host().route("default", table=61, type="throw", family="inet").rule(100, table=50)
    yield _case("nothing but throw behind", "such a table decides nothing", thrown.rule(200, table=61, fwmark=1))
    beyond = _host().route("10.9.0.0/16", via="10.1.0.2", dev="eth1", table=61).rule(100, table=50)
    yield _case(
        "routes outside of the rule's destinations",
        "they would not be used in any order",
        beyond.rule(200, table=61, dst="10.8.0.0", dst_len=16),
    )
    bare = _host().route("10.8.0.0/16", via="10.1.0.2", dev="eth1", table=50).rule(100, table=50)
    bits = bare.rule(200, table=60, dst="10.8.0.9", dst_len=16)
    yield _case("destinations with host bits, the same decision", "the kernel keeps them", bits, idle=True)
    for dst, fires in (("10.0.0.0/8", 0), ("172.16.0.0/12", 1)):
        other = _host().route(dst, via="10.1.0.2", dev="eth1", table=62).rule(100, table=50)
        other.route("default", via="10.0.0.2", dev="eth0", table=62)
        other.rule(200, table=62, dst="10.0.0.0", dst_len=8, invert=True)
        yield _case(
            f"not to 10.0.0.0/8, the only difference is {dst}", "it is left out, or not", other, fires, idle=not fires
        )
    agreed = _host().route("10.8.0.0/16", via="10.1.0.2", dev="eth1", table=50).rule(100, table=50)
    yield _case(
        "same decision for the rule's destinations",
        "10.8.0.0/16 leaves by eth1 in both tables",
        agreed.rule(200, table=60, dst="10.8.0.0", dst_len=16),
        idle=True,
    )
    throw = _host().rule(100, table=50).rule(200, **marked)
    yield _case(
        "throw route",
        "10.9.0.0/16 is thrown back to the rules behind",
        throw.route("10.9.0.0/16", table=50, type="throw"),
    )
    beside = _host().rule(100, table=50).rule(200, table=60, dst="10.8.0.0", dst_len=16)
    yield _case(
        "throw route elsewhere",
        "the rule is for 10.8.0.0/16 alone",
        beside.route("10.9.0.0/16", table=50, type="throw"),
        1,
    )
    down = HostBuilder().link("eth0", up=False).link("eth1").address("eth1", "10.1.0.1/24")
    down.route("default", via="10.0.0.2", dev="eth0", table=50).route("default", via="10.1.0.2", dev="eth1", table=60)
    yield _case(
        "uplink of the earlier table is down",
        "the later rule is the fallback, and in use",
        down.rule(100, table=50).rule(200, **marked),
    )
    dead = HostBuilder().link("eth0").link("eth1").address("eth1", "10.1.0.1/24")
    dead.route("default", via="10.0.0.2", dev="eth0", table=50, flags=0x11)
    yield _case(
        "dead next hop",
        "without carrier and with ignore_routes_with_linkdown the route is not used",
        dead.route("default", via="10.1.0.2", dev="eth1", table=60).rule(100, table=50).rule(200, **marked),
    )
    tos = HostBuilder().link("eth0").link("eth1").route("default", via="10.0.0.2", dev="eth0", table=50, tos=16)
    yield _case(
        "default route of one TOS",
        "other packets find nothing in it",
        tos.route("default", via="10.1.0.2", dev="eth1", table=60).rule(100, table=50).rule(200, **marked),
    )
    wide = _host().rule(100, table=80).rule(200, table=60, dst="10.8.0.0", dst_len=16)
    yield _case(
        "a route for the rule's destinations",
        "10.0.0.0/8 answers for 10.8.0.0/16: no default route is needed",
        wide.route("10.0.0.0/8", via="10.0.0.2", dev="eth0", table=80),
        1,
    )
    refused = _host().rule(100, table=80).rule(200, **marked)
    yield _case(
        "unreachable default",
        "an answer, though a bad one, ends the search",
        refused.route("default", table=80, type="unreachable", family="inet"),
        1,
    )
    same = _host().route("default", via="10.0.0.2", dev="eth0", table=61)
    same.rule(100, table=50).rule(200, table=61, fwmark=1)
    yield _case("same decision", "table 61 says what table 50 says: nothing goes wrong yet", same, idle=True)
    bare = _host().rule(100, table=50).rule(200, table=777, fwmark=1)
    yield _case("empty table behind", "it decides nothing; rule-references-empty-table speaks about it", bare)
    yield _case(
        "main replaced by a custom table",
        "rule 32766 behind a catch-all is how one replaces main",
        _host().route("default", via="10.1.0.2", dev="eth1").rule(100, table=50),
    )
    yield _case(
        "main again, for one source",
        "a rule for main is not a table of its own",
        _host().route("default", via="10.1.0.2", dev="eth1").rule(100, table=50).rule(200, table=254),
    )
    quick = HostBuilder().link("eth0").link("wg0").address("eth0", "10.0.0.1/24")
    quick.route("default", via="10.0.0.2", dev="eth0").route("default", dev="wg0", table=51820)
    quick.rule(32764, table=254, suppress_prefixlength=0)
    yield _case(
        "wg-quick", "its two rules are in the right order", quick.rule(32765, table=51820, fwmark=51820, invert=True)
    )
    yield from (*guest_examples(), *unmarked_examples())
