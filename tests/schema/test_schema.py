"""The published schemas: up to date, complete, and true of real reports and snapshots."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

import netdiag.schema
from netdiag.fleet.compare import compare
from netdiag.fleet.judge import judge_fleet
from netdiag.fleet.load import Fleet
from netdiag.fleet.matrix import matrix
from netdiag.fleet.matrix import report as matrix_report
from netdiag.fleet.sweep.ledger import begin
from netdiag.model.finding import KINDS, Report
from netdiag.model.fleetreport import Notice, Unreached
from netdiag.model.snapshot import Snapshot
from netdiag.model.sweep import Outcome, Plan, Target
from netdiag.render.json import pretty, render_json
from netdiag.render.sweep import sweep_json
from netdiag.rules.build_regions import regions
from netdiag.schema import NAMES, published
from netdiag.schema.make import texts
from netdiag.snapshotfile import snapshot_octets
from tests.render.reports import broken, clean, hostile
from tests.rules.test_fleet_examples import host
from tests.snapshotfile.hosts import small_snapshot, snapshots


def problems(name: str, document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(published(name))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def document_of(snapshot: Snapshot) -> Any:
    with zipfile.ZipFile(io.BytesIO(snapshot_octets(snapshot))) as archive:
        return json.loads(archive.read("snapshot.json"))


@pytest.mark.parametrize("name", NAMES)
def test_file_is_up_to_date(name: str) -> None:
    path = Path(netdiag.schema.__file__).with_name(f"{name}.schema.json")
    assert path.read_text(encoding="utf-8") == texts()[path.name], "run: python -m netdiag.schema.make"


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_a_schema_and_describes_every_field(name: str) -> None:
    schema = published(name)
    jsonschema.Draft202012Validator.check_schema(schema)

    def walk(at: Any, path: str) -> None:
        if isinstance(at, dict):
            for field, shape in at.get("properties", {}).items() if isinstance(at.get("properties"), dict) else ():
                assert shape.get("description", "").strip(), f"{path}.{field} has no sentence"
            for key, inner in at.items():
                walk(inner, f"{path}.{key}")
        elif isinstance(at, list):
            for inner in at:
                walk(inner, path)

    walk(schema, name)


@pytest.mark.parametrize("report", [broken(), clean()])
def test_reports_are_valid(report: Report) -> None:
    assert problems("netdiag.report-1", json.loads(render_json(report))) == []


def test_reports_of_fleets_are_valid() -> None:
    hosts = regions("fra-a fra-b ams-c", lambda a, b: "fra-a" in (a, b))
    fleet = Fleet(
        hosts=tuple(host(name, tables) for name, tables in hosts.items()),
        unreached=(Unreached(name="cut.netdiag", reason="cut short"),),
        notices=(Notice(kind="stale", host="fra-b", detail="old"),),
    )
    found = judge_fleet(fleet)
    assert found.findings
    assert problems("netdiag.fleet-report-1", json.loads(pretty(found))) == []


def test_what_changed_between_nights_is_valid() -> None:
    old, new = (
        Fleet(hosts=tuple(host(name, t) for name, t in regions("fra-a fra-b ams-c", cut).items()), unreached=())
        for cut in (lambda a, b: False, lambda a, b: "fra-a" in (a, b))
    )
    found = compare(judge_fleet(old), judge_fleet(new), [frozenset()])
    assert found.changes and found.changes[0].nights
    assert problems("netdiag.fleet-diff-1", json.loads(pretty(found))) == []
    assert problems("netdiag.fleet-diff-1", {"schema": "netdiag.fleet-diff/1"}) != []


def test_a_matrix_is_valid() -> None:
    hosts = tuple(
        host(name, tables) for name, tables in regions("fra-a fra-b ams-c", lambda a, b: "fra-a" in (a, b)).items()
    )
    document = json.loads(pretty(matrix_report(matrix(hosts))))
    assert document["sick"] and problems("netdiag.fleet-matrix-1", document) == []
    document["sick"][0].pop("from")
    assert problems("netdiag.fleet-matrix-1", document) != []


def test_a_sweep_is_valid(tmp_path: Path) -> None:
    """Its report, and every line of its ledger."""
    targets = tuple(Target(name=name, address=name) for name in ("fra-a", "fra-b", "fra-c"))
    plan = Plan(netdiag="0", started="2026-11-25T23:00:00Z", inventory="file:hosts", targets=targets)
    ledger = begin(str(tmp_path), plan)
    ledger.add(Outcome(host="fra-a", status="collected", file="fra-a.netdiag", at=plan.started, octets=7, skew=9.5))
    ledger.add(Outcome(host="fra-b", status="unreached", reason="silent", at=plan.started))
    report = json.loads(sweep_json(ledger))
    assert len(report["hosts"]) == 2 and "file" not in report["hosts"][1] and report["finished"] is None
    ledger.finish(plan.started)
    for document in (report, json.loads(sweep_json(ledger))):
        assert problems("netdiag.sweep-report-1", document) == []
    lines = [json.loads(line) for line in (ledger.folder / "sweep.jsonl").read_text().splitlines() if line]
    assert len(lines) == 4 and not any(problems("netdiag.sweep-1", line) for line in lines)
    assert problems("netdiag.sweep-1", lines[0] | {"schema": "netdiag.sweep/2"}) != []
    report["hosts"][0]["status"] = "lost"
    assert problems("netdiag.sweep-report-1", report) != []


def test_the_contract_is_in_the_schema() -> None:
    schema = published("netdiag.report-1")
    definitions = schema["$defs"]
    finding, coverage = definitions["Finding"]["properties"], definitions["Coverage"]["properties"]
    assert set(finding["severity"]["enum"]) == {"critical", "warning", "info"}
    assert set(finding["confidence"]["enum"]) == {"certain", "likely", "possible"}
    assert set(schema["properties"]["verdict"]["enum"]) == {"ok", "warning", "critical", "unknown"}
    statuses = {"ok", "partial", "inconsistent", "absent", "denied", "timeout", "failed"}
    assert set(coverage["status"]["enum"]) == statuses
    assert finding["subject"]["properties"]["kind"]["enum"] == list(KINDS)
    assert set(schema["required"]) == {
        "schema",
        "netdiag",
        "host",
        "taken_at",
        "verdict",
        "findings",
        "coverage",
        "not_evaluated",
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.update(schema="netdiag.report/2"), "$.schema"),
        (lambda d: d.pop("coverage"), "$"),
        (lambda d: d["findings"][0].update(severity="fatal"), "$.findings[0].severity"),
        (lambda d: d["findings"][0].update(id="x"), "$.findings[0].id"),
        (lambda d: d["findings"][0]["subject"].update(kind="thing"), "$.findings[0].subject.kind"),
        (lambda d: d["findings"][0]["subject"].pop("kind"), "$.findings[0].subject"),
        (lambda d: d["findings"][0].pop("netns"), "$.findings[0]"),
        (lambda d: d["coverage"][0].update(status="fine"), "$.coverage[0].status"),
    ],
)
def test_what_breaks_the_contract_is_found(change: Any, where: str) -> None:
    document = json.loads(render_json(broken()))
    change(document)
    assert [problem.split(":")[0] for problem in problems("netdiag.report-1", document)] == [where]


def test_unknown_fields_may_be_added() -> None:
    document = json.loads(render_json(broken()))
    document["tomorrow"] = document["findings"][0]["tomorrow"] = 1
    assert problems("netdiag.report-1", document) == []


def test_hostile_strings_are_still_strings() -> None:
    found = problems("netdiag.report-1", json.loads(render_json(hostile())))
    assert [problem.split(":")[0] for problem in found] == ["$.findings[0].id"]  # the id is the engine's, never hostile


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(snapshots())
def test_any_snapshot_is_valid(snapshot: Snapshot) -> None:
    assert problems("netdiag.snapshot-1", document_of(snapshot)) == []


def test_a_snapshot_that_lies_is_found() -> None:
    document = document_of(small_snapshot())
    document["tables"]["links"][0]["mtu"] = "1500"
    assert problems("netdiag.snapshot-1", document) == ["$.tables.links[0].mtu: '1500' is not of type 'integer'"]
