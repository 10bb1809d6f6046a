"""Two samples of protocol counters for the examples of rules that judge what moved. ValueError: nothing."""

from collections.abc import Mapping

from netdiag.rules.build import HostBuilder

BEFORE = 50
"""What every counter stands at in the first sample: totals since boot must not matter."""


def counted(moved: Mapping[str, int], host: HostBuilder | None = None, *, others: tuple[str, ...] = ()) -> HostBuilder:
    """A host whose counters moved so far between the samples; ``others`` stand still."""
    before = dict.fromkeys((*others, *moved), BEFORE)
    after = before | {name: BEFORE + count for name, count in moved.items()}
    return (host or HostBuilder()).counters(before={"snmp": before}, after={"snmp": after})
