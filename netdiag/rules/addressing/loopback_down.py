"""What it checks
  The loopback interface is down, and something here needs it: a program that listens at a loopback address (then it is
  critical), or an address on it that is more than its own.

Why it matters
  What a program sends to any address of its own host leaves by lo and is dropped: 127.0.0.1, and the host's own
  addresses on all cards. Whoever comes from outside is served as before, also at IPv4 addresses on lo, so that the host
  looks well from everywhere but from itself. The IPv6 addresses of lo are deleted, and all but ::1 do not come back by
  themselves.

Confirm
  ip address show dev lo
  ping -c1 127.0.0.1      (no answer)

Fix
  ip link set dev lo up. Packets of the host to itself pass again at once; IPv6 addresses of lo have to be added again.

Not flagged
  A namespace in which nothing needs it: new ones begin with a loopback that is down, and a tap's namespace or a router
  made of one may stay so. Listeners at wildcard addresses. A nameserver at a loopback address at which nobody listens:
  see dns-stub-dead.

References
  net/ipv4/route.c (output to a local address is by loopback_dev); net/ipv6/addrconf.c addrconf_ifdown()
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.model.sockets import Socket
from netdiag.rules.build import HostBuilder
from netdiag.rules.nameservers import is_loopback
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import listening, named

RULE = Rule(
    id="loopback-down",
    title="the loopback interface is down",
    severity="critical",
    reads=("links", "addresses"),
    consults=("sockets",),
    explains=("addr-missing-expected-lo32", "bird-route-not-in-fib"),
)
MOST = 8


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        if link.loopback and not link.up:
            services, listeners = _services(view, link), _listeners(view)
            if services or listeners:
                yield _draft(view, link, services, listeners)


def _services(view: HostView, link: Link) -> list[Address]:
    """Addresses on it that are more than its own."""
    return [row for row in view.addresses if row.ifindex == link.ifindex and not is_loopback(row.local)]


def _listeners(view: HostView) -> list[Socket]:
    """Sockets that wait at a loopback address."""
    table = view.sockets
    waits = listening(table, IPPROTO_TCP) | listening(table, IPPROTO_UDP)
    return [row for row in table.rows(np.flatnonzero(waits)) if ipaddress.ip_address(row.src).is_loopback][:MOST]


def _draft(view: HostView, link: Link, services: list[Address], listeners: list[Socket]) -> Draft:
    name = link.ifname
    waiting = [named(view, row) for row in listeners]
    lost = ", ".join(row.local for row in services[:MOST])
    what = f"nobody gets to {waiting[0]}" if waiting else f"this host itself does not get to {lost} on it"
    return RULE.found(
        subject=subject("link", ifname=name),
        message=f"{name} is down: {what}, nor to any other address of this host from here",
        severity="critical" if waiting else "warning",
        evidence=[
            (f"{name} flags", "down", f"RTM_GETLINK {name} ifi_flags"),
            *(("listens at loopback", text, "SOCK_DIAG") for text in waiting[:3]),
            *((f"address of {name}", f"{row.local}/{row.prefixlen}", "RTM_GETADDR") for row in services[:3]),
        ],
        confirm=[f"ip address show dev {quoted(name)}"],
        fix=f"ip link set dev {quoted(name)} up",
    )


def _host(*, up: bool = False) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
    return host.link("lo", up=up, carrier=up, flags=0x49 if up else 0x8, kind=None)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    bad: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("link", ifname="lo")}
    service = _host().address("lo", "203.0.113.7/32")
    yield _case("a service address on it", "an anycast edge", service, 1, severity="warning")
    for src, protocol in (("127.0.0.1", 6), ("127.0.0.53", 17), ("::1", 6)):
        listens = _host().socket(src=src, sport=8500, protocol=protocol)
        yield _case(f"a program at {src}", "its clients are on this host", listens, **bad)
    yield _case("its own address alone", "a namespace's, never used", _host().address("lo", "127.0.0.1/8"))
    yield _case("up", "as it should be", _host(up=True).address("lo", "203.0.113.7/32"))
    wild = _host().socket(src="0.0.0.0", sport=22)
    yield _case("a program at the wildcard", "it serves the network", wild)
    other = _host(up=True).link("eth1", up=False).socket(src="127.0.0.1", sport=8500)
    yield _case("another interface is down", "the loopback is not", other)
    yield _case("a stub that is not there", "dns-stub-dead", _host().resolver("127.0.0.53"))
