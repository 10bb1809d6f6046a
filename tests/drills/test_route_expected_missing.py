"""A static route of the intent, and of a baseline, that went with its gateway's interface."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab


def plain(lab: Lab) -> Host:
    host, first = lab.host("edge1"), lab.host("one")
    lab.link(host, "eth0", first, "eth0", a_addresses="192.0.2.2/30", b_addresses="192.0.2.1/30")
    host.ip("route add default via 192.0.2.1\nroute add 10.0.0.0/8 via 192.0.2.1\nroute add 10.7.0.0/16 via 192.0.2.1")
    return host


def intended(lab: Lab, text: str = '[[route]]\ndst = "198.51.100.0/24"\ntable = "main"\n') -> Host:
    host = plain(lab)
    host.ip("route add 198.51.100.0/24 via 192.0.2.1\nroute del default")
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", text)
    return host


def compared(lab: Lab) -> Host:
    host = plain(lab)
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


RULE = "route-expected-missing"
BY_INTENT = Drill(
    rule=RULE,
    name="intent",
    build=intended,
    break_=lambda lab, host: host.ip("route del 198.51.100.0/24"),
    repair=lambda lab, host: host.ip("route add 198.51.100.0/24 via 192.0.2.1"),
    severity="critical",
    carries=connects("198.51.100.9"),
    expect={"kind": "route", "dst": "198.51.100.0/24", "table": 254},
)
BY_BASELINE = Drill(
    rule=RULE,
    name="baseline",
    build=compared,
    break_=lambda lab, host: host.ip("route del 10.7.0.0/16"),
    repair=None,
    severity="warning",
    expect={"kind": "route", "dst": "10.7.0.0/16", "table": 254},
    check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
)
test_drill = drill_test(BY_INTENT, BY_BASELINE)
