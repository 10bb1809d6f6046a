"""Run the collectors and put what they read together as one Snapshot, with a line of coverage for each.

Collectors are the modules of netdiag.collectors, found by name. Each runs in a child with the common deadline
(netdiag.children). Counters are read twice, ``interval`` seconds apart, while the others work.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any

import netdiag
import netdiag.collectors
from netdiag.children import Task, run
from netdiag.collectors import Collected, Options
from netdiag.model.coverage import Coverage, Status
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.model.text import kernel_text
from netdiag.sources.protocol import Source, Unreadable

__all__ = ["Options", "collect", "collectors"]

READS_PROCESSES = frozenset({"bpf", "taps", "namespaces", "all_netns", "sockets", "identity", "resolver"})
"""Collectors that look into other processes (/proc/PID/fdinfo)."""

LEAVES_NAMESPACE = frozenset({"all_netns", "bpf"})
"""Collectors that enter other namespaces, and stay there."""

SAMPLES_TWICE = frozenset(
    {"clock", "conntrack_state", "counters", "ethtool", "fdb", "qdiscs", "sockets", "softirq", "wireguard"}
)
"""Collectors that wait between two samples."""

ASKS_INET = frozenset({"nft"})
"""Collectors that ask for tables of iptables-legacy, which only an Internet socket tells."""

ASKED_LAST = frozenset({"bird", "bird_routes"})
"""Collectors that begin after the routes were asked for: what BIRD takes back meanwhile is in none of its lists, and
what came to it since says when. The other way round it would be missing from the kernel for no reason."""

Collector = Callable[[Source, Options], Collected]


@cache
def collectors() -> Mapping[str, Collector]:
    """Every collector by name."""
    found: dict[str, Collector] = {}
    for entry in pkgutil.iter_modules(netdiag.collectors.__path__):
        module = importlib.import_module(f"{netdiag.collectors.__name__}.{entry.name}")
        found[entry.name] = module.collect
    return MappingProxyType(found)


def _now(source: Source) -> float:
    """Seconds of CLOCK_MONOTONIC; 0 in a recording that is older than the collector."""
    try:
        return source.clock("monotonic")
    except Unreadable:
        return 0.0


def _task(name: str, collector: Collector, source: Source, options: Options) -> Task:
    def work() -> tuple[dict[str, Any], int, Status, str, float]:
        scoped = source.scoped(name)
        started = _now(scoped)
        try:
            collected = collector(scoped, options)
        except Unreadable as error:
            collected = Collected(status=error.why, detail=error.detail)
        duration_ms = round((_now(scoped) - started) * 1000, 1)
        return collected.tables, collected.rows, collected.status, collected.detail, duration_ms

    return Task(
        name=name,
        run=work,
        writes_files=source.writes_files,
        reads_processes=name in READS_PROCESSES,
        asks_inet=name in ASKS_INET,
        alone=name in LEAVES_NAMESPACE or (options.interval > 0 and name in SAMPLES_TWICE),
    )


def _text(source: Source, path: str) -> str | None:
    try:
        return kernel_text(source.read(path)).strip() or None
    except Unreadable:
        return None


def _meta(source: Source, options: Options) -> Meta:
    name, release = source.uname()
    try:
        netns = source.readlink("/proc/self/ns/net").removeprefix("net:[").removesuffix("]")
    except Unreadable:
        netns = "unknown"
    taken_at = datetime.fromtimestamp(source.clock("realtime"), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Meta(
        netdiag=netdiag.__version__,
        name=options.hostname or kernel_text(name.encode("utf-8", "surrogateescape")),
        kernel=release,
        boot_id=_text(source, "/proc/sys/kernel/random/boot_id"),
        netns=netns,
        taken_at=taken_at,
        uptime=round(source.clock("boottime"), 3),
        labels=dict(options.labels),
    )


def collect(source: Source, options: Options, meanwhile: Callable[[], object] | None = None) -> Snapshot:
    """One snapshot of the host behind ``source``; ``meanwhile``: see children.run. Raises nothing for what the host
    does: that is what coverage is for."""
    deadline = time.monotonic() + options.deadline
    meta = _meta(source, options)
    found = {name: each for name, each in collectors().items() if options.all_netns or name != "all_netns"}
    order = sorted(found, key=lambda name: (name in ASKED_LAST, name))
    outcomes = run([_task(name, found[name], source, options) for name in order], deadline, meanwhile)
    tables: dict[str, Any] = {}
    coverage: list[Coverage] = []
    for outcome in sorted(outcomes, key=lambda outcome: outcome.coverage.collector):
        tables |= outcome.tables
        coverage.append(outcome.coverage)
    return Snapshot(meta=meta, tables=Tables(**tables, intent=options.intent), coverage=tuple(coverage))
