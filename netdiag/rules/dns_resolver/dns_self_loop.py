"""What it checks
  Whether the resolvers on this host, by their configuration, ask each other in a circle: dnsmasq, unbound, BIND
  (forward only), CoreDNS or systemd-resolved that forwards all names to an address and port at which it listens itself,
  directly or over another one, while it is running there. A dnsmasq without servers of its own asks those of
  /etc/resolv.conf, but for itself; CoreDNS asks those of the files that its Corefile names, itself as well.

Why it matters
  A question then goes round until its time is up: names fail after seconds, the processor is busy, and a single
  lookup becomes thousands of datagrams. (dnsmasq passes by an address of its own: it refuses at once.) It is born when
  a tool writes 127.0.0.53 into what the stub itself asks.

Confirm
  ss -lunp sport = :53
  grep -r server= /etc/dnsmasq.conf /etc/dnsmasq.d; resolvectl status

Fix
  Name a real nameserver where the circle closes (the file in the evidence), and restart that resolver.

Not flagged
  Forwarding for one domain only, to a resolver that serves it itself. A forwarder at another port of this host where
  another program listens which asks somebody else. A resolver that has another server to ask as well: it takes the one
  that answers. A BIND that may ask the world by itself (forward first). Configuration of a resolver that does not run.

References
  dnsmasq(8) --server, resolved.conf(5) DNS=, unbound.conf(5) forward-addr, named.conf(5) forwarders;
  https://coredns.io/plugins/loop/
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Forwarder
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.nameservers import RESOLVERS, is_loopback
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import comm_of, endpoint, listening, takes

RULE = Rule(
    id="dns-self-loop",
    title="a resolver forwards to itself",
    severity="critical",
    reads=("resolver", "sockets", "addresses", "routes"),
    own_cause=True,
)


RESOLV_CONF = "/etc/resolv.conf"
MADE = "/run/systemd/"
"""What systemd-resolved and systemd-networkd write themselves."""


def listener_of(view: HostView, row: Forwarder) -> str | None:
    """Which resolver of this host listens where this one forwards to; None: none, or somewhere else."""
    address = row.address.partition("%")[0]
    family = "inet6" if ":" in address else "inet"
    if not is_loopback(address) and not view.local.is_local(family, address):
        return None
    table = view.sockets
    mask = listening(table, IPPROTO_UDP) & takes(table, address) & (table.sport == row.port)
    for position in np.flatnonzero(mask).tolist():
        comm = comm_of(view, int(table.inode[position]))
        if comm in RESOLVERS:
            return RESOLVERS[comm]
    return None


def circle(start: str, asks: dict[str, list[tuple[Forwarder, str | None]]]) -> list[Forwarder]:
    """The forwarders by which a question of this resolver comes back to it; empty where it gets out.

    A resolver that has any other server to ask gets out: it takes the one that answers.
    """
    path: list[Forwarder] = []
    seen: set[str] = set()
    at = start
    while at not in seen:
        seen.add(at)
        rows = asks.get(at, [])
        if not rows or any(listener is None for _, listener in rows):
            return []
        path.append(rows[0][0])
        at = rows[0][1] or ""
    return path if at == start else []


def several(view: HostView) -> set[str]:
    """Resolvers of which more than one process waits for questions: who asks whom is not known of them."""
    table = view.sockets
    inodes = set(table.inode[listening(table, IPPROTO_UDP)].tolist())
    holders: dict[str, dict[int, int]] = {}
    for row in view.socket_owners.owners:
        if row.comm in RESOLVERS and row.inode in inodes:
            first = holders.setdefault(RESOLVERS[row.comm], {})
            first[row.inode] = min(row.pid, first.get(row.inode, row.pid))  # a child holds its parent's
    return {daemon for daemon, first in holders.items() if len(set(first.values())) > 1}


def check(view: HostView) -> Iterator[Draft]:
    asks: dict[str, list[tuple[Forwarder, str | None]]] = {}
    for row in view.resolver.forwarders:
        at = listener_of(view, row) if row.domain is None else None
        passed_by = row.daemon == at == "dnsmasq" and row.source.endswith(RESOLV_CONF)
        if row.domain is None and not passed_by:
            asks.setdefault(row.daemon, []).append((row, at))
    if "dnsmasq" not in asks:
        rows = [Forwarder(daemon="dnsmasq", address=one, source=RESOLV_CONF) for one in view.resolver.nameservers]
        asks["dnsmasq"] = [(row, at) for row in rows if (at := listener_of(view, row)) != "dnsmasq"]
    told = several(view)
    for daemon in sorted(asks):
        path = circle(daemon, asks)
        if not path or not told.isdisjoint({daemon, *(row.daemon for row in path)}):
            continue
        told |= {row.daemon for row in path}
        first = path[0]
        way = " asks ".join([*(row.daemon for row in path), daemon])
        place = endpoint(first.address, first.port)
        yield RULE.found(
            subject=subject("socket", netid="udp", src=first.address, sport=first.port),
            message=f"dnsmasq is told to ask itself, at {place}, and nobody else: it refuses names"
            if len(path) == 1 and daemon == "dnsmasq"
            else f"names go round in a circle: {way}, at {place}",
            evidence=[(f"{row.daemon} forwards to", endpoint(row.address, row.port), row.source) for row in path],
            confirm=["ss -lunp", *(f"grep -n {quoted(row.address)} {quoted(row.source)}" for row in path)],
            fix=_fix(min(path, key=_written)),
        )


def _written(row: Forwarder) -> int:
    """How far a file is from what a person writes: resolved makes its own, and resolv.conf is mostly made."""
    return 2 if row.source.startswith(MADE) else int(row.source.endswith(RESOLV_CONF))


def _fix(row: Forwarder) -> str:
    if row.source.startswith(MADE):
        return "resolvectl dns IFNAME SERVER  # of the link that the DHCP server or networkd gave it for"
    return f"name a real nameserver {_place(row)} and restart {row.daemon}"


def _place(row: Forwarder) -> str:
    """Where a resolver was told whom to ask."""
    given = row.source.startswith("/proc/") and row.source.endswith("/cmdline")
    return "on its command line (its service, or what starts it)" if given else f"in {quoted(row.source)}"


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int, rows: list[tuple[Any, ...]], *sockets: tuple[str, str, int]) -> Example:
        forwarders = tuple(
            Forwarder(daemon=d, address=a, port=p, domain=rest[0] if rest else None, source=f"/etc/{d}.conf")
            for d, a, p, *rest in rows
        )
        host = HostBuilder().resolver("127.0.0.1", forwarders=forwarders)
        host.link("eth0").address("eth0", "192.0.2.1/24")
        for comm, src, port in sockets:
            host.socket(protocol=17, src=src, sport=port, comm=comm)
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    own = ("dnsmasq", "127.0.0.1", 53)
    stub = ("systemd-resolve", "127.0.0.53", 53)
    to_self = ("dnsmasq", "127.0.0.1", 53)
    yield case("dnsmasq asks itself", "the plain fault", 1, [to_self], own)
    yield case("itself at the wildcard", "it listens everywhere", 1, [to_self], ("dnsmasq", "0.0.0.0", 53))
    yield case("by its own address", "not only loopback", 1, [("dnsmasq", "192.0.2.1", 53)], ("dnsmasq", "::", 53))
    both = [("dnsmasq", "127.0.0.53", 53), ("systemd-resolved", "127.0.0.1", 53)]
    yield case("two ask each other", "the classic", 1, both, own, stub)
    yield case(
        "resolved asks its stub", "somebody wrote 127.0.0.53 into it", 1, [("systemd-resolved", "127.0.0.53", 53)], stub
    )
    yield case(
        "one asks the other", "which asks the world", 0, [both[0], ("systemd-resolved", "198.51.100.1", 53)], own, stub
    )
    yield case("another server besides", "a question gets out", 0, [to_self, ("dnsmasq", "198.51.100.1", 53)], own)
    yield case(
        "another port, another program",
        "consul listens there",
        0,
        [("dnsmasq", "127.0.0.1", 8600)],
        own,
        ("consul", "127.0.0.1", 8600),
    )
    yield case("only one domain", "it is asked for that alone", 0, [(*to_self, "lan")], own)
    yield case("one asks the other, which asks nobody", "it has its own way", 0, [both[0]], own, stub)
    upward = [("systemd-resolved", "127.0.0.1", 53)]
    for name, servers, comm, fires in (
        ("the stub, which asks it", ("127.0.0.53",), "dnsmasq", 1),
        ("itself, which it passes by", ("127.0.0.1",), "dnsmasq", 0),
        ("the stub, and one elsewhere", ("127.0.0.53", "198.51.100.1"), "dnsmasq", 0),
        ("the stub, but it is another program", ("127.0.0.53",), "named", 0),
    ):
        tables = case(name, "", 0, upward, (comm, "127.0.0.1", 53), stub).tables
        tables = replace(tables, resolver=msgspec.structs.replace(tables.resolver, nameservers=servers))
        why = "a dnsmasq without servers reads resolv.conf"
        yield Example(name=f"resolv.conf names {name}", why=why, tables=tables, fires=fires)
    handed = ("dnsmasq", "127.0.0.1", 5300)
    yield case("handed to a second dnsmasq", "which may ask the world", 0, [handed], own, handed)
    started = Forwarder(daemon="dnsmasq", address="127.0.0.1", source="/proc/7/cmdline")
    host = HostBuilder().resolver("127.0.0.1", forwarders=(started,))
    tables = host.socket(protocol=17, src="127.0.0.1", sport=53, comm="dnsmasq").build()
    says = ("refuses names", "on its command line")
    for name, address, fires in (("names one elsewhere", "198.51.100.1", 0), ("names it too", "192.0.2.1", 1)):
        both_ = (started, Forwarder(daemon="dnsmasq", address=address, source=RESOLV_CONF))
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").resolver(address, forwarders=both_)
        read = host.socket(protocol=17, src="0.0.0.0", sport=53, comm="dnsmasq").build()
        yield Example(name=f"resolv.conf {name}", why="it asks that as well, but for itself", tables=read, fires=fires)
    yield Example(name="by its command line", why="no file says so", tables=tables, fires=1, says=says)
    own_file, hand = "/run/systemd/resolve/resolv.conf", "/etc/systemd/resolved.conf"
    for name, upper, lower, words in (
        ("the file by hand is named", RESOLV_CONF, hand, f"in {hand} and restart systemd-resolved"),
        ("resolv.conf is, where the other one is made", RESOLV_CONF, own_file, f"in {RESOLV_CONF} and restart dnsmasq"),
    ):
        pair = (
            Forwarder(daemon="dnsmasq", address="127.0.0.53", source=upper),
            Forwarder(daemon="systemd-resolved", address="127.0.0.1", source=lower),
        )
        host = HostBuilder().resolver("127.0.0.53", forwarders=pair).socket(protocol=17, src=stub[1], sport=53,
                                                                            comm=stub[0])  # fmt: skip
        circle_ = host.socket(protocol=17, src="127.0.0.1", sport=53, comm="dnsmasq").build()
        yield Example(name=f"a circle of two: {name}", why="it is mended there", tables=circle_, fires=1, says=(words,))
    only = (Forwarder(daemon="systemd-resolved", address="127.0.0.53", source=own_file),)
    host = HostBuilder().resolver("127.0.0.53", forwarders=only)
    found = host.socket(protocol=17, src=stub[1], sport=53, comm=stub[0]).build()
    yield Example(name="a link gave it the stub", why="no file is written by hand", tables=found, fires=1,
                  says=("resolvectl dns IFNAME",))  # fmt: skip
    for daemon in ("unbound", "named", "coredns"):
        row = (daemon, "127.0.0.1", 53)
        yield case(f"{daemon} asks itself", "by its own file", 1, [row], row)
    cores = (Forwarder(daemon="coredns", address="127.0.0.1", source=RESOLV_CONF),)
    host = HostBuilder().resolver("127.0.0.1", forwarders=cores)
    made = host.socket(protocol=17, src="0.0.0.0", sport=53, comm="coredns").build()
    why = "it does not pass itself by, as dnsmasq does"
    yield Example(name="CoreDNS asks those of resolv.conf", why=why, tables=made, fires=1, says=("restart coredns",))
    yield case("not running", "what it would do is no fault yet", 0, [to_self])
    yield case("somebody else listens there", "named asks the world", 0, [to_self], ("named", "127.0.0.1", 53))
    yield case("a server elsewhere", "as it should be", 0, [("dnsmasq", "198.51.100.1", 53)], own)
