"""A port with a lower hardware address joins a bridge that has addresses of its own: since a baseline, and without."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

BEFORE = "/run/before.netdiag"


def build(lab: Lab, *, fixed: bool = False) -> Host:
    """br0 over one port, with addresses of both families."""
    host, other = lab.host("node1"), lab.host("peer")
    lab.link(host, "eth0", other, "eth0", b_addresses="192.0.2.2/24")
    host.ip("link set dev eth0 address 52:54:00:00:00:09\nlink add br0 type bridge\nlink set eth0 master br0")
    if fixed:
        host.ip("link set dev br0 address 5e:00:00:00:00:77")
    host.ip("link set br0 up\naddress add 192.0.2.1/24 dev br0")
    lab.wait(lambda: "fe80" in host.run("ip", "-6", "address", "show", "dev", "br0").stdout, 4, "a link-local address")
    assert host.netdiag("collect", "-o", BEFORE)[0] == 0
    return host


def join(lab: Lab, host: Host) -> None:
    host.ip("link add p0 address 02:00:00:00:00:01 type veth peer name p1\nlink set p0 master br0")
    host.ip("link set p1 up\nlink set p0 up")


def fixed(lab: Lab) -> Host:
    """The bridge's address was set: ports come and go."""
    host = build(lab, fixed=True)
    join(lab, host)
    return host


test_drill = drill_test(
    Drill(
        rule="bridge-own-mac-flap",
        build=build,
        break_=join,
        repair=None,
        severity="warning",
        expect={"kind": "link", "ifname": "br0"},
        check_args=("--interval", "0", "--baseline", BEFORE),
        twin=fixed,
    ),
    Drill(
        rule="bridge-own-mac-flap",
        name="without a baseline",
        build=build,
        break_=join,
        repair=lambda lab, host: host.ip("link del p0"),
        severity="info",
        expect={"kind": "link", "ifname": "br0"},
    ),
)
