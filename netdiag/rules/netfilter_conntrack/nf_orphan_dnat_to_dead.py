"""What it checks
  A rule rewrites the destination of packets to an address that nobody can have: there is no route to it, its interface
  is down or has no carrier, its bridge has no ports, or has lost the one behind which it was heard a moment ago, it
  does not answer ARP or neighbour discovery, it lies among this host's guests and none of them has it, or it is private
  (RFC 1918, RFC 4193) and would leave by an uplink with public addresses. Or to a port of this host itself (redirect,
  or an own address) on which nothing listens.

Why it matters
  The port on this host is taken by a guest that is gone: connections time out, and a new allocation of the same port
  that is listed behind the old rule gets no packet at all.

Confirm
  nft -a list chain FAMILY TABLE CHAIN
  ip route get ADDRESS
  ip neigh show to ADDRESS

Fix
  nft delete rule FAMILY TABLE CHAIN handle N, after a look at who owns the table: a program that still runs puts the
  rule back. Connections that are open go on to the old address until conntrack -D --dst-nat ADDRESS.

Not flagged
  Targets that this host knows nothing bad of: on another host behind a gateway, on a link where no neighbour was asked
  yet (in a bridge of this host's own guests: info). Ports of this host on which something listens, or where a program
  of eBPF chooses the socket (sk_lookup); where sockets could not be read they are not evaluated. Dormant tables. Rules
  of CNI's portmap (cni-portmap-stale). An allocation that is just starting looks the same for some seconds: look twice;
  where guests came or went while the host was read, it is a possibility only.

References
  net/netfilter/nft_nat.c; nft(8) "NAT STATEMENTS"
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.address import IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, Subject, Unjudged
from netdiag.model.nft import NftElement, NftExpression, NftSet
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.build_nft import DPORT, chain, in_set, l4proto, nat, plain, port, port_set, rule, table
from netdiag.rules.deadtargets import dead_targets, finding, unheard
from netdiag.rules.deafports import deaf_finding, deaf_ports
from netdiag.rules.shape import Example, Rule
from netdiag.rules.translations import CONSULTS, READS

RULE = Rule(
    id="nf-orphan-dnat-to-dead",
    title="a rule sends packets to an address that nobody has",
    severity="warning",
    confidence="likely",
    reads=READS,
    consults=(*CONSULTS, "sockets", "bpf"),
    explains=("ct-stale-udp-blackhole", "route-default-missing"),
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    said = set[tuple[str, str, str]]()
    for one, why, count in dead_targets(view, cni=False):
        said.add((one.at.table.family, one.at.table.name, one.at.chain.name))
        yield finding(RULE, one, why, count)
    for deaf in deaf_ports(view):
        if isinstance(deaf, Unjudged):
            yield deaf
            continue
        key = deaf.at.table.family, deaf.at.table.name, deaf.at.chain.name
        if key not in said:
            said.add(key)
            yield deaf_finding(RULE, deaf)
    for one, why in unheard(view, cni=False):
        if (one.at.table.family, one.at.table.name, one.at.chain.name) not in said:
            yield finding(RULE, one, why, guess=True)


def _host(*, holder: str | None = "firecracker") -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").address("eth0", "2001:db8::2/64")
    host.route("default", via="192.0.2.1", dev="eth0").route("default", via="2001:db8::1", dev="eth0")
    host.tap("tap0", holder=holder).route("10.0.0.2/32", dev="tap0")
    return host


def _bridged(*taps: str, **fields: Any) -> HostBuilder:
    host = _host().link("br0", kind="bridge", **fields).address("br0", "10.1.0.1/24").address("br0", "2001:db8:9::1/64")
    for name in taps:
        host.tap(name, master="br0")
    return host


QUIET: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}


def _dnat(address: str, *, name: str = "prerouting", family: str = "inet", **fields: Any) -> Any:
    one = rule(port(6, 8080), nat("dnat", address, 80))
    return table(
        chain(name, one, hook="prerouting", priority="dstnat", type="nat"), name="nat", family=family, **fields
    )


def examples() -> Iterator[Example]:
    about: Subject = {"kind": "nft-chain", "family": "inet", "table": "nat", "chain": "prerouting"}

    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, subject=about if fires else None)

    dead = _dnat("10.1.0.5")
    yield case("among the guests", "its sibling is there, its own route is gone", _host().nft(_dnat("10.0.0.9")), 1)
    yield case("bridge without ports", "nobody is on it", _bridged().nft(dead), 1)
    yield case("no carrier", "the last port went", _bridged(carrier=False).nft(dead), 1)
    silent = _bridged("tap9").nft(dead)
    yield Example(
        name="never heard in a bridge of guests", why="gone, or not asked yet", tables=silent.build(), **QUIET
    )
    wired = _bridged("tap9").link("eth1", master="br0").nft(dead)
    yield case("never heard in a bridge with a card", "a network is behind it", wired)
    far = _bridged("tap9").route("10.9.0.0/16", via="10.1.0.7", dev="br0").nft(_dnat("10.9.0.5"))
    yield case("behind a guest", "the guest is asked", far)
    port1 = _bridged("tap9").neighbour("10.1.0.5", dev="br0", state="failed").nft(dead)
    yield case("no answer", "the address was asked for", port1, 1)
    refused = _host().route("10.1.0.0/24", type="unreachable").nft(dead)
    yield case("unreachable", "a route says so", refused, 1)
    six = _host().route("2001:db8:5::/64", type="blackhole").nft(_dnat("2001:db8:5::5"))
    yield case("IPv6", "the same", six, 1)
    busy = _bridged("tap9").neighbour("10.1.0.7", dev="br0", state="stale").nft(dead)
    yield case("every guest is somebody else", "as many neighbours as ports", busy, 1)
    two = _bridged("tap8", "tap9")
    two.neighbour("10.1.0.7", dev="br0", state="stale").nft(dead)
    yield Example(name="a guest is left", why="the second port may have it", tables=two.build(), **QUIET)
    lost = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    yield case("private, to the Internet", "nobody out there routes it", lost.nft(dead), 1)
    yield case("private, IPv6, to the Internet", "nor such a one", _host().nft(_dnat("fd00:2::2")), 1)
    ours = _host().address("eth0", "fd00:1::2/64").nft(_dnat("fd00:2::2"))
    yield case("private, IPv6, inside", "the uplink is of the site's private network as well", ours)
    inside = HostBuilder().link("eth0").address("eth0", "172.16.0.2/24").route("default", via="172.16.0.1", dev="eth0")
    for up, how in ((False, {"fires": 1, "severity": "warning"}), (True, QUIET)):
        hosted = (
            HostBuilder().link("eth0").address("eth0", "172.16.0.2/24").route("default", via="172.16.0.1", dev="eth0")
        )
        hosted.link("br0", kind="bridge", up=up).address("br0", "10.1.0.1/24").tap("tap9", master="br0")
        hosted.nft(_dnat("10.1.0.5"))
        name, why = f"its bridge is {'up' if up else 'down'}", "the subnet's route goes with it"
        yield Example(name=name, why=why, tables=hosted.build(), **how)
    no_route: dict[str, Any] = {"flags": IFA_F_NOPREFIXROUTE | IFA_F_PERMANENT}
    for name, why, fields, gone in (
        ("another network's bridge is down", "it may be of the gateway's", {}, False),
        ("its bridge makes no route", "somebody meant that", dict(no_route), False),
        ("its bridge went while it was read", "nothing is known of it", dict(no_route), True),
    ):
        hosted = HostBuilder().link("eth0").address("eth0", "172.16.0.2/24")
        hosted.route("default", via="172.16.0.1", dev="eth0").link("br0", kind="bridge", up=bool(fields))
        hosted.address("br0", "10.1.0.1/24" if fields else "10.5.0.1/24", **fields).nft(_dnat("10.1.0.5"))
        yield case(name, why, hosted.vanished("br0") if gone else hosted)
    yield case("private, inside", "the gateway may know the way", inside.nft(_dnat("10.1.0.5")))
    alone = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").nft(dead)
    yield case("no route", "not even a default one", alone, 1)
    twice = _bridged().nft(table(chain("prerouting", *[rule(nat("dnat", f"10.1.0.{n}")) for n in (5, 6)],
                                      hook="prerouting", priority="dstnat", type="nat"), name="nat"))  # fmt: skip
    yield case("two in a chain", "told once", twice, 1)
    yield case("alive", "the guest is there", _host().nft(_dnat("10.0.0.2")))
    yield case("another host", "behind the gateway, not among the guests", _host().nft(_dnat("203.0.113.9")))
    yield case("own address", "a redirect in other words, and nobody is there", _host().nft(_dnat("192.0.2.2")), 1)
    yield from _deaf()
    yield case("dormant", "not in force", _host().nft(_dnat("10.0.0.9", dormant=True)))
    yield case("portmap of CNI", "cni-portmap-stale speaks", _bridged().nft(_dnat("10.1.0.5", name="CNI-DN-1234")))
    yield from _maps()
    yield from _ways()
    yield from _silent()
    yield from _gone()
    yield from _of_xtables()


def _ways() -> Iterator[Example]:
    """Where such a packet would go, and what of that says that nobody is there."""

    def case(name: str, why: str, host: HostBuilder, to: str, *says: str) -> Example:
        return Example(name=name, why=why, tables=host.nft(_dnat(to)).build(), fires=1 if says else 0, says=says)

    gone = case("no machine", "its tap is there, and nobody has it open", _host(holder=None), "10.0.0.2", "no carrier")
    yield gone
    yield case("no port", "the bridge is there", _bridged(), "10.1.0.5", "ports of br0 0 ")
    out = HostBuilder().link("eth0", carrier=False).address("eth0", "192.0.2.2/24")
    out.route("default", via="192.0.2.1", dev="eth0")
    yield case("far away, and the cable is out", "that is another fault", out, "203.0.113.9")
    yield case("own, and the cable is out", "it is delivered here", out.socket(sport=80), "192.0.2.2")
    yield case("went while it was read", "nothing is known of the link", _host().vanished("tap0"), "10.0.0.2")
    hand = _bridged("tap9").neighbour("10.1.0.7", dev="br0").neighbour("2001:db8:9::7", dev="br0")
    hand.route("10.1.0.5/32", dev="br0").route("2001:db8:9::5/128", dev="br0")
    yield case("routed by hand", "somebody says that it is there", hand, "10.1.0.5")
    yield case("IPv6, routed by hand", "the same", hand, "2001:db8:9::5")
    wide = _host().route("10.0.0.0/8", via="192.0.2.9", dev="eth0")
    yield case("its sibling here, a way there", "the route to 10.0.0.0/8 is meant", wide, "10.0.0.9")
    six = _host().route("2001:db8:7::2/128", dev="tap0")
    yield case("IPv6, among the guests", "its own route is gone", six, "2001:db8:7::9", "the way out")
    yield case("private, and so are the guests", "the uplink is public", _bridged("tap9"), "10.77.0.5", "the way out")
    bare = HostBuilder().address("lo", "198.51.100.7/32").link("eth0").address("eth0", "2001:db8::2/64")
    bare.address("eth0", "169.254.0.9/16", scope=253).route("0.0.0.0/0", via="192.0.2.1", dev="eth0", onlink=True)
    yield case("private, by an uplink without an address", "nobody knows whose network it is", bare, "10.1.0.5")


def _silent() -> Iterator[Example]:
    """Who is on the link, and by what names."""

    def case(name: str, why: str, host: HostBuilder, fires: int = 0, to: str = "10.1.0.5", **more: Any) -> Example:
        return Example(name=name, why=why, tables=host.nft(_dnat(to)).build(), fires=fires, **more)

    idle = _bridged("tap9").tap("tap7", holder=None, master="br0").tap("tap8", up=False, master="br0")
    yield case("the one guest that runs", "taps without a machine", idle.neighbour("10.1.0.7", dev="br0"), 1)
    both = _bridged("tap9").neighbour("10.1.0.5", dev="br0", state="stale")
    both.neighbour("10.1.0.7", dev="br0", lladdr="02:00:00:00:00:02")
    yield case("it was seen", "beside another address", both)
    for state in ("permanent", "failed"):
        set_ = _bridged("tap9").neighbour("10.1.0.7", dev="br0", state=state, lladdr="02:00:00:00:00:07")
        tables = set_.nft(_dnat("10.1.0.5")).build()
        yield Example(name=f"another that is {state}", why="it never spoke", tables=tables, **QUIET)
    small = _host().tap("tap1").address("tap1", "10.3.0.1/29").neighbour("10.3.0.2", dev="tap1")
    yield case("a tap with a small network", "its guest is another", small, 1, "10.3.0.5", says=("guests on tap1 1,",))
    target = "2001:db8:9::5"
    near = _bridged("tap9").neighbour("2001:db8:9::7", dev="br0")
    yield case("IPv6, somebody else", "the one guest", near, 1, target, says=("guests on br0 1,",))
    local = _bridged("tap9").neighbour("fe80::7", dev="br0")
    tables = local.nft(_dnat(target)).build()
    yield Example(name="IPv6, a link-local address", why="each guest has one beside its own", tables=tables, **QUIET)
    asked = _bridged("tap9").neighbour(target, dev="br0", state="failed")
    yield case("IPv6, no answer", "it was asked for", asked, 1, target, says=("it does not answer on br0",))


def _gone() -> Iterator[Example]:
    """A guest that is gone stays in the neighbour table: it is no sign that the port of today is another's."""
    old, new = "02:00:00:00:00:07", "02:00:00:00:00:05"
    for name, why, ports, confirmed, fires in (
        ("who is known is gone", "the one guest has not spoken to this host yet", (new,), 1.0, 0),
        ("who is known is there", "the one guest is another", (old,), 900.0, 1),
        ("nobody is told to be there, heard lately", "as many neighbours as ports", (), 59.0, 1),
        ("nobody is told to be there, long ago", "it may have left since", (), 60.0, 0),
    ):
        host = _bridged("tap9").neighbour("10.1.0.7", dev="br0", lladdr=old, state="stale", confirmed=confirmed)
        host.nft(_dnat("10.1.0.5"))
        rows = [entry(host, lladdr, None, dev="tap9", state=2, flags=0) for lladdr in ports]
        tables = replace(host.build(), fdb=fdb(rows))
        yield Example(name=name, why=why, tables=tables, fires=1, severity="warning" if fires else "info")

    target, twin = "02:00:00:00:00:08", "02:00:00:00:00:0a"
    cases: tuple[tuple[str, str, float, tuple[str, ...], int], ...] = (
        ("the target was known, and another is behind its port", "it died hours ago", 9000.0, (new,), 1),
        ("the target was heard a moment ago, and its port went", "the others have entries", 59.0, (old, new), 1),
        ("the target was known, and is behind a port", "alive", 9000.0, (target,), 0),
        ("the target is behind a port that has two machines", "alive", 9000.0, (new, target), 0),
        ("the target was known, and who is there is not", "it may be the quiet one", 9000.0, (twin,), 0),
    )
    for name, why, confirmed, learned, fires in cases:
        host = _bridged("tap9").neighbour("10.1.0.7", dev="br0", lladdr=new, state="stale", confirmed=9000.0)
        host.neighbour("10.1.0.5", dev="br0", lladdr=target, state="stale", confirmed=confirmed)
        host.nft(_dnat("10.1.0.5"))
        rows = [entry(host, lladdr, None, dev="tap9", state=2, flags=0) for lladdr in learned]
        yield Example(name=name, why=why, tables=replace(host.build(), fdb=fdb(rows)), fires=fires,
                      severity="warning" if fires else None)  # fmt: skip
    lost = _bridged("tap8", "tap9").neighbour("10.1.0.7", dev="br0", lladdr=new, state="stale", confirmed=9000.0)
    lost.neighbour("10.1.0.5", dev="br0", lladdr=target, state="stale", confirmed=9000.0).nft(_dnat("10.1.0.5"))
    alone = fdb([entry(lost, new, None, dev="tap9", state=2, flags=0)])
    yield Example(name="the target was known, and one port is quiet", why="it may be there",
                  tables=replace(lost.build(), fdb=alone))  # fmt: skip


def _of_xtables() -> Iterator[Example]:
    """Rules that name no single address, and those of iptables."""

    def xt(key: str, flags: int, *octets: bytes, **fields: Any) -> Any:
        value = b"".join((b"\1\0\0\0" * (fields.get("family", "ip") == "ip"), flags.to_bytes(4, "little"), *octets))
        made = rule((NftExpression(name="target", key=key, value=(value + bytes(4)).hex()),), compat=True)
        pre = chain("PREROUTING", made, hook="prerouting", priority="dstnat", type="nat")
        return table(pre, name="nat", **({"family": "ip"} | fields))

    four, ports = bytes((10, 0, 0, 9)), (8080).to_bytes(2, "big")
    six = bytes.fromhex("20010db8000500000000000000000005")
    post = chain("post", rule(nat("snat", "10.0.0.9")), hook="postrouting", priority="srcnat", type="nat")
    ends = (NftExpression(name="immediate", dreg=at, value=f"0a00000{at + 5}") for at in (0, 4))
    some = chain("pre", rule((*ends, NftExpression(name="nat", key="dnat", family="ip", sreg=0, sreg_max=4))),
                 hook="prerouting", priority="dstnat", type="nat")  # fmt: skip
    none = chain("pre", rule(in_set(6, "open"), nat("dnat", "10.0.0.9")), hook="prerouting", type="nat")
    empty = table(none, name="nat", sets=(port_set("open"),))
    for name, why, made, fires in (
        ("a set without elements yet", "the rule is there", empty, 1),
        ("iptables", "the same", xt("DNAT", 3, four, four, ports, ports), 1),
        ("ip6tables", "addresses of sixteen octets", xt("DNAT", 3, six, six, ports, ports, family="ip6"), 1),
        ("iptables, a port only", "the address stays", xt("DNAT", 2, bytes(8), ports, ports), 0),
        ("iptables, a source", "nobody has to be there", xt("SNAT", 1, four, four, bytes(4)), 0),
        ("a source", "nobody has to be there", table(post, name="nat"), 0),
        ("a range", "the next one may be alive", table(some, name="nat"), 0),
    ):
        host = _host().route("2001:db8:5::/64", type="unreachable").nft(made)
        yield Example(name=name, why=why, tables=host.build(), fires=fires)


def _maps() -> Iterator[Example]:
    """Targets that a map gives by the port: the entry of the dead one is named, and taken out."""
    by_port = (NftExpression(name="lookup", sreg=0, dreg=0, set="be"), nat("dnat", "0.0.0.0")[1])
    for name, flags, words in (
        ("a map", ("map",), ("sends be { 8081 } to 10.0.0.9", "delete element inet nat be { 8081 }")),
        ("a map in the rule", ("map", "anonymous"), ("sends { 8081 } to 10.0.0.9", "nft delete rule inet nat pre")),
    ):
        held = tuple(NftElement(key=key, value=to) for key, to in (("1f90", "0a000002"), ("1f91", "0a000009")))
        held += (NftElement(key="1f92"),)  # one that was not told whole
        backends = NftSet(
            name="be", handle=1, key_type=13, key_len=2, data_type=7, data_len=4, flags=flags, elements=held
        )
        one = rule(l4proto(6), (DPORT, *by_port))
        pre = chain("pre", one, hook="prerouting", priority="dstnat", type="nat")
        host = _host().nft(table(pre, name="nat", sets=(backends,)))
        why = "one of its two targets is gone"
        yield Example(name=name, why=why, tables=host.build(), fires=1, says=words)


def _deaf() -> Iterator[Example]:
    """Packets for port 8080 are sent to port 3128 of this host."""
    redirect = (NftExpression(name="immediate", dreg=0, value="0c38"), NftExpression(name="redir", sreg_port=0))

    def case(name: str, why: str, to: Any, fires: int = 0, proto: int = 6, **socket: Any) -> Example:
        pre = chain("pre", rule(port(proto, 8080), to), hook="prerouting", priority="dstnat", type="nat")
        host = _host().nft(table(pre, name="nat"))
        if socket:
            host.socket(**socket)
        more: dict[str, Any] = {"late": ("sockets",), "unjudged": True} if name == "sockets not read" else {}
        return Example(name=f"redirect: {name}", why=why, tables=host.build(), fires=fires, **more)

    own = nat("dnat", "192.0.2.2", 3128)
    yield case("nothing listens", "the proxy ended", redirect, 1)
    yield case("nothing listens, by address", "the same", own, 1)
    value = bytes((1, 0, 0, 0, 2, 0, 0, 0)) + bytes(8) + (3128).to_bytes(2, "big") * 2
    old = rule(l4proto(6), (NftExpression(name="target", key="REDIRECT", value=value.hex()),), compat=True)
    unknown = rule(port(6, 8080), (NftExpression(name="match", key="time", value="00"),), redirect, compat=True)
    xt: dict[str, Any] = {"says": ("start the service on tcp port 3128")}
    for name, why, one, fires, more in (
        ("the way to delete it", "handle of the rule", rule(port(6, 8080), redirect), 1, {"says": ("pre handle 2",)}),
        ("of iptables", "-j REDIRECT --to-ports 3128", old, 1, xt),
        ("at some hours", "whether it is in force now is not known", unknown, 0, {}),
    ):
        pre = chain("pre", one, hook="prerouting", priority="dstnat", type="nat")
        tables = _host().nft(table(pre, name="nat", family="ip")).build()
        yield Example(name=f"redirect: {name}", why=why, tables=tables, fires=fires, **more)
    two = chain("pre", *(rule(port(6, at), redirect) for at in (80, 443)), hook="prerouting", type="nat")
    both = _host().nft(table(two, name="nat")).build()
    yield Example(name="redirect: two in a chain", why="told once", tables=both, fires=1)
    yield case("something listens", "as it should be", redirect, sport=3128)
    yield case("something listens, by address", "as it should be", own, sport=3128, src="192.0.2.2")
    yield case("it listens for IPv6 and takes both", "as it should be", redirect, sport=3128, src="::")
    yield case("another port", "it is not asked", redirect, 1, sport=3129)
    yield case("by UDP", "TCP is another matter", redirect, 1, 17, sport=3128)
    yield case("on loopback alone", "they come to the interface's address", redirect, 1, sport=3128, src="127.0.0.1")
    yield case("another address", "it is not asked", own, 1, sport=3128, src="192.0.2.77")
    yield case("sockets not read", "it may be there", redirect)
    yield case("the same port", "nothing is changed", plain("redir"))
    yield case("another host", "who listens there is not known", nat("dnat", "203.0.113.9", 3128))
    pre = chain("pre", rule(port(6, 8080), redirect), hook="prerouting", priority="dstnat", type="nat")
    steered = _host().nft(table(pre, name="nat")).bpf(programs=[program(1, "steer", type="sk_lookup")])
    steered.bpf(attachments=[BpfAttachment(hook="sk_lookup", prog_id=1)])
    yield Example(name="redirect: a program chooses the socket", why="of any port", tables=steered.build())
