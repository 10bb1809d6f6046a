"""What it checks
  A single address (/32, /128) of this host is announced by BGP, and nothing listens on it, while two other announced
  addresses of the same host have listeners of their own; or connections to a port of it are left (TIME_WAIT, or under
  way) at which nothing waits any more; or some listened on this very address at the time of the baseline, on ports
  where nothing listens for it now, or for all addresses, where nothing but infrastructure does any more (a warning
  where ports of DNS or the web have gone, and others that are none are left); or the packet
  filter opens a port of it (of DNS, the web, or one that another announced address has) and not of other addresses of
  this host. As a warning: eight clients and more call one port of it in vain at this moment, at which nothing listens
  (connection tracking). As a possibility: beside a single address that has listeners; the first of these where a
  socket for all addresses on a port of DNS or the web, or a translation of some port, may serve it; all of these but
  the baseline's, the clients' and the connections' where the kernel has IPVS, whose services have no socket (a
  director); and an announced address on a host where nothing but infrastructure (SSH, BGP, BFD) listens for all
  addresses.

Why it matters
  Anycast draws clients to the nearest site that announces. Where the service died and the announcement stayed, they get
  "connection refused", although the next site would serve them. The announcement should hang on the service's health.

Confirm
  ss -ltun
  birdc show route export NAME

Fix
  Start the service; or withdraw the address: birdc disable PROTOCOL, or ip address del ADDRESS dev lo where BIRD takes
  it from there. Clients move to the next site within seconds.

Not flagged
  An address of one family beside a served one of the other: told as a possibility. Which port a service should have is
  not known here, and is never guessed. Addresses with any listener, TCP or UDP, of their own; where a program listens
  for all addresses, those of which none of the signs above tells anything.
  Router ids and source addresses of sessions: loopbacks; another loopback beside a single service looks like a service
  that died: hence a possibility. Services without a socket: addresses that a translating table of the packet filter
  names (DNAT, REDIRECT, TPROXY, SNAT), or that are on kube-ipvs0; hosts with eBPF programs on the way in that may take
  packets (XDP, tc), or local routes in tables of their own (TPROXY). Addresses that are not here: see
  bgp-route-announced-no-local-addr. Hosts whose sockets could not be read whole. Connections to far ports below 32768,
  which this host opened itself (NFS calls from ports below 1024), and those of port 20.

References
  RFC 4786 section 4.4.1; inet_diag, ss(8)
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.link import Xdp
from netdiag.model.route import RT_TABLE_LOCAL, RTN_LOCAL
from netdiag.model.sockets import sockets_from_rows
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_bpf import program, xdp
from netdiag.rules.build_nft import chain, daddr, iifname, nat, port, rule, table, verdict
from netdiag.rules.localports import listeners
from netdiag.rules.servicecases import called_examples
from netdiag.rules.servicesigns import INFRASTRUCTURE, called, forwarded, left_over, opened, serves
from netdiag.rules.shape import Example, Rule
from netdiag.rules.takenearly import Translations, steering

RULE = Rule(
    id="bgp-announced-service-down",
    title="an announced address has no service behind it",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses", "routes", "sockets"),
    consults=("bird_routes", "baseline", "bpf", "nft", "conntrack", "sysctls"),
)
PUBLIC = frozenset({53, 80, 443, 853})
"""Ports by which a socket for all addresses may serve every one that is announced."""
BALANCER = "kube-ipvs0"
DIRECTOR = "net.ipv4.vs.amemthresh"
"""A setting that is there where the kernel has IPVS (net/netfilter/ipvs/ip_vs_ctl.c)."""

LIKE = 2
"""So many announced addresses with listeners of their own are a pattern; beside one, another may be a loopback."""


KERNEL = 2
"""RTPROT_KERNEL."""


def announced(view: HostView) -> dict[str, tuple[str, str, str]]:
    """Own single addresses that sessions hear: socket, session and prefix by address."""
    up = {(d.socket, p.name) for d in view.bird.daemons for p in d.protocols if p.proto == "BGP" and p.state == "up"}
    found: dict[str, tuple[str, str, str]] = {}
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            for route in listed.routes or () if (daemon.socket, listed.protocol) in up else ():
                address, _, length = route.net.partition("/")
                if length == ("128" if ":" in address else "32") and view.local.owners(address):
                    found.setdefault(address, (daemon.socket, listed.protocol, route.net))
    return found


def without_sockets(view: HostView) -> bool:
    """Something may serve without a socket of that address."""
    if steering(view):
        return True
    found = False
    for family in ("inet", "inet6"):
        routes = view.routes(family)
        aside = (routes.type == RTN_LOCAL) & (routes.table != RT_TABLE_LOCAL)
        found |= bool((aside & (routes.protocol != KERNEL)).any())  # (of a VRF's own addresses the kernel makes them)
    return found


def balanced(view: HostView, address: str) -> bool:
    """Whether IPVS serves the address."""
    return any(view.ifname(row.ifindex) == BALANCER for row in view.local.owners(address))


def check(view: HostView) -> Iterator[Draft]:
    told = announced(view)
    if not told or without_sockets(view):
        return
    loopbacks = {d.router_id for d in view.bird.daemons}
    loopbacks |= {p.source_address for d in view.bird.daemons for p in d.protocols}
    ports = listeners(view)
    open_ = ports.get("", set())
    everywhere = open_ - INFRASTRUCTURE
    served = {address: ports[address] for address in told if ports.get(address)}
    before = listeners(view.baseline) if view.baseline is not None else {}
    translated, director = Translations(view), view.sysctl(DIRECTOR) is not None
    for address, (socket, session, net) in told.items():
        if address in served or address in loopbacks or balanced(view, address) or translated.names(net):
            continue
        gone = sorted(port for port in before.get(address, set()) - open_ if serves(port))
        if not gone and not everywhere:  # it was served by a socket for all addresses, and there is none any more
            gone = sorted(port for port in before.get("", set()) - open_ if serves(port))
        # beside others that are still there it is told where no port of DNS or the web is left
        lost = sorted(before.get("", set()) & PUBLIC) if everywhere and not PUBLIC & open_ else []
        if (gone or lost) and view.baseline is not None:
            yield _ended(address, told[address], gone or lost, view.baseline, left=not gone)
            continue
        known = PUBLIC.union(*served.values()) - open_
        if gate := opened(view, address, known):
            yield _closed(address, told[address], gate, sure=not director)
            continue
        if left := left_over(view, address, open_):
            yield _left(address, told[address], left)
            continue
        kin = [one for one in served if (":" in one) == (":" in address)]  # a service need not speak both families
        mates = [one for one in kin if served[one] - everywhere]
        pattern, mate = len(mates) >= LIKE, next(iter(mates), None)
        vain = called(view, address, open_) if not pattern and not PUBLIC & open_ else None
        if vain is not None:
            yield _called(address, told[address], *vain)
            continue
        if everywhere and mate is None:
            continue
        sure = pattern and not director and not PUBLIC & open_ and not forwarded(view, address)
        missing = sorted(served[mate] - everywhere)[:3] if mate is not None else []
        words = (
            f"{mate} has {', '.join(map(str, missing))}" if mate else "nor for all addresses, but for infrastructure"
        )
        yield _found(
            address,
            told[address],
            f"and nothing listens on it ({words})",
            [
                (f"listening sockets on {address}", 0, "INET_DIAG LISTEN"),
                ("ports that listen for all addresses", len(open_), "INET_DIAG LISTEN"),
            ],
            [birdc(socket, f"show route export {bird_name(session)}")],
            sure=sure,
        )


def _found(
    address: str,
    where: tuple[str, str, str],
    words: str,
    facts: Iterable[tuple[str, object, str]],
    confirm: Iterable[str],
    *,
    sure: bool = True,
    severity: Severity = "critical",
) -> Draft:
    """What is wrong with an address that is announced; not ``sure``: something may serve it all the same."""
    _, session, net = where
    return RULE.found(
        subject=subject("prefix", prefix=net),
        message=f"{net} is announced to {session}, {words}",
        severity=severity if sure else "info",
        confidence=None if sure else "possible",
        evidence=[(f"announced to {session}", net, f"birdc show route export {session}"), *facts],
        confirm=["ss -ltun", *confirm],
        fix=f"start the service on {address}, or take {net} out of what BIRD announces",
        touches=[subject("address", address=address)],
    )


def _closed(address: str, where: tuple[str, str, str], gate: tuple[str, int], *, sure: bool) -> Draft:
    (socket, session, _), words = where, f"{gate[0]} {gate[1]}"
    but = f"though the packet filter opens {words} of it, and not of this host's other addresses"
    return _found(
        address,
        where,
        f"and nothing listens on it, {but}",
        [
            (f"listening sockets on {address}", 0, "INET_DIAG LISTEN"),
            (f"opened of {address} alone", words, "NFT_MSG_GETRULE, hook input"),
        ],
        [birdc(socket, f"show route export {bird_name(session)}"), "nft list ruleset"],
        sure=sure,
    )


def _left(address: str, where: tuple[str, str, str], number: int) -> Draft:
    return _found(
        address,
        where,
        f"and nothing listens on it any more: connections to its port {number} are left",
        [
            (f"listening sockets on {address} port {number}", 0, "INET_DIAG LISTEN"),
            (f"connections to port {number}", "left", "INET_DIAG idiag_state, idiag_sport"),
        ],
        [f"ss -tan src {address} sport = :{number}"],
    )


def _called(address: str, where: tuple[str, str, str], number: int, count: int) -> Draft:
    return _found(
        address,
        where,
        f"{count} clients call its port {number} in vain, and nothing listens there",
        [
            (f"listening sockets on {address} port {number}", 0, "INET_DIAG LISTEN"),
            (f"addresses that call port {number} in vain", count, "CTNETLINK CTA_TUPLE_ORIG, CTA_PROTOINFO"),
        ],
        [f"conntrack -L --orig-dst {address} --orig-port-dst {number}"],
        severity="warning",
    )


def _ended(address: str, where: tuple[str, str, str], gone: list[int], old: HostView, *, left: bool = False) -> Draft:
    """``left``: it was served by a socket for all addresses, and others of those are there."""
    (socket, session, _), words = where, ", ".join(map(str, gone[:3]))
    return _found(
        address,
        where,
        f"and nothing listens on it (port {words} was open at the baseline of {old.meta.taken_at})",
        [
            (f"listening sockets on {address}", 0, "INET_DIAG LISTEN"),
            (f"ports that listened on {address}", words, "baseline INET_DIAG LISTEN"),
        ],
        [birdc(socket, f"show route export {bird_name(session)}")],
        severity="warning" if left else "critical",
    )


A, B, C = "203.0.113.7", "203.0.113.8", "203.0.113.9"


def _case(name: str, why: str, *sockets: tuple[str, int], **more: Any) -> Example:
    nets, router_id, udp = more.pop("nets", (A, B)), more.pop("router_id", "10.0.0.1"), more.pop("udp", False)
    if not more.pop("lone", False) and any(src == A for src, _ in sockets):  # a third address, which is served as A is
        nets, sockets = (*nets, C), (*sockets, *((C, port) for src, port in sockets if src == A))
    host: Any = (
        BirdHost()
        .daemon(router_id=router_id)
        .bgp("up1")
        .bgp_down("up2")
        .protocol("k4", "Kernel")
        .exports(
            more.pop("listed", "up1"),
            routes=tuple(BirdRoute(net=one if "/" in one else f"{one}/32", protocol="s1", best=True) for one in nets),
        )
    )
    for dev, address, scope in more.pop("first", ()):
        host.link(dev, **({"kind": "dummy"} if dev == "dummy0" else {})) if dev not in ("lo", "eth0") else None
        host.address(dev, address, scope=scope)
    host.link("eth0", **more.pop("link", {}))
    for own in (more.pop("own", ""), "192.0.2.2/24"):
        host = host.address("eth0", own) if own else host
    host.address("lo", f"{A}/32").address("lo", f"{C}/32")
    host.address("lo", f"{B}/32").address("lo", "2001:db8::7/128")
    if more.pop("tproxy", False):
        host.route("default", dev="lo", type="local", table=100, family="inet")
    if more.pop("vrf", False):
        host.link("mgmt", kind="vrf", info={"table": 10}).link("eth9", master="mgmt")
        host.route("10.9.0.1/32", dev="eth9", type="local", table=10, protocol=2, scope=254)
    kind = {"protocol": 17, "state": 7} if udp else {"protocol": 6, "state": 10}
    rows = [{"family": 2, "src": src, "dst": "0.0.0.0", "sport": port, **kind} for src, port in sockets]
    if left := more.pop("left", ()):
        src, number, state, *far = left
        rows.append({"family": 2, "src": src, "sport": number, "dst": "198.51.100.9", "dport": far[0] if far else 32768,
                     "protocol": 6, "state": state})  # fmt: skip
    if rules := more.pop("rules", ()):
        host.nft(table(chain("pre", *(rule(*steps) for steps in rules), hook="prerouting", type="nat"), family="ip"))
    if more.pop("ipvs", False):
        host.sysctl(DIRECTOR, 1024)
    if gates := more.pop("gates", ()):
        accepts = [rule(*steps, verdict("accept")) for steps in ((iifname("lo"),), *gates)]
        host.nft(table(chain("in", *accepts, hook="input", policy="drop"), family="inet"))
    if own := more.pop("six", ""):
        host.address("eth0", own)
    if name_ := more.pop("on", ""):
        host.link(name_, kind="dummy").address(name_, f"{B}/32")
    if "verdicts" in more:
        host.bpf(programs=[program(1, "front", verdicts=more.pop("verdicts"))])
        xdp(host, "eth0", 1)
    return Example(name=name, why=why, tables=replace(host.build(), sockets=sockets_from_rows(rows)), **more)


def examples() -> Iterator[Example]:
    six: dict[str, Any] = {"nets": (A, "2001:db8::7/128"), "fires": 1, "severity": "info"}
    yield _case("one of each family", "the service may speak IPv4 alone", (A, 53), **six)
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("prefix", prefix=f"{B}/32")}
    yield _case("one of three", "its likes have listeners of their own", (A, 443), **crit)
    lone: dict[str, Any] = {"lone": True, "fires": 1, "severity": "info", "confidence": "possible"}
    yield _case("one of two", "it may be a loopback of the router", (A, 443), ("0.0.0.0", 22), **lone)
    out = (port(6, 443), nat("snat", B))
    yield _case("packets leave with it", "an address for guests", (A, 443), rules=[out])
    ends = ("connections to its port 443 are left",)
    for state, what in ((6, "over"), (1, "under way"), (8, "not closed yet")):
        yield _case(f"connections to it are {what}", "it was served", (A, 443), left=(B, 443, state), says=ends,
                    lone=True, **crit)  # fmt: skip
    yield _case("it calls somebody", "no service", (A, 443), left=(B, 443, 2), **lone)
    yield _case("it called somebody", "no service", (A, 443), left=(B, 40000, 6), **lone)
    yield _case("it mounted something", "NFS calls from low ports", (A, 443), left=(B, 900, 1, 2049), **lone)
    yield _case("it was called from a low port", "or it called", (A, 443), left=(B, 443, 6, 32767), **lone)
    yield _case("it sent a file", "FTP calls back from port 20", ("0.0.0.0", 21), left=(B, 20, 6), nets=(B,))
    yield _case("connections to a port for all", "it is served there", ("0.0.0.0", 9100), left=(B, 9100, 6), nets=(B,))
    yield _case("UDP", "the same", (A, 53), udp=True, **crit)
    yield _case("both", "the ordinary case", (A, 443), (B, 443))
    yield _case("for all addresses", "it serves both", ("0.0.0.0", 443))
    yield _case("one of them, and for all on that port", "both are served", (A, 443), ("0.0.0.0", 443))
    yield _case("another port for all", "B has something; A has more", (A, 443), ("0.0.0.0", 9100), **crit)
    may: dict[str, Any] = {"fires": 1, "severity": "info", "says": (f"nothing listens on it ({A} has 443)",)}
    for public in sorted(PUBLIC):
        yield _case(f"port {public} for all", "that may be B's service", (A, 4443), ("0.0.0.0", public), fires=1,
                    severity="info")  # fmt: skip
    says = ("the packet filter opens tcp 443 of it, and not",)
    gate, ssh = [(daddr(f"{B}/32"), port(6, 443))], ("0.0.0.0", 22)
    alone: dict[str, Any] = {"nets": (B,), "fires": 1}
    yield _case("its port is open", "somebody opened it for a service", ssh, gates=gate, **(crit | alone), says=says)
    yield _case("its port is open, another is served", "the same", ssh, ("0.0.0.0", 9100), gates=gate,
                **(crit | alone), says=says)  # fmt: skip
    yield _case("its port is open, of UDP", "the same", ssh, gates=[(daddr(f"{B}/32"), port(17, 53))],
                **(crit | alone), says=("opens udp 53 of it",))  # fmt: skip
    wired = [(iifname("eth0"), daddr(f"{B}/32"), port(6, 443))]
    for dev, first, scope in (("lo", "10.0.0.9/32", 0), ("dummy0", "10.0.0.9/32", 0), ("eth9", "2001:db8:9::2/64", 0),
                              ("eth9", "169.254.9.2/24", 253)):  # fmt: skip
        yield _case(f"its port is open on the wire, and {dev} has {first}", "that is asked for an address of a wire",
                    ssh, gates=wired, first=[(dev, first, scope)], **(crit | alone), says=says)  # fmt: skip
    yield _case("its port is open, and it is on the wire itself", "another address of it is asked for", ssh,
                gates=wired, own=f"{B}/32", **(crit | alone), says=says)  # fmt: skip
    yield _case("its port is open and served for all", "as it should be", ("0.0.0.0", 443), gates=gate, nets=(B,))
    yield _case("the port is open for all addresses", "that tells nothing of this one", ssh, gates=[(port(6, 443),)],
                severity="info", **alone)  # fmt: skip
    yield _case("the port of another is open", "that tells nothing of this one", ssh, severity="info",
                gates=[(daddr(f"{A}/32"), port(6, 443))], **alone)  # fmt: skip
    yield _case("a port that no service of this host has is open", "which it would be is not known", ssh,
                gates=[(daddr(f"{B}/32"), port(6, 4443))], severity="info", **alone)  # fmt: skip
    six_gate = [(daddr("2001:db8::7/128"), port(6, 4443))]
    yield _case("the port of its like is open", "one service for both families", (A, 4443), gates=six_gate,
                nets=(A, "2001:db8::7/128"), fires=1, severity="critical",
                says=("opens tcp 4443 of it",), six="2001:db8:1::2/64")  # fmt: skip
    sent = (port(6, 443), nat("dnat", "10.0.0.9"))
    yield _case("B is translated", "its service is elsewhere", (A, 443), rules=[(daddr(f"{B}/32"), *sent)])
    yield _case("A is translated as well", "B is not", (A, 443), rules=[(daddr(f"{A}/32"), *sent)], **crit)
    yield _case("a port of any address is translated", "that may be B's service", (A, 443), rules=[sent], **may)
    yield _case("IPVS is loaded", "it may serve without a socket", (A, 443), ipvs=True, fires=1, severity="info")
    yield _case("IPVS is loaded, and its port is open", "a director", ssh, gates=gate, nets=(B,), ipvs=True, fires=1,
                severity="info")  # fmt: skip
    yield _case("on kube-ipvs0", "IPVS serves it", (A, 443), on="kube-ipvs0")
    yield _case("on another dummy", "a dummy serves nothing", (A, 443), on="dummy0", **crit)
    yield _case("a resolver for all addresses", "that is the service", ("0.0.0.0", 53), udp=True, nets=(B,))
    yield _case("only SSH", "a loopback, or a service that died", ("0.0.0.0", 22), nets=(A,), fires=1, severity="info")
    yield _case("router id", "a loopback", ("0.0.0.0", 22), nets=(A,), router_id=A)
    yield _case("XDP", "it needs no socket", (A, 443), link={"xdp": Xdp(mode="native")})
    hook = {"xdp": Xdp(mode="native")}
    yield _case("XDP that only passes", "it takes nothing", (A, 443), link=hook, verdicts=(2,), **crit)
    yield _case("XDP that redirects", "it needs no socket", (A, 443), link=hook, verdicts=(2, 4))
    yield _case("TPROXY", "its socket is elsewhere", (A, 443), tproxy=True)
    yield _case("a VRF", "its local routes are the kernel's", (A, 443), vrf=True, fires=1)
    yield _case("not here", "another rule", (A, 443), nets=("203.0.113.99",))
    yield _case("a UDP socket without a port", "it serves nobody", (A, 53), (B, 0), udp=True, **crit)
    yield _case("a network that begins with it", "no single address", (A, 443), nets=(A, f"{B}/31"))
    yield _case("by a session that is down", "nobody hears it", (A, 443), listed="up2")
    yield _case("to the kernel", "nobody else hears it", (A, 443), listed="k4")

    def ended(name: str, why: str, *now: tuple[str, int], port: int = 443, fires: int = 0, **more: Any) -> Example:
        old = _case("before", "", (B, port), ("0.0.0.0", 22), udp=more.pop("udp", False))
        told: dict[str, Any] = crit | {"says": (f"(port {port} was open at the baseline of ",)} if fires else {}
        return _case(name, why, ("0.0.0.0", 22), *now, nets=(B,), baseline=old.tables, **(told | more))

    yield ended("listened at the baseline", "the service is gone", fires=1)
    yield ended("listened at the baseline, a resolver", "the service is gone", port=53, fires=1)
    yield ended("listened at the baseline, above the ports of clients", "the service is gone", port=61000, fires=1)
    yield ended("listened at the baseline, another service for all", "that one is another", ("0.0.0.0", 80), fires=1)
    yield ended("listens for all addresses by now", "it was set up otherwise", ("0.0.0.0", 443))
    yield ended("still listens", "the ordinary case", (B, 443))
    yield ended("listens on another port of it by now", "it is served", (B, 8443))
    for name, port_, now, severity in (
        ("nothing is left", 443, (), "critical"),
        ("no port of DNS or the web is left", 443, (("0.0.0.0", 9100),), "warning"),
        ("the web is left", 443, (("0.0.0.0", 80), ("0.0.0.0", 9100)), None),
        ("another port of no known service is left", 5000, (("0.0.0.0", 9100),), None),
    ):
        old = _case("", "", ("0.0.0.0", port_), ("0.0.0.0", 22)).tables
        wild: dict[str, Any] = {
            "fires": 1,
            "severity": severity,
            "says": (f"(port {port_} was open at the baseline of",),
        }
        yield _case(f"listened for all addresses, {name}", "which service was it?", ("0.0.0.0", 22), *now, nets=(B,),
                    baseline=old, **(wild if severity else {}))  # fmt: skip
    udp = [("0.0.0.0", 40000)]
    yield _case("a client's port was open for all addresses", "no service", nets=(B,), fires=1, severity="info",
                baseline=_case("", "", *udp).tables)  # fmt: skip
    only: dict[str, Any] = {"fires": 1, "severity": "info"}
    for number, what in ((179, "no service"), (40000, "a client's port"), (60999, "the last of clients")):
        said = _case("", "", ("0.0.0.0", 22), nets=(B,), baseline=_case("", "", (B, number)).tables, **only)
        yield replace(said, name=f"port {number} was open at the baseline", why=what)
    yield from called_examples(A)
