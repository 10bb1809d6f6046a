"""What it checks
  Two hosts have the same address on interfaces that are in one segment: each of the two sees a neighbour there, with
  the same address and the same hardware address, that the other sees as well; or one sees the other. And wherever they
  are: a host has on any interface, also lo, the address of another one's uplink at which its WireGuard is called.

Why it matters
  Whoever asks who has the address gets two answers and keeps the last: connections move between the hosts in the middle
  of a sentence. Both hosts look healthy by themselves.

Confirm
  ip -br address show                       (on both hosts)
  arping -D -c 3 -I IFNAME ADDRESS          (from one of them: an answer is the other)

Fix
  Take the address from the host to which it does not belong: ip address del ADDRESS/LEN dev IFNAME. What talked to that
  host by it is cut; look at its own configuration first.

Not flagged
  Anycast and service addresses on lo or dummy interfaces of all that have them. Addresses that repeat on every host
  by plan: gateways of taps and guests, docker0 and other bridges without a way out, link-local ones. The same private
  plan in two places, which share no neighbour. A standby whose interface is down.

References
  RFC 5227; include/uapi/linux/if_addr.h
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from netdiag.index.fleet import End, FleetHost, FleetView, across, on
from netdiag.model.address import Address
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fleet import builder, finished, mesh, peered, underlay
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

FEW = 8
"""Peers that are asked at which address they call a host."""

RULE = Rule(
    id="addr-duplicate-across-hosts",
    title="two hosts of a segment have one address",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "neighbours"),
    consults=("wireguard",),
    explains=(
        "neigh-*",
        "mac-duplicate-on-segment",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "addr-owner-mapping-stale",
        "wg-endpoint-unroutable",
        "wg-handshake-stale",
        "wg-never-handshaked",
    ),
    scope="fleet",
)
UNSHARED = frozenset({"dummy", "tun", "wireguard", "bridge", "vrf", "ifb"})
"""Kinds of interfaces with addresses that are not those of a segment between hosts."""


def _of_segment(host: FleetHost) -> Iterator[tuple[Address, Link]]:
    links = {link.ifindex: link for link in host.tables.links}
    uplinks = {link.master for link in links.values() if link.kind not in ("veth", "tun")}
    for row in host.tables.addresses:
        link = links.get(row.ifindex)
        if link is None or not link.up or row.scope != 0:
            continue
        if link.kind in UNSHARED and link.ifindex not in uplinks:
            continue
        if row.prefixlen < ipaddress.ip_address(row.local).max_prefixlen:
            yield row, link


def _neighbours(host: FleetHost, ifindex: int) -> set[tuple[str, str]]:
    table = host.tables.neighbours
    rows = table.rows([at for at, number in enumerate(table.ifindex.tolist()) if number == ifindex][:1000])
    return {(row.dst, row.lladdr) for row in rows if row.lladdr and row.state != "noarp"}


def _together(one: tuple[FleetHost, Address, Link], two: tuple[FleetHost, Address, Link]) -> str | None:
    """What shows that two interfaces are in one segment."""
    seen_one, seen_two = (_neighbours(host, link.ifindex) for host, _, link in (one, two))
    shared = sorted(seen_one & seen_two)
    if shared:
        return f"{shared[0][0]} at {shared[0][1]} is a neighbour of both"
    for seen, (other, _, link) in ((seen_one, two), (seen_two, one)):
        if link.address in {lladdr for _, lladdr in seen}:
            return f"{other.name} is a neighbour, at {link.address}"
    return None


def check(view: FleetView) -> Iterator[Draft]:
    owners: dict[str, list[tuple[FleetHost, Address, Link]]] = defaultdict(list)
    for host in view.reading("links", "addresses", "neighbours"):
        for row, link in _of_segment(host):
            owners[row.local].append((host, row, link))
    for address, rows in sorted(owners.items()):
        first = rows[0]
        for other in rows[1:]:
            proof = _together(first, other) if other[0] is not first[0] else None
            if proof is None:
                continue
            names = [first[0].name, other[0].name]
            yield RULE.found(
                subject=across(names, subject("address", address=address)),
                message=f"{names[0]} ({first[2].ifname}) and {names[1]} ({other[2].ifname}) both have {address} in one "
                "segment",
                evidence=[
                    *(
                        (f"{link.ifname} of {host.name}", f"{row.local}/{row.prefixlen}", "RTM_GETADDR")
                        for host, row, link in (first, other)
                    ),
                    ("one segment", proof, "RTM_GETNEIGH NDA_LLADDR"),
                ],
                confirm=["ip -br address show", f"ip neigh show {address}"],
                fix=f"ip address del {address}/{other[1].prefixlen} dev {quoted(other[2].ifname)}"
                f"  # on {names[1]}, or on {names[0]}: whose is it?",
                breaks=[
                    on(host.name, thing)
                    for host, _, link in (first, other)
                    for thing in (subject("link", ifname=link.ifname), subject("address", address=address))
                ],
            )
            break

    yield from _called_elsewhere(view, owners)


def _called_elsewhere(view: FleetView, owners: dict[str, list[tuple[FleetHost, Address, Link]]]) -> Iterator[Draft]:
    """Copies of an address of an uplink at which the WireGuard of its host is called."""
    holders: dict[str, list[tuple[FleetHost, Address, Link]]] = defaultdict(list)
    for host in view.reading("links", "addresses", "neighbours"):
        links = {link.ifindex: link for link in host.tables.links}
        for row in host.tables.addresses:
            link = links.get(row.ifindex)
            if row.local in owners and link is not None and link.up:
                holders[row.local].append((host, row, link))
    ends: dict[str, list[End]] = defaultdict(list)
    for end in view.end_list if any(len(rows) > 1 for rows in holders.values()) else ():
        ends[end.host.name].append(end)
    for address, rows in sorted(holders.items()):
        homes = {host.name for host, _, _ in owners[address]}
        for host, row, link in rows if len(rows) > 1 and len(homes) == 1 else ():
            (home,) = homes
            called = next((end for end in ends[home] if _called_at(view, end, address)), None)
            if host.name != home and called is not None:
                yield _copied(called, host, row, link)


def _called_at(view: FleetView, end: End, address: str) -> bool:
    """Whether one of the first few peers of a device that belong to the fleet calls it at the address."""
    known = [view.ends[key] for key in list(end.peers)[:1000] if key in view.ends][:FEW]
    entries = [far.peers.get(str(end.device.public_key)) for far in known]
    return any(entry is not None and entry.endpoint == address for entry in entries)


def _copied(home: End, host: FleetHost, row: Address, link: Link) -> Draft:
    owner, key = home.host.name, str(home.device.public_key)
    own = [
        (device, peer) for device in host.tables.wireguard.devices for peer in device.peers if peer.public_key == key
    ]
    keys = {str(device.public_key) for device in host.tables.wireguard.devices}
    return RULE.found(
        subject=across([owner, host.name], subject("address", address=row.local)),
        message=f"{host.name} has {row.local} on {link.ifname}, the address of {owner} at which {home.device.ifname} "
        f"of it is called: what {host.name} sends there never leaves it",
        evidence=[
            (f"{link.ifname} of {host.name}", f"{row.local}/{row.prefixlen}", "RTM_GETADDR"),
            (f"endpoint of {owner} on its peers", row.local, "WGPEER_A_ENDPOINT"),
        ],
        confirm=["ip -br address show", f"ip route get {row.local}"],
        fix=f"ip address del {row.local}/{row.prefixlen} dev {quoted(link.ifname)}  # on {host.name}",
        breaks=[
            on(host.name, subject("address", address=row.local)),
            *(on(host.name, peer_subject(device, peer)) for device, peer in own),
            *(on(owner, peer_subject(home.device, peer)) for peer in home.device.peers if peer.public_key in keys),
        ],
    )


def examples() -> Iterator[FleetExample]:
    def host(address: str, mac: str = "02:00:00:00:00:fe", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", **fields).address("eth0", address)
        return made.neighbour("192.0.2.1", dev="eth0", lladdr=mac)

    def case(name: str, why: str, a: HostBuilder, b: HostBuilder, fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts={"fra-a1": a.build(), "fra-a2": b.build()}, fires=fires)

    yield case("one address, one segment", "both see one gateway", host("192.0.2.7/24"), host("192.0.2.7/24"), 1)
    yield case("of their own", "as it must be", host("192.0.2.7/24"), host("192.0.2.8/24"))
    far = host("192.0.2.7/24", "02:00:00:00:00:aa")
    yield case("one plan, two places", "the gateways are different machines", host("192.0.2.7/24"), far)
    lo = [host(f"192.0.2.{n}/24").address("lo", "203.0.113.7/32") for n in (7, 8)]
    yield case("anycast", "service addresses on lo", lo[0], lo[1])
    vip = [host(f"192.0.2.{n}/24").address("eth0", "192.0.2.9/32") for n in (7, 8)]
    yield case("a service address on both", "a load balancer in front writes to it", vip[0], vip[1])
    local = [host(f"192.0.2.{n}/24").address("eth0", "169.254.7.7/16", scope=253) for n in (7, 8)]
    yield case("link-local", "cloud agents give every host the same", local[0], local[1])

    def bridged(n: int, port: str | None, address: str) -> HostBuilder:
        made = host(f"192.0.2.{n}/24").link("br0", kind="bridge").link("port0", kind=port, master="br0")
        return made.address("br0", f"{address}/16").neighbour("172.17.0.2", dev="br0", lladdr="02:42:ac:11:00:02")

    docker = [bridged(n, "veth", "172.17.0.1") for n in (7, 8)]
    yield case("docker0", "every host has it, and makes hardware addresses of addresses", docker[0], docker[1])
    yield from _called_examples()
    real = [bridged(n, None, "172.17.0.1") for n in (7, 8)]
    yield case("a bridge with a card", "it is in the segment of the card", real[0], real[1], 1)
    taps = [
        host(f"192.0.2.{n}/24")
        .link("tap0", kind="tun")
        .address("tap0", "10.0.0.1/24")
        .neighbour("10.0.0.2", dev="tap0")
        for n in (7, 8)
    ]
    yield case("gateways of guests", "each guest is alone with its host", taps[0], taps[1])
    down = HostBuilder().link("eth0", up=False).address("eth0", "192.0.2.7/24")
    down.neighbour("192.0.2.1", dev="eth0", lladdr="02:00:00:00:00:fe", state="permanent")
    yield case("standby", "its interface is down", host("192.0.2.7/24"), down)
    yield case(
        "gone meanwhile", "it cannot be said what it was", host("192.0.2.7/24"), host("192.0.2.7/24").vanished("eth0")
    )
    yield from _elsewhere()


def _elsewhere() -> Iterator[FleetExample]:
    """One plan in two places: what both know is no proof of one segment."""

    def case(name: str, why: str, dst: str, dev: str, **fields: Any) -> FleetExample:
        both = [HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.7/24") for _ in range(2)]
        hosts = [one.neighbour(dst, dev=dev, **fields).build() for one in both]
        return FleetExample(name=name, why=why, hosts={"fra-a1": hosts[0], "ams-a1": hosts[1]})

    yield case("neighbours on another card", "that one is in one segment", "192.0.2.1", "eth1")
    yield case("dead gateways", "nobody answers in either place", "10.0.0.1", "eth0", state="failed")
    group = {"lladdr": "01:00:5e:00:00:16", "state": "noarp"}
    yield case("a multicast group", "its hardware address is made of it", "224.0.0.22", "eth0", **group)


def _called_examples() -> Iterator[FleetExample]:
    """A mesh of three in one network, in which one has the address of another besides its own."""

    def case(name: str, why: str, ifname: str, address: str, fires: int = 0) -> FleetExample:
        hosts = mesh("abc")
        other = peered(builder("b"), "ac")
        other.address(ifname, address)
        return FleetExample(name=name, why=why, hosts=hosts | {"fra-b": finished("b", other)}, fires=fires)

    yield case("a copy on lo", "a script for failover ran half", "lo", f"{underlay('a')}/32", 1)
    yield case("a copy beside its own", "as a single address", "eth0", f"{underlay('a')}/32", 1)
    yield case("another address", "nobody is called there", "lo", "192.0.2.99/32")
    for name, fields, link, fires in (
        ("of host scope", {"scope": 254}, {}, 1),
        ("on a device that is down", {}, {"up": False}, 0),
    ):
        hosts, other = mesh("abc"), peered(builder("b"), "ac")
        other.link("dum0", kind="dummy", **link).address("dum0", f"{underlay('a')}/32", **fields)
        hosts["fra-b"] = finished("b", other)
        yield FleetExample(name=f"a copy {name}", why="it is local only while up", hosts=hosts, fires=fires)
    second, other = peered(builder("a"), "bcd"), peered(builder("b"), "ac")
    second.address("eth0", "192.0.2.200/24")
    other.address("lo", "192.0.2.200/32").link("dum0").address("dum0", f"{underlay('a')}/32").vanished("dum0")
    hosts = mesh("abc") | {"fra-a": finished("a", second), "fra-b": finished("b", other)}
    hosts["fra-c"] = finished("c", peered(builder("c"), "b"))
    yield FleetExample(name="a copy of its second address", why="nobody calls it there", hosts=hosts)
    yield case("its own once more", "on lo as well", "lo", f"{underlay('b')}/32")
    service = mesh("abc")
    for letter in "ab":
        host = peered(builder(letter), "abc".replace(letter, ""))
        host.address("lo", "203.0.113.7/32")
        service[f"fra-{letter}"] = finished(letter, host)
    calls = peered(builder("c"), "b")
    peered(calls, "a", endpoint="203.0.113.7")
    service["fra-c"] = finished("c", calls)
    yield FleetExample(name="a tunnel at a service address", why="both have it on lo", hosts=service)
