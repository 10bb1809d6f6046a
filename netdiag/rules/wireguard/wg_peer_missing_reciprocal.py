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

from collections import defaultdict
from collections.abc import Iterator

from netdiag.index.fleet import FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-peer-missing-reciprocal",
    title="a host does not know a peer that calls it",
    severity="critical",
    reads=("wireguard", "links", "addresses"),
    explains=(
        "wg-never-handshaked",
        "wg-handshake-stale",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "fleet-host-cut",
        "wg-oneway-data",
    ),
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    edges = view.edges
    left = view.where((edges.far >= 0) & (edges.back < 0) & edges.dead)
    while left:
        by_end: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in left:
            by_end["does not know", pair.peer.public_key].append(pair)
            by_end["is not known", str(pair.near.device.public_key)].append(pair)
        most = max(by_end.values(), key=len)
        yield _finding(most)
        told = {id(pair) for pair in most}
        left = [pair for pair in left if id(pair) not in told]


def _finding(pairs: list[Pair]) -> Draft:
    """Of a host that several call and that knows none of them, or that calls several and is known to none."""
    pair, near, far = pairs[0], pairs[0].near, pairs[0].far or pairs[0].near
    own = str(near.device.public_key)
    callers = sorted({row.near.host.name for row in pairs})
    called = sorted({row.far.host.name for row in pairs if row.far is not None})
    prefixes = ",".join(f"{row.local}/{128 if ':' in row.local else 32}" for row in near.addresses)
    one = len(callers) == 1
    return RULE.found(
        subject=across((*callers, *called), subject("host-pair", ifname=far.device.ifname, public_key=own)),
        message=f"{_named(called)} {'has' if len(called) == 1 else 'have'} no peer entry for {_named(callers)}, which "
        f"{'calls' if one else 'call'} {'it' if len(called) == 1 else 'them'} and {'hears' if one else 'hear'} nothing",
        evidence=[
            (f"public key of {near.device.ifname} on {near.host.name}", own, "WGDEVICE_A_PUBLIC_KEY"),
            (f"peers of {far.device.ifname} on {far.host.name}", len(far.device.peers), "WGDEVICE_A_PEERS"),
            (f"endpoint that {near.host.name} calls", pair.peer.endpoint or "", "WGPEER_A_ENDPOINT"),
        ],
        confirm=[f"wg show {quoted(far.device.ifname)} peers | grep -c {quoted(own)}"],
        fix=f"wg set {quoted(far.device.ifname)} peer {quoted(own)} allowed-ips {prefixes or 'PREFIXES'}"
        f"  # on {_named(called)}",
        touches=[on(row.near.host.name, peer_subject(row.near.device, row.peer)) for row in pairs],
        breaks=[
            *(on(row.near.host.name, peer_subject(row.near.device, row.peer)) for row in pairs),
            *(subject("host", name=name) for name in ((*callers, *called) if len(pairs) > 1 else ())),
        ],
    )


def _named(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def examples() -> Iterator[FleetExample]:
    forgotten = mesh("abc") | {
        "fra-a": finished("a", peered(peered(builder("a"), "c"), "b", age=None, persistent_keepalive=25)),
        "fra-b": finished("b", peered(builder("b"), "c")),
    }
    yield FleetExample(
        name="forgotten on one side", why="b was never told of a", hosts=forgotten, fires=1, severity="critical"
    )
    none = forgotten | {
        "fra-c": finished("c", peered(peered(builder("c"), "a"), "b", age=None, persistent_keepalive=25)),
        "fra-b": finished("b", builder("b")),
    }
    yield FleetExample(name="it knows nobody", why="one cause is one finding", hosts=none, fires=1)
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
    unknown = mesh("bc")
    unknown["fra-d"] = finished("d", peered(builder("d"), "p", age=None, persistent_keepalive=25))
    yield FleetExample(name="a key of nobody", why="its host was not collected", hosts=unknown)
    first = mesh("ac") | {"fra-b": finished("b", peered(builder("b"), "a", age=None, persistent_keepalive=25))}
    yield FleetExample(name="the first host by name", why="any host may have forgotten one", hosts=first, fires=1)
    both = mesh("ab", age=None, persistent_keepalive=25)
    yield FleetExample(name="both know each other", why="what keeps them apart is something else", hosts=both)
