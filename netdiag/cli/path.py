"""``netdiag path``: what this host, or the one in a snapshot, does with one packet, step by step. Sends nothing."""

import ipaddress
from typing import TYPE_CHECKING

import click

from netdiag.cli import _host, _output
from netdiag.cli._errors import NO_VERDICT, Usage, nearest
from netdiag.cli._verb import (
    Session,
    Verb,
    all_netns_option,
    bird_socket_option,
    deadline_option,
    hostname_option,
    json_option,
)

if TYPE_CHECKING:
    from netdiag.model.bpf import BpfAttachment
    from netdiag.model.walk import PathPacket
    from netdiag.path.host import PathHost, Ran
    from netdiag.path.trail import Packet

STATUS = {"sent": 0, "forwarded": 0, "delivered": 0, "dropped": 1, "refused": 1, "unknown": NO_VERDICT}


class Number(click.ParamType[int]):
    """A number from 0 on, also as 0x1f."""

    name = "number"

    def __init__(self, highest: int) -> None:
        self.highest = highest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises click.BadParameter."""
        try:
            number = int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not 0 <= number <= self.highest:
            self.fail(f"{value!r} is not between 0 and {self.highest}", param, ctx)
        return number


def _address(text: str, what: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Usage(f"{what} {text!r} is no IP address") from None


@click.command(cls=Verb, short_help="Explain what this host does with one packet.")
@click.argument("destination", metavar="DST")
@click.argument("snapshot", required=False)
@json_option()
@click.option("--from", "source", metavar="ADDR", help="Source address; without it the kernel's choice is told.")
@click.option("--iif", metavar="IFNAME", help="The packet arrives here; without it this host sends it.")
@click.option("--mark", type=Number(2**32 - 1), default=0, metavar="N", help="fwmark.")
@click.option("--uid", type=Number(2**32 - 1), metavar="N", help="Owner of the sending socket [0].")
@click.option("--tos", type=Number(255), default=0, metavar="N", help="The whole DS field.")
@click.option("--proto", type=click.Choice(["udp", "tcp", "icmp"]), help="Protocol.")
@click.option("--sport", type=Number(65535), metavar="N", help="Source port.")
@click.option("--dport", type=Number(65535), metavar="N", help="Destination port.")
@click.option("--size", type=Number(65575), metavar="BYTES", help="Length with its IP header, not to be cut (DF).")
@click.option("--no-df", "cut", is_flag=True, help="A packet that is too long may be cut.")
@click.option(
    "--run-bpf",
    is_flag=True,
    help="Run the XDP and tc programs on the way on such a packet (BPF_PROG_TEST_RUN). They may write to their maps.",
)
@click.option("--explain", is_flag=True, help="Also say why the alternatives lost.")
@deadline_option()
@bird_socket_option()
@all_netns_option()
@hostname_option()
def command(
    session: Session,
    *,
    destination: str,
    snapshot: str | None,
    as_json: bool,
    source: str | None,
    iif: str | None,
    mark: int,
    uid: int | None,
    tos: int,
    proto: str | None,
    sport: int | None,
    dport: int | None,
    size: int | None,
    cut: bool,
    run_bpf: bool,
    explain: bool,
    deadline: float,
    bird_sockets: tuple[str, ...],
    all_netns: bool,
    hostname: str | None,
) -> int:
    """Explain, step by step, what this host (or that in SNAPSHOT, "-": standard input) does with a packet to DST.

    Nothing is sent. With --all-netns the walk goes on behind cables, into other namespaces of this host.

    DST may name an interface: fe80::1%eth0.

    Exit status: 0 sent, forwarded or delivered; 1 dropped or refused; 3 cannot be known.
    """
    destination, _, zone = destination.partition("%")
    dst = _address(destination, "DST")
    if zone and ":" not in dst:
        raise Usage(f"{dst}%{zone}: only an IPv6 address may name an interface")
    src = _address(source, "--from") if source is not None else None
    if src is not None and (":" in src) != (":" in dst):
        raise Usage(f"{dst} and --from {src} are of different families")
    if run_bpf and (snapshot is not None or session.replay is not None):
        raise Usage("--run-bpf runs programs of this host: not with SNAPSHOT or --replay")
    how = _host.options(
        interval=0.0, deadline=deadline, hostname=hostname, bird_sockets=bird_sockets, all_netns=all_netns
    )

    from netdiag.model.walk import PathPacket
    from netdiag.path.walk import walk

    found = _host.snapshot(session, snapshot, how)
    said = PathPacket(
        family="inet6" if ":" in dst else "inet",
        src=src,
        dst=dst,
        iif=iif,
        mark=mark,
        uid=uid,
        tos=tos,
        proto=proto,
        sport=sport,
        dport=dport,
        size=size,
    )
    from netdiag.path.namespaces import host_of

    host = host_of(found, run_program if run_bpf else None)
    report = walk(host, _packet(host, said, df=not cut, zone=zone), said)
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(report)], utf8=True)
    else:
        from netdiag.render.path import render_path

        width = _output.terminal_width() or 80
        _output.emit([render_path(report, color=_output.in_colour(session.color), width=width, explain=explain)])
    return STATUS[report.verdict]


def run_program(row: "BpfAttachment", frame: bytes, ifindex: int, mark: int) -> "Ran":
    """One program on one frame, for real."""
    from netdiag.path.bpf import REDIRECT
    from netdiag.path.host import Aim, Ran
    from netdiag.sources.bpf import redirects, testrun
    from netdiag.sources.protocol import Unreadable

    xdp = row.hook == "xdp"
    try:
        ran = Ran(*testrun.run(row.prog_id, frame, ifindex, xdp=xdp, mark=mark))
    except Unreadable as error:
        return Ran(0, b"", None, error.detail)
    if ran.returned != REDIRECT[xdp]:
        return ran
    aims = redirects.aims(row.prog_id)
    return ran._replace(aims=None if aims is None else tuple(Aim(*aim) for aim in aims))


def _index(host: "PathHost", ifname: str | None) -> int:
    """ifindex of an interface that was named; 0: none was. Raises Usage."""
    if not ifname:
        return 0
    link = host.stack.by_name.get(ifname)
    if link is None and not host.gap("links"):
        raise Usage(f"no such interface: {ifname}{nearest(ifname, host.stack.by_name)}")
    return link.ifindex if link is not None else -1


def _packet(host: "PathHost", said: "PathPacket", *, df: bool, zone: str) -> "Packet":
    """The packet with its names resolved. Raises Usage."""
    from netdiag.model.protocols import PROTOCOLS
    from netdiag.path.trail import Packet

    index = _index(host, said.iif)
    proto = "icmpv6" if said.proto == "icmp" and said.family == "inet6" else said.proto
    return Packet(
        family=said.family,
        dst=said.dst,
        src=said.src,
        iif=index,
        oif=0 if index else _index(host, zone),
        mark=said.mark,
        uid=said.uid,
        tos=said.tos,
        ip_proto=PROTOCOLS[proto] if proto else None,
        sport=said.sport,
        dport=said.dport,
        size=said.size,
        df=df,
    )
