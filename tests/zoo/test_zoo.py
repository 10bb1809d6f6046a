"""No alarm on any host of the zoo, with two samples and a little traffic between them."""

from collections.abc import Callable

import pytest

from netdiag.engine import judge
from netdiag.model.snapshot import Snapshot, Tables
from tests.drills.harness import describe
from tests.lab import Lab
from tests.rules.test_examples import META, complete_coverage
from tests.zoo import Animal, clusters, edges, meshes, oddities, providers, told, workers

ROOMS = (clusters, edges, meshes, oddities, providers, workers)
ANIMALS = [animal for room in ROOMS for animal in room.ANIMALS]


@pytest.mark.parametrize("animal", ANIMALS, ids=[animal.__name__ for animal in ANIMALS])
def test_no_alarm(animal: Animal, lab: Lab) -> None:
    host = animal(lab)
    neighbours = [other for name, other in lab.hosts.items() if other is not host and not name.startswith("switch")]

    def traffic() -> None:
        """Somebody asks for something: one datagram from and to each neighbour's first address."""
        for other in neighbours[:2]:
            for line in other.run("ip", "-br", "-4", "address", "show", "dev", "eth0", check=False).stdout.split()[2:]:
                lab.send_udp(host, line.partition("/")[0], 33434)

    reports = []

    def quiet() -> bool:
        report = host.report("--interval", "0.1", during=traffic)
        reports[:] = [report]
        return not [f for f in report["findings"] if f["severity"] != "info"]

    try:
        lab.wait(quiet, 6, "no alarm")
    except TimeoutError:
        raise AssertionError(f"{animal.__name__}: an alarm on a healthy host\n{describe(reports[0])}") from None
    required = {row["collector"]: row["status"] for row in reports[0]["coverage"]}
    assert all(required[name] == "ok" for name in ("links", "addresses", "routes", "rules"))


@pytest.mark.parametrize("tell", told.TOLD, ids=[tell.__name__ for tell in told.TOLD])
def test_no_alarm_on_what_others_have_shown(tell: Callable[[], Tables]) -> None:
    report = judge(Snapshot(meta=META, tables=tell(), coverage=complete_coverage()))
    assert [f.message for f in report.findings if f.severity != "info"] == []
    assert [row for row in report.not_evaluated if "broke" in row.reason] == []
