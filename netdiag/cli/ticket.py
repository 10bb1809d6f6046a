"""``netdiag ticket``: Markdown for an incident ticket, and the snapshot beside it."""

import os

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._errors import Usage
from netdiag.cli._verb import Session, Verb, bird_socket_option, deadline_option, hostname_option, interval_option


@click.command(cls=Verb, short_help="Write Markdown for an incident ticket, with the snapshot beside it.")
@click.argument("snapshot", required=False)
@click.option(
    "-i", "identity", metavar="ID", help="Id of the ticket, for its title; or of one finding, to tell it alone."
)
@click.option("-o", "output", metavar="FILE", help="Write the ticket to FILE, and the snapshot beside it.")
@_told.intent_option()
@_told.suppress_option()
@_told.baseline_option()
@interval_option()
@deadline_option()
@bird_socket_option()
@hostname_option()
def command(
    session: Session,
    *,
    snapshot: str | None,
    identity: str | None,
    output: str | None,
    intent: str | None,
    suppress: str | None,
    baseline: str | None,
    interval: float,
    deadline: float,
    bird_sockets: tuple[str, ...],
    hostname: str | None,
) -> int:
    """Write what belongs into an incident ticket: verdict, findings, evidence, what was not read.

    With -o FILE the snapshot is written beside it, as FILE with the ending .netdiag. Neither holds a secret.
    """
    how = _host.options(interval=interval, deadline=deadline, hostname=hostname, bird_sockets=bird_sockets)
    beside = None if output in (None, "-") else f"{os.path.splitext(str(output))[0]}.netdiag"
    _output.check_output_path(output)
    _output.check_output_path(beside)
    if beside is not None and beside == output:
        raise Usage(f"{output}: this is where the snapshot goes; call the ticket otherwise, for example .md")
    how = _told.with_intent(session, how, intent, snapshot)
    told = _told.told(suppress, baseline)

    from netdiag.engine import judge
    from netdiag.render.ticket import chosen, render_ticket
    from netdiag.snapshotfile import OutputRefused, write_snapshot

    found = _host.snapshot(session, snapshot, how)
    if snapshot is not None or session.replay is not None:
        found = _told.overridden(found, how, intent)
    report = judge(found, told=told)
    alone = chosen(report, identity) if identity else None
    incident = identity if alone is None else None
    text = render_ticket(alone or report, incident=incident, bundle=os.path.basename(beside) if beside else None)
    if beside is None:
        _output.emit([text], utf8=True)
        return 0
    try:
        write_snapshot(found, beside)
    except OutputRefused as error:
        raise Usage(str(error)) from error
    _output.emit_file(str(output), text)
    return 0
