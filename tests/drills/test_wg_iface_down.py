"""A WireGuard interface taken down under its peers; and interfaces that are down with good reason."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import key_of, mesh
from tests.lab import Host, Lab
from tests.lab.daemons import Peer


def talking(lab: Lab) -> Host:
    """Two hosts with a tunnel that has carried traffic."""
    host, _ = mesh(lab)
    host.run("ping", "-c1", "-W3", "10.9.0.2")
    return host


def full_tunnel(lab: Lab) -> Host:
    """All traffic into the tunnel, as wg-quick does it: a mark, a table and two rules."""
    host = talking(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "fwmark", "51820", "peer", peer, "allowed-ips", "0.0.0.0/0")
    host.ip("route add default via 192.0.2.2 dev eth0\nroute add default dev wg0 table 51820")
    host.ip("rule add not fwmark 51820 table 51820\nrule add table main suppress_prefixlength 0")
    return host


def up_again(lab: Lab, host: Host) -> None:
    host.ip("link set dev wg0 up\nroute add default dev wg0 table 51820")


def standby(lab: Lab) -> Host:
    """A second interface, prepared and never up; and a third without peers, tried and taken down."""
    host = talking(lab)
    key = key_of(host)
    lab.wireguard(host, "wg1", key, 51821, [Peer(public_key=key_of(host, "pubkey"), allowed_ips=["10.8.0.2/32"])])
    lab.wireguard(host, "wg2", key, 51822)
    host.ip("address add 10.8.0.1/24 dev wg1\nlink set dev wg2 up\nlink set dev wg2 down")
    return host


TAKEN_DOWN = Drill(
    rule="wg-iface-down",
    name="taken down",
    build=talking,
    break_=lambda lab, host: host.ip("link set dev wg0 down"),
    repair=None,
    severity="critical",
    expect={"kind": "wireguard-interface", "ifname": "wg0"},
)
NEVER_SPOKEN = Drill(
    rule="wg-iface-down",
    name="taken down before anything was said",
    build=lambda lab: mesh(lab)[0],
    break_=lambda lab, host: host.ip("link set dev wg0 down"),
    repair=None,
    severity="critical",
)
FULL_TUNNEL = Drill(
    rule="wg-iface-down",
    name="full tunnel",
    build=full_tunnel,
    break_=lambda lab, host: host.ip("link set dev wg0 down"),
    repair=up_again,
    severity="critical",
    explains=("rule-references-empty-table",),
)
OVERLAY_ONLY = Drill(
    rule="wg-iface-down",
    name="the only way to its prefixes",
    build=talking,
    break_=lambda lab, host: host.ip("link set dev wg0 down"),
    during=lambda lab, host: host.run("ping", "-c", "3", "-i", "0.1", "-W", "1", "10.9.0.2", check=False),
    repair=None,
    severity="critical",
    explains=("route-default-missing",),
)
test_drill = drill_test(TAKEN_DOWN, NEVER_SPOKEN, FULL_TUNNEL, OVERLAY_ONLY)


def test_a_standby_is_told_and_no_alarm(lab: Lab) -> None:
    report = standby(lab).report()
    assert report["verdict"] == "ok", report["findings"]
    told = [(row["rule"], row["subject"]["ifname"]) for row in report["findings"] if row["rule"] == "wg-iface-down"]
    assert told == [("wg-iface-down", "wg1")]
