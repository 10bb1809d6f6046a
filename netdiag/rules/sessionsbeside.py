"""A BGP session that waits for a neighbour on a link whose addresses do not reach it.

Used where the length of a prefix is judged: the neighbour table forgets a subnet with its route, BIRD does not. Pure;
nothing can fail.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.rules.bgpsessions import Session, sessions, way
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example


def awaited(view: HostView, row: Address) -> Session | None:
    """A BGP session that looks for its neighbour on the link, in the net around the address (/24, /64)."""
    around = ipaddress.ip_network(f"{row.local}/{24 if row.family == 'inet' else 64}", strict=False)
    whole = all(view.read_whole(table) for table in ("bird", "rules", "sysctls"))
    for session in sessions(view) if whole else ():
        told, address = session.protocol, session.address
        if session.state != "Idle" or told.neighbor_ifname or address is None or address not in around:
            continue
        answer = way(view, session)
        assert answer is not None  # it has an address
        if "multihop" not in (told.session or "") and (not answer.ok or answer.prefixlen == 0):
            return session
    return None


def awaited_examples() -> Iterator[Example]:
    """BIRD looks for a neighbour on the link; the neighbour table forgot it with the subnet."""

    def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, **more)

    def edge(prefix: str = "192.0.2.2/32", **fields: Any) -> Any:
        given: dict[str, Any] = {"bgp_state": "Idle", "error": "Error: Neighbor lost"}
        return BirdHost().bgp_down("up1", **(given | fields)).link("eth0").address("eth0", prefix)

    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "says": ("192.0.2.1 of BGP session up1 is next to it",)}
    yield _case("/32 under a session", "a 24 was meant", edge(), **crit)
    yield _case("/32 under a session that never stood", "BIRD sees no interface", edge(error=""), **crit)
    default = edge().link("eth1").address("eth1", "10.0.0.5/24").route("default", via="10.0.0.1", dev="eth1")
    yield _case("a default route by another card", "it is not the way to a neighbour", default, **crit)
    six = edge("2001:db8::2/128", neighbor_address="2001:db8::1")
    yield _case("/128 under a session", "the same", six, 1, severity="critical")
    yield _case("/24 under a session", "as it should be", edge("192.0.2.2/24"))
    yield _case("a neighbour far away", "multihop is missing there", edge(neighbor_address="198.51.100.1"))
    yield _case("multihop", "it need not be on the link", edge(session="external multihop AS4"))
    yield _case("calling", "BIRD has an interface", edge(bgp_state="Active"))
    routed = edge().route("default", via="192.0.2.1", dev="eth0", onlink=True)
    yield _case("on link by its route", "as clouds have it", routed)
    host_route = edge().route("192.0.2.1/32", dev="eth0")
    yield _case("a host route to it", "unnumbered", host_route)
    yield _case("switched off", "drained", edge(state="down", bgp_state="Down", error="", info=""))
    yield _case("on another interface", "BIRD was told which", edge(neighbor_ifname="eth1"))
    yield _case("a range of neighbours", "whoever calls", edge(neighbor_address=None))
    by = edge().link("eth1").address("eth1", "10.0.0.5/24").route("192.0.2.0/25", via="10.0.0.1", dev="eth1")
    yield _case("a way of its own by another card", "it need not be on this link", by)
    seen = edge().neighbour("192.0.2.1", dev="eth0")
    yield _case("seen on the link", "it is known there", seen, 1, severity="warning", says=("its neighbour 192.0.2.1",))
    twice = edge().link("eth1").address("eth1", "192.0.2.2/32")
    yield _case("unnumbered, under a session", "the length is meant", twice)
