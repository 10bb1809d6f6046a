"""``show sysctls``: the net.* settings that were read, by name; those of an interface too, which netlink shows."""

from collections.abc import Iterator

from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View

TREES = {"inet": "net.ipv4.", "inet6": "net.ipv6."}


def settings(snapshot: Snapshot) -> dict[str, str]:
    """Every setting by dotted name."""
    values = dict(snapshot.tables.sysctls.values)
    for link in snapshot.tables.links:
        for family, conf in (("inet", link.inet_conf), ("inet6", link.inet6_conf)):
            for key, value in conf.items():
                values.setdefault(f"{TREES[family]}conf.{link.ifname}.{key}", str(value))
    return values


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Settings by name; ``dev`` keeps those of one interface."""
    for name, value in sorted(settings(snapshot).items()):
        if filters.family is not None and not name.startswith(TREES[filters.family]):
            continue
        if filters.dev is not None and f".{filters.dev}." not in name:
            continue
        yield {"name": name, "value": value}


VIEW = View(
    collector="sysctls",
    filters=("dev", "family"),
    rows=rows,
    columns=(Column("name"), Column("value")),
)
