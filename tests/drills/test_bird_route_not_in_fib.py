"""A route that somebody deletes behind BIRD's back, in main, in a table of its own, and of IPv6."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import connects
from tests.lab import Host, Lab
from tests.lab.daemons import birdc

CONF = """
router id 192.0.2.1;
protocol device {{}}
protocol direct {{ ipv4; }}
protocol kernel k4 {{ scan time 600; {kernel} ipv4 {{ export all; }}; }}
protocol static {{ ipv4;
  route 198.51.100.0/24 via 192.0.2.2; route 203.0.113.0/24 via 192.0.2.2;
  route 100.64.0.0/16 unreachable; route 100.65.0.0/16 prohibit; route 100.66.0.0/16 blackhole; }}
"""


def build(lab: Lab, kernel: str = "") -> Host:
    """One BIRD with static routes."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    if kernel:
        host.ip("rule add pref 700 lookup 77")
    lab.birdd(host, CONF.format(kernel=kernel))
    lab.wait(lambda: host.run("ip", "route", "show", "table", "all").stdout.count("proto bird") == 6, 10, "routes")
    return host


MAIN = Drill(
    rule="bird-route-not-in-fib",
    name="main",
    build=build,
    break_=lambda lab, host: host.ip("route del 198.51.100.0/24"),
    repair=None,
    severity="critical",
    expect={"kind": "route", "dst": "198.51.100.0/24", "table": 254},
    carries=connects("198.51.100.9"),
    twin=lambda lab: build(lab, "kernel table 77;"),
)
OTHER = Drill(
    rule="bird-route-not-in-fib",
    name="other table",
    build=lambda lab: build(lab, "kernel table 77;"),
    break_=lambda lab, host: host.ip("route del blackhole 100.66.0.0/16 table 77"),
    repair=None,
    severity="warning",
    expect={"kind": "route", "dst": "100.66.0.0/16", "table": 77},
)
CONF6 = """
router id 192.0.2.1;
protocol device {}
protocol kernel k6 { scan time 600; ipv6 { export all; }; }
protocol static { ipv6;
  route 2001:db8:5::/48 via 2001:db8::2; route 2001:db8:6::/48 via 2001:db8::2;
  route 2001:db8:7::/48 via fe80::2%eth0; route 2001:db8:8::/48 unreachable; }
"""


def build6(lab: Lab) -> Host:
    """One BIRD with static routes of IPv6."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="2001:db8::1/64", b_addresses="2001:db8::2/64")
    lab.birdd(host, CONF6)
    lab.wait(lambda: host.run("ip", "-6", "route", "show", "proto", "bird").stdout.count("metric") == 4, 10, "routes")
    return host


SIX = Drill(
    rule="bird-route-not-in-fib",
    name="IPv6, by a link-local gateway",
    build=build6,
    break_=lambda lab, host: host.ip("route del 2001:db8:7::/48"),
    repair=None,
    severity="critical",
    expect={"kind": "route", "dst": "2001:db8:7::/48", "table": 254},
)
SOURCED = """
router id 192.0.2.1;
protocol device {}
protocol static { ipv4; route 198.51.100.0/24 via 192.0.2.2; }
protocol kernel k4 { scan time 1; ipv4 { export filter { krt_prefsrc = 10.255.0.1; accept; }; }; }
"""


def build_sourced(lab: Lab) -> Host:
    """One BIRD that gives its routes the host's address on lo as source."""
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.ip("address add 10.255.0.1/32 dev lo")
    lab.birdd(host, SOURCED)
    lab.wait(lambda: "src 10.255.0.1" in host.run("ip", "route", "show", "proto", "bird").stdout, 10, "the route")
    return host


LOST_SOURCE = Drill(
    rule="bird-route-not-in-fib",
    name="the source of its filter is lost",
    build=build_sourced,
    break_=lambda lab, host: host.ip("address del 10.255.0.1/32 dev lo"),
    settle=lambda lab, host: "] ! (" in birdc(host, "show route export k4"),
    repair=lambda lab, host: host.ip("address add 10.255.0.1/32 dev lo"),
    severity="critical",
    expect={"kind": "route", "dst": "198.51.100.0/24", "table": 254},
)
test_drill = drill_test(MAIN, OTHER, SIX, LOST_SOURCE)
