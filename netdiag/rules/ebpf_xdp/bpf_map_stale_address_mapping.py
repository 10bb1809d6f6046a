"""What it checks
  A hash map of a program that is attached here, or that an attached one calls, maps addresses to interfaces (keys of 4
  or 16 bytes, most of which are addresses that this host routes to the very interface that the map names, in the first
  32 bits of the value, each alone or with a guest's network on a tap or veth of its own), and some entries name
  another interface than the routes do, or one that does not exist, or one for an address that has no route of its own
  any more. Half of the entries will do, where the others name interfaces that are gone for addresses without a route:
  an info where the program does not redirect and the map's name does not say what it holds.

Why it matters
  The program sends the packets of that address to where the guest lived before: to a stranger's tap, or nowhere. The
  routing table is right, ip route get shows the right way, and the packets never ask it.

Confirm
  bpftool map dump id MAP
  ip route get ADDRESS

Fix
  bpftool map delete id MAP key OCTETS takes the entry away, so that the address goes the way of unknown ones; or let
  the agent write the map anew, and look why it missed the move.

Not flagged
  Maps whose keys are no addresses that this host routes; an entry that agrees with the route; three guests and more, no
  fewer than agree, whose packets go to one other guest: a firewall or cache in front of them. A map in which as many
  entries disagree as agree: it is about something else, unless some agree and every entry is an address of a guest (or
  of one that left: a route of its own by another interface) with a guest's interface, or the map's name says that it
  holds interfaces of such. Where the name says so and fewer agree, an entry that sends its address to the interface of
  a guest that has another one, or past a route of its own by another way, is told as info: the guest may have two, or
  stand in front of the other; so are such entries of a map that no program uses and only its name in the bpffs keeps.
  Entries without a route of their own in a map without any entry that agrees: where such a one names an interface that
  does not exist, bpf-devmap-stale-ifindex may tell it. The time in which a migration forwards looks like the fault and
  ends by itself. Other maps than plain hashes, and beyond sixteen of them those whose names do not say that values are
  interfaces, are not read.

References
  net/core/filter.c bpf_redirect(), bpf_fib_lookup(); bpftool-map(8)
"""

import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfMap, BpfMapEntry, BpfPin
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.bpfplaces import OWN, by_address, guests_only, key_address, key_words, left_over, redirects
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bpf-map-stale-address-mapping",
    title="an eBPF map sends an address to an interface where it no longer is",
    severity="warning",
    confidence="likely",
    reads=("links", "routes", "bpf"),
    explains=("bpf-devmap-stale-ifindex",),
)

NAMED = re.compile("if_?index|ifidx|tap|veth|redir", re.IGNORECASE)
"""Names of maps whose values are interfaces."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    running = table.running(row.prog_id for row in table.attachments if view.link(row.ifindex))
    users = {number: one for one in table.programs if one.id in running for number in one.map_ids}
    idle = left_over(table)
    maps = {one.id: one for one in table.maps if one.type == "hash" and (one.id in users or one.id in idle)}
    guests = guests_only(view) if maps else set()
    for one in maps.values():
        agree, differ, ways = by_address(view, one, guests)
        if one.id not in users:
            dead = [row for row in differ if (agree or one.key_size > 4) and view.link(row.ifindex) is None]
            if differ and _of_another(view, one, [row for row in differ if row not in dead], ways, guests):
                yield _finding(view, one, idle[one.id], differ, ways[key_address(differ[0])], confidence="possible")
            continue
        user, left = users[one.id], _left(view, agree, differ, ways, guests)
        sure = len(agree) > len(differ) or _of_guests(one, agree, differ, ways, guests)
        sure |= left and (redirects(user) or NAMED.search(one.name) is not None)
        if differ and (sure or left or _of_another(view, one, differ, ways, guests)):
            name, way = user.function or user.name, ways[key_address(differ[0])]
            yield _finding(view, one, name, differ, way, confidence="likely" if sure else "possible")


def _of_guests(
    one: BpfMap, agree: list[BpfMapEntry], differ: list[BpfMapEntry], ways: dict[str, set[int]], guests: set[int]
) -> bool:
    """Every key is an address of a guest and every value a guest's interface: numbers of another kind do not fall so,
    where some agree or the name says it. Not three and more that are sent to one guest, as to a firewall. Where no
    fewer agree than not, the guest's own route may lead away from here by now."""
    elsewhere = [row.ifindex for row in differ]
    if not (agree or NAMED.search(one.name)) or (len(elsewhere) > 2 and len(set(elsewhere)) == 1):
        return False
    here = len(agree) < len(differ)
    return all(
        row.ifindex in guests and ways[key_address(row)] and (not here or ways[key_address(row)] <= guests)
        for row in (*agree, *differ)
    )


def _left(
    view: HostView, agree: list[BpfMapEntry], differ: list[BpfMapEntry], ways: dict[str, set[int]], guests: set[int]
) -> bool:
    """Whether guests have left: no fewer entries agree, all of guests, and each other one is of an address without a
    route of its own and names an interface that does not exist, such as a tap that went with its machine."""
    gone = all(view.link(row.ifindex) is None and not ways[key_address(row)] for row in differ)
    return 0 < len(differ) <= len(agree) and gone and all(row.ifindex in guests for row in agree)


def _of_another(
    view: HostView, one: BpfMap, differ: list[BpfMapEntry], ways: dict[str, set[int]], guests: set[int]
) -> bool:
    """Where few or none agree, and the name says what the values are: whether each entry that does not agree sends its
    address to a guest's interface though a route of its own leads elsewhere, or the guest there has another address."""
    taken = set[int]()
    for family, length in OWN.items():
        routes = view.routes(family)
        taken |= set(routes.oif[(routes.dst_len >= length) & (routes.type == RTN_UNICAST)].tolist())
    many = len(differ) > 2 and len({row.ifindex for row in differ}) == 1
    return (
        bool(NAMED.search(one.name))
        and not many
        and all(row.ifindex in guests and (ways[key_address(row)] or row.ifindex in taken) for row in differ)
    )


def _finding(
    view: HostView, one: BpfMap, name: str, differ: list[BpfMapEntry], way: set[int], *, confidence: Confidence
) -> Draft:
    first, address = differ[0], key_address(differ[0])
    where = " and ".join(sorted(view.ifname(number) for number in way)) or "nowhere of its own"
    many = f", and {len(differ) - 1} more" if len(differ) > 1 else ""
    there = view.link(first.ifindex)
    held = there.ifname if there else f"interface index {first.ifindex}, which does not exist"
    kept = name.startswith("/")
    whose = f"that {name} keeps" if kept else f"of {name}"
    return RULE.found(
        subject=subject("bpf-map", name=one.name, **({"path": name} if kept else {"program": name})),
        message=f"map {one.name} ({one.id}) {whose} sends {address} to {held}, and the routes send it to {where}{many}",
        evidence=[
            (f"map {one.id} key {address}", f"ifindex {first.ifindex}", "BPF_MAP_LOOKUP_ELEM"),
            (f"route of {address}", where, "RTM_GETROUTE RTA_OIF"),
        ],
        confirm=[f"bpftool map dump id {one.id}", f"ip route get {address}"],
        fix=f"bpftool map delete id {one.id} key {key_words(first)}  # or let the agent write the map anew",
        confidence=confidence,
    )


def _host(
    *ifnames: str, moved: str | None = "eth0", gone: bool = False, function: str | None = None, **fields: Any
) -> HostBuilder:
    """Guests 10.0.0.1 ... with a route each by tap0, and what the map says of them."""
    host = HostBuilder().link("eth0").link("tap0", kind="tun").link("tap1", kind="tun")
    host.bpf(programs=[program(1, (function or "switch")[:15], function=function, map_ids=(5,))])
    known: dict[str, Any] = {"id": 5, "type": "hash", "name": "vm_ifindex", "key_size": 4, "value_size": 4}
    host.bpf(maps=[BpfMap(**(known | fields))])
    for number, ifname in enumerate(ifnames, 1):
        address = f"10.0.0.{number}"
        if not (gone and number == 1):
            host.route(f"{address}/32", dev="tap0")
        key = int.from_bytes(socket.inet_aton(address), sys.byteorder)
        host.bpf(entries=[BpfMapEntry(map_id=5, key=key, ifindex=host.ifindex(ifname))])
    return tc(host, moved, 1) if moved else host


def examples() -> Iterator[Example]:
    about = subject("bpf-map", name="vm_ifindex", program="switch")
    yield Example(
        name="one of three moved",
        why="the map was not told",
        tables=_host("tap1", "tap0", "tap0").build(),
        fires=1,
        subject=about,
        severity="warning",
        says=("sends 10.0.0.1 to tap1, and the routes send it to tap0", "key 10 0 0 1"),
    )
    yield Example(
        name="one left",
        why="its route is gone, the entry is not",
        tables=_host("tap0", "tap0", "tap0", gone=True).build(),
        fires=1,
        says=("nowhere of its own",),
    )
    yield Example(name="all agree", why="as it should be", tables=_host("tap0", "tap0").build())
    yield Example(name="as many as agree", why="it may be about ports", tables=_host("eth0", "tap0").build())
    yield Example(name="none agrees", why="no addresses at all", tables=_host("tap1", "tap1", name="port").build())
    yield from _of_two()
    yield from _kept()
    yield from _guests_left()
    yield Example(name="not attached", why="no packet asks", tables=_host("tap1", "tap0", "tap0", moved=None).build())
    one = "tap1", "tap0", "tap0"
    group = BpfAttachment(hook="cgroup", prog_id=1, attach_type="cgroup_inet_egress", cgroup="/sys/fs/cgroup")
    yield Example(
        name="at a cgroup",
        why="it sends nothing to interfaces",
        tables=_host(*one, moved=None).bpf(attachments=[group]).build(),
    )
    other = _host(*one, type="lru_hash").build()
    yield Example(name="another type", why="its keys come and go", tables=other)
    second = _host("tap1", "tap0", "tap0").build().bpf.entries[2]
    beside = _host("tap1", "tap0").route("10.0.0.3/32", dev="tap0")
    beside.bpf(entries=[msgspec.structs.replace(second, map_id=6)])
    yield Example(name="another map's entry", why="as many as agree, in this one", tables=beside.build())
    gone = _host("tap0", "tap0", "tap0")
    key = int.from_bytes(socket.inet_aton("10.0.0.9"), sys.byteorder)
    gone.bpf(entries=[BpfMapEntry(map_id=5, key=key, ifindex=99)])
    says = ("sends 10.0.0.9 to interface index 99, which does not exist, and the routes send it to nowhere of its own",)
    yield Example(name="an index that nobody has", why="its tap went", tables=gone.build(), fires=1, says=says)
    some = _host("tap0", "tap1", "tap1").bpf(entries=gone.build().bpf.entries[-1:]).build()
    yield Example(
        name="an index that nobody has, and few agree", why="bpf-devmap-stale-ifindex may tell it", tables=some
    )
    named = _host(*one, function="switch_of_somebody")
    about = subject("bpf-map", program="switch_of_somebody")
    yield Example(name="whole name", why="as told", tables=named.build(), fires=1, subject=about)
    pair = _host("tap1", "tap0", "tap0", gone=True).route("10.0.0.0/31", dev="tap0")
    says = ("send it to tap0",)
    yield Example(name="a pair of addresses", why="one guest's own", tables=pair.build(), fires=1, says=says)
    own = _host("tap0", "tap0", "tap0", gone=True).route("10.0.0.1/32", dev="tap0", type="local", table=255)
    yield Example(name="this host's own now", why="it is delivered here", tables=own.build(), fires=1)

    def longer(*guests: tuple[str, int, str]) -> HostBuilder:
        """Guests with a prefix each by tap0, and what the map says of their addresses."""
        host = _host(key_size=16, value_size=12)
        for address, length, ifname in guests:
            host.route(f"{address}/{length}", dev="tap0")
            host.bpf(entries=[BpfMapEntry(map_id=5, key=0, address=address, ifindex=host.ifindex(ifname))])
        return host

    right = (("fd00::2", 128, "tap0"), ("fd00:0:0:1:1::", 65, "tap0"))
    moved = longer(("fd00::1", 128, "tap1"), *right).build()
    told = ("sends fd00::1 to tap1, and the routes send it to tap0", "key 253 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 ")
    yield Example(name="IPv6, structures as values", why="the same", tables=moved, fires=1, says=told)
    yield Example(name="IPv6, all agree", why="as it should be", tables=longer(*right).build())
    wide = (("fd00::1", 128, "tap1"), right[0], ("fd00:0:0:1::", 64, "tap0"))
    shared = longer(*wide).route("fd00:9::/32", via="fd00::2", dev="tap0").build()
    yield Example(name="IPv6, a route for a network", why="as many as agree: others are behind it", tables=shared)
    tap: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}

    def nets(length: int, *, moved: str = "tap2", kind: dict[str, Any] = tap) -> HostBuilder:
        """Three guests with a network each on a tap of its own, of which the map knows one elsewhere."""
        host = _host(key_size=16, value_size=4).link("tap2", **kind).link("tap3", **kind).link("tap4", **kind)
        for number, ifname in ((2, moved), (3, "tap3"), (4, "tap4")):
            host.route(f"fd00:0:0:{number}::/{length}", dev=f"tap{number}")
            found = BpfMapEntry(map_id=5, key=0, address=f"fd00:0:0:{number}::2", ifindex=host.ifindex(ifname))
            host.bpf(entries=[found])
        return host

    seen = ("sends fd00:0:0:2::2 to tap4, and the routes send it to tap2",)
    yield Example(
        name="a network for each guest", why="the same", tables=nets(64, moved="tap4").build(), fires=1, says=seen
    )
    yield Example(name="a network for each guest, all agree", why="as it should be", tables=nets(64).build())
    onward = nets(64, moved="tap4").route("default", via="fd00:0:0:3::1", dev="tap3").build()
    yield Example(name="one of the taps is the way out", why="anybody may be behind it", tables=onward)
    cards = nets(64, moved="tap4", kind={}).build()
    yield Example(name="networks on cards", why="anybody may be on them", tables=cards)
    four = longer(right[0], ("fd00::3", 128, "tap0")).route("10.0.0.9/32", dev="tap0")
    four.bpf(entries=[BpfMapEntry(map_id=5, key=0, address="::ffff:10.0.0.9", ifindex=four.ifindex("tap1"))])
    told = ("sends 10.0.0.9 to tap1", "key 0 0 0 0 0 0 0 0 0 0 255 255 10 0 0 9 ")
    yield Example(name="IPv4 in IPv6 keys", why="routed as IPv4", tables=four.build(), fires=1, says=told)


def _guests_left() -> Iterator[Example]:
    """One guest is here, and one has left with its tap."""
    tap: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}
    for name, called, verdicts, at, dev, severity in (
        ("sends", "g", None, 99, None, "warning"),
        ("redirects", "g", (0, 7), 99, None, "warning"),
        ("counts", "g", (0, -1), 99, None, "info"),
        ("counts, by name", "tap_of", (0, -1), 99, None, "warning"),
        ("sends, a route of its own", "g", None, 99, "eth0", None),
        ("sends, a tap that is there", "g", None, 2, None, None),
    ):
        host = _host("tap0", name=called)
        host.link("tap0", ifindex=host.ifindex("tap0"), **tap)
        host.bpf(programs=[program(1, "switch", map_ids=(5,), verdicts=verdicts)])
        key = int.from_bytes(socket.inet_aton("10.0.0.9"), sys.byteorder)
        host.bpf(entries=[BpfMapEntry(map_id=5, key=key, ifindex=at)])
        if dev:
            host.route("10.0.0.9/32", dev=dev)
        yield Example(
            name=f"one of two left, the program {name}",
            why="its tap went with it",
            tables=host.build(),
            fires=0 if severity is None else 1,
            severity=severity,  # type: ignore[arg-type]
        )


def _kept() -> Iterator[Example]:
    """A map that only a name in the bpffs keeps."""
    tap: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}

    def case(name: str, why: str, fires: int, *entries: tuple[str, str | int], called: str = "tap_of") -> Example:
        host = HostBuilder().link("eth0").link("tap0", **tap).link("tap1", **tap).route("fd00::1/128", dev="tap0")
        host.route("fd00::2/128", dev="tap1").bpf(pins=[BpfPin(path="/sys/fs/bpf/m", kind="map", id=5)])
        host.bpf(maps=[BpfMap(id=5, type="hash", name=called, key_size=16, value_size=4)])
        for address, at in entries:
            index = at if isinstance(at, int) else host.ifindex(at)
            host.bpf(entries=[BpfMapEntry(map_id=5, key=0, address=address, ifindex=index)])
        seen: dict[str, Any] = {"severity": "info", "says": ("that /sys/fs/bpf/m keeps",)} if fires else {}
        return Example(name=f"kept by its name, {name}", why=why, tables=host.build(), fires=fires, **seen)

    yield case("one that moved", "somebody may take it up again", 1, ("fd00::1", "tap1"))
    yield case("one that has no tap", "the guest is gone", 1, ("fd00::1", "tap0"), ("fd00::9", 99))
    yield case("all agree", "as it should be", 0, ("fd00::1", "tap0"), ("fd00::2", "tap1"))
    yield case("called otherwise", "numbers of something", 0, ("fd00::1", "tap1"), called="seen")


def _lone(*others: str, moved: bool = False, name: str = "vm_ifindex", ifname: str = "tap0") -> HostBuilder:
    """A map with one address, and what guests have by route on its interface."""
    host = _host(name=name)
    key = int.from_bytes(socket.inet_aton("10.0.0.9"), sys.byteorder)
    host.bpf(entries=[BpfMapEntry(map_id=5, key=key, ifindex=host.ifindex(ifname))])
    if moved:
        host.route("10.0.0.9/32", dev="eth0")
    for address in others:
        host.route(f"{address}/32", dev=ifname)
    return host


def _of_two() -> Iterator[Example]:
    """As many entries agree as not, or none does, of guests alone."""

    def case(name: str, why: str, host: HostBuilder, fires: int) -> Example:
        tap: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}
        for ifname in ("tap0", "tap1"):
            host.link(ifname, ifindex=host.ifindex(ifname), **tap)
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("one of two guests", "all are guests' addresses and interfaces", _host("tap1", "tap0", name="g"), 1)
    yield case("one of two, the other of a card", "it may be about ports", _host("tap0", "eth0", name="g"), 0)
    yield case("both, by name", "the interfaces were swapped", _host("tap1", "tap1"), 1)
    yield case("three, by name", "a guest that all packets pass first", _host("tap1", "tap1", "tap1"), 0)
    yield case("both, without a name", "numbers of something else", _host("tap1", "tap1", name="g"), 0)
    left = _host("tap1", "tap0", name="g", gone=True).route("10.0.0.1/32", dev="eth0")
    yield case("one of two guests left", "its route leads to another host", left, 1)
    yield case("one of two, its route gone", "who knows", _host("tap0", "tap0", gone=True, name="g"), 0)
    perhaps: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    for name, why, host, seen in (
        ("one, without a route, by name", "the guest there has another address", _lone("10.0.0.1"), perhaps),
        ("one, without a route, and no guest's route", "the map alone knows the guests", _lone(), {}),
        ("one, routed to another host, by name", "it moved, or its firewall is here", _lone(moved=True), perhaps),
        ("one, without a route and a name", "who knows", _lone("10.0.0.1", name="g"), {}),
        ("one, to a card", "no guest's", _lone("10.0.0.1", ifname="eth0"), {}),
    ):
        yield replace(case(name, why, host, 0), **seen)
