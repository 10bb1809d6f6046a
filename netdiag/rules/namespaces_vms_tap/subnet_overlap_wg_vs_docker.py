"""What it checks
  The subnet of a bridge that a container engine or libvirt chose by itself overlaps what a WireGuard peer stands for
  (its allowed addresses): the bridge takes traffic that is meant for the mesh, or the mesh takes the containers'.

Why it matters
  Engines take the next free pool (172.17.0.0/16, 10.x ...) without knowing the mesh. The more specific route wins in
  silence: hosts of the mesh in that range cannot be reached from here any more, and the sender sees "no route to host"
  from the bridge, or an answer of a container.

Confirm
  ip route show dev BRIDGE
  wg show IFNAME allowed-ips
  ip route get ADDRESS

Fix
  Give the engine pools outside the mesh ("default-address-pools" and "bip" in /etc/docker/daemon.json; the network's
  definition of libvirt or podman), remove the bridge's network and make it anew. It restarts the containers on that
  bridge. Until then the mesh's hosts in the range are unreachable from this host.

Not flagged
  Prefixes that stand for everything (0.0.0.0/0 and its halves): every subnet lies in them. A bridge that nobody chose
  by itself (by its name, or a subnet of the engines' own pools and containers on it), whose subnet lies in a wider
  allowed prefix: this host's own share of the mesh, as a site's LAN or a node's pods have it. Bridges that are down.
  Link-local prefixes. A peer whose allowed addresses belong to something behind that very bridge.

References
  wg(8) AllowedIPs; net/ipv4/fib_trie.c; https://github.com/moby/moby/issues/46615
"""

import ipaddress
import re
from collections.abc import Iterator

from netdiag.index.guests import switched
from netdiag.index.links import PAIRED
from netdiag.index.packet import Query
from netdiag.index.subnets import Network, Subnet, connected
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import peer_subject

RULE = Rule(
    id="subnet-overlap-wg-vs-docker",
    title="a container bridge took a range of the WireGuard mesh",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "sysctls", "wireguard"),
    explains=("wg-allowedips-without-route", "wg-never-handshaked", "bgp-*", "asym-rpfilter-strict-drop"),
)
CHOSEN = re.compile(r".*docker.*|br-[0-9a-f]{12}|podman\d+|cni-podman\d+|lxcbr\d+|lxdbr\d+|incusbr\d+|virbr\d+")
"""Bridges whose subnet an engine chose by itself."""
POOLS = {ipaddress.ip_network(f"172.{number}.0.0/16") for number in range(17, 32)}
POOLS |= {ipaddress.ip_network(f"192.168.{number}.0/20") for number in range(0, 256, 16)}
POOLS.add(ipaddress.ip_network("172.26.64.0/20"))
"""What Docker and Nomad take where nobody tells them: on bridges with cables alone, whatever their name."""
EVERYTHING = 2
"""Bits: 0.0.0.0/0 and its halves or quarters."""


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        for subnet in connected(view, family):
            if subnet.link.kind != "bridge" or switched(view.stack, subnet.link):
                continue  # (behind a bridge with a card is a network as behind the card)
            found = _overlap(view, subnet)
            if found is not None:
                yield found


def _allowed(view: HostView) -> Iterator[tuple[WireguardDevice, WireguardPeer, Network]]:
    for device in view.wireguard.devices:
        for peer in device.peers:
            for prefix in peer.allowed_ips:
                network = ipaddress.ip_network(prefix, strict=False)
                if network.prefixlen > EVERYTHING:
                    yield device, peer, network


def _inside(network: Network) -> str:
    """An address of the prefix that hardly is the host's own."""
    return str(network.network_address + (network.num_addresses - 1) // 2)


def _goes_to(view: HostView, network: Network, ifindex: int) -> bool:
    """Whether an address of the prefix, other than the host's own, leaves by the interface."""
    looked = view.lookup(Query(family="inet" if network.version == 4 else "inet6", dst=_inside(network)))
    return any(hop.oif == ifindex for hop in looked.hops)


def _overlap(view: HostView, subnet: Subnet) -> Draft | None:
    """The worst overlap of one bridge."""
    own = {row.local for row in view.addresses}
    ports = view.stack.ports(subnet.link.ifindex)
    cabled = bool(ports) and all(port.kind in PAIRED for port in ports)
    chosen = CHOSEN.fullmatch(subnet.link.ifname) is not None or (cabled and subnet.network in POOLS)
    found: list[tuple[Severity, WireguardDevice, WireguardPeer, Network]] = []
    for device, peer, network in _allowed(view):
        if not network.overlaps(subnet.network):
            continue
        if network.num_addresses == 1 and str(network.network_address) in own:
            continue  # the peer stands for an address that this host has as well: another fault
        wider = network.prefixlen < subnet.network.prefixlen
        if wider and not chosen:
            continue  # this host's own share of the mesh
        whole = not wider and _goes_to(view, network, subnet.link.ifindex)
        found.append(("critical" if whole else "warning", device, peer, network))
    if not found:
        return None
    # Of several always the same one, in whatever order the device tells its peers.
    return _finding(subnet, *min(found, key=lambda row: (row[0] != "critical", row[1].ifname, row[3].with_prefixlen)))


def _finding(
    subnet: Subnet, severity: Severity, device: WireguardDevice, peer: WireguardPeer, network: Network
) -> Draft:
    bridge, tunnel = subnet.link.ifname, device.ifname
    probe = _inside(subnet.network if network.prefixlen < subnet.network.prefixlen else network)
    lost = f"what is for {network if severity == 'critical' else subnet.network} of the mesh goes to {bridge}"
    return RULE.found(
        subject=subject("link", ifname=bridge, dst=str(subnet.network)),
        severity=severity,
        confidence="certain" if severity == "critical" else "likely",
        message=f"{bridge} has the subnet {subnet.network}, and {tunnel} has a peer for {network}: {lost}",
        evidence=(
            (f"subnet of {bridge}", subnet.network, f"RTM_GETROUTE {bridge}"),
            (f"allowed-ips of a peer of {tunnel}", network, f"WG_CMD_GET_DEVICE {tunnel} WGPEER_A_ALLOWEDIPS"),
        ),
        confirm=(
            f"ip route show dev {quoted(bridge)}",
            f"wg show {quoted(tunnel)} allowed-ips",
            f"ip route get {probe}",
        ),
        fix=f"ip link delete dev {quoted(bridge)}  # cuts its containers off: give them a pool outside the mesh",
        touches=(subject("link", ifname=bridge),),
        breaks=(peer_subject(device, peer), subject("link", ifname=tunnel)),
    )


def _mesh(*allowed: str, bridge: str = "docker0", prefix: str = "10.1.0.1/16", route: bool = True) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.1/24").route("default", via="192.0.2.254", dev="eth0")
    host.wireguard("wg0").wg_peer("wg0", "a", allowed_ips=allowed, age=10.0)
    host.link(bridge, kind="bridge").address(bridge, prefix)
    for each in allowed if route else ():
        host.route(each, dev="wg0")
    return host


def _case(name: str, why: str, host: WireguardBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("link", ifname="docker0", dst="10.1.0.0/16")
    yield _case("Docker inside the mesh", "a part of the /8 is shadowed", _mesh("10.0.0.0/8"), 1, subject=about,
                confidence="likely")  # fmt: skip
    custom = _mesh("10.0.0.0/8", bridge="br-0123456789ab")
    yield _case("a network of Docker's", "named after its id", custom, 1, severity="warning")
    named = _mesh("10.0.0.0/8", bridge="br-docker")
    yield _case("a network of Docker's, named by a person", "com.docker.network.bridge.name", named, 1)
    inside = _mesh("10.1.7.0/24", route=False)
    critical: dict[str, object] = {"severity": "critical", "confidence": "certain"}
    yield _case("the mesh inside Docker", "no route into the tunnel wins", inside, 1, **critical)
    both = _mesh("10.0.0.0/8", "10.1.7.0/24", route=False)
    yield _case("both ways", "the worse of the two is told", both, 1, **critical)
    middle = _mesh("10.0.0.0/8", prefix="10.127.0.1/16")
    yield _case("Docker in the middle of the mesh", "still a part of it", middle, 1, severity="warning")
    yield _case("a peer inside Docker", "a single address", _mesh("10.1.7.7/32", route=False), 1, **critical)
    for pair in (("10.1.7.0/24", "10.1.8.0/24"), ("10.1.8.0/24", "10.1.7.0/24")):
        says = ("a peer for 10.1.7.0/24",)
        yield _case(f"{pair[0]} before the other", "the same is told", _mesh(*pair, route=False), 1, says=says)
    same = _mesh("10.1.0.0/16", bridge="br0", route=False)
    yield _case("the very same range", "a part of nothing wider", same, 1, **critical)
    begins = _mesh("10.1.7.0/24", route=False)
    begins.address("lo", "10.1.7.0/32")
    yield _case("a range that begins with an own address", "the rest is not", begins, 1, **critical)
    yield _case("an eighth of everything", "that is a range", _mesh("0.0.0.0/3", route=False), 1, severity="warning")
    routed = _mesh("10.1.7.0/24")
    yield _case("with its route", "the containers of that part are cut off instead", routed, 1, severity="warning")
    own = _mesh("10.1.7.0/24", bridge="br0", route=False)
    yield _case("any bridge", "a peer's range inside it is shadowed whoever chose it", own, 1, severity="critical")
    for pool, kind, fires in (
        ("172.26.64.1/20", "veth", 1),
        ("172.26.64.1/20", "tun", 0),
        ("172.26.65.1/24", "veth", 0),
    ):
        nomad = _mesh("172.16.0.0/12", bridge="nomad", prefix=pool)
        nomad.link("v1", kind=kind, master="nomad")
        yield _case(f"nomad with {pool} and a {kind}", "its own pool, and containers", nomad, fires)
    idle = _mesh("172.16.0.0/12", bridge="apps", prefix="172.19.0.1/16")
    yield _case("a bridge with a pool of Docker's, and no cable", "nobody's container is there", idle)
    six = _mesh("fd00:1::/32", prefix="fd00:1:5::1/64")
    yield _case("IPv6", "the same", six, 1, severity="warning")
    yield from _silent()


def _silent() -> Iterator[Example]:
    yield _case("own share of the mesh", "a site's LAN", _mesh("10.0.0.0/8", bridge="br0"))
    yield _case("pods of a node", "the cluster's range is wider", _mesh("10.0.0.0/8", bridge="cni0"))
    yield _case("everything", "a full tunnel", _mesh("0.0.0.0/0", route=False))
    yield _case("its halves", "wg-quick on other systems", _mesh("0.0.0.0/1", "128.0.0.0/1", route=False))
    yield _case("apart", "the ordinary host", _mesh("10.0.0.0/16"))
    down = _mesh("10.0.0.0/8")
    down.link("docker1", kind="bridge", up=False).address("docker1", "10.2.0.1/16")
    yield _case("a bridge that is down", "only the other one counts", down, 1, subject={"ifname": "docker0"})
    other = _mesh("10.1.0.1/32")
    yield _case("the host's own address", "another fault", other)
    yield _case("a quarter of everything", "as good as a full tunnel", _mesh("0.0.0.0/2", route=False))
    yield _case("inside a card's subnet", "nobody's container bridge", _mesh("192.0.2.64/26", route=False))
    lan = _mesh("10.9.0.64/26", bridge="vmbr0", prefix="10.9.0.1/24", route=False)
    yield _case("inside a bridge's subnet", "only its guests are there", lan, 1)
    lan = _mesh("10.9.0.64/26", bridge="vmbr0", prefix="10.9.0.1/24", route=False)
    lan.link("eth1", master="vmbr0").tap("tap1", master="vmbr0")
    yield _case("inside the subnet of a bridge with a card", "as behind the card", lan)
