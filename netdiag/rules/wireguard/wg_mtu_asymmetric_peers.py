"""What it checks
  Both ends of a WireGuard pair that talk to each other have devices of different MTU.

Why it matters
  What the larger side sends is cut into fragments or lost on the way of the smaller one, while the other direction is
  fine: throughput is good one way and stalls the other way.

Confirm
  ip link show dev IFNAME                   (on both hosts)
  wg show IFNAME latest-handshakes

Fix
  ip link set dev IFNAME mtu SMALLER on the side that stands alone, and in its configuration. Established connections
  adapt with the next packet.

Not flagged
  An end whose underlay is smaller, as over PPPoE or in a cloud: its device fits what lies below it, and a route or a
  clamp says so to the others; it is told as info. Pairs that have not talked for three minutes.

References
  wg-quick(8) MTU; RFC 4459
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.fleet import End, FleetView, across, on
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.shape import FleetExample, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject

RULE = Rule(
    id="wg-mtu-asymmetric-peers",
    title="two ends of a WireGuard pair have different MTUs",
    severity="warning",
    confidence="likely",
    reads=("wireguard", "links", "addresses"),
    explains=("bgp-hold-mtu-stall", "pmtud-*"),
    scope="fleet",
)
ETHERNET = 1500


def check(view: FleetView) -> Iterator[Draft]:
    edges, ends = view.edges, view.end_list
    mtu = np.array([end.link.mtu for end in ends], np.int64)
    up = np.array([end.link.up for end in ends], np.bool_)
    near, far = edges.columns.near, edges.far
    spoken = (far >= 0) & edges.alive
    spoken[spoken] &= up[near[spoken]] & up[far[spoken]]
    usual = Counter(mtu[far[spoken]].tolist())
    spoken[spoken] &= mtu[near[spoken]] != mtu[far[spoken]]
    partners: dict[int, list[End]] = defaultdict(list)
    for one, two in zip(near[spoken].tolist(), far[spoken].tolist(), strict=True):
        partners[one].append(ends[two])
    for number in sorted(partners, key=lambda number: str(ends[number].card.public_key)):
        near_at, others = ends[number], partners[number]
        if not _odd(near_at, others, usual):
            continue
        names = sorted({end.host.name for end in others})
        fits = _below(near_at) is not None and near_at.link.mtu < others[0].link.mtu
        yield RULE.found(
            subject=across((near_at.host.name, *names), device_subject(near_at.device)),
            message=f"{near_at.device.ifname} of {near_at.host.name} has mtu {near_at.link.mtu}, {', '.join(names[:3])}"
            f"{f' and {len(names) - 3} more' if len(names) > 3 else ''} at the other end {others[0].link.mtu}",
            evidence=[
                (f"mtu on {near_at.host.name}", near_at.link.mtu, f"RTM_GETLINK {near_at.device.ifname} IFLA_MTU"),
                (f"mtu on {names[0]}", others[0].link.mtu, f"RTM_GETLINK {others[0].device.ifname} IFLA_MTU"),
            ],
            confirm=[f"ip link show dev {quoted(near_at.device.ifname)}"],
            fix=f"ip link set dev {quoted(near_at.device.ifname)} mtu {others[0].link.mtu}  # on {near_at.host.name}",
            confidence="possible" if fits else "likely",
            breaks=[on(near_at.host.name, subject("link", ifname=near_at.device.ifname))],
        )


def _odd(near: End, others: list[End], usual: Counter[int]) -> bool:
    """Whether the near end is the one that stands alone; of two alike the one with the smaller name speaks."""
    mine, theirs = usual[near.link.mtu], usual[others[0].link.mtu]
    return mine < theirs or (mine == theirs and near.host.name <= min(end.host.name for end in others))


def _below(near: End) -> str | None:
    """An interface of the host, no tunnel of these, that is smaller than Ethernet's 1500: it has a smaller tunnel."""
    tunnels = {device.ifindex for device in near.host.devices}
    for link in near.host.tables.links:
        if link.up and link.ifindex not in tunnels and link.mtu < ETHERNET:
            return link.ifname
    return None


def examples() -> Iterator[FleetExample]:
    odd = mesh("abcd") | {"fra-b": finished("b", peered(builder("b", mtu=1380), "acd"))}
    about = across(("fra-a", "fra-b", "fra-c", "fra-d"), subject("wireguard-interface", ifname="wg0"))
    yield FleetExample(
        name="one stands alone", why="a template of another age", hosts=odd, fires=1, subject=about, severity="warning"
    )
    two = mesh("ab") | {"fra-b": finished("b", peered(builder("b", mtu=1412), "a"))}
    yield FleetExample(name="two hosts", why="one finding, not one for each", hosts=two, fires=1, severity="warning")
    uplinks: tuple[tuple[str, str, int, dict[str, Any], Severity], ...] = (
        ("over PPPoE", "it must be smaller", 1380, {"mtu": 1492}, "info"),
        ("over one byte less than Ethernet", "the same", 1380, {"mtu": 1499}, "info"),
        ("PPPoE that is down", "it is no reason now", 1380, {"mtu": 1492, "up": False}, "warning"),
        ("over PPPoE, and larger than the others", "that is no reason for more", 1440, {"mtu": 1492}, "warning"),
    )
    for name, why, mtu, fields, severity in uplinks:
        dsl = builder("b", mtu=mtu)
        dsl.link("ppp0", **fields)
        hosts = mesh("abcd") | {"fra-b": finished("b", peered(dsl, "acd"))}
        yield FleetExample(name=name, why=why, hosts=hosts, fires=1, severity=severity)
    idle = {name: finished(name[-1], peered(builder(name[-1], mtu=m), o, age=181.0)) for name, m, o in _idle()}
    yield FleetExample(name="idle", why="they have not talked", hosts=idle)
    yield FleetExample(name="a mesh in order", why="all alike", hosts=mesh("abc"))

    second = finished("b", peered(builder("b", mtu=1380), "acd"))
    card = msgspec.structs.replace(second.wireguard.devices[0], ifname="wg1", ifindex=9, public_key=key("p"), peers=())
    devices = msgspec.structs.replace(second.wireguard, devices=(*second.wireguard.devices, card))
    beside = replace(second, links=(*second.links, Link(ifindex=9, ifname="wg1", mtu=1420, flags=1)), wireguard=devices)
    yield FleetExample(
        name="a second tunnel beside it",
        why="its MTU is no reason",
        hosts=mesh("abcd") | {"fra-b": beside},
        fires=1,
        severity="warning",
    )
    named = WireguardBuilder()
    named.link("eth0").address("eth0", "192.0.2.2/24")
    named.wireguard("mesh", mtu=1380).wg_peer("mesh", "a", age=30, endpoint="192.0.2.1", allowed_ips=("10.64.0.1/32",))
    own = {"fra-a": mesh("ab")["fra-a"], "fra-b": finished("b", named)}
    yield FleetExample(name="two hosts, a device name each", why="still one finding", hosts=own, fires=1)
    phone = mesh("ab") | {"fra-a": finished("a", peered(builder("a"), "bp"))}
    for letter, other in ("cd", "dc"):
        phone[f"sin-{letter}"] = finished(letter, peered(builder(letter, mtu=1380), other))
    yield FleetExample(name="two meshes, and a phone", why="the MTU of the phone is not known", hosts=phone)


def _idle() -> tuple[tuple[str, int, str], ...]:
    return (("fra-a", 1420, "b"), ("fra-b", 1380, "a"))
