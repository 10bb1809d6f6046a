"""The way out: standard output, a file, progress on a terminal. The only place that writes.

A reader that has seen enough (``| head``) is no error: writing then stops, quietly, and the exit status stays what it
would have been. Anything else that keeps standard output from being written is one line and status 70.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import click

from netdiag.cli._errors import INTERNAL, Usage

TICK = 0.2
"""Seconds between two states of a line that is written over."""


class Unwritable(click.ClickException):
    """Standard output is closed or full."""

    exit_code = INTERNAL


def emit(pieces: Iterable[str], *, utf8: bool = False) -> None:
    """Write to standard output, piece by piece. ``utf8``: whatever the locale says, as JSON must be.

    Characters that the locale cannot spell are shown as escapes. Raises Unwritable.
    """
    out = sys.stdout
    if out is None:
        raise Unwritable("standard output is closed")
    encoding = "utf-8" if utf8 else out.encoding or "utf-8"
    try:
        out.flush()
        for piece in pieces:
            out.buffer.write(piece.encode(encoding, "backslashreplace"))
            out.buffer.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        discard_output()
        raise Unwritable(f"standard output: {error.strerror}") from error


def emit_octets(octets: bytes) -> None:
    """Write binary content to standard output. Raises Usage where that is a terminal, Unwritable."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise Usage("a snapshot is not for a terminal: give -o FILE, or a pipe")
    if sys.stdout is None:
        raise Unwritable("standard output is closed")
    try:
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        discard_output()
        raise Unwritable(f"standard output: {error.strerror}") from error


def discard_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter complains about the pipe when it exits."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def emit_file(path: str, text: str) -> None:
    """Write a text file, whole or not at all. Raises Usage."""
    from netdiag.snapshotfile import OutputRefused, replacing

    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OutputRefused as error:
        raise Usage(str(error)) from error


def check_output_path(path: str | None) -> None:
    """Refuse a path that cannot be written, before the work is done. Raises Usage."""
    from netdiag.snapshotfile import OutputRefused, check_output

    if path not in (None, "-"):
        try:
            check_output(str(path))
        except OutputRefused as error:
            raise Usage(str(error)) from error


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def terminal_width() -> int | None:
    """Columns of the terminal; None: standard output is none."""
    return shutil.get_terminal_size().columns if on_terminal() else None


def in_colour(choice: str) -> bool:
    """Whether to colour, for --color auto, always or never; see no-color.org for NO_COLOR."""
    if choice != "auto":
        return choice == "always"
    return on_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Say on standard error what is going on, if a person sits there, and take it away afterwards."""
    shown = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if shown:
        sys.stderr.write(f"{text} ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def ticker() -> Iterator[Callable[[str], None]]:
    """A line on standard error that is written over, if a person sits there."""
    shown = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def tick(text: str) -> None:
        if shown:
            width = shutil.get_terminal_size().columns
            sys.stderr.write(f"\r\x1b[K{text[: width - 1]}")
            sys.stderr.flush()

    try:
        yield tick
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def complain(text: str) -> None:
    """One line on standard error, escaped; a standard error that is gone is no error."""
    from netdiag.render.escape import visible

    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"netdiag: {visible(text)}\n")
        sys.stderr.flush()
