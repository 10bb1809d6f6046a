"""A program that listens and no longer accepts; and one whose queue is exactly full."""

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import calls, go_on, listener, pair, started, stop
from tests.lab import Host, Lab
from tests.lab.traffic import Listener

CALLERS: dict[str, int] = {}


def serve(address: str, backlog: int) -> object:
    def build(lab: Lab) -> Host:
        host = pair(lab)
        CALLERS["server"] = started(host, "web", lambda: listener(address, 8080, backlog))
        return host

    return build


def call(dst: str) -> object:
    def break_(lab: Lab, host: Host) -> None:
        started(lab.hosts["client"], "caller", lambda: calls(dst, 8080, 5))

    return break_


def waits(lab: Lab, host: Host) -> bool:
    return " 2 " in host.run("ss", "-Hltn", "sport", "=", ":8080").stdout.replace("  ", " ")


def restart(lab: Lab, host: Host) -> None:
    host.end(CALLERS["server"])


SERVERS: dict[Host, Listener] = {}


def accepting(lab: Lab) -> Host:
    host = pair(lab)
    SERVERS[host] = lab.listen_tcp(host, "::", 8080)
    return host


def stuck(lab: Lab, host: Host) -> None:
    """The server stops, and more clients come than its queue has room for."""
    stop(SERVERS[host].pid)
    started(lab.hosts["client"], "caller", lambda: calls("2001:db8::1", 8080, 24))


def answered(lab: Lab, host: Host) -> bool:
    """One more client is let in."""
    return lab.send_tcp(lab.hosts["client"], "2001:db8::1", 8080, timeout=0.3) == "sent"


def exactly(lab: Lab) -> Host:
    """One connection waits, and one may."""
    host = pair(lab)
    started(host, "web", lambda: listener("192.0.2.1", 8080, 1))
    started(lab.hosts["client"], "caller", lambda: calls("192.0.2.1", 8080, 1))
    return host


test_drill = drill_test(
    Drill(
        name="IPv4, one look",
        rule="tcp-listen-overflow",
        build=serve("192.0.2.1", 1),  # type: ignore[arg-type]
        break_=call("192.0.2.1"),  # type: ignore[arg-type]
        settle=waits,
        repair=restart,
        severity="warning",
        expect={"kind": "socket", "netid": "tcp", "src": "192.0.2.1", "sport": 8080},
        twin=exactly,
    ),
    Drill(
        name="IPv6, two looks",
        rule="tcp-listen-overflow",
        build=accepting,
        break_=stuck,
        repair=lambda lab, host: go_on(SERVERS[host].pid),
        during=answered,
        carries=answered,
        severity="critical",
        expect={"kind": "socket", "src": "::", "sport": 8080},
    ),
)
