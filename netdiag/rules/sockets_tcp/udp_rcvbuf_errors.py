"""What it checks
  Datagrams that were dropped while netdiag looked because a UDP socket's receive buffer was full (Udp.RcvbufErrors,
  Udp6RcvbufErrors), and the sockets whose own count of drops moved meanwhile. Likewise those that were dropped because
  all UDP sockets together hold as much as net.ipv4.udp_mem allows (MemErrors). And sockets that have lost some before,
  whose buffer is full and whose program is stopped, or frozen with its cgroup.

Why it matters
  UDP has nobody to send again: DNS questions, QUIC, syslog, userspace WireGuard and game traffic are lost without a
  trace on the wire. The program that reads is too slow, hangs or is stopped, or its buffer does not hold a burst.

Confirm
  nstat -az UdpRcvbufErrors Udp6RcvbufErrors, twice
  ss -uanm: d in skmem counts the drops of a socket

Fix
  If the program hangs, mend that. Else give its socket a larger buffer: the program must ask (SO_RCVBUF), and
  net.core.rmem_max caps what it gets; net.core.rmem_default serves those that do not ask, after a restart. Where the
  memory of all is used up: end the program whose sockets hold it, or raise net.ipv4.udp_mem.

Not flagged
  Drops of the past, of programs that run. Drops that a socket counts for other reasons while the two counters stand
  still (checksum errors, a filter's refusals). A large Recv-Q without a drop.

References
  net/ipv4/udp.c __udp_enqueue_schedule_skb(); udp(7), socket(7) SO_RCVBUF; SK_MEMINFO_DROPS
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.model.sockets import TOLD_SKMEM
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import about, named

RULE = Rule(
    id="udp-rcvbuf-errors",
    title="a UDP receive buffer is full and datagrams are lost",
    severity="critical",
    reads=("deltas", "sockets"),
)
COUNTERS = {"Udp.RcvbufErrors": "Udp.InDatagrams", "Udp6RcvbufErrors": "Udp6InDatagrams"}
SOURCES = {"Udp.RcvbufErrors": "snmp", "Udp6RcvbufErrors": "snmp6"}
MEMORY = {"Udp.MemErrors": "snmp", "Udp6MemErrors": "snmp6"}
MANY = 0.01
"""Share of lost datagrams from which on it is no passing burst."""
NAMED = 5
HALTED = {
    **dict.fromkeys(("T", "t"), ("is stopped", "kill -CONT {pid}")),
    "F": ("is frozen with its cgroup", "unpause the container of process {pid}: cat /proc/{pid}/cgroup"),
}
"""Programs that read nothing, by state of the process: in words, and what helps."""


def check(view: HostView) -> Iterator[Draft]:
    yield from _memory(view)
    yield from _deaf(view)
    moved = {name: view.deltas.snmp(name) or 0 for name in COUNTERS}
    lost = sum(moved.values())
    if not lost:
        return
    came = sum(view.deltas.snmp(COUNTERS[name]) or 0 for name, count in moved.items() if count)
    severity: Severity = "critical" if lost >= MANY * (came + lost) else "warning"
    table = view.sockets
    both = (table.protocol == IPPROTO_UDP) & (table.later == 1) & (table.later_drops > table.drops)
    positions = np.flatnonzero(both)
    order = positions[np.argsort(-(table.later_drops[positions].astype(np.int64) - table.drops[positions]))]
    counted = [
        (f"lost between the looks ({name})", count, f"/proc/net/{SOURCES[name]} {name}")
        for name, count in moved.items()
        if count
    ]
    fix = "if the program hangs or is stopped, mend that; else raise net.core.rmem_max and the buffer that it asks for"
    confirm = ["nstat -az UdpRcvbufErrors Udp6RcvbufErrors"]
    holders = {owner.inode: owner for owner in view.socket_owners.owners}
    for position in order[:NAMED].tolist():
        row = table.row(position)
        held = holders.get(int(table.inode[position]))
        halt = HALTED.get(held.state) if held is not None else None
        drops = int(table.later_drops[position]) - int(table.drops[position])
        buffer = int(table.rcvbuf[position])
        yield RULE.found(
            subject=about(row),
            severity=severity,
            message=f"{named(view, row)} lost {drops} datagrams in {view.deltas.seconds:.1f} s: its receive buffer is "
            f"full{f', and the program {halt[0]}' if halt else ''}",
            evidence=[
                *counted,
                ("drops of the socket", drops, f"SOCK_DIAG udp sport {row.sport} SK_MEMINFO_DROPS"),
                (
                    "receive buffer",
                    f"{buffer} bytes" if table.told[position] & TOLD_SKMEM else "not told",
                    "SK_MEMINFO_RCVBUF",
                ),
            ],
            confirm=[*confirm, f"ss -uanmp sport = :{row.sport}"],
            fix=halt[1].format(pid=held.pid) if held is not None and halt else fix,
        )
    if not len(order):
        yield RULE.found(
            subject=subject("host"),
            severity=severity,
            message=f"{lost} datagrams were lost in {view.deltas.seconds:.1f} s because a UDP receive buffer was full",
            evidence=counted,
            confirm=[*confirm, "ss -uanm"],
            fix=fix,
        )


def _deaf(view: HostView) -> Iterator[Draft]:
    """Sockets of programs that are halted, that have lost some and are full, and lost none between the looks."""
    table = view.sockets
    full = (table.protocol == IPPROTO_UDP) & (table.later == 1) & (table.drops > 0) & (table.told & TOLD_SKMEM != 0)
    full &= (table.later_drops == table.drops) & (
        table.rqueue.astype(np.int64) * 4 >= table.rcvbuf.astype(np.int64) * 3
    )
    holders = {owner.inode: owner for owner in view.socket_owners.owners}
    for position in np.flatnonzero(full).tolist():
        held = holders.get(int(table.inode[position]))
        if held is None or held.state not in HALTED:
            continue
        row, (words, fix) = table.row(position), HALTED[held.state]
        yield RULE.found(
            subject=about(row),
            severity="warning",
            message=f"{named(view, row)} loses every datagram that comes: its receive buffer is full, and the program "
            f"{words}",
            evidence=[
                (
                    "drops of the socket",
                    int(table.drops[position]),
                    f"SOCK_DIAG udp sport {row.sport} SK_MEMINFO_DROPS",
                ),
                ("bytes that wait", int(table.rqueue[position]), "SOCK_DIAG udp idiag_rqueue"),
                ("receive buffer", f"{int(table.rcvbuf[position])} bytes", "SK_MEMINFO_RCVBUF"),
                ("state of the process", held.state, f"/proc/{held.pid}/stat"),
            ],
            confirm=[f"ss -uanmp sport = :{row.sport}", f"ps -o pid,stat,comm -p {held.pid}"],
            fix=fix.format(pid=held.pid),
        )


def _memory(view: HostView) -> Iterator[Draft]:
    """Datagrams that were dropped for lack of memory for all of UDP."""
    short = {name: count for name in MEMORY if (count := view.deltas.snmp(name) or 0) > 0}
    if not short:
        return
    yield RULE.found(
        subject=subject("sysctl", name="net.ipv4.udp_mem"),
        message=f"{sum(short.values())} datagrams were lost in {view.deltas.seconds:.1f} s because UDP's memory is "
        "used up (net.ipv4.udp_mem)",
        evidence=[
            (f"lost between the looks ({name})", count, f"/proc/net/{MEMORY[name]} {name}")
            for name, count in short.items()
        ],
        confirm=["nstat -az UdpMemErrors Udp6MemErrors", "grep UDP: /proc/net/sockstat; ss -uanm"],
        fix="end the program whose sockets hold it (ss -uanmp), or raise net.ipv4.udp_mem in the initial namespace",
        breaks=[subject("host")],
    )


def _host(name: str, lost: int, came: int = 0, drops: tuple[int, int] | None = (7, 12), **fields: Any) -> HostBuilder:
    host = HostBuilder()
    if drops is not None:
        host.socket(
            **(
                {"protocol": 17, "sport": 53, "comm": "dns", "rcvbuf": 4096, "later": 1}
                | {"drops": drops[0], "later_drops": drops[1]}
                | fields
            )
        )
    base = {"Udp.RcvbufErrors": 4, "Udp.InDatagrams": 100, "Udp6RcvbufErrors": 4, "Udp6InDatagrams": 100}
    after = base | {name: 4 + lost, COUNTERS[name]: 100 + came}
    return host.counters(before={"snmp": base}, after={"snmp": after})


def examples() -> Iterator[Example]:
    receiver = subject("socket", netid="udp", src="0.0.0.0", sport=53)

    def fires(name: str, why: str, host: HostBuilder, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=1, **more)

    yield fires(
        "a socket that loses",
        "the plain fault",
        _host("Udp.RcvbufErrors", 5),
        subject=receiver,
        severity="critical",
        says=("dns's udp socket 0.0.0.0:53 lost 5 datagrams", "4096 bytes"),
    )
    for state, says in (
        ("T", ("full, and the program is stopped", "kill -CONT 1")),
        ("F", ("frozen with its cgroup",)),
    ):
        halted = _host("Udp.RcvbufErrors", 5, process=state)
        yield fires(f"its program is in state {state}", "who is stopped reads nothing", halted, says=says)
    stopped: dict[str, Any] = {"process": "T", "rqueue": 3072, "told": TOLD_SKMEM}
    for name, fields, fires_ in (
        ("full, and stopped", {}, 1),
        ("full, and frozen", {"process": "F"}, 1),
        ("full, and asleep", {"process": "S"}, 0),
        ("not full, and stopped", {"rqueue": 3071}, 0),
        ("of a size that is not told", {"told": 0}, 0),
        ("gone meanwhile", {"later": 0}, 0),
        ("of another protocol", {"protocol": 255}, 0),
    ):
        deaf = _host("Udp.RcvbufErrors", 0, drops=(7, 7), **(stopped | fields))
        seen: dict[str, Any] = {"severity": "warning", "says": ("loses every datagram that comes",)} if fires_ else {}
        yield Example(
            name=f"lost some before, {name}", why="it reads nothing", tables=deaf.build(), fires=fires_, **seen
        )
    fresh = _host("Udp.RcvbufErrors", 0, drops=(0, 0), **stopped).build()
    yield Example(name="full and stopped, lost none", why="nobody sends more, perhaps", tables=fresh)
    awake = _host("Udp.RcvbufErrors", 5, process="S")
    yield fires("its program sleeps", "it may be slow", awake, says=("if the program hangs", "buffer is full"))
    six = _host("Udp6RcvbufErrors", 5, src="::")
    yield fires("IPv6", "counted apart", six, subject=subject("socket", src="::", sport=53))
    yield fires("one in a hundred", "no passing burst", _host("Udp.RcvbufErrors", 1, 99), severity="critical")
    yield fires("one in 101", "a burst that did not fit", _host("Udp.RcvbufErrors", 1, 100), severity="warning")
    yield fires(
        "no socket to name",
        "it was closed meanwhile",
        _host("Udp.RcvbufErrors", 5, drops=None),
        subject=subject("host"),
    )
    yield fires(
        "a connected socket", "it loses as well", _host("Udp.RcvbufErrors", 5, state=1, dst="192.0.2.1", dport=9)
    )
    for name in MEMORY:
        host = HostBuilder().counters(before={"snmp": {name: 3}}, after={"snmp": {name: 5}})
        about = subject("sysctl", name="net.ipv4.udp_mem")
        yield fires(f"{name}", "all sockets together", host, subject=about, severity="critical", says=("2 datagrams",))
    still = HostBuilder().counters(before={"snmp": {"Udp.MemErrors": 3}}, after={"snmp": {"Udp.MemErrors": 3}})
    yield Example(name="memory was short in the past", why="it stands still", tables=still.build())
    quiet = _host("Udp.RcvbufErrors", 5, drops=(7, 7))
    yield fires("its own count stands still", "then it is not that one", quiet, subject=subject("host"))
    other = _host("Udp.RcvbufErrors", 5, protocol=255)
    yield fires("a raw socket loses at the same time", "another protocol", other, subject=subject("host"))
    for name, why, host in (
        ("lost in the past", "both counters stand still", _host("Udp.RcvbufErrors", 0, drops=(7, 7))),
        ("counter went back", "a reset", _host("Udp.RcvbufErrors", -2, drops=(7, 7))),
        ("a filter refuses", "the socket counts it, the buffer was not full", _host("Udp.RcvbufErrors", 0)),
        ("much unread", "nothing was lost yet", _host("Udp.RcvbufErrors", 0, drops=(0, 0), rqueue=4000)),
    ):
        yield Example(name=name, why=why, tables=host.build())
    busy = _host("Udp.RcvbufErrors", 1, 99)
    samples = busy.build().counters
    assert samples.second is not None
    second = msgspec.structs.replace(samples.second, snmp=samples.second.snmp | {"Udp6InDatagrams": 9999})
    tables = replace(busy.build(), counters=msgspec.structs.replace(samples, second=second))
    yield Example(name="IPv6 is busy meanwhile", why="counted apart", tables=tables, fires=1, severity="critical")
