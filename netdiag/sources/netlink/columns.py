"""Netlink messages by the hundred thousand into NumPy columns, without a Python loop over them.

Messages of one dump are much alike: a million routes have a handful of layouts (length, and the sequence of attribute
headers). So a batch of about half a mebibyte is cut up like this:

1. find the messages: sequence number and port id are the same in every header of a dump, so every place where these two
   words stand side by side is a candidate; the lengths before them must chain from the first byte to the last. Where
   they do not (a payload held the same words, or a message is damaged), the headers are walked one by one;
2. take the first message that is not decoded yet, walk its attributes in Python, and compare all messages of its length
   with it: those whose attribute headers are the same words are one layout, a matrix whose columns are the fields;
3. hand the matrix to the decoder of the message type, and go on with the rest.

The cost is a few NumPy calls a layout and batch. Attribute formats: include/uapi/linux/netlink.h (struct nlattr: length
and type, 16 bits each, payload padded to 4). Nothing here raises on damaged input: what cannot be read is counted in
``malformed``, what is not known in ``unknown``.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.messages import HEADER_SIZE

Words = npt.NDArray[np.uint32]
Octets = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]
At = slice | Positions
"""Which rows of the columns a matrix fills."""

STAGE = 512 << 10
"""Bytes gathered before they are decoded: enough to make NumPy's overhead a call small, little enough for the cache."""
FIRST_STAGE = 64 << 10
"""Bytes of the stage before anything came: most tables of most hosts fit, and every page of it is written to."""
GROW = 128 << 10
"""Rows by which columns grow at most. realloc(3) moves large blocks by page tables, so this copies nothing."""
FEW = 64
"""Rows by which columns grow at first; then they double."""
DISTINCT = 16
"""Different values looked for by comparing whole columns before falling back to one dictionary lookup a row."""
_HEADER_WORDS = HEADER_SIZE // 4


class Attribute(NamedTuple):
    """Where one attribute stands in every message of a layout."""

    type: int
    word: int
    """Position of the payload, in 32-bit words from the message's first byte."""
    size: int
    """Bytes of payload."""

    @property
    def words(self) -> slice:
        """Header and payload, as columns of the matrix."""
        return slice(self.word - 1, self.word + (self.size + 3) // 4)


class Matrix:
    """Messages of one layout: one row each."""

    def __init__(self, words: Words, attributes: list[Attribute]) -> None:
        self.words = words
        self.octets: Octets = words.view(np.uint8)
        self.network: npt.NDArray[Any] = words.view(">u4")
        """The same words in network byte order."""
        self.attributes = attributes

    def __len__(self) -> int:
        return len(self.words)

    def payload(self, attribute: Attribute, size: int) -> Octets:
        """The first ``size`` bytes of an attribute, shape (n, size)."""
        start = attribute.word * 4
        return self.octets[:, start : start + size]


class Columns:
    """Arrays of one length that grow together, without ever holding two copies."""

    def __init__(self, shapes: Mapping[str, tuple[type[np.generic], int]]) -> None:
        """``shapes``: name to (dtype, width); width 0 is one value a row."""
        self.arrays: dict[str, npt.NDArray[Any]] = {
            name: np.empty((0, width) if width else 0, dtype) for name, (dtype, width) in shapes.items()
        }
        self.rows = 0
        self.room = 0

    def take(self, count: int) -> int:
        """Make room for ``count`` more rows, all zero; the position of the first."""
        first, self.rows = self.rows, self.rows + count
        if self.rows > self.room:
            self.resize(self.rows + min(GROW, max(FEW, self.rows)))
        return first

    def resize(self, rows: int) -> None:
        """Cut or grow every array to ``rows`` rows."""
        for array in self.arrays.values():
            # Nobody else holds these arrays while they grow, and refcheck would count the loop variable.
            array.resize((rows, *array.shape[1:]), refcheck=False)
        self.room = rows


class ColumnSink:
    """Gathers messages of one type and hands them on as matrices. Reads the headers itself, see HeaderReadingSink."""

    def __init__(self, message_type: int, families: frozenset[int], header_size: int) -> None:
        """``header_size``: bytes of the family header; its first byte must be one of ``families``."""
        self.message_type = message_type
        self.families = families
        self.first_attribute = _HEADER_WORDS + header_size // 4
        self.stage = bytearray(FIRST_STAGE)
        self.fill = 0
        self.unknown: dict[int, int] = {}
        """Attribute type to number of messages that had it, for types that nobody here knows."""
        self.malformed = 0
        """Messages of which a part could not be read."""
        self.skipped = 0
        """Messages of another type or family."""
        self._interrupted = False

    def feed(self, buffer: memoryview) -> None:
        """Whole messages, as the transport has them."""
        size = len(buffer)
        room = size + (-size % 4)
        if self.fill + room > len(self.stage):
            if len(self.stage) < STAGE:
                gathered, self.stage = self.stage[: self.fill], bytearray(max(STAGE, self.fill + room))
                self.stage[: self.fill] = gathered
            else:
                self.flush()
                if room > len(self.stage):
                    self.stage = bytearray(room)
        end = self.fill + size
        self.stage[self.fill : end] = buffer
        self.fill += room
        if room != size:  # the last message of a recording may lack its padding
            self.stage[end : self.fill] = bytes(room - size)

    def reset(self) -> None:
        """Forget everything."""
        self.fill = 0
        self.unknown.clear()
        self.malformed = self.skipped = 0
        self._interrupted = False
        self.forget()

    def interrupted(self) -> bool:
        """True when NLM_F_DUMP_INTR stood on any message."""
        return self._interrupted

    def forget(self) -> None:
        """Drop the rows; a decoder's own part of reset()."""
        raise NotImplementedError

    def take_rows(self, count: int) -> int:
        """Make room for rows; the position of the first."""
        raise NotImplementedError

    def store(self, matrix: Matrix, at: At) -> None:
        """Decode messages of one layout into the rows ``at``."""
        raise NotImplementedError

    def flush(self) -> None:
        """Decode what was gathered."""
        if not self.fill:
            return
        words = np.frombuffer(self.stage, np.uint32, self.fill // 4)
        self.fill = 0
        starts = self._find(words)
        if len(starts):
            starts = self._choose(words, starts)
        if len(starts):
            self._split(words, starts, (words[starts].astype(np.intp) + 3) >> 2)

    def _find(self, words: Words) -> Positions:
        """Where messages start, in words."""
        if len(words) < _HEADER_WORDS:
            self.malformed += 1
            return np.empty(0, np.intp)
        starts = np.flatnonzero((words[2:-1] == words[2]) & (words[3:] == words[3]))
        ends = starts + ((words[starts].astype(np.intp) + 3) >> 2)
        whole = starts[0] == 0 and ends[-1] == len(words) and np.array_equal(starts[1:], ends[:-1])
        return starts if whole and int(words[starts].min()) >= HEADER_SIZE else self._walk(words)

    def _walk(self, words: Words) -> Positions:
        """The slow way: header by header, up to the first that cannot be true."""
        found: list[int] = []
        position, end = 0, len(words)
        while position < end:
            length = int(words[position])
            step = (length + 3) >> 2
            if length < HEADER_SIZE or position + step > end:
                self.malformed += 1
                break
            found.append(position)
            position += step
        return np.array(found, np.intp)

    def _choose(self, words: Words, starts: Positions) -> Positions:
        """Note the flags; keep messages of our type and family that are long enough for a family header."""
        kinds = words[starts + 1]
        halves = kinds.view(np.uint16).reshape(-1, 2)  # nlmsg_type, nlmsg_flags: in this order on either endianness
        if kinds.min() == kinds.max():
            halves = halves[:1]
        self._interrupted = self._interrupted or bool((halves[:, 1] & nl.NLM_F_DUMP_INTR).any())
        # The length covers a whole header, so the word after it exists; what follows a shorter message is not read.
        right = (halves[:, 0] == self.message_type) & np.ones(len(starts), np.bool_)
        long_enough = words[starts] >= self.first_attribute * 4
        self.malformed += int(np.count_nonzero(right & ~long_enough))
        self.skipped += int(np.count_nonzero(~right))
        right &= long_enough
        if not right.all():
            starts = starts[right]
        families = words.view(np.uint8)[starts * 4 + HEADER_SIZE]
        right = np.isin(families, list(self.families)) if len(self.families) > 1 else families == min(self.families)
        if not right.all():
            self.skipped += int(np.count_nonzero(~right))
            starts = starts[right]
        return starts

    def _split(self, words: Words, starts: Positions, lengths: Positions) -> None:
        """Sort messages by layout and store each layout's matrix; rows keep the order of the dump."""
        base = self.take_rows(len(starts))
        todo = np.arange(len(starts))
        while len(todo):
            length = int(lengths[todo[0]])
            same = lengths[todo] == length
            chosen = todo if same.all() else todo[same]
            block = _gather(words, starts[chosen], length)
            attributes, headers, sound = self._layout(block[0])
            alike = np.ones(len(chosen), np.bool_)
            for column in headers:
                alike &= block[:, column] == block[0, column]
            if not alike.all():
                block, chosen = block[alike], chosen[alike]
            if not sound:
                self.malformed += len(chosen)
            self.store(Matrix(block, attributes), self._rows(base, chosen))
            todo = todo[:0] if len(chosen) == len(todo) else np.setdiff1d(todo, chosen, assume_unique=True)

    @staticmethod
    def _rows(base: int, chosen: Positions) -> At:
        first, last = int(chosen[0]), int(chosen[-1])
        if last - first + 1 == len(chosen):  # one run, ascending: a slice is written without an index array
            return slice(base + first, base + last + 1)
        return chosen + base

    def _layout(self, row: Words) -> tuple[list[Attribute], list[int], bool]:
        """Walk one message: its attributes, the words that hold attribute headers, and whether all were sound."""
        attributes: list[Attribute] = []
        headers: list[int] = []
        position, end = self.first_attribute, len(row)
        halves = row.view(np.uint16)
        while position < end:
            headers.append(position)
            size, kind = int(halves[position * 2]), int(halves[position * 2 + 1])
            if size < 4 or position + ((size + 3) >> 2) > end:
                return attributes, headers, False
            attributes.append(Attribute(kind & nl.NLA_TYPE_MASK, position + 1, size - 4))
            position += (size + 3) >> 2
        return attributes, headers, True

    def count_unknown(self, kind: int, rows: int) -> None:
        """Note an attribute type that the decoder does not know."""
        self.unknown[kind] = self.unknown.get(kind, 0) + rows


def _gather(words: Words, starts: Positions, length: int) -> Words:
    """Messages of one length as a contiguous matrix, shape (n, length); a view where they lie side by side."""
    first, last = int(starts[0]), int(starts[-1])
    if last - first == length * (len(starts) - 1):
        return words[first : last + length].reshape(len(starts), length)
    windows = np.lib.stride_tricks.sliding_window_view(words, length)
    return windows[starts]


def distinct(block: Words, number_of: Callable[[bytes], int]) -> npt.NDArray[np.int32]:
    """Number every row by its bytes, shape (n,) int32.

    ``number_of`` is asked once for each distinct row, or for every row where there are more than a few.
    """
    block = np.ascontiguousarray(block)
    numbers = np.empty(len(block), np.int32)
    todo = np.arange(len(block))
    for _ in range(DISTINCT):
        first = block[todo[0]]
        alike = (block[todo] == first).all(axis=1)
        numbers[todo[alike]] = number_of(first.tobytes())
        todo = todo[~alike]
        if not len(todo):
            return numbers
    for row in todo.tolist():
        numbers[row] = number_of(block[row].tobytes())
    return numbers
