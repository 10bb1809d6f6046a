"""A host that forwards the answers of TCP connections alone: it never saw their first packets, so that all of it is
invalid, and its filter drops that. What ct-asym-half-seen says of it. Pure.

Nothing is tracked then. What is counted may as well be a scan, or what strangers answer to a forged sender: those knock
at this host itself as a rule. So the rule of the forward hook must have counted most of what ever was invalid; without
its counter it is a possibility.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, plain, rule, state, table, verdict
from netdiag.rules.nftplaces import counted, fact, list_chain, place_words
from netdiag.rules.shape import Example, Rule

MANY = 10
"""Invalid packets between the looks: who is not answered sends again within a second."""
SWITCHES = {"inet": "net.ipv4.ip_forward", "inet6": "net.ipv6.conf.all.forwarding"}


def answers_alone(view: HostView, rule_: Rule, invalid: int, ever: int) -> Draft | None:
    """The finding, where so many packets were invalid between the looks, and ``ever`` since boot, on a host that
    forwards no TCP connection whose answer it knows."""
    stop = next((one for family in SWITCHES if (one := _stopped(view, family)) is not None), None)
    if invalid < MANY or stop is None:
        return None
    there = counted(stop.at.rule) if stop.at.rule is not None else None
    if there is not None and 2 * there < ever:
        return None
    looks = view.conntrack_state
    seconds = round((looks.second_at or 0.0) - looks.at, 1)
    words = "" if there is not None else "; or somebody scans this host"
    return rule_.found(
        subject=subject("conntrack", table="nf_conntrack"),
        message=f"{invalid} packets were invalid in {seconds} s, no forwarded TCP connection is known, and "
        f"{place_words(stop.at)} drops what is invalid: this host may see the answers of connections alone{words}",
        confidence=None if there is not None else "possible",
        evidence=[
            ("invalid", invalid, "/proc/net/stat/nf_conntrack invalid, between the looks"),
            ("invalid so far", ever, "/proc/net/stat/nf_conntrack invalid"),
            ("dropped there so far", "not counted" if there is None else there, "NFT_MSG_GETRULE counter"),
            fact(stop),
        ],
        confirm=["conntrack -S", list_chain(stop.at.table, stop.at.chain)],
        fix="make the ways symmetric, or notrack these flows in a raw chain and accept untracked in forward",
    )


def _stopped(view: HostView, family: str) -> Possible | None:
    """What drops invalid packets that are forwarded, and lets what is known pass."""
    if view.sysctl_int(SWITCHES[family]) != 1:
        return None
    packet = Packet(family=family, proto=IPPROTO_TCP, ct_state="invalid", ct_reply=None, mark=None, ct_mark=None)
    found = view.netfilter.hook("forward", packet)
    return found.blocker if found.passes == "no" else None


def alone_cases() -> Iterator[Example]:
    """Hosts that track nothing that they forward."""

    def case(name: str, why: str, fires: int = 1, *, count: int | None = 200, **more: Any) -> Example:
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").sysctl("net.ipv4.ip_forward", 1)
        host.sysctl("net.ipv6.conf.all.forwarding", 0)
        for name_, value in more.get("sysctls", {}).items():
            host.sysctl(name_, value)
        moved = more.get("moved", MANY)
        host.conntrack_state(at=1.0, second_at=2.0, first={"invalid": 400 - moved}, second={"invalid": 400})
        if "flow" in more:
            host.conntrack(6, "10.0.0.2 4000 203.0.113.9 443", "203.0.113.9 443 10.0.0.2 4000", **more["flow"])
        drop = rule(state("invalid"), *([] if count is None else [plain("counter", packets=count)]), verdict("drop"))
        rules = more.get("rules", (drop,))
        host.nft(table(chain("fwd", *rules, hook="forward", policy=more.get("policy", "accept")), name="t"))
        severity: Any = {"severity": "info" if count is None else "warning"} if fires else {}
        return Example(name=f"answers alone: {name}", why=why, tables=host.build(), fires=fires, **severity)

    yield case("ten a second", "nobody's connection comes to stand")
    yield case("nine a second", "strays", 0, moved=MANY - 1)
    yield case("hardly counted there", "they knock at this host itself", 0, count=199)
    yield case("without a counter", "it may be a scan of this host", count=None)
    known_ = rule(state("established"), verdict("accept"))
    yield case("by the policy", "likewise", count=None, rules=(known_,), policy="drop")
    yield case("no router", "nothing is forwarded", 0, sysctls={"net.ipv4.ip_forward": 0})
    six = {"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 1}
    yield case("a router of IPv6", "the same", sysctls=six)
    yield case("invalid passes", "nothing is lost", 0, rules=(rule(plain("counter", packets=9)),))
    known: dict[str, Any] = {"status": 0xE, "tcp_state": "established"}
    yield case("beside connections", "both ways of others are seen", 0, flow=known)
