"""Write a file so that nobody ever sees half of it: a temporary file beside it, then a rename.

Used for snapshots and for every ``-o FILE``. What can fail is the file system, and that is ``OutputRefused`` with one
line for a person. A file that already exists is replaced only if it is a regular one: a device, a directory, a FIFO
or a symbolic link is refused, because netdiag runs as root and the path may lie in a directory that others write to.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO


class OutputRefused(Exception):
    """A file could not be written. ``path`` as given, ``reason`` in a few words."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


KINDS = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISLNK, "is a symbolic link"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
    (stat.S_ISFIFO, "is a FIFO"),
    (stat.S_ISSOCK, "is a socket"),
)


def check_output(path: str) -> None:
    """Raise OutputRefused where ``path`` exists and is not a regular file, or its directory does not exist.

    Asked before the work is done, so that a person does not wait 30 seconds for a typing error.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise OutputRefused(path, f"no such directory: {folder}") from None
        if not os.path.basename(path):
            raise OutputRefused(path, "no file name") from None
        return
    except (OSError, ValueError) as error:
        raise OutputRefused(path, reason_of(error)) from error
    for is_kind, reason in KINDS:
        if is_kind(mode):
            raise OutputRefused(path, f"{reason}, not a regular file")


def reason_of(error: OSError | ValueError) -> str:
    """The system's words for an error, without the path and the number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


@contextmanager
def replacing(path: str, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends without an exception.

    The content and the rename are on disk (fsync) before this returns. On any exception, KeyboardInterrupt included,
    the temporary file is removed and ``path`` stays as it was. Raises OutputRefused for errors of the file system.
    """
    check_output(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise OutputRefused(path, reason_of(error)) from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            os.fchmod(descriptor, mode)  # the umask may not take more away, nor may it give anything
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        _sync_folder(folder or ".")
    except OSError as error:
        raise OutputRefused(path, reason_of(error)) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Make the rename itself durable; some file systems refuse to sync a directory, which costs nothing here."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
