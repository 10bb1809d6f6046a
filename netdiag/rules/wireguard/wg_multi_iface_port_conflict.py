"""What it checks
  Two WireGuard interfaces of this namespace have the same UDP port, and one of them is down: the kernel opens the port
  when an interface comes up, and refuses the second one.

Why it matters
  "ip link set up" fails with "Address already in use", mostly in the log of a unit that nobody reads. All peers of
  that interface are gone while the other one works.

Confirm
  wg show all listen-port
  ip link show dev IFNAME

Fix
  wg set IFNAME listen-port PORT with a free one, then ip link set dev IFNAME up. Peers that have this host's old port
  as endpoint must be told, unless this host calls them.

Not flagged
  Two interfaces with one port in different namespaces. Interfaces that are both up (one of them is of another
  namespace, or both share the port by a daemon's choice). One that is down without peers; a standby whose prefixes
  are routed to the other interface (told as info).

References
  drivers/net/wireguard/device.c wg_open(), socket.c wg_socket_init() "-EADDRINUSE"; wg(8) "listen-port"
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguard.wg_iface_down import replaced
from netdiag.rules.wireguardpeers import device_subject, devices, source

RULE = Rule(
    id="wg-multi-iface-port-conflict",
    title="two WireGuard interfaces want the same UDP port",
    severity="critical",
    confidence="likely",
    reads=("links", "wireguard"),
    consults=("addresses", "routes", "rules", "nexthops", "sysctls"),
    explains=("wg-iface-down",),
    own_cause=True,
)


def check(view: HostView) -> Iterator[Draft]:
    found = list(devices(view))
    for device, link in found:
        if link.up or not device.peers or not device.listen_port:
            continue
        there = [(other, its) for other, its in found if its.up and other.listen_port == device.listen_port]
        rivals = [other for other, _ in there]
        if not rivals:
            continue
        name, other = device.ifname, rivals[0].ifname
        standby = replaced(view, device, there)
        yield RULE.found(
            subject=device_subject(device),
            message=f"{name} is down and wants UDP port {device.listen_port}, which {other} has: it cannot come up",
            evidence=[
                (f"{name} listen port", device.listen_port, source(device, "WGDEVICE_A_LISTEN_PORT", "listen_port")),
                (
                    f"{other} listen port",
                    device.listen_port,
                    source(rivals[0], "WGDEVICE_A_LISTEN_PORT", "listen_port"),
                ),
                (f"{name} is up", "no", f"RTM_GETLINK {name} IFF_UP"),
            ],
            confirm=["wg show all listen-port", f"ip link show dev {quoted(name)}"],
            fix=f"wg set {quoted(name)} listen-port {device.listen_port + 1} && ip link set dev {quoted(name)} up",
            severity="info" if standby else "critical",
            touches=[subject("link", ifname=name), device_subject(rivals[0])],
            breaks=[subject("link", ifname=name)],
        )


def _host(
    *, up: bool = False, prefix: str = "10.1.0.2/32", peers: bool = True, ports: tuple[int | None, ...] = (51820, 51820)
) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0", listen_port=ports[0]).wireguard("wg1", up=up, listen_port=ports[1])
    host.wg_peer("wg0", "a")
    return host.wg_peer("wg1", "b", allowed_ips=(prefix,)) if peers else host


def examples() -> Iterator[Example]:
    yield Example(
        name="one down, the same port",
        why="it cannot come up",
        tables=_host().build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg1"),
        severity="critical",
        says=("wants UDP port 51820, which wg0 has", "listen-port 51821"),
    )
    yield Example(name="both up", why="it works", tables=_host(up=True).build())
    standby = WireguardBuilder().wireguard("wg0").wireguard("wg1", up=False).wg_peer("wg0", "a", age=10)
    standby.wg_peer("wg1", "b").route("10.0.0.2/32", dev="wg0")
    yield Example(name="a standby", why="the other has its prefixes", tables=standby.build(), fires=1, severity="info")
    yield Example(name="no peers", why="prepared", tables=_host(peers=False).build())
    away = WireguardBuilder().wireguard("wg0", userspace=True).elsewhere("wg0").wireguard("wg1", up=False)
    yield Example(name="in another namespace", why="ports are apart", tables=away.wg_peer("wg1", "b").build())
    yield Example(name="another port", why="it can come up", tables=_host(ports=(51820, 51821)).build())
    yield Example(
        name="no port was told", why="nothing says that they are one", tables=_host(ports=(None, None)).build()
    )
