"""``netdiag fleet load``: put snapshots into a store."""

import time

import click

from netdiag.cli import _output
from netdiag.cli._errors import NO_VERDICT, Refused, Usage
from netdiag.cli._verb import Seconds, Session, Verb, json_option


@click.command("load", cls=Verb, short_help="Put snapshots into a store: Parquet, by night and region.")
@click.argument("sources", metavar="DIR|FILE...", nargs=-1, required=True)
@click.option("-o", "store", metavar="STORE", required=True, help="Folder or fsspec URL; made where it is not there.")
@click.option("--judge/--no-judge", default=True, help="Also run each host's rules now, so that check need not.")
@click.option(
    "--deadline",
    type=Seconds(positive=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="For judging one host: a rule that gives no answer is then left out, and told.",
)
@json_option()
def command(
    session: Session, *, sources: tuple[str, ...], store: str, judge: bool, deadline: float, as_json: bool
) -> int:
    """Load the .netdiag files of folders, or files, into STORE, which keeps every night.

    A file that is refused costs that file; one over which a rule hangs or dies costs that rule. What was loaded is seen
    by others all at once, when the load is done.
    Exit status: 0 loaded, 3 nothing could be loaded.
    """
    from netdiag.fleet.files import FleetRefused
    from netdiag.fleet.store.place import StoreRefused
    from netdiag.fleet.store.write import load_into

    if not store:
        raise Usage("-o: no store")
    try:
        with _output.progress("loading"):
            loaded = load_into(sources, store, now=time.time(), judge=judge, seconds=deadline)
    except (FleetRefused, StoreRefused) as error:
        raise Refused(str(error)) from error
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(loaded)], utf8=True)
    else:
        from netdiag.render.fleet import loaded_text

        _output.emit([loaded_text(loaded, store)])
    return 0 if loaded.hosts else NO_VERDICT
