"""What it checks
  A WireGuard interface that a userspace daemon serves (a tun interface with a socket in /run/wireguard) instead of the
  kernel's module. Where another interface here is of the kernel's kind, the module is plainly there, and the daemon
  is likely what is left of a time without it; else that is only possible.

Why it matters
  Every packet crosses into the daemon and back: less throughput, more latency and a CPU that fills up first. And a
  daemon can die: then the interface is gone, with its addresses and routes. wg-quick starts one by itself when the
  interface cannot be made in the kernel, for example after a kernel upgrade without the module.

Confirm
  ip -d link show dev IFNAME: "tun" instead of "wireguard"
  ls -l /run/wireguard
  modinfo wireguard

Fix
  modprobe wireguard, have it loaded at boot, and then make the interface again (wg-quick down IFNAME; wg-quick up
  IFNAME), which cuts the tunnel for a moment. In a container the module must be loaded on the machine below it.

Not flagged
  It is information only: wireguard-go, boringtun and their like are a fair choice, and in many containers and on some
  kernels the only one. Ordinary tun interfaces without such a socket (OpenVPN, tailscale, which has its socket
  elsewhere). A socket without an interface of kind tun here.

References
  https://www.wireguard.com/xplatform/, wg-quick(8) WG_QUICK_USERSPACE_IMPLEMENTATION, drivers/net/wireguard/,
  drivers/net/tun.c
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, devices

RULE = Rule(
    id="wg-userspace-fallback",
    title="a WireGuard interface is served in userspace",
    severity="info",
    reads=("links", "wireguard"),
    own_cause=True,
)


def check(view: HostView) -> Iterator[Draft]:
    inside = [link.ifname for link in view.links if link.kind == "wireguard"]
    beside = f", while {inside[0]} is the kernel's" if inside else ""
    for device, link in devices(view):
        if not device.userspace:
            continue
        name = device.ifname
        yield RULE.found(
            subject=device_subject(device),
            message=f"{name} is a tun interface served by a daemon, not by the kernel's WireGuard{beside}",
            evidence=[
                (f"{name} kind", link.kind, f"RTM_GETLINK {name} IFLA_INFO_KIND"),
                ("socket that answers", device.socket, f"{device.socket} get=1"),
            ],
            confirm=[f"ip -d link show dev {quoted(name)}", "ls -l /run/wireguard"],
            fix=f"modprobe wireguard && wg-quick down {quoted(name)} && wg-quick up {quoted(name)}",
            confidence="likely" if inside else "possible",
            touches=[subject("link", ifname=name)],
        )


def examples() -> Iterator[Example]:
    about = subject("wireguard-interface", ifname="wg0")
    alone = WireguardBuilder().wireguard("wg0", userspace=True)
    yield Example(
        name="daemon",
        why="perhaps it is meant so: nothing here says that the module exists",
        tables=alone.build(),
        fires=1,
        subject=about,
        severity="info",
        confidence="possible",
        says=("wg0 is a tun interface served by a daemon", "socket that answers /run/wireguard/wg0.sock"),
    )
    yield Example(
        name="daemon beside a kernel device",
        why="the module is there",
        tables=WireguardBuilder().wireguard("wg0", userspace=True).wireguard("wg1").build(),
        fires=1,
        subject=about,
        severity="info",
        confidence="likely",
        says=("while wg1 is the kernel's",),
    )
    yield Example(
        name="daemon's interface down",
        why="it is served all the same",
        tables=WireguardBuilder().wireguard("wg0", userspace=True, up=False).build(),
        fires=1,
    )
    yield Example(name="kernel device", why="as it should be", tables=WireguardBuilder().wireguard("wg0").build())
    plain = WireguardBuilder()
    plain.link("tun0", kind="tun", type=65534)
    yield Example(name="ordinary tun", why="no WireGuard at all", tables=plain.build())
    moved = WireguardBuilder().wireguard("wg0", userspace=True).elsewhere("wg0")
    yield Example(name="interface in another namespace", why="only the socket is here", tables=moved.build())
    other = WireguardBuilder().wireguard("wg0", userspace=True, kind="veth")
    yield Example(name="interface of another kind", why="the name was taken by another", tables=other.build())
