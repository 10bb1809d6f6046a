"""What it checks
  A BGP neighbour is gone, and BIRD still uses its routes because the neighbour promised to restart gracefully
  ("Neighbor graceful restart active"), though the time that it asked for is over (no "Restart timer" runs).

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
  A restart within the time that the neighbour asked for, which BIRD counts down: told as info. A neighbour without
  graceful restart; sessions that stand again.

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
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-gr-stale",
    title="routes of a neighbour that is gone are still used",
    severity="warning",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("wireguard",),
    explains=("bgp-not-established",),
)
TIMER = "Restart timer"
"""``599.973/-``: BIRD shows it as long as it runs."""


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        row, age = session.protocol, session.age()
        if session.up or not row.neighbor_graceful_restart:
            continue
        kept = sum(channel.imported or 0 for channel in row.channels)
        left = row.other.get(TIMER, "").partition("/")[0]
        words = f"for {age:.0f} s" if age is not None else "for a time that is not known"
        ending = f"graceful restart, for which BIRD waits another {left} s" if left else "long-lived graceful restart"
        yield RULE.found(
            subject=session.subject,
            message=f"{session.neighbour} (session {session.name}) is gone {words}, and {kept} routes of it are kept "
            f"for its {ending}",
            severity="info" if left else "warning",
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


def _case(name: str, why: str, **fields: Any) -> Example:
    expected = {key: fields.pop(key) for key in ("fires", "severity", "subject") if key in fields}
    host: Any = BirdHost().bgp_down(
        "up1", "Socket: Connection closed", **({"neighbor_graceful_restart": True} | fields)
    )
    host.link("eth0").address("eth0", "192.0.2.2/24")
    return Example(name=name, why=why, tables=host.build(), **expected)


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
    yield _case("no graceful restart", "its routes are gone", neighbor_graceful_restart=False, since="11:00:00.000")
    yield _case(
        "stands again", "the flag goes when all is sent", state="up", bgp_state="Established", info="Established"
    )
