"""Addresses that the CNI plugin host-local has given out, and whether their containers still run.

Source: /var/lib/cni/networks/NETWORK/ADDRESS, one file an address (root only), and /proc/PID/cgroup, in which a
container's id is a part of the path. Absent where there is no such folder. Partial past a limit.
"""

import ipaddress

from netdiag.collectors import Collected, Options
from netdiag.model.cni import Cni, CniAllocation
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

FOLDER = "/var/lib/cni/networks"
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


def collect(source: Source, options: Options) -> Collected:
    """Every address of every network. Raises Unreadable: absent without host-local."""
    paths: list[tuple[str, str]] = []
    for network in source.listdir(FOLDER):
        try:
            paths += [(network, name) for name in source.listdir(f"{FOLDER}/{network}") if is_address(name)]
        except Unreadable as refusal:
            if refusal.why == "denied":
                raise
    found = source.read_many([f"{FOLDER}/{network}/{name}" for network, name in paths[:LIMIT]]) if paths else {}
    running = groups(source) if found else ""
    rows = []
    for network, name in paths:
        raw = found.get(f"{FOLDER}/{network}/{name}")
        if raw is None:
            continue
        lines = kernel_text(raw).split()
        if lines:
            rows.append(
                CniAllocation(
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
