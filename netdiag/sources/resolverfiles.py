"""Whom BIND and CoreDNS ask, by the text of their configuration. Pure: text in, servers out; nothing is raised.

named.conf(5); https://coredns.io/manual/configuration/ and the page of its plugin ``forward``.
"""

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

_COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*", re.DOTALL)
_TOKENS = re.compile(r'"[^"\n]*"|[{};]|[^\s{};"]+')
TLS_PORT = 853


class Asked(NamedTuple):
    """One server that is asked."""

    address: str
    port: int
    domain: str | None
    """Only for names below it; None: for all."""


def _address(word: str) -> str | None:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return None


def named_includes(text: str) -> tuple[str, ...]:
    """The files that this one includes."""
    words = _TOKENS.findall(_COMMENTS.sub(" ", text))
    return tuple(after.strip('"') for word, after in pairwise(words) if word == "include" and after[0] == '"')


def parse_named(text: str) -> tuple[Asked, ...]:
    """``forwarders`` of the options, of a view and of each zone, where ``forward only`` stands beside them: without it
    BIND asks the world as well, by itself."""
    words = _TOKENS.findall(_COMMENTS.sub(" ", text))
    found: list[Asked] = []
    _block(words, 0, None, found)
    return tuple(found)


def _block(words: list[str], at: int, domain: str | None, found: list[Asked]) -> int:
    """One block from behind its brace; the place behind the brace that ends it."""
    mine: list[Asked] = []
    only = False
    begin = at
    while at < len(words) and words[at] != "}":
        if words[at] == ";":
            begin = at + 1
        elif words[at] == "{":
            head = words[begin:at]
            if head[:1] == ["forwarders"]:
                port = _number(head, "port") or 53
                at, servers = _servers(words, at + 1, port, domain)
                mine += servers
            else:
                zone = head[1].strip('"').rstrip(".") if head[:1] == ["zone"] and len(head) > 1 else domain
                at = _block(words, at + 1, zone or None, found)
            begin = at
            continue
        elif words[begin : at + 1] == ["forward", "only"]:
            only = True
        at += 1
    found += mine if only else []
    return at + 1


def _number(words: list[str], name: str) -> int | None:
    for word, after in pairwise(words):
        if word == name and after.isdigit():
            return int(after)
    return None


def _servers(words: list[str], at: int, port: int, domain: str | None) -> tuple[int, list[Asked]]:
    """``192.0.2.1; 2001:db8::1 port 5353; }``, and the place behind it."""
    found: list[Asked] = []
    row: list[str] = []
    while at < len(words) and words[at] != "}":
        if words[at] == ";":
            address = _address(row[0]) if row else None
            if address is not None:
                found.append(Asked(address, _number(row, "port") or port, domain))
            row = []
        else:
            row.append(words[at])
        at += 1
    return at + 1, found


def parse_corefile(text: str) -> Iterator[Asked | tuple[str, str | None]]:
    """The servers of each ``forward``; or a file as resolv.conf(5) that names them, with the domain."""
    depth, zone = 0, None
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if depth == 0 and words[-1:] == ["{"]:
            names = [word.removeprefix("dns://").partition(":")[0].strip(".") for word in words[:-1]]
            zone = None if "" in names or not names else names[0]
        elif depth == 1 and words[:1] == ["forward"] and len(words) > 2:
            domain = zone if words[1] == "." else words[1].rstrip(".")
            for word in words[2:]:
                if word[0] == "/":
                    yield word, domain
                elif (server := _core_server(word)) is not None:
                    yield Asked(*server, domain)
        depth += words.count("{") - words.count("}")


def _core_server(word: str) -> tuple[str, int] | None:
    """``192.0.2.1``, ``[2001:db8::1]:5353``, ``tls://192.0.2.1``."""
    scheme, _, rest = word.rpartition("://")
    port = TLS_PORT if scheme == "tls" else 53
    alone = _address(rest.strip("[]"))
    if alone is not None:
        return alone, port
    host, _, number = rest.rpartition(":")
    address = _address(host.strip("[]"))
    return (address, int(number)) if address is not None and number.isdigit() else None
