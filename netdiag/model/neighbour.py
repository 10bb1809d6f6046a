"""Neighbours (ARP and ND) as columns, from RTM_GETNEIGH (include/uapi/linux/neighbour.h)."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

LLADDR_SIZE = 32
"""MAX_ADDR_LEN of include/linux/netdevice.h: an Ethernet address has 6 bytes, one of InfiniBand 20."""
NUD_INCOMPLETE = 0x01
NUD_REACHABLE = 0x02
NUD_STALE = 0x04
NUD_DELAY = 0x08
NUD_PROBE = 0x10
NUD_FAILED = 0x20
NUD_NOARP = 0x40
NUD_PERMANENT = 0x80
NUD_NAMES = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}
NTF_USE = 0x01
NTF_SELF = 0x02
NTF_MASTER = 0x04
NTF_PROXY = 0x08
NTF_EXT_LEARNED = 0x10
NTF_OFFLOADED = 0x20
NTF_STICKY = 0x40
NTF_ROUTER = 0x80


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """One neighbour made readable."""

    family: str
    ifindex: int
    dst: str
    lladdr: str | None
    state: str
    """nud state in lower case, as ``ip neigh`` shows it."""
    flags: int
    """NTF_* bits; NTF_PROXY marks a proxy entry, which has no lladdr and no state."""
    protocol: int | None
    confirmed: float | None
    """Seconds since the neighbour was last confirmed reachable."""
    used: float | None
    """Seconds since it was last used."""
    updated: float | None
    """Seconds since its state last changed."""
    probes: int | None

    @property
    def proxy(self) -> bool:
        """A proxy entry: this host answers for somebody else's address."""
        return bool(self.flags & NTF_PROXY)

    @property
    def router(self) -> bool:
        """IPv6: the neighbour says that it is a router."""
        return bool(self.flags & NTF_ROUTER)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Every neighbour and proxy entry of both families. All columns have the same length n."""

    family: npt.NDArray[np.uint8]
    """AF_INET 2 or AF_INET6 10."""
    ifindex: npt.NDArray[np.int32]
    dst: npt.NDArray[np.uint8]
    """Shape (n, 16), network order; IPv4 in the first four bytes, the rest zero."""
    lladdr: npt.NDArray[np.uint8]
    """Shape (n, LLADDR_SIZE); only the first ``lladdr_len`` bytes count."""
    lladdr_len: npt.NDArray[np.uint8]
    state: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint8]
    protocol: npt.NDArray[np.uint8]
    confirmed: npt.NDArray[np.float32]
    """Seconds; NaN: not told."""
    used: npt.NDArray[np.float32]
    updated: npt.NDArray[np.float32]
    probes: npt.NDArray[np.uint32]

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "family",
        "ifindex",
        "dst",
        "lladdr",
        "lladdr_len",
        "state",
        "flags",
        "protocol",
        "confirmed",
        "used",
        "updated",
        "probes",
    )

    def __len__(self) -> int:
        return len(self.ifindex)

    def row(self, position: int) -> Neighbour:
        """The neighbour at one position (0 to n-1), made readable."""
        v4 = int(self.family[position]) == 2
        raw = self.dst[position].tobytes()
        lladdr = self.lladdr[position].tobytes()[: int(self.lladdr_len[position])]
        ages = [float(column[position]) for column in (self.confirmed, self.used, self.updated)]
        confirmed, used, updated = (None if np.isnan(age) else round(age, 2) for age in ages)
        state = int(self.state[position])
        return Neighbour(
            family="inet" if v4 else "inet6",
            ifindex=int(self.ifindex[position]),
            dst=str(ipaddress.IPv4Address(raw[:4]) if v4 else ipaddress.IPv6Address(raw)),
            lladdr=lladdr.hex(":") if lladdr else None,
            state=NUD_NAMES.get(state, f"{state:#x}"),
            flags=int(self.flags[position]),
            protocol=int(self.protocol[position]) or None,
            confirmed=confirmed,
            used=used,
            updated=updated,
            probes=int(self.probes[position]),
        )

    def rows(self, positions: npt.ArrayLike | None = None) -> Iterator[Neighbour]:
        """Readable neighbours at the given positions, or all of them, in dump order."""
        chosen = range(len(self)) if positions is None else np.asarray(positions).tolist()
        return (self.row(position) for position in chosen)

    @classmethod
    def empty(cls) -> "Neighbours":
        """A table without rows."""
        return neighbours_from_rows([])


def neighbours_from_rows(rows: list[Neighbour]) -> Neighbours:
    """Columns from readable rows: for examples and tests. Raises ValueError on a bad address."""
    states = {name: number for number, name in NUD_NAMES.items()}

    def packed(texts: list[str]) -> npt.NDArray[np.uint8]:
        raw = b"".join(ipaddress.ip_address(text).packed.ljust(16, b"\0") for text in texts)
        return np.frombuffer(raw, np.uint8).reshape(len(texts), 16)

    def ages(values: list[float | None]) -> npt.NDArray[np.float32]:
        return np.array([np.nan if value is None else value for value in values], np.float32)

    lladdrs = [bytes.fromhex((row.lladdr or "").replace(":", "")) for row in rows]
    wide = [raw.ljust(LLADDR_SIZE, b"\0") for raw in lladdrs]
    columns: dict[str, Any] = {
        "family": np.array([2 if row.family == "inet" else 10 for row in rows], np.uint8),
        "ifindex": np.array([row.ifindex for row in rows], np.int32),
        "dst": packed([row.dst for row in rows]),
        "lladdr": np.frombuffer(b"".join(wide), np.uint8).reshape(len(rows), LLADDR_SIZE),
        "lladdr_len": np.array([len(raw) for raw in lladdrs], np.uint8),
        "state": np.array([states[row.state] for row in rows], np.uint16),
        "flags": np.array([row.flags for row in rows], np.uint8),
        "protocol": np.array([row.protocol or 0 for row in rows], np.uint8),
        "confirmed": ages([row.confirmed for row in rows]),
        "used": ages([row.used for row in rows]),
        "updated": ages([row.updated for row in rows]),
        "probes": np.array([row.probes or 0 for row in rows], np.uint32),
    }
    return Neighbours(**columns)
