"""Commands for the far end of a cable, which may live in another network namespace under a name that this one has too.

ip-netns(8): names of namespaces are files under /run/netns, and ``ip -n NAME`` works there. Pure; nothing can fail.
"""

from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.rules.shape import quoted


def far_set(view: HostView, port: Link, far: Link, what: str) -> str:
    """``ip link set dev FAR WHAT`` where the far end of a port lives; a remark where that namespace has no name, so
    that a paste changes nothing of this host's."""
    command = f"link set dev {quoted(far.ifname)} {what}"
    if port.link_netnsid is None:
        return f"ip {command}"
    rows = () if view.unknown("namespaces") else view.namespaces.namespaces
    name = next((row.names[0] for row in rows if row.netnsid == port.link_netnsid and row.names), None)
    if name is not None:
        return f"ip -n {quoted(name)} {command}"
    return f"# in the namespace at the other end of {port.ifname} (link-netnsid {port.link_netnsid}): ip {command}"
