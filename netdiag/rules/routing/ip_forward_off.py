"""What it checks
  Forwarding is switched off (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding) on a host that must forward: guests
  sit behind its taps, veth ends or bridges and there is a way out beyond it; or it did forward and now drops what
  others send through it; or it was started so and drops what others send, though a BGP neighbour is told of a network
  behind another interface, a WireGuard peer has one, or the packet filter gives what comes another address. IPv4 is
  judged on the interfaces concerned, IPv6 by "all", as the kernel does.

Why it matters
  Guests reach the host and nothing else; packets for them and from them are dropped without an error to the sender.
  The switch goes off with a sysctl file that is applied again, a hardening role, or a new network namespace.
  Switching ip_forward also resets other settings of every interface (accept_redirects among them), in both
  directions.

Confirm
  sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding
  ip route get DESTINATION from GUEST iif IFNAME      ("No route to host" for IPv4)
  nstat -asz IpForwDatagrams IpInAddrErrors Ip6OutForwDatagrams Ip6InAddrErrors

Fix
  sysctl -w net.ipv4.ip_forward=1, or net.ipv6.conf.all.forwarding=1, and the same line in /etc/sysctl.d. The host
  routes between all its interfaces from then on: have the firewall's forward chain ready. IPv6 forwarding also makes
  it ignore router advertisements where accept_ra is 1 (2 accepts them): its own default route can expire.

Not flagged
  Hosts that only terminate (proxies, servers with several uplinks). A container seen from inside: its veth is its way
  out. Subnets on taps and bridges without a carrier: nobody is there. Bridges that also have a physical port, VPN taps,
  WireGuard clients: none of them says that others are forwarded for. A translation before anybody sent three packets:
  info. IPv4 interfaces that forward by their own setting while "all" is 0; IPv6 ones with force_forwarding. One
  interface that is off while "all" is on: that is forwarding-per-iface-off. A guest network that is meant to be
  isolated cannot be told from a dead one until its guests send: it is a warning, and critical when packets have been
  forwarded before, or are being dropped now.

References
  Documentation/networking/ip-sysctl.rst; net/ipv4/route.c ip_route_input_slow() (IN_DEV_FORWARD of the incoming
  interface) and ip_error(); net/ipv4/devinet.c inet_forward_change(); net/ipv6/ip6_output.c ip6_forward()
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from netdiag.index.guests import GuestSide, sides
from netdiag.index.view import HostView
from netdiag.model.counters import CounterSample
from netdiag.model.finding import Confidence, Draft, Severity, Subject, subject
from netdiag.model.link import Link
from netdiag.model.route import RouteExtra
from netdiag.rules.build import HostBuilder
from netdiag.rules.invited import CONSULTS, meant_router, router_examples
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ip-forward-off",
    title="forwarding is off on a host with guests behind it",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "counters"),
    consults=CONSULTS,
    explains=(
        "sysctl-drift-vs-file",
        "forwarding-per-iface-off",
    ),
)
SWITCH = {"inet": "net.ipv4.ip_forward", "inet6": "net.ipv6.conf.all.forwarding"}
FORWARDED = {"inet": "Ip.ForwDatagrams", "inet6": "Ip6OutForwDatagrams"}
REFUSED = {"inet": "Ip.InAddrErrors", "inet6": "Ip6InAddrErrors"}
"""Packets for somebody else that came to a host which does not forward; a few are strays on any network."""
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the counters say about forwarding, in packets since the namespace was made."""

    forwarded: int
    refused: int
    refused_now: int
    """Packets between the two samples; 0 also where there is one sample only."""


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        everywhere = view.sysctl_int(SWITCH[family])
        if everywhere != 0:
            continue
        around = sides(view.stack, view.routes(family), view.addresses)
        there = [guest for guest in around.guests if guest.kind == "routed" or guest.link.carrier is not False]
        dead = [guest for guest in there if not _served(family, guest.link, around.exits)]
        if dead and around.exits:
            yield _guests_cut_off(view, family, dead, around.exits)
        else:
            yield from _stopped_router(view, family)


def _forwards(family: str, link: Link) -> bool:
    if family == "inet":
        return link.inet_conf.get("forwarding") == 1
    return link.inet6_conf.get("force_forwarding") == 1


def _served(family: str, guest: Link, exits: tuple[Link, ...]) -> bool:
    """Whether packets pass in both directions by the interfaces' own settings."""
    return _forwards(family, guest) and any(_forwards(family, exit_) for exit_ in exits)


def _traffic(view: HostView, family: str) -> Traffic:
    sample: CounterSample = view.counters
    ever, now = sample.snmp.get(REFUSED[family], 0), view.moved(REFUSED[family]) or 0
    return Traffic(forwarded=sample.snmp.get(FORWARDED[family], 0), refused=ever, refused_now=now)


def _judged(view: HostView, family: str, dead: list[GuestSide], traffic: Traffic) -> tuple[Severity, Confidence]:
    routed = [guest for guest in dead if guest.kind == "routed"]
    mixed = any(_forwards(family, link) for link in view.links if not link.loopback)
    if traffic.forwarded and traffic.refused_now:
        return "critical", "certain"
    if traffic.forwarded or traffic.refused_now or mixed or _served_otherwise(view, family, dead):
        return "critical", "likely"
    if any(guest.machines or guest.link.inet_conf.get("proxy_arp") for guest in routed):
        return "critical", "likely"
    if len(routed) > 1 or any(guest.addressed for guest in routed):
        return "warning", "likely"
    if traffic.refused or any(guest.kind in ("bridged", "small") for guest in dead):
        return "warning", "likely"
    return "info", "possible"


def _served_otherwise(view: HostView, family: str, dead: list[GuestSide]) -> bool:
    """Whether the other family is forwarded for the same guests."""
    other = "inet6" if family == "inet" else "inet"
    if view.sysctl_int(SWITCH[other]) != 1:
        return False
    cared = {guest.link.ifindex for guest in sides(view.stack, view.routes(other), view.addresses).guests}
    return any(guest.link.ifindex in cared for guest in dead)


def _guests_cut_off(view: HostView, family: str, dead: list[GuestSide], exits: tuple[Link, ...]) -> Draft:
    name, switch = "IPv4" if family == "inet" else "IPv6", SWITCH[family]
    traffic = _traffic(view, family)
    severity, confidence = _judged(view, family, dead, traffic)
    named = ", ".join(guest.link.ifname for guest in dead[:MOST_NAMED])
    more = f" and {len(dead) - MOST_NAMED} more" if len(dead) > MOST_NAMED else ""
    first, way = dead[0], exits[0].ifname
    return RULE.found(
        subject=subject("sysctl", name=switch),
        message=f"{name} forwarding is off, so nothing passes between the guests behind {named}{more} "
        f"and the way out over {way}",
        severity=severity,
        confidence=confidence,
        evidence=[
            (switch, 0, f"/proc/sys/{switch.replace('.', '/')}"),
            (f"behind {first.link.ifname}", _behind(first), "RTM_GETROUTE, RTM_GETADDR"),
            *_counted(family, traffic),
        ],
        confirm=[f"sysctl {switch}", _nstat(family), f"ip -d link show dev {quoted(first.link.ifname)}"],
        fix=f"sysctl -w {switch}=1",
        touches=[subject("link", ifname=way)],
        breaks=[subject("link", ifname=guest.link.ifname) for guest in dead],
    )


def _behind(guest: GuestSide) -> str:
    what = {"routed": "host route", "small": "subnet of one guest"}.get(guest.kind, "subnet")
    return f"{what} {guest.prefix}" + (f" and {guest.count - 1} more" if guest.count > 1 else "")


def _counted(family: str, traffic: Traffic) -> Iterator[tuple[str, object, str]]:
    file = "/proc/self/net/" + ("snmp" if family == "inet" else "snmp6")
    if traffic.forwarded:
        yield "packets forwarded since boot", traffic.forwarded, f"{file} {FORWARDED[family]}"
    if traffic.refused:
        yield "packets for others dropped since boot", traffic.refused, f"{file} {REFUSED[family]}"
    if traffic.refused_now:
        yield "packets for others dropped between the samples", traffic.refused_now, f"{file} {REFUSED[family]}"


def _nstat(family: str) -> str:
    names = (FORWARDED[family], REFUSED[family])
    return "nstat -asz " + " ".join(name.replace(".", "") for name in names)


def _stopped_router(view: HostView, family: str) -> Iterator[Draft]:
    """No guests to be seen, but the host has forwarded, and others still send through it."""
    traffic = _traffic(view, family)
    routed = {address.ifindex for address in view.addresses if address.family == family and address.scope == 0}
    links = [link for link in view.links if link.up and not link.loopback and link.ifindex in routed]
    if len(links) < 2 or any(_forwards(family, link) for link in links):
        return
    severity: Severity = "critical" if traffic.refused_now else "warning"
    why, breaks = f"that has forwarded {traffic.forwarded} packets since boot", tuple[Subject, ...]()
    if not (traffic.forwarded and traffic.refused):
        meant = meant_router(view, family, (traffic.refused + traffic.refused_now, traffic.refused_now), links)
        if meant is None:
            return
        severity, why, breaks = meant[0], f"that is meant to forward ({meant[1]})", meant[2]
    name, switch = f"IP{'v4' if family == 'inet' else 'v6'}", SWITCH[family]
    yield RULE.found(
        subject=subject("sysctl", name=switch),
        message=f"{name} forwarding is off on a host {why}"
        + f" and has dropped {traffic.refused} for others" * bool(traffic.refused)
        + f", {traffic.refused_now} of them between the samples" * bool(traffic.refused_now),
        severity=severity,
        confidence="possible" if severity == "info" else None,
        evidence=[(switch, 0, f"/proc/sys/{switch.replace('.', '/')}"), *_counted(family, traffic)],
        confirm=[f"sysctl {switch}", _nstat(family)],
        fix=f"sysctl -w {switch}=1",
        touches=[subject("link", ifname=link.ifname) for link in links[:MOST_NAMED]],
        breaks=breaks,
    )


TAP: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}
TUN: dict[str, Any] = {"kind": "tun", "info": {"type": "tun"}}
VETH: dict[str, Any] = {"kind": "veth", "link": 2, "link_netnsid": 0}


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    return host.route("default", via="10.0.0.2", dev="eth0").route("default", via="2001:db8::2", dev="eth0")


def _counted_host(host: HostBuilder, forwarded: int, refused: int, later: int) -> HostBuilder:
    before = {"Ip.ForwDatagrams": forwarded, "Ip.InAddrErrors": refused}
    after = before | {"Ip.InAddrErrors": later}
    return host.counters(before={"snmp": before}, after={"snmp": after})


def _one(
    name: str, why: str, host: HostBuilder, severity: Severity | None = None, *, switches: str = "inet"
) -> Example:
    """Silence without a severity, else a finding for each of the families named."""
    families = switches.split() if severity else []
    about = subject("sysctl", name=SWITCH[families[0]]) if len(families) == 1 else None
    weight: dict[str, Any] = {"severity": severity}
    if severity is not None:
        weight |= {"confidence": "possible" if severity == "info" else "likely"}
    return Example(name=name, why=why, tables=host.build(), fires=len(families), subject=about, **weight)


def examples() -> Iterator[Example]:
    def tap(**conf: Any) -> HostBuilder:
        return _host().link("tap0", **TAP, **conf)

    routed = tap().route("10.1.0.5/32", dev="tap0")
    yield _one("guest behind a tap", "the plain fault: a virtual machine that reaches nobody", routed, "critical")
    on = tap().route("10.1.0.5/32", dev="tap0").sysctl("net.ipv4.ip_forward", 1)
    yield _one("forwarding on", "the ordinary worker", on)
    six = tap().route("2001:db8:1::5/128", dev="tap0")
    yield _one("IPv6 guest", "judged by conf.all.forwarding", six, "critical", switches="inet6")
    per_link = tap(inet6_conf={"forwarding": 1}).route("2001:db8:1::5/128", dev="tap0")
    per_link.sysctl("net.ipv6.conf.eth0.forwarding", 1)
    yield _one("IPv6 by interface", "it does not forward: all=0 decides", per_link, "critical", switches="inet6")
    forced = tap(inet6_conf={"force_forwarding": 1}).route("2001:db8:1::5/128", dev="tap0")
    forced.sysctl("net.ipv6.conf.eth0.force_forwarding", 1)
    yield _one("IPv6 force_forwarding", "newer kernels forward where both ends have it (seen on 6.18)", forced)
    both = tap().route("10.1.0.5/32", dev="tap0").route("2001:db8:1::5/128", dev="tap0")
    yield _one("guest with both families", "each has its own switch", both, "critical", switches="inet inet6")
    many = _host()
    for number in range(300):
        many.link(f"tap{number}", **TAP).route(f"10.1.{number >> 8}.{number & 255}/32", dev=f"tap{number}")
    yield _one("hundreds of taps", "one cause is one finding", many, "critical")
    no_exit = HostBuilder().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield _one("no way out", "there is nowhere to forward to", no_exit)
    down = _host().link("tap0", up=False, **TAP).route("10.1.0.5/32", dev="tap0")
    yield _one("tap that is down", "nobody is behind it", down)
    for name, why, inner, outer, severity in _OWN:
        own = tap(inet_conf={"forwarding": inner}).route("10.1.0.5/32", dev="tap0")
        yield _one(name, why, own.sysctl("net.ipv4.conf.eth0.forwarding", outer), severity)
    router = tap().route("10.1.0.5/32", dev="tap0").route("10.7.0.0/16", via="10.1.0.5", dev="tap0")
    yield _one("machine that routes for others", "a gateway behind a tap is a guest all the same", router, "critical")
    mesh = HostBuilder().link("wg0", kind="wireguard").link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield _one("tunnel without routes", "nothing is beyond it", mesh)
    yield _one("tunnel with routes", "the mesh is beyond it", mesh.route("10.64.0.0/10", dev="wg0"), "critical")
    user = HostBuilder().link("wg0", **TUN).link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield _one("tunnel in userspace", "wireguard-go has a tun", user.route("10.64.0.0/10", dev="wg0"), "critical")
    unplugged = HostBuilder().link("eth0", up=False).route("default", via="10.0.0.2", dev="eth0")
    unplugged.link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield _one("way out is down", "nothing is beyond it", unplugged)
    dialled = HostBuilder().link("ppp0").route("default", dev="ppp0", family="inet").link("tap0", **TAP)
    dialled.route("10.1.0.5/32", dev="tap0")
    yield _one("way out without a gateway", "a default route is enough", dialled, "critical")
    measured = tap().route("10.1.0.5/32", dev="tap0", metrics={"mtu": 1400})
    yield _one("guest with a route metric", "an mtu makes it no gateway", measured, "critical")
    yield from _exits()
    yield from _bridges()
    yield from _cables()
    yield from _not_guests()
    yield from _counters()
    yield from router_examples(SWITCH["inet"])


_OWN: tuple[tuple[str, str, int, int, Severity | None], ...] = (
    ("both interfaces forward", "IPv4 asks the incoming interface", 1, 1, None),
    ("the uplink does not", "answers are dropped", 1, 0, "critical"),
    ("the tap does not", "requests are dropped", 0, 1, "critical"),
)


def _exits() -> Iterator[Example]:
    """Ways out in all spellings of a route."""

    def worker() -> HostBuilder:
        host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth1", "10.2.0.1/24")
        return host.link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")

    paths = [worker().hop("eth0", "10.0.0.2"), worker().hop("eth1", "10.2.0.2")]
    yield _one("ECMP uplinks", "two ways out in one route", worker().route("default", hops=paths), "critical")
    some = worker().route("10.64.0.0/10", hops=paths)
    yield _one("ECMP to a part of the world", "no default route is needed", some, "critical")
    other = worker().route("10.64.0.0/10", dev="eth0", extra=RouteExtra(via="fe80::2"))
    yield _one("gateway of the other family", "RTA_VIA", other, "critical")
    direct = worker().route("10.64.0.0/10", dev="eth0")
    yield _one("no gateway", "that prefix is on the link, nothing beyond it", direct)
    cables = HostBuilder().link("eth0", **VETH).link("eth1", **VETH)
    hops = [cables.hop("eth0", "10.0.0.2"), cables.hop("eth1", "10.2.0.2")]
    cables.route("10.0.0.2/32", dev="eth0").route("10.2.0.2/32", dev="eth1").route("default", hops=hops)
    yield _one("unnumbered ECMP", "two cables, both ways out", cables)


def _bridges() -> Iterator[Example]:
    def bridge(*, port: bool = True, physical: bool = False, up: bool = True, tap: bool = True) -> HostBuilder:
        host = _host().link("br0", kind="bridge").address("br0", "10.9.0.1/24")
        host = host.link("p0", master="br0", up=up, **(TAP if tap else VETH)) if port else host
        return host.link("eth7", master="br0") if physical else host

    yield _one("bridge with a tap", "dead or isolated: a warning until its guests send", bridge(), "warning")
    mixed = bridge().sysctl("net.ipv4.conf.br0.forwarding", 1)
    yield _one("bridge that forwards alone", "somebody wanted it: answers are dropped", mixed, "critical")
    loop = bridge().sysctl("net.ipv4.conf.lo.forwarding", 1)
    yield _one("loopback that forwards", "that says nothing", loop, "warning")
    router = bridge().route("10.7.0.0/16", via="10.9.0.5", dev="br0")
    yield _one("guest that routes for others", "a guest all the same", router, "warning")
    yield _one("bridge without ports", "an idle docker0 or virbr0", bridge(port=False))
    yield _one("bridge whose tap is down", "idle as well", bridge(up=False))
    yield _one("bridge with a physical port", "its guests go out below", bridge(physical=True))
    yield _one("bridge of cables", "containers or other hosts: told, no alarm", bridge(tap=False), "info")
    yield _one("bridge that forwarded", "packets passed once", _counted_host(bridge(tap=False), 5, 0, 0), "critical")
    uplink = HostBuilder().link("br0", kind="bridge").address("br0", "10.9.0.1/24").link("p0", master="br0", **TAP)
    uplink.link("eth1").address("eth1", "10.8.0.1/24").route("10.7.0.0/16", via="10.8.0.2", dev="eth1")
    uplink.route("default", via="10.9.0.254", dev="br0")
    yield _one("bridge that is the way out", "the host is a guest of that network like the others", uplink)
    same = _host().link("veth0", kind="veth", link=4).link("veth1", kind="veth", link=3)
    same.route("10.1.0.5/32", dev="veth0")
    yield _one("cable within the namespace", "both ends are ours: nobody is behind it", same)
    small = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/29")
    yield _one("tap with eight addresses", "the subnet of one guest", small, "warning")
    idle = _host().link("tap0", carrier=False, **TAP).address("tap0", "172.16.0.1/29")
    yield _one("tap with eight addresses and no carrier", "no machine holds it", idle)
    peer = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/30", peer="172.17.0.2")
    yield _one("point-to-point tap", "the prefix is the peer's", peer, "warning")
    bare = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/32")
    yield _one("tap with an address only", "nobody is known behind it", bare)
    near = _host().link("tap0", **TAP).address("tap0", "fe80::1/64")
    yield _one("tap with a link-local address", "every interface has one", near)
    six = _host().link("tap0", **TAP).address("tap0", "2001:db8:5::1/64")
    yield _one("tap with an IPv6 subnet", "VPNs have such: told, no alarm", six, "info", switches="inet6")
    client = _host().link("tap0", **TAP).address("tap0", "10.8.0.2/24").route("10.7.0.0/16", via="10.8.0.1", dev="tap0")
    yield _one("VPN client with a tap", "a gateway is behind it", client)
    wide = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/28")
    yield _one("tap with sixteen addresses", "VPNs have such: told, no alarm", wide, "info")


def _cables() -> Iterator[Example]:
    def cable(proxy_arp: int = 0) -> HostBuilder:
        host = _host().link("veth0", inet_conf={"proxy_arp": proxy_arp}, **VETH)
        return host.route("10.1.0.5/32", dev="veth0")

    yield _one("host route over one cable", "a container, or an unnumbered link: told, no alarm", cable(), "info")
    gateway = cable().route("10.7.0.0/16", via="10.1.0.5", dev="veth0", onlink=True)
    yield _one("unnumbered uplink", "the far end is a gateway", gateway)
    addressed = cable().address("veth0", "10.1.0.1/32")
    yield _one("cable with an address", "the host is the guest's gateway", addressed, "warning")
    yield _one("cable with proxy_arp", "the host answers for the whole world", cable(1), "critical")
    two = cable().link("veth1", **VETH).route("10.1.0.6/32", dev="veth1")
    yield _one("host routes over two cables", "a worker with containers", two, "warning")
    half = cable().route("2001:db8:1::5/128", dev="veth0").sysctl("net.ipv4.ip_forward", 1)
    yield _one("guest served in IPv4 alone", "it is forwarded for", half, "critical", switches="inet6")
    turned = cable().route("2001:db8:1::5/128", dev="veth0").sysctl("net.ipv6.conf.all.forwarding", 1)
    yield _one("guest served in IPv6 alone", "it is forwarded for", turned, "critical")
    neither = cable().route("2001:db8:1::5/128", dev="veth0")
    yield _one("guest served in neither", "no sign that anybody wanted it", neither, "info", switches="inet inet6")
    foreign = _host().link("mv0", kind="macvlan", link=2, link_netnsid=0).route("10.1.0.5/32", dev="mv0")
    yield _one("macvlan", "its lower device is elsewhere, no guest", foreign)
    alone = _host().link("veth0", **VETH).route("2001:db8:1::5/128", dev="veth0").sysctl("net.ipv4.ip_forward", 1)
    yield _one("guest of IPv6 alone", "IPv4 is forwarded for others", alone, "info", switches="inet6")


def _not_guests() -> Iterator[Example]:
    yield _one("plain server", "it only terminates", _host())
    two = _host().link("eth1").address("eth1", "10.2.0.1/24").route("10.3.0.0/16", via="10.2.0.2", dev="eth1")
    yield _one("server with two uplinks", "it only terminates", two)
    inside = HostBuilder().link("eth0", **VETH).address("eth0", "172.17.0.2/16").link("eth1", **VETH)
    inside.route("default", via="172.17.0.1", dev="eth0").route("172.17.0.1/32", dev="eth0")
    yield _one("container from inside", "its veth is its way out", inside)
    pod = HostBuilder().link("eth0", **VETH).link("eth1").address("eth1", "10.2.0.1/24")
    pod.route("169.254.1.1/32", dev="eth0").route("10.3.0.0/16", via="10.2.0.2", dev="eth1")
    yield _one("link-local gateway", "a pod's gateway is no guest", pod)
    point = _host().link("veth0", **VETH).route("10.1.0.5/32", dev="veth0", protocol=2)
    yield _one("point-to-point address", "the kernel made that route", point)
    tunnel = _host().link("tun0", **TUN).address("tun0", "10.8.0.2/24").route("10.1.0.5/32", dev="tun0")
    yield _one("VPN client", "a tun has no guests behind it", tunnel)
    wireguard = _host().link("wg0", kind="wireguard").address("wg0", "10.8.0.2/32").route("10.8.0.1/32", dev="wg0")
    yield _one("WireGuard client", "a peer is no guest", wireguard)
    second = _host().link("veth0", **VETH).address("veth0", "10.1.0.1/24")
    yield _one("second cable with a subnet", "a server with two networks", second)


def _counters() -> Iterator[Example]:
    def router(forwarded: int, refused: int, later: int, *, links: int = 2) -> HostBuilder:
        host = _host()
        if links > 1:
            host.link("eth1").address("eth1", "10.2.0.1/24")
        return _counted_host(host, forwarded, refused, later)

    now = _one("router that drops now", "it forwarded, and packets for others still come", router(9, 1, 2), "critical")
    yield replace(now, says=("IPv4 forwarding is off on a host that has forwarded 9", "1 of them between"))
    yield Example(
        name="guests and drops",
        why="it forwarded, and they send",
        tables=_counted_host(_host().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0"), 9, 1, 2).build(),
        fires=1,
        severity="critical",
        confidence="certain",
        says=("between the samples",),
    )
    for forwarded, refused in ((9, 0), (0, 1)):
        one_sign = _host().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
        tables = _counted_host(one_sign, forwarded, 1, 1 + refused).build()
        yield Example(name=f"one sign only ({forwarded})", why="likely", tables=tables, fires=1, confidence="likely")
    yield _one("router that has dropped", "nothing came just now, but it did", router(9, 1, 1), "warning")
    yield _one("former router", "nobody sends through it any more", router(9, 0, 0))
    yield _one("strays", "a host that never forwarded sees some too", router(0, 7, 9))
    yield _one("one network", "there is nowhere to forward to", router(9, 1, 2, links=1))
    anycast = router(9, 1, 2, links=1).address("lo", "203.0.113.7/32")
    yield _one("one network and an address on lo", "loopback is no network", anycast)
    down = router(9, 1, 2, links=1).link("eth1", up=False).address("eth1", "10.2.0.1/24")
    yield _one("second network down", "nothing comes from there", down)
    bare = router(9, 1, 2, links=1).link("eth1").address("eth1", "2001:db8:2::1/64")
    yield _one("second network without IPv4", "nothing comes from there", bare)
    near = router(9, 1, 2, links=1).link("eth1").address("eth1", "169.254.0.1/16", scope=253)
    yield _one("second network link-local", "it is not routed", near)
    guests = HostBuilder().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0").address("tap0", "10.1.0.1/32")
    guests.link("tap1", **TAP).route("10.1.0.6/32", dev="tap1").address("tap1", "10.1.0.2/32")
    yield _one("guests among themselves", "they need no way out", _counted_host(guests, 9, 1, 2), "critical")
    half = router(9, 1, 2).sysctl("net.ipv4.conf.eth1.forwarding", 1).sysctl("net.ipv4.conf.eth0.forwarding", 1)
    yield _one("router by its interfaces", "it forwards without all=1", half)
    guest = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/24")
    yield _one("VPN or guests, drops", "somebody behind it sends", _counted_host(guest, 0, 1, 1), "warning")
    sending = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/24")
    yield _one("VPN or guests, drops now", "it sends just now", _counted_host(sending, 0, 1, 2), "critical")
