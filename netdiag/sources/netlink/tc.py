"""Queueing disciplines, classes and filters with their statistics: RTM_GETQDISC, RTM_GETTCLASS, RTM_GETTFILTER.

Messages: struct tcmsg of include/uapi/linux/rtnetlink.h; statistics include/uapi/linux/gen_stats.h; actions
include/uapi/linux/tc_act/*.h. One dump tells all qdiscs of a namespace, classes are told one interface at a time, and
filters one place at a time (net/sched/sch_api.c, cls_api.c). No privilege is needed. Damaged messages are left out and
counted in ``malformed``.
"""

from dataclasses import dataclass, field
from socket import ntohs
from struct import Struct, error, pack, unpack_from
from typing import Any

from netdiag.model.tc import Qdisc, QueueStats, TcAction, TcClass, TcFilter
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, DecodeError, s32, u32, u64, walk
from netdiag.sources.netlink.messages import DumpRequest, walk_messages
from netdiag.sources.netlink.tcfilters import CLASSFUL, CLSACT, EGRESS, INGRESS, Place
from netdiag.sources.netlink.tcoptions import CLASSES, QDISCS

RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_GETTCLASS, RTM_NEWTFILTER = 36, 38, 40, 42, 44
_TCMSG = Struct("=BxHiIII")
KIND, OPTIONS, STATS2, CHAIN, HW_OFFLOAD, INGRESS_BLOCK, EGRESS_BLOCK = 1, 2, 7, 11, 12, 13, 14
_QUEUE = Struct("=5I")
"""struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits."""
BASIC, QUEUE, PKT64 = 1, 3, 8

ACTIONS_OF = {"bpf": 1, "basic": 3, "flower": 3, "matchall": 2, "u32": 7, "fw": 4, "cgroup": 1, "flow": 9, "route": 6}
POLICE_OF = {"u32": 6, "fw": 2, "basic": 4, "route": 5, "flow": 10}
"""Where each classifier keeps its actions, and a policer of the old kind (TCA_OLD_COMPAT)."""
CLASSID_OF = {"basic": 1, "flower": 1, "matchall": 1, "u32": 1, "fw": 1, "route": 1, "flow": 3}
PARMS_OF = {"gact": 2, "mirred": 2, "vlan": 2, "skbedit": 3, "pedit": 2, "nat": 1, "csum": 1, "ct": 1, "tunnel_key": 2}
"""Where each action keeps a structure that begins with struct tc_gen: index, capabilities, action."""
VERDICTS = {
    -1: "continue",
    0: "pass",
    1: "reclassify",
    2: "drop",
    3: "pipe",
    4: "stolen",
    5: "queued",
    6: "repeat",
    7: "redirect",
    8: "trap",
}
DIRECTIONS = {1: "egress redirect", 2: "egress mirror", 3: "ingress redirect", 4: "ingress mirror"}
SHAPERS = CLASSFUL - {"fq_codel", "sfq", "multiq", "choke", "cake"}
"""Queueing disciplines whose classes somebody made; the others' classes are flows, by the thousand."""


def qdiscs() -> DumpRequest:
    """RTM_GETQDISC: every queueing discipline that ``tc qdisc show`` shows."""
    return DumpRequest("RTM_GETQDISC", nl.NETLINK_ROUTE, RTM_GETQDISC, pack("=BxHiIII", 0, 0, 0, 0, 0, 0))


def classes(ifindex: int) -> DumpRequest:
    """RTM_GETTCLASS: every class of one interface; asking for all interfaces at once is not possible."""
    body = pack("=BxHiIII", 0, 0, ifindex, 0, 0, 0)
    return DumpRequest(f"RTM_GETTCLASS {ifindex}", nl.NETLINK_ROUTE, RTM_GETTCLASS, body)


def index(buffer: Buffer, start: int = 0, end: int | None = None) -> dict[int, Buffer]:
    """Attribute type to payload."""
    return {kind: buffer[first:stop] for kind, first, stop in walk(buffer, start, end)}


def stats_of(payload: Buffer) -> QueueStats:
    """TCA_STATS2, or TCA_ACT_STATS. Raises DecodeError."""
    found = index(payload)
    values: dict[str, int] = {}
    if BASIC in found and len(found[BASIC]) >= 12:
        values["bytes"], values["packets"] = unpack_from("=QI", found[BASIC])
    if PKT64 in found:
        values["packets"] = u64(found[PKT64])  # where 32 bits do not hold it (Linux 5.5)
    if QUEUE in found and len(found[QUEUE]) >= _QUEUE.size:
        qlen, backlog, drops, requeues, overlimits = _QUEUE.unpack_from(found[QUEUE])
        values |= {"qlen": qlen, "backlog": backlog, "drops": drops, "requeues": requeues, "overlimits": overlimits}
    return QueueStats(**values)


@dataclass
class _Sink:
    """One message after the other."""

    malformed: int = 0
    message_type = 0

    def reset(self) -> None:
        self.malformed = 0
        self.forget()

    def forget(self) -> None:
        raise NotImplementedError

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != self.message_type:
                continue
            if message.end - message.start < _TCMSG.size:
                self.malformed += 1
                continue
            head = _TCMSG.unpack_from(octets, message.start)
            try:
                self.take(head, index(octets, message.start + _TCMSG.size, message.end))
            except (DecodeError, error):
                self.malformed += 1

    def take(self, head: tuple[int, ...], found: dict[int, Buffer]) -> None:
        raise NotImplementedError


def _options(table: dict[str, Any], kind: str, found: dict[int, Buffer]) -> dict[str, Any]:
    read = table.get(kind)
    options: dict[str, Any] = read(found[OPTIONS]) if read is not None and found.get(OPTIONS) else {}
    return options


@dataclass
class QdiscSink(_Sink):
    """Sink for ``qdiscs()``."""

    rows: list[Qdisc] = field(default_factory=list)
    message_type = RTM_NEWQDISC

    def forget(self) -> None:
        self.rows.clear()

    def take(self, head: tuple[int, ...], found: dict[int, Buffer]) -> None:
        _, _, ifindex, handle, parent, _ = head
        kind = kernel_text(found.get(KIND, b""))
        self.rows.append(
            Qdisc(
                ifindex=ifindex,
                kind=kind,
                handle=handle,
                parent=parent,
                options=_options(QDISCS, kind, found),
                ingress_block=u32(found[INGRESS_BLOCK]) if INGRESS_BLOCK in found else None,
                egress_block=u32(found[EGRESS_BLOCK]) if EGRESS_BLOCK in found else None,
                offloaded=bool(found.get(HW_OFFLOAD, b"\0")[0]),
                stats=stats_of(found.get(STATS2, b"")),
            )
        )


@dataclass
class ClassSink(_Sink):
    """Sink for ``classes()``."""

    rows: list[TcClass] = field(default_factory=list)
    message_type = RTM_NEWTCLASS

    def forget(self) -> None:
        self.rows.clear()

    def take(self, head: tuple[int, ...], found: dict[int, Buffer]) -> None:
        _, _, ifindex, handle, parent, leaf = head
        kind = kernel_text(found.get(KIND, b""))
        if kind not in SHAPERS:
            return
        self.rows.append(
            TcClass(
                ifindex=ifindex,
                kind=kind,
                handle=handle,
                parent=parent,
                leaf=leaf,
                options=_options(CLASSES, kind, found),
                stats=stats_of(found.get(STATS2, b"")),
            )
        )


def places(rows: list[Qdisc]) -> list[Place]:
    """Where filters can hang; a shared block once for each of its interfaces."""
    found: list[Place] = []
    for row in rows:
        if row.kind in ("clsact", "ingress"):
            found.append(Place(row.ifindex, INGRESS, row.ingress_block or None))
            if row.kind == "clsact":
                found.append(Place(row.ifindex, EGRESS, row.egress_block or None))
        elif row.kind in CLASSFUL and row.handle >> 16 and row.parent != CLSACT:
            found.append(Place(row.ifindex, row.handle))
    return found


@dataclass
class FilterSink(_Sink):
    """Sink for ``tcfilters.filters(place)``: what is no eBPF program."""

    place: Place = field(default_factory=lambda: Place(0, 0))
    rows: list[TcFilter] = field(default_factory=list)
    message_type = RTM_NEWTFILTER

    def forget(self) -> None:
        self.rows.clear()

    def take(self, head: tuple[int, ...], found: dict[int, Buffer]) -> None:
        _, _, _, handle, _, about = head
        kind = kernel_text(found.get(KIND, b""))
        inside = index(found.get(OPTIONS, b""))
        if kind in ("bpf", "") or not inside:
            return  # an empty chain or priority has a message too, without options
        classid, police = inside.get(CLASSID_OF.get(kind, -1)), inside.get(POLICE_OF.get(kind, -1))
        actions = [action_of(index(nest)) for nest in index(inside.get(ACTIONS_OF.get(kind, -1), b"")).values()]
        if police is not None:
            actions.append(action_of({1: b"police\0", 2: police}))
        self.rows.append(
            TcFilter(
                ifindex=self.place.ifindex,
                parent=self.place.parent,
                block=self.place.block,
                kind=kind,
                handle=handle,
                priority=about >> 16,
                protocol=ntohs(about & 0xFFFF),
                chain=u32(found[CHAIN]) if CHAIN in found else None,
                classid=u32(classid) if classid is not None else None,
                actions=tuple(actions),
            )
        )


def action_of(found: dict[int, Buffer]) -> TcAction:
    """One action: TCA_ACT_KIND 1, TCA_ACT_OPTIONS 2, TCA_ACT_STATS 4. Raises DecodeError."""
    kind = kernel_text(found.get(1, b""))
    options = index(found.get(2, b""))
    values: dict[str, Any] = {}
    if kind == "police" and 1 in options:
        _, verdict, _, _, _ = unpack_from("=Ii3I", options[1])  # struct tc_police
        values = {"verdict": verdict_text(verdict), "rate": unpack_from("=I", options[1], 28)[0]}
        if 8 in options:
            values["rate"] = u64(options[8])
    elif (parms := options.get(PARMS_OF.get(kind, -1))) is not None:
        values["verdict"] = verdict_text(s32(parms[8:12]))
        if kind == "mirred":
            way, ifindex = unpack_from("=iI", parms, 20)
            values |= {"direction": DIRECTIONS.get(way), "ifindex": ifindex}
    return TcAction(kind=kind, stats=stats_of(found.get(4, b"")), **values)


def verdict_text(code: int) -> str:
    """TC_ACT_* as ``tc`` spells it; a jump or another chain by its number."""
    if code & 0xF0000000 == 0x20000000:
        return f"goto chain {code & 0x0FFFFFFF}"
    return VERDICTS.get(code, f"{code & 0xFFFFFFFF:#x}")
