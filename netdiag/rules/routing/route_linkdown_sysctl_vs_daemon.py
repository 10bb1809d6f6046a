"""What it checks
  BIRD announces a prefix to a BGP neighbour over an interface without carrier, while the kernel ignores routes over
  such interfaces (ignore_routes_with_linkdown).

Why it matters
  The kernel passes the dead route over and sends packets for the prefix by its default route, often straight back to
  the neighbour that sent them here: a loop until the TTL ends. BIRD does not look at the carrier unless it is told to.

Confirm
  ip route show PREFIX      (dead linkdown)
  birdc show route export NAME

Fix
  "check link;" in the channel or protocol of BIRD that brings the prefix (direct, static), then birdc configure: it is
  withdrawn as long as the carrier is gone. Or bring the carrier back.

Not flagged
  Interfaces with a carrier; routes with another next hop that has one. Hosts where the kernel uses such routes: see
  route-linkdown-nexthop-used. BIRD with "check link" does not announce it.

References
  Documentation/networking/ip-sysctl.rst ignore_routes_with_linkdown; BIRD user's guide, check link
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="route-linkdown-sysctl-vs-daemon",
    title="a prefix is announced that the kernel no longer sends to its link",
    severity="warning",
    confidence="likely",
    reads=("bird", "bird_routes", "links", "sysctls"),
)


def ignored(view: HostView, link: Link, family: str) -> bool:
    """Whether the kernel passes routes over that interface by now."""
    name = "ignore_routes_with_linkdown"
    conf = link.inet_conf if family == "inet" else link.inet6_conf
    everywhere = family == "inet" and view.sysctl_int(f"net.ipv4.conf.all.{name}") == 1
    return not link.lower_up and bool(conf.get(name) or everywhere)


def check(view: HostView) -> Iterator[Draft]:
    up = {(d.socket, p.name) for d in view.bird.daemons for p in d.protocols if p.proto == "BGP" and p.state == "up"}
    told: set[tuple[str, str]] = set()
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            for route in listed.routes or () if (daemon.socket, listed.protocol) in up else ():
                links = [view.stack.by_name.get(name) for name in route.dev]
                family = "inet6" if ":" in route.net else "inet"
                if not route.dev or not all(link is not None and ignored(view, link, family) for link in links):
                    continue
                if (route.dev[0], listed.protocol) in told:
                    continue
                told.add((route.dev[0], listed.protocol))
                yield RULE.found(
                    subject=subject("prefix", prefix=route.net),
                    message=f"{route.net} is announced to {listed.protocol} over {route.dev[0]}, which has no carrier, "
                    "and the kernel ignores routes over it",
                    evidence=[
                        (f"announced by {route.protocol}", route.net, f"birdc show route export {listed.protocol}"),
                        (f"carrier of {route.dev[0]}", "none", f"RTM_GETLINK {route.dev[0]} IFLA_CARRIER"),
                        ("ignore_routes_with_linkdown", 1, "IFLA_INET_CONF, /proc/sys/net/ipv4/conf/all"),
                    ],
                    confirm=[
                        f"ip -br link show dev {quoted(route.dev[0])}",
                        birdc(daemon.socket, f"show route export {bird_name(listed.protocol)}"),
                    ],
                    fix=f"'check link;' for protocol {route.protocol} in BIRD's configuration, then: "
                    + birdc(daemon.socket, "configure"),
                    touches=[subject("link", ifname=route.dev[0])],
                )


def _case(name: str, why: str, fires: int = 0, *, carrier: bool = False, own: int = 1, **more: Any) -> Example:
    net, devices = more.pop("net", "10.7.0.0/24"), more.pop("dev", ("eth7",))
    route = BirdRoute(net=net, protocol="direct1", best=True, dev=devices)
    host: Any = BirdHost().bgp("up1", state=more.pop("state", "up")).exports("up1", routes=(route,))
    host.link("eth0").address("eth0", "192.0.2.5/24")
    name_ = "ignore_routes_with_linkdown"
    host.link("eth7", carrier=carrier, inet_conf={name_: own}, inet6_conf={name_: more.pop("own6", own)})
    host.sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown", more.pop("all", 0))
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("prefix", prefix="10.7.0.0/24")
    yield _case("no carrier", "the plain fault", 1, severity="warning", subject=about)
    yield _case("by all", "either switch will do for IPv4", 1, own=0, all=1)
    yield _case("IPv6", "its own switch", 1, net="2001:db8:7::/64")
    yield _case("IPv6, ignored by IPv4 alone", "IPv6 goes on using them", net="2001:db8:7::/64", own6=0)
    yield _case("ignored by IPv6 alone", "IPv4 goes on using them", own=0, own6=1)
    yield _case("IPv6 and all of IPv4", "all says nothing to IPv6", net="2001:db8:7::/64", own=0, all=1)
    yield _case("carrier", "the ordinary case", carrier=True)
    yield _case("not ignored", "another rule", own=0)
    yield _case("two next hops", "one of them works", dev=("eth7", "eth0"))
    yield _case("session down", "nobody hears it", state="start")
    yield _case("to nowhere", "a blackhole has no link", dev=())
    yield _case("the link is gone", "BIRD follows in a moment", dev=("eth9",))
    host = BirdHost().protocol("k4", "Kernel")
    route = BirdRoute(net="10.7.0.0/24", protocol="direct1", best=True, dev=("eth7",))
    host.exports("k4", routes=(route,)).link("eth7", carrier=False, inet_conf={"ignore_routes_with_linkdown": 1})
    yield Example(name="given to the kernel", why="that is no neighbour", tables=host.build())
