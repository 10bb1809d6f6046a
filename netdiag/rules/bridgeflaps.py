"""Guests behind one bridge that have one hardware address, told by its moving: each frame of theirs takes it along.

Asks for links, taps, forwarding entries of several looks, counters. Pure; nothing can fail.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from netdiag.index.taps import is_tap
from netdiag.index.view import HostView
from netdiag.model.bridge import Bridging, FdbMove
from netdiag.model.finding import Severity
from netdiag.model.link import Link, Stats64
from netdiag.rules.bridgeclones import LEARNED, ROUTERS, bridged
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.guesttaps import guest_taps
from netdiag.rules.shape import Example
from netdiag.rules.silentneighbours import of_many


class Flap(NamedTuple):
    """A hardware address that two guests have, by turns."""

    bridge: Link
    ports: tuple[Link, ...]
    """Behind which it was found, by name."""
    move: FdbMove


def flapping(view: HostView) -> Iterator[Flap]:
    """One for each bridge: an address that went to and fro between guests, or from one that goes on sending. Not where
    it moves between a guest and a network as well (a loop), nor between two ports of one machine (its bond), nor where
    two neighbours have it, nor between containers, whose far ends are seen (mac-duplicate-on-segment)."""
    quiet = {port.ifindex for one in bridged(view) for port in one.quiet}
    moved = view.bridging.moved
    for bridge in view.links:
        mine = [move for move in moved if move.master == bridge.ifindex]
        if not mine or bridge.kind != "bridge" or not bridge.up:
            continue
        ports = {port.ifindex: port for port in view.stack.ports(bridge.ifindex) if is_tap(port)}
        if any(port not in ports for move in mine for port in move.ports):
            continue
        for move in mine:
            there = tuple(sorted((ports[index] for index in set(move.ports)), key=lambda port: port.ifname))
            alone = move.lladdr.startswith(ROUTERS) or of_many(move.lladdr) or _several(view, bridge, move.lladdr)
            sure = move.moves > 1 or any(port.ifindex in quiet for port in there)
            if sure and not alone and not _one_machine(view, there):
                yield Flap(bridge, there, move)
                break


def _several(view: HostView, bridge: Link, lladdr: str) -> bool:
    """Whether two IPv4 neighbours on the bridge have the address."""
    rows = (row for row in view.neighbours.rows() if row.ifindex == bridge.ifindex and row.family == "inet")
    return len({row.dst for row in rows if row.lladdr == lladdr and row.state in LEARNED}) > 1


def _one_machine(view: HostView, ports: tuple[Link, ...]) -> bool:
    """Whether one process holds all these taps; also where nobody is known to hold one."""
    held = {tap.link.ifindex: {holder.pid for holder in tap.holders} for tap in guest_taps(view)}
    pids = [held.get(port.ifindex, set()) for port in ports]
    return not all(pids) or bool(set.intersection(*pids))


MAC = "02:00:00:00:00:aa"


def flap_examples() -> Iterator[Example]:
    """Of vm-clone-dup-ip-mac."""
    port = {"state": "forwarding", "learning": True}

    def case(name: str, why: str, severity: Severity | None = None, **more: Any) -> Example:
        made = HostBuilder().link("br0", kind="bridge", up=more.get("up", True)).address("br0", "10.9.0.1/24")
        for dst in more.get("dsts", ("10.9.0.2",)):
            made.neighbour(dst, dev="br0", lladdr=MAC, state="reachable")
        for number in (0, 1):
            own: dict[str, Any] = {"master": "br0", "address": f"02:00:00:00:01:0{number}", "slave_info": port}
            if more.get("kind") == "veth":
                made.link(f"tap{number}", kind="veth", link=7, link_netnsid=number, **own)
            else:
                made.tap(f"tap{number}", holder=None, **own)
                if more.get("held", True):
                    made.tap_holder(f"tap{number}", pid=more.get("pids", (70, 71))[number], device_netns=1)
        made.link("eth0", master="br0", address="02:00:00:00:01:09", slave_info=port)
        looks = [made.link_counters("tap0", stats=Stats64(rx_packets=count)) for count in more.get("rx", (40, 40))]
        made.counters(before={"links": (looks[0],)}, after={"links": (looks[1],)})
        moves = [
            FdbMove(master=made.ifindex("br0"), lladdr=lladdr, ports=tuple(made.ifindex(one) for one in ports))
            for lladdr, ports in more.get("moves", ((MAC, ("tap0", "tap1", "tap0")),))
        ]
        rows = fdb([entry(made, MAC, None, dev="tap1", flags=0, state=2)])
        tables = replace(made.build(), fdb=rows, bridging=Bridging(moved=tuple(moves)))
        says = ("by turns behind tap0 and tap1",) if severity == "critical" else ()
        return Example(name=f"it moves: {name}", why=why, tables=tables, fires=int(severity is not None),
                       severity=severity, says=says)  # fmt: skip

    yield case("to and fro", "two machines of one backup", "critical")
    yield case("between containers", "their far ends tell it", kind="veth")
    yield case("the host knows no address of theirs", "they may have any", "critical", dsts=())
    yield case(
        "it began with the other", "the finding is the same", "critical", moves=((MAC, ("tap1", "tap0", "tap1")),)
    )
    once = ((MAC, ("tap0", "tap1", "tap1")),)
    yield case("once", "a machine was moved", moves=once)
    yield case("once, and who had it sends on", "it is there still", "critical", moves=once, rx=(40, 44))
    yield case("from port to port of one machine", "its bond", pids=(70, 70))
    yield case("nobody holds the taps", "it is not known whose they are", held=False)
    yield case("two neighbours have it", "mac-duplicate-on-segment speaks", dsts=("10.9.0.2", "10.9.0.3"))
    yield case("a virtual router's", "it moves", moves=(("00:00:5e:00:01:07", ("tap0", "tap1", "tap0")),))
    yield case("a group's", "nobody sends from it", moves=(("03:00:00:00:00:01", ("tap0", "tap1", "tap0")),))
    yield case("a bridge that is down", "it learns nothing", up=False)
    loop = ((MAC, ("tap0", "tap1", "tap0")), ("02:00:00:00:00:bb", ("tap0", "eth0", "tap0")))
    yield case("between a guest and the network too", "a loop", moves=loop)
    yield case("nothing", "all is well", moves=())
