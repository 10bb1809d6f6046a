"""``netdiag trace``: watch the kernel for a while, by BPF programs that are gone afterwards."""

import ipaddress
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from netdiag.cli import _host, _output
from netdiag.cli._errors import INTERRUPTED, NO_VERDICT, Usage
from netdiag.cli._verb import Seconds, Session, Verb, all_netns_option, json_option

if TYPE_CHECKING:
    from netdiag.model.trace import TraceEvent, TraceReport
    from netdiag.trace.events import Wanted

Command = Callable[..., int]
PORT_MAX, EVENTS_MAX = 65535, 100_000


@click.group(short_help="Watch the kernel live: drops, retransmissions, a packet's way (BPF).")
def command() -> None:
    """Watch the kernel for --for SECONDS, then sum up.

    Loads a BPF program (CAP_BPF and CAP_PERFMON, or root; a kernel with BTF) and takes it away again. Sends nothing.
    """


def _options(function: Command) -> Command:
    """What all three take."""
    options = (
        json_option(),
        click.option("--for", "seconds", type=Seconds(positive=True), default=10.0, show_default=True,
                     metavar="SECONDS", help="Watch for so long; an interrupt ends it earlier."),
        click.option("--dev", metavar="IFNAME", help="Only packets at this interface."),
        click.option("--proto", type=click.Choice(["udp", "tcp", "icmp"]), help="Only this protocol."),
        click.option("--port", type=click.IntRange(1, PORT_MAX), metavar="N", help="Only this port, on either side."),
        click.option("--events", type=click.IntRange(0, EVENTS_MAX), default=200, show_default=True, metavar="N",
                     help="Tell of so many packets; all are counted."),
        all_netns_option(),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@command.command("drops", cls=Verb, short_help="Which packets are dropped, where and why.")
@click.argument("address", metavar="[ADDR]", required=False)
@_options
def drops(session: Session, *, address: str | None, **said: Any) -> int:
    """Tell of packets that the kernel drops, with the reason and the place, and what decides about them here.

    ADDR: only packets from or to this address. A drop without a reason of its own is told by its place alone.
    """
    return _watch(session, "drops", address, said)


@command.command("retransmits", cls=Verb, short_help="Which TCP connections send again.")
@click.argument("address", metavar="[ADDR]", required=False)
@_options
def retransmits(session: Session, *, address: str | None, **said: Any) -> int:
    """Tell of TCP segments that are sent again, with the state of their connections.

    ADDR: only connections from or to this address.
    """
    return _watch(session, "retransmits", address, said)


@command.command("packet", cls=Verb, short_help="Which way packets of one kind take through this host.")
@click.argument("address", metavar="[ADDR]", required=False)
@_options
def packet(session: Session, *, address: str | None, **said: Any) -> int:
    """Tell where packets from or to ADDR are seen: received, queued, sent, read by a program, dropped and why.

    ADDR, --port or --dev must be given: all packets are too many.
    """
    if address is None and said["port"] is None and said["dev"] is None:
        raise Usage("say which packets: ADDR, --port or --dev")
    return _watch(session, "packet", address, said)


def _wanted(address: str | None, said: dict[str, Any]) -> "Wanted":
    from netdiag.model.protocols import PROTOCOLS
    from netdiag.trace.events import Wanted
    from netdiag.trace.session import own_namespace

    try:
        known = str(ipaddress.ip_address(address)) if address is not None else None
    except ValueError:
        raise Usage(f"ADDR {address!r} is no IP address") from None
    try:
        ifindex = socket.if_nametoindex(said["dev"]) if said["dev"] else None
    except OSError:
        raise Usage(f"no such interface: {said['dev']}") from None
    proto = "icmpv6" if said["proto"] == "icmp" and known and ":" in known else said["proto"]
    return Wanted(
        netns=None if said["all_netns"] else own_namespace(),
        ifindex=ifindex,
        address=known,
        port=said["port"],
        protocol=PROTOCOLS[proto] if proto else None,
        events=said["events"],
    )


def _watch(session: Session, question: str, address: str | None, said: dict[str, Any]) -> int:
    """Watch, print, and give the exit status."""
    if session.replay is not None:
        raise Usage("a recording does not change: --replay and trace exclude each other")
    wanted = _wanted(address, said)
    from netdiag.trace import Unavailable
    from netdiag.trace.session import watch

    color, width = _output.in_colour(session.color), _output.terminal_width() or 120
    as_json: bool = said["as_json"]

    def heard(event: "TraceEvent") -> None:
        if not as_json:
            from netdiag.render.trace import render_event

            _output.emit([render_event(event, color=color, width=width)])

    try:
        report = watch(question, wanted, said["seconds"], time.monotonic, heard)
    except Unavailable as error:
        _output.complain(f"trace {question} is not possible here: {error}")
        return NO_VERDICT
    report = _explained(session, report)
    if as_json:
        from netdiag.render.json import pretty

        _output.emit([pretty(report)], utf8=True)
    else:
        from netdiag.render.trace import render_summary

        _output.emit([render_summary(report, color=color, width=width)])
    return INTERRUPTED if report.interrupted else 0


def _explained(session: Session, report: "TraceReport") -> "TraceReport":
    """With what this host's tables say about the samples."""
    from netdiag.path.namespaces import host_of
    from netdiag.path.traced import explained, wanted

    if not wanted(report):
        return report
    how = _host.options(interval=0.0, deadline=15.0)
    return explained(report, host_of(_host.collected(session, how)))
