"""Which addresses are the host's own, and which subnet holds one."""

import pytest

from netdiag.index.local import LocalAddresses
from netdiag.model.address import IFA_F_TENTATIVE
from netdiag.rules.build import HostBuilder


def host() -> LocalAddresses:
    builder = HostBuilder().link("eth0").link("eth1")
    builder.address("eth0", "192.0.2.1/24").address("eth1", "2001:db8::1/64")
    builder.address("eth1", "2001:db8::2/64", flags=IFA_F_TENTATIVE)
    builder.route("127.0.0.0/8", dev="lo", type="local", table=255, scope=254)
    builder.route("198.51.100.0/24", dev="lo", type="local", table=255, scope=254)
    builder.route("203.0.113.0/24", dev="lo", type="local", table=100, scope=254)
    return LocalAddresses(builder.build())


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        ("inet", "192.0.2.1", True),
        ("inet", "192.0.2.2", False),
        ("inet", "192.0.2.255", False),
        ("inet", "127.9.9.9", True),
        ("inet", "198.51.100.77", True),
        ("inet", "203.0.113.5", False),
        ("inet6", "2001:db8::1", True),
        ("inet6", "2001:0db8::0:1", True),
        ("inet6", "2001:db8::2", False),
        ("inet6", "2001:db8::3", False),
        ("inet6", "::1", True),
    ],
    ids=lambda value: str(value),
)
def test_what_is_local(family: str, address: str, expected: bool) -> None:
    assert host().is_local(family, address) is expected


def test_connected_names_the_addresses_whose_subnet_holds_it() -> None:
    local = host()
    assert [a.local for a in local.connected("192.0.2.77")] == ["192.0.2.1"]
    assert [a.local for a in local.connected("192.0.2.0/25")] == ["192.0.2.1"]
    assert local.connected("192.0.0.0/16") == ()
    assert [a.local for a in local.connected("2001:db8::99")] == ["2001:db8::1", "2001:db8::2"]


def test_text_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="hello"):
        host().owners("hello")
