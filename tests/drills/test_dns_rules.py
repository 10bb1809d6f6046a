"""The resolver's files and sockets, broken and mended: one drill a rule."""

import contextlib
import socket
import threading
from pathlib import Path

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.drills.socketworld import bound, pair, started
from tests.lab import Host, Lab

PIDS: dict[str, int] = {}
CONSUL = "server=/consul/127.0.0.1#8600\n"


def network(lab: Lab) -> Host:
    """A server with a default route and a nameserver out there."""
    host = pair(lab)
    host.ip("route add default via 192.0.2.2")
    host.ip("route add default via 2001:db8::2")
    lab.hosts["client"].ip("address add 198.51.100.53/32 dev lo")
    resolv(host, "198.51.100.53")
    return host


def asked(lab: Lab, host: Host) -> bool:
    """The C library's question for a name gets to the nameserver."""
    listener = lab.listen_udp(lab.hosts["client"], "198.51.100.53", 53)
    host.run("timeout", "0.4", "getent", "hosts", "a.example.net", check=False)
    listener.stop()
    return listener.packets > 0


def resolv(host: Host, *servers: str) -> None:
    """/etc/resolv.conf with these nameservers."""
    host.run("rm", "-f", "/etc/resolv.conf")
    host.write("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in servers))


def stub(address: str, port: int = 53, comm: str = "systemd-resolve") -> object:
    """A host that asks a resolver of its own at this address, which runs."""

    def build(lab: Lab) -> Host:
        host = network(lab)
        resolv(host, address)
        PIDS["stub"] = started(host, comm, lambda: bound(address, port))
        return host

    return build


def kill(lab: Lab, host: Host) -> None:
    host.end(PIDS["stub"])


def docker(lab: Lab) -> Host:
    """127.0.0.11 is another port behind a redirection."""
    host = network(lab)
    resolv(host, "127.0.0.11")
    started(host, "dockerd", lambda: bound("127.0.0.11", 41000))
    lead(lab, host)
    return host


def lead(lab: Lab, host: Host) -> None:
    """Docker's own rule of a container."""
    way = "ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:41000"
    lab.nft(host, f"table ip nat {{ chain out {{ type nat hook output priority -100; policy accept\n{way}\n}}\n}}")


def hosts_only(lab: Lab) -> Host:
    """A dead link, and nobody who asks the DNS."""
    host = network(lab)
    host.write("/etc/nsswitch.conf", "hosts: files\n")
    host.run("ln", "-sfn", "/run/nowhere", "/etc/resolv.conf")
    return host


def looped(lab: Lab) -> Host:
    """dnsmasq at 127.0.0.1 asks the world, which answers."""
    host = network(lab)
    resolv(host, "127.0.0.1")
    host.write("/etc/dnsmasq.conf", "server=198.51.100.53\n")
    started(host, "dnsmasq", lambda: threading.Thread(target=forward, args=(bound("127.0.0.1", 53),)).start())
    lab.listen_udp(lab.hosts["client"], "198.51.100.53", 53, echo=True)
    return host


def forward(questions: socket.socket) -> None:
    """Hand each question to the server of the configuration, and its answer back, if it comes in time."""
    while True:
        question, asker = questions.recvfrom(512)
        server = Path("/etc/dnsmasq.conf").read_text("ascii").strip().removeprefix("server=")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(0.1)
            with contextlib.suppress(OSError):
                out.sendto(question, (server, 53))
                questions.sendto(out.recv(512), asker)


def resolved(lab: Lab, host: Host) -> bool:
    """A question to the resolver of the host is answered."""

    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.25)
            asker.connect(("127.0.0.1", 53))
            try:
                asker.send(b"a.example.net")
                return asker.recv(512) == b"a.example.net"
            except OSError:
                return False

    return host.call(ask)


def consul(lab: Lab) -> Host:
    """A forwarder for consul, and the agent that answers."""
    host = network(lab)
    host.write("/etc/dnsmasq.d/10-consul", CONSUL)
    started(host, "dnsmasq", lambda: bound("127.0.0.1", 53))
    PIDS["stub"] = started(host, "consul", lambda: bound("127.0.0.1", 8600))
    return host


def again(address: str, port: int, comm: str) -> object:
    def repair(lab: Lab, host: Host) -> None:
        started(host, comm, lambda: bound(address, port))

    return repair


test_drill = drill_test(
    Drill(
        name="a link to nothing",
        rule="dns-no-nameserver",
        build=network,
        break_=lambda lab, host: host.run("ln", "-sfn", "../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"),
        repair=lambda lab, host: resolv(host, "198.51.100.53"),
        carries=asked,
        severity="critical",
        expect={"kind": "host"},
        twin=hosts_only,
    ),
    Drill(
        name="an empty file",
        rule="dns-no-nameserver",
        build=network,
        break_=lambda lab, host: host.write("/etc/resolv.conf", "# empty\n"),
        repair=lambda lab, host: resolv(host, "2001:db8::53"),
        severity="critical",
    ),
    Drill(
        name="the stub died",
        rule="dns-stub-dead",
        build=stub("127.0.0.53"),  # type: ignore[arg-type]
        break_=kill,
        repair=again("127.0.0.53", 53, "systemd-resolve"),  # type: ignore[arg-type]
        carries=connects("127.0.0.53", 53),
        severity="critical",
        expect={"kind": "socket", "src": "127.0.0.53"},
        twin=docker,
    ),
    Drill(
        name="Docker's rules were flushed",
        rule="dns-stub-dead",
        build=docker,
        break_=lambda lab, host: host.run("nft", "flush", "ruleset"),
        repair=lead,
        severity="critical",
        expect={"kind": "socket", "src": "127.0.0.11"},
    ),
    Drill(
        name="the IPv6 stub died",
        rule="dns-stub-dead",
        build=stub("::1", comm="unbound"),  # type: ignore[arg-type]
        break_=kill,
        repair=again("::", 53, "unbound"),  # type: ignore[arg-type]
        severity="critical",
    ),
    Drill(
        name="blackholed",
        rule="route-blackhole-unexpected",
        build=network,
        break_=lambda lab, host: host.ip("route add blackhole 198.51.100.0/24"),
        repair=lambda lab, host: host.ip("route del blackhole 198.51.100.0/24"),
        carries=connects("198.51.100.53", 53),
        severity="critical",
        expect={"kind": "route", "dst": "198.51.100.0/24"},
        explains=("dns-nameserver-unroutable",),
        twin=lambda lab: lab.host("alone"),
    ),
    Drill(
        name="prohibited by a rule, IPv6",
        rule="dns-nameserver-unroutable",
        build=lambda lab: (host := network(lab), resolv(host, "2001:db8:53::1", "198.51.100.53"))[0],
        break_=lambda lab, host: host.run("ip", "-6", "rule", "add", "pref", "50", "to", "2001:db8:53::1", "prohibit"),
        repair=lambda lab, host: host.run("ip", "-6", "rule", "del", "pref", "50"),
        severity="warning",
    ),
    Drill(
        name="dnsmasq asks itself",
        rule="dns-self-loop",
        build=looped,
        break_=lambda lab, host: host.write("/etc/dnsmasq.conf", "server=127.0.0.1\n"),
        repair=lambda lab, host: host.write("/etc/dnsmasq.conf", "server=198.51.100.53\n"),
        carries=resolved,
        severity="critical",
    ),
    Drill(
        name="the agent died",
        rule="dns-consul-forward-broken",
        build=consul,
        break_=kill,
        repair=again("127.0.0.1", 8600, "consul"),  # type: ignore[arg-type]
        carries=connects("127.0.0.1", 8600),
        severity="critical",
        expect={"kind": "socket", "src": "127.0.0.1", "sport": 8600},
    ),
)
