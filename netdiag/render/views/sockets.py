"""``show sockets``: as ``ss -a``; of a listener Recv-Q and Send-Q are what waits to be accepted and the most that may.

``--proto`` takes tcp, udp, raw or packet; ``--dev`` the interface that a socket is bound to. Times are in
milliseconds.
"""

from collections.abc import Iterator

import numpy as np

from netdiag.model.snapshot import Snapshot
from netdiag.model.sockets import TOLD_INFO, TOLD_SKMEM, Sockets
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, without_nothing

AF_NUMBERS = {"inet": 2, "inet6": 10}


def _endpoint(address: str, port: int, family: str) -> str:
    shown = f"[{address}]" if family == "inet6" else address
    return f"{'*' if not address else shown}:{port or '*'}"


def row_of(table: Sockets, position: int, names: Names, owners: dict[int, list[str]]) -> Row:
    """One socket."""
    socket = table.row(position)
    told = int(table.told[position])
    row: Row = {
        "netid": socket.netid,
        "state": socket.state,
        "recv_q": int(table.rqueue[position]),
        "send_q": int(table.wqueue[position]),
        "family": socket.family,
        "src": socket.src,
        "sport": socket.sport,
        "dst": socket.dst,
        "dport": socket.dport,
        "dev": names(socket.ifindex),
        "uid": socket.uid,
        "inode": socket.inode,
        "mark": int(table.mark[position]) or None,
        "cgroup": int(table.cgroup[position]) or None,
        "users": owners.get(socket.inode),
    }
    if told & TOLD_SKMEM:
        row |= {name: int(getattr(table, name)[position]) for name in ("rmem", "rcvbuf", "sndbuf", "drops")}
    if told & TOLD_INFO:
        row |= {
            "rtt": round(int(table.rtt[position]) / 1000, 3),
            "mss": int(table.snd_mss[position]),
            "pmtu": int(table.pmtu[position]),
            "unacked": int(table.unacked[position]),
            "retrans": int(table.total_retrans[position]),
            "lastsnd": int(table.last_data_sent[position]),
            "lastrcv": int(table.last_data_recv[position]),
        }
    return without_nothing(row)


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Sockets in the kernel's order."""
    names = Names(snapshot.tables.links)
    table = snapshot.tables.sockets
    keep = np.ones(len(table), bool)
    if filters.family is not None:
        keep &= table.family == AF_NUMBERS[filters.family]
    if filters.dev is not None:
        keep &= table.ifindex == names.index(filters.dev)
    if filters.netid is not None:
        protocol = {"tcp": 6, "udp": 17, "raw": 255, "packet": 0}[filters.netid]
        keep &= table.protocol == protocol
    owners: dict[int, list[str]] = {}
    for owner in snapshot.tables.socket_owners.owners:
        owners.setdefault(owner.inode, []).append(f"{owner.comm}/{owner.pid}")
    for position in np.flatnonzero(keep).tolist():
        yield row_of(table, position, names, owners)


def cells(row: Row) -> list[Row]:
    """The text: addresses and ports together."""
    local = _endpoint(row.get("src", ""), row.get("sport", 0), row.get("family", ""))
    peer = _endpoint(row.get("dst", ""), row.get("dport", 0), row.get("family", ""))
    return [{**row, "local": local, "peer": peer}]


VIEW = View(
    collector="sockets",
    filters=("dev", "family", "netid"),
    rows=rows,
    cells=cells,
    columns=(
        Column("netid"),
        Column("state"),
        Column("recv_q", right=True),
        Column("send_q", right=True),
        Column("local"),
        Column("peer"),
        Column("dev", 1),
        Column("users", 1),
        Column("drops", 2, right=True),
        Column("rtt", 3, right=True),
        Column("retrans", 3, right=True),
        Column("uid", 4, right=True),
        Column("mark", 4, right=True),
    ),
)
