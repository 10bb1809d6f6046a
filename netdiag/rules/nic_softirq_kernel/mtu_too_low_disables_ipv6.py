"""What it checks
  An interface with an MTU below 1280 on which IPv6 therefore does not run, where something says that it should: a
  policy rule for IPv6 names the interface, or is for an address that is gone, with a table whose IPv4 routes leave by
  it, WireGuard peers have IPv6 prefixes behind it, a BGP session runs over it or lost its neighbour's subnet with it,
  its like have IPv6, most other guests have an address of each family and its guest one of IPv4, the intent names an
  IPv6 address for it or it had one at the time of the baseline, the other end of its cable or the device below it
  carries 1280 and more, a bridge has ports that do, or it is the way out of a host that uses IPv6.

Why it matters
  IPv6 needs links of 1280 bytes. When an interface's MTU falls below, the kernel takes IPv6 off it without a word:
  every address, link-local ones included, every route and neighbour over it and its settings under
  /proc/sys/net/ipv6/conf are gone. IPv4 goes on. Raising the MTU again brings back the link-local address and what
  routers announce, but no address or route that was added by hand or by a script.

Confirm
  ip -d link show dev IFNAME
  ls /proc/sys/net/ipv6/conf lists every interface with IPv6; this one is missing
  ip -6 address show dev IFNAME is empty

Fix
  ip link set dev IFNAME mtu MTU with 1280 or more, then add the addresses and routes again, or restart what
  configures the interface. Raising the MTU on one end of a link loses large packets until the other end follows.

Not flagged
  A tunnel that is meant for IPv4 alone (WireGuard without IPv6 prefixes, GRE, IPIP, tun ...), whatever its MTU. A
  container network with a small MTU at both ends. A port of a bridge or a leg of a bond, which needs no address. A
  host or namespace with IPv6 switched off. Other interfaces with IPv4 and a small MTU on a host that uses IPv6
  elsewhere are only mentioned (info): the state does not say whether IPv6 was ever meant there.

References
  RFC 8200 section 5, net/ipv6/addrconf.c addrconf_notify() (NETDEV_CHANGEMTU), addrconf_ifdown()
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from msgspec import structs

from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, subject
from netdiag.model.link import IFF_LOOPBACK, IFF_UP, Link
from netdiag.rules.build import INET6_CONF, HostBuilder
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.ipv6meant import CONSULTS, IPV6_MIN_MTU, bereft, emptied, reason
from netdiag.rules.routewords import rule_subject
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="mtu-too-low-disables-ipv6",
    title="an MTU below 1280 has taken IPv6 off an interface",
    severity="warning",
    confidence="likely",
    reads=("links", "peer_links", "addresses", "routes", "rules", "sysctls"),
    consults=CONSULTS,
    explains=(
        "link-mtu-*",
        "wg-mtu-*",
        "wg-allowedips-without-route",
        "tunnel-mtu-*",
        "route-default-missing",
        "bird-route-not-in-fib",
        "prefsrc-not-local",
        "bgp-*",
        "tap-*",
        "addr-missing-*",
        "route-expected-missing",
        "rule-references-empty-table",
    ),
    family="inet6",
)


def ipv6_enabled(view: HostView) -> bool:
    """The kernel has IPv6, and new interfaces of this namespace get it."""
    return all(view.sysctl_int(f"net.ipv6.conf.{which}.disable_ipv6") == 0 for which in ("all", "default"))


def without_ipv6(view: HostView) -> list[Link]:
    """Interfaces that have no IPv6 for their MTU's sake, and would need it: not ports and legs."""
    small = [link for link in view.links if link.up and not link.loopback and link.mtu < IPV6_MIN_MTU]
    return [link for link in small if not link.inet6_conf and _own_master(view, link)]


def _own_master(view: HostView, link: Link) -> bool:
    master = view.stack.master(link.ifindex)
    return master is None or master.kind == "vrf"


def check(view: HostView) -> Iterator[Draft]:
    if not ipv6_enabled(view):
        return
    for link in without_ipv6(view):
        found = reason(view, link)
        if found is None:
            continue
        ifname = quoted(link.ifname)
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} has mtu {link.mtu}, below the 1280 bytes that IPv6 needs: "
            f"there is no IPv6 on it, {found.why}",
            evidence=[
                (f"{link.ifname} mtu", link.mtu, f"RTM_GETLINK {link.ifname} IFLA_MTU"),
                (f"IPv6 on {link.ifname}", "none", f"RTM_GETLINK {link.ifname} IFLA_AF_SPEC without AF_INET6"),
                found.evidence,
            ],
            confirm=[f"ip -d link show dev {ifname}", "ls /proc/sys/net/ipv6/conf"],
            fix=f"ip link set dev {ifname} mtu {found.mtu}  # then add its IPv6 addresses and routes again",
            confidence=found.confidence,
            breaks=[
                *(session.subject for session in bereft(view, link)),
                *(rule_subject(rule, view.rules) for rule in emptied(view, link)),
            ],
        )


def examples() -> Iterator[Example]:
    yield from _needed_examples()
    yield from _bgp_examples()
    yield from _cable_examples()
    yield from _stack_examples()
    yield from _host_examples()


ABOUT = subject("link", ifname="eth0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **told: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **told)


def _bgp_examples() -> Iterator[Example]:
    """A session whose neighbour's subnet went, and who had it."""
    for mtu, fires in ((1279, 1), (1280, 0)):
        host = BirdHost()
        host.bgp_down("up6", "Error: Neighbor lost", bgp_state="Idle", neighbor_address="2001:db8:5::1")
        host.link("wan7", mtu=mtu, inet6_conf=INET6_CONF if mtu >= IPV6_MIN_MTU else {}).address("wan7", "192.0.2.2/30")
        host.link("eth0").address("eth0", "2001:db8::2/64")
        host.link("lan", mtu=1280, inet6_conf=INET6_CONF).address("lan", "10.0.0.1/24")
        says = ("though BGP session up6 lost its subnet with it",) if fires else ()
        yield _case(f"BGP lost its subnet, mtu {mtu}", "it was there", host, fires, says=says)


def _needed_examples() -> Iterator[Example]:
    """What needs IPv6 there, wherever it leads."""
    for name, why, mtu, allowed, fires in (
        ("WireGuard peers with IPv6 behind it", "the mesh is dead for them", 1279, ("10.0.0.2/32", "fd00::2/128"), 1),
        ("WireGuard peers at the limit", "IPv6 runs", 1280, ("fd00::2/128",), 0),
        ("WireGuard peers with IPv4 behind it", "nothing asks for IPv6", 1279, ("10.0.0.2/32",), 0),
        ("everything allowed", "a peer's ::/0 says nothing about use", 1279, ("0.0.0.0/0", "::/0"), 0),
    ):
        host = WireguardBuilder().wireguard("wg0", mtu=mtu, inet6_conf=INET6_CONF if mtu >= IPV6_MIN_MTU else {})
        host.wg_peer("wg0", "a", allowed_ips=allowed)
        confidence: Confidence | None = "certain" if fires else None
        yield _case(name, why, host, fires, confidence=confidence)
    taps = HostBuilder().link("tap0", kind="tun", mtu=1200, inet6_conf={})
    for number in (1, 2):
        taps.link(f"tap{number}", kind="tun").route(f"2001:db8::{number}/128", dev=f"tap{number}")
    yield _case("its like have it", "two taps of three", taps, 1, confidence="likely")
    wide = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64")
    small = HostBuilder().link("eth0", mtu=1279, inet6_conf={}).address("eth0", "192.0.2.1/24")
    for name, why, then, fires in (
        ("it had IPv6", "the addresses went with the change", wide, 1),
        ("it never had IPv6", "nothing went", small, 0),
    ):
        confident: Confidence | None = "certain" if fires else None
        yield _case(name, why, small, fires, confidence=confident, baseline=then.build())


def _cable_examples() -> Iterator[Example]:
    def cable(near: int, far: int, **fields: Any) -> HostBuilder:
        fields.setdefault("inet6_conf", INET6_CONF if far >= 1280 else {})
        return HostBuilder().link("eth0", kind="veth", mtu=near).peer("eth0", mtu=far, **fields)

    yield _case(
        "far end carries 1500",
        "the plain fault: one end was set to 1200, and IPv6 is gone from it",
        cable(1200, 1500).address("eth0", "192.0.2.1/24"),
        1,
        subject=ABOUT,
        severity="warning",
        confidence="likely",
        says=("eth0 has mtu 1200", "its peer eth0 has 1500"),
    )
    yield _case(
        "no address left at all",
        "an interface with IPv6 alone has nothing afterwards",
        cable(1279, 1280),
        1,
        subject=ABOUT,
    )
    yield _case("1280 is enough", "the limit itself is allowed", cable(1280, 1500))
    yield _case(
        "container network of 1200",
        "both ends agree: the size is meant, and IPv4 is all that is used",
        cable(1200, 1200).address("eth0", "10.0.0.2/24").route("default", via="10.0.0.1", dev="eth0"),
    )
    yield _case("far end of 1279", "IPv6 could not run at the other end either", cable(1200, 1279))
    yield _case(
        "far end without IPv6",
        "somebody has switched IPv6 off on this link",
        cable(1200, 1500, inet6_conf={"disable_ipv6": 1}),
    )
    yield _case(
        "far end is a bridge port without IPv6",
        "a port needs none; its segment carries enough",
        cable(1200, 1280, inet6_conf={}, slave_kind="bridge"),
        1,
        subject=ABOUT,
    )
    yield _case(
        "far end is a bridge port of 1279", "its segment carries no IPv6 either", cable(1200, 1279, slave_kind="bridge")
    )
    yield _case(
        "1200 and IPv6 all the same",
        "the kernel says that IPv6 runs there: then it does",
        HostBuilder().link("eth0", kind="veth", mtu=1200, inet6_conf=INET6_CONF).peer("eth0", inet6_conf=INET6_CONF),
    )
    large = cable(1200, 1500).build()
    yield Example(
        name="1280 and no IPv6",
        why="it is missing for another reason than the MTU",
        tables=replace(large, links=tuple(structs.replace(link, mtu=1280) for link in large.links)),
    )
    yield _case(
        "both ends in this namespace",
        "the same cable without a namespace in between",
        HostBuilder().link("a", kind="veth", mtu=1200, link=3).link("b", kind="veth", link=2),
        1,
        subject=subject("link", ifname="a"),
    )
    yield _case(
        "interface down",
        "it is out of use for another reason",
        HostBuilder().link("eth0", kind="veth", mtu=1200, up=False).peer("eth0", inet6_conf=INET6_CONF),
    )
    for which in ("all", "default"):
        yield _case(
            f"IPv6 switched off ({which})",
            "then no MTU would bring it",
            cable(1200, 1500).sysctl(f"net.ipv6.conf.{which}.disable_ipv6", 1),
        )
    yield _case(
        "port of a bridge",
        "the bridge has the addresses",
        HostBuilder()
        .link("br0", kind="bridge", mtu=1280)
        .link("eth0", kind="veth", mtu=1200, master="br0")
        .peer("eth0", mtu=1500, inet6_conf=INET6_CONF),
    )
    yield _case(
        "member of a VRF",
        "a VRF leaves the addresses where they are",
        HostBuilder()
        .link("red", kind="vrf")
        .link("eth0", kind="veth", mtu=1200, master="red")
        .peer("eth0", mtu=1500, inet6_conf=INET6_CONF),
        1,
        subject=ABOUT,
    )


def _stack_examples() -> Iterator[Example]:
    def bridge(*ports: tuple[str, int, bool]) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", mtu=1200)
        for ifname, mtu, up in ports:
            host.link(ifname, mtu=mtu, master="br0", up=up)
        return host

    yield _case(
        "bridge smaller than a port",
        "a small port pulled the bridge down, or somebody set it",
        bridge(("p0", 1200, True), ("p1", 1280, True)),
        1,
        subject=subject("link", ifname="br0"),
        says=("its port p1 has 1280",),
    )
    yield _case(
        "bridge with small ports",
        "an overlay of 1200 throughout; a port that is down says nothing",
        bridge(("p0", 1200, True), ("p1", 1279, True), ("p2", 1500, False)),
    )
    bond = HostBuilder().link("bond0", kind="bond", mtu=1200).link("eth1", master="bond0")
    yield _case("bond with a larger leg", "a leg's MTU is the bond's business; nothing says that IPv6 was meant", bond)

    def over(kind: str, mtu: int, lower: int, **fields: Any) -> HostBuilder:
        host = HostBuilder().link("eth0", mtu=lower, **fields)
        return host.link("up0", kind=kind, mtu=mtu, link="eth0")

    yield _case(
        "VLAN below 1280 over a device that has IPv6",
        "the device below carries more",
        over("vlan", 1200, 1280),
        1,
        subject=subject("link", ifname="up0"),
    )
    yield _case(
        "VXLAN below 1280 over the same device",
        "an overlay is smaller than what it runs over, and may be for IPv4 alone",
        over("vxlan", 1200, 1500),
    )
    yield _case(
        "VLAN over a device without IPv6",
        "IPv6 is switched off below",
        over("vlan", 1200, 1500, inet6_conf={"disable_ipv6": 1}),
    )
    yield _case(
        "VLAN over a device below 1280",
        "the device below has no IPv6 either, and nothing says that it should",
        over("vlan", 1200, 1279),
    )


def _host_examples() -> Iterator[Example]:
    def dual_stack(**fields: Any) -> HostBuilder:
        host = HostBuilder().link("eth1").address("eth1", "2001:db8::1/64")
        return host.link("eth0", **({"mtu": 1200} | fields)).address("eth0", "192.0.2.2/24")

    out: dict[str, Any] = {"via": "192.0.2.1", "dev": "eth0"}
    for selector in ("iif", "oif"):
        yield _case(
            f"an IPv6 rule has it as {selector}",
            "somebody routes IPv6 there, even over a tunnel",
            HostBuilder()
            .link("wg0", kind="wireguard", type=65534, mtu=1200)
            .rule(100, family="inet6", table=100, **{selector: "wg0"}),
            1,
            subject=subject("link", ifname="wg0"),
            severity="warning",
            confidence="certain",
        )
    yield _case(
        "an IPv4 rule names it",
        "that says nothing about IPv6",
        HostBuilder().link("wg0", kind="wireguard", type=65534, mtu=1200).rule(100, table=9, iif="wg0"),
    )
    yield _case(
        "way out of a dual-stack host",
        "IPv6 lives on another interface and has lost its way out",
        dual_stack().route("default", **out),
        1,
        subject=ABOUT,
        severity="warning",
        says=("2001:db8::1",),
    )
    hops = dual_stack().link("eth2")
    hops.route("default", hops=[hops.hop("eth2", "198.51.100.1"), hops.hop("eth0", "192.0.2.1")])
    yield _case(
        "one of two ways out",
        "a multipath default route leads through it as well",
        hops,
        1,
        subject=ABOUT,
        severity="warning",
    )
    yield _case(
        "only a route to a prefix",
        "not the way out: it is mentioned, no more",
        dual_stack().route("198.51.100.0/24", **out),
        1,
        severity="info",
        confidence="possible",
    )
    yield _case(
        "unreachable default route",
        "it leads nowhere, not through eth0",
        dual_stack().route("default", family="inet", type="unreachable"),
        1,
        severity="info",
    )
    yield _case(
        "blackhole default route that names it",
        "only a unicast route leads out",
        dual_stack().route("default", dev="eth0", type="prohibit"),
        1,
        severity="info",
    )
    yield _case(
        "host without IPv6 addresses",
        "loopback and link-local addresses are there on every host",
        HostBuilder()
        .link("eth1")
        .address("eth1", "fe80::1/64")
        .link("eth0", mtu=1200)
        .address("eth0", "192.0.2.2/24")
        .route("default", **out),
    )
    yield _case(
        "host with IPv4 addresses alone",
        "nothing on it is IPv6",
        HostBuilder()
        .link("eth1")
        .address("eth1", "198.51.100.1/24")
        .link("eth0", mtu=1200)
        .address("eth0", "192.0.2.2/24")
        .route("default", **out),
    )
    yield _case(
        "small loopback",
        "loopback keeps IPv6 whatever its MTU, and is no way out",
        HostBuilder()
        .link("eth1")
        .address("eth1", "2001:db8::1/64")
        .link("lo", ifindex=1, mtu=1200, flags=IFF_UP | IFF_LOOPBACK),
    )
    yield _case(
        "IPv4 tunnel as the way out of a dual-stack host",
        "a VPN for IPv4 alone may be as small as it likes",
        HostBuilder()
        .link("eth1")
        .address("eth1", "2001:db8::1/64")
        .link("tun0", kind="tun", type=65534, mtu=1200)
        .address("tun0", "192.0.2.2/24")
        .route("default", dev="tun0"),
    )
    yield _case(
        "PPP without a kind",
        "no Ethernet: its size is what the other side offers",
        dual_stack(type=512).route("default", **out),
    )
    yield _case(
        "container bridge of 1200 on a dual-stack host",
        "its containers have 1200 as well: an overlay",
        dual_stack(kind="bridge").link("v0", kind="veth", mtu=1200, master="eth0"),
    )
    uplink = dual_stack(kind="bridge").link("eth9", mtu=1200, master="eth0").route("default", **out)
    yield _case("bridge of 1200 with a card, the way out", "as a card", uplink, 1, severity="warning")
    for kind in ("bridge", "tun"):
        told: dict[str, Any] = {"severity": "info", "confidence": "possible"}
        yield _case(f"lone {kind} of 1200", "it may be meant for IPv4", dual_stack(kind=kind), 1, **told)
        routed = dual_stack(kind=kind).route("default", **out)
        yield _case(f"lone {kind} of 1200 as the way out", "the same", routed, 1, **told)
    yield _case("lone VXLAN of 1200", "an overlay is small by nature", dual_stack(kind="vxlan"))
    yield _case(
        "small interface without any address",
        "nobody uses it",
        HostBuilder().link("eth1").address("eth1", "2001:db8::1/64").link("eth0", mtu=1200),
    )
