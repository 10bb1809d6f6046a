"""Tunnels, gateways and a machine that has just booted drawn as tables, full of near misses; see drawn.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netdiag.model.conntrack import IPS_SRC_NAT
from netdiag.model.host import Daemon, Manager, Networkd
from netdiag.model.intent import IntendedWireguard
from netdiag.model.snapshot import Tables
from netdiag.model.sockets import RouteListener, SocketOwner, SocketOwners
from netdiag.rules import bondlegs
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import (
    chain,
    in_set,
    mark,
    nat,
    oifname,
    plain,
    port_set,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from tests.zoo.drawn import FORWARDS, Whole, forwarding, uplink


def mesh_hub() -> Tables:
    """A hub of a mesh: most peers idle, one default route with single addresses beside it, an aggregate over them, one
    that roamed, one parked, some that never called; a port that a set opens, a mark that the firewall alone reads."""
    host = forwarding(Whole())
    uplink(host, inet_conf=FORWARDS)
    host.wireguard("wg0", fwmark=0x20, mtu=1420, inet_conf=FORWARDS).address("wg0", "10.64.0.1/32")
    host.route("10.64.0.0/16", dev="wg0", scope=253)
    host.wg_peer("wg0", "a", age=40.0, allowed_ips=("10.64.0.0/24",), endpoint="198.51.100.1", rx_bytes=9, tx_bytes=9)
    host.wg_peer("wg0", "b", age=90_000.0, allowed_ips=("10.64.1.2/32",), endpoint="198.51.100.2", rx_bytes=9)
    host.wg_peer("wg0", "c", age=7200.0, allowed_ips=("10.64.0.3/32",), endpoint="203.0.113.7", tx_bytes=9)
    host.wg_peer("wg0", "d", age=None, allowed_ips=(), endpoint=None)
    host.wg_peer("wg0", "e", age=None, allowed_ips=("10.64.0.5/32",), endpoint=None)
    host.wg_peer("wg0", "f", age=None, allowed_ips=("10.64.0.6/32",), endpoint="198.51.100.6", endpoint_port=51820)
    host.wg_peer("wg0", "g", age=7000.0, allowed_ips=("10.64.0.7/32",), endpoint="fd00:77::9")
    for letter in "abcf":
        host.second_look("wg0", letter, rx=200 if letter == "a" else 0, tx=200 if letter == "a" else 0)
    opens = rule(in_set(17, "ports"), verdict("accept"))
    marked = rule(mark(0x20), plain("counter"), verdict("accept"))
    host.nft(
        table(
            chain(
                "input", rule(state("established", "related"), verdict("accept")), opens, hook="input", policy="drop"
            ),
            chain("output", marked, hook="output"),
            sets=(port_set("ports", 22, 51820),),
        )
    )
    return host.build()


def customer_gateway() -> Tables:
    """A gateway for customers who come when they want: thousands of peers made for them, masquerade into a tunnel on
    purpose, a tunnel inside a tunnel, one without table, jumbo below, and conntrack that keeps sources of a pool."""
    host = forwarding(Whole())
    uplink(host, inet_conf=FORWARDS, mtu=9000)
    host.address("eth0", "203.0.113.40/32")
    host.wireguard("wg0", mtu=8900, inet_conf=FORWARDS).address("wg0", "10.65.0.1/16")
    for number in range(1200):
        prefix = f"10.65.{number // 50 + 1}.{number % 50 + 1}/32"
        peer: dict[str, Any] = {"age": None, "endpoint": None} if number % 3 else {"age": 50.0, "rx_bytes": 9}
        host.wg_peer("wg0", chr(0x100 + number), allowed_ips=(prefix,), **peer)
    host.wireguard("wg1", mtu=1340, listen_port=51821, inet_conf=FORWARDS).address("wg1", "10.66.0.2/24")
    host.wg_peer("wg1", "Z", age=20.0, endpoint="10.65.1.1", allowed_ips=("10.66.0.0/24",), rx_bytes=9, tx_bytes=9)
    host.wireguard("wg2", mtu=1420, listen_port=51822, inet_conf=FORWARDS).address("wg2", "10.67.0.1/32")
    host.wg_peer("wg2", "Y", age=30.0, endpoint="198.51.100.9", allowed_ips=("::/0", "0.0.0.0/0"), rx_bytes=9)
    host.route("10.67.9.0/24", dev="wg2", scope=253)
    inside = rule(oifname("wg1"), saddr("10.65.0.0/16"), plain("masq"))
    pool = rule(oifname("eth0"), saddr("10.65.0.0/16"), nat("snat", "203.0.113.41"))
    post = chain("post", inside, pool, hook="postrouting", type="nat", priority="srcnat")
    host.nft(table(post, name="nat", family="ip"))
    flow: dict[str, Any] = {"status": 0xE | IPS_SRC_NAT}
    host.conntrack(17, "10.65.1.1 4000 198.51.100.77 51820", "198.51.100.77 51820 203.0.113.41 4000", **flow)
    settings = {"tcp_timeout_established": 432000, "udp_timeout_stream": 120, "helper": 1}
    host.conntrack_state(count=900, max=65536, buckets=65536, settings=settings)
    host.sysctl("net.ipv4.tcp_keepalive_time", 7200)
    host.intend(wireguard=(IntendedWireguard(ifname="wg0"),))
    return host.build()


def tunnels_in_line() -> Tables:
    """Tunnels of different kinds, each as large as what lies below leaves it: a full tunnel by mark and rules, jumbo
    below a vxlan, 1440 over 1500 to IPv4 ends, a standby that is down beside its equal, one in another namespace, a
    clamp by eBPF, a path that is narrow indeed."""
    host = forwarding(Whole())
    uplink(host, inet_conf=FORWARDS, mtu=1500)
    host.link("eth1", mtu=9000, inet_conf=FORWARDS).address("eth1", "10.20.0.1/24").neighbour("10.20.0.2", dev="eth1")
    host.link("vx0", kind="vxlan", mtu=8950, link="eth1", info={"id": 7, "remote": "10.20.0.2", "port": 4789})
    host.address("vx0", "10.30.0.1/24")
    host.wireguard("wg4", mtu=1440, inet_conf=FORWARDS).address("wg4", "10.64.0.1/24")
    host.wg_peer("wg4", "a", age=30.0, endpoint="198.51.100.1", allowed_ips=("10.64.0.2/32",), rx_bytes=9, tx_bytes=9)
    host.wireguard("wg5", mtu=1420, listen_port=51821, inet_conf=FORWARDS).address("wg5", "10.65.0.1/24")
    host.wg_peer("wg5", "b", age=30.0, endpoint="198.51.100.2", allowed_ips=("10.65.0.2/32",), rx_bytes=9, tx_bytes=9)
    host.wireguard("wg6", mtu=1420, listen_port=51822, up=False)
    host.wg_peer("wg6", "c", age=None, endpoint="198.51.100.3", allowed_ips=("10.65.0.2/32",))
    host.wireguard("wg7", mtu=1420, listen_port=51820, userspace=True).elsewhere("wg7")
    host.wireguard("wg8", mtu=8900, listen_port=51828, inet_conf=FORWARDS).address("wg8", "10.68.0.1/24")
    host.wg_peer("wg8", "d", age=30.0, endpoint="10.20.0.2", allowed_ips=("10.68.0.2/32",), rx_bytes=9, tx_bytes=9)
    return host.build()


def full_tunnel() -> Tables:
    """A laptop whose everything goes by WireGuard: the mark keeps its own packets out, a strict filter knows of it."""
    host = Whole()
    uplink(host, inet_conf={"rp_filter": 1})
    host.sysctl("net.ipv4.conf.all.src_valid_mark", 1).sysctl("net.ipv4.conf.all.rp_filter", 1)
    host.wireguard("wg0", fwmark=51820, mtu=1420, userspace=True, listen_port=40000).address("wg0", "10.8.0.2/32")
    host.wg_peer("wg0", "s", age=30.0, endpoint="198.51.100.1", allowed_ips=("0.0.0.0/0",), rx_bytes=9, tx_bytes=9)
    host.route("default", dev="wg0", table=51820, scope=253)
    host.rule(32764, table=254, suppress_prefixlength=0)
    host.rule(32765, fwmark=51820, invert=True, table=51820)
    host.tap_holder("wg0", comm="wireguard-go")
    return host.build()


def just_booted() -> Tables:
    """A minute after boot: detection of an address runs, LACP has not been answered yet, the clock's daemon has just
    begun, the carrier came twice, BIRD waits for its neighbours, a sweep of the subnet is over, counters are high."""
    host = BirdHost()
    none: dict[str, Any] = {"aggregator": 1, "num_ports": 1, "partner_mac": bondlegs.NOBODY}
    info = {"mode": "802.3ad", "miimon": 100, "arp_interval": 0, "ad_info": none}
    uplink(host)
    host.link("bond0", kind="bond", info=info)
    for number in range(2):
        state_ = {"mii_status": "UP", "ad_aggregator_id": 1} | bondlegs.WAITING
        host.link(f"ens{number}", master="bond0", slave_kind="bond", slave_info=state_, qdisc="mq")
    host.address("bond0", "10.22.0.10/24")
    host.address("eth0", "2001:db8:1::10/64", flags=0x40)
    host.address("bond0", "2001:db8:2::10/64", flags=0x44)  # optimistic
    host.link("eth9", carrier=False).address("eth9", "2001:db8:9::1/64", flags=0x40)
    for number in range(20, 120):
        host.neighbour(f"192.0.2.{number}", dev="eth0", state="failed", updated=30.0)
    host.clock(state=5, status=0x40, maxerror=16.0, boottime=60.0, daemons=(Daemon(name="chronyd", pid=7, age=50.0),))
    daemon: dict[str, Any] = {"last_reboot": "2026-01-02 11:59:10.000", "recovery_channels": 1}
    host.daemon(recovery_left=190.0, recovery_wait=240.0, **daemon)
    host.bgp("up1", since="11:59:30.000").bgp_down(
        "calls", bgp_state="Passive", info="Passive", neighbor_address="192.0.2.9"
    )
    told = {"TcpExt.ListenOverflows": 40}
    host.bgp_down("gone", neighbor_graceful_restart=True, since="11:59:55.000", neighbor_address="192.0.2.12",
                  other={"Restart timer": "70.500/-"})  # fmt: skip
    host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", protocol=12, priority=32)
    moves = {"carrier_up_count": 2, "carrier_down_count": 1}
    host.counters(
        before={"snmp": told, "links": (host.link_counters("eth0", carrier_up_count=1, carrier_down_count=0),)},
        after={"snmp": told, "links": (host.link_counters("eth0", **moves),)},
    )
    listener = RouteListener(inode=9, portid=7, drops=50, later_drops=50)
    names = SocketOwners(
        owners=(SocketOwner(inode=9, pid=7, comm="bird"),), complete=True, route_listeners=(listener,), seconds=1.0
    )
    return replace(host.build(), socket_owners=names)


def networkd_kept_apart() -> Tables:
    """systemd-networkd beside a router's daemon: the kernel's own rules and its own routes, a card that it leaves
    alone, and rules of another on a host whose networkd keeps what others made."""
    host = forwarding(HostBuilder())
    host.link("eth0", inet_conf=FORWARDS).address("eth0", "192.0.2.10/24").neighbour("192.0.2.1", dev="eth0")
    host.route("default", via="192.0.2.1", dev="eth0", protocol=4)
    host.link("cust0", inet_conf=FORWARDS).address("cust0", "10.9.0.1/24")
    host.rule(1000, src="10.9.0.0", src_len=24, table=100, protocol=4)
    host.route("default", via="192.0.2.1", dev="eth0", table=100, protocol=4)
    mine = Networkd(manage_foreign_rules=False, source="/etc/systemd/networkd.conf", managed=(host.ifindex("eth0"),))
    host.identity(
        managers=(Manager(name="systemd-networkd", evidence="process systemd-network"),),
        networkd=mine,
        daemons=(Daemon(name="systemd-network", pid=9, age=900.0),),
    )
    return host.build()


HOSTS: tuple[Callable[[], Tables], ...] = (
    mesh_hub,
    customer_gateway,
    tunnels_in_line,
    full_tunnel,
    just_booted,
    networkd_kept_apart,
)
