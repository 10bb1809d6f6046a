"""What it checks
  A WireGuard device does not have the peers that it is meant to have: [[wireguard]] of the intent names them, with
  their allowed-ips; or the baseline had peers that are gone and that the host still needs, or a device with peers of
  which not even the interface is left.

Why it matters
  Peers live in the kernel only. A device that was made anew starts without any, and a tool that works from a stale list
  takes peers away. Packets to a peer that is missing get "Required key not available", packets from it are dropped
  without a word; a peer that should have been removed is still trusted with its addresses.

Confirm
  wg show IFNAME peers
  wg show IFNAME allowed-ips

Fix
  wg set IFNAME peer KEY allowed-ips PREFIXES for one that is missing, with "remove" for one too many; or
  wg syncconf IFNAME FILE, which leaves running sessions alone. Taking a peer away cuts it off at once.

Not flagged
  A device of which the intent names no peers at all: a gateway that installs peers when they call. Peers without
  allowed_ips in the intent may have any. Against a baseline: peers that nothing here points to any more (no keepalive,
  no route of just their prefix) while the device is the same, which come and go on such gateways, told as info where
  none came since then, or more than three, and more than half of all, are gone; a drained host.

References
  drivers/net/wireguard/netlink.c set_peer(); wg(8) syncconf
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, Subject, Unjudged, subject
from netdiag.model.intent import IntendedPeer, IntendedWireguard
from netdiag.model.wireguard import WireguardDevice, WireguardPeer
from netdiag.rules.bgpsessions import sessions
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder, key
from netdiag.rules.expected import since, untold
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="wg-desired-vs-kernel-drift",
    title="a WireGuard device does not have the peers that it is meant to have",
    severity="critical",
    reads=("links", "routes"),
    consults=("intent.wireguard", "baseline", "wireguard", "bird"),
    explains=("wg-*", "bgp-*", "bgp-export-zero", "bgp-anycast-missing-announce", "dns-nameserver-unroutable"),
)
NAMED = 3
"""So many peers are told one by one."""


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from untold(view, "wireguard")
    wanted = view.intent.wireguard or ()
    if view.unknown("wireguard"):
        if wanted:
            yield Unjudged(reason="wireguard: not read")
        return
    devices = {device.ifname: device for device in view.wireguard.devices}
    for want in wanted:
        yield from _meant(view, want, devices.get(want.ifname))
    if view.baseline is not None and view.baseline.read_whole("wireguard"):
        named = {want.ifname for want in wanted if want.peer is not None}
        for old in view.baseline.wireguard.devices:
            if old.ifname not in named:
                yield from _since(view, view.baseline, old, devices.get(old.ifname))


def _meant(view: HostView, want: IntendedWireguard, device: WireguardDevice | None) -> Iterator[Draft]:
    source = "intent [[wireguard]]"
    if device is None:
        yield _whole(want.ifname, "there is no such device", [("devices of that name", 0, "WG_CMD_GET_DEVICE")], source)
        return
    if want.peer is None:
        return
    here = {peer.public_key: peer for peer in device.peers}
    meant = {peer.public_key: peer for peer in want.peer}
    missing = [peer for name, peer in meant.items() if name not in here]
    if len(missing) > NAMED:
        count = f"{len(missing)} of the {len(meant)} peers that it is meant to have are missing"
        yield _whole(want.ifname, count, [("peers", len(here), "WG_CMD_GET_DEVICE WGDEVICE_A_PEERS")], source)
    else:
        for peer in missing:
            yield _missing(view, device, peer.public_key, peer.allowed_ips or (), source)
    for name, found in here.items():
        if name not in meant:
            yield _extra(want.ifname, found)
        elif (told := meant[name].allowed_ips) is not None and set(told) != set(found.allowed_ips):
            yield _other(view, device, found, told)


def _since(view: HostView, old_view: HostView, old: WireguardDevice, new: WireguardDevice | None) -> Iterator[Draft]:
    if old_view.meta.drained or view.meta.drained:
        return
    if new is None:
        kept = {device.public_key for device in view.wireguard.devices}
        if old.peers and old.ifname not in view.stack.by_name and old.public_key not in kept:
            yield _whole(
                old.ifname,
                f"it is gone, and so are its {len(old.peers)} peers",
                [("interfaces of that name", 0, "RTM_GETLINK")],
                f"WG_CMD_GET_DEVICE, {since(old_view)}",
            )
        return  # its interface is something else now, or the daemon is gone: other rules speak
    here = {peer.public_key for peer in new.peers}
    anew = new.ifindex != old.ifindex or new.public_key is None
    gone = [peer for peer in old.peers if peer.public_key not in here and (anew or _needed(view, new, peer))]
    source = f"WG_CMD_GET_DEVICE, {since(old_view)}"
    if len(gone) > NAMED:
        rest = [("peers", len(here), "WG_CMD_GET_DEVICE WGDEVICE_A_PEERS")]
        yield _whole(old.ifname, f"{len(gone)} peers are gone {since(old_view)}", rest, source)
        return
    evicted = [peer for peer in old.peers if peer.public_key not in here]
    changing = not here <= {peer.public_key for peer in old.peers}
    most = len(evicted) > NAMED and 2 * len(evicted) > len(old.peers)
    if not gone and evicted and (most or not changing):
        names = ", ".join(peer.public_key for peer in evicted[:NAMED])
        rest = [("peers", len(here), "WG_CMD_GET_DEVICE WGDEVICE_A_PEERS")]
        lost = ("peers that are gone", names, "WG_CMD_GET_DEVICE WGPEER_A_PUBLIC_KEY")
        words = f"{len(evicted)} of {len(old.peers)} peers are gone {since(old_view)}, and nothing here points to them"
        words += "" if changing else ", while no other came"
        yield _whole(old.ifname, words, [*rest, lost], source, maybe=True)
    for peer in gone:
        yield _missing(view, new, peer.public_key, peer.allowed_ips, source)


def _needed(view: HostView, device: WireguardDevice, peer: WireguardPeer) -> bool:
    """Whether the host still sends to it: it was kept alive from here, or a route of just its prefix leads there."""
    if peer.persistent_keepalive:
        return True
    for prefix in peer.allowed_ips:
        family = "inet6" if ":" in prefix else "inet"
        fib = view.fib(family)
        for table in fib.tables():
            for row in view.route_rows(family, fib.routes_covering(table, prefix)):
                if row.dst == prefix and any(hop.oif == device.ifindex for hop in row.hops):
                    return True
    return False


def _whole(
    ifname: str, what: str, evidence: Sequence[tuple[str, object, str]], source: str, *, maybe: bool = False
) -> Draft:
    return RULE.found(
        subject=subject("wireguard-interface", ifname=ifname),
        message=f"WireGuard device {ifname}: {what} ({source})",
        evidence=[("meant to be", ifname, source), *evidence],
        confirm=[f"wg show {quoted(ifname)} peers 2>&1", "ip -d link show type wireguard; ip -br link show"],
        fix=f"wg syncconf {quoted(ifname)} FILE  # from where its peers are written down",
        confidence="possible" if maybe else None,
        breaks=[subject("link", ifname=ifname)],
    )


def _lost(view: HostView, device: WireguardDevice, prefixes: Sequence[str], others: int) -> list[Subject]:
    """What is lost with these prefixes: routes of just them, and BGP neighbours behind them. The device's interface
    only where it has no other peers: what is wrong with those has its own cause."""
    ifname, nets = device.ifname, [ip_network(prefix, strict=False) for prefix in prefixes]
    lost = [subject("route", dst=prefix, table=254, ifname=ifname) for prefix in prefixes[:64]]
    for session in sessions(view):
        address = session.address
        if address is not None and any(address in net for net in nets):
            lost.append(subject("neighbour", dst=str(address), ifname=ifname))
    return lost if others else [subject("link", ifname=ifname), *lost]


def _missing(view: HostView, device: WireguardDevice, public_key: str, prefixes: tuple[str, ...], source: str) -> Draft:
    allowed = f" allowed-ips {','.join(prefixes)}" if prefixes else ""
    ifname = device.ifname
    return RULE.found(
        subject=subject("wireguard-peer", ifname=ifname, public_key=public_key),
        message=f"{ifname} does not know the peer {public_key} that it is meant to have ({source}): "
        f"nothing gets to {', '.join(prefixes[:3]) or 'it'} or comes from there",
        evidence=[
            ("peer meant to be there", public_key, source),
            ("peers with this key", 0, "WG_CMD_GET_DEVICE WGPEER_A_PUBLIC_KEY"),
        ],
        confirm=[f"wg show {quoted(ifname)} allowed-ips; wg show {quoted(ifname)}"],
        fix=f"wg set {quoted(ifname)} peer {quoted(public_key)}{allowed}",
        breaks=_lost(view, device, prefixes, len(device.peers)),
    )


def _extra(ifname: str, peer: WireguardPeer) -> Draft:
    return RULE.found(
        subject=subject("wireguard-peer", ifname=ifname, public_key=peer.public_key),
        severity="warning",
        message=f"{ifname} still trusts the peer {peer.public_key}, which it is not meant to have, "
        f"with {', '.join(peer.allowed_ips[:3]) or 'no addresses'}",
        evidence=[
            ("peer that is there", peer.public_key, "WG_CMD_GET_DEVICE WGPEER_A_PUBLIC_KEY"),
            ("meant to be there", "no", "intent [[wireguard.peer]]"),
        ],
        confirm=[f"wg show {quoted(ifname)} allowed-ips"],
        fix=f"wg set {quoted(ifname)} peer {quoted(peer.public_key)} remove",
    )


def _other(view: HostView, device: WireguardDevice, peer: WireguardPeer, told: tuple[str, ...]) -> Draft:
    ifname = device.ifname
    lost = sorted(set(told) - set(peer.allowed_ips))
    severity: Severity = "critical" if lost else "warning"
    more = sorted(set(peer.allowed_ips) - set(told))
    words = [f"lacks {', '.join(lost[:3])}"] if lost else []
    words += [f"has {', '.join(more[:3])} too many"] if more else []
    return RULE.found(
        subject=subject("wireguard-peer", ifname=ifname, public_key=peer.public_key),
        severity=severity,
        message=f"peer {peer.public_key} of {ifname} {' and '.join(words)} in its allowed-ips",
        evidence=[
            ("allowed-ips", ", ".join(peer.allowed_ips) or "none", "WG_CMD_GET_DEVICE WGPEER_A_ALLOWEDIPS"),
            ("meant to be", ", ".join(told) or "none", "intent [[wireguard.peer]] allowed_ips"),
        ],
        confirm=[f"wg show {quoted(ifname)} allowed-ips"],
        fix=f"wg set {quoted(ifname)} peer {quoted(peer.public_key)} allowed-ips {quoted(','.join(told))}",
        breaks=_lost(view, device, lost, len(device.peers) - 1),
    )


def _host(*letters: str, allowed: tuple[str, ...] = ("10.0.0.2/32",), **peer: Any) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0")
    for letter in letters:
        host.wg_peer("wg0", letter, allowed_ips=allowed, **peer)
    return host


def _case(name: str, why: str, host: WireguardBuilder, *letters: str, **expected: Any) -> Example:
    told = expected.pop("allowed", ("10.0.0.2/32",))
    peers = tuple(IntendedPeer(public_key=key(letter), allowed_ips=told) for letter in letters)
    host.intend(wireguard=(IntendedWireguard(ifname=expected.pop("ifname", "wg0"), peer=peers),))
    return Example(name=name, why=why, tables=host.build(), **expected)


def examples() -> Iterator[Example]:
    a = subject("wireguard-peer", ifname="wg0", public_key=key("a"))
    critical: dict[str, Any] = {"fires": 1, "severity": "critical"}
    yield _case("a peer is missing", "the plain fault", _host(), "a", subject=a, **critical)
    yield _case("there", "as it should be", _host("a"), "a")
    yield _case("one too many", "it is still trusted", _host("a"), fires=1, severity="warning", subject=a)
    yield _case("lacks a prefix", "what comes from there is dropped", _host("a", allowed=()), "a", **critical)
    wide = _host("a", allowed=("10.0.0.2/32", "10.0.0.3/32"))
    yield _case("a prefix too many", "trusted with more than it should be", wide, "a", fires=1, severity="warning",
                says=("has 10.0.0.3/32 too many",))  # fmt: skip
    yield _case("not read", "nobody can say", _host(), "a", late=("wireguard",), unjudged=True)
    yield _case("both", "the plain fault and one that is there", _host("b"), *"ab", subject=a, **critical)
    yield _case("any prefixes", "the intent does not say", wide, "a", allowed=None)
    about = subject("wireguard-interface", ifname="wg0")
    yield _case("four missing", "one cause, one finding", _host(), *"abcd", subject=about, **critical)
    yield _case("three missing", "told one by one", _host(), *"abc", fires=3)
    other = subject("wireguard-interface", ifname="wg9")
    yield _case("no such device", "nothing made it", _host(), ifname="wg9", subject=other, **critical)
    silent = _host("a").intend(wireguard=(IntendedWireguard(ifname="wg0"),))
    yield Example(name="no peers named", why="a gateway that installs them on call", tables=silent.build())
    yield Example(name="no section", why="nothing was told", tables=_host("a").build(), unjudged=True)
    yield from _compared()


def _compared() -> Iterator[Example]:
    def case(name: str, why: str, before: HostBuilder, now: HostBuilder, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=now.build(), baseline=before.build(), **expected)

    kept = _host("a", persistent_keepalive=25)
    yield case("kept alive from here", "this host calls it", kept, _host(), fires=1, severity="critical")
    routed = _host().route("10.0.0.2/32", dev="wg0", scope=253)
    yield case("with a route of its own", "the host still sends there", _host("a"), routed, fires=1)
    info: dict[str, Any] = {"fires": 1, "severity": "info", "confidence": "possible"}
    calls = _host("b").route("10.0.0.0/16", dev="wg0")
    yield case("called on demand", "an idle peer was evicted, another called", _host("a"), calls)
    less = ("1 of 2 peers are gone", ", while no other came", f"peers that are gone {key('a')}")
    yield case("taken away", "by whom it belonged to, or by mistake", _host("a", "b"), calls, says=less, **info)
    anew = WireguardBuilder().wireguard("wg0", ifindex=9)
    yield case("device made anew", "it starts without peers", _host("a"), anew, fires=1)
    bare, about = HostBuilder().link("eth0"), subject("wireguard-interface", ifname="wg0")
    said: dict[str, Any] = {"severity": "critical", "subject": about, "says": ("interfaces of that name 0 RTM",)}
    yield case("the device is gone", "nothing made it", _host("a"), bare, fires=1, **said)
    yield case("a device without peers is gone", "nobody misses it", _host(), bare)
    other = WireguardBuilder().wireguard("wg9")
    yield case("the device has another name", "it was renamed", _host("a"), other)
    plain = HostBuilder().link("wg0")
    yield case("the interface is there", "it is something else now", _host("a"), plain)
    yield case("the same peers", "as it was", _host("a"), _host("a"))
    told = _host().intend(wireguard=(IntendedWireguard(ifname="wg0"),))
    yield case("an intent without peers", "the older look says what it had", kept, told, fires=1)
    meant = _host("b").intend(wireguard=(IntendedWireguard(ifname="wg0", peer=(IntendedPeer(public_key=key("b")),)),))
    yield case("an intent with other peers", "what is meant counts, not what was", kept, meant)
    yield case("kept alive, and there", "as it was", kept, _host("a", persistent_keepalive=25))
    uplink = _host().link("eth0").route("10.0.0.2/32", dev="eth0", via="192.0.2.1")
    yield case("its prefix goes another way now", "nothing here points to it", _host("a"), uplink, **info)
    keyless = _host()
    keyless._devices["wg0"] = msgspec.structs.replace(keyless._devices["wg0"], public_key=None)
    yield case("its key is gone", "the module was set up anew", _host("a"), keyless, fires=1)
    three = _host(*"abc", persistent_keepalive=25)
    yield case("three are gone", "told one by one", three, _host(), fires=3)
    about = subject("wireguard-interface", ifname="wg0")
    yield case("four are gone", "one cause", _host(*"abcd", persistent_keepalive=25), _host(), fires=1, subject=about)
    for then, now, fires in (("abcd", "x", 1), ("abcdefg", "abcx", 1), ("abcdefgh", "abcdx", 0), ("abc", "x", 0)):
        name = f"{len(then)} that are called on demand, of which {len(now) - 1} are left, and another came"
        yield case(name, "evicted, or lost", _host(*then), _host(*now), **(info if fires else {}))
    yield case("labelled drained", "somebody said so", kept, _host(), labels={"drained": "true"})
