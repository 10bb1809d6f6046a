"""WireGuard in its healthy varieties."""

from tests.drills.wireguardworld import Told, mesh, scripted
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair
from tests.zoo import ping


def _key(number: int) -> str:
    import base64

    return base64.b64encode(bytes([number]) * 31 + b"\x40").decode()


def full_mesh_idle_peers(lab: Lab) -> Host:
    """A full mesh of eight, by a scripted daemon: most peers idle for hours, two that never had a reason to talk."""
    host, far = lab.host("fra-worker1"), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("route add default via 192.0.2.2\ntuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up")
    host.ip("address add 10.64.0.1/24 dev wg0")
    ages: list[float | None] = [30.0, 100.0, 4000.0, 90000.0, 7200.0, None, None]
    peers = [
        Told(
            public_key=_key(number),
            age=age,
            endpoint=f"192.0.2.{number + 1}:51820",
            allowed_ips=[f"10.64.0.{number + 1}/32"],
            rx=0 if age is None else 5000,
            tx=0 if age is None else 5000,
        )
        for number, age in enumerate(ages, 1)
    ]
    scripted(host, "wg0", peers)
    ping(host, "192.0.2.2")
    return host


def just_in_time_gateway(lab: Lab) -> Host:
    """A gateway for customers: peers that come when they want, so none of them has an endpoint until it does."""
    host, far = lab.host("fra-gateway1", sysctls={"net.ipv4.ip_forward": "1"}), lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("route add default via 192.0.2.2\ntuntap add dev wg0 mode tun\nlink set dev wg0 mtu 1420 up")
    host.ip("address add fdaa::1/64 dev wg0\naddress add 10.65.0.1/16 dev wg0")
    peers = [
        Told(public_key=_key(n), age=None, endpoint=None, allowed_ips=[f"10.65.1.{n}/32", f"fdaa::1:{n:x}/128"])
        for n in range(1, 60)
    ]
    peers += [
        Told(
            public_key=_key(99),
            age=50,
            endpoint="198.51.100.7:40123",
            allowed_ips=["10.65.1.99/32"],
            rx=9000,
            tx=8000,
        )
    ]
    scripted(host, "wg0", peers)
    ping(host, "192.0.2.2")
    return host


def live_mesh(lab: Lab) -> Host:
    """Two hosts with a real userspace WireGuard between them, talking."""
    host, other = mesh(lab, keepalive=25)
    for end in (host, other):
        end.ip("link set dev wg0 mtu 1420")
    lab.wait(lambda: not host.run("ping", "-c1", "-W1", "10.9.0.2", check=False).returncode, 8, "the tunnel carries")
    return host


def wg_quick_fwmark(lab: Lab) -> Host:
    """wg-quick with AllowedIPs 0.0.0.0/0: fwmark 51820, table 51820, suppress_prefixlength 0, src_valid_mark."""
    host, server = lab.host("laptop1"), lab.host("server", sysctls={"net.ipv4.ip_forward": "1"})
    lab.link(host, "eth0", server, "eth0", a_addresses="192.0.2.9/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1")
    (own, own_public), (other, other_public) = key_pair(host), key_pair(server)
    everything = ["0.0.0.0/0", "::/0"]
    to_server = Peer(
        public_key=other_public, allowed_ips=everything, endpoint="192.0.2.1:51820", persistent_keepalive=25
    )
    lab.wireguard(server, "wg0", other, 51820, [Peer(public_key=own_public, allowed_ips=["10.8.0.2/32"])])
    lab.wireguard(host, "wg0", own, 0, [to_server])
    server.ip("address add 10.8.0.1/24 dev wg0\nlink set dev wg0 mtu 1420 up")
    host.ip("address add 10.8.0.2/32 dev wg0\nlink set dev wg0 mtu 1420 up")
    host.run("wg", "set", "wg0", "fwmark", "51820")
    host.ip(
        "route add default dev wg0 table 51820\nrule add not fwmark 51820 table 51820\n"
        "rule add table main suppress_prefixlength 0\n"
    )
    host.sh("ip -6 route add default dev wg0 table 51820; ip -6 rule add not fwmark 51820 table 51820")
    host.sh("ip -6 rule add table main suppress_prefixlength 0")
    host.sysctl({"net.ipv4.conf.all.src_valid_mark": 1})
    ping(host, "10.8.0.1")
    return host


ANIMALS = (full_mesh_idle_peers, just_in_time_gateway, live_mesh, wg_quick_fwmark)
