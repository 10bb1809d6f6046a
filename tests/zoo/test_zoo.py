"""No alarm on any live host of the zoo, with two samples and a little traffic between them, and each near miss that
tests/zoo/near says of it is there. The hosts of tables are judged in test_near.py."""

import pytest

from tests.drills.harness import describe
from tests.lab import Lab
from tests.zoo import Animal
from tests.zoo.checklist import unseen
from tests.zoo.rooms import ANIMALS


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
        report = host.report("--interval", "0.1", during=traffic, look=lambda *seen: unseen(animal.__name__, *seen))
        reports[:] = [report]
        return not report["looked"] and not [f for f in report["findings"] if f["severity"] != "info"]

    try:
        lab.wait(quiet, 6, "no alarm")
    except TimeoutError:
        said = f"{animal.__name__}: an alarm, or what is not there: {reports[0]['looked']}\n{describe(reports[0])}"
        raise AssertionError(said) from None
    required = {row["collector"]: row["status"] for row in reports[0]["coverage"]}
    assert all(required[name] == "ok" for name in ("links", "addresses", "routes", "rules"))
