"""``netdiag rules``: the list of rules."""

import click

from netdiag.cli import _output
from netdiag.cli._rulenames import modules
from netdiag.cli._verb import Session, Verb, json_option


@click.command(cls=Verb, short_help="List the rules.")
@json_option()
def command(session: Session, as_json: bool) -> int:
    """List the rules: id, the worst severity that each reports, domain, and the fault in a few words."""
    from netdiag.render.rulepages import rules_json, rules_text

    found = list(modules().values())
    _output.emit([rules_json(found) if as_json else rules_text(found, _output.terminal_width())], utf8=as_json)
    return 0
