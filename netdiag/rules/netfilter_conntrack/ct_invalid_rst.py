"""What it checks
  Packets that connection tracking calls invalid were counted between the two looks, on a host that translates forwarded
  TCP connections, lets invalid packets through its forward hook, and is strict about TCP windows (tcp_be_liberal 0).

Why it matters
  A packet outside the window that tracking expects (a late retransmission, a burst of a fast sender) is invalid and is
  not translated: it arrives with its inner address at a peer that knows no such connection, which answers with a reset.
  "Connection reset by peer" in the middle of large transfers, never in small ones.

Confirm
  conntrack -S                         (invalid, run twice)
  sysctl net.netfilter.nf_conntrack_tcp_be_liberal
  sysctl -w net.netfilter.nf_conntrack_log_invalid=6      (logs them, with the reason)

Fix
  nft insert rule FAMILY TABLE CHAIN ct state invalid drop in the forward chain, so that nothing leaves untranslated
  and the sender retransmits; or sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1. Where routing is asymmetric,
  and this host sees one direction only, dropping is the wrong cure: see ct-asym-half-seen.

Not flagged
  Hosts that drop invalid packets in forward (and in input, where they give guests an address of their own), or
  translate nothing that is forwarded. Connections that guests reset, while this host sends no reset. A few packets:
  scanners and strangers' answers are invalid as well. Without tracked TCP connections that are translated. With one
  sample nothing can be said.

References
  net/netfilter/nf_conntrack_proto_tcp.c tcp_in_window(); kubernetes issue 74839
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.nftpacket import Packet
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, state, table, verdict
from netdiag.rules.shape import Example, Rule
from netdiag.rules.trackedflows import groups
from netdiag.rules.translations import READS, new_packet

RULE = Rule(
    id="ct-invalid-rst",
    title="invalid packets pass untranslated, and peers reset the connections",
    severity="warning",
    confidence="likely",
    reads=(*READS, "conntrack", "conntrack_state"),
    consults=("counters",),
)
SOME = 3
ESTABLISHED, CLOSE = 3, 8
"""Positions in TCP_STATES; CLOSE: a reset was seen within the last ten seconds (nf_conntrack_tcp_timeout_close)."""
RESETS = "Tcp.OutRsts"
LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    state_ = view.conntrack_state
    if state_.second_at is None:
        yield Unjudged(reason="conntrack_state: one sample only")
        return
    invalid = state_.moved("invalid")
    if invalid is None or invalid < SOME or state_.settings.get("tcp_be_liberal") == 1:
        return
    open_, text = _through(view), _own(view)
    if open_ is None and text is None:
        return
    way = (
        "the forward hook lets them pass: they leave untranslated, and peers reset connections such as"
        if open_ is not None
        else "the input hook lets them in: answers that nobody translates back come to this host, which resets "
        "connections such as"
    )
    text = open_ or text
    seconds = round(state_.second_at - state_.at, 1)
    yield RULE.found(
        subject=subject("conntrack", table="nf_conntrack"),
        message=f"{invalid} invalid packets in {seconds} s, and {way} {text}",
        evidence=[
            ("invalid", invalid, "/proc/net/stat/nf_conntrack invalid, between the looks"),
            (LIBERAL, state_.settings.get("tcp_be_liberal"), f"/proc/sys/{LIBERAL.replace('.', '/')}"),
            ("forwarded and translated", text, "IPCTNL_MSG_CT_GET"),
        ],
        confirm=["conntrack -S", f"sysctl {LIBERAL}"],
        fix=f"sysctl -w {LIBERAL}=1",
    )


def _through(view: HostView) -> str | None:
    """A translated TCP connection of others, the invalid packets of which are forwarded."""
    flow = _forwarded(view)
    if flow is None:
        return None
    judged = view.netfilter.hook("forward", replace(flow[0], oif=None, ct_state="invalid", ct_reply=None))
    return None if judged.passes == "no" else flow[1]


def _own(view: HostView) -> str | None:
    """One of several connections that were reset just now, with a source that was translated to an own address, where
    an invalid answer comes in, and this host itself sends resets meanwhile (guests that reset their connections, as
    health checks do, do not count as its own)."""
    if not view.read_whole("counters") or (view.moved(RESETS) or 0) < SOME:
        return None
    ct = view.conntrack
    changed = (ct.reply_dst != ct.orig_src).any(axis=1) & (ct.status & IPS_SEEN_REPLY != 0)
    keep = np.asarray((ct.proto == IPPROTO_TCP) & (ct.tcp_state == CLOSE) & changed)
    for group in groups(view, keep, ("family", "reply_dst", "reply_src")):
        one = group.entry
        guest = not view.local.is_local(one.family, one.orig_src) and view.local.is_local(one.family, one.reply_dst)
        if not guest or group.count < SOME:
            continue
        answer = new_packet(view, IPPROTO_TCP, (one.reply_src, one.reply_sport, one.reply_dst, one.reply_dport))
        answer = replace(answer, ct_state="invalid", ct_reply=None, ct_mark=None)
        if view.netfilter.hook("input", answer).passes == "yes":
            return f"{one.orig_src} to {one.orig_dst} port {one.orig_dport}"
    return None


def _forwarded(view: HostView) -> tuple[Packet, str] | None:
    """A translated TCP connection of others."""
    ct = view.conntrack
    changed = (ct.reply_dst != ct.orig_src).any(axis=1) | (ct.reply_src != ct.orig_dst).any(axis=1)
    keep = np.asarray((ct.proto == IPPROTO_TCP) & (ct.tcp_state == ESTABLISHED) & changed)
    for group in groups(view, keep, ("family", "orig_dst", "reply_src")):
        one = group.entry
        ends = (one.orig_src, one.orig_sport, one.reply_src, one.reply_sport)
        if not any(view.local.is_local(one.family, end) for end in (one.orig_src, one.reply_src)):
            return new_packet(view, IPPROTO_TCP, ends), f"{one.orig_src} to {one.orig_dst} port {one.orig_dport}"
    return None


def _host(*forward: Any, moved: int = 9, liberal: int = 0, translated: bool = True, second: bool = True) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    host.tap("tap0").route("10.0.0.2/32", dev="tap0")
    looks: dict[str, Any] = {"at": 1.0, "first": {"invalid": 100}, "settings": {"tcp_be_liberal": liberal}}
    if second:
        looks |= {"second_at": 2.0, "second": {"invalid": 100 + moved}}
    host.conntrack_state(**looks)
    source = "192.0.2.2" if translated else "10.0.0.2"
    host.conntrack(6, "10.0.0.2 4000 203.0.113.9 443", f"203.0.113.9 443 {source} 4000", tcp_state="established")
    masq = chain("post", rule(plain("masq")), hook="postrouting", priority="srcnat", type="nat")
    return host.nft(table(masq, chain("fwd", *forward, hook="forward"), name="t"))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0, *, unjudged: bool = False) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, unjudged=unjudged)

    yield case("invalid and passing", "the plain fault", _host(), 1)
    yield case("three", "the fewest that count", _host(moved=3), 1)
    yield case("two", "strays", _host(moved=2))
    dropped = rule(state("invalid"), verdict("drop"))
    yield case("dropped", "the sender tries again", _host(dropped))
    yield case("liberal", "windows are not judged", _host(liberal=1))
    yield case("nothing translated", "a router may pass what it likes", _host(translated=False))
    yield case("one sample", "there is nothing to compare", _host(second=False), unjudged=True)
    yield from _masqueraded()
    yield case("set back", "a counter that went back says nothing", _host(moved=-5))


def _masqueraded() -> Iterator[Example]:
    """Connections of a guest, with this host's address, which were reset; the forward hook drops what is invalid."""

    def case(
        name: str,
        why: str,
        fires: int = 0,
        *,
        count: int = 3,
        own: str = "192.0.2.2",
        tcp: str = "close",
        resets: int = 3,
        **chains: Any,
    ) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.tap("tap0").route("10.0.0.2/32", dev="tap0")
        host.counters(before={"snmp": {RESETS: 40}}, after={"snmp": {RESETS: 40 + resets}})
        looks: dict[str, Any] = {"at": 1.0, "first": {"invalid": 1}, "second_at": 2.0, "second": {"invalid": 9}}
        host.conntrack_state(**looks, settings={"tcp_be_liberal": 0})
        for number in range(count):
            host.conntrack(6, f"10.0.0.2 {4000 + number} 203.0.113.9 443", f"203.0.113.9 443 {own} {4000 + number}",
                           tcp_state=tcp)  # fmt: skip
        drop = rule(state("invalid"), verdict("drop"))
        host.nft(table(chain("fwd", drop, hook="forward"), chain("in", **({"hook": "input"} | chains)), name="t"))
        says = ("the input hook lets them in",) if fires else ()
        return Example(name=f"masqueraded: {name}", why=why, tables=host.build(), fires=fires, says=says)

    yield case("reset", "this host answers what is not translated back", 1)
    yield case("two reset", "it happens", count=2)
    yield case("reset by the guest", "health checks end so", resets=2)
    yield case("ended well", "nobody reset them", tcp="time_wait")
    yield case("the input hook is closed", "nothing answers", policy="drop")
    yield case("an address of another host", "the answers do not come here", own="192.0.2.77")
