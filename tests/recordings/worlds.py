"""The hosts whose recordings are kept in fixtures/hosts, one function each: the docstring is its line in the README.

Each builds a lab, and returns the host that is recorded. ``python -m tests.recordings`` makes the recordings anew.
"""

from collections.abc import Callable

from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair


def fra_edge1(lab: Lab) -> Host:
    """An anycast edge in good health: two uplinks, ECMP over them, service addresses on lo, blackhole aggregates."""
    edge = lab.host("fra-edge1", sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})
    for number in (1, 2):
        upstream = lab.host(f"upstream{number}")
        lab.link(
            edge,
            f"up{number}",
            upstream,
            "eth0",
            a_addresses=[f"198.51.100.{number * 4 + 1}/30", f"2001:db8:{number}::1/64"],
            b_addresses=[f"198.51.100.{number * 4 + 2}/30", f"2001:db8:{number}::2/64"],
        )
    edge.ip(
        "addr add 203.0.113.7/32 dev lo\naddr add 203.0.113.8/32 dev lo\naddr add 2001:db8:ffff::7/128 dev lo\n"
        "nexthop add id 1 via 198.51.100.6 dev up1\nnexthop add id 2 via 198.51.100.10 dev up2\n"
        "nexthop add id 10 group 1/2\n"
        "route add default nhid 10 proto static metric 32\n"
        "route add blackhole 203.0.113.0/24 proto static\n"
        "route add default proto static metric 32 nexthop via 2001:db8:1::2 dev up1 nexthop via 2001:db8:2::2 dev up2"
    )
    for dst in ("198.51.100.6", "198.51.100.10", "2001:db8:1::2", "2001:db8:2::2"):
        edge.run("ping", "-c1", "-W1", dst)
    return edge


def ams_worker2(lab: Lab) -> Host:
    """A worker in good health: two microVMs behind veths with /32 routes, a warm-pool tap, a mesh of two over wg0."""
    worker = lab.host("ams-worker2", sysctls={"net.ipv4.ip_forward": "1"})
    peer = lab.host("ams-worker3")
    lab.link(worker, "eth0", peer, "eth0", a_addresses="192.0.2.12/24", b_addresses="192.0.2.13/24")
    worker.ip("route add default via 192.0.2.13 dev eth0")
    for number in (1, 2):
        guest = lab.host(f"vm{number}")
        lab.link(
            worker, f"tap{number}", guest, "eth0", a_addresses="172.16.0.1/32", b_addresses=f"172.16.0.{number + 1}/32"
        )
        worker.ip(f"route add 172.16.0.{number + 1}/32 dev tap{number}")
        guest.ip("route add 172.16.0.1/32 dev eth0\nroute add default via 172.16.0.1")
        guest.run("ping", "-c1", "-W1", "172.16.0.1")
    worker.ip("tuntap add dev warm0 mode tap")
    own, own_public = key_pair(worker)
    other, other_public = key_pair(peer)
    lab.wireguard(
        worker,
        "wg0",
        own,
        51820,
        [Peer(public_key=other_public, allowed_ips=["10.64.0.3/32"], endpoint="192.0.2.13:51820")],
    )
    lab.wireguard(
        peer,
        "wg0",
        other,
        51820,
        [Peer(public_key=own_public, allowed_ips=["10.64.0.2/32"], endpoint="192.0.2.12:51820")],
    )
    worker.ip("addr add 10.64.0.2/24 dev wg0\nlink set dev wg0 mtu 1420 up")
    peer.ip("addr add 10.64.0.3/24 dev wg0\nlink set dev wg0 mtu 1420 up")
    worker.run("ping", "-c1", "-W3", "10.64.0.3")
    return worker


def fra_gateway1(lab: Lab) -> Host:
    """A gateway broken twice: an uplink raised to jumbo frames on one end only, and a default gateway that is gone."""
    gateway = lab.host("fra-gateway1", sysctls={"net.ipv4.ip_forward": "1"})
    switch = lab.host("switch")
    lab.link(gateway, "eth0", switch, "p1", a_addresses="192.0.2.10/24", b_addresses="192.0.2.1/24")
    gateway.ip("link set dev eth0 mtu 9000\nroute add default via 192.0.2.254 dev eth0")
    gateway.run("ping", "-c1", "-W1", "198.51.100.1", check=False)
    lab.wait(lambda: "FAILED" in gateway.run("ip", "neigh").stdout, 6, "the gateway is given up")
    return gateway


def sin_router3(lab: Lab) -> Host:
    """A router with a rule for a table that lost its routes, and an IPv6 address that somebody else holds."""
    router = lab.host(
        "sin-router3", dad=True, sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    )
    other = lab.host("squatter", dad=True)
    lab.link(router, "eth0", other, "eth0", a_addresses="192.0.2.3/24", b_addresses=["192.0.2.4/24", "2001:db8::3/64"])
    lab.wait(lambda: "tentative" not in other.run("ip", "-6", "addr").stdout, 6, "the squatter has its address")
    router.ip(
        "addr add 2001:db8::3/64 dev eth0\nroute add default via 192.0.2.4\nrule add pref 100 fwmark 0x1 lookup 100"
    )
    lab.wait(lambda: "dadfailed" in router.run("ip", "-6", "addr").stdout, 6, "duplicate address detection failed")
    return router


def hkg_odd4(lab: Lab) -> Host:
    """A healthy host with names that were chosen to hurt: escape sequences, quotes, a leading dash, raw bytes."""
    odd = lab.host("hkg-odd4")
    for name in (b"a\x1b[31mred", b"`id`;|$(id)", b"-rf", b"\xff\xfe\x80", "\u202egnp".encode(), b"'\"="):
        odd.call(lambda name=name: _add_bridge(name))
    return odd


def _add_bridge(name: bytes) -> None:
    """A bridge whose name is any bytes: argv takes what no batch file can."""
    import subprocess

    subprocess.run([b"ip", b"link", b"add", b"name", name, b"type", b"bridge"], check=True)


WORLDS: dict[str, Callable[[Lab], Host]] = {
    build.__name__.replace("_", "-"): build for build in (fra_edge1, ams_worker2, fra_gateway1, sin_router3, hkg_odd4)
}
