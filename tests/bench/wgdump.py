"""``wg show all dump`` and a parse of it, and what that cost: the yardstick for reading WireGuard.

    python -m tests.bench.wgdump

Prints ``user= system= wall= rss_kib= rows=`` like floor.c: the costs of wg(8) and of the parse, without the start of
the interpreter.
"""

import resource
import subprocess
import time


def main() -> None:
    """Ask, parse, tell."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    text = subprocess.run(["wg", "show", "all", "dump"], check=True, capture_output=True, text=True).stdout
    peers = []
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) == 9:
            ifname, key, psk, endpoint, allowed, handshake, rx, tx, keepalive = words
            prefixes = () if allowed == "(none)" else tuple(allowed.split(","))
            every = 0 if keepalive == "off" else int(keepalive)
            counts = int(handshake), int(rx), int(tx), every
            peers.append((ifname, key, psk != "(none)", endpoint, prefixes, *counts))
    wall = time.monotonic() - started
    own = resource.getrusage(resource.RUSAGE_SELF)
    wg = resource.getrusage(resource.RUSAGE_CHILDREN)
    user = own.ru_utime - before.ru_utime + wg.ru_utime
    system = own.ru_stime - before.ru_stime + wg.ru_stime
    print(f"user={user:.3f} system={system:.3f} wall={wall:.3f} rss_kib={own.ru_maxrss} rows={len(peers)}")


if __name__ == "__main__":
    main()
