"""A receiver that is stopped while datagrams come in; the same traffic is harmless while it reads."""

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import go_on, pair, stop
from tests.lab import Host, Lab
from tests.lab.traffic import Listener

RECEIVERS: dict[str, Listener] = {}


def world(address: str) -> object:
    def build(lab: Lab) -> Host:
        host = pair(lab)
        RECEIVERS["server"] = lab.listen_udp(host, address, 5300)
        return host

    return build


def errors(host: Host) -> int:
    """Datagrams that found no room, of both families."""
    shown = host.run("nstat", "-asz", "UdpRcvbufErrors", "Udp6RcvbufErrors").stdout.splitlines()
    return sum(int(line.split()[1]) for line in shown if "RcvbufErrors" in line)


def drill(name: str, address: str, dst: str) -> Drill:
    def during(lab: Lab, host: Host) -> None:
        receiver = RECEIVERS["server"]
        before = receiver.packets
        lab.send_udp(lab.hosts["client"], dst, 5300, count=60, size=900)
        if not STOPPED:
            lab.wait(lambda: receiver.packets >= before + 60, 5, "all of them were read")

    def all_taken(lab: Lab, host: Host) -> bool:
        """Nothing of what the client sends finds the buffer full."""
        before = errors(host)
        lab.send_udp(lab.hosts["client"], dst, 5300, count=20, size=900)
        return errors(host) == before

    return Drill(
        name=name,
        rule="udp-rcvbuf-errors",
        build=world(address),  # type: ignore[arg-type]
        break_=lambda lab, host: (stop(RECEIVERS["server"].pid), STOPPED.add(1)),
        during=during,
        repair=lambda lab, host: (go_on(RECEIVERS["server"].pid), STOPPED.clear()),
        severity="critical",
        carries=all_taken,
        expect={"kind": "socket", "netid": "udp", "src": address, "sport": 5300},
    )


STOPPED: set[int] = set()
test_drill = drill_test(drill("IPv4", "0.0.0.0", "192.0.2.1"), drill("IPv6", "::", "2001:db8::1"))
