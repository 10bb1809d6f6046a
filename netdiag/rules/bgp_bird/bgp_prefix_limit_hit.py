"""What it checks
  A route limit of a BGP session has been reached. With action restart or disable BIRD closed the session ("Automatic
  shutdown: Route limit exceeded"); or the neighbour closed it because of ours ("Received: Maximum number of prefixes
  reached"); with action block the session stands and what is beyond the limit is left out. Import, receive and export
  limits of every channel; those of other protocols (a kernel protocol, OSPF, a pipe) with action block as well.

Why it matters
  A session that was closed brings nothing and announces nothing, and with action disable stays so until somebody
  enables it: critical where no other session carries the same routes, else a warning. With action restart it comes
  back after a minute or more and is closed again as long as the neighbour sends as much. With action block routes are
  missing without any error: which ones depends on the order in which they came, so two routers with the same
  neighbour miss different ones.
  More routes than ever either is growth, and the limit was forgotten, or a leak, and the limit has just protected
  you.

Confirm
  birdc show protocols all NAME
  birdc show route count protocol NAME

Fix
  Ask whether the neighbour should send so many. If yes, raise the limit in BIRD's configuration, "birdc configure", for
  action disable "birdc enable NAME", and for block "birdc reload in NAME", of an export limit "birdc reload out NAME".
  If no, leave it closed until they have repaired their side: enabling it takes the leak in. Where they closed it, look
  for what leaks from here ("birdc show route export NAME" while the session stands) before asking them to raise theirs.

Not flagged
  A limit that was not reached. Action warn is told as information only: nothing is lost. A session that is switched
  off. A session that is down for another reason is another finding.

References
  nest/proto.c channel_notify_limit() of BIRD, RFC 4486 (Cease, Maximum Number of Prefixes Reached)
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import HostView
from netdiag.model.bird import BirdProtocol
from netdiag.model.finding import Draft, Severity, subject
from netdiag.rules.bgpsessions import Session, bird_name, birdc, down_severity, limit_closed, loss_words, sessions
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-prefix-limit-hit",
    title="a BGP session has reached its route limit",
    severity="critical",
    reads=("bird",),
    explains=(
        "bgp-not-established",
        "bgp-flapping",
        "bgp-import-zero",
        "bgp-export-zero",
        "route-default-missing",
        "dns-nameserver-unroutable",
    ),
    own_cause=True,
)


class Hit(NamedTuple):
    """A limit that was reached."""

    channel: str
    kind: str
    """``import``, ``receive`` or ``export``."""
    limit: int | None
    action: str
    """``warn``, ``block``, ``restart`` or ``disable``."""

    @property
    def words(self) -> str:
        return f"{self.kind} limit {self.limit} of {self.channel}"


def hits(protocol: BirdProtocol) -> list[Hit]:
    """Every limit of the protocol that BIRD marks with [HIT]."""
    found = []
    for row in protocol.channels:
        for kind, reached, limit, action in (
            ("import", row.import_limit_hit, row.import_limit, row.import_limit_action),
            ("receive", row.receive_limit_hit, row.receive_limit, row.receive_limit_action),
            ("export", row.export_limit_hit, row.export_limit, row.export_limit_action),
        ):
            if reached:
                found.append(Hit(row.name, kind, limit, action or "unknown"))
    return found


def closed_words(session: Session, reached: list[Hit]) -> str:
    """Who closed the session, for which limit."""
    if session.error.startswith("Received"):
        return "the neighbour closed it: we announce more prefixes than it allows"
    which = ", ".join(hit.words for hit in reached) or "a route limit"
    again = "until it is enabled" if session.protocol.state == "down" else "and will try again"
    return f"closed by BIRD {again}: {which} is exceeded"


def judged(view: HostView, session: Session) -> tuple[Severity, str] | None:
    """How bad, and what to say; None where there is nothing to say."""
    reached = hits(session.protocol)
    if limit_closed(session):
        return down_severity(view, session), f"{closed_words(session, reached)}; {loss_words(view, session)}"
    if not session.up or not reached:
        return None
    losing = [hit for hit in reached if hit.action != "warn"]
    if not losing:
        return "info", f"has reached {reached[0].words}, action warn: nothing is left out"
    what = "announced" if losing[0].kind == "export" else "taken"
    return "warning", f"has reached {losing[0].words}, action {losing[0].action}: routes beyond it are not {what}"


def repair(session: Session) -> str:
    """The command after the limit was looked at; routes that were left out are sent, or asked for, once more."""
    if session.error.startswith("Received"):
        return f"{session.command('restart ' + bird_name(session.name))}  # after stopping the leak, or asking for more"
    kinds = {hit.kind for hit in hits(session.protocol) if hit.action != "warn"}
    verb = "reload out" if kinds == {"export"} else "reload in"
    verb = "enable" if session.protocol.state == "down" else verb
    again = session.command(f"{verb} {bird_name(session.name)}")
    return f"{session.command('configure')}; {again}  # after raising the limit in bird.conf, if so many are right"


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        verdict = judged(view, session)
        if verdict is None:
            continue
        severity, words = verdict
        row = session.protocol
        default = "::/0" if ":" in (row.neighbor_address or "") else "0.0.0.0/0"
        marks = [(f"{hit.words}, action {hit.action}", "[HIT]", session.source) for hit in hits(session.protocol)]
        counts = [
            (f"routes of {channel.name}", f"{channel.imported} imported, {channel.exported} exported", session.source)
            for channel in row.channels
            if channel.imported is not None
        ]
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} {words}",
            evidence=[
                ("BGP state", session.state, session.source),
                ("last error", session.error or "none", session.source),
                *marks,
                *counts,
            ],
            confirm=[session.confirm],
            fix=repair(session),
            severity=severity,
            breaks=[subject("route", dst=default, table=254)] if severity == "critical" else [],
        )
    yield from _others(view)


def _others(view: HostView) -> Iterator[Draft]:
    """Limits of protocols that are no sessions, beyond which routes are left out."""
    for daemon in view.bird.daemons:
        for row in daemon.protocols:
            losing = [hit for hit in hits(row) if hit.action not in ("warn", "unknown")]
            if row.proto == "BGP" or row.state != "up" or not losing:
                continue
            what, command = ("given" if losing[0].kind == "export" else "taken"), birdc(daemon.socket, "configure")
            show = birdc(daemon.socket, f"show protocols all {bird_name(row.name)}")
            yield RULE.found(
                subject=subject("bird-protocol", name=row.name, socket=daemon.socket),
                message=f"{row.proto} protocol {row.name} has reached {losing[0].words}, action {losing[0].action}: "
                f"routes beyond it are not {what}",
                severity="warning",
                evidence=[(f"{hit.words}, action {hit.action}", "[HIT]", show) for hit in losing],
                confirm=[show],
                fix=f"{command}  # after raising the limit in bird.conf, if so many are right",
            )


CLOSED, RECEIVED = "Automatic shutdown: Route limit exceeded", "Received: Maximum number of prefixes reached"
ABOUT = subject("bgp-session", name="up1")


def _limited(kind: str, action: str, *, hit: bool = True) -> dict[str, Any]:
    limit: dict[str, Any] = {f"{kind}_limit": 100, f"{kind}_limit_action": action, f"{kind}_limit_hit": hit}
    return {"channels": (channel(imported=100, exported=3, **limit),)}


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    yield from _closed_examples()
    yield from _standing_examples()


def _closed_examples() -> Iterator[Example]:
    off: dict[str, Any] = {"bgp_state": "Down", "state": "down"}
    for kind in ("import", "receive", "export"):
        yield _case(
            f"{kind} limit, disabled",
            "BIRD closed the session for good",
            BirdHost().bgp_down("up1", CLOSED, **off, **_limited(kind, "disable")),
            fires=1,
            subject=ABOUT,
            severity="critical",
            confidence="certain",
            says=(f"closed by BIRD until it is enabled: {kind} limit 100 of ipv4 is exceeded", "[HIT]"),
        )
    yield _case(
        "restarts again and again",
        "it waits for its next try",
        BirdHost().bgp_down("up1", CLOSED, bgp_state="Idle", **_limited("import", "restart")),
        fires=1,
        severity="critical",
        says=("and will try again: import limit 100",),
    )
    yield _case(
        "one of two",
        "the other session carries the same routes",
        BirdHost().bgp_down("up1", CLOSED, **off).bgp("up2", neighbor_address="192.0.2.9"),
        fires=1,
        severity="warning",
    )
    yield _case(
        "mark gone after a new configuration",
        "the error is proof enough",
        BirdHost().bgp_down("up1", CLOSED, **off),
        fires=1,
        says=("a route limit is exceeded",),
    )
    yield _case(
        "the neighbour's limit",
        "found out there, told in a NOTIFICATION; IPv6 as well",
        BirdHost().bgp_down("up1", RECEIVED, neighbor_address="2001:db8::1"),
        fires=1,
        severity="critical",
        says=("the neighbour closed it: we announce more prefixes than it allows",),
    )
    yield _case(
        "BIRD 1.6",
        "its one channel has no name; the info column tells the error",
        BirdHost().bgp_down("up1", CLOSED, info=CLOSED, last_error=None, **off),
        fires=1,
    )
    yield _case(
        "switched off later",
        "the mark stays, the error goes: somebody decided",
        BirdHost().bgp_down("up1", **off, **_limited("import", "disable")),
    )
    yield _case(
        "mark of before, down for another reason",
        "the neighbour is gone: that is another finding",
        BirdHost().bgp_down("up1", "Socket: Connection refused", **_limited("import", "restart")),
    )


def _standing_examples() -> Iterator[Example]:
    for kind, what in (("import", "taken"), ("receive", "taken"), ("export", "announced")):
        yield _case(
            f"{kind} limit, blocked",
            "the session stands and routes are missing without a word",
            BirdHost().bgp("up1", **_limited(kind, "block")),
            fires=1,
            subject=ABOUT,
            severity="warning",
            says=(
                f"has reached {kind} limit 100 of ipv4, action block: routes beyond it are not {what}",
                f"reload {'out' if kind == 'export' else 'in'} up1",
            ),
        )
    yield _case(
        "limit, warned",
        "nothing is left out: worth knowing and no more",
        BirdHost().bgp("up1", **_limited("import", "warn")),
        fires=1,
        severity="info",
    )
    four = channel("ipv4", import_limit=9, import_limit_action="warn", import_limit_hit=True)
    six = channel("ipv6", import_limit=5, import_limit_action="block", import_limit_hit=True)
    yield _case(
        "one channel warned, one blocked",
        "the worse one counts, and is named",
        BirdHost().bgp("up1", channels=(four, six)),
        fires=1,
        severity="warning",
        says=("import limit 5 of ipv6, action block",),
    )
    yield _case(
        "limit not reached",
        "a limit that is set is prudence",
        BirdHost().bgp("up1", **_limited("import", "block", hit=False)),
    )
    yield _case("no limit", "most inner sessions have none", BirdHost().bgp("up1"))
    yield _case(
        "established, old error still told",
        "what stands is well",
        BirdHost().bgp("up1", last_error=CLOSED),
    )
    for state, action, fires in (("up", "block", 1), ("up", "warn", 0), ("down", "block", 0)):
        kernel = BirdHost().protocol("k4", "Kernel", state=state, **_limited("export", action))
        about = subject("bird-protocol", name="k4") if fires else None
        says = ("Kernel protocol k4 has reached export limit 100 of ipv4, action block: routes",) if fires else ()
        name = f"a kernel protocol that is {state}, {action}"
        severity: Any = "warning" if fires else None
        why = "what is beyond it is left out"
        yield _case(name, why, kernel, fires=fires, severity=severity, subject=about, says=says)
    idle = BirdHost().protocol("k4", "Kernel", **_limited("export", "block", hit=False))
    yield _case("a kernel protocol within its limit", "all is well", idle)
