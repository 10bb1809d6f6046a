"""``netdiag collect``: writes one snapshot of this host into a file."""

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._errors import Usage
from netdiag.cli._verb import (
    Session,
    Verb,
    all_netns_option,
    bird_socket_option,
    deadline_option,
    hostname_option,
    interval_option,
)


@click.command(cls=Verb, short_help="Write a snapshot of this host, to check or show later.")
@click.option(
    "-o", "output", required=True, metavar="FILE", help='Where to write ("-": a pipe); usual name: HOST.netdiag.'
)
@_told.intent_option()
@interval_option()
@deadline_option()
@bird_socket_option()
@all_netns_option()
@hostname_option()
def command(
    session: Session,
    *,
    output: str,
    intent: str | None,
    interval: float,
    deadline: float,
    bird_sockets: tuple[str, ...],
    all_netns: bool,
    hostname: str | None,
) -> int:
    """Write one snapshot of this host. The file appears whole or not at all, and never holds a secret.

    What could not be read is part of the snapshot; netdiag show coverage FILE tells.
    """
    how = _host.options(
        interval=interval, deadline=deadline, hostname=hostname, bird_sockets=bird_sockets, all_netns=all_netns
    )
    _output.check_output_path(output)
    how = _told.with_intent(session, how, intent)
    found = _host.collected(session, how)

    from netdiag.snapshotfile import OutputRefused, snapshot_octets, write_snapshot

    try:
        if output == "-":
            _output.emit_octets(snapshot_octets(found))
        else:
            write_snapshot(found, output)
    except OutputRefused as error:
        raise Usage(str(error)) from error
    return 0
