"""What it checks
  Two interfaces on one Ethernet segment have the same hardware address: the far ends behind two ports of a bridge of
  this host, a far end and the bridge itself or one of its ports, or an interface of this host (or a port of its bridge)
  and a neighbour that it sees there. Or two of its own interfaces in one subnet (a warning). Or two guests behind one
  bridge, whose addresses this host does not read: one sends, and the bridge knows nobody behind its port, while another
  port has the hardware address of two neighbours (a warning). Over a fleet: interfaces of two hosts, of which a third
  one sees both addresses behind one hardware address, or of which one sees the other.

Why it matters
  Switches and bridges learn one place for an address: frames for both go to whichever spoke last, so both hosts work
  by turns, and fail by turns. What is for a bridge's own address, or that of one of its ports, the bridge keeps: who
  has it behind a port hears nothing, and the kernel logs "received packet with own address as source address".

Confirm
  ip -br link                                  (on both hosts)
  bridge fdb show br BRIDGE                    (the entry moves between ports)
  ip neigh show dev IFNAME

Fix
  Give one of them another address, in the namespace where it lives: ip link set dev IFNAME address 02:xx:xx:xx:xx:xx.
  The interface loses its neighbours for a moment; a DHCP lease or an address made of the hardware address may change.
  Mend the image or template that carries the address, or the next clone has it again.

Not flagged
  VLANs, macvlans, bonds and bridges that bear the address of what they lie on. The router addresses 00:00:5e:00:01:xx
  and 00:00:5e:00:02:xx (RFC 9568). Interfaces on separate bridges or VLANs, and on a bridge that tells VLANs apart
  where these were not read. ipvlan, whose children share an address by design. Of guests whose addresses are not read:
  bridges and ports that do not learn. Entries of neighbours that have failed or that somebody wrote down. Two ports
  of one bridge are information: the bridge keeps their address once.

References
  net/bridge/br_fdb.c br_fdb_update(); IEEE 802.1Q learning; RFC 9568
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.index.view import HostView
from netdiag.model.bridge import BridgeVlan, Bridging
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import Neighbour
from netdiag.rules.bridgeclones import LEARNED, ROUTERS, Clones, clone_examples, clones
from netdiag.rules.build import HostBuilder
from netdiag.rules.farends import far_set
from netdiag.rules.mactwins import own_twin_examples, told, twins
from netdiag.rules.shape import Example, FleetExample, Rule, quoted

RULE = Rule(
    id="mac-duplicate-on-segment",
    title="two interfaces on one segment have the same hardware address",
    severity="critical",
    reads=("links", "peer_links", "addresses", "neighbours"),
    consults=("bridging", "fdb", "counters", "namespaces"),
    explains=(
        "neigh-*",
        "carrier-flap",
        "ipv6-dad-failed",
        "vm-clone-dup-ip-mac",
        "addr-duplicate-*",
        "bridge-own-mac-flap",
    ),
)
ACROSS = Rule(
    id=RULE.id,
    title=RULE.title,
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "neighbours"),
    explains=(RULE.id, *RULE.explains, "bgp-not-established", "wg-handshake-stale", "fleet-host-cut"),
    scope="fleet",
)
SHARING = frozenset({"ipvlan", "ipvtap", "wireguard", "tun"})


def check(view: HostView) -> Iterator[Draft]:
    yield from (kept := list(_behind_bridges(view)))
    said = {draft.finding.subject["address"] for draft in kept}
    yield from _neighbours(view, said)
    yield from (told(RULE, one) for one in twins(view) if one.two.address not in said)
    if view.read_whole("fdb") and view.read_whole("counters"):
        yield from (_clones(one) for one in clones(view) if one.address not in said)


def _pvids(view: HostView, port: Link) -> frozenset[int] | None:
    """VLANs without a tag of a port; None: not known."""
    rows = [row for row in view.bridging.vlans if row.ifindex == port.ifindex]
    return frozenset(row.vlan for row in rows if row.pvid) if rows else None


def _belongs(view: HostView, owner: Link, vlans: frozenset[int]) -> bool:
    """Whether the bridge, or a port, is in one of the VLANs: it keeps its address there (br_fdb_add_local())."""
    rows = [row for row in view.bridging.vlans if row.ifindex == owner.ifindex]
    return any(row.vlan <= vlan <= row.vlan_end for row in rows for vlan in vlans)


def _behind_bridges(view: HostView) -> Iterator[Draft]:
    for bridge in view.links:
        if bridge.kind != "bridge" or not bridge.up:
            continue
        filtered = bool(bridge.info.get("vlan_filtering"))
        if filtered and view.unknown("bridging"):
            continue  # each may be in a VLAN of its own
        own = {one.address: one for one in (*view.stack.ports(bridge.ifindex), bridge)}
        seen: dict[tuple[str, frozenset[int] | None], tuple[Link, Link]] = {}
        for port in view.stack.ports(bridge.ifindex):
            far = view.stack.veth_peer(port.ifindex)
            if far is None or not port.up or not far.up or not far.address or far.address.startswith(ROUTERS):
                continue
            if far.master is not None:  # the far end is a port itself: its address sends nothing
                continue
            vlans = _pvids(view, port) if filtered else None
            if far.address in own and (not filtered or _belongs(view, own[far.address], vlans or frozenset())):
                yield _kept(view, bridge, own[far.address], port, far)
            other = seen.setdefault((far.address, vlans), (port, far))
            if other[0] is not port:
                yield _bridged(view, bridge, other, (port, far))


def _bridged(view: HostView, bridge: Link, one: tuple[Link, Link], two: tuple[Link, Link]) -> Draft:
    address = str(one[1].address)
    names = one[0].ifname, two[0].ifname
    return RULE.found(
        subject=subject("link", ifname=names[1], address=address),
        message=f"{one[1].ifname} behind port {names[0]} and {two[1].ifname} behind port {names[1]} of {bridge.ifname} "
        f"have the same hardware address {address}: frames for both go to whichever spoke last",
        evidence=(
            (f"far end of {names[0]}", address, f"RTM_GETLINK {one[1].ifname} IFLA_ADDRESS"),
            (f"far end of {names[1]}", address, f"RTM_GETLINK {two[1].ifname} IFLA_ADDRESS"),
        ),
        confirm=(f"bridge fdb show br {quoted(bridge.ifname)}", f"ip -br link show master {quoted(bridge.ifname)}"),
        fix=f"{far_set(view, *two, f'address {FREE}')}  # or any free address",
        touches=(subject("link", ifname=names[0]), subject("link", ifname=names[1])),
        breaks=(
            subject("link", ifname=bridge.ifname),
            subject("link", ifname=names[0]),
            subject("link", ifname=names[1]),
        ),
    )


def _kept(view: HostView, bridge: Link, own: Link, port: Link, far: Link) -> Draft:
    """The bridge takes what is for a machine behind one of its ports (br_fdb_update(), local entries)."""
    address, name = str(far.address), port.ifname
    return RULE.found(
        subject=subject("link", ifname=name, address=address),
        message=f"{far.ifname} behind port {name} of {bridge.ifname} has the hardware address of {own.ifname} itself, "
        f"{address}: {bridge.ifname} keeps what is for it",
        evidence=(
            (f"far end of {name}", address, f"RTM_GETLINK {far.ifname} IFLA_ADDRESS"),
            (f"{own.ifname} address", address, f"RTM_GETLINK {own.ifname} IFLA_ADDRESS"),
        ),
        confirm=(f"bridge fdb show br {quoted(bridge.ifname)}", f"ip -br link show dev {quoted(own.ifname)}"),
        fix=f"{far_set(view, port, far, f'address {FREE}')}  # or any free address",
        touches=(subject("link", ifname=name), subject("link", ifname=bridge.ifname)),
        breaks=(subject("link", ifname=bridge.ifname), subject("link", ifname=name)),
    )


def _neighbours(view: HostView, said: Collection[object]) -> Iterator[Draft]:
    """``said``: hardware addresses of which it was told already where they are twice."""
    own = {row.local for row in view.addresses}
    for row in view.neighbours.rows():
        link = view.link(row.ifindex)
        if link is None or link.kind in SHARING or not row.lladdr or row.lladdr.startswith(ROUTERS):
            continue
        if row.state not in LEARNED or row.dst in own or row.lladdr in said:
            continue
        port = next((one for one in view.stack.ports(row.ifindex) if one.address == row.lladdr), None)
        if row.lladdr != link.address and port is not None and link.kind == "bridge":
            yield _of_port(link, port, row)
        if row.lladdr != link.address:
            continue
        name = link.ifname
        yield RULE.found(
            subject=subject("link", ifname=name, address=row.lladdr),
            confidence="certain" if row.state != "stale" else "likely",
            message=f"{row.dst} on {name} has the hardware address of {name} itself, {row.lladdr}: "
            "frames for both go to whichever spoke last",
            evidence=(
                (f"{name} address", row.lladdr, f"RTM_GETLINK {name} IFLA_ADDRESS"),
                (f"neighbour {row.dst}", f"{row.lladdr} {row.state}", f"RTM_GETNEIGH {name} NDA_LLADDR"),
            ),
            confirm=(f"ip -br link show dev {quoted(name)}", f"ip neigh show to {row.dst} dev {quoted(name)}"),
            fix=f"ip link set dev {quoted(name)} address {FREE}  # any free address",
            touches=(subject("link", ifname=name),),
            breaks=(subject("link", ifname=name), subject("neighbour", dst=row.dst, ifname=name)),
        )


def _of_port(bridge: Link, port: Link, row: Neighbour) -> Draft:
    """A guest with the address of its own tap: what other ports send to it the bridge takes for itself."""
    name, address = port.ifname, str(row.lladdr)
    return RULE.found(
        subject=subject("link", ifname=name, address=address),
        confidence="certain" if row.state != "stale" else "likely",
        message=f"{row.dst} on {bridge.ifname} has the hardware address of its port {name} itself, {address}: "
        f"{bridge.ifname} keeps what other ports send to it",
        evidence=(
            (f"{name} address", address, f"RTM_GETLINK {name} IFLA_ADDRESS"),
            (f"neighbour {row.dst}", f"{address} {row.state}", f"RTM_GETNEIGH {bridge.ifname} NDA_LLADDR"),
        ),
        confirm=(
            f"bridge fdb show br {quoted(bridge.ifname)}",
            f"ip neigh show to {row.dst} dev {quoted(bridge.ifname)}",
        ),
        fix=f"ip link set dev {quoted(name)} address {FREE}  # any free address",
        touches=(subject("link", ifname=name), subject("link", ifname=bridge.ifname)),
        breaks=(
            subject("link", ifname=bridge.ifname),
            subject("link", ifname=name),
            subject("neighbour", dst=row.dst, ifname=bridge.ifname),
        ),
    )


def _clones(found: Clones) -> Draft:
    bridge, silent, home, address, dsts = found
    name, both = silent.ifname, " and ".join(dsts[:2])
    return RULE.found(
        subject=subject("link", ifname=name, address=address),
        severity="warning",
        confidence="likely",
        message=f"the guest behind {name} sends, and {bridge.ifname} knows nobody there; {both} have one hardware "
        f"address, {address}, which it has behind {home.ifname}: frames for both go to whichever spoke last",
        evidence=(
            (f"entries of {bridge.ifname} behind {name}", 0, "RTM_GETNEIGH AF_BRIDGE NDA_LLADDR"),
            (f"entry {address}", f"dev {home.ifname}", "RTM_GETNEIGH AF_BRIDGE NDA_LLADDR"),
            *((f"neighbour {dst}", address, f"RTM_GETNEIGH {bridge.ifname} NDA_LLADDR") for dst in dsts[:2]),
        ),
        confirm=(f"bridge fdb show br {quoted(bridge.ifname)}", f"ip neigh show dev {quoted(bridge.ifname)}"),
        fix=f"# give one of the guests behind {name} and {home.ifname} another hardware address, where they are made",
        touches=(subject("link", ifname=name), subject("link", ifname=home.ifname)),
        breaks=(
            *(subject("link", ifname=one.ifname) for one in (bridge, silent, home)),
            *(subject("neighbour", dst=dst, ifname=bridge.ifname) for dst in dsts[:8]),
        ),
    )


FREE = "02:00:00:00:00:01"
MAC, OTHER = "02:00:00:00:00:aa", "02:00:00:00:00:bb"


def _bridge(first: str = MAC, second: str = MAC, **fields: Any) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge", **fields)
    host.link("v0", kind="veth", master="br0").link("v1", kind="veth", master="br0")
    return host.peer("v0", netnsid=0, address=first).peer("v1", netnsid=1, address=second)


def _host(state: str = "reachable", lladdr: str = MAC, dst: str = "192.0.2.9", **fields: Any) -> HostBuilder:
    host = HostBuilder().link("eth0", address=MAC, **fields).address("eth0", "192.0.2.2/24")
    return host.neighbour(dst, dev="eth0", state=state, lladdr=lladdr)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("link", ifname="v1", address=MAC)
    far = "# in the namespace at the other end of v1 (link-netnsid 1): ip link set dev eth0 address"
    yield _case("two containers on a bridge", "cloned with their address", _bridge(), 1, subject=about, says=(far,))
    named = _bridge().namespace(8, netnsid=1, names=("c1",))
    yield _case("named ones", "the command goes there", named, 1, says=(f"ip -n c1 link set dev eth0 address {FREE}",))
    near = _bridge(MAC, OTHER, address=MAC).neighbour("10.0.0.9", dev="br0", lladdr=MAC)
    yield _case("a container with the bridge's address that was asked for", "one fault", near, 1)
    seen: dict[str, Any] = {"severity": "critical", "confidence": "certain"}
    yield _case("a neighbour with our own address", "seen from one of the two hosts", _host(), 1, **seen)
    both = _host().neighbour("192.0.2.10", dev="eth0", lladdr=MAC)
    yield _case("two of its addresses", "one finding", both, 1)
    nameless = _host().neighbour("192.0.2.10", dev="eth0", lladdr=None).link("eth0", address=None, ifindex=2)
    yield _case("no hardware address", "nothing to compare", nameless)
    gone = HostBuilder().link("eth0", address=MAC).neighbour("192.0.2.9", dev="eth0", lladdr=MAC).build()
    yield Example(name="an interface that has gone", why="nor here", tables=replace(gone, links=gone.links[:1]))
    vrrp = "00:00:5e:00:01:0a"
    virtual = HostBuilder().link("vrrp0", address=vrrp).address("vrrp0", "192.0.2.2/24")
    virtual.neighbour("192.0.2.9", dev="vrrp0", lladdr=vrrp)
    yield _case("a virtual router's", "whoever is master has it", virtual)
    yield from (*clone_examples(), *own_twin_examples())
    yield from _segments()
    yield from _taken_by_the_bridge()
    yield _case("an old one", "it may have been mended there", _host("stale"), 1, confidence="likely")
    six = _host(dst="2001:db8::9")
    yield _case("IPv6", "the same", six, 1)
    yield _case("different addresses", "healthy", _bridge(second=OTHER))
    yield _case("VRRP on both", "the virtual router's", _bridge(vrrp, vrrp))
    apart = HostBuilder().link("br0", kind="bridge").link("br1", kind="bridge")
    apart.link("v0", kind="veth", master="br0").link("v1", kind="veth", master="br1")
    yield _case("two bridges", "two segments", apart.peer("v0", address=MAC).peer("v1", address=MAC))
    down = _bridge()
    down.peer("v1", netnsid=1, address=MAC, flags=0)
    yield _case("one of them is down", "it sends nothing", down)
    trunk = _bridge()
    trunk.peer("v0", address=MAC, master=9)
    yield _case("the far end is a port of another bridge", "its address sends nothing", trunk)
    yield _case("another neighbour", "healthy", _host(lladdr=OTHER))
    yield _case("written down", "somebody's own entry", _host("permanent"))
    yield _case("own address", "the host answers itself", _host(dst="192.0.2.2"))
    yield _case("ipvlan", "children share it by design", _host(kind="ipvlan"))
    yield _case("failed", "nobody answered", _host("failed"))


def _taken_by_the_bridge() -> Iterator[Example]:
    """Far ends with an address that the bridge keeps for itself."""

    def bridged(own: str, port: str = "02:00:00:00:00:01", *, far: str = MAC, **info: Any) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", address=own, info=info)
        host.link("v0", kind="veth", master="br0", address=port)
        return host.peer("v0", netnsid=0, address=far)

    about = subject("link", ifname="v0", address=MAC)
    says = ("has the hardware address of br0 itself",)
    yield _case(
        "a container with the bridge's own", "the bridge keeps its frames", bridged(MAC), 1, subject=about, says=says
    )
    says = ("has the hardware address of v0 itself",)
    yield _case("a container with its port's own", "the same", bridged(OTHER, MAC), 1, subject=about, says=says)
    yield _case("the bridge has its port's", "it takes the lowest of them", bridged(OTHER, OTHER))
    filtered = bridged(MAC, vlan_filtering=1)
    yield _case("a bridge with VLANs", "its own may be in another", filtered)
    for name, own, fires in (("the same VLAN", (1, 1), 1), ("a range with it", (1, 9), 1), ("another VLAN", (7, 7), 0)):
        vlans = (
            BridgeVlan(ifindex=2, vlan=own[0], vlan_end=own[1]),
            BridgeVlan(ifindex=3, vlan=1, vlan_end=1, pvid=True, untagged=True),
        )
        tables = replace(bridged(MAC, vlan_filtering=1).build(), bridging=Bridging(vlans=vlans))
        yield Example(name=f"a bridge in {name}", why="it keeps its own in its VLANs", tables=tables, fires=fires)

    def guest(lladdr: str = MAC, dst: str = "192.0.2.9", state: str = "reachable", kind: str = "bridge") -> HostBuilder:
        host = HostBuilder().link("br0", kind=kind, address=OTHER).address("br0", "192.0.2.1/24")
        return host.tap("tap0", master="br0", address=MAC).neighbour(dst, dev="br0", state=state, lladdr=lladdr)

    tapped: dict[str, Any] = {"subject": subject("link", ifname="tap0", address=MAC), "severity": "critical"}
    says = ("192.0.2.9 on br0 has the hardware address of its port tap0 itself",)
    yield _case("a guest with the address of its tap", "others cannot reach it", guest(), 1, **tapped, says=says)
    yield _case(
        "a guest with that address long ago", "it may have been mended", guest(state="stale"), 1, confidence="likely"
    )
    yield _case("a guest with an address of its own", "healthy", guest("02:00:00:00:00:cc"))
    yield _case("own address on the bridge", "the host answers itself", guest(dst="192.0.2.1"))
    yield _case("a guest that did not answer", "nobody has it", guest(state="failed"))
    yield _case("a member of a VRF", "it passes nothing on", guest(kind="vrf"))
    bare = bridged(MAC).link("br0", kind="bridge", address=None, ifindex=2).link("v0", kind="veth", master="br0",
        address=None, ifindex=3)  # fmt: skip
    yield _case("addresses not told", "nothing to compare", bare)


def _segments() -> Iterator[Example]:
    """What is one segment, and who sends into it."""
    vrf = _bridge().link("br0", kind="vrf", ifindex=2)
    yield _case("ports of a VRF", "each has a segment of its own", vrf)
    yield _case("the bridge is down", "it passes nothing on", _bridge(up=False))
    alone = _bridge().link("v2", kind="veth", master="br0")
    yield _case("a port whose far end is not known", "the others are", alone, 1)
    half = _bridge().link("v1", kind="veth", master="br0", up=False, ifindex=4, link_netnsid=1, link=2)
    yield _case("a port is down", "nothing comes from there", half)
    bare = HostBuilder().link("br0", kind="bridge")
    bare.link("v0", kind="veth", master="br0").link("v1", kind="veth", master="br0")
    yield _case("far ends without an address", "raw IP", bare.peer("v0", address=None).peer("v1", address=None))
    for name, why, filtering, rows, fires in (
        ("different VLANs", "two segments", 1, ((3, 1, True), (4, 2, True)), 0),
        ("one VLAN, and others with a tag", "the same segment", 1, ((3, 1, True), (3, 7, False), (4, 1, True)), 1),
        ("different VLANs, others in both", "two segments", 1,
         ((2, 1, True), (3, 1, True), (4, 2, True), (5, 2, True)), 0),
        ("different VLANs, not filtered", "the bridge does not look", 0, ((3, 1, True), (4, 2, True)), 1),
        ("no VLAN told", "as far as is known one", 1, (), 1),
    ):  # fmt: skip
        vlans = tuple(BridgeVlan(ifindex=i, vlan=v, vlan_end=v, pvid=pvid, untagged=pvid) for i, v, pvid in rows)
        tables = replace(_bridge(info={"vlan_filtering": filtering}).build(), bridging=Bridging(vlans=vlans))
        yield Example(name=name, why=why, tables=tables, fires=fires)
        if filtering:
            unread: dict[str, Any] = {"late": ("fdb",), "unjudged": True}
            yield Example(name=f"{name}, not read", why="each may have its own", tables=tables, **unread)


def check_across(view: FleetView) -> Iterator[Draft]:
    owners: dict[str, dict[str, tuple[FleetHost, Link, set[str]]]] = defaultdict(dict)
    seen: dict[str, dict[tuple[str, int], set[str]]] = defaultdict(lambda: defaultdict(set))
    for host in view.reading(*ACROSS.reads):
        local: dict[int, set[str]] = defaultdict(set)
        for row in host.tables.addresses:
            local[row.ifindex].add(row.local)
        for link in host.tables.links:
            plain = link.up and not link.loopback and not link.noarp and link.kind not in SHARING
            if plain and link.address and not link.address.startswith(ROUTERS) and local[link.ifindex]:
                owners[link.address][host.name] = host, link, local[link.ifindex]
        for near in host.tables.neighbours.rows():
            if near.lladdr and near.state in LEARNED and not near.proxy:
                seen[near.lladdr][host.name, near.ifindex].add(near.dst)
    for lladdr, hosts in sorted(owners.items()):
        for (observer, _), addresses in seen[lladdr].items() if len(hosts) > 1 else ():
            met = {name: addresses & own for name, (_, _, own) in hosts.items() if name != observer and addresses & own}
            if len(met) >= 2 or (met and observer in hosts):
                told = {*met, observer} & set(hosts)
                yield _across(lladdr, [hosts[name] for name in sorted(told)], met)
                break


def _across(lladdr: str, rows: list[tuple[FleetHost, Link, set[str]]], met: dict[str, set[str]]) -> Draft:
    names = [host.name for host, _, _ in rows]
    addresses = sorted({address for found in met.values() for address in found})
    last, link = rows[-1][0].name, rows[-1][1].ifname
    return ACROSS.found(
        subject=across(names, subject("link", address=lladdr)),
        message=f"{' and '.join(f'{link.ifname} of {host.name}' for host, link, _ in rows[:3])} have the same hardware "
        f"address {lladdr} in one segment: frames for both go to whichever spoke last",
        evidence=[
            *((f"{row.ifname} of {host.name}", lladdr, "RTM_GETLINK IFLA_ADDRESS") for host, row, _ in rows[:3]),
            ("neighbours seen behind it", ", ".join(addresses[:4]), "RTM_GETNEIGH NDA_LLADDR"),
        ],
        confirm=["ip -br link", f"ip neigh show | grep {lladdr}"],
        fix=f"ip link set dev {quoted(link)} address {FREE}  # on {last}, or any free address",
        breaks=[
            thing
            for host, row, _ in rows
            for thing in (
                on(host.name, subject("link", ifname=row.ifname)),
                on(host.name, subject("link", ifname=row.ifname, address=lladdr)),
                subject("host", name=host.name),
            )
        ],
    )


def examples_across() -> Iterator[FleetExample]:
    def host(number: int, lladdr: str, *sees: tuple[int, str]) -> HostBuilder:
        made = HostBuilder().link("eth0", address=lladdr).address("eth0", f"192.0.2.{number}/24")
        for other, at in sees:
            made.neighbour(f"192.0.2.{other}", dev="eth0", lladdr=at)
        return made

    def case(name: str, why: str, fires: int, *hosts: HostBuilder) -> FleetExample:
        return FleetExample(
            name=name, why=why, hosts={f"fra-a{n}": x.build() for n, x in enumerate(hosts, 1)}, fires=fires
        )

    third = host(3, "02:00:00:00:00:cc", (1, MAC), (2, MAC))
    yield case("seen by a third", "two addresses behind one", 1, host(1, MAC), host(2, MAC), third)
    yield case("seen by one of them", "its neighbour has its own address", 1, host(1, MAC), host(2, MAC, (1, MAC)))
    yield case("two segments", "nobody sees both", 0, host(1, MAC), host(2, MAC), host(3, OTHER, (1, MAC)))
    apart = host(3, "02:00:00:00:00:cc", (1, MAC)), host(4, "02:00:00:00:00:dd", (2, MAC))
    yield case("cloned in two places", "each is alone in its segment", 0, host(1, MAC), host(2, MAC), *apart)
    yield case("of their own", "as it must be", 0, host(1, MAC), host(2, OTHER), third)
    vrrp = "00:00:5e:00:01:0a"
    sees = host(3, "02:00:00:00:00:cc", (1, vrrp), (2, vrrp))
    yield case("VRRP", "the virtual router's", 0, host(1, vrrp), host(2, vrrp), sees)
