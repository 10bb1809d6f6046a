"""What it checks
  An RPKI protocol of BIRD (RTR, to a validating cache) is not established, or it is and brought no ROA into its tables.

Why it matters
  Without ROAs every route is "unknown": an import filter that rejects invalid ones accepts them all again, silently;
  one that takes only valid ones takes nothing. BIRD keeps old ROAs for the expire interval, hours as a rule.

Confirm
  birdc show protocols all NAME
  birdc show route table ROATABLE count

Fix
  See that the validator runs and answers on the address and port of the protocol (323 or 3323 for TCP), then birdc
  restart NAME. Filters are applied to routes that come afterwards; birdc reload in NAME applies them to those there.

Not flagged
  A protocol that is switched off. Hosts without RPKI. One of several caches that is down while another of the same
  tables stands: told as info. The first ten seconds of a daemon.

References
  RFC 8210, RFC 6811; proto/rpki/rpki.c of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdChannel, BirdDaemon, BirdProtocol
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import STARTING, bird_name, birdc, moment
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-roa-missing",
    title="the validating cache of RPKI is not connected",
    severity="warning",
    reads=("bird",),
    own_cause=True,
)


def tables_of(row: BirdProtocol) -> set[str]:
    """Where it puts its ROAs."""
    return {channel.table for channel in row.channels if channel.table}


def trouble(row: BirdProtocol, daemon: BirdDaemon) -> str | None:
    """Why it brings nothing."""
    if row.state == "up" and "Established" in row.info:
        known = [daemon.tables[table] for table in tables_of(row) if table in daemon.tables]
        return "it is established and brought no ROA" if known and not any(known) else None
    return f"it is in state {row.info.split('  ')[0] or row.state}"


def fresh(row: BirdProtocol, daemon: BirdDaemon) -> bool:
    """It began a moment ago."""
    now = moment(daemon.server_time, None)
    since = moment(row.since, now)
    return now is not None and since is not None and (now - since).total_seconds() < STARTING


def check(view: HostView) -> Iterator[Draft]:
    for daemon in view.bird.daemons:
        caches = [row for row in daemon.protocols if row.proto == "RPKI"]
        for row in caches:
            why = trouble(row, daemon)
            if row.state == "down" or why is None or fresh(row, daemon):
                continue
            others = [one.name for one in caches if trouble(one, daemon) is None and tables_of(one) >= tables_of(row)]
            yield RULE.found(
                subject=subject("bird-protocol", name=row.name, socket=daemon.socket),
                message=f"RPKI protocol {row.name}: {why}; "
                + (f"{others[0]} still brings ROAs" if others else "routes are not validated, or will soon not be"),
                severity="info" if others else None,
                evidence=[
                    ("state", f"{row.state} {row.info}".strip(), f"birdc show protocols all {row.name}"),
                    *(
                        (f"networks in {t}", daemon.tables.get(t, "unknown"), "birdc show route count")
                        for t in sorted(tables_of(row))
                    ),
                ],
                confirm=[birdc(daemon.socket, f"show protocols all {bird_name(row.name)}")],
                fix=birdc(daemon.socket, f"restart {bird_name(row.name)}") + "  # once the validator answers",
            )


def _case(
    name: str, why: str, *rows: tuple[str, str, str], roas: int = 5, since: str = "11:00:00.000", **more: Any
) -> Example:
    host = BirdHost().daemon(tables={"r4": roas})
    for label, state, info in rows:
        channel = BirdChannel(name="roa4", table="r4")
        host.protocol(label, "RPKI", state=state, info=info, since=since, channels=(channel,))
    return Example(name=name, why=why, tables=host.build(), **more)


def examples() -> Iterator[Example]:
    up, down = ("rpki1", "up", "Established"), ("rpki1", "start", "Connecting")
    told: dict[str, Any] = {"fires": 1, "severity": "warning"}
    yield _case("not connected", "the plain fault", down, **told)
    yield _case("connected and empty", "a validator that has read nothing", up, roas=0, **told)
    yield _case("connected", "the ordinary case", up)
    yield _case(
        "one of two caches", "the other brings the same", down, ("rpki2", "up", "Established"), fires=1, severity="info"
    )
    yield _case("switched off", "on purpose", ("rpki1", "down", ""))
    for since, count in (("11:59:50.000", 1), ("11:59:50.100", 0)):
        yield _case(f"since {since}", "ten seconds are the border", down, since=since, fires=count)
    yield _case("no RPKI", "nothing to say")
    connecting = ("rpki2", "start", "Connecting")
    yield _case("both of two caches", "nobody brings any", down, connecting, fires=2, severity="warning")
    yield _case("being stopped", "it still says Established", ("rpki1", "stop", "Established"), **told)
    yield _case("up, and reading", "nothing has come yet", ("rpki1", "up", "Sync-Start"), **told)
    elsewhere = BirdHost().daemon(tables={"r4": 5, "r5": 5})
    for label, table, (_, state, info) in (("rpki1", "r4", down), ("rpki2", "r5", up)):
        row = BirdChannel(name="roa4", table=table)
        elsewhere.protocol(label, "RPKI", state=state, info=info, channels=(row,))
    elsewhere.bgp_down("up1")
    yield Example(
        name="the other cache fills another table",
        why="routes of this one are not validated",
        tables=elsewhere.build(),
        **told,
    )
    uncounted = BirdHost().daemon(tables={})
    channels = (BirdChannel(name="roa4", table="r4"), BirdChannel(name="roa6"))
    uncounted.protocol("rpki1", "RPKI", info="Established", channels=channels)
    yield Example(name="connected, ROAs not counted", why="they may be there", tables=uncounted.build())
    vague_times: tuple[tuple[str, str, str | None], ...] = (
        ("when is not told", "2026-01-02 12:00:00.000", None),
        ("the daemon's clock is not told", "noon", "2026-01-02 11:00:00"),
    )
    for name, server_time, when in vague_times:
        vague = BirdHost().daemon(server_time=server_time)
        vague.protocol("rpki1", "RPKI", state="start", info="Connecting", since=when, channels=channels)
        yield Example(name=name, why="it need not be fresh", tables=vague.build(), **told)
