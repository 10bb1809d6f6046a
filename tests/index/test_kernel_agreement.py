"""netdiag's routing decisions against the kernel's own, on random hosts, for tens of thousands of random packets.

A disagreement names its seed: NETDIAG_SEED=... runs that host alone. NETDIAG_LONG=1 asks a million packets.
"""

import itertools
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from netdiag.model.snapshot import Tables
from tests.index.kernel import disagreements
from tests.index.packets import Packets
from tests.index.reader import read_tables
from tests.index.topology import Topology
from tests.lab import Lab, wait_until

PACKETS_A_HOST = 1250
LONG = bool(os.environ.get("NETDIAG_LONG"))
ATTEMPTS = 4


def run_ip(lines: list[str]) -> None:
    """Run `ip` commands in this process's namespace, with -4 or -6 before the word where they start with it.

    What the kernel refuses changes nothing; the rest is done.
    """
    for flag, run in itertools.groupby(lines, key=lambda line: line[:2] if line.startswith("-") else "-0"):
        batch = "\n".join(line.removeprefix(flag) for line in run) + "\n"
        command = ["ip", *([] if flag == "-0" else [flag]), "-force", "-batch", "-"]
        done = subprocess.run(command, input=batch, text=True, capture_output=True, check=False)
        refused = [line for line in done.stderr.splitlines() if "Device does not exist" not in line]
        nonsense = [line for line in refused if line.startswith(("Error: argument", "Object"))]
        assert not nonsense, nonsense


def settled(before: Tables, now: Tables) -> bool:
    """Every carrier that came or went was heard of, and nothing moved since the last look."""
    for link in now.links:
        quiet = link.operstate in (("down", "lowerlayerdown") if link.carrier is False else ("up", "unknown"))
        if link.up and not quiet:
            return False
    return same(before, now)


def same(one: Tables, other: Tables) -> bool:
    """Whether routing is the same in both."""

    def essence(tables: Tables) -> tuple[Any, ...]:
        columns = [
            getattr(routes, name).tobytes()
            for routes in (tables.routes, tables.routes6)
            for name in routes.COLUMNS
            if name != "expires"
        ]
        links = [(link.ifindex, link.flags, link.operstate, link.group, link.master) for link in tables.links]
        states = sorted(zip(tables.neighbours.dst.tolist(), tables.neighbours.state.tolist(), strict=True))
        return columns, tables.routes.extras, tables.routes6.extras, links, tables.rules, tables.addresses, states

    return essence(one) == essence(other)


def build(topology: Topology) -> Tables:
    """Make this namespace that host, and read it when it has come to rest."""
    for name, value in topology.settings.items():
        Path("/proc/sys", name.replace(".", "/")).write_text(value, "ascii")
    tables = read_tables()

    def rest() -> bool:
        nonlocal tables
        before, tables = tables, read_tables()
        return settled(before, tables)

    for lines in (topology.first, topology.second, topology.third):
        run_ip(lines)
        wait_until(rest, timeout=10, what="the host is at rest")
    return tables


def examine(seed: int, packets: int) -> dict[str, Any]:
    """One random host: its disagreements as text, and counts. To be run inside a namespace of its own."""
    topology = Topology(seed)
    tables = build(topology)
    for _ in range(ATTEMPTS):
        stream = Packets(topology, tables, seed)
        queries = [stream.one() for _ in range(packets)]
        found = list(disagreements(tables, queries))
        now = read_tables()
        if same(tables, now):
            break
        tables = now
    else:
        raise AssertionError(f"seed {seed}: the host never came to rest")
    return {
        "found": [f"NETDIAG_SEED={seed}: {disagreement}" for disagreement in found],
        "routes": len(tables.routes) + len(tables.routes6),
        "rules": len(tables.rules),
    }


def seeds() -> list[int]:
    if "NETDIAG_SEED" in os.environ:
        return [int(os.environ["NETDIAG_SEED"])]
    return list(range(800 if LONG else 40))


@pytest.mark.lab
@pytest.mark.parametrize("seed", seeds())
def test_random_packets_on_random_hosts(seed: int) -> None:
    with Lab() as lab:
        host = lab.host("a")
        result = host.call(lambda: examine(seed, PACKETS_A_HOST), timeout=120)
    assert not result["found"], f"{len(result['found'])} of {PACKETS_A_HOST}\n" + "\n".join(result["found"][:5])
