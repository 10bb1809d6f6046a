"""What a fault of a drill does to packets: pings between the hosts of the lab before it, under it and after its repair.

Only with ``NETDIAG_LOSSES=FILE`` (``make severity``): each drill then adds a line to the file, from which
``tests/drills/severity.py`` makes the tables of docs/severity.md. Small pings show whether anything gets through, large
ones (of 1400 bytes, unfragmented) whether full packets do. What is told in a test that is no ``Drill`` adds its
evidence (conftest.py beside this file).
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


def goes(host: Host, address: str, *, name: str = "") -> bool:
    """Whether a ping from the host to the address is answered, within a third of a second."""
    source = ("-I", name) if name else ()
    return not host.run("ping", "-n", "-c1", "-W0.3", *source, address, check=False).returncode


def asked() -> bool:
    return "NETDIAG_LOSSES" in os.environ


def thorough() -> bool:
    """Whether there is time to measure what takes seconds to be lost."""
    return asked() or "NETDIAG_LONG" in os.environ


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


FIRST, UNDER, TOLD = range(3)
"""How a finding stands in the report of a drill: first, explained by the first, or anywhere in a test's report."""


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
    first = findings[0]
    seen = {"asked": len(before), "lost": sorted(before - broken), "carries": carries}
    for finding in findings:
        if finding is first or (finding["rule"] in explains and finding["explained_by"]):
            drill = name if finding is first else f"under {first['rule']}" + f", {name}" * bool(name)
            _add(finding, FIRST if finding is first else UNDER, seen | {"drill": drill})


def lost(finding: dict[str, Any], name: str = "") -> None:
    """Add, where somebody asked, that a test saw under this finding the loss of what got through before it."""
    if asked():
        note([finding], (), name, True, set(), set())


def told(findings: list[dict[str, Any]]) -> None:
    """Add what a report said, of which nothing is measured."""
    for finding in {row["rule"]: row for row in findings}.values():
        _add(finding, TOLD, {"drill": "", "asked": 0, "lost": [], "carries": False})


def _add(finding: dict[str, Any], rank: int, seen: dict[str, object]) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0].rpartition("/")[2]
    evidence = [[row["fact"], row["value"]] for row in finding["evidence"]]
    row = {"rule": finding["rule"], "severity": finding["severity"], "file": test, "rank": rank, "evidence": evidence}
    with Path(os.environ["NETDIAG_LOSSES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | seen) + "\n")
