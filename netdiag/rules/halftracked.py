"""Connections of this host that stand, and of which connection tracking sees one direction only: it waits for an answer
that came long ago. What ct-asym-half-seen says of them. Pure.

A socket is established a moment after tracking saw the answer, so a younger entry may be read just before it. One that
has waited longer than a second (after which the call would have been repeated, and the entry made young again) is not.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_SEEN_REPLY, ConntrackEntry
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import ESTABLISHED
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockettables import endpoint

SYN_SENT = 1
"""TCP_CONNTRACK_SYN_SENT."""
WAITED = 2
"""Seconds of its timeout that are gone, at least."""
MOST = 512
Ends = tuple[str, int, str, int]


def half_tracked(view: HostView) -> list[ConntrackEntry]:
    """Tracked as unanswered, with an established socket at this end."""
    table, settings = view.conntrack, view.conntrack_state.settings
    latest = settings.get("tcp_timeout_syn_sent", 120) - WAITED
    keep = (table.proto == IPPROTO_TCP) & (table.tcp_state == SYN_SENT) & (table.status & IPS_SEEN_REPLY == 0)
    rows = np.flatnonzero(keep & (table.timeout <= latest))[:MOST].tolist()
    if not rows or not view.read_whole("sockets"):
        return []
    found = [(table.row(row), ends) for row in rows if (ends := _own_end(view, table.row(row))) is not None]
    sockets = view.sockets
    ports = np.fromiter({ends[1] for _, ends in found}, np.uint16)
    mine = (sockets.protocol == IPPROTO_TCP) & (sockets.state == ESTABLISHED) & among(sockets.sport, ports)
    stand = {(one.src, one.sport, one.dst, one.dport) for one in sockets.rows(np.flatnonzero(mine))}
    return [entry for entry, ends in found if ends in stand]


def _own_end(view: HostView, one: ConntrackEntry) -> Ends | None:
    if view.local.is_local(one.family, one.orig_src):
        return one.orig_src, one.orig_sport, one.orig_dst, one.orig_dport
    if view.local.is_local(one.family, one.orig_dst):
        return one.orig_dst, one.orig_dport, one.orig_src, one.orig_sport
    return None


def half_finding(rule: Rule, found: list[ConntrackEntry]) -> Draft:
    """Nothing is lost by it yet: the connections stand."""
    one = found[0]
    target = f"[{one.orig_dst}]" if ":" in one.orig_dst else one.orig_dst
    many = f"{len(found)} connections" if len(found) > 1 else "a connection"
    words = "stand" if len(found) > 1 else "stands"
    return rule.found(
        subject=subject("conntrack", table="nf_conntrack", own=True),
        message=f"{many} of this host, such as {endpoint(one.orig_src, one.orig_sport)} to"
        f" {endpoint(one.orig_dst, one.orig_dport)}, {words}, and tracking still waits for the answer: it sees one"
        " direction only, as where notrack or a zone takes the other",
        evidence=[
            ("without an answer in tracking", len(found), "IPCTNL_MSG_CT_GET SYN_SENT without IPS_SEEN_REPLY"),
            ("established sockets with these ends", len(found), "SOCK_DIAG tcp ESTABLISHED"),
        ],
        confirm=[
            f"conntrack -L -p tcp --state SYN_SENT --orig-dst {one.orig_dst}",
            f"ss -Htno state established dst {target}",
            "nft list ruleset | grep -nE 'notrack|ct zone'",
        ],
        fix="take both directions out of tracking or into one zone: nft -a list ruleset shows the rule that takes one",
        severity="info",
        confidence="certain",
    )


def half_cases() -> Iterator[Example]:
    """Own connections, by both ends."""
    entry: dict[str, Any] = {"status": 0x8, "tcp_state": "syn_sent", "timeout": 118}
    socket: dict[str, Any] = {"src": "192.0.2.2", "sport": 4000, "dst": "203.0.113.9", "dport": 443, "state": 1}

    def host(change: dict[str, Any] | None = None, *, called: bool = False, **tracked: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
        ends = "192.0.2.2 4000 203.0.113.9 443", "203.0.113.9 443 192.0.2.2 4000"
        made.conntrack_state(settings={"tcp_timeout_syn_sent": 120}, at=1.0, second_at=2.0)
        made.conntrack(6, *(reversed(ends) if called else ends), **(entry | tracked))
        return made if change is None else made.socket(**(socket | change))

    told: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "certain"}
    for name, why, made, more in (
        ("whose answer is not seen", "notrack takes it", host({}), told | {"says": ("192.0.2.2:4000 to",)}),
        ("that was called, and whose answer is not seen", "the other way round", host({}, called=True), told),
        ("that has just begun", "the socket was read a moment later", host({}, timeout=119), {}),
        ("that is not established", "nobody answered", host({"state": 2}), {}),
        ("without a socket", "it is over", host(), {}),
        ("with another port", "another connection", host({"sport": 4001}), {}),
        ("that was answered", "all is seen", host({}, status=0xE, tcp_state="established"), {}),
    ):
        yield Example(name=f"an own connection {name}", why=why, tables=made.build(), **more)
