"""A client of BIRD's control socket that a broken or hostile daemon can neither hang nor fill.

Protocol (doc/reply_codes and nest/cli.c of BIRD 1.6, 2 and 3): a reply is lines of four digits followed by ``-`` (more
to come) or a space (the last line); a line that begins with a space goes on with the code before it; ``+`` begins an
asynchronous message. Codes 8000 and 9000 are refusals. One deadline for the whole conversation, a cap of bytes for each
reply and of bytes for each line end everything else: silence, dripping, endless output, a peer that closes.

Raises OSError and its kind: ENOENT and ECONNREFUSED where no daemon listens (the socket's file outlives it).
"""

import errno
import os
import socket
import time

PATIENCE = 5.0
"""Seconds for one conversation, where the caller's deadline leaves as much."""
REPLY_LIMIT = 16 << 20
"""Bytes of one reply; 200,000 routes of ``show route`` stay below."""
LINE_LIMIT = 64 << 10
"""Bytes of one line; the longest honest ones (AS paths, community lists) are a few KiB."""
COMMAND_MARK = b"> "
"""Begins the line that repeats a command in what ``fetch`` returns; no line of BIRD begins so."""
CUT_MARK = b"! "
"""Begins the line that says why a reply is not whole."""


class Conversation:
    """An open control socket, greeted and restricted."""

    def __init__(self, path: str, deadline: float) -> None:
        self.deadline = deadline
        self.buffer = bytearray()
        self.talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self.talk.settimeout(self._left())
            self.talk.connect(path)
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
            raise TimeoutError(errno.ETIMEDOUT, "no whole answer before the deadline")
        return left

    def _line(self) -> bytes:
        """The next line, without its end."""
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                return bytes(line)
            if len(self.buffer) > LINE_LIMIT:
                raise OSError(errno.EMSGSIZE, f"a line is longer than {LINE_LIMIT >> 10} KiB")
            self.talk.settimeout(self._left())
            octets = self.talk.recv(1 << 16)
            if not octets:
                raise OSError(errno.ECONNRESET, "the daemon closed the connection")
            self.buffer += octets

    def _reply(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._line()
            self._left()
            if line.startswith(b"+"):
                continue  # asynchronous: not an answer to anything
            size += len(line) + 1
            if size > REPLY_LIMIT:
                raise OSError(errno.EMSGSIZE, f"the answer is longer than {REPLY_LIMIT >> 20} MiB")
            lines.append(line)
            if line[:4].isdigit() and (line[4:5] == b" " or len(line) == 4):
                return b"\n".join(lines) + b"\n"

    def ask(self, command: str) -> bytes:
        """The reply to one command, whole. Raises OSError."""
        if "\n" in command or "\r" in command:
            raise ValueError("a command is one line")
        self.talk.settimeout(self._left())
        self.talk.sendall(command.encode("utf-8", "surrogateescape") + b"\n")
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
                said += CUT_MARK + f"{command}: {error.strerror or os.strerror(error.errno or 0)}\n".encode()
                break
            said += COMMAND_MARK + command.encode("utf-8", "surrogateescape") + b"\n" + reply
    finally:
        conversation.close()
    return bytes(said)
