"""The tables of the namespace that the calling process is in, by netdiag's own collectors."""

from typing import Any

from netdiag.collectors import Options, addresses, links, neighbours, nexthops, routes, rules, sysctls
from netdiag.model.snapshot import Tables
from netdiag.sources.live import LiveSource


def read_tables() -> Tables:
    """Everything that routing depends on."""
    source, options = LiveSource(), Options()
    tables: dict[str, Any] = {}
    for collector in (links, addresses, routes, rules, nexthops, neighbours, sysctls):
        collected = collector.collect(source, options)
        assert collected.status == "ok", (collector.__name__, collected.status, collected.detail)
        tables |= collected.tables
    return Tables(**tables)
