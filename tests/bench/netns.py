"""Namespaces with a tap each: what one costs, in microseconds of CPU, for the five small tables.

    python -m tests.bench.netns COUNT     in a namespace and mount namespace of its own: unshare -n -m

Raw is setns, a socket and the dumps, received and dropped; then the same with every table decoded; then all that
``--all-netns`` reads (settings and counters too). Prints ``raw= tables= all=``.
"""

import subprocess
import sys
import time
from collections.abc import Callable

from netdiag.collectors import Options, all_netns
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink.spaces import decoded
from netdiag.sources.netnssweep import sweep

TABLES = ("links", "addresses", "routes", "routes6", "rules", "neighbours")
"""Links, addresses, routes of both families, rules, neighbours."""
RUNS = 3


def fill(count: int) -> None:
    """Make the namespaces."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "-b", "-"], input="".join(f"netns add n{n}\n" for n in range(count)), text=True, check=True)
    inside = (
        "tuntap add tap0 mode tap\nlink set tap0 up\naddress add 10.0.0.1/30 dev tap0\nroute add 10.1.0.5 dev tap0\n"
    )
    for number in range(count):
        subprocess.run(["ip", "-n", f"n{number}", "-b", "-"], input=inside, text=True, check=True)


def least(work: Callable[[], object], runs: int = RUNS) -> float:
    """CPU seconds of the cheapest run."""
    spent = []
    for _ in range(runs):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


def main(count: int) -> None:
    """Fill, measure, tell."""
    fill(count)
    source = LiveSource()
    rows = [row for row in all_netns.reachable(source) if row.path is not None and row.names]
    lines = [f"{row.inode} {row.path}" for row in rows]
    missing = ("rules6", "proxies", "nexthops")

    def tables() -> None:
        decoded(sweep(lines, (*TABLES, *missing), None))

    raw = least(lambda: sweep(lines, (*TABLES, *missing), None))
    whole = least(tables)
    everything = least(lambda: all_netns.collect(source, Options(interval=0)), 1)
    costs = {"raw": raw, "tables": whole, "all": everything}
    print(*(f"{name}={spent / len(rows) * 1e6:.0f}" for name, spent in costs.items()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
