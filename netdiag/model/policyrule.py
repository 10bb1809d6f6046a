"""A policy routing rule, as RTM_GETRULE shows it (include/uapi/linux/fib_rules.h)."""

import msgspec


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of one family. A selector that is not set is None: it matches everything."""

    family: str
    """``inet`` or ``inet6``."""
    priority: int
    """FRA_PRIORITY; rules are tried in this order, and in dump order among equals."""
    action: str = "lookup"
    """``lookup`` (FR_ACT_TO_TBL), ``goto``, ``nop``, ``blackhole``, ``unreachable``, ``prohibit``; unknown:
    ``actN``."""
    table: int | None = None
    """Table number for ``lookup``; None with l3mdev or another action."""
    src: str | None = None
    src_len: int = 0
    dst: str | None = None
    dst_len: int = 0
    iif: str | None = None
    iif_detached: bool = False
    """FIB_RULE_IIF_DETACHED: no such interface now, the rule cannot match."""
    oif: str | None = None
    oif_detached: bool = False
    fwmark: int | None = None
    fwmask: int | None = None
    tos: int = 0
    dscp: int | None = None
    uid_start: int | None = None
    uid_end: int | None = None
    ip_proto: int | None = None
    sport_start: int | None = None
    sport_end: int | None = None
    dport_start: int | None = None
    dport_end: int | None = None
    tun_id: int | None = None
    l3mdev: bool = False
    """The table is that of the VRF of the packet's interface."""
    suppress_prefixlength: int | None = None
    """Ignore a result whose prefix is of this length or shorter; None: off (the kernel's -1)."""
    suppress_ifgroup: int | None = None
    goto: int | None = None
    """Priority of the target rule."""
    goto_unresolved: bool = False
    """FIB_RULE_UNRESOLVED: the target does not exist."""
    invert: bool = False
    """``not``: FIB_RULE_INVERT."""
    protocol: int = 0
    """RTPROT_*: who made it (2 kernel, 3 boot, 4 static, ...)."""
    unknown: int = 0
    """How many attributes netdiag did not know; a rule with any can match less than it seems to."""
