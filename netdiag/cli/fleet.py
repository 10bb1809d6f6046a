"""``netdiag fleet``: questions about many hosts at once, over a folder of their snapshots."""

from typing import Any

import click

from netdiag.cli import _output
from netdiag.cli._errors import FINDINGS, NO_VERDICT, Refused, Usage, nearest
from netdiag.cli._fleet import diff, load, matrix, path, query, report
from netdiag.cli._fleet._engine import engine_options, spark
from netdiag.cli._verb import Session, Verb


@click.group(short_help="Judge a folder of snapshots: faults that no single host can see.")
def command() -> None:
    """Judge many hosts at once.

    DIR is a folder of .netdiag files (see collect), or a store that `fleet load` made: a path or an fsspec URL,
    STORE@2026-11-25 for one of its nights. Several snapshots of one host are a series: the newest is its state.
    """


command.add_command(load.command)
command.add_command(query.command)
command.add_command(matrix.command)
command.add_command(path.command)
command.add_command(diff.command)
command.add_command(report.command)


@command.command("check", cls=Verb, short_help="Print what is wrong with the hosts of DIR, and between them.")
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print netdiag.fleet-report/1.")
@click.option("-o", "output", metavar="FILE", help="Write the report to FILE, whole or not at all.")
@click.option("--by", metavar="ATTR[=NEW]", help="Verdict on a roll-out by kernel, a sysctl, a label ...")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found; 3 stays: nothing could be judged.")
@engine_options
def check(
    session: Session,
    *,
    folder: str,
    as_json: bool,
    output: str | None,
    by: str | None,
    exit_zero: bool,
    engine: str,
    master: str | None,
) -> int:
    """Print the faults between hosts, and each host's own, worst first.

    With --by the hosts that have the newest value of an attribute (or NEW) are held against the others: PROCEED, HOLD
    or UNKNOWN, with counts. With --engine spark the rules run on a Spark cluster, over a store that its workers can
    read; they need msgspec, numpy, pandas, pyarrow and fsspec, and are sent netdiag.

    Exit status: 0 nothing at warning or above, 1 warning, 2 critical, 3 no verdict.
    """
    _output.check_output_path(output)
    from netdiag.fleet.judge import judge_fleet
    from netdiag.fleet.load import FleetRefused, fleet_of
    from netdiag.fleet.store.place import StoreRefused

    try:
        found = fleet_of(folder)
        with spark(engine, master) as cluster:
            report = judge_fleet(found, _workers(cluster, found) if cluster else None)
    except (FleetRefused, StoreRefused) as error:
        raise Refused(str(error)) from error
    if by is not None:
        import msgspec

        from netdiag.fleet.canary import canary, known

        names = known(found.hosts)
        if by.partition("=")[0] not in names:
            raise Usage(f"--by {by}: no host has such an attribute or label{nearest(by, names)}")
        report = msgspec.structs.replace(report, canary=canary(found.hosts, report.findings, by))
    to_screen = output in (None, "-")
    if as_json:
        from netdiag.render.json import pretty

        text = pretty(report)
    else:
        from netdiag.render.fleet import render_fleet

        colour = _output.in_colour(session.color) if to_screen else session.color == "always"
        width = (_output.terminal_width() if to_screen else None) or 80
        text = render_fleet(report, color=colour, verbose=session.verbose, width=width)
    if to_screen:
        _output.emit([text], utf8=as_json)
    else:
        _output.emit_file(str(output), text)
    status = FINDINGS[report.verdict]
    return 0 if exit_zero and status != NO_VERDICT else status


def _workers(cluster: Any, fleet: Any) -> Any:
    if fleet.stored is None:
        raise Usage("--engine spark judges a store: see netdiag fleet load")
    from netdiag.fleet.spark.judging import SparkWorkers

    return SparkWorkers(cluster, fleet.stored)
