"""Names out of BTF, the type information of programs (Documentation/bpf/btf.rst): just enough to name a type.

The bytes were checked by the kernel when they were loaded, but are walked as if not: what cannot be true ends the walk.
"""

from functools import lru_cache
from struct import Struct, unpack_from

from netdiag.model.text import kernel_text

_HEADER = Struct("=HBBIIIII")
"""struct btf_header: magic, version, flags, hdr_len, type_off, type_len, str_off, str_len."""
_TYPE = Struct("=III")
"""struct btf_type: name_off, info, size or type."""
MAGIC = 0xEB9F
STRUCT, ENUM = 4, 6
THROUGH = (8, 9, 10, 11, 18)
"""typedef, volatile, const, restrict, type_tag: a name or a quality of another type."""
CHAIN = 16
"""Such types in a row that are followed."""
MORE = {1: 4, 3: 12, 14: 4, 17: 4}
"""Bytes behind a struct btf_type by kind: int, array, var, decl_tag."""
MORE_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""Bytes for each member: struct, union, enum, func_proto, datasec, enum64."""


def type_name_of(btf: bytes, number: int) -> str | None:
    """Name of the type with this number (1 is the first); None where there is none."""
    found = _types(btf).get(number)
    if found is None:
        return None
    name: int = unpack_from("=I", btf, found[3] - _TYPE.size)[0]
    return _string(btf, name) or None


def members(btf: bytes, number: int) -> tuple[tuple[str, int], ...]:
    """Names and offsets in bytes of the members of the structure with this number, typedefs and qualifiers before it
    followed; empty for another type. Bit fields are left out."""
    types = _types(btf)
    for _ in range(CHAIN):
        found = types.get(number)
        if found is None or found[0] not in THROUGH:
            break
        number = found[2]
    if found is None or found[0] != STRUCT:
        return ()
    _, count, _, at = found
    rows = (unpack_from("=III", btf, at + 12 * n) for n in range(count) if at + 12 * n + 12 <= len(btf))
    return tuple(
        (_string(btf, name), (offset & 0xFFFFFF) // 8)
        for name, _, offset in rows
        if offset & 7 == 0 and offset >> 24 == 0
    )


@lru_cache(maxsize=16)
def _types(btf: bytes) -> dict[int, tuple[int, int, int, int]]:
    """By number: kind, count of members, size or type, and where what follows begins. The maps of one program share
    one object: it is taken apart once."""
    if len(btf) < _HEADER.size:
        return {}
    magic, _, _, length, type_off, type_len, _, _ = _HEADER.unpack_from(btf)
    position, end = length + type_off, min(length + type_off + type_len, len(btf))
    found: dict[int, tuple[int, int, int, int]] = {}
    while magic == MAGIC and position + _TYPE.size <= end:
        _, about, other = _TYPE.unpack_from(btf, position)
        kind, count = about >> 24 & 0x1F, about & 0xFFFF
        position += _TYPE.size
        found[len(found) + 1] = (kind, count, other, position)
        position += MORE.get(kind, 0) + MORE_EACH.get(kind, 0) * count
    return found


def enumerators(btf: bytes, name: str) -> dict[int, str]:
    """Values and names of the enum of that name; empty where there is none."""
    if len(btf) < _HEADER.size:
        return {}
    magic, _, _, length, type_off, type_len, str_off, str_len = _HEADER.unpack_from(btf)
    strings = length + str_off
    at = btf.find(b"\0" + name.encode() + b"\0", strings, strings + str_len)
    if magic != MAGIC or at < 0:
        return {}
    wanted, position, end = at + 1 - strings, length + type_off, min(length + type_off + type_len, len(btf))
    while position + _TYPE.size <= end:
        called, about, _ = _TYPE.unpack_from(btf, position)
        kind, members = about >> 24 & 0x1F, about & 0xFFFF
        position += _TYPE.size
        if kind == ENUM and called == wanted and members and position + 8 * members <= end:
            rows = (unpack_from("=Ii", btf, position + 8 * number) for number in range(members))
            return {value: _string(btf, offset) for offset, value in rows}
        position += MORE.get(kind, 0) + MORE_EACH.get(kind, 0) * members
    return {}


def _string(btf: bytes, offset: int) -> str:
    """The name at an offset of the section of strings; empty where there is none."""
    _, _, _, length, _, _, str_off, str_len = _HEADER.unpack_from(btf)
    if not 0 < offset < str_len:
        return ""
    start = length + str_off
    return kernel_text(btf[start + offset : start + min(str_len, offset + 128)].partition(b"\0")[0])
