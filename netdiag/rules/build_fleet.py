"""Small fleets for the examples of rules: hosts with one WireGuard device each, joined by keys of one letter."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.model.snapshot import Tables
from netdiag.rules.build_wireguard import WireguardBuilder, key

NUMBERS = {letter: number for number, letter in enumerate("abcdefghijklmnop", 1)}


def underlay(letter: str) -> str:
    """The address of a member outside the tunnels."""
    return f"192.0.2.{NUMBERS[letter]}"


def inner(letter: str) -> str:
    """The address of a member inside the mesh."""
    return f"10.64.0.{NUMBERS[letter]}"


def builder(letter: str, *, address: str | None = None, mtu: int = 1420) -> WireguardBuilder:
    """A member without peers: eth0 with its underlay address, wg0 with its inner one."""
    host = WireguardBuilder()
    host.link("eth0").address("eth0", f"{underlay(letter)}/24")
    return host.wireguard("wg0", mtu=mtu).address("wg0", f"{address or inner(letter)}/24")  # type: ignore[return-value]


def peered(host: WireguardBuilder, letters: Iterable[str], **fields: Any) -> WireguardBuilder:
    """Peers of a member, each with its underlay endpoint and inner address, alive unless ``age`` says otherwise."""
    for letter in letters:
        defaults: dict[str, Any] = {"age": 30.0, "endpoint": underlay(letter), "allowed_ips": (f"{inner(letter)}/32",)}
        host.wg_peer("wg0", letter, **(defaults | fields))
    return host


def finished(letter: str, host: WireguardBuilder, *, port: int = 51820) -> Tables:
    """The tables, with the member's own key."""
    tables = host.build()
    (device,) = tables.wireguard.devices
    device = msgspec.structs.replace(device, public_key=key(letter), listen_port=port)
    return replace(tables, wireguard=msgspec.structs.replace(tables.wireguard, devices=(device,)))


def mesh(letters: str, **fields: Any) -> dict[str, Tables]:
    """A full mesh in which all is well; hosts are named fra-a, fra-b ..."""
    return {f"fra-{own}": finished(own, peered(builder(own), letters.replace(own, ""), **fields)) for own in letters}
