"""Sockets in trouble on a server with one client: one drill a rule."""

import select
import socket
import struct

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import bound, calls, go_on, listener, pair, started, stop
from tests.lab import Host, Lab, cgroup
from tests.lab.traffic import family_of

PIDS: dict[str, int] = {}


def caller(count: int, dst: str = "192.0.2.2") -> object:
    """The server itself calls a service of the client so often, at ports that it chooses from eleven."""

    def break_(lab: Lab, host: Host) -> None:
        PIDS["caller"] = started(host, "proxy", lambda: calls(dst, 443, count))

    return break_


def small_range(lab: Lab) -> Host:
    host = pair(lab)
    host.sysctl({"net.ipv4.ip_local_port_range": "40000 40010"})
    started(lab.hosts["client"], "web", lambda: (listener("192.0.2.2", 443, 64), listener("2001:db8::2", 443, 64)))
    return host


def busy_elsewhere(lab: Lab) -> Host:
    """More connections than ports, to two services."""
    host = small_range(lab)
    started(lab.hosts["client"], "web", lambda: listener("192.0.2.2", 444, 64))
    started(host, "proxy", lambda: (calls("192.0.2.2", 443, 8), calls("192.0.2.2", 444, 8)))
    return host


def connects(dst: str) -> object:
    """One more connection finds a port. It is reset, so that the port is free again at once."""

    def program() -> bool:
        with socket.socket(family_of(dst), socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                one.connect((dst, 443))
            except OSError:
                return False
        return True

    return lambda lab, host: host.call(program)


def widen(lab: Lab, host: Host) -> None:
    """Ports of closed connections are held for a minute: only a wider range helps at once."""
    host.sysctl({"net.ipv4.ip_local_port_range": "40000 41000"})


def end(lab: Lab, host: Host) -> None:
    host.end(PIDS["caller"])


def server(lab: Lab) -> Host:
    """A server that accepts whoever comes."""
    host = pair(lab)

    def work() -> None:
        with socket.create_server(("192.0.2.1", 8081)) as door:
            kept = []
            while True:
                kept.append(door.accept())

    PIDS["server"] = host.fork(work)
    lab.wait(lambda: ":8081" in host.run("ss", "-Hltn").stdout, 5, "it listens")
    return host


def knock(lab: Lab, host: Host) -> None:
    """It is stopped, and then somebody calls."""
    stop(PIDS["server"])
    started(lab.hosts["client"], "browser", lambda: calls("192.0.2.1", 8081, 2))
    lab.wait(lambda: "ESTAB" in host.run("ss", "-Htan").stdout, 5, "the connections wait")


def reader(lab: Lab) -> Host:
    """A server that reads one connection of a client which sends now and then; its cgroup is /web."""
    host = pair(lab, own_cgroup=True)
    web = cgroup.ROOT / "web"
    host.call(web.mkdir)

    def work() -> None:
        cgroup.join(web)
        with socket.socket(family_of("::"), socket.SOCK_STREAM) as server:
            server.bind(("::", 8080))
            server.listen(5)
            connection, _ = server.accept()
            while connection.recv(4096):
                pass

    PIDS["reader"] = host.fork(work)
    lab.wait(lambda: ":8080" in host.run("ss", "-Hltn").stdout, 5, "it listens")

    def talk() -> None:
        with socket.create_connection(("2001:db8::1", 8080)) as connection:
            while True:
                connection.sendall(b"a word")
                select.select([], [], [], 0.1)

    lab.hosts["client"].fork(talk)
    lab.wait(lambda: "ESTAB" in host.run("ss", "-Htn").stdout, 5, "they talk")
    return host


def frozen(lab: Lab, host: Host, *, now: int) -> None:
    """As a container is paused, or let go on."""
    host.write("/sys/fs/cgroup/web/cgroup.freeze", str(now))
    events = f"frozen {now}"
    lab.wait(lambda: events in host.read("/sys/fs/cgroup/web/cgroup.events"), 5, events)


def router(lab: Lab) -> Host:
    """left eth0 ---- left [router] right (mtu 1300) ---- eth0 right"""
    host = lab.host("router", sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})
    for number, (name, mtu) in enumerate((("left", 1500), ("right", 1300)), 1):
        end_ = lab.host(name)
        addresses = [[f"198.51.{number}.{k}/24", f"2001:db8:{number}::{k}/64"] for k in (1, 2)]
        lab.link(host, name, end_, "eth0", a_addresses=addresses[0], b_addresses=addresses[1], mtu=mtu)
        end_.ip(f"route add default via 198.51.{number}.1\nroute add default via 2001:db8:{number}::1")
    return host


class Traffic:
    """Datagrams from left to right, small ones in a healthy world."""

    def __init__(self, dst: str) -> None:
        self.dst = dst
        self.size = 1000

    def during(self, lab: Lab, host: Host) -> None:
        lab.send_udp(lab.hosts["left"], self.dst, 7777, count=20, size=self.size)

    def drill(self, name: str) -> Drill:
        return Drill(
            name=name,
            rule="ip-fragfails",
            build=router,
            break_=lambda lab, host: setattr(self, "size", 1400),
            repair=lambda lab, host: setattr(self, "size", 1000),
            during=self.during,
            severity="warning",
            expect={"kind": "host"},
        )


def anycast(lab: Lab) -> Host:
    """A host with a service address."""
    host = pair(lab)
    host.ip("address add 203.0.113.7/32 dev lo")
    return host


test_drill = drill_test(
    Drill(
        name="all ports taken",
        rule="tcp-ephemeral-exhausted",
        build=small_range,
        break_=caller(11),  # type: ignore[arg-type]
        repair=widen,
        severity="critical",
        expect={"kind": "socket", "dst": "192.0.2.2", "dport": 443},
        carries=connects("192.0.2.2"),  # type: ignore[arg-type]
        twin=busy_elsewhere,
    ),
    Drill(
        name="all ports taken, IPv6",
        rule="tcp-ephemeral-exhausted",
        build=small_range,
        break_=caller(11, "2001:db8::2"),  # type: ignore[arg-type]
        repair=widen,
        severity="critical",
        expect={"dst": "2001:db8::2"},
        carries=connects("2001:db8::2"),  # type: ignore[arg-type]
    ),
    Drill(
        name="a stopped reader",
        rule="tcp-rcvq-stuck",
        build=reader,
        break_=lambda lab, host: stop(PIDS["reader"]),
        repair=lambda lab, host: (go_on(PIDS["reader"]), host.end(PIDS["reader"])),
        during=lambda lab, host: None,
        severity="warning",
        expect={"kind": "socket", "sport": 8080},
    ),
    Drill(
        name="a stopped server that nobody has been accepted by",
        rule="tcp-rcvq-stuck",
        build=server,
        break_=lambda lab, host: knock(lab, host),
        repair=lambda lab, host: go_on(PIDS["server"]),
        during=lambda lab, host: None,
        severity="warning",
        expect={"kind": "socket", "sport": 8081},
    ),
    Drill(
        name="a frozen reader",
        rule="tcp-rcvq-stuck",
        build=reader,
        break_=lambda lab, host: frozen(lab, host, now=1),
        repair=lambda lab, host: (frozen(lab, host, now=0), host.end(PIDS["reader"])),
        during=lambda lab, host: None,
        severity="warning",
        expect={"kind": "socket", "sport": 8080},
    ),
    Traffic("198.51.2.2").drill("too large, IPv4"),
    Traffic("2001:db8:2::2").drill("too large, IPv6"),
    Drill(
        name="a wildcard server",
        rule="udp-wildcard-reply-source",
        build=anycast,
        break_=lambda lab, host: PIDS.update(caller=started(host, "game", lambda: bound("0.0.0.0", 5300))),
        repair=end,
        severity="info",
        expect={"kind": "socket", "sport": 5300},
    ),
)
