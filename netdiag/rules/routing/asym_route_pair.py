"""What it checks
  Walks a packet over the collected hosts from each host to the addresses of the others that it has a route of its own
  for (or that are its next hop), and the answer back. Where the two ways differ and that is why the packet or its
  answer is dropped, by a strict reverse path filter or by a stateful filter that saw only one direction, it says so:
  one finding for each such filter, however many pairs it cuts.

Why it matters
  Both hosts have a route, both firewalls have the right rules, and ping works one way only. Asymmetry by itself is
  common and harmless; the filter on one of the ways makes it a fault, and no single host shows both.

Confirm
  netdiag fleet path --from HOST --to ADDRESS DIR
  ip route get ADDRESS                      (on both hosts: the links must be the same)
  nstat -asz TcpExtIPReversePathFilter      (on the host that drops, twice)

Fix
  Make the ways the same: ip route change PREFIX ... metric N on one of the hosts; it moves new packets of open
  connections. Or make the filter loose there: sysctl -w net/ipv4/conf/IFNAME/rp_filter=2.

Not flagged
  Two ways without such a filter (anycast in, tunnel out; direct server return). Loose filters. Addresses that a host
  reaches by its default route only: nobody said that it talks to them. What leaves the hosts that were collected, and
  what cannot be known (a hash, rules that may match). Filters that drop the packet whichever way it comes.

References
  RFC 3704 section 2.2; net/ipv4/fib_frontend.c __fib_validate_source(); net/netfilter/nf_conntrack_core.c
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.nft import Nft, NftRule
from netdiag.model.protocols import PROTOCOLS
from netdiag.path.fleetwalk import FleetEnd, FleetWays
from netdiag.path.trail import Packet
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, rule, state, table, verdict
from netdiag.rules.shape import FleetExample, Rule, quoted

RULE = Rule(
    id="asym-route-pair",
    title="packets and their answers take different ways, and a filter on one of them drops them",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=(
        "asym-rpfilter-strict-drop",
        "rpfilter-strict-drops-arp",
        "ct-asym-half-seen",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "wg-handshake-stale",
        "wg-never-handshaked",
    ),
    scope="fleet",
)
MOST_WALKS = 1500
"""Packets that are walked, with their answers; what is left over is said."""


class Drop(NamedTuple):
    """One pair whose packets are lost to asymmetry."""

    near: str
    address: str
    there: FleetEnd
    back: FleetEnd | None
    at: FleetEnd
    """The one of the two that is lost."""
    filter: str
    """``rp_filter`` or ``netfilter``."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Host, interface and filter that drop it."""
        return self.at.host, str(self.at.stages[-1].iif), self.filter


def _strict(host: FleetHost) -> bool:
    """Whether an interface to the outside has a strict filter, and there is another one to answer by."""
    every = host.tables.sysctls.values.get("net.ipv4.conf.all.rp_filter", "0")
    up = [link for link in host.tables.links if link.up and not link.loopback]
    return len(up) > 1 and any(max(int(every or 0), link.inet_conf.get("rp_filter", 0)) == 1 for link in up)


def _stateful(host: FleetHost) -> bool:
    """Whether it forwards for others behind netfilter."""
    nft: Nft = host.tables.nft
    return any(link.inet_conf.get("forwarding") for link in host.tables.links if not link.loopback) and any(
        chain.hook in ("forward", "prerouting") for table in nft.tables for chain in table.chains
    )


def _asked(view: FleetView) -> Iterator[tuple[FleetHost, str]]:
    """Hosts and addresses of other hosts, those first that a filter of one of the two can cut."""
    hosts = list(view.reading(*RULE.reads))
    strict = {host.name for host in hosts if _strict(host)}
    middle = {host.name for host in hosts if _stateful(host)}
    if not strict and not middle:
        return
    forwards = {h.name for h in hosts if any(x.inet_conf.get("forwarding") for x in h.tables.links if not x.loopback)}
    everybody = bool(middle or strict & forwards)
    addresses = {host.name: _addresses(host) for host in hosts}
    for turn in (True, False) if everybody else (True,):
        for near in hosts:
            for far in hosts:
                if near is not far and (near.name in strict or far.name in strict) == turn:
                    yield from ((near, address) for address in addresses[far.name])


def _addresses(host: FleetHost) -> list[str]:
    return [row.local for row in host.tables.addresses if row.scope == 0]


def _meant(ways: FleetWays, near: FleetHost, address: str) -> bool:
    """Whether a host has a route of its own to an address, or has it as its next hop."""
    host = ways.ready(near.name)
    family = "inet6" if ":" in address else "inet"
    answer = host.routing.lookup(Packet(family=family, dst=address).query())
    if answer.route is None:
        return False
    row = (host.tables.routes if family == "inet" else host.tables.routes6).row(answer.route)
    return not row.default or any(hop.gateway == address for hop in answer.hops)


def check(view: FleetView) -> Iterator[Draft | Unjudged]:
    ways = FleetWays(view)
    owners = ways.owners
    found: list[Drop] = []
    walked = left = 0
    for near, address in _asked(view):
        if len({owner.name for owner, _ in owners.get(address, [])}) != 1 or not _meant(ways, near, address):
            continue
        if walked >= MOST_WALKS:
            left += 1
            continue
        walked += 1
        drop = _drop(ways, near.name, address)
        if drop is not None:
            found.append(drop)
    yield from (_finding(drops) for drops in _causes(found))
    if left:
        yield Unjudged(reason=f"{walked} ways were walked, {left} more were not: ask for one with fleet path")


def _causes(drops: list[Drop]) -> list[list[Drop]]:
    """Drops of one cause: by one filter, or between the same two hosts, over any number of steps."""
    group: dict[object, int] = {}
    for number, drop in enumerate(drops):
        keys: tuple[object, ...] = (drop.place, frozenset((drop.near, drop.there.host)))
        joined = {group[key] for key in keys if key in group}
        group = {key: number if old in joined else old for key, old in group.items()}
        group |= dict.fromkeys(keys, number)
    found: dict[int, list[Drop]] = defaultdict(list)
    for drop in drops:
        found[group[drop.place]].append(drop)
    return [sorted(rows, key=lambda drop: (drop.place, drop.near, drop.address)) for rows in found.values()]


def _drop(ways: FleetWays, near: str, address: str) -> Drop | None:
    """What asymmetry does to an echo, or else to a TCP connection."""
    family = "inet6" if ":" in address else "inet"
    for proto, port in (("icmpv6" if family == "inet6" else "icmp", None), ("tcp", 22)):
        packet = Packet(family=family, dst=address, ip_proto=PROTOCOLS[proto], sport=port and 40000, dport=port)
        there = ways.go(near, packet)
        if there.lost:
            if _crosses(there):
                return Drop(near, address, there, None, there, "rp_filter")
            continue
        back = ways.back(there)
        if back is None or there.packet is None:
            return None
        if _crosses(back):
            return Drop(near, address, there, back, back, "rp_filter")
        ends = there.packet.ends
        seen = ways.go(
            there.host,
            there.packet.answer(there.guest.ifindex if there.guest else 0, None),
            {**there.passed, back.host: (ends, ends)},
        )
        return Drop(near, address, there, back, back, "netfilter") if seen.host != back.host else None
    return None


def _crosses(end: FleetEnd) -> bool:
    """Whether a filter asks for the way back: a source of the host's own is another matter, or one that is refused."""
    return "rp_filter on" in end.reason


def _way(end: FleetEnd | None) -> str:
    """``a eth0 > b eth1``: each host with the interface that it sends by."""
    if end is None:
        return "none"
    return " > ".join(f"{stage.host} {stage.end.dev or ''}".strip() for stage in end.stages) + (
        f" > {end.host} {end.stages[-1].iif}" if end.stages and end.stages[-1].host != end.host else ""
    )


def _finding(drops: list[Drop]) -> Draft:
    first = drops[0]
    host, iif, kind = first.place
    names = _hosts(drops)
    pairs = {frozenset((drop.near, drop.there.host)) for drop in drops}
    what = "an answer" if first.back is not None else "a packet"
    more = f", and for {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    far = first.there.host
    fix = (
        f"sysctl -w net/ipv4/conf/{quoted(iif)}/rp_filter=2  # on {host}; or align the routes of {first.near} and {far}"
        if kind == "rp_filter"
        else f"align the routes of {first.near} and {far}, so that both directions pass {host} or neither does"
    )
    return RULE.found(
        subject=across(names, subject("host-pair", dropped_on=host, ifname=iif, filter=kind)),
        message=f"{host} drops {what} between {first.near} and {first.address} of {far}{more}: {first.at.reason}",
        evidence=[
            (f"{first.near} to {first.address}", _way(first.there), "walk over the routes of these hosts"),
            ("the answer", _way(first.back) if first.back else "not sent", "walk over the routes of these hosts"),
            (f"filter on {host}", first.at.reason, "rp_filter, RTM_GETROUTE" if kind == "rp_filter" else "nf_tables"),
        ],
        confirm=[f"ip route get {first.address}", "nstat -asz TcpExtIPReversePathFilter"],
        fix=fix,
        touches=[on(name, subject("link", ifname=ifname)) for name, ifname, _ in {drop.place for drop in drops}],
        breaks=[on(name, subject("link", ifname=ifname)) for name, ifname in _links(drops)],
    )


def _hosts(drops: Iterable[Drop]) -> list[str]:
    return sorted({stage.host for drop in drops for end in (drop.there, drop.back) if end for stage in end.stages})


def _links(drops: Iterable[Drop]) -> list[tuple[str, str]]:
    found = set()
    for drop in drops:
        for end in (drop.there, drop.back):
            for stage in end.stages if end else ():
                found |= {(stage.host, name) for name in (stage.iif, stage.end.dev) if name}
    return sorted(found)


def examples() -> Iterator[FleetExample]:
    def end(number: int, other: int, dev: int, *, rp: int = 1, every: int = 0) -> Any:
        """A host on two networks, with an address of its own and a route to the other's by one of the two."""
        host = HostBuilder()
        for net in (1, 2):
            host.link(f"eth{net}", address=f"02:00:00:00:0{net}:0{number}", inet_conf={"rp_filter": rp})
            host.address(f"eth{net}", f"10.0.{net}.{number}/24")
            lladdr = f"02:00:00:00:0{net}:0{other}"
            host.neighbour(f"10.0.{net}.{other}", dev=f"eth{net}", lladdr=lladdr)
        host.sysctl("net.ipv4.conf.all.rp_filter", every)
        host.address("lo", f"10.9.0.{number}/32")
        return host.route(f"10.9.0.{other}/32", via=f"10.0.{dev}.{other}", dev=f"eth{dev}", prefsrc=f"10.9.0.{number}")

    def case(name: str, why: str, one: Any, two: Any, fires: int = 0) -> FleetExample:
        return FleetExample(name=name, why=why, hosts={"fra-a": one.build(), "fra-b": two.build()}, fires=fires)

    yield case(
        "two links, strict", "there by eth1, back by eth2; both filters drop, one cause", end(1, 2, 1), end(2, 1, 2), 1
    )
    yield case("one end strict", "only its filter drops", end(1, 2, 1), end(2, 1, 2, rp=0), 1)
    yield case("no filter", "asymmetry alone is no fault", end(1, 2, 1, rp=0), end(2, 1, 2, rp=0))
    yield case("loose", "any way back will do", end(1, 2, 1, rp=2), end(2, 1, 2, rp=2))
    yield case("all=2 wins", "the larger value counts", end(1, 2, 1, every=2), end(2, 1, 2, every=2))
    yield case("the same link", "both by eth1", end(1, 2, 1), end(2, 1, 1))

    def wide(number: int, other: int, dev: int, rp: int = 1) -> HostBuilder:
        made: HostBuilder = end(number, other, dev, rp=rp).without_routes(table=254)
        for net in (1, 2):
            made.route(f"10.0.{net}.0/24", dev=f"eth{net}", scope=253)
        return made.route("default", via=f"10.0.{dev}.{other}", dev=f"eth{dev}", prefsrc=f"10.9.0.{number}")

    yield case("answered by a default route", "one way is meant", end(1, 2, 1), wide(2, 1, 2, rp=0), 1)
    yield case("by default routes", "nobody meant these two for each other", wide(1, 2, 1), wide(2, 1, 2))
    near = HostBuilder().link("eth1", address="02:00:00:00:01:01").address("eth1", "10.7.0.1/32")
    near.neighbour("10.0.1.2", dev="eth1", lladdr="02:00:00:00:01:02")
    near.route("default", via="10.0.1.2", dev="eth1", onlink=True)
    gateway = end(2, 1, 2).route("10.7.0.1/32", via="10.0.2.1", dev="eth2")
    yield case("its gateway, on link", "it is meant, though by the default route", near, gateway, 1)
    shared = {"fra-a": end(1, 2, 1), "fra-b": end(2, 1, 2), "fra-c": HostBuilder().address("lo", "10.9.0.2/32")}
    shared["fra-c"].address("lo", "10.9.0.1/32")
    both = {name: made.build() for name, made in shared.items()}
    yield FleetExample(name="anycast", why="which of them answers is not known", hosts=both)
    lonely = (
        HostBuilder().link("eth0").address("eth0", "10.0.1.9/24").route("10.9.0.2/32", via="10.0.1.254", dev="eth0")
    )
    out = {"fra-a": lonely.build(), "fra-b": end(2, 1, 2).build()}
    yield FleetExample(name="out of the fleet", why="who passes it on is not known", hosts=out)
    yield from _through_routers()


def _through_routers() -> Iterator[FleetExample]:
    """Two hosts with two routers between them: there by r1, back by r2 or by r1."""

    def host(number: int, by: int) -> HostBuilder:
        made = HostBuilder().link("eth0", address=f"02:00:00:00:00:{number:02}").address("eth0", f"10.0.{number}.9/24")
        made.route(f"10.0.{3 - number}.0/24", via=f"10.0.{number}.{by}", dev="eth0")
        for router in (1, 2):
            made.neighbour(f"10.0.{number}.{router}", dev="eth0", lladdr=f"02:00:00:00:{router:02}:{number:02}")
        return made

    def bare(own: int) -> HostBuilder:
        made = HostBuilder()
        for net in (1, 2):
            made.link(f"eth{net}", address=f"02:00:00:00:{own:02}:{net:02}", inet_conf={"forwarding": 1})
            made.address(f"eth{net}", f"10.0.{net}.{own}/24")
            made.neighbour(f"10.0.{net}.9", dev=f"eth{net}", lladdr=f"02:00:00:00:00:{net:02}")
        return made

    def router(own: int, *rules: NftRule) -> HostBuilder:
        return bare(own).nft(table(chain("fwd", *rules, hook="forward", policy="drop")))

    for name, why, wrong in (("a strict router", "its own way back is the other link", 1), ("in order", "one way", 0)):
        strict = bare(1).sysctl("net.ipv4.conf.all.rp_filter", 1)
        if wrong:
            strict.route("10.0.1.9/32", via="10.0.2.9", dev="eth2")
        made = {"fra-a": host(1, 1).build(), "fra-b": host(2, 1).build(), "fra-r1": strict.build()}
        yield FleetExample(name=f"strict router: {name}", why=why, hosts=made, fires=wrong)
    opened = rule(state("new", "established", "related"), verdict("accept"))
    for name, why, back, rules, fires in (
        ("stateful, two routers", "the second saw no first packet", 2, (opened,), 1),
        ("stateful, one router", "it saw both", 1, (opened,), 0),
        ("stateless, two routers", "nobody asks for the connection", 2, (rule(verdict("accept")),), 0),
        ("closed", "it drops whichever way it comes", 2, (), 0),
    ):
        hosts = {"fra-a": host(1, 1), "fra-b": host(2, back), "fra-r1": router(1, *rules), "fra-r2": router(2, *rules)}
        made = {key: value.build() for key, value in hosts.items()}
        yield FleetExample(name=name, why=why, hosts=made, fires=fires)
