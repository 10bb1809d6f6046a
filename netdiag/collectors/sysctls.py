"""net.* settings that rules and the packet walk need, from /proc/sys of the reader's network namespace.

Source: /proc/sys/net (Documentation/networking/ip-sysctl.rst). Settings of single interfaces are not read here: the
link
dump carries them. Needs no privilege. A setting that this kernel or namespace does not have is simply not there;
absent as
a whole only where /proc/sys/net cannot be listed.
"""

from netdiag.collectors import Collected, Options
from netdiag.model.sysctl import Sysctls
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source

IPV4 = """
ip_forward ip_nonlocal_bind ip_early_demux ip_local_port_range ip_local_reserved_ports ip_unprivileged_port_start
ip_no_pmtu_disc ip_forward_use_pmtu ip_default_ttl ip_dynaddr ip_forward_update_priority
fib_multipath_use_neigh fib_multipath_hash_policy fib_sync_mem fwmark_reflect tcp_fwmark_accept
tcp_l3mdev_accept udp_l3mdev_accept raw_l3mdev_accept nexthop_compat_mode
tcp_mem tcp_rmem tcp_wmem udp_mem tcp_mtu_probing tcp_base_mss tcp_max_syn_backlog tcp_syncookies tcp_abort_on_overflow
tcp_max_tw_buckets tcp_tw_reuse tcp_max_orphans tcp_timestamps tcp_sack tcp_congestion_control tcp_ecn
tcp_keepalive_time tcp_fin_timeout icmp_ratelimit icmp_ratemask icmp_msgs_per_sec icmp_echo_ignore_all
ipfrag_high_thresh ipfrag_time route/min_pmtu route/mtu_expires route/max_size
neigh/default/gc_thresh1 neigh/default/gc_thresh2 neigh/default/gc_thresh3
neigh/default/unres_qlen_bytes neigh/default/base_reachable_time_ms neigh/default/app_solicit
"""
IPV4_CONF = """
forwarding rp_filter accept_local accept_redirects accept_source_route arp_accept arp_announce arp_filter arp_ignore
arp_notify
disable_policy disable_xfrm drop_gratuitous_arp ignore_routes_with_linkdown log_martians promote_secondaries
proxy_arp proxy_arp_pvlan route_localnet secure_redirects send_redirects shared_media src_valid_mark
"""
IPV6 = """
ip_nonlocal_bind bindv6only anycast_src_echo_reply fwmark_reflect auto_flowlabels flowlabel_consistency
fib_multipath_hash_policy route/max_size route/gc_thresh route/mtu_expires route/min_adv_mss
skip_notify_on_dev_down neigh/default/gc_thresh1 neigh/default/gc_thresh2 neigh/default/gc_thresh3
"""
IPV6_CONF = """
forwarding disable_ipv6 accept_ra accept_ra_defrtr accept_ra_pinfo accept_ra_rtr_pref accept_redirects accept_dad
autoconf dad_transmits proxy_ndp use_tempaddr keep_addr_on_down ignore_routes_with_linkdown mtu addr_gen_mode hop_limit
"""
CORE = """
somaxconn netdev_max_backlog netdev_budget netdev_budget_usecs rmem_max wmem_max rmem_default default_qdisc
bpf_jit_enable devconf_inherit_init_net
"""
OTHER = """
netfilter/nf_conntrack_max netfilter/nf_conntrack_count netfilter/nf_conntrack_buckets
netfilter/nf_conntrack_tcp_be_liberal
bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables bridge/bridge-nf-call-arptables
"""

BESIDE = ("kernel/bpf_stats_enabled",)
"""Below /proc/sys: not of the network, and of use to rules about it."""


def names() -> list[str]:
    """Paths below /proc/sys/net of every setting that is asked for."""
    paths = [f"ipv4/{name}" for name in IPV4.split()] + [f"ipv6/{name}" for name in IPV6.split()]
    for which in ("all", "default"):
        paths += [f"ipv4/conf/{which}/{name}" for name in IPV4_CONF.split()]
        paths += [f"ipv6/conf/{which}/{name}" for name in IPV6_CONF.split()]
    return paths + [f"core/{name}" for name in CORE.split()] + OTHER.split()


def _path(name: str) -> str:
    """Path of a setting by its dotted name, in which an interface's own dots are slashes (sysctl(8))."""
    return "/proc/sys/" + name.translate(str.maketrans("./", "/."))


def collect(source: Source, options: Options) -> Collected:
    """Every setting of ``names()`` that exists, by dotted name. Raises Unreadable where there is no /proc/sys/net."""
    source.listdir("/proc/sys/net")
    asked = {f"/proc/sys/net/{name}": "net." + name.replace("/", ".") for name in names()}
    asked |= {f"/proc/sys/{name}": name.replace("/", ".") for name in BESIDE}
    asked |= {_path(name): name for name in options.intent.sysctl or ()}
    found = source.read_many(list(asked))
    values = {asked[path]: kernel_text(raw).strip() for path, raw in found.items()}
    return Collected(tables={"sysctls": Sysctls(values=values)}, rows=len(values))
