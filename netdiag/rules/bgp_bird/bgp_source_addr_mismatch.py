"""What it checks
  A BGP session cannot call because its source address is no address of this host ("Cannot assign requested address");
  or the neighbour hangs up on every call, and itself calls another address of this host than the one this host calls
  from (connection tracking and sockets show both): that one it has configured; or the address that it called from at
  the time of the baseline is gone; or the source of a session that stands, whose connection is this namespace's, is no
  address of this host any more. Or it resets or closes every connection at once, and this host has several addresses
  in its subnet; or it resets them, is on no subnet of this host, and inside the AS or of one /24 (/64) with an address
  on lo, and this host calls from another address than the one on lo. As a possibility: it closed one a moment ago, or
  this host has several addresses elsewhere that could be its source.

Why it matters
  A neighbour accepts a session only from the address that it has configured. With another source, one that the kernel
  chose because the right one was not configured or is gone, it hangs up: "Connection closed", or "reset by peer", and
  both sides stay in Active. Which address the neighbour expects stands only there, and in whom it calls. BIRD with a
  local address hangs up on calls to another one; without, it takes them, and the session stands.

Confirm
  birdc show protocols all NAME
  ip route get NEIGHBOUR      (src)
  tcpdump -ni IFNAME 'tcp port 179 and host NEIGHBOUR'

Fix
  Set "source address ADDRESS" (or "local ADDRESS as ...") of the session to what the neighbour has configured, and give
  the host that address; then birdc configure.

Not flagged
  Sessions that stand. Sources that are this host's while the neighbour does not hang up. Hosts with one address
  towards the neighbour. A neighbour that has lost the session from its configuration hangs up likewise: which it is,
  only that side can tell.
  BIRD 2 tells a failed bind only to its log, and shows no error then: told where a baseline knows the source.

References
  connect(2) EADDRNOTAVAIL; proto/bgp/bgp.c bgp_connect(), bgp_incoming_connection() of BIRD
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Subject, subject
from netdiag.model.sockets import ESTABLISHED, TIME_WAIT, sockets_from_rows
from netdiag.rules.bgpsessions import (
    Session,
    default_lost,
    down_severity,
    loss_words,
    routed,
    sessions,
    stood,
    touched,
    way,
)
from netdiag.rules.bgpsources import (
    HANGS_UP,
    RESET,
    called,
    candidates,
    chosen,
    doomed,
    loopback,
    near,
    refused_again,
)
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-source-addr-mismatch",
    title="a BGP session calls from the wrong address",
    severity="critical",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("wireguard", "conntrack", "sockets", "baseline"),
    explains=("bgp-not-established", "route-default-missing", "dns-nameserver-unroutable"),
)
EXPECTED = "an address of this host that the neighbour expects"
REFUSED = "Cannot assign requested address"


def lost_source(view: HostView, session: Session) -> str | None:
    """The address that a session called from at the time of the baseline, which this host does not have any more."""
    if session.switched_off or session.waits or not stood(view, session) or view.baseline is None:
        return None
    for one in sessions(view.baseline):
        if (one.daemon.socket, one.name) == (session.daemon.socket, session.name):
            source = one.protocol.source_address
            family = "inet6" if source and ":" in source else "inet"
            return source if source and not view.local.is_local(family, source) else None
    return None


def _ends(view: HostView, session: Session, source: str) -> Draft:
    answer = way(view, session)
    return RULE.found(
        subject=session.subject,
        message=f"BGP session {session.name} to {session.neighbour} still stands, but its source {source} is no "
        "address of this host any more: nothing of the neighbour arrives, and the hold timer ends it; "
        + loss_words(view, session),
        severity=down_severity(view, session),
        evidence=[
            ("source address", source, session.source),
            (f"interfaces with {source}", 0, "RTM_GETADDR IFA_LOCAL"),
            ("connection from it", f"{source} to {session.address}, established", "inet_diag"),
            *routed(view, answer),
        ],
        confirm=[session.confirm, f"ip -br address show to {source}", f"ss -tn src {source}"],
        fix=f"give this host {source} again (ip address add)",
        touches=[*touched(view, session, answer), subject("address", address=source)],
        breaks=default_lost(view, session),
    )


def _where(view: HostView, gone: str | None) -> list[Subject]:
    """The address that is gone, as the rules about addresses name it."""
    if gone is None or view.baseline is None:
        return []
    old = view.baseline
    names = [old.ifname(row.ifindex) for row in old.local.owners(gone)]
    return [subject("address", address=gone), *(subject("address", address=gone, ifname=name) for name in names)]


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        if session.up:
            if (lost := doomed(view, session)) is not None:
                yield _ends(view, session, lost)
            continue
        own = candidates(view, session)
        sure, gone = REFUSED in session.error, lost_source(view, session)
        if not sure and gone is None and (session.error not in HANGS_UP or len(own) < 2):
            continue
        answer = way(view, session)
        calls = None if sure or gone else called(view, session, chosen(view, answer))
        inner = None if sure or gone or calls else loopback(view, session, chosen(view, answer))
        likely = bool(calls or gone or inner) or (refused_again(session) and len(near(view, session)) > 1)
        source = gone or session.protocol.source_address or (calls[0] if calls else None)
        again = f"give this host {gone} again (ip address add), or "
        calls_from = source or chosen(view, answer) or "an address that is not told"
        words = (
            f"the neighbour hangs up on calls from {calls_from}; it may know another of the {len(own)} addresses here"
        )
        others = [address for address in near(view, session) if address != calls_from]
        words = "its source address is none of this host's" if sure else words
        if gone:
            words = f"{gone}, from which it called at the time of the baseline, is no address of this host any more"
        elif calls:
            words = f"it calls from {calls[0]}, and the neighbour calls {calls[1]}"
        elif inner:
            words = f"it calls from {chosen(view, answer)}, and the neighbour hangs up; the address on lo is {inner}"
        expected = (
            f"{others[0]}, if the neighbour expects that" if likely and len(others) == 1 and not gone else EXPECTED
        )
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} fails ({session.error or session.state}): "
            f"{words}; " + loss_words(view, session),
            severity=down_severity(view, session),
            confidence=None if sure else "likely" if likely else "possible",
            evidence=[
                ("last error", session.error, session.source),
                ("source address", source or "not told", session.source),
                ("own addresses of that family", ", ".join(own[:4]) or "none", "RTM_GETADDR IFA_LOCAL"),
                *([("address that the neighbour calls", calls[1], "conntrack, sockets: port 179")] if calls else []),
                *routed(view, answer),
            ],
            confirm=[session.confirm, f"ip route get {quoted(session.protocol.neighbor_address or '')}"],
            fix=(again if gone else "")
            + f"set 'source address' of protocol bgp {session.name} to {calls[1] if calls else inner or expected}, "
            f"then: {session.command('configure')}",
            touches=[*touched(view, session, answer), *_where(view, gone)],
            breaks=default_lost(view, session),
        )


def _case(name: str, why: str, error: str, *addresses: str, **more: Any) -> Example:
    host: Any = BirdHost().bgp_down("up1", error)
    host.link("eth0")
    for address in addresses or ("192.0.2.2/24",):
        host.address("eth0", address)
    return Example(name=name, why=why, tables=host.build(), **more)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1")
    told = f"Socket: {REFUSED}"
    yield _case("no address of ours", "the plain fault", told, fires=1, severity="critical", subject=about)
    two = "192.0.2.2/24", "192.0.2.3/24"
    info: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    likely: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely"}
    other = ("hangs up on calls from 192.0.2.2", "to 192.0.2.3, if the neighbour expects that, then")
    yield _case("reset", "the neighbour knows the other one", RESET, *two, says=other, **likely)
    three = (*two, "192.0.2.4/24")
    yield _case("reset, three", "it knows one of two", RESET, *three, says=(f"up1 to {EXPECTED}",), **likely)
    for name, since, delay, seen in (
        ("nine seconds ago", "11:59:51.000", "3.031/5", info),
        ("for ten seconds", "11:59:50.000", "3.031/5", likely),
        ("for ten seconds, called rarely", "11:59:50.000", "3.031/6", info),
        ("for twelve seconds, called rarely", "11:59:48.000", "3.031/6", likely),
        ("at a time that is not told", None, "3.031/5", info),
        ("for ten seconds, and no delay told", "11:59:50.000", "", likely),
    ):
        shut: Any = BirdHost().bgp_down("up1", HANGS_UP[0], since=since, other={"Connect delay": delay}).link("eth0")
        for address in two:
            shut.address("eth0", address)
        why = "it may be the end of a daemon" if seen is info else "that would be refused by now"
        yield Example(name=f"closed, {name}", why=why, tables=shut.build(), **seen)
    yield _case("reset, another subnet", "the kernel would not choose it", RESET, two[0], "10.0.0.3/24", **info)
    yield _case("reset, addresses of a service", "likewise", RESET, two[0], "192.0.2.7/32", **info)
    link: Any = BirdHost().bgp_down("up1", RESET).link("eth0").address("eth0", two[0]).address("eth0", "10.0.0.3/24")
    link.address("eth0", "192.0.2.9/24", scope=253)
    yield Example(name="reset, another of the link's scope", why="no source for it", tables=link.build(), **info)
    yield from _taken_away()
    yield from _called()
    yield from _calls_aside()
    yield from _inside()
    yield _case("one address", "there is no other", HANGS_UP[0])
    yield _case("refused", "nobody listens", "Socket: Connection refused", "192.0.2.2/24", "192.0.2.3/24")
    yield Example(name="stands", why="the ordinary case", tables=BirdHost().bgp("up1").build())
    yield _case("one of each family", "the other family's is no choice", HANGS_UP[0], "192.0.2.2/24", "2001:db8::2/64")
    old = BirdHost().bgp("up1", last_error=told).build()
    yield Example(name="stands, with an old error", why="as a daemon of another release may tell", tables=old)
    yield from _since()


def _called() -> Iterator[Example]:
    """Whom the neighbour calls, by connection tracking or by a socket that BIRD has closed."""
    out, back = "10.0.0.3 40000 192.0.2.1 179", "192.0.2.1 179 10.0.0.3 40000"
    alarm: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely"}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    for error in HANGS_UP:
        for name, dst, expected in (
            (
                "another of ours",
                "10.9.9.9",
                alarm | {"says": ("calls from 10.0.0.3, and the neighbour calls 10.9.9.9",)},
            ),
            ("the one that we call from", "10.0.0.3", info),
            ("none of ours", "10.9.9.8", info),
        ):
            host: Any = BirdHost().bgp_down("up1", error).link("eth0").address("eth0", "10.0.0.3/24")
            host.address("lo", "10.9.9.9/32").route("default", via="10.0.0.1", dev="eth0")
            held = {"protocol": 6, "state": TIME_WAIT, "src": dst, "dst": "192.0.2.1", "sport": 179, "dport": 40001}
            closed = replace(host.build(), sockets=sockets_from_rows([{"family": 2} | held]))
            yield Example(name=f"{error}: a closed call to {name}", why="who it is for", tables=closed, **expected)
            host.conntrack(6, out, back, tcp_state="close")
            host.conntrack(6, f"192.0.2.1 40001 {dst} 179", f"{dst} 179 192.0.2.1 40001", tcp_state="close")
            yield Example(name=f"{error}: it calls {name}", why="who it is for", tables=host.build(), **expected)


def _calls_aside() -> Iterator[Example]:
    """What else tells from where this host calls, and whom the neighbour's call is for."""
    likely: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely"}
    info: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}

    def host(to: str, by: str = "192.0.2.1", *, error: str = HANGS_UP[0], way: dict[str, Any] | None = None) -> Any:
        made: Any = BirdHost().bgp_down("up1", error).link("eth0").address("eth0", "10.0.0.3/24")
        made.address("lo", "10.9.9.9/32").socket(state=TIME_WAIT, src=to, dst=by, sport=179, dport=40001)
        if way is not None:
            made.route("default", via="10.0.0.1", dev="eth0", **way)
        return made

    def out(made: Any, source: str, state: str) -> Any:
        return made.conntrack(6, f"{source} 40000 192.0.2.1 179", f"192.0.2.1 179 {source} 40000", tcp_state=state)

    for to, wanted in (("10.9.9.9", info), ("10.0.0.3", likely)):
        made = host(to, way={"prefsrc": "10.9.9.9"})
        yield Example(
            name=f"the way's source is another, {to} is called", why="the way chooses it", tables=made.build(), **wanted
        )
    other = host("10.9.9.9", "192.0.2.77", way={})
    yield Example(name="another neighbour calls", why="it says nothing of this one", tables=other.build(), **info)
    lost = host("10.9.9.9")
    yield Example(name="no way to the neighbour", why="from where is not known", tables=lost.build(), **info)
    late = out(out(host("10.9.9.9", way={}), "10.9.9.9", "time_wait"), "10.0.0.3", "close")
    yield Example(name="an earlier session's end", why="it called from the right one", tables=late.build(), **likely)
    ended = out(host("10.0.0.3", way={}), "10.9.9.9", "time_wait")
    says = ("calls from 10.9.9.9, and the neighbour calls 10.0.0.3",)
    yield Example(name="ends alone", why="BIRD has a source of its own", tables=ended.build(), **likely, says=says)
    for neighbour, wanted in (("192.0.2.1", info), ("192.0.2.77", {"fires": 1, "confidence": "likely"})):
        two = host("10.9.9.9", way={}).bgp("up2", neighbor_address=neighbour, source_address="10.9.9.9")
        yield Example(
            name=f"the called one is another session's, with {neighbour}",
            why="that call may be for the other session of the same two",
            tables=two.build(),
            **wanted,
        )
    bind = host("10.9.9.9", error=f"Socket: {REFUSED}", way={})
    plain: dict[str, Any] = {"fires": 1, "severity": "critical", "says": ("source address not told", EXPECTED)}
    yield Example(name="cannot bind, and is called", why="it did not call", tables=bind.build(), **plain)


def _taken_away() -> Iterator[Example]:
    """A session that stands while its source address goes."""

    def host(own: str = "192.0.2.3/24", **socket: Any) -> Any:
        made: Any = BirdHost().bgp("up1", source_address="192.0.2.2").link("eth0").address("eth0", own)
        held = {"state": ESTABLISHED, "src": "192.0.2.2", "sport": 40000, "dst": "192.0.2.1", "dport": 179}
        return made.socket(**(held | socket))

    told: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "certain"}
    says = ("its source 192.0.2.2 is no address of this host any more",)
    yield Example(name="taken away", why="nothing arrives there", tables=host().build(), **told, says=says)
    called = host(sport=179, dport=40000)
    yield Example(name="taken away, the neighbour called", why="the same", tables=called.build(), **told)
    for name, why, one in (
        ("there", "the ordinary case", host("192.0.2.2/24")),
        ("no connection of it here", "the daemon is another namespace's", host(src="192.0.2.9")),
        ("its connection is to another", "it is another session's", host(dst="192.0.2.77")),
        ("its connection is no BGP", "it is something else", host(dport=8179)),
        ("its connection is over", "it is another finding's", host(state=TIME_WAIT)),
        (
            "local by a route",
            "any address of a prefix",
            host().route("192.0.2.2/32", dev="lo", table=255, type="local"),
        ),
    ):
        yield Example(name=f"source: {name}", why=why, tables=one.build())


def _inside() -> Iterator[Example]:
    """A session between the loopback addresses of two routers of one AS."""
    likely: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely"}
    info: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}

    def host(
        *on_lo: str, error: str = RESET, neighbor_as: int = 65001, own: str = "10.0.0.3/24", src: str | None = None
    ) -> Any:
        made: Any = BirdHost().bgp_down("mesh", error, neighbor_address="10.9.9.1", neighbor_as=neighbor_as,
                                        local_as=65001).link("eth0").address("eth0", own)  # fmt: skip
        for address in on_lo:
            made.address("lo", address)
        return made.route("default", via="10.0.0.1", dev="eth0", **({"prefsrc": src} if src else {}))

    mine, way = (
        "10.9.9.9/32",
        ("calls from 10.0.0.3", "lo is 10.9.9.9", "'source address' of protocol bgp mesh to 10.9"),
    )
    for name, why, made, seen in (
        ("calls from the uplink", "routers call from lo", host(mine), likely | {"says": way}),
        ("two addresses on lo", "which one?", host(mine, "10.9.9.8/32"), info),
        ("it is closed", "it may be the end of a daemon", host(mine, error=HANGS_UP[0]), info),
        ("another AS, other names", "neighbours call from the wire", host("203.0.113.7/32", neighbor_as=65002), info),
        ("another AS, of one block", "such routers call from lo", host(mine, neighbor_as=65002), likely),
        ("two on lo, one of its block", "the other is a service", host(mine, "203.0.113.7/32"), likely | {"says": way}),
        ("on a subnet", "neighbours call from the wire", host(mine, own="10.9.9.3/24"), info),
        ("calls from lo", "it is not the source", host(mine, src="10.9.9.9"), info),
    ):
        yield Example(name=f"inside the AS, {name}", why=why, tables=made.build(), **seen)


def _since() -> Iterator[Example]:
    """A baseline that knows the source."""
    likely: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "likely"}
    for name, error, address, fires in (
        ("is gone", "", "192.0.2.2/24", 1),
        ("is gone, and it hangs up", HANGS_UP[0], "192.0.2.2/24", 1),
        ("is here", "", "10.0.0.9/32", 0),
    ):
        now: Any = BirdHost().bgp_down("up1", error, bgp_state="Connect").link("eth0").address("eth0", address)
        then: Any = BirdHost().bgp("up1", source_address="10.0.0.9").link("eth0").address("eth0", "10.0.0.9/32")
        wanted = likely | {"says": ("give this host 10.0.0.9 again",)} if fires else {}
        yield Example(
            name=f"its source of the baseline {name}",
            why="BIRD tells a failed bind to nobody",
            tables=now.build(),
            baseline=then.build(),
            **wanted,
        )
    other: Any = BirdHost().bgp_down("up1", "", bgp_state="Connect").link("eth0").address("eth0", "192.0.2.2/24")
    bare: Any = BirdHost().bgp("up1").link("eth0").address("eth0", "10.0.0.9/32")
    yield Example(name="no source was told then", why="nothing is known", tables=other.build(), baseline=bare.build())
    given: tuple[tuple[str, str, dict[str, Any], dict[str, str]], ...] = (
        ("passive", "the other side calls", {"bgp_state": "Passive"}, {}),
        ("drained", "nobody is to call", {"bgp_state": "Connect"}, {"drained": "true"}),
        ("another neighbour", "it is another session", {"bgp_state": "Connect", "neighbor_address": "192.0.2.9"}, {}),
    )
    for name, why, fields, labels in given:
        host: Any = BirdHost().bgp_down("up1", "", **fields).link("eth0").address("eth0", "192.0.2.2/24")
        yield Example(name=f"its source is gone: {name}", why=why, tables=host.build(), baseline=then.build(),
                      labels=labels)  # fmt: skip
    called: Any = BirdHost().bgp_down("up1", HANGS_UP[0]).link("eth0").address("eth0", "192.0.2.2/24")
    called.address("eth0", "192.0.2.3/24").socket(state=TIME_WAIT, src="192.0.2.3", dst="192.0.2.1", sport=179,
                                                  dport=40001)  # fmt: skip
    yield Example(name="its source is gone, and another is called", why="that one may be a second session's",
                  tables=called.build(), baseline=then.build(), **likely, says=(EXPECTED,))  # fmt: skip
    off: Any = BirdHost().bgp_down("up1", "", bgp_state="Down", state="down").link("eth0")
    yield Example(name="switched off since", why="nobody calls", tables=off.build(), baseline=then.build())
