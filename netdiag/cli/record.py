"""``netdiag record``: writes every raw reply that netdiag reads into a directory, secrets blanked."""

import os

import click

from netdiag.cli import _host
from netdiag.cli._errors import Refused, Usage
from netdiag.cli._output import progress
from netdiag.cli._verb import Session, Verb, all_netns_option, bird_socket_option, deadline_option, interval_option


def _prepare(directory: str) -> None:
    """Make the directory, for the owner only, or take an empty one. Raises Usage."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if os.listdir(directory):
            raise Usage(f"{directory}: is not empty; a recording needs a directory of its own")
    except FileExistsError:
        raise Usage(f"{directory}: exists and is not a directory") from None
    except (OSError, ValueError) as error:
        raise Usage(f"{directory}: {getattr(error, 'strerror', None) or error}") from error


@click.command(cls=Verb, short_help="Write the raw replies of every source: a bug report or a fixture.")
@click.option("-o", "output", required=True, metavar="DIR", help="A new or empty directory.")
@interval_option()
@deadline_option()
@bird_socket_option()
@all_netns_option()
def command(
    session: Session, *, output: str, interval: float, deadline: float, bird_sockets: tuple[str, ...], all_netns: bool
) -> int:
    """Write every raw reply that netdiag reads of this host into DIR, secrets blanked.

    netdiag --replay DIR COMMAND then runs any command on it, anywhere, with the same result.
    """
    how = _host.options(interval=interval, deadline=deadline, bird_sockets=bird_sockets, all_netns=all_netns)
    inner = _host.source(session, deadline)
    _prepare(output)

    import netdiag
    from netdiag.collect import collect
    from netdiag.sources.protocol import RecordingRefused
    from netdiag.sources.record import RecordingSource

    try:
        with progress("recording"):
            recorder = RecordingSource(inner, output)
            collect(recorder, how)
            recorder.finish(netdiag.__version__)
    except RecordingRefused as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Usage(f"{output}: {error.strerror or error}") from error
    return 0
