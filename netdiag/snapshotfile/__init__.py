"""A host in a file: the snapshot ``netdiag.snapshot/1``, extension ``.netdiag``.

The file is a zip. ``snapshot.json`` holds everything small, typed and indented, so that ``unzip -p FILE
snapshot.json`` can be read by a person; each column of a bulk table (routes, neighbours) is a ``.npy`` beside it.
``write`` makes it, ``upload`` sends it, ``read`` takes it apart without trusting a byte of it, ``checks`` says whether
the values can be a host's, ``outputfile`` writes files that are never seen half.

The format grows only by addition: unknown fields and members are ignored, missing tables are empty and have no
coverage, and a newer major schema is refused.
"""

from netdiag.snapshotfile.outputfile import OutputRefused, check_output, replacing
from netdiag.snapshotfile.read import SnapshotRefused, read_snapshot
from netdiag.snapshotfile.write import snapshot_octets, write_snapshot

__all__ = [
    "OutputRefused",
    "SnapshotRefused",
    "check_output",
    "read_snapshot",
    "replacing",
    "snapshot_octets",
    "write_snapshot",
]
