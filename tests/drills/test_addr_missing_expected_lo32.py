"""A service address that left lo: named by the intent, and announced by BIRD all the same; AnyIP stays silent."""

from tests.drills.bgp import world
from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def edge(lab: Lab) -> Host:
    """edge1 announces 203.0.113.1/32, a blackhole of BIRD's, and has it on lo."""
    return world(lab)


def anyip(lab: Lab) -> Host:
    host = world(lab)
    host.ip("route add local 203.0.113.0/24 dev lo")
    return host


def intended(lab: Lab) -> Host:
    host = lab.host("edge1")
    far = lab.host("far")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    host.ip("address add 203.0.113.7/32 dev lo\naddress add 2001:db8::7/128 dev lo")
    host.run("mkdir", "-p", "/etc/netdiag")
    rows = [f'[[address]]\nifname = "lo"\naddress = "{each}"\n' for each in ("203.0.113.7/32", "2001:db8::7/128")]
    host.write("/etc/netdiag/intent.toml", "".join(rows))
    return host


RULE = "addr-missing-expected-lo32"
DRILLS = [
    Drill(
        rule=RULE,
        name="announced",
        build=edge,
        break_=lambda lab, host: host.ip("address del 203.0.113.1/32 dev lo"),
        repair=None,
        severity="critical",
        expect={"kind": "address", "address": "203.0.113.1"},
        twin=anyip,
    ),
    *(
        Drill(
            rule=RULE,
            name=f"intent, {address}",
            build=intended,
            break_=lambda lab, host, address=address: host.ip(f"address del {address} dev lo"),  # type: ignore[misc]
            repair=None,
            severity="critical",
            expect={"kind": "address", "address": address.partition("/")[0], "ifname": "lo"},
        )
        for address in ("203.0.113.7/32", "2001:db8::7/128")
    ),
]
test_drill = drill_test(*DRILLS)
