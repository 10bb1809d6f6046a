"""What a packet meets on its way in, before and behind the routing decision: martians, source checks, forwarding.

Mirrors ip_route_input_slow() of net/ipv4/route.c, fib_validate_source() of net/ipv4/fib_frontend.c, ip6_rcv_core() of
net/ipv6/ip6_input.c and ip6_forward() of net/ipv6/ip6_output.c. What few expect:

- A source that is one of this host's own addresses is a martian also where rp_filter is off (unless accept_local).
- A loose filter acts as a strict one on an interface that has no IPv4 address.
- IPv4 forwarding is judged on the interface that the packet came by, IPv6 forwarding by "all".

Pure; ValueError for an address that is none.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from netdiag.index.lookup4 import untouched
from netdiag.index.packet import Lookup, Query
from netdiag.index.reversepath import LOOPBACK, STRICT
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_LOCAL, RTN_LOCAL
from netdiag.model.walk import Fate, Layer
from netdiag.path.host import PathHost
from netdiag.path.trail import End, Packet, Trail

KERNEL = 2
"""RTPROT_KERNEL."""


class Judgement(NamedTuple):
    """What a check says; ``fate`` None: the packet goes on."""

    fate: Fate | None
    layer: Layer
    thing: str
    text: str


class _Filter(NamedTuple):
    """The settings that count on an interface, and where the packet goes on to."""

    rpf: int
    accept_local: bool
    out: int | None


def _pass(layer: Layer, thing: str, text: str) -> Judgement:
    return Judgement(None, layer, thing, text)


def judged(said: Judgement | None, trail: Trail) -> End | None:
    """A step for what a check says; the end of the walk where it does not let the packet through."""
    if said is None:
        return None
    if said.fate is not None:
        return trail.stop(said.fate, said.layer, said.thing, said.text)
    trail.add(said.layer, "passed", said.thing, why=said.text)
    return None


def martian(host: PathHost, link: Link, packet: Packet) -> Judgement | None:
    """Addresses that must not arrive by an interface; None where there is nothing to say."""
    if packet.family == "inet6":
        return _martian6(host, link, packet)
    src, dst = IPv4Address(packet.src or "0.0.0.0"), IPv4Address(packet.dst)
    limited = dst == IPv4Address("255.255.255.255")
    if packet.src is not None and (src.is_multicast or src == IPv4Address("255.255.255.255")):
        return Judgement("dropped", "local", f"from {src}", "martian source: no address of a single host")
    if packet.src is not None and int(src) >> 24 == 0 and not (limited or not int(dst)):
        return Judgement("dropped", "local", f"from {src}", "martian source: 0.0.0.0/8 is nobody's address")
    if int(dst) >> 24 == 0 and int(dst):
        return Judgement("dropped", "local", f"to {dst}", "martian destination: 0.0.0.0/8 is nobody's address")
    if not link.loopback and (dst.is_loopback or (packet.src is not None and src.is_loopback)):
        which = f"to {dst}" if dst.is_loopback else f"from {src}"
        allowed = host.larger(link, "route_localnet")
        if not allowed:
            text = f"martian: loopback addresses do not arrive by {link.ifname} (route_localnet is off)"
            if allowed is None:
                return Judgement("unknown", "sysctl", which, "route_localnet was not read")
            return Judgement("dropped", "sysctl", which, text)
    return None


def _martian6(host: PathHost, link: Link, packet: Packet) -> Judgement | None:
    src, dst = (IPv6Address(packet.src) if packet.src else None), IPv6Address(packet.dst)
    if link.inet6_conf.get("disable_ipv6"):
        return Judgement("dropped", "sysctl", f"{link.ifname} disable_ipv6=1", f"IPv6 is off on {link.ifname}")
    if not link.inet6_conf and not host.gap("links"):
        return Judgement("dropped", "link", link.ifname, f"IPv6 does not run on {link.ifname} (mtu {link.mtu})")
    if src is not None and src.is_multicast:
        return Judgement("dropped", "local", f"from {src}", "the source is a multicast address")
    if not link.loopback and (dst.is_loopback or (src is not None and src.is_loopback)):
        return Judgement("dropped", "local", f"{src} > {dst}", "loopback addresses do not arrive by an interface")
    return None


def source_check(host: PathHost, link: Link, packet: Packet, out: int | None) -> Judgement | None:
    """fib_validate_source(): whether IPv4 accepts the packet's source on this interface; None: it is not asked.

    ``out``: the interface that the packet will be forwarded to; None: it is for this host.
    """
    if packet.family != "inet" or link.loopback:
        return None
    rpf, accept_local = host.larger(link, "rp_filter"), host.larger(link, "accept_local")
    thing = f"rp_filter {_words(rpf)} on {link.ifname}"
    if rpf is None or accept_local is None:
        return Judgement("unknown", "sysctl", f"rp_filter on {link.ifname}", host.gap("sysctls") or "not read")
    if packet.src is None:
        return _pass("sysctl", thing, "no source was given: not judged") if rpf else None
    if not rpf and (out != link.ifindex or not host.larger(link, "send_redirects")):
        if accept_local:
            return None
        if not _full_check(host):
            own = host.index.local.owners(packet.src)
            return _own(link, packet.src) if own else None
    if host.stack.vrf(link.ifindex) is not None:
        return Judgement("unknown", "sysctl", thing, "source checks in a VRF are not known to netdiag")
    return _validate(host, link, packet, _Filter(rpf, bool(accept_local), out))


def _full_check(host: PathHost) -> bool:
    """fib_has_custom_local_routes or fib4_has_custom_rules(): then the tables are asked even without a filter."""
    routes = host.tables.routes
    rules = tuple(rule for rule in host.tables.rules if rule.family == "inet")
    local = (routes.table == RT_TABLE_LOCAL) & (routes.type == RTN_LOCAL) & (routes.protocol != KERNEL)
    return bool(local.any()) or not untouched(rules)


def _own(link: Link, src: str) -> Judgement:
    text = f"martian source: {src} is this host's own address (accept_local is off)"
    return Judgement("dropped", "sysctl", f"accept_local=0 on {link.ifname}", text)


def _validate(host: PathHost, link: Link, packet: Packet, asked: _Filter) -> Judgement | None:
    """__fib_validate_source(), for each answer that the tables may give."""
    valid_mark = host.larger(link, "src_valid_mark")
    if packet.mark and valid_mark is None:
        return Judgement("unknown", "sysctl", f"src_valid_mark on {link.ifname}", "not read")
    way = host.routing.lookup(
        Query(
            family="inet",
            dst=packet.src or "",
            src=packet.dst,
            iif=asked.out or LOOPBACK,
            mark=packet.mark if valid_mark else 0,
            tos=packet.tos,
            ip_proto=packet.ip_proto,
            sport=packet.dport,
            dport=packet.sport,
        )
    )
    said = [_by_way(host, link, packet.src or "", each, asked) for each in (way, *way.alternatives)]
    if len({each.fate if each is not None else None for each in said}) > 1:
        return Judgement("unknown", "sysctl", f"rp_filter on {link.ifname}", "; ".join(way.notes))
    return said[0]


def _by_way(host: PathHost, link: Link, src: str, way: Lookup, asked: _Filter) -> Judgement | None:
    rpf = asked.rpf
    thing = f"rp_filter {_words(rpf)} on {link.ifname}"
    if way.type == "local" and not way.errno and not asked.accept_local:
        return _own(link, src)
    if not way.errno and way.type not in ("unicast", "local"):
        return Judgement("dropped", "sysctl", thing, f"martian source: the way back to {src} is of type {way.type}")
    devices = sorted({host.ifname(hop.oif) for hop in (*way.hops, *way.left_out) if hop.oif})
    back = f"the way back to {src} " + (
        f"leaves by {', '.join(devices)}" if devices and not way.errno else "is lacking"
    )
    if not way.errno:
        named = {hop.oif for hop in (*way.hops, *way.left_out)}
        if way.route is not None:
            named |= {hop.oif for hop in host.tables.routes.row(way.route).hops}
        if link.ifindex in named:
            return _pass("sysctl", thing, back) if rpf else None
        addressed = any(row.ifindex == link.ifindex and row.family == "inet" for row in host.tables.addresses)
        if addressed and rpf != STRICT:
            return _pass("sysctl", thing, f"{back}: any way back will do") if rpf else None
        if not addressed and rpf:
            back += f", and {link.ifname} has no IPv4 address"
    return Judgement("dropped", "sysctl", thing, f"{_words(rpf)} rp_filter on {link.ifname}: {back}") if rpf else None


def _words(rpf: int | None) -> str:
    return {None: "unread", 0: "off", 1: "strict"}.get(rpf, "loose")


def forwarding(host: PathHost, link: Link, packet: Packet) -> Judgement:
    """Whether what came by this interface may go on by another."""
    if packet.family == "inet":
        value = link.inet_conf.get("forwarding")
        thing = f"net.ipv4.conf.{link.ifname}.forwarding"
    else:
        value = host.everywhere("forwarding", "inet6")
        thing = "net.ipv6.conf.all.forwarding"
        forced = link.inet6_conf.get("force_forwarding")
        if forced and not value:
            value, thing = forced, f"net.ipv6.conf.{link.ifname}.force_forwarding"
    if value is None:
        return Judgement("unknown", "sysctl", thing, host.gap("sysctls") or "not read")
    if not value:
        return Judgement("dropped", "sysctl", f"{thing}=0", f"this host does not forward: {thing} is 0")
    if packet.family == "inet6" and packet.src is not None:
        src = IPv6Address(packet.src)
        if src.is_link_local or src.is_loopback or not int(src):
            return Judgement("refused", "local", f"from {src}", "such a source does not leave its link")
    return _pass("sysctl", f"{thing}={value}", "forwarded")


def many(address: str) -> bool:
    """Multicast, or IPv4's limited broadcast."""
    parsed = ip_address(address)
    return parsed.is_multicast or address == "255.255.255.255"
