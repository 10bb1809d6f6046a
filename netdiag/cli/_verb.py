"""What all verbs share: the options that may stand before or after the verb, and types of options.

``netdiag -v check`` and ``netdiag check -v`` are the same; so are the two places of --color.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

Decorator = Callable[[Callable[..., int]], Callable[..., int]]
"""What click.option() gives."""
COLOURS = ("auto", "always", "never")


@dataclass
class Session:
    """What was said before the verb, completed by what was said after it."""

    color: str = "auto"
    verbose: bool = False
    replay: str | None = None


class Seconds(click.ParamType[float]):
    """A finite number of seconds, 0 or more; ``positive``: more than 0."""

    name = "seconds"

    def __init__(self, *, positive: bool = False) -> None:
        self.positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not math.isfinite(number) or number < 0 or (self.positive and number == 0):
            self.fail(f"{value!r} is not {'more than 0' if self.positive else '0 or more'} seconds", param, ctx)
        return number


class Verb(click.Command):
    """A click command that also takes -v and --color, and whose callback gets the ``Session`` first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["-v", "--verbose"], is_flag=True, help="Everything, with evidence; tracebacks of bugs."),
            click.Option(["--color"], type=click.Choice(COLOURS), help="Colour the output [auto]."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Call the callback with the session; what it returns is the exit status."""
        session = ctx.ensure_object(Session)
        session.verbose |= bool(ctx.params.pop("verbose", False))
        session.color = ctx.params.pop("color", None) or session.color
        return ctx.invoke(self.callback, session, **ctx.params) if self.callback else 0


def deadline_option() -> Decorator:
    """--deadline, as several verbs have it."""
    return click.option(
        "--deadline",
        type=Seconds(positive=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Time for everything; what is not read by then is reported as such.",
    )


def interval_option() -> Decorator:
    """--interval, as several verbs have it."""
    return click.option(
        "--interval",
        type=Seconds(),
        default=1.0,
        show_default=True,
        metavar="SECONDS",
        help="Gap between the two samples of counters; 0: one sample.",
    )


def bird_socket_option() -> Decorator:
    """--bird-socket, as every verb that collects has it."""
    return click.option(
        "--bird-socket",
        "bird_sockets",
        multiple=True,
        metavar="PATH",
        help="Control socket of a BIRD at an unusual place; repeatable.",
    )


def all_netns_option() -> Decorator:
    """--all-netns, as every verb that collects has it."""
    return click.option("--all-netns", is_flag=True, help="Read every other network namespace that can be reached too.")


def hostname_option() -> Decorator:
    """--hostname, as several verbs have it."""
    return click.option("--hostname", metavar="NAME", help="Name of this host in the output, instead of the system's.")


def json_option() -> Decorator:
    """--json, as every verb that prints data has it."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")
