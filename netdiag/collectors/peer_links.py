"""The far ends of veth pairs that live in other network namespaces, asked for without entering them.

Source: RTM_GETLINK with IFLA_TARGET_NETNSID (Linux 4.20, net/core/rtnetlink.c rtnl_getlink()), one request a pair, by
the link_netnsid that the near end shows. Needs CAP_NET_ADMIN over the other namespace: from inside a container the
host's end is denied, and the whole is then partial, or denied where no far end could be read. A far end that went away
meanwhile is left out.
"""

import errno
from struct import pack

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.model.link import Link, PeerLink
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.protocol import Source, Unreadable

GONE = {errno.ENODEV, errno.ENXIO}


def request_body(link: Link) -> bytes:
    """RTM_GETLINK for the far end of ``link``, in the namespace that its link_netnsid names."""
    return pack("=BxHiII", 0, 0, link.link or 0, 0, 0) + pack("=HHi", 8, nl.IFLA_TARGET_NETNSID, link.link_netnsid or 0)


def collect(source: Source, options: Options) -> Collected:
    """The far end of every veth whose peer is in another namespace."""
    links, _ = read_links(source, stats=False)
    paired = [link for link in links if link.kind == "veth" and link.link and link.link_netnsid is not None]
    if not paired:
        return Collected(tables={"peer_links": ()})
    bodies = [request_body(link) for link in paired]
    answers = source.ask("RTM_GETLINK peers", nl.NETLINK_ROUTE, nl.RTM_GETLINK, bodies)
    peers: list[PeerLink] = []
    refused: dict[int, int] = {}
    for link, answer in zip(paired, answers, strict=True):
        if answer.errno:
            refused[answer.errno] = refused.get(answer.errno, 0) + (answer.errno not in GONE)
            continue
        sink = LinkSink()
        sink.feed(memoryview(answer.octets))
        peers += [PeerLink(ifindex=link.ifindex, peer=far) for far in sink.links[:1]]
    missed = sum(refused.values())
    detail = f"{missed} of {len(paired)} far ends of veth pairs could not be read" if missed else ""
    if missed and not peers:
        denied = bool(refused.keys() & {errno.EPERM, errno.EACCES})
        raise Unreadable(
            "denied" if denied else "failed", detail + (" (needs CAP_NET_ADMIN over them)" if denied else "")
        )
    return Collected(
        tables={"peer_links": tuple(peers)}, rows=len(peers), status="partial" if missed else "ok", detail=detail
    )
