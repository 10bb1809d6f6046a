"""What it checks
  A session of BIRD sits in Idle without any error, because it waits for an interface on whose subnet the neighbour is,
  and the neighbour is on no subnet of this host, though there is a route to it. An external session does so without
  "multihop", an internal one with "direct".

Why it matters
  Without "multihop" BIRD takes the neighbour of an external session for directly connected (with "direct" that of an
  internal one, to loopback addresses as a rule) and does not even call it as long as no interface has its subnet. The
  session never comes up, and nothing is logged.

Confirm
  birdc show protocols all NAME      (Idle)
  ip route get NEIGHBOUR      (via a gateway)
  ip -br address show

Fix
  Put "multihop;" (or "multihop 2;") into the session, in place of "direct;" if that is there, and a source address
  where the neighbour expects one; then birdc configure. The neighbour needs it as well. If the neighbour ought to be on
  a link, it is the address of that link that is missing: give it back.

Not flagged
  A session whose neighbour another session has too: it may wait for that one. Neighbours on a subnet of any interface,
  also one that is down; link-local neighbours. Sessions with an error: they have called. Sessions that are switched
  off, passive, or just started.

References
  proto/bgp/bgp.c bgp_start() bgp_start_locked() of BIRD: "neighbor address ... on interface"; RFC 4271
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import (
    Session,
    default_lost,
    down_severity,
    loss_words,
    on_subnet,
    routed,
    sessions,
    touched,
    way,
)
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bgp-multihop-missing",
    title="a BGP session waits for a neighbour on a link, and it is further away",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls"),
    consults=("wireguard",),
    explains=("bgp-not-established", "route-default-missing", "dns-nameserver-unroutable"),
)


SETTLED = 0.5
"""Seconds within which BIRD has read the interfaces: it does so before it starts a session."""


def waits_for_link(session: Session) -> bool:
    """Idle for want of an interface: a multihop session calls at once, unless another one has the neighbour."""
    row = session.protocol
    others = sum(other.neighbor_address == row.neighbor_address for other in session.daemon.protocols)
    age = session.age()
    fresh = age is not None and age < SETTLED and "." in (row.since or "")  # BIRD 1.6 tells whole seconds
    asleep = row.state == "start" and session.state == "Idle" and not session.error
    return asleep and others == 1 and not session.waits and not fresh


def check(view: HostView) -> Iterator[Draft]:
    for session in sessions(view):
        answer = way(view, session) if waits_for_link(session) else None
        if answer is None or on_subnet(view, session) or not answer.ok:
            continue
        address, row = session.protocol.neighbor_address or "", session.protocol
        internal = row.local_as is not None and row.local_as == row.neighbor_as
        why = "is direct" if internal else "has no multihop"
        instead = "put 'multihop;' in place of 'direct;' in" if internal else "add 'multihop;' to"
        yield RULE.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} waits in Idle: the neighbour is on no subnet "
            f"of this host, and the session {why}; {loss_words(view, session)}",
            severity=down_severity(view, session),
            evidence=[
                ("BGP state", "Idle, no error", session.source),
                ("subnets of this host with the neighbour", 0, "RTM_GETADDR"),
                *routed(view, answer),
            ],
            confirm=[session.confirm, f"ip route get {quoted(address)}"],
            fix=f"{instead} protocol bgp {session.name} in BIRD's configuration, then: " + session.command("configure"),
            touches=touched(view, session, answer),
            breaks=default_lost(view, session),
        )


def _case(name: str, why: str, **fields: Any) -> Example:
    expected = {key: fields.pop(key) for key in ("fires", "severity", "subject", "says") if key in fields}
    error, routed_ = fields.pop("error", ""), fields.pop("routed", True)
    given: dict[str, Any] = {"bgp_state": "Idle", "neighbor_address": "198.51.100.1"}
    host: Any = BirdHost().bgp_down("up1", error, **(given | fields))
    host.link("eth0").address("eth0", "192.0.2.2/24").link("eth1", up=False).address("eth1", "203.0.113.2/24")
    if routed_:
        host.route("default", via="192.0.2.1", dev="eth0")
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    about = subject("bgp-session", name="up1")
    yield _case("behind a gateway", "the plain fault", fires=1, severity="critical", subject=about)
    yield _case("on a subnet", "something else is wrong", neighbor_address="192.0.2.1")
    yield _case("on the subnet of an interface that is down", "it waits for that", neighbor_address="203.0.113.1")
    yield _case("internal", "it is direct: multihop, the default, would have called", neighbor_as=65001, fires=1,
                says=("the session is direct", "in place of 'direct;'"))  # fmt: skip
    twins: Any = BirdHost().bgp_down("up1", bgp_state="Idle", neighbor_address="198.51.100.1", neighbor_as=65001)
    twins.bgp("up2", neighbor_address="198.51.100.1").link("eth0").address("eth0", "192.0.2.2/24")
    twins.route("default", via="192.0.2.1", dev="eth0")
    yield Example(name="two sessions with one neighbour", why="it waits for the other", tables=twins.build())
    yield _case("it has called", "an error means that it tried", error="Error: Neighbor lost")
    yield _case("calling", "it does not wait", bgp_state="Active")
    yield _case("link-local", "its interface is named", neighbor_address="fe80::1", neighbor_ifname="eth0")
    yield _case("no way at all", "the route is missing first", routed=False)
    yield _case("switched off", "on purpose", state="down", bgp_state="Down", info="")
    yield _case("just started", "interfaces are still being read", since="11:59:59.501")
    yield _case("half a second ago", "they have been read", since="11:59:59.500", fires=1)
    yield _case("just started, to the second", "as BIRD 1.6 tells it", since="12:00:00", fires=1)
    yield _case("when is not told", "another time format", since=None, fires=1)
    yield _case("no AS is told", "it need not be internal", neighbor_as=None, local_as=None, fires=1)
    yield _case("being stopped", "on its way down", state="stop")
    yield _case("a range of neighbours", "whoever calls", other={"Neighbor range": "198.51.100.0/24"})
    for table, fires in ((10, 1), (11, 0)):
        vrf: Any = BirdHost().bgp_down("up1", bgp_state="Idle", neighbor_address="198.51.100.1", other={"VRF": "vrf-a"})
        vrf.link("vrf-a", kind="vrf", info={"table": 10}).link("eth0", master="vrf-a")
        vrf.address("eth0", "192.0.2.2/24").rule(1000, table=None, l3mdev=True)
        vrf.route("default", via="192.0.2.1", dev="eth0", table=table)
        yield Example(name=f"in a VRF, table {table}", why="its table is asked", tables=vrf.build(), fires=fires)
    vague: Any = BirdHost().daemon(server_time="noon")
    vague.bgp_down("up1", bgp_state="Idle", neighbor_address="198.51.100.1", since="2026-01-02 11:00:00").link("eth0")
    vague.address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    yield Example(name="the daemon's clock is not told", why="its age is not known", tables=vague.build(), fires=1)
