"""What belongs to the whole kernel: its memory, its tables, its settings of every CPU, its clock.

Run by test_of_the_whole_kernel.py beside it, in the guest. Not collected by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.drills import bpfworld
from tests.drills.harness import Drill, confirm, run_in_turn
from tests.drills.losses import goes, lost
from tests.lab import Host, Lab
from tests.lab.daemons import key_pair
from tests.vm.itself import Itself, only_here

ORPHANS, TCP_MEM = "net/ipv4/tcp_max_orphans", "net/ipv4/tcp_mem"
BACKLOG, BUDGET, WEIGHT = "net/core/netdev_max_backlog", "net/core/netdev_budget", "net/core/dev_weight"
FLOWS, JIT, STATS = "net/core/flow_limit_cpu_bitmap", "net/core/bpf_jit_enable", "kernel/bpf_stats_enabled"
TRACKED, BUCKETS = "net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_buckets"
CLOCK = {"jump": 0.0}
HELD: list[socket.socket] = []
PORTS = itertools.count(6000)
SO_SNDBUFFORCE = 32


def read(name: str) -> str:
    return Path("/proc/sys", name).read_text("ascii").strip()


def put(name: str, value: object) -> None:
    """Set what is of the whole kernel."""
    Path("/proc/sys", name).write_text(str(value), "ascii")


def setting(name: str, value: object) -> Callable[[Lab, Host], None]:
    return lambda lab, host: put(name, value)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    only_here()
    names = (ORPHANS, TCP_MEM, BACKLOG, BUDGET, WEIGHT, FLOWS, JIT, STATS)
    before = {name: read(name) for name in names}
    yield
    for name, value in before.items():
        put(name, value)
    HELD.clear()


def beside(lab: Lab) -> Host:
    """The guest itself, eth0 192.0.2.1, and a host, 192.0.2.2, that takes what it gets."""
    host, peer = Itself(), lab.host("peer")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    lab.listen_tcp(peer, "192.0.2.2", 8080)
    return host


def deserted(lab: Lab, host: Host) -> None:
    """Thirty connections that are closed with something to say, and a peer that vanished."""

    def work() -> None:
        callers = [socket.create_connection(("192.0.2.2", 8080)) for _ in range(30)]
        lab.nft(lab.hosts["peer"], "table inet gone { chain i { type filter hook input priority 0; policy drop; }; }")
        for caller in callers:
            caller.send(b"?")
            caller.close()

    work()


def back(lab: Lab, host: Host) -> None:
    lab.hosts["peer"].run("nft", "flush", "ruleset")
    host.run("ss", "-K", "state", "fin-wait-1")


def unsent(lab: Lab) -> Host:
    """Somebody holds 6 MB for a peer that does not read: more than CPUs keep to themselves (SK_MEMORY_PCPU_RESERVE)."""
    host = beside(lab)
    peer = lab.hosts["peer"]
    server = peer.inside_network(lambda: socket.create_server(("192.0.2.2", 9000)))
    sender = socket.create_connection(("192.0.2.2", 9000))
    sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(100):
            sender.send(bytes(60_000))
    HELD[:] = [server, sender]
    return host


def cable(lab: Lab) -> Host:
    """Frames come in bursts, as a card would send them, pass a program, and big flows are limited to half a queue."""
    put(FLOWS, 3)
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "on")
    lab.listen_tcp(peer, "0.0.0.0", 8080)
    bpfworld.program(host, "p", b"policy", verdict=-1)
    bpfworld.tc(host, "eth0", "p", 1)
    return host


def traffic(lab: Lab, host: Host) -> None:
    """2 MB, or as much as gets there within two seconds; and the clock is set where that is the fault."""
    lab.send_tcp(host, "192.0.2.2", 8080, size=2_000_000)
    if CLOCK["jump"]:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + CLOCK["jump"])
        CLOCK["jump"] = -CLOCK["jump"]


def squeezed(lab: Lab, host: Host) -> None:
    put(WEIGHT, 1)
    put(BUDGET, 1)


def reloaded(jit: int) -> Callable[[Lab, Host], None]:
    """The loader comes again, under another setting."""

    def reload(lab: Lab, host: Host) -> None:
        put(JIT, jit)
        host.sh("tc filter del dev eth0 ingress pref 1; rm /sys/fs/bpf/p")
        bpfworld.program(host, "p", b"policy", verdict=-1)
        bpfworld.tc(host, "eth0", "p", 1)

    return reload


def tracking(lab: Lab) -> Host:
    host, peer = lab.host("gateway"), lab.host("peer")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.nft(host, "table inet t { chain c { type filter hook input priority 0; ct state invalid drop; }\n}")
    return host


def scan(lab: Lab, host: Host) -> None:
    """Five thousand datagrams to as many ports, once there are few buckets."""
    if read(BUCKETS) != "512":
        return

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("192.0.2.2", 5000))
            for port in range(20_000, 25_000):
                sender.sendto(b"?", ("192.0.2.1", port))

    lab.hosts["peer"].call(send)


def flooded(lab: Lab, host: Host) -> None:
    """Twenty thousand connections more, each of them in two chains of five hundred."""
    put(BUCKETS, 512)
    datagrams(lab, 5001, range(20_000, 40_000))


def datagrams(lab: Lab, sport: int, ports: range) -> None:
    """One from the peer to each port of the host."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("192.0.2.2", sport))
            for port in ports:
                sender.sendto(b"?", ("192.0.2.1", port))

    lab.hosts["peer"].call(send, 60)


def fifty_arrive(lab: Lab, host: Host) -> bool:
    """Fifty connections that are new, to ports that nobody listens at: UDP counts what gets to it."""

    def received() -> int:
        names, values = [line.split() for line in host.read("/proc/net/snmp").splitlines() if line.startswith("Udp:")]
        return int(values[names.index("NoPorts")])

    before = received()
    datagrams(lab, next(PORTS), range(50_000, 50_050))
    return received() == before + 50


def tracked(timeout: int) -> Callable[[Lab, Host], None]:
    """Ten connections of the sixteen that there may be, all of them with so many seconds to go."""

    def insert(lab: Lab, host: Host) -> None:
        put(TRACKED, 16)
        entry = (
            "conntrack -I -p tcp -s 10.0.0.2 -d 192.0.2.1 --sport $n --dport 80 --state ESTABLISHED"
            f" --timeout {timeout} --status SEEN_REPLY,ASSURED"
        )
        host.sh(f"conntrack -F; for n in 1 2 3 4 5 6 7 8 9 10; do {entry}; done")

    return insert


def emptied(lab: Lab, host: Host) -> None:
    host.run("conntrack", "-F")
    put(TRACKED, 65536)


def crowded(lab: Lab) -> Host:
    """Most of the table are connections in use."""
    host = tracking(lab)
    tracked(431_999)(lab, host)
    return host


ORPHANED = Drill(
    rule="tcp-orphans",
    build=lambda lab: (put(ORPHANS, 40), unsent(lab))[1],
    break_=deserted,
    repair=back,
    severity="warning",
    expect={"kind": "sysctl", "name": "net.ipv4.tcp_max_orphans"},
    tolerate=("tcp-zero-window",),  # what is unsent waits for a reader that does not read
)
MEMORY = Drill(
    rule="tcp-mem-pressure",
    build=unsent,
    break_=setting(TCP_MEM, "16 32 64"),
    repair=lambda lab, host: put(TCP_MEM, "20000 30000 40000"),
    severity="critical",
    expect={"kind": "sysctl", "name": "net.ipv4.tcp_mem"},
    tolerate=("tcp-zero-window",),  # what is unsent waits for a reader that does not read
)
CPU = {"build": cable, "during": traffic}
STATISTICS = Drill(
    rule="bpf-stats-left-enabled",
    break_=setting(STATS, 1),
    repair=None,
    severity="info",
    expect={"kind": "sysctl"},
    **CPU,
)
INTERPRETED = Drill(
    rule="bpf-jit-disabled",
    break_=reloaded(0),
    repair=reloaded(1),
    severity="warning",
    expect={"kind": "sysctl"},
    **CPU,
)
LIMITED = Drill(
    rule="flow-limit-drops",
    break_=setting(BACKLOG, 60),
    repair=setting(BACKLOG, 1000),
    severity="warning",
    expect={"kind": "host"},
    shows=False,  # hexadecimal
    **CPU,
)
SQUEEZED = Drill(
    rule="softnet-time-squeeze",
    break_=squeezed,
    repair=lambda lab, host: (put(WEIGHT, 64), put(BUDGET, 300)),
    severity="info",
    expect={"kind": "host"},
    shows=False,
    **CPU,
)
STEPPED = Drill(
    rule="time-step-detected",
    break_=lambda lab, host: CLOCK.update(jump=100.0),
    repair=lambda lab, host: CLOCK.update(jump=0.0),
    severity="warning",
    expect={"kind": "host"},
    shows=False,
    **CPU,
)
DEAD = Drill(
    rule="ct-established-timeout-long",
    build=crowded,
    break_=tracked(259_200),
    repair=emptied,
    during=scan,
    severity="warning",
    expect={"kind": "sysctl"},
)
CHAINS = Drill(
    rule="ct-buckets-small",
    build=crowded,
    break_=setting(BUCKETS, 512),
    repair=lambda lab, host: (put(BUCKETS, 65536), host.run("conntrack", "-F")),
    during=scan,
    severity="warning",
    expect={"kind": "sysctl"},
)


REFUSED = Drill(
    name="chains that are too long",
    rule="ct-buckets-small",
    build=crowded,
    break_=flooded,
    repair=lambda lab, host: (put(BUCKETS, 65536), host.run("conntrack", "-F")),
    carries=fifty_arrive,
    during=scan,
    severity="critical",
    expect={"kind": "sysctl"},
)


@pytest.mark.parametrize(
    "drills",
    [(ORPHANED, MEMORY), (STATISTICS, INTERPRETED, LIMITED, SQUEEZED, STEPPED), (DEAD, CHAINS, REFUSED)],
    ids=["memory of TCP", "processors", "connection tracking"],
)
def test_drills(drills: tuple[Drill, ...], lab: Lab) -> None:
    run_in_turn(drills, lab)


def rekeyed(host: Host, peer: str) -> None:
    """The peer is made anew on this side, so that the next packet begins a handshake."""
    host.run("wg", "set", "wg0", "peer", peer, "remove")
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", "10.0.0.2/32", "endpoint", "192.0.2.2:51820")


def test_wireguard_refuses_a_clock_that_stands_back(lab: Lab) -> None:
    """wg-clock-backwards-reject is told between hosts only (tests/fleet), where all have one clock."""
    hosts = lab.host("edge1"), lab.host("edge2")
    keys = [key_pair(host) for host in hosts]
    lab.link(hosts[0], "eth0", hosts[1], "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    for number, host in enumerate(hosts):
        host.write("/run/key", keys[number][0])
        host.ip("link add wg0 type wireguard")
        peer = ("peer", keys[1 - number][1], "allowed-ips", f"10.0.0.{2 - number}/32")
        host.run("wg", "set", "wg0", "private-key", "/run/key", "listen-port", "51820", *peer)
        host.ip(f"address add 10.0.0.{number + 1}/24 dev wg0\nlink set dev wg0 up")
    rekeyed(hosts[0], keys[1][1])
    lab.wait(lambda: goes(hosts[0], "10.0.0.2"), 10, "the tunnel carries")
    now = time.time()
    try:
        time.clock_settime(time.CLOCK_REALTIME, now - 1000)
        rekeyed(hosts[0], keys[1][1])
        assert not any(goes(hosts[0], "10.0.0.2") for _ in range(5))
        last = int(hosts[1].run("wg", "show", "wg0", "latest-handshakes").stdout.split()[1])
        assert last > time.time() + 900, "later than that date, as the page says"
    finally:
        time.clock_settime(time.CLOCK_REALTIME, now + 10)
    rekeyed(hosts[0], keys[1][1])
    lab.wait(lambda: goes(hosts[0], "10.0.0.2"), 10, "the tunnel carries again")
    lost({"rule": "wg-clock-backwards-reject", "severity": "critical", "evidence": []}, "in the kernel's WireGuard")


SIOCETHTOOL, ETHTOOL_GFEATURES, PAGE = 0x8946, 0x3A, mmap.PAGESIZE
USERFAULTFD, UFFDIO_API, UFFDIO_REGISTER = 323, 0xC018AA3F, 0xC020AA00


def hold_rtnl() -> None:
    """Ask for a device's features with the question's second word in memory that a process is to bring, and does not:
    the kernel reads it with the rtnl lock held (net/ethtool/ioctl.c, userfaultfd(2))."""
    only_here()
    libc = ctypes.CDLL(None, use_errno=True)
    memory = mmap.mmap(-1, 2 * PAGE)
    memory[PAGE - 4 : PAGE] = struct.pack("=I", ETHTOOL_GFEATURES)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    keeper = libc.syscall(ctypes.c_long(USERFAULTFD), ctypes.c_int(os.O_CLOEXEC))
    assert keeper >= 0, os.strerror(ctypes.get_errno())
    fcntl.ioctl(keeper, UFFDIO_API, struct.pack("=QQQ", 0xAA, 0, 0))
    fcntl.ioctl(keeper, UFFDIO_REGISTER, struct.pack("=QQQQ", start + PAGE, PAGE, 1, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(asker, SIOCETHTOOL, struct.pack("=16sQ16x", b"lo", start + PAGE - 4))
    signal.pause()


def test_a_held_rtnl_lock(lab: Lab) -> None:
    """Nothing can be changed or asked for any more; what is configured carries."""
    host = lab.host("edge1")
    lab.link(host, "eth0", lab.host("edge2"), "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    held = host.fork(hold_rtnl)
    try:
        lab.wait(lambda: "userfault" in Path(f"/proc/{held}/wchan").read_text(), 20, "the lock is held")
        asker, adder = host.spawn("timeout", "1", "ip", "link"), host.spawn("ip", *ROUTE)
        program = (sys.executable, "-B", "-m", "netdiag", "check", "--json", "--interval", "0", "--deadline", "40")
        report = json.loads(host.run(*program, check=False, timeout=300).stdout)  # half of it is the program's start
        named = [row["rule"] for row in report["findings"]]
        read = " ".join(f"{row['collector']}:{row['status']}" for row in report["coverage"])
        assert named[:1] == ["rtnl-stuck"], f"{named} {read}"
        assert adder.poll() is None, "a route is not added"
        assert asker.poll() is None, "and no signal ends who waits for the lock"
        assert goes(host, "192.0.2.2")
        printed = [confirm(host, command, 20) for command in report["findings"][0]["confirm"]]
        assert "ip link" in printed[1] and " D" in printed[1], printed
        lost(report["findings"][0], "a route that is to be added")
    finally:
        host.end(held)
    lab.wait(lambda: "198.51.100.0/24" in host.run("ip", "route").stdout, 10, "all go on")


ROUTE = ("route", "add", "198.51.100.0/24", "via", "192.0.2.2")
