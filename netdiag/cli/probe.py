"""``netdiag probe``: sends packets, because somebody asked, and says beforehand which."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from netdiag.cli import _output
from netdiag.cli._errors import NO_VERDICT, Usage
from netdiag.cli._verb import Decorator, Seconds, Session, Verb, json_option

if TYPE_CHECKING:
    from netdiag.model.probe import Kind, Plan, Result
    from netdiag.model.wireguard import WireguardDevice

STATUSES = {"ok": 0, "degraded": 1, "failed": 1, "unknown": NO_VERDICT}


class NotPermitted(click.ClickException):
    """The kernel lets only root do that: no verdict."""

    exit_code = NO_VERDICT


@click.group(short_help="Send packets to find out: path MTU, who answers, which way, whether a tunnel lives.")
def command() -> None:
    """Send packets to find out what reading this host cannot tell.

    The plan comes first: what is sent, how many, to whom and how long at most; --dry-run stops there.

    Exit status: 0 all is well, 1 something is lost, too small or silent, 3 it could not be found out.
    """


def _number(name: str, kind: "click.ParamType[Any]", default: float, text: str) -> Decorator:
    return click.option(name, type=kind, default=default, show_default=True, help=text)


TIMED: list[Decorator] = [
    _number("--timeout", Seconds(positive=True), 1.0, "Seconds to wait for each answer."),
    _number("--rate", click.FloatRange(0, 100, min_open=True), 5.0, "At most so many packets a second."),
    click.option("--from", "source", metavar="ADDR", help="Address of this host to send from."),
    click.option("-4", "family", flag_value="inet", help="IPv4 only."),
    click.option("-6", "family", flag_value="inet6", help="IPv6 only."),
]


def _common(*, count: int | None, proto: tuple[str, ...], timeout: bool = True) -> Decorator:
    """Options that most probes have."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        options: list[Decorator] = [
            click.argument("names", metavar="DST...", nargs=-1, required=True),
            json_option(),
            click.option("--dry-run", is_flag=True, help="Print the plan and send nothing."),
        ]
        if timeout:
            options += TIMED
        if count is not None:
            options.append(_number("--count", click.IntRange(1, 1000), count, "Packets."))
        if proto:
            kinds = click.Choice(proto)
            options.append(
                click.option("--proto", type=kinds, default=proto[0], show_default=True, help="What to send.")
            )
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@command.command("mtu", cls=Verb, short_help="The largest packet that gets there and back in one piece.")
@_common(count=None, proto=())
@click.option("--size", type=click.IntRange(1280, 65535), metavar="BYTES", help="Try nothing larger.")
def mtu(session: Session, **options: Any) -> int:
    """Find the path MTU with ICMP echo requests that may not be fragmented, whatever the kernel has learnt before.

    Says who tells of a smaller MTU, and whether larger packets vanish without a word. Needs root.
    """
    return _probe(session, "mtu", **options)


@command.command("reach", cls=Verb, short_help="Whether somebody answers, how often and how fast.")
@_common(count=5, proto=("icmp", "tcp", "udp"))
@click.option("--port", type=click.IntRange(1, 65535), help="For tcp and udp.")
def reach(session: Session, **options: Any) -> int:
    """Ask with ICMP echo requests (root), TCP connections or UDP datagrams to a port."""
    return _probe(session, "reach", **options)


@command.command("trace", cls=Verb, short_help="The way there, hop by hop.")
@_common(count=2, proto=("udp", "icmp"))
@click.option("--hops", type=click.IntRange(1, 64), default=30, show_default=True, help="At most so many.")
@click.option("--size", type=click.IntRange(60, 65535), metavar="BYTES", help="Size of the packets.")
def trace(session: Session, **options: Any) -> int:
    """Follow the way with packets whose TTL ends early. With --size, a hop that cannot pass them on says its MTU.

    Five silent hops in a row end it.
    """
    return _probe(session, "trace", **options)


@command.command("wireguard", cls=Verb, short_help="Whether WireGuard peers answer.")
@_common(count=None, proto=(), timeout=False)
def wireguard(session: Session, *, names: tuple[str, ...], as_json: bool, dry_run: bool) -> int:
    """Send one byte into the tunnel and watch whether the peer answers: with a handshake, or a packet within 12 s.

    DST is an address inside the tunnel, a peer's public key, or an interface (all its peers). Needs root.
    """
    _live(session)
    from netdiag.probes import plan as plans
    from netdiag.probes import wireguard as probing
    from netdiag.probes.run import Unresolved, tunnels
    from netdiag.probes.sockets import NotPermitted as Denied
    from netdiag.probes.sockets import Unsent

    try:
        found = tunnels(names, _devices)
        plan = plans.plan("wireguard", [row.to for row in found])
    except (Unresolved, plans.PlanRefused) as error:
        raise Usage(str(error)) from error

    def results() -> "Iterable[Result]":
        for tunnel in found:
            try:
                yield probing.run(tunnel, _devices)
            except Unsent as error:
                raise NotPermitted(str(error)) from error
            except Denied as error:
                raise NotPermitted(str(error)) from error

    return _told(plan, results(), as_json=as_json, dry_run=dry_run)


def _devices() -> "Iterable[WireguardDevice]":
    """WireGuard, as it is now. Raises NotPermitted."""
    import time

    from netdiag.collectors import Options
    from netdiag.collectors.wireguard import collect
    from netdiag.model.wireguard import Wireguard
    from netdiag.sources.live import LiveSource
    from netdiag.sources.protocol import Unreadable

    try:
        found = collect(LiveSource(time.monotonic() + 5), Options(interval=0)).tables["wireguard"]
    except Unreadable as error:
        raise NotPermitted(f"WireGuard: {error}") from error
    assert isinstance(found, Wireguard)
    return found.devices


def _live(session: Session) -> None:
    if session.replay is not None:
        raise Usage("a recording answers no packet: --replay and probe exclude each other")


def _probe(
    session: Session,
    kind: "Kind",
    *,
    names: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    timeout: float,
    rate: float,
    source: str | None,
    family: str | None,
    proto: str = "icmp",
    **more: int | None,
) -> int:
    """Plan, tell, send, tell. Raises Usage, NotPermitted."""
    _live(session)
    from netdiag.probes import plan as plans
    from netdiag.probes.run import How, Unresolved, resolve, results

    how = How(proto=proto, timeout=timeout, source=source, **{key: value for key, value in more.items() if value})
    try:
        to = resolve(names, family)
        plan = plans.plan(
            kind, to, count=how.count, rate=rate, timeout=timeout, hops=how.hops, proto=proto, port=how.port
        )
    except (Unresolved, plans.PlanRefused) as error:
        raise Usage(str(error)) from error
    return _told(plan, results(plan, how), as_json=as_json, dry_run=dry_run)


def _told(plan: "Plan", results: "Iterable[Result]", *, as_json: bool, dry_run: bool) -> int:
    """Print the plan, then what comes; the exit status. Raises NotPermitted."""
    from netdiag.model.probe import ProbeReport
    from netdiag.probes.sockets import NotPermitted as Denied
    from netdiag.render.probe import plan_text, probe_json, result_text

    if as_json and not dry_run:
        _output.complain(plan_text(plan).strip())
    elif not as_json:
        _output.emit([plan_text(plan)])
    found: list[Result] = []
    try:
        for result in () if dry_run else results:
            found.append(result)
            if not as_json:
                _output.emit([result_text(result)])
    except Denied as error:
        raise NotPermitted(str(error)) from error
    if as_json:
        _output.emit([probe_json(ProbeReport(plan=plan, results=tuple(found)))], utf8=True)
    verdicts = {result.verdict for result in found}
    return max((STATUSES[verdict] for verdict in verdicts), default=0)
