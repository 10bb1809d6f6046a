"""A WireGuard MTU that an underlay, a route or an IPv6 endpoint leaves no room for; and MTUs that fit to the byte."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def healthy(lab: Lab) -> Host:
    """The default MTU of 1420 over 1500."""
    return mesh(lab)[0]


def full(lab: Lab) -> Host:
    """1440, which is all that an IPv4 endpoint leaves of 1500."""
    host, far = mesh(lab)
    for end in (host, far):
        end.ip("link set dev wg0 mtu 1440")
    return host


def shrink(lab: Lab, mtu: int) -> None:
    for host in lab.hosts.values():
        host.ip(f"link set dev eth0 mtu {mtu}")


def to_inet6(lab: Lab, host: Host) -> None:
    """The peer moves to its IPv6 endpoint."""
    endpoint(host, "[2001:db8::2]:51820")


def endpoint(host: Host, where: str) -> None:
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "endpoint", where)


def jumbo(lab: Lab) -> Host:
    """8940 over 9000, and a route to the peer's addresses that says less than the device over a narrow way."""
    host, far = mesh(lab, mtu=9000)
    lab.link(host, "eth1", far, "eth1", a_addresses="198.51.100.1/30", b_addresses="198.51.100.2/30")
    for end in (host, far):
        end.ip("link set dev wg0 mtu 8940")
    host.ip("route add 10.9.0.2/32 dev wg0 mtu 1440")
    endpoint(host, "198.51.100.2:51820")
    return host


UNDERLAY = Drill(
    rule="wg-mtu-exceeds-underlay",
    name="underlay of 1400",
    build=healthy,
    break_=lambda lab, host: shrink(lab, 1400),
    repair=None,
    severity="critical",
    expect={"kind": "wireguard-peer", "ifname": "wg0"},
    twin=jumbo,
)
ROUTE = Drill(
    rule="wg-mtu-exceeds-underlay",
    name="mtu on the route to the endpoint",
    build=healthy,
    break_=lambda lab, host: host.ip("route add 192.0.2.2/32 dev eth0 mtu 1450"),
    repair=None,
    severity="critical",
    twin=full,
)
INET6 = Drill(
    rule="wg-mtu-exceeds-underlay",
    name="endpoint over IPv6",
    build=full,
    break_=to_inet6,
    repair=lambda lab, host: endpoint(host, "192.0.2.2:51820"),
    severity="critical",
)
test_drill = drill_test(UNDERLAY, ROUTE, INET6)


def test_an_underlay_that_shrank_on_one_end_is_named_with_it(lab: Lab) -> None:
    host = healthy(lab)
    host.ip("link set dev eth0 mtu 1400")
    first, *others = host.report()["findings"]
    assert (first["rule"], first["severity"]) == ("wg-mtu-exceeds-underlay", "critical")
    assert first["fix"].startswith("ip link set dev eth0 mtu 1500")
    assert {f["rule"]: f["explained_by"] for f in others}["link-mtu-peer-mismatch"] == first["id"]


def test_what_is_too_long_is_cut_and_lost_where_fragments_are_dropped(lab: Lab) -> None:
    """What the symptom is: measured, for the page."""
    host, far = mesh(lab)
    for end in (host, far):
        end.ip("link set dev wg0 mtu 1500")

    def ping(size: int) -> bool:
        return host.run("ping", "-c1", "-W1", "-M", "do", "-s", str(size), "10.9.0.2", check=False).returncode == 0

    def cut() -> int:
        return int(host.run("nstat", "-asz", "IpFragCreates").stdout.split()[-2])

    assert ping(1412) and cut() == 0
    assert ping(1413) and cut() == 2
    lab.nft(
        far, "table inet t { chain c { type filter hook prerouting priority -500; ip frag-off & 0x3fff != 0 drop; }; }"
    )
    assert ping(1412)
    assert not ping(1413)
