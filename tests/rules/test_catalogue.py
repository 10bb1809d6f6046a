"""Every fault of the catalogue is a rule, or stands among those that cannot be decided, with the reason."""

import json
from pathlib import Path

import pytest

from netdiag.cli.main import run
from netdiag.rules.undecidable import UNDECIDABLE

CATALOGUE = Path(__file__).with_name("catalogue.txt").read_text("ascii").split()
"""Ids of the catalogue: fixed for ever."""


def test_every_fault_is_listed_as_a_rule_or_as_undecidable(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "--all", "--json"]) == 0
    printed = capfd.readouterr().out
    listed = {name for name in CATALOGUE if json.dumps(name) in printed}
    assert sorted(set(CATALOGUE) - listed) == []


def test_reasons_are_sentences() -> None:
    assert [name for name, why in UNDECIDABLE.items() if len(why.split()) < 8 or why != why.strip()] == []
