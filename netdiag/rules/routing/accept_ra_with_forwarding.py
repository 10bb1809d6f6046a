"""What it checks
  An interface configures itself by IPv6 router advertisements (accept_ra=1), but it forwards, and then the kernel
  ignores them. It shows in what earlier advertisements left behind, a default route or an address that is running
  out; or in advertisements that have arrived at a host with a global address and no IPv6 route by any gateway, but to
  unique-local networks.

Why it matters
  accept_ra=1 means "unless this interface forwards". Whoever turns forwarding on (Docker, Kubernetes, libvirt, a VPN
  script) makes the kernel delete every default route that it learnt, at once, and ignore the next advertisements.
  Addresses and on-link prefixes stay until their lifetime is over, so the host looks configured and reaches nothing.
  A default route that is still there was learnt while accept_ra was 2: it ends with its lifetime.
  The interface's own forwarding decides; "all" only writes it to every interface.

Confirm
  sysctl net.ipv6.conf.IFNAME.accept_ra net.ipv6.conf.IFNAME.forwarding
  ip -6 route show default            (expires; or, where there is none, ip -6 route get 2000::, which is refused)
  ip -6 address show dev IFNAME

Fix
  sysctl -w net.ipv6.conf.IFNAME.accept_ra=2, and keep it in a file under /etc/sysctl.d. The interface takes the next
  advertisement; to have one at once: ip link set dev IFNAME down and up again, which interrupts its traffic, or
  rdisc6 IFNAME. A router that shall not configure itself: accept_ra=0 and a default route of its own.

Not flagged
  accept_ra=2. accept_ra=0: NetworkManager, systemd-networkd and dhcpcd read advertisements themselves and keep what
  they learn up to date, with the same protocol "ra" and lifetimes. Interfaces that do not forward. A forwarding
  interface with accept_ra=1 and nothing left of any advertisement, as every static router has it. Addresses with a
  lifetime that did not come from an advertisement (DHCPv6). Advertisements heard by a router that has its own IPv6
  gateways, or none of whose addresses on that segment is global.

References
  net/ipv6/ndisc.c ipv6_accept_ra() in include/net/addrconf.h, net/ipv6/addrconf.c addrconf_fixup_forwarding(),
  net/ipv6/route.c rt6_purge_dflt_routers(), Documentation/networking/ip-sysctl.rst accept_ra, RFC 4861 section 6.3.4
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.index.ways import ways
from netdiag.model.address import IFA_F_DEPRECATED, IFA_F_MANAGETEMPADDR, IFA_F_PERMANENT, Address
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_OFFLOADED, NTF_ROUTER
from netdiag.model.route import Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="accept-ra-with-forwarding",
    title="router advertisements are ignored because the interface forwards",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "counters"),
    explains=("route-default-missing", "dns-*", "wg-endpoint-unroutable"),
    family="inet6",
)

RTPROT_RA = 9
UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
"""RFC 4193."""
IFAPROT_KERNEL_RA = 2
"""include/uapi/linux/if_addr.h, since Linux 5.18: made by the kernel from an advertisement."""


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What advertisements left on one interface."""

    default: Route | None
    """A default route that runs out."""
    addresses: tuple[Address, ...]
    """Addresses that run out."""
    heard: str | None = None
    """A router that advertised itself in vain."""


def ignores(link: Link) -> bool:
    """Whether the interface ignores advertisements only because it forwards (ipv6_accept_ra())."""
    return link.up and link.inet6_conf.get("accept_ra") == 1 and link.inet6_conf.get("forwarding") == 1


def advertised(address: Address) -> bool:
    """Whether the kernel made this address from an advertisement: by its word, or before Linux 5.18 by its flag."""
    if address.family != "inet6" or address.valid_lft is None:
        return False
    if address.proto is not None:
        return address.proto == IFAPROT_KERNEL_RA
    return bool(address.flags & IFA_F_MANAGETEMPADDR)


def remains(view: HostView, link: Link) -> Remains:
    """What is left on an interface."""
    routes = view.routes("inet6")
    learnt = (routes.dst_len == 0) & (routes.protocol == RTPROT_RA) & (routes.expires >= 0)
    positions = np.flatnonzero(learnt & (routes.oif == link.ifindex))
    default = routes.row(int(positions[0])) if len(positions) else None
    own = tuple(row for row in view.addresses if row.ifindex == link.ifindex and advertised(row))
    heard = None if own else heard_router(view, link)
    return Remains(default=default, addresses=own, heard=heard)


def heard_router(view: HostView, link: Link) -> str | None:
    """A router of the segment whose advertisements this host hears and needs, having no gateway of its own but to
    unique-local networks."""
    if not view.counters.snmp.get("Icmp6InRouterAdvertisements"):
        return None
    if not any(row.ifindex == link.ifindex and is_global(row) for row in view.addresses):
        return None
    routes = view.routes("inet6")
    beyond = routes.dst[:, 0] & 0xFE != UNIQUE_LOCAL.network_address.packed[0]
    if any(way.hop.gateway for way in ways(routes, view.nexthops, beyond)):
        return None
    table = view.neighbours
    flagged = (table.ifindex == link.ifindex) & (table.flags & NTF_ROUTER != 0)
    return next((row.dst for row in table.rows(np.flatnonzero(flagged))), None)


def is_global(address: Address) -> bool:
    """An IPv6 address that is not link-local and not unique-local (fc00::/7), so that it needs a way beyond."""
    reach = address.scope == 0 and ipaddress.ip_address(address.local) not in UNIQUE_LOCAL
    return address.family == "inet6" and reach


def check(view: HostView) -> Iterator[Draft]:
    for link in view.links:
        if not ignores(link):
            continue
        found = remains(view, link)
        if found.default is not None or found.addresses or found.heard is not None:
            yield draft(view, link, found)


def judged(view: HostView, link: Link, found: Remains) -> tuple[Severity, Confidence, str]:
    """How bad, how sure, and the second half of the message."""
    if found.default is not None:
        text = f"its IPv6 default route via {found.default.gateway} ends in {found.default.expires} s, not renewed"
        return "warning", "certain", text
    if found.heard is not None:
        return "warning", "likely", f"{found.heard} advertises itself in vain, and there is no other IPv6 gateway"
    address = max(found.addresses, key=lambda row: row.valid_lft or 0)
    ends = f"{address.local} runs out in {address.valid_lft} s, not renewed"
    promised = link.inet6_conf.get("accept_ra_defrtr") != 0 and any(is_global(row) for row in found.addresses)
    if default_oifs(view, "inet6", of_all=True) or not promised:
        return "warning", "certain", ends
    return "critical", "certain", f"there is no IPv6 default route any more, and {ends}"


def draft(view: HostView, link: Link, found: Remains) -> Draft:
    """The finding about one interface."""
    ifname = link.ifname
    severity, confidence, consequence = judged(view, link, found)
    facts: list[tuple[str, object, str]] = [
        (f"{ifname} accept_ra", 1, f"RTM_GETLINK {ifname} IFLA_INET6_CONF"),
        (f"{ifname} forwarding", 1, f"RTM_GETLINK {ifname} IFLA_INET6_CONF"),
    ]
    if found.default is not None:
        facts.append(("default route expires", f"{found.default.expires} s", "RTM_GETROUTE ::/0 RTA_CACHEINFO"))
    elif found.heard is not None:
        count = view.counters.snmp.get("Icmp6InRouterAdvertisements")
        facts.append(("router advertisements received", count, "/proc/net/snmp6 Icmp6InRouterAdvertisements"))
    else:
        address = found.addresses[0]
        if severity == "critical":
            facts.append(("IPv6 default routes", "none", "RTM_GETROUTE"))
        facts.append((f"{address.local} valid for", f"{address.valid_lft} s", f"RTM_GETADDR {ifname} IFA_CACHEINFO"))
    names = [setting(ifname, "accept_ra"), setting(ifname, "forwarding")]
    about = subject("link", ifname=ifname)
    route = subject("route", dst="::/0", table=254)
    return RULE.found(
        subject=about,
        severity=severity,
        confidence=confidence,
        message=f"{ifname} ignores router advertisements (accept_ra=1 and forwarding=1): {consequence}",
        evidence=facts,
        confirm=[
            f"sysctl {' '.join(quoted(name) for name in names)}",
            f"ip -6 address show dev {quoted(ifname)}",
            "ip -6 route show default" if found.default is not None else "ip -6 route get 2000::",
        ],
        fix=f"sysctl -w {quoted(names[0])}=2  # and keep it in /etc/sysctl.d",
        touches=[subject("sysctl", name=names[0])],
        breaks=[route, subject("route", dst="::/0", table=254, ifname=ifname)],
    )


def setting(ifname: str, key: str) -> str:
    """Name of an interface's setting as sysctl(8) takes it: with slashes where the interface's name has a dot."""
    name = f"net/ipv6/conf/{ifname}/{key}"
    return name if "." in ifname else name.replace("/", ".")


def examples() -> Iterator[Example]:
    yield from fault_examples()
    yield from heard_examples()
    yield from honest_examples()


ABOUT = subject("link", ifname="eth0")


def router(*, slaac: bool = True, default: bool = False, up: bool = True, **conf: int) -> HostBuilder:
    """A host whose uplink forwards, with what an advertisement left."""
    built = HostBuilder().link("eth0", up=up, inet6_conf={"accept_ra": 1, "forwarding": 1} | conf)
    built.address("eth0", "fe80::2/64")
    if slaac:
        built.address("eth0", "2001:db8::2/64", **SLAAC)
    if default:
        built.route("default", via="fe80::1", dev="eth0", protocol=RTPROT_RA, expires=900)
    return built


SLAAC: dict[str, Any] = {
    "flags": IFA_F_MANAGETEMPADDR,
    "valid_lft": 86400,
    "preferred_lft": 14400,
    "proto": IFAPROT_KERNEL_RA,
}


def fires(name: str, why: str, built: HostBuilder, severity: Severity, *says: str) -> Example:
    told: dict[str, Any] = {"subject": ABOUT, "severity": severity, "confidence": "certain", "says": says}
    return Example(name=name, why=why, tables=built.build(), fires=1, **told)


def silence(name: str, why: str, built: HostBuilder) -> Example:
    return Example(name=name, why=why, tables=built.build())


def fault_examples() -> Iterator[Example]:
    none = "IPv6 default routes none RTM_GETROUTE"
    yield fires("default route deleted", "the plain fault: forwarding was turned on", router(), "critical", none)
    some = router().route("default", via="fe80::9", dev="eth0", table=100)
    some.rule(100, family="inet6", table=100, src="2001:db8:9::", src_len=48)
    yield fires("default route for one network's packets", "none for the host's own", some, "critical", none)
    yield fires("default route running out", "accept_ra was 2 when it was learnt", router(default=True), "warning")
    alone = router(slaac=False, default=True)
    yield fires("default route alone", "the advertisement announced no prefix", alone, "warning")
    tagged = HostBuilder().link("eth0.5", inet6_conf={"accept_ra": 1, "forwarding": 1})
    tagged.address("eth0.5", "2001:db8::2/64", **SLAAC)
    yield Example(
        name="name with a dot",
        why="sysctl(8) takes it with slashes only",
        tables=tagged.build(),
        fires=1,
        subject=subject("link", ifname="eth0.5"),
        says=("sysctl -w net/ipv6/conf/eth0.5/accept_ra=2", "accept_ra 1 RTM_", "forwarding 1 RTM_"),
    )
    over = router(slaac=False).route("default", via="fe80::1", dev="eth0", protocol=RTPROT_RA, expires=0)
    yield fires("default route in its last second", "it is there, and ends", over, "warning")
    static = router().route("default", via="fe80::9", dev="eth0", protocol=4)
    yield fires("static default route beside", "the address still runs out", static, "warning")
    hidden = router().route("default", via="fe80::9", dev="eth0", table=100)
    yield fires("default route in a table without rule", "no packet takes it", hidden, "critical")
    suppressed = router().without_rule(32766, family="inet6").route("default", via="fe80::9", dev="eth0")
    suppressed.rule(32766, family="inet6", table=254, suppress_prefixlength=0)
    yield fires("default route suppressed", "IPv6 uses it after all, finding nothing else", suppressed, "warning")
    null = router().route("default", type="unreachable", family="inet6", priority=4294967295)
    yield fires("unreachable default route", "it leads nowhere", null, "critical")
    old = router(slaac=False).address("eth0", "2001:db8::2/64", **(SLAAC | {"proto": None}))
    yield fires("before Linux 5.18", "the kernel did not say who made the address", old, "critical")
    local = router(slaac=False).address("eth0", "fd00::2/64", **SLAAC)
    yield fires("unique-local prefix only", "such a router need not be a way out", local, "warning")
    edge = router(slaac=False).address("eth0", "fe00::2/64", **SLAAC)
    yield fires("beyond unique-local", "fdff:: is the last of fc00::/7", edge, "critical")
    bare = router(accept_ra_defrtr=0)
    yield fires("default routes refused", "accept_ra_defrtr=0: none was there to lose", bare, "warning")
    gone = router(slaac=False).address("eth0", "2001:db8::2/64", **(SLAAC | {"flags": IFA_F_DEPRECATED}))
    yield fires("address deprecated", "half its life is over", gone, "critical")


def heard_host(count: int = 3, address: str = "2001:db8::2/64", *, flags: int = NTF_ROUTER) -> HostBuilder:
    """A router whose neighbour advertises itself."""
    built = router(slaac=False).address("eth0", address).neighbour("fe80::1", dev="eth0", state="stale", flags=flags)
    seen = {"snmp": {"Icmp6InRouterAdvertisements": count}}
    return built.counters(before=seen, after=seen)


def heard_examples() -> Iterator[Example]:
    alone = heard_host()
    yield Example(
        name="advertisements in vain",
        why="a static address, and the default route was to come from the router",
        tables=alone.build(),
        fires=1,
        subject=ABOUT,
        severity="warning",
        confidence="likely",
    )
    yield silence("a router on the segment that advertises nothing", "a lab of static routers", heard_host(0))
    for flags in (0, NTF_OFFLOADED):
        plain = heard_host(flags=flags)
        yield silence(f"a neighbour with flags {flags:#x}", "no router: the advertisement came in elsewhere", plain)
    apart = heard_host(address="fe80::3/64").link("eth1").address("eth1", "2001:db8::2/64")
    yield silence("global address elsewhere", "the segment of that router is link-local only", apart)
    yield silence("unique-local address", "no way beyond is needed", heard_host(address="fd00::2/64"))
    yield silence("an address of IPv4", "it needs no router of IPv6", heard_host(address="192.0.2.2/24"))
    both = heard_host().address("eth0", "2001:db8:1::2/64", **SLAAC)
    yield fires("a router that was heard, and an address of its", "what runs out tells more", both, "critical")
    ours = heard_host().route("2001:db8:9::/48", via="fe80::1", dev="eth0", protocol=12)
    yield silence("gateways of its own", "a BGP router beside another one that serves hosts", ours)
    inner = heard_host().route("fd30::/64", via="fe80::9", dev="eth0")
    name, why = "gateways to unique-local networks alone", "they lead nowhere else"
    yield Example(name=name, why=why, tables=inner.build(), fires=1, severity="warning", confidence="likely")
    distant = heard_host(flags=0).link("eth1").neighbour("fe80::1", dev="eth1", flags=NTF_ROUTER)
    yield silence("router elsewhere", "on a segment that is not ignored", distant)


def honest_examples() -> Iterator[Example]:
    yield silence("accept_ra=2", "advertisements count in spite of forwarding", router(accept_ra=2, default=True))
    yield silence("accept_ra=0", "a daemon reads them and renews", router(accept_ra=0, default=True))
    yield silence("no forwarding", "a plain host", router(forwarding=0, default=True))
    yield silence("static router", "accept_ra=1 is the default, and nothing was ever learnt", router(slaac=False))
    fixed = router(slaac=False).address("eth0", "2001:db8::2/64")
    yield silence("static address", "it does not run out", fixed.route("default", via="fe80::1", dev="eth0"))
    leased = {"flags": IFA_F_DEPRECATED, "valid_lft": 3600, "preferred_lft": 1800, "proto": None}
    yield silence(
        "DHCPv6 lease",
        "a lease is renewed by its client",
        router(slaac=False).address("eth0", "2001:db8::9/128", **leased),
    )
    told = SLAAC | {"proto": 1}
    yield silence(
        "another maker",
        "the kernel says that user space made it",
        router(slaac=False).address("eth0", "2001:db8::9/64", **told),
    )
    eternal = router(slaac=False).address("eth0", "2001:db8::9/64", **(SLAAC | {"valid_lft": None}))
    yield silence("endless lifetime", "nothing runs out", eternal)
    lasting = router(slaac=False).route("default", via="fe80::1", dev="eth0", protocol=RTPROT_RA)
    yield silence("default route without end", "nothing runs out", lasting)
    elsewhere = router(slaac=False).link("eth1", inet6_conf={"accept_ra": 1, "forwarding": 0})
    elsewhere.address("eth1", "2001:db8:1::2/64", **SLAAC)
    elsewhere.route("default", via="fe80::1", dev="eth1", protocol=RTPROT_RA, expires=900)
    yield silence("learnt on another interface", "that one does not forward", elsewhere)
    prefix = router(slaac=False).route("2001:db8:5::/48", via="fe80::1", dev="eth0", protocol=RTPROT_RA, expires=900)
    yield silence("advertised route of a prefix", "no default route was promised", prefix)
    kernel = router(slaac=False).route("default", via="fe80::1", dev="eth0", protocol=2, expires=900)
    yield silence("default route with a lifetime", "not from an advertisement", kernel)
    yield silence("interface down", "nothing is received on it", router(up=False))
    v4 = router(slaac=False).address("eth0", "192.0.2.2/24", flags=0, valid_lft=3600, proto=IFAPROT_KERNEL_RA)
    yield silence("DHCP lease", "IPv4 has no advertisements", v4)
    yield silence(
        "permanent",
        "a flag of the address, not of the interface",
        router(slaac=False).address("eth0", "2001:db8::3/64", flags=IFA_F_PERMANENT),
    )
