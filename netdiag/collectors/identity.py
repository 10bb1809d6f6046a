"""Which machine this is, and who makes the interfaces, addresses, routes and rules on it.

Source: os-release(5), machine-id(5) (only a hash of it is kept), names of processes, and files and sockets that such
software leaves. Nobody is asked. Needs no privilege; what cannot be read is null.
"""

import hashlib
import re

from netdiag.collectors import Collected, Options
from netdiag.collectors.clock import read_daemons
from netdiag.model.host import Identity, Manager, Networkd
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
CONF_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
FOREIGN = {
    "ManageForeignRoutes": "manage_foreign_routes",
    "ManageForeignRoutingPolicyRules": "manage_foreign_rules",
    "ManageForeignNextHops": "manage_foreign_nexthops",
}
LINKS = "/run/systemd/netif/links"
MANAGED = re.compile(rb"^ADMIN_STATE=(?:configured|configuring|failed)\s*$", re.MULTILINE)
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


def _switches(text: str) -> dict[str, bool]:
    """The settings of the section [Network] that are asked for. An empty value takes the default back."""
    found: dict[str, bool] = {}
    section = ""
    for line in map(str.strip, text.splitlines()[:1000]):
        if line.startswith("["):
            section = line
        name, equals, value = line.partition("=")
        field = FOREIGN.get(name.strip())
        if section == "[Network]" and equals and field is not None:
            found[field] = value.strip().lower() not in ("no", "n", "false", "f", "off", "0")
    return found


def read_networkd(source: Source) -> Networkd:
    """networkd.conf(5) with its drop-ins, the last one by name counts, and the interfaces that are managed."""
    paths: dict[str, str] = {}
    for folder in CONF_FOLDERS:
        try:
            names = source.listdir(f"{folder}/networkd.conf.d")[:64]
        except Unreadable:
            continue
        for name in names:
            if name.endswith(".conf"):
                paths.setdefault(name, f"{folder}/networkd.conf.d/{name}")
    mains = [f"{folder}/networkd.conf" for folder in CONF_FOLDERS]
    wanted = [*mains, *(paths[name] for name in sorted(paths))]
    texts = {path: kernel_text(raw) for path, raw in source.read_many(wanted).items()}
    main = next((path for path in mains if path in texts), None)
    settings: dict[str, bool] = {}
    last = ""
    for path in wanted:
        if path in texts and (path == main or path not in mains):
            found = _switches(texts[path])
            settings |= found
            last = path if found else last
    links = [
        f"{LINKS}/{name}" for name in _names(source, LINKS) if name.isascii() and name.isdigit() and len(name) < 10
    ][:1024]
    states = source.read_many(links) if links else {}
    managed = tuple(int(path.rpartition("/")[2]) for path, raw in states.items() if MANAGED.search(raw) is not None)
    networks = [f"{folder}/network/{name}" for folder in CONF_FOLDERS for name in _names(source, f"{folder}/network")]
    read = source.read_many([path for path in networks if path.endswith(".network")][:256])
    own_rules = any(b"[RoutingPolicyRule]" in raw for raw in read.values())
    return Networkd(source=last, own_rules=own_rules, managed=tuple(sorted(managed)), **settings)


def _names(source: Source, folder: str) -> tuple[str, ...]:
    try:
        return source.listdir(folder)
    except Unreadable:
        return ()


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
        networkd=read_networkd(source) if any(one.name == "systemd-network" for one in daemons) else None,
        daemons=daemons,
    )
    return Collected(tables={"identity": table}, rows=1)
