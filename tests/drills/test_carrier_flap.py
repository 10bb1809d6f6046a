"""The far end of a cable goes down and up while netdiag looks."""

from collections.abc import Callable

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RULE = "carrier-flap"


def cable(lab: Lab) -> Host:
    """edge1 eth0 ---- eth0 edge2, and a spare cable between them"""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    lab.link(host, "spare", peer, "spare")
    return host


def bridge(lab: Lab) -> Host:
    """web eth0 ---- web0 [br0 on the host]"""
    host = lab.switch("worker")
    lab.plug(lab.host("web"), "eth0", host, "10.0.0.1/24")
    host.ip("address add 10.0.0.254/24 dev br0")
    return host


def stacked(lab: Lab) -> Host:
    """A macvlan on a cable."""
    host = cable(lab)
    host.ip("link add link eth0 name mv0 type macvlan mode bridge\nlink set dev mv0 up")
    return host


class Trouble:
    """What happens between the two looks: nothing of note in a healthy world, ``bounce`` once it is switched on.

    Nothing of note is what goes on everywhere: a spare cable is plugged in, another container replaces one.
    """

    def __init__(self, who: str, times: int = 1) -> None:
        self.who = who
        self.times = times
        self.on = False

    def start(self, lab: Lab, host: Host) -> None:
        self.on = True

    def stop(self, lab: Lab, host: Host) -> None:
        self.on = False

    def during(self, lab: Lab, host: Host) -> None:
        if self.on:
            lab.hosts[self.who].ip("link set dev eth0 down\nlink set dev eth0 up\n" * self.times)
        lab.link(host, "job", lab.hosts[self.who], "job", up=False)
        host.ip("link set dev job up\nlink del dev job\nlink add name job type veth peer name job1\nlink del dev job")


def drill(name: str, build: Callable[[Lab], Host], trouble: Trouble, **more: object) -> Drill:
    return Drill(
        name=name,
        rule=RULE,
        build=build,
        break_=trouble.start,
        during=trouble.during,
        repair=trouble.stop,
        severity="warning",
        **more,  # type: ignore[arg-type]
    )


test_drill = drill_test(
    drill("one bounce", cable, Trouble("edge2"), expect={"kind": "link", "ifname": "eth0"}),
    drill("four bounces", cable, Trouble("edge2", 4), expect={"kind": "link", "ifname": "eth0"}),
    drill(
        "a bridge port, and the bridge with it", bridge, Trouble("web", 3), expect={"kind": "link", "ifname": "web0"}
    ),
    drill("a cable with a macvlan on it", stacked, Trouble("edge2", 2), expect={"kind": "link", "ifname": "eth0"}),
)


def test_a_restarted_container_is_no_flap(lab: Lab) -> None:
    """Its cable is deleted and made again under the same name; the bridge above loses its only port meanwhile."""
    host = bridge(lab)

    def restart() -> None:
        host.ip("link del dev web0")
        lab.plug(lab.hosts["web"], "eth0", host, "10.0.0.1/24")

    report = host.report("--interval", "1", during=restart)
    assert [row["message"] for row in report["findings"] if row["rule"] == RULE] == []
    assert RULE not in [row["rule"] for row in report["not_evaluated"]]


def test_a_slow_flap_is_known_by_its_past(lab: Lab) -> None:
    """One loss between the looks is a pulled cable; after two losses and returns it is a flap."""
    host = cable(lab)
    peer = lab.hosts["edge2"]

    def rules(change: str) -> list[str]:
        found = host.report("--interval", "1", during=lambda: peer.ip(f"link set dev eth0 {change}"))["findings"]
        return [row["confidence"] for row in found if row["rule"] == RULE]

    assert rules("down") == []
    assert rules("up") == []
    peer.ip("link set dev eth0 down\nlink set dev eth0 up\n")
    assert rules("down") == ["likely"]


def test_nothing_is_said_from_one_look(lab: Lab) -> None:
    host = cable(lab)
    lab.hosts["edge2"].ip("link set dev eth0 down\nlink set dev eth0 up\n" * 20)
    report = host.report("--interval", "0")
    assert [row["reason"] for row in report["not_evaluated"] if row["rule"] == RULE] == ["counters: one sample only"]
