"""What a kind of interface says about itself: IFLA_INFO_DATA and IFLA_INFO_SLAVE_DATA, in iproute2's spelling.

One table a kind: attribute number to name and reader. Numbers from include/uapi/linux/{if_link,if_tunnel}.h, sizes from
the nla_policy and fill_info() of each driver. Interfaces are named by ifindex, since names change. Times of bridges
are in hundredths of a second (USER_HZ), as ``ip`` prints them; their running timers are left out, since they differ at
every look. A kind without a table has nothing to say here (veth, wireguard).
"""

from typing import Any

from netdiag.sources.netlink.attributes import (
    Buffer,
    DecodeError,
    address,
    be16,
    be32,
    lladdr,
    s32,
    u8,
    u16,
    u32,
    u64,
    walk,
)
from netdiag.sources.netlink.kindreaders import (
    Table,
    addresses,
    aggregator,
    boolean,
    bridge_id,
    mapped,
    masked_u32,
    named,
    port_range,
    present,
    sci,
    u32_or_u16,
)

MACSEC_CIPHERS = {
    0x0080020001000001: "GCM-AES-128",
    0x0080C20001000001: "GCM-AES-128",
    0x0080C20001000002: "GCM-AES-256",
    0x0080C20001000003: "GCM-AES-XPN-128",
    0x0080C20001000004: "GCM-AES-XPN-256",
}
_PROTOCOL = mapped(be16, {0x8100: "802.1Q", 0x88A8: "802.1ad"})
_PORT_STATE = named(u8, "disabled", "listening", "learning", "forwarding", "blocking")

BRIDGE: Table = {
    1: ("forward_delay", u32),
    2: ("hello_time", u32),
    3: ("max_age", u32),
    4: ("ageing_time", u32),
    5: ("stp_state", u32),
    6: ("priority", u16),
    7: ("vlan_filtering", u8),
    8: ("vlan_protocol", _PROTOCOL),
    9: ("group_fwd_mask", u16),
    10: ("root_id", bridge_id),
    11: ("bridge_id", bridge_id),
    12: ("root_port", u16),
    13: ("root_path_cost", u32),
    14: ("topology_change", u8),
    15: ("topology_change_detected", u8),
    20: ("group_addr", lladdr),
    22: ("mcast_router", u8),
    23: ("mcast_snooping", u8),
    24: ("mcast_query_use_ifaddr", u8),
    25: ("mcast_querier", u8),
    26: ("mcast_hash_elasticity", u32),
    27: ("mcast_hash_max", u32),
    28: ("mcast_last_member_cnt", u32),
    29: ("mcast_startup_query_cnt", u32),
    30: ("mcast_last_member_intvl", u64),
    31: ("mcast_membership_intvl", u64),
    32: ("mcast_querier_intvl", u64),
    33: ("mcast_query_intvl", u64),
    34: ("mcast_query_response_intvl", u64),
    35: ("mcast_startup_query_intvl", u64),
    36: ("nf_call_iptables", u8),
    37: ("nf_call_ip6tables", u8),
    38: ("nf_call_arptables", u8),
    39: ("vlan_default_pvid", u16),
    41: ("vlan_stats_enabled", u8),
    42: ("mcast_stats_enabled", u8),
    43: ("mcast_igmp_version", u8),
    44: ("mcast_mld_version", u8),
    45: ("vlan_stats_per_port", u8),
    46: ("boolopts", masked_u32),
    48: ("fdb_n_learned", u32),
    49: ("fdb_max_learned", u32),
    50: ("stp_mode", u32),
}
BRIDGE_PORT: Table = {
    1: ("state", _PORT_STATE),
    2: ("priority", u16),
    3: ("cost", u32),
    4: ("hairpin", boolean),
    5: ("guard", boolean),
    6: ("root_block", boolean),
    7: ("fastleave", boolean),
    8: ("learning", boolean),
    9: ("flood", boolean),
    10: ("proxy_arp", boolean),
    12: ("proxy_arp_wifi", boolean),
    13: ("root_id", bridge_id),
    14: ("bridge_id", bridge_id),
    15: ("designated_port", u16),
    16: ("designated_cost", u16),
    17: ("id", u16),
    18: ("no", u16),
    25: ("multicast_router", u8),
    27: ("mcast_flood", boolean),
    28: ("mcast_to_unicast", boolean),
    29: ("vlan_tunnel", boolean),
    30: ("bcast_flood", boolean),
    31: ("group_fwd_mask", u16),
    32: ("neigh_suppress", boolean),
    33: ("isolated", boolean),
    34: ("backup_port", u32),
    39: ("locked", boolean),
    40: ("mab", boolean),
    41: ("mcast_n_groups", u32),
    42: ("mcast_max_groups", u32),
    43: ("neigh_vlan_suppress", boolean),
    44: ("backup_nhid", u32),
    45: ("neigh_forward_grat", boolean),
}
VXLAN: Table = {
    1: ("id", u32),
    2: ("remote", address),
    3: ("link", u32),
    4: ("local", address),
    5: ("ttl", u8),
    6: ("tos", u8),
    7: ("learning", boolean),
    8: ("ageing", u32),
    9: ("limit", u32),
    10: ("port_range", port_range),
    11: ("proxy", boolean),
    12: ("rsc", boolean),
    13: ("l2miss", boolean),
    14: ("l3miss", boolean),
    15: ("port", be16),
    16: ("remote", address),
    17: ("local", address),
    18: ("udp_csum", boolean),
    19: ("udp_zero_csum6_tx", boolean),
    20: ("udp_zero_csum6_rx", boolean),
    21: ("remcsum_tx", boolean),
    22: ("remcsum_rx", boolean),
    23: ("gbp", present),
    24: ("remcsum_nopartial", present),
    25: ("external", boolean),
    26: ("label", be32),
    27: ("gpe", present),
    28: ("ttl_inherit", present),
    29: ("df", named(u8, "unset", "set", "inherit")),
    30: ("vnifilter", boolean),
    31: ("localbypass", boolean),
    34: ("mc_route", boolean),
}
GENEVE: Table = {
    1: ("id", u32),
    2: ("remote", address),
    3: ("ttl", u8),
    4: ("tos", u8),
    5: ("port", be16),
    6: ("external", present),
    7: ("remote", address),
    8: ("udp_csum", boolean),
    9: ("udp_zero_csum6_tx", boolean),
    10: ("udp_zero_csum6_rx", boolean),
    11: ("label", be32),
    12: ("ttl_inherit", boolean),
    13: ("df", named(u8, "unset", "set", "inherit")),
    14: ("inner_proto_inherit", present),
    15: ("port_range", port_range),
    17: ("local", address),
    18: ("local", address),
}
GRE: Table = {
    1: ("link", u32),
    2: ("iflags", be16),
    3: ("oflags", be16),
    4: ("ikey", be32),
    5: ("okey", be32),
    6: ("local", address),
    7: ("remote", address),
    8: ("ttl", u8),
    9: ("tos", u8),
    10: ("pmtudisc", boolean),
    11: ("encap_limit", u8),
    12: ("flowinfo", be32),
    13: ("flags", u32),
    14: ("encap_type", u16),
    15: ("encap_flags", u16),
    16: ("encap_sport", be16),
    17: ("encap_dport", be16),
    18: ("external", present),
    19: ("ignore_df", boolean),
    20: ("fwmark", u32),
    21: ("erspan_index", u32),
    22: ("erspan_ver", u8),
    23: ("erspan_dir", u8),
    24: ("erspan_hwid", u16),
}


IPTUN: Table = {
    1: ("link", u32),
    2: ("local", address),
    3: ("remote", address),
    4: ("ttl", u8),
    5: ("tos", u8),
    6: ("encap_limit", u8),
    7: ("flowinfo", be32),
    8: ("flags", u32_or_u16),
    9: ("proto", u8),
    10: ("pmtudisc", boolean),
    15: ("encap_type", u16),
    16: ("encap_flags", u16),
    17: ("encap_sport", be16),
    18: ("encap_dport", be16),
    19: ("external", present),
    20: ("fwmark", u32),
}
VTI: Table = {
    1: ("link", u32),
    2: ("ikey", be32),
    3: ("okey", be32),
    4: ("local", address),
    5: ("remote", address),
    6: ("fwmark", u32),
}
_BOND_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
_ARP_VALIDATE = ("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")
BOND: Table = {
    1: ("mode", named(u8, *_BOND_MODES)),
    2: ("active_slave", u32),
    3: ("miimon", u32),
    4: ("updelay", u32),
    5: ("downdelay", u32),
    6: ("use_carrier", u8),
    7: ("arp_interval", u32),
    8: ("arp_ip_target", addresses),
    9: ("arp_validate", named(u32, *_ARP_VALIDATE)),
    10: ("arp_all_targets", named(u32, "any", "all")),
    11: ("primary", u32),
    12: ("primary_reselect", named(u8, "always", "better", "failure")),
    13: ("fail_over_mac", named(u8, "none", "active", "follow")),
    14: ("xmit_hash_policy", named(u8, "layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")),
    15: ("resend_igmp", u32),
    16: ("num_peer_notif", u8),
    17: ("all_slaves_active", u8),
    18: ("min_links", u32),
    19: ("lp_interval", u32),
    20: ("packets_per_slave", u32),
    21: ("ad_lacp_rate", named(u8, "slow", "fast")),
    22: ("ad_select", named(u8, "stable", "bandwidth", "count", "prio")),
    23: ("ad_info", aggregator),
    24: ("ad_actor_sys_prio", u16),
    25: ("ad_user_port_key", u16),
    26: ("ad_actor_system", lladdr),
    27: ("tlb_dynamic_lb", u8),
    28: ("peer_notify_delay", u32),
    29: ("ad_lacp_active", named(u8, "off", "on")),
    30: ("arp_missed_max", u8),
    31: ("ns_ip6_target", addresses),
    32: ("coupled_control", boolean),
    33: ("broadcast_neighbor", boolean),
    34: ("lacp_strict", boolean),
}
BOND_SLAVE: Table = {
    1: ("state", named(u8, "ACTIVE", "BACKUP")),
    2: ("mii_status", named(u8, "UP", "GOING_DOWN", "DOWN", "GOING_BACK")),
    3: ("link_failure_count", u32),
    4: ("perm_hwaddr", lladdr),
    5: ("queue_id", u16),
    6: ("ad_aggregator_id", u16),
    7: ("ad_actor_oper_port_state", u8),
    8: ("ad_partner_oper_port_state", u16),
    9: ("prio", s32),
    10: ("actor_port_prio", u16),
    11: ("ad_churn_actor_state", u8),
    12: ("ad_churn_partner_state", u8),
}
VLAN: Table = {1: ("id", u16), 2: ("flags", masked_u32), 5: ("protocol", _PROTOCOL)}
MACVLAN: Table = {
    1: ("mode", mapped(u32, {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"})),
    2: ("flags", u16),
    6: ("macaddr_count", u32),
    7: ("bcqueuelen", u32),
    8: ("usedbcqueuelen", u32),
    9: ("bclim", s32),
}
NETKIT: Table = {
    2: ("primary", boolean),
    3: ("policy", mapped(u32, {0: "forward", 2: "blackhole"})),
    4: ("peer_policy", mapped(u32, {0: "forward", 2: "blackhole"})),
    5: ("mode", named(u32, "l2", "l3")),
    6: ("scrub", named(u32, "none", "default")),
    7: ("peer_scrub", named(u32, "none", "default")),
    8: ("headroom", u16),
    9: ("tailroom", u16),
}
TUN: Table = {
    1: ("user", u32),
    2: ("group", u32),
    3: ("type", mapped(u8, {1: "tun", 2: "tap"})),
    4: ("pi", boolean),
    5: ("vnet_hdr", boolean),
    6: ("persist", boolean),
    7: ("multi_queue", boolean),
    8: ("numqueues", u32),
    9: ("numdisabled", u32),
}
MACSEC: Table = {
    1: ("sci", sci),
    3: ("icv_len", u8),
    4: ("cipher_suite", mapped(u64, MACSEC_CIPHERS)),
    5: ("window", u32),
    6: ("encoding_sa", u8),
    7: ("encrypt", boolean),
    8: ("protect", boolean),
    9: ("inc_sci", boolean),
    10: ("es", boolean),
    11: ("scb", boolean),
    12: ("replay_protect", boolean),
    13: ("validation", named(u8, "disabled", "check", "strict")),
    15: ("offload", named(u8, "off", "phy", "mac")),
}
"""IFLA_MACSEC_*: settings of the port; keys belong to its associations, which are not asked for."""
VRF: Table = {1: ("table", u32)}
XFRM: Table = {1: ("link", u32), 2: ("if_id", u32), 3: ("external", present)}
IPVLAN: Table = {1: ("mode", named(u16, "l2", "l3", "l3s")), 2: ("flags", u16)}
BAREUDP: Table = {1: ("port", be16), 2: ("ethertype", be16), 3: ("srcportmin", u16), 4: ("multiproto", present)}

KINDS: dict[str, Table] = {
    **{
        "bridge": BRIDGE,
        "vxlan": VXLAN,
        "geneve": GENEVE,
        "bond": BOND,
        "vlan": VLAN,
        "vrf": VRF,
        "macsec": MACSEC,
        "tun": TUN,
    },
    **dict.fromkeys(("macvlan", "macvtap"), MACVLAN),
    **dict.fromkeys(("ipvlan", "ipvtap"), IPVLAN),
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), IPTUN),
    **dict.fromkeys(("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"), GRE),
    **dict.fromkeys(("vti", "vti6"), VTI),
    **{"netkit": NETKIT, "xfrm": XFRM, "bareudp": BAREUDP},
}
SLAVE_KINDS: dict[str, Table] = {"bridge": BRIDGE_PORT, "bond": BOND_SLAVE, "vrf": VRF}

# Known and left out. Bridge: running timers, padding, the state of the multicast querier. Bridge port: timers, padding,
# what a write alone understands, MRP and EHT. vxlan, geneve: masks without a use here. vlan: priority maps. macvlan:
# addresses of source mode. netkit: the twin's description, and how it was paired. iptun: the prefix of 6rd.
IGNORED: dict[str, frozenset[int]] = {
    "bridge": frozenset({16, 17, 18, 19, 21, 40, 47}),
    "vxlan": frozenset({32, 33}),
    "geneve": frozenset({16}),
    "vlan": frozenset({3, 4}),
    **dict.fromkeys(("macvlan", "macvtap"), frozenset({3, 4, 5})),
    "netkit": frozenset({1, 10}),
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), frozenset({11, 12, 13, 14})),
}
SLAVE_IGNORED: dict[str, frozenset[int]] = {"bridge": frozenset({11, 19, 20, 21, 22, 23, 24, 26, 35, 36, 37, 38})}


def decode_kind(kind: str, payload: Buffer, *, slave: bool = False) -> tuple[dict[str, Any], list[int], int]:
    """The values of one kind; the attribute numbers that its table does not know; how many were damaged."""
    table = (SLAVE_KINDS if slave else KINDS).get(kind)
    if table is None:
        return {}, [], 0
    ignored = (SLAVE_IGNORED if slave else IGNORED).get(kind, frozenset())
    values: dict[str, Any] = {}
    unknown: list[int] = []
    bad = 0
    for number, start, end in walk(payload):
        row = table.get(number)
        if row is None:
            if number not in ignored:
                unknown.append(number)
            continue
        try:
            values[row[0]] = row[1](payload[start:end])
        except DecodeError:
            bad += 1
    if kind == "vxlan" and multicast(values.get("remote", "")):
        values["group"] = values.pop("remote")
    return values, unknown, bad


def multicast(text: str) -> bool:
    """Whether an address as text is a multicast one: ff00::/8 or 224.0.0.0/4."""
    if ":" in text:
        return len(text.partition(":")[0]) == 4 and text.startswith("ff")
    return text != "" and 224 <= int(text.partition(".")[0]) <= 239
