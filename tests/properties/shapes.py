"""The same host said in other words of the kernel: of it the same must be found."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.model.nexthop import Nexthop
from netdiag.model.nft import NftChain, NftElement, NftExpression, NftRule, NftSet, NftTable
from netdiag.model.route import Route, RouteExtra, routes_from_rows
from netdiag.model.snapshot import Tables

Shape = Callable[[Tables], Tables | None]
"""None: the host has nothing that could be said otherwise."""
LINK = 253
"""RT_SCOPE_LINK: what the kernel notes for an IPv4 gateway."""


def _routes(tables: Tables, other: Callable[[Route], Route]) -> Tables:
    four, six = ([other(row) for row in table.rows()] for table in (tables.routes, tables.routes6))
    return replace(tables, routes=routes_from_rows("inet", four), routes6=routes_from_rows("inet6", six))


def by_objects(tables: Tables) -> Tables | None:
    """Gateways that stand in nexthop objects, one for each gateway of an interface."""
    objects: dict[tuple[Any, ...], Nexthop] = {}

    def other(row: Route) -> Route:
        if row.gateway is None or row.type != "unicast" or row.extra is not None:
            return row
        key = (row.gateway, row.oif, row.flags & 0xFF)
        family, scope = ("inet6", 0) if ":" in row.gateway else ("inet", LINK)
        fields: dict[str, Any] = {"gateway": row.gateway, "oif": row.oif, "flags": key[2], "scope": scope}
        made = objects.setdefault(key, Nexthop(id=1000 + len(objects), family=family, **fields))
        return msgspec.structs.replace(row, nh_id=made.id)

    if tables.nexthops:
        return None
    told = _routes(tables, other)
    return replace(told, nexthops=tuple(objects.values())) if objects else None


def by_objects_alone(tables: Tables) -> Tables | None:
    """The same where the dump names the objects and nothing else (net.ipv4.nexthop_compat_mode is 0)."""
    told = by_objects(tables)
    if told is None:
        return None
    return _routes(
        told, lambda row: row if row.nh_id is None else msgspec.structs.replace(row, oif=None, gateway=None, flags=0)
    )


def with_metrics(tables: Tables) -> Tables | None:
    """Routes by gateways that carry a setting for TCP."""

    def other(row: Route) -> Route:
        if row.gateway is None:
            return row
        extra = row.extra or RouteExtra()
        return msgspec.structs.replace(
            row, extra=msgspec.structs.replace(extra, metrics=extra.metrics | {"initcwnd": 20})
        )

    return _routes(tables, other)


def _filters(tables: Tables, other: Callable[[NftTable], NftTable]) -> Tables | None:
    if not tables.nft.tables:
        return None
    nft = msgspec.structs.replace(tables.nft, tables=tuple(other(one) for one in tables.nft.tables))
    return replace(tables, nft=nft)


def below_a_jump(tables: Tables) -> Tables | None:
    """The rules of each base chain in a chain of their own, to which it jumps."""

    def chains(one: NftTable) -> Iterator[NftChain]:
        for chain in one.chains:
            below = f"zz_{chain.name}"
            if not chain.base or not chain.rules or chain.name.startswith("CNI"):
                yield chain
                continue
            jump = NftRule(handle=900, expressions=(NftExpression(name="immediate", verdict="jump", chain=below),))
            yield msgspec.structs.replace(chain, rules=(jump,))
            yield NftChain(name=below, handle=900, rules=chain.rules)

    return _filters(tables, lambda one: msgspec.structs.replace(one, chains=tuple(chains(one))))


def by_verdict_maps(tables: Tables) -> Tables | None:
    """Rules that end with a comparison and a verdict, as verdict maps of one element."""

    def other(one: NftTable) -> NftTable:
        made: list[NftSet] = []

        def said(rule: NftRule) -> NftRule:
            if len(rule.expressions) < 3:
                return rule
            *before, loaded, compared, last = rule.expressions
            plain = loaded.name in ("payload", "meta", "ct") and loaded.dreg == compared.sreg
            wildcard = loaded.key in ("iifname", "oifname") and len(compared.value or "") != 32
            if compared.name != "cmp" or compared.op != "eq" or last.verdict is None or not plain or wildcard:
                return rule
            element = NftElement(key=compared.value or "", verdict=last.verdict, chain=last.chain)
            name = f"__map{500 + len(made)}"
            flags = ("anonymous", "constant", "map")
            made.append(NftSet(name=name, handle=500, flags=flags, key_len=len(element.key) // 2, elements=(element,)))
            lookup = NftExpression(name="lookup", sreg=compared.sreg, set=name, flags=("verdict",))
            return msgspec.structs.replace(rule, expressions=(*before, loaded, lookup))

        chains = tuple(msgspec.structs.replace(c, rules=tuple(said(rule) for rule in c.rules)) for c in one.chains)
        return msgspec.structs.replace(one, chains=chains, sets=(*one.sets, *made))

    return _filters(tables, other)


SHAPES: dict[str, Shape] = {
    "nexthop objects": by_objects,
    "nexthop objects that are not expanded": by_objects_alone,
    "routes with a setting": with_metrics,
    "chains below a jump": below_a_jump,
    "verdict maps": by_verdict_maps,
}
OTHERWISE = {
    "nf-orphan-dnat-to-dead": "it leaves the chains of the CNI plugin to another rule, by their names",
}
"""Rules for which the words say something."""
