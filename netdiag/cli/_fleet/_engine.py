"""``--engine`` and ``--spark-master``, as every question to a fleet has them that a cluster can answer."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from netdiag.cli._errors import NO_VERDICT, Usage

if TYPE_CHECKING:
    from netdiag.fleet.spark.session import Cluster


class _NoEngine(click.ClickException):
    """The engine cannot be had: exit status 3, for nothing was judged."""

    exit_code = NO_VERDICT


def engine_options(command: Callable[..., int]) -> Callable[..., int]:
    """Both options."""
    engine = click.option(
        "--engine",
        type=click.Choice(("duckdb", "spark")),
        default="duckdb",
        show_default=True,
        help="Where it runs: in this process, or on a Spark cluster.",
    )
    master = click.option(
        "--spark-master",
        "master",
        metavar="URL",
        help="Spark's master: spark://HOST:7077, yarn, local[2], sc://HOST ... [SPARK_REMOTE, spark-defaults.conf].",
    )
    return engine(master(command))


@contextlib.contextmanager
def spark(engine: str, master: str | None) -> "Iterator[Cluster | None]":
    """The cluster; None: DuckDB, in this process."""
    if engine != "spark":
        if master is not None:
            raise Usage("--spark-master goes with --engine spark")
        yield None
        return
    from netdiag.fleet.engines import EngineUnavailable
    from netdiag.fleet.spark.session import cluster

    try:
        yield cluster(master)
    except EngineUnavailable as error:
        raise _NoEngine(f"--engine spark: {error}") from error
