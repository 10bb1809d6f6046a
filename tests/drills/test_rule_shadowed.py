"""Policy rules behind a rule that takes everything; and pairs of rules that only look like that."""

from tests.drills.harness import Drill, drill_test
from tests.drills.losses import leaves_by
from tests.drills.tapworld import worker
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    """Two uplinks: table 50 for everything, table 60 for marked packets, in the right order; the same for IPv6."""
    host, gateway = lab.host("edge1"), lab.host("gw")
    for number in (0, 1):
        near, far = ([f"10.{number}.0.{last}/24", f"2001:db8:{number}::{last}/64"] for last in (1, 2))
        lab.link(host, f"eth{number}", gateway, f"eth{number}", a_addresses=near, b_addresses=far)
    host.ip("route add default via 10.0.0.2\nroute add default via 10.0.0.2 table 50")
    host.ip("route add default via 10.1.0.2 table 60\nrule add pref 200 fwmark 1 lookup 60")
    host.ip("route add default via 2001:db8:0::2\nroute add default via 2001:db8:0::2 table 50")
    host.ip("route add default via 2001:db8:1::2 table 60")
    host.sh("ip -6 rule add pref 200 fwmark 1 lookup 60")
    return host


def look_alikes(lab: Lab) -> Host:
    """wg-quick's pair, a kill switch behind its lookup, a thrown prefix, a goto around a catch-all, a standby uplink
    whose predecessor is down."""
    host = build(lab)
    host.ip("rule add pref 100 lookup main suppress_prefixlength 0\nrule add pref 201 fwmark 1 unreachable")
    host.ip("rule add pref 110 from 10.9.0.0/16 lookup 50\nrule add pref 300 from 10.9.1.0/24 lookup 60")
    host.ip(
        "route add throw 203.0.113.0/24 table 50\nrule add pref 250 lookup 50\nrule add pref 260 fwmark 2 lookup 60"
    )
    host.ip("rule add pref 120 fwmark 3 goto 400\nrule add pref 130 fwmark 3/3 lookup 50")
    host.ip("rule add pref 400 fwmark 3 lookup 60\nlink add d0 type veth peer name d1\nlink set d0 up\nlink set d1 up")
    host.ip("address add 10.7.0.1/24 dev d0\nroute add default via 10.7.0.2 table 70\nlink set d0 down")
    return host


RULE = "rule-shadowed"


def with_guests(lab: Lab) -> Host:
    """A worker on which marked packets have a table of their own."""
    host = worker(lab)
    host.ip("route add default via 192.0.2.1 table 50\nrule add pref 100 fwmark 1 lookup 50")
    return host


test_drill = drill_test(
    Drill(
        rule=RULE,
        build=build,
        tolerate=("table-without-rule",),  # the world has such tables, for the rules to come
        break_=lambda lab, host: host.ip("rule add pref 100 lookup 50"),
        repair=None,
        severity="warning",
        expect={"kind": "rule", "priority": 200, "family": "inet"},
        twin=look_alikes,
    ),
    Drill(
        rule=RULE,
        name="a guest's packets leave",
        build=with_guests,
        break_=lambda lab, host: host.ip("rule del pref 100\nrule add pref 100 lookup 50"),
        repair=lambda lab, host: host.ip("rule del pref 100\nrule add pref 100 fwmark 1 lookup 50"),
        severity="critical",
        expect={"kind": "rule", "priority": 100, "family": "inet"},
        carries=leaves_by("tap0", "10.1.0.5"),
    ),
    Drill(
        rule=RULE,
        name="behind main",
        build=build,
        tolerate=("table-without-rule",),  # the world has such tables, for the rules to come
        break_=lambda lab, host: host.ip("rule del pref 200\nrule add pref 40000 fwmark 1 lookup 60"),
        repair=None,
        expect={"priority": 40000, "family": "inet"},
    ),
    Drill(
        rule=RULE,
        name="IPv6",
        build=build,
        tolerate=("table-without-rule",),  # the world has such tables, for the rules to come
        break_=lambda lab, host: host.sh("ip -6 rule add pref 100 lookup 50"),
        repair=None,
        expect={"priority": 200, "family": "inet6"},
    ),
)
