"""What it checks
  Established TCP connections with bytes to be read of which none was read between two looks, where the process that
  should read is stopped (state T), frozen with its cgroup (a paused container) or stuck in the kernel (D), or where
  several connections of one program wait so, of a port that it serves or with 4 KiB and more. One connection with so
  much to read is an info; a warning of a port that it serves, where the receive buffer is full, nothing came for
  twelve seconds because nothing may, and nothing is read there from anybody else. Of a process that is stopped or
  stuck also those that the peer has given up since (CLOSE_WAIT). What nobody has accepted yet belongs to who listens
  there; where that one is stopped or frozen, also what waits to be accepted and has sent nothing.

Why it matters
  The program looks alive: its port listens, its process is there, the kernel acknowledges for it. But nothing is
  answered any more; the peers wait, fill the window and give up by their own timeouts.

Confirm
  ss -tnp: Recv-Q of its connections, twice; ps -o pid,stat,wchan:30,comm -p PID

Fix
  kill -CONT PID where it was stopped by hand; unpause the container, where its cgroup is frozen; else look where it
  hangs (cat /proc/PID/stack) and restart it.

Not flagged
  A consumer that is slow but reads. Connections of a program that sleeps which the peer has closed: pools keep such,
  with a goodbye in them, until they are needed (tcp-close-wait-leak counts them). Connections that a program opened,
  with a little to read, while it sleeps: a pool of idle ones, with TLS tickets or a goodbye in each. One that it
  serves, for a while, or while others there are read. What came in a moment before. With --interval 0 this is not
  evaluated.

References
  include/net/tcp.h tcp_inq(); tcpi_bytes_received, tcpi_last_data_recv of tcp(7); proc(5) /proc/PID/stat
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Confidence, Draft, Severity, Subject, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.snapshot import Tables
from netdiag.model.sockets import CLOSE_WAIT, ESTABLISHED, TOLD_INFO, Socket, SocketOwner, SocketOwners, Sockets
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockets_tcp.tcp_zero_window import PAUSE, full_here
from netdiag.rules.sockettables import Mask, listening

RULE = Rule(
    id="tcp-rcvq-stuck",
    title="a program has stopped reading its connections",
    severity="warning",
    reads=("sockets", "deltas"),
    explains=("tcp-zero-window",),
)
SEVERAL = 3
"""Connections of one program that wait, from which on it is not one idle client."""
MUCH = 4096
"""Bytes that wait, from which on it is more than a goodbye that a pool's connection keeps: TLS tickets, a notice."""
GOODBYE = 1
"""What the end of the peer's data counts for in the queue (tcp_inq_hint(), idiag_rqueue)."""
BIRDS = ("bird", "bird6")
"""By /proc/PID/comm: bgp-daemon-dead says that it hangs."""
HALTED = {"T": "is stopped", "t": "is stopped", "F": "is frozen with its cgroup"}
"""What a process does that reads nothing, by its state."""
SETTLED = 5000
"""Milliseconds since the last data came, for programs that merely sleep."""


def unread(view: HostView) -> Mask:
    """Connections of which nothing was read between the looks though there was something to be read.

    Read = received meanwhile - growth of the queue.
    """
    table = view.sockets
    both = (table.protocol == IPPROTO_TCP) & (table.later == 1) & (table.later_state == table.state)
    both &= (table.told & TOLD_INFO != 0) & (
        ((table.state == ESTABLISHED) & (table.rqueue > 0)) | ((table.state == CLOSE_WAIT) & (table.rqueue > GOODBYE))
    )
    received = table.later_received - table.received  # modulo 2**32, as the columns are
    growth = table.later_rqueue.astype(np.int64) - table.rqueue
    return np.asarray(both & (received == growth), np.bool_)


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    mask = unread(view)
    owners = {owner.inode: owner for owner in view.socket_owners.owners}
    listened = set(table.sport[listening(table, IPPROTO_TCP)].tolist())
    groups: dict[int, list[int]] = defaultdict(list)
    doors = _doors(view)
    by_pid = {owner.pid: owner for owner in owners.values()}
    for position in np.flatnonzero(mask).tolist():
        inode = int(table.inode[position])
        owner = owners.get(inode) if inode else doors.get(int(table.sport[position]))
        if owner is not None:
            groups[owner.pid].append(position)
    yield from _not_accepted(view, set(groups))
    for pid, positions in groups.items():
        owner = by_pid[pid]
        judged = judgement(view, owner, positions, listened)
        if judged is None:
            continue
        severity, confidence, why = judged
        row = table.row(positions[0])
        bytes_waiting = sum(int(table.later_rqueue[position]) for position in positions)
        yield RULE.found(
            subject=_about(row, owner.comm, served=row.sport in listened),
            severity=severity,
            confidence=confidence,
            message=f"{owner.comm} (pid {owner.pid}) {why}: {bytes_waiting} bytes in {len(positions)} of its "
            "connections are not read",
            evidence=[
                ("connections with unread bytes", len(positions), "SOCK_DIAG tcp idiag_rqueue"),
                ("read between the looks", "0 bytes", "tcpi_bytes_received, idiag_rqueue"),
                ("state of the process", owner.state, f"/proc/{owner.pid}/stat"),
            ],
            confirm=[f"ps -o pid,stat,wchan:30,comm -p {owner.pid}", "ss -tnp"],
            fix=_fix(owner),
            touches=[subject("host")] if owner.comm in BIRDS else (),
            breaks=[subject("socket", netid="tcp", sport=row.sport, comm=owner.comm)],
        )


def _holders(view: HostView) -> dict[int, list[SocketOwner]]:
    """By socket, the programs that hold it: workers share one with their parent."""
    found: dict[int, list[SocketOwner]] = defaultdict(list)
    for owner in view.socket_owners.owners:
        found[owner.inode].append(owner)
    return found


def _doors(view: HostView) -> dict[int, SocketOwner]:
    """Who listens, by port: the one program to whom a connection belongs that nobody has accepted yet (the kernel gives
    it a number only then)."""
    table, holders = view.sockets, _holders(view)
    found: dict[int, dict[int, SocketOwner]] = defaultdict(dict)
    for position in np.flatnonzero(listening(table, IPPROTO_TCP)).tolist():
        for owner in holders[int(table.inode[position])]:
            found[int(table.sport[position])][owner.pid] = owner
    return {port: next(iter(each.values())) for port, each in found.items() if len(each) == 1}


def _not_accepted(view: HostView, told: set[int]) -> Iterator[Draft]:
    """Programs that are halted while somebody waits to be let in, and of which nothing else is told."""
    holders = _holders(view)
    table = view.sockets
    waits = listening(table, IPPROTO_TCP) & (table.later == 1) & (table.rqueue > 0) & (table.later_rqueue > 0)
    for position in np.flatnonzero(waits).tolist():
        row, who = table.row(position), holders[int(table.inode[position])]
        if not who or any(each.state not in HALTED for each in who) or told & {each.pid for each in who}:
            continue
        owner = who[0]
        told.add(owner.pid)
        count = int(table.later_rqueue[position])
        yield RULE.found(
            subject=_about(row, owner.comm, served=True),
            confidence="certain",
            message=f"{owner.comm} (pid {owner.pid}) {HALTED[owner.state]}: {count} "
            f"connection{'s' * (count > 1)} to port {row.sport} wait{'s' * (count == 1)} to be accepted",
            evidence=[
                ("connections that wait", count, "SOCK_DIAG tcp idiag_rqueue"),
                ("state of the process", owner.state, f"/proc/{owner.pid}/stat"),
            ],
            confirm=[f"ps -o pid,stat,wchan:30,comm -p {owner.pid}", f"ss -ltnp sport = :{row.sport}"],
            fix=_fix(owner),
            touches=[subject("host")] if owner.comm in BIRDS else (),
        )


def judgement(
    view: HostView, owner: SocketOwner, positions: list[int], listened: set[int]
) -> tuple[Severity, Confidence, str] | None:
    """How bad and how sure; None where the program may only be idle. ``listened``: ports that are served here."""
    table = view.sockets
    if owner.state in HALTED:
        return "warning", "certain", HALTED[owner.state]
    waited = [p for p in positions if int(table.later_last_data_recv[p]) >= SETTLED]
    if owner.state == "D" and waited:
        return "warning", "likely", "hangs in the kernel"
    much = [p for p in waited if int(table.later_rqueue[p]) >= MUCH]
    open_ = [p for p in waited if int(table.state[p]) == ESTABLISHED]
    asked = [p for p in open_ if int(table.sport[p]) in listened or p in much]
    if len(asked) >= SEVERAL or full_here(table)[1][positions].any():
        return "warning", "likely", "does not read"
    long = [p for p in asked if int(table.later_last_data_recv[p]) >= PAUSE]
    if any(p in much for p in asked) or (long and not served_meanwhile(table, {int(table.sport[p]) for p in long})):
        return "info", "possible", "does not read"
    return None


def served_meanwhile(table: Sockets, ports: set[int]) -> bool:
    """Whether anything was read, between the looks, of what came to one of these ports."""
    came = (table.protocol == IPPROTO_TCP) & (table.later == 1) & (table.later_received > table.received)
    return bool((came & among(table.sport, ports) & (table.later_rqueue == 0)).any())


def _fix(owner: SocketOwner) -> str:
    if owner.state in ("T", "t"):
        return f"kill -CONT {owner.pid}"
    if owner.state == "F":
        cgroup = f"/sys/fs/cgroup$(sed -n s/^0::// /proc/{owner.pid}/cgroup)"
        return f"echo 0 > {cgroup}/cgroup.freeze  # or unpause the container, which froze it or a cgroup above"
    return f"restart {quoted(owner.comm)}"


def _about(row: Socket, comm: str, *, served: bool) -> Subject:
    if served:
        return subject("socket", netid="tcp", src=row.src, sport=row.sport, comm=comm)
    return subject("socket", netid="tcp", dst=row.dst, dport=row.dport, comm=comm)


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        fires: int,
        *,
        count: int = 1,
        process: str = "T",
        ago: int = 6000,
        served: bool = True,
        **fields: Any,
    ) -> Example:
        host = HostBuilder()
        if served:
            host.socket(src="192.0.2.1", sport=80, comm="web")
        for number in range(count):
            row: dict[str, Any] = {
                "src": "192.0.2.1",
                "sport": 80,
                "dst": "192.0.2.9",
                "dport": 5000 + number,
                "state": 1,
                "rqueue": 10,
                "received": 100,
                "later": 1,
                "later_rqueue": 10,
                "later_received": 100,
                "later_last_data_recv": ago,
                "snd_wnd": 1000,
                "comm": "web",
                "process": process,
                "inode": 50 + number,
            }
            host.socket(**(row | fields))
        tables = host.counters(before={}, after={}).build()
        if count > 1:  # one process holds all of them
            owners = tuple(msgspec.structs.replace(row, pid=9) for row in tables.socket_owners.owners)
            tables = replace(tables, socket_owners=SocketOwners(owners=owners, seconds=1.0))
        return Example(name=name, why=why, tables=tables, fires=fires, severity="warning" if fires else None)

    yield case("stopped", "the plain fault", 1)
    yield replace(
        case("frozen", "a paused container", 1, process="F"), says=("is frozen with its cgroup", "cgroup.freeze")
    )
    yield case("stopped, data just came", "it will not read them", 1, ago=5)
    yield case("stopped, and more came", "the queue grew by what was received", 1, later_rqueue=30, later_received=120)
    yield case("three wait and it sleeps", "not one idle client", 1, count=3, process="S")
    yield case("stuck in the kernel", "a disk or a mount hangs", 1, process="D")
    yield case("counter wraps", "modulo 2**32", 1, received=2**32 - 5, later_received=5, later_rqueue=20)
    yield case("two wait and it sleeps", "idle clients", 0, count=2, process="S")
    calls: dict[str, Any] = {"served": False, "process": "S"}
    yield case("three that it opened wait and it sleeps", "a pool, with TLS tickets", 0, count=3, **calls)
    for size, fires in ((4095, 0), (4096, 1)):
        full: dict[str, Any] = {"rqueue": size, "later_rqueue": size}
        yield case(f"three that it opened, {size} bytes in each", "more than tickets", fires, count=3, **calls, **full)
        one = case(f"one waits with {size} bytes and it sleeps", "a worker hangs", fires, process="S", **full)
        yield replace(one, severity="info" if fires else None)
    brim: dict[str, Any] = {"rqueue": 9000, "later_rqueue": 9000, "rmem": 96, "rcvbuf": 128}
    filled: tuple[tuple[str, dict[str, Any], Severity], ...] = (
        ("for twelve seconds", {}, "warning"),
        ("for less", {"ago": 11_999}, "info"),
        ("but for a window", {"rmem": 95}, "info"),
        ("of a port that it does not serve", {"served": False}, "info"),
    )
    for name, changed, severity in filled:
        fields: dict[str, Any] = {"ago": 12_000, "process": "S"} | brim | changed
        one = case(f"one buffer is full, {name}", "a worker hangs, or holds its peer back", 1, **fields)
        yield replace(one, severity=severity, confidence="likely" if severity == "warning" else "possible")
    for ago, fires in ((11_999, 0), (12_000, 1)):
        one = case(
            f"one waits for {ago} ms", "a worker hangs, or an idle client said goodbye", fires, process="S", ago=ago
        )
        yield replace(one, severity="info" if fires else None)
    yield from _beside()
    yield case("one that it opened waits for long", "an idle client", 0, ago=90_000, **calls)
    yield case("one waits with much since a moment", "it may be busy", 0, process="S", ago=4999, **full)
    yield case("one waits and it sleeps", "an idle client with a goodbye in its queue", 0, process="S")
    yield case("three wait since a moment", "it may just be busy", 0, count=3, process="S", ago=4999)
    yield case("it reads, slowly", "the queue is shorter", 0, later_rqueue=5)
    yield case("it reads and more comes", "same length, other bytes", 0, later_received=200)
    yield case("all was read", "the queue is empty", 0, later_rqueue=0)
    yield case("nothing to read at first", "it came between the looks", 0, rqueue=0, later_received=110)
    gone: dict[str, Any] = {"state": 8, "later_state": 8}
    yield case("closed by the peer", "it gave up waiting", 1, **gone)
    yield case("closed by the peer, stuck in the kernel", "the same", 1, process="D", **gone)
    yield case(
        "closed by the peer, with nothing but that", "it counts as one byte", 0, rqueue=1, later_rqueue=1, **gone
    )
    yield case("closed by the peer, with one byte", "that is unread", 1, rqueue=2, later_rqueue=2, **gone)
    yield case("closed by the peer, it sleeps", "a pool keeps them", 0, count=9, process="S", **gone)
    yield from _queued()
    yield case("closed meanwhile", "another matter", 0, state=1, later_state=8)
    yield case("closing on both sides", "the program has done with it", 0, state=9, later_state=9)
    yield case("process not known", "nobody to name", 0, comm=None)
    yield case("five seconds to the millisecond", "long enough", 1, count=3, process="S", ago=5000)
    yield case("in the kernel since a moment", "a disk that is slow", 0, process="D", ago=4999)
    yield case("an old kernel", "it does not count what was received", 0, told=0)
    yield case("one byte", "unread all the same", 1, rqueue=1, later_rqueue=1)
    yield case("the queue was emptied and came back", "it reads", 0, rqueue=0, later_rqueue=0)
    by_state: dict[str, Confidence] = {"T": "certain", "F": "certain", "D": "likely", "S": "likely"}
    for process, sure in by_state.items():
        one = case(f"how sure, {process}", "what the kernel says of the process", 1, process=process, count=3)
        yield replace(one, confidence=sure)


def _queued() -> Iterator[Example]:
    """Connections that nobody has accepted."""

    def host(process: str = "T", *, queue: int = 2, later: int = 2, **listener: Any) -> HostBuilder:
        door: dict[str, Any] = {"src": "0.0.0.0", "sport": 80, "comm": "web", "process": process, "inode": 40}
        queued = {"rqueue": queue, "later": 1, "later_rqueue": later}
        return HostBuilder().socket(**(door | queued | listener)).counters(before={}, after={})

    def waiting(made: HostBuilder, count: int, **fields: Any) -> HostBuilder:
        for number in range(count):
            row: dict[str, Any] = {"src": "192.0.2.1", "sport": 80, "dst": "192.0.2.9", "dport": 5000 + number}
            row |= {"state": 1, "rqueue": 10, "received": 100, "later": 1, "later_rqueue": 10, "later_received": 100}
            made.socket(**(row | {"later_last_data_recv": 6000, "inode": 0} | fields))
        return made

    def shared(*states: str) -> Tables:
        """Of a listener that a parent and its worker hold."""
        made = host().build()
        (one,) = made.socket_owners.owners
        rows = tuple(msgspec.structs.replace(one, pid=at, state=state) for at, state in enumerate(states, 7))
        return replace(made, socket_owners=SocketOwners(owners=rows, seconds=1.0))

    for states, fires in (("TT", 1), ("TS", 0), ("ST", 0)):
        name = f"not accepted: of a parent and a worker, {states}"
        yield Example(name=name, why="one of them accepts", tables=shared(*states), fires=fires)
    two = host().socket(src="0.0.0.0", sport=80, family=2, comm="web2", inode=41)
    says: tuple[str, ...]
    for name, made, fires, says in (
        ("of a stopped program", host(), 1, ("web (pid", "is stopped: 2 connections to port 80 wait to be accepted")),
        (
            "one, of a frozen one",
            host("F", later=1),
            1,
            ("is frozen with its cgroup: 1 connection to port 80 waits to",),
        ),
        ("that came between the looks", host(queue=0), 0, ()),
        ("and went", host(later=0), 0, ()),
        ("of a program that sleeps", host("S"), 0, ()),
        ("of nobody known", host(comm=None), 0, ()),
        ("with data, of a stopped program", waiting(host(), 2), 1, ("20 bytes in 2 of its connections",)),
        ("three with data, of one that sleeps", waiting(host("S"), 3), 1, ("does not read: 30 bytes in 3",)),
        ("two with data, of one that sleeps", waiting(host("S"), 2), 0, ()),
        ("with data, of another port", waiting(host(queue=0), 3, sport=81), 0, ()),
        ("with data, where two listen", waiting(two, 3), 1, ("2 connections to port 80",)),
    ):
        yield Example(
            name=f"not accepted: {name}",
            why="who listens does not accept",
            tables=made.build(),
            fires=fires,
            says=says,
            severity="warning" if fires else None,
        )


def _beside() -> Iterator[Example]:
    """One connection that waits for long, and another one of the port."""
    row: dict[str, Any] = {"src": "192.0.2.1", "sport": 80, "dst": "192.0.2.9", "dport": 5000, "state": 1, "later": 1}
    row |= {"received": 100, "later_received": 100, "comm": "web", "process": "S", "later_last_data_recv": 12_000}
    for name, more, fires in (
        ("is read", {"later_received": 200}, 0),
        ("is read in part", {"later_received": 200, "later_rqueue": 9}, 1),
        ("is quiet", {}, 1),
        ("of another port is read", {"later_received": 200, "sport": 81}, 1),
    ):
        host = HostBuilder().socket(src="192.0.2.1", sport=80, comm="web")
        host.socket(**row, inode=50, rqueue=10, later_rqueue=10)
        host.socket(**(row | {"inode": 51, "dport": 5001} | more))
        made = host.counters(before={}, after={}).build()
        owners = tuple(msgspec.structs.replace(each, pid=9) for each in made.socket_owners.owners)
        tables = replace(made, socket_owners=SocketOwners(owners=owners, seconds=1.0))
        severity: Severity | None = "info" if fires else None
        yield Example(
            name=f"one waits for long, and another one {name}",
            why="it is held back, or all hang",
            tables=tables,
            fires=fires,
            severity=severity,
        )
