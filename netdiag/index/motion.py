"""Guests' interfaces, and bridges of engines, that came or went while the host was read.

Tables are read one after another, and a worker starts and ends guests all the time: of an interface that was made
between two of them one table tells, the other does not, and neither is wrong. The two samples of the counters list
every interface, and stand around all other tables.
"""

from netdiag.index.guests import faces_guest
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables


def moving(tables: Tables) -> frozenset[str]:
    """Names of the guests' interfaces, and of bridges, that one sample of the counters has and the other has not; none
    without a second sample. Cards and tunnels are not meant: nothing makes them by the minute, and one that goes is
    missed."""
    counters = tables.counters
    if counters.second is None:
        return frozenset()
    first, second = ({(row.ifindex, row.ifname) for row in one.links} for one in (counters.first, counters.second))
    known = {link.ifname: link for link in tables.links}
    names = {name for _, name in first ^ second}
    return frozenset(name for name in names if (link := known.get(name)) is None or _made(link))


def _made(link: Link) -> bool:
    """Whether engines make interfaces of the kind, for a guest or for the network of some."""
    return faces_guest(link) or link.kind == "bridge"
