"""SQL over a fleet: one SELECT over the views of a store or of a folder, and nothing else.

What a query can reach is what ``documentation`` lists, whichever engine runs it. ``links`` is the newest snapshot of
each host, ``links_history`` is every night. Raises QueryRefused for SQL that is none or asks for more,
EngineUnavailable, FleetRefused and StoreRefused as reading does.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdiag.fleet import history
from netdiag.fleet.duck import Duck
from netdiag.fleet.engines import Answer, Engine, QueryRefused
from netdiag.fleet.load import Fleet, fleet_of
from netdiag.fleet.night import night_of
from netdiag.fleet.store.columns import Column, arrow_type
from netdiag.fleet.store.read import open_parquet
from netdiag.fleet.store.views import COMMON, FINDINGS, SNAPSHOTS, VIEWS

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "_history"
NEWEST = "newest_of_each"

__all__ = ["Answer", "QueryRefused", "ask", "described", "documentation"]


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


def ask(source: str, sql: str, engine: Engine | None = None) -> Answer:
    """Run one SELECT over a store, a store's night or a folder. ``engine``: None is DuckDB in this process."""
    runs = engine or Duck()
    fleet = fleet_of(source)
    schemas = _schemas()
    _register(runs, fleet, schemas, set(runs.read(sql, schemas)))
    return runs.answer()


def _schemas() -> "dict[str, pa.Schema]":
    """Every view that a query can name, with its columns."""
    import pyarrow as pa

    columns = {view.name: (*COMMON, *view.columns) for view in described()}
    columns |= {f"{name}{HISTORY}": rows for name, rows in columns.items()}
    columns[history.VIEW] = history.COLUMNS
    return {
        name: pa.schema([(column.name, arrow_type(column.kind)) for column in rows]) for name, rows in columns.items()
    }


def _register(engine: Engine, fleet: Fleet, schemas: "dict[str, pa.Schema]", named: set[str]) -> None:
    """Make the views that the query names: rows of all nights, and those of the newest snapshot of each host."""
    import pyarrow as pa

    state = [(host.name, host.snapshot.meta.taken_at) for host in fleet.hosts]
    newest = {
        "host": pa.array([name for name, _ in state], pa.string()),
        "taken_at": pa.array([taken for _, taken in state], pa.string()),
    }
    engine.table(NEWEST, pa.table(newest))
    made = None if fleet.stored is not None else _made(fleet)
    if history.VIEW in named:
        engine.table(history.VIEW, _kept(fleet, schemas[history.VIEW]))
    for view in described():
        if not named & {view.name, f"{view.name}{HISTORY}"}:
            continue
        where = "snapshots" if view.name == "hosts" else view.name
        schema, every = schemas[view.name], f"every_{view.name}"
        if made is None:
            engine.parts(every, fleet.stored, where, schema)
        else:
            tables = [table.select(schema.names) for table in made.get(where, ())]
            engine.table(every, pa.concat_tables(tables) if tables else schema.empty_table())
        names = ", ".join(f'"{name}"' for name in schema.names)
        rows = f"SELECT {names} FROM {every}"
        if f"{view.name}{HISTORY}" in named:
            engine.view(f"{view.name}{HISTORY}", rows)
        if view.name in named:
            engine.view(view.name, f"{rows} WHERE (host, taken_at) IN (SELECT host, taken_at FROM {NEWEST})")


def _kept(fleet: Fleet, schema: "pa.Schema") -> "pa.Table":
    """The reports of all nights, where there is a store that keeps them."""
    import pyarrow as pa

    parts = history.kept(fleet.stored) if fleet.stored is not None else {}
    if not parts:
        return schema.empty_table()
    store = fleet.stored.store
    tables = [open_parquet(store, part).read(columns=schema.names) for part in parts.values()]
    return pa.concat_tables([table.cast(schema) for table in tables])


def _made(fleet: Fleet) -> dict[str, list["pa.Table"]]:
    """The views of a folder's hosts, made on the spot, with what the rules say of each."""
    import pyarrow as pa

    from netdiag.fleet.judge import own_judgement
    from netdiag.fleet.store.write import tables_of
    from netdiag.rules import discover

    modules = discover()
    made: dict[str, list[pa.Table]] = defaultdict(list)
    for host in fleet.hosts:
        card = dict.fromkeys(("file", "digest", "loaded_at", "not_judged")) | {"says": host.snapshot.meta.name}
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
