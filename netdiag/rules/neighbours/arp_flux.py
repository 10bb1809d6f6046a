"""What it checks
  Two interfaces of this host are on one Ethernet segment, each with IPv4 addresses, and at least one of them answers
  ARP for the addresses of the other (arp_ignore 0, arp_filter 0). That they share a segment is told by the same
  neighbour with the same hardware address on both, by macvlans of one parent, by cables into one bridge that netdiag
  could see, or by one subnet on both.

Why it matters
  Whoever is asked last wins: others on the segment learn the wrong hardware address for an address, and traffic for one
  card comes in by the other one. It goes through the wrong queue and filter, past the limits of a card, and is lost
  where a reverse path filter or a switch port's security looks at it. A card that is to be taken down still holds
  traffic.

Confirm
  sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.IFNAME.arp_ignore
  arping -c 3 -I IFNAME ADDRESS      (from another host of the segment: answers from two hardware addresses)

Fix
  sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2. Each interface then answers for its own
  addresses alone. Addresses on lo that others on the segment ask for are then no longer answered.

Not flagged
  Interfaces on different segments, and those of which nothing says that they share one: subnets say nothing unless they
  are the same. arp_ignore 1 or more, or arp_filter, of both, or of all. Subnets kept apart by a strict reverse path
  filter, which refuses the question as well. Ports of a bridge and legs of a bond, which have one answer together. A
  macvlan and its parent, which do not hear each other. Members of different VRFs. One subnet on two cards with
  different metrics (a laptop with cable and radio), or with policy rules by source address: somebody knows which is
  used.

References
  net/ipv4/arp.c arp_process(), arp_ignore(), arp_filter(); Documentation/networking/ip-sysctl.rst arp_ignore arp_filter
"""

import ipaddress
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from netdiag.index.guests import switched
from netdiag.index.subnets import Subnet, connected, segment
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY
from netdiag.rules.apart import leaves_by, named_by_rule
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="arp-flux",
    title="two interfaces of one segment answer ARP for each other",
    severity="warning",
    confidence="likely",
    reads=("links", "peer_links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=("overlap-subnet-two-ifaces",),
    family="inet",
)
MOST = 32
"""Interfaces that are compared with each other; a host with more has guests, not cards."""


def check(view: HostView) -> Iterator[Draft]:
    subnets: dict[int, Subnet] = {}
    for subnet in connected(view, "inet"):
        if _card(view, subnet.link):
            subnets.setdefault(subnet.link.ifindex, subnet)
    if len(subnets) > MOST:
        return
    said: set[int] = set()
    for one, other in combinations(sorted(subnets.values(), key=lambda subnet: subnet.link.ifname), 2):
        if other.link.ifindex in said:
            continue
        why = _shared(view, one, other)
        wrong = next((link for link in (one.link, other.link) if _answers(view, link, one, other)), None)
        if why is None or wrong is None or (one.network == other.network and _settled(view, one, other)):
            continue
        said.add(other.link.ifindex)
        yield _draft(view, one, other, wrong, why)


def _card(view: HostView, link: Link) -> bool:
    wired = link.kind not in ("ipvlan", "bridge", "vxlan") or switched(view.stack, link)
    return not link.noarp and link.master is None and wired and link.type == 1


def _shared(view: HostView, one: Subnet, other: Subnet) -> tuple[str, object, str] | None:
    """The fact that shows that both are on one segment; None where nothing does, or they are two ends of one wire."""
    siblings = one.link.kind == other.link.kind == "macvlan"
    if not siblings and segment(view, one.link) == segment(view, other.link):
        return None
    names = f"{one.link.ifname} and {other.link.ifname}"
    if view.stack.lower(other.link.ifindex) == one.link or view.stack.lower(one.link.ifindex) == other.link:
        return None  # they do not hear each other
    lowers = [view.stack.lower(end.link.ifindex) for end in (one, other) if end.link.kind in ("macvlan", "macvtap")]
    if len(lowers) == 2 and lowers[0] is not None and lowers[0] == lowers[1]:
        return f"parent of {names}", lowers[0].ifname, "RTM_GETLINK IFLA_LINK"
    far = [view.stack.veth_peer(end.link.ifindex) for end in (one, other)]
    if one.link.link_netnsid == other.link.link_netnsid and _one_bridge(far[0], far[1]):
        return f"other ends of {names}", "ports of one bridge", "RTM_GETLINK IFLA_MASTER of the other ends"
    same = _neighbours(view, one.link) & _neighbours(view, other.link)
    if same:
        return f"neighbour of {names}", str(ipaddress.IPv4Address(min(same)[0])), "RTM_GETNEIGH NDA_DST NDA_LLADDR"
    if one.network == other.network and one.route.table == other.route.table:
        return f"subnet of {names}", str(one.network), "RTM_GETROUTE"
    return None


def _settled(view: HostView, one: Subnet, other: Subnet) -> bool:
    """One subnet on two cards, and something says which of them is used: a metric, or rules by source address."""
    if one.route.priority != other.route.priority or named_by_rule(view, "inet", one.link.ifname):
        return True
    return all(
        end.address is not None and leaves_by(view, "inet", end.address.local, end.route.dst, end.link.ifindex)
        for end in (one, other)
    )


def _one_bridge(one: Link | None, other: Link | None) -> bool:
    """Whether two ends in one namespace are ports of one bridge."""
    if one is None or other is None or one.master is None:
        return False
    return one.master == other.master and one.slave_kind in ("bridge", None)


def _neighbours(view: HostView, link: Link) -> set[tuple[bytes, bytes]]:
    """IPv4 neighbours with their hardware addresses. Routers have one address on many segments, but not one IPv4."""
    table = view.neighbours
    rows = (table.ifindex == link.ifindex) & (table.family == 2) & (table.lladdr_len == 6)
    rows &= table.flags & NTF_PROXY == 0
    found = np.flatnonzero(rows).tolist()[:4096]
    return {(table.dst[row].tobytes()[:4], table.lladdr[row].tobytes()[:6]) for row in found}


def _effective(view: HostView, link: Link, key: str) -> int:
    return max(view.sysctl_int(f"net.ipv4.conf.all.{key}") or 0, link.inet_conf.get(key, 0))


def _answers(view: HostView, link: Link, one: Subnet, other: Subnet) -> bool:
    """Whether the interface answers for the other one's address."""
    if _effective(view, link, "arp_ignore") or _effective(view, link, "arp_filter"):
        return False
    strict = _effective(view, link, "rp_filter") == 1
    return not strict or one.network == other.network


def _draft(view: HostView, one: Subnet, other: Subnet, wrong: Link, why: tuple[str, object, str]) -> Draft:
    right = other if wrong.ifindex == one.link.ifindex else one
    owner = right.address.local if right.address else str(right.network)
    key = f"net.ipv4.conf.{wrong.ifname.replace('.', '/')}.arp_ignore"
    ends = (one, other) if one.network == other.network and not why[0].startswith("subnet of") else ()
    return RULE.found(
        subject=subject("link", ifname=wrong.ifname),
        message=f"{one.link.ifname} and {other.link.ifname} are on one segment, and {wrong.ifname} answers ARP for"
        f" {owner} of {right.link.ifname}",
        evidence=[why, (f"{wrong.ifname} arp_ignore", 0, f"RTM_GETLINK {wrong.ifname} IFLA_INET_CONF")],
        confirm=[f"sysctl net.ipv4.conf.all.arp_ignore {quoted(key)}", "ip -br -4 address show"],
        fix="sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
        touches=[subject("link", ifname=end.link.ifname) for end in (one, other)]
        + [subject("route", dst=end.route.dst, table=end.route.table) for end in (one, other)]
        + [
            subject("address", address=end.address.local, ifname=end.link.ifname) for end in (one, other) if end.address
        ],
        # Known to be one segment: that both have its subnet is how it was set up, and settled by the same settings.
        breaks=[subject("route", dst=end.route.dst, table=end.route.table, ifname=end.link.ifname) for end in ends],
    )


def _host(second: str = "10.2.0.1/24", **fields: Any) -> HostBuilder:
    host = HostBuilder().link("eth0", **fields).link("eth1", **fields)
    return host.address("eth0", "10.1.0.1/24").address("eth1", second)


def _heard(host: HostBuilder, *, other: str = "02:00:00:00:00:01") -> HostBuilder:
    return host.neighbour("10.1.0.9", dev="eth0").neighbour("10.1.0.9", dev="eth1", lladdr=other)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity="warning" if fires else None)

    yield case("one neighbour on both", "only on one segment can that be", _heard(_host()), 1)
    yield case("one subnet on both", "it is meant to be one segment", _host("10.1.0.2/24"), 1)
    for what, fires in (("card", 1), ("tap", 0)):
        bridged = HostBuilder().link("eth0").link("br0", kind="bridge").address("eth0", "10.1.0.1/24")
        bridged.address("br0", "10.1.0.2/24")
        bridged = bridged.link("eth9", master="br0") if what == "card" else bridged.tap("tap9", master="br0")
        yield case(f"one subnet on a card and on a bridge with a {what}", "which leads out, or not", bridged, fires)
    metric = HostBuilder().link("eth0").link("eth1").address("eth0", "10.1.0.1/24")
    metric.address("eth1", "10.1.0.2/24", flags=0x280, rt_priority=600)
    metric.route("10.1.0.0/24", dev="eth1", protocol=2, scope=253, prefsrc="10.1.0.2", priority=600)
    yield case("cable and radio", "metrics say which is used", _heard(metric))
    ruled = _host("10.1.0.2/24")
    for table, name, source in ((101, "eth0", "10.1.0.1"), (102, "eth1", "10.1.0.2")):
        ruled.rule(table, src=source, src_len=32, table=table).route("10.1.0.0/24", dev=name, scope=253, table=table)
    yield case("rules by source", "each address has its own way out", _heard(ruled))
    yield case("two subnets", "nothing says that they share a segment", _host())
    yield case(
        "same address, another card", "two segments with alike numbers", _heard(_host(), other="02:00:00:00:00:02")
    )
    router = _host().neighbour("10.1.0.254", dev="eth0").neighbour("10.2.0.254", dev="eth1")
    yield case("router with one hardware address", "switches use one for all their VLANs", router)
    yield case("arp_ignore", "each answers for itself", _heard(_host(inet_conf={"arp_ignore": 1})))
    every = _heard(_host()).sysctl("net.ipv4.conf.all.arp_ignore", 1)
    yield case("arp_ignore of all", "the larger of both counts", every)
    yield case("arp_filter", "the kernel asks where the answer would leave", _heard(_host(inet_conf={"arp_filter": 1})))
    yield case("strict filter", "the question itself is refused", _heard(_host(inet_conf={"rp_filter": 1})))
    loose = _heard(_host(inet_conf={"rp_filter": 2}))
    yield case("loose filter", "that one lets it in", loose, 1)
    half = _host("10.1.0.2/24", inet_conf={"rp_filter": 1})
    yield case("strict filter, one subnet", "on one of the two the question is right", half, 1)
    one = HostBuilder().link("eth0", inet_conf={"arp_ignore": 1}).link("eth1")
    one.address("eth0", "10.1.0.1/24").address("eth1", "10.2.0.1/24")
    yield case("one of the two is set", "the other one still answers", _heard(one), 1)
    tunnel = HostBuilder().link("eth0").link("wg0", kind="wireguard", type=65534, flags=0x100D1)
    yield case("tunnel", "no ARP", tunnel.address("eth0", "10.1.0.1/24").address("wg0", "10.1.0.2/24"))
    parent = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24")
    for name, address in (("mv0", "10.2.0.1/24"), ("mv1", "10.3.0.1/24")):
        parent.link(name, kind="macvlan", link="eth0").address(name, address)
    yield case("two macvlans", "one parent is one segment", parent, 1)
    lonely = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24")
    lonely.link("mv0", kind="macvlan", link="eth0").address("mv0", "10.2.0.1/24")
    yield case("macvlan and parent", "they do not hear each other", lonely)
    shim = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24")
    shim.link("shim", kind="macvlan", link="eth0").address("shim", "10.1.0.3/24")
    yield case("macvlan and parent in one subnet", "the same: the host's way to its containers", shim)
    vmac = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24")
    vmac.link("vrrp.51", kind="macvlan", link="eth0").address("vrrp.51", "10.1.0.100/24")
    yield case("macvlan of one subnet with its parent", "a service address of keepalived", vmac)
    cables = HostBuilder().link("eth0", kind="veth").link("eth1", kind="veth")
    cables.peer("eth0", ifindex=7, master=5, slave_kind="bridge")
    cables.peer("eth1", ifindex=8, master=5, slave_kind="bridge")
    cables.address("eth0", "10.1.0.1/24").address("eth1", "10.2.0.1/24")
    yield case("cables into one bridge", "netdiag sees the other ends", cables, 1)
    apart = HostBuilder().link("eth0", kind="veth").link("eth1", kind="veth")
    apart.peer("eth0", ifindex=7, master=5, slave_kind="bridge")
    apart.peer("eth1", ifindex=8, master=6, slave_kind="bridge")
    apart.address("eth0", "10.1.0.1/24").address("eth1", "10.2.0.1/24")
    yield case("cables into two bridges", "two segments", apart)
    third = _heard(_host()).link("a0").address("a0", "10.3.0.1/24")
    about = subject("link", ifname="eth0")
    yield Example(
        name="a third card apart", why="it hears nobody of the others", tables=third.build(), fires=1, subject=about
    )
    three = _host("10.1.0.2/24").link("eth2").address("eth2", "10.1.0.3/24")
    yield case("three cards of one subnet", "one card answers for both others", three, 1)
    yield from _not_cards(case)
    yield from _other_ends(case)
    below = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24").link("a7", kind="vlan", link="eth0")
    yield case("a VLAN in the subnet of its card", "its frames bear a tag", below.address("a7", "10.1.0.2/24"))
    above = HostBuilder().link("eth0").address("eth0", "10.1.0.1/24").link("eth0.7", kind="vlan", link="eth0")
    yield case("the same by another name", "which comes first decides nothing", above.address("eth0.7", "10.1.0.2/24"))
    vlans = HostBuilder().link("eth0")
    for number in (7, 8):
        vlans.link(f"eth0.{number}", kind="vlan", link="eth0").address(f"eth0.{number}", f"10.{number}.0.1/24")
    yield case("two VLANs of one card", "two segments", vlans)
    cards = HostBuilder().link("eth0").link("eth1")
    for number in (0, 1):
        cards.link(f"mv{number}", kind="macvlan", link=f"eth{number}").address(f"mv{number}", f"10.{number}.0.1/24")
    yield case("macvlans of two cards", "two segments", cards)
    away = HostBuilder()
    for number in (0, 1):
        away.link(f"mv{number}", kind="macvlan", link_netnsid=0).address(f"mv{number}", f"10.{number}.0.1/24")
    yield case("macvlans whose cards are elsewhere", "which ones is not seen", away)
    named = _host("10.1.0.2/24").rule(100, oif="eth0", table=254)
    yield case("a rule names the card", "somebody knows which is used", named)
    tables = HostBuilder().link("eth0").link("eth1").address("eth0", "10.1.0.1/24")
    tables.address("eth1", "10.1.0.2/24", flags=0x280)
    tables.route("10.1.0.0/24", dev="eth1", protocol=2, scope=253, prefsrc="10.1.0.2", table=100)
    yield case("one subnet in two tables", "two networks with alike numbers", tables)


def _not_cards(case: Any) -> Iterator[Example]:
    """Interfaces of one subnet that do not answer ARP for each other."""
    for name, why, fields in (
        ("dummy without ARP", "nobody asks it", {"kind": "dummy", "flags": 0x100C3}),
        ("ipvlan", "the card answers", {"kind": "ipvlan"}),
        ("InfiniBand", "another kind of ARP", {"type": 32}),
        ("leg of a bond", "the bond has the address", {"master": 9}),
    ):
        host = HostBuilder()
        for number in (0, 1):
            host.link(f"x{number}", **fields).address(f"x{number}", f"10.1.0.{number + 1}/24")
        yield case(f"two of kind {name}", why, host)


def _other_ends(case: Any) -> Iterator[Example]:
    """Two cables whose other ends are ports of nothing that joins them, as far as is seen."""
    for name, ends in (
        ("in no bridge", ({"ifindex": 7}, {"ifindex": 8})),
        (
            "in a VRF",
            ({"ifindex": 7, "master": 5, "slave_kind": "vrf"}, {"ifindex": 8, "master": 5, "slave_kind": "vrf"}),
        ),
        ("in two namespaces", ({"ifindex": 7, "master": 5}, {"ifindex": 7, "master": 5, "netnsid": 1})),
        ("one not read", ({"ifindex": 7, "master": 5}, None)),
        ("the other not read", (None, {"ifindex": 7, "master": 5})),
    ):
        host = HostBuilder().link("eth0", kind="veth", link_netnsid=0).link("eth1", kind="veth", link_netnsid=0)
        for ifname, far in zip(("eth0", "eth1"), ends, strict=True):
            if far is not None:
                host.peer(ifname, **far)
        host.address("eth0", "10.1.0.1/24").address("eth1", "10.2.0.1/24")
        yield case(f"cables, other ends {name}", "nothing says that they share a segment", host)
    wire = HostBuilder().link("v0", kind="veth", link=3).link("v1", kind="veth", link=2)
    yield case(
        "two ends of one cable",
        "each hears the other, and nobody else",
        wire.address("v0", "10.1.0.1/24").address("v1", "10.1.0.2/24"),
    )
