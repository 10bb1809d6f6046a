"""The reverse path filter's verdict against the kernel's own, on random hosts.

Each packet is put to the kernel twice, with the filter off and strict on every interface: what only the strict one
refuses is what the filter drops.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from netdiag.index.packet import Query
from netdiag.index.policy import Routing
from netdiag.index.reversepath import ReversePath
from netdiag.model.snapshot import Tables
from tests.index.kernel import Told, ask
from tests.index.packets import Packets
from tests.index.reader import read_tables
from tests.index.test_kernel_agreement import build, same
from tests.index.topology import Topology
from tests.lab import Lab

PACKETS = 1500
CONF = Path("/proc/sys/net/ipv4/conf")
SETTINGS = {"rp_filter": 0, "accept_local": 0, "src_valid_mark": 0, "forwarding": 1, "send_redirects": 0}


def set_everywhere(**settings: int) -> None:
    for name, value in settings.items():
        for interface in CONF.iterdir():
            (interface / name).write_text(str(value), "ascii")
    Path("/proc/sys/net/ipv4/route/flush").write_text("1", "ascii")


def arrivals(topology: Topology, tables: Tables, seed: int) -> Iterator[Query]:
    """Packets from anywhere that come in by an interface that is up and in no VRF, half of them for an own address."""
    stream, random = Packets(topology, tables, seed), Random(seed)
    links = [link.ifname for link in tables.links if link.up and not link.loopback and link.master is None]
    links = [name for name in links if not any(port.master for port in tables.links if port.ifname == name)]
    own = [address.local for address in tables.addresses if address.family == "inet" and address.scope == 0]
    for _ in range(PACKETS if links else 0):
        one = stream.one()
        while one.family != "inet" or one.dst.startswith(("224.", "255.", "0.", "127.")):
            one = stream.one()
        dst = random.choice(own) if own and random.random() < 0.5 else one.dst
        src = topology.address("inet", multicast=False)
        sport, dport = random.choice((22, 53, 1024)), random.choice((22, 53, 1024))
        common: dict[str, Any] = {"mark": one.mark, "tos": one.tos, "ip_proto": 17, "sport": sport, "dport": dport}
        yield Query(family="inet", dst=dst, src=src, iif=random.choice(links), **common)


def verdicts(tables: Tables) -> ReversePath:
    routes = tables.routes
    return ReversePath(Routing(tables).lookup, lambda position: [hop.oif for hop in routes.row(position).hops])


def wrong(tables: Tables, path: ReversePath, query: Query, told: tuple[Told, Told], mark: int) -> str:
    """What our verdict has against the kernel's; empty where they agree or the packet is dropped anyway."""
    off, strict = told
    if off.errno or off.type not in ("local", "unicast"):
        return ""
    link = next(link for link in tables.links if link.ifname == query.iif)
    out = off.oif if off.type == "unicast" else None
    verdict = path.strict(link, replace(query, mark=mark), out)
    if verdict.passes == (strict.errno == 0) or verdict.way.alternatives or verdict.way.type == "local":
        return ""
    return f"{query} out {out}: kernel {strict}, we {verdict}"


def examine(seed: int) -> dict[str, Any]:
    topology = Topology(seed)
    build(topology)
    found: list[str] = []
    dropped = asked = 0
    for valid_mark in (False, True):
        set_everywhere(**(SETTINGS | {"src_valid_mark": int(valid_mark)}))
        for _ in range(4):
            tables = read_tables()
            queries = list(arrivals(topology, tables, seed))
            indexes = {link.ifname: link.ifindex for link in tables.links}
            set_everywhere(rp_filter=0)
            off = [told for told, _ in ask(queries, indexes)]
            set_everywhere(rp_filter=1)
            strict = [told for told, _ in ask(queries, indexes)]
            if same(tables, read_tables()):
                break
        pairs = list(zip(queries, zip(off, strict, strict=True), strict=True))
        path = verdicts(tables)
        reasons = [wrong(tables, path, query, told, query.mark if valid_mark else 0) for query, told in pairs]
        found += [reason for reason in reasons if reason]
        asked += sum(not told[0].errno for _, told in pairs)
        dropped += sum(not told[0].errno and bool(told[1].errno) for _, told in pairs)
    return {"found": found, "asked": asked, "dropped": dropped}


@pytest.mark.lab
@pytest.mark.parametrize("seed", range(8))
def test_the_strict_filter_drops_what_the_kernel_drops(seed: int) -> None:
    with Lab() as lab:
        result = lab.host("a").call(lambda: examine(seed), timeout=120)
    assert not result["found"], f"{len(result['found'])} of {result['asked']}\n" + "\n".join(result["found"][:5])
    assert result["asked"] == 0 or result["dropped"] > 0
