// SPDX-License-Identifier: GPL-2.0-or-later
// Which TCP connections send again, and in what state are they? Hook: raw tracepoint tcp:tcp_retransmit_skb (Linux 4.16).
#include "netdiag.h"

struct inet_connection_sock {
    __u8 icsk_ca_state : 5;
    __u8 icsk_retransmits;
} CORE;
struct tcp_sock {
    struct inet_connection_sock inet_conn;
    __u32 snd_cwnd;
    __u32 srtt_us;
    __u32 total_retrans;
} CORE;

#define AF_INET 2
#define AF_INET6 10

SEC("raw_tp/tcp_retransmit_skb")
int retransmits(struct bpf_raw_tracepoint_args *ctx) {
    struct event e = {};
    struct sock *sk = (struct sock *)ctx->args[0];
    struct tcp_sock *tp = (struct tcp_sock *)sk;
    packet(&e, (struct sk_buff *)ctx->args[1]);
    e.reason = BPF_CORE_READ(sk, __sk_common.skc_state);
    e.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
    e.l4 = TCP;
    e.sport = BPF_CORE_READ(sk, __sk_common.skc_num);
    e.dport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
    if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
        e.version = IPV4;
        bpf_core_read(e.saddr, 4, &sk->__sk_common.skc_rcv_saddr);
        bpf_core_read(e.daddr, 4, &sk->__sk_common.skc_daddr);
    } else {
        e.version = IPV6;
        if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
            bpf_core_read(e.saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
            bpf_core_read(e.daddr, 16, &sk->__sk_common.skc_v6_daddr);
        }
    }
    e.kind = BPF_CORE_READ_BITFIELD_PROBED(tp, inet_conn.icsk_ca_state);
    e.number[0] = BPF_CORE_READ(tp, snd_cwnd);
    e.number[1] = BPF_CORE_READ(tp, srtt_us) >> 3;
    e.number[2] = BPF_CORE_READ(tp, total_retrans);
    e.number[3] = BPF_CORE_READ(tp, inet_conn.icsk_retransmits);
    return tell(&e);
}
