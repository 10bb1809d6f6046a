"""Rules by name: what is known, and what to say of a name that is not."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netdiag.cli._errors import Usage, nearest

if TYPE_CHECKING:
    from netdiag.rules.shape import RuleModule


def modules() -> "dict[str, RuleModule]":
    """Every rule by id, those of a fleet too."""
    from netdiag.rules import discover

    return discover(None)


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each of which is a rule. Raises Usage with the nearest ones for the first that is not."""
    wanted = tuple(names)
    if not wanted:
        return ()
    rules = modules()
    for name in wanted:
        if name not in rules:
            raise Usage(f"no such rule: {name}{nearest(name, rules)}; netdiag rules lists them")
    return wanted
