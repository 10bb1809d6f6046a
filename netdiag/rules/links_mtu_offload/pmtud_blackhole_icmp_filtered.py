"""What it checks
  A TCP connection sends the same full-sized segments again and again without an acknowledgement, while the same peer is
  heard: on this connection, or on another one whose data arrives. The path MTU that the kernel goes by has not changed.

Why it matters
  Somewhere on the way the MTU is smaller, and the ICMP message that would tell (fragmentation needed, packet too big)
  is filtered. Handshakes and small answers pass; the first full segment never arrives: logins work, transfers hang.

Confirm
  ss -tino dst PEER                (backoff, retrans, mss, pmtu)
  tracepath -n PEER
  ping -M do -s 1472 PEER, and with smaller sizes; netdiag probe mtu PEER

Fix
  Let ICMP type 3 code 4 and ICMPv6 type 2 through where they are filtered. Until then, on this host:
  sysctl -w net.ipv4.tcp_mtu_probing=1, which finds the size by itself for connections that stall, or
  ip route replace PEER/32 via GATEWAY dev IFNAME mtu 1280. New connections take it at once.

Not flagged
  Less than three retransmissions in a row: plain loss. Peers of which nothing is heard since: the whole way is closed,
  or the peer went away; how long ago is reckoned from the doubled waits, not from the retransmissions, which a router
  that calls the peer unreachable makes quicker (RFC 6069).
  Less unacknowledged data than one segment. Segments below 1000 bytes: no path is that small. Peers that close their
  window. BGP sessions: see bgp-hold-mtu-stall.

References
  RFC 2923, RFC 4821, RFC 8899; net/ipv4/tcp_timer.c tcp_retransmit_timer(), tcp_mtu_probing()
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.protocols import BGP_PORT, IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED, TOLD_INFO, sockets_from_rows
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import stalled_for

RULE = Rule(
    id="pmtud-blackhole-icmp-filtered",
    title="full-sized TCP segments are lost on the way, and nothing says why",
    severity="warning",
    confidence="likely",
    reads=("sockets", "sysctls"),
    explains=("tcp-retrans-high", "tcp-pmtud-probing-off", "ip-fragfails"),
)
IN_A_ROW = 3
"""Retransmissions of one segment; each waits twice as long as the one before."""
SMALL = 1000
"""Bytes of a segment that fits everywhere."""
MOST = 8
"""Peers that are named."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    tcp = (table.protocol == IPPROTO_TCP) & (table.state == ESTABLISHED) & ((table.told & TOLD_INFO) != 0)
    tcp &= (table.sport != BGP_PORT) & (table.dport != BGP_PORT)
    stuck = tcp & (table.timer == 1) & (table.retrans >= IN_A_ROW)
    stuck &= (table.snd_mss >= SMALL) & (table.wqueue >= table.snd_mss)
    said: set[bytes] = set()
    for position in np.flatnonzero(stuck).tolist():
        peer = table.dst[position].tobytes()
        if peer in said or len(said) >= MOST or not _heard(view, position, tcp & ~stuck):
            continue
        said.add(peer)
        count = int(np.count_nonzero(stuck & (table.dst == table.dst[position]).all(axis=1)))
        yield _draft(view, position, count)


def _heard(view: HostView, position: int, others: Any) -> bool:
    """Whether data of the peer came since the stall began, here or on a connection that works."""
    table, since = view.sockets, stalled_for(view.sockets, position)
    moved = bool(table.later[position]) and table.later_received[position] != table.received[position]
    if moved or int(table.last_data_recv[position]) < since:
        return True
    same = others & (table.dst == table.dst[position]).all(axis=1) & (table.family == table.family[position])
    return bool((same & (table.last_data_recv < since) & (table.received > 0)).any())


def _draft(view: HostView, position: int, count: int) -> Draft:
    table = view.sockets
    row = table.row(position)
    mss, waiting, again = (int(getattr(table, name)[position]) for name in ("snd_mss", "wqueue", "retrans"))
    size = mss + (52 if row.family == "inet" else 72)
    probing = view.sysctl_int("net.ipv4.tcp_mtu_probing")
    more = f" ({count} connections)" if count > 1 else ""
    where = quoted(f"[{row.dst}]" if ":" in row.dst else row.dst)
    return RULE.found(
        subject=subject("socket", dst=row.dst),
        message=f"segments of {mss} bytes to {row.dst} are lost{more}: {waiting} bytes were sent {again} times without"
        f" an answer, while small packets of that peer arrive; a hop takes less than {size} bytes and says nothing",
        evidence=[
            ("retransmissions in a row", again, f"INET_DIAG {row.dst} idiag_retrans"),
            ("segment size", mss, f"INET_DIAG_INFO {row.dst} tcpi_snd_mss"),
            ("path MTU in use", int(table.pmtu[position]), f"INET_DIAG_INFO {row.dst} tcpi_pmtu"),
            ("net.ipv4.tcp_mtu_probing", probing, "/proc/sys/net/ipv4/tcp_mtu_probing"),
        ],
        confirm=[f"ss -tino dst {where}", f"ping -c2 -W1 -M do -s {mss + 24} {quoted(row.dst)}"],
        fix='sysctl -w net.ipv4.tcp_mtu_probing=1  # and let ICMP "fragmentation needed" through on the way',
        breaks=[subject("sysctl", name="net.ipv4.tcp_mtu_probing")],
    )


def _case(
    name: str,
    why: str,
    fires: int = 0,
    *,
    other: dict[str, Any] | None = None,
    says: tuple[str, ...] = (),
    **fields: Any,
) -> Example:
    known: dict[str, Any] = {
        "family": 2, "protocol": 6, "state": 1, "told": TOLD_INFO, "src": "192.0.2.2", "dst": "198.51.100.9",
        "sport": 40000, "dport": 443, "retrans": 3, "timer": 1, "wqueue": 1448, "snd_mss": 1448, "pmtu": 1500,
        "last_data_recv": 1399, "received": 500,
    }  # fmt: skip
    rows = [known | fields]
    if other is not None:
        rows.append(known | {"sport": 40001, "retrans": 0, "timer": 0, "wqueue": 0, "last_data_recv": 5} | other)
    rows = [{"probes": row["retrans"]} | row for row in rows]
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").sysctl("net.ipv4.tcp_mtu_probing", 0)
    tables = replace(host.build(), sockets=sockets_from_rows(rows))
    severity: Severity | None = "warning" if fires else None
    return Example(name=name, why=why, tables=tables, fires=fires, severity=severity, says=says)


def examples() -> Iterator[Example]:
    yield _case("full segments lost", "the plain fault", 1)
    told: dict[str, Any] = {"retrans": 7, "last_data_recv": 6200}
    yield _case("heard since", "the waits doubled: 25 seconds", 1, **told)
    yield _case("a router says that the peer is gone", "it waits no longer for that", probes=5, **told)
    yield _case("peer silent since", "the whole way is closed", last_data_recv=1400)
    yield _case("another connection is heard", "small packets pass", 1, last_data_recv=90000, other={})
    stale = {"last_data_recv": 1400}
    yield _case("the other one is idle", "it proves nothing", last_data_recv=90000, other=stale)
    away = {"dst": "198.51.100.8"}
    yield _case("another peer is heard", "another path", last_data_recv=90000, other=away)
    mute = {"received": 0}
    yield _case(
        "the other one never received", "its clock starts with the connection", last_data_recv=90000, other=mute
    )
    moved: dict[str, Any] = {"last_data_recv": 90000, "later": 1, "later_received": 501}
    yield _case("data came between the looks", "the peer is there", 1, **moved)
    yield _case("two in a row", "plain loss", retrans=2)
    yield _case("less than a segment", "it is not the size", wqueue=1447)
    yield _case("small segments", "no path is that small", snd_mss=999, wqueue=5000)
    yield _case("just so", "some tunnels leave as little", 1, snd_mss=1000, wqueue=5000)
    yield _case("window closed", "the peer wants nothing", timer=4)
    yield _case("BGP", "bgp-hold-mtu-stall speaks", dport=179)
    yield _case("BGP, called", "the same", sport=179)
    yield _case("not told", "a kernel without tcp_info", told=0)
    six: dict[str, Any] = {"family": 10, "src": "2001:db8::2", "dst": "2001:db8:9::9", "snd_mss": 1428}
    yield _case("IPv6", "the same", 1, **six)
    twice = {"retrans": 3, "timer": 1, "wqueue": 1448}
    yield _case("two connections", "one peer, one finding", 1, other=twice)
    idle: dict[str, Any] = {"last_data_recv": 90000, "later": 1, "later_received": 500}
    yield _case("nothing came between the looks", "the whole way is closed", **idle)
    yield _case("the other one received a byte", "small packets pass", 1, last_data_recv=90000, other={"received": 1})
    yield _case("two in a row, heard since", "plain loss", retrans=2, last_data_recv=599)
    yield _case("two connections, counted", "one peer", 1, other=twice, says=("are lost (2 connections)",))
