"""What it checks
  An interface that lost and regained its carrier while netdiag looked: the kernel's counts of carrier up and carrier
  down, read twice, moved twice or more in between. One change alone counts where the interface has bounced before.
  As information: one that is quiet now and changed ten times since boot, once in two minutes or more often.

Why it matters
  Each loss of carrier empties the interface's queue, flushes or freezes routes and neighbours over it and takes BGP
  sessions and bond legs with it; after each return IPv6 runs duplicate address detection again. Protocols that need
  seconds to settle never do. Seen once, the interface looks perfectly well.

Confirm
  cat /sys/class/net/IFNAME/carrier_changes    (twice: it grows)
  ip monitor link dev IFNAME

Fix
  Find what bounces: cable, optic, the port at the other end; for a veth pair, whoever sets the other end down and up.
  Until then ip link set dev IFNAME down takes the interface out of use and lets traffic settle on another way, if
  there is one; without one it cuts everything that uses the interface.

Not flagged
  Fewer carrier changes of the past: what is over is no alarm. A single change, such as a cable that is
  plugged in or a container that starts. The first time an interface comes up. One bounce within two minutes after boot:
  cards negotiate again while they are configured. An interface that was deleted and made
  again: it has a new index, and its counts start anew. One that was set down by hand, unless its carrier came back
  twice meanwhile. A bridge, bond, VLAN or macvlan whose port or lower device bounces: that one is named. A tun or tap,
  whose carrier says whether its process runs. With --interval 0 this is not evaluated.

References
  net/sched/sch_generic.c netif_carrier_on(), netif_carrier_off(); include/uapi/linux/if_link.h
  IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT; drivers/net/veth.c veth_close()
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.view import Deltas, HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, LinkCounters
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="carrier-flap",
    title="an interface loses and regains its carrier",
    severity="warning",
    reads=("links", "deltas"),
    explains=(
        "bgp-*",
        "bond-*",
        "bridge-empty-linkdown",
        "ipv6-tentative-stuck",
        "neigh-gateway-failed",
        "neigh-incomplete-storm",
        "route-linkdown-*",
        "vlan-parent-down",
        "wg-handshake-stale",
    ),
)

OFTEN = 4
"""Carrier changes since the interface was made from which on one more is no ordinary event. Coming up for the first
time is one change, replugging a cable two more."""
YOUNG = 120.0
"""Seconds after boot: until then rings and offloads are set, for which a driver takes its link down once."""
MANY, PACE = 10, 120.0
"""So many changes since it was made, and so many seconds between two of them on the average since boot, tell that an
interface bounced at other times."""
FOLLOWERS = frozenset({"bridge", "tun"})
"""Kinds whose carrier is not a cable's: a bridge has one while a port forwards, a tun while its process has it open."""


class Bounce(NamedTuple):
    """How an interface's carrier moved between the samples."""

    up: int
    down: int
    before: int
    """Changes counted up to the first sample."""


def bounces(deltas: Deltas) -> dict[int, Bounce]:
    """By ifindex, every interface whose carrier changed and which is the same one in both samples.

    A count that went back belongs to another interface that got the same index.
    """
    earlier = {row.ifindex: row for row in deltas.first.links}
    moved: dict[int, Bounce] = {}
    for now in deltas.second.links:
        was = earlier.get(now.ifindex)
        before, after = counts(was), counts(now)
        if was is None or was.ifname != now.ifname or before is None or after is None:
            continue
        up, down = after[0] - before[0], after[1] - before[1]
        if (up or down) and min(up, down) >= 0:
            moved[now.ifindex] = Bounce(up, down, sum(before))
    return moved


def counts(row: LinkCounters | None) -> tuple[int, int] | None:
    """How often the carrier came and went; None where the kernel does not count."""
    if row is None or row.carrier_up_count is None or row.carrier_down_count is None:
        return None
    return row.carrier_up_count, row.carrier_down_count


def flaps(bounce: Bounce, *, young: bool = False) -> bool:
    """A loss and a return, or one more change of an interface that has had many. The first coming up is neither, nor
    is one bounce of a ``young`` machine."""
    if not bounce.before or (young and bounce.before + bounce.up + bounce.down < OFTEN):
        return False
    return bounce.up + bounce.down >= 2 or bounce.before >= OFTEN


def follows(view: HostView, link: Link, moved: dict[int, Bounce]) -> bool:
    """Whether the carrier of this interface is that of another one which moved as well."""
    lower = view.stack.lower(link.ifindex)
    below = [*view.stack.ports(link.ifindex), *([lower] if lower else [])]
    if link.kind in FOLLOWERS or any(other.ifindex in moved for other in below):
        return True
    far = view.stack.veth_peer(link.ifindex) if link.link_netnsid is None else None
    return far is not None and far.ifindex in moved and far.ifname < link.ifname


def check(view: HostView) -> Iterator[Draft]:
    moved = bounces(view.deltas)
    young = view.meta.uptime is not None and view.meta.uptime < YOUNG
    for ifindex, bounce in moved.items():
        link = view.link(ifindex)
        # Who sets an interface down by hand does not give it back its carrier twice within seconds.
        still = link is not None and (link.up or bounce.up > 1)
        if link is None or not still or not flaps(bounce, young=young) or follows(view, link, moved):
            continue
        total = bounce.before + bounce.up + bounce.down
        source = f"RTM_GETLINK {link.ifname} IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT"
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} {_story(bounce)} within {view.deltas.seconds:.1f} s",
            evidence=[
                ("carrier changes between two looks", bounce.up + bounce.down, source),
                ("carrier changes since it was made", total, source),
            ],
            confirm=[
                f"cat /sys/class/net/{quoted(link.ifname)}/carrier_changes",
                f"ip -d link show dev {quoted(link.ifname)}",
            ],
            fix=f"ip link set dev {quoted(link.ifname)} down  # if another way exists: until cable, optic or the "
            "other end is repaired",
            confidence="certain" if bounce.up + bounce.down >= 2 else "likely",
        )
    yield from _earlier(view, moved)


def _earlier(view: HostView, moved: dict[int, Bounce]) -> Iterator[Draft]:
    """Interfaces that bounced before netdiag looked."""
    for row in view.deltas.second.links:
        link, counted, uptime = view.link(row.ifindex), counts(row), view.meta.uptime
        if link is None or counted is None or uptime is None or row.ifindex in moved:
            continue
        total = sum(counted)
        if link.up and total >= MANY and uptime <= total * PACE and not _stands_on(view, link):
            yield RULE.found(
                subject=subject("link", ifname=link.ifname),
                message=f"{link.ifname} lost and regained its carrier before: {total} changes in the"
                f" {uptime / 60:.0f} minutes since boot; it is quiet now",
                evidence=[
                    ("carrier changes since it was made", total, f"RTM_GETLINK {link.ifname} IFLA_CARRIER_UP_COUNT")
                ],
                confirm=[f"cat /sys/class/net/{quoted(link.ifname)}/carrier_changes", "uptime"],
                fix="look at its cable, its optic and the other end; the log of the kernel may tell when it was",
                confidence="possible",
            )


def _stands_on(view: HostView, link: Link) -> bool:
    """Whether its carrier is another one's."""
    return link.kind in FOLLOWERS or bool(view.stack.ports(link.ifindex)) or view.stack.lower(link.ifindex) is not None


def _story(bounce: Bounce) -> str:
    if bounce.up + bounce.down >= 2:
        return f"lost its carrier {_times(bounce.down)} and got it back {_times(bounce.up)}"
    return f"{'lost' if bounce.down else 'regained'} its carrier, after {bounce.before} changes before,"


def _times(count: int) -> str:
    return {0: "not once", 1: "once", 2: "twice"}.get(count, f"{count} times")


Counts = tuple[int | None, int | None]


def _moved(host: HostBuilder, **links: tuple[Counts, Counts]) -> HostBuilder:
    """Counts of up and down of each interface, before and after."""
    samples = [
        tuple(
            host.link_counters(ifname, carrier_up_count=counts[which][0], carrier_down_count=counts[which][1])
            for ifname, counts in links.items()
        )
        for which in (0, 1)
    ]
    return host.counters(before={"links": samples[0]}, after={"links": samples[1]})


def examples() -> Iterator[Example]:
    yield from _single_examples()
    yield from _stacked_examples()


def _single_examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0")

    def eth0(before: Counts, after: Counts, **fields: Any) -> HostBuilder:
        return _moved(HostBuilder().link("eth0", **fields), eth0=(before, after))

    yield Example(
        name="one loss and return",
        why="the plain fault",
        tables=eth0((1, 0), (2, 1)).build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="certain",
        says=("lost its carrier once and got it back once within 1.0 s", "since it was made 3"),
    )
    yield Example(
        name="two losses and one return",
        why="caught while it is down",
        tables=eth0((1, 0), (2, 2), carrier=False).build(),
        fires=1,
        subject=about,
        says=("twice",),
    )
    yield Example(
        name="one change of an interface that bounces",
        why="a slow flap shows once in a second at most, and then the past speaks",
        tables=eth0((2, 2), (3, 2)).build(),
        fires=1,
        subject=about,
        confidence="likely",
        says=("regained its carrier, after 4 changes before, within",),
    )
    yield Example(
        name="one loss of an interface that bounces",
        why="the same on the way down",
        tables=eth0((3, 2), (3, 3)).build(),
        fires=1,
        says=("lost its carrier, after 5 changes before, within",),
    )
    yield Example(
        name="two losses, caught up",
        why="twice is not once",
        tables=eth0((1, 0), (1, 2)).build(),
        fires=1,
        says=("lost its carrier twice and got it back not once",),
    )
    yield Example(
        name="one change after three",
        why="coming up and one repair of the cable are no flap",
        tables=eth0((2, 1), (2, 2)).build(),
    )
    yield Example(name="one loss", why="a cable was pulled, a container stopped", tables=eth0((1, 0), (1, 1)).build())
    yield Example(name="one return", why="a cable was plugged in", tables=eth0((1, 1), (2, 1)).build())
    yield Example(
        name="first coming up, with a bounce",
        why="a NIC may negotiate twice at boot",
        tables=eth0((0, 0), (1, 1)).build(),
    )
    yield Example(
        name="many changes in the past",
        why="what happened last week is over",
        tables=eth0((400, 399), (400, 399)).build(),
    )
    for name, count, uptime, fields, fires in (
        ("ten lately", 5, 1_200.0, {}, 1),
        ("ten, a bit longer", 5, 1_201.0, {}, 0),
        ("eight lately", 4, 600.0, {}, 0),
        ("ten, nobody knows since when", 5, None, {}, 0),
        ("ten of a tap's", 5, 600.0, {"kind": "tun"}, 0),
        ("ten of one that is down", 5, 600.0, {"up": False}, 0),
    ):
        yield Example(
            name=f"changes before, {name}",
            why="it bounced, and may again",
            tables=eth0((count, count), (count, count), **fields).build(),
            fires=fires,
            severity="info" if fires else None,
            uptime=uptime,
        )
    yield Example(
        name="counts went back",
        why="another interface has taken over the index and the name",
        tables=eth0((9, 8), (10, 1)).build(),
    )
    yield Example(
        name="up count went back",
        why="the same by the other count",
        tables=eth0((9, 0), (1, 9)).build(),
    )
    yield Example(
        name="up count went back by one",
        why="how much does not matter",
        tables=eth0((5, 4), (4, 6)).build(),
    )
    for uptime, last, fires in ((119.9, (2, 1), 0), (120.0, (2, 1), 1), (119.9, (3, 1), 1), (None, (2, 1), 1)):
        yield Example(
            name=f"up for {uptime} s, then {last}",
            why="while a machine comes up its driver takes a link down once",
            tables=eth0((1, 0), last).build(),
            uptime=uptime,
            fires=fires,
        )
    yield Example(
        name="gone while it was read",
        why="nobody knows what it was",
        tables=eth0((1, 0), (2, 1)).vanished("eth0").build(),
    )
    yield Example(
        name="kernel without the counts",
        why="unknown is not a change",
        tables=eth0((None, None), (2, 2)).build(),
    )
    yield Example(
        name="up count unknown",
        why="half an answer is none",
        tables=eth0((None, 1), (2, 2)).build(),
    )
    yield Example(
        name="down count unknown",
        why="nor is the other half",
        tables=eth0((1, None), (2, 2)).build(),
    )
    yield Example(
        name="counts no longer known",
        why="nor where the second look has none",
        tables=eth0((1, 0), (None, 2)).build(),
    )
    yield Example(
        name="set down by hand",
        why="somebody is working on it",
        tables=eth0((1, 0), (2, 2), up=False).build(),
    )
    yield Example(
        name="set down and up in turn",
        why="a daemon or a script is at odds with itself",
        tables=eth0((3, 3), (5, 5), up=False).build(),
        fires=1,
        subject=subject("link", ifname="eth0"),
    )
    yield Example(
        name="tap of a virtual machine that restarts",
        why="its carrier says that its process has it open",
        tables=eth0((4, 3), (5, 4), kind="tun").build(),
    )
    host = HostBuilder().link("eth0", ifindex=9)
    old = host.link_counters("eth0", carrier_up_count=1, carrier_down_count=0)
    host = HostBuilder().link("eth0", ifindex=10)
    new = host.link_counters("eth0", carrier_up_count=3, carrier_down_count=2)
    yield Example(
        name="made again between the looks",
        why="a new index is a new interface, whose counts start anew",
        tables=host.counters(before={"links": (old,)}, after={"links": (new,)}).build(),
    )
    renamed = HostBuilder().link("eth0", ifindex=9)
    old = HostBuilder().link("veth7", ifindex=9).link_counters("veth7", carrier_up_count=1, carrier_down_count=0)
    new = renamed.link_counters("eth0", carrier_up_count=2, carrier_down_count=1)
    yield Example(
        name="index taken over by another interface",
        why="another name at the same index is another interface",
        tables=renamed.counters(before={"links": (old,)}, after={"links": (new,)}).build(),
    )


def _stacked_examples() -> Iterator[Example]:
    flap: tuple[Counts, Counts] = ((1, 0), (2, 1))
    still: tuple[Counts, Counts] = ((1, 0), (1, 0))
    host = HostBuilder().link("bond0", kind="bond").link("eth0", master="bond0").link("eth1", master="bond0")
    yield Example(
        name="leg of a bond and the bond",
        why="the leg is the cause; the bond only follows",
        tables=_moved(host, bond0=flap, eth0=flap, eth1=still).build(),
        fires=1,
        subject=subject("link", ifname="eth0"),
    )
    host = HostBuilder().link("bond0", kind="bond").link("eth0", master="bond0")
    yield Example(
        name="bond with quiet legs",
        why="then it is the bond itself that somebody bounces",
        tables=_moved(host, bond0=flap, eth0=still).build(),
        fires=1,
        subject=subject("link", ifname="bond0"),
    )
    host = HostBuilder().link("eth0").link("eth0.5", kind="vlan", link="eth0")
    yield Example(
        name="VLAN over a device that bounces",
        why="the device below is named",
        tables=_moved(host, **{"eth0": flap, "eth0.5": flap}).build(),
        fires=1,
        subject=subject("link", ifname="eth0"),
    )
    often: Any = ((30, 30), (30, 30))
    host = HostBuilder().link("bond0", kind="bond").link("eth0", master="bond0").link("eth1")
    host.link("eth1.5", kind="vlan", link="eth1")
    yield Example(
        name="changes before, of a leg and its bond, and of a device and its VLAN",
        why="each is one cable's",
        tables=_moved(host, **{"bond0": often, "eth0": often, "eth1": flap, "eth1.5": often}).build(),
        fires=2,
        uptime=600.0,
    )
    host = HostBuilder().link("docker0", kind="bridge")
    yield Example(
        name="bridge whose only container restarts",
        why="the container's old port is gone, the new one has another index; the bridge has no cable of its own",
        tables=_moved(host, docker0=flap).build(),
    )
    host = HostBuilder().link("v0", kind="veth", link=3).link("v1", kind="veth", link=2)
    yield Example(
        name="both ends of a pair in this namespace",
        why="one cable: the first end by name",
        tables=_moved(host, v0=flap, v1=flap).build(),
        fires=1,
        subject=subject("link", ifname="v0"),
    )
    host = HostBuilder().link("v1", kind="veth").link("a")
    yield Example(
        name="far end in another namespace",
        why="its index is by chance that of an interface here which moved too: no relation",
        tables=_moved(host.peer("v1", ifindex=3), v1=flap, a=flap).build(),
        fires=2,
    )
    host = HostBuilder().link("eth1", kind="veth", link=3).link("eth0", kind="veth", link=2)
    yield Example(
        name="one end of a pair moved alone",
        why="the other end did not, so it hides nothing",
        tables=_moved(host, eth1=flap, eth0=still).build(),
        fires=1,
        subject=subject("link", ifname="eth1"),
    )
