"""Rulesets as the usual programs write them, on healthy hosts: no warning, no critical."""

import pytest

from tests.lab import Host, Lab

FIREWALLD = """
table inet firewalld {
 chain filter_INPUT { type filter hook input priority filter + 10; policy accept
  ct state { established, related } accept
  ct status dnat accept
  iifname "lo" accept
  ct state invalid drop
  jump filter_INPUT_ZONES
  reject with icmpx admin-prohibited
 }
 chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept
  ct state { established, related } accept
  ct status dnat accept
  iifname "lo" accept
  ct state invalid drop
  ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24 } reject with icmpv6 addr-unreachable
  jump filter_FORWARD_ZONES
  reject with icmpx admin-prohibited
 }
 chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept
  icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
  meta nfproto ipv6 fib saddr . mark . iif oif missing drop
 }
 chain filter_INPUT_ZONES { goto filter_IN_public
 }
 chain filter_FORWARD_ZONES { iifname "guest0" accept
  oifname "guest0" accept
 }
 chain filter_IN_public { meta l4proto { icmp, ipv6-icmp } accept
  tcp dport 22 accept
  ip6 daddr fe80::/64 udp dport 546 accept
 }
}
"""
DOCKER = (
    "iptables-nft -N DOCKER; iptables-nft -N DOCKER-ISOLATION-STAGE-1; iptables-nft -N DOCKER-ISOLATION-STAGE-2;"
    "iptables-nft -N DOCKER-USER; iptables-nft -P FORWARD DROP;"
    "iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-ISOLATION-STAGE-1;"
    "iptables-nft -A FORWARD -o guest0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
    "iptables-nft -A FORWARD -o guest0 -j DOCKER; iptables-nft -A FORWARD -i guest0 ! -o guest0 -j ACCEPT;"
    "iptables-nft -A FORWARD -i guest0 -o guest0 -j ACCEPT;"
    "iptables-nft -A DOCKER -d 10.9.0.9/32 ! -i guest0 -o guest0 -p tcp -m tcp --dport 80 -j ACCEPT;"
    "iptables-nft -A DOCKER-ISOLATION-STAGE-1 -i guest0 ! -o guest0 -j DOCKER-ISOLATION-STAGE-2;"
    "iptables-nft -A DOCKER-ISOLATION-STAGE-1 -j RETURN; iptables-nft -A DOCKER-ISOLATION-STAGE-2 -o guest0 -j DROP;"
    "iptables-nft -A DOCKER-ISOLATION-STAGE-2 -j RETURN; iptables-nft -A DOCKER-USER -j RETURN;"
    "iptables-nft -t nat -N DOCKER; iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER;"
    "iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER;"
    "iptables-nft -t nat -A POSTROUTING -s 10.9.0.0/16 ! -o guest0 -j MASQUERADE;"
    "iptables-nft -t nat -A DOCKER -i guest0 -j RETURN;"
    "iptables-nft -t nat -A DOCKER ! -i guest0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.9.0.9:80"
)
UFW = (
    "iptables-nft -P INPUT DROP; iptables-nft -P FORWARD DROP; iptables-nft -A INPUT -i lo -j ACCEPT;"
    "iptables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
    "iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP;"
    "iptables-nft -A INPUT -p icmp --icmp-type destination-unreachable -j ACCEPT;"
    "iptables-nft -A INPUT -p icmp --icmp-type echo-request -j ACCEPT;"
    "iptables-nft -A INPUT -p udp --sport 67 --dport 68 -j ACCEPT;"
    "iptables-nft -A INPUT -p tcp -m multiport --dports 22,443 -j ACCEPT;"
    "iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
    "iptables-nft -A FORWARD -i guest0 -o eth0 -j ACCEPT;"
    "ip6tables-nft -P INPUT DROP; ip6tables-nft -A INPUT -i lo -j ACCEPT;"
    "ip6tables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
    "ip6tables-nft -A INPUT -p ipv6-icmp --icmpv6-type neighbor-solicitation -m hl --hl-eq 255 -j ACCEPT;"
    "ip6tables-nft -A INPUT -p ipv6-icmp --icmpv6-type neighbor-advertisement -m hl --hl-eq 255 -j ACCEPT;"
    "ip6tables-nft -A INPUT -p tcp --dport 22 -j ACCEPT"
)
KUBE = (
    "iptables-nft -N KUBE-FORWARD; iptables-nft -A FORWARD -m comment --comment 'forwarding rules' -j KUBE-FORWARD;"
    "iptables-nft -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP;"
    "iptables-nft -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT;"
    "iptables-nft -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;"
    "iptables-nft -t nat -N KUBE-POSTROUTING; iptables-nft -t nat -A POSTROUTING -j KUBE-POSTROUTING;"
    "iptables-nft -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN;"
    "iptables-nft -t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000;"
    "iptables-nft -t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully"
)
BANS = """
table ip bans { set bad { type ipv4_addr; flags timeout; }
 chain in { type filter hook input priority -10; policy accept
  ip saddr 192.0.2.7 accept
  ip saddr @bad drop
 }
}
"""


def world(lab: Lab) -> Host:
    host, up, guest = lab.host("worker"), lab.host("up"), lab.host("guest")
    lab.link(
        host,
        "eth0",
        up,
        "eth0",
        a_addresses=["192.0.2.2/24", "2001:db8::2/64"],
        b_addresses=["192.0.2.1/24", "2001:db8::1/64"],
    )
    lab.link(host, "guest0", guest, "eth0", b_addresses="10.9.0.9/32")
    host.sysctl({"net.ipv4.ip_forward": 1})
    host.ip("route add default via 192.0.2.1\nroute add 10.9.0.9/32 dev guest0")
    return host


@pytest.mark.parametrize(
    ("tables", "script"),
    [(FIREWALLD, ""), ("", DOCKER), ("", UFW), (BANS, UFW), ("", KUBE), ("", DOCKER + ";" + KUBE), (BANS, DOCKER)],
    ids=["firewalld", "docker", "ufw", "ufw and bans", "kube-proxy", "docker and kube-proxy", "docker and bans"],
)
def test_nothing_is_wrong(lab: Lab, tables: str, script: str) -> None:
    host = world(lab)
    if script:
        host.sh(script)
    if tables:
        lab.nft(host, tables)
    found = host.report("--interval", "0")["findings"]
    assert [one["message"] for one in found if one["severity"] != "info"] == []
