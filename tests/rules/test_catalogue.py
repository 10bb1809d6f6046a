"""Every fault of the catalogue is a rule, or stands among those that cannot be decided, with the reason."""

import json
from pathlib import Path

import pytest

from netdiag.cli.main import run
from netdiag.rules.undecidable import UNDECIDABLE
from tests.rules.drills import drilled

CATALOGUE = Path(__file__).with_name("catalogue.txt").read_text("ascii").split()
"""Ids of the catalogue: fixed for ever."""
LIVE = dict(line.partition(": ")[::2] for line in Path(__file__).with_name("live.txt").read_text("utf-8").splitlines())
"""Faults of one host that the catalogue wants to see on a real kernel, in a namespace or in the guest: id to the reason
why there is none, empty where there is a drill."""


def test_every_fault_is_listed_as_a_rule_or_as_undecidable(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "--all", "--json"]) == 0
    printed = capfd.readouterr().out
    listed = {name for name in CATALOGUE if json.dumps(name) in printed}
    assert sorted(set(CATALOGUE) - listed) == []


def test_reasons_are_sentences() -> None:
    assert [name for name, why in UNDECIDABLE.items() if len(why.split()) < 8 or why != why.strip()] == []


def test_every_fault_that_can_be_had_has_a_drill_or_a_reason() -> None:
    assert sorted(set(LIVE) - set(CATALOGUE)) == []
    without = {name for name in LIVE if name not in UNDECIDABLE} - drilled()
    assert sorted(name for name in without if len(LIVE[name].split()) < 8) == []
    assert sorted(name for name, why in LIVE.items() if why and name in UNDECIDABLE) == []
