"""netdiag.model.distinct says what numpy.unique says, without loading numpy.ma."""

import subprocess
import sys

import numpy as np
import pytest

from netdiag.model.distinct import distinct


@pytest.mark.parametrize("column", [[], [7], [3, 3, 3], [5, 1, 255, 1, 0, 5]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32])
def test_the_values_of_numpy(column: list[int], dtype: type[np.generic]) -> None:
    ours, theirs = distinct(np.array(column, dtype)), np.unique(np.array(column, dtype))
    assert ours.dtype == theirs.dtype
    assert ours.tolist() == theirs.tolist()


def test_judging_does_not_load_masked_arrays() -> None:
    program = (
        "import sys; from netdiag.collect import Options, collect; from netdiag.engine import judge;"
        "from netdiag.sources.live import LiveSource; judge(collect(LiveSource(), Options(interval=0)));"
        "print('numpy.ma' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
