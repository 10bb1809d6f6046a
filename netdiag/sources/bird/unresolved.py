"""``show route all`` of routes without a next hop, and ``show static``: which were meant to have one. Pure.

Format: rta_show() of nest/rt-attr.c, bgp_get_attr() of proto/bgp/attrs.c, static_show_rt() of proto/static/static.c in
BIRD 1.6 and 2. Odd lines are passed over.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from netdiag.model.bird import SentRoute, UnresolvedRoute
from netdiag.sources.bird.replies import routes as plain_routes
from netdiag.sources.bird.replies import text_of

_PAIR = re.compile(r"\(([\d, ]+)\)")


def recursive(lines: list[str]) -> dict[str, str]:
    """``show static``: the next hop of each recursive route, by prefix."""
    found: dict[str, str] = {}
    for line in lines:
        words = text_of(line).split()
        if len(words) >= 3 and words[1] == "recursive":
            found[words[0]] = words[2]
    return found


def _attributes(lines: list[str], *names: str) -> Iterator[tuple[str, str]]:
    """``show route ... all``: the prefix and the value of each attribute of one of these names."""
    net = ""
    for line in lines:
        text = text_of(line)
        name, _, value = text.strip().partition(": ")
        if text[:1] not in "\t " and "[" in text:
            net = text.split()[0]
        elif net and name in names:
            yield net, value


def communities(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """``show route ... all``: communities and large communities by prefix; a prefix without any is not there."""
    found: dict[str, tuple[str, ...]] = {}
    for net, value in _attributes(lines, "BGP.community", "BGP.large_community"):
        found[net] = (*found.get(net, ()), *_pairs(value))
    return found


def prefsrcs(lines: list[str]) -> dict[str, str]:
    """``show route ... all``: the source that a filter gives a route (krt_prefsrc), by prefix."""
    return {net: value.strip() for net, value in _attributes(lines, "Kernel.prefsrc", "krt_prefsrc")}


def sent(lines: list[str]) -> tuple[SentRoute, ...]:
    """``show route export ... all``: each route with AS path, communities and metric."""
    found: list[SentRoute] = []
    for line in lines:
        text = text_of(line)
        name, _, value = text.strip().partition(":")
        value = value.strip()
        if text[:1] not in "\t " and "[" in text:
            found.append(SentRoute(net=text.split()[0]))
        elif found and name == "BGP.as_path":
            found[-1] = msgspec.structs.replace(found[-1], as_path=tuple(value.split()))
        elif found and name == "BGP.med" and value.isdecimal():
            found[-1] = msgspec.structs.replace(found[-1], med=int(value))
        elif found and name in ("BGP.community", "BGP.large_community"):
            given = tuple(sorted((*found[-1].communities, *_pairs(value))))
            found[-1] = msgspec.structs.replace(found[-1], communities=given)
    return tuple(found)


def _pairs(value: str) -> tuple[str, ...]:
    return tuple(":".join(part.replace(" ", "").split(",")) for part in _PAIR.findall(value))


def routes(lines: list[str], static: Mapping[str, str]) -> tuple[UnresolvedRoute, ...]:
    """Every route of the reply; ``static`` are the recursive static ones."""
    found: list[UnresolvedRoute] = []
    table: str | None = None
    net = ""
    for line in lines:
        text = text_of(line)
        name, _, value = text.strip().partition(": ")
        if text.startswith("Table ") and text.rstrip().endswith(":"):
            table = text.split()[1].rstrip(":")
        elif " unreachable [" in f" {text}":
            net = net if text[:1] in " \t" else text.split()[0]
            (row,) = plain_routes([line if text[:1] not in " \t" else f" {net} {text.strip()}"]) or (None,)
            if row is not None:
                hop = static.get(net)
                found.append(
                    UnresolvedRoute(
                        net=net,
                        table=table,
                        protocol=row.protocol,
                        best=row.best,
                        next_hop=hop,
                        recursive=hop is not None,
                    )
                )
        elif found and name == "BGP.next_hop":
            found[-1] = msgspec.structs.replace(found[-1], next_hop=value.split()[0], recursive=False)
        elif found and name in ("BGP.community", "BGP.large_community"):
            found[-1] = msgspec.structs.replace(found[-1], communities=(*found[-1].communities, *_pairs(value)))
    return tuple(found)
