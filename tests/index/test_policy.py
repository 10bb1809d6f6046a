"""Routing decisions on hosts that a test writes down: what a random host or this kernel cannot show.

Whether the decisions are the kernel's is shown by test_kernel_agreement, test_kernel_surprises and test_in_guest.
"""

import errno
import time

import pytest

from netdiag.index.policy import Lookup, Query, Routing
from netdiag.model.link import IFF_UP
from netdiag.model.nexthop import NexthopMember
from netdiag.model.route import RTNH_F_DEAD, RTNH_F_LINKDOWN
from netdiag.rules.build import HostBuilder


def host() -> HostBuilder:
    """Three interfaces, each with a subnet of both families, and default routes by the first."""
    builder = HostBuilder()
    for n in range(3):
        builder.link(f"eth{n}").address(f"eth{n}", f"10.{n}.0.1/24").address(f"eth{n}", f"2001:db8:{n}::1/64")
    return builder.route("default", via="10.0.0.9", dev="eth0").route("default", via="2001:db8::9", dev="eth0")


def four(builder: HostBuilder, dst: str = "192.0.2.1", **fields: object) -> Lookup:
    return Routing(builder.build()).lookup(Query(family="inet", dst=dst, **fields))  # type: ignore[arg-type]


def six(builder: HostBuilder, dst: str = "fd00::1", **fields: object) -> Lookup:
    return Routing(builder.build()).lookup(Query(family="inet6", dst=dst, **fields))  # type: ignore[arg-type]


def test_an_answer_names_route_rule_table_hop_and_source() -> None:
    answer = four(
        host().rule(100, table=100, fwmark=7).route("192.0.2.0/24", via="10.1.0.9", dev="eth1", table=100), mark=7
    )
    assert answer.ok and answer.certain
    assert (answer.type, answer.table, answer.prefixlen, answer.gateway) == ("unicast", 100, 24, "10.1.0.9")
    assert answer.rule is not None and answer.rule.priority == 100
    assert answer.hops[0].src == "10.1.0.1"
    assert [step.text for step in answer.steps] == ["lookup 255: no route", "lookup 100: route found"]
    assert [step.decisive for step in answer.steps] == [False, True]


def test_a_rule_that_does_not_match_says_which_selector() -> None:
    builder = (
        host()
        .rule(10, table=100, fwmark=7)
        .rule(11, table=100, iif="eth1")
        .rule(12, table=100, src="10.9.0.0", src_len=16)
    )
    builder.rule(13, table=100, uid_start=5, uid_end=9).rule(14, table=100, dport_start=53, dport_end=53)
    builder.rule(15, table=100, invert=True).rule(16, action="goto", goto=99).rule(17, action="nop")
    words = [step.text for step in four(builder).steps]
    assert words == [
        "lookup 255: no route",
        *(f"not matched: {why}" for why in ("fwmark", "iif", "from", "uidrange", "dport", "inverted")),
        "goto 99: there is no such rule",
        "nop",
        "lookup 254: route found",
    ]


@pytest.mark.parametrize(
    ("action", "number"),
    [
        ("blackhole", errno.EINVAL),
        ("unreachable", errno.ENETUNREACH),
        ("prohibit", errno.EACCES),
        ("act9", errno.EINVAL),
    ],
)
@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_a_rule_can_refuse_by_itself(action: str, number: int, family: str) -> None:
    builder = host().rule(10, family=family, action=action)
    answer = four(builder) if family == "inet" else six(builder)
    assert (answer.errno, answer.route, answer.type) == (number, None, None)
    assert answer.rule is not None and answer.rule.action == action


@pytest.mark.parametrize("invert", [False, True])
def test_a_rule_with_unknown_selectors_is_followed_both_ways(invert: bool) -> None:
    builder = host().rule(10, table=100, unknown=1, invert=invert).route("192.0.2.0/24", dev="eth1", table=100)
    answer = four(builder)
    assert {each.table for each in (answer, *answer.alternatives)} == {100, 254}
    assert "does not know" in answer.notes[0]
    assert not answer.certain


def test_unknown_selectors_do_not_matter_where_a_known_one_says_no() -> None:
    assert four(host().rule(10, table=100, fwmark=7, unknown=1)).certain


def test_many_unclear_rules_do_not_multiply_for_ever() -> None:
    builder = host()
    for priority in range(10, 60):
        builder.rule(priority, action="goto", goto=priority + 1, unknown=1)
    began = time.process_time()
    assert four(builder).ok
    assert time.process_time() - began < 5


def test_a_rule_that_jumps_back_cannot_hang_us() -> None:
    """The kernel refuses such a rule; a snapshot may claim it."""
    assert four(host().rule(10, action="goto", goto=10).rule(11, action="goto", goto=10)).table == 254


@pytest.mark.parametrize("field", ["iif", "oif"])
@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_an_interface_that_does_not_exist_is_said_to_be_so(field: str, family: str) -> None:
    builder = host()
    fields = {field: "eth9"}
    answer = four(builder, **fields) if family == "inet" else six(builder, **fields)
    assert answer.error == "ENODEV"


def test_interfaces_may_be_given_by_index() -> None:
    assert four(host(), oif=2).hops[0].oif == 2


def test_a_rule_with_a_detached_interface_never_matches() -> None:
    builder = (
        host().rule(10, table=100, iif="eth1", iif_detached=True).route("default", dev="eth2", family="inet", table=100)
    )
    assert four(builder, iif="eth1", src="10.1.0.5").table == 254


def test_a_mask_without_a_mark_means_not_marked() -> None:
    """The kernel does not send FRA_FWMARK for a mark of 0."""
    builder = host().rule(10, table=100, fwmask=0xFF).route("192.0.2.0/24", dev="eth1", table=100)
    assert four(builder, mark=0x100).table == 100
    assert four(builder, mark=0x101).table == 254


def test_the_bits_of_ecn_never_matter() -> None:
    builder = host().rule(10, table=100, tos=0x10).route("192.0.2.0/24", dev="eth1", table=100)
    assert four(builder, tos=0x13).table == 100


def test_dscp_counts_in_full() -> None:
    builder = host().rule(10, table=100, dscp=46).route("192.0.2.0/24", dev="eth1", table=100)
    assert four(builder, tos=0xB8).table == 100
    assert four(builder, tos=0x18).table == 254


def test_next_hops_of_a_nexthop_object_are_found_without_the_dump_naming_them() -> None:
    """net.ipv4.nexthop_compat_mode 0: the route says only the number of its object."""
    builder = host().link("eth9", up=True, carrier=False, inet_conf={"ignore_routes_with_linkdown": 1})
    builder.nexthop(1, family="inet", gateway="10.1.0.9", oif="eth1", scope=253)
    builder.nexthop(2, family="inet", gateway="10.2.0.9", oif="eth2", scope=253)
    builder.nexthop(3, family="inet", gateway="10.9.0.9", oif="eth9", scope=253, flags=RTNH_F_LINKDOWN)
    builder.nexthop(4, group=(NexthopMember(id=1), NexthopMember(id=2, weight=3)))
    builder.route("192.0.2.0/24", nh_id=4).route("198.51.100.0/24", nh_id=3).route("203.0.113.0/24", nh_id=77)
    assert [(hop.gateway, hop.weight) for hop in four(builder).hops] == [("10.1.0.9", 1), ("10.2.0.9", 3)]
    assert four(builder, "198.51.100.1").gateway == "10.0.0.9", "the object's interface has no carrier"
    assert four(builder, "203.0.113.1").gateway == "10.0.0.9", "an object that is not in the snapshot"


def test_a_silent_member_of_a_group_is_left_out_unless_all_are_silent() -> None:
    builder = host().nexthop(1, family="inet", gateway="10.1.0.9", oif="eth1", scope=253)
    builder.nexthop(2, family="inet", gateway="10.2.0.9", oif="eth2", scope=253)
    builder.nexthop(3, group=(NexthopMember(id=1), NexthopMember(id=2))).route("192.0.2.0/24", nh_id=3)
    builder.neighbour("10.2.0.9", dev="eth2", state="failed")
    answer = four(builder)
    assert [hop.gateway for hop in answer.hops] == ["10.1.0.9"]
    assert [(hop.gateway, hop.why) for hop in answer.left_out] == [("10.2.0.9", "its neighbour does not answer")]
    builder.neighbour("10.1.0.9", dev="eth1", state="incomplete")
    assert [hop.gateway for hop in four(builder).hops] == ["10.1.0.9"], "then the first"


def test_a_resilient_group_keeps_its_members() -> None:
    builder = host().nexthop(1, family="inet", gateway="10.1.0.9", oif="eth1", scope=253)
    builder.nexthop(2, family="inet", gateway="10.2.0.9", oif="eth2", scope=253)
    builder.nexthop(3, group=(NexthopMember(id=1), NexthopMember(id=2)), resilient=True).route("192.0.2.0/24", nh_id=3)
    builder.neighbour("10.2.0.9", dev="eth2", state="failed")
    assert len(four(builder).hops) == 2


def test_a_dead_hop_of_a_multipath_route_says_why_it_is_left_out() -> None:
    builder = host()
    hops = [
        builder.hop("eth0", "10.0.0.9"),
        builder.hop("eth1", "10.1.0.9", flags=RTNH_F_DEAD),
        builder.hop("eth2", "10.2.0.9", flags=RTNH_F_DEAD | RTNH_F_LINKDOWN),
    ]
    answer = four(builder.route("192.0.2.0/24", hops=hops))
    assert [hop.gateway for hop in answer.hops] == ["10.0.0.9"]
    assert answer.left_out[0].why == "its interface is down"
    assert answer.left_out[1].why.startswith("no carrier")


def vrf_host() -> HostBuilder:
    """eth1 and eth2 belong to the VRF red, table 10; its rules are those that the kernel makes."""
    builder = HostBuilder().link("eth0").link("red", kind="vrf", info={"table": 10})
    builder.link("eth1", master="red").link("eth2", master="red")
    builder.address("eth0", "10.0.0.1/24").route("default", via="10.0.0.9", dev="eth0")
    for family in ("inet", "inet6"):
        builder.rule(1000, family=family, l3mdev=True)
    builder.route("10.1.0.1/32", dev="eth1", type="local", scope=254, table=10)
    builder.route("192.0.2.0/24", via="10.1.0.9", dev="eth1", table=10)
    builder.route("fe80::1/128", dev="eth1", type="local", table=10).route("fe80::/64", dev="eth1", table=10)
    return builder.route("fd00::/16", via="fe80::9", dev="eth2", table=10)


def test_a_packet_of_a_vrf_asks_the_vrfs_table() -> None:
    assert four(vrf_host(), oif="eth1").table == 10
    assert four(vrf_host(), oif="red").gateway == "10.1.0.9", "the VRF itself stands for all its members"
    assert four(vrf_host(), iif="eth2", src="192.0.2.9").table == 10
    assert four(vrf_host()).table == 254
    assert four(vrf_host(), iif="eth0", src="192.0.2.9").table == 254


def test_a_vrf_delivers_to_itself() -> None:
    builder = vrf_host()
    red = next(link.ifindex for link in builder.build().links if link.ifname == "red")
    assert four(builder, "10.1.0.1", oif="red").hops[0].oif == red
    assert four(builder, "10.1.0.1", iif="eth2", src="10.1.0.9").hops[0].oif == red
    assert four(builder, "10.0.0.1").hops[0].oif == 1


def test_link_local_destinations_in_a_vrf_ask_its_table_without_rules() -> None:
    builder = vrf_host().rule(5, family="inet6", action="prohibit")
    answer = six(builder, "fe80::7", oif="eth1")
    assert (answer.table, answer.rule, answer.steps) == (10, None, ())
    assert six(builder, "fe80::7", oif="red").error == "ENETUNREACH"
    assert six(builder, oif="eth1").error == "EACCES"


def test_a_rule_that_names_a_vrf_is_not_understood_alike_by_all_kernels() -> None:
    builder = vrf_host().rule(5, iif="red", action="prohibit")
    answer = four(builder, iif="eth1", src="192.0.2.9")
    assert {each.error for each in (answer, *answer.alternatives)} == {"EACCES", None}


def test_rules_put_back_as_they_were_are_told_from_untouched_ones_by_their_origin() -> None:
    builder = host().route("10.0.0.1/32", via="10.1.0.9", dev="eth1", scope=0)
    builder.without_routes(table=255).route("10.0.0.0/24", dev="lo", type="local", table=255, scope=254)
    untouched = four(builder, "10.0.0.1")
    assert [each.type for each in (untouched, *untouched.alternatives)] == ["unicast", "local"]
    builder.without_rule(32766).rule(32766, table=254, protocol=3)
    put_back = four(builder, "10.0.0.1")
    assert [each.type for each in (put_back, *put_back.alternatives)] == ["local"]


def test_a_family_without_rules_reaches_nothing() -> None:
    builder = host()
    for priority in (0, 32766, 32767):
        builder.without_rule(priority)
    assert four(builder).error == "ENETUNREACH"
    assert six(builder.without_rule(0, family="inet6").without_rule(32766, family="inet6")).error == "ENETUNREACH"


def test_an_interface_that_is_down_cannot_be_asked_for() -> None:
    builder = host().link("eth9", up=False)
    assert not builder.build().links[-1].flags & IFF_UP
    assert four(builder, oif="eth9").error == "ENETUNREACH"


def test_the_wrong_family_is_refused() -> None:
    with pytest.raises(ValueError, match="inet6 address"):
        six(host(), "192.0.2.1")


def test_five_thousand_rules_are_walked_in_good_time() -> None:
    builder = host()
    for priority in range(1, 5001):
        builder.rule(priority, table=100, fwmark=priority)
    routing = Routing(builder.build())
    routing.lookup(Query(family="inet", dst="192.0.2.1"))
    began = time.process_time()
    for n in range(10):
        assert routing.lookup(Query(family="inet", dst=f"192.0.2.{n}")).table == 254
    assert (time.process_time() - began) / 10 < 0.1


def test_a_bare_question_checks_nothing_and_chooses_nothing() -> None:
    builder = host()
    builder.route("192.0.2.0/24", hops=[builder.hop("eth1", "10.1.0.9"), builder.hop("eth2", "10.2.0.9")])
    query = Query(family="inet", dst="192.0.2.1", src="198.51.100.1", iif="eth0", oif="eth2")
    assert [hop.gateway for hop in Routing(builder.build()).bare4(query).hops] == ["10.2.0.9"]
    dead = builder.hop("eth1", "10.1.0.9", flags=RTNH_F_DEAD | RTNH_F_LINKDOWN)
    routing = Routing(builder.route("203.0.113.0/24", hops=[dead, dead]).build())
    query = Query(family="inet", dst="203.0.113.1")
    assert routing.bare4(query).prefixlen == 0
    assert routing.bare4(query, ignore_linkstate=True).prefixlen == 24
