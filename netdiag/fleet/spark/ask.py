"""Spark as the engine of a query. Raises QueryRefused, EngineUnavailable."""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netdiag.fleet.engines import Answer, QueryRefused, parts_of
from netdiag.fleet.spark.session import Cluster, faults, said, unavailable
from netdiag.fleet.spark.tables import rows_of
from netdiag.fleet.spark.translate import Translated, select, translated

if TYPE_CHECKING:
    import pyarrow as pa

    from netdiag.fleet.store.read import StoredFleet


class Spark:
    """A session of a cluster, for one query."""

    def __init__(self, cluster: Cluster) -> None:
        self.session = cluster.session
        self.query: Translated | None = None

    def read(self, sql: str, schemas: "dict[str, pa.Schema]") -> Collection[str]:
        """See netdiag.fleet.engines.Engine."""
        self.query = translated(sql, schemas)
        return self.query.views

    def table(self, name: str, table: "pa.Table") -> None:
        """See netdiag.fleet.engines.Engine."""
        with unavailable():
            self.session.createDataFrame(table).createOrReplaceTempView(name)

    def parts(self, name: str, stored: "StoredFleet", view: str, schema: "pa.Schema") -> None:
        """See netdiag.fleet.engines.Engine."""
        with unavailable():
            rows_of(self.session, stored.store, view, parts_of(stored, view), schema).createOrReplaceTempView(name)

    def view(self, name: str, select_: str) -> None:
        """See netdiag.fleet.engines.Engine."""
        with unavailable():
            self.session.sql(select(select_)).createOrReplaceTempView(name)

    def answer(self) -> Answer:
        """See netdiag.fleet.engines.Engine."""
        assert self.query is not None, "read() comes first"
        try:
            frame = self.session.sql(self.query.sql, args=dict(self.query.arguments))
        except faults() as error:
            raise QueryRefused(said(error)) from error
        return Answer(columns=self.query.columns, rows=_rows(frame))


def _rows(frame: Any) -> Iterator[Sequence[Any]]:
    try:
        for row in frame.toLocalIterator(prefetchPartitions=True):
            yield tuple(row)
    except faults() as error:
        raise QueryRefused(said(error)) from error
