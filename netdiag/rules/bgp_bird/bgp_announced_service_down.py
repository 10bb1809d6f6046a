"""What it checks
  A single address (/32, /128) of this host is announced by BGP, and nothing listens on it, while another announced
  address of the same host has listeners of its own; or some listened on this very address at the time of the baseline,
  on ports where nothing listens for it now, or for all addresses, where nothing but infrastructure does any more. As a
  possibility: an announced address on a host where nothing listens but infrastructure (SSH, BGP, BFD).

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
  An address of one family beside a served one of the other: told as a possibility.
  Which port a service should have is not known here, and is never guessed. Addresses with any listener, TCP or UDP, of
  their own or for all addresses. Router ids and source addresses of sessions: loopbacks. Hosts with eBPF programs on
  the way in that may take packets (XDP, tc), or local routes in tables of their own (TPROXY): services without a
  socket. Addresses that are not here: see bgp-route-announced-no-local-addr. Hosts whose sockets could not be read
  whole.

References
  RFC 4786 section 4.4.1; inet_diag, ss(8)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Xdp
from netdiag.model.route import RT_TABLE_LOCAL, RTN_LOCAL
from netdiag.model.sockets import sockets_from_rows
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_bpf import program, xdp
from netdiag.rules.localports import UNTOUCHED, listeners
from netdiag.rules.shape import Example, Rule
from netdiag.rules.takenearly import steering

RULE = Rule(
    id="bgp-announced-service-down",
    title="an announced address has no service behind it",
    severity="critical",
    confidence="likely",
    reads=("bird", "links", "addresses", "routes", "sockets"),
    consults=("bird_routes", "baseline", "bpf"),
)
INFRASTRUCTURE = frozenset({22, 53, 68, 123, 161, 179, 323, 546, 3784, 3785, 4784, 51820})
"""Ports that say nothing about a service; 53 only where it is a resolver's own, see ``listeners``."""


EPHEMERAL = range(UNTOUCHED[0], UNTOUCHED[1] + 1)


KERNEL = 2
"""RTPROT_KERNEL."""


def serves(port: int) -> bool:
    """Whether a socket on that port of a single address is most likely a service's, and no client's of UDP."""
    return port == 53 or (port not in INFRASTRUCTURE and port not in EPHEMERAL)


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


def check(view: HostView) -> Iterator[Draft]:
    told = announced(view)
    if not told or without_sockets(view):
        return
    loopbacks = {d.router_id for d in view.bird.daemons}
    loopbacks |= {p.source_address for d in view.bird.daemons for p in d.protocols}
    ports = listeners(view)
    everywhere = ports.get("", set()) - INFRASTRUCTURE
    served = {address: ports[address] for address in told if ports.get(address)}
    before = listeners(view.baseline) if view.baseline is not None else {}
    for address, (socket, session, net) in told.items():
        if address in served or address in loopbacks:
            continue
        gone = sorted(port for port in before.get(address, set()) - ports.get("", set()) if serves(port))
        if not gone and not everywhere:  # it was served by a socket for all addresses, and there is none any more
            gone = sorted(port for port in before.get("", set()) - ports.get("", set()) if serves(port))
        if gone and view.baseline is not None:
            yield _ended(address, told[address], gone, view.baseline)
            continue
        kin = [one for one in served if (":" in one) == (":" in address)]  # a service need not speak both families
        mate = next((one for one in kin if served[one] - everywhere), None)
        if everywhere and mate is None:
            continue
        sure = mate is not None
        missing = sorted(served[mate] - everywhere)[:3] if mate is not None else []
        words = f"{mate} has {', '.join(map(str, missing))}" if sure else "nor on any address but for infrastructure"
        yield RULE.found(
            subject=subject("prefix", prefix=net),
            message=f"{net} is announced to {session}, and nothing listens on it ({words})",
            severity="critical" if sure else "info",
            confidence=None if sure else "possible",
            evidence=[
                (f"announced to {session}", net, f"birdc show route export {session}"),
                (f"listening sockets on {address}", 0, "INET_DIAG LISTEN"),
                ("ports that listen for all addresses", len(ports.get("", ())), "INET_DIAG LISTEN"),
            ],
            confirm=["ss -ltun", birdc(socket, f"show route export {bird_name(session)}")],
            fix=f"start the service on {address}, or take {net} out of what BIRD announces",
            touches=[subject("address", address=address)],
        )


def _ended(address: str, where: tuple[str, str, str], gone: list[int], old: HostView) -> Draft:
    (socket, session, net), words = where, ", ".join(map(str, gone[:3]))
    return RULE.found(
        subject=subject("prefix", prefix=net),
        message=f"{net} is announced to {session}, and nothing listens on it (port {words} was open at the baseline "
        f"of {old.meta.taken_at})",
        evidence=[
            (f"announced to {session}", net, f"birdc show route export {session}"),
            (f"listening sockets on {address}", 0, "INET_DIAG LISTEN"),
            (f"ports that listened on {address}", words, "baseline INET_DIAG LISTEN"),
        ],
        confirm=["ss -ltun", birdc(socket, f"show route export {bird_name(session)}")],
        fix=f"start the service on {address}, or take {net} out of what BIRD announces",
        touches=[subject("address", address=address)],
    )


A, B = "203.0.113.7", "203.0.113.8"


def _case(name: str, why: str, *sockets: tuple[str, int], **more: Any) -> Example:
    nets, router_id, udp = more.pop("nets", (A, B)), more.pop("router_id", "10.0.0.1"), more.pop("udp", False)
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
    host.link("eth0", **more.pop("link", {})).address("eth0", "192.0.2.2/24").address("lo", f"{A}/32")
    host.address("lo", f"{B}/32").address("lo", "2001:db8::7/128")
    if more.pop("tproxy", False):
        host.route("default", dev="lo", type="local", table=100, family="inet")
    if more.pop("vrf", False):
        host.link("mgmt", kind="vrf", info={"table": 10}).link("eth9", master="mgmt")
        host.route("10.9.0.1/32", dev="eth9", type="local", table=10, protocol=2, scope=254)
    kind = {"protocol": 17, "state": 7} if udp else {"protocol": 6, "state": 10}
    rows = [{"family": 2, "src": src, "dst": "0.0.0.0", "sport": port, **kind} for src, port in sockets]
    if "verdicts" in more:
        host.bpf(programs=[program(1, "front", verdicts=more.pop("verdicts"))])
        xdp(host, "eth0", 1)
    return Example(name=name, why=why, tables=replace(host.build(), sockets=sockets_from_rows(rows)), **more)


def examples() -> Iterator[Example]:
    six: dict[str, Any] = {"nets": (A, "2001:db8::7/128"), "fires": 1, "severity": "info"}
    yield _case("one of each family", "the service may speak IPv4 alone", (A, 53), **six)
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("prefix", prefix=f"{B}/32")}
    yield _case("one of two", "its like has a listener of its own", (A, 443), **crit)
    yield _case("UDP", "the same", (A, 53), udp=True, **crit)
    yield _case("both", "the ordinary case", (A, 443), (B, 443))
    yield _case("for all addresses", "it serves both", ("0.0.0.0", 443))
    yield _case("one of them, and for all on that port", "both are served", (A, 443), ("0.0.0.0", 443))
    yield _case("another port for all", "B has something; A has more", (A, 443), ("0.0.0.0", 80), **crit)
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
    for name, now, fires in (("nothing is left", (), 1), ("another is left", (("0.0.0.0", 9100),), 0)):
        old = _case("", "", ("0.0.0.0", 443), ("0.0.0.0", 22)).tables
        told: dict[str, Any] = crit | {"says": ("(port 443 was open at the baseline of",)} if fires else {}
        yield _case(f"listened for all addresses, {name}", "which service was it?", ("0.0.0.0", 22), *now, nets=(B,),
                    baseline=old, **({"fires": fires} | told))  # fmt: skip
    only: dict[str, Any] = {"fires": 1, "severity": "info"}
    for number, what in ((179, "no service"), (40000, "a client's port"), (60999, "the last of clients")):
        said = _case("", "", ("0.0.0.0", 22), nets=(B,), baseline=_case("", "", (B, number)).tables, **only)
        yield replace(said, name=f"port {number} was open at the baseline", why=what)
