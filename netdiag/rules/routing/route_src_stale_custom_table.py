"""What it checks
  A route of a table other than main and local names a preferred source (src) that is no address of this host any
  more.

Why it matters
  Deleting an IPv4 address deletes the routes of the main table that name it, and silently leaves those of every other
  table. Traffic that policy rules send there then uses an address that this host no longer owns: connect() fails with
  ENETUNREACH ("Network is unreachable"), datagrams of unconnected sockets leave with a source whose answers go
  nowhere, or to the host that has the address now. IPv6 does this with routes over nexthop objects.

Confirm
  ip route show table TABLE src SOURCE
  ip route get DESTINATION from SOURCE     (an error: the source is not ours)
  ip -br address show

Fix
  ip route replace PREFIX via GATEWAY dev IFNAME table TABLE, without src or with an address that is here; or delete
  the route; or give the address back: ip address add SOURCE/32 dev lo. Replacing a route moves new connections to the
  new source at once; established ones keep theirs. A route that a daemon made must be mended in its configuration.

Not flagged
  An address on another interface, on lo, in a VRF, on an interface that is down, or still tentative: it is this
  host's. Sources held by a route of type local ("AnyIP"). Hosts with ip_nonlocal_bind of that family set: standbys of
  a pair keep such routes on purpose. The main table: see prefsrc-not-local. A table that only "from" rules lead to,
  or none, is a warning: nothing takes its source from there.

References
  net/ipv4/fib_semantics.c fib_sync_down_addr() (its test of fib_tb_id spares custom tables; seen on 6.18);
  net/ipv6/route.c fib6_remove_prefsrc(); net/ipv4/route.c ip_route_output_key_hash_rcu(); ip-route(8), ip-rule(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules import foreignsource
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="route-src-stale-custom-table",
    title="a route of a custom table sends from an address that this host no longer has",
    severity="critical",
    reads=foreignsource.READS,
    explains=("prefsrc-not-local", "src-addr-selection-wrong"),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    yield from foreignsource.findings(RULE, view, main=False)


def _host(source: str = "192.0.2.5", table: int = 99) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")
    if ":" in source:
        return host.route("2001:db8:9::/48", via="2001:db8::2", dev="eth0", prefsrc=source, table=table)
    return host.route("203.0.113.0/24", via="10.0.0.2", dev="eth0", prefsrc=source, table=table)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    about = subject("route", dst="203.0.113.0/24", table=99, ifname="eth0")
    yield Example(
        name="no rule leads there",
        why="the leftover itself: it waits for the rule to come back",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="warning",
    )
    yield Example(
        name="a rule for every packet",
        why="connect() fails now",
        tables=_host().rule(100, table=99).build(),
        fires=1,
        subject=about,
        severity="critical",
    )
    yield Example(
        name="a rule for marked packets",
        why="the next marked packet is lost",
        tables=_host().rule(100, table=99, fwmark=1).build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="a rule for the host's own packets",
        why="iif lo is what this host sends",
        tables=_host().rule(100, table=99, iif="lo").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="a rule for packets that have a source",
        why="they do not ask the route for one",
        tables=_host().rule(100, table=99, src="192.0.2.5", src_len=32).build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="a rule for all but one source",
        why="a packet without a source is among the others",
        tables=_host().rule(100, table=99, src="192.0.2.5", src_len=32, invert=True).build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="a rule for forwarded packets",
        why="they have a source",
        tables=_host().rule(100, table=99, iif="eth0").build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="a rule for an interface that is gone",
        why="it matches nothing",
        tables=_host().rule(100, table=99, oif="ppp0", oif_detached=True).build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="a rule behind the main table",
        why="the default route of main takes the packet first",
        tables=_host().route("default", via="10.0.0.2", dev="eth0").rule(40000, table=99).build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="a rule of the other family",
        why="table 99 of IPv6 is another table",
        tables=_host().rule(100, table=99, fwmark=1, family="inet6").build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="IPv6",
        why="a route over a nexthop object keeps its source",
        tables=_host("2001:db8:77::1").rule(100, table=99, family="inet6").build(),
        fires=1,
        subject=subject("route", dst="2001:db8:9::/48", table=99, ifname="eth0"),
        severity="critical",
    )
    yield _case("the table named default", "253 is no less custom for the kernel than 99", _host(table=253), 1)
    two = _host().route("198.51.100.0/24", via="10.0.0.2", dev="eth0", prefsrc="192.0.2.5", table=98)
    yield _case("two tables", "each is mended by its own command", two, 2)
    vrf = _host(table=10).link("blue", kind="vrf", info={"table": 10}).rule(1000, l3mdev=True)
    yield Example(
        name="table of a VRF",
        why="the l3mdev rule leads there",
        tables=vrf.build(),
        fires=1,
        severity="critical",
    )
    other = _host().link("blue", kind="vrf", info={"table": 10}).rule(1000, l3mdev=True)
    yield Example(
        name="VRF with another table",
        why="the l3mdev rule does not lead to 99",
        tables=other.build(),
        fires=1,
        severity="warning",
        says=("no rule leads to this table",),
    )
    yield Example(
        name="what a warning says",
        why="there is a rule, but its packets bring their source along",
        tables=_host().rule(100, table=99, src="192.0.2.5", src_len=32).build(),
        fires=1,
        severity="warning",
        says=("packets that come here have another source",),
    )
    yield Example(
        name="what is lost, IPv4",
        why="connect() itself fails",
        tables=_host().rule(100, table=99).build(),
        fires=1,
        says=("ENETUNREACH",),
    )
    yield Example(
        name="what is lost, IPv6",
        why="connect() works, the answers go astray",
        tables=_host("2001:db8:77::1").rule(100, table=99, family="inet6").build(),
        fires=1,
        says=("host: packets leave with a source",),
    )
    yield from _silent()


def _silent() -> Iterator[Example]:
    yield _case("own address", "the ordinary case", _host("10.0.0.1").rule(100, table=99))
    yield _case("address on lo", "it is ours on whatever interface", _host().address("lo", "192.0.2.5/32"))
    anyip = _host().route("192.0.2.0/24", dev="lo", table=255, type="local", scope=254)
    yield _case("AnyIP", "a route of type local makes the prefix ours", anyip)
    vrf = _host(table=10).route("192.0.2.0/24", dev="eth0", table=10, type="local", scope=254)
    yield _case("AnyIP of a VRF", "a VRF keeps its local routes in its own table", vrf)
    other = _host(table=10).route("192.0.2.0/24", dev="eth0", table=11, type="local", scope=254)
    yield _case("AnyIP of another table", "table 11 says nothing about sources in table 10", other, 1)
    yield _case(
        "ip_nonlocal_bind",
        "a standby keeps its routes ready for an address that is elsewhere",
        _host().rule(100, table=99).sysctl("net.ipv4.ip_nonlocal_bind", 1),
    )
    yield _case("main table", "prefsrc-not-local speaks about it", _host(table=254))
    yield _case("table local", "prefsrc-not-local speaks about it", _host(table=255))
