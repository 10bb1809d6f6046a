"""Whatever happens to the bytes, the outcome is a refusal or the same snapshot: never another exception.

Damage to the archive is caught by the CRC of each member, so there the snapshot must be equal. Damage inside a member
whose CRC was then made right is what a malicious writer can do: there a different snapshot is possible, but it must be
one that can be written and read again.
"""

import io
import os
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.snapshotfile import SnapshotRefused, read_snapshot, snapshot_octets
from tests.snapshotfile.hosts import same, small_snapshot
from tests.snapshotfile.test_refused import members, zipped

SNAPSHOT = small_snapshot()
OCTETS = snapshot_octets(SNAPSHOT)
MEMBERS = members()
TOKENS = [
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"[]",
    b"{}",
    b"18446744073709551616",
    b'"\\ud800"',
    b"true",
    b"1.5",
    b'"x"',
]


def refused_or_same(octets: bytes) -> None:
    try:
        back = read_snapshot(io.BytesIO(octets))
    except SnapshotRefused:
        return
    assert same(back, SNAPSHOT)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(OCTETS) - 1), st.integers(1, 255))
def test_flipped_byte(position: int, bits: int) -> None:
    octets = bytearray(OCTETS)
    octets[position] ^= bits
    refused_or_same(bytes(octets))


def test_every_byte_of_the_directory_and_of_the_first_headers() -> None:
    """One bit of each, another one from byte to byte; with NETDIAG_LONG all eight."""
    long = "NETDIAG_LONG" in os.environ
    directory = OCTETS.index(b"PK\x01\x02")
    for position in (*range(60), *range(directory, directory + 130), *range(len(OCTETS) - 70, len(OCTETS))):
        for bit in range(8) if long else (position % 8,):
            octets = bytearray(OCTETS)
            octets[position] ^= 1 << bit
            refused_or_same(bytes(octets))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(OCTETS) - 1))
def test_cut_short(length: int) -> None:
    refused_or_same(OCTETS[:length])


@settings(max_examples=100, deadline=None)
@given(*[st.integers(0, len(OCTETS)) for _ in range(3)])
def test_piece_moved(a: int, b: int, to: int) -> None:
    a, b = sorted((a, b))
    refused_or_same(OCTETS[:a] + OCTETS[b:])
    refused_or_same(OCTETS[:to] + OCTETS[a:b] + OCTETS[to:])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_member_changed_and_sealed_again(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["snapshot.json", *MEMBERS]))
    content = bytearray(MEMBERS[name])
    position = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(["flip", "delete", "insert"]))
    if how == "flip":
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "delete":
        del content[position : position + data.draw(st.integers(1, 30))]
    else:
        content[position:position] = data.draw(st.sampled_from(TOKENS))
    try:
        changed = read_snapshot(io.BytesIO(zipped(MEMBERS | {name: bytes(content)})))
    except SnapshotRefused:
        return
    assert same(read_snapshot(io.BytesIO(snapshot_octets(changed))), changed)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_value_replaced(data: st.DataObject) -> None:
    """Each value of the document in turn becomes one of another type or size."""
    text = MEMBERS["snapshot.json"]
    values = list(re.finditer(rb'(?<=[:\[] )(-?[0-9.]+|null|true|false|"[^"\\]*")', text))
    found = data.draw(st.sampled_from(values))
    text = text[: found.start()] + data.draw(st.sampled_from(TOKENS)) + text[found.end() :]
    try:
        read_snapshot(io.BytesIO(zipped(MEMBERS | {"snapshot.json": text})))
    except SnapshotRefused:
        return
