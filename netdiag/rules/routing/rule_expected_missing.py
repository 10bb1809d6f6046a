"""What it checks
  A policy rule that this host is meant to have is not there: [[rule]] of the intent names it, the baseline had it, or
  the other guests have one like it ("to POD lookup main", as Amazon's CNI plugin makes them), one has none, and what a
  sibling sends to it leaves by another interface than its own.

Why it matters
  Policy rules are nobody's property: a restart of systemd-networkd, of a VPN client or of the host takes them away and
  nothing brings them back. The tables that they led to are still full, and nothing looks into them: traffic takes the
  wrong way, leaves with the wrong source, or escapes the tunnel that it was meant for.

Confirm
  ip rule show
  ip -6 rule show

Fix
  ip rule add ..., as the finding spells it. It acts at once on every packet that the rule selects, of established
  connections too. Then find out who should have made it, or it is gone again after the next restart.

Not flagged
  A rule with other selectors than those that the intent names: what the intent does not say may be anything, but for
  the mask of a mark, which is all ones unless it is given. Against a baseline: a rule that stands at another priority
  with the same selectors and table; rules of interfaces that are gone; rules of a table that is now empty as well,
  which are told as information. A rule "from POD" that one guest lacks: which uplink it is meant to use nobody knows.
  Without a [[rule]] section or a baseline the rule is not evaluated, but for what the guests' rules tell.

References
  net/core/fib_rules.c; ip-rule(8); networkd.conf(5) ManageForeignRoutingPolicyRules=
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from netdiag.index.packet import Query
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, Subject, Unjudged, subject
from netdiag.model.intent import IntendedRule
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since, untold
from netdiag.rules.guestrules import READS, forsaken
from netdiag.rules.routewords import ip_command, rule_words, table_word
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="rule-expected-missing",
    title="a policy rule that this host is meant to have is not there",
    severity="critical",
    reads=READS,
    consults=("intent.rule", "baseline"),
    explains=(
        "table-without-rule",
        "route-default-missing",
        "dns-nameserver-unroutable",
        "asym-rpfilter-strict-drop",
        "nf-rpfilter-nft-fib",
        "rule-*",
        "wg-*",
        "bgp-*",
    ),
    family="each",
)
FIELDS = ("family", "priority", "table", "action", "iif", "oif", "fwmark", "tos", "goto", "uid_start", "uid_end")
"""Fields that are spelled alike in the intent and in the model."""
MOST_LINKS = 8


def is_it(rule: PolicyRule, want: IntendedRule) -> bool:
    """Whether the rule is as the intent says, in all that it says."""
    if any(getattr(want, name) not in (None, getattr(rule, name)) for name in FIELDS):
        return False
    pairs = [
        (want.fwmask, rule.fwmask),
        (want.src, f"{rule.src}/{rule.src_len}" if rule.src_len else "all"),
        (want.dst, f"{rule.dst}/{rule.dst_len}" if rule.dst_len else "all"),
        (want.ipproto, rule.ip_proto),
        (want.sport, rule.sport_start),
        (want.dport, rule.dport_start),
        (want.suppress_prefixlen, rule.suppress_prefixlength),
        (want.l3mdev, rule.l3mdev),
        (want.inverted, rule.invert),
    ]
    return all(wanted is None or wanted == there for wanted, there in pairs)


def as_rule(want: IntendedRule) -> PolicyRule:
    """The rule that the intent means, with nothing in what it leaves open."""

    def split(prefix: str | None) -> tuple[str | None, int]:
        address, _, bits = (prefix or "").partition("/")
        return (address, int(bits)) if bits else (None, 0)

    (src, src_len), (dst, dst_len) = split(want.src), split(want.dst)
    action = want.action or ("goto" if want.goto is not None else "lookup")
    return PolicyRule(
        family=want.family,
        priority=want.priority if want.priority is not None else -1,
        action=action,
        table=want.table,
        src=src,
        src_len=src_len,
        dst=dst,
        dst_len=dst_len,
        iif=want.iif,
        oif=want.oif,
        fwmark=want.fwmark,
        fwmask=want.fwmask,
        tos=want.tos or 0,
        uid_start=want.uid_start,
        uid_end=want.uid_end,
        ip_proto=want.ipproto,
        sport_start=want.sport,
        sport_end=want.sport,
        dport_start=want.dport,
        dport_end=want.dport,
        l3mdev=bool(want.l3mdev),
        suppress_prefixlength=want.suppress_prefixlen,
        goto=want.goto,
        invert=bool(want.inverted),
    )


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    lost = list(forsaken(view))
    yield from untold(view, "rule")
    said = set()
    for want in view.intent.rule or ():
        if not any(is_it(rule, want) for rule in view.rules):
            gone = as_rule(want)
            said.add(_bare(gone))
            yield _draft(view, gone, "intent [[rule]]", "the intent names it")
    if view.baseline is not None:
        for rule in _vanished(view.baseline, view):
            if _bare(rule) not in said:
                source = f"RTM_GETRULE, {since(view.baseline)}"
                said.add(_bare(rule))
                yield _draft(view, rule, source, f"it is gone {since(view.baseline)}")
    for one in lost:
        if _bare(one.rule) not in said:
            reason = (
                f"{one.siblings} other guests have one like it; from {one.sender.ifname} to {one.link.ifname} packets"
            )
            yield _draft(view, one.rule, "RTM_GETRULE of its siblings", f"{reason} go to {one.astray}", one.link)


def _bare(rule: PolicyRule) -> PolicyRule:
    """The rule without what may change when somebody makes it again."""
    return msgspec.structs.replace(
        rule, priority=0, protocol=0, iif_detached=False, oif_detached=False, goto_unresolved=False
    )


def _vanished(old: HostView, new: HostView) -> Iterator[PolicyRule]:
    """Rules of the baseline that are nowhere now."""
    here = {_bare(rule) for rule in new.rules}
    names = new.stack.by_name
    for rule in old.rules:
        if rule.protocol == 2 and rule.table in (253, 254, 255):
            continue  # rule-main-missing and its like speak about the kernel's own
        if _bare(rule) in here or any(name not in (None, "lo") and name not in names for name in (rule.iif, rule.oif)):
            continue
        yield rule


def _lost(view: HostView, rule: PolicyRule) -> bool:
    """Whether packets that the rule selected now get no way at all."""
    if rule.invert or rule.src_len or rule.oif is not None:
        return False
    prefix = f"{rule.dst}/{rule.dst_len}" if rule.dst_len else "0.0.0.0/0" if rule.family == "inet" else "::/0"
    common: dict[str, Any] = {"family": rule.family, "mark": rule.fwmark or 0, "uid": rule.uid_start}
    common |= {"ip_proto": rule.ip_proto, "sport": rule.sport_start, "dport": rule.dport_start, "tos": rule.tos}
    common["iif"] = rule.iif if rule.iif in view.stack.by_name and rule.iif != "lo" else None
    return not all(view.lookup(Query(dst=address, **common)).ok for address in specimens(prefix))


def _draft(view: HostView, rule: PolicyRule, source: str, reason: str, guest: Link | None = None) -> Draft:
    words, ip = rule_words(rule), ip_command(rule.family)
    led = rule.table is not None
    held = view.fib(rule.family).positions(rule.table) if rule.table is not None else ()
    severity: Severity = "warning" if guest is None else "critical"
    after = (
        f"table {table_word(rule.table)} has {len(held)} routes" if led else "what it decided is not decided any more"
    )
    if len(held) and _lost(view, rule):
        severity, after = "critical", f"{after}, and the packets that it selected have no route"
    elif led and not len(held) and not source.startswith("intent"):
        severity = "info"
    number = rule.priority if rule.priority >= 0 else None
    place = f" at priority {number}" if number is not None else ""
    about = subject("rule", priority=number, family=rule.family, table=rule.table if number is None else None)
    if guest is not None:
        about = subject("rule", priority=number, family=rule.family, dst=rule.dst)  # its siblings' have that priority
    add = words.replace(" lookup ", " table ").replace("lookup ", "table ", 1) if led else words
    breaks, routes = _objects(view, rule, held)
    return RULE.found(
        subject=about,
        severity=severity,
        message=f'the policy rule "{words}"{place} is missing ({reason}): {after}',
        evidence=[
            ("meant to be there", words, source),
            ("rules like it", 0, "RTM_GETRULE"),
            *([(f"routes in table {table_word(rule.table)}", len(held), "RTM_GETROUTE RTA_TABLE")] if led else []),
        ],
        confirm=[f"{ip} rule show", *([f"{ip} route show table {rule.table}"] if len(held) else [])],
        fix=f"{ip} rule add {add}" + (f" priority {number}" if number is not None else ""),
        confidence=None if guest is None else "likely",
        breaks=[*breaks, *routes] if guest is None else [subject("link", ifname=guest.ifname)],
    )


def _objects(view: HostView, rule: PolicyRule, held: Any) -> tuple[list[Subject], list[Subject]]:
    """Links that the table's routes lead to, and the routes that others miss because of it."""
    links: dict[str, Subject] = {}
    routes = [subject("route", dst=name, table=254) for name in ("0.0.0.0/0", "::/0") if (":" in name) == _six(rule)]
    found = []
    for row in view.route_rows(rule.family, list(held[:64])):
        found += routes if row.default else []
        found.append(subject("route", dst=row.dst, table=row.table))
        for hop in row.hops:
            name = view.ifname(hop.oif)
            links.setdefault(name, subject("link", ifname=name))
            found.append(subject("route", dst=row.dst, table=row.table, ifname=name))
    if rule.iif is not None:
        links.setdefault(rule.iif, subject("link", ifname=rule.iif))
    if rule.table is not None:
        found.append(subject("rule", priority=rule.priority, family=rule.family))
        found.append(subject("route", table=rule.table))
    return list(links.values())[:MOST_LINKS], found


def _six(rule: PolicyRule) -> bool:
    return rule.family == "inet6"


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "192.0.2.2/24").address("eth1", "198.51.100.2/24")
    host.route("default", via="192.0.2.1", dev="eth0")
    return host.route("default", via="198.51.100.1", dev="eth1", table=100)


WANT = IntendedRule(family="inet", priority=100, fwmark=1, fwmask=0xFFFFFFFF, table=100)


def _case(name: str, why: str, host: HostBuilder, want: IntendedRule | None = WANT, **expected: Any) -> Example:
    if want is not None:
        host.intend(rule=(want,))
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("rule", priority=100, family="inet")
    told: dict[str, Any] = {"fires": 1, "subject": about}
    words = ('"from all fwmark 0x1 lookup 100" at priority 100 ', "table 100 has 1 routes")
    yield _case("not there", "the plain fault", _host(), severity="warning", says=words, **told)
    bare = _host().without_routes(table=254)
    yield _case("the only way", "no default route elsewhere: the packets are lost", bare, severity="critical", **told)
    yield _case("there", "as it should be", _host().rule(100, fwmark=1, table=100))
    yield _case(
        "narrow mask", "marks are compared otherwise", _host().rule(100, fwmark=1, fwmask=255, table=100), **told
    )
    yield _case("another priority", "the intent names one", _host().rule(101, fwmark=1, table=100), **told)
    yield _case("another table", "the intent names one", _host().rule(100, fwmark=1, table=101), **told)
    six = _host().rule(100, family="inet6", fwmark=1, table=100)
    yield _case("the other family has it", "each family has rules of its own", six, **told)
    wide = _host().rule(100, fwmark=1, table=100, src="10.0.0.0", src_len=8)
    yield _case("with one more selector", "what the intent does not say may be anything", wide)
    source = IntendedRule(family="inet", src="10.0.0.0/8", table=100)
    anywhere = subject("rule", family="inet", table=100)
    yield _case("by source", "any priority", _host().rule(7, src="10.0.0.0", src_len=8, table=100), source)
    yield _case(
        "of a shorter source", "another rule", _host().rule(7, src="10.0.0.0", src_len=9, table=100), source, fires=1
    )
    yield _case("by source, gone", "the intent leaves its priority open", _host(), source, fires=1, subject=anywhere)
    block = IntendedRule(family="inet", action="prohibit", dst="10.8.0.0/16")
    barred = _host().rule(7, action="prohibit", dst="10.8.0.0", dst_len=16)
    yield _case("a prohibition is there", "its table is nobody's", barred, block)
    yield _case("a prohibition is not there", "it let nobody through", _host(), block, fires=1, says=("prohibit",))
    none = _host().without_routes(table=100)
    yield _case("nor its table", "what the intent names is no less missing", none, severity="warning", **told)
    tunnel = IntendedRule(family="inet", priority=100, iif="ppp0", table=100)
    yield _case("of a tunnel that is not up", "nothing arrives by it", _host(), tunnel, severity="warning", **told)
    yield _case("no section", "nothing was told", _host(), None, unjudged=True)
    yield _case("an empty section", "nothing is wanted, and that was told", _host().intend(rule=()), None)
    yield from _since()
    yield from _pods()


def _pod_host(*, rules: int = 3, pods: int = 4, out: int = 0, **fields: Any) -> HostBuilder:
    """Pods 10.0.1.0 ... each behind a cable, the first ones with a rule; ``out`` of them leave by eth1."""
    host = _host()
    for number in range(pods):
        host.link(f"eni{number}", kind="veth", link_netnsid=number).route(f"10.0.1.{number}/32", dev=f"eni{number}")
        if number < rules:
            selector: dict[str, Any] = {"dst": f"10.0.1.{number}", "dst_len": 32, "table": 254} | fields
            host.rule(512, **selector)
        if number < out:
            host.rule(1536, src=f"10.0.1.{number}", src_len=32, table=100)
    return host


def _pods() -> Iterator[Example]:
    """What its like have: pods with a rule each, ahead of those that send them out by the second card."""
    about = subject("rule", priority=512, family="inet", dst="10.0.1.3")
    told: dict[str, Any] = {"fires": 1, "subject": about, "severity": "critical", "confidence": "likely"}
    told["unjudged"] = True  # of what the intent or a baseline would name
    says = ("3 other guests have one like it; from eni0 to eni3 packets go to eth1", "to 10.0.1.3/32 table main")
    yield _case("of one pod of four", "its siblings' packets leave the host", _pod_host(out=1), None, says=says, **told)
    second = _pod_host(out=0).rule(1536, src="10.0.1.1", src_len=32, table=100)
    yield _case("another sibling's", "the first one's find it", second, None, says=("from eni1 to eni3",), **told)
    yield _case("none sent out", "main is asked anyhow", _pod_host(), None, unjudged=True)
    yield _case("two of three have one", "too few", _pod_host(rules=2, pods=3, out=1), None, unjudged=True)
    yield _case("five of seven have one", "two are many", _pod_host(rules=5, pods=7, out=1), None, unjudged=True)
    yield _case("six of eight have one", "two are few", _pod_host(rules=6, pods=8, out=1), None, fires=2, unjudged=True)
    yield _case("all have one", "as it should be", _pod_host(rules=4, out=1), None, unjudged=True)
    yield _case("a single pod", "it has one", _pod_host(rules=1, pods=1, out=1), None, unjudged=True)
    six = _host().link("eth2").address("eth2", "2001:db8::2/64")
    six.route("default", via="2001:db8::1", dev="eth2", table=100)
    for number in range(4):
        six.link(f"eni{number}", kind="veth", link_netnsid=number).route(f"fd00::{number + 2}/128", dev=f"eni{number}")
        if number < 3:
            six.rule(512, family="inet6", dst=f"fd00::{number + 2}", dst_len=128, table=254)
    six.rule(1536, family="inet6", src="fd00::2", src_len=128, table=100)
    yield _case("of a pod of IPv6", "the same", six, None, **{**told, "subject": subject("rule", dst="fd00::5")})
    other = _pod_host(out=1).rule(600, dst="10.0.1.3", dst_len=32, table=254)
    yield _case("one at another priority", "it has its own", other, None, unjudged=True)
    for name, fields in (
        ("of a mark", {"fwmark": 1}),
        ("of an interface", {"iif": "eth0"}),
        ("of one sender", {"iif": "eni0"}),
        ("of a network", {"dst_len": 24}),
        ("that lead nowhere", {"action": "prohibit", "table": None}),
        ("that lead to the way out", {"table": 100}),
    ):
        yield _case(f"rules {name}", "not those of pods", _pod_host(out=1, **fields), None, unjudged=True)
    pairs = _pod_host(rules=6, pods=7, out=1, dst_len=31)
    yield _case("rules of pairs", "not those of pods", pairs, None, unjudged=True)
    jump = _pod_host(out=1, action="goto", goto=2000, table=None).rule(2000, table=254)
    yield _case("rules that jump", "no table of theirs is known", jump, None, unjudged=True)
    but = _pod_host(out=1, invert=True, table=100)
    but.route("10.0.1.0/31", dev="eni1", table=100)
    yield _case("rules for all but a pod", "they send all others", but, None, unjudged=True)
    left = _pod_host(out=1).rule(512, dst="10.0.0.9", dst_len=32, table=254)
    yield _case("and a pod's that is gone", "its rule was left over", left, None, **told)
    mixed = _pod_host(rules=6, pods=6, out=1).link("br0", kind="bridge").address("br0", "10.5.0.1/24")
    mixed.tap("tap0", master="br0").tap("tap1").route("10.6.0.1/32", dev="tap1").route("10.6.0.2/32", dev="tap1")
    yield _case("other guests beside", "a bridge and a machine are no pods", mixed, None, unjudged=True)
    first = _pod_host(out=1).rule(100, src="10.0.1.0", src_len=32, dst="10.0.1.1", dst_len=32, table=100)
    yield _case("astray to its siblings as well", "one pod is kept apart", first, None, unjudged=True)
    spread = _pod_host().rule(1536, src="10.0.1.0", src_len=32, table=101)
    hops = [spread.hop("eth0", "192.0.2.1"), spread.hop("eth1", "198.51.100.1")]
    spread.route("default", hops=hops, table=101)
    yield _case("sent out by two ways", "neither is right", spread, None, says=("go to eth0 and eth1",), **told)
    unsure = _pod_host().rule(1536, src="10.0.1.0", src_len=32, table=100, unknown=1)
    yield _case("sent out by who knows", "a selector is not known here", unsure, None, unjudged=True)
    refused = _pod_host(out=0).rule(1536, src="10.0.1.0", src_len=32, action="prohibit")
    yield _case("and what is left refuses", "they go nowhere", refused, None, says=("go to nowhere",), **told)
    both = _pod_host(out=1).build()
    older = _pod_host(rules=4, out=1).build()
    why = "one fault, one finding"
    yield Example(name="a pod's, and the baseline had it", why=why, tables=both, baseline=older, fires=1)


def _since() -> Iterator[Example]:
    before = _host().rule(100, fwmark=1, table=100).build()
    about = subject("rule", priority=100, family="inet")
    gone = Example(
        name="gone", why="the baseline had it", tables=_host().build(), baseline=before, fires=1, subject=about
    )
    yield gone
    moved = _host().rule(90, fwmark=1, table=100).build()
    yield Example(name="made again", why="at another priority it does the same work", tables=moved, baseline=before)
    guest = _host().link("tap0").rule(50, iif="tap0", table=100).build()
    yield Example(name="of a guest that left", why="its interface is gone too", tables=_host().build(), baseline=guest)
    empty = _host().without_routes(table=100).build()
    yield Example(
        name="with its table",
        why="given up, or lost as a whole",
        tables=empty,
        baseline=before,
        fires=1,
        severity="info",
    )
    both = _host().intend(rule=(WANT,)).build()
    yield Example(name="twice told", why="one fault, one finding", tables=both, baseline=before, fires=1)
    yield from _since_lost()


def _since_lost() -> Iterator[Example]:
    """What the rule selected, and whether that has another way; the kernel's own rules."""

    def case(
        name: str, why: str, severity: str | None, number: int = 100, still: HostBuilder | None = None, **selector: Any
    ) -> Example:
        now = (still or _host()).without_routes(table=254)
        older = _host().rule(number, **({"table": 100} | selector)).build()
        more: dict[str, Any] = {"fires": 1, "severity": severity} if severity else {}
        return Example(name=name, why=why, tables=now.build(), baseline=older, **more)

    yield case("everything", "nothing else leads anywhere", "critical")
    odd = _host().rule(90, fwmark=1, fwmask=1, table=100)
    yield case("everything but odd marks", "packets have no mark by themselves", "critical", still=odd)
    here = _host().rule(90, iif="eth1", table=101).route("default", via="192.0.2.1", dev="eth0", table=101)
    yield case("of one link, which has another", "they are led there anyhow", "warning", still=here, iif="eth1")
    user = _host().rule(90, uid_start=1000, uid_end=1999, table=100)
    mine: dict[str, Any] = {"iif": "lo", "uid_start": 1000, "uid_end": 1000}
    yield case("of this host's user, who has another", "lo is not where they arrive", "warning", still=user, **mine)
    yield case("packets of this host", "lo is where they come from", "critical", iif="lo")
    yield case("of a user", "asked with that user", "critical", uid_start=1000, uid_end=1000)
    yield case("gone, by source", "who asks is not known", "warning", src="10.0.0.0", src_len=8)
    yield case("by the way out", "the program chooses it", "warning", oif="eth0")
    yield case("all but marked ones", "who asks is not known", "warning", fwmark=1, invert=True)
    yield case(
        "a prohibition", "it let nobody through", "warning", table=None, action="prohibit", dst="10.8.0.0", dst_len=16
    )
    yield case("for a way out that is gone", "its interface is gone too", None, oif="tun9")
    bare = _host().without_rule(0).without_rule(32766).without_rule(32767)
    yield case("the kernel's own three", "rule-main-missing and its like speak of them", "critical", still=bare)
    flags: dict[str, Any] = {"iif_detached": True, "oif_detached": True, "goto_unresolved": True}
    there = _host().rule(100, table=100)
    yield case("while its interface was away", "flags of the moment", None, still=there, **flags)
    yield case(
        "main's, made by hand", "the same table, which is empty here", "info", 50, table=254, protocol=4, fwmark=7
    )
    yield case("made by the kernel for a VRF", "no table of its own three", "critical", 60, protocol=2)
