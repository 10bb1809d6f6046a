"""Examples of announced addresses that clients call in vain. Pure; nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.model.bird import BirdRoute
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.shape import Example


def called_examples(own: str) -> Iterator[Example]:
    """A program that waits on all addresses, and clients of one announced address (``own``)."""

    def host(
        clients: int,
        *,
        proto: int = 6,
        port: int = 443,
        listens: str = "",
        back: str = "",
        other: tuple[int, int] = (0, 0),
        **fields: Any,
    ) -> Any:
        made: Any = BirdHost().bgp("up1")
        made.exports("up1", routes=(BirdRoute(net=f"{own}/32", protocol="s1", best=True),))
        made.link("eth0").address("eth0", "192.0.2.2/24").address("lo", f"{own}/32").socket(src="0.0.0.0", sport=9100)
        if listens:
            made.socket(src=listens, sport=port, protocol=proto)
        given: dict[str, Any] = ({"tcp_state": "close"} if proto == 6 else {"status": 8}) | fields
        for number in range(clients):
            far = f"198.51.100.{number + 1}"
            made.conntrack(proto, f"{far} 4000 {own} {port}", f"{back or own} {port} {far} 4000", **given)
        for number in range(other[1]):
            far = f"198.51.100.{number + 1}"
            made.conntrack(proto, f"{far} 4001 {own} {other[0]}", f"{own} {other[0]} {far} 4001", **given)
        return made

    def again(made: Any) -> Any:
        for client in range(7):
            made.conntrack(6, f"198.51.100.1 {client} {own} 443", f"{own} 443 198.51.100.1 {client}", tcp_state="close")
        return made

    says = ("clients call its port 443 in vain",)
    for name, why, made, fires in (
        ("eight clients", "no scan is like that", host(8), 1),
        ("seven clients", "it may be scans", host(7), 0),
        ("datagrams without an answer", "the same", host(8, proto=17), 1),
        ("datagrams that are answered", "something answers", host(8, proto=17, status=0xE), 0),
        ("calls that stand", "something answers", host(8, tcp_state="established"), 0),
        ("calls that are sent on", "somebody else serves it", host(8, back="10.0.0.9"), 0),
        ("one client's eight calls", "it may be a scan", again(host(1)), 0),
        ("of two ports one by more", "the service is the one", host(9, other=(8443, 8)), 1),
        ("of two ports both by as many", "one is enough to tell", host(9, other=(8443, 9)), 1),
        ("of two ports another by more", "the one is called by scans", host(9, other=(80, 8)), 1),
        ("calls of SSH", "no service", host(8, port=22), 0),
        ("a listener on that address", "it is called at other ports too", host(8, listens=own), 0),
        ("a listener on all", "the same", host(8, listens="0.0.0.0"), 0),
        ("a port that is served for all", "calls may be reset at their end", host(8, port=9100), 0),
    ):
        yield Example(
            name=f"called in vain: {name}",
            why=why,
            tables=made.build(),
            fires=fires,
            severity="warning" if fires else None,
            says=says if fires else (),
        )
    like = "203.0.113.77"
    pair = host(8, port=8443).address("lo", f"{like}/32").socket(src=like, sport=443)
    routes = tuple(BirdRoute(net=f"{one}/32", protocol="s1", best=True) for one in (own, like))
    yield Example(
        name="called in vain, while one like it is served",
        why="one is no pattern, and the calls tell more",
        tables=pair.exports("up1", routes=routes).build(),
        fires=1,
        severity="warning",
        says=("clients call its port 8443 in vain",),
    )
