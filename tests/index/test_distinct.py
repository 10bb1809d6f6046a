"""netdiag.model.distinct says what numpy.unique and numpy.isin say, without loading numpy.ma."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netdiag.model.distinct import among, distinct, runs

HOSTS = Path(__file__).parents[2] / "fixtures" / "hosts"


@pytest.mark.parametrize("column", [[], [7], [3, 3, 3], [5, 1, 255, 1, 0, 5]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32])
def test_the_values_of_numpy(column: list[int], dtype: type[np.generic]) -> None:
    ours, theirs = distinct(np.array(column, dtype)), np.unique(np.array(column, dtype))
    assert ours.dtype == theirs.dtype
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("column", [[], [7], [3, 3, 3], [0, 1, 1, 5, 255]])
def test_where_each_begins(column: list[int]) -> None:
    ordered = np.array(column, np.int32)
    values, begin = np.unique(ordered, return_index=True)
    assert [each.tolist() for each in runs(ordered)] == [values.tolist(), begin.tolist()]


@pytest.mark.parametrize("column", [[], [7], [5, 1, 255, 1, 0, 5]])
@pytest.mark.parametrize("values", [(), (5, 7), {1, 0}, np.array([5, 255], np.int32), [2**32 - 1, 5]])
def test_which_rows_hold_one_of_some(column: list[int], values: "tuple[int, ...]") -> None:
    rows = among(np.array(column, np.uint32), values)
    assert rows.dtype == np.bool_
    assert rows.tolist() == [value in list(values) for value in column]


def test_judging_does_not_load_masked_arrays() -> None:
    """Of no recorded host: what this machine does is not known."""
    program = (
        "import sys, pathlib; from netdiag.collect import Options, collect; from netdiag.engine import judge;"
        "from netdiag.sources.replay import ReplaySource;"
        "[judge(collect(ReplaySource(host), Options())) for host in pathlib.Path(sys.argv[1]).glob('*/recording')];"
        "print('netdiag.rules' in sys.modules, 'numpy.ma' in sys.modules)"
    )
    asked = [sys.executable, "-c", program, str(HOSTS)]
    assert subprocess.run(asked, capture_output=True, text=True).stdout == "True False\n"
