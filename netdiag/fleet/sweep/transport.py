"""A way to a host: something that writes the host's snapshot, as bytes, into a ``Sink``.

It raises ``Unreached`` where the host gave nothing, ``Refused`` where what it gave or said of itself is not to be
trusted. The deadline is not its business: it is cancelled. Texts are one line; words of the host stand in them raw.
"""

from typing import IO, Protocol

from netdiag.model.sweep import Target


class Unreached(Exception):
    """The host gave no snapshot; the text says why."""


class Refused(Exception):
    """The host answered with something that is not accepted; the text says what."""


class Sink:
    """Takes what a host sends, up to a number of bytes."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file = file
        self.limit = limit
        self.octets = 0

    def write(self, piece: bytes) -> None:
        """Raises Refused once more than the limit has come."""
        self.octets += len(piece)
        if self.octets > self.limit:
            raise Refused(f"sent more than {self.limit} bytes; the rest was not read")
        self.file.write(piece)


class Transport(Protocol):
    """What ``run`` needs."""

    async def fetch(self, target: Target, sink: Sink) -> None:
        """Write the host's snapshot into the sink, whole. Raises Unreached, Refused."""
