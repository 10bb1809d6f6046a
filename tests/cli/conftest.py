"""A netdiag that reads a host made by hand, so that the command line is tested and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from netdiag.cli.main import run
from netdiag.index.view import COLLECTOR_OF, TOLD
from netdiag.model.coverage import REQUIRED, Coverage
from netdiag.model.finding import Report, Verdict
from netdiag.model.snapshot import Snapshot
from netdiag.snapshotfile import write_snapshot
from tests.render.reports import broken
from tests.snapshotfile.hosts import META, small_snapshot


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    status: int
    out: str
    err: str


Netdiag = Callable[..., Ran]


@pytest.fixture
def netdiag(capfd: pytest.CaptureFixture[str]) -> Netdiag:
    """Run the command line in this process."""

    def call(*arguments: str) -> Ran:
        capfd.readouterr()
        status = run(list(arguments))
        out, err = capfd.readouterr()
        return Ran(status, out, err)

    return call


def whole(snapshot: Snapshot) -> Snapshot:
    """The same with every required collector answering, and one denied."""
    rows = [Coverage(collector=name, status="ok", rows=3) for name in (*REQUIRED, "neighbours")]
    denied = Coverage(collector="wireguard", status="denied", detail="needs CAP_NET_ADMIN")
    return Snapshot(meta=META, tables=snapshot.tables, coverage=(*rows, denied))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """This host is ``small_snapshot``; the list gets the options of every collection."""
    asked: list[object] = []

    def collect(source: object, options: object, meanwhile: object = None) -> Snapshot:
        asked.append(options)
        meta = msgspec.structs.replace(META, name=getattr(options, "hostname", None) or META.name)
        return Snapshot(meta=meta, tables=small_snapshot().tables, coverage=whole(small_snapshot()).coverage)

    monkeypatch.setattr("netdiag.collect.collect", collect)
    return asked


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verdict], None]:
    """Make the rules judge as told."""

    def judged(wanted: Verdict) -> None:
        def judge(snapshot: Snapshot, **_: object) -> Report:
            found = broken()
            host = msgspec.structs.replace(found.host, name=snapshot.meta.name)
            return msgspec.structs.replace(found, verdict=wanted, host=host)

        monkeypatch.setattr("netdiag.engine.judge", judge)

    return judged


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A snapshot in a file."""
    path = str(tmp_path / "edge1.netdiag")
    write_snapshot(whole(small_snapshot()), path)
    return path


@pytest.fixture
def complete(tmp_path: Path) -> str:
    """A snapshot of which everything was read."""
    path = str(tmp_path / "complete.netdiag")
    rows = tuple(Coverage(collector=name, status="ok") for name in sorted(set(COLLECTOR_OF.values()) - set(TOLD)))
    write_snapshot(replace(whole(small_snapshot()), coverage=rows), path)
    return path
