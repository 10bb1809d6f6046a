"""``wg show all dump`` and a parse of it into netdiag's rows, and what that cost: the yardstick for WireGuard.

    python -m tests.bench.wgdump

Prints ``user= system= wall= rss_kib= rows=`` like floor.c: the costs of wg(8) and of the parse, without the start of
the interpreter.
"""

import resource
import subprocess
import time

from netdiag.model.wireguard import WireguardPeer


def main() -> None:
    """Ask, parse, tell."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    text = subprocess.run(["wg", "show", "all", "dump"], check=True, capture_output=True, text=True).stdout
    peers = []
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) == 9:
            _, key, psk, endpoint, allowed, handshake, rx, tx, keepalive = words
            address, _, port = endpoint.rpartition(":")
            peers.append(
                WireguardPeer(
                    public_key=key,
                    preshared_key=psk != "(none)",
                    endpoint=address.strip("[]") or None,
                    endpoint_port=int(port) if address else None,
                    persistent_keepalive=0 if keepalive == "off" else int(keepalive),
                    latest_handshake=float(handshake) or None,
                    rx_bytes=int(rx),
                    tx_bytes=int(tx),
                    allowed_ips=() if allowed == "(none)" else tuple(allowed.split(",")),
                )
            )
    wall = time.monotonic() - started
    own = resource.getrusage(resource.RUSAGE_SELF)
    wg = resource.getrusage(resource.RUSAGE_CHILDREN)
    user = own.ru_utime - before.ru_utime + wg.ru_utime
    system = own.ru_stime - before.ru_stime + wg.ru_stime
    print(f"user={user:.3f} system={system:.3f} wall={wall:.3f} rss_kib={own.ru_maxrss} rows={len(peers)}")


if __name__ == "__main__":
    main()
