"""Hosts of which the same must be said as of another one."""

import random
import re
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.model.link import IFF_NOARP, IFF_POINTOPOINT, Link
from netdiag.model.neighbour import neighbours_from_rows
from netdiag.model.route import routes_from_rows
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from tests.properties.rewriting import columns_shuffled, rewritten, shuffled

NUMBERS = {"ifindex", "oif", "master", "link", "active_slave", "managed", "filtered"}
"""Fields that hold the number of an interface of this namespace; columns of that name too."""


def reordered(tables: Tables, dice: random.Random) -> Tables:
    """Rows in another order, where the order says nothing.

    It does say something of addresses of one interface (the first is its primary), of policy rules (the kernel has them
    by priority), of routes that differ in nothing but their next hop, of nftables rules, name servers, next hops.
    """

    def route(table: Any) -> Any:
        return columns_shuffled(
            table,
            dice,
            lambda at: (int(table.table[at]), table.dst[at].tobytes(), int(table.dst_len[at]), int(table.priority[at])),
        )

    wireguard = msgspec.structs.replace(
        tables.wireguard,
        devices=tuple(
            msgspec.structs.replace(
                device,
                peers=tuple(
                    msgspec.structs.replace(peer, allowed_ips=shuffled(peer.allowed_ips, dice))
                    for peer in shuffled(device.peers, dice)
                ),
            )
            for device in shuffled(tables.wireguard.devices, dice)
        ),
        second=shuffled(tables.wireguard.second, dice),
    )
    daemons = tuple(
        msgspec.structs.replace(daemon, protocols=shuffled(daemon.protocols, dice)) for daemon in tables.bird.daemons
    )
    bpf = tables.bpf
    loose = ("programs", "maps", "links", "pins", "holders", "entries", "cgroups")
    return replace(
        tables,
        links=shuffled(tables.links, dice),
        peer_links=shuffled(tables.peer_links, dice, lambda row: row.ifindex),
        netns_ids=shuffled(tables.netns_ids, dice),
        addresses=shuffled(tables.addresses, dice, lambda row: (row.ifindex, row.family)),
        routes=route(tables.routes),
        routes6=route(tables.routes6),
        path_mtus=shuffled(tables.path_mtus, dice),
        nexthops=shuffled(tables.nexthops, dice),
        neighbours=columns_shuffled(tables.neighbours, dice, lambda at: at),
        neigh_tables=shuffled(tables.neigh_tables, dice),
        sockets=columns_shuffled(tables.sockets, dice, lambda at: at),
        conntrack=columns_shuffled(tables.conntrack, dice, lambda at: at),
        fdb=columns_shuffled(tables.fdb, dice, lambda at: at),
        bonds=shuffled(tables.bonds, dice),
        wireguard=wireguard,
        bird=msgspec.structs.replace(tables.bird, daemons=daemons),
        bpf=msgspec.structs.replace(bpf, **{name: shuffled(getattr(bpf, name), dice) for name in loose}),
    )


def new_numbers(dice: random.Random, *looks: Tables) -> dict[int, int]:
    """For each interface of several looks at one host (but loopback) the number of another of them."""
    known = sorted({link.ifindex for tables in looks for link in tables.links if link.ifindex != 1})
    others = list(known)
    dice.shuffle(others)
    return dict(zip(known, others, strict=True))


def renumbered(tables: Tables, new: dict[int, int]) -> Tables:
    """The interfaces of this namespace with other numbers, wherever they are named by number.

    Order of numbers is order of creation, and nothing more.
    """

    def leaf(owner: Any, field: str, value: Any) -> Any:
        if isinstance(value, str) and (scope := value.rpartition("%")[2]).isdigit() and "%" in value:
            return f"{value.rpartition('%')[0]}%{new.get(int(scope), int(scope))}"
        if field not in NUMBERS:
            return value
        if isinstance(owner, Link) and field == "link" and owner.link_netnsid is not None:
            return value  # the number of another namespace
        if isinstance(value, np.ndarray):
            return np.array([new.get(int(one), int(one)) for one in value], value.dtype)
        return new.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value

    own = rewritten(tables, leaf)
    return replace(
        own,
        peer_links=tuple(
            msgspec.structs.replace(row, ifindex=new.get(row.ifindex, row.ifindex)) for row in tables.peer_links
        ),
        netns=tables.netns,
    )


def renamed(tables: Tables, names: dict[str, str]) -> Tables:
    """The interfaces of this namespace with other names, wherever they are named: rules, sysctls, BIRD, nftables."""
    octets = {name.encode().ljust(16, b"\0").hex(): new.encode().ljust(16, b"\0").hex() for name, new in names.items()}

    def leaf(owner: Any, field: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return octets.get(value) or said(value, names)

    # Far ends keep their names: another namespace names its own interfaces.
    return replace(rewritten(tables, leaf), peer_links=tables.peer_links, netns=tables.netns)


CONF = re.compile(r"(net\.ipv[46]\.(?:conf|neigh)\.)(.+)(\.[^.]+)$")
NUMBERED = re.compile(r"(?!docker|br|tunl)([a-z]+)([0-9]+)$")


def said(text: str, names: dict[str, str]) -> str:
    """A string in which an interface may be named: alone, in a sysctl, behind the % of an address."""
    if found := CONF.match(text):
        return f"{found[1]}{names.get(found[2], found[2])}{found[3]}"
    address, percent, scope = text.partition("%")
    return address + percent + names[scope] if scope in names else names.get(text, text)


def new_names(tables: Tables) -> dict[str, str]:
    """Another number behind the name of each interface that has one: eth0 becomes eth70.

    What stands before the number stays: people give patterns of it, and docker0 tells whose it is. So do names that
    the kernel gives (tunl0 takes what no other tunnel takes).
    """
    taken = {link.ifname for link in tables.links}
    found = {}
    for link in tables.links:
        parts = NUMBERED.match(link.ifname)
        new = f"{parts[1]}7{parts[2]}" if parts and len(link.ifname) < 15 else link.ifname
        found[link.ifname] = link.ifname if new in taken else new
    return found


def joined(tables: Tables, more: HostBuilder) -> Tables:
    """A host with what another one has beside loopback: interfaces, addresses, routes, rules, neighbours.

    The other's interfaces get numbers that are free.
    """
    added = more.build()
    free = max((link.ifindex for link in tables.links), default=1) + 100
    new = {link.ifindex: link.ifindex + free for link in added.links if not link.loopback}

    def leaf(owner: Any, field: str, value: Any) -> Any:
        if field not in NUMBERS or isinstance(value, np.ndarray):
            return value
        return new.get(value, value) if isinstance(value, int) else value

    def rows(table: Any) -> list[Any]:
        return [rewritten(row, leaf) for row in table.rows() if row.oif in new]

    sysctls = tables.sysctls.values | {
        key: value for key, value in added.sysctls.values.items() if any(link.ifname in key for link in added.links[1:])
    }
    return replace(
        tables,
        links=tables.links + tuple(rewritten(link, leaf) for link in added.links if link.ifindex in new),
        addresses=tables.addresses + tuple(rewritten(row, leaf) for row in added.addresses if row.ifindex in new),
        routes=routes_from_rows("inet", [*tables.routes.rows(), *rows(added.routes)]),
        routes6=routes_from_rows("inet6", [*tables.routes6.rows(), *rows(added.routes6)]),
        neighbours=neighbours_from_rows(
            [*tables.neighbours.rows(), *(rewritten(row, leaf) for row in added.neighbours.rows())]
        ),
        sysctls=msgspec.structs.replace(tables.sysctls, values=sysctls),
    )


def with_sessions(tables: Tables, ifindex: int) -> Tables:
    """The host with two BGP sessions to neighbours that do not answer, one of each family, by an interface."""
    name = next(link.ifname for link in tables.links if link.ifindex == ifindex)
    host = BirdHost().bgp_down("zz4", neighbor_address="198.18.77.2").bgp_down("zz6", neighbor_address="2a0f:77::2")
    more = host.link(name, ifindex=ifindex).address(name, "198.18.77.1/24").address(name, "2a0f:77::1/64").build()
    four, six = ([row for row in table.rows() if row.oif == ifindex] for table in (more.routes, more.routes6))
    return replace(
        tables,
        addresses=tables.addresses + tuple(row for row in more.addresses if row.ifindex == ifindex),
        routes=routes_from_rows("inet", [*tables.routes.rows(), *four]),
        routes6=routes_from_rows("inet6", [*tables.routes6.rows(), *six]),
        bird=more.bird,
        bird_routes=more.bird_routes,
        bird_sockets=more.bird_sockets,
    )


def unrelated(tables: Tables) -> dict[str, HostBuilder]:
    """Healthy things that have nothing to do with what is on the host already.

    The first address of a family is no such thing: with it the host begins to use that family.
    """
    odd = IFF_POINTOPOINT | IFF_NOARP
    own = {link.ifindex for link in tables.links if link.up and not link.loopback and not link.flags & odd}
    families = {
        row.family
        for row in tables.addresses
        if row.ifindex in own and row.scope == 0 and not row.local.startswith("169.254.")
    }
    conf = {"forwarding": int(any(link.inet_conf.get("forwarding") for link in tables.links))}
    found = {"an idle card": HostBuilder().link("zoff0", up=False)}
    if "inet" in families:
        bridge = HostBuilder().link("zbr0", kind="bridge", inet_conf=conf).address("zbr0", "192.168.253.1/24")
        bridge.link("zport0", kind="veth", master="zbr0", link_netnsid=77, link=2, slave_kind="bridge")
        bridge.neighbour("192.168.253.7", dev="zbr0", lladdr="02:00:00:fe:ed:07")
        found["a bridge with a guest"] = bridge
        found["a second network"] = HostBuilder().link("zeth0", inet_conf=conf).address("zeth0", "192.168.252.5/24")
    if "inet6" in families:
        found["a dummy with IPv6"] = (
            HostBuilder().link("zdum0", kind="dummy", inet6_conf=conf).address("zdum0", "fd00:fade::1/64")
        )
    return found
