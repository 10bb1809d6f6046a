"""What it checks
  systemd-networkd runs, manages interfaces and removes what it did not make (ManageForeignRoutingPolicyRules and
  ManageForeignRoutes are yes by default), and there are policy rules, or routes on its interfaces, that somebody else
  made.

Why it matters
  At its next restart (an upgrade of systemd does that) networkd takes those rules and routes away: the tunnel's rule
  for its mark, the table of a second uplink. Whoever made them mostly does not look again. Everything works until that
  day, and then half of the host is cut off.

Confirm
  ip rule; ip -6 rule               (those without "proto kernel")
  ip route show table all proto boot
  networkctl list; systemd-analyze cat-config systemd/networkd.conf

Fix
  A file /etc/systemd/networkd.conf.d/foreign.conf with "[Network]", ManageForeignRoutingPolicyRules=no and
  ManageForeignRoutes=no. It takes effect at the next start of networkd, which must come after the file.

Not flagged
  The kernel's own rules and routes, those of networkd itself (static, DHCP, router advertisements), and those on
  interfaces that it does not manage; rules without a protocol where networkd's configuration has rules. networkd that
  manages no interface, or leaves what others made. Routes of routing daemons alone are an info: such a daemon puts
  them back at its next scan.

References
  networkd.conf(5) ManageForeignRoutes= ManageForeignRoutingPolicyRules=; https://github.com/systemd/systemd/issues/16784
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Networkd
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.routewords import rule_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.waysout import ROUTING_DAEMONS

RULE = Rule(
    id="networkd-foreign-flush-risk",
    title="a restart of networkd would remove rules or routes that others made",
    severity="warning",
    confidence="likely",
    reads=("identity", "links", "routes", "rules"),
)
UNSPEC = 0
DEFAULT_PRIORITIES = (0, 32766, 32767)
"""The kernel's own rules, of which kernels before 4.17 do not tell the protocol."""
ITS_OWN = (0, 1, 2, 4, 9, 16)
"""RTPROT_* of the kernel, of redirects, and of what networkd makes: static, ra, dhcp (linux/rtnetlink.h)."""
RT_TABLE_LOCAL, RTN_UNICAST = 255, 1


def check(view: HostView) -> Iterator[Draft]:
    one = view.identity.networkd
    if one is None or not set(one.managed) & {link.ifindex for link in view.links}:
        return
    rules = [row for row in view.rules if _by_others(row, one)] if one.manage_foreign_rules else []
    routes = _foreign(view, one) if one.manage_foreign_routes else []
    lasting = [row for row in routes if row.protocol not in ROUTING_DAEMONS]
    if rules or routes:
        yield _draft(view, one, rules, lasting or routes, info=not rules and not lasting)


def _by_others(row: PolicyRule, one: Networkd) -> bool:
    """Whether somebody else made a rule. iproute2 gives none a protocol by itself; nor did networkd before 248."""
    if row.protocol == UNSPEC:
        return not one.own_rules and row.priority not in DEFAULT_PRIORITIES
    return row.protocol not in ITS_OWN


def _foreign(view: HostView, one: Networkd) -> list[Route]:
    """Some routes of others on managed interfaces, one a protocol."""
    found: list[Route] = []
    for family in ("inet", "inet6"):
        table = view.routes(family)
        rows = among(table.oif, one.managed) & ~among(table.protocol, ITS_OWN)
        rows &= (table.table != RT_TABLE_LOCAL) & (table.type == RTN_UNICAST)
        positions = np.flatnonzero(rows)
        _, first = np.unique(table.protocol[positions], return_index=True)
        found += view.route_rows(family, positions[first].tolist())
    return found


def _draft(view: HostView, one: Networkd, rules: list[PolicyRule], routes: list[Route], *, info: bool) -> Draft:
    evidence: list[tuple[str, object, str]] = []
    words = []
    if rules:
        words.append(f"{len(rules)} policy rule{'s' if len(rules) > 1 else ''} ({rules[0].priority}: "
                     f"{rule_words(rules[0])})")  # fmt: skip
        evidence.append((f"rule {rules[0].priority} proto", rules[0].protocol, "RTM_GETRULE FRA_PROTOCOL"))
    if routes:
        first = routes[0]
        words.append(f"routes such as {first.dst} dev {view.ifname(first.hops[0].oif if first.hops else 0)}")
        evidence.append((f"route {first.dst} proto", first.protocol, "RTM_GETROUTE rtm_protocol"))
    setting = "yes" if one.source else "yes, by default"
    evidence.append(("ManageForeign...", setting, one.source or "networkd.conf(5)"))
    return RULE.found(
        subject=subject("host", daemon="systemd-networkd"),
        message=f"systemd-networkd would remove {' and '.join(words)} at its next start: it did not make them",
        severity="info" if info else "warning",
        evidence=evidence,
        confirm=["ip rule", "ip route show table all"],
        fix="mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\nManageForeignRoutingPolicyRules=no\\n"
        "ManageForeignRoutes=no\\n' > /etc/systemd/networkd.conf.d/foreign.conf",
    )


def examples() -> Iterator[Example]:
    def case(
        name: str, why: str, severity: Any = None, *, change: Any = None, says: tuple[str, ...] = (), **networkd: Any
    ) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").link("wg0", kind="wireguard")
        host.route("default", via="192.0.2.1", dev="eth0", protocol=4)
        host = change(host) if change else host
        known = {"managed": (host.ifindex("eth0"),)} | networkd
        host.identity(networkd=None if known.pop("absent", False) else Networkd(**known))
        fires = int(bool(severity))
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=severity, says=says)

    def marked(host: HostBuilder) -> HostBuilder:
        return host.rule(100, fwmark=1, table=100)

    def routed(protocol: int, dev: str = "eth0") -> Any:
        return lambda host: host.route("10.0.0.0/8", via="192.0.2.9", dev=dev, protocol=protocol)

    by_default = ("ManageForeign... yes, by default networkd.conf(5)",)
    yield case("a rule of wg-quick", "the plain fault", "warning", change=marked, says=by_default)
    here = "/etc/systemd/networkd.conf"
    yield case("somebody asked for it", "the same", "warning", change=marked, source=here, says=(f" yes {here}",))
    yield case("rules are left alone", "as advised", change=marked, manage_foreign_rules=False)
    yield case("nothing foreign", "networkd made it all")
    yield case("manages nothing", "another one does the network", change=marked, managed=())
    yield case("does not run", "no networkd", change=marked, absent=True)
    yield case("interfaces of another namespace", "indexes that are not here", change=marked, managed=(77,))
    yield case("a route by hand", "on its interface", "warning", change=routed(3))
    yield case("a route by hand elsewhere", "it does not manage that interface", change=routed(3, "wg0"))
    yield case("routes are left alone", "as advised", change=routed(3), manage_foreign_routes=False)
    yield case("BIRD's route", "BIRD puts it back", "info", change=routed(12), says=("such as 10.0.0.0/8 dev eth0",))

    def by_hand(host: HostBuilder) -> HostBuilder:
        return routed(12)(host).route("10.8.0.0/16", via="192.0.2.9", dev="eth0", protocol=77)  # type: ignore[no-any-return]

    yield case(
        "BIRD's and another's", "nobody puts that one back", "warning", change=by_hand, says=("10.8.0.0/16 dev",)
    )

    def own(host: HostBuilder) -> HostBuilder:
        for number in (0, 1, 2, 4, 9, 16):
            host.route(f"10.{number}.0.0/16", via="192.0.2.9", dev="eth0", protocol=number)
        return host

    yield case("its own and the kernel's", "made by itself, or by nobody", change=own)

    def old(host: HostBuilder) -> HostBuilder:
        for priority, table in ((0, 255), (32766, 254), (32767, 253)):
            host.without_rule(priority).rule(priority, table=table, protocol=0)
        return host

    yield case("a kernel before 4.17", "it does not tell who made its own rules", change=old)
    typed: dict[str, Any] = {"change": lambda host: host.rule(100, table=100, protocol=0)}
    yield case("a rule by hand", "iproute2 names no protocol", "warning", **typed)
    yield case("a rule of nobody's", "an old networkd made its own like this", **typed, own_rules=True)
    yield case("its own rule", "made by networkd", change=lambda host: host.rule(100, table=100, protocol=4))
    yield case("a lease", "its own DHCP client", change=routed(16))
