"""What it checks
  Between two looks at both ends of a WireGuard pair with fresh handshakes, one end sent data to the other and the other
  received nothing, not even keepalives.

Why it matters
  The handshake is fine, so every check of it is green, and what is sent is lost: a filter or a policer on the way that
  lets short packets through, a table of translations that maps to the wrong place, an MTU that fits one way only.

Confirm
  wg show IFNAME transfer                   (twice, on both hosts)
  tcpdump -ni any udp port PORT             (on both: leaves here, does not arrive there)

Fix
  Follow the encrypted packets from the sender to the receiver; look at what drops by size (mtr -s) and at conntrack of
  whatever translates between them.

Not flagged
  Idle pairs and those that exchange keepalives and handshakes only. Honest one-way traffic: the receiver's counter
  rises. Counters that went back. Ends that were not both read twice.

References
  WireGuard paper, section 6.5 (passive keepalive: whoever receives data answers within ten seconds)
"""

from collections.abc import Iterator

from netdiag.index.fleet import FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.rules.build_fleet import builder, finished, peered
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-oneway-data",
    title="one end of a WireGuard pair sends, and the other does not hear it",
    severity="critical",
    confidence="likely",
    reads=("wireguard", "links", "addresses"),
    explains=("wg-handshake-stale", "bgp-hold-timer-expired"),
    scope="fleet",
)
DATA = 2000
"""Bytes: more than keepalives and handshakes of a minute."""


def check(view: FleetView) -> Iterator[Draft]:
    edges = view.edges
    columns, back = edges.columns, edges.back
    lost = (back >= 0) & edges.alive & edges.moved & (columns.sent >= DATA)
    lost &= edges.alive[back] & edges.moved[back] & (columns.heard[back] == 0)
    forward = lost.nonzero()[0]
    for pair, other in zip(view.at(forward.tolist()), view.at(back[forward].tolist()), strict=True):
        yield _finding(pair, other)


def _finding(pair: Pair, back: Pair) -> Draft:
    near, far = pair.near, back.near
    sent, heard = (pair.moved or (0, 0))[0], (back.moved or (0, 0))[1]
    return RULE.found(
        subject=across(
            (near.host.name, far.host.name),
            subject("host-pair", ifname=near.device.ifname, public_key=pair.peer.public_key),
        ),
        message=f"{near.host.name} sent {sent} bytes to {far.host.name} by {near.device.ifname}, and "
        "none of them arrived",
        evidence=[
            (f"sent on {near.host.name} between two looks", sent, "WGPEER_A_TX_BYTES"),
            (f"received on {far.host.name} between two looks", heard, "WGPEER_A_RX_BYTES"),
            ("last handshake", f"{pair.age or 0:.0f} s ago", "WGPEER_A_LAST_HANDSHAKE_TIME"),
        ],
        confirm=[f"wg show {quoted(near.device.ifname)} transfer", f"wg show {quoted(far.device.ifname)} transfer"],
        fix=f"find what drops UDP from {near.host.name} to {far.host.name} on the way",
        breaks=[
            on(near.host.name, peer_subject(near.device, pair.peer)),
            on(far.host.name, peer_subject(far.device, back.peer)),
        ],
    )


def examples() -> Iterator[FleetExample]:
    def fleet(tx: int, rx: int, *, back: int = 0, age: float = 30.0) -> dict[str, object]:
        a = peered(builder("a"), "b", age=age).second_look("wg0", "b", tx=tx, rx=back)
        b = peered(builder("b"), "a", age=age).second_look("wg0", "a", tx=back, rx=rx)
        return {"fra-a": finished("a", a), "fra-b": finished("b", b)}

    def case(name: str, why: str, hosts: dict[str, object], fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires)  # type: ignore[arg-type]

    yield case("lost on the way", "the handshake is fresh, the data is not there", fleet(DATA, 0, back=64), 1)
    yield case("a little less", "keepalives and a handshake", fleet(DATA - 1, 0))
    yield case("honest one-way traffic", "it arrives", fleet(90_000, 90_000))
    yield case("some arrives", "loss has other rules", fleet(90_000, 32))
    yield case("dead keys", "wg-handshake-stale speaks", fleet(90_000, 0, age=181.0))
    idle = {"fra-a": finished("a", peered(builder("a"), "b")), "fra-b": finished("b", peered(builder("b"), "a"))}
    yield case("one look", "nothing is known of movement", dict(idle))
    back = peered(builder("b"), "a").second_look("wg0", "a", tx=DATA)
    there = peered(builder("a"), "b").second_look("wg0", "b")
    yield case(
        "lost the other way", "each way is for itself", {"fra-a": finished("a", there), "fra-b": finished("b", back)}, 1
    )
    phone = peered(peered(builder("a"), "b"), "p").second_look("wg0", "b").second_look("wg0", "p", tx=90_000)
    quiet = peered(builder("b"), "a").second_look("wg0", "a")
    yield case(
        "to a phone",
        "the other end is none of the fleet",
        {"fra-a": finished("a", phone), "fra-b": finished("b", quiet)},
    )
