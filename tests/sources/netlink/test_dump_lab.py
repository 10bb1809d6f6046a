"""The transport against a real kernel: every request is accepted, and a table that changes meanwhile is noticed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests
from netdiag.sources.netlink.addresses import AddressSink
from netdiag.sources.netlink.links import LinkSink
from netdiag.sources.netlink.messages import DumpRequest, NetlinkTimeout
from netdiag.sources.netlink.neighbours import NeighbourColumns
from netdiag.sources.netlink.routes import RouteColumns
from netdiag.sources.netlink.small import NeighTableSink, NexthopSink, RuleSink
from netdiag.sources.netlink.transport import dump, request_one
from tests.bench.fill import Filler, routes4
from tests.lab import Host, Lab
from tests.sources.netlink.kernel import Rows

LINKS = """
    link add fill0 type veth peer name fill1
    link set fill0 up
    link set fill1 up
    address add 198.18.0.1/15 dev fill0
"""


@pytest.fixture
def host(lab: Lab) -> Host:
    made = lab.host("h")
    made.ip(LINKS)
    return made


REQUESTS = [
    requests.links(),
    requests.links("inet6"),
    requests.links(stats=False),
    requests.addresses(),
    requests.addresses("inet"),
    requests.routes("inet"),
    requests.routes("inet6"),
    requests.routes("inet", table=254, protocol=2),
    requests.rules("inet"),
    requests.rules("inet6"),
    requests.neighbours(),
    requests.neighbours("inet6", proxy=True),
    requests.neighbour_tables(),
    requests.nexthops(),
    requests.netns_ids(),
    requests.qdiscs(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.key)
def test_a_kernel_with_strict_checking_accepts_every_request(host: Host, request_: DumpRequest) -> None:
    sink = Rows()
    result = host.inside_network(lambda: dump(request_, sink))
    assert result.consistent
    assert result.messages == len(sink.payloads)


class Churn:
    """A thread that takes one route away and puts it back, inside the host, until it is told to stop."""

    def __init__(self, host: Host) -> None:
        self.filler = host.inside_network(lambda: Filler(fresh=False))
        self.oif = host.inside_network(lambda: socket.if_nametoindex("fill0"))
        self.stop = threading.Event()
        self.turns = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        ((kind, flags, body),) = routes4(1, self.oif)
        while not self.stop.is_set():
            self.filler.send(iter([(kind + 1, 0, body), (kind, flags, body)]))
            self.turns += 1


@pytest.fixture
def churn(host: Host) -> Iterator[Churn]:
    turning = Churn(host)
    host.inside_network(lambda: turning.filler.send(routes4(20_000, turning.oif)))
    turning.thread.start()
    yield turning
    turning.stop.set()
    turning.thread.join(10)


def test_routes_that_change_while_they_are_read_are_noticed(host: Host, churn: Churn) -> None:
    sink = RouteColumns("inet")
    result = host.inside_network(lambda: dump(requests.routes("inet"), sink, attempts=3))
    assert (result.consistent, result.attempts) == (False, 3)
    assert "changed while reading" in result.detail
    assert len(sink.finish()) >= 20_000, "the rows of the last attempt are kept"
    assert churn.turns > 0


def test_routes_at_rest_are_consistent_again(host: Host, churn: Churn) -> None:
    churn.stop.set()
    churn.thread.join(10)
    result = host.inside_network(lambda: dump(requests.routes("inet"), RouteColumns("inet")))
    assert (result.consistent, result.attempts) == (True, 1)


def test_a_deadline_holds_in_the_middle_of_a_dump(host: Host) -> None:
    class Slow(Rows):
        def feed(self, buffer: memoryview) -> None:
            super().feed(buffer)
            while time.monotonic() < deadline:
                pass

    host.inside_network(lambda: Filler(fresh=False).send(routes4(5_000, socket.if_nametoindex("fill0"))))
    deadline = time.monotonic() + 0.05
    sink = Slow()
    with pytest.raises(NetlinkTimeout):
        host.inside_network(lambda: dump(requests.routes("inet"), sink, deadline=deadline))
    assert sink.payloads


def test_one_request_and_its_answer(host: Host) -> None:
    body = requests.route_lookup("inet", bytes([198, 18, 0, 9]))
    reply = host.inside_network(lambda: request_one(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, body))
    assert len(reply.octets) > 28


SINKS: list[tuple[DumpRequest, Callable[[], Any]]] = [
    (requests.links(), LinkSink),
    (requests.addresses(), AddressSink),
    (requests.routes("inet"), lambda: RouteColumns("inet")),
    (requests.routes("inet6"), lambda: RouteColumns("inet6")),
    (requests.neighbours(), NeighbourColumns),
    (requests.rules("inet"), RuleSink),
    (requests.nexthops(), NexthopSink),
    (requests.neighbour_tables(), NeighTableSink),
]


@pytest.mark.parametrize(("request_", "make"), SINKS, ids=[request.key for request, _ in SINKS])
def test_a_real_dump_cut_anywhere_or_with_any_byte_changed_never_raises(
    host: Host, request_: DumpRequest, make: Callable[[], Any]
) -> None:
    host.ip("nexthop add id 1 via 198.18.0.2 dev fill0\nneigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev fill0")
    rows = Rows()
    host.inside_network(lambda: dump(request_, rows))
    whole = bytes(rows.octets)
    assert whole
    stride = max(len(whole) // 200, 1)  # every place of a short dump, some two hundred of a long one
    for place in range(0, len(whole), stride):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            sink = make()
            sink.feed(memoryview(damaged))
            if hasattr(sink, "finish"):
                assert len(list(sink.finish().rows())) >= 0
