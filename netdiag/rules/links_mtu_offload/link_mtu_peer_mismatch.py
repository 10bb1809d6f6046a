"""What it checks
  The two ends of a veth pair have MTUs that differ by more than a VLAN tag, and frames of the larger size can come
  out of the larger end. The far end may live in another network namespace: it is found by link-netnsid and asked for
  over netlink, without entering the namespace.

Why it matters
  A frame that is longer than the receiving end's MTU is dropped by veth, silently for the sender: no ICMP, no error.
  Small packets and handshakes pass, full-sized ones vanish, one way only: from the end with the larger MTU.
  Sender tx_dropped and receiver rx_dropped grow together. TCP between the two ends themselves gets by, because
  each announces its own segment size; UDP, tunnels and everything that is routed or bridged through does not.

Confirm
  ip -d link show dev IFNAME           (and dev PEER, here or in its namespace)
  ip -s link show dev IFNAME           (dropped)
  ping -c1 -M do -s SIZE PEER_ADDRESS, with SIZE = larger MTU - 28

Fix
  ip link set dev IFNAME mtu MTU, at the end that is wrong. Lowering an MTU makes established TCP connections
  segment anew and is otherwise harmless, but below 1280 it takes IPv6 away; raising it needs both ends to follow.

Not flagged
  Two ports of a router on different segments. Ends with the same MTU. Ends that differ by four bytes or less: the
  kernel forwards frames that are longer than the MTU by a VLAN tag, with or without the tag. A larger end that has
  nothing so long to send: a bridge port behind which every sender, and the bridge itself, fits the smaller end.
  A pair with an end that is down. A far end that could not be read. A netkit pair, which does not look at lengths.

References
  include/linux/netdevice.h __is_skb_forwardable(), net/core/dev.c __dev_forward_skb2(), drivers/net/veth.c
  veth_xmit(), net/bridge/br_forward.c br_dev_queue_push_xmit()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, Stats64
from netdiag.rules.build import HostBuilder
from netdiag.rules.framesize import VLAN_HLEN, largest_sent, own_size
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="link-mtu-peer-mismatch",
    title="the two ends of a veth pair have different MTUs",
    severity="warning",
    reads=("links", "peer_links", "addresses"),
    explains=(
        "bridge-mtu-auto-shrunk",
        "bgp-hold-mtu-stall",
        "pmtud-*",
        "tunnel-mtu-headroom-missing",
    ),
)


def pairs(view: HostView) -> Iterator[tuple[Link, Link, bool]]:
    """Each veth pair once: our end, the far end, and whether the far end is in this namespace too."""
    for link in view.links:
        far = view.stack.veth_peer(link.ifindex)
        if far is None or link.kind != "veth":
            continue
        same = link.link_netnsid is None
        if not same or _first(link, far):
            yield link, far, same


def _first(one: Link, other: Link) -> bool:
    """Of two ends in one namespace the one to name: that with the odd MTU, else the first by name."""
    odd = (one.mtu != 1500, other.mtu != 1500)
    return odd[0] if odd[0] != odd[1] else one.ifname < other.ifname


def _fit(near: Link, far: Link, out: int, back: int) -> bool:
    """Packets of these sizes pass, from the near end to the far one and back."""
    return out <= far.mtu + VLAN_HLEN and back <= near.mtu + VLAN_HLEN


def _dropped(sender: Link, receiver: Link) -> list[tuple[str, object, str]]:
    """The counters that veth raises together, where both have moved."""

    def fact(link: Link, counter: str, value: int) -> tuple[str, object, str]:
        return (f"{link.ifname} {counter} since it was made", value, f"RTM_GETLINK {link.ifname} IFLA_STATS64")

    if not (sender.stats.tx_dropped and receiver.stats.rx_dropped):
        return []
    return [
        fact(sender, "tx_dropped", sender.stats.tx_dropped),
        fact(receiver, "rx_dropped", receiver.stats.rx_dropped),
    ]


def check(view: HostView) -> Iterator[Draft]:
    for near, far, same in pairs(view):
        sizes = own_size(view, near), own_size(view, far) if same else far.mtu
        if not (near.up and far.up) or _fit(near, far, *sizes):
            continue
        out = largest_sent(view, near)
        back = largest_sent(view, far) if same else far.mtu
        if _fit(near, far, out, back):
            continue
        # What a bridge in another namespace sends through the far end is not seen from here.
        guessed = not same and far.master is not None and out <= far.mtu + VLAN_HLEN
        small, large = (near, far) if near.mtu < far.mtu else (far, near)
        sender = large.ifname if same or large is near else "the peer"
        where = "" if same else f" (namespace id {near.link_netnsid})"
        yield RULE.found(
            subject=subject("link", ifname=near.ifname),
            message=f"{near.ifname} has mtu {near.mtu}, its peer {far.ifname}{where} has {far.mtu}: "
            f"packets over {small.mtu + VLAN_HLEN} bytes from {sender} are dropped",
            evidence=[
                (f"{near.ifname} mtu", near.mtu, f"RTM_GETLINK {near.ifname} IFLA_MTU"),
                (f"peer {far.ifname} mtu", far.mtu, f"RTM_GETLINK {far.ifname}{where} IFLA_MTU"),
                *_dropped(large, small),
            ],
            confirm=[
                f"ip -d link show dev {quoted(near.ifname)}",
                f"ip -d link show dev {quoted(far.ifname)}" if same else f"ip -s link show dev {quoted(near.ifname)}",
            ],
            fix=f"ip link set dev {quoted(near.ifname)} mtu {far.mtu}  # or set the peer to {near.mtu}",
            confidence="likely" if guessed else "certain",
            breaks=[subject("link", ifname=far.ifname)] if same else [],
            touches=[subject("link", ifname=far.ifname)] if same else [],
        )


def examples() -> Iterator[Example]:
    yield from _plain_examples()
    yield from _one_namespace_examples()
    yield from _bridge_examples()


def _pair(near: int, far: int, **fields: Any) -> HostBuilder:
    return HostBuilder().link("veth0", kind="veth", mtu=near, **fields).peer("veth0", mtu=far)


def _pair_into_bridge(near: int, far: int) -> HostBuilder:
    """The far end is a bridge port there; its index and its master's are by chance those of links here."""
    host = HostBuilder().link("br0", kind="bridge", mtu=1400).link("p0", mtu=1400, master="br0")
    return host.link("veth0", kind="veth", mtu=near).peer("veth0", mtu=far, ifindex=3, master=2)


def _plain_examples() -> Iterator[Example]:
    about = subject("link", ifname="veth0")
    yield Example(
        name="near end larger",
        why="the plain fault: our jumbo frames die at the peer",
        tables=_pair(9000, 1500).build(),
        fires=1,
        subject=about,
        severity="warning",
    )
    yield Example(
        name="near end smaller by five bytes",
        why="the far end sends too long; one byte more than a VLAN tag is enough",
        tables=_pair(1495, 1500).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="near end larger by five bytes",
        why="the same from the other side",
        tables=_pair(1505, 1500).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="near end smaller by four bytes",
        why="the kernel lets four bytes more than the MTU pass: no frame is lost",
        tables=_pair(1496, 1500).build(),
    )
    yield Example(
        name="near end larger by four bytes",
        why="an MTU of 1504 for double tags over a cable of 1500 loses nothing",
        tables=_pair(1504, 1500).build(),
    )
    yield Example(name="equal jumbo", why="jumbo frames throughout are fine", tables=_pair(9000, 9000).build())
    yield Example(
        name="larger by four bytes, and a VLAN of that size on top",
        why="its tagged frames are four bytes longer still, and those do not pass",
        tables=_pair(1504, 1500).link("veth0.5", kind="vlan", mtu=1504, link="veth0").build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="equal ends with a VLAN of the same MTU",
        why="the tag is what the four bytes are for",
        tables=_pair(1500, 1500).link("veth0.5", kind="vlan", mtu=1500, link="veth0").build(),
    )
    yield Example(
        name="far end larger by eight bytes, and a VLAN on the near one",
        why="the near end's tagged frames fit the far one, but not the other way round",
        tables=_pair(1500, 1508).link("veth0.5", kind="vlan", mtu=1500, link="veth0").build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="larger by four bytes, and that VLAN down",
        why="it sends nothing",
        tables=_pair(1504, 1500).link("veth0.5", kind="vlan", mtu=1504, link="veth0", up=False).build(),
    )
    yield Example(
        name="larger by four bytes, and a macvlan on top",
        why="a macvlan adds no tag",
        tables=_pair(1504, 1500).link("m0", kind="macvlan", mtu=1504, link="veth0").build(),
    )
    yield Example(
        name="far end larger",
        why="what it sends is dropped on our side; the end that we see is named",
        tables=_pair(1500, 9000).build(),
        fires=1,
        subject=about,
        confidence="certain",
        says=("over 1504 bytes from the peer", "namespace id 0"),
    )
    yield Example(
        name="two router ports",
        why="ports of different segments may differ",
        tables=HostBuilder().link("eth0", mtu=9000).link("eth1", mtu=1500).build(),
    )
    yield Example(
        name="veth of unknown peer",
        why="a far end that was not read proves nothing, and its index means another link here",
        tables=HostBuilder().link("veth0", kind="veth", mtu=9000, link=1, link_netnsid=3).build(),
    )
    yield Example(
        name="macvlan smaller than the device below it",
        why="the device below is no other end of a cable",
        tables=HostBuilder().link("eth0", mtu=9000).link("m0", kind="macvlan", mtu=1500, link="eth0").build(),
    )
    yield Example(
        name="netkit pair",
        why="netkit hands over frames of any length (drivers/net/netkit.c netkit_xmit())",
        tables=HostBuilder().link("nk0", kind="netkit", mtu=9000).peer("nk0", mtu=1500, kind="netkit").build(),
    )
    yield Example(
        name="near end down",
        why="nothing is sent over an end that is down",
        tables=HostBuilder().link("veth0", kind="veth", mtu=9000, up=False).peer("veth0", mtu=1500, flags=1).build(),
    )
    yield Example(
        name="far end down",
        why="nor to one",
        tables=HostBuilder().link("veth0", kind="veth", mtu=9000).peer("veth0", mtu=1500, flags=0).build(),
    )
    yield Example(
        name="far end is a bridge port with a larger MTU",
        why="its segment runs on 1500: what comes from there is dropped before we see it",
        tables=_pair_into_bridge(1400, 1500).build(),
        fires=1,
        subject=about,
        confidence="likely",
    )
    yield Example(
        name="far end is a bridge port with a smaller MTU",
        why="what we send is known to be too long",
        tables=_pair_into_bridge(9000, 1500).build(),
        fires=1,
        confidence="certain",
    )
    lossy = HostBuilder().link("veth0", kind="veth", mtu=9000, stats=Stats64(tx_dropped=5))
    yield Example(
        name="counters of both ends have moved",
        why="they stand in the evidence, and do not change the severity: they count since the link was made",
        tables=lossy.peer("veth0", mtu=1500, stats=Stats64(rx_dropped=5)).build(),
        fires=1,
        severity="warning",
        says=("veth0 tx_dropped since it was made 5", "eth0 rx_dropped since it was made 5"),
    )


def _both(a: int, b: int, **fields: Any) -> HostBuilder:
    """A pair with both ends here; further fields are those of the second end."""
    return HostBuilder().link("a", kind="veth", mtu=a, link=3).link("b", kind="veth", mtu=b, link=2, **fields)


def _one_namespace_examples() -> Iterator[Example]:
    yield Example(
        name="both ends in this namespace, the second odd",
        why="the pair is named once, not once an end, and by the end whose MTU is unusual",
        tables=_both(1500, 9000).build(),
        fires=1,
        subject=subject("link", ifname="b"),
        says=("peer a has 1500: packets over 1504 bytes from b are dropped",),
    )
    yield Example(
        name="both ends in this namespace, the first odd",
        why="the same whichever end was made first",
        tables=_both(1400, 1500).build(),
        fires=1,
        subject=subject("link", ifname="a"),
    )
    yield Example(
        name="both ends odd",
        why="no end stands out: the first by name",
        tables=_both(9000, 1400).build(),
        fires=1,
        subject=subject("link", ifname="a"),
    )
    yield Example(
        name="both ends here, the first smaller by four bytes, the second with a VLAN of its size",
        why="its tagged frames are four bytes longer still",
        tables=_both(1496, 1500).link("b.5", kind="vlan", mtu=1500, link="b").build(),
        fires=1,
    )
    yield Example(name="both ends here and equal", why="nothing differs", tables=_both(9000, 9000).build())
    bridged = _both(1400, 9000, master=4).link("br0", kind="bridge", mtu=1400, ifindex=4)
    yield Example(
        name="larger end is the second and can send nothing long",
        why="what the bridge passes on is asked for at both ends",
        tables=bridged.build(),
    )
    bridged = _both(1500, 9000, master=4).link("br0", kind="bridge", mtu=1500, ifindex=4)
    yield Example(
        name="larger end is the only port of a bridge that fits",
        why="the bridge's own packets are all that can come out of that end",
        tables=bridged.address("br0", "10.0.0.1/24").build(),
    )
    bridged = _both(1500, 9000, master=4).link("br0", kind="bridge", mtu=9000, ifindex=4)
    yield Example(
        name="larger end is a port of a larger bridge",
        why="the bridge's own packets do not fit",
        tables=_both(1500, 9000, master=4)
        .link("br0", kind="bridge", mtu=9000, ifindex=4)
        .address("br0", "10.0.0.1/24")
        .build(),
        fires=1,
        subject=subject("link", ifname="b"),
    )
    yield Example(
        name="larger end is the only port of a larger bridge without an address",
        why="the bridge grew with its port, and has nothing to say",
        tables=bridged.build(),
    )
    yield Example(
        name="the same bridge with an IPv6 link-local address alone",
        why="every interface has one, and what it is for is short",
        tables=bridged.address("br0", "fe80::1/64").build(),
    )
    yield Example(
        name="the same bridge with a VLAN on top",
        why="the VLAN's packets are the bridge's",
        tables=_both(1500, 9000, master=4)
        .link("br0", kind="bridge", mtu=9000, ifindex=4)
        .link("br0.5", kind="vlan", mtu=9000, link="br0")
        .build(),
        fires=1,
    )
    yield Example(
        name="both ends odd, the second a port of a larger bridge",
        why="this bridge is ours, so what it sends is known",
        tables=_both(1400, 9000, master=4)
        .link("br0", kind="bridge", mtu=9000, ifindex=4)
        .address("br0", "10.0.0.1/24")
        .build(),
        fires=1,
        subject=subject("link", ifname="a"),
        confidence="certain",
    )
    looped = _both(1500, 9000, master=4).link("br0", kind="bridge", mtu=1500, ifindex=4)
    looped.link("c", kind="veth", mtu=9000, link=6, master="br0").link("d", kind="veth", mtu=9000, link=5, master=4)
    yield Example(
        name="a cable from one bridge to another that is jumbo",
        why="frames of the second bridge come over the cable into the first, and do not fit the end at its port",
        tables=_both(1500, 9000, master=4)
        .link("br0", kind="bridge", mtu=1500, ifindex=4)
        .link("c", kind="veth", mtu=9000, link=6, master="br0")
        .link("d", kind="veth", mtu=9000, link=5, master=7)
        .link("br1", kind="bridge", mtu=9000, ifindex=7)
        .address("br1", "10.0.0.1/24")
        .build(),
        fires=1,
        subject=subject("link", ifname="b"),
    )
    yield Example(
        name="a cable from the bridge to itself",
        why="asking round in a ring ends, and finds no sender of long packets",
        tables=looped.build(),
    )


def _bridge_examples() -> Iterator[Example]:
    def port(bridge_mtu: int) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", mtu=bridge_mtu)
        return host.link("veth0", kind="veth", mtu=9000, master="br0").peer("veth0", mtu=1500)

    about = subject("link", ifname="veth0")
    yield Example(
        name="larger end is a bridge port among smaller ones",
        why="a port passes on only what came in elsewhere: nothing longer than 1500 can",
        tables=port(1500).link("eth0", mtu=1500, master="br0").build(),
    )
    yield Example(
        name="bridge port beside a jumbo port",
        why="frames from the jumbo port do not fit the far end",
        tables=port(1500).link("eth0", mtu=9000, master="br0").build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="bridge port beside a jumbo port that is down",
        why="nothing comes in there",
        tables=port(1500).link("eth0", mtu=9000, master="br0", up=False).build(),
    )
    others = port(1500).link("veth1", kind="veth", mtu=9000, master="br0").peer("veth1", mtu=1500)
    yield Example(
        name="all bridge ports jumbo, all containers not",
        why="no container can send what its own end is too small for",
        tables=others.build(),
    )
    others = port(1500).link("veth1", kind="veth", mtu=9000, master="br0").peer("veth1", mtu=9000, ifindex=3)
    yield Example(
        name="one jumbo container among small ones",
        why="what it sends through the bridge dies at the small one",
        tables=others.build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="member of a VRF",
        why="a VRF is no bridge: its members send what they like",
        tables=HostBuilder()
        .link("red", kind="vrf", mtu=1500)
        .link("veth0", kind="veth", mtu=9000, master="red")
        .peer("veth0", mtu=1500)
        .build(),
        fires=1,
        subject=about,
    )
