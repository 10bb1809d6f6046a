"""What it checks
  A service address on lo (or on another interface without a wire: a dummy, IPIP, a bridge without ports) lies in the
  subnet of an interface on which this host answers ARP for it, because arp_ignore is 0 there, while the host is set up
  as one of several that have it.

Why it matters
  With direct server return every backend has the service address, and only the balancer may answer for it. A backend
  that answers takes the whole service's traffic to itself, from those hosts whose question it answered first; it
  changes with every ARP timeout.

Confirm
  ip -br address show
  sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.IFNAME.arp_ignore
  arping -D -I IFNAME ADDRESS                  (from another host of the segment: two answers)

Fix
  sysctl -w net.ipv4.conf.IFNAME.arp_ignore=1 net.ipv4.conf.IFNAME.arp_announce=2. The host then answers for the
  addresses of IFNAME itself only. Others of the segment forget the wrong answer within a minute, or at once by
  "ip neigh flush to ADDRESS".

Not flagged
  Addresses that no interface's subnet holds: they are routed to this host (anycast by BGP), nobody asks for them by
  ARP. arp_ignore 1, 2, 3 or 8, of "all" or of the interface. A host of which nothing says that others have the
  address too (no arp_announce 2, no such setting of "default" or of the interface that has the address, no IPIP
  device, no kube-ipvs0, which every node has alike): it may be its only owner, which is an info. So it is where BIRD
  announces the address: every host of an anycast group does so, and as well the one that has it, a router its own.
  127.0.0.0/8 and link-local addresses.

References
  net/ipv4/arp.c arp_ignore(); Documentation/networking/ip-sysctl.rst arp_ignore arp_announce; LVS "The ARP problem"
"""

import ipaddress
from collections.abc import Iterator

from netdiag.index.subnets import Subnet, connected
from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="arp-vip-answered-by-backend",
    title="a backend answers ARP for the shared service address",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls"),
    consults=("bird_routes", "bird"),
)
WIRELESS = ("dummy", "ipip", "tunl")


def check(view: HostView) -> Iterator[Draft]:
    wires = [subnet for subnet in connected(view, "inet") if not subnet.link.noarp]
    for address in view.addresses:
        link = view.link(address.ifindex)
        if address.prefixlen != 32 or link is None or not _without_wire(view, link):
            continue
        vip = ipaddress.ip_address(address.local)
        if vip.is_link_local:
            continue
        for subnet in wires:
            if vip in subnet.network and _arp(view, subnet.link, "arp_ignore") == 0:
                yield _finding(view, address, link, subnet)
                break


def _without_wire(view: HostView, link: Link) -> bool:
    return link.loopback or link.kind in WIRELESS or (link.kind == "bridge" and not view.stack.ports(link.ifindex))


def _arp(view: HostView, link: Link, key: str) -> int:
    """What counts: the larger of all's and the interface's (IN_DEV_MAXCONF)."""
    values = (view.sysctl_int(f"net.ipv4.conf.{name}.{key}") for name in ("all", link.ifname))
    return max(value or 0 for value in values)


def _announced(view: HostView, vip: str) -> str:
    """The BGP session by which BIRD announces the address alone; empty where there is none."""
    rows = ((daemon.socket, row) for daemon in view.bird.daemons for row in daemon.protocols)
    bgp = {(socket, row.name) for socket, row in rows if row.proto == "BGP"}
    told = ((daemon.socket, one) for daemon in view.bird_routes for one in daemon.exports)
    mine = (one for socket, one in told if (socket, one.protocol) in bgp)
    return next((one.protocol for one in mine if any(route.net == f"{vip}/32" for route in one.routes or ())), "")


def _shared(view: HostView, link: Link, wire: Link) -> str:
    """What says that other hosts have the address too."""
    if _arp(view, wire, "arp_announce") >= 2:
        return f"arp_announce is 2 on {wire.ifname}, as backends of a balancer have it"
    set_here = [key for key in ("arp_ignore", "arp_announce") if link.inet_conf.get(key)]
    if set_here:
        return (
            f"{' and '.join(set_here)} set on {link.ifname}, where no ARP is heard, as somebody meant for {wire.ifname}"
        )
    for key, least in (("arp_ignore", 1), ("arp_announce", 2)):
        if (view.sysctl_int(f"net.ipv4.conf.default.{key}") or 0) >= least:
            return f"{key} is set for new interfaces (default), and {wire.ifname} was there before or lost it"
    if link.kind in ("ipip", "tunl"):
        return f"it is on the tunnel {link.ifname} of a balancer"
    if any(each.up and each.ifname == "tunl0" for each in view.links):
        return "tunl0 is up, by which a balancer reaches its backends"
    if link.ifname == "kube-ipvs0":
        return "every node of a cluster has it on kube-ipvs0"
    return ""


def _finding(view: HostView, address: Address, link: Link, subnet: Subnet) -> Draft:
    wire, vip = subnet.link.ifname, address.local
    conf = f"net/ipv4/conf/{wire}"
    why = _shared(view, link, subnet.link)
    session = "" if why else _announced(view, vip)
    return RULE.found(
        subject=subject("address", local=vip, ifname=link.ifname),
        severity="warning" if why else "info",
        confidence="likely" if why else "possible",
        message=f"{wire} answers ARP for {vip}, which is on {link.ifname}"
        + (f"; {why}: one host alone may answer" if why else ": right only if no other host has that address")
        + (f" (BIRD announces it to {session}: alone, or as one of an anycast group?)" if session else ""),
        evidence=(
            (f"{vip}/32", f"on {link.ifname}, inside {subnet.network} of {wire}", "RTM_GETADDR, RTM_GETROUTE"),
            ("arp_ignore, the larger of all and the interface", 0, f"RTM_GETLINK {wire} IFLA_INET_CONF"),
            ("arp_announce, likewise", _arp(view, subnet.link, "arp_announce"), f"RTM_GETLINK {wire} IFLA_INET_CONF"),
        ),
        confirm=(
            f"ip -br address show dev {quoted(link.ifname)}",
            f"sysctl net.ipv4.conf.all.arp_ignore {quoted(f'net/ipv4/conf/{wire}/arp_ignore')}",
        ),
        fix=f"sysctl -w {quoted(f'{conf}/arp_ignore')}=1 {quoted(f'{conf}/arp_announce')}=2",
        touches=(subject("link", ifname=wire),),
    )


def _backend(vip: str = "192.0.2.100/32", ignore: int = 0, announce: int = 2, on: str = "lo") -> HostBuilder:
    host = HostBuilder().link("eth0", inet_conf={"arp_ignore": ignore, "arp_announce": announce})
    host.address("eth0", "192.0.2.2/24")
    if on != "lo":
        host.link(on, kind="ipip", flags=0xC1)
    return host.address(on, vip)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("address", local="192.0.2.100", ifname="lo")
    yield _case("half configured", "announce is set, ignore was lost", _backend(), 1, subject=about, severity="warning",
                confidence="likely")  # fmt: skip
    yield _case("on the balancer's tunnel", "LVS-TUN", _backend(announce=0, on="tunl0"), 1, severity="warning")
    bridged = _backend("203.0.113.7/32").link("vip0", kind="bridge").address("vip0", "192.0.2.100/32")
    yield _case("on a bridge without ports", "it is no wire", bridged, 1, severity="warning")
    wired = _backend("203.0.113.7/32").link("br0", kind="bridge").address("br0", "192.0.2.100/32")
    yield _case("on a bridge with a port", "arp-flux speaks", wired.link("p0", master="br0"))
    yield _case("the only owner?", "nothing says that it is shared", _backend(announce=0), 1, severity="info")
    kube = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").link("kube-ipvs0", kind="dummy", flags=0x82)
    kube.address("kube-ipvs0", "192.0.2.100/32")
    yield _case("on kube-ipvs0", "every node has it", kube, 1, severity="warning", says=("of a cluster",))
    for name, proto, routes, says in (
        ("announced", "BGP", (BirdRoute(net="192.0.2.100/32"),), ("BIRD announces it to up1",)),
        ("announced to the kernel", "Kernel", (BirdRoute(net="192.0.2.100/32"),), ()),
        ("its subnet announced", "BGP", (BirdRoute(net="192.0.2.0/24"),), ()),
        ("a session of which nothing was read", "BGP", None, ()),
    ):
        bird = BirdHost().protocol("up1", proto).exports("up1", routes=routes)
        bird.link("eth0").address("eth0", "192.0.2.2/24").address("lo", "192.0.2.100/32")
        yield _case(name, "nothing says that it is shared", bird, 1, severity="info", says=says)
    yield _case("configured", "the healthy backend", _backend(ignore=1))
    yield _case("by all", "the larger counts", _backend().sysctl("net.ipv4.conf.all.arp_ignore", 1))
    yield _case("arp_ignore 8", "it answers for nothing", _backend(ignore=8))
    yield _case("anycast", "routed to this host, no subnet holds it", _backend("203.0.113.7/32"))
    yield _case("resolver stub", "127.0.0.0/8 is never asked for", _backend("127.0.0.53/32"))
    yield _case("link-local", "not a service", _backend("169.254.20.10/32"))
    near = _backend("192.0.3.0/32")
    yield _case("one address past the subnet", "outside", near)
    yield _case("arp_announce 1", "many a host has it", _backend(announce=1), 1, severity="info")
    for key in ("arp_ignore", "arp_announce"):
        mistaken = _backend(announce=0).link("lo", flags=0x10049, inet_conf={key: 1}, ifindex=1)
        says = (f"{key} set on lo, where no ARP is heard",)
        yield _case(f"{key} on lo alone", "it was meant for eth0", mistaken, 1, severity="warning", says=says)
    for key, value, severity in (
        ("arp_ignore", 1, "warning"),
        ("arp_announce", 2, "warning"),
        ("arp_announce", 1, "info"),
    ):
        late = _backend(announce=0).sysctl(f"net.ipv4.conf.default.{key}", value)
        yield _case(f"{key} {value} by default", "the card was there before", late, 1, severity=severity)
    for name, dev, up, severity in (
        ("tunl0", "tunl0", True, "warning"),
        ("tunl0, which is down", "tunl0", False, "info"),
        ("a tunnel to another site", "ipip1", True, "info"),
    ):
        beside = _backend(announce=0).link(dev, kind="ipip", flags=0xC1 if up else 0xC0)
        yield _case(f"beside {name}", "what a balancer needs", beside, 1, severity=severity)
    inside = _backend("10.9.0.100/32").link("wg0", kind="wireguard", type=65534, flags=0x100D1)
    yield _case("inside a tunnel's subnet", "nobody asks by ARP there", inside.address("wg0", "10.9.0.1/24"))
    yield _case("a network on lo", "AnyIP, no single address", _backend("192.0.2.100/28"))
    card = _backend("203.0.113.7/32").link("eth1").address("eth1", "192.0.2.100/32")
    yield _case("on another card", "arp-flux speaks", card)
    local = _backend("169.254.20.10/32").address("eth0", "169.254.0.1/16")
    yield _case("link-local, and so is the card", "not a service", local)
