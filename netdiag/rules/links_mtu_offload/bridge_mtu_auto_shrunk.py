"""What it checks
  A bridge whose MTU is that of its smallest port, while other ports, or the hosts behind them, work with a larger
  one: a port that joined has pulled the whole bridge down.

Why it matters
  The kernel sets a bridge's MTU to the smallest of its ports whenever a port joins, leaves or changes, until somebody
  sets the bridge's MTU by hand. From then on this host's own packets over the bridge are smaller, larger ones routed
  through it are fragmented or refused, and below 1280 the bridge loses IPv6. The other hosts on the bridge do not
  know: their full-sized frames towards the small port are dropped without an ICMP and without a counter on the
  sender.

Confirm
  ip -d link show dev BRIDGE
  ip -d link show master BRIDGE

Fix
  Give the small port the MTU of the others, if what lies under it can carry that (a VXLAN port needs 50 bytes more
  below it, 70 over IPv6). Else lower every member, hosts behind the ports included. ip link set dev BRIDGE mtu MTU
  lifts the bridge alone and keeps it there; frames that are too long for the small port are still dropped.

Not flagged
  A bridge whose MTU was set by hand to something else than its smallest port: the kernel then leaves it alone. A
  bridge with all ports equal, of whatever size. An uplink of 1500 over guests that all have less, or of 9000 over
  guests of 1500: nobody on that bridge sends more. A tunnel left at 1500 among smaller ones. Differences of four
  bytes or less, which the kernel forwards. With VLAN filtering the ports may not belong together at all: that is only
  mentioned (info). A bridge that was set by hand to exactly its smallest port looks the same as one that shrank; the
  frames that the port drops are the same.

References
  net/bridge/br_if.c br_mtu_auto_adjust(), br_mtu_min(); net/bridge/br_forward.c br_dev_queue_push_xmit();
  include/linux/netdevice.h __is_skb_forwardable()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.framesize import VLAN_HLEN
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bridge-mtu-auto-shrunk",
    title="one small port has pulled a bridge's MTU down",
    severity="warning",
    reads=("links", "peer_links"),
    explains=(
        "mtu-too-low-disables-ipv6",
        "bgp-hold-mtu-stall",
        "ip-fragfails",
        "pmtud-*",
        "tunnel-mtu-headroom-missing",
        "wg-mtu-exceeds-underlay",
    ),
)

OVERLAYS = frozenset({"vxlan", "geneve", "gretap", "ip6gretap"})
"""Tunnels that can be ports. Their MTU is mostly what they were made with, and says nothing about who is beyond."""
ETHERNET = 1500
"""What a bridge without ports has, and what an Ethernet host has unless told otherwise (ETH_DATA_LEN)."""


def host_behind(view: HostView, port: Link) -> Link | None:
    """The far end of a veth port that is a host's own interface, not a port of another bridge."""
    far = view.stack.veth_peer(port.ifindex)
    return None if far is None or far.slave_kind == "bridge" else far


def larger_ports(view: HostView, ports: list[Link], small: int) -> tuple[list[Link], bool]:
    """Ports that are up and meant for more than ``small`` bytes, and whether a host behind one is known to send more.

    A larger port alone proves little: an uplink can be wider than all that use it.
    """
    limit = small + VLAN_HLEN
    larger = [port for port in ports if port.up and port.mtu > limit]
    senders = [port for port in larger if (far := host_behind(view, port)) is not None and far.up and far.mtu > limit]
    if senders:
        return senders, True
    unknown = [port for port in larger if host_behind(view, port) is None and port.kind not in OVERLAYS]
    few = len([port for port in ports if port.mtu == small]) <= len(unknown)
    return (unknown if few and small < ETHERNET else []), False


def check(view: HostView) -> Iterator[Draft]:
    for bridge in view.links:
        ports = list(view.stack.ports(bridge.ifindex)) if bridge.kind == "bridge" and bridge.up else []
        if not ports:
            continue
        small = min(port.mtu for port in ports)
        if bridge.mtu != small:
            continue
        larger, sure = larger_ports(view, ports, small)
        if not larger:
            continue
        yield _finding(bridge, [port for port in ports if port.mtu == small], larger, sure)


def _finding(bridge: Link, small: list[Link], larger: list[Link], sure: bool) -> Draft:
    mixed = bool(bridge.info.get("vlan_filtering"))
    first, wide = small[0], max(larger, key=lambda port: port.mtu)
    have = f"{_few(larger)} {'has' if len(larger) == 1 else 'have'} up to {wide.mtu}"
    return RULE.found(
        subject=subject("link", ifname=bridge.ifname),
        message=f"{bridge.ifname} has shrunk to mtu {bridge.mtu}, that of its port {_few(small)}; "
        f"{have}, and longer frames to {first.ifname} are lost",
        evidence=[
            (f"{bridge.ifname} mtu", bridge.mtu, f"RTM_GETLINK {bridge.ifname} IFLA_MTU"),
            (f"port {first.ifname} mtu", first.mtu, f"RTM_GETLINK {first.ifname} IFLA_MTU, IFLA_MASTER"),
            (f"port {wide.ifname} mtu", wide.mtu, f"RTM_GETLINK {wide.ifname} IFLA_MTU, IFLA_MASTER"),
        ],
        confirm=[f"ip -d link show dev {quoted(bridge.ifname)}", f"ip -d link show master {quoted(bridge.ifname)}"],
        fix=f"ip link set dev {quoted(first.ifname)} mtu {wide.mtu}  # if what lies under it can carry that; "
        f"else lower every member to {bridge.mtu}",
        confidence="possible" if mixed else "certain" if sure else "likely",
        touches=[subject("link", ifname=port.ifname) for port in (*small, *larger)],
    )


def _few(links: list[Link]) -> str:
    names = [link.ifname for link in links[:3]]
    return ", ".join(names) + (f" and {len(links) - 3} more" if len(links) > 3 else "")


def _bridge(mtu: int, *ports: tuple[str, int, int | None], **fields: Any) -> HostBuilder:
    """A bridge with veth ports: name, MTU, and MTU of the host behind it (None: not known)."""
    host = HostBuilder().link("br0", kind="bridge", mtu=mtu, **fields)
    for ifname, own, far in ports:
        host.link(ifname, kind="veth", mtu=own, master="br0", slave_kind="bridge", link=99, link_netnsid=5)
        if far is not None:
            host.peer(ifname, mtu=far)
    return host


def examples() -> Iterator[Example]:
    yield from _shrunk_examples()
    yield from _honest_examples()


def _shrunk_examples() -> Iterator[Example]:
    about = subject("link", ifname="br0")
    yield Example(
        name="a VXLAN port joins containers",
        why="the plain fault: containers go on sending 1500, the bridge and the new port take 1450",
        tables=_bridge(1450, ("veth0", 1500, 1500), ("veth1", 1500, 1500))
        .link("vx0", kind="vxlan", mtu=1450, master="br0")
        .build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="certain",
        says=("that of its port vx0", "veth0, veth1 have up to 1500"),
    )
    yield Example(
        name="a VXLAN port joins an uplink",
        why="one small port against one large one, below what Ethernet has by itself: the host itself lost 50 bytes",
        tables=HostBuilder()
        .link("br0", kind="bridge", mtu=1450)
        .link("eth0", master="br0")
        .link("vx0", kind="vxlan", mtu=1450, master="br0")
        .build(),
        fires=1,
        subject=about,
        confidence="likely",
        says=("eth0 has up to 1500",),
    )
    yield Example(
        name="five bytes less",
        why="the smallest difference at which frames are dropped",
        tables=_bridge(1495, ("veth0", 1500, 1500), ("veth1", 1495, 1495)).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="the small port is down",
        why="the kernel counts it all the same",
        tables=_bridge(1400, ("veth0", 1500, 1500)).link("tap0", kind="tun", mtu=1400, master="br0", up=False).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="jumbo hosts and one newcomer of 1500",
        why="hosts behind the ports are known to send 9000",
        tables=_bridge(1500, ("veth0", 9000, 9000), ("veth1", 1500, 1500)).build(),
        fires=1,
        subject=about,
        confidence="certain",
    )
    many = [("veth0", 1500, 1500), ("veth1", 9000, 9000), ("veth2", 1500, 1500)]
    yield Example(
        name="three large ports of two sizes",
        why="the largest says how large a frame can be",
        tables=_bridge(1400, *many, ("veth9", 1400, 1400)).build(),
        fires=1,
        says=("veth0, veth1, veth2 have up to 9000",),
    )
    yield Example(
        name="four large ports",
        why="a long list is cut",
        tables=_bridge(1400, *many, ("veth3", 1500, 1500), ("veth9", 1400, 1400)).build(),
        fires=1,
        says=("veth0, veth1, veth2 and 1 more have up to 9000",),
    )
    yield Example(
        name="one byte less than Ethernet has by itself",
        why="no bridge has 1499 on its own account, so the small port is to blame",
        tables=HostBuilder()
        .link("br0", kind="bridge", mtu=1499)
        .link("eth0", mtu=9000, master="br0")
        .link("tap0", kind="tun", mtu=1499, master="br0")
        .build(),
        fires=1,
        confidence="likely",
    )
    yield Example(
        name="VLAN filtering",
        why="the ports may belong to different VLANs with different sizes",
        tables=_bridge(1450, ("veth0", 1500, 1500), ("veth1", 1450, 1450), info={"vlan_filtering": 1}).build(),
        fires=1,
        severity="info",
        confidence="possible",
    )
    yield Example(
        name="no VLAN filtering, said by the kernel",
        why="0 is the usual answer",
        tables=_bridge(1450, ("veth0", 1500, 1500), ("veth1", 1450, 1450), info={"vlan_filtering": 0}).build(),
        fires=1,
        severity="warning",
    )


def _honest_examples() -> Iterator[Example]:
    def guests(uplink: int, mtu: int, count: int, **fields: Any) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", mtu=min(uplink, mtu)).link("eth0", mtu=uplink, master="br0")
        for number in range(count):
            host.link(f"tap{number}", kind="tun", mtu=mtu, master="br0", **fields)
        return host

    yield Example(
        name="set by hand",
        why="a bridge that is not as small as its smallest port was set by somebody, and stays as it is",
        tables=_bridge(1500, ("veth0", 1500, 1500)).link("vx0", kind="vxlan", mtu=1450, master="br0").build(),
    )
    yield Example(
        name="set by hand below all ports",
        why="the same from the other side",
        tables=_bridge(1400, ("veth0", 1500, 1500), ("veth1", 1450, 1450)).build(),
    )
    yield Example(
        name="overlay network, everything 1450",
        why="containers, VXLAN and bridge agree",
        tables=_bridge(1450, ("veth0", 1450, 1450), ("veth1", 1450, 1450))
        .link("vx0", kind="vxlan", mtu=1450, master="br0")
        .build(),
    )
    yield Example(
        name="ports larger than the hosts behind them",
        why="nobody sends more than 1450, whatever the ports would take",
        tables=_bridge(1450, ("veth0", 1500, 1450), ("veth1", 1450, 1450)).build(),
    )
    yield Example(
        name="four bytes less",
        why="the kernel forwards frames that are longer than the MTU by a VLAN tag",
        tables=_bridge(1496, ("veth0", 1500, 1500), ("veth1", 1496, 1496)).build(),
    )
    yield Example(
        name="four bytes less behind a large port",
        why="the host behind the port is what sends",
        tables=_bridge(1496, ("veth0", 9000, 1500), ("veth1", 1496, 1496)).build(),
    )
    yield Example(
        name="four bytes less on an uplink",
        why="the same where the hosts are not known",
        tables=HostBuilder()
        .link("br0", kind="bridge", mtu=1496)
        .link("eth0", master="br0")
        .link("tap0", kind="tun", mtu=1496, master="br0")
        .build(),
    )
    yield Example(
        name="uplink of 1500, two guests of 1400",
        why="most of the bridge agrees on 1400; the uplink was merely left at its default",
        tables=guests(1500, 1400, 2).build(),
    )
    yield Example(
        name="jumbo uplink, one guest of 1500",
        why="the NIC is wide for another VLAN; 1500 is what a bridge has by itself",
        tables=guests(9000, 1500, 1).build(),
    )
    yield Example(
        name="tunnel of 1500 beside a container of 1450",
        why="the container was made to fit the tunnel, which was left as it came",
        tables=_bridge(1450, ("veth0", 1450, 1450)).link("vx0", kind="vxlan", mtu=1500, master="br0").build(),
    )
    yield Example(
        name="large port down",
        why="nobody sends through it",
        tables=_bridge(1450, ("veth1", 1450, 1450)).link("eth0", master="br0", up=False).build(),
    )
    yield Example(
        name="host behind the large port is down",
        why="it sends nothing, and which MTU it will have is its own affair",
        tables=_bridge(1450, ("veth1", 1450, 1450))
        .link("veth0", kind="veth", mtu=1500, master="br0")
        .peer("veth0", mtu=1500, flags=0)
        .build(),
    )
    trunk = _bridge(1500, ("veth1", 1500, 1500)).link("veth0", kind="veth", mtu=9000, master="br0")
    yield Example(
        name="jumbo cable to another bridge",
        why="its far end sends nothing of its own, and hosts there may all have 1500",
        tables=trunk.peer("veth0", mtu=9000, slave_kind="bridge").build(),
    )
    yield Example(
        name="bridge down",
        why="it carries nothing",
        tables=_bridge(1450, ("veth0", 1500, 1500), ("veth1", 1450, 1450), up=False).build(),
    )
    yield Example(name="bridge without ports", why="nothing pulls it down", tables=_bridge(1500).build())
    yield Example(name="one port", why="nobody to disagree with", tables=_bridge(1400, ("veth0", 1400, 1400)).build())
    bond = HostBuilder().link("bond0", kind="bond", mtu=1450).link("eth0", mtu=1500, master="bond0")
    yield Example(
        name="legs of a bond",
        why="a bond is not a bridge: it sets its legs, not they it",
        tables=bond.link("eth1", mtu=1450, master="bond0").build(),
    )
