"""What it checks
  Guests have addresses of the uplink's own IPv6 prefix, this host answers for some of them on the uplink (proxy_ndp
  with an entry each), and a guest that has a route, or is a live neighbour in the subnet of a guest's interface, has no
  such entry. Or, as a warning: this host answered for guests at the time of the baseline, and answers for none now. Or:
  the entries are there, and proxy_ndp is off for the uplink and for all; or they stand on another interface than the
  uplink (a port of its bridge, a card that was the uplink before). Guests are taken for such by their interface: a tap,
  a cable, a bridge of those, or a tunnel with WireGuard.

Why it matters
  The router asks the segment for each address of an on-link prefix. For the guest that was left out nobody answers: it
  can send, and no answer reaches it from outside, while its neighbours and the host reach it well.

Confirm
  ip -6 neigh show proxy dev UPLINK
  ip -6 route get ADDRESS
  sysctl net.ipv6.conf.all.proxy_ndp net.ipv6.conf.UPLINK.proxy_ndp      (one of them has to be 1)

Fix
  ip -6 neigh add proxy ADDRESS dev UPLINK; it answers for that address alone. Where it is the
  setting: sysctl -w net.ipv6.conf.UPLINK.proxy_ndp=1, which answers for what has an entry. Better have the block routed
  to the host, then no entry is needed.

Not flagged
  Guests outside the uplink's prefix: their block is routed. Hosts without any entry: the block is routed, or a daemon
  (ndppd) answers; then it is an info. Hosts with proxy_ndp off and no entry. Guests that went: neighbours that do not
  answer any more. Link-local addresses, and guests whose tap nobody holds.

References
  net/ipv6/ndisc.c ndisc_recv_ns(); net/core/neighbour.c pneigh_lookup(); RFC 4861 section 7.2.8
"""

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from netdiag.index.guests import sides, switched
from netdiag.index.packet import Query
from netdiag.index.subnets import connected
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.neighbour import NTF_PROXY, NUD_DELAY, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from netdiag.model.route import RTN_UNICAST
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.waysout import default_oifs

RULE = Rule(
    id="proxy-ndp-missing",
    title="a guest of the uplink's own prefix is not answered for",
    severity="critical",
    reads=("links", "addresses", "routes", "rules", "nexthops", "sysctls", "neighbours"),
    consults=("baseline",),
)
LOOKED_AT = 5000
LIVE = NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_STALE | NUD_PERMANENT
GUEST_KINDS = ("tun", "veth", "netkit", "bridge", "macvtap", "wireguard")


class Guest(NamedTuple):
    """An address behind this host."""

    address: str
    ifname: str
    source: str
    """How it is known."""


def check(view: HostView) -> Iterator[Draft]:
    uplinks = default_oifs(view, "inet6")
    uplinks = _answering(view) if uplinks is None else uplinks
    everywhere = view.sysctl_int("net.ipv6.conf.all.proxy_ndp")
    for subnet in connected(view, "inet6"):
        link = subnet.link
        if link.ifindex not in uplinks:
            continue
        network = ipaddress.IPv6Network(str(subnet.network))
        known = _answered(view, link)
        guests = [guest for guest in _guests(view, link) if ipaddress.IPv6Address(guest.address) in network]
        served = [guest for guest in guests if guest.address in known]
        served = served or [guest for guest in _asleep(view, known) if ipaddress.IPv6Address(guest.address) in network]
        # Either of the two settings will do (net/ipv6/ndisc.c ndisc_recv_ns()).
        if not everywhere and not view.sysctl_int(f"net.ipv6.conf.{link.ifname}.proxy_ndp"):
            if served:
                yield _switched_off(link, served)
            continue
        left_out = [guest for guest in guests if guest.address not in known]
        where = _elsewhere(view, link)
        beside = [guest for guest in left_out if guest.address in where]
        if beside:
            yield _misplaced(view, link, beside, view.ifname(where[beside[0].address]))
        lost = [] if served or beside else _answered_before(view, link, left_out)
        if lost:
            yield _finding(link, lost[0], 0, len(lost))
        for guest in left_out if served or not (known or beside or lost) else ():
            if guest not in beside and (served or guest is left_out[0]):
                yield _finding(link, guest, len(served))


def _answering(view: HostView) -> set[int]:
    """Interfaces that answer for others, of a host without a default route: they are set to, or have entries."""
    rows = (view.neighbours.flags & NTF_PROXY != 0) & (view.neighbours.family == 10)
    found = {link.ifindex for link in view.links if link.inet6_conf.get("proxy_ndp")}
    return found | set(view.neighbours.ifindex[rows].tolist())


def _answered(view: HostView, link: Link) -> set[str]:
    rows = (view.neighbours.flags & NTF_PROXY != 0) & (view.neighbours.ifindex == link.ifindex)
    rows &= view.neighbours.family == 10
    return {row.dst for row in view.neighbours.rows(np.flatnonzero(rows))}


def _asleep(view: HostView, known: set[str]) -> list[Guest]:
    """Those that are answered for and whose way is an interface towards guests, where it is not known whether they
    live: they have no route of their own, and nobody spoke to them lately."""
    found = []
    for address in sorted(known)[:LOOKED_AT]:
        way = view.lookup(Query(family="inet6", dst=address))
        link = view.link(way.oif) if way.oif and way.gateway is None else None
        if link is not None and _faces_guests(view, link):
            found.append(Guest(address, link.ifname, "RTM_GETROUTE"))
    return found


def _answered_before(view: HostView, link: Link, guests: list[Guest]) -> list[Guest]:
    """Those of the guests that this host answered for on the interface of that name at the time of the baseline."""
    old = view.baseline
    then = old.stack.by_name.get(link.ifname) if old is not None and old.read_whole("neighbours") else None
    if old is None or then is None:
        return []
    answered = _answered(old, then)
    return [guest for guest in guests if guest.address in answered]


def _elsewhere(view: HostView, uplink: Link) -> dict[str, int]:
    """Addresses that this host answers for on an interface that is neither this uplink nor a guest's, and on which; a
    bridge's port hears no question."""
    exits = {link.ifindex for link in sides(view.stack, view.routes("inet6"), view.addresses).exits}
    rows = (view.neighbours.flags & NTF_PROXY != 0) & (view.neighbours.ifindex != uplink.ifindex)
    found = view.neighbours.rows(np.flatnonzero(rows & (view.neighbours.family == 10))[:LOOKED_AT])
    links = ((row, view.link(row.ifindex)) for row in found)
    return {
        row.dst: row.ifindex
        for row, link in links
        if link is not None and (link.master or link.ifindex in exits or not _faces_guests(view, link))
    }


def _guests(view: HostView, uplink: Link) -> list[Guest]:
    """Single addresses by an interface towards guests that is alive: with a route, or talked to in its subnet."""
    table = view.routes("inet6")
    rows = (table.type == RTN_UNICAST) & (table.dst_len == 128) & (table.oif != uplink.ifindex)
    found: dict[str, Guest] = {}
    for route in view.route_rows("inet6", np.flatnonzero(rows)[:LOOKED_AT].tolist()):
        link = view.link(route.oif or 0)
        if link is not None and _faces_guests(view, link):
            address = route.dst.partition("/")[0]
            found[address] = Guest(address, link.ifname, "RTM_GETROUTE")
    near = view.neighbours
    alive = (near.state & LIVE != 0) & (near.family == 10) & (near.flags & NTF_PROXY == 0)
    for row in near.rows(np.flatnonzero(alive & (near.ifindex != uplink.ifindex))[:LOOKED_AT]):
        link = view.link(row.ifindex)
        if link is not None and _faces_guests(view, link):
            found.setdefault(row.dst, Guest(row.dst, link.ifname, "RTM_GETNEIGH"))
    return sorted(found.values(), key=lambda guest: ipaddress.IPv6Address(guest.address))


def _faces_guests(view: HostView, link: Link) -> bool:
    alive = link.kind in GUEST_KINDS and link.up and link.carrier is not False
    return alive and not switched(view.stack, link)


def _switched_off(link: Link, served: list[Guest]) -> Draft:
    """The entries do nothing."""
    name, first = link.ifname, served[0]
    more = f" and {len(served) - 1} more" if len(served) > 1 else ""
    return RULE.found(
        subject=subject("sysctl", name=f"net.ipv6.conf.{name}.proxy_ndp", ifname=name),
        message=f"{name} is to answer for the guest {first.address} on {first.ifname}{more}, of its own prefix, and "
        "does not: proxy_ndp is off for it and for all; they are not reached from outside",
        evidence=(
            (f"net.ipv6.conf.{name}.proxy_ndp", "0", f"RTM_GETLINK {name} IFLA_INET6_CONF"),
            ("net.ipv6.conf.all.proxy_ndp", "0", "/proc/sys/net/ipv6/conf/all/proxy_ndp"),
            (f"proxy entries of guests on {name}", len(served), f"RTM_GETNEIGH {name} NTF_PROXY"),
        ),
        confirm=(
            f"sysctl net.ipv6.conf.all.proxy_ndp {quoted(f'net/ipv6/conf/{name}/proxy_ndp')}",
            f"ip -6 neigh show proxy dev {quoted(name)}",
        ),
        fix=f"sysctl -w {quoted(f'net/ipv6/conf/{name}/proxy_ndp')}=1",
        touches=[subject("link", ifname=name), *(subject("link", ifname=guest.ifname) for guest in served)],
    )


def _misplaced(view: HostView, link: Link, guests: list[Guest], other: str) -> Draft:
    """The entries stand on another interface."""
    name, first = link.ifname, guests[0]
    more = f" and {len(guests) - 1} more" if len(guests) > 1 else ""
    return RULE.found(
        subject=subject("neighbour", dst=first.address, ifname=name),
        confidence="likely",
        message=f"this host is to answer for the guest {first.address} on {first.ifname}{more}, of the prefix of "
        f"{name}, but the entry stands on {other}: nobody asks there, it is not reached from outside",
        evidence=(
            (f"proxy entry for {first.address}", f"dev {other}", f"RTM_GETNEIGH {other} NTF_PROXY"),
            (f"proxy entry for {first.address} on {name}", "none", f"RTM_GETNEIGH {name} NTF_PROXY"),
            (f"the guest {first.address}", f"dev {first.ifname}", first.source),
        ),
        confirm=("ip -6 neigh show proxy", f"ip -6 route show default dev {quoted(name)}"),
        fix=f"ip -6 neigh add proxy {first.address} dev {quoted(name)}; ip -6 neigh del proxy {first.address} dev "
        f"{quoted(other)}",
        touches=[subject("link", ifname=name), *(subject("link", ifname=guest.ifname) for guest in guests[:16])],
    )


def _finding(link: Link, guest: Guest, siblings: int, lost: int = 0) -> Draft:
    name, address = link.ifname, guest.address
    others = f"while it answers for {siblings} others" if siblings else "and it answers for no guest at all"
    if lost:
        more = f" and {lost - 1} more" if lost > 1 else ""
        others = f"as it did for it{more} at the time of the baseline (entries go with a link that goes down)"
    return RULE.found(
        subject=subject("neighbour", dst=address, ifname=name),
        severity="critical" if siblings else "warning" if lost else "info",
        confidence="certain" if siblings else "likely" if lost else "possible",
        message=f"the guest {address} on {guest.ifname} is of {name}'s own prefix, but this host does "
        f"not answer for it on {name}, {others}: it is not reached from outside",
        evidence=(
            (f"the guest {address}", f"dev {guest.ifname}", guest.source),
            (f"proxy entry for {address} on {name}", "none", f"RTM_GETNEIGH {name} NTF_PROXY"),
            (f"proxy_ndp of {name} or of all", "1", f"RTM_GETLINK {name} IFLA_INET6_CONF"),
        ),
        confirm=(
            f"sysctl {quoted(f'net/ipv6/conf/{name}/proxy_ndp')}; ip -6 neigh show proxy dev {quoted(name)}",
            f"ip -6 route get {address}",
        ),
        fix=f"ip -6 neigh add proxy {address} dev {quoted(name)}",
        touches=(
            subject("link", ifname=name),
            subject("tap", ifname=guest.ifname),
            subject("link", ifname=guest.ifname),
        ),
    )


def _edge(*, entry: bool = True, proxy_ndp: int = 1) -> HostBuilder:
    host = HostBuilder().link("eth0", inet6_conf={"proxy_ndp": proxy_ndp, "forwarding": 1})
    host.address("eth0", "2001:db8::2/64").route("default", via="fe80::1", dev="eth0").tap("tap0").tap("tap1")
    host.route("2001:db8::5/128", dev="tap0").route("2001:db8::6/128", dev="tap1")
    return host.neighbour("2001:db8::5", dev="eth0", state="none", flags=NTF_PROXY) if entry else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("neighbour", dst="2001:db8::6", ifname="eth0")
    told: dict[str, object] = {"subject": about, "severity": "critical", "confidence": "certain"}
    yield _case("one left out", "its sibling has an entry", _edge(), 1, **told)
    asked = _edge().neighbour("2001:db8::6", dev="eth0", state="failed")
    yield _case("asked for on the uplink", "that is no entry to answer by", asked, 1, **told)
    cable = _edge().link("veth3", kind="veth").route("2001:db8::7/128", dev="veth3")
    yield _case("a container as well", "each is its own", cable, 2)
    yield _case("none at all", "the block may be routed, or ndppd answers", _edge(entry=False), 1, severity="info",
                subject={"dst": "2001:db8::5"})  # fmt: skip
    then = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY).build()
    was: dict[str, object] = {"severity": "warning", "confidence": "likely", "subject": {"dst": "2001:db8::5"}}
    yield _case("none any more", "the uplink went down and came back", _edge(entry=False), 1, baseline=then, **was,
                says=("as it did for it and 1 more at the time",))  # fmt: skip
    yield _case("one went", "its sibling tells already", _edge(), 1, baseline=then, **told)
    yield _case("none then either", "the block may be routed", _edge(entry=False), 1, severity="info",
                baseline=_edge(entry=False).build())  # fmt: skip
    yield _case("none any more, of what was then", "it was not read", _edge(entry=False), 1, severity="info",
                baseline=then, late_then=("neighbours",))  # fmt: skip
    given_up = _edge(entry=False, proxy_ndp=0)
    yield _case("none any more, and switched off", "somebody gave it up", given_up, baseline=then)
    whole = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("all answered for", "the healthy host", whole)
    off = subject("sysctl", name="net.ipv6.conf.eth0.proxy_ndp", ifname="eth0")
    says = ("the guest 2001:db8::5 on tap0, of its own prefix", "sysctl -w net/ipv6/conf/eth0/proxy_ndp=1")
    yield _case("proxy_ndp off", "the entry does nothing", _edge(proxy_ndp=0), 1, subject=off, says=says)
    both = _edge(proxy_ndp=0).neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("proxy_ndp off, two guests", "one setting for both", both, 1, says=("tap0 and 1 more",))
    yield _case("proxy_ndp off and no entry", "the block is routed", _edge(entry=False, proxy_ndp=0))
    every = _edge(proxy_ndp=0).sysctl("net.ipv6.conf.all.proxy_ndp", 1)
    yield _case("proxy_ndp on for all", "either setting will do", every, 1, **told)
    inside = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield from _misplaced_cases()
    for behind, fires in (("wireguard", 1), ("vlan", 0)):
        client = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY).link("wg0", kind=behind)
        yield _case(f"behind {behind}", "is it a guest?", client.route("2001:db8::9/128", dev="wg0"), fires)
    near = inside.address("tap1", "2001:db8::b:1/112").neighbour("2001:db8::b:2", dev="tap1")
    seen = subject("neighbour", dst="2001:db8::b:2", ifname="eth0")
    yield _case("a neighbour in a guest's subnet", "nobody answers for it", near, 1, subject=seen, severity="critical")
    for name, address, state in (("that went", "2001:db8::b:2", "failed"), ("of IPv4", "10.0.0.9", "reachable")):
        gone = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
        yield _case(f"a neighbour {name}", "nobody to answer for", gone.neighbour(address, dev="tap1", state=state))
    away = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY).tap("tap2")
    away.neighbour("2001:db8::b:3", dev="tap2")
    yield _case("a tap that went meanwhile", "its guest with it", away.vanished("tap2"))
    router = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("neighbours of the uplink", "they answer themselves", router.neighbour("2001:db8::1", dev="eth0"))
    real = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY).link("eth1")
    yield _case("a neighbour behind a real link", "no guest", real.neighbour("2001:db8::9", dev="eth1"))
    for kind, fires in ((None, 0), ("tun", 1), ("bond", 0), ("veth", 1)):
        lan = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY).link("br0", kind="bridge")
        lan.link("port", master="br0", kind=kind).neighbour("2001:db8::9", dev="br0")
        yield _case(f"a neighbour behind a bridge with a {kind or 'card'}", "a network is behind a card", lan, fires)
    for name, why, way, fires in (
        ("in the bridge's subnet", "a new one was left out", {"dev": "br0"}, 1),
        ("behind a router", "its block may be routed", {"dev": "br0", "via": "fe80::2"}, 0),
        ("of the uplink", "they are no guests", {"dev": "eth0"}, 0),
        ("that are nowhere", "nor these", {"type": "unreachable"}, 0),
    ):
        slept = HostBuilder().link("eth0", inet6_conf={"proxy_ndp": 1, "forwarding": 1})
        slept.address("eth0", "2001:db8::2/64").route("default", via="fe80::1", dev="eth0")
        given: dict[str, Any] = dict(way)
        slept.link("br0", kind="bridge").tap("port", master="br0").route("2001:db8::/80", **given)
        slept.neighbour("2001:db8::5", dev="eth0", state="none", flags=NTF_PROXY)
        slept.neighbour("2001:db8::9", dev="br0")
        yield _case(f"silent guests {name} are answered for", why, slept, fires, severity="critical" if fires else None)
    outside = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("outside the prefix", "that block is routed", outside.route("2001:db8:1::9/128", dev="tap1"))
    stopped = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    stopped.tap("tap2", holder=None).route("2001:db8::8/128", dev="tap2")
    yield _case("nobody holds the tap", "no guest is there", stopped)
    wire = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    yield _case("a router behind a real link", "no guest", wire.link("eth1").route("2001:db8::9/128", dev="eth1"))
    legs = whole.tap("tap3").tap("tap4")
    legs.route("2001:db8::9/128", hops=[legs.hop("tap3"), legs.hop("tap4")])
    yield _case("a guest by two ways", "which one is it?", legs)
    down = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    down.tap("tap2", up=False).route("2001:db8::8/128", dev="tap2")
    yield _case("tap down", "tap-down-vmm-eio speaks", down)
    inner = _edge().neighbour("2001:db8::6", dev="eth0", state="none", flags=NTF_PROXY)
    inner.link("eth1", inet6_conf={"proxy_ndp": 1}).address("eth1", "2001:db8:5::1/64")
    yield _case("an inner interface", "no default route goes there", inner.route("2001:db8:5::9/128", dev="tap0"))
    lost = _edge().without_routes(table=254, family="inet6")
    lost.route("2001:db8::/64", dev="eth0", protocol=2).route("2001:db8::6/128", dev="tap1")
    yield _case("no way out, nor one to the guest that is answered for", "who is it for?", lost)
    lost.route("2001:db8::5/128", dev="tap0")
    yield _case("no way out", "the router of the segment asks all the same", lost, 1, severity="critical")
    inner = _edge(entry=False, proxy_ndp=0).without_routes(table=254, family="inet6")
    inner.route("2001:db8::/64", dev="eth0", protocol=2).route("2001:db8::6/128", dev="tap1")
    yield _case("no way out, and nothing answered for", "the block may be routed", inner)


def _misplaced_cases() -> Iterator[Example]:
    """Entries that stand elsewhere, of guests or of others."""

    def bridged(on: str, *addresses: str, **port: Any) -> HostBuilder:
        host = HostBuilder().link("br0", kind="bridge", inet6_conf={"proxy_ndp": 1, "forwarding": 1})
        host.link("eth0", master="br0", **port).address("br0", "2001:db8::2/64").route(
            "default", via="fe80::1", dev="br0"
        )
        host.tap("tap0").tap("tap1").route("2001:db8::5/128", dev="tap0").route("2001:db8::6/128", dev="tap1")
        for address in addresses:
            host.neighbour(address, dev=on, state="none", flags=NTF_PROXY)
        return host

    says = ("but the entry stands on eth0",)
    about = subject("neighbour", dst="2001:db8::5", ifname="br0")
    sure: dict[str, object] = {"severity": "critical", "confidence": "likely", "subject": about}
    pair = ("2001:db8::5", "2001:db8::6")
    yield _case("on a port of the uplink's bridge", "nobody asks there", bridged("eth0", *pair), 1, says=says, **sure)
    cable = bridged("eth0", *pair, kind="veth", link_netnsid=0)
    yield _case("on a port that is a cable", "nobody asks there either", cable, 1, says=says, **sure)
    second = bridged("v2").link("v2", kind="veth", link_netnsid=0).route("2001:db8:9::/48", via="fe80::9", dev="v2")
    second.neighbour(pair[0], dev="v2", state="none", flags=NTF_PROXY)
    yield _case("on another way out by a cable", "it is no guest's", second, 1, **sure)
    yield _case("on the bridge", "as it should be", bridged("br0", *pair))
    other = bridged("eth0", "2001:db8::77")
    yield _case("of others, on the port", "nothing is said of the guests", other, 1, severity="info")
    guests = bridged("tap1", "2001:db8::5")
    yield _case("towards another guest", "guests reach each other so", guests, 1, severity="info")
    half = bridged("eth0", pair[0]).neighbour(pair[1], dev="br0", state="none", flags=NTF_PROXY)
    yield _case("one of them on the port", "the other is right", half, 1, says=says, **sure)
