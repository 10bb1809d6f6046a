"""What it checks
  Listeners whose backlog is exactly net.core.somaxconn where that is small: the program asked for more and was cut.

Why it matters
  listen() cuts the backlog without an error. A server made for thousands of callers then drops connections at a burst
  of a few dozen. Old namespaces and containers still have the 128 of kernels before 5.4.

Confirm
  ss -ltn: Send-Q of the listener; sysctl net.core.somaxconn

Fix
  sysctl -w net.core.somaxconn=4096 in this namespace, then restart the program: the backlog is taken at listen().

Not flagged
  Listeners with a smaller backlog, which they asked for. As more than a note: 128 and above. At all: 4096, the default
  since Linux 5.4, and above; many programs ask for whatever the most is.

References
  net/socket.c __sys_listen(); listen(2); Documentation/admin-guide/sysctl/net.rst somaxconn
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import TOLD_BACKLOG
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import listening, named

RULE = Rule(
    id="tcp-somaxconn-caps-app",
    title="the backlog of listeners is cut short",
    severity="warning",
    reads=("sockets", "sysctls"),
    own_cause=True,
)
OLD_DEFAULT, DEFAULT = 128, 4096


def check(view: HostView) -> Iterator[Draft]:
    limit = view.sysctl_int("net.core.somaxconn")
    table = view.sockets
    if limit is None or limit >= DEFAULT:
        return
    cut = np.flatnonzero(listening(table, IPPROTO_TCP) & (table.told & TOLD_BACKLOG != 0) & (table.wqueue == limit))
    if not len(cut):
        return
    row = table.row(int(cut[0]))
    yield RULE.found(
        subject=subject("sysctl", name="net.core.somaxconn"),
        severity="warning" if limit < OLD_DEFAULT else "info",
        confidence="likely",
        message=f"net.core.somaxconn is {limit} and cuts the backlog of {len(cut)} "
        f"listener{'s' * (len(cut) > 1)}, {named(view, row)} among them",
        evidence=[
            ("somaxconn", limit, "/proc/sys/net/core/somaxconn"),
            ("backlog of the listener", limit, f"SOCK_DIAG tcp sport {row.sport} idiag_wqueue"),
        ],
        confirm=["sysctl net.core.somaxconn", "ss -ltn"],
        fix="sysctl -w net.core.somaxconn=4096  # then restart the listeners",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, says: Any, limit: int | str, backlog: int, **fields: Any) -> Example:
        host = HostBuilder().sysctl("net.core.somaxconn", limit).socket(sport=80, wqueue=backlog, **fields)
        fires, sure = (0, None) if says is None else (1, "likely")
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity=says, confidence=sure)  # type: ignore[arg-type]

    yield case("cut to eight", "the plain fault", "warning", 8, 8)
    yield case("cut to 127", "below any default", "warning", 127, 127)
    yield case("cut to 128", "the old default", "info", 128, 128)
    yield case("cut to 4095", "below the default", "info", 4095, 4095)
    yield case("the default", "programs ask for the most there is", None, 4096, 4096)
    yield case("fewer asked", "the program wants so", None, 8, 5)
    yield case("more than the limit", "set after it listened", None, 8, 4096)
    bare = HostBuilder().socket(sport=80, wqueue=8).build()
    yield Example(name="the limit was not told", why="a sandbox shows no net.core", tables=bare)
    yield case("not told", "read from /proc", None, 8, 8, told=0)
    yield case("bytes of a connection", "no backlog", None, 8, 8, state=1, dport=9)
