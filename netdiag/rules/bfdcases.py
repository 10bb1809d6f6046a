"""Examples of bgp-bfd-down: this host's own filter stops the packets of BFD. Pure; nothing can fail."""

from collections.abc import Iterator
from typing import Any

from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_nft import iifname, port, rule, verdict
from netdiag.rules.build_talks import ACCEPT, DROP, at_hook, bgp_host
from netdiag.rules.shape import Example

ONE_HOP = "external AS4"
MULTIHOP = "external multihop AS4"


def filtered_examples() -> Iterator[Example]:
    """Rules at hooks, and BFD and BGP in each state."""
    for hook, source, number, session, stops in (
        ("input", False, 3784, ONE_HOP, True),
        ("output", False, 3784, ONE_HOP, True),
        ("input", False, 4784, MULTIHOP, True),
        ("input", True, 3784, ONE_HOP, False),  # the port that it is sent from is another
        ("input", False, 4784, ONE_HOP, False),
        ("input", False, 3784, MULTIHOP, False),
    ):
        for is_ in ("Down", "Init", "Up", "AdminDown"):
            host = bgp_host(True, session=session, since="11:59:00.000").bfd(state=is_, since="11:59:58.000")
            host.nft(at_hook(hook, rule(port(IPPROTO_UDP, number, source=source), DROP)))
            told: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "certain"}
            yield Example(
                name=f"own filter: BFD {is_}, {session}, {hook} {number} {source}",
                why="each side sends to that port",
                tables=host.build(),
                **(told if stops and is_ in ("Down", "Init") else {}),
            )
    line = "nft 'insert rule inet filter input udp dport 3784 accept'"
    shut = at_hook("input", rule(port(IPPROTO_UDP, 3784), DROP))

    def case(name: str, why: str, host: BirdHost, *tables: Any, **more: Any) -> Example:
        return Example(name=f"own filter: {name}", why=why, tables=host.nft(*tables).build(), **more)

    standing = bgp_host(True).bfd(state="Down", since="11:59:58.000")
    says = ("which is Down and cannot come up: rule 2 of inet filter input (udp dport 3784 drop) stops its", line)
    yield case("what BFD lacks", "one port, one way", standing, shut, fires=1, says=says)
    for is_now in ("Down", None):
        down = bgp_host(last_error="Error: BFD session down")
        down.bfd(state=is_now) if is_now else None
        told_ = ("was taken down by BFD; ", "stops its packets", f"{line}; birdc restart up1")
        yield case(f"it took BGP down, BFD {is_now}", "the same", down, shut, fires=1, severity="critical", says=told_)
    reset: dict[str, Any] = {"last_error": "Received: Cease", "since": "11:30:00.100"}
    both = bgp_host(**reset).bfd(state="Down", since="11:30:00.000")
    yield case("BGP went down with it", "nobody says why", both, shut, fires=1, confidence="likely")
    back = bgp_host(last_error="Error: BFD session down").bfd(state="Up")
    yield case("BFD is back", "nothing stops it", back, shut, fires=1, says=("restart up1  # after letting",))
    other = bgp_host(last_error="Socket: Connection refused").bfd(state="Down")
    yield case("BGP is down for another reason", "that is to be mended first", other, shut)
    far: dict[str, Any] = {"neighbor_address": "198.51.100.9", "session": MULTIHOP}
    all_, some = at_hook("input", policy="drop"), at_hook("input", rule(iifname("eth1"), ACCEPT), policy="drop")
    for ruleset, fires in ((all_, 1), (some, 0)):
        host = bgp_host(True, **far).bfd("198.51.100.9", state="Down", since="11:59:58.000")
        host.link("eth1").address("eth1", "203.0.113.2/24")
        host.route("198.51.100.0/24", hops=[host.hop("eth0", "192.0.2.1"), host.hop("eth1", "203.0.113.1")])
        name = f"a neighbour by two ways, {'both' if fires else 'one of them'} closed"
        yield case(name, "whichever the packets come by", host, ruleset, fires=fires)
    astray = bgp_host(True, neighbor_address="198.51.100.9").bfd("198.51.100.9", state="Down", since="11:59:58.000")
    yield case("without a way", "another fault", astray, all_)
    drop = at_hook("input", rule(port(IPPROTO_UDP, 3784), verdict("drop")))
    none = bgp_host(True).nft(drop)
    yield Example(name="own filter: no BFD at all", why="nobody asked for it", tables=none.build())
