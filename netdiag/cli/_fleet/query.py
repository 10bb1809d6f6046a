"""``netdiag fleet query``: SQL over the tables of many hosts."""

from collections.abc import Iterator
from typing import Any

import click

from netdiag.cli import _output
from netdiag.cli._errors import Refused, Usage
from netdiag.cli._fleet._engine import engine_options, spark
from netdiag.cli._verb import Session, Verb, json_option


@click.command("query", cls=Verb, short_help="Ask a store or folder of snapshots in SQL.")
@click.argument("sql", metavar="SQL", required=False)
@click.argument("source", metavar="STORE", required=False)
@click.option("--tables", is_flag=True, help="Print the views and their columns, and end.")
@engine_options
@json_option()
def command(
    session: Session,
    *,
    sql: str | None,
    source: str | None,
    tables: bool,
    engine: str,
    master: str | None,
    as_json: bool,
) -> int:
    """Run one SELECT over STORE, a store or a folder of .netdiag files.

    The SQL is DuckDB's. It sees the views that --tables lists, and no file, network or extension. --engine spark
    translates it and runs it on a Spark cluster that reads the store's Parquet files itself; what the two would
    understand differently is refused there. Exit status: 0 answered, 3 the engine cannot be had.
    """
    from netdiag.fleet import query
    from netdiag.fleet.files import FleetRefused
    from netdiag.fleet.store.place import StoreRefused

    if tables:
        _output.emit([query.documentation()])
        return 0
    if sql is None or source is None:
        raise Usage("give SQL and STORE, or --tables")
    try:
        with spark(engine, master) as cluster:
            answer = query.ask(source, sql, _spark(cluster) if cluster else None)
            pieces = _json(answer) if as_json else _text(answer)
            _output.emit(pieces, utf8=as_json)
    except query.QueryRefused as error:
        raise Usage(str(error)) from error
    except (FleetRefused, StoreRefused) as error:
        raise Refused(str(error)) from error
    return 0


def _spark(cluster: Any) -> Any:
    from netdiag.fleet.spark.ask import Spark

    return Spark(cluster)


def _named(answer: Any) -> Iterator[dict[str, Any]]:
    return (dict(zip(answer.columns, row, strict=True)) for row in answer.rows)


def _json(answer: Any) -> Iterator[str]:
    from netdiag.render.tables import table_json

    return table_json(_named(answer))


def _text(answer: Any) -> Iterator[str]:
    from netdiag.render.tables import Column, columns_text

    columns = [Column(name) for name in answer.columns]
    return columns_text(columns, _named(answer), _output.terminal_width())
