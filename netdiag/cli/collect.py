"""``netdiag collect``: writes one snapshot of this host into a file, or sends it to a URL."""

import random
import time

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._errors import Usage
from netdiag.cli._verb import (
    Seconds,
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
    "-o",
    "output",
    required=True,
    metavar="FILE|URL",
    help='Where to write ("-": a pipe); below DIR/ and URL/: HOST_TIME.netdiag.',
)
@click.option("--jitter", type=Seconds(), default=0.0, metavar="SECONDS",
              help="Wait up to so long first, by chance: for many hosts at one time.")  # fmt: skip
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
    jitter: float,
    intent: str | None,
    interval: float,
    deadline: float,
    bird_sockets: tuple[str, ...],
    all_netns: bool,
    hostname: str | None,
) -> int:
    """Write one snapshot of this host. The file appears whole or not at all, and never holds a secret.

    What could not be read is part of the snapshot; netdiag show coverage FILE tells. A URL gets it by HTTP PUT, with
    the Authorization header of NETDIAG_UPLOAD_AUTHORIZATION; other schemes (s3://...) go through fsspec.
    """
    how = _host.options(
        interval=interval, deadline=deadline, hostname=hostname, bird_sockets=bird_sockets, all_netns=all_netns
    )
    _check(output)
    how = _told.with_intent(session, how, intent)
    if jitter:
        time.sleep(random.uniform(0, jitter))
    found = _host.collected(session, how)

    from netdiag.snapshotfile import OutputRefused, snapshot_octets, write_snapshot
    from netdiag.snapshotfile.upload import UploadRefused, is_url, placed, upload

    try:
        if output == "-":
            _output.emit_octets(snapshot_octets(found))
        elif is_url(output):
            upload(placed(output, found.meta), snapshot_octets(found))
        else:
            write_snapshot(found, placed(output, found.meta))
    except UploadRefused as error:
        raise _output.Unwritable(str(error)) from error
    except OutputRefused as error:
        raise Usage(str(error)) from error
    return 0


def _check(output: str) -> None:
    """Refuse what cannot be written or sent, before the work is done. Raises Usage."""
    from netdiag.snapshotfile.upload import UploadRefused, check_upload, is_url

    if not is_url(output):
        # DIR/ is a folder to write into, but nobody means the root of the host.
        _output.check_output_path(f"{output}x" if output.strip("/") and output.endswith("/") else output)
        return
    try:
        check_upload(output)
    except UploadRefused as error:
        raise Usage(str(error)) from error
