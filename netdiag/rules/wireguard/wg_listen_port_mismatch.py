"""What it checks
  A host calls a peer at an address that the peer's host has, but at another port than the peer's device listens on.

Why it matters
  Nobody listens there: the initiations are dropped, or answered by an ICMP error that WireGuard ignores. A listen port
  that was not set in the configuration is drawn anew at every start of the interface.

Confirm
  wg show IFNAME listen-port                (on the far host)
  wg show IFNAME endpoints                  (on the near host)

Fix
  On the far host: wg set IFNAME listen-port PORT, and in its configuration; or on the near ones wg set IFNAME peer KEY
  endpoint ADDRESS:PORT. Moving the port cuts all peers until they know it.

Not flagged
  An address that the far host does not have itself: there is a translation between, with a port of its own. A pair with
  a fresh handshake: packets come from the real port and the endpoint follows them. A pair that nobody uses.

References
  drivers/net/wireguard/socket.c wg_socket_set_peer_endpoint_from_skb()
"""

from collections import defaultdict
from collections.abc import Iterator

from netdiag.index.fleet import FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-listen-port-mismatch",
    title="a peer is called at a port on which it does not listen",
    severity="critical",
    reads=("wireguard", "links", "addresses"),
    explains=(
        "wg-never-handshaked",
        "wg-handshake-stale",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "fleet-host-cut",
        "wg-listen-port-random",
    ),
    scope="fleet",
)


def check(view: FleetView) -> Iterator[Draft]:
    told: dict[str, Draft] = {}
    calls: dict[tuple[str, int | None], list[Pair]] = defaultdict(list)
    dead = view.where(view.edges.dead)
    for pair in dead:
        calls[pair.peer.public_key, pair.peer.endpoint_port].append(pair)
    for pair in dead:
        far = pair.far
        if far is None or not far.card.listen_port or pair.peer.endpoint_port == far.card.listen_port:
            continue
        if f"{far.card.public_key} {pair.peer.endpoint_port}" in told:
            continue
        if pair.peer.endpoint not in {row.local for row in far.host.tables.addresses}:
            continue
        callers = calls[pair.peer.public_key, pair.peer.endpoint_port]
        names = sorted({p.near.host.name for p in callers})
        told.setdefault(
            f"{far.card.public_key} {pair.peer.endpoint_port}",
            RULE.found(
                subject=across((far.host.name, *names), subject("wireguard-interface", ifname=far.device.ifname)),
                message=f"{far.device.ifname} of {far.host.name} listens on {far.device.listen_port}, and "
                f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "
                f"{'calls' if len(names) == 1 else 'call'} it at {pair.peer.endpoint_port}",
                evidence=[
                    (f"listen port on {far.host.name}", far.device.listen_port, "WGDEVICE_A_LISTEN_PORT"),
                    (
                        f"endpoint on {pair.near.host.name}",
                        f"{pair.peer.endpoint}:{pair.peer.endpoint_port}",
                        "WGPEER_A_ENDPOINT",
                    ),
                ],
                confirm=[f"wg show {quoted(far.device.ifname)} listen-port", "wg show all endpoints"],
                fix=f"wg set {quoted(far.device.ifname)} listen-port {pair.peer.endpoint_port}  # on {far.host.name}",
                breaks=[
                    *(on(p.near.host.name, peer_subject(p.near.device, p.peer)) for p in callers),
                    subject("host", name=far.host.name),
                ],
            ),
        )
    yield from told.values()


def examples() -> Iterator[FleetExample]:
    def fleet(port: int, **fields: object) -> dict[str, object]:
        calls = finished("a", peered(builder("a"), "b", **({"age": None, "persistent_keepalive": 25} | fields)))
        return {"fra-a": calls, "fra-b": finished("b", peered(builder("b"), "a"), port=port)}

    def case(name: str, why: str, hosts: dict[str, object], fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires)  # type: ignore[arg-type]

    yield case("another port", "it was drawn anew at the restart", fleet(39123), 1)
    yield case("the same port", "as it must be", fleet(51820))
    yield case("fresh handshake", "the endpoint follows the packets", fleet(39123, age=100.0))
    yield case("behind a translation", "the port there is another one", fleet(39123, endpoint="203.0.113.9"))
    yield case("nobody calls", "no keepalive and nothing sent", fleet(39123, persistent_keepalive=0))
    several = mesh("cd") | {
        name: finished(name[-1], peered(builder(name[-1]), "b", age=None, persistent_keepalive=25))
        for name in ("fra-a", "fra-c")
    }
    several["fra-b"] = finished("b", peered(builder("b"), "ac"), port=39123)
    yield case("two call", "one cause is one finding", dict(several), 1)
    first = {"fra-a": finished("a", peered(builder("a"), "b"), port=39123)}
    first["fra-b"] = finished("b", peered(builder("b"), "a", age=None, persistent_keepalive=25))
    yield case("the first host by name", "any host may have it", dict(first), 1)
    unknown = peered(builder("a"), "p", age=None, persistent_keepalive=25)
    yield case("a key of nobody", "nothing is known of its port", {"fra-a": finished("a", unknown)})
    yield case("no port yet", "the device is being set up", fleet(0))
