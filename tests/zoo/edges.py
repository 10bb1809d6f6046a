"""Routers and edges: BIRD, anycast, ECMP, strict filters, policy tables."""

from tests.drills import bgp
from tests.lab import Host, Lab
from tests.zoo import ping

FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}

EDGE = """
router id 192.0.2.1;
protocol device {{}}
protocol direct {{ ipv4; ipv6; interface "lo"; }}
protocol kernel {{ ipv4 {{ export filter {{ if source = RTS_BGP then accept; reject; }}; }}; }}
protocol static aggregates {{ ipv4; route 203.0.113.0/24 blackhole; }}
protocol bgp up1 {{
  local as 65001; neighbor 192.0.2.2 as 65002;
  connect delay time 1; hold time 6; keepalive time 2;
  ipv4 {{ import all; export {export}; }};
}}
"""
UPSTREAM = """
router id 192.0.2.2;
protocol device {}
protocol kernel { ipv4 { export none; }; }
protocol static { ipv4; route 198.51.100.0/24 blackhole; route 198.18.0.0/15 blackhole; }
protocol bgp down1 {
  local as 65002; neighbor 192.0.2.1 as 65001; connect delay time 1; hold time 6; keepalive time 2;
  ipv4 { import all; export all; };
}
"""
ANNOUNCED = (
    'filter { if net ~ [ 203.0.113.0/24{24,32} ] && (source = RTS_STATIC || ifname = "lo") then accept; reject; }'
)


def _edge(lab: Lab, export: str) -> Host:
    edge, upstream = lab.host("fra-edge1", sysctls=FORWARDING), lab.host("upstream", sysctls=FORWARDING)
    lab.link(edge, "eth0", upstream, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    edge.ip("route add default via 192.0.2.2\naddress add 203.0.113.7/32 dev lo\naddress add 203.0.113.8/32 dev lo")
    edge.ip("route add blackhole 203.0.113.0/24 proto static")
    upstream.ip("route add 198.51.100.0/24 dev lo\nroute add 203.0.113.0/24 via 192.0.2.1")
    lab.birdd(upstream, UPSTREAM)
    lab.birdd(edge, EDGE.format(export=export))
    lab.wait(lambda: bgp.established(edge, 1), 20, "the session stands")
    lab.wait(lambda: "198.51.100.0/24" in edge.run("ip", "route").stdout, 10, "the routes are in the kernel")
    ping(edge, "192.0.2.2")
    return edge


def anycast_edge(lab: Lab) -> Host:
    """An anycast edge: service addresses on lo, a blackhole for its aggregate, both announced by BIRD."""
    return _edge(lab, ANNOUNCED)


def drained_edge(lab: Lab) -> Host:
    """The same edge, drained: its session is disabled in BIRD, and nothing is announced."""
    edge = _edge(lab, ANNOUNCED)
    edge.run("birdc", "disable", "up1")
    edge.run("birdc", "show", "protocols")
    return edge


def gracefully_drained_edge(lab: Lab) -> Host:
    """An edge on its way out: it announces with GRACEFUL_SHUTDOWN."""
    return _edge(lab, "filter { bgp_community.add((65535, 0)); " + ANNOUNCED.removeprefix("filter {"))


def route_reflector(lab: Lab) -> Host:
    """A route reflector: two clients, hundreds of routes that it hands on and none that it installs."""
    switch = lab.switch()
    for number, name in enumerate(("rr1", "c2", "c3"), 1):
        host = lab.host(name)
        lab.plug(host, "eth0", switch, f"192.0.2.{number}/24")
    common = "local as 65001; rr client; connect delay time 1; hold time 6; keepalive time 2;"
    channel = "ipv4 { import all; export all; };"
    reflector = lab.hosts["rr1"]
    for number in (2, 3):
        routes = " ".join(f"route 10.{number}.{n}.0/24 blackhole;" for n in range(50))
        lab.birdd(
            lab.hosts[f"c{number}"],
            f"router id 192.0.2.{number}; protocol device {{}} protocol static {{ ipv4; {routes} }}"
            "protocol bgp refl { local as 65001; neighbor 192.0.2.1 as 65001; connect delay time 1; "
            "hold time 6; keepalive time 2; ipv4 { import all; export all; }; }",
        )
    lab.birdd(
        reflector,
        "router id 192.0.2.1; protocol device {}"
        + "".join(f"protocol bgp c{n} {{ {common} neighbor 192.0.2.{n} as 65001; {channel} }}" for n in (2, 3)),
    )
    lab.wait(lambda: bgp.established(reflector, 2), 20, "both clients stand")
    ping(reflector, "192.0.2.2", "192.0.2.3")
    return reflector


def ecmp_nexthop_groups(lab: Lab) -> Host:
    """A router with nexthop objects: a group of two uplinks for both families, and one spare object nobody uses."""
    router = lab.host("fra-router1", sysctls=FORWARDING)
    for number in (1, 2):
        upstream = lab.host(f"upstream{number}")
        ours, theirs = [[f"198.51.100.{number * 4 + n}/30", f"2001:db8:{number}::{n}/64"] for n in (1, 2)]
        lab.link(router, f"up{number}", upstream, "eth0", a_addresses=ours, b_addresses=theirs)
    router.ip(
        "nexthop add id 1 via 198.51.100.6 dev up1\nnexthop add id 2 via 198.51.100.10 dev up2\n"
        "nexthop add id 10 group 1,3/2,1\nroute add default nhid 10\n"
        "nexthop add id 3 via 2001:db8:1::2 dev up1\nnexthop add id 4 via 2001:db8:2::2 dev up2\n"
        "nexthop add id 20 group 3/4\nroute add ::/0 nhid 20\nnexthop add id 77 via 198.51.100.6 dev up1"
    )
    ping(router, "198.51.100.6", "198.51.100.10", "2001:db8:1::2", "2001:db8:2::2")
    return router


def strict_symmetric_router(lab: Lab) -> Host:
    """A router between two networks with strict reverse path filters everywhere, and only one way anywhere."""
    strict = {"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.default.rp_filter": "1"}
    router = lab.host("ams-router1", sysctls=FORWARDING | strict)
    north, south = lab.host("north"), lab.host("south")
    lab.link(router, "n0", north, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    lab.link(router, "s0", south, "eth0", a_addresses="10.2.0.1/24", b_addresses="10.2.0.2/24")
    router.ip("route add default via 10.1.0.2\nroute add 10.20.0.0/16 via 10.2.0.2")
    south.ip("route add default via 10.2.0.1\naddress add 10.20.0.1/32 dev lo")
    north.ip("route add 10.0.0.0/8 via 10.1.0.1")
    ping(south, "10.1.0.2")
    ping(north, "10.20.0.1")
    return router


def source_routed_multihomed(lab: Lab) -> Host:
    """Two providers, each with a table of its own by source address; loose filters; main prefers the first."""
    host = lab.host("ams-edge2", sysctls={"net.ipv4.conf.default.rp_filter": "2"})
    for number in (1, 2):
        provider = lab.host(f"provider{number}")
        prefix = f"198.51.{100 + number}"
        addresses = f"{prefix}.2/24", f"{prefix}.1/24"
        lab.link(host, f"eth{number}", provider, "eth0", a_addresses=addresses[0], b_addresses=addresses[1])
        host.ip(
            f"route add {prefix}.0/24 dev eth{number} table {100 + number}\n"
            f"route add default via {prefix}.1 table {100 + number}\n"
            f"rule add pref {100 + number} from {prefix}.0/24 lookup {100 + number}\n"
            f"route add default via {prefix}.1 metric {100 * number}"
        )
        ping(host, f"{prefix}.1")
    return host


def networkd_rules(lab: Lab) -> Host:
    """systemd-networkd: DHCP's routes (proto 16) with a metric, policy rules with proto static, a link-local scope."""
    host, gateway = lab.host("fra-app1"), lab.host("gateway")
    ours, theirs = ["192.0.2.20/24", "2001:db8::20/64"], ["192.0.2.1/24", "2001:db8::1/64"]
    lab.link(host, "ens3", gateway, "eth0", a_addresses=ours, b_addresses=theirs)
    host.ip(
        "route add default via 192.0.2.1 dev ens3 proto 16 src 192.0.2.20 metric 1024\n"
        "route add 192.0.2.1 dev ens3 proto 16 scope link src 192.0.2.20 metric 1024\n"
        "route add default via 2001:db8::1 dev ens3 proto ra metric 1024 expires 1800\n"
        "rule add pref 32764 from 192.0.2.20 lookup 200 proto static\nroute add default via 192.0.2.1 table 200\n"
        "rule add pref 32763 to 198.51.100.0/24 lookup main proto static"
    )
    ping(host, "192.0.2.1", "2001:db8::1")
    return host


ANIMALS = (
    anycast_edge,
    drained_edge,
    gracefully_drained_edge,
    route_reflector,
    ecmp_nexthop_groups,
    strict_symmetric_router,
    source_routed_multihomed,
    networkd_rules,
)
