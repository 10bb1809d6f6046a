"""What eBPF and tc may do to the frames of guests' taps, gone through once for all taps of a host. Pure."""

from collections import Counter

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfProgram
from netdiag.rules.guesttaps import GuestTap

PASS, TAKEN = {"tc": (-1, 0, 3), "xdp": (2,)}, {"tc": (4, 7), "xdp": (3, 4)}
"""Verdicts by hook: the frame goes on, or is taken elsewhere (include/uapi/linux/pkt_cls.h, bpf.h)."""

HARMLESS = frozenset({"police", "skbedit", "connmark", "csum", "sample"})
"""Actions of tc that let a frame go on, or drop it, and send none elsewhere."""


def passes(row: BpfAttachment, one: BpfProgram | None) -> bool:
    """Whether a program's constants show that frames go on, and that it takes none elsewhere."""
    hook = "xdp" if row.hook == "xdp" else "tc"
    said = set(one.verdicts or ()) if one is not None else set()
    return bool(said & set(PASS[hook])) and not said & set(TAKEN[hook])


def plainly_filtered(view: HostView) -> set[int]:
    """Interfaces whose filters below clsact or ingress were read, and take no frame elsewhere; eBPF stands apart."""
    if not view.read_whole("qdiscs"):
        return set()
    roots = [row for row in view.qdiscs.qdiscs if row.kind in ("clsact", "ingress")]
    own = {row.ifindex for row in roots if row.ingress_block is None and row.egress_block is None}
    taking = {row.ifindex for row in view.qdiscs.filters if any(one.kind not in HARMLESS for one in row.actions)}
    return own - taking


class Treated:
    """The programs on every tap that may take its frames elsewhere: hook, direction, name and instructions of each."""

    def __init__(self, view: HostView, routed: list[GuestTap]) -> None:
        """``routed``: guests' taps that are in use and have a route."""
        self._unread, self._filtered = view.unknown("bpf"), set(view.taps.filtered)
        self._plain = plainly_filtered(view)
        self._routed = {tap.link.ifindex for tap in routed}
        self._seen: dict[int, set[str]] = {}
        found: dict[int, set[tuple[str, ...]]] = {}
        programs = {one.id: one for one in view.bpf.programs}
        for row in view.bpf.attachments:
            if row.ifindex is None:
                continue
            self._seen.setdefault(row.ifindex, set()).add(row.hook)
            if not (row.hook.startswith(("tc", "netkit")) or row.hook == "xdp"):
                continue
            one = programs.get(row.prog_id)
            if passes(row, one):
                continue
            known = (row.name, row.tag) if one is None else (one.name, one.tag)
            told = (row.hook, row.direction or "", known[0] or "", known[1] or f"program {row.prog_id}")
            found.setdefault(row.ifindex, set()).add(told)
        self._of = {ifindex: frozenset(each) for ifindex, each in found.items()}
        self._alike = Counter(self._of.get(ifindex, frozenset()) for ifindex in self._routed)

    def redirected(self, tap: GuestTap) -> bool:
        """Frames of the tap may be taken elsewhere: by eBPF, or by a filter of tc below clsact or ingress, where these
        were not read or have another action than those that only count, mark or limit. Programs that are also on a
        guest's tap that has its route leave the frames to routing; so do those that were not read where such a tap
        is."""
        ifindex = tap.link.ifindex
        mine = self._of.get(ifindex, frozenset())
        if not mine and self._unread:
            return not self._routed - {ifindex}
        if not mine:
            hidden = tap.link.xdp is not None and "xdp" not in self._seen.get(ifindex, ())
            return hidden or (ifindex in self._filtered and ifindex not in self._plain)
        alike = self._alike - Counter([mine]) if ifindex in self._routed else self._alike
        names = {one[:3] for one in mine if one[2]}
        own_builds = [each for each in alike if len(names) == len(mine) and names <= {one[:3] for one in each}]
        return not any(mine <= each for each in alike) and len(own_builds) < 2  # (two builds: constants of the tap)
