"""Guests behind one bridge that have the same hardware address, told from outside.

One of them sends, and the bridge has learned nobody behind its port: it found that address behind the other one's.
Where two neighbours have it, they are two guests; where one does, or none, a filter in front of the bridge might have
thrown away what the silent one sent. Asks for links, neighbours, forwarding entries and counters, of which one sample
tells nothing. Pure; nothing can fail.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.distinct import among
from netdiag.model.finding import Severity
from netdiag.model.link import Link, Stats64
from netdiag.model.tc import Qdisc, Tc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.build_nft import table as nft_table
from netdiag.rules.shape import Example
from netdiag.rules.silentneighbours import of_many

ROUTERS = ("00:00:5e:00:01:", "00:00:5e:00:02:")
"""Hardware addresses of virtual routers (RFC 9568)."""
LEARNED = ("reachable", "stale", "delay", "probe")
SENT = 10
"""Packets of a guest before the first sample; one that has just begun may be younger than the bridge's entries."""


class Clones(NamedTuple):
    """Two guests, as a bridge shows them."""

    bridge: Link
    silent: Link
    """The port behind which nobody is known."""
    home: Link
    """The port that the bridge has the address behind."""
    address: str
    dsts: tuple[str, ...]
    """The neighbours that have it."""


class Bridged(NamedTuple):
    """A bridge with guests that send, and are known nowhere."""

    bridge: Link
    quiet: tuple[Link, ...]
    """Ports of theirs."""
    homes: dict[str, Link]
    """Every hardware address that the bridge has learned, and its port."""


def clones(view: HostView) -> Iterator[Clones]:
    """One for each bridge."""
    for bridge, quiet, homes in bridged(view):
        for address, dsts in _shared(view, bridge).items():
            if address in homes:
                yield Clones(bridge, quiet[0], homes[address], address, dsts)
                break


def bridged(view: HostView) -> Iterator[Bridged]:
    """Bridges behind which a guest sends whom they know nowhere."""
    sent = _sent(view)
    for bridge in view.links:
        if bridge.kind != "bridge" or not bridge.up or bridge.info.get("ageing_time") == 0:
            continue
        ports = {port.ifindex: port for port in view.stack.ports(bridge.ifindex)}
        homes: dict[str, Link] = {}
        for row in view.fdb.rows(np.flatnonzero(among(view.fdb.ifindex, list(ports)))):
            if not of_many(row.lladdr) and row.lladdr != ports[row.ifindex].address:
                homes[row.lladdr] = ports[row.ifindex]
        known = {port.ifindex for port in homes.values()}
        quiet = tuple(port for port in ports.values() if port.ifindex in sent - known and _learns(port))
        if quiet:
            yield Bridged(bridge, quiet, homes)


def twins(view: HostView) -> Iterator[tuple[Link, Link, dict[str, Link]]]:
    """Bridges with a guest that sends and is known nowhere, its port, and the other guests that are known, of which one
    may have its hardware address. Not where a filter may have taken its frames before the bridge saw them."""
    if any(table.family in ("bridge", "netdev") for table in view.nft.tables):
        return
    screened = {row.ifindex for row in view.bpf.attachments}
    screened |= {row.ifindex for row in view.qdiscs.qdiscs if row.kind in ("clsact", "ingress")}
    for bridge, quiet, homes in bridged(view):
        if bridge.info.get("vlan_filtering"):
            continue
        others = {mac: port for mac, port in homes.items() if faces_guest(port) and not mac.startswith(ROUTERS)}
        for port in quiet if others else ():
            if port.ifindex not in screened:
                yield bridge, port, others
                break


def _sent(view: HostView) -> set[int]:
    """Interfaces by which packets came between the samples, and some before."""
    before = {row.ifindex: row.stats.rx_packets for row in view.counters.links}
    rows = ((row.ifindex, row.stats.rx_packets) for row in view.latest.links)
    return {ifindex for ifindex, count in rows if count > before.get(ifindex, count) >= SENT}


def _learns(port: Link) -> bool:
    """Whether a bridge learns what a guest behind the port sends from."""
    info = port.slave_info
    return faces_guest(port) and info.get("state") == "forwarding" and info.get("learning") is not False


def _shared(view: HostView, bridge: Link) -> dict[str, tuple[str, ...]]:
    """Hardware addresses on a bridge of which two IPv4 neighbours were heard."""
    found: dict[str, tuple[str, ...]] = {}
    for row in view.neighbours.rows(np.flatnonzero(view.neighbours.ifindex == bridge.ifindex)):
        if row.family == "inet" and row.lladdr and row.state in LEARNED and not row.lladdr.startswith(ROUTERS):
            found[row.lladdr] = (*found.get(row.lladdr, ()), row.dst)
    return {lladdr: dsts for lladdr, dsts in found.items() if len(dsts) > 1}


MAC, OTHER = "02:00:00:00:00:aa", "02:00:00:00:00:bb"


def clone_examples() -> Iterator[Example]:
    """Of mac-duplicate-on-segment."""

    def host(
        *,
        rx: tuple[int, int] = (40, 44),
        dsts: tuple[tuple[str, str | None, str], ...] = (("10.9.0.2", MAC, "stale"), ("10.9.0.3", MAC, "reachable")),
        entries: tuple[tuple[str, str], ...] = (("tap0", MAC),),
        kind: str = "tap",
        ageing: int | None = 30_000,
        up: bool = True,
        **slave: Any,
    ) -> Any:
        made = (
            HostBuilder()
            .link("br0", kind="bridge", up=up, info={} if ageing is None else {"ageing_time": ageing})
            .address("br0", "10.9.0.1/24")
        )
        port = {"state": "forwarding", "learning": True} | slave
        for number, name in enumerate(("tap0", "tap1")):
            own: dict[str, Any] = {"master": "br0", "address": f"02:00:00:00:01:0{number}", "slave_info": port}
            made = made.tap(name, **own) if kind == "tap" else made.link(name, **own)
        for dst, lladdr, state in dsts:
            made.neighbour(dst, dev="br0", lladdr=lladdr, state=state)
        looks = [made.link_counters("tap1", stats=Stats64(rx_packets=count)) for count in rx]
        made.counters(before={"links": (looks[0],)}, after={"links": (looks[1],)})
        own_ = entry(made, "02:00:00:00:01:01", None, dev="tap1", flags=0)
        group = entry(made, "33:33:00:00:00:01", None, dev="tap1")
        rows = [entry(made, lladdr, None, dev=dev, flags=0, state=2) for dev, lladdr in entries]
        return replace(made.build(), fdb=fdb([own_, group, *rows]))

    def case(name: str, why: str, tables: Any, **more: Any) -> Example:
        return Example(name=f"clones in a bridge: {name}", why=why, tables=tables, **more)

    says = ("the guest behind tap1 sends", "10.9.0.2 and 10.9.0.3 have one hardware address", "behind tap0")
    yield case("one sends, and is known nowhere", "its address is found behind the other", host(), fires=1,
               severity="warning", says=says)  # fmt: skip
    loud: dict[str, Any] = {"fires": 1, "severity": "warning"}
    yield case("it had sent ten packets", "long enough", host(rx=(10, 11)), **loud)
    yield case("a bridge that does not say how long", "it keeps them for minutes", host(ageing=None), **loud)
    nameless = host(dsts=(("10.9.0.9", None, "stale"), ("10.9.0.2", MAC, "stale"), ("10.9.0.3", MAC, "stale")))
    yield case("a neighbour without an address", "it says nothing", nameless, **loud)
    two = (("10.9.0.2", MAC, "stale"), ("10.9.0.3", OTHER, "stale"))
    gone = (("10.9.0.2", MAC, "failed"), ("10.9.0.3", MAC, "stale"))
    virtual = tuple((dst, "00:00:5e:00:01:07", "stale") for dst in ("10.9.0.2", "10.9.0.3"))
    six = (("10.9.0.2", MAC, "stale"), ("2001:db8::2", MAC, "stale"))
    for name, why, tables in (
        ("it is known", "one guest with two addresses", host(entries=(("tap0", MAC), ("tap1", OTHER)))),
        ("it has sent nothing", "the bridge forgot it", host(rx=(40, 40))),
        ("it has just begun", "the entries may be older", host(rx=(9, 13))),
        ("two hardware addresses", "two guests", host(dsts=two)),
        ("one of them did not answer", "one guest", host(dsts=gone)),
        ("one of both families", "one guest", host(dsts=six)),
        ("a virtual router's", "it moves", host(dsts=virtual, entries=(("tap0", virtual[0][1]),))),
        ("the address is known nowhere", "both are silent", host(entries=())),
        ("a card", "who is behind it cannot be said", host(kind="card")),
        ("a port that learns nothing", "somebody switched it off", host(learning=False)),
        ("a port that is blocked", "nothing of it is learned", host(state="blocking")),
        ("a bridge that forgets at once", "it is a hub", host(ageing=0)),
        ("a bridge that is down", "it learns nothing", host(up=False)),
    ):
        yield case(name, why, tables)
    for table in ("fdb", "counters"):
        yield case(f"{table} not read", "it is not known", host(), late=(table,), unjudged=True)


def twin_examples() -> Iterator[Example]:
    """Of vm-clone-dup-ip-mac: the same, where one neighbour has that address, or none."""
    port = {"state": "forwarding", "learning": True}

    def case(name: str, why: str, fires: int = 0, **more: Any) -> Example:
        made = HostBuilder().link("br0", kind="bridge", info={"vlan_filtering": more.get("vlans", False)})
        made.address("br0", "10.9.0.1/24").neighbour("10.9.0.2", dev="br0", lladdr=MAC, state="reachable")
        for name_, number in (("tap0", 0), ("tap1", 1)):
            made.tap(name_, master="br0", address=f"02:00:00:00:01:0{number}", slave_info=port)
        if more.get("card"):
            made.link("eth0", master="br0", slave_info=port)
        if more.get("family"):
            made.nft(nft_table(family=more["family"], name="screen"))
        looks = [made.link_counters("tap1", stats=Stats64(rx_packets=count)) for count in more.get("rx", (40, 44))]
        made.counters(before={"links": (looks[0],)}, after={"links": (looks[1],)})
        home = "eth0" if more.get("card") else "tap0"
        rows = [entry(made, MAC, None, dev=home, flags=0, state=2)]
        severity: Severity | None = "info" if fires else None
        late = tuple(more.get("late", ()))
        queue = Qdisc(ifindex=made.ifindex("tap1"), kind=more.get("qdisc", "noqueue"), handle=0, parent=0)
        tables = replace(made.build(), fdb=fdb(rows), qdiscs=Tc(qdiscs=(queue,)))
        says = (f"behind {home} ({MAC})",) if fires else ()
        return Example(name=f"in a bridge: {name}", why=why, tables=tables, fires=fires, severity=severity, late=late,
                       says=says, unjudged=bool(late))  # fmt: skip

    yield case("one sends, and is known nowhere", "the other is where its address is known", 1)
    yield case("it sends nothing", "the bridge forgot it", rx=(40, 40))
    yield case("a card has the only other address", "that is no guest's", card=True)
    yield case("VLANs are told apart", "its frames may be of none", vlans=True)
    yield case("a filter of its own", "it may take the frames elsewhere", qdisc="clsact")
    yield case("another queue", "it is the way out", 1, qdisc="fq")
    yield case("a filter of bridges", "it may have thrown them away", family="bridge")
    yield case("a filter of IP", "it comes after the bridge", 1, family="inet")
    for name in ("fdb", "counters", "nft", "bpf", "qdiscs"):
        yield case(f"{name} not read", "it is not known", late=(name,))
