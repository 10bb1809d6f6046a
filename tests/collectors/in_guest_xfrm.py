"""IPsec, filters with actions and VLANs of bridge ports, which the test machine's kernel may lack.

Run by test_xfrm.py beside it, in the guest. Not collected by itself.
"""

from __future__ import annotations

import json
import re

from netdiag.collectors import Options, fdb, qdiscs, xfrm
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab

KEY, OTHER = "c0ffee" * 5 + "aa", "f00d" * 8
STATES = f"""
xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x101 reqid 7 mode tunnel \
auth-trunc hmac(sha256) 0x{OTHER}{OTHER} 128 enc cbc(aes) 0x{KEY} encap espinudp 4500 4501 0.0.0.0
xfrm state add src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x102 mode transport \
aead rfc4106(gcm(aes)) 0x{KEY}01020304 128 if_id 5
xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 9 tmpl src 192.0.2.1 dst 192.0.2.2 proto esp \
reqid 7 mode tunnel
xfrm policy add src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd action block
"""


def secured(lab: Lab) -> Host:
    host = lab.host("edge1")
    host.ip(STATES)
    return host


def test_xfrm_agrees(lab: Lab) -> None:
    host = secured(lab)
    table = host.call(lambda: xfrm.collect(LiveSource(), Options(interval=0))).tables["xfrm"]
    first, second = sorted(table.states, key=lambda row: row.spi)
    assert (first.src, first.dst, first.proto, first.mode) == ("192.0.2.1", "192.0.2.2", "esp", "tunnel")
    assert (first.reqid, first.auth, first.enc, first.encap) == (7, "hmac(sha256)", "cbc(aes)", "4500>4501")
    assert (second.src, second.mode, second.aead, second.if_id) == ("2001:db8::1", "transport", "rfc4106(gcm(aes))", 5)
    by_dir = {row.dir: row for row in table.policies}
    assert (by_dir["out"].src, by_dir["out"].dst, by_dir["out"].priority) == ("10.1.0.0/16", "10.2.0.0/16", 9)
    assert [(t.dst, t.reqid, t.mode) for t in by_dir["out"].templates] == [("192.0.2.2", 7, "tunnel")]
    assert by_dir["fwd"].action == "block"
    stock = host.run("ip", "xfrm", "state").stdout
    assert sorted(int(spi, 16) for spi in re.findall(r"spi (0x\w+)", stock)) == [row.spi for row in (first, second)]
    assert KEY in stock


def test_no_key_in_a_recording(lab: Lab) -> None:
    host = secured(lab)
    assert host.netdiag("record", "-o", "/run/recorded", "--interval", "0")[0] == 0
    found = host.sh("cat /run/recorded/*/* | od -An -v -tx1 | tr -d ' \\n'; cat /run/recorded/*/*").stdout
    assert "c0ffeec0ffee" not in found
    assert "f00df00d" not in found
    assert b"hmac(sha256)".hex() in found
    status, output, _ = host.netdiag("--replay", "/run/recorded", "show", "xfrm")
    assert (status, output.count("esp")) == (0, 2)


SHAPED = """
qdisc add dev eth0 root handle 1: htb default 20
class add dev eth0 parent 1: classid 1:20 htb rate 10mbit ceil 20mbit burst 15k
qdisc add dev eth0 parent 1:20 handle 20: fq_codel limit 1000
qdisc add dev eth1 root netem limit 500 delay 10ms 2ms loss 1%
qdisc add dev eth2 clsact
filter add dev eth2 ingress prio 7 protocol ip flower dst_ip 192.0.2.9 action drop
filter add dev eth2 egress matchall action mirred egress redirect dev eth1
filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dport 53 0xffff police rate 1mbit burst 10k drop
"""


def test_filters_with_actions(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    for number in range(3):
        lab.link(host, f"eth{number}", peer, f"eth{number}")
    host.sh(f"tc -batch - <<'END'\n{SHAPED}END")
    table = host.call(lambda: qdiscs.collect(LiveSource(), Options(interval=0))).tables["qdiscs"]
    stock = {row["kind"]: row for row in json.loads(host.run("tc", "-j", "-s", "qdisc", "show").stdout)}
    ours = {row.kind: row.options for row in table.qdiscs}
    assert set(ours) == set(stock)
    for name in ("limit", "flows", "quantum", "target", "interval", "memory_limit", "drop_batch"):
        assert ours["fq_codel"][name] == stock["fq_codel"]["options"][name], name
    assert (ours["netem"]["limit"], ours["netem"]["delay"], ours["netem"]["jitter"]) == (500, 0.01, 0.002)
    assert abs(ours["netem"]["loss"] - 0.01) < 1e-6
    told = [(row.kind, row.priority, [(a.kind, a.verdict, a.direction) for a in row.actions]) for row in table.filters]
    assert ("flower", 7, [("gact", "drop", None)]) in told
    assert any(row[0] == "matchall" and row[2] == [("mirred", "stolen", "egress redirect")] for row in told)
    assert ("u32", 3, [("police", "drop", None)]) in told
    assert next(a.rate for row in table.filters for a in row.actions if a.kind == "police") == 125_000


def test_vlans_of_ports(lab: Lab) -> None:
    host = lab.switch("worker")
    lab.plug(lab.host("web"), "eth0", host, "10.0.0.1/24")
    host.ip("link set dev br0 type bridge vlan_filtering 1")
    host.run("bridge", "vlan", "add", "dev", "web0", "vid", "100-110")
    host.run("bridge", "fdb", "add", "02:00:00:00:00:09", "dev", "web0", "master", "static", "vlan", "100")
    collected = host.call(lambda: fdb.collect(LiveSource(), Options(interval=0)))
    port = int(host.run("cat", "/sys/class/net/web0/ifindex").stdout)
    found = [row for row in collected.tables["bridging"].vlans if row.ifindex == port]
    assert [(row.vlan, row.vlan_end, row.pvid) for row in found] == [(1, 1, True), (100, 110, False)]
    assert (100, "static") in [(row.vlan, row.state) for row in collected.tables["fdb"].rows()]
