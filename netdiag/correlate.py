"""From findings to causes: which finding explains which, and the order in which a person should read them.

A finding A explains B where A's rule says that it can cause B's (``Rule.explains``) and an object that A breaks is one
that B touches (``Draft``). Each finding hangs under one cause, the one that is nearest: a cause that is itself
explained
is nearer than its own cause, so chains come out as chains. A cycle is impossible: an explainer must come earlier in a
fixed order, or not be explained, directly or over others, by what it explains.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import msgspec

from netdiag.model.finding import CONFIDENCE_RANK, SEVERITY_RANK, Draft, Finding, Severity, Subject, family_of

Key = tuple[str | None, tuple[tuple[str, str], ...]]


def _key(subject: Subject, netns: str | None) -> Key:
    """An object of one namespace: interfaces of one name live in many."""
    return netns, tuple(sorted((name, str(value)) for name, value in subject.items()))


def _rank(finding: Finding) -> tuple[bool, int, int, str, str]:
    silenced = finding.suppressed is not None
    return silenced, SEVERITY_RANK[finding.severity], CONFIDENCE_RANK[finding.confidence], finding.rule, finding.id


def _suspicion(tree: list[Finding], usual: Mapping[str, Severity]) -> tuple[bool, int, int, int, int, str, str]:
    """The order of findings of one severity, of which each has what it explains below it.

    What is only information may still be why somebody asks: first what its rule takes for grave where it is sure,
    then what is certain, then what explains most; the names of rules decide last. Where traffic is lost, certainty
    comes first at once.
    """
    silenced, severity, confidence, rule, number = _rank(tree[0])
    grave = SEVERITY_RANK[usual.get(tree[0].rule, "info")] if tree[0].severity == "info" else 0
    return silenced, severity, grave, confidence, -len(tree), rule, number


def _causes(drafts: list[Draft], explains: Mapping[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """For each finding id, the ids of every finding that can be its cause."""
    touched: dict[Key, set[int]] = defaultdict(set)
    for position, draft in enumerate(drafts):
        for thing in (draft.finding.subject, *draft.touches):
            touched[_key(thing, draft.finding.netns)].add(position)
    causes: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        patterns = explains.get(draft.finding.rule, ())
        if not patterns or draft.finding.confidence == "possible":
            continue  # a guess must not hide a fact
        for thing in (draft.finding.subject, *draft.breaks):
            for position in touched[_key(thing, draft.finding.netns)]:
                other = drafts[position].finding
                if draft.finding.suppressed is not None and other.suppressed is None:
                    continue  # what was accepted must not swallow what was not
                if other.id != draft.finding.id and _can_cause(draft, drafts[position], patterns):
                    causes[other.id].add(draft.finding.id)
    return causes


def _can_cause(draft: Draft, below: Draft, patterns: tuple[str, ...]) -> bool:
    """Whether a rule explains another one's finding by its name, and the two are not about different families."""
    rule = below.finding.rule
    named = rule in patterns if below.own_cause else any(fnmatchcase(rule, pattern) for pattern in patterns)
    suffers = family_of((below.finding.subject, *below.touches)) if named and draft.family else None
    return named and suffers in (None, draft.family)


def _reaches(parents: Mapping[str, str], start: str, goal: str) -> bool:
    """Whether following ``parents`` up from ``start`` meets ``goal``."""
    at: str | None = start
    while at is not None:
        if at == goal:
            return True
        at = parents.get(at)
    return False


def _parents(drafts: list[Draft], causes: Mapping[str, set[str]]) -> dict[str, str]:
    """One parent for each explained finding: the nearest cause, ties by rank; never a cycle."""
    findings = {draft.finding.id: draft.finding for draft in drafts}
    parents: dict[str, str] = {}
    for finding in sorted(findings.values(), key=_rank):
        possible = causes.get(finding.id, set())
        # Nearest first: a cause that other possible causes also explain lies below them.
        ordered = sorted(possible, key=lambda c: (-len(causes.get(c, set()) & possible), _rank(findings[c])))
        for cause in ordered:
            if not _reaches(parents, cause, finding.id):
                parents[finding.id] = cause
                break
    return parents


def _worst(findings: Iterable[Finding]) -> Severity:
    return min((finding.severity for finding in findings), key=SEVERITY_RANK.__getitem__)


def _heard(finding: Finding, below: Iterable[Finding]) -> Iterable[Finding]:
    """The finding and what counts of the ones below: a suppressed one makes its cause no worse."""
    return finding, *(row for row in below if row.suppressed is None or finding.suppressed is not None)


def arrange(
    drafts: Iterable[Draft], explains: Mapping[str, tuple[str, ...]], usual: Mapping[str, Severity] | None = None
) -> tuple[Finding, ...]:
    """Findings in reading order: the root causes, worst first, then what they explain, each below its cause. ``usual``
    is the severity of each rule's card.

    A cause is as severe as the worst that it explains: a warning that loses traffic through its consequence loses
    traffic.
    """
    drafts, usual = list(drafts), usual or {}
    parents = _parents(drafts, _causes(drafts, explains))
    children: dict[str | None, list[Finding]] = defaultdict(list)
    for draft in drafts:
        children[parents.get(draft.finding.id)].append(draft.finding)

    def tree(finding: Finding) -> list[Finding]:
        branches = sorted((tree(child) for child in children[finding.id]), key=lambda rows: _suspicion(rows, usual))
        below = [row for rows in branches for row in rows]
        own = msgspec.structs.replace(
            finding,
            severity=_worst(_heard(finding, below)),
            explains=tuple(rows[0].id for rows in branches),
            explained_by=parents.get(finding.id),
        )
        return [own, *below]

    trees = sorted((tree(root) for root in children[None]), key=lambda rows: _suspicion(rows, usual))
    return tuple(rows[0] for rows in trees) + tuple(row for rows in trees for row in rows[1:])
