"""What rules about eBPF share: programs by device and by name, and the examples' programs. Pure; nothing can fail."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bpf import Bpf, BpfAttachment, BpfProgram
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder

ON_DEVICES = ("xdp", "tc", "tcx", "netkit")
CUT_AT = 15
"""Bytes of a program's name that the kernel keeps."""


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
    """Every program on a device of this namespace that has a name and a tag.

    Without the privilege to read programs, tc still tells the tag, and the name that the one who attached it gave.
    """
    links = {link.ifindex: link for link in view.links}
    programs = {program.id: program for program in view.bpf.programs}
    for row in view.bpf.attachments:
        link = links.get(row.ifindex or 0)
        if row.hook not in ON_DEVICES or link is None:
            continue
        program = programs.get(row.prog_id)
        name = (program.function or program.name) if program else row.name or ""
        tag = program.tag if program else row.tag or ""
        if name and tag:
            whole = program is None or program.function is not None or len(program.name.encode()) < CUT_AT
            yield Placed(link, row, name, whole, tag, program.loaded_at if program else None)


def where(row: BpfAttachment) -> str:
    """``tc ingress pref 10``, ``tcx egress``, ``xdp``."""
    if row.hook == "xdp":
        return f"xdp {row.mode or ''}".strip()
    return f"{row.hook} {row.direction}" + (f" pref {row.priority}" if row.hook == "tc" else "")


def reading(row: BpfAttachment, ifname: str) -> str:
    """How an attachment was read."""
    return {
        "xdp": f"RTM_GETLINK {ifname} IFLA_XDP",
        "tc": f"RTM_GETTFILTER {ifname} {row.direction}",
    }.get(row.hook, f"BPF_PROG_QUERY {ifname} {row.attach_type}")


def referred(table: Bpf) -> set[int]:
    """Programs that something other than a pin or a process refers to."""
    found = {row.prog_id for row in table.attachments} | {link.prog_id for link in table.links}
    return found | {entry.prog_id for entry in table.entries if entry.prog_id is not None}


def of_systemd(one: BpfProgram | None) -> bool:
    """Whether a program is systemd's own, which attaches and replaces them as units come and go."""
    return one is not None and one.name.startswith("sd_")


def program(number: int, name: str = "policy", tag: str = "aa" * 8, **fields: Any) -> BpfProgram:
    """A program for an example, loaded ``number`` minutes after boot."""
    defaults: dict[str, Any] = {"type": "sched_cls", "loaded_at": 60.0 * number, "jited": True}
    return BpfProgram(**(defaults | {"id": number, "name": name, "tag": tag} | fields))


def tc(host: HostBuilder, ifname: str, number: int, *, priority: int = 1, **fields: Any) -> HostBuilder:
    """Attach program ``number`` by a tc filter, on ingress unless told otherwise."""
    defaults: dict[str, Any] = {"direction": "ingress", "direct_action": True, "handle": 1, "chain": 0, "protocol": 3}
    row = {"hook": "tc", "prog_id": number, "ifindex": host.ifindex(ifname), "priority": priority}
    return host.bpf(attachments=[BpfAttachment(**(defaults | row | fields))])


def tcx(host: HostBuilder, ifname: str, number: int, direction: str = "ingress", **fields: Any) -> HostBuilder:
    """Attach program ``number`` by tcx."""
    row: dict[str, Any] = {"hook": "tcx", "attach_type": f"tcx_{direction}", "direction": direction}
    row |= {"prog_id": number, "ifindex": host.ifindex(ifname)}
    return host.bpf(attachments=[BpfAttachment(**(row | fields))])


def xdp(host: HostBuilder, ifname: str, number: int, mode: str = "native") -> HostBuilder:
    """Attach program ``number`` by XDP."""
    row: dict[str, Any] = {"hook": "xdp", "attach_type": "xdp", "direction": "ingress", "mode": mode}
    return host.bpf(attachments=[BpfAttachment(**row, prog_id=number, ifindex=host.ifindex(ifname))])
