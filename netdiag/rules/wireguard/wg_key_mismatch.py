"""What it checks
  A host calls a peer at the address and port on which a device of another host listens, by a key that no host of the
  fleet has, while that device's real key is not among the host's peers.

Why it matters
  The far host was reinstalled or its key was rotated, and this entry was not. WireGuard drops an initiation that is
  made for another key without a word and without a counter: MAC1 does not match.

Confirm
  wg show IFNAME public-key                 (on the far host)
  wg show IFNAME endpoints                  (on the near host: which key is called there)

Fix
  On the near host: wg set IFNAME peer NEW allowed-ips PREFIXES endpoint ADDRESS:PORT, then wg set IFNAME peer OLD
  remove. Between the two commands the prefixes move to the new key.

Not flagged
  A rotation under way: both keys are among the peers. A pair with a fresh handshake, unless the far host calls by its
  new key already and is not answered. An entry that nobody uses. An
  endpoint at which no device of the fleet listens.

References
  drivers/net/wireguard/cookie.c wg_cookie_validate_packet(); WireGuard paper, section 5.4.4
"""

from collections.abc import Iterator

from netdiag.index.fleet import End, FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered, underlay
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, endpoint_word, peer_subject

RULE = Rule(
    id="wg-key-mismatch",
    title="a peer is called by a key that it does not have",
    severity="critical",
    reads=("wireguard", "links", "addresses"),
    explains=(
        "wg-never-handshaked",
        "wg-handshake-stale",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "fleet-host-cut",
        "wg-peer-missing-reciprocal",
    ),
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    listening: dict[tuple[str | None, int | None], End] = {}
    for end in view.ends.values():
        for row in end.host.tables.addresses:
            if row.scope == 0 and row.ifindex != end.link.ifindex:
                listening.setdefault((row.local, end.card.listen_port), end)
    callers: dict[tuple[str, str], list[Pair]] = {}
    ends: dict[str, End] = {}
    unanswered = _unanswered(view)
    for pair in view.where((view.edges.far < 0) & (view.edges.dead | bool(unanswered))):
        far = listening.get((pair.peer.endpoint, pair.peer.endpoint_port))
        if far is None or far.host is pair.near.host:
            continue
        real = str(far.device.public_key)
        if not pair.dead and (real, str(pair.near.device.public_key)) not in unanswered:
            continue
        if real not in {peer.public_key for peer in pair.near.device.peers}:
            ends[real] = far
            callers.setdefault((real, pair.peer.public_key), []).append(pair)
    for (real, _), pairs in callers.items():
        yield _finding(ends[real], pairs)


def _unanswered(view: FleetView) -> set[tuple[str, str]]:
    """Keys (of the caller, of the called) where the called has no entry for its caller: that one was rekeyed a moment
    ago, and handshakes of before count for three minutes."""
    edges = view.edges
    pairs = view.where((edges.far >= 0) & (edges.back < 0) & edges.dead)
    return {(str(pair.near.device.public_key), pair.peer.public_key) for pair in pairs}


def _finding(far: End, pairs: list[Pair]) -> Draft:
    pair, near, real = pairs[0], pairs[0].near, str(far.device.public_key)
    names = sorted({row.near.host.name for row in pairs})
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    allowed = ",".join(pair.peer.allowed_ips)
    own = {str(row.near.device.public_key) for row in pairs}
    return RULE.found(
        subject=across(
            (far.host.name, *names),
            subject("host-pair", ifname=near.device.ifname, public_key=pair.peer.public_key),
        ),
        message=f"{who} {'calls' if len(names) == 1 else 'call'} {far.host.name} by key {pair.peer.public_key}, but "
        f"{far.device.ifname} there has {real}",
        evidence=[
            (f"public key of {far.device.ifname} on {far.host.name}", real, "WGDEVICE_A_PUBLIC_KEY"),
            (f"peer on {near.host.name} at {endpoint_word(pair.peer)}", pair.peer.public_key, "WGPEER_A_PUBLIC_KEY"),
        ],
        confirm=[
            f"wg show {quoted(far.device.ifname)} public-key",
            f"wg show {quoted(near.device.ifname)} endpoints",
        ],
        fix=f"wg set {quoted(near.device.ifname)} peer {quoted(real)} allowed-ips {allowed or 'PREFIXES'} endpoint "
        f"{endpoint_word(pair.peer)}  # on {who}; then remove the old key",
        breaks=[
            *(on(row.near.host.name, peer_subject(row.near.device, row.peer)) for row in pairs),
            *(on(far.host.name, peer_subject(far.device, peer)) for peer in far.device.peers if peer.public_key in own),
            on(far.host.name, device_subject(far.device)),
            subject("host", name=far.host.name),
            *(subject("host", name=f"peer {endpoint_word(row.peer)}") for row in pairs),
        ],
    )


def examples() -> Iterator[FleetExample]:
    dead = {"age": None, "persistent_keepalive": 25, "endpoint": underlay("b")}
    hosts = mesh("bc") | {"fra-a": finished("a", peered(builder("a"), "p", **dead))}
    about = across(("fra-a", "fra-b"), subject("host-pair", ifname="wg0"))
    yield FleetExample(name="reinstalled", why="b has a new key", hosts=hosts, fires=1, subject=about)
    two = hosts | {"fra-c": finished("c", peered(peered(builder("c"), "p", **dead), "a"))}
    yield FleetExample(name="called by two", why="one cause is one finding", hosts=two, fires=1)
    fresh = dead | {"age": 20.0}
    calls = finished("b", peered(peered(builder("b"), "c"), "a", age=None, persistent_keepalive=25))
    rekeyed = mesh("bc") | {"fra-a": finished("a", peered(builder("a"), "p", **fresh))}
    yield FleetExample(name="a handshake of before", why="the old key may still be the far one's", hosts=rekeyed)
    yield FleetExample(
        name="rekeyed a moment ago",
        why="the far host calls by its new key and is not known",
        hosts=rekeyed | {"fra-b": calls},
        fires=1,
        subject=about,
    )
    both = hosts | {"fra-a": finished("a", peered(peered(builder("a"), "p", **dead), "b"))}
    yield FleetExample(name="rotation under way", why="the new key is there as well", hosts=both)
    idle = hosts | {"fra-a": finished("a", peered(builder("a"), "p", **(dead | {"persistent_keepalive": 0})))}
    yield FleetExample(name="an entry nobody uses", why="nothing is sent to it", hosts=idle)
    elsewhere = hosts | {"fra-a": finished("a", peered(builder("a"), "p", **(dead | {"endpoint": "203.0.113.5"})))}
    yield FleetExample(name="not of this fleet", why="who listens there is not known", hosts=elsewhere)
    yield FleetExample(name="a mesh in order", why="keys fit", hosts=mesh("abc"))
    for endpoint, why in (
        (underlay("a"), "it calls itself: whose entry this was is not known"),
        ("10.64.0.2", "an address inside the mesh is no endpoint"),
        ("fe80::b", "every link has such an address"),
    ):
        near = builder("b")
        near.address("eth0", "fe80::b/64")
        odd = {"fra-a": finished("a", peered(builder("a"), "p", **(dead | {"endpoint": endpoint})))}
        odd["fra-b"] = finished("b", peered(near, "c"))
        yield FleetExample(name=f"at {endpoint}", why=why, hosts=mesh("bc") | odd)
    other = mesh("ac") | {"fra-b": finished("b", peered(builder("b"), "a", **(dead | {"endpoint": underlay("c")})))}
    yield FleetExample(name="the key of a, at the address of c", why="the key is somebody's", hosts=other)
