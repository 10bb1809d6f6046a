"""nftables as netdiag and as ``nft --json list ruleset`` read it."""

import json
from typing import Any

from netdiag.collectors import Collected, Options, nft
from netdiag.index.nfttext import rule_text
from netdiag.model.nft import Nft
from netdiag.sources.live import LiveSource
from tests.lab import Lab

RULESET = """
table inet t {
 set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1, 255.0.0.0/8 } }
 set cc { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90, 192.0.2.1 . 53 } }
 set big { type ipv6_addr; flags timeout; elements = { fd00::1 timeout 1h comment "one", fd00::2 } }
 map m { type inet_service : verdict; elements = { 22 : accept, 23 : drop } }
 counter hits { packets 1 bytes 2 }
 chain input { type filter hook input priority filter; policy drop;
  ct state vmap { established : accept, related : accept, invalid : drop }
  iifname "lo" accept comment "loop"
  iifname "eth*" counter packets 7 bytes 700 accept
  ip saddr @s tcp dport { 22, 80-90 } counter accept
  ip saddr . tcp dport @cc accept
  ip6 daddr fd00::/64 udp dport 51820 accept
  ip6 saddr @big drop
  icmp type echo-request limit rate 5/second accept
  meta mark & 0x000000ff == 0x00000010 jump sub
  fib saddr . iif oif missing drop
  ip saddr 10.0.0.0/12 ip daddr != 192.0.2.1 counter name hits drop
  udp dport 1000-2000 log prefix "x: " reject with icmpx admin-prohibited
  reject
 }
 chain sub { meta l4proto { tcp, udp } th dport 53 return; ct mark set meta mark; }
 chain nat { type nat hook prerouting priority dstnat
  tcp dport 8080 dnat ip to 10.0.0.2:80
  udp dport 99 redirect to :100
 }
 chain post { type nat hook postrouting priority srcnat
  oifname "eth*" masquerade random
  ip saddr 1.2.3.4 snat ip to 5.6.7.8
 }
 chain raw { type filter hook prerouting priority raw; udp dport 51820 notrack; }
}
table bridge b {
 chain c { type filter hook forward priority 0; ether type arp drop; }
}
table ip6 six {
 flags dormant
 chain c { type filter hook forward priority -5; policy drop; }
}
table netdev n {
 chain c { type filter hook ingress device lo priority 0; }
}
table arp a {
 chain c { type filter hook input priority 0; }
}
"""
SAID_LIKE_NFT = (
    "ct state vmap { invalid : drop, established : accept, related : accept }",
    'iifname "lo" accept comment "loop"',
    'iifname "eth*" counter packets 7 bytes 700 accept',
    "ip saddr @s tcp dport { 22, 80-90 } counter packets 0 bytes 0 accept",
    "ip saddr . tcp dport @cc accept",
    "ip6 daddr fd00::/64 udp dport 51820 accept",
    "meta mark & 0x000000ff == 0x00000010 jump sub",
    "fib saddr . iif oif missing drop",
    'ip saddr 10.0.0.0/12 ip daddr != 192.0.2.1 counter name "hits" drop',
    'udp dport 1000-2000 log prefix "x: " reject with icmpx admin-prohibited',
    "meta l4proto { tcp, udp } th dport 53 return",
    "ct mark set meta mark",
    "tcp dport 8080 dnat ip to 10.0.0.2:80",
    "udp dport 99 redirect to :100",
    'oifname "eth*" masquerade random',
    "ip saddr 1.2.3.4 snat ip to 5.6.7.8",
    "udp dport 51820 notrack",
    "ether type arp drop",
)


def read() -> Nft:
    """What the collector finds where this runs."""
    collected: Collected = nft.collect(LiveSource(), Options(interval=0))
    assert (collected.status, collected.detail) == ("ok", "")
    table: Nft = collected.tables["nft"]
    return table


def ours(table: Nft) -> set[tuple[Any, ...]]:
    """Every object as a tuple."""
    found: set[tuple[Any, ...]] = set()
    for one in table.tables:
        found.add(("table", one.family, one.name, one.handle))
        for chain in one.chains:
            found.add(
                (
                    "chain",
                    one.family,
                    one.name,
                    chain.name,
                    chain.handle,
                    chain.type,
                    chain.hook,
                    chain.priority,
                    chain.policy,
                )
            )
            found |= {("rule", one.family, one.name, chain.name, rule.handle, rule.comment) for rule in chain.rules}
        found |= {
            ("set", one.family, one.name, item.name, item.handle, len(item.elements))
            for item in one.sets
            if "anonymous" not in item.flags
        }
        found |= {("counter", one.family, one.name, item.name, item.packets, item.octets) for item in one.objects}
    return found


def theirs(text: str) -> set[tuple[Any, ...]]:
    """The same from ``nft --json``."""
    found: set[tuple[Any, ...]] = set()
    for entry in json.loads(text)["nftables"]:
        ((kind, body),) = entry.items()
        family, table = body.get("family"), body.get("table")
        if kind == "table":
            found.add(("table", family, body["name"], body["handle"]))
        elif kind == "chain":
            base = (body.get("type"), body.get("hook"), body.get("prio"), body.get("policy"))
            found.add(("chain", family, table, body["name"], body["handle"], *base))
        elif kind == "rule":
            found.add(("rule", family, table, body["chain"], body["handle"], body.get("comment")))
        elif kind in ("set", "map"):
            found.add(("set", family, table, body["name"], body["handle"], len(body.get("elem", []))))
        elif kind == "counter":
            found.add(("counter", family, table, body["name"], body["packets"], body["bytes"]))
    return found


def test_agrees_with_nft(lab: Lab) -> None:
    host = lab.host("a")
    lab.nft(host, RULESET)
    table = host.call(read)
    mine, nfts = ours(table), theirs(host.run("nft", "--json", "list", "ruleset").stdout)
    assert mine == nfts
    assert len(mine) > 35
    assert [one.name for one in table.tables if one.dormant] == ["six"]


def test_rules_are_spelled_as_nft_spells_them(lab: Lab) -> None:
    host = lab.host("a")
    lab.nft(host, RULESET)
    table = host.call(read)
    said = [rule_text(one, rule) for one in table.tables for chain in one.chains for rule in chain.rules]
    listed = {" ".join(line.split()) for line in host.run("nft", "list", "ruleset").stdout.splitlines()}
    assert set(SAID_LIKE_NFT) <= set(said)
    same = [text for text in said if text in listed]
    assert len(same) >= len(said) - 2, sorted(set(said) - listed)


def test_show_has_the_same_in_text_and_json(lab: Lab) -> None:
    host = lab.host("a")
    lab.nft(host, RULESET)
    status, text, _ = host.netdiag("show", "nft")
    assert status == 0
    assert 'iifname "lo" accept comment "loop"' in text
    status, text, _ = host.netdiag("show", "nft", "--json", "--family", "inet6")
    rows = json.loads(text)
    assert {row["family"] for row in rows} == {"inet", "ip6"}
    elements = next(row["elem"] for row in rows if row.get("name") == "s")
    assert elements == ["10.0.0.0/8", "192.0.2.1", "255.0.0.0/8"]


def test_an_interface_by_its_number_is_spelled_with_it(lab: Lab) -> None:
    host = lab.host("a")
    lab.nft(host, "table inet t { chain c { type filter hook input priority 0; iif lo accept; }; }")
    assert "iif 1 accept" in host.netdiag("show", "nft")[1]


def test_nothing_is_an_answer(lab: Lab) -> None:
    assert lab.host("a").call(read).tables == ()


LEGACY = """
iptables-legacy -N mine
iptables-legacy -A mine -s 10.0.0.0/12 ! -d 192.0.2.1 -p udp --dport 53 -j ACCEPT
iptables-legacy -A mine -m conntrack --ctstate ESTABLISHED -j RETURN
iptables-legacy -A mine -p tcp -m multiport --dports 80,8000:8010 -j ACCEPT
iptables-legacy -A mine -p udp -m multiport ! --sports 53 -j ACCEPT
iptables-legacy -A mine -p udp -m multiport --ports 53 -j ACCEPT
iptables-legacy -A mine -p tcp ! --sport 1024: --syn -j ACCEPT
iptables-legacy -A FORWARD -i tap+ ! -o eth0 -j mine
iptables-legacy -A FORWARD -p tcp -j REJECT
iptables-legacy -P FORWARD DROP
ip6tables-legacy -A INPUT -s 2001:db8::/32 -i eth0 -j DROP
iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 10.0.0.2:8080
"""


def test_iptables_legacy_is_read(lab: Lab) -> None:
    host = lab.host("a")
    host.sh(LEGACY)
    found = host.call(read).legacy
    said = {
        (table.family, table.name, chain.name, chain.policy): [rule_text(table, rule) for rule in chain.rules]
        for table in found
        for chain in table.chains
        if chain.rules
    }
    zero = "counter packets 0 bytes 0"
    assert said == {
        ("ip", "filter", "FORWARD", "drop"): [
            f'iifname "tap*" oifname != "eth0" {zero} jump mine',
            f'meta l4proto tcp {zero} xt target "REJECT"',
        ],
        ("ip", "filter", "mine", None): [
            f"ip saddr 10.0.0.0/12 ip daddr != 192.0.2.1 udp dport 53 {zero} accept",
            f'xt match "conntrack" {zero} return',
            f"meta l4proto tcp th dport {{ 80, 8000-8010 }} {zero} accept",
            f"meta l4proto udp th sport != 53 {zero} accept",
            f'meta l4proto udp xt match "multiport" {zero} accept',
            f'tcp sport != 1024-65535 xt match "tcp" {zero} accept',
        ],
        ("ip", "nat", "PREROUTING", "accept"): [f'tcp dport 80 {zero} xt target "DNAT"'],
        ("ip6", "filter", "INPUT", "accept"): [f'ip6 saddr 2001:db8::/32 iifname "eth0" {zero} drop'],
    }
    status, text, _ = host.netdiag("show", "nft")
    assert status == 0
    assert "ip filter (legacy)" in text
