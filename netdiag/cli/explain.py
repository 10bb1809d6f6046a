"""``netdiag explain RULE``: the page of one rule, and with a snapshot what it says about that host."""

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._rulenames import known, modules
from netdiag.cli._verb import Session, Verb, json_option


@click.command(cls=Verb, short_help="Print the page of one rule: what, why, confirm, fix, not flagged, references.")
@click.argument("rule")
@click.argument("snapshot", required=False)
@json_option()
@_told.intent_option()
@_told.baseline_option()
def command(
    session: Session, *, rule: str, snapshot: str | None, as_json: bool, intent: str | None, baseline: str | None
) -> int:
    """Print the page of RULE: what it checks, why it matters, how to confirm and fix it, what it does not flag.

    With SNAPSHOT ("-": standard input) also what the rule finds on that host, with the host's own names.
    """
    (name,) = known([rule])
    module = modules()[name]

    from netdiag.render.rulepages import page_json, page_on_host

    if snapshot is None and session.replay is None:
        _output.emit([page_json(module) if as_json else module.page], utf8=as_json)
        return 0
    from netdiag.engine import judge

    how = _told.with_intent(session, _host.options(interval=1.0, deadline=30.0), intent, snapshot)
    found = _told.overridden(_host.snapshot(session, snapshot, how), how, intent)
    report = judge(found, modules={name: module}, told=_told.told(None, baseline))
    _output.emit([page_json(module, report) if as_json else page_on_host(module, report)], utf8=as_json)
    return 0
