"""iproute2's words for the kernel's numbers, shared by the views.

Sources: include/uapi/linux/{if,if_addr,rtnetlink,neighbour}.h, and the tables of iproute2's lib/rt_names.c that stand
without a configuration file. A number without a name is shown as a number. Nothing can fail.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from netdiag.model.link import Link
from netdiag.model.route import RT_SCOPE_NAMES, RTPROT_NAMES

TABLES = {253: "default", 254: "main", 255: "local"}
ROUTE_FLAGS = {0x01: "dead", 0x02: "pervasive", 0x04: "onlink", 0x08: "offload", 0x10: "linkdown", 0x20: "unresolved"}
LINK_FLAGS = {
    0x8: "LOOPBACK",
    0x2: "BROADCAST",
    0x10: "POINTOPOINT",
    0x1000: "MULTICAST",
    0x80: "NOARP",
    0x200: "ALLMULTI",
    0x100: "PROMISC",
    0x400: "MASTER",
    0x800: "SLAVE",
    0x20: "NOTRAILERS",
    0x4: "DEBUG",
    0x8000: "DYNAMIC",
    0x2000: "PORTSEL",
    0x4000: "AUTOMEDIA",
    0x1: "UP",
    0x10000: "LOWER_UP",
    0x20000: "DORMANT",
    0x40000: "ECHO",
}
"""In the order in which iproute2 prints them; RUNNING is implied by the operational state."""


def table_word(number: int | None) -> str | None:
    """``main`` for 254; None stays None."""
    return None if number is None else TABLES.get(number, str(number))


def protocol_word(number: int) -> str:
    """``bird`` for 12."""
    return RTPROT_NAMES.get(number, str(number))


def scope_word(number: int) -> str:
    """``link`` for 253."""
    return RT_SCOPE_NAMES.get(number, str(number))


def flag_words(flags: int, words: Mapping[int, str]) -> list[str]:
    """Names of the bits that are set, in the order of ``words``."""
    return [word for bit, word in words.items() if flags & bit] if flags else []


def table_number(word: str) -> int:
    """The number of a routing table from its name or number. Raises ValueError."""
    numbers = {name: number for number, name in TABLES.items()}
    return numbers[word] if word in numbers else _number(word, 2**32 - 1)


def protocol_number(word: str) -> int:
    """The number of a routing protocol from its name or number. Raises ValueError."""
    numbers = {name: number for number, name in RTPROT_NAMES.items()}
    return numbers[word] if word in numbers else _number(word, 255)


def _number(word: str, highest: int) -> int:
    number = int(word, 0)
    if not 0 <= number <= highest:
        raise ValueError(word)
    return number


class Names:
    """Interface names by index."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.by_index = {link.ifindex: link.ifname for link in links}

    def __call__(self, ifindex: int | None) -> str | None:
        """``eth0``; ``if7`` where there is no such link; None for none."""
        return self.by_index.get(ifindex, f"if{ifindex}") if ifindex else None

    def index(self, ifname: str | None) -> int | None:
        """The index of a name; -1, which no row has, where there is no such link; None stays None."""
        if ifname is None:
            return None
        return next((ifindex for ifindex, name in self.by_index.items() if name == ifname), -1)


def without_nothing(row: dict[str, Any]) -> dict[str, Any]:
    """The row without keys that are None, False or empty: iproute2 leaves out what is not set."""
    return {
        key: value for key, value in row.items() if value is not None and value is not False and value not in ([], {})
    }
