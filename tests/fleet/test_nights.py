"""From night to night: what is new, worse, better, gone, comes and goes, or cannot be told; and the trend."""

from pathlib import Path

from netdiag.fleet import nights
from netdiag.fleet.compare import compare
from netdiag.fleet.history import trend
from netdiag.fleet.load import fleet_of
from netdiag.fleet.store.write import load_into
from netdiag.index.fleet import across, on
from netdiag.model.coverage import NotEvaluated
from netdiag.model.finding import Evidence, Finding, Severity, Subject, finding_id, subject
from netdiag.model.fleetreport import FleetHostLine, FleetReport
from netdiag.render.fleetdiff import diff_text
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from tests.fleet.test_store import NOW, put, snapshot


def finding(rule: str, about: Subject, severity: Severity = "warning") -> Finding:
    return Finding(
        id=finding_id(rule, about, None),
        rule=rule,
        severity=severity,
        confidence="certain",
        subject=about,
        message="m\x1b[31m",
        evidence=(Evidence(fact="f", value="v", source="s"),),
        confirm=(),
        fix="x",
    )


def report(hosts: str, *findings: Finding, blind: tuple[str, ...] = ()) -> FleetReport:
    lines = tuple(FleetHostLine(name=name, labels={}, taken_at="", coverage={}) for name in hosts)
    return FleetReport(
        netdiag="0",
        taken_at="",
        verdict="ok",
        hosts=lines,
        unreached=(),
        findings=findings,
        not_evaluated=tuple(NotEvaluated(rule=rule, reason="") for rule in blind),
    )


def link(host: str, name: str = "eth0") -> Subject:
    return on(host, subject("link", ifname=name))


def test_what_became_of_each() -> None:
    stays, worse, gone, new = (finding(rule, link("a")) for rule in ("stays", "worse", "gone", "new"))
    lost, blind = finding("lost", link("b")), finding("blind", link("a"))
    old = report("ab", stays, worse, gone, lost, blind)
    bad = finding("worse", link("a"), "critical")
    found = compare(old, report("ac", stays, bad, new, blind=("blind",)))
    assert [(change.kind, change.finding.rule) for change in found.changes] == [
        ("new", "new"),
        ("worse", "worse"),
        ("unknown", "lost"),
        ("unknown", "blind"),
        ("gone", "gone"),
    ]
    assert found.same == 1 and found.hosts_new == ("c",) and found.hosts_gone == ("b",)
    assert "\x1b" not in diff_text(found)
    back = compare(report("a", bad), report("a", worse))
    assert [(change.kind, change.before) for change in back.changes] == [("better", "critical")]


def test_a_cut_that_grows_is_the_same_cut() -> None:
    small, large = (finding("cut", across(hosts, subject("region", name="fra"))) for hosts in ("ab", "abc"))
    assert small.id != large.id
    assert compare(report("abc", small), report("abc", large)).changes == ()
    elsewhere = finding("cut", across("de", subject("region", name="fra")))
    assert [c.kind for c in compare(report("abcde", small), report("abcde", elsewhere)).changes] == ["new", "gone"]


def test_flapping_needs_three_changes() -> None:
    one = finding("x", link("a"))
    there, absent = frozenset({one.id}), frozenset[str]()
    without, having = report("a"), report("a", one)
    assert [c.kind for c in compare(without, having, [there]).changes] == ["new"], "two changes"
    assert [c.kind for c in compare(without, having, [absent, there]).changes] == ["flapping"]
    assert [c.kind for c in compare(having, without, [absent]).changes] == ["gone"]
    assert [c.kind for c in compare(having, without, [there, absent]).changes] == ["flapping"]


def test_nights_of_a_store(tmp_path: Path) -> None:
    """fra-c has the address of fra-b every other night; on the last night it is not collected."""
    store = str(tmp_path / "store")
    twice = mesh("abc") | {"fra-c": finished("c", peered(builder("c", address="10.64.0.2"), "ab"))}
    for number, hosts in enumerate((mesh("abc"), twice, mesh("abc"), twice, mesh("ab"))):
        folder = tmp_path / str(number)
        for name, tables in hosts.items():
            put(folder, f"{name}.netdiag", snapshot(name, tables, taken_at=f"2026-11-2{number}T23:00:00Z"))
        load_into([str(folder)], store, now=NOW - 86400 * (5 - number))
    first = nights.between(f"{store}@2026-11-20", f"{store}@2026-11-21")
    assert {c.kind for c in first.changes} == {"new"}
    assert "wg-mesh-duplicate-ip" in {c.finding.rule for c in first.changes}
    again = nights.between(f"{store}@2026-11-22", f"{store}@2026-11-23")
    assert {c.kind for c in again.changes if c.finding.rule == "wg-mesh-duplicate-ip"} == {"flapping"}
    last = nights.last_two(store)
    assert {c.kind for c in last.changes if c.finding.rule == "wg-mesh-duplicate-ip"} == {"unknown"}
    assert last.hosts_gone == ("fra-c",)
    found = trend(fleet_of(store).stored)
    assert [(night.night[-2:], night.hosts) for night in found] == [
        ("20", 3), ("21", 3), ("22", 3), ("23", 3), ("24", 2),
    ]  # fmt: skip
    assert [night.rules.get("wg-mesh-duplicate-ip", 0) for night in found] == [0, 1, 0, 1, 0]
