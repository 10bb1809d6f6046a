"""What it checks
  A map of a program that is attached here, or that an attached one calls, names an interface to send packets to, and
  there is no such interface: devmaps, and plain hash maps with keys of 4 or 16 bytes whose name says that values are
  interfaces (ifindex, redirect, tx_port, ip_to_tap). A hash's value is an index, or a structure: of one whose type
  information names a member so (``ifindex``) that member counts, also where the map's own name says nothing, if the
  program may redirect at all; of others the first 32 bits, and then most entries must name interfaces that exist. Where
  the name only mentions interfaces (tap_map, redir, next_dev), the program may redirect, and as many entries as those
  that nobody has name guests' interfaces, all different. And whatever its name, a hash most of whose entries have the
  address of a guest as the key and that guest's interface as the value. And whatever its name, a map of a program that
  may redirect, whose values show it: for each that nobody has there are three that are guests' interfaces, all
  different and none below 32, and none is anything else.

Why it matters
  The program redirects packets to an index that no interface has: the kernel drops them, and counts that nowhere but
  in a tracepoint. Mostly a tap was made anew and has another index now, and the map still holds the old one. Worse,
  indexes can be given again in time, and then packets go to a stranger.

Confirm
  bpftool map dump id MAP
  ip link show

Fix
  Let the agent write the map anew, or take the entry away: bpftool map delete id MAP key KEY. Packets for that key
  then take the way that the program has for unknown ones.

Not flagged
  Entries of interfaces that exist, up or down. A map that no program uses, and that only its name in the bpffs keeps,
  sends nothing: it is told as info, where its name or its type says that it holds interfaces. Where most keys are
  addresses that this host routes by the interface that the value names, bpf-map-stale-address-mapping stands above this
  finding. Maps of programs that are attached nowhere here: the index may mean an interface of another namespace. Maps
  that were not read. A devmap with an index unknown here: the kernel takes entries out when an interface goes, so this
  is one of another namespace; told as info.

References
  net/core/filter.c bpf_redirect(), xdp_do_redirect(), kernel/bpf/devmap.c dev_map_notification()
"""

import re
import socket
import sys
from collections.abc import Collection, Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import INTERFACES, INWARD, BpfAttachment, BpfMap, BpfMapEntry, BpfPin, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.rules.bpfplaces import by_address, guests_only, key_words, left_over, redirects
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-devmap-stale-ifindex",
    title="an eBPF map sends packets to an interface that does not exist",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    consults=("routes",),
)
TYPES = ("hash", "devmap", "devmap_hash")
MENTIONS = re.compile(r"redir|(^|_)(tap|veth|iface|dev|nic)(s|idx|_idx)?(_|$)", re.IGNORECASE)
"""Names that may mean interfaces to send to, or a property of interfaces."""
SMALL = 32
"""Less than this may be the number of anything: a slot, a class, a queue. A worker that has made guests for a day has
larger indexes."""


def check(view: HostView) -> Iterator[Draft]:
    table = view.bpf
    here = {link.ifindex for link in view.links}
    running = table.running(row.prog_id for row in table.attachments if row.ifindex in here)
    users = {number: one for one in table.programs if one.id in running for number in one.map_ids}
    idle = left_over(table)
    maps = {one.id: one for one in table.maps if one.type in TYPES and (one.id in users or one.id in idle)}
    stale: dict[int, list[BpfMapEntry]] = {}
    for entry in sorted(table.entries, key=lambda entry: (entry.map_id, entry.key, entry.address or "")):
        if entry.map_id in maps and entry.ifindex and entry.ifindex not in here:
            stale.setdefault(entry.map_id, []).append(entry)
    for number, entries in stale.items():
        one, user, first = maps[number], users.get(number), entries[0]
        if user is None:
            if one.type != "hash" or one.value_member is not None or INTERFACES.search(one.name):
                yield _left_over(one, entries, idle[number])
            continue
        if one.type == "hash" and not _believed(view, one, user, len(entries)):
            continue
        key = first.address or str(first.key)
        name = user.function or user.name
        yield RULE.found(
            subject=subject("bpf-map", name=one.name, program=name),
            message=f"{one.type} {one.name} (map {number}) of {name} sends key {key} to interface index "
            f"{first.ifindex}, which does not exist" + (f", and {len(entries) - 1} more" if len(entries) > 1 else ""),
            evidence=[
                (f"map {number} key {key}", f"ifindex {first.ifindex}", "BPF_MAP_LOOKUP_ELEM"),
                (f"interface {first.ifindex}", "none", "RTM_GETLINK"),
            ],
            confirm=[f"bpftool map dump id {number}", "ip link show"],
            fix=f"bpftool map delete id {number} key {key_words(first)}  # or let the agent write the map anew",
            confidence="likely" if one.type == "hash" else "possible",
        )


def _left_over(one: BpfMap, entries: list[BpfMapEntry], path: str) -> Draft:
    first, key = entries[0], entries[0].address or str(entries[0].key)
    return RULE.found(
        subject=subject("bpf-map", name=one.name, path=path),
        message=f"{one.type} {one.name} (map {one.id}), which {path} keeps and no program uses, names interface index "
        f"{first.ifindex} for key {key}, which does not exist"
        + (f", and {len(entries) - 1} more" if entries[1:] else ""),
        evidence=[
            (f"map {one.id} key {key}", f"ifindex {first.ifindex}", "BPF_MAP_LOOKUP_ELEM"),
            (f"interface {first.ifindex}", "none", "RTM_GETLINK"),
        ],
        confirm=[f"bpftool map dump pinned {quoted(path)}", "ip link show"],
        fix=f"bpftool map delete pinned {quoted(path)} key {key_words(first)}  # or rm the name, if its agent is gone",
        confidence="possible",
    )


def _believed(view: HostView, one: BpfMap, user: BpfProgram, stale: int) -> bool:
    """Whether the values of a hash are interfaces to send to: its name says so, and of structures those that exist
    prove it, or a member does. That counts of a program that may redirect: one that only counts packets by their
    interface returns constants."""
    sends = redirects(user)
    member = one.value_member is not None and sends
    guests = guests_only(view)
    agree, differ, _ = by_address(view, one, guests)
    if len(agree) > len(differ):
        return True  # addresses of guests: bpf-map-stale-address-mapping stands above it
    if INTERFACES.search(one.name) is None and not member:
        mentioned = MENTIONS.search(one.name) is not None and INWARD.match(one.name) is None
        return sends and _one_each(view, one, guests, stale, mentioned=mentioned)
    good = [entry for entry in view.bpf.entries if entry.map_id == one.id and view.link(entry.ifindex)]
    return one.value_size == 4 or member or len(good) > stale


def _structures(member: str | None, *ifindexes: int, verdicts: tuple[int, ...] | None = None) -> HostBuilder:
    """A map whose name says nothing, and whose values are structures."""
    host = HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "switch", map_ids=(5,), verdicts=verdicts)])
    host.bpf(maps=[BpfMap(id=5, type="hash", name="places", key_size=4, value_size=8, value_member=member)])
    return host.bpf(entries=[BpfMapEntry(map_id=5, key=n, ifindex=index) for n, index in enumerate(ifindexes)])


def _one_each(view: HostView, one: BpfMap, guests: Collection[int], stale: int, *, mentioned: bool) -> bool:
    """Whether the values show it, whatever the name: three guests' interfaces for each that nobody has, all different,
    none so small that it may be the number of something, and nothing else; and no keys that are interfaces themselves,
    for then the values are something about them. Where the name mentions interfaces, one for each will do, however
    small."""
    entries = [entry for entry in view.bpf.entries if entry.map_id == one.id and entry.ifindex]
    good = [entry.ifindex for entry in entries if entry.ifindex in guests]
    keyed = sum(entry.address is None and view.link(entry.key) is not None for entry in entries)
    different = len(set(good)) == len(good) == len(entries) - stale
    counts = any(index is not None and index < SMALL for index in good)
    enough = len(good) >= stale if mentioned else not counts and len(good) >= 3 * stale
    return different and enough and keyed <= len(entries) // 2


def _host(kind: str = "hash", *ifindexes: int, name: str = "redirect_to", key: int = 4, value: int = 4) -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun").bpf(programs=[program(1, "switch", map_ids=(5,))])
    host.bpf(maps=[BpfMap(id=5, type=kind, name=name, key_size=key, value_size=value)])
    return host.bpf(entries=[BpfMapEntry(map_id=5, key=n, ifindex=index) for n, index in enumerate(ifindexes)])


def examples() -> Iterator[Example]:
    yield Example(
        name="hash map with an index that nobody has",
        why="the plain fault",
        tables=tc(_host("hash", 9999), "tap0", 1).build(),
        fires=1,
        subject=subject("bpf-map", name="redirect_to", program="switch"),
        severity="warning",
        confidence="likely",
    )
    yield Example(
        name="one good and two stale entries",
        why="a map is told once",
        tables=tc(_host("hash", 2, 88, 99), "tap0", 1).build(),
        fires=1,
        says=("key 1 to interface index 88", "and 1 more", "key 1 0 0 0"),
    )
    for name, why, member, verdicts, fires in (
        ("a member called ifindex", "its type information tells", "ifindex", None, 1),
        ("a member called ifindex, redirects", "by a constant too", "ifindex", (0, 7), 1),
        ("a member called ifindex, only counts", "it sends nothing", "ifindex", (-1, 0), 0),
        ("no such member", "it may be anything", None, None, 0),
    ):
        host = tc(_structures(member, 9999, verdicts=verdicts), "tap0", 1)
        yield Example(name=name, why=why, tables=host.build(), fires=fires)
    for kind in ("devmap", "devmap_hash"):
        yield Example(
            name=f"{kind} with an unknown index",
            why="an interface of another namespace",
            tables=tc(_host(kind, 99), "tap0", 1).build(),
            fires=1,
            severity="info",
        )
    yield from _by_values()
    yield Example(name="all exist", why="lo is 1, tap0 is 2", tables=tc(_host("hash", 1, 2), "tap0", 1).build())
    yield Example(name="not attached here", why="another namespace's indexes", tables=_host("hash", 9999).build())
    for name, why, fields, programs, fires in (
        ("kept by its name alone", "somebody may take it up again", {}, (), 1),
        ("kept by its name alone, called otherwise", "its values may be anything", {"name": "seen"}, (), 0),
        (
            "kept by its name, and a program elsewhere",
            "another namespace's indexes",
            {},
            (program(1, map_ids=(5,)),),
            0,
        ),
    ):
        kept = HostBuilder().bpf(programs=programs, pins=[BpfPin(path="/sys/fs/bpf/m", kind="map", id=5)])
        known: dict[str, Any] = {"name": "vm_ifindex", "type": "hash", "key_size": 4, "value_size": 4}
        kept.bpf(maps=[BpfMap(**({"id": 5} | known | fields))], entries=[BpfMapEntry(map_id=5, key=7, ifindex=9999)])
        seen: dict[str, Any] = (
            {"severity": "info", "subject": subject("bpf-map", path="/sys/fs/bpf/m")} if fires else {}
        )
        yield Example(name=name, why=why, tables=kept.build(), fires=fires, **seen)
    yield Example(
        name="another program is attached",
        why="it does not use the map",
        tables=tc(_host("hash", 9999).bpf(programs=[program(2)]), "tap0", 2).build(),
    )
    yield Example(name="empty", why="nothing is sent anywhere", tables=tc(_host(), "tap0", 1).build())
    yield Example(name="value 0", why="0 is no interface: unused", tables=tc(_host("hash", 0), "tap0", 1).build())
    yield Example(
        name="a cpumap", why="its numbers are processors", tables=tc(_host("cpumap", 9999), "tap0", 1).build()
    )
    far = _host("hash", 9999).bpf(attachments=[BpfAttachment(hook="tcx", prog_id=1, ifindex=99, direction="ingress")])
    yield Example(name="attached in another namespace", why="its indexes", tables=far.build())
    six = _host("hash", key=16)
    rows = [
        BpfMapEntry(map_id=5, key=0, address=f"fd00::{n}", ifindex=index) for n, index in ((2, 99), (1, 88), (3, 2))
    ]
    six.bpf(entries=rows)
    yield Example(
        name="IPv6 addresses as keys",
        why="by address, in their order",
        tables=tc(six, "tap0", 1).build(),
        fires=1,
        says=("sends key fd00::1 to interface index 88", "and 1 more", "key 253 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1"),
    )
    for size, indexes, fires in ((4, (2, 99), 1), (8, (2, 99), 0), (8, (1, 2, 99), 1), (8, (99,), 0)):
        host = _host("hash", *indexes, value=size)
        host.bpf(entries=[BpfMapEntry(map_id=6, key=n, ifindex=2) for n in range(9)])
        name, why = (
            f"values of {size} bytes that begin with {indexes}",
            "a structure is believed by most of its entries",
        )
        yield Example(name=name, why=why, tables=tc(host, "tap0", 1).build(), fires=fires)
    devmap = tc(_host("devmap", 99, name="", value=8), "tap0", 1)
    yield Example(name="devmap with values of 8 bytes", why="index and program", tables=devmap.build(), fires=1)

    def guests(name: str) -> HostBuilder:
        """Two guests that the map knows by address, as the routes do, and one whose tap is gone."""
        host = _host("hash", name=name)
        for number, index in ((1, 2), (3, 2), (2, 99)):
            key = int.from_bytes(socket.inet_aton(f"10.0.0.{number}"), sys.byteorder)
            host.bpf(entries=[BpfMapEntry(map_id=5, key=key, ifindex=index)]).route(f"10.0.0.{number}/32", dev="tap0")
        return tc(host, "tap0", 1)

    for called in ("guests", "redirect_to"):
        why = "bpf-map-stale-address-mapping stands above it"
        yield Example(name=f"addresses of guests in {called}", why=why, tables=guests(called).build(), fires=1)
    other = tc(_host("hash", 2, 2, 99, name="guests"), "tap0", 1).build()
    yield Example(name="a map of no telling name", why="its values may be anything", tables=other)


def _by_values() -> Iterator[Example]:
    """Maps whose names say nothing; tap0 to tap3 are 42 to 45, eth0 is 6."""
    for name, why, values, first, size, fires in (
        ("three guests and one that nobody has", "what else could they be", (42, 43, 44, 99), 100, 4, 1),
        ("the same, of a program that redirects nothing", "numbers of something", (42, 43, 44, 99), 101, 4, 0),
        ("the same, in structures", "likewise", (42, 43, 44, 99), 100, 8, 1),
        ("two guests and one that nobody has", "numbers, perhaps", (42, 43, 99), 100, 4, 0),
        ("four guests and two that nobody has", "numbers, perhaps", (42, 43, 44, 45, 98, 99), 100, 4, 0),
        ("a guest twice", "numbers of something", (42, 43, 44, 44, 99), 100, 4, 0),
        ("an uplink among them", "numbers of something", (42, 43, 44, 6, 99), 100, 4, 0),
        ("small numbers", "slots, classes, queues", (9, 10, 11, 13), 100, 4, 0),
        ("keys that are interfaces", "something about them", (42, 43, 44, 99), 42, 4, 0),
    ):
        host = HostBuilder()
        for tap in range(4):
            ifindex = tap + (9 if name == "small numbers" else 42)
            host.tap(f"tap{tap}", ifindex=ifindex).route(f"10.9.0.{tap + 1}/32", dev=f"tap{tap}")
        host.link("eth0", ifindex=6).address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.bpf(programs=[program(1, "steer", map_ids=(5,), verdicts=(-1,) if first == 101 else None)])
        host.bpf(maps=[BpfMap(id=5, type="hash", name="vms", key_size=4, value_size=size)])
        host.bpf(entries=[BpfMapEntry(map_id=5, key=first + n, ifindex=index) for n, index in enumerate(values)])
        yield Example(name=f"no name, {name}", why=why, tables=tc(host, "tap0", 1).build(), fires=fires)
    yield from _mentioned()


def _mentioned() -> Iterator[Example]:
    """Maps whose names mention interfaces; tap0 and tap1 are 9 and 10."""
    for name, values, verdict, fires in (
        ("redir", (9, 10, 99), 7, 1),
        ("tap_map", (9, 99), 7, 1),
        ("next_dev", (9, 99), 7, 1),
        ("next_dev", (9, 98, 99), 7, 0),
        ("next_dev", (99,), 7, 0),
        ("next_dev", (9, 10, 99), 0, 0),
        ("rx_dev", (9, 10, 99), 7, 0),
        ("vni_ids", (9, 10, 99), 7, 0),
    ):
        host = HostBuilder()
        for tap in (0, 1):
            host.tap(f"tap{tap}", ifindex=9 + tap).route(f"10.9.0.{tap + 1}/32", dev=f"tap{tap}")
        host.link("eth0", ifindex=6).address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.bpf(programs=[program(1, "steer", map_ids=(5,), verdicts=(verdict,))])
        host.bpf(maps=[BpfMap(id=5, type="hash", name=name, key_size=4, value_size=4)])
        host.bpf(entries=[BpfMapEntry(map_id=5, key=100 + n, ifindex=index) for n, index in enumerate(values)])
        why = "the name, the program and the other values together"
        called = f"{name} with {values}, verdict {verdict}"
        yield Example(name=called, why=why, tables=tc(host, "tap0", 1).build(), fires=fires)
