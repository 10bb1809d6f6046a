"""Interfaces of this host that have one hardware address, on one segment: for mac-duplicate-on-segment.

Two in one subnet: a switch sends the frames for both to whichever spoke last. Two ports of one bridge: what is for that
address the bridge keeps, once; nothing is lost by it as long as no guest has the address. Pure; nothing can fail.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.bridgeclones import ROUTERS
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

OWN = frozenset({None, "veth", "tun"})
"""Kinds of interface that have an address of their own; others bear that of what they lie on, or of their ports."""
SHARED = (*ROUTERS, "fe:ff:ff:ff:ff:ff", "ee:ee:ee:ee:ee:ee", "00:00:00:00:00:00")
"""Addresses that interfaces bear alike on purpose: of virtual routers, of Xen's and of Calico's side of a guest."""
FREE = "02:00:00:00:00:01"


class Twins(NamedTuple):
    """Two interfaces with one hardware address."""

    one: Link
    two: Link
    where: str
    """The subnet that both are in, or the bridge that they are ports of."""
    ports: bool


def twins(view: HostView) -> Iterator[Twins]:
    """One pair for each address and segment."""
    alike: dict[str, list[Link]] = defaultdict(list)
    for link in view.links:
        own = link.lower_up and not link.loopback and link.kind in OWN
        if own and link.address and not link.address.startswith(SHARED):
            alike[link.address].append(link)
    for links in alike.values():
        if len(links) < 2:
            continue
        said: dict[str, Link] = {}
        for link in links:
            for where in _segments(view, link):
                if (first := said.setdefault(where, link)) is not link:
                    yield Twins(first, link, where, where in view.stack.by_name)
                    break


def _segments(view: HostView, link: Link) -> list[str]:
    """What an interface is on: the subnets of its addresses, or its bridge."""
    master = view.stack.master(link.ifindex)
    if master is not None and master.kind != "vrf":
        return [master.ifname] if master.kind == "bridge" else []
    own = [row for row in view.addresses if row.ifindex == link.ifindex and row.scope == 0]
    nets = [ipaddress.ip_network(f"{row.local}/{row.prefixlen}", strict=False) for row in own]
    vrf = f" in {master.ifname}" if master is not None else ""
    return [f"{net}{vrf}" for net in nets if net.num_addresses > 1]


def told(rule: Rule, found: Twins) -> Draft:
    """The finding about a pair."""
    one, two = found.one.ifname, found.two.ifname
    address = str(found.two.address)
    words = (
        f"ports {one} and {two} of {found.where} have the same hardware address {address}: a guest behind one of them "
        "that has it as well would hear nothing"
        if found.ports
        else f"{one} and {two}, both in {found.where}, have the same hardware address {address}: frames for both go to "
        "whichever spoke last"
    )
    return rule.found(
        subject=subject("link", ifname=two, address=address),
        message=words,
        severity="info" if found.ports else "warning",
        confidence="possible" if found.ports else "likely",
        evidence=[(f"{name} address", address, f"RTM_GETLINK {name} IFLA_ADDRESS") for name in (one, two)],
        confirm=[f"ip -br link show dev {quoted(one)}; ip -br link show dev {quoted(two)}"],
        fix=f"ip link set dev {quoted(two)} address {FREE}  # any free address",
        touches=[subject("link", ifname=one), subject("link", ifname=two)],
        breaks=[] if found.ports else [subject("link", ifname=one), subject("link", ifname=two)],
    )


def own_twin_examples() -> Iterator[Example]:
    """Of mac-duplicate-on-segment."""
    mac = "02:00:00:00:00:aa"

    def host(subnet: str = "192.0.2.3/24", second: str = mac, **more: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", address=more.pop("first", mac)).address("eth0", "192.0.2.2/24")
        return made.link("eth1", address=second, **more).address("eth1", subnet)

    def bridged(address: str = mac, **more: Any) -> HostBuilder:
        made = HostBuilder().link("br0", kind="bridge").link("v0", kind="veth", master="br0", address=address)
        return made.link("v1", **({"kind": "veth", "master": "br0", "address": address} | more))

    def case(name: str, why: str, made: HostBuilder, severity: Any = None, **more: Any) -> Example:
        return Example(name=f"own: {name}", why=why, tables=made.build(), fires=1 if severity else 0,
                       severity=severity, **more)  # fmt: skip

    says = ("eth0 and eth1, both in 192.0.2.0/24", f"ip link set dev eth1 address {FREE}")
    yield case("two in one subnet", "one switch", host(), "warning", confidence="likely", says=says)
    yield case("two in two subnets", "two wires", host("198.51.100.3/24"))
    yield case("a single address", "no subnet tells where it is", host("192.0.2.2/32"))
    yield case("another address", "healthy", host(second="02:00:00:00:00:bb"))
    yield case("one is down", "it hears nothing", host(up=False))
    yield case("no carrier", "nor this one", host(carrier=False))
    yield case("a VLAN of the other", "it bears its address", host(kind="vlan", link="eth0"))
    router = "00:00:5e:00:01:0a"
    yield case("a virtual router's", "whoever is master has it", host(first=router, second=router))
    vrf = HostBuilder().link("red", kind="vrf").link("eth0", address=mac).link("eth1", address=mac, master="red")
    vrf.address("eth0", "192.0.2.2/24").address("eth1", "192.0.2.3/24")
    yield case("one is in a VRF", "another network of that number", vrf)
    six = host("2001:db8::3/64").address("eth0", "2001:db8::2/64")
    yield case("IPv6", "the same", six, "warning", says=("both in 2001:db8::/64",))
    ports = ("ports v0 and v1 of br0",)
    yield case("two ports", "nothing is lost yet", bridged(), "info", confidence="possible", says=ports)
    yield case("two ports of Xen", "they all have it", bridged("fe:ff:ff:ff:ff:ff"))
    other = HostBuilder().link("br0", kind="bridge").link("br1", kind="bridge")
    for number in (0, 1):
        other.link(f"v{number}", kind="veth", master=f"br{number}", address=mac)
    yield case("ports of two bridges", "two segments", other)
    legs = HostBuilder().link("bond0", kind="bond", address=mac)
    yield case("legs of a bond", "they share it", legs.link("a", master="bond0", address=mac).link(
        "b", master="bond0", address=mac))  # fmt: skip
