"""What it checks
  A UDP flow in use is tracked with a destination that is dead, or was never answered, while a new flow would now be
  sent elsewhere by the rules of nat. Where these choose among backends at random, another flow to the same service
  shows that they take it.

Why it matters
  Rules of nat see the first packet of a flow only. A client that keeps sending from the same port (DNS forwarders,
  syslog, SIP, QUIC, game servers) refreshes its entry for ever: after the backend was replaced, or the rule was made a
  second after the first packet, its datagrams go on to the old place and are lost, while every new client works.

Confirm
  conntrack -L -p udp --orig-dst ADDRESS
  nft list ruleset | grep dnat
  ip route get BACKEND

Fix
  conntrack -D -p udp --orig-dst ADDRESS --orig-port-dst PORT: the next datagram makes a new entry by the rules of now.
  Flows of that service that still work begin anew as well. Whoever changes the rules should do this each time.

Not flagged
  Backends that drain: the old one is still alive. Told as info: flows without an answer to backends that the rules
  still send to, which is nf-orphan-dnat-to-dead; where such a flow was answered before, the backend served it and is
  gone, and the rule stands below. Services whose rule was taken away. Flows without an answer of which a rule takes
  some only (a limit of the rate). TCP, whose clients give up and begin anew.

References
  net/netfilter/nf_nat_core.c nf_nat_inet_fn(); nf_conntrack_proto_udp.c; kubernetes issue 106274
"""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from netdiag.index.nftverdict import Translation
from netdiag.index.view import HostView
from netdiag.model.conntrack import IPS_DST_NAT, IPS_SEEN_REPLY, ConntrackEntry
from netdiag.model.finding import Draft, Subject, subject
from netdiag.model.nft import NftElement, NftExpression, NftSet
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_fdb import entry, fdb
from netdiag.rules.build_nft import Expressions, chain, iifname, nat, plain, port, rule, same, table
from netdiag.rules.nftplaces import chain_subject
from netdiag.rules.shape import Example, Rule
from netdiag.rules.trackedflows import Group, groups
from netdiag.rules.translations import CONSULTS, READS, dead_end, new_packet, rule_targets, wanted

RULE = Rule(
    id="ct-stale-udp-blackhole",
    title="a UDP flow is held at a dead destination by its old tracking entry",
    severity="critical",
    confidence="likely",
    reads=(*READS, "conntrack"),
    consults=CONSULTS,
    explains=("nf-orphan-dnat-to-dead", "route-default-missing"),
)
RANDOM = {"numgen", "hash", "jhash", "symhash", "random", "statistic"}
"""Expressions and keys by which rules choose a backend."""
MOST = 256
"""Flows that are looked at."""
SAME = ("family", "orig_dst", "orig_dport", "reply_src", "reply_sport", "status")


def check(view: HostView) -> Iterator[Draft]:
    table = view.conntrack
    moved_at = (table.reply_src != table.orig_dst).any(axis=1) | (table.reply_sport != table.orig_dport)
    judged = (table.proto == IPPROTO_UDP) & (moved_at | (table.status & IPS_SEEN_REPLY == 0))
    for group in groups(view, judged, SAME):
        entry = group.entry
        moved = (entry.reply_src, entry.reply_sport) != (entry.orig_dst, entry.orig_dport)
        if moved:
            yield from _dead_backend(view, group)
        elif not entry.replied:
            yield from _before_the_rule(view, group)


def _now(view: HostView, entry: ConntrackEntry) -> tuple[Translation, ...]:
    """Where a new flow would go."""
    ends = (entry.orig_src, entry.orig_sport, entry.orig_dst, entry.orig_dport)
    packet = new_packet(view, IPPROTO_UDP, ends)
    found = view.netfilter.hook("output" if packet.iif == "" else "prerouting", packet)
    return tuple(one for one in found.translations if one.kind in ("dnat", "redirect"))


def _dead_backend(view: HostView, group: Group) -> Iterator[Draft]:
    entry = group.entry
    given = _now(view, entry)
    same = len(given) == 1 and given[0].certain and given[0].addr == entry.reply_src
    if not given or (not same and any(one.addr in (None, entry.reply_src) for one in given if one.kind == "dnat")):
        return
    dead = dead_end(view, entry.reply_src)
    if dead is not None:
        yield _finding(group, f"held at {entry.reply_src}, where nobody is any more ({dead.why})", given[0], dead.fact,
                       same=same, breaks=wanted(entry.reply_src, dead))  # fmt: skip


def _before_the_rule(view: HostView, group: Group) -> Iterator[Draft]:
    entry = group.entry
    given = _now(view, entry)
    if not given or not (given[0].certain or _shared_out(view, entry, given)):
        return
    fact = ("answered", "never", "CTA_STATUS without IPS_SEEN_REPLY")
    if all(_elsewhere(entry, one) for one in given):
        yield _finding(group, "sent as before the rule was made, without an answer", given[0], fact)


def _shared_out(view: HostView, entry: ConntrackEntry, given: tuple[Translation, ...]) -> bool:
    """Whether rules share the load among backends at random, which makes each of them uncertain, and another flow to
    the same service was given one and is answered."""
    steps = (e for one in given for at in one.at.table.chains for rule in at.rules for e in rule.expressions)
    if not any(step.name in RANDOM or step.key in RANDOM for step in steps):
        return False
    table = view.conntrack
    alike = (table.proto == IPPROTO_UDP) & (table.orig_dport == entry.orig_dport) & (table.status & IPS_SEEN_REPLY != 0)
    alike &= (table.reply_src != table.orig_dst).any(axis=1)
    return any(table.row(at).orig_dst == entry.orig_dst for at in np.flatnonzero(alike)[:MOST].tolist())


def _elsewhere(entry: ConntrackEntry, one: Translation) -> bool:
    """Whether a rule sends the flow to another place than its first destination, whichever of a map's it takes."""
    if one.kind == "redirect" or one.addr is not None:
        return (one.addr or entry.orig_dst, one.port or entry.orig_dport) != (entry.orig_dst, entry.orig_dport)
    goals = {address for address, _ in rule_targets(one.at.table, one.at.rule)} if one.at.rule is not None else set()
    return bool(goals) and entry.orig_dst not in goals


def _finding(
    group: Group,
    where: str,
    now: Translation,
    fact: tuple[str, object, str],
    *,
    same: bool = False,
    breaks: Iterable[Subject] = (),
) -> Draft:
    """``same``: the rules still send new flows there too, of which nf-orphan-dnat-to-dead speaks, unless the backend
    has answered: then it went under a flow that still sends."""
    entry = group.entry
    about = chain_subject(now.at.table, now.at.chain)
    served = same and entry.replied
    version = "-f ipv6 " if entry.family == "inet6" else ""
    target = now.addr or ("this host" if now.kind == "redirect" else "one of several backends")
    goal = f"{target} port {now.port}" if now.port else target
    return RULE.found(
        subject=subject("conntrack", proto="udp", dst=entry.orig_dst, dport=entry.orig_dport),
        message=f"{group.count} UDP {'flow' if group.count == 1 else 'flows'} to {entry.orig_dst} port "
        f"{entry.orig_dport} (from {entry.orig_src}) {'is' if group.count == 1 else 'are'} {where}; the rules "
        + (f"still say so for new ones ({goal})" if same else f"now say {goal}"),
        severity="info" if same and not served else None,
        evidence=[
            ("flow", f"{entry.orig_src} port {entry.orig_sport}, {entry.timeout} s left", "IPCTNL_MSG_CT_GET"),
            ("goes to", f"{entry.reply_src} port {entry.reply_sport}", "CTA_TUPLE_REPLY"),
            fact,
        ],
        confirm=[f"conntrack -L {version}-p udp --orig-dst {entry.orig_dst}", f"ip route get {entry.reply_src}"],
        fix=f"conntrack -D {version}-p udp --orig-dst {entry.orig_dst} --orig-port-dst {entry.orig_dport}"
        + ("  # once the rule says another place" if same else ""),
        touches=[] if served else [about],
        breaks=[*([about] if served else []), *(breaks if served or not same else ())],
    )


def _host(*backends: str, to: str | Expressions | None = "10.0.0.3") -> HostBuilder:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
    for number, address in enumerate(backends):
        host.tap(f"tap{number}").route(f"{address}/32", dev=f"tap{number}")
    if to is not None:
        one = rule(port(17, 53), nat("dnat", to, 5353) if isinstance(to, str) else to)
        host.nft(table(chain("pre", one, hook="prerouting", priority="dstnat", type="nat"), family="ip"))
    return host


def _flow(host: HostBuilder, backend: str, *, dport: int = 5353, status: int = 0xE | IPS_DST_NAT) -> HostBuilder:
    return host.conntrack(17, "192.0.2.50 4000 192.0.2.2 53", f"{backend} {dport} 192.0.2.50 4000", status=status)


def examples() -> Iterator[Example]:
    def case(name: str, why: str, host: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=host.build(), fires=fires, severity="critical" if fires else None)

    unanswered, answered = 0x8, 0xE
    yield case("backend replaced", "the old one is gone", _flow(_host("10.0.0.3"), "10.0.0.2"), 1)
    early = _flow(_host("10.0.0.3"), "192.0.2.2", dport=53, status=unanswered)
    yield case("before the rule", "the first packet came a second too early", early, 1)
    yield case("draining", "the old backend is alive", _flow(_host("10.0.0.3", "10.0.0.2"), "10.0.0.2"))
    still = _flow(_host("10.0.0.9", to="10.0.0.2"), "10.0.0.2").build()
    words = ("still say so for new ones",)
    yield Example(name="rule still says so, it was served", why="it still sends, to nobody", tables=still, fires=1,
                  severity="critical", says=(*words, "# once the rule says another place"))  # fmt: skip
    never = _flow(_host("10.0.0.9", to="10.0.0.2"), "10.0.0.2", status=unanswered | IPS_DST_NAT).build()
    yield Example(name="rule still says so, never served", why="nf-orphan-dnat-to-dead speaks", tables=never, fires=1,
                  severity="info", says=words)  # fmt: skip
    perhaps = _flow(_host("10.0.0.9", to=(*plain("limit"), *nat("dnat", "10.0.0.2", 5353))), "10.0.0.2")
    yield case("rule says so for some", "where the others go is not known", perhaps)
    yield case("right backend", "as it must be", _flow(_host("10.0.0.3"), "10.0.0.3"))
    local = _flow(_host("10.0.0.3"), "192.0.2.2", dport=53, status=answered)
    yield case("answered before the rule", "the host's own service still serves it", local)
    yield case("rule taken away", "nothing would be translated now", _flow(_host("10.0.0.3", to=None), "10.0.0.2"))
    redirect = (NftExpression(name="immediate", dreg=0, value="14e9"), NftExpression(name="redir", sreg_port=0))
    proxy = (redirect[0], NftExpression(name="tproxy", family="ip", sreg_port=0))
    moved = _flow(_host("10.0.0.3", to=redirect), "10.0.0.2")
    yield case("redirected now", "the service came to this host", moved, 1)
    proxied = _flow(_host("10.0.0.3", to=proxy), "10.0.0.2")
    yield case("given to a proxy now", "no rule translates it, so another entry would not help", proxied)
    for name, why, to, fires in (
        ("to this host's other port", "a redirect keeps the address", redirect, 1),
        ("to another host's same port", "the port is kept", nat("dnat", "10.0.0.3"), 1),
        ("to another port of the same address", "a service behind another port", nat("dnat", "192.0.2.2", 5353), 1),
        ("to the same port of this host", "nothing would change", plain("redir"), 0),
        ("to the same address", "nothing would change", nat("dnat", "192.0.2.2"), 0),
        ("perhaps to another host", "a limit lets some through", (*plain("limit"), *nat("dnat", "10.0.0.3")), 0),
        ("to a proxy", "tproxy changes no address", proxy, 0),
    ):
        early = _flow(_host("10.0.0.3", to=to), "192.0.2.2", dport=53, status=unanswered)
        yield case(f"before the rule, {name}", why, early, fires)
    yield from _senders()
    yield from _spread()
    yield from _unplugged()


def _unplugged() -> Iterator[Example]:
    """A backend in a bridge whose port is gone, while the neighbour table still has it."""
    here, gone, other = "02:00:00:00:00:03", "02:00:00:00:00:02", "02:00:00:00:00:09"
    for name, why, ports, confirmed, fires, more in (
        ("its port is gone", "nobody is behind its hardware address", (here,), 5.0, 1, {}),
        ("its port is gone, by an ageing of a minute", "the same", (here,), 5.0, 1, {"ageing_time": 6000}),
        ("its port is gone, or it was silent", "forgotten within seconds", (here,), 5.0, 0, {"ageing_time": 5999}),
        ("a port that does not learn", "it may be behind that", (here,), 5.0, 0, {"learning": False}),
        ("its port is there", "it drains", (here, gone), 5.0, 0, {}),
        ("heard long ago", "a bridge forgets who is silent", (here,), 90.0, 0, {}),
        ("the bridge has learned nothing", "a hub", (), 5.0, 0, {}),
    ):
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("default", via="192.0.2.1", dev="eth0")
        info = {key: value for key, value in more.items() if key == "ageing_time"}
        host.link("br0", kind="bridge", info=info).address("br0", "10.0.0.1/24").tap("tap9", master="br0")
        host.tap("tap8", master="br0", slave_info={"learning": more.get("learning", True)})
        host.neighbour("10.0.0.2", dev="br0", lladdr=gone, confirmed=confirmed)
        host.neighbour("10.0.0.3", dev="br0", lladdr=here, state="stale")
        one = rule(port(17, 53), nat("dnat", "10.0.0.3", 5353))
        host.nft(table(chain("pre", one, hook="prerouting", priority="dstnat", type="nat"), family="ip"))
        rows = [entry(host, lladdr, None, dev="tap9", state=2, flags=0) for lladdr in ports]
        rows.append(entry(host, other, None, dev="tap9", flags=0))
        tables = replace(_flow(host, "10.0.0.2").build(), fdb=fdb(rows))
        yield Example(name=name, why=why, tables=tables, fires=fires)


def _spread() -> Iterator[Example]:
    """Flows from before rules that choose among two backends."""

    def lot(number: int, address: str) -> NftElement:
        return NftElement(key=number.to_bytes(4, "little").hex(), value=socket.inet_aton(address).hex())

    def mapped(*addresses: str, key: str = "random") -> tuple[Expressions, NftSet]:
        elements = tuple(lot(number, address) for number, address in enumerate(addresses))
        known = NftSet(name="m", handle=1, flags=("map",), key_len=4, data_len=4, elements=elements)
        chosen = NftExpression(name="numgen", key=key, dreg=1)
        found = NftExpression(name="lookup", sreg=1, dreg=1, set="m")
        return (chosen, found, NftExpression(name="nat", key="dnat", family="ip", sreg=1)), known

    def host(
        *rules: Expressions,
        known: NftSet | None = None,
        other: str | None = "10.0.0.4 5353",
        status: int = 0xE | IPS_DST_NAT,
    ) -> HostBuilder:
        made = _host("10.0.0.3", "10.0.0.4", to=None)
        rows = [rule(port(17, 53), each) for each in rules]
        base = chain("pre", *rows, hook="prerouting", priority="dstnat", type="nat")
        made.nft(table(base, family="ip", sets=(known,) if known else ()))
        if other:
            made.conntrack(17, "192.0.2.60 4000 192.0.2.2 53", f"{other} 192.0.2.60 4000", status=status)
        return _flow(made, "192.0.2.2", dport=53, status=0x8)

    chance = (*plain("match", key="statistic"), *nat("dnat", "10.0.0.3", 5353))
    rest = nat("dnat", "10.0.0.4", 5353)
    for name, why, made, fires in (
        ("by chance, and the rest", "kube-proxy's way; another client shows it", host(chance, rest), 1),
        ("by chance, nobody else asked", "nothing shows that it takes flows", host(chance, rest, other=None), 0),
        (
            "by chance, another is not answered",
            "nothing shows that any backend lives",
            host(chance, rest, other="10.0.0.4 5353", status=0x8 | IPS_DST_NAT),
            0,
        ),
        (
            "by chance, this host answers another",
            "that one is not sent on",
            host(chance, rest, other="192.0.2.2 53"),
            0,
        ),
        ("perhaps, another was sent on", "a limit", host((*plain("limit"), *rest)), 0),
    ):
        yield Example(name=f"shared out {name}", why=why, tables=made.build(), fires=fires)
    for key, addresses, fires in (
        ("random", ("10.0.0.3", "10.0.0.4"), 1),
        ("inc", ("10.0.0.3", "10.0.0.4"), 1),
        ("random", ("10.0.0.3", "192.0.2.2"), 0),
        ("random", (), 0),
    ):
        steps, known = mapped(*addresses, key=key)
        made = host(steps, known=known)
        says = ("one of several backends",) if fires else ()
        name = f"shared out by a map ({key}) to {' and '.join(addresses) or 'nobody'}"
        yield Example(name=name, why="where it may go", tables=made.build(), fires=fires, says=says)


def _senders() -> Iterator[Example]:
    """Which rules a new flow would meet: by where it comes in, and whose address it is sent to."""
    dnat = nat("dnat", "10.0.0.3")
    local = (NftExpression(name="fib", key="type", dreg=0, flags=("daddr",)), same("02000000"))
    for name, why, to, fires in (
        ("by the interface", "its answers leave there", (*iifname("eth0"), *dnat), 1),
        ("by another interface", "it does not come in there", (*iifname("eth9"), *dnat), 0),
        ("to this host's addresses", "it is one", (*local, *dnat), 1),
    ):
        early = _flow(_host("10.0.0.3", to=to), "192.0.2.2", dport=53, status=0x8)
        yield Example(name=f"before the rule, {name}", why=why, tables=early.build(), fires=fires)
    spread = _host("10.0.0.3", to=(*iifname("eth0"), *dnat)).link("eth1").address("eth1", "198.51.100.2/24")
    spread.route("192.0.2.48/28", hops=[spread.hop("eth0", "192.0.2.9"), spread.hop("eth1", "198.51.100.9")])
    early = _flow(spread, "192.0.2.2", dport=53, status=0x8)
    yield Example(name="before the rule, one of two ways", why="it may come by the other", tables=early.build())
    for hook, fires in (("output", 1), ("prerouting", 0)):
        own = _host("10.0.0.3", to=None)
        own.nft(table(chain("nat", rule(port(17, 53), dnat), hook=hook, priority="dstnat", type="nat"), family="ip"))
        own.conntrack(17, "192.0.2.2 4000 203.0.113.53 53", "10.0.0.2 53 192.0.2.2 4000", status=0xE | IPS_DST_NAT)
        why = "what this host sends itself meets the output hook"
        yield Example(name=f"its own flow, a rule of {hook}", why=why, tables=own.build(), fires=fires)
