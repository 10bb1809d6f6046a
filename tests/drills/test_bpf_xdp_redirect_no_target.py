"""XDP that redirects into a cable whose other end cannot take it, until that end runs a program."""

import socket

from tests.drills import bpfworld
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

XDP_PASS, XDP = 2, 37
PINS = "/sys/fs/bpf/maps"
BALANCER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP); __uint(max_entries, 4); __uint(key_size, 4); __uint(value_size, 4);
} targets SEC(".maps");
SEC("xdp") int balancer(struct xdp_md *ctx) { return bpf_redirect_map(&targets, 0, 0); }
char LICENSE[] SEC("license") = "GPL";
"""


def inside(lab: Lab) -> None:
    """A program that passes everything, on the other end."""

    def work() -> None:
        one = make.program(make.XDP, b"pass", verdict=XDP_PASS)
        make.pin(make.link(one, socket.if_nametoindex("eth0"), XDP), "pass")

    lab.hosts["far1"].call(work)


def build(lab: Lab) -> Host:
    """The map is empty yet."""
    host = bpfworld.two_cables(lab)
    host.run("bpftool", "prog", "load", lab.bpf(host, "balancer", BALANCER), "/sys/fs/bpf/balancer", "pinmaps", PINS)
    host.run("ip", "link", "set", "dev", "eth0", "xdp", "pinned", "/sys/fs/bpf/balancer")
    return host


def fill(lab: Lab, host: Host) -> None:
    """The map gets eth1, and packets come for it: far0 needs no ARP for that."""
    index = host.call(lambda: socket.if_nametoindex("eth1")).to_bytes(4, "little")
    key, value = ["0"] * 4, [str(octet) for octet in index]
    host.run("bpftool", "map", "update", "pinned", f"{PINS}/targets", "key", *key, "value", *value)
    far = lab.hosts["far0"]
    far.run("ip", "neigh", "replace", "192.0.2.1", "lladdr", "02:00:00:00:00:01", "dev", "eth0")
    lab.send_udp(far, "192.0.2.1", 9)


test_drill = drill_test(
    Drill(
        rule="bpf-xdp-redirect-no-target",
        build=build,
        break_=fill,
        repair=lambda lab, host: inside(lab),
        severity="warning",
        expect={"kind": "bpf-map", "name": "targets", "ifname": "eth1"},
    )
)
