"""What it checks
  The forward hook drops everything from and to a guest of this host (a virtual machine's tap, a container's bridge or
  veth): by a policy, or by a last rule that stops whatever reaches it, and no rule before it can accept anything, or
  nothing but ICMP of everybody, which templates (ufw's among them) let through. Also where the host has no such guests,
  but is to forward between a tunnel, another namespace, a translated network or a tap that waits for its machine and
  its way out, and nothing at all, or nothing but ICMP of everybody, can be forwarded between any two interfaces (a
  warning: nobody may want it). And where others pass, but not what comes from such an interface whose own addresses a
  rule of nat translates by name on the way out, or over which tracked connections show that others were reached before
  (a warning too). And where a rule lets in others by a WireGuard device than its peers, who may send from their allowed
  addresses alone, and none of these (a warning). And what comes for a network that BIRD announces to a neighbour on one
  interface and that lies behind another one (a warning).

Why it matters
  Docker sets the policy of FORWARD to drop when it starts and accepts its own bridges only; a firewall's template may
  do the same. Virtual machines beside it lose all their traffic at once, while the host itself works, and so do the
  containers. Nothing is logged.

Confirm
  nft -a list chain FAMILY TABLE CHAIN      (the policy, and that nothing before it accepts the interface)
  nft monitor trace                         (with a rule "meta nftrace set 1" for one packet)

Fix
  nft insert rule FAMILY TABLE CHAIN iifname IFNAME accept, and the same with oifname (or only ct state
  established,related there). With Docker put the rules into DOCKER-USER, which it leaves alone:
  iptables -I DOCKER-USER -i IFNAME -j ACCEPT. They hold until the ruleset is loaded anew: write them into its file.
  They open the interface; narrow them as needed.

Not flagged
  A default drop with rules that accept something of the guest: netdiag asks the filter with the guest's interface and
  address and everything else open, and as soon as one packet may pass it is somebody's policy (ICMP alone only where a
  rule lets it through for that guest by name). Guests that a rule stops by name, and guests or peers that may reach
  others, which are in a network of their own (not where a rule lets everybody to those). Hosts with nowhere to forward
  to. As info: guests not forwarded for (ip-forward-off); one of several guests of the same kind that the filter knows
  nothing of, while others pass; a tunnel where counters tell that packets came and none was let through; taps that wait
  for their machines where answers would pass: a pool may be waiting for its rules; a network behind a veth while others
  pass, or two while none does; guests with private addresses that nobody translates and to whom the same table opens a
  TCP port of this host (not DNS) by name: a proxy's.

References
  net/netfilter/nf_tables_core.c nft_do_chain(); nft(8) "CHAINS"; docs.docker.com "Packet filtering and firewalls"
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.nftverdict import Place
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.nft import NftChain
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import (
    chain,
    daddr,
    iifname,
    l4proto,
    oifname,
    plain,
    rule,
    saddr,
    state,
    table,
    verdict,
)
from netdiag.rules.forwardcases import bare_router, case, forward, guest_host, mesh_router, pinged_cases, router_cases
from netdiag.rules.forwardgate import READS, Gate, forgotten, gates, kept_in, shut
from netdiag.rules.forwardshut import forgotten_cases, shut_finding
from netdiag.rules.nftplaces import by_default, chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.peersshut import peers_cases, peers_shut
from netdiag.rules.sandboxcases import sandbox_cases
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.transits import cut_off, transit_cases

RULE = Rule(
    id="nf-forward-drop-policy",
    title="the forward hook drops everything of a guest",
    severity="critical",
    confidence="likely",
    reads=READS,
    consults=("conntrack", "wireguard", "bird", "bird_routes", "rules"),
    explains=("nf-icmp-blocked",),
)
WAYS = {"between": "from and to", "to": "to", "from": "from"}


def check(view: HostView) -> Iterator[Draft]:
    said: set[tuple[str, str, str]] = set()
    for family in ("inet", "inet6"):
        found = list(gates(view, family))
        dead = [one for one in found if one.stop is not None and by_default(one.stop.at)]
        served = {_kind(one) for one in found if one.stop is None}
        strange = [one for one in dead if _kind(one) not in served]
        for group, sure in ((strange, True), (dead, False)):
            for first in _one_a_chain(group):
                assert first.stop is not None
                if _place(first.stop.at) not in said:
                    said.add(_place(first.stop.at))
                    alike = [one for one in group if _same(one, first)]
                    meant = sure and all(kept_in(view, one) for one in alike)
                    yield _finding(view, first, alike, sure=sure and not meant)
        if not found:
            closed = shut(view, family)
            if closed is not None and by_default(closed.stop.at):
                said.add(_place(closed.stop.at))
                yield shut_finding(RULE, closed)
            asleep = [one for one in gates(view, family, forwarded=False) if one.stop and by_default(one.stop.at)]
            for first in _one_a_chain(asleep):
                yield _finding(view, first, [one for one in asleep if _same(one, first)], sure=False)
        if view.read_whole("wireguard"):
            yield from peers_shut(view, family, RULE)
        for draft, place in cut_off(view, family, RULE, said):
            said.add(place)
            yield draft
        for cut in forgotten(view, family):
            if by_default(cut.stop.at) and _place(cut.stop.at) not in said:
                said.add(_place(cut.stop.at))
                yield shut_finding(RULE, cut, alone=True)


def _place(at: Place) -> tuple[str, str, str]:
    return at.table.family, at.table.name, at.chain.name


def _kind(one: Gate) -> str:
    return "machine" if one.guest.machines else one.guest.link.kind or ""


def _chain(one: Gate) -> NftChain:
    assert one.stop is not None
    return one.stop.at.chain


def _same(one: Gate, other: Gate) -> bool:
    """Whether one chain stops both."""
    return _chain(one) is _chain(other)


def _one_a_chain(group: list[Gate]) -> Iterator[Gate]:
    for position, one in enumerate(group):
        if not any(_same(one, before) for before in group[:position]):
            yield one


def _finding(view: HostView, first: Gate, group: list[Gate], *, sure: bool) -> Draft:
    assert first.stop is not None
    at, name = first.stop.at, first.guest.link.ifname
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    where = f"{at.table.family} {quoted(at.table.name)} {quoted(at.chain.name)}"
    docker = at.table.chain("DOCKER-USER")
    answers = "" if first.way == "between" else "ct state established,related "
    states = "" if first.way == "between" else "-m conntrack --ctstate ESTABLISHED,RELATED "
    nft = {"from": f'iifname "{name}" {answers}accept', "to": f'oifname "{name}" {answers}accept'}
    xt = {"from": f"-i {quoted(name)} {states}-j ACCEPT", "to": f"-o {quoted(name)} {states}-j ACCEPT"}
    ways = [first.way] if first.way in nft else list(nft)
    chain_ = "DOCKER-USER" if docker else at.chain.name
    fix = inserts(at.table, chain_, [nft[way] for way in ways], [xt[way] for way in ways])
    kind = "" if first.way == "between" else "answers "
    return RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"{place_words(at)} drops all {kind}{WAYS[first.way]} {name}{more} ({first.guest.prefix}): no rule of"
        f" {where} accepts any of it" + (" but ICMP" if first.pings else ""),
        evidence=[
            fact(first.stop),
            (f"guest behind {name}", first.guest.prefix, "RTM_GETROUTE"),
            (f"rules of {chain_name(at.table, at.chain)}", len(at.chain.rules), "NFT_MSG_GETRULE"),
        ],
        confirm=[list_chain(at.table, at.chain), f"ip route show dev {quoted(name)}"],
        fix=fix,
        confidence=None if sure else "possible",
        breaks=[subject("link", ifname=one.guest.link.ifname) for one in group],
    )


def examples() -> Iterator[Example]:
    about = subject("nft-chain", family="inet", table="filter", chain="forward")
    yield case("empty chain", "the plain fault", guest_host().nft(forward()), 1, subject=about, severity="critical")
    last = forward(rule(iifname("wg0"), verdict("accept")), rule(plain("counter"), verdict("drop")), policy="accept")
    yield case("a last rule that drops", "it does what a policy does", guest_host().nft(last), 1)
    reject = forward(rule(plain("reject", number=2, code=1)), policy="accept")
    yield case("a last rule that rejects", "firewalld ends its chains so", guest_host().nft(reject), 1)
    docker = (
        rule(verdict("jump", "DOCKER-USER")),
        rule(oifname("docker0"), state("related", "established"), verdict("accept")),
        rule(iifname("docker0"), verdict("accept")),
    )
    chains = (chain("FORWARD", *docker, hook="forward", policy="drop"), chain("DOCKER-USER", rule(verdict("return"))))
    yield case(
        "Docker was installed",
        "it accepts its own bridge and sets the policy; the fix goes where it does not look",
        guest_host().nft(table(*chains, family="ip")),
        1,
        says=("DOCKER-USER",),
    )
    pair = docker[1:]
    both = guest_host().link("docker0", kind="bridge", inet_conf={"forwarding": 1}).address("docker0", "172.17.0.1/16")
    both.link("veth1", kind="veth", master="docker0", link_netnsid=0).nft(
        table(chain("FORWARD", *pair, hook="forward", policy="drop"), family="ip")
    )
    yield case("containers pass, machines do not", "the containers are no sign that it is meant", both, 1)
    oneway = forward(rule(iifname("tap0"), verdict("accept")))
    yield case("answers are forgotten", "what leaves is accepted, nothing comes back", guest_host().nft(oneway), 1)
    six = HostBuilder().sysctl("net.ipv6.conf.all.forwarding", 1)
    six.link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    six.tap("tap0").route("2001:db8:1::5/128", dev="tap0").nft(forward())
    yield case("IPv6", "the same hook", six, 1)
    yield from router_cases()
    yield from peers_cases()
    yield from transit_cases()
    yield from pinged_cases()
    old = guest_host().nft(legacy=(forward(family="ip"),))
    yield case("iptables-legacy", "the old backend has the same hook", old, 1)
    yield from _several()
    yield from _silent()
    yield from forgotten_cases()


def _several() -> Iterator[Example]:
    """Guests side by side."""

    def two(*tables: Any) -> HostBuilder:
        return guest_host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30").nft(*tables)

    def opened(name: str, at: str) -> Any:
        pairs = ((name, "eth0"), ("eth0", name))
        ways = [rule(iifname(one), oifname(other), verdict("accept")) for one, other in pairs]
        return table(chain(at, *ways, hook="forward", policy="drop"), name=at)

    alone, chains = ("and to tap1 (10.0.1.0/30)",), (opened("tap0", "a"), opened("tap1", "b"))
    yield case("two chains", "each opens to the other's guest", two(*chains), 2, says=alone)
    idle = two(*chains)
    idle.sysctl("net.ipv4.conf.tap0.forwarding", 0).sysctl("net.ipv4.conf.tap1.forwarding", 0)
    yield case("two chains, nothing is forwarded", "each as far as it goes", idle, 2, severity="info", says=alone)
    pair = forward(rule(iifname("tap*"), oifname("tap*"), verdict("accept")))
    yield case("a network of one", "nobody else is in it", guest_host().nft(pair), 1, severity="critical")
    pairs = (("tap0", "tap1"), ("tap1", "tap0"))
    across = [rule(iifname(one), oifname(other), verdict("accept")) for one, other in pairs]
    yield case("a network of two", "they reach each other", two(forward(*across)))
    net = "10.9.0.0/24"
    sides = (*iifname("tap0"), *saddr(net)), (*oifname("tap0"), *daddr(net))
    foreign = [rule(one, verdict("accept")) for one in sides]
    yield case("others' addresses pass", "not the guest's", guest_host().nft(forward(*foreign)), 1)
    wide = guest_host().route("10.9.0.0/24", dev="tap0", via="10.0.0.2")
    wide.route("10.8.0.7/32", dev="tap0").route("10.9.0.7/32", dev="tap0")
    yield case("one of a guest's networks passes", "that may be all that is meant", wide.nft(forward(*foreign)))
    bridged = guest_host().link("br1", kind="bridge", inet_conf={"forwarding": 1}).address("br1", "10.7.0.1/24")
    bridged.tap("tap7", master="br1").nft(opened("br1", "fw"))
    yield case("machines on a bridge pass", "the other may wait for its rules", bridged, 1, severity="info")
    dual = guest_host().address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    dual.link("wg0", kind="wireguard").address("wg0", "2001:db8:9::1/64").nft(forward())
    yield case("a tunnel of the other family", "one policy, told once", dual, 1)
    ways = bare_router(way_out=False).route("198.51.100.0/24", via="192.0.2.1", dev="eth0")
    ways.link("eth1", inet_conf={"forwarding": 1}).address("eth1", "10.2.0.1/24").route(
        "default", via="10.2.0.2", dev="eth1"
    )
    masq = chain("post", rule(oifname("eth0"), plain("masq")), hook="postrouting", type="nat")
    yield case("two uplinks, both translated", "nobody is inside", ways.nft(forward(), table(masq, name="nat")))
    out = bare_router().tap("tap0", holder=None, inet_conf={"forwarding": 1}).address("tap0", "10.0.0.1/30")
    out.link("vpn0", kind="wireguard", inet_conf={"forwarding": 1})
    out.nft(forward(rule(iifname("tap0"), oifname("vpn0"), verdict("accept"))))
    yield case("guests go by a tunnel without an address", "and nowhere else: a policy", out)
    for carrier, lets, fires in ((True, "tap*", 0), (False, "tap*", 0), (True, "docker0", 1)):
        mesh = HostBuilder().sysctl("net.ipv6.conf.all.forwarding", 1).link("eth0").address("eth0", "2001:db8::2/64")
        mesh.route("default", via="2001:db8::1", dev="eth0").link("docker0", kind="bridge", carrier=False)
        mesh.link("wg0", kind="wireguard").address("wg0", "2001:db8:9::1/64")
        mesh.tap("tap7", holder="firecracker" if carrier else None)
        mesh.nft(forward(rule(iifname(lets), oifname("eth0"), verdict("accept"))))
        name = f"a tunnel beside guests without IPv6, carrier {carrier}, {lets} passes"
        yield case(name, "a policy that forwards for them, the tunnel is the host's own", mesh, fires)


def _silent() -> Iterator[Example]:
    passes = forward(rule(state("established", "related"), verdict("accept")), rule(iifname("tap*"), verdict("accept")))
    yield case("default drop with accept", "that is how it should be", guest_host().nft(passes))
    narrow = forward(
        rule(state("established"), verdict("accept")), rule(saddr("10.0.0.0/24"), plain("limit"), verdict("accept"))
    )
    yield case("something may pass", "a limit, a set, a port: somebody's policy", guest_host().nft(narrow))
    served = forward(rule(state("established"), verdict("accept")), rule(oifname("tap0"), verdict("accept")))
    yield case("a guest that only serves", "what comes to it passes, and the answers", guest_host().nft(served))
    named = forward(rule(iifname("tap0"), verdict("drop")), rule(oifname("tap0"), verdict("drop")), policy="accept")
    yield case("stopped by name", "that is a decision", guest_host().nft(named))
    yield case("policy accept", "nothing is stopped", guest_host().nft(forward(policy="accept")))
    yield case("dormant table", "it is switched off", guest_host().nft(forward(dormant=True)))
    yield case("other family", "an ip6 table does not see IPv4", guest_host().nft(forward(family="ip6")))
    off = guest_host().sysctl("net.ipv4.conf.tap0.forwarding", 0)
    yield case("not forwarded at all", "ip-forward-off speaks", off.nft(forward()), 1, severity="info")
    for name, lets, fires in (
        ("ICMP of everybody", l4proto(1), 1),
        ("ICMP from the tunnel", (*iifname("wg0"), *l4proto(1)), 0),
        ("ICMP and TCP", (), 0),
        ("ICMP of everybody, a guest without addresses beside it", l4proto(1), 1),
    ):
        passing = [rule(lets, verdict("accept"))] if lets else [rule(l4proto(n), verdict("accept")) for n in (1, 6)]
        router = mesh_router().nft(forward(rule(state("established"), verdict("accept")), *passing))
        if "guest" in name:
            router.tap("tap7", inet_conf={"forwarding": 1})
        yield case(f"a tunnel, {name} passes", "as templates have it, or a policy", router, fires)
    two_off = guest_host().tap("tap1").address("tap1", "10.0.1.1/30").sysctl("net.ipv4.conf.tap0.forwarding", 0)
    yield case("two that are not forwarded", "one chain, told once", two_off.nft(forward()), 1, severity="info",
                says=("tap0 and 1 more",))  # fmt: skip
    named_off = forward(rule(iifname("tap0"), verdict("drop")), rule(oifname("tap0"), verdict("drop")))
    off = guest_host().sysctl("net.ipv4.conf.tap0.forwarding", 0)
    yield case("not forwarded, and stopped by name", "that is a decision", off.nft(named_off))
    off = guest_host().sysctl("net.ipv4.conf.tap0.forwarding", 0)
    yield case("not forwarded, and open", "nothing would be stopped", off.nft(forward(policy="accept")))
    answers = rule(state("established", "related"), verdict("accept"))
    for name, why, rules, severity in (
        ("empty pool", "a machine that starts has no way out", (), "warning"),
        ("empty pool, answers pass", "its rules may come with the machine", (answers,), "info"),
    ):
        idle = guest_host(holder=None).nft(forward(*rules))
        yield case(name, why, idle, 1, severity=severity, says=("between tap0 and eth0",))
    bare = bare_router().tap("tap0", holder=None, inet_conf={"forwarding": 1}).nft(forward())
    yield case("empty pool without addresses", "nobody is to be routed", bare)
    both = mesh_router().tap("tap0", holder=None, inet_conf={"forwarding": 1}).address("tap0", "10.0.0.1/30")
    yield case("a tunnel beside an empty pool", "that is in use", both.nft(forward(answers)), 1, severity="warning",
                says=("between wg0 and eth0",))  # fmt: skip
    ways = [rule(iifname(one), oifname(other), verdict("accept")) for one, other in (("tap0", "eth0"),)]
    yield case("an empty pool with its rules", "as it should be", guest_host(holder=None).nft(forward(*ways)))
    veth = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    veth.link("eth0", kind="veth", link_netnsid=0, inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    veth.route("default", via="192.0.2.1", dev="eth0")
    veth.tap("tap0", holder=None, inet_conf={"forwarding": 1}).address("tap0", "10.0.0.1/30").nft(forward())
    yield case("a cable is the way out", "a host within a host", veth, 1, says=("between tap0 and eth0",))
    docker0 = mesh_router().link("docker0", kind="bridge", carrier=False, inet_conf={"forwarding": 1})
    idle_rule = rule(iifname("docker0"), oifname("docker0", "neq"), verdict("accept"))
    docker0.address("docker0", "172.17.0.1/16").nft(forward(idle_rule))
    yield case("an idle Docker beside a tunnel", "its policy, which lets its own pass", docker0)
    client = mesh_router().route("0.0.0.0/1", dev="wg0").route("128.0.0.0/1", dev="wg0").nft(forward())
    yield case("a tunnel to the Internet", "its client forwards for nobody", client)
    dark = bare_router().link("v0", kind="veth", carrier=False, link_netnsid=0, inet_conf={"forwarding": 1})
    yield case("a cable without a carrier", "nobody is there", dark.address("v0", "10.9.0.1/24").nft(forward()))
    router = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    router.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    router.route("default", via="192.0.2.1", dev="eth0")
    router.link("eth1", inet_conf={"forwarding": 1}).address("eth1", "10.2.0.1/24").nft(forward())
    yield case("two cards", "forwarding may be on for nobody", router)
    alone = HostBuilder().link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    yield case("no guests", "a host that drops what it does not forward", alone.nft(forward()))
    among = forward(rule(iifname("tap*"), oifname("tap*"), verdict("accept")))
    apart = guest_host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30").nft(among)
    yield case("a network of its own", "the guests reach each other and nothing else", apart)
    beside = guest_host().link("br0", kind="bridge", inet_conf={"forwarding": 1}).address("br0", "10.9.0.1/24")
    beside.link("veth1", kind="veth", master="br0")
    every = forward(rule(iifname("br0"), verdict("accept")), rule(oifname("br0"), verdict("accept")))
    yield case("all may go to the containers", "the machines may go nowhere else", beside.nft(every), 1)
    pool = guest_host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30")
    some = forward(rule(state("established"), verdict("accept")), rule(iifname("tap0"), verdict("accept")))
    yield case("one of two", "it may wait for its rules", pool.nft(some), 1, severity="info")
    yield from sandbox_cases(case, guest_host)
    xt = forward(rule(plain("target", key="REJECT")), policy="accept", family="ip")
    yield case("a last REJECT of iptables", "a target that takes all", guest_host().nft(xt), 1)
