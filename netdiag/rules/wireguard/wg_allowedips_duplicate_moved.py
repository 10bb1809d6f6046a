"""What it checks
  A WireGuard peer that is in use but has no allowed addresses, "allowed ips: (none)": it has an endpoint, and living
  keys or a persistent keepalive. A prefix belongs to one peer of a device; giving it to another one, with wg set, wg
  addconf or twice in one file, takes it from the first without a word. Against a baseline also a peer in use that lost
  its address in the device's own subnet, and another peer of the device, known then as well, has it now. And without
  one: every peer has one address of that subnet, but for one that has two and one, in use or without any prefix, that
  has none.

Why it matters
  The peer looks well: handshakes are fresh, keepalives go both ways. But no packet is sent to it, and each one that
  comes from it is dropped, because its source address is not allowed. What was meant for it now goes to the peer that
  has its prefix.

Confirm
  wg show IFNAME allowed-ips
  wg showconf IFNAME, compared with the configuration: a prefix that stands there twice
  dmesg, with dynamic debug of the module on: "Packet has unallowed src IP"

Fix
  Find the prefix in both peers of the configuration and give each its own, then wg set IFNAME peer KEY allowed-ips
  PREFIXES (which replaces the peer's whole list, and takes the prefixes from whom has them) or wg syncconf, which
  leaves sessions alone.

Not flagged
  A peer without an endpoint, or without keepalive and handshake: prepared, waiting to be given its prefixes. A peer
  whose keys are dead and which has no keepalive: parked, told as info only. A peer with at least one prefix, where no
  baseline tells of more, and nothing of how the device's subnet is shared out (of three peers at least; of four, where
  the one in question has prefixes elsewhere). A prefix that a new peer has, or that nobody has any more, or that is
  outside the device's own subnet: a guest's, which moves with the guest. A device that is down. A peer kept warm on
  purpose with a keepalive and no prefixes looks exactly like the fault: suppress it.

References
  drivers/net/wireguard/allowedips.c add(), which moves a node to its new peer; receive.c
  wg_packet_consume_data_done(); wg(8) "allowed-ips"
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.expected import since
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import (
    REJECT_AFTER_TIME,
    device_subject,
    devices,
    endpoint_word,
    peer_subject,
    source,
)

RULE = Rule(
    id="wg-allowedips-duplicate-moved",
    title="a WireGuard peer in use has lost its allowed addresses",
    severity="warning",
    confidence="likely",
    reads=("links", "wireguard"),
    consults=("baseline", "addresses"),
    explains=(
        "wg-allowedips-without-route",
        "wg-route-without-allowedips",
        "wg-no-endpoint-tx",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
        "dns-nameserver-unroutable",
    ),
)


def in_use(peer: WireguardPeer, at: float) -> Confidence | None:
    """How surely a peer without prefixes is meant to have some; None: nothing says that it is."""
    if peer.endpoint is None:
        return None
    if peer.persistent_keepalive:
        return "likely"
    if peer.latest_handshake is None:
        return None
    return "likely" if at - peer.latest_handshake <= REJECT_AFTER_TIME else "possible"


def check(view: HostView) -> Iterator[Draft]:
    at = view.wireguard.at
    for device, link in devices(view):
        if not link.up:
            continue
        yield from _taken(view, device)
        robbed = _robbed(view, device)
        for peer in device.peers:
            confidence = in_use(peer, at) if not peer.allowed_ips else None
            if confidence is not None and peer is not (robbed and robbed[0]):
                yield _finding(device, peer, at, confidence)
        if robbed is not None:
            yield _of_two(view, device, *robbed)


def inside(prefix: str, subnet: IPv4Network | IPv6Network) -> bool:
    """Whether a prefix is a part of a subnet, and not all of it."""
    net = ip_network(prefix, strict=False)
    return net.version == subnet.version and net != subnet and net.subnet_of(subnet)  # type: ignore[arg-type]


def _robbed(view: HostView, device: WireguardDevice) -> tuple[WireguardPeer, WireguardPeer, list[str]] | None:
    """A peer without an address in a subnet of the device of which every other one has one, but for a single peer that
    has two; that one, and its two. None: the subnet is not shared out like that."""
    for subnet in _subnets(view, device):
        held = [[one for one in peer.allowed_ips if inside(one, subnet) and whole(one)] for peer in device.peers]
        counts = sorted(map(len, held))
        if counts[:2] != [0, 1] or counts[-2:] != [1, 2]:
            continue
        poor, rich = device.peers[[*map(len, held)].index(0)], device.peers[[*map(len, held)].index(2)]
        alive = in_use(poor, view.wireguard.at) == "likely"  # one that is, without any prefix, tells by itself
        if alive and len(counts) >= 4 if poor.allowed_ips else not alive and poor.endpoint is not None:
            return poor, rich, held[device.peers.index(rich)]
    return None


def whole(prefix: str) -> bool:
    """Whether a prefix is one address."""
    return prefix.endswith("/128" if ":" in prefix else "/32")


def _subnets(view: HostView, device: WireguardDevice) -> list[IPv4Network | IPv6Network]:
    mine = (row for row in view.addresses if view.ifname(row.ifindex) == device.ifname)
    return [ip_network(f"{row.local}/{row.prefixlen}", strict=False) for row in mine]


def _of_two(
    view: HostView, device: WireguardDevice, peer: WireguardPeer, other: WireguardPeer, held: list[str]
) -> Draft:
    name = device.ifname
    return RULE.found(
        subject=peer_subject(device, peer),
        message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)} has no address of {name}'s subnet, and "
        f"peer {other.public_key} has two, {' and '.join(held)}; every other one has one: what is for it goes there",
        evidence=[
            (
                "allowed ips",
                ", ".join(peer.allowed_ips) or "(none)",
                source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip"),
            ),
            (f"allowed ips of {other.public_key}", ", ".join(other.allowed_ips), "the same"),
            (f"peers of {name} with one address of its subnet", len(device.peers) - 2, "the same"),
        ],
        confirm=[f"wg show {quoted(name)} allowed-ips"],
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} allowed-ips "
        f"{','.join([*peer.allowed_ips, 'ADDRESS'])}  # with the address of its configuration",
        touches=[device_subject(device), peer_subject(device, other)],
        breaks=[
            subject("link", ifname=name),
            *(subject("neighbour", dst=one.partition("/")[0], ifname=name) for one in held),
        ],
    )


def _taken(view: HostView, device: WireguardDevice) -> Iterator[Draft]:
    """Peers in use that lost part of their prefixes to others since the baseline."""
    old = view.baseline
    if old is None or not old.read_whole("wireguard"):
        return
    before = {
        one.public_key: one for each in old.wireguard.devices if each.ifname == device.ifname for one in each.peers
    }
    subnets = _subnets(view, device)
    holder = {prefix: peer for peer in device.peers for prefix in peer.allowed_ips}
    for peer in device.peers:
        then = before.get(peer.public_key)
        if then is None or not peer.allowed_ips or in_use(peer, view.wireguard.at) != "likely":
            continue
        lost = [
            (prefix, other)
            for prefix in then.allowed_ips
            if any(inside(prefix, subnet) for subnet in subnets)
            and (other := holder.get(prefix)) is not None
            and other is not peer
            and other.public_key in before
        ]
        if lost:
            prefix, other = lost[0]
            more, name = f" and {len(lost) - 1} more" if len(lost) > 1 else "", device.ifname
            yield RULE.found(
                subject=peer_subject(device, peer),
                message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)} lost {prefix}{more} to peer "
                f"{other.public_key} {since(old)}: what is for it goes there, and what it sends from there is dropped",
                evidence=[
                    (f"{prefix} belonged to", peer.public_key, f"allowed ips of {name}, {since(old)}"),
                    (f"{prefix} belongs to", other.public_key, source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
                ],
                confirm=[f"wg show {quoted(name)} allowed-ips"],
                fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} allowed-ips {','.join(then.allowed_ips)}",
                touches=[device_subject(device), peer_subject(device, other)],
                breaks=[subject("link", ifname=name), *(subject("route", dst=one, table=254) for one, _ in lost)],
            )


def _finding(device: WireguardDevice, peer: WireguardPeer, at: float, confidence: Confidence) -> Draft:
    name = device.ifname
    if peer.latest_handshake is None:
        life = f"with a keepalive of {peer.persistent_keepalive} s"
    else:
        life = f"with a handshake {round(at - peer.latest_handshake)} s ago"
    holders = sum(bool(other.allowed_ips) for other in device.peers)
    return RULE.found(
        subject=peer_subject(device, peer),
        message=f"peer {peer.public_key} of {name} at {endpoint_word(peer)}, {life}, has no allowed addresses: "
        "nothing is sent to it, and what comes from it is dropped",
        evidence=[
            ("allowed ips", "(none)", source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
            (
                "persistent keepalive",
                peer.persistent_keepalive or "off",
                source(device, "WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", "persistent_keepalive_interval"),
            ),
            (f"other peers of {name} with prefixes", holders, source(device, "WGDEVICE_A_PEERS", "public_key")),
        ],
        confirm=[f"wg show {quoted(name)} allowed-ips"],
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} allowed-ips PREFIXES  # those of its configuration, "
        "after the peer that took them was given its own",
        confidence=confidence,
        touches=[device_subject(device), subject("link", ifname=name)],
        breaks=[subject("link", ifname=name)],
    )


def examples() -> Iterator[Example]:
    yield from _fault_examples()
    yield from _quiet_examples()
    yield from _taken_examples()
    yield from _shared_examples()


def _shared_examples() -> Iterator[Example]:
    """A mesh whose peers have one address of 10.0.0.0/24 each, and maybe a network behind them."""

    def mesh(*allowed: tuple[str, ...], age: float | None = 20, up: bool = True, **first: Any) -> WireguardBuilder:
        made = WireguardBuilder().wireguard("wg0", up=up)
        made.address("wg0", "10.0.0.1/24").address("wg0", "fd00::1/64")
        for letter, prefixes in zip("abcdef", allowed, strict=False):
            more = first if letter == "a" else {}
            made.wg_peer("wg0", letter, age=age if letter == "a" else 20, allowed_ips=prefixes, **more)
        return made

    pair = ("10.9.0.2/32", "10.9.0.3/32")
    net, two, three, four = ("10.7.0.0/24",), ("10.0.0.2/32", "10.0.0.3/32"), ("10.0.0.4/32",), ("10.0.0.5/32",)
    at: dict[str, Any] = {"endpoint": "192.0.2.2"}
    says = ("has two, 10.0.0.2/32 and 10.0.0.3/32",)
    for name, why, made, fires in (
        ("one has a network alone", "it lost its address", mesh(net, two, three, four, **at), 1),
        ("IPv6", "the same", mesh(net, ("fd00::2/128", "fd00::3/128"), ("fd00::4/128",), ("fd00::5/128",), **at), 1),
        ("two peers have one", "a pattern needs more", mesh(net, two, three, **at), 0),
        ("and is idle", "a site without an address", mesh(net, two, three, four, age=900, **at), 0),
        ("nobody has two", "a site without an address", mesh(net, two[:1], three, four, **at), 0),
        ("several have two", "addresses are given freely", mesh(net, two, (*three, "10.0.0.9/32"), four, **at), 0),
        ("several have none", "sites", mesh(net, two, three, ("10.8.0.0/24",), four, **at), 0),
        ("one has three", "a router of its own kind", mesh(net, (*two, "10.0.0.9/32"), three, four, **at), 0),
        ("the two are of another subnet", "it is not shared out", mesh(net, pair, three, four, **at), 0),
        ("a network and an address", "its own", mesh(net, ("10.0.0.2/32", "10.0.0.64/26"), three, four, **at), 0),
        ("down", "wg-iface-down says it", mesh(net, two, three, four, up=False, **at), 0),
        ("nothing, not known where", "it was made in advance", mesh((), two, three, endpoint=None), 0),
        ("not known where it is", "it was made in advance", mesh(net, two, three, four, endpoint=None), 0),
    ):  # fmt: skip
        yield Example(
            name=f"one address each, {name}",
            why=why,
            tables=made.build(),
            fires=fires,
            severity="warning" if fires else None,
        )
    yield Example(
        name="one address each, one has nothing, living keys",
        why="that it has nothing says more",
        tables=mesh((), two, three, **at).build(),
        fires=1,
        says=("with a handshake 20 s ago, has no allowed addresses",),
    )
    yield Example(
        name="one address each, one lost its own since the baseline",
        why="one fault, one finding: the baseline knows whose it was",
        tables=mesh(net, two, three, four, **at).build(),
        baseline=mesh((*net, two[0]), two[1:], three, four, **at).build(),
        fires=1,
        says=("lost 10.0.0.2/32 to peer",),
    )
    for age in (9000, None):
        made = mesh((), two, three, age=age, **at)
        yield Example(
            name=f"one address each, one has nothing, keys of {age} s",
            why="it lost its address",
            tables=made.build(),
            fires=1,
            subject=ABOUT,
            severity="warning",
            says=says,
        )


ABOUT = subject("wireguard-peer", ifname="wg0", public_key=key("a"))


def _host(
    *, up: bool = True, userspace: bool = False, allowed_ips: tuple[str, ...] = (), **peer: Any
) -> WireguardBuilder:
    """A device with the peer in question and another one that has its prefix."""
    host = WireguardBuilder().wireguard("wg0", up=up, userspace=userspace)
    return host.wg_peer("wg0", "a", allowed_ips=allowed_ips, **peer).wg_peer("wg0", "b", age=20)


def _taken_examples() -> Iterator[Example]:
    """Two peers, of which the first had 10.0.0.2/32 and fd00:2::/48 at the time of the baseline."""

    def host(
        first: tuple[str, ...], second: tuple[str, ...], *names: str, age: float = 20, on: str = "wg0"
    ) -> WireguardBuilder:
        made = WireguardBuilder().wireguard(on)
        made.address(on, "10.0.0.1/24").link("eth0").address("eth0", "fd00::1/16")
        for name, allowed in zip(names or ("a", "b"), (first, second), strict=False):
            made.wg_peer(on, name, age=age, endpoint="192.0.2.2", allowed_ips=allowed)
        return made

    mine, its = ("10.0.0.2/32", "fd00:2::/48"), ("10.0.0.3/32",)
    moved = (("fd00:2::/48",), ("10.0.0.3/32", "10.0.0.2/32"))
    for name, now, then, fires in (
        ("it went to the other", host(*moved), host(mine, its), 1),
        ("nobody has it now", host(("fd00:2::/48",), its), host(mine, its), 0),
        ("a new peer has it", host(*moved), host(mine, (), "a"), 0),
        ("it is not in use", host(*moved, age=9000), host(mine, its), 0),
        ("as it was", host(mine, its), host(mine, its), 0),
        ("all went to the other", host((), (*its, *mine)), host(mine, its), 1),
        ("it was the whole subnet", host(("10.9.0.0/24",), ("10.0.0.0/24",)), host(("10.0.0.0/24",), its), 0),
        ("it was of another network", host(("10.8.0.0/24",), ("10.9.0.0/16",)), host(("10.9.0.0/16",), its), 0),
        ("it was another device's", host(*moved), host(mine, its, on="wg1"), 0),
        ("it was a guest's", host(mine[:1], (*its, mine[1])), host(mine, its), 0),
    ):
        about = ABOUT if fires else None
        yield Example(name=f"a prefix of the baseline, and {name}", why=name, tables=now.build(),
                      baseline=then.build(), fires=fires, subject=about)  # fmt: skip
    tables, old = host(*moved).build(), host(mine, its).build()
    yield Example(name="a baseline without WireGuard", why="whose it was cannot be said", tables=tables,
                  baseline=old, late_then=("wireguard",))  # fmt: skip


def _fault_examples() -> Iterator[Example]:
    for userspace in (False, True):
        for endpoint in ("192.0.2.2", "2001:db8::2"):
            yield Example(
                name=f"living keys, {endpoint}, {'userspace' if userspace else 'kernel'}",
                why="the far end still talks, and everything that it says is dropped",
                tables=_host(age=180, endpoint=endpoint, userspace=userspace).build(),
                fires=1,
                subject=ABOUT,
                severity="warning",
                confidence="likely",
                says=("with a handshake 180 s ago, has no allowed addresses", "other peers of wg0 with prefixes 1"),
            )
    yield Example(
        name="keepalive",
        why="somebody wants this peer now",
        tables=_host(persistent_keepalive=25).build(),
        fires=1,
        subject=ABOUT,
        severity="warning",
        confidence="likely",
        says=("with a keepalive of 25 s, has no allowed addresses",),
    )
    yield Example(
        name="keepalive and old keys",
        why="a peer that is wanted and does not answer either",
        tables=_host(age=9000, persistent_keepalive=25).build(),
        fires=1,
        severity="warning",
    )
    yield Example(
        name="dead keys, no keepalive",
        why="parked or forgotten: nobody talks",
        tables=_host(age=181).build(),
        fires=1,
        severity="info",
        confidence="possible",
    )


def _quiet_examples() -> Iterator[Example]:
    yield Example(
        name="one prefix left",
        why="an IPv6 address moved on purpose is no loss of all",
        tables=_host(age=20, allowed_ips=("fd00::2/128",)).build(),
    )
    yield Example(name="prepared", why="an endpoint, and prefixes when it is needed", tables=_host().build())
    yield Example(
        name="no endpoint yet",
        why="made in advance, with the keepalive of all peers",
        tables=_host(endpoint=None, persistent_keepalive=25).build(),
    )
    yield Example(
        name="device down",
        why="wg-iface-down says what matters",
        tables=_host(age=20, persistent_keepalive=25, up=False).build(),
    )
    yield Example(
        name="interface in another namespace",
        why="it is not this namespace's peer",
        tables=_host(age=20, userspace=True).elsewhere("wg0").build(),
    )
