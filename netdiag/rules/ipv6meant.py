"""What shows that IPv6 was meant to run on an interface that has none: shared by the rules that say why it has none.

Tables that a rule only consults (WireGuard, BIRD) may be missing; their signs are then missing as well. Pure.
"""

from collections.abc import Iterator
from ipaddress import IPv6Network
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.guests import faces_guest, sides, switched
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.distinct import distinct
from netdiag.model.finding import Confidence
from netdiag.model.link import Link
from netdiag.model.policyrule import PolicyRule
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST
from netdiag.rules.bgpsessions import Session, on_subnet, sessions
from netdiag.rules.bpfplaces import family_of
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example
from netdiag.rules.waysout import default_oifs

CONSULTS = ("wireguard", "bird", "baseline", "intent.address", "nexthops")
WORLD = IPv6Network("2000::/3")
"""Addresses that are routed in the world (RFC 4291 section 2.4)."""
IPV6_MIN_MTU = 1280
"""Bytes; RFC 8200 section 5, include/uapi/linux/ipv6.h."""
ARPHRD_ETHER = 1
PLAIN = frozenset({None, "veth", "bond", "team", "vlan", "macvlan", "ipvlan"})
"""Kinds of interface that have a small MTU only if somebody gave it to them. Overlays have one by their nature."""


class Reason(NamedTuple):
    """Why IPv6 was meant to run on an interface."""

    why: str
    evidence: tuple[str, object, str]
    confidence: Confidence = "likely"
    mtu: int = IPV6_MIN_MTU
    """Bytes that the link beyond carries."""


ALIKE_SOURCE = "RTM_GETADDR IFA_ADDRESS"
"""Source of the fact that others of the same make have IPv6."""
ALIKE = 2
"""So many interfaces of the same make must have IPv6."""


def make(link: Link) -> tuple[str | None, str]:
    """Kind, and name without its numbers: ``tap12`` and ``tap7`` are alike."""
    return link.kind, family_of(link.ifname)


def needs(view: HostView, link: Link, with_ipv6: set[int]) -> tuple[str, str, bool] | None:
    """What shows that IPv6 was meant: words, the source of the fact, and whether it is certain."""
    for device in view.wireguard.devices:
        prefixes = (
            [p for peer in device.peers for p in peer.allowed_ips if ":" in p] if device.ifname == link.ifname else []
        )
        own = [p for p in prefixes if not p.endswith("/0")]
        if own:
            return f"WireGuard peers have {own[0]} behind it", f"WG_CMD_GET_DEVICE {link.ifname} allowed ips", True
    for session in sessions(view):
        if session.protocol.neighbor_ifname == link.ifname and not session.switched_off:
            return f"BGP session {session.name} runs over it", session.source, True
    had = _had(view, link)
    if had is not None:
        return *had, True
    lost = bereft(view, link)
    if lost:
        return f"BGP session {lost[0].name} lost its subnet with it", lost[0].source, False
    ruled = _ruled(view, link)
    if ruled is not None:
        return *ruled, False
    alike = [one for one in view.links if one.up and one.ifindex != link.ifindex and make(one) == make(link)]
    having = sorted(one.ifname for one in alike if one.ifindex in with_ipv6)
    if link.ifname != make(link)[1] and len(having) >= ALIKE and 2 * len(having) > len(alike):
        return f"{len(having)} interfaces like it have IPv6 ({having[0]}, ...)", ALIKE_SOURCE, False
    return _as_other_guests(view, link) or _way_of_guests(view, link)


def _way_of_guests(view: HostView, link: Link) -> tuple[str, str, bool] | None:
    """The only way out of a host that forwards IPv6 for guests with addresses of the world, and has no default route of
    IPv6 any more. (Guests with private addresses may be there for each other.)"""
    if view.sysctl_int("net.ipv6.conf.all.forwarding") != 1 or default_oifs(view, "inet") != {link.ifindex}:
        return None
    if default_oifs(view, "inet6") is not None:
        return None
    for guest in sides(view.stack, view.routes("inet6"), view.addresses).guests:
        if guest.kind != "subnet" and IPv6Network(guest.prefix, strict=False).subnet_of(WORLD):
            words = f"guests behind {guest.link.ifname} have {guest.prefix} and no other way out"
            return words, "RTM_GETROUTE RTA_DST, RTA_OIF", False
    return None


def _as_other_guests(view: HostView, link: Link) -> tuple[str, str, bool] | None:
    """A guest with an address of its own of IPv4 alone, where most other guests behind such interfaces have one of each
    family: whoever gives them their addresses gives both."""
    if not faces_guest(link):
        return None
    with_ipv4, with_ipv6 = hosts_behind(view, "inet"), hosts_behind(view, "inet6")
    guests = [one for one in view.links if one.up and one.ifindex in with_ipv4 and one.kind == link.kind]
    having = sorted(one.ifname for one in guests if one.ifindex in with_ipv6)
    if link.ifindex not in with_ipv4 or link.ifindex in with_ipv6 or 2 * len(having) <= len(guests) - 1:
        return None
    words = f"its guest has an address of IPv4, and that behind {having[0]} has one of each family"
    return words, "RTM_GETROUTE RTA_DST", False


def _had(view: HostView, link: Link) -> tuple[str, str] | None:
    """An IPv6 address that the intent names for the interface, or that it had at the time of the baseline."""
    for want in view.intent.address or ():
        if want.ifname == link.ifname and ":" in want.address:
            return f"it is to have {want.address}", "intent [[address]]"
    old = view.baseline
    if old is None or not old.read_whole("addresses") or same_link(old, view, link.ifname) is None:
        return None
    for row in old.addresses:
        if row.family == "inet6" and row.scope == 0 and old.ifname(row.ifindex) == link.ifname:
            when = f"at the time of {since(old)[6:]}"
            return f"it had {row.local} {when}", f"RTM_GETADDR IFA_LOCAL, {when}"
    return None


def bereft(view: HostView, link: Link) -> list[Session]:
    """IPv6 sessions to a neighbour on a subnet that no interface has any more, where it was this one's: a session of
    IPv4 to the same AS goes over it, or no other card with an IPv4 address is without IPv6. (Engines switch it off on
    bridges of guests.)"""
    near = {row.ifindex for row in view.addresses}
    off = [one for one in view.links if one.up and _off(one) and one.ifindex in near and not one.loopback]
    if link.kind == "bridge":
        return []
    found, every = list[Session](), list(sessions(view))
    for session in every:
        row, address = session.protocol, session.address
        direct = row.neighbor_as != row.local_as and "multihop" not in (row.session or "")
        if address is None or address.version != 6 or session.up or session.switched_off or not direct:
            continue
        mates = [one for one in every if one.protocol.neighbor_as == row.neighbor_as]
        beside = any(link.ifname in on_subnet(view, mate) for mate in mates)
        alone = [one for one in off if one.kind in PLAIN] == [link]
        if not on_subnet(view, session) and (beside or alone):
            found.append(session)
    return found


def _off(link: Link) -> bool:
    """Switched off, or taken off for an MTU that is too small."""
    return link.inet6_conf.get("disable_ipv6") == 1 or link.mtu < IPV6_MIN_MTU


def _ruled(view: HostView, link: Link) -> tuple[str, str] | None:
    """What an IPv6 policy rule for this interface says: words, and the source of the fact."""
    for rule in rules_for(view, link):
        if link.ifname in (rule.iif, rule.oif):
            return f"IPv6 policy rule {rule.priority} names it", "RTM_GETRULE inet6 FRA_IIFNAME, FRA_OIFNAME"
        words = f"IPv6 policy rule {rule.priority} is for {rule.src}, which no interface has, and table {rule.table}"
        return f"{words} has routes over it for IPv4 alone", "RTM_GETRULE inet6 FRA_SRC, RTM_GETROUTE RTA_TABLE"
    return None


def rules_for(view: HostView, link: Link) -> Iterator[PolicyRule]:
    """IPv6 policy rules for this interface: they name it, or lead packets from an address that this host has no more
    into a table without IPv6 routes, whose IPv4 routes leave by this interface."""
    v4 = view.routes("inet")
    for rule in view.rules:
        if rule.family != "inet6":
            continue
        if link.ifname in (rule.iif, rule.oif):
            yield rule
        elif rule.src is not None and rule.src_len == 128 and rule.table and not view.local.owners(rule.src):
            here = (v4.table == rule.table) & led_by(v4, link.ifindex) & (v4.type == RTN_UNICAST)
            if here.any() and not len(view.fib("inet6").positions(rule.table)):
                yield rule


def emptied(view: HostView, link: Link) -> Iterator[PolicyRule]:
    """IPv6 policy rules whose table has no IPv6 route, while its IPv4 routes leave by this interface."""
    v4 = view.routes("inet")
    here = led_by(v4, link.ifindex) & (v4.type == RTN_UNICAST) & (v4.table != RT_TABLE_MAIN)
    tables = set(distinct(v4.table[here]).tolist())
    for rule in view.rules:
        if rule.family != "inet6" or rule.table is None or rule.table not in tables:
            continue
        if not len(view.fib("inet6").positions(rule.table)):
            yield rule


def having_ipv6(view: HostView) -> set[int]:
    """Interfaces with a global IPv6 address, or with a host route to a guest."""
    found = {row.ifindex for row in view.addresses if row.family == "inet6" and row.scope == 0}
    return found | hosts_behind(view, "inet6")


def hosts_behind(view: HostView, family: str) -> set[int]:
    """Interfaces that a host route leads to."""
    routes, bits = view.routes(family), 32 if family == "inet" else 128
    return {int(oif) for oif in routes.oif[(routes.dst_len == bits) & (routes.type == RTN_UNICAST)]}


def reason(view: HostView, link: Link) -> Reason | None:
    """The best sign that IPv6 belongs on the interface; None where there is none."""
    named = _named_by_rule(view, link) or _needed(view, link)
    return named or _wider_beyond(view, link) or _host_uses_ipv6(view, link)


def _needed(view: HostView, link: Link) -> Reason | None:
    found = needs(view, link, having_ipv6(view))
    if found is None:
        return None
    words, source, certain = found
    return Reason(f"though {words}", ("what needs it", words, source), "certain" if certain else "likely")


def _named_by_rule(view: HostView, link: Link) -> Reason | None:
    for rule in view.rules:
        if rule.family == "inet6" and link.ifname in (rule.iif, rule.oif):
            fact = (f"IPv6 rule {rule.priority} names", link.ifname, "RTM_GETRULE inet6 FRA_IIFNAME, FRA_OIFNAME")
            return Reason(f"though IPv6 policy rule {rule.priority} names it", fact, "certain")
    return None


def _wider_beyond(view: HostView, link: Link) -> Reason | None:
    """The far end, the device below or a bridge's port carries what IPv6 needs: the size is not the link's nature."""
    far = view.stack.veth_peer(link.ifindex)
    if far is not None and (far.mtu >= IPV6_MIN_MTU if far.slave_kind == "bridge" else _ipv6_on(far)):
        return _wider(f"though its peer {far.ifname} has {far.mtu}", far, "peer ")
    ports = [port for port in view.stack.ports(link.ifindex) if port.mtu >= IPV6_MIN_MTU and port.up]
    if link.kind == "bridge" and ports:
        return _wider(f"though its port {ports[0].ifname} has {ports[0].mtu}", ports[0], "port ")
    lower = view.stack.lower(link.ifindex)
    if link.kind in PLAIN and lower is not None and _ipv6_on(lower):
        return _wider(f"though {lower.ifname} below it has {lower.mtu}", lower, "")
    return None


def _wider(why: str, other: Link, role: str) -> Reason:
    return Reason(why, (f"{role}{other.ifname} mtu", other.mtu, f"RTM_GETLINK {other.ifname} IFLA_MTU"), mtu=other.mtu)


def _ipv6_on(link: Link) -> bool:
    """IPv6 runs there, which says that its MTU is large enough."""
    return link.inet6_conf.get("disable_ipv6") == 0


def _host_uses_ipv6(view: HostView, link: Link) -> Reason | None:
    """Some interface has a global IPv6 address, this one none. For the way out that says something, else little."""
    used = [row for row in view.addresses if row.family == "inet6" and row.scope == 0]
    alone = link.kind in ("bridge", "tun") and not view.stack.ports(link.ifindex)
    plain = link.kind in PLAIN or switched(view.stack, link)
    if not used or link.type != ARPHRD_ETHER or not (plain or alone):
        return None
    where = view.ifname(used[0].ifindex)
    fact = (f"IPv6 address of {where}", used[0].local, f"RTM_GETADDR {where} IFA_LOCAL")
    if plain and _default_route(view, link):
        return Reason("though it is the way out of a host that uses IPv6", fact)
    if any(row.ifindex == link.ifindex for row in view.addresses):
        return Reason("and this host uses IPv6 elsewhere", fact, "possible")
    return None


def _default_route(view: HostView, link: Link) -> bool:
    routes = view.routes("inet")
    chosen = np.flatnonzero((routes.dst_len == 0) & (routes.type == RTN_UNICAST))
    return any(hop.oif == link.ifindex for row in view.route_rows("inet", chosen.tolist()) for hop in row.hops)


def way_examples() -> Iterator[Example]:
    """Of ipv6-disabled-iface: the way out of guests."""

    def case(name: str, why: str, fires: int = 0, *, guest: str = "2001:db8:1::5/128", **more: Any) -> Example:
        host = HostBuilder().link("eth0", inet6_conf={"disable_ipv6": 1}).address("eth0", "192.0.2.2/24")
        host.route("default", via="192.0.2.1", dev="eth0").sysctl("net.ipv6.conf.all.disable_ipv6", 0)
        host.sysctl("net.ipv6.conf.default.disable_ipv6", 0)
        host.sysctl("net.ipv6.conf.all.forwarding", more.get("forwarding", 1))
        host.tap("tap0").route(guest, dev="tap0").link("eth1").address("eth1", "203.0.113.2/24")
        for route in more.get("routes", ()):
            host.route("default", **route)
        told: dict[str, Any] = {"severity": "warning", "confidence": "likely"} if fires else {}
        says = (f"guests behind tap0 have {guest} and no other way out",) if fires else ()
        name = f"the way out: {name}"
        return Example(name=name, why=why, tables=host.build(), fires=fires, says=says, **told)

    yield case("of guests", "a line in sysctl.d for the card", 1)
    yield case("of guests with private addresses", "they talk to each other", guest="fd00:1::5/128")
    yield case("of a host that forwards no IPv6", "its guests go nowhere", forwarding=0)
    six = {"via": "2001:db8:f::1", "dev": "eth1"}
    yield case("another card has the default route of IPv6", "that is the way", routes=(six,))
    four = {"via": "203.0.113.1", "dev": "eth1", "priority": 9}
    yield case("one of two", "either may be for IPv4 alone", routes=(four,))
