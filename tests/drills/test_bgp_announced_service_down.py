"""Three anycast addresses with a listener each, of which one dies."""

from tests.drills.bgp import conf, session, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.traffic import Listener

MORE = "protocol static more { ipv4; route 198.51.100.7/32 blackhole; route 198.51.100.8/32 blackhole; }"


def build(lab: Lab) -> Host:
    host = world(lab)
    host.ip("address add 198.51.100.7/32 dev lo\naddress add 198.51.100.8/32 dev lo")
    host.write("/etc/bird/bird.conf", conf("edge1", session("up1", "edge2"), MORE))
    host.run("birdc", "configure")
    lab.wait(lambda: "198.51.100.8" in host.run("birdc", "show route export up1").stdout, 10, "all are announced")
    lab.listen_udp(host, "203.0.113.1", 5353)
    lab.listen_udp(host, "198.51.100.8", 5353)
    listen(lab, host)
    return host


def listen(lab: Lab, host: Host) -> None:
    started[host] = lab.listen_udp(host, "198.51.100.7", 5353)


def served(lab: Lab, host: Host) -> bool:
    """What the neighbour sends to the second address is taken by its program."""
    before = started[host].packets
    lab.send_udp(lab.hosts["edge2"], "198.51.100.7", 5353, count=3)
    try:
        lab.wait(lambda: started[host].packets > before, 0.3)
    except TimeoutError:
        return False
    return True


started: dict[Host, Listener] = {}
test_drill = drill_test(
    Drill(
        rule="bgp-announced-service-down",
        build=build,
        break_=lambda lab, host: started[host].stop(),
        repair=listen,
        carries=served,
        severity="critical",
        expect={"kind": "prefix", "prefix": "198.51.100.7/32"},
    ),
)
