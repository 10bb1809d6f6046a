"""What it checks
  A multipath route over which a few tunnels go, while the kernel chooses the path by addresses alone
  (fib_multipath_hash_policy 0).

Why it matters
  Between two tunnel ends there is one pair of addresses, so all of a tunnel's traffic takes one path however many there
  are. With a handful of tunnels one uplink is full while another idles.

Confirm
  sysctl net.ipv4.fib_multipath_hash_policy net.ipv6.fib_multipath_hash_policy
  ip route show | grep -A2 nexthop

Fix
  sysctl -w net.ipv4.fib_multipath_hash_policy=1 (ports as well), or 2 (the packet inside). Running flows may change
  their path once. Not on anycast edges and not in front of stateful firewalls that see one path each.

Not flagged
  Never more than an info, because it is often meant: with ports in the hash, fragments and ICMP errors go another way
  than their flow. Hosts without tunnels, policies 1 to 3, many tunnels, whose addresses spread by themselves.

References
  net/ipv4/route.c fib_multipath_hash(); Documentation/networking/ip-sysctl.rst fib_multipath_hash_policy
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ecmp-hash-policy-l3",
    title="tunnels do not spread over a multipath route",
    severity="info",
    reads=("links", "routes", "nexthops", "sysctls"),
    consults=("wireguard",),
)
TUNNELS = frozenset(
    {"wireguard", "gre", "gretap", "ipip", "sit", "ip6tnl", "ip6gre", "ip6gretap", "vxlan", "geneve", "vti"}
)
FEW = 8
"""Tunnel ends up to which one path may get most of the traffic."""


def check(view: HostView) -> Iterator[Draft]:
    ends = sum(1 for link in view.links if link.kind in TUNNELS and link.up and link.kind != "wireguard")
    ends += sum(len(device.peers) for device in view.wireguard.devices)
    if not 0 < ends <= FEW:
        return
    for family, mib in (("inet", "ipv4"), ("inet6", "ipv6")):
        name = f"net.{mib}.fib_multipath_hash_policy"
        if view.sysctl_int(name) != 0:
            continue
        spread = next((way for way in ways(view.routes(family), view.nexthops) if len(way.legs) > 1), None)
        if spread is None:
            continue
        row = view.route_rows(family, [int(spread.positions[0])])[0]
        yield RULE.found(
            subject=subject("sysctl", name=name),
            message=f"{ends} tunnel end{'s' if ends > 1 else ''} and a route to {row.dst} over {len(spread.legs)} "
            "paths: each tunnel takes one of them, because only addresses are hashed",
            evidence=[
                (name, 0, f"/proc/sys/{name.replace('.', '/')}"),
                ("tunnel ends", ends, "RTM_GETLINK IFLA_INFO_KIND, WireGuard peers"),
                ("paths", len(spread.legs), f"RTM_GETROUTE {row.dst}"),
            ],
            confirm=[f"sysctl {name}"],
            fix=f"sysctl -w {name}=1  # not on anycast edges or before stateful firewalls",
        )


def _case(name: str, why: str, fires: int = 0, *, tunnels: int = 1, policy: Any = 0, paths: int = 2) -> Example:
    host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").link("eth1").address("eth1", "10.1.0.1/24")
    hops = [host.hop("eth0", "10.0.0.2"), host.hop("eth1", "10.1.0.2")][:paths]
    host.route("default", hops=hops).sysctl("net.ipv4.fib_multipath_hash_policy", policy)
    for number in range(tunnels):
        host.link(f"gre{number + 1}", kind="gre")
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("one tunnel", "it takes one path", 1)
    yield _case("eight", "still few", 1, tunnels=8)
    yield _case("nine", "they spread", tunnels=9)
    yield _case("no tunnel", "ordinary flows have many addresses", tunnels=0)
    yield _case("policy 1", "ports are hashed", policy=1)
    yield _case("one path", "nothing to spread over", paths=1)
    for name, link in (("a tunnel that is down", {"kind": "gre", "up": False}), ("no peers", {"kind": "wireguard"})):
        host = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").link("eth1").address("eth1", "10.1.0.1/24")
        host.route("default", hops=[host.hop("eth0", "10.0.0.2"), host.hop("eth1", "10.1.0.2")], family="inet")
        host.sysctl("net.ipv4.fib_multipath_hash_policy", 0).link("t0", **link)
        yield Example(name=name, why="nothing is sent by it", tables=host.build())
