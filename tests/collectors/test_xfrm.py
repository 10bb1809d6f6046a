"""IPsec policies here; states with their keys in the guest: in_guest_xfrm.py beside this file holds those tests."""

from __future__ import annotations

import pytest

from netdiag.collectors import Options, xfrm
from netdiag.sources.live import LiveSource
from netdiag.sources.netlink.messages import pack_message
from netdiag.sources.netlink.requests import attribute
from netdiag.sources.netlink.xfrm import NEWSA, SA_SIZE, blank
from tests.lab import Lab
from tests.vm.oneboot import InGuest


def test_policies(lab: Lab) -> None:
    host = lab.host("edge1")
    host.ip(
        "xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 9\n"
        "xfrm policy add src 2001:db8:2::/48 dst 2001:db8:1::/48 dir fwd action block"
    )
    table = host.call(lambda: xfrm.collect(LiveSource(), Options(interval=0))).tables["xfrm"]
    found = {row.dir: row for row in table.policies}
    assert (found["out"].src, found["out"].dst, found["out"].priority) == ("10.1.0.0/16", "10.2.0.0/16", 9)
    assert (found["fwd"].src, found["fwd"].action) == ("2001:db8:2::/48", "block")
    status, output, _ = host.netdiag("show", "xfrm")
    assert (status, output.count("policy")) == (0, 2)


def test_what_is_not_known_to_be_harmless_is_blanked() -> None:
    """The key of an algorithm, and an attribute of a number that no kernel has yet."""
    secret = b"\xc0\xff\xee" * 8
    body = bytes(SA_SIZE) + attribute(2, b"cbc(aes)".ljust(64, b"\0") + b"\x80\0\0\0" + secret)
    body += attribute(99, secret) + attribute(31, b"\5\0\0\0") + secret[:6]
    buffer = bytearray(pack_message(NEWSA, 0, 1, body) + pack_message(0x77, 0, 1, secret))
    blank(memoryview(buffer))
    assert b"\xc0\xff\xee" not in buffer
    assert b"cbc(aes)" in buffer
    assert b"\5\0\0\0" in buffer


@pytest.mark.in_guest("tests/collectors/in_guest_xfrm.py")
def test_in_the_guest(in_guest: InGuest) -> None:
    in_guest.passed(4)
