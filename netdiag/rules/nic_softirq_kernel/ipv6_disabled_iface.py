"""What it checks
  IPv6 is switched off on one interface (disable_ipv6) of a host that uses it, and something there needs it: a
  WireGuard peer with IPv6 prefixes behind it, a BGP session over that interface, or one that is down since its
  neighbour's subnet went with it (one of IPv4 to the same AS goes over it, or nothing else has IPv6 off), an IPv6
  policy rule (by its name, or by an address that went, into a table that has IPv4 routes over it and none of IPv6 any
  more), two or more of its like, and most of them, have IPv6 (interfaces of the same kind and name, but for the
  number), the intent names an IPv6 address for it, it had one at the time of the baseline, it is the only way out of
  guests with IPv6 addresses of the world, or it leads to a guest's IPv4 address while most other guests have one of
  each family. Or it is off for the whole host (all), no interface has a global IPv6 address, and the host had one at
  the time of the baseline, or BIRD has a session to an IPv6 neighbour that is down and not switched off.

Why it matters
  The kernel removes every IPv6 address and route of the interface when the switch is set, link-local ones included, and
  accepts none: what goes there has no route, what arrives is dropped. Clearing the switch brings back the link-local
  address only, so that addresses and routes have to be made again.

Confirm
  sysctl net.ipv6.conf.IFNAME.disable_ipv6
  ip -6 -br address                  (others are there, IFNAME is not)

Fix
  sysctl -w net.ipv6.conf.IFNAME.disable_ipv6=0, then make its addresses and routes again (restart whatever configures
  the interface). Nothing of IPv4 is touched. Look for the line in /etc/sysctl.d that set it.

Not flagged
  Other hosts on which IPv6 is off as a whole (all); or for new interfaces (default) while no other has it. Where it
  is off for new ones and others have it, it is a warning: an interface that was made after the switch was set.
  Interfaces for IPv4 only, with nothing that asks for IPv6: management, containers' networks. Ports of a bridge, legs
  of a bond: they need none. A way out (a gateway is behind it), a bridge or a VLAN that has nothing against it but
  that its like have IPv6 (libvirt sets the switch on a network without, networkd on a link without link-local
  addresses), and a guest's tap with nothing that asks for IPv6, on a host that forwards it: they may be for IPv4
  alone; info. Interfaces that are down. An MTU below 1280: see mtu-too-low-disables-ipv6.

References
  net/ipv6/addrconf.c addrconf_disable_ipv6(), Documentation/networking/ip-sysctl.rst disable_ipv6
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.guests import faces_guest, sides
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.intent import IntendedAddress
from netdiag.model.link import Link
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.expected import since
from netdiag.rules.ipv6meant import ALIKE_SOURCE, CONSULTS, bereft, emptied, having_ipv6, needs, rules_for, way_examples
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ipv6-disabled-iface",
    title="IPv6 is switched off on an interface that needs it",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "sysctls"),
    consults=CONSULTS,
    explains=(
        "bgp-*",
        "wg-*",
        "neigh-*",
        "tap-route-missing",
        "rule-references-empty-table",
        "addr-missing-*",
        "route-expected-missing",
        "sysctl-expected-differs",
    ),
    family="inet6",
)


def check(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int("net.ipv6.conf.all.disable_ipv6") == 1:
        yield from _everywhere(view)
    if view.sysctl_int("net.ipv6.conf.all.disable_ipv6") != 0:
        return
    late = view.sysctl_int("net.ipv6.conf.default.disable_ipv6") != 0
    with_ipv6 = having_ipv6(view)
    exits = {link.ifindex for link in sides(view.stack, view.routes("inet"), view.addresses).exits}
    for link in view.links:
        if not link.up or link.inet6_conf.get("disable_ipv6") != 1:
            continue
        if link.master is not None and view.stack.vrf(link.ifindex) is None:
            continue
        why = needs(view, link, with_ipv6)
        unsure = why is None
        if why is None and (why := _beside(view, link, with_ipv6)) is None:
            continue
        words, source, certain = why
        if late and not with_ipv6 - {link.ifindex}:
            continue  # new interfaces begin without it, and nobody has it: the host does without
        # a way out, a bridge or a VLAN that is for IPv4 alone is somebody's will (libvirt and networkd set the switch)
        weak = source == ALIKE_SOURCE and (link.ifindex in exits or link.kind in ("bridge", "vlan"))
        certain = certain and not late  # each that has it was named: perhaps this one is not meant to
        slashed = "." in link.ifname
        name = f"net/ipv6/conf/{link.ifname}/disable_ipv6" if slashed else f"net.ipv6.conf.{link.ifname}.disable_ipv6"
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"IPv6 is switched off on {link.ifname} (disable_ipv6), though {words}",
            severity="critical" if certain else "warning",
            confidence="possible" if weak or unsure else "certain" if certain else "likely",
            evidence=[
                (name, 1, f"RTM_GETLINK {link.ifname} IFLA_INET6_CONF disable_ipv6"),
                ("net.ipv6.conf.all.disable_ipv6", 0, "/proc/sys/net/ipv6/conf/all/disable_ipv6"),
                ("what needs it", words, source),
            ],
            confirm=[f"sysctl {quoted(name)}", "ip -6 -br address"],
            fix=f"sysctl -w {quoted(name)}=0",
            breaks=[
                subject("sysctl", name=f"net.ipv6.conf.{link.ifname}.disable_ipv6"),
                *(rule_subject(rule, view.rules) for rule in (*rules_for(view, link), *emptied(view, link))),
                *(session.subject for session in bereft(view, link)),
            ],
        )


def _beside(view: HostView, link: Link, with_ipv6: set[int]) -> tuple[str, str, bool] | None:
    """A guest's tap on a host that forwards IPv6: the guest may be one of IPv4 alone."""
    others = sorted(view.ifname(ifindex) for ifindex in with_ipv6 - {link.ifindex})
    if link.kind != "tun" or not faces_guest(link) or not others:
        return None
    if view.sysctl_int("net.ipv6.conf.all.forwarding") != 1:
        return None
    return f"this host forwards IPv6 ({others[0]} has it): a guest of IPv4 alone, or one cut off", ALIKE_SOURCE, False


def _everywhere(view: HostView) -> Iterator[Draft]:
    """IPv6 is off for the whole host, which had it at the time of the baseline, or is told to speak it."""
    if any(row.family == "inet6" and row.scope == 0 for row in view.addresses):
        return
    name, old = "net.ipv6.conf.all.disable_ipv6", view.baseline
    why: tuple[str, str, bool] | None = None
    if old is not None and old.read_whole("addresses"):
        had = [row for row in old.addresses if row.family == "inet6" and row.scope == 0]
        when = f"at the time of {since(old)[6:]}"
        why = (f"it had {had[0].local} {when}", f"RTM_GETADDR IFA_LOCAL, {when}", True) if had else None
    lost = [one for one in sessions(view) if one.address is not None and one.address.version == 6]
    lost = [one for one in lost if not one.up and not one.switched_off]
    if why is None and lost:
        why = f"BGP session {lost[0].name} is to {lost[0].address}", lost[0].source, False
    if why is None:
        return
    yield RULE.found(
        subject=subject("host"),
        message=f"IPv6 is switched off for the whole host ({name}), though {why[0]}",
        severity="critical",
        confidence="certain" if why[2] else "likely",
        evidence=[(name, 1, "/proc/sys/net/ipv6/conf/all/disable_ipv6"), ("what needs it", why[0], why[1])],
        confirm=[f"sysctl {name}", "ip -6 -br address"],
        fix=f"sysctl -w {name}=0  # then make the addresses and routes again",
        breaks=[
            *(subject("link", ifname=link.ifname) for link in view.links),
            *(subject("sysctl", name=f"net.ipv6.conf.{link.ifname}.disable_ipv6") for link in view.links),
            *(subject("sysctl", name=f"net.ipv6.conf.{which}.disable_ipv6") for which in ("all", "default")),
            *(one.subject for one in lost),
        ],
    )


def _whole_host() -> Iterator[Example]:
    """IPv6 is off for all."""

    def host(session: dict[str, Any] | None = None, *, six: bool = False) -> HostBuilder:
        made = BirdHost()
        if session is not None:
            made.bgp_down("up6", "Error: Neighbor lost", **({"bgp_state": "Idle"} | session))
        made.link("eth0", **({} if six else OFF)).address("eth0", "192.0.2.2/24")
        if six:
            return made.address("eth0", "2001:db8::2/64")
        return made.sysctl("net.ipv6.conf.all.disable_ipv6", 1)

    about = subject("host")
    sure: dict[str, Any] = {"fires": 1, "severity": "critical", "subject": about}
    off = host()
    yield _case("off for all, since the baseline", "it had it", off, baseline=host(six=True).build(), **sure)
    yield _case("off for all, then as well", "the host does without", off, baseline=host().build())
    late: dict[str, Any] = {"late_then": ("addresses",), "baseline": host(six=True).build()}
    yield _case("off for all, then not read", "nobody knows", off, **late)
    for name, session, fires in (
        ("of IPv6", {"neighbor_address": "2001:db8:5::1"}, 1),
        ("of IPv4", {"neighbor_address": "198.51.100.1"}, 0),
        ("that is switched off", {"neighbor_address": "2001:db8:5::1", "state": "down", "bgp_state": None,
                                  "last_error": None, "info": ""}, 0),
    ):  # fmt: skip
        yield _case(f"off for all, a session {name}", "somebody set it up", host(session), **(sure if fires else {}))
    left = host({"neighbor_address": "2001:db8:5::1"}).link("eth1").address("eth1", "2001:db8:1::1/64")
    yield _case("off for all, but one has it", "it was switched on again there", left)


def _remembered() -> Iterator[Example]:
    """What the intent or the baseline says of the addresses of a second uplink."""

    def host(*addresses: str, **fields: Any) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64").link("mgmt", **fields)
        for address in addresses:
            made.address("mgmt", address, scope=253 if address.startswith("fe80") else 0)
        return made

    off, about = host("10.0.0.1/24", **OFF), subject("link", ifname="mgmt")
    sure: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "certain", "subject": about}
    had, local = host("10.0.0.1/24", "2001:db8:2::1/64").build(), host("10.0.0.1/24", "fe80::1/64").build()
    says = ("it had 2001:db8:2::1 at the time of the baseline",)
    yield _case("it had IPv6", "everything of it went", off, baseline=had, says=says, **sure)
    yield _case("it had link-local addresses alone", "nobody used them", off, baseline=local)
    yield _case("it had IPv6, of which nothing is known", "then not read", off, baseline=had, late_then=("addresses",))
    for address, fires in (("2001:db8:2::1", 1), ("10.0.0.1", 0)):
        meant = host("10.0.0.1/24", **OFF).intend(address=(IntendedAddress(ifname="mgmt", address=address),))
        more = sure if fires else {}
        yield _case(f"the intent names {address}", "somebody wants it there", meant, **more)
    other = host("10.0.0.1/24", **OFF).intend(address=(IntendedAddress(ifname="eth0", address="2001:db8::1"),))
    yield _case("the intent names another interface", "it says nothing", other)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


OFF: dict[str, Any] = {"inet6_conf": {"disable_ipv6": 1}}


def _wg(*allowed: str, **link: Any) -> HostBuilder:
    return WireguardBuilder().wireguard("wg0", **link).wg_peer("wg0", "a", allowed_ips=allowed)


def _taps(count: int, *, lone: bool = False) -> HostBuilder:
    host = HostBuilder().link("tap0", kind="tun", info={"type": "tap"}, **OFF)
    for number in range(1, count + 1):
        host.link(f"tap{number}", kind="tun", info={"type": "tap"}).route(f"2001:db8::{number}/128", dev=f"tap{number}")
    return host.link("tap99", kind="tun", info={"type": "tap"}) if lone else host


def _guests() -> Iterator[Example]:
    """Guests with addresses of their own; the first one's interface is without IPv6."""

    def host(*families: str, kind: str = "tun", name: str = "vm{}", own: str | None = "10.0.0.9/32") -> HostBuilder:
        more: dict[str, Any] = {"info": {"type": "tap"}} if kind == "tun" else {"link_netnsid": 1}
        host = HostBuilder().link("guest9", kind=kind, **more, **OFF)
        for number, which in enumerate(families, 1):
            made = name.format("abcdef"[number]) + "x"
            host.link(made, kind=kind, **more)
            if "4" in which:
                host.route(f"10.0.0.{number}/32", dev=made)
            if "6" in which:
                host.route(f"2001:db8::{number}/128", dev=made)
        return host.route(own, dev="guest9") if own else host

    sure: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely"}
    for name, why, made, fires in (
        ("another has both", "whoever gives addresses gives both", host("46"), 1),
        ("two of three have both", "most", host("46", "46", "4"), 1),
        ("one of two has both", "not most", host("46", "4"), 0),
        ("none has IPv6", "it is not used", host("4"), 0),
        ("another has IPv6 alone", "it says nothing of one with IPv4", host("6"), 0),
        ("its guest has no address", "it says nothing", host("46", own=None), 0),
        ("veths", "containers with addresses of their own", host("46", kind="veth"), 1),
        ("cards", "no guests", host("46", kind="vlan"), 0),
        ("veths on a router of IPv6", "containers", _forwarding(host("4", kind="veth")), 0),
        ("none has IPv6, on a router of IPv6", "nobody has", _forwarding(host("4"), own=False), 0),
    ):
        more: dict[str, Any] = sure | {"says": ("that behind vmbx has one of each",)} if fires else {}
        yield _case(f"guests, {name}", why, made, **more)
    router = _forwarding(host("4"))
    yield _case("a guest's tap on a router of IPv6", "of IPv4 alone, perhaps", router, fires=1, severity="info")


def _forwarding(host: HostBuilder, *, own: bool = True) -> HostBuilder:
    host.sysctl("net.ipv6.conf.all.forwarding", 1).link("eth0")
    return host.address("eth0", "2001:db8:9::1/64") if own else host


def _ways_out() -> Iterator[Example]:
    """An uplink among its like, with a gateway of IPv4 behind it, or none."""
    for via, severity in (("10.0.0.2", "info"), (None, "warning")):
        host = HostBuilder().link("eth1", **OFF).address("eth1", "10.0.0.1/24")
        for number in (2, 3):
            host.link(f"eth{number}").address(f"eth{number}", f"2001:db8:{number}::1/64")
        if via:
            host.route("10.9.0.0/16", via=via, dev="eth1")
        name = f"one of three cards, {'with' if via else 'without'} a gateway"
        yield _case(name, "is it for IPv4 alone?", host, 1, severity=severity)
    for kind, severity in (("bridge", "info"), ("vlan", "info"), ("veth", "warning")):
        host = HostBuilder().link("n1", kind=kind, **OFF).address("n1", "10.0.0.1/24")
        for number in (2, 3):
            host.link(f"n{number}", kind=kind).address(f"n{number}", f"2001:db8:{number}::1/64")
        yield _case(f"one of three, {kind}", "each network is somebody's will", host, 1, severity=severity)


def _ruled() -> Iterator[Example]:
    """Two uplinks with a table of policy rules for the second one."""

    def host(**rule: Any) -> HostBuilder:
        built = HostBuilder().link("eth0").link("mgmt", **OFF).address("eth0", "2001:db8::1/64")
        built.address("mgmt", "10.0.0.1/24").route("default", via="10.0.0.2", dev="mgmt", table=100)
        given: dict[str, Any] = {"family": "inet6", "src": "2001:db8:1::1", "src_len": 128, "table": 100}
        return built.rule(1000, **(given | rule))

    sure: dict[str, Any] = {"fires": 1, "severity": "warning", "subject": subject("link", ifname="mgmt")}
    words = "rule 1000 is for 2001:db8:1::1, which no interface has"
    yield _case("a rule for an address that went with it", "its table has IPv4 left", host(), says=(words,), **sure)
    for given in ({"src": None, "src_len": 0}, {}):
        named = host(iif="mgmt", **given)
        about = f"a rule that names it, {len(given)} of 2"
        yield _case(about, "somebody routes IPv6 there", named, says=("policy rule 1000 names it",), **sure)
    yield _case("a rule for an address that is there", "another interface has it", host(src="2001:db8::1"))
    yield _case("a rule for a network", "nobody need have an address of it", host(src="2001:db8:1::", src_len=64))
    yield _case("a rule for another table", "it is not this interface's", host(table=101))
    full = host().route("default", via="2001:db8::2", dev="eth0", table=100)
    yield _case("a table with IPv6 routes", "it leads elsewhere", full)
    yield _case("a rule of IPv4", "it says nothing of IPv6", host(family="inet", src="10.9.0.1", src_len=32))


def _bgp() -> Iterator[Example]:
    """Sessions of both families to one neighbour, of which that of IPv6 lost its subnet."""

    def host(v6: str | None = "2001:db8:5::1", *, on: str = "wan7", **fields: Any) -> HostBuilder:
        built, state = BirdHost(), {"bgp_state": "Idle", "neighbor_address": v6}
        built.bgp_down("up6", "Error: Neighbor lost", **(state | fields))
        built.link(on, kind="bond" if on == "bond7" else None, **OFF).address(on, "192.0.2.2/30")
        return built.link("eth0").address("eth0", "2001:db8::2/64")

    sure: dict[str, Any] = {"fires": 1, "severity": "warning", "subject": subject("link", ifname="wan7")}
    says = ("though BGP session up6 lost its subnet with it",)
    yield _case("BGP lost its subnet, and nothing else has IPv6 off", "it was there", host(), says=says, **sure)
    two = host().link("mgmt", **OFF).address("mgmt", "10.0.0.1/24")
    yield _case("BGP lost its subnet, two without IPv6", "which of them had it is not known", two)
    pool = host().link("virbr0", kind="bridge", **OFF).address("virbr0", "192.168.122.1/24")
    yield _case("BGP lost its subnet, and a bridge of guests is without IPv6", "an engine did that", pool, **sure)
    bridge = BirdHost()
    bridge.bgp_down("up6", "Error: Neighbor lost", bgp_state="Idle", neighbor_address="2001:db8:5::1")
    bridge.link("virbr0", kind="bridge", **OFF).address("virbr0", "192.168.122.1/24")
    bridge.link("eth0").address("eth0", "2001:db8::2/64")
    yield _case("BGP lost its subnet, and but a bridge of guests is without IPv6", "it was not there", bridge)
    for name, why, other in (
        (
            "and one that is down",
            "nothing runs over it",
            host().link("mgmt", up=False, **OFF).address("mgmt", "10.0.0.1/24"),
        ),
        ("and a card without an address", "it is on no subnet", host().link("eth9", **OFF)),
        ("and lo", "no subnet is behind it", host().link("lo", type=772, ifindex=1, flags=0x10049, **OFF)),
    ):
        yield _case(f"BGP lost its subnet, {name} has IPv6 off", why, other, says=says, **sure)
    legs = host(on="bond7").link("eth1", master="bond7").link("eth2", master="bond7")
    about = sure | {"subject": subject("link", ifname="bond7")}
    yield _case("BGP lost its subnet on a bond", "its legs are no guests", legs, says=says, **about)
    for name, why, session in (
        ("of IPv4", "IPv6 has no part in it", {"v6": "198.51.100.1"}),
        ("by several hops", "it needs no subnet", {"session": "external multihop AS65002"}),
        ("that stands", "it has a way", {"state": "up", "bgp_state": "Established", "last_error": None}),
        (
            "that is switched off",
            "nobody wants it",
            {"state": "down", "bgp_state": None, "last_error": None, "info": ""},
        ),
        ("for a range of neighbours", "nobody in particular", {"v6": None}),
    ):
        yield _case(f"a session {name} on no subnet", why, host(**session))
    pooled = BirdHost().bgp("up4", neighbor_address="192.168.122.5")
    pooled.bgp_down("up6", "Error: Neighbor lost", bgp_state="Idle", neighbor_address="2001:db8:5::1")
    pooled.link("virbr0", kind="bridge", **OFF).address("virbr0", "192.168.122.1/24")
    yield _case("an engine's bridge with a session of IPv4", "guests peer by IPv4", pooled)
    stranger = host().link("mgmt", **OFF).address("mgmt", "10.0.0.1/24")
    assert isinstance(stranger, BirdHost)
    stranger.bgp("up4", neighbor_address="192.0.2.1", neighbor_as=65009)
    yield _case("two without IPv6, one with a session of another AS", "another neighbour", stranger)
    twin = host().link("mgmt", **OFF).address("mgmt", "10.0.0.1/24")
    assert isinstance(twin, BirdHost)
    twin.bgp("up4", neighbor_address="192.0.2.1")
    yield _case("two without IPv6, one with the session of IPv4", "the same neighbour", twin, **sure)
    yield _case("the neighbour's subnet is elsewhere", "another fault", host("2001:db8::1"))
    yield _case("an inner session", "it need not be on a subnet", host(neighbor_as=65001))


def examples() -> Iterator[Example]:
    yield from _bgp()
    yield from _ways_out()
    yield from _remembered()
    yield from (*_whole_host(), *way_examples())
    crit: dict[str, Any] = {"fires": 1, "severity": "critical", "confidence": "certain"}
    about = subject("link", ifname="wg0")
    yield _case(
        "WireGuard with IPv6 behind it",
        "the plain fault",
        _wg("10.0.0.2/32", "fd00::2/128", **OFF),
        subject=about,
        **crit,
    )
    yield _case("WireGuard for IPv4", "nothing asks for IPv6", _wg("10.0.0.2/32", **OFF))
    yield _case("everything allowed", "a peer's ::/0 says nothing about use", _wg("0.0.0.0/0", "::/0", **OFF))
    yield _case("IPv6 is on", "the ordinary case", _wg("fd00::2/128"))
    for which in ("all", "default"):
        host = _wg("fd00::2/128", **OFF).sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1)
        yield _case(f"off for {which}", "the host does without", host)
    made = _wg("fd00::2/128", **OFF).sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    made.link("eth9").address("eth9", "2001:db8:9::1/64")
    left = HostBuilder().link("wg0", kind="wireguard", **OFF).sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    left.rule(100, family="inet6", iif="wg0", table=100).rule(101, family="inet6", iif="wg0", table=101)
    yield _case("off for new ones, and rules were left behind", "the host does without", left)
    late: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely", "subject": about}
    yield _case("off for new ones, others have it", "it was made after the switch was set", made, **late)
    down = _wg("fd00::2/128", up=False, **OFF)
    yield _case("interface down", "another matter", down)
    bgp: Any = BirdHost().bgp_down("up1", neighbor_address="fe80::1", neighbor_ifname="eth0")
    yield _case("BGP over link-local addresses", "unnumbered sessions need it", bgp.link("eth0", **OFF), **crit)
    off: Any = BirdHost().bgp("up1", neighbor_address="fe80::1", neighbor_ifname="eth0", state="down", bgp_state="Down")
    yield _case("BGP that is switched off", "it needs nothing", off.link("eth0", **OFF))
    v4 = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64").link("mgmt", **OFF).address("mgmt", "10.0.0.1/24")
    yield _case("management", "IPv4 only", v4)
    sure: dict[str, Any] = {"severity": "warning", "confidence": "likely"}
    yield _case("two of its like have it", "one tap of three", _taps(2), 1, **sure)
    made = _taps(2).sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    yield _case("made when new ones begin without", "two of its like have it", made, 1, **sure)
    none = _taps(2).sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    yield _case("off for all, though its like have it", "what is left of before", none)
    yield _case("one of its like has it", "too few to tell", _taps(1))
    yield _case("two of three", "still most", _taps(2, lone=True), 1)
    half = _taps(2, lone=True).link("tap98", kind="tun", info={"type": "tap"})
    yield _case("half of its like", "not most", half)
    yield from _guests()
    port = HostBuilder().link("br0", kind="bridge").link("tap0", kind="tun", master="br0", **OFF)
    for number in (1, 2):
        port.link(f"tap{number}", kind="tun").address(f"tap{number}", f"2001:db8:{number}::1/64")
    yield _case("port of a bridge", "it needs no address", port)
    for name, why, address, scope, fires in (
        ("global addresses", "they have IPv6", "2001:db8:{}::1/64", 0, 1),
        ("link-local addresses", "every interface has one where IPv6 is on", "fe80::{}/64", 253, 0),
        ("IPv4 addresses", "another family", "10.{}.0.1/24", 0, 0),
    ):
        taps = HostBuilder().link("tap0", kind="tun", **OFF)
        for number in (1, 2):
            taps.link(f"tap{number}", kind="tun").address(f"tap{number}", address.format(number), scope=scope)
        yield _case(f"its like have {name}", why, taps, fires)
    away = _taps(2).link("tap98", kind="tun", up=False).link("tap97", kind="tun", up=False)
    yield _case("more of its like are down", "an empty pool", away, 1)
    lo = _taps(2).link("lo", type=772, ifindex=1, flags=0x10049, **OFF)
    yield _case("loopback is off as well", "another rule's", lo, 1)
    vrf = _wg("fd00::2/128", **OFF)
    vrf.link("red", kind="vrf", info={"table": 10})
    vrf.link("wg0", kind="wireguard", master="red", ifindex=vrf.ifindex("wg0"), **OFF)
    yield _case("in a VRF", "it has addresses of its own", vrf, 1)
    other: Any = BirdHost().bgp_down("up1", neighbor_address="fe80::1", neighbor_ifname="eth0")
    yield _case("BGP over another interface", "this one is not asked", other.link("eth0").link("mgmt", **OFF))
    yield from _ruled()
    plain = HostBuilder().link("wan", **OFF).link("wan1").link("wan2")
    for number in (1, 2):
        plain.address(f"wan{number}", f"2001:db8:{number}::1/64")
    yield _case("one without a number", "not made like the others", plain)
