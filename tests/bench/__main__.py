"""``make bench``: tables of ratios, each scenario in a namespace of its own, everything in one run.

The floor is tests/bench/floor.c: receive the same dump and drop it. ``ip -j`` is the stock command for the same table;
pyroute2 is measured on a fiftieth of a big table and scaled, because whole it takes minutes. Seconds are CPU (user and
system) and from this machine in this minute: only the ratios mean anything. Needs root; sends nothing.

    python -m tests.bench [SCALE]     SCALE 0.01 for a quick look; 1 by default
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import daemons, fleet

HERE = Path(__file__).parent
PYTHON = sys.executable
NETDIAG = str(Path(PYTHON).with_name("netdiag"))
RUNS = 3
"""Each measurement is taken so often, and the least is kept: noise only adds."""

PYROUTE2 = {
    "routes": "list(ip.get_routes(family=2)); list(ip.get_routes(family=10))",
    "neighbours": "list(ip.get_neighbours())",
    "links": "list(ip.get_links())",
    "conntrack": "from pyroute2 import NFCTSocket; list(NFCTSocket().dump())",
    "rules": "list(ip.get_rules(family=2)); list(ip.get_rules(family=10))",
}


@dataclass(frozen=True)
class Scenario:
    """One table at one size."""

    title: str
    table: str
    counts: dict[str, int]
    floor: tuple[str, ...]
    """Arguments of floor.c, one dump each."""
    stock: tuple[str, ...]
    pyroute2_scale: float = 1.0


SCENARIOS = (
    Scenario(
        "1,000,000 IPv4 + 200,000 IPv6 routes",
        "routes",
        {"routes4": 1_000_000, "routes6": 200_000},
        ("0 26 2", "0 26 10"),
        ("ip -j -4 route show table all", "ip -j -6 route show table all"),
        0.02,
    ),
    Scenario("50,000 neighbours", "neighbours", {"neighbours": 50_000}, ("0 30 0",), ("ip -j neigh",), 0.2),
    Scenario("4,000 links", "links", {"links": 4_000}, ("0 18 0 16",), ("ip -j -d -s link",)),
    Scenario(
        "100,000 tracked connections",
        "conntrack",
        {"conntrack": 100_000},
        ("12 257 0 4",),
        ("conntrack -L",),
        0.02,
    ),
    Scenario("5,000 rules", "rules", {"rules": 5_000}, ("0 34 2", "0 34 10"), ("ip -j rule", "ip -6 -j rule")),
)


@dataclass(frozen=True)
class Cost:
    """CPU seconds, wall seconds, and peak resident memory in KiB."""

    cpu: float
    wall: float
    rss_kib: int = 0

    @classmethod
    def of(cls, line: str) -> "Cost":
        """From a line ``user= system= wall= rss_kib=``."""
        words = dict(word.split("=", 1) for word in line.split())
        return cls(float(words["user"]) + float(words["system"]), float(words["wall"]), int(words["rss_kib"]))


def inside(counts: dict[str, int], script: str) -> str:
    """What a shell script prints in a fresh namespace that holds these rows."""
    wanted = [f"{name}={count}" for name, count in counts.items()]
    command = ["unshare", "-n", PYTHON, "-m", "tests.bench.fill", *wanted, "--", "sh", "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout


def timed(command: str) -> str:
    """Shell text that runs a command and prints its cost as the other measurements do."""
    return f'/usr/bin/env {PYTHON} -m tests.bench.spent sh -c "{command} > /dev/null"'


def least(lines: Sequence[str]) -> Cost:
    """The cheapest of several runs."""
    return min((Cost.of(line) for line in lines), key=lambda cost: cost.cpu)


def measure(scenario: Scenario, floor: str, scale: float) -> list[str]:
    """One row of the table."""
    counts = {name: max(2, int(count * scale)) for name, count in scenario.counts.items()}
    again = f"for _ in {' '.join('x' * RUNS)}; do"
    parts = [f"{again} {floor} {arguments}; done" for arguments in scenario.floor]
    reader = f"{PYTHON} -m tests.bench.read"
    parts += [f"{again} {reader} {scenario.table}; done", f"{reader} --nothing {scenario.table}"]
    parts += [f"{again} {timed(command)}; done" for command in scenario.stock]
    said = inside(counts, "\n".join(parts)).splitlines()
    floors = [least([said.pop(0) for _ in range(RUNS)]) for _ in scenario.floor]
    own = least([said.pop(0) for _ in range(RUNS)])
    nothing = Cost.of(said.pop(0))
    stock = sum(least([said.pop(0) for _ in range(RUNS)]).cpu for _ in scenario.stock)
    base = sum(cost.cpu for cost in floors)
    return [
        scenario.title,
        f"{base:.3f}",
        f"{own.cpu:.3f}",
        f"{own.cpu / base:.2f}x" if base else "-",
        f"{stock:.3f}",
        f"{own.cpu / stock:.2f}x" if stock else "-",
        f"{pyroute2(scenario, counts):.1f}",
        f"{(own.rss_kib - nothing.rss_kib) / 1024:.0f} MiB",
    ]


def pyroute2(scenario: Scenario, counts: dict[str, int]) -> float:
    """CPU seconds of pyroute2's high-level dump, scaled up from a part of the rows."""
    part = {name: max(2, int(count * scenario.pyroute2_scale)) for name, count in counts.items()}
    code = f"from pyroute2 import IPRoute; ip = IPRoute(); {PYROUTE2[scenario.table]}"
    empty = "from pyroute2 import IPRoute; ip = IPRoute()"
    script = "\n".join(f"{PYTHON} -m tests.bench.spent {PYTHON} -c '{text}'" for text in (code, empty))
    whole, start = (Cost.of(line).cpu for line in inside(part, script).splitlines())
    return max(0.0, whole - start) / scenario.pyroute2_scale


def commands(floor: str) -> list[list[str]]:
    """Whole commands on a small host: wall seconds, least of the runs."""
    bare = "import click\n@click.group()\ndef main(): pass\nmain()"
    rows = []
    for title, words in (
        ("python -c pass", [PYTHON, "-c", "pass"]),
        ("a bare click group --help", [PYTHON, "-c", bare, "--help"]),
        ("netdiag --help", [NETDIAG, "--help"]),
        ("netdiag check --interval 0", ["unshare", "-n", NETDIAG, "check", "--interval", "0", "--exit-zero"]),
        ("netdiag check", ["unshare", "-n", NETDIAG, "check", "--exit-zero"]),
    ):
        walls = []
        for _ in range(RUNS):
            started = time.monotonic()
            subprocess.run(words, check=False, capture_output=True)
            walls.append(time.monotonic() - started)
        rows.append([title, f"{min(walls):.3f}"])
    return rows


def ebpf(scale: float) -> list[str]:
    """CPU seconds for eBPF objects: the same lists as bpftool's, then all that the collector reads, and bpftool."""
    count = str(max(2, int(500 * scale)))
    again = f"for _ in {' '.join('x' * RUNS)}; do"
    reader = f"{PYTHON} -m tests.bench.read"
    stock = ("prog", "map", "link")
    parts = [f"{again} {reader} --lists bpf; done", f"{again} {reader} bpf; done"]
    parts += [f"{again} {timed('bpftool -j ' + kind)}; done" for kind in stock]
    command = ["unshare", "-n", PYTHON, "-m", "tests.bench.fillbpf", count, "sh", "-c", "\n".join(parts)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout.splitlines()
    lists, whole, *theirs = [least([said.pop(0) for _ in range(RUNS)]).cpu for _ in range(2 + len(stock))]
    bpftool = sum(theirs)
    ratios = [f"{own:.3f} ({own / bpftool:.2f}x)" if bpftool else f"{own:.3f}" for own in (lists, whole)]
    return [f"{count} programs, maps and links each", *ratios, f"{bpftool:.3f}"]


def lookups(scale: float) -> list[str]:
    """The index over a full table: building it, a million lookups at once, one lookup. Least of the runs each."""
    count = str(max(2, int(1_000_000 * scale)))
    command = [PYTHON, "-m", "tests.bench.fib", count]
    said = [
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout.split()
        for _ in range(RUNS)
    ]
    best = [min(float(word.partition("=")[2]) for word in words) for words in zip(*said, strict=True)]
    return [f"{int(count):,} routes", *(f"{value:.3f}" for value in best[:2]), f"{best[2]:.1f}"]


def snapshot(scale: float) -> list[str]:
    """CPU seconds for a snapshot of a host with a million routes: collecting, writing, reading back, all rules over it
    (5,000 WireGuard peers added); and all rules over an ordinary host."""
    routes, peers = max(2, int(1_000_000 * scale)), max(2, int(5000 * scale))
    said = inside({"routes4": routes}, f"{PYTHON} -m tests.bench.snapshot {peers}").split()
    cost = {name: float(value) for name, value in (word.split("=") for word in said)}
    ratio = (cost["write"] + cost["read"]) / cost["collect"] if cost["collect"] else 0
    return [
        f"{routes:,} routes, {peers:,} peers",
        f"{cost['collect']:.3f}",
        f"{cost['write']:.3f} + {cost['read']:.3f} ({ratio:.2f}x), {cost['mib']:.1f} MiB",
        f"{cost['judge']:.3f}",
        f"{cost['ordinary']:.3f}",
    ]


def sockets(floor: str, scale: float) -> list[str]:
    """CPU seconds for TCP sockets: the bare dumps, netdiag with the walk over processes and without, and ss."""
    count = str(max(2, int(50_000 * scale)))
    again = f"for _ in {' '.join('x' * RUNS)}; do"
    reader = f"{PYTHON} -m tests.bench.read"
    parts = [f"{again} {floor} 4 20 2 56 66; done", f"{again} {reader} --lists sockets; done"]
    parts += [f"{again} {reader} sockets; done", f"{again} {timed('ss -Htanime')}; done"]
    parts += [f"{again} {timed('ss -Htanimep')}; done"]
    command = ["unshare", "-n", PYTHON, "-m", "tests.bench.fillsockets", count, "sh", "-c", "\n".join(parts)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout.splitlines()
    bare, lists, whole, ss, ssp = [least([said.pop(0) for _ in range(RUNS)]).cpu for _ in range(5)]

    def beside(own: float, other: float) -> str:
        return f"{own:.3f} ({own / other:.2f}x)" if other else f"{own:.3f}"

    return [count, f"{bare:.3f}", beside(lists, bare), f"{ss:.3f}", f"{whole:.3f}", f"{ssp:.3f}"]


def namespaces(scale: float) -> list[str]:
    """Microseconds of CPU a namespace: the raw dumps, what decoding adds to them, and all that --all-netns reads."""
    count = max(2, int(1000 * scale))
    command = ["unshare", "-n", "-m", PYTHON, "-m", "tests.bench.netns", str(count)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout.split()
    raw, tables, everything = (float(word.partition("=")[2]) for word in said)
    return [f"{count:,} namespaces with a tap each", *(f"{value:.0f}" for value in (raw, tables - raw, everything))]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in lines
    )


def main() -> None:
    """Build the floor, measure everything, print the tables."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        floor = f"{folder}/floor"
        subprocess.run(["cc", "-O2", "-o", floor, str(HERE / "floor.c")], check=True)
        rows = [measure(scenario, floor, scale) for scenario in SCENARIOS]
        header = ["table", "floor s", "netdiag s", "to floor", "ip -j s", "to ip -j", "pyroute2 s", "beside python"]
        print(table(header, rows))
        print()
        header = ["eBPF", "netdiag, lists s", "with attachments, contents, holders s", "bpftool -j prog, map, link s"]
        print(table(header, [ebpf(scale)]))
        print()
        header = ["--all-netns", "raw dumps us", "five tables, over that us", "everything us"]
        print(table(header, [namespaces(scale)]))
        print()
        header = ["WireGuard", "netdiag s", "wg show all dump and a parse s", "ratio"]
        print(table(header, [daemons.wireguard(scale)]))
        print()
        header = [
            "BIRD",
            "read, wall s",
            "read, cpu s",
            "with start s",
            "2nd client waits, longest ms",
            "median",
            "alone",
        ]
        print(table(header, [daemons.bird(scale)]))
        print()
        print(table(["netdiag collect", "wall s", "largest process MiB"], [daemons.everything(scale)]))
        print()
        header = ["snapshot", "collect s", "write + read back s (to collect)", "all rules s", "rules, ordinary host s"]
        print(table(header, [snapshot(scale)]))
        print()
        print(table(["index", "build s", "1M lookups s", "one lookup us"], [lookups(scale)]))
        print()
        header = ["TCP sockets", "floor s", "netdiag s", "ss -i -m -e s", "with processes s", "ss -i -m -e -p s"]
        print(table(header, [sockets(floor, scale)]))
        print()
        print(table(["command", "wall s"], commands(floor)))
        print()
        size = max(20, int(1000 * scale))
        header = ["fleet", "load, cpu s", "wall s", "MiB", "rules between hosts, cpu s", "wall s", "MiB"]
        print(table(header, [fleet.measure(Path(folder) / "fleet", size, size - 1, 100)]))


if __name__ == "__main__":
    main()
