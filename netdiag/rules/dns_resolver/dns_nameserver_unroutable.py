"""What it checks
  What the routing of this host does with a question to each nameserver of /etc/resolv.conf, or, where that is a
  resolver of this host, to each that it asks in turn (systemd-resolved, dnsmasq, unbound, by their files): a route or
  rule that refuses or swallows it (blackhole, unreachable, prohibit), a way over an interface that is down or has no
  carrier, or to a neighbour that does not answer ARP or neighbour solicitation, or into a WireGuard device of which no
  peer has it among its allowed addresses. Also a link-local address that names no interface, which the kernel does not
  send to, and a host with a default route of the other family alone.

Why it matters
  A blackholed nameserver costs five seconds and a retry for every lookup, before the next one is asked. Logins hang,
  health checks run out of time, and nothing is said anywhere.

Confirm
  ip route get NAMESERVER
  ip neigh show NAMESERVER

Fix
  Take the refusing route or rule away, or name another nameserver. A more specific route to it takes effect at once.

Not flagged
  A nameserver for which there simply is no route, on a host that has no way out: it was inherited from elsewhere; and
  one beside another that there is a route to: it fails at once. Where there is no route to any though the host has a
  default route of the other family, it is a warning if it has addresses of the nameservers' family, unless one of them
  is private, the host is drained or a BGP session is switched off; else it is only told. The servers that dnsmasq asks
  are a warning at most: it may read others from a file of its own. A nameserver behind a gateway that does not answer:
  neigh-gateway-failed. A second nameserver that cannot be reached behind one that can, and one behind an interface that
  is down, which other rules name: only told. A default route that refuses: that host is meant to be cut off. As more
  than a note: null routes, and ways into a mesh, for whole networks (10.0.0.0/8), which no nameserver was meant by,
  questions alone that a rule refuses, and a neighbour that was asked more than a minute ago. Loopback addresses. A host
  that does not ask the DNS.

References
  resolv.conf(5) timeout, attempts; ip-route(8) blackhole; net/ipv4/route.c ip_route_output_key_hash_rcu();
  net/ipv6/datagram.c __ip6_datagram_connect(); net/core/neighbour.c neigh_timer_handler()
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, NamedTuple

from netdiag.index.packet import Lookup, Query
from netdiag.index.shadow import REFUSALS
from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, Severity, Subject, subject
from netdiag.model.link import IFF_LOWER_UP, Link
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.givenroutes import private
from netdiag.rules.nameservers import BROAD, asked, asks_dns, beyond
from netdiag.rules.neighbours.neigh_gateway_failed import RECENT
from netdiag.rules.routewords import delete_rule, ip_command
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.silentneighbours import failing
from netdiag.rules.stubcases import stub_examples
from netdiag.rules.waysout import LINK_LOCAL, default_oifs, way_for_all
from netdiag.rules.wireguardways import peer_for

RULE = Rule(
    id="dns-nameserver-unroutable",
    title="a nameserver cannot be reached",
    severity="critical",
    reads=("resolver", "links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    consults=("wireguard", "bird", "sockets"),
)


class Trouble(NamedTuple):
    """Why a nameserver cannot be asked."""

    reason: str
    fix: str
    touches: tuple[Subject, ...] = ()
    note: str | None = None
    """Why it is no more than a note, as the consequence: the nameserver is hardly what was meant, or others say it."""


INHERITED = "it may have been inherited from a network where it can"
OR_ANOTHER = "  # or name another nameserver"
NO_ROUTE = "name a nameserver that this host has a route to, or add the route that it lacks"


def _question(address: str) -> Query:
    """The packet that asks a nameserver."""
    host, _, zone = address.partition("%")
    family = "inet6" if ":" in address else "inet"
    return Query(family=family, dst=host, oif=zone or None, ip_proto=17, dport=53)


def trouble(view: HostView, address: str) -> Trouble | None:
    """What the kernel does with a question to this nameserver; None: it is sent, or there is no route."""
    family = "inet6" if ":" in address else "inet"
    host, _, zone = address.partition("%")
    if not zone and family == "inet6" and ip_address(host) in LINK_LOCAL[family]:
        return Trouble("it is link-local and names no interface", fix=f"write nameserver {host}%IFNAME")
    answer = view.lookup(_question(address))
    if answer.type in REFUSALS:
        length = answer.prefixlen or 0
        if not length and view.lookup(Query(family=family, dst=host, oif=zone or None)).type in REFUSALS:
            return None
        return _refusing(view, family, answer, INHERITED if length < BROAD[family] else None)
    if answer.rule is not None and answer.rule.action in REFUSALS:
        reason = f"policy rule {answer.rule.priority} ({answer.rule.action})"
        note = INHERITED if answer.rule.dst_len < BROAD[family] else None
        return Trouble(reason, delete_rule(answer.rule) + OR_ANOTHER, note=note)
    links = [link for hop in answer.hops if (link := view.link(hop.oif)) is not None]
    if links and not any(link.flags & IFF_LOWER_UP for link in links):
        name = links[0].ifname
        return Trouble(
            f"its way is over {name}, which is down",
            touches=(subject("link", ifname=name),),
            note="names wait for the interface",
            fix=f"ip link set dev {quoted(name)} up  # or name another nameserver",
        )
    return _no_peer(view, host, answer, links) or _silent(view, host, answer)


def _refusing(view: HostView, family: str, answer: Lookup, note: str | None) -> Trouble:
    """A route that refuses."""
    row = None if answer.route is None else view.routes(family).row(answer.route)
    dst, metric = (row.dst, f" metric {row.priority}" if row.priority else "") if row is not None else ("", "")
    fix = f"{ip_command(family)} route del {answer.type} {dst} table {answer.table}{metric}{OR_ANOTHER}"
    reason = f"the {answer.type} route {dst} in table {answer.table}"
    return Trouble(reason, fix, (subject("route", dst=dst, table=answer.table),), note=note)


def _no_peer(view: HostView, address: str, answer: Lookup, links: list[Link]) -> Trouble | None:
    """A way into a WireGuard device of which no peer has the nameserver among its allowed addresses; a note where the
    way is one for whole networks (10.0.0.0/8), of which a mesh has a part."""
    devices = {device.ifname: device for device in view.wireguard.devices}
    if not links or any(link.ifname not in devices or peer_for(devices[link.ifname], address) for link in links):
        return None
    name = links[0].ifname
    return Trouble(
        f"its way is into {name}, where no peer has it among its allowed addresses",
        touches=(subject("link", ifname=name), subject("wireguard-interface", ifname=name)),
        note=INHERITED if (answer.prefixlen or 0) < BROAD["inet6" if ":" in address else "inet"] else None,
        fix=f"wg set {quoted(name)} peer KEY allowed-ips +{address}  # of the peer behind which it is, or name another",
    )


def _silent(view: HostView, address: str, answer: Lookup) -> Trouble | None:
    """A nameserver on a segment of this host that does not answer; one asked long ago may be back."""
    silent = failing(view)
    row = next((silent.get((hop.oif, address)) for hop in answer.hops if hop.gateway is None), None)
    if row is None:
        return None
    ifname = view.ifname(row.ifindex)
    return Trouble(
        f"nobody answers {'neighbour solicitation' if ':' in address else 'ARP'} for it on {ifname} ({row.state})",
        touches=(subject("neighbour", dst=address, ifname=ifname),),
        note="it may be back by now" if row.updated is None or row.updated > RECENT else None,
        fix=f"look at {address}: is it up, on the segment of {ifname}? Or name another nameserver",
    )


def _nowhere(view: HostView, servers: tuple[str, ...]) -> bool:
    """Whether there is no route to any of them, on a host with a default route."""
    answers = [view.lookup(_question(address)).error for address in servers]
    return set(answers) == {"ENETUNREACH"} and any(
        way_for_all(view, family) and default_oifs(view, family) for family in BROAD
    )


def _drained(view: HostView) -> bool:
    """Whether the host is out of service, or BGP sessions are off, which may have brought its default route."""
    return view.meta.drained or any(session.switched_off for session in sessions(view))


def _lost(view: HostView, servers: tuple[str, ...]) -> bool:
    """Whether this host has addresses of the family of each, and none is a private one, of a network that this host may
    never have been in: it has that family, and lost the way."""
    if any(private(address.partition("%")[0]) for address in servers):
        return False
    loops = {link.ifindex for link in view.links if link.loopback}
    own = {row.family for row in view.addresses if row.scope == 0 and row.ifindex not in loops}
    return {"inet6" if ":" in address else "inet" for address in servers} <= own


def check(view: HostView) -> Iterator[Draft]:
    behind = beyond(view) if view.read_whole("sockets") else None
    if behind is None and not asks_dns(view, looks=True):
        return
    servers = tuple(dict.fromkeys(row.address for row in behind[1])) if behind is not None else asked(view)
    said = {row.address: row.source for row in behind[1]} if behind is not None else {}
    who, file = (f", whom {behind[0]} asks," if behind is not None else ""), "/etc/resolv.conf"
    cut = {address: found for address in servers if (found := trouble(view, address)) is not None}
    alone = not cut and _nowhere(view, servers)
    if alone:
        default = subject("route", dst="::/0" if ":" in servers[0] else "0.0.0.0/0", table=254)
        reason, note = "there is no route to it", "nor to any other nameserver"
        cut = {servers[0]: Trouble(reason, NO_ROUTE, (default,), note=note)}
    for address, found in cut.items():
        severity: Severity = "info"
        if found.note:
            consequence = found.note
            if alone and _lost(view, servers) and not _drained(view):
                severity, consequence = "warning", f"{found.note}: no name can be looked up"
        elif len(cut) == len(servers):
            severity, consequence = "critical", "no name can be looked up"
            if behind is not None and behind[0] == "dnsmasq":  # it may read others from a file of its own (resolv-file)
                severity, consequence = "warning", "it has no other one in its server= lines"
        elif address == servers[0] and behind is None:
            severity, consequence = "warning", "every lookup waits for it first"
        else:
            consequence = "it is of no help when the first fails"
        version = "-6 " if ":" in address else ""
        bare = quoted(address.partition("%")[0])
        yield RULE.found(
            subject=subject("prefix", prefix=address),
            severity=severity,
            confidence="likely" if alone and severity == "warning" else None,
            message=f"questions to nameserver {address}{who} do not leave this host: {found.reason}; {consequence}",
            evidence=[
                ("nameservers", " ".join(servers), said.get(address, file)),
                ("what becomes of a question", found.reason, f"RTM_GETROUTE dst {address}, RTM_GETNEIGH"),
            ],
            confirm=[
                f"ip {version}route get {bare}",
                *(f"ip neigh show {bare}" for thing in found.touches if thing["kind"] == "neighbour"),
                f"grep -n {quoted(address)} {quoted(said[address])}" if said else f"grep nameserver {file}",
            ],
            fix=found.fix,
            touches=found.touches,
        )


def _host(*servers: str, **fields: object) -> HostBuilder:
    return (
        HostBuilder()
        .link("eth0")
        .address("eth0", "192.0.2.1/24")
        .address("eth0", "2001:db8::1/64")
        .route("default", via="192.0.2.254", dev="eth0")
        .resolver(*servers, **fields)
    )


def examples() -> Iterator[Example]:
    far, other = "198.51.100.53", "203.0.113.53"

    def refusing(host: HostBuilder, dst: str = f"{far}/32", kind: str = "blackhole") -> HostBuilder:
        return host.route(dst, type=kind, dev="lo" if ":" in dst else None)

    def fires(
        name: str,
        why: str,
        host: HostBuilder,
        severity: Severity = "critical",
        count: int = 1,
        *says: str,
        confidence: Confidence = "certain",
    ) -> Example:
        expected: dict[str, Any] = {"severity": severity, "confidence": confidence, "says": says}
        return Example(name=name, why=why, tables=host.build(), fires=count, **expected)

    words = f"the blackhole route {far}/32 in table 254; no name can be looked up"
    yield fires("blackholed", "the plain fault", refusing(_host(far)), "critical", 1, words)
    shut = _host(far).rule(100, ip_proto=17, dport_start=53, dport_end=53, action="prohibit")
    yield fires("questions alone are refused", "whoever is asked", shut, "info")
    half = _host(far).rule(100, dst="198.51.0.0", dst_len=16, action="prohibit")
    yield fires("a rule of sixteen bits", "that is no hygiene", half)
    yield fires("an aggregate of fifteen bits", "that may be", refusing(_host(far), "198.50.0.0/15"), "info")
    for bits, severity in ((32, "critical"), (31, "info")):
        six = refusing(_host("2001:db8:53::1"), "2001:db8::/32" if bits == 32 else "2001:db8::/31")
        six.without_routes(table=255, family="inet6")
        yield fires(f"an IPv6 aggregate of {bits} bits", "the same", six, severity)  # type: ignore[arg-type]
    yield fires("an aggregate swallows it", "a covering prefix", refusing(_host(far), "198.51.100.0/24"))
    yield fires("unreachable", "refused, not swallowed", refusing(_host(far), kind="unreachable"))
    yield fires("prohibited", "the same by another name", refusing(_host(far), kind="prohibit"))
    yield fires("IPv6", "another family", refusing(_host("2001:db8:53::1"), "2001:db8:53::1/128"))
    yield fires("the first of two", "each lookup waits", refusing(_host(far, other)), "warning")
    yield fires("the second of two", "degraded", refusing(_host(other, far)), "info")
    both = refusing(refusing(_host(far, other)), f"{other}/32")
    yield fires("both", "none is left", both, count=2)
    yield fires(
        "a rule refuses", "before any route is asked", _host(far).rule(100, dst=far, dst_len=32, action="prohibit")
    )
    down = HostBuilder().link("eth0").link("eth1", carrier=False).address("eth1", "198.51.100.1/24").resolver(far)
    yield fires("over an interface without carrier", "the interface is named by other rules", down, "info")
    wide = refusing(_host(far), "198.0.0.0/8")
    yield fires("a null route for a whole network", "the nameserver may be inherited", wide, "info")
    yield fires("an aggregate of sixteen bits", "that is no hygiene", refusing(_host(far), "198.51.0.0/16"))
    ruled = _host(far).rule(100, dst="198.0.0.0", dst_len=8, action="prohibit")
    yield fires("a rule for a whole network", "the same by a rule", ruled, "info")
    local = ("fe80::53",)
    yield fires(
        "link-local without an interface", "connect() fails with EINVAL", _host(*local), "critical", 1, "%IFNAME"
    )
    alone = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
    table = alone.route("default", type="blackhole", table=99).resolver(far)
    table.rule(100, ip_proto=17, dport_start=53, dport_end=53, table=99)
    table.route("default", via="192.0.2.254", dev="eth0")
    yield fires("a rule sends questions alone to a default that refuses", "whoever is asked", table, "info")
    yield from stub_examples(fires)
    lost = ("there is no route to it", "nor to any other nameserver: no name can be looked up")
    likely: dict[str, Any] = {"confidence": "likely"}
    six = _host("2001:db8:53::1")
    yield fires("no route, but a way out", "IPv6 has lost its own", six, "warning", 1, *lost, **likely)
    off = fires("no route, but a way out, drained", "its default route may be taken away", six, "info")
    yield replace(off, labels={"drained": "true"})
    bare = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "fe80::1/64")
    bare.route("default", via="192.0.2.254", dev="eth0").resolver("2001:db8:53::1")
    yield fires("no route, and a link-local address alone", "every interface has one", bare, "info")
    edge = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64").address("lo", "192.0.2.1/32")
    edge.route("default", via="192.0.2.254", dev="eth0", onlink=True).resolver("2001:db8:53::1")
    why = "IPv6 has lost its own"
    yield fires("no route, IPv4 is on lo", why, edge, "warning", 1, *lost, **likely)
    for invert in (False, True):
        some = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        some.route("default", via="192.0.2.254", dev="eth0", table=99).rule(100, table=99, fwmark=1, invert=invert)
        why = "there is a way out" if invert else "a way for some packets is none"
        tables = some.resolver("2001:db8:53::1").build()
        yield Example(name=f"a default for one mark, but for it {invert}", why=why, tables=tables, fires=int(invert))
    four = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").route("default", via="192.0.2.254", dev="eth0")
    four.address("lo", "2001:db8::7/128").resolver("2001:db8:53::1")
    yield fires("no route, and no address of that family", "inherited", four, "info")
    yield fires("no route to a private one", "of another network", _host("fd00:53::1"), "info")
    for name, session, severity in (
        ("switched off", {"state": "down", "bgp_state": None}, "info"),
        ("there", {}, "warning"),
    ):
        edge = BirdHost().bgp("up1", **session)
        edge.link("eth0").address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")
        edge.route("default", via="192.0.2.254", dev="eth0").resolver("2001:db8:53::1")
        sure: dict[str, Any] = {"severity": severity, "confidence": "certain" if severity == "info" else "likely"}
        yield fires(f"no route, a BGP session is {name}", "it may have brought it", edge, **sure)
    mixed = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64").route("default", via="fe80::1", dev="eth0")
    mixed.resolver("198.51.100.53")
    yield fires("IPv6 alone, and only IPv4 is asked", "inherited", mixed, "info")

    def tunnel(*allowed: str, to: str = "10.66.0.0/16") -> WireguardBuilder:
        host = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", allowed_ips=allowed)
        host.link("eth0").address("eth0", "192.0.2.1/24").address("wg0", "10.64.0.1/24")
        host.route("default", via="192.0.2.254", dev="eth0").route(to, dev="wg0").resolver("10.66.9.53")
        return host

    words = "its way is into wg0, where no peer has it among its allowed addresses; no name can be looked up"
    yield fires("nobody in the tunnel has it", "a hole in an aggregate", tunnel("10.66.8.0/24"), "critical", 1, words)
    wide = tunnel("10.66.8.0/24", to="10.64.0.0/14")
    yield fires("nobody in the tunnel has it, by a route for whole networks", "inherited", wide, "info")

    def segment(state: str = "failed", server: str = "192.0.2.53", **fields: float) -> HostBuilder:
        return _host(server).neighbour(server, dev="eth0", state=state, **fields)

    yield fires("nobody answers ARP for it", "it is on the segment, and down", segment(), "critical", 1, "ARP", "eth0")
    six = segment(server="2001:db8::53")
    yield fires("nobody answers for the IPv6 one", "the same", six, "critical", 1, "neighbour solicitation")
    yield fires("asked a minute ago", "just in time", segment(updated=60.0))
    yield fires("asked earlier", "it may be back", segment(updated=60.5), "info")
    unknown = _host("192.0.2.53").neighbour("192.0.2.53", dev="eth0", state="failed", updated=None)
    yield fires("asked nobody knows when", "it may be back", unknown, "info")
    for name, why, host in (
        ("it answers", "as it should be", segment("stale")),
        (
            "behind a gateway all the same",
            "it is not asked on the segment",
            segment().route("192.0.2.53/32", via="192.0.2.254", dev="eth0"),
        ),
        ("link-local of IPv4", "a cloud's, which is routed", _host("169.254.169.253")),
        ("nobody named", "nobody to reach", _host()),
        (
            "behind a gateway that is silent",
            "the gateway is named",
            _host(far).neighbour("192.0.2.254", dev="eth0", state="failed"),
        ),
        (
            "another neighbour is silent",
            "not this one",
            _host("192.0.2.53").neighbour("192.0.2.54", dev="eth0", state="failed"),
        ),
        (
            "no route, and none by default",
            "inherited by a router",
            HostBuilder()
            .link("eth0")
            .address("eth0", "192.0.2.1/24")
            .route("10.0.0.0/8", via="192.0.2.2", dev="eth0")
            .resolver(far),
        ),
        ("reached by the default route", "as it should be", _host(far)),
        ("on the link", "as it should be", _host("192.0.2.53")),
        (
            "no route, and the default of IPv4 is left out by its rule",
            "no way out",
            _host("2001:db8:53::1").without_rule(32766).rule(100, table=254, suppress_prefixlength=0),
        ),
        ("a peer in the tunnel has it", "as it should be", tunnel("10.66.8.0/23")),
        ("no way out at all", "inherited from elsewhere", HostBuilder().link("eth0").resolver(far)),
        ("a family without routes", "fails at once, and the next is asked", _host("2001:db8:53::1", other)),
        (
            "cut off on purpose",
            "a default route that refuses",
            HostBuilder().route("default", type="unreachable").resolver(far),
        ),
        ("the stub", "no packet leaves the host", refusing(_host("127.0.0.53"))),
        ("on a link that is gone", "nobody is asked there", _host("fe80::53%eth9")),
        ("by a link that went meanwhile", "whether it was up is not known", _host(far).vanished("eth0")),
        ("hosts only", "nobody asks", refusing(_host(far, hosts=("files",)))),
        ("another prefix is swallowed", "not this one", refusing(_host(far), f"{other}/32")),
    ):
        yield Example(name=name, why=why, tables=host.build())
