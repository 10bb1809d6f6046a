"""What it checks
  Packets that a network card had to drop between two looks because its receive ring was full: rx_missed_errors,
  rx_over_errors, rx_fifo_errors, or the driver's own counters (rx_out_of_buffer, rx_no_buffer, rx_nodesc ...).

Why it matters
  The card had the packet and the host did not fetch it in time: a burst longer than the ring, or a CPU that is busy.
  It is loss that neither end's protocol counters show.

Confirm
  ethtool -S IFNAME | grep -i -E 'miss|buf|desc|fifo', twice
  ethtool -g IFNAME                   (current against maximum)

Fix
  ethtool -G IFNAME rx MAXIMUM: the card is reset for it, which costs up to some seconds of traffic. If the ring is at
  its maximum, spread the load over more queues and CPUs (ethtool -L, irqbalance), or look at what holds the CPU.

Not flagged
  rx_dropped: it also counts unknown protocols and VLANs, see rx-dropped-unknown-proto. Drops of the past. Bonds and
  VLANs, which repeat what their cards count. With --interval 0 this is not evaluated.

References
  include/uapi/linux/if_link.h rx_missed_errors ("host's receive buffer was full"); Documentation/networking/
  statistics.rst
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolCounters, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Stats64
from netdiag.rules import cards
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nic-ring-drops",
    title="a card drops packets because its receive ring is full",
    severity="critical",
    reads=("links", "deltas"),
    consults=("ethtool",),
    explains=("tcp-retrans-high",),
)
NAMES = ("rx_missed_errors", "rx_over_errors", "rx_fifo_errors")
WORDS = ("out_of_buf", "no_buf", "nobuf", "nodesc", "no_desc", "no_dma", "rx_missed", "rx_fifo", "rx_discards_phy")
SHARE = 0.01
"""Part of the packets from which on it is critical."""


def check(view: HostView) -> Iterator[Draft]:
    for row in cards.moved(view.deltas, view.links):
        link = row.link
        own = cards.own_counters(view.ethtool, link.ifindex, *WORDS)
        lost = max(row.by(name) for name in NAMES) or max(own.values(), default=0)
        if not lost:
            continue
        rings = getattr(cards.device(view.ethtool, link.ifindex), "rings", {})
        size, most = rings.get("rx"), rings.get("rx-max")
        name = quoted(link.ifname)
        grow = size is not None and most is not None and size < most
        heavy = lost >= SHARE * (row.by("rx_packets") + lost)
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            severity="critical" if heavy else "warning",
            message=f"{link.ifname} dropped {lost} packets in {view.deltas.seconds:.1f} s because its receive ring was "
            f"full{f' ({size} of at most {most} descriptors)' if grow else ''}",
            evidence=[
                ("dropped between two looks", lost, f"RTM_GETLINK {link.ifname} IFLA_STATS64 {', '.join(NAMES)}"),
                *((key, count, f"ethtool -S {link.ifname}") for key, count in sorted(own.items())[:2]),
                *([("receive ring", f"{size} of {most}", "ETHTOOL_MSG_RINGS_GET")] if size is not None else []),
            ],
            confirm=[f"ethtool -g {name}", f"ip -s -s link show dev {name}"],
            fix=f"ethtool -G {name} rx {most}  # resets the card for a moment"
            if grow
            else f"spread the load of {link.ifname} over more queues and CPUs: the ring is as long as it gets",
            breaks=[subject("host")],
        )


def _case(
    name: str, why: str, after: Stats64, fires: int = 0, own: dict[str, int] | None = None, **more: Any
) -> Example:
    host = HostBuilder().link("eth0", kind=more.pop("kind", None))
    samples = [{"links": (host.link_counters("eth0", stats=stats),)} for stats in (Stats64(rx_missed_errors=7), after)]
    ifindex = host.ifindex("eth0")
    device = EthtoolDevice(ifindex=ifindex, ifname="eth0", rings={"rx": more.pop("ring", 256), "rx-max": 4096})
    looks = [EthtoolCounters(ifindex=ifindex, ifname="eth0", counters=c) for c in ({"rx_no_buffer": 7}, own or {})]
    table = Ethtool(devices=(device,), counters=(looks[0],), seconds=1.0, second=(looks[1],))
    tables = host.counters(before=samples[0], after=samples[1]).build()
    return Example(name=name, why=why, tables=replace(tables, ethtool=table), fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0")
    few, many = Stats64(rx_packets=1000, rx_missed_errors=8), Stats64(rx_packets=99, rx_missed_errors=8)
    yield _case("one in a thousand", "a burst", few, 1, subject=about, severity="warning", says=("rx 4096",))
    yield _case("one in a hundred", "heavy", many, 1, severity="critical")
    yield _case("ring at its maximum", "then more queues help", few, 1, ring=4096, says=("more queues",))
    still = Stats64(rx_packets=1000, rx_missed_errors=7)
    yield _case("the driver's own counter", "some drivers tell only there", still, 1, own={"rx_no_buffer": 9})
    yield _case("the past", "nothing has moved", still, own={"rx_no_buffer": 7})
    yield _case("other errors", "no matter of the ring", still, own={"tx_timeout": 9})
    yield _case("rx_dropped", "unknown protocols are counted there", Stats64(rx_dropped=99, rx_missed_errors=7))
    yield _case("VLAN", "it repeats its card's count", few, kind="vlan")
