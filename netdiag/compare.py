"""Two snapshots held against each other: what came, what went, what changed, by the names that things have.

Interfaces are compared by name, never by index; what moves all the time (counters, ages, timers, learned neighbours,
numbers that BIRD counts) is left out. Routes are compared as columns, so that a million of them take seconds. Pure.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from netdiag.model.finding import Finding, Report
from netdiag.model.route import Routes
from netdiag.model.snapshot import Snapshot, Tables

Row = dict[str, Any]
_MOVING = """
ifindex carrier_changes carrier_up_count carrier_down_count preferred_lft valid_lft created loaded_at run_time_ns
run_count recursion_misses latest_handshake rx_bytes tx_bytes since hold_timer keepalive_timer channels other info
entries counters stats prog_id native_prog_id generic_prog_id offload_prog_id link_id position cgroup_id
"""
MOVES = frozenset(_MOVING.split())
"""Fields that differ between two looks at a host on which nothing happened, or that are numbers of one boot."""
MOVING_SYSCTLS = ("nf_conntrack_count",)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is in both and differs."""

    key: Row
    """Its name."""
    old: Row
    """The fields that differ, as they were."""
    new: Row
    """The same, as they are."""


class TableChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one table."""

    added: tuple[Row, ...] = ()
    """Only in the newer one."""
    removed: tuple[Row, ...] = ()
    """Only in the older one."""
    changed: tuple[Change, ...] = ()
    """In both, and different."""


class FindingChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the findings."""

    appeared: tuple[Finding, ...] = ()
    """Only in the newer report."""
    cleared: tuple[Finding, ...] = ()
    """Only in the older report."""
    changed: tuple[Change, ...] = ()
    """In both, with another severity, confidence or suppression."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    name: str
    """Name of the host."""
    taken_at: str
    """UTC."""
    kernel: str
    """Kernel release."""
    boot_id: str | None
    """Id of the boot."""
    verdict: str
    """Of its report."""


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """``netdiag.diff/1``."""

    schema: str = "netdiag.diff/1"
    old: Side
    """The older one."""
    new: Side
    """The newer one."""
    tables: dict[str, TableChanges]
    """Tables in which something differs."""
    findings: FindingChanges
    """Findings that differ."""

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return not self.tables and self.findings == FindingChanges()


def _names(tables: Tables) -> Callable[[int | None], str | None]:
    known = {link.ifindex: link.ifname for link in tables.links}
    return lambda ifindex: known.get(ifindex, f"if{ifindex}") if ifindex else None


def _plain(row: Any, name: Callable[[int | None], str | None]) -> Row:
    """A struct as a plain row: interfaces by name, what moves left out, what is not set left out."""
    found: Row = {}
    for key, value in msgspec.to_builtins(row).items():
        if key in ("oif", "master", "link") and isinstance(value, int):
            found[key] = name(value)
        elif key == "ifindex":
            found["ifname"] = name(value)
        elif key not in MOVES and value not in (None, [], {}, ""):
            found[key] = value
    return found


def _keyed(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], Row]:
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = tuple(str(row.get(name)) for name in keys)
        while key in found:
            key = (*key, "again")  # two of one name: told apart by their order
        found[key] = row
    return found


def _small(tables: Tables) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
    """Tables of structs: by which fields a row is known, and the rows."""
    name = _names(tables)
    bpf = {program.id: program for program in tables.bpf.programs}
    attached = []
    for row in tables.bpf.attachments:
        program = bpf.get(row.prog_id)
        told = {"name": program.function or program.name, "tag": program.tag} if program else {}
        attached.append(_plain(row, name) | told)
    links = [
        {k: v for k, v in _plain(row, name).items() if k != "xdp"} | {"ifname": row.ifname} for row in tables.links
    ]
    peers = [
        {"ifname": device.ifname} | _plain(peer, name) for device in tables.wireguard.devices for peer in device.peers
    ]
    devices = [
        {k: v for k, v in _plain(row, name).items() if k != "peers"} | {"ifname": row.ifname}
        for row in tables.wireguard.devices
    ]
    protocols = [{"socket": d.socket} | _plain(p, name) for d in tables.bird.daemons for p in d.protocols]
    values = [
        {"name": key, "value": " ".join(value.split())}
        for key, value in tables.sysctls.values.items()
        if not key.endswith(MOVING_SYSCTLS)
    ]
    return {
        "links": (("ifname",), links),
        "addresses": (("ifname", "local", "prefixlen"), [_plain(row, name) for row in tables.addresses]),
        "rules": (
            ("family", "priority", "src", "dst", "iif", "fwmark", "table"),
            [_plain(row, name) for row in tables.rules],
        ),
        "nexthops": (("id",), [_plain(row, name) for row in tables.nexthops]),
        "wireguard": (("ifname",), devices),
        "wireguard_peers": (("ifname", "public_key"), peers),
        "bird": (("socket", "name"), protocols),
        "bpf": (("hook", "ifname", "direction", "cgroup", "attach_type", "name"), attached),
        "sysctls": (("name",), values),
    }


def _rows_changes(keys: tuple[str, ...], old: list[Row], new: list[Row]) -> TableChanges:
    before, after = _keyed(old, *keys), _keyed(new, *keys)
    changed = []
    for key, row in before.items():
        other = after.get(key)
        if other is None or other == row:
            continue
        fields = [name for name in {**row, **other} if row.get(name) != other.get(name)]
        changed.append(
            Change(
                key={name: row[name] for name in keys if name in row},
                old={name: row.get(name) for name in fields},
                new={name: other.get(name) for name in fields},
            )
        )
    return TableChanges(
        added=tuple(row for key, row in after.items() if key not in before),
        removed=tuple(row for key, row in before.items() if key not in after),
        changed=tuple(changed),
    )


def _matrix(routes: Routes, tables: Tables) -> np.ndarray[Any, Any]:
    """One opaque value a route, the same for the same route in another snapshot."""
    name = _names(tables)
    indexes, inverse = np.unique(routes.oif, return_inverse=True)
    oifs = np.array([zlib.crc32((name(int(index)) or "").encode()) for index in indexes], np.uint32)
    told = [0, *(zlib.crc32(msgspec.json.encode(_extra(extra, name))) for extra in routes.extras)]
    extras = np.array(told, np.uint32)[routes.extra + 1]
    count = len(routes)
    columns = [routes.dst, routes.gateway, routes.prefsrc, routes.table, routes.priority, routes.nh_id]
    columns += [routes.dst_len, routes.tos, routes.protocol, routes.scope, routes.type]
    columns += [oifs[inverse.reshape(-1)] if count else oifs, extras]
    octets = [np.ascontiguousarray(column).reshape(count, -1).view(np.uint8).reshape(count, -1) for column in columns]
    whole = np.ascontiguousarray(np.concatenate(octets, axis=1))
    return whole.view(np.dtype((np.void, whole.shape[1]))).reshape(-1)


def _extra(extra: Any, name: Callable[[int | None], str | None]) -> Row:
    plain: Row = msgspec.to_builtins(extra)
    plain["multipath"] = [
        {k: name(v) if k == "oif" else v for k, v in hop.items() if k != "flags"} for hop in plain["multipath"]
    ]
    return plain


def _route_changes(old: Tables, new: Tables, which: str) -> TableChanges:
    before, after = getattr(old, which), getattr(new, which)
    if not len(before) and not len(after):
        return TableChanges()
    first = _matrix(before, old) if len(before) else np.empty(0, np.void)
    second = _matrix(after, new) if len(after) else np.empty(0, np.void)
    gone = np.flatnonzero(~np.isin(first, second)) if len(before) and len(after) else np.arange(len(before))
    come = np.flatnonzero(~np.isin(second, first)) if len(before) and len(after) else np.arange(len(after))
    keys = ("family", "table", "dst", "priority", "tos", "type")
    return _rows_changes(
        keys,
        [_plain(row, _names(old)) | {"flags": 0} for row in before.rows(gone)],
        [_plain(row, _names(new)) | {"flags": 0} for row in after.rows(come)],
    )


def compare(old: Snapshot, new: Snapshot, reports: tuple[Report, Report]) -> Diff:
    """What differs between two snapshots and between their reports.

    A table that one of the two did not read is not compared: nothing has vanished from it.
    """
    unread = {
        row.collector
        for row in (*old.coverage, *new.coverage)
        if row.status not in ("ok", "inconsistent", "partial", "absent")
    }
    before, after = _small(old.tables), _small(new.tables)
    tables: dict[str, TableChanges] = {}
    for name, (keys, rows) in before.items():
        if name.partition("_")[0] not in unread:
            tables[name] = _rows_changes(keys, rows, after[name][1])
    if "routes" not in unread:
        for which in ("routes", "routes6"):
            tables[which] = _route_changes(old.tables, new.tables, which)
    return Diff(
        old=_side(old, reports[0]),
        new=_side(new, reports[1]),
        tables={name: changes for name, changes in tables.items() if changes != TableChanges()},
        findings=finding_changes(*reports),
    )


def _side(snapshot: Snapshot, report: Report) -> Side:
    meta = snapshot.meta
    return Side(
        name=meta.name, taken_at=meta.taken_at, kernel=meta.kernel, boot_id=meta.boot_id, verdict=report.verdict
    )


def finding_changes(old: Report, new: Report) -> FindingChanges:
    """Findings by id."""
    before = {finding.id: finding for finding in old.findings}
    after = {finding.id: finding for finding in new.findings}
    changed = []
    for identity, finding in before.items():
        other = after.get(identity)
        fields = ("severity", "confidence", "suppressed")
        differ = [name for name in fields if other is not None and getattr(other, name) != getattr(finding, name)]
        if differ:
            changed.append(
                Change(
                    key={"id": identity, "rule": finding.rule},
                    old={name: getattr(finding, name) for name in differ},
                    new={name: getattr(other, name) for name in differ},
                )
            )
    return FindingChanges(
        appeared=tuple(finding for identity, finding in after.items() if identity not in before),
        cleared=tuple(finding for identity, finding in before.items() if identity not in after),
        changed=tuple(changed),
    )
