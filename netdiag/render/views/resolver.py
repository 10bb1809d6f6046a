"""``show resolver``: how names are resolved: nameservers in order, search list, options, whom local resolvers ask."""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import without_nothing


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """What /etc/resolv.conf says first, then the forwarders."""
    table = snapshot.tables.resolver
    yield without_nothing(
        {
            "source": "/etc/resolv.conf",
            "target": table.target,
            "present": table.present,
            "dangling": table.dangling,
            "nameservers": list(table.nameservers),
            "search": list(table.search),
            "options": list(table.options),
            "hosts": list(table.hosts or ()),
        }
    )
    for row in table.forwarders:
        yield without_nothing(
            {
                "source": row.source,
                "daemon": row.daemon,
                "domain": row.domain,
                "nameservers": [f"{row.address}#{row.port}"],
            }
        )


VIEW = View(
    collector="resolver",
    rows=rows,
    columns=(
        Column("source"),
        Column("target", 1),
        Column("daemon"),
        Column("domain"),
        Column("nameservers"),
        Column("search", 1),
        Column("options", 2),
        Column("hosts", 3),
    ),
)
