"""``netdiag path --run-bpf`` on a host whose programs drop, mark and rewrite: what they decide, without sending."""

import json
import socket
from struct import pack
from typing import Any

import pytest

from netdiag.index.view import HostIndex
from netdiag.model.walk import PathPacket, PathReport
from netdiag.path.host import PathHost
from netdiag.path.trail import Packet
from netdiag.path.walk import walk
from tests.lab import Host, Lab, bpfobjects, wait_until
from tests.path.programs import runner
from tests.path.world import datagram, read_everything

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
        assert foretold(host, 3001, "192.0.2.2").verdict == "sent"
        arriving = ("192.0.2.1", "192.0.2.2")
        dropped = foretold(host, 1000, *arriving)
        assert (dropped.verdict, foretold(host, 1001, *arriving).verdict) == ("dropped", "delivered")
        assert "xdp_drops" in dropped.reason
        assert any(step.layer == "bpf" and "mark 0x7" in step.why for step in foretold(host, 2000, *arriving).steps)
        assert host.netdiag("path", "192.0.2.2", "--run-bpf", "-")[0] == 64


TURNING = r"""
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u32);
} out SEC(".maps");

static __always_inline struct iphdr *packet(void *data, void *end, int port) {
    struct iphdr *ip = data + sizeof(struct ethhdr);
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end || ip->protocol != IPPROTO_UDP) return 0;
    return udp->dest == bpf_htons(port) ? ip : 0;
}
#define PORT(ctx, port) packet((void *)(long)(ctx)->data, (void *)(long)(ctx)->data_end, port)

SEC("xdp") int x_turns(struct xdp_md *ctx) {
    if (PORT(ctx, 5001)) return bpf_redirect_map(&out, 1, 0);
    if (PORT(ctx, 5002)) return XDP_TX;
    return XDP_PASS;
}
SEC("tc/ingress") int t_rewrites(struct __sk_buff *skb) {
    struct iphdr *ip = PORT(skb, 5003);
    if (ip) {
        __u32 from = bpf_htonl(0xc0000201), to = bpf_htonl(0xc6336402);
        bpf_l4_csum_replace(skb, 14 + 20 + 6, from, to, BPF_F_PSEUDO_HDR | 4);
        bpf_l3_csum_replace(skb, 14 + 10, from, to, 4);
        bpf_skb_store_bytes(skb, 14 + 16, &to, 4, 0);
        skb->mark = 7;
    }
    return TC_ACT_OK;
}
SEC("tc/egress") int t_turns(struct __sk_buff *skb) {
    return PORT(skb, 5004) ? bpf_redirect(OUT, 0) : TC_ACT_OK;
}
char _license[] SEC("license") = "GPL";
"""
TWIN = (
    TURNING[: TURNING.index('SEC("xdp")')]
    + r"""
SEC("classifier") int x_in(struct __sk_buff *skb) {
    if (PORT(skb, 5005)) return bpf_redirect(OUT, BPF_F_INGRESS);
    return PORT(skb, 5006) ? TC_ACT_SHOT : -1;
}
char _license[] SEC("license") = "GPL";
"""
)


def foretold(host: Host, port: int, dst: str, src: str | None = None) -> PathReport:
    """The walk with the programs run, by ``eth0`` where a source is given."""
    tables, coverage = host.call(read_everything)
    seen = PathHost(HostIndex(tables), coverage, run_bpf=runner(host))
    iif = seen.stack.by_name["eth0"].ifindex if src else 0
    packet = Packet(family="inet", dst=dst, src=src, iif=iif, ip_proto=17, sport=4000, dport=port)
    return walk(seen, packet, PathPacket(family="inet", dst=dst, src=src, iif="eth0" if src else None, dport=port))


@pytest.mark.lab
def test_redirects_and_rewriting_are_foretold_as_they_happen() -> None:
    """near -- host -- far: what programs on the host's eth0 do with packets from and to ``near``."""
    with Lab() as lab:
        host, near, far = lab.host("a"), lab.host("near"), lab.host("far")
        lab.link(host, "eth0", near, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
        lab.link(host, "eth1", far, "eth0", a_addresses="198.51.100.1/24", b_addresses="198.51.100.2/24")
        host.sysctl({"net.ipv4.ip_forward": 1, "net.ipv4.conf.eth1.accept_local": 1})
        index = host.inside_network(lambda: socket.if_nametoindex("eth1"))
        path = lab.bpf(host, "turning", TURNING.replace("OUT", str(index)))
        twin = lab.bpf(host, "twin", TWIN.replace("OUT", str(index)))
        host.sh(f"""
            bpftool prog loadall {twin} /sys/fs/bpf/twin type classifier
            ip link set dev eth0 xdpgeneric obj {path} sec xdp
            tc qdisc add dev eth0 clsact
            tc filter add dev eth0 ingress bpf da obj {path} sec tc/ingress
            tc filter add dev eth0 egress bpf da obj {path} sec tc/egress
            key=$(bpftool map show name out | tail -n 99 | sed -n "s/^\\([0-9]*\\): devmap.*/\\1/p" | tail -1)
            bpftool map update id $key key 1 0 0 0 value {" ".join(str(octet) for octet in pack("=I", index))}
        """)
        host.call(lambda: _attach_tcx("/sys/fs/bpf/twin/x_in"))
        eyes = {name: one.inside_network(_eye) for name, one in (("near", near), ("far", far))}
        mac = host.sh("cat /sys/class/net/eth0/address").stdout.strip()

        def shown(port: int) -> str:
            """Where a frame with that port was seen, after ``near`` put it on the cable."""
            octets = datagram(Packet(family="inet", dst="192.0.2.1", src="192.0.2.2", sport=4000, dport=port), b"x")[1]
            with near.inside_network(_eye) as sender:
                sender.sendto(octets, ("eth0", 0x0800, 0, 0, bytes.fromhex(mac.replace(":", ""))))
            return str(wait_until(lambda: _seen(eyes, port), 3, f"port {port} is seen"))

        by_map = foretold(host, 5001, "192.0.2.1", "192.0.2.2")
        assert (by_map.verdict, by_map.dev, shown(5001)) == ("forwarded", "eth1", "far")
        assert "x_turns" in by_map.reason
        back = foretold(host, 5002, "192.0.2.1", "192.0.2.2")
        assert (back.verdict, back.dev, shown(5002)) == ("forwarded", "eth0", "near")
        changed = foretold(host, 5003, "192.0.2.1", "192.0.2.2")
        assert (changed.verdict, changed.dev, shown(5003)) == ("forwarded", "eth1", "far")
        said = next(step.why for step in changed.steps if step.layer == "bpf" and step.why)
        assert said.startswith("it changes dst 192.0.2.1 > 198.51.100.2, mark 0x0 > 0x7: it is then udp")
        turned = foretold(host, 5004, "192.0.2.2")
        assert (turned.verdict, turned.dev) == ("sent", "eth1")
        host.call(lambda: _send(5004))
        assert wait_until(lambda: _seen(eyes, 5004), 3, "port 5004 is seen") == "far"
        inside = foretold(host, 5005, "192.0.2.1", "192.0.2.2")
        assert inside.verdict == "delivered"
        assert [step.object for step in inside.steps if step.decision == "arrived"] == ["eth0", "eth1"]
        assert foretold(host, 5006, "192.0.2.1", "192.0.2.2").verdict == "dropped"


def _attach_tcx(path: str) -> None:
    made = bpfobjects.link(bpfobjects.pinned(path), socket.if_nametoindex("eth0"), 46)
    bpfobjects.pin(made, "twinlink")


def _send(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("192.0.2.2", port))


def _eye() -> socket.socket:
    eye = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    eye.setblocking(False)
    return eye


def _seen(eyes: dict[str, socket.socket], port: int) -> str | None:
    """Whose eye sees a datagram to that port arrive."""
    for name, eye in eyes.items():
        while True:
            try:
                octets, (_, _, kind, _, _) = eye.recvfrom(2048)
            except BlockingIOError:
                break
            if kind != 4 and octets[22:24] == pack("!H", port):
                return name
    return None
