"""What it checks
  IPv4: an interface drops packets that must arrive on it, because its reverse path filter is strict (rp_filter 1, the
  larger of "all" and its own) and the way back to their source leaves by another interface. Which packets must arrive
  is read from routes: a table, a mark or a bound socket sends by the interface, so the answers come in there; or the
  filter's counter moved while only this interface received enough packets to explain it, or alone received just as many
  and sent nothing while the others answered theirs, or while a BGP session over it
  announces prefixes, has brought routes that others beat, and the default route is elsewhere. A rule for the
  interface's own address helps that one only: where the counter moves, services' addresses on lo are asked for too.

Why it matters
  tcpdump shows the packets arriving, and no program ever gets them: no error, no ICMP, not even in the firewall's
  counters. Answers to what went out over a second uplink are lost, and so is what others send to that uplink's
  address. ARP requests from such sources are dropped too, so the neighbour may not even find this host.

Confirm
  sysctl net.ipv4.conf.all.rp_filter net/ipv4/conf/IFNAME/rp_filter
  ip route get OWN_ADDRESS from SOURCE iif IFNAME      (an error where the filter drops: EXDEV, newer kernels EINVAL)
  nstat -asz TcpExtIPReversePathFilter

Fix
  sysctl -w net/ipv4/conf/IFNAME/rp_filter=2 makes the filter loose: any source that has a route at all passes, on
  this interface only; nothing else changes. Or make the ways symmetric: ip rule add from OWN_ADDRESS lookup TABLE, so
  that answers leave by the uplink that was asked; new packets of open connections move with it.

Not flagged
  all=2 with an interface at 1 (loose, the larger value counts). Uplinks with a rule for their own address (but for
  services on lo, see above), ECMP routes with a next hop on the interface, rules by destination, by incoming interface
  or by port: there the way back is found. src_valid_mark with a mark that the firewall may restore. A standby route of
  a higher metric, and a network that no route leads through (info, where the filter has ever dropped anything), and
  drops that cannot be laid to one interface: spoofed packets from the Internet move the counter on any strict host,
  which is what the filter is for. Guests' taps and bridges: there it is wanted (not on a bridge by which a route leads
  on to a gateway that is no machine's). Interfaces in a VRF. Routes of the kernel itself.

References
  Documentation/networking/ip-sysctl.rst rp_filter; net/ipv4/fib_frontend.c __fib_validate_source(); RFC 3704 section
  2.2; https://github.com/cilium/cilium/issues/10645
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from netdiag.index.guests import sides, switched, with_gateway
from netdiag.index.reversepath import STRICT, effective
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Subject, subject
from netdiag.model.link import Link
from netdiag.rules.arrivals import Arrivals, Dropped, announced, led_elsewhere, overruled
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_uplinks import (
    COUNTER,
    address_examples,
    case,
    counter_examples,
    received_examples,
    sampled,
    selector_examples,
    two_uplinks,
)
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="asym-rpfilter-strict-drop",
    title="a strict reverse path filter drops what must arrive on an interface",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "sysctls", "counters"),
    consults=("bird",),
    explains=(
        "rpfilter-strict-drops-arp",
        "rpfilter-wildcard-reapplied",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "wg-handshake-stale",
        "wg-never-handshaked",
    ),
    family="inet",
)
FEWEST = 4
"""Fewer drops between the samples are laid to no interface by what it sent."""
ONE_SIDED = (
    "it received as many packets as were dropped and answered none, while the others answered what they received"
)
MOST_LINKS = 64
MOST_ASKED = 6


def check(view: HostView) -> Iterator[Draft]:
    everywhere = view.sysctl_int("net.ipv4.conf.all.rp_filter") or 0
    strict = [link for link in view.links if _routed(link) and effective(link, everywhere) == STRICT]
    if not strict:
        return
    moved = view.moved(COUNTER) or 0
    able, perhaps = _receivers(view, strict, moved), list[Subject]()
    meant = _guests(view, strict)
    mute = _mute(view, able, moved)
    suspect = able[0] if len(able) == 1 and able[0] not in meant else mute if mute not in meant else None
    arrivals = Arrivals(view, strict)
    onward = arrivals.leading_on()
    asked = [link for link in strict if link.ifindex in onward][:MOST_LINKS]
    found = {link.ifname: sorted(arrivals.expected(link), key=_standby) for link in asked}
    certain = [dropped[0] for dropped in found.values() if dropped and not dropped[0].standby]
    for dropped in certain:
        yield _draft(view, dropped, everywhere, moved)
    if certain:
        return
    standby = [dropped[0] for dropped in found.values() if dropped and view.latest.snmp.get(COUNTER)]
    if suspect is not None:
        perhaps = list(led_elsewhere(view, suspect))
        standby = found.get(suspect.ifname, [])[:1] or [*_unexplained(view, arrivals, suspect)][:1]
        if len(able) > 1:
            standby = [replace(lost, why=ONE_SIDED) for lost in standby]
    elif not standby:
        standby = [*_called_in(view, arrivals, able)][:1]
    if not standby and not moved:
        quiet = [link for link in strict if link.ifindex not in onward and link not in meant]
        standby = [*_dropped_before(view, arrivals, quiet)][:1]
    for dropped in standby:
        # Where several interfaces received enough, one that BGP calls the world in by is where it came in.
        named = dropped.link is suspect or announced(view, dropped.link)
        yield _draft(view, dropped, everywhere, moved if named else 0, perhaps)


def _guests(view: HostView, links: list[Link]) -> list[Link]:
    """Taps, and bridges by which no route leads on and that have no card among their ports."""
    exits = sides(view.stack, view.routes("inet"), view.addresses).exits
    taps = [link for link in links if link.kind == "tun" and link.info.get("type") != "tun"]
    bridges = [link for link in links if link.kind == "bridge" and link not in exits]
    return [*taps, *(link for link in bridges if not switched(view.stack, link))]


def _routed(link: Link) -> bool:
    """Whether the interface carries IP packets of its own, outside any VRF."""
    return link.lower_up and not link.loopback and link.master is None and link.kind != "vrf"


def _standby(dropped: Dropped) -> bool:
    return dropped.standby


def _receivers(view: HostView, strict: list[Link], moved: int) -> list[Link]:
    """The strict interfaces that received at least as many packets between the samples as the filter dropped."""
    before = {row.ifindex: row.stats.rx_packets for row in view.counters.links}
    received = {row.ifindex: row.stats.rx_packets - before.get(row.ifindex, 0) for row in view.latest.links}
    return [link for link in strict if moved and received.get(link.ifindex, 0) >= moved]


def _mute(view: HostView, able: list[Link], moved: int) -> Link | None:
    """Of several that received enough the one that received little else and sent hardly anything, while each of the
    others sent so much that what the filter dropped cannot have come by it alone."""
    before, now = ({row.ifindex: row.stats for row in one.links} for one in (view.counters, view.latest))
    slack, rates = max(1, moved // 4), dict[int, tuple[int, int]]()
    for link in able:
        old, new = before.get(link.ifindex), now.get(link.ifindex)
        if old is None or new is None:
            return None
        rates[link.ifindex] = new.rx_packets - old.rx_packets, new.tx_packets - old.tx_packets
    if moved < FEWEST or len(able) < 2:
        return None
    quiet = [link for link in able if rates[link.ifindex][0] <= moved + slack and rates[link.ifindex][1] <= slack]
    others = [rates[link.ifindex] for link in able if link not in quiet]
    return quiet[0] if len(quiet) == 1 and all(came - went < moved for came, went in others) else None


def _has_rivals(view: HostView, name: str) -> bool:
    """Whether the session brought routes that others beat. One to a neighbour who sends for his own networks only, as
    at an exchange, has none as a rule: what comes by it is answered by it."""
    rows = (row for daemon in view.bird.daemons for row in daemon.protocols if row.name == name)
    return any((one.imported or 0) > (one.preferred or 0) for row in rows for one in row.channels if one.name == "ipv4")


def _called_in(view: HostView, arrivals: Arrivals, able: list[Link]) -> Iterator[Dropped]:
    """Where a BGP session calls the world in by an interface by which no answer to it leaves: the first of those whose
    sources go by a default route elsewhere. On the interface of that route the filter lets in all but inner ones."""
    for link in able:
        name = announced(view, link)
        for lost in _unexplained(view, arrivals, link) if name and _has_rivals(view, name) else ():
            if not lost.way.prefixlen:
                yield replace(lost, why=f"BGP session {name} calls them in by it, and the filter drops some now")


def _dropped_before(view: HostView, arrivals: Arrivals, links: list[Link]) -> Iterator[Dropped]:
    """Interfaces of networks that no route leads through, which may have dropped what the filter counted so far."""
    total, received = view.latest.snmp.get(COUNTER, 0), {row.ifindex: row.stats.rx_packets for row in view.latest.links}
    for link in links[:MOST_LINKS] if total else ():
        if received.get(link.ifindex, 0) >= total:
            why = f"the filter dropped {total} packets since boot, which may have come by it"
            yield from (replace(lost, why=why) for lost in _unexplained(view, arrivals, link))


def _unexplained(view: HostView, arrivals: Arrivals, link: Link) -> Iterator[Dropped]:
    """Drops that no route over the interface speaks for: who is reached over other interfaces sends in by this one,
    to its own address or, where a rule brings the answers of that one back, to a service's."""
    own = arrivals.own(link)
    routes = view.routes("inet")
    if own is None:
        return
    onward = view.route_rows("inet", with_gateway(routes).nonzero()[0][:MOST_ASKED].tolist())
    why = "of all strict interfaces only this one received as many packets as were dropped"
    for address in (own, *_services(view)):
        for row in onward:
            # The interface's own subnet passes, of course: it says nothing about the route's prefix.
            lost = arrivals.dropped(link, specimens(row.dst), address, length=int(row.dst.rpartition("/")[2]))
            if lost is not None:
                yield Dropped(link=link, source=lost[0], address=address, way=lost[1], why=why, standby=True)


def _services(view: HostView) -> list[str]:
    """Addresses that rest on lo or a dummy: packets for them may come in by any interface."""
    rows = [row for row in view.addresses if row.family == "inet" and row.scope == 0]
    held = [row.local for row in rows if (link := view.link(row.ifindex)) and (link.loopback or link.kind == "dummy")]
    return held[:MOST_ASKED]


def _draft(view: HostView, dropped: Dropped, everywhere: int, moved: int, perhaps: Iterable[Subject] = ()) -> Draft:
    """``perhaps``: routes, one of which may be why."""
    link, ifname = dropped.link, quoted(dropped.link.ifname)
    own, total = link.inet_conf.get("rp_filter", 0), view.latest.snmp.get(COUNTER, 0)
    hops = ", ".join(sorted({view.ifname(hop.oif) for hop in dropped.way.hops if hop.oif}))
    back = f"leaves by {hops}" if hops else f"does not exist ({dropped.way.error})"
    setting = f"net/ipv4/conf/{link.ifname}/rp_filter"
    counted = [("drops by the filter since boot, all interfaces", total, f"/proc/self/net/netstat {COUNTER}")]
    return RULE.found(
        subject=subject("link", ifname=link.ifname),
        message=f"{link.ifname} drops packets to {dropped.address} from sources such as {dropped.source}: its reverse "
        f"path filter is strict and the way back {back}; {dropped.why}",
        severity="critical" if moved and not dropped.standby else "warning",
        confidence="possible" if dropped.standby and not moved else "likely",
        evidence=[
            ("rp_filter (all, own)", f"{everywhere}, {own}", f"RTM_GETLINK {link.ifname} IFLA_INET_CONF, /proc/sys"),
            (f"way back to {dropped.source}", hops or dropped.way.error, "policy rules and tables as read"),
            *(
                [("drops by the filter between the samples", moved, f"/proc/self/net/netstat {COUNTER}")]
                if moved
                else []
            ),
            *(counted if total else []),
        ],
        confirm=[
            f"ip route get {dropped.address} from {dropped.source} iif {ifname}",
            f"sysctl net.ipv4.conf.all.rp_filter {quoted(setting)}",
            "nstat -asz TcpExtIPReversePathFilter",
        ],
        fix=f"sysctl -w {quoted(setting + '=2')}",
        touches=[
            *(subject("link", ifname=name) for name in hops.split(", ") if name),
            *overruled(view, dropped),
            *perhaps,
        ],
        breaks=[subject("address", address=dropped.address, ifname=link.ifname)],
    )


def examples() -> Iterator[Example]:
    about = subject("link", ifname="eth1")
    marked = two_uplinks().rule(100, table=101, fwmark=1)
    yield Example(
        name="answers to marked packets",
        why="they come back unmarked, and the unmarked way leaves by eth0",
        tables=marked.build(),
        fires=1,
        subject=about,
        severity="warning",
        confidence="likely",
        says=("to 10.1.0.1 from", "way back leaves by eth0", "rule 100 (from all fwmark 0x1 lookup 101) sends by it"),
    )
    counted = sampled(two_uplinks().rule(100, table=101, fwmark=1), 3, eth0=9)
    yield Example(
        name="answers to marked packets, dropped now",
        why="the counter moves",
        tables=counted.build(),
        fires=1,
        subject=about,
        severity="critical",
    )
    yield Example(
        name="strict by all",
        why="all=1 makes every interface strict",
        tables=two_uplinks(everywhere=1, own=0).rule(100, table=101, fwmark=1).build(),
        fires=1,
        subject=about,
    )
    for everywhere, own, name in ((2, 1, "loose by all"), (1, 2, "loose by itself"), (0, 0, "off"), (0, 2, "loose")):
        yield case(
            name,
            "the larger value counts, and only 1 is strict",
            two_uplinks(everywhere=everywhere, own=own).rule(100, table=101, fwmark=1),
        )
    yield Example(
        name="table without a rule",
        why="whoever talks to the second uplink's address gets no answer",
        tables=two_uplinks().build(),
        fires=1,
        subject=about,
        severity="warning",
        says=("to 10.1.0.1 from", "0.0.0.0/0 in table 101 goes by it, and no rule leads there any more"),
    )
    yield case(
        "rule for the own address",
        "multi-homing as it should be: the way back leaves by eth1",
        two_uplinks().rule(100, table=101, src="10.1.0.1", src_len=32),
    )
    yield case(
        "rule for another's address",
        "the own address still leaves by eth0, but nothing says that it is used",
        two_uplinks().rule(100, table=101, src="10.1.0.7", src_len=32),
    )
    wrong = (
        two_uplinks()
        .route("default", via="10.0.0.2", dev="eth0", table=102)
        .rule(90, table=102, src="10.1.0.1", src_len=32)
    )
    yield Example(
        name="rule for the own address, to the wrong table",
        why="table 101 sends marked packets out by eth1, answers leave by eth0",
        tables=wrong.rule(100, table=101, fwmark=1).build(),
        fires=1,
        subject=about,
    )
    yield from selector_examples()
    yield from address_examples()
    yield from _route_examples()
    yield from counter_examples()
    yield from received_examples()


def _route_examples() -> Iterator[Example]:
    def strict() -> HostBuilder:
        host = HostBuilder().link("eth0", inet_conf={"rp_filter": 1}).link("eth1", inet_conf={"rp_filter": 1})
        return host.address("eth0", "10.0.0.1/24").address("eth1", "10.1.0.1/24")

    ecmp = strict()
    hops = [ecmp.hop("eth0", "10.0.0.2"), ecmp.hop("eth1", "10.1.0.2")]
    yield case("ECMP", "any next hop on the interface will do", ecmp.route("default", hops=hops))
    several = strict()
    hops = [several.hop("eth1", "10.1.0.2"), several.hop("eth1", "10.1.0.3")]
    several.route("default", via="10.0.0.2", dev="eth0").route("default", hops=hops, table=101)
    yield case("two gateways for marked packets", "both over eth1", several.rule(100, table=101, fwmark=1), 1)
    both = strict()
    hops = [both.hop("eth0", "10.0.0.2"), both.hop("eth1", "10.1.0.2")]
    both.route("default", hops=hops).route("default", via="10.1.0.2", dev="eth1", table=101)
    yield case("table without a rule beside ECMP", "the way back may leave by eth1", both)
    split = strict().route("default", via="10.0.0.2", dev="eth0").route("10.9.0.0/16", via="10.1.0.2", dev="eth1")
    yield case("router with a strict filter", "each prefix has one way", split)
    metric = strict().route("default", via="10.0.0.2", dev="eth0", priority=100)
    metric.route("default", via="10.1.0.2", dev="eth1", priority=200)
    yield case("standby uplink", "nothing goes by it until the first one fails", metric)
    server = strict().route("default", via="10.0.0.2", dev="eth0")
    yield case("second network", "only its own subnet is behind it", server)
    down = two_uplinks(own=0).link("eth2", up=False, inet_conf={"rp_filter": 1})
    down.route("default", via="10.2.0.2", dev="eth2", table=102)
    yield case("interface that is down", "nothing arrives on it", down)
    member = HostBuilder().link("blue", kind="vrf", info={"table": 101})
    member.link("eth1", master="blue", inet_conf={"rp_filter": 1}).address("eth1", "10.1.0.1/24")
    member.link("eth0").address("eth0", "10.0.0.1/24").route("default", via="10.0.0.2", dev="eth0")
    yield case(
        "member of a VRF",
        "the way back is looked up in the VRF",
        member.route("default", via="10.1.0.2", dev="eth1", table=101),
    )
    yield case("rule of IPv6", "it leads to another table 101", two_uplinks().rule(100, table=101, family="inet6"), 1)
    gone = two_uplinks().rule(100, table=101, oif="ppp0", oif_detached=True)
    yield case("rule for an interface that is gone", "it leads nobody to table 101", gone, 1)
    for name, fields in (("down", {"up": False}), ("without carrier", {"carrier": False})):
        dark = two_uplinks(own=0).link("eth2", inet_conf={"rp_filter": 1}, **fields).address("eth2", "10.2.0.1/24")
        dark.route("default", via="10.2.0.2", dev="eth2", table=102)
        dark.rule(100, table=101, src="10.1.0.1", src_len=32).rule(101, table=102, fwmark=1)
        yield case(f"interface {name}", "nothing arrives on it", dark)
    near = two_uplinks().address("eth1", "198.51.100.9/24").address("eth1", "203.0.113.9/24")
    yield Example(
        name="more subnets on the second uplink",
        why="their own sources pass, those from beyond still do not",
        tables=near.build(),
        fires=1,
        subject=subject("link", ifname="eth1"),
    )
    beside = two_uplinks().address("eth1", "198.51.100.9/24").rule(100, table=101, fwmark=1)
    yield case("another subnet on it, and marked ones", "its neighbours pass, those from beyond do not", beside, 1)
    unread = two_uplinks().rule(90, table=101, src="10.1.0.1", src_len=32, unknown=1).rule(100, table=101, fwmark=1)
    yield case("a rule for its own address that is not understood", "it may lead the answers back", unread)
    for length, fires in ((31, 1), (32, 0)):
        one = (
            two_uplinks()
            .without_routes(table=101)
            .route(f"198.51.100.8/{length}", via="10.1.0.2", dev="eth1", table=101)
        )
        yield case(f"a route of /{length} for marked ones", "a neighbour", one.rule(100, table=101, fwmark=1), fires)
    refused = two_uplinks().rule(100, table=102, src="10.1.0.1", src_len=32)
    refused.route("default", via="10.1.0.2", dev="eth1", table=102).route(
        "198.51.100.0/24", type="blackhole", table=102
    )
    yield case("one network is refused", "what may come back does", refused)
    unsure = two_uplinks().without_routes(table=254).rule(100, table=101, unknown=1, invert=True)
    yield case("a rule that is not understood", "it may lead there", unsure)
    shared = strict().address("eth1", "10.0.0.9/24").route("default", via="10.0.0.2", dev="eth0")
    yield case("shared subnet", "overlap-subnet-two-ifaces speaks about it", shared)
    yield case("shared subnet, drops before", "who is further away may have come by it too", sampled(shared, 0), 1)
