"""Examples of gateways: those that nobody asks for, because ARP is off, and those that somebody wrote down; and of
neighbours on a bridge that somebody wrote down. Nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example

FORMER, HAVING = "02:00:00:00:00:01", "02:00:00:00:00:02"
OWN, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
NOARP, PLAIN = 0x110C3, 0x11043
"""Flags of a link that is up, with IFF_NOARP and without."""


def unasked() -> Iterator[Example]:
    """The entry of the gateway is of state NOARP."""

    def host(lladdr: str = OWN, gateway: str = "192.0.2.1", **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", address=OWN, **({"flags": NOARP} | fields))
        made.address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
        made.route("default", via=gateway, dev="eth0")
        return made.neighbour(gateway, dev="eth0", state="noarp", lladdr=lladdr, updated=9000.0)

    for name, why, made, fires in (
        ("ARP is off", "frames bear this host's own address", host(), 1),
        ("ARP is off, IPv6", "the same", host(gateway="2001:db8::1"), 1),
        ("ARP is off on a bridge", "the same", host(kind="bridge"), 1),
        ("another address is given", "somebody wrote it down", host(OTHER), 0),
        ("ARP is on by now", "the entry is of before", host(flags=PLAIN), 0),
        ("ipvlan", "its frames need no hardware address", host(kind="ipvlan"), 0),
        ("no Ethernet", "a tunnel has none", host(type=65534), 0),
    ):
        says = ("is not asked for, because ARP is off on eth0",) if fires else ()
        severity: Any = "critical" if fires else None
        yield Example(name=name, why=why, tables=made.build(), fires=fires, severity=severity, says=says)


def written_down() -> Iterator[Example]:
    """For neigh-permanent-stale-mac: the IPv4 gateway was written down, the IPv6 gateway was heard."""

    def host(
        lladdr: str = OTHER, heard: str = OWN, state: str = "stale", six: str = "2001:db8::1", age: float = 2.0
    ) -> Any:
        made = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
        made.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
        made.neighbour("192.0.2.1", dev="eth0", state="permanent", lladdr=lladdr, updated=age)
        return made.neighbour(six, dev="eth0", state=state, lladdr=heard)

    other = host().neighbour("192.0.2.3", dev="eth0", state="stale", lladdr=OTHER)
    for name, why, made, fires in (
        ("beside the other family's", "mostly one router", host(), 1),
        ("the same as the other family's", "as it should be", host(OWN), 0),
        ("beside no gateway", "another machine", host(six="2001:db8::7"), 0),
        ("nobody heard", "nothing to compare with", host(state="failed"), 0),
        ("beside a shared one", "each family has its own", host(heard="00:00:5e:00:02:01"), 0),
        ("confirmed since", "it answers", host(age=2.1), 0),
        ("whose address was heard", "another router on the link", other, 0),
    ):
        more: dict[str, Any] = {"severity": "warning", "confidence": "likely"} if fires else {}
        yield Example(name=f"gateway, {name}", why=why, tables=made.build(), fires=fires, **more)


def own_address() -> Iterator[Example]:
    """For neigh-permanent-stale-mac: a neighbour was written down with this host's own hardware address."""

    def host(lladdr: str = OWN, child: str | None = None, **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", **({"address": OWN} | fields)).address("eth0", "192.0.2.2/24")
        if child:
            made.link("child", kind=child, link=made.ifindex("eth0"))
        return made.neighbour("192.0.2.7", dev="eth0", state="permanent", lladdr=lladdr)

    for name, why, made, fires in (
        ("its own address", "frames for it go nowhere", host(), 1),
        ("its own address, with a VLAN on it", "that has it as well, and is no host", host(child="vlan"), 1),
        ("its own address, on a bond", "a card as well", host(kind="bond"), 1),
        ("its own address, shared by ipvlan", "a container may have it", host(child="ipvlan"), 0),
        ("its own address, on an ipvlan", "its neighbours have the same", host(kind="ipvlan"), 0),
        ("another address", "who has it cannot be known", host(OTHER), 0),
    ):
        says = ("that is the address of eth0 itself: what is for it is lost",) if fires else ()
        more: dict[str, Any] = {"severity": "critical", "confidence": "certain"} if fires else {}
        yield Example(name=name, why=why, tables=made.build(), fires=fires, says=says, **more)


def on_bridge() -> Iterator[Example]:
    """For neigh-permanent-stale-mac: a neighbour on a bridge, two containers at the ends of its cables."""

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, **more)

    def held(lladdr: str = FORMER, kind: str = "bridge", **far: Any) -> HostBuilder:
        host = HostBuilder().link("br0", kind=kind, address="02:00:00:00:02:00")
        host.link("v0", kind="veth", master="br0", address="02:00:00:00:01:00").peer("v0", netnsid=0, address=HAVING)
        host.link("v1", kind="veth", master="br0", address="02:00:00:00:01:01")
        host.peer("v1", netnsid=1, **({"address": "02:00:00:00:00:03"} | far))
        return host.neighbour("2001:db8:88::11", dev="br0", state="permanent", lladdr=lladdr)

    says = ("no cable of br0 ends in that hardware address", "ip -6 neigh delete 2001:db8:88::11 dev br0")
    yield case("container made anew", "no end of a cable has it", held(), 1, says=says, confidence="certain")
    yield case("a cluster's", "all take a multicast address", held("03:bf:0a:00:00:05"))
    yield case("a bond of cables", "who it leads to is chosen by a protocol", held(kind="bond"))
    yield case("container's", "pinned on purpose", held("02:00:00:00:00:03"))
    yield case("container that is down", "its address is known all the same", held(FORMER, address=FORMER, flags=0))
    yield case("this host's end", "it talks to itself", held("02:00:00:00:01:01"))
    yield case("a switch behind a container's cable", "many hosts are behind it", held(master=9))
    yield case("a macvlan in a container", "it has an address more", held(promiscuity=1))
    yield case("a container of unknown address", "it may be its", held(address=None))
    yield case("beside a card", "who is on the wire cannot be known", held().link("eth0", master="br0"))
    yield case("beside a tap", "nor can a guest be asked", held().tap("tap0", master="br0"))
    idle = HostBuilder().link("br0", kind="bridge")
    idle.neighbour("10.0.0.9", dev="br0", state="permanent", lladdr=FORMER)
    yield case("a bridge without ports", "nobody is there yet", idle)
