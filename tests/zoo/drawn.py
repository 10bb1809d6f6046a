"""Routers and edges that live on no test kernel: healthy hosts drawn as tables, each with many things that look like
faults. Together with drawn_workers.py, drawn_servers.py and drawn_tunnels.py; which near misses of the catalogue each
of them holds is said in tests/zoo/near. Nothing can fail: a host is code.
"""

from collections.abc import Callable
from typing import Any

from netdiag.model.bird import BirdRoute, UnresolvedRoute
from netdiag.model.link import Xdp
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_bpf import program, xdp
from netdiag.rules.build_wireguard import WireguardBuilder

FORWARDS = {"forwarding": 1}
LOOSE = {"rp_filter": 2}


class Whole(BirdHost, WireguardBuilder):
    """A host with all that the builders know."""


def forwarding(host: Any) -> Any:
    """The switches of a router, of both families."""
    host.sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv4.conf.all.forwarding", 1)
    return host.sysctl("net.ipv6.conf.all.forwarding", 1)


def uplink(host: Any, address: str = "192.0.2.10/24", gateway: str = "192.0.2.1", **fields: Any) -> Any:
    """eth0 with an address and a default route to a gateway that answers."""
    host.link("eth0", **fields).address("eth0", address).route("default", via=gateway, dev="eth0")
    return host.neighbour(gateway, dev="eth0")


def _blackhole(net: str, **fields: Any) -> BirdRoute:
    return BirdRoute(net=net, **({"type": "blackhole", "protocol": "static1", "best": True} | fields))


def anycast_networks() -> Tables:
    """An anycast edge: whole networks taken in by AnyIP, one address served by XDP without a socket, aggregates and
    victims of attacks as blackholes; sessions that are passive, one-way, warned, watched by BFD from one side alone."""
    host = forwarding(BirdHost())
    uplink(host, inet_conf=FORWARDS | LOOSE, xdp=Xdp(mode="native", prog_id=3))
    host.neighbour("192.0.2.2", dev="eth0")
    for address in ("203.0.113.7/32", "203.0.113.9/32"):
        host.address("lo", address)
    host.route("203.0.113.128/26", dev="lo", type="local", table=255, scope=254)
    host.route("203.0.113.0/24", type="blackhole", protocol=12, priority=32)
    host.route("203.0.113.66/32", type="blackhole", protocol=12, priority=32)
    host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", protocol=12, priority=32, prefsrc="203.0.113.130")
    host.route("default", via="192.0.2.1", dev="eth0", table=100, prefsrc="203.0.113.130")
    host.rule(100, src="203.0.113.128", src_len=26, table=100)
    host.socket(src="203.0.113.7", sport=53, protocol=17, comm="knotd")
    host.socket(src="203.0.113.7", sport=53, comm="knotd").address("eth0", "192.0.2.11/24", flags=0x81)
    lossy = {"retrans": 2, "timer": 1, "wqueue": 1400, "snd_mss": 1448, "last_data_recv": 100, "comm": "bird"}
    host.socket(src="192.0.2.10", sport=40000, dst="192.0.2.1", dport=179, state=1, **lossy)
    host.daemon(tables={"master4": 9})
    host.protocol("static1", "Static", table="master4").protocol("kernel4", "Kernel", channels=(channel(exported=4),))
    both = channel(imported=3, exported=3, import_limit=2, import_limit_action="warn", import_limit_hit=True)
    host.bgp("up1", channels=(both,), session="external AS4", last_error="Hold timer expired")
    host.bfd("192.0.2.1", state="Down", since="11:30:00.000")
    announcer = channel(imported=0, exported=3, input_filter="REJECT")
    host.bgp("announcer", neighbor_address="192.0.2.2", neighbor_as=65009, channels=(announcer,))
    collector = channel(imported=0, exported=0, input_filter="REJECT", output_filter="REJECT")
    host.bgp("looking_glass", neighbor_address="192.0.2.2", neighbor_as=65010, channels=(collector,))
    host.bgp_down("waits", bgp_state="Passive", info="Passive", neighbor_address="192.0.2.77")
    host.bgp_down("off", bgp_state="Down", state="down", info="", neighbor_address="192.0.2.78")
    told = (_blackhole("203.0.113.0/24"), BirdRoute(net="203.0.113.7/32", protocol="direct1", best=True, dev=("lo",)))
    told = (*told, BirdRoute(net="203.0.113.9/32", protocol="direct1", best=True, dev=("lo",)))
    told = (*told, _blackhole("203.0.113.128/26"), _blackhole("203.0.113.66/32"))
    host.exports("up1", routes=told, rtbh=("203.0.113.66/32",)).exports("announcer", routes=told[:4])
    kernel = BirdRoute(net="198.51.100.0/24", protocol="up1", best=True, via=("192.0.2.1",), dev=("eth0",))
    host.exports("kernel4", routes=(kernel, _blackhole("203.0.113.0/24"), _blackhole("203.0.113.66/32")))
    host.unresolved(
        UnresolvedRoute(
            net="198.18.66.6/32", table="master4", protocol="up1", best=True, next_hop="10.99.0.1",
            communities=("65535:666",),
        )
    )  # fmt: skip
    host.bpf(programs=[program(3, "balancer", type="xdp")])
    xdp(host, "eth0", 3)
    snmp = {"TcpExt.TCPMD5NotFound": 10, "TcpExt.TCPMinTTLDrop": 4}
    host.counters(before={"snmp": snmp}, after={"snmp": {"TcpExt.TCPMD5NotFound": 15, "TcpExt.TCPMinTTLDrop": 6}})
    return host.build()


def transit_router() -> Tables:
    """A provider's router: the whole table and no default, customers on both sides, unequal weights, a dark leg that
    the kernel leaves out, filters that look strict and are not, and the Internet's noise in its counters."""
    host = forwarding(BirdHost())
    for name in ("all", "default"):
        host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 2).sysctl(f"net.ipv4.conf.{name}.ignore_routes_with_linkdown", 1)
    host.sysctl("net.ipv4.fib_multipath_hash_policy", 0)
    strict = FORWARDS | {"rp_filter": 1, "ignore_routes_with_linkdown": 1}
    for number in (1, 2):
        host.link(f"up{number}", inet_conf=strict).address(f"up{number}", f"192.0.{number}.1/24")
        host.neighbour(f"192.0.{number}.2", dev=f"up{number}")
    host.link("up3", carrier=False, inet_conf=strict).address("up3", "192.0.3.1/24")
    host.link("wan0", kind="gre", type=778, flags=0x100D1, mtu=1476, inet_conf=strict)
    host.address("wan0", "10.255.0.1/30").address("lo", "203.0.113.1/32")
    for number in range(120):
        host.route(f"20.{number}.0.0/16", via="192.0.1.2", dev="up1", protocol=12, priority=32)
    legs = [host.hop("up1", "192.0.1.2", weight=1), host.hop("up2", "192.0.2.2", weight=20)]
    host.route("198.18.0.0/15", hops=legs, protocol=12, priority=32)
    dark = [host.hop("up2", "192.0.2.2"), host.hop("up3", "192.0.3.2", flags=0x11)]  # dead linkdown
    host.route("198.51.100.0/24", hops=dark, protocol=12, priority=32)
    host.route("default", type="unreachable", priority=4278198272)
    host.route("20.7.7.0/24", via="192.0.2.2", dev="up2", protocol=4)  # somebody prefers the other way for it
    own = BirdRoute(net="203.0.113.0/24", protocol="static1", best=True)
    learnt = BirdRoute(net="20.0.0.0/16", protocol="up1", best=True, via=("192.0.1.2",), dev=("up1",))
    default = BirdRoute(net="0.0.0.0/0", protocol="up1", best=True, via=("192.0.1.2",), dev=("up1",))
    host.protocol("static1", "Static").protocol("kernel4", "Kernel", channels=(channel(exported=121),))
    host.bgp("up1", neighbor_address="192.0.1.2", neighbor_as=64600, session="external AS4")
    host.bgp("ix_a", neighbor_address="192.0.2.3", neighbor_as=64700, session="external AS4")
    host.bgp("ix_b", neighbor_address="192.0.2.4", neighbor_as=64700, session="external AS4")
    host.bgp("cust1", neighbor_address="192.0.2.5", neighbor_as=65550, session="external AS4")
    victim = _blackhole("203.0.113.66/32")  # given up: the upstream is asked to drop what comes for it
    host.route("203.0.113.66/32", type="blackhole", protocol=12, priority=32)
    host.exports("up1", routes=(own, victim), rtbh=("203.0.113.66/32",)).exports("ix_a", routes=(own, learnt)).exports(
        "ix_b", routes=(own, learnt)
    )
    host.exports("cust1", routes=(own, default))
    host.nexthop(7, oif="up1", gateway="192.0.1.2", family="inet").nexthop(8, oif="up2", gateway="192.0.2.2")
    noise = ("TcpExt.IPReversePathFilter", "rt_cache.in_martian_src", "Ip.InNoRoutes", "Icmp.OutRateLimitGlobal")
    noise = (*noise, "Ip.FragFails", "Icmp.OutDestUnreachs", "Ip.ReasmFails", "Udp.NoPorts")
    before = {"snmp": dict.fromkeys(noise, 100) | {"Ip.InReceives": 0, "Ip.ReasmReqds": 0}}
    after = {"snmp": dict.fromkeys(noise, 103) | {"Ip.InReceives": 90_000, "Ip.ReasmReqds": 4000, "Ip.ReasmOKs": 0}}
    return host.counters(before=before, after=after).build()


def router_on_advertisements() -> Tables:
    """A small office's router: networkd reads the advertisements of two routers for it, IPv6 has two equal ways out,
    temporary names in resolv.conf, a management card without IPv6 and one whose forwarding is off on purpose."""
    host = forwarding(HostBuilder())
    host.link("eth0", inet_conf=FORWARDS, inet6_conf={"forwarding": 1, "accept_ra": 0})
    host.address("eth0", "192.0.2.10/24").address("eth0", "2001:db8:1::10/64").address("eth0", "fe80::10/64")
    host.route("default", via="192.0.2.1", dev="eth0", protocol=16, priority=100).neighbour("192.0.2.1", dev="eth0")
    ways = [host.hop("eth0", "fe80::1"), host.hop("eth0", "fe80::2")]
    host.route("default", family="inet6", hops=ways, protocol=9, priority=1024, expires=1700)
    for gateway in ("fe80::1", "fe80::2"):
        host.neighbour(gateway, dev="eth0", flags=0x80)
    host.link("lan0", inet_conf=FORWARDS).address("lan0", "10.0.0.1/24").address("lan0", "2001:db8:2::1/64")
    host.link("mgmt0", inet_conf={"forwarding": 0}, inet6_conf={"disable_ipv6": 1}).address("mgmt0", "10.9.0.5/24")
    host.resolver("192.0.2.53", "2001:db8:53::53", search=tuple(f"s{n}.example.net" for n in range(7)))
    host.rule(5000, src="10.0.0.0", src_len=24, table=300)
    host.route("10.66.0.0/16", type="blackhole", table=300)  # a list of what the LAN may not reach
    return host.build()


def policy_box() -> Tables:
    """Policy routing of many hands: a VRF, the local table moved down, placeholders of strongSwan, a table that one
    family alone leads to, a table of refusals, a kill switch, and a look-up of main without its default route."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.address("eth0", "2001:db8:1::10/64").route("default", via="2001:db8:1::1", dev="eth0")
    host.neighbour("2001:db8:1::1", dev="eth0", flags=0x80)
    host.link("blue", kind="vrf", info={"table": 10}, flags=0x10441).link("cust0", master="blue", inet_conf=FORWARDS)
    host.route("10.1.0.0/24", dev="cust0", table=10, scope=253, protocol=2, prefsrc="10.1.0.1")
    host.route("10.1.0.1/32", dev="cust0", table=10, type="local", scope=254, protocol=2)
    host.without_rule(0).rule(100, table=255, protocol=2)
    host.rule(1000, l3mdev=True, table=0)
    host.rule(220, table=220).rule(3000, table=254, suppress_prefixlength=0)
    host.rule(4000, src="192.0.2.0", src_len=24, table=200)
    host.route("default", via="192.0.2.1", dev="eth0", table=200)
    host.route("10.88.0.0/16", type="blackhole", table=400).route("10.89.0.0/16", type="throw", table=400)
    host.rule(5000, family="inet6", src="2001:db8:1::", src_len=64, table=500)
    host.route("default", via="2001:db8:1::1", dev="eth0", table=500)
    host.rule(6000, fwmark=0x80000, fwmask=0xFF0000, table=254)
    host.rule(6010, fwmark=0x80000, fwmask=0xFF0000, action="unreachable", table=0)
    return host.sysctl("net.ipv6.route.max_size", 2147483647).build()


HOSTS: tuple[Callable[[], Tables], ...] = (
    anycast_networks,
    transit_router,
    router_on_advertisements,
    policy_box,
)
