"""What it checks
  Two connected subnets of one routing table that overlap, on different interfaces: one inside the other, or the same
  subnet twice with nothing that says which interface to prefer. Connected is what the kernel made a route to, or who
  configures the host in its place (proto ra, dhcp, beside an address in it).

Why it matters
  Inside: the longer prefix wins. Hosts of the wider subnet whose addresses fall into the narrower one cannot be
  reached: packets to them go to the bridge, container network or VPN that took the range, and theirs come in by an
  interface to which the reply does not go back. The same subnet twice: all that is sent leaves by one interface,
  whatever address it is sent from, both answer ARP for both addresses, and a strict reverse path filter drops what
  comes in by the other.

Confirm
  ip route show table TABLE root PREFIX (IPv6: ip -6 route)
  ip route get ADDRESS, with an address of the narrower subnet

Fix
  Give one of the networks another range (for Docker: bip, default-address-pools); what lives there gets new
  addresses. Until then a host route (ip route add ADDRESS/32 dev IFNAME) brings back a single host. For two cards in
  one subnet: join them (bond, bridge), take one address away, or give each address a table of its own (ip rule from
  ADDRESS).

Not flagged
  Host routes and point-to-point prefixes (/31 and /32, IPv6 /127 and /128) inside a subnet: proxied hosts, peers of a
  mesh. Equal subnets with different metrics, unless somebody was heard behind the second interface and nobody that was
  asked answers behind the first. Subnets in different tables or VRFs, or kept apart by policy rules (not where the
  narrower one is a network of containers or guests: what this host sends without a source goes there first). Both ends
  of one wire: macvlan and its parent, a veth pair, a bridge and the host's own cable into it. A wider subnet whose
  interface has proxy_arp (IPv6: proxy_ndp) on, which hands out the narrower one on purpose. Two cards in one IPv4
  subnet with arp_ignore and arp_announce set. IPv6 prefixes that routers announce to two cards. Link-local ranges
  (169.254.0.0/16, fe80::/10). The same address twice: see addr-duplicate-same-host. A slice of an overlay's range
  (WireGuard, VXLAN, tun ...) on another interface may be the share of this very host: mentioned only (info).

References
  net/ipv4/fib_trie.c fib_table_lookup(), net/ipv4/fib_frontend.c fib_add_ifaddr(), fib_validate_source();
  https://github.com/moby/moby/issues/46615
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.subnets import Subnet, connected, overlaps, segment
from netdiag.index.view import HostView
from netdiag.model.address import Address
from netdiag.model.finding import Draft, subject
from netdiag.model.link import IFF_NOARP, IFF_UP, Link
from netdiag.model.neighbour import NTF_PROXY
from netdiag.model.route import RTPROT_NAMES
from netdiag.rules.apart import bound_arp, effective, found_behind, inside, leaves_by, named_by_rule
from netdiag.rules.build import HostBuilder
from netdiag.rules.overlapcases import equal_and_lost, equal_and_meant
from netdiag.rules.overlapwords import fix, words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="overlap-subnet-two-ifaces",
    title="connected subnets of two interfaces overlap",
    severity="warning",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=("arp-flux", "asym-rpfilter-strict-drop", "rpfilter-*", "subnet-overlap-wg-vs-docker"),
    family="each",
)

IFAPROT_KERNEL_RA = 2
"""include/uapi/linux/if_addr.h: the kernel made the address from a router advertisement."""
OVERLAYS = frozenset({"wireguard", "vxlan", "geneve", "gre", "gretap", "ipip", "sit", "ip6tnl", "ip6gre", "ip6gretap"})
ARPHRD_ETHER = 1


def overlay(link: Link) -> bool:
    """A tunnel: its subnet is spread over many hosts, and this one may own a slice of it."""
    return link.kind in OVERLAYS or link.type != ARPHRD_ETHER or link.noarp


def honest(view: HostView, family: str, inner: Subnet, outer: Subnet) -> bool:
    """Whether something says that the overlap is meant, or does no harm."""
    if segment(view, inner.link) == segment(view, outer.link):
        return True
    if inner.address is not None and outer.address is not None and inner.address.local == outer.address.local:
        return True  # addr-duplicate-same-host speaks about it
    if inner.network == outer.network:
        return _equal_is_honest(view, family, inner, outer)
    if _proxies(view, family, outer.link):
        return True
    return not inside(view, family, inner.link) and _own_way(view, family, outer, inner.route.dst)


def _equal_is_honest(view: HostView, family: str, one: Subnet, other: Subnet) -> bool:
    first, second = sorted((one, other), key=lambda subnet: subnet.route.priority)
    if found_behind(view, first, second):
        return False
    if one.route.priority != other.route.priority or named_by_rule(view, family, one.link.ifname):
        return True
    if family == "inet":
        settled = all(bound_arp(view, subnet.link) for subnet in (one, other))
    else:
        settled = all(subnet.address is not None and _learnt(subnet.address) for subnet in (one, other))
    return settled or all(_own_way(view, family, subnet, one.route.dst) for subnet in (one, other))


def _own_way(view: HostView, family: str, subnet: Subnet, prefix: str) -> bool:
    """Rules by source address send what comes from this subnet's address out by its own interface."""
    return subnet.address is not None and leaves_by(view, family, subnet.address.local, prefix, subnet.link.ifindex)


def _proxies(view: HostView, family: str, link: Link) -> bool:
    if family == "inet":
        return effective(view, "ipv4", link, "proxy_arp") >= 1
    rows = view.neighbours
    entries = (rows.ifindex == link.ifindex) & (rows.flags & NTF_PROXY != 0)
    return effective(view, "ipv6", link, "proxy_ndp") >= 1 or bool(entries.any())


def _learnt(address: Address) -> bool:
    return address.proto == IFAPROT_KERNEL_RA or address.valid_lft is not None


def check(view: HostView) -> Iterator[Draft]:
    for family in ("inet", "inet6"):
        named: set[tuple[int, str]] = set()
        for inner, around in overlaps(connected(view, family)):
            key = (inner.route.table, inner.route.dst)
            rival = next((outer for outer in around if not honest(view, family, inner, outer)), None)
            if rival is None or key in named:
                continue
            named.add(key)
            yield _finding(view, family, inner, rival)


def _finding(view: HostView, family: str, inner: Subnet, outer: Subnet) -> Draft:
    ip = "ip -6" if family == "inet6" else "ip"
    table, name = inner.route.table, inner.link.ifname
    rows = [
        (
            f"connected subnet of {subnet.link.ifname}",
            subnet.route.dst,
            f"RTM_GETROUTE table {table} proto {RTPROT_NAMES[subnet.route.protocol]}",
        )
        for subnet in (outer, inner)
    ]
    ends = [subnet for subnet in (inner, outer) if subnet.address is not None]
    links = [subject("link", ifname=subnet.link.ifname) for subnet in (inner, outer)]
    touched = [
        *(subject("route", dst=subnet.route.dst, table=table, ifname=subnet.link.ifname) for subnet in (inner, outer)),
        *(
            subject("address", address=subnet.address.local, ifname=subnet.link.ifname)
            for subnet in ends
            if subnet.address is not None
        ),
    ]
    slice_of_overlay = inner.network != outer.network and overlay(outer.link)
    return RULE.found(
        subject=subject("route", dst=inner.route.dst, table=table, ifname=name),
        message=words(view, family, inner, outer),
        evidence=rows,
        confirm=[f"{ip} route show table {table} root {outer.network}", f"{ip} address show dev {quoted(name)}"],
        fix=fix(view, family, inner, outer),
        confidence="possible" if slice_of_overlay else "certain",
        touches=touched if inner.network == outer.network else [*links, *touched],  # of cards: arp-flux
        breaks=[*links, *touched],
    )


def examples() -> Iterator[Example]:
    yield from _nested_examples()
    yield from _equal_examples()
    yield from _honest_nested_examples()
    yield from equal_and_meant()
    yield from equal_and_lost()


def _host(
    wide: str, narrow: str, outer: dict[str, Any] | None = None, inner: dict[str, Any] | None = None
) -> HostBuilder:
    """eth0 with the wide subnet and br0 with the narrow one; ``outer`` and ``inner`` are fields of the interfaces."""
    host = HostBuilder().link("eth0", **(outer or {})).link("br0", **({"kind": "bridge"} | (inner or {})))
    return host.address("eth0", wide).address("br0", narrow)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **told: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **told)


def _nested_examples() -> Iterator[Example]:
    about = subject("route", dst="10.0.0.0/25", table=254, ifname="br0")
    yield _case(
        "half of the LAN on a bridge",
        "the plain fault",
        _host("10.0.0.1/24", "10.0.0.2/25"),
        1,
        subject=about,
        severity="warning",
        confidence="certain",
        says=("10.0.0.0/25 on br0 lies inside 10.0.0.0/24 on eth0",),
    )
    yield _case(
        "the wide one is made later",
        "the order does not matter",
        _host("10.0.0.2/25", "10.0.0.1/24"),
        1,
        subject=subject("route", dst="10.0.0.0/25", table=254, ifname="eth0"),
    )
    yield _case(
        "the end of the LAN",
        "the narrow subnet need not start where the wide one does",
        _host("10.0.0.1/16", "10.0.255.249/29"),
        1,
        subject=subject("route", dst="10.0.255.248/29", table=254, ifname="br0"),
    )
    yield _case(
        "IPv6",
        "the same for IPv6",
        _host("2001:db8::1/48", "2001:db8:0:7::1/64"),
        1,
        subject=subject("route", dst="2001:db8:0:7::/64", table=254, ifname="br0"),
    )
    yield _case(
        "/30 and /126",
        "two other hosts are lost",
        _host("10.0.0.1/24", "10.0.0.9/30").address("eth0", "2001:db8::1/64").address("br0", "2001:db8::9/126"),
        2,
    )
    yield _case(
        "bridge without containers",
        "without carrier its route is used all the same",
        _host("172.17.3.4/12", "172.17.0.1/16", None, {"carrier": False}),
        1,
    )
    away: dict[str, Any] = {"carrier": False}
    office = _host("172.17.5.10/24", "172.17.0.1/16", None, away).route("default", via="172.17.5.1", dev="eth0")
    says = ("whatever else of 172.17.0.0/16 lies beyond eth0", "ip address del 172.17.0.1/16 dev br0")
    yield _case("the way out is inside the bridge's range", "its address must stay", office, 1, says=says)
    lan = _host("10.0.0.1/16", "10.0.9.1/24").route("default", via="10.0.0.9", dev="eth0")
    says = ("behind eth0 cannot be reached", "ip address del 10.0.9.1/24 dev br0")
    yield _case("the bridge is inside the way out's range", "the bridge is this host's own", lan, 1, says=says)
    two = HostBuilder().link("eth0").link("eth1").address("eth0", "10.0.0.1/16").address("eth1", "10.0.9.1/24")
    two.route("default", via="10.0.9.9", dev="eth1")
    says = ("behind eth0 cannot be reached", "ip address del 10.0.0.1/16 dev eth0")
    yield _case("two cards, the narrower is the way out", "the other can be spared", two, 1, says=says)
    both = two.route("default", via="10.0.0.9", dev="eth0", priority=9)
    yield _case("two cards, two ways out", "a person decides", both, 1, says=("give one of the two networks",))
    yield _case(
        "VPN inside the LAN",
        "the LAN's hosts in that range are lost, though the VPN is a tunnel",
        _host("10.0.0.1/16", "10.0.9.1/24", None, {"kind": "wireguard", "type": 65534}),
        1,
        severity="warning",
    )
    three = _host("10.0.0.1/8", "10.1.0.1/16").link("tap0", kind="tun").address("tap0", "10.1.2.1/24")
    yield _case("three, each inside the other", "each takes a part from the next wider one", three, 2)
    kept = HostBuilder().link("br0", kind="bridge").link("eth0", master="br0").address("br0", "10.0.0.2/25")
    yield _case("a port kept its address", "a bridge was made by hand", kept.address("eth0", "10.0.0.1/24"), 1)
    between = _host("10.0.0.1/16", "10.0.9.1/24").link("tap0", kind="tun").address("tap0", "10.0.3.1/24")
    yield _case("two bridges in one LAN", "the second has nothing to do with the first", between, 2)


def _equal_examples() -> Iterator[Example]:
    def cards(one: str, other: str, **fields: Any) -> HostBuilder:
        return HostBuilder().link("eth0").link("eth1", **fields).address("eth0", one).address("eth1", other)

    about = subject("route", dst="192.0.2.0/24", table=254, ifname="eth1")
    yield _case(
        "two cards in one subnet",
        "all that is sent leaves by the first",
        cards("192.0.2.1/24", "192.0.2.2/24"),
        1,
        subject=about,
        severity="warning",
        says=("eth0 and eth1 are both in 192.0.2.0/24", "leaves by eth0 alone"),
    )
    yield _case(
        "two cards in one IPv6 subnet",
        "the same for IPv6, with addresses given by hand",
        cards("2001:db8::1/64", "2001:db8::2/64"),
        1,
        subject=subject("route", dst="2001:db8::/64", table=254, ifname="eth1"),
    )
    yield _case(
        "one of them announced by a router",
        "the other was given by hand, and both are in use",
        HostBuilder()
        .link("eth0")
        .link("eth1")
        .address("eth0", "2001:db8::1/64")
        .address("eth1", "2001:db8::2/64", valid_lft=3600),
        1,
    )
    vpn = {"kind": "wireguard", "type": 65534}
    yield _case(
        "two VPNs with one subnet",
        "each has half",
        _host("10.0.0.1/24", "10.0.0.2/24", vpn, vpn),
        1,
        severity="warning",
    )
    third = cards("192.0.2.1/24", "192.0.2.2/24").link("eth2").address("eth2", "192.0.2.3/24")
    yield _case("three cards", "one subnet is one fault", third, 1, subject=about)
    half = cards("192.0.2.1/24", "192.0.2.2/24").sysctl("net.ipv4.conf.eth0.arp_ignore", 1)
    half.sysctl("net.ipv4.conf.eth0.arp_announce", 2)
    yield _case("ARP bound on one card only", "the other still answers for both", half, 1)
    ignore = cards("192.0.2.1/24", "192.0.2.2/24").sysctl("net.ipv4.conf.all.arp_ignore", 1)
    yield _case("arp_ignore without arp_announce", "questions still go out with the other card's address", ignore, 1)
    ruled = cards("192.0.2.1/24", "192.0.2.2/24").rule(100, src="192.0.2.1", src_len=32, table=100)
    yield _case(
        "rule by source for the first card only",
        "what the second one's address sends still leaves by the first",
        ruled.route("192.0.2.0/24", dev="eth0", table=100),
        1,
    )
    first = cards("192.0.2.1/24", "192.0.2.2/24").rule(100, table=100, iif="eth0")
    yield _case("rule by interface for the first card only", "the second is as lost as before", first, 1)


def _honest_nested_examples() -> Iterator[Example]:
    yield _case(
        "side by side",
        "two halves of a range do not overlap",
        _host("10.0.0.1/25", "10.0.0.129/25").address("eth0", "2001:db8::1/64").address("br0", "2001:db8:0:1::1/64"),
    )
    for length in (31, 32):
        yield _case(
            f"/{length} in a /24", "a proxied host, or a link between two", _host("10.0.0.1/24", f"10.0.0.8/{length}")
        )
    for length in (127, 128):
        yield _case(f"/{length} in a /64", "the same for IPv6", _host("2001:db8::1/64", f"2001:db8::8/{length}"))
    mesh = {"kind": "wireguard", "type": 65534}
    yield _case(
        "slice of a mesh on a bridge",
        "the mesh gave this host that slice: mentioned, no more",
        _host("10.0.0.1/8", "10.7.0.1/16", mesh),
        1,
        severity="info",
        confidence="possible",
    )
    vxlan = {"kind": "vxlan"}
    yield _case(
        "slice of a VXLAN overlay",
        "an Ethernet-like tunnel is a tunnel as well",
        _host("10.244.0.1/16", "10.244.3.1/24", vxlan),
        1,
        severity="info",
    )
    yield _case(
        "slice of an unknown tunnel",
        "an interface without ARP has no segment of its own",
        _host("10.244.0.1/16", "10.244.3.1/24", {"flags": IFF_UP | IFF_NOARP}),
        1,
        severity="info",
    )
    yield _case(
        "slice of a PPP link",
        "so is it if not Ethernet",
        _host("10.0.0.1/8", "10.7.0.1/16", {"type": 512}),
        1,
        severity="info",
    )
    for name in ("eth0", "all"):
        host = _host("10.0.0.1/24", "10.0.0.129/28").sysctl(f"net.ipv4.conf.{name}.proxy_arp", 1)
        yield _case(f"proxied subnet ({name})", "the LAN is told by proxy ARP where the subnet is", host)
    host = _host("2001:db8::1/64", "2001:db8::1:1/112").sysctl("net.ipv6.conf.eth0.proxy_ndp", 1)
    yield _case("proxied IPv6 subnet", "the same by proxy ND", host)
    host = _host("2001:db8::1/64", "2001:db8::1:1/112").neighbour("2001:db8::1:2", dev="eth0", flags=NTF_PROXY)
    yield _case("proxied IPv6 hosts", "proxy entries host by host", host)
    host = _host("2001:db8::1/64", "2001:db8::1:1/112").neighbour("2001:db8::1:2", dev="br0", flags=NTF_PROXY)
    yield _case(
        "proxied hosts on the wrong side",
        "the wide interface does not hand out the narrow subnet",
        host.neighbour("2001:db8::9", dev="eth0"),
        1,
    )
    yield _case(
        "proxy ARP on the inner interface",
        "nor does this",
        _host("10.0.0.1/24", "10.0.0.129/28").sysctl("net.ipv4.conf.br0.proxy_arp", 1),
        1,
    )
    yield _case(
        "macvlan and its parent",
        "one wire, whichever of them sends",
        HostBuilder()
        .link("eth0")
        .link("mv0", kind="macvlan", link="eth0")
        .address("eth0", "10.0.0.1/24")
        .address("mv0", "10.0.0.129/25"),
    )

    def ruled(**inner: Any) -> HostBuilder:
        host = _host("10.0.0.1/24", "10.0.0.2/25", None, inner).rule(100, src="10.0.0.1", src_len=32, table=100)
        return host.route("10.0.0.0/24", dev="eth0", table=100)

    yield _case(
        "the wide address has a table of its own", "one of two cards in one network: both reach it", ruled(kind=None)
    )
    yield _case("the same beside an empty bridge", "what has no source yet goes to the bridge", ruled(), 1)
    held = ruled().link("veth1", kind="veth", master="br0", link_netnsid=0)
    yield _case("the same beside containers", "none of the LAN's hosts is behind them", held, 1)
    wired = ruled().link("eth1", master="br0")
    yield _case("the same beside a bridge with a card", "the LAN's hosts may be behind it", wired)
    yield _case(
        "a rule by interface",
        "what this host sends of its own accord still goes wrong",
        _host("10.0.0.1/24", "10.0.0.2/25").rule(100, table=100, iif="br0"),
        1,
    )
    host = HostBuilder().link("eth0").link("br0", kind="bridge").address("eth0", "10.0.0.1/24")
    yield _case(
        "another table",
        "a VRF has subnets of its own",
        host.route("10.0.0.0/25", dev="br0", table=10, protocol=2, scope=253),
    )
    for protocol, fires in ((2, 1), (4, 0), (9, 0), (16, 0)):
        host = HostBuilder().link("eth0").link("br0", kind="bridge").address("eth0", "10.0.0.1/24")
        host.route("10.0.0.0/25", dev="br0", protocol=protocol, scope=253)
        why = "without an address in it, only the kernel's own route to a subnet counts"
        yield _case(f"route of protocol {protocol}", why, host, fires)
    for protocol, dst, local, narrow in (
        (9, "2001:db8::/64", "2001:db8::5/128", "2001:db8::1/72"),
        (16, "10.0.0.0/24", "10.0.0.9/32", "10.0.0.2/25"),
    ):
        host = HostBuilder().link("eth0").link("br0", kind="bridge").address("eth0", local).address("br0", narrow)
        host.route(dst, dev="eth0", protocol=protocol, scope=253 if protocol == 16 else 0)
        yield _case(
            f"route of protocol {protocol} beside its address",
            "who configures the host wrote it in the kernel's place (noprefixroute)",
            host,
            1,
            says=(f"proto {RTPROT_NAMES[protocol]}",),
        )
        twin = HostBuilder().link("eth0").link("wlan0")
        twin.address("eth0", local).address("wlan0", local.replace("5/", "6/").replace("9/", "8/"))
        for dev, metric in (("eth0", 100), ("wlan0", 600)):
            twin.route(dst, dev=dev, protocol=protocol, scope=253 if protocol == 16 else 0, priority=metric)
        yield _case(f"two cards, routes of protocol {protocol}", "the metric says which is meant", twin)
    host = HostBuilder().link("eth0").link("br0", kind="bridge").address("br0", "10.0.0.2/25")
    host.route("10.0.0.0/24", dev="eth0", protocol=2, scope=253)
    yield _case("the wide address is gone", "its route is there, for it was read first", host, 1)
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "2001:db8::1/64", valid_lft=3600)
    host.route("2001:db8::/64", dev="eth1", protocol=2)
    yield _case("a prefix without an address", "by a router, which gave none", host, 1)
    host = _host("169.254.0.1/16", "169.254.9.1/30").address("eth0", "fe80::1/10").address("br0", "fe80::2/64")
    yield _case("link-local ranges", "they belong to their link", host)
