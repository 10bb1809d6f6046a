"""Two hosts at work, with all that a host of their kind has: what the incidents break."""

from tests.drills import bgp
from tests.drills.bpfworld import program, tc
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair
from tests.zoo import ping
from tests.zoo.edges import FORWARDING
from tests.zoo.workers import hold_tap


def worker(lab: Lab) -> Host:
    """A worker with an uplink, a mesh of two, two guests behind veths, a policy program on each, and a firewall.

    gateway .1 --+
                 | br0 (switch) --- eth0 .10 worker --- tap1 --- vm1 172.16.0.2
    mate    .11 -+                       wg0            tap2 --- vm2 172.16.0.3
                                10.64.0.10 ))) ((( 10.64.0.11 mate
    """
    host = lab.host("fra-worker1", sysctls=FORWARDING)
    gateway, mate, switch = lab.host("gateway", sysctls=FORWARDING), lab.host("mate"), lab.switch("switch")
    for machine, last in ((gateway, 1), (host, 10), (mate, 11)):
        lab.plug(machine, "eth0", switch, [f"192.0.2.{last}/24", f"2001:db8::{last}/64"])
    gateway.ip("route add 172.16.0.0/24 via 192.0.2.10\naddress add 198.51.100.53/32 dev lo")
    for machine in (host, mate):
        machine.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    (own, own_public), (other, other_public) = key_pair(host), key_pair(mate)
    to_mate = Peer(
        public_key=other_public, allowed_ips=["10.64.0.11/32"], endpoint="192.0.2.11:51820", persistent_keepalive=15
    )
    to_host = Peer(public_key=own_public, allowed_ips=["10.64.0.10/32"], endpoint="192.0.2.10:51820")
    lab.wireguard(host, "wg0", own, 51820, [to_mate])
    lab.wireguard(mate, "wg0", other, 51820, [to_host])
    for machine, last in ((host, 10), (mate, 11)):
        machine.ip(f"address add 10.64.0.{last}/24 dev wg0\nlink set wg0 mtu 1420 up")
    host.ip("tuntap add dev tap0 mode tap\naddress add 172.16.1.1/30 dev tap0")
    hold_tap(host, "tap0")
    host.ip("link set tap0 up")
    host.sysctl({"net.ipv4.neigh.eth0.base_reachable_time_ms": 2000})
    for number in (1, 2):
        guest = lab.host(f"vm{number}")
        lab.link(host, f"tap{number}", guest, "eth0", a_addresses="172.16.0.1/32", b_addresses=f"172.16.0.{number + 1}")
        host.ip(f"route add 172.16.0.{number + 1}/32 dev tap{number}")
        guest.ip("route add 172.16.0.1 dev eth0\nroute add default via 172.16.0.1")
        program(host, f"policy{number}", b"policy", verdict=-1)
        tc(host, f"tap{number}", f"policy{number}", 1)
    lab.nft(
        host,
        "table inet guard { chain input { type filter hook input priority 0; policy accept; tcp dport 23 drop; }; }",
    )
    host.write("/etc/resolv.conf", "nameserver 198.51.100.53\n")
    carries = lambda: not host.run("ping", "-c1", "-W1", "10.64.0.11", check=False).returncode  # noqa: E731
    lab.wait(carries, 8, "the tunnel carries")
    ping(lab.hosts["vm1"], "192.0.2.1")
    ping(lab.hosts["vm2"], "192.0.2.1")
    ping(host, "2001:db8::1")
    return host


EDGE = """
router id 192.0.2.1;
protocol device {}
protocol kernel { ipv4 { export filter { if source = RTS_BGP then accept; reject; }; }; }
protocol static services { ipv4; route 203.0.113.0/24 blackhole; route 203.0.113.7/32 blackhole; }
template bgp upstream {
  local as 65001; connect delay time 1; connect retry time 2; error wait time 1, 2; hold time 6; keepalive time 2;
  ipv4 { import all; export where source = RTS_STATIC; };
}
protocol bgp up1 from upstream { neighbor 192.0.2.2 as 65002; }
protocol bgp up2 from upstream { neighbor 198.51.100.2 as 65003; }
"""


def far_conf(number: int, neighbour: str, asn: int, more: str = "") -> str:
    """Configuration of an upstream's BIRD."""
    return (
        f"router id 192.0.2.{100 + number}; protocol device {{}}\n"
        f"protocol static {{ ipv4; route 198.18.{number}.0/24 blackhole; route 198.19.0.0/16 blackhole; }}\n"
        f"protocol bgp customer {{ local as {asn}; neighbor {neighbour} as 65001; connect delay time 1; "
        f"connect retry time 2; error wait time 1, 2; hold time 6; keepalive time 2; {more} "
        "ipv4 { import all; export all; }; }\n"
    )


def edge(lab: Lab) -> Host:
    """An anycast edge with two upstreams, each a real BIRD: service addresses on lo, a default by each.

    upstream1 192.0.2.2    --- eth1 192.0.2.1    edge
    upstream2 198.51.100.2 --- eth2 198.51.100.1 edge
    """
    host = lab.host("fra-edge1", sysctls=FORWARDING)
    for number, prefix in ((1, "192.0.2"), (2, "198.51.100")):
        upstream = lab.host(f"upstream{number}", sysctls=FORWARDING)
        lab.link(host, f"eth{number}", upstream, "eth0", a_addresses=f"{prefix}.1/24", b_addresses=f"{prefix}.2/24")
        host.ip(f"route add default via {prefix}.2 metric {100 * number}")
        upstream.ip(f"route add 203.0.113.0/24 via {prefix}.1\naddress add 198.18.{number}.1/32 dev lo")
        lab.birdd(upstream, far_conf(number, f"{prefix}.1", 65001 + number))
    host.ip("address add 203.0.113.7/32 dev lo")
    host.sysctl({"net.ipv4.conf.all.rp_filter": 2})
    lab.birdd(host, EDGE)
    lab.wait(lambda: bgp.established(host, 2), 20, "both sessions stand")
    lab.wait(lambda: "198.19.0.0/16" in host.run("ip", "route").stdout, 10, "their routes are in the kernel")
    ping(host, "192.0.2.2", "198.51.100.2")
    return host


def over_tunnel(lab: Lab) -> Host:
    """An edge that speaks BGP with its mate through a WireGuard tunnel, and nothing else leads to the mate's guests.

    edge 192.0.2.10 --- 192.0.2.1 gateway 198.51.100.1 --- 198.51.100.11 mate
          10.64.0.10 ))) ((( 10.64.0.11
    """
    host, mate, gateway = (lab.host(name, sysctls=FORWARDING) for name in ("fra-edge1", "mate", "gateway"))
    ends = ((host, "192.0.2", 10, 81, "eth0"), (mate, "198.51.100", 11, 80, "eth1"))
    (own, own_public), (other, other_public) = key_pair(host), key_pair(mate)
    keys = ((own, other_public, "198.51.100.11", ["10.64.0.11/32", "10.80.0.0/16"]),)
    keys += ((other, own_public, "192.0.2.10", ["10.64.0.10/32", "10.81.0.0/16"]),)
    for (machine, net, last, _, port), (private, public, far, allowed) in zip(ends, keys, strict=True):
        lab.link(machine, "eth0", gateway, port, a_addresses=f"{net}.{last}/24", b_addresses=f"{net}.1/24")
        machine.ip(f"route add default via {net}.1")
        peer = Peer(public_key=public, allowed_ips=allowed, endpoint=f"{far}:51820", persistent_keepalive=5)
        lab.wireguard(machine, "wg0", private, 51820, [peer])
        machine.ip(f"address add 10.64.0.{last}/24 dev wg0\nlink set wg0 mtu 1420 up")
    for machine, _, last, guests, _ in ends:
        lab.birdd(
            machine,
            f"router id 10.64.0.{last}; protocol device {{}} protocol direct {{ ipv4; }}\n"
            "protocol kernel { ipv4 { export filter { if source = RTS_BGP then accept; reject; }; }; }\n"
            f"protocol static {{ ipv4; route 10.{guests}.0.0/16 blackhole; }}\n"
            f"protocol bgp mesh {{ local 10.64.0.{last} as 65001; neighbor 10.64.0.{21 - last} as 65001; connect delay "
            "time 1; connect retry time 2; error wait time 1, 2; hold time 3; keepalive time 1; "
            "ipv4 { import all; export where source = RTS_STATIC; }; }\n",
        )
    lab.wait(lambda: "10.80.0.0/16" in host.run("ip", "route").stdout, 20, "the mate's route came through the tunnel")
    return host
