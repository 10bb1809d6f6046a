"""The daemons of the lab: two hosts with an encrypted tunnel and a BGP session over it, as on a real edge."""

from __future__ import annotations

import pytest

from tests.lab import Host, Lab, LabError
from tests.lab.daemons import Peer, birdc, key_pair

BGP = """
router id {own};
protocol device {{}}
protocol static {{ ipv4; route {prefix} blackhole; }}
protocol kernel {{ ipv4 {{ export where proto = "up"; }}; }}
protocol bgp up {{
  local {own} as {asn};
  neighbor {other} as {other_asn};
  connect delay time 0;
  connect retry time 1;
  ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
"""


def tunnel(lab: Lab, a: Host, b: Host) -> None:
    """wg0 on both hosts, 10.9.0.1 and 10.9.0.2, over an underlay of 192.0.2.0/30.

      10.9.0.1 wg0 ))) ((( wg0 10.9.0.2
                |           |
    a 192.0.2.1 eth0 --- eth0 192.0.2.2 b
    """
    lab.link(a, "eth0", b, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    (a_private, a_public), (b_private, b_public) = key_pair(a), key_pair(b)
    all_ = ("0.0.0.0/0",)
    to_a = Peer(public_key=a_public, allowed_ips=all_, endpoint="192.0.2.1:51820")
    to_b = Peer(public_key=b_public, allowed_ips=all_, endpoint="192.0.2.2:51820")
    lab.wireguard(a, "wg0", a_private, 51820, [to_b])
    lab.wireguard(b, "wg0", b_private, 51820, [to_a])
    for number, host in enumerate((a, b), 1):
        host.ip(f"address add 10.9.0.{number}/24 dev wg0\nlink set dev wg0 up")


def test_bgp_over_wireguard(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    tunnel(lab, a, b)
    a.run("ping", "-c1", "-W3", "10.9.0.2")
    assert "latest handshake" in a.run("wg", "show", "wg0").stdout
    lab.birdd(a, BGP.format(own="10.9.0.1", asn=65001, other="10.9.0.2", other_asn=65002, prefix="203.0.113.1/32"))
    lab.birdd(b, BGP.format(own="10.9.0.2", asn=65002, other="10.9.0.1", other_asn=65001, prefix="203.0.113.2/32"))
    lab.wait(lambda: "Established" in birdc(a, "show protocols up"), 15, "the session is up")
    lab.wait(lambda: "203.0.113.2" in a.run("ip", "route").stdout, 5, "b's prefix is in a's table")


def test_a_killed_daemon_leaves_its_socket(lab: Lab) -> None:
    host = lab.host("a")
    bird = lab.birdd(host, "router id 192.0.2.1;\nprotocol device {}")
    assert "BIRD 2" in birdc(host, "show status")
    bird.kill()
    assert "bird.ctl" in host.sh("ls /run/bird").stdout
    with pytest.raises(LabError, match=r"Unable to connect|Connection refused"):
        birdc(host, "show status")


def test_two_birds_in_one_host(lab: Lab) -> None:
    host = lab.host("a")
    for name in ("bird", "second"):
        lab.birdd(host, "router id 192.0.2.1;\nprotocol device {}", ctl=f"/run/bird/{name}.ctl")
    assert "BIRD 2" in birdc(host, "show status", "/run/bird/second.ctl")


def test_a_configuration_error_is_shown(lab: Lab) -> None:
    with pytest.raises(LabError, match="syntax error"):
        lab.birdd(lab.host("a"), "router id nonsense nonsense;")


def test_nft_rules_are_those_of_the_host(lab: Lab) -> None:
    host, other = lab.host("a"), lab.host("b")
    lab.nft(host, "table inet t { chain c { type filter hook input priority 0; udp dport 9 drop; }; }")
    assert "udp dport 9 drop" in host.run("nft", "list", "ruleset").stdout
    assert not other.run("nft", "list", "ruleset").stdout
    with pytest.raises(LabError, match="syntax error"):
        lab.nft(host, "table inet { nonsense")


XDP = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int drop_all(struct xdp_md *ctx) { return XDP_DROP; }
char LICENSE[] SEC("license") = "GPL";
"""


def test_a_bpf_program_drops_the_packets_of_its_interface(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, "eth0", b, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    path = lab.bpf(b, "drop", XDP)
    listener = lab.listen_udp(b, "0.0.0.0", 9)
    lab.send_udp(a, "192.0.2.2", 9)
    lab.wait(lambda: listener.packets == 1, what="one datagram without the program")
    b.run("ip", "link", "set", "dev", "eth0", "xdpgeneric", "obj", path, "sec", "xdp")
    assert a.run("ping", "-c1", "-W1", "192.0.2.2", check=False).returncode == 1
    assert "eth0(" in b.run("bpftool", "net", "show", "dev", "eth0").stdout
    with pytest.raises(LabError, match="clang"):
        lab.bpf(b, "nonsense", "nonsense")
