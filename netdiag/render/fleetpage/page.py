"""The page itself, from top to bottom. Every foreign string passes ``style.text``. Nothing can fail."""

import html
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netdiag.model.finding import SEVERITY_RANK, Finding, Subject, subject_text
from netdiag.model.fleetdiff import FleetDiff, Night
from netdiag.model.fleetmesh import Mesh
from netdiag.model.fleetreport import FleetReport
from netdiag.render.fleetpage.meshmap import mesh_svg
from netdiag.render.fleetpage.plots import curves
from netdiag.render.fleetpage.style import POLICY, STYLE, anchor, text

FULL = 60
"""Root causes that are told in full; the others in one line each."""
CHIPS = 12
NARROW = 3
"""A finding on more hosts is about what they share: none of them is coloured for it."""
BELOW = 60
"""Findings that are listed below their cause."""
ODD = "fleet-odd-one-out"
"""The rule whose findings are the table of odd ones."""


@dataclass(frozen=True)
class Page:
    """Everything that the page shows."""

    report: FleetReport
    mesh: Mesh = field(default_factory=Mesh)
    trend: Sequence[Night] = ()
    diff: FleetDiff | None = None


def fleet_page(page: Page) -> str:
    """The whole document, with one line break at the end."""
    return "\n".join(_lines(page)) + "\n"


def _hosts(subject: Subject) -> list[str]:
    named: Any = subject.get("hosts", ())
    return [str(name) for name in named]


def _about(finding: Finding) -> str:
    return text(subject_text({key: value for key, value in finding.subject.items() if key != "hosts"}))


def _lines(page: Page) -> Iterator[str]:
    report = page.report
    roots = [finding for finding in report.findings if finding.explained_by is None]
    odd = [finding for finding in roots if finding.rule == ODD]
    roots = [finding for finding in roots if finding.rule != ODD]
    title = f"Fleet of {len(report.hosts)} host{'' if len(report.hosts) == 1 else 's'}"
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title}: {report.verdict}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>"
    yield from _head(page, title, roots)
    yield '<h2 id="causes">Findings by root cause</h2>'
    if not roots:
        yield '<p class="card">Nothing wrong found.</p>'
    by_id = {finding.id: finding for finding in report.findings}
    groups = _alike(roots)
    for alike in groups[:FULL]:
        yield from _card(alike, by_id)
    if len(groups) > FULL:
        yield f'<p class="soft">{len(groups) - FULL} more, in short:</p>\n<div class="rows">'
        yield from (_short(alike[0]) for alike in groups[FULL:])
        yield "</div>"
    yield from _mesh(page)
    yield from _trend(page)
    if odd:
        yield '<h2 id="odd">Odd ones out</h2>\n<div class="rows">'
        yield from map(_short, odd)
        yield "</div>"
    yield from _host_list(page)
    yield from _foot(page)
    yield "</main>\n</body>\n</html>"


def _narrow(finding: Finding) -> bool:
    """Whether it is about few enough hosts to be held against each of them."""
    return len(_hosts(finding.subject)) <= NARROW


def _alike(roots: Sequence[Finding]) -> list[list[Finding]]:
    """Root causes in their order, those together that are one fault on one object of several hosts."""
    groups: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in roots:
        single = len(_hosts(finding.subject)) == 1
        about = (finding.rule, finding.severity, str(finding.suppressed), _about(finding)) if single else (finding.id,)
        groups[about].append(finding)
    return list(groups.values())


def _head(page: Page, title: str, roots: Sequence[Finding]) -> Iterator[str]:
    report = page.report
    count = {
        severity: sum(row.severity == severity and row.suppressed is None for row in roots)
        for severity in SEVERITY_RANK
    }
    regions = {host.labels.get("region", "") for host in report.hosts} - {""}
    verdict = {"unknown": "no verdict"}.get(report.verdict, report.verdict)
    yield f'<header><h1>{title}</h1><span class="verdict {report.verdict}">{verdict}</span></header>'
    yield f'<p class="soft small">Newest snapshot {text(report.taken_at)}, netdiag {text(report.netdiag)}</p>'
    links = [("causes", "Causes"), ("mesh", "Mesh"), ("trend", "Trend"), ("hosts", "Hosts"), ("gaps", "Not judged")]
    shown = {"mesh": bool(page.mesh.links), "trend": bool(page.trend)}
    jumps = [f'<a href="#{to}">{word}</a>' for to, word in links if shown.get(to, True)]
    yield f"<nav>{' '.join(jumps)}</nav>"
    sick = sum(link.sick for link in page.mesh.links)
    figures = [
        ("", len(report.hosts), f"hosts in {len(regions)} region{'' if len(regions) == 1 else 's'}"),
        ("n-critical" if count["critical"] else "", count["critical"], "critical causes"),
        ("n-warning" if count["warning"] else "", count["warning"], "warnings"),
        ("n-critical" if sick else "", sick, "sick pairs"),
        ("n-warning" if report.unreached else "", len(report.unreached), "not in the report"),
    ]
    yield '<div class="figures">'
    for kind, number, words in figures:
        yield f'<div class="figure"><b class="{kind}">{number}</b><span>{words}</span></div>'
    yield "</div>"
    if page.diff is not None:
        kinds = [
            (kind, sum(c.kind == kind for c in page.diff.changes)) for kind in ("new", "worse", "flapping", "gone")
        ]
        said = ", ".join(f"{number} {kind}" for kind, number in kinds if number) or "nothing has changed"
        yield f'<p class="soft small">Since {text(page.diff.old.taken_at)}: {said}.</p>'


def _chips(hosts: Sequence[str]) -> str:
    if not hosts:
        return ""
    shown = "".join(f'<a href="#{anchor(name)}">{text(name)}</a>' for name in hosts[:CHIPS])
    more = f"<span>and {len(hosts) - CHIPS} more</span>" if len(hosts) > CHIPS else ""
    return f'<div class="chips">{shown}{more}</div>'


def _tag(finding: Finding) -> str:
    doubt = "" if finding.confidence == "certain" else f", {finding.confidence}"
    return f'<span class="tag {finding.severity}">{finding.severity}{doubt}</span>'


def _card(alike: Sequence[Finding], by_id: Mapping[str, Finding]) -> Iterator[str]:
    """One cause; of several hosts that have it the first is told in full."""
    finding = alike[0]
    silenced = " suppressed" if finding.suppressed is not None else ""
    yield f'<article class="card {finding.severity}{silenced}" id="f-{text(finding.id)}">'
    yield f'{_tag(finding)} <code>{text(finding.rule)}</code> <span class="soft small">{_about(finding)}</span>'
    yield f'<p class="message">{text(finding.message)}</p>'
    yield _chips([name for one in alike for name in _hosts(one.subject)])
    if len(alike) > 1:
        first = text(_hosts(finding.subject)[0])
        yield f'<p class="soft small">The same on {len(alike)} hosts; what follows is of {first}.</p>'
    if finding.suppressed is not None:
        yield f'<p class="soft">Suppressed: {text(finding.suppressed)}</p>'
    if finding.netns:
        yield f'<p class="soft">In network namespace {text(finding.netns)}.</p>'
    fix = "\n".join(map(text, finding.fix.split("\n")))
    confirm = "\n".join(map(text, finding.confirm))
    yield f'<p class="label">Fix</p>\n<pre>{fix}</pre>'
    yield "<details><summary>Evidence, and how to confirm it</summary>\n<dl>"
    for row in finding.evidence:
        yield f'<dt>{text(row.fact)}</dt><dd>{text(row.value)} <span class="soft small">{text(row.source)}</span></dd>'
    yield f"</dl>\n<pre>{confirm}</pre>\n"
    yield f'<p class="soft small">netdiag explain {text(finding.rule)}; id {text(finding.id)}</p></details>'
    below = [child for one in alike for child in _below(one, by_id)]
    if below:
        yield f"<details><summary>Explains {len(below)} other finding{'' if len(below) == 1 else 's'}</summary>"
        yield '<ul class="below">'
        for child in below[:BELOW]:
            on = ", ".join(map(text, _hosts(child.subject)[:4]))
            yield f'<li>{_tag(child)} <code>{text(child.rule)}</code> <span class="soft">{on}</span>'
            yield f"<br>{text(child.message)}</li>"
        if len(below) > BELOW:
            yield f'<li class="soft">and {len(below) - BELOW} more</li>'
        yield "</ul></details>"
    yield "</article>"


def _below(finding: Finding, by_id: Mapping[str, Finding], depth: int = 1) -> Iterator[Finding]:
    for identity in finding.explains:
        child = by_id.get(identity)
        if child is not None and depth < 20:
            yield child
            yield from _below(child, by_id, depth + 1)


def _short(finding: Finding) -> str:
    hosts = _hosts(finding.subject)
    first = f'<a href="#{anchor(hosts[0])}">{text(hosts[0])}</a>' if hosts else ""
    more = f' <span class="soft">+{len(hosts) - 1}</span>' if len(hosts) > 1 else ""
    return (
        f'<div><p>{_tag(finding)} <code>{text(finding.rule)}</code> <span class="soft">{_about(finding)}</span> '
        f"{first}{more}</p><p>{text(finding.message)}</p></div>"
    )


def _mesh(page: Page) -> Iterator[str]:
    if not page.mesh.links:
        return
    worst: dict[str, str] = {}
    for finding in page.report.findings:
        if finding.severity != "info" and finding.suppressed is None:
            for name in _hosts(finding.subject) if _narrow(finding) else ():
                if worst.get(name) != "critical":
                    worst[name] = finding.severity
    pairs, sick = sum(link.pairs for link in page.mesh.links), sum(link.sick for link in page.mesh.links)
    yield '<h2 id="mesh">The mesh</h2>\n<div class="card">'
    yield mesh_svg(page.mesh, worst)
    yield '<div class="key"><span><i class="ok"></i>nothing at warning or above</span>'
    yield '<span><i class="warning"></i>warning</span><span><i class="critical"></i>critical, or a sick pair</span>'
    yield "</div>"
    told = f"{sick} of {pairs} pairs of peers send and hear nothing" if sick else f"All {pairs} pairs of peers are well"
    drawn = f"; {len(page.mesh.sick)} of them are drawn" if len(page.mesh.sick) < sick else ""
    yield f'<p class="soft small">{told}{drawn}.</p></div>'


def _trend(page: Page) -> Iterator[str]:
    if not page.trend:
        return
    nights = [night.night for night in page.trend]
    yield '<h2 id="trend">Night by night</h2>\n<div class="two">'
    causes = [
        ("critical", [night.critical for night in page.trend]),
        ("warning", [night.warning for night in page.trend]),
    ]
    yield f'<div class="card"><h3>Root causes</h3>{curves("Root causes by night", nights, causes)}'
    yield '<div class="key"><span><i class="critical"></i>critical</span><span><i class="warning"></i>warning</span>'
    hosts = [("hosts", [night.hosts for night in page.trend])]
    yield f'</div></div>\n<div class="card"><h3>Hosts</h3>{curves("Hosts by night", nights, hosts)}'
    yield '<div class="key"><span><i class="hosts"></i>hosts collected</span></div></div>\n</div>'


def _host_list(page: Page) -> Iterator[str]:
    by_host: dict[str, list[Finding]] = defaultdict(list)
    for finding in page.report.findings:
        for name in _hosts(finding.subject):
            by_host[name].append(finding)
    bad = {
        name: min((SEVERITY_RANK[row.severity] for row in rows if _narrow(row)), default=5)
        for name, rows in by_host.items()
    }
    yield '<h2 id="hosts">Hosts</h2>\n<div class="rows">'
    for host in sorted(page.report.hosts, key=lambda row: (bad.get(row.name, 9), row.name)):
        rows = by_host.get(host.name, [])
        worst = min((row.severity for row in rows if _narrow(row)), key=SEVERITY_RANK.__getitem__, default=None)
        tag = f'<span class="tag {worst}">{len(rows)}</span>' if worst else '<span class="tag ok">ok</span>'
        tag = '<span class="tag">shares causes</span>' if rows and not worst else tag
        region = " ".join(filter(None, (host.labels.get("region"), host.labels.get("role"))))
        yield f'<details class="host" id="{anchor(host.name)}"><summary><b>{text(host.name)}</b>'
        yield f'<span class="soft region">{text(region)}</span>'
        yield f'<span class="soft small wide">{text(host.taken_at)}</span>'
        yield f"{tag}</summary>\n<dl>"
        for key, value in sorted(host.labels.items()):
            yield f"<dt>{text(key)}</dt><dd>{text(value)}</dd>"
        for status, names in host.coverage.items():
            said = f"{', '.join(map(text, names))}{' collectors' if status == 'ok' else ''}"
            yield f"<dt>read: {text(status)}</dt><dd>{said}</dd>"
        yield "</dl>"
        if rows:
            yield '<ul class="below">'
            for row in rows[:BELOW]:
                root = f' <a href="#f-{text(row.id)}">more</a>' if row.explained_by is None and row.rule != ODD else ""
                yield f"<li>{_tag(row)} <code>{text(row.rule)}</code>{root}<br>{text(row.message)}</li>"
            yield "</ul>"
        yield "</details>"
    yield "</div>"


def _foot(page: Page) -> Iterator[str]:
    report = page.report
    yield '<h2 id="gaps">Not judged</h2>'
    if report.unreached or report.notices:
        yield '<div class="rows">'
        for one in report.unreached:
            yield f"<div><b>{text(one.name)}</b> is not in the report: "
            yield f'<span class="soft">{text(one.reason)}</span></div>'
        for notice in report.notices:
            yield f'<div><span class="tag warning">{notice.kind}</span> <b>{text(notice.host)}</b>: '
            yield f'<span class="soft">{text(notice.detail)}</span></div>'
        yield "</div>"
    if report.not_evaluated:
        reasons: dict[str, list[str]] = defaultdict(list)
        for row in report.not_evaluated:
            reasons[row.reason].append(row.rule)
        yield "<details><summary>Rules that gave no answer, and why</summary>\n<dl>"
        for reason, rules in sorted(reasons.items(), key=lambda item: -len(item[1])):
            yield f"<dt>{text(reason)}</dt><dd>{', '.join(f'<code>{text(rule)}</code>' for rule in sorted(rules))}</dd>"
        yield "</dl></details>"
    else:
        yield '<p class="soft">Every rule gave an answer.</p>'
