"""Port mappings whose guest went away: a route that is gone, and a neighbour that does not answer."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

NAT = """
table inet nat {
 chain pre { type nat hook prerouting priority dstnat
  tcp dport 8080 dnat ip to 10.1.0.2:80
  tcp dport 8081 dnat ip to 10.1.0.3:80
 }
}
"""
CNI = "iptables-nft -t nat -N CNI-DN-77; iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -j CNI-DN-77;"
CNI_RULE = "iptables-nft -t nat -A CNI-DN-77 -p tcp --dport 8080 -j DNAT --to-destination 10.2.0.5:80"


def build(lab: Lab) -> Host:
    host, up = lab.host("worker"), lab.host("up")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    host.ip("route add default via 192.0.2.1")
    for number in (2, 3):
        guest = lab.host(f"guest{number}")
        lab.link(host, f"g{number}", guest, "eth0", b_addresses=f"10.1.0.{number}/32")
        host.ip(f"route add 10.1.0.{number}/32 dev g{number}")
    lab.nft(host, NAT)
    return host


def build_cni(lab: Lab) -> Host:
    host = build(lab)
    guest = lab.host("pod")
    host.ip("link add cni0 type bridge\nlink set dev cni0 up\naddress add 10.2.0.1/24 dev cni0")
    lab.link(host, "v1", guest, "eth0", b_addresses="10.2.0.5/24")
    host.ip("link set dev v1 master cni0")
    host.sh(CNI + CNI_RULE)
    host.run("ping", "-c", "1", "-W", "4", "10.2.0.5")  # of whom nothing was ever heard may not be there
    return host


def leave(lab: Lab, host: Host) -> None:
    lab.hosts["pod"].ip("address flush dev eth0")
    host.ip("neighbour flush dev cni0")
    host.run("ping", "-c", "1", "-W", "4", "10.2.0.5", check=False)


def given_out(lab: Lab) -> Host:
    """host-local has given two addresses out; nobody has spoken to either container."""
    host, other = build_cni(lab), lab.host("pod2")
    lab.link(host, "v2", other, "eth0", b_addresses="10.2.0.6/24")
    host.ip("link set dev v2 master cni0")
    for number in (5, 6):
        host.write(f"{STORE}/10.2.0.{number}", f"pod{number}\neth0")
    return host


STORE = "/var/lib/cni/networks/pods"
DRILLS = (
    Drill(
        rule="nf-orphan-dnat-to-dead",
        build=build,
        break_=lambda lab, host: host.ip("route del 10.1.0.3/32 dev g3"),
        repair=None,
        expect={"kind": "nft-chain", "family": "inet", "table": "nat", "chain": "pre"},
        name="orphan",
    ),
    Drill(
        rule="cni-portmap-stale",
        build=build_cni,
        break_=leave,
        repair=None,
        expect={"kind": "nft-chain", "family": "ip", "table": "nat", "chain": "CNI-DN-77"},
        name="cni",
        pings=False,  # the bridge learns again what has ended
    ),
    Drill(
        rule="cni-portmap-stale",
        build=given_out,
        break_=lambda lab, host: (host.run("rm", f"{STORE}/10.2.0.5"), host.ip("link del v1")),
        repair=lambda lab, host: host.run("iptables-nft", "-t", "nat", "-F", "CNI-DN-77"),
        expect={"kind": "nft-chain", "family": "ip", "table": "nat", "chain": "CNI-DN-77"},
        name="cni, given back",
        tolerate=("cni-ipam-leak",),  # containers without a process
    ),
)
test_drill = drill_test(*DRILLS)
