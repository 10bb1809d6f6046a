"""Forwarding entries of bridges and vxlan devices, VLANs of bridge ports, multicast groups.

Source: one RTM_GETNEIGH dump of AF_BRIDGE; RTM_GETLINK of AF_BRIDGE where a bridge filters VLANs; RTM_GETMDB where
there is a bridge. Needs no privilege and loads nothing: without an interface of such a kind nothing is asked, since
RTM_GETMDB has its handler in the bridge module. Partial where a message could not be decoded.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.collectors.links import read_links
from netdiag.model.bridge import Bridging
from netdiag.sources.netlink import bridges
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Everything that there is."""
    links, _ = read_links(source, stats=False)
    made = [link for link in links if link.kind == "bridge"]
    entries, vlans, groups = bridges.FdbColumns(), bridges.VlanSink(), bridges.MdbSink()
    results: list[DumpResult] = [source.dump(bridges.fdb(), entries)]
    if any(link.info.get("vlan_filtering") for link in made):
        results.append(source.dump(bridges.vlans(), vlans))
    if made:
        try:
            results.append(source.dump(bridges.mdb(), groups))
        except Unreadable as refusal:
            if refusal.why != "absent":  # a kernel without multicast snooping
                raise
    fdb = entries.finish()
    status, detail = verdict_of(results, entries.malformed + vlans.malformed + groups.malformed)
    return Collected(
        tables={"fdb": fdb, "bridging": Bridging(vlans=tuple(vlans.rows), mdb=tuple(groups.rows))},
        rows=len(fdb),
        status=status,
        detail=detail,
    )
