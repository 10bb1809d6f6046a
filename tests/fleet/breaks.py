"""What goes wrong between hosts: each variant breaks the live fleet, says whom to collect anew, and mends it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from struct import pack

from tests.drills.losses import arrives, goes
from tests.fleet.world import SERVICE, TRANSIT, World
from tests.lab.daemons import key_pair

ETH_ARP, IP_TRANSPARENT = 0x0806, 19
SECOND = "10.71.2.1"
"""A guest beside those of tests/fleet/world.py."""
Pairs = Callable[[str, str], bool]
Work = Callable[[World], object]


@dataclass(frozen=True, kw_only=True)
class Break:
    """One fault between hosts."""

    rule: str
    """What must be named first, and be the only cause."""
    does: Work
    mends: Work
    touched: tuple[str, ...]
    """Hosts to collect anew; empty: all."""
    hosts: tuple[str, ...] = ()
    """Hosts that the finding must name, among others."""
    silent: Pairs | None = None
    """Pairs that have been silent for minutes, as far as they said nothing between the looks."""
    without: tuple[str, ...] = ()
    """Hosts that could not be collected."""
    clocks: dict[str, float] = field(default_factory=dict)
    """Hosts whose clock is so many seconds ahead."""
    severity: str = "critical"
    """``info``: it is the first thing that is told, and wakes nobody."""
    prepares: Work | None = None
    """What is healthy still, and there only for this fault."""
    carries: Callable[[World], bool] | None = None
    """Traffic that gets through before the fault and is lost under it."""
    dear: bool = False
    """Whether ``carries`` takes longer: it is asked with NETDIAG_LONG and NETDIAG_LOSSES only."""
    quick: bool = False
    """Whether it is among those that are run every time."""
    name: str = ""

    @property
    def id(self) -> str:
        """Its name as a test."""
        return self.name or self.rule


def _wg(world: World, name: str, *words: str) -> None:
    world[name].run("wg", "set", "wg0", *words)


def _birdc(world: World, names: tuple[str, ...], words: str) -> None:
    for name in names:
        world[name].run("birdc", *words.split())


def _address(name: str, ifname: str, old: str, new: str) -> Work:
    def work(world: World) -> None:
        lines = f"address del {old} dev {ifname}\naddress add {new} dev {ifname}"
        world[name].ip(lines + ("\nroute replace 10.70.0.0/16 dev wg0" if ifname == "wg0" else ""))

    return work


def _ip(name: str, lines: str) -> Work:
    return lambda world: world[name].ip(lines)


def _key(world: World, private: str) -> None:
    world["sin-gateway1"].run("wg", "set", "wg0", "private-key", "/dev/stdin", text=private + "\n")


def _rekey(world: World) -> None:
    _key(world, key_pair(world.core)[0])


def _old_key(world: World) -> None:
    _key(world, world.members["sin-gateway1"].private)
    world.meshed()


def _forget(world: World) -> None:
    near, far = world.members["fra-worker1"], world.members["ams-worker1"]
    _wg(world, far.host.name, "peer", near.public, "remove")
    _wg(world, near.host.name, "peer", far.public, "remove")
    world.configure(near.host.name)


def _known_again(world: World) -> None:
    world.configure("ams-worker1")
    world.meshed("fra-worker1", "ams-worker1")


def _port(world: World) -> None:
    """A host that others call listens elsewhere; it calls nobody itself, or their endpoints would follow it."""
    known = world.peers(world.members["sin-worker2"])
    quiet = [replace(peer, endpoint=None, persistent_keepalive=None) for peer in known]
    world.configure("sin-worker2", quiet, port=51999)
    for name in ("fra-gateway1", "ams-gateway1"):
        world.configure(name)


def _old_port(world: World) -> None:
    world.configure("sin-worker2")
    world.meshed()


def _allow(*prefixes: str) -> Work:
    return lambda w: _wg(w, "fra-gateway1", "peer", w.members["sin-worker1"].public, "allowed-ips", ",".join(prefixes))


def _migrate(old: str, new: str) -> Work:
    def work(world: World) -> None:
        guest = world.members["ams-worker1"].guest
        world[old].ip(f"route del {guest}/32 dev tap0")
        world[new].ip(f"route add {guest}/32 dev tap0")

    return work


def _arrives(sender: str, address: str, to: str) -> Callable[[World], bool]:
    """Whether datagrams of a host to an address get to a program of the host that is meant."""
    return lambda world: bool(arrives(sender, address)(world.lab, world[to]))


def _taken(world: World) -> None:
    """A worker is given the address of the gateway of its region, and says so to the segment, as its scripts do."""
    world["fra-worker1"].ip("address add 10.1.0.4/24 dev eth0")
    _tell(world, "fra-worker1", "10.1.0.4")


def _given_back(world: World) -> None:
    world["fra-worker1"].ip("address del 10.1.0.4/24 dev eth0")
    _tell(world, "fra-gateway1", "10.1.0.4")


def _tell(world: World, name: str, address: str) -> None:
    """A gratuitous ARP request."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("eth0", ETH_ARP))
            mac, own = sender.getsockname()[4], socket.inet_aton(address)
            head = b"\xff" * 6 + mac + pack("!HHHBBH", ETH_ARP, 1, 0x0800, 6, 4, 1)
            sender.send(head + mac + own + bytes(6) + own)

    world[name].call(work)


def _to_the_guest(world: World) -> bool:
    """What an edge sends to a guest gets to the host that has its route."""
    guest = world.members["ams-worker1"].guest
    (host,) = [
        world[name] for name in ("ams-worker1", "sin-worker3") if world[name].run("ip", "route", "show", guest).stdout
    ]
    inside = lambda: int(host.read("/sys/class/net/tap0/statistics/tx_packets"))  # noqa: E731
    before = inside()
    world.lab.send_udp(world["fra-edge1"], guest, 9, count=5)
    try:
        return world.lab.wait(lambda: inside() > before, 0.3)
    except TimeoutError:
        return False


def _data_arrives(world: World) -> bool:
    """A full ping through the tunnel is answered."""
    there = world.members["sin-worker1"].inner
    return not world["fra-worker1"].run("ping", "-c1", "-W0.3", "-s", "1200", there, check=False).returncode


def _ip_core(lines: str) -> Work:
    return lambda world: world.core.ip(lines)


def _forward(rule: str) -> Work:
    table = (
        "table inet cut {\n chain cut {\n  type filter hook forward priority 0\n" + rule.replace("; ", "\n") + "\n }\n}"
    )
    return lambda world: world.lab.nft(world.core, table)


def _whole(world: World) -> None:
    world.core.run("nft", "delete", "table", "inet", "cut")
    world.meshed()


def _up(name: str) -> Work:
    def work(world: World) -> None:
        world[name].ip(f"link set eth0 up\nroute replace default via 10.{world.members[name].region}.0.254")
        world.meshed()

    return work


def _no_transit(world: World) -> None:
    world.transit.ip("link set eth0 down")
    for name in ("fra-edge1", "fra-edge2"):
        down = lambda n=name: "Established" not in world[n].run("birdc", "show", "protocols", "transit").stdout  # noqa: E731
        world.lab.wait(down, 15, f"{name} has lost its upstream")


def _transit(world: World) -> None:
    world.transit.ip("link set eth0 up")
    world.announcing()


def _second_link(world: World) -> None:
    """Another cable between two workers, by which both go to each other's second address; one has a strict filter."""
    one, two = world["sin-worker1"], world["sin-worker2"]
    world.lab.link(one, "eth9", two, "eth9", a_addresses="10.9.0.1/30", b_addresses="10.9.0.2/30")
    one.ip("address add 10.8.0.1/32 dev lo\nroute add 10.8.0.2/32 via 10.9.0.2 dev eth9 src 10.8.0.1")
    two.ip("address add 10.8.0.2/32 dev lo\nroute add 10.8.0.1/32 via 10.9.0.1 dev eth9 src 10.8.0.2")
    one.sysctl({"net/ipv4/conf/eth0/rp_filter": 1})
    one.run("ping", "-c1", "-W1", "10.9.0.2")
    two.run("ping", "-c1", "-W1", "10.3.0.1")


def _one_link(world: World) -> None:
    one, two = world["sin-worker1"], world["sin-worker2"]
    one.ip("link del eth9\naddress del 10.8.0.1/32 dev lo")
    two.ip("route del 10.8.0.1/32 via 10.3.0.1 dev eth0\naddress del 10.8.0.2/32 dev lo")
    one.sysctl({"net/ipv4/conf/eth0/rp_filter": 0})


def _sibling(asn: int) -> Work:
    def work(world: World) -> None:
        text = world["fra-edge1"].read("/etc/bird/bird.conf")
        told = text.replace("neighbor 10.1.0.2 as 65001", f"neighbor 10.1.0.2 as {asn}")
        world["fra-edge1"].write("/etc/bird/bird.conf", told.replace("as 65009;", f"as {asn};"))
        world["fra-edge1"].run("birdc", "configure")

    return work


def _bad_sibling(world: World) -> None:
    _sibling(65009)(world)

    def refused() -> bool:
        said = world["fra-edge1"].run("birdc", "show", "protocols", "sibling").stdout
        return "Established" not in said and "Bad peer AS" in said

    world.lab.wait(refused, 15, "the session is refused")


def _good_sibling(world: World) -> None:
    _sibling(65001)(world)
    ready = lambda: "Established" in world["fra-edge1"].run("birdc", "show", "protocols", "sibling").stdout  # noqa: E731
    world.lab.wait(ready, 15, "the edges are peers again")


def _identity(number: int) -> Work:
    def work(world: World) -> None:
        text = world["fra-edge2"].read("/etc/bird/bird.conf")
        first = text.replace("router id 10.1.0.1;", "router id 10.1.0.2;")
        world["fra-edge2"].write(
            "/etc/bird/bird.conf", first.replace("router id 10.1.0.2;", f"router id 10.1.0.{number};")
        )
        world["fra-edge2"].run("birdc", "configure")
        good = number == 2

        def settled() -> bool:
            said = world["fra-edge2"].run("birdc", "show", "protocols", "sibling").stdout
            return ("Established" in said) == good

        world.lab.wait(settled, 15, "the sessions have noticed")

    return work


def _large_lost(world: World) -> None:
    """What fra-worker1 sends to sin-worker1 is lost on the way, but for handshakes and keepalives."""
    _forward("ip saddr 10.1.0.3 ip daddr 10.3.0.1 udp dport 51820 udp length > 200 drop")(world)
    there = world.members["sin-worker1"].inner
    ping = world["fra-worker1"].spawn("ping", "-q", "-i", "0.05", "-w", "90", "-s", "600", there)
    world.at_work.append(ping)


def _all_arrives(world: World) -> None:
    for process in world.at_work:
        process.kill()
        process.wait()
    world.at_work.clear()
    _whole(world)


def _another_guest(world: World) -> None:
    """A second guest on ams-worker1, of which a gateway knows."""
    member = world.members["ams-worker1"]
    member.host.ip(f"route add {SECOND}/32 dev tap0")
    world["fra-gateway1"].ip(f"route add {SECOND}/32 dev wg0")
    _wg(world, "fra-gateway1", "peer", member.public, "allowed-ips", f"{member.inner}/32,{member.guest}/32,{SECOND}/32")


def _refused(world: World) -> None:
    """The gateway forgets it, and it sends."""
    member = world.members["ams-worker1"]
    _wg(world, "fra-gateway1", "peer", member.public, "allowed-ips", f"{member.inner}/32,{member.guest}/32")
    world["fra-gateway1"].ip(f"route del {SECOND}/32 dev wg0")

    def work() -> None:
        for _ in range(600):
            _from_guest(world.members["fra-gateway1"].inner)
            select.select([], [], [], 0.05)  # twenty a second

    world.forked[member.host.name] = member.host.fork(work)


def _from_guest(to: str) -> None:
    """A datagram as its guest would send it (IP_TRANSPARENT, ip(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sender.bind((SECOND, 0))
        sender.sendto(bytes(100), (to, 9009))


def _no_other_guest(world: World) -> None:
    host = world["ams-worker1"]
    host.end(world.forked.pop(host.name))
    host.ip(f"route del {SECOND}/32 dev tap0")


def _guest_heard(world: World) -> bool:
    """What it sends gets to a program of the gateway."""
    gateway = world.members["fra-gateway1"]
    listener = world.lab.listen_udp(gateway.host, "0.0.0.0", 9009)
    world["ams-worker1"].call(lambda: _from_guest(gateway.inner))
    try:
        return world.lab.wait(lambda: listener.packets > 0, 0.3)
    except TimeoutError:
        return False
    finally:
        listener.stop()


def _half_known(world: World) -> None:
    """fra-worker1 is reinstalled, with a new key; the hosts of ams are told, the others not yet."""
    member = world.members["fra-worker1"]
    member.private, member.public = key_pair(world.core)
    _give(world, "fra-worker1")
    world.meshed("ams-worker1", "ams-worker2", "ams-gateway1", "ams-gateway2")


def _known_by_all(world: World) -> None:
    """All know it now."""
    for name in world.members:
        world.configure(name)
    world.meshed()
    world.sweep()
    world.healthy = dict(world.known)


def _give(world: World, own: str) -> None:
    for name in world.members:
        if name == own or name.startswith("ams"):
            world.configure(name)


def _shut(world: World) -> None:
    world.transit.run("birdc", "down")
    for name in ("fra-edge1", "fra-edge2"):
        down = lambda n=name: "Established" not in world[n].run("birdc", "show", "protocols", "transit").stdout  # noqa: E731
        world.lab.wait(down, 15, f"{name} has lost its upstream")


def _open(world: World) -> None:
    world.lab.birdd(world.transit, TRANSIT)
    world.announcing()


PLAIN = 'where proto = "service";'
PREPENDED = 'filter { if proto != "service" then reject; bgp_path.prepend(65001); bgp_path.prepend(65001); accept; };'


def _filter(old: str, new: str) -> Work:
    """Another export filter of fra-edge2 to its upstream, which is the first session in its file."""

    def work(world: World) -> None:
        text = world["fra-edge2"].read("/etc/bird/bird.conf")
        world["fra-edge2"].write("/etc/bird/bird.conf", text.replace(f"export {old}", f"export {new}", 1))
        world["fra-edge2"].run("birdc", "configure")
        sent = lambda: world["fra-edge2"].run("birdc", "show", "route", "export", "transit", "all").stdout  # noqa: E731
        world.lab.wait(lambda: (new == PREPENDED) == ("as_path: 65001 65001" in sent()), 10, "the filter is there")

    return work


def _spy(world: World) -> None:
    for name in ("ams-worker1", "sin-worker2"):
        world.program(name, "spy", ("eth0",), pref=1, verdict=3)


def _no_spy(world: World) -> None:
    for name in ("ams-worker1", "sin-worker2"):
        world[name].sh("tc qdisc del dev eth0 clsact; rm /sys/fs/bpf/spy*")


def _with(name: str) -> Pairs:
    return lambda a, b: name in (a, b)


def _between(one: str, other: str = "") -> Pairs:
    if not other:
        return lambda a, b: a.startswith(one) != b.startswith(one)
    return lambda a, b: {a[:3], b[:3]} == {one, other}


BREAKS = (
    Break(
        rule="wg-mesh-duplicate-ip",
        does=_address("sin-worker1", "wg0", "10.64.3.1/16", "10.64.2.1/16"),
        mends=_address("sin-worker1", "wg0", "10.64.2.1/16", "10.64.3.1/16"),
        touched=("sin-worker1",),
        hosts=("ams-worker1", "sin-worker1"),
        quick=True,
    ),
    Break(
        rule="addr-duplicate-across-hosts",
        does=_taken,
        carries=_arrives("fra-edge1", "10.1.0.4", "fra-gateway1"),
        mends=_given_back,
        touched=("fra-worker1",),
        hosts=("fra-gateway1", "fra-worker1"),
    ),
    Break(
        name="addr-duplicate-across-hosts, on lo in another region",
        rule="addr-duplicate-across-hosts",
        does=_ip("ams-worker1", "address add 10.3.0.4/32 dev lo"),
        carries=_arrives("ams-worker1", "10.3.0.4", "sin-gateway1"),
        mends=_ip("ams-worker1", "address del 10.3.0.4/32 dev lo"),
        touched=("ams-worker1",),
        hosts=("ams-worker1", "sin-gateway1"),
    ),
    Break(
        rule="wg-peer-missing-reciprocal",
        does=_forget,
        mends=_known_again,
        touched=("ams-worker1", "fra-worker1"),
        hosts=("ams-worker1", "fra-worker1"),
    ),
    Break(
        rule="wg-key-mismatch",
        does=_rekey,
        mends=_old_key,
        touched=(),
        hosts=("sin-gateway1", "ams-worker1"),
        silent=_with("sin-gateway1"),
    ),
    Break(
        rule="wg-listen-port-mismatch",
        does=_port,
        mends=_old_port,
        touched=("sin-worker2", "fra-gateway1", "ams-gateway1"),
        hosts=("sin-worker2", "fra-gateway1"),
    ),
    Break(
        rule="wg-mtu-asymmetric-peers",
        does=_ip("ams-gateway1", "link set wg0 mtu 1280"),
        mends=_ip("ams-gateway1", "link set wg0 mtu 1420"),
        touched=("ams-gateway1",),
        hosts=("ams-gateway1",),
    ),
    Break(
        rule="wg-allowedips-miss-peer-address",
        does=_allow("10.70.3.1/32"),
        mends=_allow("10.70.3.1/32", "10.64.3.1/32"),
        touched=("fra-gateway1",),
        hosts=("fra-gateway1", "sin-worker1"),
    ),
    Break(
        rule="addr-owner-mapping-stale",
        does=_migrate("ams-worker1", "sin-worker3"),
        carries=_to_the_guest,
        mends=_migrate("sin-worker3", "ams-worker1"),
        touched=("ams-worker1", "sin-worker3"),
        hosts=("ams-worker1", "sin-worker3", "fra-edge1"),
        quick=True,
    ),
    Break(
        rule="bgp-prefix-announced-nowhere",
        does=lambda w: _birdc(w, ("fra-edge1", "fra-edge2"), "disable transit"),
        carries=lambda w: goes(w.transit, SERVICE),
        mends=lambda w: (_birdc(w, ("fra-edge1", "fra-edge2"), "enable transit"), w.announcing()),
        touched=("fra-edge1", "fra-edge2"),
        hosts=("fra-edge1", "fra-edge2"),
        quick=True,
    ),
    Break(
        rule="fleet-shared-upstream-fault",
        does=_no_transit,
        mends=_transit,
        touched=("fra-edge1", "fra-edge2"),
        hosts=("fra-edge1", "fra-edge2"),
    ),
    Break(
        rule="bgp-session-ends-disagree",
        does=_bad_sibling,
        carries=lambda w: goes(w["fra-edge1"], "10.1.255.2"),
        mends=_good_sibling,
        touched=("fra-edge1", "fra-edge2"),
        hosts=("fra-edge1", "fra-edge2"),
    ),
    Break(
        rule="bgp-router-id-dup",
        does=_identity(1),
        mends=_identity(2),
        touched=("fra-edge1", "fra-edge2"),
        hosts=("fra-edge1", "fra-edge2"),
    ),
    Break(
        rule="bpf-unknown-on-some-hosts",
        does=_spy,
        mends=_no_spy,
        touched=("ams-worker1", "sin-worker2"),
        hosts=("ams-worker1", "sin-worker2"),
        quick=True,
    ),
    Break(
        rule="asym-route-pair",
        prepares=_second_link,
        does=_ip("sin-worker2", "route replace 10.8.0.1/32 via 10.3.0.1 dev eth0 src 10.8.0.2"),
        carries=lambda w: goes(w["sin-worker1"], "10.8.0.2"),
        mends=_one_link,
        touched=("sin-worker1", "sin-worker2"),
        hosts=("sin-worker1", "sin-worker2"),
        quick=True,
    ),
    Break(
        rule="fleet-host-cut",
        does=_ip("sin-worker3", "link set eth0 down"),
        mends=_up("sin-worker3"),
        touched=(),
        hosts=("sin-worker3", "ams-worker1"),
        silent=_with("sin-worker3"),
    ),
    Break(
        name="fleet-host-cut, not collected",
        rule="fleet-host-cut",
        does=_ip("ams-gateway2", "link set eth0 down"),
        mends=_up("ams-gateway2"),
        touched=(),
        hosts=("sin-worker3", "ams-worker1"),
        silent=_with("ams-gateway2"),
        without=("ams-gateway2",),
    ),
    Break(
        rule="fleet-region-cut",
        does=_forward('iifname "sin" drop; oifname "sin" drop'),
        mends=_whole,
        touched=(),
        hosts=("sin-worker1", "sin-gateway1", "fra-edge1"),
        silent=_between("sin"),
    ),
    Break(
        name="fleet-region-cut, nobody of it collected",
        rule="fleet-region-cut",
        does=_ip_core("link set sin down"),
        mends=lambda w: (_ip_core("link set sin up")(w), w.meshed()),
        touched=(),
        hosts=("fra-edge1", "ams-worker1"),
        silent=_between("sin"),
        without=("sin-worker1", "sin-worker2", "sin-worker3", "sin-gateway1"),
    ),
    Break(
        rule="wg-oneway-data",
        does=_large_lost,
        carries=_data_arrives,
        mends=_all_arrives,
        touched=("fra-worker1", "sin-worker1"),
        hosts=("fra-worker1", "sin-worker1"),
    ),
    Break(
        rule="wg-rx-allowedips-reject",
        prepares=_another_guest,
        does=_refused,
        mends=_no_other_guest,
        carries=_guest_heard,
        touched=("ams-worker1", "fra-gateway1"),
        hosts=("ams-worker1", "fra-gateway1"),
    ),
    Break(
        name="wg-key-mismatch, half of them know",
        rule="wg-key-mismatch",
        does=_half_known,
        mends=_known_by_all,
        touched=(),
        hosts=("fra-worker1", "sin-worker1", "fra-edge1"),
    ),
    Break(
        name="fleet-shared-upstream-fault, shut down over there",
        rule="fleet-shared-upstream-fault",
        does=_shut,
        mends=_open,
        touched=("fra-edge1", "fra-edge2"),
        hosts=("fra-edge1", "fra-edge2"),
    ),
    Break(
        rule="bgp-asym-announce-drift",
        does=_filter(PLAIN, PREPENDED),
        mends=_filter(PREPENDED, PLAIN),
        touched=("fra-edge2",),
        hosts=("fra-edge1", "fra-edge2"),
        severity="info",
    ),
    Break(
        rule="wg-clock-backwards-reject",
        does=_forward("ip saddr 10.3.0.4 drop; ip daddr 10.3.0.4 drop"),
        mends=_whole,
        touched=(),
        hosts=("sin-gateway1",),
        silent=lambda a, b: "sin-gateway1" in (a, b) and not (a.startswith("sin") and b.startswith("sin")),
        clocks={"sin-gateway1": -3600.0},
    ),
    Break(
        rule="fleet-region-pair-cut",
        does=_forward("ip saddr 10.1.0.0/24 ip daddr 10.3.0.0/24 drop; ip saddr 10.3.0.0/24 ip daddr 10.1.0.0/24 drop"),
        mends=_whole,
        touched=(),
        hosts=("sin-worker1", "fra-edge1"),
        silent=_between("fra", "sin"),
    ),
)
"""Every variant."""
