"""Whether those who are sent to by a neighbour entry hear anything: callers get no answer, though they are heard, or
nobody who is called answers.

Used where a hardware address that somebody wrote down is judged. Pure; asks for sockets, routes and rules.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import SYN_RECV, SYN_SENT
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import plain

AGAIN = 2
"""Answers in a row that nobody acknowledged: the caller's next segment may be lost, and its call was just heard."""
MOST = 64
"""Callers that are looked up."""


def deaf_callers(view: HostView, row: Neighbour) -> list[str]:
    """Addresses that open connections to this host and do not hear its answers (SYN-ACK), sent by this entry; sorted.

    Empty where sockets or what leads to the callers was not read whole, and where somebody behind the entry has
    acknowledged something since it was written.
    """
    return _waiting(view, row, SYN_RECV)


def vain_calls(view: HostView, row: Neighbour) -> list[str]:
    """Addresses that this host calls by this entry again and again (SYN), and that do not answer; sorted. Empty as
    above: of an entry by which anything was answered it is not the entry's fault."""
    return _waiting(view, row, SYN_SENT)


def _waiting(view: HostView, row: Neighbour, state: int) -> list[str]:
    if not all(view.read_whole(table) for table in ("sockets", "routes", "rules", "nexthops", "sysctls")):
        return []
    if row.confirmed is not None and row.updated is not None and row.confirmed + 1 < row.updated:
        return []  # (both times begin as one)
    table = view.sockets
    waiting = (table.protocol == IPPROTO_TCP) & (table.state == state) & (table.retrans >= AGAIN)
    callers = {str(plain(one.dst)) for one in table.rows(np.flatnonzero(waiting)[:MOST])}
    return sorted(one for one in callers if (":" in one) == (row.family == "inet6") and _led_by(view, row, one))


def _led_by(view: HostView, row: Neighbour, caller: str) -> bool:
    if caller == row.dst:
        return True
    answer = view.lookup(Query(family=row.family, dst=caller))
    return any(hop.oif == row.ifindex and hop.gateway == row.dst for hop in answer.hops)


def unheard_finding(rule: Rule, link: Link, row: Neighbour, callers: list[str]) -> Draft:
    """The report of one entry."""
    name, six = link.ifname, "-6 " if row.family == "inet6" else ""
    many = f"{callers[0]} and {len(callers) - 1} more" if len(callers) > 1 else callers[0]
    return rule.found(
        subject=subject("neighbour", dst=row.dst, ifname=name),
        confidence="likely",
        message=f"{row.dst} on {name} was written down with {row.lladdr}, and nobody hears the answers to the "
        f"connections that come from {many}: the hardware address is wrong, or the answers are filtered on their way",
        evidence=(
            (f"neighbour {row.dst}", f"{row.lladdr} permanent", f"RTM_GETNEIGH {name} NDA_LLADDR"),
            ("callers whose calls come and who do not hear the answer", many, "SOCK_DIAG tcp SYN_RECV idiag_retrans"),
        ),
        confirm=(f"ip {six}neigh show to {row.dst} dev {quoted(name)}", "ss -tno state syn-recv"),
        fix=f"ip {six}neigh delete {row.dst} dev {quoted(name)}",
        touches=(subject("link", ifname=name),),
        breaks=[subject("address", address=one) for one in (row.dst, *callers)],
    )


def nowhere(view: HostView, link: Link, row: Neighbour) -> bool:
    """Whether a bridge has learned who is behind each of its ports, and has this hardware address behind none."""
    if link.kind != "bridge" or not view.read_whole("fdb"):
        return False
    ports = {port.ifindex for port in view.stack.ports(link.ifindex) if port.up}
    known = [one for one in view.fdb.rows() if one.ifindex in ports or one.ifindex == link.ifindex]
    heard = {one.ifindex for one in known if one.state != "permanent"}
    return bool(ports) and ports <= heard and row.lladdr not in {one.lladdr for one in known}


def vain_finding(rule: Rule, link: Link, row: Neighbour, called: list[str], *, nobody: bool = False) -> Draft:
    """The report of one entry by which nobody answers. One may be off, or filter; a gateway that passes none of several
    on is more than that, and so is an address that ``nobody`` behind any port of the bridge has."""
    name, six = link.ifname, "-6 " if row.family == "inet6" else ""
    far = [one for one in called if one != row.dst]
    many = f"{called[0]} and {len(called) - 1} more" if len(called) > 1 else called[0]
    return rule.found(
        subject=subject("neighbour", dst=row.dst, ifname=name),
        severity="warning",
        confidence="likely" if len(far) > 1 or nobody else "possible",
        message=f"{row.dst} on {name} was written down with {row.lladdr}, and nothing was answered by it since: "
        f"connections to {many} are not; the hardware address is wrong, "
        + ("for no port has it" if nobody else "or what is behind it does not answer"),
        evidence=(
            (f"neighbour {row.dst}", f"{row.lladdr} permanent", f"RTM_GETNEIGH {name} NDA_LLADDR"),
            ("called again and again", many, "SOCK_DIAG tcp SYN_SENT idiag_retrans"),
        ),
        confirm=(f"ip {six}neigh show to {row.dst} dev {quoted(name)}", "ss -tno state syn-sent"),
        fix=f"ip {six}neigh delete {row.dst} dev {quoted(name)}",
        touches=(subject("link", ifname=name),),
        breaks=[subject("address", address=one) for one in (row.dst, *called)],
    )


def unheard_examples() -> Iterator[Example]:
    """For neigh-permanent-stale-mac: a neighbour that was written down calls and does not hear the answer."""

    def host(dst: str = "192.0.2.1", caller: str | None = None, age: float | None = 2.0, **socket: Any) -> HostBuilder:
        six = ":" in dst
        made = HostBuilder().link("eth0").address("eth0", "2001:db8::2/64" if six else "192.0.2.2/24")
        made.route("default", via=dst, dev="eth0").neighbour("192.0.2.3", dev="eth0")
        ages = {"updated": age} if age else {"confirmed": None, "updated": 2.0}
        made.neighbour(dst, dev="eth0", state="permanent", lladdr="02:00:00:00:00:09", **ages)
        own: dict[str, Any] = {
            "src": "2001:db8::2" if six else "192.0.2.2",
            "dst": caller or dst,
            "sport": 179,
            "dport": 4000,
        }
        return made.socket(**(own | {"dport": 4000, "state": SYN_RECV, "retrans": AGAIN} | socket))

    mapped: dict[str, Any] = {"family": 10, "src": "::ffff:192.0.2.2"}
    elsewhere = host(caller="198.51.100.9").route("198.51.100.0/24", via="192.0.2.3", dev="eth0")
    six: dict[str, Any] = {"family": 10, "src": "2001:db8::2"}
    twice = (
        host("fe80::1", "2001:db8:9::9", **six)
        .link("eth1")
        .neighbour("fe80::1", dev="eth1", lladdr="02:00:00:00:00:07")
    )
    other = twice.route("2001:db8:9::/48", via="fe80::1", dev="eth1")
    for name, why, made, fires, more in (
        ("calls, and hears no answer", "its call came, the answer went elsewhere", host(), 1, {}),
        ("calls over IPv6", "the same", host("2001:db8::1"), 1, {}),
        ("calls a socket for both families", "the same", host(caller="::ffff:192.0.2.1", **mapped), 1, {}),
        ("leads to a caller", "the gateway", host(caller="198.51.100.9"), 1, {}),
        ("calls, ages not told", "nobody knows of an answer", host(age=None), 1, {}),
        ("of which a caller of the other family is none", "another entry", host(caller="2001:db8::9", **six), 0, {}),
        ("has a namesake on the caller's link", "link-local addresses are each link's own", other, 0, {}),
        ("calls, and the first answer is lost", "that happens", host(retrans=AGAIN - 1), 0, {}),
        ("is not the caller", "it goes by another gateway", elsewhere, 0, {}),
        ("has answered since", "the entry is right", host(age=2.1), 0, {}),
        ("hangs up", "it heard", host(state=5), 0, {}),
        ("calls, sockets not read", "nobody knows", host(), 0, {"late": ("sockets",), "unjudged": True}),
    ):
        extra: dict[str, Any] = {"says": ("nobody hears the answers",), "confidence": "likely"} if fires else more
        yield Example(name=f"written down, {name}", why=why, tables=made.build(), fires=fires, **extra)
    yield from _vain_examples(host)


def _vain_examples(host: Callable[..., HostBuilder]) -> Iterator[Example]:
    def call(made: HostBuilder, *dsts: str, **socket: Any) -> HostBuilder:
        for number, dst in enumerate(dsts):
            own: dict[str, Any] = {"src": "192.0.2.2", "dst": dst, "sport": 50000 + number, "dport": 443}
            made.socket(**(own | {"state": SYN_SENT, "retrans": AGAIN} | socket))
        return made

    quiet = {"state": 5}
    two = ("198.51.100.9", "198.51.100.10")
    for name, why, made, severity in (
        ("passes none of two on", "nothing was ever answered by it", call(host(**quiet), *two), "warning"),
        ("passes one on in vain", "that one may be off", call(host(**quiet), *two[:1]), "info"),
        ("is called in vain", "it may be off", call(host(**quiet), "192.0.2.1"), "info"),
        ("is called in vain, and one behind it", "the same", call(host(**quiet), "192.0.2.1", two[0]), "info"),
        ("has answered since it was written", "it is right", call(host(age=2.1, **quiet), *two), None),
        ("is called for the first time", "a segment may be lost", call(host(**quiet), *two, retrans=AGAIN - 1), None),
        ("is not on the way", "others are called", call(host(**quiet), "192.0.2.3", "192.0.2.4"), None),
    ):
        yield Example(
            name=f"written down, {name}",
            why=why,
            tables=made.build(),
            fires=0 if severity is None else 1,
            severity=severity,  # type: ignore[arg-type]
            says=("nothing was answered by it since",) if severity else (),
        )
    node = HostBuilder().link("vx0", kind="vxlan").route("10.42.2.0/24", via="10.42.2.0", dev="vx0", onlink=True)
    node.neighbour("10.42.2.0", dev="vx0", state="permanent", lladdr="02:00:00:00:00:09", updated=2.0)
    dead = call(node, "10.42.2.5", "10.42.2.6", src="10.42.1.1")
    yield Example(name="written down, a tunnel's node passes none on", why="it may be off", tables=dead.build())
    for name, where, learned, severity in (
        ("and no port has it", "tap0", "02:00:00:00:00:07", "warning"),
        ("and a port has it", "tap0", "02:00:00:00:00:09", "info"),
        ("and a port is silent", "br0", "02:00:00:00:00:07", "info"),
    ):
        made = HostBuilder().link("br0", kind="bridge").address("br0", "10.1.0.1/24")
        made.link("tap0", kind="tun", info={"type": "tap"}, master="br0")
        made.neighbour("10.1.0.5", dev="br0", state="permanent", lladdr="02:00:00:00:00:09", updated=2.0)
        rows = [entry(made, learned, None, dev=where, state=2, flags=0)]
        tables = replace(call(made, "10.1.0.5", src="10.1.0.1").build(), fdb=fdb(rows))
        yield Example(
            name=f"written down, a guest is called in vain, {name}",
            why="it was made anew",
            tables=tables,
            fires=1,
            severity=severity,  # type: ignore[arg-type]
        )
