"""One of two sessions to an AS whose import filter refuses all; and a host that only announces."""

from tests.drills.bgp import conf, established, reconfigured, world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

SECOND = "protocol bgp {name} from near {{ neighbor 192.0.2.{n} as 65002; {more} }}"


def both(first: str = "", second: str = "") -> str:
    """Configuration of edge1: two sessions to two routers of AS 65002, with these channels."""
    up1 = SECOND.format(name="up1", n=2, more=first and f"ipv4 {{ {first} }};")
    return conf("edge1", up1, SECOND.format(name="up2", n=3, more=second and f"ipv4 {{ {second} }};"))


def build(lab: Lab, first: str = "", second: str = "") -> Host:
    """edge3 is of AS 65002 as well."""
    host = world(lab, peers=2)
    back = "protocol bgp down1 from near { local as 65002; neighbor 192.0.2.1 as 65001; }"
    reconfigured(lab.hosts["edge3"], conf("edge3", back))
    reconfigured(host, both(first, second))
    lab.wait(lambda: established(host, 2), 20, "both sessions stand")
    return host


def announcer(lab: Lab) -> Host:
    """A host that only announces, and has its way out from elsewhere."""
    host = build(lab, "import none; export all;", "import none; export all;")
    host.sh("birdc restart up1; birdc restart up2")
    lab.wait(lambda: established(host, 2), 20, "both sessions stand anew, and count from the beginning")
    host.ip("route add default via 192.0.2.2")
    return host


DRILLS = [
    Drill(
        rule="bgp-import-zero",
        name=policy,
        build=build,
        break_=lambda lab, host, policy=policy: reconfigured(host, both(f"import {policy}; export all;")),  # type: ignore[misc]
        repair=lambda lab, host: reconfigured(host, both()),
        severity="warning",
        expect={"kind": "bgp-session", "name": "up1"},
        twin=announcer,
    )
    for policy in ("none", "where net = 10.0.0.0/8")
]
test_drill = drill_test(*DRILLS)
