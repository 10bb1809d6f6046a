"""The longest prefix match against a slow and obvious one, and at the edges of the line of addresses."""

import ipaddress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiag.index.fib import Fib
from netdiag.model.route import Route, Routes, routes_from_rows

LAST = {"inet": "255.255.255.255", "inet6": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
BITS = {"inet": 32, "inet6": 128}


def route(dst: str, *, table: int = 254, priority: int = 0, tos: int = 0) -> Route:
    return Route(
        family="inet6" if ":" in dst else "inet",
        dst=dst,
        table=table,
        type="unicast",
        protocol=4,
        scope=0,
        priority=priority,
        tos=tos,
        flags=0,
        oif=2,
        gateway=None,
        prefsrc=None,
        nh_id=None,
        expires=None,
        extra=None,
    )


def table(*prefixes: str) -> Fib:
    rows = [route(prefix) for prefix in prefixes]
    return Fib(routes_from_rows(rows[0].family, rows))


def texts(fib: Fib, dst: str, number: int = 254) -> list[str]:
    return [fib.routes.row(group.positions[0]).dst for group in fib.candidates(number, dst)]


def slow_chain(routes: Routes, number: int, dst: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[list[int]]:
    """The positions of each prefix that holds an address, the longest first, by looking at every route."""
    holding: dict[int, list[int]] = {}
    for position in range(len(routes)):
        row = routes.row(position)
        network = ipaddress.ip_network(row.dst)
        if row.table == number and dst in network:
            holding.setdefault(network.prefixlen, []).append(position)
    for positions in holding.values():
        positions.sort(key=lambda p: (-int(routes.tos[p]), int(routes.priority[p])))
    return [holding[length] for length in sorted(holding, reverse=True)]


@st.composite
def route_tables(draw: st.DrawFn) -> tuple[str, list[Route], list[int]]:
    """Routes that nest a lot, because they share few addresses, and addresses at and around their edges."""
    family = draw(st.sampled_from(["inet", "inet6"]))
    bits = BITS[family]
    number = st.integers(0, 2**bits - 1)
    bases = draw(
        st.lists(st.one_of(number, st.sampled_from([0, 2**bits - 1, 2 ** (bits - 1)])), min_size=1, max_size=4)
    )
    rows, probes = [], list(bases)
    for _ in range(draw(st.integers(1, 30))):
        length = draw(st.integers(0, bits))
        flip = draw(st.integers(0, bits - 1))
        address = draw(st.sampled_from(bases)) ^ draw(st.sampled_from([0, 1 << flip]))
        start = address >> (bits - length) << (bits - length)
        probes += [start, start - 1, start + (1 << (bits - length))]
        text = str(ipaddress.IPv4Address(start) if bits == 32 else ipaddress.IPv6Address(start))
        rows.append(
            route(
                f"{text}/{length}",
                table=draw(st.sampled_from([254, 254, 7])),
                priority=draw(st.integers(0, 2)),
                tos=draw(st.sampled_from([0, 0, 4, 8])) if bits == 32 else 0,
            )
        )
    return family, rows, [probe for probe in probes if 0 <= probe < 2**bits]


@settings(deadline=None, max_examples=150)
@given(route_tables())
def test_every_answer_is_that_of_the_obvious_search(case: tuple[str, list[Route], list[int]]) -> None:
    family, rows, probes = case
    routes = routes_from_rows(family, rows)
    fib = Fib(routes)
    make = ipaddress.IPv4Address if family == "inet" else ipaddress.IPv6Address
    packed = np.frombuffer(b"".join(probe.to_bytes(BITS[family] // 8, "big") for probe in probes), np.uint8)
    many = packed.view(">u4").astype(np.uint32) if family == "inet" else packed.reshape(-1, 16)
    for number in (254, 7):
        bulk = fib.lookup_many(number, many)
        for probe, found in zip(probes, bulk.tolist(), strict=True):
            expected = slow_chain(routes, number, make(probe))
            assert [group.positions for group in fib.candidates(number, str(make(probe)))] == expected
            assert found == (expected[0][0] if expected else -1)


@settings(deadline=None, max_examples=50)
@given(route_tables())
def test_covering_and_within_are_what_ipaddress_says(case: tuple[str, list[Route], list[int]]) -> None:
    family, rows, _ = case
    fib = Fib(routes_from_rows(family, rows))
    networks = [ipaddress.ip_network(row.dst) for row in rows]
    for asked, network in zip(rows, networks, strict=True):
        mine = [n for n, row in enumerate(rows) if row.table == asked.table]
        covering = [n for n in mine if network.subnet_of(networks[n])]  # type: ignore[arg-type]
        within = [n for n in mine if networks[n].subnet_of(network)]  # type: ignore[arg-type]
        assert sorted(fib.routes_covering(asked.table, asked.dst).tolist()) == covering
        assert sorted(fib.routes_within(asked.table, asked.dst).tolist()) == within


@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_a_table_without_routes_answers_nothing(family: str) -> None:
    fib = Fib(Routes.empty(family))
    assert fib.tables() == ()
    assert list(fib.candidates(254, LAST[family])) == []
    assert fib.positions(254).tolist() == []
    assert fib.lookup_many(254, fib.routes.dst[:0]).tolist() == []
    assert fib.routes_within(254, "0.0.0.0/0" if family == "inet" else "::/0").tolist() == []


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "255.255.255.255/32", "::/0", "ffff::/16", LAST["inet6"] + "/128"])
def test_a_prefix_that_reaches_the_last_address_of_all(prefix: str) -> None:
    fib = table(prefix)
    assert texts(fib, LAST[fib.family]) == [prefix]


def test_an_address_whose_last_bytes_are_zero_is_not_cut_short() -> None:
    """NumPy drops trailing NULs of a byte string when it is read, but not when it is compared."""
    fib = table("2001:db8::/32", "2001:db8::/64", "2001:db8::/128", "2001::/16")
    assert texts(fib, "2001:db8::") == ["2001:db8::/128", "2001:db8::/64", "2001:db8::/32", "2001::/16"]
    assert texts(fib, "2001:db8::1") == ["2001:db8::/64", "2001:db8::/32", "2001::/16"]
    assert texts(fib, "2001::") == ["2001::/16"]
    assert texts(fib, "::") == []


def test_tables_are_kept_apart_and_listed_in_rising_order() -> None:
    rows = [route("10.0.0.0/8", table=1000), route("10.1.0.0/16", table=254), route("10.0.0.0/8", table=255)]
    fib = Fib(routes_from_rows("inet", rows))
    assert fib.tables() == (254, 255, 1000)
    assert texts(fib, "10.1.2.3", 1000) == ["10.0.0.0/8"]
    assert fib.positions(255).tolist() == [2]
    assert texts(fib, "10.1.2.3", 12) == []


def test_equal_routes_stay_in_the_order_of_the_dump() -> None:
    rows = [route("10.0.0.0/8", priority=p, tos=t) for p, t in [(5, 0), (1, 0), (1, 0), (9, 8), (0, 4)]]
    fib = Fib(routes_from_rows("inet", rows))
    assert [group.positions for group in fib.candidates(254, "10.0.0.1")] == [[3, 4, 1, 2, 0]]


@pytest.mark.parametrize(
    ("family", "wrong"), [("inet", "::1"), ("inet", bytes(16)), ("inet6", "1.2.3.4"), ("inet6", 1)]
)
def test_an_address_of_the_other_family_is_refused(family: str, wrong: str | int | bytes) -> None:
    with pytest.raises(ValueError, match="address"):
        Fib(Routes.empty(family)).key(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_a_million_routes_agree_with_a_dictionary(family: str) -> None:
    """The size of the Internet's table and more, against one dictionary a prefix length."""
    random_bits = np.random.default_rng(4)
    count, width = 1_000_000, BITS[family] // 8
    common = [16, 20, 22, 24, 24, 24, 28, 32] if width == 4 else [32, 44, 48, 48, 64, 128]
    lengths = random_bits.choice(np.array(common), count)
    raw = random_bits.integers(0, 256, (count, width)).astype(np.uint8)
    raw[:, 0] = 32
    keep = np.arange(BITS[family])[None, :] < lengths[:, None]
    raw = np.packbits(np.unpackbits(raw, axis=1) & keep, axis=1)
    dst = raw.view(">u4").astype(np.uint32).reshape(-1) if width == 4 else raw
    blank: dict[str, Any] = {name: np.zeros(count, np.int64) for name in Routes.COLUMNS}
    blank |= {"dst": dst, "dst_len": lengths.astype(np.uint8), "tos": np.zeros(count, np.uint8)}
    routes = Routes(family=family, **blank)
    fib = Fib(routes)
    prefixes: dict[tuple[int, bytes], int] = {}
    for position, (length, address) in enumerate(zip(lengths.tolist(), raw, strict=True)):
        prefixes.setdefault((length, address.tobytes()), position)
    # An address of a prefix with all its host bits at random: longer prefixes inside it are met as well.
    chosen = random_bits.integers(0, count, 3000)
    host = np.packbits(~keep[chosen], axis=1) & random_bits.integers(0, 256, (3000, width)).astype(np.uint8)
    probes = raw[chosen] | host
    bulk = fib.lookup_many(0, probes.view(">u4").astype(np.uint32).reshape(-1) if width == 4 else probes)
    rising = sorted(set(common))
    for probe, found in zip(probes, bulk.tolist(), strict=True):
        bits = np.unpackbits(probe)
        best = -1
        for length in rising:
            cut = np.packbits(np.where(np.arange(len(bits)) < length, bits, 0).astype(np.uint8)).tobytes()
            best = prefixes.get((length, cut), best)
        assert found == best
