"""What it checks
  Every route that BIRD had put into a kernel table at the time of the baseline is gone from it, though BIRD runs and
  still wants routes there.

Why it matters
  systemd-networkd removes "foreign" routes when it is restarted (ManageForeignRoutes=yes, the default), and so does
  "ip route flush proto bird". BIRD's own tables look whole, its sessions stand, and it may not look at the kernel again
  before the next scan: what it announces attracts packets that have nowhere to go.

Confirm
  ip route show table TABLE proto bird
  birdc show route export PROTOCOL

Fix
  birdc reload out PROTOCOL (the Kernel protocol) puts them back. Then ManageForeignRoutes=no in networkd.conf.

Not flagged
  Some of many routes, which come and go. BIRD that is not running or wants nothing in the kernel: other rules speak.
  Fewer than three routes. Routes of daemons whose own tables netdiag cannot read are told as information only. Without
  a baseline the rule is not evaluated.

References
  networkd.conf(5) ManageForeignRoutes=; sysdep/linux/netlink.c of BIRD
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.distinct import distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTPROT_NAMES
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.expected import since
from netdiag.rules.routewords import ip_command, table_word
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="route-foreign-routes-removed",
    title="every route of a routing daemon is gone from the kernel",
    severity="critical",
    confidence="likely",
    reads=("routes", "baseline"),
    consults=("bird", "bird_routes"),
    explains=(
        "bird-route-not-in-fib",
        "route-default-missing",
        "rule-references-empty-table",
        "bgp-*",
        "bgp-export-zero",
        "bgp-anycast-missing-announce",
    ),
)
BIRD = 12
DAEMONS = (11, BIRD, 42, 99, 186, 187, 188, 189, 192)
"""RTPROT_* of routing daemons."""
FEWEST = 3


def _kernels(view: HostView, family: str) -> list[tuple[str, str, int]]:
    """Kernel protocols of BIRD that are up and want routes of this family: socket, name, how many."""
    if not (view.read_whole("bird") and view.read_whole("bird_routes")):
        return []
    up = {(d.socket, p.name) for d in view.bird.daemons for p in d.protocols if p.proto == "Kernel" and p.state == "up"}
    found = []
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            wanted = [row for row in listed.routes or () if (":" in row.net) == (family == "inet6") and row.best]
            if (daemon.socket, listed.protocol) in up and wanted:
                found.append((daemon.socket, listed.protocol, len(wanted)))
    return found


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None:
        return
    for family in ("inet", "inet6"):
        before, now = old.routes(family), view.routes(family)
        for protocol in DAEMONS:
            counts = Counter(before.table[before.protocol == protocol].tolist())
            left = set(distinct(now.table[now.protocol == protocol]).tolist())
            for table, count in sorted(counts.items()):
                if count < FEWEST or table in left:
                    continue
                kernels = _kernels(view, family) if protocol == BIRD else []
                if protocol == BIRD and not kernels:
                    continue
                yield _draft(view, old, family, (protocol, table, count), kernels)


def _draft(
    view: HostView, old: HostView, family: str, lost: tuple[int, int, int], kernels: list[tuple[str, str, int]]
) -> Draft:
    protocol, table, count = lost
    name, ip = RTPROT_NAMES.get(protocol, str(protocol)), ip_command(family)
    routes = old.routes(family)
    positions = np.flatnonzero((routes.protocol == protocol) & (routes.table == table))[:50].tolist()
    rows = old.route_rows(family, positions)
    wants = f", and BIRD still wants {kernels[0][2]} there by {kernels[0][1]}" if kernels else ""
    confirm = [f"{ip} route show table {table} proto {protocol}; {ip} route show table {table}; echo"]
    return RULE.found(
        subject=subject("route", table=table, protocol=name, family=family),
        confidence=None if kernels else "possible",
        message=f"all {count} routes that {name} had in table {table_word(table)} are gone {since(old)}{wants}",
        evidence=[
            (f"routes of {name} then", count, f"RTM_GETROUTE rtm_protocol {protocol}, {since(old)}"),
            (f"routes of {name} now", 0, f"RTM_GETROUTE rtm_protocol {protocol}"),
            *((f"routes that {k[1]} wants", k[2], f"birdc show route export {k[1]}") for k in kernels[:1]),
        ],
        confirm=[*confirm, *(birdc(k[0], f"show route export {bird_name(k[1])}") for k in kernels[:1])],
        fix=birdc(kernels[0][0], f"reload out {bird_name(kernels[0][1])}")
        if kernels
        else f"make {name} install its routes anew",
        breaks=[
            *(subject("bird-protocol", name=k[1], socket=k[0]) for k in kernels),
            *(subject("route", dst=row.dst, table=row.table) for row in rows),
        ],
    )


def _host(count: int, *, wanted: int = 4, protocol: int = BIRD, **kernel: Any) -> BirdHost:
    rows = tuple(BirdRoute(net=f"10.{n}.0.0/16", protocol="up1", best=True) for n in range(wanted))
    host = BirdHost().protocol("k4", "Kernel", **kernel).exports("k4", routes=rows)
    host.link("eth0").address("eth0", "192.0.2.2/24")
    for number in range(count):
        host.route(f"10.{number}.0.0/16", via="192.0.2.1", dev="eth0", protocol=protocol)
    return host


def examples() -> Iterator[Example]:
    def case(name: str, why: str, before: int, host: BirdHost, protocol: int = BIRD, **more: Any) -> Example:
        return Example(
            name=name, why=why, tables=host.build(), baseline=_host(before, protocol=protocol).build(), **more
        )

    about = subject("route", table=254, protocol="bird")
    yield case("all gone", "somebody flushed them", 4, _host(0), fires=1, severity="critical", subject=about)
    yield case("one is left", "routes come and go", 4, _host(1))
    yield case("two before", "too few to go by", 2, _host(0))
    yield case("three before", "the fewest that are told", 3, _host(0), fires=1)
    yield case("BIRD wants none", "its sessions are down", 4, _host(0, wanted=0))
    yield case("the protocol is down", "switched off", 4, _host(0, state="down"))
    for name in ("bird", "bird_routes"):
        unread: dict[str, Any] = {"late": (name,), "unjudged": True}
        yield case(f"{name} not read", "nobody knows what it wants", 4, _host(0), **unread)
    rows = tuple(BirdRoute(net=f"10.{n}.0.0/16", protocol="up2", best=True) for n in range(4))
    session = _host(0, state="down").protocol("up1", "BGP").exports("up1", routes=rows)
    yield case("a session's list", "that goes to a neighbour", 4, session)
    spare = tuple(BirdRoute(net=row.net, protocol="up1", best=False) for row in rows)
    second = BirdHost().protocol("k4", "Kernel").exports("k4", routes=spare)
    second.link("eth0").address("eth0", "192.0.2.2/24")
    yield case("none is the best", "BIRD keeps them for later", 4, second)
    six = _host(4)
    for number in range(4):
        six.route(f"2001:db8:{number}::/48", via="2001:db8::1", dev="eth0", protocol=BIRD)
    why = "BIRD wants those of IPv4 only"
    yield Example(name="those of IPv6", why=why, tables=_host(4).build(), baseline=six.build())
    yield case("of another daemon", "its own tables are not read", 4, _host(0), 11, fires=1, severity="info")
