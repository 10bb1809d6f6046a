"""IPCTNL_MSG_CT_NEW into model.Conntrack.

Formats: include/uapi/linux/netfilter/nfnetlink_conntrack.h; ctnetlink_fill_info() in net/netfilter/
nf_conntrack_netlink.c. Attributes are nested three deep, so a layout here is the whole tree. Numbers are in network
order. At most LIMIT entries are kept; ``more`` tells that there were others. Needs CAP_NET_ADMIN. Damaged attributes
are left out and counted, never raised.
"""

import numpy as np
import numpy.typing as npt

from netdiag.model.conntrack import NO_STATE, SHAPES, Conntrack
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.columns import At, Attribute, Columns, ColumnSink, Matrix, Words, distinct
from netdiag.sources.netlink.messages import NFNL_SUBSYS_CTNETLINK, DumpRequest

LIMIT = 262144
"""Entries kept."""
NESTED = {(1,), (2,), (1, 1), (1, 2), (2, 1), (2, 2), (4,), (4, 1), (5,)}
"""Paths of attributes that hold attributes: tuples with their parts, protocol information of TCP, helper."""
SIDES = {1: "orig", 2: "reply"}
NLA_F_NESTED = 0x8000


def path_number(path: tuple[int, ...]) -> int:
    """One number for a path of attribute types."""
    number = 0
    for kind in path:
        number = number << 8 | kind
    return number


def request() -> DumpRequest:
    """IPCTNL_MSG_CT_GET: every entry of both families."""
    return DumpRequest("IPCTNL_MSG_CT_GET", nl.NETLINK_NETFILTER, NFNL_SUBSYS_CTNETLINK << 8 | 1, bytes(4))


class ConntrackColumns(ColumnSink):
    """Sink for a dump of conntrack entries; finish() is the table."""

    def __init__(self) -> None:
        super().__init__(NFNL_SUBSYS_CTNETLINK << 8, frozenset({nl.AF_INET, nl.AF_INET6}), 4)
        self.columns = Columns(SHAPES)
        self.helpers: list[str] = []
        self.more = False

    def forget(self) -> None:
        self.columns = Columns(SHAPES)
        self.helpers.clear()
        self.more = False

    def feed(self, buffer: memoryview) -> None:
        """Whole messages; once there are enough, the rest only counts as more."""
        if self.columns.rows >= LIMIT:
            self.more = True
            return
        super().feed(buffer)

    def take_rows(self, count: int) -> int:
        first = self.columns.take(count)
        self.columns.arrays["tcp_state"][first : first + count] = NO_STATE
        return first

    def finish(self) -> Conntrack:
        """The entries, in dump order. The sink is used up."""
        self.flush()
        rows = self.columns.rows
        if rows > LIMIT:
            self.more, rows = True, LIMIT
        self.columns.resize(rows)
        return Conntrack(**self.columns.arrays)

    def _layout(self, row: Words) -> tuple[list[Attribute], list[int], bool]:
        """Walk the whole tree of one message."""
        attributes: list[Attribute] = []
        headers: list[int] = []
        halves = row.view(np.uint16)

        def walk(position: int, end: int, path: tuple[int, ...]) -> bool:
            while position < end:
                headers.append(position)
                size, kind = int(halves[position * 2]), int(halves[position * 2 + 1]) & nl.NLA_TYPE_MASK
                stop = position + ((size + 3) >> 2)
                if size < 4 or stop > end:
                    return False
                here = (*path, kind)
                if here in NESTED:
                    if not walk(position + 1, stop, here):
                        return False
                else:
                    attributes.append(Attribute(path_number(here), position + 1, size - 4))
                position = stop
            return True

        sound = walk(self.first_attribute, len(row), ())
        return attributes, headers, sound

    def store(self, matrix: Matrix, at: At) -> None:
        arrays = self.columns.arrays
        arrays["family"][at] = matrix.octets[:, 16]
        for attribute in matrix.attributes:
            kind, word, size = attribute
            if kind in _NUMBERS and size == 4:
                arrays[_NUMBERS[kind]][at] = matrix.network[:, word]
            elif kind == 18 and size >= 2:  # CTA_ZONE
                arrays["zone"][at] = _be16(matrix, word)
            elif kind == 0x040101 and size >= 1:  # CTA_PROTOINFO_TCP_STATE
                arrays["tcp_state"][at] = matrix.octets[:, word * 4]
            elif kind == 0x0501 and size > 1:  # CTA_HELP_NAME
                block = matrix.words[:, word : word + (size + 3) // 4]
                arrays["helper"][at] = distinct(block, self._helper)
            elif kind >> 16 in SIDES:
                self._tuple(matrix, attribute, at)

    def _helper(self, octets: bytes) -> int:
        name = kernel_text(octets)
        if name not in self.helpers:
            if len(self.helpers) >= 255:
                return 0
            self.helpers.append(name)
        return self.helpers.index(name) + 1

    def _tuple(self, matrix: Matrix, attribute: Attribute, at: At) -> None:
        """A part of one direction's tuple."""
        arrays, (path, word, size) = self.columns.arrays, attribute
        side, part, kind = SIDES[path >> 16], path >> 8 & 0xFF, path & 0xFF
        if part == 1:  # CTA_TUPLE_IP: 1 and 3 are sources, 2 and 4 destinations
            if kind in (1, 2, 3, 4) and size in (4, 16):
                arrays[f"{side}_{'src' if kind in (1, 3) else 'dst'}"][at, :size] = matrix.payload(attribute, size)
        elif kind == 1:  # CTA_PROTO_NUM
            if side == "orig" and size >= 1:
                arrays["proto"][at] = matrix.octets[:, word * 4]
        elif kind in (2, 3, 4, 7) and size >= 2:  # ports; id of an ICMP query
            arrays[f"{side}_{'dport' if kind == 3 else 'sport'}"][at] = _be16(matrix, word)
        elif kind in (5, 8) and size >= 1:  # type of an ICMP query
            arrays[f"{side}_dport"][at] |= matrix.octets[:, word * 4].astype(np.uint16) << 8
        elif kind in (6, 9) and size >= 1:
            arrays[f"{side}_dport"][at] |= matrix.octets[:, word * 4]


_NUMBERS = {3: "status", 7: "timeout", 8: "mark"}
"""CTA_STATUS, CTA_TIMEOUT, CTA_MARK."""


def _be16(matrix: Matrix, word: int) -> npt.NDArray[np.uint16]:
    column: npt.NDArray[np.uint16] = matrix.words.view(">u2")[:, word * 2].astype(np.uint16)
    return column
