"""What it checks
  BIRD has learnt routes by BGP into a table, and none of that table reaches the kernel: its Kernel protocol exports
  nothing (the default of BIRD 2 is "export none"), or only routes of other protocols (its filter refuses those of BGP),
  or there is none or it is switched off, while the kernel has no default route to use instead; or, as a warning, on a
  host that forwards and to whose kernel BIRD gives what it learns of the other family, or whose default route leaves
  by another interface than the one behind which an external neighbour told its routes, or whose kernel was given such
  routes at the time of the baseline, or since BIRD runs, before its export became "none". Or a Kernel protocol exports
  nothing of a table of BIRD's that is full and not its main one, while a policy rule leads to an empty kernel table.

Why it matters
  Sessions stand, "birdc show route" is full, and the kernel does not know one of these routes: packets are refused
  with "Network is unreachable", or follow the default route to where nobody may know the way.

Confirm
  birdc show protocols all KERNEL      (Output filter, Routes: ... exported)
  ip route show table all proto bird

Fix
  "export all;" (or a filter) in the channel of the kernel protocol, then birdc configure. BIRD's routes are installed
  at once, with metric 32: hand-made routes of metric 0 still win.

Not flagged
  Route reflectors, collectors and looking glasses, which install nothing on purpose, and hosts that only announce: as
  long as the kernel has a default route of that family, by the interface by which the routes were told, and nothing of
  the other family is given to it either, or does not forward and has internal sessions only, or every session has
  "export none" and there is no second network that it could forward for, it is told as info, unless the Kernel protocol
  has a filter (and was not switched off from the start); so are internal sessions with route reflection, a default
  route a session (the kernel has one) while the other family is given, and a neighbour by whose interface a policy
  rule leads what leaves from a service address. Tables of which some Kernel protocol takes routes, or of its own only.

References
  BIRD user's guide, protocol kernel; proto_setup channel defaults in nest/proto.c
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from netdiag.index.packet import Query
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.bird import BirdChannel, BirdDaemon, BirdProtocol, BirdRoute
from netdiag.model.distinct import among
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.bgpsiblings import NOTHING
from netdiag.rules.build_bird import STARTED, BirdHost, channel
from netdiag.rules.kernelcases import of_one_run, of_two_families, ways_told
from netdiag.rules.kernelmeant import beyond_default, chosen, earlier
from netdiag.rules.routewords import rule_subject, rule_words
from netdiag.rules.shape import Example, Rule
from netdiag.rules.starvedtables import Starved, starved, starved_cases
from netdiag.rules.waysout import default_oifs, way_for_all

RULE = Rule(
    id="bgp-kernel-export-none",
    title="what BIRD learns by BGP does not reach the kernel",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses", "routes", "rules", "nexthops", "sysctls"),
    consults=("bird_routes", "baseline"),
    explains=(
        "rule-references-empty-table",
        "route-default-missing",
        "bird-route-not-in-fib",
        "bgp-import-zero",
        "wg-endpoint-unroutable",
        "dns-*",
    ),
)
FORWARDING = {"inet": "net.ipv4.ip_forward", "inet6": "net.ipv6.conf.all.forwarding"}


def family_of(one: BirdChannel, daemon: BirdDaemon) -> str | None:
    """The family of a channel; BIRD 1.6 has a daemon for each."""
    if one.name in ("ipv4", "ipv6"):
        return "inet" if one.name == "ipv4" else "inet6"
    return None if one.name != "main" else "inet6" if "6" in daemon.socket else "inet"


def learnt(daemon: BirdDaemon) -> dict[tuple[str, str], list[tuple[BirdProtocol, int]]]:
    """By table and family, the sessions that brought routes, and how many."""
    found: dict[tuple[str, str], list[tuple[BirdProtocol, int]]] = {}
    for row in daemon.protocols:
        for one in row.channels if row.proto == "BGP" and row.state == "up" else ():
            family = family_of(one, daemon)
            if family and (one.preferred if one.preferred is not None else one.imported or 0):
                found.setdefault((one.table or "master", family), []).append((row, one.imported or 0))
    return found


def taken(daemon: BirdDaemon, table: str) -> bool | None:
    """Whether anything takes routes from the table towards the kernel; None: no Kernel protocol is there. A pipe does
    not stand in for the table's own Kernel protocol that is switched off."""
    own = [
        row.state == "up"
        for row in daemon.protocols
        if row.proto == "Kernel" and any((one.table or "master") == table for one in row.channels)
    ]
    if own and not any(own):
        return None
    kernels = [
        one
        for row in daemon.protocols
        if row.proto in ("Kernel", "Pipe") and row.state == "up"
        for one in row.channels
        if table in (one.table or "master", one.peer_table)
    ]
    if not kernels:
        return None
    return any(
        one.exported or one.peer_table or (one.exported is None and one.output_filter != "REJECT") for one in kernels
    )


def kernel_of(daemon: BirdDaemon, table: str) -> BirdProtocol | None:
    """The Kernel protocol of the table, one that is up first, else any, else None."""
    found = sorted((row for row in daemon.protocols if row.proto == "Kernel"), key=lambda row: row.state != "up")
    own = (row for row in found if any((one.table or "master") == table for one in row.channels))
    return next(own, found[0] if found else None)


def others_only(view: HostView, daemon: BirdDaemon, table: str) -> bool:
    """Whether the Kernel protocols of the table take routes, all of them known, and none of them of BGP."""
    rows = [row for row in daemon.protocols if row.state == "up"]
    feeds = {row.name for row in rows for one in row.channels if table in (one.table or "master", one.peer_table)
             and row.proto in ("Kernel", "Pipe")}  # fmt: skip
    told = {row.name for row in rows if row.proto == "BGP"}
    lists = [one for each in view.bird_routes if each.socket == daemon.socket for one in each.exports]
    known = {one.protocol: one.routes for one in lists if one.protocol in feeds and one.routes is not None}
    return known.keys() == feeds and not any(route.protocol in told for routes in known.values() for route in routes)


def _listens(view: HostView, daemon: BirdDaemon, family: str) -> bool:
    """Whether the host only collects routes: it tells nobody any, by name, and has one network at most."""
    sessions = [row for row in daemon.protocols if row.proto == "BGP" and row.state == "up"]
    told = [one for row in sessions for one in row.channels if family_of(one, daemon) == family]
    networks = [link for link in view.links if _network(view, link)]
    return all(one.output_filter == NOTHING and not one.exported for one in told) and len(networks) < 2


def _network(view: HostView, link: Link) -> bool:
    """Whether it is a network of its own: no port of another interface, no VRF, not only there for those over it."""
    master = view.stack.master(link.ifindex)
    if not link.lower_up or link.loopback or link.kind == "vrf" or (master is not None and master.kind != "vrf"):
        return False
    used = any(led_by(view.routes(family), link.ifindex).any() for family in ("inet", "inet6"))
    return used or not view.stack.uppers(link.ifindex)


def _astray(
    view: HostView, family: str, sources: list[tuple[BirdProtocol, int]], used: set[int]
) -> tuple[str, str] | None:
    """An interface behind which an external neighbour told its routes, and by which no default route (they leave by
    ``used``) leaves; and one by which it does."""
    for row, _ in sources:
        if row.local_as == row.neighbor_as or row.neighbor_address is None:
            continue
        of = "inet6" if ":" in row.neighbor_address else "inet"
        way = view.lookup(Query(family=of, dst=row.neighbor_address, oif=row.neighbor_ifname))
        oifs = {hop.oif for hop in way.hops}
        if oifs and not used & oifs and not _served_by(view, family, oifs):
            return view.ifname(way.hops[0].oif), view.ifname(min(used))
    return None


def _served_by(view: HostView, family: str, oifs: set[int]) -> bool:
    """Whether what leaves from a service address (on lo or a dummy) has a default route by one of these interfaces."""
    routes = view.routes(family)
    out = (routes.dst_len == 0) & (routes.type == RTN_UNICAST) & among(routes.oif, list(oifs))
    by_source = [rule for rule in view.rules if rule.family == family and rule.src_len]
    led = [rule for rule in by_source if out[routes.table == (rule.table or 0)].any()]
    nets = [ip_network(f"{rule.src}/{rule.src_len}", strict=False) for rule in led]
    served = [row for row in view.addresses if (at := view.link(row.ifindex)) and (at.loopback or at.kind == "dummy")]
    return any(ip_address(row.local) in net for row in served for net in nets)


def _said(kernel: BirdProtocol, policy: str | None) -> str:
    return f"export {policy or 'none'}" if kernel.state == "up" else f"state {kernel.state}"


def given(view: HostView) -> set[str]:
    """Families of which some routes that BGP brought go to the kernel."""
    return {
        family
        for daemon in view.bird.daemons
        for table, family in learnt(daemon)
        if taken(daemon, table) and not others_only(view, daemon, table)
    }


def given_before(view: HostView, daemon: BirdDaemon, table: str) -> bool:
    """Whether routes of this table that BGP brought went to the kernel at the time of the baseline."""
    old = view.baseline
    if old is None or not old.read_whole("bird") or old.meta.drained or view.meta.drained:
        return False
    then = next((one for one in old.bird.daemons if one.socket == daemon.socket), None)
    brought = then is not None and any(name == table for name, _ in learnt(then))
    return then is not None and brought and bool(taken(then, table)) and not others_only(old, then, table)


def check(view: HostView) -> Iterator[Draft]:
    installs = given(view)
    for daemon in view.bird.daemons:
        names = {one.name: of for row in daemon.protocols for one in row.channels if (of := family_of(one, daemon))}
        hungry = list(starved(view, daemon, names))
        yield from (_starving(view, daemon, one) for one in hungry)
        told = {(one.table, one.family) for one in hungry}
        for (table, family), sources in learnt(daemon).items():
            if (table, family) in told or (taken(daemon, table) and not others_only(view, daemon, table)):
                continue
            routes = view.routes(family)
            leaving = default_oifs(view, family, of_all=True) if way_for_all(view, family) else None
            default = bool(leaving)
            external = any(row.local_as != row.neighbor_as for row, _ in sources)
            forwards = view.sysctl_int(FORWARDING[family]) == 1
            reflects = not external and any("route-reflector" in (row.session or "") for row, _ in sources)
            kernel = kernel_of(daemon, table)
            listens = not chosen(kernel, daemon) and _listens(view, daemon, family)
            meant = reflects or listens or not (external or forwards)
            count = sum(number for _, number in sources)
            bad, lone = not meant and not default, listens and not default and kernel and len(sources) == 1
            other = not meant and forwards and installs - {family}
            uneven = bool(other) and beyond_default(view, daemon, table, sources)
            astray = _astray(view, family, sources, leaving) if leaving and not meant and forwards else None
            was = earlier(kernel, then=given_before(view, daemon, table))
            filtered = kernel.channels[0].output_filter if kernel is not None and kernel.channels else None
            yield RULE.found(
                subject=subject("bird-protocol", name=kernel.name if kernel else table, socket=daemon.socket),
                message=f"BIRD learnt {count} routes into {table} and gives none of them to the kernel ("
                + (f"{kernel.name}: {_said(kernel, filtered)}" if kernel else "no kernel protocol")
                + f"); the kernel has {'a' if default else 'no'} default route of that family"
                + was
                + (f", by {astray[1]}: what was told behind {astray[0]} goes there" if astray else ""),
                severity=None if bad else "warning" if uneven or astray or was else "info",
                confidence=None if bad or uneven or astray or was else "likely" if lone else "possible",
                evidence=[
                    ("routes learnt by BGP", count, f"birdc show protocols all {sources[0][0].name}"),
                    ("output filter of the kernel protocol", filtered or "no protocol", "birdc show protocols all"),
                    (
                        "routes of proto bird in the kernel",
                        int((routes.protocol == 12).sum()),
                        "RTM_GETROUTE rtm_protocol",
                    ),
                ],
                confirm=[
                    birdc(
                        daemon.socket, f"show protocols all {bird_name(kernel.name)}" if kernel else "show protocols"
                    ),
                    f"ip -{'4' if family == 'inet' else '6'} route show table all | grep -c 'proto bird'",
                ],
                fix=birdc(daemon.socket, f"enable {bird_name(kernel.name)}")
                if kernel is not None and kernel.state != "up"
                else f"'export all;' in the {'ipv4' if family == 'inet' else 'ipv6'} channel of its kernel protocol: "
                + birdc(daemon.socket, "configure"),
                breaks=[subject("route", dst="0.0.0.0/0" if family == "inet" else "::/0", table=254)],
            )


def _starving(view: HostView, daemon: BirdDaemon, one: Starved) -> Draft:
    """A policy rule's table that BIRD leaves empty."""
    rule, name, ip = one.rules[0], one.kernel.name, "ip -4" if one.family == "inet" else "ip -6"
    policy = one.channel.output_filter
    said = "none" if policy in ("REJECT", None) else policy
    return RULE.found(
        subject=subject("bird-protocol", name=name, socket=daemon.socket),
        message=f"BIRD has {one.routes} routes in {one.table} and gives none of them to the kernel ({name}: export "
        f"{said}); rule {rule.priority} ({rule_words(rule)}) leads to table {rule.table}, which is empty",
        evidence=[
            (f"routes in {one.table}", one.routes, "birdc show protocols all"),
            (f"output filter of {name}", policy or "none", f"birdc show protocols all {name}"),
            (f"routes in table {rule.table}", 0, "RTM_GETROUTE RTA_TABLE"),
        ],
        confirm=[
            birdc(daemon.socket, f"show protocols all {bird_name(name)}"),
            f"{ip} route show table {rule.table}",
        ],
        fix=f"'export all;' in the channel of {name}: " + birdc(daemon.socket, "configure"),
        breaks=[rule_subject(row, view.rules) for row in one.rules],
    )


def _case(name: str, why: str, *, export: int | None = 0, default: bool = False, **more: Any) -> Example:
    imported, neighbour = more.pop("imported", 5), more.pop("neighbor_as", 65002)
    forward, table = more.pop("forward", 0), more.pop("table", "master4")
    given: dict[str, Any] = {"imported": imported, "preferred": more.pop("preferred", imported)}
    told, text = more.pop("told", {}), more.pop("session", "external AS4")
    called, learns = more.pop("channel", "ipv4"), more.pop("learns", "master4")
    session = channel(**(given | {"name": called, "table": learns} | told))
    host: Any = BirdHost().daemon(more.pop("socket", "/run/bird/bird.ctl"))
    host.protocol(
        "up1", more.pop("proto", "BGP"), state=more.pop("state", "up"), channels=(session,), local_as=65001,
        neighbor_as=neighbour, session=text,
    )  # fmt: skip
    if export is not None:
        out = {"exported": export, "output_filter": "REJECT" if not export else "ACCEPT", "table": table}
        kernel = channel(**(out | {"name": called} | more.pop("kernel", {})))
        host.protocol("k4", more.pop("taker", "Kernel"), state=more.pop("kernel_state", "up"), channels=(kernel,),
                      since=more.pop("kernel_since", None))  # fmt: skip
    host.link("eth0").address("eth0", "192.0.2.2/24").sysctl("net.ipv4.ip_forward", forward)
    for ifname, fields in more.pop("below", {}).items():
        host.link(ifname, **fields)
    for ifname, address in more.pop("own_of", {}).items():
        host.address(ifname, address)
    for ifname in more.pop("links", ()):
        host.link(ifname, carrier=ifname != "dark")
    beside = more.pop("beside", "t9")
    for proto, state, carried in more.pop("besides", ()):
        told = channel(name=carried, table=beside, exported=5, imported=0)
        host.protocol("other", proto, state=state, channels=(told,), local_as=65001, neighbor_as=65009)
    if "other" in more:
        host.daemon(more.pop("other"))
    for protocol, brought in more.pop("lists", {}).items():
        routes = tuple(BirdRoute(net="198.51.100.0/24", protocol=by) for by in brought or ())
        host.exports(protocol, routes=None if brought is None else routes)
    if default:
        host.route("default", via="192.0.2.1", dev="eth0", table=more.pop("own", 254))
    for fields in more.pop("rules", ()):
        host.rule(100, **fields)
    return Example(name=name, why=why, tables=host.build(), **more)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical"}
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    yield from (*starved_cases(), *of_one_run())
    but: dict[str, Any] = {"default": True, "own": 51820, "rules": ({"table": 51820, "fwmark": 51820, "invert": True},)}
    yield _case("a default route for all but a tunnel's own packets", "wg-quick", **but, **info)
    yield _case("export none", "the default of BIRD 2", subject=subject("bird-protocol", name="k4"), **crit)
    yield _case("no kernel protocol", "forgotten", export=None, **crit)
    yield _case("another table's", "its kernel protocol feeds from an empty one", table="other4", **crit)
    yield _case("another table's, which is full", "of other routes", table="other4", export=9, **crit)
    yield _case("kernel protocol switched off", "what it counts is old", export=5, kernel_state="down", **crit)
    yield _case("a filter that takes none", "it is no 'none', and gives nothing",
                kernel={"output_filter": "(unnamed)"}, **crit)  # fmt: skip
    yield _case("counts not told, none", "the filter tells", kernel={"exported": None}, **crit)
    yield _case("counts not told, some", "the filter tells", kernel={"exported": None, "output_filter": "ACCEPT"})
    pipe = {"peer_table": "master4", "exported": None}
    yield _case("a pipe takes them", "to another table", learns="t_up", table="t_up", taker="Pipe", kernel=pipe)
    down: dict[str, Any] = {"kernel": pipe, "besides": (("Kernel", "down", "ipv4"),)}
    why = "that one is down, and no matter"
    yield _case("a pipe beside another table's kernel protocol", why, learns="t_up", table="t_up", taker="Pipe", **down)
    old: dict[str, Any] = {"channel": "main", "learns": None, "table": None}
    yield _case("BIRD 1.6 for IPv4", "it has a default route", default=True, **old, **info)
    six = "/run/bird6.ctl"
    yield _case("BIRD 1.6 for IPv6", "the default route is of IPv4", default=True, socket=six, **old, **crit)
    yield _case("preferred not told", "what is imported counts", preferred=None, **crit)
    yield _case("none is preferred", "another source is better", preferred=0)
    yield _case("imported not told either", "nothing is known", imported=None)
    yield _case("flows", "they are no routes", channel="flow4")
    yield _case("by OSPF", "another protocol's matter", proto="OSPF")
    yield _case("session down", "what it counts is old", state="start")
    yield _case("exports", "the ordinary case", export=5)
    yield _case("with a default route", "it only announces, or is a looking glass", default=True, **info)
    was = _case("", "", export=5, default=True).tables
    warn: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely"}
    yield _case("it was given some", "the filter has changed", default=True, baseline=was, **warn)
    yield _case("it was given some, drained", "out of service", default=True, baseline=was,
                labels={"drained": "true"}, **info)  # fmt: skip
    never = _case("", "", default=True).tables
    yield _case("it was given none then either", "it only announces", default=True, baseline=never, **info)
    yield _case("route reflector", "internal sessions, and it does not forward", neighbor_as=65001, **info)
    mute = {"output_filter": "REJECT", "exported": 0}
    yield _case("collector", "it tells nobody, on one network", told=mute, forward=1, confidence="likely", **info)
    taker = {"output_filter": "ours"}
    off: dict[str, Any] = {"told": mute, "kernel_state": "down", "kernel_since": "11:59:00.000"}
    yield _case("it listens, and its filter refuses all", "it was to take some", told=mute, kernel=taker, **crit)
    yield _case("it listens, and that was switched off", "while it ran", kernel=taker, **off, **crit)
    yield _case("collector, switched off as it takes none", "nothing was to go there", **off, **info)
    for since in (STARTED, None):
        began = off | {"kernel_since": since}
        yield _case(f"collector, switched off at {since}", "from the start", kernel=taker, **began, **info)
    yield _case("collector with a dark card", "no network", told=mute, links=("dark",), **info)
    stack = {"bond0": {"kind": "bond"}, "eth8": {"master": "bond0"}, "bond0.7": {"kind": "vlan", "link": "bond0"}}
    yield _case("it listens, and has a bond with a VLAN", "a second network", told=mute, below=stack, **crit)
    legs = {"eth8": {"master": "eth0"}, "eth9": {"master": "eth0"}}
    yield _case("collector with a bridge", "its ports are no networks", told=mute, below=legs, **info)
    port: dict[str, Any] = {"own_of": {"eth9": "198.51.100.2/24"}, "below": legs}
    yield _case("collector with a bridge, a port of which has an address", "the bridge takes all", told=mute, **port,
                **info)  # fmt: skip
    red: dict[str, Any] = {"red": {"kind": "vrf", "info": {"table": 10}}}
    yield _case("collector with a VRF", "that is no network", told=mute, below=red, **info)
    far: dict[str, Any] = {"own_of": {"eth9": "198.51.100.2/24"}, "below": red | {"eth9": {"master": "red"}}}
    yield _case("it listens, and a VRF has a network", "a second one", told=mute, **far, **crit)
    over = {"mv0": {"kind": "macvlan", "link": "eth0"}}
    yield _case("it listens by a card and by a macvlan", "two networks", told=mute, below=over, **crit)
    for other, wanted in (
        (("BGP", "up", "ipv4"), crit),
        (("BGP", "up", "ipv6"), info),
        (("BGP", "start", "ipv4"), info),
        (("OSPF", "up", "ipv4"), info),
    ):
        yield _case(f"collector beside {other}", "who is told routes", told=mute, besides=(other,), **wanted)
    yield _case("it listens, between two networks", "a router", told=mute, links=("eth1",), **crit)
    yield _case("its filter refuses all", "that is no 'none'", told=mute | {"output_filter": "ours"}, **crit)
    yield _case("it tells one route", "it is more than a collector", told=mute | {"exported": 1}, **crit)
    reflects: dict[str, Any] = {"session": "internal route-reflector AS4", "forward": 1}
    yield _case("route reflector that forwards", "of others' packets", neighbor_as=65001, **reflects, **info)
    yield _case("reflection to a neighbour outside", "no reflector", **reflects, **crit)
    yield _case("internal, and forwards", "a router without routes", neighbor_as=65001, forward=1, **crit)
    yield _case("nothing learnt", "bgp-import-zero, if anything", imported=0)
    some: dict[str, Any] = {"export": 2, "kernel": {"output_filter": "(unnamed)"}}
    statics = {"k4": ("static1", "direct1")}
    says: dict[str, Any] = {
        "says": ("5 routes into master4 and gives none of them to the kernel (k4: export (unnamed))",)
    }
    yield _case("a filter that refuses BGP", "static routes pass it", **some, lists=statics, **says, **crit)
    one = {"src": "203.0.113.0", "src_len": 24, "table": 100}
    yield _case("a default route by source", "it is not for every packet", default=True, own=100, rules=(one,), **crit)
    six_ = {"table": 100, "family": "inet6"}
    yield _case("one in a table for all of IPv6", "IPv4 is not led there", default=True, own=100, rules=(six_,), **crit)
    yield _case("one in a table for all", "every packet has it", default=True, own=100, rules=({"table": 100},), **info)
    marked = {"table": 100, "fwmark": 5}
    yield _case("one by mark, and all of IPv6 is led there", "only what is marked has it", default=True, own=100,
                rules=(marked, six_), **crit)  # fmt: skip
    yield _case("a default route whose rule suppresses it", "no packet takes it", default=True, own=100,
                rules=({"table": 100, "suppress_prefixlength": 0},), **crit)  # fmt: skip
    yield _case("it forwards, and has a default route", "whose neighbour's address birdc does not tell", default=True,
                forward=1, **info)  # fmt: skip
    yield _case("the same, with a default route", "as meant", **some, lists=statics, default=True, **info)
    yield from of_two_families()
    yield from ways_told()
    for name, proto, state, table, lists in (
        ("and another, which is down", "Kernel", "down", "master4", statics),
        ("and another table's", "Kernel", "up", "t9", statics),
        ("a static protocol is there", "Static", "up", "t9", {"k4": ("other",)}),
        ("and a session's list", "BGP", "up", "t9", statics | {"up1": ("static1",)}),
    ):
        beside: dict[str, Any] = {"besides": ((proto, state, "ipv4"),), "beside": table, "lists": lists}
        yield _case(f"a filter that refuses BGP, {name}", "the list tells", **some, **beside, **crit)
    yield _case("its filter takes some of BGP", "the others are refused on purpose", **some,
                lists={"k4": ("static1", "up1")})  # fmt: skip
    yield _case("its list is too long", "nobody knows", **some, lists={"k4": None})
    yield _case("another protocol's list", "nobody knows", **some, lists={"up1": ("static1",)})
    yield _case("another daemon's list", "nobody knows", **some, lists=statics, other=six)
    yield _case("the list of a kernel protocol of another table", "it takes what BGP brings not", **some,
                table="other4", lists=statics, **crit)  # fmt: skip
    yield _case("a pipe's list", "the other table may give them", learns="t_up", table="t_up", taker="Pipe",
                kernel=pipe, lists={"k4": None})  # fmt: skip
    others = (("Static", "up", "ipv4"), ("Kernel", "up", "ipv4"))
    lists = {"k4": ("other",), "up1": ("static1",)}
    yield _case("beside a kernel protocol of another table", "that one's list is not asked", **some, lists=lists,
                besides=others, **crit)  # fmt: skip
    piped: dict[str, Any] = {"besides": [("Pipe", "up", "ipv4")], "beside": "master4"}
    yield _case(
        "switched off beside a pipe", "its table's routes are in none of its own", kernel_state="down", **piped, **crit
    )
    yield _case("exporting beside a pipe", "the ordinary case", export=5, **piped)
