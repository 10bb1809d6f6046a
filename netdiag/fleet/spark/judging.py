"""Rules on a Spark cluster: what a host says by itself where its row is read, each rule between hosts as a task.

A host or a rule of which no answer comes back is an error: nothing is clean because it was not asked. Raises
EngineUnavailable.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from netdiag.fleet.engines import EngineUnavailable
from netdiag.fleet.judge import kept_judgement
from netdiag.fleet.judged import Judged
from netdiag.fleet.spark import executor
from netdiag.fleet.spark.session import Cluster, unavailable
from netdiag.fleet.spark.tables import rows_of
from netdiag.fleet.store.read import Card, StoredFleet
from netdiag.index.fleet import FleetHost, FleetView
from netdiag.model.codec import BULK, SMALL
from netdiag.model.coverage import NotEvaluated
from netdiag.model.finding import Draft
from netdiag.rules.shape import RuleModule

TEXTS = ("host", "taken_at", "digest")
OCTETS = ("meta", "coverage", *(f"table_{name}" for name in (*SMALL, *BULK)))


class SparkWorkers:
    """See netdiag.fleet.judge.Workers."""

    def __init__(self, cluster: Cluster, stored: StoredFleet) -> None:
        self.cluster = cluster
        self.stored = stored
        cluster.ship()

    def own(self, hosts: Sequence[FleetHost], modules: dict[str, RuleModule]) -> Iterable[Judged]:
        """See netdiag.fleet.judge.Workers; what the store keeps is not asked again."""
        kept = {host.name: kept_judgement(host) for host in hosts}
        asked = [self.stored.series[name][-1] for name, said in kept.items() if said is None]
        found = self._judged(asked) if asked else {}
        return (kept[host.name] or _answer(found, host.name) for host in hosts)

    def _judged(self, cards: Sequence[Card]) -> dict[str, bytes]:
        import pyarrow as pa
        from pyspark.sql.functions import broadcast

        columns = {name: pa.array([getattr(card, name) for card in cards], pa.string()) for name in TEXTS}
        schema = pa.schema([*((name, pa.string()) for name in TEXTS), *((name, pa.binary()) for name in OCTETS)])
        paths = sorted({card.part.path for card in cards})
        session = self.cluster.session
        with unavailable():
            rows = rows_of(session, self.stored.store, "snapshots", paths, schema)
            wanted = broadcast(session.createDataFrame(pa.table(columns)))
            of_each = rows.join(wanted, list(TEXTS), "left_semi").select("host", *OCTETS)
            return _collected(of_each.mapInPandas(executor.judge_hosts, executor.HOSTS))

    def between(self, view: FleetView, modules: dict[str, RuleModule]) -> tuple[list[Draft], list[NotEvaluated]]:
        """See netdiag.fleet.judge.Workers."""
        import pyarrow as pa

        work = executor.Between(
            url=self.stored.store.anywhere,
            night=self.stored.night,
            loads=tuple(self.stored.loads),
            unreached=view.unreached,
            symptoms=view.symptoms,
        )
        with unavailable():
            rules = self.cluster.session.createDataFrame(pa.table({"rule": list(modules)}))
            found = _collected(rules.mapInPandas(work, executor.RULES))
        said = [_answer(found, name) for name in modules]
        return [draft for one in said for draft in one.drafts], [gap for one in said for gap in one.silent]


def _collected(frame: Any) -> dict[str, bytes]:
    return {name: bytes(said) for name, said in frame.toLocalIterator()}


def _answer(found: dict[str, bytes], name: str) -> Judged:
    if name not in found:
        raise EngineUnavailable(f"Spark gave no answer for {name}")
    return executor.judged_of(found[name])
