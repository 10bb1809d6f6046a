"""A router with a smaller link behind it, which is not allowed to say so.

edge1 --- 1500 --- core --- 1300 --- far
"""

import contextlib
import select
import socket
import threading

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import started
from tests.lab import Host, Lab

FAR, PORT = "198.51.100.2", 8080
PIDS: list[tuple[Host, int]] = []


def build(lab: Lab) -> Host:
    host, core, far = lab.host("edge1"), lab.host("core", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("far")
    lab.link(host, "eth0", core, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(core, "eth1", far, "eth0", a_addresses="198.51.100.1/24", b_addresses=f"{FAR}/24", mtu=1300)
    far.ip("link set dev eth0 mtu 1500")  # the far end does not know it either, or its MSS would say so
    host.ip("route add default via 192.0.2.2")
    far.ip("route add default via 198.51.100.1")
    started(far, "server", chatty)
    return host


def chatty() -> socket.socket:
    """A server that says something to everybody ten times a second, and reads nothing."""
    server = socket.create_server(("0.0.0.0", PORT))

    def greet() -> None:
        kept: list[socket.socket] = []
        while True:
            if select.select([server], [], [], 0.1)[0]:
                kept.append(server.accept()[0])
            for one in kept:
                with contextlib.suppress(OSError):
                    one.send(b".")

    threading.Thread(target=greet, daemon=True).start()
    return server


def swallowed(lab: Lab, host: Host) -> None:
    """The router's messages are filtered, and then somebody sends more than a segment."""
    drop = "icmp type destination-unreachable drop"
    lab.nft(lab.hosts["core"], "table inet t { chain o { type filter hook output priority 0; " + drop + "; }; }")

    def client() -> socket.socket:
        one = socket.create_connection((FAR, PORT), 5)
        one.sendall(b"x" * 5000)
        return one

    PIDS.append((host, started(host, "client", client)))


def mended(lab: Lab, host: Host) -> None:
    lab.hosts["core"].run("nft", "flush", "ruleset")
    where, pid = PIDS.pop()
    where.run("kill", "-KILL", str(pid), check=False)
    host.run("ss", "-K", "dst", FAR, check=False)


test_drill = drill_test(
    Drill(
        rule="pmtud-blackhole-icmp-filtered",
        build=build,
        break_=swallowed,
        repair=mended,
        severity="warning",
        expect={"kind": "socket", "dst": FAR},
        pings=False,  # the connection gives up meanwhile
        tolerate=("link-mtu-peer-mismatch",),  # far has the larger end of its cable, and edge1 sees none of it
    )
)
