"""Hosts with taps and programs for the examples of bpf-expected-missing-on-iface, and those about traces. Pure; nothing
can fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from netdiag.model.bpf import BpfPin
from netdiag.model.snapshot import Tables
from netdiag.model.tc import INGRESS, Qdisc, Tc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, xdp
from netdiag.rules.shape import Example


def taps(count: int = 1) -> HostBuilder:
    """Taps, and two programs that are loaded."""
    host = HostBuilder()
    for number in range(count):
        host.link(f"tap{number}", kind="tun")
    return host.bpf(programs=[program(1, "worker_in"), program(2, "other", tag="bb" * 8)])


def baseline_examples() -> Iterator[Example]:
    """Programs of tc that are gone since the baseline, or are not."""

    def ways(*numbers: int, out: bool = True) -> HostBuilder:
        """Programs at tc ingress of tap0, and one at egress."""
        host = taps().bpf(programs=[program(7, "count_in", tag="77" * 8), program(8, "count_out", tag="88" * 8)])
        for number in numbers:
            tc(host, "tap0", number, priority=number)
        return tc(host, "tap0", 8, direction="egress") if out else host

    for name, why, now, fires in (
        ("one direction gone since", "the other is left", ways(), 1),
        ("one of two at a hook gone since", "nothing came in its place", ways(1), 1),
        ("one of two replaced since", "an upgrade", ways(1, 2), 0),
        ("all of tc gone since", "bpf-tc-clsact-removed speaks", ways(out=False), 0),
        ("all of tc gone since, XDP is there", "bpf-tc-clsact-removed speaks", xdp(ways(out=False), "tap0", 1), 0),
        ("both there", "as it should be", ways(1, 7), 0),
    ):
        yield Example(name=name, why=why, tables=now.build(), baseline=ways(1, 7).build(), fires=fires)


def trace_examples(two: Callable[..., Tables]) -> Iterator[Example]:
    """What looks like a trace, and is none; and what does not hide one."""
    other = xdp(taps(2), "tap0", 2)
    yield Example(name="an empty clsact, and XDP there", why="another hook", tables=two(other), fires=1)
    for name, why, tables in (
        ("a program on its way out", "the clsact is in use", two(tc(taps(2), "tap0", 2, direction="egress"))),
        ("a clsact of a shared block", "filters are in the block", two(ingress_block=5)),
        ("a clsact of a shared block, outwards", "filters are in the block", two(egress_block=5)),
    ):
        yield Example(name=name, why=why, tables=tables, unjudged=True)
    row = Qdisc(ifindex=taps(2).ifindex("tap0"), kind="fq_codel", handle=0x10000, parent=0xFFFFFFFF)
    queue = replace(two(), qdiscs=Tc(qdiscs=(row,)))
    yield Example(name="a queue", why="it is there on each", tables=queue, unjudged=True)
    held = {"programs": [program(3, "worker_in")]}
    for name, pins in (("nowhere", []), ("a map", [BpfPin(path="/sys/fs/bpf/m", kind="map", id=3)])):
        tables = two(taps(2).bpf(**held, pins=pins), clsact=False)
        yield Example(name=f"held by a process, pinned: {name}", why="it may be busy", tables=tables, unjudged=True)
    host = HostBuilder().link("tap0", kind="tun").link("tap1", kind="tun")
    whole = {"name": "worker_ingress_", "function": "worker_ingress_v4"}
    host.bpf(programs=[program(1, **whole), program(3, **whole)], pins=[BpfPin(path="/p", kind="prog", id=3)])
    tables = two(host, clsact=False)
    yield Example(name="pinned for it, of a long name", why="types tell it whole", tables=tables, fires=1)
    clsact = (Qdisc(ifindex=taps(2).ifindex("tap0"), kind="clsact", handle=0xFFFF0000, parent=INGRESS),)
    for name, host in (("another kind's", tc(taps(2).link("eth0"), "eth0", 1)), ("XDP", xdp(taps(2), "tap1", 1))):
        left = replace(host.build(), qdiscs=Tc(qdiscs=clsact))
        yield Example(name=f"an empty clsact, the sibling's is {name}", why="not the same", tables=left, unjudged=True)
    for seen, fires in (("tap0", 1), ("tap1", 0)):
        host = taps(2)
        before = {"links": (host.link_counters(seen),)}
        tables = two(host.counters(before=before, after=before))
        why = "an agent comes within a second"
        yield Example(name=f"seen before: {seen}", why=why, tables=tables, fires=fires, unjudged=not fires)
