"""What it checks
  The two ends of a veth pair have different MTUs, also where the far end lives in another network namespace (it is
  found
  by link-netnsid and asked for over netlink, without entering the namespace).

Why it matters
  A frame longer than the receiving end's MTU is dropped by veth, silently for the sender: no ICMP, no error. Small
  packets and handshakes pass, full-sized ones vanish, one way only: from the end with the larger MTU.
  Sender tx_dropped and receiver rx_dropped grow together.

Confirm
  ip -d link show dev IFNAME
  ip -s link show dev IFNAME
  ping -c1 -M do -s SIZE PEER_ADDRESS, with SIZE = larger MTU - 28

Fix
  ip link set dev IFNAME mtu MTU, at the end that is wrong. Lowering an MTU makes established TCP connections
  segment anew and is otherwise harmless; raising it needs both ends to follow.

Not flagged
  Two ports of a router on different segments. Ends with the same MTU. A larger end that sends nothing of its own
  because
  it is a port of a bridge whose every other port and own MTU fit the smaller end. A pair with an end that is down.
  A far end that could not be read: that is "not evaluated".

References
  drivers/net/veth.c veth_forward_skb(), net/core/dev.c __dev_forward_skb(), include/linux/netdevice.h
  is_skb_forwardable()
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="link-mtu-peer-mismatch",
    title="the two ends of a veth pair have different MTUs",
    severity="warning",
    reads=("links", "peer_links"),
    explains=("link-mtu-*",),
)


def largest_frame(view: HostView, link: Link) -> int:
    """The longest packet, in bytes of MTU, that can come out of this end: a bridge port only passes on what enters
    elsewhere."""
    bridge = view.link(link.master) if link.master else None
    if bridge is None or bridge.kind != "bridge":
        return link.mtu
    others = [other.mtu for other in view.links if other.master == bridge.ifindex and other.ifindex != link.ifindex]
    return min(link.mtu, max([bridge.mtu, *others]))


def pairs(view: HostView) -> Iterator[tuple[Link, Link, bool]]:
    """Each veth pair once: our end, the far end, and whether the far end is in this namespace too."""
    for link in view.links:
        if link.kind != "veth" or link.link is None:
            continue
        if link.link_netnsid is None:
            far = view.link(link.link)
            if far is not None and far.ifindex > link.ifindex:
                yield link, far, True
    near = {link.ifindex: link for link in view.links}
    for peer in view.peer_links:
        if peer.ifindex in near and near[peer.ifindex].kind == "veth":
            yield near[peer.ifindex], peer.peer, False


def check(view: HostView) -> Iterator[Draft]:
    for near, far, same in pairs(view):
        if near.mtu == far.mtu or not (near.up and far.up):
            continue
        out = largest_frame(view, near)
        back = largest_frame(view, far) if same else far.mtu
        if out <= far.mtu and back <= near.mtu:
            continue
        small, large = sorted((near, far), key=lambda link: link.mtu)
        where = "" if same else f" (namespace id {near.link_netnsid})"
        yield RULE.found(
            subject=subject("link", ifname=near.ifname),
            message=f"{near.ifname} has mtu {near.mtu}, its peer {far.ifname}{where} has {far.mtu}: "
            f"packets over {small.mtu} bytes from {large.ifname} are dropped",
            evidence=[
                (f"{near.ifname} mtu", near.mtu, f"RTM_GETLINK {near.ifname} IFLA_MTU"),
                (f"peer {far.ifname} mtu", far.mtu, f"RTM_GETLINK {far.ifname}{where} IFLA_MTU"),
            ],
            confirm=[f"ip -d link show dev {quoted(near.ifname)}", f"ip -s link show dev {quoted(near.ifname)}"],
            fix=f"ip link set dev {quoted(near.ifname)} mtu {far.mtu}  # or set the peer to {near.mtu}",
            breaks=[subject("link", ifname=near.ifname), *([subject("link", ifname=far.ifname)] if same else [])],
        )


def examples() -> Iterator[Example]:
    def pair(near: int, far: int, **fields: int) -> HostBuilder:
        return HostBuilder().link("veth0", kind="veth", mtu=near, **fields).peer("veth0", mtu=far)

    about = subject("link", ifname="veth0")
    yield Example(
        name="near end larger",
        why="the plain fault: our jumbo frames die at the peer",
        tables=pair(9000, 1500).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="near end smaller by one byte",
        why="the far end sends too long; one byte is enough",
        tables=pair(1499, 1500).build(),
        fires=1,
        subject=about,
    )
    yield Example(name="equal jumbo", why="jumbo frames throughout are fine", tables=pair(9000, 9000).build())
    yield Example(
        name="both ends in this namespace",
        why="the pair is named once, not once an end",
        tables=HostBuilder().link("a", kind="veth", mtu=1500, link=3).link("b", kind="veth", mtu=9000, link=2).build(),
        fires=1,
        subject=subject("link", ifname="a"),
    )
    yield Example(
        name="two router ports",
        why="ports of different segments may differ",
        tables=HostBuilder().link("eth0", mtu=9000).link("eth1", mtu=1500).build(),
    )
    yield Example(
        name="veth of unknown peer",
        why="a far end that was not read proves nothing",
        tables=HostBuilder().link("veth0", kind="veth", mtu=9000, link=7, link_netnsid=3).build(),
    )
    yield Example(
        name="near end down",
        why="nothing is sent over an end that is down",
        tables=HostBuilder().link("veth0", kind="veth", mtu=9000, up=False).peer("veth0", mtu=1500).build(),
    )
    bridged = HostBuilder().link("br0", kind="bridge", mtu=1500)
    bridged.link("veth0", kind="veth", mtu=9000, master="br0").link("eth0", mtu=1500, master="br0").peer(
        "veth0", mtu=1500
    )
    yield Example(
        name="larger end is a bridge port among smaller ones",
        why="a port passes on only what came in elsewhere: nothing longer than 1500 can",
        tables=bridged.build(),
    )
    jumbo = HostBuilder().link("br0", kind="bridge", mtu=1500)
    jumbo.link("veth0", kind="veth", mtu=9000, master="br0").link("eth0", mtu=9000, master="br0").peer(
        "veth0", mtu=1500
    )
    yield Example(
        name="bridge port beside a jumbo port",
        why="frames from the jumbo port do not fit the far end",
        tables=jumbo.build(),
        fires=1,
        subject=about,
    )
