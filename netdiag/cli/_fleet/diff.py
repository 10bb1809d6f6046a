"""``netdiag fleet diff``: what changed from night to night."""

import click

from netdiag.cli import _output
from netdiag.cli._errors import Refused, Usage
from netdiag.cli._verb import Session, Verb, json_option


@click.command("diff", cls=Verb, short_help="Print what is new, gone, worse or flapping from OLD to NEW.")
@click.argument("old")
@click.argument("new", required=False)
@json_option()
def command(session: Session, *, old: str, new: str | None, as_json: bool) -> int:
    """Compare two fleets: folders, stores, or nights of a store (STORE@2026-11-25).

    With one STORE: its last night with the one before. Exit status: 0 nothing is new, worse or flapping at warning or
    above, 1 something is, 2 something critical is.
    """
    from netdiag.fleet import nights
    from netdiag.fleet.files import FleetRefused
    from netdiag.fleet.store.place import StoreRefused

    try:
        with _output.progress("judging two fleets"):
            found = nights.last_two(old) if new is None else nights.between(old, new)
    except nights.OneNight as error:
        raise Usage(str(error)) from error
    except (FleetRefused, StoreRefused) as error:
        raise Refused(str(error)) from error
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(found)], utf8=True)
    else:
        from netdiag.render.fleetdiff import diff_text

        color = _output.in_colour(session.color)
        _output.emit([diff_text(found, color=color, verbose=session.verbose)])
    bad = {change.finding.severity for change in found.changes if change.kind in ("new", "worse", "flapping")}
    return 2 if "critical" in bad else 1 if "warning" in bad else 0
