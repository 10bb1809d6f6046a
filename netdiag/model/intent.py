"""What a person meant this host to be, and which findings a person has accepted: the contract's section 5.

Every section of an intent is None where the file does not have it: then nothing is known about it, which is not the
same as "nothing is expected". Texts were written by an administrator and are shown like any other.
"""

import msgspec


class IntendedProgram(msgspec.Struct, frozen=True, kw_only=True):
    """``[[bpf]]``: a program that must be attached."""

    hook: str
    """``xdp``, ``tc-ingress``, ``tc-egress`` (clsact or tcx alike), ``cgroup-*``, ``netkit-*``."""
    name: str
    """Name of the program, or of its main function."""
    ifname: str | None = None
    """Glob on the names of interfaces; null for cgroups."""
    tag: str | None = None
    """Hash of the instructions, 16 hex digits; null: any build will do."""


class IntendedAnnouncement(msgspec.Struct, frozen=True, kw_only=True):
    """``[[announce]]``: a prefix that BIRD must export."""

    prefix: str
    """Canonical text."""
    session: str = "*"
    """Glob on the names of BGP protocols."""


class IntendedRule(msgspec.Struct, frozen=True, kw_only=True):
    """``[[rule]]``: a policy rule that must exist. What is null may be anything; numbers are the kernel's."""

    family: str
    """``inet`` or ``inet6``."""
    priority: int | None = None
    """FRA_PRIORITY."""
    table: int | None = None
    """Table that is looked up."""
    action: str | None = None
    """``lookup``, ``goto``, ``blackhole`` ..."""
    src: str | None = None
    """Source prefix, canonical; ``all`` for a rule that must have none."""
    dst: str | None = None
    """Destination prefix, canonical; ``all`` for a rule that must have none."""
    iif: str | None = None
    """Incoming interface."""
    oif: str | None = None
    """Outgoing interface."""
    fwmark: int | None = None
    """Mark."""
    fwmask: int | None = None
    """Its mask, all ones where the file names a mark without one."""
    tos: int | None = None
    """Type of service."""
    ipproto: int | None = None
    """Protocol number."""
    sport: int | None = None
    """Source port."""
    dport: int | None = None
    """Destination port."""
    uid_start: int | None = None
    """First user id."""
    uid_end: int | None = None
    """Last user id."""
    goto: int | None = None
    """Priority of the target."""
    suppress_prefixlen: int | None = None
    """Results of this length or shorter are ignored."""
    l3mdev: bool | None = None
    """True: the table is that of the interface's VRF."""
    inverted: bool | None = None
    """True: ``not``."""


class IntendedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """``[[route]]``: a route that must exist. What is null may be anything."""

    family: str
    """``inet`` or ``inet6``."""
    dst: str
    """Prefix, canonical; the default route is ``0.0.0.0/0`` or ``::/0``."""
    table: int = 254
    """Number of the table."""
    gateway: str | None = None
    """Address of a gateway, of any of its next hops."""
    dev: str | None = None
    """Interface, of any of its next hops."""
    type: str | None = None
    """``unicast``, ``blackhole`` ..."""
    metric: int | None = None
    """RTA_PRIORITY."""
    prefsrc: str | None = None
    """Preferred source."""


class IntendedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """``[[address]]``: an address that must be on an interface."""

    ifname: str
    """The interface."""
    address: str
    """Canonical text, without the length."""
    prefixlen: int | None = None
    """Its prefix length; null: any."""


class IntendedPeer(msgspec.Struct, frozen=True, kw_only=True):
    """``[[wireguard.peer]]``: a peer that must be known."""

    public_key: str
    """Base64."""
    allowed_ips: tuple[str, ...] | None = None
    """Exactly these prefixes, canonical; null: any."""


class IntendedWireguard(msgspec.Struct, frozen=True, kw_only=True):
    """``[[wireguard]]``: a device that must exist, with exactly these peers."""

    ifname: str
    """Name of its interface."""
    peer: tuple[IntendedPeer, ...] | None = None
    """All its peers; null: nothing is said about them."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What this host is meant to be."""

    sysctl: dict[str, str] | None = None
    """Settings by dotted name with the text that they must have."""
    bpf: tuple[IntendedProgram, ...] | None = None
    """Programs that must be attached."""
    announce: tuple[IntendedAnnouncement, ...] | None = None
    """Prefixes that BIRD must export."""
    rule: tuple[IntendedRule, ...] | None = None
    """Policy rules that must exist."""
    route: tuple[IntendedRoute, ...] | None = None
    """Routes that must exist."""
    address: tuple[IntendedAddress, ...] | None = None
    """Addresses that must be there."""
    wireguard: tuple[IntendedWireguard, ...] | None = None
    """WireGuard devices with their peers."""


SECTIONS = tuple(field.name for field in msgspec.structs.fields(Intent))


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """``[[suppress]]``: findings that somebody has accepted until a day."""

    rule: str
    """Id of the rule."""
    match: str
    """Glob on the text of the finding's subject (model.finding.subject_text)."""
    owner: str
    """Who answers for it."""
    ticket: str
    """Where it is written down."""
    expires: str
    """``2026-12-31``: the last day on which it counts."""


class Suppressions(msgspec.Struct, frozen=True, kw_only=True):
    """A file of suppressions."""

    path: str
    """Where they came from."""
    entries: tuple[Suppression, ...] = ()
    """In the order of the file."""
