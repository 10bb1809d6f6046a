"""What only moves under load: bounded traffic between the two looks, harmless until the host is broken."""

import contextlib
import socket

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import calls, listener, pair, started
from tests.lab import Host, Lab

PIDS: dict[str, int] = {}
DEAF = "table inet deaf { chain input { type filter hook input priority 0; tcp flags syn,ack / syn,ack drop; }; }"
LOSSY = """table inet lossy { chain input { type filter hook input priority 0;
    tcp dport 9000 numgen random mod 8 0 drop; }; }"""


def half_open(lab: Lab) -> Host:
    """A server with a short backlog and a client that never sees an answer."""
    host = pair(lab)
    started(host, "web", lambda: listener("::", 8080, 4))
    lab.nft(lab.hosts["client"], DEAF)
    return host


def callers(lab: Lab, host: Host) -> None:
    """A few half-open connections; many once the backlog of the kernel is cut."""
    count = 8 if host.read("/proc/sys/net/ipv4/tcp_max_syn_backlog").strip() == "1" else 1
    lab.hosts["client"].call(lambda: len(calls("192.0.2.1", 8080, count)))


def closers(lab: Lab, host: Host) -> None:
    """Four connections that this host closes first."""

    def work() -> None:
        for _ in range(4):
            with socket.create_connection(("192.0.2.2", 9000), 2) as connection:
                connection.sendall(b"x")

    host.call(work)


def with_sink(lab: Lab) -> Host:
    """A server whose client takes what is sent to port 9000."""
    host = pair(lab)
    lab.listen_tcp(lab.hosts["client"], "::", 9000)
    return host


def bulk(lab: Lab, host: Host) -> None:
    """400 kB to the client, or as much as gets there within a second."""

    def work() -> None:
        with contextlib.suppress(OSError), socket.create_connection(("2001:db8::2", 9000), 1) as connection:
            connection.settimeout(1)
            connection.sendall(bytes(400_000))

    host.call(work)


def fragments(lab: Lab, host: Host) -> None:
    """Eight datagrams of three fragments each."""
    lab.send_udp(lab.hosts["client"], "192.0.2.1", 7777, count=8, size=4000, df=False)


def set_thresholds(host: Host, low: int, high: int) -> None:
    names = ("ipfrag_high_thresh", "ipfrag_low_thresh") if high > 1 else ("ipfrag_low_thresh", "ipfrag_high_thresh")
    values = {"ipfrag_low_thresh": low, "ipfrag_high_thresh": high}
    for name in names:
        host.sysctl({f"net.ipv4.{name}": values[name]})


def cut(lab: Lab, host: Host) -> None:
    host.sysctl({"net.core.somaxconn": "8"})
    started(host, "web", lambda: listener("0.0.0.0", 8080, 64))


test_drill = drill_test(
    Drill(
        name="few half-open connections",
        rule="tcp-syncookies-sent",
        build=half_open,
        break_=lambda lab, host: host.sysctl({"net.ipv4.tcp_max_syn_backlog": "1"}),
        repair=lambda lab, host: host.sysctl({"net.ipv4.tcp_max_syn_backlog": "512"}),
        during=callers,
        severity="warning",
    ),
    Drill(
        name="no room for TIME_WAIT",
        rule="tcp-timewait-bucket-overflow",
        build=with_sink,
        break_=lambda lab, host: host.sysctl({"net.ipv4.tcp_max_tw_buckets": "1"}),
        repair=None,
        during=closers,
        severity="warning",
        expect={"kind": "sysctl"},
    ),
    Drill(
        name="a lossy path",
        rule="tcp-retrans-high",
        build=with_sink,
        break_=lambda lab, host: lab.nft(lab.hosts["client"], LOSSY),
        repair=lambda lab, host: lab.hosts["client"].run("nft", "delete", "table", "inet", "lossy"),
        during=bulk,
        severity="warning",
    ),
    Drill(
        name="no memory for fragments",
        rule="ip-reasm-fails",
        build=pair,
        break_=lambda lab, host: set_thresholds(host, 1, 1),
        repair=lambda lab, host: set_thresholds(host, 3 << 20, 4 << 20),
        during=fragments,
        severity="warning",
    ),
    Drill(
        name="a backlog that is cut",
        rule="tcp-somaxconn-caps-app",
        build=pair,
        break_=cut,
        repair=lambda lab, host: host.sysctl({"net.core.somaxconn": "4096"}),
        severity="warning",
        expect={"kind": "sysctl", "name": "net.core.somaxconn"},
    ),
)
