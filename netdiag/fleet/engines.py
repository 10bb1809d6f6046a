"""What answers SQL over a fleet: DuckDB inside this process (duck), or a Spark cluster over the same Parquet (spark).

Either is given the same tables and the same views, spelled in DuckDB's SQL, and then one SELECT. Raises QueryRefused
for SQL that is none or asks for more than the views, EngineUnavailable where the engine cannot be had.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from netdiag.fleet.store.read import StoredFleet

BATCH = 1000


class QueryRefused(Exception):
    """SQL that cannot be run; one line."""


class EngineUnavailable(Exception):
    """An engine that is not installed, does not start, or gave up; one line."""


@dataclass(frozen=True)
class Answer:
    """The result of a query."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


class Engine(Protocol):
    """It is asked once: ``read``, then what the query names, then ``answer``."""

    def read(self, sql: str, schemas: "dict[str, pa.Schema]") -> Collection[str]:
        """Look at a query over views of these names and columns: which of them it may name. Raises QueryRefused."""

    def table(self, name: str, table: "pa.Table") -> None:
        """Rows that this process has."""

    def parts(self, name: str, stored: "StoredFleet", view: str, schema: "pa.Schema") -> None:
        """The rows of one view of a store, of all nights up to the one that is asked for."""

    def view(self, name: str, select: str) -> None:
        """A view: a SELECT over what was given before."""

    def answer(self) -> Answer:
        """Run the query. Raises QueryRefused, also while rows are taken."""


def parts_of(stored: "StoredFleet", view: str) -> list[str]:
    """Paths below the store of the parts that hold a view."""
    parts = [part for load in stored.loads for part in load.parts if part.view == view]
    return [part.path for part in parts if stored.night is None or part.night <= stored.night]


def one_line(error: BaseException) -> str:
    """What an engine says, without its drawings, for a person."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and set(line.strip()) != {"^"}]
    return " ".join(" ".join(lines).split())[:400] or type(error).__name__
