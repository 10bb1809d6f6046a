"""A fleet at the size of the Scale table: load into a store, and all rules between hosts over it. For the bench.

    python -m tests.bench.fleet FOLDER HOSTS PEERS ROUTES   fills FOLDER, loads it, judges, prints what it cost

Each step runs in a process of its own; ``--step load|rules STORE ...`` is one of them. Hosts by themselves are not
judged here (``--no-judge``): that is what ``netdiag check`` costs, a host at a time.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import fillfleet


def load(folder: str, store: str) -> int:
    """Load a folder as it is by default, each host judged; how many hosts."""
    from netdiag.fleet.store.write import load_into

    return load_into([folder], store, now=fillfleet.NOW).hosts


def rules(store: str) -> int:
    """All rules between hosts; how many findings."""
    from netdiag.fleet.judge import across_hosts
    from netdiag.fleet.load import fleet_of, view_of
    from netdiag.rules import discover

    return len(across_hosts(view_of(fleet_of(store)), discover("fleet"))[0])


def step(words: list[str]) -> str:
    """One step in this process: seconds of CPU (with its children) and of wall time, and the most memory."""
    started = time.monotonic()
    count = load(words[1], words[2]) if words[0] == "load" else rules(words[1])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    most = max(one.ru_maxrss for one in used) // 1024
    return f"{count} {cpu:.1f} {time.monotonic() - started:.1f} {most}"


def measure(folder: Path, hosts: int, peers: int, routes: int) -> list[str]:
    """One row of the table."""
    fillfleet.write(folder / "in", hosts, peers, routes)
    cells = [f"{hosts:,} hosts x {peers:,} peers, {routes} routes"]
    for words in (["load", str(folder / "in"), str(folder / "store")], ["rules", str(folder / "store")]):
        command = [sys.executable, "-m", "tests.bench.fleet", "--step", *words]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
        _, cpu, wall, most = said.split()
        cells += [cpu, wall, most]
    return cells


def main(arguments: list[str]) -> None:
    """Print one step, or a row."""
    if arguments[0] == "--step":
        print(step(arguments[1:]))
    else:
        print(*measure(Path(arguments[0]), *map(int, arguments[1:4])), sep=" | ")


if __name__ == "__main__":
    main(sys.argv[1:])
