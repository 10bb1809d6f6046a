"""Small hosts without a default route, for the examples of route-default-missing: what shows that one was meant."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.model.conntrack import IPS_CONFIRMED, IPS_OFFLOAD, IPS_SEEN_REPLY
from netdiag.model.finding import Severity, subject
from netdiag.model.intent import IntendedRoute
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.sysctl import NeighTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example
from netdiag.rules.waysmeant import FORWARDED, OUT

ABOUT = subject("route", dst="0.0.0.0/0", table=254)
ABOUT6 = subject("route", dst="::/0", table=254)


def host(before: int = 0, after: int | None = None, counter: str = OUT["inet"], **link: Any) -> HostBuilder:
    """One uplink with an address in a subnet, and how many packets were refused in either sample."""
    built = HostBuilder().link("eth0", **link).address("eth0", "192.0.2.2/24")
    last = before if after is None else after
    return built.counters(before={"snmp": {counter: before}}, after={"snmp": {counter: last}})


def fires(name: str, why: str, built: HostBuilder, severity: Severity, *says: str, six: bool = False) -> Example:
    """The rule speaks, of one family."""
    about = ABOUT6 if six else ABOUT
    return Example(
        name=name,
        why=why,
        tables=built.build(),
        fires=1,
        subject=about,
        severity=severity,
        confidence="likely",
        says=says,
    )


def silence(name: str, why: str, built: HostBuilder) -> Example:
    """The rule says nothing."""
    return Example(name=name, why=why, tables=built.build())


def refused_examples() -> Iterator[Example]:
    """Packets that were refused for want of a route, now or before."""
    yield silence("connected routes only", "a lab, or an internal network: nothing shows that more is meant", host())
    yield fires("refused now", "a program tries to reach beyond", host(5, 6), "critical", "1 packet was refused")
    blank = "ip route add default via GATEWAY dev eth0  # GATEWAY: the router of 192.0.2.2/24"
    yield fires(
        "refused before", "no gateway at all, and somebody tried once", host(1), "warning", "1 packet has been", blank
    )
    early = host(1).link("wg0", kind="wireguard").address("wg0", "10.0.0.1/24")
    yield silence("refused before, and a tunnel", "it was set up before its underlay", early)
    down = host(1).link("sit0", kind="sit", up=False)
    yield fires("refused before, and a tunnel that is down", "nothing sends there", down, "warning")
    for kind, info in (("tap", {"type": "tap"}), ("tun", {"type": "tun"})):
        held = host(1).link("dev0", kind="tun", info=info).address("dev0", "10.0.0.1/30")
        if kind == "tap":
            yield fires("refused before, and a guest", "what a guest sends counts elsewhere", held, "warning")
        else:
            yield silence("refused before, and a VPN's tun", "its daemon sent before there was an underlay", held)
    late = host(1, 2).link("wg0", kind="wireguard")
    yield fires("refused now, and a tunnel", "it is still trying", late, "critical")
    guest = host(0, 2, FORWARDED["inet"])
    yield fires("guests refused now", "what the host forwards has no way either", guest, "critical", "2 packets were")
    yield silence("guests refused before", "scans of a router count there for ever", host(9, None, FORWARDED["inet"]))
    known = host(1).neighbour("192.0.2.1", dev="eth0", state="stale")
    says = "ip route add default via 192.0.2.1 dev eth0"
    yield fires("gateway still known", "the fix names the only neighbour", known, "warning", says)
    strangers: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("failed", "192.0.2.1", {"state": "failed"}),
        ("permanent", "192.0.2.1", {"state": "permanent"}),
        ("proxy", "192.0.2.1", {"state": "stale", "flags": NTF_PROXY}),
        ("elsewhere", "192.0.2.1", {"dev": "eth1"}),
        ("not on its subnet, as a router's loopback", "198.51.100.1", {}),
        ("IPv6", "fe80::1", {}),
    )
    for name, address, entry in strangers:
        other = host(1).link("eth1").neighbour(address, **({"dev": "eth0"} | entry))
        yield fires(f"no gateway known: {name}", "nothing to name in the fix", other, "warning", "GATEWAY")
    for state in ("reachable", "delay", "probe"):
        good = host(1).neighbour("192.0.2.1", dev="eth0", state=state)
        yield fires(f"gateway {state}", "it answers, or is being asked", good, "warning", says)
    two = host(1).neighbour("192.0.2.1", dev="eth0").neighbour("192.0.2.9", dev="eth0")
    yield fires("two neighbours", "which one is the gateway cannot be told", two, "warning", "GATEWAY")
    near = host(3).route("10.0.0.0/8", via="192.0.2.9", dev="eth0")
    yield silence("some gateway, refused before", "it has the routes that somebody gave it", near)
    busy = host(3, 4).route("10.0.0.0/8", via="192.0.2.9", dev="eth0")
    yield fires("some gateway, refused now", "a route is missing, and no default route catches it", busy, "warning")
    for words, off in (("is down", host(0, 1, up=False)), ("has no carrier", host(0, 1, carrier=False))):
        yield fires(words, "the message says so", off, "critical", f"eth0, 192.0.2.2/24, which {words}")


def connection_examples() -> Iterator[Example]:
    """TCP connections of a host without a default route."""

    def talking(dst: str = "198.51.100.9", **fields: Any) -> HostBuilder:
        given = {"src": "192.0.2.2", "sport": 40000, "dst": dst, "dport": 443, "state": 1}
        return host().socket(**(given | fields))

    says = ("the connection to 198.51.100.9 that is under way has no route",)
    yield fires("a connection under way", "there was a route when it began", talking(), "critical", *says)
    learned = talking().route("203.0.113.0/24", via="192.0.2.1", dev="eth0", protocol=12)
    yield fires("and a few routes of BIRD's", "perhaps a far router took it back", learned, "warning", *says)
    mapped = talking("::ffff:198.51.100.9", src="::ffff:192.0.2.2")
    yield fires("of a socket for both families", "it is IPv4", mapped, "critical", *says)
    six = talking("2001:db8:1::9", src="2001:db8::2").address("eth0", "2001:db8::2/64")
    yield fires("of IPv6", "the other family", six, "critical", "2001:db8:1::9 that is under way", six=True)
    for name, past in (
        ("closed a moment ago", talking(state=6)),
        ("that the peer has closed", talking(state=8)),
        ("of UDP", talking(protocol=17)),
        ("of a socket for both families, closed a moment ago",
         talking("::ffff:198.51.100.9", src="::ffff:192.0.2.2", state=6)),
    ):  # fmt: skip
        yield fires(f"a connection {name}", "there was a route", past, "warning", "there was a way to")
    six = talking("2001:db8:1::9", src="2001:db8::2", state=6).address("eth0", "2001:db8::2/64")
    yield fires("of IPv6, closed a moment ago", "the other family", six, "warning", "a way to 2001:db8:1::9", six=True)
    guest = talking("172.20.0.2", state=6)
    yield silence("a connection with a guest closed a moment ago", "its bridge went with it", guest)
    several = guest.socket(src="192.0.2.2", sport=40001, dst="10.9.0.2", dport=443, state=6)
    yield fires("and with another private network", "both by one way", several, "warning", "a way to 172.20.0.2")
    for name, built in (
        ("on the link", talking("192.0.2.9")),
        ("on loopback", talking("127.0.0.1")),
        ("by a link-local address", talking("169.254.1.1")),
        ("that has not begun", talking(state=2)),
        ("of an interface", talking(ifindex=2)),
        ("of UDP from an address that went", talking(protocol=17, src="192.0.2.77")),
        ("of UDP to a group", talking("239.1.1.1", protocol=17)),
        ("of UDP to everybody", talking("255.255.255.255", protocol=17)),
        ("of a mark with its own way", talking().route("198.51.100.0/24", dev="eth0", table=9)),
    ):
        yield silence(f"a connection {name}", "it says nothing of a default route", built)


def flow_examples() -> Iterator[Example]:
    """Tracked connections of a host without a default route."""

    def flow(orig: str, reply: str, built: HostBuilder | None = None, **fields: Any) -> HostBuilder:
        return (built or host()).conntrack(17, orig, reply, **fields)

    out, back = "192.0.2.2 40000 198.51.100.9 53", "198.51.100.9 53 192.0.2.2 40000"
    says = ("the connection with 198.51.100.9 that was answered has no route",)
    yield fires("an answered question", "the answer came by a route that is gone", flow(out, back), "critical", *says)
    came = flow("198.51.100.9 40000 192.0.2.2 443", "192.0.2.2 443 198.51.100.9 40000")
    yield fires("an answered client", "the answer went by a route that is gone", came, "critical", *says)
    guest = flow("10.9.0.2 40000 198.51.100.9 53", "198.51.100.9 53 192.0.2.2 40000")
    yield fires("a guest's, as this host", "its source is translated", guest, "critical", *says)
    sent = flow("198.51.100.9 40000 192.0.2.2 443", "10.9.0.2 443 198.51.100.9 40000")
    yield fires("to a guest, as this host", "its destination is translated", sent, "critical", *says)
    local = flow("192.0.2.2 40000 10.9.0.1 53", "198.51.100.9 53 192.0.2.2 40000")
    yield fires("sent elsewhere by a rule", "where it goes counts", local, "critical", *says)
    inside = host().address("eth0", "2001:db8::2/64")
    says6 = ("2001:db8:1::9 that was answered",)
    six = flow("2001:db8::2 40000 2001:db8:1::9 53", "2001:db8:1::9 53 2001:db8::2 40000", inside)
    yield fires("an answered question of IPv6", "the other family", six, "critical", *says6, six=True)
    private = ("172.20.0.2 40000 192.0.2.2 443", "192.0.2.2 443 172.20.0.2 40000")
    yield silence("a tracked connection of a guest", "its bridge went with it", flow(*private))
    both = flow("192.0.2.2 40000 10.9.0.2 53", "10.9.0.2 53 192.0.2.2 40000", flow(*private))
    yield fires("of two private networks", "both by one way", both, "critical", "10.9.0.2 that was answered")
    tcp: dict[str, Any] = {"tcp_state": "established", "timeout": 431_700}
    for name, state, fields, fired in (
        ("seen lately", {"tcp_timeout_established": 432_000}, tcp, 1),
        ("not seen lately", {"tcp_timeout_established": 432_001}, tcp, 0),
        ("sent again and again", {"tcp_timeout_established": 432_000}, tcp | {"timeout": 300}, 1),
        ("of minutes before its end", {"tcp_timeout_established": 432_000}, tcp | {"timeout": 301}, 0),
        ("of minutes, where hours are all", {"tcp_timeout_established": 7_200}, tcp | {"timeout": 290}, 0),
        ("sent again, of another time", {"tcp_timeout_established": 10_000, "tcp_timeout_unacknowledged": 100},
         tcp | {"timeout": 100}, 1),
        ("sent again, of a time too near", {"tcp_timeout_established": 9_999, "tcp_timeout_unacknowledged": 100},
         tcp | {"timeout": 100}, 0),
        ("of a time that is not known", {}, tcp, 0),
        ("offloaded", {}, tcp | {"status": IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_OFFLOAD, "timeout": 0}, 1),
        ("closing", {}, tcp | {"tcp_state": "time_wait", "timeout": 9}, 1),
    ):  # fmt: skip
        built = flow(out, back, **fields).conntrack_state(settings=state)
        what = f"a tracked TCP connection {name}"
        if fired:
            yield fires(what, "it had its way a moment ago", built, "critical", *says)
        else:
            yield silence(what, "such entries are kept for days", built)
    learned = flow(out, back).route("203.0.113.0/24", via="192.0.2.1", dev="eth0", protocol=12)
    yield silence("a tracked connection, and a few routes of BIRD's", "a far router took it back", learned)
    link = ("192.0.2.2 1 192.0.2.9 53", "192.0.2.9 53 192.0.2.2 1")
    last = flow(*link)
    yield fires("the second of two", "the first is of the link", flow(out, back, last), "critical", *says)
    near = ("10.9.0.1 1 10.8.0.2 53", "10.8.0.2 53 10.9.0.1 1")
    silent: tuple[tuple[str, HostBuilder], ...] = (
        ("without an answer", flow(out, back, status=IPS_CONFIRMED)),
        ("of the link", flow(*link)),
        ("with itself", flow("192.0.2.2 1 192.0.2.2 53", "192.0.2.2 53 192.0.2.2 1")),
        (
            "with another address of its own",
            flow("192.0.2.2 1 10.0.0.1 2", "10.0.0.1 2 192.0.2.2 1").address("lo", "10.0.0.1/32"),
        ),
        ("by an address that went", flow(*near)),
        (
            "by an address of scope link",
            flow("10.9.0.1 1 9.9.9.9 5", "9.9.9.9 5 10.9.0.1 1").address("eth0", "10.9.0.1/24", scope=253),
        ),
        ("with a link-local address", flow("192.0.2.2 1 169.254.1.1 53", "169.254.1.1 53 192.0.2.2 1")),
        ("forwarded as it was", flow("10.9.0.2 1 10.8.0.2 53", "10.8.0.2 53 10.9.0.2 1")),
        ("that another table carries", flow(out, back).route("198.51.100.0/24", dev="eth0", table=9)),
    )
    for name, built in silent:
        yield silence(f"a tracked connection {name}", "it says nothing of a default route", built)


def stranded_examples() -> Iterator[Example]:
    """Connections to where a table leads, but not these packets: it is for others."""

    def made(rule: dict[str, Any] | None = None, **table: Any) -> HostBuilder:
        built = host().link("eth1").address("eth1", "192.168.9.2/24")
        way: dict[str, Any] = {"via": "192.168.9.1", "dev": "eth1", "table": 100}
        built.route("default", **(way | table))
        return built.rule(1000, **(rule or {"src": "192.168.9.2", "src_len": 32, "table": 100}))

    def call(built: HostBuilder, src: str = "192.0.2.2") -> HostBuilder:
        return built.socket(src=src, sport=40000, dst="198.51.100.9", dport=443, state=1)

    def guest(built: HostBuilder, far: str = "198.51.100.9", **fields: Any) -> HostBuilder:
        built.link("br0", kind="bridge").tap("tap0", master="br0").address("br0", "10.88.0.1/24")
        built.conntrack_state(settings={"tcp_timeout_established": 432_000})
        given = {"tcp_state": "established", "timeout": 299} | fields
        return built.conntrack(6, f"10.88.0.11 40000 {far} 443", f"{far} 443 10.88.0.11 40000", **given)

    rest = "no IPv4 default route for what no policy rule leads elsewhere, and the connection "
    yield fires("a connection, and a table for another address", "it is not led there", call(made()), "critical", rest)
    yield silence("a connection of that address", "it has its table", call(made(), "192.168.9.2"))
    over = host().link("eth1").address("eth1", "192.168.9.2/24").rule(1000, src="192.168.9.2", src_len=32, table=100)
    over.route("198.51.100.0/24", via="192.168.9.1", dev="eth1", table=100)
    over.socket(src="192.0.2.2", sport=40000, dst="198.51.100.9", dport=443, state=6)
    yield silence("a connection that is over, and a table for another address", "it may have had that", over)
    other = call(made()).rule(5, family="inet6", fwmark=7, table=100).rule(6, fwmark=7, table=101)
    other.route("10.7.0.0/16", via="192.168.9.1", dev="eth1", table=101)
    yield fires("a connection, and marks for others", "none of them is led there", other, "critical", rest)
    gone = call(made(), "192.0.2.77")
    yield silence("a connection of an address that went", "it is lost with that", gone)
    hidden: tuple[tuple[str, dict[str, Any]], ...] = (
        ("a mark", {"fwmark": 7}),
        ("an owner", {"uid_start": 1000, "uid_end": 1000}),
        ("a TOS", {"tos": 4}),
        ("a TOS of that address", {"src": "192.0.2.2", "src_len": 32, "tos": 4}),
        ("a selector that is not known", {"unknown": 1}),
        ("a mask of ports that is not known",
         {"src": "192.0.2.2", "src_len": 32, "sport_start": 40001, "sport_end": 40001, "unknown": 1}),
    )  # fmt: skip
    for name, rule in hidden:
        built = call(made(rule | {"table": 100}))
        yield silence(f"a connection, and a table for {name}", "it may have that", built)
    left = call(made()).route("198.51.100.0/24", dev="eth1", table=9)
    yield silence("a connection, and a table without a rule", "that one tells", left)
    refused = call(made()).rule(2000, action="unreachable")
    yield silence("a connection that a rule refuses", "somebody refuses it", refused)
    of_guest = rest + "of guest 10.88.0.11 behind br0 to 198.51.100.9"
    yield fires("a guest's connection, and a table for an address", "likewise", guest(made()), "critical", of_guest)
    bare = guest(host())
    yield fires("a guest's connection", "its packets are refused", bare, "critical", "of guest 10.88.0.11 behind br0")
    own = guest(made({"iif": "br0", "table": 100}))
    yield silence("a guest's connection, and a table for its network", "it is led there", own)
    yield silence("a guest's connection to a private network", "its bridge went with it", guest(host(), "10.9.0.2"))
    old = guest(host(), timeout=300_000)
    yield silence("a guest's connection of yesterday", "it may be over", old)


def peer_examples() -> Iterator[Example]:
    """Peers of WireGuard on a host without a default route."""

    def mesh(*endpoints: str) -> WireguardBuilder:
        built = WireguardBuilder().wireguard("wg0")
        built.link("eth0").address("eth0", "192.0.2.2/24")
        for letter, endpoint in zip("abc", endpoints, strict=False):
            built.wg_peer("wg0", letter, endpoint=endpoint)
        return built

    far = mesh("198.51.100.9", "203.0.113.9")
    says = ("WireGuard has no route to any of 2 networks of peers",)
    yield fires("peers of two networks", "the mesh went by the default route", far, "critical", *says)
    near = mesh("198.51.100.9", "203.0.113.9", "192.0.2.9")
    yield fires("and one on the link", "it needs none", near, "critical", *says)
    yield silence("peers of one network", "its own route may be what is missing", mesh("198.51.100.9", "198.51.100.8"))
    one = mesh("198.51.100.9", "203.0.113.9", "10.1.0.9").route("10.1.0.0/16", via="192.0.2.1", dev="eth0")
    yield silence("one of three by a gateway", "who is routed has a route", one)
    other = mesh("198.51.100.9", "203.0.113.9", "2001:db8:1::9").wg_peer("wg0", "z", endpoint=None)
    other.address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    yield fires("beside a routed one of IPv6, and an unknown one", "not its way", other, "critical", *says)
    says = ("no route to its peer at 198.51.100.9, nor the resolver to nameserver 9.9.9.9",)
    for name, why, servers, loud in (
        ("a nameserver elsewhere", "both went by the default route", ("9.9.9.9",), True),
        ("two nameservers elsewhere", "all went by the default route", ("9.9.9.9", "10.9.0.53"), True),
        ("a nameserver in the same network", "that network's route may be what is missing", ("198.51.100.53",), False),
        ("a nameserver here", "it asks somebody", ("127.0.0.53",), False),
        ("a nameserver elsewhere and one on the link", "names are looked up", ("9.9.9.9", "192.0.2.53"), False),
        ("a nameserver of IPv6", "that has no IPv6 at all", ("2001:db8:9::53",), False),
    ):
        built = mesh("198.51.100.9").resolver(*servers)
        yield fires(name, why, built, "critical", *says) if loud else silence(name, why, built)
    late = silence("nameservers that were not read", "nobody knows them", mesh("198.51.100.9").resolver("9.9.9.9"))
    yield replace(late, late=("resolver",), unjudged=True)
    six = mesh("2001:db8:1::9", "2001:db8:2::9")
    yield silence("peers of the other family", "there is no IPv6 here at all", six)
    null = mesh("198.51.100.9", "203.0.113.9")
    for dst in ("198.51.100.0/24", "203.0.113.0/24"):
        null.route(dst, type="blackhole", family="inet")
    yield silence("peers whose networks are refused", "they have routes", null)
    shut = mesh("198.51.100.9", "203.0.113.9").rule(100, action="unreachable", fwmark=1)
    yield fires("a rule refuses others", "not these packets", shut, "critical", "2 networks of peers")
    shut = mesh("198.51.100.9").resolver("9.9.9.9").rule(100, action="unreachable")
    yield silence("a rule refuses all", "no route is what lacks: it is not asked for", shut)


def full_table_examples() -> Iterator[Example]:
    """IPv6 counts a neighbour for which there is no room as a packet without a route."""

    def sample(packets: int, fulls: int) -> dict[str, Any]:
        table = NeighTable(name="ndisc_cache", family="inet6", table_fulls=fulls)
        return {"snmp": {"Ip6OutNoRoutes": packets}, "neigh_tables": (table,)}

    for fulls, after in ((9, "all of them"), (8, "all but one"), (0, "none of them"), (10, "all but the last one")):
        built = HostBuilder().link("eth0").address("eth0", "2001:db8::2/64")
        built.counters(before=sample(0, 0), after=sample(max(9, fulls + fulls // 10), fulls))
        name, count = f"a full neighbour table for {after}", max(0, 9 - fulls)
        yield Example(
            name=name,
            why="its own rule tells of that",
            tables=built.build(),
            fires=1 if count else 0,
            says=(f"and {count} packet",) if count else (),
        )


def taken_back_examples() -> Iterator[Example]:
    """A default route that was there at the time of the baseline."""

    def way(made: HostBuilder, protocol: int = 12, **fields: Any) -> HostBuilder:
        return made.route("default", via="192.0.2.1", dev="eth0", **({"protocol": protocol} | fields))

    def learned() -> HostBuilder:
        return host().route("203.0.113.0/24", via="192.0.2.1", dev="eth0", protocol=12)

    def case(name: str, why: str, now: HostBuilder, then: HostBuilder, severity: Severity | None) -> Example:
        return Example(name=f"of the baseline: {name}", why=why, tables=now.build(), baseline=then.build(),
                       fires=1 if severity else 0, severity=severity)  # fmt: skip

    yield case("BIRD's, and a few routes are left", "a far router took it back", learned(), way(learned()), "warning")
    yield case("BIRD's, and nothing is left", "nobody leads out", host(), way(host()), "critical")
    yield case("a static one", "somebody's own", host(), way(host(), 4), "critical")
    yield case("a static one, and a few routes are left", "no far router took that back", learned(), way(learned(), 4),
               "critical")  # fmt: skip
    yield case("none", "it never had one", learned(), learned(), None)
    yield case("of a table without a rule", "it was not used then", learned(), way(learned(), table=77), None)
    yield case("BIRD's, and it is there", "as it was", way(learned()), way(learned()), None)

    for kind in ("blackhole", "unreachable", "prohibit"):
        null = host().route("default", type=kind, family="inet", protocol=3, priority=7)
        add = "ip route add default via 192.0.2.1 dev eth0"
        says = (
            f"no IPv4 default route but one that refuses all ({kind}), and there was one via 192.0.2.1",
            f"ip route del {kind} default table 254 metric 7 && {add}",
        )
        yield replace(
            case(f"a static one, {kind} now", "a block too many", null, way(host(), 4), "critical"), says=says
        )
        named = null.intend(route=(IntendedRoute(family="inet", dst="0.0.0.0/0"),)).build()
        yield Example(name=f"of the intent: {kind} now", why="it is to lead out", tables=named, fires=1,
                      severity="critical")  # fmt: skip
    null = host().route("default", type="unreachable", family="inet", protocol=12)
    yield case("a static one, BIRD's unreachable now", "what BIRD cannot resolve", null, way(host(), 4), None)
    null = host().route("default", type="unreachable", family="inet", priority=7)
    yield case("one that refuses, then too", "somebody's will", null, null, None)
    six = way(host(), 4).address("eth0", "2001:db8::2/64")
    six.route("default", via="2001:db8::1", dev="eth0", protocol=4)
    lost = host().address("eth0", "2001:db8::2/64")
    yield case("static ones of both families", "one finding", lost, six, "critical")

    def aside(*tables: int) -> HostBuilder:
        made = host()
        for table in tables:
            way(made, 4, table=table)
        return made.rule(900, src="192.0.2.2", src_len=32, table=77).rule(901, iif="eth0", table=78)

    yield case("for a source alone, and it is there", "it never had one of all", aside(77), aside(77), None)
    yield case("for two, and one is there", "not one of all either", aside(77), aside(77, 78), None)
    yield case("for a source alone, and it is gone", "nobody leads out", aside(), aside(77), "critical")
    yield case("of all, and one for a source is there", "the others have none", aside(77), aside(77, 254), "critical")
    tables = learned().build()
    yield Example(name="of the baseline: BIRD's, and drained now", why="somebody's will", tables=tables,
                  baseline=way(learned()).build(), labels={"drained": "true"})  # fmt: skip
    for table in ("routes", "rules"):
        yield Example(name=f"of the baseline: {table} not read then", why="it is not known", tables=tables,
                      baseline=way(learned()).build(), late_then=(table,))  # fmt: skip
    for want, fires_ in ((("inet", "0.0.0.0/0"), 1), (("inet6", "::/0"), 0), (("inet", "10.0.0.0/8"), 0)):
        named = host().intend(route=(IntendedRoute(family=want[0], dst=want[1], gateway="192.0.2.1"),)).build()
        yield Example(name=f"of the intent: {want[1]}", why="is it the default route?", tables=named, fires=fires_,
                      severity="critical" if fires_ else None)  # fmt: skip
    other = IntendedRoute(family="inet", dst="0.0.0.0/0", table=77)
    yield Example(
        name="of the intent: of a source's table", why="it is there", tables=aside(77).intend(route=(other,)).build()
    )
    refused = IntendedRoute(family="inet", dst="0.0.0.0/0", type="unreachable")
    tables = host().intend(route=(refused,)).build()
    yield Example(name="of the intent: one that refuses", why="it leads nowhere", tables=tables)


def marked_examples() -> Iterator[Example]:
    """Both families lead marked packets to table 100; IPv6 alone has a default route of all."""

    def halved(now: int | None, mark: int = 7, **other: Any) -> HostBuilder:
        built = host(3, now).address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
        for family, via in (("inet", "192.0.2.1"), ("inet6", "2001:db8::1")):
            built.route("default", via=via, dev="eth0", table=100)
            fields = {"fwmark": 7, "table": 100} | (other if family == "inet6" else {"fwmark": mark})
            built.rule(100, family=family, **fields)
        return built

    says = "no IPv4 default route for what no policy rule leads elsewhere, and "
    yield fires("marks alike, refused now", "one family lost its own", halved(4), "critical", says)
    yield fires("marks alike, refused before", "the same", halved(None), "warning", says)
    near = halved(None).route("10.0.0.0/8", via="192.0.2.9", dev="eth0")
    yield silence("marks alike, some gateway, refused before", "it has the routes that somebody gave it", near)
    for name, mark, other in (("another mark", 8, {}), ("all but a mark there", 7, {"invert": True})):
        yield silence(f"marked, {name}", "a VPN client marks what goes by it", halved(4, mark, **other))
    lost = halved(4, 8).link("vx0", kind="vxlan", info={"remote": "198.51.100.9"})
    yield fires("marked, and a tunnel without a way", "its packets have no mark", lost, "critical", says)
    meant = halved(4, 8).intend(route=(IntendedRoute(family="inet", dst="0.0.0.0/0"),))
    yield fires("marked, and one is meant for all", "somebody said so", meant, "critical", says)
    more = halved(4).rule(101, family="inet6", fwmark=8, table=100)
    yield silence("marked, one mark more there", "the families are not alike", more)
    own = halved(4).route("default", via="192.0.2.1", dev="eth0")
    yield silence("marks alike, and each has its own", "as it must be", own)
    some = halved(4).rule(101, src="192.0.2.2", src_len=32, table=101)
    some.route("default", via="192.0.2.1", dev="eth0", table=101)
    yield fires("marks alike, one for some source left", "others have none", some, "warning", says)
    gone = halved(4).without_routes(table=254, family="inet6")
    yield silence("marked in both families, one for some source", "nothing else is meant to leave",
                  halved(4).without_routes(table=254, family="inet6").rule(101, family="inet6", src="2001:db8::2",
                  src_len=128, table=101).route("default", via="2001:db8::1", dev="eth0", table=101))  # fmt: skip
    yield silence("marked in both families alone", "nothing else is meant to leave", gone)
