"""Replaying each host of fixtures/hosts gives its expected report, to the byte, as often as it is asked."""

from pathlib import Path

import pytest

from netdiag.collect import Options, collect
from netdiag.engine import judge
from netdiag.render.json import render_json
from netdiag.sources.replay import ReplaySource

FOLDER = Path(__file__).parents[2] / "fixtures" / "hosts"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/expected.json"))


def report_of(recording: Path) -> str:
    """The JSON report of a recording."""
    return render_json(judge(collect(ReplaySource(recording), Options())))


def test_there_are_recordings() -> None:
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_expected_one(name: str) -> None:
    first = report_of(FOLDER / name / "recording")
    assert first == (FOLDER / name / "expected.json").read_text(encoding="utf-8")
    assert report_of(FOLDER / name / "recording") == first


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_it(name: str) -> None:
    assert f"`{name}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
