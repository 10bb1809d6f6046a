"""What it checks
  New packets to the UDP port of a WireGuard device are dropped or rejected at ingress or input, on every interface by
  which its peers come, while the device has peers that can only begin by themselves: their endpoint is not known
  here. Or this very port is closed, while the one beside it is open, or one near it (or near 51820) at which nothing
  listens; or the filter lets the answers of no peer in either, or those of some; or the port was open at the time of
  the baseline: then it is a warning, and critical where a peer has been silent for three minutes. Closed for one
  family alone is a warning as well, where the other one has no filter at all: nobody opened the port there; and so is
  closed on the interfaces by which peers came in lately that nobody here calls, where more of them are to come.

Why it matters
  WireGuard is silent, so nobody notices a closed port: peers that this host speaks to first work (their answers belong
  to a connection that is known), all others never get through, and those that work fail after both were quiet for a
  while. The kernel does not exempt the port.

Confirm
  wg show IFNAME listen-port
  nft -a list chain FAMILY TABLE CHAIN
  tcpdump -ni any -c 3 udp dst port PORT       (packets arrive, and nothing answers)

Fix
  nft insert rule FAMILY TABLE CHAIN udp dport PORT accept, and the same in the ruleset's file. It opens the port to
  everybody; WireGuard answers nobody without a key.

Not flagged
  A port that may be reached by some interface, from some source, through a set, a map or a mark: the filter is asked
  with the packet, not searched for the number. Clients, whose peers all have an endpoint, behind a filter that lets
  nothing in: they begin themselves; it is info where such a peer has not shaken hands lately, a warning where it has
  single addresses and no keepalive, as the members of a mesh. One family closed, where the peers that were ever heard
  came by the other one, or where nothing usual (SSH, DNS, the web, BGP) comes in by that family. Devices that are down.

References
  drivers/net/wireguard/socket.c wg_socket_init(); wireguard.com "Conceptual Overview"; nft(8)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.finding import Confidence, Draft, Severity
from netdiag.model.link import Link
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    CT_DIRECTION,
    chain,
    high_port,
    iif,
    iifname,
    in_set,
    l4proto,
    plain,
    port,
    port_set,
    rule,
    same,
    table,
    verdict,
)
from netdiag.rules.build_wireguard import WireguardBuilder, wg_host, wg_input
from netdiag.rules.doorcases import beside_cases, half_closed_cases, met_cases
from netdiag.rules.nftplaces import chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.nftspecimen import meant
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguarddoors import (
    MOST_ASKED,
    cards,
    deaf,
    doors,
    half_closed,
    let_in,
    met_by,
    singled_out,
    why_closed,
)
from netdiag.rules.wireguardpeers import (
    REJECT_AFTER_TIME,
    device_subject,
    devices,
    endpoint_word,
    peer_subject,
    query_to,
    source,
)

RULE = Rule(
    id="wg-listen-port-firewalled",
    title="the port of a WireGuard device is closed by the host's own filter",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "sysctls", "wireguard", "nft"),
    consults=("baseline", "sockets"),
    explains=(
        "wg-never-handshaked",
        "wg-handshake-stale",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "bgp-bfd-down",
    ),
)
FAMILIES = ("inet", "inet6")
NAMES = {"inet": "IPv4", "inet6": "IPv6"}


def check(view: HostView) -> Iterator[Draft]:
    for device, link in devices(view):
        if not link.up or not device.listen_port or not device.peers:
            continue
        waiting = [peer for peer in device.peers if peer.endpoint is None]
        everywhere = _stop(view, device, {family: cards(view, family) for family in FAMILIES})
        here = _stop(view, device, {family: doors(view, device, family) for family in FAMILIES})
        if everywhere is not None:
            yield from _judged(view, device, everywhere)
        elif here is not None and (_by_name(device, here) or singled_out(view, device) or deaf(view, device)):
            yield from _judged(view, device, here)  # open elsewhere: a policy of a client would be no fault
        elif unheard := [(peer, stop) for peer in device.peers[:MOST_ASKED] if (stop := _unheard(view, device, peer))]:
            lost = [peer for peer, _ in unheard]
            quiet = any(not _fresh(view, peer) for peer in lost)
            more = f" and {len(lost) - 1} more" if lost[1:] else ""
            word = f"no answer of {endpoint_word(lost[0])}{more} comes in"
            yield _finding(device, unheard[0][1], lost, word, ("critical" if quiet else "warning", "likely"))
        elif waiting and (stop := _stop(view, device, {family: met_by(view, device, family) for family in FAMILIES})):
            word = f"{_waited_for(waiting)}, and those that did came in where it is closed"
            yield _finding(device, stop, waiting, word, ("warning", "likely"))
        elif waiting and (half := half_closed(view, device)) is not None:
            word = f"{_waited_for(waiting)}, and {NAMES[half[0]]} is what the filter is for"
            yield _finding(device, half[1], waiting, word, ("warning", "likely"))


def _waited_for(peers: list[WireguardPeer]) -> str:
    """Peers of which no endpoint is known: this host cannot call them."""
    return f"{len(peers)} peer{' is' if len(peers) == 1 else 's are'} without an endpoint here and must begin"


def _unheard(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> Possible | None:
    """What drops every answer of this peer, though others may be heard. It answers by the way to it where it is on
    the link, or has been silent; who is further away and was heard may come by another interface."""
    query = query_to(device, peer)
    hops = view.lookup(query).hops if query is not None else ()
    if query is None or not hops:
        return None
    far = any(hop.gateway is not None for hop in hops) and _fresh(view, peer)
    ways = [link for hop in hops if (link := view.link(hop.oif))]
    asked = cards(view, query.family) if far else ways
    found = [let_in(view, device, link, query.family, answers=query) for link in asked]
    return found[0].blocker if found and all(one.passes == "no" for one in found) else None


def _stop(view: HostView, device: WireguardDevice, ways: dict[str, list[Link]]) -> Possible | None:
    """What stops the port, where something does on every one of these interfaces: in the family of the peers' endpoints
    if that is told."""
    stops: dict[str, Possible | None] = {}
    for family, links in ways.items():
        for link in links:
            found = let_in(view, device, link, family)
            if found.passes != "no":
                return None
            stops[family] = found.blocker
    spoken = [query.family for peer in device.peers if (query := query_to(device, peer)) is not None]
    return next((stops[family] for family in (*spoken, "inet6", "inet") if family in stops), None)


def _judged(view: HostView, device: WireguardDevice, stop: Possible) -> Iterator[Draft]:
    waiting = [peer for peer in device.peers if peer.endpoint is None]
    quiet = [peer for peer in device.peers if not _fresh(view, peer)]
    if waiting:
        yield _finding(device, stop, waiting, _waited_for(waiting), ("critical", "likely"))
    elif why := why_closed(view, device):
        weight: tuple[Severity, Confidence] = ("critical" if quiet else "warning", "likely")
        yield _finding(device, stop, quiet or list(device.peers), f"peers cannot begin, and {why}", weight)
    elif _by_name(device, stop) or any(_leaf(peer) for peer in quiet):
        silent = f"{len(quiet)} peer{' that was' if len(quiet) == 1 else 's that were'} not heard lately cannot begin"
        word = silent if quiet else "peers can only answer"
        yield _finding(device, stop, quiet, word, ("warning", "likely"))
    elif quiet:
        yield _finding(device, stop, quiet, "peers cannot begin", ("info", "possible"))


def _by_name(device: WireguardDevice, stop: Possible) -> bool:
    """Whether a rule names the port to drop it: no policy of a client does that."""
    return stop.at.rule is not None and meant(stop.at.table, stop.at.rule).fields.get("dport") == device.listen_port


def _leaf(peer: WireguardPeer) -> bool:
    """A peer with single addresses, whom nothing here keeps alive: it is expected to begin when it wants something."""
    single = all(prefix.endswith(("/32", "/128")) for prefix in peer.allowed_ips)
    return bool(peer.allowed_ips) and single and not peer.persistent_keepalive


def _fresh(view: HostView, peer: WireguardPeer) -> bool:
    return peer.latest_handshake is not None and view.wireguard.at - peer.latest_handshake <= REJECT_AFTER_TIME


def _finding(
    device: WireguardDevice, stop: Possible, peers: list[WireguardPeer], who: str, weight: tuple[Severity, Confidence]
) -> Draft:
    at, number = stop.at, device.listen_port or 0
    return RULE.found(
        subject=device_subject(device),
        message=f"new packets to UDP port {number} of {device.ifname} are stopped by {place_words(at)}: {who}",
        evidence=[
            ("listen port", number, source(device, "WGDEVICE_A_LISTEN_PORT", "listen_port")),
            fact(stop),
            ("peers without an endpoint", sum(peer.endpoint is None for peer in device.peers), "WGPEER_A_ENDPOINT"),
        ],
        confirm=[f"wg show {quoted(device.ifname)} listen-port", list_chain(at.table, at.chain)],
        fix=inserts(at.table, at.chain.name, [f"udp dport {number} accept"], [f"-p udp --dport {number} -j ACCEPT"]),
        severity=weight[0],
        confidence=weight[1],
        touches=[chain_subject(at.table, at.chain)],
        breaks=[peer_subject(device, peer) for peer in peers],
    )


def _at_card() -> Any:
    """The port is dropped where it comes in by eth0."""
    return wg_input(rule(iifname("eth0"), port(17, 51820), verdict("drop")), policy="accept")


def _doors_examples(case: Any) -> Iterator[Example]:
    """Which interfaces count: those with an address of the family by which somebody may come."""
    closed = rule(port(17, 51820), verdict("drop"))
    v4 = wg_input(closed, policy="accept", family="ip")
    yield case("closed for IPv4, which is all there is", "IPv6 is open to nobody", wg_host(), v4, 1)
    yield from half_closed_cases(case)
    yield from met_cases(case)
    local = wg_host().address("eth0", "fe80::1/64")
    yield case("and a link-local address", "no peer comes from the link", local, v4, 1, severity="critical")
    nested = wg_host(endpoint="198.51.100.9", age=200).wireguard("wg1").address("wg1", "10.9.0.1/24")
    nested.route("198.51.100.9/32", dev="wg1").address("eth0", "2001:db8::1/64")
    yield case("closed for IPv4, its peer comes through a tunnel", "IPv6 does not help it", nested, v4, 1)
    opens = wg_input(rule(iifname("eth1"), verdict("accept")), rule(iifname("lo"), verdict("accept")))
    for name, why, link, address in (
        ("opened on a card that is down", "nothing comes by it", {"up": False}, "203.0.113.1/24"),
        ("opened on a card without an address", "a port of a bridge, it may be", {}, None),
    ):
        two = wg_host().link("eth1", **link)
        yield case(name, why, two.address("eth1", address) if address else two, opens, 1)
    pods = wg_host().wg_peer("wg0", "b", endpoint=None)
    pods.link("cni0", kind="bridge").address("cni0", "10.88.0.1/24")
    pods.link("veth1", kind="veth", master="cni0", link_netnsid=0)
    yield case("open on the bridge of the pods", "no peer comes from there", pods, _at_card(), 1)
    alone = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint=None)
    alone.link("cni0", kind="bridge").address("cni0", "10.88.0.1/24")
    alone.link("veth1", kind="veth", master="cni0", link_netnsid=0)
    yield case("open on the pods' bridge, which is all there is", "a peer may be a pod", alone, _at_card())
    yield case("and closed there too", "no peer can come", alone, wg_input(), 1)
    service = wg_host().address("lo", "203.0.113.9/32", scope=0)
    yield case("a service address on lo", "from there come only this host's own", service, wg_input(), 1)

    def two_cards(*, age: float = 200, way6: bool = True) -> Any:
        """A card for each family, and a peer that comes by eth0."""
        host = wg_host(endpoint="2001:db8:9::9" if way6 else "198.51.100.1", age=age)
        host.address("eth0", "2001:db8::1/64").link("eth1").address("eth1", "203.0.113.1/24")
        host.route("default", via="192.0.2.9", dev="eth0")
        return host.route("default", via="2001:db8::9", dev="eth0") if way6 else host

    by6 = wg_input(closed, policy="accept", family="ip6")
    yield case(
        "closed for IPv6, by which all peers come", "IPv4 matters to nobody", two_cards(), by6, 1, severity="critical"
    )
    lost = two_cards().without_routes(table=254, family="inet6")
    yield case("closed for IPv6, and no way to the peers", "they may come by IPv4", lost, by6)
    ban = wg_input(rule(iifname("eth0"), in_set(17, "banned"), verdict("drop")), policy="accept",
                 sets=(port_set("banned", 1194, 51820),))  # fmt: skip
    yield case(
        "closed on eth0 by a set",
        "this port among others, and not the next",
        two_cards(way6=False),
        ban,
        1,
        severity="critical",
    )
    whole = wg_input(rule(iifname("eth0"), port(17, 51820), verdict("drop")), rule(iifname("eth0"), verdict("drop")),
                   policy="accept")  # fmt: skip
    yield case("closed on eth0 by number, and all else there", "somebody meant it", two_cards(way6=False), whole, 1,
               severity="warning")  # fmt: skip
    span = wg_input(policy="accept", family="ip")
    ports = rule(iifname("eth0"), l4proto(17), high_port(50000), verdict("drop"))
    heard = table(chain("input", *span.chains[0].rules, ports, hook="input", policy="accept"))
    deaf = table(chain("input", ports, hook="input", policy="accept"))
    yield case("high ports closed on eth0, answers pass", "it begins itself", two_cards(way6=False), heard)
    back = rule((CT_DIRECTION, same("01")), verdict("accept"))
    heard = table(chain("input", back, ports, hook="input", policy="accept"))
    yield case("high ports closed, answers pass by their direction", "the same", two_cards(way6=False), heard)
    raw = table(chain("pre", rule(iifname("eth0"), port(17, 51820), verdict("drop")), hook="prerouting", priority=-300),
                family="ip6")  # fmt: skip
    for name, far, age, fires in (
        ("on the link", False, 20, 1),
        ("further away, heard lately", True, 20, 0),
        ("further away and silent", True, 200, 1),
    ):
        some = two_cards(way6=False).wg_peer("wg0", "c", endpoint="2001:db8:9::9" if far else "2001:db8::7", age=age)
        some.address("eth1", "2001:db8:1::1/64").route("default", via="2001:db8::9", dev="eth0")
        why = "it may come by eth1" if not fires else "its answers are dropped, the other peer's are not"
        heard_of = ("no answer of [2001:db8:", " comes in") if fires else ()
        yield case(f"closed on eth0 for IPv6, a peer {name}", why, some, raw, fires, says=heard_of)
    for age, weight in ((200, "critical"), (20, "warning")):
        closed_ = two_cards(way6=False, age=age)
        says = ("no answer comes in",)
        name, why = f"high ports closed on eth0, answers too, {weight}", "neither side can begin"
        yield case(name, why, closed_, deaf, 1, severity=weight, confidence="likely", says=says)
    several = two_cards(way6=False).wg_peer("wg0", "b", endpoint="203.0.113.9", age=200)
    yield case("answers of one peer pass", "the other is not heard", several, deaf, 1, severity="critical",
               says=("no answer of 198.51.100.1:51820 comes in",))  # fmt: skip
    nothing = table(chain("input", rule(iifname("lo"), verdict("accept")), hook="input", policy="drop"))
    yield case("nothing comes in at all", "a client whose answers are lost", wg_host(endpoint="192.0.2.9", age=200),
               nothing, 1, severity="critical", says=("no answer comes in",))  # fmt: skip
    lost = wg_host(endpoint="198.51.100.9", age=200)
    yield case("nothing comes in, and no way to the peer", "another fault", lost, nothing, 1,
               severity="warning", says=("not heard lately",))  # fmt: skip
    any_ = two_cards(way6=False).wg_peer("wg0", "b", endpoint=None)
    yield case("closed on eth0, one peer comes from anywhere", "by eth1 it can", any_, whole)
    mixed = two_cards(way6=False).wg_peer("wg0", "b", endpoint="2001:db8:7::9", age=200)
    mixed.address("eth1", "2001:db8:7::1/64")
    both = table(
        chain("input", rule(iifname("eth0"), port(17, 51820), verdict("drop")), hook="input", policy="accept"),
        family="ip",
    )
    mixed.nft(table(chain("six", closed, hook="input", policy="accept"), name="six", family="ip6"))
    yield case(
        "each family closed where its peers come", "IPv4 is open on eth1, by which none of it comes", mixed, both, 1
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: WireguardBuilder, one: Any, fires: int = 0, **more: Any) -> Example:
        host.nft(one)
        return Example(name=name, why=why, tables=host.build(), fires=fires, **more)

    closed = rule(port(17, 51820), verdict("drop"))
    opened = rule(port(17, 51820), verdict("accept"))
    yield case("default drop", "the plain fault", wg_host(), wg_input(), 1, severity="critical", confidence="likely")
    numbered = rule(iif(1), verdict("accept"))
    yield case("default drop, lo let in by its number", "iif lo, without quotes", wg_host(), wg_input(numbered), 1)
    opened_there = wg_input(rule(iif(2), verdict("accept")))
    yield case("the card let in by its number", "iif eth0", wg_host(), opened_there)
    yield case("closed by number", "a rule does the same", wg_host(), wg_input(closed, policy="accept"), 1)
    reject = rule(plain("reject", number=2, code=1))
    yield case("rejected", "a last rule that rejects", wg_host(), wg_input(reject, policy="accept"), 1)
    raw = table(chain("early", closed, hook="prerouting", priority="raw"), name="ddos")
    yield case("closed before input", "prerouting drops as well", wg_host(), raw, 1)
    wrong = wg_input(rule(port(17, 51821), verdict("accept")))
    card = table(chain("card", closed, hook="ingress"), name="early", family="netdev")
    yield case("closed at the card", "netdev's ingress drops as well", wg_host(), card, 1)
    yield case("another port opened", "the device moved to another port", wg_host(), wrong, 1)
    yield case("opened", "as it must be", wg_host(), wg_input(opened))
    named = wg_input(rule(in_set(17, "ports"), verdict("accept")), sets=(port_set("ports", 53, 51820),))
    yield case("opened by a set", "what counts is the verdict", wg_host(), named)
    wan = wg_input(rule(iifname("eth*"), verdict("accept")))
    yield case("opened by interface", "a wildcard", wg_host(), wan)
    limited = wg_input(rule(port(17, 51820), plain("limit", number=5), verdict("accept")))
    yield case("opened with a limit", "some pass", wg_host(), limited)
    one = wg_host(endpoint="198.51.100.1", age=30)
    yield case(
        "closed by number, peers known",
        "only who is spoken to first works",
        one,
        wg_input(closed, policy="accept"),
        1,
        severity="warning",
    )
    dead = wg_host(endpoint="198.51.100.1", age=200)
    yield case(
        "closed by number, a peer is silent",
        "and this one did not",
        dead,
        wg_input(closed, policy="accept"),
        1,
        severity="critical",
        confidence="likely",
    )
    client = wg_host(endpoint="198.51.100.1", age=30)
    yield case("client", "it begins itself, and that works", client, wg_input())
    wide = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint="198.51.100.1", allowed_ips=("10.0.0.0/8",))
    wide.link("eth0").address("eth0", "192.0.2.1/24")
    yield case("quiet server of a client", "the client begins itself", wide, wg_input(), 1, severity="info")
    quiet = wg_host(endpoint="198.51.100.1", age=900)
    yield case("quiet peer of a mesh", "it may want to begin", quiet, wg_input(), 1, severity="warning",
               confidence="likely")  # fmt: skip
    kept = wg_host(endpoint="198.51.100.1", age=900, persistent_keepalive=25)
    yield case("quiet peer with a keepalive", "it is called from here", kept, wg_input(), 1, severity="info")
    bare = wg_host(endpoint="198.51.100.1", age=900, allowed_ips=())
    yield case("quiet peer without addresses", "it can want nothing", bare, wg_input(), 1, severity="info")
    for age, word in ((180, "peers can only answer"), (181, "1 peer that was not heard lately cannot begin")):
        named = wg_host(endpoint="198.51.100.1", age=age)
        yield case(f"closed by number and all else too, keys {age} s old", "what works lives from being known", named,
                   wg_input(closed), 1, severity="warning", confidence="likely", says=(word,))  # fmt: skip
    last = wg_host(endpoint="198.51.100.1", age=30)
    for name, then, fires, more in (
        ("open", wg_host(endpoint="198.51.100.1", age=30).nft(wg_input(opened)), 1, {}),
        ("closed", wg_host(endpoint="198.51.100.1", age=30).nft(wg_input(closed)), 0, {}),
        ("its filter not read", wg_host(endpoint="198.51.100.1", age=30), 0, {"late_then": ("nft",)}),
        ("no such device", HostBuilder().link("eth0").address("eth0", "192.0.2.1/24"), 0, {}),
        ("another port open", wg_host(endpoint="198.51.100.1", age=30, at=51821), 0, {}),
    ):
        now, why = wg_host(endpoint="198.51.100.1", age=30), "somebody opened it, and it is lost"
        yield case(f"client, {name} then", why, now, wg_input(), fires, baseline=then.build(), **more)
    yield from beside_cases(case)
    yield case("client, a last rule that rejects", "it begins itself", last, wg_input(reject, policy="accept"))
    yield from _doors_examples(case)
    by_name = wg_input(rule(iifname("eth0"), port(17, 51820), verdict("drop")), policy="accept")
    for name, where, fires in (("behind it", "eth0", 1), ("elsewhere", "eth1", 0)):
        two = wg_host(endpoint="198.51.100.1", age=200)
        two.link("eth1").address("eth1", "203.0.113.1/24").route(
            "default", via=f"{'192.0.2' if where == 'eth0' else '203.0.113'}.9", dev=where
        )
        yield case(f"closed on eth0, peers {name}", "what counts is where they come in", two, by_name, fires)
    inner = wg_host(endpoint="198.51.100.1", age=900)
    inner.link("docker0", kind="bridge").address("docker0", "172.17.0.1/16")
    inner.route("default", via="192.0.2.9", dev="eth0")
    yield case("client with an open bridge", "nobody comes by the bridge, and it begins itself", inner,
               wg_input(rule(iifname("docker0"), verdict("accept"))))  # fmt: skip
    some = wg_host()
    some.link("eth1").address("eth1", "203.0.113.1/24")
    yield case("closed on eth0, peers come from anywhere", "by eth1 they can", some, by_name)
    none = WireguardBuilder().wireguard("wg0")
    none.link("eth0").address("eth0", "192.0.2.1/24")
    yield case("no peers", "nobody knocks", none, wg_input(closed, policy="accept"))
    for name, why, fields in (
        ("device down", "wg-iface-down says it", {"up": False}),
        ("no port yet", "the module takes one when it comes up", {"listen_port": 0}),
    ):
        off = WireguardBuilder().wireguard("wg0", **fields).wg_peer("wg0", "a", endpoint=None)
        off.link("eth0").address("eth0", "192.0.2.1/24")
        yield case(name, why, off, wg_input())
    no = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", endpoint=None)
    yield case("no address outside", "nobody can come", no, wg_input())
