"""What it checks
  A BGP session of BIRD is down because one side expects another AS number than the other side has. "BGP Error: Bad
  peer AS": the neighbour's OPEN brought another number than is configured here. "Received: Bad peer AS": the
  neighbour refused ours.

Why it matters
  The session cannot come up until one of the two configurations is changed; BIRD tries again after its error wait
  time (a minute, then up to five). Nothing is learnt from the neighbour and nothing announced to it. A peer that
  renumbered, a session with the wrong neighbour's number, or an address that now belongs to another router look like
  this.

Confirm
  birdc show protocols all NAME
  tcpdump -vni any host NEIGHBOUR and tcp port 179, which shows the number in the OPEN message

Fix
  "neighbor ADDRESS as NUMBER" or "local as NUMBER" in BIRD's configuration, whichever is wrong, then birdc configure.
  That restarts this one session. Ask the other side for their number rather than trying some: on the far side it may
  be ours that is wrong.

Not flagged
  Sessions that stand, or that are switched off: BIRD then has no error. Other refusals, such as a BGP identifier that
  both sides have ("Bad BGP identifier").

References
  RFC 4271 section 6.2 (OPEN message error, Bad Peer AS), proto/bgp/packet.c bgp_rx_open() of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import (
    Session,
    bad_as,
    down_severity,
    loss_words,
    sessions,
)
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-bad-as",
    title="a BGP session is refused for a wrong AS number",
    severity="critical",
    reads=("bird",),
    explains=("bgp-not-established", "bgp-flapping", "route-default-missing"),
    own_cause=True,
)


def reason(session: Session) -> str:
    """Who refuses whom, with the numbers that are known here."""
    row = session.protocol
    if session.error.startswith("Received"):
        ours = f" {row.local_as}" if row.local_as is not None else ""
        return f"the neighbour refuses our AS number{ours}"
    theirs = f"{row.neighbor_as}, as configured here" if row.neighbor_as is not None else "the one configured here"
    return f"the neighbour's AS number is not {theirs}"


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        if not bad_as(session):
            continue
        row = session.protocol
        refused = session.error.startswith("Received")
        wrong = "local as" if refused else f"neighbor {row.neighbor_address or 'ADDRESS'} as"
        default = "::/0" if ":" in (row.neighbor_address or "") else "0.0.0.0/0"
        severity = down_severity(view, session)
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} is refused: {reason(session)}; "
            f"{loss_words(view, session)}",
            evidence=[
                ("last error", session.error, session.source),
                ("BGP state", session.state, session.source),
                ("neighbour AS, local AS", f"{row.neighbor_as}, {row.local_as or 'not told'}", session.source),
            ],
            confirm=[session.confirm],
            fix=f"{session.command('configure')}  # after correcting '{wrong} NUMBER' of {session.name} in bird.conf",
            severity=severity,
            breaks=[subject("route", dst=default, table=254)] if severity == "critical" else [],
        )


LOCAL, REMOTE = "BGP Error: Bad peer AS", "Received: Bad peer AS"
ABOUT = subject("bgp-session", name="up1")


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    other = {"neighbor_address": "192.0.2.9"}
    yield _case(
        "their number is not what we expect",
        "found out here, from their OPEN",
        BirdHost().bgp_down("up1", LOCAL, bgp_state="Idle"),
        fires=1,
        subject=ABOUT,
        severity="critical",
        confidence="certain",
        says=("the neighbour's AS number is not 65002, as configured here",),
    )
    yield _case(
        "our number is not what they expect",
        "found out there, told in a NOTIFICATION",
        BirdHost().bgp_down("up1", REMOTE),
        fires=1,
        subject=ABOUT,
        severity="critical",
        says=("the neighbour refuses our AS number 65001",),
    )
    yield _case(
        "IPv6 neighbour on a passive session",
        "who calls does not matter for who refuses",
        BirdHost().bgp_down("up1", LOCAL, bgp_state="Passive", neighbor_address="2001:db8::1"),
        fires=1,
        severity="critical",
    )
    yield _case(
        "shut down after it",
        "disable after error: state down, with the error",
        BirdHost().bgp_down("up1", LOCAL, bgp_state="Down", state="down"),
        fires=1,
    )
    yield _case(
        "a second after BIRD's start",
        "a wrong number does not get right with time",
        BirdHost().bgp_down("up1", LOCAL, since="11:59:59.000"),
        fires=1,
        severity="critical",
    )
    yield _case(
        "BIRD 1.6 does not tell our number",
        "it has no such line for a session that is down",
        BirdHost().bgp_down("up1", REMOTE, local_as=None),
        fires=1,
        says=("refuses our AS number;",),
    )
    yield _case(
        "error in the info column only",
        "the two come from one place",
        BirdHost().bgp_down("up1", LOCAL, last_error=None),
        fires=1,
    )
    yield _case(
        "one of two",
        "the other session carries the same routes",
        BirdHost().bgp_down("up1", LOCAL).bgp("up2", **other),
        fires=1,
        severity="warning",
        says=("1 other session still up (up2)",),
    )
    yield _case("established", "BIRD forgets the error", BirdHost().bgp("up1"))
    yield _case("established, error still told", "what stands is well", BirdHost().bgp("up1", last_error=LOCAL))
    yield _case("switched off", "no error, no finding", BirdHost().bgp_down("up1", bgp_state="Down", state="down"))
    yield _case(
        "another error", "the same message, another fault", BirdHost().bgp_down("up1", "BGP Error: Bad BGP identifier")
    )
    yield _case("refused connection", "nobody is there", BirdHost().bgp_down("up1", "Socket: Connection refused"))
    yield _case(
        "no BGP", "other protocols have no AS", BirdHost().protocol("kernel1", "Kernel", info=LOCAL, state="start")
    )
