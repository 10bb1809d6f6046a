"""What it checks
  A host's clock stands apart from the others' by more than half a second. Both ends of a WireGuard pair note when their
  last handshake was done, each by its own clock: for one host these notes differ from those of at least three peers,
  and of most that it has, by the same time, which is less than a handshake lives.

Why it matters
  From inside, a wrong clock looks like a right one. Certificates are "not yet valid", tokens and leases run out early
  or late, logs and traces of several hosts no longer fit together, and after a step backwards WireGuard peers refuse
  the host's handshakes.

Confirm
  date -u +%s.%N                            (on the host and on a peer at once)
  chronyc tracking; timedatectl
  wg show all latest-handshakes             (both ends of one pair)

Fix
  chronyc makestep (or restart the time daemon). A step disturbs what depends on the clock; after one that goes back,
  WireGuard peers may refuse this host until its clock has caught up.

Not flagged
  Snapshots that were taken minutes apart: when they were taken does not matter here. A pair whose ends speak of
  different handshakes, because one was read later: such differences do not agree with each other, or they are two
  minutes and more, the life of a handshake. Handshakes that were all done within ten seconds: the host was started
  anew, perhaps after its peers were read. Half a second or less: the way there and back is in it. Hosts with less than
  three peers that are heard. A clock that is off by more than that is a notice of the fleet's report (clock-skew).

References
  drivers/net/wireguard/timers.c wg_timers_handshake_complete(); adjtimex(2)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.fleet import FleetView, across, on
from netdiag.index.fleetedges import HANDSHAKE_LIFE
from netdiag.model.finding import Draft, subject
from netdiag.model.snapshot import Tables
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_fleet import builder, finished, peered
from netdiag.rules.build_wireguard import key
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="time-offset-large",
    title="a host's clock stands apart from the others'",
    severity="warning",
    confidence="likely",
    reads=("wireguard", "links"),
    explains=("time-unsynchronised", "time-step-detected"),
    scope="fleet",
)
APART = 0.5
"""Seconds: more than a handshake's way there and back around the world."""
AGREE = 0.3
"""Seconds by which what single peers say may differ from their middle."""
FAR = 100.0
"""Seconds: a pair that talks makes a new handshake each two minutes, and one end may have been read after it."""
SPREAD = 10.0
"""Seconds over which the handshakes must have been done: those of a start are all done at once."""
WITNESSES = 3
"""Peers that must say the same."""


def check(view: FleetView) -> Iterator[Draft]:
    edges = view.edges
    age, back = edges.columns.age, edges.back
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((back >= 0) & (age <= HANDSHAKE_LIFE))
    rows = rows[age[back[rows]] <= HANDSHAKE_LIFE]
    done = edges.columns.done
    ahead = done[rows] - done[back[rows]]
    names = sorted({end.host.name for end in view.end_list})
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of[end.host.name] for end in view.end_list], np.int64)
    host = numbers[edges.columns.near[rows]]
    order = np.argsort(host, kind="stable")
    first, last = (np.searchsorted(host[order], np.arange(len(names)), side) for side in ("left", "right"))
    for number, name in enumerate(names):
        own = order[first[number] : last[number]]
        said, when = ahead[own], done[rows[own]]
        if len(said) < WITNESSES:
            continue
        middle = float(np.median(said))
        agree = np.abs(said - middle) <= AGREE
        agreeing = int(np.count_nonzero(agree))
        if not (APART < abs(middle) < FAR and agreeing >= WITNESSES and agreeing * 2 > len(said)):
            continue
        if float(np.ptp(when[agree])) >= SPREAD:
            yield _finding(name, middle, agreeing, len(said))


def _finding(name: str, middle: float, agreeing: int, asked: int) -> Draft:
    way = "ahead of" if middle > 0 else "behind"
    return RULE.found(
        subject=across((name,), subject("host", name=name)),
        message=f"the clock of {name} is {abs(middle):.1f} s {way} those of its peers: {agreeing} of {asked} "
        "noted their last handshake with it at another time",
        evidence=[
            (f"{name} notes handshakes", f"{middle:+.1f} s", "WGPEER_A_LAST_HANDSHAKE_TIME of both ends, middle"),
            ("peers that agree", f"{agreeing} of {asked}", f"within {AGREE} s of that"),
        ],
        confirm=["date -u", "chronyc tracking", "wg show all latest-handshakes"],
        fix="chronyc makestep  # a step disturbs what depends on the clock",
        touches=[on(name, subject("host", name=name))],
        breaks=[on(name, subject("host")), subject("host", name=name)],
    )


def _noted(tables: Tables, ahead: float, later: dict[str, float]) -> Tables:
    """The same host with a clock that is so many seconds ahead; ``later``: peers that shook hands again since."""

    def peer(row: WireguardPeer) -> WireguardPeer:
        seconds = (row.latest_handshake or 0.0) + ahead + later.get(row.public_key, 0.0)
        return msgspec.structs.replace(row, latest_handshake=seconds)

    def device(row: WireguardDevice) -> WireguardDevice:
        return msgspec.structs.replace(row, peers=tuple(peer(one) for one in row.peers))

    table = tables.wireguard
    moved = msgspec.structs.replace(table, devices=tuple(device(row) for row in table.devices), at=table.at + ahead)
    return replace(tables, wireguard=moved)


def _mesh(letters: str, apart: float, age: float) -> dict[str, Tables]:
    """A mesh whose pairs shook hands one after the other."""
    hosts = {}
    for own in letters:
        host = builder(own)
        for other in letters.replace(own, ""):
            peered(host, other, age=age + apart * (letters.index(own) + letters.index(other)))
        hosts[f"fra-{own}"] = finished(own, host)
    return hosts


def examples() -> Iterator[FleetExample]:
    def fleet(
        ahead: float, letters: str = "abcdef", *, apart: float = 5.0, age: float = 30.0, **later: float
    ) -> dict[str, Tables]:
        """a's clock is ahead; it was read after others had shaken hands with it once more."""
        hosts = _mesh(letters, apart, age)
        again = {key(letter): seconds for letter, seconds in later.items()}
        return hosts | {"fra-a": _noted(hosts["fra-a"], ahead, again)}

    def case(name: str, why: str, hosts: Any, fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires)

    yield case("all is well", "one time everywhere", fleet(0.0))
    yield case("a minute ahead", "the plain fault", fleet(60.0), 1)
    yield case("a minute behind", "the other direction", fleet(-60.0), 1)
    yield case("a second", "one side of the comparison", fleet(0.6), 1)
    yield case("half a second", "the other side: the way there and back is in it", fleet(0.5))
    yield case("a hundred seconds", "the upper end", fleet(99.0), 1)
    yield case("two minutes", "the handshake after that one has the same distance", fleet(100.0))
    yield case("three peers", "enough witnesses", fleet(60.0, "abcd"), 1)
    yield case("two peers", "too few witnesses", fleet(60.0, "abc", apart=12.0))
    yield case("two of three", "too few agree", fleet(60.0, "abcd", apart=12.0, b=20.0))
    yield case("three of six", "no more than half", fleet(60.0, "abcdefg", b=-20.0, c=9.0, d=20.0))
    yield case("three of seven", "less than half", fleet(60.0, "abcdefgh", b=-20.0, c=-9.0, d=9.0, e=20.0))
    yield case("a second between them", "they do not agree", fleet(60.0, b=1.0, c=-1.0, d=2.0))
    last = fleet(60.0, "abcd")
    yield case("three peers, the last by name", "names say nothing", {"fra-z": last.pop("fra-a"), **last}, 1)
    strangers = fleet(60.0, "abcdmnop")
    known = {name: tables for name, tables in strangers.items() if name[-1] in "abcd"}
    yield case("four peers that are not in the fleet", "nobody heard what they say", known, 1)
    started = fleet(0.0, apart=0.1, b=16.6, c=16.6, d=16.6, e=16.6, f=16.6)
    yield case("started anew", "all shook hands again, after the peers were read", started)
    yield case("ten seconds", "the handshakes were done over ten seconds", fleet(60.0, apart=2.5), 1)
    yield case("nine seconds", "and over less", fleet(60.0, apart=2.4))
    later = fleet(0.0, b=20.0, c=9.0)
    yield case("read later", "two pairs have shaken hands again: differences that do not agree", later)
    both = fleet(60.0, b=20.0, c=9.0)
    yield case("both", "the clock is off, and two pairs have shaken hands again", both, 1)
    scattered = fleet(0.0, b=20.0, c=9.0, d=13.0, e=17.0, f=5.0)
    yield case("all later", "every pair has shaken hands again, each at its own time", scattered)
    yield case("idle", "nobody has talked for long: notes of different handshakes", fleet(60.0, age=HANDSHAKE_LIFE + 1))
