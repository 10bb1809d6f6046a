"""What the walk foretells against what really happens: packets shot through random routers.

A disagreement names its seed: NETDIAG_SEED=... builds that router alone. NETDIAG_LONG=1 builds 330 of them.
"""

import os
from collections import Counter

import pytest

from tests.lab import Lab
from tests.path.topology import Topology
from tests.path.world import World

pytestmark = pytest.mark.lab

LONG = bool(os.environ.get("NETDIAG_LONG"))
PACKETS = 60
TUNNELLED = 1000
"""Seeds from here on have WireGuard, by wireguard-go."""


def seeds() -> list[int]:
    if "NETDIAG_SEED" in os.environ:
        return [int(os.environ["NETDIAG_SEED"])]
    plain, tunnelled = (300, 30) if LONG else (27, 3)
    return [*range(plain), *range(TUNNELLED, TUNNELLED + tunnelled)]


@pytest.mark.parametrize("seed", seeds())
def test_packets_end_where_they_are_foretold_to(seed: int) -> None:
    with Lab() as lab:
        world = World(lab, Topology(seed, wireguard=seed >= TUNNELLED))
        try:
            shots = world.shoot(PACKETS)
        finally:
            world.close()
    verdicts = Counter(shot.verdict() for shot in shots)
    wrong = [shot for shot in shots if shot.verdict() not in ("agree", "unknown")]
    assert not wrong, f"NETDIAG_SEED={seed}: {len(wrong)} of {PACKETS}\n{wrong[0]}\n{world.rules}"
    assert verdicts["agree"] > 0
