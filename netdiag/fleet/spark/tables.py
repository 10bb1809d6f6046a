"""The parts of a store as Spark sees them: the same files, read by Spark itself.

Night and region come out of the folders' names, so that a query that asks for one night reads that night alone.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netdiag.fleet.store.place import Place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

SCHEMES = {"s3": "s3a", "gcs": "gs"}
"""fsspec's names of stores that Hadoop calls otherwise."""
REGION = "decode(encode(region, 'ISO-8859-1'), 'UTF-8')"
"""A folder's name has each byte of a region that is no letter as %XX; Spark makes a character of each."""


def spark_path(store: Place, *words: str) -> str:
    """The name of a file of the store for Spark."""
    top = f"file://{store.top}" if store.local else store.name
    scheme, mark, rest = top.partition("://")
    return "/".join((f"{SCHEMES.get(scheme, scheme)}{mark}{rest}".rstrip("/"), *words))


def rows_of(session: "SparkSession", store: Place, view: str, paths: Iterable[str], schema: "pa.Schema") -> "DataFrame":
    """The rows of these parts of a view; a column that a part lacks is null."""
    from pyspark.sql.pandas.types import from_arrow_schema

    shape = from_arrow_schema(schema)
    found = [spark_path(store, *path.split("/")) for path in paths]
    if not found:
        return session.createDataFrame(schema.empty_table())
    read = session.read.schema(shape).option("basePath", spark_path(store, view)).parquet(*found)
    if "region" not in schema.names:
        return read
    names = [f"{REGION} AS region" if name == "region" else f"`{name}`" for name in schema.names]
    return read.selectExpr(*names)
