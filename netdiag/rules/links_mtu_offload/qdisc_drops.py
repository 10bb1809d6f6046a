"""What it checks
  Packets dropped by a queueing discipline between two looks: a queue that overflows, a shaper or policer on an
  interface of this host's own, or a shaper whose queue is too short for ordinary bursts.

Why it matters
  They were already handed over by the stack: TCP sees loss and slows down, datagrams are gone. The driver's counters
  know nothing of it. A shaper whose queue holds only a few packets loses bursts long before its rate is reached.

Confirm
  tc -s qdisc show dev IFNAME, twice: "dropped" grows
  tc -s class show dev IFNAME

Fix
  Raise the limit or the rate: tc qdisc change ... limit N. A shaper that was left over: tc qdisc del dev IFNAME root
  (the interface falls back to its default queue; what waits in the old one is lost). Where the line itself is full,
  more queue is only more delay: fq_codel, or less traffic.

Not flagged
  "overlimits": packets that had to wait, which is what a shaper is for. Drops of fq_codel, cake, pie, red and their
  kin, which drop early to slow down senders. What filters at ingress or clsact drop, which have no queue: their verdict
  is that of a firewall, unless a policer is among them. A shaper or policer towards a guest or customer (tap, ifb,
  bridge port, host routes, or a router's cable into another namespace with no gateway behind it), a shaper with a queue
  of reasonable length: they cap by design, info only. Drops of the past. With --interval 0 this is not evaluated.

References
  include/uapi/linux/gen_stats.h struct gnet_stats_queue; net/sched/sch_tbf.c tbf_enqueue(), sch_htb.c htb_enqueue();
  tc-tbf(8), tc-htb(8)
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.guests import faces_guest, sides
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables
from netdiag.model.tc import ROOT, Qdisc, QueueStats, Tc, TcAction, TcCounters, TcFilter, handle_text
from netdiag.rules.build import HostBuilder
from netdiag.rules.queues import AQM, FIFOS, SHAPERS, losing, share
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="qdisc-drops",
    title="a queueing discipline drops packets",
    severity="warning",
    reads=("links", "addresses", "qdiscs", "deltas", "routes"),
    explains=("tcp-retrans-high",),
)

CUSTOMERS = frozenset({"tun", "ifb"})
"""Kinds of interfaces that are made for one guest or customer, as are ports of a bridge and what has host routes."""
FILTERING = frozenset({"ingress", "clsact"})
"""Hold filters and no queue (net/sched/sch_ingress.c): what they count as dropped a filter has dropped."""
FILTERS_HANDLE = 0xFFFF
SHORT = 10
"""Full packets that a shaper's queue must hold at least."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.qdiscs
    if table.seconds is None:
        return
    around = [sides(view.stack, view.routes(family), view.addresses) for family in ("inet", "inet6")]
    guests = {side.link.ifindex for each in around for side in each.guests}
    exits = {link.ifindex for each in around for link in each.exits}
    for row, lost, passed in losing(table):
        link = view.link(row.ifindex)
        if link is None or row.kind in AQM or row.kind == "netem":
            continue
        short = _short(row, link)
        customer = row.ifindex in guests or link.kind in CUSTOMERS or link.master is not None
        customer = customer or _last_cable(link, exits)
        policed = _policed(row, table.filters)
        if row.kind in FILTERING and not policed:
            continue
        by_design = (row.kind in SHAPERS or _below_shaper(row, table.qdiscs) or policed) and not short and customer
        where = f"{row.kind} {handle_text(row.handle)} of {link.ifname}"
        source = f"RTM_GETQDISC {link.ifname} TCA_STATS2"
        why = f", its queue of {row.options['limit']} bytes holds less than {SHORT} full packets" if short else ""
        yield RULE.found(
            subject=subject("qdisc", ifname=link.ifname, qdisc=row.kind),
            severity="info" if by_design else None,
            message=f"{where} dropped {lost} packets in {table.seconds:.1f} s ({share(lost, passed):.1%} of what came)"
            + why,
            evidence=[
                ("dropped between two looks", lost, f"{source} drops"),
                ("passed meanwhile", passed, f"{source} packets"),
                ("settings", " ".join(f"{key} {value}" for key, value in row.options.items()) or "none", source),
            ],
            confirm=[f"tc -s qdisc show dev {quoted(link.ifname)}"],
            fix=_fix(row, link),
            touches=[subject("link", ifname=link.ifname)],
            breaks=[] if by_design else [subject("host")],
        )


def _below_shaper(row: Qdisc, qdiscs: Iterable[Qdisc]) -> bool:
    """A plain queue of a shaper's class that holds enough for a burst: what it drops is above the class's rate."""
    limit = row.options.get("limit")
    if row.kind not in FIFOS | {"sfq"} or (isinstance(limit, int) and limit < SHORT):
        return False
    major = row.parent >> 16
    return any(up.ifindex == row.ifindex and up.handle >> 16 == major and up.kind in SHAPERS for up in qdiscs)


def _policed(row: Qdisc, filters: Iterable[TcFilter]) -> bool:
    """Whether a filter of an interface drops what is above a rate."""
    mine = (one for one in filters if one.ifindex == row.ifindex and one.parent >> 16 == FILTERS_HANDLE)
    return row.kind in FILTERING and any(
        act.kind == "police" and act.verdict == "drop" for f in mine for act in f.actions
    )


def _last_cable(link: Link, exits: set[int]) -> bool:
    """A router's cable into another namespace: the only subnet behind it is its own, and the ways on are elsewhere."""
    return faces_guest(link) and link.inet_conf.get("forwarding") == 1 and bool(exits) and link.ifindex not in exits


def _short(row: Qdisc, link: Link) -> bool:
    limit = row.options.get("limit")
    return row.kind == "tbf" and isinstance(limit, int) and limit < SHORT * (link.mtu + 14)


def _fix(row: Qdisc, link: Link) -> str:
    if row.kind in FILTERING:
        return (
            f"tc -s filter show dev {quoted(link.ifname)} ingress  # its policer: raise the rate, or delete the filter"
        )
    place = "root" if row.parent == ROOT else f"parent {handle_text(row.parent)}"
    if row.kind in SHAPERS:
        return (
            f"tc qdisc del dev {quoted(link.ifname)} {place}  # if nobody wants the cap; else raise its rate and limit"
        )
    return f"tc qdisc replace dev {quoted(link.ifname)} {place} fq_codel  # or a higher limit"


def _tables(
    qdisc: str, *, lost: int = 50, options: dict[str, Any] | None = None, before: int = 0, **link: Any
) -> Tables:
    host = HostBuilder().link("br0", kind="bridge").link("eth0", **link)
    if not link:
        host.address("eth0", "192.0.2.1/24")
    ifindex = host.ifindex("eth0")
    about: dict[str, Any] = {"kind": qdisc, "handle": 0x10000, "parent": ROOT}
    first = QueueStats(packets=1000, drops=before)
    later = QueueStats(packets=2000, drops=before + lost, overlimits=500)
    row = Qdisc(ifindex=ifindex, options=options or {}, stats=first, **about)
    table = Tc(qdiscs=(row,), seconds=1.0, second=(TcCounters(ifindex=ifindex, stats=later, **about),))
    return replace(host.build(), qdiscs=table)


def _cable(gateway: str = "192.0.2.2", limit: int = 30000, forwarding: int = 1, qdisc: str = "tbf") -> Tables:
    """A shaper on a cable into another namespace, 10.7.0.0/24; the default route leads to the gateway."""
    tables = _tables(qdisc, options={"rate": 1250000, "limit": limit} if qdisc == "tbf" else {}, kind="veth")
    host = HostBuilder().link("br0", kind="bridge")
    host.link("eth0", kind="veth", link_netnsid=0, inet_conf={"forwarding": forwarding}).address("eth0", "10.7.0.1/24")
    host.link("eth1").address("eth1", "192.0.2.1/24")
    host.route("default", via=gateway, dev="eth0" if gateway.startswith("10.") else "eth1")
    return replace(host.build(), qdiscs=tables.qdiscs)


def _leaf(tables: Tables, limit: int | None, **fields: Any) -> Tables:
    """A pfifo in a class of the shaper, which accounts for all its drops."""
    up = tables.qdiscs
    leaf: dict[str, Any] = {"kind": "pfifo", "handle": 0x200000, "parent": 0x10010, "ifindex": up.qdiscs[0].ifindex}
    leaf |= fields
    low = Qdisc(stats=QueueStats(packets=1000), options={} if limit is None else {"limit": limit}, **leaf)
    later = TcCounters(stats=QueueStats(packets=2000, drops=50), **leaf)
    return replace(tables, qdiscs=Tc(qdiscs=(*up.qdiscs, low), seconds=1.0, second=(*up.second, later)))


def _case(name: str, why: str, tables: Tables, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=tables, fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("qdisc", ifname="eth0", qdisc="pfifo_fast")
    yield _case("queue overflows", "the plain fault", _tables("pfifo_fast"), 1, subject=about, severity="warning")
    yield _case("one packet", "one is loss", _tables("pfifo", lost=1), 1, severity="warning")
    yield _case("none", "overlimits alone lose nothing", _tables("tbf", lost=0, options={"limit": 3000}))
    yield _case("the past", "drops of last week", _tables("pfifo_fast", lost=0, before=9000))
    small, enough = {"rate": 125000, "limit": 15139}, {"rate": 125000, "limit": 15140}
    short = _tables("tbf", options=small, kind="tun")
    yield _case("short tbf", "nine packets and a bit", short, 1, severity="warning")
    yield _case(
        "customer's cap", "ten packets: a cap by design", _tables("tbf", options=enough, kind="tun"), 1, severity="info"
    )
    yield _case("customer's classes", "htb caps by design", _tables("htb", master="br0"), 1, severity="info")
    cap: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield _case("a router's customer", "nothing but its own subnet is behind the cable", _cable(), **cap)
    loud: dict[str, Any] = {"fires": 1, "severity": "warning"}
    yield _case("a router's uplink", "the default route leads there", _cable("10.7.0.2"), **loud)
    yield _case("short for a customer", "bursts are lost below the rate", _cable(limit=7620), **loud)
    yield _case("no router", "its own traffic goes there", _cable(forwarding=0), **loud)
    yield _case("a fifo for a customer", "no cap: a queue that overflows", _cable(qdisc="pfifo"), **loud)
    for name, queue, leads, severity in (
        ("a customer's class", 50, "192.0.2.2", "info"),
        ("a class of the uplink", 50, "10.7.0.2", "warning"),
        ("a short class", SHORT - 1, "192.0.2.2", "warning"),
    ):
        tables = _cable(leads, qdisc="htb")
        yield _case(
            name, "the leaf of a shaper drops what is above its rate", _leaf(tables, queue), 1, severity=severity
        )
    yield _case("own interface", "everything of this host goes there", _tables("htb"), 1, severity="warning")
    for kind in sorted(AQM & {"fq_codel", "cake", "codel"}):
        yield _case(kind, "it drops to tell senders to slow down", _tables(kind))
    yield _case("netem", "loss on purpose", _tables("netem"))
    parent = _tables("htb")
    ifindex = parent.qdiscs.qdiscs[0].ifindex
    leaf: dict[str, Any] = {"kind": "fq_codel", "handle": 0x200000, "parent": 0x10020, "ifindex": ifindex}
    below = TcCounters(stats=QueueStats(packets=2000, drops=50), **leaf)
    both = Tc(
        qdiscs=(*parent.qdiscs.qdiscs, Qdisc(stats=QueueStats(packets=1000), **leaf)),
        seconds=1.0,
        second=(*parent.qdiscs.second, below),
    )
    yield _case("fq_codel below htb", "htb counts what its leaf drops, and that is AQM", replace(parent, qdiscs=both))
    reset = _tables("pfifo_fast", lost=-5, before=9)
    yield _case("counters went back", "another qdisc took its place", reset)
    single = _tables("pfifo_fast")
    yield _case("one look", "nothing moved yet", replace(single, qdiscs=Tc(qdiscs=single.qdiscs.qdiscs)))
    for name, why, fields, severity in (
        ("ten packets", "enough", {}, "info"),
        ("of another kind", "it drops by a rule of its own", {"kind": "prio"}, "warning"),
    ):
        shaped = _leaf(_cable(qdisc="htb"), SHORT, **fields)
        yield _case(f"a class of a shaper, {name}", why, shaped, 1, severity=severity)
    unsaid = _leaf(_cable(qdisc="htb"), None)
    yield _case("a class whose limit is not told", "the default is a thousand", unsaid, 1, severity="info")
    tbf = _tables("tbf", options={}, kind="tun")
    yield _case("a customer's tbf, limit not told", "a cap by design", tbf, 1, severity="info")
    gone = _tables("pfifo_fast")
    yield _case("an interface that has gone", "nothing to name", replace(gone, links=gone.links[:1]))
    card = _cable()
    cards = tuple(msgspec.structs.replace(one, kind=None) if one.ifname == "eth0" else one for one in card.links)
    yield _case("a router's LAN", "a card is no cable of one customer", replace(card, links=cards), **loud)
    alone = replace(card, routes=_tables("tbf").routes)
    yield _case("no way on", "nobody knows what is behind it", alone, **loud)
    guest = HostBuilder().link("br0", kind="bridge").link("eth0", kind="veth", link_netnsid=0)
    guest.route("10.7.0.5/32", dev="eth0")
    yield _case("a guest by its host route", "a cap by design", replace(guest.build(), qdiscs=_cable().qdiscs), **cap)
    yield from _branches()
    yield from _filters()


def _branches() -> Iterator[Example]:
    """Which rows are the same qdisc, and which stand below which."""
    stats, more = QueueStats(packets=1000), QueueStats(packets=2000, drops=50)

    def rows(*pairs: tuple[dict[str, Any], dict[str, Any] | None]) -> Tables:
        """Qdiscs with what the second look changes of them; None: not there any more."""
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").link("eth1").address("eth1", "192.0.3.1/24")
        known: dict[str, Any] = {"ifindex": 2, "kind": "pfifo", "handle": 0x10000, "parent": ROOT}
        first = tuple(Qdisc(**(known | {"stats": stats} | one)) for one, _ in pairs)
        second = [TcCounters(**(known | {"stats": more} | one | now)) for one, now in pairs if now is not None]
        return replace(host.build(), qdiscs=Tc(qdiscs=first, seconds=1.0, second=tuple(second)))

    plain: dict[str, Any] = {}
    for name, why, changed in (
        ("all of it", "nothing passed", {"stats": QueueStats(packets=1000, drops=50)}),
        ("one drop taken back", "a reset", {"stats": QueueStats(packets=2000, drops=-1)}),
        ("one packet taken back", "a reset", {"stats": QueueStats(packets=999, drops=50)}),
        ("of a class", "a class has numbers of its own", {"of_class": True}),
        ("of another kind", "another qdisc took its place", {"kind": "htb"}),
    ):
        lost = name == "all of it"
        yield _case(f"dropped: {name}", why, rows((plain, changed)), int(lost))
    born = rows((plain, None))
    late = TcCounters(ifindex=2, kind="pfifo", handle=0x30000, parent=ROOT, stats=more)
    anew = Tc(qdiscs=born.qdiscs.qdiscs, seconds=1.0, second=(late,))
    yield _case("made since", "nothing to compare", replace(born, qdiscs=anew))
    other = {"ifindex": 3, "kind": "pfifo", "handle": 0x20000, "parent": 0x10010}
    yield _case("a leaf of another card", "its own branch", rows(({"kind": "htb"}, {}), (other, {})), 2)
    unnamed = {"kind": "pfifo_fast", "handle": 0}, {"kind": "bfifo", "handle": 0x20000, "parent": 0x1}
    yield _case("handle 0", "nothing stands below it by name", rows((unnamed[0], {}), (unnamed[1], {})), 2)
    shaper, leaf = {"kind": "htb"}, {"handle": 0x200000, "parent": 0x10010}
    fresh: dict[str, Any] = {"handle": 0x300000, "parent": 0x10020, "stats": QueueStats(packets=10, drops=30)}
    back = {"stats": QueueStats(packets=2000)}
    yield _case(
        "a leaf was replaced beside the one that drops", "its counter went back: it takes nothing from the other's",
        rows((shaper, {}), (leaf, {}), (fresh, back)), 1, subject=subject("qdisc", ifname="eth0", qdisc="pfifo"),
    )  # fmt: skip
    clsact: dict[str, Any] = {"kind": "clsact", "handle": 0xFFFF0000, "parent": 0xFFFFFFF1}
    beside = _filtered(rows((clsact, {}), (plain, {})), "police")
    yield _case("clsact beside the root", "their handles look alike", beside, 2)
    for name, why, leaf in (
        ("another qdisc's class", "nothing shapes it", {"parent": 0x50010}),
        ("another card's class", "the shaper is on this one", {"parent": 0x10010, "ifindex": 4}),
    ):
        made = _leaf(_cable(qdisc="htb"), SHORT, **leaf)
        idle = tuple(msgspec.structs.replace(row, stats=QueueStats(packets=2000)) for row in made.qdiscs.second[:1])
        queues = msgspec.structs.replace(made.qdiscs, second=(*idle, *made.qdiscs.second[1:]))
        yield _case(name, why, replace(made, qdiscs=queues), 1, severity="warning")
    made = _leaf(_cable(qdisc="htb"), SHORT)
    still: dict[str, Any] = {"ifindex": 4, "stats": QueueStats(packets=1000)}
    above = (msgspec.structs.replace(made.qdiscs.qdiscs[0], **still), made.qdiscs.qdiscs[1])
    moved = (msgspec.structs.replace(made.qdiscs.second[0], **still), made.qdiscs.second[1])
    elsewhere = replace(made, qdiscs=msgspec.structs.replace(made.qdiscs, qdiscs=above, second=moved))
    yield _case("a customer's class, the shaper on another card", "it is none of its", elsewhere, 1, severity="warning")
    prio = _leaf(_cable(qdisc="prio"), SHORT)
    yield _case("a class of no shaper", "a queue that overflows", prio, 1, severity="warning")


def _filtered(tables: Tables, action: str, verdict: str = "drop", **fields: Any) -> Tables:
    """A filter of the first qdisc's interface with one action."""
    row = tables.qdiscs.qdiscs[0]
    known: dict[str, Any] = {"ifindex": row.ifindex, "parent": 0xFFFFFFF2, "kind": "matchall", "handle": 1}
    known |= {"priority": 1, "protocol": 3, "actions": (TcAction(kind=action, verdict=verdict),)}
    return replace(tables, qdiscs=msgspec.structs.replace(tables.qdiscs, filters=(TcFilter(**(known | fields)),)))


def _filters() -> Iterator[Example]:
    """Drops of ingress and clsact, which are verdicts of filters."""
    for kind, parent in (("clsact", 0xFFFFFFF3), ("ingress", 0xFFFF0000)):
        plain = _tables(kind)
        loud: dict[str, Any] = {"severity": "warning", "says": ("tc -s filter show dev eth0 ingress",)}
        own = _filtered(plain, "police", parent=parent)
        yield _case(f"{kind}: a policer on the uplink", "loss on its own line", own, 1, **loud)
        customer = _filtered(_tables(kind, kind="tun"), "police")
        yield _case(f"{kind}: a customer's policer", "a cap by design", customer, 1, severity="info")
        yield _case(f"{kind}: no filter was told", "eBPF, a firewall", plain)
        yield _case(f"{kind}: a filter that drops", "a firewall", _filtered(plain, "gact"))
        yield _case(f"{kind}: a policer that marks", "another drops", _filtered(plain, "police", "pipe"))
    plain = _tables("clsact")
    yield _case("another card's policer", "not what this one counts", _filtered(plain, "police", ifindex=1))
    yield _case("a policer of the root's", "not what clsact counts", _filtered(plain, "police", parent=0x10000))
    queue = _filtered(_tables("pfifo_fast"), "police")
    yield _case("a queue beside a policer", "the queue overflows", queue, 1, severity="warning")
    queue = _filtered(_tables("pfifo_fast", kind="tun"), "police")
    yield _case("a customer's queue beside a policer", "the queue overflows", queue, 1, severity="warning")
