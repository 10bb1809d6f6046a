"""``netdiag path --run-bpf`` on a host whose programs drop, mark and rewrite: what they decide, without sending."""

import json
from typing import Any

import pytest

from tests.lab import Host, Lab

PROGRAMS = r"""
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static __always_inline int port(void *data, void *end) {
    struct iphdr *ip = data + sizeof(struct ethhdr);
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end || ip->protocol != IPPROTO_UDP) return 0;
    return bpf_ntohs(udp->dest);
}
SEC("xdp") int xdp_drops(struct xdp_md *ctx) {
    return port((void *)(long)ctx->data, (void *)(long)ctx->data_end) == 1000 ? XDP_DROP : XDP_PASS;
}
SEC("tc/ingress") int tc_marks(struct __sk_buff *skb) {
    if (port((void *)(long)skb->data, (void *)(long)skb->data_end) == 2000) skb->mark = 7;
    return TC_ACT_OK;
}
SEC("tc/egress") int tc_drops(struct __sk_buff *skb) {
    return port((void *)(long)skb->data, (void *)(long)skb->data_end) == 3000 ? TC_ACT_SHOT : TC_ACT_OK;
}
char _license[] SEC("license") = "GPL";
"""


def asked(host: Host, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = host.netdiag("path", "--json", "--proto", "udp", *words)
    assert out, err
    return code, json.loads(out)


@pytest.mark.lab
def test_programs_are_named_and_run_on_request() -> None:
    with Lab() as lab:
        host, peer = lab.host("a"), lab.host("b")
        lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
        path = lab.bpf(host, "path", PROGRAMS)
        host.sh(f"""
            ip link set dev eth0 xdpgeneric obj {path} sec xdp
            tc qdisc add dev eth0 clsact
            tc filter add dev eth0 ingress bpf da obj {path} sec tc/ingress
            tc filter add dev eth0 egress bpf da obj {path} sec tc/egress
            ip rule add fwmark 7 blackhole priority 10
            ip rule add to 192.0.2.1 lookup local priority 5
        """)
        code, report = asked(host, "192.0.2.2", "--dport", "3000")
        assert (code, report["verdict"]) == (0, "sent")
        named = [step["object"] for step in report["steps"] if step["layer"] == "bpf"]
        assert len(named) == 1 and "tc egress on eth0: tc_drops" in named[0]
        code, report = asked(host, "192.0.2.2", "--dport", "3000", "--run-bpf")
        assert (code, report["verdict"]) == (1, "dropped")
        assert "tc_drops" in report["reason"]
        assert asked(host, "192.0.2.2", "--dport", "3001", "--run-bpf")[1]["verdict"] == "sent"
        arriving = ["192.0.2.1", "--from", "192.0.2.2", "--iif", "eth0", "--run-bpf", "--dport"]
        dropped, passed = asked(host, *arriving, "1000")[1], asked(host, *arriving, "1001")[1]
        assert (dropped["verdict"], passed["verdict"]) == ("dropped", "delivered")
        assert "xdp_drops" in dropped["reason"]
        marked = asked(host, *arriving, "2000")[1]
        assert any(step["layer"] == "bpf" and "mark 0x7" in step["why"] for step in marked["steps"])
        assert host.netdiag("path", "192.0.2.2", "--run-bpf", "-")[0] == 64
