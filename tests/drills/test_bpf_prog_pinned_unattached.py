"""A program that only its pin keeps: told as info, never an alarm."""

from tests.drills.bpfworld import program, tc, two_cables
from tests.lab import Lab
from tests.lab import bpfobjects as make

RULE = "bpf-prog-pinned-unattached"


def test_drill(lab: Lab) -> None:
    host = two_cables(lab)
    program(host, "used", b"used")
    tc(host, "eth0", "used", 1)
    host.call(_tail_call)
    assert [row for row in host.report()["findings"] if row["rule"] == RULE] == []
    program(host, "stale", b"stale")
    report = host.report()
    assert report["verdict"] == "ok"
    (finding,) = [row for row in report["findings"] if row["rule"] == RULE]
    assert (finding["severity"], finding["subject"]["path"]) == ("info", "/sys/fs/bpf/stale")
    for command in finding["confirm"]:
        assert host.sh(command).stdout
    host.sh(finding["fix"])
    assert [row for row in host.report()["findings"] if row["rule"] == RULE] == []


def _tail_call() -> None:
    """A pinned program that a prog_array calls, and a pinned iterator-like one that has no device."""
    calls = make.map_(make.PROG_ARRAY, b"calls", entries=2)
    callee = make.program(make.SCHED_CLS, b"callee")
    make.update(calls, bytes(4), callee.to_bytes(4, "little"))
    make.pin(calls, "calls")
    make.pin(callee, "callee")
    make.pin(make.program(make.RAW_TRACEPOINT, b"probe"), "probe")
