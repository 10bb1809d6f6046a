"""What it checks
  A policy rule sends packets to a routing table that holds no route, so that they fall through, silently, to the
  rules behind it: to the main table, or to nothing at all. Judged by asking for a packet that the rule matches. Also: a
  rule for an own address leads to a table that holds its link's subnet and no default route, while the table of that
  number of the other IP family has one by the same link; what the address sends to the world leaves by another link.
  An info where the link that has the rule's address was set down: its table is empty for as long.
  Where one such rule stands beside one table that carries routes and that no rule names, the rule probably has the
  wrong number: table-without-rule then stands below this.

Why it matters
  Traffic that should have its own way (an uplink, a tunnel, a customer's gateway) leaves by another one, with another
  source, past the tunnel, and nobody gets an error. Tables empty themselves: the kernel deletes routes with the
  interface, the address or the carrier that they need, and nothing brings them back unless a daemon does.

Confirm
  ip rule show
  ip route show table all | grep -c 'table NUMBER '      (0)
  ip route get DESTINATION mark MARK      (names the table that answers instead)

Fix
  Where the rule has the wrong number: make it anew with the right one, and delete this one; its packets move at once.
  Put the routes back: ip route add default via GATEWAY dev IFNAME table NUMBER; matching packets move to that way at
  once. Or delete the rule that has no use any more: ip rule del pref NUMBER ...; that changes no packet's way now.

Not flagged
  The kernel's own tables (253 is empty on most hosts). Rules that cannot match now: their interface does not exist or
  is down, their source is neither an address of this host nor one that it forwards for. Rules with
  suppress_prefixlength or suppress_ifgroup. Tables of VRFs. Traffic that is refused further on (a kill switch: the
  table being empty is when it is needed), or taken by another table of its own through a rule with the same selectors
  (a standby). Rules behind one that answers for all their packets. A family that carries no traffic on this host. The
  placeholders of strongSwan (220: lookup 220) and Tailscale (5270: lookup 52), which stay while nobody is connected. A
  table with nothing but its link's subnet, where the other family has no default route in it either: a network without
  a gateway.

References
  net/core/fib_rules.c fib_rules_lookup(): a table without an answer is passed over (-EAGAIN); net/ipv4/fib_rules.c
  fib4_rule_action(); net/ipv6/fib6_rules.c fib6_rule_action(); ip-rule(8); strongswan.conf(5) charon.routing_table
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.policy import Lookup
from netdiag.index.reach import selects
from netdiag.index.shadow import same_packets
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Subject, subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.halftables import half_examples, half_tables
from netdiag.rules.routewords import ip_command, rule_subject, rule_words, table_word
from netdiag.rules.routing.table_without_rule import Unled, unled
from netdiag.rules.rulepackets import everything, lacks_all, packets_of
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="rule-references-empty-table",
    title="a policy rule leads to a table without routes",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "sysctls"),
    explains=("route-default-missing", "src-addr-selection-wrong", "table-without-rule", "rule-references-empty-table"),
    family="each",
)
OWN = (RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL)
PLACEHOLDERS = {(220, 220), (5270, 52)}
"""(priority, table) of rules without selectors that daemons keep while they have no route to put there."""
MOST_TABLES = 64


class Fall(NamedTuple):
    """A rule, a packet that it matches, and what becomes of the packet."""

    rule: PolicyRule
    answer: Lookup


def check(view: HostView) -> Iterator[Draft]:
    vrfs = {link.info.get("table") for link in view.links}
    for family in ("inet", "inet6"):
        filled = {*view.fib(family).tables(), *vrfs, *OWN} - {None}
        leading: dict[int, list[PolicyRule]] = {}
        for rule in view.rules:
            asked = rule.table if rule.family == family else None
            if asked is not None and asked not in filled:
                leading.setdefault(asked, []).append(rule)
        for rule, kept, answer in half_tables(view, family, {*vrfs, *OWN}):
            yield _half_draft(view, rule, kept, answer)
        if _idle(view, family):
            continue
        empty = []
        for table, rules in list(leading.items())[:MOST_TABLES]:
            falls = [fall for rule in rules if (fall := _fall(view, rule)) is not None]
            if falls:
                empty.append((table, falls))
        meant = list(unled(view, family)) if len(empty) == 1 else []
        for table, falls in empty:
            yield _draft(view, table, falls, meant[0] if len(meant) == 1 else None)


def _half_draft(view: HostView, rule: PolicyRule, kept: Route, answer: Lookup) -> Draft:
    ip, words, table = ip_command(rule.family), rule_words(rule), rule.table
    other = "IPv4" if rule.family == "inet6" else "IPv6"
    ifname = quoted(view.ifname(kept.oif or 0))
    return RULE.found(
        subject=rule_subject(rule),
        message=f"rule {rule.priority} ({words}) leads to table {table}, which has {kept.dst} and no default route, "
        f"though {other} has one there: {_consequence(view, answer)}",
        confidence="likely",
        evidence=[
            (f"rule {rule.priority}", words, "RTM_GETRULE"),
            (f"default routes in table {table}", 0, "RTM_GETROUTE"),
            (f"route to {answer.query.dst} from {rule.src}", _end(view, answer), "policy rules and tables as read"),
        ],
        confirm=[f"{ip} route show table {table}", f"{ip} route get {answer.query.dst} from {rule.src}"],
        fix=f"{ip} route add default via GATEWAY dev {ifname} table {table}",
    )


def _idle(view: HostView, family: str) -> bool:
    """Whether the family carries no traffic here: no route but link-local ones."""
    routes = view.routes(family)
    unicast = routes.type == RTN_UNICAST
    if routes.dst.ndim == 2:
        unicast &= ~((routes.dst[:, 0] == 0xFE) & (routes.dst[:, 1] & 0xC0 == 0x80)) & (routes.dst[:, 0] != 0xFF)
    return not unicast.any()


def _fall(view: HostView, rule: PolicyRule) -> Fall | None:
    """What becomes of the rule's packets; None where it has none, or where they are not lost sight of."""
    if rule.suppress_prefixlength is not None or rule.suppress_ifgroup is not None:
        return None
    if not selects(rule) and (rule.priority, rule.table) in PLACEHOLDERS:
        return None
    falls = []
    for query in packets_of(view, rule):
        answer = view.lookup(query)
        if not any(step.matched and step.rule == rule for step in answer.steps):
            continue
        # An error that a rule or a route asked for is somebody's will; no route at all is not.
        if (answer.ok or answer.rule is None) and not _standby(rule, answer.rule):
            falls.append(Fall(rule, answer))
    found = [fall for fall in falls if fall.answer.ok]
    return min(found, key=lambda fall: fall.answer.prefixlen or 0, default=falls[0] if falls else None)  # not a subnet


def _standby(rule: PolicyRule, taker: PolicyRule | None) -> bool:
    """Whether a rule for the same packets, with a table of its own, has taken over."""
    return taker is not None and taker.table not in OWN and same_packets(rule, taker)


def _draft(view: HostView, table: int, falls: list[Fall], meant: Unled | None) -> Draft:
    rule, answer = falls[0]
    ip, words = ip_command(rule.family), rule_words(rule)
    others = [fall.rule for fall in falls[1:]]
    more = f", like {len(others)} more," if others else ""
    mark = f" mark {rule.fwmark:#x}" if rule.fwmark and not rule.invert else ""
    asked = f"{ip} route get {answer.query.dst}{mark}"
    plain = answer.query.iif is None and answer.query.src is None
    dark = None if meant else _dark(view, rule)
    off = None if meant or others or not answer.ok else _dark(view, rule, up=False)
    lost = [subject("link", ifname=dark)] if dark else []
    leftover = f"{ip} rule del pref {rule.priority} {words}  # if it is a leftover; else fill table {table} again"
    return RULE.found(
        subject=rule_subject(rule, view.rules),
        message=f"rule {rule.priority} ({words}){more} leads to table {table}, which has no route: "
        f"{_consequence(view, answer)}"
        + (f"; table {meant.table}, which has {meant.rows[0].dst} and no rule, may be meant" if meant else "")
        + (
            f"; {dark}, which has the address of the rule, has no carrier: what led by it went with that"
            if dark
            else ""
        )
        + (f"; {off}, which has the address of the rule, is set down" if off else ""),
        severity="info" if off else None,
        confidence="certain" if selects(rule) else "likely",
        evidence=[
            (f"rule {rule.priority}", words, "RTM_GETRULE"),
            (f"routes in table {table}", 0, "RTM_GETROUTE"),
            *([(f"rules for table {meant.table}", 0, "RTM_GETRULE FRA_TABLE")] if meant else []),
            (f"route to {answer.query.dst}{mark}", _end(view, answer), "policy rules and tables as read"),
        ],
        confirm=[
            f"{ip} rule show",
            f"{ip} route show table all | grep -c 'table {table} '",
            *([asked] if plain else []),
        ],
        fix=_renumbered(rule, words, meant.table)
        if meant
        else f"bring the carrier of {dark} back: cable, switch port, far end; then fill table {table} again"
        if dark
        else f"fill table {table} when {off} is set up again; {leftover}"
        if off
        else leftover,
        touches=[*lost, *(rule_subject(other) for other in (rule, *others))],
        breaks=[
            *lost,
            *(rule_subject(other) for other in others),
            *([_default(rule)] if lacks_all(view, answer, rule) else []),
            *([subject("route", dst=meant.rows[0].dst, table=meant.table)] if meant else []),
        ],
    )


def _dark(view: HostView, rule: PolicyRule, *, up: bool = True) -> str | None:
    """The link without a carrier that has the single address from which the rule takes packets, set up or down."""
    if rule.src is None or rule.src_len != (32 if rule.family == "inet" else 128):
        return None
    links = [view.link(row.ifindex) for row in view.local.owners(rule.src)]
    return next((link.ifname for link in links if link and link.up == up and not link.lower_up), None)


def _renumbered(rule: PolicyRule, words: str, table: int) -> str:
    """Commands that make the rule lead to another table: first the new one, so that no packet is without."""
    ip, right = ip_command(rule.family), words.rpartition("lookup ")[0] + f"lookup {table}"
    return f"{ip} rule add pref {rule.priority} {right} && {ip} rule del pref {rule.priority} {words}"


def _default(rule: PolicyRule) -> Subject:
    """The default route that the host lacks where the table held the only one."""
    return subject("route", dst=everything(rule), table=RT_TABLE_MAIN)


def _consequence(view: HostView, answer: Lookup) -> str:
    if not answer.ok:
        return f"its packets to {answer.query.dst} find no route at all"
    return f"its packets fall through to table {table_word(answer.table)} ({_end(view, answer)})"


def _end(view: HostView, answer: Lookup) -> str:
    ways = [(f"via {hop.gateway} " if hop.gateway else "") + f"dev {view.ifname(hop.oif)}" for hop in answer.hops]
    return ", ".join(ways) or answer.error or str(answer.type)


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
    host.address("eth0", "2001:db8::1/64")
    return host.route("default", via="10.0.0.2", dev="eth0").route("default", via="2001:db8::2", dev="eth0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    def one(name: str, why: str, fires: int = 0, *, host: HostBuilder | None = None, **rule: Any) -> Example:
        told = {key: rule.pop(key) for key in ("confidence", "says", "severity", "subject") if key in rule}
        told.setdefault("severity", "warning" if fires else None)
        built = (host or _host()).rule(rule.pop("priority", 200), **({"table": 777} | rule)).build()
        return Example(name=name, why=why, tables=built, fires=fires, **told)

    about = subject("rule", priority=32765, family="inet")
    yield one("catch-all", "the rule does nothing", 1, priority=32765, subject=about, confidence="likely")
    sure: dict[str, Any] = {"confidence": "certain"}
    near, says = _host().address("eth1", "198.51.100.2/24"), ("table main (via 10.0.0.2 dev eth0)",)
    yield one("beside a subnet", "most goes elsewhere", 1, host=near, src="198.51.100.2", src_len=32, says=says)
    yield one("marked packets", "an uplink's table that a bounce of the link has emptied", 1, fwmark=1, **sure)
    odd = _host().rule(50, action="prohibit", fwmark=1, fwmask=1)
    yield one("beside a ban of odd marks", "packets have no mark by themselves", 1, host=odd)
    tunnelled = _host().rule(50, action="prohibit", tun_id=1)
    yield one("beside a ban of a tunnel", "packets are of no tunnel by themselves", 1, host=tunnelled, fwmark=1)
    but = _host().rule(201, action="prohibit", dst="192.0.2.0", dst_len=24, invert=True)
    yield one(
        "refused but for one network", "that one is not the rule's", host=but, dst="192.0.2.0", dst_len=24, invert=True
    )
    narrow = _host().without_routes(table=254).route("9.0.0.0/8", via="10.0.0.2", dev="eth0")
    yield one(
        "some lost, some astray", "what goes astray is told", 1, host=narrow, says=("fall through to table main",)
    )
    yield one("source with host bits", "the kernel keeps them", 1, src="10.1.0.5", src_len=24)
    yield one("IPv6", "the tables of IPv6 are others, number for number", 1, family="inet6", fwmark=1)
    yield one("own source", "10.1.0.1 is ours and should have its own way", 1, src="10.1.0.1", src_len=32)
    prefix = HostBuilder().link("eth0").address("eth0", "10.1.7.7/32").route("default", dev="eth0", family="inet")
    yield one("own source in a prefix", "10.1.0.0/16 holds our 10.1.7.7", 1, host=prefix, src="10.1.0.0", src_len=16)
    back, again = "bring the carrier of eth1 back", "when eth1 is set up again"
    for carrier, up, word in ((False, True, back), (False, False, again), (True, True, "")):
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host.link("eth1", carrier=carrier, up=up).address("eth1", "10.1.0.1/24")
        says = (word,) if word else ("if it is a leftover",)
        name = f"own source, link {'up' if up else 'down'}, carrier {carrier}"
        told = {"src": "10.1.0.1", "src_len": 32, "says": says, "severity": "warning" if up else "info"}
        yield one(name, "nexthop objects go with it", 1, host=host, **told)
    yield one("foreign source", "nobody here sends with it: a standby's address", 0, src="192.0.2.5", src_len=32)
    yield one("neighbour's source", "it is on our link, but we do not forward", 0, src="10.1.0.9", src_len=32)
    forwarding = {ifname: {"forwarding": 1} for ifname in ("eth0", "eth1")}
    router = HostBuilder().link("eth0", inet_conf=forwarding["eth0"]).link("eth1", inet_conf=forwarding["eth1"])
    router.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    yield one("neighbour's source, forwarded", "guests behind eth1", 1, host=router, src="10.1.0.9", src_len=32)
    for name, src, fires in (("known", "10.1.0.9", 1), ("unknown", "192.0.2.5", 0)):
        router = HostBuilder().link("eth0", inet_conf=forwarding["eth0"]).link("eth1").address("eth0", "10.0.0.1/24")
        router.address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        why = "behind an interface by its own route, or only somewhere in the world"
        yield one(f"{name} source on a router", why, fires, host=router, src=src, src_len=32, iif="eth1")
    router = HostBuilder().link("eth0", inet_conf=forwarding["eth0"]).link("eth1").address("eth0", "10.0.0.1/24")
    router.address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0").route("10.7.0.0/16", dev="eth1")
    yield one(
        "source of a way back", "it comes in by another link", 1, host=router, src="10.7.0.0", src_len=16, iif="eth0"
    )
    hole = _host().sysctl("net.ipv6.conf.all.forwarding", 1).route("2001:db8:8::/48", type="blackhole")
    yield one("source in a hole", "nobody is there", 0, host=hole, src="2001:db8:8::", src_len=48, family="inet6")
    six = _host().sysctl("net.ipv6.conf.all.forwarding", 1)
    yield one("IPv6 guests", "judged by all.forwarding", 1, host=six, src="2001:db8::9", src_len=128, family="inet6")
    yield one("IPv6 neighbours", "we do not forward for them", 0, src="2001:db8::9", src_len=128, family="inet6")
    anyip = _host().route("192.0.2.0/24", dev="lo", table=255, type="local", scope=254)
    yield one("source of AnyIP", "a route of type local makes it ours", 1, host=anyip, src="192.0.2.5", src_len=32)
    yield one("from a link", "what comes in by eth1", 1, iif="eth1")
    yield one("own packets", "iif lo is what this host sends", 1, iif="lo")
    yield one("from a link that is gone", "it waits for its interface", 0, iif="ppp0", iif_detached=True)
    yield one("bound to a link that is gone", "it waits", 0, oif="ppp0", oif_detached=True)
    yield one("not from a link that is gone", "that is everything", 1, iif="ppp0", iif_detached=True, invert=True)
    down = _host().link("ppp0", up=False)
    yield one("from a link that is down", "nothing comes in by it", 0, host=down, iif="ppp0")
    yield one("all but a mark", "wg-quick's rule after the tunnel lost its route", 1, fwmark=51820, invert=True)
    yield one("one destination", "nothing else knows 10.9.0.0/16", 1, dst="10.9.0.0", dst_len=16)
    yield one("all but one destination", "everything else", 1, dst="10.9.0.0", dst_len=16, invert=True)
    yield one("one TOS", "the upper bits of the byte", 1, tos=16)
    yield one("one DSCP", "46 is expedited forwarding", 1, dscp=46)
    yield one("one protocol", "TCP to port 25 only", 1, ip_proto=6, dport_start=25, dport_end=25)
    yield one("one user", "a uid's own way", 1, uid_start=1000, uid_end=1000)
    yield one("suppressed", "the table is asked for longer prefixes only", 0, suppress_prefixlength=0)
    yield one("suppressed group", "the same", 0, suppress_ifgroup=1)
    yield one("table default", "253 is empty on every host", 0, table=253)
    yield one("l3mdev", "the table is the VRF's", 0, table=None, l3mdev=True)
    vrf = _host().link("blue", kind="vrf", info={"table": 777})
    yield one("table of a VRF", "a VRF without ports has no routes yet", 0, host=vrf, iif="blue")
    yield one("strongSwan", "rule and table stay while no tunnel is up", 0, priority=220, table=220)
    yield one("strongSwan's number", "at another priority it is somebody else's rule", 1, priority=221, table=220)
    yield one(
        "strongSwan's table, marked",
        "a rule with selectors is not its placeholder",
        1,
        priority=220,
        table=220,
        fwmark=1,
    )
    yield one("Tailscale", "logged out, its table is empty", 0, priority=5270, table=52)
    full = _host().route("default", via="10.1.0.2", dev="eth1", table=777)
    yield one("table with a route", "the ordinary case", 0, host=full, fwmark=1)
    yield one("table of the other family", "777 of IPv4 says nothing about 777 of IPv6", 1, host=full, family="inet6")
    behind = _host()
    yield one("behind main", "the default route of main takes everything before", 0, host=behind, priority=40000)
    yield from _misnumbered()
    yield from _refused_and_standby()


def _refused_and_standby() -> Iterator[Example]:
    switch = _host().rule(200, table=777, fwmark=1).rule(201, action="unreachable", fwmark=1)
    yield _case("kill switch", "without the tunnel its traffic is refused, not let past", switch)
    other = _host().rule(200, table=777, fwmark=1).rule(201, action="unreachable", fwmark=2)
    yield _case("kill switch of another mark", "mark 1 still falls through", other, 1)
    refused = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").rule(200, table=777, fwmark=1)
    yield _case(
        "main refuses",
        "an unreachable default route fails closed too",
        refused.route("default", type="unreachable", family="inet", priority=4294967295),
    )
    lost = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").rule(200, table=777, fwmark=1)
    yield _case("no route behind it either", "the packets are lost instead of led astray", lost, 1)
    standby = _host().route("default", via="10.1.0.2", dev="eth1", table=778)
    standby.rule(200, table=777, fwmark=1).rule(201, table=778, fwmark=1)
    yield _case("standby table", "the second uplink has taken over, as designed", standby)
    chained = _host().route("default", via="10.1.0.2", dev="eth1", table=778)
    chained.rule(200, table=777, fwmark=1).rule(201, table=778)
    yield _case("another table for everything", "it is not the mark's own", chained, 1)
    mainly = _host().rule(200, table=777, fwmark=1).rule(201, table=254, fwmark=1)
    yield _case("main for the same mark", "main is not a standby", mainly, 1)
    several = _host().rule(200, table=777, fwmark=1).rule(201, table=777, iif="eth1").rule(202, table=777, oif="eth1")
    yield Example(
        name="three rules for one table",
        why="one cause is one finding",
        tables=several.build(),
        fires=1,
        subject=subject("rule", priority=200, family="inet"),
    )
    two = _host().rule(200, table=777, fwmark=1).rule(201, table=778, fwmark=2)
    yield _case("two tables", "each is filled by itself", two, 2)
    alike = _host().rule(200, table=777, src="10.0.0.1", src_len=32).rule(200, table=778, src="10.1.0.1", src_len=32)
    yield _case("two tables, one priority", "a cloud's agent numbers all its rules alike", alike, 2)
    yield _case(
        "IPv4 not in use",
        "there is only loopback",
        HostBuilder().rule(200, table=777, fwmark=1),
    )
    yield Example(
        name="what a lost packet says",
        why="no route is worse than another route, and reads otherwise",
        tables=HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").rule(200, table=777, fwmark=1).build(),
        fires=1,
        says=("find no route at all",),
    )
    yield Example(
        name="what a stray packet says",
        why="the way that it takes instead",
        tables=_host().rule(200, table=777, fwmark=1).build(),
        fires=1,
        says=("fall through to table main (via 10.0.0.2 dev eth0)",),
    )
    near = HostBuilder().link("eth0").address("eth0", "febf::1/64", scope=253).route("ff00::/8", dev="eth0")
    yield _case(
        "IPv6 link-local and multicast",
        "febf:: is link-local too, and some kernels have ff00::/8 as a unicast route",
        near.rule(200, family="inet6", table=777, fwmark=1),
    )
    for prefix in ("2a80::1/64", "fec0::1/64"):
        close = HostBuilder().link("eth0").address("eth0", prefix).rule(200, family="inet6", table=777, fwmark=1)
        yield _case(f"IPv6 with {prefix}", "an ordinary prefix that looks a little like link-local", close, 1)
    idle = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "fe80::1/64")
    yield _case(
        "IPv6 not in use",
        "a daemon made its rule for both families, and there is only link-local IPv6",
        idle.rule(200, family="inet6", table=777, fwmark=1),
    )
    yield from half_examples()


def _misnumbered() -> Iterator[Example]:
    """A table that is full and has no rule, beside a rule whose table is empty."""

    def case(name: str, why: str, host: HostBuilder, says: tuple[str, ...], fires: int = 1) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, says=says)

    def full(*tables: int, **route: Any) -> HostBuilder:
        host = _host().rule(200, table=1000, iif="eth1")
        for table in tables:
            given: dict[str, Any] = {"via": "10.1.0.2", "dev": "eth1", "table": table}
            host.route("default", **(given | route))
        return host

    meant = (
        "; table 100, which has 0.0.0.0/0 and no rule, may be meant",
        "ip rule add pref 200 from all iif eth1 lookup 100 && ip rule del pref 200 from all iif eth1 lookup 1000",
    )
    yield case("a typing error", "the number meant has routes and no rule", full(100), meant)
    unclear = ("(via 10.0.0.2 dev eth0)", "# if it is a leftover; else fill table 1000 again")
    for name, why, host in (
        ("two tables without a rule", "which one is meant", full(100, 101)),
        ("the full table has its rule", "it is not missed", full(100).rule(300, table=100, fwmark=1)),
        ("the full table is BIRD's", "for later use", full(100, protocol=12)),
        ("the full table is a VRF's", "it has its ports", full(100).link("red", kind="vrf", info={"table": 100})),
        ("the full table is of IPv6", "another one", full(100, via="2001:db8::9")),
        ("it carries nothing", "it is not missed", full().route("10.0.0.0/8", type="throw", table=100)),
        ("main without a rule", "another rule says so", full().rule(400, table=254).without_rule(32766)),
    ):
        yield case(name, why, host, unclear)
    six = full(100).route("default", via="2001:db8::9", dev="eth1", table=100).rule(300, family="inet6", table=100)
    yield case("the full table has a rule of IPv6", "IPv4 has none", six, meant)
    cut = full().without_rule(32766)
    yield case("no rule for main", "rule-main-missing says so", cut, ("its packets to", unclear[1]))
    two = full(100).rule(300, table=1001, iif="eth0")
    yield case("two rules with empty tables", "which one is misnumbered", two, unclear[:1], 2)
