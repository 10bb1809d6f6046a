"""Spark says of a store what this process says of it, and a query reaches nothing else there either.

One Spark for the whole file: a JVM takes seconds to start. Everything that Spark is needed for is asked of it once.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from netdiag.cli.main import run
from netdiag.collect import Options, collect
from netdiag.fleet import query
from netdiag.fleet.engines import EngineUnavailable, QueryRefused
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import fleet_of
from netdiag.fleet.spark import executor, judging
from netdiag.fleet.spark.ask import Spark
from netdiag.fleet.spark.session import Cluster, cluster
from netdiag.fleet.spark.translate import translated
from netdiag.fleet.store.write import load_into
from netdiag.rules import discover
from netdiag.sources.replay import ReplaySource
from tests.cli.conftest import Netdiag, Ran
from tests.fleet.sparkconf import spark_on_loopback
from tests.fleet.test_query import ELSEWHERE
from tests.fleet.test_store import NOW, example, put, snapshot
from tests.recordings.test_recordings import FOLDER

pytestmark = [pytest.mark.timed, pytest.mark.xdist_group("spark")]

BROKEN = (
    "fleet-host-cut", "addr-duplicate-across-hosts", "asym-route-pair", "bgp-router-id-dup", "mac-duplicate-on-segment",
    "wg-clock-backwards-reject",
)  # fmt: skip
ODD = "fra/ü %2F"
"""A region whose name does not fit into the name of a folder as it is."""

ALIKE = [
    "SELECT labels->>'$.region' AS r, labels->>'region', count(*) FROM hosts GROUP BY ALL ORDER BY ALL",
    "SELECT h.host, count(*) FILTER (WHERE mtu > 1420) AS wide, sum(mtu) // 7, max(mtu) % 7, -7 // 2, -7 % 2, "
    "avg(mtu), median(mtu), stddev(mtu), 7 / 2, bool_and(mtu > 1), arg_max(ifname, ifindex), min(kind) AS kinds, "
    "string_agg(DISTINCT h.region, ','), round(avg(mtu), 2), ceil(1.2), floor(-1.2), round(2.5)::int, "
    "count(DISTINCT kind) FROM hosts h LEFT JOIN links l USING (host) GROUP BY h.host HAVING count(*) > 0 "
    "ORDER BY kinds, h.host",
    "WITH peers AS (SELECT host, unnest(allowed_ips) AS prefix FROM wireguard_peers) SELECT prefix, count(host) "
    "FROM peers WHERE prefix NOT LIKE 'x%' GROUP BY prefix ORDER BY prefix DESC LIMIT 5",
    "SELECT allowed_ips[1], len(allowed_ips), len(host), list_contains(allowed_ips, '10.64.0.2/32'), "
    "array_to_string(list_distinct(allowed_ips), ';'), list_filter(allowed_ips, lambda p: p LIKE '10.%') "
    "FROM wireguard_peers ORDER BY host, public_key",
    "SELECT host, ifname, mtu FROM links QUALIFY row_number() OVER (PARTITION BY host ORDER BY mtu DESC, ifname) = 1 "
    "ORDER BY kind, host",
    "SELECT split_part(host, '-', 1), upper(host), host ^@ 'fra', contains(host, '-'), strpos(host, '-'), concat(host, "
    "NULL, '!'), concat_ws('-', host, region), regexp_matches(host, '^\\w+\\d-'), regexp_extract(host, '(\\d+)', 1), "
    "replace(host, '-', '\\'), reverse(host), trim(host, 'fa'), md5(host), host LIKE '%\\_%', host ILIKE 'FRA%', "
    "string_split(host, '-'), coalesce(boot_id, '?'), uptime IS NULL, CASE WHEN host > 'g' THEN 1 END, "
    "(host = 'x')::int, taken_at::timestamp, '7'::bigint, nullif(region, 'fra'), greatest(host, 'b') FROM hosts "
    "ORDER BY host",
    "SELECT 'a\\' || (SELECT max(host) FROM hosts) || '''; --', '${env:HOME}', '${spark.master}', '\\u0041%', "
    '\'`"\' AS "two words"',
    "SELECT * EXCLUDE (loaded_at) FROM hosts_history WHERE night = '2026-11-25' AND region IN (SELECT region FROM "
    "hosts) ORDER BY host, taken_at",
    "SELECT l.host, r.dst FROM links l JOIN routes r ON l.host = r.host AND r.oif = l.ifindex WHERE EXISTS (SELECT 1 "
    "FROM wireguard_devices d WHERE d.host = l.host) UNION SELECT host, NULL FROM hosts ORDER BY ALL",
    "SELECT rule, severity, len(hosts), hosts[1] FROM fleet_findings WHERE explained_by IS NULL ORDER BY id",
]
ALONE = [
    "EXPLAIN SELECT 1",
    "SELECT current_setting('memory_limit')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM (WITH hidden AS (SELECT 1) SELECT * FROM hidden) AS x, pg_class",
    "SELECT user",
    "SELECT version(), uuid()",
    "SELECT 1 AS \"${env:HOME}\"",
    "SELECT 1 AS \"a`b\"",
    "SELECT labels->>'$.\"a'' || (SELECT 1) --\"' FROM hosts",
    "SELECT $$a'b$$",
    # it would run, and say something else
    "SELECT * FROM hosts ASOF JOIN links USING (host, taken_at)",
    "SELECT * FROM hosts POSITIONAL JOIN links",
    "SELECT labels->'$.region' FROM hosts",
    "SELECT labels->>'topology/region.a' FROM hosts",
    "SELECT uptime::int FROM hosts",
    "SELECT uptime || 's' FROM hosts",
    "SELECT regexp_replace(host, 'a', 'b') FROM hosts",
    "SELECT left(host, -1) FROM hosts",
    "SELECT to_timestamp(latest_handshake) FROM wireguard_peers",
]  # fmt: skip
"""What DuckDB takes, and Spark does not get."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of broken fleets side by side, two hosts whose tables are full; what was loaded first is judged."""
    top = tmp_path_factory.mktemp("spark")
    for number, rule in enumerate(BROKEN):
        one = example(rule)
        before = one.hosts if number == 1 else one.earlier
        for folder, taken, hosts in (("before", "2026-11-24", before), ("in", "2026-11-25", one.hosts)):
            for host, tables in hosts.items():
                name = f"{host}{number}"
                labels = one.labels.get(host, {}) | ({"region": ODD} if host.endswith("-a") and not number else {})
                one_of_it = snapshot(name, tables, labels=labels, taken_at=f"{taken}T23:00:00Z")
                put(top / folder, f"{name}.netdiag", one_of_it)
    put(top / "before", "fra9-x.netdiag", snapshot("fra9-x", taken_at="2026-11-24T23:00:00Z"))
    full = collect(ReplaySource(FOLDER / "fra-edge1" / "recording"), Options())
    put(top / "before", "fra-edge1.netdiag", full)
    put(top / "in", "fra-edge2.netdiag", replace(full, meta=msgspec.structs.replace(full.meta, name="fra-edge2")))
    load_into([str(top / "before")], str(top / "store"), now=NOW - 86400)
    load_into([str(top / "in")], str(top / "store"), now=NOW, judge=False)
    return top / "store"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The session."""
    for _ in spark_on_loopback(tmp_path_factory.mktemp("conf")):
        yield cluster()


@pytest.fixture
def netdiag(capfd: pytest.CaptureFixture[str]) -> Netdiag:
    """The command line, in this process."""

    def call(*arguments: str) -> Ran:
        status = run(list(arguments))
        return Ran(status, *capfd.readouterr())

    return call


def both(store: Path, spark: Cluster, sql: str) -> tuple[query.Answer, query.Answer]:
    return query.ask(str(store), sql), query.ask(str(store), sql, Spark(spark))


def test_every_view_is_the_same(store: Path, spark: Cluster) -> None:
    names = [view.name for view in query.described()] + ["hosts_history", "fleet_findings"]
    empty = set()
    for name in names:
        here, there = both(store, spark, f"SELECT * FROM {name}")
        rows = sorted(map(repr, map(tuple, here.rows)))
        assert here.columns == there.columns
        assert rows == sorted(map(repr, map(tuple, there.rows))), name
        empty |= set() if rows else {name}
        assert name != "hosts" or any(ODD in row for row in rows)
    assert empty <= {"nexthops", "bpf_maps", "bpf_programs", "bpf_attachments", "qdiscs", "taps"}


@pytest.mark.parametrize("sql", ALIKE, ids=range(len(ALIKE)))
def test_a_query_says_the_same(store: Path, spark: Cluster, sql: str) -> None:
    here, there = both(store, spark, sql)
    assert here.columns == there.columns
    rows = [tuple(row) for row in here.rows]
    assert rows == [tuple(row) for row in there.rows] != []


@pytest.mark.parametrize("sql", ELSEWHERE + ALONE)
def test_nothing_else_reaches_spark(sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        translated(sql.replace("{store}", "/tmp"), query._schemas())
    assert "\n" not in str(refused.value)


def test_what_spark_alone_refuses_is_one_line(store: Path, spark: Cluster) -> None:
    with pytest.raises(QueryRefused) as refused:
        list(query.ask(str(store), "SELECT 1 // (len(host) - len(host)) FROM hosts", Spark(spark)).rows)
    assert "\n" not in str(refused.value) and "zero" in str(refused.value).lower()


def test_the_report_is_the_same(
    store: Path,
    spark: Cluster,
    netdiag: Netdiag,
) -> None:
    """Of the command line, to the last letter, for hosts that were judged when they were loaded and that were not."""
    here = netdiag("fleet", "check", str(store), "--json")
    there = netdiag("fleet", "check", str(store), "--json", "--engine", "spark")
    assert there.out == here.out and there.status == here.status == 2
    rules = {finding["rule"] for finding in json.loads(here.out)["findings"]}
    assert len(rules & set(discover("fleet"))) >= 5 and len(rules - set(discover("fleet"))) >= 2
    night = fleet_of(f"{store}@2026-11-24")
    assert judge_fleet(night, judging.SparkWorkers(spark, night.stored)) == judge_fleet(night)


def test_the_command_line(store: Path, spark: Cluster, netdiag: Netdiag) -> None:
    asked = ("fleet", "query", "SELECT host FROM hosts ORDER BY host", str(store), "--json")
    assert netdiag(*asked, "--engine", "spark").out == netdiag(*asked).out
    assert netdiag(*asked, "--spark-master", "local").status == 64
    assert netdiag("fleet", "check", str(store.parent / "in"), "--engine", "spark").status == 64
    assert netdiag("fleet", "query", "SELECT reflect('a', 'b')", str(store), "--engine", "spark").status == 64


def test_spark_listens_on_loopback_alone(spark: Cluster) -> None:
    from pyspark import SparkContext

    sockets = {os.readlink(path) for path in Path(f"/proc/{_java(SparkContext._gateway.proc.pid)}/fd").iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    bound = [row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    assert bound and set(bound) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def _java(pid: int) -> int:
    """Spark's JVM: the shell script becomes it, or is above it."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pid if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "java" else _java(int(below[0]))


def test_a_damaged_part_is_not_left_out(store: Path, spark: Cluster, netdiag: Netdiag, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(store), str(tmp_path / "store")], check=True)
    for part in (tmp_path / "store" / "links").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:64])
    ran = netdiag("fleet", "query", "SELECT * FROM links", str(tmp_path / "store"), "--engine", "spark")
    assert ran.status == 64 and not ran.out and "/links/night=" in ran.err.splitlines()[-1]
    for part in (tmp_path / "store" / "snapshots").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:-300] + bytes(300))
    for engine in ("duckdb", "spark"):
        ran = netdiag("fleet", "check", str(tmp_path / "store"), "--engine", engine)
        assert ran.status == 65 and not ran.out and "parquet" in ran.err.splitlines()[-1]


def test_no_answer_is_not_clean() -> None:
    with pytest.raises(EngineUnavailable, match="fra-a"):
        judging._answer({}, "fra-a")


@pytest.mark.parametrize("name", ["pyspark", "sqlglot", "pandas"])
def test_what_is_missing_is_said_in_one_line(
    store: Path,
    netdiag: Netdiag,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    ran = netdiag("fleet", "check", str(store), "--engine", "spark")
    assert ran.status == 3 and not ran.out
    assert re.fullmatch(rf".*--engine spark: it needs {name}: pip install 'netdiag\[spark\]'\n", ran.err)


def test_the_workers_copy_of_netdiag_judges(tmp_path: Path) -> None:
    """Of the package alone, as it is sent."""

    class Session:
        def addArtifacts(self, path: str, pyfile: bool) -> None:
            Path(path).rename(tmp_path / "sent.zip")

    import tempfile

    Cluster(Session(), False, tempfile.TemporaryDirectory()).ship()  # type: ignore[arg-type]
    code = (
        f"import sys; sys.path = [p for p in sys.path if p != {str(Path(executor.__file__).parents[3])!r}]; "
        f"sys.path.insert(0, {str(tmp_path / 'sent.zip')!r}); import netdiag.fleet.spark.executor as it; "
        "from netdiag.fleet.judged import fingerprint; print(it.__file__, len(it.discover('fleet')), fingerprint())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/", timeout=60)
    from netdiag.fleet.judged import fingerprint

    file, count, same = ran.stdout.split()
    assert "sent.zip" in file and int(count) == len(discover("fleet")) and same == fingerprint()


def test_the_work_is_what_a_cluster_can_be_sent() -> None:
    import pickle

    work = executor.Between(url="u", night=None, loads=(), unreached=("a",), symptoms={})
    assert msgspec.structs.asdict(pickle.loads(pickle.dumps(work))) == msgspec.structs.asdict(work)
