"""Two machines restored from one snapshot in one namespace."""

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import GUESTS, ask, worker
from tests.lab import Host, Lab
from tests.lab.taps import hold

THIRD = {"10.1.0.7": "06:00:00:00:00:07"}
BRIDGED = {"tap0": ("10.1.1.2", "06:00:00:00:01:02"), "tap1": ("10.1.1.3", "06:00:00:00:01:03")}
PIDS: dict[str, int] = {}


def clone(lab: Lab, host: Host) -> None:
    """A second tap with the same guest; the host hears both."""
    address, mac = GUESTS["tap0"]
    host.ip("tuntap add dev tap2 mode tap\nlink set tap2 up\nroute add 10.1.0.7/32 dev tap2")
    hold(host, "tap2", guests={address: mac})
    host.ip(f"neigh replace {address} lladdr {mac} dev tap0 nud reachable")
    host.ip(f"neigh replace {address} lladdr {mac} dev tap2 nud stale")


def three(lab: Lab) -> Host:
    """A third machine, with an address and a hardware address of its own."""
    host = worker(lab)
    host.ip("tuntap add dev tap2 mode tap vnet_hdr\nlink set tap2 up")
    host.ip("address add 169.254.0.1/32 dev tap2\nroute add 10.1.0.7/32 dev tap2")
    host.sysctl({"net/ipv4/conf/tap2/proxy_arp": 1})
    PIDS["third"] = hold(host, "tap2", guests=THIRD)
    ask(lab, host, "10.1.0.5", "tap0")
    return host


def restored(lab: Lab, host: Host) -> None:
    """It comes again as what the first one was when its snapshot was taken, and says so."""
    address, mac = GUESTS["tap0"]
    host.end(PIDS["third"])
    PIDS["third"] = hold(host, "tap2", guests={address: mac})
    host.ip(f"neigh flush dev tap2\nneigh replace {address} lladdr {mac} dev tap2 nud stale")


def anew(lab: Lab, host: Host) -> None:
    host.end(PIDS["third"])
    PIDS["third"] = hold(host, "tap2", guests=THIRD)
    host.ip("neigh flush dev tap2")


def delivered(lab: Lab, host: Host) -> bool:
    """What is for the third machine gets into its tap, and is no question for its hardware address."""
    lab.send_udp(host, "10.1.0.7", 9)
    try:
        return lab.wait(lambda: "lladdr" in host.run("ip", "neigh", "show", "to", "10.1.0.7").stdout, 0.3)
    except TimeoutError:
        return False


def namespaces(lab: Lab) -> Host:
    """One address on taps of separate namespaces: the recommended design."""
    host = worker(lab)
    host.sh("ip netns add vm1; ip -n vm1 tuntap add dev tap0 mode tap; ip -n vm1 link set tap0 up")
    host.sh("ip -n vm1 route add 10.1.0.5/32 dev tap0")
    host.sh("ip -n vm1 neigh add 10.1.0.5 lladdr 06:00:00:00:00:05 dev tap0 nud stale")
    return host


def in_a_bridge(lab: Lab) -> Host:
    """Two machines behind one bridge, each with addresses of its own, that speak all the time."""
    host = lab.host("vmhost")
    host.ip("link add br0 address 52:54:00:00:00:01 type bridge\nlink set br0 up\naddress add 10.1.1.1/24 dev br0")
    for tap, (address, mac) in BRIDGED.items():
        host.ip(f"tuntap add dev {tap} mode tap vnet_hdr\nlink set {tap} master br0 up")
        PIDS[tap] = hold(host, tap, guests={address: mac}, calls=0.05)
    return host


def same_snapshot(lab: Lab, host: Host) -> None:
    host.end(PIDS["tap1"])
    host.sh("bridge fdb del 06:00:00:00:01:03 dev tap1 master || true")  # it goes with the carrier as well
    PIDS["tap1"] = hold(host, "tap1", guests=dict([BRIDGED["tap0"]]), calls=0.05)


def own_again(lab: Lab, host: Host) -> None:
    host.end(PIDS["tap1"])
    PIDS["tap1"] = hold(host, "tap1", guests=dict([BRIDGED["tap1"]]), calls=0.05)


test_drill = drill_test(
    Drill(
        rule="vm-clone-dup-ip-mac",
        build=worker,
        break_=clone,
        repair=lambda lab, host: host.ip("link del tap2"),
        severity="critical",
        expect={"kind": "neighbour", "dst": "10.1.0.5"},
        twin=namespaces,
    ),
    Drill(
        name="restored from the wrong snapshot",
        rule="vm-clone-dup-ip-mac",
        build=three,
        break_=restored,
        repair=anew,
        carries=delivered,
        severity="critical",
        expect={"kind": "neighbour", "dst": "10.1.0.5"},
    ),
    Drill(
        name="behind one bridge",
        rule="vm-clone-dup-ip-mac",
        build=in_a_bridge,
        break_=same_snapshot,
        check_args=("--interval", "0.5"),
        repair=own_again,
        severity="critical",
        expect={"kind": "link", "ifname": "tap0"},
    ),
)
