"""What it checks
  Sockets that listen on an address which this host does not have, while net.ipv4.ip_nonlocal_bind (or IPv6's) is off.

Why it matters
  The address went away after the program had bound it: the socket stays, the port "listens", and nothing can ever
  arrive. With ip_nonlocal_bind on, programs bind to addresses that are not there yet, and a missing service address
  is noticed by nobody.

Confirm
  ss -lntup; ip -br address

Fix
  Give the address back (ip address add ADDRESS dev lo), or bind the program to one that is there.

Not flagged
  As more than a note: with ip_nonlocal_bind on, or beside keepalived. The standby of a pair wants that. Addresses that
  a route of type local holds; multicast and broadcast addresses; loopback addresses; connected sockets.

References
  net/ipv4/af_inet.c __inet_bind(), inet_can_nonlocal_bind(); Documentation/networking/ip-sysctl.rst
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Manager
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import about, any_address, listening, named

RULE = Rule(
    id="ip-nonlocal-bind",
    title="a program listens on an address that this host does not have",
    severity="warning",
    confidence="likely",
    reads=("sockets", "links", "addresses", "routes", "sysctls"),
    consults=("identity",),
)
NAMED = 10


def fails_over(view: HostView) -> bool:
    """Whether somebody here moves addresses between hosts: the standby listens by IP_FREEBIND before it has them."""
    return view.read_whole("identity") and any(row.name == "keepalived" for row in view.identity.managers)


def ordinary(view: HostView, address: str, family: str) -> bool:
    """An address that an interface should hold: no multicast, no loopback, no broadcast of a subnet."""
    ip = ipaddress.ip_address(address)
    mapped = ip.version == 6 and ip.ipv4_mapped is not None
    if ip.is_multicast or ip.is_loopback or mapped or address == "255.255.255.255":
        return False
    if family == "inet6":
        return True
    subnets = [
        ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False)
        for row in view.addresses
        if row.family == "inet"
    ]
    return not any(ip in (net.broadcast_address, net.network_address) for net in subnets if net.prefixlen < 31)


def unowned(view: HostView) -> dict[str, list[int]]:
    """Addresses that sockets listen on and this host does not have, with the sockets' positions."""
    table = view.sockets
    chosen = (listening(table, IPPROTO_TCP) | listening(table, IPPROTO_UDP)) & ~any_address(table)
    missing: dict[str, list[int]] = {}
    for position in np.flatnonzero(chosen).tolist():
        row = table.row(position)
        if view.local.owners(row.src) or view.local.is_local(row.family, row.src):
            continue  # also one that is tentative: it is on its way
        if ordinary(view, row.src, row.family):
            missing.setdefault(row.src, []).append(position)
    return missing


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    for address, positions in list(unowned(view).items())[:NAMED]:
        row = table.row(positions[0])
        version = "4" if row.family == "inet" else "6"
        wanted = view.sysctl(f"net.ipv{version}.ip_nonlocal_bind") == "1" or fails_over(view)
        more = f" (and {len(positions) - 1} more)" if len(positions) > 1 else ""
        yield RULE.found(
            subject=about(row),
            severity="info" if wanted else "warning",
            message=f"{named(view, row)}{more} is bound to {address}, which this host does not have",
            evidence=[
                ("bound to", address, f"SOCK_DIAG {row.netid} sport {row.sport}"),
                ("addresses of this host that match", 0, "RTM_GETADDR, table local"),
                (
                    "ip_nonlocal_bind",
                    view.sysctl(f"net.ipv{version}.ip_nonlocal_bind"),
                    f"/proc/sys/net/ipv{version}/ip_nonlocal_bind",
                ),
            ],
            confirm=[f"ss -lntup src {address if version == '4' else f'[{address}]'}", "ip -br address"],
            fix=f"ip address add {quoted(address)}/{32 if version == '4' else 128} dev lo  # or bind to "
            "one that is there",
            touches=[subject("address", address=address)],
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, src: str, *, allow: int = 0, **fields: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        host.sysctl("net.ipv4.ip_nonlocal_bind", allow).sysctl("net.ipv6.ip_nonlocal_bind", allow)
        host.route("198.51.100.0/24", type="local", dev="lo", table=255)
        host.socket(src=src, sport=80, comm="web", **fields)
        return Example(name=name, why=why, tables=host.build(), fires=0 if says is None else 1, severity=says)

    yield case("the address is gone", "the plain fault", "warning", "203.0.113.7")
    yield case("IPv6", "the same", "warning", "2001:db8::7")
    yield case("UDP", "nothing arrives there either", "warning", "203.0.113.7", protocol=17)
    yield case("allowed", "the standby of a pair", "info", "203.0.113.7", allow=1)
    yield case("its own address", "as it should be", None, "192.0.2.1")
    yield case("its own IPv6 address", "as it should be", None, "2001:db8::1")
    yield case("AnyIP", "a whole prefix is local", None, "198.51.100.9")
    yield case("wildcard", "every address", None, "0.0.0.0")
    yield case("loopback", "all of 127/8 is local", None, "127.0.0.53")
    yield case("multicast", "joined, not owned", None, "224.0.0.251", protocol=17)
    yield case("broadcast of the subnet", "a DHCP relay", None, "192.0.2.255", protocol=17)
    yield case("a connection", "it will time out by itself", None, "203.0.113.7", state=1, dst="192.0.2.9", dport=9)
    standby = HostBuilder().socket(src="203.0.113.7", sport=80)
    standby.identity(managers=(Manager(name="keepalived", evidence="process keepalived"),))
    yield Example(name="keepalived", why="the standby", tables=standby.build(), fires=1, severity="info")
    yield case("every broadcast", "a DHCP server", None, "255.255.255.255", protocol=17)
    yield case("an IPv4 address in IPv6", "written as one", None, "::ffff:203.0.113.7")
    tentative = HostBuilder().link("eth0").address("eth0", "2001:db8::5/64", flags=0x40)
    tentative.socket(src="2001:db8::5", sport=80)
    yield Example(name="not verified yet", why="it is on its way", tables=tentative.build())
    for prefixlen, fires in ((31, 1), (30, 0)):
        pair = HostBuilder().link("eth0").address("eth0", f"192.0.2.1/{prefixlen}").socket(src="192.0.2.0", sport=80)
        why = "a pair has no network address"
        yield Example(name=f"the first of a /{prefixlen}", why=why, tables=pair.build(), fires=fires)
    late = Example(name="who manages is not told", why="nobody known to fail over", tables=standby.build(), fires=1)
    yield replace(late, late=("identity",), severity="warning")
