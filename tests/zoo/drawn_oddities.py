"""Small hosts drawn as tables, each for one or two near misses that go with nothing else; see drawn.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.model.bird import BirdRoute
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.host import Daemon
from netdiag.model.neighbour import NTF_EXT_LEARNED
from netdiag.model.nft import NftElement, NftExpression, NftSet
from netdiag.model.snapshot import Tables
from netdiag.model.sysctl import SysctlLine, Sysctls
from netdiag.model.tc import Qdisc, QueueStats, Tc, TcCounters
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_bpf import program, tc, tcx
from netdiag.rules.build_nft import chain, oifname, plain, rule, saddr, same, table, verdict
from tests.zoo.drawn import FORWARDS, Whole, forwarding, uplink

ROOT = 0xFFFFFFFF
IFA_F_DEPRECATED, IFA_F_PERMANENT = 0x20, 0x80


def standby_pair() -> Tables:
    """One of two with a service address that is deprecated, so that nothing takes it for its source."""
    host = HostBuilder().sysctl("net.ipv6.ip_nonlocal_bind", 1).sysctl("net.ipv4.ip_nonlocal_bind", 1)
    uplink(host)
    host.address("eth0", "2001:db8:1::10/64").route("default", via="fe80::1", dev="eth0")
    host.neighbour("fe80::1", dev="eth0", flags=0x80)
    faded = {"flags": IFA_F_PERMANENT | IFA_F_DEPRECATED, "preferred_lft": 0}
    return host.address("eth0", "2001:db8:53::1/128", **faded).build()


def private_mesh_member() -> Tables:
    """A machine of a private mesh: unique local addresses alone, everything else through the tunnel."""
    host = Whole()
    uplink(host)
    host.wireguard("wg0", mtu=1420).address("wg0", "fdaa:0:1::2/112")
    host.route("fdaa::/16", dev="wg0")
    host.wg_peer("wg0", "a", age=30.0, endpoint="198.51.100.1", allowed_ips=("fdaa::/16",), rx_bytes=9, tx_bytes=9)
    return host.build()


def public_mesh_member() -> Tables:
    """A member of a mesh with a public address: nobody translates, no keepalive is needed, and sources that no route
    leads back to are dropped on purpose."""
    host = Whole()
    uplink(host, "8.8.4.4/24", "8.8.4.1")
    host.wireguard("wg0", mtu=1420).address("wg0", "10.64.0.2/24")
    host.wg_peer("wg0", "a", age=5000.0, endpoint="1.2.3.4", allowed_ips=("10.64.0.3/32",), rx_bytes=9, tx_bytes=9)
    found = NftExpression(name="fib", key="oif", flags=("saddr", "iif", "present"), dreg=0)
    unknown = rule((found, same("00")), verdict("drop"))
    host.nft(table(chain("pre", unknown, hook="prerouting", priority="raw"), name="urpf"))
    return host.build()


def clock_set_since() -> Tables:
    """A machine without a battery: its clock was years behind at boot, and a handshake is from then."""
    host = Whole()
    uplink(host)
    host.wireguard("wg0", mtu=1420).address("wg0", "10.64.0.2/24")
    member: dict[str, Any] = {
        "endpoint": "198.51.100.1",
        "allowed_ips": ("10.64.0.3/32",),
        "rx_bytes": 9,
        "tx_bytes": 9,
    }
    host.wg_peer("wg0", "a", age=90_000_000.0, persistent_keepalive=25, **member)
    return host.second_look("wg0", "a", rx=148, tx=148, age=0.5).build()


def tap_made_just_now() -> Tables:
    """Eleven guests whose taps have a program each; the eleventh came between the two looks."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS).bpf(programs=[program(1, "worker_in")])
    for number in range(11):
        host.tap(f"tap{number}", inet_conf=FORWARDS).route(f"10.1.0.{number + 2}/32", dev=f"tap{number}")
    for number in range(1, 11):
        tc(host, f"tap{number}", 1)
    before = tuple(host.link_counters(f"tap{number}") for number in range(1, 11))
    after = (*before, host.link_counters("tap0"))
    return host.counters(before={"links": before}, after={"links": after}).build()


def veth_made_anew() -> Tables:
    """A container was started again between the looks: its cable has a new number."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.link("veth1", kind="veth", inet_conf=FORWARDS).address("veth1", "10.77.0.1/30")
    host.namespace(100, netnsid=0, processes=1).peer("veth1", netnsid=0)
    moves: dict[str, Any] = {"carrier_up_count": 9, "carrier_down_count": 8}
    old = msgspec.structs.replace(host.link_counters("veth1", **moves), ifindex=77)
    new = host.link_counters("veth1", carrier_up_count=1, carrier_down_count=0)
    return host.counters(before={"links": (old,)}, after={"links": (new,)}).build()


def two_segments() -> Tables:
    """A router between a jumbo segment and an ordinary one, and a cable to a stopped container that would take more."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.link("eth1", mtu=9000, inet_conf=FORWARDS).address("eth1", "10.20.0.1/24")
    host.link("veth1", kind="veth", inet_conf=FORWARDS, carrier=False).address("veth1", "10.77.0.1/30")
    host.namespace(100, netnsid=0, processes=1)
    return host.peer("veth1", netnsid=0, mtu=9000, flags=0x1002, operstate="down").build()


def card_of_a_router() -> Tables:
    """A router's card: no LRO, a shaper that makes packets wait, a queue that tells senders to slow down, somebody who
    captures; a tunnel whose route says how large segments may be."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS, flags=0x11143, qdisc="htb", promiscuity=1)
    host.link("lan0", inet_conf=FORWARDS, qdisc="fq_codel").address("lan0", "10.0.0.1/24")
    host.link("wg0", kind="wireguard", type=65534, flags=0x100D1, mtu=1420, inet_conf=FORWARDS)
    host.address("wg0", "10.64.0.1/32").route("10.65.0.0/16", dev="wg0", metrics={"advmss": 1380})
    host.link("vx0", kind="vxlan", mtu=1450, link="eth0", inet_conf=FORWARDS, info={"id": 7, "group": "239.1.1.1"})
    host.socket(src="0.0.0.0", family=17, protocol=0, sport=3, state=7, comm="tcpdump", dev="eth0")
    queues = [("eth0", "htb", 0x10000, 0, 900), ("lan0", "fq_codel", 0x20000, 0, 0)]
    first = tuple(
        Qdisc(ifindex=host.ifindex(name), kind=kind, handle=handle, parent=ROOT, options={"default": "0x10"})
        for name, kind, handle, _, _ in queues
    )
    second = tuple(
        TcCounters(
            ifindex=row.ifindex,
            kind=row.kind,
            handle=row.handle,
            parent=ROOT,
            stats=QueueStats(packets=9000, overlimits=900, drops=12 if row.kind == "fq_codel" else 0),
        )
        for row in first
    )
    device = EthtoolDevice(
        ifindex=host.ifindex("eth0"), ifname="eth0", driver="i40e", bus_info="0000:3b:00.0", link=True, speed=10000,
        features=(0,), features_hw=(7,), features_wanted=(0,), features_fixed=(0,),
    )  # fmt: skip
    names = ("rx-lro", "rx-gro-hw", "rx-udp-gro-forwarding")
    cards = Ethtool(devices=(device,), feature_names=names)
    return replace(host.build(), qdiscs=Tc(qdiscs=first, second=second, seconds=1.0), ethtool=cards)


def full_neighbour_table() -> Tables:
    """A node with as many neighbours as the table takes: written down or told by a daemon, which the kernel does not
    count, and thousands more of other namespaces in the total."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.link("vx0", kind="vxlan", mtu=1450, link="eth0", inet_conf=FORWARDS, info={"id": 7, "port": 4789})
    host.address("vx0", "10.42.0.0/32")
    for number in range(1020):
        flags = NTF_EXT_LEARNED if number % 2 else 0
        address = f"10.50.{number // 250}.{number % 250 + 1}"
        host.neighbour(address, dev="vx0", state="permanent" if not flags else "reachable", flags=flags)
    table_: dict[str, Any] = {"thresh1": 128, "thresh2": 512, "thresh3": 1024, "table_fulls": 7}
    host.neigh_table(entries=4000, **table_)
    return host.build()


def ndp_by_daemon() -> Tables:
    """Guests inside the prefix of the card, for whom ndppd answers."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS, inet6_conf={"forwarding": 1, "proxy_ndp": 1})
    host.address("eth0", "2001:db8:1::10/64").route("default", via="fe80::1", dev="eth0")
    host.neighbour("fe80::1", dev="eth0", flags=0x80)
    for number in (5, 6):
        host.tap(f"tap{number - 5}", inet_conf=FORWARDS, inet6_conf={"forwarding": 1})
        host.route(f"2001:db8:1::{number}/128", dev=f"tap{number - 5}").route(
            f"10.1.0.{number}/32", dev=f"tap{number - 5}"
        )
    host.identity(daemons=(Daemon(name="ndppd", pid=9, age=900.0),))
    return host.build()


def scanned_router() -> Tables:
    """A router that scanners knock at: half connections of which nothing comes back, a short timeout where nothing is
    translated, a set of their addresses that forgets, few segments of its own."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.link("lan0", inet_conf=FORWARDS).address("lan0", "10.0.0.1/24")
    for number in range(25):
        source = f"198.51.100.{number + 1}"
        host.conntrack(6, f"{source} 4000 10.0.0.9 23", f"10.0.0.9 23 {source} 4000", status=0x8, tcp_state="syn_sent")
    settings = {"tcp_timeout_established": 3600, "tcp_be_liberal": 0, "helper": 0}
    counts = {"invalid": 100, "insert_failed": 0, "drop": 0}
    host.conntrack_state(count=25, at=1.0, second_at=2.0, first=counts, second=counts, settings=settings)
    seen = tuple(NftElement(key=f"c63364{number:02x}") for number in range(3))
    one = NftSet(name="seen", handle=1, flags=("dynamic", "timeout"), size=3, key_len=4, elements=seen)
    knock = chain("input", rule(plain("dynset", set="seen", op="add", sreg=0)), hook="input")
    host.nft(table(knock, sets=(one,), name="knocks"))
    told = {"Tcp.RetransSegs": 100, "Tcp.OutSegs": 9000}
    host.counters(before={"snmp": told}, after={"snmp": {"Tcp.RetransSegs": 109, "Tcp.OutSegs": 9040}})
    return host.build()


def asymmetric_router() -> Tables:
    """One of two routers that share the way: it sees half of each connection, calls much invalid and passes it all."""
    host = forwarding(HostBuilder())
    for name in ("all", "default"):
        host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    uplink(host, inet_conf=FORWARDS)
    host.link("lan0", inet_conf=FORWARDS).address("lan0", "10.0.0.1/24")
    host.conntrack(6, "10.0.0.9 4000 198.51.100.9 443", "198.51.100.9 443 10.0.0.9 4000", tcp_state="established")
    first = {"invalid": 100, "insert_failed": 0, "drop": 0}
    host.conntrack_state(count=9, at=1.0, second_at=2.0, first=first, second=first | {"invalid": 1000})
    return host.build()


def drift_of_daemons() -> Tables:
    """A host of Docker: forwarding is on though a file says off, and the settings that this resets are as it resets
    them."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    host.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    host.link("docker0", kind="bridge", carrier=False, inet_conf=FORWARDS).address("docker0", "172.17.0.1/16")
    made = host.build()
    files = (SysctlLine(name="net.ipv4.ip_forward", value="0", path="/etc/sysctl.d/10-local.conf"),)
    return replace(made, sysctls=Sysctls(values=made.sysctls.values, files=files))


def strict_by_card() -> Tables:
    """A strict filter on the card alone, one way everywhere, forged packets of strangers, a neighbour that is down."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS | {"rp_filter": 1})
    host.link("lan0", inet_conf=FORWARDS | {"rp_filter": 1}).address("lan0", "10.9.0.1/24")
    host.neighbour("10.9.0.9", dev="lan0", state="failed")
    told = {"TcpExt.IPReversePathFilter": 500, "rt_cache.in_martian_src": 7}
    later = told | {"TcpExt.IPReversePathFilter": 512}
    return host.counters(before={"snmp": told}, after={"snmp": later}).build()


def two_families_of_bird() -> Tables:
    """Static default routes beside BIRD's: metric 0 of IPv4 and 1024 of IPv6 are both the best, and the same way; a
    table that BIRD fills and nobody looks up."""
    host = forwarding(BirdHost())
    host.link("eth0", inet_conf=FORWARDS).address("eth0", "192.0.2.10/24").address("eth0", "2001:db8:1::10/64")
    for gateway, metric in (("192.0.2.1", 0), ("2001:db8:1::1", 1024)):
        host.neighbour(gateway, dev="eth0", flags=0x80 if ":" in gateway else 0)
        host.route("default", via=gateway, dev="eth0", protocol=4, priority=metric)
        host.route("default", via=gateway, dev="eth0", protocol=12, priority=metric + 1024)
    host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", protocol=12, priority=32)
    host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0", protocol=12, priority=32, table=600)
    host.daemon().protocol("kernel4", "Kernel", channels=(channel(exported=2),))
    return host.bgp("up1", channels=(channel(imported=2, exported=1),)).build()


def taps_that_wait() -> Tables:
    """Taps with a subnet each whose machines have not been started."""
    host = forwarding(HostBuilder())
    uplink(host, inet_conf=FORWARDS)
    for number in range(3):
        host.tap(f"tap{number}", holder=None, inet_conf=FORWARDS).address(f"tap{number}", f"10.3.0.{number * 4 + 1}/30")
    return host.build()


def vrf_alone() -> Tables:
    """Everything in a VRF: main holds a connected route and no rule leads to it."""
    host = HostBuilder().link("mgmt0").address("mgmt0", "10.9.0.5/24")
    host.link("blue", kind="vrf", info={"table": 10}, flags=0x10441).link("eth0", master="blue")
    row: dict[str, Any] = {"dev": "eth0", "table": 10, "protocol": 2}
    host.route("192.0.2.0/24", scope=253, prefsrc="192.0.2.10", **row)
    host.route("192.0.2.10/32", type="local", scope=254, **row)
    host.route("default", via="192.0.2.1", dev="eth0", table=10).neighbour("192.0.2.1", dev="eth0")
    return host.rule(1000, l3mdev=True, table=0).without_rule(32766).build()


def source_translated() -> Tables:
    """A private address as the source of everything, which a rule translates on the way out."""
    host = HostBuilder()
    host.link("eth0").address("eth0", "203.0.113.10/24").address("lo", "10.255.0.9/32")
    host.route("default", via="203.0.113.1", dev="eth0", prefsrc="10.255.0.9").neighbour("203.0.113.1", dev="eth0")
    hidden = rule(oifname("eth0"), saddr("10.0.0.0/8"), plain("masq"))
    return host.nft(table(chain("post", hidden, hook="postrouting", type="nat", priority="srcnat"), name="nat")).build()


def before_the_night() -> Tables:
    """A router with guests on the eve of an upgrade."""
    return _night(upgraded=False)


def after_the_night() -> Tables:
    """The same, upgraded: programs moved to tcx or were built anew, a guest and a tracer came, a daemon has a nexthop
    object of another number, the card another driver, BIRD was restarted without graceful restart and wants no route
    yet, peers that nothing points to were taken away."""
    return _night(upgraded=True)


def _night(*, upgraded: bool) -> Tables:
    host = forwarding(Whole())
    uplink(host, inet_conf=FORWARDS).link("eth1", inet_conf=FORWARDS).address("eth1", "10.9.0.1/24")
    host.wireguard("wg0", mtu=1420, inet_conf=FORWARDS).address("wg0", "10.64.0.1/24")
    for letter in "a" if upgraded else "ab":
        prefix = f"10.64.0.{ord(letter) - 90}/32"
        host.wg_peer("wg0", letter, age=30.0, endpoint="198.51.100.1", allowed_ips=(prefix,), rx_bytes=9, tx_bytes=9)
    for number in range(2 if upgraded else 1):
        host.tap(f"tap{number}", inet_conf=FORWARDS).route(f"10.1.0.{number + 5}/32", dev=f"tap{number}")
    programs = [program(1, "policy"), program(2, "meter", tag="bb" * 8), program(3, "meter", tag="cc" * 8)]
    programs.append(program(4, "watch", tag="dd" * 8, type="tracing"))
    host.bpf(programs=programs if upgraded else programs[:2])
    if upgraded:
        tcx(host, "eth0", 1)
        tc(host, "eth1", 3)
    else:
        tc(host, "eth0", 1)
        tc(host, "eth1", 2)
    for number in range(2 if upgraded else 1):
        tc(host, f"tap{number}", 1)
    group = 8 if upgraded else 7
    host.nexthop(group, oif="eth0", gateway="192.0.2.1", family="inet")
    host.route("10.77.0.0/16", via="192.0.2.1", dev="eth0", nh_id=group)
    kept: tuple[BirdRoute, ...] = ()
    for number in range(0 if upgraded else 4):
        host.route(f"20.{number}.0.0/16", via="192.0.2.1", dev="eth0", protocol=12, priority=32)
        kept = (*kept, BirdRoute(net=f"20.{number}.0.0/16", protocol="up1", best=True))
    host.daemon().protocol("kernel4", "Kernel", channels=(channel(exported=len(kept)),))
    host.bgp("up1", since="11:59:58.000").exports("kernel4", routes=kept)
    device = EthtoolDevice(
        ifindex=host.ifindex("eth0"), ifname="eth0", driver="ice" if upgraded else "ixgbe", bus_info="0000:3b:00.0",
        link=True, features=(0,) if upgraded else (1,), features_hw=(1,), features_wanted=(1,), features_fixed=(0,),
    )  # fmt: skip
    cards = Ethtool(devices=(device,), feature_names=("tx-tcp-segmentation",))
    return replace(host.build(), ethtool=cards)


BEFORE: dict[str, Callable[[], Tables]] = {"after_the_night": before_the_night}
"""Hosts that are compared with an earlier state of theirs."""
HOSTS: tuple[Callable[[], Tables], ...] = (
    standby_pair,
    private_mesh_member,
    public_mesh_member,
    clock_set_since,
    tap_made_just_now,
    veth_made_anew,
    two_segments,
    card_of_a_router,
    full_neighbour_table,
    ndp_by_daemon,
    scanned_router,
    asymmetric_router,
    drift_of_daemons,
    strict_by_card,
    two_families_of_bird,
    taps_that_wait,
    vrf_alone,
    source_translated,
    before_the_night,
    after_the_night,
)
