"""What comes from the peers of a WireGuard device, and is stopped at the forward hook, though a rule there lets in
others by that device: for nf-forward-drop-policy. WireGuard takes from a peer only what has one of its allowed
addresses (drivers/net/wireguard/receive.c), so that nobody can be those others. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.nftpacket import Packet
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.rules.build_nft import chain, iifname, oifname, rule, saddr, state, table, verdict
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.forwardgate import MOST, forwarding, stopped
from netdiag.rules.nftplaces import by_default, chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, devices

MOST_ASKED = 64
"""Allowed prefixes that are asked for; a device with more is not judged."""
MOST_MENDED = 8
"""Prefixes for which the fix writes a rule."""


def prefixes_of(view: HostView, link: Link, family: str) -> list[str]:
    """What the peers of a device may send from."""
    rows = (peer for device, one in devices(view) if one.ifindex == link.ifindex for peer in device.peers)
    found = [prefix for peer in rows for prefix in peer.allowed_ips if (":" in prefix) == (family == "inet6")]
    return sorted(set(found))


def peers_shut(view: HostView, family: str, card: Rule) -> Iterator[Draft]:
    """Each device of which the filter knows others than its peers. One whose peers may reach each other is left out:
    somebody chose what they may."""
    having = {row.ifindex for row in view.addresses if row.family == family and row.scope == 0}
    for device, link in devices(view):
        prefixes = prefixes_of(view, link, family)
        outward = [one for one in view.links if one.up and not one.loopback and one.ifindex in having]
        if not link.up or not forwarding(view, link, family) or len(outward) > MOST:
            continue
        if not prefixes or len(prefixes) > MOST_ASKED:
            continue
        kind = Packet(family=family, iif=link.ifname, mark=None, ct_mark=None, dnatted=None)
        ways = [replace(kind, oif=one.ifname) for one in outward]
        if all(stopped(view.netfilter, way) for way in ways):
            continue  # nobody is let in by it: a policy
        asked = [stopped(view.netfilter, replace(way, saddr=one)) for one in prefixes for way in ways]
        stops = [stop for stop in asked if stop is not None]
        if len(stops) < len(asked) or not by_default(stops[0].at):
            continue
        at, family_word = stops[0].at, "ip6" if family == "inet6" else "ip"
        more = f" and {len(prefixes) - 1} more" if len(prefixes) > 1 else ""
        let, rest = prefixes[:MOST_MENDED], len(prefixes[MOST_MENDED:])
        yield card.found(
            subject=chain_subject(at.table, at.chain),
            message=f"{place_words(at)} drops all that the peers of {link.ifname} send on ({prefixes[0]}{more}): a"
            f" rule lets in others by {link.ifname}, and no peer has such an address",
            severity="warning",
            evidence=[
                fact(stops[0]),
                (f"allowed addresses of the peers of {link.ifname}", f"{prefixes[0]}{more}", "WGPEER_A_ALLOWEDIPS"),
            ],
            confirm=[list_chain(at.table, at.chain), f"wg show {quoted(link.ifname)} allowed-ips"],
            fix=inserts(
                at.table,
                at.chain.name,
                [f'iifname "{link.ifname}" {family_word} saddr {one} accept' for one in let],
                [f"-i {quoted(link.ifname)} -s {one} -j ACCEPT" for one in let],
            )
            + (f"  # and so for {rest} more" if rest else ""),
            breaks=[device_subject(device), subject("link", ifname=link.ifname)],
        )


def peers_cases() -> Iterator[Example]:
    """A gateway with a LAN, a way out and two peers; the filter lets some in by the tunnel."""
    answers = rule(state("established", "related"), verdict("accept"))

    def host(*allowed: str, forward: int = 1, **link: Any) -> Any:
        made = WireguardBuilder().wireguard("wg0", inet_conf={"forwarding": forward}, **link)
        for letter, prefix in zip("abcdefghi", allowed, strict=False):
            made.wg_peer("wg0", letter, allowed_ips=(prefix,))
        made.address("wg0", "10.65.0.1/16").link("lan0", inet_conf={"forwarding": 1}).address("lan0", "10.0.0.1/24")
        made.link("eth0", inet_conf={"forwarding": 1}).address("eth0", "192.0.2.2/24")
        return made.sysctl("net.ipv4.ip_forward", 1).route("default", via="192.0.2.1", dev="eth0")

    def let(*rules: Any, policy: str = "drop") -> Any:
        lan = rule(iifname("lan0"), verdict("accept"))
        return table(chain("forward", answers, lan, *rules, hook="forward", policy=policy), name="fw")

    def beside(name: str, address: str, *, up: bool = True, **fields: Any) -> Any:
        made = host(*two)
        return (made if name == "lo" else made.link(name, up=up)).address(name, address, **fields)

    others = rule(iifname("wg0"), saddr("10.66.0.0/16"), verdict("accept"))
    two = ("10.65.1.1/32", "10.65.1.2/32")
    says = (
        "drops all that the peers of wg0 send on (10.65.1.1/32 and 1 more)",
        'saddr 10.65.1.1/32 accept; insert rule inet fw forward iifname "wg0" ip saddr 10.65.1.2/32 accept',
    )
    told: dict[str, Any] = {"fires": 1, "severity": "warning", "confidence": "likely", "says": says}
    many = host(*(f"10.65.1.{last}/32" for last in range(1, 10)))
    several: dict[str, Any] = {"fires": 1, "says": ("(10.65.1.1/32 and 8 more)", "  # and so for 1 more")}
    for name, why, made, ruleset, more in (
        ("others are let in", "the list is of another network", host(*two), let(others), told),
        ("others are let in, and there are many peers", "the fix begins with some", many, let(others), several),
        ("one peer is let in", "somebody chose", host(*two, "10.66.0.9/32"), let(others), {}),
        ("part of a peer's network is let in", "some of it passes", host("10.64.0.0/14"), let(others), {}),
        ("nobody is let in", "the tunnel is for this host alone", host(*two), let(), {}),
        ("all are let in", "as it may be", host(*two), let(rule(iifname("wg0"), verdict("accept"))), {}),
        ("they are dropped by name", "somebody meant them",
         host(*two), let(others, rule(iifname("wg0"), verdict("drop")), policy="accept"), {}),
        ("a peer may send from everywhere", "also from there", host("0.0.0.0/0"), let(others), {}),
        ("nothing is forwarded from it", "another fault", host(*two, forward=0), let(others), {}),
        ("it has no peers", "nobody is shut out", host(), let(others), {}),
        ("it is down", "nothing comes", host(*two, up=False), let(others), {}),
        ("they may reach each other", "somebody chose",
         host(*two), let(others, rule(iifname("wg0"), oifname("wg0"), verdict("accept"))), {}),
        ("others are behind another tunnel", "the rule names the wrong one",
         host(*two).wireguard("wg1", inet_conf={"forwarding": 1}).address("wg1", "10.66.0.1/16")
         .wg_peer("wg1", "d", allowed_ips=("10.66.0.9/32",)), let(others), told),
        ("of both families", "the other one is not forwarded",
         host(two[0], "fd00::1/128"), let(others), told | {"says": ("that the peers of wg0 send on (10.65.1.1/32):",)}),
        *((f"out by {name} all may go", why, made, let(others, rule(oifname(name), verdict("accept"))), told)
          for name, why, made in (
            ("lo", "nothing is forwarded there", beside("lo", "10.7.0.1/32")),
            ("eth2", "it is down", beside("eth2", "10.7.0.1/24", up=False)),
            ("eth3", "it has an address of the link alone", beside("eth3", "169.254.0.1/16", scope=253)),
            ("eth4", "it has IPv6 alone", beside("eth4", "2001:db8::1/64")),
        )),
    ):  # fmt: skip
        yield Example(name=f"peers, {name}", why=why, tables=made.nft(ruleset).build(), **more)
