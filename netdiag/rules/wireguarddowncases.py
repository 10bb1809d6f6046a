"""WireGuard interfaces that are down and may be meant to be: standbys, spare ones, hosts out of service.

Examples of wg-iface-down. Pure; nothing can fail.
"""

from collections.abc import Iterator
from typing import Any

from netdiag.model.finding import Severity, subject
from netdiag.model.intent import IntendedWireguard
from netdiag.rules.build_bird import BirdHost
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example

ABOUT = subject("wireguard-interface", ifname="wg0")


def down(**fields: Any) -> WireguardBuilder:
    """A host with wg0, which is down."""
    return WireguardBuilder().wireguard("wg0", up=False, **fields)


class _Both(BirdHost, WireguardBuilder):
    """WireGuard and BIRD."""


def _drained_examples() -> Iterator[Example]:
    def host(*off: bool, named: bool = False) -> WireguardBuilder:
        made = _Both()
        made.wireguard("wg0", up=False).wg_peer("wg0", "a", age=30)
        for number, one in enumerate(off):
            made.bgp(f"up{number}", **({"state": "down", "bgp_state": "Down"} if one else {"bgp_state": "Established"}))
        if named:
            made.intend(wireguard=(IntendedWireguard(ifname="wg0"),))
        return made

    then = WireguardBuilder().wireguard("wg0").wg_peer("wg0", "a", age=9).build()
    cases: tuple[tuple[str, WireguardBuilder, dict[str, Any], Severity], ...] = (
        ("told so", down().wg_peer("wg0", "a", age=30), {"labels": {"drained": "true"}}, "info"),
        ("told so, and the intent names it", host(named=True), {"labels": {"drained": "true"}}, "info"),
        ("told that it is not", down().wg_peer("wg0", "a", age=30), {"labels": {"drained": "false"}}, "critical"),
        ("every session is switched off", host(True, True), {}, "info"),
        ("one of two sessions is switched off", host(True, False), {}, "critical"),
        ("every session is switched off, and the intent names it", host(True, named=True), {}, "critical"),
        ("every session is switched off, and it was up before", host(True), {"baseline": then}, "critical"),
        ("no session at all", host(), {}, "critical"),
    )
    for name, made, more, severity in cases:
        why = "nobody misses it" if severity == "info" else "nobody was told that it may be down"
        yield Example(
            name=f"drained: {name}", why=why, tables=made.build(), fires=1, subject=ABOUT, severity=severity, **more
        )


def standby_examples() -> Iterator[Example]:
    """Who is told of an interface that stands by, was never up, or belongs to a host out of service."""
    yield from _drained_examples()
    for what, qdisc in (("noop", "noop"), ("not told", None)):
        yield Example(
            name=f"prepared and never up, queueing discipline {what}",
            why="a standby, or a host in the middle of booting: worth knowing, no alarm",
            tables=down(qdisc=qdisc).wg_peer("wg0", "a", persistent_keepalive=25).build(),
            fires=1,
            subject=ABOUT,
            severity="info",
            confidence="likely",
            says=("has 1 peer and has never been up",),
        )

    new = down(qdisc="noop").wg_peer("wg0", "a")
    up = WireguardBuilder().wireguard("wg0")
    weights: tuple[tuple[str, WireguardBuilder, Severity, dict[str, str]], ...] = (
        ("up then", up, "critical", {}),
        ("up then, drained now", up, "info", {"drained": "true"}),
        ("not up then", down().wg_peer("wg0", "a"), "info", {}),
        ("another one up then", WireguardBuilder().wireguard("wg1").wg_peer("wg1", "a"), "info", {}),
    )
    for what, then, severity, labels in weights:
        yield Example(
            name=f"made anew and never up, {what}",
            why="somebody made it again and forgot to set it up",
            tables=new.build(),
            baseline=then.build(),
            labels=labels,
            fires=1,
            severity=severity,
        )
    named = down(qdisc="noop").wg_peer("wg0", "a").intend(wireguard=(IntendedWireguard(ifname="wg0"),)).build()
    told = ("be reached (the intent names it)",)
    yield Example(name="never up, and meant to be", why="told", tables=named, fires=1, severity="critical", says=told)
    other = down(qdisc="noop").wg_peer("wg0", "a").intend(wireguard=(IntendedWireguard(ifname="wg9"),)).build()
    yield Example(name="never up, another one is meant", why="a standby", tables=other, fires=1, severity="info")

    def beside(
        *prefixes: str,
        up: bool = True,
        own: tuple[str, ...] = ("10.0.0.2/32", "fd00::2/128"),
        routed: bool = True,
        age: float | None = 10,
    ) -> WireguardBuilder:
        host = down().wg_peer("wg0", "a", age=9000, allowed_ips=own)
        host.wireguard("wg1", up=up).wg_peer("wg1", "b", age=age, allowed_ips=prefixes)
        for prefix in prefixes if up and routed else ():
            host.route(prefix, dev="wg1")
        return host

    yield Example(
        name="another interface has the same prefixes",
        why="traffic goes on there: a failover that was tested and put back",
        tables=beside("10.0.0.2/32", "fd00::2/128").build(),
        fires=1,
        severity="info",
        says=("other WireGuard interfaces have all the prefixes",),
    )
    yield Example(
        name="another interface has wider prefixes",
        why="they cover the same addresses",
        tables=beside("10.0.0.0/8", "fd00::/8").build(),
        fires=1,
        severity="info",
    )
    aside = beside("10.0.0.2/32", "fd00::2/128", routed=False)
    aside.link("eth0")
    for prefix in ("10.0.0.2/32", "fd00::2/128"):
        aside.route(prefix, dev="eth0")
    yield Example(
        name="another interface has the same prefixes, and they are routed to a wire",
        why="what is for them leaves unencrypted",
        tables=aside.build(),
        fires=1,
        severity="critical",
    )
    for name, why, given in (
        ("and no routes for them", "what is for them goes another way", {"routed": False}),
        ("and its peer never answered", "nobody is behind it", {"age": None}),
    ):
        same = beside("10.0.0.2/32", "fd00::2/128", **given).build()
        yield Example(
            name=f"another interface has the same prefixes, {name}", why=why, tables=same, fires=1, severity="critical"
        )
    yield Example(
        name="another interface has one of two prefixes",
        why="the IPv6 address is lost",
        tables=beside("10.0.0.2/32").build(),
        fires=1,
        severity="critical",
    )
    lower, upper, all4, all6 = "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "::/0"
    standing: tuple[tuple[tuple[str, ...], tuple[str, ...], Severity], ...] = (
        ((lower, upper), (lower, upper), "info"),
        ((lower,), (all4,), "info"),
        ((lower, upper), (upper,), "critical"),
        ((lower, upper), (lower,), "critical"),
        (("64.0.0.0/2",), (all4,), "critical"),
        ((all4, all6), (all4, all6), "info"),
        ((all4, all6), (all4,), "critical"),
        (("8000::/1",), (all6,), "info"),
        (("8000::/2",), ("8000::/2",), "info"),
        (("8000::/1",), ("::/1",), "critical"),
        (("10.0.0.0/8",), ("10.0.0.0/9",), "critical"),
        (("10.0.0.2/32", "fd00::2/128"), (all4, all6), "critical"),
        (("10.0.0.2/32", "fd00::2/128"), (lower, upper, "8000::/1"), "critical"),
        (("10.0.0.2/32", "fd00::2/128"), ("0.0.0.0/2", "c000::/2"), "info"),
    )
    for own, prefixes, severity in standing:
        yield Example(
            name=f"another interface has {' '.join(prefixes)} of {' '.join(own)}",
            why="who has all of it stands in; a way to the internet does for another such way alone",
            tables=beside(*prefixes, own=own).build(),
            fires=1,
            severity=severity,
        )
    yield Example(
        name="the other interface is down as well",
        why="two faults, and neither makes up for the other",
        tables=beside("10.0.0.2/32", "fd00::2/128", up=False).build(),
        fires=2,
        severity="critical",
    )
    yield Example(
        name="peers without prefixes",
        why="nothing says that anything else stands in for them",
        tables=down().wg_peer("wg0", "a", age=9000, allowed_ips=()).build(),
        fires=1,
        severity="critical",
    )
