"""What it checks
  A host that forwards WireGuard traffic over an interface whose rx-udp-gro-forwarding is off.

Why it matters
  Each UDP packet then climbs through the stack alone. With it the kernel carries up to 64 at once, which for WireGuard
  and QUIC that is passed on can double the throughput. It is a matter of speed, never of loss.

Confirm
  ethtool -k IFNAME | grep -E 'rx-udp-gro-forwarding|rx-gro-list'

Fix
  ethtool -K IFNAME rx-udp-gro-forwarding on rx-gro-list off: at once, without a reset; forgotten at the next boot.

Not flagged
  Never more than an info. Hosts that forward nothing, or have no WireGuard. Hosts with vxlan or geneve, where it is
  left off on purpose because some kernels lose encapsulated packets with it. Kernels without the feature.

References
  net/ipv4/udp_offload.c udp_gro_receive(); include/linux/netdev_features.h NETIF_F_GRO_UDP_FWD (Linux 5.12)
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.cards import device
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="gro-udp-fwd-off",
    title="UDP is forwarded packet by packet",
    severity="info",
    reads=("links", "ethtool", "sysctls", "routes", "rules", "nexthops"),
    consults=("wireguard",),
)
FEATURE, OTHER = "rx-udp-gro-forwarding", "rx-gro-list"
OVERLAYS = frozenset({"vxlan", "geneve"})


def check(view: HostView) -> Iterator[Draft]:
    kinds = {link.kind for link in view.links if link.up}
    forwards = any(view.sysctl_int(name) for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"))
    encrypts = "wireguard" in kinds or (view.read_whole("wireguard") and bool(view.wireguard.devices))
    if not encrypts or kinds & OVERLAYS or not forwards:
        return
    table = view.ethtool
    out = {one for family in ("inet", "inet6") for one in (default_oifs(view, family) or ())}
    for link in view.links:
        row = device(table, link.ifindex)
        if row is None or link.ifindex not in out or link.kind not in (None, "veth"):
            continue
        if table.has(row.features, FEATURE) is not False or table.has(row.features, OTHER):
            continue
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} hands on the UDP packets of WireGuard one by one: {FEATURE} is off",
            evidence=[(FEATURE, "off", f"ETHTOOL_MSG_FEATURES_GET {link.ifname}")],
            confirm=[f"ethtool -k {quoted(link.ifname)}"],
            fix=f"ethtool -K {quoted(link.ifname)} {FEATURE} on {OTHER} off",
        )


def _case(name: str, why: str, fires: int = 0, *, bits: int = 0, forward: int = 1, also: str = "wireguard") -> Example:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").route("default", via="192.0.2.2", dev="eth0")
    host.link("wg0", kind="wireguard" if also else None).sysctl("net.ipv4.ip_forward", forward)
    if also not in ("", "wireguard"):
        host.link("x0", kind=also)
    row = EthtoolDevice(ifindex=host.ifindex("eth0"), ifname="eth0", features=(bits,))
    names = (FEATURE, OTHER)
    tables = replace(host.build(), ethtool=Ethtool(devices=(row,), feature_names=names))
    return Example(name=name, why=why, tables=tables, fires=fires)


def examples() -> Iterator[Example]:
    yield _case("off", "it could be faster", 1)
    yield _case("on", "as fast as it gets", bits=1)
    yield _case("gro-list", "the other way to do it", bits=2)
    yield _case("end host", "it forwards nothing", forward=0)
    yield _case("no WireGuard", "then it does not matter", also="")
    yield _case("vxlan", "left off on purpose", also="vxlan")
    asked = _case("", "").tables
    yield Example(name="not asked", why="the driver does not say", tables=replace(asked, ethtool=Ethtool()))
    two = replace(asked, links=(*asked.links, msgspec.structs.replace(asked.links[1], ifindex=9, ifname="eth1")))
    rows = (*asked.ethtool.devices, EthtoolDevice(ifindex=9, ifname="eth1", features=(0,)))
    ethtool = msgspec.structs.replace(asked.ethtool, devices=rows)
    yield Example(name="a second card", why="no default route by it", tables=replace(two, ethtool=ethtool), fires=1)
    bridge = tuple(msgspec.structs.replace(one, kind="bridge") if one.ifname == "eth0" else one for one in asked.links)
    yield Example(name="by a bridge", why="its ports count", tables=replace(asked, links=bridge))
    down = tuple(msgspec.structs.replace(one, flags=0) if one.ifname == "wg0" else one for one in asked.links)
    yield Example(name="WireGuard is down", why="it encrypts nothing", tables=replace(asked, links=down))
    mesh = WireguardBuilder().wireguard("wg0", userspace=True).build().wireguard
    daemon = replace(_case("", "", also="").tables, wireguard=mesh)
    yield Example(name="a daemon's WireGuard", why="it forwards as well", tables=daemon, fires=1)
    late = ("wireguard",)
    yield Example(name="the daemon does not answer", why="nobody knows", tables=daemon, late=late, unjudged=True)
