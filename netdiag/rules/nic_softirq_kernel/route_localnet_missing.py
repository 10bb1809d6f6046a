"""What it checks
  A rule at prerouting rewrites the destination of packets from other hosts to an address of 127.0.0.0/8, and
  route_localnet is off on an interface by which they come in.

Why it matters
  The kernel refuses a packet for 127.0.0.0/8 that did not come in by lo, whatever a rule made of it ("martian
  destination"): the port that the rule offers times out, while the service behind it is well.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  sysctl net.ipv4.conf.all.route_localnet net.ipv4.conf.IFNAME.route_localnet
  nstat -az IpExtInNoRoutes IpInAddrErrors

Fix
  Let the service listen on an address of the host and send packets there (redirect), which needs no setting. Or sysctl
  -w net.ipv4.conf.IFNAME.route_localnet=1: then others on that link can reach whatever listens on 127.0.0.1 unless
  a filter keeps them out.

Not flagged
  route_localnet off without such a rule, as it should be. Rules for what this host itself sends (output), or for what
  comes in by lo. redirect, which takes the interface's own address. Interfaces without IPv4, and ports of a bridge.
  IPv6, where no such setting exists. Dormant tables.

References
  net/ipv4/route.c ip_route_input_slow() "martian_destination"; Documentation/networking/ip-sysctl.rst route_localnet
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nfttext import rule_text
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, iifname, nat, plain, port, rule, table, verdict
from netdiag.rules.nftplaces import chain_name, chain_subject, list_chain
from netdiag.rules.nftspecimen import meant
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.translations import Target, targets

RULE = Rule(
    id="route-localnet-missing",
    title="packets are sent to 127.0.0.1 and the kernel refuses them",
    severity="critical",
    reads=("links", "addresses", "sysctls", "nft"),
)
MOST = 64
"""Interfaces that are tried."""


def check(view: HostView) -> Iterator[Draft]:
    closed = _closed(view)
    said: set[tuple[str, str, str]] = set()
    for one in targets(view):
        key = (one.at.table.family, one.at.table.name, one.at.chain.name)
        if not one.address.startswith("127.") or key in said:
            continue
        hit = [link for link in closed if _reached(view, one, link)]
        if hit:
            said.add(key)
            yield _draft(one, hit)


def _closed(view: HostView) -> list[Link]:
    """Interfaces with IPv4 on which a packet for 127.0.0.0/8 is refused."""
    if view.sysctl_int("net.ipv4.conf.all.route_localnet"):
        return []
    addressed = {row.ifindex for row in view.addresses if row.family == "inet"}
    return [
        link
        for link in view.links
        if link.up
        and not link.loopback
        and link.ifindex in addressed
        and link.slave_kind != "bridge"
        and not link.inet_conf.get("route_localnet")
    ][:MOST]


def _reached(view: HostView, one: Target, link: Link) -> bool:
    """Whether the rule rewrites something that comes in by this interface."""
    if one.at.rule is None:
        return False
    for packet in meant(one.at.table, one.at.rule).packets(("inet",)):
        if packet.daddr is not None and ipaddress.ip_network(packet.daddr, strict=False).is_loopback:
            continue  # for 127.0.0.0/8 from the first: refused before any rule is asked
        arriving = replace(packet, iif=link.ifname, iifindex=link.ifindex, daddr_type="local", oif="")
        found = view.netfilter.hook("prerouting", arriving).translations
        if any((done.at.rule, done.at.chain.name) == (one.at.rule, one.at.chain.name) for done in found):
            return True
    return False


def _draft(one: Target, hit: list[Link]) -> Draft:
    at = one.at
    assert at.rule is not None
    name, first = chain_name(at.table, at.chain), hit[0].ifname
    text = rule_text(at.table, at.rule)
    key = f"net.ipv4.conf.{first}.route_localnet"
    more = f" and {len(hit) - 1} more" if len(hit) > 1 else ""
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{name} sends packets to {one.address} (`{text}`), and the kernel refuses them when they come in by"
        f" {first}{more}: route_localnet is off",
        evidence=[
            (f"rule {at.rule.handle} of {name}", text, "NFT_MSG_GETRULE"),
            (f"{first} route_localnet", 0, f"RTM_GETLINK {first} IFLA_INET_CONF"),
        ],
        confirm=[list_chain(at.table, at.chain), f"sysctl {quoted(key.replace(first, first.replace('.', '/')))}"],
        fix=f"sysctl -w {quoted(key.replace(first, first.replace('.', '/')))}=1",
        touches=[subject("link", ifname=first)],
    )


def _host(*parts: Any, address: str = "127.0.0.1", hook: str = "prerouting", **conf: int) -> HostBuilder:
    host = HostBuilder().link("eth0", inet_conf=conf).address("eth0", "192.0.2.2/24")
    one = rule(*(parts or (port(6, 8080),)), nat("dnat", address, 80))
    return host.nft(table(chain("pre", one, hook=hook, priority="dstnat", type="nat"), name="nat"))


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity="critical" if fires else None)

    yield case("to 127.0.0.1", "the plain fault", _host(), 1)
    yield case("to 127.0.0.53", "the whole range is refused", _host(address="127.0.0.53"), 1)
    yield case("allowed on the interface", "as it should be", _host(route_localnet=1))
    everywhere = _host().sysctl("net.ipv4.conf.all.route_localnet", 1)
    yield case("allowed everywhere", "all or the interface is enough", everywhere)
    yield case("for this interface", "the rule names it", _host(iifname("eth0"), port(6, 8080)), 1)
    yield case("for lo", "what comes in by lo may go there", _host(iifname("lo"), port(6, 8080)))
    yield case("for another interface", "which does not exist", _host(iifname("eth7"), port(6, 8080)))
    yield case("own packets", "they leave and come back by lo", _host(hook="output"))
    yield case("another target", "an address that anybody may reach", _host(address="192.0.2.2"))
    two = _host(route_localnet=1).link("eth1").address("eth1", "198.51.100.2/24")
    yield case("one of two interfaces", "half of the world is refused", two, 1)
    bare = _host(route_localnet=1).link("eth1")
    yield case("no IPv4 there", "nothing comes in by it", bare)
    down = _host(route_localnet=1).link("eth1", up=False).address("eth1", "198.51.100.2/24")
    yield case("interface down", "nor by this", down)
    port_of = _host(route_localnet=1).link("br0", kind="bridge")
    port_of.link("eth1", master="br0", slave_kind="bridge").address("eth1", "198.51.100.2/24")
    yield case("port of a bridge", "its packets come in by the bridge", port_of)
    jump = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    pre = chain("pre", rule(verdict("jump", "ports")), hook="prerouting", priority="dstnat", type="nat")
    ports = chain("ports", rule(port(6, 8080), nat("dnat", "127.0.0.1", 80)))
    yield case("in a chain of its own", "reached by a jump", jump.nft(table(pre, ports, name="nat")), 1)
    off = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").nft(table(ports, name="nat"))
    yield case("a chain that nobody calls", "no packet gets there", off)
    redirect = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    one = chain("pre", rule(port(6, 80), plain("redir")), hook="prerouting", type="nat", priority="dstnat")
    yield case("redirect", "takes the interface's own address", redirect.nft(table(one, name="nat")))
    closer = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    same = rule(port(6, 8080), nat("dnat", "127.0.0.1", 80))
    spare = chain("spare", same)
    base: dict[str, Any] = {"hook": "prerouting", "type": "nat", "priority": "dstnat"}
    other = chain("pre", rule(port(6, 9090), nat("dnat", "192.0.2.9", 80)), **base)
    yield case("a chain like another's", "nobody calls it", closer.nft(table(other, spare, name="nat")))
    twice = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24")
    pre = chain("pre", same, rule(port(6, 9090), nat("dnat", "127.0.0.1", 90)), **base)
    yield case("two rules of a chain", "told once", twice.nft(table(pre, name="nat")), 1)
    own = _host(daddr("127.0.0.2/32"), port(6, 8080))
    yield case("for 127.0.0.2 from the first", "no rule is asked for such a packet", own)
    here = _host(daddr("192.0.2.2/32"), port(6, 8080))
    yield case("for its own address", "the rule names it", here, 1)
    six = _host(address="::1")
    yield case("IPv6", "it has no such setting", six)
    bare = _host(route_localnet=1).link("eth1").address("eth1", "2001:db8::2/64")
    yield case("no IPv4 but IPv6 there", "nothing comes in by it", bare)
