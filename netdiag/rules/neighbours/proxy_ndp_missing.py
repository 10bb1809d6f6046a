"""What it checks
  Guests have addresses of the uplink's own IPv6 prefix, this host answers for some of them on the uplink (proxy_ndp
  with an entry each), and a guest with a route has no such entry.

Why it matters
  The router asks the segment for each address of an on-link prefix. For the guest that was left out nobody answers: it
  can send, and no answer reaches it from outside, while its neighbours and the host reach it well.

Confirm
  ip -6 neigh show proxy dev UPLINK
  ip -6 route get ADDRESS
  sysctl net.ipv6.conf.UPLINK.proxy_ndp

Fix
  ip -6 neigh add proxy ADDRESS dev UPLINK; it answers for that address alone. Better have the block routed to the
  host, then no entry is needed.

Not flagged
  Guests outside the uplink's prefix: their block is routed. Hosts without any entry: the block is routed, or a daemon
  (ndppd) answers; then it is an info. Hosts with proxy_ndp off: the entries would do nothing, and neither do they here.
  Link-local addresses, and guests whose tap nobody holds.

References
  net/ipv6/ndisc.c ndisc_recv_ns(); net/core/neighbour.c pneigh_lookup(); RFC 4861 section 7.2.8
"""

import ipaddress
from collections.abc import Iterator

import numpy as np

from netdiag.index.subnets import connected
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.route import RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="proxy-ndp-missing",
    title="a guest of the uplink's own prefix is not answered for",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "sysctls", "neighbours"),
)
LOOKED_AT = 5000
GUEST_KINDS = ("tun", "veth", "bridge", "macvtap")


def check(view: HostView) -> Iterator[Draft]:
    uplinks = default_oifs(view, "inet6") or set()
    for subnet in connected(view, "inet6"):
        link = subnet.link
        if link.ifindex not in uplinks or not view.sysctl_int(f"net.ipv6.conf.{link.ifname}.proxy_ndp"):
            continue  # "all" is copied to every interface when it is written, and not asked (net/ipv6/ndisc.c)
        network = ipaddress.IPv6Network(str(subnet.network))
        known = _answered(view, link)
        guests = [route for route in _guests(view, link) if ipaddress.IPv6Network(route.dst).subnet_of(network)]
        left_out = [route for route in guests if route.dst.partition("/")[0] not in known]
        siblings = len(guests) - len(left_out)
        for route in left_out if siblings or not known else ():
            if siblings or route is left_out[0]:
                yield _finding(view, link, route, siblings)


def _answered(view: HostView, link: Link) -> set[str]:
    rows = (view.neighbours.flags & NTF_PROXY != 0) & (view.neighbours.ifindex == link.ifindex)
    rows &= view.neighbours.family == 10
    return {row.dst for row in view.neighbours.rows(np.flatnonzero(rows))}


def _guests(view: HostView, uplink: Link) -> list[Route]:
    """Routes to single addresses by an interface towards guests that is alive."""
    table = view.routes("inet6")
    rows = (table.type == RTN_UNICAST) & (table.dst_len == 128) & (table.oif != uplink.ifindex)
    found = []
    for route in view.route_rows("inet6", np.flatnonzero(rows)[:LOOKED_AT].tolist()):
        link = view.link(route.oif or 0)
        if link is not None and link.kind in GUEST_KINDS and link.up and link.carrier is not False:
            found.append(route)
    return sorted(found, key=lambda route: ipaddress.IPv6Network(route.dst))


def _finding(view: HostView, link: Link, route: Route, siblings: int) -> Draft:
    name, address = link.ifname, route.dst.partition("/")[0]
    others = f"while it answers for {siblings} others" if siblings else "and it answers for no guest at all"
    return RULE.found(
        subject=subject("neighbour", dst=address, ifname=name),
        severity="critical" if siblings else "info",
        confidence="certain" if siblings else "possible",
        message=f"the guest {address} on {view.ifname(route.oif or 0)} is of {name}'s own prefix, but this host does "
        f"not answer for it on {name}, {others}: it is not reached from outside",
        evidence=(
            (f"route to {address}", f"dev {view.ifname(route.oif or 0)}", "RTM_GETROUTE"),
            (f"proxy entry for {address} on {name}", "none", f"RTM_GETNEIGH {name} NTF_PROXY"),
            (f"net.ipv6.conf.{name}.proxy_ndp", "1", f"RTM_GETLINK {name} IFLA_INET6_CONF"),
        ),
        confirm=(
            f"sysctl {quoted(f'net/ipv6/conf/{name}/proxy_ndp')}; ip -6 neigh show proxy dev {quoted(name)}",
            f"ip -6 route get {address}",
        ),
        fix=f"ip -6 neigh add proxy {address} dev {quoted(name)}",
        touches=(
            subject("link", ifname=name),
            subject("tap", ifname=view.ifname(route.oif or 0)),
            subject("link", ifname=view.ifname(route.oif or 0)),
        ),
    )


def _edge(*, entry: bool = True, proxy_ndp: int = 1) -> HostBuilder:
    host = HostBuilder().link("eth0", inet6_conf={"proxy_ndp": proxy_ndp, "forwarding": 1})
    host.address("eth0", "2001:db8::2/64").route("default", via="fe80::1", dev="eth0").tap("tap0").tap("tap1")
    host.route("2001:db8::5/128", dev="tap0").route("2001:db8::6/128", dev="tap1")
    return host.neighbour("2001:db8::5", dev="eth0", state="none", flags=NTF_PROXY) if entry else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("neighbour", dst="2001:db8::6", ifname="eth0")
    told: dict[str, object] = {"subject": about, "severity": "critical", "confidence": "certain"}
    yield _case("one left out", "its sibling has an entry", _edge(), 1, **told)
    asked = _edge().neighbour("2001:db8::6", dev="eth0", state="failed")
    yield _case("asked for on the uplink", "that is no entry to answer by", asked, 1, **told)
    cable = _edge().link("veth3", kind="veth").route("2001:db8::7/128", dev="veth3")
    yield _case("a container as well", "each is its own", cable, 2)
    yield _case("none at all", "the block may be routed, or ndppd answers", _edge(entry=False), 1, severity="info",
                subject={"dst": "2001:db8::5"})  # fmt: skip
    whole = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("all answered for", "the healthy host", whole)
    yield _case("proxy_ndp off", "nothing is answered for", _edge(proxy_ndp=0))
    outside = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("outside the prefix", "that block is routed", outside.route("2001:db8:1::9/128", dev="tap1"))
    stopped = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    stopped.tap("tap2", holder=None).route("2001:db8::8/128", dev="tap2")
    yield _case("nobody holds the tap", "no guest is there", stopped)
    wire = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("a router behind a real link", "no guest", wire.link("eth1").route("2001:db8::9/128", dev="eth1"))
    legs = whole.tap("tap3").tap("tap4")
    legs.route("2001:db8::9/128", hops=[legs.hop("tap3"), legs.hop("tap4")])
    yield _case("a guest by two ways", "which one is it?", legs)
    down = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    down.tap("tap2", up=False).route("2001:db8::8/128", dev="tap2")
    yield _case("tap down", "tap-down-vmm-eio speaks", down)
    inner = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    inner.link("eth1", inet6_conf={"proxy_ndp": 1}).address("eth1", "2001:db8:5::1/64")
    yield _case("an inner interface", "no default route goes there", inner.route("2001:db8:5::9/128", dev="tap0"))
    lost = _edge().without_routes(table=254, family="inet6")
    lost.route("2001:db8::/64", dev="eth0", protocol=2).route("2001:db8::6/128", dev="tap1")
    yield _case("no way out", "route-default-missing speaks", lost)
