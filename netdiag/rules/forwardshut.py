"""What nf-forward-drop-policy says of a way that is shut where no guest is known, and its examples of networks that the
filter forgot. Pure."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iifname, l4proto, oifname, plain, rule, saddr, state, table, verdict
from netdiag.rules.forwardgate import Shut
from netdiag.rules.nftplaces import chain_name, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted

DOCKER = "docker0", "bridge", "172.17.0.1"


def shut_finding(rule: Rule, closed: Shut, *, alone: bool = False) -> Draft:
    """A router through which nothing passes; ``alone``: others pass, and a network that is translated does not."""
    inner, way_out, stop = closed.inner, closed.way_out, closed.stop
    waits = inner.carrier is False and closed.answers
    at = stop.at
    nft = [f'iifname "{inner.ifname}" accept', f'oifname "{inner.ifname}" ct state established,related accept']
    xt = [
        f"-i {quoted(inner.ifname)} -j ACCEPT",
        f"-o {quoted(inner.ifname)} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    ]
    where = "DOCKER-USER" if alone and at.table.chain("DOCKER-USER") else at.chain.name
    one = closed.tracked
    why = f"a rule translates what comes from {inner.ifname} and leaves by {way_out.ifname}"
    if one is not None:
        why = f"connections between {inner.ifname} and elsewhere were answered ({one.orig_src} to {one.orig_dst})"
    guess = not closed.named and one is None
    what = (
        f"{why}, but {place_words(at)} drops all {'answers to it' if closed.answers else 'of it'}"
        if alone
        else f"this host is to forward, but {place_words(at)} drops all that would be: between {inner.ifname} and"
        f" {way_out.ifname}, and between any other two interfaces"
    )
    if guess and alone:
        what = (
            f"{place_words(at)} drops all {'answers ' if closed.answers else ''}between {way_out.ifname} and the"
            f" network in another namespace behind {inner.ifname}: right if that is to reach this host alone"
        )
    if guess and closed.refused:
        what = (
            f"{place_words(at)} drops all between {way_out.ifname} and {inner.ifname}; {closed.refused} packets came to"
            f" be forwarded so far, and none was let through: right if {inner.ifname} is to reach this host alone"
        )
    return rule.found(
        subject=chain_subject(at.table, at.chain),
        message=what,
        evidence=[
            fact(stop),
            ("forwarding", 1, "/proc/sys/net/ipv4/ip_forward, /proc/sys/net/ipv6/conf/all/forwarding"),
            (f"rules of {chain_name(at.table, at.chain)}", len(at.chain.rules), "NFT_MSG_GETRULE"),
            *([("came to be forwarded", closed.refused, "NFT_MSG_GETRULE counter")] if closed.refused else []),
            *([("got through before", f"{one.orig_src} to {one.orig_dst}", "IPCTNL_MSG_CT_GET")] if one else []),
        ],
        confirm=[list_chain(at.table, at.chain), "sysctl net.ipv4.ip_forward"],
        fix=inserts(at.table, where, nft, xt),
        severity="warning",
        confidence="possible" if waits or guess else None,
        breaks=[subject("link", ifname=inner.ifname)],
    )


def forgotten_cases() -> Iterator[Example]:
    """A tunnel to the world beside an engine, which set the policy and accepts its own; and routers."""

    def host(
        *source: Any,
        extra: Any = None,
        more: Any = None,
        name: str = "wg0",
        up: bool = True,
        guest: bool = True,
        cable: bool = False,
    ) -> HostBuilder:
        made = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
        made.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
        made.route("default", via="192.0.2.1", dev="eth0")
        if cable:  # to a network in another namespace
            made.link("veth7", kind="veth", link_netnsid=2, inet_conf={"forwarding": 1}).address("veth7", "10.7.0.1/24")
        kind = "wireguard" if name == "wg0" else None
        made.link(name, kind=kind, carrier=up, inet_conf={"forwarding": 1}).address(name, "10.8.0.1/24")
        made.link("docker0", kind="bridge", carrier=guest, inet_conf={"forwarding": 1})
        made.address("docker0", "172.17.0.1/16")
        if guest:
            made.link("veth1", kind="veth", master="docker0", link_netnsid=1)
        ways = [rule(oifname("docker0"), state("established", "related"), verdict("accept"))]
        ways += [rule(iifname("docker0"), verdict("accept")), *(one for one in (extra, more) if one)]
        nat = [rule(saddr("172.17.0.0/16"), oifname("docker0", "neq"), plain("masq"))]
        nat += [rule(*source, plain("masq"))] if source else []
        post = chain("POSTROUTING", *nat, hook="postrouting", priority="srcnat", type="nat")
        user = chain("DOCKER-USER", rule(verdict("return")))
        return made.nft(table(chain("FORWARD", *ways, hook="forward", policy="drop"), user, post, family="ip"))

    def case(name: str, why: str, made: HostBuilder, fires: int = 1) -> Example:
        more: dict[str, Any] = {"severity": "warning"} if fires else {}
        says = ("a rule translates what comes from", "DOCKER-USER") if fires else ()
        return Example(name=f"translated, {name}", why=why, tables=made.build(), fires=fires, says=says, **more)

    beside = partial(host, cable=True)
    own = (saddr("10.8.0.0/24"), oifname("eth0"))
    yield case("beside an engine", "its policy forgets the tunnel", host(*own))
    yield case("beside an idle engine", "likewise", host(*own, guest=False))
    yield case("beside a cable", "the tunnel is meant to", beside(*own))
    yield case("a LAN", "a network as well", host(*own, name="eth1"))
    pings = rule(l4proto(1), verdict("accept"))
    yield case("but for ICMP of everybody", "no network", host(*own, extra=pings))
    some, answers = rule(iifname("wg0"), verdict("accept")), rule(state("established", "related"), verdict("accept"))
    yield case("and accepted, but for the answers", "half of a recipe", host(*own, extra=some))
    yield case("and accepted", "as it should be", host(*own, extra=some, more=answers), 0)
    yield case("with everybody", "the way out of whatever is forwarded", host(oifname("eth0")), 0)
    yield case("not at all", "a tunnel to this host alone", host(), 0)
    yield from _refused()
    yield case("others", "not the tunnel", host(saddr("10.9.0.0/24"), oifname("eth0")), 0)
    yield case("by a dark interface", "nothing comes from there", host(*own, name="eth1", up=False), 0)
    for name, flow, status, fires in (
        ("to elsewhere", "10.8.0.5 4000 203.0.113.9 443|203.0.113.9 443 10.8.0.5 4000", 0xE, 1),
        ("from elsewhere", "203.0.113.9 4000 10.8.0.5 443|10.8.0.5 443 203.0.113.9 4000", 0xE, 1),
        ("that was never answered", "10.8.0.5 4000 203.0.113.9 443|203.0.113.9 443 10.8.0.5 4000", 0x8, 0),
        ("to this host", "10.8.0.5 4000 192.0.2.2 443|192.0.2.2 443 10.8.0.5 4000", 0xE, 0),
        ("among themselves", "10.8.0.5 4000 10.8.0.6 443|10.8.0.6 443 10.8.0.5 4000", 0xE, 0),
        ("of others", "10.9.0.5 4000 203.0.113.9 443|203.0.113.9 443 10.9.0.5 4000", 0xE, 0),
    ):
        orig, reply = flow.split("|")
        made = host().conntrack(6, orig, reply, status=status, tcp_state="established")
        says = ("were answered",) if fires else ()
        why = "what got through before the policy came"
        yield Example(name=f"a connection {name}", why=why, tables=made.build(), fires=fires, says=says)
    by_name = rule(iifname("veth7"), verdict("drop")), rule(oifname("veth7"), verdict("drop"))
    lets = rule(iifname("veth7"), verdict("accept")), rule(oifname("veth7"), verdict("accept"))
    for name, why, made, severity in (
        ("beside an engine", "it may be meant to reach this host alone", beside(), "info"),
        ("whose connection got through", "it was let through", beside().conntrack(
            6, "10.7.0.5 4000 203.0.113.9 443", "203.0.113.9 443 10.7.0.5 4000", status=0xE, tcp_state="established"
        ), "warning"),
        ("stopped by name", "that is a decision", beside(extra=by_name[0], more=by_name[1]), None),
        ("let through", "as it should be", beside(extra=lets[0], more=lets[1]), None),
    ):  # fmt: skip
        says = ("between eth0 and the network in another namespace behind veth7",) if severity == "info" else ()
        alarm: dict[str, Any] = {"fires": 1, "severity": severity} if severity else {}
        yield Example(name=f"a cable to a network, {name}", why=why, tables=made.build(), says=says, **alarm)
    named = rule(iifname("wg0"), verdict("drop"))
    yield case("and stopped by name", "that is a decision", host(*own, extra=named), 0)
    yield from _routers()


def _refused() -> Iterator[Example]:
    """A tunnel beside an engine whose chain counts, as those of iptables do."""
    for name, came, passed, ends, fires in (
        ("nothing came", 0, 0, {}, 0),
        ("what came was dropped", 3, 0, {}, 1),
        ("what came got through", 3, 3, {}, 0),
        ("some of what came got through", 3, 2, {}, 0),
        ("accepts do not count", 3, None, {}, 0),
        ("the policy counts", 0, None, {"packets": 2}, 1),
        ("a last rule counts", 0, None, {"last": 2}, 1),
    ):
        counts = plain("counter", packets=came), plain("counter", packets=passed)
        accept = rule(iifname("docker0"), *(counts[1:] if passed is not None else ()), verdict("accept"))
        rules = [rule(counts[0], verdict("jump", "DOCKER-USER")), rule(verdict("jump", "DOCKER-FORWARD"))]
        if last := ends.get("last"):
            rules.append(rule(plain("counter", packets=last), verdict("drop")))
        base = chain("FORWARD", *rules, hook="forward", policy="drop")
        base = msgspec.structs.replace(base, packets=ends.get("packets"))
        mine = chain("DOCKER-USER", rule(verdict("return"))), chain("DOCKER-FORWARD", accept)
        made = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
        for ifname, kind, address in (("eth0", None, "192.0.2.2"), ("wg0", "wireguard", "10.8.0.1"), DOCKER):
            made.link(ifname, kind=kind, inet_conf={"forwarding": 1}).address(ifname, f"{address}/24")
        if name != "nothing came":
            made.link("eth1", inet_conf={"forwarding": 1}).address("eth1", "10.30.0.1/24")
        if "dropped" not in name:
            made.route("default", via="192.0.2.1", dev="eth0")
        tables = made.nft(table(base, *mine, family="ip")).build()
        told: dict[str, Any] = {"severity": "info", "says": ("packets came to be forwarded so far",)} if fires else {}
        yield Example(name=f"a tunnel, {name}", why="who sent it meant it", tables=tables, fires=fires, **told)


def _routers() -> Iterator[Example]:
    """A router between two networks in other namespaces, without a way further on."""
    for name, policy, second, fires in (
        ("two networks", "drop", {}, 1),
        ("two networks, open", "accept", {}, 0),
        ("two networks, one is away", "drop", {"carrier": False}, 0),
        ("a network, and a card", "drop", {"kind": None, "link_netnsid": None}, 0),
    ):
        made = HostBuilder().sysctl("net.ipv4.ip_forward", 1)
        for number, more in enumerate(({}, second)):
            link: dict[str, Any] = {"kind": "veth", "link_netnsid": number} | more
            made.link(f"v{number}", inet_conf={"forwarding": 1}, **link).address(f"v{number}", f"10.{number}.0.1/24")
        made.nft(table(chain("forward", hook="forward", policy=policy), name="filter"))
        told: dict[str, Any] = {"severity": "info", "says": ("between v0 and v1",)} if fires else {}
        why = "nobody says whether it is to forward, but that forwarding is on"
        yield Example(name=f"a router, {name}", why=why, tables=made.build(), fires=fires, **told)
