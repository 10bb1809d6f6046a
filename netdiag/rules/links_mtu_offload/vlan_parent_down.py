"""What it checks
  A VLAN, macvlan or ipvlan whose parent interface is set down.

Why it matters
  Nothing goes over it, in or out. The kernel takes a VLAN down with its parent and refuses to bring it up (ENETDOWN,
  "Network is down"); a macvlan, an ipvlan or a VLAN with loose_binding stays up and looks well, with its addresses and
  routes, but each packet is dropped.

Confirm
  ip -br link show dev IFNAME        (M-DOWN)
  ip -br link show dev PARENT

Fix
  ip link set dev PARENT up: it brings its VLANs up with it. Whatever else hangs on the parent comes back as well.

Not flagged
  A VLAN that is down and has no address of its own, as one that is prepared or put aside on purpose; one that is down
  while its parent is up. A parent without a carrier: that is the cable. A parent in another network namespace.

References
  net/8021q/vlan.c vlan_device_event() NETDEV_DOWN, vlan_dev_open(); drivers/net/macvlan.c macvlan_device_event()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="vlan-parent-down",
    title="the parent of a VLAN is down",
    severity="critical",
    reads=("links", "addresses"),
    explains=("neigh-gateway-failed", "route-default-missing", "bgp-*", "vlan-parent-down"),
)
KINDS = {"vlan": "VLAN", "macvlan": "macvlan", "ipvlan": "ipvlan"}
SCOPE_LINK = 253


def check(view: HostView) -> Iterator[Draft]:
    used = {row.ifindex for row in view.addresses if row.scope < SCOPE_LINK}
    for link in view.links:
        parent = view.stack.lower(link.ifindex) if link.kind in KINDS else None
        if parent is None or parent.up or not (link.up or (link.kind == "vlan" and link.ifindex in used)):
            continue
        yield _finding(link, parent)


def _finding(link: Link, parent: Link) -> Draft:
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        severity="critical" if link.up else "warning",
        confidence="certain" if link.up else "likely",
        message=f"{KINDS[link.kind or '']} {link.ifname} lies on {parent.ifname}, which is down: nothing goes over it",
        evidence=[
            (f"{parent.ifname} is up", "no", f"RTM_GETLINK {parent.ifname} IFF_UP"),
            (
                f"{link.ifname} is up",
                "yes" if link.up else "no, but it has an address",
                f"RTM_GETLINK {link.ifname} IFF_UP",
            ),
        ],
        confirm=[f"ip -br link show dev {quoted(link.ifname)}", f"ip -br link show dev {quoted(parent.ifname)}"],
        fix=f"ip link set dev {quoted(parent.ifname)} up",
        touches=[subject("link", ifname=parent.ifname)],
    )


def _host(kind: str, *, parent: bool, up: bool, address: str | None = None) -> HostBuilder:
    host = HostBuilder().link("eth0", up=parent)
    host.link("eth0.5", kind=kind, link="eth0", up=up, operstate="up" if parent else "lowerlayerdown")
    return host.address("eth0.5", address, scope=253 if address.startswith("fe80") else 0) if address else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0.5")
    for kind in KINDS:
        host = _host(kind, parent=False, up=True, address="192.0.2.1/24")
        yield _case(
            kind, "up, over a parent that is down", host, 1, subject=about, severity="critical", confidence="certain"
        )
    taken = _host("vlan", parent=False, up=False, address="192.0.2.1/24")
    yield _case("taken down with its parent", "the kernel did that", taken, 1, severity="warning", confidence="likely")
    yield _case("six", "the same with IPv6", _host("vlan", parent=False, up=False, address="2001:db8::1/64"), 1)
    yield _case("put aside", "down, no address", _host("vlan", parent=False, up=False))
    yield _case("link-local only", "that is no use", _host("vlan", parent=False, up=False, address="fe80::1/64"))
    yield _case("set down alone", "its parent is up", _host("vlan", parent=True, up=False, address="192.0.2.1/24"))
    yield _case("all up", "as it should be", _host("vlan", parent=True, up=True, address="192.0.2.1/24"))
    yield _case("macvlan set down", "on purpose", _host("macvlan", parent=False, up=False, address="192.0.2.1/24"))
    cable = HostBuilder().link("eth0", carrier=False).link("eth0.5", kind="vlan", link="eth0", carrier=False)
    yield _case("cable pulled", "the parent is up, without a carrier", cable)
    far = HostBuilder().link("eth0", up=False).link("mv0", kind="macvlan", link="eth0", link_netnsid=0)
    yield _case("parent elsewhere", "an index of another namespace", far)
