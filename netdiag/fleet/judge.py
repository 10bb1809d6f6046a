"""Judge a fleet: every host's own findings, and the faults between hosts above what they explain.

Findings of a host carry its name in ``subject.hosts``, in everything they touch and break, so that a cause on one host
never explains a symptom on another unless a rule of the fleet says so.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, cast

import msgspec

import netdiag
from netdiag.correlate import arrange
from netdiag.engine import unheard
from netdiag.fleet.judged import Judged, judged
from netdiag.fleet.load import Fleet, view_of
from netdiag.index.fleet import FleetHost, FleetView, on
from netdiag.model.coverage import REQUIRED, NotEvaluated
from netdiag.model.finding import Draft, Finding, Severity, Subject, Unjudged, Verdict, finding_id
from netdiag.model.fleetreport import FleetHostLine, FleetReport
from netdiag.model.snapshot import Snapshot
from netdiag.rules import discover
from netdiag.rules.shape import RuleModule

NAMED = 5
"""Hosts that a line of ``not_evaluated`` names."""


def _of_host(draft: Draft, host: str) -> Draft:
    about = on(host, draft.finding.subject)
    identity = finding_id(draft.finding.rule, about, draft.finding.netns)
    return Draft(
        finding=msgspec.structs.replace(draft.finding, subject=about, id=identity),
        touches=tuple(on(host, thing) for thing in draft.touches),
        breaks=tuple(on(host, thing) for thing in draft.breaks),
    )


class Workers(Protocol):
    """Where rules run: in this process, or on a cluster (netdiag.fleet.spark.judging)."""

    def own(self, hosts: Sequence[FleetHost], modules: dict[str, RuleModule]) -> Iterable[Judged]:
        """What the rules say of each host by itself, in the order of the hosts."""

    def between(self, view: FleetView, modules: dict[str, RuleModule]) -> tuple[list[Draft], list[NotEvaluated]]:
        """What the rules of the fleet find, and which of them could not look."""


class Here:
    """In this process."""

    def __init__(self, began: Callable[[str], None] = unheard) -> None:
        """``began`` hears the id of each rule between hosts before it is run."""
        self.began = began

    def own(self, hosts: Sequence[FleetHost], modules: dict[str, RuleModule]) -> Iterable[Judged]:
        """See Workers."""
        return (own_judgement(host, modules) for host in hosts)

    def between(self, view: FleetView, modules: dict[str, RuleModule]) -> tuple[list[Draft], list[NotEvaluated]]:
        """See Workers."""
        return across_hosts(view, modules, self.began)


def own_judgement(host: FleetHost, modules: dict[str, RuleModule]) -> Judged:
    """What the rules say of one host by itself: from the store where it is kept, else by running them."""
    return kept_judgement(host) or judged(complete(host.snapshot), modules)


def kept_judgement(host: FleetHost) -> Judged | None:
    """What the rules said of a host when it was stored; None: nothing is kept."""
    if host.judged is None:
        return None
    from netdiag.fleet.store.read import judged_of

    return judged_of(host.judged)


def complete(snapshot: Snapshot) -> Snapshot:
    """The snapshot with all its tables in memory: one of a store decodes them again and again otherwise."""
    whole = getattr(snapshot.tables, "whole", None)
    return snapshot if whole is None else replace(snapshot, tables=whole())


def _hosts_own(
    hosts: Iterable[FleetHost], answers: Iterable[Judged]
) -> tuple[list[Draft], dict[str, list[str]], set[str]]:
    """What was found, by rule and reason where nothing could be, and the hosts about which no rule said anything."""
    drafts: list[Draft] = []
    silent: dict[str, list[str]] = defaultdict(list)
    mute: set[str] = set()
    for host, said in zip(hosts, answers, strict=True):
        mute |= set() if said.at_all else {host.name}
        drafts += [_of_host(draft, host.name) for draft in said.drafts]
        for gap in said.silent:
            silent[f"{gap.rule}\n{gap.reason}"].append(host.name)
    return drafts, silent, mute


def across_hosts(
    view: FleetView, modules: dict[str, RuleModule], began: Callable[[str], None] = unheard
) -> tuple[list[Draft], list[NotEvaluated]]:
    """What the rules of the fleet find, and which of them could not look."""
    drafts: dict[str, Draft] = {}
    silent: list[NotEvaluated] = []
    for module in modules.values():
        began(module.id)
        try:
            for said in module.check(view):
                if isinstance(said, Unjudged):
                    silent.append(NotEvaluated(rule=module.id, reason=said.reason))
                    continue
                identity = finding_id(said.finding.rule, said.finding.subject, None)
                finding = msgspec.structs.replace(said.finding, id=identity)
                drafts.setdefault(identity, msgspec.structs.replace(said, finding=finding))
        except Exception as error:  # noqa: BLE001 - the engine's outer edge: one broken rule must not cost the others
            silent.append(NotEvaluated(rule=module.id, reason=f"the rule broke: {type(error).__name__}: {error}"))
    return list(drafts.values()), silent


def _symptoms(drafts: Iterable[Draft]) -> dict[str, dict[str, tuple[Subject, ...]]]:
    """Which rules raise an alarm on which hosts, and about what."""
    found: dict[str, dict[str, tuple[Subject, ...]]] = defaultdict(dict)
    for draft in drafts:
        about = draft.finding.subject
        for name in cast(list[str], about["hosts"]) if draft.finding.severity != "info" else ():
            by_host = found[draft.finding.rule]
            by_host[name] = (*by_host.get(name, ()), about)
    return dict(found)


def _unread(view: FleetView, modules: dict[str, RuleModule]) -> Iterator[NotEvaluated]:
    for module in modules.values():
        without = [host.name for host in view.hosts if not host.read(*module.rule.reads)]
        if without:
            yield NotEvaluated(
                rule=module.id, reason=f"{', '.join(module.rule.reads)} not read whole on {_named(without)}"
            )


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return ", ".join(sorted(hosts)[:NAMED]) + more


def _line(host: FleetHost) -> FleetHostLine:
    statuses: dict[str, list[str]] = defaultdict(list)
    for row in host.snapshot.coverage:
        statuses[row.status].append(row.collector)
    statuses["ok"] = [str(len(statuses["ok"]))]
    return FleetHostLine(
        name=host.name,
        labels=host.labels,
        taken_at=host.snapshot.meta.taken_at,
        coverage=dict(sorted(statuses.items())),
    )


def _verdict(fleet: Fleet, mute: set[str], findings: Iterable[Finding]) -> Verdict:
    severities = {finding.severity for finding in findings if finding.suppressed is None}
    if "critical" in severities:
        return "critical"
    if "warning" in severities:
        return "warning"
    readable = [host for host in fleet.hosts if host.name not in mute and host.read(*REQUIRED)]
    return "ok" if readable else "unknown"


def judge_fleet(fleet: Fleet, workers: Workers | None = None) -> FleetReport:
    """The report of a fleet. ``workers``: None is this process."""
    runs = workers or Here()
    own, between = discover(), discover("fleet")
    drafts, silent, mute = _hosts_own(fleet.hosts, runs.own(fleet.hosts, own))
    unreached = tuple(row.name for row in fleet.unreached)
    view = view_of(fleet, unreached=unreached, symptoms=_symptoms(drafts))
    found, unjudged = runs.between(view, between)
    explains = {name: module.rule.explains for name, module in own.items()}
    for name, module in between.items():
        explains[name] = explains.get(name, ()) + module.rule.explains
    usual: dict[str, Severity] = {name: module.rule.severity for name, module in own.items()}
    usual |= dict.fromkeys(between, "critical")  # of what is only information, first what no single host can see
    findings = arrange([*found, *drafts], explains, usual)
    grouped = [
        NotEvaluated(rule=rule, reason=f"{reason} (on {_named(hosts)})")
        for (rule, reason), hosts in ((key.split("\n", 1), hosts) for key, hosts in sorted(silent.items()))
    ]
    return FleetReport(
        netdiag=netdiag.__version__,
        taken_at=max((host.snapshot.meta.taken_at for host in fleet.hosts), default=""),
        verdict=_verdict(fleet, mute, findings),
        hosts=tuple(_line(host) for host in fleet.hosts),
        unreached=fleet.unreached,
        notices=fleet.notices,
        findings=findings,
        not_evaluated=(*unjudged, *_unread(view, between), *grouped),
    )
