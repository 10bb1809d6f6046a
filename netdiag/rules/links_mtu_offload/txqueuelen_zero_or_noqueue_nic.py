"""What it checks
  An interface that is up and whose queue has no room: pfifo_fast with a txqueuelen of 0 or nearly so, pfifo or bfifo
  with such a limit, or a network card without any queue (noqueue).

Why it matters
  A queue of length 0 drops every packet, one of a few packets every burst: the interface answers ping and loses half of
  a file transfer. A card without a queue cannot hold back what its ring has no room for: it is dropped at once, and
  nothing is shared out fairly. Virtual interfaces such as veth and WireGuard need no queue of their own.

Confirm
  ip link show dev IFNAME                (qlen)
  tc -s qdisc show dev IFNAME            (limit, dropped)

Fix
  ip link set dev IFNAME txqueuelen 1000, and make the queue anew, for pfifo keeps the limit that it was made with:
  tc qdisc replace dev IFNAME root fq_codel (mq with fq_codel on a card with several queues). What waits in the old
  queue is lost.

Not flagged
  noqueue or txqueuelen 0 without a queue on wg, veth, tun, vxlan, bridge, bond, loopback: they hand packets on at once.
  txqueuelen 0
  beside a queue that has a limit of its own. A short queue below a shaper, whose limit somebody chose. An interface
  that is down.

References
  net/sched/sch_fifo.c fifo_init() (the limit is the txqueuelen of that moment), net/sched/sch_generic.c
  noqueue_qdisc_ops and pfifo_fast_change_tx_queue_len(); ip-link(8), tc-pfifo(8)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.ethtool import Ethtool, EthtoolDevice
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables
from netdiag.model.tc import ROOT, Qdisc, Tc
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="txqueuelen-zero-or-noqueue-nic",
    title="an interface's queue has no room",
    severity="critical",
    reads=("links", "qdiscs"),
    consults=("ethtool",),
    explains=("qdisc-drops",),
)

FEW = 10
"""Packets that a queue must hold at least."""


def check(view: HostView) -> Iterator[Draft]:
    hardware = {row.ifindex for row in view.ethtool.devices if row.bus_info} if view.read_whole("ethtool") else set()
    for row in view.qdiscs.qdiscs:
        link = view.link(row.ifindex)
        if link is None or not link.up or row.parent != ROOT:
            continue
        room = _room(row, link)
        bare = row.kind == "noqueue" and link.kind is None and link.ifindex in hardware
        if bare or (room is not None and room < FEW):
            yield _finding(row, link, room)


def _room(row: Qdisc, link: Link) -> int | None:
    """Full packets that a fifo can hold; None where it is no fifo, or does not say."""
    if row.kind == "pfifo_fast":
        return link.txqlen
    limit = row.options.get("limit")
    if not isinstance(limit, int) or row.kind not in ("pfifo", "bfifo"):
        return None
    return limit if row.kind == "pfifo" else limit // (link.mtu + 14)


def _finding(row: Qdisc, link: Link, room: int | None) -> Draft:
    name = quoted(link.ifname)
    what = f"the {row.kind} of {link.ifname} has room for {room} packets"
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        severity="critical" if room == 0 else "warning",
        message=f"{what}: {'every packet is dropped' if room == 0 else 'bursts are lost'}"
        if room is not None
        else f"{link.ifname} is a network card without a queue: what its ring has no room for is dropped",
        evidence=[
            ("queueing discipline", row.kind, f"RTM_GETQDISC {link.ifname} TCA_KIND"),
            ("limit", row.options.get("limit", "none"), f"RTM_GETQDISC {link.ifname} TCA_OPTIONS"),
            ("txqueuelen", link.txqlen, f"RTM_GETLINK {link.ifname} IFLA_TXQLEN"),
        ],
        confirm=[f"ip link show dev {name}", f"tc -s qdisc show dev {name}"],
        fix=f"ip link set dev {name} txqueuelen 1000 && tc qdisc replace dev {name} root pfifo limit 1000"
        "  # or fq_codel, mq on a card with several queues",
        breaks=[subject("qdisc", ifname=link.ifname, qdisc=row.kind)],
    )


def _tables(qdisc: str, *, limit: int | None = None, hardware: bool = False, parent: int = ROOT, **link: Any) -> Tables:
    host = HostBuilder().link("eth0", **{"txqlen": 0, "qdisc": qdisc, **link})
    ifindex = host.ifindex("eth0")
    options = {} if limit is None else {"limit": limit}
    table = Tc(qdiscs=(Qdisc(ifindex=ifindex, kind=qdisc, handle=0x80010000, parent=parent, options=options),))
    device = EthtoolDevice(ifindex=ifindex, ifname="eth0", bus_info="0000:3b:00.0" if hardware else None)
    return replace(host.build(), qdiscs=table, ethtool=Ethtool(devices=(device,)))


def _case(name: str, why: str, tables: Tables, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=tables, fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth0")
    yield _case(
        "pfifo made with txqueuelen 0",
        "every packet is dropped",
        _tables("pfifo", limit=0),
        1,
        severity="critical",
        subject=about,
    )
    yield _case("one packet", "older kernels give it one", _tables("pfifo", limit=1), 1, severity="warning")
    yield _case("nine", "below ten", _tables("pfifo", limit=9), 1, severity="warning")
    yield _case("ten", "enough for a burst", _tables("pfifo", limit=10))
    yield _case("bytes", "nine packets of 1514 bytes and a bit", _tables("bfifo", limit=15139), 1, severity="warning")
    yield _case("enough bytes", "ten packets", _tables("bfifo", limit=15140))
    yield _case("pfifo_fast", "its rings have no room", _tables("pfifo_fast", txqlen=0), 1, severity="critical")
    yield _case("pfifo_fast as it comes", "a thousand packets", _tables("pfifo_fast", txqlen=1000))
    yield _case("card without a queue", "bufferless", _tables("noqueue", hardware=True), 1, severity="warning")
    yield _case("veth", "noqueue is right there", _tables("noqueue", kind="veth"))
    yield _case("unknown hardware", "nothing says that it is a card", _tables("noqueue"))
    yield _case("bond over cards", "it hands packets on", _tables("noqueue", kind="bond", hardware=True))
    yield _case("leaf of a shaper", "its limit was chosen", _tables("pfifo", limit=5, parent=0x10020))
    yield _case("down", "it carries nothing", _tables("pfifo", limit=0, up=False))
    yield _case("fq_codel", "another kind of queue", _tables("fq_codel", limit=0))
    yield _case("no limit told", "nothing to judge", _tables("pfifo"))
    yield _case("no limit of bytes told", "nothing to judge", _tables("bfifo"))
    yield _case("a card with a queue", "as it should be", _tables("fq_codel", hardware=True))
    gone = _tables("pfifo", limit=0)
    yield _case("an interface that has gone", "nothing to name", replace(gone, links=gone.links[:1]))
