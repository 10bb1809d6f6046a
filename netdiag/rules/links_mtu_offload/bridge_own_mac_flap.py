"""What it checks
  A bridge with addresses of its own changed its hardware address between the two samples, or since the baseline was
  taken: it bears that of one port, and had another one then. Or, as info, at some time since it was brought up: it
  bears that of one port, and its link-local address was made of that of another port, or of an interface that was one
  and is still there.

Why it matters
  A bridge without a fixed address takes the lowest of its ports'. When a port with a lower one is added (a container,
  a machine), the bridge's own address changes under all who talk to it: neighbours send to the old one until their
  entries age out, DHCP may hand out another address, and the same happens again when that port goes.

Confirm
  ip -br link show dev BRIDGE
  ip -br link show master BRIDGE
  ip -6 address show dev BRIDGE scope link

Fix
  ip link set dev BRIDGE address THE-OLD-ONE. An address that was set is kept from then on, whatever ports come and go.
  Neighbours that learned the present one need a moment. Put it into the bridge's configuration as well.

Not flagged
  Bridges whose address was set (by Docker, libvirt, CNI plugins): it is no port's. A bridge that got its first port
  after it was brought up. Bridges without an address of their own: nobody talks to them. Bridges without IPv6, or with
  a link-local address that was not made of a hardware address, and those whose link-local address is older than their
  first port: whether they changed cannot be known without a baseline. A change that the baseline has seen already, or
  without one: every host whose guests come and go shows one for ever; it may come again (info).

References
  net/bridge/br_stp_if.c br_stp_recalculate_bridge_id() (NET_ADDR_SET); RFC 4291 appendix A;
  https://github.com/moby/libnetwork/issues/2380
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Severity, subject
from netdiag.model.link import Link
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import same_link, since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bridge-own-mac-flap",
    title="a bridge changed its own hardware address with its ports",
    severity="warning",
    reads=("links", "addresses"),
    consults=("counters", "baseline"),
    explains=("neigh-*",),
)


def made_of(address: str) -> str | None:
    """The hardware address that a link-local address was made of (modified EUI-64); None: of none."""
    raw = ipaddress.IPv6Address(address).packed[8:]
    if raw[3:5] != b"\xff\xfe":
        return None
    return bytes([raw[0] ^ 2, *raw[1:3], *raw[5:]]).hex(":")


def check(view: HostView) -> Iterator[Draft]:
    for bridge in view.links:
        if bridge.kind != "bridge" or not bridge.up:
            continue
        if not any(row.ifindex == bridge.ifindex and row.scope == 0 for row in view.addresses):
            continue
        ports = {port.address: port for port in view.stack.ports(bridge.ifindex) if port.address}
        moved = _meanwhile(view, bridge)
        if moved is not None:
            yield moved
        elif bridge.address in ports:
            told, severity = _by_baseline(view, bridge), RULE.severity
            if told is None:
                told, severity = _by_link_local(view, bridge, ports), "info"
            if told is not None:
                yield _finding(bridge, ports[bridge.address], *told, severity=severity)


def _meanwhile(view: HostView, bridge: Link) -> Draft | None:
    """It changed between the samples: from that of one interface of this host to that of another."""
    if not view.read_whole("counters"):
        return None
    before, after = (
        {row.ifindex: row.address for row in sample.links if row.address} for sample in (view.counters, view.latest)
    )
    was, now = before.get(bridge.ifindex), after.get(bridge.ifindex)
    if was is None or now is None or was == now:
        return None
    owners = {address: ifindex for ifindex, address in (before | after).items() if ifindex != bridge.ifindex}
    names = {row.ifindex: row.ifname for row in (*view.counters.links, *view.latest.links)}
    if was not in owners or now not in owners:
        return None  # somebody set it, or it is the first port's
    taken = Link(ifindex=owners[now], ifname=names[owners[now]], address=now)
    fact = (f"{bridge.ifname} address at the first sample", was, f"RTM_GETLINK {bridge.ifname} IFLA_ADDRESS")
    since = f"of {names[owners[was]]}, {was}, a moment ago"
    return _finding(bridge, taken, since, was, fact, severity=RULE.severity)


def _by_link_local(
    view: HostView, bridge: Link, ports: Mapping[str, Link]
) -> tuple[str, str, tuple[str, object, str]] | None:
    """What the bridge had before, for a person; that address; how it is known."""
    mine = [row.local for row in view.addresses if row.ifindex == bridge.ifindex and row.local.startswith("fe80:")]
    before = {made for each in mine if (made := made_of(each)) is not None}
    left = {link.address: link for link in view.links}
    old = sorted(before & set(left))
    if not old or bridge.address in before:
        return None
    fact = (f"link-local address of {bridge.ifname} was made of", old[0], f"RTM_GETADDR {bridge.ifname} IFA_ADDRESS")
    port = ports.get(old[0])
    whose = f"its port {port.ifname}" if port else f"{left[old[0]].ifname}, which is no port of it any more"
    return f"of {whose}, {old[0]}", old[0], fact


def _by_baseline(view: HostView, bridge: Link) -> tuple[str, str, tuple[str, object, str]] | None:
    """The same, told by the baseline."""
    old = view.baseline
    if old is None or same_link(old, view, bridge.ifname) is None:
        return None
    was = old.stack.by_name[bridge.ifname].address
    if was is None or was == bridge.address:
        return None
    return (
        f"{was} at the time of the baseline",
        was,
        (f"{bridge.ifname} address then", was, f"RTM_GETLINK, {since(old)}"),
    )


def _finding(
    bridge: Link, now: Link, whose: str, old: str, fact: tuple[str, object, str], *, severity: Severity
) -> Draft:
    """``whose``: what it had before, for a person; ``fact``: how that is known."""
    name = bridge.ifname
    return RULE.found(
        subject=subject("link", ifname=name),
        severity=severity,
        confidence="possible" if severity == "info" else None,  # it was at any time: it explains nothing of now
        message=f"{name} had the hardware address {whose}, and now has that of {now.ifname}, {now.address}: "
        "it changes with every port that has a lower one",
        evidence=(
            (f"{name} address", now.address, f"RTM_GETLINK {name} IFLA_ADDRESS"),
            (f"{now.ifname} address", now.address, f"RTM_GETLINK {now.ifname} IFLA_ADDRESS"),
            fact,
        ),
        confirm=(
            f"ip -br link show dev {quoted(name)}; ip -br link show master {quoted(name)}",
            f"ip -6 -br address show dev {quoted(name)} scope link",
        ),
        fix=f"ip link set dev {quoted(name)} address {old}",
        touches=(subject("link", ifname=now.ifname),),
        breaks=(subject("link", ifname=name),),
    )


LOW, HIGH, RANDOM = "02:00:00:00:00:01", "52:54:00:00:00:09", "5e:00:00:00:00:77"
OF_HIGH, OF_LOW, OF_RANDOM = "fe80::5054:ff:fe00:9/64", "fe80::ff:fe00:1/64", "fe80::5c00:ff:fe00:77/64"


def _bridge(
    address: str = LOW, local: str = OF_HIGH, *, own: bool = True, ports: tuple[str, ...] = (HIGH, LOW)
) -> HostBuilder:
    host = HostBuilder().link("br0", kind="bridge", address=address).address("br0", local)
    for number, port in enumerate(ports):
        host.link(f"p{number}", master="br0", address=port)
    return host.address("br0", "192.0.2.1/24") if own else host


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("link", ifname="br0")
    yield _case("a lower port came", "at some time", _bridge(), 1, subject=about, says=(f"address {HIGH}",),
                severity="info")  # fmt: skip
    six = _bridge(own=False).address("br0", "2001:db8::1/64")
    yield _case("IPv6 only", "it is talked to as well", six, 1)
    yield _case("address was set", "it is no port's", _bridge(address=RANDOM, local=OF_RANDOM))
    yield _case("as it came up", "lowest from the beginning", _bridge(local=OF_LOW))
    yield _case("first port after it was up", "it had a random one before", _bridge(local=OF_RANDOM))
    yield _case("no address of its own", "nobody talks to it", _bridge(own=False))
    yield _case("link-local by another way", "stable privacy", _bridge(local="fe80::1234:5678:9abc:def0/64"))
    beside = _bridge(local="fe80::1234:5678:9abc:def0/64").link("eth9").address("eth9", OF_HIGH)
    yield _case("another interface's link-local address", "it says nothing of the bridge", beside)
    gone = _bridge(ports=(LOW,))
    yield _case("the old port is gone", "what it was made of cannot be told from a random one", gone)
    left = _bridge(ports=(LOW,)).link("v9", address=HIGH)
    says = ("of v9, which is no port of it any more", f"address {HIGH}")
    yield _case("the old port left the bridge", "it took the address with it", left, 1, subject=about, says=says)
    yield _case("address set to another since", "it is no port's", _bridge(address=RANDOM))
    bond = _bridge().link("br0", kind="bond", address=LOW, ifindex=2)
    yield _case("a bond", "it takes its address from its active leg", bond)
    down = _bridge().link("br0", kind="bridge", address=LOW, up=False, ifindex=2)
    yield _case("the bridge is down", "nobody talks to it", down)
    other = _bridge(own=False).link("eth9").address("eth9", "192.0.2.1/24")
    yield _case("another interface's address", "nobody talks to the bridge", other)
    slaac = _bridge(local=OF_LOW).address("br0", "2001:db8::5054:ff:fe00:9/64")
    yield _case("a global address made of the old one", "it was so written down", slaac)
    bare = _bridge().link("br0", kind="bridge", address=None, ifindex=2).link("p9", master="br0", address=None)
    yield _case("no hardware address", "nothing to compare", bare)
    yield from _between()
    yield from _since()


def _between() -> Iterator[Example]:
    """What it had at the two samples; the ports have LOW and HIGH."""
    cases: tuple[tuple[str, str | None, str | None, dict[str, str], int], ...] = (
        ("a lower port came meanwhile", HIGH, LOW, {}, 1),
        ("the lower port went meanwhile", LOW, HIGH, {"p1": "gone"}, 1),
        ("the same", LOW, LOW, {}, 0),
        ("somebody set it meanwhile", HIGH, RANDOM, {}, 0),
        ("it got its first port meanwhile", RANDOM, LOW, {}, 0),
        ("not told at first", None, LOW, {}, 0),
        ("not told at last", HIGH, None, {}, 0),
    )
    for name, was, now, gone, fires in cases:
        host = _bridge(local=OF_LOW)

        def sample(address: str | None, without: tuple[str, ...], made: HostBuilder = host) -> dict[str, Any]:
            ports = (("p0", HIGH), ("p1", LOW), ("br0", address))
            return {"links": tuple(made.link_counters(who, address=one) for who, one in ports if who not in without)}

        host.counters(before=sample(was, ()), after=sample(now, tuple(gone)))
        severity: Severity | None = "warning" if fires else None
        says = (f"and now has that of {'p1' if now == LOW else 'p0'}, {now}",) if fires else ()
        yield Example(name=name, why="who talks to it has the old one", tables=host.build(), fires=fires,
                      severity=severity, says=says)  # fmt: skip


def _since() -> Iterator[Example]:
    """What the bridge had when the baseline was taken."""
    random = _bridge(local=OF_RANDOM)
    for name, why, now, then, fires in (
        ("another address then", "a lower port came", random, _bridge(HIGH, OF_RANDOM, ports=(HIGH,)), 1),
        ("a random one then", "its first port came", random, _bridge(RANDOM, OF_RANDOM, ports=()), 1),
        ("the same then", "nothing changed", random, random, 0),
        ("set since", "it is no port's", _bridge(RANDOM, OF_RANDOM), _bridge(HIGH, OF_RANDOM), 0),
        ("no such bridge then", "it was made since", random, HostBuilder(), 0),
        ("another kind then", "another thing", random, HostBuilder().link("br0", address=HIGH), 0),
        ("seen by its link-local address too", "told once", _bridge(), _bridge(HIGH), 1),
        ("seen by its link-local address alone", "it was before the baseline", _bridge(), _bridge(), 1),
        (
            "none then",
            "nothing to compare",
            random,
            _bridge(local=OF_RANDOM).link("br0", kind="bridge", address=None, ifindex=2),
            0,
        ),
    ):
        known: dict[str, Any] = {"severity": "info" if name.endswith("alone") else "warning"} if fires else {}
        yield Example(
            name=f"baseline: {name}", why=why, tables=now.build(), baseline=then.build(), fires=fires, **known
        )
