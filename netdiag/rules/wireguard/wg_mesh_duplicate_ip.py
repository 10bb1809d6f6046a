"""What it checks
  Two hosts of one mesh (joined by WireGuard peers, directly or over others) have the same address on their devices; or
  two of a host's peers, both hosts of the fleet, are given the same single address by different hosts.

Why it matters
  Each of the others sends the address to whichever of the two keys it was given last. Both hosts are right by
  themselves, handshakes work, and packets for one of them end at the other: half of the fleet talks to the wrong host.

Confirm
  ip -br address show dev IFNAME            (on both hosts)
  wg show IFNAME allowed-ips                (on a third one)

Fix
  Give one of the two an address of its own, on the host and in its peers' allowed-ips: wg set IFNAME peer KEY
  allowed-ips NEW. Until all peers have it, what is sent to that host goes to the other.

Not flagged
  Devices of different meshes, which never meet: gateways that each have a private mesh of the same plan. Anycast and
  service addresses on lo. Link-local addresses. A device that is down: a standby.

References
  drivers/net/wireguard/allowedips.c; WireGuard paper, section 2 (cryptokey routing)
"""

from collections import defaultdict
from collections.abc import Iterator

from netdiag.index.fleet import End, FleetView, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, peer_subject

RULE = Rule(
    id="wg-mesh-duplicate-ip",
    title="two hosts of a mesh have one address",
    severity="critical",
    reads=("wireguard", "links", "addresses"),
    explains=(
        "wg-allowedips-duplicate-moved",
        "wg-allowedips-miss-peer-address",
        "addr-owner-mapping-stale",
        "addr-duplicate-across-hosts",
        "wg-oneway-data",
    ),
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    owners: dict[tuple[int, str], list[End]] = defaultdict(list)
    for key, end in view.ends.items():
        for row in end.addresses if end.link.up else ():
            owners[view.mesh_of[key], row.local].append(end)
    for (_, address), ends in sorted(owners.items()):
        names = sorted({end.host.name for end in ends})
        if len(names) > 1:
            yield _finding(view, address, ends, names)


def _finding(view: FleetView, address: str, ends: list[End], names: list[str]) -> Draft:
    first, second = ends[0], ends[1]
    keys = {str(end.card.public_key) for end in ends}
    others = view.where(view.edges.among(keys))
    return RULE.found(
        subject=across(names, subject("address", address=address)),
        message=f"{' and '.join(names)} both have {address} on their mesh devices: the others reach one of them where "
        "they mean the other",
        evidence=[
            (f"address on {first.device.ifname} of {first.host.name}", address, "RTM_GETADDR IFA_LOCAL"),
            (f"address on {second.device.ifname} of {second.host.name}", address, "RTM_GETADDR IFA_LOCAL"),
            ("peer entries for the two keys", len(others), "WG_CMD_GET_DEVICE WGDEVICE_A_PEERS"),
        ],
        confirm=[f"ip -br address show dev {quoted(first.device.ifname)}", "wg show all allowed-ips"],
        fix=f"give {names[-1]} an address of its own, there and in the allowed-ips of its peers",
        breaks=[
            *(on(end.host.name, device_subject(end.device)) for end in ends),
            *(on(pair.near.host.name, device_subject(pair.near.device)) for pair in others),
            *(on(pair.near.host.name, peer_subject(pair.near.device, pair.peer)) for pair in others),
            *(across((pair.near.host.name,), subject("prefix", prefix=f"{address}/32")) for pair in others),
        ],
    )


def examples() -> Iterator[FleetExample]:
    twice = mesh("abc") | {"fra-c": finished("c", peered(builder("c", address="10.64.0.2"), "ab"))}
    about = across(("fra-b", "fra-c"), subject("address", address="10.64.0.2"))
    yield FleetExample(name="one address, two hosts", why="a cloned image", hosts=twice, fires=1, subject=about)
    yield FleetExample(name="a mesh in order", why="each has its own", hosts=mesh("abcd"))
    apart = mesh("ab") | {f"ams-{k}": finished(k, _peer(k, a, p, b)) for k, a, p, b in _second_mesh()}
    yield FleetExample(name="two meshes of one plan", why="they never meet", hosts=apart)
    joined = dict(apart)
    joined["fra-b"] = finished("b", peered(builder("b"), "ac"))
    yield FleetExample(
        name="joined by one peer", why="now they do: both addresses are twice there", hosts=joined, fires=2
    )


def _second_mesh() -> tuple[tuple[str, str, str, str], ...]:
    """Two members with the addresses of two others: own letter and address, those of its peer."""
    return (("c", "10.64.0.1", "d", "10.64.0.2"), ("d", "10.64.0.2", "c", "10.64.0.1"))


def _peer(own: str, address: str, other: str, allowed: str) -> WireguardBuilder:
    return peered(builder(own, address=address), other, allowed_ips=(f"{allowed}/32",))
