"""Callers from beyond a link, whose addresses its prefix has on the link: the prefix is too short.

Their calls come in by a gateway. The answers are not sent there: this host looks for them on the wire, where nobody
answers for them. Pure; asks for sockets, neighbours, addresses and routes.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import SYN_RECV
from netdiag.rules.build import HostBuilder
from netdiag.rules.gatewaysbeside import SEEN, in_net
from netdiag.rules.shape import Example
from netdiag.rules.silentneighbours import failing
from netdiag.rules.sockettables import plain

MOST = 32
"""Callers that are looked up. More of them at once may be a flood, whose addresses are made up."""
USUAL = {"inet": 24, "inet6": 64}


def heard_beyond(view: HostView, row: Address, link: Link, gateways: Collection[str]) -> tuple[str, int | None] | None:
    """A caller in the prefix of an address that was heard and is not on the link; and the length that leaves it out and
    keeps what is there, None where there is no such. Only beside a gateway that answers on the link."""
    seen = {str(one.dst) for one in view.neighbours.rows() if one.ifindex == link.ifindex and one.state in SEEN}
    there = [one for one in gateways if one in seen and in_net(row.local, row.prefixlen, one)]
    if not there or not all(view.read_whole(table) for table in ("sockets", "sysctls")):
        return None
    table, silent = view.sockets, failing(view)
    calls = np.flatnonzero((table.protocol == IPPROTO_TCP) & (table.state == SYN_RECV))
    if len(calls) > MOST:
        return None
    heard = {str(plain(one.dst)) for one in table.rows(calls)}
    beyond = sorted(
        one
        for one in heard
        if (link.ifindex, one) in silent and in_net(row.local, row.prefixlen, one) and _on_link(view, row, link, one)
    )
    if not beyond:
        return None
    keep = [one for one in seen if in_net(row.local, row.prefixlen, one)]
    whole = 32 if row.family == "inet" else 128
    fits = [
        length
        for length in range(row.prefixlen + 1, whole - 1)
        if all(in_net(row.local, length, one) for one in keep)
        and not any(in_net(row.local, length, one) for one in beyond)
    ]
    usual = USUAL[row.family]
    longer = min(fits, default=None) if row.prefixlen >= usual else None  # nobody means a /11
    return beyond[0], usual if usual in fits else longer


def _on_link(view: HostView, row: Address, link: Link, address: str) -> bool:
    """Whether packets to it are given to the link itself."""
    answer = view.lookup(Query(family=row.family, dst=address))
    return any(hop.oif == link.ifindex and hop.gateway is None for hop in answer.hops)


def heard_examples() -> Iterator[Example]:
    """For addr-wrong-prefixlen: a /8 where a /24 was meant."""

    def host(
        prefix: str = "10.0.0.5/8", caller: str = "10.50.0.9", *, state: str = "failed", gateway: str = "reachable"
    ) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", prefix)
        six = ":" in prefix
        near = "2001:db8::1" if six else "10.0.0.1"
        made.route("default", via=near, dev="eth0").neighbour(near, dev="eth0", state=gateway)
        made.neighbour(caller, dev="eth0", state=state)
        return made.socket(src=prefix.partition("/")[0], sport=443, dst=caller, dport=4000, state=SYN_RECV)

    beside = host().neighbour("10.9.0.9", dev="eth0")
    routed = host().route("10.50.0.0/16", via="10.0.0.1", dev="eth0")
    quiet = HostBuilder().link("eth0").address("eth0", "10.0.0.5/8").route("default", via="10.0.0.1", dev="eth0")
    quiet.neighbour("10.0.0.1", dev="eth0").neighbour("10.50.0.9", dev="eth0", state="failed")
    says: tuple[str, ...]

    def many(count: int) -> HostBuilder:
        made = host()
        for number in range(count):
            made.socket(src="10.0.0.5", sport=443, dst=f"198.51.100.{number}", dport=4000, state=SYN_RECV)
        return made

    for name, why, made, fires, says in (
        ("thirty others call", "a busy moment", many(31), 1, ()),
        ("a flood", "addresses are made up", many(32), 0, ()),
        ("a /8 for a /24", "ifconfig makes it so", host(), 1, ("10.50.0.9 calls from beyond eth0", "10.0.0.5/24 dev")),
        ("a /23 for a /24", "one bit", host("10.0.0.5/23", "10.0.1.9"), 1, ("10.0.0.5/24 dev",)),
        ("a /24 for a /25", "the first that fits", host("10.0.0.5/24", "10.0.0.200"), 1, ("10.0.0.5/25 dev",)),
        ("IPv6, a /32 for a /64", "the same", host("2001:db8::5/32", "2001:db8:7::9"), 1, ("2001:db8::5/64 dev",)),
        ("others are there", "which length was meant cannot be said", beside, 1, ("10.0.0.5/LENGTH",)),
        ("the caller answers", "it is there", host(state="reachable"), 0, ()),
        ("the gateway does not answer either", "the wire is cut", host(gateway="failed"), 0, ()),
        ("the caller has a route", "another fault", routed, 0, ()),
        ("nobody calls", "a host that is off", quiet, 0, ()),
    ):
        more: dict[str, Any] = {"severity": "warning"} if fires else {}
        yield Example(name=f"heard from beyond: {name}", why=why, tables=made.build(), fires=fires, says=says, **more)
