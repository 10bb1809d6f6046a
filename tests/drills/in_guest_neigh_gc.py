"""The drills of neigh-gc-thresh-overflow: they lower the limits of a kernel, which must be the guest's.

Run by test_neigh_gc_thresh_overflow.py beside it: the table and its limits belong to the whole kernel, and a full one
would break every other test of the machine. Not collected by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import goes
from tests.lab import Host, Lab

LIMIT = 64
NEW = itertools.count(201)


def limit(entries: int) -> None:
    """gc_thresh1 to 3 of the ARP table; only the initial namespace, where the tests run, has them."""
    for number, value in ((3, entries), (2, entries // 2), (1, entries // 4)):
        Path(f"/proc/sys/net/ipv4/neigh/default/gc_thresh{number}").write_text(str(value), "ascii")


@pytest.fixture(autouse=True)
def in_the_guest() -> Iterator[None]:
    assert "netdiag_script=" in Path("/proc/cmdline").read_text(), "this changes the whole kernel: guest only"
    limit(LIMIT)
    yield
    limit(1024)


def build(lab: Lab) -> Host:
    host, peer = lab.host("worker"), lab.host("peer")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    return host


def add(host: Host, state: str, count: int, first: int = 10) -> str:
    """Add so many neighbours in one state; what the kernel said about those that it refused."""
    lines = (f"neigh add 192.0.2.{first + n} lladdr 02:00:00:00:00:{n:02x} dev eth0 nud {state}" for n in range(count))
    return host.run("ip", "-force", "-batch", "-", text="\n".join(lines) + "\n", check=False).stderr


def fill(lab: Lab, host: Host) -> None:
    """Until ENOBUFS: entries that a timer holds."""
    assert "No buffer space available" in add(host, "reachable", LIMIT + 8)


def sweep(lab: Lab, host: Host) -> None:
    """Packets to forty addresses of the subnet, each of which needs an entry."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for last in range(100, 140):
                with contextlib.suppress(OSError):  # ENOBUFS is what it is about
                    sender.sendto(b"?", (f"192.0.2.{last}", 9))

    host.call(send)


def met(lab: Lab, host: Host) -> bool:
    """An address of the subnet that the host has not spoken with before answers."""
    address = f"192.0.2.{next(NEW)}"
    lab.hosts["peer"].ip(f"address add {address}/24 dev eth0")
    return goes(host, address)


def exempt(lab: Lab) -> Host:
    """Twice the limit of entries that do not count, and as many that the kernel throws out when it needs room."""
    host = build(lab)
    assert not add(host, "permanent", LIMIT)
    add(host, "noarp", LIMIT, first=10 + LIMIT)
    add(host, "noarp", LIMIT, first=10 + 2 * LIMIT)
    host.run("ping", "-c", "1", "-W", "5", "192.0.2.2")
    return host


RULE = "neigh-gc-thresh-overflow"
ABOUT = {"kind": "sysctl", "name": "net.ipv4.neigh.default.gc_thresh3"}
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="full",
        build=build,
        break_=fill,
        repair=lambda lab, host: host.ip("neigh flush dev eth0"),
        carries=met,
        dear=True,
        severity="critical",
        expect=ABOUT,
        twin=exempt,
        tolerate=("neigh-permanent-stale-mac",),  # the twin's permanent entries are made up
    ),
    Drill(
        rule=RULE,
        name="refusing",
        build=lambda lab: (limit(1024), build(lab))[1],
        break_=lambda lab, host: (limit(16), host.ip("neigh flush dev eth0")),
        during=sweep,
        repair=lambda lab, host: limit(1024),
        severity="critical",
        expect=ABOUT,
    ),
)
