"""Each incident's cause is the first finding; of several on one host all causes are roots, and nothing else is.

The pairs and triples are drawn by a seed: some of them, and 40 with NETDIAG_LONG.
"""

import itertools
import os
import random

import pytest

from tests.drills.harness import PAUSE, Report, describe
from tests.incidents.faults import FAULTS, Fault
from tests.lab import Host, Lab

SEED = 20261125
DRAWN = 40 if "NETDIAG_LONG" in os.environ else 12
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


def wrong_with_several(report: Report, pair: tuple[Fault, ...]) -> str:
    """What is wrong with a report of independent faults: one that is not among the causes, or a cause too many."""
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
        lab.wait(good, PATIENCE, pause=PAUSE)
    except TimeoutError:
        complaint, report = last[0]
        raise AssertionError(f"{' + '.join(f.name for f in faults)}: {complaint}\n{describe(report)}") from None


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_the_cause_stands_first(fault: Fault, lab: Lab) -> None:
    host = fault.world(lab)
    fault.break_(lab, host)
    poll(lab, host, (fault,), lambda report: wrong_with_first(report, fault))


def independent(faults: tuple[Fault, ...]) -> bool:
    """Whether they can be had on one host, and none hides another."""
    return all(
        a.world is b.world and not set(a.first) & set(b.first) and not (a.thing and a.thing == b.thing)
        for a, b in itertools.combinations(faults, 2)
    )


def hidden(names: set[str]) -> bool:
    """Whether one of these faults hides another."""
    return any(pair <= names for pair in HIDDEN)


HIDDEN = ({"hardened", "a second table drops"}, {"hardened", "docker installed"})
"""Where nothing is forwarded, no filter of what is forwarded can be seen to drop. Left out after the drawing, so that
the others stay what they were."""

KEPT = ({"static wins", "strict again"},)
"""What was drawn in a long run and failed: a route that lost explained drops of what it would not have carried."""


def drawn() -> list[tuple[Fault, ...]]:
    """Combinations of faults in an order that the seed decides: one of three for every three of two."""
    able, dice = [fault for fault in FAULTS if not fault.alone], random.Random(SEED)
    found: list[tuple[Fault, ...]] = []
    for size, share in ((2, DRAWN - DRAWN // 4), (3, DRAWN // 4)):
        several = [faults for faults in itertools.combinations(able, size) if independent(faults)]
        dice.shuffle(several)
        found += [faults for faults in several[:share] if not hidden({fault.name for fault in faults})]
    kept = [tuple(fault for fault in able if fault.name in names) for names in KEPT]
    return found + [faults for faults in kept if faults not in found]


@pytest.mark.parametrize("faults", drawn(), ids=lambda faults: " + ".join(fault.name for fault in faults))
def test_several_causes_are_as_many_roots(faults: tuple[Fault, ...], lab: Lab) -> None:
    host = faults[0].world(lab)
    for fault in faults:
        fault.break_(lab, host)
    poll(lab, host, faults, lambda report: wrong_with_several(report, faults))
