"""What it checks
  A bridge that a default route leads over and that has no port at all.

Why it matters
  The way out goes over a bridge that has lost its uplink: the card was renamed, its driver is gone, or somebody took it
  out of the bridge. Everything that goes that way is lost, while addresses and routes look as always.

Confirm
  ip link show master IFNAME          (nothing)
  ip route show dev IFNAME

Fix
  ip link set dev CARD master IFNAME, with the card that is meant to be its uplink; write it into the configuration of
  what makes the bridge.

Not flagged
  An idle bridge: docker0, a CNI or libvirt bridge without a guest is NO-CARRIER and has addresses, and that is as it
  should be. A bridge with ports, whatever their state. A bridge that is down. Routes to single
  prefixes by a guest that is stopped.

References
  net/bridge/br_if.c br_features_recompute(), br_device.c; Documentation/networking/bridge.rst
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bridge-empty-linkdown",
    title="a bridge that leads out has no ports",
    severity="critical",
    reads=("links", "routes", "nexthops"),
    explains=("route-linkdown-*", "neigh-gateway-failed", "neigh-incomplete-storm", "bgp-*"),
)


def check(view: HostView) -> Iterator[Draft]:
    empty = {
        link.ifindex: link
        for link in view.links
        if link.kind == "bridge"
        and link.up
        and not view.stack.ports(link.ifindex)
        and not view.stack.uppers(link.ifindex)
    }
    if not empty:
        return
    gateways: dict[int, list[str]] = {}
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        for way in ways(routes, view.nexthops, np.asarray((routes.type == RTN_UNICAST) & (routes.dst_len == 0))):
            if way.hop.oif in empty and way.hop.gateway is not None and len(way.legs) == 1:
                gateways.setdefault(way.hop.oif, []).append(way.hop.gateway)
    for ifindex, found in gateways.items():
        name = empty[ifindex].ifname
        via = sorted(set(found))
        yield RULE.found(
            subject=subject("link", ifname=name),
            message=f"bridge {name} has no ports, but routes by {', '.join(via[:3])} go over it: nothing gets out",
            evidence=[
                ("ports", 0, f"RTM_GETLINK IFLA_MASTER {name}"),
                ("gateways over it", ", ".join(via[:3]), f"RTM_GETROUTE RTA_OIF {name}"),
            ],
            confirm=[f"ip -br link show dev {quoted(name)}", f"ip route show dev {quoted(name)}"],
            fix=f"ip link set dev CARD master {quoted(name)}  # with the card that is meant to be its uplink",
            breaks=[subject("neighbour", dst=one, ifname=name) for one in via],
        )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def _bridge(**link: Any) -> HostBuilder:
    return HostBuilder().link("br0", kind="bridge", carrier=False, **link).address("br0", "192.0.2.1/24")


def examples() -> Iterator[Example]:
    out = _bridge().route("default", via="192.0.2.254", dev="br0")
    yield _case("uplink lost", "the plain fault", out, 1, subject=subject("link", ifname="br0"), severity="critical")
    stopped = _bridge().route("10.3.0.0/16", via="192.0.2.2", dev="br0")
    yield _case("behind a guest", "the guest is stopped", stopped)
    yield _case("docker0", "idle, with its own subnet alone", _bridge())
    ported = _bridge().link("eth0", master="br0", carrier=False).route("default", via="192.0.2.254", dev="br0")
    yield _case("port without a cable", "it has a port", ported)
    yield _case("down", "put aside", HostBuilder().link("br0", kind="bridge", up=False))
    other = _bridge().link("eth0").address("eth0", "198.51.100.1/24").route("default", via="198.51.100.2", dev="eth0")
    yield _case("way out elsewhere", "the bridge is not needed", other)
    both = _bridge().link("eth0").address("eth0", "198.51.100.1/24")
    hops = [both.hop("br0", "192.0.2.254"), both.hop("eth0", "198.51.100.2")]
    yield _case("one of two hops", "another rule speaks of those", both.route("default", hops=hops))
    gone = HostBuilder().link("br0", kind="bridge", up=False).route("default", via="192.0.2.254", dev="br0")
    yield _case("down, its routes not yet gone", "the kernel takes them with it", gone)
    vlan = _bridge().link("br0.7", kind="vlan", link="br0").route("default", via="192.0.2.254", dev="br0")
    yield _case("a VLAN on it", "what hangs there may be the way", vlan)
    yield _case(
        "a default route without a gateway", "nobody is named", _bridge().route("default", dev="br0", family="inet")
    )
