"""Numbers of the netlink protocols that netdiag reads, in the kernel's spelling.

From include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,fib_rules,neighbour,nexthop}.h. They are ABI: none ever
changes, new ones are added at the end. Only what is read here stands here. Tables that name values (sysctls of a link,
attributes of a link kind) stand beside their decoder. Nothing can fail.
"""

from typing import Final

# Protocols of AF_NETLINK (linux/netlink.h)
NETLINK_ROUTE: Final = 0
NETLINK_SOCK_DIAG: Final = 4
NETLINK_XFRM: Final = 6
NETLINK_NETFILTER: Final = 12
NETLINK_GENERIC: Final = 16

# Socket options, level SOL_NETLINK (linux/netlink.h)
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

# Message types below NLMSG_MIN_TYPE, and flags of struct nlmsghdr (linux/netlink.h)
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLMSG_MIN_TYPE: Final = 0x10
NLM_F_REQUEST: Final = 0x01
NLM_F_MULTI: Final = 0x02
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP_FILTERED: Final = 0x20
NLM_F_DUMP: Final = 0x300
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLMSGERR_ATTR_MSG: Final = 1
NLMSGERR_ATTR_OFFS: Final = 2
NLA_F_NESTED: Final = 0x8000
NLA_F_NET_BYTEORDER: Final = 0x4000
NLA_TYPE_MASK: Final = 0x3FFF

# rtnetlink message types: NEW, DEL, GET, SET in blocks of four, so a GET has (type & 3) == 2 (linux/rtnetlink.h)
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29
RTM_GETNEIGH: Final = 30
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34
RTM_NEWQDISC: Final = 36
RTM_GETQDISC: Final = 38
RTM_NEWTCLASS: Final = 40
RTM_GETTCLASS: Final = 42
RTM_NEWTFILTER: Final = 44
RTM_GETTFILTER: Final = 46
RTM_NEWNEIGHTBL: Final = 64
RTM_GETNEIGHTBL: Final = 66
RTM_NEWNETCONF: Final = 80
RTM_GETNETCONF: Final = 82
RTM_NEWMDB: Final = 84
RTM_GETMDB: Final = 86
RTM_NEWNSID: Final = 88
RTM_GETNSID: Final = 90
RTM_NEWSTATS: Final = 92
RTM_GETSTATS: Final = 94
RTM_NEWCHAIN: Final = 100
RTM_GETCHAIN: Final = 102
RTM_NEWNEXTHOP: Final = 104
RTM_GETNEXTHOP: Final = 106
RTM_NEWVLAN: Final = 112
RTM_GETVLAN: Final = 114
RTM_NEWNEXTHOPBUCKET: Final = 116
RTM_GETNEXTHOPBUCKET: Final = 118

# Multicast groups (linux/rtnetlink.h)
RTNLGRP_LINK: Final = 1
RTNLGRP_NEIGH: Final = 3
RTNLGRP_TC: Final = 4
RTNLGRP_IPV4_IFADDR: Final = 5
RTNLGRP_IPV4_ROUTE: Final = 7
RTNLGRP_IPV4_RULE: Final = 8
RTNLGRP_IPV6_IFADDR: Final = 9
RTNLGRP_IPV6_ROUTE: Final = 11
RTNLGRP_IPV6_RULE: Final = 19
RTNLGRP_NSID: Final = 28
RTNLGRP_NEXTHOP: Final = 32

# Address families (linux/socket.h)
AF_UNSPEC: Final = 0
AF_INET: Final = 2
AF_BRIDGE: Final = 7
AF_INET6: Final = 10
AF_MPLS: Final = 28

# Links (linux/if_link.h)
IFLA_ADDRESS: Final = 1
IFLA_BROADCAST: Final = 2
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_LINK: Final = 5
IFLA_QDISC: Final = 6
IFLA_STATS: Final = 7
IFLA_MASTER: Final = 10
IFLA_PROTINFO: Final = 12
IFLA_TXQLEN: Final = 13
IFLA_MAP: Final = 14
IFLA_OPERSTATE: Final = 16
IFLA_LINKMODE: Final = 17
IFLA_LINKINFO: Final = 18
IFLA_IFALIAS: Final = 20
IFLA_NUM_VF: Final = 21
IFLA_VFINFO_LIST: Final = 22
IFLA_STATS64: Final = 23
IFLA_AF_SPEC: Final = 26
IFLA_GROUP: Final = 27
IFLA_EXT_MASK: Final = 29
IFLA_PROMISCUITY: Final = 30
IFLA_NUM_TX_QUEUES: Final = 31
IFLA_NUM_RX_QUEUES: Final = 32
IFLA_CARRIER: Final = 33
IFLA_PHYS_PORT_ID: Final = 34
IFLA_CARRIER_CHANGES: Final = 35
IFLA_PHYS_SWITCH_ID: Final = 36
IFLA_LINK_NETNSID: Final = 37
IFLA_PHYS_PORT_NAME: Final = 38
IFLA_PROTO_DOWN: Final = 39
IFLA_GSO_MAX_SEGS: Final = 40
IFLA_GSO_MAX_SIZE: Final = 41
IFLA_PAD: Final = 42
IFLA_XDP: Final = 43
IFLA_TARGET_NETNSID: Final = 46
IFLA_CARRIER_UP_COUNT: Final = 47
IFLA_CARRIER_DOWN_COUNT: Final = 48
IFLA_NEW_IFINDEX: Final = 49
IFLA_MIN_MTU: Final = 50
IFLA_MAX_MTU: Final = 51
IFLA_PROP_LIST: Final = 52
IFLA_ALT_IFNAME: Final = 53
IFLA_PERM_ADDRESS: Final = 54
IFLA_PROTO_DOWN_REASON: Final = 55
IFLA_PARENT_DEV_NAME: Final = 56
IFLA_PARENT_DEV_BUS_NAME: Final = 57
IFLA_GRO_MAX_SIZE: Final = 58
IFLA_TSO_MAX_SIZE: Final = 59
IFLA_TSO_MAX_SEGS: Final = 60
IFLA_ALLMULTI: Final = 61
IFLA_DEVLINK_PORT: Final = 62
IFLA_GSO_IPV4_MAX_SIZE: Final = 63
IFLA_GRO_IPV4_MAX_SIZE: Final = 64
IFLA_NETNS_IMMUTABLE: Final = 67
IFLA_HEADROOM: Final = 68
IFLA_TAILROOM: Final = 69

# RTEXT_FILTER_*: what RTM_GETLINK shall add or leave out, in IFLA_EXT_MASK (linux/rtnetlink.h)
RTEXT_FILTER_VF: Final = 0x1
RTEXT_FILTER_SKIP_STATS: Final = 0x8

# Nested attributes of a link (linux/if_link.h)
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_INFO_SLAVE_KIND: Final = 4
IFLA_INFO_SLAVE_DATA: Final = 5
IFLA_INET_CONF: Final = 1
IFLA_INET6_FLAGS: Final = 1
IFLA_INET6_CONF: Final = 2
IFLA_INET6_STATS: Final = 3
IFLA_INET6_ICMP6STATS: Final = 6
IFLA_INET6_TOKEN: Final = 7
IFLA_INET6_ADDR_GEN_MODE: Final = 8
IFLA_INET6_RA_MTU: Final = 9
IFLA_XDP_ATTACHED: Final = 2
IFLA_XDP_PROG_ID: Final = 4
IFLA_XDP_DRV_PROG_ID: Final = 5
IFLA_XDP_SKB_PROG_ID: Final = 6
IFLA_XDP_HW_PROG_ID: Final = 7

# Addresses (linux/if_addr.h)
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_LABEL: Final = 3
IFA_BROADCAST: Final = 4
IFA_ANYCAST: Final = 5
IFA_CACHEINFO: Final = 6
IFA_MULTICAST: Final = 7
IFA_FLAGS: Final = 8
IFA_RT_PRIORITY: Final = 9
IFA_TARGET_NETNSID: Final = 10
IFA_PROTO: Final = 11

# Routes (linux/rtnetlink.h)
RTA_DST: Final = 1
RTA_SRC: Final = 2
RTA_IIF: Final = 3
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_PREFSRC: Final = 7
RTA_METRICS: Final = 8
RTA_MULTIPATH: Final = 9
RTA_PROTOINFO: Final = 10
RTA_FLOW: Final = 11
RTA_CACHEINFO: Final = 12
RTA_SESSION: Final = 13
RTA_MP_ALGO: Final = 14
RTA_TABLE: Final = 15
RTA_MARK: Final = 16
RTA_MFC_STATS: Final = 17
RTA_VIA: Final = 18
RTA_NEWDST: Final = 19
RTA_PREF: Final = 20
RTA_ENCAP_TYPE: Final = 21
RTA_ENCAP: Final = 22
RTA_EXPIRES: Final = 23
RTA_UID: Final = 25
RTA_TTL_PROPAGATE: Final = 26
RTA_IP_PROTO: Final = 27
RTA_SPORT: Final = 28
RTA_DPORT: Final = 29
RTA_NH_ID: Final = 30
RTA_FLOWLABEL: Final = 31

# rtm_flags; the low byte holds RTNH_F_* of a single next hop (linux/rtnetlink.h)
RTM_F_CLONED: Final = 0x200
RTM_F_LOOKUP_TABLE: Final = 0x1000
RTM_F_FIB_MATCH: Final = 0x2000
RTNH_F_DEAD: Final = 0x01
RTNH_F_PERVASIVE: Final = 0x02
RTNH_F_ONLINK: Final = 0x04
RTNH_F_OFFLOAD: Final = 0x08
RTNH_F_LINKDOWN: Final = 0x10
RTNH_F_UNRESOLVED: Final = 0x20
RTNH_F_TRAP: Final = 0x40

# Policy rules (linux/fib_rules.h)
FRA_DST: Final = 1
FRA_SRC: Final = 2
FRA_IIFNAME: Final = 3
FRA_GOTO: Final = 4
FRA_PRIORITY: Final = 6
FRA_FWMARK: Final = 10
FRA_FLOW: Final = 11
FRA_TUN_ID: Final = 12
FRA_SUPPRESS_IFGROUP: Final = 13
FRA_SUPPRESS_PREFIXLEN: Final = 14
FRA_TABLE: Final = 15
FRA_FWMASK: Final = 16
FRA_OIFNAME: Final = 17
FRA_L3MDEV: Final = 19
FRA_UID_RANGE: Final = 20
FRA_PROTOCOL: Final = 21
FRA_IP_PROTO: Final = 22
FRA_SPORT_RANGE: Final = 23
FRA_DPORT_RANGE: Final = 24
FRA_DSCP: Final = 25
FRA_FLOWLABEL: Final = 26
FRA_FLOWLABEL_MASK: Final = 27
FRA_SPORT_MASK: Final = 28
FRA_DPORT_MASK: Final = 29
FRA_DSCP_MASK: Final = 30

# fib_rule_hdr.flags (linux/fib_rules.h)
FIB_RULE_PERMANENT: Final = 0x1
FIB_RULE_INVERT: Final = 0x2
FIB_RULE_UNRESOLVED: Final = 0x4
FIB_RULE_IIF_DETACHED: Final = 0x8
FIB_RULE_OIF_DETACHED: Final = 0x10

# Nexthop objects (linux/nexthop.h)
NHA_ID: Final = 1
NHA_GROUP: Final = 2
NHA_GROUP_TYPE: Final = 3
NHA_BLACKHOLE: Final = 4
NHA_OIF: Final = 5
NHA_GATEWAY: Final = 6
NHA_ENCAP_TYPE: Final = 7
NHA_ENCAP: Final = 8
NHA_GROUPS: Final = 9
NHA_MASTER: Final = 10
NHA_FDB: Final = 11
NHA_RES_GROUP: Final = 12
NHA_RES_BUCKET: Final = 13
NHA_OP_FLAGS: Final = 14
NHA_GROUP_STATS: Final = 15
NHA_HW_STATS_ENABLE: Final = 16
NHA_HW_STATS_USED: Final = 17

# Neighbours (linux/neighbour.h)
NDA_DST: Final = 1
NDA_LLADDR: Final = 2
NDA_CACHEINFO: Final = 3
NDA_PROBES: Final = 4
NDA_VLAN: Final = 5
NDA_PORT: Final = 6
NDA_VNI: Final = 7
NDA_IFINDEX: Final = 8
NDA_MASTER: Final = 9
NDA_LINK_NETNSID: Final = 10
NDA_SRC_VNI: Final = 11
NDA_PROTOCOL: Final = 12
NDA_NH_ID: Final = 13
NDA_FDB_EXT_ATTRS: Final = 14
NDA_FLAGS_EXT: Final = 15
NDA_NDM_STATE_MASK: Final = 16
NDA_NDM_FLAGS_MASK: Final = 17

# ndm_flags and ndm_state (linux/neighbour.h)
NTF_PROXY: Final = 0x08
NTF_ROUTER: Final = 0x80
NUD_NONE: Final = 0x00
NUD_INCOMPLETE: Final = 0x01
NUD_REACHABLE: Final = 0x02
NUD_STALE: Final = 0x04
NUD_DELAY: Final = 0x08
NUD_PROBE: Final = 0x10
NUD_FAILED: Final = 0x20
NUD_NOARP: Final = 0x40
NUD_PERMANENT: Final = 0x80

# Neighbour tables (linux/neighbour.h)
NDTA_NAME: Final = 1
NDTA_THRESH1: Final = 2
NDTA_THRESH2: Final = 3
NDTA_THRESH3: Final = 4
NDTA_CONFIG: Final = 5
NDTA_PARMS: Final = 6
NDTA_STATS: Final = 7
NDTA_GC_INTERVAL: Final = 8
NDTPA_IFINDEX: Final = 1
NDTPA_REFCNT: Final = 2
NDTPA_REACHABLE_TIME: Final = 3
NDTPA_BASE_REACHABLE_TIME: Final = 4
NDTPA_RETRANS_TIME: Final = 5
NDTPA_GC_STALETIME: Final = 6
NDTPA_DELAY_PROBE_TIME: Final = 7
NDTPA_QUEUE_LEN: Final = 8
NDTPA_APP_PROBES: Final = 9
NDTPA_UCAST_PROBES: Final = 10
NDTPA_MCAST_PROBES: Final = 11
NDTPA_ANYCAST_DELAY: Final = 12
NDTPA_PROXY_DELAY: Final = 13
NDTPA_PROXY_QLEN: Final = 14
NDTPA_LOCKTIME: Final = 15
NDTPA_QUEUE_LENBYTES: Final = 16
NDTPA_MCAST_REPROBES: Final = 17
NDTPA_INTERVAL_PROBE_TIME_MS: Final = 19
