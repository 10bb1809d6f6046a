"""What it checks
  The kernel dropped notifications about routes for BIRD while netdiag looked: they did not fit into the buffer of its
  netlink socket.

Why it matters
  BIRD learns of interfaces, addresses and foreign routes by these messages. Those that are dropped it never sees, until
  its next scan of the whole table (every minute by default): interfaces that are up are down for it, routes that others
  put in are not announced. The log says "Kernel dropped some netlink messages, will resync on next scan".

Confirm
  cat /proc/net/netlink      (Drops, of the line with BIRD's process id)
  journalctl -u bird | grep "dropped some netlink"

Fix
  "netlink rx buffer 16777216;" in the kernel or device protocol of bird.conf (BIRD 2.0.8), then birdc configure; and
  see what changes so many routes at once. A larger buffer costs that memory only while it is full.

Not flagged
  Drops of the past: a burst at boot, or when a table was loaded; the counter is for the life of the socket. Drops of
  other programs' sockets. With one sample: nothing is said.

References
  net/netlink/af_netlink.c netlink_overrun(); sysdep/linux/netlink.c nl_async_hook() of BIRD; netlink(7) ENOBUFS
"""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.sockets import RouteListener, SocketOwner, SocketOwners
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bgp-krt-dropped-msgs",
    title="BIRD misses notifications of the kernel",
    severity="warning",
    reads=("sockets",),
    explains=("bird-route-not-in-fib", "bgp-krt-file-exists"),
)


def check(view: HostView) -> Iterator[Draft]:
    owners = {row.inode: row for row in view.socket_owners.owners}
    for row in view.socket_owners.route_listeners:
        owner = owners.get(row.inode)
        lost = (row.drops if row.later_drops is None else row.later_drops) - row.drops
        if owner is None or not owner.comm.startswith("bird") or lost <= 0:
            continue
        yield RULE.found(
            subject=subject("socket", comm=owner.comm, protocol="netlink route"),
            message=f"the kernel dropped {lost} notifications for {owner.comm} (pid {owner.pid}) between two looks: it"
            " does not know what changed until its next scan",
            evidence=[
                ("dropped between the looks", lost, "/proc/net/netlink Drops"),
                ("process of the socket", f"{owner.comm}[{owner.pid}]", "/proc/PID/fd"),
            ],
            confirm=["cat /proc/net/netlink"],
            fix='# bird.conf, protocol kernel: "netlink rx buffer 16777216;", then birdc configure',
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, later: int | None, fires: int = 0, *, comm: str = "bird", inode: int = 9) -> Example:
        owner = SocketOwner(inode=inode, pid=7, comm=comm)
        listener = RouteListener(inode=9, portid=7, drops=50, later_drops=later)
        names = SocketOwners(owners=(owner,), complete=True, route_listeners=(listener,), seconds=1.0)
        return Example(name=name, why=why, tables=replace(HostBuilder().build(), socket_owners=names), fires=fires)

    yield case("one dropped", "the plain fault", 51, 1)
    yield case("BIRD 1.6 for IPv6", "its name is another", 51, 1, comm="bird6")
    yield case("dropped at boot", "totals are not judged", 50)
    yield case("counter set back", "the socket is another", 3)
    yield case("one look", "nothing to compare with", None)
    yield case("another program", "it knows what it does", 51, comm="node_exporter")
    yield case("owner not known", "it may be anybody's", 51, inode=8)
