"""What it checks
  BFD took a BGP session of BIRD down. BIRD says so ("Error: BFD session down"), or the neighbour does (RFC 9384). Or
  the neighbour's BFD saw it first: it closed the connection ("Received: Cease") and resets every new one, and the BFD
  session with it went down at the same moment, or is in Init, which means that its BFD does not hear ours.
  And, as information: the BGP session stands, and BFD with that neighbour has been down since long before.

Why it matters
  BFD sends small UDP packets several times a second (port 3784; 4784 for multihop) and calls the path dead when a few
  are missing; BGP then drops its routes at once. BIRD waits out its error wait time (a minute, then up to five)
  before it calls again, and then does so without BFD: the session can come back while BFD stays down. From then on a
  dead path is noticed only when the hold time is over, by default after minutes.
  BFD down and the path well means that its packets are lost or late: a firewall, a policer, a busy CPU, intervals
  that are too short, a daemon that does not listen. BFD down and the path dead is what it is for.

Confirm
  birdc show bfd sessions
  birdc show protocols all NAME
  tcpdump -ni IFNAME host NEIGHBOUR and udp port 3784
  nft -a list chain FAMILY TABLE CHAIN         (where this host's own filter stops them)

Fix
  Let UDP 3784 (and 4784) pass both ways, or lengthen the intervals in "protocol bfd" on both sides; then
  birdc restart NAME
  which ends the waiting. Taking "bfd" out of the session brings it up without this guard.

Not flagged
  A BFD session that an administrator has put down (AdminDown). One that is down (not in Init) while BGP stands and that
  went down when the BGP session began: the neighbour does not speak BFD. One of a static route or another protocol. A
  BGP session that is down for another reason, with BFD down because of it: a neighbour's daemon that ended takes BFD
  with it, and "Connection closed" with BFD down at the same moment is taken for that. Sessions over one tunnel whose
  underlay has lost its address are told one by one: where a default route takes the encrypted packets away, nothing
  else shows it until the handshakes are stale, three minutes later, unless a baseline knows the address.

References
  RFC 5880 section 6.2, RFC 5881, RFC 5882 section 4, RFC 5883 section 5; proto/bgp/bgp.c bgp_bfd_notify()
  and proto/bfd/ of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.bird import BfdSession
from netdiag.model.finding import Draft, Severity, subject
from netdiag.rules.bfdcases import filtered_examples
from netdiag.rules.bgpsessions import (
    Session,
    bfd_closed,
    bird_name,
    default_lost,
    down_severity,
    entries,
    fell_before,
    loss_words,
    moment,
    routed,
    sessions,
    touched,
    way,
)
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.nftplaces import fact, list_chain, place_words
from netdiag.rules.owntalks import Talk, of_bfd, opened, stop
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-bfd-down",
    title="BFD took a BGP session down",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls", "neighbours"),
    consults=("wireguard", "nft"),
    explains=("bgp-not-established", "bgp-flapping", "route-default-missing", "dns-nameserver-unroutable"),
)

LONG = 30.0
"""Seconds that BFD must have been down before the session came up, to be more than a session's usual start."""
DEAF = 3.0
"""Seconds in Init after which it is no start: while BFD is not up each side sends about once a second."""


def unguarded(session: Session, bfd: BfdSession) -> bool:
    """Of a session that stands: BFD went down well before it came up, and not at the daemon's own start."""
    before = fell_before(session, bfd) if bfd.state in ("Down", "Init") else None
    return before is not None and before >= LONG


def unheard(session: Session, bfd: BfdSession) -> bool:
    """The neighbour's BFD is heard, and does not hear ours: that lasts no longer than a packet takes."""
    now = moment(session.daemon.server_time, None)
    since = moment(bfd.since, now)
    lasts = None if now is None or since is None else (now - since).total_seconds()
    return bfd.state == "Init" and lasts is not None and lasts >= DEAF


def judged(view: HostView, session: Session, *, stopped: bool) -> tuple[Severity, str] | None:
    """How bad, and what to say; None where there is nothing to say. ``stopped``: by this host's own filter."""
    bfd = session.bfd()
    if bfd_closed(session):
        state = f"BFD is {bfd.state} now" if bfd is not None else "there is no BFD session now"
        how = "was taken down by BFD" if "BFD" in session.error else f"went down together with BFD ({session.error})"
        return down_severity(view, session), f"{how}; {state}, {loss_words(view, session)}"
    if not session.up or bfd is None:
        return None
    if stopped:
        return "warning", f"stands without BFD, which is {bfd.state} and cannot come up"
    if unheard(session, bfd):
        words = (
            f"stands without BFD, which is in Init since {bfd.since}: the neighbour's is heard, and does not hear ours"
        )
        return "warning", words
    if unguarded(session, bfd):
        return "info", f"stands, but its BFD session is {bfd.state} since {bfd.since}: a dead path is noticed late"
    return None


def stopper(view: HostView, session: Session) -> tuple[Talk, Possible] | None:
    """The packets of a BFD that is not up, and what stops them on this host."""
    bfd = session.bfd()
    down = bfd.state in ("Down", "Init") if bfd is not None else bfd_closed(session)
    talk = of_bfd(view, session) if down else None
    if talk is None:
        return None
    blocker = stop(view, talk)
    return None if blocker is None else (talk, blocker)


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        stopped = stopper(view, session)
        verdict = judged(view, session, stopped=stopped is not None)
        if verdict is None:
            continue
        severity, words = verdict
        row, bfd, answer = session.protocol, session.bfd(), way(view, session)
        seen: list[tuple[str, object, str]] = (
            []
            if bfd is None
            else [(f"BFD session {bfd.address}", f"{bfd.state} since {bfd.since}", "show bfd sessions")]
        )
        port = 4784 if "multihop" in (row.session or "") else 3784
        default = "::/0" if ":" in (row.neighbor_address or "") else "0.0.0.0/0"
        confirm = [session.command("show bfd sessions"), session.confirm]
        fix = f"{session.command('restart ' + bird_name(session.name))}  # after letting UDP {port} pass both ways"
        if stopped is not None:
            talk, blocker = stopped
            words += f": {place_words(blocker.at)} stops its packets"
            seen.append(fact(blocker))
            confirm.append(list_chain(blocker.at.table, blocker.at.chain))
            fix = opened(talk, blocker) + ("" if session.up else f"; {fix}")
        sure = "BFD" in session.error or (session.up and stopped is not None)
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} {words}",
            evidence=[
                ("last error", session.error or "none", session.source),
                ("BGP state", f"{session.state} since {row.since}", session.source),
                *seen,
                *routed(view, answer),
                *entries(view, session),
            ],
            confirm=confirm,
            fix=fix,
            severity=severity,
            confidence="possible" if severity == "info" else "certain" if sure else "likely",
            touches=touched(view, session, answer),
            breaks=[subject("route", dst=default, table=254)]
            if severity == "critical"
            else default_lost(view, session),
        )


ABOUT = subject("bgp-session", name="up1")
TOLD = "Error: BFD session down"


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    uplink: HostBuilder = host.link("eth0").address("eth0", "192.0.2.2/24")
    return Example(name=name, why=why, tables=uplink.build(), **expected)


def _both(error: str, *, bfd: str = "11:30:00.000", state: str = "Down", since: str = "11:30:00.100") -> BirdHost:
    """BGP down with this error, and BFD in a state of its own."""
    return BirdHost().bgp_down("up1", error, since=since).bfd(state=state, since=bfd)


def examples() -> Iterator[Example]:
    yield from _down_examples()
    yield from _other_examples()
    yield from _standing_examples()
    yield from filtered_examples()


def _down_examples() -> Iterator[Example]:
    yield _case(
        "taken down",
        "BIRD says so itself",
        _both(TOLD),
        fires=1,
        subject=ABOUT,
        severity="critical",
        confidence="certain",
        says=("was taken down by BFD; BFD is Down now, no other session", "BFD session 192.0.2.1 Down since"),
    )
    for error in ("Received: Unknown error 6.10", "Received: BFD Down"):
        theirs = BirdHost().bgp_down("up1", error)
        yield _case(f"taken down there, {error}", "RFC 9384", theirs, fires=1, severity="critical")
    other = BirdHost().bgp_down("up1", "Received: Unknown error 6.9")
    yield _case("another word of a newer neighbour", "a hard reset", other)
    for words, port in (("external multihop AS4", 4784), ("external AS4", 3784)):
        far = BirdHost().bgp_down("up1", TOLD, session=words)
        yield _case(f"taken down, {words}", "each has its port", far, fires=1, says=(f"letting UDP {port} pass",))
    yield _case(
        "taken down, BFD back",
        "BIRD waits out its error wait time",
        _both(TOLD, state="Up"),
        fires=1,
        severity="critical",
        says=("BFD is Up now",),
    )
    yield _case(
        "taken down, BFD session gone",
        "it lives as long as somebody asks for it",
        BirdHost().bgp_down("up1", TOLD),
        fires=1,
        says=("there is no BFD session now",),
    )
    yield _case(
        "taken down for good",
        "disable after error",
        BirdHost().bgp_down("up1", TOLD, bgp_state="Down", state="down"),
        fires=1,
    )
    yield _case(
        "one of two",
        "the other session carries the same routes",
        _both(TOLD).bgp("up2", neighbor_address="192.0.2.9"),
        fires=1,
        severity="warning",
    )
    for error in ("Received: Cease", "Socket: Connection reset by peer"):
        yield _case(
            f"with {error}",
            "the neighbour's BFD saw it first, or closed while ours did",
            _both(error),
            fires=1,
            subject=ABOUT,
            severity="critical",
            confidence="likely",
            says=(f"went down together with BFD ({error})",),
        )
    yield _case(
        "closed, and the neighbour's BFD does not hear ours",
        "Init: its daemon lives, whenever it last changed",
        _both("Socket: Connection closed", state="Init", bfd="11:40:00.000"),
        fires=1,
        confidence="likely",
        says=("BFD is Init now",),
    )
    yield _case(
        "IPv6 link-local neighbour",
        "address and interface must both fit",
        BirdHost()
        .bgp_down("up1", "Received: Cease", since="11:30:00.000", neighbor_address="fe80::1", neighbor_ifname="eth0")
        .bfd("fe80::1", state="Down", since="11:30:00.000", ifname="eth1")
        .bfd("fe80::1", state="Down", since="11:30:00.000", ifname="eth0"),
        fires=1,
    )


def _other_examples() -> Iterator[Example]:
    reset = "Socket: Connection reset by peer"
    yield _case("reset 150 ms after BFD", "the last that counts as one", _both(reset, since="11:30:00.150"), fires=1)
    yield _case("reset, when is not told", "it may be of another hour", _both(reset, since=""))
    yield _case(
        "the same address on another link",
        "link-local addresses repeat: that BFD session is not this neighbour's",
        BirdHost()
        .bgp_down("up1", "Received: Cease", since="11:30:00.000", neighbor_address="fe80::1", neighbor_ifname="eth0")
        .bfd("fe80::1", state="Down", since="11:30:00.000", ifname="eth1"),
    )
    yield _case(
        "BFD down later than BGP",
        "the neighbour's daemon ended and took BFD along",
        _both("Socket: Connection reset by peer", since="11:30:00.000", bfd="11:30:00.151"),
    )
    yield _case(
        "BFD down earlier than BGP",
        "the neighbour never spoke BFD",
        _both("Socket: Connection reset by peer", since="11:30:00.151", bfd="11:30:00.000"),
    )
    yield _case(
        "closed at the moment when BFD went down",
        "a neighbour's daemon that was killed looks so until it is called again",
        _both("Socket: Connection closed"),
    )
    yield _case(
        "refused, BFD in Init",
        "the daemon that speaks BFD need not be the one that speaks BGP",
        _both("Socket: Connection refused", state="Init"),
    )
    yield _case("refused", "a neighbour without a daemon is no matter of BFD", _both("Socket: Connection refused"))
    yield _case("reset, BFD up", "the path is well", _both("Socket: Connection reset by peer", state="Up"))
    yield _case("put down", "an administrator's doing", _both("Received: Cease", state="AdminDown"))
    yield _case("reset, no BFD", "nothing ties it to BFD", BirdHost().bgp_down("up1", "Received: Cease"))
    young = BirdHost().daemon(last_reboot="2026-01-02 11:30:00.000")
    yield _case(
        "both down since BIRD's start",
        "neither ever stood: one moment, and no proof",
        young.bgp_down("up1", "Socket: Connection reset by peer", since="11:30:00.000").bfd(
            state="Down", since="11:30:00.000"
        ),
    )
    yield _case(
        "times that cannot be read",
        "without them nothing ties the two together",
        _both("Received: Cease", since="Jan 2", bfd="Jan 2"),
    )
    yield _case(
        "switched off",
        "drained, with BFD down as a matter of course",
        BirdHost().bgp_down("up1", bgp_state="Down", state="down").bfd(state="Down"),
    )


def _standing_examples() -> Iterator[Example]:
    def standing(bfd: str, state: str = "Down", **daemon: Any) -> BirdHost:
        return BirdHost().daemon(**daemon).bgp("up1", since="11:30:00.000").bfd(state=state, since=bfd)

    yield _case("all up", "as it should be", standing("11:29:59.000", "Up"))
    yield _case("BFD on one side only", "BGP stands, BFD never came up", standing("11:29:30.001"))
    yield _case(
        "down since long before BGP came back",
        "BIRD called again without BFD: the guard is off",
        standing("11:29:30.000"),
        fires=1,
        subject=ABOUT,
        severity="info",
        says=("stands, but its BFD session is Down since 11:29:30.000",),
    )
    for since in ("11:29:30.000", "11:59:57.000"):
        yield _case(
            f"in Init since {since}",
            "the neighbour's BFD is heard: it speaks BFD, and does not hear ours",
            standing(since, "Init"),
            fires=1,
            subject=ABOUT,
            severity="warning",
            confidence="likely",
            says=(f"stands without BFD, which is in Init since {since}",),
        )
    yield _case("in Init for less than three seconds", "it may be on its way up", standing("11:59:57.001", "Init"))
    yield _case("in Init since nobody knows when", "it may be on its way up", standing("Jan 2", "Init"))
    clock = standing("2026-01-02 10:00:00.000", "Init", server_time="Jan 2")
    yield _case("in Init, and nobody knows the time", "it may be on its way up", clock)
    yield _case(
        "on one side only, and the neighbour was late",
        "down since BIRD's own start: it never was up",
        standing("10:00:00.200", last_reboot="2026-01-02 10:00:00.000"),
    )
    yield _case("down after BGP came up", "the neighbour put BFD down and kept BGP", standing("11:40:00.000"))
    yield _case(
        "refused, BFD down since long before",
        "it does not stand, and BFD is not why",
        _both("Socket: Connection refused", bfd="11:00:00.000"),
    )
    yield _case(
        "established, error still told",
        "what stands is well",
        BirdHost().bgp("up1", last_error=TOLD, since="11:30:00.000").bfd(since="11:30:00.000"),
    )
    yield _case("put down long before", "AdminDown is somebody's wish", standing("10:00:00.000", "AdminDown"))
    yield _case("a time that cannot be read", "then nothing is known", standing("Jan 2"))
    yield _case(
        "BFD of a static route",
        "it guards no session",
        BirdHost().bgp("up1", since="11:30:00.000").bfd("192.0.2.77", state="Down", since="10:30:00.000"),
    )
