"""``netdiag check``: the main job. Reads the host (or a snapshot), runs the rules, prints what is wrong."""

import click

from netdiag.cli import _host, _output, _told
from netdiag.cli._errors import FINDINGS, NO_VERDICT, Usage
from netdiag.cli._rulenames import known
from netdiag.cli._verb import (
    Session,
    Verb,
    all_netns_option,
    bird_socket_option,
    deadline_option,
    hostname_option,
    interval_option,
)

FORMATS = ("text", "json", "markdown", "html", "sarif", "prometheus", "sensu", "ecs")


@click.command(cls=Verb, short_help="Print what is wrong with this host, or with SNAPSHOT.")
@click.argument("snapshot", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print netdiag.report/1; the same as --format json.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to print the report [text].")
@click.option("-o", "output", metavar="FILE", help="Write the report to FILE, whole or not at all.")
@click.option("--rule", "only", multiple=True, metavar="ID", help="Run only this rule (repeatable).")
@click.option("--skip", multiple=True, metavar="ID", help="Do not run this rule (repeatable).")
@_told.intent_option()
@_told.suppress_option()
@_told.baseline_option()
@interval_option()
@deadline_option()
@bird_socket_option()
@all_netns_option()
@hostname_option()
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found; 3 stays: nothing could be judged.")
def command(
    session: Session,
    *,
    snapshot: str | None,
    as_json: bool,
    form: str | None,
    output: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    intent: str | None,
    suppress: str | None,
    baseline: str | None,
    interval: float,
    deadline: float,
    bird_sockets: tuple[str, ...],
    all_netns: bool,
    hostname: str | None,
    exit_zero: bool,
) -> int:
    """Print what is wrong with the network of this host, worst first, with evidence and fix.

    With SNAPSHOT the host is the one in that file ("-": standard input), and --interval and --deadline mean nothing.

    Exit status: 0 nothing at warning or above, 1 warning, 2 critical, 3 no verdict.
    """
    if as_json and form not in (None, "json"):
        raise Usage(f"--json and --format {form} exclude each other")
    how = _host.options(
        interval=interval, deadline=deadline, hostname=hostname, bird_sockets=bird_sockets, all_netns=all_netns
    )
    _output.check_output_path(output)
    only, skip = known(only), known(skip)
    how = _told.with_intent(session, how, intent, snapshot)
    told = _told.told(suppress, baseline)

    from netdiag.engine import judge
    from netdiag.rules import discover

    found = _host.snapshot(session, snapshot, how, meanwhile=discover)
    if snapshot is not None or session.replay is not None:
        found = _told.overridden(found, how, intent)
    report = judge(found, only=only, skip=skip, told=told)
    chosen = "json" if as_json else form or "text"
    to_screen = output in (None, "-")
    if chosen != "text":
        from netdiag.render.formats import FORMATS as BY_NAME

        text = BY_NAME[chosen](report)
    else:
        from netdiag.render.text import render_text

        colour = _output.in_colour(session.color) if to_screen else session.color == "always"
        width = (_output.terminal_width() if to_screen else None) or 80
        text = render_text(report, color=colour, verbose=session.verbose, width=width)
    if to_screen:
        _output.emit([text], utf8=chosen != "text")
    else:
        _output.emit_file(str(output), text)
    status = FINDINGS[report.verdict]
    return 0 if exit_zero and status != NO_VERDICT else status
