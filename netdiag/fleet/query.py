"""SQL over a fleet: DuckDB inside this process, over the views of a store or of a folder, and nothing else.

The engine may not touch a file, the network or an extension, and one SELECT is all that it is given: what a query can
reach is what ``documentation`` lists. ``links`` is the newest snapshot of each host, ``links_history`` is every night.
Raises QueryRefused for SQL that is none or asks for more, FleetRefused and StoreRefused as reading does.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdiag.fleet import history
from netdiag.fleet.load import Fleet, fleet_of
from netdiag.fleet.night import night_of
from netdiag.fleet.store.columns import Column, arrow_type
from netdiag.fleet.store.read import StoredFleet, open_parquet
from netdiag.fleet.store.views import COMMON, FINDINGS, SNAPSHOTS, VIEWS

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "_history"
MEMORY = "2GB"
"""What the engine may use; a query that needs more is refused by it."""
BATCH = 1000
CONFIG = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "memory_limit": MEMORY,
    "temp_directory": "",
}


class QueryRefused(Exception):
    """SQL that cannot be run; one line."""


@dataclass(frozen=True)
class Described:
    """A view as its documentation says it."""

    name: str
    words: str
    columns: tuple[Column, ...]
    structs: tuple[type[Any], ...] = ()


def described() -> tuple[Described, ...]:
    """Every view that a query can name, without the twins that hold all nights."""
    own = [Described(view.name, view.words, view.columns, view.structs) for view in VIEWS]
    hosts = Described("hosts", "The newest snapshot of a host.", SNAPSHOTS)
    found = Described(
        "findings", "What the rules said of a host by itself when it was loaded, before causes are sought.", FINDINGS
    )
    return (hosts, *own, found)


@dataclass(frozen=True)
class Answer:
    """The result of a query."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def ask(source: str, sql: str) -> Answer:
    """Run one SELECT over a store, a store's night or a folder."""
    import duckdb

    fleet = fleet_of(source)
    connection = duckdb.connect(":memory:", config=dict(CONFIG))
    try:
        statements = connection.extract_statements(sql)
        kinds = {str(statement.type).rpartition(".")[2] for statement in statements}
        if len(statements) != 1 or not kinds <= {"SELECT", "EXPLAIN"}:
            raise QueryRefused("one SELECT is asked for, and nothing else")
        _register(connection, fleet, sql.lower())
        cursor = connection.execute(statements[0])
        names = tuple(str(column[0]) for column in cursor.description or ())
        first = cursor.fetchmany(BATCH)
    except (duckdb.Error, RuntimeError) as error:
        raise QueryRefused(_said(error)) from error
    return Answer(columns=names, rows=_rows(cursor, first))


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and set(line.strip()) != {"^"}]
    return " ".join(" ".join(lines).split())[:400] or type(error).__name__


def _rows(cursor: Any, first: list[tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
    import duckdb

    batch = first
    try:
        while batch:
            yield from batch
            batch = cursor.fetchmany(BATCH)
    except (duckdb.Error, RuntimeError) as error:
        raise QueryRefused(_said(error)) from error


def _register(connection: Any, fleet: Fleet, sql: str) -> None:
    """Make the views that the query names: rows of all nights, and those of the newest snapshot of each host."""
    import pyarrow as pa

    state = [(host.name, host.snapshot.meta.taken_at) for host in fleet.hosts]
    newest = pa.table(
        {
            "host": pa.array([name for name, _ in state], pa.string()),
            "taken_at": pa.array([taken for _, taken in state], pa.string()),
        }
    )
    connection.register("newest_of_each", newest)
    made = None if fleet.stored is not None else _made(fleet)
    if history.VIEW in sql:
        connection.register(history.VIEW, _kept(fleet))
    for view in described():
        if view.name not in sql:
            continue
        where = "snapshots" if view.name == "hosts" else view.name
        names = ", ".join(f'"{column.name}"' for column in (*COMMON, *view.columns))
        schema = pa.schema([(column.name, arrow_type(column.kind)) for column in (*COMMON, *view.columns)])
        if made is None:
            everything = dataset_of(fleet.stored, where, schema)
        else:
            tables = [table.select(schema.names) for table in made.get(where, ())]
            everything = pa.concat_tables(tables) if tables else schema.empty_table()
        connection.register(f"every_{view.name}", everything)
        connection.execute(f"CREATE TEMP VIEW {view.name}{HISTORY} AS SELECT {names} FROM every_{view.name}")
        connection.execute(
            f"CREATE TEMP VIEW {view.name} AS SELECT {names} FROM every_{view.name} "
            "WHERE (host, taken_at) IN (SELECT host, taken_at FROM newest_of_each)"
        )


def _kept(fleet: Fleet) -> Any:
    """The reports of all nights, where there is a store that keeps them."""
    import pyarrow as pa

    schema = pa.schema([(column.name, arrow_type(column.kind)) for column in history.COLUMNS])
    parts = history.kept(fleet.stored) if fleet.stored is not None else {}
    if not parts:
        return schema.empty_table()
    store = fleet.stored.store
    tables = [open_parquet(store, part).read(columns=schema.names) for part in parts.values()]
    return pa.concat_tables([table.cast(schema) for table in tables])


def dataset_of(stored: StoredFleet, view: str, schema: "pa.Schema") -> Any:
    """The parts of one view as an Arrow dataset."""
    import pyarrow.dataset as ds

    parts = [part for load in stored.loads for part in load.parts if part.view == view]
    if stored.night is not None:
        parts = [part for part in parts if part.night <= stored.night]
    if not parts:
        return schema.empty_table()
    hive = ds.partitioning(schema=_partitions(), flavor="hive")
    store = stored.store
    return ds.dataset(
        [store.at(*part.path.split("/")) for part in parts],
        schema=schema,
        format="parquet",
        filesystem=store.fs,
        partitioning=hive,
        partition_base_dir=store.at(view),
    )


def _partitions() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([("night", pa.string()), ("region", pa.string())])


def _made(fleet: Fleet) -> dict[str, list["pa.Table"]]:
    """The views of a folder's hosts, made on the spot, with what the rules say of each."""
    import pyarrow as pa

    from netdiag.fleet.judge import own_judgement
    from netdiag.fleet.store.write import tables_of
    from netdiag.rules import discover

    modules = discover()
    made: dict[str, list[pa.Table]] = defaultdict(list)
    for host in fleet.hosts:
        card = {"says": host.snapshot.meta.name, "file": None, "digest": None, "loaded_at": None}
        night, region = night_of(host.snapshot.meta.taken_at), host.labels.get("region")
        for name, table in tables_of([(host, {**card, "judged": own_judgement(host, modules)})]):
            own = {"night": night, "region": region}
            common = [pa.array([value] * table.num_rows, pa.string()) for value in own.values()]
            made[name].append(table.append_column("night", common[0]).append_column("region", common[1]))
    return made


def documentation() -> str:
    """Every view and column, one a line, from the sentences of the model."""
    from netdiag.schema.sentences import field_sentences

    lines = ["Every view has"]
    lines += [f"  {column.name:<22} {column.kind:<8} {column.words}" for column in COMMON]
    lines += [
        "",
        f"A view holds the newest snapshot of each host; its twin NAME{HISTORY} holds those of every night.",
        "Columns of kind json are JSON text: column->>'$.key' reads a value out of one.",
    ]
    lines += ["", f"{history.VIEW}: A finding of a night's whole fleet, with its cause; only of a store, and as it"]
    lines[-1] += " was said when the night was loaded. It has these columns alone."
    lines += [f"  {column.name:<22} {column.kind:<8} {column.words}" for column in history.COLUMNS]
    for view in described():
        lines += ["", f"{view.name}: {view.words}"]
        said: dict[str, str] = {}
        for struct in view.structs:
            said |= field_sentences(struct)
        lines += [
            f"  {column.name:<22} {column.kind:<8} {column.words or said.get(column.name, '')}".rstrip()
            for column in view.columns
        ]
    return "\n".join(lines) + "\n"
