"""Which programs on an interface stop what comes after them: for the rules about programs that never run.

tc (net/sched/cls_bpf.c, cls_bpf_exec_opcode()): with direct action the verdicts below end the classification, all
others go on. tcx (include/net/tcx.h, tcx_run()): anything but TCX_NEXT ends the list, and only pass, drop and redirect
keep the packet from tc. Verdicts are known where a program returns constants. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfProgram
from netdiag.model.link import Link

INGRESS = 0xFFFFFFF2
"""Handle of the first of clsact's two sides."""
TC_ENDS = {0: "ok", 2: "shot", 4: "stolen", 7: "redirect", 8: "trap"}
TCX_ENDS = {0: "pass", 2: "drop", 7: "redirect"}
ALL_PROTOCOLS = 3


class Place(NamedTuple):
    """One way through one interface, with what stands there in the kernel's order."""

    link: Link
    direction: str
    tcx: list[BpfAttachment]
    tc: list[BpfAttachment]


def places(view: HostView) -> Iterator[Place]:
    """Every interface and direction with programs by tcx or by clsact."""
    found: dict[tuple[int, str], Place] = {}
    for row in view.bpf.attachments:
        link = view.link(row.ifindex)
        if link is None or row.hook not in ("tc", "tcx") or row.direction is None or row.chain:
            continue
        if (row.parent or INGRESS) < INGRESS:
            continue  # a qdisc's own classifier comes after those of clsact
        place = found.setdefault((link.ifindex, row.direction), Place(link, row.direction, [], []))
        (place.tcx if row.hook == "tcx" else place.tc).append(row)
    for place in found.values():
        place.tcx.sort(key=lambda row: row.position)
        place.tc.sort(key=lambda row: row.position)
        yield place


def ends(row: BpfAttachment, program: BpfProgram | None, protocol: int | None = ALL_PROTOCOLS) -> str | None:
    """Words for the verdicts of a program that always ends its hook for packets of a protocol (that of another filter);
    None where it goes on, or nobody knows."""
    if program is None or not program.verdicts:
        return None
    if row.hook == "tc":
        meets = row.protocol in (None, ALL_PROTOCOLS, protocol)
        if not row.direct_action or not meets or row.action:
            return None
        known = TC_ENDS
    else:
        known = TCX_ENDS
    if not all(verdict in known for verdict in program.verdicts):
        return None
    return " or ".join(f"{known[verdict]} ({verdict})" for verdict in program.verdicts)
