"""What a fault of a drill does to packets: pings between the hosts of the lab before it, under it and after its repair.

Only with ``NETDIAG_LOSSES=FILE`` (``make severity``): each drill then adds a line to the file, from which
``tests/drills/severity.py`` makes the table of docs/severity.md. Small pings show whether anything gets through, large
ones (of 1400 bytes, unfragmented) whether full packets do.
"""

import json
import os
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tests.lab import Host, Lab

Pair = tuple[str, str, int]
"""(from host, to address, bytes)."""
SIZES = (56, 1372)
MOST = 12
"""Addresses that each host pings."""


def connects(address: str, port: int = 9, mark: int = 0, count: int = 2) -> Callable[[Lab, Host], bool]:
    """For ``Drill.carries``: a program of the host can send there, and is not refused (by a route, a rule, the kernel's
    choice of a source, or a closed port of its own). With ``count`` 0 nothing is sent: the kernel alone is asked."""

    def program() -> bool:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            try:
                one.connect((address, port))
                for _ in range(count):  # the answer to the first is an error of the second
                    one.send(b"?")
            except OSError:
                return False
        return True

    return lambda lab, host: host.call(program)


def leaves_by(ifname: str, address: str, *, mark: int = 0) -> Callable[[Lab, Host], bool]:
    """For ``Drill.carries``: what the host sends there leaves by that interface. Of twenty datagrams ten must, which is
    more than a neighbour that is asked for, or a listener that reports its groups, sends by itself."""

    def carries(lab: Lab, host: Host) -> bool:
        def sent() -> int:
            return int(host.read(f"/sys/class/net/{ifname}/statistics/tx_packets"))

        before = sent()
        lab.send_udp(host, address, 9, count=20, mark=mark)
        return sent() >= before + 10

    return carries


def arrives(sender: str, address: str, *, src: str | None = None, port: int = 9009) -> Callable[[Lab, Host], bool]:
    """For ``Drill.carries``: what another host of the lab sends there gets to a program of the host."""

    def carries(lab: Lab, host: Host) -> bool:
        listener = lab.listen_udp(host, "::" if ":" in address else "0.0.0.0", port)
        lab.send_udp(lab.hosts[sender], address, port, count=3, src=src)
        try:
            lab.wait(lambda: listener.packets > 0, 0.3)
        except TimeoutError:
            return False
        finally:
            listener.stop()
        return True

    return carries


def asked() -> bool:
    return "NETDIAG_LOSSES" in os.environ


def _addresses(host: Host) -> list[str]:
    """Addresses of a host that others may want to reach."""
    rows = json.loads(host.run("ip", "-j", "address", check=False).stdout or "[]")
    every = [one for row in rows for one in row.get("addr_info", []) if one.get("scope") == "global"]
    return [one["local"] for one in every if not one["local"].startswith("127.")]


def through(lab: Lab, among: Collection[str] = ()) -> set[Pair]:
    """Which pings are answered, from every host (or those ``among`` all) to the addresses of all others.

    Where there is no route none is sent: the kernel would count it as refused, and that is a sign of other faults.
    """
    hosts = {name: host for name, host in lab.hosts.items() if not among or name in among}
    own = {name: _addresses(host) for name, host in hosts.items()}
    answered = set()
    for name, host in hosts.items():
        far = [address for other, addresses in own.items() if other != name for address in addresses][:MOST]
        script = "".join(
            f"(ip route get {address} && ping -n -c1 -W1 -M do -s {size} {address}) >/dev/null 2>&1 "
            f"&& echo {address} {size} &\n"
            for address in far
            for size in SIZES
        )
        for line in host.run("bash", "-c", script + "wait", check=False, timeout=20).stdout.splitlines():
            address, size = line.split()
            answered.add((name, address, int(size)))
    return answered


def note(
    findings: list[dict[str, Any]],
    explains: tuple[str, ...],
    name: str,
    carries: bool,
    before: set[Pair],
    broken: set[Pair],
) -> None:
    """Add what was lost to the file: under the first finding's rule, and under those that stand below it because of it
    (``explains`` of the drill): of theirs the drill's name says so."""
    lost = sorted(before - broken)
    first = findings[0]
    rows: list[dict[str, object]] = []
    for finding in findings:
        if finding is first or (finding["rule"] in explains and finding["explained_by"]):
            drill = name if finding is first else f"under {first['rule']}" + f", {name}" * bool(name)
            rows.append({"rule": finding["rule"], "drill": drill, "severity": finding["severity"]})
    with Path(os.environ["NETDIAG_LOSSES"]).open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row | {"asked": len(before), "lost": lost, "carries": carries}) + "\n")
