"""What it checks
  An address is a guest's on one tap, or one cable into a namespace that has no network of its own here (a neighbour
  with a hardware address there), but the route to it leads to another guest's, on which nobody has that address, for
  what this host sends or for what comes in from the uplink (ip rule iif); or a route to a guest's network goes by a
  link-local address, made of the hardware address of a guest, that is heard on another tap alone. Or a neighbour was
  written down (permanent) on a tap with the hardware address of a guest that is seen on another one.

Why it matters
  What is for one tenant is handed to another tenant's machine. The right guest hears nothing; the wrong one drops the
  packets, or reads them. Where two routes were swapped, both guests are cut off.

Confirm
  ip route get ADDRESS
  ip neigh show to ADDRESS                     (the tap on which it lives)

Fix
  ip route replace ADDRESS/32 dev TAP (ip -6 route replace ADDRESS/128 dev TAP) with the tap on which it lives, and with
  the table in which the wrong one stands. It moves that address only, at once. Look at the other guest as well: two
  routes are often swapped.

Not flagged
  An address with a neighbour on both taps: vm-clone-dup-ip-mac. (One that was written down on a tap behind which
  another machine was heard shows nothing.) A guest that moved and is answered for on its new tap. Routes to a tap that
  policy routing (a mark, an incoming interface) can still lead elsewhere. Link-local addresses.

References
  net/ipv4/arp.c arp_process(): a neighbour is made of a guest's request for this host's address, so it tells where
  the guest lives; net/ipv4/fib_trie.c fib_table_lookup()
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from netdiag.index.packet import Lookup, Query
from netdiag.index.taps import is_tap
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.neighbour import Neighbour
from netdiag.model.route import RT_TABLE_MAIN, RTN_UNICAST, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, GuestTap, guest_taps, leads_to, link_local
from netdiag.rules.links_mtu_offload.bridge_own_mac_flap import made_of
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="tap-route-to-wrong-tap",
    title="the route to a guest leads to another guest",
    severity="critical",
    reads=(*READS, "rules", "sysctls", "nexthops"),
    explains=("tap-route-missing", "neigh-*", "vm-*", "neigh-permanent-stale-mac"),
)


def check(view: HostView) -> Iterator[Draft]:
    taps = [tap for tap in guest_taps(view, cables=_crossed(view)) if tap.link.up and tap.free and _of_one(tap)]
    by_index = {tap.link.ifindex: tap for tap in taps}
    routed = {(route.dst.partition("/")[0], tap.link.ifindex) for tap in taps for route in tap.routes}
    named = Counter(address for address, _ in routed)
    for home in taps:
        for row in home.neighbours:
            if not is_tap(home.link) and named[row.dst] <= ((row.dst, home.link.ifindex) in routed):
                continue  # of thousands of containers, only those that somebody routed elsewhere are asked for
            for way in () if link_local(row.dst) or not home.lives(row) else _ways(view, row.dst):
                wrong = by_index.get(way.oif or 0) if len(way.hops) == 1 else None
                if wrong is None or not (is_tap(wrong.link) or _single(way)):
                    continue
                if any(each.dst == row.dst and wrong.lives(each) for each in wrong.neighbours):
                    continue
                yield _finding(row, home, wrong, "lives", way=way)
                break
    yield from _written_down(view, taps)
    yield from _by_gateway(taps)


def _crossed(view: HostView) -> bool:
    """Whether some neighbour has a host route by another interface: thousands of containers are looked at only then."""
    near = view.neighbours
    for family, number, bits in (("inet", 2, 32), ("inet6", 10, 128)):
        routes = view.routes(family)
        single = np.flatnonzero((routes.dst_len == bits) & (routes.type == RTN_UNICAST))
        to, heard = routes.dst[single], near.dst[near.family == number]
        first = to.astype(">u4").view(np.uint8).reshape(-1, 4) if family == "inet" else to
        ways = dict(zip(map(bytes, first), routes.oif[single].tolist(), strict=True))
        oifs = near.ifindex[near.family == number].tolist()
        asked = zip(map(bytes, heard[:, : bits // 8]), oifs, strict=True)
        if any(ways.get(dst, oif) != oif for dst, oif in asked):
            return True
    return False


def _of_one(tap: GuestTap) -> bool:
    """Whether it leads to one guest: a tap, or a cable without a network of its own."""
    return is_tap(tap.link) or not tap.connected


def _single(way: Lookup) -> bool:
    """Whether somebody routed the one address there."""
    return way.gateway is None and way.prefixlen == (128 if way.query.family == "inet6" else 32)


def _by_gateway(taps: list[GuestTap]) -> Iterator[Draft]:
    """Routes by the link-local address of a guest that lives on another tap: one made of a hardware address is nobody
    else's, and there is no such neighbour where the route leads."""
    homes: dict[str, tuple[GuestTap, Neighbour]] = {}
    for tap in taps:
        for row in tap.neighbours:
            if row.family == "inet6" and link_local(row.dst) and made_of(row.dst) == row.lladdr:
                homes[row.dst] = tap, row
    for tap in taps:
        heard = {row.dst for row in tap.neighbours}
        said = set[str]()
        for route in tap.routes:
            gateway = route.gateway or ""
            if gateway in homes and gateway not in heard | said and homes[gateway][0].lives(homes[gateway][1]):
                said.add(gateway)
                yield _finding(homes[gateway][1], homes[gateway][0], tap, "lives", route=route)


def _ways(view: HostView, address: str) -> Iterator[Lookup]:
    """Where the host sends what is for an address, and what comes in by an uplink that policy rules name."""
    family = "inet6" if ":" in address else "inet"
    yield view.lookup(Query(family=family, dst=address))
    named = {rule.iif for rule in view.rules if rule.family == family and rule.iif}
    uplinks = (default_oifs(view, family) or set()) if named else set()
    for name in sorted({view.ifname(index) for index in uplinks} & named):
        yield view.lookup(Query(family=family, dst=address, iif=name))


def _written_down(view: HostView, taps: list[GuestTap]) -> Iterator[Draft]:
    """Permanent neighbours with the hardware address of a guest that is seen on another tap, and only there."""
    seen: dict[str, set[str]] = {}
    for tap in taps:
        for row in tap.neighbours:
            if row.state != "permanent":
                seen.setdefault(str(row.lladdr), set()).add(tap.link.ifname)
    by_name = {tap.link.ifname: tap for tap in taps}
    for tap in taps:
        for row in tap.neighbours:
            homes = seen.get(str(row.lladdr), set())
            if len(homes) != 1 or tap.link.ifname in homes:
                continue
            if tap.link.ifindex in leads_to(view, row.dst):
                yield _finding(row, by_name[next(iter(homes))], tap, "is seen")


def _finding(
    row: Neighbour, home: GuestTap, wrong: GuestTap, verb: str, *, way: Lookup | None = None, route: Route | None = None
) -> Draft:
    """``way``: how the host finds the wrong tap; ``route``: one that names the guest's link-local address."""
    came = f" for what comes in by {way.query.iif}" if way is not None and way.query.iif else ""
    found = route.table if route is not None else way.table if way is not None else None
    table = found if found != RT_TABLE_MAIN else None
    right, other = home.link.ifname, wrong.link.ifname
    written = any(each.dst == row.dst for each in wrong.neighbours)
    to = route.dst if route is not None else f"{row.dst}/{128 if row.family == 'inet6' else 32}"
    by, words = (f" via {row.dst}", to) if route is not None else ("", row.dst)
    six = "-6 " if row.family == "inet6" else ""
    return RULE.found(
        subject=subject("route", dst=to, ifname=other),
        confidence="certain" if row.state in ("reachable", "delay", "probe", "permanent") else "likely",
        message=f"the route to {words}{by}{came} leads to {other} ({wrong.holder}), but the guest with that address "
        f"{verb} on {right} ({home.holder}): another machine gets its packets",
        evidence=(
            (f"neighbour {row.dst}", f"{row.lladdr} on {right}, {row.state}", f"RTM_GETNEIGH {right}"),
            (f"way to {words}", f"dev {other}{by}" + (f" table {table}" if table else ""), "RTM_GETROUTE"),
            (f"{row.dst} on {other}", "written down" if written else "no neighbour", f"RTM_GETNEIGH {other}"),
        ),
        confirm=(
            f"ip {six}route show to match {words} table {table}"
            if table
            else f"ip {six}route get {words.partition('/')[0]}",
            f"ip {six}neigh show to {row.dst}",
        ),
        fix=f"ip {six}route replace {to}{by} dev {quoted(right)}" + (f" table {table}" if table else ""),
        touches=(*home.objects, *wrong.objects),
        breaks=(*home.objects, *wrong.objects, subject("neighbour", dst=row.dst, ifname=other)),
    )


def _pair() -> HostBuilder:
    host = HostBuilder().link("eth0").tap("tap0").tap("tap1")
    return host.neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.6", dev="tap1", lladdr="02:00:00:00:00:02")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("route", dst="10.1.0.5/32", ifname="tap1")
    swapped = _pair().route("10.1.0.5/32", dev="tap1").route("10.1.0.6/32", dev="tap0")
    yield _case("swapped routes", "both guests are cut off", swapped, 2, severity="critical")
    one = _pair().route("10.1.0.5/32", dev="tap1").route("10.1.0.6/32", dev="tap1")
    yield _case("one route wrong", "the other guest gets both", one, 1, subject=about, confidence="certain")
    idle = HostBuilder().tap("tap0").tap("tap1").neighbour("10.1.0.5", dev="tap0", state="stale")
    idle.route("10.1.0.5/32", dev="tap1")
    yield _case("an idle guest", "it may have moved", idle, 1, subject=about, confidence="likely")
    failed = _pair().route("10.1.0.5/32", dev="tap1").neighbour("10.1.0.5", dev="tap1", state="failed")
    yield _case("the wrong guest does not answer", "failed is no hardware address", failed, 1)
    wide = _pair().route("10.1.0.0/29", dev="tap1")
    yield _case("a wider route", "the longest match leads there", wide, 1)
    other = _pair().route("10.1.0.5/32", dev="tap1", table=100).rule(100, table=100)
    moved = ("ip route replace 10.1.0.5/32 dev tap0 table 100", "dev tap1 table 100")
    yield _case("in another table", "a rule leads there first", other, 1, says=moved)
    for iif, table, fires in (("eth0", 100, 1), ("eth1", 100, 0), ("eth0", 101, 0)):
        outside = _pair().link("eth1").route("10.1.0.5/32", dev="tap0").route("10.1.0.5/32", dev="tap1", table=100)
        outside.address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        came = ("the route to 10.1.0.5 for what comes in by eth0 leads to tap1",) if fires else ()
        outside.rule(100, iif=iif, table=table)
        why = "what comes from outside goes there"
        yield _case(f"in a table of {iif}, rule to {table}", why, outside, fires, says=came)
    six = (
        HostBuilder().tap("tap0").tap("tap1").neighbour("2001:db8::5", dev="tap0").route("2001:db8::5/128", dev="tap1")
    )
    yield _case("IPv6", "the same", six, 1, says=("ip -6 route replace 2001:db8::5/128 dev tap0",))
    fixed = HostBuilder().tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap1")
    fixed.neighbour("fe80::5", dev="tap0").neighbour("10.1.0.5", dev="tap1", state="permanent")
    yield _case("written down on the wrong tap", "the same hardware address is seen on the other", fixed, 1)
    yield from _through()
    yield from _by_cable()
    yield from _silent()


def _by_cable() -> Iterator[Example]:
    """Guests in namespaces of their own, behind a cable each."""

    def host(**more: str) -> HostBuilder:
        made = HostBuilder()
        for number in (0, 1):
            made.link(f"v{number}", kind="veth", link_netnsid=number, link=2)
        made.neighbour("10.1.0.5", dev="v0").neighbour("10.1.0.6", dev="v1", lladdr="02:00:00:00:00:02")
        return made.address(more.get("on", "lo"), more.get("own", "10.1.0.1/32")).route(
            more.get("dst", "10.1.0.5/32"), dev="v1"
        )

    says = ("leads to v1 (namespace id 1)", "lives on v0 (namespace id 0)")
    yield _case("containers", "each behind a cable", host(), 1, says=says)
    yield _case("containers, a network", "it may hold others", host(dst="10.1.0.0/24"))
    for cable in ("v0", "v1"):
        lan = host(on=cable, own="10.1.0.1/24").route("10.1.0.0/24", dev=cable, protocol=2, scope=253)
        yield _case(f"{cable} is of a network", "an uplink: the guest came from there, or went", lan)


def _through() -> Iterator[Example]:
    """Networks of guests, routed by their link-local addresses."""
    mac, made, other = "02:00:00:00:00:01", "fe80::ff:fe00:1", "fe80::5"

    def host(gateway: str = made, seen: tuple[str, ...] = ("tap0",), **fields: object) -> HostBuilder:
        both = HostBuilder().link("eth0").tap("tap0").tap("tap1")
        for tap in seen:
            both.neighbour(gateway, dev=tap, lladdr=mac)
        return both.route("2001:db8:a::/64", via=gateway, dev="tap1", **fields)  # type: ignore[arg-type]

    about = subject("route", dst="2001:db8:a::/64", ifname="tap1")
    says = (f"ip -6 route replace 2001:db8:a::/64 via {made} dev tap0",)
    yield _case("a network of the other guest", "its own address is on tap0", host(), 1, subject=about, says=says)
    tabled = (f"via {made} dev tap0 table 100",)
    yield _case("in another table as well", "a rule may lead there", host(table=100), 1, says=tabled)
    two = host().route("2001:db8:b::/64", via=made, dev="tap1")
    yield _case("two networks", "told once", two, 1)
    yield _case("a fixed address", "every guest may have that one", host(other))
    yield _case("heard on both", "a clone, of which another rule speaks", host(seen=("tap0", "tap1")))
    yield _case("heard nowhere", "nobody knows where it lives", host(seen=()))
    yield _case("heard where it leads", "the healthy worker", host(seen=("tap1",)))


def _silent() -> Iterator[Example]:
    right = _pair().route("10.1.0.5/32", dev="tap0").route("10.1.0.6/32", dev="tap1")
    yield _case("right", "the healthy worker", right)
    moved = right.neighbour("10.1.0.5", dev="tap1", state="stale")
    yield _case("an old neighbour on another tap", "the guest moved, and is answered for where the route leads", moved)
    both = _pair().route("10.1.0.5/32", dev="tap1").neighbour("10.1.0.5", dev="tap1")
    yield _case("on both taps", "vm-clone-dup-ip-mac speaks", both)
    spread = _pair()
    spread.route("10.1.0.0/24", hops=[spread.hop("tap0"), spread.hop("tap1")])
    yield _case("several next hops", "which one it takes is not known", spread)
    out = _pair().address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    yield _case("no route to a tap", "tap-route-missing speaks", out)
    local = HostBuilder().tap("tap0").tap("tap1").neighbour("fe80::5", dev="tap0").neighbour("fe80::5", dev="tap1")
    yield _case("link-local", "each tap is a link of its own", local)
    fixed = HostBuilder().tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap1")
    fixed.neighbour("fe80::5", dev="tap1").neighbour("10.1.0.5", dev="tap1", state="permanent")
    yield _case("written down where it is seen", "a healthy static neighbour", fixed)
    for name, fields in (("down", {"up": False}), ("in a bridge", {"master": "br0"})):
        for tap in ("tap0", "tap1"):
            host = HostBuilder().link("br0", kind="bridge").tap("tap0").tap("tap1").tap(tap, **fields)
            host.neighbour("10.1.0.5", dev="tap0").route("10.1.0.5/32", dev="tap1")
            yield _case(f"{tap} is {name}", "it is not routed to", host)
    for name, other, fires in (("another", "02:00:00:00:00:02", 1), ("the same", "02:00:00:00:00:01", 0)):
        host = HostBuilder().tap("tap0").tap("tap1").route("10.1.0.5/32", dev="tap1")
        host.neighbour("10.1.0.5", dev="tap0").neighbour("10.1.0.5", dev="tap1", state="permanent")
        host.neighbour("fe80::6", dev="tap1", lladdr=other)
        yield _case(f"written down where {name} machine is heard", "or is it a clone?", host, fires)
    near = HostBuilder().tap("tap0").tap("tap1").neighbour("fe80::5", dev="tap0").address("tap1", "fe80::1/64")
    yield _case("link-local, a route by the other tap", "each tap is a link of its own", near)
    for name, seen in (("twice", ("tap0", "tap2")), ("nowhere", ())):
        written = HostBuilder().tap("tap0").tap("tap1").tap("tap2").route("10.1.0.5/32", dev="tap1")
        written.neighbour("10.1.0.5", dev="tap1", state="permanent")
        for tap in seen:
            written.neighbour("fe80::5", dev=tap)
        yield _case(f"written down, and seen {name}", "where it lives is not known", written)
