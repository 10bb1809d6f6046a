"""What it checks
  An entry of a vxlan device that somebody wrote sends a hardware address to a tunnel end behind which it is not: the
  address is on this side of the tunnel, the tunnel end is this host itself, it cannot be reached (no route, or it
  does not answer), or it is none of the tunnel ends that the device floods to. Over a fleet: one host has the address
  on its side of that network, and the tunnel end is another host.

Why it matters
  A written entry is never corrected by what arrives. When a machine moves to another node, or a node comes back with
  another address, everything for that hardware address is sent to the old tunnel end and vanishes there; broadcasts
  still arrive, so ARP works and nothing else does.

Confirm
  bridge fdb show dev VXLAN
  ip route get TUNNEL-END
  ip neigh show to TUNNEL-END

Fix
  bridge fdb replace MAC dev VXLAN dst RIGHT-END self, or delete the entry and let it be learned: bridge fdb delete MAC
  dev VXLAN dst OLD-END self. It touches that one address. A controller that writes entries must be mended too.

Not flagged
  Entries that a routing daemon keeps (extern_learn) or that the device learned. A tunnel end that is missing from the
  flood list is an info where several entries share it (an anycast end of two switches, or a node that several machines
  left together), where a routing daemon keeps the entry, and where the list is the device's remote alone, which may
  flood for all. Devices that flood nowhere, or to a multicast group, have no such list. Multicast. Entries for another
  VNI, which this host may have too.

References
  drivers/net/vxlan/vxlan_core.c vxlan_fdb_update(), vxlan_xmit(); Documentation/networking/vxlan.rst;
  https://github.com/projectcalico/calico/issues/7281
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.index.links import LinkStack
from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.model.bridge import FdbEntry
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.model.snapshot import Tables
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.shape import Example, FleetExample, Rule, quoted
from netdiag.rules.silentneighbours import failing, of_many

RULE = Rule(
    id="fdb-stale-vtep",
    title="a vxlan entry sends a hardware address to the wrong tunnel end",
    severity="critical",
    reads=("links", "peer_links", "routes", "rules", "sysctls", "neighbours", "fdb"),
    explains=("neigh-*", "bgp-*"),
)
ACROSS = Rule(
    id=RULE.id,
    title=RULE.title,
    severity="critical",
    confidence="likely",
    reads=("links", "peer_links", "addresses", "fdb"),
    explains=(RULE.id, *RULE.explains),
    scope="fleet",
)
EVERYBODY = "00:00:00:00:00:00"
SURE: dict[Severity, Confidence] = {"critical": "certain", "warning": "likely", "info": "possible"}


def check(view: HostView) -> Iterator[Draft]:
    devices = [link for link in view.links if link.kind == "vxlan" and link.up]
    if not devices:
        return
    entries = list(view.fdb.rows())
    for link in devices:
        mine = [row for row in entries if row.ifindex == link.ifindex and row.dst is not None]
        default = {str(link.info[key]) for key in ("remote", "remote6", "group", "group6") if link.info.get(key)}
        floods = {row.dst for row in mine if row.lladdr == EVERYBODY} | default
        if any(ip_address(str(end)).is_multicast for end in floods):
            floods = set()  # whoever is in the group
        local = _this_side(view, link, entries)
        ends = [row for row in mine if row.lladdr != EVERYBODY and not of_many(row.lladdr)]
        of_ends = floods != default or any(row.dst in floods for row in ends)
        for row in ends:
            if row.state not in ("permanent", "static"):
                continue
            kept = "extern_learn" in row.flags
            shared = sum(other.dst == row.dst for other in mine) > 1
            found = _unlisted(row, floods, sure=of_ends and not shared and not kept)
            if not kept:
                found = _wrong(view, row, local) or found
            if found is not None:
                yield _finding(link, row, *found)


def _this_side(view: HostView, link: Link, entries: list[FdbEntry]) -> dict[str, str]:
    """Hardware addresses that are on this side of the tunnel, and where."""
    if link.master is None:
        return {}
    found = {}
    for port in view.stack.ports(link.master):
        far = view.stack.veth_peer(port.ifindex)
        if far is not None and far.up and far.address and far.master is None:
            found[far.address] = port.ifname
    for row in entries:
        if row.master == link.master and row.ifindex != link.ifindex and row.state != "permanent":
            found[row.lladdr] = view.ifname(row.ifindex)
    return found


def _unlisted(row: FdbEntry, floods: set[str | None], *, sure: bool) -> tuple[str, Severity, str] | None:
    """Whether the tunnel end is none of those that the device floods to. Not ``sure``: several share it, a daemon keeps
    the entry, or all that the device floods to is its remote, which may flood for all and have nobody behind it."""
    if not floods or row.dst in floods or row.vni is not None:
        return None
    how_bad: Severity = "warning" if sure else "info"
    return f"{row.dst} is none of the tunnel ends that it floods to", how_bad, "RTM_GETNEIGH AF_BRIDGE"


def _wrong(view: HostView, row: FdbEntry, local: dict[str, str]) -> tuple[str, Severity, str] | None:
    """What is wrong with an entry, how bad, and where it was read."""
    end, family = str(row.dst), "inet6" if ":" in str(row.dst) else "inet"
    if row.lladdr in local:
        return f"it is on this side, behind {local[row.lladdr]}", "critical", "RTM_GETNEIGH AF_BRIDGE, RTM_GETLINK"
    looked = view.lookup(Query(family=family, dst=end))
    if looked.type == "local":
        return ("that is this host itself", "critical", "RTM_GETROUTE") if row.vni is None else None
    if looked.errno:
        return f"there is no route to {end}", "critical", "RTM_GETROUTE"
    silent = failing(view)
    if any((hop.gateway or end) == end and (hop.oif, end) in silent for hop in looked.hops):
        return f"{end} does not answer", "critical", "RTM_GETNEIGH NDA_DST"
    return None


def _finding(link: Link, row: FdbEntry, why: str, severity: Severity, source: str) -> Draft:
    name = link.ifname
    return RULE.found(
        subject=subject("neighbour", lladdr=row.lladdr, ifname=name),
        severity=severity,
        confidence=SURE[severity],
        message=f"{name} sends {row.lladdr} to the tunnel end {row.dst}, but {why}: what is for it "
        + ("may be lost, unless that end is another one's as well" if severity == "info" else "is lost"),
        evidence=(
            (f"entry {row.lladdr}", f"dst {row.dst} {row.state}", f"RTM_GETNEIGH AF_BRIDGE {name} NDA_DST"),
            ("against it", why, source),
        ),
        confirm=(f"bridge fdb show dev {quoted(name)}", f"ip route get {row.dst}"),
        fix=f"bridge fdb delete {row.lladdr} dev {quoted(name)} dst {row.dst} self  # or replace it by the right end",
        touches=(subject("link", ifname=name),),
        breaks=(subject("link", ifname=name),),
    )


MAC, OTHER = "02:00:00:00:00:aa", "02:00:00:00:00:bb"


def _node(*, gone: bool = False) -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").link("br0", kind="bridge")
    host.link("vx0", kind="vxlan", master="br0", info={"id": 7}).link("v0", kind="veth", master="br0")
    return host.neighbour("192.0.2.9", dev="eth0", state="failed") if gone else host


def _tables(host: HostBuilder, *rows: FdbEntry) -> Tables:
    return replace(host.build(), fdb=fdb(list(rows)))


def _case(name: str, why: str, tables: Tables, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=tables, fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    host = _node()
    about = subject("neighbour", lladdr=MAC, ifname="vx0")
    flood, right = entry(host, EVERYBODY, "192.0.2.2"), entry(host, OTHER, "192.0.2.2")
    here = entry(host, MAC, None, dev="v0", state=2, flags=0)
    stale = entry(host, MAC, "192.0.2.9")
    tables = _tables(host, flood, stale, here)
    certain: dict[str, object] = {"subject": about, "severity": "critical", "confidence": "certain"}
    yield _case("it moved here", "the bridge learned it on another port", tables, 1, **certain)
    peer = _node().peer("v0", address=MAC)
    yield _case("behind a veth", "its far end has that address", _tables(peer, stale), 1, severity="critical")
    away = entry(host, MAC, "198.51.100.9")
    yield _case("no route to the end", "the node is gone", _tables(host, away), 1, severity="critical")
    for name, asked, fires in (("a while", {"updated": 1.0}, 1), ("a moment", {"updated": 0.9}, 0)):
        calling = _node().neighbour("192.0.2.9", dev="eth0", state="incomplete", confirmed=60.5, **asked)
        yield _case(f"asked for {name} ago", "the first question takes a second", _tables(calling, stale), fires)
    aside = _node().link("eth1").neighbour("192.0.2.9", dev="eth1", state="failed")
    yield _case("not there on another interface", "the tunnel asks elsewhere", _tables(aside, stale))
    silent = _tables(_node(gone=True), stale)
    yield _case("the end does not answer", "its neighbour entry failed", silent, 1, severity="critical")
    yield _case(
        "not in the flood list", "the only entry for it", _tables(host, flood, right, stale), 1, severity="warning",
        confidence="likely",
    )  # fmt: skip
    yield _case("right", "the healthy node", _tables(host, flood, right))
    pair = _tables(host, flood, stale, entry(host, OTHER, "192.0.2.9"))
    yield _case("anycast end", "several addresses are behind it", pair, 2, severity="info", confidence="possible")
    own = _tables(host, entry(host, MAC, "192.0.2.1"))
    yield _case("this host itself", "it has the old node's address by now", own, 1, **certain)
    routed = entry(host, MAC, "192.0.2.1", vni=8)
    yield _case("this host itself, another VNI", "it hands over to a device of its own", _tables(host, routed))
    evpn = _tables(host, flood, entry(host, MAC, "192.0.2.9", flags=0x12))
    perhaps: dict[str, object] = {"severity": "info", "confidence": "possible"}
    yield _case("kept by a daemon, not in the flood list", "it may correct it", evpn, 1, **perhaps)
    away = entry(_node(), MAC, "198.51.100.9", flags=0x12)
    yield _case("kept by a daemon, no route", "EVPN corrects it", _tables(_node(), away))
    for name, key, fires in (
        ("a multicast group", "group", 0),
        ("its remote, a node that floods for all", "remote", 1),
    ):
        end = "239.1.1.1" if key == "group" else "192.0.2.7"
        hub = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
        hub.link("vx0", kind="vxlan", info={"id": 7, key: end})
        rows = entry(hub, EVERYBODY, end), entry(hub, MAC, "192.0.2.9")
        seen = perhaps if fires else {}
        yield _case(f"floods to {name}", "who is behind it is not known", _tables(hub, *rows), fires, **seen)
        ends = (*rows, entry(hub, OTHER, end if fires else "192.0.2.2"))
        weight: dict[str, object] = {"severity": "warning"} if fires else {}
        yield _case(f"floods to {name}, with an address", "it is an end", _tables(hub, *ends), fires, **weight)
    yield _case("learned", "what arrives corrects it", _tables(host, flood, entry(host, MAC, "192.0.2.9", state=2)))
    yield _case("floods nowhere", "nothing to compare with", _tables(host, stale))
    yield from _elsewhere_examples()
    remote = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
    remote.link("vx0", kind="vxlan", info={"id": 7, "remote": "192.0.2.9"})
    yield _case("its remote", "all that is not known goes there", _tables(remote, entry(remote, MAC, "192.0.2.9")))
    odd = "fe:00:00:00:00:aa"
    yield _case(
        "an address of another maker", "any that is no group", _tables(host, entry(host, odd, "198.51.100.9")), 1
    )
    group = entry(host, "01:00:5e:00:00:aa", "198.51.100.9")
    yield _case("a multicast group", "it is for all of them", _tables(host, group))
    gone = _tables(host, entry(host, EVERYBODY, "198.51.100.9"))
    yield _case("floods to a node that is gone", "no address is lost by that", gone)
    down = HostBuilder().link("eth0").link("vx0", kind="vxlan", up=False)
    yield _case("down", "nothing is sent", _tables(down, entry(down, MAC, "198.51.100.9")))
    two = _node().link("vx1", kind="vxlan")
    other = entry(two, MAC, "192.0.2.9", dev="vx1")
    lists = _tables(two, entry(two, EVERYBODY, "192.0.2.2"), entry(two, OTHER, "192.0.2.2"), other)
    yield _case("a second device, which floods nowhere", "each has its own list", lists)
    near = _node().neighbour("192.0.2.9", dev="eth0")
    yield _case("the end answers", "all is well", _tables(near, entry(near, MAC, "192.0.2.9")))
    stray = _node().route("198.51.100.0/24", via="192.0.2.254", dev="eth0")
    stray.neighbour("198.51.100.9", dev="eth0", state="failed")
    yield _case(
        "the end is behind a gateway",
        "who asked for it on the link was wrong",
        _tables(stray, entry(stray, MAC, "198.51.100.9")),
    )


def _elsewhere_examples() -> Iterator[Example]:
    """What the bridge knows and what does not show that the address is on this side."""
    host = _node().link("br1", kind="bridge").link("v1", kind="veth", master="br1")
    stale = entry(host, MAC, "192.0.2.9")
    for name, row in (
        ("learned on another bridge", entry(host, MAC, None, dev="v1", state=2, flags=0, bridge="br1")),
        ("learned over the tunnel", entry(host, MAC, None, dev="vx0", state=2, flags=0)),
        ("the address of a port", entry(host, MAC, None, dev="v0", flags=0)),
        ("the address of the device", entry(host, MAC, None)),
    ):
        yield _case(name, "it is not behind this side's ports", _tables(host, stale, row))
    for name, fields in (("down", {"flags": 0}), ("in a bridge there", {"master": 9})):
        far = _node().peer("v0", address=MAC, **fields)
        yield _case(f"far end of a veth, {name}", "nobody has it there", _tables(far, entry(far, MAC, "192.0.2.9")))


def _held(host: FleetHost) -> Iterator[tuple[int, str]]:
    """VNI and hardware address of everything that is on a host's side of its tunnels."""
    tables = host.tables
    stack = LinkStack(tables.links, tables.peer_links)
    entries = [row for row in tables.fdb.rows() if row.state != "permanent" and row.dst is None]
    for link in tables.links:
        vni = link.info.get("id") if link.kind == "vxlan" else None
        if not isinstance(vni, int):
            continue
        top = stack.by_index.get(link.master or 0)
        if (top or link).address:
            yield vni, str((top or link).address)
        ports = [port for port in stack.ports(link.master) if port.ifindex != link.ifindex] if link.master else []
        for port in ports:
            far = stack.veth_peer(port.ifindex)
            if far is not None and far.up and far.address and far.master is None:
                yield vni, far.address
            yield from ((vni, row.lladdr) for row in entries if row.ifindex == port.ifindex)


def check_across(view: FleetView) -> Iterator[Draft]:
    holders: dict[tuple[int, str], set[str]] = defaultdict(set)
    addresses: dict[str, set[str]] = {}
    hosts = [host for host in view.reading(*ACROSS.reads) if any(x.kind == "vxlan" for x in host.tables.links)]
    for host in hosts:
        addresses[host.name] = {row.local for row in host.tables.addresses if row.scope == 0}
        for vni, lladdr in _held(host):
            holders[vni, lladdr].add(host.name)
    wrong: dict[tuple[int, str, str], list[tuple[FleetHost, Link, FdbEntry]]] = defaultdict(list)
    for host in hosts:
        vxlans = (x for x in host.tables.links if x.kind == "vxlan" and x.up)
        devices = {x.ifindex: x for x in vxlans if isinstance(x.info.get("id"), int)}
        for row in host.tables.fdb.rows():
            link = devices.get(row.ifindex)
            written = row.state in ("permanent", "static") and "extern_learn" not in row.flags
            if link is None or row.dst is None or not written or row.lladdr == EVERYBODY:
                continue
            having = holders.get((int(link.info["id"]), row.lladdr), set())
            owner = next(iter(having)) if len(having) == 1 else host.name
            ends = {name for name, own in addresses.items() if row.dst in own}
            if owner != host.name and len(ends) == 1 and owner not in ends:
                wrong[int(link.info["id"]), row.lladdr, owner].append((host, link, row))
    for (_, lladdr, owner), rows in sorted(wrong.items()):
        yield _elsewhere(lladdr, owner, rows)


def _elsewhere(lladdr: str, owner: str, rows: list[tuple[FleetHost, Link, FdbEntry]]) -> Draft:
    host, link, row = rows[0]
    names = sorted({one.name for one, _, _ in rows})
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return ACROSS.found(
        subject=across((owner, *names), subject("neighbour", lladdr=lladdr, ifname=link.ifname)),
        message=f"{lladdr} is on {owner}, but {who} {'sends' if len(names) == 1 else 'send'} it to the tunnel end "
        f"{row.dst}, another host: what is for it is lost",
        evidence=[
            (f"{lladdr} on {owner}", "behind its own ports", "RTM_GETLINK, RTM_GETNEIGH AF_BRIDGE"),
            (f"entry on {host.name}", f"dst {row.dst} {row.state}", f"RTM_GETNEIGH AF_BRIDGE {link.ifname} NDA_DST"),
        ],
        confirm=[f"bridge fdb show dev {quoted(link.ifname)} | grep {lladdr}"],
        fix=f"bridge fdb replace {lladdr} dev {quoted(link.ifname)} dst ADDRESS-OF-{quoted(owner)} self  # on {who}",
        breaks=[on(one.name, subject("neighbour", lladdr=lladdr, ifname=x.ifname)) for one, x, _ in rows],
    )


def examples_across() -> Iterator[FleetExample]:
    def node(number: int, *, guest: bool = False, sends: int | None = None, state: int = 0x80) -> Tables:
        host = HostBuilder().link("eth0").address("eth0", f"192.0.2.{number}/24")
        host.link("br0", kind="bridge", address=f"02:00:00:00:01:0{number}")
        host.link("vx0", kind="vxlan", master="br0", info={"id": 7}).link("v0", kind="veth", master="br0")
        if guest:
            host.peer("v0", address=MAC)
        rows = [entry(host, MAC, f"192.0.2.{sends}", state=state)] if sends else []
        return _tables(host, *rows)

    def case(name: str, why: str, fires: int, *nodes: Tables) -> FleetExample:
        return FleetExample(name=name, why=why, hosts={f"fra-n{n}": x for n, x in enumerate(nodes, 1)}, fires=fires)

    stale = node(1, sends=2)
    yield case("moved to the third", "the first still sends it to the second", 1, stale, node(2), node(3, guest=True))
    yield case("to its host", "as it must be", 0, node(1, sends=3), node(2), node(3, guest=True))
    yield case("nobody has it", "it is stopped", 0, stale, node(2), node(3))
    yield case("two have it", "an anycast address", 0, stale, node(2, guest=True), node(3, guest=True))
    yield case("learned", "what arrives corrects it", 0, node(1, sends=2, state=2), node(2), node(3, guest=True))
    both = stale, node(2), node(3, guest=True), node(4, sends=2)
    yield case("two send it there", "one cause is one finding", 1, *both)
