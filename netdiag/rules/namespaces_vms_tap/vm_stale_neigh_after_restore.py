"""What it checks
  The host still has an old hardware address for a guest: its entry is stale, while everything that the guest said
  lately on the same tap came from another one.

Why it matters
  A machine that was restored or replaced on its tap has a new hardware address. Until the host asks again, its packets
  carry the old one and the guest ignores them: it is silent for up to a minute after each restore.

Confirm
  ip neigh show dev TAP

Fix
  ip neigh flush dev TAP: the host asks again with the next packet, which takes a millisecond. Have the restore do
  that, or let the guest announce itself (gratuitous ARP).

Not flagged
  Entries that are being asked for (delay, probe) or were confirmed: they are right, or are mended within seconds.
  Permanent ones: neigh-permanent-stale-mac. Taps in a bridge, and guests that speak with several addresses at once.

References
  net/core/neighbour.c neigh_timer_handler(); https://github.com/firecracker-microvm/firecracker/issues/2670
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, guest_taps, pid_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="vm-stale-neigh-after-restore",
    title="the host sends to the hardware address that a guest had before",
    severity="warning",
    confidence="likely",
    reads=READS,
)


def check(view: HostView) -> Iterator[Draft]:
    for tap in guest_taps(view):
        if not tap.held or tap.link.master is not None or not tap.link.up:
            continue
        now = {row.lladdr for row in tap.neighbours if row.state == "reachable"}
        stale = [row for row in tap.neighbours if row.state == "stale" and row.lladdr not in now]
        if len(now) != 1 or not stale:
            continue
        row, right, name = stale[0], next(iter(now)), tap.link.ifname
        yield RULE.found(
            subject=subject("neighbour", dst=row.dst, ifname=name),
            message=f"what is for {row.dst} on {name} is sent to {row.lladdr}, but the guest speaks with {right}",
            evidence=(
                (f"neighbour {row.dst}", f"{row.lladdr} stale", f"RTM_GETNEIGH {name}"),
                ("hardware address of the guest", f"{right} reachable", f"RTM_GETNEIGH {name}"),
                *pid_words(tap),
            ),
            confirm=(f"ip neigh show dev {quoted(name)}",),
            fix=f"ip neigh flush dev {quoted(name)}",
            touches=tap.objects,
        )


OLD, NEW = "06:00:00:00:00:05", "06:00:00:00:00:99"


def _guest(state: str = "stale", old: str = OLD, now: str = "reachable", **tap: Any) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge").tap("tap0", **tap).route("10.1.0.5/32", dev="tap0")
    return host.neighbour("10.1.0.5", dev="tap0", state=state, lladdr=old).neighbour(
        "fe80::5", dev="tap0", state=now, lladdr=NEW
    )


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def examples() -> Iterator[Example]:
    yield _case("restored", "it speaks with a new address", _guest(), 1)
    six = HostBuilder().tap("tap0").neighbour("2001:db8::5", dev="tap0", state="stale", lladdr=OLD)
    yield _case("IPv6", "the same", six.neighbour("fe80::5", dev="tap0", lladdr=NEW), 1)
    yield _case("being asked", "it is mended by itself", _guest("probe"))
    yield _case("the same address", "an idle guest", _guest(old=NEW))
    yield _case("permanent", "another rule", _guest("permanent"))
    yield _case("nothing fresh", "which one is right is not known", _guest(now="stale"))
    two = _guest().neighbour("10.1.0.6", dev="tap0", lladdr="06:00:00:00:00:77")
    yield _case("several addresses at once", "a bridge inside the guest", two)
    yield _case("in a bridge", "the bridge has the neighbours", _guest(master="br0"))
    yield _case("not held", "nobody is there", _guest(holder=None))
    yield _case("down", "nothing is sent", _guest(up=False))
