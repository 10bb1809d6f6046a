"""Who a snapshot is of, from the first kilobytes of its file: for sorting thousands before any is read whole.

Only a hint: nothing that follows is checked, and whoever reads the file whole must compare. Nothing can fail.
"""

import re
import zipfile
from typing import IO

import msgspec

from netdiag.model.snapshot import Meta
from netdiag.snapshotfile.document import MEMBER
from netdiag.snapshotfile.read import BROKEN, check_end

HEAD = 64 << 10
"""Bytes of ``snapshot.json`` that are looked at."""
AFTER = re.compile(rb',\s*"coverage"\s*:')


def peek(file: IO[bytes]) -> Meta | None:
    """What the file says of itself; None where that cannot be told without reading it whole."""
    try:
        check_end(file)
        with zipfile.ZipFile(file) as archive, archive.open(MEMBER) as member:
            head = member.read(HEAD)
        end = AFTER.search(head)
        return msgspec.json.decode(head[: end.start()] + b"}", type=Meta) if end else None
    except (*BROKEN, KeyError, MemoryError, RecursionError):
        return None
