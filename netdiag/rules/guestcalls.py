"""Connections that guests of this host opened through it, as demands (rules/demands.py) from connection tracking.

Whom a guest called, and who answered lately, is wanted; who called a guest may be somebody whom the host shut out.
Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import sides
from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_ASSURED, IPS_SEEN_REPLY
from netdiag.model.finding import subject
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.demands import Demand
from netdiag.rules.lostways import ended
from netdiag.rules.shape import Example

MOST = 256
"""Tracked connections that are looked at."""


def called(view: HostView) -> Iterator[Demand]:
    """One for each far end of a TCP or UDP connection that stands, of which packets were seen within minutes."""
    table = view.conntrack
    settled = IPS_SEEN_REPLY | IPS_ASSURED
    rows = np.flatnonzero((table.status & settled == settled) & ~ended(view))
    rows = rows[(table.proto[rows] == IPPROTO_TCP) | (table.proto[rows] == IPPROTO_UDP)][-MOST:]
    inside: dict[str, set[int]] = {}
    told = set[str]()
    for entry in (table.row(position) for position in rows.tolist()):
        family, far = entry.family, entry.reply_src
        if family not in inside:
            around = sides(view.stack, view.routes(family), view.addresses).guests
            inside[family] = {side.link.ifindex for side in around if side.addressed or side.kind == "routed"}
        home = view.lookup(Query(family=family, dst=entry.orig_src)).oif
        if home not in inside[family] or far in told:
            continue
        told.add(far)
        link = view.ifname(home or 0)
        yield Demand(
            query=Query(family=family, dst=far, src=entry.orig_src, iif=link, ip_proto=entry.proto),
            words=f"to whom guest {entry.orig_src} behind {link} has a connection",
            kind="flow",
            busy=False,
            suffers=(subject("link", ifname=link),),
        )


def refused_flows() -> Iterator[Example]:
    """For route-blackhole-unexpected: whom a guest has called."""

    def host(hole: str = "10.30.4.0/24", *, family: str = "inet", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").link("br0", kind="bridge")
        made.tap("tap0", master="br0").address("br0", "10.88.0.1/24").route("10.30.0.0/16", via="192.0.2.9", dev="eth0")
        made.route(hole, type="blackhole", family=family)
        given: dict[str, Any] = {"tcp_state": "established", "timeout": 431_990} | fields
        ends = given.pop("ends", "10.88.0.11 40000 10.30.4.9 5432").split()
        reply = " ".join([*ends[2:], *ends[:2]])
        made.conntrack_state(settings={"tcp_timeout_established": 432_000})
        return made.conntrack(given.pop("proto", 6), " ".join(ends), reply, **given)

    def case(name: str, why: str, made: HostBuilder, severity: Any = "info", **more: Any) -> Example:
        name = f"a guest's connection: {name}"
        return Example(name=name, why=why, tables=made.build(), fires=1, severity=severity, **more)

    words = ("refuses 10.30.4.9, to whom guest 10.88.0.11 behind br0 has a connection",)
    yield case("it stands", "the network was in use", host(), "warning", says=words)
    yield case("it sends again and again", "nobody acknowledges it", host(timeout=299), "warning")
    yield case("by UDP", "likewise", host(proto=17, tcp_state=None, timeout=100), "warning")
    yield case("of which nothing was seen for long", "it may be over", host(timeout=300_000))
    yield case("without an answer", "it may be a scan", host(status=0x8, tcp_state="syn_sent", timeout=100))
    yield case("not assured", "a question and an answer", host(proto=17, tcp_state=None, status=0xA, timeout=20))
    yield case("by ICMP", "a ping is no use", host(proto=1, tcp_state=None, timeout=20))
    yield case("from there to a guest", "somebody may be shut out", host(ends="10.30.4.9 40000 10.88.0.11 443"))
    yield case("of this host", "its sockets tell", host(ends="192.0.2.2 40000 10.30.4.9 5432"))
    yield case("elsewhere", "its route works", host(ends="10.88.0.11 40000 10.30.5.9 5432"))
    yield case("one address is refused", "somebody may be shut out", host("10.30.4.9/32"))
