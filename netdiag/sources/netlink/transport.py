"""Ask the kernel over netlink and hand its answer on as it comes, 64 KiB at a time, without parsing the payload.

Facts, from net/netlink/af_netlink.c and net/core/rtnetlink.c:

- The kernel fills at most about 32 KiB per recv, and a batch never mixes two dumps.
- Without NETLINK_GET_STRICT_CHK most filters in a request are silently ignored, so it is always set.
- A dump's error arrives in the payload of NLMSG_DONE. NLM_F_DUMP_INTR (the table changed, rows may be missing or
  doubled) may stand on any message and on NLMSG_DONE as well.
- Dumps of IPv4 and IPv6 routes do not set that flag. A second socket that listens to the table's multicast groups tells
  instead: whatever arrives there, an overrun (ENOBUFS) included, is a change. A change whose notification leaves the
  kernel after NLMSG_DONE was read stays unseen, and so do IPv4 routes that vanish with their interface: those are not
  announced.
- A request to a sub-family (as of sock_diag or nf_tables) can load its module: asking only for what is there is the
  caller's care. Nothing here asks by name.

Every function reads only: message types that could change something are refused with ValueError before a socket exists.
Raises NetlinkError for the kernel's errors and for truncated messages, NetlinkTimeout past the deadline.
"""

import errno
from collections.abc import Callable, Sequence

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import (
    HEADER,
    HEADER_SIZE,
    DumpRequest,
    DumpResult,
    HeaderReadingSink,
    Message,
    NetlinkError,
    NetlinkTimeout,
    Reply,
    Sink,
    error_of,
    pack_message,
    refuse_writes,
    walk_messages,
)
from netdiag.sources.netlink.sockets import Conversation, Guard, RawSocket, open_raw

__all__ = [
    "DumpRequest",
    "DumpResult",
    "NetlinkError",
    "NetlinkTimeout",
    "Reply",
    "Sink",
    "batch",
    "dump",
    "request_one",
]

WINDOW = 32
"""Requests under way at once: their replies (at most about 4 KiB each) fit the smallest default receive buffer."""
PATIENCE = 3
"""How often one batch may lose replies (ENOBUFS) before it is given up."""


class _Lost(Exception):
    """The kernel dropped part of a dump (ENOBUFS, NLMSG_OVERRUN): it must be read again."""


class _Attempt:
    """One run of a dump, from the request to NLMSG_DONE."""

    def __init__(self, talk: Conversation, guard: Guard, sink: Sink, *, patient: bool) -> None:
        self.talk, self.guard, self.sink = talk, guard, sink
        self.reader = sink if isinstance(sink, HeaderReadingSink) else None
        self.patient = patient  # the last attempt is read to its end even when it is known to be inconsistent
        self.interrupted = False
        self.messages = 0
        self.octets = 0

    def changed(self) -> str:
        """Why the rows do not belong together; empty when they do."""
        if self.interrupted or (self.reader is not None and self.reader.interrupted()):
            return "interrupted: the kernel says that the table changed during the dump (NLM_F_DUMP_INTR)"
        if self.guard.changed():
            return "changed while reading: the table's multicast group was heard during the dump"
        return ""

    def run(self, request: DumpRequest) -> str:
        """Read the dump; why it is inconsistent, or empty."""
        seq = self.talk.next_seq()
        self.talk.send(pack_message(request.type, nl.NLM_F_REQUEST | nl.NLM_F_DUMP, seq, request.body))
        needle = HEADER.pack(0, 0, 0, seq, self.talk.port)[8:]
        while True:
            try:
                size = self.talk.receive()
            except NetlinkError as error:
                if error.errno == errno.ENOBUFS:
                    raise _Lost from error
                raise
            done = self._take_last(size, needle) if self.reader is not None else None
            if done is None:
                done = self._take_all(size, seq)
            if done or (not self.patient and (self.interrupted or self.guard.changed())):
                return self.changed()

    def _feed(self, end: int, start: int = 0) -> None:
        if end > start:
            self.octets += end - start
            self.sink.feed(self.talk.view[start:end])

    def _take_last(self, size: int, needle: bytes) -> bool | None:
        """Look at the last message only and leave the flags of the others to the sink; None where that is not clear.

        Sequence number and port make eight bytes that do not stand in a payload by chance; where they do, the length
        before them does not lead to the end of the buffer, or NLMSG_DONE is missed and the deadline ends the dump.
        """
        buffer = self.talk.buffer
        start = buffer.rfind(needle, 0, size) - 8
        if start < 0 or start % 4:
            return None
        length, kind, flags, _, _ = HEADER.unpack_from(buffer, start)
        if kind <= nl.NLMSG_OVERRUN and kind != nl.NLMSG_DONE:
            return None
        last = length >= HEADER_SIZE and start + length <= size <= start + ((length + 3) & ~3)
        if not last:
            return None
        if kind != nl.NLMSG_DONE:
            self._feed(size)
            return False
        self._feed(start)
        self._end(Message(kind, flags, 0, 0, start + HEADER_SIZE, start + length))
        return True

    def _take_all(self, size: int, seq: int) -> bool:
        """Walk every message of the buffer. True after NLMSG_DONE."""
        buffer, port = self.talk.buffer, self.talk.port
        first = 0  # where the run of our own messages starts that was not fed yet
        for message in walk_messages(buffer, size):
            kind, flags, message_seq, pid, start, end = message
            if message_seq != seq or pid != port or kind <= nl.NLMSG_OVERRUN:
                self._feed(start - HEADER_SIZE, first)
                first = (end + 3) & ~3
                if message_seq != seq or pid != port or kind == nl.NLMSG_NOOP:
                    continue
                if kind == nl.NLMSG_OVERRUN:
                    raise _Lost
                self._end(message)
                if kind == nl.NLMSG_DONE:
                    return True
                continue
            self.messages += 1
            if flags & nl.NLM_F_DUMP_INTR:
                self.interrupted = True
        self._feed(size, first)
        return False

    def _end(self, message: Message) -> None:
        """NLMSG_DONE or NLMSG_ERROR: raise what it says."""
        if message.flags & nl.NLM_F_DUMP_INTR:
            self.interrupted = True
        number, text = error_of(self.talk.buffer, message)
        if number == errno.ENOBUFS:
            raise _Lost
        if number:
            raise NetlinkError(number, text)


def dump(
    request: DumpRequest,
    sink: Sink,
    *,
    deadline: float | None = None,
    attempts: int = 3,
    opener: Callable[[int], RawSocket] = open_raw,
) -> DumpResult:
    """Feed every message of one dump to ``sink``, in the network namespace of the calling thread.

    ``deadline`` is in seconds of time.monotonic(); None waits at most REPLY_TIMEOUT for each buffer. A dump during
    which the table changed is started again, ``attempts`` times in all; the last one is kept, and the result says that
    it is inconsistent. Raises NetlinkError, NetlinkTimeout; ValueError for a request that could write.
    """
    refuse_writes(request.protocol, request.type, dump=True)
    for number in range(1, attempts + 1):
        if number > 1:
            sink.reset()
        guard = Guard(request.protocol, request.guard_groups, opener)
        try:
            with Conversation(request.protocol, deadline, opener) as talk:
                attempt = _Attempt(talk, guard, sink, patient=number == attempts)
                detail = attempt.run(request)
        except _Lost:
            if number == attempts:
                raise NetlinkError(errno.ENOBUFS) from None
            continue
        finally:
            guard.close()
        if not detail or number == attempts:
            messages = attempt.messages if attempt.reader is None else None
            return DumpResult(not detail, number, attempt.octets, detail, messages)
    raise ValueError("attempts must be at least 1")


def batch(
    protocol: int,
    type: int,
    bodies: Sequence[bytes],
    *,
    deadline: float | None = None,
    flags: int = 0,
    opener: Callable[[int], RawSocket] = open_raw,
) -> list[Reply]:
    """Send one GET request per body over one socket; the replies in the order of the bodies.

    For requests that the kernel answers with a message or an error each (RTM_GETROUTE lookups, RTM_GETLINK of one
    interface). ``flags`` are added to NLM_F_REQUEST. A refusal is that request's Reply; only a broken conversation
    raises. Raises NetlinkError, NetlinkTimeout; ValueError for a type that could write.
    """
    refuse_writes(protocol, type, dump=False)
    if flags & ~(nl.NLM_F_REQUEST | nl.NLM_F_ACK):
        raise ValueError(f"flags {flags:#x} are not those of a single read")
    batched = _Batch(type, nl.NLM_F_REQUEST | flags, bodies)
    with Conversation(protocol, deadline, opener) as talk:
        waiting = list(range(len(bodies)))
        losses, window = 0, WINDOW
        while waiting:
            chosen, waiting = waiting[:window], waiting[window:]
            if not batched.exchange(talk, chosen):
                losses += 1
                if losses > PATIENCE:
                    raise NetlinkError(errno.ENOBUFS)
                window = 1  # slower, but each reply then has the whole receive buffer for itself
            waiting = [index for index in chosen if batched.replies[index] is None] + waiting
    return [reply for reply in batched.replies if reply is not None]


class _Batch:
    """Requests of one type, and the replies that have come so far."""

    def __init__(self, type: int, flags: int, bodies: Sequence[bytes]) -> None:
        self.type, self.flags, self.bodies = type, flags, bodies
        self.replies: list[Reply | None] = [None] * len(bodies)

    def exchange(self, talk: Conversation, chosen: list[int]) -> bool:
        """Send the chosen requests in one datagram and collect what they are answered. False when replies were lost."""
        owners = {talk.next_seq(): index for index in chosen}
        requests = (pack_message(self.type, self.flags, seq, self.bodies[index]) for seq, index in owners.items())
        talk.send(b"".join(requests))
        parts: dict[int, list[bytes]] = {}
        while owners:
            try:
                size = talk.receive()
            except NetlinkError as error:
                if error.errno == errno.ENOBUFS:
                    return False
                raise
            for message in walk_messages(talk.buffer, size):
                index = owners.get(message.seq) if message.pid == talk.port else None
                if index is None:
                    continue  # a late reply to a request that was sent again
                if message.type in (nl.NLMSG_ERROR, nl.NLMSG_DONE):
                    number, text = error_of(talk.buffer, message)
                    octets = b"" if number else b"".join(parts.pop(index, []))
                    self.replies[index] = Reply(octets, number, text)
                    del owners[message.seq]
                    continue
                octets = bytes(talk.view[message.start - HEADER_SIZE : message.end])
                if message.flags & nl.NLM_F_MULTI or self.flags & nl.NLM_F_ACK:
                    parts.setdefault(index, []).append(octets)
                else:
                    self.replies[index] = Reply(octets)
                    del owners[message.seq]
        return True


def request_one(protocol: int, type: int, body: bytes, *, deadline: float | None = None) -> Reply:
    """One GET request and its answer. Raises NetlinkError where the kernel refuses."""
    (reply,) = batch(protocol, type, [body], deadline=deadline)
    if reply.errno:
        raise NetlinkError(reply.errno, reply.text)
    return reply
