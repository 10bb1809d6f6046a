"""ct-table-full, and that reading loads no module: both need a kernel that nobody else uses.

Run by test_ct_table_full.py beside it: nf_conntrack_max belongs to the whole kernel. Not collected by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netdiag.collectors import Options, conntrack, conntrack_state, nft
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Unreadable
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
TRACK = "table inet t { chain c { type filter hook input priority 0; ct state invalid drop; }\n}"


@pytest.fixture(autouse=True)
def in_the_guest() -> Iterator[None]:
    assert "netdiag_script=" in Path("/proc/cmdline").read_text(), "this changes the whole kernel: guest only"
    yield
    if MAX.exists():
        MAX.write_text("65536", "ascii")


def modules() -> set[str]:
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def test_a_reading_loads_no_module() -> None:
    before = modules()
    assert not {"nf_tables", "nf_conntrack", "ip_tables"} & before, "the guest is to start without them"
    for collector in (nft, conntrack, conntrack_state):
        with pytest.raises(Unreadable) as caught:
            collector.collect(LiveSource(), Options(interval=0))
        assert caught.value.why == "absent"
    assert modules() == before


def build(lab: Lab) -> Host:
    host, peer = lab.host("gateway"), lab.host("peer")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.nft(host, TRACK)
    return host


def flows(lab: Lab, host: Host) -> None:
    """A scan: sixty datagrams to sixty ports."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in range(20000, 20060):
                sender.sendto(b"?", ("192.0.2.1", port))

    lab.hosts["peer"].call(send)


test_drill = drill_test(
    Drill(
        rule="ct-table-full",
        build=build,
        break_=lambda lab, host: MAX.write_text("30", "ascii"),
        repair=lambda lab, host: MAX.write_text("65536", "ascii"),
        during=flows,
        expect={"kind": "conntrack"},
    )
)
