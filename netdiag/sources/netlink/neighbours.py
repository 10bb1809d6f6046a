"""RTM_NEWNEIGH into model.Neighbours.

Formats: include/uapi/linux/neighbour.h (struct ndmsg, 12 bytes; NDA_*), neigh_fill_info() and pneigh_fill_info() in
net/core/neighbour.c. Ages are told in clock ticks (USER_HZ); proxy entries have none and no hardware address. Bridge
forwarding entries (AF_BRIDGE) come in the same message type and are skipped. Damaged attributes are left out and
counted, never raised.
"""

from collections.abc import Mapping

import numpy as np

from netdiag.model.neighbour import LLADDR_SIZE, Neighbours
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.columns import At, Attribute, Columns, ColumnSink, Matrix
from netdiag.sources.netlink.routes import USER_HZ

_U1, _U2, _U4, _I4, _F4 = (np.uint8, 0), (np.uint16, 0), (np.uint32, 0), (np.int32, 0), (np.float32, 0)
_SHAPES: Mapping[str, tuple[type[np.generic], int]] = {
    "family": _U1,
    "ifindex": _I4,
    "dst": (np.uint8, 16),
    "lladdr": (np.uint8, LLADDR_SIZE),
    "lladdr_len": _U1,
    "state": _U2,
    "flags": _U1,
    "protocol": _U1,
    "confirmed": _F4,
    "used": _F4,
    "updated": _F4,
    "probes": _U4,
}
_AGES = ("confirmed", "used", "updated")
_IGNORED = {
    nl.NDA_IFINDEX,
    nl.NDA_LINK_NETNSID,
    nl.NDA_MASTER,
    nl.NDA_VLAN,
    nl.NDA_VNI,
    nl.NDA_PORT,
    nl.NDA_SRC_VNI,
    nl.NDA_NH_ID,
    nl.NDA_FDB_EXT_ATTRS,
    nl.NDA_FLAGS_EXT,
}
"""Known, and only of use for the forwarding entries of bridges and vxlan."""


class NeighbourColumns(ColumnSink):
    """Sink for dumps of neighbours and of proxy entries, of both families; finish() is the table.

    Feed it both dumps, one after the other, and it holds the rows of both; reset() would forget the first, so a caller
    that repeats a dump gives each dump a sink of its own and joins them with concatenate().
    """

    def __init__(self) -> None:
        super().__init__(nl.RTM_NEWNEIGH, frozenset({nl.AF_INET, nl.AF_INET6}), 12)
        self.columns = Columns(_SHAPES)

    def forget(self) -> None:
        self.columns = Columns(_SHAPES)

    def take_rows(self, count: int) -> int:
        first = self.columns.take(count)
        for name in _AGES:
            self.columns.arrays[name][first : first + count] = np.nan
        return first

    def finish(self) -> Neighbours:
        """The neighbours, in dump order. The sink is used up."""
        self.flush()
        self.columns.resize(self.columns.rows)
        return Neighbours(**self.columns.arrays)

    def store(self, matrix: Matrix, at: At) -> None:
        arrays, octets = self.columns.arrays, matrix.octets
        arrays["family"][at] = octets[:, 16]
        arrays["ifindex"][at] = matrix.words[:, 5].view(np.int32)
        arrays["state"][at] = octets.view(np.uint16)[:, 12]
        arrays["flags"][at] = octets[:, 26]
        for attribute in matrix.attributes:
            if not self._attribute(matrix, attribute, at):
                self.malformed += len(matrix)

    def _attribute(self, matrix: Matrix, attribute: Attribute, at: At) -> bool:
        """Decode one attribute; False: it has not the size that its type asks for."""
        arrays, (kind, word, size) = self.columns.arrays, attribute
        if kind == nl.NDA_DST:
            if size not in (4, 16):
                return False
            arrays["dst"][at, :size] = matrix.payload(attribute, size)
        elif kind == nl.NDA_LLADDR:
            if size > LLADDR_SIZE:
                return False
            arrays["lladdr"][at, :size] = matrix.payload(attribute, size)
            arrays["lladdr_len"][at] = size
        elif kind == nl.NDA_CACHEINFO:
            if size < 12:
                return False
            for offset, name in enumerate(_AGES):
                arrays[name][at] = matrix.words[:, word + offset] / np.float32(USER_HZ)
        elif kind == nl.NDA_PROBES:
            if size != 4:
                return False
            arrays["probes"][at] = matrix.words[:, word]
        elif kind == nl.NDA_PROTOCOL:
            if size < 1:
                return False
            arrays["protocol"][at] = matrix.octets[:, word * 4]
        elif kind not in _IGNORED:
            self.count_unknown(kind, len(matrix))
        return True


def concatenate(first: Neighbours, second: Neighbours) -> Neighbours:
    """One table from two: neighbours and proxy entries come in a dump each."""
    columns = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in Neighbours.COLUMNS}
    return Neighbours(**columns)
