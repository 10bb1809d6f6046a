"""Nexthop objects and groups, as RTM_GETNEXTHOP shows them (include/uapi/linux/nexthop.h)."""

import msgspec


class NexthopMember(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a group."""

    id: int
    weight: int = 1
    """1 to 65536, as ``ip nexthop`` prints it (the kernel stores it less one)."""


class Nexthop(msgspec.Struct, frozen=True, kw_only=True):
    """One nexthop object: a single hop, a blackhole, or a group."""

    id: int
    family: str | None = None
    """``inet``, ``inet6``; None for groups and device-only hops without a gateway family."""
    gateway: str | None = None
    oif: int | None = None
    flags: int = 0
    """RTNH_F_* bits."""
    scope: int = 0
    protocol: int = 0
    blackhole: bool = False
    fdb: bool = False
    group: tuple[NexthopMember, ...] = ()
    resilient: bool = False
    encap: str | None = None
    master: int | None = None
