"""Whether the next hop's link-layer address is known: the neighbour entry that a packet meets.

States as in include/net/neighbour.h; what sends is neigh_resolve_output() of net/core/neighbour.c. A neighbour that
failed is asked again by the next packet, so "dropped" means: as long as it stays silent. Pure; nothing can fail.
"""

from typing import NamedTuple

from netdiag.model.link import Link
from netdiag.model.walk import Fate
from netdiag.path.host import PathHost

UNKNOWN = "not known yet"
BARE = frozenset({65534, 512, 768, 769, 776, 778, 823})
"""ARPHRD_* without link-layer addresses: none, ppp, tunnel, tunnel6, sit, ipgre, ip6gre."""


class Met(NamedTuple):
    """What was found."""

    fate: Fate | None
    decision: str
    thing: str
    why: str
    lladdr: str | None = None


def meet(host: PathHost, link: Link, address: str) -> Met | None:
    """The neighbour entry of a next hop; None where the link needs none."""
    if link.loopback or link.noarp or link.type in BARE:
        return None
    thing = f"{address} dev {link.ifname}"
    unread = host.gap("neighbours")
    if unread:
        return Met(None, "not read", thing, unread)
    row = host.neighbour(link.ifindex, address)
    if row is None:
        asks = "ND" if ":" in address else "ARP"
        return Met(
            None, "not known yet", thing, f"it is asked for by {asks} first, and whether it answers is not known"
        )
    if row.state == "failed":
        return Met("dropped", "failed", thing, f"neighbour {address} on {link.ifname} does not answer (failed)")
    if row.state == "incomplete":
        why = f"neighbour {address} on {link.ifname} is being asked for and has not answered yet"
        return Met("unknown", "incomplete", thing, why)
    return Met(None, row.state, f"{thing} lladdr {row.lladdr}" if row.lladdr else thing, "", row.lladdr)
