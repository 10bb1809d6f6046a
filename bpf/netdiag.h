// SPDX-License-Identifier: GPL-2.0-or-later
// What all programs here share: the few fields of kernel structures that they read (CO-RE: found by name in the running
// kernel's BTF when the program is loaded), the event, the maps, and the filter.
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_RINGBUF = 27,
    BPF_ANY = 0,
    BPF_NOEXIST = 1,
    BPF_F_CURRENT_CPU = 0xffffffff,
};
struct bpf_raw_tracepoint_args {
    __u64 args[0];
};

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define CORE __attribute__((preserve_access_index))

struct ns_common {
    unsigned int inum;
} CORE;
struct net {
    struct ns_common ns;
} CORE;
typedef struct {
    struct net *net;
} CORE possible_net_t;
struct net_device {
    int ifindex;
    char name[16];
    possible_net_t nd_net;
} CORE;
struct in6_addr {
    __u8 octets[16];
};
struct sock_common {
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    __u16 skc_family;
    volatile unsigned char skc_state;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
} CORE;
struct sock {
    struct sock_common __sk_common;
} CORE;
struct sk_buff {
    struct net_device *dev;
    struct sock *sk;
    unsigned char *head;
    __u32 len;
    __u32 mark;
    int skb_iif;
    __be16 protocol;
    __u16 network_header;
} CORE;

#define IPV4 4
#define IPV6 6
#define TCP 6
#define UDP 17

// One thing that happened. The order of the fields leaves no holes: netdiag/trace/events.py unpacks it.
struct event {
    __u64 at;         // nanoseconds of CLOCK_MONOTONIC
    __u64 location;   // address in the kernel
    __u64 skb;        // which packet
    __u32 reason;     // enum skb_drop_reason; of a retransmission the state of the socket
    __u32 netns;      // inode; 0: not known
    __u32 ifindex;    // 0: none
    __u32 iif;        // the interface that it came by
    __u32 len;
    __u32 mark;
    __u32 number[4];  // what the program says itself
    __u8 saddr[16];
    __u8 daddr[16];
    __u16 sport, dport;  // 0: none
    __u16 protocol;      // EtherType
    __u8 version;        // 4, 6; 0: no IP
    __u8 l4;
    __u8 flags;          // TCP flags; type of ICMP
    __u8 kind;
    __u8 spare[6];
    char ifname[16];
};

// What is asked for; zero is a wildcard.
struct wanted {
    __u32 netns;
    __u32 ifindex;
    __u8 addr[16];  // source or destination
    __u16 port;     // source or destination
    __u8 version;
    __u8 l4;
    __u32 events;  // how many events are told; all are counted
};

struct key {
    __u64 location;
    __u32 reason;
    __u32 netns;
    __u32 ifindex;
    __u32 kind;
};
struct count {
    __u64 packets;
    __u64 bytes;
};
struct told {
    __u64 events;   // matched
    __u64 lost;     // matched, but not told: too many, or the buffer was full
    __u64 uncounted;  // no room in the table of counts
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct wanted);
} wanted SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct told);
} told SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct key);
    __type(value, struct count);
} counts SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
} events SEC(".maps");

static __always_inline void addresses(struct event *e, const unsigned char *at) {
    __u8 first = 0, head[4];
    if (bpf_probe_read_kernel(&first, 1, at)) return;
    const unsigned char *behind = 0;
    if (first >> 4 == 4 && (first & 15) >= 5 && (!e->protocol || e->protocol == 0x0800)) {
        __u16 fragment = 0;
        e->version = IPV4;
        bpf_probe_read_kernel(&e->l4, 1, at + 9);
        bpf_probe_read_kernel(e->saddr, 4, at + 12);
        bpf_probe_read_kernel(e->daddr, 4, at + 16);
        bpf_probe_read_kernel(&fragment, 2, at + 6);
        if (!(bpf_ntohs(fragment) & 0x1fff)) behind = at + (first & 15) * 4;
    } else if (first >> 4 == 6 && (!e->protocol || e->protocol == 0x86dd)) {
        e->version = IPV6;
        bpf_probe_read_kernel(&e->l4, 1, at + 6);
        bpf_probe_read_kernel(e->saddr, 16, at + 8);
        bpf_probe_read_kernel(e->daddr, 16, at + 24);
        behind = at + 40;
    }
    if (!behind) return;
    if (e->l4 == TCP || e->l4 == UDP) {
        if (bpf_probe_read_kernel(head, 4, behind)) return;
        e->sport = head[0] << 8 | head[1];
        e->dport = head[2] << 8 | head[3];
        if (e->l4 == TCP) bpf_probe_read_kernel(&e->flags, 1, behind + 13);
    } else {
        bpf_probe_read_kernel(&e->flags, 1, behind);
    }
}

// Everything that a packet buffer tells.
static __always_inline void packet(struct event *e, struct sk_buff *skb) {
    struct net_device *dev = BPF_CORE_READ(skb, dev);
    struct sock *sk = BPF_CORE_READ(skb, sk);
    e->at = bpf_ktime_get_ns();
    e->skb = (__u64)(unsigned long)skb;
    e->len = BPF_CORE_READ(skb, len);
    e->mark = BPF_CORE_READ(skb, mark);
    e->iif = BPF_CORE_READ(skb, skb_iif);
    e->protocol = bpf_ntohs(BPF_CORE_READ(skb, protocol));
    if (dev) {
        e->ifindex = BPF_CORE_READ(dev, ifindex);
        e->netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
        bpf_core_read_str(e->ifname, sizeof(e->ifname), &dev->name);
    }
    if (!e->netns && sk) e->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
    __u16 offset = BPF_CORE_READ(skb, network_header);
    if (offset && offset != 0xffff) addresses(e, BPF_CORE_READ(skb, head) + offset);
}

static __always_inline int same16(const __u8 *one, const __u8 *other) {
    const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;
    return a[0] == b[0] && a[1] == b[1];
}

static __always_inline int matches(const struct event *e, const struct wanted *w) {
    if (w->netns && e->netns != w->netns) return 0;
    if (w->ifindex && e->ifindex != w->ifindex && e->iif != w->ifindex) return 0;
    if (w->version && e->version != w->version) return 0;
    if (w->l4 && e->l4 != w->l4) return 0;
    if (w->port && e->sport != w->port && e->dport != w->port) return 0;
    const __u64 *a = (const __u64 *)w->addr;
    if ((a[0] || a[1]) && !same16(e->saddr, w->addr) && !same16(e->daddr, w->addr)) return 0;
    return 1;
}

// Count an event that is wanted, and tell of it while there is room.
static __always_inline int tell(struct event *e) {
    __u32 zero = 0;
    struct wanted *w = bpf_map_lookup_elem(&wanted, &zero);
    struct told *t = bpf_map_lookup_elem(&told, &zero);
    if (!w || !t || !matches(e, w)) return 0;
    struct key key = {e->location, e->reason, e->netns, e->ifindex, e->kind};
    struct count *count = bpf_map_lookup_elem(&counts, &key);
    if (!count) {
        struct count none = {};
        bpf_map_update_elem(&counts, &key, &none, BPF_NOEXIST);
        count = bpf_map_lookup_elem(&counts, &key);
    }
    if (count) {
        __sync_fetch_and_add(&count->packets, 1);
        __sync_fetch_and_add(&count->bytes, e->len);
    } else {
        __sync_fetch_and_add(&t->uncounted, 1);
    }
    __u64 before = __sync_fetch_and_add(&t->events, 1);
    if (before >= w->events || bpf_ringbuf_output(&events, e, sizeof(*e), 0)) __sync_fetch_and_add(&t->lost, 1);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
