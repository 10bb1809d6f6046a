// SPDX-License-Identifier: GPL-2.0-or-later
// Which packets does the kernel drop, where and why? Hook: raw tracepoint skb:kfree_skb, with the reason (Linux 5.17).
#include "netdiag.h"

SEC("raw_tp/kfree_skb")
int drops(struct bpf_raw_tracepoint_args *ctx) {
    struct event e = {};
    e.location = ctx->args[1];
    e.reason = ctx->args[2];
    packet(&e, (struct sk_buff *)ctx->args[0]);
    return tell(&e);
}
