"""A tunnel by wireguard-go: worth knowing, no alarm; and a tun interface that has nothing to do with WireGuard."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import key_of, mesh
from tests.lab import Host, Lab
from tests.lab.daemons import Daemon


def build(lab: Lab) -> Host:
    """A host without a tunnel, but with a daemon's socket whose interface is in another namespace."""
    host, far = lab.host("a"), lab.host("b")
    lab.wireguard(host, "wg9", key_of(host), 51829)
    host.ip(f"link set dev wg9 netns {far.netns_path}")
    return host


STARTED: dict[str, Daemon] = {}


def start(lab: Lab, host: Host) -> None:
    STARTED["wg0"] = lab.wireguard(host, "wg0", key_of(host), 51820)


DRILL = Drill(
    rule="wg-userspace-fallback",
    build=build,
    break_=start,
    repair=lambda lab, host: STARTED.pop("wg0").kill(),
    severity="info",
    expect={"kind": "wireguard-interface", "ifname": "wg0"},
)
test_drill = drill_test(DRILL)


def test_a_tunnel_in_userspace_is_no_alarm(lab: Lab) -> None:
    host, _ = mesh(lab)
    report = host.report()
    assert report["verdict"] == "ok"
    assert {row["rule"] for row in report["findings"]} == {"wg-userspace-fallback", "tcp-pmtud-probing-off"}


def test_a_plain_tun_is_no_tunnel(lab: Lab) -> None:
    plain = lab.host("plain")
    plain.ip("tuntap add dev wg0 mode tun\nlink set dev wg0 up")
    assert plain.report()["findings"] == []
