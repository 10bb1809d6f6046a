"""``show bgp``: a line a channel of each BGP session, as ``birdc show protocols all`` has them, and whose it is."""

from collections.abc import Iterator

from netdiag.model.bird import BirdChannel, BirdDaemon, BirdProtocol
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def session_row(daemon: BirdDaemon, session: BirdProtocol) -> Row:
    """What every line of a session has."""
    return without_nothing(
        {
            "socket": daemon.socket,
            "name": session.name,
            "state": session.bgp_state or session.state,
            "since": session.since,
            "neighbor": session.neighbor_address,
            "dev": session.neighbor_ifname,
            "neighbor_as": session.neighbor_as,
            "local_as": session.local_as,
            "last_error": session.last_error,
            "info": session.info if session.info != session.bgp_state else None,
            "description": session.description,
        }
    )


def channel_row(channel: BirdChannel) -> Row:
    """What a channel adds."""
    limit = channel.import_limit
    hit = channel.import_limit_hit or channel.receive_limit_hit or channel.export_limit_hit
    return without_nothing(
        {
            "channel": channel.name,
            "table": channel.table,
            "imported": channel.imported,
            "filtered": channel.filtered,
            "exported": channel.exported,
            "preferred": channel.preferred,
            "import_filter": channel.input_filter,
            "export_filter": channel.output_filter,
            "import_limit": limit,
            "limit_hit": hit,
        }
    )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Sessions in BIRD's order, daemons in the order found."""
    for daemon in snapshot.tables.bird.daemons:
        for session in daemon.protocols:
            if session.proto != "BGP" or (filters.dev is not None and session.neighbor_ifname != filters.dev):
                continue
            row = session_row(daemon, session)
            if not session.channels:
                yield row
            for channel in session.channels:
                yield row | channel_row(channel)


VIEW = View(
    collector="bird",
    filters=("dev",),
    rows=rows,
    columns=(
        Column("name"),
        Column("state"),
        Column("since", 3),
        Column("neighbor", 1),
        Column("neighbor_as", 2, right=True),
        Column("channel", 1),
        Column("imported", right=True),
        Column("filtered", 4, right=True),
        Column("exported", right=True),
        Column("import_filter", 5),
        Column("export_filter", 5),
        Column("import_limit", 6, right=True),
        Column("limit_hit", 4),
        Column("info", 2),
        Column("last_error", 3),
        Column("description", 7),
        Column("socket", 8),
    ),
)
