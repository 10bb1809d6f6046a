"""What it checks
  A workload's address that one host has (a tap route or an address of a guest's) is sent elsewhere by others: by the
  allowed-ips of the mesh to a host that does not have it; by a route of its own on a way that, walked from host to
  host, does not end there; or by an eBPF map of a host that still names an interface of its own for it.

Why it matters
  The machine was moved, and a part of the fleet still sends its traffic to where it was. It is lost there without an
  error, only for those who come from these hosts.

Confirm
  wg show IFNAME allowed-ips                (on a host that sends to the old place)
  ip route get ADDRESS                      (on the host that has the machine)

Fix
  wg set IFNAME peer KEY-OF-THE-OWNER allowed-ips ...,ADDRESS/32 on each host that sends it elsewhere: the prefix moves
  to that peer at once. Mend what should have told them.

Not flagged
  Addresses that no collected host has: the machine is stopped. Addresses that several hosts have: anycast, or
  wg-mesh-duplicate-ip. Hosts that have no mapping for it. The owner's own entries. Ways
  that leave the hosts that were collected. Beyond 500 routes by a gateway: that is told as not evaluated.

References
  drivers/net/wireguard/allowedips.c; wg(8)
"""

import socket
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from netdiag.index.fleet import End, FleetHost, FleetView, Pair, across, on
from netdiag.model.bpf import BpfAttachment, BpfMap, BpfMapEntry
from netdiag.model.finding import Draft, Subject, Unjudged, subject
from netdiag.model.route import Route
from netdiag.model.snapshot import Tables
from netdiag.path.fleetwalk import FleetWays
from netdiag.path.trail import Packet
from netdiag.rules.bpfplaces import key_address, key_words
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, peer_subject

RULE = Rule(
    id="addr-owner-mapping-stale",
    title="part of the fleet sends a workload's traffic to the wrong host",
    severity="critical",
    confidence="likely",
    reads=("wireguard", "links", "addresses", "routes"),
    consults=("neighbours",),
    explains=(
        "wg-allowedips-duplicate-moved",
        "wg-allowedips-without-route",
        "bpf-map-stale-address-mapping",
        "tap-route-missing",
    ),
    scope="fleet",
)
GUEST_KINDS = frozenset({"tun", "veth"})
MOST_ROUTES = 20_000
MOST_WALKS = 500


def _owned(host: FleetHost) -> set[str]:
    """Single addresses routed to a guest of this host, and its own addresses but those of its WireGuard devices."""
    links = {link.ifindex: link for link in host.tables.links}
    devices = {device.ifindex for device in host.devices}
    guests = {number for number, link in links.items() if link.kind in GUEST_KINDS and link.up} - devices
    owned = {row.local for row in host.tables.addresses if row.scope == 0 and row.ifindex not in devices}
    for routes, size in ((host.tables.routes, 32), (host.tables.routes6, 128)):
        single = (routes.dst_len == size).nonzero()[0][:MOST_ROUTES].tolist()
        for row in routes.rows(single):
            if row.oif in guests and row.type == "unicast":
                owned.add(row.dst.partition("/")[0])
    return owned


def _elsewhere(far: End, allowed: tuple[str, ...], owners: dict[str, list[FleetHost]]) -> bool:
    """Whether one of these prefixes is an address that another host alone has."""
    having = [owners.get(prefix.partition("/")[0], []) for prefix in allowed]
    return any(len(hosts) == 1 and hosts[0] is not far.host for hosts in having)


def check(view: FleetView) -> Iterator[Draft | Unjudged]:
    owners: dict[str, list[FleetHost]] = defaultdict(list)
    for host in view.reading("wireguard", "links", "addresses", "routes"):
        for address in _owned(host):
            owners[address].append(host)
    wrong: dict[str, list[Pair]] = defaultdict(list)
    which, combinations = view.edges.combinations()
    moved = [number >= 0 and _elsewhere(view.end_list[number], allowed, owners) for number, allowed in combinations]
    for pair in view.where(np.array(moved, np.bool_)[which]):
        if pair.far is None:
            continue
        for prefix in pair.peer.allowed_ips:
            address, _, size = prefix.partition("/")
            if size != ("128" if ":" in address else "32"):
                continue
            having = owners.get(address, [])
            if len(having) == 1 and having[0] not in (pair.far.host, pair.near.host):
                wrong[address].append(pair)
    told = set(wrong)
    for address, pairs in sorted(wrong.items()):
        yield _finding(address, owners[address][0], pairs)
    asked = list(islice(_routes(view, owners, told), MOST_WALKS + 1))
    elsewhere = [*_by_route(view, asked[:MOST_WALKS]), *_by_map(view, owners, told)]
    for address in sorted({sent.address for sent in elsewhere}):
        yield _sent_elsewhere([sent for sent in elsewhere if sent.address == address])
    if len(asked) > MOST_WALKS:
        yield Unjudged(reason=f"{MOST_WALKS} routes by a gateway to single addresses were walked, there are more")


class Sent(NamedTuple):
    """What a host has for an address, and where that leads."""

    address: str
    owner: FleetHost
    near: FleetHost
    how: str
    source: str
    about: Subject
    fix: str


class Asked(NamedTuple):
    """A route for one address with a gateway, and whose address it is."""

    near: FleetHost
    row: Route
    address: str
    owner: FleetHost


def _routes(view: FleetView, owners: dict[str, list[FleetHost]], told: set[str]) -> Iterator[Asked]:
    for host in view.reading("wireguard", "links", "addresses", "routes"):
        for routes, size in ((host.tables.routes, 32), (host.tables.routes6, 128)):
            for row in routes.rows((routes.dst_len == size).nonzero()[0][:MOST_ROUTES].tolist()):
                address = row.dst.partition("/")[0]
                having = owners.get(address, [])
                if row.gateway is not None and len(having) == 1 and address not in told:
                    yield Asked(host, row, address, having[0])


def _by_route(view: FleetView, asked: list[Asked]) -> Iterator[Sent]:
    """Those whose way ends on a host that is not the owner."""
    ways = FleetWays(view)
    for host, row, address, owner in asked:
        end = ways.go(host.name, Packet(family="inet6" if ":" in address else "inet", dst=address))
        if end.verdict in ("sent", "unknown") or end.host in (owner.name, host.name):
            continue
        how = f"routes it by {row.gateway}, and it ends on {end.host}: {end.reason}"
        about = on(host.name, subject("route", dst=row.dst, table=row.table))
        fix = f"ip route del {row.dst} via {row.gateway}  # on {host.name}, or let it lead to {owner.name}"
        yield Sent(address, owner, host, how, "RTM_GETROUTE RTA_GATEWAY", about, fix)


def _by_map(view: FleetView, owners: dict[str, list[FleetHost]], told: set[str]) -> Iterator[Sent]:
    """Entries of eBPF maps that name an interface of this host for an address that another host has."""
    for host in view.reading("bpf", "links"):
        table = host.tables.bpf
        links = {link.ifindex: link.ifname for link in host.tables.links}
        used = {row.prog_id for row in table.attachments if row.ifindex in links}
        maps = {number for one in table.programs if one.id in used for number in one.map_ids}
        plain = (one for one in table.maps if one.type == "hash" and one.value_size == 4)
        named = {one.id: one.name for one in plain if one.id in maps}
        for entry in table.entries:
            if entry.map_id not in named or entry.ifindex not in links:
                continue
            address = key_address(entry)
            having = owners.get(address, [])
            if len(having) == 1 and having[0] is not host and address not in told:
                name, ifname = named[entry.map_id], links[entry.ifindex]
                how = f"its map {name} sends it to {ifname}"
                about = on(host.name, subject("bpf-map", name=name))
                fix = f"bpftool map delete name {quoted(name)} key {key_words(entry)}"
                fix += f"  # on {host.name}; the agent missed the move"
                yield Sent(address, having[0], host, how, "BPF_MAP_LOOKUP_ELEM", about, fix)


def _sent_elsewhere(rows: list[Sent]) -> Draft:
    first = rows[0]
    names = sorted({row.near.name for row in rows})
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    programs = [
        on(row.near.name, subject("bpf-map", name=str(row.about["name"]), program=one.function or one.name))
        for row in rows
        if row.about["kind"] == "bpf-map"
        for one in row.near.tables.bpf.programs
    ]
    return RULE.found(
        subject=across((first.owner.name, *names), subject("address", address=first.address)),
        message=f"{first.address} is on {first.owner.name}, but {who} {'sends' if len(names) == 1 else 'send'} it "
        f"elsewhere: {first.near.name} {first.how}",
        evidence=[
            (f"{first.address} on {first.owner.name}", "routed to a guest, or an address of its own", "RTM_GETROUTE"),
            *((f"{row.near.name}", row.how, row.source) for row in rows[:3]),
        ],
        confirm=[f"ip route get {first.address}"],
        fix=first.fix,
        breaks=[*(row.about for row in rows), *programs],
    )


def _finding(address: str, owner: FleetHost, pairs: list[Pair]) -> Draft:
    names = sorted({pair.near.host.name for pair in pairs})
    first = pairs[0]
    old = first.far.host.name if first.far is not None else ""
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    own = next((device for device in owner.tables.wireguard.devices), None)
    key = quoted(str(own.public_key)) if own is not None else "KEY"
    return RULE.found(
        subject=across((owner.name, old, *names), subject("address", address=address)),
        message=f"{address} is on {owner.name}, but {who} {'sends' if len(names) == 1 else 'send'} it to {old}",
        evidence=[
            (f"{address} on {owner.name}", "routed to a guest, or an address of its own", "RTM_GETROUTE, RTM_GETADDR"),
            (f"allowed-ips of {old} on {names[0]}", f"{address} among them", "WGPEER_A_ALLOWEDIPS"),
        ],
        confirm=[f"wg show all allowed-ips | grep -w {address}", f"ip route get {address}"],
        fix=f"wg set {quoted(first.near.device.ifname)} peer {key} allowed-ips +{address}/"
        f"{128 if ':' in address else 32}  # on {who}; an older wg takes the whole list",
        breaks=[
            *(on(pair.near.host.name, peer_subject(pair.near.device, pair.peer)) for pair in pairs),
            *(on(owner.name, device_subject(device)) for device in owner.tables.wireguard.devices),
            *(_left_behind(first.far.host, address) if first.far is not None else ()),
        ],
    )


def _left_behind(old: FleetHost, address: str) -> Iterator[Subject]:
    """Taps behind which the host that a workload left still knows it: its machine runs there yet, without a route."""
    names = {link.ifindex: link.ifname for link in old.tables.links if link.kind in GUEST_KINDS}
    table = old.tables.neighbours
    for row in table.rows(np.flatnonzero(np.isin(table.ifindex, list(names)))):
        if row.dst == address:
            yield on(old.name, subject("tap", ifname=names[row.ifindex]))


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _with_guest(letter: str, others: str, address: str | None, sends: dict[str, str], *, up: bool = True) -> Tables:
    """A member that has a guest, and that sends addresses to some of the others."""
    host = peered(builder(letter), others)
    if address is not None:
        host.link("tap0", kind="tun", up=up).route(_single(address), dev="tap0")
    return _sending(finished(letter, host), others, sends)


def _sending(tables: Tables, others: str, sends: dict[str, str]) -> Tables:
    (device,) = tables.wireguard.devices
    peers = tuple(
        msgspec.structs.replace(peer, allowed_ips=(*peer.allowed_ips, *map(_single, sends.get(other, "").split())))
        for peer, other in zip(device.peers, others, strict=True)
    )
    wireguard = msgspec.structs.replace(tables.wireguard, devices=(msgspec.structs.replace(device, peers=peers),))
    return replace(tables, wireguard=wireguard)


def examples() -> Iterator[FleetExample]:
    def case(name: str, why: str, fires: int, **hosts: Tables) -> FleetExample:
        return FleetExample(
            name=name, why=why, hosts={f"fra-{key}": value for key, value in hosts.items()}, fires=fires
        )

    vm = "10.70.0.5"
    c = _with_guest("c", "ab", vm, {})
    b = _with_guest("b", "ac", None, {})
    yield case("moved to c", "a still sends it to b", 1, a=_with_guest("a", "bc", None, {"b": vm}), b=b, c=c)
    yield case("all know", "a sends it to c", 0, a=_with_guest("a", "bc", None, {"c": vm}), b=b, c=c)
    stopped = _with_guest("c", "ab", None, {})
    yield case("stopped", "nobody has it", 0, a=_with_guest("a", "bc", None, {"b": vm}), b=b, c=stopped)
    twice = _with_guest("b", "ac", vm, {})
    yield case("anycast", "two hosts have it", 0, a=_with_guest("a", "bc", None, {"b": vm}), b=twice, c=c)
    yield FleetExample(name="a mesh in order", why="no guests", hosts=mesh("abc"))
    yield from _of_a_mesh(vm)
    yield from _without_wireguard(vm)


def _of_a_mesh(vm: str) -> Iterator[FleetExample]:
    """Who has what, and to whom a sends it."""

    def case(name: str, why: str, fires: int, sent: str, c: Tables, **hosts: Tables) -> FleetExample:
        a, b = _with_guest("a", "bc", None, {"b": sent}), _with_guest("b", "ac", None, {})
        known = {"a": a, "b": b, "c": c} | hosts
        return FleetExample(name=name, why=why, hosts={f"fra-{key}": one for key, one in known.items()}, fires=fires)

    bare = _with_guest("c", "ab", None, {})
    six = "2001:db8:7::5"
    yield case("moved, IPv6", "the same", 1, six, _with_guest("c", "ab", six, {}))
    other = _with_guest("b", "ac", "10.70.0.6", {})
    yield case("one of two moved", "b has the other", 1, f"10.70.0.6 {vm}", _with_guest("c", "ab", vm, {}), b=other)
    yield case("a host's own address", "c has it on eth0", 1, "192.0.2.3", bare)
    yield case("an inner address", "wg-mesh-duplicate-ip and its like", 0, "10.64.0.3", bare)
    yield case("a net", "guests of several hosts may be in it", 0, "", bare, a=_sending(bare, "ab", {}))
    own = _with_guest("a", "bc", vm, {"b": vm})
    yield case("the sender has it", "it takes its own route first", 0, "", bare, a=own)
    yield case("its tap is down", "the machine is stopped", 0, vm, _with_guest("c", "ab", vm, {}, up=False))
    local = peered(builder("c"), "ab").link("tap0", kind="tun").address("tap0", "169.254.7.1/32", scope=253)
    yield case("a guest's gateway", "its scope is the link", 0, "169.254.7.1", finished("c", local))  # type: ignore[arg-type]
    stray = peered(builder("d"), "abc").link("tap0", kind="tun").route(f"{vm}/32", via="192.0.2.2", dev="eth0")
    yield case(
        "by a route as well",
        "one fault, one finding",
        1,
        vm,
        _with_guest("c", "ab", vm, {}),
        d=finished("d", stray),  # type: ignore[arg-type]
    )


def _member(number: int) -> HostBuilder:
    """A host of one network, which knows the other two by their hardware addresses."""
    host = HostBuilder().link("eth0", address=f"02:00:00:00:00:0{number}", inet_conf={"forwarding": 1})
    host.address("eth0", f"192.0.2.{number}/24")
    for other in {1, 2, 3} - {number}:
        host.neighbour(f"192.0.2.{other}", dev="eth0", lladdr=f"02:00:00:00:00:0{other}")
    return host


def _without_wireguard(vm: str) -> Iterator[FleetExample]:
    def case(name: str, why: str, one: Any, two: Any, fires: int) -> FleetExample:
        owner = _member(3).link("tap0", kind="tun")
        for guest in (f"{vm}/32", "10.70.0.8/32", "2001:db8:7::5/128"):
            owner.route(guest, dev="tap0")
        hosts = {"fra-a": one.build(), "fra-b": two.build(), "fra-c": owner.build()}
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires)

    stale = _member(1).route(f"{vm}/32", via="192.0.2.2", dev="eth0")
    yield case("a route to the old host", "it has it no more", stale, _member(2), 1)
    onward = _member(2).route(f"{vm}/32", via="192.0.2.3", dev="eth0")
    yield case("a router between", "the old host sends it on", stale, onward, 0)
    yield case(
        "a route to the owner", "as it must be", _member(1).route(f"{vm}/32", via="192.0.2.3", dev="eth0"), onward, 0
    )
    out = _member(2).route("default", via="192.0.2.254", dev="eth0")
    yield case("out of the fleet", "whoever is there may know the way", stale, out, 0)
    away = _member(1).route("10.70.0.9/32", via="192.0.2.2", dev="eth0")
    yield case("of a machine that is stopped", "nobody has it", away, _member(2), 0)
    two = _member(1).route(f"{vm}/32", via="192.0.2.2", dev="eth0").route("10.70.0.8/32", via="192.0.2.2", dev="eth0")
    yield case("two addresses", "one finding each", two, _member(2), 2)
    six = _member(1).address("eth0", "2001:db8::1/64").neighbour("2001:db8::2", dev="eth0", lladdr="02:00:00:00:00:02")
    six.route("2001:db8:7::5/128", via="2001:db8::2", dev="eth0").sysctl("net.ipv6.conf.all.forwarding", 1)
    old = _member(2).address("eth0", "2001:db8::2/64").sysctl("net.ipv6.conf.all.forwarding", 1)
    yield case("a route to the old host, IPv6", "the same", six, old, 1)
    yield case("a map", "the agent missed the move", tc(_mapped(vm), "eth0", 1), _member(2), 1)
    yield case("a map with a stopped machine", "nobody has it", tc(_mapped("10.70.0.6"), "eth0", 1), _member(2), 0)
    for what, fields in (("of numbers", {"type": "array"}), ("of structures", {"value_size": 8})):
        yield case(f"a map {what}", "its keys are no addresses", tc(_mapped(vm, **fields), "eth0", 1), _member(2), 0)
    yield case("a map of a program that is nowhere", "no packet asks it", _mapped(vm), _member(2), 0)
    elsewhere = _mapped(vm).bpf(attachments=[BpfAttachment(hook="xdp", prog_id=1, ifindex=99)])
    yield case("a map of another namespace's program", "interfaces there have other numbers", elsewhere, _member(2), 0)
    spare = tc(_mapped(vm).bpf(programs=[program(2, "spare")]), "eth0", 2)
    yield case("a map of a program beside it", "that one is nowhere", spare, _member(2), 0)
    stopped = tc(_mapped(vm, tap="tap9"), "eth0", 1).vanished("tap9")
    yield case("a map with an interface that is gone", "bpf-map-stale-ifindex speaks", stopped, _member(2), 0)
    both = tc(_mapped(vm, other=6), "eth0", 1)
    yield case("a map beside", "its entries are of another one", both, _member(2), 0)
    mine = tc(_mapped(vm).route(f"{vm}/32", dev="tap0"), "eth0", 1)
    stray = _member(3).bpf()
    yield FleetExample(
        name="the owner's map", why="as it must be", hosts={"fra-a": mine.build(), "fra-c": stray.build()}
    )
    sends = _sending(_with_guest("a", "bc", None, {}), "bc", {"b": vm})
    stale_map = replace(sends, bpf=tc(_mapped(vm, tap="wg0"), "wg0", 1).build().bpf)
    hosts = {"fra-a": stale_map, "fra-b": _with_guest("b", "ac", None, {}), "fra-c": _with_guest("c", "ab", vm, {})}
    yield FleetExample(name="by the mesh and by a map", why="one fault, one finding", hosts=hosts, fires=1)


def _mapped(address: str, tap: str = "tap0", other: int = 5, **fields: Any) -> HostBuilder:
    """A member with a program that looks for the interface of an address in a map."""
    host = _member(1).link(tap, kind="tun").bpf(programs=[program(1, "switch", map_ids=(5,))])
    known: dict[str, Any] = {"id": 5, "type": "hash", "name": "vm_ifindex", "key_size": 4, "value_size": 4}
    host.bpf(maps=[BpfMap(**(known | fields))])
    key = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    return host.bpf(entries=[BpfMapEntry(map_id=other, key=key, ifindex=host.ifindex(tap))])
