"""What it checks
  Between two looks a tap that a process holds dropped a part of what the host sent to the guest: the guest, or its
  monitor, does not read as fast as the packets come.

Why it matters
  A tap has a ring of txqueuelen packets. When the guest's processor is starved, its queue too short or the monitor
  stands still, the ring is full and the kernel drops what comes; TCP in the guest slows down, datagrams are lost.
  From outside it looks like a bad network.

Confirm
  ip -s link show dev TAP                      (twice: TX dropped grows)
  top -H -p PID                                (of the monitor: is its network thread at the limit?)

Fix
  ip link set dev TAP txqueuelen 10000 takes longer bursts, at the price of delay, at once and for that guest only. A
  guest that is slow all the time needs more processor, or more queues (multi_queue).

Not flagged
  Fewer than ten drops, or less than one percent. A guest whose process is stopped (paused for a snapshot): an info.
  Taps that nobody holds: what goes there is lost by design of their being routed (tap-no-owner-fd). Totals since the
  tap was made. With --interval 0 this is not evaluated.

References
  drivers/net/tun.c tun_net_xmit() (SKB_DROP_REASON_FULL_RING); ip-link(8) txqueuelen
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft
from netdiag.model.link import Stats64
from netdiag.rules.build import HostBuilder
from netdiag.rules.cards import moved
from netdiag.rules.guesttaps import READS, guest_taps, pid_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="tap-tx-drops-guest-slow",
    title="a guest does not take its packets as fast as they come",
    severity="warning",
    reads=(*READS, "deltas"),
)
FEW, SHARE = 10, 0.01


def check(view: HostView) -> Iterator[Draft]:
    taps = {tap.link.ifindex: tap for tap in guest_taps(view)}
    for row in moved(view.deltas, view.links, real=False):
        tap = taps.get(row.link.ifindex)
        lost, sent = row.by("tx_dropped"), row.by("tx_packets")
        if tap is None or not tap.holders or not tap.link.up or lost < FEW or lost < SHARE * (sent + lost):
            continue
        name, paused = tap.link.ifname, all(holder.state in ("T", "t") for holder in tap.holders)
        yield RULE.found(
            subject=tap.about,
            severity="info" if paused else "warning",
            message=f"{tap.holder} does not take what is sent to {name}: {lost} of {sent + lost} packets were lost in "
            f"{view.deltas.seconds:.1f} s" + (" (its process is stopped)" if paused else ""),
            evidence=(
                (f"{name} tx_dropped", f"+{lost}", f"RTM_GETLINK {name} IFLA_STATS64, two samples"),
                (f"{name} tx_packets", f"+{sent}", f"RTM_GETLINK {name} IFLA_STATS64, two samples"),
                (f"{name} txqueuelen", tap.link.txqlen, f"RTM_GETLINK {name} IFLA_TXQLEN"),
                *pid_words(tap),
            ),
            confirm=(f"ip -s link show dev {quoted(name)}",),
            fix=f"ip link set dev {quoted(name)} txqueuelen 10000  # for bursts only",
            touches=tap.objects,
        )


def _moved(
    lost: int, sent: int, *, state: str = "S", held: bool = True, total: int = 0, up: bool = True, on_: str = "tap0"
) -> HostBuilder:
    host = HostBuilder().link("eth0").tap("tap0", holder=None, carrier=held, up=up)
    if held:
        host.tap_holder("tap0", state=state)
    looks = [
        {"links": (host.link_counters(on_, stats=Stats64(tx_dropped=total + drops, tx_packets=packets)),)}
        for drops, packets in ((0, 0), (lost, sent))
    ]
    return host.counters(before=looks[0], after=looks[1])


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    yield _case("ring full", "half of it is lost", _moved(500, 500), 1, severity="warning")
    yield _case("ten of a thousand", "the limit", _moved(10, 990), 1)
    yield _case("nine", "below it", _moved(9, 100))
    yield _case("less than one percent", "a burst", _moved(20, 1981))
    yield _case("paused", "its process is stopped", _moved(500, 0, state="T"), 1, severity="info")
    yield _case("nobody holds it", "another fault", _moved(500, 0, held=False))
    yield _case("of the past", "only what moved counts", _moved(0, 500, total=10_000))
    reset = _moved(-500, 500, total=1000)
    yield _case("made anew", "the counter went back", reset)
    yield _case("on a card", "another rule's matter", _moved(500, 500, on_="eth0"))
    yield _case("tap down", "tap-down-vmm-eio speaks", _moved(500, 500, up=False))
