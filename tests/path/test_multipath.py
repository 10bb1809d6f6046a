"""The next hop that the hash of a flow chooses: the hash itself, and the kernel's choice where its seed is set."""

from typing import Any

import pytest

from netdiag.index.flowhash import chosen, siphash
from netdiag.index.packet import Query
from netdiag.index.view import HostIndex
from netdiag.path.host import PathHost
from tests.index.kernel import ask
from tests.lab import Lab
from tests.path.test_oracle import walked
from tests.path.test_tunnels import two_ways
from tests.path.test_walk import asked
from tests.path.world import read_everything

FLOWS = 40


def test_siphash_is_that_of_its_authors() -> None:
    """The example of the paper's appendix A."""
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash(key, bytes(range(15))) == 0xA129CA6149BE45E5
    assert siphash(key, b"") == 0x726FDB47DD0E0E31


def test_shares_of_the_range() -> None:
    assert [chosen(value, (1, 1)) for value in (0, 2**30 - 1, 2**30, 2**31 - 1)] == [0, 0, 1, 1]
    assert [chosen(value, (1, 3)) for value in (2**29 - 1, 2**29)] == [0, 1]


def test_without_a_seed_or_with_a_silent_member_all_are_possible() -> None:
    def host() -> Any:
        built = two_ways()
        return built.route("default", hops=[built.hop("eth0", "192.0.2.1"), built.hop("eth1", "198.51.100.1")])

    assert len(asked(host(), "203.0.113.1").possible) == 2
    seeded = host().sysctl("net.ipv4.fib_multipath_hash_seed", 7)
    report = asked(seeded, "203.0.113.1")
    assert report.possible == () and report.dev in ("eth0", "eth1")
    assert next(step for step in report.steps if step.layer == "nexthop").decision == "chosen"
    assert len(asked(seeded, "203.0.113.1", src="192.0.2.2").possible) == 2
    by_ports = host().sysctl("net.ipv4.fib_multipath_hash_seed", 7).sysctl("net.ipv4.fib_multipath_hash_policy", 1)
    assert len(asked(by_ports, "203.0.113.1", ip_proto=17, dport=53).possible) == 2
    assert asked(by_ports, "203.0.113.1", ip_proto=17, sport=1000, dport=53).possible == ()


def examine(policy: int) -> list[str]:
    """Flows whose next hop the kernel and the walk choose differently, in the namespace of the calling process."""
    with open("/proc/sys/net/ipv4/fib_multipath_hash_policy", "w", encoding="ascii") as file:
        file.write(str(policy))
    tables, coverage = read_everything()
    host = PathHost(HostIndex(tables), coverage)
    indexes = {link.ifname: link.ifindex for link in tables.links}
    queries = [
        Query(family="inet", dst=f"{net}.{last}", src=src, iif=iif, ip_proto=17, sport=1000 + last, dport=53)
        for net in ("203.0.113", "198.51.100")
        for src, iif in ((None, None), ("10.77.0.1", None), ("10.0.0.9", "eth0"))
        for last in range(1, FLOWS)
    ]
    found = []
    for query, (told, _) in zip(queries, ask(queries, indexes), strict=True):
        report = walked(host, query)
        if report.possible or report.dev != host.ifname(told.oif or 0):
            found.append(f"{query}: {report.verdict} {report.dev} {report.reason}, kernel {host.ifname(told.oif or 0)}")
    return found


@pytest.mark.lab
def test_the_kernel_chooses_the_same_where_its_seed_is_set() -> None:
    with Lab() as lab:
        host = lab.host("a")
        for number in range(3):
            far = lab.host(f"p{number}")
            addresses = {"a_addresses": f"10.{number}.0.1/24", "b_addresses": f"10.{number}.0.2/24"}
            lab.link(host, f"eth{number}", far, "eth0", **addresses)
        host.sysctl({"net.ipv4.ip_forward": 1, "net.ipv4.fib_multipath_hash_seed": 12345})
        hops = " ".join(f"nexthop via 10.{number}.0.2 weight {weight}" for number, weight in enumerate((1, 3, 2)))
        objects = "\n".join(f"ip nexthop add id 1{n} via 10.{n}.0.2 dev eth{n}" for n in range(3))
        host.sh(f"""
            ip route add 203.0.113.0/24 {hops}
            {objects}
            ip nexthop add id 100 group 10,3/11,1/12
            ip route add 198.51.100.0/24 nhid 100
            ip address add 10.77.0.1/32 dev lo
        """)
        for policy in (0, 1):
            found = host.call(lambda policy=policy: examine(policy), timeout=60)
            assert not found, f"policy {policy}: {len(found)}\n" + "\n".join(found[:3])
