"""A card that merges packets: QEMU's vmxnet3, whose driver is loaded here and nowhere else in the guest.

Run by test_cards.py beside it, in the guest. Not collected by itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills import bpfworld
from tests.drills.harness import Drill, confirmed, describe, wrong_with_alarm, wrong_with_silence
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make
from tests.vm.itself import only_here

CARDS = Path("/sys/bus/pci/drivers/vmxnet3")


@pytest.fixture(autouse=True)
def card() -> Iterator[None]:
    """With its driver there is a card, and without there is none that would come back to the guest as eth0."""
    only_here()
    subprocess.run(["modprobe", "vmxnet3"], check=True)
    yield
    subprocess.run(["modprobe", "-r", "vmxnet3"], check=True)


def features(host: Host) -> str:
    return host.run("ethtool", "-k", "eth0").stdout


def router(lab: Lab) -> Host:
    """The card is in the host, and the kernel has switched its LRO off because the host forwards."""
    (name,) = [path.name for path in CARDS.glob("*/net/*")]
    host = lab.host("edge1")
    subprocess.run(["ip", "link", "set", "dev", name, "name", "eth0", "netns", host.netns_path], check=True)
    host.ip("address add 192.0.2.1/24 dev eth0\nlink set dev eth0 up")
    lab.wait(lambda: host.running("eth0"), 10, "the card is up")
    assert "large-receive-offload: on\n" in features(host)
    bpfworld.program(host, "pass", b"pass", make.XDP, verdict=2)
    host.run("ip", "link", "set", "dev", "eth0", "xdpgeneric", "pinned", "/sys/fs/bpf/pass")
    host.sysctl({"net.ipv4.ip_forward": 1})
    assert "large-receive-offload: off\n" in features(host)
    return host


DRILL = Drill(
    rule="lro-on-forwarding-host",
    build=router,
    break_=lambda lab, host: host.run("ethtool", "-K", "eth0", "lro", "on"),
    repair=None,
    severity="warning",
    expect={"kind": "link", "ifname": "eth0"},
)


def test_a_card_that_merges_packets(lab: Lab) -> None:
    """And xdp-blocked-by-lro keeps silent: this driver runs no XDP, with LRO or without."""
    host = router(lab)
    assert not wrong_with_silence(DRILL, host.report("--interval", "0"))
    DRILL.break_(lab, host)
    report = host.report("--interval", "0")
    assert not wrong_with_alarm(DRILL, report), describe(report)
    assert "xdp-blocked-by-lro" not in [row["rule"] for row in report["findings"]]
    confirmed(host, report["findings"][0], shows=True)
    host.run("bash", "-ec", report["findings"][0]["fix"])
    assert "large-receive-offload: off\n" in features(host)
