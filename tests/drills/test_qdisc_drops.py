"""A shaper with a short queue, a short fifo, and the shapers that drop by design."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab


def build(lab: Lab) -> Host:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    return host


def flood(lab: Lab, host: Host) -> None:
    lab.send_udp(host, "192.0.2.2", 9, count=60, size=1400)


def capped(lab: Lab) -> Host:
    """A customer's cap with a queue of 50 ms, which drops what is above it."""
    host, guest = lab.host("worker"), lab.host("guest")
    lab.link(host, "eth0", guest, "eth0", a_addresses="192.0.2.254/32", b_addresses="192.0.2.2/32")
    host.ip("route add 192.0.2.2/32 dev eth0")
    guest.ip("route add 192.0.2.254/32 dev eth0")
    host.run("tc", "qdisc", "add", "dev", "eth0", *["root", "tbf", "rate", "2mbit", "burst", "10kb", "limit", "20kb"])
    return host


def drill(name: str, shape: str, **more: object) -> Drill:
    return Drill(
        name=name,
        rule="qdisc-drops",
        build=build,
        break_=lambda lab, host: host.run("tc", "qdisc", "add", "dev", "eth0", "root", *shape.split()),
        repair=lambda lab, host: host.run("tc", "qdisc", "del", "dev", "eth0", "root"),
        during=flood,
        check_args=("--interval", "0.4"),
        severity="warning",
        **more,  # type: ignore[arg-type]
    )


test_drill = drill_test(
    drill("short tbf", "tbf rate 1mbit burst 5kb limit 4kb", expect={"kind": "qdisc", "ifname": "eth0"}),
    drill("slow tbf", "tbf rate 100kbit burst 2kb latency 400ms"),
    drill("tbf with a long queue", "tbf rate 1mbit burst 32kbit latency 200ms"),
)


def test_a_cap_by_design_is_no_alarm(lab: Lab) -> None:
    host = capped(lab)
    severities: list[str] = []

    def told() -> bool:
        report = host.report("--interval", "0.4", during=lambda: flood(lab, host))
        assert report["verdict"] == "ok"
        severities[:] = [row["severity"] for row in report["findings"] if row["rule"] == "qdisc-drops"]
        return severities == ["info"]

    lab.wait(told, 6, "the drops are told, as an info")
