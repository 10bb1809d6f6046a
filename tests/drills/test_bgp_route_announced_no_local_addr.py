"""An anycast address that left lo while it is still announced; and a blackhole that the neighbour is asked for."""

from tests.drills.bgp import conf, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

RTBH = "protocol static rtbh { ipv4; route 198.51.100.66/32 blackhole { bgp_community.add((65535, 666)); }; }"


def asks_to_drop(lab: Lab) -> Host:
    host = world(lab)
    host.write("/etc/bird/bird.conf", conf("edge1", session("up1", "edge2"), RTBH))
    host.run("birdc", "configure")
    lab.wait(lambda: "198.51.100.66" in host.run("birdc", "show route export up1").stdout, 10, "it is announced")
    assert stands(host, "up1")
    return host


test_drill = drill_test(
    Drill(
        rule="addr-missing-expected-lo32",  # it names the address; who announces it stands below
        explains=("bgp-route-announced-no-local-addr",),
        build=world,
        break_=lambda lab, host: host.ip("address del 203.0.113.1/32 dev lo"),
        repair=None,
        severity="critical",
        expect={"kind": "address", "address": "203.0.113.1"},
        twin=asks_to_drop,
    ),
)
