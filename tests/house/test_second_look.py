"""A test on live hosts that failed is run once more and told; many of them fail the run, as one that fails twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import pathlib, pytest

@pytest.fixture
def lab():
    yield pathlib.Path(__file__).parent

@pytest.mark.parametrize("number", range({fickle}))
def test_fickle(lab, number):
    mark = lab / f"{{number}}.seen"
    seen = mark.exists()
    mark.touch()
    assert seen, f"the first look of {{number}}"

def test_broken(lab):
    assert {sound}, "broken for good"

def test_without_a_host():
    assert {plain}, "no second look"
"""


def run(where: Path, *options: str, fickle: int = 1, sound: bool = True, plain: bool = True) -> tuple[int, str]:
    (where / "empty.ini").write_text("[pytest]\n")  # none of the project's settings: the plugin alone decides
    (where / "test_live.py").write_text(TESTS.format(fickle=fickle, sound=sound, plain=plain))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "empty.ini", "-p", "tests.house.second_look", *options, "."],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "workers"])
def test_once_is_told_and_passes(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, output = run(tmp_path, *options)
    assert (status, "the first look of 0" in output, "failed once: " in output) == (0, True, True), output


def test_often_is_no_accident(tmp_path: Path) -> None:
    assert run(tmp_path, fickle=3)[0] == 0
    (tmp_path / "more").mkdir()
    assert run(tmp_path / "more", "-n", "2", fickle=4)[0] == 1


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    status, output = run(tmp_path, fickle=0, sound=False)
    assert status == 1 and "broken for good" in output


def test_no_host_no_second_look(tmp_path: Path) -> None:
    status, output = run(tmp_path, fickle=0, plain=False)
    assert status == 1 and "failed once" not in output
