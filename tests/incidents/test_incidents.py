"""Each incident's cause is the first finding; of two incidents on one host both causes are roots, and nothing else is.

The pairs are drawn by a printed seed; NETDIAG_LONG=N draws N instead.
"""

import itertools
import os
import random

import pytest

from tests.drills.harness import Report, describe
from tests.incidents.faults import FAULTS, Fault
from tests.lab import Host, Lab

SEED = 20261125
PAIRS = 30
PATIENCE = 15.0
"""Seconds: a reachable neighbour that vanishes is given up after up to thirteen (5 delayed, 3 probed, 5 stale)."""


def look(lab: Lab, host: Host, *faults: Fault) -> Report:
    """A report with two samples and each fault's traffic between them."""

    def during() -> None:
        for fault in faults:
            if fault.traffic is not None:
                fault.traffic(lab, host)

    return host.report("--interval", "0.1", during=during)


def roots(report: Report) -> list[str]:
    """Rules of the alarms that nothing explains, in order."""
    return [f["rule"] for f in report["findings"] if f["explained_by"] is None and f["severity"] != "info"]


def wrong_with_first(report: Report, fault: Fault) -> str:
    """What is wrong with a report of one fault."""
    found = roots(report)
    if not found:
        return "nothing was found"
    if report["findings"][0]["rule"] not in fault.first:
        return f"{report['findings'][0]['rule']} stands first"
    others = [rule for rule in found if rule not in fault.first]
    return f"not explained: {others}" if others else ""


def wrong_with_pair(report: Report, pair: tuple[Fault, Fault]) -> str:
    """What is wrong with a report of two independent faults."""
    found = roots(report)
    for fault in pair:
        if not set(found) & set(fault.first):
            return f"{fault.name} is not among the causes {found}"
    known = {rule for fault in pair for rule in fault.first}
    others = [rule for rule in found if rule not in known]
    return f"not explained: {others}" if others else ""


def poll(lab: Lab, host: Host, faults: tuple[Fault, ...], wrong: object) -> None:
    """Look until nothing is wrong, six seconds long."""
    last: list[tuple[str, Report]] = []

    def good() -> bool:
        report = look(lab, host, *faults)
        last[:] = [(wrong(report), report)]  # type: ignore[operator]
        return not last[0][0]

    try:
        lab.wait(good, PATIENCE)
    except TimeoutError:
        complaint, report = last[0]
        raise AssertionError(f"{' + '.join(f.name for f in faults)}: {complaint}\n{describe(report)}") from None


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_the_cause_stands_first(fault: Fault, lab: Lab) -> None:
    host = fault.world(lab)
    fault.break_(lab, host)
    poll(lab, host, (fault,), lambda report: wrong_with_first(report, fault))


def drawn() -> list[tuple[Fault, Fault]]:
    """Pairs of faults that can be had on one host, in an order that the seed decides."""
    able = [fault for fault in FAULTS if not fault.alone]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(able, 2)
        if a.world is b.world and not set(a.first) & set(b.first) and not (a.thing and a.thing == b.thing)
    ]
    random.Random(SEED).shuffle(pairs)
    return pairs[: int(os.environ.get("NETDIAG_LONG", PAIRS))]


@pytest.mark.parametrize("pair", drawn(), ids=lambda pair: f"{pair[0].name} + {pair[1].name}")
def test_two_causes_are_two_roots(pair: tuple[Fault, Fault], lab: Lab) -> None:
    host = pair[0].world(lab)
    for fault in pair:
        fault.break_(lab, host)
    poll(lab, host, pair, lambda report: wrong_with_pair(report, pair))
