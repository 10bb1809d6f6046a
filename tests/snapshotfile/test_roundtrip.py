"""What is written is read back, byte for byte and value for value."""

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdiag.model.codec import BULK, SMALL
from netdiag.model.route import Routes
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.snapshotfile import read_snapshot, snapshot_octets, write_snapshot
from netdiag.snapshotfile.checks import CHECKED
from netdiag.snapshotfile.document import empty_tables
from netdiag.snapshotfile.read import FIRST_TABLES
from tests.snapshotfile.hosts import META, TOGETHER, bulk, of_type, same, small_snapshot, snapshots

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=8, suppress_health_check=SLOW, deadline=None)
@given(snapshots())
def test_any_snapshot_comes_back(snapshot: Snapshot) -> None:
    assert_comes_back(snapshot)


@pytest.mark.parametrize("table", sorted({*SMALL, *BULK} - TOGETHER))
@settings(max_examples=20, suppress_health_check=SLOW, deadline=None)
@given(st.data())
def test_whatever_a_table_holds_comes_back(table: str, given: st.DataObject) -> None:
    held = given.draw(bulk(table) if table in BULK else of_type(SMALL[table]))
    plain = small_snapshot()
    assert_comes_back(replace(plain, tables=replace(plain.tables, **{table: held})))


def assert_comes_back(snapshot: Snapshot) -> None:
    """Written, read, and written again: the same."""
    octets = snapshot_octets(snapshot)
    back = read_snapshot(io.BytesIO(octets))
    assert same(snapshot, back)
    assert snapshot_octets(back) == octets


def test_file_and_memory_hold_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "edge1.netdiag"
    write_snapshot(small_snapshot(), str(path))
    assert path.read_bytes() == snapshot_octets(small_snapshot())
    assert same(read_snapshot(str(path)), small_snapshot())


def test_two_writings_do_not_differ_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    first = snapshot_octets(small_snapshot())
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert snapshot_octets(small_snapshot()) == first


def test_every_table_of_the_model_is_in_the_file() -> None:
    assert set(SMALL) | set(BULK) == {field.name for field in fields(Tables)}
    assert set(FIRST_TABLES) <= set(empty_tables())
    assert set(CHECKED) == set(BULK)


def test_document_is_readable_with_unzip(tmp_path: Path) -> None:
    path = tmp_path / "edge1.netdiag"
    write_snapshot(small_snapshot(), str(path))
    text = subprocess.run(["unzip", "-p", path, "snapshot.json"], capture_output=True, check=True).stdout.decode()
    assert text.startswith('{\n "schema": "netdiag.snapshot/1",\n "netdiag": "0.1.0",\n "name": "edge1"')
    document = json.loads(text)
    assert document["tables"]["routes"]["rows"] == len(small_snapshot().tables.routes)
    assert document["coverage"][1]["status"] == "denied"


def test_columns_are_plain_numpy_files() -> None:
    with zipfile.ZipFile(io.BytesIO(snapshot_octets(small_snapshot()))) as archive:
        for name, cls in BULK.items():
            for column in cls.COLUMNS:
                array = np.load(io.BytesIO(archive.read(f"tables/{name}/{column}.npy")), allow_pickle=False)
                assert np.array_equal(
                    array, getattr(getattr(small_snapshot().tables, name), column), equal_nan=True
                ) or (array.dtype.kind != "f")


def test_standard_input(tmp_path: Path) -> None:
    code = "from netdiag.snapshotfile import read_snapshot as r; print(r('-').meta.name)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=snapshot_octets(small_snapshot()), capture_output=True, check=True
    )
    assert done.stdout == b"edge1\n"


def test_a_fifo_is_read_like_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import sys; open({str(path)!r}, 'wb').write(sys.stdin.buffer.read())"],
        stdin=subprocess.PIPE,
    )
    assert writer.stdin is not None
    writer.stdin.write(snapshot_octets(small_snapshot()))
    writer.stdin.close()
    assert same(read_snapshot(str(path)), small_snapshot())
    assert writer.wait(10) == 0


def test_unknown_fields_tables_and_members_of_a_later_1_are_accepted() -> None:
    octets = snapshot_octets(small_snapshot())
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(octets)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "snapshot.json":
                document = json.loads(content)
                document["tomorrow"] = [1]
                document["tables"]["tomorrows"] = {"rows": 3}
                document["tables"]["links"][0]["tomorrow"] = {"x": None}
                content = json.dumps(document).encode()
            new.writestr(name, content)
        new.writestr("tables/tomorrows/x.npy", b"any")
    assert same(read_snapshot(io.BytesIO(out.getvalue())), small_snapshot())


def test_a_million_routes_are_small_and_quick() -> None:
    n = 1_000_000
    zero = np.zeros(n, np.uint32)
    u1 = np.zeros(n, np.uint8)
    i4 = np.full(n, -1, np.int32)
    columns: dict[str, Any] = {name: zero for name in ("table", "flags", "priority", "gateway", "prefsrc", "nh_id")}
    columns |= {name: u1 for name in ("tos", "protocol", "scope", "type")}
    routes = Routes(
        family="inet",
        dst=np.arange(n, dtype=np.uint32) << 8,
        dst_len=u1 + 24,
        oif=i4 + 3,
        extra=i4,
        expires=i4,
        **columns,
    )
    snapshot = Snapshot(meta=META, tables=replace(Tables(), routes=routes), coverage=())
    octets = snapshot_octets(snapshot)
    assert len(octets) < 8_000_000
    assert same(read_snapshot(io.BytesIO(octets)), snapshot)


def test_labels_survive() -> None:
    meta = msgspec.structs.replace(META, labels={"region": "fra"})
    snapshot = replace(small_snapshot(), meta=meta)
    assert read_snapshot(io.BytesIO(snapshot_octets(snapshot))).meta.labels == {"region": "fra"}
