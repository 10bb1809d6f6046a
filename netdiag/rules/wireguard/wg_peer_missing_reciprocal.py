"""What it checks
  A host tries to reach a peer whose key another host of the fleet holds, and that host has no entry for it.

Why it matters
  WireGuard drops a handshake of an unknown key without a word. Seen from the side that tries, the peer is dead; seen
  from the other, nothing is wrong.

Confirm
  wg show IFNAME peers                      (on the far host: the near one's key is missing)
  wg show IFNAME public-key                 (on the near host)

Fix
  On the far host: wg set IFNAME peer KEY allowed-ips PREFIXES endpoint ADDRESS:PORT. It changes nothing for other
  peers, unless they had those prefixes.

Not flagged
  A peer that nobody talks to: idle, being provisioned or being taken away. A peer that shook hands within the last
  three minutes: a gateway that makes its peers just in time had it a moment ago. Keys that no host of the fleet holds.

References
  drivers/net/wireguard/noise.c wg_noise_handshake_consume_initiation()
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-peer-missing-reciprocal",
    title="a host does not know a peer that calls it",
    severity="critical",
    reads=("wireguard", "links", "addresses"),
    explains=("wg-never-handshaked", "wg-handshake-stale", "bgp-not-established", "fleet-host-cut", "wg-oneway-data"),
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    for pair in view.pairs:
        if pair.far is None or pair.back is not None or not pair.dead:
            continue
        near, far = pair.near, pair.far
        own = str(near.device.public_key)
        prefixes = ",".join(f"{row.local}/{128 if ':' in row.local else 32}" for row in near.addresses)
        yield RULE.found(
            subject=across(
                (near.host.name, far.host.name), subject("host-pair", ifname=far.device.ifname, public_key=own)
            ),
            message=f"{far.host.name} has no peer entry for {near.host.name}, which calls it and hears nothing",
            evidence=[
                (f"public key of {near.device.ifname} on {near.host.name}", own, "WGDEVICE_A_PUBLIC_KEY"),
                (f"peers of {far.device.ifname} on {far.host.name}", len(far.device.peers), "WGDEVICE_A_PEERS"),
                (f"endpoint that {near.host.name} calls", pair.peer.endpoint or "", "WGPEER_A_ENDPOINT"),
            ],
            confirm=[f"wg show {quoted(far.device.ifname)} peers | grep -c {quoted(own)}"],
            fix=f"wg set {quoted(far.device.ifname)} peer {quoted(own)} allowed-ips {prefixes or 'PREFIXES'}"
            f"  # on {far.host.name}",
            breaks=[on(near.host.name, peer_subject(near.device, pair.peer))],
        )


def examples() -> Iterator[FleetExample]:
    forgotten = mesh("abc") | {
        "fra-a": finished("a", peered(peered(builder("a"), "c"), "b", age=None, persistent_keepalive=25)),
        "fra-b": finished("b", peered(builder("b"), "c")),
    }
    yield FleetExample(
        name="forgotten on one side", why="b was never told of a", hosts=forgotten, fires=1, severity="critical"
    )
    idle = forgotten | {"fra-a": finished("a", peered(peered(builder("a"), "c"), "b", age=None))}
    yield FleetExample(name="nobody calls", why="provisioning is not through yet", hosts=idle)
    alive = forgotten | {"fra-a": finished("a", peered(builder("a"), "bc", age=180.0, persistent_keepalive=25))}
    yield FleetExample(name="a moment ago", why="a gateway takes peers away that are idle", hosts=alive)
    late = forgotten | {
        "fra-a": finished("a", peered(peered(builder("a"), "c"), "b", age=361.0, persistent_keepalive=25))
    }
    yield FleetExample(name="taken away", why="its last handshake is over for two lives of a key", hosts=late, fires=1)
    yield FleetExample(
        name="a mesh in order", why="everybody knows everybody", hosts=mesh("abc", persistent_keepalive=25)
    )
