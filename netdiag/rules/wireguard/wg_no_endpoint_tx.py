"""What it checks
  This host sends to a WireGuard peer whose endpoint is not known: between the two looks the kernel counted packets that
  the interface could not send (tx_errors), while a peer without an endpoint has allowed addresses. Of a userspace
  daemon: packets went into the interface, and nothing went to any peer.

Why it matters
  A program gets EDESTADDRREQ ("Destination address required"), a forwarded packet is dropped. WireGuard does not know
  where to send until the peer has called once, or until an endpoint is set; after a restart of this side nobody
  remembers where the peer was.

Confirm
  wg show IFNAME endpoints
  ip -s link show dev IFNAME
  ping -c1 ADDRESS_OF_THE_PEER

Fix
  wg set IFNAME peer KEY endpoint ADDRESS:PORT; it disturbs nobody else. If the peer is one that calls (behind NAT, a
  client), look why it does not, and give it a persistent keepalive.

Not flagged
  Peers without an endpoint to which nothing is sent: they will call. Errors of an interface all of whose peers have
  endpoints. A gateway for clients that come when they want, most of whose peers have no endpoint while one has called:
  somebody asked for a client that is away; told as info. No more packets than the host sent to groups meanwhile: those
  are no peer's. With --interval 0 there is nothing to compare.

References
  drivers/net/wireguard/device.c wg_xmit() "-EDESTADDRREQ"; wg(8) "endpoint"
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, Stats64
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import REJECT_AFTER_TIME, device_subject, peer_subject, second_looks, source
from netdiag.rules.wireguardways import alive, device_objects

RULE = Rule(
    id="wg-no-endpoint-tx",
    title="packets are sent to a WireGuard peer whose endpoint is not known",
    severity="warning",
    confidence="likely",
    reads=("links", "deltas", "wireguard"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down"),
)

CALLERS = 8
"""Peers without an endpoint from which on they are clients, not members of a mesh that lost their addresses."""
GROUPS = ("IpExt.OutMcastPkts", "IpExt.OutBcastPkts", "Ip6OutMcastPkts")


def moved(view: HostView, link: Link, counter: str) -> int:
    """How far a counter of the interface moved; 0 where it was made anew."""
    samples = []
    for sample in (view.deltas.first, view.deltas.second):
        samples.append(next((row.stats for row in sample.links if row.ifindex == link.ifindex), None))
    first, second = samples
    return max(0, getattr(second, counter) - getattr(first, counter)) if first and second else 0


def to_groups(view: HostView) -> int:
    """Packets to groups that the host sent, by whichever interface: nobody counts them for each. They are no peer's,
    and a new interface reports its groups (RFC 3810 section 6.1)."""
    return sum(view.deltas.snmp(counter) or 0 for counter in GROUPS)


def quiet(view: HostView, device: WireguardDevice) -> bool:
    """Whether nothing went to any peer, though every one that could have been sent to has living keys."""
    later = second_looks(view)
    for peer in device.peers:
        row = later.get((device.ifname, peer.public_key))
        if row is None or row.tx_bytes != peer.tx_bytes:
            return False
        young = peer.latest_handshake is not None and view.wireguard.at - peer.latest_handshake <= REJECT_AFTER_TIME
        if peer.endpoint is not None and not young:
            return False  # a packet may wait for a handshake
    return True


def of_callers(device: WireguardDevice) -> bool:
    """Whether its peers come and go, and some are here: sending to one that is away is daily life."""
    absent = sum(peer.endpoint is None for peer in device.peers)
    return absent >= CALLERS and absent * 2 > len(device.peers) > absent


def check(view: HostView) -> Iterator[Draft]:
    for device, link in alive(view):
        waiting = [peer for peer in device.peers if peer.endpoint is None and peer.allowed_ips]
        if not waiting:
            continue
        counter = "tx_packets" if device.userspace else "tx_errors"
        count = moved(view, link, counter)
        if count > to_groups(view) and (not device.userspace or quiet(view, device)):
            yield _finding(view, device, waiting, counter, count)


def _finding(view: HostView, device: WireguardDevice, waiting: list[WireguardPeer], counter: str, count: int) -> Draft:
    name, peer = device.ifname, waiting[0]
    which = f"peer {peer.public_key}" if len(waiting) == 1 else f"{len(waiting)} peers"
    return RULE.found(
        subject=peer_subject(device, peer) if len(waiting) == 1 else device_subject(device),
        message=f"{count} packets could not be sent by {name} within {view.deltas.seconds:.1f} s: {which} "
        f"({', '.join(peer.allowed_ips[:2])}) {'has' if len(waiting) == 1 else 'have'} no endpoint",
        evidence=[
            (f"{name} {counter}", f"+{count}", f"RTM_GETLINK {name} IFLA_STATS64"),
            ("endpoint", "(none)", source(device, "WGPEER_A_ENDPOINT", "endpoint")),
        ],
        confidence="possible" if of_callers(device) else None,
        confirm=[f"wg show {quoted(name)} endpoints", f"ip -s link show dev {quoted(name)}"],
        fix=f"wg set {quoted(name)} peer {quoted(peer.public_key)} endpoint ADDRESS:PORT",
        touches=device_objects(device),
        breaks=[
            subject("neighbour", dst=text.partition("/")[0], ifname=name) for one in waiting for text in one.allowed_ips
        ],
    )


def _host(
    *,
    endpoint: str | None = None,
    errors: int = 3,
    userspace: bool = False,
    tx: int = 0,
    counter: str = "tx_errors",
    groups: dict[str, int] | None = None,
) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0", userspace=userspace)
    host.wg_peer("wg0", "a", endpoint=endpoint).wg_peer("wg0", "b", age=20, allowed_ips=("10.0.0.3/32",))
    host.second_look("wg0", "a", seconds=1).second_look("wg0", "b", tx=tx, seconds=1)
    host.link("eth0")
    rows = [
        (host.link_counters("eth0"), host.link_counters("wg0", stats=Stats64(**{counter: number})))
        for number in (10, 10 + errors)
    ]
    none = dict.fromkeys(GROUPS, 0)
    host.counters(before={"snmp": none, "links": rows[0]}, after={"snmp": none | (groups or {}), "links": rows[1]})
    return host


def examples() -> Iterator[Example]:
    about = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
    yield Example(
        name="errors and a peer without an endpoint",
        why="the kernel had nowhere to send",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="warning",
        says=("3 packets could not be sent by wg0",),
    )
    daemon = _host(userspace=True, counter="tx_packets")
    yield Example(
        name="a daemon", why="packets went in and none came out", tables=daemon.build(), fires=1, subject=about
    )
    two = _host().wg_peer("wg0", "c", endpoint=None, allowed_ips=("10.0.0.4/32",))
    yield Example(
        name="two of them",
        why="nobody knows which one",
        tables=two.build(),
        fires=1,
        subject=subject("wireguard-interface", ifname="wg0"),
    )
    for absent, here, severity in (
        (8, 1, "info"),
        (8, 7, "info"),
        (8, 8, "warning"),
        (7, 1, "warning"),
        (9, 0, "warning"),
    ):
        gate = WireguardBuilder().wireguard("wg0")
        for number in range(absent):
            gate.wg_peer("wg0", f"away{number}", endpoint=None, allowed_ips=(f"10.1.0.{number}/32",))
        for number in range(here):
            gate.wg_peer("wg0", f"here{number}", age=20, allowed_ips=(f"10.2.0.{number}/32",))
        first, last = ({"links": (gate.link_counters("wg0", stats=Stats64(tx_errors=at)),)} for at in (1, 9))
        none = {"snmp": dict.fromkeys(GROUPS, 0)}
        gate.counters(before=none | first, after=none | last)
        yield Example(
            name=f"{absent} peers away and {here} here",
            why="clients that come when they want" if severity == "info" else "a mesh that lost where its members are",
            tables=gate.build(),
            fires=1,
            severity="info" if severity == "info" else "warning",
        )
    yield Example(name="no errors", why="it will call", tables=_host(errors=0).build())
    yield Example(name="errors elsewhere", why="all have endpoints", tables=_host(endpoint="192.0.2.9").build())
    busy = _host(userspace=True, counter="tx_packets", tx=500)
    yield Example(name="a daemon that sends", why="the packets went to another peer", tables=busy.build())
    idle = _host(userspace=True, counter="tx_packets", errors=0)
    yield Example(name="an idle daemon", why="nothing was sent", tables=idle.build())
    for counter in GROUPS:
        for count, fires in ((2, 1), (3, 0)):
            told = _host(groups={counter: count}).build()
            yield Example(name=f"{counter} {count}", why="a new interface reports its groups", tables=told, fires=fires)
    back = _host(errors=-3)
    yield Example(name="a counter that went back", why="the interface was made anew", tables=back.build())
    for when in ("before", "after"):
        made = _host()
        rows = {"links": (made.link_counters("wg0", stats=Stats64(tx_errors=9)),)}
        made.counters(before={} if when == "before" else rows, after={} if when == "after" else rows)
        yield Example(name=f"not there {when}", why="nothing can be compared", tables=made.build())
    nothing = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint=None, allowed_ips=())
    first, last = ({"links": (nothing.link_counters("wg0", stats=Stats64(tx_errors=number)),)} for number in (1, 9))
    nothing.counters(before=first, after=last)
    yield Example(name="a peer without prefixes", why="nothing can be meant for it", tables=nothing.build())
    for age, fires in ((180, 1), (181, 0)):
        late = (
            _host(userspace=True, counter="tx_packets").wg_peer("wg0", "c", age=age).second_look("wg0", "c", seconds=1)
        )
        yield Example(
            name=f"a daemon, and keys {age} s old",
            why="a packet may wait for a handshake",
            tables=late.build(),
            fires=fires,
        )
    new = _host(userspace=True, counter="tx_packets").wg_peer("wg0", "c", age=20)
    yield Example(name="a daemon with a new peer", why="the packets may have gone there", tables=new.build())
