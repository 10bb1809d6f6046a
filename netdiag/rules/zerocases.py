"""Examples that bgp-export-zero and bgp-import-zero share: a session without routes beside its siblings. Each rule
gives its own direction. Pure; nothing can fail.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example

INSIDE = {"session": "internal AS4"}


class Direction(NamedTuple):
    """How a rule makes its sessions and its hosts."""

    zero: Callable[..., dict[str, Any]]
    """A session all of whose routes are refused."""
    good: Callable[..., dict[str, Any]]
    """Its sibling, which has three."""
    case: Callable[..., Example]
    """An example: name, why, host, and what is expected."""
    filter: str
    """``input_filter`` or ``output_filter``."""
    number: str
    """``imported`` or ``exported``."""

    def pair(self, zero: dict[str, Any], good: dict[str, Any], **first: Any) -> BirdHost:
        """A host with both; ``first`` is of the session without routes alone."""
        return BirdHost().bgp("up1", **(zero | first)).bgp("up2", **good)


def beside_siblings(way: Direction, told: dict[str, Any]) -> Iterator[Example]:
    """What makes another session a sibling, and what does not."""
    ours, theirs = {way.filter: "ours"}, {way.filter: "theirs"}
    same = way.pair(way.zero(**ours), way.good(**ours, neighbor_as=1))
    yield way.case("the same filter by name, another AS", "what the filter is for is the same", same, **told)
    for name, since in (("a second and more ago", "11:59:59.000"), ("at a time that is not told", None)):
        host = way.pair(way.zero(), way.good(**{way.number: 1}), since=since)
        yield way.case(f"established {name}", "it has had the time to tell", host, **told)
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    other = way.pair(way.zero(), way.good(neighbor_as=65009))
    yield way.case("filters without a name, another AS", "no kinship", other, **info)
    other = way.pair(way.zero(**ours), way.good(**theirs, neighbor_as=65009))
    yield way.case("other filters by name, another AS", "no kinship", other, **info)
    unknown = way.pair(way.zero(), way.good(neighbor_as=None), neighbor_as=None)
    yield way.case("AS not told", "it may be another for each", unknown, **info)
    old = way.pair(way.zero(table=None), way.good(table=None), table="t2")
    yield way.case("BIRD 1.6, another table", "no sibling", old, **info)


def silent(way: Direction) -> Iterator[Example]:
    """Sessions of which nobody wants a route, or of which none was refused."""
    none = way.zero(**{way.filter: "REJECT"})
    yield way.case("nobody else of that AS", "none by name", BirdHost().bgp("up1", **none))
    beside = way.pair(none, way.good(neighbor_as=65009))
    yield way.case("beside an upstream", "another AS, another purpose", beside)
    yield way.case("drained", "all at zero: somebody wants it so", way.pair(none, none))
    yield way.case("one route", "not zero", way.pair(way.zero(**{way.number: 1}), way.good()))
    yield way.case("another family", "no sibling", way.pair(none, way.good(name="ipv6")))
    yield way.case("another table", "no sibling", way.pair(none, way.good(table="t2")))
    inner = way.pair(none, way.good(**INSIDE), **INSIDE)
    yield way.case("inside the AS", "every internal session has the same AS: no kinship", inner)
    alone = BirdHost().bgp("up1", **(way.zero() | INSIDE))
    yield way.case("internal session that refuses all", "internal sessions differ by design", alone)
    client = way.pair(way.zero(), way.good(), session="external route-server AS4")
    yield way.case("client of a route server", "what it may see differs for each", client)
    young = way.pair(way.zero(), way.good(), since="11:59:59.001")
    yield way.case("established a second ago", "it is still being told", young)
    down = BirdHost().bgp_down("up1", **way.zero()).bgp("up2", **way.good())
    yield way.case("down", "another finding", down)
    yield way.case("channel not up", "nothing is told over it", way.pair(way.zero(state="DOWN"), way.good()))
