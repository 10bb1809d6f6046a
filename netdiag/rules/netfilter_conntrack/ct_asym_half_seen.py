"""What it checks
  This host forwards one direction only of TCP connections: tracking waits for answers that it never sees (SYN_SENT,
  UNREPLIED), the packets that follow are invalid, and the forward hook drops what is invalid. Where it is quiet between
  the looks: three or more connections to one port, and as many invalid packets ever (information). Or it forwards the
  answers alone: no forwarded connection is known, ten or more packets are invalid, and the rule that drops them in the
  forward hook has counted most of what ever was (information where it has no counter). As information also
  connections of this host itself that stand, while tracking waits for their answer since more than a second.

Why it matters
  The way out leads over this host, the way back over another one (two uplinks, an anycast pair, a direct return). The
  connection begins, because the first packet is new; the next one answers something that was never seen, is invalid,
  and is dropped here: connections hang after the handshake, while ping works.

Confirm
  conntrack -L -p tcp --state SYN_SENT
  conntrack -S                     (invalid, run twice)
  tcpdump -ni any tcp and host DESTINATION      (one direction only)

Fix
  Make the ways symmetric, or take such flows out of tracking in a raw chain: nft insert rule ... tcp dport PORT notrack
  and accept untracked in forward. sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1 and accepting invalid packets
  helps where nothing is translated; the filter then knows nothing of these connections.

Not flagged
  Scans, and servers that do not answer: nothing invalid follows, or it is known that they are dead, or they answer at
  other ports. Where invalid packets come besides: fewer than three calls to one port, while other connections are seen
  both ways, are an info, and a port that answers more calls than it leaves is none. Filters that let
  invalid packets pass. With one sample nothing can be said of what is forwarded.

References
  net/netfilter/nf_conntrack_proto_tcp.c tcp_conntracks[] (an ACK in SYN_SENT is invalid); kubernetes issue 94861
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY, ConntrackEntry
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.answersalone import alone_cases, answers_alone
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, rule, state, table, verdict
from netdiag.rules.halftracked import half_cases, half_finding, half_tracked
from netdiag.rules.nftplaces import fact, list_chain, place_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import packed
from netdiag.rules.trackedflows import groups
from netdiag.rules.translations import CONSULTS, READS, dead_end, new_packet

RULE = Rule(
    id="ct-asym-half-seen",
    title="a stateful filter sees one direction of the connections that it forwards",
    severity="warning",
    confidence="likely",
    reads=(*READS, "conntrack", "conntrack_state"),
    consults=(*CONSULTS, "sockets"),
    explains=("ct-invalid-rst",),
)
SOME = 3
SYN_SENT = 1
MOST = 64
"""Services that are looked at."""


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    own = half_tracked(view)
    if own:
        yield half_finding(RULE, own)
    looks = view.conntrack_state
    if looks.second_at is None:
        yield Unjudged(reason="conntrack_state: one sample only")
        return
    invalid = looks.moved("invalid")
    if invalid is None:
        return
    found = [(entry, stop, count) for entry, count in _half_seen(view) if (stop := _dropped(view, entry)) is not None]
    quiet, ever = invalid < SOME, looks.second["invalid"]
    if quiet:  # who was cut off waits longer and longer before he tries again
        found = [one for one in found if SOME <= one[2] <= ever]
    found = _unheard(view, found)
    if not found:
        alone = None if _answered(view) else answers_alone(view, RULE, invalid, ever)
        if alone is not None:
            yield alone
        return
    found.sort(key=lambda one: -one[2])
    entry, stop, most = found[0]
    unsure = quiet or (most < SOME and _answered(view))  # a few calls without an answer are a scan's as well
    total = sum(count for _, _, count in found)
    seconds = round((looks.second_at or 0.0) - looks.at, 1)
    yield RULE.found(
        subject=subject("conntrack", table="nf_conntrack"),
        message=f"{total} forwarded TCP connections (such as {entry.orig_src} to {entry.orig_dst} port"
        f" {entry.orig_dport}) are seen one way only, {invalid} packets were invalid in {seconds} s"
        f"{f' ({ever} so far)' if quiet else ''}, and {place_words(stop.at)} drops those"
        f"{'; or nobody answers them' if unsure else ''}",
        confidence="possible" if unsure else None,
        evidence=[
            ("without an answer", total, "IPCTNL_MSG_CT_GET SYN_SENT without IPS_SEEN_REPLY"),
            ("invalid", invalid, "/proc/net/stat/nf_conntrack invalid, between the looks"),
            ("invalid so far", ever, "/proc/net/stat/nf_conntrack invalid"),
            fact(stop),
        ],
        confirm=["conntrack -S", list_chain(stop.at.table, stop.at.chain)],
        fix="make the ways symmetric, or notrack these flows in a raw chain and accept untracked in forward",
    )


def _half_seen(view: HostView) -> Iterator[tuple[ConntrackEntry, int]]:
    ct = view.conntrack
    keep = np.asarray((ct.proto == IPPROTO_TCP) & (ct.tcp_state == SYN_SENT) & (ct.status & IPS_SEEN_REPLY == 0))
    for group in groups(view, keep, ("family", "orig_dst", "orig_dport")):
        one = group.entry
        own = any(view.local.is_local(one.family, end) for end in (one.orig_src, one.reply_src))
        if not own and dead_end(view, one.reply_src) is None:  # nobody there: that is why there is no answer
            yield one, group.count


Found = list[tuple[ConntrackEntry, Possible, int]]


def _unheard(view: HostView, found: Found) -> Found:
    """Without the ports of which scanners hear nothing while their host answers at others, and those that answer more
    calls than they leave without an answer: a busy service, not a way back that misses this host."""
    ct, kept = view.conntrack, Found()
    seen = (ct.proto == IPPROTO_TCP) & (ct.status & IPS_SEEN_REPLY != 0)
    ends = np.ascontiguousarray(ct.orig_dst).view(np.uint64).reshape(-1, 2)
    for entry, stop, count in found[:MOST]:
        family, address = packed(entry.orig_dst)
        wanted = address.view(np.uint64)
        there = seen & (ct.family == family) & (ends[:, 0] == wanted[0]) & (ends[:, 1] == wanted[1])
        here = int((there & (ct.orig_dport == entry.orig_dport)).sum())
        if count >= here and (here or not there.any()):
            kept.append((entry, stop, count))
    return kept


def _answered(view: HostView) -> bool:
    """Whether a TCP connection that this host forwards was answered over it."""
    ct = view.conntrack
    seen = (ct.proto == IPPROTO_TCP) & (ct.status & IPS_SEEN_REPLY != 0)
    pairs = (group.entry for group in groups(view, seen, ("family", "orig_src", "reply_src")))
    return any(not any(view.local.is_local(one.family, end) for end in (one.orig_src, one.reply_src)) for one in pairs)


def _dropped(view: HostView, one: ConntrackEntry) -> Possible | None:
    """What drops the packet after the handshake, where the first one may pass."""
    packet = new_packet(view, IPPROTO_TCP, (one.orig_src, one.orig_sport, one.reply_src, one.reply_sport))
    way = replace(packet, oif=None, mark=None, ct_mark=None)
    if view.netfilter.hook("forward", way).passes == "no":
        return None
    found = view.netfilter.hook("forward", replace(way, ct_state="invalid", ct_reply=None))
    return found.blocker if found.passes == "no" else None


def _host(
    *rules: Any, policy: str = "accept", moved: int = 9, second: bool = True, count: int = 1, **flow: Any
) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    host.tap("tap0").route("10.0.0.2/32", dev="tap0")
    looks: dict[str, Any] = {"at": 1.0, "first": {"invalid": 100}}
    host.conntrack_state(**(looks | ({"second_at": 2.0, "second": {"invalid": 100 + moved}} if second else {})))
    source = flow.pop("source", "10.0.0.2")
    known: dict[str, Any] = {"status": 0x8, "tcp_state": "syn_sent"} | flow
    for port in range(4000, 4000 + count):
        host.conntrack(6, f"{source} {port} 203.0.113.9 443", f"203.0.113.9 443 {source} {port}", **known)
    return host.nft(table(chain("fwd", *rules, hook="forward", policy=policy), name="t"))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0, *, unjudged: bool = False) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, unjudged=unjudged)

    yield from (*half_cases(), *alone_cases())
    drop = rule(state("invalid"), verdict("drop"))
    opened = rule(state("new", "established"), verdict("accept"))
    yield case("half a connection", "the plain fault", _host(drop), 1)
    yield case("default drop", "invalid is not accepted either", _host(opened, policy="drop"), 1)
    yield case("three packets", "the fewest that count", _host(drop, moved=3), 1)
    yield case("scan", "nothing invalid follows", _host(drop, moved=0))
    yield case("two packets", "strays", _host(drop, moved=2))
    yield case("invalid passes", "a router that does not judge", _host())
    yield case("answered", "both ways are seen", _host(drop, status=0xE, tcp_state="established"))
    gone = _host(drop)
    gone.conntrack_state().route("203.0.113.0/24", type="unreachable")
    yield case("dead server", "nobody is there to answer", gone)
    yield case("own connection", "nothing is forwarded", _host(drop, source="192.0.2.2"))
    yield case("first packet stopped", "the filter does not want it at all", _host(policy="drop"))
    yield case("one sample", "there is nothing to compare", _host(drop, second=False), unjudged=True)
    for name, why, count, before, fires in (
        ("three, and quiet", "they wait before they try again", 3, 3, 1),
        ("two, and quiet", "two servers that do not answer", 2, 3, 0),
        ("three, and fewer invalid ever", "nothing followed", 3, 2, 0),
    ):
        calm = _host(drop, moved=0, count=count)
        calm.conntrack_state(at=1.0, second_at=2.0, first={"invalid": before}, second={"invalid": before})
        says = ("; or nobody answers them",) if fires else ()
        severity: Any = {"severity": "info"} if fires else {}
        yield Example(name=name, why=why, tables=calm.build(), fires=fires, says=says, **severity)
    for name, flows, count, fires, severity in (
        ("a scanned port of a host that answers at another", (("10.0.0.3", 80),), 3, 0, None),
        ("one, and its port answers as often", (("10.0.0.3", 443),), 1, 1, "info"),
        ("three, and its port answers as often", tuple((f"10.0.0.{n}", 443) for n in (3, 4, 5)), 3, 1, "warning"),
        ("three of a port that answers more", tuple((f"10.0.0.{n}", 443) for n in (3, 4, 5, 6)), 3, 0, None),
        ("two, while another host answers", (("203.0.113.8", 443),), 2, 1, "info"),
        ("three, while another host answers", (("203.0.113.8", 443),), 3, 1, "warning"),
        ("one, while this host answers", (("192.0.2.2", 22),), 1, 1, "warning"),
    ):
        busy = _host(drop, count=count)
        for caller, port in flows:
            ends = (caller, f"203.0.113.9 {port}") if caller.startswith("10.") else ("10.0.0.2", f"{caller} {port}")
            busy.conntrack(6, f"{ends[0]} 999 {ends[1]}", f"{ends[1]} {ends[0]} 999", tcp_state="established")
        more: Any = {"severity": severity} if severity else {}
        yield Example(name=name, why="what else is seen", tables=busy.build(), fires=fires, **more)
    yield case("set back", "a counter that went back says nothing", _host(drop, moved=-5))
