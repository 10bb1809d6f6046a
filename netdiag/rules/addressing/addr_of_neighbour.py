"""What it checks
  This host has an address that is somebody else's beside it: a guest's, to whom a host route leads, or its own
  gateway's, which has answered on the link.

Why it matters
  What is for an own address is delivered here, whatever route there is: the guest gets no packet any more. With the
  gateway's address this host answers ARP for the gateway, so that the whole segment may send to it, and drops what the
  real gateway sends from it as a martian, its ARP questions too. Typical: an address that a test left on lo, a failover
  script that took the wrong one.

Confirm
  ip address show to ADDRESS
  ip route get ADDRESS      (local)

Fix
  ip address del ADDRESS/LENGTH dev IFNAME. Packets take the route to the guest or gateway again at once; others of the
  segment forget the wrong answer within a minute.

Not flagged
  An address of an interface that is down. The host's own end of a guest's link, which may have the same address as
  those of other guests' (of IPv6 the kernel makes a host route to each). Routes that name an own address as a
  gateway without anybody who has it: an old way of saying "on this link". Guests whose interface has no carrier.

References
  net/ipv4/fib_rules.c (table local comes first), net/ipv4/fib_frontend.c fib_validate_source() (EINVAL for an own
  source), net/ipv4/arp.c arp_process()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import CONSULTS, READS, Demand, demands, serves
from netdiag.rules.routewords import ip_command
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="addr-of-neighbour",
    title="this host has an address that its guest or its gateway has",
    severity="critical",
    confidence="likely",
    reads=READS,
    consults=CONSULTS,
    explains=(
        "neigh-*",
        "tap-route-missing",
        "arp-vip-answered-by-backend",
        "route-default-missing",
        "route-onlink-missing-gateway",
        "bgp-*",
        "wg-*",
    ),
    family="each",
)


def check(view: HostView) -> Iterator[Draft]:
    for demand in demands(view):
        if demand.kind not in ("guest", "neighbour"):
            continue
        link, address = view.link(demand.ifindex), demand.query.dst
        own = _own(view, demand)
        shared = any(row.local == address and row.ifindex == demand.ifindex for row in view.addresses)
        assert link is not None  # both kinds are found by their link
        if own is None or not link.lower_up or shared:
            continue
        if demand.kind == "guest":
            yield _draft(demand, own, view.ifname(own.ifindex), f"the guest behind {link.ifname}", "RTM_GETROUTE")
        elif serves(view, demand.query.family, address):
            yield _draft(demand, own, view.ifname(own.ifindex), f"the gateway on {link.ifname}", "RTM_GETNEIGH")


def _own(view: HostView, demand: Demand) -> Address | None:
    """The same address on another interface of this host."""
    for row in view.addresses:
        link = view.link(row.ifindex)
        if row.local == demand.query.dst and row.ifindex != demand.ifindex and link is not None and link.up:
            return row
    return None


def _draft(demand: Demand, own: Address, ifname: str, who: str, source: str) -> Draft:
    ip, prefix = ip_command(own.family), f"{own.local}/{own.prefixlen}"
    way = f"{own.local} is {who}"
    return RULE.found(
        subject=subject("address", address=own.local, ifname=ifname),
        message=f"{own.local} is {who}, and this host has it on {ifname}: what is for it is delivered here",
        evidence=[
            (f"address of {ifname}", prefix, "RTM_GETADDR"),
            ("whose it is", way, source),
        ],
        confirm=[f"ip address show to {own.local}", f"{ip} route get {own.local}"],
        fix=f"ip address del {prefix} dev {quoted(ifname)}",
        touches=[subject("address", local=own.local, ifname=ifname)],
        breaks=[
            *demand.suffers,
            *(subject("tap", ifname=thing["ifname"]) for thing in demand.suffers if thing["kind"] == "link"),
            subject("address", local=own.local, ifname=ifname),
            subject("route", dst="0.0.0.0/0" if own.family == "inet" else "::/0", table=254),
        ],
    )


def _host() -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
    host.neighbour("192.0.2.1", dev="eth0").neighbour("2001:db8::1", dev="eth0")
    return host.tap("tap0").address("tap0", "169.254.0.1/32").route("10.1.0.5/32", dev="tap0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    for address, whose in (("10.1.0.5/32", "guest"), ("192.0.2.1/32", "gateway"), ("2001:db8::1/128", "gateway")):
        yield _case(
            f"{address} on lo",
            f"it is the {whose}'s",
            _host().address("lo", address),
            1,
            severity="critical",
            subject=subject("address", address=address.partition("/")[0], ifname="lo"),
        )
    card = _host().link("eth1").address("eth1", "192.0.2.1/24")
    yield _case("on another card", "the same", card, 1)
    shut = _host().link("eth1", up=False).address("eth1", "10.1.0.5/24")
    yield _case("on a card that is down", "it is not in use", shut)
    away = _host().link("eth9").address("eth9", "10.1.0.5/32").vanished("eth9")
    yield _case("on a card that went meanwhile", "nobody knows whether it was up", away)
    yield _case("another address", "a service of its own", _host().address("lo", "192.0.2.9/32"))
    beside = _host().neighbour("192.0.2.9", dev="eth0", state="stale").address("lo", "192.0.2.9/32")
    yield _case("a neighbour's that is no gateway", "it was moved here", beside)
    legs = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").link("eth1").address("eth1", "198.51.100.2/24")
    legs.route("default", hops=[legs.hop("eth0", "192.0.2.1"), legs.hop("eth1", "198.51.100.1")])
    legs.neighbour("192.0.2.1", dev="eth0").address("lo", "192.0.2.1/32")
    yield _case("one of two gateways'", "it is one", legs, 1)
    ends = _host().tap("tap1").route("2001:db8:5::5/128", dev="tap0").route("2001:db8:5::6/128", dev="tap1")
    for tap in ("tap0", "tap1"):
        ends.address(tap, "2001:db8:5::1/128").route("2001:db8:5::1/128", dev=tap, protocol=2, priority=256)
    yield _case("the gateway's address on each guest's link", "each guest has its gateway there", ends)
    old = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.2", dev="eth0")
    yield _case("an own address as a gateway", "an old way to say on link", old)
    own = _host().address("tap0", "10.1.0.5/32")
    yield _case("its own end of the link", "the route is the kernel's", own)
    gone = HostBuilder().tap("tap0", holder=None).route("10.1.0.5/32", dev="tap0").address("lo", "10.1.0.5/32")
    yield _case("a guest that is gone", "the address came here", gone)
    yield _case("nobody's", "the ordinary host", _host())
