"""Docker's policy beside a virtual machine, and a firewall whose last rule drops; repaired by the finding's own fix."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

DOCKER = (
    "iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN; iptables-nft -A FORWARD -j DOCKER-USER;"
    "iptables-nft -A FORWARD -i docker0 -j ACCEPT; iptables-nft -A FORWARD -o docker0 -j ACCEPT;"
)
HEALTHY = """
table inet fw {
 chain forward { type filter hook forward priority 0; policy accept; }
}
"""
STATEFUL = """
table inet fw {
 chain forward { type filter hook forward priority 0; policy drop
  ct state established,related accept
  iifname { "guest0", "guest1" } accept
 }
}
"""


def build(lab: Lab) -> Host:
    host, up, guest = lab.host("worker"), lab.host("up"), lab.host("guest")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "guest0", guest, "eth0", a_addresses="10.0.0.1/24", b_addresses="10.0.0.2/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    host.ip("route add default via 192.0.2.1\nroute add 10.9.0.9/32 dev guest0")
    up.ip("route add 10.0.0.0/24 via 192.0.2.2")
    guest.ip("route add default via 10.0.0.1")
    return host


def with_docker(lab: Lab) -> Host:
    host = build(lab)
    host.sh(DOCKER)
    return host


def with_table(lab: Lab) -> Host:
    host = build(lab)
    lab.nft(host, HEALTHY)
    return host


def twin(lab: Lab) -> Host:
    host = build(lab)
    lab.nft(host, STATEFUL)
    return host


def guest_reaches_the_world(lab: Lab, host: Host) -> bool:
    return not lab.hosts["guest"].run("ping", "-c1", "-W1", "192.0.2.1", check=False).returncode


CONF = """
router id {own}; protocol device {{}}
protocol direct {{ ipv4; interface "lan0"; }}
protocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol bgp far {{
  local {own} as {asn}; neighbor {other} as {their}; connect delay time 1;
  ipv4 {{ import all; export where source = RTS_DEVICE; }};
}}
"""


def router(lab: Lab) -> Host:
    """A router that announces the network behind it, beside an idle engine."""
    host, up, lan = lab.host("router"), lab.host("up"), lab.host("lan")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    lab.link(host, "lan0", lan, "eth0", a_addresses="10.30.0.1/24", b_addresses="10.30.0.2/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    lan.ip("route add default via 10.30.0.1")
    lab.birdd(host, CONF.format(own="192.0.2.2", asn=65001, other="192.0.2.1", their=65100))
    lab.birdd(up, CONF.format(own="192.0.2.1", asn=65100, other="192.0.2.2", their=65001))
    lab.wait(lambda: "10.30.0.0/24" in up.run("ip", "route").stdout, 20, "the network is announced")
    host.sh(DOCKER)
    return host


def network_is_reached(lab: Lab, host: Host) -> bool:
    return not lab.hosts["up"].run("ping", "-c1", "-W1", "10.30.0.2", check=False).returncode


DRILLS = (
    Drill(
        rule="nf-forward-drop-policy",
        name="docker",
        build=with_docker,
        break_=lambda lab, host: host.run("iptables-nft", "-P", "FORWARD", "DROP"),
        carries=guest_reaches_the_world,
        repair=None,
        severity="critical",
        expect={"kind": "nft-chain", "table": "filter", "chain": "FORWARD"},
        twin=twin,
    ),
    Drill(
        rule="nf-forward-drop-policy",
        name="last rule",
        build=with_table,
        break_=lambda lab, host: host.sh("nft add rule inet fw forward counter drop"),
        repair=None,
        severity="critical",
        expect={"kind": "nft-chain", "family": "inet", "table": "fw", "chain": "forward"},
    ),
    Drill(
        rule="nf-forward-drop-policy",
        name="an announced network",
        build=router,
        break_=lambda lab, host: host.run("iptables-nft", "-P", "FORWARD", "DROP"),
        carries=network_is_reached,
        repair=None,
        severity="warning",
        expect={"kind": "nft-chain", "table": "filter", "chain": "FORWARD"},
    ),
)
test_drill = drill_test(*DRILLS)
