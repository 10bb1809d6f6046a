"""The outer edge of netdiag: finds the verb, runs it, and turns whatever happens into an exit status and one line.

Statuses are in ``_errors``. A bug is status 70 and one line; ``-v`` adds the traceback. SIGINT is 130, SIGTERM 143, and
both leave no half-written file behind. A closed pipe is quiet.
"""

import importlib
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

import netdiag
import netdiag.cli
from netdiag.cli._errors import INTERNAL, INTERRUPTED, TERMINATED, USAGE, Terminated, nearest
from netdiag.cli._output import complain, discard_output
from netdiag.cli._verb import COLOURS, Session

OPTIONAL = ("asyncssh", "duckdb", "fsspec", "pyarrow", "scapy", "yaml")
"""Packages that the single file does without."""
FIRST = ("check", "collect", "record", "show", "path", "probe", "sweep", "fleet", "rules", "explain", "doctor")
"""Order of the verbs in the help; any others follow by name."""


def verbs() -> list[str]:
    """Every verb, by looking into this folder."""
    names = {entry.name for entry in pkgutil.iter_modules(netdiag.cli.__path__)}
    found = {name for name in names if not name.startswith("_") and name != "main"}
    return [name for name in FIRST if name in found] + sorted(found - set(FIRST))


class Verbs(click.Group):
    """The verbs, each imported only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs."""
        return verbs()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb, imported."""
        if cmd_name.startswith("-"):
            return None
        if cmd_name not in verbs():
            raise click.UsageError(f"no such command: {cmd_name}{nearest(cmd_name, verbs())}", ctx)
        module = importlib.import_module(f"{netdiag.cli.__name__}.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(
    cls=Verbs,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status of check: 0 nothing at warning or above, 1 warning, 2 critical, 3 no verdict; "
    "64 usage, 65 input refused, 70 internal error.",
)
@click.option("-v", "--verbose", is_flag=True, help="Everything, with evidence; tracebacks of bugs.")
@click.option("--color", type=click.Choice(COLOURS), default="auto", help="Colour the output [auto].")
@click.option("--replay", metavar="DIR", help="Run the command on a recording (see record) instead of this host.")
@click.version_option(netdiag.__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, verbose: bool, color: str, replay: str | None) -> None:
    """Says what is wrong with the network of this host, from the kernel's own state, with evidence and fix.

    Start with: netdiag check
    """
    ctx.obj = Session(color=color, verbose=verbose, replay=replay)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def run(arguments: Sequence[str]) -> int:
    """One run of the program, from the arguments to the exit status. Nothing but the process itself can end it."""
    verbose = False
    try:
        with cli.make_context("netdiag", list(arguments)) as ctx:
            try:
                status = cli.invoke(ctx)
            finally:
                verbose = isinstance(ctx.obj, Session) and ctx.obj.verbose
        return int(status or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "netdiag"
        complain(f"{_lower(error.format_message())}; see {where} --help")
        return USAGE
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except BrokenPipeError:
        discard_output()
        return 0
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OPTIONAL:
            return _bug(error, verbose=verbose)
        complain(f"this needs {error.name}, which is not installed here")
        return INTERNAL
    except Exception as error:  # noqa: BLE001 - the outer edge of the program: a bug is one line and a status
        return _bug(error, verbose=verbose)


def _lower(message: str) -> str:
    """click's sentence as the middle of ours."""
    words = " ".join(message.split()).rstrip(".")
    return words[:1].lower() + words[1:]


def _bug(error: Exception, *, verbose: bool) -> int:
    if verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            complain(line)
    what = f"{type(error).__name__}: {error}"
    complain(f"internal error: {what}" + ("" if verbose else "; this is a bug, -v shows where"))
    return INTERNAL


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)
    raise Terminated


def main() -> NoReturn:
    """Entry point of the ``netdiag`` command."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Terminated:
        status = TERMINATED
    _leave(status)


def _leave(status: int) -> NoReturn:
    """Exit with exactly this status: a standard output that cannot be flushed must not turn it into another."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        discard_output()
    if status in (INTERRUPTED, TERMINATED):
        # Children that hang in the kernel must not hold up the exit.
        os._exit(status)
    sys.exit(status)
