"""What became of the hosts of a sweep, for a person and as ``netdiag.sweep-report/1``. Every foreign string passes
``escape``. Nothing can fail."""

from collections import Counter, defaultdict

import msgspec

from netdiag.fleet.sweep.ledger import Ledger
from netdiag.model.sweep import Outcome, SweepReport, SweptHost
from netdiag.render.escape import json_text, visible

SHOWN = 10
"""Hosts that a line names, without ``verbose``."""


def _by_reason(ledger: Ledger) -> dict[tuple[str, str], list[Outcome]]:
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for _, outcome in sorted(ledger.outcomes.items()):
        if outcome.status != "collected":
            # A reason that begins with the host's own address would stand alone: group by what follows.
            found[outcome.status, outcome.reason.replace(outcome.host, "it")].append(outcome)
    return found


def sweep_text(ledger: Ledger, *, verbose: bool = False) -> str:
    """Counts, then every reason with its hosts."""
    many = len(ledger.plan.targets)
    counts = Counter(outcome.status for outcome in ledger.outcomes.values())
    lines = [
        f"{many} host{'' if many == 1 else 's'}: {counts['collected']} collected, {counts['unreached']} unreached, "
        f"{counts['refused']} refused"
    ]
    for (status, reason), outcomes in sorted(_by_reason(ledger).items(), key=lambda item: (item[0][0], -len(item[1]))):
        names = [outcome.host for outcome in outcomes]
        shown = names if verbose else names[:SHOWN]
        more = f" and {len(names) - len(shown)} more (-v)" if len(names) > len(shown) else ""
        lines.append(f"{status}: {visible(reason)}: {visible(', '.join(shown))}{more}")
    skewed = [f"{name} {outcome.skew:+g} s" for name, outcome in sorted(ledger.outcomes.items()) if outcome.skew]
    if skewed:
        shown = skewed if verbose else skewed[:SHOWN]
        more = f" and {len(skewed) - len(shown)} more (-v)" if len(skewed) > len(shown) else ""
        lines.append(f"clocks that differ from this one: {visible(', '.join(shown))}{more}")
    lines.append(
        f"in {visible(str(ledger.folder))}; netdiag fleet check {visible(str(ledger.folder.parent))} judges it"
    )
    return "\n".join(lines) + "\n"


def sweep_json(ledger: Ledger) -> str:
    """``netdiag.sweep-report/1``: the ledger's outcomes by name, with the plan's labels."""
    ended = [(target, ledger.outcomes[target.name]) for target in ledger.plan.targets if target.name in ledger.outcomes]
    report = SweepReport(
        netdiag=ledger.plan.netdiag,
        started=ledger.plan.started,
        finished=ledger.finished,
        inventory=ledger.plan.inventory,
        folder=str(ledger.folder),
        hosts=tuple(SweptHost(labels=one.labels, **msgspec.structs.asdict(outcome)) for one, outcome in ended),
    )
    return json_text(msgspec.json.format(msgspec.json.encode(report), indent=1).decode()) + "\n"
