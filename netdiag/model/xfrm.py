"""IPsec: states (security associations) and policies, without keys, which never get past the receive buffer.

From XFRM_MSG_GETSA and XFRM_MSG_GETPOLICY (include/uapi/linux/xfrm.h).
"""

import msgspec


class XfrmState(msgspec.Struct, frozen=True, kw_only=True):
    """One security association."""

    src: str
    """Outer source address."""
    dst: str
    """Outer destination address."""
    proto: str
    """``esp``, ``ah``, ``comp`` or a number."""
    spi: int
    """Security parameter index."""
    mode: str
    """``transport``, ``tunnel``, ``beet`` ..."""
    reqid: int = 0
    """Ties it to the policies with the same number."""
    auth: str | None = None
    """Name of the authentication algorithm."""
    enc: str | None = None
    """Name of the cipher."""
    aead: str | None = None
    """Name of the combined algorithm."""
    encap: str | None = None
    """UDP encapsulation: ``4500>4500``; None: none."""
    if_id: int | None = None
    """Number of the xfrm interface that it belongs to."""
    mark: int | None = None
    """Mark that packets must have."""
    bytes: int = 0
    """Bytes that went through."""
    packets: int = 0
    """Packets that went through."""
    replay_failed: int = 0
    """Packets refused because they came a second time."""
    integrity_failed: int = 0
    """Packets refused because they were changed on the way, or the keys differ."""
    added: int = 0
    """Seconds since 1970 when it was made."""
    used: int = 0
    """Seconds since 1970 when it was first used; 0: never."""


class XfrmTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """What state a policy asks for."""

    src: str
    """Outer source; ``0.0.0.0``, ``::``: any."""
    dst: str
    """Outer destination."""
    proto: str
    """As of a state."""
    mode: str
    """As of a state."""
    reqid: int = 0
    """As of a state."""
    optional: bool = False
    """Packets may do without."""


class XfrmPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy."""

    src: str
    """Source prefix of the packets that it is about."""
    dst: str
    """Destination prefix."""
    dir: str
    """``in``, ``out`` or ``fwd``."""
    action: str
    """``allow`` or ``block``."""
    priority: int
    """Lower ones win."""
    proto: int = 0
    """Transport protocol; 0: any."""
    ifindex: int | None = None
    """Interface; None: any."""
    if_id: int | None = None
    """Number of the xfrm interface that it belongs to."""
    mark: int | None = None
    """Mark that packets must have."""
    templates: tuple[XfrmTemplate, ...] = ()
    """States that it asks for, in order."""


class Xfrm(msgspec.Struct, frozen=True, kw_only=True):
    """IPsec of one namespace."""

    states: tuple[XfrmState, ...] = ()
    """Security associations."""
    policies: tuple[XfrmPolicy, ...] = ()
    """Policies; those of sockets are left out."""
