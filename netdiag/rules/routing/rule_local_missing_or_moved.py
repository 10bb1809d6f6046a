"""What it checks
  Addresses of this host are in table local, but no policy rule looks there, or a rule in front of it takes the packets:
  asked for a packet that arrives for each address, the rules do not deliver it. Or the other half is gone: an address
  is on an interface that is up, and its route in table local is not there, nor another that delivers its packets.

Why it matters
  The host stops answering on its own addresses: what arrives for them is forwarded back, or dropped; connections to
  itself leave by the default route. "ip address show" looks right. The kernel makes rule 0 once for each family;
  "ip rule flush" keeps it, "ip rule del pref 0" and daemons that rearrange rules do not, and nothing brings it back.
  The route the kernel makes with the address: "ip route flush table local", or a script that deletes too much, takes it
  away, and only adding the address anew brings it back.
  IPv6 asks its rules only once one of its own was added in the namespace (seen on 6.18): until then a deleted rule does
  no harm yet, and the first one that is added brings it about.

Confirm
  ip rule show
  ip route get ADDRESS      (no "local" in the answer)

Fix
  ip rule add pref 0 lookup local (ip -6 rule ... for IPv6): delivery is back at once. Then look for the rule that was
  meant to replace it (Cilium: 100, VRF set-ups: 32765), and for the other rules that the same hand deleted. A route:
  ip route add local ADDRESS dev IFNAME table local proto kernel scope host src ADDRESS.

Not flagged
  Rule 0 moved to another number, as Cilium and VRF set-ups do, as long as nothing in front of it takes the packets.
  Rules in front of it for marked packets (TPROXY). Addresses whose interface is down; those of a VRF, which are in the
  VRF's table; tentative ones, and those that failed duplicate address detection. Missing routes of addresses with a
  lifetime, and of those of link or host scope. A namespace without addresses.

References
  net/ipv4/fib_rules.c fib_default_rules_init(), fib_unmerge(); net/ipv6/fib6_rules.c; Documentation/networking/vrf.rst;
  net/ipv4/fib_frontend.c fib_add_ifaddr(); net/ipv6/addrconf.c __ipv6_ifa_notify()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Query
from netdiag.index.reach import reachable_tables, selects
from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_DADFAILED, IFA_F_PERMANENT, IFA_F_TENTATIVE, Address
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RT_TABLE_LOCAL
from netdiag.rules.build import HostBuilder
from netdiag.rules.routewords import ip_command, rule_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="rule-local-missing-or-moved",
    title="no policy rule delivers packets for this host's own addresses",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "sysctls"),
    explains=(
        "bgp-*",
        "wg-*",
        "neigh-*",
        "route-*",
        "ip-forward-off",
        "asym-rpfilter-strict-drop",
        "nf-rpfilter-nft-fib",
        "dns-*",
        "tcp-*",
        "src-*",
        "nf-orphan-dnat-to-dead",
    ),
    family="each",
)
MOST = 64
"""Addresses of a family that are asked for."""
MOST_MENDED = 8
"""Addresses whose routes the fix writes out."""


def own(view: HostView, family: str) -> list[tuple[Address, str]]:
    """Addresses that table local holds, each with its interface."""
    found = []
    for row in view.addresses:
        link = view.link(row.ifindex)
        if row.family == family and link is not None and view.local.local_route(family, row.local) is not None:
            found.append((row, link.ifname))
    return sorted(found, key=lambda one: (one[1] == "lo", one[0].scope, one[0].local))[:MOST]


def undelivered(view: HostView, family: str) -> list[tuple[Address, str]]:
    """Addresses in use whose route in table local is gone, and for which no other route delivers, each with its
    interface. One with a lifetime is left out: it may have been made between the dump of the routes and its own."""
    found = []
    for row in view.addresses:
        link = view.link(row.ifindex)
        if row.family != family or link is None or not link.up or row.scope or not row.flags & IFA_F_PERMANENT:
            continue
        if row.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) or view.stack.vrf(link.ifindex) is not None:
            continue
        if view.local.local_route(family, row.local) is None:
            iif = None if link.loopback else link.ifname
            if view.lookup(Query(family=family, dst=row.local, iif=iif)).type != "local":
                found.append((row, link.ifname))
    return sorted(found, key=lambda one: (one[1], one[0].local))[:MOST]


def _unheld(view: HostView, family: str, lost: list[tuple[Address, str]]) -> Draft:
    (first, ifname), ip, bits = lost[0], ip_command(family), 32 if family == "inet" else 128
    more = f" and of {len(lost) - 1} more own addresses" if len(lost) > 1 else ""
    fixes = []
    for row, name in lost[:MOST_MENDED]:
        rest = f"scope host src {row.local}" if family == "inet" else "metric 0"
        fixes.append(f"{ip} route add local {row.local} dev {quoted(name)} table local proto kernel {rest}")
    return RULE.found(
        subject=subject("route", dst=f"{first.local}/{bits}", table=RT_TABLE_LOCAL),
        message=f"table local has lost the route of {first.local} on {ifname}{more}: packets for it are not delivered",
        evidence=[
            (f"address {first.local}", ifname, "RTM_GETADDR IFA_LOCAL"),
            (f"routes to {first.local} in table local", 0, "RTM_GETROUTE RTA_TABLE 255"),
            ("own addresses without delivery", len(lost), "RTM_GETADDR, policy rules"),
        ],
        confirm=[f"{ip} route show table local", f"{ip} route get {first.local} 2>&1"],
        fix=" && ".join(fixes),
        breaks=[
            *(subject("link", ifname=name) for name in dict.fromkeys(name for _, name in lost)),
            *(subject("address", address=row.local, ifname=name) for row, name in lost),
            *(subject("route", dst=f"{row.local}/{bits}", table=RT_TABLE_LOCAL) for row, _ in lost),
            subject("route", dst="0.0.0.0/0" if family == "inet" else "::/0", table=254),
        ],
    )


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        unheld = undelivered(view, family)
        if unheld:
            yield _unheld(view, family, unheld)
        rules = [rule for rule in view.rules if rule.family == family]
        if not rules or (rules[0].table == RT_TABLE_LOCAL and not selects(rules[0])):
            continue
        lost, takers = [], set()
        for row, ifname in own(view, family):
            answer = view.lookup(Query(family=family, dst=row.local, iif=None if ifname == "lo" else ifname))
            if answer.type != "local":
                lost.append((row, ifname))
                takers.add(answer.rule)
        if not lost:
            continue
        missing = RT_TABLE_LOCAL not in reachable_tables(view.rules, view.links, family)
        taker = next((rule for rule in takers if rule is not None), None)
        first, ip = lost[0][0], ip_command(family)
        why = "no rule looks up table local"
        if not missing:
            why = (
                f"rule {taker.priority} ({rule_words(taker)}) comes before table local"
                if taker
                else "not by table local"
            )
        yield RULE.found(
            subject=subject("rule", priority=0, family=family),
            message=f"packets for {first.local}"
            + (f" and {len(lost) - 1} more own addresses" if len(lost) > 1 else "")
            + f" are not delivered: {why}",
            evidence=[
                ("first rule", f"{rules[0].priority}: {rule_words(rules[0])}", "RTM_GETRULE"),
                (f"local route for {first.local}", "table local", "RTM_GETROUTE RTA_TABLE 255"),
                ("own addresses without delivery", len(lost), "RTM_GETADDR, policy rules"),
            ],
            confirm=[f"{ip} rule show", f"{ip} route get {first.local}"],
            fix=f"{ip} rule add pref 0 lookup local",
            breaks=[
                *(subject("link", ifname=name) for name in dict.fromkeys(name for _, name in lost)),
                subject("route", dst="0.0.0.0/0" if family == "inet" else "::/0", table=254),
            ],
        )


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    return host.route("default", via="10.0.0.2", dev="eth0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    for family in ("inet", "inet6"):
        about = subject("rule", priority=0, family=family)
        gone = _host().without_rule(0, family=family)
        yield _case(f"gone, {family}", "the plain fault", gone, 1, subject=about, severity="critical")
        late = _host().without_rule(0, family=family).rule(32770, table=255, family=family)
        yield _case(f"behind main, {family}", "main has the subnet", late, 1, subject=about, says=("comes before",))
        moved = _host().without_rule(0, family=family).rule(100, table=255, family=family)
        moved.address("eth0", "fe80::1/64").link("eth1").address("eth1", "fe80::1/64").link("eth2", up=False)
        moved.address("eth2", "169.254.3.4/16", scope=253)
        yield _case(f"moved, {family}", "Cilium has it at 100", moved)
        marked = _host().without_rule(0, family=family).rule(9, table=2004, fwmark=0x200, fwmask=0xF00, family=family)
        yield _case(f"marked packets first, {family}", "TPROXY", marked.rule(100, table=255, family=family))
    yield _case("as the kernel makes it", "the ordinary case", _host())
    here = _host().without_rule(0).rule(50, iif="lo", table=99).rule(100, table=255)
    here.route("default", dev="eth0", via="10.0.0.2", table=99)
    lo: dict[str, Any] = {"fires": 1, "says": ("packets for 127.0.0.1 are not delivered: rule 50",)}
    yield _case("what this host sends comes first", "its own services are sent away", here, **lo)
    arriving = _host().without_rule(0).rule(50, iif="eth0", table=99).rule(100, table=255)
    arriving.route("default", dev="eth0", via="10.0.0.2", table=99)
    taken: dict[str, Any] = {"fires": 1, "says": ("packets for 10.0.0.1 are not delivered: rule 50",)}
    yield _case("what arrives by the uplink comes first", "it is sent back", arriving, **taken)
    half = _host().without_rule(0).rule(0, src="10.0.0.0", src_len=8, table=255)
    yield _case("for some senders only", "who else asks gets nothing", half, 1)
    none = _host().without_rule(0, family="inet6").without_rule(32766, family="inet6")
    yield _case("no rules of IPv6", "a kernel without it", none)
    yield _case(
        "gone meanwhile",
        "its address is with it",
        HostBuilder()
        .without_rule(0)
        .link("eth0")
        .address("eth0", "10.0.0.1/24")
        .without_routes(table=255)
        .route("10.0.0.1/32", dev="eth0", table=255, type="local")
        .vanished("eth0"),
    )
    early = _host().rule(0, table=99).route("default", dev="eth0", via="10.0.0.2", table=99)
    yield _case("a second rule 0", "it comes after the first", early)
    refused = _host().without_rule(0).rule(50, action="unreachable").rule(100, table=255)
    yield _case("a kill switch in front of it", "it kills the host itself", refused, 1)
    empty = HostBuilder().without_rule(0).without_routes(table=255)
    yield _case("no local routes", "a namespace whose lo is down", empty)
    vrf = _host().link("red", kind="vrf", info={"table": 10}).link("eth1", master="red")
    vrf.rule(1000, l3mdev=True).without_rule(0).rule(32765, table=255)
    yield _case("VRF", "local stands behind the l3mdev rule, as documented", vrf)
    yield from _unheld_examples()


def _unheld_examples() -> Iterator[Example]:
    def flushed(*prefixes: str, **fields: Any) -> HostBuilder:
        host = HostBuilder().link("eth0", up=fields.pop("up", True))
        for prefix in prefixes:
            host.address("lo" if prefix.endswith(("/32", "/128")) else "eth0", prefix, **fields)
        for family in ("inet", "inet6"):
            host.without_routes(table=255, family=family)
        return host

    loud: dict[str, Any] = {"fires": 1, "severity": "critical"}
    both = flushed("10.0.0.1/24", "203.0.113.7/32")
    at = subject("route", dst="10.0.0.1/32", table=255)
    told = ("10.0.0.1 on eth0 and of 1 more", "route add local 203.0.113.7 dev lo table local proto kernel scope host")
    yield _case(
        "table local flushed", "the addresses are there, their routes are not", both, subject=at, **loud, says=told
    )
    one = flushed("203.0.113.7/32").route("10.0.0.1/32", dev="eth0", table=255, type="local", scope=254)
    yield _case("one local route deleted", "a service address", one, **loud, says=("203.0.113.7 on lo:",))
    six = flushed("2001:db8::1/64")
    yield _case(
        "table local flushed, IPv6", "likewise", six, **loud, says=("ip -6 route add local 2001:db8::1 dev eth0",)
    )
    refused = flushed("203.0.113.7/32").route("203.0.113.0/24", type="blackhole", table=255)
    yield _case("refused in table local", "a route of another type", refused, **loud)
    yield _case("on an interface that is down", "nothing comes in", flushed("10.0.0.1/24", up=False))
    yield _case("host scope", "loopback addresses are the kernel's", flushed("10.0.0.1/24", scope=254))
    yield _case("with a lifetime", "it may be younger than the dump of the routes", flushed("10.0.0.1/24", flags=0))
    for name, flags in (("tentative", IFA_F_TENTATIVE), ("failed detection", IFA_F_DADFAILED)):
        yield _case(f"{name}, no local route", "the kernel gives none", flushed("2001:db8::1/64", flags=0x80 | flags))
    wide = flushed("203.0.113.7/32").route("203.0.113.0/24", dev="lo", table=255, type="local", scope=254)
    yield _case("a local route for the net around", "AnyIP delivers", wide)
    other = flushed("203.0.113.7/32").rule(100, table=100)
    yield _case(
        "delivered by another table", "the same", other.route("203.0.113.7/32", dev="lo", table=100, type="local")
    )
    vrf = flushed("10.0.0.1/24").link("red", kind="vrf", info={"table": 10}).link("eth1", master="red")
    vrf.address("eth1", "10.1.0.1/24").without_routes(table=255)
    yield _case("in a VRF", "its route is in the VRF's table", vrf, 1, says=("10.0.0.1 on eth0:",))
