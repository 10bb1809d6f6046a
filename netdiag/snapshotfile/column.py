"""One column as a ``.npy`` file (NumPy's format 1.0, described in numpy/lib/format.py), read without trusting it.

The header is matched against the one spelling that NumPy writes and compared with the dtype and shape that the model
expects, before anything is allocated. No Python literal is evaluated, nothing is unpickled, and an object, structured
or Fortran-ordered array cannot be said in the accepted grammar. What is wrong raises ``ValueError`` with a reason.
"""

import re
import sys
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from netdiag.model.neighbour import LLADDR_SIZE

MAGIC = b"\x93NUMPY\x01\x00"
HEADER_LIMIT = 1024
"""Bytes; NumPy pads the header of such an array to 128 with the magic."""
HEADER = re.compile(
    rb"\{'descr': '([<|][uif][1248])', 'fortran_order': False, 'shape': \((\d{1,12})(?:,|, (\d{1,4}))\), \} *\n"
)
CHUNK = 1 << 20

Column = npt.NDArray[Any]


def little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype as it stands in the file, on any machine."""
    return dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype


WIDTH_BEFORE = {LLADDR_SIZE: 8}
"""Bytes of a hardware address in older files."""


def header_of(column: Column) -> bytes:
    """Magic and header of a C-ordered column of one or two dimensions, 128 bytes as NumPy writes them."""
    shape = f"({len(column)},)" if column.ndim == 1 else f"({len(column)}, {column.shape[1]})"
    dtype = little_endian(column.dtype).str
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    room = 128 - len(MAGIC) - 2
    return MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


def octets_of(column: Column) -> memoryview:
    """The column's rows as they stand in the file: C order, little endian."""
    stored = np.ascontiguousarray(column, little_endian(column.dtype))
    return stored.reshape(-1).view(np.uint8).data


def read_column(file: IO[bytes], stored: int, rows: int, like: Column) -> Column:
    """Read a column that must have ``rows`` rows and otherwise dtype and width of ``like``, or the width that this one
    had in older files.

    ``stored`` is the size in bytes that the archive declares for it; the header must account for exactly that, so the
    allocation never exceeds what the caller has already compared with its caps. Raises ValueError.
    """
    preamble = _exactly(file, len(MAGIC) + 2)
    if not preamble.startswith(MAGIC):
        raise ValueError("not a .npy file of format 1.0")
    length = int.from_bytes(preamble[-2:], "little")
    if length > HEADER_LIMIT:
        raise ValueError(f"header of {length} bytes")
    found = HEADER.fullmatch(_exactly(file, length))
    if found is None:
        raise ValueError("header is not one of a plain array")
    dtype, shape = found[1].decode(), (int(found[2]), *([int(found[3])] if found[3] else []))
    expected = little_endian(like.dtype)
    older = like.ndim == 2 and shape == (rows, WIDTH_BEFORE.get(like.shape[1], 0))
    if dtype != expected.str or (shape != (rows, *like.shape[1:]) and not older):
        raise ValueError(f"is {dtype} {shape}, not {expected.str} {(rows, *like.shape[1:])}")
    size = expected.itemsize * int(np.prod(shape, dtype=np.int64))
    if stored != len(preamble) + length + size:
        raise ValueError(f"{stored} bytes do not hold {shape} of {dtype}")
    column: Column = np.empty(shape, expected)
    if size:
        _fill(file, column.reshape(-1).view(np.uint8).data)
    if file.read(1):
        raise ValueError("holds more than its header says")
    return column if sys.byteorder == "little" else column.astype(like.dtype)


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise ValueError("ends in its header")
    return content


def _fill(file: IO[bytes], into: memoryview) -> None:
    position = 0
    while position < len(into):
        chunk = file.read(min(CHUNK, len(into) - position))
        if not chunk:
            raise ValueError("ends before its last row")
        into[position : position + len(chunk)] = chunk
        position += len(chunk)
