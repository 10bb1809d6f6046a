"""BPF programs for random routers: each drops the datagrams to one port, those on the way in also mark others.

All of them look at UDP over IPv4 and IPv6 without options; ARP, neighbour discovery and tunnels pass untouched.
"""

from __future__ import annotations

import socket

from netdiag.cli.path import run_program
from netdiag.model.bpf import BpfAttachment
from netdiag.path.host import Ran, RunBpf
from tests.lab import Host, Lab, bpfobjects

HEAD = r"""
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static __always_inline struct udphdr *datagram(void *data, void *end) {
    struct ethhdr *eth = data;
    struct udphdr *udp;
    if ((void *)(eth + 1) > end) return 0;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = (void *)(eth + 1);
        if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP) return 0;
        udp = (void *)(ip + 1);
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct ipv6hdr *ip = (void *)(eth + 1);
        if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_UDP) return 0;
        udp = (void *)(ip + 1);
    } else return 0;
    return (void *)(udp + 1) > end ? 0 : udp;
}
#define PACKET(ctx) datagram((void *)(long)(ctx)->data, (void *)(long)(ctx)->data_end)

char _license[] SEC("license") = "GPL";
"""
PLAIN = r"""
SEC("xdp") int w_xdp(struct xdp_md *ctx) {
    struct udphdr *udp = PACKET(ctx);
    return udp && udp->dest == bpf_htons(1000) ? XDP_DROP : XDP_PASS;
}
SEC("tc/ingress") int w_ingress(struct __sk_buff *skb) {
    struct udphdr *udp = PACKET(skb);
    if (udp && udp->dest == bpf_htons(2000)) return TC_ACT_SHOT;
    if (udp && udp->dest == bpf_htons(3000)) skb->mark = 0x12;
    return TC_ACT_OK;
}
SEC("tc/egress") int w_egress(struct __sk_buff *skb) {
    struct udphdr *udp = PACKET(skb);
    return udp && udp->dest == bpf_htons(4000) ? TC_ACT_SHOT : TC_ACT_OK;
}
"""
"""For ip and tc, which take a program by its section."""
TWINS = r"""
SEC("classifier") int w_tcx_in(struct __sk_buff *skb) {
    struct udphdr *udp = PACKET(skb);
    if (udp && udp->dest == bpf_htons(4000)) { skb->mark = 1; return TC_ACT_OK; }
    return udp && udp->dest == bpf_htons(1000) ? TC_ACT_SHOT : -1;
}
SEC("classifier") int w_tcx_out(struct __sk_buff *skb) {
    struct udphdr *udp = PACKET(skb);
    if (udp && udp->dest == bpf_htons(4000)) return TC_ACT_OK;
    return udp && udp->dest == bpf_htons(2000) ? TC_ACT_SHOT : -1;
}
"""
"""For tcx, taken by their names."""
TCX = {"tcx-ingress": ("w_tcx_in", 46), "tcx-egress": ("w_tcx_out", 47)}
"""Program, and BPF_TCX_INGRESS or BPF_TCX_EGRESS."""


def runner(host: Host) -> RunBpf:
    """Runs programs as ``--run-bpf`` does, in the host's network."""

    def run(row: BpfAttachment, frame: bytes, ifindex: int, mark: int) -> Ran:
        return host.inside_network(lambda: run_program(row, frame, ifindex, mark))

    return run


def attach(lab: Lab, host: Host, places: tuple[tuple[str, str], ...]) -> None:
    """Load the program of each hook and attach it to the interface."""
    lines = []
    for hook, device in places:
        section = hook.replace("-", "/")
        if hook == "xdp":
            lines.append(f"ip link set dev {device} xdpgeneric obj {lab.bpf(host, 'plain', HEAD + PLAIN)} sec xdp")
        elif hook.startswith("tc-"):
            path = lab.bpf(host, "plain", HEAD + PLAIN)
            lines.append(f"tc qdisc show dev {device} | grep -q clsact || tc qdisc add dev {device} clsact")
            lines.append(f"tc filter add dev {device} {hook[3:]} bpf da obj {path} sec {section}")
        elif not any("bpftool" in line for line in lines):
            path = lab.bpf(host, "twins", HEAD + TWINS)
            lines.append(f"bpftool prog loadall {path} {bpfobjects.BPFFS}/twins type classifier")
    if lines:
        host.sh("\n".join(lines))
    twins = [(number, *TCX[hook], device) for number, (hook, device) in enumerate(places) if hook in TCX]
    if twins:
        host.call(lambda: _tcx(twins))


def _tcx(twins: list[tuple[int, str, int, str]]) -> None:
    for number, name, kind, device in twins:
        program = bpfobjects.pinned(f"{bpfobjects.BPFFS}/twins/{name}")
        made = bpfobjects.link(program, socket.if_nametoindex(device), kind)
        bpfobjects.pin(made, f"link{number}")
