"""Where the values of evidence come from: everything that a host's tables hold, as the words in which rules say it."""

import dataclasses
import ipaddress
import re
from math import isnan
from typing import Any

import msgspec
import numpy as np

from netdiag.model.snapshot import Tables

WORD = re.compile(r"[\w.:/%@-]*\d[\w.:/%@-]*")
"""Words with a digit in them: numbers, addresses, names of interfaces."""


def words(text: str) -> set[str]:
    """The words of a value that can be looked up, without the punctuation of the sentence that they stand in."""
    return {word.strip(".:/-") for word in WORD.findall(text) if word.strip(".:/-")}


def _addresses(column: Any) -> set[str]:
    """Addresses of a column of octets or of 32-bit numbers."""
    found = set()
    for row in column:
        raw = np.atleast_1d(row).tobytes()
        if len(raw) == 16:
            found |= {str(ipaddress.IPv6Address(raw)), str(ipaddress.IPv4Address(raw[:4]))}
        elif len(raw) == 4:
            found.add(str(ipaddress.IPv4Address(int(row)) if np.ndim(row) == 0 else ipaddress.IPv4Address(raw)))
        if len(raw) >= 6:
            found.add(":".join(f"{octet:02x}" for octet in raw[:6]))
    return found


def held(value: Any, found: set[str], numbers: set[float]) -> None:
    """Collect every word and number below a value."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            held(getattr(value, name), found, numbers)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            held(getattr(value, field.name), found, numbers)
    elif isinstance(value, dict):
        for key, item in value.items():
            held(key, found, numbers)
            held(item, found, numbers)
    elif isinstance(value, tuple | list | set | frozenset):
        numbers.add(len(value))
        for item in value:
            held(item, found, numbers)
    elif isinstance(value, np.ndarray):
        numbers.add(len(value))
        if value.ndim == 2 or value.dtype == np.uint32:
            found |= _addresses(value)
        if value.ndim == 1:
            numbers |= {float(one) for one in value.tolist()}
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int | float):
        numbers.add(float(value))
    elif isinstance(value, str):
        found |= words(value) | {value}
        for word in words(value):
            if word.isdigit():
                numbers.add(float(word))


def everything(*tables: Tables | None) -> tuple[set[str], set[float]]:
    """All words and numbers of some tables."""
    found: set[str] = set()
    numbers: set[float] = set()
    for one in tables:
        if one is not None:
            held(one, found, numbers)
    return found, numbers


VOCABULARY = {"IPv4", "IPv6", "icmpv6", "l3mdev", "ip6", "802.3ad"}


def unfounded(value: str, found: set[str], numbers: set[float]) -> set[str]:
    """Words of a value that the tables do not hold, nor hold the parts of.

    A number may be a small count, or a sum, a difference, a quotient or a unit's multiple of what is held.
    """
    return {word for word in words(value) - VOCABULARY if not _founded(word, found, numbers)}


def _founded(word: str, found: set[str], numbers: set[float]) -> bool:
    bare = word.partition("/")[0].partition("%")[0].partition("@")[0]
    if word in found or bare in found or any(word in text for text in found) or _number(word, numbers):
        return True
    if any(octets in text for octets in _octets(bare) for text in found):
        return True  # nftables holds what it compares with as octets
    parts = [part for part in re.split(r"[/-]|:(?=\d+$)", word) if part]
    return len(parts) > 1 and all(_founded(part, found, numbers) for part in parts)


def _octets(word: str) -> list[str]:
    if word.isdigit() and int(word) < 65536:
        return [f"{int(word):04x}"]
    try:
        return [ipaddress.ip_address(word).packed.rstrip(b"\0").hex()]
    except ValueError:
        return [word.encode().hex()]  # the name of an interface


def _number(word: str, numbers: set[float]) -> bool:
    text = word.removeprefix("-").rstrip("%sKMG")
    try:
        number = float(int(text, 0)) if re.fullmatch(r"0x[0-9a-f]+|\d+", text) else float(text)
    except ValueError:
        return False
    if number <= 128 or number in numbers:
        return True
    numbers = {one for one in numbers if not isnan(one)}
    near = {round(one, 1) for one in numbers} | {round(one) for one in numbers}
    if number in near:
        return True
    many = sorted(numbers)[-400:]
    return any(abs(abs(a - b) - number) < 1 or a + b == number for a in many for b in many) or any(
        number in (one * 1000, one / 1000, one * 8, one / 8, one * 1024) for one in numbers
    )
