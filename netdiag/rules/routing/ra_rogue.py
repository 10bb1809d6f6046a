"""What it checks
  A router advertisement brought an IPv6 default route over an interface on which somebody configured another gateway
  for the default route, and the kernel may take the advertised one. Likewise over a bridge of guests alone or a guest's
  tap, where the configured gateway is behind another interface. Several advertising routers on one link, with none
  configured, are told as info; of those one that was not there at the time of the baseline, beside one that was, is a
  warning. So is any on a host that had no IPv6 default route at that time, and configured addresses on the interface.

Why it matters
  Anybody on the link can advertise: a virtual machine with a wrong image, a laptop that shares its uplink. Traffic
  then leaves by a stranger, or is lost. A server whose gateway is configured needs no advertisements; one that accepts
  them (accept_ra, on by default) takes the first that comes. Of two default routes with one metric the kernel uses
  both by turns.

Confirm
  ip -6 route show default
  sysctl net.ipv6.conf.IFNAME.accept_ra
  tcpdump -c1 -vni IFNAME 'icmp6 and ip6[40] == 134'

Fix
  sysctl -w net.ipv6.conf.IFNAME.accept_ra=0, and ip -6 route del default via GATEWAY dev IFNAME: the configured gateway
  takes over at once. Where the right router advertises as well, its route would expire so: drop what the other sends
  (nft), then delete its route. Find the sender by its link address; RA guard on the switch stops it for everybody.

Not flagged
  Hosts that have only advertised default routes (a pair of routers advertises two: info), but for what is new since a
  baseline; a router that took another's place. An advertised route of worse metric than the configured one. An
  advertised gateway that is the configured one, by address or by link address. A configured default route over another
  interface, unless only guests can advertise.

References
  RFC 6104, RFC 6105, RFC 4861 section 6.3.4; net/ipv6/ndisc.c ndisc_router_discovery(), net/ipv6/route.c find_rr_leaf()
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.guests import faces_guest
from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_PERMANENT
from netdiag.model.finding import Draft, subject
from netdiag.model.route import RTN_UNICAST, RTPROT_NAMES, Route
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="ra-rogue",
    title="a router advertisement competes with the configured gateway",
    severity="warning",
    confidence="likely",
    reads=("links", "addresses", "routes", "neighbours"),
    consults=("baseline",),
    explains=("neigh-gateway-failed", "route-default-duplicate-tie"),
    family="inet6",
)
DROP = (
    "add table ip6 rogue; add chain ip6 rogue in {{ type filter hook input priority -150; }}; "
    "add rule ip6 rogue in icmpv6 type nd-router-advert ip6 saddr {gateway} drop"
)
"""What keeps one router's advertisements out and lets the others' in."""
RA = 9
"""RTPROT_RA; KERNEL on kernels before 4.12, where such a route expires."""


def lladdr(view: HostView, gateway: str | None, ifindex: int) -> str | None:
    """Link address of a gateway, where it is known."""
    table = view.neighbours
    for row in table.rows(np.flatnonzero(table.ifindex == ifindex)[:4096]):
        if row.dst == gateway:
            return row.lladdr
    return None


def defaults(view: HostView) -> dict[tuple[int, int], tuple[list[tuple[Route, str]], list[tuple[Route, str]]]]:
    """By table and interface: advertised and other default routes, each with a gateway."""
    routes = view.routes("inet6")
    found: dict[tuple[int, int], tuple[list[tuple[Route, str]], list[tuple[Route, str]]]] = {}
    for row in view.route_rows("inet6", np.flatnonzero((routes.dst_len == 0) & (routes.type == RTN_UNICAST)).tolist()):
        for hop in row.hops:
            if hop.gateway is not None:
                advertised, other = found.setdefault((row.table, hop.oif), ([], []))
                (advertised if row.protocol == RA else other).append((row, hop.gateway))
    return found


def of_guests(view: HostView, ifindex: int) -> bool:
    """A bridge all of whose ports are guests', or a tap with a host route to its guest; any other tap may be a VPN's,
    and a veth this host's own way out."""
    link = view.link(ifindex)
    if link is not None and link.kind == "tun":
        tables = ((view.routes("inet"), 32), (view.routes("inet6"), 128))
        return faces_guest(link) and any(((it.oif == ifindex) & (it.dst_len == bits)).any() for it, bits in tables)
    ports = view.stack.ports(ifindex)
    return bool(ports) and all(faces_guest(port) for port in ports)


def check(view: HostView) -> Iterator[Draft]:
    found = defaults(view)
    for (table, oif), (advertised, other) in found.items():
        ifname = view.ifname(oif)
        if of_guests(view, oif) and not other:
            away = (others for (of, _), (_, others) in found.items() if of == table)
            other = [each for others in away for each in others]  # noqa: PLW2901
        for row, gateway in advertised:
            address = lladdr(view, gateway, oif)
            known = [one for one, mate in other if mate == gateway or (address and lladdr(view, mate, oif) == address)]
            rivals = [(one, mate) for one, mate in other if one.priority >= row.priority]
            first = not other and _had_none(view, ifname)
            if known or (not rivals and (other or len({mate for _, mate in advertised}) < 2) and not first):
                continue
            fresh = first or _new(view, ifname, gateway, {mate for _, mate in advertised})
            yield RULE.found(
                subject=subject("route", dst="::/0", table=table, ifname=ifname, gateway=gateway),
                message=f"{gateway} on {ifname} advertises itself as IPv6 default gateway"
                + _beside(rivals, len(advertised) - 1)
                + (f", and did not {since(view.baseline)}" if fresh and view.baseline else "")
                + (": this host had no IPv6 default route" if first else ""),
                confidence=None if rivals or fresh else "possible",
                evidence=[
                    (f"default via {gateway}", f"proto ra metric {row.priority}", "RTM_GETROUTE rtm_protocol"),
                    ("link address of the advertiser", address or "unknown", "RTM_GETNEIGH NDA_LLADDR"),
                    *((f"default via {mate}", f"metric {one.priority}", "RTM_GETROUTE") for one, mate in rivals[:1]),
                ],
                confirm=["ip -6 route show default", f"ip -6 neigh show dev {quoted(ifname)}"],
                fix=(
                    f"sysctl -w {quoted('net/ipv6/conf/' + ifname + '/accept_ra')}=0; "
                    if other or len(advertised) == 1
                    else f"nft {quoted(DROP.format(gateway=gateway))} && "
                )
                + f"ip -6 route del default via {gateway} dev {quoted(ifname)} proto ra"
                + ("" if rivals or fresh else "  # if that one is the stranger"),
                breaks=[subject("neighbour", dst=gateway, ifname=ifname), subject("route", dst="::/0", table=table)],
            )


def _beside(rivals: list[tuple[Route, str]], others: int) -> str:
    """What it competes with, in words."""
    if rivals:
        return f", beside {RTPROT_NAMES.get(rivals[0][0].protocol, rivals[0][0].protocol)} gateway {rivals[0][1]}"
    return f", beside {others} more that advertise" if others else ""


def _had_none(view: HostView, ifname: str) -> bool:
    """Whether the host had no IPv6 default route at the time of the baseline, and configured addresses there."""
    old = view.baseline
    link = old.stack.by_name.get(ifname) if old is not None else None
    if old is None or link is None or not old.read_whole("routes") or same_link(old, view, ifname) is None:
        return False
    routes = old.routes("inet6")
    fixed = (row for row in old.addresses if row.ifindex == link.ifindex and row.family == "inet6" and row.scope == 0)
    had = ((routes.dst_len == 0) & (routes.type == RTN_UNICAST)).any()
    return not had and any(row.flags & IFA_F_PERMANENT for row in fixed)


def _new(view: HostView, ifname: str, gateway: str, all_: set[str]) -> bool:
    """Whether a router advertises that did not at the time of the baseline, beside one that did."""
    old = view.baseline
    if old is None or not old.read_whole("routes") or same_link(old, view, ifname) is None:
        return False
    then = {mate for (_, oif), (rows, _) in defaults(old).items() if old.ifname(oif) == ifname for _, mate in rows}
    return gateway not in then and bool(then & all_)


def _host(*gateways: str, **fields: Any) -> HostBuilder:
    host = HostBuilder().link("eth0").link("eth1").address("eth0", "2001:db8::1/64").address("eth1", "2001:db8:1::1/64")
    for gateway in gateways:
        given: dict[str, Any] = {"protocol": RA, "expires": 1700, "dev": "eth0"}
        host.route("default", via=gateway, **(given | fields))
    return host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def examples() -> Iterator[Example]:
    def static(host: HostBuilder, via: str = "2001:db8::2", **fields: Any) -> HostBuilder:
        given: dict[str, Any] = {"dev": "eth0", "protocol": 4}
        return host.route("default", via=via, **(given | fields))

    warn: dict[str, Any] = {"fires": 1, "severity": "warning"}
    about = subject("route", dst="::/0", table=254, ifname="eth0", gateway="fe80::bad")
    yield _case(
        "beside the configured one", "one metric: both are used", static(_host("fe80::bad")), subject=about, **warn
    )
    yield _case("BIRD's", "whoever configured it", static(_host("fe80::bad"), protocol=12), **warn)
    better = static(_host("fe80::bad", priority=1023))
    yield _case("better metric", "it takes all", better, **warn)
    yield _case("worse metric", "it stands by", static(_host("fe80::bad", priority=1025)))
    yield _case("only advertised", "how most hosts find their gateway", _host("fe80::1"))
    yield _case("a pair of routers", "or one of them is a stranger", _host("fe80::1", "fe80::2"), 2, severity="info")
    for then, why, severity in (
        (("fe80::1",), "one of them is new", "warning"),
        (("fe80::1", "fe80::2"), "both were there", "info"),
        (("fe80::3",), "both took its place", "info"),
        ((), "this host needs none", "warning"),
    ):
        tables, old = _host("fe80::1", "fe80::2").build(), _host(*then).build()
        name = f"a pair of routers, {' and '.join(then) or 'none'} at the time of the baseline"
        fires = 2  # of the pair the new one is worse
        yield Example(name=name, why=why, tables=tables, baseline=old, fires=fires, severity=severity,  # type: ignore[arg-type]
                      says=("ip6 saddr fe80::", "drop' && ip -6 route del default via fe80::"))  # fmt: skip
    lone: dict[str, Any] = {"tables": _host("fe80::1").build(), "says": (": this host had no IPv6 default route",)}
    yield Example(name="the first one, none at the time of the baseline", why="this host's addresses are configured",
                  baseline=_host().build(), fires=1, severity="warning", **lone)  # fmt: skip
    lone.pop("says")
    bare = HostBuilder().link("eth0").link("eth1").address("eth1", "2001:db8:1::1/64")
    soon = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64", flags=0)
    elsewhere = _host().route("default", via="2001:db8:1::2", dev="eth1", table=100)
    for name, why, made in (
        ("no address there", "the look was before IPv6 came", bare),
        ("an advertised address", "its default route had run out", soon),
        ("a default route in another table", "it had IPv6 to elsewhere", elsewhere),
        ("the same", "as it was", _host("fe80::1")),
    ):
        yield Example(name=f"only advertised, {name} at the time of the baseline", why=why, baseline=made.build(),
                      **lone)  # fmt: skip
    yield Example(name="only advertised, baseline without routes", why="not known", baseline=_host().build(),
                  late_then=("routes",), **lone)  # fmt: skip
    then_on: dict[str, Any] = {"fires": 2, "severity": "info"}
    for name, before, more_ in (
        ("not read", _host("fe80::1"), {"late_then": ("routes",)}),
        ("of another interface", _host("fe80::1", dev="eth1"), {}),
        ("of a bridge of that name", HostBuilder().link("eth0", kind="bridge")
         .route("default", via="fe80::1", dev="eth0", protocol=RA, expires=9000), {}),
    ):  # fmt: skip
        tables = _host("fe80::1", "fe80::2").build()
        why = "whether one of them is new cannot be said"
        given: dict[str, Any] = then_on | more_
        yield Example(
            name=f"a pair of routers, baseline {name}", why=why, tables=tables, baseline=before.build(), **given
        )
    yield _case("the configured gateway advertises", "the same address", static(_host("fe80::1"), "fe80::1"))
    same = static(_host("fe80::1")).neighbour("fe80::1", dev="eth0", lladdr="02:00:00:00:00:09")
    yield _case(
        "by its link address", "one router", same.neighbour("2001:db8::2", dev="eth0", lladdr="02:00:00:00:00:09")
    )
    apart = static(_host("fe80::bad"))
    for number, gateway in enumerate(("fe80::7", "fe80::bad", "2001:db8::2")):
        apart.neighbour(gateway, dev="eth0", lladdr=f"02:00:00:00:00:1{number}")
    yield _case("by its link address, another router", "a stranger", apart, **warn)
    more = static(static(_host("fe80::1"), "fe80::1"))
    yield _case("the configured gateway advertises, beside another", "it is known", more)
    pair = static(_host("fe80::1", "fe80::2"), priority=1)
    yield _case("a pair of routers, behind the configured one", "they stand by", pair)
    yield _case("other interface", "two uplinks", static(_host("fe80::1"), "2001:db8:1::2", dev="eth1"))
    yield from _of_guests()


def _of_guests() -> Iterator[Example]:
    """The configured gateway is behind eth0; who advertises is behind br0 or a tap."""

    def host(dev: str = "br0", priority: int = 1024, gateway: bool = True) -> HostBuilder:
        made = HostBuilder().link("eth0").address("eth0", "2001:db8::1/64").link("br0", kind="bridge")
        made.link("v1", kind="veth", master="br0", link_netnsid=1).tap("tap0", master="br0").tap("tap1").tap("tap2")
        made.link("br1", kind="bridge").route("10.1.0.5/32", dev="tap1").link("tun0", kind="tun", info={"type": "tun"})
        made.tap("tap6").route("2001:db8:6::5/128", dev="tap6").tap("tap7").route("2001:db8:7::/64", dev="tap7")
        made.route("10.1.0.7/32", dev="tun0").link("old0", kind="bridge")
        if gateway:
            made.route("default", via="2001:db8::2", dev="eth0", protocol=4)
        return made.route("default", via="fe80::bad", dev=dev, protocol=RA, expires=9000, priority=priority)

    warn: dict[str, Any] = {"fires": 1, "severity": "warning", "says": ("beside static gateway 2001:db8::2",)}
    for dev in ("br0", "tap1", "tap6"):
        yield _case(f"a guest behind {dev}", "this host is their gateway, not they its", host(dev), **warn)
    own = host().route("default", via="fe80::bad", dev="br0", protocol=4)
    yield _case("a router behind the bridge", "somebody configured it", own)
    first = host().route("default", via="fe80::1", dev="br0", protocol=4, priority=1)
    yield _case("behind a better router of the bridge", "it stands by", first)
    apart = host(gateway=False).route("default", via="2001:db8::2", dev="eth0", protocol=4, table=100)
    yield _case("the configured gateway in another table", "they do not compete", apart)
    yield _case("an interface that is gone", "what it was cannot be said", host("old0").vanished("old0"))
    yield _case("a guest, worse metric", "it stands by", host(priority=1025))
    yield _case("a bridge with a way out alone", "somebody else made it a bridge", host(gateway=False))
    yield _case("a bridge with a card", "the card's link may have routers", host().link("eth1", master="br0"))
    for dev, why in (("br1", "nobody is known to be there"), ("tap2", "it may be a VPN's"), ("tun0", "likewise"),
                     ("tap7", "likewise")):  # fmt: skip
        yield _case(f"behind {dev}", why, host(dev))
