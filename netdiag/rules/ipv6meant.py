"""What shows that IPv6 was meant to run on an interface that has none: shared by the rules that say why it has none.

Tables that a rule only consults (WireGuard, BIRD) may be missing; their signs are then missing as well. Pure.
"""

from netdiag.index.view import HostView
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.bgpsessions import sessions

CONSULTS = ("wireguard", "bird")
ALIKE = 2
"""So many interfaces of the same make must have IPv6."""


def make(link: Link) -> tuple[str | None, str]:
    """Kind, and name without its number: ``tap12`` and ``tap7`` are alike."""
    return link.kind, link.ifname.rstrip("0123456789")


def needs(view: HostView, link: Link, with_ipv6: set[int]) -> tuple[str, str, bool] | None:
    """What shows that IPv6 was meant: words, the source of the fact, and whether it is certain."""
    for device in view.wireguard.devices:
        prefixes = (
            [p for peer in device.peers for p in peer.allowed_ips if ":" in p] if device.ifname == link.ifname else []
        )
        own = [p for p in prefixes if not p.endswith("/0")]
        if own:
            return f"WireGuard peers have {own[0]} behind it", f"WG_CMD_GET_DEVICE {link.ifname} allowed ips", True
    for session in sessions(view):
        if session.protocol.neighbor_ifname == link.ifname and not session.switched_off:
            return f"BGP session {session.name} runs over it", session.source, True
    alike = [one for one in view.links if one.up and one.ifindex != link.ifindex and make(one) == make(link)]
    having = sorted(one.ifname for one in alike if one.ifindex in with_ipv6)
    if link.ifname != make(link)[1] and len(having) >= ALIKE and 2 * len(having) > len(alike):
        return f"{len(having)} interfaces like it have IPv6 ({having[0]}, ...)", "RTM_GETADDR IFA_ADDRESS", False
    return None


def having_ipv6(view: HostView) -> set[int]:
    """Interfaces with a global IPv6 address, or with a host route to a guest."""
    found = {row.ifindex for row in view.addresses if row.family == "inet6" and row.scope == 0}
    routes = view.routes("inet6")  # those to guests; of an address that is only link-local there is a local one
    return found | {int(oif) for oif in routes.oif[(routes.dst_len == 128) & (routes.type == RTN_UNICAST)]}
