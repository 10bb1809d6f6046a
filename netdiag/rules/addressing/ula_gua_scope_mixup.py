"""What it checks
  IPv6 packets to the Internet leave with a unique local source (fc00::/7), because this host has no global address,
  and nothing here rewrites it.

Why it matters
  There is a default route, so programs try IPv6 first; nobody out there can answer a unique local address. Each
  connection waits for its timeout before it falls back to IPv4, unless a router translates the prefix (NPTv6, NAT66).

Confirm
  ip -6 route get 2001:db8:ffff::77
  ip -6 address show scope global

Fix
  Give the host a global address, or take the default route away (ip -6 route del default), so that programs get an
  error at once and use IPv4. Where a router translates, nothing has to be done.

Not flagged
  Hosts with a global address, preferred or not: see src-addr-selection-wrong and addr-deprecated-source. Ways out
  through a tunnel or a VRF: private networks that span hosts are built so. Sources that are, or may be, rewritten here.
  Routes that name their source. Whether a router translates cannot be seen from here: this is an info.

References
  RFC 4193 section 4.3; RFC 6724 section 10.6; RFC 6296
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.encapsulation import tunnel
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.policy import Query
from netdiag.index.source6 import Sources6
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.link import Link
from netdiag.model.nft import Nft, XtTable
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, table
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ula-gua-scope-mixup",
    title="packets to the Internet leave with a unique local address",
    severity="info",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    consults=("nft",),
)
FAR = ("2001:db8:ffff::77", "2600::77", "2a00::77")
ULA = ipaddress.ip_network("fc00::/7")
CARRIERS = frozenset({"wireguard", "tun", "ppp", "xfrm", "vti6"})


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    own = [ipaddress.ip_address(row.local) for row in view.addresses if row.family == "inet6" and row.scope == 0]
    if any(address not in ULA for address in own):
        return
    firewall, sources = Netfilter(view.nft), Sources6(view.addresses, view.stack)
    for dst in FAR:
        answer = view.lookup(Query(family="inet6", dst=dst))
        if answer.type != "unicast" or answer.prefsrc is not None:
            continue
        for hop in answer.hops[:1]:
            out, chosen = view.link(hop.oif), sources.select(hop.oif, dst)
            if out is None or chosen is None or ipaddress.ip_address(chosen) not in ULA or not _open(view, out):
                continue
            if view.unknown("nft"):
                yield Unjudged(reason="nft: not read, and it may translate the source")
                return
            if not _rewritten(firewall, chosen, dst, out):
                yield _draft(out, chosen, dst)
                return


def _open(view: HostView, out: Link) -> bool:
    carried = out.kind in CARRIERS or tunnel(out) is not None
    return not carried and view.stack.vrf(out.ifindex) is None


def _rewritten(firewall: Netfilter, source: str, dst: str, out: Link) -> bool:
    packet = Packet(family="inet6", saddr=source, daddr=dst, oif=out.ifname, oifindex=out.ifindex, mark=None, uid=None)
    said = firewall.hook("postrouting", packet)
    return bool(said.unseen) or any(one.kind in ("snat", "masquerade") for one in said.translations)


def _draft(out: Link, chosen: str, dst: str) -> Draft:
    return RULE.found(
        subject=subject("address", address=chosen, ifname=out.ifname),
        message=f"IPv6 packets to the Internet leave by {out.ifname} with the unique local source {chosen}: only a"
        " router that translates it gets an answer",
        evidence=[
            (f"source to {dst}", chosen, "RFC 6724 over RTM_GETADDR"),
            ("global addresses of this host", "none", "RTM_GETADDR"),
        ],
        confirm=[f"ip -6 route get {dst}", "ip -6 address show"],
        fix="ip -6 route del default  # unless a router translates; better give the host a global address",
        touches=[subject("link", ifname=out.ifname), subject("route", dst="::/0", table=254, ifname=out.ifname)],
    )


def examples() -> Iterator[Example]:
    def host(*more: str, src: str | None = None, **link: Any) -> HostBuilder:
        made = HostBuilder().link("eth0", **link).address("eth0", "fe80::2/64").address("eth0", "fd00:1::2/64")
        for address in more:
            made.address("eth0", address)
        return made.route("default", via="fe80::1", dev="eth0", prefsrc=src)

    def case(name: str, why: str, made: HostBuilder, fires: int = 0, **more: Any) -> Example:
        return Example(name=name, why=why, tables=made.build(), fires=fires, severity="info" if fires else None, **more)

    yield case("only a unique local address", "the plain state", host(), 1)
    yield case("beside a global one", "that one is taken", host("2001:db8:1::2/64"))
    yield case("by a tunnel", "a private network over many hosts", host(kind="wireguard", type=65534))
    yield case("source named", "somebody decided", host(src="fd00:1::2"))
    nat66 = chain("post", rule(plain("masq")), hook="postrouting", priority="srcnat", type="nat")
    yield case("masqueraded", "this host translates", host().nft(table(nat66, name="nat")))
    legacy = replace(host().build(), nft=Nft(xtables=(XtTable(family="ip6", name="nat"),)))
    yield Example(name="tables of iptables-legacy", why="what they do was not read", tables=legacy)
    yield case("filter not read", "it may translate", host(), late=("nft",), unjudged=True)
    yield case("with IPv4", "that is another family", host("192.0.2.2/24"), 1)
    service = host().address("lo", "2001:db8:7::7/128")
    yield case("a global one on lo", "programs may name it", service)
    yield case(
        "by 6in4", "its far end decides", host(kind="sit", type=776, info={"local": "192.0.2.2", "remote": "192.0.2.9"})
    )
    vrf = HostBuilder().link("red", kind="vrf", info={"table": 254}).link("eth0", master="red")
    vrf.address("eth0", "fe80::2/64").address("eth0", "fd00:1::2/64").route("default", via="fe80::1", dev="eth0")
    yield case("in a VRF", "a network of its own", vrf)
    bare = HostBuilder().link("eth0").address("eth0", "fe80::2/64").route("default", via="fe80::1", dev="eth0")
    yield case("link-local only", "nothing leaves with it", bare)
    none = HostBuilder().link("eth0").route("default", via="fe80::1", dev="eth0")
    yield case("no address", "nothing leaves", none)
    yield case("gone meanwhile", "it is not known what it was", host().vanished("eth0"))
    taken = HostBuilder().link("eth0").address("eth0", "fd00:1::2/64").route("::/0", dev="lo", type="local")
    yield case("everything is taken in", "nothing leaves", taken)
    inside = HostBuilder().link("eth0").address("eth0", "fd00:1::2/64").route("fd00::/8", via="fd00:1::1", dev="eth0")
    yield case("no default route", "it never leaves", inside)
