"""Programs, maps and links by id: all that exist on the machine, whatever namespace made them.

Layouts: struct bpf_prog_info, bpf_map_info, bpf_link_info of include/uapi/linux/bpf.h. Needs CAP_SYS_ADMIN
(kernel/bpf/syscall.c, bpf_obj_get_next_id()); raises OSError (EPERM) without. An object that goes while it is looked at
is left out. Where the deadline passes, the rows so far are returned and the reply says so.
"""

import ctypes
import os
import socket
import time
from collections.abc import Callable
from struct import Struct, pack_into, unpack_from
from typing import TypeVar

import msgspec

from netdiag.model.bpf import INTERFACES, INWARD, BpfLink, BpfMap, BpfProgram, type_name
from netdiag.model.text import kernel_text
from netdiag.sources.bpf import names
from netdiag.sources.bpf.btf import members, type_name_of
from netdiag.sources.bpf.calls import Calls, Kind
from netdiag.sources.bpf.verdicts import LIMIT, returned

ROWS_LIMIT = 50_000
"""Objects of one kind."""
BTF_LIMIT = 4 << 20
"""Bytes of type information of one program."""
MAP_IDS = 64
"""The verifier's MAX_USED_MAPS; what is beyond is not shown."""
NAME_LENGTH = 15
"""BPF_OBJ_NAME_LEN less its NUL: a name as long as this may have been cut."""
TEXT_LENGTH = 256

_PROGRAM = Struct("=II8sIIQQQIIQ16sIIQQIIQQII")
"""struct bpf_prog_info up to func_info_rec_size."""
PROGRAM_SIZE, PROGRAM_MAP_COUNT, PROGRAM_FUNC, PROGRAM_RUN = 232, 52, 132, 192
PROGRAM_TRANSLATED, PROGRAM_TEXT = 20, 32
WITH_VERDICT = ("xdp", "sched_cls")
_MAP = Struct("=IIIIII16sIIQQIII")
"""struct bpf_map_info up to btf_value_type_id."""
MAP_SIZE = 88
HASH = 1
"""BPF_MAP_TYPE_HASH."""
LINK_SIZE = 96
_LINK = Struct("=III")

Row = TypeVar("Row")


class Reply(msgspec.Struct, frozen=True):
    """What ``fetch`` sends: rows as JSON, and why they are not all."""

    rows: msgspec.Raw
    trouble: str = ""


class opened:
    """``with opened(fd) as fd``: a file descriptor that is closed whatever happens."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def each(calls: Calls, kind: Kind, deadline: float, read: Callable[[int, int], Row]) -> tuple[list[Row], str]:
    """``read(fd, id)`` of every object; the rows, and why there may be more. Raises OSError where ids cannot be had."""
    rows: list[Row] = []
    number = calls.next_id(kind, 0)
    while number is not None:
        if len(rows) >= ROWS_LIMIT:
            return rows, f"more than {ROWS_LIMIT} objects"
        if time.monotonic() > deadline:
            return rows, "no time for all of them"
        try:
            with opened(calls.fd_by_id(kind, number)) as fd:
                rows.append(read(fd, number))
        except FileNotFoundError:
            pass  # gone since its id was told
        number = calls.next_id(kind, number)
    return rows, ""


class Programs:
    """Reads programs; keeps the type information it has read, which many programs share."""

    def __init__(self, calls: Calls, *, statistics: bool) -> None:
        self.calls = calls
        self.statistics = statistics
        self.btf: dict[int, bytes] = {}
        self.buffer = ctypes.create_string_buffer(PROGRAM_SIZE)
        self.blank = bytes(PROGRAM_SIZE)
        self.map_ids = (ctypes.c_uint32 * MAP_IDS)()
        self.verdicts: dict[bytes, tuple[int, ...] | None] = {}

    def read(self, fd: int, number: int) -> BpfProgram:
        """One program."""
        buffer = self.buffer
        buffer.raw = self.blank
        pack_into("=IQ", buffer, PROGRAM_MAP_COUNT, MAP_IDS, ctypes.addressof(self.map_ids))
        self.calls.info(fd, buffer)
        (
            kind, _, tag, jited, translated, _, _, load_time, uid, maps, _, name, ifindex, gpl, _, netns, _, _, _, _,
            btf_id, _,
        ) = _PROGRAM.unpack_from(buffer)  # fmt: skip
        run_time, run_count, misses = unpack_from("=QQQ", buffer, PROGRAM_RUN)
        counted = self.statistics or run_count > 0
        short, its_type = kernel_text(name), type_name(names.PROGRAMS, kind)
        return BpfProgram(
            id=number,
            type=its_type,
            verdicts=self._verdicts(fd, tag, translated) if its_type in WITH_VERDICT else None,
            name=short,
            function=self._function(fd, btf_id) if btf_id and len(name.rstrip(b"\0")) >= NAME_LENGTH else None,
            tag=tag.hex(),
            loaded_at=load_time / 1e9,
            uid=uid,
            map_ids=tuple(self.map_ids[: min(maps, MAP_IDS)]),
            jited=jited > 0,
            gpl=bool(gpl & 1),
            instructions_bytes=translated,
            run_time_ns=run_time if counted else None,
            run_count=run_count if counted else None,
            recursion_misses=misses,
            btf_id=btf_id or None,
            ifindex=ifindex or None,
            netns=netns or None,
        )

    def _verdicts(self, fd: int, tag: bytes, size: int) -> tuple[int, ...] | None:
        """What it can return; programs of one tag have the same instructions."""
        if tag not in self.verdicts:
            self.verdicts[tag] = None
            if 0 < size <= 8 * LIMIT:
                text = ctypes.create_string_buffer(size)
                buffer = ctypes.create_string_buffer(PROGRAM_SIZE)
                pack_into("=I", buffer, PROGRAM_TRANSLATED, size)
                pack_into("=Q", buffer, PROGRAM_TEXT, ctypes.addressof(text))
                try:
                    self.calls.info(fd, buffer)
                except OSError:
                    return None  # not for us to see
                if unpack_from("=Q", buffer, PROGRAM_TEXT)[0]:  # 0: the kernel keeps the instructions to itself
                    self.verdicts[tag] = returned(text.raw)
        return self.verdicts[tag]

    def _function(self, fd: int, btf_id: int) -> str | None:
        """Name of the program's first function, whose type its function information tells."""
        buffer = ctypes.create_string_buffer(PROGRAM_SIZE)
        first = ctypes.create_string_buffer(8)  # struct bpf_func_info: insn_off, type_id
        pack_into("=IQI", buffer, PROGRAM_FUNC, 8, ctypes.addressof(first), 1)
        try:
            self.calls.info(fd, buffer)
            if btf_id not in self.btf:
                self.btf[btf_id] = type_information(self.calls, btf_id)
        except OSError:
            return None  # not for us to see: the short name stands
        return type_name_of(self.btf[btf_id], unpack_from("=I", first, 4)[0])


def type_information(calls: Calls, btf_id: int) -> bytes:
    """The BTF object with this id; empty where it is too large. Raises OSError."""
    info = ctypes.create_string_buffer(32)  # struct bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
    with opened(calls.fd_by_id("btf", btf_id)) as fd:
        calls.info(fd, info)
        size = unpack_from("=I", info, 8)[0]
        if not 0 < size <= BTF_LIMIT:
            return b""
        content = ctypes.create_string_buffer(size)
        info.raw = bytes(32)
        pack_into("=QI", info, 0, ctypes.addressof(content), size)
        calls.info(fd, info)
    return content.raw


def _frozen(fd: int) -> bool | None:
    """The line ``frozen:`` of /proc/self/fdinfo (kernel/bpf/syscall.c, bpf_map_show_fdinfo())."""
    try:
        with opened(os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)) as file:
            text = os.read(file, 4096)
    except OSError:
        return None
    _, found, value = text.partition(b"\nfrozen:")
    return value.split(b"\n", 1)[0].strip() == b"1" if found else None


class Maps:
    """Reads maps, without their contents."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.btf: dict[int, bytes] = {}
        self.buffer = ctypes.create_string_buffer(MAP_SIZE)
        self.blank = bytes(MAP_SIZE)

    def read(self, fd: int, number: int) -> BpfMap:
        """One map."""
        self.buffer.raw = self.blank
        self.calls.info(fd, self.buffer)
        told = _MAP.unpack_from(self.buffer)
        kind, _, key, value, most, flags, name, ifindex, _, _, netns, btf_id, _, value_type = told
        named = self._interface_member(btf_id, value_type) if btf_id and kind == HASH and value > 4 else None
        return BpfMap(
            value_member=named[0] if named else None,
            value_member_at=named[1] if named else None,
            id=number,
            type=type_name(names.MAPS, kind),
            name=kernel_text(name),
            key_size=key,
            value_size=value,
            max_entries=most,
            flags=flags,
            frozen=_frozen(fd),
            btf_id=btf_id or None,
            ifindex=ifindex or None,
            netns=netns or None,
        )

    def _interface_member(self, btf_id: int, value_type: int) -> tuple[str, int] | None:
        """The member of a value's structure whose name says that it is the index of an interface, and not of the one
        by which packets came in."""
        try:
            if btf_id not in self.btf:
                self.btf[btf_id] = type_information(self.calls, btf_id)
        except OSError:
            return None  # not for us to see
        listed = members(self.btf[btf_id], value_type)
        outward = ((name, at) for name, at in listed if INTERFACES.search(name) and not INWARD.match(name))
        return next(outward, None)


class Links:
    """Reads links."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.buffer = ctypes.create_string_buffer(LINK_SIZE)
        self.text = ctypes.create_string_buffer(TEXT_LENGTH)

    def _ask(self, fd: int, position: int | None = None) -> None:
        """Fill the buffer; ``position`` is where the kernel looks for room for a name and its length."""
        self.buffer.raw = bytes(LINK_SIZE)
        self.text.raw = bytes(TEXT_LENGTH)
        if position is not None:
            pack_into("=QI", self.buffer, position, ctypes.addressof(self.text), TEXT_LENGTH)
        self.calls.info(fd, self.buffer)

    def read(self, fd: int, number: int) -> BpfLink:
        """One link; its details as far as its type has any that matter here."""
        self._ask(fd)
        kind, _, prog_id = _LINK.unpack_from(self.buffer)
        kind_name = type_name(names.LINKS, kind)
        detail = getattr(self, f"_{kind_name}", None)
        fields = detail(fd) if detail is not None else {}
        return BpfLink(id=number, type=kind_name, prog_id=prog_id, **fields)

    def _u32(self, position: int) -> int:
        number: int = unpack_from("=I", self.buffer, position)[0]
        return number

    def _attach(self, position: int) -> str:
        return type_name(names.ATTACH, self._u32(position))

    def _target(self, fd: int, position: int) -> str | None:
        try:
            self._ask(fd, position)
        except OSError:
            return None
        return kernel_text(self.text.raw) or None

    def _raw_tracepoint(self, fd: int) -> dict[str, object]:
        return {"target": self._target(fd, 16)}

    def _tracing(self, fd: int) -> dict[str, object]:
        return {"attach_type": self._attach(16)}

    def _cgroup(self, fd: int) -> dict[str, object]:
        return {"cgroup_id": unpack_from("=Q", self.buffer, 16)[0], "attach_type": self._attach(24)}

    def _iter(self, fd: int) -> dict[str, object]:
        name = self._target(fd, 16)
        return {"target": name, "map_id": (self._u32(32) or None) if name and name.startswith("bpf_map_elem") else None}

    def _netns(self, fd: int) -> dict[str, object]:
        return {"netns": self._u32(16), "attach_type": self._attach(20)}

    def _xdp(self, fd: int) -> dict[str, object]:
        return {"ifindex": self._u32(16), "attach_type": "xdp"}

    def _perf_event(self, fd: int) -> dict[str, object]:
        # enum bpf_perf_event_type: 1, 2 uprobe; 3, 4 kprobe; 5 tracepoint: a name and its length stand first in each.
        return {"target": self._target(fd, 24) if self._u32(16) in (1, 2, 3, 4, 5) else None}

    def _struct_ops(self, fd: int) -> dict[str, object]:
        return {"map_id": self._u32(16)}

    def _netfilter(self, fd: int) -> dict[str, object]:
        family, hook, priority = unpack_from("=IIi", self.buffer, 16)
        known = family in (socket.AF_INET, socket.AF_INET6)
        return {"pf": family, "hook": hook if known else None, "priority": priority, "attach_type": "netfilter"}

    def _tcx(self, fd: int) -> dict[str, object]:
        return {"ifindex": self._u32(16), "attach_type": self._attach(20)}

    _netkit = _tcx

    def _sockmap(self, fd: int) -> dict[str, object]:
        return {"map_id": self._u32(16), "attach_type": self._attach(20)}
