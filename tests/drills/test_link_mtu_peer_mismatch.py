"""A veth cable whose two ends disagree about the MTU: across namespaces, within one, and with a bridge in between."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def cable(lab: Lab) -> Host:
    """edge1 eth0 ---- eth0 edge2"""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host


def loop(lab: Lab) -> Host:
    """Both ends in one namespace: probe0 ---- probe1"""
    host = lab.host("edge1")
    lab.link(host, "probe0", host, "probe1")
    return host


def bridge(lab: Lab) -> Host:
    """web eth0 ---- web0 [br0 on the host] db0 ---- eth0 db"""
    host = lab.switch("edge1")
    for name, address in (("web", "10.0.0.1/24"), ("db", "10.0.0.2/24")):
        lab.plug(lab.host(name), "eth0", host, address)
    return host


def behind_bridge(lab: Lab) -> Host:
    """The same from inside a container: eth0 ---- port of a bridge that is not ours."""
    bridge(lab)
    return lab.hosts["web"]


def jumbo_throughout(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30", mtu=9000)
    return host


def room_for_a_second_tag(lab: Lab) -> Host:
    """1504 at one end: four bytes more are forwarded by the kernel."""
    host = cable(lab)
    host.ip("link set dev eth0 mtu 1504")
    return host


def wide_ports(lab: Lab) -> Host:
    """Bridge ports of 9000, hosts of 1500 behind them: nobody sends what would not fit."""
    host = bridge(lab)
    host.ip("link set dev web0 mtu 9000\nlink set dev db0 mtu 9000")
    return host


def end_down(lab: Lab) -> Host:
    """A spare cable whose other end is not in use."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", up=False)
    host.ip("link set dev eth0 mtu 9000 up")
    return host


RULE = "link-mtu-peer-mismatch"
test_drill = drill_test(
    Drill(
        name="the far end is raised",
        rule=RULE,
        build=cable,
        break_=lambda lab, host: lab.hosts["edge2"].ip("link set dev eth0 mtu 9000"),
        repair=lambda lab, host: lab.hosts["edge2"].ip("link set dev eth0 mtu 1500"),
        expect={"kind": "link", "ifname": "eth0"},
        severity="warning",
        twin=jumbo_throughout,
    ),
    Drill(
        name="our end is lowered",
        rule=RULE,
        build=cable,
        break_=lambda lab, host: host.ip("link set dev eth0 mtu 1400"),
        repair=None,
        expect={"kind": "link", "ifname": "eth0"},
        twin=room_for_a_second_tag,
    ),
    Drill(
        name="both ends in one namespace",
        rule=RULE,
        build=loop,
        break_=lambda lab, host: host.ip("link set dev probe1 mtu 9000"),
        repair=None,
        expect={"kind": "link", "ifname": "probe1"},
        twin=end_down,
    ),
    Drill(
        name="a container behind our bridge is raised",
        rule=RULE,
        build=bridge,
        break_=lambda lab, host: lab.hosts["db"].ip("link set dev eth0 mtu 9000"),
        repair=lambda lab, host: lab.hosts["db"].ip("link set dev eth0 mtu 1500"),
        expect={"kind": "link", "ifname": "db0"},
        twin=wide_ports,
    ),
    Drill(
        name="a port of our bridge is lowered, and with it the bridge",
        rule=RULE,
        build=bridge,
        break_=lambda lab, host: host.ip("link set dev db0 mtu 1400"),
        repair=None,
        expect={"kind": "link", "ifname": "db0"},
        explains=("bridge-mtu-auto-shrunk",),
    ),
    Drill(
        name="the far end is a port of a bridge that is not ours",
        rule=RULE,
        build=behind_bridge,
        break_=lambda lab, host: host.ip("link set dev eth0 mtu 1400"),
        repair=None,
        expect={"kind": "link", "ifname": "eth0"},
    ),
)


def test_what_is_said_to_be_dropped_is_dropped(lab: Lab) -> None:
    """1504 bytes arrive, 1505 do not; the counters of both ends stand in the evidence."""
    host = cable(lab)
    peer = lab.hosts["edge2"]
    listener = lab.listen_udp(host, "0.0.0.0", 7777)
    peer.ip("link set dev eth0 mtu 9000")

    assert lab.send_udp(peer, "192.0.2.1", 7777, count=5, size=1504 - 28) == {"sent": 5}
    lab.wait(lambda: listener.packets == 5, what="five datagrams of 1504 bytes have come")
    assert lab.send_udp(peer, "192.0.2.1", 7777, count=5, size=1505 - 28) == {"sent": 5}
    assert lab.send_udp(peer, "192.0.2.1", 7777, count=1, size=100) == {"sent": 1}
    lab.wait(lambda: listener.packets == 6, what="the small datagram behind them has come")

    first = host.report("--rule", RULE)["findings"][0]
    assert "packets over 1504 bytes from the peer are dropped" in first["message"]
    counted = {row["fact"].split(" since ")[0]: row["value"] for row in first["evidence"] if "dropped" in row["fact"]}
    assert counted == {"eth0 tx_dropped": "5", "eth0 rx_dropped": "5"}
