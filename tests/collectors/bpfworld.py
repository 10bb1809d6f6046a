"""A lab host with more than thirty programs attached in every way that this kernel offers, and what each is."""

import os
import socket
from pathlib import Path

from tests.lab import Host, Lab
from tests.lab import bpfobjects as bpf

LONG_NAME = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
    __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64);
} seen SEC(".maps");
SEC("xdp") int a_function_with_a_name_too_long_for_the_kernel(struct xdp_md *ctx)
{
    __u32 key = 1;
    return bpf_map_lookup_elem(&seen, &key) ? XDP_DROP : XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
"""
TAPS = 6


def build(lab: Lab) -> Host:
    """The host ``edge1``."""
    host = lab.host("edge1", own_cgroup=True)
    lines = [f"link add v{n} type veth peer name p{n}" for n in range(TAPS)]
    host.ip("\n".join(lines + [f"link set {side}{n} up" for n in range(TAPS) for side in "vp"]))
    path = lab.bpf(host, "long", LONG_NAME)
    host.call(_by_syscall)
    host.run("bpftool", "prog", "load", path, "/sys/fs/bpf/long", "type", "xdp", "pinmaps", "/sys/fs/bpf/maps")
    script = ["ip link set v0 xdpgeneric pinned /sys/fs/bpf/long", "ip link set v1 xdp pinned /sys/fs/bpf/xdp1"]
    for n in range(4):
        script += [
            f"tc qdisc add dev v{n} clsact",
            f"tc filter add dev v{n} ingress pref 20 bpf da object-pinned /sys/fs/bpf/cls{n}",
            f"tc filter add dev v{n} ingress pref 10 protocol ipv6 handle 7 bpf da object-pinned /sys/fs/bpf/cls0",
            f"tc filter add dev v{n} egress pref {n + 1} bpf object-pinned /sys/fs/bpf/cls1",
        ]
    script += [
        "tc qdisc add dev v4 ingress_block 5 clsact",
        "tc qdisc add dev v5 ingress_block 5 clsact",
        "tc filter add block 5 pref 3 bpf da object-pinned /sys/fs/bpf/cls2",
        "tc qdisc add dev p0 root handle 1: htb",
        "tc filter add dev p0 parent 1: pref 4 bpf object-pinned /sys/fs/bpf/cls3",
        "ip route add 198.51.100.0/24 dev v2 || true",
    ]
    host.sh("\n".join(script))
    return host


def _by_syscall() -> None:
    seen = bpf.map_(bpf.HASH, b"seen", value=8, entries=100)
    for number in range(7):
        bpf.update(seen, number.to_bytes(4, "little"), bytes(8))
    for n in range(4):
        bpf.pin(bpf.program(bpf.SCHED_CLS, f"cls{n}".encode(), verdict=n - 1, maps=[seen][: n % 2]), f"cls{n}")
    bpf.pin(seen, "seen")
    bpf.pin(bpf.program(bpf.XDP, b"xdp1\xff", verdict=2), "xdp1")
    _on_devices()
    _in_namespace()
    _in_cgroups()
    _maps()


def _on_devices() -> None:
    index = {name: number for number, name in socket.if_nameindex()}
    xdp = bpf.program(bpf.XDP, b"xdp_link", verdict=2, expected=37)
    bpf.pin(bpf.link(xdp, index["v2"], 37), "links/xdp")
    for n in range(3):
        for attach_type in (46, 47):
            cls = bpf.program(bpf.SCHED_CLS, f"tcx{n}".encode(), verdict=-1)
            bpf.pin(bpf.link(cls, index["v0"], attach_type), f"links/tcx{n}_{attach_type}")
            if n == 0:
                bpf.attach(cls, index["v1"], attach_type)  # without a link


def _in_namespace() -> None:
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    dissector = bpf.program(bpf.FLOW_DISSECTOR, b"dissect", verdict=0, expected=17)
    bpf.pin(bpf.link(dissector, fd, 17), "links/dissect")
    for n in range(2):
        lookup = bpf.program(bpf.SK_LOOKUP, f"lookup{n}".encode(), verdict=1, expected=36)
        bpf.pin(bpf.link(lookup, fd, 36), f"links/lookup{n}")
    os.close(fd)
    for n, (family, hook, priority) in enumerate([(2, 0, -200), (2, 1, 10), (10, 3, 5)]):
        program = bpf.program(bpf.NETFILTER, f"nf{n}".encode(), verdict=1, expected=45)
        bpf.pin(bpf.link(program, 0, 45, netfilter=(family, hook, priority)), f"links/nf{n}")
    tracepoint = bpf.program(bpf.RAW_TRACEPOINT, b"raw_tp")
    bpf.pin(bpf.raw_tracepoint(tracepoint, b"kfree_skb"), "links/raw")


def _in_cgroups() -> None:
    for name in ("a", "a/b", "c"):
        Path("/sys/fs/cgroup", name).mkdir()
    root, a, b = (os.open(f"/sys/fs/cgroup{name}", os.O_RDONLY) for name in ("", "/a", "/a/b"))
    skb = bpf.program(bpf.CGROUP_SKB, b"cg_skb", verdict=1)
    bpf.attach(skb, root, 1, bpf.ALLOW_MULTI)
    bpf.attach(skb, a, 0, bpf.ALLOW_OVERRIDE)
    bpf.attach(bpf.program(bpf.CGROUP_SKB, b"cg_skb_b", verdict=1), b, 0)
    bpf.attach(bpf.program(bpf.CGROUP_SOCK, b"cg_sock", verdict=1), a, 2, bpf.ALLOW_MULTI)
    for n, attach_type in enumerate((10, 11)):
        addr = bpf.program(bpf.CGROUP_SOCK_ADDR, f"cg_addr{n}".encode(), verdict=1, expected=attach_type)
        bpf.pin(bpf.link(addr, b, attach_type), f"links/addr{n}")
    for fd in (root, a, b):
        os.close(fd)


def _maps() -> None:
    index = {name: number for number, name in socket.if_nameindex()}
    devices = bpf.map_(bpf.DEVMAP, b"devices", entries=4)
    bpf.update(devices, (2).to_bytes(4, "little"), index["v3"].to_bytes(4, "little"))
    hashed = bpf.map_(bpf.DEVMAP_HASH, b"devices_hash", entries=4)
    bpf.update(hashed, (77).to_bytes(4, "little"), index["v4"].to_bytes(4, "little"))
    cpus = bpf.map_(bpf.CPUMAP, b"cpus", entries=2)
    bpf.update(cpus, bytes(4), (192).to_bytes(4, "little"))
    calls = bpf.map_(bpf.PROG_ARRAY, b"calls", entries=3)
    callee = bpf.program(bpf.SCHED_CLS, b"callee")
    bpf.update(calls, (1).to_bytes(4, "little"), callee.to_bytes(4, "little"))
    sockets = bpf.map_(bpf.SOCKMAP, b"sockets")
    bpf.attach(bpf.program(bpf.SK_SKB, b"parser", verdict=1, expected=4), sockets, 4)
    bpf.attach(bpf.program(bpf.SK_SKB, b"verdict", verdict=1, expected=5), sockets, 5)
    frozen = bpf.map_(bpf.ARRAY, b"frozen")
    bpf.freeze(frozen)
    lru = bpf.map_(bpf.LRU_HASH, b"lru", entries=2000)
    for number in range(1500):
        bpf.update(lru, number.to_bytes(4, "little"), bytes(4))
    names = ("devices", "devices_hash", "cpus", "calls", "sockets", "frozen", "lru")
    for name, fd in zip(names, (devices, hashed, cpus, calls, sockets, frozen, lru), strict=True):
        bpf.pin(fd, f"kept/{name}")
