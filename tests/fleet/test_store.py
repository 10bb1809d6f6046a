"""A store and the folder that it was loaded from are the same fleet; what is odd costs itself and is told."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import msgspec
import pytest

from netdiag.collect import Options, collect, collectors
from netdiag.fleet.judge import across_hosts, complete, judge_fleet
from netdiag.fleet.load import FleetRefused, fleet_of
from netdiag.fleet.store.place import StoreRefused, place
from netdiag.fleet.store.write import load_into
from netdiag.index.fleet import FleetView
from netdiag.model.coverage import Coverage
from netdiag.model.fleetreport import FleetReport
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.rules import discover
from netdiag.rules.shape import FleetExample
from netdiag.snapshotfile import snapshot_octets
from netdiag.sources.replay import ReplaySource
from tests.recordings.test_recordings import FOLDER
from tests.rules.test_fleet_examples import symptoms_of

NOW = 1_795_651_200.0
"""2026-11-26T00:00:00Z"""
TAKEN = "2026-11-25T23:00:00Z"


def snapshot(name: str, tables: Tables | None = None, **meta: object) -> Snapshot:
    fields = {"netdiag": "0.1.0", "name": name, "kernel": "6.8.0", "netns": "1", "taken_at": TAKEN} | meta
    coverage = tuple(Coverage(collector=each, status="ok") for each in collectors())
    return Snapshot(meta=Meta(**fields), tables=tables or Tables(), coverage=coverage)  # type: ignore[arg-type]


def put(folder: Path, path: str, what: Snapshot | bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(what if isinstance(what, bytes) else snapshot_octets(what))


def example(rule: str) -> FleetExample:
    """The first example of a rule that fires."""
    return next(one for one in discover("fleet")[rule].examples() if one.fires)


def write(folder: Path, one: FleetExample) -> None:
    for host, tables in one.earlier.items():
        put(folder, f"{host}.before.netdiag", snapshot(host, tables, taken_at="2026-11-25T22:00:00Z"))
    for host, looks in one.older.items():
        for hour, tables in enumerate(looks):
            taken_at = f"2026-11-25T2{hour}:00:00Z"
            put(folder, f"{host}.{hour}.netdiag", snapshot(host, tables, taken_at=taken_at))
    for host, tables in one.hosts.items():
        put(folder, f"{host}.netdiag", snapshot(host, tables))


@pytest.fixture
def url() -> Iterator[str]:
    """A store in memory."""
    where = f"memory://store{next(NUMBERS)}"
    yield where
    fsspec.filesystem("memory").rm(where, recursive=True)


NUMBERS = itertools.count()


def report(source: str) -> FleetReport:
    return judge_fleet(fleet_of(source))


@pytest.mark.parametrize("rule", sorted(discover("fleet")))
def test_between_hosts_a_store_says_what_its_folder_says(rule: str, tmp_path: Path, url: str) -> None:
    one = example(rule)
    write(tmp_path, one)
    load_into([str(tmp_path)], url, now=NOW, judge=False)
    modules, symptoms = {rule: discover("fleet")[rule]}, symptoms_of(one)
    of_folder, of_store = (
        across_hosts(FleetView(hosts=fleet_of(source).hosts, symptoms=symptoms), modules)
        for source in (str(tmp_path), url)
    )
    assert of_folder[0] and of_folder == of_store


@pytest.mark.parametrize("rule", ["fleet-host-cut", "wg-mesh-duplicate-ip"])
def test_a_store_says_what_its_folder_says(rule: str, tmp_path: Path, url: str) -> None:
    write(tmp_path, example(rule))
    of_folder = report(str(tmp_path))
    assert any(finding.rule == rule for finding in of_folder.findings)
    for judge in (False, True):
        load_into([str(tmp_path)], f"{url}/{judge}", now=NOW, judge=judge)
        assert report(f"{url}/{judge}") == of_folder


def test_every_table_comes_back(tmp_path: Path) -> None:
    """With a real host's recording, whose tables are as full as they get."""
    real = collect(ReplaySource(FOLDER / "fra-edge1" / "recording"), Options(all_netns=True))
    put(tmp_path / "in", "fra-edge1.netdiag", real)
    load_into([str(tmp_path / "in")], f"file://{tmp_path}/store", now=NOW)
    (host,) = fleet_of(str(tmp_path / "store")).hosts
    assert snapshot_octets(complete(host.snapshot)) == snapshot_octets(real)


def test_what_a_load_did_not_finish_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", "fra-a.netdiag", snapshot("fra-a"))
    put(tmp_path / "more", "fra-b.netdiag", snapshot("fra-b"))
    store = str(tmp_path / "store")
    load_into([str(tmp_path / "in")], store, now=NOW)
    puts = type(place(store)).put

    def killed(self: object, octets: bytes, *words: str) -> None:
        if words[0] == "loads":
            raise KeyboardInterrupt
        puts(self, octets, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(type(place(store)), "put", killed)
    with pytest.raises(KeyboardInterrupt):
        load_into([str(tmp_path / "more")], store, now=NOW)
    monkeypatch.undo()
    assert [host.name for host in fleet_of(store).hosts] == ["fra-a"]
    assert not list(Path(store).rglob("*.tmp"))
    load_into([str(tmp_path / "more")], store, now=NOW)
    assert [host.name for host in fleet_of(store).hosts] == ["fra-a", "fra-b"]


def test_a_hostile_file_costs_itself(tmp_path: Path, url: str) -> None:
    good = snapshot_octets(snapshot("fra-b"))
    put(tmp_path, "fra-a.netdiag", snapshot("fra-a"))
    put(tmp_path, "cut.netdiag", good[: len(good) // 2])
    put(tmp_path, "empty.netdiag", b"")
    put(tmp_path, "text.netdiag", b"PK\x05\x06 no zip")
    # its first bytes are in order, and what follows is not
    put(tmp_path, "late.netdiag", good.replace(b"tables/routes/dst.npy", b"tables/routes/xxx.npy"))
    loaded = load_into([str(tmp_path)], url, now=NOW)
    assert loaded.snapshots == 1
    names = ["cut.netdiag", "empty.netdiag", "late.netdiag", "text.netdiag"]
    assert sorted(row.name for row in loaded.refused) == names
    assert all(row.reason for row in loaded.refused)
    found = report(url)
    assert [host.name for host in found.hosts] == ["fra-a"]
    assert sorted(row.name for row in found.unreached) == names
    assert sorted(found.unreached, key=lambda row: row.name) == list(report(str(tmp_path)).unreached)


def test_names_of_hosts_and_regions_stay_inside_the_store(tmp_path: Path) -> None:
    for number, name in enumerate(("../../x", "..", "a/b-edge1", "fra\x1b-\u202e", "-", "a" * 4000)):
        labels = {"region": "../../../" + name}
        put(tmp_path / "in", f"{number}.netdiag", snapshot(name, labels=labels, taken_at=f"../{number}"))
    load_into([str(tmp_path / "in")], str(tmp_path / "out" / "store"), now=NOW)
    assert len(fleet_of(str(tmp_path / "out" / "store")).hosts) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"store"}


def test_nights_and_series(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for number, (night, hosts) in enumerate((("24", "ab"), ("25", "bc"))):
        folder = tmp_path / night
        for letter in hosts:
            put(folder, f"fra-{letter}.netdiag", snapshot(f"fra-{letter}", taken_at=f"2026-11-{night}T23:00:00Z"))
        load_into([str(folder)], store, now=NOW - 86400 + 86400 * number)
    state = fleet_of(store)
    assert [(host.name, host.previous is not None) for host in state.hosts] == [
        ("fra-a", False),
        ("fra-b", True),
        ("fra-c", False),
    ]
    first, last = fleet_of(f"{store}@2026-11-24"), fleet_of(f"{store}@2026-11-25")
    assert [host.name for host in first.hosts] == ["fra-a", "fra-b"]
    assert [host.name for host in last.hosts] == ["fra-b", "fra-c"]
    assert [row.name for row in last.unreached] == ["fra-a"]
    put(tmp_path / "later", "fra-b.netdiag", snapshot("fra-b", taken_at="2026-12-20T23:00:00Z"))
    load_into([str(tmp_path / "later")], store, now=NOW + 25 * 86400)
    assert [host.name for host in fleet_of(store).hosts] == ["fra-b"], "nobody has heard of the others for weeks"
    with pytest.raises(FleetRefused, match="2026-11-24, 2026-11-25, 2026-12-20"):
        fleet_of(f"{store}@2026-11-01")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(FleetRefused, match="holds no"):
        fleet_of(str(tmp_path / "letters"))
    put(tmp_path / "in", "fra-a.netdiag", snapshot("fra-a"))
    with pytest.raises(StoreRefused, match="not empty"):
        load_into([str(tmp_path / "in")], str(tmp_path / "letters"), now=NOW)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "netdiag-store.json").write_text(json.dumps({"schema": "netdiag.store/2"}))
    with pytest.raises(FleetRefused, match="newer netdiag"):
        fleet_of(str(newer))
    with pytest.raises(FleetRefused):
        fleet_of("nosuch://thing")


def test_a_damaged_part_is_one_line(tmp_path: Path) -> None:
    put(tmp_path / "in", "fra-a.netdiag", snapshot("fra-a"))
    store = tmp_path / "store"
    load_into([str(tmp_path / "in")], str(store), now=NOW)
    (part,) = (store / "snapshots").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(FleetRefused, match="parquet"):
        fleet_of(str(store))
    load = min((store / "loads").iterdir())
    said = json.loads(load.read_bytes())
    said["parts"][0]["path"] = "../../etc/passwd"
    load.write_bytes(msgspec.json.encode(said))
    with pytest.raises(FleetRefused, match="outside the store"):
        fleet_of(str(store))
