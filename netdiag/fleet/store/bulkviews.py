"""Routes and neighbours as columns of a view, without a Python object a row where there may be a million. Pure."""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdiag.fleet.store.columns import Column
from netdiag.model.link import Link
from netdiag.model.neighbour import NUD_NAMES
from netdiag.model.route import RTN_NAMES, Routes
from netdiag.model.snapshot import Snapshot

ROUTES = (
    Column("family", "text", "`inet` or `inet6`."),
    Column("dst", "text", "Prefix; the default route is `0.0.0.0/0` or `::/0`."),
    Column("table_id", "integer", "Number of the routing table; 254 is main, 255 local."),
    Column("type", "text", "`unicast`, `local`, `blackhole`, `unreachable` ..."),
    Column("protocol", "integer", "Who made it (RTPROT_*): 2 kernel, 3 boot, 4 static, 12 bird, 186 bgp ..."),
    Column("scope", "integer", "RT_SCOPE_*: 0 global, 253 link, 254 host."),
    Column("metric", "integer", "RTA_PRIORITY."),
    Column("oif", "integer", "ifindex of its single next hop; null: none, or several."),
    Column("ifname", "text", "The interface's name."),
    Column("gateway", "text", "Gateway of its single next hop; null: none, or several."),
    Column("prefsrc", "text", "Preferred source address."),
    Column("nh_id", "integer", "Nexthop object; null: none."),
    Column("flags", "integer", "rtm_flags: RTNH_F_* bits in the low byte, RTM_F_* above."),
    Column("extra", "json", "What only few routes have: several next hops, metrics, tunnels."),
)
NEIGHBOURS = (
    Column("family", "text", "`inet` or `inet6`."),
    Column("ifindex", "integer", "Number of the interface."),
    Column("ifname", "text", "Its name."),
    Column("dst", "text", "Address of the neighbour."),
    Column("lladdr", "text", "Its hardware address; null: not known."),
    Column("state", "text", "`reachable`, `stale`, `failed`, `permanent` ..."),
    Column("flags", "integer", "NTF_* bits."),
)


def each(values: Any, spell: Callable[[Any], Any]) -> list[Any]:
    """A text for each value, made once for each distinct one. ``values``: shape (n,) or (n, width)."""
    if not len(values):
        return []
    distinct, back = np.unique(values, axis=0, return_inverse=True)
    texts = [spell(value) for value in distinct]
    return [texts[at] for at in back.reshape(-1).tolist()]


def _v4(value: Any) -> str | None:
    return str(ipaddress.IPv4Address(int(value))) if value else None


def _v6(octets: Any) -> str | None:
    return str(ipaddress.IPv6Address(octets.tobytes())) if octets.any() else None


def _names(links: Sequence[Link]) -> dict[int, str]:
    return {link.ifindex: link.ifname for link in links}


def _routes(table: Routes, names: dict[int, str]) -> dict[str, list[Any]]:
    import msgspec

    spell = _v4 if table.family == "inet" else _v6
    zero = "0.0.0.0" if table.family == "inet" else "::"
    oif = table.oif.tolist()
    extras = [msgspec.json.encode(extra).decode() for extra in table.extras]
    lengths = table.dst_len.tolist()
    return {
        "family": [table.family] * len(table),
        "dst": [f"{dst or zero}/{length}" for dst, length in zip(each(table.dst, spell), lengths, strict=True)],
        "table_id": table.table.tolist(),
        "type": each(table.type, lambda value: RTN_NAMES.get(int(value), str(int(value)))),
        "protocol": table.protocol.tolist(),
        "scope": table.scope.tolist(),
        "metric": table.priority.tolist(),
        "oif": [index or None for index in oif],
        "ifname": [names.get(index) for index in oif],
        "gateway": each(table.gateway, spell),
        "prefsrc": each(table.prefsrc, spell),
        "nh_id": [number or None for number in table.nh_id.tolist()],
        "flags": table.flags.tolist(),
        "extra": [extras[at] if at >= 0 else None for at in table.extra.tolist()],
    }


def routes(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
    """Columns of ROUTES, IPv4 first."""
    names = _names(snapshot.tables.links)
    one, two = _routes(snapshot.tables.routes, names), _routes(snapshot.tables.routes6, names)
    return {name: one[name] + two[name] for name in one}


def neighbours(snapshot: Snapshot) -> dict[str, Sequence[Any]]:
    """Columns of NEIGHBOURS."""
    table = snapshot.tables.neighbours
    names = _names(snapshot.tables.links)
    v4 = table.family == 2
    dst: list[str | None] = [None] * len(table)
    for chosen, width, kind in ((v4, 4, ipaddress.IPv4Address), (~v4, 16, ipaddress.IPv6Address)):
        positions = np.flatnonzero(chosen)
        texts = each(table.dst[positions], lambda raw, w=width, k=kind: str(k(raw.tobytes()[:w])))  # type: ignore[misc]
        for at, text in zip(positions.tolist(), texts, strict=True):
            dst[at] = text
    index = table.ifindex.tolist()
    return {
        "family": ["inet" if four else "inet6" for four in v4.tolist()],
        "ifindex": index,
        "ifname": [names.get(one) for one in index],
        "dst": dst,
        "lladdr": [
            raw[:length].tobytes().hex(":") if length else None
            for raw, length in zip(table.lladdr, table.lladdr_len.tolist(), strict=True)
        ],
        "state": each(table.state, lambda value: NUD_NAMES.get(int(value), f"{int(value):#x}")),
        "flags": table.flags.tolist(),
    }
