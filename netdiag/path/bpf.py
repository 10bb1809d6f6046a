"""Which BPF programs a packet meets on a device, in their order. What they decide is theirs: see ``--run-bpf``.

On the way in: XDP, then tcx, then clsact. On the way out: tcx, then clsact. netkit has its own two. Pure; nothing can
fail.
"""

from collections.abc import Iterable

from netdiag.model.bpf import BpfAttachment
from netdiag.model.link import Link
from netdiag.path.host import PathHost
from netdiag.path.trail import Trail

_ORDER = ("xdp", "tcx", "tc", "netkit")


def met(host: PathHost, link: Link, direction: str) -> list[BpfAttachment]:
    """The programs on a device in one direction, in the order in which they run."""
    rows = [
        row
        for row in host.tables.bpf.attachments
        if row.ifindex == link.ifindex
        and row.hook in _ORDER
        and (row.direction == direction or (row.hook == "xdp" and direction == "ingress"))
    ]
    return sorted(rows, key=lambda row: (_ORDER.index(row.hook), row.priority or 0, row.position))


def ingress(host: PathHost, link: Link, trail: Trail) -> bool:
    """Name the programs that a packet meets where it arrives; whether there are any."""
    return _named(host, link, "ingress", trail)


def egress(host: PathHost, link: Link, trail: Trail) -> bool:
    """Name the programs that a packet meets where it leaves; whether there are any."""
    return _named(host, link, "egress", trail)


def _named(host: PathHost, link: Link, direction: str, trail: Trail) -> bool:
    rows = met(host, link, direction)
    for row in rows:
        trail.add(
            "bpf", "runs", f"{_hook(row)} on {link.ifname}: {name(host, row)}", why="what it decides is not known"
        )
    if not rows and link.xdp is not None and direction == "ingress":
        what = f"xdp on {link.ifname}: program {link.xdp.prog_id}"
        trail.add("bpf", "runs", what, why="what it decides is not known")
        return True
    return bool(rows)


def name(host: PathHost, row: BpfAttachment) -> str:
    """The program's name, as far as it is known."""
    program = host.tables.bpf.program(row.prog_id)
    called = (program.function or program.name) if program is not None else row.name
    return f"{called} (id {row.prog_id})" if called else f"program {row.prog_id}"


def _hook(row: BpfAttachment) -> str:
    return f"xdp {row.mode or ''}".strip() if row.hook == "xdp" else f"{row.hook} {row.direction}"


def names(rows: Iterable[BpfAttachment], host: PathHost) -> str:
    """All of them in one phrase."""
    return ", ".join(name(host, row) for row in rows)
