"""How long a packet can come out of an interface: what several rules about MTUs ask.

A bridge port passes on what comes in at other ports, so its own MTU says little about what it will send; and behind a
veth port no more comes in than its far end can send. A bridge without an address of its own sends nothing. Facts:
net/bridge/br_forward.c, drivers/net/veth.c. Pure; asks for the tables ``links``, ``peer_links`` and ``addresses``.
"""

from netdiag.index.view import HostView
from netdiag.model.link import Link

RT_SCOPE_LINK = 253
"""Link-local addresses are for neighbour discovery and the like, in short packets (include/uapi/linux/rtnetlink.h)."""
VLAN_HLEN = 4
"""Bytes by which a frame may exceed the MTU of the interface that takes it: __is_skb_forwardable() of
include/linux/netdevice.h leaves room for a VLAN tag in every frame, tagged or not."""


def own_size(view: HostView, link: Link) -> int:
    """Bytes of the longest packet that the interface itself takes, VLAN tag included."""
    tagged = [upper.mtu + VLAN_HLEN for upper in view.stack.uppers(link.ifindex) if upper.kind == "vlan" and upper.up]
    return max([link.mtu, *tagged])


def largest_sent(view: HostView, link: Link, seen: frozenset[int] = frozenset()) -> int:
    """Bytes of the longest packet that can leave by an interface of this namespace, VLAN tag included.

    ``seen`` are interfaces already asked on the way, so that a ring of bridges ends.
    """
    own = own_size(view, link)
    bridge = view.stack.master(link.ifindex)
    if bridge is None or bridge.kind != "bridge":
        return own
    seen |= {link.ifindex}
    others = [port for port in view.stack.ports(bridge.ifindex) if port.ifindex not in seen and port.up]
    sizes = [largest_received(view, port, seen) for port in others]
    if _speaks(view, bridge):
        sizes.append(bridge.mtu)
    return min(own, max(sizes, default=0))


def _speaks(view: HostView, bridge: Link) -> bool:
    """The bridge sends packets of its own: it has an address, or something stands upon it."""
    if view.stack.uppers(bridge.ifindex):
        return True
    return any(row.ifindex == bridge.ifindex and row.scope != RT_SCOPE_LINK for row in view.addresses)


def largest_received(view: HostView, port: Link, seen: frozenset[int]) -> int:
    """Bytes of the longest packet that can come in here from the wire: veth knows who sits at the other end."""
    far = view.stack.veth_peer(port.ifindex)
    if far is None:
        return port.mtu
    sent = far.mtu if port.link_netnsid is not None else largest_sent(view, far, seen | {port.ifindex})
    return min(port.mtu + VLAN_HLEN, sent)
