"""Hosts on which no control socket of BIRD exists, though one should: for bgp-daemon-dead. Pure.

What tells so: the intent, the baseline, --bird-socket, BGP connections that ended a moment ago, neighbours that call.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import with_gateway
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_ASSURED
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import IntendedAnnouncement
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, TIME_WAIT
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.expected import since
from netdiag.rules.shape import Example, Rule, quoted

PROGRAMS = ("bird", "bird6")
USUAL = "/run/bird/bird.ctl"
MOST = 64
"""Calls to port 179 that are looked at, connections that ended, and routes with a gateway."""
ENDING = (FIN_WAIT1, FIN_WAIT2, CLOSING, LAST_ACK, TIME_WAIT)
RTPROT_BIRD = 12
"""include/uapi/linux/rtnetlink.h."""


def without_socket(rule: Rule, view: HostView) -> Iterator[Draft]:
    """The report of a host on which no socket is, if something says that a daemon should be behind one; of each socket
    that --bird-socket names in vain."""
    named = [row.path for row in view.bird_sockets if row.absent and row.taken_away is None]
    other = not all(row.absent for row in view.bird_sockets)
    wanted = None if other or view.meta.drained else missing(view)
    if wanted is not None:
        yield _missing(rule, wanted, installed(view), sure=True)
        return
    # where its routes stand, fib-route-stale-daemon-gone speaks
    quiet = other or view.meta.drained or bool(installed(view))
    closed = set() if quiet else ended(view)
    wanted = None if quiet or (named and closed) else calling(view)
    if wanted is not None:
        yield _missing(rule, wanted, installed(view), sure=False)
    else:
        yield from (_absent(rule, path, len(closed)) for path in named)


def installed(view: HostView) -> int:
    """Kernel routes that some BIRD has put there."""
    return sum(int(np.count_nonzero(view.routes(family).protocol == RTPROT_BIRD)) for family in ("inet", "inet6"))


def missing(view: HostView) -> tuple[str, object, str] | None:
    """What tells that a BIRD should run, as evidence, on a host that has none."""
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
    if not view.read_whole("sockets"):
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
    wanted |= {far for far, port in ended(view) if port != BGP_PORT or far in gateways}
    names = ", ".join(sorted(filter(None, wanted))[:4])
    return (
        ("a BGP session that ended, or calls to port 179 where nobody listens", names, "conntrack, ss")
        if wanted
        else None
    )


def _gateways(view: HostView) -> set[str | None]:
    """Next hops of a few routes."""
    found: set[str | None] = set()
    for family in ("inet", "inet6"):
        rows = with_gateway(view.routes(family)).nonzero()[0][:MOST].tolist()
        found |= {hop.gateway for row in view.route_rows(family, rows) for hop in row.hops}
    return found


def ended(view: HostView) -> set[tuple[str, int]]:
    """Far ends of BGP connections that were closed within the last minute, with their ports, on a host where nobody
    waits for new ones."""
    table = view.sockets
    tcp = table.protocol == IPPROTO_TCP
    if (tcp & (table.state == LISTEN) & (table.sport == BGP_PORT)).any():
        return set()
    closed = tcp & among(table.state, ENDING) & ((table.sport == BGP_PORT) | (table.dport == BGP_PORT))
    return {(row.dst, row.dport) for row in table.rows(closed.nonzero()[0][:MOST])}


def _missing(rule: Rule, evidence: tuple[str, object, str], routes: int, *, sure: bool) -> Draft:
    what, names, source = evidence
    return rule.found(
        subject=subject("socket", path=USUAL),
        severity="critical" if sure else "warning",
        confidence="certain" if sure else "likely",
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


def _absent(rule: Rule, path: str, count: int) -> Draft:
    """A socket that netdiag was told of, and that does not exist; ``count``: connections that ended lately."""
    closed = f", and {count} BGP connection{'s were' if count > 1 else ' was'} closed within the last minute"
    return rule.found(
        subject=subject("socket", path=path),
        confidence="likely" if count else "possible",
        message=f"there is no control socket {path}, which --bird-socket names{closed if count else ''}",
        evidence=[
            ("control socket", f"{path}: no such file", "connect(2)"),
            ("BGP connections closed within the last minute", count, "SOCK_DIAG tcp TIME_WAIT"),
        ],
        confirm=[
            f"ls -l {quoted(path)}; pgrep -a bird || echo no process",
            "ss -tan '( sport = :179 or dport = :179 )'",
        ],
        fix="systemctl start bird  # look into its log first",
        breaks=[subject("host")] if count else [],
    )


def without_socket_examples() -> Iterator[Example]:
    """Hosts without any control socket, for bgp-daemon-dead."""
    yield from _stopped()
    yield from _named()
    yield from _called()


def _stopped() -> Iterator[Example]:
    """Hosts without any control socket."""
    want = IntendedAnnouncement(prefix="203.0.113.7/32", session="up_*")
    about = subject("socket", path=USUAL)
    told: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "certain", "subject": about}

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
    yield case("its socket is elsewhere", "it runs", elsewhere, unjudged=True)
    yield case("its socket is elsewhere, nothing said", "it runs", bare().socket(sport=179, comm="bird"), unjudged=True)
    yield case("another listens", "no BIRD", bare(announce=(want,)).socket(sport=179, comm="bgpd"), **told)
    words = ("sessions that stood: up1",)
    yield case("stopped since the baseline", "its sessions are lost", bare(), stood, says=words, **told)
    yield case("stopped since the baseline, drained", "on purpose", bare(), stood, **drained)
    yield case("no session stood then", "nothing is lost", bare(), BirdHost().bgp_down("up1"))
    yield case("none then", "another host", bare(), HostBuilder())
    yield case("running", "as it was", BirdHost().control_socket(alive=True, detail=""), stood)


def _named() -> Iterator[Example]:
    """A socket that --bird-socket names, and that is not there."""

    def host(made: BirdHost | None = None, **socket: Any) -> BirdHost:
        path = "/run/edge.ctl"
        made = (made or BirdHost()).control_socket(path, absent=True, detail=f"bird {path}: No such file or directory")
        if socket:
            made.socket(**({"state": TIME_WAIT, "dport": 179, "sport": 40000} | socket))
        return made

    about = subject("socket", path="/run/edge.ctl")
    loud: dict[str, Any] = {
        "severity": "critical",
        "confidence": "likely",
        "says": ("and 1 BGP connection was closed",),
    }
    quiet: dict[str, Any] = {"severity": "info", "confidence": "possible"}
    listening = host(state=FIN_WAIT2).socket(sport=179)
    routed = host(state=TIME_WAIT).link("eth0").address("eth0", "192.0.2.2/24")
    routed.route("10.0.0.0/8", via="192.0.2.1", dev="eth0", protocol=12)
    for name, why, made, expected in (
        ("a connection of BGP ended", "somebody stopped it in order", host(state=TIME_WAIT), loud),
        ("one that the neighbour opened ended", "likewise", host(state=FIN_WAIT2, sport=179, dport=4000), loud),
        ("nothing else", "a host without BIRD, and one option for all", host(), quiet),
        ("another connection ended", "no BGP", host(dport=443), quiet),
        ("a connection of BGP stands", "another speaker has it", host(state=ESTABLISHED), quiet),
        ("another speaker listens", "it closed one", listening, quiet),
        ("another BIRD answers", "a name that changed", host(BirdHost().daemon(), state=TIME_WAIT), quiet),
        ("its routes stand", "fib-route-stale-daemon-gone speaks", routed, quiet),
    ):
        yield Example(name=f"named, {name}", why=why, tables=made.build(), fires=1, subject=about, **expected)
    drained = host(state=TIME_WAIT).build()
    yield Example(name="named, drained", why="on purpose", tables=drained, labels={"drained": "true"}, fires=1, **quiet)
    want = IntendedAnnouncement(prefix="203.0.113.7/32", session="up_*")
    meant = host(state=TIME_WAIT)
    meant.intend(announce=(want,))
    says = ("no BIRD runs on this host",)
    refused = host()
    refused.link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    refused.conntrack(6, "192.0.2.1 40000 192.0.2.2 179", "192.0.2.2 179 192.0.2.1 40000", status=2, tcp_state="close")
    yield Example(name="named, a gateway calls", why="told once", tables=refused.build(), fires=1, severity="warning",
                  says=says)  # fmt: skip
    yield Example(name="named, meant to announce", why="told once", tables=meant.build(), fires=1, says=says)


def _called() -> Iterator[Example]:
    """Whether neighbours still call."""
    alarm: dict[str, Any] = {
        "fires": 1,
        "severity": "warning",
        "confidence": "likely",
        "says": ("where nobody listens: 192.0.2.",),
    }
    for src, dst, sport, dport, route, expected in (
        ("192.0.2.2", "192.0.2.9", 179, 40000, 2, alarm),
        ("192.0.2.2", "192.0.2.1", 40000, 179, 2, alarm),
        ("192.0.2.2", "192.0.2.9", 40000, 179, 2, {}),
        ("192.0.2.2", "192.0.2.9", 179, 40000, 12, {}),
    ):
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
        host.route("default", via="192.0.2.1", dev="eth0", protocol=route)
        host.socket(state=TIME_WAIT, src=src, dst=dst, sport=sport, dport=dport)
        why = (
            "with a port of 179 here somebody listened; a call to no gateway may be a probe; BIRD's routes tell as well"
        )
        yield Example(
            name=f"no BIRD, {sport} to {dst} {dport}, routes of {route}", why=why, tables=host.build(), **expected
        )
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
    inner = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    inner.conntrack(6, "10.0.0.9 40000 192.0.2.1 179", "192.0.2.1 179 10.0.0.9 40000", status=6)
    yield Example(name="no BIRD, a guest's session with the gateway", why="others' BGP", tables=inner.build())
    other = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    other.conntrack(6, "192.0.2.1 40000 192.0.2.2 180", "192.0.2.2 180 192.0.2.1 40000", status=6)
    yield Example(name="no BIRD, another port", why="no BGP", tables=other.build())
