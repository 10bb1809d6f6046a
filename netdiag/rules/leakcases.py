"""Examples of routes that a BGP session should not be given: everything, and what was kept back before. Pure; nothing
can fail."""

from collections.abc import Callable, Iterator

from netdiag.model.bird import BirdRoute
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
