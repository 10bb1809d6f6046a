"""What it checks
  A route names a preferred source (src) that is no address of this host any more: in the main table, or in another
  one, where route-src-stale-custom-table says why it stayed, and this stands below.

Why it matters
  The source was checked when the route was made, and never again. A program that does not choose its own source gets
  this one. IPv4: connect() fails with ENETUNREACH ("Network is unreachable"), though the route and its gateway are
  fine; datagrams of unconnected sockets leave with a source that nobody answers to. IPv6: everything leaves with it.

Confirm
  ip route show table all src SOURCE
  ip route get DESTINATION from SOURCE     (an error: the source is not ours)
  ip -br address show

Fix
  ip route replace PREFIX via GATEWAY dev IFNAME, without src or with an address that is here; or give the address
  back: ip address add SOURCE/32 dev lo. Replacing a route moves new connections to the new source at once;
  established ones keep theirs. A route that a daemon made (proto bird ...) must be mended in the daemon's
  configuration (BIRD: krt_prefsrc), else it comes back.

Not flagged
  An address on another interface, on lo, in a VRF, on an interface that is down, or still tentative: it is this
  host's. Sources held by a route of type local ("AnyIP"). Hosts with ip_nonlocal_bind of that family set, which are
  built to use addresses that are elsewhere for the moment. Routes that a better one hides are a warning only.

References
  net/ipv4/fib_semantics.c fib_valid_prefsrc() and fib_sync_down_addr(): deleting an IPv4 address deletes such routes
  of the main table, but not where the address was local by a route only, nor where it was in a VRF;
  net/ipv6/route.c fib6_remove_prefsrc(): IPv6 takes the source out of the route, but not where a nexthop object is
  used; net/ipv4/route.c ip_route_output_key_hash_rcu(): the second lookup of connect(); ip-route(8)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_TENTATIVE
from netdiag.model.finding import Draft, subject
from netdiag.rules import foreignsource
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="prefsrc-not-local",
    title="a route sends from an address that this host does not have",
    severity="critical",
    reads=foreignsource.READS,
    explains=("src-addr-selection-wrong",),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    yield from foreignsource.findings(RULE, view, main=True)
    yield from foreignsource.findings(RULE, view, main=False)


def _host() -> HostBuilder:
    return HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/24").address("eth0", "2001:db8::1/64")


def _routed(source: str) -> HostBuilder:
    if ":" in source:
        return _host().route("2001:db8:9::/48", via="2001:db8::2", dev="eth0", prefsrc=source)
    return _host().route("203.0.113.0/24", via="10.0.0.2", dev="eth0", prefsrc=source)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    about = subject("route", dst="203.0.113.0/24", table=254, ifname="eth0")
    about6 = subject("route", dst="2001:db8:9::/48", table=254, ifname="eth0")
    yield Example(
        name="source gone from the main table",
        why="the plain fault: connect() to that prefix fails",
        tables=_routed("192.0.2.5").build(),
        fires=1,
        subject=about,
        severity="critical",
    )
    yield Example(
        name="IPv6 source gone",
        why="a route over a nexthop object keeps its source when the address goes",
        tables=_routed("2001:db8:77::1").build(),
        fires=1,
        subject=about6,
        severity="critical",
    )
    yield Example(
        name="default route",
        why="the whole world is behind it, and no address can be made from the prefix 0.0.0.0/0 itself",
        tables=_host().route("default", via="10.0.0.2", dev="eth0", prefsrc="192.0.2.5").build(),
        fires=1,
        subject=subject("route", dst="0.0.0.0/0", table=254, ifname="eth0"),
        severity="critical",
    )
    many = _host()
    for third in range(40):
        many.route(f"198.18.{third}.0/24", via="10.0.0.2", dev="eth0", prefsrc="192.0.2.5", protocol=12)
    yield Example(
        name="a daemon's routes share one source",
        why="one cause is one finding, told by the lowest prefix",
        tables=many.build(),
        fires=1,
        subject=subject("route", dst="198.18.0.0/24", table=254, ifname="eth0"),
    )
    several = _host()
    for last in range(9):
        several.route(f"198.18.{last}.0/24", via="10.0.0.2", dev="eth0", prefsrc=f"192.0.2.{last + 1}")
    yield _case("nine sources", "each lost address is its own", several, 9)
    paths = _host().address("eth1", "10.1.0.1/24")
    hops = [paths.hop("eth0", "10.0.0.2"), paths.hop("eth1", "10.1.0.2")]
    yield Example(
        name="several next hops",
        why="the source belongs to the route, not to a next hop",
        tables=paths.route("203.0.113.0/24", hops=hops, prefsrc="192.0.2.5").build(),
        fires=1,
        subject=subject("route", dst="203.0.113.0/24", table=254),
        severity="critical",
    )
    hidden = _host().route("203.0.113.0/24", via="10.0.0.3", dev="eth0")
    hidden.route("203.0.113.0/24", via="10.0.0.2", dev="eth0", prefsrc="192.0.2.5", priority=100)
    yield Example(
        name="standby route",
        why="it is wrong, but a route with a lower metric carries the traffic: a warning",
        tables=hidden.build(),
        fires=1,
        severity="warning",
    )
    yield from _silent()


def _silent() -> Iterator[Example]:
    yield _case("own address", "the ordinary case", _routed("10.0.0.1"))
    yield _case("own IPv6 address", "the ordinary case", _routed("2001:db8::1"))
    yield _case(
        "address on lo", "anycast and router addresses live there", _routed("192.0.2.5").address("lo", "192.0.2.5/32")
    )
    yield _case(
        "address on an interface that is down",
        "the kernel keeps it local (seen on 6.18): connect() works",
        _routed("192.0.2.5").link("eth2", up=False).address("eth2", "192.0.2.5/32"),
    )
    yield _case(
        "tentative address",
        "it is ours in a second, and duplicate detection has a rule of its own",
        _routed("2001:db8:77::1").address("lo", "2001:db8:77::1/128", flags=IFA_F_TENTATIVE),
    )
    anyip = _routed("192.0.2.5").route("192.0.2.0/24", dev="lo", table=255, type="local", scope=254)
    yield _case("AnyIP", "a route of type local makes the prefix ours", anyip)
    anyip6 = _routed("2001:db8:77::1").route("2001:db8:77::/64", dev="lo", table=255, type="local")
    yield _case("AnyIP for IPv6", "the same", anyip6)
    near = _routed("192.0.2.5").route("192.0.2.0/30", dev="lo", table=255, type="local", scope=254)
    yield _case("AnyIP beside it", "the local prefix ends one address short of the source", near, 1)
    unicast = _routed("192.0.2.5").route("192.0.2.0/24", dev="eth0", table=255)
    yield _case("a unicast route in table local", "only a route of type local makes an address ours", unicast, 1)
    yield _case(
        "ip_nonlocal_bind",
        "a standby of a pair keeps its routes ready for an address that is elsewhere",
        _routed("192.0.2.5").sysctl("net.ipv4.ip_nonlocal_bind", 1),
    )
    yield _case(
        "ip_nonlocal_bind of IPv6", "the same", _routed("2001:db8:77::1").sysctl("net.ipv6.ip_nonlocal_bind", 1)
    )
    yield _case(
        "ip_nonlocal_bind of the other family",
        "each family has its own switch",
        _routed("192.0.2.5").sysctl("net.ipv6.ip_nonlocal_bind", 1),
        1,
    )
    custom = _host().route("203.0.113.0/24", via="10.0.0.2", dev="eth0", prefsrc="192.0.2.5", table=99)
    yield _case("custom table", "the kernel leaves it there: told below", custom.rule(100, table=99), 1)
    broadcast = _host().route("10.9.0.255/32", dev="eth0", prefsrc="192.0.2.5", table=255, type="broadcast")
    yield _case("broadcast route", "nothing is sent from its source", broadcast)
