"""The questions netdiag asks over rtnetlink: one function builds one request, and none is sent here.

Family headers from include/uapi/linux/{rtnetlink,if_link,if_addr,fib_rules,neighbour,nexthop}.h. Under
NETLINK_GET_STRICT_CHK the kernel refuses (EINVAL) a header with a field set that it does not filter by, so every field
that is not asked for is zero. Pure; ValueError where a number does not fit its field is struct.error's business.
"""

from struct import pack

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import DumpRequest

FAMILIES = {"": nl.AF_UNSPEC, "inet": nl.AF_INET, "inet6": nl.AF_INET6, "bridge": nl.AF_BRIDGE}
_ROUTE_GROUPS = {
    "inet": (nl.RTNLGRP_IPV4_ROUTE, nl.RTNLGRP_NEXTHOP),
    "inet6": (nl.RTNLGRP_IPV6_ROUTE, nl.RTNLGRP_NEXTHOP),
}
_RULE_GROUPS = {"inet": (nl.RTNLGRP_IPV4_RULE,), "inet6": (nl.RTNLGRP_IPV6_RULE,)}


def attribute(kind: int, payload: bytes) -> bytes:
    """One struct nlattr with its payload, padded to four bytes."""
    return pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def attribute_u32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in host order."""
    return pack("=HHI", 8, kind, value)


def _route_family(kind: int, name: str, family: str, body: bytes, guard: tuple[int, ...] = ()) -> DumpRequest:
    return DumpRequest(f"{name} {family}".rstrip(), nl.NETLINK_ROUTE, kind, body, guard)


def links(family: str = "", *, netnsid: int | None = None, stats: bool = True) -> DumpRequest:
    """RTM_GETLINK: every interface; with ``netnsid`` those of a peer namespace, without entering it (Linux 4.20).

    ``stats=False`` leaves out IFLA_STATS64 and the IPv6 counters (RTEXT_FILTER_SKIP_STATS). Virtual functions are not
    asked.
    """
    body = pack("=BxHiII", FAMILIES[family], 0, 0, 0, 0)
    if not stats:
        body += attribute_u32(nl.IFLA_EXT_MASK, nl.RTEXT_FILTER_SKIP_STATS)
    if netnsid is not None:
        body += pack("=HHi", 8, nl.IFLA_TARGET_NETNSID, netnsid)
    return _route_family(nl.RTM_GETLINK, "RTM_GETLINK", family, body)


def addresses(family: str = "") -> DumpRequest:
    """RTM_GETADDR: every address of one family, or of all."""
    return _route_family(nl.RTM_GETADDR, "RTM_GETADDR", family, pack("=BBBBi", FAMILIES[family], 0, 0, 0, 0))


def routes(family: str, *, table: int | None = None, protocol: int | None = None) -> DumpRequest:
    """RTM_GETROUTE: every route of a family, of all tables or of one, of all origins or of one RTPROT_*.

    Strict checking leaves out cached routes (RTM_F_CLONED: learnt path MTUs and redirects), which are no routes of a
    table. A table that does not exist is an error (ENOENT).
    """
    body = pack("=8BI", FAMILIES[family], 0, 0, 0, 0, protocol or 0, 0, 0, 0)
    if table is not None:
        body += attribute_u32(nl.RTA_TABLE, table)
    return _route_family(nl.RTM_GETROUTE, "RTM_GETROUTE", family, body, _ROUTE_GROUPS[family])


def route_exceptions(family: str) -> DumpRequest:
    """RTM_GETROUTE with RTM_F_CLONED: only what was learnt for single destinations, path MTUs and redirects."""
    body = pack("=8BI", FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, nl.RTM_F_CLONED)
    return _route_family(nl.RTM_GETROUTE, "RTM_GETROUTE cloned", family, body)


def rules(family: str) -> DumpRequest:
    """RTM_GETRULE: every policy rule of a family, in the order in which they are tried."""
    return _route_family(
        nl.RTM_GETRULE, "RTM_GETRULE", family, pack("=8BI", FAMILIES[family], *[0] * 8), _RULE_GROUPS[family]
    )


def neighbours(family: str = "", *, proxy: bool = False) -> DumpRequest:
    """RTM_GETNEIGH: neighbours, or with ``proxy`` the addresses that this host answers for instead of their owner.

    Proxy entries are only dumped when asked for (neigh_dump_info() in net/core/neighbour.c), hence a dump of their own.
    """
    body = pack("=BxHiHBB", FAMILIES[family], 0, 0, 0, nl.NTF_PROXY if proxy else 0, 0)
    name = "RTM_GETNEIGH proxy" if proxy else "RTM_GETNEIGH"
    return _route_family(nl.RTM_GETNEIGH, name, family, body)


def neighbour_tables(family: str = "") -> DumpRequest:
    """RTM_GETNEIGHTBL: thresholds, counters and default parameters of the ARP and ND tables."""
    return _route_family(nl.RTM_GETNEIGHTBL, "RTM_GETNEIGHTBL", family, pack("=BxH", FAMILIES[family], 0))


def nexthops() -> DumpRequest:
    """RTM_GETNEXTHOP: every nexthop object and group (Linux 5.3). The kernel flags changes itself."""
    return _route_family(nl.RTM_GETNEXTHOP, "RTM_GETNEXTHOP", "", pack("=BBBxI", 0, 0, 0, 0))


def netns_ids() -> DumpRequest:
    """RTM_GETNSID: the numbers by which this namespace knows its peers."""
    return _route_family(nl.RTM_GETNSID, "RTM_GETNSID", "", pack("=B3x", 0))


def qdiscs() -> DumpRequest:
    """RTM_GETQDISC: every queueing discipline, the invisible ones of multiqueue devices included."""
    # net/sched/sch_api.c, tc_dump_qdisc(): TCA_DUMP_INVISIBLE is a flag, number 10.
    body = pack("=BxHiIII", 0, 0, 0, 0, 0, 0) + attribute(10, b"")
    return _route_family(nl.RTM_GETQDISC, "RTM_GETQDISC", "", body)


def route_lookup(
    family: str, dst: bytes, *, attributes: bytes = b"", src_len: int = 0, tos: int = 0, flags: int = 0
) -> bytes:
    """Body of an RTM_GETROUTE that asks what the kernel would do with a packet (``ip route get``), for
    transport.batch().

    ``dst`` is packed, 4 or 16 bytes; ``attributes`` are RTA_SRC (set ``src_len`` to 32 or 128), RTA_OIF, RTA_IIF,
    RTA_MARK, RTA_UID, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT (ports in network order). ``flags``: RTM_F_LOOKUP_TABLE
    answers with the table, RTM_F_FIB_MATCH with the matching route instead of the resolved one.
    """
    body = pack("=8BI", FAMILIES[family], len(dst) * 8, src_len, tos, 0, 0, 0, 0, flags)
    return body + attribute(nl.RTA_DST, dst) + attributes
