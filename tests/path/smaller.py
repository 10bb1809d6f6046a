"""Make a failing world small: leave out what it does not need, as delta debugging does (Zeller and Hildebrandt, 2002).

Each part is shortened by halves, then by quarters, down to single lines, as long as the world still fails. Pure, but
for the question itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.path.topology import Recipe

TRIES = 60
"""Worlds that are built at most: each takes about a second."""


def smaller(recipe: Recipe, fails: Callable[[Recipe], bool], tries: int = TRIES) -> Recipe:
    """The least recipe found that still fails; ``fails`` says so of one, and builds a world for it."""
    left = [tries]

    def asked(one: Recipe) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(one)

    for part in Recipe.PARTS:
        empty = replace(recipe, **{part: ()})
        if getattr(recipe, part) and asked(empty):
            recipe = empty
            continue
        size = max(1, len(getattr(recipe, part)) // 2)
        while left[0] > 0:
            recipe, shorter = _without(recipe, part, size, asked)
            if size == 1 and not shorter:
                break
            size = max(1, size // 2)
    return recipe


def _without(recipe: Recipe, part: str, size: int, asked: Callable[[Recipe], bool]) -> tuple[Recipe, bool]:
    """Leave out runs of so many lines of a part, one after the other, the last ones first."""
    shorter = False
    for start in range(len(getattr(recipe, part)) - size, -size, -size):
        lines = getattr(recipe, part)
        kept = (*lines[: max(0, start)], *lines[start + size :])
        if len(kept) < len(lines) and asked(replace(recipe, **{part: kept})):
            recipe, shorter = replace(recipe, **{part: kept}), True
    return recipe, shorter
