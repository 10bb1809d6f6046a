"""Load files into a store: read, judge and turn into columns in parallel, then say in one small file which parts count.

A file that is refused, or that kills the process which reads it, costs that file. Raises StoreRefused where the store
cannot be written, FleetRefused where there is nothing to load.
"""

import io
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

import netdiag
from netdiag.fleet import apart
from netdiag.fleet.files import FleetRefused, Upload, look, uploads
from netdiag.fleet.identity import Known, Seen, settle
from netdiag.fleet.judged import Judged, fingerprint
from netdiag.fleet.night import night_of, spelled
from netdiag.fleet.store.columns import array
from netdiag.fleet.store.place import Load, Part, Place, Refusal, Remark, StoreRefused, place
from netdiag.fleet.store.views import FINDINGS, SNAPSHOTS, VIEWS
from netdiag.fleet.sweep.ledger import ledgers, missing
from netdiag.index.fleet import FleetHost
from netdiag.model.codec import BULK, SMALL, encode
from netdiag.model.finding import subject_text
from netdiag.model.fleetreport import Notice, Unreached
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.rules import discover
from netdiag.snapshotfile import SnapshotRefused

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 128
"""Hosts in one part."""
BATCH_OCTETS = 48 << 20
"""Bytes of files in one part, if that is less."""
TOGETHER = 16
"""Hosts that one child judges in turn."""
GROUP = 32
"""Hosts in one row group: what is read at once when one host is asked for."""
NIGHTS = 60
"""Nights that one load judges as a whole, the newest."""
ALONE = 24
"""Up to so many files are loaded without a process beside."""


@dataclass(frozen=True)
class Loaded:
    """What came of a load."""

    hosts: int
    snapshots: int
    refused: tuple[Unreached, ...]
    notices: tuple[Notice, ...]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does at a time: files, each with its host and digest, into parts."""

    url: str
    """The store."""
    prefix: str
    """How the parts are called."""
    loaded_at: str
    judge: bool
    seconds: float
    """For judging one host."""
    files: tuple[tuple[str, str, str, str], ...]
    """(path, url, host, digest)."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    parts: tuple[Part, ...] = ()
    refused: tuple[Refusal, ...] = ()
    hosts: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()


def load_into(
    sources: Sequence[str],
    url: str,
    *,
    now: float,
    judge: bool = True,
    jobs: int | None = None,
    seconds: float = apart.SECONDS,
) -> Loaded:
    """Load these folders and files into the store at ``url``, which is made where it is not there.

    ``now``: Unix time; ``judge``: run each host's rules as well, each host within so many ``seconds``; ``jobs``:
    processes, by default one a core.
    """
    store = place(url)
    swept = ledgers(sources)
    try:
        files = uploads(sources)
    except FleetRefused:
        if not swept:
            raise
        files = []  # a sweep that reached nobody is worth knowing
    store.make()
    seen: list[Seen] = []
    refused: list[Unreached] = []
    for upload in files:
        found, reason = look(upload)
        if found is not None:
            seen.append(found)
        if reason is not None:
            refused.append(reason)
    settled = settle(seen, _known(store), now)
    taken: dict[str, str] = {}
    for one in seen:
        host = settled.hosts.get(one.path, one.name)
        taken[host] = max(taken.get(host, ""), one.taken_at)
    refused += [Unreached(name=name, reason=reason) for name, reason in sorted(missing(swept, taken).items())]
    where = {upload.path: upload for upload in files}
    digests = {one.path: one.digest for one in seen}
    stamp = spelled(now)
    name = f"{stamp.replace(':', '').replace('-', '')}-{secrets.token_hex(4)}"
    todo = sorted(((host, path) for path, host in settled.hosts.items()))
    tasks = [
        Task(
            url=url,
            prefix=f"{name}-{number:04}",
            loaded_at=stamp,
            judge=judge,
            seconds=seconds,
            files=tuple((path, where[path].url, host, digests[path]) for host, path in batch),
        )
        for number, batch in enumerate(_batches(todo, where))
    ]
    done = list(_run(tasks, _jobs(store, len(todo), jobs)))
    refused += [Unreached(name=one.name, reason=one.reason) for each in done for one in each.refused]
    hosts = {name for each in done for name in each.hosts}
    notices = [
        *settled.notices,
        *(Notice(kind="not-judged", host=row.host, detail=row.detail) for each in done for row in each.remarks),
    ]
    store.put(
        msgspec.json.encode(
            Load(
                id=name,
                loaded_at=stamp,
                netdiag=netdiag.__version__,
                judged_by=fingerprint() if judge else None,
                parts=tuple(part for each in done for part in each.parts),
                refused=tuple(Refusal(name=row.name, reason=row.reason) for row in refused),
                notices=tuple(Remark(kind=row.kind, host=row.host, detail=row.detail) for row in notices),
            )
        ),
        "loads",
        f"{name}.json",
    )
    nights = sorted({part.night for each in done for part in each.parts})
    if judge and nights:
        from netdiag.fleet.store.nightly import keep

        notices += keep(store, nights[-NIGHTS:], name, stamp)
    return Loaded(len(hosts), sum(len(each.hosts) for each in done), tuple(refused), tuple(notices))


def _jobs(store: Place, count: int, jobs: int | None) -> int:
    protocols = (store.fs.protocol,) if isinstance(store.fs.protocol, str) else store.fs.protocol
    if count <= ALONE or "memory" in protocols:
        return 1
    return jobs or len(os.sched_getaffinity(0))


def _known(store: Place) -> dict[str, list[Known]]:
    from netdiag.fleet.store.read import cards

    known: dict[str, list[Known]] = defaultdict(list)
    for card in cards(store):
        known[card.host].append(Known(taken_at=card.taken_at, digest=card.digest))
    return known


def _batches(todo: Iterable[tuple[str, str]], where: dict[str, Upload]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    octets = 0
    for host, path in todo:
        if batch and (len(batch) >= BATCH or octets + where[path].size > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append((host, path))
        octets += where[path].size
    if batch:
        yield batch


def _run(tasks: list[Task], jobs: int) -> Iterator[Done]:
    if jobs == 1:
        yield from map(work, tasks)
        return
    again: list[Task] = []
    with _pool(jobs) as pool:
        for task, future in [(task, pool.submit(work, task)) for task in tasks]:
            try:
                yield future.result()
            except BrokenProcessPool:
                again.append(task)
    for task in again:
        yield from _one_by_one(task)


def _pool(jobs: int) -> ProcessPoolExecutor:
    import multiprocessing

    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _one_by_one(task: Task) -> Iterator[Done]:
    """A process died: find the file that killed it, and give up on that one only."""
    for number, file in enumerate(task.files):
        single = msgspec.structs.replace(task, files=(file,), prefix=f"{task.prefix}-{number}")
        try:
            with _pool(1) as pool:
                yield pool.submit(work, single).result()
        except BrokenProcessPool:
            yield Done(refused=(Refusal(name=file[0], reason="the process that read it was killed"),))


def work(task: Task) -> Done:
    """Read the files of one task and write their parts. Raises StoreRefused."""
    store = place(task.url)
    judges = apart.Apart(discover(), task.seconds) if task.judge else None
    groups: dict[tuple[str, str], list[tuple[FleetHost, dict[str, Any]]]] = defaultdict(list)
    refused: list[Refusal] = []
    remarks: list[Remark] = []
    for start in range(0, len(task.files), TOGETHER):
        read = _read(task, task.files[start : start + TOGETHER], refused)
        answers: Iterable[Judged | None] = judges.judge([h.snapshot for h, _ in read]) if judges else [None] * len(read)
        for (host, card), said in zip(read, answers, strict=True):
            reason = said.not_judged if said else None
            if reason is not None:
                remarks.append(Remark(kind="not-judged", host=host.name, detail=reason))
            region = str(host.labels.get("region", ""))
            card |= {"judged": said, "not_judged": reason}
            groups[night_of(host.snapshot.meta.taken_at), region].append((host, card))
    parts: list[Part] = []
    for number, ((night, region), rows) in enumerate(sorted(groups.items())):
        for view, table in tables_of(rows):
            words = _path(view, night, region, f"{task.prefix}-{number}")
            store.put(parquet(table, GROUP if view == "snapshots" else None), *words)
            parts.append(Part(view=view, night=night, region=region, path="/".join(words), rows=table.num_rows))
    hosts = tuple(host.name for rows in groups.values() for host, _ in rows)
    return Done(parts=tuple(parts), refused=tuple(refused), hosts=hosts, remarks=tuple(remarks))


def _read(
    task: Task, files: Sequence[tuple[str, str, str, str]], refused: list[Refusal]
) -> list[tuple[FleetHost, dict[str, Any]]]:
    """Hosts of these files, each with what is known of its file; those that are refused come to ``refused``."""
    found: list[tuple[FleetHost, dict[str, Any]]] = []
    for path, url, name, digest in files:
        try:
            snapshot = Upload(path, url).read()
        except SnapshotRefused as error:
            refused.append(Refusal(name=path, reason=error.reason))
            continue
        own = {"says": snapshot.meta.name, "file": path, "digest": digest, "loaded_at": task.loaded_at}
        found.append((FleetHost(name=name, snapshot=snapshot), own))
    return found


def _path(view: str, night: str, region: str, name: str) -> tuple[str, ...]:
    from urllib.parse import quote

    place_of = quote(region[:64], safe="") or "__HIVE_DEFAULT_PARTITION__"
    return view, f"night={night}", f"region={place_of}", f"{name}.parquet"


def parquet(table: "pa.Table", group: int | None) -> memoryview:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=group)
    return buffer.getbuffer()


def tables_of(rows: Sequence[tuple[FleetHost, dict[str, Any]]]) -> Iterator[tuple[str, "pa.Table"]]:
    """Every view of these snapshots that has rows, and ``snapshots`` itself."""
    import pyarrow as pa

    yield "snapshots", pa.table(_snapshots(rows))
    for view in VIEWS:
        columns: dict[str, list[Any]] = {column.name: [] for column in view.columns}
        hosts: list[str] = []
        taken: list[str] = []
        for host, _ in rows:
            filled = view.fill(host.snapshot)
            count = len(next(iter(filled.values())))
            hosts += [host.name] * count
            taken += [host.snapshot.meta.taken_at] * count
            for name, values in filled.items():
                columns[name].extend(values)
        if hosts:
            own = {column.name: array(column.kind, columns[column.name]) for column in view.columns}
            yield view.name, pa.table({"host": array("text", hosts), "taken_at": array("text", taken), **own})
    found = [(host, draft.finding) for host, card in rows if card["judged"] for draft in card["judged"].drafts]
    if found:
        cells = {
            name: [getattr(finding, name) for _, finding in found]
            for name in ("id", "rule", "severity", "confidence", "message", "fix", "netns")
        }
        cells["kind"] = [str(finding.subject["kind"]) for _, finding in found]
        cells["subject"] = [subject_text(finding.subject) for _, finding in found]
        own = {column.name: array(column.kind, cells[column.name]) for column in FINDINGS}
        taken = [host.snapshot.meta.taken_at for host, _ in found]
        names = array("text", [host.name for host, _ in found])
        yield "findings", pa.table({"host": names, "taken_at": array("text", taken), **own})


def _snapshots(rows: Sequence[tuple[FleetHost, dict[str, Any]]]) -> dict[str, Any]:
    import pyarrow as pa

    metas = [host.snapshot.meta for host, _ in rows]
    cells: dict[str, list[Any]] = {
        name: [getattr(meta, name) for meta in metas] for name in ("kernel", "boot_id", "uptime", "netdiag")
    }
    cells["role"] = [host.labels.get("role") for host, _ in rows]
    cells["labels"] = [msgspec.json.encode(meta.labels).decode() for meta in metas]
    for name in ("says", "file", "digest", "loaded_at", "not_judged"):
        cells[name] = [card[name] for _, card in rows]
    table: dict[str, Any] = {
        "host": array("text", [host.name for host, _ in rows]),
        "taken_at": array("text", [meta.taken_at for meta in metas]),
        **{column.name: array(column.kind, cells[column.name]) for column in SNAPSHOTS},
        "meta": pa.array([msgspec.msgpack.encode(meta) for meta in metas], pa.large_binary()),
        "coverage": pa.array([msgspec.msgpack.encode(host.snapshot.coverage) for host, _ in rows], pa.large_binary()),
        "judged": pa.array([_kept(card["judged"]) for _, card in rows], pa.large_binary()),
    }
    nothing = Tables()
    for name in (*SMALL, *BULK):
        octets = [_octets(host.snapshot, name, getattr(nothing, name)) for host, _ in rows]
        table[f"table_{name}"] = pa.array(octets, pa.large_binary())
    return table


def _kept(said: Judged | None) -> bytes | None:
    return None if said is None else msgspec.msgpack.encode(said)


def _octets(snapshot: Snapshot, name: str, nothing: Any) -> bytes | None:
    """One table as the codec spells it; None: as if it had never been read."""
    table = getattr(snapshot.tables, name)
    if name in BULK:
        if not len(table) and not getattr(table, "extras", ()):
            return None
    elif table == nothing:
        return None
    return b"".join(encode({name: table}, rows=0, status="ok", detail="", duration_ms=0.0))


__all__ = ["FleetRefused", "Loaded", "StoreRefused", "load_into", "tables_of", "work"]
