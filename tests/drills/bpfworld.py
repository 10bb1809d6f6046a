"""Hosts for the drills about eBPF: two cables, and programs of two instructions."""

from tests.lab import Host, Lab
from tests.lab import bpfobjects as make


def two_cables(lab: Lab) -> Host:
    """``edge1`` with eth0 and eth1, each to a host of its own."""
    host = lab.host("edge1")
    for number in range(2):
        far = lab.host(f"far{number}")
        prefix = f"192.0.2.{4 * number}"
        lab.link(
            host,
            f"eth{number}",
            far,
            "eth0",
            a_addresses=f"{prefix[:-1]}{4 * number + 1}/30",
            b_addresses=f"{prefix[:-1]}{4 * number + 2}/30",
        )
    return host


def program(host: Host, pin: str, name: bytes, kind: int = make.SCHED_CLS, verdict: int = 0) -> None:
    """Load a program and pin it; another verdict is another tag."""
    host.call(lambda: make.pin(make.program(kind, name, verdict=verdict), pin))


def tc(host: Host, ifname: str, pin: str, pref: int, side: str = "ingress") -> None:
    """Attach a pinned program by a tc filter."""
    host.sh(
        f"tc qdisc add dev {ifname} clsact 2>/dev/null || true\n"
        f"tc filter add dev {ifname} {side} pref {pref} bpf da object-pinned /sys/fs/bpf/{pin}"
    )
