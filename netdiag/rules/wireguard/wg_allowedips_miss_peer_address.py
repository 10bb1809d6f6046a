"""What it checks
  A host's entry for a peer, with whom it has shaken hands, allows none of the addresses that the peer's host has on
  that device.

Why it matters
  What the peer sends from its own address is dropped after decryption, and what is for it is sent to nobody or to
  another peer. The handshake is fresh and all looks well; only packets of the host itself are lost. It comes from
  addresses that were changed on one side, or from a restore that brought back the workloads' prefixes only.

Confirm
  wg show IFNAME allowed-ips                (on the near host)
  ip -br address show dev IFNAME            (on the far host)

Fix
  wg set IFNAME peer KEY allowed-ips +ADDRESS/32 (with an older wg: the whole list), and a route if there is none. The
  prefix is taken away from a peer that had it.

Not flagged
  Link-local addresses. A device without an address. A peer of whom one address of that family is allowed: the others
  may be for another purpose. A peer that never shook hands: it is being provisioned.

References
  drivers/net/wireguard/receive.c wg_packet_consume_data_done(); wg(8) allowed-ips
"""

import ipaddress
from collections.abc import Iterator

import numpy as np

from netdiag.index.fleet import End, FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-allowedips-miss-peer-address",
    title="a peer's own address is not among its allowed-ips",
    severity="critical",
    confidence="likely",
    reads=("wireguard", "links", "addresses"),
    explains=("wg-rx-allowedips-reject", "bgp-not-established", "bgp-hold-timer-expired", "wg-oneway-data"),
    scope="fleet",
)


def _lacks(far: End, allowed: tuple[str, ...]) -> bool:
    """Whether these prefixes hold none of the end's addresses of a family: what is worth a closer look."""
    own: dict[str, list[str]] = {row.family: [] for row in far.addresses}
    for row in far.addresses:
        own[row.family].append(row.local)
    exact = {prefix.partition("/")[0] for prefix in allowed}
    if all(exact.intersection(rows) for rows in own.values()):
        return False
    networks = [ipaddress.ip_network(prefix) for prefix in allowed]
    return any(
        not any(ipaddress.ip_address(address) in network for address in rows for network in networks)
        for rows in own.values()
    )


def _missed(pair: Pair) -> list[str]:
    """Addresses of the far end, of the families in which none of them is allowed."""
    assert pair.far is not None
    if pair.peer.latest_handshake is None:
        return []
    allowed = [ipaddress.ip_network(prefix) for prefix in pair.peer.allowed_ips]
    missed = []
    for family in ("inet", "inet6"):
        own = [row.local for row in pair.far.addresses if row.family == family]
        if not any(ipaddress.ip_address(address) in network for address in own for network in allowed):
            near = any(row.family == family for row in pair.near.addresses)
            missed += own[:1] if near else []
    return missed


def check(view: FleetView) -> Iterator[Draft]:
    found: dict[tuple[str, str], list[Pair]] = {}
    which, combinations = view.edges.combinations()
    lacking = [number >= 0 and _lacks(view.end_list[number], allowed) for number, allowed in combinations]
    for pair in view.where(np.array(lacking, np.bool_)[which]):
        for address in _missed(pair)[:1]:
            found.setdefault((pair.peer.public_key, address), []).append(pair)
    for (_, address), pairs in sorted(found.items()):
        yield _finding(address, pairs)


def _finding(address: str, pairs: list[Pair]) -> Draft:
    first = pairs[0]
    near, far = first.near, first.far or first.near
    names = sorted({pair.near.host.name for pair in pairs})
    size = 128 if ":" in address else 32
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    key = quoted(first.peer.public_key)
    return RULE.found(
        subject=across(
            (far.host.name, *names),
            subject("wireguard-peer", ifname=near.device.ifname, public_key=first.peer.public_key),
        ),
        message=f"{who} {'does' if len(names) == 1 else 'do'} not allow {far.host.name} its own address {address}: "
        "what it sends from there is dropped after decryption",
        evidence=[
            (f"address on {far.device.ifname} of {far.host.name}", address, "RTM_GETADDR IFA_LOCAL"),
            (
                f"allowed-ips on {near.host.name}",
                ", ".join(first.peer.allowed_ips[:6]) or "none",
                "WGPEER_A_ALLOWEDIPS",
            ),
        ],
        confirm=[f"wg show {quoted(near.device.ifname)} allowed-ips | grep {key}"],
        fix=f"wg set {quoted(near.device.ifname)} peer {key} allowed-ips "
        f"{','.join((*first.peer.allowed_ips, f'{address}/{size}'))}  # on {who}",
        touches=[on(pair.near.host.name, peer_subject(pair.near.device, pair.peer)) for pair in pairs],
        breaks=[
            *(on(pair.near.host.name, peer_subject(pair.near.device, pair.peer)) for pair in pairs),
            on(far.host.name, subject("wireguard-interface", ifname=far.device.ifname)),
        ],
    )


def examples() -> Iterator[FleetExample]:
    moved = mesh("abc") | {"fra-b": finished("b", peered(builder("b", address="10.64.7.7"), "ac"))}
    yield FleetExample(name="moved on one side", why="a and c still allow the old one: one cause", hosts=moved, fires=1)
    near = mesh("ab")
    near["fra-a"] = finished("a", peered(builder("a"), "b", allowed_ips=("10.64.0.3/32", "10.70.0.0/16")))
    yield FleetExample(name="workloads only", why="the restore forgot the host itself", hosts=near, fires=1)
    wide = mesh("ab") | {
        "fra-a": finished("a", peered(builder("a"), "b", allowed_ips=("10.64.0.0/31", "10.64.0.2/31")))
    }
    yield FleetExample(name="allowed by a wider prefix", why="the longest match decides, and there is one", hosts=wide)
    more = builder("b")
    more.address("wg0", "172.31.0.1/16")
    yield FleetExample(
        name="a second address", why="one is allowed", hosts=mesh("ab") | {"fra-b": finished("b", peered(more, "a"))}
    )
    fresh = moved | {name: finished(name[-1], peered(builder(name[-1]), "b", age=None)) for name in ("fra-a", "fra-c")}
    yield FleetExample(name="never shook hands", why="it is being provisioned", hosts=fresh)
    yield FleetExample(name="a mesh in order", why="each allows each", hosts=mesh("abc"))
    first = mesh("ab") | {"fra-a": finished("a", peered(builder("a", address="10.64.7.7"), "b"))}
    yield FleetExample(name="the first host by name", why="any host may be it", hosts=first, fires=1)
    clients = mesh("ab") | {"fra-a": finished("a", peered(peered(builder("a"), "b"), "p"))}
    yield FleetExample(name="a client", why="its addresses are not known", hosts=clients)
    for near6, fires in ((True, 1), (False, 0)):
        hosts = {}
        for own, other in ("ab", "ba"):
            host = builder(own)
            if own == "b" or near6:
                host.address("wg0", f"fd00:64::{own}/64")
            hosts[f"fra-{own}"] = finished(own, peered(host, other))
        yield FleetExample(
            name=f"IPv6 forgotten{'' if near6 else ', and the near end has none'}",
            why="IPv4 is allowed, and each family is for itself",
            hosts=hosts,
            fires=fires * 2,
        )
