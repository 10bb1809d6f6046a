"""What it checks
  A host calls peers that do not answer, and its clock stands before the last handshake that those peers had with it,
  by more than a minute, while nothing keeps its clock. Other hosts' clocks agree with each other.

Why it matters
  Each first message of a handshake carries the sender's time, and a peer takes only what is later than the last one it
  took. A host that boots with an old clock is refused by everybody that has not forgotten it, until its clock has
  caught up, or until the peer itself calls or is restarted.

Confirm
  date; timedatectl                         (on the host, and on a peer)
  wg show all latest-handshakes             (on a peer: later than that date)

Fix
  Set the clock: chronyc makestep, or ntpd -gq; it is at once well again. Or on each peer: wg set IFNAME peer KEY
  remove, and add it anew, which forgets the time and cuts that peer for a moment.

Not flagged
  A clock that is ahead: it harms nobody. A clock that something keeps. A pair that is alive from either side, or that
  nobody uses. A peer whose own clock stands apart from the others.

References
  WireGuard paper, section 5.1 (TAI64N); drivers/net/wireguard/noise.c wg_noise_handshake_consume_initiation()
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.fleet import FleetHost, FleetView, Pair, across, on
from netdiag.model.finding import Draft, subject
from netdiag.model.host import ClockState
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.build_wireguard import NOW
from netdiag.rules.shape import FleetExample, Rule
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="wg-clock-backwards-reject",
    title="a host's clock stands before its last handshakes, and its peers refuse it",
    severity="critical",
    confidence="likely",
    reads=("wireguard", "links", "addresses", "clock"),
    explains=(
        "wg-handshake-stale",
        "wg-never-handshaked",
        "fleet-host-cut",
        "time-unsynchronised",
        "bgp-not-established",
        "bgp-hold-timer-expired",
    ),
    scope="fleet",
)
APART = 60.0
"""Seconds: more than a sweep's error bars and honest clocks."""


def _now(host: FleetHost) -> float:
    table = host.tables.wireguard
    return table.second_at or table.at


def _refused(pair: Pair) -> float | None:
    """By how many seconds the host's clock stands before what the peer remembers of it; None: it is not refused."""
    back = pair.back
    assert pair.far is not None
    assert back is not None
    there = Pair(pair.far, back, pair.near)
    if there.alive or back.latest_handshake is None:
        return None
    behind = back.latest_handshake - _now(pair.near.host)
    return behind if behind > APART else None


def check(view: FleetView) -> Iterator[Draft]:
    found: dict[str, list[tuple[Pair, float]]] = defaultdict(list)
    for pair in view.where((view.edges.back >= 0) & view.edges.dead):
        host = pair.near.host
        if host.tables.clock.synchronised is not True and host.read("clock"):
            behind = _refused(pair)
            if behind is not None:
                found[host.name].append((pair, behind))
    if not found:
        return
    middle = statistics.median(_now(host) for host in view.reading("wireguard") if host.devices)
    for rows in found.values():
        kept = [(pair, behind) for pair, behind in rows if not _ahead(pair, middle)]
        if kept:
            yield _finding(kept)


def _ahead(pair: Pair, middle: float) -> bool:
    """Whether it is rather the peer whose clock stands apart: ahead by more than this host's is behind."""
    assert pair.far is not None
    return _now(pair.far.host) - middle > middle - _now(pair.near.host) + APART


def _finding(rows: list[tuple[Pair, float]]) -> Draft:
    pair, behind = max(rows, key=lambda row: row[1])
    near, far = pair.near, pair.far
    names = sorted({row.far.host.name for row, _ in rows if row.far is not None})
    clock = near.host.tables.clock
    kept = ", ".join(daemon.name for daemon in clock.daemons) or "no time daemon runs"
    return RULE.found(
        subject=across((near.host.name,), subject("host", name=near.host.name)),
        message=f"the clock of {near.host.name} stands {behind:.0f} s before its last handshake with "
        f"{far.host.name if far else ''}: {len(names)} peer{'' if len(names) == 1 else 's'} "
        f"refuse{'s' if len(names) == 1 else ''} its handshakes as replayed",
        evidence=[
            (f"clock of {near.host.name}", f"{_now(near.host):.0f}", "CLOCK_REALTIME when WireGuard was read"),
            (
                f"last handshake of {far.host.name if far else ''} with it",
                f"{_now(near.host) + behind:.0f}",
                "WGPEER_A_LAST_HANDSHAKE_TIME",
            ),
            ("who keeps the clock", kept, "adjtimex(2) STA_UNSYNC"),
        ],
        confirm=["date -u", "wg show all latest-handshakes"],
        fix="chronyc makestep  # or set the clock in another way; the next handshake succeeds",
        touches=[on(near.host.name, subject("host", name=near.host.name))],
        breaks=[
            *(on(near.host.name, peer_subject(near.device, row.peer)) for row, _ in rows),
            *(
                on(row.far.host.name, peer_subject(row.far.device, back))
                for row, _ in rows
                if row.far is not None and (back := row.back) is not None
            ),
            subject("host", name=near.host.name),
        ],
    )


def examples() -> Iterator[FleetExample]:
    def fleet(
        behind: float, *, sync: bool = False, alive: bool = False, keepalive: int = 25, calls: str = "ac"
    ) -> dict[str, Tables]:
        """b was booted with a clock that stands before what a and c remember."""
        b = finished("b", peered(builder("b"), calls, age=None, persistent_keepalive=keepalive))
        clock = ClockState(state=0 if sync else 5, status=0 if sync else 0x40)
        wireguard = msgspec.structs.replace(b.wireguard, at=NOW - 500 - behind)
        hosts = {"fra-b": replace(b, clock=clock, wireguard=wireguard)}
        for own, other in (("a", "c"), ("c", "a")):
            host = peered(builder(own), "b", age=30.0 if alive else 500.0)
            hosts[f"fra-{own}"] = finished(own, peered(host, other))
        return hosts

    def case(name: str, why: str, hosts: Any, fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts=hosts, fires=fires)

    yield case("an hour behind", "booted without a clock", fleet(3600), 1)
    yield case("a minute and more", "one side of the comparison", fleet(APART + 1), 1)
    yield case("a minute", "the other side", fleet(APART))
    yield case("ahead", "forward skew is harmless", fleet(-3600))
    yield case("kept", "its clock is right; the snapshot may be old", fleet(3600, sync=True))
    yield case("alive", "the peer called by itself", fleet(3600, alive=True))
    yield case("nobody calls", "an idle pair", fleet(3600, keepalive=0))
    read_twice = fleet(APART + 1)
    twice = msgspec.structs.replace(read_twice["fra-b"].wireguard, second_at=NOW - 500 - APART - 1 + 12, seconds=12.0)
    read_twice["fra-b"] = replace(read_twice["fra-b"], wireguard=twice)
    yield case("read for twelve seconds", "its clock went on", read_twice)
    two = {name: tables for name, tables in fleet(3600, calls="acp").items() if name != "fra-c"}
    yield case("two hosts", "nobody else has a clock, and other keys are of nobody", two, 1)
    plain = {f"fra-web{number}": HostBuilder().build() for number in range(6)}
    yield case("beside hosts without WireGuard", "when they were read is not told", fleet(3600) | plain, 1)
    new = fleet(3600) | {
        name: finished(name[-1], peered(builder(name[-1]), "b", age=None)) for name in ("fra-a", "fra-c")
    }
    yield case("never met", "nothing is remembered", new)
    for ahead, fires in ((600 + APART, 1), (601 + APART, 0)):
        apart = {name: tables for name, tables in fleet(100, calls="a").items() if name != "fra-c"} | mesh("cd")
        remembers = finished("a", peered(builder("a"), "b", age=500 - ahead))
        apart["fra-a"] = replace(remembers, wireguard=msgspec.structs.replace(remembers.wireguard, at=NOW + ahead))
        yield case(f"ten minutes behind, and the peer {ahead:.0f} s ahead of all", "whose clock is wrong", apart, fires)
