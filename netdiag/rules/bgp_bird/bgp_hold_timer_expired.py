"""What it checks
  A BGP session is down, and its last error is an expired hold timer: ours ("BGP Error") or the neighbour's
  ("Received").

Why it matters
  The TCP connection stood, and then one direction fell silent for the whole hold time. "BGP Error: Hold timer expired":
  nothing came from the neighbour. "Received: Hold timer expired": nothing of ours arrived there, though its notice
  reached us. Causes: loss, a firewall for TCP port 179, an MTU too small for full updates, a daemon or a host that
  stood still. BIRD forgets the error when the session stands again.

Confirm
  birdc show protocols all NAME
  ss -tinp '( sport = :179 or dport = :179 )'
  ping -M do -s 1472 NEIGHBOUR

Fix
  Where this host's own filter stops them, the finding names the rule and opens it. Else find what swallows the
  packets: route and link to the neighbour, firewall rules on both sides, path MTU (see bgp-hold-mtu-stall), load of
  both daemons. BIRD calls again by itself; birdc restart NAME tries at once and costs nothing while the session is
  down.

Not flagged
  Sessions that are switched off, or stand again. A neighbour that restarts gracefully, and one that restarted a moment
  ago: the routes are kept; told as a possibility, as is one of a range of neighbours. Passive sessions are a warning
  at most, but where they stood at the time of the baseline. Maintenance on the other side looks the same from here, and
  is an outage all the same.

References
  RFC 4271 sections 6.5 and 4.2; bgp_hold_timeout() in proto/bgp/bgp.c of BIRD
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.rules.bgpsessions import (
    HOLD_TIMER,
    bird_name,
    entries,
    loss_words,
    routed,
    sessions,
    touched,
    waiting_severity,
    way,
)
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_nft import port, rule
from netdiag.rules.build_talks import DROP, at_hook
from netdiag.rules.nftplaces import fact, list_chain, place_words
from netdiag.rules.owntalks import of_session, opened, stop
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-hold-timer-expired",
    title="a BGP session was lost because one direction fell silent",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls", "neighbours"),
    consults=("wireguard", "nft", "nexthops", "sockets", "baseline"),
    explains=("bgp-not-established", "nf-own-traffic-dropped", "route-default-missing", "dns-nameserver-unroutable"),
)


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        if session.up or HOLD_TIMER not in session.error:
            continue
        row, answer = session.protocol, way(view, session)
        theirs = session.error.startswith("Received")
        silent = "the neighbour heard nothing from here" if theirs else "nothing came from the neighbour"
        mute = any(state in ("failed", "incomplete") for _, state, _ in entries(view, session))
        if mute and not theirs:
            asked = "neighbour solicitation" if ":" in (row.neighbor_address or "") else "ARP"
            silent += f", which does not answer {asked} either"
        talk = of_session(view, session) if view.netfilter.tables else None
        blocker = stop(view, talk) if talk is not None else None
        if blocker is not None:
            silent += f" ({place_words(blocker.at)} stops its packets)"
        kept = row.neighbor_graceful_restart or session.ranged
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} was lost when the hold timer expired: "
            f"{silent}; " + loss_words(view, session),
            severity=waiting_severity(view, session),
            confidence="possible" if kept else "likely" if session.waits else None,
            evidence=[
                ("last error", session.error, session.source),
                *([fact(blocker)] if blocker is not None else []),
                ("BGP state", session.state, session.source),
                ("in this state since", row.since or "unknown", session.source),
                *routed(view, answer),
                *entries(view, session),
            ],
            confirm=[
                session.confirm,
                *([list_chain(blocker.at.table, blocker.at.chain)] if blocker is not None else []),
                "ss -tina state all '( sport = :179 or dport = :179 )'",
            ],
            fix=opened(talk, blocker)
            if talk is not None and blocker is not None
            else f"find what swallows packets {'to' if theirs else 'from'} {row.neighbor_address} (link, firewall, "
            f"MTU), then: {session.command(f'restart {bird_name(session.name)}')}",
            touches=touched(view, session, answer),
        )


def _case(name: str, why: str, host: BirdHost, **expected: Any) -> Example:
    host.link("eth0").address("eth0", "192.0.2.2/24")
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    ours, theirs = f"BGP Error: {HOLD_TIMER}", f"Received: {HOLD_TIMER}"
    about = subject("bgp-session", name="up1")
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": about}
    yield _case("ours", "the plain fault", BirdHost().bgp_down("up1", ours), says=("nothing came",), **crit)
    yield _case("theirs", "the other direction", BirdHost().bgp_down("up1", theirs), says=("heard nothing",), **crit)
    dead = BirdHost().bgp_down("up1", ours)
    dead.link("eth0").address("eth0", "192.0.2.2/24").neighbour("192.0.2.1", dev="eth0", state="failed")
    says = ("which does not answer ARP either",)
    yield Example(name="no answer to ARP", why="its card, its cable", tables=dead.build(), says=says, **crit)
    both = rule(port(IPPROTO_TCP, BGP_PORT), DROP), rule(port(IPPROTO_TCP, BGP_PORT, source=True), DROP)
    shut = BirdHost().bgp_down("up1", ours)
    shut.nft(at_hook("input", *both))
    named = (" of inet filter input (tcp sport 179 drop) stops its packets", "nft 'insert rule inet filter input")
    yield _case("dropped here", "the host's own filter", shut, says=named, **crit)
    half = BirdHost().bgp_down("up1", ours)
    half.nft(at_hook("input", both[0]))
    yield _case("half of it dropped here", "that stops no session", half, says=("find what swallows",), **crit)
    second = BirdHost().bgp_down("up1", ours).bgp("up2", neighbor_address="192.0.2.9")
    yield _case("one of two", "the other carries its routes", second, fires=1, severity="warning")
    stopped = BirdHost().bgp_down("up1", ours, bgp_state="Down", state="down")
    yield _case("disabled after the error", "BIRD did that by itself", stopped, **crit)
    away = channel("ipv6")
    third = BirdHost().bgp_down("up1", ours).bgp("up2", neighbor_address="192.0.2.9").bgp("up3", channels=(away,))
    words = ("1 other session still up (up2)",)
    yield _case("one of three", "the third carries another family", third, fires=1, severity="warning", says=words)
    passive = BirdHost().bgp_down("up1", ours, bgp_state="Passive")
    yield _case("passive", "the neighbour calls, and need not be there", passive, fires=1, severity="warning")
    some = BirdHost().bgp_down("dyn1", ours, bgp_state="Passive", other={"Neighbor range": "192.0.2.0/24"})
    yield _case("one of a range", "it may have gone", some, fires=1, severity="info")
    yield Example(
        name="passive, and it stood",
        why="it was there",
        tables=passive.build(),
        fires=1,
        severity="critical",
        baseline=BirdHost().bgp("up1").build(),
    )
    old = BirdHost().bgp("up1", last_error=ours)
    yield _case("stands, with the old error", "as a daemon of another release may tell", old)
    local = BirdHost().bgp_down("up1", ours, neighbor_address="fe80::1", neighbor_ifname="eth1")
    local.link("eth0").address("eth0", "fe80::2/64").link("eth1").address("eth1", "fe80::3/64")
    yield Example(
        name="a link-local neighbour", why="its interface is named", tables=local.build(), fires=1, says=("dev eth1",)
    )
    yield _case("another error", "not this", BirdHost().bgp_down("up1", "Socket: Connection refused"))
    yield _case("stands again", "BIRD has forgotten it", BirdHost().bgp("up1"))
    kept = BirdHost().bgp_down("up1", ours, neighbor_graceful_restart=True)
    yield _case("neighbour restarts gracefully", "its routes are kept", kept, fires=1, severity="info")
