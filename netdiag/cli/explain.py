"""``netdiag explain RULE``: the page of one rule."""

import click

from netdiag.cli import _output
from netdiag.cli._rulenames import known, modules
from netdiag.cli._verb import Session, Verb, json_option


@click.command(cls=Verb, short_help="Print the page of one rule: what, why, confirm, fix, not flagged, references.")
@click.argument("rule")
@json_option()
def command(session: Session, rule: str, as_json: bool) -> int:
    """Print the page of RULE: what it checks, why it matters, how to confirm and fix it, what it does not flag."""
    (name,) = known([rule])
    module = modules()[name]

    from netdiag.render.rulepages import page_json

    _output.emit([page_json(module) if as_json else module.page], utf8=as_json)
    return 0
