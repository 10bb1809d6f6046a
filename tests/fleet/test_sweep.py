"""A sweep of 1,000 hosts that are played: in time, nobody lost, nobody repeated, nothing half-written."""

import asyncio
import io
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from netdiag.fleet.inventory import Target
from netdiag.fleet.load import fleet_of
from netdiag.fleet.sweep import ledger as ledgers
from netdiag.fleet.sweep.accept import Accepted, accept, file_name, same_host
from netdiag.fleet.sweep.ledger import Ledger
from netdiag.fleet.sweep.run import Limits, Sweep
from netdiag.fleet.sweep.transport import Refused, Sink, Unreached
from netdiag.model.snapshot import Snapshot, Tables
from netdiag.model.sweep import Plan
from netdiag.snapshotfile import read_snapshot, snapshot_octets
from tests.snapshotfile.hosts import META

pytestmark = pytest.mark.timed

STARTED = "2026-11-26T02:00:00Z"
NOW = datetime(2026, 11, 26, 2, 0, 3, tzinfo=UTC)
DEADLINE = 0.5
HOSTILE = ("endless", "drip", "changed-key", "wrong-identity", "garbage", "stubborn", "bug")
REFUSED = ("endless", "changed-key", "wrong-identity", "garbage")


def kept(target: Target, content: IO[bytes], folder: str, now: datetime) -> Accepted:
    """Accepts as the real thing does, but nine milliseconds of a processor cheaper, which count a thousand times."""
    content.seek(0)
    came = content.read()
    if not came.startswith(b"I am "):
        raise Refused("not a readable snapshot")
    if not same_host(target.name, claimed := came.decode()[5:]):
        raise Refused(f"wrong identity: the snapshot is of {claimed}")
    (Path(folder) / file_name(target.name)).write_bytes(came)
    return Accepted(file_name(target.name), None, None)


def of(name: str, taken_at: str = STARTED) -> bytes:
    """A small snapshot."""
    meta = msgspec.structs.replace(META, name=name, taken_at=taken_at, labels={"region": "own", "rack": "7"})
    return snapshot_octets(Snapshot(meta=meta, tables=Tables(), coverage=()))


class Played:
    """Hosts by what they do; ``asked`` counts who was asked how often."""

    def __init__(self, behaviour: dict[str, str]) -> None:
        self.behaviour = behaviour
        self.asked: Counter[str] = Counter()
        self.running = self.most = 0
        self.stop_after: int | None = None
        self.snapshot: Callable[[str], bytes] = of

    async def fetch(self, target: Target, sink: Sink) -> None:
        self.asked[target.name] += 1
        if self.stop_after is not None and self.asked.total() > self.stop_after:
            await asyncio.Event().wait()
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.behave(self.behaviour[target.name], target, sink)
        finally:
            self.running -= 1

    async def behave(self, behaviour: str, target: Target, sink: Sink) -> None:
        never = asyncio.Event()
        if behaviour == "refusing":
            raise Unreached("connection refused")
        if behaviour == "dead":
            await never.wait()
        if behaviour == "changed-key":
            raise Refused("the host key is not the one known for it")
        if behaviour == "bug":
            raise KeyError("b'\\x00'")
        if behaviour == "garbage":
            sink.write(b"Welcome to fra-edge1!\n" * 5)
        while behaviour == "endless":
            sink.write(b"\0" * 65536)
            await asyncio.sleep(0)
        while behaviour == "drip":
            sink.write(b"P")
            await asyncio.wait([asyncio.ensure_future(never.wait())], timeout=0.1)
        if behaviour == "stubborn":
            try:
                await never.wait()
            except asyncio.CancelledError:
                await asyncio.wait([asyncio.ensure_future(never.wait())], timeout=0.3)
        if behaviour in ("healthy", "wrong-identity"):
            whole = self.snapshot(target.name if behaviour == "healthy" else "somebody-else")
            sink.write(whole[:10])
            await asyncio.sleep(0)
            sink.write(whole[10:])


def begun(top: Path, names: list[str], started: str = STARTED) -> Ledger:
    targets = tuple(Target(name=name, address=name, labels={"region": "fra"}) for name in names)
    return ledgers.begin(str(top), Plan(netdiag="0", started=started, inventory="file:x", targets=targets))


def swept(ledger: Ledger, played: Played, keep: Any = accept) -> float:
    """Seconds that it took."""
    how = Limits(concurrency=100, deadline=DEADLINE, octets=200_000)
    began = time.monotonic()
    asyncio.run(Sweep(ledger, played, how, now=lambda: NOW, keep=keep).run())
    return time.monotonic() - began


def test_a_thousand_hosts_of_which_350_do_harm(tmp_path: Path) -> None:
    names = [f"fra-worker{number}" for number in range(1000)]
    kinds = ["dead", "refusing"] * 150 + list(HOSTILE) * 7 + [HOSTILE[0]]
    behaviour = dict(zip(names[::-1], [*kinds, *["healthy"] * 1000], strict=False))
    played, ledger = Played(behaviour), begun(tmp_path, names)
    played.snapshot = lambda name: f"I am {name}".encode()
    took = swept(ledger, played, kept)
    assert took <= -(-1000 // 100) * DEADLINE
    assert set(played.asked.values()) == {1} and len(played.asked) == 1000 and played.most <= 100 + 7  # stubborn ones

    expected = {name: "collected" if kind == "healthy" else "refused" if kind in REFUSED else "unreached"
                for name, kind in behaviour.items()}  # fmt: skip
    assert {name: outcome.status for name, outcome in ledger.outcomes.items()} == expected
    files = {path.name for path in ledger.folder.iterdir()}
    assert files == {ledgers.NAME} | {f"{name}.netdiag" for name, kind in behaviour.items() if kind == "healthy"}
    assert ledgers.read(ledger.folder) == ledger and ledger.finished is not None

    reasons = {behaviour[name]: reason for name, reason in ledgers.missing([ledger], {}).items()}
    assert set(ledgers.missing([ledger], {})) == {name for name, kind in behaviour.items() if kind != "healthy"}
    assert reasons["drip"].startswith(f"unreached: no whole snapshot within {DEADLINE} s; ")
    assert reasons["endless"] == "refused: sent more than 200000 bytes; the rest was not read"
    assert reasons["wrong-identity"] == "refused: wrong identity: the snapshot is of somebody-else"
    assert reasons["bug"].startswith("unreached: the connection broke: KeyError")


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    names = [f"fra-worker{number:02}" for number in range(10)]
    played, ledger = Played(dict.fromkeys(names, "healthy")), begun(tmp_path, names)
    played.stop_after = 5

    async def killed() -> None:
        sweep = asyncio.create_task(Sweep(ledger, played, Limits(concurrency=4, deadline=30), now=lambda: NOW).run())
        while played.asked.total() < 9:
            await asyncio.sleep(0.01)
        sweep.cancel()
        await asyncio.wait([sweep])

    asyncio.run(killed())
    path = ledger.folder / ledgers.NAME
    *whole, last = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*whole, last[: len(last) // 2]]))  # the kill came in the middle of a write
    (ledger.folder / ".fra-worker09.netdiag.0123456789ab.tmp").write_bytes(b"PK")  # and in the middle of another

    again = ledgers.unfinished(str(tmp_path))
    assert again is not None and len(again.waiting) == 6
    first, played = played, Played(dict.fromkeys(names, "healthy"))
    swept(again, played)
    assert {outcome.status for outcome in again.outcomes.values()} == {"collected"} and len(again.outcomes) == 10
    # The host whose line was cut short has its file already, and is not asked again.
    assert len(played.asked) == 5 and len(set(first.asked) - set(played.asked)) == 5
    assert ledgers.unfinished(str(tmp_path)) is None
    assert len(list(ledger.folder.glob("*.netdiag"))) == 10 and not list(ledger.folder.glob(".*"))


def test_a_host_is_who_was_reached(tmp_path: Path) -> None:
    assert same_host("fra-edge1", "FRA-EDGE1.example.net") and same_host("fra-edge1.example.net.", "fra-edge1")
    assert not same_host("fra-edge1", "fra-edge10") and not same_host("fra-edge1", "") and not same_host("a.b", "a.c")

    class Honest(Played):
        async def behave(self, behaviour: str, target: Target, sink: Sink) -> None:
            sink.write(of(behaviour, "2026-11-26T01:00:03Z"))

    ledger = begun(tmp_path, ["fra-edge1", "192.0.2.1"])
    swept(ledger, Honest({"fra-edge1": "fra-edge1.example.net", "192.0.2.1": "whoever"}))
    outcome = ledger.outcomes["fra-edge1"]
    assert (outcome.status, outcome.claimed, outcome.skew) == ("collected", "fra-edge1.example.net", -3600.0)
    meta = read_snapshot(str(ledger.folder / "fra-edge1.netdiag")).meta
    assert (meta.name, meta.labels) == ("fra-edge1", {"region": "fra", "rack": "7"})
    meta = read_snapshot(str(ledger.folder / "192.0.2.1.netdiag")).meta
    assert meta.name == "192.0.2.1" and meta.labels["hostname"] == "whoever"


def test_who_was_not_reached_tonight_does_not_stand_there_with_last_night_s_state(tmp_path: Path) -> None:
    names = ["fra-a", "fra-b", "fra-c"]
    swept(begun(tmp_path, names, "2026-11-25T02:00:00Z"), Played(dict.fromkeys(names, "healthy")))
    tonight = begun(tmp_path, ["fra-a", "fra-b"], "2026-11-26T03:00:00Z")
    swept(tonight, Played({"fra-a": "healthy", "fra-b": "refusing"}))
    (tmp_path / "fra-a.netdiag").write_bytes(of("fra-a", "2026-11-26T03:00:05Z"))
    fleet = fleet_of(str(tmp_path))
    assert [host.name for host in fleet.hosts] == ["fra-a", "fra-c"]  # the night before was the last that wanted fra-c
    (row,) = fleet.unreached
    assert row.name == "fra-b"
    assert row.reason == "unreached: connection refused; its newest snapshot is of 2026-11-26T02:00:00Z"
    # A host that uploads by itself makes up for a sweep that did not reach it.
    (tmp_path / "fra-b.netdiag").write_bytes(of("fra-b", "2026-11-26T03:00:09Z"))
    assert [host.name for host in fleet_of(str(tmp_path)).hosts] == names and fleet_of(str(tmp_path)).unreached == ()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema":"netdiag.sweep/2"}', b"\xff", b"[" * 100_000])
def test_a_ledger_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ledgers.NAME).write_bytes(content)
    with pytest.raises(ledgers.LedgerRefused):
        ledgers.read(tmp_path)
    assert ledgers.ledgers([str(tmp_path)]) == []


def test_a_sink_takes_so_much() -> None:
    sink = Sink(io.BytesIO(), 10)
    sink.write(b"0123456789")
    with pytest.raises(Refused):
        sink.write(b"x")
