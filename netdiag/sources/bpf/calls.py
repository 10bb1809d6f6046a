"""bpf(2) in eight questions, asked through the libbpf that Debian's python3-bpfcc brings, else by the bare system call.

Only commands that read are here (include/uapi/linux/bpf.h, union bpf_attr); a collector's child may not use others
anyway (netdiag.confine). Both ways give the same answers. Every call raises OSError with the kernel's number; a kernel
without bpf(2) says ENOSYS. File descriptors belong to the caller, who closes them.

An open map counts as used by a process. That keeps a prog_array from being emptied while we look at it, and changes
nothing for one that has been emptied already (kernel/bpf/syscall.c, bpf_map_put_uref()).
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable
from struct import pack_into, unpack_from
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal["prog", "map", "link", "btf"]

MAP_LOOKUP_ELEM, MAP_GET_NEXT_KEY, OBJ_GET, OBJ_GET_INFO_BY_FD, PROG_QUERY = 1, 4, 7, 15, 16
PROG_TEST_RUN = 10
NEXT_ID: dict[Kind, int] = {"prog": 11, "map": 12, "btf": 23, "link": 31}
FD_BY_ID: dict[Kind, int] = {"prog": 13, "map": 14, "btf": 19, "link": 30}
QUERY_EFFECTIVE = 1
RDONLY = 1 << 3
"""BPF_F_RDONLY."""
ATTR_SIZE = 64
SYSTEM_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
"""Number of bpf(2) by machine."""
DIST_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian keeps bcc. It is appended to the path, never put first: it also holds an old click."""
QUERY_ROOM = (64, 4096)
"""Programs that one hook may have: at first, and where that was too few."""

Buffer = ctypes.Array[ctypes.c_char]


class Queried(NamedTuple):
    """What BPF_PROG_QUERY said of one hook."""

    flags: int
    """attach_flags."""
    prog_ids: tuple[int, ...]
    """In the order in which they run."""


class Calls(Protocol):
    """The eight questions."""

    name: str

    def next_id(self, kind: Kind, after: int) -> int | None:
        """The least id above ``after``; None: there is none."""

    def fd_by_id(self, kind: Kind, number: int) -> int:
        """A file descriptor for an object; maps are opened for reading only."""

    def info(self, fd: int, buffer: Buffer) -> None:
        """Fill ``buffer`` with struct bpf_*_info; what the caller wrote into it says what is wanted."""

    def query(self, target: int, attach_type: int, flags: int = 0) -> Queried:
        """Programs at a hook; ``target`` is a file descriptor or an ifindex, as the hook has it."""

    def next_key(self, fd: int, key: bytes | None, size: int) -> bytes | None:
        """The key after ``key``, or the first; None: there is none."""

    def count_keys(self, fd: int, size: int, limit: int) -> int:
        """How many keys there are, counted up to ``limit``: next_key() again and again, without its objects."""

    def lookup(self, fd: int, key: bytes, size: int) -> bytes | None:
        """The value of a key; None: there is none."""

    def pinned(self, path: bytes) -> int:
        """A file descriptor for the object that a path of bpffs names."""


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class _Common:
    """What both ways do alike once a command returns -1 and errno."""

    def _query(self, target: int, attach_type: int, flags: int, room: int) -> Queried:
        raise NotImplementedError

    def query(self, target: int, attach_type: int, flags: int = 0) -> Queried:
        """See ``Calls``."""
        try:
            return self._query(target, attach_type, flags, QUERY_ROOM[0])
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        return self._query(target, attach_type, flags, QUERY_ROOM[1])


class RawCalls(_Common):
    """By syscall(2)."""

    name = "bpf(2)"

    def __init__(self) -> None:
        number = SYSTEM_CALL.get(platform.machine())
        if number is None:
            raise OSError(errno.ENOSYS, f"bpf(2) has no known number on {platform.machine()}")
        libc = ctypes.CDLL(None, use_errno=True)
        self._syscall = libc.syscall
        self._number = ctypes.c_long(number)
        self._attr = ctypes.create_string_buffer(ATTR_SIZE)
        self._blank = bytes(ATTR_SIZE)
        self._address = ctypes.c_void_p(ctypes.addressof(self._attr))
        self._size = ctypes.c_uint(ATTR_SIZE)

    def _call(self, command: int, form: str, *values: int) -> int:
        """One command; raises OSError."""
        self._attr.raw = self._blank
        pack_into(form, self._attr, 0, *values)
        result: int = self._syscall(self._number, ctypes.c_int(command), self._address, self._size)
        if result < 0:
            raise _failure()
        return result

    def next_id(self, kind: Kind, after: int) -> int | None:
        """See ``Calls``."""
        try:
            self._call(NEXT_ID[kind], "=I", after)
        except FileNotFoundError:
            return None
        number: int = unpack_from("=I", self._attr, 4)[0]
        return number

    def fd_by_id(self, kind: Kind, number: int) -> int:
        """See ``Calls``."""
        return self._call(FD_BY_ID[kind], "=III", number, 0, RDONLY if kind == "map" else 0)

    def test_run(self, attr: Buffer) -> None:
        """BPF_PROG_TEST_RUN with an attribute made by netdiag.sources.bpf.testrun, who says why it stands alone."""
        arguments = (ctypes.c_int(PROG_TEST_RUN), ctypes.c_void_p(ctypes.addressof(attr)), ctypes.c_uint(len(attr)))
        if self._syscall(self._number, *arguments) < 0:
            raise _failure()

    def info(self, fd: int, buffer: Buffer) -> None:
        """See ``Calls``."""
        self._call(OBJ_GET_INFO_BY_FD, "=IIQ", fd, len(buffer), ctypes.addressof(buffer))

    def _query(self, target: int, attach_type: int, flags: int, room: int) -> Queried:
        ids = (ctypes.c_uint32 * room)()
        self._call(PROG_QUERY, "=IIIIQI", target, attach_type, flags, 0, ctypes.addressof(ids), room)
        attach_flags, count = unpack_from("=I", self._attr, 12)[0], unpack_from("=I", self._attr, 24)[0]
        return Queried(attach_flags, tuple(ids[:count]))

    def next_key(self, fd: int, key: bytes | None, size: int) -> bytes | None:
        """See ``Calls``."""
        found = ctypes.create_string_buffer(size)
        before = ctypes.create_string_buffer(key, size) if key is not None else None
        try:
            self._call(
                MAP_GET_NEXT_KEY,
                "=IIQQ",
                fd,
                0,
                ctypes.addressof(before) if before is not None else 0,
                ctypes.addressof(found),
            )
        except FileNotFoundError:
            return None
        return found.raw

    def count_keys(self, fd: int, size: int, limit: int) -> int:
        """See ``Calls``."""
        one, other = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
        before, found, next_found = 0, ctypes.addressof(one), ctypes.addressof(other)
        count = 0
        try:
            while count < limit:
                self._call(MAP_GET_NEXT_KEY, "=IIQQ", fd, 0, before, found)
                before, found, next_found = found, next_found, found
                count += 1
        except FileNotFoundError:
            pass  # that was the last one
        return count

    def lookup(self, fd: int, key: bytes, size: int) -> bytes | None:
        """See ``Calls``."""
        asked, value = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
        try:
            self._call(MAP_LOOKUP_ELEM, "=IIQQQ", fd, 0, ctypes.addressof(asked), ctypes.addressof(value), 0)
        except FileNotFoundError:
            return None
        return value.raw

    def pinned(self, path: bytes) -> int:
        """See ``Calls``."""
        name = ctypes.create_string_buffer(path)
        try:
            return self._call(OBJ_GET, "=QII", ctypes.addressof(name), 0, RDONLY)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return self._call(OBJ_GET, "=QII", ctypes.addressof(name), 0, 0)  # links are only given for reading and writing


class _IdOptions(ctypes.Structure):
    """struct bpf_get_fd_by_id_opts (tools/lib/bpf/bpf.h)."""

    _fields_ = (("sz", ctypes.c_size_t), ("open_flags", ctypes.c_uint32))


class _ObjectOptions(ctypes.Structure):
    """struct bpf_obj_get_opts."""

    _fields_ = (("sz", ctypes.c_size_t), ("file_flags", ctypes.c_uint32))


class _QueryOptions(ctypes.Structure):
    """struct bpf_prog_query_opts, as long as libbpf 1.0 knows it."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_void_p),
        ("prog_cnt", ctypes.c_uint32),
        ("prog_attach_flags", ctypes.c_void_p),
    )


def libbcc() -> ctypes.CDLL:
    """bcc's library, through which libbpf's functions can be reached. Raises ImportError or OSError.

    It maps LLVM: 60 MB and 0.1 s, and seconds where the disk is cold.
    """
    if DIST_PACKAGES not in sys.path:
        sys.path.append(DIST_PACKAGES)
    from bcc import libbcc as module

    library: ctypes.CDLL = module.lib
    return library


def libbpf() -> ctypes.CDLL:
    """libbpf alone, the one that libbcc is linked with and that Debian installs with it. Raises OSError."""
    return ctypes.CDLL("libbpf.so.1", use_errno=True)


class LibraryCalls(_Common):
    """By libbpf; raises ImportError, OSError or AttributeError where it is missing or too old."""

    name = "libbpf"

    def __init__(self, load: Callable[[], ctypes.CDLL] = libbpf) -> None:
        self._library = load()
        u32, pointer = ctypes.c_uint32, ctypes.c_void_p
        number = ctypes.POINTER(u32)
        self._next_id = {kind: self._function(f"bpf_{kind}_get_next_id", u32, number) for kind in NEXT_ID}
        self._fd_by_id = {kind: self._function(f"bpf_{kind}_get_fd_by_id", u32) for kind in FD_BY_ID}
        self._map_by_id = self._function("bpf_map_get_fd_by_id_opts", u32, pointer)
        self._info = self._function("bpf_obj_get_info_by_fd", ctypes.c_int, pointer, number)
        self._prog_query = self._function("bpf_prog_query_opts", ctypes.c_int, ctypes.c_int, pointer)
        self._next_key_unchecked = self._prototype("bpf_map_get_next_key", ctypes.c_int, pointer, pointer)
        self._next_key = self._function("bpf_map_get_next_key", ctypes.c_int, ctypes.c_char_p, pointer)
        self._lookup = self._function("bpf_map_lookup_elem", ctypes.c_int, ctypes.c_char_p, pointer)
        self._pinned = self._function("bpf_obj_get_opts", ctypes.c_char_p, pointer)
        self._read_only = _IdOptions(ctypes.sizeof(_IdOptions), RDONLY)
        self._found = u32()

    def _prototype(self, name: str, *arguments: Any) -> Callable[..., int]:
        """A prototype of our own: argument types set on the library's attribute would be everybody's."""
        return ctypes.CFUNCTYPE(ctypes.c_int, *arguments, use_errno=True)((name, self._library))

    def _function(self, name: str, *arguments: Any) -> Callable[..., int]:
        function = self._prototype(name, *arguments)

        def checked(*values: Any) -> int:
            result: int = function(*values)
            if result < 0:
                raise _failure()
            return result

        return checked

    def next_id(self, kind: Kind, after: int) -> int | None:
        """See ``Calls``."""
        try:
            self._next_id[kind](after, self._found)
        except FileNotFoundError:
            return None
        return self._found.value

    def fd_by_id(self, kind: Kind, number: int) -> int:
        """See ``Calls``."""
        if kind == "map":
            return self._map_by_id(number, ctypes.addressof(self._read_only))
        return self._fd_by_id[kind](number)

    def info(self, fd: int, buffer: Buffer) -> None:
        """See ``Calls``."""
        self._info(fd, ctypes.addressof(buffer), ctypes.c_uint32(len(buffer)))

    def _query(self, target: int, attach_type: int, flags: int, room: int) -> Queried:
        ids = (ctypes.c_uint32 * room)()
        options = _QueryOptions(ctypes.sizeof(_QueryOptions), flags, 0, ctypes.addressof(ids), room, None)
        self._prog_query(target, attach_type, ctypes.addressof(options))
        return Queried(options.attach_flags, tuple(ids[: options.prog_cnt]))

    def next_key(self, fd: int, key: bytes | None, size: int) -> bytes | None:
        """See ``Calls``."""
        found = ctypes.create_string_buffer(size)
        try:
            self._next_key(fd, key, ctypes.addressof(found))
        except FileNotFoundError:
            return None
        return found.raw

    def count_keys(self, fd: int, size: int, limit: int) -> int:
        """See ``Calls``."""
        one, other = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
        before, found, next_found = None, ctypes.addressof(one), ctypes.addressof(other)
        step, count = self._next_key_unchecked, 0
        while count < limit:
            if step(fd, before, found) < 0:
                if ctypes.get_errno() == errno.ENOENT:
                    break
                raise _failure()
            before, found, next_found = found, next_found, found
            count += 1
        return count

    def lookup(self, fd: int, key: bytes, size: int) -> bytes | None:
        """See ``Calls``."""
        value = ctypes.create_string_buffer(size)
        try:
            self._lookup(fd, key, ctypes.addressof(value))
        except FileNotFoundError:
            return None
        return value.raw

    def pinned(self, path: bytes) -> int:
        """See ``Calls``."""
        options = _ObjectOptions(ctypes.sizeof(_ObjectOptions), RDONLY)
        try:
            return self._pinned(path, ctypes.addressof(options))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        options.file_flags = 0  # links are only given for reading and writing
        return self._pinned(path, ctypes.addressof(options))


def choose() -> Calls:
    """libbpf where it is installed and new enough, else bcc's, else the bare system call."""
    for load in (libbpf, libbcc):
        try:
            return LibraryCalls(load)
        except (ImportError, OSError, AttributeError):
            continue
    return RawCalls()
