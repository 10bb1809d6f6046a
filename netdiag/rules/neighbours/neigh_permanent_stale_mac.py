"""What it checks
  A neighbour that somebody wrote down (permanent) has a hardware address that nothing on that link has: the only other
  end of the cable has another one, every answer of the guest on that tap came from another one, the vxlan device has
  no way to that address, it is the interface's own, or it is on a bridge of which all ports are cables to containers,
  and none ends in it. As a warning: it is the default gateway, the other family's gateway on the link answers from
  another one, and nobody else there has it. Likely: it, or a host behind it, opens TCP connections to this host and
  does not hear the answers. A warning: it is a gateway by which several addresses are called again and again, and
  nothing was answered by it since it was written; an info where only one is called, unless it is on a bridge that has
  that hardware address behind none of its ports, and somebody behind each. The same in a bridge's own table: an entry
  that somebody wrote down leads to another port than the one behind which that hardware address is, or, being
  "permanent", to the bridge itself.

Why it matters
  A permanent entry is never asked for and never corrected: since the machine behind it was replaced, everything for
  that one address is sent to a hardware address that nobody has. All others on the link work. A bridge moves an entry
  that is only "static" as soon as its owner speaks on another port; one that is "sticky" stays, as does every one where
  the port does not learn. "permanent" (what bridge fdb add makes by default) means the bridge: it keeps the frames.

Confirm
  ip neigh show nud permanent
  ip -br link                                  (at the other end)
  bridge fdb show dev VXLAN
  bridge fdb show br BRIDGE

Fix
  ip neigh delete ADDRESS dev IFNAME lets the kernel ask again; or ip neigh replace ADDRESS lladdr RIGHT dev IFNAME nud
  permanent where it must be written down. It touches that one address. An agent that writes them (flannel, cilium)
  must be restarted to bring its picture up to date. In a bridge: bridge fdb del LLADDR dev PORT master; it learns the
  right port with the next frame.

Not flagged
  Entries that match, and those with a multicast address, which all of a cluster take. Other links with a bridge, a
  macvlan or several hosts behind them, where the true address cannot be known from here, and nobody calls in vain since
  it was written; an info where the neighbour answered from another address when the baseline was taken: it may have
  been replaced. A gateway beside one of the other family with a shared address (VRRP, HSRP), or that TCP confirmed
  since it was written down: each family has its router. Interfaces without neighbour resolution or that are down. vxlan
  devices with a default entry or a remote, which carry any address, and those that a daemon or routes guide (l2miss,
  external). Bridges: addresses that are not those of a cable's far end, a tap's for instance, whose guest nobody can
  ask; addresses of the bridge and its ports; VLANs in which the port of that far end is not; an address that two far
  ends have (mac-duplicate-on-segment).

References
  net/core/neighbour.c (NUD_PERMANENT); net/bridge/br_fdb.c br_fdb_update(), br_input.c;
  Documentation/networking/vxlan.rst; https://github.com/flannel-io/flannel/issues/1795
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.taps import is_tap
from netdiag.index.view import HostView
from netdiag.model.bridge import NUD_NOARP, NUD_PERMANENT, BridgeVlan, Bridging, FdbEntry
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.expected import same_link, since
from netdiag.rules.gatewaycases import on_bridge, own_address, written_down
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.silentneighbours import of_many
from netdiag.rules.unheardby import (
    deaf_callers,
    nowhere,
    unheard_examples,
    unheard_finding,
    vain_calls,
    vain_finding,
)

RULE = Rule(
    id="neigh-permanent-stale-mac",
    title="a neighbour that was written down has the wrong hardware address",
    severity="critical",
    reads=("links", "peer_links", "neighbours"),
    consults=("fdb", "bridging", "baseline", "routes", "rules", "nexthops", "sysctls", "sockets"),
    explains=("tap-route-missing", "bgp-*", "wg-*", "dns-*"),
    family="each",
)
NO_END, MINE = "no end", "own"
CARDS, SHARING = (None, "veth", "bond", "team", "vlan"), ("ipvlan", "ipvtap", "macvlan", "macvtap")
CARRYING = ("vxlan", "geneve", "tun")
"""What is behind these may be off, or cut off further on, and nobody types its hardware address."""
NOBODY = "00:00:00:00:00:00"
GUIDED = ("remote", "group", "external", "l2miss")
"""What makes a vxlan device carry an address without an entry: a far end for all, routes, a daemon that is asked."""
ROUTER = "the other family's gateway"
MOST_DEFAULTS = 64
SHARED = ("00:00:5e:00:01:", "00:00:5e:00:02:", "00:00:0c:", "00:05:73:a0:")
"""Beginnings of hardware addresses that routers share, one for each family (VRRP, HSRP)."""
LEARNED = ("reachable", "stale", "delay", "probe")


def check(view: HostView) -> Iterator[Draft]:
    rows = [row for row in view.neighbours.rows() if row.lladdr]
    for row in rows:
        link = view.link(row.ifindex)
        if row.state != "permanent" or link is None or not link.up or link.noarp or of_many(row.lladdr):
            continue
        truth = _own(view, link, row) or _peer(view, link) or _guest(link, row, rows) or _tunnel(view, link, row)
        truth = truth or _cabled(view, link, row) or _learned(view, link, row) or _router(view, row, rows)
        callers = deaf_callers(view, row) if truth is None else []
        if truth is not None and truth[0] != row.lladdr:
            yield _finding(link, row, *truth)
        elif callers:
            yield unheard_finding(RULE, link, row, callers)
        elif truth is None and link.kind not in CARRYING and (called := vain_calls(view, row)):
            yield vain_finding(RULE, link, row, called, nobody=nowhere(view, link, row))
    yield from _switched(view)


def _switched(view: HostView) -> Iterator[Draft]:
    """Written entries of bridges that lead away from the cable at whose end the address is."""
    written = view.fdb.state & (NUD_PERMANENT | NUD_NOARP) != 0
    own = {link.address for link in view.links}
    for bridge in view.links:
        ends = _ends(view, bridge) if bridge.kind == "bridge" else {}
        mine = written & (view.fdb.master == bridge.ifindex)
        for row in view.fdb.rows(np.flatnonzero(mine)) if ends else ():
            port, found = view.link(row.ifindex), ends.get(row.lladdr, [])
            if port is None or row.lladdr in own or len(found) != 1:
                continue
            home = found[0][0]
            if bridge.info.get("vlan_filtering") and not _in_vlan(view, home, row.vlan):
                continue
            fixed = "sticky" in row.flags or home.slave_info.get("learning") is False
            if row.state == "permanent" or (home.ifindex != port.ifindex and fixed):
                yield _switched_draft(bridge, port, found[0], row)


def _ends(view: HostView, bridge: Link) -> dict[str, list[tuple[Link, Link]]]:
    """Ports of a bridge, each with the far end of its cable, by the far end's hardware address."""
    found: dict[str, list[tuple[Link, Link]]] = {}
    for port in view.stack.ports(bridge.ifindex):
        far = view.stack.veth_peer(port.ifindex)
        if far is not None and far.address and far.master is None and far.up and port.up and bridge.up:
            found.setdefault(far.address, []).append((port, far))
    return found


def _in_vlan(view: HostView, port: Link, vlan: int | None) -> bool:
    """Whether what the far end sends without a tag belongs to the VLAN."""
    return any(row.ifindex == port.ifindex and row.pvid and row.vlan == vlan for row in view.bridging.vlans)


def _switched_draft(bridge: Link, port: Link, end: tuple[Link, Link], row: FdbEntry) -> Draft:
    home, far = end
    kept = row.state == "permanent"
    where = f"{bridge.ifname} itself, which keeps what is for it" if kept else f"port {port.ifname}"
    vlan = f" vlan {row.vlan}" if row.vlan else ""
    return RULE.found(
        subject=subject("neighbour", lladdr=row.lladdr, ifname=port.ifname),
        message=f"{row.lladdr}, which {far.ifname} behind port {home.ifname} of {bridge.ifname} has, was written down "
        f"as being at {where}: what is for it is lost",
        evidence=(
            (f"entry {row.lladdr}", f"dev {port.ifname} {row.state}", f"RTM_GETNEIGH AF_BRIDGE {bridge.ifname}"),
            (f"far end of {home.ifname}", row.lladdr, f"RTM_GETLINK {far.ifname} IFLA_ADDRESS"),
        ),
        confirm=(f"bridge fdb show br {quoted(bridge.ifname)}", f"ip -br link show dev {quoted(home.ifname)}"),
        fix=f"bridge fdb del {row.lladdr} dev {quoted(port.ifname)} master{vlan}",
        touches=(subject("link", ifname=port.ifname), subject("link", ifname=home.ifname)),
        breaks=(subject("link", ifname=home.ifname),),
    )


def _own(view: HostView, link: Link, row: Neighbour) -> tuple[str, str] | None:
    """The interface's own hardware address, which nobody else has, where none of its kind shares it (ipvlan, macvlan's
    passthru)."""
    sharing = any(one.link == link.ifindex and one.kind in SHARING for one in view.links)
    if row.lladdr != link.address or link.kind not in CARDS or sharing:
        return None
    return MINE, f"RTM_GETLINK {link.ifname} IFLA_ADDRESS"


def _peer(view: HostView, link: Link) -> tuple[str, str] | None:
    """The hardware address of the only other end of a cable, and where it was read."""
    far = view.stack.veth_peer(link.ifindex)
    if far is None or far.master is not None or not far.address or far.promiscuity or not far.up:
        return None  # a bridge or a macvlan makes the far end promiscuous, and many hosts are behind it
    return far.address, f"RTM_GETLINK {far.ifname} IFLA_ADDRESS"


def _guest(link: Link, row: Neighbour, rows: list[Neighbour]) -> tuple[str, str] | None:
    """The one hardware address from which everything on a tap was answered."""
    seen = {other.lladdr for other in rows if other.ifindex == row.ifindex and other.state in LEARNED}
    if not is_tap(link) or link.master is not None or len(seen) != 1:
        return None
    return str(seen.pop()), f"RTM_GETNEIGH {link.ifname}, what the guest answered"


def _tunnel(view: HostView, link: Link, row: Neighbour) -> tuple[str, str] | None:
    """vxlan: nothing where the address has a way."""
    if link.kind != "vxlan" or not view.read_whole("fdb") or any(link.info.get(key) for key in GUIDED):
        return None
    mine = [entry for entry in view.fdb.rows() if entry.ifindex == link.ifindex]
    ways = {entry.lladdr for entry in mine}
    if not any(entry.dst for entry in mine) or row.lladdr in ways or NOBODY in ways:
        return None
    return "no entry", f"RTM_GETNEIGH AF_BRIDGE {link.ifname}"


def _cabled(view: HostView, link: Link, row: Neighbour) -> tuple[str, str] | None:
    """A bridge all of whose ports are cables with one machine at the far end each: none of these has the address."""
    ports = view.stack.ports(link.ifindex)
    if link.kind != "bridge" or not any(port.up for port in ports):
        return None
    known = {port.address for port in ports} | {link.address}
    for port in ports:
        far = view.stack.veth_peer(port.ifindex)
        if far is None or far.master is not None or not far.address or far.promiscuity:
            return None
        known.add(far.address)
    return None if row.lladdr in known else (NO_END, f"RTM_GETLINK IFLA_ADDRESS, {len(ports)} ports of {link.ifname}")


def _learned(view: HostView, link: Link, row: Neighbour) -> tuple[str, str] | None:
    """What the neighbour itself answered when the baseline was taken."""
    old = view.baseline
    if old is None or not old.read_whole("neighbours") or same_link(old, view, link.ifname) is None:
        return None
    for before in old.neighbours.rows():
        if before.dst == row.dst and old.ifname(before.ifindex) == link.ifname and before.state in LEARNED:
            return (before.lladdr, f"RTM_GETNEIGH, {since(old)}") if before.lladdr else None
    return None


def _router(view: HostView, row: Neighbour, rows: list[Neighbour]) -> tuple[str, str] | None:
    """A default gateway of which nobody on the link has the hardware address, beside the other family's, which answers
    from another one: mostly they are one router."""
    if not view.read_whole("routes"):
        return None
    gateways = set[str | None]()
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        for route in view.route_rows(family, np.flatnonzero(routes.dst_len == 0)[:MOST_DEFAULTS].tolist()):
            gateways |= {hop.gateway for hop in route.hops if hop.oif == row.ifindex}
    heard = [one for one in rows if one.ifindex == row.ifindex and one.state in LEARNED]
    known = {one.lladdr for one in heard}
    twin = next((one for one in heard if one.dst in gateways and one.family != row.family), None)
    works = row.confirmed is not None and row.updated is not None and row.confirmed + 1 < row.updated
    if row.dst not in gateways or twin is None or row.lladdr in known or works:  # (both times begin as one)
        return None
    shared = any(str(one.lladdr).startswith(SHARED) for one in (row, twin))
    return None if shared else (str(twin.lladdr), f"RTM_GETNEIGH {twin.dst}, {ROUTER}")


def _finding(link: Link, row: Neighbour, right: str, source: str) -> Draft:
    name, six, then = link.ifname, "-6 " if row.family == "inet6" else "", "baseline" in source
    what = f"nothing leads to that hardware address over {name}" if right == "no entry" else f"{right} is there"
    if right == NO_END:
        what = f"no cable of {name} ends in that hardware address"
    if right == MINE:
        what = f"that is the address of {name} itself"
    router = source.endswith(ROUTER)
    if router:
        what = f"nobody on {name} has that, and the other family's gateway answers from {right}"
    if then:
        what = f"answered from {right} when the baseline was taken: wrong, unless it was replaced"
    shown = f"bridge fdb show dev {quoted(name)}" if right == "no entry" else f"ip -br link show dev {quoted(name)}"
    return RULE.found(
        subject=subject("neighbour", dst=row.dst, ifname=name),
        severity="warning" if router else None,
        confidence="possible" if then else "certain" if source.startswith("RTM_GETLINK") else "likely",
        message=f"{row.dst} on {name} was written down with {row.lladdr}, but {what}"
        + ("" if then else ": what is for it is lost" if not router else ": if it is the same router, all is lost"),
        evidence=(
            (f"neighbour {row.dst}", f"{row.lladdr} permanent", f"RTM_GETNEIGH {name} NDA_LLADDR"),
            ("other end", right, source),
        ),
        confirm=(f"ip {six}neigh show to {row.dst} dev {quoted(name)}", shown),
        fix=f"ip {six}neigh delete {row.dst} dev {quoted(name)}",
        touches=(subject("link", ifname=name),),
        breaks=(subject("tap", ifname=name),),
    )


OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"


def _cable(lladdr: str = OLD, dst: str = "192.0.2.1", **far: Any) -> HostBuilder:
    host = HostBuilder().link("eth0", kind="veth").peer("eth0", **({"address": NEW} | far))
    return host.neighbour(dst, dev="eth0", state="permanent", lladdr=lladdr)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("neighbour", dst="192.0.2.1", ifname="eth0")
    yield _case("machine replaced", "the cable has one other end", _cable(), 1, subject=about, confidence="certain")
    yield _case("IPv6", "the same", _cable(dst="2001:db8::1"), 1, says=("ip -6 neigh delete",))
    guest = HostBuilder().tap("tap0").neighbour("10.1.0.5", dev="tap0", state="permanent", lladdr=OLD)
    guest.neighbour("fe80::5", dev="tap0", lladdr=NEW)
    yield _case("guest answers from another one", "restored with a new address", guest, 1, confidence="likely")
    yield _case("matches", "the healthy static entry", _cable(NEW))
    yield _case("a bridge at the far end", "many hosts are behind it", _cable(master=9))
    yield _case("promiscuous far end", "a macvlan lies on it", _cable(promiscuity=1))
    yield _case("far end down", "nobody is there, and it is another fault", _cable(flags=0))
    unknown = HostBuilder().link("eth0").neighbour("192.0.2.1", dev="eth0", state="permanent", lladdr=OLD)
    yield _case("a real network", "who has it cannot be known from here", unknown)
    learned = HostBuilder().link("eth0", kind="veth").peer("eth0", address=NEW)
    yield _case("learned", "it is corrected by itself", learned.neighbour("192.0.2.1", dev="eth0", lladdr=OLD))
    two = HostBuilder().tap("tap0").neighbour("10.1.0.5", dev="tap0", state="permanent", lladdr=OLD)
    two.neighbour("10.1.0.6", dev="tap0", lladdr=NEW).neighbour("fe80::5", dev="tap0", lladdr=OLD)
    yield _case("several hosts in the guest", "a bridge inside it", two)
    vxlan = HostBuilder().link("vx0", kind="vxlan").neighbour("10.244.1.0", dev="vx0", state="permanent", lladdr=OLD)
    yield _case("vxlan without entries", "whoever writes them has not begun", vxlan)
    yield _case("an entry without a hardware address", "nothing was written down", _cable(None))  # type: ignore[arg-type]
    yield _case("the far end has no address", "nothing to compare with", _cable(address=None))
    for name, fields in (("down", {"up": False}), ("without resolution", {"flags": 0x100C3})):
        off = HostBuilder().link("eth0", kind="veth", **fields).peer("eth0", address=NEW, flags=0x11043)
        off.neighbour("192.0.2.1", dev="eth0", state="permanent", lladdr=OLD)
        yield _case(f"the cable's near end {name}", "nothing is sent by the entry", off)
    segment = HostBuilder().link("eth0").neighbour("192.0.2.1", dev="eth0", state="permanent", lladdr=OLD)
    yield _case(
        "a real network, one other is seen", "it has many hosts", segment.neighbour("192.0.2.7", dev="eth0", lladdr=NEW)
    )
    of_bridge: dict[str, Any] = {"master": "br0"}
    for name, dev, more in (("on another tap", "tap1", {}), ("in a bridge", "tap0", of_bridge)):
        host = HostBuilder().link("br0", kind="bridge").tap("tap0", **more).tap("tap1")
        host.neighbour("10.1.0.5", dev="tap0", state="permanent", lladdr=OLD).neighbour("fe80::5", dev=dev, lladdr=NEW)
        yield _case(f"answers {name}", "that need not be this guest", host)
    yield from _tunnels()
    yield from written_down()
    yield from own_address()
    yield from unheard_examples()
    yield from on_bridge()
    yield from _pinned()
    yield from _bridges()


def _tunnels() -> Iterator[Example]:
    def case(
        name: str, why: str, ways: tuple[tuple[str, str | None, str], ...], fires: int = 0, **more: Any
    ) -> Example:
        """``ways``: hardware address, tunnel end and device of each forwarding entry."""
        host = HostBuilder().link("vx0", kind="vxlan", info=more.pop("info", {})).link("vx1", kind="vxlan")
        host.neighbour("10.244.1.0", dev="vx0", state="permanent", lladdr=OLD)
        rows = [entry(host, lladdr, dst, dev=dev) for lladdr, dst, dev in ways]
        return Example(name=name, why=why, tables=replace(host.build(), fdb=fdb(rows)), fires=fires, **more)

    other = ((NEW, "192.0.2.9", "vx0"),)
    yield case("vxlan, the node is another one", "no entry leads to the old address", other, 1, confidence="likely")
    yield case("vxlan, with its entry", "the healthy node", ((OLD, "192.0.2.9", "vx0"),))
    yield case("vxlan, floods", "what is not known goes to all", (*other, (NOBODY, "192.0.2.9", "vx0")))
    for key, value in (("remote", "192.0.2.9"), ("group", "239.0.0.9"), ("external", True), ("l2miss", True)):
        yield case(f"vxlan with {key}", "another way is found", other, info={key: value})
    yield case("vxlan, entries not read", "it may be among them", other, late=("fdb",), unjudged=True)
    yield case("vxlan, entries of another device", "this one has none yet", ((NEW, "192.0.2.9", "vx1"),))
    yield case("vxlan, entries without an end", "they are the device's own", ((NEW, None, "vx0"),))
    yield case("vxlan, by a nexthop object", "the ends are there", (*other, (OLD, None, "vx0")))


def _pinned() -> Iterator[Example]:
    """What the neighbour answered when the baseline was taken."""

    def written(lladdr: str) -> HostBuilder:
        return HostBuilder().link("eth0").neighbour("192.0.2.1", dev="eth0", state="permanent", lladdr=lladdr)

    before = HostBuilder().link("eth0").neighbour("192.0.2.1", dev="eth0", lladdr=NEW).build()
    old = written(OLD).build()
    yield Example(
        name="it answered from another one", why="then", tables=old, baseline=before, fires=1, severity="info",
        says=(f"answered from {NEW} when the baseline was taken",),
    )  # fmt: skip
    late: dict[str, Any] = {"late_then": ("neighbours",)}
    yield Example(name="then not read", why="nobody knows", tables=old, baseline=before, **late)
    for name, why, then in (
        ("the card was another kind", "another card", HostBuilder().link("eth0", kind="bridge")),
        ("another neighbour answered", "not this one", HostBuilder().link("eth0")),
    ):
        dst = "192.0.2.9" if "neighbour" in name else "192.0.2.1"
        tables = then.neighbour(dst, dev="eth0", lladdr=NEW).build()
        yield Example(name=name, why=why, tables=old, baseline=tables)
    card = HostBuilder().link("eth0").link("eth1").neighbour("192.0.2.1", dev="eth1", lladdr=NEW)
    yield Example(name="it answered on another card", why="another network", tables=old, baseline=card.build())
    yield Example(name="as it answered", why="pinned", tables=written(NEW).build(), baseline=before)
    yield Example(name="written down then too", why="nobody knows", tables=old, baseline=written(NEW).build())


def _bridges() -> Iterator[Example]:
    """A bridge with two cables: NEW is at the end of v1, and the entry says v0."""

    def case(name: str, why: str, fires: int = 0, **more: Any) -> Example:
        state, flags, dev = more.pop("state", 0x40), more.pop("flags", 0x40), more.pop("dev", "v0")
        vlans, vlan, far = more.pop("vlans", ()), more.pop("vlan", None), more.pop("far", {})
        first, port = more.pop("first", OLD), more.pop("port", {})
        host = HostBuilder().link("br0", **({"kind": "bridge"} | more.pop("bridge", {})))
        host.link("v0", kind="veth", master="br0", address="02:00:00:00:01:00").peer("v0", netnsid=0, address=first)
        host.link("v1", kind="veth", address="02:00:00:00:01:01", **({"master": "br0"} | port))
        host.peer("v1", netnsid=1, **({"address": NEW} | far))
        row = entry(host, more.pop("lladdr", NEW), None, dev=dev, state=state, flags=flags, vlan=vlan)
        of, bare = more.pop("vlans_of", "v1"), more.pop("pvid", True)
        ranges = tuple(BridgeVlan(ifindex=host.ifindex(of), vlan=one, vlan_end=one, pvid=bare) for one in vlans)
        if gone := more.pop("gone", None):
            host.vanished(gone)
        tables = replace(host.build(), fdb=fdb([row]), bridging=Bridging(vlans=ranges))
        return Example(name=f"bridge, {name}", why=why, tables=tables, fires=fires, **more)

    about = subject("neighbour", lladdr=NEW, ifname="v0")
    told: dict[str, Any] = {"fires": 1, "subject": about, "confidence": "certain"}
    yield case("sticky at the wrong port", "it never moves", says=("port v1 of br0 has", "at port v0: "), **told)
    kept: dict[str, Any] = {"state": 0x80, "flags": 0, "says": ("br0 itself, which keeps what is for it",)}
    yield case("permanent", "the kernel takes it for an address of its own", **kept, **told)
    yield case("permanent at the right port", "the bridge's own all the same", 1, dev="v1", **kept)
    deaf = {"slave_info": {"learning": False}}
    yield case("static, a port that does not learn", "nothing corrects it", flags=0, port=deaf, **told)
    yield case("static", "it moves with the first frame", flags=0)
    yield case("static, of a port that learns", "the same", flags=0, port={"slave_info": {"learning": True}})
    yield case("sticky at the right port", "pinned on purpose", dev="v1")
    yield case("learned", "it is corrected by itself", state=2, flags=0)
    yield case("learned, a port that does not learn", "it ages", state=2, flags=0, port=deaf)
    yield case("the port is gone meanwhile", "its entries go with it", gone="v0")
    yield case("of the device itself", "a filter of the card", state=0x80, flags=2)
    yield case("another address", "who has it cannot be known", lladdr=OLD, first="02:00:00:00:00:09")
    yield case(
        "a port's own address", "the kernel wrote it", far={"address": "02:00:00:00:01:00"}, lladdr="02:00:00:00:01:00"
    )
    yield case("two ends of that address", "another fault", first=NEW)
    for name, more in (
        ("far end down", {"far": {"flags": 0}}),
        ("far end in a bridge", {"far": {"master": 9}}),
        ("port down", {"port": {"up": False}, "far": {"flags": 0x1003}}),
        ("bridge down", {"bridge": {"up": False}}),
        ("cable in no bridge", {"port": {"master": None}}),
        ("in an Open vSwitch", {"bridge": {"kind": "openvswitch"}}),
    ):
        yield case(name, "nothing goes there", **more)
    tagged: dict[str, Any] = {"bridge": {"kind": "bridge", "info": {"vlan_filtering": 1}}, "vlans": (10,)}
    yield case("in the VLAN of that port", "there it counts", 1, vlan=10, **tagged)
    yield case("in another VLAN", "another network", vlan=20, **tagged)
    yield case("in the VLAN of the other port", "another network than the far end's", vlan=10, vlans_of="v0", **tagged)
    yield case("in a VLAN that needs its tag there", "who sends with it cannot be seen", vlan=10, pvid=False, **tagged)
    yield case("without a VLAN, where they count", "nobody asks it", **tagged)
    yield case("a VLAN that is not looked at", "the bridge has none", 1, vlan=20, vlans=(10,))
