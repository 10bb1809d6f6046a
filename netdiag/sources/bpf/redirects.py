"""Where a BPF program redirects packets to, read from its instructions: the constants that it hands to the kernel.

A run of a program (netdiag.sources.bpf.testrun) tells that it redirects, but not where to: the kernel keeps the target
in a place of its own (struct bpf_redirect_info) that nobody can read. Which helper an instruction calls is told by its
distance from __bpf_call_base (kernel/bpf/syscall.c bpf_insn_prepare_dump()), whose symbols are in /proc/kallsyms.
Nothing is run, no map is read. Needs CAP_SYS_ADMIN and CAP_SYSLOG; raises nothing: what cannot be told is None.
"""

import ctypes
import os
from struct import pack_into, unpack_from
from typing import Literal, NamedTuple

from netdiag.sources.bpf.calls import RawCalls
from netdiag.sources.bpf.objects import PROGRAM_SIZE, PROGRAM_TEXT, PROGRAM_TRANSLATED
from netdiag.sources.bpf.verdicts import LIMIT, called

How = Literal["egress", "ingress", "peer", "neigh", "map"]
BASE = "__bpf_call_base"
HELPERS: dict[str, How] = {
    "bpf_redirect": "egress",
    "bpf_xdp_redirect": "egress",
    "bpf_redirect_peer": "peer",
    "bpf_redirect_neigh": "neigh",
    "bpf_xdp_redirect_map": "map",
    "dev_map_redirect": "map",
    "dev_hash_map_redirect": "map",
}
"""By symbol. The last two are what the verifier makes of bpf_redirect_map() where it knows the map's type."""
INGRESS = 1
"""BPF_F_INGRESS."""


class Aim(NamedTuple):
    """One place that a program can redirect to."""

    how: How
    number: int | None
    """ifindex; of ``map`` the key. None: chosen when it runs."""


def aims(prog_id: int) -> tuple[Aim, ...] | None:
    """Every place that the loaded program can redirect to; None where its instructions do not tell."""
    try:
        text = _text(prog_id)
        symbols = _symbols() if text else {}
    except OSError:
        return None
    return read(text, symbols) if text else None


def read(text: bytes, symbols: dict[int, How]) -> tuple[Aim, ...] | None:
    """The same of instructions; ``symbols``: what a call with a constant is."""
    calls = called(text)
    if calls is None:
        return None
    found: set[Aim] = set()
    for constant, first, second in calls:
        how = symbols.get(constant)
        if how is None:
            continue
        if how == "map":
            found |= {Aim(how, key) for key in second or (None,)}
        elif how == "egress":
            flags = second if second is not None else frozenset((0,))
            ways: set[How] = {"ingress" if flag & INGRESS else "egress" for flag in flags}
            found |= {Aim(way, number) for way in ways for number in first or (None,)}
        else:
            found |= {Aim(how, number) for number in first or (None,)}
    return tuple(sorted(found, key=str))


def _text(prog_id: int) -> bytes:
    calls = RawCalls()
    fd = calls.fd_by_id("prog", prog_id)
    try:
        buffer = ctypes.create_string_buffer(PROGRAM_SIZE)
        calls.info(fd, buffer)
        size = unpack_from("=I", buffer, PROGRAM_TRANSLATED)[0]
        if not 0 < size <= 8 * LIMIT:
            return b""
        text = ctypes.create_string_buffer(size)
        asked = ctypes.create_string_buffer(PROGRAM_SIZE)
        pack_into("=I", asked, PROGRAM_TRANSLATED, size)
        pack_into("=Q", asked, PROGRAM_TEXT, ctypes.addressof(text))
        calls.info(fd, asked)
        return text.raw if unpack_from("=Q", asked, PROGRAM_TEXT)[0] else b""
    finally:
        os.close(fd)


def _symbols() -> dict[int, How]:
    """What a call means, by its distance from the base."""
    addresses: dict[str, int] = {}
    with open("/proc/kallsyms", encoding="ascii", errors="replace") as lines:
        for line in lines:
            words = line.split(None, 3)
            if len(words) == 3 and (words[2] in HELPERS or words[2] == BASE):
                addresses[words[2]] = int(words[0], 16)
    base = addresses.pop(BASE, 0)
    if not base:
        return {}
    return {_signed(address - base): HELPERS[name] for name, address in addresses.items() if address}


def _signed(distance: int) -> int:
    return (distance + 0x80000000) % 0x100000000 - 0x80000000
