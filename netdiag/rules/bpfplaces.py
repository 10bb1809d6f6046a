"""What rules about eBPF share: programs by device and by name. Pure; nothing can fail."""

import re
import socket
from collections.abc import Collection, Iterable, Iterator
from struct import pack
from typing import NamedTuple

from netdiag.index.guests import faces_guest, sides
from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfAttachment, BpfMap, BpfMapEntry, BpfProgram
from netdiag.model.link import Link
from netdiag.rules.expected import since
from netdiag.rules.shape import quoted

MAPPED = "::ffff:"
"""What IPv6 keys of IPv4 addresses begin with."""
OWN = {"inet": 31, "inet6": 65}
"""Bits: a route as long as this belongs to one guest."""
SYSTEMD = "sd_"
"""What names of the programs of systemd begin with."""
CUT_AT = 15
"""Bytes of a program's name that the kernel keeps."""
XDP_REDIRECT, TC_ACT_REDIRECT = 4, 7


RANDOM = re.compile(r"([A-Za-z_.-]*[g-zG-Z_.-])(?=[a-f]*[0-9])[0-9a-f]{6,}(?:-[0-9a-f]{2,})*")
"""Names that end in six random hexadecimal digits or more, as engines give them (``vethf3a91c0``), or in the beginning
of a UUID (``tap3f9a2c1d-7b``)."""
PART = re.compile("(?<=[_.-])(?=[a-f]*[0-9])[0-9a-f]{4,}(?![0-9A-Za-z])")
"""A part of a name that is random hexadecimal digits by itself (``fc-7a9b12cd-1``)."""


def key_address(entry: BpfMapEntry) -> str:
    """The key as an address, in the order of the network."""
    if entry.address is None:
        return socket.inet_ntoa(pack("=I", entry.key))
    return entry.address.removeprefix(MAPPED) if "." in entry.address else entry.address


def key_words(entry: BpfMapEntry) -> str:
    """The key as bpftool takes it, octet by octet."""
    octets = pack("=I", entry.key) if entry.address is None else socket.inet_pton(socket.AF_INET6, entry.address)
    return " ".join(map(str, octets))


def guests_only(view: HostView) -> set[int]:
    """Taps and ends of veth pairs into other namespaces that are no way further on: a network there is a guest's."""
    around = [sides(view.stack, view.routes(family), ()) for family in ("inet", "inet6")]
    exits = {link.ifindex for side in around for link in side.exits}
    return {link.ifindex for link in view.links if faces_guest(link) and link.ifindex not in exits}


def routed(view: HostView, address: str, guests: Collection[int] = ()) -> set[int]:
    """Interfaces of the routes for this address alone, in any table; or for a network on one of the ``guests``."""
    family = "inet6" if ":" in address else "inet"
    fib, found = view.fib(family), set[int]()
    for table in fib.tables():
        for group in fib.candidates(table, address):
            rows = view.route_rows(family, group.positions)
            hops = {hop.oif for row in rows if row.type == "unicast" for hop in row.hops}
            if group.length >= OWN[family] or (group.length and hops.issubset(guests)):
                found |= hops
            break
    return found


def redirects(program: BpfProgram) -> bool:
    """Whether a program may send a packet to another interface: one that only counts returns constants."""
    verdict = {"xdp": XDP_REDIRECT, "sched_cls": TC_ACT_REDIRECT}.get(program.type)
    return program.verdicts is None or verdict in program.verdicts


def left_over(table: Bpf) -> dict[int, str]:
    """Maps that a name here keeps, and no program that is loaded uses: number and path."""
    used = {number for one in table.programs for number in one.map_ids}
    return {pin.id: pin.path for pin in table.pins if pin.kind == "map" and pin.id not in used}


def by_address(
    view: HostView, one: BpfMap, guests: Collection[int]
) -> tuple[list[BpfMapEntry], list[BpfMapEntry], dict[str, set[int]]]:
    """Entries of a map that name the interface by which this host routes their key, those that name another one or
    none that exists, and the interfaces of the routes by address."""
    entries = [row for row in view.bpf.entries if row.map_id == one.id and row.ifindex]
    ways = {key_address(row): routed(view, key_address(row), guests) for row in entries}
    agree = [row for row in entries if row.ifindex in ways[key_address(row)]]
    return agree, [row for row in entries if row.ifindex not in ways[key_address(row)]], ways


def family_of(ifname: str) -> str:
    """What is left of a name without its numbers: ``tap12`` and ``tap7`` are alike."""
    cut = RANDOM.fullmatch(ifname)
    return f"{cut[1]}#" if cut else re.sub("[0-9]+", "#", PART.sub("#", ifname))


class Placed(NamedTuple):
    """A program on a device."""

    link: Link
    at: BpfAttachment
    name: str
    whole: bool
    """False: the kernel may have cut the name."""
    tag: str
    loaded_at: float | None
    """Seconds since boot; None: the program could not be read."""


def placed(view: HostView) -> Iterator[Placed]:
    """Every program on a device of this namespace that has a name and a tag."""
    return placed_among(view.links, view.bpf)


def placed_among(links: Iterable[Link], table: Bpf) -> Iterator[Placed]:
    """The same, of bare tables.

    Without the privilege to read programs, tc still tells the tag, and the name that the one who attached it gave.
    """
    by_index: dict[int | None, Link] = {link.ifindex: link for link in links}
    programs = {program.id: program for program in table.programs}
    for row in table.attachments:
        link, program = by_index.get(row.ifindex), programs.get(row.prog_id)
        name = (program.function or program.name) if program else row.name or ""
        tag = program.tag if program else row.tag or ""
        if link is not None and name and tag:
            whole = program is None or program.function is not None or len(program.name.encode()) < CUT_AT
            yield Placed(link, row, name, whole, tag, program.loaded_at if program else None)


def hook_of(row: BpfAttachment) -> str:
    """``xdp``, ``tc-ingress``, ``netkit-primary``, ``cgroup-inet-ingress``: the intent's spelling."""
    if row.hook in ("tc", "tcx"):
        return f"tc-{row.direction}"
    return (row.attach_type or row.hook).replace("_", "-")


def named(have: str, want: str) -> bool:
    """Whether a program's name is the one that is wanted, as far as the kernel keeps it."""
    return have == want or (len(have.encode()) >= CUT_AT and want.startswith(have))


def where(row: BpfAttachment) -> str:
    """``tc ingress pref 10``, ``tcx egress``, ``xdp``."""
    if row.hook == "xdp":
        return f"xdp {row.mode or ''}".strip()
    return f"{row.hook} {row.direction}" + (f" pref {row.priority}" if row.hook == "tc" else "")


def detached(row: BpfAttachment, ifname: str) -> str:
    """The command that takes a program away from tc or tcx, and no other filter of its priority."""
    if row.hook != "tc":
        if row.link_id is not None:
            return f"bpftool link detach id {row.link_id}"
        return f"bpftool net detach {row.attach_type} dev {quoted(ifname)}"
    at = f"block {row.block}" if row.block is not None else f"dev {quoted(ifname)} {row.direction}"
    chain = f" chain {row.chain}" if row.chain else ""
    which = f" handle {row.handle:#x} bpf" if row.handle else ""
    return f"tc filter del {at}{chain} pref {row.priority}{which}"


def reading(row: BpfAttachment, ifname: str) -> str:
    """How an attachment was read."""
    return {
        "xdp": f"RTM_GETLINK {ifname} IFLA_XDP",
        "tc": f"RTM_GETTFILTER {ifname} {row.direction}",
    }.get(row.hook, f"BPF_PROG_QUERY {ifname} {row.attach_type}")


def referred(table: Bpf) -> set[int | None]:
    """Programs that something other than a pin or a process refers to."""
    found: set[int | None] = {row.prog_id for row in table.attachments}
    return found | {link.prog_id for link in table.links} | {entry.prog_id for entry in table.entries}


def of_systemd(one: BpfProgram | None) -> bool:
    """Whether a program is systemd's own, which attaches and replaces them as units come and go."""
    return one is not None and one.name.startswith(SYSTEMD)


def filled_before(view: HostView, one: BpfMap, user: BpfProgram) -> str:
    """That the map of that name of a program of that name had entries at the time of the baseline; empty: it had none,
    or that is not known."""
    old = view.baseline
    if old is None or not old.read_whole("bpf"):
        return ""
    users = {number for each in old.bpf.programs if each.name == user.name for number in each.map_ids}
    alike = {each.id for each in old.bpf.maps if each.name == one.name and each.type == one.type} & users
    count = sum(entry.map_id in alike for entry in old.bpf.entries)
    return f"it had {count} at the time of {since(old)[6:]}" if count else ""
