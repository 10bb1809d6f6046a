"""Hosts for the examples of nf-forward-drop-policy: a guest behind a tap, filters that let ICMP pass, and routers that
have no guests."""

from collections.abc import Iterator
from typing import Any

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, icmp, iifname, l4proto, oifname, plain, rule, saddr, state, table, verdict
from netdiag.rules.shape import Example


def guest_host(**fields: Any) -> HostBuilder:
    """A host that forwards, with a guest on a tap."""
    host = HostBuilder().sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv6.conf.all.forwarding", 1)
    host.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24").route(
        "default", via="192.0.2.1", dev="eth0"
    )
    host.tap("tap0", inet_conf={"forwarding": 1}, **fields).address("tap0", "10.0.0.1/30")
    return host


def case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    """An example."""
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def forward(*rules: Any, policy: str = "drop", **fields: Any) -> Any:
    """A table with a chain at the forward hook."""
    return table(chain("forward", *rules, hook="forward", policy=policy), **fields)


def pinged_cases() -> Iterator[Example]:
    """Filters that let ICMP pass, and what else."""
    answers, all_ = rule(state("established", "related"), verdict("accept")), rule(l4proto(1), verdict("accept"))
    says: dict[str, Any] = {"severity": "critical", "says": ("accepts any of it but ICMP",)}
    yield case("ICMP of everybody", "ufw's template", guest_host().nft(forward(answers, all_)), 1, **says)
    echo = rule(icmp(1, 8), verdict("accept"))
    yield case("echo requests of everybody", "likewise", guest_host().nft(forward(answers, echo)), 1, **says)
    six = HostBuilder().sysctl("net.ipv6.conf.all.forwarding", 1)
    six.link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    six.tap("tap0").route("2001:db8:1::5/128", dev="tap0").nft(forward(rule(l4proto(58), verdict("accept"))))
    yield case("ICMPv6 of everybody", "the other number", six, 1, **says)
    own = rule((*iifname("tap0"), *l4proto(1)), verdict("accept"))
    yield case("ICMP of the guest", "by name: somebody's policy", guest_host().nft(forward(answers, own)))
    for number in (6, 17, 47, 50, 51, 132):
        more = rule(l4proto(number), verdict("accept"))
        yield case(
            f"ICMP and protocol {number}", "a network of its own", guest_host().nft(forward(answers, all_, more))
        )
    among = rule((*iifname("tap*"), *oifname("tap*")), verdict("accept"))
    apart = guest_host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30")
    yield case("ICMP, and guests among themselves", "a network apart", apart.nft(forward(answers, all_, among)))
    alone = ("no rule of inet filter forward accepts any of it",)
    pinged = guest_host().nft(forward(answers))
    yield case("answers alone", "nothing begins", pinged, 1, says=alone)


def bare_router(*, way_out: bool = True) -> HostBuilder:
    """A router with an uplink and nobody behind it yet."""
    host = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    host.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    return host.route("default", via="192.0.2.1", dev="eth0") if way_out else host


def mesh_router(**fields: Any) -> HostBuilder:
    """A router with an uplink and a tunnel."""
    host = bare_router(**fields)
    return host.link("wg0", kind="wireguard", inet_conf={"forwarding": 1}).address("wg0", "10.9.0.1/24")


def router_cases() -> Iterator[Example]:
    """Routers without guests."""
    out = ("between wg0 and eth0",)
    why = "nothing at all is forwarded"
    yield case("a tunnel's router", why, mesh_router().nft(forward()), 1, severity="warning", says=out)
    for kind, carrier, fires in (("tun", True, 1), ("tun", False, 0)):
        vpn = bare_router().link("tun0", kind="tun", info={"type": kind}, carrier=carrier, inet_conf={"forwarding": 1})
        name = f"a router of a {kind}, its program there: {carrier}"
        yield case(name, "as WireGuard in userspace", vpn.address("tun0", "10.9.0.1/24").nft(forward()), fires)
    far = HostBuilder().sysctl("net.ipv4.ip_forward", 1).tap("tap0", inet_conf={"forwarding": 1})
    far.address("tap0", "10.8.0.2/24").route("default", via="10.8.0.1", dev="tap0")
    far.link("v0", kind="veth", link_netnsid=0, inet_conf={"forwarding": 1}).address("v0", "10.9.0.1/24")
    yield case("out by a VPN's tap", why, far.nft(forward()), 1, says=("between v0 and tap0",))
    dark = mesh_router().link("eth0", carrier=False, ifindex=2, inet_conf={"forwarding": 1})
    yield case("the way out is dark", "nothing is forwarded anyhow", dark.nft(forward()))
    behind = (
        bare_router().link("v0", kind="veth", link_netnsid=0, inet_conf={"forwarding": 1}).address("v0", "10.9.0.1/24")
    )
    yield case("a namespace's router", why, behind.nft(forward()), 1, says=("between v0 and eth0",))
    lan = bare_router().link("eth1", inet_conf={"forwarding": 1}).address("eth1", "2001:db8::1/64")
    lan.address("eth1", "10.2.0.1/24")
    masq = chain("post", rule(oifname("eth0"), saddr("10.2.0.0/24"), plain("masq")), hook="postrouting", type="nat")
    lan.nft(forward(), table(masq, name="nat"))
    yield case("a LAN's router", "its addresses are translated", lan, 1, says=("between eth1 and eth0",))
    everything = table(chain("post", rule(oifname("eth0"), plain("masq")), hook="postrouting", type="nat"), name="nat")
    both = mesh_router().nft(forward(), everything)
    yield case("all is translated", "the way out among it", both, 1, says=out)
    for name, why, ifname, address, fields in (
        ("without IPv4", "nothing is forwarded there", "eth1", "2001:db8::1/64", {}),
        ("with a link-local address", "likewise", "eth1", "169.254.1.1/16", {"scope": 253}),
        ("down", "likewise", "eth2", "10.3.0.1/24", {}),
    ):
        open_ = forward(rule(iifname(ifname), verdict("accept")))
        host = mesh_router().link(ifname, up=ifname == "eth1", inet_conf={"forwarding": 1})
        yield case(f"open to an interface {name}", why, host.address(ifname, address, **fields).nft(open_), 1)
    anycast = mesh_router().address("lo", "203.0.113.7/32").sysctl("net.ipv4.conf.lo.forwarding", 1)
    open_ = forward(rule(iifname("lo"), verdict("accept")))
    yield case("open to loopback", "nothing comes from there", anycast.nft(open_), 1)
    back = [rule(iifname(name), oifname(name), verdict("accept")) for name in ("eth0", "wg0")]
    yield case("back where it came from", "that alone passes", mesh_router().nft(forward(*back)), 1)
    some = forward(rule(iifname("wg0"), oifname("eth0"), verdict("accept")))
    yield case("one way is open", "somebody's policy", mesh_router().nft(some))
    yield case("no way out", "nobody knows who is to reach whom", mesh_router(way_out=False).nft(forward()))
    named = [rule(iifname(name), verdict("drop")) for name in ("eth0", "wg0")]
    yield case("a router's filter by name", "that is a decision", mesh_router().nft(forward(*named, policy="accept")))
    bare = mesh_router().tap("tap0", inet_conf={"forwarding": 1}).route("10.0.0.1/32", dev="tap0")
    guest = [rule(iifname("tap0"), verdict("accept")), rule(oifname("tap0"), verdict("accept"))]
    lan = bare_router().link("eth1", inet_conf={"forwarding": 1}).address("eth1", "10.2.0.1/24")
    masq = chain("post", rule(oifname("eth0"), saddr("192.0.2.0/24"), plain("masq")), hook="postrouting", type="nat")
    yield case("others are translated", "the LAN is not", lan.nft(forward(), table(masq, name="nat")))
    yield case("a guest passes", "its interface has no address, and is forwarded for", bare.nft(forward(*guest)))
