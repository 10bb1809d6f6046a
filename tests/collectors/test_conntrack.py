"""Conntrack entries as netdiag and as ``conntrack -L`` read them."""

import json
import re

from netdiag.collectors import Collected, Options, conntrack, conntrack_state
from netdiag.model.conntrack import Conntrack, ConntrackEntry, ConntrackState
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab

RULES = """
table inet t {
 chain pre { type nat hook prerouting priority dstnat
  udp dport 7000 redirect to :7777
 }
 chain in { type filter hook input priority 0
  ct state new meta mark set 0x7 ct mark set meta mark
 }
}
"""


def read() -> tuple[Conntrack, ConntrackState]:
    collected: Collected = conntrack.collect(LiveSource(), Options(interval=0))
    assert (collected.status, collected.detail) == ("ok", "")
    state = conntrack_state.collect(LiveSource(), Options(interval=0))
    return collected.tables["conntrack"], state.tables["conntrack_state"]


def tuples(entry: ConntrackEntry) -> tuple[object, ...]:
    icmp = entry.proto in (1, 58)
    first = (entry.orig_src, entry.orig_dst, entry.orig_sport, 0 if icmp else entry.orig_dport)
    second = (entry.reply_src, entry.reply_dst, entry.reply_sport, 0 if icmp else entry.reply_dport)
    return (entry.proto, *first, *second, entry.replied, entry.mark, (entry.tcp_state or "").upper())


def listed(text: str) -> set[tuple[object, ...]]:
    """The same from ``conntrack -L``."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        ends = re.findall(r"(?:src|dst|sport|dport|id)=(\S+)", line)
        numbers = [int(word) if word.isdigit() else word for word in ends]
        if int(words[1]) in (1, 58):
            numbers = [*numbers[:3], 0, *numbers[3:6], 0]
        mark = int(re.findall(r"mark=(\d+)", line)[0])
        state = words[3] if words[0] == "tcp" else ""
        found.add((int(words[1]), *numbers, "UNREPLIED" not in line, mark, state))
    return found


def world(lab: Lab) -> tuple[Host, Host]:
    host, peer = lab.host("a"), lab.host("b")
    lab.link(
        host,
        "eth0",
        peer,
        "eth0",
        a_addresses=["192.0.2.1/24", "2001:db8::1/64"],
        b_addresses=["192.0.2.2/24", "2001:db8::2/64"],
    )
    lab.nft(host, RULES)
    listener = lab.listen_udp(host, "0.0.0.0", 7777)
    lab.listen_tcp(host, "::", 8080)
    lab.send_udp(peer, "192.0.2.1", 7000)
    lab.send_udp(peer, "192.0.2.1", 7778)
    lab.send_tcp(peer, "2001:db8::1", 8080, size=10)
    lab.wait(lambda: listener.packets == 1, 5, "the redirected datagram")
    peer.run("ping", "-c", "1", "-W", "2", "192.0.2.1")
    return host, peer


def test_agrees_with_conntrack(lab: Lab) -> None:
    host, _ = world(lab)
    table, state = host.call(read)
    text = host.run("conntrack", "-L").stdout + host.run("conntrack", "-L", "-f", "ipv6").stdout
    mine = {tuples(entry) for entry in table.rows()}
    assert mine == listed(text)
    assert {entry.proto for entry in table.rows()} == {1, 6, 17}
    assert any(entry.dnat and entry.reply_sport == 7777 for entry in table.rows())
    assert state.count == len(table)
    assert state.max > 0
    assert "insert_failed" in state.first


def test_show(lab: Lab) -> None:
    host, _ = world(lab)
    status, text, _ = host.netdiag("show", "conntrack", "--json", "--family", "inet")
    assert status == 0
    rows = json.loads(text)
    assert {row["proto"] for row in rows} == {"icmp", "udp"}
    status, text, _ = host.netdiag("show", "conntrack")
    assert "192.0.2.2" in text
