"""Somebody in use behind an interface without carrier: then its subnet is no idle one, although it has no gateway.

Pure; tables that a rule only consults may be missing, their demands are then missing as well.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.route import RTNH_F_LINKDOWN
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.demands import demands
from netdiag.rules.dialled import dialled
from netdiag.rules.shape import Example

CONSULTS = ("addresses", "neighbours", "bird", "wireguard", "sockets")
KINDS = ("bgp", "wireguard", "tunnel", "connection")
"""Whom this host itself sends to; a guest that is off, and a neighbour that was there, are none."""


def wanted(view: HostView, family: str) -> dict[int, str]:
    """By position of the route that is taken: for whom it is."""
    found: dict[int, str] = {}
    for demand in (*demands(view), *dialled(view)):
        if demand.query.family != family or demand.kind not in KINDS or not demand.busy:
            continue
        answer = view.lookup(demand.query)
        if answer.route is not None:
            found.setdefault(answer.route, f"{demand.query.dst}, {demand.words}")
    return found


def dark_examples() -> Iterator[Example]:
    """Of route-linkdown-nexthop-used: a subnet without a gateway, on a cable without carrier."""

    def host(built: Any = None, flags: int = RTNH_F_LINKDOWN, **link: Any) -> Any:
        made = (built or HostBuilder()).link("eth0", **({"carrier": False} | link)).address("lo", "10.40.0.1/32")
        return made.route("10.40.0.0/24", dev="eth0", scope=253, protocol=2, flags=flags, prefsrc="10.40.0.1")

    def case(name: str, why: str, made: HostBuilder, *says: str) -> Example:
        loud: dict[str, Any] = {"fires": 1, "severity": "warning", "says": says} if says else {}
        return Example(name=f"a subnet in the dark: {name}", why=why, tables=made.build(), **loud)

    def session(at: str = "10.40.0.2", **fields: Any) -> BirdHost:
        return BirdHost().bgp_down("fab1", neighbor_address=at, **fields)

    def peer(age: float | None = None, **fields: Any) -> WireguardBuilder:
        made = WireguardBuilder().wireguard("wg0")
        return made.wg_peer("wg0", "a", endpoint="10.40.0.2", age=age, **fields)

    yield case("nobody", "a card that was never plugged in", host())
    told = "nothing else is for 10.40.0.2, the neighbour of BGP session fab1"
    yield case("a BGP neighbour", "its session waits for it", host(session()), told)
    six = session("2001:db8:3::2")
    for number in range(9):
        six.bgp_down(f"six{number}", neighbor_address=f"2001:db8:{number}::2")
    host(six)
    for number in range(9):
        six.route(f"2001:db8:{number}::/64", dev="eth0", protocol=2, flags=RTNH_F_LINKDOWN)
    yield case("neighbours of the other family", "their routes are its", six, "2001:db8::/64")
    yield case("a BGP neighbour elsewhere", "it has another way", host(session("10.41.0.2")))
    yield case("a session that is switched off", "somebody did it", host(session(state="down", bgp_state="Down")))
    yield case(
        "a peer of WireGuard", "it is kept alive", host(peer(persistent_keepalive=25)), "the endpoint of a peer of wg0"
    )
    yield case("a peer of WireGuard at rest", "nobody uses it", host(peer()))
    tunnel = HostBuilder().link("gre1", kind="gre", info={"remote": "10.40.0.2"})
    yield case("a tunnel's far end", "what goes through it is lost", host(tunnel), "the far end of tunnel gre1")
    call: dict[str, Any] = {"src": "10.40.0.1", "sport": 40000, "dst": "10.40.0.2", "dport": 5432, "state": 1}
    asked = host().socket(wqueue=512, comm="app", **call)
    yield case("a connection that waits", "its bytes are not answered", asked, "app's connection to 10.40.0.2")
    yield case("a connection at rest", "it may be the cable's of yesterday", host().socket(wqueue=0, **call))
    yield case("a neighbour", "it was there", host().neighbour("10.40.0.2", dev="eth0", state="stale"))
    yield case("passed over by the kernel", "the hop is dead", host(session(), flags=RTNH_F_LINKDOWN | 1))
    yield case("with a carrier", "the session waits for something else", host(session(), 0, carrier=True))
