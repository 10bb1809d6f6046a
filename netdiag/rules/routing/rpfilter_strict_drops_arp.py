"""What it checks
  A strict reverse path filter that drops ARP requests: between the two samples more sources were refused (the routing
  code's in_martian_src) than the filter's own counter says, because that one counts IP packets only; and one strict
  interface (rp_filter 1, the larger of "all" and its own) received more frames that are no IP than it sent frames at
  all: who asks there gets no answer. How many of its frames were IP the kernel does not say. A critical finding takes
  all packets of the host for this interface's; beside traffic on others, where none is left then, what they received
  is taken off first, and hardly more frames may be left than sources were refused (a warning). Over a fleet: the
  other host, on which the address of that interface is a neighbour that failed, and both are one fault.

Why it matters
  The kernel looks up the way back to the sender of an ARP request before it answers. A neighbour that asks with an
  address which this host would answer by another interface (its loopback or anycast address, with arp_announce 0) is
  ignored. It sees this host as FAILED although both links are up, and loses whatever it sends here; on this host the
  counter IPReversePathFilter stays at zero, so that everybody looks elsewhere.

Confirm
  lnstat -c 3 -i 1 -f rt_cache -k in_martian_src      (rises while the neighbour asks; counts for all namespaces)
  nstat -asz TcpExtIPReversePathFilter                  (does not)
  tcpdump -c 3 -nei IFNAME arp                          (shows the sender's address: "who-has ... tell SENDER")
  ip route get OWN_ADDRESS from SENDER iif IFNAME       (an error where the filter drops)

Fix
  sysctl -w net/ipv4/conf/IFNAME/rp_filter=2 makes the filter loose: a sender that has any route at all is answered, on
  this interface only. On a host without a default route to the sender's address only 0 helps. Or on the neighbour:
  arp_announce=2, so that it asks with an address of the shared subnet.

Not flagged
  A neighbour that is down: then nothing arrives here at all. Loose filters (all=2 with 1 on the interface). Drops of IP
  packets, which the filter counts: asym-rpfilter-strict-drop. Interfaces that answer as much as they are asked, and
  several strict interfaces of which each could be meant. Requests for others that a shared link brings are no reason by
  themselves: something must have been refused.

References
  net/ipv4/arp.c arp_process(); net/ipv4/route.c ip_handle_martian_source(); net/ipv4/fib_frontend.c
  __fib_validate_source(); Documentation/networking/ip-sysctl.rst arp_announce, rp_filter
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.fleet import FleetHost, FleetView, across, on
from netdiag.index.packet import Query
from netdiag.index.reversepath import STRICT, effective
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link, Stats64
from netdiag.model.neighbour import NUD_FAILED, NUD_INCOMPLETE, Neighbour
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain as nft_chain
from netdiag.rules.build_nft import table as nft_table
from netdiag.rules.shape import Example, FleetExample, Rule, quoted

RULE = Rule(
    id="rpfilter-strict-drops-arp",
    title="a strict reverse path filter drops ARP requests, and the neighbour finds nobody",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "sysctls", "deltas"),
    consults=("neighbours", "nft"),
)
ACROSS = Rule(
    id=RULE.id,
    title=RULE.title,
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "neighbours", "sysctls"),
    explains=(RULE.id, "neigh-*", "bgp-not-established", "wg-endpoint-unroutable", "fleet-host-cut"),
    scope="fleet",
)
REFUSED = "rt_cache.in_martian_src"
COUNTED = "TcpExt.IPReversePathFilter"
OVER_IP = ("vxlan", "geneve", "gretap", "ip6gretap")
"""Kinds of interface for Ethernet in IP packets."""
ELSEWHERE = "198.51.100.77"
"""Somewhere that only a default route leads to (RFC 5737)."""


def check(view: HostView) -> Iterator[Draft]:
    deltas = view.deltas
    refused, counted = deltas.snmp(REFUSED), deltas.snmp(COUNTED)
    if refused is None or counted is None or refused <= counted:
        return
    strict = list(_strict(view))
    sure = [(link, frames) for link in strict if (frames := _unanswered(view, link)) > 0]
    most = refused - counted + 1  # the links are read a moment before and after
    beside = [(link, frames) for link in strict if 0 < (frames := _beside(view, link)) <= most]
    unanswered = sure or beside
    if len(unanswered) != 1:
        return
    link, frames = unanswered[0]
    ifname = quoted(link.ifname)
    own = next(a.local for a in view.addresses if a.ifindex == link.ifindex and a.family == "inet")
    everywhere = view.sysctl_int("net.ipv4.conf.all.rp_filter") or 0
    setting = f"net/ipv4/conf/{link.ifname}/rp_filter"
    value = 2 if view.lookup(Query(family="inet", dst=ELSEWHERE)).ok else 0
    yield RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{link.ifname} ignores ARP requests for its addresses: its reverse path filter is strict, and the way "
        "back to who asks leaves by another interface; that neighbour finds nobody here",
        evidence=[
            ("sources refused between the samples", refused, "/proc/net/stat/rt_cache in_martian_src (all namespaces)"),
            ("of these counted by the filter, as IP packets", counted, f"/proc/self/net/netstat {COUNTED}"),
            (f"frames that are no IP and were not answered on {link.ifname}", frames, f"RTM_GETLINK {link.ifname}"),
            (
                "rp_filter (all, own)",
                f"{everywhere}, {link.inet_conf.get('rp_filter', 0)}",
                "/proc/sys, IFLA_INET_CONF",
            ),
        ],
        confirm=[
            "lnstat -c 3 -i 1 -f rt_cache -k in_martian_src",
            "nstat -asz TcpExtIPReversePathFilter",
            f"tcpdump -c 3 -nei {ifname} arp  # then: ip route get {own} from SENDER iif {ifname}",
            f"sysctl net.ipv4.conf.all.rp_filter {quoted(setting)}",
        ],
        fix=f"sysctl -w {quoted(f'{setting}={value}')}"
        + (" net.ipv4.conf.all.rp_filter=0" if everywhere == STRICT and value == 0 else ""),
        severity=None if sure else "warning",
    )


def _strict(view: HostView) -> Iterator[Link]:
    """Interfaces with an IPv4 address that ask for ARP and filter strictly, outside any bridge or VRF."""
    everywhere = view.sysctl_int("net.ipv4.conf.all.rp_filter") or 0
    addressed = {address.ifindex for address in view.addresses if address.family == "inet" and address.scope == 0}
    for link in view.links:
        answers = not link.noarp and link.master is None
        if answers and link.ifindex in addressed and effective(link, everywhere) == STRICT:
            yield link


def _unanswered(view: HostView, link: Link) -> int:
    """How many more frames without IP came than such frames went. All IPv4 packets that the host received are taken to
    be this link's, and of what it sent only ICMPv6, and IPv4 that can have gone nowhere else, is known to be no answer,
    so that this is rather too few."""
    moved = _moved(view, link.ifindex)
    if moved is None:
        return 0
    received, sent, six = moved
    packets, all_six = view.deltas.snmp("Ip.InReceives") or 0, view.deltas.snmp("Ip6InReceives") or 0
    if link.kind in OVER_IP:
        packets = max(packets + all_six - received, 0)  # each of its frames came in an IP packet
    else:
        packets += all_six if six is None else six
    return received - packets - max(sent - _ipv4_sent(view, link), 0)


def _ipv4_sent(view: HostView, link: Link) -> int:
    """IPv4 packets that left by this link for certain: more than all other interfaces sent. 0 where some may have gone
    nowhere at all: a neighbour does not answer, or a packet filter looks at what goes out."""
    if not (view.read_whole("neighbours") and view.read_whole("nft")):
        return 0
    if bool((view.neighbours.state & (NUD_FAILED | NUD_INCOMPLETE) != 0).any()):
        return 0
    tables = (*view.nft.tables, *view.nft.legacy)
    if any(chain.hook in ("output", "postrouting", "egress") for table in tables for chain in table.chains):
        return 0
    below = {link.ifindex, link.link, *(port.ifindex for port in view.stack.ports(link.ifindex))}
    others = (_moved(view, row.ifindex) for row in view.deltas.second.links if row.ifindex not in below)
    return max((view.deltas.snmp("Ip.OutRequests") or 0) - sum(one[1] for one in others if one is not None), 0)


def _beside(view: HostView, link: Link) -> int:
    """The same of a link that sent nothing but ICMPv6, while others of this host have traffic: what they received is
    taken for theirs, and what went to groups or to everybody for this link's."""
    moved = _moved(view, link.ifindex)
    if moved is None or moved[1] or moved[2] is None or link.kind in OVER_IP:
        return 0
    having = {row.ifindex for row in view.addresses if row.family == "inet"} - {link.ifindex}
    others = [one for ifindex in having if (one := _moved(view, ifindex)) is not None]
    theirs = sum(received - (six or 0) for received, _, six in others)
    packets = max((view.deltas.snmp("Ip.InReceives") or 0) - theirs, 0)
    groups = sum(view.deltas.snmp(f"IpExt.In{what}Pkts") or 0 for what in ("Mcast", "Bcast"))
    return moved[0] - packets - moved[2] - groups


def _moved(view: HostView, ifindex: int) -> tuple[int, int, int | None] | None:
    """Frames that came between the samples, those that went and are no ICMPv6, and IPv6 packets among those that came
    (None: not told); None where the interface is in one sample only."""
    deltas = view.deltas
    before = next((row for row in deltas.first.links if row.ifindex == ifindex), None)
    after = next((row for row in deltas.second.links if row.ifindex == ifindex), None)
    if before is None or after is None:
        return None
    sent = after.stats.tx_packets - before.stats.tx_packets - ((after.icmp6_sent or 0) - (before.icmp6_sent or 0))
    told = before.inet6_received is not None and after.inet6_received is not None
    six = max((after.inet6_received or 0) - (before.inet6_received or 0), 0) if told else None
    return after.stats.rx_packets - before.stats.rx_packets, max(sent, 0), six


def _host(
    refused: int | None = 2,
    counted: int | None = 0,
    *,
    rx: int = 2,
    tx: int = 0,
    packets: int = 0,
    own: int = 1,
    every: int = 0,
    **link: Any,
) -> HostBuilder:
    """Two links, the first with the default route; what moved on the second, which has this rp_filter."""
    host = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": own}, **link)
    host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").sysctl("net.ipv4.conf.all.rp_filter", every)
    return _sampled(host.route("default", via="10.0.0.2", dev="eth0"), refused, counted, (rx, tx), packets)


def _sampled(
    host: HostBuilder,
    refused: int | None,
    counted: int | None = 0,
    moved: tuple[int, int] = (2, 0),
    packets: int = 0,
    *,
    gone: tuple[str, int] | None = None,
    six: tuple[int, int | None, int | None] = (0, None, None),
    out: tuple[int, int] = (0, 0),
    eth0: int = 0,
    groups: int = 0,
) -> HostBuilder:
    """``six``: IPv6 packets that this host received, those of eth1, and ICMPv6 messages that it sent by eth1; ``out``:
    IPv4 packets that it sent, and frames of eth0; ``eth0``: what that received, ``groups``: packets to groups."""

    def sample(times: int) -> dict[str, object]:
        stats = Stats64(rx_packets=50 + times * moved[0], tx_packets=20 + times * moved[1])
        snmp = {"Ip.InReceives": 9 + times * packets}
        snmp |= {} if counted is None else {COUNTED: times * counted}
        snmp |= {} if refused is None else {REFUSED: 7 + times * refused}
        snmp["Ip6InReceives"] = 4 + times * six[0]
        of_six = {
            name: None if one is None else 3 + times * one
            for name, one in (("inet6_received", six[1]), ("icmp6_sent", six[2]))
        }
        snmp["Ip.OutRequests"] = 6 + times * out[0]
        snmp["IpExt.InMcastPkts"] = 3 + times * groups
        still = Stats64(rx_packets=900 + times * eth0, tx_packets=100 + times * out[1])
        rows = [(name, still if name == "eth0" else stats) for name in ("eth0", "eth1")]
        links = tuple(
            host.link_counters(name, stats=row, **(of_six if name == "eth1" else {}))
            for name, row in rows
            if (name, times) != gone
        )
        return {"snmp": snmp, "links": links}

    return host.counters(before=sample(0), after=sample(1))


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth1")

    def fires(name: str, why: str, host: HostBuilder, *says: str) -> Example:
        tables = host.build()
        return Example(name=name, why=why, tables=tables, fires=1, subject=about, severity="critical", says=says)

    def silent(name: str, why: str, host: HostBuilder) -> Example:
        return Example(name=name, why=why, tables=host.build())

    yield fires("ARP refused", "sources are refused, the filter counts none", _host(), "rp_filter=2")
    yield fires(
        "strict by all", "all=1 makes every interface strict, so loose takes more than one", _host(own=0, every=1)
    )
    yield fires("and IP packets too", "some were counted, but not all", _host(3, 2))
    lonely = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1}).address("eth1", "10.1.0.1/24")
    yield fires("no default route", "loose would drop it as well", _sampled(lonely, 2), "rp_filter=0")
    yield silent("IP packets only", "the filter counts them: asym-rpfilter-strict-drop", _host(2, 2))
    yield silent("nothing refused", "requests for others on a shared link", _host(0))
    yield silent("not told", "no such counter here", _host(None))
    yield silent("half told", "nor the other one", _host(2, None))
    for times in (0, 1):
        here = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1}).address("eth1", "10.1.0.1/24")
        yield silent(f"not there in sample {times}", "nothing to compare with", _sampled(here, 2, gone=("eth1", times)))
    for prefix, scope in (("2001:db8::1/64", 0), ("169.254.3.4/16", 253)):
        local = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1})
        local.address("eth1", prefix, scope=scope)
        yield silent(f"{prefix} alone", "nobody beyond the link asks for it", _sampled(local, 2))
    yield silent("nothing arrives", "the neighbour is down", _host(rx=0))
    yield silent("as many answers as requests", "the sources were refused in another namespace", _host(rx=2, tx=2))
    yield fires("one more request than answers", "the near miss", _host(rx=3, tx=2))
    for name, rx, tx, six, fired in (
        ("IPv6 by another link", 2, 0, (5, 0, 0), True),
        ("IPv6 by this link", 2, 0, (5, 2, 0), False),
        ("IPv6 by this link, and a request", 3, 0, (5, 2, 0), True),
        ("IPv6, by which link is not told", 2, 0, (5, None, 0), False),
        ("it greets its neighbours by ICMPv6", 2, 3, (0, 0, 3), True),
        ("it answers, and greets", 2, 5, (0, 0, 3), False),
        ("it sent, and how much of it was ICMPv6 is not told", 2, 3, (0, 0, None), False),
        ("ICMPv6 that was not sent in the end", 2, 2, (0, 0, 5), True),
    ):
        host = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1})
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host = _sampled(host, 2, moved=(rx, tx), six=six)
        yield fires(name, "no request, or no answer", host) if fired else silent(name, "nobody is ignored", host)
    failing: dict[str, Any] = {"state": "failed"}
    for name, out, near, hooks, fired in (
        ("its answers to others are IPv4", (4, 0), {}, (), True),
        ("three of four leave by the other link", (4, 3), {}, (), False),
        ("all leave by the other link", (4, 9), {}, (), False),
        ("a neighbour does not answer", (4, 0), failing, (), False),
        ("a filter may take what goes out", (4, 0), {}, ("output",), False),
        ("a filter may take what is on its way out", (4, 0), {}, ("postrouting",), False),
        ("a filter of what comes", (4, 0), {}, ("input",), True),
    ):
        host = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1})
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        host.neighbour("10.1.0.9", dev="eth1", **near)
        for hook in hooks:
            host.nft(nft_table(nft_chain("c", hook=hook, type="filter"), name="f"))
        host = _sampled(host, 2, 0, (6, 4), 4, out=out)
        yield fires(name, "two requests", host) if fired else silent(name, "they may be the answers", host)
    for name, rx, tx, told, warned in (
        ("another link has traffic", 2, 0, {"packets": 9, "eth0": 9}, True),
        ("another link has traffic, one request", 1, 0, {"packets": 9, "eth0": 9}, True),
        ("another link has most of the traffic", 3, 0, {"packets": 9, "eth0": 8}, True),
        ("another link has less traffic", 3, 0, {"packets": 9, "eth0": 6}, False),
        ("another link has traffic, and this one little more than was refused", 3, 0, {"packets": 9, "eth0": 9}, True),
        ("another link has traffic, and this one more than was refused", 4, 0, {"packets": 9, "eth0": 9}, False),
        ("another link has traffic, and this one answers", 2, 1, {"packets": 9, "eth0": 9}, False),
        ("another link has traffic, and groups are spoken to", 2, 0, {"packets": 9, "eth0": 7, "groups": 2}, False),
        ("another link has traffic, and IPv6 is not told", 2, 0, {"packets": 9, "eth0": 9, "six": (0, None, 0)}, False),
        ("another link has traffic, and this one IPv6", 2, 0, {"packets": 9, "eth0": 9, "six": (2, 2, 0)}, False),
    ):
        host = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1})
        host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24").route("default", via="10.0.0.2", dev="eth0")
        tables = _sampled(host, 2, moved=(rx, tx), **({"six": (0, 0, 0)} | told)).build()
        more: dict[str, Any] = {"fires": 1, "subject": about, "severity": "warning"} if warned else {}
        yield Example(name=name, why="what it received was not eth1's", tables=tables, **more)
    yield silent("IP packets arrived", "they explain what was received", _host(rx=2, packets=2))
    vxlan: dict[str, Any] = {"kind": "vxlan"}
    yield fires("tunnel for Ethernet", "each frame came in an IP packet", _host(rx=2, packets=2, **vxlan))
    yield fires("tunnel for Ethernet, one frame", "one is enough", _host(rx=1, packets=1, **vxlan))
    merged = _host(rx=2, tx=2, packets=1, **vxlan)
    yield silent("tunnel for Ethernet, answered", "two frames came in packets that were merged (GRO)", merged)
    yield silent("tunnel for Ethernet, IP in it", "what it carries counts once more", _host(rx=2, packets=4, **vxlan))
    for own, every, name in ((2, 0, "loose"), (0, 0, "off"), (1, 2, "loose by all")):
        yield silent(name, "the larger value counts, and only 1 is strict", _host(own=own, every=every))
    port = (
        HostBuilder()
        .link("br0")
        .link("eth0")
        .link("eth1", master="br0", inet_conf={"rp_filter": 1})
        .address("eth1", "10.1.0.1/24")
    )
    yield silent("bridge port", "ARP is the bridge's", _sampled(port, 2))
    bare = HostBuilder().link("eth0").link("eth1", inet_conf={"rp_filter": 1})
    yield silent("without an address", "nobody asks for one", _sampled(bare, 2))
    point = HostBuilder().link("eth0").link("eth1", flags=0x1 | 0x10000 | 0x80, inet_conf={"rp_filter": 1})
    yield silent("without ARP", "nobody asks there", _sampled(point.address("eth1", "10.1.0.1/24"), 2))


def check_across(view: FleetView) -> Iterator[Draft]:
    struck = view.symptoms.get(RULE.id, {})
    owners: dict[str, list[tuple[FleetHost, Link]]] = defaultdict(list)
    hosts = list(view.reading(*ACROSS.reads)) if struck else []
    for host in hosts:
        links = {link.ifindex: link for link in host.tables.links}
        for row in host.tables.addresses:
            if row.family == "inet" and row.scope == 0 and row.ifindex in links:
                owners[row.local].append((host, links[row.ifindex]))
    lost: dict[tuple[str, str], tuple[FleetHost, Link, list[tuple[FleetHost, Neighbour, str]]]] = {}
    for host in hosts:
        names = {link.ifindex: link.ifname for link in host.tables.links}
        rows = host.tables.neighbours
        for near in rows.rows(np.flatnonzero(rows.state & (NUD_FAILED | NUD_INCOMPLETE) != 0)):
            having = owners[near.dst]
            if len({owner.name for owner, _ in having}) != 1:
                continue
            said = {about.get("ifname") for about in struck.get(having[0][0].name, ())}
            owner, link = next((one for one in having if one[1].ifname in said), having[0])
            strict = effective(link, _everywhere(owner)) == STRICT
            if said & {link.ifname, None} and owner is not host and strict:
                found = lost.setdefault((owner.name, link.ifname), (owner, link, []))
                found[2].append((host, near, names.get(near.ifindex, "")))
    for _, (owner, link, askers) in sorted(lost.items()):
        yield _between(owner, link, askers)


def _everywhere(host: FleetHost) -> int:
    return int(host.tables.sysctls.values.get("net.ipv4.conf.all.rp_filter", "0"))


def _between(owner: FleetHost, link: Link, askers: list[tuple[FleetHost, Neighbour, str]]) -> Draft:
    host, near, dev = askers[0]
    address = near.dst
    names = sorted({one.name for one, _, _ in askers})
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    setting = f"net/ipv4/conf/{link.ifname}/rp_filter"
    return ACROSS.found(
        subject=across((owner.name, *names), subject("link", ifname=link.ifname)),
        message=f"{who} {'finds' if len(names) == 1 else 'find'} nobody at {address}: {link.ifname} of {owner.name}, "
        "which has it, filters strictly and ignores requests from sources that it would answer by another interface",
        evidence=[
            (f"neighbour {address} on {dev} of {host.name}", near.state, "RTM_GETNEIGH"),
            (
                f"rp_filter (all, own) of {link.ifname} on {owner.name}",
                f"{_everywhere(owner)}, {link.inet_conf.get('rp_filter', 0)}",
                "/proc/sys, IFLA_INET_CONF",
            ),
        ],
        confirm=[f"ip neigh show to {address}", f"sysctl net.ipv4.conf.all.rp_filter {quoted(setting)}"],
        fix=f"sysctl -w {quoted(f'{setting}=2')}  # on {owner.name}, 0 where it has no way at all to who asks; or "
        f"arp_announce=2 on {who}",
        breaks=[
            on(owner.name, subject("link", ifname=link.ifname)),
            *(on(one.name, subject("neighbour", dst=each.dst, ifname=name)) for one, each, name in askers),
        ],
    )


def examples_across() -> Iterator[FleetExample]:
    def gateway(own: int = 1) -> HostBuilder:
        return HostBuilder().link("eth0", inet_conf={"rp_filter": own}).address("eth0", "192.0.2.1/24")

    def edge(state: str, dst: str = "192.0.2.1") -> HostBuilder:
        return HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").neighbour(dst, dev="eth0", state=state)

    def case(name: str, why: str, fires: int, *hosts: HostBuilder, struck: str = "fra-a1") -> FleetExample:
        of = {f"fra-a{number}": host.build() for number, host in enumerate(hosts, 1)}
        return FleetExample(name=name, why=why, hosts=of, symptoms={RULE.id: frozenset({struck})}, fires=fires)

    yield case("the neighbour's entry failed", "the plain fault", 1, gateway(), edge("failed"))
    yield case("it still asks", "the same", 1, gateway(), edge("incomplete"))
    yield case("two of them", "one cause", 1, gateway(), edge("failed"), edge("failed"))
    unnumbered = gateway().address("lo", "192.0.2.1/32")
    yield case("an unnumbered link", "lo has the address as well", 1, unnumbered, edge("failed"))
    yield case("it was answered", "healthy", 0, gateway(), edge("stale"))
    yield case("loose", "it answers", 0, gateway(2), edge("failed"))
    yield case("another address", "nobody of the fleet has it", 0, gateway(), edge("failed", "192.0.2.9"))
    yield case("two hosts have the address", "who was asked?", 0, gateway(), edge("failed"), gateway())
    yield case("nothing was refused there", "the link may be cut", 0, gateway(), edge("failed"), struck="fra-a9")
    yield case("its own entry", "it asks itself", 0, gateway().neighbour("192.0.2.1", dev="eth0", state="failed"))
