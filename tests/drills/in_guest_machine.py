"""What belongs to the whole kernel: its memory, its tables, its settings of every CPU, its clock.

Run by test_of_the_whole_kernel.py beside it, in the guest. Not collected by itself.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.drills import bpfworld
from tests.drills.harness import Drill, run_in_turn
from tests.lab import Host, Lab
from tests.vm.itself import Itself, only_here

ORPHANS, TCP_MEM = "net/ipv4/tcp_max_orphans", "net/ipv4/tcp_mem"
BACKLOG, BUDGET, WEIGHT = "net/core/netdev_max_backlog", "net/core/netdev_budget", "net/core/dev_weight"
FLOWS, JIT, STATS = "net/core/flow_limit_cpu_bitmap", "net/core/bpf_jit_enable", "kernel/bpf_stats_enabled"
TRACKED, BUCKETS = "net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_buckets"
CLOCK = {"jump": 0.0}
HELD: list[socket.socket] = []
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
)
MEMORY = Drill(
    rule="tcp-mem-pressure",
    build=unsent,
    break_=setting(TCP_MEM, "16 32 64"),
    repair=lambda lab, host: put(TCP_MEM, "20000 30000 40000"),
    severity="critical",
    expect={"kind": "sysctl", "name": "net.ipv4.tcp_mem"},
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


@pytest.mark.parametrize(
    "drills",
    [(ORPHANED, MEMORY), (STATISTICS, INTERPRETED, LIMITED, SQUEEZED, STEPPED), (DEAD, CHAINS)],
    ids=["memory of TCP", "processors", "connection tracking"],
)
def test_drills(drills: tuple[Drill, ...], lab: Lab) -> None:
    run_in_turn(drills, lab)
