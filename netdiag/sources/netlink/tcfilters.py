"""Traffic control: queueing disciplines that can have filters, and the filters among them that are eBPF programs.

Messages: struct tcmsg of include/uapi/linux/rtnetlink.h, TCA_BPF_* of pkt_cls.h, TCA_ACT_BPF_* of tc_act/tc_bpf.h.
Filters are dumped for one interface and parent, or for one shared block (net/sched/cls_api.c, tc_dump_tfilter()), in
the order in which they are tried: chain, priority, then as the classifier has them. No privilege is needed. Damaged
messages are left out and counted.
"""

from dataclasses import dataclass, field
from socket import ntohs
from struct import Struct, pack

from netdiag.model.bpf import BpfAttachment
from netdiag.model.text import kernel_text
from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink.attributes import Buffer, DecodeError, u32, walk
from netdiag.sources.netlink.messages import DumpRequest, walk_messages

RTM_NEWQDISC, RTM_NEWTFILTER, RTM_GETTFILTER = 36, 44, 46
_TCMSG = Struct("=BxHiIII")
"""family, pad, ifindex, handle, parent, info."""
TCA_KIND, TCA_OPTIONS, TCA_CHAIN, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK = 1, 2, 11, 13, 14
CLSACT, INGRESS, EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
"""TC_H_CLSACT (also the parent of an ingress qdisc) and the two sides below it."""
BLOCK = 0xFFFFFFFF
"""TCM_IFINDEX_MAGIC_BLOCK: tcm_parent is the number of a block."""
BPF_FD_NAME, BPF_FLAGS, BPF_TAG, BPF_ID = 7, 8, 10, 11
BPF_ACT = 1
DIRECT_ACTION = 1
ACTIONS_OF = {"bpf": 1, "basic": 3, "flower": 3, "matchall": 2, "u32": 7, "fw": 4, "cgroup": 1}
"""Where each classifier keeps its actions."""
ACT_KIND, ACT_OPTIONS, ACT_BPF_NAME, ACT_BPF_TAG, ACT_BPF_ID = 1, 2, 6, 8, 9
CLASSFUL = {"htb", "hfsc", "prio", "drr", "qfq", "ets", "cbq", "multiq", "sfq", "fq_codel", "cake", "atm", "choke"}
"""Queueing disciplines that ask filters which class a packet belongs to."""


def index(buffer: Buffer, start: int = 0, end: int | None = None) -> dict[int, Buffer]:
    """Attribute type to payload."""
    return {kind: buffer[first:stop] for kind, first, stop in walk(buffer, start, end)}


@dataclass(frozen=True)
class Place:
    """Where filters hang: an interface's parent, or a shared block, which may serve several interfaces."""

    ifindex: int
    parent: int
    block: int | None = None


@dataclass
class QdiscSink:
    """Sink for requests.qdiscs(): the places that may have filters."""

    places: list[Place] = field(default_factory=list)
    malformed: int = 0

    def reset(self) -> None:
        self.places.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != RTM_NEWQDISC:
                continue
            if message.end - message.start < _TCMSG.size:
                self.malformed += 1
                continue
            _, _, ifindex, handle, _, _ = _TCMSG.unpack_from(octets, message.start)
            found = index(octets, message.start + _TCMSG.size, message.end)
            kind = kernel_text(found.get(TCA_KIND, b""))
            if kind in ("clsact", "ingress"):
                self._side(ifindex, INGRESS, found.get(TCA_INGRESS_BLOCK))
                if kind == "clsact":
                    self._side(ifindex, EGRESS, found.get(TCA_EGRESS_BLOCK))
            elif kind in CLASSFUL and handle >> 16:
                self.places.append(Place(ifindex, handle))

    def _side(self, ifindex: int, parent: int, block: Buffer | None) -> None:
        try:
            number = u32(block) if block is not None else None
        except DecodeError:
            self.malformed += 1
            number = None
        self.places.append(Place(ifindex, parent, number or None))


def filters(place: Place) -> DumpRequest:
    """RTM_GETTFILTER: every filter at a place."""
    if place.block is not None:
        body, name = pack("=BxHIIII", 0, 0, BLOCK, 0, place.block, 0), f"block {place.block}"
    else:
        body = pack("=BxHiIII", 0, 0, place.ifindex, 0, place.parent, 0)
        name = f"{place.ifindex} {place.parent:#x}"
    return DumpRequest(f"RTM_GETTFILTER {name}", nl.NETLINK_ROUTE, RTM_GETTFILTER, body)


@dataclass
class FilterSink:
    """Sink for ``filters(place)``: the eBPF programs there, filters and actions, in order."""

    place: Place
    attachments: list[BpfAttachment] = field(default_factory=list)
    malformed: int = 0

    def reset(self) -> None:
        self.attachments.clear()
        self.malformed = 0

    def feed(self, buffer: memoryview) -> None:
        octets = bytes(buffer)
        for message in walk_messages(octets):
            if message.type != RTM_NEWTFILTER:
                continue
            try:
                self._filter(octets, message.start, message.end)
            except (DecodeError, IndexError):
                self.malformed += 1

    def _filter(self, octets: bytes, start: int, end: int) -> None:
        if end - start < _TCMSG.size:
            raise DecodeError("a tcmsg cut short")
        _, _, _, handle, _, about = _TCMSG.unpack_from(octets, start)
        found = index(octets, start + _TCMSG.size, end)
        kind = kernel_text(found.get(TCA_KIND, b""))
        options = bytes(found.get(TCA_OPTIONS, b""))
        common = (handle, about, u32(found[TCA_CHAIN]) if TCA_CHAIN in found else None)
        inside = index(options)
        if kind == "bpf" and BPF_ID in inside:
            direct = bool(u32(inside[BPF_FLAGS]) & DIRECT_ACTION) if BPF_FLAGS in inside else False
            self._add(common, inside, (BPF_FD_NAME, BPF_TAG, BPF_ID), direct)
        actions = inside.get(ACTIONS_OF.get(kind, -1), b"")
        for _, first, last in walk(actions):
            action = index(actions, first, last)
            if kernel_text(action.get(ACT_KIND, b"")) == "bpf":
                self._add(common, index(action.get(ACT_OPTIONS, b"")), (ACT_BPF_NAME, ACT_BPF_TAG, ACT_BPF_ID), None)

    def _add(
        self,
        common: tuple[int, int, int | None],
        options: dict[int, Buffer],
        where: tuple[int, int, int],
        direct: bool | None,
    ) -> None:
        """``where``: attribute numbers of name, tag and id; ``direct`` is None for an action."""
        name, tag, number = where
        if number not in options:
            return
        handle, about, chain = common
        place = self.place
        self.attachments.append(
            BpfAttachment(
                hook="tc",
                prog_id=u32(options[number]),
                position=len(self.attachments),
                direction="ingress" if place.parent == INGRESS else "egress",
                ifindex=place.ifindex,
                parent=place.parent,
                block=place.block,
                chain=chain,
                priority=about >> 16,
                protocol=ntohs(about & 0xFFFF),
                handle=handle,
                direct_action=direct,
                action=direct is None,
                name=kernel_text(options[name]) if name in options else None,
                tag=bytes(options[tag]).hex() if tag in options else None,
            )
        )
