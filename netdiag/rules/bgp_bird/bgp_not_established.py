"""What it checks
  A BGP session of BIRD is not established: its protocol is in state start, or BIRD shut it down by itself after an
  error. BIRD's own last error, the route to the neighbour and its neighbour entry are told with it.

Why it matters
  Nothing is learnt from this neighbour and nothing is announced to it. Where no other session of the daemon carries
  routes of the same family into the same table, that is an outage (critical); else what is left is in use and there
  is less to fall back on (warning).
  "Connection refused" is an answer of the neighbour: no BGP daemon listens there. "No route to host" means that nobody
  answers ARP or ND on the last link, or that somebody refuses by ICMP, "Network is unreachable" that this host has no
  route. No reason at all while in Connect: the packets go unanswered, by a firewall, a wrong password (MD5), a lost
  route back. No reason while Idle: BIRD waits for an interface on whose subnet the neighbour is; one that is further
  away needs "multihop"; or another protocol has that neighbour, and BIRD keeps one session to an address. "Neighbor
  lost": that interface went away or down. "Hold timer expired": it stood, and nothing came any more.

Confirm
  birdc show protocols all NAME
  ip route get NEIGHBOUR
  ip neigh show NEIGHBOUR
  tcpdump -ni IFNAME host NEIGHBOUR and tcp port 179

Fix
  Repair what the last error names: the daemon on the other side, its configuration of this session, the route, the
  firewall for TCP port 179 (and IP fragments, and BFD's UDP 3784). BIRD tries again by itself within seconds to
  minutes; "birdc restart NAME" tries at once, and costs nothing while the session is down. A session that is not
  wanted any more: "birdc disable NAME", and take it out of the configuration.

Not flagged
  Sessions that are switched off (state down without an error). Passive sessions and those for a range of neighbours:
  the other side calls; but a passive one that stood at the time of the baseline is judged as any, and one with a
  neighbour of its own that was lost with an error is a warning, unless the neighbour said goodbye (RFC 4486: shut down,
  de-configured, reset), as a health check does when its service goes. Told as a possibility only: a session within ten
  seconds of BIRD's start, of a new configuration or of a restart here or there; one for a range that was lost with an
  error; a neighbour that restarts gracefully, whose routes BIRD keeps meanwhile. Sessions down because of an AS number,
  a route limit or BFD: those are findings of their own. Where BIRD's time format is not understood, so that the age is
  not known: likely only.

References
  RFC 4271 section 8, proto/bgp/bgp.c bgp_get_status() bgp_last_errmsg() of BIRD, RFC 4724, RFC 4486
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.rules.bgprepairs import repair, repair_examples
from netdiag.rules.bgpsessions import (
    RESTARTS,
    Session,
    bad_as,
    bfd_closed,
    dead_links,
    entries,
    limit_closed,
    loss_words,
    on_subnet,
    routed,
    sessions,
    stood,
    touched,
    waiting_severity,
    way,
)
from netdiag.rules.bgpstates import reason, rival, rival_examples
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.passivecases import passive_examples
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-not-established",
    title="a BGP session is not established",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls", "neighbours"),
    consults=("wireguard", "baseline"),
    explains=("route-default-missing", "dns-nameserver-unroutable", "bgp-gr-stale"),
)

FAREWELLS = ("Received: Administrative shutdown", "Received: Peer de-configured", *RESTARTS)
"""With which a neighbour that calls hangs up on purpose: it calls again when it wants to."""
CHANGED = "give {} and {} different neighbours in bird.conf, or take one of them out, then: {}"


def judged(view: HostView, session: Session) -> bool:
    """Whether it ought to be up, and is not, and no other rule names the cause."""
    if session.up or session.switched_off:
        return False
    if session.waits and (not session.error or session.error in FAREWELLS) and not stood(view, session):
        return False
    return not (bad_as(session) or limit_closed(session) or bfd_closed(session))


def confidence_of(session: Session) -> Confidence:
    """How sure it is that the session does not come up by itself, or need not."""
    if session.starting() or session.ranged or session.protocol.neighbor_graceful_restart:
        return "possible"
    return "certain" if session.age() is not None and not session.waits else "likely"


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        if not judged(view, session):
            continue
        row, answer, address = session.protocol, way(view, session), session.protocol.neighbor_address
        ask = "-6 neigh show" if row.neighbor_ifname else "route get"
        severity = waiting_severity(view, session)
        dead = dead_links(view, session, answer)
        near = bool(on_subnet(view, session)) or (answer is not None and answer.ok)
        default = "::/0" if ":" in (address or "") else "0.0.0.0/0"
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} is not established ({reason(view, session)}); "
            + "".join(f"{ifname} {why}; " for ifname, why in dead)
            + loss_words(view, session),
            evidence=[
                ("BGP state", session.state, session.source),
                ("last error", session.error or "none", session.source),
                ("in this state since", row.since or "unknown", session.source),
                *routed(view, answer),
                *entries(view, session),
            ],
            confirm=[
                session.confirm,
                *([f"ip {ask} {quoted(address)}"] if address else []),
            ],
            fix=CHANGED.format(rival(view, session), session.name, session.command("configure"))
            if rival(view, session)
            else repair(view, session, dead, answer),
            severity=severity,
            confidence=confidence_of(session),
            touches=touched(view, session, answer),
            breaks=[subject("route", dst=default, table=254)] if near and severity == "critical" else [],
        )


def _lan(host: BirdHost) -> HostBuilder:
    """With an uplink on whose subnets the neighbours are."""
    uplink = host.link("eth0").address("eth0", "192.0.2.2/24")
    uplink.address("eth0", "2001:db8::2/64").address("eth0", "fe80::2/64")
    uplink.neighbour("192.0.2.1", dev="eth0", state="stale")
    return uplink.neighbour("2001:db8::1", dev="eth0", state="failed")


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=_lan(host).build(), **expected)


REFUSED = "Socket: Connection refused"
ABOUT = subject("bgp-session", name="up1")


def examples() -> Iterator[Example]:
    yield from _down_examples()
    yield from _severity_examples()
    yield from _meant_examples()
    yield from _age_examples()
    yield from _cause_examples()
    yield from repair_examples()


def _down_examples() -> Iterator[Example]:
    yield _case(
        "connection refused",
        "the neighbour's daemon is gone",
        BirdHost().bgp_down("up1", REFUSED),
        fires=1,
        subject=ABOUT,
        severity="critical",
        confidence="certain",
        says=("up1 to 192.0.2.1 AS65002 is not established (Active, Socket: Connection refused)", "dev eth0 stale"),
    )
    yield _case(
        "IPv6 neighbour that does not answer",
        "the same for the other family",
        BirdHost().bgp_down(
            "up1", "Socket: No route to host", neighbor_address="2001:db8::1", channels=(channel("ipv6"),)
        ),
        fires=1,
        severity="critical",
        says=("to 2001:db8::1 AS65002", "entry 2001:db8::1 dev eth0 failed"),
    )
    yield _case(
        "link-local neighbour",
        "it is reached over the interface that stands with it",
        BirdHost().bgp_down("up1", REFUSED, neighbor_address="fe80::1", neighbor_ifname="eth0"),
        fires=1,
        says=("to fe80::1%eth0 AS65002", "dev eth0"),
    )
    for up, why in ((False, "is down"), (True, "has no carrier")):
        lost = BirdHost().bgp_down("up1", "Error: Neighbor lost", bgp_state="Idle", neighbor_address="198.51.100.1")
        lost.link("eth7", up=up, carrier=False).address("eth7", "198.51.100.2/24")
        yield _case(
            f"interface towards the neighbour {why}",
            "the address still tells which one it was",
            lost,
            fires=1,
            severity="critical",
            says=(f"(Idle, Error: Neighbor lost); eth7 {why}; no other session",),
        )
    away = BirdHost().bgp_down("up1", "Error: Neighbor lost", bgp_state="Idle", neighbor_address="198.51.100.1")
    yield _case("its subnet is gone", "BIRD waits for it", away, fires=1, says=("give this host back its address",))
    yield _case(
        "no answer and no error",
        "a firewall or a wrong MD5 password: BIRD has nothing to tell",
        BirdHost().bgp_down("up1", bgp_state="Connect"),
        fires=1,
        severity="critical",
        says=("Connect, no answer and no error",),
    )
    yield _case(
        "idle for want of an interface",
        "a neighbour on no subnet of this host and no multihop",
        BirdHost().bgp_down("up1", bgp_state="Idle", neighbor_address="198.51.100.1"),
        fires=1,
        says=("BIRD sees no interface", "route to the neighbour ENETUNREACH"),
    )
    yield _case(
        "shut down by BIRD after an error",
        "state down with an error is no administrator's doing (disable after error)",
        BirdHost().bgp_down("up1", "BGP Error: Hold timer expired", bgp_state="Down", state="down"),
        fires=1,
        severity="critical",
    )
    yield _case(
        "error in the info column only",
        "the two come from one place; the one that was read will do",
        BirdHost().bgp_down("up1", REFUSED, last_error=None),
        fires=1,
        says=(REFUSED,),
    )
    yield _case(
        "two daemons",
        "the same name may stand in both: the socket tells which",
        BirdHost().daemon().bgp("up1").bgp("up9").daemon("/run/bird/bird6.ctl").bgp_down("up1", REFUSED),
        fires=1,
        subject=ABOUT | {"socket": "/run/bird/bird6.ctl"},
        severity="critical",
    )
    odd = BirdHost().bgp_down("up1", REFUSED, neighbor_address="(none)")
    yield _case("neighbour address that is none", "an odd text costs the route's evidence only", odd, fires=1)


def _severity_examples() -> Iterator[Example]:
    other: dict[str, Any] = {"neighbor_address": "192.0.2.9"}
    yield _case(
        "one of two",
        "the other session carries the same family into the same table",
        BirdHost().bgp_down("up1", REFUSED).bgp("up2", **other),
        fires=1,
        subject=ABOUT,
        severity="warning",
        says=("1 other session still up (up2)",),
    )
    yield _case(
        "both of two",
        "nothing is left",
        BirdHost().bgp_down("up1", REFUSED).bgp_down("up2", REFUSED, **other),
        fires=2,
        severity="critical",
    )
    six: dict[str, Any] = {"neighbor_address": "2001:db8::1", "channels": (channel("ipv6"),)}
    yield _case(
        "the only one of its family",
        "a session for IPv4 brings no IPv6 routes",
        BirdHost().bgp("up1").bgp_down("up6", REFUSED, **six),
        fires=1,
        subject=subject("bgp-session", name="up6"),
        severity="critical",
    )
    yield _case(
        "the only one of its table",
        "another customer's session does not help this one",
        BirdHost().bgp_down("up1", REFUSED).bgp("cust", channels=(channel(table="cust4"),), **other),
        fires=1,
        severity="critical",
    )
    both: dict[str, Any] = {"channels": (channel("ipv4"), channel("ipv6"))}
    yield _case(
        "two families in one session, one of them elsewhere",
        "IPv6 is carried by nothing else",
        BirdHost().bgp_down("up1", REFUSED, **both).bgp("up2", **other),
        fires=1,
        severity="critical",
    )
    yield _case(
        "two families in one session, both elsewhere",
        "each is carried by one other session",
        BirdHost().bgp_down("up1", REFUSED, **both).bgp("up2", **other).bgp("up6", **six),
        fires=1,
        severity="warning",
        says=("2 other sessions still up (up2, up6)",),
    )
    yield _case(
        "another protocol of the same table is up",
        "a kernel or static protocol is no session",
        BirdHost().bgp_down("up1", REFUSED).protocol("kernel1", "Kernel", channels=(channel(),)),
        fires=1,
        severity="critical",
    )


def _meant_examples() -> Iterator[Example]:
    yield _case("established", "as it should be", BirdHost().bgp("up1"))
    off: dict[str, Any] = {"state": "down", "bgp_state": "Down", "info": "", "channels": (channel(state="DOWN"),)}
    yield _case(
        "switched off", "birdc disable, or disabled in the configuration: no error", BirdHost().bgp("up1", **off)
    )
    yield _case(
        "all drained", "a host in maintenance has every session off", BirdHost().bgp("up1", **off).bgp("up2", **off)
    )
    yield _case(
        "about to be off", "it says goodbye", BirdHost().bgp("up1", **(off | {"state": "stop", "bgp_state": "Close"}))
    )
    yield from passive_examples(_lan)
    taken = _lan(BirdHost().bgp_down("up1", "Error: No listening socket", bgp_state="Down")).build()
    says = ("ss -ltnp 'sport = :179'", "birdc restart up1")
    yield Example(name="its port is taken here", why="by another daemon", tables=taken, fires=1, says=says)
    yield _case(
        "neighbour restarts gracefully",
        "its routes are kept and still used",
        BirdHost().bgp_down("up1", "Socket: Connection closed", neighbor_graceful_restart=True),
        fires=1,
        severity="info",
    )
    kernel = BirdHost().protocol("kernel1", "Kernel", state="start", info="Active")
    yield _case("other protocols", "a kernel protocol that starts is no session", kernel)


def _age_examples() -> Iterator[Example]:
    def booted(since: str) -> BirdHost:
        return BirdHost().daemon(last_reboot=f"2026-01-02 {since}", last_reconfiguration=f"2026-01-02 {since}")

    read = BirdHost().daemon(last_reconfiguration="2026-01-02 11:59:58.000")
    closed = "Socket: Connection closed"
    for name, why, host, severity in (
        (
            "nine seconds after BIRD's start",
            "it has hardly called yet, refused or not",
            booted("11:59:51.000").bgp_down("up1", REFUSED, since="11:59:51.000"),
            "info",
        ),
        (
            "ten seconds after BIRD's start",
            "it had its time",
            booted("11:59:50.000").bgp_down("up1", REFUSED, since="11:59:50.000"),
            "critical",
        ),
        (
            "new session of a new configuration",
            "a configuration that was read starts sessions as a boot does",
            read.bgp_down("up1", REFUSED, since="11:59:58.200"),
            "info",
        ),
        (
            "lost within a second of BIRD's start",
            "it had been up in between: that is a loss",
            booted("11:59:51.000").bgp_down("up1", REFUSED, since="11:59:51.300"),
            "critical",
        ),
        (
            "lost a second ago",
            "an error that is told is no start",
            BirdHost().bgp_down("up1", closed, since="11:59:59.000"),
            "critical",
        ),
    ):
        yield _case(name, why, host, fires=1, severity=severity)
    for since, severity in (("11:59:51.000", "info"), ("11:59:50.000", "critical")):
        reset = BirdHost().bgp_down("up1", "Received: Administrative reset", since=since)
        why = "the neighbour restarts the session: it comes back in seconds, or not"
        yield _case(f"reset by the neighbour at {since}", why, reset, fires=1, severity=severity)
    for text, why, severity, confidence in (
        ("11:59:59.000", "restarted a second ago: birdc restart leaves no error", "info", "possible"),
        ("12:59:59.000", "a time later than now is yesterday's", "critical", "certain"),
        ("2026-01-01", "BIRD prints the date alone after a day", "critical", "certain"),
        ("2026-01-02", "after twenty hours it may be the same day still, and is no moment ago", "critical", "certain"),
        ("2026-01-02 11:59:59", "timeformat protocol iso long", "info", "possible"),
        ("11:59", "without seconds, this minute may be this moment", "info", "possible"),
        ("Jan 2", "the format is a setting; the age is then not known, the state is", "critical", "likely"),
        ("2026-02-31", "no such day", "critical", "likely"),
        (None, "nothing is told", "critical", "likely"),
    ):
        host = BirdHost().bgp_down("up1", bgp_state="Connect", since=text)
        yield _case(f"since {text}", why, host, fires=1, severity=severity, confidence=confidence)


def _cause_examples() -> Iterator[Example]:
    errors = ("BGP Error: Bad peer AS", "Received: Bad peer AS", "Automatic shutdown: Route limit exceeded")
    for error in (*errors, "Received: Maximum number of prefixes reached", "Error: BFD session down"):
        yield _case(
            f"down with {error}",
            "a rule of its own names this cause; a session is reported once",
            BirdHost().bgp_down("up1", error),
        )
    yield _case(
        "down together with BFD and reset by the neighbour",
        "that is what the other end's BFD looks like",
        BirdHost()
        .bgp_down("up1", "Socket: Connection reset by peer", since="11:30:00.100")
        .bfd(state="Down", since="11:30:00.000"),
    )
    yield _case(
        "BFD went down later",
        "BFD ends with the daemon that served it: a consequence",
        BirdHost()
        .bgp_down("up1", "Socket: Connection reset by peer", since="11:30:00.000")
        .bfd(state="Down", since="11:30:00.400"),
        fires=1,
        severity="critical",
    )
    yield _case(
        "refused, and BFD down at that moment",
        "a neighbour that refuses connections has no daemon",
        BirdHost().bgp_down("up1", REFUSED, since="11:30:00.000").bfd(state="Down", since="11:30:00.000"),
        fires=1,
    )
    host = BirdHost().bgp_down("up1", "Received: Cease", since="11:30:00.000")
    host.bfd("192.0.2.7", state="Down", since="11:30:00.000")
    yield _case("closed, and another neighbour's BFD down", "it is not this session's", host, fires=1)
    yield from rival_examples()
