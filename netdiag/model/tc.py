"""Traffic control: queueing disciplines, their classes, and the filters that are not eBPF programs.

From RTM_GETQDISC, RTM_GETTCLASS and RTM_GETTFILTER (include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h). Handles are
numbers of 32 bits, major in the upper half; ``handle_text`` spells them as ``tc`` does.
"""

from typing import Any

import msgspec

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
"""TC_H_ROOT and TC_H_INGRESS (which is TC_H_CLSACT too) as a parent."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """TCA_STATS2 of a qdisc or class (struct gnet_stats_basic, gnet_stats_queue), since it was made."""

    bytes: int = 0
    """Bytes that went through."""
    packets: int = 0
    """Packets that went through."""
    drops: int = 0
    """Packets dropped here or below."""
    overlimits: int = 0
    """How often a packet had to wait for its turn; no loss by itself."""
    requeues: int = 0
    """Packets put back because the device was busy."""
    backlog: int = 0
    """Bytes waiting now."""
    qlen: int = 0
    """Packets waiting now."""


class Qdisc(msgspec.Struct, frozen=True, kw_only=True):
    """A queueing discipline."""

    ifindex: int
    kind: str
    """``fq_codel``, ``htb``, ``noqueue``, ``clsact``, ``mq`` ..."""
    handle: int
    """Major number in the upper 16 bits; 0: made by the kernel."""
    parent: int
    """Handle of the class it is the leaf of; 4294967295 root, 4294967281 ingress and clsact."""
    options: dict[str, Any] = {}
    """TCA_OPTIONS in the spelling of ``tc -json``: rate and ceil in bytes per second, times in microseconds, limits in
    packets or bytes as the kind has them."""
    ingress_block: int | None = None
    """Number of the shared filter block at its ingress."""
    egress_block: int | None = None
    """Number of the shared filter block at its egress."""
    offloaded: bool = False
    """The device does the work."""
    stats: QueueStats = QueueStats()


class TcClass(msgspec.Struct, frozen=True, kw_only=True):
    """A class of a classful queueing discipline."""

    ifindex: int
    kind: str
    """Kind of the qdisc that it belongs to."""
    handle: int
    """The class id: major of the qdisc, minor of its own."""
    parent: int
    """Handle of the class or qdisc above; 4294967295 root."""
    leaf: int = 0
    """Handle of the qdisc below it; 0: none of its own."""
    options: dict[str, Any] = {}
    """As of a qdisc: htb has rate, ceil, burst, cburst, prio, quantum."""
    stats: QueueStats = QueueStats()


class TcAction(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter does with its packets."""

    kind: str
    """``gact``, ``mirred``, ``police``, ``vlan`` ..."""
    verdict: str | None = None
    """``drop``, ``pass``, ``pipe``, ``stolen`` ...; of a policer what happens to packets above the rate."""
    ifindex: int | None = None
    """Where mirred sends it."""
    direction: str | None = None
    """Of mirred: ``egress redirect``, ``egress mirror``, ``ingress redirect``, ``ingress mirror``."""
    rate: int | None = None
    """Of a policer, in bytes per second."""
    stats: QueueStats = QueueStats()


class TcFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter that is no eBPF program; those stand with the eBPF attachments."""

    ifindex: int
    parent: int
    """Handle of the qdisc, or 4294967282 ingress, 4294967283 egress of clsact."""
    kind: str
    """``u32``, ``flower``, ``matchall``, ``basic``, ``fw`` ..."""
    handle: int
    """Handle of the filter, in the numbering of its kind."""
    priority: int
    """Lower ones are tried first."""
    protocol: int
    """Ethertype; 3: all."""
    chain: int | None = None
    """Chain; None: 0 on an old kernel."""
    block: int | None = None
    """Shared block that it hangs in."""
    classid: int | None = None
    """Class that its packets go to."""
    actions: tuple[TcAction, ...] = ()
    """In order."""


class TcCounters(msgspec.Struct, frozen=True, kw_only=True):
    """What moves, of a qdisc or class."""

    ifindex: int
    kind: str
    handle: int
    """Handle of the qdisc, class id of a class."""
    parent: int
    """As above; tells the kernel's own qdiscs apart, whose handle is 0."""
    of_class: bool = False
    """A class, not a qdisc."""
    stats: QueueStats = QueueStats()


class Tc(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic control of one namespace."""

    qdiscs: tuple[Qdisc, ...] = ()
    classes: tuple[TcClass, ...] = ()
    filters: tuple[TcFilter, ...] = ()
    seconds: float | None = None
    """Seconds between the two looks; None: one look only."""
    second: tuple[TcCounters, ...] = ()
    """Statistics of the second look."""


def handle_text(handle: int) -> str:
    """``1:``, ``1:10``, ``root``, ``ffff:fff1`` as ``tc`` prints them."""
    if handle == ROOT:
        return "root"
    major, minor = handle >> 16, handle & 0xFFFF
    return f"{major:x}:{minor:x}" if minor else f"{major:x}:"
