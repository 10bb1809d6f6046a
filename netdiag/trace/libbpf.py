"""libbpf, as far as an object is loaded and its events are read: by ctypes, from the library that iproute2 depends on.

The functions are of libbpf 1.0 (LIBBPF_1.0.0): they return NULL or a negative number and set errno. What libbpf would
print goes nowhere: the last warning is kept for the one line of ``Unavailable``.
"""

import ctypes
import ctypes.util
import errno
import os
from collections.abc import Callable
from struct import Struct
from typing import Any

from netdiag.trace import Unavailable

SONAME = "libbpf.so.1"
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
POINTERS = (
    "bpf_object__open_mem", "bpf_object__find_map_by_name", "bpf_object__next_program", "bpf_program__attach",
    "bpf_program__name", "ring_buffer__new",
)  # fmt: skip


def _library() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL(SONAME, use_errno=True)
    except OSError as error:
        raise Unavailable(f"{SONAME} is not installed (Debian: libbpf1, which iproute2 brings)") from error
    for name in POINTERS:
        getattr(lib, name).restype = ctypes.c_void_p
    lib.bpf_program__name.restype = ctypes.c_char_p
    return lib


class Loaded:
    """One object in the kernel: its programs attached, its maps open. Close it, or let the process end."""

    def __init__(self, octets: bytes) -> None:
        """Raises Unavailable."""
        self._lib = _library()
        self._warning = ""
        self._print = PRINT(self._keep)
        self._lib.libbpf_set_print(self._print)
        self._links: list[ctypes.c_void_p] = []
        self._rings: list[tuple[ctypes.c_void_p, Any]] = []
        kept = ctypes.create_string_buffer(octets, len(octets))
        self._object = self._lib.bpf_object__open_mem(kept, ctypes.c_size_t(len(octets)), None)
        if not self._object:
            raise self._failure("the program cannot be opened")
        self._object = ctypes.c_void_p(self._object)
        if self._lib.bpf_object__load(self._object) < 0:
            failure = self._failure("the program cannot be loaded")
            self.close()
            raise failure

    def _keep(self, level: int, form: bytes | None, arguments: int | None) -> int:
        """libbpf's printer: the words of a warning, formatted by the C library."""
        if level == 0 and form:
            room = ctypes.create_string_buffer(400)
            ctypes.CDLL(None).vsnprintf(room, ctypes.c_size_t(len(room)), form, ctypes.c_void_p(arguments))
            text = room.value.decode("utf-8", "replace").strip()
            self._warning = text.splitlines()[0] if text and not self._warning else self._warning
        return 0

    def _failure(self, what: str) -> Unavailable:
        number = ctypes.get_errno()
        if number in (errno.EPERM, errno.EACCES):
            return Unavailable("denied: it needs CAP_BPF and CAP_PERFMON, or root")
        said = f": {self._warning}" if self._warning else ""
        return Unavailable(f"{what} ({os.strerror(number)}){said}")

    def attach(self) -> list[str]:
        """Attach every program by its section; gives the names of those that this kernel has no hook for.

        Raises Unavailable where it has none for any.
        """
        missing, at = [], None
        while True:
            at = self._lib.bpf_object__next_program(self._object, ctypes.c_void_p(at))
            if not at:
                break
            self._warning = ""
            link = self._lib.bpf_program__attach(ctypes.c_void_p(at))
            if link:
                self._links.append(ctypes.c_void_p(link))
            else:
                missing.append(self._lib.bpf_program__name(ctypes.c_void_p(at)).decode())
        if not self._links:
            raise self._failure("this kernel has no such tracepoint, or tells less by it")
        return missing

    def map(self, name: str) -> int:
        """File descriptor of a map. Raises KeyError."""
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise KeyError(name)
        return int(self._lib.bpf_map__fd(ctypes.c_void_p(found)))

    def update(self, name: str, value: bytes) -> None:
        """Set the only entry of an array. Raises Unavailable."""
        key, given = ctypes.create_string_buffer(4), ctypes.create_string_buffer(value, len(value))
        if self._lib.bpf_map_update_elem(self.map(name), key, given, ctypes.c_ulonglong(0)) < 0:
            raise self._failure(f"map {name} cannot be written")

    def entries(self, name: str, key: Struct, value: Struct) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Everything in a map."""
        fd, found = self.map(name), []
        before: Any = None
        now, read = ctypes.create_string_buffer(key.size), ctypes.create_string_buffer(value.size)
        while self._lib.bpf_map_get_next_key(fd, before, now) == 0:
            if self._lib.bpf_map_lookup_elem(fd, now, read) == 0:
                found.append((key.unpack(now.raw), value.unpack(read.raw)))
            before = ctypes.create_string_buffer(now.raw, key.size)
        return found

    def listen(self, name: str, heard: Callable[[bytes], None]) -> None:
        """Call ``heard`` with each record of a ring buffer, from within ``poll``. Raises Unavailable."""

        def each(_: int, at: int, size: int) -> int:
            heard(ctypes.string_at(at, size))
            return 0

        callback = CALLBACK(each)
        ring = self._lib.ring_buffer__new(self.map(name), callback, None, None)
        if not ring:
            raise self._failure("the ring buffer cannot be opened (Linux 5.8)")
        self._rings.append((ctypes.c_void_p(ring), callback))

    def poll(self, seconds: float) -> None:
        """Wait for records at most so long."""
        for ring, _ in self._rings:
            self._lib.ring_buffer__poll(ring, int(seconds * 1000))

    def detach(self) -> None:
        """No more events; the maps stay."""
        for link in self._links:
            self._lib.bpf_link__destroy(link)
        self._links = []

    def close(self) -> None:
        """Detach and forget everything. Idempotent."""
        self.detach()
        for ring, _ in self._rings:
            self._lib.ring_buffer__free(ring)
        if self._object:
            self._lib.bpf_object__close(self._object)
        self._rings, self._object = [], None
