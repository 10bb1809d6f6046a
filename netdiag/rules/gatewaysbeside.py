"""A gateway that the prefix of an interface's address just misses, or misses since a baseline; and whether there is
any way at all.

Used where the length of a prefix is judged. Pure; asks for links, addresses, routes, rules and nexthops; ValueError for
an address that is none.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import faces_guest
from netdiag.index.links import PAIRED
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.address import Address
from netdiag.model.distinct import among
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import same_link
from netdiag.rules.routing.route_onlink_missing_gateway import attached, by_gateway, holds
from netdiag.rules.shape import Example

SEEN = ("reachable", "stale", "delay", "probe")
"""States of a neighbour that was there lately; none that somebody wrote."""
MOST = 64


def in_net(local: str, length: int, other: str) -> bool:
    """Whether an address lies in the net of that length around another one."""
    return ipaddress.ip_address(other) in ipaddress.ip_network(f"{local}/{length}", strict=False)


def just_beside(row: Address, other: str, around: int) -> bool:
    """Whether an address is in the net of that length around `row`, and not in that of its own length."""
    return in_net(row.local, around, other) and not in_net(row.local, row.prefixlen, other)


def length_of(local: str, broadcast: str) -> int | None:
    """The length whose subnet of that address ends with that broadcast address."""
    for length in range(30, 7, -1):
        if str(ipaddress.ip_network(f"{local}/{length}", strict=False).broadcast_address) == broadcast:
            return length
    return None


def any_route(view: HostView) -> bool:
    """Whether IPv4 has any way to somebody else."""
    routes = view.routes("inet")
    outwards = [link.ifindex for link in view.links if not link.loopback]
    return bool(((routes.type == RTN_UNICAST) & (among(routes.oif, outwards) | (routes.oif == 0))).any())


def gateways(view: HostView) -> dict[tuple[int, str], list[str]]:
    """Gateways whose subnet has to be attached, by interface and family."""
    found: dict[tuple[int, str], list[str]] = {}
    for family in ("inet", "inet6"):
        for ifindex, at in by_gateway(view, family):
            found.setdefault((ifindex, family), []).append(at)
    return found


def gateway_beside(view: HostView, row: Address, used: dict[tuple[int, str], list[str]]) -> str | None:
    """A gateway of the interface in the net around the address (/24, /64) that is attached by nothing. ``used``: of
    gateways(), once for all addresses."""
    around = 24 if row.family == "inet" else 64
    beside = [at for at in used.get((row.ifindex, row.family), ()) if just_beside(row, at, around)]
    if not beside:
        return None
    mine = [one for one in view.addresses if (one.ifindex, one.family, one.scope) == (row.ifindex, row.family, 0)]
    if len(mine) > 1:
        return None  # of several addresses, which one has the wrong length?
    networks = attached(view, row.family, [row.ifindex]).get(row.ifindex, [])
    own = {address.local for address in view.addresses}
    return next((at for at in beside if not holds(networks, at) and at not in own), None)


def guest_beside(view: HostView, row: Address, link: Link) -> str | None:
    """A guest on a bridge, tap or cable of this host that the prefix of its only address just misses: the guest was
    there lately, no prefix of the interface holds it, and its packets go to the default route, or nowhere. On an
    uplink the other side may be the one that is wrong: who asks for this host gets an entry, whatever its address."""
    mine = [one for one in view.addresses if (one.ifindex, one.family, one.scope) == (row.ifindex, row.family, 0)]
    routes, table = view.routes(row.family), view.neighbours
    outwards = bool(((routes.dst_len == 0) & led_by(routes, link.ifindex)).any())
    inside = any(faces_guest(port) or port.kind in PAIRED for port in view.stack.ports(link.ifindex))
    if row.family != "inet" or len(mine) > 1 or outwards or not (inside or faces_guest(link)):
        return None
    networks = attached(view, row.family, [row.ifindex]).get(row.ifindex, [])
    vrf = view.stack.vrf(link.ifindex)
    for entry in table.rows(np.flatnonzero((table.ifindex == link.ifindex) & (table.lladdr_len > 0))[:MOST]):
        at = entry.dst
        if entry.state not in SEEN or holds(networks, at) or not just_beside(row, at, 24):
            continue
        answer = view.lookup(Query(family=row.family, dst=at, oif=vrf.ifname if vrf else None))
        if not answer.ok or answer.prefixlen == 0:
            return at
    return None


def lost_by_length(view: HostView, row: Address) -> tuple[str, int] | None:
    """A gateway that the subnet of this very address held at the time of the baseline, when it had another length, and
    that no prefix of the interface holds now; and the length of then."""
    old, link = view.baseline, view.link(row.ifindex)
    if old is None or link is None or not (old.read_whole("addresses") and old.read_whole("routes")):
        return None
    if same_link(old, view, link.ifname) is None:
        return None
    before = old.stack.by_name[link.ifname].ifindex
    then = [one for one in old.addresses if (one.ifindex, one.local) == (before, row.local)]
    if len(then) != 1 or then[0].prefixlen >= row.prefixlen:
        return None
    length = then[0].prefixlen
    used = [at for ifindex, at in by_gateway(old, row.family) if ifindex == before and just_beside(row, at, length)]
    networks = attached(view, row.family, [row.ifindex]).get(row.ifindex, []) if used else []
    return next(((at, length) for at in used if not holds(networks, at)), None)


def length_examples(about: dict[str, Any]) -> Iterator[Example]:
    """An address that had another length at the time of the baseline. ``about``: the subject of the finding."""

    def host(prefix: str, via: str | None = None, **route: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", prefix)
        return made.route("default", via=via, **({"dev": "eth0"} | route)) if via else made

    def case(now: HostBuilder, then: HostBuilder, why: str, fires: int = 0, **more: Any) -> Example:
        return Example(name=f"since the baseline: {why}", why=why, tables=now.build(), baseline=then.build(),
                       fires=fires, **more)  # fmt: skip

    before: Callable[[], HostBuilder] = lambda: host("10.0.4.5/22", "10.0.7.254")  # noqa: E731
    loud: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": about}
    told: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield case(host("10.0.4.5/24"), before(), "its gateway is in no prefix any more", **loud)
    yield case(host("10.0.4.5/22"), before(), "the same length, and no route")
    yield case(host("10.0.4.5/24").address("eth0", "10.0.7.5/24"), before(), "another address has the gateway")
    yield case(
        host("10.0.4.5/24", "10.0.4.1"), host("10.0.4.5/22", "10.0.4.1"), "narrower, and the gateway is in it", **told
    )
    yield case(host("10.0.4.5/20"), before(), "wider", **told)
    yield case(host("10.0.4.6/24"), before(), "another address")
    inside = host("10.0.4.5/24").without_routes(table=254)
    yield case(inside, host("10.0.4.5/22", "10.0.4.1"), "narrower, the gateway is in it, and no prefix route", **told)
    bare = host("10.0.4.5/22").without_routes(table=254)
    yield case(bare, before(), "the same length, and no prefix route")
    cloud = host("10.0.4.5/22", "203.0.113.1").route("203.0.113.1/32", dev="eth0", scope=253)
    yield case(host("10.0.4.5/24"), cloud, "narrower, and the gateway was never in it", **told)
    two = host("10.0.4.5/22").link("eth1").address("eth1", "10.0.7.5/24").route("default", via="10.0.7.254", dev="eth1")
    yield case(host("10.0.4.5/24"), two, "narrower, and the gateway was that of another interface", **told)
    for gone in ("addresses", "routes"):
        unread: dict[str, Any] = {"late_then": (gone,), **(told if gone == "routes" else {})}
        yield case(host("10.0.4.5/24"), before(), f"its {gone} were not read", **unread)
    six = host("2001:db8:0:4::5/64"), host("2001:db8:0:4::5/60", "2001:db8:0:7::1")
    yield case(*six, "IPv6, its gateway is in no prefix any more", fires=1, severity="critical")


def guest_examples() -> Iterator[Example]:
    """Guests of a bridge beside the prefix of its address."""

    def host(prefix: str = "10.90.0.1/30", at: str = "10.90.0.5", port: str = "br0", **entry: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        made.link("br0", kind="bridge").address("br0", prefix)
        if port == "veth":
            made.link("veth0", kind="veth", master="br0")
        elif port == "eth1":
            made.link("eth1", master="br0")
        elif port:
            made.tap("tap0", master=port)
        return made.neighbour(at, dev="br0", **({"state": "stale"} | entry))

    def table_of_red(at: str = "10.90.0.5") -> HostBuilder:
        made = HostBuilder().link("red", kind="vrf", info={"table": 10}).rule(1000, l3mdev=True)
        made.rule(1000, l3mdev=True, family="inet6").link("br0", kind="bridge", master="red")
        made.address("br0", "10.90.0.1/30").without_routes(table=254).without_routes(table=255)
        made.route("10.90.0.1/32", dev="br0", table=10, type="local", scope=254)
        made.route("10.90.0.0/30", dev="br0", table=10, scope=253, protocol=2)
        made.link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        made.tap("tap0", master="br0")
        return made.neighbour(at, dev="br0", state="stale")

    loud: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("guest 10.90.0.5 is in no prefix of br0",)}
    nowhere = host().without_routes(table=254).route("10.90.0.0/30", dev="br0", scope=253)
    own = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    own.tap("tap0").address("tap0", "10.90.0.1/30").neighbour("10.90.0.5", dev="tap0", state="stale")
    far = loud | {"says": ("guest 10.90.0.200 is",)}
    alone = loud | {"says": ("guest 10.90.0.5 is in no prefix of tap0",)}
    for name, why, made, expected in (
        ("", "a /30 was typed", host(), loud),
        (", on a cable", "a container hangs on a veth pair", host(port="veth"), loud),
        (", without a default route", "nothing leads there", nowhere, loud),
        (", at the other end of the /24", "the net around is looked at", host(at="10.90.0.200"), far),
        (", in a VRF", "the VRF's table has no way to it", table_of_red(), loud),
        (", on a tap without a bridge", "the address is the tap's own", own, alone),
    ):
        yield Example(name=f"a guest beside a bridge's prefix{name}", why=why, tables=made.build(), **expected)
    second = host().address("br0", "10.90.1.1/24")
    routed = host().route("10.90.0.5/32", dev="br0")
    chosen = host().route("10.90.0.0/24", dev="br0", table=100).rule(100, src="10.90.0.1", src_len=32, table=100)
    away = host().route("10.90.0.4/30", via="192.0.2.9", dev="eth0")
    for name, why, made in (
        ("in it", "as it must be", host("10.90.0.1/24")),
        ("far from it", "another network on the wire", host(at="10.91.0.5")),
        ("in the /24 beside", "likewise", host(at="10.90.1.5")),
        ("that does not answer", "nobody", host(state="failed")),
        ("that somebody wrote", "it need not be there", host(state="permanent")),
        ("of two networks", "which one is too narrow?", second),
        ("with a route of its own", "it is reached", routed),
        ("with a route by source", "answers take it", chosen),
        ("whose network is elsewhere", "it moved", away),
        ("of a bridge without guests", "a cable to others, who may be wrong", host(port="eth1")),
        ("of an empty bridge", "likewise", host(port="")),
        ("in it, in a VRF", "the main table is not asked", table_of_red(at="10.90.0.2")),
        ("in it, without its route", "the length is right", table_of_red(at="10.90.0.2").without_routes(table=10)),
        ("with a route in its VRF", "it is reached", table_of_red().route("10.90.0.5/32", dev="br0", table=10)),
        ("of IPv6", "a prefix need not be on the link", host("2001:db8::1/126", at="2001:db8::5")),
    ):
        yield Example(name=f"a guest beside a bridge's prefix, {name}", why=why, tables=made.build())
    uplink = host().route("default", via="10.90.0.2", dev="br0", priority=9)
    yield Example(name="beside the prefix of a way out", why="the other side may be wrong", tables=uplink.build())
