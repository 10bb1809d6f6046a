"""What it checks
  Connections in CLOSE_WAIT that stay: a hundred or more of one program which were there at both looks, or fifty or
  more of which nothing was heard for a minute.

Why it matters
  The peer has closed and this host's program has not noticed or does not care. Each holds a file descriptor and
  memory; when the limit is reached the program can accept nothing more.

Confirm
  ss -tnp state close-wait, twice

Fix
  Restart the program to get its descriptors back; the leak is a missing close() in it, often in an error path or a
  pool that never looks at idle connections.

Not flagged
  Few, or short-lived ones: every connection that the peer closes first passes through CLOSE_WAIT. A few that an idle
  pool holds. With --interval 0 this is not evaluated.

References
  RFC 9293 section 3.3.2; tcp(7)
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import CLOSE_WAIT
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import listening

RULE = Rule(
    id="tcp-close-wait-leak",
    title="a program does not close connections that its peers have closed",
    severity="warning",
    confidence="likely",
    reads=("sockets", "deltas"),
)
MANY, SOME, OLD = 100, 50, 60_000
"""Connections; connections; milliseconds."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.sockets
    stay = (table.protocol == IPPROTO_TCP) & (table.state == CLOSE_WAIT)
    stay &= (table.later == 1) & (table.later_state == CLOSE_WAIT)
    quiet = np.minimum(table.last_data_recv, table.last_data_sent)  # (0 where the kernel did not tell)
    comms = {owner.inode: owner.comm for owner in view.socket_owners.owners}
    listened = set(table.sport[listening(table, IPPROTO_TCP)].tolist())
    groups: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for position in np.flatnonzero(stay & (table.inode != 0)).tolist():
        row = table.row(position)
        served = row.sport in listened
        comm = comms.get(row.inode, "a program")
        groups[(comm, "", row.sport) if served else (comm, row.dst, row.dport)].append(position)
    for (comm, dst, port), positions in sorted(groups.items()):
        old = sum(int(quiet[position]) >= OLD for position in positions)
        if len(positions) < MANY and old < SOME:
            continue
        place = {"dst": dst, "dport": port} if dst else {"sport": port}
        yield RULE.found(
            subject=subject("socket", netid="tcp", comm=comm, **place),
            message=f"{comm} holds {len(positions)} connections that its peers have closed"
            + (f", {old} of them silent for a minute" if old else ""),
            evidence=[
                ("in CLOSE_WAIT at both looks", len(positions), "SOCK_DIAG tcp"),
                ("silent for a minute", old, "tcpi_last_data_recv, tcpi_last_data_sent"),
            ],
            confirm=["ss -tnp state close-wait"],
            fix=f"restart {comm}: it does not close what its peers have closed",
        )


def examples() -> Iterator[Example]:
    def case(
        name: str, why: str, fires: int, count: int, *, quiet: int = 5, served: bool = True, **fields: int
    ) -> Example:
        host = HostBuilder()
        if served:
            host.socket(src="192.0.2.1", sport=80, comm="web")
        for number in range(count):
            row: dict[str, object] = {"src": "192.0.2.1", "sport": 80 if served else 2000 + number, "dst": "192.0.2.9"}
            row |= {"dport": 2000 + number if served else 443, "state": 8, "later": 1, "comm": "web"}
            host.socket(**(row | {"last_data_recv": quiet, "last_data_sent": quiet} | fields))
        return Example(name=name, why=why, tables=host.counters(before={}, after={}).build(), fires=fires)

    yield case("a hundred that stay", "the plain fault", 1, 100)
    yield case("a hundred of a client", "towards one service", 1, 100, served=False)
    yield case("ninety-nine, just closed", "they may go", 0, 99)
    yield case("fifty, silent for a minute", "a slow leak", 1, 50, quiet=60_000)
    yield case("fifty, silent for less", "a pool may still look", 0, 50, quiet=59_999)
    yield case("49, silent for a minute", "an idle pool", 0, 49, quiet=60_000)
    yield case("gone at the second look", "short-lived", 0, 100, later=0)
    yield case("closed at the second look", "on their way", 0, 100, later_state=9)
    yield case("not accepted yet", "the listener's matter", 0, 100, inode=0)
