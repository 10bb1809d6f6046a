"""Why a session does not come up, where BIRD itself has little to say: passwords, TTL, multihop, source address."""

from collections.abc import Callable
from typing import Any

from tests.drills.bgp import conf, reconfigured, session, stands, world
from tests.drills.harness import Drill, drill_test
from tests.drills.losses import goes, lost
from tests.lab import Host, Lab

ABOUT = {"kind": "bgp-session", "name": "up1"}


def set_options(options: str) -> Callable[[Lab, Host], None]:
    """Give edge1's session these options, and wait until it is down."""

    def change(lab: Lab, host: Host) -> None:
        reconfigured(host, conf("edge1", session("up1", "edge2", options)))
        lab.wait(lambda: not stands(host, "up1"), 10, "the session is down")

    return change


def restored(lab: Lab, host: Host) -> None:
    reconfigured(host, conf("edge1", session("up1", "edge2")))
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def cause(rule: str, options: str, *check_args: str) -> Drill:
    return Drill(
        rule=rule,
        build=world,
        break_=set_options(options),
        repair=restored,
        severity="critical",
        expect=ABOUT,
        explains=("bgp-not-established",),
        check_args=check_args or ("--interval", "0"),
    )


def far(lab: Lab) -> Host:
    """edge2 has a loopback address, and edge1 a route to it."""
    host = world(lab)
    lab.hosts["edge2"].ip("address add 198.51.100.2/32 dev lo")
    host.ip("route add 198.51.100.2 via 192.0.2.2")
    return host


def beyond(lab: Lab, host: Host) -> None:
    text = conf("edge1", session("up1", "edge2").replace("192.0.2.2", "198.51.100.2"))
    reconfigured(host, text)
    lab.wait(lambda: not stands(host, "up1"), 10, "the session is down")


MULTIHOP = Drill(
    rule="bgp-multihop-missing",
    build=far,
    break_=beyond,
    repair=restored,
    severity="critical",
    expect=ABOUT,
    explains=("bgp-not-established",),
)
test_drill = drill_test(
    cause("bgp-md5-mismatch", 'password "secret";', "--interval", "2"),
    cause("bgp-ttl-security-half-open", "ttl security;", "--interval", "2"),
    MULTIHOP,
)


def test_a_source_that_the_neighbour_does_not_know_is_told(lab: Lab) -> None:
    """As likely after a reset, as possible after a close: which of the two BIRD meets last is a matter of time."""
    host = world(lab)
    host.ip("address add 192.0.2.9/24 dev eth0")
    lab.wait(lambda: goes(host, "203.0.113.2"), 6, "the route is in use")
    set_options("source address 192.0.2.9;")(lab, host)

    def named() -> dict[str, Any] | None:
        found = {row["rule"]: row for row in host.report("--interval", "0")["findings"]}
        return found.get("bgp-source-addr-mismatch") if "bgp-not-established" in found else None

    found = lab.wait(named, 20, "it is told")
    assert not goes(host, "203.0.113.2")
    assert found is not None
    lost(found)
