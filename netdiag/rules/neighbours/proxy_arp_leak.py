"""What it checks
  An uplink answers for addresses that are not behind this host: proxy_arp is on for an interface with a default route
  (where there is none at all, with a gateway behind it) while IPv4 is forwarded, and routes of whole networks lead
  out of other interfaces; or a proxy entry stands on an interface by which the host itself would reach that address.

Why it matters
  With proxy_arp the host answers every ARP request for an address to which it has a route by another interface: the
  hosts of the segment send it what is meant for others. A proxy entry for an address that is on the same side
  takes its traffic in and sends it back out, or nowhere.

Confirm
  sysctl net.ipv4.conf.IFNAME.proxy_arp net.ipv4.conf.all.proxy_arp
  ip neigh show proxy
  ip route get ADDRESS

Fix
  sysctl -w net.ipv4.conf.IFNAME.proxy_arp=0 (and of "all", which counts for every interface). Requests that are under
  way end with the owners' own answers; entries in the segment's neighbour tables age out within a minute. For single
  guests use "ip neigh add proxy ADDRESS dev IFNAME" instead.

Not flagged
  proxy_arp on taps, veths and bridges towards guests, where it is the design of routed virtual machines and of Calico.
  An uplink on which it publishes guests: there are host routes to guests inside the uplink's own subnet; then it is an
  info, as on hosts that do not forward and on uplinks without any other network behind the host. Proxy entries whose
  address is behind another interface, as for guests of an on-link prefix.

References
  net/ipv4/arp.c arp_process(), arp_fwd_proxy(); net/ipv6/ndisc.c ndisc_recv_ns() pneigh_lookup();
  Documentation/networking/ip-sysctl.rst proxy_arp
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import faces_guest, sides
from netdiag.index.subnets import connected
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.route import RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import leads_to, link_local
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="proxy-arp-leak",
    title="an uplink answers for addresses that are not behind this host",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops", "sysctls", "neighbours"),
    explains=("neigh-*",),
    family="inet",
)
LOOKED_AT = 2000
"""Routes that are looked at."""


def check(view: HostView) -> Iterator[Draft]:
    ways = default_oifs(view, "inet")
    if ways is None:  # a router with the routes of the world has none: there whatever leads to a gateway counts
        around = sides(view.stack, view.routes("inet"), view.addresses)
        ways = {link.ifindex for link in around.exits}
    for link in view.links:
        if link.ifindex in ways and not link.noarp and not _guest_side(view, link):
            yield from _switched_on(view, link)
    yield from _entries(view)


def _guest_side(view: HostView, link: Link) -> bool:
    return link.kind == "tun" or (faces_guest(link) and link.master is not None)


def _on(view: HostView, name: str, key: str) -> bool:
    return bool(view.sysctl_int(f"net.ipv4.conf.all.{key}") or view.sysctl_int(f"net.ipv4.conf.{name}.{key}"))


def _switched_on(view: HostView, link: Link) -> Iterator[Draft]:
    name = link.ifname
    if not _on(view, name, "proxy_arp"):
        return
    if not view.sysctl_int(f"net.ipv4.conf.{name}.forwarding"):  # arp_process() asks where the request is heard
        yield _leak(view, name, "now it answers for nobody, for IPv4 is not forwarded", [], None, latent=True)
        return
    own = [subnet.network for subnet in connected(view, "inet") if subnet.link.ifindex == link.ifindex]
    routes = _behind(view, link)
    published = [route for route in routes if any(ipaddress.ip_network(route.dst).subnet_of(net) for net in own)]  # type: ignore[arg-type]
    guests = [route for route in published if route.dst.endswith("/32")]
    wide = [route for route in routes if not route.dst.endswith("/32")]
    if not wide and not guests:
        yield _leak(
            view, name, "now it answers for no network, for none is behind this host", routes, None, latent=True
        )
        return
    intended = bool(guests) and len(guests) == len(published)
    shown = (wide or guests)[0]
    what = f"it answers ARP requests for all that is routed elsewhere, such as {shown.dst} by "
    yield _leak(view, name, what + view.ifname(shown.oif or 0), routes, shown, latent=intended)


def _leak(view: HostView, name: str, what: str, routes: list[Route], shown: Route | None, *, latent: bool) -> Draft:
    """``latent``: nobody may suffer from it."""
    forwards = view.sysctl_int(f"net.ipv4.conf.{name}.forwarding") or 0
    return RULE.found(
        subject=subject("sysctl", name=f"net.ipv4.conf.{name}.proxy_arp", ifname=name),
        confidence="possible" if latent else "certain",
        message=f"proxy_arp is on for the uplink {name}: {what}",
        evidence=(
            (
                "proxy_arp",
                f"all {view.sysctl('net.ipv4.conf.all.proxy_arp')}, {name} "
                f"{view.sysctl(f'net.ipv4.conf.{name}.proxy_arp')}",
                "IFLA_INET_CONF, /proc/sys/net/ipv4/conf",
            ),
            ("routes by other interfaces", len(routes), "RTM_GETROUTE"),
            (f"{name} forwards", forwards, f"RTM_GETLINK {name} IFLA_INET_CONF"),
        ),
        confirm=(
            f"sysctl {quoted(f'net/ipv4/conf/{name}/proxy_arp')} net.ipv4.conf.all.proxy_arp",
            *([f"ip route show dev {quoted(view.ifname(shown.oif or 0))}"] if shown else []),
        ),
        fix=f"sysctl -w net.ipv4.conf.all.proxy_arp=0 {quoted(f'net/ipv4/conf/{name}/proxy_arp')}=0",
        touches=(subject("link", ifname=name),),
        breaks=(subject("link", ifname=name),),
    )


def _behind(view: HostView, link: Link) -> list[Route]:
    """Unicast routes of the main table by other interfaces, without the default one."""
    table = view.routes("inet")
    rows = (table.type == RTN_UNICAST) & (table.table == 254) & (table.oif != link.ifindex)
    rows &= (table.dst_len > 0) & (table.dst >> 16 != 0xA9FE)
    found = []
    for route in view.route_rows("inet", np.flatnonzero(rows)[:LOOKED_AT].tolist()):
        way = view.link(route.oif or 0)
        if way is not None and way.up and way.carrier is not False:
            found.append(route)
    return found


def _entries(view: HostView) -> Iterator[Draft]:
    """Proxy entries for what is on the same side."""
    positions = np.flatnonzero(view.neighbours.flags & NTF_PROXY)[:LOOKED_AT]
    for row in view.neighbours.rows(positions):
        link = view.link(row.ifindex)
        if link is None or not link.up or link_local(row.dst):
            continue
        if set(leads_to(view, row.dst)) != {row.ifindex}:
            continue
        name, six = link.ifname, "-6 " if row.family == "inet6" else ""
        yield RULE.found(
            subject=subject("neighbour", dst=row.dst, ifname=name),
            message=f"this host answers for {row.dst} on {name}, and would itself send it out of {name}: "
            "it takes traffic that it cannot deliver",
            evidence=(
                (f"proxy entry {row.dst}", f"dev {name}", f"RTM_GETNEIGH {name} NTF_PROXY"),
                (f"way to {row.dst}", f"dev {name}", "RTM_GETROUTE"),
            ),
            confirm=(f"ip {six}neigh show proxy dev {quoted(name)}", f"ip {six}route get {row.dst}"),
            fix=f"ip {six}neigh delete proxy {row.dst} dev {quoted(name)}",
            touches=(subject("link", ifname=name),),
            breaks=(subject("link", ifname=name),),
        )


def _edge(*, proxy: int = 1, forwarding: int = 1) -> HostBuilder:
    host = HostBuilder().link("eth0", inet_conf={"proxy_arp": proxy, "forwarding": forwarding})
    host.address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    return host.link("eth1").address("eth1", "10.0.0.1/16").tap("tap0", inet_conf={"proxy_arp": 1, "forwarding": 1})


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = {"kind": "sysctl", "ifname": "eth0"}
    yield _case("on the uplink", "a network is behind it", _edge(), 1, subject=about, severity="warning",
                confidence="certain")  # fmt: skip
    part = _bare().link("eth1").route("192.0.2.64/26", dev="eth1")
    yield _case("a part of its subnet is behind", "no guest, a whole network", part, 1, severity="warning")
    both = part.tap("tap0").route("192.0.2.50/32", dev="tap0")
    yield _case("and a guest besides", "not all of it is guests", both, 1, severity="warning")
    container = _bare(kind="veth", link_netnsid=0).link("eth1").address("eth1", "10.0.0.1/16")
    yield _case("the uplink of a container", "its other end is no guest", container, 1, severity="warning")
    leg = _bare(kind="veth", link=9, master=9).link("eth1").address("eth1", "10.0.0.1/16")
    yield _case("an uplink by a cable within", "nor is this one", leg, 1, severity="warning")
    everywhere = _edge(proxy=0).sysctl("net.ipv4.conf.all.proxy_arp", 1)
    yield _case("switched on for all", "all counts for every interface", everywhere, 1, severity="warning")
    entry = _edge(proxy=0).neighbour("192.0.2.9", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("entry for a host of the segment", "it is on the same side", entry, 1, severity="warning")
    six = _edge(proxy=0).address("eth0", "2001:db8::2/64")
    six.neighbour("2001:db8::9", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("IPv6 entry", "the same", six, 1, says=("ip -6 neigh delete proxy",))
    yield from _silent()


def _silent() -> Iterator[Example]:
    yield _case("off", "the healthy edge; the taps have it on by design", _edge(proxy=0))
    weak: dict[str, Any] = {"severity": "info", "says": ("now it answers for no",)}
    yield _case("does not forward", "then it does not answer", _edge(forwarding=0), 1, **weak)
    guests = _edge().route("192.0.2.50/32", dev="tap0")
    yield _case("publishes guests", "their addresses are inside the uplink's subnet", guests, 1, severity="info")
    alone = HostBuilder().link("eth0", inet_conf={"proxy_arp": 1, "forwarding": 1}).address("eth0", "192.0.2.2/24")
    alone.route("default", via="192.0.2.1", dev="eth0")
    yield _case("nothing behind it", "there is nothing to answer for", alone, 1, **weak)
    good = _edge(proxy=0).route("192.0.2.50/32", dev="tap0")
    good.neighbour("192.0.2.50", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("entry for a guest", "it is behind the tap", good)
    inner = _edge(proxy=0).sysctl("net.ipv4.conf.eth1.proxy_arp", 1).sysctl("net.ipv4.conf.eth1.forwarding", 1)
    yield _case("on an inner interface", "no default route goes there", inner)
    for name, fields in (
        ("a tap", {"kind": "tun"}),
        ("a guest's cable", {"kind": "veth", "link_netnsid": 0, "master": 9}),
    ):
        up = _bare(**fields).link("eth1").address("eth1", "10.0.0.1/16")
        yield _case(f"the way out is {name}", "there it is the design", up)
    tunnel = _bare(kind="wireguard", type=65534, flags=0x100D1).link("eth1").address("eth1", "10.0.0.1/16")
    yield _case("the way out is a tunnel", "no ARP", tunnel)
    router = _edge().without_routes(table=254).route("10.0.0.0/16", dev="eth1")
    router.route("203.0.113.0/24", via="192.0.2.1", dev="eth0")
    yield _case("a router without a default route", "the gateway is there", router, 1, severity="warning")
    none = _edge().without_routes(table=254)
    yield _case("no way out", "route-default-missing speaks", none)
    guest = _bare().tap("tap0").route("192.0.2.50/32", dev="tap0")
    yield _case("publishes one guest and nothing else", "that is what it is for", guest, 1, severity="info")
    other = _bare().tap("tap0").route("10.7.7.7/32", dev="tap0")
    yield _case("a guest of another range", "nobody asks for it there", other, 1, **weak)
    second = _bare().link("eth1").route("default", via="198.51.100.1", dev="eth1", priority=100)
    yield _case("a second uplink", "its default route is for all", second, 1, **weak)
    zeroconf = _bare().link("eth1").route("169.254.0.0/16", dev="eth1", scope=253)
    yield _case("link-local on a second card", "nobody asks for it here", zeroconf, 1, **weak)
    for name, card in (("down", {"up": False}), ("without carrier", {"carrier": False})):
        cut = _bare().link("eth1", **card).route("10.0.0.0/16", dev="eth1")
        yield _case(f"a network behind a card {name}", "its routes are dead", cut, 1, **weak)
    spread = _bare().link("eth1").link("eth2")
    spread.route("10.0.0.0/16", hops=[spread.hop("eth1"), spread.hop("eth2")])
    yield _case("a network by two ways", "one of them may be this one", spread, 1, **weak)
    near = _edge(proxy=0).address("eth0", "fe80::2/64").neighbour("fe80::9", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("entry for a link-local address", "each link has its own", near)
    own = _edge(proxy=0).neighbour("192.0.2.2", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("entry for an own address", "it is answered for anyhow", own)
    lost = _edge(proxy=0).link("eth9", up=False).route("203.0.113.9/32", dev="eth9")
    lost.neighbour("203.0.113.9", dev="eth9", state="none", flags=NTF_PROXY)
    yield _case("entry on an interface that is down", "nobody is answered", lost)


def _bare(**link: Any) -> HostBuilder:
    """An uplink that answers by proxy, with nothing behind it."""
    host = HostBuilder().link("eth0", **({"inet_conf": {"proxy_arp": 1, "forwarding": 1}} | link))
    return host.address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
