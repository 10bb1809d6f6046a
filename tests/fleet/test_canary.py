"""Fisher's exact test, the verdict on a roll-out, and the matrix of a mesh."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import pytest

from netdiag.fleet.canary import canary, newest
from netdiag.fleet.matrix import IDLE, NO_ROUTE, NOT_ALLOWED, ONE_SIDED, SILENT, UP, matrix, report
from netdiag.index.attributes import fisher
from netdiag.index.fleet import FleetHost, on
from netdiag.model.finding import Finding, subject
from netdiag.render.matrix import render_matrix
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fleet import builder, finished, mesh, peered
from tests.rules.test_fleet_examples import view_of


def counted(both: int, sick: int, having: int, total: int) -> float:
    """The same by counting every way in which ``having`` hosts can be drawn."""
    draws = list(combinations(range(total), having))
    return sum(sum(host < sick for host in draw) >= both for draw in draws) / len(draws)


@pytest.mark.parametrize("numbers", [(2, 2, 2, 6), (1, 3, 2, 7), (3, 4, 5, 9), (0, 2, 3, 8), (4, 4, 4, 10)])
def test_fisher_is_what_counting_gives(numbers: tuple[int, int, int, int]) -> None:
    assert fisher(*numbers) == pytest.approx(counted(*numbers))


def test_fisher_of_many() -> None:
    assert 0 < fisher(8, 11, 8, 620) < 1e-12


def hosts(old: int, new: int) -> tuple[FleetHost, ...]:
    found = []
    for number, host in enumerate(view_of({f"fra-w{n:02}": HostBuilder().build() for n in range(old + new)}).hosts):
        kernel = "6.8.10" if number < new else "6.8.9"
        meta = msgspec.structs.replace(host.snapshot.meta, kernel=kernel)
        found.append(
            FleetHost(name=host.name, snapshot=type(host.snapshot)(meta=meta, tables=host.tables, coverage=()))
        )
    return tuple(found)


def ill(*numbers: int, rule: str = "wg-handshake-stale") -> list[Finding]:
    return [
        Finding(
            rule=rule,
            severity="warning",
            confidence="certain",
            subject=on(f"fra-w{number:02}", subject("link", ifname="eth0")),
            message="",
            evidence=(),
            confirm=(),
            fix="",
        )
        for number in numbers
    ]


@pytest.mark.parametrize(
    ("fleet", "sick", "verdict"),
    [
        (hosts(20, 5), ill(), "PROCEED"),
        (hosts(20, 5), ill(7, 8, 9), "PROCEED"),
        (hosts(20, 5), ill(0, 1, 2, 3, 4), "HOLD"),
        (hosts(20, 5), ill(0), "UNKNOWN"),
        (hosts(20, 2), ill(), "UNKNOWN"),
        (hosts(20, 0), ill(), "UNKNOWN"),
        (hosts(2, 20), ill(), "UNKNOWN"),
    ],
)
def test_verdict(fleet: tuple[FleetHost, ...], sick: list[Finding], verdict: str) -> None:
    told = canary(fleet, sick, "kernel")
    assert told.verdict == verdict, told
    assert sum(row.hosts for row in told.values) == len(fleet)


def test_the_newest_is_the_one_that_people_mean() -> None:
    assert newest("6.8.10") > newest("6.8.9") and newest("6.10") > newest("6.9.9")
    told = canary(hosts(5, 5), [], "kernel=6.8.9")
    assert told.canary == "6.8.9" and told.verdict == "PROCEED"


def test_matrix() -> None:
    dead: dict[str, Any] = {"age": 900.0, "persistent_keepalive": 25}
    made = mesh("abcdef") | {
        "fra-a": finished("a", peered(peered(builder("a"), "cdef"), "b", **dead)),
        "fra-b": finished("b", peered(peered(builder("b"), "cdef"), "a", **dead)),
        "fra-c": finished("c", peered(peered(builder("c"), "abef"), "d", allowed_ips=("10.64.0.77/32",))),
        "fra-e": finished("e", peered(builder("e", mtu=1300), "abcd")),
    }
    told = matrix(view_of(made).hosts)
    code = {(told.names[i][-1], told.names[j][-1]): int(told.state[i, j]) for i in range(6) for j in range(6)}
    assert code["a", "b"] == code["b", "a"] == SILENT
    assert code["c", "d"] == code["d", "c"] == NOT_ALLOWED
    assert code["f", "e"] == ONE_SIDED and code["e", "f"] == 0
    assert code["a", "c"] == UP and IDLE not in code.values() and NO_ROUTE not in code.values()
    e, a = told.names.index("fra-e"), told.names.index("fra-a")
    assert told.mtu[a, e] == told.mtu[e, a] == 1300 and told.usual == 1420
    printed = report(told)
    assert printed.counts["silent"] == 2 and printed.mtus["1300"] == 9
    text = render_matrix(told, color=False, width=80)
    assert "fra-a > fra-b  silent" in text and "fra-f > fra-e  one-sided, 1300 bytes fit" in text


def test_no_route_and_idle() -> None:
    made = mesh("abc", age=170.0)
    lost = peered(builder("a"), "bc", age=400.0)
    lost.without_routes(table=254)
    made["fra-a"] = finished("a", lost)
    told = matrix(view_of(made).hosts)
    a, b = told.names.index("fra-a"), told.names.index("fra-b")
    assert told.state[a, b] == NO_ROUTE and told.state[b, a] == UP
    quiet = matrix(view_of(mesh("ab", age=400.0)).hosts)
    assert quiet.state[0, 1] == IDLE
