"""What a fault of a drill does to packets: pings between the hosts of the lab before it, under it and after its repair.

Only with ``NETDIAG_LOSSES=FILE`` (``make severity``): each drill then adds a line to the file, from which
``tests/drills/severity.py`` makes the table of docs/severity.md. Small pings show whether anything gets through, large
ones (of 1400 bytes, unfragmented) whether full packets do.
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.lab import Host, Lab

Pair = tuple[str, str, int]
"""(from host, to address, bytes)."""
SIZES = (56, 1372)
MOST = 12
"""Addresses that each host pings."""


def connects(address: str, port: int = 9, mark: int = 0) -> Callable[[Lab, Host], bool]:
    """For ``Drill.carries``: a program of the host can send there, and is not refused (by a route, a rule, the kernel's
    choice of a source, or a closed port of its own)."""

    def program() -> bool:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            try:
                one.connect((address, port))
                for _ in range(2):  # the answer to the first is an error of the second
                    one.send(b"?")
            except OSError:
                return False
        return True

    return lambda lab, host: host.call(program)


def asked() -> bool:
    return "NETDIAG_LOSSES" in os.environ


def _addresses(host: Host) -> list[str]:
    """Addresses of a host that others may want to reach."""
    rows = json.loads(host.run("ip", "-j", "address", check=False).stdout or "[]")
    every = [one for row in rows for one in row.get("addr_info", []) if one.get("scope") == "global"]
    return [one["local"] for one in every if not one["local"].startswith("127.")]


def through(lab: Lab) -> set[Pair]:
    """Which pings are answered, from every host to the addresses of all others."""
    own = {name: _addresses(host) for name, host in lab.hosts.items()}
    answered = set()
    for name, host in lab.hosts.items():
        far = [address for other, addresses in own.items() if other != name for address in addresses][:MOST]
        script = "".join(
            f"(ping -n -c1 -W1 -M do -s {size} {address} >/dev/null 2>&1 && echo {address} {size}) &\n"
            for address in far
            for size in SIZES
        )
        for line in host.run("bash", "-c", script + "wait", check=False, timeout=20).stdout.splitlines():
            address, size = line.split()
            answered.add((name, address, int(size)))
    return answered


def note(rule: str, name: str, severity: str, carries: bool, before: set[Pair], broken: set[Pair]) -> None:
    """Add what was lost to the file."""
    lost = sorted(before - broken)
    row: dict[str, object] = {"rule": rule, "drill": name, "severity": severity, "asked": len(before), "lost": lost}
    row["carries"] = carries
    with Path(os.environ["NETDIAG_LOSSES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
