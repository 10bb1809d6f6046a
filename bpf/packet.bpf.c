// SPDX-License-Identifier: GPL-2.0-or-later
// Which way do packets of one kind take through this host? Hooks: raw tracepoints net:netif_receive_skb,
// net:net_dev_queue, net:net_dev_start_xmit, net:net_dev_xmit, skb:skb_copy_datagram_iovec, skb:consume_skb and
// skb:kfree_skb (with the reason: Linux 5.17).
#include "netdiag.h"

enum { RECEIVED, QUEUED, SENDING, SENT, READ, CONSUMED, DROPPED };

static __attribute__((noinline)) int seen(void *skb, int kind, __u64 location, __u32 reason) {
    struct event e = {};
    e.kind = kind;
    e.location = location;
    e.reason = reason;
    packet(&e, skb);
    return e.version ? tell(&e) : 0;
}
SEC("raw_tp/netif_receive_skb")
int received(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], RECEIVED, 0, 0);
}
SEC("raw_tp/net_dev_queue")
int queued(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], QUEUED, 0, 0);
}
SEC("raw_tp/net_dev_start_xmit")
int sending(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], SENDING, 0, 0);
}
SEC("raw_tp/skb_copy_datagram_iovec")
int read_(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], READ, 0, 0);
}
SEC("raw_tp/consume_skb")
int consumed(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], CONSUMED, 0, 0);
}
SEC("raw_tp/kfree_skb")
int dropped(struct bpf_raw_tracepoint_args *ctx) {
    return seen((void *)ctx->args[0], DROPPED, ctx->args[1], ctx->args[2]);
}
