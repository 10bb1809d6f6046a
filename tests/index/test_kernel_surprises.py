"""What the kernel does and few expect, each on a small host of its own: the kernel must do it, and netdiag must say so.

Each of these was a disagreement once, or is the reason why one was none.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netdiag.index.policy import Lookup, Query, Routing
from netdiag.model.snapshot import Tables
from tests.index.kernel import Told, ask, disagreements, hidden_routes
from tests.index.reader import read_tables
from tests.index.test_kernel_agreement import run_ip, same
from tests.lab import Lab, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timed]

V0, V1, V2 = 100, 101, 102
CABLES = [
    line
    for n in range(3)
    for line in (
        f"link add v{n} index {100 + n} type veth peer name p{n} index {200 + n}",
        f"link set v{n} up",
        f"link set p{n} up",
        f"address add 10.{n}.0.1/24 dev v{n}",
        f"address add 2001:db8:{n}::1/64 dev v{n} nodad",
    )
]


class Asked(NamedTuple):
    """One packet: what the kernel said and what we say."""

    resolved: Told
    matched: Told
    ours: Lookup


class Inside:
    """A lab host with three cables, v0 to v2, seen from inside."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.ip(*CABLES)

    def ip(self, *lines: str) -> None:
        run_ip(list(lines))

        def at_rest() -> bool:
            before, self.tables = self.tables, read_tables()
            waiting = any(
                link.up and link.carrier and link.operstate not in ("up", "unknown") for link in self.tables.links
            )
            lost = any(link.up and not link.carrier and link.operstate == "up" for link in self.tables.links)
            return not waiting and not lost and same(before, self.tables)

        wait_until(at_rest, what="the host is at rest")

    def ask(self, dst: str, **fields: Any) -> Asked:
        """Both answers about one packet; they must agree."""
        query = Query(family="inet6" if ":" in dst else "inet", dst=dst, **({"ip_proto": 17, "uid": 0} | fields))
        found = list(disagreements(self.tables, [query]))
        assert not found, str(found[0])
        return self.look(query)

    def look(self, query: Query) -> Asked:
        """Both answers, whether they agree or not."""
        indexes = {link.ifname: link.ifindex for link in self.tables.links}
        ((resolved, matched),) = ask([query], indexes)
        return Asked(resolved, matched, Routing(self.tables).lookup(query))


def inside(work: Callable[[Inside], None], **sysctls: int) -> None:
    """Run a test inside a new host; settings as ``net__ipv4__ip_forward=1``."""
    settings = {name.replace("__", "."): str(value) for name, value in sysctls.items()}
    with Lab() as lab:
        lab.host("a", sysctls=settings).call(lambda: work(Inside()))


# -- policy rules and tables ---------------------------------------------------------------------------------------


def test_local_and_main_are_one_table_until_a_rule_is_touched() -> None:
    """A longer prefix in main beats table local, though rule 0 comes first; adding and deleting a rule ends that."""

    def work(host: Inside) -> None:
        host.ip("route add local 192.0.2.0/24 dev lo", "route add 192.0.2.5 via 10.0.0.9 table main")
        before = host.ask("192.0.2.5")
        assert (before.resolved.type, before.resolved.gateway) == ("unicast", "10.0.0.9")
        assert [other.type for other in before.ours.alternatives] == ["local"]
        host.ip("rule add priority 5 table 1234", "rule del priority 5")
        query = Query(family="inet", dst="192.0.2.5", ip_proto=17)
        after = host.look(query)
        assert after.resolved.type == "local", "the rules look as before"
        assert after.ours.alternatives[0].type == "local", "which of the two it is cannot be seen"

    inside(work)


def test_the_kernel_calls_local_addresses_main_until_a_rule_is_touched() -> None:
    def work(host: Inside) -> None:
        asked = host.ask("10.0.0.1")
        assert (asked.resolved.table, asked.ours.table) == (254, 255)
        host.ip("rule add priority 5 table 1234")
        asked = host.ask("10.0.0.1")
        assert (asked.resolved.table, asked.ours.table) == (255, 255)

    inside(work)


def test_table_default_is_asked_after_a_refusal_by_older_kernels_only() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "route add default via 10.0.0.9 table default",
            "route add unreachable 192.0.2.1",
            "route add throw 192.0.2.2",
        )
        assert host.ask("192.0.2.2").ours.table == 253
        refused = host.ask("192.0.2.1").ours
        assert {answer.errno for answer in (refused, *refused.alternatives)} == {0, errno.EHOSTUNREACH}

    inside(work)


def test_a_goto_goes_on_behind_a_target_that_does_not_match() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "route add 192.0.2.0/24 via 10.0.0.9 table 100",
            "route add 192.0.2.0/24 via 10.1.0.9 table 101",
            "rule add priority 10 goto 30",
            "rule add priority 20 table 100",
            "rule add priority 30 fwmark 7 table 100",
            "rule add priority 40 table 101",
            "rule add priority 50 goto 60",
        )
        assert host.ask("192.0.2.1").resolved.gateway == "10.1.0.9"
        assert host.ask("192.0.2.1", mark=7).resolved.gateway == "10.0.0.9"
        assert host.ask("198.51.100.1").ours.steps[-3].outcome == "goto 60: there is no such rule"

    inside(work)


def test_an_ipv4_tos_rule_ignores_the_upper_bits_of_the_dscp() -> None:
    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 via 10.0.0.9 table 100", "rule add priority 10 tos 0x10 table 100")
        assert host.ask("192.0.2.1", tos=0xB0).resolved.oif == V0
        host.ip("-6 route add fd00::/16 via 2001:db8::9 table 100", "-6 rule add priority 10 tos 0x10 table 100")
        assert host.ask("fd00::1", tos=0xB0).resolved.errno == errno.ENETUNREACH
        assert host.ask("fd00::1", tos=0x10).resolved.oif == V0

    inside(work)


def test_an_ipv6_rule_from_a_prefix_needs_a_source() -> None:
    """IPv4 compares 0.0.0.0 with the selector, IPv6 does not match at all without a source."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 route add fd00::/16 via 2001:db8::9 table 100",
            "-6 rule add priority 10 from ::/1 table 100",
            "route add 192.0.2.0/24 via 10.0.0.9 table 100",
            "rule add priority 10 from 0.0.0.0/1 table 100",
        )
        assert host.ask("fd00::1").resolved.errno == errno.ENETUNREACH
        assert host.ask("192.0.2.1").resolved.oif == V0

    inside(work)


def test_a_suppressed_ipv6_route_that_nothing_follows() -> None:
    """fib6_rule_lookup() of older kernels then used it after all; newer ones say unreachable. Both are named."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 route add default via 2001:db8::9",
            "-6 rule add priority 10 table main suppress_prefixlength 0",
            "-6 rule del priority 32766",
        )
        asked = host.ask("fd00::1")
        assert asked.ours.errno == errno.ENETUNREACH
        assert [other.oif for other in asked.ours.alternatives] == [V0]
        host.ip("-6 rule add priority 11 table 4711")
        assert host.ask("fd00::1").ours.alternatives == ()

    inside(work)


def test_suppress_ifgroup_looks_at_the_interface_that_has_the_address() -> None:
    """A local address is delivered by lo, but the group that counts is that of its own interface."""

    def work(host: Inside) -> None:
        host.ip(
            "link set v1 group 7",
            "-6 rule add priority 10 table local suppress_ifgroup 7",
            "-6 rule add priority 20 prohibit",
            "-6 rule del priority 0",
        )
        assert host.ask("2001:db8:1::1").resolved.errno == errno.EACCES
        assert host.ask("2001:db8:2::1").resolved.type == "local"

    inside(work)


def test_suppress_prefixlength_is_judged_by_the_route_that_used_the_nexthop_object_first() -> None:
    """The IPv6 cache belongs to the next hop; routes that share a nexthop object share it."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 nexthop add id 1 via 2001:db8::9 dev v0",
            "-6 route add default nhid 1",
            "-6 route add fd00::/16 nhid 1",
            "-6 route add default via 2001:db8:1::9 table 100",
            "-6 rule add priority 10 table main suppress_prefixlength 0",
            "-6 rule add priority 20 table 100",
        )
        default = Query(family="inet6", dst="2620::1", ip_proto=17)
        fresh, second = host.ask("fd00::1"), host.look(default)
        assert fresh.resolved.oif == V0
        assert second.resolved.oif in (V0, V1), "V1 on another processor, whose cache is still empty"
        outcomes = {answer.oif for answer in (second.ours, *second.ours.alternatives)}
        assert outcomes == {V0, V1}, "which was first cannot be seen"

    inside(work)


# -- IPv4 ------------------------------------------------------------------------------------------------------------


def test_a_nexthop_object_without_a_usable_hop_hides_what_follows_on_its_leaf() -> None:
    """A shorter prefix with the same first address lies on the same leaf of the trie, and is then not seen either."""

    def work(host: Inside) -> None:
        host.ip(
            "nexthop add id 1 via 10.0.0.9 dev v0",
            "route add 172.16.0.0/16 nhid 1",
            "route add 172.16.0.0/16 via 10.1.0.9 metric 5",
            "route add 172.16.0.0/12 via 10.1.0.9",
            "route add 172.0.0.0/8 via 10.1.0.77 dev v1",
        )
        assert host.ask("172.16.1.1", oif="v1").resolved.gateway == "10.1.0.77"
        host.ip("route replace 172.16.0.0/16 via 10.0.0.9")
        assert host.ask("172.16.1.1", oif="v1").resolved.gateway == "10.1.0.9"

    inside(work)


@pytest.mark.parametrize("route", ["blackhole", "unreachable", "prohibit", "throw"])
def test_a_refused_destination_is_on_link_when_an_interface_is_given(route: str) -> None:
    def work(host: Inside) -> None:
        host.ip(f"route add {route} 192.0.2.0/24")
        assert host.ask("192.0.2.1").resolved.errno != 0
        asked = host.ask("192.0.2.1", oif="v1")
        assert (asked.resolved.type, asked.resolved.oif, asked.resolved.gateway) == ("unicast", V1, None)

    inside(work)


def test_multicast_by_an_interface_gets_its_source_before_the_rules() -> None:
    def work(host: Inside) -> None:
        host.ip("rule add priority 10 from 10.1.0.1 table 100", "route add 239.0.0.0/8 dev v1 table 100 src 10.0.0.1")
        assert host.ask("239.1.1.1", oif="v1").resolved.table == 100
        assert host.ask("239.1.1.1", oif="v2").resolved.table == 0
        assert host.ask("192.0.2.1", oif="v1").resolved.table == 0, "unicast gets it afterwards"

    inside(work)


def test_multicast_uses_no_gateway_of_a_short_prefix() -> None:
    def work(host: Inside) -> None:
        host.ip("route add default via 10.0.0.9", "route add 239.0.0.0/8 via 10.1.0.9")
        assert host.ask("230.1.1.1").resolved.gateway is None
        assert host.ask("239.1.1.1").resolved.gateway == "10.1.0.9"
        assert host.ask("255.255.255.255").resolved.gateway is None

    inside(work)


def test_addresses_of_network_zero_are_ordinary() -> None:
    def work(host: Inside) -> None:
        host.ip("route add 0.0.0.0/8 via 10.0.0.9")
        assert host.ask("0.1.2.3").resolved.gateway == "10.0.0.9"
        assert host.ask("0.0.0.0").resolved.type == "local"

    inside(work)


def test_a_source_that_is_not_ours_is_refused_before_any_route() -> None:
    def work(host: Inside) -> None:
        host.ip("route add default via 10.0.0.9", "route add local 198.51.100.0/24 dev lo table local")
        assert host.ask("192.0.2.1", src="192.0.2.7").resolved.errno == errno.ENETUNREACH
        assert host.ask("192.0.2.1", src="198.51.100.7").resolved.oif == V0, "AnyIP"
        assert host.ask("192.0.2.1", src="127.0.0.1").resolved.errno == errno.EINVAL

    inside(work)


def test_a_preferred_source_of_loopback_makes_a_route_useless() -> None:
    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 via 10.0.0.9 src 127.0.0.1")
        assert host.ask("192.0.2.1").resolved.errno == errno.EINVAL

    inside(work)


def test_a_loopback_source_may_meet_a_hop_that_keeps_it() -> None:
    """The hop is chosen first, by hash: only then is it asked whether it lets a source of loopback out."""

    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 nexthop via 10.0.0.9 dev v0 nexthop via 10.1.0.9 dev v1")
        Path("/proc/sys/net/ipv4/conf/v1/route_localnet").write_text("1")
        host.ip("link set v2 up")
        seen = set()
        for last in range(1, 65):
            asked = host.ask(f"192.0.2.{last}", src="127.0.0.1")
            seen.add(asked.resolved.errno or asked.resolved.oif)
        assert seen == {errno.EINVAL, V1}
        (other,) = asked.ours.alternatives
        assert [hop.oif for hop in asked.ours.hops] == [V1] and other.errno == errno.EINVAL

    inside(work)


def test_a_gateway_that_is_the_host_itself_is_not_used() -> None:
    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 via 10.0.0.1 dev v0", "route add 198.51.100.0/24 via 10.0.0.9 dev v0")
        asked = host.ask("192.0.2.1")
        assert (asked.resolved.oif, asked.resolved.gateway) == (V0, None)
        assert {hop.gateway for hop in asked.ours.hops} == {None, "10.0.0.1"}, "it depends on what was when it was made"
        assert [hop.gateway for hop in host.ask("198.51.100.1").ours.hops] == ["10.0.0.9"]

    inside(work)


def test_equal_default_routes_are_taken_even_without_carrier() -> None:
    """fib_select_default() does not look at carrier: the second route's dead hop is a candidate."""

    def work(host: Inside) -> None:
        host.ip(
            "route append default via 10.0.0.9",
            "route append default via 10.1.0.9",
            "route append default via 10.2.0.9 metric 1",
            "link set p1 down",
            "neigh replace 10.0.0.9 dev v0 lladdr 02:00:00:00:00:09 nud failed",
        )
        asked = host.ask("192.0.2.1")
        assert asked.resolved.gateway == "10.1.0.9"
        assert [hop.gateway for hop in asked.ours.hops] == ["10.0.0.9", "10.1.0.9"]
        assert host.ask("192.0.2.1", iif="p2", src="192.0.2.9").resolved.gateway == "10.0.0.9", "only for own packets"

    inside(
        work,
        net__ipv4__conf__default__ignore_routes_with_linkdown=1,
        net__ipv4__conf__default__forwarding=1,
        net__ipv4__conf__all__accept_local=1,
        net__ipv4__conf__all__send_redirects=0,
        net__ipv4__conf__default__send_redirects=0,
    )


def test_a_gateway_that_is_not_used_is_not_asked_whether_it_answers() -> None:
    """fib_multipath_use_neigh looks at neighbours of scope link only: not at those that the host itself stands for."""

    def work(host: Inside) -> None:
        Path("/proc/sys/net/ipv4/fib_multipath_use_neigh").write_text("1", "ascii")
        host.ip(
            "route add local 10.0.0.9 dev v0 table local",
            "route add 192.0.2.0/24" + "".join(f" nexthop via 10.{n}.0.9 dev v{n}" for n in range(3)),
            *(f"neigh replace 10.{n}.0.9 dev v{n} lladdr 02:00:00:00:00:09 nud failed" for n in (0, 1)),
        )
        asked = [host.ask(f"192.0.2.{last}") for last in range(1, 60)]
        assert {(each.resolved.oif, each.resolved.gateway) for each in asked} == {(V0, None), (V2, "10.2.0.9")}
        assert [hop.gateway for hop in asked[0].ours.left_out] == ["10.1.0.9"]

    inside(work)


def test_a_hop_without_carrier_is_left_out_where_that_is_to_be_heeded() -> None:
    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 nexthop via 10.0.0.9 nexthop via 10.1.0.9", "link set p1 down")
        for last in range(1, 20):
            asked = host.ask(f"192.0.2.{last}")
            assert asked.resolved.gateway == "10.0.0.9"
        assert [hop.gateway for hop in asked.ours.hops] == ["10.0.0.9"]
        assert [hop.gateway for hop in asked.ours.left_out] == ["10.1.0.9"]
        host.ip("route add 198.51.100.0/24 via 10.1.0.9", "route add 198.51.0.0/16 via 10.2.0.9")
        assert host.ask("198.51.100.1").resolved.gateway == "10.2.0.9"

    inside(work, net__ipv4__conf__default__ignore_routes_with_linkdown=1)


def test_a_hop_shown_dead_can_still_carry_flows() -> None:
    """The flag follows the setting at once; the hash is dealt out anew only when a carrier comes or goes."""

    def work(host: Inside) -> None:
        host.ip("route add 192.0.2.0/24 nexthop via 10.0.0.9 nexthop via 10.1.0.9", "link set p1 down")
        for name in ("v0", "v1"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/ignore_routes_with_linkdown").write_text("1", "ascii")
        host.ip()
        queries = [Query(family="inet", dst=f"192.0.2.{last}", ip_proto=17) for last in range(1, 60)]
        asked = [host.look(query) for query in queries]
        assert {each.resolved.gateway for each in asked} == {"10.0.0.9", "10.1.0.9"}
        assert {hop.gateway for hop in asked[0].ours.left_out} == {"10.1.0.9"}
        assert "may still use it" in asked[0].ours.left_out[0].why

    inside(work)


def test_one_multicast_packet_changes_the_type_of_all_others_through_a_nexthop_object() -> None:
    """The next hop caches the route with its type; a TCP connection to such a "multicast" destination is refused."""

    def work(host: Inside) -> None:
        host.ip(
            "nexthop add id 1 via 10.0.0.9 dev v0",
            "route add 239.0.0.0/8 nhid 1",
            "route add 192.0.2.0/24 nhid 1",
        )
        unicast = Query(family="inet", dst="192.0.2.1", ip_proto=6)
        assert host.look(unicast).resolved.type == "unicast"
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the cache is one a processor
        kinds = set()
        for _ in range(50):
            Path("/proc/sys/net/ipv4/route/flush").write_text("1", "ascii")
            host.look(Query(family="inet", dst="239.1.1.1", ip_proto=17))
            kinds.add(host.look(unicast).resolved.type)
        assert "multicast" in kinds

    inside(work)


# -- IPv6 ------------------------------------------------------------------------------------------------------------


def test_the_outgoing_interface_is_only_a_wish_once_there_is_a_source() -> None:
    def work(host: Inside) -> None:
        host.ip("-6 route add fd00::/16 via 2001:db8::9", "-6 route add fd00::/16 dev v1 metric 2000")
        assert host.ask("fd00::1", oif="v1").resolved.oif == V1, "without a source it is strict"
        assert host.ask("fd00::1", oif="v1", src="2001:db8:1::1").resolved.oif == V0

    inside(work)


def test_an_ipv6_packet_prefers_to_leave_as_it_came() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "-6 route append fd00::/16 dev v0", "-6 route append fd00::/16 dev v1", "-6 route append fd00::/16 dev v2"
        )
        assert host.ask("fd00::1", iif="v1", src="fd01::1").resolved.oif == V1
        assert host.ask("fd00::1", iif="p1", src="fd01::1").resolved.oif == V0

    inside(work, net__ipv6__conf__all__forwarding=1)


def test_metrics_are_forgotten_once_the_best_ones_are_dead() -> None:
    """Of all routes behind the lowest metric the score decides: a worse metric with a higher preference wins."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 route add fd00::/16 via 2001:db8::9 metric 10",
            "-6 route add fd00::/16 via 2001:db8:1::9 metric 20 pref low",
            "-6 route add fd00::/16 via 2001:db8:2::9 metric 30 pref high",
        )
        assert host.ask("fd00::1").resolved.oif == V0
        host.ip("link set p0 down")
        assert host.ask("fd00::1").resolved.oif == V2

    inside(work, net__ipv6__conf__default__ignore_routes_with_linkdown=1, net__ipv6__conf__all__forwarding=1)


def test_a_host_passes_over_a_gateway_that_failed_a_router_does_not() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "-6 route add fd00::/16 via 2001:db8::9 metric 10",
            "-6 route add fd00::/16 via 2001:db8:1::9 metric 20",
            "-6 neigh replace 2001:db8::9 dev v0 lladdr 02:00:00:00:00:09 nud failed",
        )
        assert host.ask("fd00::1").resolved.oif == V1
        host.ip("-6 route del fd00::/16 metric 20")
        assert host.ask("fd00::1").resolved.oif == V0, "better a silent gateway than none"
        host.ip("-6 route add fd00::/16 via 2001:db8:1::9 metric 20")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1", "ascii")
        host.ip()
        assert host.ask("fd00::1").resolved.oif == V0

    inside(work)


def test_siblings_are_picked_by_hash_against_the_wish_for_an_interface() -> None:
    """Linux 6.18 does so, 6.1 keeps to the interface: both next hops are possible. A strict interface binds in both."""

    def work(host: Inside) -> None:
        host.ip("-6 route add fd00::/16 nexthop via 2001:db8::9 dev v0 nexthop via 2001:db8:1::9 dev v1")
        free = [host.ask(f"fd00::{n:x}", oif="v1", src="2001:db8:1::1") for n in range(1, 60)]
        assert {each.resolved.oif for each in free} in ({V0, V1}, {V1})
        assert {hop.oif for hop in free[0].ours.hops} == {V0, V1}
        strict = [host.ask(f"fd00::{n:x}", oif="v1").resolved.oif for n in range(1, 60)]
        assert set(strict) == {V1}

    inside(work)


def test_a_nexthop_group_is_not_bound_even_to_a_strict_interface() -> None:
    """Linux 6.18 does so, 6.1 keeps to the interface: both next hops are possible."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 nexthop add id 1 via 2001:db8::9 dev v0",
            "-6 nexthop add id 2 via 2001:db8:1::9 dev v1",
            "nexthop add id 3 group 1/2",
            "-6 route add fd00::/16 nhid 3",
        )
        bound = [host.ask(f"fd00::{n:x}", oif="v1") for n in range(1, 60)]
        assert {each.resolved.oif for each in bound} in ({V0, V1}, {V1})
        assert {hop.oif for hop in bound[0].ours.hops} == {V0, V1}

    inside(work)


def test_source_specific_routes_hide_the_plain_ones_of_their_prefix() -> None:
    def work(host: Inside) -> None:
        host.ip("-6 route add fd00::/16 dev v0", "-6 route add fd00::/16 from 2001:db8:1::/64 dev v1")
        assert host.ask("fd00::1", src="2001:db8:1::1").resolved.oif == V1
        assert host.ask("fd00::1", src="2001:db8:2::1").resolved.errno == errno.ENETUNREACH
        assert host.ask("fd00::1").resolved.errno == errno.ENETUNREACH
        host.ip("-6 route add default dev v2", "-6 route add default from 2001:db8:1::/64 dev v0")
        assert host.ask("fd00::1").resolved.oif == V2, "the plain default route is not hidden"

    inside(work)


def test_source_specific_routes_get_lost_when_the_plain_route_goes() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "-6 route add fd00:1::/32 dev v0",
            "-6 route add fd00:1::/32 from 2001:db8:1::/64 dev v1",
            "-6 route add fd00:1:2::/48 dev v0",
            "-6 route add fd00::/16 dev v2",
        )
        assert host.ask("fd00:1::1", src="2001:db8:1::1").resolved.oif == V1
        host.ip("-6 route del fd00:1::/32 dev v0 metric 1024")
        asked = host.ask("fd00:1::1", src="2001:db8:1::1")
        assert asked.resolved.oif == V2
        assert {answer.oif for answer in (asked.ours, *asked.ours.alternatives)} == {V1, V2}

    inside(work)


def test_an_unreachable_route_does_not_hold_against_a_given_interface() -> None:
    """IPv6 error routes go through lo: with an interface and no source they do not fit, and the next prefix decides."""

    def work(host: Inside) -> None:
        host.ip("-6 route add unreachable fd00:1::/32", "-6 route add fd00::/16 dev v1")
        assert host.ask("fd00:1::1").resolved.errno == errno.EHOSTUNREACH
        assert host.ask("fd00:1::1", oif="v1").resolved.oif == V1
        assert host.ask("fd00:1::1", oif="v1", src="2001:db8:1::1").resolved.errno == errno.EHOSTUNREACH

    inside(work)


def test_an_anycast_route_delivers_only_where_the_kernel_made_it() -> None:
    def work(host: Inside) -> None:
        host.ip("-6 route add anycast fd00::/16 dev v1")
        assert host.ask("fd00::1").resolved.oif == V1
        asked = host.ask("2001:db8:1::")
        assert (asked.resolved.type, asked.resolved.oif) == ("anycast", 1)

    inside(work, net__ipv6__conf__all__forwarding=1)


def test_siblings_keep_their_own_source_but_the_dump_tells_only_that_of_the_first() -> None:
    def work(host: Inside) -> None:
        host.ip(
            "-6 route append fd00::/16 via 2001:db8::9 dev v0 src 2001:db8:2::1",
            "-6 route append fd00::/16 via 2001:db8:1::9 dev v1 src 2001:db8:1::1",
        )
        asked = host.ask("fd00::1", oif="v1")
        assert (asked.matched.prefsrc, asked.ours.prefsrc) == ("2001:db8:1::1", "2001:db8:2::1")

    inside(work)


def test_a_route_between_siblings_is_in_no_dump() -> None:
    """The kernel uses a route that ``ip -6 route`` does not show: netdiag cannot know it either."""

    def work(host: Inside) -> None:
        host.ip(
            "-6 route append fd00::/16 via 2001:db8::9 dev v0",
            "-6 route append fd00::/16 dev v1",
            "-6 route append fd00::/16 via 2001:db8:2::9 dev v2",
        )
        asked = host.look(Query(family="inet6", dst="fd00::1", oif="v1", ip_proto=17))
        assert asked.resolved.oif == V1
        assert asked.ours.errno == errno.ENETUNREACH
        assert [length for _, length in hidden_routes(host.tables)] == [16]

    inside(work)
