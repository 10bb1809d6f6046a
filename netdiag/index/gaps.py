"""Which collector fills which table, what a person may tell beside them, and why a rule can not answer. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from netdiag.index.hostindex import HostIndex
from netdiag.model.coverage import Coverage
from netdiag.model.intent import SECTIONS, Suppressions
from netdiag.model.snapshot import Snapshot, Tables

COLLECTOR_OF = {
    "links": "links",
    "peer_links": "peer_links",
    "addresses": "addresses",
    "routes": "routes",
    "rules": "rules",
    "path_mtus": "path_mtus",
    "nexthops": "nexthops",
    "neighbours": "neighbours",
    "neigh_tables": "neigh_tables",
    "sysctls": "sysctls",
    "counters": "counters",
    "deltas": "counters",
    "procnet": "procnet",
    "namespaces": "namespaces",
    "cni": "cni",
    "taps": "taps",
    "sockets": "sockets",
    "resolver": "resolver",
    "clock": "clock",
    "identity": "identity",
    "wireguard": "wireguard",
    "bpf": "bpf",
    "bird": "bird",
    "bird_routes": "bird_routes",
    "bird_sockets": "bird_sockets",
    "nft": "nft",
    "conntrack": "conntrack",
    "conntrack_state": "conntrack_state",
    "qdiscs": "qdiscs",
    "ethtool": "ethtool",
    "softirq": "softirq",
    "fdb": "fdb",
    "bridging": "fdb",
    "bonds": "bonds",
    "xfrm": "xfrm",
    **{f"intent.{section}": "intent" for section in SECTIONS},
    "baseline": "baseline",
    "suppressions": "suppressions",
}
"""Which collector fills the table that a rule may read. ``deltas`` needs two samples of the counters; the last three
are told by a person: ``intent.bpf`` and the like are sections of the intent, ``baseline`` is an older snapshot."""
TOLD = ("intent", "baseline", "suppressions")


@dataclass(frozen=True)
class Told:
    """What a person gave beside the host itself."""

    baseline: Snapshot | None = None
    """An older snapshot of the same host."""
    suppressions: Suppressions | None = None
    """Findings that somebody has accepted."""

    @cached_property
    def before(self) -> HostIndex | None:
        """Lookups over the baseline."""
        return HostIndex(self.baseline.tables) if self.baseline else None


def _untold(table: str, tables: Tables, reads: Iterable[str], told: Told) -> list[str]:
    """Why a rule cannot answer from what a person said: a section is missing, or the older snapshot did not read."""
    if table == "suppressions":
        return [] if told.suppressions is not None else ["suppressions: none given (--suppress FILE)"]
    if table != "baseline":
        section = table.partition(".")[2]
        bracket = "[sysctl]" if section == "sysctl" else f"[[{section}]]"
        return [f"intent: no {bracket} section"] if getattr(tables.intent, section) is None else []
    old = told.baseline
    if old is None:
        return ["baseline: none given (--baseline SNAPSHOT)"]
    rest = [name for name in reads if COLLECTOR_OF[name] not in TOLD]
    return [f"baseline: {reason}" for reason in gaps(old.coverage, old.tables, rest)[0]]


def gaps(
    coverage: Iterable[Coverage], snapshot_tables: Tables, reads: Iterable[str], told: Told | None = None
) -> tuple[list[str], bool]:
    """Why a rule that reads these tables cannot answer, and whether its inputs changed while they were read.

    A table that is absent, denied, partial, late or broken is a reason. One that is inconsistent is not, by itself:
    what
    the rule then finds is real but "clean" cannot be said.
    """
    status = {row.collector: row for row in coverage}
    reasons: list[str] = []
    inconsistent = False
    reads = tuple(reads)
    for table in reads:
        collector = COLLECTOR_OF[table]
        row = status.get(collector)
        if collector in TOLD and (row is None or row.status == "ok"):
            reasons += _untold(table, snapshot_tables, reads, told or Told())
            continue
        if row is None:
            reasons.append(f"{collector}: not collected")
        elif row.status == "inconsistent":
            inconsistent = True
        elif row.status != "ok":
            reasons.append(f"{collector}: {row.status}" + (f" ({row.detail})" if row.detail else ""))
        if table == "deltas" and snapshot_tables.counters.second is None and row is not None and row.status == "ok":
            reasons.append("counters: one sample only")
    return sorted(set(reasons)), inconsistent
