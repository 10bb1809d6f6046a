"""Devmaps in which no interface stands, for bpf-xdp-redirect-no-target. Pure."""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfMap, BpfProgram

DEVMAPS = ("devmap", "devmap_hash")


def empty_devmaps(view: HostView) -> Iterator[tuple[BpfAttachment, BpfProgram, BpfMap]]:
    """Of each program in native mode the empty devmaps, where it has no other that holds an interface."""
    table = view.bpf
    filled = {entry.map_id for entry in table.entries}
    maps = {one.id: one for one in table.maps if one.type in DEVMAPS and one.id in table.entries_read}
    told = set[int]()
    for row in table.attachments:
        user = table.program(row.prog_id) if row.hook == "xdp" and row.mode == "native" else None
        if user is None or view.link(row.ifindex) is None:
            continue
        own = [one for one in maps.values() if one.id in user.map_ids]
        if own and not any(one.id in filled for one in own) and own[0].id not in told:
            told.add(own[0].id)
            yield row, user, own[0]


def out_of_reach(view: HostView, one: BpfMap) -> bool:
    """Whether nobody can put an interface into a map any more: no pin and no process has it."""
    table = view.bpf
    pinned = any(row.kind == "map" and row.id == one.id for row in table.pins)
    held = any(row.kind == "map" and row.id == one.id for row in table.holders)
    return not pinned and not held and not {"pins", "holders"} & set(table.unread)
