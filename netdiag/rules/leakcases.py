"""Examples of routes that a BGP session should not be given: everything, and what was kept back before. Pure; nothing
can fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from netdiag.model.bird import BirdRoute
from netdiag.model.intent import IntendedAnnouncement, Intent
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example


def whole_examples(_route: Callable[..., BirdRoute]) -> Iterator[Example]:
    """``up1`` is given a default route."""
    for name, why, asn, via, maker, fires in (
        ("its own provider", "it would send everything here", 3320, "192.0.2.1", "s1", 1),
        ("its own provider, from another one", "the same", 3320, "192.0.2.1", "peer", 1),
        ("a customer", "that is what it pays for", 3320, "192.0.2.9", "s1", 0),
        ("a router of the fabric", "it has a shorter way", 65100, "192.0.2.1", "s1", 0),
    ):
        host = BirdHost().protocol("s1", "Static").bgp("up1", neighbor_as=asn)
        host.bgp("peer", neighbor_as=1299, neighbor_address="192.0.2.9", channels=(channel(imported=3),))
        host.exports("up1", routes=(_route(), _route("0.0.0.0/0", maker)))
        host.link("eth0").address("eth0", "192.0.2.7/24").route("default", via=via, dev="eth0", protocol=4)
        yield Example(
            name=f"a default route for {name}",
            why=why,
            tables=host.build(),
            fires=fires,
            severity="critical" if fires else None,
        )


def inner_examples(_route: Callable[..., BirdRoute]) -> Iterator[Example]:
    """``up1``, of a private AS, is given connected networks by a direct protocol as well."""

    def host(*nets: str, maker: str = "up", stood: bool = True, asn: int = 65100) -> BirdHost:
        built = BirdHost().protocol("s1", "Static").protocol("d1", "Direct", state=maker)
        routes = [BirdRoute(net=net, protocol="d1", best=True) for net in nets]
        built.bgp("up1", neighbor_as=asn).exports("up1", routes=(_route(), *routes))
        built.link("docker0").link("eth0").address("eth0", "192.0.2.2/24")
        if stood:
            built.address("docker0", "172.17.0.1/16").address("docker0", "198.18.5.1/24")
        return built

    says = ("172.17.0.0/16, which are of d1: it was given none of those at the time of the baseline",)
    now = host("172.17.0.0/16")
    for name, why, then, fires in (
        ("it was given its own alone", "the filter has opened", host(), 1),
        ("it was given those", "as it was", host("172.17.0.0/16"), 0),
        ("it was given others of them", "that protocol is for it", host("198.18.5.0/24"), 0),
        ("they were not there", "a network came", host(stood=False), 0),
        ("their protocol was off", "it was switched on", host(maker="down"), 0),
        ("it was given nothing", "it was drained", BirdHost().bgp("up1").exports("up1", routes=()), 0),
    ):
        yield Example(name=f"connected networks, and at the time of the baseline {name}", why=why, tables=now.build(),
                      baseline=then.build(), fires=fires, severity="warning" if fires else None,
                      says=says if fires else ())  # fmt: skip


def unnamed_examples(_route: Callable[..., BirdRoute]) -> Iterator[Example]:
    """``up1``, of a private AS, is given what ``peer`` or the internal ``rr`` told; the intent names what it is for."""

    def host(*routes: BirdRoute) -> BirdHost:
        built = BirdHost().protocol("s1", "Static").bgp("up1", neighbor_as=65100)
        built.bgp("peer", neighbor_as=65200, neighbor_address="192.0.2.9", channels=(channel(imported=3),))
        built.bgp("rr", neighbor_as=65001, neighbor_address="192.0.2.8")
        return built.exports("up1", routes=(_route(), *routes))

    theirs, inner = _route("203.0.113.0/24", "peer"), _route("10.7.0.0/16", "rr")
    own = IntendedAnnouncement(prefix="198.51.100.0/24", session="up*")
    wide = IntendedAnnouncement(prefix="203.0.0.0/16", session="up*")
    elsewhere = IntendedAnnouncement(prefix="198.51.100.0/24", session="ix*")
    for name, why, told, meant, role, severity in (
        ("another neighbour's", "the filter lets all pass", (theirs,), (own,), "edge", "warning"),
        ("private ones of inside", "the same", (inner,), (own,), "edge", "warning"),
        (
            "public ones of inside",
            "the AS's own, of another edge",
            (_route("198.18.0.0/24", "rr"),),
            (own,),
            "edge",
            None,
        ),
        ("private ones of its own", "a static route", (_route("10.8.0.0/16"),), (own,), "edge", None),
        ("what is named, with more", "a customer", (theirs,), (own, wide), "edge", "info"),
        ("for a session of another name", "nothing is known", (theirs,), (elsewhere,), "edge", "info"),
        ("by a host for transit", "that is what it is for", (theirs,), (own,), "transit", "info"),
        ("by a route reflector", "the same", (inner,), (own,), "fra-rr2", "info"),
    ):
        tables = replace(host(*told).build(), intent=Intent(announce=meant))
        yield Example(name=f"not named: {name}", why=why, tables=tables, labels={"role": role},
                      fires=1 if severity else 0, severity=severity)  # type: ignore[arg-type]  # fmt: skip
    yield Example(name="private ones of inside", why="an inner network, or a leak", tables=host(inner).build(), fires=1,
                  severity="info")  # fmt: skip


def everything_examples(_route: Callable[..., BirdRoute]) -> Iterator[Example]:
    """``up1`` and ``peer``, of private ASes, are given each other's routes, and those of ``core``."""
    for name, why, tells, given, kind, fires in (
        ("and private networks of inside", "its filter lets all out", "198.18.1.0/24", "10.20.0.0/16", "internal", 1),
        ("and public networks of inside", "it may be ours", "198.18.1.0/24", "198.18.20.0/24", "internal", 0),
        ("and private networks of a third", "a fabric", "198.18.1.0/24", "10.20.0.0/16", "external", 0),
        ("and its neighbour tells private ones", "it is of this network", "10.1.0.0/16", "10.20.0.0/16", "internal", 0),
        ("and its neighbour tells nothing", "nobody knows what it is", None, "10.20.0.0/16", "internal", 0),
        (
            "and its neighbour tells a default route",
            "an enterprise's provider",
            "0.0.0.0/0",
            "10.20.0.0/16",
            "internal",
            0,
        ),
    ):
        host = BirdHost().bgp("up1", neighbor_as=65100).bgp("peer", neighbor_as=65200, neighbor_address="192.0.2.9")
        host.bgp(
            "core", neighbor_as=65001 if kind == "internal" else 65300, local_as=65001, neighbor_address="10.0.0.9"
        )
        host.exports("up1", routes=(_route(), _route("198.18.2.0/24", "peer"), _route(given, "core")))
        told = () if tells is None else (_route(tells, "up1"),)
        host.exports("peer", routes=(_route(), *told, _route(given, "core"), _route("198.18.2.0/24", "peer")))
        says = ("10.20.0.0/16", "its neighbour tells public ones alone") if fires else ()
        yield Example(
            name=f"another's routes, {name}",
            why=why,
            tables=host.build(),
            fires=2,
            severity="warning" if fires else "info",
            says=says,
        )
    branch = BirdHost().bgp("up1", neighbor_as=65100).bgp("peer", neighbor_as=65200, neighbor_address="192.0.2.9")
    branch.bgp("core", neighbor_as=65001, local_as=65001, neighbor_address="10.0.0.9")
    branch.exports("up1", routes=(_route(), _route("198.18.2.0/24", "peer"), _route("10.20.0.0/16", "core")))
    branch.exports("peer", routes=(_route(), _route("198.18.1.0/24", "up1")))
    yield Example(name="a branch is told everything, its provider what is public", why="an organisation's own routers",
                  tables=branch.build(), fires=2, severity="info")  # fmt: skip
