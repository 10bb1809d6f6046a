"""``netdiag watch``: findings as they appear and clear."""

import time

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._errors import Usage
from netdiag.cli._verb import Seconds, Session, Verb, bird_socket_option, deadline_option, json_option


@click.command(cls=Verb, short_help="Print findings as they appear and clear.")
@json_option()
@click.option("--every", type=Seconds(positive=True), default=60.0, show_default=True, metavar="SECONDS",
              help="Look again after so long without news from the kernel.")  # fmt: skip
@click.option("--for", "length", type=Seconds(positive=True), metavar="SECONDS", help="Stop after so long [never].")
@click.option("--interval", type=Seconds(), default=0.0, show_default=True, metavar="SECONDS",
              help="Gap between the two samples of counters; 0: one sample.")  # fmt: skip
@_told.intent_option()
@_told.suppress_option()
@_told.baseline_option()
@deadline_option()
@bird_socket_option()
def command(
    session: Session,
    *,
    as_json: bool,
    every: float,
    length: float | None,
    interval: float,
    intent: str | None,
    suppress: str | None,
    baseline: str | None,
    deadline: float,
    bird_sockets: tuple[str, ...],
) -> int:
    """Look at this host whenever the kernel says that something changed, and print what came (+) and what went (-).

    Links, addresses, neighbours, routes, rules and queueing disciplines are heard of at once; what nobody announces
    (sysctls, WireGuard, BIRD, eBPF) is seen with the next look, after --every at the latest.
    """
    if session.replay is not None:
        raise Usage("a recording does not change: --replay and watch exclude each other")
    how = _host.options(interval=interval, deadline=deadline, bird_sockets=bird_sockets)
    how = _told.with_intent(session, how, intent)
    told = _told.told(suppress, baseline)

    import msgspec

    from netdiag.compare import finding_changes
    from netdiag.engine import judge
    from netdiag.render.changes import events_json, events_text
    from netdiag.sources.netlink.messages import NetlinkError
    from netdiag.sources.netlink.notifications import Notifications

    try:
        news = Notifications()
    except NetlinkError as error:
        raise Usage(f"the kernel does not tell what changes: {error}") from error
    end = None if length is None else time.monotonic() + length
    report = judge(_host.collected(session, how), told=told)
    empty = msgspec.structs.replace(report, findings=())
    before = empty
    try:
        while True:
            changes = finding_changes(before, report)
            text = (events_json if as_json else events_text)(report.taken_at, changes)
            if text:
                _output.emit([text], utf8=as_json)
            left = every if end is None else min(every, end - time.monotonic())
            if left <= 0:
                return 0
            news.wait(left)
            before = report
            report = judge(_host.collected(session, how), told=told)
    finally:
        news.close()
