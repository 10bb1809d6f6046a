"""What it checks
  Every public IPv6 address of the interface that leads to the Internet is deprecated (its preferred lifetime is over),
  and what this host sends there carries a deprecated address, or a unique local one (its own or another interface's)
  instead.

Why it matters
  The router stopped announcing the prefix, or somebody set preferred_lft 0. As long as there is nothing else the kernel
  goes on with the deprecated address; as soon as any interface has an address that is preferred, of a tunnel for
  instance, new connections leave with that one and nobody answers. At the end of the valid lifetime the address goes,
  and with it what is open.

Confirm
  ip -6 address show dev IFNAME deprecated
  ip -6 route get 2001:db8:ffff::77

Fix
  Make the router announce the prefix again (its RA, or the delegation behind it). For an address that was set by hand:
  ip -6 address change ADDRESS/LEN dev IFNAME preferred_lft forever.

Not flagged
  Deprecated addresses beside one that is preferred: an old prefix that fades out. A service address that is kept out of
  source selection on purpose, where a preferred global address of any interface is taken. Routes that name their
  source. Hosts without an IPv6 way out. A deprecated /128 that never expires is an info: keepalived makes service
  addresses so.

References
  RFC 6724 section 5 rule 3; net/ipv6/addrconf.c ipv6_get_saddr_eval(), addrconf_verify_rtnl()
"""

import ipaddress
from collections.abc import Iterator
from typing import Any

from netdiag.index.policy import Query
from netdiag.index.source6 import Sources6
from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE, Address
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="addr-deprecated-source",
    title="the address that packets leave with is deprecated",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    explains=("src-addr-selection-wrong", "ula-gua-scope-mixup"),
)
FAR = ("2001:db8:ffff::77", "2600::77", "2a00::77")
"""Somewhere in the Internet: only looked up, never asked."""
ULA = ipaddress.ip_network("fc00::/7")


def check(view: HostView) -> Iterator[Draft]:
    sources = Sources6(view.addresses, view.stack)
    said: set[int] = set()
    for dst in FAR:
        answer = view.lookup(Query(family="inet6", dst=dst))
        if answer.type != "unicast" or answer.prefsrc is not None or answer.alternatives:
            continue
        for hop in answer.hops:
            own = [row for row in view.addresses if row.ifindex == hop.oif and _global(row)]
            link = view.link(hop.oif)
            aged = [row for row in own if row.flags & IFA_F_DEPRECATED]
            if hop.oif in said or not aged or any(row not in aged and not _ula(row.local) for row in own):
                continue
            chosen = sources.select(hop.oif, dst)
            if link is None or chosen is None:
                continue
            old = next((row for row in aged if row.local == chosen), None)
            if old is None and (not _ula(chosen) or all(_ula(row.local) for row in aged)):
                continue  # another address of the host that the Internet can answer: it was meant
            said.add(hop.oif)
            yield _draft(view, link.ifname, old or next(row for row in aged if not _ula(row.local)), chosen, dst)


def _global(row: Address) -> bool:
    usable = not row.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)
    return row.family == "inet6" and row.scope == 0 and usable


def _ula(address: str) -> bool:
    return ipaddress.ip_address(address) in ULA


def _draft(view: HostView, ifname: str, old: Address, chosen: str, dst: str) -> Draft:
    other = chosen != old.local
    apart = not any(row.local == chosen and row.ifindex == old.ifindex for row in view.addresses)
    instead = f"so packets carry {chosen}{' of another interface' if apart else ''}"
    meant = old.prefixlen == 128 and old.valid_lft is None and not other
    left = "never expires" if old.valid_lft is None else f"goes in {old.valid_lft} s"
    what = instead if other else f"and packets still carry it; it {left}"
    return RULE.found(
        subject=subject("address", address=old.local, ifname=ifname),
        message=f"{old.local}, the global address of {ifname} on the way to the Internet, is deprecated, {what}",
        severity="info" if meant else "warning",
        evidence=[
            (f"{old.local} flags", "deprecated", f"RTM_GETADDR {ifname} IFA_FLAGS"),
            (f"{old.local} valid lifetime", left, f"RTM_GETADDR {ifname} IFA_CACHEINFO"),
            (f"source to {dst}", chosen, "RFC 6724 over RTM_GETADDR"),
        ],
        confirm=[f"ip -6 address show dev {quoted(ifname)} deprecated", f"ip -6 route get {dst}"],
        fix=f"ip -6 address change {old.local}/{old.prefixlen} dev {quoted(ifname)} preferred_lft forever"
        + ("" if old.valid_lft is None else "  # until the router announces the prefix again"),
        touches=[subject("link", ifname=ifname)],
        breaks=[subject("route", dst="::/0", table=254, ifname=ifname)],
    )


def examples() -> Iterator[Example]:
    def host(address: str = "2001:db8:1::2/64", *, way: bool = True, src: str | None = None, **f: Any) -> HostBuilder:
        known: dict[str, Any] = {"flags": IFA_F_DEPRECATED, "valid_lft": 3600, "preferred_lft": 0}
        made = HostBuilder().link("eth0").address("eth0", "fe80::2/64").address("eth0", address, **(known | f))
        return made.route("default", via="fe80::1", dev="eth0", prefsrc=src) if way else made

    def case(name: str, why: str, made: HostBuilder, severity: Any = None, **more: Any) -> Example:
        return Example(name=name, why=why, tables=made.build(), fires=int(bool(severity)), severity=severity, **more)

    about = subject("address", address="2001:db8:1::2", ifname="eth0")
    yield case("the only address", "the router fell silent", host(), "warning", subject=about, says=("3600 s",))
    hand = host(flags=IFA_F_DEPRECATED | 0x80, valid_lft=None)
    yield case("by hand", "preferred_lft 0 on the only address", hand, "warning", says=("never expires",))
    tunnel = host().link("wg0", kind="wireguard", type=65534, flags=0x100D1).address("wg0", "fd00:9::1/64")
    yield case("a tunnel's address is taken", "the worst of it", tunnel, "warning", says=("carry fd00:9::1",))
    yield case("service address", "keepalived makes them so", host("2001:db8:1::9/128", valid_lft=None), "info")
    yield case("beside a good one", "an old prefix fades out", host().address("eth0", "2001:db8:2::2/64"))
    lo = host().address("lo", "2001:db8:7::7/128")
    yield case("a global one on lo", "it is taken, and was meant to be", lo)
    yield case("with IPv4 beside it", "that is another family", host().address("eth0", "192.0.2.2/24"), "warning")
    new = host().address("eth0", "2001:db8:2::2/64", flags=IFA_F_TENTATIVE)
    yield case("a new one is on its way", "it cannot be used yet", new, "warning")
    two = host("2a00::2/64").address("eth0", "2001:db8:1::2/64", flags=IFA_F_DEPRECATED, valid_lft=60)
    yield case("two of two routers", "one interface, one fault", two, "warning", subject=about, says=("in 60 s",))
    lease = host("2001:db8:1::9/128")
    yield case("one of DHCPv6", "it has a lifetime: nobody made it a service", lease, "warning")
    vip = host("2001:db8:1::9/128", valid_lft=None).link("wg0", kind="wireguard", type=65534, flags=0x100D1)
    vip.address("wg0", "fd00:9::1/64")
    yield case("service address beside a tunnel", "packets carry the tunnel's", vip, "warning", says=("fd00:9::1",))
    none = HostBuilder().link("eth0").address("eth0", "fe80::2/64").route("default", via="fe80::1", dev="eth0")
    none.link("wg0", kind="wireguard", type=65534).address("wg0", "fd00:9::1/64")
    yield case("no global one", "ula-gua-scope-mixup speaks", none)
    own = host().address("eth0", "fd00:1::2/64")
    yield case(
        "a unique local one beside it", "no answer finds it", own, "warning", says=("so packets carry fd00:1::2",)
    )
    fades = host("fd00:1::2/64").address("eth0", "fd00:2::2/64")
    yield case("an old unique local one fades out", "the other is as good", fades)
    yield case("gone meanwhile", "it is not known what it was", host().vanished("eth0"))
    taken = HostBuilder().address("lo", "2001:db8:7::7/128", flags=0xA0).route("::/0", dev="lo", type="local")
    yield case("everything is taken in", "nothing leaves", taken)

    half = host().rule(100, family="inet6", table=100, unknown=1).link("eth1")
    half.address("eth1", "2001:db8:3::2/64", flags=IFA_F_DEPRECATED).route("::/0", via="fe80::9", dev="eth1", table=100)
    yield case("a selector that is not known", "which way they go is open", half)
    yield case("preferred", "the healthy address", host(flags=0, preferred_lft=1800))
    yield case("no way out", "nothing leaves", host(way=False))
    yield case("source named", "the route says what to take", host(src="2001:db8:1::2"))
    local = host("fd00:1::2/64").link("wg0", kind="wireguard", type=65534).address("wg0", "fd00:9::1/64")
    yield case("unique local ones only", "another one is as good", local)
    vip = HostBuilder().link("eth0").address("eth0", "fe80::2/64").route("default", via="fe80::1", dev="eth0")
    yield case("on lo, deprecated", "the uplink never had one", vip.address("lo", "2001:db8:7::7/128", flags=0xA0))
