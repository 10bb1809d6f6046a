"""What else speaks for or against the length of an address's prefix: the intent, a baseline, other interfaces.

Pure; asks for links, addresses and neighbours; ValueError for an address that is none.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.finding import Severity, Subject
from netdiag.model.intent import IntendedAddress
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import same_link
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example

ANSWERED = ("reachable", "stale", "delay", "probe")
SILENT = ("failed", "incomplete")


def otherwise_meant(view: HostView, row: Address, link: Link) -> tuple[str, int, Severity] | None:
    """The length that the intent gives the address on this interface, where it has another one; and why it is known."""
    for want in view.intent.address or ():
        length = want.prefixlen if (want.ifname, want.address) == (link.ifname, row.local) else None
        if length is not None and length != row.prefixlen:
            return f"the intent says /{length}", length, "warning"
    return None


def changed(view: HostView, row: Address, link: Link) -> tuple[str, int, Severity] | None:
    """The length that the only address of its family had at the time of the baseline. It matters where a neighbour that
    was there is in no prefix any more, or who is asked for in what was added does not answer; else it may be meant."""
    old = view.baseline
    if old is None or not (old.read_whole("addresses") and old.read_whole("neighbours")):
        return None
    if same_link(old, view, link.ifname) is None:
        return None
    before = old.stack.by_name[link.ifname].ifindex
    then = _globals(old, before, row.family)
    if len(then) != 1 or then[0].local != row.local or len(_globals(view, link.ifindex, row.family)) != 1:
        return None
    length = then[0].prefixlen
    if length == row.prefixlen:
        return None
    was, now = (ipaddress.ip_network(f"{row.local}/{bits}", strict=False) for bits in (length, row.prefixlen))
    words = f"it had /{length} at the time of the baseline, and"
    for near in old.neighbours.rows():
        at = ipaddress.ip_address(near.dst)
        if near.ifindex == before and near.state in ANSWERED and at in was and at not in now:
            return f"{words} its neighbour {near.dst} is outside now", length, "warning"
    for near in view.neighbours.rows():
        at = ipaddress.ip_address(near.dst)
        if near.ifindex == link.ifindex and near.state in SILENT and at in now and at not in was:
            return f"{words} {near.dst} is looked for on the wire now and does not answer", length, "warning"
    return f"{words} nobody is known to miss it", length, "info"


def emptied(view: HostView, row: Address) -> list[Subject]:
    """Rules that lead to tables without routes, where one of them is for packets from this address: with its subnet
    went the routes by the gateways in it, in all tables."""
    rules = [rule for rule in view.rules if rule.family == row.family]
    own = {rule.table for rule in rules if rule.src == row.local}
    empty = {table for table in own if table is not None and not len(view.fib(row.family).positions(table))}
    return [rule_subject(rule, view.rules) for rule in rules if rule.table in empty]


def _globals(view: HostView, ifindex: int, family: str) -> list[Address]:
    return [one for one in view.addresses if (one.ifindex, one.family, one.scope) == (ifindex, family, 0)]


def subnet_below(view: HostView, row: Address, link: Link) -> bool:
    """Whether the interface below a macvlan or ipvlan has the subnet: answers leave there."""
    return (
        link.kind in ("macvlan", "ipvlan")
        and link.link_netnsid is None
        and any(
            other.ifindex == link.link
            and other.prefixlen < row.prefixlen
            and ipaddress.ip_address(row.local) in ipaddress.ip_network(f"{other.local}/{other.prefixlen}", False)
            for other in view.addresses
        )
    )


def shared_with(view: HostView, row: Address) -> str | None:
    """Another interface with the same single address: an unnumbered host side, where each guest has a route."""
    others = [one for one in view.addresses if one.local == row.local and one.ifindex != row.ifindex]
    return min((view.ifname(one.ifindex) for one in others if one.prefixlen == row.prefixlen), default=None)


def changed_examples(host: Callable[..., HostBuilder]) -> Iterator[Example]:
    """Of addr-wrong-prefixlen. ``host``: one with the address 10.0.0.5 of that length on eth0."""

    def case(name: str, why: str, now: HostBuilder, then: HostBuilder | None = None, **more: Any) -> Example:
        earlier = then.build() if then else None
        return Example(name=f"another length: {name}", why=why, tables=now.build(), baseline=earlier, **more)

    info: dict[str, Any] = {"fires": 1, "severity": "info", "says": ("nobody is known to miss it",)}

    def near(prefix: str, dst: str, state: str = "stale", dev: str = "eth0") -> HostBuilder:
        return host(prefix).link("eth1").neighbour(dst, dev=dev, state=state)

    loud: dict[str, Any] = {"fires": 1, "severity": "warning"}
    for length, fires in ((24, 1), (25, 0), (None, 0)):
        meant = host("10.0.0.5/25").intend(
            address=(IntendedAddress(ifname="eth0", address="10.0.0.5", prefixlen=length),)
        )
        more = loud | {"says": ("the intent says /24", "ip address add 10.0.0.5/24 dev eth0")} if fires else {}
        yield case(f"the intent says {length}", "somebody wrote it down", meant, **more)
    away = host("10.0.0.5/25").intend(address=(IntendedAddress(ifname="eth1", address="10.0.0.5", prefixlen=24),))
    yield case("the intent of another interface", "it is not there", away)
    says = ("it had /24 at the time of the baseline", "its neighbour 10.0.0.200 is outside now")
    yield case(
        "narrower",
        "who was on the wire is not",
        host("10.0.0.5/25"),
        near("10.0.0.5/24", "10.0.0.200"),
        **loud,
        says=says,
    )
    for family, alone, rule in (("inet", "10.0.0.5/32", "10.0.0.5"), ("inet6", "2001:db8::5/128", "2001:db8::5")):
        for filled, fires in ((False, 1), (True, 0)):
            only = HostBuilder().link("eth0").address("eth0", alone).link("eth1").address("eth1", "10.1.0.1/24")
            only.rule(100, family=family, src=rule, src_len=int(alone.partition("/")[2]), table=300)
            only = only.route("default", via=None, dev="eth1", table=300, family=family) if filled else only
            name = f"alone, the table of its rule {'has' if filled else 'has no'} route, {family}"
            yield case(name, "there was a gateway in its subnet", only, **(loud if fires else {}))
    refusing = HostBuilder().link("eth0").address("eth0", "10.0.0.5/32").link("eth1").address("eth1", "10.1.0.1/24")
    refusing.rule(100, src="10.0.0.5", src_len=32, action="prohibit")
    yield case("alone, a rule refuses its packets", "it has no table", refusing)
    for name, why, then in (
        ("nobody was there", "it may be meant", host("10.0.0.5/24")),
        ("he is inside still", "he is reached", near("10.0.0.5/24", "10.0.0.9")),
        ("he never was inside", "he is reached on link", near("10.0.0.5/24", "203.0.113.1")),
        ("he was not there either", "it did not answer", near("10.0.0.5/24", "10.0.0.200", "failed")),
        ("he was on another card", "he is no neighbour", near("10.0.0.5/24", "10.0.0.200", dev="eth1")),
        ("another address", "that one had it", near("10.0.0.6/24", "10.0.0.200")),
        ("one of two addresses", "which one was it?", near("10.0.0.5/24", "10.0.0.200").address("eth0", "10.9.0.1/24")),
    ):
        single = "two" not in name and "another address" not in name
        yield case(f"narrower, {name}", why, host("10.0.0.5/25"), then, **(info if single else {}))
    both = host("10.0.0.5/25").address("eth0", "10.9.0.1/24")
    yield case("narrower, and a second address", "he may be reached", both, near("10.0.0.5/24", "10.0.0.200"))
    for table in ("addresses", "neighbours"):
        late = case(
            f"narrower, {table} not read then",
            "it is not known",
            host("10.0.0.5/25"),
            near("10.0.0.5/24", "10.0.0.200"),
            late_then=(table,),
        )
        yield late
    says = ("it had /24 at the time of the baseline", "10.0.7.9 is looked for on the wire now")
    yield case(
        "wider",
        "he is behind the gateway",
        near("10.0.0.5/16", "10.0.7.9", "failed"),
        host("10.0.0.5/24"),
        **loud,
        says=says,
    )
    for name, why, now in (
        ("nobody asked", "it may be meant", host("10.0.0.5/16")),
        ("he is outside still", "he is on link", near("10.0.0.5/16", "203.0.113.1", "failed")),
        ("he answers", "the wire is that wide", near("10.0.0.5/16", "10.0.7.9", "reachable")),
        ("he was in it before", "he is off", near("10.0.0.5/16", "10.0.0.9", "failed")),
        ("on another card", "he is no neighbour", near("10.0.0.5/16", "10.0.7.9", "failed", "eth1")),
    ):
        yield case(f"wider, {name}", why, now, host("10.0.0.5/24"), **info)
    yield case("the same", "as it was", host("10.0.0.5/24"), near("10.0.0.5/24", "10.0.0.200"))
