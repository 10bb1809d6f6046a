"""Processes behind the tun and tap devices: the owner, the virtual machine monitor, its namespace, its queues.

Source: RTM_GETLINK for the devices, /proc/PID/fdinfo (``iff:``, drivers/net/tun.c tun_chr_show_fdinfo()) for the
holders. Other users' processes need CAP_SYS_PTRACE: without it the whole is partial and says how many were not looked
into. Without any tun or tap device and without any holder there is nothing: ok, no rows.
"""

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.collectors.links import read_links
from netdiag.model.tap import Taps
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.tcfilters import INGRESS, QdiscSink
from netdiag.sources.procwalk import inode_of
from netdiag.sources.protocol import Source, Unreadable
from netdiag.sources.taps import Reply


def own_netns(source: Source) -> int | None:
    """Inode of the namespace that is read."""
    try:
        return inode_of(source.readlink("/proc/self/ns/net"))
    except Unreadable:
        return None


def with_filters(source: Source, indexes: set[int]) -> tuple[int, ...]:
    """Which of the devices have a place for filters on their ingress side, where the guest's frames come in."""
    if not indexes:
        return ()
    places = QdiscSink()
    try:
        source.dump(requests.qdiscs(), places)
    except Unreadable:
        return ()
    return tuple(sorted({place.ifindex for place in places.places if place.parent == INGRESS} & indexes))


def collect(source: Source, options: Options) -> Collected:
    """Every holder that could be looked into. Raises Unreadable without /proc."""
    links, _ = read_links(source, stats=False)
    names = [link.ifname for link in links if link.kind == "tun"]
    raw = source.fetch("taps", "\n".join(["holders", *names]))
    try:
        reply = msgspec.json.decode(raw, type=Reply)
    except msgspec.MsgspecError as error:
        raise Unreadable("failed", f"taps: {error}") from error
    filtered = with_filters(source, {link.ifindex for link in links if link.kind == "tun"})
    taps = Taps(filtered=filtered, holders=reply.holders, wishes=reply.wishes, netns=own_netns(source))
    # Without a device there is nothing that an unseen process could hold.
    unseen = reply.trouble if names else ""
    return Collected(tables={"taps": taps}, rows=len(names), status="partial" if unseen else "ok", detail=unseen)
