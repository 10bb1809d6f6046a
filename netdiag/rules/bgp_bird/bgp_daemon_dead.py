"""What it checks
  A control socket of BIRD exists, and behind it is no daemon that answers: nobody listens any more (connection
  refused), or the connection stands and no greeting comes within five seconds, or the connection breaks. The usual
  places are looked at, and those given with --bird-socket. Or there is no socket and no BIRD at all, though the intent
  says what this host is to announce ([[announce]]), or sessions stood at the time of the baseline.

Why it matters
  BIRD takes its socket with it when it is stopped in order. A socket that is left behind means that it was killed or
  crashed, and nobody started it again. Its BGP sessions are lost, neighbours withdraw what this host announced. The
  routes that it had put into the kernel stay and grow stale: traffic goes where it went at that moment, until
  somebody takes them away.
  A daemon that accepts and says nothing is stopped (SIGSTOP, a debugger), swapped out, or busy: BIRD does its work in
  one thread (BIRD 3: several), so one that does not serve its socket soon misses keepalives, and sessions end when
  the hold time is over.

Confirm
  timeout 2 birdc -s SOCKET show status
  ss -xlpn | grep SOCKET; pgrep -a bird
  journalctl -u bird -n 50

Fix
  systemctl restart bird
  Starting BIRD sends its routes and announcements anew: neighbours see the session come back, and kernel routes that
  BIRD finds from its former life are replaced or removed. Look into the log first: a daemon that crashed on its
  configuration or for want of memory does so again. If BIRD was taken away from this host, remove the socket.

Not flagged
  A host without any control socket, of which nobody told that it should have one: it has no BIRD, or BIRD was stopped
  on purpose long ago; and a drained one. Calls to port 179 by others than gateways: somebody scans. Hosts where a BGP
  connection stands: a speaker that only calls out. A socket that netdiag may not open (then the rule is not
  evaluated). A dead socket with a living daemon on a socket of the same name in another folder, left behind by an
  older package, is told as a possibility only; not where a daemon answered there at the time of the baseline, or
  somebody named it with --bird-socket outside the usual places.

References
  unix(7), connect(2) ECONNREFUSED; sysdep/unix/main.c async_shutdown() and sysdep_shutdown_done(), nest/cli.c of BIRD
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import with_gateway
from netdiag.index.view import HostView
from netdiag.model.bird import BirdSocket
from netdiag.model.conntrack import IPS_ASSURED
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.intent import IntendedAnnouncement
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED, LISTEN
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.expected import since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-daemon-dead",
    title="BIRD is gone or hangs, and its control socket is still there",
    severity="critical",
    reads=("bird_sockets", "routes"),
    consults=("bird", "intent.announce", "baseline", "sockets", "addresses", "conntrack"),
    explains=(
        "bgp-*",
        "bird-*",
        "fib-route-stale-daemon-gone",
        "route-default-missing",
        "dns-nameserver-unroutable",
        "tcp-rcvq-stuck",
        "unix-bird-socket-stuck",
    ),
)

PROGRAMS = ("bird", "bird6")
USUAL = "/run/bird/bird.ctl"
PLACES = tuple(
    f"{folder}/{name}"
    for folder in ("/run/bird", "/run", "/var/run/bird", "/var/run")
    for name in ("bird.ctl", "bird6.ctl")
)
"""Where packages put it."""
MOST = 64
"""Calls to port 179 that are looked at, and routes with a gateway."""
RTPROT_BIRD = 12
"""include/uapi/linux/rtnetlink.h."""


def installed(view: HostView) -> int:
    """Kernel routes that some BIRD has put there."""
    return sum(int(np.count_nonzero(view.routes(family).protocol == RTPROT_BIRD)) for family in ("inet", "inet6"))


def reason(dead: BirdSocket) -> str:
    """Why nobody answers, without what was asked."""
    return dead.detail.rpartition(": ")[2] or "nothing"


def how(dead: BirdSocket) -> str:
    """What is wrong behind the socket, in words."""
    if dead.hangs:
        return "accepts connections and does not answer"
    if reason(dead) == "Connection refused":
        return "has no daemon behind it any more"
    return "does not answer as BIRD does"


def confidence_of(view: HostView, dead: BirdSocket, alive: set[str]) -> Confidence:
    """A socket of the same name with a daemon behind it may be this one's successor."""
    old = view.baseline
    answered = old is not None and any(row.path == dead.path and row.alive for row in old.bird_sockets)
    if dead.path.rpartition("/")[2] in alive and dead.path in PLACES and not answered:
        return "possible"
    return "certain" if dead.hangs or reason(dead) == "Connection refused" else "likely"


def missing(view: HostView) -> tuple[str, object, str] | None:
    """What tells that a BIRD should run, as evidence, on a host that has none."""
    if view.bird_sockets or view.meta.drained:
        return None
    if any(owner.comm in PROGRAMS for owner in view.socket_owners.owners):
        return None  # its control socket is elsewhere
    wanted = view.intent.announce or ()
    if wanted:
        return "meant to be announced", ", ".join(sorted({one.prefix for one in wanted})[:4]), "intent [[announce]]"
    before = view.baseline
    if before is None or before.meta.drained:
        return None
    stood = [row.name for daemon in before.bird.daemons for row in daemon.protocols if row.bgp_state == "Established"]
    return ("sessions that stood", ", ".join(stood[:4]), f"birdc, {since(before)}") if stood else None


def calling(view: HostView) -> tuple[str, object, str] | None:
    """Who still takes this host, which has no BGP daemon, for a BGP neighbour, as evidence."""
    sockets, table = view.sockets, view.conntrack
    if view.bird_sockets or view.meta.drained or not view.read_whole("sockets"):
        return None
    spoken = (sockets.state == ESTABLISHED) & ((sockets.sport == BGP_PORT) | (sockets.dport == BGP_PORT))
    spoken |= (sockets.state == LISTEN) & (sockets.sport == BGP_PORT)
    if (spoken & (sockets.protocol == IPPROTO_TCP)).any():
        return None
    own = {row.local for row in view.addresses}
    found = ((table.proto == IPPROTO_TCP) & (table.orig_dport == BGP_PORT)).nonzero()[0].tolist()
    calls = [table.row(at) for at in found[:MOST]]
    gateways, stood = _gateways(view), [row for row in calls if row.status & IPS_ASSURED]
    met = {row.orig_src for row in calls if row.orig_dst in own and row.orig_src not in own}
    wanted = met & ({row.orig_src for row in stood} | gateways)
    wanted |= {row.orig_dst for row in stood if row.orig_src in own} & gateways
    names = ", ".join(sorted(wanted)[:4])
    return (
        ("a BGP session that ended, or calls to port 179 where nobody listens", names, "conntrack") if wanted else None
    )


def _gateways(view: HostView) -> set[str]:
    """Next hops of a few routes."""
    found = set()
    for family in ("inet", "inet6"):
        rows = with_gateway(view.routes(family)).nonzero()[0][:MOST].tolist()
        found |= {hop.gateway for row in view.route_rows(family, rows) for hop in row.hops if hop.gateway}
    return found


def _missing(evidence: tuple[str, object, str], routes: int, severity: Severity = "critical") -> Draft:
    what, names, source = evidence
    return RULE.found(
        subject=subject("socket", path=USUAL),
        severity=severity,
        confidence="certain" if severity == "critical" else "likely",
        message=f"no BIRD runs on this host; {what}: {names} ({source})",
        evidence=[
            evidence,
            ("control sockets of BIRD", 0, "/run/bird/bird.ctl and the other usual places"),
            ("kernel routes of protocol bird", routes, "RTM_GETROUTE rtm_protocol 12"),
        ],
        confirm=["pgrep -a bird || echo no process", "ls -l /run/bird 2>&1"],
        fix="systemctl start bird  # look into its log first",
        breaks=[subject("host")],
    )


def check(view: HostView) -> Iterator[Draft]:
    evidence = missing(view)
    if evidence is not None:
        yield _missing(evidence, installed(view))
    elif (evidence := calling(view)) is not None:
        yield _missing(evidence, installed(view), "warning")
    alive = {row.path.rpartition("/")[2] for row in view.bird_sockets if row.alive}
    routes = installed(view)
    for dead in view.bird_sockets:
        if dead.alive or reason(dead) == "No such file or directory":  # it went while netdiag looked
            continue
        left = f"; {routes} route{'s' if routes > 1 else ''} of BIRD's stand in the kernel" if routes else ""
        yield RULE.found(
            subject=subject("socket", path=dead.path),
            message=f"BIRD's control socket {dead.path} {how(dead)}{left}",
            evidence=[
                ("what the socket says", reason(dead), f"connect {dead.path}"),
                ("kernel routes of protocol bird", routes, "RTM_GETROUTE rtm_protocol 12"),
            ],
            confirm=[
                f"timeout 2 {birdc(dead.path, 'show status')} || echo no answer",
                f"ss -xlpn | grep -F {quoted(dead.path)}; pgrep -a bird || echo no process",
            ],
            fix="systemctl restart bird  # look into its log first",
            confidence=confidence_of(view, dead, alive),
            breaks=[subject("host")],
        )


def examples() -> Iterator[Example]:
    about = subject("socket", path="/run/bird/bird.ctl")
    yield Example(
        name="killed",
        why="the socket outlived its daemon",
        tables=BirdHost().control_socket().build(),
        fires=1,
        subject=about,
        severity="critical",
        confidence="certain",
        says=("has no daemon behind it any more", "Connection refused"),
    )
    hanging = BirdHost().control_socket(
        hangs=True, detail="bird /run/bird/bird.ctl: no whole answer before the deadline"
    )
    yield Example(
        name="hangs",
        why="a stopped daemon accepts and says nothing; its sessions are about to end",
        tables=hanging.build(),
        fires=1,
        subject=about,
        severity="critical",
        confidence="certain",
        says=("does not answer",),
    )
    broken = BirdHost().control_socket(detail="bird /run/bird/bird.ctl: the daemon closed the connection")
    yield Example(
        name="breaks off",
        why="something listens there that is not a working BIRD",
        tables=broken.build(),
        fires=1,
        severity="critical",
        confidence="likely",
        says=("does not answer as BIRD does",),
    )
    stale = BirdHost().control_socket().link("eth0").address("eth0", "192.0.2.2/24")
    stale.route("10.0.0.0/8", via="192.0.2.1", dev="eth0", protocol=12)
    yield Example(
        name="killed, with routes left",
        why="what it had installed stays in the kernel",
        tables=stale.build(),
        fires=1,
        says=("; 1 route of BIRD's stand",),
    )
    stale6 = BirdHost().control_socket().link("eth0").address("eth0", "2001:db8::2/64")
    stale6.route("2001:db8:1::/48", via="2001:db8::1", dev="eth0", protocol=12)
    stale6.route("2001:db8:2::/48", via="2001:db8::1", dev="eth0", protocol=12)
    yield Example(
        name="killed, with IPv6 routes left",
        why="routes of both families count",
        tables=stale6.build(),
        fires=1,
        says=("; 2 routes of BIRD's",),
    )
    yield Example(
        name="one of two dead",
        why="BIRD 1.6 has a daemon for each family; the one for IPv6 is gone",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird/bird6.ctl").build(),
        fires=1,
        subject=subject("socket", path="/run/bird/bird6.ctl"),
        confidence="certain",
    )
    yield Example(
        name="leftover of an older package",
        why="the same name in another folder is alive: perhaps nothing is amiss",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        fires=1,
        severity="info",
    )
    yield Example(
        name="leftover, and a daemon answered there at the time of the baseline",
        why="it is gone",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        baseline=BirdHost().daemon("/run/bird/bird.ctl").daemon("/run/bird.ctl").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="the same name in a folder that somebody named",
        why="each has a daemon of its own",
        tables=BirdHost().daemon("/run/bird/bird.ctl").control_socket("/run/bird-inner/bird.ctl").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="both places dead",
        why="a dead socket of the same name is no successor",
        tables=BirdHost().control_socket("/run/bird/bird.ctl").control_socket("/run/bird.ctl").build(),
        fires=2,
        severity="critical",
    )
    yield Example(name="alive", why="it answers", tables=BirdHost().daemon().build())
    yield Example(name="no BIRD", why="most hosts have none", tables=HostBuilder().build())
    away = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    yield Example(
        name="routes without a socket",
        why="BIRD was stopped in order; routes that it left are another fault",
        tables=away.route("10.0.0.0/8", via="192.0.2.1", dev="eth0", protocol=12).build(),
    )
    gone = BirdHost().control_socket(detail="bird /run/bird/bird.ctl: No such file or directory")
    yield Example(
        name="socket removed while netdiag looked",
        why="BIRD was stopped in order at this moment",
        tables=gone.build(),
    )
    yield from _stopped()


def _stopped() -> Iterator[Example]:
    """Hosts without any control socket."""
    want = IntendedAnnouncement(prefix="203.0.113.7/32", session="up_*")
    told: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("socket", path=USUAL)}

    def bare(**intent: Any) -> HostBuilder:
        return HostBuilder().link("eth0").intend(**intent)

    def case(name: str, why: str, host: HostBuilder, before: HostBuilder | None = None, **expected: Any) -> Example:
        old = before.build() if before is not None else None
        return Example(name=name, why=why, tables=host.build(), baseline=old, **expected)

    stood = BirdHost().bgp("up1")
    drained: dict[str, Any] = {"labels": {"drained": "true"}}
    words = ("no BIRD runs on this host; meant to be announced: 203.0.113.7/32",)
    yield case("stopped, meant to announce", "nobody started it", bare(announce=(want,)), says=words, **told)
    yield case("stopped, nothing to announce", "the intent says so", bare(announce=()))
    yield case("stopped, drained", "on purpose", bare(announce=(want,)), **drained)
    yield case("nobody told of one", "another host", bare())
    elsewhere = bare(announce=(want,)).socket(sport=179, comm="bird")
    yield case("its socket is elsewhere", "it runs", elsewhere)
    yield case("another listens", "no BIRD", bare(announce=(want,)).socket(sport=179, comm="bgpd"), **told)
    words = ("sessions that stood: up1",)
    yield case("stopped since the baseline", "its sessions are lost", bare(), stood, says=words, **told)
    yield case("stopped since the baseline, drained", "on purpose", bare(), stood, **drained)
    yield case("no session stood then", "nothing is lost", bare(), BirdHost().bgp_down("up1"))
    yield case("none then", "another host", bare(), HostBuilder())
    yield case("running", "as it was", BirdHost().control_socket(alive=True, detail=""), stood)
    yield from _called()


def _called() -> Iterator[Example]:
    """Whether neighbours still call."""
    alarm: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("where nobody listens: 192.0.2.",)}
    for name, src, status, listens, expected in (
        ("a gateway is refused", "192.0.2.1", 2, "", alarm),
        ("a session stood a minute ago", "192.0.2.9", 6, "", alarm),
        ("a neighbour scans", "192.0.2.9", 2, "", {}),
        ("another daemon listens", "192.0.2.1", 6, "bgpd", {}),
        ("this host called itself", "192.0.2.2", 6, "", {}),
    ):
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        ends = f"{src} 40000 192.0.2.2 179", f"192.0.2.2 179 {src} 40000"
        host.conntrack(6, *ends, status=status, tcp_state="close")
        if listens:
            host.socket(sport=179, comm=listens)
        yield Example(name=f"no BIRD, {name}", why="who takes it for a router", tables=host.build(), **expected)
    for far, expected in ((179, {}), (80, alarm)):
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.conntrack(6, "192.0.2.1 40000 192.0.2.2 179", "192.0.2.2 179 192.0.2.1 40000", status=2)
        host.socket(state=1, sport=40001, dport=far, comm="speaker")
        why = "a speaker that only calls out has its session"
        yield Example(name=f"no BIRD, a connection to port {far}", why=why, tables=host.build(), **expected)
    for dst, status, expected in (("192.0.2.1", 6, alarm), ("192.0.2.1", 2, {}), ("192.0.2.9", 6, {})):
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.conntrack(6, f"192.0.2.2 40000 {dst} 179", f"{dst} 179 192.0.2.2 40000", status=status)
        why = "a session with the gateway ended; with others it may have been a probe"
        yield Example(name=f"no BIRD, a call to {dst}, status {status}", why=why, tables=host.build(), **expected)
    through = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    through.conntrack(6, "192.0.2.1 40000 10.0.0.9 179", "10.0.0.9 179 192.0.2.1 40000", status=6)
    yield Example(name="no BIRD, a session through this host", why="others' BGP", tables=through.build())
    other = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    other.conntrack(6, "192.0.2.1 40000 192.0.2.2 180", "192.0.2.2 180 192.0.2.1 40000", status=6)
    yield Example(name="no BIRD, another port", why="no BGP", tables=other.build())
