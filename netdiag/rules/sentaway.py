"""Guests whose packets a rule for everything sends away: the main table has a host route to them, and is not asked.
Neighbours in a network of guests count as well, there also for a rule by the destination alone.

Used by rule-shadowed. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from netdiag.index.guests import sides
from netdiag.index.policy import Lookup
from netdiag.index.reach import takes_own
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.finding import subject
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import Demand, demands
from netdiag.rules.shape import Example


class SentAway(NamedTuple):
    """A guest, the route that its packets take, and the one of the main table that they should."""

    demand: Demand
    taken: Route
    kept: Route


def sent_away(view: HostView) -> dict[PolicyRule, list[SentAway]]:
    """By the rule that takes the packets."""
    lost: dict[PolicyRule, list[SentAway]] = {}
    networks = {family: _guest_networks(view, family) for family in ("inet", "inet6")}
    for demand in demands(view) if any(_takes(rule) for rule in view.rules) else ():
        answer, near = view.lookup(demand.query), demand.ifindex in networks[demand.query.family]
        near = near and demand.kind == "neighbour"
        if not (near or demand.kind == "guest") or answer.rule is None or not _takes(answer.rule):
            continue
        if not near and not _catches_all(answer.rule):
            continue
        kept = _of_main(view, demand)
        if kept is not None and demand.ifindex not in [hop.oif for hop in answer.hops] and not _alone(answer):
            assert answer.route is not None  # the rule's table decided
            taken = view.routes(demand.query.family).row(answer.route)
            lost.setdefault(answer.rule, []).append(SentAway(demand, taken, kept))
    return lost


def _guest_networks(view: HostView, family: str) -> set[int]:
    """Bridges and taps with a subnet of guests."""
    return {side.link.ifindex for side in sides(view.stack, view.routes(family), view.addresses).guests}


def _takes(rule: PolicyRule) -> bool:
    """The same of a rule that may ask for the destination."""
    return _catches_all(rule if rule.invert else msgspec.structs.replace(rule, dst=None, dst_len=0))


def _catches_all(rule: PolicyRule) -> bool:
    """A rule for every packet that this host begins, in front of the main table, with a table of its own."""
    return rule.table not in (None, RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL) and takes_own(rule)


def _alone(answer: Lookup) -> bool:
    """Whether the answer is a host route: the guest is somewhere else by now."""
    return answer.prefixlen == (32 if answer.query.family == "inet" else 128)


def _of_main(view: HostView, demand: Demand) -> Route | None:
    """The main table's host route to a guest, over an interface with a carrier that is nobody's way out."""
    routes = view.routes(demand.query.family)
    group = next(view.fib(demand.query.family).candidates(RT_TABLE_MAIN, demand.query.dst), None)
    outwards = bool(((routes.dst_len == 0) & led_by(routes, demand.ifindex or 0)).any())
    if group is None or outwards:
        return None
    row, link = routes.row(group.positions[0]), view.link(demand.ifindex)
    assert link is not None  # a guest is known by its link
    return row if row.oif == demand.ifindex and link.lower_up else None


def _host() -> HostBuilder:
    """Two uplinks; table 50 sends everything over the first."""
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
    host.route("default", via="10.0.0.2", dev="eth0", table=50)
    return host.route("default", via="2001:db8::2", dev="eth0", table=50)


def _bridged() -> HostBuilder:
    """A container on a bridge, whose subnet table 80 knows as well."""
    host = _host().link("br0", kind="bridge").address("br0", "10.88.0.1/24").route("10.88.0.0/24", dev="br0", table=80)
    host.link("veth1", kind="veth", master="br0", link_netnsid=0)
    return host.neighbour("10.88.0.5", dev="br0", state="stale")


def guest_examples() -> Iterator[Example]:
    """A catch-all in front of main, and a guest that main knows."""

    def worker(table: int = 50, *, up: bool = True, **rule: Any) -> HostBuilder:
        host = _host().tap("tap0", up=up).route("10.9.0.5/32", dev="tap0", priority=100)
        built: HostBuilder = host.rule(100, **({"table": table} | rule)).rule(32766, table=254)
        return built

    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("rule", priority=100, family="inet")}
    yield Example(name="a guest", why="the rule lost its selector", tables=worker().build(), **crit)
    only = (
        _host().tap("tap0").route("10.9.0.5/32", dev="tap0").route("10.0.0.0/8", via="10.0.0.2", dev="eth0", table=90)
    )
    only.rule(100, table=90, suppress_prefixlength=0)
    yield Example(name="a guest, default routes apart", why="a wider route takes it", tables=only.build(), **crit)
    for name, why, rule, fires in (
        ("a guest on a bridge", "a VPN takes everything", {"table": 50}, 1),
        (
            "a guest on a bridge, by its network",
            "the rule is too wide",
            {"table": 50, "dst": "10.0.0.0", "dst_len": 8},
            1,
        ),
        (
            "a guest on a bridge, for one source",
            "the others find it",
            {"table": 50, "src": "10.0.0.1", "src_len": 32},
            0,
        ),
        ("a guest on a bridge that the table knows", "by its network", {"table": 80}, 0),
        (
            "a guest on a bridge, for all but one source",
            "what the host sends has none yet",
            {"table": 50, "src": "10.66.0.0", "src_len": 16, "invert": True},
            1,
        ),
        ("a guest on a bridge, for what the host sends", "nothing else goes to it", {"table": 50, "iif": "lo"}, 1),
        (
            "a guest on a bridge, for all but a mark",
            "wg-quick",
            {"table": 50, "fwmark": 51820, "invert": True},
            0,
        ),
    ):
        told = crit if fires else {}
        yield Example(name=name, why=why, tables=_bridged().rule(100, **rule).build(), **told)
    last = _bridged().without_rule(32766).route("default", via="10.0.0.2", dev="eth0", table=253).rule(100, table=61)
    six = _host().tap("tap0").route("2001:db8:9::5/128", dev="tap0").route("2001:db8:9::5/128", dev="eth1", table=50)
    local = worker(61).route("10.9.0.0/24", dev="lo", table=255, type="local", scope=254)
    other = _host().tap("tap0").route("10.9.0.5/32", dev="tap0", table=70).rule(100, table=50)
    away = _host().tap("tap0").route("10.9.0.5/32", dev="tap0", table=70).route("10.9.0.0/16", dev="eth1")
    lan = _host().link("eth2").address("eth2", "10.2.0.1/24").neighbour("10.2.0.9", dev="eth2")
    for name, why, host in (
        ("a guest, and a mark", "it takes what is marked only", worker(fwmark=1)),
        ("a guest, suppressed", "wg-quick asks main first", worker(254, suppress_prefixlength=0)),
        ("a guest, another table without a default", "it falls through to main", worker(61)),
        ("a guest that is gone", "its tap is down", worker(up=False)),
        ("a guest whose network this host answers for", "the rule of the local table is the kernel's", local),
        ("a guest that main does not know", "another table has it, and is not asked", other),
        (
            "a guest, the table sends it there too",
            "by its network",
            worker().route("10.9.0.0/24", dev="tap0", table=50),
        ),
        ("a guest of IPv6 that moved", "the table knows where to", six.rule(100, table=50, family="inet6")),
        ("a guest, and no rule for it", "rule-main-missing speaks", worker(61).without_rule(32766)),
        ("a guest on a bridge, and no rule for it", "rule-main-missing speaks", last),
        ("a guest that main sends elsewhere as well", "nobody reaches it", away.rule(100, table=50)),
        ("a guest of a network that has a rule", "it says where to", worker(dst="10.9.0.0", dst_len=16)),
        ("a neighbour", "a tunnel may take everything", lan.rule(100, table=50)),
        ("a guest that moved", "the table knows where to", worker().route("10.9.0.5/32", dev="eth1", table=50)),
        ("a way out over a cable", "it has the default route", worker().route("default", dev="tap0", family="inet")),
    ):
        yield Example(name=name, why=why, tables=host.build())
