"""What sockets, counters and files tell about a host that is about to break, or only odd: one drill a rule."""

import contextlib
import socket

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import listener, pair, started
from tests.lab import Host, Lab

PIDS: dict[str, int] = {}
SERVED = "192.0.2.1"


def serving(address: str) -> object:
    """A host that listens on an address of lo."""

    def build(lab: Lab) -> Host:
        host = pair(lab)
        host.ip(f"address add {address} dev lo")
        started(host, "web", lambda: listener(address.partition("/")[0], 8080, 16))
        return host

    return build


def closing(lab: Lab) -> Host:
    """A server that accepts 120 connections, reads to the end and does not close; a client that holds them."""
    host = pair(lab)

    def serve() -> list[socket.socket]:
        server = listener(SERVED, 8080, 200)
        server.setblocking(False)
        return [server]

    def work() -> None:
        (server,) = serve()
        server.setblocking(True)
        kept = []
        while True:
            kept.append(server.accept()[0])

    PIDS["server"] = host.fork(work)
    lab.wait(lambda: ":8080" in host.run("ss", "-Hltn").stdout, 5, "it listens")

    def connect() -> list[socket.socket]:
        return [socket.create_connection((SERVED, 8080)) for _ in range(120)]

    PIDS["client"] = started(lab.hosts["client"], "client", connect)
    return host


def sender(lab: Lab) -> Host:
    """A client that accepts and never reads."""
    host = pair(lab)

    def serve() -> list[socket.socket]:
        server = listener("::", 9000, 4)
        return [server]

    started(lab.hosts["client"], "sink", serve)
    return host


def send(lab: Lab, host: Host) -> None:
    def fill() -> socket.socket:
        connection = socket.create_connection(("2001:db8::2", 9000))
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            connection.sendall(bytes(32 << 20))
        return connection

    PIDS["sender"] = started(host, "sender", fill)


class Stray:
    """Datagrams to a closed port, or to nowhere, once it is switched on."""

    def __init__(self, dst: str) -> None:
        self.dst = dst
        self.on = False

    def during(self, lab: Lab, host: Host) -> None:
        if self.on:
            lab.send_udp(lab.hosts["client"], self.dst, 9, count=12)

    def drill(self, name: str, rule: str) -> Drill:
        return Drill(
            name=name,
            rule=rule,
            build=gateway,
            break_=lambda lab, host: setattr(self, "on", True),
            repair=lambda lab, host: setattr(self, "on", False),
            during=self.during,
            severity="info",
            expect={"kind": "host"},
        )


def gateway(lab: Lab) -> Host:
    """The client's default gateway, which has no way out itself."""
    host = pair(lab)
    host.sysctl({"net.ipv4.ip_forward": "1"})
    lab.hosts["client"].ip("route add default via 192.0.2.1")
    return host


def two_daemons(lab: Lab, host: Host) -> None:
    started(host, "chronyd", lambda: None)
    PIDS["second"] = started(host, "systemd-timesyn", lambda: None)


def resolv(host: Host, count: int) -> None:
    host.write("/etc/resolv.conf", "".join(f"nameserver 192.0.2.{n}\n" for n in range(50, 50 + count)))


test_drill = drill_test(
    Drill(
        name="the address went away",
        rule="ip-nonlocal-bind",
        build=serving("203.0.113.7/32"),  # type: ignore[arg-type]
        break_=lambda lab, host: host.ip("address del 203.0.113.7/32 dev lo"),
        repair=None,
        severity="warning",
        expect={"kind": "socket", "src": "203.0.113.7", "sport": 8080},
    ),
    Drill(
        name="the IPv6 address went away",
        rule="ip-nonlocal-bind",
        build=serving("2001:db8:ffff::7/128"),  # type: ignore[arg-type]
        break_=lambda lab, host: host.ip("address del 2001:db8:ffff::7/128 dev lo"),
        repair=None,
        severity="warning",
    ),
    Drill(
        name="120 that nobody closes",
        rule="tcp-close-wait-leak",
        build=closing,
        break_=lambda lab, host: lab.hosts["client"].end(PIDS["client"]),
        repair=lambda lab, host: host.end(PIDS["server"]),
        during=lambda lab, host: None,
        severity="warning",
        expect={"kind": "socket", "sport": 8080},
    ),
    Drill(
        name="a sink that does not read",
        rule="tcp-zero-window",
        build=sender,
        break_=send,
        repair=lambda lab, host: host.end(PIDS["sender"]) or host.run("ss", "-K", "dport", "=", ":9000"),
        severity="info",
        expect={"kind": "socket", "dst": "2001:db8::2", "dport": 9000},
    ),
    Drill(
        name="a widened range",
        rule="tcp-local-range-overlaps-listeners",
        build=serving("203.0.113.7/32"),  # type: ignore[arg-type]
        break_=lambda lab, host: host.sysctl({"net.ipv4.ip_local_port_range": "1024 65535"}),
        repair=None,
        severity="info",
    ),
    Stray("192.0.2.1").drill("a closed port", "udp-nolisten-icmp"),
    Drill(
        name="chronyd and timesyncd",
        rule="time-two-daemons",
        build=pair,
        break_=two_daemons,
        repair=lambda lab, host: host.end(PIDS["second"]),
        severity="warning",
        # The kernel of the test machine may say that nobody has set its clock, and then a daemon that runs is at fault.
        tolerate=("time-unsynchronised",),
    ),
    Drill(
        name="four nameservers",
        rule="dns-too-many-ns-or-search",
        build=lambda lab: (host := pair(lab), resolv(host, 3))[0],
        break_=lambda lab, host: resolv(host, 4),
        repair=lambda lab, host: resolv(host, 3),
        severity="info",
    ),
)


def test_packets_without_a_route_are_noted_beside_their_cause(lab: Lab) -> None:
    """What has no route here mostly wants a default route, which another rule says."""
    host = gateway(lab)
    stray = Stray("198.51.100.1")

    def noted() -> bool:
        found = host.report("--interval", "1", during=lambda: stray.during(lab, host))["findings"]
        return [row["severity"] for row in found if row["rule"] == "ip-in-noroutes"] == ["info"]

    assert not noted()
    stray.on = True
    lab.wait(noted, 6, "twelve packets without a route")
