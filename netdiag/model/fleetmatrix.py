"""``netdiag.fleet-matrix/1``: which host of a mesh reaches which, and with how long packets. Plain types."""

import msgspec


class MatrixPair(msgspec.Struct, frozen=True, kw_only=True):
    """One ordered pair that is not in order."""

    near: str = msgspec.field(name="from")
    """The host that sends."""
    far: str = msgspec.field(name="to")
    """The host that shall get it."""
    state: str
    """``silent``, ``one-sided``, ``not allowed`` or ``no route``."""
    mtu: int | None = None
    """Bytes that fit through the tunnel; null: not known."""


class MatrixReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``netdiag fleet matrix --json`` prints, ``netdiag.fleet-matrix/1``."""

    schema: str = "netdiag.fleet-matrix/1"
    """Always ``netdiag.fleet-matrix/1``."""
    hosts: tuple[str, ...]
    """Hosts with a device, in the order of rows and columns; ``HOST/IFNAME`` where one has several."""
    legend: dict[str, str]
    """What the letters of ``rows`` stand for."""
    counts: dict[str, int]
    """Ordered pairs in each state."""
    rows: tuple[str, ...]
    """One row a host that sends, one letter a host that shall get it."""
    mtus: dict[str, int]
    """Bytes that fit to the ordered pairs for which that is so."""
    sick: tuple[MatrixPair, ...]
    """Pairs that are not in order, and those whose packets are shorter than most."""
