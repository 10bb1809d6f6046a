"""Run the rules over a snapshot: findings, what was not evaluated, and the verdict.

Four answers, never two: a rule found something, found nothing in tables that were all read, could not be evaluated
(a gap in what it reads, or in what it asked besides and raised no alarm), or broke. A broken rule is reported as such
and stops nothing.
"""

from collections.abc import Callable, Iterable

import msgspec

import netdiag
from netdiag.correlate import arrange
from netdiag.elsewhere import placed
from netdiag.index.spaces import COLLECTED, name_of, snapshots
from netdiag.index.view import HostIndex, HostView, Told, gaps
from netdiag.model.coverage import REQUIRED, NotEvaluated
from netdiag.model.finding import Draft, Finding, Host, Report, Subject, Unjudged, Verdict, finding_id
from netdiag.model.netnsstate import NetnsState
from netdiag.model.snapshot import Snapshot
from netdiag.rules import discover
from netdiag.rules.shape import RuleModule
from netdiag.suppress import silence

NAMED = 3
"""Interfaces that are named in a message."""


def _interfaces(things: Iterable[Subject]) -> frozenset[str]:
    return frozenset(str(thing["ifname"]) for thing in things if "ifname" in thing)


def _settled(draft: Draft, moving: frozenset[str]) -> Draft:
    """What is found on a guest's interface that came or went while the host was read, or is said to suffer on such ones
    alone, may be two moments put together: it is told as possible, and explains nothing."""
    finding = draft.finding
    names = _interfaces((finding.subject, *draft.touches)) & moving
    if (suffering := _interfaces(draft.breaks)) <= moving:
        names |= suffering
    if draft.of_absence:
        names = moving
    if not names or finding.severity == "info":
        return draft
    named = ", ".join(sorted(names)[:NAMED]) + (", ..." if len(names) > NAMED else "")
    message = f"{finding.message}; {named} came or went while it was read: look again"
    finding = msgspec.structs.replace(finding, message=message, severity="info", confidence="possible")
    return msgspec.structs.replace(draft, finding=finding, breaks=())


def _finished(draft: Draft, *, inconsistent: bool) -> Draft:
    """Stamp the id; what comes from tables that changed while they were read is at most likely."""
    finding = draft.finding
    confidence = "likely" if inconsistent and finding.confidence == "certain" else finding.confidence
    identity = finding_id(finding.rule, finding.subject, finding.netns)
    finding = msgspec.structs.replace(finding, id=identity, confidence=confidence)
    return msgspec.structs.replace(draft, finding=finding)


def _as_it_is(draft: Draft) -> Draft:
    return draft


def run_rule(
    module: RuleModule,
    index: HostIndex,
    snapshot: Snapshot,
    *,
    told: Told | None = None,
    place: Callable[[Draft], Draft] = _as_it_is,
) -> tuple[list[Draft], NotEvaluated | None]:
    """One rule over one namespace: what it found, and why it gave no answer or only half of one.

    ``place`` turns a draft into one of the namespace that was looked at.
    """
    reasons, inconsistent = gaps(snapshot.coverage, snapshot.tables, module.rule.reads, told)
    if reasons:
        return [], NotEvaluated(rule=module.id, reason="; ".join(reasons))
    view = HostView(
        index, snapshot.meta, module.rule.reads, snapshot.coverage, consults=module.rule.consults, told=told
    )
    drafts: list[Draft] = []
    unjudged: list[str] = []
    try:
        for said in module.check(view):
            if isinstance(said, Unjudged):
                unjudged.append(said.reason)
            else:
                drafts.append(_finished(place(_settled(said, index.moving)), inconsistent=inconsistent))
    except Exception as error:  # noqa: BLE001 - the engine's outer edge: one broken rule must not cost the others
        return [], NotEvaluated(rule=module.id, reason=f"the rule broke: {type(error).__name__}: {error}")
    if inconsistent and not drafts:
        unjudged.append("its tables changed while they were read")
    if not unjudged and all(draft.finding.severity == "info" for draft in drafts):
        unjudged += view.unanswered()
    return _distinct(drafts), NotEvaluated(rule=module.id, reason="; ".join(unjudged)) if unjudged else None


def _distinct(drafts: Iterable[Draft]) -> list[Draft]:
    """One finding a subject: a rule that names an object twice has said it once."""
    seen: dict[str, Draft] = {}
    for draft in drafts:
        seen.setdefault(draft.finding.id, draft)
    return list(seen.values())


def _elsewhere(
    modules: dict[str, RuleModule], state: NetnsState, snapshot: Snapshot, began: Callable[[str], None]
) -> tuple[list[Draft], list[NotEvaluated]]:
    """Every rule over another namespace that needs nothing but what was read there. Of what a person tells, which is
    about the host's own namespace, it sees nothing.

    Rules of a thing that the namespace does not have are left out, as are those that judge the whole machine: they
    stand once, with the host's own.
    """
    if all(link.loopback for link in snapshot.tables.links):
        return [], []
    index = HostIndex(snapshot.tables)
    absent = {row.collector for row in snapshot.coverage if row.status == "absent"}
    drafts: list[Draft] = []
    not_evaluated: list[NotEvaluated] = []
    for module in modules.values():
        reads = set(module.rule.reads)
        if not reads <= COLLECTED or module.rule.machine_wide or reads & absent:
            continue
        began(module.id)
        found, gap = run_rule(module, index, snapshot, place=lambda draft: placed(draft, state))
        drafts += found
        if gap is not None:
            not_evaluated.append(msgspec.structs.replace(gap, netns=name_of(state)))
    return drafts, not_evaluated


def verdict_of(snapshot: Snapshot, findings: Iterable[Finding]) -> Verdict:
    """Unknown where a required collector could not be read; else the worst severity at warning or above."""
    status = {row.collector: row.status for row in snapshot.coverage}
    if any(status.get(name) not in ("ok", "inconsistent", "partial") for name in REQUIRED):
        return "unknown"
    severities = {finding.severity for finding in findings if finding.suppressed is None}
    if "critical" in severities:
        return "critical"
    return "warning" if "warning" in severities else "ok"


def unheard(rule: str) -> None:
    """Nobody wants to know which rule is being run."""


def drafts_of(
    snapshot: Snapshot,
    modules: dict[str, RuleModule],
    told: Told | None = None,
    began: Callable[[str], None] = unheard,
) -> tuple[list[Draft], list[NotEvaluated]]:
    """What the rules find on one host and in its other namespaces, not yet put in order, and which gave no answer.

    ``began`` hears the id of each rule before it is run.
    """
    index = HostIndex(snapshot.tables)
    drafts: list[Draft] = []
    not_evaluated: list[NotEvaluated] = []
    for module in modules.values():
        began(module.id)
        found, gap = run_rule(module, index, snapshot, told=told)
        drafts += found
        if gap is not None:
            not_evaluated.append(gap)
    for state, own in snapshots(snapshot):
        found, unjudged = _elsewhere(modules, state, own, began)
        drafts += found
        not_evaluated += unjudged
    return drafts, not_evaluated


def judge(
    snapshot: Snapshot,
    *,
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    modules: dict[str, RuleModule] | None = None,
    told: Told | None = None,
) -> Report:
    """The report of one host. ``only`` and ``skip`` are rule ids; ``modules`` defaults to every rule there is; ``told``
    is what a person gave beside the host."""
    chosen = discover() if modules is None else modules
    chosen = {name: m for name, m in chosen.items() if (not only or name in only) and name not in skip}
    drafts, not_evaluated = drafts_of(snapshot, chosen, told)
    drafts = silence(drafts, told.suppressions if told else None, snapshot.meta.taken_at)
    cards = {name: module.rule for name, module in chosen.items()}
    findings = arrange(
        drafts,
        {name: rule.explains for name, rule in cards.items()},
        {name: rule.severity for name, rule in cards.items()},
    )
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
