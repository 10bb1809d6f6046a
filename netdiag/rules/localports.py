"""Ports that this host calls from: what answers come to, and services do not listen on. Pure."""

from netdiag.index.view import HostView

UNTOUCHED = (32768, 60999)
"""net.ipv4.ip_local_port_range where nobody changed it."""


def callers(view: HostView) -> tuple[int, int]:
    """Two of the ports that this host calls from, as good as any."""
    words = (view.sysctl("net.ipv4.ip_local_port_range") or "").split()
    low, high = (int(words[0]), int(words[1])) if len(words) == 2 else UNTOUCHED
    return low + (high - low) // 3, low + (high - low) * 2 // 3
