"""Tracking entries that outlive what they were made by: a replaced backend, a rule made too late, an old source."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab
from tests.lab.daemons import Peer, key_pair
from tests.lab.traffic import Listener

NAT = """
table ip nat {{
 chain pre {{ type nat hook prerouting priority dstnat
  udp dport 53 dnat to {backend}:5353
 }}
}}
"""
MASQ = """
table ip nat { chain post { type nat hook postrouting priority srcnat
  oifname "eth0" masquerade
 }
}
"""
LATE = "table ip late { chain pre { type nat hook prerouting priority dstnat\n udp dport 5060 redirect to :5061\n}\n}"


BACKENDS: dict[Host, list[Listener]] = {}


def base(lab: Lab) -> Host:
    host, up = lab.host("worker"), lab.host("up")
    lab.link(host, "eth0", up, "eth0", a_addresses="192.0.2.2/24", b_addresses="192.0.2.1/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    host.ip("route add default via 192.0.2.1")
    return host


def guest(lab: Lab, host: Host, number: int) -> None:
    lab.link(host, f"g{number}", lab.host(f"guest{number}"), "eth0", b_addresses=f"10.1.0.{number}/32")
    host.ip(f"route add 10.1.0.{number}/32 dev g{number}")


def build_backend(lab: Lab) -> Host:
    host = base(lab)
    for number in (2, 3):
        guest(lab, host, number)
    lab.nft(host, NAT.format(backend="10.1.0.2"))
    BACKENDS[host] = [lab.listen_udp(lab.hosts[f"guest{number}"], "0.0.0.0", 5353) for number in (2, 3)]
    lab.send_udp(lab.hosts["up"], "192.0.2.2", 53, sport=40000)
    lab.wait(lambda: "dport=53" in host.run("conntrack", "-L", "-p", "udp").stdout, 5, "the flow")
    return host


def served(lab: Lab, host: Host) -> bool:
    """What the client sends, always from one port, gets to a backend."""
    before = [backend.packets for backend in BACKENDS[host]]
    lab.send_udp(lab.hosts["up"], "192.0.2.2", 53, sport=40000)
    try:
        lab.wait(lambda: [backend.packets for backend in BACKENDS[host]] != before, 0.3)
    except TimeoutError:
        return False
    return True


def replace_backend(lab: Lab, host: Host) -> None:
    host.sh("nft flush ruleset; ip route del 10.1.0.2/32; ip link set dev g2 down")
    lab.nft(host, NAT.format(backend="10.1.0.3"))


def build_answering(lab: Lab) -> Host:
    """A backend that answers, and a client that asks it from one port."""
    host = base(lab)
    guest(lab, host, 2)
    lab.nft(host, NAT.format(backend="10.1.0.2"))
    lab.hosts["guest2"].ip("route add 192.0.2.0/24 dev eth0")
    lab.hosts["guest2"].ip("neighbour add 192.0.2.1 lladdr " + hardware(host, "g2") + " dev eth0")
    lab.listen_udp(lab.hosts["guest2"], "0.0.0.0", 5353, echo=True)
    lab.send_udp(lab.hosts["up"], "192.0.2.2", 53, sport=40000)
    lab.wait(lambda: "UNREPLIED" not in tracked(host) and "dport=53" in tracked(host), 5, "the answer")
    return host


def build_inner(lab: Lab) -> Host:
    """The same, with a second backend and no way out."""
    host = build_answering(lab)
    guest(lab, host, 3)
    host.ip("route del default")
    return host


def asks(lab: Lab, host: Host) -> None:
    lab.send_udp(lab.hosts["up"], "192.0.2.2", 53, sport=40000, count=5)


def hardware(host: Host, ifname: str) -> str:
    return host.read(f"/sys/class/net/{ifname}/address").strip()


def tracked(host: Host) -> str:
    return host.run("conntrack", "-L", "-p", "udp").stdout


def build_late(lab: Lab) -> Host:
    host = base(lab)
    lab.listen_udp(host, "192.0.2.2", 5061)  # where the rule sends what comes later
    lab.nft(host, MASQ + "table ip watch { chain c { type filter hook input priority 0; ct state new counter; }\n}")
    return host


def too_late(lab: Lab, host: Host) -> None:
    lab.send_udp(lab.hosts["up"], "192.0.2.2", 5060)
    lab.wait(lambda: "dport=5060" in host.run("conntrack", "-L", "-p", "udp").stdout, 5, "the flow")
    lab.nft(host, LATE)


def build_tunnel(lab: Lab) -> Host:
    """The peer lives behind up, who lets nobody pass as 192.0.2.99: that address went to another host."""
    host = base(lab)
    up = lab.hosts["up"]
    up.ip("address add 198.51.100.7/32 dev lo")
    lab.nft(up, "table ip spoofed { chain c { type filter hook prerouting priority raw; ip saddr 192.0.2.99 drop\n}\n}")
    private, _ = key_pair(host)
    _, public = key_pair(host)
    peer = Peer(public_key=public, allowed_ips=["10.9.0.2/32"], endpoint="198.51.100.7:51820")
    lab.wireguard(host, "wg0", private, 51820, [peer])
    host.ip("address add 10.9.0.1/24 dev wg0\nlink set dev wg0 up")
    lab.nft(host, MASQ)
    BACKENDS[host] = [lab.listen_udp(up, "198.51.100.7", 51820)]
    return host


def first_word(lab: Lab, host: Host) -> bool:
    """The first message of a handshake comes to the peer: one that is added anew is called at once."""
    (backend,) = BACKENDS[host]
    before, key = backend.packets, host.run("wg", "show", "wg0", "peers").stdout.strip()
    peer = f"wg set wg0 peer {key}"
    host.sh(f"{peer} remove; {peer} endpoint 198.51.100.7:51820 allowed-ips 10.9.0.2/32")
    lab.send_udp(host, "10.9.0.2", 9)
    try:
        lab.wait(lambda: backend.packets > before, 0.5)
    except TimeoutError:
        return False
    return True


OLD = (
    "conntrack -F; conntrack -I -p udp -s 192.0.2.2 -d {dst} --sport {sport} --dport {port} --src-nat 192.0.2.99"
    " --timeout 100 --status ASSURED"
)
"""The kernel makes the reply's side of the entry itself; one that is told already rewritten gets no translation."""

DRILLS = (
    Drill(
        rule="ct-stale-udp-blackhole",
        name="backend",
        build=build_backend,
        break_=replace_backend,
        repair=None,
        severity="critical",
        expect={"kind": "conntrack", "dst": "192.0.2.2", "dport": 53},
        carries=served,
    ),
    Drill(
        rule="ct-stale-udp-blackhole",
        name="the backend went, and the rule stays",
        build=build_answering,
        break_=lambda lab, host: host.ip("link delete dev g2"),
        repair=lambda lab, host: host.sh("nft flush ruleset; conntrack -F"),
        severity="critical",
        expect={"kind": "conntrack", "dst": "192.0.2.2", "dport": 53},
        explains=("nf-orphan-dnat-to-dead",),
    ),
    Drill(
        rule="ct-stale-udp-blackhole",
        name="the way to the backend went, and there is no other",
        build=build_inner,
        break_=lambda lab, host: (
            (host.ip("link delete dev g2"), host.sh("nft flush ruleset"))
            and lab.nft(host, NAT.format(backend="10.1.0.3"))
        ),
        repair=lambda lab, host: host.sh("conntrack -F"),
        during=asks,
        explains=("route-default-missing",),
        tolerate=("route-default-missing",),  # the kernel counts what it refused for good
    ),
    Drill(
        rule="ct-stale-udp-blackhole",
        name="too late",
        build=build_late,
        break_=too_late,
        repair=None,
        expect={"kind": "conntrack", "dport": 5060},
    ),
    Drill(
        rule="nf-masq-after-addr-change",
        build=build_late,
        break_=lambda lab, host: host.sh(OLD.format(dst="198.51.100.7", port=53, sport=4000)),
        repair=None,
        expect={"kind": "conntrack", "reply_dst": "192.0.2.99"},
    ),
    Drill(
        rule="wg-conntrack-stale-snat",
        build=build_tunnel,
        break_=lambda lab, host: host.sh(OLD.format(dst="198.51.100.7", port=51820, sport=51820)),
        repair=None,
        carries=first_word,
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    ),
)
test_drill = drill_test(*DRILLS)
