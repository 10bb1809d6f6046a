"""What it checks
  A route by a WireGuard interface that no peer of the interface can serve: not a single address of the route's prefix
  is among the allowed addresses of any peer. A default route, or a half of it, counts where no peer has a prefix nearly
  as wide. And: the neighbour of a BGP session that is down, or the far end of a connection of this host that stood and
  gets no answer (a warning), is routed into the interface, by whichever route, and no peer has its address. A
  connection that never stood is a possibility, told as info: the peer may have been taken away for good.

Why it matters
  WireGuard chooses the peer by the allowed addresses, and the route's gateway plays no part. Without a peer the packet
  is dropped on this host: programs get ENOKEY ("Required key not available"), forwarded packets an ICMP "host
  unreachable", and a userspace daemon says nothing at all.

Confirm
  ip route show dev IFNAME table all
  wg show IFNAME allowed-ips

Fix
  wg set IFNAME peer KEY allowed-ips +PREFIX, if your wg(8) knows "+", else the peer's whole list; it moves the prefix
  away from another peer that has it. Or take the route away: ip route del PREFIX dev IFNAME, and the packets go by the
  next shorter prefix, in the clear.

Not flagged
  An aggregate over the prefixes of peers, where the holes are meant to be dead. The subnet of the interface's own
  address (the kernel made that route) and link-local and multicast prefixes. Routes for networks by an interface
  without any peer: peers that are added when they are needed come and go; but nobody waits with a default route, or one
  of a single address. Routes of tables that no policy rule leads to. BGP sessions that are switched off, or that wait
  to be called. An interface that is down.

References
  drivers/net/wireguard/device.c wg_xmit(), allowedips.c wg_allowedips_lookup_dst(); wg(8) "allowed-ips"
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netdiag.index.cryptokey import cryptokey
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, Subject, subject
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.route import Route
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.bgpsessions import sessions, way
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.routewords import ip_command, route_subject, table_word
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import endpoint
from netdiag.rules.wireguardpeers import devices, source
from netdiag.rules.wireguardwanted import unanswered
from netdiag.rules.wireguardways import device_objects, local_only, network, peer_for, routes_by, usable_tables

RULE = Rule(
    id="wg-route-without-allowedips",
    title="a route leads into a WireGuard interface that has no peer for it",
    severity="critical",
    reads=("links", "routes", "rules", "nexthops", "wireguard"),
    consults=("bird", "addresses", "sysctls", "sockets"),
    explains=("bgp-not-established", "bgp-hold-timer-expired", "bgp-bfd-down", "asym-rpfilter-strict-drop", "dns-*"),
)
RTPROT_KERNEL = 2
WIDE = {4: 3, 6: 16}
"""Bits: a peer with a prefix as short as this is one for "everything"."""


def served(device: WireguardDevice, dst: str) -> bool:
    """Whether some address of the prefix has a peer; of a default route, whether a peer is one for everything."""
    wanted, held = network(dst), cryptokey(device)
    if wanted.prefixlen > 1:
        return held.overlaps(dst)
    shortest = held.shortest(wanted.version)
    return shortest is not None and shortest <= WIDE[wanted.version]


class Lost(NamedTuple):
    """Somebody whom this host sends to, for whom the device has no peer."""

    who: str
    """``the neighbour of BGP session up1``."""
    address: str
    route: int
    """Position of the route that leads there."""
    thing: Subject
    fact: tuple[str, object, str]
    confirm: str
    severity: Severity


def check(view: HostView) -> Iterator[Draft]:
    for device, link in devices(view):
        for family in ("inet", "inet6"):
            tables = usable_tables(view, family)
            positions = [number for table, number in routes_by(view, family, link.ifindex) if table in tables]
            rows = [row for row in view.route_rows(family, sorted(set(positions))) if _judged(row)]
            dead = [row for row in rows if not served(device, row.dst) and (device.peers or _meant(row))]
            if dead:
                yield _finding(view, device, link, sorted(dead, key=lambda row: (row.table, network(row.dst))))
            lost = [*_sessions(view, device, link, family), *_connections(view, device, link, family)]
            by = view.route_rows(family, [one.route for one in lost])
            if lost and not any(row in dead for row in by):
                yield _neighbours(view, device, by[0], lost)


def _meant(row: Route) -> bool:
    """Whether nobody would make the route before there is a peer: for everything, or for one address."""
    held = network(row.dst)
    return held.prefixlen <= 1 or held.num_addresses == 1


def _sessions(view: HostView, device: WireguardDevice, link: Link, family: str) -> Iterator[Lost]:
    """Neighbours of BGP sessions that are down, for whom the device has no peer."""
    for session in sessions(view):
        if session.up or session.switched_off or session.waits:
            continue
        answer, address = way(view, session), str(session.address)
        if answer is None or answer.route is None or answer.query.family != family:
            continue
        if {hop.oif for hop in answer.hops} == {link.ifindex} and peer_for(device, address) is None:
            yield Lost(
                f"the neighbour of BGP session {session.name}",
                address,
                answer.route,
                session.subject,
                (f"BGP state of {session.name}", session.state, session.source),
                session.confirm,
                "critical",
            )


def _connections(view: HostView, device: WireguardDevice, link: Link, family: str) -> Iterator[Lost]:
    """Far ends of connections that send again and again, for whom the device has no peer, those that stood first. One
    that never stood may call somebody who was taken away for good: a possibility."""
    for row in sorted(unanswered(view), key=lambda row: row.state != "ESTAB"):
        dst, src = row.dst.partition("%")[0], row.src.partition("%")[0]
        if (":" in dst) != (family == "inet6") or peer_for(device, dst) is not None:
            continue
        answer = view.lookup(Query(family=family, dst=dst, src=src, ip_proto=IPPROTO_TCP, dport=row.dport))
        if answer.route is not None and {hop.oif for hop in answer.hops} == {link.ifindex}:
            stood = row.state == "ESTAB"
            place = endpoint(dst, row.dport)
            yield Lost(
                f"the far end of a connection{'' if stood else ' that is being opened'} ({place})",
                dst,
                answer.route,
                subject("socket", netid=row.netid, src=row.src, sport=row.sport),
                (
                    f"connection to {place}",
                    f"{row.state}, sends again without an answer",
                    "SOCK_DIAG tcp idiag_retrans",
                ),
                f"ss -tno dst {quoted(dst if family == 'inet' else f'[{dst}]')}",
                "warning" if stood else "info",
            )


def _judged(row: Route) -> bool:
    return row.protocol != RTPROT_KERNEL and not local_only(network(row.dst))


def _finding(view: HostView, device: WireguardDevice, link: Link, dead: list[Route]) -> Draft:
    name, row = device.ifname, dead[0]
    many = f" (and {len(dead) - 1} more routes)" if len(dead) > 1 else ""
    share = ", for its share of the packets," if len(row.hops) > 1 else ""
    have = sorted({text for peer in device.peers for text in peer.allowed_ips if (":" in text) == (":" in row.dst)})
    return RULE.found(
        subject=route_subject(view, row) | {"ifname": name},
        message=f"route {row.dst} of table {table_word(row.table)}{many} leads into {name}{share} where no peer has "
        "any of it among its allowed addresses: the packets are dropped",
        evidence=[
            (f"route {row.dst}", f"dev {name}", "RTM_GETROUTE RTA_OIF"),
            (
                f"allowed addresses of {name}",
                ", ".join(have[:4]) + (f" and {len(have) - 4} more" if len(have) > 4 else "") or "none of this family",
                source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip"),
            ),
            (f"{name} tx_errors", link.stats.tx_errors, f"RTM_GETLINK {name} IFLA_STATS64"),
        ],
        confirm=[
            f"{ip_command(row.family)} route show dev {quoted(name)} table {row.table}",
            f"wg show {quoted(name)} allowed-ips",
        ],
        fix=f"{ip_command(row.family)} route del {row.dst} dev {quoted(name)} table {row.table}"
        "  # or give the prefix to the peer that has it: wg set ... allowed-ips",
        touches=device_objects(device),
        breaks=[
            *(route_subject(view, one) for one in dead),
            *(
                subject("neighbour", dst=one.dst.partition("/")[0], ifname=name)
                for one in dead
                if network(one.dst).num_addresses == 1
            ),
        ],
    )


def _neighbours(view: HostView, device: WireguardDevice, row: Route, lost: list[Lost]) -> Draft:
    name, first = device.ifname, lost[0]
    many = f", as for {len(lost) - 1} more" if len(lost) > 1 else ""
    bits = 128 if ":" in first.address else 32
    ends = [subject("neighbour", dst=one.address, ifname=name) for one in lost]
    return RULE.found(
        subject=route_subject(view, row) | {"ifname": name},
        severity=first.severity,
        confidence="possible" if first.severity == "info" else None,
        message=f"{first.address}, {first.who}, is routed into {name} where no peer has it "
        f"among its allowed addresses{many}: the packets are dropped",
        evidence=[
            (f"route to {first.address}", f"{row.dst} dev {name}", "RTM_GETROUTE RTA_OIF"),
            (f"peers of {name} with {first.address}", 0, source(device, "WGPEER_A_ALLOWEDIPS", "allowed_ip")),
            first.fact,
        ],
        confirm=[f"ip route get {first.address}", f"wg show {quoted(name)} allowed-ips", first.confirm],
        fix=f"wg set {quoted(name)} peer KEY allowed-ips ...,{first.address}/{bits}"
        f"  # the peer behind which it is, with all that it has already; or add the peer if it is gone",
        touches=[*device_objects(device), *ends],
        breaks=[*(one.thing for one in lost), *ends],
    )


class _Both(BirdHost, WireguardBuilder):
    """A host with both daemons."""


HOLD = "BGP Error: Hold timer expired"


def _on(host: Any, *allowed: str) -> Any:
    host.link("eth0").address("eth0", "192.0.2.2/24")
    return host.wireguard("wg0").address("wg0", "10.9.0.1/24").wg_peer("wg0", "a", allowed_ips=allowed)


def _host(*allowed: str, up: bool = True, **link: Any) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0").address("eth0", "192.0.2.2/24")
    host.wireguard("wg0", up=up, **link).address("wg0", "10.9.0.1/24")
    return host.wg_peer("wg0", "a", allowed_ips=allowed) if allowed else host


def examples() -> Iterator[Example]:
    for dst, allowed in (
        ("10.8.0.0/16", "10.9.0.2/32"),
        ("10.9.0.3/32", "10.9.0.2/32"),
        ("fd00:8::/64", "fd00:9::/64"),
    ):
        yield Example(
            name=f"{dst} beside {allowed}",
            why="the plain fault",
            tables=_host(allowed).route(dst, dev="wg0").build(),
            fires=1,
            subject=subject("route", dst=dst, table=254, ifname="wg0"),
            severity="critical",
        )
    yield Example(
        name="only prefixes of the other family",
        why="there is no IPv4 peer at all",
        tables=_host("fd00::/16").route("10.8.0.0/16", dev="wg0").build(),
        fires=1,
        says=("none of this family",),
    )
    other = _host("10.9.0.2/32").route("10.8.0.0/16", dev="wg0", table=77).rule(100, table=77)
    yield Example(name="in a table of its own", why="a rule leads there", tables=other.build(), fires=1)
    yield Example(
        name="default route with a peer for a few",
        why="nearly all of it is dropped",
        tables=_host("10.9.0.2/32").route("default", dev="wg0").build(),
        fires=1,
    )
    for dst, allowed in (
        ("0.0.0.0/1", "10.9.0.2/32"),
        ("0.0.0.0/0", "16.0.0.0/4"),
        ("::/0", "fd00::/17"),
        ("224.0.0.0/3", "10.9.0.2/32"),
    ):
        few = _host(allowed).route(dst, dev="wg0").build()
        yield Example(name=f"{dst} with a peer for {allowed}", why="nearly all of it is dropped", tables=few, fires=1)
    for dst, quiet_ in (("fe80::/10", 0), ("ff02::/16", 0), ("fe80::/9", 1), ("fd77::/16", 1)):
        tables = _host("fd01::2/128").route(dst, dev="wg0").build()
        yield Example(
            name=f"{dst} by hand", why="what stays on the link is sent on to nobody", tables=tables, fires=quiet_
        )
    several = _host("10.9.0.2/32").route("10.7.0.0/16", dev="wg0").route("10.8.0.0/16", dev="wg0")
    yield Example(name="two routes", why="one finding", tables=several.build(), fires=1, says=("and 1 more routes",))
    legs = _host("10.9.0.2/32")
    legs.route("10.8.0.0/16", hops=[legs.hop("wg0"), legs.hop("eth0", "192.0.2.1")])
    yield Example(name="one leg of two", why="half of it is lost", tables=legs.build(), fires=1, says=("its share",))
    for name, why, dst, allowed in (
        ("aggregate over a mesh", "the holes are meant to be dead", "10.0.0.0/8", "10.9.0.2/32"),
        ("longer than the peer's", "it is covered", "10.8.1.0/24", "10.8.0.0/16"),
        ("default and a peer for everything", "it is covered", "default", "0.0.0.0/0"),
        ("default and a peer for half", "wg-quick's trick against longer prefixes", "default", "128.0.0.0/1"),
        ("default and a peer for an eighth", "one for everything, but for some", "default", "32.0.0.0/3"),
        ("IPv6 default and a peer for a site", "one for everything", "::/0", "2001::/16"),
        ("a quarter", "an aggregate", "0.0.0.0/2", "10.9.0.2/32"),
        ("multicast", "for a routing protocol", "224.0.0.0/4", "10.9.0.2/32"),
    ):
        yield Example(name=name, why=why, tables=_host(allowed).route(dst, dev="wg0").build())
    early = WireguardBuilder().wireguard("wg0").route("64.0.0.0/2", dev="wg0").build()
    yield Example(name="a quarter and no peer at all", why="prepared for peers to come", tables=early)
    yield Example(name="its own subnet", why="made by the kernel with the address", tables=_host("10.8.0.0/16").build())
    yield Example(
        name="no peer yet", why="peers come on demand", tables=_host().route("10.8.0.0/16", dev="wg0").build()
    )
    for dst in ("default", "10.8.0.7/32", "fd00:8::7/128", "128.0.0.0/1"):
        bare = _host().route(dst, dev="wg0").build()
        yield Example(name=f"{dst} and no peer at all", why="nobody waits with it", tables=bare, fires=1)
    waits: dict[str, Any] = {"wqueue": 500, "retrans": 3, "timer": 1}
    cases: tuple[tuple[str, dict[str, Any], str, int], ...] = (
        ("whose bytes wait", waits, "10.9.0.2/32", 1),
        ("whose bytes wait, and no peer at all", waits, "", 1),
        ("that is idle", {}, "10.9.0.2/32", 0),
        ("that was sent on twice", waits | {"retrans": 2}, "10.9.0.2/32", 0),
        ("that is being opened", waits | {"state": 2}, "10.9.0.2/32", 2),
        ("with a peer", waits, "10.9.0.0/29", 0),
        ("to elsewhere", waits | {"dst": "192.0.2.7"}, "10.9.0.2/32", 0),
    )
    weights: tuple[Severity | None, ...] = (None, "warning", "info")
    for name, fields, allowed, fires in cases:
        talks = _host(*([allowed] if allowed else []))
        talks.socket(**({"src": "10.9.0.1", "sport": 40000, "dst": "10.9.0.3", "dport": 443, "state": 1} | fields))
        says = ("where no peer has it",) if fires else ()
        tables = talks.build()
        yield Example(
            name=f"a connection {name}",
            why="it gets no answer",
            tables=tables,
            fires=min(fires, 1),
            says=says,
            severity=weights[fires],
        )
    bgp: Any = _Both().bgp_down("c2", HOLD, neighbor_address="10.9.0.3")
    bgp.link("eth0").address("eth0", "192.0.2.2/24")
    alone_ = bgp.wireguard("wg0").address("wg0", "10.9.0.1/24").build()
    yield Example(name="BGP neighbour, and no peer at all", why="it was called", tables=alone_, fires=1)
    lost = _host("10.9.0.2/32").route("10.8.0.0/16", dev="wg0", table=77)
    yield Example(name="a table that nobody looks into", why="no packet comes by", tables=lost.build())
    for name, error, neighbour, allowed, fires in (
        ("BGP neighbour without a peer", HOLD, "10.9.0.3", "10.9.0.2/32", 1),
        ("without a peer, and nothing heard", "", "10.9.0.3", "10.9.0.2/32", 1),
        ("BGP neighbour with a peer", HOLD, "10.9.0.3", "10.9.0.0/29", 0),
        ("BGP neighbour elsewhere", HOLD, "192.0.2.3", "10.9.0.2/32", 0),
    ):
        spoken: Any = _Both().bgp_down("c2", error, neighbor_address=neighbour)
        route = subject("route", dst="10.9.0.0/24", table=254, ifname="wg0")
        about: dict[str, Any] = {"subject": route, "severity": "critical"} if fires else {}
        tables = _on(spoken, allowed).build()
        yield Example(name=name, why="where the packets end", tables=tables, fires=fires, **about)
    stands = _on(_Both().bgp("c2", neighbor_address="10.9.0.3"), "10.9.0.2/32").build()
    yield Example(name="BGP that stands", why="it gets through", tables=stands)
    off: Any = _Both().bgp_down("c2", neighbor_address="10.9.0.3", state="down")
    yield Example(name="BGP switched off", why="nobody calls", tables=_on(off, "10.9.0.2/32").build())
    idle: dict[str, Any] = {"info": "Passive", "bgp_state": "Passive"}
    for name, fields in (
        ("that waits", {"neighbor_address": "10.9.0.3"} | idle),
        ("of a range", {"neighbor_address": None}),
    ):
        quiet: Any = _Both().bgp_down("c2", HOLD, **fields)
        yield Example(name=f"BGP {name}", why="nobody is called", tables=_on(quiet, "10.9.0.2/32").build())
    both: Any = _Both().bgp_down("c2", HOLD, neighbor_address="10.9.0.3")
    both.bgp_down("c3", HOLD, neighbor_address="10.9.0.4")
    two = _on(both, "10.9.0.2/32").build()
    yield Example(name="two of them", why="one finding", tables=two, fires=1, says=("as for 1 more",))
    alone: Any = _Both().bgp_down("c2", HOLD, neighbor_address="10.9.0.3")
    routed = _on(alone, "10.9.0.2/32").route("10.9.0.3/32", dev="wg0").build()
    yield Example(name="by a route of its own", why="the route says it", tables=routed, fires=1)
    more: Any = _Both().bgp_down("c2", HOLD, neighbor_address="10.9.0.3")
    told = _on(more, "10.9.0.2/32").route("10.9.0.3/32", dev="wg0").route("10.7.0.0/16", dev="wg0").build()
    yield Example(name="by one of two dead routes", why="one finding says both", tables=told, fires=1)
