"""What it checks
  Forwarding of IPv4 is on (net.ipv4.ip_forward), but off on one interface by its own setting, while its like forwards:
  another next hop of the same route, another default route of the table, another guest's interface; or no two
  interfaces are left that forward (a warning). Also on the only way out of guests that forward (one that only this
  host's own address is led to is none of theirs), or on the one of the default route by which their addresses are
  translated: what they send leaves, and no answer comes back. Or on the one behind which a BGP neighbour of another AS,
  which tells this host of routes, is told by its BIRD of networks behind another interface: it sends what is for there.
  Or on one that a policy rule names: what arrives there (iif) has a table of its own. Or on the one by which a guest
  that forwards opened a connection whose answer came and did not get through; or on one from whose subnet, by its name,
  packets are given another address on the way out (a warning); or the one by which all leaves that a
  network behind an interface that forwards sends abroad, by a policy rule or under another address (a warning).

Why it matters
  The kernel asks the interface on which a packet arrives. What comes in there is dropped; the other direction works,
  so that replies are lost: only one uplink of two carries traffic, one guest has no network. Writing ip_forward sets
  every interface; what is made or configured later takes conf.default or its own file.
  For IPv6 the setting of one interface does not matter to forwarding; "all" decides.

Confirm
  sysctl net.ipv4.conf.IFNAME.forwarding net.ipv4.ip_forward
  nstat -asz IpInAddrErrors      (rises with each packet dropped)

Fix
  sysctl -w net.ipv4.conf.IFNAME.forwarding=1, and take the line that clears it out of /etc/sysctl.d. What arrives on
  that interface is forwarded at once: have the firewall's forward chain ready.

Not flagged
  Hosts that do not forward (ip_forward 0). Loopback, interfaces that are down, without an IPv4 address or route, ports
  of a bridge and legs of a bond. An interface alone of its kind, such as one for management: isolated on purpose, told
  as info; as a fault where packets are being dropped now. BGP neighbours there that are
  told everything and tell nothing (collectors, looking glasses), and those of the own AS. IPv6.

References
  net/ipv4/route.c ip_route_input_slow() IN_DEV_FORWARD(), ip_error(); net/ipv4/devinet.c inet_forward_change()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.guests import Sides, sides
from netdiag.index.reach import reachable_tables
from netdiag.index.view import HostView
from netdiag.index.ways import led_by, ways
from netdiag.model.bird import BirdRoute, UpdateCounts
from netdiag.model.distinct import among
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.model.nexthop import NexthopMember
from netdiag.rules.answerless import half_open, led_out
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost, channel
from netdiag.rules.build_nft import chain, nat, oifname, plain, rule, saddr, table, verdict
from netdiag.rules.invited import NOTICED, invited, named_source, translated
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="forwarding-per-iface-off",
    title="one interface of a router does not forward what arrives on it",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "sysctls", "counters"),
    consults=("nft", "bird", "bird_routes", "conntrack"),
)
SURE = ("routed", "bridged", "small")
"""Kinds of guests' interfaces that are none of a VPN, and no cable to another host (GuestSide.kind)."""
CONNECTED = 2
"""RTPROT_KERNEL."""


def off(view: HostView) -> list[Link]:
    """Interfaces with IPv4 on which forwarding is off. (An address has its own route.)"""
    return [
        link
        for link in view.links
        if link.up and not link.loopback and link.inet_conf.get("forwarding") == 0 and link.kind != "vrf"
        and (view.stack.vrf(link.ifindex) is not None or link.master is None)
        and led_by(view.routes("inet"), link.ifindex).any()
    ]  # fmt: skip


MOST_SHARED = 1000
"""Routes of one next hop that are looked at."""


def mates(view: HostView) -> dict[int, set[int]]:
    """For each interface those that share a route of several next hops with it, or have a default route as well."""
    shared: dict[tuple[int, int | None], set[int]] = {}
    routes = view.routes("inet")
    several = (routes.dst_len == 0) | (routes.extra >= 0)  # the view puts the hops of a nexthop object in
    for way in ways(routes, view.nexthops, several):
        for at in way.positions[:MOST_SHARED].tolist() if way.hop.gateway is not None else ():
            shared.setdefault((way.table, None if routes.dst_len[at] == 0 else at), set()).add(way.hop.oif)
    found: dict[int, set[int]] = {}
    for group in shared.values():
        for oif in group:
            found.setdefault(oif, set()).update(group - {oif})
    return found


def alive(view: HostView) -> int:
    """How many interfaces with an IPv4 address are left to forward between."""
    having = {row.ifindex for row in view.addresses if row.family == "inet"}
    return sum(
        link.up and not link.loopback and link.master is None and link.inet_conf.get("forwarding") == 1
        and link.ifindex in having
        for link in view.links
    )  # fmt: skip


def weight(
    view: HostView, link: Link, around: Sides, dead: set[int], partners: set[int]
) -> tuple[Severity, Confidence, str]:
    """How bad it is, how sure, and why. ``partners``: those that share a route with it and forward."""
    moved = view.moved("Ip.InAddrErrors") or 0
    lucky = [guest for guest in around.guests if guest.link.ifindex not in dead]
    served = [guest for guest in lucky if guest.kind in SURE]
    if moved >= NOTICED:
        return "critical", "likely", f"{moved} packets for others were dropped within {view_seconds(view):g} s"
    guest = next((one for one in around.guests if one.link.ifindex == link.ifindex), None)
    if guest is not None and guest.kind != "subnet" and lucky:  # a wide subnet on a tap may be a VPN's
        return "critical", "likely", f"its guests have no network, those of {lucky[0].link.ifname} have"
    if served and link in around.exits and not (_open(view, around) - dead):
        words = f"it is the only way out of the guests behind {served[0].link.ifname}, no answer returns"
        return "critical", "likely", words
    sent = next((one for one in lucky if translated(view, "inet", one.prefix, link)), None)
    if sent is not None:
        words = f"the addresses of the guests behind {sent.link.ifname} are translated there, and no answer returns"
        return "critical", "likely", words
    if rule := next((one for one in view.rules if one.family == "inet" and one.iif == link.ifname and one.table), None):
        return "critical", "likely", f"rule {rule.priority} leads what arrives there to table {rule.table}"
    if partners:
        other = view.ifname(min(partners))
        return "critical", "likely", f"it shares a route with {other}, which forwards"
    if (told := invited(view, "inet", link, dead)) is not None:
        return "critical", "likely", told[0]
    if (sent_out := led_out(view, link, dead)) is not None:
        return "warning", "likely", f"{sent_out}, and no answer returns"
    if (asked := half_open(view, [one.link for one in lucky], link)) is not None:
        return "warning", "likely", asked
    if (own := named_source(view, link)) is not None:
        return "warning", "likely", f"packets from {own[0]} behind it are translated on {own[1]}, and none gets there"
    if alive(view) < 2:
        return "warning", "likely", "no two interfaces are left to forward between"
    return "info", "possible", "that may be meant"


def _open(view: HostView, around: Sides) -> set[int]:
    """The ways out that guests may take: not those to which only packets from one of this host's addresses are led."""
    rules = [
        rule
        for rule in view.rules
        if rule.invert or rule.src_len != 32 or not view.local.is_local("inet", rule.src or "")
    ]
    routes = view.routes("inet")
    led = among(routes.table, reachable_tables(rules, view.links, "inet")) & (routes.protocol != CONNECTED)
    guests = {guest.link.ifindex for guest in around.guests if guest.kind in SURE}
    return {way.hop.oif for way in ways(routes, view.nexthops, led)} - guests


def view_seconds(view: HostView) -> float:
    """Seconds between the two samples."""
    return round(view.latest.at - view.counters.at, 1)


def check(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int("net.ipv4.ip_forward") != 1:
        return
    dark = off(view)
    if not dark:
        return
    around = sides(view.stack, view.routes("inet"), view.addresses)
    dead, sharing = {link.ifindex for link in dark}, mates(view)
    for link in dark:
        partners = sharing.get(link.ifindex, set()) - dead
        severity, confidence, why = weight(view, link, around, dead, partners)
        name = f"net.ipv4.conf.{link.ifname}.forwarding"
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} does not forward what arrives on it, though ip_forward is 1: {why}",
            severity=severity,
            confidence=confidence,
            evidence=[
                (name, 0, f"RTM_GETLINK {link.ifname} IFLA_INET_CONF forwarding"),
                ("net.ipv4.ip_forward", 1, "/proc/sys/net/ipv4/ip_forward"),
                ("packets for others refused", view.moved("Ip.InAddrErrors"), "/proc/net/snmp Ip.InAddrErrors"),
            ],
            confirm=[_sysctl(link.ifname), "sysctl net.ipv4.ip_forward", "nstat -asz IpInAddrErrors"],
            fix=f"{_sysctl(link.ifname, '-w ')}=1",
        )


def _sysctl(ifname: str, write: str = "") -> str:
    """With a dot in the name, sysctl wants slashes."""
    if "." in ifname:
        return f"sysctl {write}{quoted(f'net/ipv4/conf/{ifname}/forwarding')}"
    return f"sysctl {write}{quoted(f'net.ipv4.conf.{ifname}.forwarding')}"


def _router(**off_on: Any) -> HostBuilder:
    """Three interfaces; those named by ``off_on`` have that forwarding."""
    host = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    for number, name in enumerate(("eth0", "eth1", "eth2")):
        host.link(name, inet_conf={"forwarding": off_on.get(name, 1)}).address(name, f"10.{number}.0.1/24")
    return host


def _twice(host: HostBuilder) -> HostBuilder:
    return host.route("default", hops=[host.hop("eth0", "10.0.0.2"), host.hop("eth1", "10.1.0.2")])


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": subject("link", ifname="eth1")}
    yield _case("one of two uplinks", "replies by it are lost", _twice(_router(eth1=0)), confidence="likely", **crit)
    yield _case("both forward", "the ordinary case", _twice(_router()))
    standby = _router(eth1=0).route("default", via="10.0.0.2", dev="eth0")
    standby.route("default", via="10.1.0.2", dev="eth1", priority=100)
    yield _case("standby uplink", "it fails when it is needed", standby, **crit)
    yield _case("no router", "nothing is forwarded at all", _twice(_router(eth1=0).sysctl("net.ipv4.ip_forward", 0)))
    for count, severity in ((2, "info"), (3, "critical")):
        host = _router(eth1=0).route("default", via="10.1.0.2", dev="eth1")
        first: dict[str, Any] = {"snmp": {"Ip.InAddrErrors": 7}}
        host.counters(before=first, after={"snmp": {"Ip.InAddrErrors": 7 + count}})
        sure = "likely" if severity == "critical" else "possible"
        yield _case(f"{count} packets dropped", "strays, or traffic", host, 1, severity=severity, confidence=sure)
    yield _case("a subnet kept apart", "meant, or forgotten", _router(eth2=0), 1, severity="info")
    for word, fate in (("iif", "critical"), ("oif", "info")):
        led = _twice(_router(eth2=0)).rule(700, table=100, **{word: "eth2"})
        yield _case(f"a rule of {word}", "of what arrives?", led, 1, severity=fate)
    leads: tuple[tuple[str, dict[str, Any], Severity], ...] = (
        ("another network", {"src": "10.0.0.0", "src_len": 24}, "warning"),
        ("its own address", {"src": "10.2.0.1", "src_len": 32}, "info"),
        ("nothing but that", {"src": "10.0.0.0", "src_len": 24, "invert": True}, "info"),
        ("a mark", {"src": "10.0.0.0", "src_len": 24, "fwmark": 7}, "info"),
        ("a network behind it", {"src": "10.2.0.0", "src_len": 24}, "info"),
    )
    for name, words, severity in leads:
        policy = _router(eth2=0).route("default", via="10.1.0.2", dev="eth1").rule(700, table=100, **words)
        policy.route("default", via="10.2.0.2", dev="eth2", table=100)
        yield _case(f"a rule leads out by it {name}", "who sends?", policy, 1, severity=severity)
    for name, oif, severity in (("there", "eth1", "warning"), ("on another", "eth0", "info")):
        home = _router(eth1=0).route("default", via="10.1.0.2", dev="eth1")
        home.nft(table(chain("post", rule(oifname(oif), plain("masq")), hook="postrouting", type="nat"), name="nat"))
        yield _case(f"a network translated {name}", "do answers come?", home, 1, severity=severity)
    for name, conditions, severity in (
        ("by its name", saddr("10.2.0.0/24"), "warning"),
        ("with all others", (), "info"),
        ("and one beside it", saddr("10.1.0.0/24"), "info"),
    ):
        lan = _router(eth2=0).route("default", via="10.0.0.2", dev="eth0")
        lan.nft(table(chain("post", rule(conditions, plain("masq")), hook="postrouting", type="nat"), name="nat"))
        yield _case(f"a subnet translated {name}", "are its packets to get out?", lan, 1, severity=severity)
    mgmt = _router(eth2=0).route("default", via="10.2.0.2", dev="eth2")
    yield _case("management with the default route", "kept apart on purpose", mgmt, 1, severity="info")
    alone = _router(eth1=0, eth2=0).sysctl("net.ipv4.conf.lo.forwarding", 1)
    on: dict[str, Any] = {"inet_conf": {"forwarding": 1}}
    alone.link("down0", up=False, **on).address("down0", "10.3.0.1/24").link("bare0", **on)
    alone.link("six0", **on).address("six0", "2001:db8::1/64").link("bare1", inet_conf={"forwarding": 0})
    alone.link("red", kind="vrf", info={"table": 10}, inet_conf={"forwarding": 0}).address("red", "127.0.0.1/8")
    alone.link("br0", kind="bridge", **on).link("p0", master="br0", **on).address("p0", "10.4.0.1/24")
    yield _case("only one is left", "a router of one interface", alone, 2, severity="warning", confidence="likely")
    vrf = (
        _router().link("red", kind="vrf", info={"table": 10}, inet_conf={"forwarding": 0}).address("red", "127.0.0.1/8")
    )
    vrf.link("eth3", master="red", inet_conf={"forwarding": 0}).address("eth3", "10.5.0.1/24")
    vrf.link("eth4", master="red", **on).address("eth4", "10.6.0.1/24")
    vrf.route("default", hops=[vrf.hop("eth3", "10.5.0.2"), vrf.hop("eth4", "10.6.0.2")], table=10)
    yield _case("an uplink of a VRF", "the VRF itself gets no packets", vrf, 1, severity="critical")
    left = _router().link("br0", kind="bridge", **on).link("p0", master="br0", inet_conf={"forwarding": 0})
    left.address("p0", "10.4.0.1/24").address("br0", "10.4.0.2/24")
    far = left.route("default", hops=[left.hop("p0", "10.4.0.9"), left.hop("eth0", "10.0.0.2")])
    yield _case("port of a bridge with an address", "the bridge takes its packets all the same", far)
    six = _router().link("eth3", inet_conf={"forwarding": 0}).address("eth3", "2001:db8::1/64")
    yield _case("an interface without IPv4", "nothing of it arrives", six)
    yield from _transit(crit)
    yield from _shared_ways(crit)
    down = _router().link("eth3", up=False, inet_conf={"forwarding": 0}).address("eth3", "10.3.0.1/24")
    yield _case("an interface that is down", "nothing arrives", down)
    port = _router().link("br0", kind="bridge", inet_conf={"forwarding": 1}).link("p0", master="br0")
    yield _case("port of a bridge", "the bridge takes its packets", port)
    tap: dict[str, Any] = {"kind": "tun", "info": {"type": "tap"}}
    guests = _router().route("default", via="10.0.0.2", dev="eth0")
    for name, forwarding in (("tap0", 1), ("tap1", 0)):
        guests.link(name, inet_conf={"forwarding": forwarding}, **tap).route(f"10.9.0.{name[-1]}/32", dev=name)
    mute = {"subject": subject("link", ifname="tap1"), "says": ("those of tap0 have",), "confidence": "likely"}
    yield _case("one guest of two", "it has no network", guests, **(crit | mute))
    vpn = _router().route("default", via="10.0.0.2", dev="eth0")
    vpn.link("tap0", inet_conf={"forwarding": 1}, **tap).route("10.9.0.0/32", dev="tap0")
    vpn.link("vpn0", inet_conf={"forwarding": 0}, **tap).address("vpn0", "10.66.0.1/24")
    yield _case("a VPN's tap beside a guest", "its clients may be meant for this host alone", vpn, 1, severity="info")
    kept = _router(eth2=0).link("tap0", inet_conf={"forwarding": 1}, **tap).route("10.9.0.0/32", dev="tap0")
    kept.route("default", via="10.0.0.2", dev="eth0")
    yield _case("a subnet kept apart from guests", "it is no guest", kept, 1, severity="info")
    yield from _way_out(crit, tap)
    both = _router().route("default", via="10.0.0.2", dev="eth0")
    for name in ("tap0", "tap1"):
        both.link(name, inet_conf={"forwarding": 0}, **tap).route(f"10.9.0.{name[-1]}/32", dev=name)
    yield _case("all guests", "they may be meant to be shut in", both, 2, severity="info")
    six = _router().address("eth1", "2001:db8::1/64").sysctl("net.ipv6.conf.all.forwarding", 1)
    yield _case("IPv6", "only all counts", six)


def _way_out(crit: dict[str, Any], tap: dict[str, Any]) -> Iterator[Example]:
    """An uplink that does not forward, with guests behind the host."""

    def host(guest: str = "10.9.0.1/32", forwarding: int = 1, **off_on: int) -> HostBuilder:
        built = _router(**(off_on or {"eth1": 0})).route("default", via="10.1.0.2", dev="eth1")
        return built.link("tap0", inet_conf={"forwarding": forwarding}, **tap).route(guest, dev="tap0")

    says = ("only way out of the guests behind tap0",)
    alone: dict[str, Any] = {"says": says, "confidence": "likely"}
    yield _case("the only way out of guests", "their answers are dropped", host(), **alone, **crit)
    info: dict[str, Any] = {"fires": 1, "severity": "info"}
    spare = host().route("10.50.0.0/16", via="10.0.0.2", dev="eth0")
    yield _case("one of two ways out", "guests may be meant to use the other", spare, **info)
    for name, own, fires in (("for one of its addresses", "10.0.0.1", crit), ("for a guest", "10.9.0.1", info)):
        led = host().route("default", via="10.0.0.2", dev="eth0", table=7).rule(50, src=own, src_len=32, table=7)
        yield _case(f"another way out {name}", "whose packets take it", led, **fires)
    but = host().route("default", via="10.0.0.2", dev="eth0", table=7)
    but.rule(50, src="10.0.0.1", src_len=32, invert=True, table=7)
    yield _case("another way out for all but one of its addresses", "guests may take it", but, **info)
    wide = host().link("vpn0", inet_conf={"forwarding": 1}, **tap).address("vpn0", "10.66.0.1/24")
    yield _case("a wide tap beside it", "a VPN's, which may be their way",
                wide.route("10.80.0.0/16", dev="vpn0"), **info)  # fmt: skip
    tunnel = host().link("tun0", kind="tun", inet_conf={"forwarding": 1}).address("tun0", "10.77.0.2/24")
    yield _case("a tunnel beside it", "it may be their way", tunnel.route("0.0.0.0/1", dev="tun0"), **info)
    masq = plain("masq")
    for name, why, out, rules, severity in (
        ("translated there", "their way to the world", "eth1", rule(oifname("eth1"), masq), "critical"),
        ("by their source", "likewise", "eth1", rule(saddr("10.9.0.0/24"), nat("snat", "10.1.0.1")), "critical"),
        ("translated on the other", "that is theirs", "eth1", rule(oifname("eth0"), masq), "info"),
        ("others translated", "not they", "eth1", rule(saddr("10.8.0.0/24"), masq), "info"),
        ("no translation", "a list of exceptions", "eth1", rule(oifname("eth1"), verdict("accept")), "info"),
        ("no way to the world", "nothing of theirs leaves there", "eth0", rule(oifname("eth1"), masq), "info"),
    ):
        kept = _router(eth1=0).route("default", via="10.1.0.2" if out == "eth1" else "10.0.0.2", dev=out)
        other = ("10.0.0.2", "eth0") if out == "eth1" else ("10.1.0.2", "eth1")
        kept.route("10.50.0.0/16", via=other[0], dev=other[1])
        kept.link("tap0", inet_conf={"forwarding": 1}, **tap).route("10.9.0.1/32", dev="tap0")
        kept.nft(table(chain("post", rules, hook="postrouting", type="nat"), name="nat"))
        sure = "likely" if severity == "critical" else "possible"
        yield _case(f"two ways out, {name}", why, kept, 1, severity=severity, confidence=sure)

    def opened(
        src: str = "10.9.0.1", dst: str = "203.0.113.9", state: str = "syn_recv", refused: int = 4
    ) -> HostBuilder:
        flow = (
            host()
            .route("10.50.0.0/16", via="10.0.0.2", dev="eth0")
            .link("br0", kind="bridge", inet_conf={"forwarding": 1})
        )
        flow.address("br0", "10.60.0.1/24").link("ve1", kind="veth", master="br0", link=2, link_netnsid=1)
        flow.counters(before={"snmp": {"Ip.InAddrErrors": refused}}, after={"snmp": {"Ip.InAddrErrors": refused}})
        return flow.conntrack(6, f"{src} 4000 {dst} 443", f"{dst} 443 {src} 4000", tcp_state=state)

    half: dict[str, Any] = {"severity": "warning", "says": ("behind tap0 to 203.0.113.9 port 443 was answered",)}
    yield _case("two ways out, a connection half open", "its answer was dropped", opened(), 1, **half)
    yield _case("two ways out, one of a container", "likewise", opened("10.60.0.11"), 1, severity="warning")
    for name, why, flow in (
        ("that stands", "it came back elsewhere", opened(state="established")),
        ("without an answer", "the far end may be off", opened(state="syn_sent")),
        ("by the other way", "it says nothing of this one", opened(dst="10.50.0.9")),
        ("of this host", "what it receives itself is not forwarded", opened("10.1.0.1")),
        ("and nothing refused", "the answer is on its way", opened(refused=0)),
    ):
        yield _case(f"two ways out, a connection {name}", why, flow, **info)
    both = host(eth0=0, eth1=0).route("10.50.0.0/16", via="10.0.0.2", dev="eth0")
    yield _case("both ways out", "no answer by either", both, 2, severity="critical")
    vpn = _router(eth1=0).route("default", via="10.1.0.2", dev="eth1")
    vpn.link("tap0", inet_conf={"forwarding": 1}, **tap).address("tap0", "10.9.0.1/24")
    yield _case("a tap that may be a VPN's", "the host is its client, perhaps", vpn, **info)
    down = host().link("eth3", inet_conf={"forwarding": 0}).address("eth3", "10.3.0.1/24")
    yield _case("a subnet beside the only way out", "it is no way out", down, says=says, **(crit | {"fires": 2}))


def _transit(crit: dict[str, Any]) -> Iterator[Example]:
    """A BGP neighbour behind the interface that does not forward, and what it is told."""

    def told(net: str, *, up: bool = True, near: str = "10.1.0.2", asn: int = 65002, dark: str = "eth1",
             **fields: Any) -> HostBuilder:  # fmt: skip
        host = BirdHost()
        of: dict[str, Any] = {"neighbor_address": near, "neighbor_as": asn}
        host = (
            host.bgp("up1", channels=(channel(**({"imported": 3} | fields)),), **of)
            if up
            else host.bgp_down("up1", channels=(channel(imported=3),), **of)
        )
        host.exports("up1", routes=(BirdRoute(net=net, protocol="down1"),)).sysctl("net.ipv4.ip_forward", 1)
        for number, name in enumerate(("eth0", "eth1", "eth2")):
            host.link(name, inet_conf={"forwarding": int(name not in dark)}).address(name, f"10.{number}.0.1/24")
        host.route("default", via="10.1.0.2", dev="eth1").route("10.50.0.0/16", via="10.0.0.2", dev="eth0")
        return host.route("10.7.0.1/32", dev="lo", table=255, type="local", scope=254)

    says = ("BGP session up1 is told of 10.50.0.0/16 behind eth0",)
    crit = crit | {"confidence": "likely"}
    yield _case("a neighbour is told of a network beyond", "it sends there", told("10.50.0.0/16"), says=says, **crit)
    refused = told("10.50.0.0/16", imported=0, import_updates=UpdateCounts(received=1))
    yield _case("a neighbour is told of a subnet beyond", "likewise", told("10.0.0.0/24"), **crit)
    yield _case("behind another", "that is lost", told("10.50.0.0/16", dark="eth0 eth1"), 2, severity="warning")
    yield _case("a neighbour whose routes are refused", "it is a router all the same", refused, says=says, **crit)
    for name, why, host in (
        ("of an own address", "that is delivered here", told("10.7.0.1/32")),
        ("of a network of its own side", "it sends nothing of it here", told("10.60.0.0/16")),
        (
            "of a default route",
            "what is for everywhere",
            told("0.0.0.0/0").route("128.0.0.0/1", via="10.0.0.2", dev="eth0"),
        ),
        (
            "and has told nothing so far",
            "likewise",
            told("10.50.0.0/16", imported=0, import_updates=UpdateCounts(received=0)),
        ),
        ("by a session that is down", "of nothing", told("10.50.0.0/16", up=False)),
        ("on another side", "that forwards", told("10.50.0.0/16", near="10.2.0.2")),
        ("of IPv6", "that is not asked of the interface", told("2001:db8:50::/48")),
        ("and tells nothing", "a collector on a network for administration", told("10.50.0.0/16", imported=0)),
        ("and is of the own AS", "it keeps the next hop", told("10.50.0.0/16", asn=65001)),
    ):
        yield _case(f"a neighbour is told {name}", why, host, 1, severity="info")


def _shared_ways(crit: dict[str, Any]) -> Iterator[Example]:
    """Routes of several next hops that are no default routes."""
    net = "10.50.0.0/16"
    multi = _router(eth1=0)
    multi.route(net, hops=[multi.hop("eth0", "10.0.0.2"), multi.hop("eth1", "10.1.0.2")])
    yield _case("one of two ways to a network", "half of its replies are lost", multi, **crit)
    group = _router(eth1=0).nexthop(2, oif="eth0", gateway="10.0.0.2", family="inet")
    group.nexthop(3, oif="eth1", gateway="10.1.0.2", family="inet")
    group.nexthop(1, group=(NexthopMember(id=2), NexthopMember(id=3))).route(net, nh_id=1)
    yield _case("one of a nexthop group", "the same", group, **crit)
    spare = _router(eth1=0).route(net, via="10.0.0.2", dev="eth0")
    spare.route(net, via="10.1.0.2", dev="eth1", priority=9)
    yield _case("a spare way to a network", "it may be one way only", spare, 1, severity="info")
    objects = _router(eth1=0).nexthop(2, oif="eth0", gateway="10.0.0.2", family="inet")
    objects.nexthop(3, oif="eth1", gateway="10.1.0.2", family="inet")
    objects.route(net, via="10.0.0.2", dev="eth0", nh_id=2).route(net, via="10.1.0.2", dev="eth1", nh_id=3, priority=9)
    yield _case("a spare way to a network, by nexthop objects", "the same", objects, 1, severity="info")
    small = _router(eth1=0).route(net, via="10.0.0.2", dev="eth0", metrics={"mtu": 1400})
    small.route(net, via="10.1.0.2", dev="eth1", priority=9, metrics={"mtu": 1400})
    yield _case("a spare way to a network, with an MTU", "the same", small, 1, severity="info")
    later = _router(eth1=0).route("10.40.0.0/16", via="10.0.0.2", dev="eth0", metrics={"mtu": 1400})
    later.route(net, hops=[later.hop("eth0", "10.0.0.2"), later.hop("eth1", "10.1.0.2")])
    yield _case("one of two ways to the second network", "another route by the first way stands before", later, **crit)
