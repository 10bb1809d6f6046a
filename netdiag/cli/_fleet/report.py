"""``netdiag fleet report``: a fleet as one HTML file."""

import click

from netdiag.cli import _output
from netdiag.cli._errors import Refused
from netdiag.cli._verb import Session, Verb


@click.command("report", cls=Verb, short_help="Write one HTML file: causes, map of the mesh, trends, hosts.")
@click.argument("source", metavar="STORE")
@click.option(
    "-o", "output", metavar="FILE", required=True, help='The file, written whole or not at all; "-": print it.'
)
def command(session: Session, *, source: str, output: str) -> int:
    """Write the report of STORE, a store or a folder of .netdiag files, as a file that needs nothing else.

    Trends and what has changed since the night before are in it where STORE is a store that has several nights.
    """
    _output.check_output_path(output)
    from netdiag.fleet.files import FleetRefused
    from netdiag.fleet.reporting import everything
    from netdiag.fleet.store.place import StoreRefused
    from netdiag.render.fleetpage.page import Page, fleet_page

    try:
        with _output.progress("judging the fleet"):
            found = everything(source)
    except (FleetRefused, StoreRefused) as error:
        raise Refused(str(error)) from error
    page = fleet_page(Page(found.report, found.mesh, found.trend, found.diff))
    if output == "-":
        _output.emit([page], utf8=True)
    else:
        _output.emit_file(output, page)
    return 0
