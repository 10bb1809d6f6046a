"""``netdiag doctor``: what netdiag can and cannot see on this host."""

import click

from netdiag.cli import _host, _output
from netdiag.cli._verb import Session, Verb, bird_socket_option, deadline_option, json_option


@click.command(cls=Verb, short_help="What netdiag can and cannot see on this host, and what is missing.")
@json_option()
@deadline_option()
@bird_socket_option()
def command(session: Session, as_json: bool, deadline: float, bird_sockets: tuple[str, ...]) -> int:
    """Try every collector on this host and say what could not be read, and which capability or package would help.

    Exit status: 0, or 3 where check could give no verdict.
    """
    from netdiag.doctor import examine
    from netdiag.render.doctor import doctor_json, doctor_text

    snapshot = _host.collected(session, _host.options(interval=0.0, deadline=deadline, bird_sockets=bird_sockets))
    health = examine(_host.source(session, deadline), snapshot)
    _output.emit([doctor_json(health) if as_json else doctor_text(health)], utf8=as_json)
    return 0 if health.verdict_possible else 3
