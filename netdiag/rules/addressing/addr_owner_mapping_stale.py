"""What it checks
  A workload's address that one host has (a tap route or an address of a guest's) is sent to another host by the
  allowed-ips of the mesh, and that other host does not have it.

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
  wg-mesh-duplicate-ip. Hosts that have no mapping for it. The owner's own entries.

References
  drivers/net/wireguard/allowedips.c; wg(8)
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from netdiag.index.fleet import FleetHost, FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.model.snapshot import Tables
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, peer_subject

RULE = Rule(
    id="addr-owner-mapping-stale",
    title="part of the fleet sends a workload's traffic to the wrong host",
    severity="critical",
    confidence="likely",
    reads=("wireguard", "links", "addresses", "routes"),
    explains=("wg-allowedips-duplicate-moved", "wg-allowedips-without-route"),
    scope="fleet",
)
GUEST_KINDS = frozenset({"tun", "veth"})
MOST_ROUTES = 20_000


def _owned(host: FleetHost) -> set[str]:
    """Single addresses routed to a guest of this host, and its own addresses but those of its WireGuard devices."""
    links = {link.ifindex: link for link in host.tables.links}
    devices = {device.ifindex for device in host.tables.wireguard.devices}
    guests = {number for number, link in links.items() if link.kind in GUEST_KINDS and link.up} - devices
    owned = {row.local for row in host.tables.addresses if row.scope == 0 and row.ifindex not in devices}
    for routes, size in ((host.tables.routes, 32), (host.tables.routes6, 128)):
        single = (routes.dst_len == size).nonzero()[0][:MOST_ROUTES].tolist()
        for row in routes.rows(single):
            if row.oif in guests and row.type == "unicast":
                owned.add(row.dst.partition("/")[0])
    return owned


def check(view: FleetView) -> Iterator[Draft]:
    owners: dict[str, list[FleetHost]] = defaultdict(list)
    for host in view.reading("wireguard", "links", "addresses", "routes"):
        for address in _owned(host):
            owners[address].append(host)
    wrong: dict[str, list[Pair]] = defaultdict(list)
    for pair in view.pairs:
        for prefix in pair.peer.allowed_ips if pair.far is not None else ():
            address, _, size = prefix.partition("/")
            if int(size) != ipaddress.ip_address(address).max_prefixlen:
                continue
            having = owners.get(address, [])
            if len(having) == 1 and pair.far is not None and having[0] not in (pair.far.host, pair.near.host):
                wrong[address].append(pair)
    for address, pairs in sorted(wrong.items()):
        yield _finding(address, owners[address][0], pairs)


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
        ],
    )


def _with_guest(letter: str, others: str, address: str | None, sends: dict[str, str]) -> Tables:
    """A member that has a guest, and that sends an address to some of the others."""
    host = peered(builder(letter), others)
    if address is not None:
        host.link("tap0", kind="tun").route(f"{address}/32", dev="tap0")
    tables = finished(letter, host)
    (device,) = tables.wireguard.devices
    peers = tuple(
        msgspec.structs.replace(
            peer, allowed_ips=(*peer.allowed_ips, *([f"{sends[other]}/32"] if other in sends else []))
        )
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
