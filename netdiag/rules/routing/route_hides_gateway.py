"""What it checks
  A route by a gateway on another interface that lies inside a connected subnet and holds a gateway of this host's own,
  which answers on the subnet's link.

Why it matters
  What this host sends to that part of its own subnet leaves by the other interface: it makes a detour through a router
  that may not know the way, comes back with the other source, or is lost. What goes by the gateway still works, because
  the next hop is not looked up again, until that route is made anew. Typical: a prefix typed one bit too long or for
  the wrong interface, a static route left over from a migration.

Confirm
  ip route get GATEWAY
  ip route show table TABLE PREFIX

Fix
  ip route del PREFIX table TABLE. Packets to that part of the subnet go out on its own link at once.

Not flagged
  Single addresses: hosts that moved away. Routes whose part of the subnet holds no gateway in use, or one that never
  answered on the link. Routes without a gateway (a bridge or a tap with a slice of the subnet: see
  overlap-subnet-two-ifaces). Halves of everything (0.0.0.0/1), as VPN clients make them.

References
  net/ipv4/fib_trie.c fib_table_lookup() (the longest prefix), net/ipv4/fib_semantics.c fib_check_nh(); ip-route(8)
"""

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_NOPREFIXROUTE
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import CONSULTS, READS, Demand, demands, serves
from netdiag.rules.routewords import ip_command, route_subject, way_words
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="route-hides-gateway",
    title="a route takes a part of a connected subnet away, with the gateway in it",
    severity="warning",
    confidence="likely",
    reads=READS,
    consults=CONSULTS,
    explains=("neigh-*", "wg-endpoint-unroutable", "bgp-not-established", "asym-rpfilter-strict-drop"),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    told: set[tuple[str, int]] = set()
    for demand in demands(view):
        family = demand.query.family
        if not serves(view, family, demand.query.dst):
            continue
        answer = view.lookup(demand.query)
        if not answer.gateway or answer.oif == demand.ifindex:
            continue
        assert answer.route is not None  # it has a gateway
        if (family, answer.route) in told:
            continue
        subnet = _subnet(view, demand, view.routes(family).row(answer.route).dst)
        if subnet is not None:
            told.add((family, answer.route))
            yield _draft(view, demand, answer.route, subnet)


def _subnet(view: HostView, demand: Demand, dst: str) -> str | None:
    """The connected subnet of the gateway's link of which a prefix of several addresses is a part."""
    part = ip_network(dst)
    for row in view.addresses:
        whole = ip_interface(f"{row.local}/{row.prefixlen}").network
        if row.ifindex != demand.ifindex or part.num_addresses == 1:
            continue
        if part.prefixlen > whole.prefixlen and part.network_address in whole:
            return str(whole)
    return None


def _draft(view: HostView, demand: Demand, position: int, subnet: str) -> Draft:
    row = view.routes(demand.query.family).row(position)
    gateway, way, ip = demand.query.dst, way_words(view, row), ip_command(demand.query.family)
    ifname = view.ifname(demand.ifindex or 0)
    return RULE.found(
        subject=route_subject(view, row),
        message=f"{row.dst} {way} lies inside {subnet} on {ifname} and holds its gateway {gateway}, which is there: "
        "what is for that part of the subnet makes a detour, or is lost",
        evidence=[
            (f"route to {gateway}", f"{row.dst} {way}", f"RTM_GETROUTE table {row.table}"),
            (f"subnet of {ifname}", subnet, f"RTM_GETADDR {ifname}"),
            (f"neighbour {gateway}", ifname, "RTM_GETNEIGH NDA_LLADDR"),
        ],
        confirm=[f"{ip} route get {gateway}", f"{ip} route show table {row.table} {row.dst}"],
        fix=f"{ip} route del {row.dst} table {row.table}",
        touches=[subject("link", ifname=ifname)],
        breaks=demand.suffers,
    )


def _host(prefix: str | None = "10.0.0.0/25", *, dev: str = "eth1", via: str | None = "10.1.0.2") -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.9/24").address("eth1", "10.1.0.9/24")
    host.route("default", via="10.0.0.1", dev="eth0").neighbour("10.0.0.1", dev="eth0")
    return host.route(prefix, via=via, dev=dev) if prefix else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("half of the subnet", "a bit too many", _host(), 1, severity="warning")
    six = HostBuilder().link("eth0").link("eth1").address("eth0", "2001:db8::9/64").address("eth1", "2001:db8:1::9/64")
    six.route("default", via="2001:db8::1", dev="eth0").neighbour("2001:db8::1", dev="eth0")
    yield _case("IPv6", "the same", six.route("2001:db8::/80", via="2001:db8:1::2", dev="eth1"), 1)
    for name, why, host in (
        ("the other half", "it holds no gateway", _host("10.0.0.128/25")),
        ("one address", "that host moved", _host("10.0.0.1/32")),
        ("the whole subnet", "the metric decides; not this", _host("10.0.0.0/24")),
        ("a wider one", "the connected route is longer", _host("10.0.0.0/23")),
        ("by another router of the link", "what goes there stays on the link", _host(dev="eth0", via="10.0.0.3")),
        ("a slice on a bridge", "overlap-subnet-two-ifaces", _host(via=None)),
        ("no such route", "the ordinary case", _host(None)),
    ):
        yield _case(name, why, host)
    silent = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.9/24").address("eth1", "10.1.0.9/24")
    silent.route("default", via="10.0.0.1", dev="eth0").route("10.0.0.0/25", via="10.1.0.2", dev="eth1")
    yield _case("a gateway that never answered", "it may be behind the route", silent)
    plain = _host(None).neighbour("10.0.0.77", dev="eth0").route("10.0.0.64/26", via="10.1.0.2", dev="eth1")
    yield _case("a neighbour that is no gateway", "it may have two ways", plain)
    both = _host().neighbour("10.0.0.2", dev="eth0").route("10.7.0.0/16", via="10.0.0.2", dev="eth0")
    yield _case("two gateways in it", "one route, told once", both, 1)
    more = HostBuilder().link("eth0").link("eth1").address("eth0", "10.5.0.9/16").address("eth0", "10.0.0.9/24")
    more.address("eth0", "2001:db8::9/64").address("eth1", "10.1.0.9/24").neighbour("10.0.0.1", dev="eth0")
    more.route("default", via="10.0.0.1", dev="eth0").route("10.0.0.0/25", via="10.1.0.2", dev="eth1")
    yield _case("one of several subnets", "the one that holds it", more, 1, says=("lies inside 10.0.0.0/24 on eth0",))
    other = HostBuilder().link("eth0").link("eth1").link("eth2").address("eth0", "10.9.0.9/32")
    other.address("eth1", "10.1.0.9/24").address("eth2", "10.0.0.8/24").neighbour("10.0.0.1", dev="eth0")
    other.route("default", via="10.0.0.1", dev="eth0", onlink=True).route("10.0.0.0/25", via="10.1.0.2", dev="eth1")
    yield _case("a part of another link's subnet", "the gateway was never reached by a subnet", other)
    metric = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.9/24", flags=IFA_F_NOPREFIXROUTE)
    metric.address("eth1", "10.1.0.9/24").neighbour("10.0.0.1", dev="eth0").route("default", via="10.0.0.1", dev="eth0")
    metric.route("10.0.0.0/24", dev="eth0", priority=100).route("10.0.0.0/24", via="10.1.0.2", dev="eth1", priority=50)
    yield _case("the whole subnet, by a better metric", "not a part of it", metric)
