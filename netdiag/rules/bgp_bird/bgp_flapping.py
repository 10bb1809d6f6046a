"""What it checks
  Several snapshots of one host: a BGP session came into its state anew at least twice within the last day before the
  newest of them, by the time that BIRD keeps of its last change. Starts of the daemon and of a new configuration do not
  count.

Why it matters
  Each time the neighbour forgets the routes of this host and this host the neighbour's: traffic moves away and back,
  what is under way is reordered or lost, and a neighbour that dampens takes the prefix for unreachable long after.
  Between two changes every look at the session finds it well.

Confirm
  birdc show protocols all SESSION, several times: "since" changes
  journalctl -u bird | grep SESSION

Fix
  What ends it stands in the log and under "last error": a hold timer (loss on the way, a busy peer), BFD with timers
  that are too short, the neighbour's own resets (Cease), a prefix limit. Mend that; restarting the session counts once
  more.

Not flagged
  One change: somebody restarted the session. Changes with the daemon's start or with a new configuration. Sessions that
  are switched off. Changes between snapshots that are not there: a session that flaps ten times between two of them
  changes once. With fewer than three snapshots of a host nothing is said of it. Where no host has three, or BIRD did
  not answer in some of them, the rule is not evaluated: a sweep a night shows no flapping.

References
  nest/proto.c proto_notify_state(), last_state_change; RFC 4271 section 8; RFC 2439
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from netdiag.index.fleet import FleetHost, FleetView, across
from netdiag.model.bird import Bird
from netdiag.model.finding import Draft, Unjudged
from netdiag.rules.bgpsessions import Session, moment
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import FleetExample, Rule

RULE = Rule(
    id="bgp-flapping",
    title="a BGP session goes down and comes back, again and again",
    severity="warning",
    confidence="likely",
    reads=("bird",),
    scope="fleet",
)
LOOKS = 3
"""So many snapshots show two changes."""
CHANGES = 2
DAY = timedelta(days=1)
SAME = timedelta(seconds=1)
"""A time of one change may be told without its fraction."""


def check(view: FleetView) -> Iterator[Draft | Unjudged]:
    several = [host for host in view.reading("bird") if len(host.looks) + 1 >= LOOKS]
    series = [host for host in several if sum(bool(bird.daemons) for bird in host.birds) >= LOOKS]
    if not several:
        yield Unjudged(reason=f"no host has {LOOKS} snapshots")
    elif len(series) < len(several):
        yield Unjudged(reason=f"fewer than {LOOKS} snapshots tell of BIRD: {len(several) - len(series)} hosts")
    for host in series:
        for session in _sessions(host.tables.bird):
            times = [] if session.switched_off else _changes(host, session)
            if len(times) >= CHANGES:
                yield _finding(host, session, times)


def _sessions(bird: Bird) -> list[Session]:
    daemons = bird.daemons
    return [
        Session(daemon=daemon, protocol=row, alone=len(daemons) == 1)
        for daemon in daemons
        for row in daemon.protocols
        if row.proto == "BGP"
    ]


def _changes(host: FleetHost, newest: Session) -> list[datetime]:
    """When the session came into a state anew between two snapshots, by the clock of its daemon; of the last day."""
    now = moment(newest.daemon.server_time, None)
    seen: list[datetime] = []
    found = []
    for bird in host.birds:
        for session in _sessions(bird):
            since = session.since() if (session.daemon.socket, session.name) == _key(newest) else None
            if since is None:
                continue
            anew = bool(seen) and abs(since - seen[-1]) > SAME and not session.from_the_start()
            if anew and not session.switched_off and now is not None and now - since <= DAY:
                found.append(since)
            seen.append(since)
    return found


def _key(session: Session) -> tuple[str, str]:
    return session.daemon.socket, session.name


def _finding(host: FleetHost, session: Session, times: list[datetime]) -> Draft:
    told = ", ".join(f"{time:%H:%M:%S}" for time in times[-4:])
    error = session.protocol.last_error or "none"
    return RULE.found(
        subject=across([host.name], session.subject),
        message=f"BGP session {session.name} of {host.name} to {session.neighbour} changed its state at {told}: it "
        "goes down and comes back",
        evidence=[
            ("changes between snapshots", len(times), f"{session.source}, in {len(host.birds)} snapshots"),
            ("since", told, session.source),
            ("last error", error, session.source),
        ],
        confirm=[session.confirm],
        fix=f"see what ends it (last error: {error}; journalctl -u bird), and mend that",
    )


def examples() -> Iterator[FleetExample]:
    def look(since: str | None, clock: str = "12:00:00.000", name: str = "up1", **fields: Any) -> Any:
        daemon = {key: fields.pop(key) for key in ("last_reboot", "last_reconfiguration") if key in fields}
        host = BirdHost().daemon(server_time=f"2026-01-02 {clock}", **daemon)
        return host.bgp(name, since=since, **fields).build()

    def case(name: str, why: str, fires: int, *looks: Any, **more: Any) -> FleetExample:
        hosts, older = {"fra-edge1": looks[-1]}, {"fra-edge1": looks[:-1]}
        return FleetExample(name=name, why=why, hosts=hosts, older=older, fires=fires, **more)

    one, two, three = look("10:00:00.000"), look("11:00:00.000"), look("11:30:00.000")
    about = {"kind": "bgp-session", "name": "up1"}
    yield case("twice", "up, down and up again", 1, one, two, three, subject=about, severity="warning")
    yield case("once", "somebody restarted it", 0, one, two, two)
    yield case("never", "as it should be", 0, two, two, two)
    yield case("two snapshots", "they show one change", 0, one, two, unjudged=True)
    hosts, older = {"fra-edge1": three, "fra-edge2": two}, {"fra-edge1": (one, two), "fra-edge2": (one,)}
    yield FleetExample(name="two of another host", why="nothing is said of it", hosts=hosts, older=older, fires=1)
    dumb = HostBuilder().build()
    yield case("BIRD was not read in one of three", "two looks show one change", 0, one, dumb, three, unjudged=True)
    yield case("BIRD was not read in one of four", "three are left", 1, one, dumb, two, three)
    begun = look("11:30:00.000", last_reboot="2026-01-02 11:30:00.000")
    yield case("with the daemon's start", "all of them began anew", 0, one, two, begun)
    loaded = look("11:30:00.000", last_reconfiguration="2026-01-02 11:30:00.000")
    yield case("with a new configuration", "it was written anew", 0, one, two, loaded)
    off: dict[str, Any] = {"state": "down", "bgp_state": "Down"}
    yield case("switched off now", "somebody said so", 0, one, two, look("11:30:00.000", **off))
    yield case("switched off between", "and on again", 0, one, look("11:00:00.000", **off), three)
    down = look("11:30:00.000", state="start", bgp_state="Active", last_error="Socket: Connection reset by peer")
    yield case("down now", "it was up twice before", 1, one, two, down)
    yield case("another session", "each by itself", 0, one, look("11:00:00.000", name="up2"), three)
    yield case("a fraction less", "told without it", 0, look("11:00:00.900"), two, look("11:00:00.500"))
    for apart, fires in ((1, 0), (2, 1)):
        times = (look(f"11:00:{n * apart:02}.000") for n in range(3))
        yield case(f"{apart} s apart", "a fraction may not be told", fires, *times)
    whole = look("2026-01-01 12:00:00.000")
    yield case("a day between", "still of the last day", 1, look("2026-01-01 10:00:00.000"), whole, three)
    static = [BirdHost().protocol("s1", "Static", since=f"{hour}:00:00.000").build() for hour in (10, 11, 12)]
    yield case("another protocol", "no session", 0, *static)
    dated = [f"2026-01-02 {hour}:00:00.000" for hour in (10, 11, 12)]
    mute = [BirdHost().daemon(server_time=None).bgp("up1", since=since).build() for since in dated]
    yield case("no clock told", "nobody knows how long ago", 0, *mute)
    two_daemons = [
        BirdHost().daemon().bgp("up1", since=f"{hour}:00:00.000").daemon("/run/b.ctl").build() for hour in (10, 11, 12)
    ]
    yield case(
        "one of two daemons", "which one is told", 1, *two_daemons, subject=about | {"socket": "/run/bird/bird.ctl"}
    )
    old = look("2026-01-01 11:00:00.000"), look("2026-01-01 11:59:00.000")
    yield case("a day ago", "that is over", 0, *old, two)
    yield case("not told", "another format of times", 0, one, look(None), two)
