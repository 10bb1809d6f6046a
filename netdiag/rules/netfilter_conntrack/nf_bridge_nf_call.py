"""What it checks
  Frames that are only bridged, from port to port of a bridge without an address, are handed to the IP filters
  (bridge-nf-call-iptables), and the forward hook drops all of them, or all but ICMP of everybody. Likewise of a bridge
  with an address, where nothing at all of it may be forwarded, to anywhere, or by which the host itself goes out (a
  card, a bond or VLAN is a port, or a gateway is behind one): guests on it reach that network over the same port,
  whatever this host forwards.

Why it matters
  Loading br_netfilter (Docker and Kubernetes do) switches this on for every bridge of the namespace. A bridge that
  connected virtual machines at layer 2 for months then obeys a FORWARD policy that was meant for routed packets: the
  machines cannot reach each other, or their gateway, and the host itself notices nothing.

Confirm
  sysctl net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables
  ip -d link show dev BRIDGE             (nf_call_iptables of that bridge)
  nft -a list chain FAMILY TABLE CHAIN

Fix
  sysctl -w net.bridge.bridge-nf-call-iptables=0, and the same for ip6tables: no bridged frame is filtered by IP rules
  any more. Kubernetes and Docker need 1 for their service addresses: there accept the bridge instead:
  nft insert rule FAMILY TABLE CHAIN iifname BRIDGE oifname BRIDGE accept.

Not flagged
  Bridges of guests alone with an address of their own of which something may be forwarded: who may talk to whom is
  somebody's policy. Those where nothing may while there is a way out: nf-forward-drop-policy speaks. Filters that may
  let something of the bridge pass, or that stop it by name: somebody filters on purpose. Bridges with fewer than two
  ports that are up. The setting alone.

References
  net/bridge/br_netfilter_hooks.c br_nf_pre_routing(), br_nf_forward_ip(); Documentation/networking/ip-sysctl.rst
  (/proc/sys/net/bridge)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.guests import faces_guest, sides, switched
from netdiag.index.netfilter import Netfilter
from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, l4proto, oifname, plain, port, rule, state, table, verdict
from netdiag.rules.forwardgate import MOST, but_pings, forwarding, stopped
from netdiag.rules.nftplaces import by_default, chain_subject, fact, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nf-bridge-nf-call",
    title="bridged frames are dropped by the filter for routed packets",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "sysctls", "nft"),
)
CALLS = {
    "inet": ("net.bridge.bridge-nf-call-iptables", "nf_call_iptables"),
    "inet6": ("net.bridge.bridge-nf-call-ip6tables", "nf_call_ip6tables"),
}


def check(view: HostView) -> Iterator[Draft]:
    addressed = {row.ifindex for row in view.addresses if row.scope == 0}
    for link in view.links:
        ports = [port for port in view.stack.ports(link.ifindex) if port.up] if link.kind == "bridge" else []
        if link.up and len(ports) > 1:
            for family, (name, own) in CALLS.items():
                called = view.sysctl_int(name) == 1 or link.info.get(own) == 1
                stop = _stop(view.netfilter, link, family) if called else None
                elsewhere = link.ifindex in addressed and not _shares_way(view, link, ports) and _routed(view, link)
                if stop is not None and by_default(stop.at) and not elsewhere:
                    yield _finding(view, link, family, stop, len(ports))
                    break


def _shares_way(view: HostView, link: Link, ports: list[Link]) -> bool:
    """Whether a guest that is there has its network by another port, as the host has."""
    exits = {one.ifindex for name in CALLS for one in sides(view.stack, view.routes(name), view.addresses).exits}
    shared = switched(view.stack, link) or link.ifindex in exits
    return shared and any(faces_guest(port) and port.carrier is not False for port in ports)


def _routed(view: HostView, link: Link) -> bool:
    """Whether something of the bridge may be forwarded, or is to be and there is a way out: of either family."""
    return any(_routed_by(view, link, family) for family in CALLS)


def _routed_by(view: HostView, link: Link, family: str) -> bool:
    if sides(view.stack, view.routes(family), view.addresses).exits and forwarding(view, link, family):
        return True
    kind = Packet(family=family, mark=None, ct_mark=None, dnatted=None)
    others = [one.ifname for one in view.links if one.up and not one.loopback and one.master is None]
    ways = [pair for name in others[:MOST] for pair in ((link.ifname, name), (name, link.ifname))]
    return any(stopped(view.netfilter, replace(kind, iif=iif, oif=oif)) is None for iif, oif in ways)


def _stop(owner: Netfilter, link: Link, family: str) -> Possible | None:
    """What drops every new connection over the bridge, ICMP of everybody left out."""
    stop = None
    new = Packet(family=family, iif=link.ifname, oif=link.ifname, mark=None, ct_mark=None, dnatted=None)
    for packet in (new, replace(new, ct_state="untracked")):
        stop = stopped(owner, packet) or but_pings(owner, packet)
        if stop is None:
            return None
    return stop


def _finding(view: HostView, link: Link, family: str, stop: Possible, ports: int) -> Draft:
    name, own = CALLS[family]
    word = "IPv4" if family == "inet" else "IPv6"
    by_sysctl = view.sysctl_int(name) == 1
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{word} frames between the {ports} ports of {link.ifname} go through the filter for routed packets"
        f" ({name if by_sysctl else own} is 1), and {place_words(stop.at)} drops them all",
        evidence=[
            (name, view.sysctl(name), f"/proc/sys/{name.replace('.', '/')}"),
            (f"{own} of {link.ifname}", link.info.get(own), f"RTM_GETLINK {link.ifname} IFLA_BR_{own.upper()}"),
            fact(stop),
        ],
        confirm=[
            f"sysctl {name}",
            f"ip -d link show dev {quoted(link.ifname)}",
            list_chain(stop.at.table, stop.at.chain),
        ],
        fix=f"sysctl -w {name}=0" if by_sysctl else f"ip link set dev {quoted(link.ifname)} type bridge {own} 0",
        touches=[chain_subject(stop.at.table, stop.at.chain)],
    )


def _host(call: int = 1, **info: Any) -> HostBuilder:
    host = HostBuilder().sysctl("net.bridge.bridge-nf-call-iptables", call)
    host.sysctl("net.bridge.bridge-nf-call-ip6tables", call)
    host.link("br0", kind="bridge", info=info).tap("tap0", master="br0").tap("tap1", master="br0")
    return host


def _forward(*rules: Any, policy: str = "drop", family: str = "inet") -> Any:
    return table(chain("forward", *rules, hook="forward", policy=policy), family=family)


def _case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
    about = subject("link", ifname="br0") if fires else None
    return Example(name=name, why=why, tables=host.build(), fires=fires, subject=about)


def _with_card() -> Iterator[Example]:
    """A bridge with the host's own address, a card and guests, as of virtual machines beside an engine."""

    def host(*rules: Any, guest: str = "tap", carrier: bool = True, card: str | None = None) -> HostBuilder:
        made = HostBuilder().sysctl("net.bridge.bridge-nf-call-iptables", 1).sysctl("net.ipv4.ip_forward", 1)
        made.link("br0", kind="bridge", inet_conf={"forwarding": 1}).link("eth0", kind=card, master="br0")
        made.address("br0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="br0")
        made.link("docker0", kind="bridge", inet_conf={"forwarding": 1}).address("docker0", "172.17.0.1/16")
        kind = {"kind": "tun", "info": {"type": "tap"}} if guest == "tap" else {"kind": "veth", "link_netnsid": 3}
        made.link("guest0", master="br0", carrier=carrier, **kind)
        made.link("v1", kind="veth", master="docker0", link_netnsid=1)
        engine = rule(iifname("docker0"), verdict("accept"))
        back = rule(oifname("docker0"), state("established", "related"), verdict("accept"))
        return made.nft(_forward(*rules, back, engine, family="ip"))

    yield _case("an engine beside a machine on the card's bridge", "its policy takes the machine off", host(), 1)
    yield _case("likewise, a container", "the same", host(guest="veth"), 1)
    yield _case("likewise, over a bond", "the same", host(card="bond"), 1)
    passes = rule(iifname("br0"), oifname("br0"), verdict("accept"))
    yield _case("the card's bridge is accepted", "as it should be", host(passes))
    physdev = rule(plain("match", key="physdev"), verdict("accept"))
    yield _case("bridged frames are accepted", "the usual cure", host(physdev))
    some = rule(iifname("br0"), oifname("br0"), port(6, 22), verdict("accept"))
    yield _case("some of the card's bridge passes", "a filter on purpose", host(some))
    yield _case("the machine is off", "nothing is bridged", host(carrier=False))
    yield _case("a gateway behind another port", "a machine routes for all", host(card="veth"), 1)
    lan = host(card="veth").link("eth1").address("eth1", "198.51.100.2/24").without_routes(table=254)
    lan.route("default", via="198.51.100.1", dev="eth1")
    yield _case("a gateway elsewhere", "who talks to whom is a policy", lan)


def _pinged() -> Iterator[Example]:
    """ICMP passes, and what else."""
    pings = rule(l4proto(1), verdict("accept"))
    yield _case("ICMP of everybody", "ufw's template", _host().nft(_forward(pings, family="ip")), 1)
    own = rule(iifname("br0"), l4proto(1), verdict("accept"))
    yield _case("ICMP of the bridge", "by name: somebody's policy", _host().nft(_forward(own, family="ip")))
    yield _case("ICMP and TCP", "a network", _host().nft(_forward(pings, rule(l4proto(6), verdict("accept")))))


def examples() -> Iterator[Example]:
    yield _case("Docker's policy", "the plain fault", _host().nft(_forward(family="ip")), 1)
    yield _case("IPv6 alone", "ip6tables has a setting of its own", _host().nft(_forward(family="ip6")), 1)
    own = _host(0, nf_call_iptables=1).nft(_forward())
    yield _case("set on the bridge", "one is enough", own, 1)
    answers = _forward(rule(state("established"), verdict("accept")))
    yield _case("answers accepted", "nothing can begin", _host().nft(answers), 1)
    yield _case("not called", "bridged frames are left alone", _host(0).nft(_forward()))
    yield _case("policy accept", "Kubernetes has 1 and drops nothing", _host().nft(_forward(policy="accept")))
    passes = _forward(rule(iifname("br0"), oifname("br0"), verdict("accept")))
    yield _case("bridge accepted", "as it should be where 1 is needed", _host().nft(passes))
    named = _forward(rule(iifname("br0"), verdict("drop")), policy="accept")
    yield _case("stopped by name", "a filter on purpose", _host().nft(named))

    def uplink(forward: int, *rules: Any) -> HostBuilder:
        host = _host().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        host.address("br0", "10.0.0.1/24").link("br0", kind="bridge", ifindex=2, inet_conf={"forwarding": forward})
        return host.nft(_forward(*rules))

    alone_ = _host().address("br0", "10.0.0.1/24").nft(_forward())
    yield _case("bridge with an address, to nowhere", "its machines may talk to each other at least", alone_, 1)
    yield _case("bridge with an address and a way out", "nf-forward-drop-policy speaks", uplink(1))
    yield _case("bridge with an address, not forwarded", "nothing is routed", uplink(0), 1)
    for iif, oif in (("br0", "eth0"), ("eth0", "br0")):
        passes = rule(iifname(iif), oifname(oif), verdict("accept"))
        yield _case(f"something passes from {iif} to {oif}", "who talks to whom is a policy", uplink(0, passes))
    for name, ifname, fields in (("a dark card", "eth9", {"up": False}), ("a port", "tap0", {"master": 2})):
        other = uplink(0, rule(iifname("br0"), oifname(ifname), verdict("accept")))
        other.link(ifname, ifindex=9 if ifname == "eth9" else 3, kind="tun", info={"type": "tap"}, **fields)
        yield _case(f"something may pass to {name}", "nothing is routed there", other, 1)
    near = _host().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    near.address("br0", "fe80::1/64").link("br0", kind="bridge", ifindex=2, inet_conf={"forwarding": 1})
    yield _case("a link-local address, and a way out", "it routes for nobody", near.nft(_forward()), 1)
    nowhere = _host().address("br0", "10.0.0.1/24").nft(_forward())
    nowhere.link("br0", kind="bridge", ifindex=2, inet_conf={"forwarding": 1})
    yield _case("forwarded for, to nowhere", "there is no way out", nowhere, 1)
    to_lo = rule(iifname("br0"), oifname("lo"), verdict("accept"))
    yield _case("loopback does not count", "nothing is forwarded to it", uplink(0, to_lo), 1)
    alone = HostBuilder().sysctl("net.bridge.bridge-nf-call-iptables", 1)
    alone.link("br0", kind="bridge").tap("tap0", master="br0").nft(_forward())
    yield _case("one port", "nothing is bridged", alone)
    local = _host().address("br0", "fe80::1/64").nft(_forward())
    yield _case("a link-local address", "every bridge has one", local, 1)
    yield from _with_card()
    yield from _pinged()
    half = _host().tap("tap1", master="br0", up=False).nft(_forward())
    yield _case("one port up", "nothing is bridged", half)
    down = _host().nft(_forward()).link("br0", kind="bridge", up=False, ifindex=2)
    yield _case("bridge down", "nothing is bridged", down)
