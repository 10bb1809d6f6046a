"""A client of BIRD's control socket that a broken or hostile daemon can neither hang nor fill.

Protocol (doc/reply_codes and nest/cli.c of BIRD 1.6, 2 and 3): a reply is lines of four digits followed by ``-`` (more
to come) or a space (the last line); a line that begins with a space goes on with the code before it; ``+`` begins an
asynchronous message. Codes 8000 and 9000 are refusals. One deadline for the whole conversation, caps of bytes and
lines for each reply and of bytes for each line end everything else: silence, dripping, endless output, a full queue.

Raises OSError and its kind: ENOENT and ECONNREFUSED where no daemon listens (the socket's file outlives it).
"""

import errno
import socket
import struct
import time

PATIENCE = 5.0
"""Seconds for one conversation, where the caller's deadline leaves as much."""
REPLY_LIMIT = 16 << 20
"""Bytes of one reply; 200,000 routes of ``show route`` stay below."""
LINE_LIMIT = 64 << 10
"""Bytes of one line; the longest honest ones (AS paths, community lists) are a few KiB."""
LINES_LIMIT = 1 << 20
"""Lines of one reply: a line costs more memory as an object than it has bytes."""
COMMAND_MARK = b"> "
"""Begins the line that repeats a command in what ``fetch`` returns; no line of BIRD begins so."""
CUT_MARK = b"! "
"""Begins the line that says why a reply is not whole."""


def _late() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "no whole answer before the deadline")


class Conversation:
    """An open control socket, greeted and restricted."""

    def __init__(self, path: str, deadline: float) -> None:
        self.deadline = deadline
        self.buffer = bytearray()
        self.start = 0
        """Where in the buffer the next line begins."""
        self.talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._connect(path)
            self._reply()  # 0001 BIRD x.y.z ready.
            first = self.ask("restrict")
            if not first.startswith(b"0016"):  # "Access restricted"
                raise OSError(errno.EPROTO, "the daemon did not restrict the session")
        except BaseException:
            self.talk.close()
            raise

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise _late()
        return left

    def _connect(self, path: str) -> None:
        """Connect, and wait where the daemon's queue is full: a non-blocking connect would fail at once (unix(7))."""
        whole, part = divmod(max(1, int(self._left() * 1_000_000)), 1_000_000)
        self.talk.setblocking(True)
        self.talk.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", whole, part))
        try:
            self.talk.connect(path)
        except BlockingIOError as error:
            raise _late() from error

    def _receive(self) -> bytes:
        self.talk.settimeout(self._left())
        try:
            return self.talk.recv(1 << 16)
        except TimeoutError as error:
            raise _late() from error

    def _line(self) -> bytes:
        """The next line, without its end. Each byte is looked at once."""
        scanned = self.start
        while True:
            end = self.buffer.find(b"\n", scanned)
            if (len(self.buffer) if end < 0 else end) - self.start > LINE_LIMIT:
                raise OSError(errno.EMSGSIZE, f"a line is longer than {LINE_LIMIT >> 10} KiB")
            if end >= 0:
                line = bytes(self.buffer[self.start : end])
                self.start = end + 1
                return line
            del self.buffer[: self.start]
            self.start, scanned = 0, len(self.buffer)
            octets = self._receive()
            if not octets:
                raise OSError(errno.ECONNRESET, "the daemon closed the connection")
            self.buffer += octets

    def _reply(self) -> bytes:
        reply = bytearray()
        size = lines = 0
        while True:
            line = self._line()
            self._left()
            size += len(line) + 1
            lines += 1
            if size > REPLY_LIMIT:
                raise OSError(errno.EMSGSIZE, f"the answer is longer than {REPLY_LIMIT >> 20} MiB")
            if lines > LINES_LIMIT:
                raise OSError(errno.EMSGSIZE, f"the answer has more than {LINES_LIMIT} lines")
            if line.startswith(b"+"):
                continue  # asynchronous: not an answer to anything
            reply += line + b"\n"
            if line[:4].isdigit() and (line[4:5] == b" " or len(line) == 4):
                return bytes(reply)

    def ask(self, command: str) -> bytes:
        """The reply to one command, whole. Raises OSError."""
        if "\n" in command or "\r" in command:
            raise ValueError("a command is one line")
        self.talk.settimeout(self._left())
        try:
            self.talk.sendall(command.encode("utf-8", "surrogateescape") + b"\n")
        except TimeoutError as error:
            raise _late() from error
        return self._reply()

    def close(self) -> None:
        """Hang up."""
        self.talk.close()


def fetch(key: str, deadline: float | None) -> bytes:
    """Ask one daemon several things: ``key`` is the socket's path and the commands, a line each.

    Returns for each command a line ``> command`` and BIRD's lines as they came. Where the conversation breaks after the
    first reply, a line ``! reason`` stands in place of the rest: what was read is kept. ``deadline``: seconds of
    time.monotonic().
    """
    path, *commands = key.split("\n")
    soonest = time.monotonic() + PATIENCE
    conversation = Conversation(path, soonest if deadline is None else min(deadline, soonest))
    said = bytearray()
    try:
        for command in commands:
            try:
                reply = conversation.ask(command)
            except OSError as error:
                if not said:
                    raise
                said += CUT_MARK + f"{command}: {error.strerror or error}\n".encode()
                break
            said += COMMAND_MARK + command.encode("utf-8", "surrogateescape") + b"\n" + reply
    finally:
        conversation.close()
    return bytes(said)
