"""With CI set a skipped test fails the run, in the process itself and in xdist's workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SKIPS = """
import pytest

@pytest.mark.skip(reason="the mark")
def test_mark(): pass

def test_call(): pytest.skip("the call")

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False

def test_good(): pass
"""
SKIPPED_MODULE = "import pytest\npytest.skip('the module', allow_module_level=True)\n"


def run(where: Path, ci: str, *options: str) -> tuple[int, str]:
    env = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    # -c: none of the project's settings, so that the plugin alone decides.
    (where / "empty.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "empty.ini", "-p", "tests.house.no_skips", *options, "."],
        cwd=where,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "workers"])
def test_a_skip_fails_in_ci(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS)
    status, output = run(tmp_path, "true", *options)
    assert status == 1
    # A mark skips in the set-up, which pytest counts as an error.
    assert output.splitlines()[-1].startswith("1 failed, 1 passed, 1 xfailed, 1 error")
    assert "the mark" in output
    assert "the call" in output


def test_a_skipped_module_fails_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPPED_MODULE)
    status, output = run(tmp_path, "true")
    assert status != 0
    assert "the module" in output


@pytest.mark.parametrize("ci", ["", "false"])
def test_a_skip_is_fair_elsewhere(tmp_path: Path, ci: str) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS)
    status, output = run(tmp_path, ci)
    assert status == 0
    assert output.splitlines()[-1].startswith("1 passed, 2 skipped, 1 xfailed")
