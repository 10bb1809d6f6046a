"""So many routes change at once that the kernel drops notifications for a BIRD that is busy: routes that it misses.

Left out of a run of the whole suite, as are further drills of a rule.
"""

import itertools

import pytest

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

CONF = """
router id 192.0.2.1;
protocol device { scan time 600; }
protocol kernel { scan time 600; learn; ipv4 { import all; export none; }; }
"""
FLOOD = {"on": False}
NEW = itertools.count(1)


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    lab.birdd(host, CONF)
    return host


def learnt(lab: Lab, host: Host) -> bool:
    """BIRD hears of a route that somebody adds, in the flood while there is one."""
    route = f"198.51.{next(NEW)}.0/24"
    if FLOOD["on"]:
        host.sh("kill -STOP $(pgrep -x bird)")
        numbers = [f"10.{high}.{low}.0/24 via 192.0.2.2" for high in range(8) for low in range(250)]
        host.ip("\n".join(f"route {verb} {way}" for verb in ("add", "del") for way in numbers))
    host.ip(f"route add {route} via 192.0.2.2")
    host.sh("kill -CONT $(pgrep -x bird)")
    try:
        return lab.wait(lambda: "via" in host.run("birdc", "show", "route", route, check=False).stdout, 0.3)
    except TimeoutError:
        return False


test_drill = pytest.mark.more(
    drill_test(
        Drill(
            rule="bgp-krt-dropped-msgs",
            build=build,
            break_=lambda lab, host: FLOOD.update(on=True),
            repair=lambda lab, host: FLOOD.update(on=False),
            during=learnt,
            carries=learnt,
            severity="warning",
            expect={"kind": "socket", "comm": "bird"},
        )
    )
)
