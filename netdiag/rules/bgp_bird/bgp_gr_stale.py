"""What it checks
  A BGP neighbour is gone, and BIRD still uses its routes because the neighbour promised to restart gracefully
  ("Neighbor graceful restart active"), though the time that it asked for is over (no "Restart timer" runs), or though
  the neighbour itself does not answer any more and routes in the kernel lead to it: then it is critical at once.

Why it matters
  Within the restart time that is the point: a daemon comes back and no packet is lost. But a host that is dead, or
  whose daemon does not come back, gets traffic all the while, and with long-lived graceful restart (RFC 9494) for
  hours: nothing withdraws its routes.

Confirm
  birdc show protocols all NAME
  birdc show route protocol NAME
  ping -c3 NEIGHBOUR

Fix
  Bring the neighbour's daemon back. To give its routes up now: birdc restart NAME; traffic takes the next best route
  at once. Shorter restart times ("graceful restart time", "long lived stale time") limit it next time.

Not flagged
  A restart within the time that the neighbour asked for, which BIRD counts down: told as info, as long as the neighbour
  answers ARP or neighbour discovery, or no route leads to it. A neighbour without graceful restart; sessions that stand
  again.

References
  RFC 4724, RFC 9494; bgp_handle_graceful_restart(), bgp_graceful_restart_timeout() and bgp_show_proto_info() in
  proto/bgp/bgp.c of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import bird_name, sessions, touched, way
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.gonepeers import NO_WAY, as_cause, unreachable
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-gr-stale",
    title="routes of a neighbour that is gone are still used",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("wireguard", "neighbours"),
    explains=("bgp-not-established", "neigh-gateway-failed"),
)
TIMER = "Restart timer"
"""``599.973/-``: BIRD shows it as long as it runs."""


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        row, age = session.protocol, session.age()
        if session.up or not row.neighbor_graceful_restart:
            continue
        kept = sum(channel.imported or 0 for channel in row.channels)
        silent = unreachable(view, session)
        left = row.other.get(TIMER, "").partition("/")[0]
        words = f"for {age:.0f} s" if age is not None else "for a time that is not known"
        ending = f"graceful restart, for which BIRD waits another {left} s" if left else "long-lived graceful restart"
        routes = "1 route of it is" if kept == 1 else f"{kept} routes of it are"
        lost = f": {silent}, and what goes there is lost" if silent else ""
        draft = RULE.found(
            subject=session.subject,
            message=f"{session.neighbour} (session {session.name}) is gone {words}, and {routes} kept for its {ending}"
            + lost,
            severity="critical" if silent else "info" if left else "warning",
            evidence=[
                ("neighbour's graceful restart", "active", session.source),
                (TIMER, f"{left} s" if left else "not running", session.source),
                ("session in this state since", row.since or "unknown", session.source),
                ("routes kept", kept, session.source),
            ],
            confirm=[session.confirm, session.command(f"show route protocol {bird_name(session.name)} count")],
            fix=session.command(f"restart {bird_name(session.name)}"),
            touches=touched(view, session, way(view, session)),
        )
        yield as_cause(view, session, draft)


def _case(name: str, why: str, *, error: str = "Socket: Connection closed", world: str = "", **fields: Any) -> Example:
    expected = {key: fields.pop(key) for key in ("fires", "severity", "subject", "says") if key in fields}
    host: Any = BirdHost().bgp_down("up1", error, **({"neighbor_graceful_restart": True} | fields))
    host.link("eth0").address("eth0", "192.0.2.2/24")
    _world(host, world)
    return Example(name=name, why=why, tables=host.build(), **expected)


def _world(host: Any, words: str) -> None:
    """What the kernel knows: ``failed route``, and the like."""
    state = next((word for word in words.split() if word in ("failed", "incomplete", "reachable")), None)
    if state is not None:
        age = 0.5 if "fresh" in words else 5.0
        host.neighbour("192.0.2.1", dev="eth0", state=state, updated=age, confirmed=20.0)
    if "route" in words:
        host.route("10.2.0.0/16", via="192.0.2.1", dev="eth0", protocol=12)
    if "share" in words:
        host.link("eth1").address("eth1", "198.51.100.2/24")
        hops = [host.hop("eth0", "192.0.2.1"), host.hop("eth1", "198.51.100.1")]
        host.route("10.3.0.0/16", hops=hops, protocol=12)
    if "elsewhere" in words:
        host.route("10.4.0.0/16", via="192.0.2.9", dev="eth0", protocol=12)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1")
    for since in ("11:59:55.000", "11:00:00.000", "Jan 2"):
        yield _case(
            f"waits, since {since}",
            "the neighbour asked for that time",
            since=since,
            other={TIMER: "0.500/-"},
            fires=1,
            severity="info",
            subject=about,
        )
        yield _case(
            f"waits no more, since {since}", "long-lived now", since=since, fires=1, severity="warning", subject=about
        )
    wait: dict[str, Any] = {"since": "11:59:55.000", "other": {TIMER: "110.5/-"}, "fires": 1, "subject": about}
    lost = ("graceful restart, for which BIRD waits another 110.5 s: it does not answer ARP, and what goes there is",)
    for world, error, severity in (
        ("failed route", "Socket: Connection closed", "critical"),
        ("incomplete share", "Socket: Connection closed", "critical"),
        ("incomplete fresh route", NO_WAY, "critical"),
        ("incomplete fresh route", "Socket: Connection closed", "info"),
        ("reachable route", NO_WAY, "info"),
        ("failed", "Socket: Connection closed", "info"),
        ("failed elsewhere", "Socket: Connection closed", "info"),
    ):
        why = "nobody is there" if severity == "critical" else "it may be there, or nothing goes there"
        says = lost if severity == "critical" else ()
        yield _case(f"{world}, {error}", why, error=error, world=world, severity=severity, says=says, **wait)
    far = {"neighbor_address": "203.0.113.9"}
    yield _case("behind a gateway", "it is not asked for here", world="failed route", severity="info", **far, **wait)
    yield _case("no graceful restart", "its routes are gone", neighbor_graceful_restart=False, since="11:00:00.000")
    yield _case(
        "stands again", "the flag goes when all is sent", state="up", bgp_state="Established", info="Established"
    )
