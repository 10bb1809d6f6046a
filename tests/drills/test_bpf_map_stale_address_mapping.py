"""A map that says where guests live, after one of them has moved to another interface."""

import ipaddress
import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

GUESTS = {"10.0.0.1": "eth0", "10.0.0.2": "eth0", "10.0.0.3": "eth1", "10.0.0.4": "eth1"}


def build(lab: Lab) -> Host:
    host = bpfworld.two_cables(lab)
    host.ip("\n".join(f"route add {guest}/32 dev {ifname}" for guest, ifname in GUESTS.items()))

    def work() -> None:
        one = make.map_(make.HASH, b"vm_ifindex", entries=64)
        for guest, ifname in GUESTS.items():
            make.update(one, ipaddress.ip_address(guest).packed, socket.if_nametoindex(ifname).to_bytes(4, "little"))
        make.pin(make.program(make.SCHED_CLS, b"switch", verdict=-1, maps=[one]), "switch")
        make.pin(one, "vm_ifindex")

    host.call(work)
    bpfworld.tc(host, "eth0", "switch", 1)
    return host


test_drill = drill_test(
    Drill(
        rule="bpf-map-stale-address-mapping",
        build=build,
        break_=lambda lab, host: host.ip("route replace 10.0.0.3/32 dev eth0"),
        repair=lambda lab, host: host.ip("route replace 10.0.0.3/32 dev eth1"),
        severity="warning",
        expect={"kind": "bpf-map", "name": "vm_ifindex", "program": "switch"},
    )
)
