"""Workers, containers and servers: taps, bridges, eBPF, unusual but sound settings."""

import fcntl
import os
import struct
import time
from pathlib import Path

from tests.drills.bpfworld import program, tc, two_cables
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make
from tests.zoo import ping

FORWARDING = {"net.ipv4.ip_forward": "1"}
TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0001, 0x0002, 0x1000  # linux/if_tun.h


def hold_tap(host: Host, ifname: str) -> int:
    """A process inside that has a tap open, as a VMM does; it ends with its host."""
    return _hold(host, ifname, IFF_TAP, "firecracker")


def hold_tun(host: Host, ifname: str) -> int:
    """A process inside that has a tun open, as a VPN's daemon does; it ends with its host."""
    return _hold(host, ifname, IFF_TUN, "vpn")


def _hold(host: Host, ifname: str, kind: int, name: str) -> int:
    ready, writer = os.pipe()

    def work() -> None:
        Path("/proc/self/comm").write_text(name)
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", ifname.encode(), kind | IFF_NO_PI))
        os.write(writer, b"!")
        while True:  # read what the host sends, as the far end would
            os.read(fd, 65536)

    pid = host.fork(work)
    os.close(writer)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    return pid


def _uplink(lab: Lab, host: Host) -> None:
    gateway = lab.host("gateway")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.10/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1")
    ping(host, "192.0.2.1")


def idle_docker0(lab: Lab) -> Host:
    """Docker without a container: a bridge with an address and no port, its NAT rule, forwarding on."""
    host = lab.host("fra-app2", sysctls=FORWARDING)
    _uplink(lab, host)
    host.ip("link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\nlink set docker0 up")
    lab.nft(
        host,
        "table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; "
        'oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }; };\n'
        "table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; "
        'oifname "docker0" ct state related,established accept; iifname "docker0" accept; }; }',
    )
    return host


def docker_with_containers(lab: Lab) -> Host:
    """Docker at work: a bridge with two containers on veths, masquerade, forward policy drop with its accepts."""
    host = lab.host("fra-app3", sysctls=FORWARDING)
    _uplink(lab, host)
    host.ip("link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\nlink set docker0 up")
    for number in (2, 3):
        container = lab.host(f"container{number}")
        lab.link(host, f"veth{number}", container, "eth0", b_addresses=f"172.17.0.{number}/16")
        host.ip(f"link set veth{number} master docker0")
        container.ip("route add default via 172.17.0.1")
    lab.nft(
        host,
        "table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; "
        'oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }\n'
        "chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; "
        'iifname "eth0" tcp dport 8080 dnat to 172.17.0.2:80; }; };\n'
        "table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; "
        'oifname "docker0" ct state related,established accept; iifname "docker0" accept; '
        'oifname "docker0" ip daddr 172.17.0.2 tcp dport 80 accept; }; }',
    )
    ping(lab.hosts["container2"], "192.0.2.1")
    ping(lab.hosts["container3"], "172.17.0.2")
    return host


def warm_pool_worker(lab: Lab) -> Host:
    """A worker: two microVMs whose VMM holds the tap, and a pool of persistent taps that wait for theirs."""
    host = lab.host("fra-worker2", sysctls=FORWARDING)
    _uplink(lab, host)
    for number in range(6):
        host.ip(f"tuntap add dev tap{number} mode tap\n")
        if number < 2:
            host.ip(f"address add 172.16.{number}.1/30 dev tap{number}")
            hold_tap(host, f"tap{number}")
            host.ip(f"link set tap{number} up")
            lab.wait(lambda number=number: host.running(f"tap{number}"), 3, "the tap runs")  # type: ignore[misc]
    return host


def one_address_many_namespaces(lab: Lab) -> Host:
    """Clones of one snapshot: every microVM has the same address behind a tap of the same name in its own namespace."""
    host = lab.host("fra-worker3", sysctls=FORWARDING)
    _uplink(lab, host)
    for number in range(3):
        host.sh(
            f"ip netns add vm{number}\nip -n vm{number} link set lo up\n"
            f"ip -n vm{number} tuntap add dev tap0 mode tap\nip -n vm{number} address add 172.16.0.1/30 dev tap0\n"
            f"ip link add v{number} type veth peer name eth0 netns vm{number}\n"
            f"ip address add 10.200.{number}.1/30 dev v{number}\nip link set v{number} up\n"
            f"ip -n vm{number} address add 10.200.{number}.2/30 dev eth0\nip -n vm{number} link set eth0 up\n"
            f"ip -n vm{number} route add default via 10.200.{number}.1"
        )
        lab.wait(lambda number=number: host.running(f"v{number}"), 3, "the cable is up")  # type: ignore[misc]
        ping(host, f"10.200.{number}.2")
    return host


def ipv6_only(lab: Lab) -> Host:
    """No IPv4 but loopback's: a default route by router advertisement, an address with a lifetime."""
    host, router = lab.host("sin-app1"), lab.host("router", sysctls={"net.ipv6.conf.all.forwarding": "1"})
    lab.link(host, "eth0", router, "eth0", b_addresses=["2001:db8:5::1/64", "fe80::1/64"])
    host.ip(
        "address add 2001:db8:5::10/64 dev eth0 valid_lft 86400 preferred_lft 14400\n"
        "route add default via fe80::1 dev eth0 proto ra metric 1024 expires 1800"
    )
    ping(host, "2001:db8:5::1")
    return host


def jumbo_throughout(lab: Lab) -> Host:
    """9000 bytes on the cable, on both ends, with a bridge and a vxlan that leave room for the header."""
    host, far = lab.host("ams-worker1", sysctls=FORWARDING), lab.host("far")
    addresses = "192.0.2.1/24", "192.0.2.2/24"
    lab.link(host, "eth0", far, "eth0", a_addresses=addresses[0], b_addresses=addresses[1], mtu=9000)
    host.ip(
        "route add default via 192.0.2.2\nlink add vx0 type vxlan id 7 dev eth0 dstport 4789 remote 192.0.2.2\n"
        "link set vx0 mtu 8950 up\nlink add br0 type bridge\nlink set br0 mtu 8950\nlink set vx0 master br0\n"
        "address add 10.30.0.1/24 dev br0\nlink set br0 up"
    )
    ping(host, "192.0.2.2")
    return host


def generic_xdp_on_tunnels(lab: Lab) -> Host:
    """XDP in generic mode on a tun and a tap, which have no other."""
    host = two_cables(lab)
    program(host, "guard", b"guard", make.XDP, 2)
    host.ip("tuntap add dev tun0 mode tun\ntuntap add dev tap0 mode tap")
    for ifname in ("tun0", "tap0"):
        host.run("ip", "link", "set", ifname, "xdpgeneric", "pinned", "/sys/fs/bpf/guard")
    ping(host, "192.0.2.2", "192.0.2.6")
    return host


def full_lru_map(lab: Lab) -> Host:
    """A flow table that is full by design: an LRU map with as many entries as it takes."""
    host = two_cables(lab)

    def work() -> None:
        lru = make.map_(make.LRU_HASH, b"flows", entries=500)
        for number in range(3000):
            make.update(lru, number.to_bytes(4, "little"), bytes(4))
        make.pin(make.program(make.SCHED_CLS, b"policy", verdict=-1, maps=[lru]), "policy")
        make.pin(lru, "flows")

    host.call(work)
    tc(host, "eth0", "policy", 1)
    tc(host, "eth1", "policy", 1)
    ping(host, "192.0.2.2", "192.0.2.6")
    return host


def canary_two_versions(lab: Lab) -> Host:
    """A canary: another build of the policy, under a name of its own, on one interface."""
    host = two_cables(lab)
    program(host, "v1", b"policy", verdict=-1)
    program(host, "v2", b"policy_canary", verdict=0)
    tc(host, "eth0", "v1", 1)
    tc(host, "eth1", "v2", 1)
    ping(host, "192.0.2.2", "192.0.2.6")
    return host


def dsr_real_server(lab: Lab) -> Host:
    """A real server behind a direct-return balancer: the service address on lo, silent in ARP."""
    host = lab.host("ams-app1")
    _uplink(lab, host)
    host.ip("address add 198.51.100.80/32 dev lo")
    host.sysctl({"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2})
    balancer = lab.hosts["gateway"]
    balancer.ip("route add 198.51.100.80/32 via 192.0.2.10")
    lab.listen_udp(host, "198.51.100.80", 5353)
    lab.send_udp(balancer, "198.51.100.80", 5353, count=3)
    return host


def minimal_container(lab: Lab) -> Host:
    """A container from inside: one veth, one default route, nothing else."""
    outside, inside = lab.host("host1", sysctls=FORWARDING), lab.host("container1")
    outside.ip("link add cni0 type bridge\naddress add 10.42.0.1/24 dev cni0\nlink set cni0 up")
    lab.link(outside, "veth1", inside, "eth0", b_addresses="10.42.0.5/24", mtu=1450)
    outside.ip("link set veth1 master cni0")
    inside.ip("route add default via 10.42.0.1")
    ping(inside, "10.42.0.1")
    return inside


def shaped_customer(lab: Lab) -> Host:
    """A customer's tap behind a shaper that drops by design only when it is asked for more; nobody asks."""
    host = lab.host("fra-worker4", sysctls=FORWARDING)
    _uplink(lab, host)
    host.sh("tc qdisc add dev eth0 root tbf rate 100mbit burst 64kb latency 50ms")
    return host


def busy_server(lab: Lab) -> Host:
    """A server at work: short TCP connections and datagrams come and go, some to ports where nobody listens."""
    host = lab.host("fra-app4")
    _uplink(lab, host)
    lab.listen_tcp(host, "0.0.0.0", 8080)
    lab.listen_udp(host, "0.0.0.0", 5000)
    started = time.monotonic()
    for _ in range(5):
        lab.send_tcp(lab.hosts["gateway"], "192.0.2.10", 8080)
    lab.send_tcp(lab.hosts["gateway"], "192.0.2.10", 8081)
    lab.send_udp(lab.hosts["gateway"], "192.0.2.10", 5000, count=20)
    lab.send_udp(lab.hosts["gateway"], "192.0.2.10", 5001, count=3)
    assert time.monotonic() - started < 10
    return host


ANIMALS = (
    idle_docker0,
    docker_with_containers,
    warm_pool_worker,
    one_address_many_namespaces,
    ipv6_only,
    jumbo_throughout,
    generic_xdp_on_tunnels,
    full_lru_map,
    canary_two_versions,
    dsr_real_server,
    minimal_container,
    shaped_customer,
    busy_server,
)
