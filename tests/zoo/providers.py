"""Hosts as providers run them: clouds, uplinks, standbys, policed customers, busy gateways and servers."""

import contextlib
import select
import socket

from tests.drills import bgp
from tests.drills.wireguardworld import Told, scripted
from tests.lab import Host, Lab
from tests.lab.taps import name_process
from tests.zoo import ping

FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
LOOSE = {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}
SESSION = "connect delay time 1; hold time 6; keepalive time 2;"


def _pinging(host: Host, address: str, *more: str) -> None:
    """Somebody who asks all the time, also between the two samples."""
    host.run("ping", "-c1", "-W2", *more, address)
    host.spawn("ping", "-q", "-i", "0.02", *more, address)


def _serve(host: Host, address: str, port: int, comm: str) -> None:
    """A server that answers each caller with a line and hangs up first, so that TIME_WAIT is on its side."""

    def listen() -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(128)
        return server

    def work() -> None:
        name_process(comm)
        server = listen()
        while True:
            caller = server.accept()[0]
            with caller, contextlib.suppress(OSError):
                caller.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    host.fork(work)


def _call(address: str, port: int) -> None:
    """One connection, read to its end; a refusal is an answer too."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 2) as caller:
        while caller.recv(4096):
            pass


def cloud_host_onlink(lab: Lab) -> Host:
    """A rented server: one /32 and one /64, both gateways outside its prefixes and told to be on the link."""
    host, gateway = lab.host("hel1-app1"), lab.host("gateway", sysctls=FORWARDING)
    theirs = ["172.31.1.1/32", "fe80::1/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=["203.0.113.9/32", "2001:db8:9::1/64"], b_addresses=theirs)
    host.ip(
        "route add 172.31.1.1 dev eth0 scope link\n"
        "route add default via 172.31.1.1 dev eth0 proto static onlink\n"
        "route add default via fe80::1 dev eth0 proto static metric 1024 onlink"
    )
    gateway.ip("route add 203.0.113.9 dev eth0\nroute add 2001:db8:9::/64 dev eth0")
    _pinging(host, "172.31.1.1")
    ping(host, "fe80::1%eth0")
    return host


def unnumbered_bgp(lab: Lab) -> Host:
    """BGP over link-local addresses: no IPv4 address on the cable, IPv4 routes by IPv6 next hops."""
    leaf, spine = (lab.host(name, sysctls=FORWARDING) for name in ("leaf1", "spine1"))
    lab.link(leaf, "swp1", spine, "swp1", a_addresses="fe80::a/64", b_addresses="fe80::b/64")
    for number, (host, own, near) in enumerate(((leaf, "fe80::a", "fe80::b"), (spine, "fe80::b", "fe80::a")), 1):
        host.ip(f"address add 10.255.0.{number}/32 dev lo\naddress add 2001:db8:255::{number}/128 dev lo")
        channels = " ".join(f"ipv{v} {{ import all; export all; {'extended next hop;' * (v == 4)} }};" for v in (4, 6))
        lab.birdd(
            host,
            f'router id 10.255.0.{number}; protocol device {{}} protocol direct {{ ipv4; ipv6; interface "lo"; }}'
            f"protocol kernel {{ ipv4 {{ export filter {{ if source = RTS_BGP then {{ krt_prefsrc = 10.255.0.{number}; "
            "accept; } reject; }; }; } protocol kernel { ipv6 { export where source = RTS_BGP; }; }"
            f"protocol bgp fabric1 {{ local {own} as 6500{number}; neighbor {near} as 6500{3 - number}; "
            f'interface "swp1"; {SESSION} {channels} }}',
        )
    lab.wait(lambda: bgp.established(leaf, 1) and "10.255.0.2" in leaf.run("ip", "route").stdout, 20, "it carries")
    lab.wait(lambda: "10.255.0.1" in spine.run("ip", "route").stdout, 10, "and back")
    _pinging(leaf, "10.255.0.2")
    return leaf


def bird_two_tables(lab: Lab) -> Host:
    """BIRD with a table for customers: a pipe between both, kernel table 100 and a rule for the customers' cable."""
    router, upstream, customer = (lab.host(name, sysctls=FORWARDING) for name in ("fra-router2", "upstream", "cust"))
    lab.link(router, "eth0", upstream, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(router, "cust0", customer, "eth0", a_addresses="10.9.0.1/24", b_addresses="10.9.0.2/24")
    router.ip("rule add pref 1000 iif cust0 lookup 100\nroute add default via 192.0.2.2")
    customer.ip("route add default via 10.9.0.1")
    upstream.ip("address add 198.51.100.1/32 dev lo\nroute add 10.9.0.0/24 via 192.0.2.1")
    lab.birdd(
        upstream,
        "router id 192.0.2.2; protocol device {} protocol static { ipv4; route 198.51.100.0/24 blackhole; }"
        f"protocol bgp down1 {{ local as 65002; neighbor 192.0.2.1 as 65001; {SESSION} "
        "ipv4 { import all; export all; }; }",
    )
    lab.birdd(
        router,
        "router id 192.0.2.1; ipv4 table customers; protocol device {}"
        "protocol direct { ipv4 { table customers; }; }"
        "protocol static { ipv4 { table customers; }; route 10.9.5.0/24 via 10.9.0.2; }"
        "protocol pipe both { table master4; peer table customers; import where net ~ 10.9.0.0/16; "
        "export where source = RTS_BGP; }"
        "protocol kernel { ipv4 { export where source ~ [ RTS_BGP, RTS_STATIC ]; }; }"
        "protocol kernel cust { kernel table 100; ipv4 { table customers; export all; }; }"
        f"protocol bgp up1 {{ local as 65001; neighbor 192.0.2.2 as 65002; {SESSION} "
        "ipv4 { import all; export where net ~ 10.9.0.0/16; }; }",
    )
    lab.wait(lambda: "198.51.100.0" in router.sh("ip route show table 100").stdout, 20, "routes in table 100")
    _pinging(customer, "198.51.100.1")
    return router


def rtbh_edge(lab: Lab) -> Host:
    """An edge under attack: one address given up, blackholed here and upstream (community 65535:666)."""
    edge, upstream = lab.host("ams-edge3", sysctls=FORWARDING), lab.host("upstream", sysctls=FORWARDING)
    lab.link(edge, "eth0", upstream, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    edge.ip("route add default via 192.0.2.2\naddress add 203.0.113.7/32 dev lo")
    upstream.ip("route add 203.0.113.0/24 via 192.0.2.1")
    lab.birdd(
        upstream,
        "router id 192.0.2.2; protocol device {} protocol static { ipv4; route 198.51.100.0/24 blackhole; }"
        f"protocol bgp down1 {{ local as 65002; neighbor 192.0.2.1 as 65001; {SESSION} "
        "ipv4 { import all; export where source = RTS_STATIC; }; }",
    )
    lab.birdd(
        edge,
        "router id 192.0.2.1; protocol device {} protocol kernel { ipv4 { export all; }; }"
        "protocol static aggregates { ipv4; route 203.0.113.0/24 blackhole; }"
        "protocol static given_up { ipv4 { import filter { bgp_community.add((65535, 666)); accept; }; };"
        " route 203.0.113.66/32 blackhole; route 203.0.113.67/32 blackhole; }"
        f"protocol bgp up1 {{ local as 65001; neighbor 192.0.2.2 as 65002; {SESSION} "
        "ipv4 { import all; export where source = RTS_STATIC; }; }",
    )
    lab.wait(lambda: bgp.established(edge, 1) and "198.51.100.0" in edge.run("ip", "route").stdout, 20, "routes")
    _pinging(upstream, "203.0.113.7")
    upstream.spawn("ping", "-q", "-i", "0.02", "203.0.113.66")  # the attack
    return edge


def busy_nat_gateway(lab: Lab) -> Host:
    """Masquerading at work: what conntrack calls invalid is dropped, forward drops what nobody accepted."""
    host, far, inner = lab.host("fra-nat1", sysctls=FORWARDING), lab.host("far"), lab.host("inner")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(host, "lan0", inner, "eth0", a_addresses="10.0.0.1/24", b_addresses="10.0.0.2/24")
    host.ip("route add default via 192.0.2.2")
    inner.ip("route add default via 10.0.0.1")
    lab.nft(
        host,
        "table inet fw { chain forward { type filter hook forward priority filter; policy drop; "
        "ct state invalid counter drop; ct state established,related accept; "
        'iifname "lan0" oifname "eth0" ct state new accept; counter comment "rest"; }\n'
        "chain input { type filter hook input priority filter; policy drop; ct state invalid drop; "
        'ct state established,related accept; iif "lo" accept; meta l4proto { icmp, ipv6-icmp } accept; '
        'iifname "lan0" accept; }\n'
        "chain postrouting { type nat hook postrouting priority srcnat; "
        'oifname "eth0" ip saddr 10.0.0.0/24 masquerade; }; }',
    )
    ping(host, "192.0.2.2")
    _pinging(inner, "192.0.2.2")
    _serve(far, "192.0.2.2", 80, "nginx")

    def browse() -> None:
        while not select.select([], [], [], 0.02)[0]:
            _call("192.0.2.2", 80)

    def stray() -> None:
        """Late segments of connections that nobody remembers: invalid, and rightly dropped."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        head = bytes.fromhex("0050 9c40 00000001 00000001 5014 0000 0000 0000")
        while not select.select([], [], [], 0.05)[0]:
            sender.sendto(head, ("192.0.2.1", 0))

    inner.fork(browse)
    far.fork(stray)
    return host


def nft_urpf_router(lab: Lab) -> Host:
    """Reverse path filtering by nftables (fib), nothing asymmetric, and a sender of forged sources who is stopped."""
    router = lab.host("ams-router2", sysctls=FORWARDING | LOOSE)
    north, south = lab.host("north"), lab.host("south")
    lab.link(router, "n0", north, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    lab.link(router, "s0", south, "eth0", a_addresses="10.2.0.1/24", b_addresses="10.2.0.2/24")
    router.ip("route add default via 10.1.0.2")
    south.ip("route add default via 10.2.0.1")
    north.ip("route add 10.0.0.0/8 via 10.1.0.1")
    lab.nft(
        router,
        "table inet urpf { chain pre { type filter hook prerouting priority raw; "
        "fib saddr . iif oif missing counter drop; }; }",
    )
    ping(router, "10.1.0.2", "10.2.0.2")
    _pinging(south, "10.1.0.2")
    south.ip("address add 198.51.100.200/32 dev lo")
    south.spawn("ping", "-q", "-i", "0.1", "-I", "198.51.100.200", "10.1.0.2")
    return router


def busy_web_server(lab: Lab) -> Host:
    """Hundreds of TIME_WAIT sockets, callers all the time, and scanners that knock at closed ports."""
    host, far = lab.host("fra-web1"), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("route add default via 192.0.2.2")
    _serve(host, "0.0.0.0", 80, "nginx")
    lab.wait(lambda: ":80" in host.run("ss", "-ltn").stdout, 5, "it listens")

    def callers() -> None:
        for _ in range(400):
            _call("192.0.2.1", 80)

    def busy() -> None:
        while not select.select([], [], [], 0.02)[0]:
            for port in (80, 23, 445, 3389):
                _call("192.0.2.1", port)

    far.call(callers)
    far.fork(busy)
    ping(host, "192.0.2.2")
    return host


def resolver_host(lab: Lab) -> Host:
    """A resolver: it listens on its own address and on 127.0.0.1, UDP and TCP, and asks itself."""
    host, client = lab.host("fra-dns1"), lab.host("client")
    lab.link(host, "eth0", client, "eth0", a_addresses="192.0.2.53/24", b_addresses="192.0.2.2/24")
    host.ip("route add default via 192.0.2.2")
    for address in ("192.0.2.53", "127.0.0.1"):
        lab.listen_udp(host, address, 53, echo=True)
        _serve(host, address, 53, "unbound")
    host.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
    lab.wait(lambda: host.run("ss", "-ltn").stdout.count(":53 ") == 2, 5, "it listens")
    _pinging(client, "192.0.2.53")
    return host


def warm_standby(lab: Lab) -> Host:
    """VRRP's backup: the service waits on an address that the master has, the virtual MAC's macvlan is bare."""
    host = lab.host("fra-lb2", sysctls={"net.ipv4.ip_nonlocal_bind": "1", "net.ipv6.ip_nonlocal_bind": "1"})
    master, switch = lab.host("master"), lab.switch()
    lab.plug(host, "eth0", switch, "192.0.2.12/24")
    lab.plug(master, "eth0", switch, ["192.0.2.11/24", "192.0.2.100/32"])
    host.ip(
        "route add default via 192.0.2.11\n"
        "link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private\nlink set vrrp.51 up"
    )
    host.sysctl({f"net/ipv4/conf/vrrp.51/{name}": value for name, value in (("arp_ignore", 1), ("rp_filter", 0))})
    _serve(host, "192.0.2.100", 80, "haproxy")
    lab.wait(lambda: "192.0.2.100:80" in host.run("ss", "-ltn").stdout, 5, "it waits")
    _pinging(host, "192.0.2.100")
    return host


def vrrp_master(lab: Lab) -> Host:
    """VRRP's master with a virtual MAC: one /32 on a macvlan, neighbours that ask for it there, the subnet below."""
    host, backup, switch = lab.host("fra-lb1"), lab.host("backup"), lab.switch()
    lab.plug(host, "eth0", switch, "192.0.2.12/24")
    lab.plug(backup, "eth0", switch, "192.0.2.1/24")
    host.ip(
        "route add default via 192.0.2.1\n"
        "link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private\nlink set vrrp.51 up\n"
        "address add 192.0.2.100/32 dev vrrp.51"
    )
    for ifname, name in (("vrrp.51", "arp_ignore"), ("eth0", "arp_ignore"), ("eth0", "arp_filter")):
        host.sysctl({f"net/ipv4/conf/{ifname}/{name}": 1})
    _serve(host, "192.0.2.100", 80, "haproxy")
    _pinging(backup, "192.0.2.100")
    return host


def pppoe_uplink(lab: Lab) -> Host:
    """A DSL router: 1492 bytes on a point-to-point uplink, WireGuard of 1412 over it, MSS clamped to the route."""
    host, far, inner = lab.host("home-router1", sysctls=FORWARDING), lab.host("bras"), lab.host("inner")
    lab.link(host, "ppp0", far, "eth0", b_addresses="198.51.100.1/32", mtu=1492)
    lab.link(host, "lan0", inner, "eth0", a_addresses="192.168.1.1/24", b_addresses="192.168.1.2/24")
    host.ip(
        "address add 203.0.113.9 peer 198.51.100.1/32 dev ppp0\nroute add default dev ppp0 scope link\n"
        "tuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1412 up\naddress add 10.64.0.1/24 dev wg0"
    )
    far.ip("route add 203.0.113.9 dev eth0")
    inner.ip("route add default via 192.168.1.1")
    key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUA="
    peer = Told(public_key=key, age=40.0, endpoint="198.51.100.1:51820", allowed_ips=["10.64.0.2/32"], rx=9000, tx=9000)
    scripted(host, "wg0", [peer])
    lab.nft(
        host,
        "table inet mangle { chain forward { type filter hook forward priority mangle; "
        "tcp flags syn / syn,rst tcp option maxseg size set rt mtu; }; };\n"
        "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; "
        'oifname "ppp0" masquerade; }; }',
    )
    ping(host, "198.51.100.1")
    _pinging(inner, "198.51.100.1", "-s", "1400")
    return host


def asymmetric_ecmp_edge(lab: Lab) -> Host:
    """Two uplinks with equal routes, filters off, nothing tracked: answers leave by either, questions come by one."""
    edge, far = lab.host("fra-edge4", sysctls=FORWARDING | LOOSE), lab.host("far", sysctls=LOOSE)
    edge.ip("address add 203.0.113.7/32 dev lo")
    far.ip("address add 198.18.0.1/32 dev lo\naddress add 198.18.0.2/32 dev lo\naddress add 198.18.0.3/32 dev lo")
    for number in (1, 2):
        up = lab.host(f"up{number}", sysctls=FORWARDING | LOOSE)
        near, beyond = f"10.{number}.0", f"10.{number}.1"
        lab.link(edge, f"up{number}", up, "eth0", a_addresses=f"{near}.1/24", b_addresses=f"{near}.2/24")
        lab.link(up, "eth1", far, f"eth{number}", a_addresses=f"{beyond}.1/24", b_addresses=f"{beyond}.2/24")
        up.ip(f"route add 203.0.113.7 via {near}.1\nroute add 198.18.0.0/15 via {beyond}.2")
        ping(edge, f"{near}.2")
    edge.ip("route add default nexthop via 10.1.0.2 dev up1 nexthop via 10.2.0.2 dev up2")
    edge.sysctl({"net.ipv4.fib_multipath_hash_policy": 1})
    far.ip("route add 203.0.113.7 via 10.1.1.1")
    for number in (1, 2, 3):
        _pinging(far, "203.0.113.7", "-I", f"198.18.0.{number}")
    return edge


def _customer(lab: Lab) -> Host:
    """A customer who asks for more than he bought."""
    host, customer, far = lab.host("fra-worker4", sysctls=FORWARDING), lab.host("customer"), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.link(host, "vm7", customer, "eth0", a_addresses="10.7.0.1/24", b_addresses="10.7.0.2/24")
    host.ip("route add default via 192.0.2.2")
    far.ip("route add 10.7.0.0/24 via 192.0.2.1")
    customer.ip("route add default via 10.7.0.1")
    ping(host, "192.0.2.2")
    _pinging(far, "10.7.0.2")

    def download() -> None:
        """Eighty full packets each twentieth of a second: eighteen megabits."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not select.select([], [], [], 0.05)[0]:
                for _ in range(80):
                    sender.sendto(bytes(1400), ("10.7.0.2", 4500))

    lab.listen_udp(customer, "10.7.0.2", 4500)
    far.fork(download)
    return host


def policed_customer(lab: Lab) -> Host:
    """A customer who bought ten megabits and asks for more: the bucket drops the rest, which is what it is for."""
    host = _customer(lab)
    host.run("tc", "qdisc", "add", "dev", "vm7", "root", "tbf", "rate", "10mbit", "burst", "10kb", "latency", "20ms")
    return host


def customer_with_classes(lab: Lab) -> Host:
    """The same by htb: the plain queue of the customer's class drops what is above the class's rate."""
    host = _customer(lab)
    host.sh(
        "tc qdisc add dev vm7 root handle 1: htb default 10\n"
        "tc class add dev vm7 parent 1: classid 1:10 htb rate 5mbit\n"
        "tc qdisc add dev vm7 parent 1:10 pfifo limit 50"
    )
    return host


ANIMALS = (
    cloud_host_onlink,
    unnumbered_bgp,
    bird_two_tables,
    rtbh_edge,
    busy_nat_gateway,
    nft_urpf_router,
    busy_web_server,
    resolver_host,
    warm_standby,
    vrrp_master,
    pppoe_uplink,
    asymmetric_ecmp_edge,
    policed_customer,
    customer_with_classes,
)
