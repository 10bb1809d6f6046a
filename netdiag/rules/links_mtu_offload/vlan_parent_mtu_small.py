"""What it checks
  A VLAN whose MTU is larger than that of the interface below it; and, as an info, a VLAN that shares an MTU below 1500
  with its parent.

Why it matters
  The parent's driver drops what is longer than its own MTU and a tag. Today's kernels keep this from happening in a
  quieter way: lowering the parent's MTU lowers that of every VLAN on it, and raising it again does not bring them back.
  What then is lost are the long packets of everybody else on that VLAN.

Confirm
  ip link show dev IFNAME
  ip link show dev PARENT
  ping -M do -s 1472 ADDRESS          (a neighbour on that VLAN)

Fix
  ip link set dev PARENT mtu N, then the same for each VLAN, for they do not grow by themselves. Some drivers reset the
  card for it, which costs seconds of traffic.

Not flagged
  Equal MTUs: the tag of 4 bytes is not counted. A VLAN that is smaller than its parent. VLANs in VLANs, whose parents
  have 4 bytes more. A parent in another network namespace. An interface that is down.

References
  net/8021q/vlan_dev.c vlan_dev_change_mtu(), vlan.c vlan_device_event() NETDEV_CHANGEMTU
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="vlan-parent-mtu-small",
    title="the MTU of a VLAN's parent is too small",
    severity="critical",
    reads=("links",),
)
ETHERNET = 1500


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        parent = view.stack.lower(link.ifindex) if link.kind == "vlan" and link.up else None
        if parent is None:
            continue
        shrunk = link.mtu == parent.mtu < ETHERNET and parent.kind in (None, "veth", "bond")
        if link.mtu <= parent.mtu and not shrunk:
            continue
        low, high = parent.mtu, ETHERNET if shrunk else link.mtu
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            confidence="possible" if shrunk else "certain",
            message=f"{link.ifname} has mtu {link.mtu}, and so has {parent.ifname} below it: longer packets of its "
            "VLAN are dropped"
            if shrunk
            else f"{link.ifname} has mtu {link.mtu}, but {parent.ifname} below it carries {low} only",
            evidence=[
                (f"{link.ifname} mtu", link.mtu, f"RTM_GETLINK {link.ifname} IFLA_MTU"),
                (f"{parent.ifname} mtu", parent.mtu, f"RTM_GETLINK {parent.ifname} IFLA_MTU"),
            ],
            confirm=[f"ip link show dev {quoted(link.ifname)}", f"ip link show dev {quoted(parent.ifname)}"],
            fix=f"ip link set dev {quoted(parent.ifname)} mtu {high}",
            touches=[subject("link", ifname=parent.ifname)],
        )


def _case(name: str, why: str, parent: int, mtu: int, fires: int = 0, *, up: bool = True, **more: Any) -> Example:
    host = HostBuilder().link("eth0", mtu=parent).link("eth0.5", kind="vlan", link="eth0", mtu=mtu, up=up)
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0.5")
    yield _case("larger", "the plain fault", 1500, 9000, 1, subject=about, severity="critical", confidence="certain")
    yield _case("by one", "each byte counts", 1500, 1501, 1)
    yield _case("equal", "the tag is not counted", 1500, 1500)
    yield _case("smaller", "a jumbo parent with an ordinary VLAN", 9000, 1500)
    yield _case("both lowered", "the kernel lowers the VLAN too", 1400, 1400, 1, severity="info", confidence="possible")
    yield _case("lowered below its parent", "somebody chose that", 1500, 1400)
    yield _case("just ordinary", "1500 is no small MTU", 1500, 1500)
    yield _case("down", "it carries nothing", 1500, 9000, up=False)
    inner = HostBuilder().link("eth0").link("q", kind="vlan", link="eth0", mtu=1500)
    inner.link("q.7", kind="vlan", link="q", mtu=1496)
    yield Example(name="VLAN in VLAN", why="4 bytes of headroom", tables=inner.build())
    cloud = HostBuilder().link("br0", kind="bridge", mtu=1450).link("br0.5", kind="vlan", link="br0", mtu=1450)
    yield Example(name="VLAN on an overlay's bridge", why="its MTU is the overlay's", tables=cloud.build())
    yield _case("both lowered by a byte", "less than ordinary", 1499, 1499, 1, severity="info")
    vxlan = HostBuilder().link("eth0").link("vx0", kind="vxlan", link="eth0", mtu=9000)
    yield Example(name="a tunnel over it", why="another rule's", tables=vxlan.build())
