"""``show bpf``: the eBPF programs that a packet meets, device by device, in the order in which it meets them.

On the way in: XDP on the card, in the driver, in the stack; then tcx, then tc by chain, priority and place in its list
(net/core/dev.c, __netif_receive_skb_core(), sch_handle_ingress()). On the way out: tcx, then tc. After the devices come
the hooks that belong to a namespace, to cgroups and to sockets, routes with a program, and last the programs that only
a pin keeps. Programs on devices of other namespaces are not shown: the kernel lists them, but no packet of ours meets
them. Of cgroups, sockmaps and netfilter links the kernel does not tell the namespace, so all are shown.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.model.bpf import Bpf, BpfAttachment, BpfProgram
from netdiag.model.snapshot import Snapshot
from netdiag.render.tables import Column, Filters, Row, View
from netdiag.render.views._words import Names, table_word, without_nothing
from netdiag.render.views.wireguard import age_word

ON_DEVICES = ("xdp", "tcx", "netkit", "tc")
"""In the order of the way in; on the way out there is no XDP."""
XDP_MODES = ("offload", "native", "generic")
ELSEWHERE = ("flow_dissector", "netfilter", "sk_lookup", "cgroup", "sockmap")
NETFILTER_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
FAMILIES = {2: "ipv4", 10: "ipv6"}
PROTOCOLS = {0x0003: "all", 0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6", 0x8100: "802.1Q"}
DIRECTIONS = {"ingress": "in", "egress": "out"}
NAME_WIDTH = 20
"""Characters of a name in the text: names of functions have no end."""


def order(row: BpfAttachment) -> tuple[Any, ...]:
    """Where an attachment stands on its device's way."""
    mode = XDP_MODES.index(row.mode) if row.mode in XDP_MODES else len(XDP_MODES)
    return row.direction != "ingress", ON_DEVICES.index(row.hook), mode, row.parent or 0, row.position


def place(row: BpfAttachment) -> str:
    """Where exactly, in a few words."""
    if row.hook == "xdp":
        return row.mode or ""
    if row.hook == "tc":
        words = [f"pref {row.priority}", PROTOCOLS.get(row.protocol or 0, f"{row.protocol or 0:#06x}")]
        words += [f"chain {row.chain}"] if row.chain else []
        words += [f"block {row.block}"] if row.block else []
        words += [f"parent {row.parent >> 16:x}:"] if row.parent and row.parent < 0xFFFF0000 else []
        words += [f"{row.handle:#x}"] if row.handle else []
        words += ["da"] if row.direct_action else ["action"] if row.action else []
        return " ".join(words)
    if row.hook == "netfilter":
        hook = dict(enumerate(NETFILTER_HOOKS)).get(row.hooknum if row.hooknum is not None else -1, str(row.hooknum))
        return f"{FAMILIES.get(row.pf or 0, row.pf)} {hook} {row.priority}"
    if row.hook == "cgroup":
        return " ".join([(row.attach_type or "").removeprefix("cgroup_"), *row.flags])
    if row.hook == "sockmap":
        return f"map {row.map_id} {(row.attach_type or '').removeprefix('sk_skb_')}"
    return row.attach_type or "" if row.hook == "netkit" else ""


def program_row(program: BpfProgram | None, boot_age: float) -> Row:
    """What every line says of its program; ``age`` is in seconds since it was loaded."""
    if program is None:
        return {}
    return without_nothing(
        {
            "type": program.type,
            "name": program.function or program.name,
            "tag": program.tag,
            "loaded_at": program.loaded_at,
            "age": round(max(0.0, boot_age - program.loaded_at), 1),
            "uid": program.uid or None,
            "map_ids": list(program.map_ids),
            "interpreted": not program.jited,
            "run_time_ns": program.run_time_ns,
            "run_cnt": program.run_count,
            "recursion_misses": program.recursion_misses or None,
        }
    )


class Lines:
    """Makes rows: looks up programs, pins and interface names."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.table: Bpf = snapshot.tables.bpf
        self.names = Names(snapshot.tables.links)
        self.programs = {program.id: program for program in self.table.programs}
        self.boot_age = snapshot.meta.uptime or 0.0
        self.pins: dict[tuple[str, int], list[str]] = {}
        for pin in self.table.pins:
            self.pins.setdefault((pin.kind, pin.id), []).append(pin.path)

    def attached(self, row: BpfAttachment, step: int | None) -> Row:
        """One attachment."""
        pinned = self.pins.get(("prog", row.prog_id), []) + self.pins.get(("link", row.link_id or 0), [])
        about = program_row(self.programs.get(row.prog_id), self.boot_age)
        return without_nothing(
            {
                "ifname": self.names(row.ifindex),
                "direction": row.direction,
                "step": step,
                "hook": row.hook,
                "mode": row.mode,
                "attach_type": row.attach_type,
                "pref": row.priority if row.hook == "tc" else None,
                "priority": row.priority if row.hook == "netfilter" else None,
                "protocol": row.protocol,
                "chain": row.chain,
                "block": row.block,
                "parent": row.parent,
                "handle": row.handle,
                "direct_action": row.direct_action,
                "filter": row.name,
                "cgroup": row.cgroup,
                "flags": list(row.flags),
                "netns": row.netns,
                "pf": row.pf,
                "hooknum": row.hooknum,
                "map_id": row.map_id,
                "place": place(row),
                "prog_id": row.prog_id,
                "link_id": row.link_id,
                "tag": row.tag,
                "pinned": pinned,
            }
            | about
        )


def rows(snapshot: Snapshot, filters: Filters) -> Iterator[Row]:
    """Devices in the kernel's order, then everything that is on no device."""
    lines = Lines(snapshot)
    table = lines.table
    by_device: dict[int, list[BpfAttachment]] = {}
    for one in table.attachments:
        if one.hook in ON_DEVICES and one.ifindex:
            by_device.setdefault(one.ifindex, []).append(one)
    wanted = lines.names.index(filters.dev)
    for ifindex, found in by_device.items() if wanted is None else [(wanted, by_device.get(wanted, []))]:
        steps: Counter[str | None] = Counter()
        for one in sorted(found, key=order):
            steps[one.direction] += 1
            yield lines.attached(one, steps[one.direction]) | {"ifindex": ifindex}
    if wanted is not None:
        return
    for hook in ELSEWHERE:
        for one in table.attachments:
            if one.hook == hook:
                yield lines.attached(one, None)
    yield from route_rows(snapshot, lines)
    attached = {one.prog_id for one in table.attachments} | {link.prog_id for link in table.links}
    called = {entry.prog_id for entry in table.entries}
    for pin in table.pins:
        if pin.kind == "prog" and pin.id not in attached | called:
            about = program_row(lines.programs.get(pin.id), lines.boot_age)
            yield {"hook": "none", "place": "pinned only", "prog_id": pin.id, **about, "pinned": [pin.path]}


def route_rows(snapshot: Snapshot, lines: Lines) -> Iterator[Row]:
    """Routes whose packets run through a program (lightweight tunnels of type bpf)."""
    for routes in (snapshot.tables.routes, snapshot.tables.routes6):
        chosen = [
            number
            for number, extra in enumerate(routes.extras)
            if extra.encap == "bpf" or any(hop.encap == "bpf" for hop in extra.multipath)
        ]
        for position in np.flatnonzero(np.isin(routes.extra, chosen)) if chosen else ():
            route = routes.row(int(position))
            for oif in dict.fromkeys(hop.oif for hop in route.hops if hop.encap == "bpf"):
                table = table_word(route.table)
                where = f"{route.dst} table {table}"
                named = [name for hop in route.hops if hop.oif == oif for name in hop.programs]
                yield without_nothing(
                    {
                        "ifname": lines.names(oif),
                        "hook": "lwt",
                        "dst": route.dst,
                        "table": table,
                        "place": where,
                        "name": ", ".join(dict.fromkeys(named)),
                    }
                )


def cells(row: Row) -> list[Row]:
    """The text: short directions, ages and counts."""
    line = dict(row)
    line["way"] = DIRECTIONS.get(row.get("direction", ""), "")
    line["prog"] = row.get("prog_id")
    line["age"] = age_word(row["age"]) if "age" in row else None
    line["runs"] = row.get("run_cnt")
    line["maps"] = row.get("map_ids")
    line["link"] = row.get("link_id")
    line["notes"] = [word for word in ("interpreted",) if row.get(word)]
    line["hook"] = row["hook"].removeprefix("flow_")
    name = row.get("name") or row.get("filter") or ""
    line["name"] = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 3] + "..."
    return [line]


VIEW = View(
    collector="bpf",
    filters=("dev",),
    rows=rows,
    cells=cells,
    columns=(
        Column("ifname"),
        Column("way"),
        Column("step", 3, right=True),
        Column("hook"),
        Column("place"),
        Column("prog", right=True),
        Column("name"),
        Column("cgroup", 1),
        Column("tag", 1),
        Column("age", 2, right=True),
        Column("link", 5, right=True),
        Column("runs", 4, right=True),
        Column("maps", 6),
        Column("pinned", 4),
        Column("notes", 5),
    ),
)
