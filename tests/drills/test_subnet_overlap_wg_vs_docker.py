"""Docker takes a range of the mesh, wider and narrower than what the peer stands for."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.wireguardworld import mesh
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """A mesh of 10.0.0.0/8 behind one peer."""
    host, _ = mesh(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", "10.0.0.0/8")
    host.ip("route add 10.0.0.0/8 dev wg0")
    return host


def bridge(host: Host, name: str, prefix: str) -> None:
    """A bridge with one port that is up, as with a container on it."""
    host.ip(f"link add {name} type bridge\nlink add p0 type veth peer name p1\nlink set p0 master {name}")
    host.ip(f"link set p0 up\nlink set p1 up\nlink set {name} up\naddress add {prefix} dev {name}")


def gone(lab: Lab, host: Host) -> None:
    host.sh("ip link del p0; ip link show docker0 >/dev/null 2>&1 && ip link del docker0 || ip link del br0")


def share(lab: Lab) -> Host:
    """This host's own share of the mesh on its LAN, and Docker outside it."""
    host = build(lab)
    host.ip("link add docker0 type bridge\nlink set docker0 up\naddress add 172.17.0.1/16 dev docker0")
    bridge(host, "br0", "10.3.0.1/16")
    return host


def narrower(lab: Lab) -> Host:
    host = build(lab)
    peer = host.run("wg", "show", "wg0", "peers").stdout.strip()
    host.run("wg", "set", "wg0", "peer", peer, "allowed-ips", "10.1.7.0/24,10.9.0.2/32")
    host.ip("route del 10.0.0.0/8 dev wg0\nroute add 10.1.7.0/24 dev wg0 metric 100")
    return host


RULE = "subnet-overlap-wg-vs-docker"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: bridge(host, "docker0", "10.1.0.1/16"),
        repair=gone,
        severity="warning",
        expect={"kind": "link", "ifname": "docker0"},
        twin=share,
    ),
    Drill(
        rule=RULE,
        name="the peer's own range",
        build=narrower,
        break_=lambda lab, host: bridge(host, "br0", "10.1.7.1/24"),
        repair=gone,
        severity="critical",
        expect={"ifname": "br0"},
        carries=leaves_by("wg0", "10.1.7.9"),
    ),
)
