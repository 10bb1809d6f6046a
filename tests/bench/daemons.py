"""What it costs to read WireGuard with thousands of peers, BIRD with a million routes, and a host that has it all.

Hosts of the lab with the real daemons. While BIRD is read, a second client asks it for its status over and over: the
longest that it waits is the stall that netdiag causes. Costs are those of tests.bench.read and tests.bench.spent.
"""

import base64
import hashlib
import ipaddress
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab import Host, Lab
from tests.lab import bpfobjects as bpf
from tests.lab.daemons import BIRD_SOCKET, Peer, key_pair

PYTHON = sys.executable
NETDIAG = str(Path(PYTHON).with_name("netdiag"))
RUNS = 3
BIRD_HEAD = "router id 192.0.2.1;\nprotocol device {}\nprotocol static { ipv4;\n"


def peers(count: int) -> list[Peer]:
    """So many peers with two prefixes each; most have an endpoint, every third a keepalive."""
    first = int(ipaddress.ip_address("10.64.0.0"))
    return [
        Peer(
            public_key=base64.b64encode(hashlib.sha256(b"%d" % number).digest()).decode(),
            allowed_ips=[f"{ipaddress.ip_address(first + number)}/32", f"fd00:{number:x}::/64"],
            endpoint=f"192.0.2.{number % 200 + 2}:{10000 + number}" if number % 5 else None,
            persistent_keepalive=None,
        )
        for number in range(count)
    ]


def words(line: str) -> dict[str, float]:
    """``user= system= wall= ...`` as numbers, with ``cpu``."""
    said = {name: float(value) for name, value in (word.split("=", 1) for word in line.split())}
    return said | {"cpu": said["user"] + said["system"]}


def least(host: Host, *argv: str) -> dict[str, float]:
    """The cheapest of several runs of one of our measuring modules."""
    costs = [words(host.run(PYTHON, "-m", *argv, timeout=120).stdout) for _ in range(RUNS)]
    return min(costs, key=lambda cost: cost["cpu"])


def wireguard(scale: float) -> list[str]:
    """5,000 peers of a wireguard-go: netdiag, and wg(8) with a parse."""
    count = max(2, int(5000 * scale))
    with Lab() as lab:
        host = lab.host("edge1")
        lab.wireguard(host, "wg0", key_pair(host)[0], 51820, peers(count))
        own, theirs = least(host, "tests.bench.read", "wireguard"), least(host, "tests.bench.wgdump")
    assert own["rows"] == theirs["rows"] == count, (own, theirs)
    ratio = f"{own['cpu'] / theirs['cpu']:.2f}x" if theirs["cpu"] else "-"
    return [f"{count} peers", f"{own['cpu']:.3f}", f"{theirs['cpu']:.3f}", ratio]


def million(host: Host, lab: Lab, count: int) -> None:
    """A BIRD with so many static routes."""
    first = int(ipaddress.ip_address("10.0.0.0"))
    lines = (f"route {ipaddress.ip_address(first + number)}/32 blackhole;" for number in range(count))
    lab.birdd(host, BIRD_HEAD + "\n".join(lines) + "\n}\n")


def waits(until: threading.Event) -> list[float]:
    """Seconds that a second client waits for each ``show status``, asked over and over."""
    found = []
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(BIRD_SOCKET)
        _reply(client)
        while not until.is_set():
            asked = time.monotonic()
            client.sendall(b"show status\n")
            _reply(client)
            found.append(time.monotonic() - asked)
            until.wait(0.002)
    return found


def _reply(client: socket.socket) -> None:
    said = b""
    while not any(line[:4].isdigit() and line[4:5] == b" " for line in said.splitlines() if said.endswith(b"\n")):
        octets = client.recv(1 << 16)
        if not octets:
            raise ConnectionResetError("BIRD hung up")
        said += octets


def watched(work: Callable[[], object]) -> tuple[float, list[float]]:
    """Seconds that some work takes, and what a second client waits meanwhile."""
    over, found = threading.Event(), list[float]()
    client = threading.Thread(target=lambda: found.extend(waits(over)))
    client.start()
    started = time.monotonic()
    try:
        work()
    finally:
        took = time.monotonic() - started
        over.set()
        client.join()
    return took, found


def bird(scale: float) -> list[str]:
    """1,000,000 routes: our own time with counts only, and the longest and the median wait of a second client."""
    count = max(10, int(1_000_000 * scale))
    with Lab() as lab:
        host = lab.host("edge1")
        million(host, lab, count)

        def look() -> tuple[float, list[float], list[float]]:
            read = [PYTHON, "-m", "tests.bench.read"]
            idle = watched(lambda: threading.Event().wait(1))[1]
            took, found = watched(lambda: [subprocess.run([*read, "bird"], check=True, capture_output=True)])
            return took, idle, found

        took, idle, found = host.call(look, timeout=120)
        own = least(host, "tests.bench.read", "bird")
    worst, alone = max(found) * 1000, max(idle) * 1000
    middle = sorted(found)[len(found) // 2] * 1000
    return [
        f"{count} routes",
        f"{own['wall']:.3f}",
        f"{own['cpu']:.3f}",
        f"{took:.3f}",
        f"{worst:.1f}",
        f"{middle:.2f}",
        f"{alone:.1f}",
    ]


def everything(scale: float) -> list[str]:
    """``netdiag collect`` on a host with WireGuard, BIRD and eBPF: wall seconds, peak memory of its largest process."""
    count = max(2, int(200 * scale))
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        host, far = lab.host("edge1"), lab.host("edge2")
        lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
        lab.wireguard(host, "wg0", key_pair(host)[0], 51820, peers(count))
        host.ip("address add 10.9.0.1/24 dev wg0\nlink set dev wg0 up")
        million(host, lab, 1000)

        def programs() -> None:
            index = socket.if_nametoindex("eth0")
            for number in range(min(count, 60)):
                one = bpf.program(bpf.SCHED_CLS, f"prog{number}".encode(), verdict=-1)
                bpf.pin(bpf.link(one, index, 46), f"link{number}")

        host.call(programs)
        command = [NETDIAG, "collect", "--interval", "0", "-o", f"{folder}/host.netdiag"]
        costs = [words(host.run(PYTHON, "-m", "tests.bench.spent", *command).stdout) for _ in range(RUNS)]
    wall = min(cost["wall"] for cost in costs)
    return [
        f"{count} peers, 1,000 routes, {min(count, 60)} programs",
        f"{wall:.3f}",
        f"{costs[0]['rss_kib'] / 1024:.0f}",
    ]
