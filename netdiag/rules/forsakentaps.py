"""What shows that a guest is missed on a tap that no process holds, beside routes: for tap-no-owner-fd. Pure."""

import numpy as np

from netdiag.index.taps import holders_by_name
from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.rules.expected import since
from netdiag.rules.guesttaps import link_local
from netdiag.rules.silentneighbours import failing

LATELY = 60.0
"""Seconds since somebody asked for an address."""
STATIC = 0x40
"""NUD_NOARP: an entry of a bridge that somebody wrote down, behind a port (``bridge fdb add ... master static``)."""


def asked_in_vain(view: HostView) -> dict[int, list[str]]:
    """Addresses that this host asked for a moment ago without an answer, by interface; of IPv6 none of fe80::/10."""
    found: dict[int, list[str]] = {}
    for (ifindex, dst), row in failing(view).items():
        if dst and (row.updated or 0.0) < LATELY and not (":" in dst and link_local(dst)):
            found.setdefault(ifindex, []).append(dst)
    return found


def written_down(view: HostView, link: Link) -> str:
    """The first hardware address that somebody gave to the bridge for this port; empty: none."""
    if link.master is None or not view.read_whole("fdb"):
        return ""
    fdb = view.fdb
    rows = np.flatnonzero((fdb.ifindex == link.ifindex) & (fdb.master != 0) & (fdb.state == STATIC))
    return fdb.row(int(rows[0])).lladdr if len(rows) else ""


def held_then(view: HostView, link: Link) -> str:
    """Who held a tap of that name at the time of the baseline; empty: nobody, or it is not known."""
    old = view.baseline
    if old is None or not old.read_whole("taps"):
        return ""
    holders = holders_by_name(old.taps).get(link.ifname, [])
    return (
        f"{holders[0].vmm or holders[0].comm or 'a process'} held it at the time of {since(old)[6:]}" if holders else ""
    )
