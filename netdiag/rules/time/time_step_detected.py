"""What it checks
  Whether the clock jumped: CLOCK_REALTIME moved otherwise than CLOCK_BOOTTIME between the two looks, or a WireGuard
  peer's latest handshake lies in the future.

Why it matters
  After a jump back, WireGuard peers refuse this host's handshakes until its clock has passed the old time (their
  replay protection), leases and tokens live too long, and every age that is computed from the clock is wrong.

Confirm
  date; wg show all latest-handshakes
  journalctl -k, and the log of the time daemon: step, makestep

Fix
  See who set the clock (chronyc tracking, journalctl -t chronyd). Restart WireGuard peers that refuse handshakes, or
  wait. Let the daemon slew: makestep only in the first updates.

Not flagged
  Slewing, which moves the clock by less than a half per cent. A leap second. A suspended machine: CLOCK_BOOTTIME goes
  on. Handshakes less than two seconds ahead. Without a second look only handshakes are judged.

References
  clock_gettime(2), adjtimex(2); WireGuard: protocol, TAI64N timestamps
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="time-step-detected",
    title="the clock jumped",
    severity="warning",
    reads=("clock",),
    consults=("wireguard",),
    explains=("wg-never-handshaked", "wg-handshake-stale"),
)
STEP, AHEAD = 1.5, 2.0
"""Seconds: more than a leap second; more than two clocks read at different moments differ."""


def check(view: HostView) -> Iterator[Draft]:
    clock = view.clock
    jump = 0.0
    if clock.later_realtime is not None and clock.later_boottime is not None:
        jump = (clock.later_realtime - clock.realtime) - (clock.later_boottime - clock.boottime)
    ahead = 0.0
    if view.read_whole("wireguard"):
        at = view.wireguard.at
        peers = [peer for device in view.wireguard.devices for peer in device.peers]
        ahead = max((peer.latest_handshake - at for peer in peers if peer.latest_handshake), default=0.0)
    if abs(jump) > STEP:
        message = f"the clock jumped by {jump:+.1f} s while netdiag looked"
    elif ahead > AHEAD:
        message = f"a WireGuard handshake lies {ahead:.0f} s in the future: the clock was set back"
    else:
        return
    yield RULE.found(
        subject=subject("host"),
        confidence="certain" if abs(jump) > STEP else "likely",
        message=message,
        evidence=[
            ("CLOCK_REALTIME against CLOCK_BOOTTIME", f"{jump:+.3f} s", "clock_gettime between the looks"),
            ("handshake furthest ahead", f"{ahead:.0f} s", "WGPEER_A_LAST_HANDSHAKE_TIME"),
        ],
        confirm=["date", "wg show all latest-handshakes || true; cat /proc/uptime"],
        fix="see who set the clock (chronyc tracking; journalctl -t chronyd), and restart peers that refuse handshakes",
        breaks=[subject("host")],
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, moved: float | None, host: Any = None, **more: Any) -> Example:
        later = {} if moved is None else {"later_realtime": 5001.0 + moved, "later_boottime": 100_001.0}
        tables = (host or HostBuilder()).clock(realtime=5000.0, **later).build()
        return Example(name=name, why=why, tables=tables, fires=fires, **more)

    sure: dict[str, Any] = {"confidence": "certain", "says": ("handshake furthest ahead 0 s",)}
    yield case("set back", "the plain fault", 1, -3600.0, **sure)
    yield case("set back, WireGuard not read", "the clock alone tells", 1, -3600.0, late=("wireguard",), **sure)

    def ahead() -> HostBuilder:
        host = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "A", age=-3.0)
        return host.wg_peer("wg0", "B", age=None)

    less: dict[str, Any] = {"confidence": "likely", "says": ("against CLOCK_BOOTTIME +0.000 s",)}
    yield case("a handshake ahead, one look", "it was set back before", 1, None, ahead(), **less)
    yield case(
        "a handshake ahead, at the mark", "the second and a half is no proof", 1, 1.5, ahead(), confidence="likely"
    )
    yield case("set forward", "the same", 1, 1.6)
    yield case("a leap second", "repeated once", 0, -1.0)
    yield case("slewing", "less than a half per cent", 0, 0.005)
    yield case("at the mark", "a second and a half", 0, 1.5)
    yield case("one look", "nothing to compare with", 0, None)
    for seconds, fires in ((3, 1), (2, 0), (-90, 0)):
        host = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "A", age=-float(seconds))
        yield Example(
            name=f"handshake at {seconds:+} s",
            why="only what lies clearly ahead of the clock tells",
            tables=host.clock().build(),
            fires=fires,
        )
