"""The rule for the main table is gone; and hosts that do without it on purpose."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """A host with a default route in each family."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    addresses = ["192.0.2.2/24", "2001:db8::2/64"]
    lab.link(host, "eth0", gateway, "eth0", a_addresses=addresses, b_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    host.ip("route add default via 192.0.2.1\nroute add default via 2001:db8::1")
    return host


def full_tunnel(lab: Lab) -> Host:
    """wg-quick's rules, with a cable as the tunnel."""
    host = build(lab)
    lab.link(host, "wg0", lab.hosts["gw"], "wg0", a_addresses="10.8.0.2/32")
    host.ip("route add default dev wg0 table 51820")
    host.ip(
        "rule add pref 32765 not fwmark 51820 lookup 51820\nrule add pref 32764 lookup main suppress_prefixlength 0"
    )
    return host


def replaced(lab: Lab) -> Host:
    """A custom table that holds all that main has; no rule for main in either family, and an idle IPv6."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    lab.link(host, "eth0", gateway, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.ip("route add default via 192.0.2.1\nroute add 192.0.2.0/24 dev eth0 table 50")
    host.ip("route add default via 192.0.2.1 table 50\nrule add pref 100 lookup 50\nrule del pref 32766")
    host.sh("ip -6 rule del pref 32766")
    return host


def lonely(lab: Lab) -> Host:
    """A namespace with nothing but lo and no rules."""
    host = lab.host("empty")
    host.sh("ip rule flush; ip -6 rule flush")
    return host


RULE = "rule-main-missing"
test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        break_=lambda lab, host: host.ip("rule del pref 32766"),
        repair=None,
        severity="critical",
        expect={"kind": "rule", "priority": 32766, "family": "inet"},
        twin=replaced,
    ),
    Drill(
        rule=RULE,
        name="IPv6, flushed",
        build=build,
        break_=lambda lab, host: host.sh("ip -6 rule flush"),
        repair=None,
        severity="critical",
        expect={"priority": 32766, "family": "inet6"},
        twin=lonely,
    ),
    Drill(
        rule=RULE,
        name="full tunnel",
        build=full_tunnel,
        break_=lambda lab, host: host.ip("rule del pref 32766"),
        repair=None,
        severity="critical",
        expect={"family": "inet"},
    ),
    Drill(
        rule=RULE,
        name="goto",
        build=build,
        break_=lambda lab, host: host.ip("rule add pref 40000 nop\nrule add pref 100 goto 40000"),
        repair=None,
        severity="critical",
        expect={"family": "inet"},
    ),
)
