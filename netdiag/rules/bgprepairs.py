"""What to do about a BGP session that does not come up, by BIRD's last error and the way to the neighbour. Pure."""

from collections.abc import Iterator

from netdiag.index.policy import Lookup
from netdiag.index.view import HostView
from netdiag.rules.bgpsessions import Session, bird_name
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, quoted

UNREACHED = "No route to host"
REPAIRS = (
    ("Connection refused", "start the BGP daemon on {address}, or let it listen on TCP port 179"),
    ("Network is unreachable", "ip route replace {address} via GATEWAY dev IFNAME"),
    ("Administrative shutdown", "ask whoever runs {address}: the session was shut down there"),
    ("No listening socket", "free this host's BGP port (ss -ltnp 'sport = :179'), or give BIRD another, then: {again}"),
    ("Neighbor lost", "give this host back its address on the subnet with {address}; BIRD calls by itself then"),
    ("Hold timer expired", "see why packets to and from {address} were lost: link, MTU, firewall, load"),
)
THERE = ("reachable", "stale", "delay", "probe", "permanent")
"""States of a neighbour that was heard, or that somebody wrote down."""


def repair(view: HostView, session: Session, dead: list[tuple[str, str]], answer: Lookup | None) -> str:
    """What to do, by the state of the link, the last error and who on the way is there."""
    address = session.protocol.neighbor_address or "the neighbour"
    for ifname, why in dead:
        if why == "is down":
            return f"ip link set dev {quoted(ifname)} up"
        return f"bring the carrier of {ifname} back: cable, switch port, far end"
    again = session.command(f"restart {bird_name(session.name)}")
    if UNREACHED in session.error:
        return _unreached(view, address, answer)
    for words, advice in REPAIRS:
        if words in session.error:
            return advice.format(address=address, again=again)
    if session.waits:
        return f"see why {address} does not call: its daemon, its way here, the filter before TCP port 179 of this host"
    return f"see that TCP port 179 to {address} is open and answered, then: {again}"


def _unreached(view: HostView, address: str, answer: Lookup | None) -> str:
    """``No route to host``: nobody answers on the last link, or somebody who does says so by ICMP."""
    hop = next(iter(answer.hops), None) if answer is not None and answer.ok else None
    link = view.link(hop.oif) if hop is not None and hop.oif else None
    if hop is not None and link is not None:
        if link.noarp:
            name = quoted(link.ifname)
            return f"see which peer of {link.ifname} is to have {address}, and whether it answers: wg show {name}"
        near = hop.gateway or address
        rows = (row for row in view.neighbours.rows() if row.ifindex == hop.oif and row.dst == near)
        if any(row.state in THERE for row in rows):
            if hop.gateway:
                return f"see who behind {near} has no way to {address}, or refuses it: traceroute -n {address}"
            return f"open TCP port 179 in the packet filter of {address}: it is there, and refuses by ICMP"
    return f"bring {address} back on the last link: nobody answers there"


def repair_examples() -> Iterator[Example]:
    """Of bgp-not-established: who it is that says "No route to host"."""
    for name, why, address, says in (
        ("its filter refuses by ICMP", "it is there", "192.0.2.1", "in the packet filter of 192.0.2.1"),
        ("it is gone", "nobody answers", "192.0.2.9", "bring 192.0.2.9 back on the last link"),
        ("nobody asked for it", "its entry is old", "192.0.2.7", "bring 192.0.2.7 back on the last link"),
        ("a router on the way says so", "it has no way on", "198.51.100.7", "see who behind 192.0.2.1 has no way"),
        ("behind a router that is gone", "nobody answers", "203.0.113.7", "bring 203.0.113.7 back on the last link"),
        ("behind WireGuard", "no peer has it", "10.9.0.2", "which peer of wg0 is to have 10.9.0.2"),
    ):
        host = BirdHost()
        host.bgp_down("up1", "Socket: No route to host", neighbor_address=address)
        host.link("eth0").address("eth0", "192.0.2.2/24")
        host.link("wg0", kind="wireguard", type=65534, flags=0x1 | 0x40 | 0x80 | 0x10000).address("wg0", "10.9.0.1/24")
        host.route("198.51.100.0/24", via="192.0.2.1", dev="eth0").route("203.0.113.0/24", via="192.0.2.8", dev="eth0")
        host.neighbour("192.0.2.1", dev="eth0", state="stale").neighbour("192.0.2.9", dev="eth0", state="failed")
        host.neighbour("192.0.2.8", dev="eth0", state="failed").neighbour("192.0.2.9", dev="wg0", state="noarp")
        yield Example(name=f"no route to host: {name}", why=why, tables=host.build(), fires=1, says=(says,))
