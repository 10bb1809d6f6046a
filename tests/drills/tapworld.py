"""A worker with two routed guests on taps, each held by a stand-in for a virtual machine that answers ARP."""

from __future__ import annotations

from tests.lab import Host, Lab
from tests.lab.taps import hold
from tests.lab.wait import wait_until

GUESTS = {"tap0": ("10.1.0.5", "06:00:00:00:00:05"), "tap1": ("10.1.0.6", "06:00:00:00:00:06")}


def worker(lab: Lab, *, held: tuple[str, ...] = ("tap0", "tap1"), v6: bool = False) -> Host:
    """An uplink with a default route, two taps with a host route each, and the machines of ``held``."""
    host, gateway = lab.host("worker1", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("gw")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1")
    for ifname, (address, _) in GUESTS.items():
        host.ip(f"tuntap add dev {ifname} mode tap vnet_hdr\nlink set dev {ifname} up")
        host.ip(f"address add 169.254.0.1/32 dev {ifname}\nroute add {address}/32 dev {ifname}")
        if v6:
            host.ip(f"route add 2001:db8:1::{address[-1]}/128 dev {ifname}")
        host.sysctl({f"net/ipv4/conf/{ifname}/proxy_arp": 1})
        if ifname in held:
            boot(host, ifname)
    return host


def boot(host: Host, ifname: str) -> int:
    """The guest of a tap starts; the pid of its stand-in."""
    address, mac = GUESTS[ifname]
    return hold(host, ifname, vnet_hdr=True, guests={address: mac})


def stop(host: Host, comm: str = "firecracker") -> None:
    """Every stand-in of that name is killed, and has let go of its tap: only then can another take it."""
    pids = host.run("pgrep", "-x", comm, check=False).stdout.split()
    for pid in pids:
        host.run("kill", "-9", pid, check=False)
    for pid in pids:
        wait_until(lambda pid=pid: _ended(host, pid), 10, f"{comm} has ended")  # type: ignore[misc]


def _ended(host: Host, pid: str) -> bool:
    """Whether a process is gone, or dead and without files (a zombie)."""
    return host.run("ps", "-o", "stat=", "-p", pid, check=False).stdout.strip()[:1] in ("", "Z")


def ask(lab: Lab, host: Host, address: str, ifname: str) -> None:
    """Send to a guest until the host knows its hardware address on that tap."""

    def known() -> bool:
        lab.send_udp(host, address, 9, count=1)
        return "lladdr" in host.run("ip", "neigh", "show", "to", address, "dev", ifname, check=False).stdout

    lab.wait(known, 4, f"{address} answers on {ifname}")
