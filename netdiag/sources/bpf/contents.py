"""What is in maps, as far as looking changes nothing: entries counted, and the values that name other objects.

Only MAP_GET_NEXT_KEY and, for maps of interfaces, processors, programs and maps, MAP_LOOKUP_ELEM are used, and for
large hash maps MAP_LOOKUP_BATCH. A lookup in an LRU map would mark the entry as used (kernel/bpf/hashtab.c,
htab_lru_map_lookup_elem()); getting the next key does not. All are bounded, because a map that changes meanwhile may
begin again and again.
"""

import socket
import time
from contextlib import suppress
from struct import unpack_from

from netdiag.model.bpf import INTERFACES, BpfMap, BpfMapEntry
from netdiag.sources.bpf import batches
from netdiag.sources.bpf.calls import Calls
from netdiag.sources.bpf.objects import opened

COUNTED = {
    "hash",
    "percpu_hash",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "hash_of_maps",
    "devmap_hash",
    "sockhash",
}
"""Types whose keys are exactly the entries that exist. The slots of an array always exist."""
SLOTS = {"devmap", "cpumap", "prog_array", "array_of_maps"}
"""Arrays of which a slot is empty or names something."""
NAMING = SLOTS | {"devmap_hash", "hash_of_maps"}
KEYS = (4, 16)
"""Bytes of a key that are read: a number or an IPv4 address, an IPv6 address."""
VALUE_LIMIT = 64
"""Bytes of a value that is read."""
ENTRIES_LIMIT = 1024
"""Entries of one map."""
COUNT_LIMIT = {"hash": 16_384, "percpu_hash": 16_384}
"""Entries that are counted of maps which refuse new ones when they are full; of others ``ENTRIES_LIMIT``."""
SAMPLE = 256
"""Keys of an LRU map that are looked at twice."""
STEPS_LIMIT = 50_000
"""Entries of all maps."""
PATIENCE = 0.5
"""Seconds for all maps."""


def may_name(one: BpfMap) -> bool:
    """Whether the values of a plain hash could begin with an interface's index."""
    return one.type == "hash" and one.key_size in KEYS and 4 <= one.value_size <= VALUE_LIMIT


def names_something(one: BpfMap) -> bool:
    """Whether the values of a map are worth reading: they name an interface, a processor, a program or a map."""
    told = one.value_member is not None or INTERFACES.search(one.name) is not None
    return one.type in NAMING or (may_name(one) and told)


class Contents:
    """Looks into maps until its steps or its time are used up."""

    def __init__(self, calls: Calls, deadline: float) -> None:
        self.calls = calls
        self.steps = STEPS_LIMIT
        self.deadline = min(deadline, time.monotonic() + PATIENCE)

    def _spent(self) -> bool:
        self.steps -= 1
        return self.steps < 0 or (self.steps % 256 == 0 and time.monotonic() > self.deadline)

    def count(self, fd: int, one: BpfMap) -> tuple[int | None, bool]:
        """Entries in use and whether there are more; None where this type does not tell."""
        if one.type not in COUNTED:
            return None, False
        if self.steps <= 0 or time.monotonic() > self.deadline:
            return None, False
        if one.type == "hash" and one.max_entries > COUNT_LIMIT["hash"]:
            whole = batches.count(fd, one.key_size, one.value_size, self.deadline)
            if whole is not None:
                return whole, False
        limit = min(COUNT_LIMIT.get(one.type, ENTRIES_LIMIT), one.max_entries, self.steps)
        count = self.calls.count_keys(fd, one.key_size, limit)
        self.steps -= count
        return count, count == limit < one.max_entries

    def keys(self, fd: int, one: BpfMap) -> list[bytes]:
        """Some keys of a map in its own order, each once; the same ones at every look, as far as they are there."""
        found: dict[bytes, None] = {}
        key: bytes | None = None
        for _ in range(SAMPLE):
            key = self.calls.next_key(fd, key, one.key_size)
            if key is None or self._spent():
                break
            found[key] = None
        return list(found)

    def entries(self, one: BpfMap) -> tuple[list[BpfMapEntry], bool]:
        """Entries of a map whose values name something, and whether these are all."""
        rows: list[BpfMapEntry] = []
        if one.key_size not in (KEYS if one.type == "hash" else KEYS[:1]) or one.value_size > VALUE_LIMIT:
            return rows, False
        slots = one.type in SLOTS
        key: bytes | None = None
        with suppress(FileNotFoundError), opened(self.calls.fd_by_id("map", one.id)) as fd:
            for number in range(ENTRIES_LIMIT + 1):
                if slots:
                    key = number.to_bytes(4, "little" if unpack_from("=H", b"\1\0")[0] == 1 else "big")
                    ended = number >= one.max_entries
                else:
                    key = self.calls.next_key(fd, key, one.key_size)
                    ended = key is None
                if ended:
                    return rows, True
                if number == ENTRIES_LIMIT or self._spent() or key is None:
                    return rows, False
                value = self.calls.lookup(fd, key, max(8, one.value_size))
                row = _entry(one, key, value) if value is not None else None
                if row is not None:
                    rows.append(row)
        return rows, False


def _entry(one: BpfMap, key: bytes, value: bytes) -> BpfMapEntry | None:
    """One entry: struct bpf_devmap_val, struct bpf_cpumap_val, an id, or a structure that begins with one."""
    first, second = unpack_from("=II", value)
    if one.value_member_at is not None and one.value_member_at + 4 <= len(value):
        first = unpack_from("=I", value, one.value_member_at)[0]
    if len(key) != 4:
        address = socket.inet_ntop(socket.AF_INET6, key)
        return BpfMapEntry(map_id=one.id, key=0, address=address, ifindex=first) if first else None
    number: int = unpack_from("=I", key)[0]
    program = (second or None) if one.value_size >= 8 and one.type != "hash" else None
    if one.type in ("devmap", "devmap_hash", "hash"):
        return BpfMapEntry(map_id=one.id, key=number, ifindex=first, prog_id=program) if first else None
    if one.type == "cpumap":
        return BpfMapEntry(map_id=one.id, key=number, qsize=first, prog_id=program) if first else None
    if not first:
        return None
    if one.type == "prog_array":
        return BpfMapEntry(map_id=one.id, key=number, prog_id=first)
    return BpfMapEntry(map_id=one.id, key=number, inner_map_id=first)
