"""What it checks
  A native XDP program of this host redirects packets by a devmap, and an interface in that map cannot take them: its
  driver says that it has no way to transmit frames of another device's XDP. For a veth that depends on the other end,
  which must run an XDP program itself or have GRO switched on. Or, where the program chooses the interface itself
  (bpf_redirect), or sends packets back: the veth that it sits on counts packets that it could not hand on, and drops
  some between the samples. Or there is no interface in its devmaps at all, and nobody puts one there any more (no
  pin and no process has the map), or there were some at the time of the baseline.

Why it matters
  Every packet that is redirected there is dropped. No interface counts it; only the tracepoint xdp_redirect_err and
  some drivers' own statistics see it. Typical: a container's veth without a program inside, or a tunnel as target.

Confirm
  bpftool map dump id MAP
  ethtool -k IFNAME | grep generic-receive-offload
  perf trace -e xdp:xdp_redirect_err, or bpftrace on that tracepoint

Fix
  For a veth attach a program that passes everything to its other end, or switch GRO on there: ethtool -K PEER gro on,
  which makes that end handle packets in batches and adds a little delay. For interfaces that can never do it (tunnels,
  bridges) pass the packet to the stack instead, or run XDP in generic mode.

Not flagged
  Targets that are down: they are drained, or not there yet. Empty devmaps that a loader can still fill. Programs
  in generic mode, which transmit by the ordinary way. A veth whose other end has a native program or GRO on, or could
  not be read. Other targets whose driver says nothing (before Linux 6.3). Where the other end's namespace cannot be
  entered to ask for GRO, that it is off, as a veth is made, is a guess, and told as info; unless the program sits on a
  veth that counts packets sent elsewhere, and none of its targets ever took one, or such packets are lost between the
  samples and no target is down. Maps of programs that are not attached by XDP here. A veth that counts packets of the
  past, and drops none now: the program may be another one since then.

References
  net/core/filter.c xdp_do_redirect(), kernel/bpf/devmap.c dev_map_enqueue(), drivers/net/veth.c veth_xdp_xmit() and
  veth_set_xdp_features(); include/uapi/linux/netdev.h NETDEV_XDP_ACT_NDO_XMIT
"""

from collections.abc import Iterator, Sequence
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment, BpfHolder, BpfMap, BpfMapEntry, BpfPin, BpfProgram
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, Stats64, Xdp
from netdiag.model.snapshot import Tables
from netdiag.rules.bpfplaces import filled_before
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, xdp
from netdiag.rules.emptydevmaps import empty_devmaps, out_of_reach
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-xdp-redirect-no-target",
    title="XDP redirects packets to an interface that cannot take them",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    consults=("peer_links", "counters", "baseline"),
)
NEVER = ("wireguard", "bridge", "vxlan", "geneve", "gre", "gretap", "ipip", "sit", "vlan", "macvlan", "ipvlan", "vrf")
"""Kinds without ndo_xdp_xmit."""


def unable(view: HostView, target: Link, said: bool | None) -> str | None:
    """Why an interface cannot take frames; None where it can, or nobody knows."""
    if said:
        return None
    if target.kind in NEVER:
        return f"interfaces of kind {target.kind} have no way to transmit them"
    if target.kind == "veth":
        peer = view.stack.veth_peer(target.ifindex)
        if peer is not None and peer.xdp is not None and peer.xdp.mode != "generic":
            return None
        if said is False:
            return "its other end runs no XDP program, and GRO is off there"
        return "its other end runs no XDP program, and GRO is off there by default" if peer else None
    return "its driver says that it cannot transmit them" if said is False else None


def lost(view: HostView, program: int, maps: set[int]) -> int:
    """Packets that a program sent elsewhere while no target of these maps took any; 0 where that is not known."""
    sent = sum(row.sent or 0 for row in view.bpf.attachments if row.prog_id == program and view.link(row.ifindex))
    took = [row.target_took for row in view.bpf.entries if row.map_id in maps and view.link(row.ifindex)]
    return sent if all(number == 0 for number in took) else 0


def check(view: HostView) -> Iterator[Draft]:
    told = set[int]()
    for number, draft in _mapped(view):
        told.add(number)
        yield draft
    for row, user, one in empty_devmaps(view):
        if user.id not in told and (out_of_reach(view, one) or filled_before(view, one, user)):
            told.add(user.id)
            yield _nowhere(view, row, user, one)
    for row in view.bpf.attachments:
        found = _in_vain(view, row) if row.prog_id not in told else None
        if found is not None:
            yield found


def dropped_now(view: HostView, row: BpfAttachment) -> int:
    """Packets that the veth of a native program dropped between the samples, where it failed to hand on some."""
    link, samples = view.link(row.ifindex or 0), (view.counters, view.latest)
    if link is None or row.mode != "native" or not row.failed:
        return 0
    dropped = [one.stats.rx_dropped for sample in samples for one in sample.links if one.ifindex == link.ifindex]
    return max(0, dropped[-1] - dropped[0]) if dropped else 0


def _lost_now(view: HostView, program: int, maps: set[int]) -> int:
    """The same for all veths of a program whose targets are all up; one that is down, as it is drained, loses some."""
    targets = [view.link(row.ifindex) for row in view.bpf.entries if row.map_id in maps]
    if any(target is None or not target.up for target in targets):
        return 0
    return sum(dropped_now(view, row) for row in view.bpf.attachments if row.prog_id == program)


def _in_vain(view: HostView, row: BpfAttachment) -> Draft | None:
    """A program on a veth that hands on packets which nobody takes, by the counters alone."""
    link, moved = view.link(row.ifindex or 0), dropped_now(view, row)
    if link is None or not moved:
        return None
    one = view.bpf.program(row.prog_id)
    name = (one.function or one.name if one else None) or str(row.prog_id)
    off = _switched_off(view, one.map_ids if one else ())
    why = f"{off}, to which its map leads, is down" if off else "the interface that it sends them to cannot take them"
    fix = "ethtool -K PEER gro on  # at the other end of the veth that it sends to, or attach XDP there; a bridge or a"
    return RULE.found(
        subject=subject("bpf-attachment", hook="xdp", ifname=link.ifname, name=name),
        message=f"{moved} packets that XDP program {name} of {link.ifname} sent elsewhere were dropped just now: {why}",
        evidence=[
            (f"packets dropped by {link.ifname} between the samples", moved, "RTM_GETLINK rx_dropped"),
            ("sent elsewhere in vain", row.failed, f"ethtool -S {link.ifname} rx_queue_0_drops"),
        ],
        confirm=[f"ethtool -S {quoted(link.ifname)}", f"bpftool prog dump xlated id {row.prog_id}"],
        fix=f"ip link set dev {quoted(off)} up" if off else f"{fix} tunnel can never take them",
        touches=[subject("link", ifname=link.ifname), *([subject("link", ifname=off)] if off else [])],
    )


def _nowhere(view: HostView, row: BpfAttachment, user: BpfProgram, one: BpfMap) -> Draft:
    """A program whose devmap has no entry: bpf_redirect_map() finds nothing, and the packet is dropped unless the
    program says what else to do."""
    name, ifname = user.function or user.name, view.ifname(row.ifindex or 0)
    lost, before = out_of_reach(view, one), filled_before(view, one, user)
    why = f"; {before}" if before else "; no pin and no process has it, so nobody fills it" if lost else ""
    return RULE.found(
        subject=subject("bpf-map", name=one.name, program=name, ifname=ifname),
        message=f"{one.type} {one.name} (map {one.id}) of XDP program {name} of {ifname} has no interface in it: what"
        f" it redirects by that map is dropped{why}",
        evidence=[
            (f"map {one.id} {one.name} entries", 0, "BPF_MAP_LOOKUP_ELEM"),
            (
                f"map {one.id} pins and holders",
                "none" if lost else "some, or not read whole",
                "bpffs, /proc/PID/fdinfo",
            ),
        ],
        confirm=[f"bpftool map dump id {one.id}", f"bpftool prog show id {user.id}"],
        fix="restart the loader, which fills the map"
        + ("" if lost else f"; bpftool map update id {one.id} ... by hand"),
        touches=[subject("link", ifname=ifname)],
    )


def _switched_off(view: HostView, maps: Sequence[int]) -> str | None:
    """The first interface in these devmaps that is down, where all that are known are."""
    targets = [view.link(row.ifindex) for row in view.bpf.entries if row.map_id in maps]
    known = [link for link in targets if link is not None]
    return known[0].ifname if known and not any(link.up for link in known) else None


def _mapped(view: HostView) -> Iterator[tuple[int, Draft]]:
    """Interfaces in devmaps, each with the program whose packets it cannot take."""
    table = view.bpf
    native = {row.prog_id for row in table.attachments if row.mode == "native" and view.link(row.ifindex)}
    users = {number: one for one in table.programs if one.id in native for number in one.map_ids}
    maps = {one.id: one for one in table.maps if one.type in ("devmap", "devmap_hash") and one.id in users}
    told: set[int] = set()
    for entry in sorted(table.entries, key=lambda entry: (entry.map_id, entry.key)):
        target = view.link(entry.ifindex)
        one = maps.get(entry.map_id)
        if one is None or target is None or not target.up or target.ifindex in told:
            continue
        why = unable(view, target, entry.target_can)
        if why is None:
            continue
        told.add(target.ifindex)
        user, name = users[one.id], target.ifname
        unread = target.kind == "veth" and entry.target_can is None
        its = maps.keys() & set(user.map_ids)
        count, now = lost(view, user.id, its), _lost_now(view, user.id, its)
        guess = unread and not count and not now
        draft = RULE.found(
            subject=subject("bpf-map", name=one.name, program=user.function or user.name, ifname=name),
            message=f"{one.type} {one.name} (map {one.id}) of XDP program {user.function or user.name} redirects to "
            f"{name}, which {'may not' if guess else 'cannot'} take the packets: {why}, they are dropped",
            evidence=[
                (f"map {one.id} key {entry.key}", f"ifindex {entry.ifindex} ({name})", "BPF_MAP_LOOKUP_ELEM"),
                (f"{name}", why, "RTM_GETLINK IFLA_INFO_KIND, IFLA_XDP of the other end, NETDEV_CMD_DEV_GET"),
                *([("sent elsewhere by the program, none taken", count, "ethtool -S xdp_xmit")] if count else []),
                *([("dropped between the samples where the program is", now, "RTM_GETLINK rx_dropped")] if now else []),
            ],
            confirm=[f"bpftool map dump id {one.id}", f"ip -d link show dev {quoted(name)}"],
            fix=f"ethtool -K PEER_OF_{quoted(name)} gro on  # in the namespace of the other end, or attach XDP there"
            if target.kind == "veth"
            else f"bpftool map delete id {one.id} key {' '.join(map(str, entry.key.to_bytes(4, 'little')))}",
            touches=[subject("link", ifname=name)],
            confidence="possible" if guess else None,
        )
        yield user.id, draft


def _host(
    can: bool | None,
    mode: str = "native",
    kind: str | None = "veth",
    peer: str | None = "",
    *,
    sent: int | None = None,
    failed: int | None = None,
    took: int | None = None,
    **link: Any,
) -> HostBuilder:
    host = HostBuilder().link("eth0").link("v0", kind=kind, **link)
    if peer is not None:
        host.peer("v0", xdp=Xdp(mode=peer) if peer else None)
    host.bpf(programs=[program(1, "balancer", type="xdp", map_ids=(5,))])
    host.bpf(maps=[BpfMap(id=5, type="devmap", name="targets", key_size=4, value_size=8)])
    host.bpf(entries=[BpfMapEntry(map_id=5, key=0, ifindex=host.ifindex("v0"), target_can=can, target_took=took)])
    return xdp(host, "eth0", 1, mode, sent=sent, failed=failed)


def examples() -> Iterator[Example]:
    yield Example(
        name="veth without a program inside",
        why="the plain fault",
        tables=_host(False).build(),
        fires=1,
        subject=subject("bpf-map", name="targets", program="balancer", ifname="v0"),
        severity="warning",
        confidence="likely",
        says=("cannot take the packets: its other end runs no XDP program, and GRO is off there, they",),
    )
    guess: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    says = ("may not take the packets", "off there by default")
    yield Example(name="GRO not read", why="the kernel tells nothing", tables=_host(None).build(), **guess, says=says)
    counted = _host(None, sent=5, took=0)
    yield Example(name="GRO not read, all lost", why="the counters tell", tables=counted.build(), fires=1,
                  severity="warning", says=("cannot take",))  # fmt: skip
    for sent, took in ((0, 0), (5, 1), (5, None), (None, 0)):
        tables = _host(None, sent=sent, took=took).build()
        yield Example(name=f"GRO not read, sent {sent}, took {took}", why="not known", tables=tables, **guess)
    beside = _host(None, sent=5, took=0).link("v1", kind="veth").peer("v1")
    beside.bpf(entries=[BpfMapEntry(map_id=5, key=1, ifindex=beside.ifindex("v1"), target_can=True, target_took=5)])
    yield Example(name="another took them", why="not known", tables=beside.build(), **guess)
    beside = _host(None, took=0).bpf(programs=[program(2, type="xdp")]).link("eth1")
    beside = xdp(beside, "eth1", 2, sent=5)
    yield Example(name="another program sent", why="not known", tables=beside.build(), **guess)
    far = BpfAttachment(hook="xdp", prog_id=1, ifindex=99, mode="native", sent=5)
    beside = _host(None, took=0).bpf(attachments=[far])
    yield Example(name="sent in another namespace", why="to others", tables=beside.build(), **guess)
    beside = _host(None, sent=5, took=0)
    beside.bpf(entries=[BpfMapEntry(map_id=6, key=0, ifindex=beside.ifindex("v0"), target_took=9)])
    beside.bpf(entries=[BpfMapEntry(map_id=5, key=1, ifindex=99, target_took=None)])
    yield Example(name="taken of another map", why="not of this program", tables=beside.build(), fires=1,
                  severity="warning")  # fmt: skip
    generic = _host(False, peer="generic").build()
    yield Example(name="generic inside", why="it needs the native one", tables=generic, fires=1)
    yield from _counted()
    yield from _emptied()
    yield Example(
        name="a tunnel",
        why="it can never do it",
        tables=_host(None, kind="wireguard", peer=None).build(),
        fires=1,
        severity="warning",
        says=("interfaces of kind wireguard", "key 0 0 0 0"),
    )
    card = _host(False, kind=None, peer=None)
    yield Example(name="a card that says no", why="its driver knows", tables=card.build(), fires=1)
    yield Example(name="it can", why="GRO is on at its other end, or the driver says so", tables=_host(True).build())
    yield Example(name="a program inside", why="as it should be", tables=_host(None, peer="native").build())
    yield Example(name="the other end is unknown", why="nobody knows", tables=_host(None, peer=None).build())
    yield Example(name="a card not asked", why="an old kernel", tables=_host(None, kind=None, peer=None).build())
    yield Example(name="down", why="drained", tables=_host(False, up=False).build())
    yield Example(name="generic", why="it transmits by the ordinary way", tables=_host(False, "generic").build())
    far = BpfAttachment(hook="xdp", prog_id=1, ifindex=99, mode="native")
    away = HostBuilder().link("eth0").link("v0", kind="veth").bpf(attachments=[far])
    whole = _host(False).build().bpf
    away.bpf(programs=whole.programs, maps=whole.maps, entries=whole.entries)
    yield Example(name="attached in another namespace", why="its indexes", tables=away.build())
    numbers = HostBuilder().link("eth0").link("v0", kind="veth")
    numbers.bpf(programs=whole.programs, entries=whole.entries)
    numbers.bpf(maps=[BpfMap(id=5, type="hash", name="vm_ifindex", key_size=4, value_size=4)])
    yield Example(name="a map of numbers", why="nothing is redirected by it", tables=xdp(numbers, "eth0", 1).build())
    gone = _host(True).bpf(entries=[BpfMapEntry(map_id=5, key=1, ifindex=99, target_can=False)])
    yield Example(name="an index that nobody has", why="bpf-devmap-stale-ifindex tells it", tables=gone.build())
    both = _host(False).bpf(programs=[program(2, "other", type="xdp", map_ids=(6,))])
    both.bpf(maps=[BpfMap(id=6, type="devmap_hash", name="more", key_size=4, value_size=8)])
    both.bpf(entries=[BpfMapEntry(map_id=6, key=0, ifindex=both.ifindex("v0"), target_can=False)])
    both.link("eth1")
    yield Example(name="by two maps", why="one interface is told once", tables=xdp(both, "eth1", 2).build(), fires=1)
    alone = _host(False, peer=None).build()
    yield Example(name="it says no, the other end is unknown", why="it would say yes", tables=alone, fires=1)


def _emptied() -> Iterator[Example]:
    """Devmaps without any interface."""

    def host(mode: str = "native", *, kept: str = "", filled: bool = False, read: bool = True, **more: Any) -> Tables:
        made = HostBuilder().link("eth0").link("v0")
        made.bpf(programs=[program(1, "balancer", type="xdp", map_ids=(5, 6))], **more)
        made.bpf(maps=[BpfMap(id=5, type="devmap", name="targets"), BpfMap(id=6, type="hash", name="flows")])
        made.bpf(entries_read=[5, 6] if read else [6])
        if kept == "pin":
            made.bpf(pins=[BpfPin(path="/sys/fs/bpf/targets", kind="map", id=5)])
        elif kept:
            made.bpf(holders=[BpfHolder(pid=9, comm="balancerd", kind=kept, id=5)])  # type: ignore[arg-type]
        if filled:
            made.bpf(entries=[BpfMapEntry(map_id=5, key=0, ifindex=made.ifindex("v0"), target_can=True)])
        return xdp(made, "eth0", 1, mode).build()

    says = ("has no interface in it: what it redirects by that map is dropped; no pin and no process has it",)
    told: dict[str, Any] = {"fires": 1, "subject": subject("bpf-map", name="targets", program="balancer")}
    yield Example(name="empty, its loader is gone", why="nobody fills it", tables=host(), severity="warning",
                  says=says, **told)  # fmt: skip
    held = host(kept="prog")
    yield Example(name="empty, a program of that number is held", why="it is no map", tables=held,
                  severity="warning", **told)  # fmt: skip
    for kept in ("pin", "map"):
        yield Example(name=f"empty, {kept} keeps it", why="it may be filled when there is somebody to send to",
                      tables=host(kept=kept))  # fmt: skip
    unread = host(unread=("pins",))
    yield Example(name="empty, pins not read", why="one may keep it", tables=unread)
    before: dict[str, Any] = {
        "baseline": host(kept="pin", filled=True),
        "says": ("dropped; it had 1 at the time of the baseline",),
    }
    yield Example(name="emptied", why="it had an interface", tables=host(kept="pin"), severity="warning", **before,
                  **told)  # fmt: skip
    for name, tables in (
        ("filled", host(filled=True)),
        ("generic", host("generic")),
        ("entries not read", host(read=False)),
    ):
        yield Example(name=f"devmap, {name}", why="nobody knows, or all is well", tables=tables)


def _mapped_alone() -> Tables:
    """A devmap with one target, which is down, and packets that are lost."""
    made = HostBuilder().link("eth0", kind="veth").link("v0", up=False)
    made.bpf(programs=[program(1, "balancer", type="xdp", map_ids=(5,))])
    made.bpf(maps=[BpfMap(id=5, type="devmap", name="targets", key_size=4, value_size=8)])
    made.bpf(entries=[BpfMapEntry(map_id=5, key=0, ifindex=made.ifindex("v0"))])
    samples = [{"links": (made.link_counters("eth0", stats=Stats64(rx_dropped=value)),)} for value in (3, 9)]
    return xdp(made.counters(before=samples[0], after=samples[1]), "eth0", 1, sent=9, failed=6).build()


def _counted() -> Iterator[Example]:
    """Programs that choose the interface themselves."""

    def host(before: int | None, after: int | None, mode: str = "native", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", kind="veth").link("eth1").bpf(programs=[program(1, "balancer", type="xdp")])
        other = made.link_counters("eth1", stats=Stats64(rx_dropped=5))
        samples = [
            {"links": (other, made.link_counters("eth0", stats=Stats64(rx_dropped=value)))} if value is not None else {}
            for value in (before, after)
        ]
        return xdp(made.counters(before=samples[0], after=samples[1]), "eth0", 1, mode, **fields)

    about = subject("bpf-attachment", hook="xdp", ifname="eth0", name="balancer")
    told: dict[str, Any] = {"fires": 1, "severity": "warning", "subject": about}
    for name, why, made, expected in (
        ("dropped now", "nobody takes them", host(3, 13, sent=20, failed=13), told),
        ("one dropped now", "nobody takes it", host(3, 4, sent=20, failed=4), told),
        ("dropped earlier", "it may have been another program", host(13, 13, sent=20, failed=13), {}),
        ("drops of another kind", "protocols that nobody takes", host(3, 13, sent=20, failed=0), {}),
        ("not told", "not a veth", host(3, 13), {}),
        ("generic, and drops", "it transmits by the ordinary way", host(3, 13, "generic", failed=13), {}),
        ("not counted", "nobody knows", host(None, None, failed=13), {}),
        ("made between the samples", "nobody knows when", host(None, 13, failed=13), {}),
    ):
        yield Example(name=f"no map, {name}", why=why, tables=made.build(), **expected)
    far = BpfAttachment(hook="xdp", prog_id=1, ifindex=99, mode="native", failed=5)
    yield Example(name="no map, in another namespace", why="its interface is not here",
                  tables=host(3, 13).bpf(attachments=[far]).build())  # fmt: skip
    both = _host(False, sent=9, failed=9)
    rows = [{"links": (both.link_counters("eth0", stats=Stats64(rx_dropped=value)),)} for value in (0, 9)]
    both.counters(before=rows[0], after=rows[1])
    yield Example(name="by a map, and dropped", why="the map tells more", tables=both.build(), fires=1)

    drained = _mapped_alone()
    says = ("were dropped just now: v0, to which its map leads, is down", "ip link set dev v0 up")
    yield Example(name="its only target is down", why="somebody took it down", tables=drained, says=says, **told)

    def mapped(after: int, **down: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", kind="veth").link("v0", kind="veth").peer("v0").link("v1", **down)
        made.bpf(programs=[program(1, "balancer", type="xdp", map_ids=(5,))])
        made.bpf(maps=[BpfMap(id=5, type="devmap", name="targets", key_size=4, value_size=8)])
        entries = [BpfMapEntry(map_id=5, key=0, ifindex=made.ifindex("v0"), target_took=3)]
        made.bpf(entries=[*entries, BpfMapEntry(map_id=5, key=1, ifindex=made.ifindex("v1"), target_can=True)])
        samples = [{"links": (made.link_counters("eth0", stats=Stats64(rx_dropped=value)),)} for value in (3, after)]
        return xdp(made.counters(before=samples[0], after=samples[1]), "eth0", 1, sent=9, failed=6)

    guess: dict[str, Any] = {"fires": 1, "severity": "info"}
    sure: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("redirects to v0, which cannot take",)}
    for name, why, made, expected in (
        ("it took some, and some are lost now", "the program inside has gone", mapped(9), sure),
        ("one is lost now", "the same", mapped(4), sure),
        ("it took some, none is lost now", "lost in the past", mapped(3), guess),
        ("another target is down", "it may be that one", mapped(9, up=False), guess),
    ):
        yield Example(name=f"GRO not read, {name}", why=why, tables=made.build(), **expected)
