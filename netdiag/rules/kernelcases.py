"""Examples of bgp-kernel-export-none: hosts with a default route, and with a second family beside.

Code, not data: nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from netdiag.model.bird import BirdRoute, UpdateCounts
from netdiag.model.finding import subject
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example


def ways_told() -> Iterator[Example]:
    """A default route, and a neighbour behind another interface or the same."""

    def two(
        neighbour: str, forward: int = 1, told: Any = None, dark: bool = False, wide: str = "default", **fields: Any
    ) -> Any:
        session = channel(**({"imported": 5, "preferred": 5} | (told or {})))
        host: Any = BirdHost().bgp("up1", neighbor_address=neighbour, channels=(session,), **fields)
        host.protocol("k4", "Kernel", channels=(channel(exported=0, output_filter="REJECT"),))
        host.link("eth0", carrier=not dark).link("eth1").address("eth1", "198.51.100.2/24")
        host.address("eth0", "192.0.2.2/24").address("eth1", "2001:db8:1::2/64")
        host.route("fe80::/64", dev="eth0").route("fe80::/64", dev="eth1").route(wide, via="192.0.2.1", dev="eth0")
        host.route("203.0.113.0/24", type="unreachable").sysctl("net.ipv4.ip_forward", forward)
        if neighbour == "198.51.100.1":
            host.route("default", via="198.51.100.1", dev="eth1", table=100)
            host.rule(100, src="198.51.100.2", src_len=32, table=100)
        return host

    def case(name: str, why: str, host: Any, severity: str) -> Example:
        told = ("by eth0: what was told behind eth1 goes there",) if severity == "warning" else ()
        return Example(name=name, why=why, tables=host.build(), fires=1, severity=severity, says=told)  # type: ignore[arg-type]

    mute = {"output_filter": "REJECT", "exported": 0}
    far = "198.51.100.1"
    for name, why, host, severity in (
        ("told behind another uplink", "the default route leads elsewhere", two(far), "warning"),
        ("told behind another uplink, IPv6 session", "what counts is where it is", two("2001:db8:1::1"), "warning"),
        ("told by a link-local one there", "its interface is told", two("fe80::1", neighbor_ifname="eth1"), "warning"),
        ("told by a link-local one here", "the same uplink", two("fe80::1", neighbor_ifname="eth0"), "info"),
        ("told there by one of the own AS", "its way on is not known", two(far, neighbor_as=65001), "info"),
        ("told behind the same uplink", "they would change nothing", two("192.0.2.1"), "info"),
        ("told behind another uplink, does not forward", "it only announces", two(far, 0), "info"),
        ("told to a collector, whose uplink is dark", "one network", two(far, told=mute, dark=True), "info"),
        ("told there, and no default route", "nothing leaves", two(far, wide="10.0.0.0/8"), "critical"),
        ("told from nowhere", "no way is known", two("203.0.113.1"), "info"),
    ):
        yield case(name, why, host, severity)
    for name, why, fields, dev, severity in (
        ("a service leaves there", "announced", {"src": "203.0.113.0", "src_len": 24}, "lo", "info"),
        ("a service on a dummy", "likewise", {"src": "203.0.113.9", "src_len": 24}, "dm0", "info"),
        ("a service leaves elsewhere", "not there", {"src": "203.0.113.0", "src_len": 24, "table": 9}, "lo", "warning"),
        ("a service of IPv6", "not these routes", {"family": "inet6", "src": "2001:db8:7::", "src_len": 48}, "lo",
         "warning"),
        ("what comes in by an interface", "no service", {"iif": "eth1"}, "lo", "warning"),
    ):  # fmt: skip
        host = two(far).link("dm0", kind="dummy").address(dev, "203.0.113.7/32").address("lo", "2001:db8:7::7/128")
        host.route("default", via="192.0.2.1", dev="eth0", table=9)
        yield case(f"told behind another uplink, {name}", why, host.rule(90, **({"table": 100} | fields)), severity)


def of_two_families() -> Iterator[Example]:
    """A default route of IPv4, none of BIRD's in the kernel, and a second family beside it."""

    def host(taker: str = "ipv6", forward: int = 1, exported: int = 3, learned: int = 2, **fields: Any) -> Any:
        four, six = channel(imported=learned, preferred=learned, table="master4"), channel(name="ipv6", table="master6")
        made: Any = BirdHost().bgp(
            "up1", channels=(four, msgspec.structs.replace(six, imported=3, preferred=3)), **fields
        )
        for name, table in (("ipv4", "master4"), ("ipv6", "master6")):
            out = {"exported": exported, "output_filter": "ACCEPT"} if name == taker else {"exported": 0}
            made.protocol(f"k{name[3:]}", "Kernel", channels=(channel(**{"name": name, "table": table, **out}),))  # type: ignore[arg-type]
        made.link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
        made.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
        return made.sysctl("net.ipv4.ip_forward", forward).sysctl("net.ipv6.conf.all.forwarding", forward)

    def case(name: str, why: str, made: Any, **more: Any) -> Example:
        return Example(name=name, why=why, tables=made.build(), **more)

    warn: dict[str, Any] = {"severity": "warning", "confidence": "likely", "fires": 1}
    yield case("IPv6 alone is given", "the other was forgotten", host(), subject=subject("bird-protocol", name="k4"),
               **warn)  # fmt: skip
    yield case("IPv4 alone is given", "the other way round", host("ipv4"), **warn)
    yield case("IPv6 is given, one route of IPv4 learnt", "the default", host(learned=1), fires=1, severity="info")
    for name, why, net, table, protocol, severity in (
        ("a prefix", "others are told it", "198.51.100.0/24", "master4", "up1", "warning"),
        ("a default", "as is usual", "0.0.0.0/0", "master4", "up1", "info"),
        ("a prefix of another table", "not this one", "198.51.100.0/24", "t9", "up1", "info"),
        ("a static prefix", "no session brought it", "198.51.100.0/24", "master4", "s", "info"),
    ):
        told = BirdRoute(net=net, table=table, protocol=protocol)
        made = host(learned=1).exports("up2", routes=(told,)).exports("up3")
        yield case(f"IPv6 is given, one route of IPv4 learnt, {name}", why, made, fires=1, severity=severity)
    yield case("IPv6 alone, not forwarding", "it may only announce IPv4", host(forward=0), fires=1, severity="info")
    inner: dict[str, Any] = {"session": "internal route-reflector AS4", "neighbor_as": 65001}
    yield case("IPv6 is given, by a reflector", "it need not know IPv4 itself", host(**inner), fires=1, severity="info")
    refused = host().exports("k6", routes=(BirdRoute(net="2001:db8:1::/48", protocol="static1"),))
    yield case("of IPv6 what is static is given", "neither is what BGP brings", refused, fires=2, severity="info")
    yield case("neither is given", "a collector, as it seems", host("none"), fires=2, severity="info")


def of_one_run() -> Iterator[Example]:
    """A Kernel protocol that gives none by now, on a host with a default route, and what it gave since BIRD runs."""
    gave, never = UpdateCounts(received=4, accepted=4), UpdateCounts(received=4, accepted=0, filtered=4)
    warn: dict[str, Any] = {
        "severity": "warning",
        "confidence": "likely",
        "says": ("and it was given some since BIRD runs",),
    }
    info: dict[str, Any] = {"severity": "info", "confidence": "possible"}
    for name, why, state, fields, expected in (
        ("it gave some", "its export was another", "up", {"export_updates": gave}, warn),
        ("it never gave any", "a collector", "up", {"export_updates": never}, info),
        ("counts not told", "nothing is known", "up", {"export_updates": None}, info),
        ("its filter takes others", "those may have gone", "up", {"export_updates": gave, "output_filter": "f"}, info),
        ("it gave some and is off", "somebody switched it off", "down", {"export_updates": gave}, info),
    ):
        told: dict[str, Any] = {"exported": 0, "output_filter": "REJECT"} | fields
        made: Any = BirdHost().bgp("up1", channels=(channel(imported=4, preferred=4),))
        made.protocol("k4", "Kernel", state=state, channels=(channel(**told),))
        made.link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        yield Example(name=f"with a default route, {name}", why=why, tables=made.build(), fires=1, **expected)
