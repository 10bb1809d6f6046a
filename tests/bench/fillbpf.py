"""Make eBPF programs, maps and tcx links, and hold them while a command runs: for measuring.

    unshare -n python -m tests.bench.fillbpf COUNT COMMAND...

COUNT programs with a map each, attached by links to both sides of both ends of ten veth pairs (a hook takes 64,
BPF_MPROG_MAX). They go with this process. Nothing is sent through them but what the kernel itself sends on fresh
interfaces.
"""

import resource
import socket
import subprocess
import sys

from tests.bench.fill import Filler
from tests.lab import bpfobjects as bpf

PAIRS = 10


def main(arguments: list[str]) -> int:
    """Make, run, let go; the command's exit status."""
    count = int(arguments[0])
    most = max(4 * count, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    filler = Filler()
    for number in range(PAIRS):
        filler.veth_pair(f"b{number}", f"c{number}")
    indexes = [number for number, name in socket.if_nameindex() if name[0] in "bc"]
    held = []
    for number in range(count):
        one = bpf.map_(bpf.HASH, f"map{number}".encode(), value=8, entries=64)
        for key in range(8):
            bpf.update(one, key.to_bytes(4, "little"), bytes(8))
        program = bpf.program(bpf.SCHED_CLS, f"prog{number}".encode(), verdict=-1, maps=[one])
        attach_type = 46 + number // len(indexes) % 2
        held += [one, program, bpf.link(program, indexes[number % len(indexes)], attach_type)]
    return subprocess.run(arguments[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
