"""eBPF programs and their places for the examples of rules. Nothing can fail."""

from typing import Any

from netdiag.model.bpf import BpfAttachment, BpfProgram
from netdiag.rules.build import HostBuilder


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


def xdp(host: HostBuilder, ifname: str, number: int, mode: str = "native", **fields: Any) -> HostBuilder:
    """Attach program ``number`` by XDP; more fields of BpfAttachment can be given."""
    row: dict[str, Any] = {"hook": "xdp", "attach_type": "xdp", "direction": "ingress", "mode": mode}
    return host.bpf(attachments=[BpfAttachment(**(row | fields), prog_id=number, ifindex=host.ifindex(ifname))])
