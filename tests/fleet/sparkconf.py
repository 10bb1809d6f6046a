"""A Spark for tests: on this machine, one thread, little memory, nothing on but loopback; told as a person tells it,
in spark-defaults.conf."""

from collections.abc import Iterator
from pathlib import Path

import pytest

DEFAULTS = {
    "spark.master": "local[1]",
    "spark.driver.memory": "512m",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.ui.showConsoleProgress": "false",
    # A query here runs once: what compiles it takes longer than it does.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    # Few threads, and room enough that neither the heap nor the classes are tidied up while it starts.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -Xverify:none -Xms400m "
    "-Xmn250m -XX:MetaspaceSize=256m",
}


def spark_on_loopback(folder: Path) -> Iterator[None]:
    """Spark is configured while this lasts; its JVM ends with it."""
    (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in DEFAULTS.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        patch.delenv("SPARK_LOCAL_IP", raising=False)
        patch.delenv("SPARK_REMOTE", raising=False)
        yield
        from pyspark import SparkContext

        context, gateway = SparkContext._active_spark_context, SparkContext._gateway
        if context is not None:
            context.stop()
        if gateway is not None:
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(30)
            SparkContext._gateway = SparkContext._jvm = None
