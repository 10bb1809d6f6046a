"""Forwarding entries of bridges and vxlan devices, VLANs of bridge ports, multicast groups.

Source: one RTM_GETNEIGH dump of AF_BRIDGE; RTM_GETLINK of AF_BRIDGE where a bridge filters VLANs; RTM_GETMDB where
there is a bridge. Needs no privilege and loads nothing: without an interface of such a kind nothing is asked, since
RTM_GETMDB has its handler in the bridge module. Partial where a message could not be decoded. Where a bridge has two
taps, and could confuse their guests, its entries are looked at again some times, over the interval of the counters.
"""

from netdiag.collectors import Collected, Options, verdict_of
from netdiag.collectors.links import read_links
from netdiag.model.bridge import NUD_NOARP, NUD_PERMANENT, Bridging, Fdb, FdbMove
from netdiag.model.link import Link
from netdiag.sources.netlink import bridges
from netdiag.sources.netlink.messages import DumpResult
from netdiag.sources.protocol import Source, Unreadable

LOOKS = 6
"""How often the entries are looked at, over the interval."""
FEW = 1024
"""Entries of a host that is looked at more than once."""


def watched(links: list[Link]) -> bool:
    """Whether a bridge has two taps, behind which guests may be."""
    ports = [link.master for link in links if link.kind == "tun" and link.up]
    return any(link.kind == "bridge" and link.up and ports.count(link.ifindex) > 1 for link in links)


def learned(fdb: Fdb) -> dict[tuple[int, str, int], int]:
    """The port of each address that a bridge learned: by bridge, address and VLAN."""
    kept = (fdb.master != 0) & (fdb.state & (NUD_PERMANENT | NUD_NOARP) == 0)
    rows = zip(fdb.master[kept], fdb.lladdr[kept], fdb.vlan[kept], fdb.ifindex[kept], strict=True)
    return {(int(master), raw.tobytes().hex(":"), int(vlan)): int(port) for master, raw, vlan, port in rows}


def moves(looks: list[dict[tuple[int, str, int], int]]) -> tuple[FdbMove, ...]:
    """Addresses that were not behind one port at every look."""
    found: dict[tuple[int, str, int], list[int]] = {}
    for look in looks:
        for key, port in look.items():
            found.setdefault(key, []).append(port)
    return tuple(
        FdbMove(master=master, lladdr=lladdr, vlan=vlan or None, ports=tuple(ports))
        for (master, lladdr, vlan), ports in sorted(found.items())
        if len(set(ports)) > 1
    )


def watch(source: Source, options: Options, links: list[Link], fdb: Fdb) -> tuple[FdbMove, ...]:
    """What moves between the ports of bridges while the counters are sampled."""
    if options.interval <= 0 or len(fdb) > FEW or not watched(links):
        return ()
    looks = [learned(fdb)]
    for _ in range(LOOKS - 1):
        source.wait(options.interval / (LOOKS - 1))
        more = bridges.FdbColumns()
        source.dump(bridges.fdb(), more)
        looks.append(learned(more.finish()))
    return moves(looks)


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
        tables={
            "fdb": fdb,
            "bridging": Bridging(
                vlans=tuple(vlans.rows), mdb=tuple(groups.rows), moved=watch(source, options, links, fdb)
            ),
        },
        rows=len(fdb),
        status=status,
        detail=detail,
    )
