"""What it checks
  An interface is a port of a bridge or a leg of a bond and has an address of its own that the master has not, with a
  subnet or a route that goes by it.

Why it matters
  What comes in by a port is the master's: the bridge takes every frame before the port is looked at. This host still
  sends by the port, with the old address and the old routes, but answers to its ARP and ND are taken for news of the
  bridge's neighbours: as soon as an entry of the port expires, half a minute later, the neighbour is lost as if the
  wire were dead. That happens when an uplink is put into a bridge by mistake, or its address was not moved along.

Confirm
  ip -d link show dev IFNAME      (master)
  ip address show dev IFNAME
  ip route show dev IFNAME

Fix
  Either take it out: ip link set dev IFNAME nomaster; frames come to its addresses again at once, and what the bridge
  carried by that port ends. Or move the address and its routes to the master.

Not flagged
  Link-local addresses, which every interface makes. An address that the master has as well, left behind when it moved:
  the master answers for it. A port that is down. Legs of a team or a VRF: a VRF's members keep their addresses. A
  single address (/32) without any route by the port.

References
  net/bridge/br_input.c br_handle_frame(); net/core/dev.c __netif_receive_skb_core(); net/ipv4/arp.c arp_process()
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.index.ways import led_by, usable
from netdiag.model.address import Address
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.routewords import ip_command, table_word, way_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="addr-on-bridge-port",
    title="a port of a bridge has the address that belongs on the bridge",
    severity="critical",
    reads=("links", "addresses", "routes"),
    explains=(
        "neigh-*",
        "bgp-[!e]*",
        "wg-never-handshaked",
        "wg-handshake-stale",
        "route-default-missing",
        "overlap-subnet-two-ifaces",
        "addr-duplicate-same-host",
        "dns-*",
    ),
)
TAKING = ("bridge", "bond", "openvswitch")
"""Masters that take every frame of their ports."""


def check(view: HostView) -> Iterator[Draft]:
    for port in view.links:
        master = view.stack.master(port.ifindex)
        if master is None or master.kind not in TAKING:
            continue
        held = {row.local for row in view.addresses if row.ifindex == master.ifindex}
        for family in ("inet", "inet6"):
            own = [
                row
                for row in view.addresses
                if row.ifindex == port.ifindex and row.family == family and row.scope == 0 and row.local not in held
            ]
            ways = _ways(view, family, port) if own else []
            if ways:
                yield _draft(view, port, master, own, ways)


def _ways(view: HostView, family: str, port: Link) -> list[Route]:
    """Routes of a family by the port, the widest first; not those that every interface has."""
    routes = view.routes(family)
    by = np.flatnonzero(led_by(routes, port.ifindex))
    by = by[np.argsort(routes.dst_len[by], kind="stable")]
    rows = view.route_rows(family, [at for at in by.tolist() if usable(routes, at)])
    own = {f"{row.local}/128" for row in view.addresses}
    return [row for row in rows if not row.dst.startswith(("fe80:", "ff")) and row.dst not in own]


def _draft(view: HostView, port: Link, master: Link, own: list[Address], ways: list[Route]) -> Draft:
    name, over, first = port.ifname, master.ifname, own[0]
    ip = ip_command(first.family)
    listed = ", ".join(f"{row.local}/{row.prefixlen}" for row in own[:3])
    route = f"{ways[0].dst} {way_words(view, ways[0])}"
    gateways = {hop.gateway for row in ways for hop in row.hops if hop.gateway}
    return RULE.found(
        subject=subject("link", ifname=name),
        message=f"{name} is a port of {over} and has {listed}, with {route}: what comes in by {name} is {over}'s, "
        "so that no neighbour's answer is heard there",
        evidence=[
            (f"master of {name}", over, f"RTM_GETLINK {name} IFLA_MASTER"),
            (f"address of {name}", f"{first.local}/{first.prefixlen}", f"RTM_GETADDR {name}"),
            (f"route in table {table_word(ways[0].table)}", route, "RTM_GETROUTE RTA_OIF"),
        ],
        confirm=[f"ip -d link show dev {quoted(name)}", f"ip address show dev {quoted(name)}"],
        fix=f"ip link set dev {quoted(name)} nomaster  # or move {first.local} and its {ip} routes to {over}",
        touches=[subject("link", ifname=over)],
        breaks=[
            subject("link", ifname=over),
            *(subject("address", ifname=name, address=row.local) for row in own),
            *(subject("neighbour", dst=gateway, ifname=name) for gateway in sorted(gateways)),
            *(subject("route", dst=row.dst, table=row.table) for row in ways[:8]),
        ],
    )


def _host(kind: str = "bridge", *, up: bool = True, master: bool = True) -> HostBuilder:
    host = HostBuilder().link("br0", kind=kind, up=master)
    return host.link("eth1", master="br0", slave_kind=kind, up=up)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    bad: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("link", ifname="eth1")}
    for kind in ("bridge", "bond"):
        host = _host(kind).address("eth1", "192.0.2.2/24")
        yield _case(f"an uplink as port of a {kind}", "its subnet still leads there", host, **bad)
    yield _case("IPv6", "the same", _host().address("eth1", "2001:db8::2/64"), **bad)
    gateway = _host().address("eth1", "192.0.2.2/32").route("default", via="192.0.2.1", dev="eth1", onlink=True)
    yield _case("a single address with its default route", "as clouds have it", gateway, **bad)
    legs = _host().address("eth1", "192.0.2.2/32").link("eth7").address("eth7", "198.51.100.2/24")
    legs.route("default", hops=[legs.hop("eth1", "192.0.2.1"), legs.hop("eth7", "198.51.100.1")])
    yield _case("a single address with one of two ways", "a half of what leaves", legs, **bad)
    table = _host().address("eth1", "192.0.2.2/24").without_routes(table=254)
    table.route("default", via="192.0.2.1", dev="eth1", table=200)
    yield _case("a route in a table of its own", "policy routing", table, says=("in table 200",), **bad)
    alone = _host().address("eth1", "192.0.2.2/32")
    yield _case("a single address without a route", "nothing is sent by it", alone)
    moved = _host().address("eth1", "192.0.2.2/24").address("br0", "192.0.2.2/24")
    yield _case("left behind", "the bridge has it too", moved)
    yield _case("the address on the bridge", "as it should be", _host().address("br0", "192.0.2.2/24"))
    yield _case("link-local", "every interface has one", _host().address("eth1", "fe80::2/64"))
    six = _host().address("eth1", "2001:db8::2/128").address("eth1", "fe80::2/64")
    six.route("2001:db8::2/128", dev="eth1", protocol=2)
    yield _case("IPv6, a single address", "every interface has such routes", six)
    auto = _host().address("eth1", "169.254.0.9/16", scope=253)
    yield _case("link-local of IPv4", "it is for the link alone", auto)
    left = _host().link("eth2").address("eth2", "198.51.100.2/24").route("10.0.0.0/8", dev="eth1")
    yield _case("a route without an address", "somebody forgot it", left)
    mixed = _host().address("eth1", "192.0.2.2/32").route("2001:db8:5::/48", dev="eth1")
    yield _case("a route of the other family", "it is no way of that address", mixed)
    yield _case("a VRF's member", "they keep theirs", _host("vrf").address("eth1", "192.0.2.2/24"))
    yield _case("port down", "nothing comes in by it", _host(up=False).address("eth1", "192.0.2.2/24"))
    yield _case("bridge down", "its port drops every frame", _host(master=False).address("eth1", "192.0.2.2/24"), **bad)
    free = HostBuilder().link("eth1").address("eth1", "192.0.2.2/24")
    yield _case("no port", "the ordinary case", free)
