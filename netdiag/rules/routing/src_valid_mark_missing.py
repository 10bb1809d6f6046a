"""What it checks
  IPv4: packets with a mark leave by an interface with a strict reverse path filter (rp_filter 1), as a policy rule
  with "fwmark" says; the way back without the mark is another one, with the mark it is this one; and src_valid_mark is
  0 on the interface and on "all". So the filter asks without the mark and drops the answers. The same where
  src_valid_mark is 1, but nothing in the firewall gives an answer the mark when it comes in, for tunnels of WireGuard
  none of whose peers was heard within three minutes. Looked at are the encrypted packets of WireGuard interfaces with
  a mark, rules of the form "not fwmark MARK", as wg-quick makes them, and plain "fwmark" rules whose mark the firewall
  gives, in prerouting, to what comes in by the interface, be it only to answers, out of the connection's mark (as
  where each of two uplinks answers what it was asked).

Why it matters
  The encrypted packets leave and every answer to them is dropped: no handshake ever completes, while tcpdump shows the
  answers coming in. ICMP errors and the firewall's counters show nothing; only IPReversePathFilter counts.

Confirm
  sysctl net.ipv4.conf.all.src_valid_mark net/ipv4/conf/IFNAME/src_valid_mark
  nstat -asz TcpExtIPReversePathFilter
  ip route get SOURCE

Fix
  sysctl -w net/ipv4/conf/IFNAME/src_valid_mark=1, which lets the filter use the mark of the packet: the firewall must
  give it back to answers (ct mark, as wg-quick does). Set it for the interface, not for "all", where other users of
  marks are affected. Without such a firewall rule: rp_filter=2 on the interface, or wg-quick down and up, which makes
  the rule anew.

Not flagged
  Loose or no filters (the larger of "all" and the interface counts). Hosts where the way back is the same with and
  without the mark. IPv6, which has no such filter in its routing. Plain "fwmark" rules whose mark no
  packet has when it comes in: asym-rpfilter-strict-drop judges them. Members of a VRF.

References
  Documentation/networking/ip-sysctl.rst src_valid_mark; net/ipv4/fib_frontend.c __fib_validate_source();
  wg-quick(8) add_default(); https://github.com/tailscale/tailscale/issues/19796
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from netdiag.index.nftpacket import Packet
from netdiag.index.packet import Query
from netdiag.index.reversepath import STRICT, effective
from netdiag.index.specimen import specimens
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build_bpf import program, tcx
from netdiag.rules.build_nft import CT_DIRECTION, chain, iifname, l4proto, state, table
from netdiag.rules.build_nft import plain as does
from netdiag.rules.build_nft import rule as nft_rule
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import REJECT_AFTER_TIME, query_to
from netdiag.rules.wireguardways import alive

RULE = Rule(
    id="src-valid-mark-missing",
    title="the reverse path filter forgets the mark of a tunnel's packets",
    severity="critical",
    confidence="likely",
    reads=("links", "addresses", "routes", "rules", "nexthops", "neighbours", "sysctls"),
    consults=("wireguard", "nft", "bpf"),
    explains=("asym-rpfilter-strict-drop", "rpfilter-strict-drops-arp", "wg-handshake-stale", "wg-never-handshaked"),
    family="inet",
)


MOST_MARKS = 64
"""Marks of plain rules that are looked up; a host that balances over uplinks has a handful."""
ALL_BITS = 0xFFFFFFFF


class Marked(NamedTuple):
    """Packets with a mark."""

    query: Query
    whose: str
    """Who sends them, for the message."""
    device: str | None = None
    heard: bool = False
    """Some peer of that device was heard lately: its answers come through, whoever gives them the mark."""


def marked(view: HostView) -> Iterator[Marked]:
    """The encrypted packets of each WireGuard interface with a mark; and what passes a rule for everything else."""
    at = view.wireguard.at
    for device, _ in alive(view):
        for peer in device.peers if device.fwmark else ():
            query = query_to(device, peer)
            if query is not None and query.family == "inet":
                heard = any(
                    one.latest_handshake is not None and at - one.latest_handshake < REJECT_AFTER_TIME
                    for one in device.peers
                )
                yield Marked(query, f"the encrypted packets of {device.ifname}", device.ifname, heard)
    everywhere = view.sysctl_int("net.ipv4.conf.all.rp_filter") or 0
    strict = {link.ifindex for link in view.links if effective(link, everywhere) == STRICT}
    asked: set[int] = set()
    for rule in view.rules:
        if rule.family != "inet" or not rule.fwmark:
            continue
        if not rule.invert:
            if not strict or rule.fwmark in asked or len(asked) >= MOST_MARKS:
                continue
            asked.add(rule.fwmark)
        whose = f"packets with mark {rule.fwmark:#x} (rule {rule.priority})"
        for address in specimens("0.0.0.0/0")[:3]:
            query = Query(family="inet", dst=address, mark=rule.fwmark)
            if rule.invert:
                yield Marked(query, whose)
                continue
            mask = ALL_BITS if rule.fwmask is None else rule.fwmask
            ways = (view.link(hop.oif) for hop in view.lookup(query).hops)
            links = [link for link in ways if link is not None and link.ifindex in strict]
            for link in [link for link in links if _given(view, link, address, rule.fwmark, mask)][:1]:
                yield Marked(query, f"{whose}, which the firewall gives to what comes in by {link.ifname} as well,")


def _given(view: HostView, link: Link, address: str, wanted: int, mask: int) -> bool:
    """Whether what comes from the address by this interface has the mark of a rule when it is routed."""
    came = Packet(iif=link.ifname, iifindex=link.ifindex, saddr=address)
    return any(mark is not None and mark & mask == wanted for mark in _marks(view, came, wanted))


def _marks(view: HostView, came: Packet, wanted: int) -> Iterator[int | None]:
    """The marks that a packet may have when it is routed, None where that is not known: one that begins a connection,
    which has no mark yet, or answers of connections that the firewall gave the mark."""
    answer = replace(came, ct_state="established", ct_reply=True, ct_mark=None)
    cases = [came, answer, *([replace(answer, ct_mark=wanted)] if _kept(view, wanted) else [])]
    return (view.netfilter.hook("prerouting", one).packet.mark for one in cases)


def _kept(view: HostView, mark: int) -> bool:
    """Whether a packet's mark becomes, or may become, the mark of its connection."""
    sent = Packet(mark=mark)
    return any(view.netfilter.hook(hook, sent).packet.ct_mark != 0 for hook in ("output", "postrouting", "prerouting"))


def forgotten(view: HostView, one: Marked) -> Link | None:
    """The interface that drops the answers because it asks without the mark; of several next hops the first."""
    everywhere = view.sysctl_int("net.ipv4.conf.all.rp_filter") or 0
    keeps = view.sysctl_int("net.ipv4.conf.all.src_valid_mark")
    back = view.lookup(Query(family="inet", dst=one.query.dst))
    named = {hop.oif for answer in (back, *back.alternatives) for hop in (*answer.hops, *answer.left_out)}
    for link in (view.link(hop.oif) for hop in view.lookup(one.query).hops):
        if link is None or view.stack.vrf(link.ifindex) is not None or link.ifindex in named:
            continue
        if effective(link, everywhere) != STRICT:
            continue
        if not (keeps or link.inet_conf.get("src_valid_mark", 0)) or unmarked(view, one, link):
            return link
    return None


def unmarked(view: HostView, one: Marked, link: Link) -> bool:
    """Whether what answers a tunnel's packets by this interface has no mark, so that the filter cannot ask with it."""
    if one.device is None or one.heard or not view.read_whole("bpf"):
        return False
    if not (view.read_whole("nft") or view.absent("nft")):
        return False
    gives = any(row.ifindex == link.ifindex and row.direction == "ingress" for row in view.bpf.attachments)
    came = Packet(iif=link.ifname, iifindex=link.ifindex, saddr=one.query.dst, proto=IPPROTO_UDP)
    return not gives and not any(mark in (None, one.query.mark) for mark in _marks(view, came, one.query.mark))


def check(view: HostView) -> Iterator[Draft]:
    for one in marked(view):
        link = forgotten(view, one)
        if link is not None:
            yield _finding(view, one, link)


def _finding(view: HostView, one: Marked, link: Link) -> Draft:
    name, query = link.ifname, one.query
    back = view.lookup(Query(family="inet", dst=query.dst))
    dev = view.ifname(back.oif) if back.oif else "several" if back.ok else "nothing"
    path = f"net/ipv4/conf/{name}"
    keeps = max(view.sysctl_int("net.ipv4.conf.all.src_valid_mark") or 0, link.inet_conf.get("src_valid_mark", 0))
    lost = keeps or unmarked(view, one._replace(heard=False), link)  # before, nothing asked for the mark of an answer
    asks = (
        "asks with the mark of an answer, which the firewall does not give it," if keeps else "asks without the mark,"
    )
    fix = f"sysctl -w {quoted(path + ('/rp_filter=2' if lost else '/src_valid_mark=1'))}"
    return RULE.found(
        subject=subject("sysctl", name=f"net.ipv4.conf.{name}.src_valid_mark", ifname=name),
        message=f"{one.whose} leave by {name} because of mark {query.mark:#x}; the strict reverse path filter of "
        f"{name} {asks} finds the way back by {dev} and drops the answers",
        evidence=[
            (f"{name} rp_filter", STRICT, f"{path}/rp_filter, net/ipv4/conf/all/rp_filter"),
            (f"{name} src_valid_mark", keeps, f"{path}/src_valid_mark, net/ipv4/conf/all/src_valid_mark"),
            (f"way to {query.dst} with the mark", f"dev {name}", "RTM_GETROUTE, RTM_GETRULE"),
            ("without the mark", f"dev {dev}", "RTM_GETROUTE, RTM_GETRULE"),
        ],
        confirm=[
            f"sysctl net.ipv4.conf.all.src_valid_mark {quoted(path + '/src_valid_mark')}",
            f"ip route get {query.dst} mark {query.mark:#x}",
            f"ip route get {query.dst}",
        ],
        fix=fix + ("  # src_valid_mark=1 is not enough: no firewall rule marks answers" if lost and not keeps else ""),
        touches=[subject("link", ifname=name)],
        breaks=[
            subject("link", ifname=name),
            *([subject("wireguard-interface", ifname=one.device)] if one.device else []),
            *([subject("link", ifname=one.device)] if one.device else []),
        ],
    )


def _host(
    rp_filter: int = 1,
    mark: int = 0,
    *,
    everywhere: int = 0,
    kept: int = 0,
    fwmark: int = 51820,
    age: float | None = 20,
) -> WireguardBuilder:
    host = WireguardBuilder()
    host.link("eth0", inet_conf={"rp_filter": rp_filter, "src_valid_mark": mark}).address("eth0", "192.0.2.2/24")
    host.route("default", via="192.0.2.1", dev="eth0")
    host.wireguard("wg0", fwmark=fwmark).route("default", dev="wg0", table=51820)
    host.rule(32764, table=254, suppress_prefixlength=0).rule(32765, table=51820, fwmark=51820, invert=True)
    host.sysctl("net.ipv4.conf.all.rp_filter", everywhere).sysctl("net.ipv4.conf.all.src_valid_mark", kept)
    return host.wg_peer("wg0", "a", endpoint="198.51.100.9", allowed_ips=("0.0.0.0/0",), age=age)


def _bare() -> WireguardBuilder:
    """The same rules by hand, for a tunnel that is no WireGuard."""
    host = WireguardBuilder()
    host.link("eth0", inet_conf={"rp_filter": 1}).address("eth0", "192.0.2.2/24").link("tun0", kind="tun")
    host.route("default", via="192.0.2.1", dev="eth0").route("default", dev="tun0", table=7)
    return host


def _two_ways() -> Iterator[Example]:
    """The default route of main has two next hops: the first, the second, both or none of them is strict."""
    for first, second, fires in ((1, 1, 1), (0, 1, 1), (1, 0, 1), (0, 0, 0)):
        host = _host(first).without_routes(table=254)
        host.link("eth1", inet_conf={"rp_filter": second}).address("eth1", "198.51.100.2/24")
        host.route("192.0.2.0/24", dev="eth0", protocol=2, scope=253)
        host.route("default", hops=[host.hop("eth0", "192.0.2.1"), host.hop("eth1", "198.51.100.1")])
        says = (f"filter of {'eth0' if first else 'eth1'} asks without the mark",) if fires else ()
        name = f"two ways, strict {first} {second}"
        yield Example(name=name, why="one is enough", tables=host.build(), fires=fires, says=says)


def _unmarked() -> Iterator[Example]:
    """The mark is asked with, and a tunnel's answers have none, unless the firewall gives it back (wg-quick's does)."""
    load, mark = does("ct", key="mark", dreg=0), does("meta", key="mark", sreg=0)
    save = nft_rule(does("meta", key="mark", dreg=0), does("ct", key="mark", sreg=0))
    restores = nft_rule(l4proto(17), load, mark), save
    gone: dict[str, Any] = {"fires": 1, "says": ("which the firewall does not give it", "rp_filter=2")}
    for name, why, age, rules, more, expected in (
        ("the mark is not given back", "wg-quick's firewall rule is gone", None, (), {}, gone),
        ("the mark is given back", "as wg-quick does", None, restores, {}, {}),
        (
            "the mark is given back to TCP",
            "the tunnel is UDP",
            None,
            (nft_rule(l4proto(6), load, mark), save),
            {},
            gone,
        ),
        ("the mark is given back, and never kept", "it is none", None, restores[:1], {}, {}),
        ("it was heard lately", "something marks its answers", 179, (), {}, {}),
        ("it was heard long ago", "its keys are dead", 180, (), {}, gone),
        ("tc on the way in", "it may mark what comes in", None, (), {"direction": "ingress"}, {}),
        ("tc on the way out", "what comes in is not its", None, (), {"direction": "egress"}, gone),
        ("a filter that was not read", "it may give the mark back", None, (), {"late": ("nft",)}, {"unjudged": True}),
        ("programs that were not read", "they may mark it", None, (), {"late": ("bpf",)}, {"unjudged": True}),
        ("no firewall at all", "nothing marks", None, (), {"absent": ("nft",)}, gone),
    ):
        host = _host(kept=1, age=age)
        if rules:
            chains = chain("pre", rules[0], hook="prerouting"), chain("post", *rules[1:], hook="postrouting")
            host.nft(table(*chains, family="ip"))
        if direction := more.pop("direction", None):
            host.bpf(programs=[program(1, "marks")])
            tcx(host, "eth0", 1, str(direction))
        yield Example(name=f"asked with the mark: {name}", why=why, tables=host.build(), **more, **expected)
    for name, why, given, says in (
        ("given back", "the filter asks with it", True, ("eth0/src_valid_mark=1",)),
        ("not given back", "the setting alone does not help", False, ("eth0/rp_filter=2", "is not enough")),
    ):
        host = _host(age=20)
        hooks = zip(("prerouting", "postrouting"), restores if given else (), strict=False)
        pair = [chain(hook, one, hook=hook) for hook, one in hooks]
        host.nft(table(*pair, family="ip"))
        yield Example(name=f"asked without it, the mark is {name}", why=why, tables=host.build(), fires=1, says=says)


def examples() -> Iterator[Example]:
    yield from _examples()
    yield from _two_ways()


def _examples() -> Iterator[Example]:
    about = subject("sysctl", name="net.ipv4.conf.eth0.src_valid_mark")
    yield Example(
        name="wg-quick's rules, strict",
        why="the plain fault",
        tables=_host().build(),
        fires=1,
        subject=about,
        severity="critical",
        says=("the encrypted packets of wg0 leave by eth0", "finds the way back by wg0"),
    )
    yield Example(name="strict by all", why="the larger counts", tables=_host(0, everywhere=1).build(), fires=1)
    yield Example(
        name="another tunnel",
        why="the rule alone shows it",
        tables=_bare().rule(100, table=7, fwmark=5, invert=True).build(),
        fires=1,
        subject=about,
        says=("packets with mark 0x5 (rule 100)",),
    )
    shut = _host().without_routes(table=51820).route("default", type="unreachable", family="inet", table=51820)
    yield Example(
        name="a kill switch", why="no way back at all", tables=shut.build(), fires=1, says=("way back by nothing",)
    )
    odd = _host().rule(32000, table=254, fwmark=1, fwmask=1)
    yield Example(name="odd marks go by main", why="an answer has no mark", tables=odd.build(), fires=1)
    mute = _host().wg_peer("wg0", "b", endpoint=None, allowed_ips=("10.0.0.2/32",))
    yield Example(name="a peer without an endpoint", why="the other has one", tables=mute.build(), fires=1)
    six = _host().wg_peer("wg0", "c", endpoint="2001:db8::9", allowed_ips=("::/0",), age=20).without_rule(32765)
    six.route("default", via="fe80::1", dev="eth0")
    yield Example(name="IPv6", why="it has no such filter", tables=six.build())
    gone = _host().vanished("eth0")
    yield Example(name="the uplink is gone meanwhile", why="its filter is not known", tables=gone.build())
    vrf = WireguardBuilder().link("red", kind="vrf", info={"table": 10})
    vrf.link("eth0", master="red", inet_conf={"rp_filter": 1}).address("eth0", "192.0.2.2/24")
    vrf.link("tun0", kind="tun").route("default", via="192.0.2.1", dev="eth0").route("default", dev="tun0", table=7)
    vrf.rule(100, table=7, fwmark=5, invert=True)
    yield Example(name="in a VRF", why="the way back is looked for there", tables=vrf.build())
    plain = _bare().rule(100, table=7, fwmark=5).without_routes(table=254).without_routes(table=7)
    plain.route("default", dev="tun0").route("default", via="192.0.2.1", dev="eth0", table=7, onlink=True)
    name = "asym-rpfilter-strict-drop judges it"
    yield Example(name="plain rule, the other way round", why=name, tables=plain.build())
    plain.rule(100, family="inet6", table=7, fwmark=5, invert=True)
    yield Example(name="such a rule of IPv6", why="it has no such filter", tables=plain.build())
    apart = _bare().rule(100, table=7, src="10.0.0.0", src_len=8, invert=True)
    yield Example(name="all but one network", why="no mark is asked for", tables=apart.build())
    udp = _host(fwmark=0).without_rule(32765).rule(100, table=254, ip_proto=17).rule(200, table=51820)
    yield Example(name="by a rule for UDP", why="the packets have no mark to forget", tables=udp.build())
    yield Example(name="kept on the interface", why="as it should be", tables=_host(mark=1).build())
    yield Example(name="kept everywhere", why="wg-quick's own way", tables=_host(kept=1).build())
    yield Example(name="loose by all", why="the larger counts", tables=_host(everywhere=2).build())
    yield Example(name="loose", why="any way back will do", tables=_host(2).build())
    yield Example(name="no filter", why="nothing is asked", tables=_host(0).build())
    yield Example(name="no rule", why="no other way back", tables=_bare().build())
    plain = _bare().rule(100, table=7, fwmark=5)
    yield Example(name="plain rule", why="asym-rpfilter-strict-drop judges it", tables=plain.build())
    for name, mark, ifname, kept, fires in (
        ("plain rule, its mark given", 5, "eth0", 0, 1),
        ("plain rule, another mark given", 6, "eth0", 0, 0),
        ("plain rule, its mark given on another interface", 5, "eth7", 0, 0),
        ("plain rule, its mark given and kept", 5, "eth0", 1, 0),
    ):
        two = WireguardBuilder().link("eth0", inet_conf={"rp_filter": 1, "src_valid_mark": kept}).link("eth1")
        two.address("eth0", "192.0.2.2/24").address("eth1", "10.1.0.2/24").rule(100, table=7, fwmark=5)
        two.route("default", via="10.1.0.1", dev="eth1").route("default", via="192.0.2.1", dev="eth0", table=7)
        given = does("immediate", dreg=0, value=mark.to_bytes(4, "little").hex()), does("meta", key="mark", sreg=0)
        gives = nft_rule(iifname(ifname), *given)
        two.nft(table(chain("pre", gives, hook="prerouting", priority="mangle"), family="ip"))
        says = ("which the firewall gives to what comes in by eth0",) if fires else ()
        yield Example(name=name, why="the filter forgets it", tables=two.build(), fires=fires, says=says)
    for name, saved, kept, fires in (
        ("plain rule, its mark kept by the connection", True, 0, 1),
        ("plain rule, its mark restored and never kept", False, 0, 0),
        ("plain rule, its mark kept and asked with", True, 1, 0),
    ):
        two = WireguardBuilder().link("eth0", inet_conf={"rp_filter": 1, "src_valid_mark": kept}).link("eth1")
        two.address("eth0", "192.0.2.2/24").address("eth1", "10.1.0.2/24").rule(100, table=7, fwmark=5)
        two.route("default", via="10.1.0.1", dev="eth1").route("default", via="192.0.2.1", dev="eth0", table=7)
        back = nft_rule(iifname("eth0"), does("ct", key="mark", dreg=0), does("meta", key="mark", sreg=0))
        save = nft_rule(does("meta", key="mark", dreg=0), does("ct", key="mark", sreg=0))
        out = [chain("out", save, hook="output", priority="mangle")] if saved else []
        two.nft(table(chain("pre", back, hook="prerouting", priority="mangle"), *out, family="ip"))
        yield Example(name=name, why="the filter forgets it", tables=two.build(), fires=fires)
    for name, mask, kept, fires in (
        ("plain rule, masked, its connections marked by their uplink", 0xFF, 0, 1),
        ("plain rule, its connections marked by their uplink", None, 0, 1),
        ("plain rule, masked, its connections marked, and asked with", 0xFF, 1, 0),
        ("plain rule, masked to other bits", 0xF00, 0, 0),
    ):
        two = WireguardBuilder().link("eth0", inet_conf={"rp_filter": 1, "src_valid_mark": kept}).link("eth1")
        two.address("eth0", "192.0.2.2/24").address("eth1", "10.1.0.2/24")
        two.rule(100, table=7, fwmark=5 if mask != 0xF00 else 0x500, fwmask=mask)
        two.route("default", via="10.1.0.1", dev="eth1").route("default", via="192.0.2.1", dev="eth0", table=7)
        loads, saves = does("ct", key="mark", dreg=0), does("ct", key="mark", sreg=0)
        sets = does("bitwise", op="mask", sreg=0, dreg=0, length=4, mask="00ffffff", xor="05000000")
        gives = nft_rule(loads, does("meta", key="mark", sreg=0))
        rules = nft_rule(iifname("eth0"), state("new"), loads, sets, saves), gives
        two.nft(table(chain("pre", *rules, hook="prerouting", priority="mangle"), family="ip"))
        yield Example(name=name, why="who is asked by an uplink answers by it", tables=two.build(), fires=fires)
    nowhere = _bare().rule(100, table=7, fwmark=5).without_routes(table=7)
    nowhere.route("default", type="unreachable", family="inet", table=7)
    yield Example(name="plain rule, to nowhere", why="no interface asks", tables=nowhere.build())
    for reply in (0, 1):
        way = WireguardBuilder().link("eth0", inet_conf={"rp_filter": 1}).address("eth0", "192.0.2.2/24").link("eth1")
        way.address("eth1", "10.1.0.2/24").rule(100, table=7, fwmark=5).route("default", via="10.1.0.1", dev="eth1")
        way.route("default", via="192.0.2.1", dev="eth0", table=7)
        given = does("immediate", dreg=0, value="05000000"), does("meta", key="mark", sreg=0)
        asks = (CT_DIRECTION,), does("cmp", sreg=0, op="eq", value=f"{reply:02x}")
        gives = nft_rule(*asks, *given)
        way.nft(table(chain("pre", gives, hook="prerouting", priority="mangle"), family="ip"))
        name = f"plain rule, its mark given by direction {reply}"
        yield Example(name=name, why="the filter forgets it", tables=way.build(), fires=1)
    yield from _unmarked()
    own = _host(fwmark=0).without_rule(32765)
    yield Example(name="no mark", why="the way back is the way out", tables=own.build())
