"""Specimens lie in their prefix, differ, and are always the same."""

import ipaddress

import pytest

from netdiag.index.specimen import specimens


@pytest.mark.parametrize(
    ("prefix", "count"),
    [
        ("192.0.2.7/32", 1),
        ("192.0.2.6/31", 2),
        ("192.0.2.4/30", 2),
        ("10.0.0.0/8", 4),
        ("0.0.0.0/0", 7),
        ("2001:db8::7/128", 1),
        ("2001:db8::/64", 4),
        ("::/0", 5),
    ],
)
def test_specimens_lie_in_their_prefix(prefix: str, count: int) -> None:
    found = specimens(prefix)
    network = ipaddress.ip_network(prefix)
    assert len(set(found)) == len(found) == count
    assert all(ipaddress.ip_address(address) in network for address in found)
    assert found == specimens(prefix)


def test_an_address_with_host_bits_is_taken_as_its_prefix() -> None:
    assert specimens("10.1.2.3/8") == specimens("10.0.0.0/8")


def test_specimens_of_a_default_route_are_public_unicast() -> None:
    for prefix in ("0.0.0.0/0", "::/0"):
        for address in map(ipaddress.ip_address, specimens(prefix)):
            assert not (address.is_multicast or address.is_loopback or address.is_link_local)


def test_what_is_no_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        specimens("eth0")
