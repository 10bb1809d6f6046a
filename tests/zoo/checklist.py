"""All lines of tests/zoo/near, and the question to a host: is everything there that the lines say of it?"""

from typing import Any

from netdiag.model.snapshot import Tables
from tests.zoo.near import (
    ByTest,
    Line,
    Near,
    Never,
    Shown,
    addressing,
    bgp_bird,
    dns_time,
    ebpf_xdp,
    fleet,
    links_mtu_offload,
    namespaces_vms_tap,
    neighbours,
    netfilter_conntrack,
    nic_softirq_kernel,
    routing,
    sockets_tcp,
    wireguard,
)

__all__ = ["LINES", "ByTest", "Near", "Never", "Shown", "unseen"]
FILES = (
    addressing,
    bgp_bird,
    dns_time,
    ebpf_xdp,
    fleet,
    links_mtu_offload,
    namespaces_vms_tap,
    neighbours,
    netfilter_conntrack,
    nic_softirq_kernel,
    routing,
    sockets_tcp,
    wireguard,
)
LINES: tuple[Line, ...] = tuple(line for file in FILES for line in file.LINES)
UNTOLD = ("baseline", "intent")
"""What a person may give: a rule that has nothing to go by without it says so, and that is no gap of the host."""


def unseen(host: str, tables: Tables, report: Any) -> list[str]:
    """Lines of a host whose near miss is not there, or whose rule could not judge it. ``report`` is a Report, or the
    same as JSON."""
    gaps = report["not_evaluated"] if isinstance(report, dict) else report.not_evaluated
    blind = {_of(gap, "rule"): _of(gap, "reason") for gap in gaps}
    wrong = []
    for line in LINES:
        if not isinstance(line, Near) or line.host != host:
            continue
        try:
            seen = line.seen(tables)
        except (StopIteration, IndexError, KeyError, AttributeError) as error:
            seen, wrong = False, [*wrong, repr(error)]
        if not seen:
            wrong.append(f"{line.rule}: {line.words}: not there")
        elif line.rule in blind and not any(word in blind[line.rule] for word in UNTOLD):
            wrong.append(f"{line.rule}: {line.words}: not evaluated: {blind[line.rule]}")
    return wrong


def _of(gap: Any, name: str) -> str:
    return str(gap[name] if isinstance(gap, dict) else getattr(gap, name))
