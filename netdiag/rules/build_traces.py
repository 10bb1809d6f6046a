"""Hosts with taps and programs for the examples of bpf-expected-missing-on-iface, and those about traces and about how
long an interface has been there. Pure; nothing can fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from netdiag.model.bpf import BpfPin
from netdiag.model.finding import Severity
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


def age_examples(crowd: Callable[..., HostBuilder]) -> Iterator[Example]:
    """Which interfaces are siblings, and from when on each is judged."""
    for name, why, seen, late, fires in (
        ("there before", "it had time", "tap0", (), 1),
        ("made just now", "its agent comes within a second", "eth0", (), 0),
        ("counters not read", "its sibling is younger", "eth0", ("counters",), 1),
    ):
        host = crowd(11, 1).link("eth0")
        before = {"links": (host.link_counters(seen),)}
        host.counters(before=before, after=before)
        yield Example(name=f"one of eleven, {name}", why=why, tables=host.build(), fires=fires, late=late)
    young = crowd(11, 1).link("tap0", kind="tun", ifindex=99).build()
    told: dict[str, Any] = {"fires": 1, "late": ("counters",), "says": ("it may be new",), "unjudged": True}
    why, told["severity"] = "its agent may be on the way", "info"
    yield Example(name="the youngest, counters not read", why=why, tables=young, **told)
    yield Example(name="two of twenty-two", why="twenty of their siblings", tables=crowd(22, 2).build(), fires=2)
    yield Example(name="three of twenty-one", why="nine in ten are not enough", tables=crowd(21, 3).build())
    dark = crowd(11, 1, carrier=False).build()
    yield Example(name="one without carrier", why="nobody is behind it", tables=dark)
    lately = crowd(22, 2).link("tap0", kind="tun", ifindex=98).link("tap1", kind="tun", ifindex=99).build()
    told |= {"fires": 2}
    yield Example(name="the two youngest, counters not read", why=why, tables=lately, **told)
    known = crowd(11, 1).link("tap0", kind="tun", ifindex=99)
    before = {"links": (known.link_counters("tap0"),)}
    tables = known.counters(before=before, after=before).build()
    yield Example(name="the youngest, seen before", why="it had time", tables=tables, fires=1, severity="warning")
    cases: tuple[tuple[str, int, tuple[float | None, ...], float | None, Severity], ...] = (
        ("the youngest, made just now", 99, (99_991.0,), 100_000.0, "info"),
        ("the youngest, made a while ago", 99, (99_990.0,), 100_000.0, "warning"),
        ("the youngest, with another address since", 99, (99_900.0, 99_999.0), 100_000.0, "warning"),
        ("the youngest, nobody knows how old", 99, (), 100_000.0, "warning"),
        ("the youngest, made nobody knows when", 99, (None,), 100_000.0, "warning"),
        ("the youngest, uptime not known", 99, (99_999.0,), None, "warning"),
        ("the youngest, made when the stamps began anew", 99, (42_949_672.0,), 42_949_673.0, "info"),
        ("a younger one has it", 2, (99_999.0,), 100_000.0, "warning"),
    )
    for name, number, stamps, uptime, severity in cases:
        one = crowd(11, 1).link("tap0", kind="tun", ifindex=number)
        for host_part, created in enumerate(stamps, 1):
            one.address("tap0", f"fe80::{host_part}/64", created=created)
        one.address("tap1", "fe80::9/64", created=1.0)
        before = {"links": (one.link_counters("tap0"),)}
        tables = one.counters(before=before, after=before).build()
        why = "its agent may be on the way, or not"
        yield Example(name=name, why=why, tables=tables, fires=1, severity=severity, uptime=uptime)
    tagged = HostBuilder().bpf(programs=[program(1, "worker_in")])
    for number in range(12):
        tagged.link(f"eth0.{number}", kind="vlan")
        if number:
            tc(tagged, f"eth0.{number}", 1)
    yield Example(name="VLANs", why="each has a purpose of its own", tables=tagged.build(), unjudged=True)
    named_ = crowd(11, 1).link("uplink", kind="tun").build()
    yield Example(name="one of another name", why="no number, no class", tables=named_, fires=1)
