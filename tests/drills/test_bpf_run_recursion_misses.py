"""A tracing program that prints is attached to the printing itself, and the kernel does not run it within itself."""

from tests.drills.bpfworld import tc, two_cables
from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import started
from tests.drills.test_gone_since import ARGS, kept
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

PIDS: dict[str, int] = {}


def build(lab: Lab) -> Host:
    """A program that prints a word for each packet, and one that would print for each word, not attached yet."""
    host = two_cables(lab)

    def load() -> None:
        make.pin(make.program(make.SCHED_CLS, b"teller", verdict=-1, first=make.says(b"hi")), "teller")
        make.pin(make.program(make.RAW_TRACEPOINT, b"listener", first=make.says(b"ho")), "listener")

    host.call(load)
    tc(host, "eth0", "teller", 1)
    return host


def listens(lab: Lab, host: Host) -> None:
    def attach() -> int:
        return make.raw_tracepoint(make.pinned("/sys/fs/bpf/listener"), b"bpf_trace_printk")

    PIDS["tracer"] = started(host, "tracer", attach)
    lab.send_udp(lab.hosts["far0"], "192.0.2.1", 9)


def ended(lab: Lab, host: Host) -> None:
    """The tracer is gone, and what it missed is of the past."""
    host.end(PIDS["tracer"])
    kept(lambda lab: host)(lab)


DRILL = Drill(
    rule="bpf-run-recursion-misses",
    build=kept(build),
    break_=listens,
    repair=ended,
    check_args=ARGS,
    severity="info",
    expect={"kind": "bpf-program", "name": "listener"},
)
test_drill = drill_test(DRILL)
