"""``show addresses``: as ``ip address``, one line an address. From model.Address; lifetimes are in seconds."""

from collections.abc import Iterator

from netdiag.model.address import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_HOMEADDRESS,
    IFA_F_MANAGETEMPADDR,
    IFA_F_MCAUTOJOIN,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_OPTIMISTIC,
    IFA_F_PERMANENT,
    IFA_F_SECONDARY,
    IFA_F_STABLE_PRIVACY,
    IFA_F_TENTATIVE,
    Address,
)
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, flag_words, scope_word, without_nothing

FLAGS = {
    IFA_F_TENTATIVE: "tentative",
    IFA_F_DADFAILED: "dadfailed",
    IFA_F_DEPRECATED: "deprecated",
    IFA_F_OPTIMISTIC: "optimistic",
    IFA_F_NODAD: "nodad",
    IFA_F_HOMEADDRESS: "home",
    IFA_F_MANAGETEMPADDR: "mngtmpaddr",
    IFA_F_NOPREFIXROUTE: "noprefixroute",
    IFA_F_MCAUTOJOIN: "autojoin",
    IFA_F_STABLE_PRIVACY: "stable-privacy",
}
PROTOCOLS = {1: "kernel_lo", 2: "kernel_ra", 3: "kernel_ll"}
"""IFAPROT_* of include/uapi/linux/if_addr.h."""


def flags_of(address: Address) -> list[str]:
    """iproute2's words; bit 0 means two things, and an address that is not permanent is dynamic."""
    words = flag_words(address.flags, FLAGS)
    if address.flags & IFA_F_SECONDARY:
        words.insert(0, "secondary" if address.family == "inet" else "temporary")
    return words if address.flags & IFA_F_PERMANENT else ["dynamic", *words]


def row_of(address: Address, names: Names) -> Row:
    """One address."""
    return without_nothing(
        {
            "ifname": names(address.ifindex),
            "ifindex": address.ifindex,
            "family": address.family,
            "local": address.local,
            "prefixlen": address.prefixlen,
            "address": address.peer,
            "broadcast": address.broadcast,
            "anycast": address.anycast,
            "scope": scope_word(address.scope),
            "label": address.label,
            "flags": flags_of(address),
            "protocol": None if address.proto is None else PROTOCOLS.get(address.proto, str(address.proto)),
            "metric": address.rt_priority,
            "valid_life_time": address.valid_lft,
            "preferred_life_time": address.preferred_lft,
        }
    )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Addresses in the kernel's order."""
    names = Names(snapshot.tables.links)
    dev = names.index(filters.dev)
    for address in snapshot.tables.addresses:
        if dev in (None, address.ifindex) and filters.family in (None, address.family):
            yield row_of(address, names)


def cells(row: Row) -> list[Row]:
    """The text: address and length together; with a peer the length belongs to the peer."""
    peer = row.get("address")
    bare, length = row["local"], row["prefixlen"]
    line = {
        **row,
        "local": bare if peer else f"{bare}/{length}",
        "peer": f"{peer}/{length}" if peer else None,
        "valid": row.get("valid_life_time"),
    }
    return [line]


VIEW = View(
    collector="addresses",
    filters=("dev", "family"),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("local"),
        Column("peer", 1),
        Column("scope", 1),
        Column("flags", 1),
        Column("valid", 2, right=True),
        Column("protocol", 3),
        Column("label", 5),
        Column("metric", 4, right=True),
        Column("broadcast", 6),
    ),
)
