"""What it checks
  A bridge that has learned as many addresses as it may (fdb_max_learned), or a vxlan device at its limit (maxaddr).

Why it matters
  Nothing new is learned. Frames for every address that is not in the table are flooded to all ports: slow, seen by
  everybody, and on a vxlan sent to every tunnel end. A host that moves stays behind its old port.

Confirm
  ip -d link show dev IFNAME          (fdb_n_learned, fdb_max_learned; vxlan: maxaddr)
  bridge fdb show br IFNAME | wc -l

Fix
  ip link set dev IFNAME type bridge fdb_max_learned N, or 0 for no limit: at once. Look first who fills it: one port
  with thousands of addresses is a loop or an attack.

Not flagged
  fdb_max_learned 0, no limit, which is the default; a table that is not full yet. Kernels before 6.7 have no such limit
  for bridges. The vxlan limit counts learned entries, not those that somebody set.

References
  net/bridge/br_fdb.c fdb_create(); drivers/net/vxlan/vxlan_core.c vxlan_fdb_create(); if_link.h
  IFLA_BR_FDB_N_LEARNED, IFLA_BR_FDB_MAX_LEARNED, IFLA_VXLAN_LIMIT
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.bridge import NUD_PERMANENT
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="fdb-table-full",
    title="a bridge cannot learn any more addresses",
    severity="warning",
    reads=("links",),
    consults=("fdb",),
)


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        found = _full(view, link) if link.up else None
        if found is None:
            continue
        learned, most, attribute = found
        name = quoted(link.ifname)
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} has learned {learned} addresses of at most {most}: frames to any other are flooded",
            evidence=[
                ("learned", learned, f"RTM_GETLINK {link.ifname} {attribute[0]}"),
                ("limit", most, f"RTM_GETLINK {link.ifname} {attribute[1]}"),
            ],
            confirm=[f"ip -d link show dev {name}", f"bridge -s fdb show dev {name}; bridge -s fdb show br {name}"],
            fix=f"ip link set dev {name} type {link.kind} {'fdb_max_learned' if link.kind == 'bridge' else 'maxaddr'} "
            f"{most * 4}  # look first who fills it",
        )


def _full(view: HostView, link: Link) -> tuple[int, int, tuple[str, str]] | None:
    """Learned, limit and where they stand; None where it is not full."""
    if link.kind == "bridge":
        most, learned = link.info.get("fdb_max_learned") or 0, link.info.get("fdb_n_learned") or 0
        where = ("IFLA_BR_FDB_N_LEARNED", "IFLA_BR_FDB_MAX_LEARNED")
        return (learned, most, where) if most and learned >= most else None
    if link.kind == "vxlan" and (most := link.info.get("limit") or 0) and view.read_whole("fdb"):
        rows = (view.fdb.ifindex == link.ifindex) & (view.fdb.state & NUD_PERMANENT == 0) & (view.fdb.master == 0)
        learned = int(np.count_nonzero(rows))
        return (learned, most, ("fdb", "IFLA_VXLAN_LIMIT")) if learned >= most else None
    return None


def _case(name: str, why: str, learned: Any, most: Any, fires: int = 0, **more: Any) -> Example:
    info = {"fdb_n_learned": learned, "fdb_max_learned": most}
    tables = HostBuilder().link("br0", kind="bridge", info=info, up=more.pop("up", True)).build()
    return Example(name=name, why=why, tables=tables, fires=fires, **more)


def examples() -> Iterator[Example]:
    yield _case("full", "the plain fault", 4, 4, 1, subject=subject("link", ifname="br0"), severity="warning")
    yield _case("over", "the limit was lowered", 9, 4, 1)
    yield _case("one left", "not yet", 3, 4)
    yield _case("no limit", "the default", 4000, 0)
    yield _case("old kernel", "it has no limit", None, None)
    yield _case("down", "nothing is flooded", 4, 4, up=False)
    vxlan = HostBuilder().link("vx0", kind="vxlan", info={"limit": 4}).build()
    yield Example(name="vxlan with room", why="nothing learned", tables=vxlan)
    for name, why, limit, rows, late, fires in (
        ("full", "the plain fault", 2, "ll", (), 1),
        ("with one left", "not yet", 3, "ll", (), 0),
        ("of entries that were set", "they do not count", 2, "ps", (), 0),
        ("of entries of its bridge", "they are of another table", 2, "bb", (), 0),
        ("of another device's", "each has its own", 2, "oo", (), 0),
        ("without a limit", "the default", None, "ll", (), 0),
        ("not read", "nobody knows", 2, "ll", ("fdb",), 0),
    ):
        host = HostBuilder().link("br0", kind="bridge").link("vx0", kind="vxlan", info={"limit": limit}).link("vx1")
        kinds = {"l": {"state": 2}, "p": {}, "s": {}, "b": {"state": 2, "flags": 0}, "o": {"state": 2, "dev": "vx1"}}
        entries = [entry(host, f"02:00:00:00:00:0{n}", "192.0.2.9", **kinds[kind]) for n, kind in enumerate(rows)]  # type: ignore[arg-type]
        tables = replace(host.build(), fdb=fdb(entries))
        yield Example(name=f"vxlan {name}", why=why, tables=tables, late=late, fires=fires, unjudged=bool(late))
    learned = [entry(host, f"02:00:00:00:00:0{n}", "192.0.2.9", state=2) for n in range(3)]
    macvlan = HostBuilder().link("br0", kind="bridge").link("vx0", kind="macvlan", info={"limit": 2})
    yield Example(name="no vxlan", why="another kind's limit", tables=replace(macvlan.build(), fdb=fdb(learned)))
