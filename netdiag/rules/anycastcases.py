"""Examples of services whose addresses are announced to nobody. Pure; nothing can fail."""

from collections.abc import Callable, Iterator
from typing import Any

from netdiag.model.bird import BirdRoute
from netdiag.model.finding import subject
from netdiag.model.intent import IntendedAnnouncement
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example

P, Q = "203.0.113.7/32", "203.0.113.8/32"


def service_examples(_case: Callable[..., Example]) -> Iterator[Example]:
    """Edges that announce no address of their lo, and a service on one; ``_case`` makes an example of a host."""

    def edge(*own: str, port: int = 443, src: str = "203.0.113.7", maker: str = "Direct", **session: Any) -> BirdHost:
        host = BirdHost().protocol("d1", maker).bgp("up_1", **session)
        host.exports("up_1", routes=(BirdRoute(net="192.0.2.0/24", protocol="d1", best=True),))
        for prefix in own or (P,):
            host.address("lo", prefix)
        if src:
            host.socket(src=src, sport=port)
        return host

    told: dict[str, Any] = {"fires": 1, "subject": subject("prefix", prefix=P), "severity": "warning", "unjudged": True}
    told["confidence"] = "likely"
    says = ("it is on lo, port 443 listens on it, and BIRD's direct protocol, or a filter, leaves it out",)
    yield _case("direct protocol without lo", "the service is there, nobody is led to it", edge(), says=says, **told)
    two = edge(P, Q).socket(src="203.0.113.8", sport=53).build()
    yield Example(name="two services", why="each is told", tables=two, fires=2, unjudged=True)
    none = channel(output_filter="REJECT")
    for name, host in (
        ("no direct protocol", edge(maker="Static")),
        ("no service", edge(src="")),
        ("service on any address", edge(src="0.0.0.0")),
        ("service on another address", edge(src="203.0.113.9")),
        ("an inner address", edge("10.9.9.9/32", src="10.9.9.9")),
        ("inside the AS", edge(neighbor_as=65001)),
        ("export none", edge(channels=(none,))),
        ("one list unread", edge().bgp("up_2").exports("up_2", routes=None, count=9000)),
    ):
        yield _case(f"a service, {name}", "nobody can tell that it should be", host, unjudged=True)
    yield from _of_all_addresses(_case)
    far = BirdRoute(net="2001:db8::7/128", protocol="d1", best=True)
    other = edge(P, far.net).bgp("up_6").exports("up_6", routes=(far,))
    yield _case("a service, its IPv6 address is announced", "families are apart", other)
    six = "2001:db8:7::7/128"

    def dual(*, ports: tuple[int, ...] = (443,), nets: tuple[str, ...] = (P,), **fields: Any) -> BirdHost:
        given: dict[str, Any] = {"name": "ipv6", "exported": 0} | fields
        channels = (channel(exported=1), channel(**given))
        host = BirdHost().protocol("s1", "Static").bgp("up_1", channels=channels)
        host.exports("up_1", routes=tuple(BirdRoute(net=net, protocol="s1", best=True) for net in nets))
        host.address("lo", P).address("lo", six).socket(src="203.0.113.7", sport=443)
        for port in ports:
            host.socket(src="2001:db8:7::7", sport=port)
        return host

    says = ("it is on lo, port 443 listens on it, and on 203.0.113.7/32, which is announced",)
    lone: dict[str, Any] = {"fires": 1, "subject": subject("prefix", prefix=six), "severity": "warning"}
    yield _case(
        "a service of both families, one announced", "half of its clients are elsewhere", dual(), says=says, **lone
    )
    for name, host in (
        ("another port", dual(ports=(53,))),
        ("one port more", dual(ports=(443, 53))),
        ("no port", dual(ports=())),
        ("an aggregate", dual(nets=(P, "2001:db8:7::/48"))),
        ("no session for that family", dual(state="DOWN")),
        ("export none", dual(output_filter="REJECT")),
    ):
        yield _case(f"a service of both families, {name}", "it may be meant", host)
    alone = dual(ports=(53,)).protocol("d1", "Direct")
    yield _case("a direct protocol, and nothing of the family", "a filter refuses it", alone, **lone)
    wide = dual(ports=(53,), nets=(P, "2001:db8::/48")).protocol("d1", "Direct")
    yield _case("a direct protocol, and others of the family", "it may be meant", wide)
    named = BirdHost().daemon(router_id="203.0.113.7").protocol("d1", "Direct").bgp("up_1")
    named.exports("up_1", routes=()).address("lo", P).socket(src="203.0.113.7", sport=443)
    yield Example(name="a router id", why="the router's own", tables=named.build(), unjudged=True)
    covered = edge().exports("up_1", routes=())
    covered.bgp("up_2").exports("up_2", routes=(BirdRoute(net="203.0.113.0/24", protocol="d1", best=True),))
    yield _case("an aggregate leads here", "routers find it", covered, unjudged=True)
    yield from _of_statics(_case, edge)
    yield from _on_dummies(_case)


def _of_all_addresses(_case: Callable[..., Example]) -> Iterator[Example]:
    """A service on all addresses, and a direct protocol that names other interfaces than lo."""

    def host(
        *, port: int = 443, state: str = "up", taken: int | None = 0, own: str = P, name: str = "ipv4"
    ) -> BirdHost:
        made = BirdHost().protocol("d1", "Direct", state=state, channels=(channel(name=name, imported=taken),))
        made.bgp("up_1", channels=(channel(exported=0, output_filter="out"),)).exports("up_1", routes=())
        made.address("lo", own).socket(src="0.0.0.0", sport=port)
        return made

    says = ("it is on lo, port 443 listens on it", "direct protocol")
    for what, made, fires in (
        ("takes nothing", host(), 1),
        ("takes other networks", host(taken=2), 0),
        ("tells no numbers", host(taken=None), 0),
        ("is of the other family", host(name="ipv6"), 0),
        ("is off", host(state="down"), 0),
        ("takes nothing, a port of no public service", host(port=9100), 0),
        ("takes nothing, an inner address", host(own="10.9.9.9/32"), 0),
    ):
        why = "it names no interface that is here" if fires else "nobody can tell that it should be announced"
        yield _case(f"a service on all addresses, the direct protocol {what}", why, made, fires=fires, unjudged=True,
                    says=says if fires else ())  # fmt: skip


def _of_statics(_case: Callable[..., Example], edge: Callable[..., BirdHost]) -> Iterator[Example]:
    """No direct protocol; a static one has routes, and nobody is given them."""

    def host(*, made: int = 1, state: str = "up", kernel: Any = (), session: Any = (), name: str = "ipv4") -> BirdHost:
        up = BirdHost().protocol("any4", "Static", state=state, channels=(channel(name=name, imported=made),))
        up.bgp("up_1", channels=(channel(exported=0, output_filter="out"),)).protocol("k4", "Kernel")
        up.exports("up_1", routes=session).exports("k4", routes=kernel).address("lo", P)
        up.socket(src="203.0.113.7", sport=443)
        return up

    it, far = (BirdRoute(net=P, protocol="any4", best=True),), (BirdRoute(net="0.0.0.0/0", protocol="up_1", best=True),)
    says = ("BIRD's static protocol, or a filter, leaves it out",)
    for name, made, fires in (
        ("go to nobody", host(kernel=far), 1),
        ("go to the kernel", host(kernel=it), 0),
        ("are none", host(made=0), 0),
        ("are of the other family", host(name="ipv6"), 0),
        ("are of a protocol that is off", host(state="start"), 0),
        ("go to nobody, beside OSPF", host(kernel=far).protocol("o1", "OSPF"), 0),
        ("go nobody knows where", host(kernel=None), 0),
    ):
        why = "somebody wrote them for something"
        yield _case(f"a service, and static routes that {name}", why, made, fires=fires, unjudged=True,
                    says=says if fires else ())  # fmt: skip


def _on_dummies(_case: Callable[..., Example]) -> Iterator[Example]:
    """Addresses of a service on a dummy interface, of which one is announced."""
    kinds = ((True, "dummy", 1), (False, "dummy", 0), (True, "veth", 0), (True, "bridge", 1), (False, "bridge", 0))
    for up, kind, fires in kinds:
        host: Any = BirdHost().bgp("up_1").exports("up_1", routes=(BirdRoute(net=Q, best=True),))
        host.link("svc0", kind=kind, up=up).address("svc0", P).address("svc0", Q)
        name = f"two addresses on a {kind} that is {'up' if up else 'down'}, one announced"
        says = ("it is on svc0, as 203.0.113.8/32",) if fires else ()
        yield _case(name, "as those of lo", host, fires=fires, unjudged=not fires, says=says)
    wired: Any = BirdHost().bgp("up_1").exports("up_1", routes=(BirdRoute(net=Q, best=True),))
    wired.link("svc0", kind="bridge").address("svc0", P).address("svc0", Q).link("v0", kind="veth", master="svc0")
    yield _case("two addresses on a bridge with a port, one announced", "a gateway's", wired, unjudged=True)
    old: Any = BirdHost().protocol("s1", "Static").protocol("drain", "Static", state="down").bgp("up_1")
    old.exports("up_1", routes=(BirdRoute(net=P, best=True), BirdRoute(net=Q, best=True))).address("lo", P).address(
        "lo", Q
    )
    for name, states, fires in (
        ("was off before", ("up", "down"), 1),
        ("is off since", ("down", "down"), 0),
        ("is on since", ("up", "up"), 1),
    ):
        now: Any = BirdHost().protocol("s1", "Static", state=states[0]).protocol("drain", "Static", state=states[1])
        now.bgp("up_1").exports("up_1", routes=(BirdRoute(net=Q, best=True),)).address("lo", P).address("lo", Q)
        why = "a protocol for days of maintenance" if fires else "drained by hand"
        yield _case(
            f"one of two since the baseline, and a protocol {name}", why, now, baseline=old.build(), fires=fires
        )


def meant_for_both(_case: Callable[..., Example]) -> Iterator[Example]:
    """Sessions of both families of which the intent speaks by one glob."""
    want = IntendedAnnouncement(prefix=P, session="up_*")
    told: dict[str, Any] = {"fires": 1, "subject": subject("prefix", prefix=P), "severity": "critical"}
    none, sessions = (
        channel(output_filter="REJECT"),
        {"4": channel(), "6": channel(name="ipv6"), "old": channel(name="main")},
    )
    for name, why, has, given, fires in (
        ("the other carries IPv6", "it cannot carry this one", ("4", "6"), "4", 0),
        ("the other is of BIRD 1.6", "its family is not known", ("4", "old"), "4", 1),
        ("IPv6 alone", "nothing can carry it", ("6",), "", 1),
        ("both lack it", "it is given to nobody", ("4", "6"), "", 1),
    ):
        host: Any = BirdHost()
        for word in has:
            routes = (BirdRoute(net=P, best=True),) if word == given else ()
            host.bgp(f"up_{word}", channels=(sessions[word],)).exports(f"up_{word}", routes=routes)
        host.address("lo", P)
        seen = told | {"severity": "warning" if given else "critical"} if fires else {}
        yield _case(f"for both families: {name}", why, host, want, **seen)
    shut: Any = BirdHost().bgp("up_4", channels=(none,)).exports("up_4", routes=()).address("lo", P)
    yield _case("export none, by the intent", "somebody said that it is to", shut, want, **told)
