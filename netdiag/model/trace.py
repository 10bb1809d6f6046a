"""What was seen while somebody watched the kernel: what ``netdiag trace --json`` prints, ``netdiag.trace/1``."""

import msgspec


class TraceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One packet at one place."""

    at: float
    """Seconds since the trace began."""
    what: str
    """`dropped`, `retransmitted`, or of `packet` the place: `received`, `queued`, `sending`, `read`, `consumed`."""
    reason: str | None = None
    """Why it was dropped (enum skb_drop_reason), or the congestion state of a connection that sends again."""
    location: str | None = None
    """Function of the kernel; null: not told."""
    ifname: str | None = None
    """Interface that the packet is at."""
    ifindex: int | None = None
    """Its index."""
    iif: int | None = None
    """Index of the interface that it came by."""
    netns: int | None = None
    """Inode of the network namespace; null: not known."""
    family: str | None = None
    """`inet` or `inet6`; null: no IP packet."""
    src: str | None = None
    """Source address."""
    dst: str | None = None
    """Destination address."""
    proto: str | None = None
    """`tcp`, `udp`, `icmp`, or a number."""
    sport: int | None = None
    """Source port."""
    dport: int | None = None
    """Destination port."""
    flags: str | None = None
    """TCP flags."""
    ethertype: int | None = None
    """EtherType, where it is no IP packet."""
    length: int = 0
    """Bytes, as the kernel has them at that place."""
    mark: int = 0
    """Mark of the packet."""
    packet: int | None = None
    """Number of the packet in this trace: the same number is the same buffer."""
    state: str | None = None
    """State of the socket that sends again."""
    cwnd: int | None = None
    """Its congestion window, in segments."""
    srtt_us: int | None = None
    """Its smoothed round-trip time, in microseconds."""
    retransmits: int | None = None
    """How many segments it has sent again since it began."""


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of one kind at one place."""

    what: str
    """As of an event."""
    reason: str | None = None
    """As of an event."""
    location: str | None = None
    """As of an event."""
    ifname: str | None = None
    """Interface."""
    netns: int | None = None
    """Inode of the network namespace."""
    packets: int = 0
    """How many."""
    bytes: int = 0
    """How long all together."""
    meaning: str | None = None
    """What the reason means, and where to look."""
    sample: TraceEvent | None = None
    """One of them."""
    decided_by: str | None = None
    """What decides about that sample by this host's tables, as `netdiag path` tells it; null: not asked."""


class TraceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One trace."""

    schema: str = "netdiag.trace/1"
    """Always `netdiag.trace/1`."""
    question: str
    """`drops`, `retransmits` or `packet`."""
    seconds: float
    """How long it was watched."""
    interrupted: bool = False
    """Ended before its time."""
    netns: int | None = None
    """Inode of the only namespace that counts; null: all."""
    packets: int = 0
    """How many were seen."""
    untold: int = 0
    """How many of them are not among the events: there were too many."""
    missing: tuple[str, ...] = ()
    """Places that this kernel cannot tell of."""
    rows: tuple[TraceRow, ...] = ()
    """Summed up, the most first."""
    events: tuple[TraceEvent, ...] = ()
    """In order."""
