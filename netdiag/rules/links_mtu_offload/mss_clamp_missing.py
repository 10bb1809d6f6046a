"""What it checks
  This host forwards TCP into a link with a smaller MTU (a tunnel, WireGuard), no rule clamps the MSS on the way, and
  its own filter drops the ICMP errors by which senders would learn the smaller size.

Why it matters
  Full-sized segments are dropped at the tunnel, and the sender is never told: small answers pass, big ones hang. A
  browser stalls in the TLS handshake while curl to the same place works.

Confirm
  ip link show dev IFNAME
  nft -a list chain FAMILY TABLE CHAIN
  tracepath -n DESTINATION                  (from a client behind: the path MTU stays too big)

Fix
  nft add rule FAMILY TABLE forward tcp flags syn tcp option maxseg size set rt mtu, or accept the errors at output
  again (ICMP destination-unreachable, ICMPv6 packet-too-big). The clamp changes new connections only; the errors help
  UDP and QUIC as well.

Not flagged
  Errors that may leave: path MTU discovery then works without a clamp. Hosts that clamp, in nftables or iptables, or
  whose routes into the tunnel carry an advmss or an mtu. Links with eBPF programs, which may clamp (where these were
  not read, this is not evaluated). Hosts that do not forward, or whose forward hook stops the traffic anyway. Tunnels
  as large as everything else.

References
  RFC 1191; RFC 8201; RFC 4821; nft(8) "EXTENSION HEADER EXPRESSIONS" (tcp option maxseg); iptables-extensions(8) TCPMSS
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.index.ways import led_by
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.link import Link
from netdiag.model.nft import NftExpression
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import Expressions, chain, icmp, l4proto, plain, rule, same, table, verdict
from netdiag.rules.forwardgate import forwarding
from netdiag.rules.nftplaces import chain_subject, fact, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="mss-clamp-missing",
    title="TCP is forwarded into a smaller link, unclamped, and senders are never told",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "nft"),
    consults=("bpf",),
    explains=("ip-fragfails", "nf-icmp-blocked"),
)
TUNNELS = {
    "wireguard",
    "vxlan",
    "geneve",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "ipip",
    "sit",
    "ip6tnl",
    "vti",
    "xfrm",
}
MOST = 6


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    if _clamps(view):
        return
    programmed = {one.ifindex for one in view.bpf.attachments}
    for family in ("inet", "inet6"):
        stop = _muted(view, family)
        if stop is None:
            continue
        for tunnel in sorted(view.links, key=lambda link: link.ifname):
            if tunnel.up and _tunnel(tunnel) and tunnel.ifindex not in programmed and _used(view, family, tunnel):
                wide = [link for link in _ingress(view, family, tunnel) if link.ifindex not in programmed]
                passing = [link for link in wide if _passes(view, family, link, tunnel)]
                if passing and view.unknown("bpf"):
                    yield Unjudged(reason="bpf: not read, and a program may clamp the MSS")
                    return
                if passing:
                    yield _finding(family, tunnel, passing[0], stop)
                    return


def _clamps(view: HostView) -> bool:
    return any(
        (e.key == "tcpopt" and e.sreg is not None) or e.key == "TCPMSS"
        for one in view.netfilter.tables
        if not one.dormant
        for each in one.chains
        for rule_ in each.rules
        for e in rule_.expressions
    )


def _muted(view: HostView, family: str) -> Possible | None:
    """What stops this host's own "too big" errors for certain."""
    inet = family == "inet"
    kind: dict[str, Any] = {"proto": 1, "icmp_type": 3, "icmp_code": 4} if inet else {"proto": 58, "icmp_type": 2}
    found = view.netfilter.hook("output", Packet(family=family, oif=None, ct_state="related", mark=None, **kind))
    return found.blocker if found.passes == "no" else None


def _tunnel(link: Link) -> bool:
    return link.kind in TUNNELS or link.info.get("type") == "tun"


def _used(view: HostView, family: str, tunnel: Link) -> bool:
    """Whether routes lead into it that say nothing of a smaller size themselves."""
    routes = view.routes(family)
    rows = (led_by(routes, tunnel.ifindex) & (routes.type == RTN_UNICAST)).nonzero()[0].tolist()
    pointers = [int(routes.extra[row]) for row in rows]
    return any(number < 0 or not {"advmss", "mtu"} & set(routes.extras[number].metrics) for number in pointers)


def _ingress(view: HostView, family: str, tunnel: Link) -> list[Link]:
    wide = [
        link
        for link in view.links
        if link.up and not link.loopback and not _tunnel(link) and link.master is None and link.mtu > tunnel.mtu
    ]
    return [link for link in wide if forwarding(view, link, family)][:MOST]


def _passes(view: HostView, family: str, link: Link, tunnel: Link) -> bool:
    packet = Packet(family=family, iif=link.ifname, oif=tunnel.ifname, proto=6, tcp_flags=2, mark=None, ct_mark=None)
    return view.netfilter.hook("forward", packet).passes != "no"


def _finding(family: str, tunnel: Link, wide: Link, stop: Possible) -> Draft:
    at = stop.at
    return RULE.found(
        subject=subject("link", ifname=tunnel.ifname),
        message=f"TCP from {wide.ifname} (mtu {wide.mtu}) is forwarded into {tunnel.ifname} (mtu {tunnel.mtu}) without"
        f" an MSS clamp, and {place_words(at)} drops the errors that would tell the senders",
        evidence=[
            (f"{tunnel.ifname} mtu", tunnel.mtu, f"RTM_GETLINK {tunnel.ifname} IFLA_MTU"),
            (f"{wide.ifname} mtu", wide.mtu, f"RTM_GETLINK {wide.ifname} IFLA_MTU"),
            fact(stop),
        ],
        confirm=[f"ip link show dev {quoted(tunnel.ifname)}", list_chain(at.table, at.chain)],
        fix="nft 'add table inet mss; add chain inet mss forward { type filter hook forward priority mangle; };"
        " add rule inet mss forward tcp flags syn tcp option maxseg size set rt mtu'",
        touches=[chain_subject(at.table, at.chain)],
        breaks=[chain_subject(at.table, at.chain)],  # the rule that drops the errors is named here
    )


def _host(*tables: Any, mtu: int = 1420, forward: int = 1, **route: Any) -> HostBuilder:
    host = HostBuilder().sysctl("net.ipv4.ip_forward", forward)
    host.link("eth0", mtu=1500, inet_conf={"forwarding": forward}).address("eth0", "192.0.2.2/24")
    host.link("wg0", kind="wireguard", mtu=mtu, inet_conf={"forwarding": forward})
    return host.route("10.0.0.0/8", dev="wg0", **route).nft(*tables)


def _mute(hook: str = "output") -> Any:
    return table(chain(hook, rule(icmp(1, 3), verdict("drop")), hook=hook), name="fw")


def _clamp(*what: Any) -> Any:
    return table(chain("mangle", rule(*what), hook="forward", priority="mangle"), name="clamp")


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("muted and unclamped", "the plain fault", _host(_mute()), 1)
    two = _host(_mute()).link("wg1", kind="wireguard", mtu=1420, inet_conf={"forwarding": 1}).without_routes(table=254)
    two.route("10.0.0.0/8", hops=[two.hop("wg0"), two.hop("wg1")])
    yield case("two tunnels for one network", "each takes a half of the flows, one is told", two, 1)
    yield case("errors may leave", "path MTU discovery works", _host())
    clamp = _clamp(plain("exthdr", key="tcpopt", number=2, offset=2, length=2, sreg=0))
    yield case("clamped", "segments are small from the start", _host(_mute(), clamp))
    old = _clamp(plain("target", key="TCPMSS"))
    yield case("clamped by iptables", "the same in other words", _host(_mute(), old))
    yield case("same size", "nothing is too big", _host(_mute(), mtu=1500))
    yield case("advmss", "the route says it", _host(_mute(), metrics={"advmss": 1380}))
    yield case("no forwarding", "a host of its own", _host(_mute(), forward=0))
    shut = table(chain("fwd", hook="forward", policy="drop"), name="shut")
    yield case("nothing forwarded", "the filter stops it anyway", _host(_mute(), shut))
    yield case("transit errors", "this host's own may leave", _host(_mute("input")))
    yield from _rulesets()
    yield from _links()


def _rulesets() -> Iterator[Example]:
    def case(name: str, why: str, *tables: Any, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=_host(*tables).build(), fires=fires)

    read = _clamp(plain("exthdr", key="tcpopt", number=2, offset=2, length=2, dreg=0), plain("counter"))
    yield case("only looked at", "nothing is written into the option", _mute(), read, fires=1)
    marked = _clamp(plain("target", key="LOG"))
    yield case("another target", "it writes a log", _mute(), marked, fires=1)
    off = table(chain("m", rule(plain("target", key="TCPMSS")), hook="forward"), name="off", dormant=True)
    yield case("a dormant clamp", "switched off", _mute(), off, fires=1)
    yield case("that one code dropped", "fragmentation needed", _drop(icmp(1, 3), _octet(1, 4)), fires=1)
    yield case("another code dropped", "source route failed", _drop(icmp(1, 3), _octet(1, 5)))
    tcp = rule(l4proto(6), verdict("accept"))
    shut = table(chain("fwd", tcp, hook="forward", policy="drop"), name="shut")
    yield case("only TCP forwarded", "that is what suffers", _mute(), shut, fires=1)
    syn = rule(l4proto(6), _octet(13, 2), verdict("drop"))
    begun = table(chain("fwd", syn, hook="forward"), name="shut")
    yield case("no TCP may begin", "nothing is forwarded", _mute(), begun)


def _octet(offset: int, value: int) -> Expressions:
    """An octet of the transport header."""
    loaded = NftExpression(name="payload", key="transport", dreg=0, offset=offset, length=1)
    return loaded, same(f"{value:02x}")


def _drop(*conditions: Expressions) -> Any:
    return table(chain("out", rule(*conditions, verdict("drop")), hook="output"), name="fw")


def _links() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.nft(_mute()).build(), fires=fires)

    def host(card: int = 1420) -> HostBuilder:
        """A card no wider than the tunnel."""
        return _host().link("eth0", mtu=card, ifindex=2, inet_conf={"forwarding": 1})

    yield case("a small card", "nothing is too big", host())
    down = _host().link("eth0", up=False, ifindex=2, inet_conf={"forwarding": 1})
    yield case("the card is down", "nothing comes", down)
    yield case(
        "the tunnel is down",
        "nothing leaves by it",
        _host().link("wg0", kind="wireguard", mtu=1420, up=False, ifindex=3),
    )
    yield case("loopback is wider", "nothing is forwarded from it", host().sysctl("net.ipv4.conf.lo.forwarding", 1))
    second = host().link("wg1", kind="wireguard", mtu=9000, inet_conf={"forwarding": 1})
    yield case("a wider tunnel", "its packets were made small before", second)
    bridged = host().link("br0", kind="bridge", mtu=1420).link("eth1", master="br0", inet_conf={"forwarding": 1})
    yield case("a port of a bridge", "the bridge takes what it takes", bridged)
    lan = HostBuilder().sysctl("net.ipv4.ip_forward", 1).link("eth0", inet_conf={"forwarding": 1})
    lan.address("eth0", "192.0.2.2/24").link("eth1", mtu=1400, inet_conf={"forwarding": 1}).address(
        "eth1", "10.0.0.1/8"
    )
    yield case("a small LAN", "no tunnel: its hosts know their size", lan)
    for kind, fires in (("tun", 1), ("tap", 0)):
        vpn = HostBuilder().sysctl("net.ipv4.ip_forward", 1).link("eth0", inet_conf={"forwarding": 1})
        vpn.address("eth0", "192.0.2.2/24")
        vpn.link("vpn0", kind="tun", mtu=1420, info={"type": kind}, inet_conf={"forwarding": 1})
        yield case(f"a VPN's {kind}", "a tap carries frames of guests", vpn.route("10.0.0.0/8", dev="vpn0"), fires)
    sized = _host(metrics={"window": 1000})
    yield case("another metric", "it says nothing of the size", sized, 1)
    for ifname in ("eth0", "wg0"):
        programmed = _host()
        row = BpfAttachment(hook="tcx", prog_id=1, ifindex=programmed.ifindex(ifname), direction="ingress")
        yield case(f"a program on {ifname}", "it may clamp", programmed.bpf(attachments=[row]))
    six = HostBuilder().sysctl("net.ipv6.conf.all.forwarding", 1).link("eth0").address("eth0", "2001:db8::2/64")
    six.link("wg0", kind="wireguard", mtu=1420).route("2001:db8:9::/48", dev="wg0")
    for number, fires in ((2, 1), (1, 0)):
        made = six.build()
        ruleset = HostBuilder().nft(_drop(icmp(58, number))).build().nft
        tables = replace(made, nft=ruleset)
        yield Example(name=f"ICMPv6 type {number} dropped", why="2 is too big", tables=tables, fires=fires)
    tables = _host(_drop(icmp(1, 3))).build()
    yield Example(name="programs not read", why="one may clamp", tables=tables, late=("bpf",), unjudged=True)
