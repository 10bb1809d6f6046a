"""The netfilter evaluator against the real kernel: packets are sent through rulesets, and both must agree.

client c0 (192.0.2.2, 2001:db8::2) --- eth0 router eth1 --- s0 (198.51.100.2, 2001:db8:1::2) server
"""

import re
from dataclasses import replace

import pytest

from netdiag.collectors import Options, nft
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.model.nft import Nft, NftRule
from netdiag.rules import build_nft as made
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab

TO_US = Packet(
    iif="eth0", saddr="192.0.2.2", daddr="192.0.2.1", proto=17, sport=40000, dport=7777, size=60, daddr_type="local"
)


def ruleset(host: Host) -> Nft:
    def read() -> Nft:
        table: Nft = nft.collect(LiveSource(), Options(interval=0)).tables["nft"]
        return table

    return host.call(read)


def world(lab: Lab) -> tuple[Host, Host]:
    router, client = lab.host("router"), lab.host("client")
    lab.link(router, "eth0", client, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    return router, client


CASES = {
    "policy accept": ("accept", "", ""),
    "policy drop": ("drop", "", ""),
    "port": ("drop", "udp dport 7777 accept", ""),
    "other port": ("drop", "udp dport 7778 accept", ""),
    "port range": ("accept", "udp dport 7000-8000 drop", ""),
    "port set": ("drop", "udp dport { 53, 7000-7776 } accept", ""),
    "negated set": ("accept", "udp dport != { 53, 7777 } drop", ""),
    "prefix": ("accept", "ip saddr 192.0.2.0/25 drop", ""),
    "odd prefix": ("accept", "ip saddr 192.0.2.4/30 drop", ""),
    "interface": ("drop", 'iifname "eth0" accept', ""),
    "interface glob": ("drop", 'iifname "et*" accept', ""),
    "other interface": ("drop", 'iifname "eth1" accept', ""),
    "not interface": ("accept", 'iifname != "eth1" drop', ""),
    "state": ("drop", "ct state new accept", ""),
    "state established": ("drop", "ct state established,related accept", ""),
    "status of no translation": ("drop", "ct status dnat accept", ""),
    "status not translated": ("drop", "ct status != dnat accept", ""),
    "status without an answer": ("accept", "ct status seen-reply drop", ""),
    "status of a source": ("accept", "ct status & (snat | dnat) == 0 drop", ""),
    "state map": ("accept", "ct state vmap { established : accept, new : drop }", ""),
    "verdict map jump": ("accept", "udp dport vmap { 7777 : jump d }", "chain d { drop; }"),
    "jump and return": ("drop", "jump d; accept", "chain d { udp dport 7777 return; drop; }"),
    "goto": ("drop", "goto d; accept", "chain d { udp dport 1 accept; }"),
    "goto in a jump": ("accept", "jump d; drop", "chain d { goto e; accept; } chain e { udp dport 1 drop; }"),
    "concatenation": ("drop", "ip saddr . udp dport { 192.0.2.2 . 7777, 1.1.1.1 . 1 } accept", ""),
    "concatenated interval": ("drop", "ip saddr . udp dport { 192.0.2.0/24 . 7000-7700 } accept", ""),
    "merged loads": ("drop", "ip saddr 192.0.2.2 ip daddr 192.0.2.1 udp dport 7777 accept", ""),
    "mark": ("drop", "meta mark set 0x11; meta mark & 0xf0 == 0x10 accept", ""),
    "ct mark": ("drop", "meta mark set 5; ct mark set meta mark; ct mark 5 accept", ""),
    "set of marks": ("drop", "meta mark set udp dport map { 7777 : 9 }; meta mark 9 accept", ""),
    "protocol": ("drop", "meta l4proto tcp accept", ""),
    "ipv6 only": ("drop", "meta nfproto ipv6 accept", ""),
    "fib local": ("drop", "fib daddr type local accept", ""),
    "named set": (
        "drop",
        "ip saddr @s accept",
        "set s { type ipv4_addr; flags interval; elements = { 192.0.2.0/30 } }",
    ),
    "reject": ("accept", "udp dport 7777 reject", ""),
    "length": ("drop", "meta length 28-100 accept", ""),
    "ttl of nothing": ("drop", "ip protocol udp accept", ""),
}


def spread(text: str) -> str:
    """nft wants a line's end behind a closing brace."""
    text = re.sub(r"\}\s*\}", "}\n}", text)
    return re.sub(r"\} (?=chain|table|\})", "}\n", re.sub(r"\}\s*\}", "}\n}", text))


def text_of(policy: str, rules: str, more: str) -> str:
    """A ruleset with one base chain at input."""
    lines = "\n".join(rule.strip() for rule in rules.split(";"))
    chain = f"chain c {{\ntype filter hook input priority 0; policy {policy};\n{lines}\n}}"
    return f"table inet t {{\n{more}\n{chain}\n}}"


def test_agrees_with_the_kernel_at_input(lab: Lab) -> None:
    router, client = world(lab)
    listener = lab.listen_udp(router, "0.0.0.0", 7777)
    lab.send_udp(client, "192.0.2.1", 7777, size=32)
    lab.wait(lambda: listener.packets == 1, 5, "the first datagram")
    wrong = []
    for name, (policy, rules, more) in CASES.items():
        router.sh("nft flush ruleset")
        lab.nft(router, spread(text_of(policy, rules, more) + COUNTER))
        before = count(router)
        lab.send_udp(client, "192.0.2.1", 7777, size=32)
        lab.wait(lambda seen=before: count(router)[0] > seen[0], 5, name)  # type: ignore[misc]
        passed = count(router)[1] > before[1]
        verdict = Netfilter(ruleset(router)).hook("input", TO_US).verdict
        if verdict != ("accept" if passed else "reject" if "reject" in rules else "drop"):
            wrong.append((name, verdict, passed))
    assert wrong == []


COUNTER = """
table ip before { chain c { type filter hook input priority -10
 udp dport 7777 counter
 }
}
table ip behind { chain c { type filter hook input priority 10
 udp dport 7777 counter
 }
}
"""


def count(host: Host) -> tuple[int, int]:
    """Packets counted before and behind the ruleset."""
    found = {}
    for table in ruleset(host).tables:
        for chain in table.chains:
            for rule in chain.rules:
                for one in rule.expressions:
                    if one.name == "counter" and one.packets is not None:
                        found[table.name] = one.packets
    return found.get("before", 0), found.get("behind", 0)


def build(lab: Lab, text: str) -> Netfilter:
    host = lab.host("h")
    lab.nft(host, spread(text))
    return Netfilter(ruleset(host))


def test_accept_ends_one_chain_only_and_drop_ends_all(lab: Lab) -> None:
    text = """
table inet a { chain c { type filter hook input priority 0
 udp dport 7777 accept
 } }
table inet b { chain c { type filter hook input priority 5; policy drop; }
}
"""
    found = build(lab, text).hook("input", TO_US)
    assert found.verdict == "drop"
    assert found.blocker is not None
    assert (found.blocker.at.table.name, found.blocker.at.rule, found.blocker.certain) == ("b", None, True)


@pytest.mark.parametrize(
    ("unknown", "verdict"),
    [({"dport": None}, "may"), ({"saddr": None}, "may"), ({"iif": None}, "drop"), ({"sport": None}, "drop")],
)
def test_what_is_not_known_may_match(lab: Lab, unknown: dict[str, None], verdict: str) -> None:
    text = """
table inet a { chain c { type filter hook input priority 0; policy drop;
 ip saddr { 192.0.2.7, 192.0.2.9 } udp dport 7000 accept
 } }
"""
    packet = replace(TO_US, saddr="192.0.2.7", dport=7000)
    owner = build(lab, text)
    assert owner.hook("input", packet).verdict == "accept"
    packet = replace(packet, **({**unknown, "dport": 1} if verdict == "drop" else unknown))  # type: ignore[arg-type]
    assert owner.hook("input", packet).verdict == verdict


def test_a_limit_may_match(lab: Lab) -> None:
    text = """
table inet a { chain c { type filter hook input priority 0
 limit rate over 5/second drop
 } }
"""
    found = build(lab, text).hook("input", TO_US)
    assert (found.verdict, found.passes) == ("may", "maybe")


def test_destination_is_rewritten(lab: Lab) -> None:
    text = """
table ip n { chain c { type nat hook prerouting priority 5
 udp dport 7777 dnat to 198.51.100.2:53
 udp dport 7777 dnat to 198.51.100.9
 } }
table ip m { chain c { type filter hook prerouting priority -50
 ip daddr 198.51.100.2 drop
 } }
"""
    owner = build(lab, text)
    found = owner.hook("prerouting", TO_US)
    assert found.verdict == "drop", "nat stands at -100 whatever its chain says"
    assert (found.packet.daddr, found.packet.dport) == ("198.51.100.2", 53)
    assert [(one.kind, one.addr, one.port, one.certain) for one in found.translations] == [
        ("dnat", "198.51.100.2", 53, True)
    ]
    assert owner.hook("prerouting", replace(TO_US, ct_state="established")).translations == ()


def test_before_conntrack_no_state_is_known(lab: Lab) -> None:
    text = """
table inet a { chain c { type filter hook prerouting priority -300
 udp dport 7777 notrack
 ct state new drop
 } chain d { type filter hook prerouting priority 0
 ct state untracked accept
 drop
 } }
"""
    owner = build(lab, text)
    assert owner.hook("prerouting", TO_US).verdict == "accept"
    assert owner.hook("prerouting", replace(TO_US, dport=1)).verdict == "drop"


def test_extensions_of_iptables(lab: Lab) -> None:
    host = lab.host("h")
    host.sh(
        "iptables-nft -P FORWARD DROP;"
        "iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
        "iptables-nft -A FORWARD -i tap0 -p tcp -m multiport --dports 80,443 -m comment --comment web -j ACCEPT;"
        "iptables-nft -A FORWARD -i tap1 -j REJECT;"
        "iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to 10.0.0.2:80;"
        "iptables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE;"
        "iptables-nft -t mangle -A OUTPUT -j CONNMARK --restore-mark --mask 0xff00;"
        "iptables-nft -t mangle -A OUTPUT -m connmark --mark 0x300/0xff00 -j ACCEPT;"
        "iptables-nft -t mangle -A OUTPUT -j CONNMARK --set-xmark 0x100/0xff00;"
        "iptables-nft -t mangle -A OUTPUT -o eth1 -j CONNMARK --save-mark --mask 0xf"
    )
    owner = Netfilter(ruleset(host))
    web = Packet(iif="tap0", oif="eth0", saddr="10.0.0.2", daddr="192.0.2.9", proto=6, sport=4, dport=443)
    assert owner.hook("forward", web).verdict == "accept"
    assert owner.hook("forward", replace(web, dport=22)).verdict == "drop"
    assert owner.hook("forward", replace(web, dport=22, ct_state="established")).verdict == "accept"
    assert owner.hook("forward", replace(web, iif="tap1")).verdict == "reject"
    came = replace(web, oif="", dport=8080, daddr_type="local")
    assert owner.hook("prerouting", came).packet.daddr == "10.0.0.2"
    assert owner.hook("prerouting", replace(came, daddr_type="unicast")).translations == ()
    assert owner.hook("postrouting", web).translations[0].kind == "masquerade"
    marks = [
        ("eth0", (0, 0), (0, 0x100)),
        ("eth0", (0x5, 0x305), (0x305, 0x305)),
        ("eth0", (0x5, 0x205), (0x205, 0x105)),
        ("eth1", (0x5, 0x20A), (0x205, 0x105)),
        ("eth0", (None, 0), (None, 0x100)),
        ("eth0", (0, None), (None, None)),
    ]
    for oif, (mark, ct_mark), expected in marks:
        sent = owner.hook("output", replace(web, iif="", oif=oif, mark=mark, ct_mark=ct_mark))
        assert (sent.packet.mark, sent.packet.ct_mark, sent.passes) == (*expected, "yes")


def test_what_a_target_does_that_is_not_known_is_not_known() -> None:
    """It may stop the packet, end the chain well, or let the next rule decide; of all iptables targets too many to
    know."""
    mystery, drop = made.rule(made.plain("target", key="X")), made.rule(made.verdict("drop"))
    for rules in ((mystery,), (mystery, drop)):
        found = Netfilter(Nft(tables=(made.table(made.chain("c", *rules, hook="output")),))).hook("output", TO_US)
        assert (found.passes, found.verdict, found.packet.mark) == ("maybe", "may", None)
    plainly = Netfilter(Nft(tables=(made.table(made.chain("c", drop, mystery, hook="output")),))).hook("output", TO_US)
    assert plainly.verdict == "drop"


def test_what_stops_a_packet_is_what_stops_the_rest_of_it() -> None:
    """A list of bans that may name it stands before; not that one is to be mended."""
    bans = made.rule(made.plain("osf", opaque=True), made.verdict("drop"))
    drop = made.rule(made.verdict("drop"))

    def stops(policy: str, *rules: NftRule) -> int:
        """Length of the rule that is to blame; 0: the policy."""
        one = made.chain("c", *rules, hook="output", policy=policy)
        stop = Netfilter(Nft(tables=(made.table(one),))).hook("output", TO_US).blocker
        assert stop is not None
        return 0 if stop.at.rule is None else len(stop.at.rule.expressions)

    assert stops("drop", bans) == 0
    assert stops("accept", bans, drop) == 1
    assert stops("accept", bans) == 2


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_icmp_of_iptables(lab: Lab, backend: str) -> None:
    host = lab.host("h")
    host.sh(
        f"iptables-{backend} -A INPUT -p icmp --icmp-type fragmentation-needed -j DROP;"
        f"iptables-{backend} -A INPUT -p icmp ! --icmp-type time-exceeded -j ACCEPT;"
        f"iptables-{backend} -A INPUT -p icmp --icmp-type any -j REJECT;"
        f"ip6tables-{backend} -A INPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP"
    )
    owner = Netfilter(ruleset(host))
    error = Packet(iif="eth0", saddr="192.0.2.1", daddr="192.0.2.2", proto=1, icmp_type=3, icmp_code=4)
    assert owner.hook("input", error).verdict == "drop"
    assert owner.hook("input", replace(error, icmp_code=1)).verdict == "accept"
    assert owner.hook("input", replace(error, icmp_type=11, icmp_code=0)).verdict == "reject"
    assert owner.hook("input", replace(error, proto=17)).verdict == "accept"
    big = replace(error, family="inet6", saddr="2001:db8::1", daddr="2001:db8::2", proto=58, icmp_type=2, icmp_code=0)
    assert owner.hook("input", big).verdict == "drop"
    assert owner.hook("input", replace(big, icmp_type=1)).verdict == "accept"


def test_translations_of_iptables_legacy(lab: Lab) -> None:
    """Its structs have revisions as those of iptables-nft have, and no attribute that tells them apart."""
    host = lab.host("h")
    host.sh(
        "iptables-legacy -t nat -A PREROUTING -i tap+ -p tcp --dport 80 -j DNAT --to 127.0.0.1:8775;"
        "iptables-legacy -t nat -A POSTROUTING -o eth0 -j SNAT --to 192.0.2.9"
    )
    owner = Netfilter(ruleset(host))
    came = owner.hook("prerouting", Packet(iif="tap0", saddr="10.0.0.2", daddr="192.0.2.1", proto=6, sport=4, dport=80))
    assert (came.packet.daddr, came.packet.dport) == ("127.0.0.1", 8775)
    assert owner.hook("postrouting", Packet(oif="eth0", saddr="10.0.0.2")).translations[0].addr == "192.0.2.9"
