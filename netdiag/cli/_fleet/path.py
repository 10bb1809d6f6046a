"""``netdiag fleet path``: one packet from host to host, and its answer back."""

import click

from netdiag.cli import _output
from netdiag.cli._errors import Refused, Usage
from netdiag.cli._verb import Session, Verb, json_option
from netdiag.cli.path import STATUS, Number, _address


@click.command("path", cls=Verb, short_help="Follow one packet over the hosts of DIR, and its answer.")
@click.argument("folder", metavar="DIR")
@click.option("--from", "start", metavar="HOST|ADDR", required=True, help="The host that sends it, or an address.")
@click.option("--to", "destination", metavar="ADDR", required=True, help="Destination address.")
@click.option("--proto", type=click.Choice(["udp", "tcp", "icmp"]), help="Protocol.")
@click.option("--sport", type=Number(65535), metavar="N", help="Source port.")
@click.option("--dport", type=Number(65535), metavar="N", help="Destination port.")
@click.option("--size", type=Number(65575), metavar="BYTES", help="Length with its IP header, not to be cut (DF).")
@click.option("--no-df", "cut", is_flag=True, help="A packet that is too long may be cut.")
@click.option("--mark", type=Number(2**32 - 1), default=0, metavar="N", help="fwmark on the first host.")
@click.option("--tos", type=Number(255), default=0, metavar="N", help="The whole DS field.")
@click.option("--explain", is_flag=True, help="Also every step on each host.")
@json_option()
def command(
    session: Session,
    *,
    folder: str,
    start: str,
    destination: str,
    proto: str | None,
    sport: int | None,
    dport: int | None,
    size: int | None,
    cut: bool,
    mark: int,
    tos: int,
    explain: bool,
    as_json: bool,
) -> int:
    """Follow a packet from host to host over the snapshots of DIR: over links, through WireGuard, to taps; then its
    answer.

    HOST is a host's name; ADDR an address of one, or of a guest behind a tap of one. Nothing is sent.

    Exit status: 0 delivered, or sent beyond the hosts of DIR; 1 it or its answer is lost; 3 cannot be known.
    """
    dst = _address(destination, "--to")
    source = _source(start, dst)
    from netdiag.fleet.load import FleetRefused, fleet_of
    from netdiag.fleet.way import fleet_path
    from netdiag.model.walk import PathPacket

    said = PathPacket(
        family="inet6" if ":" in dst else "inet",
        src=source,
        dst=dst,
        mark=mark,
        tos=tos,
        proto=proto,
        sport=sport,
        dport=dport,
        size=size,
    )
    try:
        report = fleet_path(fleet_of(folder), start if source is None else source, said, df=not cut)
    except FleetRefused as error:
        raise Refused(str(error)) from error
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(report)], utf8=True)
    else:
        from netdiag.render.fleetpath import render_fleet_path

        colour = _output.in_colour(session.color)
        width = _output.terminal_width() or 80
        _output.emit([render_fleet_path(report, color=colour, width=width, explain=explain)])
    back = STATUS[report.answer.verdict] if report.answer is not None else 0
    there = STATUS[report.verdict]
    return there or back


def _source(start: str, dst: str) -> str | None:
    """The address that --from names; None: it is a host's name. Raises Usage."""
    import ipaddress

    try:
        src = str(ipaddress.ip_address(start))
    except ValueError:
        return None
    if (":" in src) != (":" in dst):
        raise Usage(f"--to {dst} and --from {src} are of different families")
    return src
