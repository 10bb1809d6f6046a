"""What it checks
  A VXLAN, Geneve, GRE, IPIP, SIT or ip6tnl interface that takes packets which no longer fit its underlay once its own
  headers are around them. The underlay is the device that the tunnel is bound to, else the one of the route to its
  far end, or of those that VXLAN's entries name; an mtu on that route counts. Overheads: VXLAN and Geneve 50 bytes over
  IPv4, 70 over IPv6; GRE 24 (with key, checksum, sequence 4 more each), with Ethernet 14 more; IPIP and SIT 20; ip6tnl
  40, and 8 more for the encapsulation limit that it has by default.

Why it matters
  Handshakes and pings pass, full-sized packets do not. What becomes of one that is too long depends on the tunnel:
    VXLAN, Geneve over IPv4, df unset (default)   cut into fragments: slow, and lost where fragments are filtered
    VXLAN, Geneve over IPv6, or with df set or    lost; a sender behind this host is not told
      df inherit
    GRE, IPIP, SIT with pmtudisc (default)        without DF lost; with DF refused by ICMP, but not on a bridge
    GRE, IPIP, SIT with nopmtudisc                without DF cut into fragments; with DF refused, on a bridge lost
    ip6tnl, GRE over IPv6                         refused by ICMP; lost on a bridge
  Critical is what is lost without a word; the rest is a warning.

Confirm
  ip -d link show dev IFNAME
  ip route get REMOTE
  ping -c1 -M do -s SIZE ADDRESS_BEHIND_THE_TUNNEL, with SIZE = mtu of IFNAME - 28

Fix
  ip link set dev IFNAME mtu MTU (the underlay's less the overhead), on both ends and on every member of a bridge that
  the tunnel is a port of. Established TCP connections segment anew. Below 1280 the interface loses IPv6. Or raise the
  underlay's MTU, if every device on the way can carry that.

Not flagged
  A tunnel whose MTU leaves room, also over a jumbo underlay. One that is down. One whose far end or underlay is not
  known (external; no remote, no device and no entries; underlay in another namespace). One whose every route
  has an mtu that fits, or that is a port of a bridge where nobody sends more. GRE with ignore-df and nopmtudisc,
  which is asked to fragment, is only mentioned (info). Encapsulation by XDP or tc programs, and clamping of the TCP
  MSS, cannot be seen here. WireGuard: see wg-mtu-exceeds-underlay.

References
  drivers/net/vxlan/vxlan_core.c vxlan_headroom(), net/ipv4/ip_tunnel_core.c skb_tunnel_check_pmtu(), net/ipv4/
  ip_tunnel.c tnl_update_pmtu(), net/ipv6/ip6_tunnel.c ip6_tnl_xmit(); RFC 7348 section 4.3
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.encapsulation import Tunnel, tunnel
from netdiag.index.policy import Query
from netdiag.index.view import HostView
from netdiag.model.distinct import among, distinct
from netdiag.model.finding import Draft, Severity, Unjudged, subject
from netdiag.model.link import Link
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_vtep import examples as vtep_examples
from netdiag.rules.framesize import largest_sent
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.underlay import Underlay, bound, by_device, by_route, ends_unread, far_ends

RULE = Rule(
    id="tunnel-mtu-headroom-missing",
    title="a tunnel takes packets that do not fit its underlay",
    severity="critical",
    reads=("links", "peer_links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    consults=("fdb",),
    explains=("bgp-hold-mtu-stall", "mss-clamp-missing", "pmtud-*", "vxlan-tx-csum-offload-corrupt"),
)


def underlay(view: HostView, link: Link, found: Tunnel) -> Underlay | None:
    """The narrowest way to the far end that the tunnel's packets can take; None where that is not known."""
    if link.link_netnsid is not None:
        return None
    lower = bound(view, link)
    ways = [by_device(lower, found.outer)] if lower is not None else []
    ends = (
        [found.remote] if found.remote is not None else [] if lower is not None else far_ends(view, link, found.outer)
    )
    for end in ends:
        query = Query(
            family=found.outer,
            dst=end,
            src=found.local,
            oif=lower.ifindex if lower else None,
            mark=found.mark,
            ip_proto=found.ip_proto,
            dport=found.dport,
        )
        ways += by_route(view, query)
    return min(ways, key=lambda way: way.mtu, default=None)


def largest_inner(view: HostView, link: Link) -> int:
    """Bytes of the longest packet that this host can send into the tunnel."""
    if any(upper.kind != "vrf" for upper in view.stack.uppers(link.ifindex)):
        return min(link.mtu, largest_sent(view, link))
    return max((limit for family in ("inet", "inet6") for limit in _route_limits(view, family, link)), default=link.mtu)


def _route_limits(view: HostView, family: str, link: Link) -> list[int]:
    """What the routes through an interface allow, in bytes, but for the link-local ones that every interface has."""
    routes = view.routes(family)
    legs = [n for n, extra in enumerate(routes.extras) if any(hop.oif == link.ifindex for hop in extra.multipath)]
    through = ((routes.oif == link.ifindex) | among(routes.extra, legs)) & (routes.type == RTN_UNICAST)
    if family == "inet6":
        through &= ~((routes.dst[:, 0] == 0xFE) & (routes.dst[:, 1] & 0xC0 == 0x80))
    pointers = distinct(routes.extra[through]).tolist()
    return [min(link.mtu, routes.extras[n].metrics.get("mtu", link.mtu)) if n >= 0 else link.mtu for n in pointers]


def fate(link: Link, found: Tunnel, bridged: bool) -> tuple[Severity, str]:
    """What becomes of a packet that is too long, as seen on live kernels; see the table of the page."""
    lost, refused = "are lost and their senders not told", "are refused by ICMP"
    if link.kind in ("vxlan", "geneve"):
        whole = found.outer == "inet6" or link.info.get("df") in ("set", "inherit")
        return ("critical", lost) if whole else ("warning", "are cut into fragments")
    if found.outer == "inet6":
        return ("critical", lost) if bridged else ("warning", refused)
    if link.info.get("pmtudisc", True):
        return "critical", f"{lost}, unless they have DF"
    if link.info.get("ignore_df"):
        return "info", "are cut into fragments, as it is asked to by ignore-df"
    return ("critical", f"{lost}, if they have DF") if bridged else ("warning", "are cut into fragments or refused")


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    for link in view.links:
        if not link.up or (found := tunnel(link)) is None:
            continue
        if (below := underlay(view, link, found)) is None:
            yield from ends_unread(view, link, found.remote)
            continue
        fits, needed = below.mtu - found.overhead, largest_inner(view, link)
        if needed <= fits:
            continue
        master = view.stack.master(link.ifindex)
        yield _finding(link, found, below, needed, fate(link, found, master is not None and master.kind == "bridge"))


def _finding(link: Link, found: Tunnel, below: Underlay, needed: int, fated: tuple[Severity, str]) -> Draft:
    severity, outcome = fated
    fits = below.mtu - found.overhead
    route = f"ip route get {quoted(found.remote)}" if found.remote else f"ip link show dev {quoted(below.link.ifname)}"
    df = [("df", link.info["df"], f"RTM_GETLINK {link.ifname} IFLA_INFO_DATA")] if "df" in link.info else []
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{link.ifname} takes packets of {needed} bytes, but {found.name} leaves {fits} of the "
        f"{below.mtu} that {below.link.ifname} carries: longer ones {outcome}",
        evidence=[
            (f"{link.ifname} mtu", link.mtu, f"RTM_GETLINK {link.ifname} IFLA_MTU"),
            below.source,
            (f"overhead of {found.name}", found.overhead, f"RTM_GETLINK {link.ifname} IFLA_INFO_DATA"),
            *df,
        ],
        confirm=[f"ip -d link show dev {quoted(link.ifname)}", route],
        fix=f"ip link set dev {quoted(link.ifname)} mtu {fits}  # and its far end and other members of its segment",
        severity=severity,
        touches=[subject("link", ifname=below.link.ifname)],
    )


def examples() -> Iterator[Example]:
    yield from _size_examples()
    yield from _fate_examples()
    yield from _underlay_examples()
    yield from _sender_examples()
    yield from vtep_examples()


ABOUT = subject("link", ifname="t0")
VXLAN4: dict[str, Any] = {"id": 5, "remote": "192.0.2.2", "df": "unset", "port": 4789}
VXLAN6: dict[str, Any] = VXLAN4 | {"remote": "2001:db8::2"}
IP4: dict[str, Any] = {"local": "192.0.2.1", "remote": "192.0.2.2", "pmtudisc": True}
IP6: dict[str, Any] = {"local": "2001:db8::1", "remote": "2001:db8::2", "flags": 0}


def _host(underlay_mtu: int = 1500) -> HostBuilder:
    host = HostBuilder().link("eth0", mtu=underlay_mtu)
    return host.address("eth0", "192.0.2.1/24").address("eth0", "2001:db8::1/64")


def _tunnel(kind: str, mtu: int, info: dict[str, Any], **fields: Any) -> HostBuilder:
    return _host().link("t0", kind=kind, mtu=mtu, info=info, **fields)


def _size_examples() -> Iterator[Example]:
    sizes: list[tuple[str, dict[str, Any], int]] = [
        ("vxlan", VXLAN4, 1450),
        ("vxlan", VXLAN6, 1430),
        ("geneve", VXLAN4, 1450),
        ("gre", IP4, 1476),
        ("gretap", IP4, 1462),
        ("ipip", IP4, 1480),
        ("sit", IP4, 1480),
        ("ip6tnl", IP6, 1452),
        ("ip6gre", IP6, 1448),
        ("ip6gretap", IP6, 1434),
    ]
    for kind, info, fits in sizes:
        what = f"{kind} to {info['remote']}"
        yield Example(
            name=f"{what}: one byte too much",
            why="the smallest MTU that does not fit",
            tables=_tunnel(kind, fits + 1, info).build(),
            fires=1,
            subject=ABOUT,
            says=(f"leaves {fits} of the 1500 that eth0 carries",),
        )
        yield Example(name=f"{what}: fits", why="the largest MTU that does", tables=_tunnel(kind, fits, info).build())
    wireguard = _tunnel("wireguard", 1500, VXLAN4, type=65534).build()
    yield Example(name="wireguard", why="it has a rule of its own", tables=wireguard)


def _fate_examples() -> Iterator[Example]:
    def fate_of(name: str, why: str, host: HostBuilder, severity: Severity, words: str) -> Example:
        return Example(
            name=name, why=why, tables=host.build(), fires=1, subject=ABOUT, severity=severity, says=(words,)
        )

    fragments, lost = "cut into fragments", "lost and their senders not told"
    for kind in ("vxlan", "geneve"):
        for df, severity, words in (
            ("unset", "warning", fragments),
            ("set", "critical", lost),
            ("inherit", "critical", lost),
        ):
            host = _tunnel(kind, 1500, VXLAN4 | {"df": df})
            yield fate_of(f"{kind} with df {df}", "the outer packet may be cut, or not", host, severity, words)  # type: ignore[arg-type]
    yield fate_of(
        "vxlan over IPv6", "IPv6 packets of others are never cut", _tunnel("vxlan", 1500, VXLAN6), "critical", lost
    )
    bare = {key: value for key, value in VXLAN4.items() if key != "df"}
    yield fate_of("old kernel without df", "it never sets it", _tunnel("vxlan", 1500, bare), "warning", fragments)
    yield fate_of("gre", "pmtudisc is the default", _tunnel("gre", 1500, IP4), "critical", "unless they have DF")
    told = {"local": "192.0.2.1", "remote": "192.0.2.2"}
    yield fate_of("sit that does not say", "the default", _tunnel("sit", 1500, told), "critical", "unless they have DF")
    loose = IP4 | {"pmtudisc": False}
    yield fate_of("gre with nopmtudisc", "some are cut", _tunnel("gre", 1500, loose), "warning", "fragments or refused")
    asked = _tunnel("gre", 1500, loose | {"ignore_df": True})
    yield fate_of("gre with ignore-df", "somebody wants fragments", asked, "info", "as it is asked to")
    both = _tunnel("gre", 1500, IP4 | {"ignore_df": True})
    yield fate_of("gre with both", "pmtudisc wins", both, "critical", "unless they have DF")
    yield fate_of("ip6tnl", "senders hear of it", _tunnel("ip6tnl", 1500, IP6), "warning", "refused by ICMP")

    def ported(kind: str, info: dict[str, Any], master: str = "bridge") -> HostBuilder:
        host = _host().link("br0", kind=master).address("br0", "10.0.0.1/24")
        return host.link("t0", kind=kind, mtu=1500, info=info, master="br0")

    yield fate_of(
        "gretap with nopmtudisc, a bridge port", "frames have no way back for ICMP", ported("gretap", loose),
        "critical", "if they have DF",
    )  # fmt: skip
    yield fate_of("ip6gretap, a bridge port", "the same over IPv6", ported("ip6gretap", IP6), "critical", lost)
    yield fate_of(
        "ip6gretap in a VRF", "routed, so ICMP has a way", ported("ip6gretap", IP6, "vrf"), "warning", "refused by ICMP"
    )


def _underlay_examples() -> Iterator[Example]:
    def over(underlay_mtu: int, **info: Any) -> HostBuilder:
        return _host(underlay_mtu).link("t0", kind="vxlan", mtu=1500, link="eth0", info={"id": 5} | info)

    yield Example(name="jumbo underlay", why="1550 is enough", tables=over(1550, remote="192.0.2.2").build())
    yield Example(
        name="jumbo underlay, one byte short",
        why="and 1549 is not",
        tables=over(1549, remote="192.0.2.2").build(),
        fires=1,
        subject=ABOUT,
    )
    yield Example(
        name="bound to a device, no far end",
        why="far ends are learnt or in the forwarding table, and all go out by the device",
        tables=over(1500).build(),
        fires=1,
        subject=ABOUT,
        says=("eth0 mtu 1500",),
    )
    for name, why, index, netns, fires in (
        ("a device", "so VXLAN tells it", 2, None, 1),
        ("a device that is not here", "how wide it is is not known", 99, None, 0),
        ("a device of another namespace", "that number is one of there", 2, 0, 0),
    ):
        told = _host().link("t0", kind="vxlan", mtu=1500, info={"id": 5, "link": index}, link_netnsid=netns)
        yield Example(name=f"bound by its own settings to {name}", why=why, tables=told.build(), fires=fires)
    yield Example(
        name="multicast group of IPv6",
        why="the group says which family",
        tables=over(1569, group="ff05::5").build(),
        fires=1,
        severity="critical",
    )
    yield Example(name="multicast group of IPv6, 1570", why="70 bytes fit", tables=over(1570, group="ff05::5").build())
    yield Example(
        name="local address of IPv6",
        why="it says so too",
        tables=over(1550, local="2001:db8::1").build(),
        fires=1,
        severity="critical",
    )
    yield Example(
        name="external",
        why="each packet brings its far end along",
        tables=_tunnel("vxlan", 65000, VXLAN4 | {"external": True}).build(),
    )
    yield Example(
        name="underlay in another namespace",
        why="its index and its routes belong there",
        tables=_host().link("t0", kind="vxlan", mtu=1500, info=VXLAN4, link=2, link_netnsid=3).build(),
    )
    yield Example(name="tunnel down", why="it takes nothing", tables=_tunnel("vxlan", 1500, VXLAN4, up=False).build())
    far = _host().link("t0", kind="vxlan", mtu=1450, info=VXLAN4 | {"remote": "198.51.100.9"})
    yield Example(
        name="mtu on the route to the far end",
        why="the route says that the way is narrower than the device",
        tables=far.route("198.51.100.0/24", via="192.0.2.9", dev="eth0", metrics={"mtu": 1499}).build(),
        fires=1,
        subject=ABOUT,
        says=("mtu of route 198.51.100.0/24 1499",),
    )
    for mtu, fires in ((1450, 0), (1451, 1)):
        far = _host().link("t0", kind="vxlan", mtu=mtu, info=VXLAN4 | {"remote": "198.51.100.9"})
        far.route("198.51.100.0/24", via="192.0.2.9", dev="eth0", metrics={"mtu": 9000})
        name, why = f"mtu on the route, above the device's: {mtu}", "the device's own MTU still holds"
        yield Example(name=name, why=why, tables=far.build(), fires=fires)
    bound = _host(9000).link("eth1", mtu=1400).link("t0", kind="vxlan", mtu=1500, link="eth0", info=VXLAN4)
    yield Example(
        name="bound to a device that is not the route's",
        why="its packets go out by the device, whatever other routes say",
        tables=bound.route("192.0.2.2/32", dev="eth1").build(),
    )
    far = _host().link("t0", kind="vxlan", mtu=1500, info=VXLAN4 | {"remote": "198.51.100.9"})
    yield Example(
        name="no route to the far end",
        why="it does not get as far as being too long",
        tables=far.build(),
    )
    far = _host().link("t0", kind="vxlan", mtu=1500, info=VXLAN4 | {"remote": "192.0.2.1"})
    yield Example(name="far end is this host", why="it goes over loopback", tables=far.build())
    far = _host(9000).link("eth1").link("t0", kind="vxlan", mtu=1500, info=VXLAN4 | {"remote": "198.51.100.9"})
    hops = [far.hop("eth0", "192.0.2.9"), far.hop("eth1", "192.0.2.8")]
    yield Example(
        name="two ways, one of them narrow",
        why="flows are spread over both",
        tables=far.route("198.51.100.0/24", hops=hops).build(),
        fires=1,
        subject=ABOUT,
        says=("eth1 carries",),
    )
    marked = _host(9000).link("eth1").link("t0", kind="gre", mtu=1500, info=IP4 | {"fwmark": 7})
    yield Example(
        name="marked packets take another table",
        why="the rule for the mark sends them over the narrow device",
        tables=marked.rule(100, fwmark=7, fwmask=0xFFFFFFFF, table=100)
        .route("192.0.2.2/32", dev="eth1", table=100)
        .build(),
        fires=1,
        subject=ABOUT,
        says=("eth1 carries",),
    )
    small = HostBuilder().link("eth0", mtu=9000, inet6_conf={"mtu": 1500}).address("eth0", "2001:db8::1/64")
    yield Example(
        name="IPv6 limit of the device",
        why="net.ipv6.conf.eth0.mtu is below the device's own MTU, and IPv6 keeps to it",
        tables=small.link("t0", kind="vxlan", mtu=1500, info=VXLAN6).build(),
        fires=1,
        says=("/proc/sys/net/ipv6/conf/eth0/mtu",),
    )
    small = HostBuilder().link("eth0", mtu=9000, inet6_conf={"mtu": 1500}).address("eth0", "192.0.2.1/24")
    yield Example(
        name="IPv6 limit under an IPv4 tunnel",
        why="IPv4 does not ask it",
        tables=small.link("t0", kind="vxlan", mtu=1500, info=VXLAN4).build(),
    )


def _sender_examples() -> Iterator[Example]:
    def routed(*metrics: int | None) -> HostBuilder:
        host = _tunnel("vxlan", 1500, VXLAN4)
        for number, mtu in enumerate(metrics):
            host.route(f"10.{number}.0.0/16", dev="t0", metrics={"mtu": mtu} if mtu else None)
        return host

    yield Example(
        name="every route has an mtu that fits",
        why="an overlay that limits its routes instead of its interface; link-local does not count",
        tables=routed(1450, 1400).address("t0", "fe80::1/64").build(),
    )
    yield Example(
        name="one route has an mtu that does not fit",
        why="1451 is one byte too much",
        tables=routed(1450, 1451).build(),
        fires=1,
        says=("takes packets of 1451 bytes",),
    )
    yield Example(
        name="one route without an mtu",
        why="it takes what the interface takes",
        tables=routed(1450, None).build(),
        fires=1,
        says=("takes packets of 1500 bytes",),
    )
    yield Example(
        name="route with a large mtu",
        why="the interface's own MTU still holds",
        tables=routed(9000).build(),
        fires=1,
        says=("takes packets of 1500 bytes",),
    )
    yield Example(
        name="an IPv6 route without an mtu",
        why="IPv6 counts as well",
        tables=routed(1450).route("2001:db8:7::/48", dev="t0").build(),
        fires=1,
    )
    several = _tunnel("vxlan", 1500, VXLAN4).link("eth1")
    elsewhere = [several.hop("eth0", "192.0.2.9"), several.hop("eth1", "198.51.100.9")]
    yield Example(
        name="several next hops, one through it, with an mtu",
        why="a leg of a multipath route is limited by the route",
        tables=several.route("172.16.0.0/12", hops=elsewhere)
        .route(
            "10.0.0.0/8", hops=[several.hop("t0", "10.1.0.1"), several.hop("eth0", "192.0.2.9")], metrics={"mtu": 1400}
        )
        .build(),
    )
    yield Example(
        name="limited blackhole",
        why="what is thrown away does not count as a limit",
        tables=_tunnel("vxlan", 1500, VXLAN4).route("10.0.0.0/8", dev="t0", type="blackhole", metrics={"mtu": 1400})
        .build(),
        fires=1,
    )  # fmt: skip
    for mtu, fires, why in ((1450, 0, "nobody there sends what does not fit"), (1500, 1, "a container sends it")):
        bridge = _host().link("br0", kind="bridge", mtu=1450)
        bridge.link("t0", kind="vxlan", mtu=1500, info=VXLAN4, master="br0")
        bridge.link("v0", kind="veth", mtu=1500, master="br0").peer("v0", mtu=mtu)
        yield Example(name=f"port of a bridge with {mtu}", why=why, tables=bridge.build(), fires=fires)
    limited = _host().link("red", kind="vrf").link("t0", kind="vxlan", mtu=1500, info=VXLAN4, master="red")
    yield Example(
        name="member of a VRF with limited routes",
        why="its routes are in another table, and count",
        tables=limited.route("10.0.0.0/8", dev="t0", table=10, metrics={"mtu": 1400}).build(),
    )
    upper = _tunnel("vxlan", 1500, VXLAN4).route("10.0.0.0/8", dev="t0", metrics={"mtu": 1400})
    yield Example(
        name="limited routes and a macvlan on top",
        why="the macvlan's packets do not pass those routes",
        tables=upper.link("m0", kind="macvlan", mtu=1500, link="t0").build(),
        fires=1,
    )
