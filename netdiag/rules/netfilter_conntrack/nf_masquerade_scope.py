"""What it checks
  A masquerade or snat rule that names neither an interface nor a destination also rewrites what goes into a tunnel or a
  mesh (WireGuard, a tun, a GRE or VXLAN interface), whose other end knows the real source addresses. Or an snat rule,
  whatever it names, gives what goes into WireGuard or a tun the address of the uplink.

Why it matters
  Inside the mesh every guest then looks like its host: access lists by address, accounting and logs are wrong,
  WireGuard drops what the new source is not allowed for, and connections back to the guest have no address to go to.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  tcpdump -ni IFNAME -c 5      (the source of what leaves)

Fix
  Replace the rule by one with oifname UPLINK (or ip daddr != MESH): nft replace rule FAMILY TABLE CHAIN handle N
  oifname UPLINK masquerade. Or at once: nft insert rule FAMILY TABLE CHAIN oifname IFNAME return. Connections that are
  open keep their translation until they end.

Not flagged
  Rules that name an interface, or sources or destinations that leave the mesh out: somebody decided. Hosts without a
  tunnel or without anything behind them to be hidden (egress-only). A tunnel that is the default route, a VPN to the
  Internet.

References
  nft(8) "NAT STATEMENTS"; net/netfilter/nf_nat_masquerade.c
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.guests import GuestSide, sides
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Translation
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, oifname, plain, rule, saddr, table
from netdiag.rules.forwardgate import forwarding
from netdiag.rules.nftplaces import chain_name, chain_subject, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.unscoped import carries_mesh, default_ways, unscoped

RULE = Rule(
    id="nf-masquerade-scope",
    title="masquerade without a scope hides guests inside the mesh",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "nft"),
    explains=("wg-masquerade-inside-tunnel",),
)


def check(view: HostView) -> Iterator[Draft]:
    said: set[str] = set()
    for family in ("inet", "inet6"):
        around = sides(view.stack, view.routes(family), view.addresses)
        defaults = default_ways(view, family)
        meshes = [link for link in view.links if link.up and carries_mesh(link) and link.ifindex not in defaults]
        for guest in around.guests:
            for mesh in meshes:
                if not forwarding(view, guest.link, family):
                    continue
                own = guest.prefix if guest.count == 1 else None
                hidden = unscoped(view, family, own, mesh)
                if hidden is not None and (words := place_words(hidden.at)) not in said:
                    said.add(words)
                    yield _finding(hidden, guest, mesh)


def _finding(hidden: Translation, guest: GuestSide, mesh: Link) -> Draft:
    at = hidden.at
    assert at.rule is not None
    text = rule_text(at.table, at.rule)
    name = quoted(mesh.ifname)
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"`{text}` of {chain_name(at.table, at.chain)} also rewrites what {guest.link.ifname} ({guest.prefix})"
        f" sends into {mesh.ifname}: the other side sees this host instead",
        evidence=[
            (f"rule {at.rule.handle} of {chain_name(at.table, at.chain)}", text, "NFT_MSG_GETRULE"),
            (f"kind of {mesh.ifname}", mesh.kind, f"RTM_GETLINK {mesh.ifname} IFLA_INFO_KIND"),
        ],
        confirm=[list_chain(at.table, at.chain), f"ip route show dev {quoted(mesh.ifname)}"],
        fix=inserts(at.table, at.chain.name, [f"oifname {name} return"], [f"-o {name} -j RETURN"]),
        touches=[subject("link", ifname=mesh.ifname)],
    )


def _host(*conditions: Any, mesh_default: bool = False, tunnel: bool = True) -> HostBuilder:
    host = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    host.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    host.tap("tap0", inet_conf={"forwarding": 1}).route("10.1.0.2/32", dev="tap0")
    if tunnel:
        host.link("wg0", kind="wireguard", inet_conf={"forwarding": 1}).address("wg0", "10.9.0.1/24")
    if mesh_default:
        host.route("default", dev="wg0")
    else:
        host.route("default", via="192.0.2.1", dev="eth0")
    one = rule(*conditions, plain("masq"))
    return host.nft(table(chain("post", one, hook="postrouting", priority="srcnat", type="nat"), family="ip"))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires)

    yield case("masquerade everything", "the plain fault", _host(), 1)
    post = chain("POSTROUTING", rule(plain("masq")), hook="postrouting", type="nat")
    old = msgspec.structs.replace(table(post, name="nat", family="ip"), flags=("legacy",))
    told = case("by iptables-legacy", "nft does not show its chains", _host(oifname("eth0")).nft(legacy=(old,)), 1)
    yield replace(told, says=("iptables-legacy -t nat -I POSTROUTING -o wg0 -j RETURN",))
    yield case("by source alone", "the source does not say where it goes", _host(saddr("10.1.0.0/24")), 1)
    yield case("uplink named", "as it should be", _host(oifname("eth0")))
    yield case("all but loopback", "that says nothing about where to", _host(oifname("lo", "neq")), 1)
    yield case("all but the guests' bridge", "somebody decided", _host(oifname("br0", "neq")))
    yield case("all that begins as loopback does", "a pattern that names more", _host(oifname("lo*", "neq")))
    yield case("mesh named", "somebody decided", _host(oifname("wg0")))
    yield case("mesh left out", "by destination", _host(daddr("10.0.0.0/8", "neq")))
    yield case("other guests", "another source", _host(saddr("10.2.0.0/24")))
    yield case("VPN to the Internet", "the tunnel is the way out", _host(mesh_default=True))
    yield case("no tunnel", "egress only", _host(tunnel=False))
    down = _host().link("wg0", kind="wireguard", up=False, ifindex=4)
    yield case("tunnel down", "nothing goes there", down)
    yield case("not forwarded", "what the guest sends goes nowhere", _host().sysctl("net.ipv4.conf.tap0.forwarding", 0))
    two = _host().tap("tap1", inet_conf={"forwarding": 1}).route("10.1.0.3/32", dev="tap1")
    yield case("two guests", "one rule, told once", two, 1)
    wide = _host().route("64.0.0.0/2", dev="wg0")
    yield case("a quarter of the world is behind it", "it is no way out", wide, 1)
    for kind, fires in (("tun", 1), ("tap", 0)):
        host = _host(tunnel=False).link("vpn0", kind="tun", info={"type": kind}, inet_conf={"forwarding": 1})
        yield case(
            f"a mesh of {kind} devices", "a tap is a cable to a machine", host.address("vpn0", "10.9.0.1/24"), fires
        )
