"""Run a command and print its CPU time, wall time and peak memory in the words of floor.c; its output goes nowhere.

python -m tests.bench.spent COMMAND...
"""

import resource
import subprocess
import sys
import time


def main(command: list[str]) -> None:
    """Run, wait, tell."""
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - started
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"user={spent.ru_utime:.3f} system={spent.ru_stime:.3f} wall={wall:.3f} rss_kib={spent.ru_maxrss}")


if __name__ == "__main__":
    main(sys.argv[1:])
