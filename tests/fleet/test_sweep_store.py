"""A sweep that is loaded into a store: who was not reached is told there as well, and is not there with old state."""

from pathlib import Path

from netdiag.fleet.load import fleet_of
from netdiag.fleet.store.write import load_into
from tests.fleet.test_sweep import Played, begun, of, swept


def test_two_nights(tmp_path: Path) -> None:
    names = ["fra-a", "fra-b"]
    nights = [("2026-11-25T02:00:00Z", "healthy", 1795572600.0), ("2026-11-26T02:00:00Z", "refusing", 1795659000.0)]
    store = str(tmp_path / "store")
    for started, behaviour, now in nights:
        ledger = begun(tmp_path / "sweeps", names, started)
        played = Played({"fra-a": "healthy", "fra-b": behaviour})
        played.snapshot = lambda name, at=started: of(name, at)  # type: ignore[misc]
        swept(ledger, played)
        load_into([str(ledger.folder)], store, now=now)
        fleet = fleet_of(store)
        expected = names if behaviour == "healthy" else ["fra-a"]
        assert [host.name for host in fleet.hosts] == expected
    assert [(row.name, row.reason) for row in fleet.unreached] == [("fra-b", "unreached: connection refused")]
    night = fleet_of(f"{store}@2026-11-24")  # a night is called by its evening
    assert [host.name for host in night.hosts] == names and night.unreached == ()

    ledger = begun(tmp_path / "sweeps", names, "2026-11-27T02:00:00Z")
    swept(ledger, Played(dict.fromkeys(names, "refusing")))
    load_into([str(ledger.folder)], store, now=1795745400.0)
    fleet = fleet_of(store)
    assert not fleet.hosts and [row.name for row in fleet.unreached] == names
