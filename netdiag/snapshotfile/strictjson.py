"""What JSON decoders forgive and a snapshot may not hold: a key twice, and numbers beyond 64 bits.

RFC 8259 leaves both open: of two equal keys some decoders take the first and some the last, so that two tools would see
two hosts in one file. msgspec already refuses NaN, infinities, lone surrogates and invalid UTF-8 in what it decodes.
"""

import json
from typing import Any

CONTAINERS_LIMIT = 8_000_000
"""Objects and arrays; each costs a decoder about 64 bytes however short its text."""
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
DIGITS = bytes(48 if chr(octet) in "0123456789" else 32 for octet in range(256))
"""Makes every digit a 0, and blanks of all the rest."""
LONG = b"0" * 19
"""What then stands for a whole number that 64 bits may not hold."""


def refuse_odd_json(content: bytes) -> None:
    """Raise ValueError where the text is not JSON, or is odd in one of the ways above."""
    if content.count(b"{") + content.count(b"[") > CONTAINERS_LIMIT:
        raise ValueError("more objects and arrays than a snapshot has")
    numbers = _integer if LONG in content.translate(DIGITS) else None  # a call for each number is a third of the time
    json.loads(content, object_pairs_hook=_refuse_twice, parse_int=numbers, parse_constant=_constant)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """Each object becomes None as soon as it has been looked at, so the tree is never held."""
    if len(dict(pairs)) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:60]!r} stands twice in one object")
            seen.add(key)


def _integer(text: str) -> int:
    if len(text) > 20 or not INT_MIN <= (number := int(text)) <= INT_MAX:
        raise ValueError(f"a number of {len(text)} digits")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
