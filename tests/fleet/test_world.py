"""The fleet of tests/fleet/world.py: silent while all is well, and each fault between hosts named first, alone.

The lab is built once. What is not broken is not collected again. A third of the variants is run every time, all with
NETDIAG_LONG=1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from netdiag.cli.main import run
from netdiag.snapshotfile import write_snapshot
from tests.drills import losses
from tests.fleet.breaks import BREAKS, Break
from tests.fleet.world import World, alarms, told
from tests.lab import Lab
from tests.lab.daemons import key_pair

LONG = bool(os.environ.get("NETDIAG_LONG"))
ALL = LONG or losses.asked()
pytestmark = [pytest.mark.lab, pytest.mark.timed, pytest.mark.slow, pytest.mark.xdist_group("fleet-world")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The fleet, built and swept once."""
    folder = tmp_path_factory.mktemp("sweep")
    with Lab() as lab:
        found = World(lab, folder=folder)
        found.build()
        found.sweep()
        found.healthy = dict(found.known)
        yield found


@pytest.fixture(autouse=True)
def as_it_was(world: World) -> Iterator[None]:
    """What a test has collected is forgotten after it."""
    yield
    world.known = dict(world.healthy)


def test_healthy(world: World) -> None:
    report = world.judged()
    assert not alarms(report), told(report)
    assert len(report.hosts) == 12 and report.verdict == "ok"
    broken = [gap for gap in report.not_evaluated if "the rule broke" in gap.reason]
    assert not broken, broken


def test_draining_provisioning_and_a_roll_out_wake_nobody(world: World) -> None:
    edge, gateway = world["fra-edge1"], world["ams-gateway2"]
    edge.run("birdc", "disable", "transit")
    for name in ("ams-worker1", "sin-worker1", "sin-worker2"):
        world.program(name, "worker_in", ("tap0", "wg0"), pref=10, verdict=0)  # another build
    gateway.run("wg", "set", "wg0", "peer", world.strangers[0], "remove")  # made just in time, and gone again
    made = key_pair(world.core)[1]  # a host that is being made: some know its key, it is not there yet
    for name in ("ams-gateway2", "ams-worker1", "sin-worker1"):
        world[name].run("wg", "set", "wg0", "peer", made, "endpoint", "10.2.0.9:51820", "allowed-ips", "10.64.2.9/32")
    world.sweep("fra-edge1", "ams-gateway2", "ams-worker1", "sin-worker1", "sin-worker2")
    report = world.judged()
    assert not alarms(report), told(report)
    edge.run("birdc", "enable", "transit")
    for name in ("ams-worker1", "sin-worker1", "sin-worker2"):
        world.program(name, "worker_in", ("tap0", "wg0"), pref=10)
    for name in ("ams-gateway2", "ams-worker1", "sin-worker1"):
        world.configure(name)
    world.meshed("ams-gateway2", "ams-worker1", "sin-worker1")
    world.announcing()


@pytest.mark.parametrize(
    "case", [case for case in BREAKS if case.quick or LONG or losses.asked()], ids=lambda case: case.id
)
def test_a_fault_between_hosts_is_named_first(world: World, case: Break) -> None:
    carries = case.carries if not case.dear or losses.thorough() else None
    if case.prepares is not None:
        case.prepares(world)
    if carries is not None:
        world.lab.wait(lambda: carries(world), 6, "what the fault is about gets through before it")
    case.does(world)
    try:
        world.sweep(*(name for name in case.touched or tuple(world.members) if name not in case.without))
        report = world.judged(silent=case.silent, without=case.without, clocks=case.clocks)
        found = alarms(report)
        if case.severity == "info":
            assert not found, told(report)
            found = [row for row in report.findings if row.rule == case.rule]
            assert report.findings[0] in found, [row.message for row in report.findings]
        assert found, told(report)
        assert found[0].rule == case.rule, told(report)
        assert set(case.hosts) <= set(found[0].subject["hosts"]), found[0].subject  # type: ignore[arg-type]
        causes = {row.rule for row in found if row.explained_by is None}
        assert causes == {case.rule}, told(report)
        assert len([row for row in found if row.explained_by is None]) == 1, told(report)
        if carries is not None:
            world.lab.wait(lambda: not carries(world), 6, "what the fault is about is lost")
        among = {*case.hosts, world.transit.name}
        under = losses.through(world.lab, among) if losses.asked() else set()
    finally:
        case.mends(world)
    if losses.asked():  # make severity
        cause = msgspec.to_builtins(found[0])
        losses.note([cause], (), f"{case.id} (fleet)", carries is not None, losses.through(world.lab, among), under)


def test_path_and_matrix_of_the_fleet(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, snapshot in world.known.items():
        write_snapshot(snapshot, str(tmp_path / f"{name}.netdiag"))
    guest, other = world.members["sin-worker1"].guest, world.members["ams-worker2"].guest

    def asked(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        return run(list(words)), capfd.readouterr().out

    for start, to, hosts in (
        ("fra-edge1", guest, ["fra-edge1", "sin-worker1"]),
        (other, guest, ["ams-worker2", "sin-worker1"]),
    ):
        code, said = asked("fleet", "path", "--from", start, "--to", to, "--proto", "icmp", "--json", str(tmp_path))
        assert code == 0, said
        report = json.loads(said)
        assert report["verdict"] == report["return"]["verdict"] == "delivered", said
        assert [hop["host"] for hop in report["hops"]] == hosts and report["symmetric"]
    code, said = asked("fleet", "matrix", str(tmp_path))
    assert code == 0 and "132 ordered pairs" in said and "every pair is in order" in said, said
    code, said = asked("fleet", "check", "--by", "kernel", str(tmp_path))
    assert code == 0 and "UNKNOWN  by kernel: all hosts have one value" in said, said


def test_it_is_well_again(world: World) -> None:
    """After all variants; without them the mended hosts have been seen by the tests above."""
    world.sweep(*([] if LONG else ["sin-worker1", "fra-edge1"]))
    report = world.judged()
    assert not alarms(report), told(report)
