"""``netdiag fleet matrix``: reachability and MTU of all pairs of a mesh."""

import click

from netdiag.cli import _output
from netdiag.cli._errors import NO_VERDICT, Refused
from netdiag.cli._verb import Session, Verb, json_option


@click.command("matrix", cls=Verb, short_help="Which host of a mesh reaches which, and with how long packets.")
@click.argument("folder", metavar="DIR")
@json_option()
def command(session: Session, *, folder: str, as_json: bool) -> int:
    """Show, for all ordered pairs of hosts that are WireGuard peers, whether one reaches the other and what fits.

    Exit status: 0 every pair is in order, 1 some are not, 3 there is no pair to judge.
    """
    from netdiag.fleet.load import FleetRefused, fleet_of
    from netdiag.fleet.matrix import matrix, report

    try:
        told = matrix(fleet_of(folder).hosts)
    except FleetRefused as error:
        raise Refused(str(error)) from error
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(report(told))], utf8=True)
    else:
        from netdiag.render.matrix import render_matrix

        colour, width = _output.in_colour(session.color), _output.terminal_width() or 80
        _output.emit([render_matrix(told, color=colour, width=width, verbose=session.verbose)])
    if not told.state.any():
        return NO_VERDICT
    return int(any(True for _ in told.sick()))
