"""BGP sessions whose TCP segments the kernel throws away before BIRD sees them: a wrong password, a wrong TTL.

Neither side is told, so BIRD has no error to show; only TcpExt counters move, and as seldom as a side calls anew.
Totals since boot are judged where no scanner of port 179 makes them rise: of segments that somebody signed; and of a
session that hangs after its connection stood, and whose neighbour acknowledges nothing of what it was sent. Pure.
"""

from collections.abc import Collection, Iterable, Iterator

from netdiag.index.packet import Lookup
from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED
from netdiag.rules.bgpsessions import (
    RESTARTS,
    Session,
    dead_links,
    default_lost,
    down_severity,
    loss_words,
    routed,
    sessions,
    stood,
    touched,
    way,
)
from netdiag.rules.shape import Rule
from netdiag.rules.silentneighbours import failing
from netdiag.rules.sockettables import packed

READS = ("bird", "links", "addresses", "routes", "rules", "sysctls", "counters")
MUTE = ("", "Socket: Connection timed out", *RESTARTS)
"""What BIRD says where nothing comes back; why the neighbour ended the session before stays until the next one."""
RESET = "Socket: Connection reset by peer"
CLOSED = "Socket: Connection closed"
EXPIRED = "BGP Error: Hold timer expired"
GIVEN_UP = (RESET, CLOSED, EXPIRED)
"""The connection stood, and the neighbour, of which nothing is heard, gave it up: in one way or the other; or this
side did, when its hold time was over."""


def stuck(view: HostView, states: Iterable[str], errors: tuple[str, ...] = MUTE) -> list[Session]:
    """Sessions that call and get no answer."""
    wanted = tuple(states)
    return [session for session in sessions(view) if session.state in wanted and session.error in errors]


def unheard(view: HostView, session: Session) -> bool:
    """Whether the neighbour's kernel acknowledges nothing of what it was sent: one that is there does so at once, busy
    as its BIRD may be. (The acknowledgements are what is dropped.)"""
    address, table = session.protocol.neighbor_address, view.sockets
    if session.address is None or address is None or not view.read_whole("sockets"):
        return False
    family, raw = packed(address)
    row = (table.family == family) & (table.dst == raw).all(axis=1) & (table.protocol == IPPROTO_TCP)
    row &= (table.sport == BGP_PORT) | (table.dport == BGP_PORT)
    return bool((row & (table.state == ESTABLISHED) & (table.wqueue > 0)).any())


def since_then(view: HostView, totals: dict[str, int]) -> bool:
    """Whether a counter rose since the baseline, within one boot."""
    old = view.baseline
    if old is None or not old.read_whole("counters") or old.meta.boot_id != view.meta.boot_id:
        return False
    before = old.latest.snmp
    return any(total > before.get(f"TcpExt.{name}", 0) for name, total in totals.items())


def calls_in_vain(view: HostView, session: Session, answer: Lookup | None) -> bool:
    """Whether it has called for longer than a start takes, and the way to the neighbour is not what fails: its link
    carries, and the neighbour or the gateway before it answers."""
    hops = answer.hops if answer is not None and answer.ok else ()
    if not hops or session.starting() or not view.read_whole("neighbours") or dead_links(view, session, answer):
        return False
    dead = failing(view)
    return all((hop.oif, hop.gateway or session.protocol.neighbor_address) not in dead for hop in hops)


def findings(
    rule: Rule,
    view: HostView,
    counters: Iterable[str],
    states: Iterable[str],
    *,
    what: str,
    fix: str,
    reset: bool = False,
    hangs: tuple[str, ...] = (),
    signed: Collection[str] = (),
) -> Iterator[Draft]:
    """A finding for each stuck session, where one of the counters moved, or has since the baseline, when the session
    stood; a possibility where it once did. ``signed``: counters that only routers make rise; where one ever did, that
    is why a session calls in vain (such a rule consults "neighbours"). ``reset``: connections do come to stand, so that
    a moving counter is also why a side gave one up. ``hangs``: states that are over within a round trip, unless what
    comes is dropped: there drops of the past count, in OpenConfirm where nothing of what was sent is acknowledged (such
    a rule consults "sockets"; before, the OPEN may just have been)."""
    totals = {name: view.latest.snmp.get(f"TcpExt.{name}", 0) for name in counters}
    moved = {name: view.moved(f"TcpExt.{name}") or 0 for name in totals}
    told = next((name for name in totals if moved[name]), None)
    ever = [name for name in totals if totals[name]]
    by_routers = next((name for name in ever if name in signed), None)
    name = told or by_routers or next(iter(ever), None)
    if name is None:
        return
    risen = since_then(view, totals)
    for session in stuck(view, states, (*MUTE, *GIVEN_UP) if reset and told else MUTE):
        hung = session.state in hangs and (session.state != "OpenConfirm" or unheard(view, session))
        answer = way(view, session)
        likely = bool(told) or hung or (risen and stood(view, session))
        likely |= by_routers is not None and calls_in_vain(view, session, answer)
        hears = f" ({session.error})" if session.error in GIVEN_UP else " without an error"
        yield rule.found(
            subject=session.subject,
            message=f"BGP session {session.name} to {session.neighbour} stays in {session.state}{hears}, and "
            f"the kernel {'drops' if told else 'has dropped'} TCP segments {what}; {loss_words(view, session)}",
            severity=down_severity(view, session),
            confidence="likely" if likely else "possible",
            evidence=[
                (f"TcpExt {name} between the samples", moved[name], f"/proc/net/netstat TcpExt.{name}"),
                (f"TcpExt {name} since boot", totals[name], f"/proc/net/netstat TcpExt.{name}"),
                ("BGP state", f"{session.state}, {session.error or 'no error'}", session.source),
                *routed(view, answer),
            ],
            confirm=[session.confirm, f"nstat -asz TcpExt{name}"],
            fix=fix.format(name=session.name, address=session.protocol.neighbor_address)
            + ", then: "
            + session.command("configure"),
            touches=touched(view, session, answer),
            breaks=default_lost(view, session),
        )
