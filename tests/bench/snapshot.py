"""A whole snapshot of a big host: collecting, writing, reading back, judging; and judging a recorded worker.

    python -m tests.bench.snapshot PEERS

Reads the namespace it runs in, which tests.bench.fill filled. The big host gets so many WireGuard peers besides, made
by hand: what they cost to read is measured elsewhere. Prints ``collect= write= read= mib= judge= ordinary=``: CPU
seconds (children included), MiB of the file.
"""

import gc
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from netdiag.collect import Options, collect
from netdiag.engine import judge
from netdiag.model.coverage import Coverage
from netdiag.model.link import IFF_LOWER_UP, IFF_UP, Link
from netdiag.model.snapshot import Snapshot
from netdiag.model.wireguard import Wireguard, WireguardDevice, WireguardPeer
from netdiag.rules import discover
from netdiag.snapshotfile import read_snapshot, write_snapshot
from netdiag.sources.live import LiveSource
from netdiag.sources.replay import ReplaySource
from tests.bench.daemons import peers

T = TypeVar("T")
RUNS = 3
HOSTS = Path(__file__).parents[2] / "fixtures" / "hosts"


def cpu() -> float:
    """CPU seconds of this process and of its children so far, to the microsecond: os.times() tells hundredths."""
    ways = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(way.ru_utime + way.ru_stime for way in ways)


def spent(work: Callable[[], T]) -> tuple[float, T]:
    """The least CPU seconds of several runs, and what the last one gave."""
    least = float("inf")
    for _ in range(RUNS):
        gc.collect()
        before = cpu()
        made = work()
        least = min(least, cpu() - before)
    return least, made


def with_peers(snapshot: Snapshot, count: int) -> Snapshot:
    """The same host with a WireGuard device of so many peers, all of them heard a minute ago."""
    at = 1_700_000_000.0
    rows = tuple(
        WireguardPeer(
            public_key=peer.public_key,
            endpoint=peer.endpoint.rpartition(":")[0] if peer.endpoint else None,
            endpoint_port=int(peer.endpoint.rpartition(":")[2]) if peer.endpoint else None,
            allowed_ips=tuple(peer.allowed_ips),
            latest_handshake=at - 60,
        )
        for peer in peers(count)
    )
    link = Link(ifindex=99_999, ifname="wg0", kind="wireguard", mtu=1420, flags=IFF_UP | IFF_LOWER_UP)
    device = WireguardDevice(ifname="wg0", ifindex=link.ifindex, listen_port=51820, peers=rows)
    tables = replace(
        snapshot.tables, links=(*snapshot.tables.links, link), wireguard=Wireguard(devices=(device,), at=at)
    )
    coverage = tuple(
        row if row.collector != "wireguard" else Coverage(collector="wireguard", status="ok", rows=count)
        for row in snapshot.coverage
    )
    return replace(snapshot, tables=tables, coverage=coverage)


def main(count: int) -> None:
    """Collect, write, read, judge, tell."""
    discover()
    collecting, snapshot = spent(lambda: collect(LiveSource(), Options(interval=0)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.netdiag"
        writing, _ = spent(lambda: write_snapshot(snapshot, str(path)))
        reading, back = spent(lambda: read_snapshot(str(path)))
        size = path.stat().st_size / (1 << 20)
    judging, _ = spent(lambda: judge(with_peers(back, count)))
    making, _ = spent(lambda: with_peers(back, count))
    usual = collect(ReplaySource(HOSTS / "ams-worker2" / "recording"), Options())
    ordinary, _ = spent(lambda: judge(usual))
    print(
        f"collect={collecting:.3f} write={writing:.3f} read={reading:.3f} mib={size:.1f} judge={judging - making:.3f} "
        f"ordinary={ordinary:.3f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
