"""A machine moves to another node; the written vxlan entry still leads to the old one."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

EVERYBODY, MAC = "00:00:00:00:00:00", "02:00:00:00:00:aa"


def build(lab: Lab) -> Host:
    """node1 of three, a bridge with a container and a vxlan device that floods to the two others."""
    switch = lab.switch()
    for number in (1, 2, 3):
        lab.plug(lab.host(f"node{number}"), "eth0", switch, f"192.0.2.{number}/24")
    host, container = lab.hosts["node1"], lab.host("container")
    host.ip("link add br0 type bridge\nlink set br0 up\nlink add vx0 type vxlan id 7 dstport 4789 local 192.0.2.1")
    host.ip("link set vx0 master br0\nlink set vx0 up")
    lab.link(host, "v0", container, "eth0", mtu=1450)
    host.ip("link set v0 master br0")
    for end in ("192.0.2.2", "192.0.2.3"):
        host.run("bridge", "fdb", "append", EVERYBODY, "dev", "vx0", "dst", end, "self", "permanent")
    write(host, "192.0.2.2")
    return host


def write(host: Host, end: str) -> None:
    host.run("bridge", "fdb", "replace", MAC, "dev", "vx0", "dst", end, "self", "permanent")


def reached(lab: Lab, host: Host) -> bool:
    """A frame of the container's for the machine comes out of the tunnel at a node that has it."""
    ends = [lab.listen_udp(lab.hosts[f"node{number}"], "0.0.0.0", 4789) for number in (2, 3)]
    container = lab.hosts["container"]
    container.ip(f"address replace 10.0.0.1/24 dev eth0\nneigh replace 10.0.0.2 lladdr {MAC} dev eth0")
    before = [end.packets for end in ends]
    lab.send_udp(container, "10.0.0.2", 9)
    try:
        lab.wait(lambda: [end.packets for end in ends] != before, 0.3)
    except TimeoutError:
        return False
    finally:
        for end in ends:
            end.stop()
    return True


def moved_here(lab: Lab, host: Host) -> None:
    lab.hosts["container"].ip(f"link set dev eth0 address {MAC}")


RULE = "fdb-stale-vtep"
test_drill = drill_test(
    Drill(
        rule=RULE,
        name="moved here",
        build=build,
        break_=moved_here,
        repair=None,
        severity="critical",
        expect={"lladdr": MAC, "ifname": "vx0"},
    ),
    Drill(
        rule=RULE,
        name="an end that is none",
        build=build,
        break_=lambda lab, host: write(host, "192.0.2.9"),
        repair=lambda lab, host: write(host, "192.0.2.3"),
        expect={"lladdr": MAC},
        carries=reached,
    ),
    Drill(
        rule=RULE,
        name="an end without a route",
        build=build,
        break_=lambda lab, host: write(host, "198.51.100.9"),
        repair=lambda lab, host: write(host, "192.0.2.3"),
        severity="critical",
        carries=reached,
    ),
)
