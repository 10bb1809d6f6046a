"""The different values of a column, where each begins in a column that is in order, and which rows hold one of some.

`numpy.unique` and `numpy.isin` say the same, but load numpy.ma for it the first time (NumPy 2, _arraysetops_impl.py;
isin where the column is empty): 15 ms, a tenth of what judging an ordinary host takes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt


def distinct(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values of a one-dimensional array of numbers, each once, in ascending order; of the same dtype."""
    return runs(np.sort(column))[0]


def runs(ordered: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """The values of a one-dimensional array in order, each once, and the position of the first of each."""
    fresh = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    begin = np.flatnonzero(fresh)
    return ordered[begin], begin


def among(column: npt.NDArray[Any], values: Collection[int] | npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which elements of a one-dimensional array of integers are one of the values: `numpy.isin`."""
    if not len(column) or not len(values):
        return np.zeros(len(column), np.bool_)
    return np.isin(column, values if isinstance(values, np.ndarray) else list(values))
