"""Two nights of a fleet: what is new, worse, better, gone, or comes and goes. Pure; nothing can fail.

A finding is the same one where its id is; a fault between hosts whose set of hosts has changed is the same one where
its rule and its object are.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from netdiag.model.finding import SEVERITY_RANK, Finding, Subject, subject_text
from netdiag.model.fleetdiff import ORDER, ChangeKind, FleetChange, FleetDiff, FleetSide
from netdiag.model.fleetreport import FleetReport

FLAPS = 3
"""Changes over the nights that are known, tonight's included, from which a finding flaps."""


def compare(old: FleetReport, new: FleetReport, seen: Sequence[frozenset[str]] = ()) -> FleetDiff:
    """``seen``: ids of the findings of earlier nights, oldest first, without the two."""
    before, after = ({finding.id: finding for finding in report.findings} for report in (old, new))
    renamed = _moved(before, after)
    changes: list[FleetChange] = []
    same = 0
    for identity, finding in after.items():
        was = before.get(renamed.get(identity, identity))
        kind = _kind(was, finding)
        nights = _nights(seen, identity, was is not None, True) if seen else ()
        if was is None and _flaps(nights):
            kind = "flapping"
        if kind is None:
            same += 1
            continue
        changes.append(FleetChange(kind=kind, finding=finding, before=was.severity if was else None, nights=nights))
    still = {renamed.get(identity, identity) for identity in after}
    reached = {host.name for host in new.hosts}
    blind = {row.rule for row in new.not_evaluated} - {row.rule for row in old.not_evaluated}
    for identity, was in before.items():
        if identity in still:
            continue
        nights = _nights(seen, identity, True, False) if seen else ()
        unseen = bool(_hosts(was.subject) - reached) or was.rule in blind
        gone: ChangeKind = "unknown" if unseen else "flapping" if _flaps(nights) else "gone"
        changes.append(FleetChange(kind=gone, finding=was, before=was.severity, nights=nights))
    place = {row.id: at for report in (old, new) for at, row in enumerate(report.findings)}
    changes.sort(key=lambda change: (ORDER.index(change.kind), place[change.finding.id]))
    hosts = [{host.name for host in report.hosts} for report in (old, new)]
    return FleetDiff(
        old=_side(old),
        new=_side(new),
        hosts_new=tuple(sorted(hosts[1] - hosts[0])),
        hosts_gone=tuple(sorted(hosts[0] - hosts[1])),
        changes=tuple(changes),
        same=same,
    )


def _side(report: FleetReport) -> FleetSide:
    return FleetSide(taken_at=report.taken_at, hosts=len(report.hosts), verdict=report.verdict)


def _hosts(subject: Subject) -> set[str]:
    named = subject.get("hosts", ())
    return set(named) if isinstance(named, (list, tuple)) else set()


def _kind(was: Finding | None, now: Finding) -> ChangeKind | None:
    if was is None:
        return "new"
    if was.severity == now.severity:
        return None
    return "worse" if SEVERITY_RANK[now.severity] < SEVERITY_RANK[was.severity] else "better"


def _moved(before: Mapping[str, Finding], after: Mapping[str, Finding]) -> dict[str, str]:
    """Id now to id before, of faults between hosts whose set of hosts has changed."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for identity, finding in before.items():
        if identity not in after and len(_hosts(finding.subject)) > 1:
            found[_object(finding)].append(identity)
    moved: dict[str, str] = {}
    for identity, finding in after.items():
        candidates = found.get(_object(finding), [])
        mine = _hosts(finding.subject)
        if identity in before or len(candidates) != 1 or len(mine) < 2:
            continue
        if mine & _hosts(before[candidates[0]].subject):
            moved[identity] = candidates.pop()
    return moved


def _object(finding: Finding) -> tuple[str, str]:
    bare: Subject = {key: value for key, value in finding.subject.items() if key != "hosts"}
    return finding.rule, subject_text(bare)


def _nights(seen: Iterable[frozenset[str]], identity: str, was: bool, now: bool) -> tuple[bool, ...]:
    return (*(identity in ids for ids in seen), was, now)


def _flaps(nights: Sequence[bool]) -> bool:
    return sum(one != two for one, two in itertools.pairwise(nights)) >= FLAPS
