"""What it checks
  The kernel counts the runs and the time of every eBPF program (kernel.bpf_stats_enabled=1).

Why it matters
  Two reads of the clock for each run: some percent of CPU on a host that runs programs for every packet. It is meant
  for a measurement, and somebody forgot to switch it off.

Confirm
  sysctl kernel.bpf_stats_enabled

Fix
  sysctl -w kernel.bpf_stats_enabled=0. Counters that were gathered stay; who watches them sees them stand still.

Not flagged
  Hosts without attached programs. Statistics that a process switched on for as long as it lives (BPF_ENABLE_STATS): the
  setting stays 0 then. It is an info: an observer may want them for good.

References
  Documentation/admin-guide/sysctl/kernel.rst bpf_stats_enabled; kernel/bpf/syscall.c bpf_stats_handler()
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bpf-stats-left-enabled",
    title="the kernel measures every run of every eBPF program",
    severity="info",
    reads=("sysctls",),
    consults=("bpf",),
    machine_wide=True,
)
NAME = "kernel.bpf_stats_enabled"


def check(view: HostView) -> Iterator[Draft]:
    attached = len({row.prog_id for row in view.bpf.attachments})
    if view.sysctl_int(NAME) == 1 and attached:
        yield RULE.found(
            subject=subject("sysctl", name=NAME),
            message=f"the kernel reads the clock twice for each run of each eBPF program, {attached} of them attached"
            " here",
            evidence=[
                (NAME, 1, "/proc/sys/kernel/bpf_stats_enabled"),
                ("attached programs", attached, "RTM_GETLINK, RTM_GETTFILTER, BPF_PROG_QUERY"),
            ],
            confirm=[f"sysctl {NAME}"],
            fix=f"sysctl -w {NAME}=0",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, value: int | None, fires: int = 0, *, attached: bool = True) -> Example:
        host = HostBuilder().link("eth0").bpf(programs=[program(1)])
        host = tc(host, "eth0", 1) if attached else host
        tables = (host if value is None else host.sysctl(NAME, value)).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    yield case("on", "the plain state", 1, 1)
    yield case("off", "the default", 0)
    yield case("nothing attached", "nothing is measured", 1, attached=False)
    yield case("no such setting", "an old kernel", None)
