"""Network namespaces that can be reached, what keeps them alive, and by which number this one knows them.

Source: /run/netns, mounts of nsfs, /proc/*/ns/net, /proc/*/fd, RTM_GETNSID. Those of other users' processes need
CAP_SYS_PTRACE, counting interfaces in them CAP_SYS_ADMIN: without, partial. Numbers that belong to none of the
namespaces found stand in ``netns_ids`` without inode.
"""

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.model.link import NetnsId
from netdiag.sources.namespaces import Reply
from netdiag.sources.protocol import Source, Unreadable


def collect(source: Source, options: Options) -> Collected:
    """Every namespace. Raises Unreadable without /proc."""
    try:
        reply = msgspec.json.decode(source.fetch("namespaces", "all"), type=Reply)
    except msgspec.MsgspecError as error:
        raise Unreadable("failed", f"namespaces: {error}") from error
    rows = reply.namespaces.namespaces
    by_number = {row.netnsid: row for row in rows if row.netnsid is not None}
    ids = tuple(
        NetnsId(
            netnsid=number,
            inode=by_number[number].inode if number in by_number else None,
            name=(by_number[number].names or (None,))[0] if number in by_number else None,
        )
        for number in sorted({*reply.numbers, *by_number})
    )
    return Collected(
        tables={"namespaces": reply.namespaces, "netns_ids": ids},
        rows=len(rows),
        status="partial" if reply.trouble else "ok",
        detail=reply.trouble,
    )
