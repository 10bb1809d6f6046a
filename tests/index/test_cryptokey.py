"""Which peer has an address, and whether any has one of a prefix: the same as asking every prefix in turn."""

import ipaddress
import random

from netdiag.index.cryptokey import cryptokey
from netdiag.model.wireguard import WireguardDevice, WireguardPeer


def device(prefixes: list[str]) -> WireguardDevice:
    peers = tuple(WireguardPeer(public_key=str(n), allowed_ips=(text,)) for n, text in enumerate(prefixes))
    return WireguardDevice(ifname="wg0", ifindex=1, peers=peers)


def test_it_is_what_a_walk_over_all_prefixes_says() -> None:
    chance = random.Random(7)
    for _ in range(200):
        nets = {
            ipaddress.ip_network((chance.getrandbits(6) << 26, chance.randint(0, 9)), strict=False) for _ in range(4)
        }
        held = cryptokey(device([str(net) for net in nets]))
        for _ in range(20):
            asked = ipaddress.ip_network((chance.getrandbits(10) << 22, chance.randint(0, 12)), strict=False)
            assert held.overlaps(str(asked)) == any(net.overlaps(asked) for net in nets)
            covering = [net for net in nets if asked.network_address in net]
            found = held.lookup(str(asked.network_address))
            assert (found.prefix if found else None) == (
                str(max(covering, key=lambda net: net.prefixlen)) if covering else None
            )


def test_the_two_versions_are_apart() -> None:
    held = cryptokey(device(["10.0.0.0/8", "::/0"]))
    assert not held.overlaps("192.0.2.0/24")
    assert held.overlaps("2001:db8::/32")
    assert (held.shortest(4), held.shortest(6)) == (8, 0)
    assert cryptokey(device([])).shortest(4) is None


def test_two_devices_that_are_alike_are_two() -> None:
    one, two = device(["10.0.0.0/8"]), device(["10.0.0.0/8"])
    assert cryptokey(one) is cryptokey(one)
    assert cryptokey(one) is not cryptokey(two)
