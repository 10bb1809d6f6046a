"""Names of the per-interface sysctls that RTM_GETLINK carries along in IFLA_AF_SPEC.

IFLA_INET_CONF and IFLA_INET6_CONF are arrays of signed 32-bit values. Order: enum IPV4_DEVCONF_* of
include/uapi/linux/ip.h (counted from 1) and DEVCONF_* of include/uapi/linux/ipv6.h (counted from 0); the names are
those of /proc/sys/net/ipv{4,6}/conf/*/ (net/ipv4/devinet.c, net/ipv6/addrconf.c). A newer kernel's longer array is
cut, an older one's shorter array gives fewer names.
"""

from struct import unpack_from

INET_CONF = (
    "forwarding",
    "mc_forwarding",
    "proxy_arp",
    "accept_redirects",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "rp_filter",
    "accept_source_route",
    "bootp_relay",
    "log_martians",
    "tag",
    "arp_filter",
    "medium_id",
    "disable_xfrm",
    "disable_policy",
    "force_igmp_version",
    "arp_announce",
    "arp_ignore",
    "promote_secondaries",
    "arp_accept",
    "arp_notify",
    "accept_local",
    "src_valid_mark",
    "proxy_arp_pvlan",
    "route_localnet",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_gratuitous_arp",
    "bc_forwarding",
    "arp_evict_nocarrier",
)

INET6_CONF = (
    "forwarding",
    "hop_limit",
    "mtu",
    "accept_ra",
    "accept_redirects",
    "autoconf",
    "dad_transmits",
    "router_solicitations",
    "router_solicitation_interval",
    "router_solicitation_delay",
    "use_tempaddr",
    "temp_valid_lft",
    "temp_prefered_lft",
    "regen_max_retry",
    "max_desync_factor",
    "max_addresses",
    "force_mld_version",
    "accept_ra_defrtr",
    "accept_ra_pinfo",
    "accept_ra_rtr_pref",
    "router_probe_interval",
    "accept_ra_rt_info_max_plen",
    "proxy_ndp",
    "optimistic_dad",
    "accept_source_route",
    "mc_forwarding",
    "disable_ipv6",
    "accept_dad",
    "force_tllao",
    "ndisc_notify",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "suppress_frag_ndisc",
    "accept_ra_from_local",
    "use_optimistic",
    "accept_ra_mtu",
    "",  # DEVCONF_STABLE_SECRET: a secret, and never in the array
    "use_oif_addrs_only",
    "accept_ra_min_hop_limit",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_unsolicited_na",
    "keep_addr_on_down",
    "router_solicitation_max_interval",
    "seg6_enabled",
    "seg6_require_hmac",
    "enhanced_dad",
    "addr_gen_mode",
    "disable_policy",
    "accept_ra_rt_info_min_plen",
    "ndisc_tclass",
    "rpl_seg_enabled",
    "ra_defrtr_metric",
    "ioam6_enabled",
    "ioam6_id",
    "ioam6_id_wide",
    "ndisc_evict_nocarrier",
    "accept_untracked_na",
    "accept_ra_min_lft",
    "force_forwarding",
)

_SECONDS = {
    "router_solicitation_interval",
    "router_solicitation_delay",
    "router_probe_interval",
    "router_solicitation_max_interval",
}
"""Sent in milliseconds, but whole seconds in /proc/sys."""


def inet_conf(payload: bytes) -> dict[str, int]:
    """IFLA_INET_CONF: net.ipv4.conf values by sysctl name, as /proc/sys has them."""
    count = min(len(payload) // 4, len(INET_CONF))
    return dict(zip(INET_CONF, unpack_from(f"={count}i", payload), strict=False))


def inet6_conf(payload: bytes) -> dict[str, int]:
    """IFLA_INET6_CONF: net.ipv6.conf values by sysctl name, as /proc/sys has them."""
    count = min(len(payload) // 4, len(INET6_CONF))
    values = zip(INET6_CONF, unpack_from(f"={count}i", payload), strict=False)
    return {name: value // 1000 if name in _SECONDS else value for name, value in values if name}
