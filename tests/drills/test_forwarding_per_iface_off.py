"""A router of whose interfaces one does not forward, with traffic through it; and one kept apart."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """client -- router -- server."""
    router, client, server = lab.host("router"), lab.host("client"), lab.host("server")
    lab.link(router, "v0", client, "eth0", a_addresses="10.0.0.1/24", b_addresses="10.0.0.2/24")
    lab.link(router, "v1", server, "eth0", a_addresses="10.1.0.1/24", b_addresses="10.1.0.2/24")
    client.ip("route add default via 10.0.0.1")
    server.ip("route add default via 10.1.0.1")
    router.sysctl({"net.ipv4.ip_forward": 1})
    return router


def apart(lab: Lab) -> Host:
    """A third interface, for management, that forwards nothing."""
    router = build(lab)
    lab.link(router, "mgmt", lab.hosts["server"], "eth1", a_addresses="10.2.0.1/24", b_addresses="10.2.0.2/24")
    router.sysctl({"net.ipv4.conf.mgmt.forwarding": 0})
    return router


def traffic(lab: Lab, host: Host) -> None:
    lab.send_udp(lab.hosts["client"], "10.1.0.2", 7777, count=10)


test_drill = drill_test(
    Drill(
        rule="forwarding-per-iface-off",
        build=build,
        break_=lambda lab, host: host.sysctl({"net.ipv4.conf.v0.forwarding": 0}),
        repair=None,
        severity="critical",
        expect={"kind": "link", "ifname": "v0"},
        during=traffic,
    ),
)


def test_an_interface_kept_apart_is_no_alarm(lab: Lab) -> None:
    report = apart(lab).report("--interval", "0")
    assert report["verdict"] == "ok", report["findings"]
