"""What it checks
  An address that this host is meant to have is not there: [[address]] of the intent names it; or BIRD announces a
  host route (/32, /128) that it makes itself, or learned from the kernel over lo, and no packet to that address would
  be taken in or passed on; or the baseline had it: an address with its subnet on any interface, a host address on lo or
  a dummy.

Why it matters
  A service address on lo is made by a script or a unit, and gone after a restart of the network. The routers go on
  sending: BIRD's static route announces it whether it is there or not. What comes is dropped, or answered with a reset
  or "host unreachable", and only for those whom anycast leads here.

Confirm
  ip address show dev IFNAME
  ip route get ADDRESS

Fix
  ip address add ADDRESS/LENGTH dev IFNAME, or withdraw the route until the service is back (birdc disable PROTOCOL).

Not flagged
  Of what BIRD announces: "AnyIP" (a route of type local holds the address; a unicast one over lo takes nothing in), an
  address on any interface, prefixes shorter than a host route, host routes that lead to a guest or a tunnel, hosts with
  eBPF programs on the way in that may take packets before routing (XDP or tc whose verdicts are not known to be others
  than TX and REDIRECT), unless another address of the same kind is here, addresses that the packet filter names in a
  table that translates (DNAT, TPROXY), and what is announced so that others drop it: with a blackhole community (RFC
  7999, *:666), or by protocols or sessions that are named after it: rtbh, blackhole, discard, ddos, drop, null.
  Blackholes whose communities BIRD did not tell: told as a possibility. Against a baseline: host addresses of other
  interfaces than lo and dummies, which move with VRRP; addresses with a lifetime. Drained hosts, but for what the
  intent names.

References
  net/ipv4/fib_frontend.c inet_addr_type(); BIRD's static protocol
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_PERMANENT
from netdiag.model.bird import BirdRoute
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Confidence, Draft, Severity, Unjudged, subject
from netdiag.model.intent import IntendedAddress
from netdiag.rules.bgpsessions import birdc
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_bpf import program
from netdiag.rules.build_nft import chain, daddr, nat, rule, table
from netdiag.rules.expected import same_link, since, untold
from netdiag.rules.secondaries import flushed
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.takenearly import Translations, steering

RULE = Rule(
    id="addr-missing-expected-lo32",
    title="an address that this host is meant to have is not there",
    severity="critical",
    reads=("addresses", "links", "routes", "rules", "sysctls"),
    consults=("intent.address", "baseline", "bird", "bird_routes", "bpf", "nft"),
    explains=(
        "bgp-anycast-missing-announce",
        "prefsrc-not-local",
        "route-src-*",
        "route-default-missing",
        "route-expected-missing",
        "bgp-*",
        "bgp-export-zero",
        "ip-nonlocal-bind",
    ),
    family="each",
)
OWN = ("Static", "Direct", "Device")
"""BIRD's protocols that make routes of this host."""
DROPS = re.compile("rtbh|black_?hole|discard|ddos|drop|null", re.IGNORECASE)
"""In names of protocols that announce what others shall drop (RFC 7999)."""


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from _nothing_told(view)
    said: set[str] = set()
    for want in view.intent.address or ():
        draft = _meant(view, want)
        if draft is not None:
            said.add(want.address)
            yield draft
    unread = [table for table in ("bpf", "nft") if view.unknown(table)]
    for route, session, socket, sure in _announced(view):
        address = route.net.partition("/")[0]
        if unread:
            yield Unjudged(reason=f"{unread[0]}: not read, and it may take what comes for {address}")
            break
        if address not in said:
            said.add(address)
            yield _attracting(view, route, session, socket, sure=sure)
    if view.baseline is not None and not view.meta.drained:
        yield from _since(view, view.baseline, said)


def _nothing_told(view: HostView) -> Iterator[Unjudged]:
    if not (view.read_whole("bird") and view.read_whole("bird_routes")):
        yield from untold(view, "address")


def _family(address: str) -> str:
    return "inet6" if ":" in address else "inet"


def _meant(view: HostView, want: IntendedAddress) -> Draft | None:
    owners = view.local.owners(want.address)
    there = [row for row in owners if view.ifname(row.ifindex) == want.ifname]
    if any(want.prefixlen in (None, row.prefixlen) for row in there):
        return None
    bits = 128 if ":" in want.address else 32
    length = want.prefixlen if want.prefixlen is not None else bits
    severity: Severity = "warning" if owners else "critical"
    place = f"it is on {view.ifname(owners[0].ifindex)}" if owners else "no interface has it"
    if there:
        place = f"it has the length {there[0].prefixlen}"
    elif want.ifname not in view.stack.by_name:
        place = f"there is no interface {want.ifname}; {place}"
    return _draft(view, (want.address, length, want.ifname), place, "intent [[address]]", severity)


def _announced(view: HostView) -> Iterator[tuple[BirdRoute, str, str, bool]]:
    """Host routes that BIRD makes and announces and whose packets have nowhere to go here: with the session, the
    daemon's socket, and whether it is known that the neighbour is not asked to drop them."""
    if not (view.read_whole("bird") and view.read_whole("bird_routes")) or view.meta.drained:
        return
    protocols = {(d.socket, p.name): p.proto for d in view.bird.daemons for p in d.protocols}
    taken, named = steering(view) and not _here(view, protocols), Translations(view)
    lost: dict[str, bool] = {}
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            if protocols.get((daemon.socket, listed.protocol)) != "BGP":
                continue
            for route in listed.routes or ():
                maker = protocols.get((daemon.socket, route.protocol or ""))
                own = maker in OWN or (maker == "Kernel" and route.type == "unicast" and "lo" in route.dev)
                if not own or DROPS.search(f"{route.protocol} {listed.protocol}"):
                    continue
                if route.net not in lost:  # the same prefix goes to every session
                    lost[route.net] = not taken and _host_route(route.net) and not _served(view, named, route.net)
                if not lost[route.net] or route.net in (listed.rtbh or ()):
                    continue
                yield route, listed.protocol, daemon.socket, listed.rtbh is not None or route.type != "blackhole"


def _here(view: HostView, protocols: dict[tuple[str, str], str]) -> bool:
    """Whether this host has some other address that BIRD's static routes announce: that is how it takes them in."""
    return any(
        view.local.is_local(_family(route.net), route.net.partition("/")[0])
        for daemon in view.bird_routes
        for listed in daemon.exports
        if protocols.get((daemon.socket, listed.protocol)) == "BGP"
        for route in listed.routes or ()
        if protocols.get((daemon.socket, route.protocol or "")) == "Static" and _host_route(route.net)
    )


def _host_route(net: str) -> bool:
    try:
        network = ipaddress.ip_network(net)
    except ValueError:
        return False
    return network.prefixlen == network.max_prefixlen


def _served(view: HostView, named: Translations, net: str) -> bool:
    """Whether packets to the address are taken in or passed on."""
    address = net.partition("/")[0]
    family = _family(address)
    if view.local.is_local(family, address):
        return True
    if named.names(address):
        return True
    answer = view.lookup(Query(family=family, dst=address))
    out = view.link(answer.oif) if answer.oif else None
    return answer.ok and bool(answer.prefixlen) and not (out is not None and out.loopback)


def _attracting(view: HostView, route: BirdRoute, session: str, socket: str, *, sure: bool) -> Draft:
    address, _, length = route.net.partition("/")
    show = birdc(socket, f"show route {route.net} all")
    place = f"BIRD announces it by {session} all the same, and what comes for it is lost"
    at = (address, int(length), "lo")
    how: Confidence = "likely" if sure else "possible"
    return _draft(view, at, place, f"birdc show route export {session}", "critical", confirm=[show], confidence=how)


def _since(view: HostView, old: HostView, said: set[str]) -> Iterator[Draft]:
    taken = {each.partition("/")[0] for group in flushed(old, view) for each in group.every}
    for row in old.addresses:
        if row.local in taken:
            continue  # addr-orphaned-primary-delete-flushes-secondary speaks
        ifname = old.ifname(row.ifindex)
        alone = row.prefixlen == (128 if row.family == "inet6" else 32)
        link = same_link(old, view, ifname)
        if link is None or (alone and not link.loopback and link.kind != "dummy"):
            continue
        if not row.flags & IFA_F_PERMANENT or row.scope >= 253 or row.local in said or view.local.owners(row.local):
            continue
        at = (row.local, row.prefixlen, ifname)
        down = "" if link.up else f", and {ifname} is down, which takes addresses of IPv6 along"
        yield _draft(view, at, f"it is gone {since(old)}{down}", f"RTM_GETADDR, {since(old)}", "critical")


def _draft(
    view: HostView,
    at: tuple[str, int, str],
    place: str,
    source: str,
    severity: Severity,
    *,
    confirm: list[str] | None = None,
    confidence: Confidence | None = None,
) -> Draft:
    address, length, ifname = at
    bits = 128 if ":" in address else 32
    ip = "ip -6" if bits == 128 else "ip"
    whole = ipaddress.ip_network(f"{address}/{length}", strict=False)
    link = view.stack.by_name.get(ifname)
    first = f"ip link set dev {quoted(ifname)} up; " if link is not None and not link.up else ""
    return RULE.found(
        subject=subject("address", address=address, ifname=ifname),
        severity=severity,
        confidence=confidence,
        message=f"{address} is not on {ifname}: {place}",
        evidence=[
            ("meant to be there", f"{address}/{length} dev {ifname}", source),
            ("interfaces that have it", len(view.local.owners(address)), "RTM_GETADDR IFA_LOCAL"),
        ],
        confirm=[*(confirm or ()), f"{ip} route get {address} 2>&1"],
        fix=f"{first}ip address add {address}/{length} dev {quoted(ifname)}",
        touches=[subject("link", ifname=ifname)],
        breaks=[
            subject("address", address=address),
            subject("prefix", prefix=f"{address}/{bits}"),
            subject("prefix", prefix=str(whole)),
            subject("route", dst=f"{address}/{bits}", table=254),
            subject("route", dst=f"{address}/{bits}", table=255),
            subject("route", dst=str(whole), table=254, ifname=ifname),
        ],
    )


P = "203.0.113.7"


def _case(name: str, why: str, host: HostBuilder, want: IntendedAddress | None = None, **expected: Any) -> Example:
    if want is not None:
        host.intend(address=(want,))
    return Example(name=name, why=why, tables=host.build(), **expected)


def _plain() -> HostBuilder:
    return HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")


def _edge(
    kind: str = "Static",
    net: str = f"{P}/32",
    protocol: str = "s1",
    rtbh: tuple[str, ...] | None = (),
    **fields: Any,
) -> BirdHost:
    route = BirdRoute(net=net, protocol=protocol, best=True, **({"type": "blackhole"} | fields))
    host = BirdHost().bgp("up1").protocol(protocol, kind).exports("up1", routes=(route,), rtbh=rtbh)
    host.link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    return host


def examples() -> Iterator[Example]:
    lo = IntendedAddress(ifname="lo", address=P, prefixlen=32)
    about = subject("address", address=P, ifname="lo")
    told: dict[str, Any] = {"fires": 1, "subject": about}
    yield _case("not there", "the plain fault", _plain(), lo, severity="critical", **told)
    yield _case("there", "as it should be", _plain().address("lo", f"{P}/32"), lo)
    elsewhere = _plain().address("eth0", f"{P}/32")
    yield _case("on another interface", "packets arrive, the place is wrong", elsewhere, lo, severity="warning", **told)
    yield _case("another length", "packets arrive", _plain().address("lo", f"{P}/24"), lo, severity="warning", **told)
    free = IntendedAddress(ifname="lo", address=P)
    yield _case("any length", "the intent does not say", _plain().address("lo", f"{P}/24"), free)
    six = IntendedAddress(ifname="lo", address="2001:db8::7", prefixlen=128)
    say: dict[str, Any] = {"says": ("2001:db8::7 is not on lo: no interface has it",), "severity": "critical"}
    yield _case("IPv6", "the same", _plain(), six, fires=1, confidence="certain", **say)
    short = IntendedAddress(ifname="lo", address="2001:db8::7")
    yield _case("IPv6 of any length", "made as a host address", _plain(), short, fires=1, says=("2001:db8::7/128 dev",))
    gone = IntendedAddress(ifname="svc0", address=P)
    say |= {"says": ("there is no interface svc0", f"ip address add {P}/32 dev svc0")}
    yield _case("no such interface", "it went with it", _plain(), gone, fires=1, **say)
    dark = BirdHost().link("eth0").build()
    yield Example(name="nothing to go by", why="no intent; BIRD announces nothing", tables=dark)
    for name in ("bird", "bird_routes"):
        yield _case(f"{name} not read", "what it announces is not known", _edge(), late=(name,), unjudged=True)
    yield _case(
        "announced", "BIRD attracts what is not here", _edge(), severity="critical", confidence="likely", **told
    )
    yield _case("announced by one told to be drained", "so it is known", _edge(), labels={"drained": "Yes"})
    kernel = _edge().route(f"{P}/32", type="blackhole", protocol=12)
    yield _case("announced, and its blackhole in the kernel", "the same", kernel, **told)
    yield _case("announced and there", "an anycast edge", _edge().address("lo", f"{P}/32"))
    yield from _taken()
    yield _case("of a VPN", "no host route of this host", _edge(net=f"65000:1 {P}/32"))
    anyip = _edge().route("203.0.113.0/24", dev="lo", table=255, type="local", scope=254)
    yield _case("announced, AnyIP", "a route of type local takes it in", anyip)
    yield _case("an aggregate", "its host routes may be anywhere", _edge(net="203.0.113.0/24"))
    yield _case("learned from a peer", "another host has it", _edge(kind="BGP"))
    yield _case("to be dropped elsewhere", "a blackhole on request", _edge(protocol="rtbh"))
    yield _case("with a blackhole community", "the neighbour is asked to drop", _edge(rtbh=(f"{P}/32",)))
    yield _case("communities not told", "it may be asked to drop", _edge(rtbh=None), severity="info", **told)
    way = _edge(rtbh=None, type="unreachable")
    yield _case("communities not told, no blackhole", "nobody asks for that", way, severity="critical", **told)
    loop = _edge(type="unicast", dev=("lo",)).route(f"{P}/32", dev="lo", protocol=12, priority=32, scope=253)
    yield _case("its route leads to lo", "what goes there comes back, and nobody takes it", loop, **told)
    learnt = _edge(kind="Kernel", type="unicast", dev=("lo",)).route(f"{P}/32", dev="lo", scope=253)
    yield _case("learned from the kernel, over lo", "a script made the route", learnt, **told)
    yield _case("a blackhole of the kernel's", "somebody shuts a host out", _edge(kind="Kernel"))
    away = _edge(kind="Kernel", type="unicast", dev=("eth0",)).route(f"{P}/32", dev="eth0", scope=253)
    yield _case("learned from the kernel, over a card", "it is passed on", away)
    guest = _edge(type="unicast", dev=("tap0",)).link("tap0").route(f"{P}/32", dev="tap0", scope=253)
    yield _case("a guest's", "it is passed on", guest)
    yield from _compared()


def _taken() -> Iterator[Example]:
    """What takes packets before they are routed."""
    balanced = _edge().bpf(attachments=[BpfAttachment(hook="xdp", prog_id=7, ifindex=2)])
    yield _case("a load balancer in XDP", "it takes them off the wire", balanced)
    for verdicts, fires in (((2,), 1), ((2, 4), 0)):
        hook = BpfAttachment(hook="xdp", prog_id=7, ifindex=2)
        counted = _edge().bpf(attachments=[hook], programs=[program(7, "front", verdicts=verdicts)])
        yield _case(f"XDP that returns {verdicts}", "it counts, or it takes", counted, fires=fires)
    mate = BirdRoute(net="203.0.113.99/32", type="blackhole", protocol="s1", best=True)
    hook = BpfAttachment(hook="xdp", prog_id=7, ifindex=2)
    edge = _edge().exports("up1", routes=(mate,), rtbh=()).address("lo", mate.net).bpf(attachments=[hook])
    yield _case("XDP, and its like is on lo", "that is how this host takes them in", edge, fires=1)
    for name, maker, net, to in (
        ("of the host itself", "d1", mate.net, "up1"),
        ("of a link of two", "s1", "198.51.100.0/31", "up1"),
        ("for the kernel alone", "s1", mate.net, "k4"),
    ):
        own = _edge().protocol("d1", "Direct").protocol("k4", "Kernel")
        shown = BirdRoute(net=net, type="unicast", protocol=maker, best=True)
        sent = (BirdRoute(net=f"{P}/32", type="blackhole", protocol="s1", best=True),)
        own.exports("up1", routes=(*sent, shown) if to == "up1" else sent, rtbh=())
        own = own.exports("k4", routes=(shown,)) if to == "k4" else own
        own.address("lo", net).bpf(attachments=[hook])
        yield _case(f"XDP, and an address {name} is here", "no service that BIRD announces", own)
    policed = _edge().bpf(attachments=[BpfAttachment(hook="cgroup", prog_id=7)])
    yield _case("a program in a cgroup", "it sees what was delivered", policed, fires=1)
    there = table(chain("pre", rule(daddr(f"{P}/32"), nat("dnat", "10.0.0.2")), hook="prerouting", type="nat"))
    yield _case("translated", "no interface need have it", _edge().nft(there))
    six = _edge(net="2001:db8::7/128").nft(
        table(chain("pre", rule(daddr("2001:db8::7/128"), nat("dnat", "fd00::2")), hook="prerouting", type="nat"))
    )
    yield _case("translated, IPv6", "the same", six)
    yield _case("translated by iptables-legacy", "the same", _edge().nft(legacy=(there,)))
    for name in ("bpf", "nft"):
        yield _case(f"{name} not read", "it may take them", _edge(), late=(name,), unjudged=True)


def _compared() -> Iterator[Example]:
    now, before = _plain().build(), _plain().address("lo", f"{P}/32").build()
    told: dict[str, Any] = {"tables": now, "baseline": before}
    yield Example(name="gone since", why="the baseline had it", fires=1, severity="critical", **told)
    yield Example(name="gone, drained", why="somebody took the host out of service", labels={"drained": "true"}, **told)
    wanted = _plain().intend(address=(IntendedAddress(ifname="eth0", address=P),)).build()
    yield Example(name="twice told", why="one fault, one finding", tables=wanted, baseline=before, fires=1)

    def since(name: str, why: str, had: HostBuilder, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=now, baseline=had.build(), **expected)

    yield since("a virtual address left", "VRRP moved it", _plain().address("eth0", f"{P}/32"))
    dummy = (
        _plain().link("svc0", kind="dummy").build(),
        _plain().link("svc0", kind="dummy").address("svc0", f"{P}/32"),
    )
    yield Example(
        name="gone from a dummy",
        why="like lo",
        tables=dummy[0],
        baseline=dummy[1].build(),
        fires=1,
        severity="critical",
    )
    yield since("one of IPv6 left", "DHCPv6 gives hosts such", _plain().address("eth0", "2001:db8::7/128"))
    yield since("an address of a network is gone", "it was made by hand", _plain().address("eth0", f"{P}/24"), fires=1)
    yield since("a lease ran out", "it came with a lifetime", _plain().address("eth0", f"{P}/24", flags=0))
    yield since("a link-local one went", "the kernel makes those", _plain().address("eth0", "fe80::1/64"))
    moved = _plain().address("eth0", f"{P}/32").build()
    yield Example(name="moved", why="another interface has it", tables=moved, baseline=before)
    guest = _plain().link("tap0", kind="tun").address("tap0", "10.0.0.1/24")
    yield since("of a guest that left", "its interface is gone too", guest)
    born = _plain().link("tap1").link("tap0", kind="tun").build()
    another = guest.build()
    yield Example(name="of a guest made anew", why="the same name, another one's", tables=born, baseline=another)
    boot: dict[str, Any] = {"rebooted": True, "fires": 1}
    yield Example(name="of a tap since the last boot", why="numbers start anew", tables=born, baseline=another, **boot)
    cards = (_plain().link("port1").link("wan0").build(), _plain().link("wan0").address("wan0", "10.0.0.1/24").build())
    yield Example(
        name="of another number", why="a card got its name again", tables=cards[0], baseline=cards[1], fires=1
    )
    kinds = (_plain().link("br0", kind="bridge").build(), _plain().link("br0").address("br0", "10.0.0.1/24").build())
    yield Example(name="of another kind", why="another thing of that name", tables=kinds[0], baseline=kinds[1])
