"""What it checks
  The TCP connection of a BGP session sends the same data again and again without an acknowledgement, there is more of
  it than a keepalive, and meanwhile data from the neighbour arrives: the way is open for small packets and closed for
  full ones. Or the session stands, and nothing but its first few small messages was ever acknowledged: it stalls at
  its first update, and the neighbour's next keepalive is not due yet.

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
  lost). Less unacknowledged data than half an MSS. Hosts whose sockets could not be read.

References
  RFC 2923, RFC 4821, RFC 8899; net/ipv4/tcp_timer.c tcp_retransmit_timer(), struct tcp_info
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED, TOLD_INFO, Sockets, sockets_from_rows
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
GREETINGS = 4
"""Data segments of a session's start: OPEN, KEEPALIVE, End-of-RIB of two families."""


def greeted(table: Sockets, position: int) -> bool:
    """Whether nothing but the start of the session was ever acknowledged."""
    distinct = int(table.data_segs_out[position]) - int(table.total_retrans[position])
    waiting = -(-(int(table.wqueue[position]) - int(table.notsent[position])) // int(table.snd_mss[position]))
    return 0 < distinct - waiting <= GREETINGS


def stalled(view: HostView) -> dict[str, tuple[int, bool]]:
    """Positions of BGP connections that stall, by the neighbour's address, and whether it is heard meanwhile."""
    table = view.sockets
    chosen = (table.protocol == IPPROTO_TCP) & (table.state == ESTABLISHED) & ((table.told & TOLD_INFO) != 0)
    chosen &= ((table.sport == BGP_PORT) | (table.dport == BGP_PORT)) & (table.retrans >= IN_A_ROW) & (table.timer == 1)
    chosen &= (table.wqueue * 2 >= table.snd_mss) & (table.snd_mss > 0)
    found = {}
    for position in np.flatnonzero(chosen).tolist():
        heard = int(table.last_data_recv[position]) < stalled_for(table, position)
        moved = bool(table.later[position]) and table.later_received[position] != table.received[position]
        if heard or moved or greeted(table, position):
            (row,) = table.rows([position])
            found[row.dst] = position, heard or moved
    return found


def check(view: HostView) -> Iterator[Draft]:
    found = stalled(view)
    if not found:
        return
    for session in sessions(view):
        position, heard = found.get(session.protocol.neighbor_address or "", (None, False))
        if position is not None and not session.switched_off and (heard or session.up):
            yield _draft(view, session, position, heard)


def _draft(view: HostView, session: Session, position: int, heard: bool) -> Draft:
    table, address = view.sockets, session.protocol.neighbor_address or ""
    mss, waiting = int(table.snd_mss[position]), int(table.wqueue[position])
    answer = way(view, session)
    told = "while the neighbour is heard" if heard else "and before them only the session's greetings got through"
    return RULE.found(
        subject=session.subject,
        message=f"BGP session {session.name} to {session.neighbour} stalls: {waiting} bytes wait in segments of {mss}, "
        f"sent {int(table.retrans[position])} times without an answer, {told}",
        evidence=[
            ("retransmissions in a row", int(table.retrans[position]), f"INET_DIAG {address} idiag_retrans"),
            ("bytes not acknowledged", waiting, f"INET_DIAG {address} idiag_wqueue"),
            ("segment size", mss, f"INET_DIAG_INFO {address} tcpi_snd_mss"),
            ("milliseconds since data came", int(table.last_data_recv[position]), "tcpi_last_data_recv"),
            *routed(view, answer),
        ],
        confirm=[
            f"ss -tino dst {quoted('[' + address + ']' if ':' in address else address)}",
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
    row |= fields
    tables = replace(host.build(), sockets=sockets_from_rows([{"probes": row["retrans"]} | row]))
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
