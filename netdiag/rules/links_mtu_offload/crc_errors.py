"""What it checks
  Frames that came in damaged between two looks: wrong check sum or framing (rx_crc_errors, rx_frame_errors, or the
  driver's own counters of that name).

Why it matters
  Each of them is a packet lost. It points at the way to this card: cable, optic, dirt, a port that is about to die, or
  the two ends disagreeing about FEC. TCP slows down out of proportion: one frame in ten thousand is felt.

Confirm
  ip -s -s link show dev IFNAME, twice: crc and frame grow
  ethtool -S IFNAME | grep -i -E 'crc|fcs|symbol'

Fix
  Clean or replace optic and cable, then try another port of the switch; look at the light levels (ethtool -m IFNAME)
  and at the same counters on the switch. Until then take the leg out of its bond, or the route off it.

Not flagged
  Errors of the past: a cable that was replaced last week leaves its count behind. Bonds and VLANs, which repeat what
  their cards count. With --interval 0 this is not evaluated.

References
  include/uapi/linux/if_link.h struct rtnl_link_stats64; IEEE 802.3 clause 30 aFrameCheckSequenceErrors
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolCounters
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Stats64
from netdiag.rules import cards
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="crc-errors",
    title="frames come in damaged",
    severity="critical",
    reads=("links", "deltas"),
    consults=("ethtool",),
    explains=("tcp-retrans-high",),
)
SHARE = 0.01
"""Part of the frames from which on it is critical."""


def check(view: HostView) -> Iterator[Draft]:
    for row in cards.moved(view.deltas, view.links):
        link = row.link
        bad = row.by("rx_crc_errors") + row.by("rx_frame_errors")
        own = cards.own_counters(view.ethtool, link.ifindex, "crc", "fcs", "symbol") if not bad else {}
        bad = bad or max(own.values(), default=0)
        if not bad:
            continue
        heavy = bad >= SHARE * (row.by("rx_packets") + bad)
        source = f"RTM_GETLINK {link.ifname} IFLA_STATS64"
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            severity="critical" if heavy else "warning",
            message=f"{link.ifname} received {bad} damaged frames in {view.deltas.seconds:.1f} s: cable, optic or port",
            evidence=[
                ("damaged between two looks", bad, f"{source} rx_crc_errors, rx_frame_errors"),
                *((name, count, f"ethtool -S {link.ifname}") for name, count in sorted(own.items())[:2]),
                ("received meanwhile", row.by("rx_packets"), f"{source} rx_packets"),
            ],
            confirm=[f"ip -s -s link show dev {quoted(link.ifname)}", f"ethtool -S {quoted(link.ifname)}"],
            fix="clean or replace cable and optic, then try another port; compare with the switch's counters",
            breaks=[subject("host")],
        )


def _case(name: str, why: str, before: Stats64, after: Stats64, fires: int = 0, **more: Any) -> Example:
    host = HostBuilder().link("eth0", kind=more.pop("kind", None))
    index, own = host.ifindex("eth0"), more.pop("own", None)
    samples = [{"links": (host.link_counters("eth0", stats=stats),)} for stats in (before, after)]
    tables = host.counters(before=samples[0], after=samples[1]).build()
    looks = [EthtoolCounters(ifindex=index, ifname="eth0", counters={"fcs_errors": n}) for n in (3, own)] if own else []
    table = Ethtool(counters=tuple(looks[:1]), seconds=1.0, second=tuple(looks[1:]))
    return Example(name=name, why=why, tables=replace(tables, ethtool=table), fires=fires, **more)


def examples() -> Iterator[Example]:
    none, past = Stats64(), Stats64(rx_crc_errors=5000)
    few, many = Stats64(rx_packets=1000, rx_crc_errors=1), Stats64(rx_packets=99, rx_crc_errors=1)
    about = subject("link", ifname="eth0")
    yield _case("one in a thousand", "lost", none, few, 1, subject=about, severity="warning")
    yield _case("one in a hundred", "the line is useless", none, many, 1, severity="critical")
    yield _case("framing", "the same by another name", none, Stats64(rx_packets=1000, rx_frame_errors=2), 1)
    yield _case("the past", "nothing has moved", past, past)
    yield _case("counters went back", "the driver was loaded anew", past, Stats64(rx_crc_errors=3))
    told: dict[str, Any] = {"own": 5, "says": ("eth0 received 2 damaged frames", "fcs_errors")}
    yield _case("the driver's own counter", "some tell only there", none, Stats64(rx_packets=1000), 1, **told)
    both: dict[str, Any] = {"own": 9, "says": ("eth0 received 1 damaged frames",)}
    yield _case("both", "the kernel's is the one that all cards have", none, few, 1, **both)
    yield _case("the driver's own, of the past", "nothing has moved", none, Stats64(rx_packets=1000), own=3)
    yield _case("bond", "its leg is named", none, few, kind="bond")
    yield _case("only dropped", "that is no damage", none, Stats64(rx_packets=1, rx_dropped=9, rx_errors=9))
