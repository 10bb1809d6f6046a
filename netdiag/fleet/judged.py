"""What the rules said of one host, kept: so that a night is judged once and asked often.

It is only good for the very rules that said it: ``fingerprint`` is a hash of netdiag's own source, and a judgement with
another one is not used. Nothing can fail.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from netdiag.engine import drafts_of, unheard
from netdiag.model.coverage import NotEvaluated
from netdiag.model.finding import Draft
from netdiag.model.snapshot import Snapshot
from netdiag.rules.shape import RuleModule

ROOMS = ("model", "index", "path", "rules")
"""What decides; engine.py is with them."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One host by itself."""

    drafts: tuple[Draft, ...] = ()
    silent: tuple[NotEvaluated, ...] = ()
    not_judged: str | None = None
    """Why rules gave no answer that should have, where judging hung or died: all of them, or those that are named."""
    at_all: bool = True
    """False: no rule gave an answer."""


def judged(snapshot: Snapshot, modules: dict[str, RuleModule], began: Callable[[str], None] = unheard) -> Judged:
    """Run the rules of a host. ``began``: see ``drafts_of``."""
    drafts, silent = drafts_of(snapshot, modules, began=began)
    return Judged(drafts=tuple(drafts), silent=tuple(silent))


@cache
def fingerprint() -> str:
    """Hash of the source that judges a host."""
    top = files("netdiag")
    found = hashlib.sha256(top.joinpath("engine.py").read_bytes())

    def take(folder: Any) -> None:
        for entry in sorted(folder.iterdir(), key=lambda one: one.name):
            if entry.is_dir():
                take(entry)
            elif entry.name.endswith(".py"):
                found.update(entry.name.encode() + b"\0" + entry.read_bytes())

    for room in ROOMS:
        take(top.joinpath(room))
    return found.hexdigest()[:32]
