"""What it checks
  A WireGuard interface that is down although it has peers and was in use: one of them has shaken hands or exchanged
  bytes, or the interface has been up before (the kernel gives it a queueing discipline when it first comes up). Or it
  is meant to be in use: [[wireguard]] of the intent names it, or it was up at the time of the baseline. Interfaces of
  the kernel module and of userspace daemons alike. And a daemon that was killed: its interface is gone with it, and its
  socket was left behind; without intent or baseline a possibility, as all namespaces of one /run share the folder.

Why it matters
  Every peer loses this host at once, in both directions, and the routes through the interface are gone: traffic to the
  mesh follows the default route, unencrypted, or ends with "network is unreachable". The kernel's device closes its
  UDP port too, so that the peers' handshakes get old. A userspace daemon may keep it: wireguard-go 0.0.20220316 went
  on shaking hands while its interface was down, so that on both sides all looks fresh.

Confirm
  ip link show dev IFNAME
  wg show IFNAME

Fix
  ip link set dev IFNAME up. IPv4 addresses are still there, and so are the peers. Not back by themselves: the IPv6
  addresses, unless net.ipv6.conf.IFNAME.keep_addr_on_down is set, and every route through the interface but those of
  its own subnets. Start the unit that made it again (wg-quick, networkd) if it made routes.

Not flagged
  A device without peers. A daemon that was stopped in order: it takes its socket along. A socket whose name an
  interface has: another daemon, or the kernel, serves it now. One whose interface is in another namespace. One that was
  prepared and has never been up, as a standby or in the middle of booting: told as info. One whose every allowed
  address is routed to a peer of another WireGuard interface that is up, and has shaken hands: it stands by, told as
  info (a peer for everything stands in for a default route alone). One of a host that is drained (the label
  drained = true; or every BGP session switched off in BIRD, and neither intent nor baseline knows it up): told as info.
  A host that was drained by taking the interface down, and of which nobody was told, looks exactly like the fault.

References
  drivers/net/wireguard/device.c wg_stop(), net/sched/sch_generic.c dev_activate(), wg(8)
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.intent import IntendedWireguard
from netdiag.model.link import Link
from netdiag.model.route import RT_TABLE_MAIN
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguarddowncases import ABOUT, down, standby_examples
from netdiag.rules.wireguardpeers import device_subject, devices, source
from netdiag.rules.wireguardways import peer_for, way_into

RULE = Rule(
    id="wg-iface-down",
    title="a WireGuard interface with peers is down",
    severity="critical",
    reads=("links", "addresses", "rules", "wireguard"),
    consults=("routes", "nexthops", "sysctls", "bird", "intent.wireguard", "baseline"),
    explains=(
        "bgp-*",
        "addr-missing-expected-lo32",
        "route-expected-missing",
        "bird-route-not-in-fib",
        "route-default-missing",
        "dns-nameserver-unroutable",
        "rule-references-empty-table",
        "prefsrc-not-local",
        "route-src-*",
    ),
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def used(device: WireguardDevice) -> bool:
    """Whether any peer was ever spoken to."""
    return any(peer.latest_handshake is not None or peer.rx_bytes or peer.tx_bytes for peer in device.peers)


def was_up(link: Link) -> bool:
    """Whether the interface has ever been up: before, its queueing discipline is ``noop``."""
    return link.qdisc not in (None, "noop")


def allowed(device: WireguardDevice) -> set[Network]:
    return {ipaddress.ip_network(prefix) for peer in device.peers for prefix in peer.allowed_ips}


def replaced(view: HostView, device: WireguardDevice, others: Iterable[tuple[WireguardDevice, Link]]) -> bool:
    """Whether packets for every prefix of the device go to peers of other devices that have answered before. One for
    everything (a default route, or a half) counts for such a prefix alone."""
    by_index = {link.ifindex: other for other, link in others}
    wanted = allowed(device)
    return bool(wanted) and all(_served(view, prefix, by_index) for prefix in wanted)


def _served(view: HostView, prefix: Network, others: Mapping[int, WireguardDevice]) -> bool:
    address, answer = way_into(view, prefix)
    for hop in answer.hops:
        other = others.get(hop.oif)
        peer = peer_for(other, address) if other is not None else None
        if peer is None or peer.latest_handshake is None:
            return False
        if prefix.prefixlen > 1 and not any(
            held.version == prefix.version and held.prefixlen > 1 and prefix.subnet_of(held)  # type: ignore[arg-type]
            for held in map(ipaddress.ip_network, peer.allowed_ips)
        ):
            return False
    return bool(answer.hops)


def meant(view: HostView, ifname: str) -> str:
    """What tells that a device is to be up; empty: nothing."""
    if any(want.ifname == ifname for want in view.intent.wireguard or ()):
        return "the intent names it"
    old = view.baseline
    if old is None or view.meta.drained:
        return ""
    then = any(link.up for before, link in devices(old) if before.ifname == ifname)
    return f"it was up at the time of the baseline of {old.meta.taken_at}" if then else ""


def _drained(view: HostView, why: str) -> bool:
    """Whether this host is out of service: it was told, or, where nothing says that the device is to be up (``why``),
    all of its BGP sessions were switched off."""
    off = [session.switched_off for session in sessions(view)]
    return view.meta.drained or (not why and bool(off) and all(off))


def check(view: HostView) -> Iterator[Draft]:
    found = list(devices(view))
    for device, link in found:
        if link.up or not device.peers:
            continue
        severity: Severity = "info"
        name, count = device.ifname, f"{len(device.peers)} peer" + ("s" if len(device.peers) > 1 else "")
        why = meant(view, device.ifname)
        if not (used(device) or was_up(link) or why):
            message = f"{name} has {count} and has never been up"
        elif replaced(view, device, found):
            message = f"{name} is down, and other WireGuard interfaces have all the prefixes of its {count}"
        elif _drained(view, why):
            message = f"{name} is down with its {count}, on a host that is drained"
        else:
            severity = "critical"
            message = f"{name} is down: none of its {count} can reach this host or be reached" + (
                f" ({why})" if why else ""
            )
        yield _finding(view, device, link, message, severity)
    for path in view.wireguard.dead_sockets:
        name = path.rpartition("/")[2].removesuffix(".sock")
        if name not in view.stack.by_name and not any(row.ifname == name for row in view.wireguard.devices):
            yield _killed(name, path, meant(view, name))


def _killed(name: str, path: str, why: str) -> Draft:
    """A socket without a daemon. All network namespaces of one /run share the folder, and nobody takes old ones away:
    without ``why``, what says that the device was here, it may be another namespace's, or of long ago."""
    return RULE.found(
        subject=subject("wireguard-interface", ifname=name),
        message=f"{name} is gone: the WireGuard daemon that served it was killed and left its socket behind"
        + (f" ({why})" if why else ""),
        confidence="likely" if why else "possible",
        evidence=[
            ("what the socket says", "Connection refused", f"connect {path}"),
            (f"interfaces named {name}", 0, "RTM_GETLINK"),
        ],
        confirm=[f"ls -l {quoted(path)}", "ip -br link show"],
        fix=f"start the service that made {name} (wg-quick up {quoted(name)}); its log tells why the daemon died",
        breaks=[subject("link", ifname=name)],
    )


def _finding(view: HostView, device: WireguardDevice, link: Link, message: str, severity: Severity) -> Draft:
    name = device.ifname
    newest = max((peer.latest_handshake or 0.0 for peer in device.peers), default=0.0)
    age = [("seconds since the last handshake of any peer", round(view.wireguard.at - newest))] if newest else []
    own = [row.local for row in view.addresses if row.ifindex == link.ifindex and row.local]
    return RULE.found(
        subject=device_subject(device),
        message=message,
        evidence=[
            (f"{name} is up", "no", f"RTM_GETLINK {name} IFF_UP"),
            (f"{name} qdisc", link.qdisc or "none", f"RTM_GETLINK {name} IFLA_QDISC"),
            ("peers", len(device.peers), source(device, "WGDEVICE_A_PEERS", "public_key")),
            *((f, v, source(device, "WGPEER_A_LAST_HANDSHAKE_TIME", "last_handshake_time_sec")) for f, v in age),
        ],
        confirm=[f"ip link show dev {quoted(name)}", f"wg show {quoted(name)}"],
        fix=f"ip link set dev {quoted(name)} up" + _routes_lost(view, device, link),
        severity=severity,
        confidence="certain" if severity == "critical" else "likely",
        touches=[subject("link", ifname=name)],
        breaks=[
            subject("link", ifname=name),
            *(subject("address", address=address, ifname=name) for address in own),
            *(_emptied(view, device) if severity == "critical" else ()),
        ],
    )


def _routes_lost(view: HostView, device: WireguardDevice, link: Link) -> str:
    """A word on the routes that went with the interface: those of its own subnets come back, the others do not."""
    own = [
        ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False)
        for row in view.addresses
        if row.ifindex == link.ifindex and row.local
    ]
    lost = [
        prefix
        for prefix in allowed(device)
        if prefix.prefixlen and not any(net.overlaps(prefix) and net.prefixlen <= prefix.prefixlen for net in own)
    ]
    if not lost:
        return ""
    first = min(lost, key=lambda one: (one.version, one.prefixlen, one.network_address.packed))
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    route = f"ip route add {first} dev {quoted(device.ifname)}"
    return f"  # then the routes that went with it (its unit makes them): {route}{more}"


def _emptied(view: HostView, device: WireguardDevice) -> Iterator[Subject]:
    """What loses its routes with a device that takes everything: the default route, which is also missed by what is
    sent to prefixes without another way; and the rules for what does not bear the device's mark (wg-quick)."""
    held = allowed(device)
    for dst, version in (("0.0.0.0/0", 4), ("::/0", 6)):
        if any(one.version == version and not (one.prefixlen and way_into(view, one)[1].hops) for one in held):
            yield subject("route", dst=dst, table=RT_TABLE_MAIN)
    for rule in view.rules:
        if device.fwmark and rule.fwmark == device.fwmark:
            yield rule_subject(rule)


def examples() -> Iterator[Example]:
    yield from _fault_examples()
    yield from _quiet_examples()
    yield from standby_examples()


def _fault_examples() -> Iterator[Example]:
    for what, userspace in (("kernel", False), ("userspace", True)):
        yield Example(
            name=f"taken down, {what}",
            why="its peers have shaken hands, so it was in use; the daemon may go on shaking hands all the same",
            tables=down(userspace=userspace).wg_peer("wg0", "a", age=30).build(),
            fires=1,
            subject=ABOUT,
            severity="critical",
            confidence="certain",
            says=("none of its 1 peer can", "seconds since the last handshake of any peer 30"),
        )
    yield Example(
        name="taken down before anything was said",
        why="its queueing discipline tells that it has been up",
        tables=down().wg_peer("wg0", "a").wg_peer("wg0", "b").build(),
        fires=1,
        severity="critical",
        says=("none of its 2 peers can",),
    )
    yield Example(
        name="handshakes, and no word of a queueing discipline",
        why="either sign is enough",
        tables=down(qdisc=None).wg_peer("wg0", "a", age=900).build(),
        fires=1,
        severity="critical",
    )
    for name, rx, tx in (("received", 148, 0), ("sent", 0, 148)):
        yield Example(
            name=f"bytes {name}, and the interface set up anew",
            why="a peer that was spoken to is in use, handshake or not",
            tables=down(qdisc="noop").wg_peer("wg0", "a", rx_bytes=rx, tx_bytes=tx).build(),
            fires=1,
            severity="critical",
        )

    gone = WireguardBuilder().dead_sockets("/run/wireguard/wg7.sock")
    yield Example(
        name="its daemon was killed",
        why="the socket is all that is left",
        tables=gone.build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg7"),
        severity="info",
        confidence="possible",
        says=("wg7 is gone",),
    )
    meant_ = WireguardBuilder().dead_sockets("/run/wireguard/wg7.sock")
    meant_.intend(wireguard=(IntendedWireguard(ifname="wg7"),))
    before = WireguardBuilder().wireguard("wg7").wg_peer("wg7", "a", age=9).build()
    for why, made, old in (("the intent names it", meant_, None), ("it was up at the time", gone, before)):
        yield Example(
            name=f"its daemon was killed, {why}",
            why="it was this host's",
            tables=made.build(),
            baseline=old,
            fires=1,
            subject=subject("wireguard-interface", ifname="wg7"),
            severity="critical",
            confidence="likely",
            says=("wg7 is gone", why),
        )

    for prefixes, has in (
        (("10.9.0.2/32", "10.20.0.0/16", "10.30.0.0/24"), "ip route add 10.20.0.0/16 dev wg0 and 1 more"),
        (("10.9.0.2/32", "fd00:2::/64"), "ip route add fd00:2::/64 dev wg0"),
        (("10.9.0.2/32", "10.9.0.0/16"), "ip route add 10.9.0.0/16 dev wg0"),
        (("10.9.0.2/32", "0.0.0.0/0"), "ip link set dev wg0 up"),
    ):
        host = down().wg_peer("wg0", "a", age=30, allowed_ips=prefixes)
        host.address("wg0", "10.9.0.1/24")
        yield Example(
            name=f"its routes went with it: {' '.join(prefixes)}",
            why="those of its own subnet come back",
            tables=host.build(),
            fires=1,
            severity="critical",
            says=(has,),
        )


def _quiet_examples() -> Iterator[Example]:
    old = WireguardBuilder().wireguard("wg7").wg_peer("wg7", "a", age=9).dead_sockets("/run/wireguard/wg7.sock")
    yield Example(name="its daemon was killed, and it is there", why="the kernel serves it now", tables=old.build())
    tun = WireguardBuilder().dead_sockets("/run/wireguard/wg7.sock")
    tun.link("wg7", kind="tun")
    yield Example(name="its daemon was killed, and a tun device bears the name", why="not gone", tables=tun.build())
    away = WireguardBuilder().wireguard("wg7", userspace=True).elsewhere("wg7")
    away.dead_sockets("/var/run/wireguard/wg7.sock")
    yield Example(name="a socket of before, and its device elsewhere", why="it was started anew", tables=away.build())
    yield Example(
        name="up",
        why="the near miss: the same device, up",
        tables=WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=30).build(),
    )
    yield Example(name="down without peers", why="nobody is cut off (a drained host)", tables=down().build())
    yield Example(
        name="socket left behind",
        why="the interface lives in another namespace and may well be up",
        tables=down(userspace=True).wg_peer("wg0", "a", age=30).elsewhere("wg0").build(),
    )
    other = WireguardBuilder().wireguard("wg0", userspace=True, up=False, kind="veth").wg_peer("wg0", "a", age=30)
    yield Example(
        name="an interface of another kind has the name",
        why="the daemon's own was moved away, and this one is not WireGuard's",
        tables=other.build(),
    )
    yield Example(name="no WireGuard", why="an ordinary interface is down", tables=_plain().build())


def _plain() -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth1", up=False)
    return host
