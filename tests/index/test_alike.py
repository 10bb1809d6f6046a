"""Answers that packets share are the answers that each of them gets by itself: on random hosts, and case by case."""

from random import Random

import pytest
from msgspec.structs import replace

from netdiag.index.alike import MOST_TABLES, Alike
from netdiag.index.packet import Lookup, Query
from netdiag.index.policy import Routing
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from tests.index.packets import Packets
from tests.index.test_kernel_agreement import build
from tests.index.test_shadow import crowded
from tests.index.topology import Topology, make_address
from tests.lab import Lab

KINDS = 25
ADDRESSES = 24


class Counted(Routing):
    """Counts how often it is asked."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.asked = 0

    def lookup(self, query: Query) -> Lookup:
        self.asked += 1
        return super().lookup(query)


def examine(seed: int) -> tuple[int, int, list[str]]:
    """Questions, lookups made for them, and the questions whose shared answer was another one."""
    topology, random = Topology(seed), Random(seed)
    base = build(topology)
    asked, made, wrong = 0, 0, []
    for variant in range(3):
        tables = crowded(base, seed * 1000 + variant) if variant else base
        routing, counted = Routing(tables), Counted(tables)
        alike, stream = Alike(counted), Packets(topology, tables, seed + variant)
        for _ in range(KINDS):
            kind = stream.one()
            points = stream.points[kind.family]
            bits = 32 if kind.family == "inet" else 128
            for point in random.sample(points, min(ADDRESSES, len(points))):
                query = replace(kind, dst=make_address(point, bits), dport=random.choice((None, 22, 53)))
                asked += 1
                if alike.lookup(query) != routing.lookup(query):
                    wrong.append(f"seed {seed}: {query}")
        made += counted.asked
    return asked, made, wrong


@pytest.mark.lab
@pytest.mark.parametrize("seed", range(4))
def test_shared_answers_are_those_of_each(seed: int) -> None:
    with Lab() as lab:
        asked, made, wrong = lab.host("a").call(lambda: examine(seed), timeout=120)
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:5])
    assert made < asked


def host() -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")


def made(builder: HostBuilder, *queries: Query) -> int:
    """Lookups that these questions cost; each must be answered as if it were the only one."""
    tables = builder.build()
    counted, plain = Counted(tables), Routing(tables)
    alike = Alike(counted)
    for query in queries:
        assert alike.lookup(query) == plain.lookup(query)
    return counted.asked


def to(dst: str, **more: int) -> Query:
    return Query(family="inet6" if ":" in dst else "inet", dst=dst, **more)  # type: ignore[arg-type]


def test_one_route_is_looked_up_once() -> None:
    assert made(host(), *(to(f"198.51.{n}.1") for n in range(9))) == 1
    six = host().address("eth0", "2001:db8::2/64").route("default", via="fe80::1", dev="eth0")
    assert made(six, to("2001:db8:1::1"), to("2001:db8:2::1"), to("2001:db8:3::1")) == 1


def test_a_longer_prefix_is_asked_for_by_itself() -> None:
    other = host().route("198.51.100.0/24", via="192.0.2.9", dev="eth0")
    assert made(other, to("198.51.99.255"), to("198.51.100.0"), to("198.51.100.255"), to("198.51.101.0")) == 2
    assert made(host().route("198.51.100.0/24", dev="eth0", table=9), to("198.51.99.1"), to("198.51.100.1")) == 1


def test_what_a_rule_can_tell_apart() -> None:
    ports = host().rule(100, table=9, dport_start=53, dport_end=53).route("default", type="prohibit", table=9)
    assert made(ports, to("198.51.100.1", dport=53), to("198.51.100.2", dport=54), to("198.51.100.3", dport=53)) == 2
    assert made(host(), to("198.51.100.1", dport=53), to("198.51.100.2", dport=54)) == 1
    sports = host().rule(100, table=9, sport_start=53, sport_end=53).route("default", type="prohibit", table=9)
    assert made(sports, to("198.51.100.1", sport=53), to("198.51.100.2", sport=54)) == 2
    there = host().rule(100, table=9, dst="198.51.100.0", dst_len=24).route("default", type="prohibit", table=9)
    assert made(there, to("198.51.99.255"), to("198.51.100.0"), to("198.51.100.255"), to("198.51.101.0")) == 3
    assert made(host(), to("198.51.100.1", mark=1), to("198.51.100.2", mark=2)) == 2


def test_addresses_that_count_by_themselves() -> None:
    assert made(host(), to("192.0.2.2"), to("192.0.2.2")) == 2
    any_ip = host().route("203.0.113.0/24", type="local", dev="lo", table=255)
    assert made(any_ip, to("203.0.113.1"), to("203.0.113.2"), to("203.0.113.3")) == 3
    groups = ("224.0.0.5", "224.0.0.6", "255.255.255.255", "0.0.0.0", "ff02::5", "fe80::9", "fe80::a", "::1")
    assert made(host(), *map(to, groups)) == len(groups)


def test_many_tables_are_not_told_apart() -> None:
    crowd = host()
    for number in range(MOST_TABLES):
        crowd.rule(100 + number, table=100 + number, fwmark=number + 1).route(
            "10.0.0.0/8", dev="eth0", table=100 + number
        )
    assert made(crowd, to("198.51.100.1"), to("198.51.100.2")) == 2


def test_no_address() -> None:
    routing = Routing(host().build())
    with pytest.raises(ValueError, match="nonsense"):
        Alike(routing).lookup(to("nonsense"))
    assert Alike(routing).lookup(Query(family="inet", dst="nonsense", oif="none0")).errno
