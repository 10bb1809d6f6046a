"""Answers to the keys of this package as JSON: the same objects in the same state give the same bytes.

See the package for the keys. bpf(2) is reached anew in every collector's child; which way is decided once there.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from netdiag.model.bpf import BpfAttachment, BpfCgroup, BpfMap, BpfMapEntry
from netdiag.sources.bpf import hooks, keepers
from netdiag.sources.bpf.calls import Calls, choose
from netdiag.sources.bpf.contents import Contents, may_name, names_something
from netdiag.sources.bpf.mounts import bpf_mounts
from netdiag.sources.bpf.objects import Links, Maps, Programs, Reply, each, opened

PATIENCE = 5.0
"""Seconds for one answer, where the caller's deadline leaves as much."""
STATISTICS = "/proc/sys/kernel/bpf_stats_enabled"

calls_of_this_process: Callable[[], Calls] = cache(choose)


class CgroupReply(msgspec.Struct, frozen=True):
    """Rows of a reply to ``cgroups``."""

    attachments: tuple[BpfAttachment, ...]
    effective: tuple[BpfCgroup, ...]


class EntriesReply(msgspec.Struct, frozen=True):
    """Rows of a reply to ``entries``."""

    entries: tuple[BpfMapEntry, ...]
    read: tuple[int, ...]


class KeySample(msgspec.Struct, frozen=True):
    """Rows of a reply to ``keys``: some keys of a map, as digests, because keys are addresses of people."""

    map_id: int
    keys: tuple[str, ...]


def fetch(key: str, deadline: float | None) -> bytes:
    """The reply to one key. ``deadline``: seconds of time.monotonic(). Raises OSError, ValueError for no such key."""
    calls = calls_of_this_process()
    soonest = time.monotonic() + PATIENCE
    until = soonest if deadline is None else min(deadline, soonest)
    word, _, rest = key.partition(" ")
    answer = ANSWERS.get(word)
    if answer is None:
        raise ValueError(f"no such key: {key}")
    rows, trouble = answer(calls, rest, until)
    return msgspec.json.encode(Reply(msgspec.Raw(msgspec.json.encode(rows)), trouble))


def _statistics() -> bool:
    try:
        with open(STATISTICS, "rb") as file:
            return file.read(8).strip() == b"1"
    except OSError:
        return False


def _programs(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return each(calls, "prog", until, Programs(calls, statistics=_statistics()).read)


def _maps(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    reader, contents = Maps(calls), Contents(calls, until)

    def read(fd: int, number: int) -> BpfMap:
        one = reader.read(fd, number)
        try:
            entries, more = contents.count(fd, one)
        except OSError:  # a map that lets no process read it (BPF_F_WRONLY)
            return one
        return one if entries is None else msgspec.structs.replace(one, entries=entries, entries_more=more)

    return each(calls, "map", until, read)


def _links(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return each(calls, "link", until, Links(calls).read)


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _interfaces(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    plain, _, netkits = rest.partition(" ")
    return hooks.on_interfaces(calls, _numbers(plain), _numbers(netkits)), ""


def _namespace(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return hooks.in_namespace(calls), ""


def _cgroups(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    attachments, effective, trouble = hooks.on_cgroups(calls, [word for word in rest.split(",") if word], until)
    return CgroupReply(tuple(attachments), tuple(effective)), trouble


def _sockmaps(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return hooks.on_sockmaps(calls, _numbers(rest)), ""


def _entries(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    reader, contents = Maps(calls), Contents(calls, until)
    entries: list[BpfMapEntry] = []
    read: list[int] = []
    trouble = ""
    for number in _numbers(rest):
        try:
            with opened(calls.fd_by_id("map", number)) as fd:
                one = reader.read(fd, number)
            rows, whole = contents.entries(one) if names_something(one) or may_name(one) else ([], False)
        except FileNotFoundError:
            continue
        except OSError as error:
            trouble = f"map {number}: {error.strerror}"
            continue
        entries += rows
        if whole:
            read.append(number)
        else:
            trouble = trouble or f"map {number}: not all entries were read"
    return EntriesReply(tuple(entries), tuple(read)), trouble


def _keys(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    reader, contents = Maps(calls), Contents(calls, until)
    found: list[KeySample] = []
    for number in _numbers(rest):
        with suppress(OSError), opened(calls.fd_by_id("map", number)) as fd:
            one = reader.read(fd, number)
            digests = [hashlib.blake2b(key, digest_size=8).hexdigest() for key in contents.keys(fd, one)]
            found.append(KeySample(number, tuple(digests)))
    return found, ""


def _mounts(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return bpf_mounts(), ""


def _pins(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return keepers.pins(calls, until)


def _holders(calls: Calls, rest: str, until: float) -> tuple[Any, str]:
    return keepers.holders(until)


ANSWERS: dict[str, Callable[[Calls, str, float], tuple[Any, str]]] = {
    "programs": _programs,
    "maps": _maps,
    "links": _links,
    "interfaces": _interfaces,
    "namespace": _namespace,
    "cgroups": _cgroups,
    "sockmaps": _sockmaps,
    "entries": _entries,
    "keys": _keys,
    "mounts": _mounts,
    "pins": _pins,
    "holders": _holders,
}
