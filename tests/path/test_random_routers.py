"""What the walk foretells against what really happens: packets shot through random routers.

A disagreement names its seed and is made small: NETDIAG_SEED=... builds that router alone. What was once foretold
wrongly, or easily could be, has a world of its own here. NETDIAG_LONG=1 builds 360 routers.
"""

import os
from collections import Counter

import pytest

from tests.lab import Lab
from tests.lab.host import LabError
from tests.path.smaller import smaller
from tests.path.topology import Recipe, Topology
from tests.path.world import Shot, World

LONG = bool(os.environ.get("NETDIAG_LONG"))
PACKETS = 60
TUNNELLED, PROGRAMMED = 1000, 2000
"""Seeds from these on have WireGuard, by wireguard-go, and BPF programs."""


def seeds() -> list[int]:
    if "NETDIAG_SEED" in os.environ:
        return [int(os.environ["NETDIAG_SEED"])]
    plain, tunnelled, programmed = (270, 30, 60) if LONG else (21, 3, 6)
    firsts = ((0, plain), (TUNNELLED, tunnelled), (PROGRAMMED, programmed))
    return [seed for first, count in firsts for seed in range(first, first + count)]


def topology(seed: int) -> Topology:
    return Topology(seed, wireguard=TUNNELLED <= seed < PROGRAMMED, programs=seed >= PROGRAMMED)


def shots(made: Topology, recipe: Recipe | None = None, only: int | None = None) -> list[Shot]:
    """Packets shot through a world."""
    with Lab() as lab:
        world = World(lab, made, recipe=recipe)
        try:
            return world.shoot(PACKETS, only)
        finally:
            world.close()


def wrong(told: list[Shot]) -> list[Shot]:
    return [shot for shot in told if shot.verdict() not in ("agree", "unknown")]


def minimised(seed: int, number: int) -> str:
    """A world in which that one packet, shot alone, still ends elsewhere than foretold."""

    def fails(recipe: Recipe) -> bool:
        try:
            return bool(wrong(shots(topology(seed), recipe, number)))
        except (LabError, TimeoutError):
            return False  # no such world can be built

    whole = topology(seed).recipe
    if not fails(whole):
        return f"packet {number} alone ends as foretold: the packets before it matter\n{whole}"
    return f"packet {number} alone, in the smallest world that was found:\n{smaller(whole, fails)}"


def judge(seed: int, told: list[Shot]) -> None:
    bad = wrong(told)
    if bad:
        pytest.fail(f"NETDIAG_SEED={seed}: {len(bad)} of {PACKETS}\n{bad[0]}\n{minimised(seed, bad[0].number)}")


@pytest.mark.lab
@pytest.mark.parametrize("seed", seeds())
def test_packets_end_where_they_are_foretold_to(seed: int) -> None:
    told = shots(topology(seed))
    judge(seed, told)
    assert Counter(shot.verdict() for shot in told)["agree"] > 0


NAMED = {
    # Of two base chains with one priority the one that came last runs first: it marks what the other one drops.
    "chain-order": (
        7,
        """table inet t {
        chain first { type filter hook output priority filter; policy accept;
        meta mark 0x77 drop
        }
        chain later { type filter hook output priority filter; policy accept;
        udp dport { 1000, 2000 } meta mark set 0x77
        }
        }""",
    ),
    # What comes back by loopback is rewritten no second time; redirect of an own packet goes to 127.0.0.1.
    "loopback-nat": (
        7,
        """table ip n {
        chain o { type nat hook output priority -100;
        udp dport 1000 redirect to :2000
        udp dport 3000 dnat to 10.0.0.1:4000
        }
        chain p { type nat hook prerouting priority dstnat;
        udp dport { 2000, 4000 } dnat to 203.0.113.9
        }
        chain s { type nat hook postrouting priority srcnat;
        oifname "lo" masquerade
        }
        }""",
    ),
    # br_netfilter bridges what was redirected to where it came from, and routes the rest.
    "br-netfilter": (
        4,
        """table ip n {
        chain p { type nat hook prerouting priority dstnat;
        udp dport 1000 dnat to 10.1.0.2
        udp dport 2000 dnat to 10.0.0.2
        }
        }""",
    ),
}


@pytest.mark.lab
@pytest.mark.parametrize("name", sorted(NAMED))
def test_worlds_that_taught_something(name: str) -> None:
    seed, rules = NAMED[name]
    made = topology(seed)
    routes = tuple(line for line in made.recipe.routing if "rule add" not in line)
    recipe = Recipe(made.recipe.links, routes, made.recipe.settings, tuple(rules.splitlines()), ())
    told = shots(made, recipe)
    assert not wrong(told), f"{wrong(told)[0]}\n{recipe}"
    met = [[step for step in shot.foretold.steps if step.layer == "netfilter"] for shot in told]
    assert len([steps for steps in met if steps]) > PACKETS // 10
    assert all(len([step for step in steps if step.decision in ("dnat", "redirect")]) <= 1 for steps in met)
    if name == "br-netfilter":
        assert any("bridges what it redirected" in step.why for steps in met for step in steps)


def test_a_failing_world_is_made_small() -> None:
    """A world that fails whenever two of its lines are there, of different parts."""
    recipe = topology(3).recipe
    needed = {recipe.links[2], recipe.routing[-1]}
    asked = []

    def fails(one: Recipe) -> bool:
        asked.append(one)
        return needed <= {*one.links, *one.routing}

    found = smaller(recipe, fails)
    assert needed == {*found.links, *found.routing}
    assert (found.programs, found.rules, found.settings) == ((), (), ())
    assert len(asked) <= 60
