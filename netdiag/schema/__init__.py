"""The published JSON Schemas (2020-12) of what netdiag prints and writes, as files beside this one.

``netdiag.report-1.schema.json`` is ``netdiag check --json``, ``netdiag.path-1.schema.json`` is ``netdiag path --json``,
``netdiag.fleet-report-1.schema.json`` is ``netdiag fleet check --json``, ``netdiag.trace-1.schema.json`` is
``netdiag trace --json``, ``netdiag.fleet-diff-1``, ``netdiag.fleet-matrix-1`` and ``netdiag.sweep-report-1`` likewise;
``netdiag.sweep-1.schema.json`` is a line of a sweep's ledger,
``netdiag.snapshot-1.schema.json`` is the ``snapshot.json`` inside a snapshot. They are made from the model by
``python -m netdiag.schema.make``; a test keeps them up to date. Reading them can fail only where the installation is
broken.
"""

import json
from importlib.resources import files
from typing import Any

NAMES = (
    "netdiag.report-1",
    "netdiag.snapshot-1",
    "netdiag.path-1",
    "netdiag.fleet-report-1",
    "netdiag.fleet-path-1",
    "netdiag.trace-1",
    "netdiag.probe-1",
    "netdiag.fleet-diff-1",
    "netdiag.fleet-matrix-1",
    "netdiag.sweep-1",
    "netdiag.sweep-report-1",
)


def published(name: str) -> dict[str, Any]:
    """One schema by name. Raises FileNotFoundError for a name that is not in ``NAMES``."""
    schema: dict[str, Any] = json.loads(files(__name__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema
