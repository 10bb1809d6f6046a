"""What it checks
  One address on two or more interfaces of this host, each with a connected route for its subnet in the same routing
  table.

Why it matters
  The kernel answers to the address on every interface, but a reply goes by the routing table, and there one of the
  connected routes wins. Hosts behind the other interface get no answer: what they send arrives, what is sent to them
  leaves by the wrong device. ARP for the address is answered on both segments, so neighbours may also swap the two.

Confirm
  ip address show to ADDRESS
  ip route show match ADDRESS

Fix
  ip address del ADDRESS/LENGTH dev IFNAME, on the interface that should not have it. Connections that came in over
  that interface end. If both must have it, give one of them /32 (IPv6: /128), or add it with noprefixroute and route
  the hosts behind it one by one.

Not flagged
  /31 and /32 (IPv6: /127 and /128), as on the taps of virtual machines that share one gateway address. Unnumbered
  point-to-point links (address with a peer). Addresses added with noprefixroute, or whose connected route is gone.
  Anycast and service addresses that also lie on lo or on a dummy. Interfaces in different VRFs or routing tables, or
  one that policy rules keep apart by iif or oif. An interface that is down, such as the idle half of a failover pair.
  Link-local addresses of IPv6. An address that failed duplicate address detection: see ipv6-dad-failed.

References
  net/ipv4/devinet.c, net/ipv4/fib_frontend.c fib_add_ifaddr(); RFC 1122 section 3.3.4.2 (weak and strong host model)
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.address import (
    IFA_F_DADFAILED,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    Address,
)
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.link import IFF_NOARP, IFF_POINTOPOINT, IFF_UP
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST, RTPROT_NAMES
from netdiag.rules.apart import named_by_rule
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="addr-duplicate-same-host",
    title="two interfaces have the same address and subnet",
    severity="warning",
    reads=("links", "addresses", "routes", "rules"),
    explains=("arp-flux", "asym-rpfilter-strict-drop", "neigh-gateway-failed", "neigh-incomplete-storm", "rpfilter-*"),
    family="each",
)

RTPROT_KERNEL = 2
"""Who made a connected route (include/uapi/linux/rtnetlink.h)."""


class Place(NamedTuple):
    """One interface that has the address, and its connected route."""

    rank: tuple[int, int, int]
    """Which route wins: longest prefix, then lowest metric, then the first one."""
    address: Address
    ifname: str
    dst: str
    table: int


def shared(view: HostView) -> dict[tuple[str, str], list[Address]]:
    """By family and address, those that several interfaces have in a way that makes a connected route."""
    found: dict[tuple[str, str], list[Address]] = {}
    for row in view.addresses:
        if _subnetted(row) and _in_service(view, row.ifindex):
            found.setdefault((row.family, row.local), []).append(row)
    return {key: rows for key, rows in found.items() if len({row.ifindex for row in rows}) > 1}


def _subnetted(row: Address) -> bool:
    """An address of a subnet with other hosts in it, that works."""
    unused = IFA_F_TENTATIVE | IFA_F_DADFAILED if row.family == "inet6" else 0
    hosts = (128 if row.family == "inet6" else 32) - row.prefixlen
    return hosts > 1 and row.peer is None and not row.flags & unused and not row.local.lower().startswith("fe80:")


def _in_service(view: HostView, ifindex: int) -> bool:
    link = view.link(ifindex)
    return link is not None and link.up and not link.loopback and link.kind != "dummy"


def places(view: HostView, family: str, rows: Iterable[Address]) -> list[Place]:
    """The connected routes of these addresses, best first. An address without one is left out."""
    routes = view.routes(family)
    indexes = np.array(sorted({row.ifindex for row in rows}), np.int32)
    mask = (routes.protocol == RTPROT_KERNEL) & (routes.type == RTN_UNICAST) & among(routes.oif, indexes)
    wanted = {(row.ifindex, str(_network(row))): row for row in rows}
    found = []
    for route, position in zip(routes.rows(np.flatnonzero(mask)), np.flatnonzero(mask).tolist(), strict=True):
        row = wanted.get((route.oif or 0, route.dst))
        if row is not None:
            rank = (-row.prefixlen, route.priority, position)
            found.append(Place(rank, row, view.ifname(row.ifindex), route.dst, route.table))
    return sorted(found, key=lambda place: place.rank)


def _network(row: Address) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False)


def check(view: HostView) -> Iterator[Draft]:
    for (family, local), rows in shared(view).items():
        ways = places(view, family, rows)
        for table in dict.fromkeys(place.table for place in ways):
            here = _distinct(place for place in ways if place.table == table)
            losers = [place for place in here[1:] if not named_by_rule(view, family, place.ifname)]
            if losers:
                yield _finding(family, local, here[0], losers)


def _distinct(ways: Iterable[Place]) -> list[Place]:
    """The best place of each interface."""
    best: dict[str, Place] = {}
    for place in ways:
        best.setdefault(place.ifname, place)
    return list(best.values())


def _finding(family: str, local: str, winner: Place, losers: list[Place]) -> Draft:
    first = losers[0]
    names = ", ".join(place.ifname for place in losers)
    ip = "ip -6" if family == "inet6" else "ip"
    prefixlen = first.address.prefixlen
    return RULE.found(
        subject=subject("address", address=local, ifname=first.ifname),
        message=f"{local} is on {winner.ifname} and also on {names}: "
        f"what this host sends to {first.dst} leaves by {winner.ifname}, whoever asked",
        evidence=[
            *((f"address on {p.ifname}", f"{local}/{p.address.prefixlen}", f"RTM_GETADDR {p.ifname} IFA_LOCAL")
              for p in (winner, *losers[:3])),
            ("connected route that wins", f"{winner.dst} dev {winner.ifname}", f"RTM_GETROUTE table {winner.table}"),
        ],
        confirm=[f"ip address show to {local}", f"{ip} route show table {winner.table} match {local}"],
        fix=f"ip address del {local}/{prefixlen} dev {quoted(first.ifname)}  # or from {quoted(winner.ifname)}",
        touches=[
            *(subject("link", ifname=place.ifname) for place in (winner, *losers)),
            *(subject("address", address=local, ifname=place.ifname) for place in (winner, *losers)),
        ],
        breaks=[subject("link", ifname=place.ifname) for place in losers],
    )  # fmt: skip


def _host(
    first: str, second: str, one: dict[str, Any] | None = None, other: dict[str, Any] | None = None
) -> HostBuilder:
    """eth0 and eth1 with an address each; ``one`` and ``other`` are fields of the interfaces."""
    host = HostBuilder().link("eth0", **(one or {})).link("eth1", **(other or {}))
    return host.address("eth0", first).address("eth1", second)


def examples() -> Iterator[Example]:
    yield from _double_examples()
    yield from _honest_examples()
    yield from _apart_examples()


V4, V6 = "192.0.2.1/24", "2001:db8::1/64"


def _double_examples() -> Iterator[Example]:
    about = subject("address", address="192.0.2.1", ifname="eth1")
    yield Example(
        name="two interfaces, one address",
        why="the plain fault; the interface whose route loses is named",
        tables=_host(V4, V4).build(),
        fires=1,
        subject=about,
        severity="warning",
        says=("on eth0 and also on eth1", "192.0.2.0/24 leaves by eth0"),
    )
    yield Example(
        name="two interfaces, one IPv6 address",
        why="the same for IPv6",
        tables=_host(V6, V6).build(),
        fires=1,
        subject=subject("address", address="2001:db8::1", ifname="eth1"),
    )
    yield Example(
        name="different prefix lengths",
        why="the longer prefix wins where both fit",
        tables=_host("192.0.2.1/24", "192.0.2.1/30").build(),
        fires=1,
        subject=subject("address", address="192.0.2.1", ifname="eth0"),
        says=("on eth1 and also on eth0",),
    )
    metric = HostBuilder().link("eth0").link("eth1").address("eth0", V4, flags=IFA_F_NOPREFIXROUTE)
    metric.route("192.0.2.0/24", dev="eth0", protocol=2, priority=600, scope=253)
    yield Example(
        name="different metrics",
        why="the lower metric wins, though it was made later",
        tables=metric.address("eth1", V4).build(),
        fires=1,
        subject=subject("address", address="192.0.2.1", ifname="eth0"),
    )
    bridge = HostBuilder().link("br0", kind="bridge").link("eth0", master="br0")
    yield Example(
        name="left on a port after the bridge got it",
        why="the classical mistake when a bridge is made by hand",
        tables=bridge.address("eth0", V4).address("br0", V4).build(),
        fires=1,
    )
    yield Example(
        name="three interfaces",
        why="one address is one fault",
        tables=_host(V4, V4).link("eth2").address("eth2", V4).build(),
        fires=1,
        subject=about,
        says=("on eth0 and also on eth1, eth2",),
    )
    yield Example(
        name="twice on one interface, once on another",
        why="an interface is not in its own way",
        tables=_host(V4, V4).address("eth0", "192.0.2.1/25").build(),
        fires=1,
        subject=about,
        says=("on eth0 and also on eth1:",),
    )
    yield Example(
        name="no carrier on one",
        why="its connected route is there all the same, and may be the one that wins",
        tables=_host(V4, V4, {"carrier": False}).build(),
        fires=1,
    )
    yield Example(
        name="/30", why="a subnet with one other host", tables=_host("192.0.2.1/30", "192.0.2.1/30").build(), fires=1
    )
    yield Example(
        name="/126", why="the same for IPv6", tables=_host("2001:db8::1/126", "2001:db8::1/126").build(), fires=1
    )


def _honest_examples() -> Iterator[Example]:
    for length in (31, 32):
        both = f"192.0.2.0/{length}"
        yield Example(
            name=f"gateway /{length} on two taps",
            why="every virtual machine has the same gateway, and a route of its own",
            tables=_host(both, both, {"kind": "tun"}, {"kind": "tun"}).build(),
        )
    for length in (127, 128):
        both = f"2001:db8::/{length}"
        yield Example(name=f"/{length} twice", why="the same for IPv6", tables=_host(both, both).build())
    yield Example(
        name="/24 and /32",
        why="an unnumbered tunnel borrows the LAN's address",
        tables=_host(V4, "192.0.2.1/32").build(),
    )
    point = IFF_UP | IFF_POINTOPOINT | IFF_NOARP
    ppp = HostBuilder().link("ppp0", flags=point).link("ppp1", flags=point)
    yield Example(
        name="unnumbered point-to-point links",
        why="the subnet is that of the peer",
        tables=ppp.address("ppp0", V4, peer="198.51.100.1").address("ppp1", V4, peer="198.51.100.2").build(),
    )
    bare = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
    yield Example(
        name="noprefixroute",
        why="only one interface has a connected route",
        tables=bare.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE).build(),
    )
    dummy = _host(V4, "198.51.100.1/24").link("dummy0", kind="dummy").address("dummy0", V4)
    yield Example(name="also on a dummy", why="a service address", tables=dummy.build())
    yield Example(
        name="also on lo",
        why="an anycast address",
        tables=_host(V4, "198.51.100.1/24").address("lo", V4).route("192.0.2.0/24", dev="lo", protocol=2).build(),
    )
    yield Example(
        name="one interface down",
        why="the idle half of a failover pair, ready to take over",
        tables=_host(V4, V4, None, {"up": False}).route("192.0.2.0/24", dev="eth1", protocol=2, scope=253).build(),
    )
    yield Example(
        name="link-local on every interface",
        why="link-local addresses belong to their link",
        tables=_host("fe80::1/64", "fe80::1/64").build(),
    )
    for name, flag in (("failed", IFA_F_DADFAILED), ("tentative", IFA_F_TENTATIVE)):
        host = HostBuilder().link("eth0").link("eth1").address("eth0", V6)
        yield Example(
            name=f"IPv6 address that is {name}",
            why="it is not in use; ipv6-dad-failed speaks, or detection still runs",
            tables=host.address("eth1", V6, flags=IFA_F_PERMANENT | flag).build(),
        )
    host = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
    yield Example(
        name="IPv4 address with those bits",
        why="they mean nothing for IPv4",
        tables=host.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_DADFAILED).build(),
        fires=1,
    )
    second = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
    second.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_SECONDARY)
    yield Example(name="one as a secondary", why="it has a net of that size there", tables=second.build(), fires=1)
    gone = _host(V4, V4).vanished("eth1")
    yield Example(name="one gone meanwhile", why="it was on one of them when all was read", tables=gone.build())
    yield Example(name="two addresses", why="nothing is double", tables=_host(V4, "198.51.100.1/24").build())
    yield Example(
        name="two addresses of one subnet",
        why="that is another rule's affair",
        tables=_host(V4, "192.0.2.2/24").build(),
    )


def _apart_examples() -> Iterator[Example]:
    def with_table(table: int) -> HostBuilder:
        host = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
        host.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE)
        return host.route("192.0.2.0/24", dev="eth1", table=table, protocol=2, scope=253)

    yield Example(
        name="connected routes in two tables",
        why="two VRFs may have the same addresses",
        tables=with_table(10).build(),
    )
    yield Example(
        name="connected routes in one table",
        why="the same host without the second table",
        tables=with_table(RT_TABLE_MAIN).build(),
        fires=1,
    )
    bird = next(number for number, name in RTPROT_NAMES.items() if name == "bird")
    host = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
    host.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE)
    yield Example(
        name="route of a daemon instead of a connected one",
        why="somebody decided on it",
        tables=host.route("192.0.2.0/24", dev="eth1", protocol=bird).build(),
    )
    host = HostBuilder().link("eth0").link("eth1").address("eth0", V4)
    host.address("eth1", V4, flags=IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE)
    yield Example(
        name="blackhole of the subnet",
        why="not a connected route",
        tables=host.route("192.0.2.0/24", dev="eth1", protocol=2, type="blackhole").build(),
    )
    for selector in ("iif", "oif"):
        yield Example(
            name=f"rule by {selector}",
            why="policy rules make a router of each interface",
            tables=_host(V4, V4).rule(100, table=100, **{selector: "eth1"}).build(),
        )
    yield Example(
        name="rule of the other family",
        why="it says nothing about this one",
        tables=_host(V4, V4).rule(100, family="inet6", table=100, iif="eth1").build(),
        fires=1,
    )
    yield Example(
        name="rule for the interface that wins",
        why="the other one still loses",
        tables=_host(V4, V4).rule(100, table=100, iif="eth0").build(),
        fires=1,
    )
