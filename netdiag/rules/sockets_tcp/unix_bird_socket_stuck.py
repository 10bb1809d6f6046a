"""What it checks
  Eight or more connections wait at BIRD's control socket, as many as its queue holds, and nobody accepts them.

Why it matters
  birdc, exporters and health checks hang in connect() or time out. BIRD serves the socket in the same thread as its
  sessions: one that does not come to it is stopped, swapped out or busy, and hold times are running out.

Confirm
  ss -xl src SOCKET        (Recv-Q against Send-Q)
  timeout 2 birdc -s SOCKET show status

Fix
  Find what BIRD is doing (cat /proc/PID/wchan, perf top -p PID); systemctl restart bird where it does not come back.
  Sessions begin anew then. Where it answers: find the program that opens connections and never closes them.

Not flagged
  Less than eight waiting connections: a daemon that is busy for a moment. Sockets of others.

References
  listen(2), unix(7); net/unix/af_unix.c unix_seq_show(); sysdep/unix/io.c sk_open_unix() of BIRD: listen(fd, 8)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.sockets import SocketOwners, UnixListener
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build_bird import SOCKET, BirdHost
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="unix-bird-socket-stuck",
    title="BIRD's control socket is full of connections that nobody accepts",
    severity="warning",
    reads=("bird_sockets", "sockets"),
)
FULL = 8
"""BIRD's backlog; the kernel lets one more in."""


def check(view: HostView) -> Iterator[Draft]:
    waiting = {row.path: row.waiting for row in view.socket_owners.unix}
    for row in view.bird_sockets:
        count = waiting.get(row.path, 0)
        if count < FULL:
            continue
        yield RULE.found(
            subject=subject("socket", path=row.path),
            message=f"{count} connections wait at BIRD's control socket {row.path}, and nobody accepts them",
            evidence=[
                ("connections that wait", count, "/proc/net/unix"),
                ("what the socket says", "an answer" if row.alive else row.detail or "nothing", f"connect {row.path}"),
            ],
            confirm=[
                f"ss -xl src {quoted(row.path)}",
                f"timeout 2 {birdc(row.path, 'show status')} || echo no answer",
            ],
            fix="systemctl restart bird  # after a look at what it is doing",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, count: int, fires: int = 0, *, path: str = SOCKET, **fields: Any) -> Example:
        host = BirdHost().control_socket(hangs=True, detail="no whole answer before the deadline", **fields)
        names = SocketOwners(unix=(UnixListener(path=path, inode=7, waiting=count),), complete=True)
        return Example(name=name, why=why, tables=replace(host.build(), socket_owners=names), fires=fires)

    yield case("full", "the plain fault", FULL, 1)
    yield case("seven", "there is room", FULL - 1)
    yield case("another socket", "not BIRD's", 20, path="/run/docker.sock")
    yield case("nobody waits", "it hangs for another reason", 0)
