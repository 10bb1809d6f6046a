"""What it checks
  The TCP connection of a BGP session sends the same data again and again without an acknowledgement, there is more of
  it than a keepalive, and meanwhile data from the neighbour arrives: the way is open for small packets and closed for
  full ones. Or the session stands, and nothing but its first few small messages was ever acknowledged: it stalls at
  its first update, and the neighbour's next keepalive is not due yet. Or an earlier connection of the session ended
  that way, and the kernel still tries to get rid of what it had to send (FIN-WAIT-1, CLOSING, LAST-ACK), while the
  session is down, or stands anew with as much waiting again.

Why it matters
  Keepalives of 19 bytes pass, so the session comes up. The first full UPDATE is as long as the MSS allows; somewhere on
  the way an MTU is smaller, and the ICMP message that would tell is filtered. Everything behind it waits. When the hold
  time is over the session is reset, comes up again, and stalls at the same place.

Confirm
  ss -tin '( sport = :179 or dport = :179 )'      (backoff, retrans, unacked)
  ping -M do -s 1472 NEIGHBOUR          (as long as a full segment with its headers)
  tracepath -n NEIGHBOUR

Fix
  Repair the MTU on the way, or let ICMP "fragmentation needed" (IPv6 "packet too big") through. At once, on this host:
  ip route replace NEIGHBOUR/32 via GATEWAY dev IFNAME advmss 1200 mtu 1240, then restart the session. sysctl
  net.ipv4.tcp_mtu_probing=1 finds the size by itself for new connections.

Not flagged
  Connections that send again less than three times in a row: plain loss. Those that carried more before, and from
  which nothing has come since the stall began: the whole way is closed (see bgp-hold-timer-expired when the session is
  lost). Less unacknowledged data than half an MSS. What is left of a connection that stalled, where the session stands
  again and gets rid of its updates: the way was repaired. Hosts whose sockets could not be read.

References
  RFC 2923, RFC 4821, RFC 8899; net/ipv4/tcp_timer.c tcp_retransmit_timer(), struct tcp_info
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import CLOSING, ESTABLISHED, FIN_WAIT1, LAST_ACK, TOLD_INFO, Sockets, sockets_from_rows
from netdiag.rules.bgpsessions import Session, routed, sessions, touched, way
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import stalled_for

RULE = Rule(
    id="bgp-hold-mtu-stall",
    title="full-sized updates of a BGP session do not arrive",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses", "routes", "rules", "sysctls", "sockets"),
    consults=("wireguard",),
    explains=("bgp-hold-timer-expired", "bgp-not-established", "tcp-*"),
)
IN_A_ROW = 3
"""Retransmissions of one segment; each waits twice as long as the one before."""
ENDED = (FIN_WAIT1, CLOSING, LAST_ACK)
"""States of a connection that BIRD has closed, and that has something left to send."""
GREETINGS = 4
"""Data segments of a session's start: OPEN, KEEPALIVE, End-of-RIB of two families."""


def greeted(table: Sockets, position: int) -> bool:
    """Whether nothing but the start of the session was ever acknowledged."""
    distinct = int(table.data_segs_out[position]) - int(table.total_retrans[position])
    waiting = -(-(int(table.wqueue[position]) - int(table.notsent[position])) // int(table.snd_mss[position]))
    return 0 < distinct - waiting <= GREETINGS


class Stall(NamedTuple):
    """A connection that does not get rid of its updates."""

    position: int
    """In the table of sockets."""
    heard: bool
    """Data came from the neighbour since the stall began."""
    ended: int = 0
    """So many connections ended like that; 0: it is the session's own of now."""


def stalled(view: HostView) -> dict[str, Stall]:
    """BGP connections that stall, or did until they ended, by the neighbour's address."""
    table = view.sockets
    ours = (table.protocol == IPPROTO_TCP) & ((table.told & TOLD_INFO) != 0) & (table.snd_mss > 0)
    ours &= ((table.sport == BGP_PORT) | (table.dport == BGP_PORT)) & (table.wqueue * 2 >= table.snd_mss)
    ours &= (table.timer == 1) & among(table.state, (ESTABLISHED, *ENDED))
    found: dict[str, Stall] = {}
    over: dict[str, list[int]] = {}
    for position in np.flatnonzero(ours & (table.retrans >= IN_A_ROW)).tolist():
        heard = int(table.last_data_recv[position]) < stalled_for(table, position)
        moved = bool(table.later[position]) and table.later_received[position] != table.received[position]
        (row,) = table.rows([position])
        if table.state[position] != ESTABLISHED:
            if heard:
                over.setdefault(row.dst, []).append(position)
        elif heard or moved or greeted(table, position):
            found[row.dst] = Stall(position, heard or moved)
    return {address: Stall(rows[0], True, len(rows)) for address, rows in over.items()} | found


def waits_anew(table: Sockets, address: str) -> bool:
    """Whether a connection to the neighbour stands, and sends again what is longer than a keepalive."""
    anew = (table.state == ESTABLISHED) & ((table.sport == BGP_PORT) | (table.dport == BGP_PORT)) & (table.retrans > 0)
    anew &= (table.protocol == IPPROTO_TCP) & (table.wqueue * 2 >= table.snd_mss)
    return any(row.dst == address for row in table.rows(np.flatnonzero(anew).tolist()))


def check(view: HostView) -> Iterator[Draft]:
    found = stalled(view)
    if not found:
        return
    for session in sessions(view):
        address = session.protocol.neighbor_address or ""
        stall = found.get(address)
        if stall is None or session.switched_off or not (stall.heard or session.up):
            continue
        if not stall.ended or not session.up or waits_anew(view.sockets, address):
            yield _draft(view, session, stall)


def _draft(view: HostView, session: Session, stall: Stall) -> Draft:
    table, address, position = view.sockets, session.protocol.neighbor_address or "", stall.position
    mss, waiting = int(table.snd_mss[position]), int(table.wqueue[position])
    answer = way(view, session)
    told = "while the neighbour is heard" if stall.heard else "and before them only the session's greetings got through"
    left = f"{waiting} bytes wait in segments of {mss}, sent {int(table.retrans[position])} times without an answer"
    words = f"stalls: {left}, {told}"
    if stall.ended:
        words = f"stalled until its connection was lost: of that one {left}, though the neighbour was heard"
    return RULE.found(
        subject=session.subject,
        message=f"BGP session {session.name} to {session.neighbour} {words}",
        evidence=[
            ("retransmissions in a row", int(table.retrans[position]), f"INET_DIAG {address} idiag_retrans"),
            ("bytes not acknowledged", waiting, f"INET_DIAG {address} idiag_wqueue"),
            ("segment size", mss, f"INET_DIAG_INFO {address} tcpi_snd_mss"),
            *([("connections that ended so", stall.ended, "INET_DIAG idiag_state")] if stall.ended else []),
            ("milliseconds since data came", int(table.last_data_recv[position]), "tcpi_last_data_recv"),
            *routed(view, answer),
        ],
        confirm=[
            f"ss -tin{'a' if stall.ended else ''}o dst {quoted('[' + address + ']' if ':' in address else address)}",
            f"ping -c2 -W1 -M do -s {_full(table, position, address)} {quoted(address)}",
        ],
        fix=f"tracepath -n {quoted(address)}; repair the MTU on the way, or lower it here (ip route ... mtu)",
        touches=touched(view, session, answer),
    )


def _full(table: Sockets, position: int, address: str) -> int:
    """What a ping of the size of a full segment carries: with the headers of IP and TCP and a timestamp (RFC 7323),
    where the path takes that much."""
    largest, headers = int(table.snd_mss[position]) + 24, 48 if ":" in address else 28
    path = int(table.pmtu[position])
    return min(largest, path - headers) if path else largest


def _case(name: str, why: str, *, switched_off: bool = False, **fields: Any) -> Example:
    expected = {key: fields.pop(key) for key in ("fires", "severity", "subject") if key in fields}
    state: dict[str, Any] = {"state": "down", "info": "", "bgp_state": "Down"} if switched_off else {}
    if "bgp_state" in fields:
        state = {"state": "start", "info": "", "bgp_state": fields.pop("bgp_state")}
    host: Any = BirdHost().bgp("up1", **state)
    host.link("eth0").address("eth0", "192.0.2.2/24")
    row: dict[str, Any] = {
        "family": 2, "protocol": 6, "state": 1, "told": TOLD_INFO, "src": "192.0.2.2", "dst": "192.0.2.1",
        "sport": 40000, "dport": 179, "retrans": 3, "timer": 1, "wqueue": 4000, "snd_mss": 1460, "last_data_recv": 1000,
    }  # fmt: skip
    now = fields.pop("now", None)
    rows = [row | fields] + ([row | {"sport": 40001, "wqueue": 0, "retrans": 0} | now] if now is not None else [])
    tables = replace(host.build(), sockets=sockets_from_rows([{"probes": row["retrans"]} | row for row in rows]))
    return Example(name=name, why=why, tables=tables, **expected)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("bgp-session", name="up1")}
    yield _case("we called", "the plain fault", **crit)
    yield _case("the neighbour called", "our port is 179", sport=179, dport=40000, **crit)
    yield _case("twice", "plain loss", retrans=2, last_data_recv=100)
    yield _case("segment size not told", "an old kernel", snd_mss=0)
    untold: dict[str, Any] = {"last_data_recv": 9999, "received": 5}
    yield _case("silent, one look", "the whole way is closed", **untold)
    yield _case("silent between two looks", "the same", later=1, later_received=5, **untold)
    for milliseconds, count in ((1399, 1), (1400, 0)):
        yield _case(
            f"heard {milliseconds} ms ago", "200 + 400 + 800 since it began", last_data_recv=milliseconds, fires=count
        )
    away: dict[str, Any] = {"retrans": 7, "last_data_recv": 6200}
    yield _case("heard since it began", "25 seconds of waiting", **away, fires=1)
    yield _case("the neighbour is away, as ICMP says", "it waits no longer for that (RFC 6069)", probes=5, **away)
    heard: dict[str, Any] = {"last_data_recv": 9999, "later": 1, "received": 5, "later_received": 24}
    yield _case("heard between the looks", "a keepalive came", **heard, **crit)
    for waiting, count in ((730, 1), (729, 0)):
        yield _case(f"{waiting} bytes", "half an MSS is the border", wqueue=waiting, fires=count)
    start: dict[str, Any] = {"last_data_recv": 9999, "retrans": 4, "total_retrans": 4, "snd_mss": 1000}
    for segments, waiting, notsent, fires in (
        (12, 4000, 0, 1), (13, 4000, 0, 0), (13, 4001, 0, 1), (9, 4000, 3000, 1), (8, 4000, 0, 0)
    ):  # fmt: skip
        fields = start | {"data_segs_out": segments, "wqueue": waiting, "notsent": notsent}
        name = f"silent, {segments} segments out, {waiting} bytes wait, {notsent} not sent"
        yield _case(name, "four were acknowledged: greetings", **fields, fires=fires)
    early = start | {"data_segs_out": 12, "bgp_state": "OpenSent"}
    yield _case("silent, and not established", "no keepalive got through", **early)
    yield _case("another port", "not BGP", dport=22)
    yield _case("another neighbour", "no session of ours", dst="192.0.2.9")
    yield _case("no tcp_info", "from /proc/net", told=0)
    yield _case("keepalive timer", "nothing is sent again", timer=2)
    yield _case("switched off", "it is about to close", switched_off=True)
    for state, fires in ((4, 1), (11, 1), (9, 1), (5, 0), (8, 0)):
        yield _case(
            f"an earlier one, state {state}", "what is left of it", state=state, bgp_state="Active", fires=fires
        )
    left: dict[str, Any] = {"state": 9, "retrans": 5}
    yield _case("an earlier one, silent", "the neighbour was away", bgp_state="Active", last_data_recv=6200, **left)
    again: dict[str, Any] = {"wqueue": 4000, "retrans": 1, "last_data_recv": 900}
    yield _case("an earlier one, and the same again", "once is no proof, twice is", now=again, **left, **crit)
    for name, now in (
        ("all is sent", {}), ("nothing is lost", again | {"retrans": 0}), ("a keepalive waits", again | {"wqueue": 19}),
        ("another neighbour's waits", again | {"dst": "192.0.2.9"}),
    ):  # fmt: skip
        yield _case(f"an earlier one, now {name}", "the way was repaired", now=now, **left)
