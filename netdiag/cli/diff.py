"""``netdiag diff``: what differs between two snapshots, and between their findings."""

import click

from netdiag.cli import _host, _output
from netdiag.cli._verb import Session, Verb, json_option


@click.command(cls=Verb, short_help="Print what differs between two snapshots, and between their findings.")
@click.argument("old")
@click.argument("new")
@json_option()
def command(session: Session, *, old: str, new: str, as_json: bool) -> int:
    """Compare OLD with NEW ("-": standard input, for one of them). Exit status: 0 nothing differs, 1 something does.

    Things are compared by name. Counters, ages and what else moves all the time are left out.
    """
    from netdiag.compare import compare
    from netdiag.engine import judge
    from netdiag.render.changes import diff_json, diff_text

    how = _host.options(interval=0.0, deadline=30.0)
    first, second = _host.snapshot(session, old, how), _host.snapshot(session, new, how)
    diff = compare(first, second, (judge(first), judge(second)))
    _output.emit([diff_json(diff) if as_json else diff_text(diff)], utf8=as_json)
    return 0 if diff.same else 1
