"""Hosts with two uplinks for the examples of asym-rpfilter-strict-drop, and those about what a policy rule selects.

Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.model.finding import subject
from netdiag.model.link import Stats64
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.shape import Example

COUNTER = "TcpExt.IPReversePathFilter"


def two_uplinks(*, everywhere: int = 0, own: int = 1, **fields: int) -> HostBuilder:
    """Two uplinks; the default route is the first one's, table 101 holds that of the second."""
    host = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": own, **fields})
    host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").sysctl("net.ipv4.conf.all.rp_filter", everywhere)
    host.route("default", via="10.0.0.2", dev="eth0").route("default", via="10.1.0.2", dev="eth1", table=101)
    return host


def sampled(
    host: HostBuilder, drops: int, *, eth0: int = 0, eth1: int = 9, lo: int = 0, sent: tuple[int, int] = (0, 0)
) -> HostBuilder:
    """Two samples: packets that the filter dropped between them (five before), and what each interface received; what
    eth0 and eth1 sent."""

    def sample(count: int, **received: int) -> dict[str, object]:
        tx = dict(zip(("eth0", "eth1"), sent if received["eth0"] or received["eth1"] else (0, 0), strict=True))
        links = [
            host.link_counters(name, stats=Stats64(rx_packets=100 + more, tx_packets=tx.get(name, 0)))
            for name, more in received.items()
        ]
        return {"snmp": {COUNTER: 5 + count}, "links": tuple(links)}

    return host.counters(before=sample(0, eth0=0, eth1=0, lo=0), after=sample(drops, eth0=eth0, eth1=eth1, lo=lo))


def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    """One host."""
    return Example(name=name, why=why, tables=host.build(), fires=fires)


def received_examples() -> Iterator[Example]:
    """What each interface received, and what BGP brought by it."""
    yield from _bridged()

    def strict(host: HostBuilder) -> HostBuilder:
        for number in (0, 1):
            host.link(f"eth{number}", inet_conf={"rp_filter": 1}).address(f"eth{number}", f"10.{number}.0.1/24")
        return host.route("default", via="10.0.0.2", dev="eth0")

    for name, drops, first, second, fires in (
        ("born between the samples", 9, None, 9, 1),
        ("born between the samples, with fewer packets", 9, None, 8, 0),
        ("gone between the samples", 1, 100, None, 0),
    ):
        host, samples = strict(HostBuilder()), []
        for count, received in ((0, first), (drops, second)):
            rows = [host.link_counters("eth0", stats=Stats64(rx_packets=100))]
            if received is not None:
                rows.append(host.link_counters("eth1", stats=Stats64(rx_packets=received)))
            samples.append({"snmp": {COUNTER: 5 + count}, "links": tuple(rows)})
        tables = host.counters(before=samples[0], after=samples[1])
        yield case(f"eth1 {name}", "what it received is all that it has counted", tables, fires)

    beaten, equal = channel(exported=3, imported=2, preferred=1), channel(exported=3, imported=1, preferred=1)
    other = channel("ipv6", exported=3, imported=2, preferred=1)
    for name, channels, fires in (
        ("a route that is beaten", (channel(exported=3, imported=1, preferred=0),), 1),
        ("no routes", (channel(exported=3, imported=0, preferred=0),), 0),
        ("its own networks, and IPv6 that is beaten", (equal, other), 0),
    ):
        bird = BirdHost().bgp("up1", neighbor_address="10.1.0.2", channels=channels)
        yield case(f"BGP brings {name}", "is there another way?", sampled(strict(bird), 9, eth0=9), fires)
    two = BirdHost().bgp("up1", neighbor_address="10.1.0.2", channels=(equal,))
    two.bgp("up0", neighbor_address="10.0.0.2", channels=(beaten,))
    yield case("BGP at an exchange, and an uplink's", "the uplink's is beaten", sampled(strict(two), 9, eth0=9))


def selector_examples() -> Iterator[Example]:
    """A rule leads some packets out by the second uplink."""

    def one(name: str, why: str, fires: int, **rule: Any) -> Example:
        tables = two_uplinks().rule(100, table=101, **rule).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    yield one("bound socket", "its answers are not bound to anything", 1, oif="eth1")
    yield one("one user", "answers belong to uid 0", 1, uid_start=1000, uid_end=1000)
    yield one("user 0", "and a rule for uid 0 finds them", 0, uid_start=0, uid_end=0)
    yield one("one port", "the filter asks with the ports exchanged (seen on 6.18)", 0, ip_proto=6, dport_start=443)
    yield one("one destination", "the way back goes to that destination too", 0, dst="198.51.100.0", dst_len=24)
    yield one("all", "everything leaves by eth1, the answers are at home there", 0)
    yield one("own packets", "iif lo matches the way back as well", 0, iif="lo")
    yield one("all but a mark", "unmarked packets leave and come back by eth1", 0, fwmark=5, invert=True)
    for where in ("all", "eth1"):
        valid = two_uplinks().sysctl(f"net.ipv4.conf.{where}.src_valid_mark", 1).rule(100, table=101, fwmark=1)
        yield case(f"src_valid_mark on {where}", "the firewall may give the mark back", valid)
    valid = two_uplinks().sysctl("net.ipv4.conf.eth1.src_valid_mark", 1).rule(100, table=101, uid_start=7, uid_end=7)
    yield case("src_valid_mark without a mark", "it helps no user", valid, 1)
    for name, dst, fires in (("inside", "10.77.0.0", 1), ("outside", "172.16.0.0", 0)):
        narrow = two_uplinks().without_routes(table=101).route("10.0.0.0/8", via="10.1.0.2", dev="eth1", table=101)
        yield case(
            f"marked, to one destination {name} of the route",
            "only what both let pass leaves by eth1",
            narrow.rule(100, table=101, fwmark=1, dst=dst, dst_len=16),
            fires,
        )
    odd = two_uplinks().rule(100, table=101, fwmark=1, dst="198.51.100.9", dst_len=24)
    yield case("marked, to a destination with host bits", "the kernel keeps them", odd, 1)
    for name, selector in (
        ("of another's address", {"src": "10.1.0.7", "src_len": 32}),
        ("of one TOS", {"tos": 16}),
        ("of one interface", {"iif": "tap0"}),
    ):
        more: dict[str, Any] = {"table": 101} | selector
        before = sampled(two_uplinks().link("tap0").rule(100, **more), 0)
        yield case(f"a rule {name}, and drops before", "it says which packets leave there", before)
    guests = two_uplinks().link("tap0").address("tap0", "10.5.0.1/24").rule(100, table=101, iif="tap0")
    yield case("guests by interface", "answers to them leave by tap0: the rule matches", guests)
    sources = two_uplinks().link("tap0").address("tap0", "10.5.0.1/24").rule(100, table=101, src="10.5.0.0", src_len=24)
    yield case("guests by source", "the way back carries the guest's address", sources)
    routed = (
        two_uplinks().link("tap0").route("10.5.0.0/24", dev="tap0").rule(100, table=101, src="10.5.0.0", src_len=24)
    )
    yield case("routed guests by source", "the same without an address on the tap", routed)
    quick = HostBuilder().link("eth0", inet_conf={"rp_filter": 1}).link("wg0", kind="wireguard")
    quick.address("eth0", "10.0.0.1/24").address("wg0", "10.8.0.2/32").route("default", via="10.0.0.2", dev="eth0")
    quick.route("default", dev="wg0", table=51820).rule(32765, table=51820, fwmark=51820, invert=True)
    yield Example(
        name="full tunnel",
        why="the tunnel's own packets carry a mark, their answers come in by eth0 without one",
        tables=quick.build(),
        fires=1,
        subject=subject("link", ifname="eth0"),
        says=("rule 32766 (from all lookup main) sends by it with mark 0xca6c,",),
    )
    valid = quick.sysctl("net.ipv4.conf.all.src_valid_mark", 1)
    yield case("full tunnel with src_valid_mark", "as wg-quick sets it up", valid)


def address_examples() -> Iterator[Example]:
    """Which address of the host the packets are for."""
    for rules in (0, 1):
        own = two_uplinks().address("eth1", "10.1.0.5/24").without_routes(table=101)
        own.route("default", via="10.1.0.2", dev="eth1", table=101, prefsrc="10.1.0.5")
        own = own.rule(100, table=101, fwmark=1) if rules else own
        yield Example(
            name=f"the route's own source, {rules} rules",
            why="what is sent by it carries that address",
            tables=own.build(),
            fires=1,
            says=("to 10.1.0.5 from",),
        )
    late = HostBuilder().link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    late.link("eth1", inet_conf={"rp_filter": 1}).address("eth1", "2001:db8::1/64")
    late.address("eth1", "169.254.0.9/16", scope=253).route("default", via="10.1.0.2", dev="eth1", table=101)
    yield case("no address of its own", "nobody can ask for it there", late)
    marked = late.rule(100, table=101, fwmark=1)
    yield case("no address of its own, marked", "the source is unknown", marked)
    yield Example(
        name="other addresses before it",
        why="IPv6 and link-local ones are not meant",
        tables=marked.address("eth1", "10.1.0.1/24").build(),
        fires=1,
        says=("to 10.1.0.1 from",),
    )
    for name, more, drops, fires in (
        ("and a service on lo", ("lo", "203.0.113.7/32"), 9, 1),
        ("and a service on lo, no drops", ("lo", "203.0.113.7/32"), 0, 0),
        ("and no service", ("eth0", "203.0.113.7/32"), 9, 0),
        ("and an address of this host alone", ("lo", "127.0.0.9/8"), 9, 0),
    ):
        ruled = two_uplinks().rule(100, table=101, src="10.1.0.1", src_len=32)
        ruled.address(*more, scope=254 if more[1].startswith("127.") else 0)
        says = ("to 203.0.113.7 from",) if fires else ()
        yield Example(
            name=f"a rule for the own address {name}",
            why="it brings back the answers of 10.1.0.1 alone",
            tables=sampled(ruled, drops).build(),
            fires=fires,
            severity="warning" if fires else None,
            says=says,
        )


def _bridged() -> Iterator[Example]:
    """The second uplink is a bridge: with a card it is one, with guests alone their network. And gateways of IPv6."""
    for via, fires in (("fe80::9", 1), (None, 0)):
        host = HostBuilder().link("eth0", inet_conf={"rp_filter": 1}).link("eth1", inet_conf={"rp_filter": 1})
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
        host.route("0.0.0.0/0", via=via, dev="eth0")
        yield case(f"drops, and the default route is by {via}", "who is behind it", sampled(host, 9, eth1=9), fires)
    for port, standby, fires in ((None, False, 1), ("tun", False, 0), ("veth", False, 0), ("veth", True, 1)):
        host = HostBuilder().link("eth0", inet_conf={"rp_filter": 1})
        host.link("eth1", kind="bridge", inet_conf={"rp_filter": 1})
        host.link("port", kind=port, master="eth1", link_netnsid=0 if port == "veth" else None)
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        if standby:
            host.route("default", via="10.1.0.2", dev="eth1", priority=200)
        name = f"drops on a bridge with a {port or 'card'}" + (", and a standby default route by it" if standby else "")
        yield Example(name=name, why="who is behind it is told by its ports and by routes", fires=fires,
                        tables=sampled(host, 9, eth1=9).build(), severity="warning" if fires else None)  # fmt: skip


BEATEN = channel(exported=3, imported=2, preferred=1)
"""A channel that brought routes of which others beat one."""


def counter_examples() -> Iterator[Example]:
    """What the filter's counter tells, between the samples and before."""
    near = HostBuilder().link("eth0", inet_conf={"rp_filter": 1}).address("eth0", "192.0.2.2/24")
    near.link("eth1", inet_conf={"rp_filter": 1}).address("eth1", "198.51.100.2/24")
    yield Example(
        name="drops on a link whose own subnet passes",
        why="that its neighbours pass says nothing about who is reached over the default route",
        tables=sampled(near.route("default", via="192.0.2.1", dev="eth0"), 9).build(),
        fires=1,
        subject=subject("link", ifname="eth1"),
        severity="warning",
    )

    def server(base: HostBuilder | None = None, **received: Any) -> HostBuilder:
        host = (base or HostBuilder()).link("eth0", inet_conf={"rp_filter": 1})
        host.link("eth1", inet_conf={"rp_filter": 1})
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")
        return sampled(host.route("default", via="10.0.0.2", dev="eth0"), **received)

    yield Example(
        name="asymmetric neighbour",
        why="no route over eth1 speaks for it, but only eth1 received what was dropped",
        tables=server(drops=9, eth1=9).build(),
        fires=1,
        subject=subject("link", ifname="eth1"),
        severity="warning",
    )
    yield case("fewer received", "eth1 cannot have dropped ten", server(drops=10, eth1=9))
    yield case("both received", "spoofed packets on eth0 explain it as well", server(drops=9, eth0=9))
    for name, drops, first, second, sent, fires in (
        ("one answers, one does not", 9, 30, 9, (30, 0), 1),
        ("one answers, one hardly", 9, 30, 11, (22, 2), 1),
        ("the other has as many without an answer", 9, 30, 9, (21, 0), 0),
        ("this one received more", 9, 30, 12, (30, 0), 0),
        ("this one sent more", 9, 30, 9, (30, 3), 0),
        ("three drops", 3, 30, 3, (30, 0), 0),
        ("four drops", 4, 30, 4, (30, 0), 1),
    ):
        told = server(drops=drops, eth0=first, eth1=second, sent=sent)
        words: Any = {"severity": "warning", "says": ("eth1 drops packets", "answered none")} if fires else {}
        yield Example(
            name=f"both received, {name}", why="whose are unanswered", tables=told.build(), fires=fires, **words
        )
    for name, own, count, kind, fires in (
        ("five received", 1, 5, None, 1),
        ("four received", 1, 4, None, 0),
        ("five received, loose", 2, 5, None, 0),
        ("five received, a guest's tap", 1, 5, "tap", 0),
    ):
        calm = HostBuilder().link("eth0", inet_conf={"rp_filter": 1}).address("eth0", "10.0.0.1/24")
        calm.link(
            "eth1", kind="tun" if kind else None, info={"type": kind} if kind else {}, inet_conf={"rp_filter": own}
        )
        calm.address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        seen = {"snmp": {COUNTER: 5}, "links": (calm.link_counters("eth1", stats=Stats64(rx_packets=count)),)}
        tables = calm.counters(before=seen, after=seen).build()
        known: dict[str, Any] = {"severity": "info", "says": ("dropped 5 packets since boot",)} if fires else {}
        why = "what was dropped may have come by it, or be spoofed"
        yield Example(name=f"five dropped before, {name}", why=why, tables=tables, fires=fires, **known)
    quiet = server(drops=0).route("default", via="10.1.0.2", dev="eth1", priority=200)
    info: dict[str, Any] = {"tables": quiet.build(), "fires": 1, "severity": "info"}
    yield Example(name="standby uplink, drops before the samples", why="spoofed packets leave the same trace", **info)
    spoofed = server(drops=9, eth0=9, eth1=0)
    yield case("spoofed packets", "eth0 alone got them; its default route lets in all but inner ones", spoofed)
    standby = server(drops=9).route("default", via="10.1.0.2", dev="eth1", priority=200)
    yield Example(
        name="standby uplink in use by others",
        why="somebody sends to its address while the first uplink is up",
        tables=standby.build(),
        fires=1,
        subject=subject("link", ifname="eth1"),
        severity="warning",
        says=("though a better route is in use",),
    )
    shared = server(drops=9, eth0=9).route("default", via="10.1.0.2", dev="eth1", priority=200)
    info |= {"tables": shared.build()}
    yield Example(name="standby uplink, and drops on one of two", why="either may have dropped them", **info)
    for name, severity, session in (
        ("BGP calls the world in by it", "warning", {}),
        ("BGP by the other one", "info", {"neighbor_address": "10.0.0.2"}),
        ("BGP of IPv6", "info", {"neighbor_address": "2001:db8:1::2"}),
        ("BGP is down", "info", {"bgp_state": "Active"}),
        ("BGP announces nothing", "info", {"channels": (channel(exported=0),)}),
        ("BGP with a range", "info", {"neighbor_address": None}),
    ):
        given: dict[str, Any] = {"neighbor_address": "10.1.0.2", "channels": (BEATEN,)} | session
        told = server(BirdHost().bgp("up1", **given), drops=9, eth0=9)
        told.route("default", via="10.1.0.2", dev="eth1", priority=200).address("eth1", "2001:db8:1::1/64")
        weight: Any = {"fires": 1, "severity": severity, "why": "whom BGP calls in by it"}
        yield Example(name=f"drops on one of two: {name}", tables=told.build(), **weight)
        bare = server(BirdHost().bgp("up1", **given), drops=9, eth0=9).address("eth1", "2001:db8:1::1/64")
        bare.route("198.51.100.0/24", via="10.1.0.2", dev="eth1")
        alarm: Any = {"fires": 1, "subject": subject("link", ifname="eth1"), "says": ("BGP session up1 calls them in",)}
        speaks: Any = alarm | {"severity": severity} if severity == "warning" else {}
        why = "the other session's default route lets in what comes by it"
        yield Example(name=f"no standby, drops on one of two: {name}", why=why, tables=bare.build(), **speaks)
    peer = channel(exported=3, imported=1, preferred=1)
    alone = server(BirdHost().bgp("up1", neighbor_address="10.1.0.2", channels=(peer,)), drops=9, eth0=9)
    yield case("BGP at an exchange", "it sends for its own networks, and spoofed packets come by eth0", alone)
    vrf = server(drops=9, eth1=0).link("red", kind="vrf", info={"table": 10}, inet_conf={"rp_filter": 1})
    vrf.address("red", "10.2.0.1/24").route("10.3.0.0/16", via="10.2.0.9", dev="red")
    yield case("a VRF's own routes", "packets come in by its ports", vrf)
    led = two_uplinks(own=0).link("red", kind="vrf", info={"table": 10}, inet_conf={"rp_filter": 1})
    led.address("red", "10.2.0.1/32").route("default", dev="red", table=102).rule(100, table=102, fwmark=1)
    led.rule(101, table=101, src="10.1.0.1", src_len=32)
    yield case("led into a VRF by a mark", "answers come in by its ports, and go by its own table", led)
    busy = server(drops=9, lo=99).sysctl("net.ipv4.conf.all.rp_filter", 1)
    yield case("busy loopback", "what arrives there is not filtered", busy, 1)
    for kind, fires in (("tap", 0), ("tun", 1)):
        tap = HostBuilder().link("eth0").link("eth1", kind="tun", info={"type": kind}, inet_conf={"rp_filter": 1})
        tap.address("eth1", "10.5.0.1/24")
        tap.address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        why = "a guest that spoofs is what the filter is for; who sends through a tunnel is let in by its daemon"
        yield case(f"drops on a {kind}", why, sampled(tap, 9), fires)
