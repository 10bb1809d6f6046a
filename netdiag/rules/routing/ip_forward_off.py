"""What it checks
  Forwarding is switched off (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding) on a host that must forward: guests
  sit behind its taps, veth ends or bridges and there is a way out beyond it, or it did forward and now drops what
  others send through it. IPv4 is judged on the interfaces concerned, IPv6 by "all", as the kernel does.

Why it matters
  Guests reach the host and nothing else; packets for them and from them are dropped without an error to the sender.
  The switch goes off with a sysctl file that is applied again, a hardening role, or a new network namespace. Switching
  ip_forward also resets other settings of every interface (accept_redirects among them), in both directions.

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
  out. Idle bridges, bridges that also have a physical port, VPN taps, WireGuard clients: none of them says that
  others are forwarded for; they are told, as info, where other signs are missing. IPv4 interfaces that forward by
  their own setting while "all" is 0; IPv6 ones with force_forwarding. One interface that is off while "all" is on:
  that is forwarding-per-iface-off. A guest network that is meant to be isolated cannot be told from a dead one until
  its guests send: it is a warning, and critical when packets have been forwarded before, or are being dropped now.

References
  Documentation/networking/ip-sysctl.rst; net/ipv4/route.c ip_route_input_slow() (IN_DEV_FORWARD of the incoming
  interface) and ip_error(); net/ipv4/devinet.c inet_forward_change(); net/ipv6/ip6_output.c ip6_forward()
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netdiag.index.guests import GuestSide, sides
from netdiag.index.view import HostView
from netdiag.model.counters import CounterSample
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ip-forward-off",
    title="forwarding is off on a host with guests behind it",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "counters"),
    explains=("forwarding-per-iface-off",),
)
SWITCH = {"inet": "net.ipv4.ip_forward", "inet6": "net.ipv6.conf.all.forwarding"}
FORWARDED = {"inet": "Ip.ForwDatagrams", "inet6": "Ip6OutForwDatagrams"}
REFUSED = {"inet": "Ip.InAddrErrors", "inet6": "Ip6InAddrErrors"}
"""Packets for somebody else that came to a host which does not forward; a few are strays on any network."""
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the counters say about forwarding."""

    forwarded: int
    """Packets since the namespace was made."""
    refused: int
    """The same."""
    refused_now: int
    """Packets between the two samples; 0 also where there is one sample only."""


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        everywhere = view.sysctl_int(SWITCH[family])
        if everywhere != 0:
            continue
        around = sides(view.stack, view.routes(family), view.addresses)
        dead = [guest for guest in around.guests if not _served(family, guest.link, around.exits)]
        if dead and around.exits:
            yield _guests_cut_off(view, family, dead, around.exits)
        elif not around.guests:
            yield from _stopped_router(view, family)


def _forwards(family: str, link: Link) -> bool:
    if family == "inet":
        return link.inet_conf.get("forwarding", 0) == 1
    return link.inet6_conf.get("force_forwarding", 0) == 1


def _served(family: str, guest: Link, exits: tuple[Link, ...]) -> bool:
    """Whether packets pass in both directions by the interfaces' own settings."""
    return _forwards(family, guest) and any(_forwards(family, exit_) for exit_ in exits)


def _traffic(view: HostView, family: str) -> Traffic:
    sample: CounterSample = view.counters
    return Traffic(
        forwarded=sample.snmp.get(FORWARDED[family], 0),
        refused=sample.snmp.get(REFUSED[family], 0),
        refused_now=view.moved(REFUSED[family]) or 0,
    )


def _judged(view: HostView, family: str, dead: list[GuestSide], traffic: Traffic) -> tuple[Severity, Confidence]:
    routed = [guest for guest in dead if guest.kind == "routed"]
    answering = any(guest.link.inet_conf.get("proxy_arp") for guest in routed)
    mixed = any(_forwards(family, link) for link in view.links if not link.loopback)
    if traffic.forwarded and traffic.refused_now:
        return "critical", "certain"
    if traffic.forwarded or traffic.refused_now or mixed or any(guest.machines for guest in routed):
        return "critical", "likely"
    if len(routed) > 1 or answering:
        return "critical", "likely"
    if traffic.refused or any(guest.kind in ("routed", "bridged", "small") for guest in dead):
        return "warning", "likely"
    return "info", "possible"


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
        confirm=[f"sysctl {switch}", f"ip -d link show dev {quoted(first.link.ifname)}", _nstat(family)],
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
    if not (traffic.forwarded and traffic.refused) or len(links) < 2 or any(_forwards(family, link) for link in links):
        return
    name, switch = "IPv4" if family == "inet" else "IPv6", SWITCH[family]
    yield RULE.found(
        subject=subject("sysctl", name=switch),
        message=f"{name} forwarding is off on a host that has forwarded {traffic.forwarded} packets since boot "
        f"and has dropped {traffic.refused} for others"
        + (f", {traffic.refused_now} of them between the samples" if traffic.refused_now else ""),
        severity="critical" if traffic.refused_now else "warning",
        evidence=[(switch, 0, f"/proc/sys/{switch.replace('.', '/')}"), *_counted(family, traffic)],
        confirm=[f"sysctl {switch}", _nstat(family)],
        fix=f"sysctl -w {switch}=1",
        touches=[subject("link", ifname=link.ifname) for link in links[:MOST_NAMED]],
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


def examples() -> Iterator[Example]:
    def one(name: str, why: str, host: HostBuilder, fires: int = 0, severity: Severity | None = None) -> Example:
        about = subject("sysctl", name=SWITCH["inet"]) if fires == 1 else None
        return Example(name=name, why=why, tables=host.build(), fires=fires, subject=about, severity=severity)

    routed = _host().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield one("guest behind a tap", "the plain fault: a virtual machine that reaches nobody", routed, 1, "critical")
    on = _host().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0").sysctl("net.ipv4.ip_forward", 1)
    yield one("forwarding on", "the ordinary worker", on)
    six = _host().link("tap0", **TAP).route("2001:db8:1::5/128", dev="tap0")
    yield Example(
        name="IPv6 guest",
        why="judged by conf.all.forwarding",
        tables=six.build(),
        fires=1,
        subject=subject("sysctl", name=SWITCH["inet6"]),
        severity="critical",
    )
    per_link = _host().link("tap0", inet6_conf={"forwarding": 1}, **TAP).route("2001:db8:1::5/128", dev="tap0")
    yield Example(
        name="IPv6 forwarding of the interfaces alone",
        why="it does not forward: all=0 decides",
        tables=per_link.sysctl("net.ipv6.conf.eth0.forwarding", 1).build(),
        fires=1,
    )
    forced = _host().link("tap0", inet6_conf={"force_forwarding": 1}, **TAP).route("2001:db8:1::5/128", dev="tap0")
    yield Example(
        name="IPv6 force_forwarding",
        why="newer kernels forward between interfaces that have it (seen on 6.18)",
        tables=forced.sysctl("net.ipv6.conf.eth0.force_forwarding", 1).build(),
    )
    both = _host().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0").route("2001:db8:1::5/128", dev="tap0")
    yield one("guest with both families", "each family has its own switch", both, 2, "critical")
    many = _host()
    for number in range(300):
        many.link(f"tap{number}", **TAP).route(f"10.1.{number >> 8}.{number & 255}/32", dev=f"tap{number}")
    yield one("hundreds of taps", "one cause is one finding", many, 1, "critical")
    no_exit = HostBuilder().link("tap0", **TAP).route("10.1.0.5/32", dev="tap0")
    yield one("no way out", "there is nowhere to forward to", no_exit)
    down = _host().link("tap0", up=False, **TAP).route("10.1.0.5/32", dev="tap0")
    yield one("tap that is down", "nobody is behind it", down)
    yield from _own_settings()
    yield from _bridges_and_cables()
    yield from _not_guests()
    yield from _counters()


def _own_settings() -> Iterator[Example]:
    def own(tap: int, uplink: int) -> HostBuilder:
        host = _host().link("tap0", inet_conf={"forwarding": tap}, **TAP).route("10.1.0.5/32", dev="tap0")
        return host.sysctl("net.ipv4.conf.eth0.forwarding", uplink)

    yield Example(name="both interfaces forward", why="IPv4 asks the incoming interface", tables=own(1, 1).build())
    yield Example(
        name="the uplink does not", why="answers are dropped", tables=own(1, 0).build(), fires=1, severity="critical"
    )
    yield Example(
        name="the tap does not", why="requests are dropped", tables=own(0, 1).build(), fires=1, severity="critical"
    )


def _bridges_and_cables() -> Iterator[Example]:
    def bridge(*, port: bool = True, physical: bool = False, up: bool = True, tap: bool = True) -> HostBuilder:
        host = _host().link("br0", kind="bridge").address("br0", "10.9.0.1/24")
        host = host.link("p0", master="br0", up=up, **(TAP if tap else VETH)) if port else host
        return host.link("eth7", master="br0") if physical else host

    yield Example(
        name="bridge with a tap",
        why="dead, or meant to be isolated: a warning until its guests send",
        tables=bridge().build(),
        fires=1,
        severity="warning",
    )
    yield Example(name="bridge without ports", why="an idle docker0 or virbr0", tables=bridge(port=False).build())
    yield Example(name="bridge whose tap is down", why="idle as well", tables=bridge(up=False).build())
    yield Example(
        name="bridge with a physical port", why="its guests go out below", tables=bridge(physical=True).build()
    )
    yield Example(
        name="bridge of cables",
        why="containers, or other hosts: it is told and alarms nobody",
        tables=bridge(tap=False).build(),
        fires=1,
        severity="info",
    )
    used = _counted_host(bridge(tap=False), 5, 0, 0)
    yield Example(
        name="bridge of cables that was forwarded for",
        why="packets have passed, and pass no more",
        tables=used.build(),
        fires=1,
        severity="critical",
    )
    uplink = HostBuilder().link("br0", kind="bridge").address("br0", "10.9.0.1/24").link("p0", master="br0", **TAP)
    uplink.link("eth1").address("eth1", "10.8.0.1/24").route("10.7.0.0/16", via="10.8.0.2", dev="eth1")
    yield Example(
        name="bridge that is the way out",
        why="the host is a guest of that network like the others",
        tables=uplink.route("default", via="10.9.0.254", dev="br0").build(),
    )
    cable = _host().link("veth0", **VETH).route("10.1.0.5/32", dev="veth0")
    yield Example(
        name="host route over one cable",
        why="a container, or the far end of an unnumbered link",
        tables=cable.build(),
        fires=1,
        severity="warning",
    )
    proxied = _host().link("veth0", inet_conf={"proxy_arp": 1}, **VETH).route("10.1.0.5/32", dev="veth0")
    yield Example(
        name="host route over a cable with proxy_arp",
        why="the host plays the gateway: it is a guest",
        tables=proxied.build(),
        fires=1,
        severity="critical",
    )
    pods = _host().link("veth0", **VETH).route("10.1.0.5/32", dev="veth0")
    yield Example(
        name="host routes over two cables",
        why="a worker with containers",
        tables=pods.link("veth1", **VETH).route("10.1.0.6/32", dev="veth1").build(),
        fires=1,
        severity="critical",
    )
    same = _host().link("veth0", kind="veth", link=4).link("veth1", kind="veth", link=3)
    yield Example(
        name="cable within the namespace",
        why="both ends are ours: nobody is behind it",
        tables=same.route("10.1.0.5/32", dev="veth0").build(),
    )
    small = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/29")
    yield Example(
        name="tap with eight addresses",
        why="the subnet of one guest",
        tables=small.build(),
        fires=1,
        severity="warning",
    )
    wide = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/28")
    yield Example(
        name="tap with sixteen addresses",
        why="VPNs have such: it is told and alarms nobody",
        tables=wide.build(),
        fires=1,
        severity="info",
    )


def _not_guests() -> Iterator[Example]:
    yield Example(name="plain server", why="it only terminates", tables=_host().build())
    two = _host().link("eth1").address("eth1", "10.2.0.1/24").route("10.3.0.0/16", via="10.2.0.2", dev="eth1")
    yield Example(name="server with two uplinks", why="it only terminates", tables=two.build())
    inside = HostBuilder().link("eth0", **VETH).address("eth0", "172.17.0.2/16").link("eth1", **VETH)
    inside.route("default", via="172.17.0.1", dev="eth0").route("172.17.0.1/32", dev="eth0")
    yield Example(name="container from inside", why="its veth is its way out", tables=inside.build())
    pod = HostBuilder().link("eth0", **VETH).link("eth1").address("eth1", "10.2.0.1/24")
    pod.route("169.254.1.1/32", dev="eth0").route("10.3.0.0/16", via="10.2.0.2", dev="eth1")
    yield Example(name="link-local gateway", why="a pod's gateway is no guest", tables=pod.build())
    point = _host().link("veth0", **VETH).route("10.1.0.5/32", dev="veth0", protocol=2)
    yield Example(name="point-to-point address", why="the kernel made that route", tables=point.build())
    tunnel = _host().link("tun0", **TUN).address("tun0", "10.8.0.2/24").route("10.1.0.5/32", dev="tun0")
    yield Example(name="VPN client", why="a tun has no guests behind it", tables=tunnel.build())
    wireguard = _host().link("wg0", kind="wireguard").address("wg0", "10.8.0.2/32").route("10.8.0.1/32", dev="wg0")
    yield Example(name="WireGuard client", why="a peer is no guest", tables=wireguard.build())
    gateway = _host().link("veth0", **VETH).address("veth0", "10.1.0.1/24")
    yield Example(name="second cable with a subnet", why="a server with two networks", tables=gateway.build())


def _counters() -> Iterator[Example]:
    def router(forwarded: int, refused: int, later: int, *, links: int = 2) -> HostBuilder:
        host = _host()
        if links > 1:
            host.link("eth1").address("eth1", "10.2.0.1/24")
        return _counted_host(host, forwarded, refused, later)

    yield Example(
        name="router that drops now",
        why="it forwarded, and packets for others still come",
        tables=router(9, 1, 2).build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="router that has dropped",
        why="nothing came just now, but it did",
        tables=router(9, 1, 1).build(),
        fires=1,
        severity="warning",
    )
    yield Example(name="former router", why="nobody sends through it any more", tables=router(9, 0, 0).build())
    yield Example(name="strays", why="a host that never forwarded sees some too", tables=router(0, 7, 9).build())
    yield Example(name="one network", why="there is nowhere to forward to", tables=router(9, 1, 2, links=1).build())
    half = router(9, 1, 2).sysctl("net.ipv4.conf.eth1.forwarding", 1).sysctl("net.ipv4.conf.eth0.forwarding", 1)
    yield Example(name="router by its interfaces", why="it forwards without all=1", tables=half.build())
    guest = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/24")
    yield Example(
        name="VPN or guests, and drops",
        why="somebody behind it sends for others",
        tables=_counted_host(guest, 0, 1, 1).build(),
        fires=1,
        severity="warning",
    )
    sending = _host().link("tap0", **TAP).address("tap0", "172.16.0.1/24")
    yield Example(
        name="VPN or guests, and drops now",
        why="it happens between the samples",
        tables=_counted_host(sending, 0, 1, 2).build(),
        fires=1,
        severity="critical",
    )
