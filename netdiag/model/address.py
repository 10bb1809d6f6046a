"""An address on an interface, as RTM_GETADDR shows it (include/uapi/linux/if_addr.h)."""

import msgspec

IFA_F_SECONDARY = 0x01
"""IPv4: secondary; the same bit is IFA_F_TEMPORARY for IPv6."""
IFA_F_NODAD = 0x02
IFA_F_OPTIMISTIC = 0x04
IFA_F_DADFAILED = 0x08
IFA_F_HOMEADDRESS = 0x10
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80
IFA_F_MANAGETEMPADDR = 0x100
IFA_F_NOPREFIXROUTE = 0x200
IFA_F_MCAUTOJOIN = 0x400
IFA_F_STABLE_PRIVACY = 0x800


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One address of one interface."""

    ifindex: int
    family: str
    """``inet`` or ``inet6``."""
    local: str
    """The address of this host, canonical text."""
    prefixlen: int
    peer: str | None = None
    """The far end, where the address was given with ``peer``; else None. ``prefixlen`` then belongs to the peer."""
    broadcast: str | None = None
    anycast: str | None = None
    label: str | None = None
    scope: int = 0
    """RT_SCOPE_*: 0 global, 200 site, 253 link, 254 host."""
    flags: int = 0
    """IFA_F_* bits (IFA_FLAGS, 32 bits wide)."""
    preferred_lft: int | None = None
    """Seconds; None is forever."""
    valid_lft: int | None = None
    """Seconds; None is forever."""
    proto: int | None = None
    """IFAPROT_*: who made it (Linux 5.18); None unset."""
    created: float | None = None
    """Seconds from boot to when it was given (IFA_CACHEINFO cstamp, which stands still while a machine sleeps, and
    begins anew after 497 days)."""
    rt_priority: int | None = None
