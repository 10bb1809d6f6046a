"""A time daemon that has no source, on a kernel whose clock nobody has set; and the same kernel without one.

The test machine's kernel must say that its clock is not synchronised, as that of a virtual machine does on which
nothing keeps the time; where it is synchronised the rule must stay silent whatever runs.
"""

from netdiag.sources.adjtimex import fetch
from tests.drills.socketworld import started
from tests.lab import Lab

RULE = "time-unsynchronised"


def test_a_daemon_that_does_not_do_its_work(lab: Lab) -> None:
    host = lab.host("a")

    def told() -> list[str]:
        report = host.report("--rule", RULE)
        assert not report["not_evaluated"]
        return [row["severity"] for row in report["findings"]]

    assert told() == []
    said = dict(line.split("=") for line in fetch("read", None).decode().split())
    pid = started(host, "chronyd", lambda: None)
    with open("/proc/uptime", encoding="ascii") as file:
        long_enough = float(file.read().split()[0]) >= 600
    unset = int(said["status"]) & 0x40 and int(said["maxerror"]) >= 16_000_000
    assert told() == (["warning"] if long_enough and unset else [])
    host.end(pid)
    assert told() == []
