"""Addresses that the CNI plugin host-local has given out, and whether their containers still run.

Source: /var/lib/cni/networks/NETWORK/ADDRESS, one file an address (root only), or below the dataDir that a
configuration in /etc/cni/net.d or /opt/cni/config names; and /proc/PID/cgroup, in which a container's id is a part of
the path. Absent where there is no such folder. Partial past a limit.
"""

import ipaddress
import json
from contextlib import suppress

from netdiag.collectors import Collected, Options
from netdiag.model.cni import Cni, CniAllocation
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

FOLDER = "/var/lib/cni/networks"
CONFIGURED = ("/etc/cni/net.d", "/opt/cni/config")
LIMIT = 8192
"""Files, and processes, that are read."""


def is_address(name: str) -> bool:
    """The folder holds locks and notes beside the addresses."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def groups(source: Source) -> str:
    """Control groups of all processes, in one text."""
    pids = [name for name in source.listdir("/proc") if name.isdigit()]
    found = source.read_many([f"/proc/{pid}/cgroup" for pid in pids[:LIMIT]])
    return "\n".join({kernel_text(raw) for raw in found.values()})


def folders(source: Source) -> list[str]:
    """Folders that hold networks: the usual one, and those that a configuration names."""
    found = [FOLDER]
    for place in CONFIGURED:
        try:
            names = [name for name in source.listdir(place) if name.endswith((".conf", ".conflist", ".json"))]
        except Unreadable:
            continue
        for name in names[:LIMIT]:
            with suppress(Unreadable):
                found += json.loads(source.fetch("settings", f"host-local\n{place}/{name}"))["folders"]
    return list(dict.fromkeys(found))


def collect(source: Source, options: Options) -> Collected:
    """Every address of every network. Raises Unreadable: absent without host-local."""
    paths: list[tuple[str, str, str]] = []
    absent: list[Unreadable] = []
    places = folders(source)
    for folder in places:
        try:
            networks = source.listdir(folder)
        except Unreadable as refusal:
            if refusal.why != "absent":
                raise
            absent.append(refusal)
            continue
        for network in networks:
            try:
                names = source.listdir(f"{folder}/{network}")
            except Unreadable as refusal:
                if refusal.why == "denied":
                    raise
                continue
            paths += [(folder, network, name) for name in names if is_address(name)]
    if len(absent) == len(places):
        raise absent[0]
    found = source.read_many(["/".join(path) for path in paths[:LIMIT]]) if paths else {}
    running = groups(source) if found else ""
    rows = []
    for folder, network, name in paths:
        raw = found.get(f"{folder}/{network}/{name}")
        if raw is None:
            continue
        lines = kernel_text(raw).split()
        if lines:
            rows.append(
                CniAllocation(
                    folder=folder,
                    network=network,
                    address=name,
                    container_id=lines[0],
                    ifname=lines[1] if len(lines) > 1 else None,
                    running=lines[0] in running,
                )
            )
    more = len(paths) > LIMIT
    return Collected(
        tables={"cni": Cni(allocations=tuple(rows))},
        rows=len(rows),
        status="partial" if more else "ok",
        detail=f"no more than {LIMIT} addresses were read" if more else "",
    )
