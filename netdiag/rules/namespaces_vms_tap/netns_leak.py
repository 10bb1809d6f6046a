"""What it checks
  Many network namespaces are kept alive by a mount alone: no process or thread lives in them, none holds them open,
  and nothing but the loopback interface is in them. Told at 50 and more, as an info from 10 on.

Why it matters
  What makes a namespace and dies before it removes it leaves the mount behind, and the count grows with every crash.
  Each costs kernel memory and a full set of sysctls, makes every "ip netns" and every agent that walks them slower,
  and in the end new sandboxes fail (user.max_net_namespaces, ENOSPC).

Confirm
  ip netns list | wc -l
  lsns -t net
  cat /proc/sys/user/max_net_namespaces

Fix
  ip netns delete NAME (for other mounts: umount PATH, then rm PATH), after looking at one of them with
  "ip -n NAME link". It destroys the namespace at once, with everything in it; these hold nothing. Mend what leaks
  them, or they come back.

Not flagged
  Namespaces with interfaces: a warm pool of machines or containers has its taps and cables ready. Namespaces in which
  a process lives, a thread visits, or that an agent holds open. A few empty ones, that an operator or a service made.
  Files under /run/netns that are no namespace: a service with a mount namespace of its own leaves such.

References
  ip-netns(8); fs/nsfs.c; https://github.com/cri-o/cri-o/issues/273
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.namespace import NamespaceHolder
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="netns-leak",
    title="network namespaces pile up in which nobody lives",
    severity="warning",
    confidence="likely",
    reads=("namespaces",),
    machine_wide=True,
)
MANY, SOME = 50, 10


def check(view: HostView) -> Iterator[Draft]:
    rows = view.namespaces.namespaces
    empty = [row for row in rows if row.held_by == "mount" and not row.holders and row.links == 1]
    if len(empty) < SOME:
        return
    first = empty[0]
    named = [row for row in empty if row.names]
    remove = f"ip netns delete {quoted(named[0].names[0])}" if named else f"umount {quoted(first.mounts[0])}"
    sure = len(empty) >= MANY
    yield RULE.found(
        subject=subject("host", what="network namespaces"),
        severity="warning" if sure else "info",
        confidence="likely" if sure else "possible",
        message=f"{len(empty)} of {len(rows)} network namespaces are empty and nobody lives in them, such as "
        f"{named[0].name if named else first.mounts[0]}: what made them did not remove them",
        evidence=(
            ("namespaces kept by a mount alone, with lo only", len(empty), "/proc/self/mountinfo, /proc/*/ns/net"),
            ("all namespaces that can be reached", len(rows), "/run/netns, /proc/*/ns/net, /proc/*/fd"),
        ),
        confirm=("ip netns list | wc -l", "lsns -t net | tail -n 5", "cat /proc/sys/user/max_net_namespaces"),
        fix=f"{remove}  # one of {len(empty)}: look into it first",
    )


def _with(count: int, **fields: object) -> HostBuilder:
    host = HostBuilder()
    for number in range(count):
        host.namespace(1000 + number, **({"names": (f"x{number}",), "links": 1} | fields))
    return host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    yield _case("fifty empty ones", "the limit", _with(50), 1, severity="warning", confidence="likely")
    yield _case("forty-nine", "below it", _with(49), 1, severity="info")
    yield _case("ten", "worth knowing", _with(10), 1, severity="info")
    mounts = _with(60, names=(), mounts=("/run/docker/netns/1",))
    yield _case("mounted elsewhere", "a container engine's", mounts, 1, severity="warning", says=("umount",))
    yield _case("nine", "an operator's", _with(9))
    yield _case("warm pool", "each has a tap or a cable ready", _with(200, links=2))
    yield _case("running containers", "processes live in them", _with(200, processes=3))
    yield _case("visited by threads", "an agent is at work", _with(60, threads=1))
    yield _case("not entered", "how many interfaces there are is not known", _with(60, links=None))
    holder = NamespaceHolder(pid=7, comm="python3", fd=3)
    yield _case("held open besides", "somebody works with them", _with(60, holders=(holder,)))
