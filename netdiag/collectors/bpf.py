"""eBPF programs, maps and links, every place where programs are attached, pins, and who holds what.

XDP and tc come by netlink and need no privilege; tcx, netkit, cgroups, namespaces and sockmaps by BPF_PROG_QUERY
(CAP_NET_ADMIN); lists of objects by id (CAP_SYS_ADMIN); pins and holders by bpffs and /proc. What is denied is named
with the capability that is missing, and the rest is still there: partial. Absent where the kernel has no bpf(2) and
nothing is attached. Whether a veth can take what XDP redirects to it depends on its other end: where no driver tells,
that end's namespace is entered and asked for GRO. No module is loaded, and nothing is attached, run or changed.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from netdiag.collectors import Collected, Options
from netdiag.collectors.all_netns import reachable
from netdiag.collectors.links import read_links
from netdiag.model.bpf import (
    Bpf,
    BpfAttachment,
    BpfHolder,
    BpfLink,
    BpfMap,
    BpfMapEntry,
    BpfMount,
    BpfPin,
    BpfProgram,
    BpfTurnover,
    with_called,
)
from netdiag.model.link import Link
from netdiag.sources.bpf.answer import CgroupReply, EntriesReply, KeySample
from netdiag.sources.bpf.contents import may_name, names_something
from netdiag.sources.bpf.names import CGROUP_HOOKS
from netdiag.sources.bpf.objects import Reply
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.netdevfeatures import BASIC, NDO_XMIT, FeatureSink, devices
from netdiag.sources.netlink.tcfilters import FilterSink, QdiscSink, filters
from netdiag.sources.netlink.wireguard import Families
from netdiag.sources.netlink.wireguard import families as all_families
from netdiag.sources.protocol import Source, Unreadable

Rows = TypeVar("Rows")
SOCKMAPS = ("sockmap", "sockhash")
DEVMAPS = ("devmap", "devmap_hash")
GUESSED = 16
"""Plain hashes that are looked into although their names say nothing of interfaces."""
ADDRESSES = 1 << 16
"""A key below this is the number of something."""
LRU = ("lru_hash", "lru_percpu_hash")
LRU_LOOKED_AT = 8
"""LRU maps whose keys are looked at twice."""
CAPABILITY = {
    "programs": "CAP_SYS_ADMIN",
    "maps": "CAP_SYS_ADMIN",
    "links": "CAP_SYS_ADMIN",
    "tcx": "CAP_NET_ADMIN",
    "namespace": "CAP_NET_ADMIN",
    "cgroups": "CAP_NET_ADMIN",
    "sockmaps": "CAP_SYS_ADMIN",
    "entries": "CAP_SYS_ADMIN",
}
"""What reading a part needs where it was denied."""


@dataclass
class Reader:
    """Asks for one part after the other and remembers what went wrong."""

    source: Source
    denied: dict[str, list[str]] = field(default_factory=dict)
    """Parts by the capability that they need."""
    troubles: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    refusals: list[Unreadable] = field(default_factory=list)

    def part(self, name: str, key: str, kind: type[Rows], otherwise: Rows, *, minor: bool = False) -> Rows:
        """The rows of one key; ``otherwise`` where they cannot be had. ``minor``: not being complete is no trouble."""
        try:
            reply = msgspec.json.decode(self.source.fetch("bpf", key), type=Reply)
            rows = msgspec.json.decode(reply.rows, type=kind)
        except Unreadable as refusal:
            self.unread.append(name)
            self.refusals.append(refusal)
            if refusal.why == "denied":
                self.denied.setdefault(CAPABILITY.get(name, "more rights"), []).append(name)
            elif not minor:
                self.troubles.append(f"{name}: {refusal.detail}")
            return otherwise
        except msgspec.MsgspecError as error:
            self.unread.append(name)
            self.troubles.append(f"{name}: {error}")
            return otherwise
        if reply.trouble:
            self.unread.append(name)
            if not minor:
                self.troubles.append(f"{name}: {reply.trouble}")
        return rows

    def detail(self) -> str:
        """One line for coverage."""
        needs = [f"{', '.join(parts)}: needs {capability}" for capability, parts in self.denied.items()]
        return "; ".join(needs + self.troubles)


def xdp_attachments(links: Iterable[Link]) -> list[BpfAttachment]:
    """What IFLA_XDP tells; several modes may be in use at once."""
    rows: list[BpfAttachment] = []
    for link in links:
        if link.xdp is None:
            continue
        modes = {
            "offload": link.xdp.offload_prog_id,
            "native": link.xdp.native_prog_id,
            "generic": link.xdp.generic_prog_id,
        }
        if not any(modes.values()):
            modes = {link.xdp.mode: link.xdp.prog_id}
        for mode, prog_id in modes.items():
            if prog_id:
                rows.append(
                    BpfAttachment(
                        hook="xdp",
                        prog_id=prog_id,
                        position=len([row for row in rows if row.ifindex == link.ifindex]),
                        attach_type="xdp",
                        direction="ingress",
                        ifindex=link.ifindex,
                        mode=mode,
                    )
                )
    return rows


def features_of(source: Source) -> dict[int, int]:
    """What drivers say of XDP, by ifindex; empty where the kernel has no such family."""
    families, features = Families(), FeatureSink()
    try:
        source.dump(all_families(), families)
        if "netdev" in families.numbers:
            source.dump(devices(families.numbers["netdev"]), features)
    except Unreadable:
        return {}
    return features.features


def with_features(features: dict[int, int], rows: list[BpfAttachment]) -> list[BpfAttachment]:
    """The same, generic XDP with what the drivers say."""
    return [
        msgspec.structs.replace(row, driver_can=bool(features[row.ifindex] & BASIC))
        if row.mode == "generic" and row.ifindex in features
        else row
        for row in rows
    ]


def with_targets(features: dict[int, int], maps: Iterable[BpfMap], rows: Iterable[BpfMapEntry]) -> list[BpfMapEntry]:
    """The same, devmap entries with what the drivers of their interfaces say, on a kernel where any driver says
    anything: some tell 0 of all."""
    features = features if any(features.values()) else {}
    devmaps = {one.id for one in maps if one.type in DEVMAPS}
    return [
        msgspec.structs.replace(row, target_can=bool(features[row.ifindex] & NDO_XMIT))
        if row.map_id in devmaps and row.ifindex in features
        else row
        for row in rows
    ]


def by_address(row: BpfMapEntry) -> bool:
    """Whether an entry's key is no small number: an address, in the order of the network, is none."""
    return row.address is not None or row.key >= ADDRESSES


def guessed(source: Source, numbers: list[int], here: set[int]) -> list[BpfMapEntry]:
    """Entries of those maps in which most values begin with the index of an interface, and several are named, or all
    of two and more; or half of them, each another, where keys are addresses.

    What other maps hold is forgotten at once: it is nobody's business.
    """
    if not numbers:
        return []
    try:
        reply = msgspec.json.decode(source.fetch("bpf", f"entries {_ids(numbers)}"), type=Reply)
        entries = msgspec.json.decode(reply.rows, type=EntriesReply).entries
    except (Unreadable, msgspec.MsgspecError):
        return []
    found: list[BpfMapEntry] = []
    for number in numbers:
        rows = [row for row in entries if row.map_id == number]
        good = [row.ifindex for row in rows if row.ifindex in here]
        most = len(set(good)) > 1 and len(good) * 2 > len(rows)
        half = len(good) == len(set(good)) and len(good) * 2 == len(rows) and all(by_address(row) for row in rows)
        found += rows if most or half or len(good) == len(rows) > 1 else []
    return found


def told_by_ioctl(source: Source, question: str, word: str, numbers: Iterable[int]) -> dict[int, int]:
    """One number of each interface, by ifindex; those that could not be asked, or do not tell it, are left out."""
    answers = asked_by_ioctl(source, question, numbers)
    return {ifindex: answer[word] for ifindex, answer in answers.items() if word in answer}


def asked_by_ioctl(source: Source, question: str, numbers: Iterable[int]) -> dict[int, dict[str, int]]:
    """All that each interface answers, by ifindex; those that could not be asked are left out."""
    try:
        raw = source.fetch("ethtool", "\n".join([question, *map(str, numbers)]))
        return msgspec.json.decode(raw, type=dict[int, dict[str, int]])
    except (Unreadable, msgspec.MsgspecError):
        return {}


def far_gro(source: Source, ends: Iterable[Link]) -> dict[int, int]:
    """Whether GRO is on at the other ends of these veths, by the ifindex here. The process enters the namespaces in
    which they are, and stays in the last of them."""
    by_space: dict[int | None, dict[int, int]] = {}
    for end in ends:
        by_space.setdefault(end.link_netnsid, {})[end.link or 0] = end.ifindex
    found = dict[int, int]()
    own = by_space.pop(None, {})
    if own:
        found |= {own[far]: on for far, on in told_by_ioctl(source, "gro", "gro", own).items()}
    with suppress(Unreadable):  # then those of the other namespaces stay unknown
        for place in reachable(source) if by_space else ():
            far = by_space.get(place.netnsid, {})
            if far and place.path is not None:
                inside = source.inside(place.inode, place.path).scoped(f"bpf-{place.inode}")
                found |= {far[number]: on for number, on in told_by_ioctl(inside, "gro", "gro", far).items()}
    return found


def with_veths(source: Source, veths: list[Link], rows: list[BpfMapEntry]) -> list[BpfMapEntry]:
    """The same, devmap entries of these veths with what they took, and what GRO of the other end makes of them."""
    numbers = {link.ifindex for link in veths}
    took = told_by_ioctl(source, "xdp", "took", numbers)
    can = far_gro(source, veths)
    return [
        msgspec.structs.replace(
            row,
            target_can=bool(can[row.ifindex]) if row.ifindex in can else None,
            target_took=took.get(row.ifindex),
        )
        if row.ifindex in numbers and row.target_can is None
        else row
        for row in rows
    ]


def with_sent(source: Source, links: Iterable[Link], rows: list[BpfAttachment]) -> list[BpfAttachment]:
    """The same, XDP of veths with how many packets it sent elsewhere, and how many of them came nowhere."""
    numbers = [link.ifindex for link in links if link.kind == "veth" and link.xdp]
    told = asked_by_ioctl(source, "xdp", numbers) if numbers else {}
    found = []
    for row in rows:
        answer = told.get(row.ifindex or 0, {}) if row.hook == "xdp" else {}
        changed = "sent" in answer
        found.append(msgspec.structs.replace(row, sent=answer["sent"], failed=answer.get("failed")) if changed else row)
    return found


def tc_attachments(reader: Reader) -> list[BpfAttachment]:
    """Filters and actions of every place that may have some; a shared block is read once."""
    rows: list[BpfAttachment] = []
    blocks: dict[int, list[BpfAttachment]] = {}
    places = QdiscSink()
    try:
        reader.source.dump(requests.qdiscs(), places)
    except Unreadable as refusal:
        reader.troubles.append(refusal.detail)
        reader.unread.append("tc")
        return rows
    for place in places.places:
        found = blocks.get(place.block) if place.block is not None else None
        if found is None:
            sink = FilterSink(place)
            try:
                reader.source.dump(filters(place), sink)
            except Unreadable as refusal:
                if refusal.why != "absent":  # an interface that has gone meanwhile
                    reader.troubles.append(refusal.detail)
                    reader.unread.append("tc")
                continue
            if sink.malformed:
                reader.troubles.append(f"tc: {sink.malformed} messages could not be decoded")
            found = sink.attachments
            if place.block is not None:
                blocks[place.block] = found
        direction = "egress" if place.parent & 0xFFFFFFFF != 0xFFFFFFF2 else "ingress"
        rows += [
            msgspec.structs.replace(row, ifindex=place.ifindex, parent=place.parent, direction=direction)
            for row in found
        ]
    return rows


def hooks_in_use(programs: Iterable[BpfProgram], *, known: bool) -> list[str]:
    """Hooks of cgroups worth asking for: those whose type of program exists at all; all where nobody knows."""
    types = {program.type for program in programs}
    return [hook for kind, hooks in CGROUP_HOOKS.items() if not known or kind in types for hook in hooks]


def with_links(attachments: Iterable[BpfAttachment], links: Iterable[BpfLink]) -> list[BpfAttachment]:
    """The same, with the bpf_link that each was made by."""
    by_place: dict[tuple[object, ...], int] = {}
    for link in links:
        place = link.cgroup_id or link.netns or link.map_id or link.ifindex
        by_place[link.attach_type, place, link.prog_id] = link.id
    rows = []
    for row in attachments:
        place = row.cgroup_id or row.netns or row.map_id or row.ifindex
        number = by_place.get((row.attach_type, place, row.prog_id)) if row.attach_type else None
        rows.append(row if number is None else msgspec.structs.replace(row, link_id=number))
    return rows


def netfilter_attachments(links: Iterable[BpfLink]) -> list[BpfAttachment]:
    """Netfilter hooks, which only links tell; of which namespace, the kernel does not say."""
    return [
        BpfAttachment(
            hook="netfilter",
            prog_id=link.prog_id,
            attach_type="netfilter",
            link_id=link.id,
            pf=link.pf,
            hooknum=link.hook,
            priority=link.priority,
        )
        for link in sorted(links, key=lambda row: (row.pf or 0, row.hook or 0, row.priority or 0))
        if link.type == "netfilter" and link.pf
    ]


def pressed(programs: Iterable[BpfProgram], maps: Iterable[BpfMap], running: set[int]) -> list[int]:
    """LRU maps of these programs that may be full: each CPU keeps free entries to itself, up to half of a small map in
    all (kernel/bpf/bpf_lru_list.c, target_free), so that it evicts from there on."""
    used = {number for one in programs if one.id in running for number in one.map_ids}
    return [
        one.id
        for one in maps
        if one.id in used and one.type in LRU and not one.entries_more and (one.entries or 0) * 2 >= one.max_entries
    ][:LRU_LOOKED_AT]


def turnover(reader: Reader, numbers: list[int], interval: float) -> tuple[BpfTurnover, ...]:
    """Keys of these maps twice, and how many of the first look are left at the second."""
    if not numbers or interval <= 0:
        return ()
    started = reader.source.clock("boottime")
    first = reader.part("keys", f"keys {_ids(numbers)}", tuple[KeySample, ...], (), minor=True)
    reader.source.wait(interval)
    second = reader.part("keys", f"keys {_ids(numbers)}", tuple[KeySample, ...], (), minor=True)
    seconds = round(reader.source.clock("boottime") - started, 3)
    later = {sample.map_id: set(sample.keys) for sample in second}
    return tuple(
        BpfTurnover(
            map_id=sample.map_id,
            looked=len(sample.keys),
            left=sum(key in later[sample.map_id] for key in sample.keys),
            seconds=seconds,
        )
        for sample in first
        if sample.map_id in later
    )


def _ids(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)


def collect(source: Source, options: Options) -> Collected:
    """Everything; parts that cannot be read are named."""
    reader = Reader(source)
    interfaces, _ = read_links(source, stats=False)
    programs = reader.part("programs", "programs", tuple[BpfProgram, ...], ())
    listed = "programs" not in reader.unread
    maps: tuple[BpfMap, ...] = ()
    links: tuple[BpfLink, ...] = ()
    if listed or not reader.denied:
        maps = reader.part("maps", "maps", tuple[BpfMap, ...], ())
        links = reader.part("links", "links", tuple[BpfLink, ...], ())
    else:
        reader.unread += ["maps", "links", "sockmaps", "entries"]
        reader.denied["CAP_SYS_ADMIN"] += ["maps", "links"]
    on_xdp = xdp_attachments(interfaces)
    features = features_of(source) if on_xdp else {}
    attachments = with_features(features, on_xdp) + tc_attachments(reader)
    netkits = _ids(link.ifindex for link in interfaces if link.kind == "netkit")
    plain = _ids(link.ifindex for link in interfaces)
    attachments += reader.part("tcx", f"interfaces {plain} {netkits}".rstrip(), tuple[BpfAttachment, ...], ())
    attachments += reader.part("namespace", "namespace", tuple[BpfAttachment, ...], ())
    wanted = hooks_in_use(programs, known=listed)
    effective = CgroupReply((), ())
    if wanted:
        effective = reader.part("cgroups", f"cgroups {','.join(wanted)}", CgroupReply, effective)
    attachments += effective.attachments
    sockmaps = [one.id for one in maps if one.type in SOCKMAPS]
    if sockmaps:
        attachments += reader.part("sockmaps", f"sockmaps {_ids(sockmaps)}", tuple[BpfAttachment, ...], ())
    naming = [one.id for one in maps if names_something(one)]
    entries = EntriesReply((), ())
    if naming:
        entries = reader.part("entries", f"entries {_ids(naming)}", EntriesReply, entries)
    pins = reader.part("pins", "pins", tuple[BpfPin, ...], ())
    mounted = reader.part("mounts", "mounts", tuple[BpfMount, ...], (), minor=True)
    holders = reader.part("holders", "holders", tuple[BpfHolder, ...], (), minor=True)
    absent = [refusal for refusal in reader.refusals if refusal.why == "absent"]
    if absent and not attachments and not listed:
        raise absent[0]
    running = with_called((row.prog_id for row in attachments), programs, entries.entries)
    moved = turnover(reader, pressed(programs, maps, running), options.interval)
    placed = with_called((row.prog_id for row in attachments if row.ifindex), programs, entries.entries)
    used = {number for one in programs if one.id in placed for number in one.map_ids}
    others = [one.id for one in maps if one.id in used and may_name(one) and not names_something(one)]
    here = {link.ifindex for link in interfaces if not link.loopback}
    named = with_targets(features, maps, entries.entries) + guessed(source, others[:GUESSED], here)
    devmaps = {one.id for one in maps if one.type in DEVMAPS}
    untold = {row.ifindex for row in named if row.map_id in devmaps and row.target_can is None}
    veths = [link for link in interfaces if link.ifindex in untold and link.kind == "veth" and link.link]
    attachments = with_sent(source, interfaces, attachments)
    if veths:
        named = with_veths(source, veths, named)  # the last thing that is read: it may leave this namespace
    table = Bpf(
        programs=programs,
        maps=maps,
        links=links,
        attachments=tuple(with_links(attachments, links) + netfilter_attachments(links)),
        cgroups=effective.effective,
        entries=tuple(named),
        entries_read=entries.read,
        pins=pins,
        holders=holders,
        mounts=mounted,
        turnover=moved,
        unread=tuple(dict.fromkeys(reader.unread)),
    )
    detail = reader.detail()
    rows = len(programs) + len(maps) + len(links) + len(table.attachments)
    return Collected(tables={"bpf": table}, rows=rows, status="partial" if detail else "ok", detail=detail)
