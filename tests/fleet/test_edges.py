"""The columns of peer entries say what the entries themselves say, from tables and from a store."""

from pathlib import Path

import pytest

from netdiag.fleet.load import fleet_of, view_of
from netdiag.fleet.store.write import load_into
from netdiag.index.fleet import FleetView
from netdiag.rules import discover
from tests.fleet.test_store import NOW, write

EXAMPLES = [(rule, one) for rule in ("wg-oneway-data", "wg-key-mismatch", "fleet-region-cut")
            for one in discover("fleet")[rule].examples()]  # fmt: skip


def said(view: FleetView) -> list[tuple[object, ...]]:
    """Every entry by its own properties."""
    return [
        (p.near.host.name, p.peer, p.far.host.name if p.far else None, p.age, p.moved, p.alive, p.dead, p.back)
        for p in view.pairs
    ]


@pytest.mark.parametrize(("rule", "one"), EXAMPLES, ids=[f"{rule}: {one.name}" for rule, one in EXAMPLES])
def test_columns_and_entries_agree(rule: str, one: object, tmp_path: Path) -> None:
    write(tmp_path / "in", one)  # type: ignore[arg-type]
    load_into([str(tmp_path / "in")], str(tmp_path / "store"), now=NOW, judge=False)
    of_tables, of_store = (view_of(fleet_of(str(tmp_path / name))) for name in ("in", "store"))
    assert of_store.columns is not None and of_tables.columns is None
    assert said(of_tables) == said(of_store)
    assert of_tables.mesh_of.keys() == of_store.mesh_of.keys()
    for view in (of_tables, of_store):
        edges, pairs = view.edges, view.pairs
        assert edges.alive.tolist() == [pair.alive for pair in pairs]
        assert edges.dead.tolist() == [pair.dead for pair in pairs]
        assert (edges.far >= 0).tolist() == [pair.far is not None for pair in pairs]
        assert (edges.back >= 0).tolist() == [pair.back is not None for pair in pairs]
        assert [pairs[at].peer for at in edges.back if at >= 0] == [
            pair.back for pair in pairs if pair.back is not None
        ]
