"""DuckDB as the engine of a query: it may touch no file, no network and no extension, only what it is given.

Raises QueryRefused.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netdiag.fleet.engines import BATCH, Answer, QueryRefused, one_line, parts_of

if TYPE_CHECKING:
    import pyarrow as pa

    from netdiag.fleet.store.read import StoredFleet

MEMORY = "2GB"
"""What the engine may use; a query that needs more is refused by it."""
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


class Duck:
    """One connection to a database in memory."""

    def __init__(self) -> None:
        import duckdb

        self.connection = duckdb.connect(":memory:", config=dict(CONFIG))
        self.errors = (duckdb.Error, RuntimeError)
        self.statement: Any = None

    def read(self, sql: str, schemas: "dict[str, pa.Schema]") -> Collection[str]:
        """See netdiag.fleet.engines.Engine; a view that the text does not hold is not named."""
        try:
            statements = self.connection.extract_statements(sql)
        except self.errors as error:
            raise QueryRefused(one_line(error)) from error
        kinds = {str(statement.type).rpartition(".")[2] for statement in statements}
        if len(statements) != 1 or not kinds <= {"SELECT", "EXPLAIN"}:
            raise QueryRefused("one SELECT is asked for, and nothing else")
        self.statement = statements[0]
        text = sql.lower()
        return [name for name in schemas if name in text]

    def table(self, name: str, table: "pa.Table") -> None:
        """See netdiag.fleet.engines.Engine."""
        self.connection.register(name, table)

    def parts(self, name: str, stored: "StoredFleet", view: str, schema: "pa.Schema") -> None:
        """See netdiag.fleet.engines.Engine."""
        self.connection.register(name, _dataset(stored, view, schema))

    def view(self, name: str, select: str) -> None:
        """See netdiag.fleet.engines.Engine."""
        self.connection.execute(f"CREATE TEMP VIEW {name} AS {select}")

    def answer(self) -> Answer:
        """See netdiag.fleet.engines.Engine."""
        try:
            cursor = self.connection.execute(self.statement)
            names = tuple(str(column[0]) for column in cursor.description or ())
            first = cursor.fetchmany(BATCH)
        except self.errors as error:
            raise QueryRefused(one_line(error)) from error
        return Answer(columns=names, rows=self._rows(cursor, first))

    def _rows(self, cursor: Any, batch: list[tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
        try:
            while batch:
                yield from batch
                batch = cursor.fetchmany(BATCH)
        except self.errors as error:
            raise QueryRefused(one_line(error)) from error


def _dataset(stored: "StoredFleet", view: str, schema: "pa.Schema") -> Any:
    """The parts of one view as an Arrow dataset."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    paths = parts_of(stored, view)
    if not paths:
        return schema.empty_table()
    partitions = pa.schema([("night", pa.string()), ("region", pa.string())])
    store = stored.store
    return ds.dataset(
        [store.at(*path.split("/")) for path in paths],
        schema=schema,
        format="parquet",
        filesystem=store.fs,
        partitioning=ds.partitioning(schema=partitions, flavor="hive"),
        partition_base_dir=store.at(view),
    )
