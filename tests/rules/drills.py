"""Which rules have a drill: every id that stands in the code of tests/drills, but for what a drill tolerates or
explains. Read from the source, because pytest collects only what was asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

DRILLS = Path(__file__).parents[1] / "drills"
BESIDE = {"explains", "tolerate"}
"""Arguments of a drill that name other rules than its own."""


def drilled() -> set[str]:
    """All words that a drill may mean by its rule."""
    files = [*DRILLS.glob("test_*.py"), *DRILLS.glob("in_guest_*.py")]
    return {word for file in files for word in _words(ast.parse(file.read_text("utf-8")))}


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.keyword) and node.arg in BESIDE:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _words(child)
