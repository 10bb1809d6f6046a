"""Routes that BGP brought, that became blackholes here, and that are announced on: for bgp-exports-unreachable-route.

BIRD resolves a BGP next hop in its own table. Where its route has gone and an aggregate covers it (``route 10.0.0.0/8
blackhole``), the aggregate's fate is that of every route by that next hop. Meant is what is announced with a blackhole
community, and single addresses, as a trigger of such blackholes brings them. Pure.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bird import BirdRoute
from netdiag.model.finding import Draft, subject
from netdiag.rules.bgpsessions import bird_name, birdc
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example, Rule
from netdiag.rules.unresolved import NAMED, reflected


def swallowed(view: HostView) -> Iterator[tuple[str, str, str, list[str]]]:
    """Control socket, session that is told, session that brought them, and the prefixes."""
    protocols = {(daemon.socket, row.name): row for daemon in view.bird.daemons for row in daemon.protocols}
    for daemon in view.bird_routes:
        for listed in daemon.exports:
            to = protocols.get((daemon.socket, listed.protocol))
            if to is None or to.proto != "BGP" or to.state != "up" or listed.rtbh is None:
                continue
            found: dict[str, list[str]] = {}
            for route in listed.routes or ():
                origin = protocols.get((daemon.socket, route.protocol or ""))
                single = route.net.endswith("/128" if ":" in route.net else "/32")
                if route.type != "blackhole" or single or route.net in listed.rtbh:
                    continue
                if origin is not None and origin.proto == "BGP" and not reflected(origin, to):
                    found.setdefault(origin.name, []).append(route.net)
            for name, nets in found.items():
                yield daemon.socket, listed.protocol, name, nets


def swallowed_findings(rule: Rule, view: HostView) -> Iterator[Draft]:
    """One report for each session that is told of some."""
    alone = len(view.bird.daemons) == 1
    for socket, to, name, nets in swallowed(view):
        more = f" and {len(nets) - NAMED} more" if len(nets) > NAMED else ""
        verb = "is a blackhole" if len(nets) == 1 else "are blackholes"
        yield rule.found(
            subject=subject("bgp-session", name=to, socket=None if alone else socket, origin=name),
            message=f"{', '.join(nets[:NAMED])}{more} from {name} {verb} here (a blackhole route covers the next hop),"
            f" and announced to {to}: traffic comes here and is dropped in silence",
            severity="warning",
            confidence="likely",
            evidence=[
                (f"routes of {name} of type blackhole announced to {to}", len(nets), f"birdc show route export {to}")
            ],
            confirm=[
                birdc(socket, f"show route {nets[0]} all"),
                birdc(socket, f"show route export {bird_name(to)}"),
            ],
            fix="give the next hop its route back, or reject such routes in the export filter of "
            f"{to} (if source = RTS_BGP && dest = RTD_BLACKHOLE then reject;), then: "
            + birdc(socket, f"reload out {bird_name(to)}"),
            breaks=[subject("prefix", prefix=net) for net in nets[:64]],
            touches=[subject("bgp-session", name=to, socket=None if alone else socket)],
        )


def swallowed_cases() -> Iterator[Example]:
    """Examples for bgp-exports-unreachable-route."""
    near, far = "internal session", "external session"

    def case(name: str, why: str, *nets: str, fires: int = 0, **given: Any) -> Example:
        kind, origin = given.get("kind", "blackhole"), given.get("origin", "in1")
        host = BirdHost().bgp("in1", neighbor_as=65001, session=near).protocol("st1", "Static")
        host.bgp("up1", neighbor_as=given.get("asn", 65002), session=far, state=given.get("state", "up"))
        rows = tuple(BirdRoute(net=net, type=kind, protocol=origin, best=True) for net in nets)
        host.exports("up1", routes=rows, rtbh=given.get("rtbh", ())).unresolved()
        told: dict[str, Any] = {"fires": fires, "severity": "warning", "says": given.get("says", ())} if fires else {}
        return Example(name=f"swallowed, {name}", why=why, tables=host.build(), **told)

    net, six = "172.20.0.0/16", "2001:db8:77::/48"
    says = ("172.20.0.0/16 from in1 is a blackhole here (a blackhole route covers the next hop), and announced to up1",)
    yield case("one", "an aggregate covers the next hop", net, fires=1, says=says)
    many = ("10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16 and 1 more from in1 are blackholes",)
    yield case("four", "all by that next hop", *(f"10.{n}.0.0/16" for n in range(1, 5)), fires=1, says=many)
    yield case("IPv6", "the same", six, fires=1)
    yield case("of its own session", "external ones are passed on as well", net, origin="up1", fires=1)
    yield case("a static one", "that is how aggregates are originated", net, origin="st1")
    yield case("with a blackhole community", "the neighbour is asked to drop", net, rtbh=(net,))
    yield case("one of two with a blackhole community", "the other is lost", net, six, rtbh=(six,), fires=1)
    yield case("communities not known", "it may be asked for", net, rtbh=None)
    yield case("single addresses", "a trigger brings them", "192.0.2.7/32", "2001:db8::7/128")
    yield case("nearly single", "an IPv6 prefix of that length is one", "2001:db8::/32", fires=1)
    yield case("unreachable", "the other half of the rule asks why", net, kind="unreachable")
    yield case("reflected", "the receiver resolves it by itself", net, asn=65001)
    yield case("session down", "nobody hears it", net, state="start")
    yield case("of a protocol that is gone", "the answer is of two moments", net, origin="in9")
