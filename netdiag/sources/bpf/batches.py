"""Entries of a large hash map, counted thousands at a time: BPF_MAP_LOOKUP_BATCH.

By next_key() a map of 65,536 entries costs as many system calls, by batches 16. Keys and values are copied into one
buffer and dropped; nothing of the map changes (kernel/bpf/hashtab.c, __htab_map_lookup_and_delete_batch() without
delete). The command came with Linux 5.6. By the bare system call: neither library's wrapper is older than that.
"""

import ctypes
import errno
import platform
import time
from struct import pack, unpack_from

from netdiag.sources.bpf.calls import SYSTEM_CALL

MAP_LOOKUP_BATCH = 24
ROOM = 4096
"""Entries of one batch; a bucket of the hash has to fit into it (ENOSPC)."""
MOST_BYTES = 1024
"""Bytes of a key with its value, beyond which the buffer would be large."""
MOST = 1 << 21
"""Entries: a map that changes meanwhile may begin again and again."""


def count(fd: int, key_size: int, value_size: int, until: float) -> int | None:
    """Entries of a hash map; None: the kernel cannot do it, or it takes longer than ``until`` (time.monotonic())."""
    number = SYSTEM_CALL.get(platform.machine())
    if number is None or key_size + value_size > MOST_BYTES:
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    keys, values = ctypes.create_string_buffer(ROOM * key_size), ctypes.create_string_buffer(ROOM * (value_size + 7))
    places = ctypes.create_string_buffer(16)
    before, after = 0, ctypes.addressof(places)
    total = 0
    while total < MOST and time.monotonic() < until:
        head = pack("=QQQQII", before, after, ctypes.addressof(keys), ctypes.addressof(values), ROOM, fd)
        attr = ctypes.create_string_buffer(head, 64)
        failed = syscall(ctypes.c_long(number), ctypes.c_int(MAP_LOOKUP_BATCH), attr, ctypes.c_uint(64)) < 0
        if failed and ctypes.get_errno() != errno.ENOENT:
            return None
        total += int(unpack_from("=I", attr, 32)[0])
        if failed:
            return total  # that was the last one
        before, after = after, ctypes.addressof(places) + (8 if after == ctypes.addressof(places) else 0)
    return None
