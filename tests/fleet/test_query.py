"""SQL sees the views that are documented, says the same of a store and of its folder, and reaches nothing else."""

from pathlib import Path

import pytest

from netdiag.fleet import query
from netdiag.fleet.store.write import load_into
from tests.bench import fillfleet

ROWS = "SELECT host, ifname, public_key, allowed_ips FROM wireguard_peers ORDER BY ALL"

ELSEWHERE = [
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_csv('http://192.0.2.1/x')",
    "SELECT * FROM parquet_scan('{store}/*/*/*/*.parquet')",
    "SELECT * FROM query('COPY hosts TO ''{store}/x''')",
    "COPY hosts TO '{store}/x'",
    "ATTACH '{store}/x.db'",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "CREATE TABLE x AS SELECT 1",
    "DROP VIEW hosts",
    "SELECT 1; SELECT 2",
    "",
    "SELEC",
    "SELECT * FROM nosuch",
    "SELECT fleet FROM hosts",
    "SELECT error('no')",
]
"""What is no SELECT over the views."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("fleet")
    fillfleet.write(top / "in", 4, 3, 2)
    load_into([str(top / "in")], str(top / "store"), now=fillfleet.NOW)
    return top


def rows(source: Path, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in query.ask(str(source), sql).rows]


def test_every_view_answers_alike(folder: Path) -> None:
    """With every documented column, whether there are rows or not; apart from what a load alone knows."""
    for view in query.described():
        answer = query.ask(str(folder / "store"), f"SELECT * FROM {view.name} LIMIT 0")
        assert answer.columns == tuple(column.name for column in (*query.COMMON, *view.columns))
        assert not list(answer.rows)
    assert len(rows(folder / "store", ROWS)) == 12
    for sql in (ROWS, "SELECT * FROM routes ORDER BY ALL", "SELECT * FROM links_history ORDER BY ALL"):
        assert rows(folder / "store", sql) == rows(folder / "in", sql) != []


def test_the_newest_and_all_nights(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    load_into([str(folder / "in")], str(store), now=fillfleet.NOW)
    fillfleet.write(tmp_path / "next", 4, 3, 2, taken_at="2026-11-26T23:00:00Z")
    load_into([str(tmp_path / "next")], str(store), now=fillfleet.NOW + 86400)
    assert rows(store, "SELECT night, count(*) FROM hosts GROUP BY ALL") == [("2026-11-26", 4)]
    nights = "SELECT night, count(*) FROM hosts_history GROUP BY ALL ORDER BY ALL"
    assert rows(store, nights) == [("2026-11-25", 4), ("2026-11-26", 4)]
    assert rows(Path(f"{store}@2026-11-25"), "SELECT DISTINCT night FROM hosts") == [("2026-11-25",)]


@pytest.mark.parametrize("sql", ELSEWHERE)
def test_nothing_else_can_be_reached(folder: Path, tmp_path: Path, sql: str) -> None:
    with pytest.raises(query.QueryRefused) as refused:
        list(query.ask(str(folder / "store"), sql.replace("{store}", str(tmp_path))).rows)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_the_documentation_is_whole() -> None:
    """Every column of every view has a sentence: the model's, or its own."""
    lines = query.documentation().splitlines()
    for view in query.described():
        start = lines.index(f"{view.name}: {view.words}")
        for column, line in zip(view.columns, lines[start + 1 :], strict=False):
            words = line.split(None, 2)
            assert words[:2] == [column.name, column.kind] and len(words) == 3, line
