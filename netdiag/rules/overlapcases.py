"""Examples of one subnet on two interfaces, for overlap-subnet-two-ifaces. Nothing can fail."""

from collections.abc import Iterator

from netdiag.model.address import IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def equal_and_lost() -> Iterator[Example]:
    """Different metrics, and the interface with the better one leads elsewhere."""

    def host(failed: str = "192.0.2.9", heard: str = "192.0.2.9", state: str = "stale") -> HostBuilder:
        made = HostBuilder().link("eth0").link("eth1").address("eth1", "192.0.2.77/24")
        made.address("eth0", "192.0.2.10/24", flags=IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE)
        made.route("192.0.2.0/24", dev="eth0", protocol=2, scope=253, priority=50)
        made.neighbour(failed, dev="eth1", state="failed")
        return made.neighbour(heard, dev="eth0", state=state)

    yield _case("heard behind the one, silent behind the other", "packets leave by the wrong one", host(), 1)
    yield _case("another one heard", "on one link it would be heard behind both", host(heard="192.0.2.1"), 1)
    yield _case("none of the subnet heard", "it may be off", host(heard="10.9.9.9"))
    yield _case("none of the subnet asked", "nothing is lost so far", host(failed="10.9.9.9"))
    yield _case("written down", "nobody heard it", host(state="permanent"))
    both = host().neighbour("192.0.2.1", dev="eth1", state="reachable")
    yield _case("another host answers there", "one link: that one is off", both)
    other = host().neighbour("10.9.9.9", dev="eth1", state="reachable")
    yield _case("another network's host answers there", "it says nothing of this subnet", other, 1)


def equal_and_meant() -> Iterator[Example]:
    """Somebody wanted it so."""

    def cards(one: str = "192.0.2.1/24", other: str = "192.0.2.2/24") -> HostBuilder:
        return HostBuilder().link("eth0").link("eth1").address("eth0", one).address("eth1", other)

    host = HostBuilder().link("eth0").link("wlan0").address("eth0", "192.0.2.1/24")
    yield _case(
        "cable and radio with different metrics",
        "somebody said which one to prefer",
        host.route("192.0.2.0/24", dev="wlan0", protocol=2, scope=253, priority=600),
    )
    host = cards().rule(100, src="192.0.2.1", src_len=32, table=100).rule(101, src="192.0.2.2", src_len=32, table=101)
    yield _case(
        "two cards with a table each",
        "each address sends by its own card",
        host.route("192.0.2.0/24", dev="eth0", table=100).route("192.0.2.0/24", dev="eth1", table=101),
    )
    host = cards().rule(101, src="192.0.2.2", src_len=32, table=101)
    yield _case(
        "the second card has a table",
        "that is enough: the first one wins in table main",
        host.route("192.0.2.0/24", dev="eth1", table=101),
    )
    yield _case(
        "the second card is routed by rule",
        "policy rules make a router of it",
        cards().rule(100, table=100, oif="eth1"),
    )
    host = cards().sysctl("net.ipv4.conf.all.arp_ignore", 1)
    for ifname in ("eth0", "eth1"):
        host.sysctl(f"net.ipv4.conf.{ifname}.arp_announce", 2)
    yield _case("ARP bound to the card that has the address", "storage networks over two cards are built so", host)
    host = HostBuilder().link("eth0").link("eth1")
    yield _case(
        "a prefix announced to two cards",
        "routers announce it to whoever listens; IPv6 answers for an address only where it is",
        host.address("eth0", "2001:db8::1/64", valid_lft=3600).address("eth1", "2001:db8::2/64", proto=2),
    )
    yield _case("the same address twice", "that is another rule's affair", cards("192.0.2.1/24", "192.0.2.1/24"))
    pair = HostBuilder().link("v0", kind="veth", link=3).link("v1", kind="veth", link=2)
    yield _case("both ends of a cable", "one wire", pair.address("v0", "192.0.2.1/24").address("v1", "192.0.2.2/24"))
