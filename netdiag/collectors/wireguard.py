"""WireGuard devices and peers, of the kernel and of userspace daemons, looked at twice.

Kernel: WG_CMD_GET_DEVICE for each link of kind wireguard; needs CAP_NET_ADMIN in the namespace (else denied).
Userspace: every ``*.sock`` under /run/wireguard and /var/run/wireguard; needs the right to open it. Asking loads no
module: the generic netlink family is taken from the list of those that are there. Absent where there is neither, nor a
socket that a daemon left behind. A daemon that does not answer, or a device that cannot be read, makes the whole
partial and is named.
"""

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.model.link import Link
from netdiag.model.wireguard import PeerCounters, Wireguard, WireguardDevice
from netdiag.sources import wireguard as uapi
from netdiag.sources.netlink import wireguard as kernel
from netdiag.sources.protocol import Source, Unreadable

DIRECTORIES = ("/run/wireguard", "/var/run/wireguard")
REFUSED = "Connection refused"
"""What a socket answers whose daemon is gone; one that stops in order takes it along."""


def read_kernel(source: Source, links: list[Link], troubles: list[Unreadable]) -> list[WireguardDevice]:
    """Every device of the kernel module; what could not be read goes to ``troubles``."""
    devices: list[WireguardDevice] = []
    if not links:
        return devices
    families = kernel.Families()
    source.dump(kernel.families(), families)
    number = families.numbers.get("wireguard")
    if number is None:
        troubles.append(Unreadable("failed", "links of kind wireguard, but no generic netlink family of that name"))
        return devices
    for link in links:
        sink = kernel.DeviceSink()
        try:
            source.dump(kernel.device(number, link.ifname, link.ifindex), sink)
        except Unreadable as trouble:
            troubles.append(trouble)
            continue
        devices.append(sink.device(link.ifname, link.ifindex))
    return devices


def sockets(source: Source) -> list[tuple[str, str]]:
    """Interface name and path of each daemon's socket, each once though /var/run is mostly the same as /run."""
    found: dict[str, str] = {}
    for directory in DIRECTORIES:
        try:
            names = source.listdir(directory)
        except Unreadable as trouble:
            if trouble.why == "denied":
                raise
            continue
        for name in names:
            if name.endswith(".sock"):
                found.setdefault(name.removesuffix(".sock"), f"{directory}/{name}")
    return sorted(found.items())


def read_userspace(
    source: Source,
    paths: list[tuple[str, str]],
    by_name: dict[str, Link],
    troubles: list[Unreadable],
    dead: list[str] | None = None,
) -> list[WireguardDevice]:
    """Every device served over a socket; a socket that a dead daemon left behind is none, and goes to ``dead``."""
    devices: list[WireguardDevice] = []
    for ifname, path in paths:
        try:
            answer = source.fetch("wireguard", path)
            link = by_name.get(ifname)
            devices.append(uapi.parse(answer, ifname, path, link.ifindex if link else None))
        except Unreadable as trouble:
            if trouble.why != "absent":
                troubles.append(trouble)
            elif dead is not None and trouble.detail.endswith(REFUSED):
                dead.append(path)
        except ValueError as error:
            troubles.append(Unreadable("failed", f"{path}: {error}"))
    return devices


def counters_of(devices: list[WireguardDevice]) -> tuple[PeerCounters, ...]:
    """What moves, of every peer."""
    return tuple(
        PeerCounters(
            ifname=device.ifname,
            public_key=peer.public_key,
            rx_bytes=peer.rx_bytes,
            tx_bytes=peer.tx_bytes,
            latest_handshake=peer.latest_handshake,
        )
        for device in devices
        for peer in device.peers
    )


def collect(source: Source, options: Options) -> Collected:
    """All devices, and unless ``options.interval`` is 0 their counters once more."""
    links, _ = read_links(source, stats=False)
    by_name = {link.ifname: link for link in links}
    inside = [link for link in links if link.kind == "wireguard"]
    troubles: list[Unreadable] = []
    paths = sockets(source)
    at, started = source.clock("realtime"), source.clock("boottime")
    dead: list[str] = []
    devices = read_kernel(source, inside, troubles) + read_userspace(source, paths, by_name, troubles, dead)
    if not devices and not troubles and not dead:
        raise Unreadable("absent", "no WireGuard device and no daemon's socket")
    second_at = seconds = None
    second: tuple[PeerCounters, ...] = ()
    if options.interval > 0 and devices:
        source.wait(options.interval)
        second_at, seconds = source.clock("realtime"), source.clock("boottime") - started
        again = read_kernel(source, inside, []) + read_userspace(source, paths, by_name, [])
        second = counters_of(again)
    if troubles and not devices:
        raise troubles[0]
    table = Wireguard(devices=tuple(devices), at=at, second_at=second_at, seconds=seconds, second=second)
    table = msgspec.structs.replace(table, dead_sockets=tuple(dead))
    return Collected(
        tables={"wireguard": table},
        rows=sum(len(device.peers) for device in devices),
        status="partial" if troubles else "ok",
        detail="; ".join(trouble.detail for trouble in troubles),
    )
