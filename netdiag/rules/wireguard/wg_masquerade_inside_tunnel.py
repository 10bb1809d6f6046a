"""What it checks
  A masquerade or snat rule that names neither an interface nor a destination also rewrites what a network behind this
  host sends into a WireGuard tunnel. Or an snat rule, whatever it names, gives it the address of the uplink.

Why it matters
  WireGuard lets in only packets whose source is among the peer's allowed-ips. The other side knows the addresses of the
  network; it gets this host's instead, and drops them unless that is allowed too. Where it is, every machine behind
  looks like this host: access lists and logs are wrong, and nobody can be called back.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  tcpdump -ni IFNAME -c 5       (the source of what leaves)
  wg show IFNAME allowed-ips    (on the other side)

Fix
  nft insert rule FAMILY TABLE CHAIN oifname IFNAME return, or give the rule an oifname of the uplink. Connections that
  are open keep their translation until they end.

Not flagged
  Masquerade by rules that name an interface, or that leave the tunnel's destinations out: somebody decided, as on a
  gateway that hides a network on purpose. Tunnels that are the default route, a VPN to the Internet. Hosts that do not
  forward, or with no network behind them: a private one, or one whose addresses the rule names. Guests of this host
  have nf-masquerade-scope above it.

References
  nft(8) "NAT STATEMENTS"; wg(8) AllowedIPs; drivers/net/wireguard/receive.c wg_packet_consume_data_done()
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.guests import GuestSide, sides
from netdiag.index.nfttext import rule_text
from netdiag.index.nftverdict import Translation
from netdiag.index.subnets import Subnet, connected
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build_nft import chain, daddr, nat, oifname, plain, rule, saddr, table
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.forwardgate import forwarding
from netdiag.rules.nftplaces import chain_name, chain_subject, inserts, list_chain
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.unscoped import carries_mesh, default_ways, unscoped

RULE = Rule(
    id="wg-masquerade-inside-tunnel",
    title="masquerade rewrites what a network behind this host sends into a tunnel",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "nft", "wireguard"),
)

PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]

SOURCE = {4: 12, 6: 8}
"""Bytes into the header at which the source stands."""


def check(view: HostView) -> Iterator[Draft]:
    devices = {row.ifname for row in view.wireguard.devices}
    for family in ("inet", "inet6"):
        guests = sides(view.stack, view.routes(family), view.addresses).guests
        served = [guest for guest in guests if forwarding(view, guest.link, family)]
        ways = default_ways(view, family)
        behind = [] if served else [row for row in connected(view, family) if _behind(view, row, family, ways)]
        for mesh in view.links:
            if mesh.ifname in devices and mesh.up and mesh.ifindex not in ways:
                found = _of_guests(view, family, served, mesh) if served else _first(view, family, behind, mesh)
                if found is not None:
                    yield _draft(*found, mesh)
                    break


def _of_guests(
    view: HostView, family: str, guests: list[GuestSide], mesh: Link
) -> tuple[Translation, str, Link] | None:
    """The first guest of this host of which the same is true."""
    for guest in guests:
        hidden = unscoped(view, family, guest.prefix if guest.count == 1 else None, mesh)
        if hidden is not None:
            return hidden, guest.prefix, guest.link
    return None


def _behind(view: HostView, row: Subnet, family: str, ways: set[int]) -> bool:
    """Whether a connected subnet is a network that this host may forward for."""
    link = row.link
    inner = link.ifindex not in ways and not carries_mesh(link) and link.kind != "vrf"
    return inner and forwarding(view, link, family)


def _meant(row: Subnet, hidden: Translation) -> bool:
    """Whether the subnet is a network behind this host: private, or the rule asks for the source. A public one that no
    rule asks for may be that of a second uplink."""
    private = any(row.network.network_address in one for one in PRIVATE)
    assert hidden.at.rule is not None
    loads = {(one.key, one.offset) for one in hidden.at.rule.expressions if one.name == "payload"}
    return private or ("network", SOURCE[row.network.version]) in loads


def _first(view: HostView, family: str, behind: list[Subnet], mesh: Link) -> tuple[Translation, str, Link] | None:
    for row in behind:
        hidden = unscoped(view, family, str(row.network), mesh)
        if hidden is not None and _meant(row, hidden):
            return hidden, str(row.network), row.link
    return None


def _draft(hidden: Translation, network: str, link: Link, mesh: Link) -> Draft:
    at = hidden.at
    assert at.rule is not None
    text, name = rule_text(at.table, at.rule), chain_name(at.table, at.chain)
    out = quoted(mesh.ifname)
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"`{text}` of {name} also rewrites what {network} behind {link.ifname} sends into"
        f" {mesh.ifname}: peers that know the network's addresses drop it",
        evidence=[
            (f"rule {at.rule.handle} of {name}", text, "NFT_MSG_GETRULE"),
            (f"network behind {link.ifname}", network, "RTM_GETROUTE"),
        ],
        confirm=[list_chain(at.table, at.chain), f"wg show {quoted(mesh.ifname)} allowed-ips"],
        fix=inserts(at.table, at.chain.name, [f"oifname {out} return"], [f"-o {out} -j RETURN"]),
        touches=[subject("link", ifname=mesh.ifname), subject("wireguard-interface", ifname=mesh.ifname)],
    )


def _host(
    *conditions: Any,
    default: str = "eth0",
    forward: int = 1,
    lan: str = "192.168.7.1/24",
    wan: str = "203.0.113",
    up: bool = True,
    kind: str | None = None,
    snat: str | None = None,
) -> Any:
    host = WireguardBuilder()
    conf = {"forwarding": forward}
    host.link("eth0", inet_conf=conf).address("eth0", f"{wan}.2/24")
    host.link("eth1", inet_conf=conf, kind=kind).address("eth1", lan)
    host.wireguard("wg0", inet_conf=conf, up=up).address("wg0", "10.9.0.1/24")
    host.wg_peer("wg0", "a", allowed_ips=("10.9.0.2/32", "192.168.8.0/24"))
    host.route("default", dev=default, via=f"{wan}.1" if default == "eth0" else None)
    given = plain("masq") if snat is None else nat("snat", snat)
    post = chain("post", rule(*conditions, given), hook="postrouting", priority="srcnat", type="nat")
    return host.nft(table(post, family="ip"))


def _six(*conditions: Any) -> Any:
    host, conf = WireguardBuilder(), {"forwarding": 1}
    host.sysctl("net.ipv6.conf.all.forwarding", 1)
    host.link("eth0", inet6_conf=conf).address("eth0", "2001:db8::2/64")
    host.link("eth1", inet6_conf=conf).address("eth1", "2001:db8:7::1/64")
    host.wireguard("wg0", inet6_conf=conf).address("wg0", "fd00:9::1/64")
    host.wg_peer("wg0", "a", allowed_ips=("fd00:9::2/128", "2001:db8:8::/64"))
    host.route("default", dev="eth0", via="2001:db8::1")
    post = chain("post", rule(*conditions, plain("masq")), hook="postrouting", priority="srcnat", type="nat")
    return host.nft(table(post, family="ip6"))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: Any, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity="warning" if fires else None)

    yield case("masquerade everything", "the plain fault", _host(), 1)
    yield case("by source alone", "the source does not say where it goes", _host(saddr("192.168.7.0/24")), 1)
    yield case("uplink named", "as it should be", _host(oifname("eth0")))
    yield case("tunnel named", "a gateway that hides on purpose", _host(oifname("wg0")))
    yield case("tunnel left out", "by destination", _host(daddr("192.168.0.0/16", "neq")))
    own = saddr("192.168.7.0/24"), daddr("192.168.7.0/24", "neq")
    yield case(
        "snat to the uplink's address", "only the network itself is left out", _host(*own, snat="203.0.113.2"), 1
    )
    yield case("snat to the tunnel's address", "the peers let it in", _host(*own, snat="10.9.0.1"))
    yield case("snat to an address of nobody", "a pool that the peers may know", _host(*own, snat="10.77.0.1"))
    yield case("snat to the network's address", "the peers may know it", _host(*own, snat="192.168.7.1"))
    other = saddr("192.168.7.0/24"), daddr("198.51.100.0/24")
    beyond = _host(*other, snat="203.0.113.2").route("198.51.100.0/24", via="203.0.113.9", dev="eth0")
    yield case("snat for another destination", "nothing of it goes in", beyond)
    far = saddr("192.168.7.0/24"), daddr("192.168.8.0/24")
    into = _host(*far, snat="203.0.113.2").route("192.168.8.0/24", dev="wg0")
    yield case("snat for the far network", "there it is nobody that they know", into, 1)
    yield case("masquerade but for the network", "the tunnel's address is taken", _host(*own))
    yield case("another network", "its source is not ours", _host(saddr("192.168.9.0/24")))
    yield case("VPN to the Internet", "the tunnel is the way out", _host(default="wg0"))
    yield case("does not forward", "nobody is behind it", _host(forward=0))
    yield case("no network behind", "public addresses on the second card", _host(lan="198.51.100.1/24"))
    named = _host(saddr("198.51.100.0/24"), lan="198.51.100.1/24")
    yield case("a public network behind, named by the rule", "peers know its addresses", named, 1)
    for prefix, fires in (("2001:db8:7::/64", 1), (None, 0)):
        six = _six(*(saddr(prefix),) if prefix else ())
        yield case(f"a public network of IPv6, source {prefix}", "named, or not known to be behind", six, fires)
    guest = _host().tap("tap0", inet_conf={"forwarding": 1}).route("10.1.0.2/32", dev="tap0")
    yield case("guests", "nf-masquerade-scope stands above it", guest, 1)
    public = "198.51.100.1/24"
    yield case("behind NAT itself", "the uplink's private network is not behind it", _host(lan=public, wan="192.168.1"))
    yield case("a VRF", "its addresses are its own", _host(kind="vrf"))
    yield case("tunnel down", "nothing goes into it", _host(up=False))
