"""What it checks
  The forward hook drops everything from and to a guest of this host (a virtual machine's tap, a container's bridge or
  veth): by a policy, or by a last rule that stops whatever reaches it, and no rule before it can accept anything. Also
  where the host has no such guests, but is to forward between a tunnel, another namespace or a translated network and
  its way out, and nothing at all can be forwarded between any two interfaces (a warning: nobody may want it).

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
  address and everything else open, and as soon as one packet may pass it is somebody's policy. Guests that a rule
  stops by name, and guests that may reach other guests, which are in a network of their own. Interfaces of guests
  without a carrier, hosts that do not forward (ip-forward-off), hosts with nowhere to forward to. One of several
  guests of the same kind that the filter knows nothing of, while others pass, is info: a pool may be waiting for its
  rules.

References
  net/netfilter/nf_tables_core.c nft_do_chain(); nft(8) "CHAINS"; docs.docker.com "Packet filtering and firewalls"
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, iifname, oifname, plain, rule, saddr, state, table, verdict
from netdiag.rules.forwardgate import READS, Gate, gates, shut
from netdiag.rules.nftplaces import by_default, chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="nf-forward-drop-policy",
    title="the forward hook drops everything of a guest",
    severity="critical",
    confidence="likely",
    reads=READS,
    explains=("nf-icmp-blocked",),
)
WAYS = {"between": "from and to", "to": "to", "from": "from"}


def check(view: HostView) -> Iterator[Draft]:
    said: set[tuple[str, str, str]] = set()
    for family in ("inet", "inet6"):
        found = list(gates(view, family))
        dead = [one for one in found if one.stop is not None and by_default(one.stop.at)]
        served = {_kind(one) for one in found if one.stop is None}
        forgotten = [one for one in dead if _kind(one) not in served]
        waiting = [one for one in dead if _kind(one) in served]
        for group, sure in ((forgotten, True), (waiting, False)):
            for first in _one_a_chain(group):
                assert first.stop is not None
                place = (first.stop.at.table.family, first.stop.at.table.name, first.stop.at.chain.name)
                if place not in said:
                    said.add(place)
                    yield _finding(view, first, [one for one in group if _same(one, first)], sure=sure)
        if not said and not found:
            yield from _shut(view, family)


def _shut(view: HostView, family: str) -> Iterator[Draft]:
    """A router without guests, through which nothing passes."""
    closed = shut(view, family)
    if closed is None or not by_default(closed[2].at):
        return
    inner, way_out, stop = closed
    at = stop.at
    nft = [f'iifname "{inner.ifname}" accept', f'oifname "{inner.ifname}" ct state established,related accept']
    xt = [
        f"-i {quoted(inner.ifname)} -j ACCEPT",
        f"-o {quoted(inner.ifname)} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    ]
    yield RULE.found(
        subject=chain_subject(at.table, at.chain),
        message=f"this host is to forward, but {place_words(at)} drops all that would be: between {inner.ifname} and"
        f" {way_out.ifname}, and between any other two interfaces",
        evidence=[
            fact(stop),
            ("forwarding", 1, "/proc/sys/net/ipv4/ip_forward, /proc/sys/net/ipv6/conf/all/forwarding"),
            (f"rules of {chain_name(at.table, at.chain)}", len(at.chain.rules), "NFT_MSG_GETRULE"),
        ],
        confirm=[list_chain(at.table, at.chain), "sysctl net.ipv4.ip_forward"],
        fix=inserts(at.table, at.chain.name, nft, xt),
        severity="warning",
        breaks=[subject("link", ifname=inner.ifname)],
    )


def _kind(one: Gate) -> str:
    return "machine" if one.guest.machines else one.guest.link.kind or ""


def _same(one: Gate, other: Gate) -> bool:
    return one.stop is not None and other.stop is not None and one.stop.at.chain is other.stop.at.chain


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
        f" {where} accepts any of it",
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


def _host(**fields: Any) -> HostBuilder:
    host = HostBuilder().sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv6.conf.all.forwarding", 1)
    host.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24").route(
        "default", via="192.0.2.1", dev="eth0"
    )
    host.tap("tap0", inet_conf={"forwarding": 1}, **fields).address("tap0", "10.0.0.1/30")
    return host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: Any) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)


def _forward(*rules: Any, policy: str = "drop", **fields: Any) -> Any:
    return table(chain("forward", *rules, hook="forward", policy=policy), **fields)


def examples() -> Iterator[Example]:
    about = subject("nft-chain", family="inet", table="filter", chain="forward")
    yield _case("empty chain", "the plain fault", _host().nft(_forward()), 1, subject=about, severity="critical")
    last = _forward(rule(iifname("wg0"), verdict("accept")), rule(plain("counter"), verdict("drop")), policy="accept")
    yield _case("a last rule that drops", "it does what a policy does", _host().nft(last), 1)
    reject = _forward(rule(plain("reject", number=2, code=1)), policy="accept")
    yield _case("a last rule that rejects", "firewalld ends its chains so", _host().nft(reject), 1)
    docker = (
        rule(verdict("jump", "DOCKER-USER")),
        rule(oifname("docker0"), state("related", "established"), verdict("accept")),
        rule(iifname("docker0"), verdict("accept")),
    )
    chains = (chain("FORWARD", *docker, hook="forward", policy="drop"), chain("DOCKER-USER", rule(verdict("return"))))
    yield _case(
        "Docker was installed",
        "it accepts its own bridge and sets the policy; the fix goes where it does not look",
        _host().nft(table(*chains, family="ip")),
        1,
        says=("DOCKER-USER",),
    )
    pair = docker[1:]
    both = _host().link("docker0", kind="bridge", inet_conf={"forwarding": 1}).address("docker0", "172.17.0.1/16")
    both.link("veth1", kind="veth", master="docker0", link_netnsid=0).nft(
        table(chain("FORWARD", *pair, hook="forward", policy="drop"), family="ip")
    )
    yield _case("containers pass, machines do not", "the containers are no sign that it is meant", both, 1)
    oneway = _forward(rule(iifname("tap0"), verdict("accept")))
    yield _case("answers are forgotten", "what leaves is accepted, nothing comes back", _host().nft(oneway), 1)
    six = HostBuilder().sysctl("net.ipv6.conf.all.forwarding", 1)
    six.link("eth0").address("eth0", "2001:db8::2/64").route("default", via="2001:db8::1", dev="eth0")
    six.tap("tap0").route("2001:db8:1::5/128", dev="tap0").nft(_forward())
    yield _case("IPv6", "the same hook", six, 1)
    mesh = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    mesh.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    mesh.route("default", via="192.0.2.1", dev="eth0")
    mesh.link("wg0", kind="wireguard", inet_conf={"forwarding": 1}).address("wg0", "10.9.0.1/24").nft(_forward())
    yield _case("a tunnel's router", "nothing at all is forwarded", mesh, 1)
    old = _host().nft(legacy=(_forward(family="ip"),))
    yield _case("iptables-legacy", "the old backend has the same hook", old, 1)
    yield from _silent()


def _silent() -> Iterator[Example]:
    passes = _forward(
        rule(state("established", "related"), verdict("accept")), rule(iifname("tap*"), verdict("accept"))
    )
    yield _case("default drop with accept", "that is how it should be", _host().nft(passes))
    narrow = _forward(
        rule(state("established"), verdict("accept")), rule(saddr("10.0.0.0/24"), plain("limit"), verdict("accept"))
    )
    yield _case("something may pass", "a limit, a set, a port: somebody's policy", _host().nft(narrow))
    served = _forward(rule(state("established"), verdict("accept")), rule(daddr("10.0.0.0/24"), verdict("accept")))
    yield _case("a guest that only serves", "what comes to it passes, and the answers", _host().nft(served))
    named = _forward(rule(iifname("tap0"), verdict("drop")), rule(oifname("tap0"), verdict("drop")), policy="accept")
    yield _case("stopped by name", "that is a decision", _host().nft(named))
    yield _case("policy accept", "nothing is stopped", _host().nft(_forward(policy="accept")))
    yield _case("dormant table", "it is switched off", _host().nft(_forward(dormant=True)))
    yield _case("other family", "an ip6 table does not see IPv4", _host().nft(_forward(family="ip6")))
    yield _case("empty pool", "no machine behind the tap", _host(holder=None).nft(_forward()))
    off = _host().sysctl("net.ipv4.conf.tap0.forwarding", 0)
    yield _case("not forwarded at all", "ip-forward-off speaks", off.nft(_forward()))
    router = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
    router.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    router.route("default", via="192.0.2.1", dev="eth0")
    router.link("eth1", inet_conf={"forwarding": 1}).address("eth1", "10.2.0.1/24").nft(_forward())
    yield _case("two cards", "forwarding may be on for nobody", router)
    alone = HostBuilder().link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
    yield _case("no guests", "a host that drops what it does not forward", alone.nft(_forward()))
    among = _forward(rule(iifname("tap*"), oifname("tap*"), verdict("accept")))
    apart = _host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30").nft(among)
    yield _case("a network of its own", "the guests reach each other and nothing else", apart)
    pool = _host().tap("tap1", inet_conf={"forwarding": 1}).address("tap1", "10.0.1.1/30")
    some = _forward(rule(state("established"), verdict("accept")), rule(iifname("tap0"), verdict("accept")))
    yield _case("one of two", "it may wait for its rules", pool.nft(some), 1, severity="info")
