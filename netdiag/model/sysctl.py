"""net.* settings that are not part of an interface's own netlink reply. Values are the text of /proc/sys, stripped."""

import msgspec


class SysctlLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of sysctl.d(5) sets at boot."""

    name: str
    """Dotted name, in which an interface's own dots are slashes; ``net.ipv4.conf.*.rp_filter`` may be a pattern."""
    value: str
    """Text behind the equals sign, stripped."""
    path: str
    """The file."""


class Sysctls(msgspec.Struct, frozen=True, kw_only=True):
    """Settings by dotted name (``net.ipv4.ip_forward``); what does not exist in this kernel or namespace is not
    there."""

    values: dict[str, str] = {}
    files: tuple[SysctlLine, ...] | None = None
    """net.* lines of sysctl.d(5) in the order in which they take effect at boot: of one name the last one counts. None:
    they could not be read, or are those of another network namespace."""


class NeighTable(msgspec.Struct, frozen=True, kw_only=True):
    """One neighbour table (RTM_GETNEIGHTBL). There is one per family in the whole kernel, for all namespaces
    together."""

    name: str
    """``arp_cache`` or ``ndisc_cache``."""
    family: str
    entries: int | None = None
    """Entries of the whole kernel (NDTC_ENTRIES), permanent and externally learned ones included."""
    thresh1: int | None = None
    thresh2: int | None = None
    thresh3: int | None = None
    """gc_thresh1-3. Netlink shows them in every namespace; the sysctls exist in the initial one only."""
    gc_interval_ms: int | None = None
    table_fulls: int | None = None
    """How often an entry was refused because the table was full, since boot."""
    allocs: int | None = None
    res_failed: int | None = None
    forced_gc_runs: int | None = None
    unresolved_discards: int | None = None
