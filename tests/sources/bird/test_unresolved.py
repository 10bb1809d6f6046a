"""BIRD's unreachable routes with their attributes, as 2.0.12 prints them."""

from netdiag.model.bird import SentRoute
from netdiag.sources.bird import replies, unresolved

REPLY = """1007-Table master4:
 10.60.0.0/24         unreachable [up1 23:57:34.477 from 192.0.2.2] * (100) [i]
1008-\tType: BGP univ
1012-\tBGP.origin: IGP
 \tBGP.next_hop: 10.77.7.7
 \tBGP.local_pref: 100
1007-10.50.4.0/24         unreachable [s1 23:57:33.704] * (200)
1008-\tType: static univ
1007-10.61.0.0/24         unreachable [up1 23:57:34.477 from 192.0.2.2] (100) [i]
                     unreachable [up2 23:57:34.477 from 192.0.2.3] * (100) [i]
 \tBGP.next_hop: fd00::1 fe80::1
 \tBGP.community: (65535,666) (65000,1)
 \tBGP.large_community: (65000, 1, 2)
0000 """
STATIC = ["1009-10.50.4.0/24\trecursive 10.99.99.99", " 10.50.5.0/24\tunreachable", "0000 "]


def test_attributes_and_recursion() -> None:
    found = unresolved.routes(REPLY.split("\n"), unresolved.recursive(STATIC))
    assert [(row.net, row.protocol, row.best, row.next_hop, row.recursive) for row in found] == [
        ("10.60.0.0/24", "up1", True, "10.77.7.7", False),
        ("10.50.4.0/24", "s1", True, "10.99.99.99", True),
        ("10.61.0.0/24", "up1", False, None, False),
        ("10.61.0.0/24", "up2", True, "fd00::1", False),
    ]
    assert found[3].communities == ("65535:666", "65000:1", "65000:1:2")
    assert {row.table for row in found} == {"master4"}


SENT = """1007-203.0.113.7/32       blackhole [service 11:14:01.123] * (200)
1008-\tType: static univ
1012-\tBGP.as_path: 65001 65001
 \tBGP.med: 50
 \tBGP.community: (65535,65281) (65010,80)
 \tBGP.large_community: (65001, 1, 2)
1007-203.0.113.8/32       blackhole [service 11:14:01.123] * (200)
1008-\tType: static univ
1012-\tBGP.as_path:
 \tBGP.med: odd
0000 """


def test_what_a_session_is_sent() -> None:
    assert unresolved.sent(SENT.split("\n")) == (
        SentRoute(
            net="203.0.113.7/32",
            as_path=("65001", "65001"),
            communities=("65001:1:2", "65010:80", "65535:65281"),
            med=50,
        ),
        SentRoute(net="203.0.113.8/32"),
    )
    assert unresolved.sent(["", " ", "\tBGP.med: 5", "0000 "]) == ()


def test_odd_lines_are_passed_over() -> None:
    assert unresolved.routes(["", " ", "\tBGP.next_hop: 10.0.0.1", "0000 "], {}) == ()
    assert unresolved.recursive(["", "x", "0000 "]) == {}


def test_a_route_that_the_kernel_refused_is_the_best_one() -> None:
    lines = [
        "1007-10.50.4.0/24         unicast [s1 23:57:33.704] ! (200)",
        "1007-\tvia 10.20.0.1 on eth1",
        "1007-                     unicast [s2 23:57:33.704] (100)",
    ]
    assert [(row.protocol, row.best) for row in replies.routes(lines)] == [("s1", True), ("s2", False)]
