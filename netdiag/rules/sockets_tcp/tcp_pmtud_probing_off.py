"""What it checks
  TCP does not look for a smaller path MTU by itself (net.ipv4.tcp_mtu_probing=0), on a host that sends into a tunnel
  with a smaller MTU than its uplink, or from one.

Why it matters
  Where the ICMP message about a too large packet is filtered, connections hang at their first full segment for ever.
  With probing they find out after some seconds. Tunnels are where paths are smaller than the ends believe.

Confirm
  sysctl net.ipv4.tcp_mtu_probing net.ipv4.tcp_base_mss

Fix
  sysctl -w net.ipv4.tcp_mtu_probing=1, for connections that begin from then on. 1 probes only after a stall.

Not flagged
  Hosts without a tunnel. Hosts that clamp the MSS, in nftables or iptables, or by an advmss on routes. It is an info:
  0 is the kernel's default, and nothing is wrong as long as ICMP passes.

References
  RFC 4821; net/ipv4/tcp_timer.c tcp_mtu_probing(); Documentation/networking/ip-sysctl.rst tcp_mtu_probing
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.encapsulation import tunnel
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, table
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tcp-pmtud-probing-off",
    title="TCP would not notice that packets are too large for a tunnel's path",
    severity="info",
    confidence="possible",
    reads=("links", "addresses", "sysctls"),
    consults=("nft",),
)
NAME = "net.ipv4.tcp_mtu_probing"


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    if view.sysctl_int(NAME) != 0 or _clamps(view):
        return
    addressed = {row.ifindex for row in view.addresses if row.scope == 0}
    wide = [link.mtu for link in view.links if link.up and not link.loopback and not _carries(link)]
    small = [link for link in view.links if link.up and _carries(link) and link.ifindex in addressed]
    small = [link for link in small if any(link.mtu < mtu for mtu in wide)]
    if not small:
        return
    if view.unknown("nft"):
        yield Unjudged(reason="nft: not read, and it may clamp the MSS")
        return
    first = min(small, key=lambda link: (link.mtu, link.ifname))
    yield RULE.found(
        subject=subject("sysctl", name=NAME),
        message=f"where ICMP is filtered, connections through {first.ifname} (MTU {first.mtu}) hang at their first full"
        " segment: TCP does not look for a smaller size by itself",
        evidence=[
            (NAME, 0, "/proc/sys/net/ipv4/tcp_mtu_probing"),
            (f"{first.ifname} mtu", first.mtu, f"RTM_GETLINK {first.ifname} IFLA_MTU"),
        ],
        confirm=[f"sysctl {NAME}"],
        fix=f"sysctl -w {NAME}=1",
    )


def _carries(link: Link) -> bool:
    return (
        link.kind in ("wireguard", "ppp", "xfrm", "vti", "vti6")
        or tunnel(link) is not None
        or link.info.get("type") == "tun"
    )


def _clamps(view: HostView) -> bool:
    return any(
        (step.key == "tcpopt" and step.sreg is not None) or step.key == "TCPMSS"
        for one in (*view.nft.tables, *view.nft.legacy)
        if not one.dormant
        for each in one.chains
        for row in each.rules
        for step in row.expressions
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int = 0, *, probing: int = 0, clamp: bool = False, **link: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").sysctl(NAME, probing)
        address = link.pop("address", "10.9.0.1/24")
        if link:
            host.link("wg0", **link)
            host = host.address("wg0", address) if address else host
        set_mss = rule(plain("exthdr", key="tcpopt", sreg=0))
        host = host.nft(table(chain("f", set_mss, hook="forward"))) if clamp else host
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    wg: dict[str, Any] = {"kind": "wireguard", "type": 65534, "mtu": 1420}
    yield case("off beside a tunnel", "the kernel's default", 1, **wg)
    yield case("on", "as advised", probing=1, **wg)
    yield case("no tunnel", "the whole way is one size")
    yield case("clamped", "the ends are told", clamp=True, **wg)
    yield case("a tunnel of full size", "no smaller than the uplink", **(wg | {"mtu": 1500}))
    yield case("one byte less", "just smaller", 1, **(wg | {"mtu": 1499}))
    yield case("no address on it", "nothing is sent into it", address=None, **wg)
    yield case("tunnel down", "nor into this", up=False, **wg)
    tun: dict[str, Any] = {"kind": "tun", "info": {"type": "tun"}, "mtu": 1400}
    yield case("userspace tunnel", "wireguard-go, OpenVPN", 1, **tun)
    yield case("a tap", "a guest's wire", kind="tun", info={"type": "tap"}, mtu=1400)
    yield case("a tunnel over IP", "vxlan and its like", 1, kind="ipip", type=768, mtu=1480)
    yield case("only a link-local address", "nothing is sent into it", address=None, **wg)
    local = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").sysctl(NAME, 0).link("wg0", **wg)
    yield Example(name="link-local alone", why="likewise", tables=local.address("wg0", "fe80::1/64").build())

    def host(card: int = 1500, **link: Any) -> HostBuilder:
        made = HostBuilder().sysctl(NAME, 0).link("eth0", mtu=card, **link).address("eth0", "192.0.2.2/24")
        return made.link("wg0", **wg).address("wg0", "10.9.0.1/24")

    tables = host().build()
    yield Example(name="the filter was not read", why="it may clamp", tables=tables, late=("nft",), unjudged=True)
    yield Example(name="no filter at all", why="nothing clamps", tables=tables, absent=("nft",), fires=1)
    yield Example(name="the card is down", why="nothing is larger", tables=host(up=False).build())
    two = host(1420).link("wg1", kind="wireguard", type=65534, mtu=1500).address("wg1", "10.8.0.1/24")
    yield Example(name="a wider tunnel", why="no larger way out", tables=two.build())
    for name, step, fires in (
        ("clamped by iptables", plain("target", key="TCPMSS"), 0),
        ("a mark set", plain("meta", key="mark", sreg=0), 1),
        ("another target", plain("target", key="MARK"), 1),
        ("the option looked at", plain("exthdr", key="tcpopt", dreg=0), 1),
    ):
        made = host().nft(table(chain("f", rule(step), hook="forward")))
        yield Example(name=name, why="only a clamp tells the ends", tables=made.build(), fires=fires)
    off = host().nft(table(chain("f", rule(plain("target", key="TCPMSS")), hook="forward"), dormant=True))
    yield Example(name="a dormant clamp", why="switched off", tables=off.build(), fires=1)
