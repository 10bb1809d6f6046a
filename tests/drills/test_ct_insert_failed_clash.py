"""Connections that cannot be put into the table: two packets that were both the first of one, and two guests whose
answers look alike.

The race is decided by a queue that holds the packets back until two of them are there, which is what a slow reader of
NFQUEUE does. The kernel settles it for UDP (clash_resolve) and not for TCP.
"""

import socket
from struct import pack, unpack_from

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import pair
from tests.drills.test_ct_invalid import SYN, send, tcp
from tests.lab import Host, Lab

QUEUE, NETLINK_NETFILTER = 5, 12
RACE, SAME = {"tcp": False}, {"port": False}
PORTS = iter(range(4000, 5000))
QUEUE_RULES = f"""
iptables -t mangle -A PREROUTING -i eth0 -p udp -j NFQUEUE --queue-num {QUEUE}
iptables -t mangle -A PREROUTING -i eth0 -p tcp --syn -j NFQUEUE --queue-num {QUEUE}
iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
"""
DEAF = "table inet deaf { chain input { type filter hook input priority -400; meta l4proto tcp drop; }; }"
ZONES = """table inet zones { chain before { type filter hook prerouting priority raw;
    iifname "eth1" ct original zone set 1; iifname "eth2" ct original zone set 2; }; }"""


def in_twos() -> None:
    """Read the queue, and let packets go when there are two (linux/netfilter/nfnetlink_queue.h)."""

    def message(kind: int, attribute: int, content: bytes) -> bytes:
        body = pack("=BBH", 0, 0, socket.htons(QUEUE)) + pack("=HH", 4 + len(content), attribute)
        body += content + bytes(-len(content) % 4)
        return pack("=IHHII", 16 + len(body), 3 << 8 | kind, 1, 1, 0) + body

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as queue:
        queue.bind((0, 0))
        queue.send(message(2, 1, pack("!BBH", 1, 0, socket.AF_INET)))
        queue.send(message(2, 2, pack("!IB", 0, 1)))  # no content
        held: list[int] = []
        while True:
            content = queue.recv(1 << 16)
            held.append(unpack_from("!I", content, content.index(pack("=HH", 11, 1)) + 4)[0])
            while len(held) > 1:
                for number in (held.pop(0), held.pop(0)):
                    queue.send(message(1, 2, pack("!II", 1, number)))


def queued(lab: Lab) -> Host:
    """A server behind a queue, and a client that takes no answer."""
    host = pair(lab)
    host.sh(QUEUE_RULES)
    lab.listen_tcp(host, "192.0.2.1", 80)
    lab.listen_udp(host, "192.0.2.1", 53)
    host.fork(in_twos)
    lab.nft(lab.hosts["client"], DEAF)
    lab.wait(lambda: host.read("/proc/net/netfilter/nfnetlink_queue").strip(), 5, "somebody reads the queue")
    return host


def twice(lab: Lab, host: Host) -> None:
    """Three times two packets of one new connection."""
    client = lab.hosts["client"]

    def questions() -> None:
        for _ in range(3):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for question in (b"A", b"AAAA"):
                    sender.sendto(question, ("192.0.2.1", 53))

    if RACE["tcp"]:
        ports = [next(PORTS) for _ in range(3)]
        send(client, [tcp("192.0.2.2", "192.0.2.1", SYN, port) for port in ports for _ in range(2)], "192.0.2.1")
    else:
        client.call(questions)


def guests(lab: Lab) -> Host:
    """Two guests with one address, each in a zone of its own; the answers of both are looked up in one zone.

    guest1, guest2 10.0.0.2 --- eth1, eth2 router eth0 --- 192.0.2.2 server
    """
    host, server = lab.host("router"), lab.host("server")
    lab.link(host, "eth0", server, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    host.sysctl({"net.ipv4.ip_forward": 1})
    for number in (1, 2):
        guest = lab.host(f"guest{number}")
        lab.link(host, f"eth{number}", guest, "eth0", b_addresses="10.0.0.2/24")
        router = host.read(f"/sys/class/net/eth{number}/address").strip()
        guest.ip(f"neigh add 10.0.0.1 lladdr {router} dev eth0\nroute add default via 10.0.0.1")
    host.ip("route add 10.0.0.2 dev eth1 src 192.0.2.1")
    lab.listen_udp(server, "192.0.2.2", 53)
    lab.nft(host, ZONES)
    return host


def both_ask(lab: Lab, host: Host) -> None:
    """Both guests ask from one port, or each from its own."""
    port = next(PORTS)
    lab.send_udp(lab.hosts["guest1"], "192.0.2.2", 53, sport=port)
    lab.send_udp(lab.hosts["guest2"], "192.0.2.2", 53, count=3, sport=port if SAME["port"] else next(PORTS))


test_drill = drill_test(
    Drill(
        name="two first packets",
        rule="ct-insert-failed-clash",
        build=queued,
        break_=lambda lab, host: RACE.update(tcp=True),
        repair=lambda lab, host: RACE.update(tcp=False),
        during=twice,
        severity="warning",
        expect={"kind": "conntrack"},
    ),
    Drill(
        name="two guests in two zones",
        rule="ct-insert-failed-clash",
        build=guests,
        break_=lambda lab, host: SAME.update(port=True),
        repair=lambda lab, host: SAME.update(port=False),
        during=both_ask,
        severity="warning",
        expect={"kind": "conntrack"},
    ),
)
