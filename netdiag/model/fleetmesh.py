"""A fleet's mesh made small enough to be drawn: hosts in regions, how many pairs between regions, and the sick ones."""

import msgspec


class MeshHost(msgspec.Struct, frozen=True, kw_only=True):
    """One host."""

    name: str
    region: str
    """Empty: not known."""


class RegionLink(msgspec.Struct, frozen=True, kw_only=True):
    """All pairs of hosts between two regions, or within one."""

    one: str
    two: str
    pairs: int
    """Pairs of hosts that are peers."""
    sick: int
    """Those of them that send and hear nothing."""


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """The whole."""

    hosts: tuple[MeshHost, ...] = ()
    links: tuple[RegionLink, ...] = ()
    sick: tuple[tuple[str, str], ...] = ()
    """Pairs that send and hear nothing, by name, as many as can be drawn."""
