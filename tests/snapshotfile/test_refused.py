"""Files that are not snapshots: each is refused with one line that says why, and costs neither memory nor time."""

import io
import json
import re
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdiag.snapshotfile import SnapshotRefused, read_snapshot, snapshot_octets
from netdiag.snapshotfile.strictjson import CONTAINERS_LIMIT
from tests.snapshotfile.hosts import small_snapshot

OCTETS = snapshot_octets(small_snapshot())
WG = {"ifname": "wg0", "peers": [{"public_key": "x", "allowed_ips": ["10.0.0.0/33"]}]}


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(OCTETS)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def named(value: object) -> str:
    """The reason alone names a case: a file holds the time at which it was made."""
    return value if isinstance(value, str) else "file"


def zipped(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, octets in content.items():
            archive.writestr(name, octets)
    return out.getvalue()


def with_document(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = members()
    document = json.loads(content["snapshot.json"])
    change(document)
    return zipped(content | {"snapshot.json": json.dumps(document).encode()})


def with_text(pattern: bytes, replacement: bytes) -> bytes:
    content = members()
    text, count = re.subn(pattern, replacement, content["snapshot.json"], count=1)
    assert count == 1
    return zipped(content | {"snapshot.json": text})


def with_column(name: str, array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return zipped(members() | {name: out.getvalue()})


def test_hardware_addresses_of_an_older_file_were_narrower() -> None:
    table = small_snapshot().tables.neighbours
    rows, narrow = list(table.rows()), table.lladdr[:, :8]
    read = read_snapshot(io.BytesIO(with_column("tables/neighbours/lladdr.npy", narrow)))
    assert list(read.tables.neighbours.rows()) == rows and any(row.lladdr for row in rows)


def test_hardware_addresses_that_an_older_file_cut_short_are_not_made_up() -> None:
    table = small_snapshot().tables.neighbours
    lengths, out = table.lladdr_len.copy(), io.BytesIO()
    lengths[0] = 20  # InfiniBand
    np.save(out, lengths)
    narrow = io.BytesIO()
    np.save(narrow, table.lladdr[:, :8])
    changed = {"tables/neighbours/lladdr_len.npy": out.getvalue(), "tables/neighbours/lladdr.npy": narrow.getvalue()}
    assert "cut short at 8 bytes" in refusal(zipped(members() | changed))


def refusal(octets: bytes) -> str:
    with pytest.raises(SnapshotRefused) as caught:
        read_snapshot(io.BytesIO(octets))
    assert "\n" not in caught.value.reason
    return caught.value.reason


def routes(document: dict[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = document["tables"]["routes"]
    return table


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "empty"),
        (b'{"schema": "netdiag.report/1"}', "not a zip"),
        (OCTETS[: len(OCTETS) // 2], "cut short"),
        (OCTETS + b"\n", "not a zip"),
        (zipped({"other": b"x"}), "snapshot.json is missing"),
        (zipped({k: v for k, v in members().items() if "routes/dst.npy" not in k}), "tables/routes/dst.npy is missing"),
        (zipped(members() | {"../../etc/passwd": b"x"}), "member named"),
        (zipped(members() | {"/etc/passwd": b"x"}), "member named"),
        (zipped(members() | {"tables\\x": b"x"}), "member named"),
        (zipped(members(), zipfile.ZIP_BZIP2), "compression method 12"),
        (zipped(members(), zipfile.ZIP_LZMA), "compression method 14"),
    ],
    ids=named,
)
def test_not_a_snapshot(octets: bytes, reason: str) -> None:
    assert reason in refusal(octets)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice() -> None:
    out = io.BytesIO(OCTETS)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("snapshot.json", b"{}")
    assert "twice" in refusal(out.getvalue())


def test_encrypted() -> None:
    octets = bytearray(OCTETS)
    octets[octets.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refusal(bytes(octets))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (with_document(lambda d: d.update(schema="netdiag.snapshot/2")), "newer netdiag: netdiag.snapshot/2"),
        (with_document(lambda d: d.update(schema="netdiag.report/1")), "schema 'netdiag.report/1'"),
        (with_document(lambda d: d.pop("schema")), "schema ''"),
        (with_document(lambda d: d.update(schema=1)), "Expected `str`"),
        (with_document(lambda d: d.pop("netns")), "missing required field `netns`"),
        (with_document(lambda d: d.pop("coverage")), "missing required field `coverage`"),
        (with_document(lambda d: d["coverage"][0].update(status="fine")), "Invalid enum value 'fine'"),
        (with_document(lambda d: d["tables"].pop("neighbours")), "no table neighbours"),
        (with_text(rb'"name": "edge1"', b'"name": NaN'), "malformed"),
        (with_text(rb'"uptime": null', b'"uptime": 1e999'), "out of range"),
        (with_text(rb'"name": "edge1"', b'"name": "\\\\ud800"'), "not a readable snapshot"),
        (with_text(rb'"name": "edge1"', b'"name": "\xff"'), "utf-8"),
        (with_text(rb'"name": "edge1"', b'"name": "edge1", "name": "edge2"'), "'name' stands twice"),
        (with_text(rb'"mtu": 9000', b'"mtu": 9000, "mtu": 1500'), "'mtu' stands twice"),
        (with_text(rb'"name": "edge1"', b'"name": "edge1", "later": NaN'), "malformed"),
        (with_text(rb'"name": "edge1"', b'"name": "edge1", "later": ' + b"[" * 100_000), "not a"),
        (
            with_text(rb'"name": "edge1"', b'"name": "edge1", "later": [' + b"[]," * CONTAINERS_LIMIT + b"0]"),
            "more objects",
        ),
        (with_text(rb'"txqlen": null', b'"txqlen": 1' + b"0" * 30), "31 digits"),
    ],
    ids=named,
)
def test_document_is_odd(octets: bytes, reason: str) -> None:
    assert reason in refusal(octets)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (with_document(lambda d: routes(d).update(rows=-1)), "-1 rows"),
        (with_document(lambda d: routes(d).update(rows=10**9)), "1000000000 rows"),
        (with_document(lambda d: routes(d).update(rows=1)), "routes/dst.npy is <u4 (2,), not <u4 (1,)"),
        (with_document(lambda d: routes(d).update(family="inet6")), "routes.family is 'inet6'"),
        (with_document(lambda d: routes(d).pop("family")), "routes.family is ''"),
        (with_document(lambda d: routes(d).pop("extras")), "routes.extra holds a value outside -1 to -1"),
        (with_document(lambda d: routes(d)["extras"][0].update(via="nowhere")), "routes.extras.via is 'nowhere'"),
        (with_document(lambda d: d["tables"]["links"][0].update(ifindex=-5)), "links.ifindex is -5"),
        (with_document(lambda d: d["tables"]["addresses"][0].update(local="2001:db8::1")), "of the other family"),
        (with_document(lambda d: d["tables"]["addresses"][0].update(prefixlen=33)), "addresses.prefixlen is 33"),
        (with_document(lambda d: d["tables"]["rules"][0].update(table=2**32)), "rules.table is 4294967296"),
        (with_document(lambda d: d["tables"]["rules"][0].update(family="bridge")), "rules.family is 'bridge'"),
        (with_document(lambda d: d["tables"]["wireguard"].update(devices=[WG])), "allowed_ips holds '10.0.0.0/33'"),
        (with_column("tables/routes/extra.npy", np.array([0, 1], np.int32)), "routes.extra holds"),
        (with_column("tables/routes/extra.npy", np.array([0, -2], np.int32)), "routes.extra holds"),
        (with_column("tables/routes/dst_len.npy", np.array([33, 0], np.uint8)), "routes.dst_len holds"),
        (with_column("tables/routes/dst_len.npy", np.array([24, 0, 0], np.uint8)), "(3,)"),
        (with_column("tables/routes/dst.npy", np.array([1, 2], np.uint64)), "is <u8"),
        (with_column("tables/routes/dst.npy", np.array([1, 2], ">u4")), "header is not one of a plain array"),
        (with_column("tables/routes/dst.npy", np.array([None, {}], object)), "header is not one of a plain array"),
        (with_column("tables/routes/dst.npy", np.zeros(2, [("a", "<u4")])), "header is not one of a plain array"),
        (with_column("tables/routes6/dst.npy", np.zeros((1, 16), np.uint8, order="F").T), "is |u1 (16, 1)"),
        (with_column("tables/routes6/dst.npy", np.asfortranarray(np.zeros((3, 16), np.uint8))), "plain array"),
        (with_column("tables/neighbours/family.npy", np.array([2, 7], np.uint8)), "neither AF_INET nor AF_INET6"),
        (with_column("tables/neighbours/lladdr_len.npy", np.array([33, 0], np.uint8)), "lladdr_len holds"),
        (with_column("tables/neighbours/used.npy", np.array([np.inf, 0], np.float32)), "infinite"),
        (zipped(members() | {"tables/routes/tos.npy": members()["tables/routes/tos.npy"] + b"x"}), "bytes do not hold"),
        (zipped(members() | {"tables/routes/tos.npy": members()["tables/routes/tos.npy"][:-1]}), "bytes do not hold"),
        (zipped(members() | {"tables/routes/tos.npy": b"\x93NUMPY\x03\x00"}), "ends in its header"),
        (zipped(members() | {"tables/routes/tos.npy": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535}), "header of 65535"),
    ],
    ids=named,
)
def test_tables_are_odd(octets: bytes, reason: str) -> None:
    assert reason in refusal(octets)


def bomb(declared: int, real: int) -> bytes:
    """A snapshot whose ``snapshot.json`` says one size in the directory and inflates to another: one block of deflate
    over and over."""
    block, end = (zlib.compressobj(9, zlib.DEFLATED, -15) for _ in range(2))
    body = (block.compress(b" " * (1 << 20)) + block.flush(zlib.Z_FULL_FLUSH)) * (real >> 20) + end.flush()
    name = b"snapshot.json"
    common = struct.pack("<HHHHHLLLHH", 20, 0, 8, 0, 33, 0, len(body), declared, len(name), 0)
    local = b"PK\x03\x04" + common + name + body
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHLL", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(central), len(local), 0)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [(3 << 30, "than deflate can hold"), (1 << 30, "is larger than"), (100, "snapshot")],
)
def test_bombs_are_refused_within_bounds(declared: int, reason: str, tmp_path: Path) -> None:
    """In a child of 600 MiB of address space; the 1 GiB of blanks would not fit."""
    path = tmp_path / "bomb.netdiag"
    path.write_bytes(bomb(declared, 1 << 30))
    code = (
        "import sys\nfrom netdiag.snapshotfile import SnapshotRefused, read_snapshot\n"
        f"try: read_snapshot({str(path)!r})\nexcept SnapshotRefused as error: print(error.reason)"
    )
    limit = 600 << 20
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert reason in done.stdout


def test_more_than_deflate_can_hold() -> None:
    octets = bytearray(OCTETS)
    struct.pack_into("<L", octets, octets.index(b"PK\x01\x02") + 24, 1 << 30)
    assert "more bytes than deflate can hold" in refusal(bytes(octets))


def test_directory_of_many_members_is_refused_before_it_is_read() -> None:
    octets = bytearray(OCTETS)
    struct.pack_into("<H", octets, len(octets) - 12, 60_000)
    assert "directory is larger" in refusal(bytes(octets))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nonexistent/x.netdiag", "no such file"),
        ("/", "is a directory"),
        ("/dev/null", "empty"),
        ("a\0b", "null byte"),
    ],
)
def test_paths(path: str, reason: str) -> None:
    with pytest.raises(SnapshotRefused) as caught:
        read_snapshot(path)
    assert reason in caught.value.reason
    assert caught.value.path == path


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(SnapshotRefused, match="permission denied"):
        read_snapshot(str(tmp_path / "x"))
