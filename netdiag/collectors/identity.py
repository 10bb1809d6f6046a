"""Which machine this is, and who makes the interfaces, addresses, routes and rules on it.

Source: os-release(5), machine-id(5) (only a hash of it is kept), names of processes, and files and sockets that such
software leaves. Nobody is asked. Needs no privilege; what cannot be read is null.
"""

import hashlib

from netdiag.collectors import Collected, Options
from netdiag.collectors.clock import read_daemons
from netdiag.model.host import Identity, Manager
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

BY_PROCESS = {
    "systemd-network": "systemd-networkd",
    "NetworkManager": "NetworkManager",
    "dhclient": "dhclient",
    "dhcpcd": "dhcpcd",
    "dockerd": "docker",
    "containerd": "containerd",
    "kubelet": "kubernetes",
    "cilium-agent": "cilium",
    "calico-node": "calico",
    "consul": "consul",
    "nomad": "nomad",
    "vault": "vault",
    "bird": "bird",
    "bird6": "bird",
    "zebra": "frr",
    "keepalived": "keepalived",
    "tailscaled": "tailscale",
    "libvirtd": "libvirt",
    "connmand": "connman",
    "ovs-vswitchd": "openvswitch",
}
OTHERS = ("dnsmasq", "unbound", "named", "systemd-resolve", "coredns", "envoy", "haproxy", "nginx", "firecracker")
BY_PATH = {
    "/run/systemd/netif/links": "systemd-networkd",
    "/run/NetworkManager": "NetworkManager",
    "/etc/cni/net.d": "kubernetes-cni",
}


def read_os_release(source: Source) -> dict[str, str]:
    """``NAME=value`` lines, unquoted."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            text = kernel_text(source.read(path))
        except Unreadable:
            continue
        pairs = (line.partition("=") for line in text.splitlines())
        return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs if value}
    return {}


def _line(source: Source, path: str) -> str | None:
    try:
        return kernel_text(source.read(path)).strip() or None
    except Unreadable:
        return None


def evidence_of_files(source: Source) -> list[Manager]:
    """Managers whose files are there: a folder that is not empty, an interfaces file that says something."""
    found: list[Manager] = []
    for path, name in BY_PATH.items():
        try:
            if source.listdir(path):
                found.append(Manager(name=name, evidence=path))
        except Unreadable:
            continue
    interfaces = _line(source, "/etc/network/interfaces") or ""
    if any(line.split()[:1] == ["iface"] and line.split()[1:2] != ["lo"] for line in interfaces.splitlines()):
        found.append(Manager(name="ifupdown", evidence="/etc/network/interfaces"))
    return found


def collect(source: Source, options: Options) -> Collected:
    """One row: the machine."""
    release = read_os_release(source)
    machine_id = _line(source, "/etc/machine-id")
    daemons = read_daemons(source, (*BY_PROCESS, *OTHERS))
    managers = {BY_PROCESS[d.name]: f"process {d.name}" for d in daemons if d.name in BY_PROCESS}
    for row in evidence_of_files(source):
        managers.setdefault(row.name, row.evidence)
    table = Identity(
        kernel=source.uname()[1],
        distribution=release.get("PRETTY_NAME"),
        distribution_id=release.get("ID"),
        version_id=release.get("VERSION_ID"),
        machine_id=hashlib.sha256(machine_id.encode()).hexdigest()[:16] if machine_id else None,
        boot_id=_line(source, "/proc/sys/kernel/random/boot_id"),
        uptime=round(source.clock("boottime"), 3),
        managers=tuple(Manager(name=name, evidence=evidence) for name, evidence in sorted(managers.items())),
        daemons=daemons,
    )
    return Collected(tables={"identity": table}, rows=1)
