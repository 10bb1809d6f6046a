"""Run the rules over a snapshot: findings, what was not evaluated, and the verdict.

Four answers, never two: a rule found something, found nothing in tables that were all read, could not be evaluated
(a gap in what it reads), or broke. A broken rule is reported as such and stops nothing.
"""

from collections.abc import Iterable

import msgspec

import netdiag
from netdiag.correlate import arrange
from netdiag.index.view import HostIndex, HostView, gaps
from netdiag.model.coverage import REQUIRED, NotEvaluated
from netdiag.model.finding import Draft, Finding, Host, Report, Unjudged, Verdict, finding_id
from netdiag.model.snapshot import Snapshot
from netdiag.rules import discover
from netdiag.rules.shape import RuleModule


def _finished(draft: Draft, *, inconsistent: bool) -> Draft:
    """Stamp the id; what comes from tables that changed while they were read is at most likely."""
    finding = draft.finding
    confidence = "likely" if inconsistent and finding.confidence == "certain" else finding.confidence
    identity = finding_id(finding.rule, finding.subject, finding.netns)
    finding = msgspec.structs.replace(finding, id=identity, confidence=confidence)
    return msgspec.structs.replace(draft, finding=finding)


def run_rule(module: RuleModule, index: HostIndex, snapshot: Snapshot) -> tuple[list[Draft], NotEvaluated | None]:
    """One rule over one namespace: what it found, and why it gave no answer or only half of one."""
    reasons, inconsistent = gaps(snapshot.coverage, snapshot.tables, module.rule.reads)
    if reasons:
        return [], NotEvaluated(rule=module.id, reason="; ".join(reasons))
    view = HostView(index, snapshot.meta, module.rule.reads, snapshot.coverage, module.rule.consults)
    drafts: list[Draft] = []
    unjudged: list[str] = []
    try:
        for said in module.check(view):
            if isinstance(said, Unjudged):
                unjudged.append(said.reason)
            else:
                drafts.append(_finished(said, inconsistent=inconsistent))
    except Exception as error:  # noqa: BLE001 - the engine's outer edge: one broken rule must not cost the others
        return [], NotEvaluated(rule=module.id, reason=f"the rule broke: {type(error).__name__}: {error}")
    if inconsistent and not drafts:
        unjudged.append("its tables changed while they were read")
    return _distinct(drafts), NotEvaluated(rule=module.id, reason="; ".join(unjudged)) if unjudged else None


def _distinct(drafts: Iterable[Draft]) -> list[Draft]:
    """One finding a subject: a rule that names an object twice has said it once."""
    seen: dict[str, Draft] = {}
    for draft in drafts:
        seen.setdefault(draft.finding.id, draft)
    return list(seen.values())


def verdict_of(snapshot: Snapshot, findings: Iterable[Finding]) -> Verdict:
    """Unknown where a required collector could not be read; else the worst severity at warning or above."""
    status = {row.collector: row.status for row in snapshot.coverage}
    if any(status.get(name) not in ("ok", "inconsistent", "partial") for name in REQUIRED):
        return "unknown"
    severities = {finding.severity for finding in findings if finding.suppressed is None}
    if "critical" in severities:
        return "critical"
    return "warning" if "warning" in severities else "ok"


def judge(
    snapshot: Snapshot,
    *,
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    modules: dict[str, RuleModule] | None = None,
) -> Report:
    """The report of one host. ``only`` and ``skip`` are rule ids; ``modules`` defaults to every rule there is."""
    chosen = discover() if modules is None else modules
    chosen = {name: m for name, m in chosen.items() if (not only or name in only) and name not in skip}
    index = HostIndex(snapshot.tables)
    drafts: list[Draft] = []
    not_evaluated: list[NotEvaluated] = []
    for module in chosen.values():
        found, gap = run_rule(module, index, snapshot)
        drafts += found
        if gap is not None:
            not_evaluated.append(gap)
    findings = arrange(drafts, {name: module.rule.explains for name, module in chosen.items()})
    meta = snapshot.meta
    return Report(
        netdiag=netdiag.__version__,
        host=Host(name=meta.name, kernel=meta.kernel, boot_id=meta.boot_id, netns=meta.netns),
        taken_at=meta.taken_at,
        verdict=verdict_of(snapshot, findings),
        findings=findings,
        coverage=snapshot.coverage,
        not_evaluated=tuple(not_evaluated),
    )
