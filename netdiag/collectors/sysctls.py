"""net.* settings that rules and the packet walk need, from /proc/sys of the reader's network namespace.

Source: /proc/sys/net (Documentation/networking/ip-sysctl.rst). Settings of single interfaces are not read here: the
link
dump carries them. Needs no privilege. A setting that this kernel or namespace does not have is simply not there;
absent as
a whole only where /proc/sys/net cannot be listed. What the files of sysctl.d(5) set at boot stands beside the values.
"""

import re
from itertools import islice

from netdiag.collectors import Collected, Options
from netdiag.model.sysctl import SysctlLine, Sysctls
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

IPV4 = """
ip_forward ip_nonlocal_bind ip_early_demux ip_local_port_range ip_local_reserved_ports ip_unprivileged_port_start
ip_no_pmtu_disc ip_forward_use_pmtu ip_default_ttl ip_dynaddr ip_forward_update_priority
fib_multipath_use_neigh fib_multipath_hash_policy fib_multipath_hash_seed fib_sync_mem fwmark_reflect tcp_fwmark_accept
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
ipv4/vs/amemthresh
bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables bridge/bridge-nf-call-arptables
"""

BESIDE = ("kernel/bpf_stats_enabled",)
"""Below /proc/sys: not of the network, and of use to rules about it."""


FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
"""sysctl.d(5): a file of one of these hides the one of the same name in those after it."""
FILES_KEPT, LINES_KEPT = 200, 1000
NAME = re.compile(r"[\w./:*?\[\]@-]{1,200}")
INITIAL = "/proc/sys/net/ipv4/neigh/default/gc_thresh1"
"""Exists in the initial namespace only."""


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


def own_files(source: Source) -> bool:
    """Whether the files of sysctl.d(5) are for the namespace that is read: the initial one, init's own, or one whose
    mount namespace has an /etc of its own. Under "ip netns exec" they are the machine's."""
    if INITIAL in source.read_many([INITIAL]):
        return True
    try:
        if source.readlink("/proc/self/ns/net") == source.readlink("/proc/1/ns/net"):
            return True
    except Unreadable:
        pass
    try:
        mounted = source.read("/proc/self/mountinfo").split(b"\n")
    except Unreadable:
        return False
    return any(line.split(b" ")[4:5] in ([b"/etc"], [b"/etc/sysctl.d"]) for line in mounted)


def parse_file(path: str, text: str) -> list[SysctlLine]:
    """net.* lines of one file. A line that begins with a dash only takes a name out of patterns, or may fail."""
    found = []
    for line in text.splitlines()[:LINES_KEPT]:
        name, equals, value = line.strip().partition("=")
        name = name.strip().removeprefix("-").strip()
        if not equals or line.strip()[:1] in ("#", ";") or not NAME.fullmatch(name):
            continue
        slash = name.find("/")
        if 0 <= slash < (name + ".").find("."):  # spelled as a path: slashes part, dots belong to names
            name = name.translate(str.maketrans("./", "/."))
        if name.startswith("net."):
            found.append(SysctlLine(name=name, value=value.strip(), path=path))
    return found


def read_files(source: Source) -> tuple[SysctlLine, ...] | None:
    """What sysctl.d(5) sets at boot, in order; None where that is not for this namespace, or nothing could be read."""
    if not own_files(source):
        return None
    paths: dict[str, str] = {}
    listed = False
    for folder in FOLDERS:
        try:
            names = source.listdir(folder)
        except Unreadable:
            continue
        listed = True
        for name in islice((name for name in names if name.endswith(".conf")), FILES_KEPT):
            paths.setdefault(name, f"{folder}/{name}")
    if not listed:
        return None
    wanted = [paths[name] for name in sorted(paths)]
    contents = source.read_many(wanted)
    lines = [row for path in wanted if path in contents for row in parse_file(path, kernel_text(contents[path]))]
    return tuple(lines[:LINES_KEPT])


def collect(source: Source, options: Options) -> Collected:
    """Every setting of ``names()`` that exists, by dotted name. Raises Unreadable where there is no /proc/sys/net."""
    source.listdir("/proc/sys/net")
    asked = {f"/proc/sys/net/{name}": "net." + name.replace("/", ".") for name in names()}
    asked |= {f"/proc/sys/{name}": name.replace("/", ".") for name in BESIDE}
    asked |= {_path(name): name for name in options.intent.sysctl or ()}
    files = read_files(source)
    asked |= {_path(row.name): row.name for row in files or () if "*" not in row.name and "?" not in row.name}
    found = source.read_many(list(asked))
    values = {asked[path]: kernel_text(raw).strip() for path, raw in found.items()}
    table = Sysctls(values=values, files=files)
    return Collected(tables={"sysctls": table}, rows=len(values))
