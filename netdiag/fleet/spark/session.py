"""The Spark session: on the cluster that Spark's own configuration names, or on the one that a person names.

Looked at in this order: the master that is given, SPARK_REMOTE, spark.master of spark-defaults.conf (SPARK_HOME or
SPARK_CONF_DIR); without any Spark runs on this machine, and then listens on loopback alone. What Spark prints goes to
standard error. Raises EngineUnavailable.
"""

import contextlib
import logging
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from netdiag.fleet.engines import EngineUnavailable, one_line
from netdiag.fleet.judged import fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OURS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.session.timeZone": "UTC",
    # The text of a query means what it says: no variables in it, one kind of quotes.
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    # A part that is missing or damaged is an error, not fewer rows.
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    # Hosts that a Python worker has in memory at a time.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "32",
}
"""Settings of our session alone; those of the cluster stay as they are."""
LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}
"""Where Spark runs on this machine."""


@dataclass(frozen=True)
class Cluster:
    """A session of our own, and whether its Python workers are this interpreter."""

    session: "SparkSession"
    local: bool
    code: tempfile.TemporaryDirectory[str]
    """Where the workers' copy of netdiag is while the session lasts."""

    def ship(self) -> None:
        """Give the workers this netdiag, unless they have it. Raises EngineUnavailable."""
        if self.local:
            return
        path = os.path.join(self.code.name, f"netdiag-{fingerprint()}.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, octets in _sources(files("netdiag"), "netdiag"):
                archive.writestr(zipfile.ZipInfo(name), octets)
        with unavailable():
            self.session.addArtifacts(path, pyfile=True)


def _sources(folder: Any, above: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: str(one.name)):
        name = f"{above}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif name.endswith(".py"):
            yield name, entry.read_bytes()


def cluster(master: str | None = None) -> Cluster:
    """Connect. ``master``: ``spark://host:7077``, ``yarn``, ``k8s://...``, ``local[2]``, ``sc://host`` (Connect)."""
    try:
        import pandas  # noqa: F401 - what mapInPandas needs
        import pyspark
        import sqlglot  # noqa: F401
    except ModuleNotFoundError as error:
        raise EngineUnavailable(f"it needs {error.name}: pip install 'netdiag[spark]'") from error
    connect = (master or "").startswith("sc://") or (master is None and "SPARK_REMOTE" in os.environ)
    with unavailable(), _stdout_kept():
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)  # what it tells is raised as well
        builder = pyspark.sql.SparkSession.builder.appName("netdiag")
        here = False
        if connect:
            builder = builder.remote(master) if master else builder
        else:
            settings = pyspark.SparkConf()
            where = master or str(settings.get("spark.master", "local[*]"))
            builder = builder.master(where).config("spark.log.level", "OFF")  # likewise
            here = where.startswith("local") and not where.startswith("local-cluster")
        for name, value in LOCAL.items() if here else ():
            builder = builder.config(name, value)
        if here:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate().newSession()
        for name, value in OURS.items():
            if session.conf.get(name, None) != value:
                session.conf.set(name, value)
    return Cluster(session, here, tempfile.TemporaryDirectory(prefix="netdiag-"))


@contextlib.contextmanager
def _stdout_kept() -> Iterator[None]:
    """What is started here inherits standard error as its standard output: the report is alone on ours."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def faults() -> tuple[type[Exception], ...]:
    """What Spark raises."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return (PySparkException, Py4JError, OSError, RuntimeError, ValueError)


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Turns what Spark raises into one line."""
    try:
        yield
    except faults() as error:
        raise EngineUnavailable(said(error)) from error


def said(error: Exception) -> str:
    """The words of an error, without the stacks of Java; of a Python worker its last line."""
    if "JAVA_GATEWAY_EXITED" in str(error):
        return "Spark does not start; it needs Java 17 or newer (JAVA_HOME), and what it said itself stands above"
    text = re.split(r"JVM stacktrace|SQLSTATE:|; line \d+ pos ", str(error))[0]
    named = re.search(r"\[[A-Z][A-Z_.]+\] .*", text)
    if "Traceback (most recent call last)" in text:
        tail = text.rpartition("Traceback (most recent call last)")[2].splitlines()
        own = [line for line in tail[1:] if line.strip() and not line.startswith((" ", "\t"))]
        text = own[0] if own else text
    elif named is not None:
        text = named[0]
    return one_line(Exception("\n".join(line for line in text.splitlines() if not line.startswith("\tat "))))
